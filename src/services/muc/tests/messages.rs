//! XEP-0045 §7.4, §7.5, §7.8, §7.13, §8.1; XEP-0313 §5.1; S27 and S28.

use super::*;

#[test]
fn everybody_gets_a_message_the_sender_too_from_the_occupant() {
    // Examples 44 and 45.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "thirdwitch");
    let out = play.say(hag, "Harpier cries");
    for who in [crone, hag] {
        let got = heard(&out, who);
        assert_eq!(got.len(), 1, "{out:?}");
        assert!(got[0].contains("from='coven@rooms.capulet.lit/thirdwitch'"), "{got:?}");
        assert!(got[0].contains(" id='m1'") && got[0].contains("<body>Harpier cries</body>"), "{got:?}");
        assert!(got[0].contains("by='coven@rooms.capulet.lit'") && got[0].contains("<occupant-id"), "{got:?}");
    }
}

#[test]
fn who_is_not_in_or_has_no_voice_is_not_heard() {
    // §7.4.
    let mut play = Play::new();
    play.room(&[("moderatedroom", "1")]);
    let (hag, out) = (play.person("hag66"), play.person("outsider"));
    play.enter(hag, "thirdwitch");
    assert_eq!(refused(&play.say(out, "x"), out), "not-acceptable");
    assert_eq!(refused(&play.say(hag, "x"), hag), "forbidden");
}

#[test]
fn what_only_a_room_may_say_is_taken_out() {
    // S27, S28.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "thirdwitch");
    let forged = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>\
        <stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='coven@rooms.capulet.lit'/>\
        <stanza-id xmlns='urn:xmpp:sid:0' id='other' by='elsewhere.example'/>\
        <occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/>\
        <delay xmlns='urn:xmpp:delay' from='coven@rooms.capulet.lit' stamp='2002-10-13T23:58:37Z'/><body>x</body>";
    let out = play.house.send(hag, &format!("<message type='groupchat' to='{ROOM}'>{forged}</message>"));
    let got = &heard(&out, crone)[0];
    assert!(!got.contains("forged") && !got.contains("104") && !got.contains("<delay"), "{got}");
    assert!(got.contains("id='other'"), "{got}");
    let out = play.house.send(
        hag,
        &format!("<presence to='{ROOM}/thirdwitch'><x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='owner'/></x><show>xa</show></presence>"),
    );
    let got = &heard(&out, crone)[0];
    assert!(got.contains("<show>xa</show>") && !got.contains("affiliation='owner'"), "{got}");
}

#[test]
fn a_private_message_goes_to_one_and_names_the_occupant() {
    // Examples 46 to 48.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let (hag, out) = (play.person("hag66"), play.person("outsider"));
    play.enter(hag, "thirdwitch");
    let whisper = |nick: &str| format!("<message type='chat' id='w' to='{ROOM}/{nick}'><body>psst</body></message>");
    let got = play.house.send(hag, &whisper("firstwitch"));
    let to_crone = heard(&got, crone);
    assert!(to_crone[0].contains("from='coven@rooms.capulet.lit/thirdwitch'"), "{to_crone:?}");
    assert!(
        to_crone[0].contains("to='crone1@capulet.lit/desktop'") && to_crone[0].contains("muc#user"),
        "{to_crone:?}"
    );
    assert_eq!(refused(&play.house.send(hag, &whisper("nobody")), hag), "item-not-found");
    assert_eq!(refused(&play.house.send(out, &whisper("firstwitch")), out), "not-acceptable");
    let wrong = format!("<message type='groupchat' to='{ROOM}/firstwitch'><body>x</body></message>");
    assert_eq!(refused(&play.house.send(hag, &wrong), hag), "bad-request");
    play.configure(crone, &[("allowpm", "none")]);
    let wise = play.person("wiccarocks");
    play.enter(wise, "pistol");
    assert_eq!(refused(&play.house.send(wise, &whisper("thirdwitch")), wise), "forbidden");
}

#[test]
fn the_subject_is_moderators_business_unless_they_share_it() {
    // Examples 84 to 87.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "thirdwitch");
    let subject = format!("<message type='groupchat' to='{ROOM}'><subject>Fire Burn</subject></message>");
    assert_eq!(refused(&play.house.send(hag, &subject), hag), "forbidden");
    assert!(heard(&play.house.send(crone, &subject), hag)[0].contains("<subject>Fire Burn</subject>"));
    let wise = play.person("wiccarocks");
    let got = heard(&play.enter(wise, "pistol"), wise);
    let last = got.last().unwrap();
    assert!(last.contains("from='coven@rooms.capulet.lit/firstwitch'") && last.contains("Fire Burn"), "{last}");
    play.configure(crone, &[("changesubject", "1")]);
    assert_eq!(heard(&play.house.send(hag, &subject), crone).len(), 1);
}

#[test]
fn invitations_and_refusals_pass_through_the_room() {
    // Examples 56 to 59, 135.
    let mut play = Play::new();
    let crone = play.room(&[("membersonly", "1"), ("passwordprotectedroom", "1"), ("roomsecret", "cauldronburn")]);
    let hecate = play.person("hecate");
    let invite = |to: &str| {
        format!(
            "<message id='i1' to='{ROOM}'><x xmlns='http://jabber.org/protocol/muc#user'><invite to='{to}'><reason>Hey</reason></invite></x></message>"
        )
    };
    let out = play.house.send(crone, &invite("hecate@capulet.lit"));
    let got = &heard(&out, hecate)[0];
    assert!(got.contains("from='coven@rooms.capulet.lit'"), "{got}");
    assert!(got.contains("<invite from='crone1@capulet.lit/desktop'><reason>Hey</reason></invite>"), "{got}");
    assert!(
        got.contains("<password>cauldronburn</password>") && got.contains("jid='coven@rooms.capulet.lit'"),
        "{got}"
    );
    assert_eq!(refused(&play.house.send(crone, &invite("nobody@capulet.lit")), crone), "item-not-found");
    assert_eq!(refused(&play.house.send(hecate, &invite("crone1@capulet.lit")), hecate), "not-acceptable");
    let word = "<password>cauldronburn</password>";
    assert_eq!(heard(&play.enter_with(hecate, "hecate", word), hecate).len(), 3, "invited, so a member");
    let other = play.person("other");
    assert_eq!(refused(&play.house.send(hecate, &invite("other@capulet.lit")), hecate), "forbidden");
    let decline = format!(
        "<message to='{ROOM}'><x xmlns='http://jabber.org/protocol/muc#user'><decline to='crone1@capulet.lit'><reason>busy</reason></decline></x></message>"
    );
    let got = heard(&play.house.send(other, &decline), crone);
    assert!(got[0].contains("<decline from='other@capulet.lit'><reason>busy</reason></decline>"), "{got:?}");
}

#[test]
fn a_visitor_asks_for_a_voice_and_gets_it() {
    // Examples 79, 108, 109.
    let mut play = Play::new();
    let crone = play.room(&[("moderatedroom", "1")]);
    let hag = play.person("hag66");
    play.enter(hag, "thirdwitch");
    let form = |inner: &str| {
        format!(
            "<message to='{ROOM}'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#request</value></field><field var='muc#role'><value>participant</value></field>{inner}</x></message>"
        )
    };
    let got = heard(&play.house.send(hag, &form("")), crone);
    assert!(got[0].contains("muc#request_allow") && got[0].contains("<value>thirdwitch</value>"), "{got:?}");
    let yes = "<field var='muc#roomnick'><value>thirdwitch</value></field><field var='muc#request_allow'><value>1</value></field>";
    let got = heard(&play.house.send(crone, &form(yes)), hag);
    assert!(got[0].contains("role='participant'"), "{got:?}");
    assert_eq!(heard(&play.say(hag, "at last"), crone).len(), 1);
}

#[test]
fn the_archive_is_for_those_who_could_be_there() {
    // XEP-0313 §5.1.
    let mut play = Play::new();
    let crone = play.room(&[("membersonly", "1"), ("persistentroom", "1")]);
    let hag = play.person("hag66");
    play.say(crone, "thrice the brinded cat");
    let query = "<query xmlns='urn:xmpp:mam:2' queryid='f27'/>";
    let out = play.iq(crone, "set", "", query);
    let got = heard(&out, crone);
    assert!(got[0].starts_with("<message from='coven@rooms.capulet.lit' to='crone1@capulet.lit/desktop'>"), "{got:?}");
    assert!(got[0].contains("queryid='f27'") && got[0].contains("thrice the brinded cat"), "{got:?}");
    assert!(got[0].contains("from='coven@rooms.capulet.lit/firstwitch'"), "{got:?}");
    assert_eq!(refused(&play.iq(hag, "set", "", query), hag), "forbidden");
}

#[test]
fn requests_between_occupants_come_back_to_the_device_that_asked() {
    // §17.4: IQs by way of the room.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let desk = play.person("hag66");
    let phone = play.house.available("hag66@capulet.lit/phone");
    play.enter(desk, "thirdwitch");
    play.enter(phone, "thirdwitch");
    let out = play.iq(desk, "get", "/firstwitch", "<query xmlns='jabber:iq:version'/>");
    let asked = heard(&out, crone);
    assert!(asked[0].contains("from='coven@rooms.capulet.lit/thirdwitch'"), "{asked:?}");
    let id = asked[0].split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let answer = format!("<iq type='result' id='{id}' to='{ROOM}/thirdwitch'><query xmlns='jabber:iq:version'/></iq>");
    let out = play.house.send(crone, &answer);
    let got = heard(&out, desk);
    assert!(got[0].contains(" id='q1'") && got[0].contains("from='coven@rooms.capulet.lit/firstwitch'"), "{got:?}");
    assert!(heard(&out, phone).is_empty());
    let out = play.iq(desk, "get", "/firstwitch", "<vCard xmlns='vcard-temp'/>");
    let got = heard(&out, desk);
    assert_eq!(got.len(), 1, "the account answers: {out:?}");
    assert!(got[0].contains(" id='q1'") && got[0].contains("from='coven@rooms.capulet.lit/firstwitch'"), "{got:?}");
}

#[test]
fn s12_whoever_is_outside_learns_neither_who_is_inside_nor_who_has_an_account() {
    // XEP-0045 §7.8.2, from another server.
    let mut play = Play::new();
    play.house.federates = true;
    let crone = play.room(&[]);
    let from = "spy@elsewhere.lit/x";
    let say = |play: &mut Play, inner: &str| {
        let x = format!("<x xmlns='http://jabber.org/protocol/muc#user'>{inner}</x>");
        let out = play.house.receive(&format!("<message from='{from}' to='{ROOM}' id='1'>{x}</message>"));
        (out.len(), std::mem::take(&mut play.house.to_peers).len())
    };
    assert_eq!(say(&mut play, "<decline to='crone1@capulet.lit'/>"), (1, 0));
    assert_eq!(say(&mut play, "<decline to='hag66@capulet.lit'/>"), (0, 0));
    play.admin(crone, "set", "<item affiliation='outcast' jid='spy@elsewhere.lit'/>");
    assert_eq!(say(&mut play, "<decline to='crone1@capulet.lit'/>"), (0, 0));
    play.admin(crone, "set", "<item affiliation='none' jid='spy@elsewhere.lit'/>");
    let enter =
        format!("<presence from='{from}' to='{ROOM}/spy'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    play.house.receive(&enter);
    play.house.to_peers.clear();
    assert_eq!(say(&mut play, "<invite to='nobody@capulet.lit'/>"), (0, 0));
    // Our own people are told that they mistyped it.
    let invite = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='nobody@capulet.lit'/></x>";
    let out = play.house.send(crone, &format!("<message to='{ROOM}' id='2'>{invite}</message>"));
    assert_eq!(refused(&out, crone), "item-not-found");
}
