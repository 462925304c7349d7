"""Runs one module of slixmpp's integration tests; its clients connect to the server under test, wherever it listens.

Its tests take the accounts from the environment (CI_ACCOUNT1 …) and the server's address from DNS, where ours is not.
"""

import os
import sys
import unittest

from slixmpp import ClientXMPP


class Client(ClientXMPP):
    """slixmpp's client, which trusts the authority of the tests and needs no DNS."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.ca_certs = os.environ["CA"]
        self.enable_direct_tls, self.enable_starttls = True, False

    def connect(self, *_address, **_named):
        return super().connect("127.0.0.1", int(os.environ["PORT"]))


def main():
    """Exits with 0 if there were tests and all have passed."""
    sys.path.insert(0, os.getcwd())
    import slixmpp.test.integration
    slixmpp.test.integration.ClientXMPP = Client
    tests = unittest.defaultTestLoader.loadTestsFromName(f"itests.{sys.argv[1]}")
    done = unittest.TextTestRunner(verbosity=2).run(tests)
    sys.exit(0 if done.wasSuccessful() and done.testsRun > len(done.skipped) else 1)


if __name__ == "__main__":
    main()
