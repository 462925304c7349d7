"""slixmpp uses what an account keeps: block list (XEP-0191), vCard (XEP-0054), private elements (XEP-0049); and the
account itself: its password, its end (XEP-0077)."""

import asyncio

from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET

from slixmpp_person import PATIENCE_S, SignInFailed, are_contacts, facts

FACTS, fact = facts()
BLOCKED = "{urn:xmpp:blocking:errors}blocked"


@fact
async def the_block_list_is_kept_and_told_to_the_other_devices(house):
    phone = await house.arrives()
    laptop = await house.arrives(phone.name)
    assert await phone["xep_0191"].get_blocked_jids() == set()
    assert await laptop["xep_0191"].get_blocked_jids() == set()
    await phone["xep_0191"].block(["spam@elsewhere.test", "ads.test"])
    await laptop.expect(lambda s: s.name == "iq" and s.xml.find("{urn:xmpp:blocking}block") is not None, "the block")
    assert {str(j) for j in await laptop["xep_0191"].get_blocked_jids()} == {"spam@elsewhere.test", "ads.test"}
    await phone["xep_0191"].unblock(["ads.test"])
    await laptop.expect(lambda s: s.name == "iq" and s.xml.find("{urn:xmpp:blocking}unblock") is not None, "unblock")
    assert {str(j) for j in await laptop["xep_0191"].get_blocked_jids()} == {"spam@elsewhere.test"}


@fact
async def nothing_of_a_blocked_contact_arrives(house):
    anna, bert = await house.arrives(), await house.arrives()
    await anna.get_roster()
    await bert.get_roster()
    await are_contacts(anna, bert)
    await anna["xep_0191"].block([bert.boundjid.bare])
    await bert.hears_presence("unavailable", anna.boundjid.full)
    await bert.fence()
    bert.heard.clear()
    anna.heard.clear()
    sent = bert.says(anna.boundjid.bare, "buy now")
    error = await bert.expect(lambda s: s.name == "message" and s["type"] == "error", "an error")
    assert error["id"] == sent["id"] and error["error"]["condition"] == "service-unavailable"
    bert.send_presence(pstatus="look at me")
    await anna.must_not_hear(lambda s: s.name in ("message", "presence") and s["from"].bare == bert.boundjid.bare,
                             "the blocked", bert)


@fact
async def to_a_blocked_contact_nothing_can_be_sent(house):
    anna, bert = await house.arrives(), await house.arrives()
    await anna["xep_0191"].block([bert.boundjid.bare])
    anna.says(bert.boundjid.bare, "I forgot that I blocked you")
    error = await anna.expect(lambda s: s.name == "message" and s["type"] == "error", "an error")
    assert error["error"]["condition"] == "not-acceptable", error
    assert error.xml.find(f".//{BLOCKED}") is not None, error
    await anna["xep_0191"].unblock([bert.boundjid.bare])
    anna.says(bert.boundjid.bare, "sorry")
    await bert.hears_text("sorry")


@fact
async def a_vcard_is_kept_and_seen_by_others(house):
    anna, bert = await house.arrives(), await house.arrives()
    card = "<vCard xmlns='vcard-temp'><FN>Anna &amp; Co</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>{}</BINVAL></PHOTO></vCard>"
    picture = "QUJD" * 5000
    await anna.asks("set", card.format(picture))
    for person, to in ((anna, None), (bert, anna.boundjid.bare)):
        seen = (await person.asks("get", "<vCard xmlns='vcard-temp'/>", to)).find("{vcard-temp}vCard")
        assert seen.findtext("{vcard-temp}FN") == "Anna & Co"
        assert seen.findtext("{vcard-temp}PHOTO/{vcard-temp}BINVAL") == picture


@fact
async def nobody_changes_the_vcard_of_another(house):
    anna, bert = await house.arrives(), await house.arrives()
    try:
        await bert.asks("set", "<vCard xmlns='vcard-temp'><FN>Fool</FN></vCard>", anna.boundjid.bare)
    except IqError:
        return
    raise AssertionError("it was accepted")


@fact
async def private_elements_are_kept_by_name_and_space(house):
    anna = await house.arrives()
    for space, value in (("urn:example:one", "1"), ("urn:example:two", "2")):
        await anna.asks("set", f"<query xmlns='jabber:iq:private'><p xmlns='{space}'><v>{value}</v></p></query>")
    await anna.leave()
    again = await house.arrives(anna.name)
    answer = await again.asks("get", "<query xmlns='jabber:iq:private'><p xmlns='urn:example:two'/></query>")
    assert answer.findtext(".//{urn:example:two}v") == "2", ET.tostring(answer)
    assert answer.find(".//{urn:example:one}p") is None


@fact
async def attributes_keep_their_namespaces(house):
    anna = await house.arrives()
    links = "<links xmlns='urn:example:links'><a xmlns:x='http://www.w3.org/1999/xlink' x:href='urn:a' href='b'/></links>"
    # slixmpp would leave the attribute out.
    anna.send_raw(f"<iq type='set' id='links'><query xmlns='jabber:iq:private'>{links}</query></iq>")
    answer = await anna.asks("get", "<query xmlns='jabber:iq:private'><links xmlns='urn:example:links'/></query>")
    found = answer.find(".//{urn:example:links}a")
    assert found.attrib == {"{http://www.w3.org/1999/xlink}href": "urn:a", "href": "b"}, ET.tostring(answer)


@fact(prosody="keeps the other sessions")
async def a_new_password_counts_and_ends_the_other_sessions(house):
    phone = await house.arrives()
    laptop = await house.arrives(phone.name)
    cut = laptop.disconnected
    laptop.add_event_handler("disconnected", lambda _: laptop.cancel_connection_attempt())
    change = "<query xmlns='jabber:iq:register'><username>{}</username><password>{}</password></query>"
    await phone.asks("set", change.format(phone.name, "a better one"), house.domain)
    await asyncio.wait_for(asyncio.shield(cut), PATIENCE_S)
    await house.arrives(phone.name, password="a better one")
    try:
        await house.arrives(phone.name)
    except SignInFailed:
        return
    raise AssertionError("the old password still counts")


@fact(prosody="its registration module is not loaded")
async def who_cancels_an_account_is_gone(house):
    anna, bert = await house.arrives(), await house.arrives()
    await anna.get_roster()
    await bert.get_roster()
    await are_contacts(anna, bert)
    anna.add_event_handler("disconnected", lambda _: anna.cancel_connection_attempt())
    anna.send_raw("<iq type='set' id='bye'><query xmlns='jabber:iq:register'><remove/></query></iq>")
    await bert.hears_presence("unavailable", anna.boundjid.full)
    await bert.hears_presence("unsubscribed", anna.boundjid.bare)
    try:
        await house.arrives(anna.name)
    except SignInFailed:
        return
    raise AssertionError("the account is still there")
