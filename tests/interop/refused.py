"""What the server refused to whom, read from its log: it shows what a client asks for that the server does not have."""

import re

LINE = re.compile(r"refused: (?P<what>.*?) from (?P<who>\S+)(?: to (?P<to>\S+))?: (?P<condition>[a-z-]+)$",
                  re.MULTILINE)

# What clients do that find `urn:xmpp:bookmarks:1#compat`: nobody has bookmarked anything yet (XEP-0060 §6.5.9.11).
NO_BOOKMARKS = "Get pubsub http://jabber.org/protocol/pubsub items urn:xmpp:bookmarks:1 to itself: item-not-found"


def refused(house, name):
    """The refused requests of an account as texts, without what differs from run to run."""
    jid, found = house.jid(name), set()
    for line in LINE.finditer(house.server.said()):
        if line["who"].split("/")[0] != jid:
            continue
        to = {None: "itself", jid: "itself", house.domain: "the server"}.get(line["to"], "another")
        found.add(f"{re.sub(r'[0-9]{5,}', 'N', line['what'])} to {to}: {line['condition']}")
    return found


def is_refused_only(house, name, *expected):
    """Fails when the server refused to the account what is not among the expected beginnings, and tells what it did."""
    found = sorted(refused(house, name))
    for what in found:
        print(f"      refused: {what}")
    surprises = [what for what in found if not what.startswith(expected)]
    assert not surprises, f"newly refused to {name}: {surprises}"
