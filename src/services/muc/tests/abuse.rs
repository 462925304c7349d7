//! What a room takes from those who mean it no good: numbers, forgeries, orders from whom it does not obey (S27, S28, S30).

use super::*;
use crate::{
    domain::{ids::Time, rooms},
    limits,
    wire::element::Element,
};

/// What this one is told of the request.
fn outcome(out: &Out, who: SessionId) -> String {
    let iq: Out = to_session(out, who).into_iter().filter(|(_, xml)| xml.starts_with("<iq")).collect();
    if iq[0].1.contains("type='result'") { "done".to_owned() } else { condition_of(&iq) }
}

/// Items that make these people something.
fn items(people: std::ops::Range<usize>, affiliation: &str, reason: &str) -> String {
    let reason = if reason.is_empty() { String::new() } else { format!("<reason>{reason}</reason>") };
    people.map(|n| format!("<item affiliation='{affiliation}' jid='witch{n}@coven.example'>{reason}</item>")).collect()
}

fn listed(play: &mut Play, who: SessionId, affiliation: &str) -> (usize, usize) {
    let list = play.admin(who, "get", &format!("<item affiliation='{affiliation}'/>"));
    let list = answered(&list, who);
    let people = Element::parse(list.as_bytes(), crate::wire::ns::CLIENT).unwrap().children().count();
    (people, list.len())
}

#[test]
fn ten_thousand_people_are_on_a_list_and_no_more() {
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "thirdwitch");
    let per_request = limits::ROOM_CHANGES_MAX;
    assert_eq!(outcome(&play.admin(crone, "set", &items(0..per_request + 1, "member", "")), crone), "policy-violation");
    assert_eq!(listed(&mut play, crone, "member").0, 0, "nothing of a request that is too large");
    // The owner is on the list, too.
    let most = limits::ROOM_AFFILIATIONS_MAX - 1;
    for from in (0..most).step_by(per_request) {
        let out = play.admin(crone, "set", &items(from..most.min(from + per_request), "outcast", ""));
        assert_eq!(outcome(&out, crone), "done");
        assert_eq!(heard(&out, hag).len(), 0, "many changes in one go are not told to everybody");
    }
    let (people, bytes) = listed(&mut play, crone, "outcast");
    assert_eq!(people, most);
    assert!(bytes < limits::OUTBOX_BYTES_CAP / 2, "{bytes}");
    // Full: a request that adds is refused whole, one that takes away or changes is not.
    let mixed = items(0..5, "none", "") + &items(most..most + 6, "outcast", "");
    assert_eq!(outcome(&play.admin(crone, "set", &mixed), crone), "resource-constraint");
    assert_eq!(listed(&mut play, crone, "outcast").0, most);
    let mixed = items(0..5, "none", "") + &items(most..most + 5, "outcast", "");
    assert_eq!(outcome(&play.admin(crone, "set", &mixed), crone), "done");
    assert_eq!(listed(&mut play, crone, "outcast").0, most);
    assert_eq!(outcome(&play.admin(crone, "set", &items(7..8, "member", "")), crone), "done");
    // Setting the room up does not write ten thousand rows again.
    let before = play.house.core.overlay.puts();
    play.configure(crone, &[("roomname", "Coven")]);
    assert!(play.house.core.overlay.puts() - before < 5);
    assert_eq!(heard(&play.say(hag, "still"), crone).len(), 1);
}

#[test]
fn a_list_with_reasons_is_bounded_in_bytes() {
    let mut play = Play::new();
    let crone = play.room(&[]);
    // Each is five times as long on the wire.
    let why = "&amp;".repeat(limits::ROOM_REASON_BYTES_MAX);
    assert_eq!(
        outcome(&play.admin(crone, "set", &items(0..1, "outcast", &format!("{why}x"))), crone),
        "policy-violation"
    );
    let mut taken = 0;
    while outcome(&play.admin(crone, "set", &items(taken..taken + 40, "outcast", &why)), crone) == "done" {
        taken += 40;
        assert!(taken < limits::ROOM_AFFILIATIONS_MAX);
    }
    assert_eq!(taken / 40, limits::ROOM_AFFILIATIONS_BYTES_MAX / (40 * (limits::ROOM_REASON_BYTES_MAX + 23)));
    let (people, bytes) = listed(&mut play, crone, "outcast");
    assert_eq!(people, taken);
    assert!(bytes < limits::OUTBOX_BYTES_CAP / 2, "{bytes}");
    // Who is banned can still be let in again.
    assert_eq!(outcome(&play.admin(crone, "set", &items(0..taken.min(400), "none", "")), crone), "done");
}

#[test]
fn a_nickname_is_bounded() {
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    let long = "n".repeat(limits::ROOM_NICK_BYTES_MAX + 1);
    assert_eq!(refused(&play.enter(hag, &long), hag), "not-acceptable");
    play.enter(hag, &long[1..]);
    assert_eq!(refused(&play.enter(hag, &long), hag), "not-acceptable");
    let reserve = format!("<item affiliation='member' jid='x@capulet.lit' nick='{long}'/>");
    assert_eq!(outcome(&play.admin(crone, "set", &reserve), crone), "conflict");
    let kick = format!("<item role='none' nick='{}'/>", long.repeat(100));
    assert_eq!(outcome(&play.admin(crone, "set", &kick), crone), "item-not-found");
    assert_eq!(heard(&play.say(hag, "x"), crone).len(), 1);
}

#[test]
fn fields_that_nobody_knows_are_passed_over() {
    let mut play = Play::new();
    let crone = play.room(&[]);
    let strange: String = (0..200).map(|n| format!("<field var='x-strange#{n}'><value>{n}</value></field>")).collect();
    let known = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
                 <field var='muc#roomconfig_roomname'><value>Coven</value></field><field/><field var=''/>\
                 <field var='muc#roomconfig_roomname_'/><reported/><item/><what xmlns='urn:what'/>";
    let form = format!("<x xmlns='jabber:x:data' type='submit'>{known}{strange}</x>");
    assert_eq!(outcome(&play.owner(crone, &form), crone), "done");
    let form = answered(&play.owner_asks(crone), crone);
    assert!(form.contains("<value>Coven</value>") && !form.contains("strange"), "{form}");
    // A form of any length is no form.
    let endless = format!("<x xmlns='jabber:x:data' type='submit'>{}</x>", strange.repeat(10));
    assert_eq!(outcome(&play.owner(crone, &endless), crone), "policy-violation");
    for wrong in [
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:else</value></field></x>",
        "<x xmlns='jabber:x:data' type='result'/>",
        "<x xmlns='jabber:x:data' type='wizard'/>",
        "<x xmlns='urn:what' type='submit'/>",
        "",
    ] {
        assert_eq!(outcome(&play.owner(crone, wrong), crone), "bad-request", "{wrong}");
    }
    let lists: String = (0..limits::ROOM_CHANGES_MAX + 1).map(|n| format!("<value>w{n}@x.example</value>")).collect();
    let lists =
        format!("<x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_roomadmins'>{lists}</field></x>");
    assert_eq!(outcome(&play.owner(crone, &lists), crone), "policy-violation");
    assert_eq!(listed(&mut play, crone, "admin").0, 0);
}

#[test]
fn only_owners_set_a_room_up_or_end_it() {
    // XEP-0045 §10.2, §10.9; S30.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let before = answered(&play.owner_asks(crone), crone);
    for (name, affiliation) in [("admin", "admin"), ("member", "member"), ("nobody", "none"), ("banned", "outcast")] {
        let who = play.person(name);
        play.enter(who, name);
        let made = format!("<item affiliation='{affiliation}' jid='{name}@capulet.lit'/>");
        play.admin(crone, "set", &made);
        assert_eq!(outcome(&play.owner_asks(who), who), "forbidden", "{name}");
        let form = "<x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_roomname'>\
                    <value>Mine</value></field></x>";
        for order in [form, "<x xmlns='jabber:x:data' type='cancel'/>", "<destroy jid='x@y.example'/>", "<what/>", ""] {
            assert_eq!(outcome(&play.owner(who, order), who), "forbidden", "{name} {order}");
        }
        let rise = format!("<item affiliation='owner' jid='{name}@capulet.lit'/>");
        assert_eq!(outcome(&play.admin(who, "set", &rise), who), "forbidden", "{name}");
        for list in ["owner", "admin", "outcast"] {
            let out = play.admin(who, "get", &format!("<item affiliation='{list}'/>"));
            let may = name == "admin" && list == "outcast";
            assert_eq!(outcome(&out, who) == "done", may, "{name} asks for {list}");
        }
    }
    play.admin(crone, "set", "<item affiliation='none' jid='admin@capulet.lit'/>");
    assert_eq!(answered(&play.owner_asks(crone), crone), before, "nothing has changed");
}

/// What only a room may say, in all the ways in which it can be written.
const FORGED: &str = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner' role='moderator'/>\
    <status code='110'/><status code='301'/><status code='332'/><destroy jid='evil@rooms.example'/></x>\
    <u:x xmlns:u='http://jabber.org/protocol/muc#user'><u:invite from='juliet@capulet.lit'/><u:status code='201'/></u:x>\
    <x xmlns='http://jabber.org/protocol/muc#user'/>\
    <occupant-id xmlns='urn:xmpp:occupant-id:0' id='evil'/><o:occupant-id xmlns:o='urn:xmpp:occupant-id:0' id='evil'/>\
    <stanza-id xmlns='urn:xmpp:sid:0' id='evil' by='coven@rooms.capulet.lit'/>\
    <s:stanza-id xmlns:s='urn:xmpp:sid:0' id='evil' by='COVEN@Rooms.capulet.lit'/>\
    <stanza-id xmlns='urn:xmpp:sid:0' id='evil' by='coven@rooms.capulet.lit/firstwitch'/>\
    <result xmlns='urn:xmpp:mam:2' id='evil'><forwarded xmlns='urn:xmpp:forward:0'/></result>\
    <delay xmlns='urn:xmpp:delay' from='coven@rooms.capulet.lit' stamp='1999-01-01T00:00:00Z'/>";

/// Nothing of it is left.
fn assert_clean(xml: &str) {
    let stanza = Element::parse(xml.as_bytes(), crate::wire::ns::CLIENT).unwrap();
    for evil in ["evil", "301", "332", "201", "owner", "destroy", "invite", "1999"] {
        assert!(!xml.contains(evil), "{evil}: {xml}");
    }
    for (name, ns) in [("x", "http://jabber.org/protocol/muc#user"), ("occupant-id", "urn:xmpp:occupant-id:0")] {
        assert!(stanza.children().filter(|child| child.is(name, ns)).count() <= 1, "{xml}");
    }
}

#[test]
fn nobody_speaks_with_the_voice_of_the_room() {
    // S27, S28: in what is said to everybody and to one, in presence that enters, stays, moves and leaves.
    let mut play = Play::new();
    play.room(&[]);
    let (nurse, hag) = (play.person("nurse"), play.person("hag66"));
    play.enter(nurse, "nurse");
    let presence = |ty: &str, nick: &str, inner: &str| format!("<presence{ty} to='{ROOM}/{nick}'>{inner}</presence>");
    let join = format!("<x xmlns='http://jabber.org/protocol/muc'/>{FORGED}");
    let message = |ty: &str, to: &str, inner: &str| format!("<message type='{ty}' to='{to}'>{inner}{FORGED}</message>");
    let whispered = format!("{ROOM}/nurse");
    let steps = [
        (presence("", "hag", &join), 1),
        (presence("", "hag", FORGED), 1),
        (message("groupchat", ROOM, "<body>x</body>"), 1),
        (message("chat", &whispered, "<body>x</body>"), 1),
        (message("normal", &whispered, "<body>x</body>"), 1),
        (presence("", "crone", FORGED), 2),
        (presence(" type='unavailable'", "crone", FORGED), 1),
    ];
    for (step, seen) in steps {
        let out = play.house.send(hag, &step);
        let got = heard(&out, nurse);
        assert_eq!(got.len(), seen, "{step}: {out:?}");
        got.iter().for_each(|xml| assert_clean(xml));
    }
    // Nor is anything of it kept for those who come later.
    let late = play.person("late");
    let shown: Vec<String> = heard(&play.enter(late, "late"), late);
    let said = shown.iter().find(|xml| xml.contains("<body>x</body>")).unwrap();
    for evil in ["evil", "301", "destroy", "1999"] {
        assert!(!said.contains(evil), "{said}");
    }
}

#[test]
fn the_banned_neither_whisper_nor_are_whispered_to() {
    // S28: private messages reach those who are in, and nobody else.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    let second = play.house.available("hag66@capulet.lit/broom");
    play.enter(hag, "thirdwitch");
    play.enter(second, "thirdwitch");
    play.admin(crone, "set", "<item affiliation='outcast' jid='hag66@capulet.lit'/>");
    let whisper = |to: &str| format!("<message type='chat' to='{ROOM}/{to}'><body>psst</body></message>");
    let out = play.house.send(crone, &whisper("thirdwitch"));
    assert_eq!(refused(&out, crone), "item-not-found");
    for device in [hag, second] {
        assert_eq!(heard(&out, device).len(), 0);
        for stanza in [
            whisper("firstwitch"),
            format!("<message type='groupchat' to='{ROOM}'><body>x</body></message>"),
            format!(
                "<message to='{ROOM}'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='x@y.example'/></x></message>"
            ),
            format!("<iq type='get' id='q' to='{ROOM}/firstwitch'><ping xmlns='urn:xmpp:ping'/></iq>"),
            format!("<iq type='get' id='q' to='{ROOM}/firstwitch'><vCard xmlns='vcard-temp'/></iq>"),
        ] {
            let out = play.house.send(device, &stanza);
            assert_eq!(refused(&out, device), "not-acceptable", "{stanza}");
            assert_eq!(heard(&out, crone).len(), 0, "{stanza}");
        }
        for stanza in [
            format!("<presence to='{ROOM}/thirdwitch'><status>x</status></presence>"),
            format!("<presence type='unavailable' to='{ROOM}/thirdwitch'><status>x</status></presence>"),
            format!(
                "<message to='{ROOM}'><x xmlns='http://jabber.org/protocol/muc#user'><decline to='crone1@capulet.lit'/></x></message>"
            ),
            format!("<message type='error' to='{ROOM}/firstwitch'><body>x</body></message>"),
            format!("<iq type='result' id='0.q' to='{ROOM}/firstwitch'/>"),
        ] {
            assert_eq!(heard(&play.house.send(device, &stanza), crone).len(), 0, "{stanza}");
        }
        assert_eq!(refused(&play.enter(device, "other"), device), "forbidden");
    }
}

#[test]
fn a_thousand_joins_a_second_are_slowed_down_for_one_account_only() {
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    let mut shown = 0;
    for n in 0..1_000u64 {
        play.house.now = Time(n);
        play.enter(hag, "thirdwitch");
        let out = play.house.send(hag, &format!("<presence type='unavailable' to='{ROOM}/thirdwitch'/>"));
        shown += heard(&out, crone).len() as u64;
    }
    assert!(shown <= limits::ROOM_MOVES_BURST + limits::ROOM_MOVES_PER_S, "{shown}");
    let wise = play.person("wiccarocks");
    assert_eq!(heard(&play.enter(wise, "pistol"), wise).len(), 3, "others come in");
}

#[test]
fn a_thousand_new_rooms_a_second_are_not_made() {
    let mut play = Play::new();
    let hag = play.person("hag66");
    let account = play.house.account("hag66@capulet.lit");
    let mut made = 0;
    let mut refusals = std::collections::BTreeSet::new();
    for n in 0..1_400u64 {
        // A second of it, and then more slowly, so that it is not the pace that ends it.
        play.house.now = Time(if n < 1_000 { n } else { n * 1_000 });
        let join =
            format!("<presence to='r{n}@rooms.capulet.lit/hag'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
        let out = play.house.send(hag, &join);
        let answers = heard(&out, hag);
        made += answers.iter().filter(|xml| xml.contains("<status code='201'/>")).count() as u64;
        let refusal = |xml: &String| xml.contains("type='error'").then(|| condition_of(&vec![(hag, xml.clone())]));
        refusals.extend(answers.iter().filter_map(refusal));
        assert!(n != 999 || made <= limits::ROOM_MOVES_BURST + limits::ROOM_MOVES_PER_S, "{made}");
        let mut ctx = play.house.ctx();
        assert!(rooms::count(&ctx.store(), account, 1_000) <= limits::ROOMS_PER_ACCOUNT_MAX);
    }
    assert!(refusals.into_iter().eq(["not-allowed", "resource-constraint"]));
    let crone = play.person("crone1");
    assert!(heard(&play.enter(crone, "firstwitch"), crone)[0].contains("<status code='201'/>"), "others make theirs");
}
