//! A client is asked once what its hash stands for, and believed only if that is true.

use super::*;
use crate::{
    domain::ids::SessionId,
    router::testing::{House, Out, to_session},
};

const INFO: &str = "<identity category='client' type='pc'/><feature var='a'/><feature var='tune+notify'/>";

fn ver(info: &str) -> String {
    let query = format!("<query xmlns='http://jabber.org/protocol/disco#info'>{info}</query>");
    let query = Element::parse(query.as_bytes(), ns::CLIENT).unwrap();
    verification(&query.children().cloned().collect::<Vec<_>>(), Hash::Sha1)
}

fn presence(ver: &str) -> String {
    format!("<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:x' ver='{ver}'/></presence>")
}

fn question(out: &Out, id: SessionId) -> Option<String> {
    let asked = to_session(out, id).into_iter().find(|(_, xml)| xml.contains("disco#info"))?;
    let iq = Element::parse(asked.1.as_bytes(), ns::CLIENT).unwrap();
    assert_eq!((iq.get("type"), iq.get("from")), (Some("get"), Some("capulet.lit")));
    iq.get("id").map(str::to_owned)
}

fn answer(id: &str, info: &str) -> String {
    format!(
        "<iq type='result' to='capulet.lit' id='{id}'><query xmlns='http://jabber.org/protocol/disco#info'>{info}</query></iq>"
    )
}

fn wants(house: &House, id: SessionId, node: &str) -> bool {
    house.core.sessions.session(id).unwrap().wants_node(node)
}

#[test]
fn a_hash_is_asked_for_once_and_known_to_all_who_send_it() {
    let mut house = House::new();
    let (phone, laptop) = (house.online("juliet@capulet.lit/phone"), house.online("juliet@capulet.lit/laptop"));
    let romeo = house.online("romeo@capulet.lit/orchard");
    let ver = ver(INFO);
    let id = question(&house.send(phone, &presence(&ver)), phone).unwrap();
    // While the answer is out, nobody else is asked.
    assert_eq!(question(&house.send(laptop, &presence(&ver)), laptop), None);
    assert!(!wants(&house, phone, "tune"));
    house.send(phone, &answer(&id, INFO));
    assert!(wants(&house, phone, "tune") && wants(&house, laptop, "tune") && !wants(&house, phone, "a"));
    assert_eq!(question(&house.send(romeo, &presence(&ver)), romeo), None);
    assert!(wants(&house, romeo, "tune"));
    house.send(romeo, "<presence type='unavailable'/>");
    assert!(!wants(&house, romeo, "tune"));
}

#[test]
fn a_hash_is_known_after_a_restart() {
    let mut house = House::new();
    let phone = house.online("juliet@capulet.lit/phone");
    let ver = ver(INFO);
    let id = question(&house.send(phone, &presence(&ver)), phone).unwrap();
    house.send(phone, &answer(&id, INFO));
    house.router = crate::router::route::Router::new(crate::services::all());
    let laptop = house.online("juliet@capulet.lit/laptop");
    assert_eq!(question(&house.send(laptop, &presence(&ver)), laptop), None);
    assert!(wants(&house, laptop, "tune"));
}

#[test]
fn s31_a_wrong_hash_is_believed_of_nobody_else() {
    let mut house = House::new();
    let (liar, romeo) = (house.online("tybalt@capulet.lit/x"), house.online("romeo@capulet.lit/orchard"));
    let ver = ver(INFO);
    let id = question(&house.send(liar, &presence(&ver)), liar).unwrap();
    let out = house.send(romeo, &presence(&ver));
    assert_eq!(question(&out, romeo), None);
    // The other one is asked as soon as the lie is out.
    let out = house.send(liar, &answer(&id, "<feature var='mood+notify'/>"));
    let id = question(&out, romeo).unwrap();
    assert!(wants(&house, liar, "mood") && !wants(&house, romeo, "mood"));
    house.send(romeo, &answer(&id, INFO));
    assert!(wants(&house, romeo, "tune"));
    // Doubles: the string would fit, but could mean something else.
    let doubled = "<feature var='tune+notify'/><feature var='tune+notify'/>";
    let id = question(&house.send(romeo, &presence(&self::ver(doubled))), romeo).unwrap();
    house.send(romeo, &answer(&id, doubled));
    assert!(question(&house.send(liar, &presence(&self::ver(doubled))), liar).is_some());
}

#[test]
fn answers_to_no_question_are_nothing() {
    let mut house = House::new();
    let (liar, romeo) = (house.online("tybalt@capulet.lit/x"), house.online("romeo@capulet.lit/orchard"));
    let ver = ver(INFO);
    let id = question(&house.send(romeo, &presence(&ver)), romeo).unwrap();
    assert_eq!(house.send(liar, &answer(&id, INFO)), []);
    assert_eq!(house.send(romeo, &answer("x", INFO)), []);
    assert!(!wants(&house, romeo, "tune") && !wants(&house, liar, "tune"));
}

#[test]
fn who_leaves_without_an_answer_is_replaced() {
    let mut house = House::new();
    let (phone, laptop) = (house.online("juliet@capulet.lit/phone"), house.online("juliet@capulet.lit/laptop"));
    let ver = ver(INFO);
    question(&house.send(phone, &presence(&ver)), phone).unwrap();
    house.send(laptop, &presence(&ver));
    let out = house.notice(Notice::SessionEnding(phone));
    let id = question(&out, laptop).unwrap();
    house.send(laptop, &answer(&id, INFO));
    assert!(wants(&house, laptop, "tune"));
    // And who takes too long.
    let out = house.send(phone, &presence(&self::ver("<feature var='b+notify'/>")));
    assert!(question(&out, phone).is_some());
    house.now = house.now.plus_ms(limits::CAPS_ANSWER_MS);
    let out = house.send(laptop, &presence(&self::ver("<feature var='b+notify'/>")));
    assert!(question(&out, laptop).is_some());
}

#[test]
fn questions_are_bounded() {
    let mut house = House::new();
    for at in 0..=limits::CAPS_ASKED_MAX {
        let id = house.online(&format!("p{at}@capulet.lit/x"));
        let out = house.send(id, &presence(&at.to_string()));
        assert_eq!(question(&out, id).is_some(), at < limits::CAPS_ASKED_MAX, "{at}");
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let mut house = House::new();
    let phone = house.online("juliet@capulet.lit/phone");
    for at in 0..=limits::CAPS_MAX {
        let info = format!("<feature var='{at}+notify'/>");
        let id = question(&house.send(phone, &presence(&ver(&info))), phone).unwrap();
        house.send(phone, &answer(&id, &info));
        assert!(wants(&house, phone, &at.to_string()));
    }
    assert!(house.ctx().store().prefix(&[keys::CAPS], usize::MAX).len() <= limits::CAPS_MAX);
    let many: String = (0..=limits::INTERESTS_MAX).map(|at| format!("<feature var='{at:03}+notify'/>")).collect();
    let id = question(&house.send(phone, &presence(&ver(&many))), phone).unwrap();
    house.send(phone, &answer(&id, &many));
    assert_eq!(house.core.sessions.session(phone).unwrap().wants_nodes.len(), limits::INTERESTS_MAX);
}

#[test]
fn a_late_or_strange_answer_does_not_end_the_question_that_is_out() {
    let mut house = House::new();
    let phone = house.online("juliet@capulet.lit/phone");
    let (before, after) = ("<feature var='mood+notify'/>", INFO);
    let old = question(&house.send(phone, &presence(&ver(before))), phone).unwrap();
    let new = question(&house.send(phone, &presence(&ver(after))), phone).unwrap();
    // XEP-0115 §6.2: a client that has learned something new while it was being asked; and results of other requests.
    house.send(phone, &answer(&old, before));
    house.send(phone, "<iq type='result' to='capulet.lit' id='fixme'/>");
    house.send(phone, "<iq type='result' id='push'/>");
    house.send(phone, &answer(&new, after));
    assert!(wants(&house, phone, "tune"));
}

#[test]
fn a_question_that_is_overtaken_is_asked_of_another() {
    let mut house = House::new();
    let (phone, laptop) = (house.online("juliet@capulet.lit/phone"), house.online("juliet@capulet.lit/laptop"));
    let before = "<feature var='mood+notify'/>";
    question(&house.send(phone, &presence(&ver(before))), phone).unwrap();
    assert_eq!(question(&house.send(laptop, &presence(&ver(before))), laptop), None);
    let out = house.send(phone, &presence(&ver(INFO)));
    let id = question(&out, laptop).expect("the laptop says the same");
    house.send(laptop, &answer(&id, before));
    assert!(wants(&house, laptop, "mood"));
}

#[test]
fn what_a_client_says_of_itself_is_bounded() {
    let mut house = House::new();
    let phone = house.online("juliet@capulet.lit/phone");
    let long = "x".repeat(limits::CAPS_TEXT_BYTES_MAX);
    for part in ["ver", "node", "ext"] {
        let caps = presence(&ver(INFO)).replace(&format!(" {part}='"), &format!(" {part}='{long}"));
        let caps = if part == "ext" { caps.replace(" hash=", &format!(" ext='{long}' hash=")) } else { caps };
        assert_eq!(question(&house.send(phone, &caps), phone), None, "{part}");
    }
    assert!(question(&house.send(phone, &presence(&ver(INFO))), phone).is_some());
}
