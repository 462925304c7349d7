"""slixmpp holds conversations in rooms (XEP-0045): a club, and a private group whose members encrypt (XEP-0384)."""

from omemo.session_manager import MessageNotForUs
from slixmpp import JID
from slixmpp.exceptions import IqError, PresenceError

from slixmpp_omemo_chat import OMEMO_S, TrustLevel, device
from slixmpp_person import PATIENCE_S, PLUGINS, are_contacts, facts

FACTS, fact = facts()
WITH_ROOMS = (*PLUGINS, "xep_0004", "xep_0045", "xep_0249", "xep_0313", "xep_0410")


def rooms(house):
    """Where rooms are."""
    return f"rooms.{house.domain}" if house.kind == "lampone" else f"conference.{house.domain}"


async def makes(person, house, name, **settings):
    """A room of this name, set up; its address."""
    room = JID(f"{name}@{rooms(house)}")
    await person["xep_0045"].join_muc_wait(room, person.name, timeout=PATIENCE_S)
    form = await person["xep_0045"].get_room_config(room)
    form["type"] = "submit"
    values = {f"muc#roomconfig_{field}": value for field, value in settings.items()}
    form["values"] = {**form.get_values(), **values}
    await person["xep_0045"].set_room_config(room, form)
    return room


def said(text):
    """Whether a stanza is what somebody said in a room."""
    return lambda s: s.name == "message" and s["type"] == "groupchat" and s["body"] == text


@fact
async def a_club_talks_and_its_owner_keeps_order(house):
    anna, bert, carl = [await house.arrives(plugins=WITH_ROOMS) for _ in range(3)]
    found = await bert["xep_0030"].get_items(jid=house.domain)
    assert rooms(house) in {item[0] for item in found["disco_items"]["items"]}, found
    room = await makes(anna, house, "club", publicroom=True, roomname="The club")
    listed = await bert["xep_0030"].get_items(jid=rooms(house))
    assert (str(room), None, "The club") in listed["disco_items"]["items"], listed
    for person in (bert, carl):
        _, subject, there, _ = await person["xep_0045"].join_muc_wait(room, person.name, timeout=PATIENCE_S)
        assert anna.name in {p["muc"]["nick"] for p in there}, there
    for speaker, text in ((anna, "welcome"), (bert, "hello"), (carl, "good evening")):
        speaker.send_message(mto=room, mbody=text, mtype="groupchat")
        for hearer in (anna, bert, carl):
            heard = await hearer.expect(said(text), text)
            assert heard["from"].resource == speaker.name, heard
    bert.send_message(mto=JID(f"{room}/{carl.name}"), mbody="psst", mtype="chat")
    heard = await carl.expect(lambda s: s.name == "message" and s["body"] == "psst", "a whisper")
    assert heard["from"] == JID(f"{room}/{bert.name}"), heard
    anna["xep_0045"].set_subject(room, "Tonight: cards")
    for hearer in (anna, bert, carl):
        await hearer.expect(lambda s: s.name == "message" and s["subject"] == "Tonight: cards", "the subject")
    await anna["xep_0045"].set_role(room, carl.name, "none", reason="cheated")
    await carl.expect(lambda s: s.name == "presence" and s["type"] == "unavailable"
                      and 307 in s["muc"]["status_codes"], "a kick")
    await anna["xep_0045"].set_affiliation(room, "outcast", jid=carl.boundjid.bare, reason="cheats")
    try:
        await carl["xep_0045"].join_muc_wait(room, carl.name, timeout=PATIENCE_S)
        raise AssertionError("the banned came in")
    except PresenceError as error:
        assert error.condition == "forbidden", error
    assert [carl.boundjid.bare] == await anna["xep_0045"].get_affiliation_list(room, "outcast")
    await anna["xep_0045"].destroy(room, reason="The club is closed")
    await bert.expect(lambda s: s.name == "presence" and s["type"] == "unavailable"
                      and s.xml.find(".//{http://jabber.org/protocol/muc#user}destroy") is not None, "the end")


@fact
async def who_was_away_reads_the_rooms_archive(house):
    anna, bert = [await house.arrives(plugins=WITH_ROOMS) for _ in range(2)]
    room = await makes(anna, house, "family", persistentroom=True, membersonly=True)
    await anna["xep_0045"].set_affiliation(room, "member", jid=bert.boundjid.bare)
    for text in ("one", "two", "three"):
        anna.send_message(mto=room, mbody=text, mtype="groupchat")
        await anna.expect(said(text), text)
    seen = [m["mam_result"]["forwarded"]["stanza"]["body"]
            async for m in bert["xep_0313"].iterate(jid=room, total=10)]
    assert seen == ["one", "two", "three"], seen
    stranger = await house.arrives(plugins=WITH_ROOMS)
    try:
        await stranger["xep_0313"].retrieve(jid=room)
        raise AssertionError("a stranger read it")
    except IqError as error:
        assert error.condition == "forbidden", error


@fact
async def a_private_group_encrypts(house):
    people = [await device(house) for _ in range(3)]
    for person in people:
        person.register_plugin("xep_0045")
    anna, bert, carl = people
    await are_contacts(anna, bert)
    room = await makes(anna, house, "secrets", persistentroom=True, membersonly=True, whois="anyone")
    for person in (bert, carl):
        await anna["xep_0045"].set_affiliation(room, "member", jid=person.boundjid.bare)
        await person["xep_0045"].join_muc_wait(room, person.name, timeout=PATIENCE_S)
    everybody = {JID(person.boundjid.bare) for person in people}
    for speaker, text in ((anna, "nobody else reads this"), (carl, "nor this")):
        plugin = speaker["xep_0384"]
        await plugin.refresh_device_lists(everybody, force_download=True)
        manager = await plugin.get_session_manager()
        for own in await manager.get_device_information(speaker.boundjid.bare):
            await manager.set_trust(own.bare_jid, own.identity_key, TrustLevel.TRUSTED.name)
        stanza = speaker.make_message(mto=room, mtype="groupchat", mbody=text)
        message, errors = await plugin.encrypt_message(stanza, everybody - {JID(speaker.boundjid.bare)})
        assert not errors and text not in str(message), errors
        message.send()
        for reader in people:
            if reader is not speaker:
                await reads(reader, room, text)


async def reads(person, room, text):
    """Waits for an encrypted message in the room, and decrypts it."""
    plugin = person["xep_0384"]
    while True:
        heard = await person.expect(
            lambda s: s.name == "message" and s["type"] == "groupchat" and s["from"].bare == room.bare
            and s["from"].resource != person.name and bool(plugin.is_encrypted(s)), f"an encrypted {text!r}", OMEMO_S)
        try:
            message, _ = await plugin.decrypt_message(heard)
        except MessageNotForUs:
            continue
        if message["body"]:
            assert message["body"] == text, message
            return
