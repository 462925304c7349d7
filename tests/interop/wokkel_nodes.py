"""Nodes of accounts, kept by a component that answers in the server's place: wokkel's pubsub, with what Libervia's pubsub knows
of XEP-0355. `python wokkel_nodes.py JID SECRET PORT` runs it until it is ended; the nodes live in its memory."""

import sys

from sat_tmp import wokkel as patches

patches.install()

from sat_pubsub.delegation import DelegationsHandler
from twisted.application import service
from twisted.internet import defer, reactor
from twisted.python import log
from twisted.words.protocols.jabber.error import StanzaError
from wokkel import component, disco, pubsub


class Nodes(pubsub.PubSubResource):
    """Items by account and node."""

    features = ["publish", "retrieve-items", "auto-create"]
    discoIdentity = disco.DiscoIdentity("pubsub", "service", "Nodes")

    def __init__(self):
        self.items_of = {}

    def publish(self, request):
        """Keeps items."""
        key = request.recipient.userhost(), request.nodeIdentifier
        self.items_of.setdefault(key, []).extend(request.items)
        return defer.succeed(None)

    def items(self, request):
        """Everybody may read all of them."""
        key = request.recipient.userhost(), request.nodeIdentifier
        if key not in self.items_of:
            return defer.fail(StanzaError("item-not-found"))
        return defer.succeed(self.items_of[key])

    def getInfo(self, requestor, recipient, node):
        """Nothing is told of single nodes."""
        return defer.succeed(None)


class Backend(service.Service):
    """What the handler of delegations looks for."""

    name = "backend"

    def __init__(self):
        self.config, self.server_jid = {"server_jid": None}, None


def main(jid, secret, port):
    """Connects, and stays."""
    log.startLogging(sys.stdout, setStdout=False)
    house = service.MultiService()
    Backend().setServiceParent(house)
    stream = component.Component("127.0.0.1", int(port), jid, secret)
    stream.setServiceParent(house)
    for handler in (disco.DiscoHandler(), DelegationsHandler(), pubsub.PubSubService(Nodes())):
        handler.setHandlerParent(stream)
    house.startService()
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
