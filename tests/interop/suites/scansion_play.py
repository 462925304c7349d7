"""Plays one conversation written for scansion (the language of Prosody's own tests) against a server on loopback.

Only the standard library. A conversation names clients, then says who connects, sends, receives and leaves. What a
client receives may come in another order than it is written: RFC 6120 §10.1 orders what one entity sends to one other,
not the answer to a request and what the request caused. What was not asked for is let pass.

A server asks for capabilities (XEP-0115 §6.2) with an id and from an address of its own choice, and which contact's
service asks first is its own affair: a question that is expected may not be asked, and an answer goes to who asked.
"""

import asyncio
import base64
import re
import ssl
from xml.etree import ElementTree

PATIENCE_S = 5
CLIENT = "{jabber:client}"
SCANSION = "{urn:scansion}"
ACTION = re.compile(r"^(?P<who>\S.*?) (?P<what>connects|disconnects|sends|receives):?(?P<rest>.*)$")
COMMENT = ("#", "//", "--")


class Differs(AssertionError):
    """The server did not say what the conversation expects."""


class Client:
    """One connection, signed in over direct TLS with PLAIN, and the stanzas that nobody has asked for yet."""

    def __init__(self, jid, password):
        self.bare, _, self.resource = jid.partition("/")
        self.password, self.full = password, jid
        self.heard, self.writer, self.reading = [], None, None
        self.something = asyncio.Condition()

    async def connects(self, server):
        """Signs in and binds a resource."""
        trust = ssl.create_default_context(cafile=str(server.authority.ca))
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", server.tls_port, ssl=trust, server_hostname=server.domain)
        user = self.bare.partition("@")[0]
        proof = base64.b64encode(f"\0{user}\0{self.password}".encode()).decode()
        await self.opens(server)
        self.says(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>")
        await self.hears(lambda e: e.tag.endswith("}success"), "the password is accepted")
        self.reading.cancel()
        await self.opens(server)
        resource = f"<resource>{self.resource}</resource>" if self.resource else ""
        self.says(f"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{resource}</bind></iq>")
        bound = await self.hears(lambda e: e.get("id") == "bind", "a resource is bound")
        self.full = "".join(bound.itertext()).strip()

    async def opens(self, server):
        """Opens a stream and takes its features."""
        parser = ElementTree.XMLPullParser(("start", "end"))
        self.reading = asyncio.create_task(self.reads(parser))
        self.says("<?xml version='1.0'?><stream:stream xmlns='jabber:client' version='1.0' xml:lang='en' "
                  f"xmlns:stream='http://etherx.jabber.org/streams' to='{server.domain}'>")
        await self.hears(lambda e: e.tag.endswith("}features"), "the stream's features")

    async def reads(self, parser):
        """Collects the children of the stream."""
        depth = 0
        while data := await self.reader.read(65536):
            parser.feed(data)
            for event, element in parser.read_events():
                depth += 1 if event == "start" else -1
                if event == "end" and depth == 1:
                    async with self.something:
                        self.heard.append(element)
                        self.something.notify_all()

    def says(self, text):
        """Sends text as it is, while there is a connection."""
        if self.writer:
            self.writer.write(text.encode())

    async def hears(self, fits, what):
        """Takes the first stanza that fits."""
        def place():
            return next((i for i, element in enumerate(self.heard) if fits(element)), None)

        async with self.something:
            try:
                await asyncio.wait_for(self.something.wait_for(lambda: place() is not None), PATIENCE_S)
            except TimeoutError:
                heard = "\n".join("    " + ElementTree.tostring(e, encoding="unicode") for e in self.heard)
                raise Differs(f"{self.full} does not hear\n    {what}\n  but\n{heard or '    nothing'}") from None
            return self.heard.pop(place())

    async def disconnects(self):
        """Closes the stream and waits until the server has closed it as well (RFC 6120 §4.4)."""
        if self.writer is None:
            return
        try:
            self.says("</stream:stream>")
            await asyncio.wait_for(self.reading, PATIENCE_S)
        except (OSError, ssl.SSLError, TimeoutError, ElementTree.ParseError):
            pass
        self.reading.cancel()
        self.writer.close()
        self.writer = None


def read(text):
    """The clients, as name and settings, and the steps, as line, who, what and the stanza's text."""
    clients, steps, settings = {}, [], None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.strip().startswith(COMMENT):
            continue
        if line.startswith("["):
            settings = clients.setdefault(line.partition("]")[2].strip(), {})
        elif line[0].isspace() and not steps:
            key, _, value = line.strip().partition(":")
            settings[key] = value.strip()
        elif (action := ACTION.match(line)) and action["who"] in clients:
            steps.append([number, action["who"], action["what"], action["rest"]])
        else:
            steps[-1][3] += "\n" + line
    return clients, steps


def parsed(text):
    """The stanza in a conversation's text."""
    names = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:scansion='urn:scansion'"
    return ElementTree.fromstring(f"<root {names}>{text}</root>")[0]


def same_text(wanted, said, captured):
    """Whether an attribute or a text is what is wanted; `{scansion:capture:NAME}` keeps what was said."""
    if wanted == "{scansion:any}":
        return True
    if wanted and wanted.startswith("{scansion:capture:"):
        captured[wanted[len("{scansion:capture:"):-1]] = said
        return said is not None
    return (wanted or "").strip() == (said or "").strip()


def without_habits(wanted):
    """What is wanted, without what another server is free to say otherwise."""
    for element in wanted.iter():
        if element.tag == "{jabber:iq:roster}query" and "ver" in element.keys():
            # RFC 6121 §2.6.1: an opaque string.
            element.set("ver", "{scansion:any}")
        if element.tag == "{jabber:x:data}x" and element.get("type") == "form":
            # XEP-0060 §8.2.2: what the fields hold unless somebody changes it is the service's affair.
            element.set(f"{SCANSION}strict", "false")
            for field in element:
                field.attrib.pop("label", None)
                field.attrib.pop("type", None)
                if field.get("var") != "FORM_TYPE":
                    field[:] = []
        if element.tag.endswith("}item") and "pubsub" in element.tag:
            # XEP-0060 §7.1.2.3: who published MAY be told.
            element.attrib.pop("publisher", None)
        if element.tag == "{http://jabber.org/protocol/muc#user}actor" and element.get("nick"):
            # XEP-0045 §8.2: the nickname or the address.
            element.attrib.pop("jid", None)
        if element.tag == f"{CLIENT}error":
            # RFC 6120 §8.3.2: who found the error MAY be told.
            element.attrib.pop("by", None)
        for child in list(element):
            if child.tag == "{vcard-temp:x:update}x" and not "".join(child.itertext()).strip():
                # XEP-0398 §4: who has no picture has no hash of one.
                element.remove(child)
            if child.tag == f"{CLIENT}status":
                # RFC 6121 §4.7.2.2: for a person to read.
                element.remove(child)
            if element.tag == f"{CLIENT}presence" and child.tag == "{urn:xmpp:delay}delay":
                # RFC 6121 §4.3.2: a probe's answer need not tell how old it is.
                element.remove(child)
            if child.tag == "{urn:ietf:params:xml:ns:xmpp-stanzas}text":
                # RFC 6120 §8.3.2: for a person to read.
                element.remove(child)
                element.set(f"{SCANSION}strict", "false")
    return wanted


def is_courtesy(wanted):
    """Whether a subscriber is told that a contact is away before approval; no step of RFC 6121 §3.1.2."""
    presence = wanted.tag == f"{CLIENT}presence" and "/" not in wanted.get("from", "/") and not len(wanted)
    return presence and wanted.get("type") in (None, "unavailable")


def alike(wanted, said, captured, strict=False):
    """Whether a stanza says at least what is wanted; what is strict says nothing else."""
    strict = {"true": True, "false": False}.get(wanted.get(f"{SCANSION}strict"), strict)
    attributes = {name: value for name, value in wanted.items() if not name.startswith(SCANSION)}
    if wanted.tag != said.tag or not all(same_text(v, said.get(n), captured) for n, v in attributes.items()):
        return False
    if wanted.text and wanted.text.strip() and not same_text(wanted.text, said.text, captured):
        return False
    if strict and (set(attributes) != set(said.keys()) or len(wanted) != len(said)):
        return False
    rest = list(said)
    for child in wanted:
        found = next((i for i, other in enumerate(rest) if alike(child, other, captured, strict)), None)
        if found is None:
            return False
        del rest[found]
    return True


def capabilities(stanza):
    """The node of a question or an answer about capabilities, if it is one."""
    query = stanza.find("{http://jabber.org/protocol/disco#info}query") if stanza.tag == f"{CLIENT}iq" else None
    return query.get("node", "") if query is not None and "#" in query.get("node", "") else ""


def fits(wanted, captured):
    """A question of a stanza, for `Client.hears`; a `type` that is not written must not be there."""
    kind = wanted.get("type")

    def question(said):
        kinds = (kind,) if kind or not said.tag.startswith(CLIENT) else (None, "normal", "available")
        return said.get("type") in kinds and alike(wanted, said, captured)

    return question


class Play:
    """One performance: its clients, and what was captured."""

    def __init__(self, text, server, left_out=()):
        names, steps = read(text)
        self.steps = [step for step in steps if step[0] not in left_out]
        self.server, self.captured = server, {}
        self.clients = {name: Client(settings["jid"], settings["password"]) for name, settings in names.items()}

    async def goes_on(self):
        """Plays to the end; raises what differs."""
        try:
            for number, who, what, text in self.steps:
                try:
                    await getattr(self, what)(self.clients[who], self.filled(text).strip())
                except Differs as difference:
                    raise Differs(f"line {number}: {difference}") from None
        finally:
            for client in self.clients.values():
                await client.disconnects()

    def filled(self, text):
        """A stanza's text with addresses and what was captured in the places of their names."""
        for name, client in self.clients.items():
            text = text.replace(f"${{{name}'s full JID}}", client.full).replace(f"${{{name}'s JID}}", client.bare)
        return re.sub(r"\$\{(\w+)\}", lambda found: self.captured.get(found[1]) or found[0], text)

    async def connects(self, client, _text):
        await client.connects(self.server)

    async def disconnects(self, client, _text):
        await client.disconnects()

    async def sends(self, client, text):
        answer = parsed(text)
        node = capabilities(answer)
        if not node or answer.get("type") != "result":
            client.says(text)
            return

        def asks(said):
            return said.get("type") == "get" and capabilities(said) == node

        # Whatever was asked is here when a ping behind it is answered.
        client.says("<iq type='get' id='fence'><ping xmlns='urn:xmpp:ping'/></iq>")
        await client.hears(lambda said: said.get("id") == "fence", "the answer to a ping")
        for question in [said for said in client.heard if asks(said)]:
            client.heard.remove(question)
            answer.set("id", question.get("id"))
            answer.set("to", question.get("from"))
            client.says(ElementTree.tostring(answer, encoding="unicode"))

    async def receives(self, client, text):
        wanted = parsed(text)
        if capabilities(wanted) or is_courtesy(wanted):
            return
        await client.hears(fits(without_habits(wanted), self.captured), " ".join(text.split()))
