"""slixmpp asks the server itself: ping, discovery, version, time, last activity, and commands for the admin."""

import datetime

from slixmpp.exceptions import IqError

from slixmpp_person import PASSWORD, PATIENCE_S, facts

FACTS, fact = facts()
COMMANDS = "http://jabber.org/protocol/commands"
ADD_USER = "http://jabber.org/protocol/admin#add-user"
DATA = "{jabber:x:data}"


@fact
async def the_server_and_the_own_account_answer_pings(house):
    anna = await house.arrives()
    await anna["xep_0199"].send_ping(house.domain, timeout=PATIENCE_S)
    await anna["xep_0199"].send_ping(anna.boundjid.bare, timeout=PATIENCE_S)


@fact
async def a_ping_to_a_device_that_shows_its_presence_is_answered_by_that_device(house):
    anna, bert = await house.arrives(), await house.arrives()
    bert.send_presence(pto=anna.boundjid.full)
    await anna.hears_presence("available", bert.boundjid.full)
    await anna["xep_0199"].send_ping(bert.boundjid.full, timeout=PATIENCE_S)


@fact(prosody="delivers it; RFC 6121 §8.5.3.1 says SHOULD NOT")
async def a_request_to_a_strangers_device_does_not_tell_that_it_is_there(house):
    # A name that can be guessed; one of the server's making cannot.
    anna, bert = await house.arrives(), await house.arrives(resource="phone")
    answers = []
    for target in (bert.boundjid.full, f"{bert.boundjid.bare}/nowhere"):
        try:
            await anna["xep_0199"].send_ping(target, timeout=PATIENCE_S)
        except IqError as refused:
            answers.append(refused.condition)
    assert answers == ["service-unavailable"] * 2, answers


@fact
async def an_unknown_request_is_answered_with_an_error(house):
    anna = await house.arrives()
    try:
        await anna.asks("get", "<query xmlns='urn:example:unknown'/>", house.domain)
    except IqError as refused:
        assert refused.condition in ("service-unavailable", "feature-not-implemented"), refused
    else:
        raise AssertionError("an answer to an unknown request")


@fact
async def discovery_names_identity_and_features(house):
    anna = await house.arrives()
    info = (await anna["xep_0030"].get_info(house.domain, timeout=PATIENCE_S))["disco_info"]
    assert ("server", "im") in {identity[:2] for identity in info["identities"]}, info
    missing = {"http://jabber.org/protocol/disco#info", "urn:xmpp:ping", "vcard-temp", "urn:xmpp:blocking"} - set(info["features"])
    assert not missing, f"not advertised: {missing}"
    own = (await anna["xep_0030"].get_info(anna.boundjid.bare, timeout=PATIENCE_S))["disco_info"]
    assert ("account", "registered") in {identity[:2] for identity in own["identities"]}, own
    await anna["xep_0030"].get_items(house.domain, timeout=PATIENCE_S)


@fact
async def version_and_time_are_told(house):
    anna = await house.arrives()
    version = await anna["xep_0092"].get_version(house.domain, timeout=PATIENCE_S)
    assert version["software_version"]["name"].lower() == house.kind, version
    answer = await anna.asks("get", "<time xmlns='urn:xmpp:time'/>", house.domain)
    told = datetime.datetime.fromisoformat(answer.findtext(".//{urn:xmpp:time}utc").replace("Z", "+00:00"))
    now = datetime.datetime.now(datetime.timezone.utc)
    assert abs(told - now) < datetime.timedelta(seconds=5), told


@fact
async def last_activity_of_the_server_is_its_uptime(house):
    anna = await house.arrives()
    answer = await anna["xep_0012"].get_last_activity(house.domain, timeout=PATIENCE_S)
    assert 0 <= int(answer["last_activity"]["seconds"]) < 3600, answer


@fact
async def last_activity_of_a_stranger_is_not_told(house):
    anna, bert = await house.arrives(), await house.arrives()
    try:
        await anna["xep_0012"].get_last_activity(bert.boundjid.bare, timeout=PATIENCE_S)
    except IqError as refused:
        assert refused.condition in ("forbidden", "not-authorized", "service-unavailable"), refused
    else:
        raise AssertionError("it was told")


def fields(form, **values):
    """A submitted form with every field that the server's form has, and these values."""
    out = ["<x xmlns='jabber:x:data' type='submit'>"]
    for field in form.iter(f"{DATA}field"):
        name = field.get("var")
        if field.get("type") == "hidden" and name not in values:
            values[name] = field.findtext(f"{DATA}value")
        if name in values:
            out.append(f"<field var='{name}'><value>{values[name]}</value></field>")
    return "".join(out) + "</x>"


@fact
async def the_admin_adds_an_account_by_command(house):
    admin = await house.arrives("admin")
    items = await admin["xep_0050"].get_commands(house.domain, timeout=PATIENCE_S)
    assert ADD_USER in {item[1] for item in items["disco_items"]["items"]}, items
    answer = await admin.asks("set", f"<command xmlns='{COMMANDS}' node='{ADD_USER}' action='execute'/>", house.domain)
    command = answer.find(f"{{{COMMANDS}}}command")
    assert command.get("status") == "executing", command.attrib
    form = fields(command.find(f"{DATA}x"), **{"accountjid": f"newcomer@{house.domain}", "password": PASSWORD,
                                              "password-verify": PASSWORD})
    answer = await admin.asks("set", f"<command xmlns='{COMMANDS}' node='{ADD_USER}' "
                              f"sessionid='{command.get('sessionid')}'>{form}</command>", house.domain)
    assert answer.find(f"{{{COMMANDS}}}command").get("status") == "completed"
    await house.arrives("newcomer")


@fact
async def commands_are_for_the_admin_alone(house):
    anna = await house.arrives()
    try:
        await anna.asks("set", f"<command xmlns='{COMMANDS}' node='{ADD_USER}' action='execute'/>", house.domain)
    except IqError as refused:
        assert refused.condition in ("forbidden", "not-allowed", "item-not-found"), refused
    else:
        raise AssertionError("anybody may add accounts")
