"""Gajim, a desktop client, on a screen of its own: it finds the house by SRV, trusts its authority, and somebody types.

What it has heard is read from its database; pictures of the screen are kept beside that.
"""

import contextlib
import json
import sqlite3

from desktop import Desktop
from dino_chat import a_contact
from refused import NO_BOOKMARKS, is_refused_only
from slixmpp.xmlstream import ET
from slixmpp_person import PASSWORD, facts

FACTS, fact = facts()
MAIN_WINDOW = "^Gajim$"


class Gajim:
    """Gajim of one account; entered, it runs."""

    def __init__(self, house, name, **options):
        self.house, self.name, self.jid = house, name, house.jid(name)
        self.desktop = Desktop(house, "gajim", **options)
        self.settings = self.desktop.place / ".config" / "gajim" / "settings.sqlite"
        self.history = self.desktop.place / ".local" / "share" / "gajim" / "logs.db"

    async def __aenter__(self):
        await self.desktop.__aenter__()
        try:
            await self.gets_account()
            self.desktop.starts("gajim")
        except BaseException:
            await self.desktop.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        await self.desktop.__aexit__()

    async def gets_account(self):
        """Lets Gajim make its settings, and writes the account into them."""
        program = self.desktop.starts("gajim")
        await self.desktop.until(lambda: self.window("."), "Gajim's window")
        await self.desktop.ends(program)
        account = {"name": self.name, "hostname": self.house.domain, "address": self.jid, "password": PASSWORD,
                   "savepass": True, "active": True, "resource": "gajim"}
        with contextlib.closing(sqlite3.connect(self.settings)) as settings, settings:
            settings.execute("UPDATE settings SET settings = ? WHERE name = 'app'",
                             (json.dumps({"use_keyring": False}),))
            settings.execute("INSERT INTO account_settings VALUES ('home', ?)",
                             (json.dumps({"account": account, "contact": {}, "group_chat": {}}),))

    def window(self, name):
        """A window that is there."""
        found = self.desktop.xdotool("search", "--onlyvisible", "--name", name).split()
        return found[-1] if found else None

    async def signs_in(self, *people):
        """Waits until everybody who may see it sees it."""
        for person in people:
            await person.hears_presence("available", f"{self.jid}/gajim")
        return self

    async def shows(self, text, sender=None):
        """Waits until a message is in Gajim's history."""
        def is_kept():
            try:
                with contextlib.closing(sqlite3.connect(f"file:{self.history}?mode=ro", uri=True)) as history:
                    return history.execute("SELECT 1 FROM logs JOIN jids USING (jid_id) WHERE message = ? AND "
                                           "(? IS NULL OR jid = ?)", (text, sender, sender)).fetchall()
            except sqlite3.OperationalError:
                return None
        await self.desktop.until(is_kept, f"the message {text!r}")

    async def opens(self, person):
        """Opens the chat with somebody who has written, as a click on their name does."""
        await self.desktop.until(lambda: self.window(MAIN_WINDOW), "Gajim's window")
        jid = person.boundjid.bare
        person.says(self.jid, "please open this")
        await self.shows("please open this", jid)
        action = self.desktop.starts("gapplication", "action", "org.gajim.Gajim", "open-chat", f"['home', '{jid}']")
        await self.desktop.ended(action)

    async def types(self, text):
        """Types into the chat that is open; its line, which a lost connection closes, is clicked first."""
        window = self.window(MAIN_WINDOW)
        size = dict(line.split("=") for line in self.desktop.xdotool("getwindowgeometry", "--shell", window).split())
        x, y = int(size["WIDTH"]) * 7 // 10, int(size["HEIGHT"]) - 24
        self.desktop.xdotool("windowfocus", "--sync", window)
        self.desktop.xdotool("mousemove", "--window", window, str(x), str(y), "click", "1")
        await self.desktop.types(window, text)


@fact
async def gajim_finds_the_house_signs_in_and_chats_both_ways(house):
    anna, name = await a_contact(house)
    async with Gajim(house, name) as gajim:
        await gajim.signs_in(anna)
        assert (f"_xmpps-client._tcp.{house.domain}", 33) in gajim.desktop.names.asked
        await gajim.opens(anna)
        await gajim.types("Hello from the desktop")
        there = (await anna.hears_text("Hello from the desktop", gajim.jid))["from"]
        message = anna.make_message(mto=there, mbody="and hello from slixmpp, with Ümlaut", mtype="chat")
        message["id"] = "asks-for-a-receipt"
        message.append(ET.fromstring("<request xmlns='urn:xmpp:receipts'/>"))
        message.send()
        await gajim.shows("and hello from slixmpp, with Ümlaut", anna.boundjid.bare)
        await anna.expect(lambda s: s.name == "message" and any(
            e.get("id") == "asks-for-a-receipt" for e in s.xml.iter("{urn:xmpp:receipts}received")), "a receipt")
        gajim.desktop.keeps_picture("gajim-chat")
        if house.kind == "lampone":
            is_refused_only(house, name, NO_BOOKMARKS)


@fact(prosody="no archive here")
async def gajim_shows_what_other_devices_sent_and_what_it_missed(house):
    anna, name = await a_contact(house)
    anna.says(house.jid(name), "said while the desktop was off")
    phone = await house.arrives(name)
    await phone.hears_text("said while the desktop was off")
    phone.says(anna.boundjid.bare, "answered on the phone")
    await anna.hears_text("answered on the phone")
    async with Gajim(house, name) as gajim:
        await gajim.signs_in(anna)
        await gajim.shows("said while the desktop was off", anna.boundjid.bare)
        await gajim.shows("answered on the phone", anna.boundjid.bare)
        phone.says(anna.boundjid.bare, "a carbon copy of the phone")
        await gajim.shows("a carbon copy of the phone", anna.boundjid.bare)


@fact
async def gajim_resumes_after_a_lost_connection_and_comes_back_after_a_restart(house):
    anna, name = await a_contact(house)
    async with Gajim(house, name, relayed=True) as gajim:
        await gajim.signs_in(anna)
        await gajim.opens(anna)
        assert gajim.desktop.cuts_connections() == 1
        anna.says(f"{gajim.jid}/gajim", "said into the gap")
        await gajim.shows("said into the gap")
        await gajim.types("typed after the gap")
        await anna.hears_text("typed after the gap", gajim.jid)
        await anna.must_not_hear(lambda s: s.name == "presence" and s["from"].full == f"{gajim.jid}/gajim" and
                                 s["type"] == "unavailable", "that Gajim had gone")
        house.server.stop()
        house.server.start()
        again = await house.arrives(anna.name)
        again.says(gajim.jid, "said at once after the restart")
        await gajim.shows("said at once after the restart")
        await gajim.types("typed after the restart")
        await again.hears_text("typed after the restart", gajim.jid)
        gajim.desktop.keeps_picture("gajim-restart")
