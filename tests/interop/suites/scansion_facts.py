"""Prosody's conversations for scansion, each played against a server of its own that is new.

What is not played as it is written stands here with the section that says why.
"""

import asyncio
import os
import pathlib
import tempfile

from scansion_play import Play, read
from servers import Authority, Lampone
from slixmpp_person import facts

FACTS, fact = facts()
FOLDER = pathlib.Path(os.environ["SUITES"]) / "prosody" / "spec" / "scansion"
NOT_PROSODY = "its own conversations, which want its own settings"

AGAIN = "RFC 6121 §3.1.5: presence is sent when a subscription is approved, and not again when it becomes mutual"
ONCE = "XEP-0163 §4.3: a resource gets one notification; the second is Prosody's, which asked twice what the client is"
ANYBODY = "XEP-0060 §8.1.3: who may create nodes is the service's affair; here it is everybody who lives here"

UNCHANGED = "XEP-0045 §9.3: a change is shown; who is a member already is not changed"
GONE = "XEP-0045 §10.9, example 202: in a room that is gone nobody has an affiliation"
OWN_COMMAND = "XEP-0050: prosody.im's command is Prosody's own"

# The lines whose step is left out.
LEFT_OUT = {
    "blocking": {65: AGAIN},
    "issue1121": {59: AGAIN},
    "pep_itemreply": {125: AGAIN, 200: ONCE},
    "pep_publish_subscribe": {121: AGAIN, 205: ONCE},
    "pubsub_advanced": {19: ANYBODY, 26: ANYBODY},
    "issue1224": {95: UNCHANGED, 107: UNCHANGED},
    "muc_create_destroy": {235: GONE, 285: OWN_COMMAND, 296: OWN_COMMAND, 307: OWN_COMMAND},
    "muc_mediated_invite": {67: "XEP-0045 §7.8.2: an invitation names its sender; its words are up to their apps"},
    "muc_nickname_robotface": {39: "RFC 7622 §3.4, RFC 8264 §9.13: U+FE0F is in no address, so no answer can name it"},
    "muc_outcast_reason": {39: "XEP-0045 §9.1: who bans one who is not in the room gets a result"},
}

# What is said otherwise, and why.
REWORDED = {
    # XEP-0004 §3.1: a form has a type.
    "pubsub_preconditions": ('<x xmlns="jabber:x:data">', '<x xmlns="jabber:x:data" type="submit">'),
}

ABSENT = "XEP-0045 §9.4: who is told that one who is not there is no member any more is the room's affair"

NOT_PLAYED = {
    "extdisco": "XEP-0215 is not spoken",
    "http_upload": "XEP-0363 §3, §4: the place to upload is discovered, and headers are optional; it wants Prosody's",
    "issue978-multi": "XEP-0045 §7.2.1: each session of a shared nickname is not told in the presence of another",
    "muc_nickname_change": "XEP-0045 §10.2: a room that becomes moderated takes no voice from who has it",
    "muc_presence_probe": "XEP-0045 §17.3: a room MAY answer probes",
    "muc_register": ABSENT,
    "muc_show_offline": ABSENT,
    "tombstones": "RFC 6121 §8.5.1: an account that was is like one that never was",
    "version": "XEP-0092 §2: it wants to hear that this is Prosody",
}

PLAYED = (
    "basic basic_message basic_roster blocking bookmarks2 disco_self empty_bookmarks issue1121 keep_full_sub_req "
    "issue1224 issue505 issue978 lastactivity mam_extended mam_prefs_prep muc_affiliation_notify muc_create_destroy "
    "muc_mediated_invite muc_members_only_change muc_members_only_deregister "
    "muc_nickname_robotface muc_outcast_reason muc_password muc_subject_issue_667 muc_whois_anyone_member "
    "pep_itemreply pep_nickname pep_publish_subscribe pep_pubsub_max presence_preapproval pubsub_advanced "
    "pubsub_basic pubsub_config pubsub_createdelete pubsub_max_items pubsub_multi_items pubsub_preconditions "
    "pubsub_resend_on_sub server_contact_info uptime vcard_temp"
).split()

CONTACTS = {
    "abuse": '["mailto:abuse@localhost", "xmpp:abuse@localhost"]',
    "admin": '["mailto:admin@localhost", "xmpp:admin@localhost"]',
    "feedback": '["http://localhost/feedback.html", "mailto:feedback@localhost", "xmpp:feedback@localhost"]',
    "sales": "xmpp:sales@localhost",
    "security": "xmpp:security@localhost",
    "status": "gopher://status.localhost",
    "support": '["https://localhost/support.html", "xmpp:support@localhost"]',
}


class Stage(Lampone):
    """The server that a conversation expects: its host names, administrators and contacts."""

    def command(self):
        settings = {"hosts.rooms": "conference", "web.url": "https://localhost:5443"}
        settings |= {f"contact.{name}": value for name, value in CONTACTS.items()}
        return [*super().command(), *(word for item in settings.items() for word in ("--set", "=".join(item)))]


def authority(directory):
    """The authority of the stages, made when the first is set."""
    directory = directory / "localhost"
    made = Authority.__new__(Authority) if (directory / "server.pem").exists() else Authority(directory, "localhost")
    made.directory = directory
    made.ca, made.certificate, made.key = (directory / name for name in ("ca.pem", "server.pem", "server.key"))
    return made


async def is_played(house, name):
    """Plays one conversation on a new stage."""
    text = (FOLDER / f"{name}.scs").read_text().replace(*REWORDED.get(name, ("", "")))
    people = {settings["jid"].partition("@")[0].lower(): settings["password"] for settings in read(text)[0].values()}
    place = tempfile.mkdtemp(prefix=f"{name}-", dir=house.directory)
    stage = Stage(pathlib.Path(place), "localhost", authority(house.directory), house.server.binary)
    with stage:
        stage.start()
        stage.add_accounts(sorted(people.items()))
        await Play(text, stage, LEFT_OUT.get(name, ())).goes_on()


def conversation(name):
    """The fact that a conversation goes as it is written."""
    async def goes_on(house):
        await is_played(house, name)

    goes_on.__name__ = name
    fact(prosody=NOT_PROSODY)(goes_on)


for played in PLAYED:
    conversation(played)

@fact(prosody=NOT_PROSODY)
async def each_conversation_is_played_or_has_a_reason_not_to_be(_house):
    found = {path.stem for path in FOLDER.glob("*.scs")}
    assert found == {*PLAYED, *NOT_PLAYED}, found ^ {*PLAYED, *NOT_PLAYED}
    await asyncio.sleep(0)
