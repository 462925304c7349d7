"""Accounts for aioxmpp's end-to-end tests: a new one for every client, and the server where it listens."""

import os

import aioxmpp
import aioxmpp.connector
from aioxmpp.e2etest.provision import StaticPasswordProvisioner

DOMAIN, PORT = os.environ["DOMAIN"], int(os.environ["PORT"])
PASSWORD, PREFIX = os.environ["PASSWORD"], os.environ["PREFIX"]


class People(StaticPasswordProvisioner):
    """Nobody is met twice, so that no test sees what another left behind."""

    taken = 0

    async def _make_client(self, logger):
        People.taken += 1
        return aioxmpp.PresenceManagedClient(
            aioxmpp.JID.fromstr(f"{PREFIX}{People.taken}@{DOMAIN}"),
            # OpenSSL through aioxmpp does not take another authority; the certificate is other facts' business.
            aioxmpp.make_security_layer(PASSWORD, no_verify=True),
            override_peer=[("127.0.0.1", PORT, aioxmpp.connector.STARTTLSConnector())], logger=logger)
