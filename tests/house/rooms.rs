//! Rooms from the front door: who does not read what is said there.

use lampone::limits;

use crate::stage::{player::Player, world::World};

const ROOM: &str = "coven@rooms.capulet.lit";

fn enter(player: &mut Player, world: &mut World, nick: &str) {
    player.send(world, &format!("<presence to='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
    player.elements(world);
}

#[test]
fn whoever_does_not_read_slows_nobody_in_a_room_and_goes() {
    let mut world = World::new(&["romeo", "juliet", "nurse"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut nurse = Player::online(&mut world, "nurse", "kitchen");
    let mut juliet = Player::sign_in(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<presence/>");
    enter(&mut romeo, &mut world, "romeo");
    let query = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>";
    romeo.send(&mut world, &format!("<iq type='set' id='c' to='{ROOM}'>{query}</iq>"));
    enter(&mut nurse, &mut world, "nurse");
    enter(&mut juliet, &mut world, "juliet");
    romeo.elements(&mut world);
    nurse.elements(&mut world);
    world.stall(juliet.conn, true);
    let body = "x".repeat(20_000);
    let many = limits::OUTBOX_BYTES_CAP / body.len() + 10;
    let mut heard = 0;
    for _ in 0..many {
        romeo.send(&mut world, &format!("<message type='groupchat' to='{ROOM}'><body>{body}</body></message>"));
        world.drive();
        assert!(!world.is_paused(romeo.conn), "romeo waits for nobody");
        romeo.elements(&mut world);
        heard += nurse.elements(&mut world).iter().filter(|e| e.find("body").is_some()).count();
    }
    assert_eq!(heard, many);
    assert!(!world.is_open(juliet.conn), "she is cut off at her bound");
    let items = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    romeo.send(&mut world, &format!("<iq type='get' id='who' to='{ROOM}'>{items}</iq>"));
    let answer = romeo.elements(&mut world).into_iter().find(|e| e.get("id") == Some("who")).unwrap();
    assert_eq!(answer.find("query").unwrap().children().count(), 2, "and is not there any more: {answer}");
}

#[test]
fn who_is_in_a_room_hears_of_a_shutdown_before_the_stream_ends() {
    // XEP-0045 §11.2.
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    enter(&mut romeo, &mut world, "romeo");
    world.turn(lampone::router::event::Event::Shutdown);
    world.drive();
    let got = romeo.elements(&mut world);
    let told = got.iter().find(|e| e.name == "presence").expect("a presence").to_string();
    assert!(told.contains("332") && told.contains("110") && told.contains("unavailable"), "{told}");
    world.drive();
    assert!(world.stopped);
}

#[test]
fn a_nickname_of_10_mb_ends_the_stream_it_came_on_and_nothing_else() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    enter(&mut romeo, &mut world, "romeo");
    let nick = "n".repeat(10 * 1024 * 1024);
    juliet.send(
        &mut world,
        &format!("<presence to='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"),
    );
    assert_eq!(crate::negotiate::ending(&mut juliet, &mut world).as_deref(), Some("policy-violation"));
    // What fits into a tag and into no address.
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let nick = "n".repeat(2_000);
    juliet.send(
        &mut world,
        &format!("<presence to='{ROOM}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"),
    );
    let answer = juliet.element(&mut world);
    assert!(answer.find("error").is_some_and(|error| error.find("jid-malformed").is_some()), "{answer}");
    assert_eq!(romeo.elements(&mut world), [], "nobody in the room hears of it");
}
