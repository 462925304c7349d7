//! XEP-0045 §6, §7.1, §7.2, §7.6, §7.12 to §7.14, §10.1.

use super::*;

#[test]
fn a_room_that_is_not_there_is_made_and_locked_until_it_is_set_up() {
    // Examples 31, 153 to 155.
    let mut play = Play::new();
    let (crone, hag) = (play.person("crone1"), play.person("hag66"));
    let out = play.enter(crone, "firstwitch");
    let own = &heard(&out, crone)[0];
    assert!(own.contains("from='coven@rooms.capulet.lit/firstwitch'"), "{own}");
    assert!(own.contains("affiliation='owner' role='moderator'"), "{own}");
    assert!(own.contains("<status code='110'/>") && own.contains("<status code='201'/>"), "{own}");
    assert_eq!(refused(&play.enter(hag, "hag"), hag), "item-not-found");
    assert_eq!(answered(&play.configure(crone, &[]), crone), "");
    assert_eq!(heard(&play.enter(hag, "hag"), hag).len(), 3);
}

#[test]
fn newcomers_see_everybody_themselves_last_and_then_the_subject() {
    // Examples 20 to 22 and 41.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    let out = play.enter(hag, "thirdwitch");
    let to_hag = heard(&out, hag);
    assert!(to_hag[0].contains("from='coven@rooms.capulet.lit/firstwitch'"), "{to_hag:?}");
    assert!(!to_hag[0].contains("crone1@"), "no real address for who is no moderator: {to_hag:?}");
    assert!(to_hag[1].contains("/thirdwitch'") && to_hag[1].contains("<status code='110'/>"), "{to_hag:?}");
    assert!(to_hag[1].contains("<status code='170'/>") && !to_hag[1].contains("code='100'"), "{to_hag:?}");
    assert!(to_hag[2].contains("<subject/>") && to_hag[2].contains("type='groupchat'"), "{to_hag:?}");
    let to_crone = heard(&out, crone);
    assert_eq!(to_crone.len(), 1);
    assert!(to_crone[0].contains("jid='hag66@capulet.lit/desktop'"), "moderators see it: {to_crone:?}");
    assert!(to_crone[0].contains("affiliation='none' role='participant'"), "{to_crone:?}");
    assert!(to_crone[0].contains("<occupant-id xmlns='urn:xmpp:occupant-id:0' id='"), "{to_crone:?}");
}

#[test]
fn in_a_non_anonymous_room_everybody_sees_addresses_and_is_told_so() {
    // Examples 23 and 24.
    let mut play = Play::new();
    play.room(&[("whois", "anyone")]);
    let hag = play.person("hag66");
    let to_hag = heard(&play.enter(hag, "thirdwitch"), hag);
    assert!(to_hag[0].contains("jid='crone1@capulet.lit/desktop'"), "{to_hag:?}");
    assert!(to_hag[1].contains("<status code='100'/>"), "{to_hag:?}");
}

#[test]
fn each_closed_door_has_its_error() {
    // Examples 19, 25 to 30.
    let mut play = Play::new();
    let crone = play.room(&[("passwordprotectedroom", "1"), ("roomsecret", "cauldronburn"), ("maxusers", "2")]);
    let (hag, wise) = (play.person("hag66"), play.person("wiccarocks"));
    let xml = format!("<presence to='{ROOM}'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    assert_eq!(refused(&play.house.send(hag, &xml), hag), "jid-malformed");
    assert_eq!(refused(&play.enter(hag, "thirdwitch"), hag), "not-authorized");
    let word = "<password>cauldronburn</password>";
    assert_eq!(refused(&play.enter_with(hag, "firstwitch", word), hag), "conflict");
    assert_eq!(heard(&play.enter_with(hag, "thirdwitch", word), hag).len(), 3);
    assert_eq!(refused(&play.enter_with(wise, "pistol", word), wise), "service-unavailable");
    play.configure(crone, &[("passwordprotectedroom", "0"), ("membersonly", "1"), ("maxusers", "30")]);
    assert_eq!(refused(&play.enter(wise, "pistol"), wise), "registration-required");
    play.admin(crone, "set", "<item affiliation='outcast' jid='wiccarocks@capulet.lit'/>");
    assert_eq!(refused(&play.enter(wise, "pistol"), wise), "forbidden");
    let long = "n".repeat(crate::limits::ROOM_NICK_BYTES_MAX + 1);
    play.configure(crone, &[("membersonly", "0")]);
    let other = play.person("other");
    assert_eq!(refused(&play.enter(other, &long), other), "not-acceptable");
}

#[test]
fn presence_without_the_extension_from_outside_is_answered_by_a_kick() {
    // Examples 42 and 43.
    let mut play = Play::new();
    play.room(&[]);
    let hag = play.person("hag66");
    let out = play.house.send(hag, &format!("<presence to='{ROOM}/thirdwitch'/>"));
    let kick = &heard(&out, hag)[0];
    assert!(kick.contains("type='unavailable'"), "{kick}");
    for code in ["110", "307", "333"] {
        assert!(kick.contains(&format!("<status code='{code}'/>")), "{kick}");
    }
}

#[test]
fn history_is_shown_as_it_is_asked_for() {
    // Examples 33 to 41.
    let mut play = Play::new();
    let crone = play.room(&[]);
    for body in ["one", "two", "three"] {
        play.house.wall_us += 60_000_000;
        play.say(crone, body);
    }
    let shown = |play: &mut Play, name: &str, history: &str| -> Vec<String> {
        let who = play.person(name);
        let out = play.enter_with(who, name, history);
        heard(&out, who).into_iter().filter(|xml| xml.contains("<body>")).collect()
    };
    let all = shown(&mut play, "a", "");
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].contains("<body>one</body>") && all[0].contains("from='coven@rooms.capulet.lit/firstwitch'"));
    assert!(all[0].contains("<delay xmlns='urn:xmpp:delay' from='coven@rooms.capulet.lit' stamp='2023-11-14T22:14:20"));
    assert!(all[0].contains("<stanza-id xmlns='urn:xmpp:sid:0'"), "{all:?}");
    assert_eq!(shown(&mut play, "b", "<history maxstanzas='1'/>").len(), 1);
    assert_eq!(shown(&mut play, "c", "<history maxchars='0'/>").len(), 0);
    assert_eq!(shown(&mut play, "d", "<history seconds='61'/>").len(), 2);
    assert_eq!(shown(&mut play, "e", "<history since='2023-11-14T22:16:00Z'/>").len(), 1);
    // Nobody is shown more than the room shows.
    play.owner(
        crone,
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/muc#roomconfig</value></field>\
         <field var='muc#maxhistoryfetch'><value>2</value></field></x>",
    );
    assert_eq!(shown(&mut play, "f", "<history maxstanzas='50'/>").len(), 2);
}

#[test]
fn a_new_nickname_is_shown_as_leaving_and_coming() {
    // Examples 49 to 52.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "thirdwitch");
    let out = play.house.send(hag, &format!("<presence to='{ROOM}/oldhag'/>"));
    let to_crone = heard(&out, crone);
    assert!(to_crone[0].contains("type='unavailable'") && to_crone[0].contains("/thirdwitch'"), "{to_crone:?}");
    assert!(to_crone[0].contains("nick='oldhag'") && to_crone[0].contains("<status code='303'/>"), "{to_crone:?}");
    assert!(to_crone[1].contains("/oldhag'") && !to_crone[1].contains("unavailable"), "{to_crone:?}");
    let to_hag = heard(&out, hag);
    assert!(to_hag.iter().all(|xml| xml.contains("<status code='110'/>")), "{to_hag:?}");
    let out = play.house.send(hag, &format!("<presence to='{ROOM}/firstwitch'/>"));
    assert_eq!(refused(&out, hag), "conflict");
}

#[test]
fn leaving_is_seen_by_those_who_stay_and_by_oneself() {
    // Examples 80 to 83.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "thirdwitch");
    let out = play
        .house
        .send(hag, &format!("<presence to='{ROOM}/thirdwitch' type='unavailable'><status>bye</status></presence>"));
    assert!(heard(&out, crone)[0].contains("<status>bye</status>"), "{out:?}");
    let own = &heard(&out, hag)[0];
    assert!(own.contains("type='unavailable'") && own.contains("role='none'") && own.contains("code='110'"), "{own}");
    assert!(heard(&play.say(crone, "x"), hag).is_empty());
}

#[test]
fn a_session_that_ends_leaves_its_rooms() {
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "thirdwitch");
    let out = play.house.with(|_, ctx| ctx.end(hag, crate::wire::error::StreamCondition::Reset.into()));
    assert!(
        heard(&out, crone)[0].contains("/thirdwitch' ") && heard(&out, crone)[0].contains("unavailable"),
        "{out:?}"
    );
}

#[test]
fn two_devices_share_a_nickname_and_are_one_person() {
    // §7.2.2, several sessions of one person.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let desk = play.person("hag66");
    let phone = play.house.available("hag66@capulet.lit/phone");
    play.enter(desk, "thirdwitch");
    let out = play.enter(phone, "thirdwitch");
    assert!(heard(&out, phone)[1].contains("<status code='110'/>"), "{out:?}");
    assert_eq!(heard(&play.say(crone, "double"), phone).len(), 1);
    assert_eq!(heard(&play.say(phone, "toil"), desk).len(), 1);
    let out = play.house.send(phone, &format!("<presence to='{ROOM}/thirdwitch' type='unavailable'/>"));
    assert!(heard(&out, phone)[0].contains("unavailable"));
    assert!(heard(&out, crone).iter().all(|xml| !xml.contains("unavailable")), "the other device is there: {out:?}");
    assert_eq!(heard(&play.say(crone, "trouble"), desk).len(), 1);
}

#[test]
fn the_host_and_its_rooms_tell_what_they_are() {
    // Examples 2 to 11.
    let mut play = Play::new();
    let crone = play.room(&[("roomname", "A Dark Cave"), ("publicroom", "1"), ("persistentroom", "1")]);
    let ask = |play: &mut Play, to: &str, what: &str| {
        let query = format!("<query xmlns='http://jabber.org/protocol/disco#{what}'/>");
        let out = play.house.send(crone, &format!("<iq type='get' id='d' to='{to}'>{query}</iq>"));
        answered(&out, crone)
    };
    let host = ask(&mut play, "rooms.capulet.lit", "info");
    assert!(host.contains("<identity category='conference' type='text' name='Rooms'/>"), "{host}");
    assert!(host.contains("<feature var='http://jabber.org/protocol/muc'/>"), "{host}");
    let rooms = ask(&mut play, "rooms.capulet.lit", "items");
    assert!(rooms.contains("jid='coven@rooms.capulet.lit' name='A Dark Cave'"), "{rooms}");
    let room = ask(&mut play, ROOM, "info");
    for feature in ["muc_public", "muc_persistent", "muc_open", "muc_unmoderated", "muc_semianonymous", "muc_unsecured"]
    {
        assert!(room.contains(&format!("<feature var='{feature}'/>")), "{feature} in {room}");
    }
    assert!(room.contains("<feature var='urn:xmpp:mam:2'/>"), "{room}");
    assert!(room.contains("var='muc#roominfo_occupants'"), "{room}");
    assert!(ask(&mut play, ROOM, "items").contains("jid='coven@rooms.capulet.lit/firstwitch'"));
    play.configure(crone, &[("publicroom", "0")]);
    assert!(!ask(&mut play, "rooms.capulet.lit", "items").contains("coven"));
}

#[test]
fn who_asks_for_oneself_learns_whether_one_is_in() {
    // XEP-0410 §3.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    assert_eq!(answered(&play.iq(crone, "get", "/firstwitch", ping), crone), "");
    assert_eq!(refused(&play.iq(hag, "get", "/firstwitch", ping), hag), "not-acceptable");
    assert_eq!(refused(&play.iq(crone, "get", "/nobody", ping), crone), "item-not-found");
}

#[test]
fn a_persistent_room_outlives_its_occupants_and_another_does_not() {
    let mut play = Play::new();
    let crone = play.room(&[("persistentroom", "1"), ("roomname", "Cave")]);
    play.house.send(crone, &format!("<presence to='{ROOM}/firstwitch' type='unavailable'/>"));
    let out = play.enter(crone, "firstwitch");
    assert!(!heard(&out, crone)[0].contains("code='201'"), "{out:?}");
    play.configure(crone, &[("persistentroom", "0")]);
    play.house.send(crone, &format!("<presence to='{ROOM}/firstwitch' type='unavailable'/>"));
    let out = play.enter(crone, "firstwitch");
    assert!(heard(&out, crone)[0].contains("code='201'"), "{out:?}");
}

#[test]
fn a_nickname_can_be_ones_own() {
    // Examples 66 to 78.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let (hag, wise) = (play.person("hag66"), play.person("wiccarocks"));
    let form = "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/muc#register</value></field><field var='muc#register_roomnick'>\
        <value>thirdwitch</value></field></x></query>";
    assert!(answered(&play.iq(hag, "get", "", "<query xmlns='jabber:iq:register'/>"), hag).contains("roomnick"));
    assert_eq!(answered(&play.iq(hag, "set", "", form), hag), "");
    assert_eq!(refused(&play.iq(wise, "set", "", form), wise), "conflict");
    assert_eq!(refused(&play.enter(wise, "thirdwitch"), wise), "conflict");
    let node = "<query xmlns='http://jabber.org/protocol/disco#info' node='x-roomuser-item'/>";
    let own = answered(&play.iq(hag, "get", "", node), hag);
    assert!(own.contains("<identity category='conference' type='text' name='thirdwitch'/>"), "{own}");
    let _ = crone;
}
