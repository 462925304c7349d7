"""Profanity and slixmpp in a private group: members only, everybody sees who is who, and what is said is encrypted.

XEP-0045 (members-only, non-anonymous), XEP-0384 v0.3 (`eu.siacs.conversations.axolotl`), which is what Profanity speaks.
"""

import re

from slixmpp import JID

from profanity_chat import Terminal
from slixmpp_omemo_chat import TrustLevel, device
from slixmpp_person import PATIENCE_S, PLUGINS, facts
from slixmpp_rooms import makes, reads, said

FACTS, fact = facts()


async def generates_keys(terminal):
    """Profanity has keys, and believes those of others at first sight."""
    terminal.types("/omemo trustmode blind")
    await terminal.shows(r"(?i)trust ?mode.*blind")
    terminal.types("/omemo gen")
    await terminal.shows(r"(?i)generated OMEMO|OMEMO crytographic materials|Your OMEMO fingerprint")


async def has_heard(terminal, times):
    """Profanity has had the answers to all it asked so far, and, the second time, to what it asked because of them."""
    terminal.types("/win 1")
    terminal.types("/clear")
    for number in range(1, times + 1):
        terminal.types("/ping")
        await terminal.shows(r"(?s)" + r"Ping response.*" * number)
    terminal.types("/win 2")


async def encrypts(speaker, room, readers, text):
    """Says something in the room that only these accounts can read."""
    plugin = speaker["xep_0384"]
    own = JID(speaker.boundjid.bare)
    await plugin.refresh_device_lists({*readers, own}, force_download=True)
    manager = await plugin.get_session_manager()
    for one in await manager.get_device_information(own.bare):
        await manager.set_trust(one.bare_jid, one.identity_key, TrustLevel.TRUSTED.name)
    stanza = speaker.make_message(mto=room, mtype="groupchat", mbody=text)
    message, errors = await plugin.encrypt_message(stanza, set(readers))
    assert not errors and message is not None and text not in str(message), errors
    message.send()


@fact
async def profanity_and_slixmpp_encrypt_in_a_private_group(house):
    anna, name = await device(house), house.account()
    anna.register_plugin("xep_0045")
    room = await makes(anna, house, f"conspiracy-{name}", persistentroom=True, membersonly=True, whois="anyone")
    async with Terminal(house, name) as terminal:
        await terminal.signs_in()
        await generates_keys(terminal)
        await anna["xep_0045"].set_affiliation(room, "member", jid=terminal.jid)
        terminal.types(f"/join {room} nick terminal")
        await anna.expect(lambda s: s.name == "presence" and s["from"] == JID(f"{room}/terminal")
                          and s["muc"]["jid"].bare == terminal.jid, "the terminal in the room")
        await terminal.shows(r"(?i)you have joined the room as terminal|-> terminal|terminal has joined")
        # It can encrypt once it has seen what the room is, who its members are, and their devices; and it ends itself now
        # and then when it is asked too early.
        await has_heard(terminal, 3)
        terminal.types("/omemo start")
        await terminal.shows(r"\[OMEMO\]|OMEMO session started")
        await has_heard(terminal, 2)
        terminal.types("said by the terminal, for members")
        await reads(anna, room, "said by the terminal, for members")
        for text in ("said by slixmpp, for members", "und noch einmal, mit Ümlaut"):
            await encrypts(anna, room, {JID(terminal.jid)}, text)
            await terminal.shows(re.escape(text))
        terminal.types("understood")
        await reads(anna, room, "understood")
        # Nothing of it went through the room as it was typed.
        plain = [s for s in anna.heard if s.name == "message" and "for members" in s["body"]]
        assert not plain, plain
