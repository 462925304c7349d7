//! Connections and back-pressure: `src/server/streams.rs`.

use lampone::{limits, router::event::Event};

use crate::stage::{Stage, player::Player, world::World, xml::Item};

fn large(to: &str, n: usize) -> String {
    format!("<message to='{to}' type='chat' id='m{n}'><body>{}</body></message>", "x".repeat(60_000))
}

#[test]
fn who_fills_the_outbox_of_one_who_does_not_read_waits_a_moment_and_no_longer() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let juliet = Player::online(&mut world, "juliet", "balcony");
    world.stall(juliet.conn, true);
    for n in 0..7 {
        romeo.send(&mut world, &large(&juliet.jid(), n));
        world.drive();
    }
    assert!(world.outbox(juliet.conn) > limits::OUTBOX_BYTES_MAX);
    assert!(world.is_paused(romeo.conn), "he is held back");
    world.advance(limits::HELD_BACK_MS_MAX);
    assert!(!world.is_paused(romeo.conn), "for a moment");
    assert!(romeo.fence(&mut world));
}

#[test]
fn one_who_never_reads_is_disconnected_and_loses_nothing() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    world.stall(juliet.conn, true);
    for n in 0..50 {
        romeo.send(&mut world, &large(&juliet.jid(), n));
        world.advance(limits::HELD_BACK_MS_MAX);
        assert!(world.outbox(juliet.conn) <= limits::OUTBOX_BYTES_CAP + 70_000, "her outbox is bounded");
    }
    assert!(!world.is_open(juliet.conn), "her stream is closed");
    let mut again = Player::online(&mut world, "juliet", "garden");
    let mut got = Vec::new();
    // Her first session may still wait for its messages.
    for _ in 0..4_000 {
        got.extend(again.elements(&mut world));
        world.advance(1_000);
    }
    got.extend(juliet.elements(&mut world));
    let ids: std::collections::BTreeSet<_> = got.iter().filter_map(|m| m.get("id").map(str::to_owned)).collect();
    for n in 0..50 {
        assert!(ids.contains(&format!("m{n}")), "m{n} arrives");
    }
}

#[test]
fn a_shutdown_tells_everybody_and_ends_when_all_is_durable() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    world.disk.held = true;
    romeo.send(&mut world, "<message to='juliet@capulet.lit' type='chat'><body>kept</body></message>");
    world.drive();
    world.turn(Event::Shutdown);
    world.drive();
    assert_eq!(crate::negotiate::ending(&mut romeo, &mut world).as_deref(), Some("system-shutdown"));
    assert!(!world.stopped, "not before the disk has it");
    world.disk.held = false;
    world.drive();
    assert!(world.stopped);
    world.power_cut();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let got = juliet.elements(&mut world);
    assert!(got.iter().any(|m| m.find("body").is_some_and(|body| body.text() == "kept")), "{got:?}");
}

#[test]
fn a_shutdown_ends_although_the_database_cannot_grow() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    romeo.send(&mut world, "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='a@b.c'/></query></iq>");
    world.drive();
    world.disk.fail_flush_in = Some(0);
    world.turn(Event::Shutdown);
    world.drive();
    assert!(world.stopped, "the journal has everything");
}

#[test]
fn an_idle_house_sleeps() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    romeo.send(&mut world, "<message to='juliet@capulet.lit/balcony' type='chat'><body>night</body></message>");
    assert!(matches!(juliet.next(&mut world), Some(Item::Element(_))));
    // The overlay moves into the database once, then nothing is due.
    world.advance(10 * 60_000);
    assert_eq!(world.server.deadline(), None);
}
