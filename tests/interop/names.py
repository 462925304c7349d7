"""A name server for one domain on loopback, so that desktop clients find the server as they do in the world: RFC 1035,
SRV as RFC 6120 §3.2.1 and XEP-0368 want. It knows nothing else, and whoever asks for more gets nothing.
"""

import asyncio
import random
import socket
import struct

A, SRV = 1, 33
HEADER = struct.Struct(">HHHHHH")
ANSWERED, UNKNOWN = 0x8580, 0x8583  # RFC 1035 §4.1.1: QR, AA, RD, RA; the second with RCODE 3, name error
TTL_S = 60


def wire_name(name):
    """A name as labels, RFC 1035 §3.1."""
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def question(query):
    """The name asked for in lower case, its type, and the question as it was written."""
    labels, at = [], HEADER.size
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
        at += 1 + query[at]
    kind, = struct.unpack_from(">H", query, at + 1)
    return ".".join(labels), kind, query[HEADER.size:at + 5]


class Names(asyncio.DatagramProtocol):
    """Entered, it answers on port 53 of `address`, a loopback address that nobody else uses."""

    def __init__(self, domain, port, tls_port):
        self.address = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.{random.randint(2, 254)}"
        self.asked = set()
        self.records = {(domain, A): socket.inet_aton("127.0.0.1")}
        for service, port in (("xmpp-client", port), ("xmpps-client", tls_port)):
            record = struct.pack(">HHH", 0, 5, port) + wire_name(domain)
            self.records[f"_{service}._tcp.{domain}", SRV] = record

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=(self.address, 53))
        return self

    async def __aexit__(self, *_):
        self.transport.close()

    def datagram_received(self, query, sender):
        name, kind, asked = question(query)
        self.asked.add((name, kind))
        record = self.records.get((name, kind))
        known = any(name == other for other, _ in self.records)
        number, = struct.unpack_from(">H", query)
        answer = HEADER.pack(number, ANSWERED if known else UNKNOWN, 1, int(bool(record)), 0, 0) + asked
        if record:
            answer += struct.pack(">HHHIH", 0xC00C, kind, 1, TTL_S, len(record)) + record
        self.transport.sendto(answer, sender)
