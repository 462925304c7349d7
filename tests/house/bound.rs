//! Stanzas of a bound session: `src/server/bound.rs`.

use lampone::limits;

use crate::stage::{player::Player, world::World};

#[test]
fn s26_a_sender_may_name_itself_and_nobody_else() {
    let good = ["romeo@capulet.lit/orchard", "romeo@capulet.lit", "ROMEO@Capulet.lit/orchard"];
    let bad = ["juliet@capulet.lit", "romeo@capulet.lit/garden", "capulet.lit", "romeo@montague.lit", "", "@"];
    for from in good {
        let mut world = World::new(&["romeo", "juliet"]);
        let mut romeo = Player::online(&mut world, "romeo", "orchard");
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        romeo.send(&mut world, &format!("<message from='{from}' to='juliet@capulet.lit'><body>?</body></message>"));
        assert_eq!(juliet.element(&mut world).get("from"), Some("romeo@capulet.lit/orchard"));
    }
    for from in bad {
        let mut world = World::new(&["romeo", "juliet"]);
        let mut romeo = Player::online(&mut world, "romeo", "orchard");
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        romeo.send(&mut world, &format!("<message from='{from}' to='juliet@capulet.lit'><body>?</body></message>"));
        assert_eq!(crate::negotiate::ending(&mut romeo, &mut world).as_deref(), Some("invalid-from"), "{from}");
        assert_eq!(juliet.elements(&mut world), []);
    }
}

#[test]
fn s5_what_is_echoed_in_an_error_stays_in_its_attribute() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
    let id = "a&apos;/&gt;&lt;message from=&quot;juliet@capulet.lit&quot;/&gt;";
    romeo.send(&mut world, &format!("<iq type='get' id=\"{id}'\" to='capulet.lit'><x xmlns='urn:x'/></iq>"));
    let answer = romeo.element(&mut world);
    assert_eq!(answer.get("id"), Some("a'/><message from=\"juliet@capulet.lit\"/>'"));
    assert_eq!(romeo.elements(&mut world), []);
}

#[test]
fn s33_requests_that_wait_for_one_account_are_bounded() {
    let names: Vec<String> = (0..limits::PENDING_IN_MAX + 5).map(|n| format!("suitor{n}")).collect();
    let mut accounts: Vec<&str> = names.iter().map(String::as_str).collect();
    accounts.push("juliet");
    let mut world = World::new(&accounts);
    for name in &names {
        let mut suitor = Player::sign_in(&mut world, name, "x");
        suitor.send(&mut world, "<presence type='subscribe' to='juliet@capulet.lit'/>");
        suitor.sign_out(&mut world);
        world.drive();
    }
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let asked = juliet.elements(&mut world).iter().filter(|p| p.get("type") == Some("subscribe")).count();
    assert_eq!(asked, limits::PENDING_IN_MAX);
}

#[test]
fn s17b_an_admin_is_a_whole_address() {
    let config = lampone::config::Config {
        domains: vec!["capulet.lit".into()],
        admins: vec!["romeo@montague.lit".into()],
        ..lampone::config::Config::default()
    };
    let mut world = World::with(config, &["romeo", "prince!"], 1);
    let command = "<iq type='set' id='c' to='capulet.lit'><command xmlns='http://jabber.org/protocol/commands' \
                   node='http://jabber.org/protocol/admin#add-user'/></iq>";
    for (name, may) in [("romeo", false), ("prince", true)] {
        let mut player = Player::sign_in(&mut world, name, "x");
        player.send(&mut world, command);
        let answer = player.element(&mut world);
        assert_eq!(answer.get("type") == Some("result"), may, "{answer}");
    }
}

#[test]
fn s34_every_request_has_exactly_one_answer() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
    let payloads = [
        "<ping xmlns='urn:xmpp:ping'/>",
        "<query xmlns='jabber:iq:roster'/>",
        "<query xmlns='jabber:iq:private'/>",
        "<vCard xmlns='vcard-temp'/>",
        "<query xmlns='http://jabber.org/protocol/disco#info'/>",
        "<query xmlns='http://jabber.org/protocol/disco#items'/>",
        "<query xmlns='jabber:iq:last'/>",
        "<query xmlns='jabber:iq:version'/>",
        "<query xmlns='jabber:iq:register'/>",
        "<time xmlns='urn:xmpp:time'/>",
        "<blocklist xmlns='urn:xmpp:blocking'/>",
        "<block xmlns='urn:xmpp:blocking'/>",
        "<unblock xmlns='urn:xmpp:blocking'/>",
        "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>",
        "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>",
        "<command xmlns='http://jabber.org/protocol/commands' node='?'/>",
        "<what xmlns='urn:what'/>",
    ];
    let targets =
        ["", "capulet.lit", "romeo@capulet.lit", "juliet@capulet.lit", "juliet@capulet.lit/x", "capulet.lit/x"];
    for ty in ["get", "set"] {
        for payload in payloads {
            for to in targets {
                let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
                romeo.send(&mut world, &format!("<iq type='{ty}' id='q'{to}>{payload}</iq>"));
                let answers = romeo.elements(&mut world);
                let answers = answers.iter().filter(|e| e.name == "iq" && e.get("id") == Some("q"));
                assert_eq!(answers.count(), 1, "{ty} {payload}{to}");
            }
        }
    }
}

#[test]
fn s34_results_and_errors_are_never_answered() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
    for to in ["", "to='capulet.lit'", "to='juliet@capulet.lit'", "to='juliet@capulet.lit/x'", "to='x@y.example'"] {
        for ty in ["result", "error"] {
            romeo.send(&mut world, &format!("<iq type='{ty}' id='q' {to}/>"));
            romeo.send(&mut world, &format!("<message type='error' id='q' {to}/>"));
            romeo.send(&mut world, &format!("<presence type='error' id='q' {to}/>"));
        }
    }
    assert_eq!(romeo.elements(&mut world), []);
}
