//! XEP-0488 v0.1.0, example by example.

use std::rc::Rc;

use super::*;
use crate::{config::Config, limits};

/// A room for members, its owner in it; tokens are given out.
fn commons(fields: &[(&str, &str)]) -> (Play, SessionId) {
    let mut play = Play::new();
    let mut config = Config::clone(&play.house.core.config);
    config.rooms.invite_tokens = true;
    play.house.configure(Rc::new(config));
    let crone = play.room(&[&[("membersonly", "1"), ("persistentroom", "1")], fields].concat());
    (play, crone)
}

fn ask(play: &mut Play, who: SessionId, ty: &str, inner: &str) -> Out {
    play.iq(who, ty, "", &inner.replacen("/>", " xmlns='urn:xmpp:muc-token-invite:0'/>", 1))
}

/// A new token.
fn token(play: &mut Play, who: SessionId, limits: &str) -> String {
    let out = ask(play, who, "set", &format!("<request{limits}/>"));
    let told = answered(&out, who);
    told.split_once('>').unwrap().1.split_once('<').unwrap().0.to_owned()
}

fn revoke(play: &mut Play, who: SessionId, token: &str) -> Out {
    play.iq(who, "set", "", &format!("<revoke xmlns='urn:xmpp:muc-token-invite:0'>{token}</revoke>"))
}

/// The condition with which somebody is refused, or nothing.
fn enters(play: &mut Play, who: SessionId, token: &str) -> String {
    let nick = play.house.core.sessions.session(who).unwrap().jid.local().unwrap().to_owned();
    let out = play.enter_with(who, &nick, &format!("<password>{token}</password>"));
    let got = heard(&out, who);
    if got.iter().any(|xml| xml.contains("code='110'")) { String::new() } else { refused(&out, who) }
}

#[test]
fn tokens_are_given_out_where_the_configuration_and_the_room_allow_it() {
    // XEP-0488 examples 1 to 3.
    let (mut play, crone) = commons(&[]);
    let hag = play.person("hag66");
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let tells =
        |play: &mut Play| answered(&play.iq(crone, "get", "", info), crone).contains("urn:xmpp:muc-token-invite:0");
    assert!(tells(&mut play));
    assert_eq!(token(&mut play, crone, "").len(), 32);
    assert_eq!(refused(&ask(&mut play, hag, "set", "<request/>"), hag), "forbidden");
    play.admin(crone, "set", "<item affiliation='member' jid='hag66@capulet.lit'/>");
    assert_eq!(refused(&ask(&mut play, hag, "set", "<request/>"), hag), "forbidden");
    play.configure(crone, &[("allowinvites", "1")]);
    assert_eq!(token(&mut play, hag, "").len(), 32);
    for fields in
        [&[("membersonly", "0")][..], &[("membersonly", "1"), ("passwordprotectedroom", "1"), ("roomsecret", "x")]]
    {
        play.configure(crone, fields);
        assert!(!tells(&mut play), "{fields:?}");
        assert_eq!(refused(&ask(&mut play, crone, "set", "<request/>"), crone), "service-unavailable");
    }
    play.configure(crone, &[("passwordprotectedroom", "0")]);
    let mut config = Config::clone(&play.house.core.config);
    config.rooms.invite_tokens = false;
    play.house.configure(Rc::new(config));
    assert!(!tells(&mut play), "off is off");
    assert_eq!(refused(&ask(&mut play, crone, "set", "<request/>"), crone), "service-unavailable");
}

#[test]
fn a_token_makes_a_member_and_is_used_up() {
    // XEP-0488 examples 4 and 5, §4.5, §5.
    let (mut play, crone) = commons(&[]);
    let told = answered(&ask(&mut play, crone, "set", "<request delay='2678400' counter='2'/>"), crone);
    assert!(told.contains(" delay='2678400' counter='2'"), "{told}");
    let word = told.split_once('>').unwrap().1.split_once('<').unwrap().0.to_owned();
    let people: Vec<SessionId> = ["a", "b", "c"].map(|name| play.person(name)).into();
    let list = |play: &mut Play| answered(&ask(play, crone, "get", "<tokens/>"), crone);
    assert_eq!(enters(&mut play, people[0], &word), "");
    assert!(list(&mut play).contains("counter='1'"));
    let members = answered(&play.admin(crone, "get", "<item affiliation='member'/>"), crone);
    assert!(members.contains("jid='a@capulet.lit'"), "{members}");
    // A bookmark has it still: members do not use it up.
    for who in [people[0], crone] {
        enters(&mut play, who, &word);
    }
    assert!(list(&mut play).contains("counter='1'"));
    assert_eq!(enters(&mut play, people[1], &word), "");
    let out = play.enter_with(people[2], "c", &format!("<password>{word}</password>"));
    assert_eq!(refused(&out, people[2]), "not-authorized");
    assert!(heard(&out, people[2])[0].contains("<expired-token xmlns='urn:xmpp:muc-token-invite:0'/>"), "{out:?}");
    assert_eq!(refused(&play.enter(people[2], "c"), people[2]), "registration-required", "who has none asks for none");
}

#[test]
fn a_token_ends_with_its_time_and_with_the_right_to_invite() {
    let (mut play, crone) = commons(&[("allowinvites", "1")]);
    let (hag, wise, banned) = (play.person("hag66"), play.person("wiccarocks"), play.person("banned"));
    let told = answered(&ask(&mut play, crone, "set", "<request delay='4294967295'/>"), crone);
    assert!(told.contains(&format!("delay='{}'", limits::ROOM_TOKEN_S_MAX)), "no token is for ever: {told}");
    let word = token(&mut play, crone, " delay='60'");
    play.admin(crone, "set", "<item affiliation='outcast' jid='banned@capulet.lit'/>");
    assert_eq!(enters(&mut play, banned, &word), "forbidden");
    play.house.wall_us += 61_000_000;
    assert_eq!(enters(&mut play, hag, &word), "not-authorized");
    play.admin(crone, "set", "<item affiliation='member' jid='hag66@capulet.lit'/>");
    let word = token(&mut play, hag, "");
    play.admin(crone, "set", "<item affiliation='none' jid='hag66@capulet.lit'/>");
    assert_eq!(enters(&mut play, wise, &word), "not-authorized");
    assert_eq!(refused(&ask(&mut play, crone, "set", "<request delay='soon'/>"), crone), "bad-request");
}

#[test]
fn tokens_are_listed_and_revoked_by_who_asked_for_them_and_by_moderators() {
    // XEP-0488 examples 7 to 10.
    let (mut play, crone) = commons(&[("allowinvites", "1")]);
    let (hag, wise) = (play.person("hag66"), play.person("wiccarocks"));
    play.admin(crone, "set", "<item affiliation='member' jid='hag66@capulet.lit'/>");
    let (own, other) = (token(&mut play, hag, ""), token(&mut play, crone, " counter='5'"));
    let list = answered(&ask(&mut play, hag, "get", "<tokens/>"), hag);
    assert!(list.contains(&own) && !list.contains(&other), "{list}");
    let list = answered(&ask(&mut play, crone, "get", "<tokens/>"), crone);
    assert!(list.contains(&own) && list.contains(&other) && list.contains("creator='hag66@capulet.lit'"), "{list}");
    assert_eq!(refused(&ask(&mut play, wise, "get", "<tokens/>"), wise), "forbidden");
    assert_eq!(refused(&revoke(&mut play, wise, &own), wise), "forbidden");
    assert_eq!(refused(&revoke(&mut play, hag, &other), hag), "item-not-found");
    assert_eq!(refused(&revoke(&mut play, hag, "nonsense"), hag), "item-not-found");
    assert_eq!(answered(&revoke(&mut play, crone, &own), crone), "");
    assert_eq!(enters(&mut play, wise, &own), "not-authorized");
    assert_eq!(enters(&mut play, wise, &other), "");
}

#[test]
fn tokens_are_bounded() {
    let (mut play, crone) = commons(&[("allowinvites", "1")]);
    for n in 0..limits::ROOM_TOKENS_MAX / limits::ROOM_TOKENS_EACH_MAX {
        let who = play.person(&format!("p{n}"));
        play.admin(crone, "set", &format!("<item affiliation='member' jid='p{n}@capulet.lit'/>"));
        for _ in 0..limits::ROOM_TOKENS_EACH_MAX {
            token(&mut play, who, " delay='60'");
        }
        assert_eq!(refused(&ask(&mut play, who, "set", "<request/>"), who), "resource-constraint");
    }
    assert_eq!(refused(&ask(&mut play, crone, "set", "<request/>"), crone), "resource-constraint");
    play.house.wall_us += 61_000_000;
    token(&mut play, crone, "");
}
