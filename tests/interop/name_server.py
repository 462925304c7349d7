"""A DNS server on loopback that knows one table, for servers that look for each other. Only the standard library.

RFC 1035 §4: one question in, all records of that name and type out, without compression.
"""

import ipaddress
import socket
import struct
import threading

TYPES = {"A": 1, "AAAA": 28, "SRV": 33}


def wire(name):
    """A name as labels."""
    labels = [label for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def rdata(kind, value):
    """What a record of this type says: an address, or (priority, weight, port, target)."""
    if kind == "SRV":
        priority, weight, port, target = value
        return struct.pack("!HHH", priority, weight, port) + wire(target)
    return ipaddress.ip_address(value).packed


class Names:
    """Answers from `table`: (name, type) -> values. The table may change while it runs."""

    def __init__(self, address="127.0.0.1", port=53):
        self.table = {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        """Until the process ends."""
        while True:
            query, sender = self.socket.recvfrom(4096)
            try:
                self.socket.sendto(self.answer(query), sender)
            except (IndexError, struct.error, UnicodeDecodeError):
                continue

    def answer(self, query):
        """The whole message; names that nothing is known of do not exist."""
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question = query[12:at + 5]
        name, asked = ".".join(labels), struct.unpack("!H", query[at + 1:at + 3])[0]
        kinds = {number: kind for kind, number in TYPES.items()}
        values = self.table.get((name, kinds.get(asked)), [])
        exists = any(known == name for known, _ in self.table)
        records = b""
        for value in values:
            data = rdata(kinds[asked], value)
            records += wire(name) + struct.pack("!HHIH", asked, 1, 60, len(data)) + data
        flags = 0x8580 | (0 if exists else 3)
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(values), 0, 0) + question + records
