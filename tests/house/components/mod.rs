//! Programs that speak for a domain of their own: `src/server/components.rs` (XEP-0114).

mod delegations;
mod privileges;

use lampone::{
    config::{Access, Component, Config},
    limits,
    proto::component::digest,
    router::event::Door,
};

use crate::stage::{
    Conn, Stage,
    player::Player,
    street::{OTHER, Street, config},
    world::World,
    xml::{Item, Reader, Tree},
};

const BRIDGE: &str = "bridge.capulet.lit";
const SECRET: &str = "correct horse battery";

/// The other end of a component's stream, in the hands of the test.
struct Bridge {
    conn: Conn,
    reader: Reader,
    /// Ours, from the header.
    id: String,
    ended: bool,
}

fn settings() -> Config {
    let component = |secret: &str| Component { secret: secret.into(), ..Component::default() };
    let components = [(BRIDGE.into(), component(SECRET)), ("other.example".into(), component("quite another one"))];
    Config { components: components.into(), ..config("capulet.lit") }
}

/// What a bridge to another network is given.
fn privileged() -> Config {
    let mut settings = settings();
    let bridge = settings.components.get_mut(BRIDGE).unwrap();
    (bridge.roster, bridge.message, bridge.presence) = (Access::Both, true, true);
    bridge.iq = [
        ("http://jabber.org/protocol/pubsub".to_owned(), Access::Both),
        ("jabber:iq:version".to_owned(), Access::Get),
        ("jabber:iq:private".to_owned(), Access::Get),
    ]
    .into();
    settings
}

fn house(config: Config) -> World {
    World::with(config, &["juliet", "romeo"], 1)
}

fn header(domain: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept' \
         xmlns:stream='http://etherx.jabber.org/streams' to='{domain}'>"
    )
}

impl Bridge {
    fn connect(world: &mut World) -> Bridge {
        Bridge::connect_from(world, [127, 0, 0, 1])
    }

    fn connect_from(world: &mut World, address: [u8; 4]) -> Bridge {
        let conn = world.open(Door::Component(address.into()));
        Bridge { conn, reader: Reader::new(), id: String::new(), ended: false }
    }

    /// A stream whose header was answered.
    fn open(world: &mut World, domain: &str) -> Bridge {
        let mut bridge = Bridge::connect(world);
        assert_eq!(bridge.say(world, &header(domain)), []);
        bridge
    }

    fn signs_in(world: &mut World, domain: &str, secret: &str) -> (Bridge, Vec<Tree>) {
        Bridge::signs_in_from(world, [127, 0, 0, 1], domain, secret)
    }

    fn signs_in_from(world: &mut World, address: [u8; 4], domain: &str, secret: &str) -> (Bridge, Vec<Tree>) {
        let mut bridge = Bridge::connect_from(world, address);
        assert_eq!(bridge.say(world, &header(domain)), []);
        let handshake = format!("<handshake>{}</handshake>", digest(&bridge.id, secret));
        let got = bridge.say(world, &handshake);
        (bridge, got)
    }

    /// A component that is connected; what it was told of its privileges is taken away.
    fn connected(world: &mut World) -> Bridge {
        let (bridge, got) = Bridge::signs_in(world, BRIDGE, SECRET);
        assert_eq!(got.first().map(|element| &*element.name), Some("handshake"));
        bridge
    }

    fn say(&mut self, world: &mut World, text: &str) -> Vec<Tree> {
        world.bring(self.conn, text.as_bytes());
        self.hear(world)
    }

    fn hear(&mut self, world: &mut World) -> Vec<Tree> {
        world.drive();
        self.reader.push(&world.take_now(self.conn));
        let mut elements = Vec::new();
        while let Some(item) = self.reader.next() {
            match item {
                Item::Header(header) => self.id = header.get("id").unwrap_or_default().to_owned(),
                Item::Element(element) => elements.push(element),
                Item::End => self.ended = true,
            }
        }
        elements
    }
}

fn condition(elements: &[Tree]) -> Option<String> {
    let error = elements.iter().find(|element| element.name == "error")?;
    Some(error.children().next()?.name.clone())
}

fn stanza_error(element: &Tree) -> String {
    let error = element.find("error").unwrap_or_else(|| panic!("{element}"));
    error.children().next().expect("a condition").name.clone()
}

fn message(from: &str, to: &str, body: &str) -> String {
    format!("<message type='chat' id='{body}' from='{from}' to='{to}'><body>{body}</body></message>")
}

fn bodies(elements: &[Tree]) -> Vec<String> {
    elements.iter().filter_map(|element| Some(element.find("body")?.text())).collect()
}

#[test]
fn a_component_that_knows_the_secret_is_let_in() {
    let mut world = house(settings());
    let (bridge, got) = Bridge::signs_in(&mut world, BRIDGE, SECRET);
    assert_eq!((got.len(), &*got[0].name, bridge.ended), (1, "handshake", false));
    let (_, got) = Bridge::signs_in(&mut world, "Other.Example", "quite another one");
    assert_eq!(&*got[0].name, "handshake");
}

#[test]
fn s38_nobody_else_is_let_in() {
    let mut world = house(settings());
    for (domain, secret) in [(BRIDGE, ""), (BRIDGE, "quite another one"), ("other.example", SECRET)] {
        let (bridge, got) = Bridge::signs_in(&mut world, domain, secret);
        assert_eq!((condition(&got).as_deref(), bridge.ended), (Some("not-authorized"), true), "{domain} {secret}");
    }
    for early in [message("x@bridge.capulet.lit", "juliet@capulet.lit", "1"), "<auth/>".into()] {
        let mut bridge = Bridge::open(&mut world, BRIDGE);
        assert_eq!(condition(&bridge.say(&mut world, &early)).as_deref(), Some("not-authorized"), "{early}");
    }
    for domain in ["capulet.lit", "nothing.capulet.lit", "rooms.capulet.lit", "montague.lit"] {
        let mut bridge = Bridge::connect(&mut world);
        let got = bridge.say(&mut world, &header(domain));
        assert_eq!((condition(&got).as_deref(), bridge.ended), (Some("host-unknown"), true), "{domain}");
        // RFC 6120 §4.9.1.1: a header stands before the error.
        assert!(!bridge.id.is_empty());
    }
    let mut client = Bridge::connect(&mut world);
    let got = client.say(&mut world, &header(BRIDGE).replace("jabber:component:accept", "jabber:client"));
    assert_eq!(condition(&got).as_deref(), Some("invalid-namespace"));
}

#[test]
fn s38_whoever_guesses_a_secret_is_not_heard_for_a_while() {
    let mut world = house(settings());
    let guesses = world.config().limits.failures_per_account;
    for _ in 0..guesses {
        let (_, got) = Bridge::signs_in(&mut world, BRIDGE, "guess");
        assert_eq!(condition(&got).as_deref(), Some("not-authorized"));
    }
    // The secret itself is not compared any more; nobody learns that it is the right one.
    for secret in ["guess", SECRET] {
        let (bridge, got) = Bridge::signs_in(&mut world, BRIDGE, secret);
        assert_eq!((condition(&got).as_deref(), bridge.ended), (Some("policy-violation"), true));
    }
    // Another component on the same machine has nothing to do with it, nor has a person.
    let (_, got) = Bridge::signs_in(&mut world, "other.example", "quite another one");
    assert_eq!(&*got[0].name, "handshake");
    world.address = [127, 0, 0, 1].into();
    Player::online(&mut world, "juliet", "balcony");
    world.advance(10 * 60_000);
    Bridge::connected(&mut world);
    // Who was there before is not kept out by others, nor by its own mistakes before new settings.
    world.drive();
    for round in 0..2 {
        for n in 0..guesses {
            let from = if round == 0 { [192, 168, 0, 7] } else { [127, 0, 0, 1] };
            let (_, got) = Bridge::signs_in_from(&mut world, from, BRIDGE, "guess");
            assert_eq!(condition(&got).as_deref(), Some("not-authorized"), "{round} {n}");
        }
        let (_, got) = Bridge::signs_in(&mut world, BRIDGE, SECRET);
        let expected = if round == 0 { "conflict" } else { "policy-violation" };
        assert_eq!(condition(&got).as_deref(), Some(expected), "it is there already, or it is not compared");
    }
    world.reload(settings());
    let (_, got) = Bridge::signs_in(&mut world, BRIDGE, SECRET);
    assert_eq!(condition(&got).as_deref(), Some("conflict"), "heard again");
}

#[test]
fn who_says_nothing_is_not_waited_for() {
    let mut world = house(settings());
    let mut bridge = Bridge::open(&mut world, BRIDGE);
    world.advance(limits::PREAUTH_MS_MAX + 1);
    assert_eq!(condition(&bridge.hear(&mut world)).as_deref(), Some("connection-timeout"));
}

#[test]
fn s38_a_component_speaks_for_its_own_domain_alone() {
    let mut world = house(settings());
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    for (from, to, expected) in [
        ("romeo@capulet.lit", "juliet@capulet.lit", "invalid-from"),
        ("capulet.lit", "juliet@capulet.lit", "invalid-from"),
        ("x@other.example", "juliet@capulet.lit", "invalid-from"),
        ("x@sub.bridge.capulet.lit", "juliet@capulet.lit", "invalid-from"),
        ("", "juliet@capulet.lit", "invalid-from"),
        ("x@bridge.capulet.lit", "", "improper-addressing"),
        ("x@bridge.capulet.lit", "a b@capulet.lit", "improper-addressing"),
    ] {
        let mut bridge = Bridge::connected(&mut world);
        let text = message(from, to, "1").replace(" from=''", "").replace(" to=''", "");
        let got = bridge.say(&mut world, &text);
        assert_eq!((condition(&got).as_deref(), bridge.ended), (Some(expected), true), "{text}");
    }
    assert_eq!(juliet.elements(&mut world), []);
}

#[test]
fn a_second_one_for_the_same_domain_meets_a_conflict() {
    let mut world = house(settings());
    let mut first = Bridge::connected(&mut world);
    let (second, got) = Bridge::signs_in(&mut world, BRIDGE, SECRET);
    assert_eq!((condition(&got).as_deref(), second.ended), (Some("conflict"), true));
    assert_eq!(first.hear(&mut world), []);
    world.cut(first.conn);
    world.drive();
    Bridge::connected(&mut world);
}

#[test]
fn a_message_reaches_the_component_and_its_answer_comes_back() {
    let mut world = house(settings());
    let mut bridge = Bridge::connected(&mut world);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let mut phone = Player::online(&mut world, "juliet", "phone");
    phone.send(&mut world, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    phone.elements(&mut world);
    juliet.elements(&mut world);
    juliet.send(
        &mut world,
        &message("ignored@capulet.lit", "x@bridge.capulet.lit", "wherefore")
            .replace("ignored@capulet.lit", "juliet@capulet.lit"),
    );
    let got = bridge.hear(&mut world);
    assert_eq!(bodies(&got), ["wherefore"]);
    assert_eq!(got[0].get("from"), Some("juliet@capulet.lit/balcony"));
    // The other device has a copy of it.
    assert_eq!(phone.elements(&mut world).len(), 1);
    bridge.say(&mut world, &message("x@bridge.capulet.lit/m", "juliet@capulet.lit", "adieu"));
    assert_eq!(bodies(&juliet.elements(&mut world)), ["adieu"]);
    juliet.send(
        &mut world,
        "<iq type='set' id='a'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'>\
                <field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>\
                <field var='with'><value>x@bridge.capulet.lit</value></field></x></query></iq>",
    );
    let page = juliet.elements(&mut world);
    assert_eq!(page.iter().filter(|element| element.name == "message").count(), 2);
    assert!(!page.iter().any(|element| element.to_string().contains("component:accept")));
}

#[test]
fn whoever_blocks_a_contact_of_a_component_hears_nothing_of_it() {
    let mut world = house(settings());
    let mut bridge = Bridge::connected(&mut world);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(
        &mut world,
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='x@bridge.capulet.lit'/></block></iq>",
    );
    juliet.elements(&mut world);
    bridge.say(&mut world, &message("x@bridge.capulet.lit", "juliet@capulet.lit", "1"));
    assert_eq!(juliet.elements(&mut world), []);
    bridge.say(&mut world, &message("y@bridge.capulet.lit", "juliet@capulet.lit", "2"));
    assert_eq!(bodies(&juliet.elements(&mut world)), ["2"]);
}

#[test]
fn who_writes_to_a_component_that_is_away_is_told() {
    let mut world = house(settings());
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let asks = "<iq type='get' id='v' to='bridge.capulet.lit'><query xmlns='jabber:iq:version'/></iq>";
    for text in [
        &message("juliet@capulet.lit/balcony", "x@bridge.capulet.lit", "1"),
        asks,
        "<presence type='subscribe' to='x@bridge.capulet.lit'/>",
    ] {
        juliet.send(&mut world, text);
        let got = juliet.elements(&mut world);
        let error = got.iter().find(|element| element.get("type") == Some("error")).expect(text);
        assert_eq!(stanza_error(error), "service-unavailable", "{text}");
        assert_eq!(error.find("error").and_then(|error| error.get("type")), Some("wait"), "{text}");
    }
    juliet.send(&mut world, "<presence to='x@bridge.capulet.lit'/>");
    assert_eq!(juliet.elements(&mut world), []);
}

#[test]
fn what_a_component_leaves_behind_is_settled_when_it_goes() {
    let mut world = house(privileged());
    let mut bridge = Bridge::connected(&mut world);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    for from in ["x@bridge.capulet.lit/m", "y@bridge.capulet.lit/m"] {
        bridge.say(&mut world, &format!("<presence from='{from}' to='juliet@capulet.lit'/>"));
    }
    bridge.say(&mut world, "<presence type='unavailable' from='y@bridge.capulet.lit/m' to='juliet@capulet.lit'/>");
    for id in ["1", "2"] {
        let asks = "<query xmlns='jabber:iq:version'/>";
        juliet.send(&mut world, &format!("<iq type='get' id='{id}' to='x@bridge.capulet.lit/m'>{asks}</iq>"));
    }
    assert_eq!(bridge.hear(&mut world).len(), 2);
    let answer = "<iq type='result' id='1' from='x@bridge.capulet.lit/m' to='juliet@capulet.lit/balcony'/>";
    bridge.say(&mut world, answer);
    juliet.elements(&mut world);
    world.cut(bridge.conn);
    let got = juliet.elements(&mut world);
    let heard: Vec<_> = got.iter().map(|e| (e.get("type"), e.get("from"), e.get("id"))).collect();
    let x = Some("x@bridge.capulet.lit/m");
    assert_eq!(heard, [(Some("error"), x, Some("2")), (Some("unavailable"), x, None)]);
    assert_eq!(stanza_error(&got[0]), "service-unavailable");
}

#[test]
fn subscriptions_and_presence_pass_as_between_servers() {
    let mut world = house(settings());
    let mut bridge = Bridge::connected(&mut world);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<presence type='subscribe' to='x@bridge.capulet.lit'/>");
    let got = bridge.hear(&mut world);
    assert_eq!((got[0].get("type"), got[0].get("from")), (Some("subscribe"), Some("juliet@capulet.lit")));
    bridge.say(&mut world, "<presence type='subscribed' from='x@bridge.capulet.lit' to='juliet@capulet.lit'/>");
    bridge.say(&mut world, "<presence from='x@bridge.capulet.lit/m' to='juliet@capulet.lit'/>");
    let got = juliet.elements(&mut world);
    assert!(got.iter().any(|e| e.name == "presence" && e.get("from") == Some("x@bridge.capulet.lit/m")), "{got:?}");
    bridge.say(&mut world, "<presence type='subscribe' from='x@bridge.capulet.lit' to='juliet@capulet.lit'/>");
    juliet.send(&mut world, "<presence type='subscribed' to='x@bridge.capulet.lit'/>");
    let got = bridge.hear(&mut world);
    let types: Vec<_> = got.iter().map(|e| e.get("type").unwrap_or("available")).collect();
    assert_eq!(types, ["subscribed", "available"]);
    // Who comes online asks for those who are elsewhere.
    let _phone = Player::online(&mut world, "juliet", "phone");
    let got = bridge.hear(&mut world);
    assert!(got.iter().any(|e| e.get("type") == Some("probe")), "{got:?}");
    juliet.sign_out(&mut world);
    let got = bridge.hear(&mut world);
    assert!(got.iter().any(|e| e.get("type") == Some("unavailable")), "{got:?}");
}

#[test]
fn requests_pass_and_are_answered_both_ways() {
    let mut world = house(settings());
    let mut bridge = Bridge::connected(&mut world);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<iq type='get' id='1' to='bridge.capulet.lit'><query xmlns='jabber:iq:register'/></iq>");
    let got = bridge.hear(&mut world);
    assert_eq!((got[0].get("type"), got[0].get("from")), (Some("get"), Some("juliet@capulet.lit/balcony")));
    bridge.say(&mut world, "<iq type='result' id='1' from='bridge.capulet.lit' to='juliet@capulet.lit/balcony'/>");
    assert_eq!(juliet.element(&mut world).get("type"), Some("result"));
    let asks = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    juliet.send(&mut world, &format!("<iq type='get' id='2' to='capulet.lit'>{asks}</iq>"));
    let items = juliet.element(&mut world).to_string();
    assert!(items.contains(BRIDGE) && !items.contains("other.example"), "{items}");
    let got = bridge.say(&mut world, &format!("<iq type='get' id='3' from='{BRIDGE}' to='capulet.lit'>{asks}</iq>"));
    assert_eq!((got[0].get("type"), got[0].get("to")), (Some("result"), Some(BRIDGE)));
}

#[test]
fn s34_the_answers_of_a_component_are_never_answered() {
    let mut world = house(settings());
    let mut bridge = Bridge::connected(&mut world);
    for to in [
        "capulet.lit",
        "juliet@capulet.lit",
        "juliet@capulet.lit/gone",
        "nobody@capulet.lit",
        BRIDGE,
        "x@other.example",
    ] {
        for ty in ["result", "error"] {
            let got = bridge.say(&mut world, &format!("<iq type='{ty}' id='1' from='x@{BRIDGE}' to='{to}'/>"));
            let answers = got.iter().filter(|got| got.get("from") != Some(&format!("x@{BRIDGE}"))).count();
            assert_eq!(answers, 0, "{ty} to {to}: {got:?}");
        }
    }
}

#[test]
fn people_elsewhere_can_talk_to_a_component() {
    let mut street = Street::with([(settings(), &["juliet"][..]), (config(OTHER), &["romeo"][..])], 1);
    let mut bridge = Bridge::connected(&mut street.houses[0]);
    let mut romeo = Player::online(&mut street, &format!("romeo@{OTHER}"), "orchard");
    romeo.send(&mut street, &message("romeo@montague.lit/orchard", "x@bridge.capulet.lit", "hark"));
    street.drive();
    let got = bridge.hear(&mut street.houses[0]);
    assert_eq!(bodies(&got), ["hark"]);
    let back = message("x@bridge.capulet.lit", "romeo@montague.lit/orchard", "who goes");
    bridge.say(&mut street.houses[0], &back);
    street.drive();
    assert_eq!(bodies(&romeo.elements(&mut street)), ["who goes"]);
    // Nor does anybody elsewhere speak in its name.
    assert!(street.houses[1].dials.is_empty());
}

#[test]
fn a_component_that_does_not_read_is_dropped_and_nobody_waits_for_it() {
    let mut world = house(settings());
    let mut bridge = Bridge::connected(&mut world);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    world.stall(bridge.conn, true);
    let long = "x".repeat(60_000);
    let mut sent = 0;
    while world.is_open(bridge.conn) {
        sent += long.len();
        assert!(sent < 4 * limits::OUTBOX_BYTES_CAP, "its outbox is bounded");
        juliet.send(&mut world, &format!("<message type='chat' to='x@{BRIDGE}'><body>{long}</body></message>"));
        world.drive();
        world.advance(limits::HELD_BACK_MS_MAX + 1);
    }
    juliet.elements(&mut world);
    juliet.send(&mut world, &message("juliet@capulet.lit/balcony", "romeo@capulet.lit", "still here"));
    assert_eq!(bodies(&romeo.elements(&mut world)), ["still here"]);
    bridge = Bridge::connected(&mut world);
    assert!(!bridge.ended);
}

#[test]
fn new_settings_take_a_component_away_and_tell_the_others_what_they_may() {
    let mut world = house(settings());
    let mut bridge = Bridge::connected(&mut world);
    world.reload(privileged());
    let got = bridge.hear(&mut world);
    assert!(got.iter().any(|element| element.find("privilege").is_some()), "{got:?}");
    world.reload(config("capulet.lit"));
    let got = bridge.hear(&mut world);
    assert_eq!((condition(&got).as_deref(), bridge.ended), (Some("host-gone"), true));
}
