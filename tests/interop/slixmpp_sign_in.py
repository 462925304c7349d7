"""slixmpp signs in: every mechanism through both doors, and those who must stay outside."""

import asyncio
import base64
import hashlib
import hmac
import ssl

from servers import Authority
from slixmpp.xmlstream import ET
from slixmpp_person import PASSWORD, PATIENCE_S, EndPointFlag, SignInFailed, end_point, exporter, facts

FACTS, fact = facts()
PLAIN_MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")
BOUND_MECHANISMS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS")


async def signs_in(house, mechanism, **options):
    """Signs in by one mechanism; it must be this one that was used, and the address must be the right one."""
    person = await house.arrives(mechanism=mechanism, **options)
    used = person["feature_mechanisms"].mech.name
    assert used == mechanism, f"{used} instead of {mechanism}"
    assert person.boundjid.bare == house.jid(person.name) and person.boundjid.resource


def door_fact(name, body, **not_with):
    """Adds a fact that is made of a loop variable."""
    body.__name__ = name
    fact(**not_with)(body)


for door in (True, False):
    through = "direct_tls" if door else "starttls"
    for mechanism in PLAIN_MECHANISMS:
        # Debian's Prosody stores keys for SHA-1 alone.
        unable = {"prosody": "stores SCRAM-SHA-1 alone"} if mechanism == "SCRAM-SHA-256" else {}
        door_fact(f"{mechanism}_through_{through}",
                  lambda house, m=mechanism, d=door: signs_in(house, m, direct=d), **unable)
    for mechanism in BOUND_MECHANISMS:
        door_fact(f"{mechanism}_with_tls_exporter_through_{through}",
                  lambda house, m=mechanism, d=door: signs_in(house, m, direct=d, binding=exporter),
                  prosody="0.12 binds to tls-unique only")


def keys_elsewhere(password):
    """What another server has stored of a password, as RFC 5803 writes it."""
    salt = b"another server's"
    salted = hashlib.pbkdf2_hmac("sha1", password.encode(), salt, 4096)
    stored = hashlib.sha1(hmac.digest(salted, b"Client Key", "sha1")).digest()
    parts = (base64.b64encode(part).decode() for part in (salt, stored, hmac.digest(salted, b"Server Key", "sha1")))
    return "SCRAM-SHA-1$4096:{}${}:{}".format(*parts)


@fact(prosody="has its own way to bring accounts")
async def who_comes_from_another_server_keeps_the_password(house):
    house.server.add_accounts([("emigrant", keys_elsewhere(PASSWORD))])
    # PLAIN comes last: it brings the keys that are missing.
    for mechanism in ("SCRAM-SHA-1", None, "PLAIN"):
        person = await house.arrives("emigrant", mechanism=mechanism)
        used = person["feature_mechanisms"].mech.name
        assert used == (mechanism or "SCRAM-SHA-1"), used
    # With other keys the others get back what they had.
    change = "<query xmlns='jabber:iq:register'><username>{}</username><password>{}</password></query>"
    iq = person.make_iq_set(ET.fromstring(change.format("emigrant", PASSWORD)), ito=house.domain)
    await iq.send(timeout=PATIENCE_S)
    await signs_in(house, "SCRAM-SHA-256", name="emigrant")


@fact(prosody="0.12 does not know tls-server-end-point")
async def scram_plus_with_tls_server_end_point(house):
    with EndPointFlag():
        for mechanism in BOUND_MECHANISMS:
            await signs_in(house, mechanism, binding=end_point)


@fact(prosody="0.12 binds to tls-unique only")
async def a_wrong_channel_binding_is_refused(house):
    person = house.person(mechanism="SCRAM-SHA-256-PLUS", binding=lambda _: b"\0" * 32)
    await stays_outside(person)


@fact
async def the_strongest_mechanism_is_chosen_when_none_is_forced(house):
    person = await house.arrives()
    assert person["feature_mechanisms"].mech.name.startswith("SCRAM-SHA-")


@fact
async def tls_1_2_is_served_too(house):
    person = house.person(mechanism="SCRAM-SHA-1")
    person.ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2
    await person.sign_in()
    assert person.socket.version() == "TLSv1.2"


async def stays_outside(person):
    """Nobody is let in, and the server says `not-authorized` (RFC 6120 §6.5.10)."""
    failures = []
    person.add_event_handler("failed_auth", failures.append)
    try:
        await person.sign_in()
    except SignInFailed:
        assert failures and failures[0]["condition"] == "not-authorized", failures
    else:
        raise AssertionError("was let in")


@fact
async def a_wrong_password_is_not_authorized(house):
    for mechanism in ("PLAIN", "SCRAM-SHA-1"):
        await stays_outside(house.person(mechanism=mechanism, password="wrong"))


@fact
async def an_unknown_account_is_not_authorized(house):
    for mechanism in ("PLAIN", "SCRAM-SHA-1"):
        await stays_outside(house.person("nobody", mechanism=mechanism))


@fact
async def a_client_that_trusts_another_authority_stays_away(house):
    stranger = Authority(house.directory / "stranger", house.domain)
    person = house.person(authority=stranger.ca)
    try:
        await person.sign_in()
    except SignInFailed:
        return
    raise AssertionError("the certificate was not checked")


@fact
async def before_starttls_nothing_but_tls_is_offered(house):
    reader, writer = await asyncio.open_connection("127.0.0.1", house.server.port)
    writer.write(f"<stream:stream to='{house.domain}' version='1.0' xmlns='jabber:client' "
                 "xmlns:stream='http://etherx.jabber.org/streams'>".encode())
    features = await asyncio.wait_for(reader.readuntil(b"</stream:features>"), 10)
    writer.close()
    assert b"urn:ietf:params:xml:ns:xmpp-tls" in features and b"required" in features, features
    assert b"mechanism" not in features, features


@fact
async def the_resource_asked_for_is_bound(house):
    person = await house.arrives(resource="Ångström & Söhne")
    assert person.boundjid.resource == "Ångström & Söhne", person.boundjid


@fact
async def two_devices_of_one_account_live_side_by_side(house):
    one = await house.arrives()
    other = await house.arrives(one.name)
    assert one.boundjid.full != other.boundjid.full
    await one.hears_presence("available", other.boundjid.full)
    await other.hears_presence("available", one.boundjid.full)
