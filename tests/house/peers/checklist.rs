//! S19 to S25 of the security checklist, where `hostile.rs` leaves something open: keys across restarts, both directions of
//! one stream, certificates of the wrong name, and what an unreachable domain costs.

use std::collections::BTreeSet;

use lampone::{
    limits,
    proto::identity::PeerCertificate,
    router::event::{DialError, Event},
};

use super::hostile::{Rogue, certificate, header, house, message, names, self_signed, stream_error, typed};
use crate::stage::{
    player::Player,
    world::World,
    xml::{Item, Reader},
};

/// What Juliet writes to somebody elsewhere.
fn to(jid: &str) -> String {
    format!("<message to='{jid}' type='chat'><body>.</body></message>")
}

/// A house whose Juliet has written to `romeo@montague.lit`.
fn waiting_house() -> (World, Player) {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, &to("romeo@montague.lit"));
    world.drive();
    (world, juliet)
}

fn expired(name: &str) -> Option<PeerCertificate> {
    certificate(&[name]).map(|shown| PeerCertificate { trusted: Err("it has expired".into()), ..shown })
}

#[test]
fn s19_the_id_of_a_stream_is_ours_and_nobody_guesses_it() {
    let mut seen = BTreeSet::new();
    for n in 0..limits::PREAUTH_PER_ADDRESS_MAX {
        let mut world = house();
        world.drive();
        for _ in 0..2 {
            let rogue = Rogue::connect(&mut world, self_signed("montague.lit"));
            world.bring(rogue.conn, header("montague.lit", &format!(" id='theirs{n}'")).as_bytes());
            world.drive();
            let mut reader = Reader::new();
            reader.push(&world.take_now(rogue.conn));
            let Some(Item::Header(ours)) = reader.next() else { panic!("a header comes first") };
            let id = ours.get("id").unwrap_or_default().to_owned();
            assert!(id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "128 bits: {id}");
            if n == 0 {
                assert!(seen.insert(id), "an id came twice");
            }
        }
    }
}

#[test]
fn s19_a_key_is_worth_nothing_after_a_restart() {
    let (mut world, _) = waiting_house();
    let mut theirs = Rogue::answer(&mut world, "montague.lit");
    let features = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
    let key = theirs.say(&mut world, features).pop().expect("a claim").text();
    let ask = format!("<db:verify from='montague.lit' to='capulet.lit' id='theirs'>{key}</db:verify>");
    let verdict = |world: &mut World| {
        let (mut asks, _) = Rogue::greet(world, None, "montague.lit");
        typed(&asks.say(world, &ask))
    };
    assert_eq!(verdict(&mut world), ["verify valid"]);
    world.power_fails(1);
    assert_eq!(verdict(&mut world), ["verify invalid"]);
}

#[test]
fn s20_an_answer_of_whom_we_dialed_counts_for_the_domain_that_we_asked_alone() {
    // Both ask us to believe something that we asked another about, or nobody.
    for (from, to, id) in [
        ("montague.lit", "capulet.lit", "never"),
        ("verona.lit", "capulet.lit", "theirs"),
        ("montague.lit", "verona.lit", "theirs"),
        ("capulet.lit", "montague.lit", "theirs"),
    ] {
        let (mut world, mut juliet) = waiting_house();
        let mut theirs = Rogue::answer(&mut world, "montague.lit");
        theirs.say(&mut world, "<stream:features/>");
        let told = format!("<db:verify from='{from}' to='{to}' id='{id}' type='valid'/>");
        let heard = theirs.say(&mut world, &told);
        assert!(stream_error(&heard).is_some() && !world.is_open(theirs.conn), "{told}: {heard:?}");
        assert!(!names(&heard).contains(&"message".to_owned()), "{told}");
        assert_eq!(juliet.elements(&mut world).len(), 0, "it is tried again before anybody is told");
    }
    // The same for what becomes of our own claim.
    for (from, to) in [("verona.lit", "capulet.lit"), ("montague.lit", "pubsub.capulet.lit")] {
        let (mut world, _juliet) = waiting_house();
        let mut theirs = Rogue::answer(&mut world, "montague.lit");
        theirs.say(&mut world, "<stream:features/>");
        let heard = theirs.say(&mut world, &format!("<db:result from='{from}' to='{to}' type='valid'/>"));
        assert!(!names(&heard).contains(&"message".to_owned()), "{from} {to}: {heard:?}");
    }
}

#[test]
fn s22_whom_we_dialed_speaks_for_the_domain_that_we_dialed_alone() {
    // XEP-0288 §2: the same rules for the way back.
    for (stanza, condition) in [
        (message("romeo@montague.lit/x", "juliet@capulet.lit"), None),
        (message("romeo@verona.lit", "juliet@capulet.lit"), Some("invalid-from")),
        (message("romeo@rooms.montague.lit", "juliet@capulet.lit"), Some("invalid-from")),
        (message("juliet@capulet.lit", "juliet@capulet.lit"), Some("invalid-from")),
        (message("romeo@montague.lit", "nurse@verona.lit"), Some("host-unknown")),
        ("<message to='juliet@capulet.lit'><body>.</body></message>".into(), Some("improper-addressing")),
        ("<message from='romeo@montague.lit'><body>.</body></message>".into(), Some("improper-addressing")),
    ] {
        let (mut world, mut juliet) = waiting_house();
        let mut theirs = Rogue::answer(&mut world, "montague.lit");
        theirs.say(&mut world, "<stream:features><bidi xmlns='urn:xmpp:features:bidi'/></stream:features>");
        theirs.say(&mut world, "<db:result from='montague.lit' to='capulet.lit' type='valid'/>");
        let heard = theirs.say(&mut world, &stanza);
        assert_eq!(stream_error(&heard).as_deref(), condition, "{stanza}");
        assert_eq!(juliet.elements(&mut world).len(), usize::from(condition.is_none()), "{stanza}");
    }
    // And nothing before it has accepted us, whatever it offers.
    let (mut world, mut juliet) = waiting_house();
    let mut theirs = Rogue::answer(&mut world, "montague.lit");
    theirs.say(&mut world, "<stream:features><bidi xmlns='urn:xmpp:features:bidi'/></stream:features>");
    let heard = theirs.say(&mut world, &message("romeo@montague.lit", "juliet@capulet.lit"));
    assert_eq!(stream_error(&heard).as_deref(), Some("not-authorized"));
    assert_eq!(juliet.elements(&mut world), []);
}

#[test]
fn s23_an_expired_certificate_leaves_dialback_if_the_settings_allow_that() {
    for strict in [false, true] {
        let mut world = house();
        let mut config = world.config().clone();
        config.federation.require_certificate = strict;
        world.reload(config);
        // They dial us.
        let mut rogue = Rogue::connect(&mut world, expired("montague.lit"));
        let heard = rogue.say(&mut world, &header("montague.lit", ""));
        if strict {
            assert_eq!(stream_error(&heard).as_deref(), Some("policy-violation"));
        } else {
            let features = heard.last().expect("features");
            assert!(features.find("mechanisms").is_none(), "{features}");
            assert!(features.find("dialback").is_some(), "{features}");
            let claim = "<db:result from='montague.lit' to='capulet.lit'>k</db:result>";
            assert_eq!(typed(&rogue.say(&mut world, claim)), [""; 0], "asked first");
            world.dials.clear();
        }
        // We dial them.
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        juliet.send(&mut world, &to("romeo@verona.lit"));
        world.drive();
        let mut theirs = Rogue::answer_with(&mut world, "verona.lit", expired("verona.lit"));
        assert_eq!(world.is_open(theirs.conn), !strict);
        let said =
            theirs.say(&mut world, "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>");
        assert!(!names(&said).contains(&"message".to_owned()));
        assert_eq!(names(&said).contains(&"result".to_owned()), !strict);
    }
}

#[test]
fn s24_the_name_of_a_host_proves_no_domain() {
    // DNS leads from montague.lit to xmpp.hosting.example; whoever writes into DNS chooses that name.
    let host = || certificate(&["xmpp.hosting.example", "_xmpp-server._tcp.montague.lit", "xmpp.montague.lit"]);
    let (mut world, mut juliet) = waiting_house();
    let (_, target) = world.dials.front().expect("a call");
    assert_eq!(target.domain, "montague.lit", "what the adapter asks DNS and TLS for");
    let mut config = world.config().clone();
    config.federation.require_certificate = true;
    world.reload(config);
    let theirs = Rogue::answer_with(&mut world, "montague.lit", host());
    assert!(!world.is_open(theirs.conn), "not used for what waits");
    assert_eq!(juliet.element(&mut world).get("type"), Some("error"));
    // Nor the other way round.
    let mut world = house();
    let (mut rogue, features) = Rogue::greet(&mut world, host(), "montague.lit");
    assert!(features.find("mechanisms").is_none(), "{features}");
    let claim = "<db:result from='montague.lit' to='capulet.lit'>k</db:result>";
    assert_eq!(typed(&rogue.say(&mut world, claim)), [""; 0], "the domain itself is asked");
    // Where DNS leads for one domain is no way to be another: it is that domain which is looked up.
    let (_, target) = world.dials.front().expect("a call");
    assert_eq!(target.domain, "montague.lit");
}

#[test]
fn s25_an_unreachable_domain_is_dialed_once_in_a_while_however_many_write() {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let (mut attempts, mut told) = (Vec::new(), 0);
    for second in 0..1_500 {
        if second < 1_000 {
            juliet.send(&mut world, &to("romeo@montague.lit"));
        }
        world.advance(1_000);
        assert!(world.dials.len() <= 1, "one attempt at a time");
        if let Some((query, _)) = world.dials.pop_front() {
            attempts.push(second);
            world.turn(Event::DialFailed(query, DialError::Timeout));
        }
        let came = juliet.elements(&mut world);
        told += came.iter().filter(|stanza| stanza.get("type") == Some("error")).count();
    }
    let pauses: Vec<_> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.windows(2).all(|pair| pair[1] >= pair[0]), "{pauses:?}");
    assert!(attempts.len() < 14 && *pauses.last().expect("several") * 1_000 >= limits::PEER_PAUSE_MS_MAX, "{pauses:?}");
    assert_eq!(told, 1_000, "what waits has an age: every sender has been told");
}

#[test]
fn s25_a_domain_that_answers_slowly_is_not_dialed_twice() {
    let (mut world, mut juliet) = waiting_house();
    for _ in 0..100 {
        juliet.send(&mut world, &to("romeo@montague.lit"));
        world.advance(100);
    }
    assert_eq!(world.dials.len(), 1);
}

#[test]
fn s25_whom_we_dialed_may_not_take_all_day() {
    // Slow loris the other way round, in each stage up to the first stanza.
    let features = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>";
    for before in ["", features] {
        let (mut world, mut juliet) = waiting_house();
        let mut theirs = Rogue::answer(&mut world, "montague.lit");
        theirs.say(&mut world, before);
        for byte in "<db:result from='montague.lit' to='capulet.lit' type".bytes().cycle().take(60) {
            world.bring(theirs.conn, &[byte]);
            world.advance(1_000);
        }
        assert!(!world.is_open(theirs.conn), "{before}");
        assert_eq!(world.dials.len(), 1, "another attempt");
        // In the end whoever waits is told.
        world.advance(limits::PEER_PATIENCE_MS);
        let (query, _) = world.dials.pop_front().expect("an attempt");
        world.turn(Event::DialFailed(query, DialError::Timeout));
        world.advance(limits::PEER_PATIENCE_MS);
        assert_eq!(juliet.element(&mut world).get("type"), Some("error"));
    }
}
