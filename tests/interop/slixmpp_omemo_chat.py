"""slixmpp-omemo encrypts between two devices each of two people, online, absent and from the archive. XEP-0384 in both of its versions."""

import asyncio
import sys

from omemo.session_manager import MessageNotForUs
from omemo.storage import Just, Nothing, Storage
from slixmpp import JID
from slixmpp.plugins import register_plugin
from slixmpp_omemo import XEP_0384, TrustLevel

from slixmpp_person import PATIENCE_S, PLUGINS, are_contacts, facts

FACTS, fact = facts()
WITH_OMEMO = (*PLUGINS, "xep_0004", "xep_0060", "xep_0115", "xep_0163", "xep_0334", "xep_0380", "xep_0059", "xep_0297", "xep_0313")
DEVICE_LISTS = ("eu.siacs.conversations.axolotl.devicelist", "urn:xmpp:omemo:2:devices")
# Keys are made and ratchets turned in Python.
OMEMO_S = 3 * PATIENCE_S


class Memory(Storage):
    """What a device keeps while it is away."""

    def __init__(self):
        super().__init__()
        self.kept = {}

    async def _load(self, key):
        return Just(self.kept[key]) if key in self.kept else Nothing()

    async def _store(self, key, value):
        self.kept[key] = value

    async def _delete(self, key):
        self.kept.pop(key, None)


class Trusting(XEP_0384):
    """Trusts every device of everybody."""

    @property
    def storage(self):
        return self.xmpp.memory

    @property
    def _btbv_enabled(self):
        return True

    async def _devices_blindly_trusted(self, blindly_trusted, identifier):
        pass

    async def _prompt_manual_trust(self, manually_trusted, identifier):
        manager = await self.get_session_manager()
        for device in manually_trusted:
            await manager.set_trust(device.bare_jid, device.identity_key, TrustLevel.TRUSTED.name)


register_plugin(Trusting)


async def device(house, name=None, memory=None, available=True):
    """A device that has published its keys and, unless told otherwise, is available."""
    person = house.person(name, plugins=WITH_OMEMO)
    person.memory = memory or Memory()
    person.register_plugin("xep_0384", module=sys.modules[__name__])
    ready = asyncio.get_running_loop().create_future()
    person.add_event_handler("omemo_initialized", lambda _: ready.done() or ready.set_result(None))
    await person.sign_in()
    await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    await person["xep_0280"].enable()
    await asyncio.wait_for(ready, OMEMO_S)
    # What the plugin said before the resource was bound, slixmpp has forgotten.
    for node in DEVICE_LISTS:
        person["xep_0163"].add_interest(node)
    await person["xep_0115"].update_caps(broadcast=False)
    if available:
        await person.becomes_available()
    await person.fence()
    return person


async def writes(person, to, text):
    """Sends an encrypted message to all devices of an account, and to the other ones of one's own."""
    reader = JID(to.boundjid.bare)
    await person["xep_0384"].refresh_device_lists({reader, JID(person.boundjid.bare)}, force_download=True)
    # Blind trust is for other people's devices; one's own are trusted by hand.
    manager = await person["xep_0384"].get_session_manager()
    for own in await manager.get_device_information(person.boundjid.bare):
        await manager.set_trust(own.bare_jid, own.identity_key, TrustLevel.TRUSTED.name)
    stanza = person.make_message(mto=reader, mtype="chat", mbody=text)
    message, errors = await person["xep_0384"].encrypt_message(stanza, {reader})
    assert not errors and message is not None, errors
    assert text not in str(message)
    message.send()


async def reads(person, text):
    """Waits for an encrypted message, received or carbon-copied, and decrypts it."""
    plugin = person["xep_0384"]

    def inner(stanza):
        if stanza.name != "message":
            return None
        for carbon in ("carbon_sent", "carbon_received"):
            if stanza.get_plugin(carbon, check=True) is not None:
                return stanza[carbon]
        return stanza

    def is_encrypted(stanza):
        message = inner(stanza)
        return message is not None and bool(plugin.is_encrypted(message))

    while True:
        heard = await person.expect(is_encrypted, f"an encrypted {text!r}", OMEMO_S)
        try:
            message, _ = await plugin.decrypt_message(inner(heard))
        except MessageNotForUs:
            # Sessions are completed by empty messages, each for one device (XEP-0384 §5.5.3).
            continue
        if message["body"]:
            assert message["body"] == text, message
            return


@fact
async def two_devices_each_of_two_people_read_each_other(house):
    anna, bert = await device(house), await device(house)
    await are_contacts(anna, bert)
    annas, berts = await device(house, anna.name), await device(house, bert.name)
    await writes(anna, bert, "wherefore art thou")
    for reader in (bert, berts, annas):
        await reads(reader, "wherefore art thou")
    await writes(berts, anna, "shall I hear more")
    for reader in (anna, annas, bert):
        await reads(reader, "shall I hear more")


@fact
async def who_was_absent_reads_it_later(house):
    anna, bert = await device(house), await device(house)
    await are_contacts(anna, bert)
    await writes(anna, bert, "while you are here")
    await reads(bert, "while you are here")
    memory, name = bert.memory, bert.name
    await bert.leave()
    await writes(anna, bert, "while you are away")
    again = await device(house, name, memory)
    await reads(again, "while you are away")
    await writes(again, anna, "back again")
    await reads(anna, "back again")


@fact
async def what_was_said_meanwhile_is_read_from_the_archive(house):
    anna, bert = await device(house), await device(house)
    await are_contacts(anna, bert)
    await writes(anna, bert, "while you are here")
    await reads(bert, "while you are here")
    memory, name = bert.memory, bert.name
    await bert.leave()
    for text in ("the first", "the second"):
        await writes(anna, bert, text)
    # Nothing is delivered to who is not available; the archive is read all the same.
    again = await device(house, name, memory, available=False)
    read = []
    async for result in again["xep_0313"].iterate(with_jid=JID(anna.boundjid.bare)):
        message = result["mam_result"]["forwarded"]["stanza"]
        if not again["xep_0384"].is_encrypted(message):
            continue
        try:
            read.append((await again["xep_0384"].decrypt_message(message))[0]["body"])
        except Exception:  # noqa: BLE001  what was read before cannot be read again: its key is gone
            continue
    assert read == ["the first", "the second"], read


@fact
async def strangers_can_begin(house):
    anna, bert = await device(house), await device(house)
    await writes(anna, bert, "we have not met")
    await reads(bert, "we have not met")
