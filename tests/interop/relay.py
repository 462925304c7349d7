"""A TCP relay in front of a server, so that a connection can be lost without either side having done anything."""

import asyncio


class Relay:
    """Entered, it takes connections on `port` of loopback and passes them on to another port there."""

    def __init__(self, to):
        self.to, self.open, self.taken = to, set(), 0

    async def __aenter__(self):
        self.listener = await asyncio.start_server(self.passes, "127.0.0.1", 0)
        self.port = self.listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.listener.close()
        self.cuts()

    def cuts(self):
        """Loses every connection that there is; how many."""
        lost = len(self.open) // 2
        for writer in list(self.open):
            writer.transport.abort()
        return lost

    async def passes(self, reader, writer):
        """One connection, both ways until one side is gone."""
        self.taken += 1
        try:
            there = await asyncio.open_connection("127.0.0.1", self.to)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, there[1]}
        self.open |= ends
        try:
            await asyncio.gather(flows(reader, there[1]), flows(there[0], writer))
        except OSError:
            pass
        finally:
            for end in ends:
                end.transport.abort()
            self.open -= ends


async def flows(reader, writer):
    """One direction, to its end."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
