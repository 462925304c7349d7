"""nbxmpp, the library of Gajim, lives in the house: finds it by SRV, trusts its authority, uses what it offers."""

import asyncio
import json
import os
import pathlib

from desktop import Place
from refused import is_refused_only
from servers import Authority
from slixmpp_person import PASSWORD, PATIENCE_S, facts

FACTS, fact = facts()
SCRIPT = pathlib.Path(__file__).with_name("nbxmpp_client.py")
# Answers that nbxmpp counts on: it publishes with other options than the node has, and tries again.
REFUSED = ("Set pubsub http://jabber.org/protocol/pubsub publish urn:example:notes",)


class Library:
    """One account through nbxmpp; entered, it connects."""

    def __init__(self, house, name, ways=("direct", "starttls"), **options):
        self.house, self.jid = house, house.jid(name)
        self.place = Place(house, "nbxmpp", **options)
        self.wanted = {"jid": self.jid, "password": PASSWORD, "ways": ways}
        self.heard, self.news = [], asyncio.Event()

    async def __aenter__(self):
        await self.place.__aenter__()
        command = self.place.inside(os.environ["NBXMPP"] + "/bin/python", str(SCRIPT), json.dumps(self.wanted))
        pipe = asyncio.subprocess.PIPE
        self.errors = open(self.place.place / "output", "ab")
        self.process = await asyncio.create_subprocess_exec(*command, env=self.place.environment(), stdin=pipe,
                                                            stdout=pipe, stderr=self.errors, limit=1 << 20)
        self.reader = asyncio.create_task(self.listens())
        return self

    async def __aexit__(self, *_):
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 3)
        except asyncio.TimeoutError:
            self.process.kill()
            await self.process.wait()
        await self.reader
        self.errors.close()
        await self.place.__aexit__()

    async def listens(self):
        """Remembers what it tells."""
        async for line in self.process.stdout:
            self.heard.append(json.loads(line))
            self.news.set()

    async def tells(self, patience=PATIENCE_S, **wanted):
        """Waits until it tells something like this; what it told is forgotten then."""
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            for at, told in enumerate(self.heard):
                if all(told.get(key, self) == value for key, value in wanted.items()):
                    return self.heard.pop(at)
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), deadline - asyncio.get_running_loop().time())
            except asyncio.TimeoutError:
                raise AssertionError(f"nbxmpp never told {wanted}; it told {self.heard[-10:]} and printed:\n"
                                     f"{self.place.said()[-3000:]}") from None

    def does(self, act, **how):
        """Tells it to do something."""
        self.process.stdin.write(json.dumps([act, how]).encode() + b"\n")

    async def signs_in(self):
        """Waits until it is connected, and makes it available with its roster known, as a client does."""
        told = await self.tells(signal="connected")
        self.does("roster")
        self.does("presence")
        await self.tells(presence="available", **{"from": told["jid"]})
        return told


@fact
async def nbxmpp_finds_the_house_and_signs_in_both_ways(house):
    for way, named in (("direct", "DIRECT_TLS"), ("starttls", "START_TLS")):
        async with Library(house, house.account(), ways=[way]) as library:
            told = await library.signs_in()
            assert told["way"] == named, told
            assert told["jid"] == f"{library.jid}/library", told
            library.does("leave")
            await library.tells(signal="disconnected")


@fact
async def nbxmpp_and_slixmpp_become_contacts_and_chat_with_receipts(house):
    anna = await house.arrives()
    await anna.get_roster()
    me = anna.boundjid.bare
    async with Library(house, house.account()) as library:
        await library.signs_in()
        anna.send_presence_subscription(pto=library.jid, ptype="subscribe")
        await library.tells(presence="subscribe")
        library.does("subscribed", to=me)
        await anna.hears_presence("subscribed", library.jid)
        library.does("subscribe", to=me)
        await anna.hears_presence("subscribe", library.jid)
        anna.send_presence_subscription(pto=library.jid, ptype="subscribed")
        await library.tells(push=me, subscription="both")
        await library.tells(presence="available", **{"from": anna.boundjid.full})
        library.does("rename", jid=me, name="Anna", groups=["Friends", "Choir"])
        await library.tells(push=me, name="Anna", groups=["Choir", "Friends"])
        library.does("roster")
        await library.tells(roster=[[me, "Anna", "both", ["Choir", "Friends"]]])
        library.does("presence", show="away", status="lunch")
        await anna.expect(lambda s: s.name == "presence" and s["show"] == "away" and s["status"] == "lunch", "away")

        library.does("say", to=me, text="Hello & <welcome>, Ümlaut", id="first")
        message = await anna.hears_text("Hello & <welcome>, Ümlaut", library.jid)
        anna.send_raw(f"<message to='{message['from']}' type='chat'>"
                      "<received xmlns='urn:xmpp:receipts' id='first'/></message>")
        await library.tells(receipt="first")
        anna.send_raw(f"<message to='{message['from']}' type='chat' id='second'><body>and back</body>"
                      "<request xmlns='urn:xmpp:receipts'/></message>")
        await library.tells(message="and back", **{"from": anna.boundjid.full})
        await anna.expect(lambda s: any(e.get("id") == "second" for e in s.xml.iter("{urn:xmpp:receipts}received"))
                          if s.name == "message" else False, "a receipt")


@fact
async def nbxmpp_uses_everything_that_is_advertised(house):
    name = house.account()
    async with Library(house, name) as library:
        await library.signs_in()
        library.does("features")
        await library.tells(features="done", patience=3 * PATIENCE_S)
        told = [one for one in library.heard if "feature" in one]
        assert len(told) > 10, told
        wrong = [f"{one['feature']} of the {one['at']} by {one['by']}: {one['error']}" for one in told if one["error"]]
        assert not wrong, "\n".join(wrong)
        print(f"      not known to nbxmpp: {sorted({one['feature'] for one in told if not one['by']})}")
        if house.kind == "lampone":
            is_refused_only(house, name, *REFUSED)


@fact
async def nbxmpp_resumes_after_a_lost_connection(house):
    anna = await house.arrives()
    async with Library(house, house.account(), relayed=True) as library:
        told = await library.signs_in()
        anna.says(told["jid"], "before the gap")
        await library.tells(message="before the gap")
        assert library.place.cuts_connections() == 1
        anna.says(told["jid"], "said into the gap")
        await library.tells(signal="resume-successful")
        await library.tells(message="said into the gap")
        library.does("say", to=anna.boundjid.bare, text="after the gap")
        await anna.hears_text("after the gap", library.jid)


@fact
async def nbxmpp_comes_back_after_a_restart_of_the_server(house):
    async with Library(house, house.account()) as library:
        told = await library.signs_in()
        house.server.stop()
        house.server.start()
        anna = await house.arrives()
        anna.says(library.jid, "said after the restart")
        assert (await library.signs_in())["jid"] == told["jid"]
        await library.tells(message="said after the restart")


@fact
async def nbxmpp_stays_away_from_a_certificate_that_it_does_not_trust(house):
    stranger = Authority(house.directory / "nbxmpp-stranger", house.domain)
    async with Library(house, house.account(), authority=stranger.ca) as library:
        told = await library.tells(signal="disconnected")
        assert "BAD_CERTIFICATE" in str(told) or "unknown-ca" in str(told), told
        assert not [one for one in library.heard if one.get("signal") == "connected"]
        library.does("leave")
