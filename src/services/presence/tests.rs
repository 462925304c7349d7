//! Presence of local users where blocking, directed presence and probes meet.

use crate::{
    domain::{ids::SessionId, roster},
    limits,
    router::testing::{House, Out, to_session},
    wire::{element::Element, ns},
};

const ROMEO: &str = "romeo@capulet.lit";
const JULIET: &str = "juliet@capulet.lit";

/// What one session heard, each as `from type`, resources only.
fn heard(out: &Out, id: SessionId) -> Vec<String> {
    let heard = to_session(out, id).into_iter().filter_map(|(_, xml)| {
        let stanza = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
        let from = stanza.get("from")?.split_once('/').map_or("", |(_, resource)| resource).to_owned();
        (&*stanza.name == "presence").then(|| format!("{from} {}", stanza.get("type").unwrap_or("available")))
    });
    heard.collect()
}

fn list(house: &mut House, who: SessionId, command: &str, jid: &str) -> Out {
    house.send(
        who,
        &format!("<iq type='set' id='b'><{command} xmlns='urn:xmpp:blocking'><item jid='{jid}'/></{command}></iq>"),
    )
}

const NOTHING: [&str; 0] = [];

#[test]
fn blocking_a_resource_hides_presence_from_that_resource_alone() {
    // XEP-0191 §3.3, §3.4 and §5.
    for entry in ["romeo@capulet.lit/orchard", "capulet.lit/orchard"] {
        let mut house = House::new();
        let juliet = house.available("juliet@capulet.lit/balcony");
        let orchard = house.available("romeo@capulet.lit/orchard");
        let garden = house.available("romeo@capulet.lit/garden");
        house.subscribe(JULIET, ROMEO);
        let out = list(&mut house, juliet, "block", entry);
        assert_eq!(heard(&out, orchard), ["balcony unavailable"], "{entry}");
        assert_eq!(heard(&out, garden), NOTHING, "{entry}");
        for presence in ["<presence><show>away</show></presence>", "<presence to='romeo@capulet.lit'/>"] {
            let out = house.send(juliet, presence);
            assert_eq!(heard(&out, orchard), NOTHING, "{entry}: {presence}");
            assert_eq!(heard(&out, garden), ["balcony available"], "{entry}: {presence}");
        }
        let out = list(&mut house, juliet, "unblock", entry);
        assert_eq!(heard(&out, orchard), ["balcony available"], "{entry}");
        assert_eq!(heard(&out, garden), NOTHING, "{entry}");
        list(&mut house, juliet, "block", entry);
        let out = house.send(juliet, "<presence type='unavailable'/>");
        assert_eq!((heard(&out, orchard), heard(&out, garden).len()), (vec![], 1), "{entry}");
    }
}

#[test]
fn a_blocked_resource_does_not_see_who_is_there_when_it_comes() {
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    house.subscribe(JULIET, ROMEO);
    list(&mut house, juliet, "block", "romeo@capulet.lit/orchard");
    let orchard = house.online("romeo@capulet.lit/orchard");
    assert_eq!(heard(&house.send(orchard, "<presence/>"), orchard), ["orchard available"]);
    let garden = house.online("romeo@capulet.lit/garden");
    let out = house.send(garden, "<presence/>");
    assert!(heard(&out, garden).contains(&"balcony available".to_owned()), "{out:?}");
}

#[test]
fn unblocking_a_contact_leaves_its_blocked_resource_blocked() {
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    let orchard = house.available("romeo@capulet.lit/orchard");
    let garden = house.available("romeo@capulet.lit/garden");
    house.subscribe(JULIET, ROMEO);
    list(&mut house, juliet, "block", "romeo@capulet.lit/orchard");
    list(&mut house, juliet, "block", ROMEO);
    let out = list(&mut house, juliet, "unblock", ROMEO);
    assert_eq!((heard(&out, orchard), heard(&out, garden)), (vec![], vec!["balcony available".to_owned()]));
}

#[test]
fn the_owner_learns_whether_an_unblocked_contact_is_there() {
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    let chamber = house.online("juliet@capulet.lit/chamber");
    let orchard = house.available("romeo@capulet.lit/orchard");
    house.subscribe(ROMEO, JULIET);
    list(&mut house, juliet, "block", ROMEO);
    assert_eq!(heard(&house.send(orchard, "<presence><show>away</show></presence>"), juliet), NOTHING);
    let out = list(&mut house, juliet, "unblock", ROMEO);
    assert_eq!((heard(&out, juliet), heard(&out, chamber)), (vec!["orchard available".to_owned()], vec![]));
    assert!(out.iter().any(|(_, xml)| xml.contains("<show>away</show>")), "as it is now: {out:?}");
}

#[test]
fn a_request_of_somebody_blocked_since_waits_unseen() {
    // XEP-0191 §3.3; RFC 6121 §3.1.3: the request waits until it is answered.
    let mut house = House::new();
    let romeo = house.available("romeo@capulet.lit/orchard");
    let juliet = house.online("juliet@capulet.lit/balcony");
    house.send(romeo, "<presence to='juliet@capulet.lit' type='subscribe'/>");
    list(&mut house, juliet, "block", ROMEO);
    assert_eq!(heard(&house.send(juliet, "<presence/>"), juliet), ["balcony available"]);
    house.send(juliet, "<presence type='unavailable'/>");
    list(&mut house, juliet, "unblock", ROMEO);
    assert_eq!(heard(&house.send(juliet, "<presence/>"), juliet), ["balcony available", " subscribe"]);
}

#[test]
fn who_was_shown_presence_and_blocked_hears_once_that_it_went() {
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    let orchard = house.available("romeo@capulet.lit/orchard");
    for (to, entry) in [
        (ROMEO, ROMEO),
        ("romeo@capulet.lit/orchard", ROMEO),
        ("romeo@capulet.lit/orchard", "romeo@capulet.lit/orchard"),
        (ROMEO, "romeo@capulet.lit/orchard"),
        (ROMEO, "capulet.lit"),
    ] {
        house.send(juliet, &format!("<presence to='{to}'/>"));
        let out = list(&mut house, juliet, "block", entry);
        assert_eq!(heard(&out, orchard), ["balcony unavailable"], "{to} {entry}");
        assert_eq!(heard(&house.send(juliet, "<presence type='unavailable'/>"), orchard), NOTHING, "{to} {entry}");
        list(&mut house, juliet, "unblock", entry);
        house.send(juliet, "<presence/>");
    }
}

#[test]
fn nobody_is_told_twice_that_a_session_went() {
    // RFC 6121 §4.6.3: directed presence before initial presence, to a subscriber and to oneself.
    let mut house = House::new();
    let juliet = house.online("juliet@capulet.lit/balcony");
    let chamber = house.available("juliet@capulet.lit/chamber");
    let orchard = house.available("romeo@capulet.lit/orchard");
    house.subscribe(JULIET, ROMEO);
    for to in [ROMEO, "romeo@capulet.lit/orchard", JULIET, "juliet@capulet.lit/chamber"] {
        house.send(juliet, &format!("<presence to='{to}'/>"));
    }
    house.send(juliet, "<presence/>");
    house.send(juliet, "<presence to='juliet@capulet.lit/chamber'/>");
    let out = house.send(juliet, "<presence type='unavailable'/>");
    assert_eq!(heard(&out, orchard), ["balcony unavailable"]);
    assert_eq!(heard(&out, chamber), ["balcony unavailable"]);
}

#[test]
fn a_connected_resource_that_was_shown_presence_hears_that_it_went() {
    // Broadcasts reach available resources only.
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    let orchard = house.online("romeo@capulet.lit/orchard");
    house.subscribe(JULIET, ROMEO);
    house.send(juliet, "<presence to='romeo@capulet.lit/orchard'/>");
    assert_eq!(heard(&house.send(juliet, "<presence type='unavailable'/>"), orchard), ["balcony unavailable"]);
}

#[test]
fn who_left_is_told_no_more() {
    // RFC 6121 §4.6.1, at the end.
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    let orchard = house.available("romeo@capulet.lit/orchard");
    house.send(juliet, "<presence to='romeo@capulet.lit/orchard'/>");
    house.send(orchard, "<presence to='juliet@capulet.lit/balcony' type='unavailable'/>");
    assert_eq!(heard(&house.send(juliet, "<presence type='unavailable'/>"), orchard), NOTHING);
}

#[test]
fn one_address_too_many_makes_the_longest_unheard_hear_the_end() {
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    let first = house.available("romeo@capulet.lit/first");
    let second = house.available("romeo@capulet.lit/second");
    for resource in ["first", "second", "first"] {
        house.send(juliet, &format!("<presence to='romeo@capulet.lit/{resource}'/>"));
    }
    for n in 2..limits::DIRECTED_MAX {
        let out = house.send(juliet, &format!("<presence to='romeo@capulet.lit/{n}'/>"));
        assert_eq!((heard(&out, first), heard(&out, second)), (vec![], vec![]), "{n}");
    }
    let out = house.send(juliet, "<presence to='romeo@capulet.lit/more'/>");
    assert_eq!((heard(&out, first), heard(&out, second)), (vec![], vec!["balcony unavailable".to_owned()]));
    let out = house.send(juliet, "<presence type='unavailable'/>");
    assert_eq!((heard(&out, first), heard(&out, second)), (vec!["balcony unavailable".to_owned()], vec![]));
}

fn probe(house: &mut House, from: SessionId, to: &str) -> Vec<String> {
    let out = house.send(from, &format!("<presence type='probe' to='{to}' id='p'/>"));
    to_session(&out, from).into_iter().map(|(_, xml)| xml).collect()
}

#[test]
fn a_probe_of_one_resource_tells_only_whether_it_is_there() {
    // RFC 6121 §4.3.2, at the end, and §4.3.2.1.
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    house.online("juliet@capulet.lit/connected");
    let romeo = house.available("romeo@capulet.lit/orchard");
    house.subscribe(JULIET, ROMEO);
    house.send(juliet, "<presence id='d'><show>dnd</show><status>Speak</status><priority>3</priority></presence>");
    let seen = probe(&mut house, romeo, "juliet@capulet.lit/balcony");
    assert_eq!(seen, ["<presence from='juliet@capulet.lit/balcony' to='romeo@capulet.lit/orchard' id='d'/>"]);
    for away in ["connected", "elsewhere"] {
        let seen = probe(&mut house, romeo, &format!("juliet@capulet.lit/{away}"));
        let gone = format!(
            "<presence from='juliet@capulet.lit/{away}' to='romeo@capulet.lit/orchard' type='unavailable' id='p'/>"
        );
        assert_eq!(seen, [gone]);
    }
    let whole = probe(&mut house, romeo, JULIET);
    assert!(whole.len() == 1 && whole[0].contains("Speak"), "{whole:?}");
}

#[test]
fn a_probe_without_subscription_meets_silence_unless_the_prober_is_known() {
    // RFC 6121 §4.3.2, rule 1, §4.6.6 and §8.1.
    let mut house = House::new();
    let juliet = house.available("juliet@capulet.lit/balcony");
    let romeo = house.available("romeo@capulet.lit/orchard");
    let (juliet_id, romeo_id) = (house.account(JULIET), house.account(ROMEO));
    for to in [JULIET, "juliet@capulet.lit/balcony", "nobody@capulet.lit"] {
        assert_eq!(probe(&mut house, romeo, to), NOTHING, "{to}");
    }
    house.send(juliet, "<presence to='romeo@capulet.lit/orchard'><show>dnd</show></presence>");
    let seen = probe(&mut house, romeo, "juliet@capulet.lit/balcony");
    assert_eq!(seen, ["<presence from='juliet@capulet.lit/balcony' to='romeo@capulet.lit/orchard'/>"]);
    // His roster says what hers does not: he is told, and his roster is mended.
    let mut item = roster::RosterItem::default();
    let mut ctx = house.ctx();
    roster::put(&mut ctx.store(), juliet_id, ROMEO, item.clone());
    item.state.to = true;
    roster::put(&mut ctx.store(), romeo_id, JULIET, item);
    house.core.sessions.session_mut(romeo).unwrap().interested = true;
    let seen = probe(&mut house, romeo, JULIET);
    let denied = "<presence from='juliet@capulet.lit' to='romeo@capulet.lit' type='unsubscribed' id='p'/>";
    assert!(seen[0] == denied && seen[1].contains("subscription='none'"), "{seen:?}");
}
