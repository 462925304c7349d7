"""slixmpp enters through sockets that systemd opened, and systemd is told when the door is open.

`systemd-socket-activate` and a socket of our own stand in for the service manager.
"""

import asyncio
import os
import shutil
import socket
from unittest import mock

from servers import Lampone
from slixmpp_person import PASSWORD, House, facts

FACTS, fact = facts()
PROSODY = "Debian's takes no sockets from systemd"
READY_S = 20


class Activated(Lampone):
    """Lampone whose sockets are opened by somebody else, in the order of lampone.socket."""

    def command(self):
        activate = shutil.which("systemd-socket-activate")
        assert activate, "systemd-socket-activate is missing"
        return [activate, f"--listen=127.0.0.1:{self.port}", f"--listen=127.0.0.1:{self.tls_port}", *super().command()]


def beside(house, kind, name):
    """Another server of the same binary beside the one of the house."""
    return kind(house.directory / name, house.domain, house.server.authority, house.server.binary)


@fact(prosody=PROSODY)
async def sockets_opened_by_systemd_are_used(house):
    with beside(house, Activated, "activated") as server:
        server.start()
        # The first client starts the service; once it is answered, the administration socket is there.
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"<stream:stream to='{house.domain}' version='1.0' xmlns='jabber:client' "
                     "xmlns:stream='http://etherx.jabber.org/streams'>".encode())
        await asyncio.wait_for(reader.readuntil(b"</stream:features>"), READY_S)
        writer.close()
        server.add_accounts([("anna", PASSWORD)])
        there = House(server, house.directory, house.accounts)
        try:
            await there.arrives("anna")
            await there.arrives("anna", direct=False)
        finally:
            await there.everybody_leaves()


@fact(prosody=PROSODY)
async def systemd_is_told_when_the_door_is_open_and_when_it_closes(house):
    address = str(house.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, beside(house, Lampone, "notified") as server:
        manager.bind(address)
        manager.settimeout(READY_S)
        with mock.patch.dict(os.environ, NOTIFY_SOCKET=address):
            server.start()
        hear(manager, "READY=1")
        server.stop()
        hear(manager, "STOPPING=1")


def hear(manager, word):
    """Waits for a datagram with this line."""
    while word not in manager.recv(4096).decode().splitlines():
        pass
