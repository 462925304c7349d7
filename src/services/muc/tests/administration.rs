//! XEP-0045 §5, §8.2 to §8.5, §9, §10.3 to §10.8.

use super::*;

const HAG: &str = "hag66@capulet.lit";

#[test]
fn a_kick_is_seen_by_all_with_its_reason() {
    // Examples 89 to 92.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "pistol");
    let out = play.admin(crone, "set", "<item nick='pistol' role='none'><reason>Avaunt</reason></item>");
    for who in [crone, hag] {
        let shown = heard(&out, who).into_iter().find(|xml| xml.contains("unavailable")).unwrap();
        assert!(shown.contains("role='none'") && shown.contains("<status code='307'/>"), "{shown}");
        assert!(shown.contains("<actor nick='firstwitch'/><reason>Avaunt</reason>"), "{shown}");
        assert_eq!(shown.contains("<status code='110'/>"), who == hag, "{shown}");
    }
    assert_eq!(heard(&play.enter(hag, "pistol"), hag).len(), 3, "a kick is not for ever");
}

#[test]
fn a_ban_is_for_ever_and_can_be_for_a_domain() {
    // Examples 110 to 117, §9.1 and §9.2.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "pistol");
    let out =
        play.admin(crone, "set", &format!("<item affiliation='outcast' jid='{HAG}'><reason>Treason</reason></item>"));
    let own = heard(&out, hag);
    assert!(own[0].contains("<status code='301'/>") && own[0].contains("affiliation='outcast'"), "{own:?}");
    let list = answered(&play.admin(crone, "get", "<item affiliation='outcast'/>"), crone);
    assert!(list.contains(&format!("jid='{HAG}'")) && list.contains("<reason>Treason</reason>"), "{list}");
    play.admin(crone, "set", &format!("<item affiliation='none' jid='{HAG}'/>"));
    assert_eq!(heard(&play.enter(hag, "pistol"), hag).len(), 3);
    play.admin(crone, "set", "<item affiliation='outcast' jid='evil.example'/>");
    let list = answered(&play.admin(crone, "get", "<item affiliation='outcast'/>"), crone);
    assert!(list.contains("jid='evil.example'"), "{list}");
}

#[test]
fn the_privileges_are_those_of_the_tables() {
    // Tables 3, 5 and 8; examples 93, 102, 115, 145, 184, 199.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let (admin, hag) = (play.person("wiccarocks"), play.person("hag66"));
    play.enter(admin, "second");
    play.enter(hag, "third");
    let set = |play: &mut Play, who, items: &str| {
        let out = play.admin(who, "set", items);
        let iq: Out = to_session(&out, who).into_iter().filter(|(_, xml)| xml.starts_with("<iq")).collect();
        if iq[0].1.contains("type='result'") { "done".to_owned() } else { condition_of(&iq) }
    };
    assert_eq!(set(&mut play, hag, "<item nick='second' role='none'/>"), "forbidden");
    assert_eq!(set(&mut play, hag, &format!("<item affiliation='member' jid='{HAG}'/>")), "forbidden");
    assert_eq!(set(&mut play, crone, "<item affiliation='admin' jid='wiccarocks@capulet.lit'/>"), "done");
    assert_eq!(set(&mut play, admin, "<item nick='firstwitch' role='none'/>"), "not-allowed");
    assert_eq!(set(&mut play, admin, "<item affiliation='none' jid='crone1@capulet.lit'/>"), "forbidden");
    assert_eq!(set(&mut play, admin, "<item affiliation='outcast' jid='crone1@capulet.lit'/>"), "not-allowed");
    assert_eq!(set(&mut play, admin, &format!("<item affiliation='admin' jid='{HAG}'/>")), "forbidden");
    let both = format!("<item affiliation='member' role='visitor' jid='{HAG}'/>");
    assert_eq!(set(&mut play, admin, &both), "bad-request", "one or the other (§17.4)");
    assert_eq!(set(&mut play, admin, "<item nick='third' role='moderator'/>"), "done");
    assert_eq!(set(&mut play, hag, "<item nick='second' role='participant'/>"), "not-allowed");
    assert_eq!(set(&mut play, admin, "<item nick='third' role='visitor'/>"), "done");
    assert_eq!(set(&mut play, crone, "<item affiliation='none' jid='crone1@capulet.lit'/>"), "conflict");
    assert_eq!(set(&mut play, crone, "<item affiliation='outcast' jid='crone1@capulet.lit'/>"), "conflict");
    assert_eq!(set(&mut play, crone, "<item nick='nobody' role='none'/>"), "item-not-found");
    // All or nothing.
    let both = "<item affiliation='owner' jid='x@capulet.lit'/><item affiliation='wizard' jid='y@capulet.lit'/>";
    assert_eq!(set(&mut play, crone, both), "bad-request");
    let list = answered(&play.admin(crone, "get", "<item affiliation='owner'/>"), crone);
    assert!(!list.contains("x@capulet.lit"), "{list}");
}

#[test]
fn who_loses_membership_of_a_closed_room_is_out() {
    // Examples 121 to 130, §9.3 to §9.5.
    let mut play = Play::new();
    let crone = play.room(&[("membersonly", "1")]);
    let hag = play.person("hag66");
    play.admin(crone, "set", &format!("<item affiliation='member' jid='{HAG}' nick='third'/>"));
    let out = play.enter(hag, "third");
    assert!(heard(&out, crone)[0].contains("affiliation='member'"), "{out:?}");
    let list = answered(&play.admin(crone, "get", "<item affiliation='member'/>"), crone);
    assert!(list.contains(&format!("<item jid='{HAG}' nick='third' affiliation='member'/>")), "{list}");
    let out = play.admin(crone, "set", &format!("<item affiliation='none' jid='{HAG}'/>"));
    assert!(heard(&out, hag)[0].contains("<status code='321'/>"), "{out:?}");
}

#[test]
fn a_room_that_becomes_closed_sends_strangers_away() {
    // §10.2.1 and status 322.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "third");
    let out = play.configure(crone, &[("membersonly", "1")]);
    let to_hag = heard(&out, hag);
    assert!(to_hag[0].contains("<status code='104'/>"), "{to_hag:?}");
    assert!(to_hag[1].contains("<status code='322'/>"), "{to_hag:?}");
}

#[test]
fn a_moderator_list_is_the_roles_of_now() {
    // Examples 103, 104, 146, 147.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "third");
    let list = answered(&play.admin(crone, "get", "<item role='participant'/>"), crone);
    assert!(list.contains("jid='hag66@capulet.lit/desktop' nick='third'"), "{list}");
    assert_eq!(refused(&play.admin(hag, "get", "<item role='moderator'/>"), hag), "forbidden");
    assert_eq!(refused(&play.admin(hag, "get", "<item affiliation='outcast'/>"), hag), "forbidden");
}

#[test]
fn a_room_keeps_an_owner_whatever_is_said_twice() {
    // XEP-0045 §10.5: the last owner cannot be revoked.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let own = "<item affiliation='none' jid='crone1@capulet.lit'/>";
    let hag = |to: &str| format!("<item affiliation='{to}' jid='{HAG}'/>");
    for items in [own.to_owned(), own.repeat(2), hag("owner") + &hag("member") + own, hag("owner") + own + &hag("none")]
    {
        assert_eq!(refused(&play.admin(crone, "set", &items), crone), "conflict", "{items}");
    }
    // Nor by the form, which names owners and admins.
    let form = |admins: &str| {
        format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/muc#roomconfig</value></field>\
             <field var='muc#roomconfig_roomadmins'><value>{admins}</value></field></x>"
        )
    };
    assert_eq!(refused(&play.owner(crone, &form("crone1@capulet.lit")), crone), "conflict");
    assert_eq!(
        refused(&play.owner(crone, &form("capulet.lit")), crone),
        "not-allowed",
        "a domain is banned or nothing"
    );
    assert_eq!(answered(&play.owner(crone, &form(HAG)), crone), "");
    assert_eq!(answered(&play.admin(crone, "set", &(own.to_owned() + &hag("owner") + own)), crone), "");
}

#[test]
fn a_banned_domain_is_out_and_stays_out() {
    // XEP-0045 §9.1: whoever is of that domain; but not whom the room has written down as a member.
    let mut play = Play::new();
    play.house.federates = true;
    let crone = play.room(&[]);
    play.admin(crone, "set", "<item affiliation='member' jid='good@evil.example'/>");
    let enter = |play: &mut Play, who: &str| {
        let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
        play.house.receive(&format!("<presence from='{who}@evil.example/x' to='{ROOM}/{who}'>{x}</presence>"));
        std::mem::take(&mut play.house.to_peers)
    };
    for who in ["good", "bad"] {
        assert!(enter(&mut play, who).iter().any(|xml| xml.contains("code='110'")));
    }
    let out = play.admin(crone, "set", "<item affiliation='outcast' jid='evil.example'><reason>spam</reason></item>");
    let seen: Vec<String> = heard(&out, crone).into_iter().filter(|xml| xml.starts_with("<presence")).collect();
    assert!(seen.iter().any(|xml| xml.contains("/bad'") && xml.contains("code='301'")), "{seen:?}");
    assert!(!seen.iter().any(|xml| xml.contains("/good'") && xml.contains("unavailable")), "{seen:?}");
    play.house.to_peers.clear();
    let refused = enter(&mut play, "bad");
    assert!(refused.len() == 1 && refused[0].contains("<forbidden"), "{refused:?}");
    play.admin(crone, "set", "<item affiliation='none' jid='evil.example'/>");
    play.house.to_peers.clear();
    assert!(enter(&mut play, "bad").iter().any(|xml| xml.contains("code='110'")));
}
