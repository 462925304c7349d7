"""slixmpp meets a server that is stopped, started and told to read its settings again."""

import signal

from slixmpp_person import facts

FACTS, fact = facts()


async def everything_is_kept(house, end):
    """Roster, waiting messages, block list and vCard are there again after an end of this kind."""
    anna, name = await house.arrives(resumes=True), house.account()
    await anna.update_roster("friend@elsewhere.test", name="Friend", groups=["Kept"])
    await anna["xep_0191"].block(["spam@elsewhere.test"])
    await anna.asks("set", "<vCard xmlns='vcard-temp'><FN>Anna</FN></vCard>")
    for number in range(3):
        anna.says(house.jid(name), f"kept {number}")
    # Only what an <a/> covers is promised (XEP-0198 §4): an answered ping says nothing about the disk.
    await anna.is_acknowledged()
    end(house.server)
    house.server.start()

    bert, again = await house.arrives(name), await house.arrives(anna.name)
    for number in range(3):
        message = await bert.expect(lambda s: s.name == "message", f"message {number}")
        assert message["body"] == f"kept {number}", message["body"]
    roster = await again.asks("get", "<query xmlns='jabber:iq:roster'/>")
    assert [item.get("name") for item in roster.iter("{jabber:iq:roster}item")] == ["Friend"]
    assert {str(jid) for jid in await again["xep_0191"].get_blocked_jids()} == {"spam@elsewhere.test"}
    card = await again.asks("get", "<vCard xmlns='vcard-temp'/>")
    assert card.findtext(".//{vcard-temp}FN") == "Anna"


@fact
async def a_restart_keeps_everything(house):
    await everything_is_kept(house, lambda server: server.stop())


@fact
async def a_power_cut_keeps_everything_that_was_acknowledged(house):
    await everything_is_kept(house, lambda server: server.kill())


@fact
async def a_stop_ends_the_stream_in_an_orderly_way(house):
    anna = await house.arrives()
    gone = anna.disconnected
    house.server.process.send_signal(signal.SIGTERM)
    try:
        await anna.expect(lambda s: s.name == "error" and s["condition"] == "system-shutdown", "system-shutdown")
        await gone
    finally:
        house.server.stop()
        house.server.start()


@fact
async def reading_the_settings_again_drops_nobody(house):
    anna, bert = await house.arrives(), await house.arrives()
    house.server.process.send_signal(signal.SIGHUP)
    await house.arrives()
    anna.says(bert.boundjid.full, "still there?")
    await bert.hears_text("still there?", anna.boundjid.bare)
    assert anna.is_connected() and bert.is_connected()
