"""slixmpp reads archives: XEP-0313, XEP-0059, XEP-0441, through its own plugin."""

from slixmpp.exceptions import IqError
from slixmpp_person import PLUGINS, facts

FACTS, fact = facts()
WITH_ARCHIVE = (*PLUGINS, "xep_0059", "xep_0297", "xep_0313", "xep_0441")


async def read(person, **asked):
    """Bodies and ids of everything that matches, in the order in which it came."""
    seen = []
    async for message in person["xep_0313"].iterate(**asked):
        result = message["mam_result"]
        seen.append((result["forwarded"]["stanza"]["body"], result["id"]))
    return seen


async def conversation(house, count):
    """Two who have talked, alternating."""
    anna, ben = await house.arrives(plugins=WITH_ARCHIVE), await house.arrives(plugins=WITH_ARCHIVE)
    for number in range(count):
        speaker, hearer = (anna, ben) if number % 2 == 0 else (ben, anna)
        speaker.says(hearer.boundjid.bare, f"line {number}")
        await hearer.hears_text(f"line {number}")
    return anna, ben


@fact
async def both_sides_read_the_whole_conversation_page_by_page(house):
    anna, ben = await conversation(house, 25)
    for person in (anna, ben):
        seen = await read(person, rsm={"max": 4})
        assert [body for body, _ in seen] == [f"line {n}" for n in range(25)], seen
        assert len({number for _, number in seen}) == 25, "no id twice"


@fact
async def backwards_the_newest_page_comes_first(house):
    anna, _ = await conversation(house, 7)
    seen = await read(anna, reverse=True, rsm={"max": 3})
    assert {body for body, _ in seen} == {f"line {n}" for n in range(7)}, seen


@fact
async def live_messages_name_the_archives_id(house):
    anna, ben = await house.arrives(plugins=WITH_ARCHIVE), await house.arrives(plugins=WITH_ARCHIVE)
    anna.says(ben.boundjid.bare, "hello")
    live = await ben.hears_text("hello")
    assert str(live["stanza_id"]["by"]) == ben.boundjid.bare
    assert [("hello", live["stanza_id"]["id"])] == await read(ben)


@fact
async def filters_by_contact_leave_the_others_out(house):
    anna, ben = await conversation(house, 4)
    cleo = await house.arrives(plugins=WITH_ARCHIVE)
    cleo.says(anna.boundjid.bare, "from cleo")
    await anna.hears_text("from cleo")
    seen = await read(anna, with_jid=cleo.boundjid)
    assert [body for body, _ in seen] == ["from cleo"], seen
    seen = await read(anna, with_jid=ben.boundjid.bare)
    assert len(seen) == 4, seen


@fact
async def what_was_said_to_the_absent_waits_and_is_archived_under_one_id(house):
    anna, name = await house.arrives(plugins=WITH_ARCHIVE), house.account()
    anna.says(house.jid(name), "later")
    await anna.fence()
    ben = await house.arrives(name, plugins=WITH_ARCHIVE)
    late = await ben.hears_text("later")
    assert [("later", late["stanza_id"]["id"])] == await read(ben)


@fact
async def the_ends_and_the_fields_are_told(house):
    anna, _ = await conversation(house, 3)
    seen = await read(anna)
    metadata = (await anna["xep_0313"].get_archive_metadata())["mam_metadata"]
    assert (metadata["start"]["id"], metadata["end"]["id"]) == (seen[0][1], seen[-1][1]), metadata
    fields = await anna["xep_0313"].get_fields()
    assert {"with", "start", "end", "before-id", "after-id", "ids"} <= set(fields.get_fields()), fields


@fact
async def preferences_are_kept(house):
    anna = await house.arrives(plugins=WITH_ARCHIVE)
    assert (await anna["xep_0441"].get_preferences())[0] == "always"
    await anna["xep_0441"].set_preferences(default="roster", always=None, never={house.jid("montague")})
    default, always, never = await anna["xep_0441"].get_preferences()
    assert default == "roster" and not always and {str(jid) for jid in never} == {house.jid("montague")}, never


@fact
async def anothers_archive_is_closed(house):
    anna, ben = await conversation(house, 1)
    try:
        await anna["xep_0313"].retrieve(jid=ben.boundjid.bare)
    except IqError as error:
        assert error.condition in ("service-unavailable", "forbidden"), error.condition
    else:
        raise AssertionError("anna read it")
