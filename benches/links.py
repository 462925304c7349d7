"""CPU per message across an established link between servers, TLS on the link and to the clients; see `links`."""

import asyncio
import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "interop"))
from federation import HERE, THERE, Here, There, go_inside, name_everybody  # noqa: E402
from servers import Authority  # noqa: E402
from slixmpp_person import PASSWORD, House, are_contacts  # noqa: E402

MESSAGES, CROWD, ROUNDS = 4_000, 50, 3
# Domains of the other server, for links that do nothing; each costs one link out and one back in.
DOMAINS = 100
TEXT = "x" * 200
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")


def cpu_us(pid):
    """Microseconds of user and system time, all threads."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


def resident_kib(pid):
    """Kilobytes in memory."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


class Lampone(Here):
    """As it runs at home."""

    LOG = "info"


class Prosody(There):
    """As little as it can do."""

    LOG = "warn"


class HerePart(Prosody):
    """Prosody in Lampone's place."""

    ADDRESS = "127.0.0.1"


async def say(speaker, hearer, count):
    """So many messages, some under way at once."""
    come, enough = 0, asyncio.Event()

    def hear(stanza):
        nonlocal come
        come += stanza.name == "message" and stanza["type"] == "chat"
        if come % CROWD == 0:
            enough.set()
        return stanza

    hearer.add_filter("in", hear)
    for first in range(0, count, CROWD):
        enough.clear()
        speaker.send_raw("".join(
            f"<message to='{hearer.boundjid.bare}' type='chat' id='m{number}'><body>{TEXT}</body></message>"
            for number in range(first, first + CROWD)))
        await asyncio.wait_for(enough.wait(), 30)
    hearer.del_filter("in", hear)


async def idle(house):
    """Kilobytes per link that is open and says nothing: every domain sends its refusal back on a link of its own."""
    romeo = await house.arrives()
    await romeo.fence()
    before = resident_kib(house.server.pid)
    for number in range(DOMAINS):
        romeo.says(f"nobody@d{number}.{THERE}", "hark")
    for _ in range(DOMAINS):
        await romeo.expect(lambda s: s.name == "message" and s["type"] == "error", "a refusal", patience=60)
    await romeo.fence()
    spent = resident_kib(house.server.pid) - before
    await house.everybody_leaves()
    return spent / (2 * DOMAINS)


async def measure(house, peer):
    """Microseconds per message that leaves, and that comes in."""
    romeo, juliet = await house.arrives(), await peer.arrives()
    for person in (romeo, juliet):
        await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    await are_contacts(romeo, juliet)
    found = []
    for speaker, hearer in ((romeo, juliet), (juliet, romeo)):
        await say(speaker, hearer, 2 * CROWD)
        before = cpu_us(house.server.pid)
        await say(speaker, hearer, MESSAGES)
        found.append((cpu_us(house.server.pid) - before) / MESSAGES)
    await house.everybody_leaves()
    await peer.everybody_leaves()
    return found


def run(place, make):
    """A fresh pair of servers; the best of the rounds, and the memory of a link."""
    ours, theirs = Authority(place / "ours", HERE), Authority(place / "theirs", THERE)
    roots = ours.ca.read_text() + theirs.ca.read_text()
    ours.ca.write_text(roots)
    theirs.ca.write_text(roots)
    accounts = [("admin", PASSWORD), *((f"p{i}", PASSWORD) for i in range(ROUNDS + 1))]
    server, other = make(place / "here", ours), Prosody(place / "there", THERE, theirs, True, ())
    with other.config.open("a") as config:
        config.writelines(f'VirtualHost "d{number}.{THERE}"\n' for number in range(DOMAINS))
    with server, other:
        other.add_accounts(accounts)
        other.start()
        if isinstance(server, Here):
            server.start()
            server.add_accounts(accounts)
        else:
            server.add_accounts(accounts)
            server.start()
        house, peer = House(server, place, ROUNDS + 1), House(other, place, ROUNDS)
        memory = asyncio.run(idle(house))
        rounds = [asyncio.run(measure(house, peer)) for _ in range(ROUNDS)]
    return [*(min(column) for column in zip(*rounds)), memory]


def main():
    """Both servers, one table."""
    go_inside()
    binary = pathlib.Path(os.environ["LAMPONE"]).resolve()
    with tempfile.TemporaryDirectory(prefix="links-") as place:
        place = pathlib.Path(place)
        names = name_everybody(place)
        names.table.update({(f"d{number}.{THERE}", "A"): ["127.0.0.2"] for number in range(DOMAINS)})
        lampone = run(place / "lampone", lambda at, authority: Lampone(at, HERE, authority, binary))
        prosody = run(place / "prosody", lambda at, authority: HerePart(at, HERE, authority, True, ()))
    print("| | Lampone | Prosody | ratio |\n|---|---|---|---|")
    lines = ("CPU per message to another server (µs)", "CPU per message from another server (µs)",
             "memory per idle link (KB)")
    for what, mine, its in zip(lines, lampone, prosody):
        print(f"| {what} | {mine:.0f} | {its:.0f} | {its / mine:.1f} |")


if __name__ == "__main__":
    main()
