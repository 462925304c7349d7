"""xmpp.js signs in with SASL2, Bind 2 and stream management in one answer, and with a token instead of its password."""

import asyncio
import json
import os
import pathlib
import uuid

from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET
from slixmpp_person import PASSWORD, PATIENCE_S, facts

FACTS, fact = facts()
PROSODY = "Debian's has no SASL2"
SCRIPT = pathlib.Path(__file__).with_name("xmppjs_client.mjs")


async def signs_in(house, name, agent, **options):
    """One sign-in through STARTTLS; what it told, by word."""
    wanted = {"service": f"xmpp://127.0.0.1:{house.server.port}", "domain": house.domain, "username": name,
              "agent": agent, "tag": "bench", **options}
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": str(house.server.authority.ca)}
    node = await asyncio.create_subprocess_exec("node", SCRIPT, json.dumps(wanted), env=environment,
                                                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    out, err = await asyncio.wait_for(node.communicate(), PATIENCE_S * 3)
    told = {}
    for line in out.decode().splitlines():
        told.update(json.loads(line))
    assert told, err.decode()
    return told


async def with_token(house):
    """An account whose device holds a token: its name, the device's number, the token."""
    name, agent = house.account(), str(uuid.uuid4())
    told = await signs_in(house, name, agent, password=PASSWORD)
    assert "error" not in told, told
    return name, agent, told["token"]


@fact(prosody=PROSODY)
async def one_answer_binds_and_enables_stream_management(house):
    told = await signs_in(house, house.account(), str(uuid.uuid4()), password=PASSWORD)
    assert "error" not in told, told
    assert "/bench/" in told["online"] and told["managed"] and told["pong"], told
    assert "mechanisms" not in told["said"] and told["said"].count("success") == 1, told
    assert "enabled" not in told["said"], "not by an element of its own"


@fact(prosody=PROSODY)
async def a_token_signs_in_without_the_password_and_keeps_the_address(house):
    name, agent, token = await with_token(house)
    first = await signs_in(house, name, agent, token=token)
    again = await signs_in(house, name, agent, token=token)
    assert "error" not in first and "refused" not in first, first
    assert first["online"] == again["online"] and "challenge" not in again["said"], (first, again)


@fact(prosody=PROSODY)
async def a_token_is_no_good_for_another_device(house):
    name, _, token = await with_token(house)
    told = await signs_in(house, name, str(uuid.uuid4()), token=token)
    assert told.get("refused") and "online" not in told, told


@fact(prosody=PROSODY)
async def a_refused_token_is_followed_by_the_password_on_the_same_stream(house):
    name, agent, token = await with_token(house)
    told = await signs_in(house, name, agent, token={**token, "token": "x" * 68}, password=PASSWORD)
    assert told.get("refused") and "online" in told and told["token"]["token"] != token["token"], told


@fact(prosody=PROSODY)
async def a_new_password_ends_the_token(house):
    name, agent, token = await with_token(house)
    person = await house.arrives(name, available=False)
    request = person.make_iq_set()
    query = ET.SubElement(request.xml, "{jabber:iq:register}query")
    ET.SubElement(query, "{jabber:iq:register}username").text = name
    ET.SubElement(query, "{jabber:iq:register}password").text = "another horse"
    await request.send(timeout=PATIENCE_S)
    told = await signs_in(house, name, agent, token=token)
    assert told.get("refused") and "online" not in told, told


@fact(prosody=PROSODY)
async def slixmpp_lists_the_device_and_signs_it_out(house):
    name, agent, token = await with_token(house)
    person = await house.arrives(name, available=False)
    person.register_plugin("xep_0494")
    clients = await person["xep_0494"].get_clients(timeout=PATIENCE_S)
    device = next(client for client in clients if client["user_agent"]["device"] == "test bench")
    assert device["user_agent"]["software"] == "xmpp.js" and device["connected"] is False, device
    assert device["auth"]["fast"] and device["auth"]["password"], device
    request = person.make_iq_set()
    request["revoke"]["id"] = device["id"]
    try:
        await request.send(timeout=PATIENCE_S)
        raise AssertionError("XEP-0494 §3.2 wants an error for a device that knows the password")
    except IqError as error:
        assert "password-reset-required" in str(error.iq), error.iq
    told = await signs_in(house, name, agent, token=token)
    assert told.get("refused") and "online" not in told, told
