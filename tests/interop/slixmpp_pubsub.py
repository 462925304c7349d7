"""slixmpp publishes, subscribes and hears: personal events (XEP-0163), avatars (XEP-0084), bookmarks (XEP-0402, XEP-0048)
and the publish-subscribe host (XEP-0060)."""

from slixmpp.exceptions import IqError
from slixmpp.plugins.xep_0004 import Form
from slixmpp.plugins.xep_0048 import Bookmarks
from slixmpp.xmlstream import ET

from slixmpp_person import PATIENCE_S, PLUGINS, are_contacts, facts

FACTS, fact = facts()
PUBSUB = "http://jabber.org/protocol/pubsub"
EVENT = f"{{{PUBSUB}#event}}"
MOOD = "http://jabber.org/protocol/mood"
BOOKMARKS = "urn:xmpp:bookmarks:1"
DISPLAYED = "urn:xmpp:mds:displayed:0"
WITH_PEP = (*PLUGINS, "xep_0004", "xep_0060", "xep_0084", "xep_0115", "xep_0163", "xep_0223")


async def arrives(house, name=None, interests=()):
    """Somebody whose client tells in its capabilities of which nodes it wants to hear."""
    person = await house.arrives(name, available=False, plugins=WITH_PEP)
    for node in interests:
        person["xep_0163"].add_interest(node)
    await person["xep_0115"].update_caps(broadcast=False)
    await person.becomes_available()
    # The server asks for an unknown hash behind the presence; its question is answered before the fence is.
    await person.fence()
    return person


def events(stanza, node):
    """What a message says about a node: its <items/>, <purge/> or <delete/>."""
    return [child for event in stanza.xml.iter(f"{EVENT}event") for child in event if child.get("node") == node]


def hears_of(person, node, inside, sender=None):
    """Waits for an event of a node in whose XML stands this text."""
    return person.expect(
        lambda s: s.name == "message" and (sender is None or s["from"].bare == sender)
        and any(inside in ET.tostring(e, encoding="unicode") for e in events(s, node)), f"an event of {node}")


def payload(mood, node=MOOD):
    """Some mood."""
    return ET.fromstring(f"<mood xmlns='{node}'><{mood}/></mood>")


def options(**settings):
    """Publish-options as clients send them."""
    form = Form()
    form["type"] = "submit"
    form.add_field(var="FORM_TYPE", ftype="hidden", value=f"{PUBSUB}#publish-options")
    for name, value in settings.items():
        form.add_field(var=f"pubsub#{name}", value=value)
    return form


@fact
async def a_mood_reaches_contacts_and_own_devices_that_ask_for_it(house):
    anna = await arrives(house, interests=[MOOD])
    bert, carl = await arrives(house, interests=[MOOD]), await arrives(house)
    for person in (anna, bert, carl):
        await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    await are_contacts(anna, bert)
    await are_contacts(anna, carl)
    laptop = await arrives(house, anna.name, interests=[MOOD])
    await anna["xep_0060"].publish(anna.boundjid.bare, MOOD, payload=payload("happy"))
    for hearer in (anna, bert, laptop):
        heard = await hears_of(hearer, MOOD, "happy", sender=anna.boundjid.bare)
        assert heard["type"] == "headline", heard
    await carl.must_not_hear(lambda s: s.name == "message", "an event that it did not ask for", anna)


@fact
async def who_comes_online_hears_the_last_mood(house):
    anna, bert = await arrives(house), await arrives(house)
    for person in (anna, bert):
        await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    await are_contacts(anna, bert)
    for mood in ("sad", "happy"):
        await anna["xep_0060"].publish(anna.boundjid.bare, MOOD, payload=payload(mood))
    phone = await arrives(house, bert.name, interests=[MOOD])
    heard = await hears_of(phone, MOOD, "happy", sender=anna.boundjid.bare)
    assert heard.xml.find("{urn:xmpp:delay}delay") is not None, heard
    await phone.must_not_hear(lambda s: bool(events(s, MOOD)), "an older mood")


@fact
async def an_avatar_is_published_heard_and_fetched(house):
    anna, bert = await arrives(house), await arrives(house, interests=["urn:xmpp:avatar:metadata"])
    for person in (anna, bert):
        await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    await are_contacts(anna, bert)
    picture = bytes(range(256)) * 100
    avatar = anna["xep_0084"]
    picture_id = avatar.generate_id(picture)
    await avatar.publish_avatar(picture)
    await avatar.publish_avatar_metadata(
        [{"id": picture_id, "type": "image/png", "bytes": str(len(picture))}])
    await hears_of(bert, "urn:xmpp:avatar:metadata", picture_id, sender=anna.boundjid.bare)
    found = await bert["xep_0084"].retrieve_avatar(anna.boundjid.bare, picture_id, timeout=PATIENCE_S)
    data = found["pubsub"]["items"]["item"]["avatar_data"]["value"]
    assert data == picture, len(data)


@fact
async def bookmarks_are_private_and_follow_all_devices(house):
    anna = await arrives(house, interests=[BOOKMARKS])
    laptop = await arrives(house, anna.name, interests=[BOOKMARKS])
    bert = await arrives(house, interests=[BOOKMARKS])
    for person in (anna, bert):
        await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    await are_contacts(anna, bert)
    private = options(persist_items="true", max_items="max", send_last_published_item="never",
                      access_model="whitelist", notify_retract="1", notify_delete="1")
    for room in ("theplay@rooms.test", "orchard@rooms.test"):
        conference = ET.fromstring(f"<conference xmlns='{BOOKMARKS}' autojoin='true'><nick>A</nick></conference>")
        await anna["xep_0060"].publish(anna.boundjid.bare, BOOKMARKS, id=room, payload=conference, options=private)
        await hears_of(laptop, BOOKMARKS, room)
    found = await laptop["xep_0060"].get_items(anna.boundjid.bare, BOOKMARKS)
    assert [item["id"] for item in found["pubsub"]["items"]] == ["orchard@rooms.test", "theplay@rooms.test"], found
    await anna["xep_0060"].retract(anna.boundjid.bare, BOOKMARKS, "theplay@rooms.test", notify=True)
    await hears_of(laptop, BOOKMARKS, "retract")
    await bert.must_not_hear(lambda s: bool(events(s, BOOKMARKS)), "somebody else's bookmarks", anna)
    try:
        await bert["xep_0060"].get_items(anna.boundjid.bare, BOOKMARKS)
        raise AssertionError("bert reads anna's bookmarks")
    except IqError as error:
        assert error.condition == "not-allowed", error


@fact(prosody="it does not assist")
async def what_is_read_on_one_device_is_read_on_all(house):
    with_displayed = (*WITH_PEP, "xep_0333", "xep_0359", "xep_0490")
    anna = await house.arrives(plugins=with_displayed)
    info = await anna["xep_0030"].get_info(jid=anna.boundjid.bare)
    assert "urn:xmpp:mds:server-assist:0" in info["disco_info"]["features"], info
    phone = await arrives(house, anna.name, interests=[DISPLAYED])
    bert = await arrives(house, interests=[DISPLAYED])
    bert.says(anna.boundjid.bare, "have you read this?")
    heard = await anna.hears_text("have you read this?")
    marker = anna.make_message(mto=bert.boundjid.bare, mtype="chat")
    marker.append(ET.fromstring(f"<displayed xmlns='urn:xmpp:chat-markers:0' id='{heard['id']}'/>"))
    read = ET.fromstring(f"<displayed xmlns='{DISPLAYED}'/>")
    read.append(heard.xml.find("{urn:xmpp:sid:0}stanza-id"))
    marker.append(read)
    marker.send()
    told = await bert.expect(lambda s: s.name == "message" and s.xml.find("{urn:xmpp:chat-markers:0}displayed")
                             is not None, "a marker")
    assert told.xml.find(f"{{{DISPLAYED}}}displayed") is None, told
    await hears_of(phone, DISPLAYED, heard["stanza_id"]["id"], sender=anna.boundjid.bare)
    found = await anna["xep_0490"].catch_up()
    (item,) = found["pubsub"]["items"]
    assert (item["id"], item["displayed"]["stanza_id"]["id"]) == \
        (bert.boundjid.bare, heard["stanza_id"]["id"]), found


@fact(prosody="its old node has no bookmarks of private XML without a module of its own")
async def old_and_new_clients_share_their_bookmarks(house):
    with_bookmarks = (*WITH_PEP, "xep_0045", "xep_0048", "xep_0049", "xep_0402")
    old = await house.arrives(plugins=with_bookmarks)
    info = await old["xep_0030"].get_info(jid=old.boundjid.bare)
    assert {f"{BOOKMARKS}#compat", f"{BOOKMARKS}#compat-pep"} <= set(info["disco_info"]["features"]), info
    stored = Bookmarks()
    stored.add_url("http://the-tech.mit.edu/Shakespeare/", name="Works")
    stored.add_conference("orchard@rooms.test", "JC", autojoin=True, password="rose")
    await old["xep_0048"].set_bookmarks(stored)
    new = await arrives(house, old.name, interests=[BOOKMARKS])
    new.register_plugin("xep_0402")
    found = await new["xep_0060"].get_items(new.boundjid.bare, BOOKMARKS)
    (item,) = found["pubsub"]["items"]
    room = item["conference"]
    assert (item["id"], room["nick"], room["autojoin"], room["password"]) == \
        ("orchard@rooms.test", "JC", True, "rose"), found
    conference = ET.fromstring(f"<conference xmlns='{BOOKMARKS}' name='Ball'><nick>Masked</nick></conference>")
    await new["xep_0060"].publish(new.boundjid.bare, BOOKMARKS, id="ball@rooms.test", payload=conference)
    await new["xep_0060"].retract(new.boundjid.bare, BOOKMARKS, "orchard@rooms.test", notify=True)
    for method, part in (("xep_0049", lambda s: s["private"]), ("xep_0223", lambda s: s["pubsub"]["items"]["item"])):
        kept = part(await old["xep_0048"].get_bookmarks(method=method))["bookmarks"]
        assert [one["jid"] for one in kept["conferences"]] == ["ball@rooms.test"], (method, kept)
        assert [one["url"] for one in kept["urls"]] == ["http://the-tech.mit.edu/Shakespeare/"], (method, kept)
    await old["xep_0048"].set_bookmarks(Bookmarks(), method="xep_0223")
    await hears_of(new, BOOKMARKS, "retract")


@fact
async def what_the_node_has_to_be_is_stated_and_can_be_mended(house):
    anna = await arrives(house)
    me, pubsub = anna.boundjid.bare, anna["xep_0060"]
    await pubsub.publish(me, MOOD, payload=payload("sad"))
    try:
        await pubsub.publish(me, MOOD, payload=payload("happy"), options=options(access_model="open"))
        raise AssertionError("published although the node is not open")
    except IqError as error:
        assert error.condition == "conflict", error
        assert "precondition-not-met" in str(error.iq), error
    form = (await pubsub.get_node_config(me, MOOD))["pubsub_owner"]["configure"]["form"]
    form.reply()
    form["values"] = {**form.get_values(), "pubsub#access_model": "open"}
    form["type"] = "submit"
    await pubsub.set_node_config(me, MOOD, form)
    await pubsub.publish(me, MOOD, payload=payload("happy"), options=options(access_model="open"))


@fact
async def a_node_at_the_host_has_subscribers_and_an_owner(house):
    anna, bert = await arrives(house), await arrives(house)
    found = await bert["xep_0030"].get_items(house.domain)
    hosts = [str(jid) for jid, _, _ in found["disco_items"]["items"] if str(jid).startswith("pubsub.")]
    assert hosts, found
    host = hosts[0]
    info = (await bert["xep_0030"].get_info(host))["disco_info"]
    assert ("pubsub", "service") in [identity[:2] for identity in info["identities"]], info
    await anna["xep_0060"].create_node(host, "news")
    await bert["xep_0060"].subscribe(host, "news")
    await anna["xep_0060"].publish(host, "news", id="1", payload=payload("happy", "urn:news"))
    heard = await hears_of(bert, "news", "happy", sender=host)
    assert heard["to"].bare == bert.boundjid.bare, heard
    for at in range(2, 6):
        await anna["xep_0060"].publish(host, "news", id=str(at), payload=payload("happy", "urn:news"))
    page = (f"<pubsub xmlns='{PUBSUB}'><items node='news'/><set xmlns='http://jabber.org/protocol/rsm'>"
            "<max>2</max><after>4</after></set></pubsub>")
    answer = await bert.asks("get", page, to=host)
    assert [item.get("id") for item in answer.iter(f"{{{PUBSUB}}}item")] == ["3", "2"], ET.tostring(answer)
    for forbidden in (bert["xep_0060"].delete_node(host, "news"), bert["xep_0060"].purge(host, "news"),
                      bert["xep_0060"].publish(host, "news", payload=payload("sad", "urn:news"))):
        try:
            await forbidden
            raise AssertionError("bert does what only the owner may")
        except IqError as error:
            assert error.condition == "forbidden", error
    subscribers = (await anna["xep_0060"].get_node_subscriptions(host, "news")).xml
    assert bert.boundjid.bare in ET.tostring(subscribers, encoding="unicode")
    await anna["xep_0060"].delete_node(host, "news")
    await hears_of(bert, "news", "delete", sender=host)
