"""slixmpp chats: addresses, absence, copies, and bytes that must not change. RFC 6121 §5 and §8, XEP-0160, XEP-0280."""

import datetime

from slixmpp.xmlstream import ET

from slixmpp_person import facts

FACTS, fact = facts()
LONG = "Grüße & <tags> \"quotes\" 'apostrophes' ]]> 🍋 " * 1500


@fact
async def a_message_to_a_full_address_reaches_that_device_alone(house):
    anna = await house.arrives()
    phone = await house.arrives()
    laptop = await house.arrives(phone.name)
    anna.says(phone.boundjid.full, "to the phone")
    message = await phone.hears_text("to the phone")
    assert message["from"].full == anna.boundjid.full and message["to"].full == phone.boundjid.full
    await laptop.must_not_hear(lambda s: s.name == "message" and s["body"] == "to the phone", "the phone's message", anna)


@fact
async def a_message_to_a_bare_address_reaches_all_devices_of_equal_rank(house):
    anna = await house.arrives()
    phone = await house.arrives()
    laptop = await house.arrives(phone.name)
    anna.says(phone.boundjid.bare, "to whom it may concern")
    await phone.hears_text("to whom it may concern", anna.boundjid.bare)
    await laptop.hears_text("to whom it may concern", anna.boundjid.bare)


@fact
async def negative_priority_gets_no_messages_for_the_account(house):
    anna = await house.arrives()
    present = await house.arrives()
    bot = await house.arrives(present.name, available=False)
    await bot.becomes_available(ppriority=-1)
    anna.says(present.boundjid.bare, "for people")
    await present.hears_text("for people")
    await bot.must_not_hear(lambda s: s.name == "message" and s["body"] == "for people", "a message", anna)


@fact
async def messages_wait_for_the_absent_in_order_with_a_stamp(house):
    anna, name = await house.arrives(), house.account()
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=2)
    for number in range(5):
        anna.says(house.jid(name), f"number {number}")
    await anna.fence()
    bert = await house.arrives(name)
    for number in range(5):
        message = await bert.expect(lambda s: s.name == "message", f"message {number}")
        assert message["body"] == f"number {number}", f"{message['body']} came as number {number}"
        stamp = message["delay"]["stamp"]
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
        assert before <= stamp <= now, stamp
    await bert.leave()
    again = await house.arrives(name)
    await again.must_not_hear(lambda s: s.name == "message", "an old message again")


@fact
async def a_message_to_a_device_that_left_is_not_lost(house):
    anna, bert = await house.arrives(), await house.arrives()
    left = bert.boundjid.full
    await bert.leave()
    anna.says(left, "wait for me")
    await anna.fence()
    again = await house.arrives(bert.name)
    await again.hears_text("wait for me")


@fact
async def a_message_to_nobody_bounces(house):
    anna = await house.arrives()
    sent = anna.says(house.jid("nobody-lives-here"), "hello?")
    error = await anna.expect(lambda s: s.name == "message" and s["type"] == "error", "an error")
    assert error["id"] == sent["id"]
    assert error["error"]["condition"] in ("service-unavailable", "item-not-found"), error


@fact
async def long_text_and_every_kind_of_character_arrive_unchanged(house):
    anna, bert = await house.arrives(), await house.arrives()
    anna.says(bert.boundjid.bare, LONG)
    await bert.hears_text(LONG)


async def arrives_unchanged(house, extra):
    """Sends an element of a namespace that nobody knows; it must mean the same behind the server."""
    anna, bert = await house.arrives(), await house.arrives()
    anna.send_raw(f"<message to='{bert.boundjid.bare}' type='chat'><body>with extras</body>{extra}</message>")
    got = (await bert.hears_text("with extras")).xml.find("{urn:example:x}outer")
    same = [ET.canonicalize(text, rewrite_prefixes=True) for text in (ET.tostring(got, "unicode"), extra)]
    assert same[0] == same[1], same


@fact
async def unknown_extensions_pass_unchanged(house):
    await arrives_unchanged(house, "<x:outer xmlns:x='urn:example:x' x:a='1' b='&lt;&amp;&quot;'> t <inner xmlns='urn:y'/>u"
                                   "<x:deep/></x:outer>")


@fact(prosody="0.12 writes it as a bare line break, which XML reads as a space")
async def a_line_break_in_an_attribute_stays_one(house):
    await arrives_unchanged(house, "<outer xmlns='urn:example:x' a='one&#10;two&#9;three'/>")


@fact
async def a_forged_sender_does_not_pass(house):
    anna, bert = await house.arrives(), await house.arrives()
    anna.send_raw(f"<message from='boss@{house.domain}' to='{bert.boundjid.bare}' type='chat'><body>pay</body></message>")
    await bert.fence()
    forged = [s for s in bert.heard if s.name == "message" and s["from"].bare != anna.boundjid.bare]
    assert not forged, forged


@fact
async def the_other_devices_get_copies_when_they_want_them(house):
    anna = await house.arrives()
    phone = await house.arrives()
    laptop = await house.arrives(phone.name)
    await laptop["xep_0280"].enable()
    anna.says(phone.boundjid.full, "hello phone")
    copy = await laptop.expect(lambda s: s.name == "message" and s.xml.find("{urn:xmpp:carbons:2}received") is not None,
                               "a received copy")
    assert copy["from"].full == phone.boundjid.bare, copy["from"]
    assert copy["carbon_received"]["body"] == "hello phone"
    phone.says(anna.boundjid.full, "hello anna")
    copy = await laptop.expect(lambda s: s.name == "message" and s.xml.find("{urn:xmpp:carbons:2}sent") is not None,
                               "a sent copy")
    assert copy["carbon_sent"]["body"] == "hello anna" and copy["from"].full == phone.boundjid.bare


@fact
async def private_messages_are_not_copied(house):
    anna = await house.arrives()
    phone = await house.arrives()
    laptop = await house.arrives(phone.name)
    await laptop["xep_0280"].enable()
    message = anna.make_message(mto=phone.boundjid.full, mbody="secret", mtype="chat")
    message.append(ET.fromstring("<private xmlns='urn:xmpp:carbons:2'/>"))
    message.append(ET.fromstring("<no-copy xmlns='urn:xmpp:hints'/>"))
    message.send()
    await phone.hears_text("secret")
    await laptop.must_not_hear(lambda s: s.name == "message", "a copy", anna)
