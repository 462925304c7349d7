//! Tokens instead of passwords as a client sees them: `src/server/token.rs`, XEP-0484.

use base64::{Engine, engine::general_purpose::STANDARD};
use lampone::limits;
use ring::hmac;

use crate::{
    negotiate::ending,
    sasl::{condition, stranger},
    sasl2::{BIND, PHONE, authenticate, instant, text},
    stage::{
        Stage,
        player::{Player, header},
        world::{EXPORTER, PASSWORD, World},
        xml::{Item, Tree},
    },
};

pub const EXPR: &str = "HT-SHA-256-EXPR";
const NONE: &str = "HT-SHA-256-NONE";

pub fn request(mechanism: &str) -> String {
    format!("<request-token xmlns='urn:xmpp:fast:0' mechanism='{mechanism}'/>")
}

fn token_of(success: &Tree) -> Option<String> {
    let token = success.find("token")?;
    assert!(token.get("expiry").is_some_and(|expiry| expiry.ends_with('Z')), "{token}");
    Some(token.get("token")?.to_owned())
}

/// Signs in with the password and gets a token.
pub fn first_token(world: &mut World, mechanism: &str) -> String {
    let (client, success) = instant(world, "romeo", &format!("{PHONE}{}", request(mechanism)));
    world.cut(client.conn);
    token_of(&success).unwrap_or_else(|| panic!("{success}"))
}

fn hashed(token: &str, who: &str, mechanism: &str) -> Vec<u8> {
    let bound: &[u8] = if mechanism == EXPR { &EXPORTER } else { b"" };
    let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
    hmac::sign(&key, &[who.as_bytes(), bound].concat()).as_ref().to_vec()
}

/// `<authenticate/>` with a token; `fast`: attributes of `<fast/>`.
fn proof(name: &str, mechanism: &str, token: &str, fast: &str, wishes: &str) -> String {
    let message = [name.as_bytes(), b"\0", &hashed(token, "Initiator", mechanism)].concat();
    format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'><initial-response>{}</initial-response>\
         <fast xmlns='urn:xmpp:fast:0' {fast}/>{wishes}</authenticate>",
        STANDARD.encode(message)
    )
}

/// One attempt on a new connection; the answer.
fn attempt(world: &mut World, text: &str) -> Tree {
    let mut client = stranger(world);
    client.send(world, text);
    let answer = client.element(world);
    world.cut(client.conn);
    answer
}

pub fn uses(world: &mut World, mechanism: &str, token: &str) -> Tree {
    attempt(world, &proof("romeo", mechanism, token, "", PHONE))
}

/// Time on both clocks.
fn days_pass(world: &mut World, days: u64) {
    world.advance(days * 86_400_000);
}

#[test]
fn a_token_makes_a_session_of_one_flight() {
    // XEP-0484 §1: "within a single round-trip".
    let mut world = World::new(&["romeo", "juliet"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let token = first_token(&mut world, EXPR);
    let mut romeo = Player::connect(&mut world, "romeo", "", true);
    romeo.sm.automatic = true;
    let flight = header("capulet.lit") + &proof("romeo", EXPR, &token, "", &format!("{PHONE}{BIND}"));
    romeo.send(&mut world, &flight);
    // Nothing else is sent before the session stands.
    assert!(matches!(romeo.next(&mut world), Some(Item::Header(_))));
    assert_eq!(romeo.element(&mut world).name, "features");
    let success = romeo.element(&mut world);
    assert_eq!(text(&success, "additional-data"), STANDARD.encode(hashed(&token, "Responder", EXPR)));
    assert!(text(&success, "authorization-identifier").contains("/AwesomeXMPP/"), "{success}");
    assert!(success.find("bound").and_then(|bound| bound.find("enabled")).is_some());
    assert!(success.find("token").is_none(), "it is new");
    assert_eq!(romeo.element(&mut world).name, "features");
    romeo.send(&mut world, "<message to='juliet@capulet.lit' type='chat'><body>Hark!</body></message>");
    assert_eq!(text(&juliet.element(&mut world), "body"), "Hark!");
}

#[test]
fn stanzas_may_follow_in_the_same_flight() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let token = first_token(&mut world, EXPR);
    days_pass(&mut world, 2);
    let mut romeo = Player::connect(&mut world, "romeo", "", true);
    // Its success tells of another token and waits for the disk; what follows waits behind it.
    let flight = header("capulet.lit")
        + &proof("romeo", EXPR, &token, "", &format!("{PHONE}<bind xmlns='urn:xmpp:bind:0'/>"))
        + "<message to='juliet@capulet.lit' type='chat'><body>Hark!</body></message>";
    world.disk.held = true;
    romeo.send(&mut world, &flight);
    world.drive();
    assert_eq!(romeo.elements(&mut world).len(), 1, "features, and no word of the token that is not durable");
    assert!(juliet.elements(&mut world).is_empty());
    world.disk.held = false;
    let success = romeo.element(&mut world);
    assert!(token_of(&success).is_some(), "{success}");
    assert_eq!(text(&juliet.element(&mut world), "body"), "Hark!");
}

#[test]
fn what_was_told_of_a_token_survives_a_power_cut() {
    let mut world = World::new(&["romeo"]);
    let token = first_token(&mut world, EXPR);
    world.power_cut();
    assert_eq!(uses(&mut world, EXPR, &token).name, "success");
    let gone = attempt(&mut world, &proof("romeo", EXPR, &token, "invalidate='true'", PHONE));
    assert_eq!(gone.name, "success");
    world.power_cut();
    assert_eq!(condition(&uses(&mut world, EXPR, &token)), "not-authorized");
}

#[test]
fn a_token_that_the_disk_refuses_is_not_told() {
    let mut world = World::new(&["romeo"]);
    world.drive();
    world.disk.refuse_in = Some(0);
    let (mut client, success) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}{}", request(EXPR)));
    assert!(success.find("token").is_none() && success.find("bound").is_some(), "{success}");
    assert_eq!(client.element(&mut world).name, "features");
    assert!(client.fence(&mut world));
}

#[test]
fn tokens_are_offered_and_given_as_the_stream_allows() {
    // XEP-0484 §3.1 to §3.3.
    let mut world = World::new(&["romeo"]);
    let mut client = Player::connect(&mut world, "romeo", "", true);
    let features = client.open_stream(&mut world);
    let inline = features.find("authentication").and_then(|feature| feature.find("inline")).unwrap();
    let fast = inline.find("fast").unwrap();
    assert!(fast.get("tls-0rtt").is_none());
    let offered: Vec<_> = fast.children().map(Tree::text).collect();
    assert!(offered.contains(&EXPR.to_owned()) && offered.contains(&NONE.to_owned()), "{offered:?}");
    assert!(!offered.iter().any(|name| name.ends_with("UNIQ")), "not defined for TLS 1.3");
    for wishes in [
        request(EXPR),
        format!("{PHONE}{}", request("HT-SHA-256-UNIQ")),
        format!("{PHONE}{}", request("HT-SHA3-512-NONE")),
        PHONE.to_owned(),
    ] {
        let (_, success) = instant(&mut world, "romeo", &wishes);
        assert!(success.find("token").is_none(), "{success}");
    }
    let fails = authenticate("romeo", "wrong", &format!("{PHONE}{}", request(EXPR)));
    assert!(attempt(&mut world, &fails).find("token").is_none());
}

#[test]
fn a_token_is_no_good_elsewhere() {
    // XEP-0484 §3.4: another mechanism; §5.1: another device; and other accounts of the same device.
    let mut world = World::new(&["romeo", "juliet"]);
    let token = first_token(&mut world, EXPR);
    assert_eq!(condition(&uses(&mut world, NONE, &token)), "not-authorized");
    let other = PHONE.replace("d4565fa7", "00000000");
    let answer = attempt(&mut world, &proof("romeo", EXPR, &token, "", &other));
    assert_eq!(condition(&answer), "not-authorized");
    let answer = attempt(&mut world, &proof("juliet", EXPR, &token, "", PHONE));
    assert_eq!(condition(&answer), "not-authorized");
    let unbound = first_token(&mut world, NONE);
    assert_eq!(condition(&uses(&mut world, EXPR, &unbound)), "not-authorized");
    assert_eq!(uses(&mut world, NONE, &unbound).name, "success");
}

#[test]
fn a_token_mechanism_needs_a_device_and_the_word_fast() {
    // XEP-0484 §3.4 and §5.1.
    let mut world = World::new(&["romeo"]);
    let token = first_token(&mut world, EXPR);
    let without_agent = proof("romeo", EXPR, &token, "", "");
    let without_fast = proof("romeo", EXPR, &token, "", PHONE).replace("<fast xmlns='urn:xmpp:fast:0' />", "");
    let without_message = proof("romeo", EXPR, &token, "", PHONE);
    let (start, end) = (without_message.find("<initial").unwrap(), without_message.find("<fast").unwrap());
    let without_message = [&without_message[..start], &without_message[end..]].concat();
    for text in [&without_agent, &without_fast, &without_message] {
        assert_eq!(condition(&attempt(&mut world, text)), "malformed-request", "{text}");
    }
    let mut client = stranger(&mut world);
    let old = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{EXPR}'>=</auth>");
    client.send(&mut world, &old);
    assert_eq!(condition(&client.element(&mut world)), "invalid-mechanism", "S10");
}

#[test]
fn s12_a_stranger_cannot_tell_who_has_a_token() {
    let mut world = World::new(&["romeo", "juliet"]);
    first_token(&mut world, EXPR);
    let other = PHONE.replace("d4565fa7", "00000000");
    let guesses = [("romeo", PHONE), ("romeo", &other), ("juliet", PHONE), ("nobody", PHONE)];
    let answers: Vec<_> =
        guesses.map(|(name, agent)| attempt(&mut world, &proof(name, EXPR, "guess", "", agent)).to_string()).into();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(answers[0].contains("not-authorized"));
}

#[test]
fn s16_guesses_slow_down_the_guesser_and_nobody_else() {
    let mut world = World::new(&["romeo"]);
    let token = first_token(&mut world, EXPR);
    world.address = [198, 51, 100, 7].into();
    let mut answer = attempt(&mut world, &proof("romeo", EXPR, "guess", "", PHONE));
    for _ in 0..200 {
        if condition(&answer) != "not-authorized" {
            break;
        }
        answer = attempt(&mut world, &proof("romeo", EXPR, "guess", "", PHONE));
    }
    assert_eq!(condition(&answer), "temporary-auth-failure");
    world.address = [203, 0, 113, 9].into();
    assert_eq!(uses(&mut world, EXPR, &token).name, "success", "the holder comes from where it was never seen");
}

#[test]
fn an_old_token_is_followed_by_a_new_one_and_good_until_that_is_used() {
    // XEP-0484 §3.5.
    let mut world = World::new(&["romeo"]);
    let old = first_token(&mut world, EXPR);
    assert!(token_of(&uses(&mut world, EXPR, &old)).is_none());
    days_pass(&mut world, 1);
    let lost = token_of(&uses(&mut world, EXPR, &old)).expect("a day is enough");
    let new = token_of(&uses(&mut world, EXPR, &old)).expect("the last one was not used");
    assert_eq!(condition(&uses(&mut world, EXPR, &lost)), "not-authorized");
    assert!(token_of(&uses(&mut world, EXPR, &new)).is_none());
    assert_eq!(condition(&uses(&mut world, EXPR, &old)), "not-authorized");
    assert_eq!(uses(&mut world, EXPR, &new).name, "success");
}

#[test]
fn a_token_that_nobody_uses_expires() {
    // XEP-0484 §5.2.
    let mut world = World::new(&["romeo"]);
    let token = first_token(&mut world, EXPR);
    days_pass(&mut world, limits::TOKEN_S / 86_400);
    assert_eq!(condition(&uses(&mut world, EXPR, &token)), "credentials-expired");
    let mut client = stranger(&mut world);
    client.send(&mut world, &proof("romeo", EXPR, &token, "", PHONE));
    client.element(&mut world);
    client.send(&mut world, &authenticate("romeo", PASSWORD, &format!("{PHONE}{}", request(EXPR))));
    assert!(token_of(&client.element(&mut world)).is_some(), "the password on the same stream leads to another one");
}

#[test]
fn a_flight_cannot_be_replayed_if_it_is_counted() {
    // XEP-0484 §3.4 and §7.
    let mut world = World::new(&["romeo"]);
    let token = first_token(&mut world, NONE);
    let flight = proof("romeo", NONE, &token, "count='7'", PHONE);
    assert_eq!(attempt(&mut world, &flight).name, "success");
    assert_eq!(condition(&attempt(&mut world, &flight)), "not-authorized");
    let earlier = proof("romeo", NONE, &token, "count='6'", PHONE);
    assert_eq!(condition(&attempt(&mut world, &earlier)), "not-authorized");
    let next = proof("romeo", NONE, &token, "count='8'", PHONE);
    assert_eq!(attempt(&mut world, &next).name, "success");
}

#[test]
fn a_device_that_signs_out_for_good_invalidates_its_token() {
    // XEP-0484 §3.6.
    let mut world = World::new(&["romeo"]);
    let token = first_token(&mut world, EXPR);
    days_pass(&mut world, 2);
    let success = attempt(&mut world, &proof("romeo", EXPR, &token, "invalidate='1'", PHONE));
    assert!(success.name == "success" && success.find("token").is_none(), "though it was due: {success}");
    assert_eq!(condition(&uses(&mut world, EXPR, &token)), "not-authorized");
    let token = first_token(&mut world, EXPR);
    let wishes = format!("{PHONE}{}", request(EXPR));
    let success = attempt(&mut world, &proof("romeo", EXPR, &token, "invalidate='1'", &wishes));
    let next = token_of(&success).expect("asked for");
    assert_eq!(condition(&uses(&mut world, EXPR, &token)), "not-authorized");
    assert_eq!(uses(&mut world, EXPR, &next).name, "success");
}

#[test]
fn a_token_that_cannot_be_forgotten_is_not_said_to_be() {
    let mut world = World::new(&["romeo"]);
    let token = first_token(&mut world, EXPR);
    world.disk.refuse_in = Some(0);
    let answer = attempt(&mut world, &proof("romeo", EXPR, &token, "invalidate='1'", PHONE));
    assert_eq!(condition(&answer), "temporary-auth-failure");
    assert_eq!(uses(&mut world, EXPR, &token).name, "success");
}

#[test]
fn s15_a_new_password_ends_all_tokens() {
    let mut world = World::new(&["romeo", "prince!"]);
    let token = first_token(&mut world, EXPR);
    let mut desk = Player::sign_in(&mut world, "romeo", "desk");
    desk.send(
        &mut world,
        "<iq type='set' id='p' to='capulet.lit'><query xmlns='jabber:iq:register'><username>romeo</username>\
         <password>new</password></query></iq>",
    );
    assert_eq!(desk.element(&mut world).get("type"), Some("result"));
    assert_eq!(condition(&uses(&mut world, EXPR, &token)), "not-authorized");
    // The same by an administrator's hand, and for who is just coming in.
    let mut client = stranger(&mut world);
    client.send(&mut world, &authenticate("romeo", "new", &format!("{PHONE}{}", request(EXPR))));
    let token = token_of(&client.element(&mut world)).unwrap();
    days_pass(&mut world, 2);
    world.disk.held = true;
    let mut settling = stranger(&mut world);
    settling.send(&mut world, &proof("romeo", EXPR, &token, "", &format!("{PHONE}{BIND}")));
    world.drive();
    let mut prince = Player::sign_in(&mut world, "prince", "hall");
    prince.send(
        &mut world,
        "<iq type='set' to='capulet.lit' id='c'><command xmlns='http://jabber.org/protocol/commands' \
         node='http://jabber.org/protocol/admin#change-user-password'><x xmlns='jabber:x:data' type='submit'>\
         <field var='accountjid'><value>romeo@capulet.lit</value></field>\
         <field var='password'><value>newer</value></field></x></command></iq>",
    );
    world.drive();
    world.disk.held = false;
    world.drive();
    assert_eq!(ending(&mut settling, &mut world).as_deref(), Some("not-authorized"));
    assert_eq!(condition(&uses(&mut world, EXPR, &token)), "not-authorized");
}

#[test]
fn s15_tokens_go_with_the_account_and_when_it_is_disabled() {
    let mut world = World::new(&["romeo", "prince!"]);
    let token = first_token(&mut world, EXPR);
    let mut prince = Player::sign_in(&mut world, "prince", "hall");
    let mut command = |world: &mut World, node: &str| {
        let command = format!(
            "<iq type='set' to='capulet.lit' id='{node}'><command xmlns='http://jabber.org/protocol/commands' \
             node='http://jabber.org/protocol/admin#{node}'><x xmlns='jabber:x:data' type='submit'>\
             <field var='accountjids'><value>romeo@capulet.lit</value></field></x></command></iq>"
        );
        prince.send(world, &command);
        let done = prince.element(world);
        assert!(done.to_string().contains("completed"), "{done}");
    };
    command(&mut world, "disable-user");
    assert_eq!(condition(&uses(&mut world, EXPR, &token)), "not-authorized");
    command(&mut world, "reenable-user");
    assert_eq!(condition(&uses(&mut world, EXPR, &token)), "not-authorized", "it does not come back");
    let token = first_token(&mut world, EXPR);
    command(&mut world, "delete-user");
    assert_eq!(condition(&uses(&mut world, EXPR, &token)), "not-authorized");
}

#[test]
fn a_session_is_resumed_with_a_token() {
    let mut world = World::new(&["romeo"]);
    let (mut phone, success) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}{}", request(EXPR)));
    assert_eq!(phone.element(&mut world).name, "features");
    let (token, id) = (token_of(&success).unwrap(), phone.sm.id.clone().unwrap());
    world.cut(phone.conn);
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>");
    let flight = header("capulet.lit") + &proof("romeo", EXPR, &token, "", &format!("{PHONE}{resume}{BIND}"));
    let mut again = Player::connect(&mut world, "romeo", "", true);
    again.send(&mut world, &flight);
    again.next(&mut world);
    again.element(&mut world);
    let success = again.element(&mut world);
    assert!(success.find("resumed").is_some() && success.find("bound").is_none(), "{success}");
    assert!(again.fence(&mut world));
}
