//! Streams between servers as nobody means them: cut anywhere, and with anything changed, doubled, left out or moved.

use lampone::router::event::Door;
use proptest::prelude::*;

use super::hostile::{certificate, header, house, message, self_signed};
use crate::stage::{Conn, player::Player, world::World, xml::Tree};

/// What a server says that dials us, in parts. It signs in by certificate, claims another domain, and speaks.
fn calls() -> Vec<String> {
    vec![
        header("montague.lit", ""),
        "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>".into(),
        header("montague.lit", ""),
        "<db:result from='verona.lit' to='capulet.lit'>a key</db:result>".into(),
        "<enable xmlns='urn:xmpp:sm:3' resume='true'/>".into(),
        message("romeo@montague.lit/orchard", "juliet@capulet.lit"),
        "<iq from='montague.lit' to='juliet@capulet.lit' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>".into(),
        "<presence from='romeo@montague.lit' to='juliet@capulet.lit' type='subscribe'/>".into(),
        "<db:verify from='montague.lit' to='capulet.lit' id='any'>a key</db:verify>".into(),
        "<r xmlns='urn:xmpp:sm:3'/>".into(),
        message("romeo@montague.lit", "juliet@capulet.lit/balcony"),
        "</stream:stream>".into(),
    ]
}

/// What one says that we dialed.
fn answers() -> Vec<String> {
    let features = "<bidi xmlns='urn:xmpp:features:bidi'/><dialback xmlns='urn:xmpp:features:dialback'/>\
                    <sm xmlns='urn:xmpp:sm:3'/>";
    vec![
        header("montague.lit", " id='theirs'"),
        format!("<stream:features>{features}</stream:features>"),
        "<db:result from='montague.lit' to='capulet.lit' type='valid'/>".into(),
        "<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>".into(),
        message("romeo@montague.lit/orchard", "juliet@capulet.lit"),
        "<db:verify from='verona.lit' to='capulet.lit' id='any' type='valid'/>".into(),
        "<a xmlns='urn:xmpp:sm:3' h='1'/>".into(),
        message("romeo@montague.lit", "juliet@capulet.lit"),
        "</stream:stream>".into(),
    ]
}

/// A house and its end of a connection on which one of the scripts is said.
fn begin(dialed: bool) -> (World, Player, Conn) {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    if !dialed {
        let conn = world.open(Door::PeerDirectTls([192, 0, 2, 66].into()));
        world.secure_with(conn, certificate(&["montague.lit"]));
        return (world, juliet, conn);
    }
    juliet.send(&mut world, "<message to='romeo@montague.lit' type='chat'><body>.</body></message>");
    world.drive();
    let (query, _) = world.dials.pop_front().expect("a call");
    let conn = world.open(Door::Dialed { query, address: [192, 0, 2, 77].into(), tls: true });
    world.secure_with(conn, self_signed("montague.lit"));
    (world, juliet, conn)
}

/// What Juliet hears and what is answered when these bytes come in pieces of such sizes, again and again.
fn heard(dialed: bool, bytes: &[u8], sizes: &[usize]) -> (Vec<Tree>, Vec<u8>, World) {
    let (mut world, mut juliet, conn) = begin(dialed);
    let (mut answered, mut left) = (Vec::new(), bytes);
    for size in sizes.iter().cycle() {
        let (piece, rest) = left.split_at((*size).min(left.len()));
        world.bring(conn, piece);
        world.drive();
        answered.extend(world.take_now(conn));
        left = rest;
        if left.is_empty() {
            break;
        }
    }
    let heard = juliet.elements(&mut world);
    (heard, answered, world)
}

/// Who is not `montague.lit`, which alone was proved, among those that Juliet hears.
fn strangers(heard: &[Tree]) -> Vec<&Tree> {
    let is_known = |from: &str| {
        let domain = from.split('/').next().and_then(|bare| bare.rsplit('@').next()).unwrap_or_default();
        ["montague.lit", "capulet.lit"].contains(&domain)
    };
    // What the house itself says to her is in its own name and no message.
    let odd = |tree: &&Tree| {
        let from = tree.get("from").unwrap_or("capulet.lit");
        !is_known(from) || tree.name == "message" && tree.get("type") != Some("error") && from.contains("capulet.lit")
    };
    heard.iter().filter(odd).collect()
}

/// What was said, without how much was acknowledged: how much is durable depends on when that is said.
fn uncounted(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let parts = said.split("<a xmlns='urn:xmpp:sm:3' h='");
    parts.map(|part| part.trim_start_matches(|char: char| char.is_ascii_digit())).collect()
}

#[test]
fn a_stream_is_the_same_in_single_bytes_and_all_at_once() {
    for (dialed, mut parts) in [(false, calls()), (true, answers())] {
        parts.retain(|part| !part.starts_with("<r "));
        let bytes = parts.concat();
        for upto in 1..=parts.len() {
            let bytes = &bytes.as_bytes()[..parts[..upto].iter().map(String::len).sum()];
            let (whole, answered, _) = heard(dialed, bytes, &[bytes.len()]);
            let (single, same, _) = heard(dialed, bytes, &[1]);
            assert_eq!(whole, single, "{dialed} {upto}");
            assert_eq!(uncounted(&answered), uncounted(&same), "{dialed} {upto}");
        }
        let (said, ..) = heard(dialed, bytes.as_bytes(), &[1]);
        assert!(said.iter().any(|tree| tree.name == "message"), "it is a session: {said:?}");
    }
}

/// One thing that becomes of a script.
#[derive(Clone, Debug)]
enum Change {
    /// A part is left out.
    Drop(usize),
    /// A part comes again, there.
    Again(usize, usize),
    /// A word becomes another, in one part.
    Word(usize, &'static str, &'static str),
    /// A byte becomes another.
    Byte(usize, u8),
    /// Bytes are left out.
    Gap(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let words =
        prop::sample::select(vec!["montague.lit", "capulet.lit", "from=", "to=", "valid", "'", "<", "jabber:server"]);
    let others = prop::sample::select(vec![
        "verona.lit",
        "rooms.montague.lit",
        "capulet.lit",
        "montague.lit",
        "MONTAGUE.LIT.",
        "",
        "from=",
        "to=",
        "x='y' from=",
        "&#109;ontague.lit",
        "montague.lit\u{0}",
        "jabber:client",
        "invalid",
    ]);
    prop_oneof![
        (0..12usize).prop_map(Change::Drop),
        (0..12usize, 0..12usize).prop_map(|(part, at)| Change::Again(part, at)),
        (0..12usize, words, others).prop_map(|(part, word, other)| Change::Word(part, word, other)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        (any::<usize>(), 1..40usize).prop_map(|(at, length)| Change::Gap(at, length)),
    ]
}

fn changed(mut parts: Vec<String>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let count = parts.len().max(1);
        match change {
            Change::Drop(part) if parts.len() > 1 => drop(parts.remove(part % count)),
            Change::Again(part, at) => parts.insert(at % count, parts[part % count].clone()),
            Change::Word(part, word, other) => parts[part % count] = parts[part % count].replacen(word, other, 1),
            _ => {}
        }
    }
    let mut bytes = parts.concat().into_bytes();
    for change in changes {
        let length = bytes.len().max(1);
        match change {
            Change::Byte(at, byte) => bytes[at % length] = *byte,
            Change::Gap(at, gap) => drop(bytes.drain(at % length..(at % length + gap).min(length))),
            _ => {}
        }
        if bytes.is_empty() {
            bytes.push(b' ');
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_becomes_of_a_session_nobody_speaks_who_was_not_proved(
        dialed in any::<bool>(),
        changes in prop::collection::vec(change(), 1..6),
        sizes in prop::collection::vec(1..300usize, 1..8),
    ) {
        let bytes = changed(if dialed { answers() } else { calls() }, &changes);
        let (heard, _, world) = heard(dialed, &bytes, &sizes);
        let strangers = strangers(&heard);
        prop_assert!(strangers.is_empty(), "{strangers:?} from {}", String::from_utf8_lossy(&bytes));
        world.server.check();
    }
}
