"""slixmpp keeps a roster: items, groups, subscriptions and the presence that follows from them. RFC 6121 §2–§4."""

from slixmpp_person import are_contacts, facts

FACTS, fact = facts()
ROSTER = "{jabber:iq:roster}"


async def roster_of(person):
    """The roster as asked for now: address -> item element."""
    answer = await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    return {item.get("jid"): item for item in answer.iter(f"{ROSTER}item")}


def groups(item):
    """The groups of an item element."""
    return sorted(group.text for group in item.iter(f"{ROSTER}group"))


@fact
async def an_item_with_name_and_groups_is_kept_and_pushed_to_all_devices(house):
    phone = await house.arrives()
    laptop = await house.arrives(phone.name)
    await roster_of(phone)
    await roster_of(laptop)
    await phone.update_roster("romeo@elsewhere.test", name="Romeo <3", groups=["Friends", "Verona & Mantua"])
    await phone.hears_push("romeo@elsewhere.test", name="Romeo <3", subscription="none")
    await laptop.hears_push("romeo@elsewhere.test", name="Romeo <3", subscription="none")
    item = (await roster_of(laptop))["romeo@elsewhere.test"]
    assert groups(item) == ["Friends", "Verona & Mantua"], groups(item)

    await laptop.update_roster("romeo@elsewhere.test", name="R", groups=["Old"])
    await phone.hears_push("romeo@elsewhere.test", name="R")
    assert groups((await roster_of(phone))["romeo@elsewhere.test"]) == ["Old"]

    await phone.del_roster_item("romeo@elsewhere.test")
    await laptop.hears_push("romeo@elsewhere.test", subscription="remove")
    assert await roster_of(laptop) == {}


@fact
async def a_subscription_goes_through_request_approval_and_presence(house):
    anna, bert = await house.arrives(), await house.arrives()
    await roster_of(anna)
    await roster_of(bert)
    anna.send_presence_subscription(pto=bert.boundjid.bare, ptype="subscribe")
    await anna.hears_push(bert.boundjid.bare, subscription="none", ask="subscribe")
    await bert.hears_presence("subscribe", anna.boundjid.bare)
    bert.send_presence_subscription(pto=anna.boundjid.bare, ptype="subscribed")
    await anna.hears_presence("subscribed", bert.boundjid.bare)
    await anna.hears_push(bert.boundjid.bare, subscription="to")
    await bert.hears_push(anna.boundjid.bare, subscription="from")
    await anna.hears_presence("available", bert.boundjid.full)


@fact
async def contacts_see_each_other_come_change_and_go(house):
    anna, bert = await house.arrives(), await house.arrives()
    await roster_of(anna)
    await roster_of(bert)
    await are_contacts(anna, bert)
    bert.send_presence(pshow="away", pstatus="tea")
    await anna.expect(lambda s: s.name == "presence" and s["from"] == bert.boundjid and s["status"] == "tea"
                      and s["show"] == "away", "bert away with tea")
    await bert.leave()
    await anna.hears_presence("unavailable", bert.boundjid.full)
    again = await house.arrives(bert.name)
    await anna.hears_presence("available", again.boundjid.full)
    await again.hears_presence("available", anna.boundjid.full)


@fact
async def a_lost_connection_makes_contacts_see_unavailable(house):
    anna, bert = await house.arrives(), await house.arrives()
    await roster_of(anna)
    await roster_of(bert)
    await are_contacts(anna, bert)
    await bert.is_cut()
    await anna.hears_presence("unavailable", bert.boundjid.full)


@fact
async def a_request_waits_for_the_absent(house):
    anna, name = await house.arrives(), house.account()
    anna.send_presence_subscription(pto=house.jid(name), ptype="subscribe")
    await anna.fence()
    bert = await house.arrives(name)
    await bert.hears_presence("subscribe", anna.boundjid.bare)


@fact
async def a_refused_request_ends_in_none(house):
    anna, bert = await house.arrives(), await house.arrives()
    await roster_of(anna)
    anna.send_presence_subscription(pto=bert.boundjid.bare, ptype="subscribe")
    await bert.hears_presence("subscribe", anna.boundjid.bare)
    bert.send_presence_subscription(pto=anna.boundjid.bare, ptype="unsubscribed")
    await anna.hears_presence("unsubscribed", bert.boundjid.bare)
    item = (await roster_of(anna))[bert.boundjid.bare]
    assert item.get("subscription") == "none" and item.get("ask") is None


@fact
async def removing_a_contact_ends_both_subscriptions(house):
    anna, bert = await house.arrives(), await house.arrives()
    await roster_of(anna)
    await roster_of(bert)
    await are_contacts(anna, bert)
    await anna.del_roster_item(bert.boundjid.bare)
    await bert.hears_presence("unsubscribe", anna.boundjid.bare)
    await bert.hears_presence("unsubscribed", anna.boundjid.bare)
    await bert.hears_push(anna.boundjid.bare, subscription="none")
    await bert.hears_presence("unavailable", anna.boundjid.bare)
    assert await roster_of(anna) == {}


@fact
async def strangers_do_not_see_presence(house):
    anna, bert = await house.arrives(), await house.arrives()
    anna.send_presence(pstatus="private matter")
    await bert.must_not_hear(lambda s: s.name == "presence" and s["from"].bare == anna.boundjid.bare,
                             "a stranger's presence", anna)


@fact
async def directed_presence_reaches_a_stranger_and_is_taken_back(house):
    anna, bert = await house.arrives(), await house.arrives()
    anna.send_presence(pto=bert.boundjid.full, pstatus="for you")
    await bert.hears_presence("available", anna.boundjid.full)
    await anna.leave()
    await bert.hears_presence("unavailable", anna.boundjid.full)
