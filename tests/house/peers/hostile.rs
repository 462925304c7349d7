//! Servers that lie: S18 to S25 of the security checklist.

use lampone::{
    config::Config,
    limits,
    proto::identity::{PeerCertificate, PeerName},
    router::event::Door,
};

use crate::stage::{
    Conn,
    player::Player,
    street::config,
    world::World,
    xml::{Item, Reader, Tree},
};

/// The other end of a stream between servers, in the hands of the test.
pub(super) struct Rogue {
    pub conn: Conn,
    pub reader: Reader,
}

pub(super) fn certificate(names: &[&str]) -> Option<PeerCertificate> {
    let names = names.iter().map(|name| PeerName::Dns((*name).into())).collect();
    Some(PeerCertificate { trusted: Ok(()), names, not_after_s: 0 })
}

pub(super) fn self_signed(name: &str) -> Option<PeerCertificate> {
    certificate(&[name]).map(|shown| PeerCertificate { trusted: Err("it is self-signed".into()), ..shown })
}

pub(super) fn house() -> World {
    let mut world = World::with(config("capulet.lit"), &["juliet"], 1);
    world.is_alone = false;
    world
}

pub(super) fn header(from: &str, id: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
         xmlns:db='jabber:server:dialback' version='1.0' from='{from}' to='capulet.lit'{id}>"
    )
}

pub(super) fn message(from: &str, to: &str) -> String {
    format!("<message from='{from}' to='{to}' type='chat'><body>.</body></message>")
}

impl Rogue {
    /// A connection from elsewhere, under TLS.
    pub fn connect(world: &mut World, shown: Option<PeerCertificate>) -> Rogue {
        let conn = world.open(Door::PeerDirectTls([192, 0, 2, 66].into()));
        world.secure_with(conn, shown);
        Rogue { conn, reader: Reader::new() }
    }

    /// The same with its header sent and ours read; what is offered.
    pub fn greet(world: &mut World, shown: Option<PeerCertificate>, from: &str) -> (Rogue, Tree) {
        let mut rogue = Rogue::connect(world, shown);
        let features = rogue.say(world, &header(from, "")).pop().expect("features");
        (rogue, features)
    }

    /// A stream on which `from` is verified by its certificate.
    pub fn verified(world: &mut World, from: &str) -> Rogue {
        let (mut rogue, _) = Rogue::greet(world, certificate(&[from]), from);
        assert_eq!(rogue.sign_in(world), ["success"]);
        rogue.reader = Reader::new();
        rogue.say(world, &header(from, ""));
        rogue
    }

    /// Answers a call of the house for this domain.
    pub fn answer(world: &mut World, domain: &str) -> Rogue {
        Rogue::answer_with(world, domain, self_signed(domain))
    }

    /// The same with another certificate.
    pub fn answer_with(world: &mut World, domain: &str, shown: Option<PeerCertificate>) -> Rogue {
        let (query, target) = world.dials.pop_front().expect("a call");
        assert_eq!(target.domain, domain);
        let conn = world.open(Door::Dialed { query, address: [192, 0, 2, 77].into(), tls: true });
        world.secure_with(conn, shown);
        let mut rogue = Rogue { conn, reader: Reader::new() };
        rogue.say(world, &header(domain, " id='theirs'"));
        rogue
    }

    pub fn sign_in(&mut self, world: &mut World) -> Vec<String> {
        names(&self.say(world, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"))
    }

    /// Sends text; the elements that come.
    pub fn say(&mut self, world: &mut World, text: &str) -> Vec<Tree> {
        world.bring(self.conn, text.as_bytes());
        self.hear(world)
    }

    pub fn hear(&mut self, world: &mut World) -> Vec<Tree> {
        world.drive();
        self.reader.push(&world.take_now(self.conn));
        let items = std::iter::from_fn(|| self.reader.next());
        items.filter_map(|item| if let Item::Element(element) = item { Some(element) } else { None }).collect()
    }
}

pub(super) fn names(elements: &[Tree]) -> Vec<String> {
    elements.iter().map(|element| element.name.clone()).collect()
}

/// The condition of a stream error, if one came.
pub(super) fn stream_error(elements: &[Tree]) -> Option<String> {
    let error = elements.iter().find(|element| element.name == "error")?;
    Some(error.children().next()?.name.clone())
}

pub(super) fn typed(elements: &[Tree]) -> Vec<String> {
    elements.iter().map(|e| format!("{} {}", e.name, e.get("type").unwrap_or_default())).collect()
}

#[test]
fn s22_a_stanza_is_from_who_was_verified_to_one_of_ours() {
    let cases = [
        (message("romeo@montague.lit/x", "juliet@capulet.lit"), None),
        (message("romeo@verona.lit", "juliet@capulet.lit"), Some("invalid-from")),
        (message("romeo@rooms.montague.lit", "juliet@capulet.lit"), Some("invalid-from")),
        (message("juliet@capulet.lit", "juliet@capulet.lit"), Some("invalid-from")),
        (message("capulet.lit", "juliet@capulet.lit"), Some("invalid-from")),
        (message("romeo@montague.lit", "juliet@verona.lit"), Some("host-unknown")),
        (message("romeo@montague.lit", "juliet@chess.capulet.lit"), Some("host-unknown")),
        ("<message to='juliet@capulet.lit'><body>.</body></message>".into(), Some("improper-addressing")),
        ("<message from='romeo@montague.lit'><body>.</body></message>".into(), Some("improper-addressing")),
        (message("@", "juliet@capulet.lit"), Some("improper-addressing")),
        ("<route from='montague.lit' to='capulet.lit'/>".into(), Some("unsupported-stanza-type")),
        ("<x xmlns='urn:x'/>".into(), Some("unsupported-stanza-type")),
    ];
    for (stanza, condition) in cases {
        let mut world = house();
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        let mut rogue = Rogue::verified(&mut world, "montague.lit");
        let answer = rogue.say(&mut world, &stanza);
        assert_eq!(stream_error(&answer).as_deref(), condition, "{stanza}");
        assert_eq!(juliet.elements(&mut world).len(), usize::from(condition.is_none()), "{stanza}");
        assert_eq!(world.is_open(rogue.conn), condition.is_none());
    }
}

#[test]
fn s22_nobody_speaks_before_being_verified() {
    for shown in [certificate(&["montague.lit"]), self_signed("montague.lit"), None] {
        let mut world = house();
        let (mut rogue, _) = Rogue::greet(&mut world, shown, "montague.lit");
        let answer = rogue.say(&mut world, &message("romeo@montague.lit", "juliet@capulet.lit"));
        assert_eq!(stream_error(&answer).as_deref(), Some("not-authorized"));
    }
}

#[test]
fn s23_external_is_offered_to_whom_the_certificate_names_and_to_nobody_else() {
    let offered = |shown: Option<PeerCertificate>| {
        let mut world = house();
        let (mut rogue, features) = Rogue::greet(&mut world, shown, "montague.lit");
        (features.find("mechanisms").is_some(), rogue.sign_in(&mut world))
    };
    assert_eq!(offered(certificate(&["montague.lit"])), (true, vec!["success".to_owned()]));
    for shown in [certificate(&["verona.lit"]), certificate(&[]), self_signed("montague.lit"), None] {
        // XEP-0178 §3, step 10.
        assert_eq!(offered(shown), (false, vec!["failure".to_owned()]));
    }
}

#[test]
fn s23_who_signed_in_as_one_domain_becomes_no_other() {
    let mut world = house();
    let shown = certificate(&["montague.lit", "verona.lit"]);
    let (mut rogue, _) = Rogue::greet(&mut world, shown, "montague.lit");
    let wrong = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>dmVyb25hLmxpdA==</auth>";
    assert_eq!(names(&rogue.say(&mut world, wrong)), ["failure"]);
    let (mut rogue, _) = Rogue::greet(&mut world, certificate(&["montague.lit", "verona.lit"]), "montague.lit");
    assert_eq!(rogue.sign_in(&mut world), ["success"]);
    rogue.reader = Reader::new();
    let answer = rogue.say(&mut world, &header("verona.lit", ""));
    assert_eq!(stream_error(&answer).as_deref(), Some("invalid-from"));
}

#[test]
fn s21_a_claim_is_believed_unasked_only_with_a_certificate() {
    let mut world = house();
    let claim = "<db:result from='montague.lit' to='capulet.lit'>k</db:result>";
    let (mut rogue, _) = Rogue::greet(&mut world, certificate(&["montague.lit"]), "montague.lit");
    assert_eq!(typed(&rogue.say(&mut world, claim)), ["result valid"]);
    let (mut rogue, _) = Rogue::greet(&mut world, certificate(&["verona.lit"]), "montague.lit");
    assert_eq!(typed(&rogue.say(&mut world, claim)), [""; 0], "the domain itself is asked first");
    let mut asked = Rogue::answer(&mut world, "montague.lit");
    let question = asked.say(&mut world, "<stream:features/>").pop().expect("a question");
    assert_eq!((&*question.name, question.text().as_str()), ("verify", "k"));
    let id = question.get("id").unwrap_or_default();
    let answer = format!("<db:verify from='montague.lit' to='capulet.lit' id='{id}' type='invalid'/>");
    asked.say(&mut world, &answer);
    assert_eq!(typed(&rogue.hear(&mut world)), ["result invalid"]);
    assert!(!world.is_open(rogue.conn), "XEP-0220 §2.2.1");
}

#[test]
fn s20_an_answer_counts_where_it_was_asked_for() {
    // Whatever the claimant, or another server, says about a key: only who was asked is believed.
    let mut world = house();
    let (mut rogue, _) = Rogue::greet(&mut world, self_signed("montague.lit"), "montague.lit");
    rogue.say(&mut world, "<db:result from='montague.lit' to='capulet.lit'>k</db:result>");
    let mut asked = Rogue::answer(&mut world, "montague.lit");
    let question = asked.say(&mut world, "<stream:features/>").pop().expect("a question");
    let id = question.get("id").unwrap_or_default().to_owned();
    let told = |from: &str, id: &str| format!("<db:verify from='{from}' to='capulet.lit' id='{id}' type='valid'/>");
    let mut third = Rogue::verified(&mut world, "verona.lit");
    for (rogue, text) in [(&mut third, told("montague.lit", &id)), (&mut rogue, told("montague.lit", &id))] {
        assert!(stream_error(&rogue.say(&mut world, &text)).is_some(), "{text}");
    }
    let wrong = told("montague.lit", "another");
    assert!(stream_error(&asked.say(&mut world, &wrong)).is_some());
    // The claim of a stream that is gone is forgotten; a new one is asked anew.
    world.drive();
    world.server.check();
}

#[test]
fn s20_a_verdict_for_which_nobody_asked_is_nothing() {
    let mut world = house();
    let mut rogue = Rogue::verified(&mut world, "montague.lit");
    let answer = rogue.say(&mut world, "<db:result from='verona.lit' to='capulet.lit' type='valid'/>");
    assert!(stream_error(&answer).is_some(), "{answer:?}");
}

#[test]
fn s19_our_keys_are_ours_for_this_stream_only() {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<message to='romeo@montague.lit' type='chat'><body>.</body></message>");
    world.drive();
    let mut theirs = Rogue::answer(&mut world, "montague.lit");
    let claim = theirs
        .say(&mut world, "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>")
        .pop()
        .expect("a claim");
    let key = claim.text();
    let (mut asks, _) = Rogue::greet(&mut world, None, "montague.lit");
    let mut ask = |from: &str, to: &str, id: &str, key: &str| {
        let text = format!("<db:verify from='{from}' to='{to}' id='{id}'>{key}</db:verify>");
        typed(&asks.say(&mut world, &text)).pop().unwrap_or_default()
    };
    assert_eq!(ask("montague.lit", "capulet.lit", "theirs", &key), "verify valid");
    assert_eq!(ask("montague.lit", "capulet.lit", "other", &key), "verify invalid");
    assert_eq!(ask("verona.lit", "capulet.lit", "theirs", &key), "verify invalid");
    assert_eq!(ask("montague.lit", "pubsub.capulet.lit", "theirs", &key), "verify invalid");
    assert_eq!(ask("montague.lit", "capulet.lit", "theirs", "0"), "verify invalid");
    assert_eq!(ask("montague.lit", "verona.lit", "theirs", &key), "verify error");
}

#[test]
fn claims_have_their_errors() {
    // XEP-0220 §2.4.
    let mut world = house();
    let (mut rogue, _) = Rogue::greet(&mut world, certificate(&["montague.lit"]), "montague.lit");
    let mut claim = |from: &str, to: &str| {
        let text = format!("<db:result from='{from}' to='{to}'>k</db:result>");
        let answer = rogue.say(&mut world, &text).pop().expect("an answer");
        let error = answer.find("error").and_then(|error| error.children().next());
        (answer.get("type").unwrap_or_default().to_owned(), error.map(|c| c.name.clone()).unwrap_or_default())
    };
    assert_eq!(claim("montague.lit", "verona.lit"), ("error".into(), "item-not-found".into()));
    assert_eq!(claim("capulet.lit", "capulet.lit"), ("error".into(), "not-authorized".into()));
    assert_eq!(claim("montague.lit", "capulet.lit"), ("valid".into(), String::new()));
    assert_eq!(claim("montague.lit", "pubsub.capulet.lit"), ("valid".into(), String::new()), "another of ours");
    for n in 0..limits::PEER_CLAIMS_MAX {
        let text = format!("<db:result from='d{n}.lit' to='capulet.lit'>k</db:result>");
        assert!(rogue.say(&mut world, &text).is_empty());
    }
    let one_more = rogue.say(&mut world, "<db:result from='more.lit' to='capulet.lit'>k</db:result>");
    assert_eq!(typed(&one_more), ["result error"]);
}

#[test]
fn without_tls_there_is_nothing_but_tls() {
    let mut world = house();
    let stanza = message("romeo@montague.lit", "juliet@capulet.lit");
    let claim = "<db:result from='montague.lit' to='capulet.lit'>k</db:result>".to_owned();
    for text in [stanza, claim, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>".into()] {
        let conn = world.open(Door::PeerStartTls([192, 0, 2, 66].into()));
        let mut rogue = Rogue { conn, reader: Reader::new() };
        let features = rogue.say(&mut world, &header("montague.lit", "")).pop().expect("features");
        assert_eq!(names(&features.children().cloned().collect::<Vec<_>>()), ["starttls"]);
        assert!(stream_error(&rogue.say(&mut world, &text)).is_some(), "{text}");
    }
    // S6: what comes in clear behind the request is not heard under TLS.
    let conn = world.open(Door::PeerStartTls([192, 0, 2, 66].into()));
    let mut rogue = Rogue { conn, reader: Reader::new() };
    rogue.say(&mut world, &header("montague.lit", ""));
    let smuggled = format!(
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{}{}",
        header("montague.lit", ""),
        "<db:result from='montague.lit' to='capulet.lit'>k</db:result>"
    );
    assert_eq!(names(&rogue.say(&mut world, &smuggled)), ["proceed"]);
    world.secure_with(conn, certificate(&["montague.lit"]));
    rogue.reader = Reader::new();
    assert!(rogue.hear(&mut world).is_empty());
}

#[test]
fn s23_the_settings_say_with_whom() {
    let with = |federation: &str| {
        let config =
            Config::read(Some(("a", &format!("domain = \"capulet.lit\"\n{federation}"))), &[], config("x.lit"));
        let mut world = World::with(config.unwrap(), &["juliet"], 1);
        world.is_alone = false;
        world
    };
    let greeted = |world: &mut World, shown| {
        let mut rogue = Rogue::connect(world, shown);
        stream_error(&rogue.say(world, &header("montague.lit", "")))
    };
    let refused = Some("policy-violation".to_owned());
    for settings in [
        "federation.enabled = false",
        "federation.block = \"montague.lit\"",
        "federation.block = \"lit\"",
        "federation.allow = \"verona.lit\"",
    ] {
        let mut world = with(settings);
        assert_eq!(greeted(&mut world, certificate(&["montague.lit"])), refused, "{settings}");
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        juliet.send(&mut world, "<message to='romeo@montague.lit' type='chat'><body>.</body></message>");
        assert_eq!(juliet.element(&mut world).get("type"), Some("error"), "{settings}");
        assert!(world.dials.is_empty(), "{settings}");
    }
    let mut world = with("federation.require_certificate = true");
    assert_eq!(greeted(&mut world, self_signed("montague.lit")), refused);
    assert_eq!(greeted(&mut world, certificate(&["verona.lit"])), refused);
    assert_eq!(greeted(&mut world, certificate(&["montague.lit"])), None);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<message to='romeo@montague.lit' type='chat'><body>.</body></message>");
    world.drive();
    let (query, _) = world.dials.pop_front().expect("a call");
    let conn = world.open(Door::Dialed { query, address: [192, 0, 2, 77].into(), tls: true });
    world.secure_with(conn, self_signed("montague.lit"));
    assert_eq!(juliet.element(&mut world).get("type"), Some("error"));
    assert!(!world.is_open(conn));
}

#[test]
fn a_block_that_is_reloaded_ends_what_is_there() {
    let mut world = house();
    let rogue = Rogue::verified(&mut world, "montague.lit");
    let mut config = world.config().clone();
    config.federation.block = vec!["montague.lit".into()];
    world.reload(config);
    world.drive();
    assert!(!world.is_open(rogue.conn));
}

#[test]
fn a_stream_that_we_dialed_carries_both_ways_if_the_other_side_offers_it() {
    // XEP-0288.
    for offers in [true, false] {
        let mut world = house();
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        juliet.send(&mut world, "<message to='romeo@montague.lit' type='chat'><body>.</body></message>");
        world.drive();
        let mut theirs = Rogue::answer(&mut world, "montague.lit");
        let bidi = if offers { "<bidi xmlns='urn:xmpp:features:bidi'/>" } else { "" };
        let said = theirs.say(&mut world, &format!("<stream:features>{bidi}</stream:features>"));
        assert_eq!(names(&said), if offers { vec!["bidi", "result"] } else { vec!["result"] });
        let said = theirs.say(&mut world, "<db:result from='montague.lit' to='capulet.lit' type='valid'/>");
        assert_eq!(names(&said), ["message"]);
        for (from, condition) in [("montague.lit", None), ("verona.lit", Some("invalid-from"))] {
            let answer = theirs.say(&mut world, &message(&format!("romeo@{from}"), "juliet@capulet.lit"));
            let condition = if offers { condition } else { Some("not-authorized") };
            assert_eq!(stream_error(&answer).as_deref(), condition, "{from}");
            if !offers {
                break;
            }
        }
        assert_eq!(juliet.elements(&mut world).len(), usize::from(offers));
    }
}

#[test]
fn an_acknowledgement_owed_when_our_stream_broke_does_not_silence_those_after_it() {
    // XEP-0198 §4 and §5, on a stream for both directions.
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<message to='romeo@montague.lit' type='chat'><body>.</body></message>");
    world.drive();
    let up = |world: &mut World, answer: &str| {
        let mut theirs = Rogue::answer(world, "montague.lit");
        let features = "<bidi xmlns='urn:xmpp:features:bidi'/><sm xmlns='urn:xmpp:sm:3'/>";
        theirs.say(world, &format!("<stream:features>{features}</stream:features>"));
        theirs.say(world, "<db:result from='montague.lit' to='capulet.lit' type='valid'/>");
        theirs.say(world, answer);
        theirs
    };
    let asks = "<r xmlns='urn:xmpp:sm:3'/>";
    let mut theirs = up(&mut world, "<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>");
    world.disk.held = true;
    theirs.say(&mut world, &message("romeo@montague.lit", "juliet@capulet.lit"));
    assert_eq!(names(&theirs.say(&mut world, asks)), [""; 0]);
    world.half_close(theirs.conn);
    world.drive();
    world.disk.held = false;
    world.drive();
    world.advance(limits::PEER_REDIAL_MS + 1);
    let mut theirs = up(&mut world, "<resumed xmlns='urn:xmpp:sm:3' previd='x' h='1'/>");
    world.disk.held = true;
    theirs.say(&mut world, &message("romeo@montague.lit", "juliet@capulet.lit"));
    assert_eq!(names(&theirs.say(&mut world, asks)), [""; 0]);
    world.disk.held = false;
    assert_eq!(names(&theirs.hear(&mut world)), ["a"]);
}

#[test]
fn s25_who_trickles_or_floods_before_being_known_is_gone_in_time() {
    let mut world = house();
    let (mut rogue, _) = Rogue::greet(&mut world, self_signed("montague.lit"), "montague.lit");
    let huge = format!("<stream:features>{}</stream:features>", "<x/>".repeat(limits::PREAUTH_STANZA_BYTES_MAX));
    assert!(stream_error(&rogue.say(&mut world, &huge)).is_some());
    // Slow loris: a byte now and then.
    let (rogue, _) = Rogue::greet(&mut world, self_signed("montague.lit"), "montague.lit");
    for byte in "<db:result from='montague.lit' to='capul".bytes() {
        world.bring(rogue.conn, &[byte]);
        world.advance(1_000);
    }
    assert!(!world.is_open(rogue.conn));
    // The same from whom we called.
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<message to='romeo@verona.lit' type='chat'><body>.</body></message>");
    world.drive();
    let mut theirs = Rogue::answer(&mut world, "verona.lit");
    let huge = format!("<stream:features>{}", "<x xmlns='urn:x'/>".repeat(limits::PREAUTH_STANZA_BYTES_MAX));
    theirs.say(&mut world, &huge);
    assert!(!world.is_open(theirs.conn));
}

#[test]
fn s25_a_server_that_never_reads_holds_a_bounded_queue() {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<message to='romeo@montague.lit' type='chat'><body>.</body></message>");
    world.drive();
    let mut theirs = Rogue::answer(&mut world, "montague.lit");
    theirs.say(&mut world, "<stream:features><sm xmlns='urn:xmpp:sm:3'/></stream:features>");
    theirs.say(&mut world, "<db:result from='montague.lit' to='capulet.lit' type='valid'/>");
    theirs.say(&mut world, "<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>");
    for _ in 0..limits::PEER_QUEUE_MAX + limits::PEER_UNACKED_MAX + 10 {
        juliet.send(&mut world, "<message to='romeo@montague.lit' type='chat'><body>.</body></message>");
        world.drive();
    }
    let refused = juliet.elements(&mut world);
    let full = |e: &&Tree| e.find("error").is_some_and(|e| e.find("resource-constraint").is_some());
    assert_eq!(refused.iter().filter(full).count(), 11);
    world.server.check();
    // It is given up in the end, and everybody is told.
    world.advance(limits::ACK_MS_MAX + 1);
    assert!(!world.is_open(theirs.conn));
}

#[test]
fn a_stream_that_breaks_at_any_byte_leaves_nothing_behind() {
    let talk = |rogue: &mut Rogue, world: &mut World, bytes: usize| {
        let script = [
            header("montague.lit", ""),
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>".into(),
            header("montague.lit", ""),
            "<db:result from='verona.lit' to='capulet.lit'>k</db:result>".into(),
            "<enable xmlns='urn:xmpp:sm:3' resume='true'/>".into(),
            message("romeo@montague.lit", "juliet@capulet.lit"),
            "</stream:stream>".into(),
        ];
        let mut left = bytes;
        for part in script {
            let cut = part.len().min(left);
            world.bring(rogue.conn, &part.as_bytes()[..cut]);
            world.drive();
            left -= cut;
            if left == 0 {
                return false;
            }
        }
        true
    };
    let mut world = house();
    for bytes in 1.. {
        let mut rogue = Rogue::connect(&mut world, certificate(&["montague.lit"]));
        let done = talk(&mut rogue, &mut world, bytes);
        world.half_close(rogue.conn);
        world.drive();
        assert!(!world.is_open(rogue.conn));
        world.server.check();
        if done {
            break;
        }
    }
}
