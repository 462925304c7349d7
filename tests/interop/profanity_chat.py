"""Profanity, run in a terminal of its own (tmux), lives in the house: signs in, is subscribed to, chats with slixmpp.

What it shows is read from the screen, again and again until the awaited text is there or the deadline has passed.
"""

import asyncio
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from refused import is_refused_only
from servers import Authority
from slixmpp.xmlstream import ET
from slixmpp_person import PASSWORD, PATIENCE_S, PLUGINS, facts

FACTS, fact = facts()
SCREEN_S = 20
GLANCE_S = 0.05

PREFERENCES = """[connection]
tls.certpath={trusted}
[ui]
vercheck=false
splash=false
[logging]
chlog=false
"""

ACCOUNT = """[{jid}]
enabled=true
jid={jid}
password={password}
resource=terminal
server=127.0.0.1
port={port}
tls.policy={policy}
"""


class Terminal:
    """Profanity in a tmux server of its own, with configuration and data of its own."""

    def __init__(self, house, name, direct=False, trusted=None):
        self.house, self.jid = house, house.jid(name)
        self.place = pathlib.Path(tempfile.mkdtemp(prefix="profanity-", dir=house.directory))
        trusted_place = self.place / "trusted"
        trusted_place.mkdir()
        shutil.copy(trusted or house.server.authority.ca, trusted_place / "ca.pem")
        subprocess.run(["openssl", "rehash", trusted_place], check=True, capture_output=True)
        self.write("config", "profrc", PREFERENCES.format(trusted=trusted_place))
        port, policy = (house.server.tls_port, "legacy") if direct else (house.server.port, "force")
        self.write("data", "accounts", ACCOUNT.format(jid=self.jid, password=PASSWORD, port=port, policy=policy))
        self.trusted = trusted_place

    def write(self, folder, name, text):
        """Writes one of Profanity's own files."""
        directory = self.place / folder / "profanity"
        directory.mkdir(parents=True)
        (directory / name).write_text(text)

    def tmux(self, *words):
        """One tmux command; what it printed."""
        done = subprocess.run(["tmux", "-S", self.place / "tmux", "-f", "/dev/null", *words], capture_output=True,
                              text=True, check=False, env=self.environment())
        if done.returncode != 0:
            raise AssertionError(f"tmux {words[0]}: {done.stderr}")
        return done.stdout

    def environment(self):
        """Nothing of this machine's user reaches Profanity."""
        return {"PATH": os.environ["PATH"], "HOME": str(self.place), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
                "TERM": "screen-256color", "XDG_CONFIG_HOME": str(self.place / "config"),
                "XDG_DATA_HOME": str(self.place / "data"), "SSL_CERT_DIR": str(self.trusted)}

    async def __aenter__(self):
        self.tmux("new-session", "-d", "-x", "180", "-y", "50", f"profanity -a {self.jid}")
        return self

    async def __aexit__(self, *_):
        subprocess.run(["tmux", "-S", self.place / "tmux", "kill-server"], capture_output=True, check=False)

    async def signs_in(self):
        """Waits until Profanity says so."""
        await self.shows(rf"{re.escape(self.jid)}\S* logged in successfully")
        return self

    async def shows(self, pattern):
        """Waits until the screen matches; the screen."""
        deadline = asyncio.get_running_loop().time() + SCREEN_S
        while True:
            screen = self.tmux("capture-pane", "-p")
            if re.search(pattern, screen):
                return screen
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"never on the screen: {pattern}\n{screen}")
            await asyncio.sleep(GLANCE_S)

    async def shows_when_asked(self, line, pattern):
        """Types a line again and again, once it was answered, until the screen matches."""
        deadline = asyncio.get_running_loop().time() + SCREEN_S
        while not re.search(pattern, screen := self.tmux("capture-pane", "-p")):
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"never on the screen: {pattern}\n{screen}")
            self.types(line)
            await asyncio.sleep(4 * GLANCE_S)

    def types(self, line):
        """Types a line and Enter."""
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")


@fact
async def profanity_signs_in_through_starttls(house):
    async with Terminal(house, house.account()) as terminal:
        await terminal.signs_in()


@fact
async def profanity_signs_in_through_direct_tls(house):
    async with Terminal(house, house.account(), direct=True) as terminal:
        await terminal.signs_in()


@fact
async def profanity_is_asked_for_its_presence_and_gives_it(house):
    anna, name = await house.arrives(), house.account()
    await anna.get_roster()
    async with Terminal(house, name) as terminal:
        await terminal.signs_in()
        anna.send_presence_subscription(pto=terminal.jid, ptype="subscribe")
        await terminal.shows(rf"(?i)(authori[sz]ation request|subscription request).*{re.escape(anna.boundjid.bare)}"
                             rf"|{re.escape(anna.boundjid.bare)}.*(?i:subscription|authori[sz]ation)")
        terminal.types(f"/sub allow {anna.boundjid.bare}")
        await anna.hears_presence("subscribed", terminal.jid)
        await anna.hears_presence("available", f"{terminal.jid}/terminal")
        terminal.types("/status set away lunch")
        await anna.expect(lambda s: s.name == "presence" and s["show"] == "away" and s["status"] == "lunch",
                          "profanity away for lunch")
        terminal.types("/quit")
        await anna.hears_presence("unavailable", f"{terminal.jid}/terminal")


@fact
async def profanity_and_slixmpp_chat_both_ways(house):
    anna, name = await house.arrives(), house.account()
    async with Terminal(house, name) as terminal:
        await terminal.signs_in()
        terminal.types(f"/msg {anna.boundjid.bare} Hello & <welcome> from the terminal")
        message = await anna.hears_text("Hello & <welcome> from the terminal", terminal.jid)
        await terminal.shows("Hello & <welcome> from the terminal")
        anna.says(message["from"], "and hello from slixmpp, with Ümlaut")
        await terminal.shows("and hello from slixmpp, with Ümlaut")
        for number in range(10):
            terminal.types(f"line {number}")
            await anna.hears_text(f"line {number}", terminal.jid)


@fact
async def profanity_gets_what_was_said_while_it_was_away(house):
    anna, name = await house.arrives(), house.account()
    anna.says(house.jid(name), "said to the absent terminal")
    await anna["xep_0199"].send_ping(house.domain, timeout=PATIENCE_S)
    async with Terminal(house, name) as terminal:
        await terminal.signs_in()
        await terminal.shows(re.escape(anna.boundjid.bare))
        terminal.types("/win 2")
        await terminal.shows("said to the absent terminal")


@fact
async def profanity_finds_its_contacts_again(house):
    name = house.account()
    async with Terminal(house, name) as terminal:
        await terminal.signs_in()
        terminal.types(f"/roster add friend@{house.domain} Friendly")
        await terminal.shows(rf"(?i)friend@{re.escape(house.domain)}")
        terminal.types("/roster group add Choir Friendly")
        await terminal.shows(r"Friendly.* added to group Choir|added to group Choir")
        terminal.types("/quit")
    async with Terminal(house, name, direct=True) as terminal:
        await terminal.signs_in()
        terminal.types("/roster group show Choir")
        await terminal.shows("Friendly")


@fact
async def profanity_stays_away_from_a_certificate_that_it_does_not_trust(house):
    stranger = Authority(house.directory / "profanity-stranger", house.domain)
    async with Terminal(house, house.account(), trusted=stranger.ca) as terminal:
        await terminal.shows("(?i)certificate")


@fact
async def profanity_shows_what_other_devices_sent(house):
    # It has an archive client too, but asks for `urn:xmpp:mam:2` at the server and not at the account (XEP-0313 §7).
    anna, phone = await house.arrives(), await house.arrives()
    me = anna.boundjid.bare
    async with Terminal(house, phone.name) as terminal:
        await terminal.signs_in()
        terminal.types("/carbons on")
        terminal.types(f"/msg {me} Hello from the terminal")
        await anna.hears_text("Hello from the terminal", terminal.jid)
        phone.says(me, "a carbon copy of the phone")
        await terminal.shows("a carbon copy of the phone")
        anna.says(phone.boundjid.full, "for the phone, but copied")
        await terminal.shows("for the phone, but copied")
        if house.kind == "lampone":
            is_refused_only(house, phone.name)


@fact(prosody="its PEP bookmarks have none of private XML without a module of its own")
async def profanity_bookmarks_what_new_clients_bookmark(house):
    anna = await house.arrives(plugins=(*PLUGINS, "xep_0060"))
    native = "urn:xmpp:bookmarks:1"
    room = ET.fromstring(f"<conference xmlns='{native}' name='Orchard'><nick>JC</nick></conference>")
    await anna["xep_0060"].publish(anna.boundjid.bare, native, id=f"orchard@rooms.{house.domain}", payload=room)
    async with Terminal(house, anna.name) as terminal:
        await terminal.signs_in()
        # It asks for them by itself, and tells what it has had an answer to.
        await terminal.shows_when_asked("/bookmark list", rf"orchard@rooms\.{re.escape(house.domain)}")
        terminal.types(f"/bookmark add ball@rooms.{house.domain} nick Masked autojoin off")
        await terminal.shows(r"(?i)bookmark added")
        await anna.fence()
        for _ in range(100):
            found = await anna["xep_0060"].get_items(anna.boundjid.bare, native)
            ids = {item["id"] for item in found["pubsub"]["items"]}
            if len(ids) == 2:
                break
            await asyncio.sleep(GLANCE_S)
        assert ids == {f"orchard@rooms.{house.domain}", f"ball@rooms.{house.domain}"}, ids
