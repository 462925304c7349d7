"""slixmpp as a telephone: nobody looks at it (XEP-0352), and it is woken by push (XEP-0357), with another account of the
house as the push service, for which slixmpp has no plugin."""

from slixmpp_person import PLUGINS, are_contacts, facts

FACTS, fact = facts()
WITH_STATE = (*PLUGINS, "xep_0085", "xep_0352")
PUBSUB = "http://jabber.org/protocol/pubsub"
PUSH = "urn:xmpp:push:0"


def words(person, sender):
    """What was heard of somebody, in order: bodies, chat states and presence."""
    heard = [s for s in person.heard if s.name in ("message", "presence") and s["from"].bare == sender.boundjid.bare]
    return [s["body"] or s["chat_state"] if s.name == "message" else s["type"] for s in heard]


@fact
async def a_telephone_in_the_pocket_hears_what_matters_and_then_everything_before_it(house):
    anna = await house.arrives(plugins=WITH_STATE)
    phone = await house.arrives(plugins=WITH_STATE)
    assert "csi" in phone.features or phone["xep_0352"].enabled, "the server announces client state"
    phone["xep_0352"].send_inactive()
    await phone.fence()
    phone.heard.clear()
    for show in ("away", "xa", "dnd"):
        anna.send_presence(pto=phone.boundjid.full, pshow=show)
    for state in ("composing", "paused"):
        message = anna.make_message(mto=phone.boundjid.bare, mtype="chat")
        message["chat_state"] = state
        message.send()
    await anna.fence()
    assert not words(phone, anna), words(phone, anna)
    anna.says(phone.boundjid.bare, "important")
    await phone.expect(lambda s: s.name == "presence" and s["from"] == anna.boundjid, "the presence before it")
    await phone.expect(lambda s: s.name == "message" and s["chat_state"] == "paused", "the state before it")
    await phone.hears_text("important")
    assert not words(phone, anna), "the last of each is enough"


@fact
async def who_looks_at_the_telephone_sees_how_things_are(house):
    anna = await house.arrives(plugins=WITH_STATE)
    phone = await house.arrives(plugins=WITH_STATE)
    phone["xep_0352"].send_inactive()
    await phone.fence()
    anna.send_presence(pto=phone.boundjid.full, pshow="away")
    anna.send_presence(pto=phone.boundjid.full, ptype="unavailable")
    await anna.fence()
    phone["xep_0352"].send_active()
    await phone.hears_presence("unavailable", anna.boundjid.full)
    assert not words(phone, anna), words(phone, anna)


async def let_in(phone, service):
    """The push service is a client: it answers only whom it knows."""
    for person in (phone, service):
        await person.asks("get", "<query xmlns='jabber:iq:roster'/>")
    await are_contacts(phone, service)


async def registers(phone, service, extra=""):
    """Asks to be woken through this service."""
    await phone.asks("set", f"<enable xmlns='{PUSH}' jid='{service.boundjid.full}' node='device'>{extra}</enable>")


def is_told(service):
    """Waits until the push service is told of something; the request."""
    return service.expect(lambda s: s.name == "iq" and any(s.xml.iter(f"{{{PUSH}}}notification")), "a notification")


def value(request, name):
    """A field of the summary."""
    for field in request.xml.iter("{jabber:x:data}field"):
        if field.get("var") == name:
            return field.findtext("{jabber:x:data}value")
    return None


@fact(prosody="its module for push is not part of it")
async def who_is_away_is_woken_once_and_without_a_word_of_what_was_said(house):
    anna, service = await house.arrives(), await house.arrives()
    phone = await house.arrives(resumes=True)
    await let_in(phone, service)
    await registers(phone, service)
    anna.says(phone.boundjid.bare, "while there")
    await phone.hears_text("while there")
    await phone.is_acknowledged()
    await phone.is_cut()
    for text in ("secret", "and another"):
        anna.says(phone.boundjid.bare, text)
    request = await is_told(service)
    assert request["from"] == phone.boundjid.bare, request
    assert value(request, "message-count") == "1", request
    assert "secret" not in str(request) and anna.boundjid.bare not in str(request), request
    service.make_iq_result(id=request["id"], ito=request["from"]).send()
    await service.must_not_hear(lambda s: s.name == "iq" and any(s.xml.iter(f"{{{PUSH}}}notification")),
                                "a second notification at once", anna)
    await phone.sign_in()
    await phone.hears_text("secret")
    await phone.hears_text("and another")


@fact(prosody="its module for push is not part of it")
async def who_has_signed_out_is_woken_until_the_push_service_refuses(house):
    anna, service = await house.arrives(), await house.arrives()
    phone = await house.arrives()
    await let_in(phone, service)
    await registers(phone, service)
    await phone.leave()
    anna.says(phone.boundjid.bare, "one")
    request = await is_told(service)
    refusal = service.make_iq_error(id=request["id"], type="cancel", condition="item-not-found", ito=request["from"])
    refusal.send()
    await service.fence()
    # A device that comes back is woken anew, if it is still registered.
    again = await house.arrives(phone.name)
    await again.leave()
    anna.says(phone.boundjid.bare, "two")
    await service.must_not_hear(lambda s: s.name == "iq" and any(s.xml.iter(f"{{{PUSH}}}notification")),
                                "a notification that it refused", anna)
