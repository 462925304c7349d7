//! XEP-0045 §10.

use super::*;
use crate::router::service::Notice;

#[test]
fn the_form_is_shown_to_owners_and_understood_in_part() {
    // Examples 156, 157, 161, 163 to 165, 171.
    let mut play = Play::new();
    let crone = play.room(&[("roomname", "Cave"), ("no_such_field", "x"), ("enablearchiving", "0")]);
    let hag = play.person("hag66");
    play.enter(hag, "third");
    let query = "<query xmlns='http://jabber.org/protocol/muc#owner'/>";
    assert_eq!(refused(&play.iq(hag, "get", "", query), hag), "forbidden");
    let form = answered(&play.iq(crone, "get", "", query), crone);
    assert!(form.contains("type='form'") && form.contains("<value>Cave</value>"), "{form}");
    for field in ["membersonly", "whois", "allowpm", "persistentroom", "enablearchiving", "roomowners", "lang"] {
        assert!(form.contains(&format!("var='muc#roomconfig_{field}'")), "{field} in {form}");
    }
    assert_eq!(refused(&play.configure(crone, &[("allowpm", "cats")]), crone), "not-acceptable");
    assert_eq!(refused(&play.configure(crone, &[("passwordprotectedroom", "1")]), crone), "not-acceptable");
    let out = play.configure(crone, &[("whois", "anyone"), ("enablearchiving", "1")]);
    let told = &heard(&out, hag)[0];
    assert!(told.contains("<status code='170'/>") && told.contains("<status code='172'/>"), "{told}");
}

#[test]
fn who_gives_up_setting_up_gives_up_the_room() {
    // Example 162.
    let mut play = Play::new();
    let crone = play.person("crone1");
    play.enter(crone, "firstwitch");
    let out = play.owner(crone, "<x xmlns='jabber:x:data' type='cancel'/>");
    assert!(heard(&out, crone).iter().any(|xml| xml.contains("<destroy/>")), "{out:?}");
    assert!(heard(&play.enter(crone, "firstwitch"), crone)[0].contains("code='201'"));
}

#[test]
fn a_room_that_ends_says_where_it_goes_on() {
    // Examples 201 to 204.
    let mut play = Play::new();
    let crone = play.room(&[("persistentroom", "1")]);
    let hag = play.person("hag66");
    play.enter(hag, "third");
    assert_eq!(refused(&play.owner(hag, "<destroy/>"), hag), "forbidden");
    let out =
        play.owner(crone, "<destroy jid='coven2@rooms.capulet.lit'><reason>Macbeth doth come.</reason></destroy>");
    let told = &heard(&out, hag)[0];
    assert!(
        told.contains("<destroy jid='coven2@rooms.capulet.lit'><reason>Macbeth doth come.</reason></destroy>"),
        "{told}"
    );
    assert!(told.contains("type='unavailable'") && told.contains("role='none'"), "{told}");
    assert_eq!(
        refused(&play.iq(crone, "get", "", "<query xmlns='http://jabber.org/protocol/disco#info'/>"), crone),
        "item-not-found"
    );
}

#[test]
fn one_account_makes_so_many_rooms_and_no_more() {
    let mut play = Play::new();
    let crone = play.person("crone1");
    let mut refusals = 0;
    for n in 0..=crate::limits::ROOMS_PER_ACCOUNT_MAX {
        play.house.now.0 += 1_000;
        let xml =
            format!("<presence to='r{n}@rooms.capulet.lit/a'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
        refusals += usize::from(heard(&play.house.send(crone, &xml), crone)[0].contains("not-allowed"));
    }
    assert_eq!(refusals, 1);
}

#[test]
fn who_is_in_a_room_is_told_that_the_service_goes() {
    // Example 207.
    let mut play = Play::new();
    play.house.federates = true;
    let crone = play.room(&[("persistentroom", "1")]);
    let hag = play.person("hag66");
    play.enter(hag, "third");
    let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
    play.house.receive(&format!("<presence from='o@venice.lit/x' to='{ROOM}/othello'>{x}</presence>"));
    play.house.to_peers.clear();
    let out = play.house.notice(Notice::Stopping);
    for who in [crone, hag] {
        let told = heard(&out, who);
        assert!(told.len() == 1 && told[0].contains("type='unavailable'"), "{told:?}");
        assert!(told[0].contains("<status code='110'/><status code='332'/>"), "{told:?}");
    }
    assert!(play.house.to_peers.len() == 1 && play.house.to_peers[0].contains("code='332'"));
}

#[test]
fn a_room_keeps_what_it_is_when_everybody_goes() {
    let mut play = Play::new();
    let crone = play.room(&[("persistentroom", "1"), ("membersonly", "1"), ("roomname", "Cave")]);
    play.admin(crone, "set", "<item affiliation='member' jid='hag66@capulet.lit'/>");
    play.house.send(crone, &format!("<message type='groupchat' to='{ROOM}'><subject>Fire</subject></message>"));
    play.say(crone, "remember me");
    play.house.send(crone, &format!("<presence to='{ROOM}/firstwitch' type='unavailable'/>"));
    let hag = play.person("hag66");
    let got = heard(&play.enter(hag, "third"), hag);
    assert!(got[0].contains("affiliation='member'"), "{got:?}");
    assert!(got[1].contains("remember me") && got[1].contains("<stanza-id"), "{got:?}");
    assert!(got[2].contains("<subject>Fire</subject>"), "{got:?}");
}
