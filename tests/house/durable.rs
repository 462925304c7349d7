//! What waits for the disk: `src/server/durable.rs`.

use lampone::limits;

use crate::stage::{Stage, player::Player, world::World};

fn talk(world: &mut World, from: &mut Player, to: &str, body: &str) {
    from.send(world, &format!("<message to='{to}@capulet.lit' type='chat'><body>{body}</body></message>"));
    world.drive();
}

fn bodies(world: &mut World, player: &mut Player) -> Vec<String> {
    player.elements(world).iter().filter_map(|m| Some(m.find("body")?.text())).collect()
}

#[test]
fn nothing_is_lost_when_the_database_refuses_a_layer_and_takes_the_next() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    talk(&mut world, &mut romeo, "juliet", "1");
    world.disk.fail_flush_in = Some(0);
    world.advance(limits::OVERLAY_MS_MAX);
    talk(&mut world, &mut romeo, "juliet", "2");
    world.advance(2 * limits::OVERLAY_MS_MAX);
    world.power_cut();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    assert_eq!(bodies(&mut world, &mut juliet), ["1", "2"]);
}

#[test]
fn the_database_is_tried_again_after_a_write_was_refused() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    talk(&mut world, &mut romeo, "juliet", "1");
    world.disk.refuse_in = Some(0);
    talk(&mut world, &mut romeo, "juliet", "2");
    world.advance(5 * limits::OVERLAY_MS_MAX);
    let kept = world.disk.view.rows.values().filter(|row| row.windows(14).any(|w| w == b"<body>1</body>"));
    assert_eq!(kept.count(), 1, "the layer reached the database");
}

#[test]
fn what_was_received_does_not_come_again_because_the_disk_refused() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    talk(&mut world, &mut romeo, "juliet", "1");
    assert_eq!(bodies(&mut world, &mut juliet), ["1"]);
    world.disk.refuse_in = Some(0);
    talk(&mut world, &mut romeo, "juliet", "2");
    bodies(&mut world, &mut juliet);
    juliet.send(&mut world, "<presence type='unavailable'/><presence/>");
    assert_eq!(bodies(&mut world, &mut juliet), [""; 0]);
}

#[test]
fn messages_keep_their_order_through_a_restart_with_an_earlier_clock() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    talk(&mut world, &mut romeo, "juliet", "1");
    world.wall_us -= 86_400_000_000;
    world.power_cut();
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    talk(&mut world, &mut romeo, "juliet", "2");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    assert_eq!(bodies(&mut world, &mut juliet), ["1", "2"]);
}

#[test]
fn one_flush_of_the_disk_serves_all_who_wrote_at_once() {
    let mut world = World::new(&["romeo", "tybalt", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut tybalt = Player::online(&mut world, "tybalt", "street");
    world.drive();
    let before = world.disk.commits;
    for player in [&mut romeo, &mut tybalt] {
        player.send(&mut world, "<message to='juliet@capulet.lit' type='chat'><body>.</body></message>");
    }
    world.drive();
    assert_eq!(world.disk.commits - before, 1);
}
