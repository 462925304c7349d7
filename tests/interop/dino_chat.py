"""Dino, a desktop client, on a screen of its own: it finds the house by SRV, trusts its authority, and somebody types.

What it has heard is read from its database, where it keeps what it shows; pictures of the screen are kept beside that.
"""

import asyncio
import contextlib
import sqlite3
import time

from desktop import Desktop
from refused import NO_BOOKMARKS, is_refused_only
from servers import Authority
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET
from slixmpp_omemo_chat import DEVICE_LISTS, device, reads, writes
from slixmpp_person import PASSWORD, PATIENCE_S, are_contacts, facts

FACTS, fact = facts()
CHAT, ENCRYPTED = 0, 2
# Dino asks for these before it has made them, or without having been told that they are there.
REFUSED = ("Get services urn:xmpp:extdisco:2", "Get pubsub http://jabber.org/protocol/pubsub items eu.siacs.",
           NO_BOOKMARKS)
PUBSUB, EVENT = "http://jabber.org/protocol/pubsub", "{http://jabber.org/protocol/pubsub#event}"
OMEMO = "{eu.siacs.conversations.axolotl}"


class Dino:
    """Dino of one account; entered, it runs."""

    def __init__(self, house, name, encrypts_to=None, **options):
        self.house, self.name, self.jid, self.encrypts_to = house, name, house.jid(name), encrypts_to
        self.desktop = Desktop(house, "dino", **options)
        self.database = self.desktop.place / ".local" / "share" / "dino" / "dino.db"

    async def __aenter__(self):
        await self.desktop.__aenter__()
        try:
            await self.gets_account()
            self.program = self.desktop.starts("dino-im")
        except BaseException:
            await self.desktop.__aexit__()
            raise
        return self

    async def __aexit__(self, *_):
        await self.desktop.__aexit__()

    async def gets_account(self):
        """Lets Dino make its database, and writes the account into it."""
        program = self.desktop.starts("dino-im")
        await self.desktop.until(lambda: self.select("SELECT name FROM sqlite_master WHERE name='settings'"),
                                 "Dino's database")
        await self.desktop.until(self.window, "Dino's window")
        await self.desktop.ends(program)
        with contextlib.closing(sqlite3.connect(self.database)) as database, database:
            database.execute("INSERT INTO account (bare_jid, resourcepart, password, alias, enabled) "
                             "VALUES (?, 'dino', ?, '', 1)", (self.jid, PASSWORD))
            if self.encrypts_to:
                database.execute("INSERT INTO jid (id, bare_jid) VALUES (1, ?)", (self.encrypts_to,))
                database.execute("INSERT INTO conversation (account_id, jid_id, active, last_active, type, encryption) "
                                 "VALUES (1, 1, 1, ?, ?, ?)", (int(time.time()), CHAT, ENCRYPTED))

    def select(self, query, *values):
        """Rows of Dino's database; none while it cannot be read."""
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as database:
                return database.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []

    def window(self):
        """Dino's window, when it is there."""
        return self.desktop.xdotool("search", "--onlyvisible", "--name", "^Dino$|@").split()

    async def signs_in(self, *people):
        """Waits until everybody who may see it sees it."""
        for person in people:
            await person.hears_presence("available", f"{self.jid}/dino")
        return self

    async def shows(self, text, sender=None):
        """Waits until a message is in Dino's history."""
        query = ("SELECT 1 FROM message JOIN jid ON jid.id = message.counterpart_id "
                 "WHERE message.body = ? AND (? IS NULL OR jid.bare_jid = ?)")
        await self.desktop.until(lambda: self.select(query, text, sender, sender), f"the message {text!r}")

    async def opens(self, jid):
        """Opens the chat with somebody, as a click on an xmpp: link does."""
        await self.desktop.until(self.window, "Dino's window")
        link = self.desktop.starts("dino-im", f"xmpp:{jid}?message")
        await self.desktop.ended(link)
        opened = "SELECT 1 FROM conversation JOIN jid ON jid.id = jid_id WHERE bare_jid = ? AND active = 1"
        await self.desktop.until(lambda: self.select(opened, jid), f"the chat with {jid}")

    async def types(self, text):
        """Types into the chat that is open."""
        await self.desktop.types(self.window()[0], text)


async def meet(anna, bert):
    """Makes contacts of two who have not asked for their rosters yet."""
    for person in (anna, bert):
        await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    await are_contacts(anna, bert)


async def a_contact(house, **options):
    """Somebody, and the name of an account that is their contact."""
    anna, bert = await house.arrives(**options), await house.arrives()
    await meet(anna, bert)
    await bert.leave()
    await anna.hears_presence("unavailable", bert.boundjid.full)
    return anna, bert.name


async def has_published_keys(anna, jid):
    """Waits until there is a bundle for the device that somebody has announced."""
    def announced(stanza):
        return stanza.name == "message" and stanza["from"].bare == jid and [
            one.get("id") for items in stanza.xml.iter(f"{EVENT}items") if items.get("node") == DEVICE_LISTS[0]
            for one in items.iter(f"{OMEMO}device")]

    number, = announced(await anna.expect(announced, "Dino's devices"))
    node = f"{OMEMO[1:-1]}.bundles:{number}"
    deadline = asyncio.get_running_loop().time() + PATIENCE_S
    while True:
        try:
            return await anna.asks("get", f"<pubsub xmlns='{PUBSUB}'><items node='{node}'/></pubsub>", jid)
        except IqError:
            assert asyncio.get_running_loop().time() < deadline, f"never published: {node}"


@fact
async def dino_finds_the_house_signs_in_and_chats_both_ways(house):
    anna, name = await a_contact(house)
    async with Dino(house, name) as dino:
        await dino.signs_in(anna)
        assert (f"_xmpps-client._tcp.{house.domain}", 33) in dino.desktop.names.asked
        await dino.opens(anna.boundjid.bare)
        await dino.types("Hello from the desktop")
        message = await anna.hears_text("Hello from the desktop", dino.jid)
        anna.says(message["from"], "and hello from slixmpp, with Ümlaut & <tags>")
        await dino.shows("and hello from slixmpp, with Ümlaut & <tags>", anna.boundjid.bare)
        await anna.expect(lambda s: s.name == "message" and
                          s.xml.find("{http://jabber.org/protocol/chatstates}composing") is not None, "typing")
        receipt = anna.make_message(mto=message["from"], mbody="did you get this", mtype="chat")
        receipt["id"] = "asks-for-a-receipt"
        receipt.append(ET.fromstring("<request xmlns='urn:xmpp:receipts'/>"))
        receipt.append(ET.fromstring("<markable xmlns='urn:xmpp:chat-markers:0'/>"))
        receipt.send()
        await anna.expect(lambda s: any(e.get("id") == "asks-for-a-receipt"
                                        for e in s.xml.iter("{urn:xmpp:receipts}received")), "a receipt")
        await anna.expect(lambda s: any(e.get("id") == "asks-for-a-receipt"
                                        for e in s.xml.iter("{urn:xmpp:chat-markers:0}displayed")), "a read marker")
        dino.desktop.keeps_picture("dino-chat")
        if house.kind == "lampone":
            is_refused_only(house, name, *REFUSED)


@fact(prosody="no archive here")
async def dino_shows_what_other_devices_sent_and_what_it_missed(house):
    anna, name = await a_contact(house)
    anna.says(house.jid(name), "said while the desktop was off")
    phone = await house.arrives(name)
    await phone.hears_text("said while the desktop was off")
    phone.says(anna.boundjid.bare, "answered on the phone")
    await anna.hears_text("answered on the phone")
    async with Dino(house, name) as dino:
        await dino.signs_in(anna)
        await dino.shows("said while the desktop was off", anna.boundjid.bare)
        await dino.shows("answered on the phone", anna.boundjid.bare)
        phone.says(anna.boundjid.bare, "a carbon copy of the phone")
        await dino.shows("a carbon copy of the phone", anna.boundjid.bare)
        anna.says(phone.boundjid.full, "for the phone, but copied")
        await dino.shows("for the phone, but copied", anna.boundjid.bare)
        await dino.opens(anna.boundjid.bare)
        dino.desktop.keeps_picture("dino-archive")


@fact
async def dino_comes_back_after_a_restart_of_the_server(house):
    anna, name = await a_contact(house)
    async with Dino(house, name) as dino:
        await dino.signs_in(anna)
        await dino.opens(anna.boundjid.bare)
        await dino.types("before the restart")
        await anna.hears_text("before the restart", dino.jid)
        house.server.stop()
        house.server.start()
        again = await house.arrives(anna.name)
        again.says(dino.jid, "said at once after the restart")
        await dino.shows("said at once after the restart")
        await dino.types("typed after the restart")
        await again.hears_text("typed after the restart", dino.jid)
        dino.desktop.keeps_picture("dino-restart")


@fact
async def dino_encrypts_and_decrypts(house):
    anna, bert = await device(house), await house.arrives()
    await meet(anna, bert)
    await bert.leave()
    async with Dino(house, bert.name, encrypts_to=anna.boundjid.bare) as dino:
        await dino.signs_in(anna)
        await has_published_keys(anna, dino.jid)
        await writes(anna, bert, "secret words for the desktop")
        await dino.shows("secret words for the desktop", anna.boundjid.bare)
        kept = dino.select("SELECT encryption FROM message WHERE body = 'secret words for the desktop'")
        assert kept == [(ENCRYPTED,)], kept
        await dino.opens(anna.boundjid.bare)
        await dino.types("secret words from the desktop")
        await reads(anna, "secret words from the desktop")
        dino.desktop.keeps_picture("dino-omemo")


@fact(prosody="does not tell of the client's alert")
async def dino_stays_away_from_a_certificate_that_it_does_not_trust(house):
    stranger = Authority(house.directory / "dino-stranger", house.domain)
    name = house.account()
    async with Dino(house, name, authority=stranger.ca, relayed=True) as dino:
        await dino.desktop.until(lambda: dino.desktop.connections() >= 2, "both ways in tried", 2 * PATIENCE_S)
        assert f"{house.jid(name)} signed in" not in house.server.said()
