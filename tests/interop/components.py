"""slixmpp and slidge as components: their contacts are people like others, and what the settings allow they do in people's names."""

import asyncio
import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile

import slixmpp
from slixmpp.exceptions import IqError
from slixmpp.xmlstream import ET

from slixmpp_person import PATIENCE_S, facts

FACTS, fact = facts()
ALONE = "it is started without components"
PUBSUB = "http://jabber.org/protocol/pubsub"


def is_copy(stanza, text):
    """Whether this is a copy of what somebody sent (XEP-0280), with this text."""
    sent = stanza.xml.find("{urn:xmpp:carbons:2}sent")
    return sent is not None and text in [body.text for body in sent.iter("{jabber:client}body")]


class Component(slixmpp.ComponentXMPP):
    """A component that remembers what it heard until somebody expects it."""

    def __init__(self, house, secret=None):
        server = house.server
        super().__init__(server.component, secret or server.secret, "127.0.0.1", server.component_port)
        self.heard, self.waiters = asyncio.Queue(), []
        for plugin in ("xep_0030", "xep_0199", "xep_0356"):
            self.register_plugin(plugin)
        self.roster.auto_authorize, self.roster.auto_subscribe = None, False
        self.started, self.refused = asyncio.Event(), asyncio.Event()
        self.add_event_handler("session_start", lambda _: self.started.set())
        self.add_event_handler("stream_error", self.remember_refusal)
        self.add_event_handler("privileges_advertised", lambda _: self.allowed.set())
        self.allowed = asyncio.Event()
        self.add_filter("in", self.hear)
        self.condition = None

    def remember_refusal(self, error):
        """Why the server closed the stream."""
        self.condition = error["condition"]
        self.refused.set()

    def hear(self, stanza):
        """Remembers what came in."""
        self.heard.put_nowait(stanza)
        return stanza

    async def expect(self, claim, what):
        """The next stanza for which the claim holds; those before it are forgotten."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                stanza = await self.heard.get()
                if claim(stanza):
                    return stanza
        raise AssertionError(f"the component waited in vain for {what}")


@contextlib.asynccontextmanager
async def connected(house):
    """A component for as long as a fact needs it."""
    component = Component(house)
    component.connect()
    try:
        await asyncio.wait_for(component.started.wait(), PATIENCE_S)
        await asyncio.wait_for(component.allowed.wait(), PATIENCE_S)
        yield component
    finally:
        gone = component.disconnected
        component.disconnect(wait=1.0)
        await asyncio.wait_for(asyncio.shield(gone), PATIENCE_S)


@fact(prosody=ALONE)
async def a_component_with_a_wrong_secret_stays_outside(house):
    component = Component(house, secret="another secret")
    component.connect()
    await asyncio.wait_for(component.refused.wait(), PATIENCE_S)
    assert component.condition == "not-authorized", component.condition
    component.abort()


@fact(prosody=ALONE)
async def a_second_component_for_the_same_domain_meets_a_conflict(house):
    async with connected(house):
        second = Component(house)
        second.connect()
        await asyncio.wait_for(second.refused.wait(), PATIENCE_S)
        assert second.condition == "conflict", second.condition
        second.abort()


@fact(prosody=ALONE)
async def messages_presence_and_requests_pass_both_ways(house):
    anna = await house.arrives()
    await anna.asks("get", "<query xmlns='jabber:iq:roster'/>")
    async with connected(house) as component:
        echo = f"echo@{component.boundjid.bare}"
        anna.says(echo, "hello")
        said = await component.expect(lambda s: s.name == "message" and s["body"], "a message")
        assert (said["body"], said["from"].bare) == ("hello", anna.boundjid.bare)
        component.send_message(mto=said["from"], mfrom=f"{echo}/x", mbody="hello yourself", mtype="chat")
        await anna.hears_text("hello yourself", echo)

        anna.send_presence_subscription(pto=echo, ptype="subscribe")
        await component.expect(lambda s: s.name == "presence" and s["type"] == "subscribe", "a request")
        component.send_presence(pto=anna.boundjid.bare, pfrom=echo, ptype="subscribed")
        component.send_presence(pto=anna.boundjid.bare, pfrom=f"{echo}/x", pshow="away")
        await anna.hears_presence("subscribed", echo)
        await anna.hears_presence("away", f"{echo}/x")

        await anna["xep_0199"].send_ping(component.boundjid.bare, timeout=PATIENCE_S)
        await component["xep_0199"].send_ping(house.domain, ifrom=component.boundjid.bare, timeout=PATIENCE_S)
        items = await anna["xep_0030"].get_items(house.domain, timeout=PATIENCE_S)
        assert component.boundjid.bare in {item[0] for item in items["disco_items"]["items"]}, items
    try:
        await anna["xep_0199"].send_ping(house.server.component, timeout=PATIENCE_S)
    except IqError as error:
        assert error.condition == "service-unavailable", error
    else:
        raise AssertionError("an answer of a component that is gone")


@fact(prosody=ALONE)
async def a_component_speaks_for_a_person_as_far_as_it_is_let(house):
    anna = await house.arrives()
    phone = await house.arrives(anna.name)
    bert = await house.arrives()
    phone["xep_0280"].enable()
    await phone.fence()
    async with connected(house) as component:
        privileges = component["xep_0356"]
        message = component.make_message(mto=bert.boundjid.bare, mfrom=anna.boundjid.bare, mbody="from afar", mtype="chat")
        privileges.send_privileged_message(message)
        await bert.hears_text("from afar", anna.boundjid.bare)
        await phone.expect(lambda s: is_copy(s, "from afar"), "a copy")

        echo = f"echo@{component.boundjid.bare}"
        await privileges.set_roster(anna.boundjid.bare, {echo: {"name": "Echo", "subscription": "both", "groups": ["Afar"]}})
        roster = (await privileges.get_roster(anna.boundjid.bare))["roster"]["items"]
        assert roster[slixmpp.JID(echo)]["subscription"] == "both", roster

        iq = component.Iq(sto=anna.boundjid.bare, sfrom=anna.boundjid.bare, stype="set")
        iq.append(ET.fromstring(
            f"<pubsub xmlns='{PUBSUB}'><publish node='urn:xmpp:bookmarks:1'><item id='room@{component.boundjid.bare}'>"
            "<conference xmlns='urn:xmpp:bookmarks:1' name='Afar'/></item></publish></pubsub>"))
        await privileges.send_privileged_iq(iq)
        answer = await anna.asks("get", f"<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:bookmarks:1'/></pubsub>")
        assert [c.get("name") for c in answer.iter("{urn:xmpp:bookmarks:1}conference")] == ["Afar"]


class Bridge:
    """slidge with a network of one, as a process beside the server."""

    def __init__(self, house, home):
        self.house, self.home = house, pathlib.Path(home)
        self.said, self.process = [], None

    async def starts(self):
        """Begins, and returns when it says that it has."""
        server = self.house.server
        command = [os.environ["SLIDGE"] + "/bin/python", "-m", "slidge", "--legacy-module", "slidge_bridge",
                   "--jid", server.component, "--secret", server.secret, "--server", "127.0.0.1",
                   "--port", str(server.component_port), "--home-dir", self.home]
        place = {"PYTHONPATH": str(pathlib.Path(__file__).parent), "SLIDGE_CONF_DIR": str(self.home / "none")}
        self.process = await asyncio.create_subprocess_exec(
            *command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.home,
            env={**os.environ, **place})
        async with asyncio.timeout(3 * PATIENCE_S):
            while line := await self.process.stdout.readline():
                self.said.append(line.decode(errors="replace"))
                if "successfully started" in self.said[-1]:
                    self.listener = asyncio.create_task(self.listens())
                    return
        raise AssertionError("it ended by itself")

    async def listens(self):
        """Keeps what it prints."""
        while line := await self.process.stdout.readline():
            self.said.append(line.decode(errors="replace"))

    async def ends(self):
        """Ends it politely, and after a while by force."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), PATIENCE_S)
        except asyncio.TimeoutError:
            self.process.kill()
            await self.process.wait()


@fact(prosody=ALONE)
async def slidge_brings_another_network(house):
    anna = await house.arrives()
    phone = await house.arrives(anna.name)
    phone["xep_0280"].enable()
    await anna.asks("get", "<query xmlns='jabber:iq:roster'/>")
    echo = f"echo@{house.server.component}"
    with tempfile.TemporaryDirectory(prefix="slidge-", dir=house.directory) as home:
        await uses_slidge(house, Bridge(house, home), anna, phone, echo)


async def uses_slidge(house, bridge, anna, phone, echo):
    """What somebody does with a bridge."""
    try:
        await bridge.starts()
        info = await anna["xep_0030"].get_info(house.server.component, timeout=PATIENCE_S)
        assert "gateway" in {identity[0] for identity in info["disco_info"]["identities"]}, info
        await anna.asks("set", "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'>"
                        "<field var='username'><value>anna</value></field>"
                        "<field var='password'><value>anything</value></field></x></query>", house.server.component)
        # Its own address and its people come into the roster without a question.
        await anna.hears_push(house.server.component, subscription="both")
        await anna.hears_push(echo, subscription="both", name="Echo")
        await anna.hears_presence("available", echo)

        anna.says(echo, "hello")
        await anna.hears_text("hello, hello", echo)
        # What was written with the other network's own app is on all devices, as Anna's.
        anna.says(echo, "elsewhere: from afar")
        await phone.expect(lambda s: is_copy(s, "from afar"), "a copy")

        # After a restart it is signed in again, and keeps the node of what was read (XEP-0490) in Anna's name.
        await bridge.ends()
        await anna.hears_presence("unavailable", echo)
        await bridge.starts()
        await anna.hears_presence("available", echo)
        anna.says(echo, "still there")
        await anna.hears_text("still there, still there", echo)
        node = "<affiliations node='urn:xmpp:mds:displayed:0'/>"
        answer = await anna.asks("get", f"<pubsub xmlns='{PUBSUB}#owner'>{node}</pubsub>")
        members = [a.get("affiliation") for a in answer.iter(f"{{{PUBSUB}#owner}}affiliation")
                   if a.get("jid") == house.server.component]
        assert members == ["member"], members
    except Exception as error:
        raise AssertionError(f"{error!r}; slidge said:\n{''.join(bridge.said[-60:])}") from error
    finally:
        await bridge.ends()
