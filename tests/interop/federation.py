"""Lampone and another server on loopback talk to each other: dialback, EXTERNAL, chat, subscriptions, cut links.

In a network and a /etc/resolv.conf of its own (`unshare`), so that both may have port 5269 and port 53 is ours.
"""

import asyncio
import os
import pathlib
import sys
import tempfile
import time
import traceback

from ejabberd import Ejabberd
from name_server import Names
from servers import Authority, Lampone, Prosody, run
from slixmpp import JID
from slixmpp_archive import WITH_ARCHIVE, read
from slixmpp_person import PASSWORD, PATIENCE_S, House, are_contacts
from slixmpp_rooms import WITH_ROOMS, said

HERE, THERE = "lampone.test", "there.test"
ACCOUNTS = 60
FACT_S = 60
MANY = 1_000


class Here(Lampone):
    """The product with a door for other servers."""

    ADDRESS = "127.0.0.1"
    SETTINGS = {}

    def start(self):
        """Until the administration answers as well."""
        spent = super().start()
        while not (self.data / "admin.sock").exists():
            time.sleep(0.001)
        return spent

    def command(self):
        """With what federation needs."""
        more = {"listen.s2s": f"{self.ADDRESS}:5269", "listen.s2s_tls": f"{self.ADDRESS}:5270", "listen.https": "none",
                "tls.roots": str(self.authority.ca), "dns.servers": "127.0.0.1:53", **self.SETTINGS}
        words = super().command()
        at = words.index("listen.s2s=none")
        del words[at - 1:at + 1]
        return words + [word for key, value in more.items() for word in ("--set", f"{key}={value}")]


class Second(Here):
    """The product once more."""

    ADDRESS = "127.0.0.2"


PROSODY_S2S = """
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "carbons", "smacks", "offline", "ping", "dialback",
                    "mam", {enabled} }}
modules_disabled = {{ {disabled} }}
s2s_ports = {{ 5269 }}
s2s_interfaces = {{ "{address}" }}
s2s_secure_auth = {secure}
s2s_require_encryption = true
ssl = {{ certificate = "{certificate}", key = "{key}", cafile = "{ca}" }}
s2s_ssl = {{ certificate = "{certificate}", key = "{key}", cafile = "{ca}" }}
log = {{ {log} = "*console" }}
"""


class There(Prosody):
    """Debian's Prosody with a door for other servers."""

    ADDRESS = "127.0.0.2"
    LOG = "debug"

    def __init__(self, directory, domain, authority, secure, disabled, enabled=()):
        self.secure, self.disabled = secure, disabled
        super().__init__(directory, domain, authority, extra=())
        text = self.config.read_text().replace('modules_disabled = { "s2s" }', "").replace("s2s_ports = { }", "")
        lines = [line for line in text.splitlines()
                 if not line.startswith(("log", "modules_enabled", "ssl", "VirtualHost"))]
        s2s = PROSODY_S2S.format(disabled=", ".join(f'"{name}"' for name in disabled), ca=authority.ca,
                                 enabled=", ".join(f'"{name}"' for name in enabled),
                                 secure="true" if secure else "false",
                                 certificate=authority.certificate, key=authority.key, address=self.ADDRESS,
                                 log=self.LOG)
        rooms = f'Component "conference.{domain}" "muc"\n'
        self.config.write_text("\n".join([*lines, s2s, f'VirtualHost "{domain}"', rooms]))


async def chat_goes_both_ways(here, there):
    """Messages and answers between the two."""
    romeo, juliet = await here.arrives(), await there.arrives()
    romeo.says(juliet.boundjid.bare, "hark")
    await juliet.hears_text("hark", romeo.boundjid.bare)
    juliet.says(romeo.boundjid.full, "ay me")
    await romeo.hears_text("ay me", juliet.boundjid.bare)


async def the_other_side_may_speak_first(here, there):
    """The link is made by them."""
    romeo, juliet = await here.arrives(), await there.arrives()
    juliet.says(romeo.boundjid.bare, "good morrow")
    await romeo.hears_text("good morrow", juliet.boundjid.bare)
    romeo.says(juliet.boundjid.bare, "and to you")
    await juliet.hears_text("and to you", romeo.boundjid.bare)


def connections():
    """Which there are between the two servers, by the port that was called."""
    lines = run("ss", "-Htn", "state", "established").splitlines()
    called = [line.split()[3].rsplit(":", 1)[1] for line in lines]
    return [port for port in called if port in ("5269", "5270")]


async def one_connection_carries_both_ways(here, there):
    """XEP-0288, whoever speaks first. (With dialback Prosody keeps the connection on which it asked.)"""
    for one, other in ((there, here), (here, there)):
        run("ss", "-K", "dport", "5269", "or", "dport", "5270")
        romeo, juliet = await one.arrives(), await other.arrives()
        for text in ("good morrow", "is the day so young"):
            romeo.says(juliet.boundjid.bare, text)
            await juliet.hears_text(text, romeo.boundjid.bare)
            juliet.says(romeo.boundjid.bare, f"{text}, said she")
            await romeo.hears_text(f"{text}, said she", juliet.boundjid.bare)
        assert len(connections()) == 1, connections()


async def contacts_see_each_other_come_and_go(here, there):
    """Subscriptions by request and approval, presence that follows from them (RFC 6121 §3, §4)."""
    romeo, juliet = await here.arrives(), await there.arrives()
    for person in (romeo, juliet):
        await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    await are_contacts(romeo, juliet)
    await romeo.hears_presence("available", juliet.boundjid.full)
    await juliet.hears_presence("available", romeo.boundjid.full)
    romeo.send_presence(pshow="away")
    await juliet.expect(lambda s: s.name == "presence" and s["show"] == "away", "away")
    name = romeo.boundjid.full
    await romeo.leave()
    await juliet.hears_presence("unavailable", name)


async def meet(room, host, guest):
    """Somebody makes a room and somebody from the other server comes in: both are heard, and whoever comes later hears it."""
    await host["xep_0045"].join_muc_wait(room, "host", timeout=PATIENCE_S)
    form = await host["xep_0045"].get_room_config(room)
    form["type"] = "submit"
    await host["xep_0045"].set_room_config(room, form)
    _, _, there, _ = await guest["xep_0045"].join_muc_wait(room, "guest", timeout=PATIENCE_S)
    assert "host" in {p["muc"]["nick"] for p in there}, there
    await host.expect(lambda s: s.name == "presence" and s["from"] == f"{room}/guest", "the guest")
    for speaker, name, text in ((host, "host", "welcome"), (guest, "guest", "glad to be here")):
        speaker.send_message(mto=room, mbody=text, mtype="groupchat")
        for hearer in (host, guest):
            heard = await hearer.expect(said(text), text)
            assert heard["from"].resource == name, heard
    guest["xep_0045"].leave_muc(room, "guest")
    await host.expect(lambda s: s.name == "presence" and s["type"] == "unavailable" and s["from"].resource == "guest",
                      "the guest's farewell")
    _, _, _, before = await guest["xep_0045"].join_muc_wait(room, "guest", maxstanzas=20, timeout=PATIENCE_S)
    assert [message["body"] for message in before] == ["welcome", "glad to be here"], before


async def a_room_here_is_entered_from_there(here, there):
    """XEP-0045 between servers, our room."""
    await meet(JID(f"club@rooms.{HERE}"), await here.arrives(plugins=WITH_ROOMS), await there.arrives(plugins=WITH_ROOMS))


async def a_room_there_is_entered_from_here(here, there):
    """XEP-0045 between servers, their room."""
    rooms = f"{'rooms' if there.kind == 'second' else 'conference'}.{THERE}"
    await meet(JID(f"club@{rooms}"), await there.arrives(plugins=WITH_ROOMS), await here.arrives(plugins=WITH_ROOMS))


async def both_archives_hold_what_was_said(here, there):
    """XEP-0313 on either side."""
    romeo, juliet = await here.arrives(plugins=WITH_ARCHIVE), await there.arrives(plugins=WITH_ARCHIVE)
    lines = ["but soft", "what light", "through yonder window"]
    for number, text in enumerate(lines):
        speaker, hearer = (romeo, juliet) if number % 2 == 0 else (juliet, romeo)
        speaker.says(hearer.boundjid.bare, text)
        await hearer.hears_text(text, speaker.boundjid.bare)
    for person, other in ((romeo, juliet), (juliet, romeo)):
        kept = await read(person, with_jid=JID(other.boundjid.bare))
        assert [body for body, _ in kept] == lines, kept


async def a_server_that_is_not_there_is_told(here, _there):
    """RFC 6120 §8.3.3.16."""
    romeo = await here.arrives()
    romeo.says("juliet@nowhere.test", "hark")
    error = await romeo.expect(lambda s: s.name == "message" and s["type"] == "error", "an error")
    assert error["error"]["condition"] == "remote-server-not-found", error


async def a_thousand_messages_survive_cut_links(here, there):
    """Nothing is lost or out of order where the link is cut over and over, nor doubled where it can be resumed."""
    romeo, juliet = await here.arrives(), await there.arrives()
    romeo.says(juliet.boundjid.bare, "first")
    await juliet.hears_text("first")
    juliet.says(romeo.boundjid.bare, "first back")
    await romeo.hears_text("first back")
    cuts = 0
    for number in range(MANY):
        romeo.says(juliet.boundjid.bare, f"n{number}")
        if number % 200 == 100:
            # The kernel forgets all connections between the two, as a router's restart would.
            run("ss", "-K", "dst", there.server.ADDRESS)
            cuts += 1
        await asyncio.sleep(0)
    last = f"n{MANY - 1}"
    await juliet.expect(lambda s: s.name == "message" and s["body"] == last, last, patience=45)
    heard = [int(s["body"][1:]) for s in juliet.heard if s.name == "message" and s["body"].startswith("n")]
    missing = sorted(set(range(MANY - 1)) - set(heard))
    bounced = [(s["body"], s["error"]["condition"], s["error"]["text"]) for s in romeo.heard if s["type"] == "error"]
    assert not missing, f"{len(missing)} of {MANY} are missing: {missing[:10]}; {len(bounced)} came back: {bounced[:3]}"
    once = list(dict.fromkeys(heard))
    assert once == sorted(once), "out of order"
    # Prosody acknowledges on links (XEP-0198) but does not resume them: what it had not acknowledged comes again.
    if there.kind == "there":
        print(f"      {cuts} cuts, {len(heard) - len(once)} doubled")
    else:
        assert heard == once, f"{len(heard) - len(once)} doubled"


async def a_self_signed_server_is_refused(here, there):
    """With require_certificate nobody gets through whose certificate proves nothing."""
    romeo, juliet = await here.arrives(), await there.arrives()
    romeo.says(juliet.boundjid.bare, "hark")
    error = await romeo.expect(lambda s: s.name == "message" and s["type"] == "error", "an error", patience=150)
    assert error["error"]["condition"] in ("remote-server-timeout", "remote-server-not-found"), error
    assert not any(s.name == "message" and s["body"] == "hark" for s in juliet.heard)


FACTS = (chat_goes_both_ways, the_other_side_may_speak_first, contacts_see_each_other_come_and_go,
         a_room_here_is_entered_from_there, a_room_there_is_entered_from_here, both_archives_hold_what_was_said,
         a_server_that_is_not_there_is_told)
# Prosody offers XEP-0198 where EXTERNAL proved the peer, not after dialback: what a cut swallows there is gone unseen.
WITH_ACKNOWLEDGEMENTS = (*FACTS, a_thousand_messages_survive_cut_links)


async def run_facts(here, there, facts, wanted, label):
    """How many held and how many did not."""
    passed = failed = 0
    for fact in facts:
        if wanted and not any(word in fact.__name__ for word in wanted):
            continue
        begun, error = time.monotonic(), None
        try:
            await asyncio.wait_for(fact(here, there), FACT_S * 3)
        except Exception:  # noqa: BLE001  whatever it was, it is this fact's failure
            error = traceback.format_exc()
        await here.everybody_leaves()
        await there.everybody_leaves()
        passed, failed = passed + (not error), failed + bool(error)
        print(f"{'FAIL' if error else '  ok'}  {label}: {fact.__name__} ({time.monotonic() - begun:.1f} s)")
        if error:
            print(error)
        sys.stdout.flush()
    return passed, failed


def setting(place, binary, label, facts, wanted, *, peer="prosody", secure=False, trusted=True, disabled=(),
            enabled=(), settings=None, usage="serverAuth"):
    """Two servers that start afresh, and what has to hold between them."""
    place = place / label
    ours = Authority(place / "ours", HERE, usage)
    theirs = Authority(place / "theirs", THERE)
    if trusted:
        roots = ours.ca.read_text() + theirs.ca.read_text()
        ours.ca.write_text(roots)
        theirs.ca.write_text(roots)
    accounts = [("admin", PASSWORD), *((f"p{i}", PASSWORD) for i in range(ACCOUNTS))]
    server = Here(place / "here", HERE, ours, binary)
    server.SETTINGS = settings or {}
    if peer == "twin":
        other = Second(place / "there", THERE, theirs, binary)
    elif peer == "ejabberd":
        other = Ejabberd(place / "there", THERE, theirs, secure)
        other.add_accounts(accounts)
    else:
        other = There(place / "there", THERE, theirs, secure, disabled, enabled)
        other.add_accounts(accounts)
    with server, other:
        server.start()
        server.add_accounts(accounts)
        other.start()
        if peer == "twin":
            other.add_accounts(accounts)
        here, there = House(server, place, ACCOUNTS), House(other, place, ACCOUNTS)
        counts = asyncio.run(run_facts(here, there, facts, wanted, label))
    if counts[1]:
        print(f"--- {HERE}:\n{server.said()[-6000:]}\n--- {THERE}:\n{other.said()[-9000:]}")
    return counts


def go_inside():
    """Begins anew in a network and a mount table of our own, which end with us."""
    if os.environ.get("FEDERATION_INSIDE") != "1":
        os.environ["FEDERATION_INSIDE"] = "1"
        rights = ["--map-root-user"] if os.geteuid() else []
        os.execvp("unshare", ["unshare", "--mount", "--net", *rights, sys.executable, *sys.argv])


def name_everybody(place):
    """The network is up and both domains have addresses; the table of names."""
    (place / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    run("mount", "--make-rprivate", "/")
    run("mount", "--bind", str(place / "resolv.conf"), "/etc/resolv.conf")
    run("ip", "link", "set", "lo", "up")
    names = Names()
    names.table.update({
        (HERE, "A"): ["127.0.0.1"],
        ("_xmpp-server._tcp." + HERE, "SRV"): [(5, 0, 5269, HERE)],
        ("_xmpps-server._tcp." + HERE, "SRV"): [(1, 0, 5270, HERE)],
        (THERE, "A"): ["127.0.0.2"],
        (f"rooms.{HERE}", "A"): ["127.0.0.1"],
        (f"rooms.{THERE}", "A"): ["127.0.0.2"],
        (f"conference.{THERE}", "A"): ["127.0.0.2"],
    })
    return names


def main():
    """All settings, in a network of our own."""
    go_inside()
    binary = pathlib.Path(os.environ["LAMPONE"]).resolve()
    with tempfile.TemporaryDirectory(prefix="federation-") as place:
        place = pathlib.Path(place)
        name_everybody(place)
        wanted = sys.argv[1:]
        both = [
            setting(place, binary, "dialback", FACTS, wanted, trusted=False),
            setting(place, binary, "external", WITH_ACKNOWLEDGEMENTS, wanted, secure=True, disabled=("dialback",),
                    settings={"federation.require_certificate": "true"}),
            setting(place, binary, "both-ways", (one_connection_carries_both_ways, *WITH_ACKNOWLEDGEMENTS), wanted,
                    secure=True, disabled=("dialback",), enabled=("s2s_bidi",)),
            setting(place, binary, "both-ways-dialback", FACTS, wanted, trusted=False, enabled=("s2s_bidi",)),
            setting(place, binary, "twins", (one_connection_carries_both_ways, *WITH_ACKNOWLEDGEMENTS), wanted, peer="twin"),
            setting(place, binary, "ejabberd-dialback", FACTS, wanted, peer="ejabberd", trusted=False),
            # It wants a certificate for clients, which public authorities no longer issue, and then calls back.
            setting(place, binary, "ejabberd-calls-back", FACTS, wanted, peer="ejabberd"),
            setting(place, binary, "ejabberd-external", FACTS, wanted, peer="ejabberd", secure=True,
                    settings={"federation.require_certificate": "true"}, usage="serverAuth,clientAuth"),
            setting(place, binary, "self-signed", (a_self_signed_server_is_refused,), wanted, trusted=False,
                    settings={"federation.require_certificate": "true"}),
        ]
    passed, failed = (sum(counts) for counts in zip(*both))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
