"""CPU per notification of PEP, TLS to the devices; see `pep`."""

import asyncio
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "interop"))
from servers import Authority, Lampone, Prosody  # noqa: E402
from slixmpp_person import PASSWORD, PLUGINS, House  # noqa: E402

DOMAIN, NODE = "house.test", "urn:example:mood"
DEVICES, PUBLICATIONS, AT_ONCE, ROUNDS = 20, 500, 25, 3
TEXT = "x" * 100
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


class Quiet(Lampone):
    """As it is configured by default."""

    LOG = "info"


def cpu_us(pid):
    """Microseconds of user and system time, all threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


def publication(number):
    """One of many; the node keeps the last."""
    return (f"<iq type='set' id='p{number}'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{NODE}'>"
            f"<item id='current'><mood xmlns='{NODE}'><text>{TEXT}</text></mood></item></publish></pubsub></iq>")


class Ear:
    """Counts what one device is told."""

    def __init__(self, device):
        self.count, self.more = 0, asyncio.Event()
        device.add_filter("in", self.hear)

    def hear(self, stanza):
        """A filter."""
        if stanza.name == "message" and stanza.xml.find("{http://jabber.org/protocol/pubsub#event}event") is not None:
            self.count += 1
            self.more.set()
        return stanza

    async def has(self, count):
        """Waits until it was told so often."""
        while self.count < count:
            self.more.clear()
            await asyncio.wait_for(self.more.wait(), 30)


async def measured(house):
    """Microseconds per notification, the best of the rounds."""
    devices = []
    for number in range(DEVICES):
        device = house.person("anna", resource=f"r{number}", plugins=(*PLUGINS, "xep_0163"))
        device.plugin["xep_0163"].add_interest(NODE)
        await device.sign_in()
        await device.becomes_available()
        devices.append(device)
    ears, best = [Ear(device) for device in devices], None
    # Whose wishes are not known is asked for them first.
    for number in range(-10, 0):
        devices[0].send_raw(publication(number))
        for ear in ears:
            await ear.has(1)
    for _ in range(ROUNDS):
        await asyncio.gather(*(device.fence() for device in devices))
        before, counts = cpu_us(house.server.pid), [ear.count for ear in ears]
        for first in range(0, PUBLICATIONS, AT_ONCE):
            devices[0].send_raw("".join(publication(number) for number in range(first, first + AT_ONCE)))
            for ear, count in zip(ears, counts):
                await ear.has(count + first + AT_ONCE)
        spent = (cpu_us(house.server.pid) - before) / (PUBLICATIONS * DEVICES)
        best = spent if best is None else min(best, spent)
    await house.everybody_leaves()
    return best


def main():
    """One table."""
    result = {}
    with tempfile.TemporaryDirectory(prefix="pep-") as place:
        place = pathlib.Path(place)
        authority = Authority(place / "authority", DOMAIN)
        for server in (Quiet(place / "lampone", DOMAIN, authority, pathlib.Path(os.environ["LAMPONE"]).resolve()),
                       Prosody(place / "prosody", DOMAIN, authority)):
            if isinstance(server, Prosody):
                server.add_accounts([("anna", PASSWORD)])
            with server:
                server.start()
                if isinstance(server, Lampone):
                    server.add_accounts([("anna", PASSWORD)])
                result[type(server).__name__] = asyncio.run(measured(House(server, place, 1)))
    ours, theirs = result["Quiet"], result["Prosody"]
    print("| CPU per notification (µs) | Lampone | Prosody | ratio |\n|---|---|---|---|")
    print(f"| {DEVICES} devices of one person, a publication of {len(TEXT)} bytes | {ours:.1f} | {theirs:.1f} | {theirs / ours:.1f} |")


if __name__ == "__main__":
    main()
