"""One account through nbxmpp, the library of Gajim, in a process of its own: told by lines of JSON what to do, it tells
by lines of JSON what came of it.

It finds the server by SRV, checks certificates with the system's list of authorities, answers requests for receipts and
comes back when it is cut, all as Gajim does.
"""

import json
import logging
import os
import sys

import gi

gi.require_version("Soup", "3.0")

# ruff: noqa: E402  versions are chosen before anything is imported
from gi.repository import Gio, GLib
from nbxmpp.client import Client
from nbxmpp.const import ConnectionProtocol, ConnectionType
from nbxmpp.modules.receipts import build_receipt
from nbxmpp.protocol import JID, Message
from nbxmpp.structs import StanzaHandler

import nbxmpp_features

WAYS = {"direct": ConnectionType.DIRECT_TLS, "starttls": ConnectionType.START_TLS}


def tells(**what):
    """One line for whoever started this."""
    print(json.dumps(what, default=str), flush=True)


class Person:
    """The client, and what it does when it is told to."""

    def __init__(self, jid, password, ways, resource="library"):
        self.leaving, self.begun, self.client = False, b"", Client(log_context="interop")
        address = JID.from_string(jid)
        self.client.set_domain(address.domain)
        self.client.set_username(address.localpart)
        self.client.set_resource(resource)
        self.client.set_password(password)
        self.client.set_protocols([ConnectionProtocol.TCP])
        self.client.set_connection_types([WAYS[way] for way in ways])
        for signal in ("connected", "resume-successful", "resume-failed", "disconnected", "connection-failed"):
            self.client.subscribe(signal, self.on_signal)
        for name, callback in (("message", self.on_message), ("presence", self.on_presence), ("iq", self.on_iq)):
            self.client.register_handler(StanzaHandler(name=name, callback=callback, priority=51))

    def on_signal(self, client, signal, *_):
        """What happened to the stream; a lost one is made again at once."""
        if signal == "connected":
            tells(signal=signal, jid=client.get_bound_jid(), way=client.current_connection_type.name)
        else:
            tells(signal=signal, error=[str(part) for part in client.get_error()])
        if signal == "disconnected" and not self.leaving:
            GLib.timeout_add(100, self.connects)

    def connects(self):
        """Connects, once."""
        self.client.connect()
        return GLib.SOURCE_REMOVE

    def on_message(self, client, stanza, properties):
        """Tells of a message, and gives the receipt that was asked for."""
        receipt, carbon = properties.receipt, properties.carbon
        tells(message=properties.body, **{"from": properties.from_}, carbon=carbon and carbon.type,
              receipt=receipt.id if receipt and receipt.is_received else None, archived=properties.mam is not None,
              ids=[one.id for one in properties.stanza_ids], type=properties.type.value)
        if receipt and receipt.is_request and not carbon and not properties.mam:
            client.send_stanza(build_receipt(stanza))

    def on_presence(self, _client, _stanza, properties):
        """Tells of a presence."""
        show = properties.show and properties.show.value
        tells(presence=properties.type.value or "available", show=show, status=properties.status,
              **{"from": properties.jid})

    def on_iq(self, _client, _stanza, properties):
        """Tells of a roster push."""
        push = getattr(properties, "roster", None)
        if push:
            tells(push=push.item.jid, name=push.item.name, subscription=push.item.subscription,
                  groups=sorted(push.item.groups))

    # --- what it can be told to do

    def say(self, to, text, **extras):
        """A chat message that asks for a receipt."""
        message = Message(to=to, body=text, typ="chat")
        message.setID(extras.get("id", "said"))
        message.setReceiptRequest()
        self.client.send_stanza(message)

    def subscribe(self, to):
        """Asks for somebody's presence."""
        self.client.get_module("BasePresence").subscribe(JID.from_string(to))

    def subscribed(self, to):
        """Lets somebody see the presence."""
        self.client.get_module("BasePresence").subscribed(JID.from_string(to))

    def presence(self, show=None, status=None):
        """Own presence for all contacts."""
        self.client.get_module("BasePresence").send(show=show, status=status)

    def roster(self):
        """Asks for the roster and tells it."""
        def came(task):
            data = task.finish()
            tells(roster=sorted([item.jid, item.name, item.subscription, sorted(item.groups)] for item in data.items))
        self.keeps(came, self.client.get_module("Roster").request_roster)

    def rename(self, jid, name, groups):
        """Changes an item of the roster."""
        self.keeps(lambda task: task.finish(), self.client.get_module("Roster").set_item, JID.from_string(jid), name,
                   set(groups))

    def keeps(self, callback, method, *args):
        """nbxmpp holds its callbacks weakly."""
        self.callback = callback
        method(*args, callback=self.callback)

    def features(self):
        """Exercises everything that is advertised."""
        nbxmpp_features.exercised(self.client, tells)

    def leave(self):
        """Ends the stream and this process."""
        self.leaving = True
        self.client.subscribe("disconnected", lambda *_: self.loop.quit())
        self.client.disconnect()

    # --- the loop

    def on_lines(self, source, _condition):
        """Things to do."""
        given = os.read(source, 65_536)
        if not given:
            self.loop.quit()
            return GLib.SOURCE_REMOVE
        *lines, self.begun = (self.begun + given).split(b"\n")
        for line in lines:
            name, arguments = json.loads(line)
            getattr(self, name)(**arguments)
        return GLib.SOURCE_CONTINUE

    def lives(self):
        """Until it has left."""
        self.loop = GLib.MainLoop()
        GLib.unix_fd_add_full(GLib.PRIORITY_DEFAULT, 0, GLib.IOCondition.IN | GLib.IOCondition.HUP, self.on_lines)
        GLib.idle_add(self.connects)
        self.loop.run()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    assert Gio.TlsBackend.get_default().supports_tls()
    Person(**json.loads(sys.argv[1])).lives()
