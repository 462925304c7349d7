//! From the stream header to sign-in: `src/server/negotiate.rs`.

use lampone::limits;

use crate::stage::{
    Stage,
    player::{Player, header},
    world::World,
    xml::Item,
};

/// The condition of the stream error with which a stream ends, if it has ended.
pub fn ending(player: &mut Player, world: &mut World) -> Option<String> {
    let mut condition = None;
    while let Some(item) = player.next(world) {
        match item {
            Item::Element(error) if error.name == "error" => {
                condition = error.children().next().map(|child| child.name.clone());
            }
            Item::End => assert!(world.is_closed(player.conn), "an ended stream is closed"),
            _ => {}
        }
    }
    condition.filter(|_| world.is_closed(player.conn))
}

fn secured(world: &mut World) -> Player {
    let mut player = Player::connect(world, "romeo", "orchard", true);
    player.open_stream(world);
    player
}

#[test]
fn s1_forbidden_xml_ends_the_stream_before_and_after_sign_in() {
    let forbidden = [
        ("<!DOCTYPE x [<!ENTITY a 'b'>]>", "restricted-xml"),
        ("<!-- c -->", "restricted-xml"),
        ("<?php ?>", "restricted-xml"),
        ("<iq type='get' id='1'>&lol;</iq>", "restricted-xml"),
    ];
    for (xml, condition) in forbidden {
        let mut world = World::new(&["romeo"]);
        let mut before = secured(&mut world);
        before.send(&mut world, xml);
        assert_eq!(ending(&mut before, &mut world).as_deref(), Some(condition), "{xml}");
        let mut after = Player::sign_in(&mut world, "romeo", "orchard");
        after.send(&mut world, xml);
        assert_eq!(ending(&mut after, &mut world).as_deref(), Some(condition), "{xml}");
    }
}

#[test]
fn s1_a_document_type_before_the_header_ends_the_stream() {
    let mut world = World::new(&[]);
    let mut stranger = Player::connect(&mut world, "romeo", "orchard", false);
    stranger.send(&mut world, "<!DOCTYPE stream:stream SYSTEM 'x'>");
    assert_eq!(ending(&mut stranger, &mut world).as_deref(), Some("restricted-xml"));
}

#[test]
fn s5_what_is_not_well_formed_ends_the_stream_and_reaches_nobody() {
    let bad: [&[u8]; 7] = [
        b"<message to='juliet@capulet.lit'><body>\xed\xa0\x80</body></message>",
        b"<message to='juliet@capulet.lit'><body>\xff</body></message>",
        b"<message to='juliet@capulet.lit'><body>&#0;</body></message>",
        b"<message to='juliet@capulet.lit'><body>\xef\xbf\xbe</body></message>",
        b"<message to='juliet@capulet.lit' to='nurse@capulet.lit'><body/></message>",
        b"<message to='juliet@capulet.lit'><p:body/></message>",
        b"<message to='juliet@capulet.lit'><x xmlns:xml='urn:x'/></message>",
    ];
    for xml in bad {
        let mut world = World::new(&["romeo", "juliet"]);
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
        world.put(romeo.conn, xml);
        assert!(ending(&mut romeo, &mut world).is_some(), "{}", String::from_utf8_lossy(xml));
        assert_eq!(juliet.elements(&mut world), [], "{}", String::from_utf8_lossy(xml));
    }
}

#[test]
fn s2_depth_is_bounded() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
    romeo.send(&mut world, &format!("<message>{}", "<x>".repeat(limits::DEPTH_MAX + 1)));
    assert_eq!(ending(&mut romeo, &mut world).as_deref(), Some("policy-violation"));
}

#[test]
fn s3_an_element_before_sign_in_is_small() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = secured(&mut world);
    let long = "A".repeat(limits::PREAUTH_STANZA_BYTES_MAX);
    romeo.send(&mut world, &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{long}"));
    assert_eq!(ending(&mut romeo, &mut world).as_deref(), Some("policy-violation"));
}

#[test]
fn s3_a_stanza_may_be_as_large_as_announced_and_not_larger() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
    let around = "<message to='romeo@capulet.lit/orchard'><body></body></message>".len();
    let body = "x".repeat(limits::STANZA_BYTES_MAX - around);
    romeo.send(&mut world, &format!("<message to='romeo@capulet.lit/orchard'><body>{body}</body></message>"));
    assert_eq!(romeo.element(&mut world).find("body").map(|body| body.text().len()), Some(body.len()));
    romeo.send(&mut world, &format!("<message to='romeo@capulet.lit/orchard'><body>{body}x</body></message>"));
    assert_eq!(ending(&mut romeo, &mut world).as_deref(), Some("policy-violation"));
}

#[test]
fn s3_who_does_not_sign_in_in_time_is_disconnected() {
    let mut world = World::new(&["romeo"]);
    let mut idle = secured(&mut world);
    let mut silent = Player::connect(&mut world, "romeo", "orchard", false);
    let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
    world.advance(limits::PREAUTH_MS_MAX - 1);
    assert!(!world.is_closed(idle.conn) && !world.is_closed(silent.conn));
    world.advance(1);
    assert_eq!(ending(&mut idle, &mut world).as_deref(), Some("connection-timeout"));
    assert_eq!(ending(&mut silent, &mut world).as_deref(), Some("connection-timeout"));
    assert!(romeo.fence(&mut world), "who has signed in stays");
}

#[test]
fn s3_strangers_from_one_household_are_few() {
    let mut world = World::new(&["romeo"]);
    let household = |host: u32| format!("2001:db8::{host:x}").parse().unwrap();
    let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
    for host in 0..limits::PREAUTH_PER_ADDRESS_MAX as u32 {
        world.address = household(host);
        let conn = world.connect(true);
        assert!(!world.is_closed(conn));
    }
    let mut one_more = Player::connect(&mut world, "romeo", "orchard", true);
    assert_eq!(ending(&mut one_more, &mut world).as_deref(), Some("policy-violation"));
    world.address = [192, 0, 2, 9].into();
    let mut elsewhere = Player::sign_in(&mut world, "romeo", "garden");
    assert!(elsewhere.fence(&mut world) && romeo.fence(&mut world));
}

#[test]
fn s6_what_came_in_clear_behind_starttls_is_refused() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::connect(&mut world, "romeo", "orchard", false);
    romeo.open_stream(&mut world);
    romeo.send(
        &mut world,
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    );
    assert_eq!(romeo.element(&mut world).name, "failure");
    assert_eq!(romeo.next(&mut world), Some(Item::End));
    assert!(world.is_closed(romeo.conn));
}

#[test]
fn a_line_end_behind_starttls_is_no_attempt_to_smuggle() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::connect(&mut world, "romeo", "orchard", false);
    romeo.open_stream(&mut world);
    romeo.send(&mut world, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\r\n");
    assert_eq!(romeo.element(&mut world).name, "proceed");
}

#[test]
fn s6_nothing_said_in_clear_counts_under_tls() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::connect(&mut world, "romeo", "orchard", false);
    romeo.start_tls(&mut world);
    // No header yet under TLS.
    romeo.restart();
    romeo.send(&mut world, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHg=</auth>");
    assert!(ending(&mut romeo, &mut world).is_some());
}

#[test]
fn s6_before_tls_there_is_only_starttls() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::connect(&mut world, "romeo", "orchard", false);
    let features = romeo.open_stream(&mut world);
    let names: Vec<_> = features.children().map(|child| child.name.as_str()).collect();
    assert_eq!(names, ["starttls"]);
    romeo.send(&mut world, "<iq type='get' id='r'><query xmlns='jabber:iq:register'/></iq>");
    assert_eq!(ending(&mut romeo, &mut world).as_deref(), Some("not-authorized"));
}

#[test]
fn s6_tls_cannot_be_started_twice() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::connect(&mut world, "romeo", "orchard", false);
    romeo.start_tls(&mut world);
    romeo.open_stream(&mut world);
    romeo.send(&mut world, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert!(ending(&mut romeo, &mut world).is_some());
}

#[test]
fn s8_who_signed_in_at_one_domain_does_not_move_to_another() {
    let config = lampone::config::Config {
        domains: vec!["capulet.lit".into(), "montague.lit".into()],
        ..lampone::config::Config::default()
    };
    let mut world = World::with(config, &["romeo"], 1);
    let mut romeo = Player::connect(&mut world, "romeo", "orchard", true);
    romeo.authenticate(&mut world);
    let mut again = Player::connect(&mut world, "romeo", "orchard", true);
    again.authenticate(&mut world);
    assert!(!world.is_closed(romeo.conn));
    // A header for another domain right after success.
    let mut moving = Player::connect(&mut world, "romeo", "orchard", true);
    moving.open_stream(&mut world);
    moving.send(
        &mut world,
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAGNvcnJlY3QgaG9yc2U=</auth>",
    );
    assert_eq!(moving.element(&mut world).name, "success");
    moving.restart();
    moving.send(&mut world, &header("montague.lit"));
    assert_eq!(ending(&mut moving, &mut world).as_deref(), Some("host-unknown"));
}

#[test]
fn s13_stream_ids_are_long_and_never_the_same() {
    let mut world = World::new(&["romeo"]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut romeo = Player::connect(&mut world, "romeo", "orchard", true);
        romeo.restart();
        romeo.send(&mut world, &header("capulet.lit"));
        let Some(Item::Header(header)) = romeo.next(&mut world) else { panic!("no header") };
        let id = header.get("id").expect("an id").to_owned();
        assert!(id.len() >= 32, "{id}");
        assert!(seen.insert(id));
        world.cut(romeo.conn);
    }
}
