//! Two houses that talk to each other: `src/server/peers`.

mod both_ways;
mod checklist;
mod contacts;
mod cuts;
mod hostile;
mod mutations;
mod pace;
mod rooms;

use lampone::router::event::DialError;

use crate::stage::{
    player::Player,
    street::{OTHER, Street},
};

fn message(to: &str, body: &str) -> String {
    format!("<message type='chat' to='{to}' id='{body}'><body>{body}</body></message>")
}

/// The bodies of the messages that came.
fn bodies(player: &mut Player, street: &mut Street) -> Vec<String> {
    let elements = player.elements(street);
    elements.iter().filter_map(|element| Some(element.find("body")?.text())).collect()
}

/// Romeo in one house and Juliet in the other.
fn lovers(street: &mut Street) -> (Player, Player) {
    (Player::online(street, "romeo", "orchard"), Player::online(street, &format!("juliet@{OTHER}"), "balcony"))
}

#[test]
fn a_message_reaches_the_other_house_and_its_answer_comes_back() {
    for (trusted, direct) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut street = Street::new(&["romeo"], &["juliet"]);
        (street.trusted, street.direct) = (trusted, direct);
        let (mut romeo, mut juliet) = lovers(&mut street);
        romeo.send(&mut street, &message("juliet@montague.lit", "wherefore"));
        let got = juliet.element(&mut street);
        assert_eq!(got.get("from"), Some("romeo@capulet.lit/orchard"), "{trusted} {direct}");
        juliet.send(&mut street, &message("romeo@capulet.lit/orchard", "adieu"));
        assert_eq!(bodies(&mut romeo, &mut street), ["adieu"], "{trusted} {direct}");
    }
}

#[test]
fn the_first_message_to_a_new_domain_takes_few_flights() {
    // On the wire of the message, without TCP, TLS and names: header and features; the certificate, header and stream
    // management ahead (XEP-0305), and all their answers; the message. Nothing goes out before the last of them, so that a cut
    // leaves no message of which nobody knows whether it came. With dialback nothing goes ahead, and the other house asks back
    // on a wire of its own; STARTTLS costs two round trips more.
    for (trusted, direct, expected) in [(true, true, 5), (true, false, 9), (false, true, 7), (false, false, 11)] {
        let mut street = Street::new(&["romeo"], &["juliet"]);
        (street.trusted, street.direct) = (trusted, direct);
        let (mut romeo, mut juliet) = lovers(&mut street);
        romeo.send(&mut street, &message("juliet@montague.lit", "wherefore"));
        let is_said = |street: &Street| street.heard[0].windows(9).any(|said| said == b"wherefore");
        while !is_said(&street) && street.round() {}
        let flights = street.flights.get(&0).map(Vec::len);
        assert_eq!(bodies(&mut juliet, &mut street), ["wherefore"]);
        assert_eq!(flights, Some(expected), "{trusted} {direct}");
    }
}

#[test]
fn whoever_cannot_be_reached_is_told_so() {
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let mut romeo = Player::online(&mut street, "romeo", "orchard");
    romeo.send(&mut street, &message("nurse@nowhere.lit", "1"));
    let error = romeo.element(&mut street);
    assert!(error.find("error").and_then(|e| e.find("remote-server-not-found")).is_some(), "{error}");
    street.away.insert(OTHER.into(), DialError::Timeout);
    romeo.send(&mut street, "<iq type='get' id='v' to='montague.lit'><query xmlns='jabber:iq:version'/></iq>");
    let error = romeo.element(&mut street);
    assert!(error.find("error").and_then(|e| e.find("remote-server-timeout")).is_some(), "{error}");
    romeo.send(&mut street, &message("juliet@montague.lit", "2"));
    assert_eq!(romeo.elements(&mut street), []);
    street.advance(lampone::limits::PEER_PATIENCE_MS + 1);
    let error = romeo.element(&mut street);
    assert!(error.find("error").and_then(|e| e.find("remote-server-timeout")).is_some(), "{error}");
}

#[test]
fn a_server_that_comes_back_in_time_gets_what_waited() {
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = lovers(&mut street);
    street.away.insert(OTHER.into(), DialError::Timeout);
    for n in 0..5 {
        romeo.send(&mut street, &message("juliet@montague.lit", &n.to_string()));
        street.advance(1_000);
    }
    street.away.clear();
    street.advance(60_000);
    assert_eq!(bodies(&mut juliet, &mut street), ["0", "1", "2", "3", "4"]);
    assert_eq!(romeo.elements(&mut street), []);
}

#[test]
fn a_link_that_is_cut_loses_nothing_and_doubles_nothing() {
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = lovers(&mut street);
    let mut sent = Vec::new();
    for n in 0..50 {
        romeo.send(&mut street, &message("juliet@montague.lit", &n.to_string()));
        sent.push(n.to_string());
        for _ in 0..n {
            street.round();
        }
        street.cut_wires();
        street.advance(700);
    }
    street.advance(10_000);
    assert_eq!(bodies(&mut juliet, &mut street), sent);
    assert_eq!(romeo.elements(&mut street), []);
}

#[test]
fn what_was_taken_in_survives_a_power_cut() {
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let mut romeo = Player::online(&mut street, "romeo", "orchard");
    street.away.insert(OTHER.into(), DialError::Timeout);
    romeo.send(&mut street, &message("juliet@montague.lit", "soft"));
    street.drive();
    street.houses[0].power_fails(1);
    street.away.clear();
    let mut juliet = Player::online(&mut street, "juliet@montague.lit", "balcony");
    street.advance(1_000);
    let got = juliet.element(&mut street);
    assert_eq!(got.find("body").map(|body| body.text()).as_deref(), Some("soft"));
    assert!(got.find_ns("delay", "urn:xmpp:delay").is_some(), "{got}");
    street.advance(5_000);
    assert_eq!(juliet.elements(&mut street), []);
}
