//! What may come in a second, for long: `src/server/pace.rs`. Whoever sends more is read more slowly, and loses nothing.

use lampone::{config::Config, limits};

use super::{
    bodies,
    hostile::{Rogue, header, message, self_signed, typed},
    message as chat,
};
use crate::stage::{
    player::Player,
    street::{OTHER, Street, config},
    world::{DOMAIN, World},
};

/// Messages of a flood: more than the burst of ten a second.
const FLOOD: usize = 600;
/// Milliseconds that pass at once, so that clients answer requests for acknowledgements in time.
const STEP_MS: u64 = 2_000;

fn settings(domain: &str, text: &str) -> Config {
    Config::read(Some(("a", &format!("domain = \"{domain}\"\n{text}"))), &[], config("x.lit")).unwrap()
}

fn house(text: &str) -> World {
    let mut world = World::with(settings(DOMAIN, text), &["romeo", "juliet"], 1);
    world.is_alone = false;
    world
}

fn flood(to: &str) -> String {
    (0..FLOOD).map(|n| chat(to, &n.to_string())).collect()
}

fn numbers() -> Vec<String> {
    (0..FLOOD).map(|n| n.to_string()).collect()
}

#[test]
fn a_client_that_floods_is_read_at_its_pace_and_disturbs_nobody() {
    let mut world = house("limits.client_stanzas = 10");
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    romeo.send(&mut world, &flood(&juliet.jid()));
    world.drive();
    assert!(world.is_paused(romeo.conn));
    let (mut got, mut steps) = (Vec::new(), 0);
    while got.len() < FLOOD {
        let elements = juliet.elements(&mut world);
        got.extend(elements.iter().filter_map(|element| Some(element.find("body")?.text())));
        if steps == 0 {
            let burst = 10 * limits::RATE_BURST_S as usize;
            assert!((burst - 20..=burst).contains(&got.len()), "the burst: {}", got.len());
            assert!(juliet.fence(&mut world), "others are answered at once");
        }
        steps += 1;
        assert!(steps < 100, "{} came", got.len());
        world.advance(STEP_MS);
    }
    assert_eq!(got, numbers());
    let expected = (FLOOD as u64 / 10 - limits::RATE_BURST_S) * 1_000 / STEP_MS;
    assert!(steps + 3 >= expected as usize, "{steps} steps of {STEP_MS} ms instead of {expected}");
    world.advance(60_000);
    assert!(!world.is_paused(romeo.conn) && romeo.fence(&mut world), "it goes on as before");
    world.server.check();
}

#[test]
fn a_client_that_leaves_while_it_is_paused_leaves_nothing_behind() {
    let mut world = house("limits.client_stanzas = 10");
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let before = world.server.deadline();
    romeo.send(&mut world, &flood("romeo@capulet.lit/nowhere"));
    world.drive();
    assert!(world.is_paused(romeo.conn) && world.server.deadline() != before);
    crate::stage::Stage::cut(&mut world, romeo.conn);
    world.advance(60_000);
    world.server.check();
    let mut again = Player::online(&mut world, "romeo", "orchard");
    assert!(again.fence(&mut world));
}

#[test]
fn a_domain_that_floods_is_read_at_its_pace_and_loses_nothing() {
    let people: [&[&str]; 2] = [&["romeo"], &["juliet"]];
    let here = settings(DOMAIN, "limits.peer_stanzas = 10");
    let mut street = Street::with([(here, people[0]), (config(OTHER), people[1])], 1);
    let (mut romeo, mut juliet) = super::lovers(&mut street);
    // She is no stranger.
    romeo.send(&mut street, &chat("juliet@montague.lit", "speak"));
    assert_eq!(bodies(&mut juliet, &mut street), ["speak"]);
    juliet.send(&mut street, &flood("romeo@capulet.lit/orchard"));
    let (mut got, mut steps) = (Vec::new(), 0);
    while got.len() < FLOOD {
        got.extend(bodies(&mut romeo, &mut street));
        steps += 1;
        assert!(steps < 200, "{} came", got.len());
        street.advance(STEP_MS);
    }
    assert_eq!(got, numbers());
    let expected = (FLOOD as u64 / 10 - limits::RATE_BURST_S) * 1_000 / STEP_MS;
    assert!(steps + 3 >= expected as usize, "{steps} steps of {STEP_MS} ms instead of {expected}");
    assert_eq!(juliet.elements(&mut street), [], "nobody is told of anything");
}

#[test]
fn streams_of_one_domain_share_its_pace_and_nobody_else_has_it() {
    let mut world = house("limits.peer_stanzas = 10");
    let stanza = message("romeo@montague.lit", "juliet@capulet.lit");
    let mut first = Rogue::verified(&mut world, "montague.lit");
    let mut second = Rogue::verified(&mut world, "montague.lit");
    let mut other = Rogue::verified(&mut world, "verona.lit");
    first.say(&mut world, &stanza.repeat(10 * limits::RATE_BURST_S as usize + 50));
    assert!(world.is_paused(first.conn) && !world.is_paused(second.conn));
    second.say(&mut world, &stanza);
    assert!(world.is_paused(second.conn), "what one stream used up is gone for the other");
    other.say(&mut world, &stanza.replace("montague", "verona"));
    assert!(!world.is_paused(other.conn));
    world.advance(60_000);
    assert!(!world.is_paused(first.conn) && !world.is_paused(second.conn));
}

#[test]
fn whoever_only_claims_to_be_a_domain_does_not_use_up_its_pace() {
    let mut world = house("limits.peer_bytes = 1000");
    let mut honest = Rogue::verified(&mut world, "montague.lit");
    let (mut liar, _) = Rogue::greet(&mut world, self_signed("montague.lit"), "montague.lit");
    liar.say(&mut world, &" ".repeat(1_000 * (limits::RATE_BURST_S as usize + 5)));
    assert!(world.is_paused(liar.conn) && world.is_open(liar.conn));
    honest.say(&mut world, &message("romeo@montague.lit", "juliet@capulet.lit"));
    assert!(!world.is_paused(honest.conn));
    // It is closed in its time, paused or not.
    world.advance(limits::PREAUTH_MS_MAX + 1);
    assert!(!world.is_open(liar.conn));
}

#[test]
fn a_thousand_stanzas_at_once_are_nothing() {
    let text = "x".repeat(4 * 1024);
    let mut world = house("");
    let mut peer = Rogue::verified(&mut world, "montague.lit");
    let stanza = message("romeo@montague.lit", "nobody@capulet.lit").replace("<body>.", &format!("<body>{text}"));
    for _ in 0..1_000 {
        world.bring(peer.conn, stanza.as_bytes());
    }
    world.drive();
    assert!(!world.is_paused(peer.conn));
    let claim = "<db:verify from='montague.lit' to='capulet.lit' id='any'>k</db:verify>";
    assert_eq!(typed(&peer.say(&mut world, claim)), ["verify invalid"], "all of it was read");
    // And for clients ten times as many.
    let mut world = house("");
    let romeo = Player::online(&mut world, "romeo", "orchard");
    for _ in 0..10 {
        world.bring(romeo.conn, "<presence to='romeo@capulet.lit/none'/>".repeat(1_000).as_bytes());
        world.drive();
        assert!(!world.is_paused(romeo.conn));
    }
}

#[test]
fn a_stream_on_which_nobody_is_known_yet_has_a_pace_too() {
    let mut world = house("limits.peer_bytes = 1000");
    let rogue = Rogue::connect(&mut world, None);
    world.bring(rogue.conn, format!("{}{}", header("montague.lit", ""), " ".repeat(40_000)).as_bytes());
    world.drive();
    assert!(world.is_paused(rogue.conn));
}
