//! Binding, resumption, hibernation: `src/server/bind.rs`.

use lampone::limits;

use crate::stage::{Stage, player::Player, world::World};

#[test]
fn a_resumption_tells_the_h_that_was_counted_and_waits_for_the_disk_with_it() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    world.disk.held = true;
    romeo.send(&mut world, "<message to='juliet@capulet.lit' type='chat'><body>1</body></message>");
    world.drive();
    world.cut(romeo.conn);
    let mut again = Player::connect(&mut world, "romeo", "orchard", true);
    again.authenticate(&mut world);
    let id = romeo.sm.id.clone().unwrap();
    again.send(&mut world, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{}'/>", romeo.sm.h));
    assert_eq!(again.next(&mut world), None, "a smaller h would make him send the message again");
    world.disk.held = false;
    let resumed = again.element(&mut world);
    assert_eq!((resumed.name.as_str(), resumed.get("h")), ("resumed", Some(&*romeo.sm.sent.to_string())));
}

#[test]
fn s35_sessions_that_wait_are_few() {
    let mut world = World::new(&["romeo"]);
    let mut waiting = Vec::new();
    for n in 0..=limits::HIBERNATIONS_PER_ACCOUNT_MAX {
        let player = Player::online(&mut world, "romeo", &format!("r{n}"));
        world.cut(player.conn);
        world.advance(1);
        waiting.push(player);
    }
    let h = waiting[0].sm.h;
    assert_eq!(waiting[0].resume(&mut world, h).name, "failed", "the oldest gave way");
    let last = waiting.last_mut().unwrap();
    let h = last.sm.h;
    assert_eq!(last.resume(&mut world, h).name, "resumed");
}

#[test]
fn s35_what_waits_for_a_session_is_bounded_and_nothing_is_lost() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    world.cut(juliet.conn);
    let sent = limits::SM_QUEUE_MAX + 10;
    for n in 0..sent {
        romeo.send(&mut world, &format!("<message to='juliet@capulet.lit' type='chat'><body>m{n}</body></message>"));
        world.drive();
    }
    let returned = romeo.elements(&mut world).iter().filter(|m| m.get("type") == Some("error")).count();
    let h = juliet.sm.h;
    assert_eq!(juliet.resume(&mut world, h).name, "failed", "the session ended");
    let mut again = Player::online(&mut world, "juliet", "garden");
    let got = again.elements(&mut world).iter().filter(|m| m.find("body").is_some()).count();
    assert_eq!(got + returned, sent, "delivered or returned");
}

#[test]
fn s37_addresses_are_compared_prepared() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    for to in ["Juliet@CAPULET.lit", "JULIET@capulet.lit/balcony", "\u{ff4a}uliet@capulet.lit"] {
        romeo.send(&mut world, &format!("<message to='{to}' type='chat'><body>{to}</body></message>"));
        assert!(juliet.element(&mut world).find("body").is_some(), "{to}");
    }
    // Resources are opaque: another case is another resource.
    romeo.send(&mut world, "<message to='juliet@capulet.lit/BALCONY'><body>?</body></message>");
    assert_eq!(romeo.element(&mut world).get("type"), Some("error"));
}

#[test]
fn sessions_of_one_account_are_bounded() {
    let mut world = World::new(&["romeo"]);
    for n in 0..limits::SESSIONS_PER_ACCOUNT_MAX {
        Player::sign_in(&mut world, "romeo", &format!("r{n}"));
    }
    let mut one_more = Player::connect(&mut world, "romeo", "more", true);
    one_more.authenticate(&mut world);
    one_more.send(&mut world, "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    let answer = one_more.element(&mut world);
    assert!(answer.find("error").is_some_and(|error| error.find("resource-constraint").is_some()), "{answer}");
}

#[test]
fn large_messages_that_waited_come_in_pieces_that_fit() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    for n in 0..20 {
        let text = "x".repeat(200_000);
        romeo.send(&mut world, &format!("<message to='juliet@capulet.lit' id='m{n}'><body>{text}</body></message>"));
        world.drive();
    }
    for resource in ["managed", "simple"] {
        world.drive();
        let mut juliet = Player::sign_in(&mut world, "juliet", resource);
        if resource == "managed" {
            juliet.manage(&mut world);
        }
        juliet.send(&mut world, "<presence/>");
        // She reads slowly.
        let mut got = 0;
        for _ in 0..200 {
            world.stall(juliet.conn, true);
            world.drive();
            world.stall(juliet.conn, false);
            got += juliet.elements(&mut world).iter().filter(|m| m.find("body").is_some()).count();
        }
        assert_eq!(got, 20, "{resource}");
        juliet.sign_out(&mut world);
        world.drive();
        for n in 0..20 {
            let text = "y".repeat(200_000);
            romeo
                .send(&mut world, &format!("<message to='juliet@capulet.lit' id='n{n}'><body>{text}</body></message>"));
            world.drive();
        }
    }
}

#[test]
fn what_follows_a_resumption_that_waits_for_the_disk_waits_with_it() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    world.disk.held = true;
    romeo.send(&mut world, "<message to='juliet@capulet.lit'><body>1</body></message>");
    world.drive();
    world.cut(romeo.conn);
    let mut again = Player::connect(&mut world, "romeo", "orchard", true);
    again.authenticate(&mut world);
    let message = |n: u32| format!("<message to='juliet@capulet.lit'><body>{n}</body></message>");
    again.sm = romeo.sm.clone();
    let id = romeo.sm.id.clone().unwrap();
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{}'/>", romeo.sm.h);
    again.send(&mut world, &(resume + &message(2) + "<message to='juliet@capu"));
    assert_eq!(again.next(&mut world), None);
    assert!(world.is_paused(again.conn), "he is not read from while he waits");
    world.disk.held = false;
    assert_eq!(again.element(&mut world).name, "resumed");
    again.send(&mut world, "let.lit'><body>3</body></message>");
    again.send(&mut world, "<r xmlns='urn:xmpp:sm:3'/>");
    again.elements(&mut world);
    assert_eq!((again.sm.acked, again.sm.sent), (romeo.sm.sent + 2, romeo.sm.sent + 2));
    let got: Vec<_> = juliet.elements(&mut world).iter().filter_map(|m| Some(m.find("body")?.text())).collect();
    assert_eq!(got, ["1", "2", "3"]);
}

#[test]
fn a_client_that_comes_too_late_hears_how_much_was_handled() {
    let mut world = World::new(&["romeo", "tybalt"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    romeo.send(&mut world, "<presence><show>away</show></presence>");
    romeo.elements(&mut world);
    world.cut(romeo.conn);
    world.advance(3_601_000);
    let id = romeo.sm.id.clone().unwrap();
    let mut thief = Player::connect(&mut world, "tybalt", "x", true);
    thief.authenticate(&mut world);
    thief.send(&mut world, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>"));
    assert_eq!(thief.element(&mut world).get("h"), None, "nobody else's business");
    let h = romeo.sm.h;
    let failed = romeo.resume(&mut world, h);
    assert_eq!((failed.name.as_str(), failed.get("h")), ("failed", Some("3")), "{failed}");
    assert!(failed.find("item-not-found").is_some());
    romeo.bind(&mut world);
}

#[test]
fn resumption_is_promised_only_where_it_can_be_kept() {
    let resumable = |config: lampone::config::Config, enable: &str| {
        let mut world = World::with(config, &["romeo"], 1);
        let mut romeo = Player::sign_in(&mut world, "romeo", "x");
        romeo.send(&mut world, enable);
        romeo.element(&mut world)
    };
    let config = || lampone::config::Config { domains: vec!["capulet.lit".into()], ..Default::default() };
    let enabled = resumable(config(), "<enable xmlns='urn:xmpp:sm:3' resume='1' max='60'/>");
    assert_eq!((enabled.get("resume"), enabled.get("max"), enabled.get("location")), (Some("true"), Some("60"), None));
    // `max` is a positive integer (XEP-0198 §11).
    for max in ["0", "-1", "soon"] {
        let enabled = resumable(config(), &format!("<enable xmlns='urn:xmpp:sm:3' resume='1' max='{max}'/>"));
        assert_eq!(enabled.get("max"), Some("3600"));
    }
    let mut never = config();
    never.retention.resume_s = 0;
    let enabled = resumable(never, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    assert_eq!((enabled.get("resume"), enabled.get("id"), enabled.get("max")), (None, None, None));
    let mut here = config();
    here.listen.location = Some("[2001:db8::1]:5222".into());
    let enabled = resumable(here.clone(), "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    assert_eq!(enabled.get("location"), Some("[2001:db8::1]:5222"));
    let enabled = resumable(here, "<enable xmlns='urn:xmpp:sm:3'/>");
    assert_eq!(enabled.get("location"), None);
}
