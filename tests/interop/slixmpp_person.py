"""One slixmpp client as a person who signs in, hears and speaks; and the house they live in.

Nothing here sleeps: whoever waits, waits for a stanza. That something does *not* arrive is shown by a fence: a ping
behind it that was answered (RFC 6120 §10.1, in-order processing).
"""

import asyncio
import ctypes
import hashlib
import os
import ssl

import slixmpp
from slixmpp.util.sasl import mechanisms
from slixmpp.xmlstream import ET

PASSWORD = "correct horse"
# An emulated server needs more.
PATIENCE_S = 10 * int(os.environ.get("INTEROP_PATIENCE", "1"))
PLUGINS = ("xep_0012", "xep_0030", "xep_0049", "xep_0050", "xep_0054", "xep_0092", "xep_0191", "xep_0198", "xep_0199",
           "xep_0202", "xep_0203", "xep_0280", "xep_0359")


def facts():
    """A decorator that collects a module's facts in its FACTS."""
    collected = []

    def fact(function=None, **not_with):
        def mark(function):
            function.not_with = not_with
            collected.append(function)
            return function

        return mark(function) if function else mark

    return collected, fact


class House:
    """The server under test and who is in it. Every fact has accounts of its own."""

    def __init__(self, server, directory, accounts):
        self.server, self.directory, self.accounts = server, directory, accounts
        self.kind = type(server).__name__.lower()
        self.domain = server.domain
        self.people = []
        self.next_account = 0

    def account(self):
        """The name of an account that no fact has used."""
        if self.next_account == self.accounts:
            raise SignInFailed(f"the facts use more than the {self.accounts} accounts that were made for them")
        self.next_account += 1
        return f"p{self.next_account - 1}"

    def jid(self, name):
        """The bare address of an account."""
        return f"{name}@{self.domain}"

    def person(self, name=None, **options):
        """Somebody who has not signed in yet."""
        person = Person(self, name or self.account(), **options)
        self.people.append(person)
        return person

    async def arrives(self, name=None, available=True, **options):
        """Somebody who is signed in and, unless told otherwise, available."""
        person = self.person(name, **options)
        await person.sign_in()
        if available:
            await person.becomes_available()
        return person

    async def everybody_leaves(self):
        """Ends all connections of a fact."""
        for person in self.people:
            await person.leave()
        self.people.clear()


class SignInFailed(Exception):
    """The server or the certificate did not let somebody in."""


class Person(slixmpp.ClientXMPP):
    """A client that remembers what it heard until somebody expects it."""

    def __init__(self, house, name, *, resource="", mechanism=None, binding=None, direct=True, resumes=False,
                 password=PASSWORD, authority=None, plugins=PLUGINS):
        address = house.jid(name) + (f"/{resource}" if resource else "")
        super().__init__(address, password, sasl_mech=mechanism)
        self.house, self.name = house, name
        self.heard, self.waiters = [], []
        self.enable_direct_tls, self.enable_starttls, self.enable_plaintext = direct, not direct, False
        self.ca_certs = authority or house.server.authority.ca
        self.roster.auto_authorize, self.roster.auto_subscribe = None, False
        self.binding = binding
        self.signed_in = asyncio.get_running_loop().create_future()
        for plugin in plugins:
            if plugin != "xep_0198" or resumes:
                self.register_plugin(plugin)
        if binding:
            self["feature_mechanisms"].sasl_callback = self.credentials_with_binding
        self.add_filter("in", self.hear)
        self.add_event_handler("session_start", lambda _: self.outcome(None))
        self.add_event_handler("session_resumed", lambda _: self.outcome(None))
        self.add_event_handler("failed_all_auth", lambda _: self.outcome(SignInFailed("all mechanisms failed")))
        self.add_event_handler("connection_failed", lambda e: self.outcome(SignInFailed(f"connection: {e}")))

    # --- coming and going

    def outcome(self, error):
        """The end of a sign-in."""
        if self.signed_in.done():
            return
        if error:
            self.signed_in.set_exception(error)
        else:
            self.signed_in.set_result(True)

    async def sign_in(self):
        """Connects and signs in; the future is fresh, so that it can be called again after a cut."""
        if self.signed_in.done():
            self.signed_in = asyncio.get_running_loop().create_future()
        server = self.house.server
        self.connect("127.0.0.1", server.tls_port if self.enable_direct_tls else server.port)
        await asyncio.wait_for(self.signed_in, PATIENCE_S * 2)

    async def becomes_available(self, **presence):
        """Sends initial presence and waits until it was reflected (RFC 6121 §4.2.2)."""
        self.send_presence(**presence)
        me = self.boundjid.full
        await self.expect(lambda s: s.name == "presence" and s["from"].full == me and s["type"] == "available",
                          "own presence")
        return self

    async def leave(self):
        """Signs out if signed in, and ends the connection anyway."""
        self.cancel_connection_attempt()
        if self.is_connected():
            gone = self.disconnected
            self.disconnect(wait=1.0)
            try:
                await asyncio.wait_for(asyncio.shield(gone), 3)
            except asyncio.TimeoutError:
                self.abort()
        if self.signed_in.done() and not self.signed_in.cancelled():
            self.signed_in.exception()

    async def is_cut(self):
        """Loses the TCP connection without a word."""
        gone = self.disconnected
        self.transport.abort()
        await asyncio.wait_for(gone, PATIENCE_S)

    # --- channel binding

    def credentials_with_binding(self, required, optional):
        """What slixmpp would say, with the channel binding data that Python's ssl module does not give."""
        result = self["feature_mechanisms"]._default_credentials(required, optional)
        if "channel_binding" in required | optional:
            result["channel_binding"] = self.binding(self.socket)
        return result

    # --- hearing

    def hear(self, stanza):
        """Remembers what came in."""
        self.heard.append(stanza)
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()
        return stanza

    async def expect(self, claim, what, patience=PATIENCE_S):
        """The first stanza heard, or yet to be heard, for which the claim holds; it is forgotten then."""
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            for at, stanza in enumerate(self.heard):
                if claim(stanza):
                    return self.heard.pop(at)
            waiter = asyncio.get_running_loop().create_future()
            self.waiters.append(waiter)
            try:
                await asyncio.wait_for(waiter, deadline - asyncio.get_running_loop().time())
            except asyncio.TimeoutError:
                heard = "\n".join(str(s) for s in self.heard[-10:])
                raise AssertionError(f"{self.name} waited in vain for {what}; heard:\n{heard}") from None

    def hears_text(self, text, sender=None):
        """Waits for a message with this body."""
        return self.expect(lambda s: s.name == "message" and s["body"] == text
                           and (sender is None or s["from"].bare == sender), f"the message {text!r}")

    def hears_presence(self, kind, sender):
        """Waits for a presence of a type ("available" for none) from a bare or full address."""
        return self.expect(lambda s: s.name == "presence" and s["type"] == kind and sender in
                           (s["from"].bare, s["from"].full), f"{kind} presence from {sender}")

    def hears_push(self, jid, **wanted):
        """Waits for a roster push (RFC 6121 §2.1.6) of one item with these attributes."""
        def claim(stanza):
            if stanza.name != "iq" or stanza["type"] != "set":
                return False
            for item in stanza.xml.iter("{jabber:iq:roster}item"):
                if item.get("jid") == jid and all(item.get(key) == value for key, value in wanted.items()):
                    return True
            return False
        return self.expect(claim, f"a roster push of {jid} with {wanted}")

    async def fence(self):
        """Returns when everything sent to this person before now has been heard."""
        await self["xep_0199"].send_ping(self.house.domain, timeout=PATIENCE_S)

    async def is_acknowledged(self):
        """Returns when the server has told that it handled everything sent so far (XEP-0198 §4)."""
        # What waits in the client is not counted before it is sent; the fence goes behind it.
        await self.fence()
        sent = self["xep_0198"].seq
        while self["xep_0198"].last_ack < sent:
            self["xep_0198"].request_ack()
            await self.expect(lambda s: s.name == "a", "an acknowledgement")

    async def must_not_hear(self, claim, what, *speakers):
        """Fails if such a stanza was heard once the speakers' and the own stream are drained."""
        for speaker in (*speakers, self):
            await speaker.fence()
        found = [str(s) for s in self.heard if claim(s)]
        assert not found, f"{self.name} heard {what}: {found}"

    # --- speaking

    def says(self, to, text, **attributes):
        """Sends a chat message."""
        message = self.make_message(mto=str(to), mbody=text, mtype="chat")
        for key, value in attributes.items():
            message[key] = value
        message.send()
        return message

    async def asks(self, kind, payload, to=None):
        """Sends an IQ with a payload given as XML text; the answer's element."""
        iq = self.make_iq(id=self.new_id(), ito=to)
        iq["type"] = kind
        iq.append(ET.fromstring(payload))
        return (await iq.send(timeout=PATIENCE_S)).xml


async def are_contacts(one, other):
    """Makes both subscribe to each other, each by request and approval."""
    for asker, asked in ((one, other), (other, one)):
        asker.send_presence_subscription(pto=asked.boundjid.bare, ptype="subscribe")
        await asked.hears_presence("subscribe", asker.boundjid.bare)
        asked.send_presence_subscription(pto=asker.boundjid.bare, ptype="subscribed")
        await asker.hears_presence("subscribed", asked.boundjid.bare)
    await one.hears_push(other.boundjid.bare, subscription="both")
    await other.hears_push(one.boundjid.bare, subscription="both")


def end_point(socket):
    """tls-server-end-point, RFC 5929 §4.1: the hash of the server's certificate, which is signed with SHA-256."""
    return hashlib.sha256(socket.getpeercert(True)).digest()


def exporter(socket):
    """tls-exporter, RFC 9266. Python's ssl has no call for it, so it is asked of the library beneath.

    The session pointer is the second member after the object header of CPython's `PySSLSocket` (3.7 to 3.13).
    """
    inner = socket._sslobj
    header = object.__basicsize__
    pointer = ctypes.c_void_p.from_address(id(inner) + header + ctypes.sizeof(ctypes.c_void_p)).value
    library = ctypes.CDLL(ssl._ssl.__file__)
    library.SSL_get_version.restype = ctypes.c_char_p
    library.SSL_get_version.argtypes = [ctypes.c_void_p]
    assert library.SSL_get_version(pointer) == socket.version().encode(), "not the session's pointer"
    label, out = b"EXPORTER-Channel-Binding", ctypes.create_string_buffer(32)
    done = library.SSL_export_keying_material(
        ctypes.c_void_p(pointer), out, ctypes.c_size_t(32), label, ctypes.c_size_t(len(label)), b"",
        ctypes.c_size_t(0), 1)
    assert done == 1, "no keying material"
    return out.raw


class EndPointFlag:
    """While entered, slixmpp names `tls-server-end-point` where it would name another binding."""

    def __enter__(self):
        self.original = original = mechanisms.SCRAM.process_1

        def named(scram, challenge=b""):
            first = original(scram, challenge)
            header = b"p=tls-server-end-point,,"
            first = header + first[len(scram.gs2_header):]
            scram.gs2_header, scram.client_first_message = header, first
            return first

        mechanisms.SCRAM.process_1 = named

    def __exit__(self, *_):
        mechanisms.SCRAM.process_1 = self.original
