"""slixmpp loses its connection and resumes. XEP-0198."""

from slixmpp_person import facts

FACTS, fact = facts()


def texts(person):
    """The bodies heard so far, in order."""
    return [s["body"] for s in person.heard if s.name == "message" and s["body"]]


@fact
async def after_a_cut_the_session_resumes_and_every_message_arrives_once(house):
    anna = await house.arrives()
    bert = await house.arrives(resumes=True)
    resumed = []
    bert.add_event_handler("session_resumed", resumed.append)
    address = bert.boundjid.full
    anna.says(bert.boundjid.bare, "before")
    await bert.expect(lambda s: s.name == "message" and s["body"] == "before", "the first message")
    await bert.is_cut()
    wanted = [f"while away {number}" for number in range(5)]
    for text in wanted:
        anna.says(bert.boundjid.bare, text)
    await anna.fence()
    await bert.sign_in()
    assert resumed, "a new session instead of the old one"
    assert bert.boundjid.full == address
    anna.says(address, "after")
    await bert.hears_text("after")
    await bert.fence()
    assert texts(bert) == wanted, texts(bert)


@fact
async def contacts_do_not_notice_a_short_cut(house):
    anna = await house.arrives()
    bert = await house.arrives(resumes=True)
    bert.send_presence(pto=anna.boundjid.full)
    await anna.hears_presence("available", bert.boundjid.full)
    await bert.is_cut()
    await anna.fence()
    await bert.sign_in()
    await anna.must_not_hear(lambda s: s.name == "presence" and s["type"] == "unavailable", "unavailable", bert)


@fact
async def a_session_that_signed_out_cannot_be_resumed(house):
    bert = await house.arrives(resumes=True)
    identifier = bert["xep_0198"].sm_id
    assert identifier
    await bert.leave()
    again = house.person(bert.name, resumes=True)
    failed = []
    again.add_event_handler("sm_failed", failed.append)
    again["xep_0198"].sm_id = identifier
    await again.sign_in()
    assert failed, "resumed what had ended"
    await again.becomes_available()


@fact
async def nobody_resumes_the_session_of_another_account(house):
    victim = await house.arrives(resumes=True)
    thief = house.person(resumes=True)
    thief["xep_0198"].sm_id = victim["xep_0198"].sm_id
    failed = []
    thief.add_event_handler("sm_failed", failed.append)
    await thief.sign_in()
    assert failed and thief.boundjid.bare != victim.boundjid.bare
    await victim.fence()


@fact
async def what_a_session_sent_is_acknowledged(house):
    anna, bert = await house.arrives(resumes=True), await house.arrives()
    acked = []
    anna.add_event_handler("stanza_acked", acked.append)
    anna.says(bert.boundjid.bare, "count me")
    anna["xep_0198"].request_ack()
    await bert.hears_text("count me")
    await anna.fence()
    anna["xep_0198"].request_ack()
    await anna.expect(lambda s: s.name == "a" and int(s["h"]) >= 2, "an acknowledgement")
    assert any(s.name == "message" and s["body"] == "count me" for s in acked)
