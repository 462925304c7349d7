//! What waits for the disk: `src/server/durable.rs`.

use lampone::limits;

use crate::stage::{
    Stage,
    player::Player,
    world::{PASSWORD, World},
};

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
    romeo.send(&mut world, "<presence/>");
    world.drive();
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
    // Nobody is woken for the move; whatever happens next takes it along.
    talk(&mut world, &mut romeo, "juliet", "3");
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

#[test]
fn an_answer_waits_for_the_writes_of_an_earlier_request_that_it_relies_on() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    world.disk.held = true;
    let block = "<block xmlns='urn:xmpp:blocking'><item jid='tybalt@capulet.lit'/></block>";
    for id in ["first", "again"] {
        romeo.send(&mut world, &format!("<iq type='set' id='{id}'>{block}</iq>"));
        world.drive();
    }
    assert_eq!(romeo.elements(&mut world), []);
    world.disk.refuse_in = Some(0);
    world.disk.held = false;
    let answers = romeo.elements(&mut world);
    let errors = answers.iter().filter(|e| e.name == "iq" && e.get("type") == Some("error"));
    assert_eq!(errors.count(), 2, "{answers:?}");
}

#[test]
fn a_subscription_that_the_disk_refuses_comes_back() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    world.drive();
    world.disk.refuse_in = Some(0);
    romeo.send(&mut world, "<presence type='subscribe' to='juliet@capulet.lit' id='s'/>");
    let answers = romeo.elements(&mut world);
    assert!(answers.iter().any(|p| p.get("id") == Some("s") && p.get("type") == Some("error")), "{answers:?}");
}

#[test]
fn h_waits_for_the_writes_of_another_session_that_a_stanza_relies_on() {
    let mut world = World::new(&["romeo"]);
    let mut phone = Player::online(&mut world, "romeo", "phone");
    let mut desk = Player::online(&mut world, "romeo", "desk");
    world.drive();
    phone.elements(&mut world);
    desk.elements(&mut world);
    world.disk.held = true;
    let block = "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='tybalt@capulet.lit'/></block></iq>";
    phone.send(&mut world, block);
    world.drive();
    desk.send(&mut world, block);
    desk.send(&mut world, "<r xmlns='urn:xmpp:sm:3'/>");
    desk.elements(&mut world);
    assert!(desk.sm.acked < desk.sm.sent, "his list is not on the disk yet");
    world.disk.held = false;
    desk.elements(&mut world);
    assert_eq!(desk.sm.acked, desk.sm.sent);
}

#[test]
fn a_message_before_the_end_of_the_stream_is_returned_if_the_disk_refuses_it() {
    for manages in [false, true] {
        let mut world = World::new(&["romeo", "juliet"]);
        let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
        if manages {
            romeo.manage(&mut world);
        }
        world.drive();
        world.disk.refuse_in = Some(0);
        romeo.send(&mut world, "<message to='juliet@capulet.lit' id='m'><body>?</body></message></stream:stream>");
        let answers = romeo.elements(&mut world);
        assert!(answers.iter().any(|m| m.get("id") == Some("m") && m.get("type") == Some("error")), "{answers:?}");
        assert!(world.is_closed(romeo.conn));
    }
}

const REMOVE: &str = "<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>";

#[test]
fn s15_a_session_that_ends_is_heard_no_more() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    world.drive();
    world.disk.held = true;
    romeo.send(&mut world, REMOVE);
    world.drive();
    for n in 0..3 {
        // Each answer would have to wait for a later batch than the one before.
        romeo.send(&mut world, "<message to='juliet@capulet.lit'><body>still here</body></message>");
        romeo.send(
            &mut world,
            &format!("<iq type='set' id='q{n}'><query xmlns='jabber:iq:private'><v xmlns='urn:v'>{n}</v></query></iq>"),
        );
        world.drive();
    }
    assert_eq!(bodies(&mut world, &mut juliet), [""; 0]);
    world.disk.held = false;
    let last = romeo.elements(&mut world);
    let answers: Vec<_> = last.iter().filter_map(|e| e.get("id")).collect();
    assert_eq!(answers, ["r"], "{last:?}");
    assert!(world.is_closed(romeo.conn));
}

#[test]
fn a_session_stays_if_the_disk_refuses_what_it_was_to_end_for() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    world.drive();
    world.disk.refuse_in = Some(0);
    romeo.send(&mut world, REMOVE);
    let answer = romeo.element(&mut world);
    assert_eq!((answer.get("id"), answer.get("type")), (Some("r"), Some("error")), "{answer}");
    assert!(romeo.fence(&mut world), "he has an account and a session");
}

#[test]
fn s15_nobody_stays_in_an_account_that_the_disk_refused_to_make() {
    let mut world = World::new(&["prince!"]);
    let mut prince = Player::online(&mut world, "prince", "x");
    world.drive();
    let mut make = |world: &mut World, name: &str| {
        let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
        let form = field("FORM_TYPE", "http://jabber.org/protocol/admin")
            + &field("accountjid", &format!("{name}@capulet.lit"))
            + &field("password", PASSWORD)
            + &field("password-verify", PASSWORD);
        prince.send(
            world,
            &format!(
                "<iq type='set' id='{name}' to='capulet.lit'><command xmlns='http://jabber.org/protocol/commands' \
                 node='http://jabber.org/protocol/admin#add-user'><x xmlns='jabber:x:data' type='submit'>{form}</x>\
                 </command></iq>"
            ),
        );
        world.drive();
    };
    world.disk.held = true;
    make(&mut world, "tybalt");
    let mut bound = Player::sign_in(&mut world, "tybalt", "x");
    let mut verified = Player::connect(&mut world, "tybalt", "y", true);
    verified.authenticate(&mut world);
    world.disk.refuse_in = Some(0);
    world.disk.held = false;
    world.drive();
    // Her account may have the number that his had.
    make(&mut world, "juliet");
    for tybalt in [&mut bound, &mut verified] {
        assert_eq!(crate::negotiate::ending(tybalt, &mut world).as_deref(), Some("not-authorized"));
    }
}

#[test]
fn of_a_turn_that_panics_nothing_is_left() {
    // DESIGN §5: its effects and its writes; what stood in the same batch before it stays.
    let mut world = World::new(&["romeo", "juliet", "tybalt"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut tybalt = Player::online(&mut world, "tybalt", "street");
    world.drive();
    romeo.send(&mut world, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    assert!(!romeo.elements(&mut world).is_empty());
    // The disk is slow, so that all of it comes into one batch.
    world.disk.held = true;
    talk(&mut world, &mut tybalt, "juliet", "before");
    // The message is kept and the contact is written down; then the push to his interested session draws a number.
    romeo.send(
        &mut world,
        "<message to='juliet@capulet.lit' type='chat'><body>poison</body></message>\
         <iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='nurse@capulet.lit'/></query></iq>",
    );
    world.turn_with_fault(romeo.conn);
    let last = romeo.elements(&mut world);
    assert!(last.iter().any(|error| error.to_string().contains("internal-server-error")), "{last:?}");
    assert!(!world.is_open(romeo.conn));
    world.disk.held = false;
    talk(&mut world, &mut tybalt, "juliet", "after");
    for is_cut in [false, true] {
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        let said = bodies(&mut world, &mut juliet);
        assert!(said == ["before", "after"] || is_cut && said.is_empty(), "{said:?}");
        let mut romeo = Player::online(&mut world, "romeo", "orchard");
        romeo.send(&mut world, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
        let roster = romeo.elements(&mut world);
        assert!(roster.iter().any(|iq| iq.get("id") == Some("r")), "{roster:?}");
        assert!(!format!("{roster:?}").contains("nurse"), "{roster:?}");
        world.drive();
        world.power_cut();
    }
}

#[test]
fn whoever_is_blocked_stays_blocked_if_the_disk_refuses_to_forget_it() {
    let mut world = World::new(&["romeo", "tybalt"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut tybalt = Player::online(&mut world, "tybalt", "street");
    romeo.send(
        &mut world,
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='tybalt@capulet.lit'/></block></iq>",
    );
    world.drive();
    romeo.elements(&mut world);
    world.disk.refuse_in = Some(0);
    romeo.send(&mut world, "<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>");
    let answers = romeo.elements(&mut world);
    assert!(answers.iter().any(|iq| iq.get("id") == Some("u") && iq.get("type") == Some("error")), "{answers:?}");
    talk(&mut world, &mut tybalt, "romeo", "thou art a villain");
    assert_eq!(bodies(&mut world, &mut romeo), [""; 0]);
}
