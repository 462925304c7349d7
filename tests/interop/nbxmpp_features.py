"""What a server and an account advertise, exercised through the modules of nbxmpp. A feature whose name nbxmpp knows and
that nobody here uses is an error: whoever makes the server advertise it adds an exercise, or says below where it is used.
"""

import base64
import datetime
import hashlib
import uuid

from gi.repository import GLib
from nbxmpp.namespaces import Namespace
from nbxmpp.protocol import JID, Iq, Message, Node
from nbxmpp.structs import (ActivityData, AnnotationNote, BookmarkData, LocationData, OMEMOBundle, StanzaHandler,
                            TuneData)
from nbxmpp.modules.user_avatar import Avatar
from nbxmpp.modules.vcard4 import VCard as VCard4
from nbxmpp.modules.vcard_temp import VCard
from nbxmpp.util import compute_caps_hash

PUBSUB = "http://jabber.org/protocol/pubsub"
ANSWER_S = 10
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA"
                         "AABJRU5ErkJggg==")
# Nothing of nbxmpp's uses them; the facts that do are named.
ELSEWHERE = {
    f"{PUBSUB}#": "slixmpp_pubsub", "urn:xmpp:mam:2#": "slixmpp_archive", "urn:xmpp:reporting:": "slixmpp_server",
    "urn:xmpp:carbons:rules:0": "told with urn:xmpp:carbons:2", "msgoffline": "slixmpp_chat",
    "http://jabber.org/protocol/disco#": "how this was asked for", "http://jabber.org/protocol/rsm": "archive",
    "jabber:iq:time": "given up for urn:xmpp:time",
}
KNOWN = {name for name in vars(Namespace).values() if isinstance(name, str)}
EXERCISES = {}


def of(*features):
    """Marks the exercise of features."""
    def marked(exercise):
        EXERCISES.update(dict.fromkeys(features, exercise))
        return exercise
    return marked


def exercised(client, tells):
    """Exercises everything that is advertised, once each, and tells what came of it."""
    house = House(client)
    done = {}
    for where, jid in (("server", house.domain), ("account", house.me)):
        info = house.asked("Discovery", "disco_info", jid)
        for feature in info.features:
            exercise = EXERCISES.get(feature)
            if exercise and exercise not in done:
                done[exercise] = outcome(exercise, house)
            elsewhere = next((fact for start, fact in ELSEWHERE.items() if feature.startswith(start)), None)
            error = done.get(exercise)
            if not exercise and not elsewhere and feature in KNOWN:
                error = "nobody exercises it"
            tells(feature=feature, at=where, by=exercise.__name__ if exercise else elsewhere, error=error)
    for exercise, there in ((capabilities, True), (client_state, house.feature("csi", "urn:xmpp:csi:0"))):
        if there:
            tells(feature=exercise.__name__, at="stream", by=exercise.__name__, error=outcome(exercise, house))
    tells(features="done")


def outcome(exercise, house):
    """Nothing, or what went wrong."""
    try:
        exercise(house)
    except Exception as error:  # noqa: BLE001  whatever it was, it is told
        return f"{type(error).__name__}: {error}"
    return None


class House:
    """The server as one account sees it; asks and waits."""

    def __init__(self, client):
        self.client = client
        self.me = client.get_bound_jid().new_as_bare()
        self.domain = JID.from_string(client.domain)
        self.heard = []
        client.register_handler(StanzaHandler(name="message", callback=self.hears, priority=52))

    def hears(self, _client, _stanza, properties):
        """Remembers a message."""
        self.heard.append(properties)

    def feature(self, name, namespace):
        """An element of the stream's features."""
        return self.client.features.getTag(name, namespace=namespace)

    def until(self, question, what):
        """Lets the loop run until the answer is yes."""
        ended = []
        timer = GLib.timeout_add_seconds(ANSWER_S, lambda: ended.append(True))
        while not (answer := question()):
            if ended:
                raise TimeoutError(what)
            GLib.MainContext.default().iteration(True)
        GLib.source_remove(timer)
        return answer

    def asked(self, module, method, *args, **options):
        """The result of a request of one of nbxmpp's modules."""
        ended = []

        def came(task):
            try:
                ended.append((task.finish(), None))
            except Exception as error:  # noqa: BLE001  raised below
                ended.append((None, error))

        getattr(self.client.get_module(module), method)(*args, callback=came, timeout=ANSWER_S, **options)
        (result, error), = self.until(lambda: ended, f"{module}.{method}")
        if error:
            raise error
        return result

    def asks(self, kind, name, namespace, **attributes):
        """The answer to a request that no module makes."""
        answers = []
        iq = Iq(kind, to=self.me if kind == "set" else self.domain)
        iq.addChild(name, namespace=namespace, attrs=attributes)
        self.client.send_stanza(iq, callback=lambda _client, answer, *_: answers.append(answer))
        answer, = self.until(lambda: answers, name)
        if answer.isError():
            raise ValueError(str(answer))
        return answer


def same(given, wanted):
    """Fails with both."""
    if given != wanted:
        raise ValueError(f"{given!r} is not {wanted!r}")


# --- of the server

@of("urn:xmpp:ping")
def ping(house):
    house.asked("Ping", "ping", house.domain)


@of("jabber:iq:version")
def version(house):
    assert house.asked("SoftwareVersion", "request_software_version", house.domain).name


@of("urn:xmpp:time")
def time(house):
    assert house.asked("EntityTime", "request_entity_time", house.domain)


@of("jabber:iq:last")
def last(house):
    assert house.asked("LastActivity", "request_last_activity", house.domain).seconds >= 0


@of("http://jabber.org/protocol/commands")
def commands(house):
    house.asked("AdHoc", "request_command_list", house.domain)


@of("jabber:iq:register")
def register(house):
    house.asked("Register", "request_register_form")
    house.asked("Register", "change_password", house.client.password)


@of("http://jabber.org/protocol/caps")
def capabilities(house):
    said = house.feature("c", "http://jabber.org/protocol/caps").getAttrs()
    node = f"{said['node']}#{said['ver']}"
    same(compute_caps_hash(house.asked("Discovery", "disco_info", house.domain, node)), said["ver"])


@of("urn:xmpp:carbons:2")
def carbons(house):
    iq_from_own_side(house, "enable", "urn:xmpp:carbons:2")
    iq_from_own_side(house, "disable", "urn:xmpp:carbons:2")


@of("urn:xmpp:push:0")
def push(house):
    iq_from_own_side(house, "enable", "urn:xmpp:push:0", jid="push.elsewhere.test", node="device")
    iq_from_own_side(house, "disable", "urn:xmpp:push:0", jid="push.elsewhere.test")


@of("urn:xmpp:extdisco:2")
def external_services(house):
    house.asks("get", "services", "urn:xmpp:extdisco:2")


@of("urn:xmpp:http:upload:0")
def upload(house):
    assert house.asked("HTTPUpload", "request_slot", house.domain, "picture.png", len(PIXEL), "image/png")


def client_state(house):
    """XEP-0352: the answer to a ping comes while nobody looks."""
    for name in ("inactive", "active"):
        house.client.send_nonza(f"<{name} xmlns='urn:xmpp:csi:0'/>")
        ping(house)


def iq_from_own_side(house, name, namespace, **attributes):
    """A request to set something of one's own."""
    house.asks("set", name, namespace, **attributes)


# --- of the account

@of("jabber:iq:roster")
def roster(house):
    friend = JID.from_string("friend@elsewhere.test")
    house.asked("Roster", "set_item", friend, "Friend", {"Choir"})
    items = {item.jid: item for item in house.asked("Roster", "request_roster").items}
    same((items[friend].name, items[friend].groups), ("Friend", {"Choir"}))
    house.asked("Roster", "delete_item", friend)


@of("vcard-temp")
def vcard(house):
    house.asked("VCardTemp", "set_vcard", VCard({"FN": "Ünal & Söhne", "PHOTO": {"TYPE": "image/png"}}))
    same(house.asked("VCardTemp", "request_vcard").data["FN"], "Ünal & Söhne")


@of("urn:xmpp:pep-vcard-conversion:0")
def avatar_conversion(house):
    card = VCard({"FN": "Ünal"})
    card.set_avatar(PIXEL, "image/png")
    house.asked("VCardTemp", "set_vcard", card)
    same(house.asked("UserAvatar", "request_avatar_metadata").avatar_shas, [hashlib.sha1(PIXEL).hexdigest()])


@of("jabber:iq:private")
def private(house):
    room = BookmarkData(JID.from_string("room@rooms.test"), name="A room", nick="me", autojoin=True)
    house.asked("PrivateBookmarks", "store_bookmarks", [room])
    same([one.jid for one in house.asked("PrivateBookmarks", "request_bookmarks")], [room.jid])
    house.asked("Annotations", "set_annotations", [AnnotationNote(house.me, "a note")])
    same([note.data for note in house.asked("Annotations", "request_annotations")], ["a note"])


@of("urn:xmpp:blocking")
def blocking(house):
    spam = JID.from_string("spam@elsewhere.test")
    house.asked("Blocking", "block", [spam])
    same(house.asked("Blocking", "request_blocking_list"), {spam})
    house.asked("Blocking", "unblock", [spam])
    same(house.asked("Blocking", "request_blocking_list"), set())


@of("urn:xmpp:mam:2", "urn:xmpp:sid:0")
def archive(house):
    for number in range(3):
        house.client.send_stanza(Message(to=house.me, body=f"note {number} to myself", typ="chat"))
    live = [house.until(lambda: [one for one in house.heard if one.body == f"note {number} to myself"], "a note")[0]
            for number in range(3)]
    ids = [next(one.id for one in note.stanza_ids if one.by == house.me) for note in live]

    def page(**options):
        query = uuid.uuid4().hex
        fin = house.asked("MAM", "make_query", house.me, queryid=query, **options)
        return fin, [one.mam.id for one in house.heard if one.mam and one.mam.query_id == query]

    same(page(max_=2, with_=house.me)[1], ids[:2])
    fin, rest = page(after=ids[1], with_=house.me)
    same((rest, fin.complete), (ids[2:], True))
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    same(page(start=now - day, end=now + day, with_=house.me)[1], ids)
    same(page(start=now + day)[1], [])
    same(page(max_=0, with_=house.me)[0].rsm.count, 3)
    house.asked("MAM", "set_preferences", "roster", [house.me], [])
    given = house.asked("MAM", "request_preferences")
    same((given.default, given.always, given.never), ("roster", [house.me], []))
    house.asked("MAM", "set_preferences", "always", [], [])


@of(PUBSUB, *(f"{PUBSUB}#{name}" for name in (
    "publish", "publish-options", "auto-create", "persistent-items", "item-ids", "multi-items", "retrieve-items",
    "config-node", "config-node-max", "delete-nodes", "purge-nodes", "retract-items", "delete-items",
    "retrieve-subscriptions", "subscribe", "access-open", "access-presence", "access-whitelist", "pubsub-on-a-jid",
    "create-nodes", "create-and-configure")))
def nodes(house):
    def pubsub(method, *args, **options):
        return house.asked("PubSub", method, *args, **options)

    node, options = "urn:example:notes", {"pubsub#persist_items": "true", "pubsub#max_items": "max",
                                          "pubsub#access_model": "whitelist"}
    for item in ("one", "two", "three"):
        published = pubsub("publish", node, Node("note", {"xmlns": "urn:example"}, payload=[item]), item, options)
        same((published.node, published.id), (node, item))
    same(pubsub("request_item", node, "two").getTag("note").getData(), "two")
    same({item.getAttr("id") for item in pubsub("request_items", node)}, {"one", "two", "three"})
    same(len(pubsub("request_items", node, max_items=1)), 1)
    same(pubsub("get_access_model", node), "whitelist")
    # What is published with other options is refused, and nbxmpp changes the node and tries again.
    options["pubsub#access_model"] = "presence"
    pubsub("publish", node, Node("note", {"xmlns": "urn:example"}), "four", options, force_node_options=True)
    same(pubsub("get_access_model", node), "presence")
    pubsub("set_access_model", node, "open")
    same(pubsub("get_access_model", node), "open")
    pubsub("subscribe", node, house.me)
    same([one.node for one in pubsub("get_subscriptions", house.me)], [node])
    pubsub("unsubscribe", node, house.me)
    pubsub("retract", node, "one")
    pubsub("purge", node)
    same(pubsub("request_items", node), [])
    pubsub("delete", node)


@of(f"{PUBSUB}#filtered-notifications", f"{PUBSUB}#presence-notifications", f"{PUBSUB}#last-published")
def personal_events(house):
    avatar = Avatar()
    avatar.add_image_source(PIXEL, "image/png", 1, 1)
    house.asked("UserAvatar", "set_avatar", avatar, public=True)
    sha, = house.asked("UserAvatar", "request_avatar_metadata").avatar_shas
    same(house.asked("UserAvatar", "request_avatar_data", sha).data, PIXEL)
    house.asked("UserAvatar", "set_access_model", False)
    house.asked("UserAvatar", "set_avatar", None)
    house.asked("Nickname", "set_nickname", "Nick")
    house.asked("Nickname", "set_access_model", True)
    house.asked("Activity", "set_activity", ActivityData("relaxing", "reading", "a book"))
    house.asked("Tune", "set_tune", TuneData(artist="Somebody", title="A song"))
    house.asked("Location", "set_location", LocationData(lat="52.5", lon="13.4"))
    card = VCard4()
    card.add_property("fn", "Ünal")
    house.asked("VCard4", "set_vcard", card, public=True)
    assert house.asked("VCard4", "request_vcard", house.me).get_properties()


@of(f"{PUBSUB}#access-roster")
def encryption(house):
    keys = OMEMOBundle(spk={"id": 1, "key": b"k" * 33}, spk_signature=b"s" * 64, ik=b"i" * 33,
                       otpks=[{"id": number, "key": b"o" * 33} for number in range(100)], device_id=4711)
    house.asked("OMEMO", "set_devicelist", {4711})
    same(list(house.asked("OMEMO", "request_devicelist", house.me)), [4711])
    house.asked("OMEMO", "set_bundle", keys, 4711)
    same(len(house.asked("OMEMO", "request_bundle", house.me, 4711).otpks), 100)


@of(f"{PUBSUB}#rsm", *(f"urn:xmpp:bookmarks{end}" for end in (":1#compat", ":1#compat-pep", "-conversion:0")))
def bookmarks(house):
    rooms = [BookmarkData(JID.from_string(f"room{number}@rooms.test"), name=f"Room {number}") for number in range(20)]
    house.asked("PrivateBookmarks", "store_bookmarks", [])
    house.asked("NativeBookmarks", "store_bookmarks", rooms)

    def kept(form="NativeBookmarks"):
        return {(one.jid, one.name) for one in house.asked(form, "request_bookmarks")}

    def these(rooms):
        return {(room.jid, room.name) for room in rooms}

    house.until(lambda: kept() == these(rooms), "twenty bookmarks")
    house.asked("NativeBookmarks", "retract_bookmark", rooms[0].jid)
    for form in ("NativeBookmarks", "PEPBookmarks", "PrivateBookmarks"):
        same(kept(form), these(rooms[1:]))
    house.asked("PrivateBookmarks", "store_bookmarks", rooms[:5])
    for form in ("NativeBookmarks", "PEPBookmarks"):
        same(kept(form), these(rooms[:5]))
    house.client.get_module("PEPBookmarks").store_bookmarks(rooms[3:8])
    house.until(lambda: kept() == these(rooms[3:8]), "five bookmarks")
    same(kept("PrivateBookmarks"), these(rooms[3:8]))


@of(f"{PUBSUB}#meta-data")
def read_markers(house):
    house.asked("MDS", "set_mds", JID.from_string("friend@elsewhere.test"), "the-last-one-read")
    same([one.stanza_id for one in house.asked("MDS", "get_mds")], ["the-last-one-read"])


@of("urn:xmpp:mds:server-assist:0")
def assisted_read_markers(house):
    message = Message(to=house.me, typ="chat", body="read on the way")
    read = message.addChild("displayed", namespace="urn:xmpp:mds:displayed:0")
    read.addChild("stanza-id", namespace="urn:xmpp:sid:0", attrs={"id": "read-on-the-way", "by": str(house.me)})
    house.client.send_stanza(message)
    house.until(lambda: "read-on-the-way" in [one.stanza_id for one in house.asked("MDS", "get_mds")], "what was read")
