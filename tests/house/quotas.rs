//! What one account may make the house keep, and make others receive.

use lampone::{config::Config, limits};

use crate::stage::{Stage, player::Player, world::World};

fn conditions(player: &mut Player, world: &mut World, condition: &str) -> usize {
    let answers = player.elements(world);
    answers.iter().filter(|e| e.find("error").is_some_and(|error| error.find(condition).is_some())).count()
}

#[test]
fn s33_large_requests_keep_nobody_out() {
    let names: Vec<String> = (0..12).map(|n| format!("suitor{n}")).collect();
    let mut accounts: Vec<&str> = names.iter().map(String::as_str).collect();
    accounts.push("juliet");
    let mut world = World::new(&accounts);
    for name in &names {
        let mut suitor = Player::sign_in(&mut world, name, "x");
        let words = "x".repeat(250_000);
        suitor.send(
            &mut world,
            &format!("<presence type='subscribe' to='juliet@capulet.lit'><status>{words}</status></presence>"),
        );
        assert_eq!(conditions(&mut suitor, &mut world, "policy-violation"), 1);
        suitor.send(&mut world, "<presence type='subscribe' to='juliet@capulet.lit'><status>Hi</status></presence>");
        world.drive();
    }
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let asked = juliet.elements(&mut world).iter().filter(|p| p.get("type") == Some("subscribe")).count();
    assert_eq!(asked, names.len());
    assert!(juliet.fence(&mut world));
}

#[test]
fn a_contact_with_a_large_presence_keeps_nobody_out() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    juliet.send(&mut world, "<presence type='subscribe' to='romeo@capulet.lit'/>");
    world.drive();
    romeo.send(&mut world, "<presence type='subscribed' to='juliet@capulet.lit'/>");
    world.drive();
    juliet.sign_out(&mut world);
    for n in 0..40 {
        let mut other = Player::sign_in(&mut world, "romeo", &format!("r{n}"));
        let words = "x".repeat(100_000);
        other.send(&mut world, &format!("<presence><status>{words}</status></presence>"));
        world.drive();
    }
    let mut juliet = Player::sign_in(&mut world, "juliet", "balcony");
    juliet.manage(&mut world);
    juliet.send(&mut world, "<presence/>");
    assert!(juliet.fence(&mut world));
}

#[test]
fn what_waits_for_the_absent_is_bounded_in_bytes() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let text = "x".repeat(250_000);
    for n in 0..100 {
        romeo.send(&mut world, &format!("<message to='juliet@capulet.lit' id='m{n}'><body>{text}</body></message>"));
        world.drive();
    }
    let returned = conditions(&mut romeo, &mut world, "service-unavailable");
    let kept = 100 - returned;
    assert!((kept - 1) * 250_000 <= limits::OFFLINE_BYTES_MAX && returned > 0, "{kept} kept");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let mut got = 0;
    while let Some(more) = Some(juliet.elements(&mut world).len()).filter(|more| *more > 0) {
        got += more;
    }
    assert_eq!(got, kept);
    juliet.sign_out(&mut world);
    world.advance(2_000);
    romeo.send(&mut world, "<message to='juliet@capulet.lit' id='again'><body>.</body></message>");
    assert_eq!(conditions(&mut romeo, &mut world, "service-unavailable"), 0, "there is room again");
}

#[test]
fn what_waits_for_a_session_that_does_not_come_back_is_bounded_too() {
    let mut config = Config { domains: vec!["capulet.lit".into()], ..Config::default() };
    config.limits.offline_messages = 300;
    let mut world = World::with(config, &["romeo", "juliet"], 1);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut talk = |world: &mut World, count: usize| {
        for _ in 0..count {
            romeo.send(world, "<message to='juliet@capulet.lit' type='chat'><body>.</body></message>");
            world.drive();
        }
        conditions(&mut romeo, world, "service-unavailable")
    };
    assert_eq!(talk(&mut world, 300), 0);
    let mut juliet = Player::sign_in(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<enable xmlns='urn:xmpp:sm:3' resume='true'/><presence/>");
    world.drive();
    world.cut(juliet.conn);
    assert_eq!(talk(&mut world, 200), 200, "she has not fetched what was there before");
}

#[test]
fn a_roster_is_bounded_in_bytes() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let groups: String =
        (0..limits::ROSTER_GROUPS_MAX).map(|n| format!("<group>{n}{}</group>", "x".repeat(1_000))).collect();
    let mut taken = 0;
    for n in 0..20 {
        romeo.send(
            &mut world,
            &format!(
                "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='c{n}@x.example'>{groups}</item>\
                 </query></iq>"
            ),
        );
        taken += 1 - conditions(&mut romeo, &mut world, "resource-constraint");
    }
    assert!(taken > 0 && taken * groups.len() <= 32 * 17 * 20 + limits::ROSTER_BYTES_MAX, "{taken} taken");
    romeo.send(&mut world, "<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>");
    assert!(romeo.elements(&mut world).iter().any(|iq| iq.get("id") == Some("g") && iq.get("type") == Some("result")));
    // A small contact still fits, and a large one can be made smaller.
    for jid in ["small@x.example", "c0@x.example"] {
        romeo.send(
            &mut world,
            &format!("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='{jid}'/></query></iq>"),
        );
        assert_eq!(conditions(&mut romeo, &mut world, "resource-constraint"), 0, "{jid}");
    }
}

#[test]
fn a_block_list_is_bounded_in_bytes() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let long = "x".repeat(1_000);
    let mut refused = 0;
    for n in 0..10 {
        let items: String = (0..50).map(|m| format!("<item jid='{n}-{m}{long}@x.example/{long}'/>")).collect();
        romeo.send(&mut world, &format!("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>{items}</block></iq>"));
        refused += conditions(&mut romeo, &mut world, "resource-constraint");
    }
    assert_eq!(10 - refused, limits::BLOCKED_BYTES_MAX / (50 * 2_000));
}

#[test]
fn s12_a_probe_does_not_tell_which_accounts_exist() {
    let mut world = World::new(&["romeo", "juliet", "tybalt"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(
        &mut world,
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='tybalt@capulet.lit'/></block></iq>",
    );
    let mut tybalt = Player::online(&mut world, "tybalt", "street");
    for name in ["romeo", "juliet", "nobody"] {
        for to in [format!("{name}@capulet.lit"), format!("{name}@capulet.lit/balcony")] {
            tybalt.send(&mut world, &format!("<presence type='probe' to='{to}'/>"));
            assert_eq!(tybalt.elements(&mut world), [], "{to}");
        }
    }
}
