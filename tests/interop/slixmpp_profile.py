"""slixmpp's picture in the vCard (XEP-0054, XEP-0153) and its avatar (XEP-0084) are one and the same (XEP-0398)."""

import hashlib

from slixmpp_person import PATIENCE_S, are_contacts, facts
from slixmpp_pubsub import WITH_PEP, options

FACTS, fact = facts()
# slixmpp's own plugin for XEP-0153 is left to those who use it: it says in each presence what it knows itself.
OLD = (*WITH_PEP, "xep_0153")
PICTURE, OTHER = bytes(range(256)) * 40, bytes(reversed(range(256))) * 40
UPDATE = "{vcard-temp:x:update}"


def name_of(picture):
    """A picture's SHA-1."""
    return hashlib.sha1(picture).hexdigest()


def tells(person, sender, said):
    """Waits for a presence that tells this of the picture."""
    return person.expect(lambda s: s.name == "presence" and s["from"].bare == sender
                         and s.xml.findtext(f"{UPDATE}x/{UPDATE}photo") == said, f"a presence that tells {said!r}")


async def two(house, plugins):
    """Anna, and Bert who sees her presence."""
    anna, bert = await house.arrives(plugins=plugins), await house.arrives(plugins=WITH_PEP)
    for person in (anna, bert):
        await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    await are_contacts(anna, bert)
    return anna, bert


async def photo_of(asker, jid):
    """The picture in somebody's vCard."""
    found = await asker["xep_0054"].get_vcard(jid, cached=False, timeout=PATIENCE_S)
    return found["vcard_temp"]["PHOTO"]["BINVAL"] or b""


@fact
async def an_avatar_is_seen_in_the_vcard_and_told_in_presence(house):
    anna, bert = await two(house, WITH_PEP)
    me = anna.boundjid.bare
    await anna.asks("set", "<vCard xmlns='vcard-temp'><FN>Anna</FN></vCard>")
    for picture in (PICTURE, OTHER):
        avatar, shown = anna["xep_0084"], options(access_model="open")
        await avatar.publish_avatar(picture, options=shown)
        about = {"id": name_of(picture), "type": "image/png", "bytes": str(len(picture))}
        await avatar.publish_avatar_metadata([about], options=shown)
        await tells(bert, me, name_of(picture))
        assert await photo_of(bert, me) == picture
    await anna["xep_0084"].stop(timeout=PATIENCE_S)
    await tells(bert, me, "")
    assert await photo_of(bert, me) == b""


@fact
async def the_picture_of_a_vcard_is_seen_as_an_avatar_and_told_in_presence(house):
    anna, bert = await two(house, OLD)
    me = anna.boundjid.bare
    for picture in (PICTURE, OTHER):
        await anna["xep_0153"].set_avatar(avatar=picture, mtype="image/png", timeout=PATIENCE_S)
        await tells(bert, me, name_of(picture))
        found = await bert["xep_0084"].retrieve_avatar(me, name_of(picture), timeout=PATIENCE_S)
        assert found["pubsub"]["items"]["item"]["avatar_data"]["value"] == picture
