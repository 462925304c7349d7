//! XEP-0463 v0.2.0, example by example; XEP-0502 v0.1.0.

use super::*;

const MAV: &str = "urn:xmpp:muc:affiliations:1";

/// An attribute of the `<mav/>` in a stanza; empty if there is none.
fn version(xml: &str, name: &str) -> String {
    let mav = xml.split_once("<mav").and_then(|(_, rest)| rest.split_once('>')).map_or("", |(mav, _)| mav);
    let value = mav.split_once(&format!(" {name}='")).and_then(|(_, rest)| rest.split_once('\''));
    value.map_or_else(String::new, |(value, _)| value.to_owned())
}

fn enter(play: &mut Play, who: SessionId, nick: &str, since: Option<&str>) -> Vec<String> {
    let since = since.map_or_else(String::new, |since| format!(" since='{since}'"));
    let out = play.enter_with(who, nick, &format!("<mav xmlns='{MAV}'{since}/>"));
    heard(&out, who)
}

fn leave(play: &mut Play, who: SessionId, nick: &str) {
    play.house.send(who, &format!("<presence to='{ROOM}/{nick}' type='unavailable'/>"));
}

fn set(play: &mut Play, by: SessionId, who: &str, to: &str) -> Out {
    play.admin(by, "set", &format!("<item affiliation='{to}' jid='{who}'/>"))
}

/// A room whose members see each other, the owner in it, and a member who is not.
fn commons() -> (Play, SessionId, SessionId) {
    let mut play = Play::new();
    let crone = play.room(&[("whois", "anyone"), ("persistentroom", "1")]);
    let hag = play.person("hag66");
    set(&mut play, crone, "hag66@capulet.lit", "member");
    (play, crone, hag)
}

#[test]
fn who_knows_nothing_is_told_everything_before_anybody_is_shown() {
    // XEP-0463 examples 1, 3 and 6.
    let (mut play, _, hag) = commons();
    let got = enter(&mut play, hag, "hag", None);
    assert!(got[0].starts_with("<message"), "{got:?}");
    for item in
        ["<item jid='crone1@capulet.lit' affiliation='owner'/>", "<item jid='hag66@capulet.lit' affiliation='member'/>"]
    {
        assert!(got[0].contains(item), "{got:?}");
    }
    let until = version(&got[0], "until");
    assert!(!until.is_empty() && version(&got[0], "since").is_empty(), "{got:?}");
    let own = got.iter().find(|xml| xml.contains("code='110'")).unwrap();
    assert_eq!(version(own, "until"), until, "{own}");
    assert!(!got[1].contains("<mav"), "others' presence tells no version: {got:?}");
    // What was asked for is seen by nobody else.
    leave(&mut play, hag, "hag");
    let out = play.enter_with(hag, "hag", &format!("<mav xmlns='{MAV}'/>"));
    assert!(out.iter().filter(|(who, _)| *who != hag).all(|(_, xml)| !xml.contains("<mav")), "{out:?}");
    let info = answered(&play.iq(hag, "get", "", "<query xmlns='http://jabber.org/protocol/disco#info'/>"), hag);
    assert!(info.contains(&format!("<feature var='{MAV}'/>")), "{info}");
}

#[test]
fn who_knows_a_version_is_told_what_has_changed_since() {
    // XEP-0463 examples 2, 4 and 8.
    let (mut play, crone, hag) = commons();
    let known = version(&enter(&mut play, hag, "hag", None)[0], "until");
    leave(&mut play, hag, "hag");
    let got = enter(&mut play, hag, "hag", Some(&known));
    assert!(!got[0].starts_with("<message"), "nothing has changed: {got:?}");
    assert_eq!(version(got.iter().find(|xml| xml.contains("code='110'")).unwrap(), "until"), known);

    // Somebody who is not there: a message.
    let told = heard(&set(&mut play, crone, "peter@capulet.lit", "member"), hag);
    assert_eq!(version(&told[0], "since"), known, "{told:?}");
    assert!(told[0].contains("<item jid='peter@capulet.lit' affiliation='member' role='none'/>"), "{told:?}");
    let then = version(&told[0], "until");
    let told = heard(&set(&mut play, crone, "peter@capulet.lit", "none"), hag);
    assert_eq!((version(&told[0], "since"), told[0].contains("affiliation='none'")), (then.clone(), true), "{told:?}");
    let then = version(&told[0], "until");
    // Somebody who is: presence.
    let vladimir = play.person("vladimir");
    play.enter(vladimir, "vladimir");
    let told = heard(&set(&mut play, crone, "vladimir@capulet.lit", "admin"), hag);
    assert_eq!((version(&told[0], "since"), told[0].starts_with("<presence")), (then, true), "{told:?}");

    leave(&mut play, hag, "hag");
    let got = enter(&mut play, hag, "hag", Some(&known));
    assert_eq!((version(&got[0], "since"), got[0].matches("<item").count()), (known, 2), "{got:?}");
    assert!(got[0].contains("jid='peter@capulet.lit' affiliation='none'"), "{got:?}");
    assert!(got[0].contains("jid='vladimir@capulet.lit' affiliation='admin'"), "{got:?}");
    let own = got.iter().find(|xml| xml.contains("code='110'")).unwrap();
    assert_eq!(version(own, "until"), version(&got[0], "until"));
}

#[test]
fn a_version_that_is_unknown_or_old_is_answered_by_everything() {
    // XEP-0463 example 3.
    let (mut play, crone, hag) = commons();
    let known = version(&enter(&mut play, hag, "hag", None)[0], "until");
    for unknown in ["9pacabr2q1", ""] {
        leave(&mut play, hag, "hag");
        let got = enter(&mut play, hag, "hag", Some(unknown));
        assert_eq!((version(&got[0], "since").as_str(), got[0].matches("<item").count()), ("", 2), "{got:?}");
    }
    leave(&mut play, hag, "hag");
    for n in 0..crate::limits::ROOM_VERSIONS_MAX {
        set(&mut play, crone, "peter@capulet.lit", if n % 2 == 0 { "member" } else { "none" });
    }
    let got = enter(&mut play, hag, "hag", Some(&known));
    assert_eq!((version(&got[0], "since").as_str(), got[0].matches("<item").count()), ("", 2), "{got:?}");
    // A change of oneself: what one was told before may have been less.
    let known = version(&got[0], "until");
    leave(&mut play, hag, "hag");
    set(&mut play, crone, "hag66@capulet.lit", "admin");
    let got = enter(&mut play, hag, "hag", Some(&known));
    assert_eq!((version(&got[0], "since").as_str(), got[0].matches("<item").count()), ("", 2), "{got:?}");
}

#[test]
fn a_long_list_comes_in_parts_that_follow_one_another() {
    // XEP-0463 §4.2.1.
    let (mut play, crone, hag) = commons();
    let items = |from: usize| -> String {
        (from..from + 400).map(|n| format!("<item affiliation='member' jid='p{n}@capulet.lit'/>")).collect()
    };
    play.admin(crone, "set", &items(0));
    let got = enter(&mut play, hag, "hag", None);
    let parts: Vec<&String> = got.iter().filter(|xml| xml.starts_with("<message") && xml.contains("<mav")).collect();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts.iter().map(|part| part.matches("<item").count()).sum::<usize>(), 402);
    assert!(version(parts[0], "since").is_empty());
    for pair in parts.windows(2) {
        assert_eq!(version(pair[0], "until"), version(pair[1], "since"));
    }
    let own = got.iter().find(|xml| xml.contains("code='110'")).unwrap();
    assert_eq!(version(parts[2], "until"), version(own, "until"));
}

#[test]
fn only_those_follow_the_lists_who_may_read_them() {
    // XEP-0463 example 9, §5.
    let (mut play, crone, hag) = commons();
    let vladimir = play.person("vladimir");
    let got = enter(&mut play, vladimir, "vladimir", None);
    assert!(got[0].starts_with("<message") && got[0].contains("type='error'"), "{got:?}");
    assert!(got[0].contains("<forbidden") && !got[0].contains("<item"), "{got:?}");
    assert!(got.iter().any(|xml| xml.contains("code='110'")), "they are in all the same");
    // Bans are the staff's business: others see that those are nothing to the room.
    enter(&mut play, hag, "hag", None);
    set(&mut play, crone, "peter@capulet.lit", "member");
    let out = set(&mut play, crone, "peter@capulet.lit", "outcast");
    assert!(heard(&out, crone)[0].contains("affiliation='outcast'"), "{out:?}");
    assert!(heard(&out, hag)[0].contains("jid='peter@capulet.lit' affiliation='none'"), "{out:?}");
    assert!(heard(&out, vladimir).is_empty(), "{out:?}");
    leave(&mut play, hag, "hag");
    let got = enter(&mut play, hag, "hag", None);
    assert!(!got[0].contains("peter"), "{got:?}");
    // Where addresses are hidden, owners alone.
    play.configure(crone, &[("whois", "moderators")]);
    leave(&mut play, hag, "hag");
    let got = enter(&mut play, hag, "hag", None);
    assert!(got[0].contains("<forbidden"), "{got:?}");
    let got = enter(&mut play, crone, "firstwitch", None);
    assert!(got[0].contains("peter@capulet.lit' affiliation='outcast'"), "{got:?}");
}

#[test]
fn a_room_that_was_made_anew_knows_no_version_of_the_one_before() {
    let (mut play, crone, _) = commons();
    set(&mut play, crone, "peter@capulet.lit", "member");
    let known = version(&enter(&mut play, crone, "firstwitch", None)[0], "until");
    play.owner(crone, "<destroy/>");
    play.enter(crone, "firstwitch");
    play.configure(crone, &[]);
    let got = enter(&mut play, crone, "firstwitch", Some(&known));
    assert_eq!((version(&got[0], "since").as_str(), got[0].matches("<item").count()), ("", 1), "{got:?}");
}

const ACTIVITY: &str = "{urn:xmpp:muc-activity}message-activity";

fn activity(play: &mut Play, who: SessionId) -> Option<String> {
    let info = answered(&play.iq(who, "get", "", "<query xmlns='http://jabber.org/protocol/disco#info'/>"), who);
    let (_, field) = info.split_once(ACTIVITY)?;
    Some(field.split_once("<value>")?.1.split_once('<')?.0.to_owned())
}

#[test]
fn a_public_room_tells_how_much_is_said_in_it() {
    // XEP-0502 examples 1 and 2.
    let hour = 3_600_000_000;
    let mut play = Play::new();
    let crone = play.room(&[("publicroom", "1"), ("persistentroom", "1")]);
    for _ in 0..6 {
        play.say(crone, "double, double");
    }
    let correction = "<body>toil</body><replace xmlns='urn:xmpp:message-correct:0' id='m1'/>";
    for inner in [correction, "<subject>Fire</subject>", "<composing xmlns='http://jabber.org/protocol/chatstates'/>"] {
        play.house.send(crone, &format!("<message type='groupchat' to='{ROOM}'>{inner}</message>"));
    }
    play.house.send(crone, &format!("<message type='chat' to='{ROOM}/firstwitch'><body>psst</body></message>"));
    assert_eq!(activity(&mut play, crone), None, "nothing is known yet");
    play.house.wall_us += hour;
    assert_eq!(activity(&mut play, crone).as_deref(), Some("6.00"));
    play.house.wall_us += hour;
    play.say(crone, "and trouble");
    assert_eq!(activity(&mut play, crone).as_deref(), Some("3.00"));
    // Also when everybody has gone in between.
    leave(&mut play, crone, "firstwitch");
    play.house.wall_us += 22 * hour;
    assert_eq!(activity(&mut play, crone).as_deref(), Some("0.29"));
    play.house.wall_us += 3 * hour;
    assert_eq!(activity(&mut play, crone).as_deref(), Some("0.00"));
}

#[test]
fn a_room_that_is_not_for_everybody_does_not_tell_how_much_is_said_in_it() {
    // XEP-0502 §4.1 and §9.
    for fields in [
        &[("publicroom", "0"), ("persistentroom", "1")][..],
        &[("publicroom", "1"), ("persistentroom", "0")],
        &[("publicroom", "1"), ("persistentroom", "1"), ("membersonly", "1")],
        &[("publicroom", "1"), ("persistentroom", "1"), ("passwordprotectedroom", "1"), ("roomsecret", "x")],
    ] {
        let mut play = Play::new();
        let crone = play.room(fields);
        play.say(crone, "double, double");
        play.house.wall_us += 7_200_000_000;
        assert_eq!(activity(&mut play, crone), None, "{fields:?}");
    }
}
