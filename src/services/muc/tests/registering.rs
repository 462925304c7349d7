//! XEP-0045 §7.10, §9.5 and §9.9: becoming a member.

use super::*;

const HAG: &str = "hag66@capulet.lit";

fn form(fields: &[(&str, &str)]) -> String {
    let fields = fields.iter().map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>"));
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/muc#register</value></field>{}</x>",
        fields.collect::<String>()
    )
}

fn register(play: &mut Play, who: SessionId, nick: &str) -> Out {
    let form = form(&[("muc#register_first", "Brunhilde"), ("muc#register_roomnick", nick)]);
    play.iq(who, "set", "", &format!("<query xmlns='jabber:iq:register'>{form}</query>"))
}

fn decide(play: &mut Play, who: SessionId, allow: &str) -> Out {
    let form = form(&[("muc#jid", HAG), ("muc#register_roomnick", "thirdwitch"), ("muc#register_allow", allow)]);
    play.house.send(who, &format!("<message to='{ROOM}' id='d1'>{form}</message>"))
}

#[test]
fn a_room_that_chooses_its_members_asks_its_admins() {
    // XEP-0045 examples 66 and 70 to 75 (§7.10), 151 (§9.9): who is in the room, who is not, and who answers.
    let mut play = Play::new();
    let crone = play.room(&[("membersonly", "1"), ("persistentroom", "1")]);
    let (hag, wise) = (play.person("hag66"), play.person("wiccarocks"));
    play.admin(crone, "set", "<item affiliation='admin' jid='wiccarocks@capulet.lit'/>");
    play.admin(crone, "set", "<item affiliation='member' jid='wench@capulet.lit' nick='taken'/>");
    let question = answered(&play.iq(hag, "get", "", "<query xmlns='jabber:iq:register'/>"), hag);
    assert!(question.contains("muc#register_roomnick"), "{question}");
    assert_eq!(refused(&register(&mut play, hag, "taken"), hag), "conflict");
    assert_eq!(refused(&register(&mut play, hag, "firstwitch"), hag), "conflict");
    assert_eq!(refused(&register(&mut play, hag, " "), hag), "not-acceptable");

    let out = register(&mut play, hag, "thirdwitch");
    assert_eq!(answered(&out, hag), "");
    let to_crone = heard(&out, crone);
    for part in [
        "to='crone1@capulet.lit/desktop'",
        "<title>Registration request</title>",
        "<value>hag66@capulet.lit</value>",
        "<value>thirdwitch</value>",
        "<field var='muc#register_allow' type='boolean'",
    ] {
        assert!(to_crone.len() == 1 && to_crone[0].contains(part), "{part} in {to_crone:?}");
    }
    assert!(!to_crone[0].contains("<body>"), "who is in the room sees a form: {to_crone:?}");
    let to_wise = heard(&out, wise);
    assert!(to_wise[0].contains("<body>hag66@capulet.lit would like") && to_wise[0].contains("muc#register_allow"));
    // They are not asked twice a day.
    assert_eq!(register(&mut play, hag, "thirdwitch").len(), 1);
    assert_eq!(refused(&play.enter(hag, "thirdwitch"), hag), "registration-required");

    // Nobody else decides, and no is no.
    assert_eq!(refused(&decide(&mut play, hag, "1"), hag), "forbidden");
    assert_eq!(decide(&mut play, crone, "0"), []);
    assert_eq!(refused(&play.enter(hag, "thirdwitch"), hag), "registration-required");
    let out = decide(&mut play, wise, "1");
    assert!(heard(&out, hag)[0].contains("<invite from='wiccarocks@capulet.lit'/>"), "{out:?}");
    assert!(heard(&out, crone)[0].contains("affiliation='member'"), "{out:?}");
    assert_eq!(decide(&mut play, crone, "1"), [], "it is done");
    assert!(heard(&play.enter(hag, "thirdwitch"), hag)[1].contains("affiliation='member'"));
    let list = answered(&play.admin(crone, "get", "<item affiliation='member'/>"), crone);
    assert!(list.contains("jid='hag66@capulet.lit' nick='thirdwitch'"), "{list}");
}

#[test]
fn requests_are_counted_and_made_again_another_day() {
    let mut play = Play::new();
    let crone = play.room(&[("membersonly", "1"), ("persistentroom", "1")]);
    let hag = play.person("hag66");
    let asked = |play: &mut Play, who: SessionId, nick: &str| heard(&register(play, who, nick), crone).len();
    assert_eq!(asked(&mut play, hag, "a"), 1);
    play.house.now.0 += crate::limits::ROOM_REQUEST_S * 1_000 + 1;
    assert_eq!(asked(&mut play, hag, "a"), 1);
    for n in 1..crate::limits::ROOM_REQUESTS_MAX {
        let other = play.person(&format!("p{n}"));
        assert_eq!(asked(&mut play, other, &format!("p{n}")), 1);
    }
    let late = play.person("late");
    assert_eq!(refused(&register(&mut play, late, "late"), late), "resource-constraint");
}

#[test]
fn the_banned_neither_register_nor_are_let_in_by_mistake() {
    // XEP-0045 example 68 (§7.10).
    let mut play = Play::new();
    let crone = play.room(&[("membersonly", "1")]);
    let hag = play.person("hag66");
    play.admin(crone, "set", &format!("<item affiliation='outcast' jid='{HAG}'/>"));
    assert_eq!(refused(&play.iq(hag, "get", "", "<query xmlns='jabber:iq:register'/>"), hag), "not-allowed");
    assert_eq!(refused(&register(&mut play, hag, "thirdwitch"), hag), "not-allowed");
    assert_eq!(decide(&mut play, crone, "1"), []);
    assert_eq!(refused(&play.enter(hag, "thirdwitch"), hag), "forbidden");
}

#[test]
fn a_new_member_of_a_closed_room_is_invited() {
    // XEP-0045 example 134 (§9.5).
    let mut play = Play::new();
    let crone = play.room(&[("membersonly", "1"), ("passwordprotectedroom", "1"), ("roomsecret", "cauldronburn")]);
    let hag = play.person("hag66");
    let member = format!("<item affiliation='member' jid='{HAG}'/>");
    let out = play.admin(crone, "set", &member);
    let invited = "<invite from='crone1@capulet.lit'/></x>";
    assert!(heard(&out, hag)[0].contains("<password>cauldronburn</password>"), "{out:?}");
    assert!(heard(&out, hag)[0].contains(&invited.replace("</x>", "")), "{out:?}");
    assert_eq!(heard(&play.admin(crone, "set", &member), hag).len(), 0, "they know");
    play.configure(crone, &[("membersonly", "0")]);
    play.admin(crone, "set", &format!("<item affiliation='none' jid='{HAG}'/>"));
    assert_eq!(heard(&play.admin(crone, "set", &member), hag).len(), 0, "they could come anyway");
}

#[test]
fn a_domain_elsewhere_does_not_ask_all_day() {
    let mut play = Play::new();
    play.house.federates = true;
    play.room(&[("membersonly", "1")]);
    let form = form(&[("muc#register_roomnick", "x")]);
    let mut asked = 0;
    for n in 0..crate::limits::ROOM_REQUESTS_PER_PEER_MAX + 3 {
        let query = format!("<query xmlns='jabber:iq:register'>{form}</query>");
        let out = play.house.receive(&format!("<iq type='set' id='r' from='p{n}@spam.lit/x' to='{ROOM}'>{query}</iq>"));
        asked += out.len();
    }
    assert_eq!(asked, crate::limits::ROOM_REQUESTS_PER_PEER_MAX);
    let own = play.person("hag66");
    assert_eq!(answered(&register(&mut play, own, "hag"), own), "", "our own people are heard");
}
