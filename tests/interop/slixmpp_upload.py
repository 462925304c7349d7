"""slixmpp asks for slots (XEP-0363); what it gets is put and fetched by HTTP."""

import asyncio
import hashlib
import http.client
import os
import ssl
import urllib.parse

from slixmpp.exceptions import IqError
from slixmpp_person import PLUGINS, facts

FACTS, fact = facts()
PROSODY = "its web door is another matter"
WITH_UPLOAD = (*PLUGINS, "xep_0363")
MIB = 1024 * 1024


class Web:
    """The web door as a client of HTTP/1.1 sees it."""

    def __init__(self, house):
        self.house = house

    def ask(self, method, url, body=None, **headers):
        """One request; the answer and its content."""
        parts = urllib.parse.urlsplit(url)
        assert parts.scheme == "https" and parts.hostname == self.house.domain, url
        context = ssl.create_default_context(cafile=str(self.house.server.authority.ca))
        line = http.client.HTTPSConnection("127.0.0.1", parts.port, context=context, timeout=60)
        # The name is not in DNS; the certificate has to be for it all the same.
        line._create_connection = lambda _, *rest: __import__("socket").create_connection(("127.0.0.1", parts.port))
        line.host = self.house.domain
        try:
            line.request(method, urllib.parse.urlunsplit(("", "", parts.path, parts.query, "")), body=body,
                         headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = line.getresponse()
            return answer, answer.read()
        finally:
            line.close()


async def off(function, *args, **options):
    """Runs something that waits, beside everything else."""
    return await asyncio.to_thread(function, *args, **options)


async def slot(person, name, size, kind="application/octet-stream"):
    """The addresses to put and to get."""
    iq = await person["xep_0363"].request_slot(person.boundjid.domain, name, size, kind)
    return iq["http_upload_slot"]["put"]["url"], iq["http_upload_slot"]["get"]["url"]


@fact(prosody=PROSODY)
async def the_service_is_found_and_tells_its_bound(house):
    anna = await house.arrives(plugins=WITH_UPLOAD)
    found = await anna["xep_0363"].find_upload_service()
    # It asks the domain and the hosts beside it at once, and takes the first answer.
    assert found and found["from"] in (house.domain, f"upload.{house.domain}"), found
    assert "<value>104857600</value>" in str(found), found


@fact(prosody=PROSODY)
async def a_file_comes_back_as_it_was(house):
    anna, web = await house.arrives(plugins=WITH_UPLOAD), Web(house)
    data = os.urandom(10 * MIB)
    put, get = await slot(anna, "très cool.bin", len(data))
    answer, _ = await off(web.ask, "PUT", put, data, Content_Type="application/octet-stream")
    assert answer.status == 201, answer.status
    answer, body = await off(web.ask, "GET", get)
    assert answer.status == 200 and body == data
    answer, body = await off(web.ask, "GET", get, Range=f"bytes={5 * MIB}-")
    assert answer.status == 206 and body == data[5 * MIB:]


@fact(prosody=PROSODY)
async def many_files_at_once_while_people_talk(house):
    anna, ben = await house.arrives(plugins=WITH_UPLOAD), await house.arrives()
    web = Web(house)
    data = os.urandom(4 * MIB)
    slots = [await slot(anna, f"{i}.bin", len(data)) for i in range(20)]
    sent = [asyncio.ensure_future(off(web.ask, "PUT", put, data)) for put, _ in slots]
    for i in range(50):
        anna.says(ben.boundjid.bare, f"word {i}")
        await ben.hears_text(f"word {i}")
    assert all(answer.status == 201 for answer, _ in await asyncio.gather(*sent))
    wanted = hashlib.sha256(data).digest()
    for answer, body in await asyncio.gather(*(off(web.ask, "GET", get) for _, get in slots)):
        assert answer.status == 200 and hashlib.sha256(body).digest() == wanted


@fact(prosody=PROSODY)
async def too_large_a_file_gets_no_slot(house):
    anna = await house.arrives(plugins=WITH_UPLOAD)
    try:
        await slot(anna, "film.mkv", 101 * MIB)
    except IqError as error:
        assert error.condition == "not-acceptable", error.condition
    else:
        raise AssertionError("a slot was given")
