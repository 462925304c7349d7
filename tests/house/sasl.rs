//! Sign-in as a client sees it: the SASL part of `src/server/negotiate.rs`, and `src/server/throttle.rs`.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{digest, hmac, pbkdf2};

use lampone::limits;

use crate::stage::{
    Stage,
    player::Player,
    world::{EXPORTER, PASSWORD, World},
    xml::Tree,
};

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";

pub fn stranger(world: &mut World) -> Player {
    let mut player = Player::connect(world, "romeo", "orchard", true);
    player.open_stream(world);
    player
}

pub fn plain(world: &mut World, player: &mut Player, authzid: &str, name: &str, password: &str) -> Tree {
    let data = STANDARD.encode(format!("{authzid}\0{name}\0{password}"));
    player.send(world, &format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{data}</auth>"));
    player.element(world)
}

pub fn condition(answer: &Tree) -> &str {
    assert_eq!(answer.name, "failure", "{answer}");
    answer.children().next().map_or("", |child| child.name.as_str())
}

/// A SCRAM-SHA-256 handshake; `binding`: the `gs2` header and the data bound. The server's last word.
pub fn scram(
    world: &mut World,
    player: &mut Player,
    plus: bool,
    name: &str,
    password: &str,
    binding: (&str, &[u8]),
) -> Tree {
    let mechanism = if plus { "SCRAM-SHA-256-PLUS" } else { "SCRAM-SHA-256" };
    let bare = format!("n={name},r=clientnonce");
    let first = STANDARD.encode(format!("{}{bare}", binding.0));
    player.send(world, &format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>{first}</auth>"));
    let challenge = player.element(world);
    if challenge.name != "challenge" {
        return challenge;
    }
    let server_first = String::from_utf8(STANDARD.decode(challenge.text()).unwrap()).unwrap();
    let (last, expected) = last_message(password, &bare, &server_first, binding);
    player.send(world, &format!("<response xmlns='{SASL}'>{}</response>", STANDARD.encode(last)));
    let answer = player.element(world);
    if answer.name == "success" {
        assert_eq!(
            String::from_utf8(STANDARD.decode(answer.text()).unwrap()).unwrap(),
            expected,
            "the server proves itself"
        );
    }
    answer
}

/// The last message of SCRAM-SHA-256, and what the server has to say to it.
pub fn last_message(password: &str, bare: &str, server_first: &str, binding: (&str, &[u8])) -> (String, String) {
    let sha256 = (pbkdf2::PBKDF2_HMAC_SHA256, hmac::HMAC_SHA256, &digest::SHA256);
    last_message_by(sha256, password, bare, server_first, binding)
}

/// The same for another hash.
pub fn last_message_by(
    (derivation, mac, hash): (pbkdf2::Algorithm, hmac::Algorithm, &'static digest::Algorithm),
    password: &str,
    bare: &str,
    server_first: &str,
    binding: (&str, &[u8]),
) -> (String, String) {
    let part = |key: &str| server_first.split(',').find_map(|part| part.strip_prefix(key)).unwrap().to_owned();
    let (nonce, salt, rounds) = (part("r="), STANDARD.decode(part("s=")).unwrap(), part("i=").parse().unwrap());
    let mut salted = vec![0; hash.output_len()];
    pbkdf2::derive(derivation, rounds, &salt, password.as_bytes(), &mut salted);
    let sign = |key: &[u8], data: &[u8]| hmac::sign(&hmac::Key::new(mac, key), data);
    let client_key = sign(&salted, b"Client Key");
    let stored_key = digest::digest(hash, client_key.as_ref());
    let bound = STANDARD.encode([binding.0.as_bytes(), binding.1].concat());
    let without_proof = format!("c={bound},r={nonce}");
    let message = format!("{bare},{server_first},{without_proof}");
    let signature = sign(stored_key.as_ref(), message.as_bytes());
    let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
    let server_key = sign(&salted, b"Server Key");
    let expected = format!("v={}", STANDARD.encode(sign(server_key.as_ref(), message.as_bytes())));
    (format!("{without_proof},p={}", STANDARD.encode(proof)), expected)
}

#[test]
fn s14_a_sign_in_can_be_bound_to_its_channel() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = stranger(&mut world);
    let answer = scram(&mut world, &mut romeo, true, "romeo", PASSWORD, ("p=tls-exporter,,", &EXPORTER));
    assert_eq!(answer.name, "success", "{answer}");
    romeo.open_stream(&mut world);
    romeo.bind(&mut world);
}

#[test]
fn s14_a_binding_to_another_channel_is_refused() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = stranger(&mut world);
    let answer = scram(&mut world, &mut romeo, true, "romeo", PASSWORD, ("p=tls-exporter,,", &[1; 32]));
    assert_eq!(condition(&answer), "not-authorized");
}

#[test]
fn s14_a_client_that_was_told_of_no_binding_is_told_of_an_attack() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = stranger(&mut world);
    let answer = scram(&mut world, &mut romeo, false, "romeo", PASSWORD, ("y,,", b""));
    assert_eq!(answer.name, "failure", "{answer}");
    let answer = scram(&mut world, &mut romeo, false, "romeo", PASSWORD, ("n,,", b""));
    assert_eq!(answer.name, "success", "{answer}");
}

#[test]
fn s9_nobody_acts_for_somebody_else() {
    let mut world = World::new(&["romeo", "juliet"]);
    for authzid in ["juliet@capulet.lit", "juliet", "romeo@montague.lit", "romeo@capulet.lit/x"] {
        let mut romeo = stranger(&mut world);
        let answer = plain(&mut world, &mut romeo, authzid, "romeo", PASSWORD);
        assert_eq!(answer.name, "failure", "{authzid}");
        let gs2 = format!("n,a={authzid},");
        let answer = scram(&mut world, &mut romeo, false, "romeo", PASSWORD, (&gs2, b""));
        assert_eq!(answer.name, "failure", "{authzid}");
        world.cut(romeo.conn);
    }
    let mut romeo = stranger(&mut world);
    assert_eq!(plain(&mut world, &mut romeo, "romeo@capulet.lit", "romeo", PASSWORD).name, "success");
}

#[test]
fn s10_a_mechanism_that_was_not_offered_is_refused() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = stranger(&mut world);
    for mechanism in ["EXTERNAL", "ANONYMOUS", "DIGEST-MD5", "plain", ""] {
        romeo.send(&mut world, &format!("<auth xmlns='{SASL}' mechanism='{mechanism}'>=</auth>"));
        let answer = romeo.element(&mut world);
        assert_ne!(answer.name, "success", "{mechanism}");
        if world.is_closed(romeo.conn) {
            romeo = stranger(&mut world);
        }
    }
}

#[test]
fn s12_a_stranger_cannot_tell_an_unknown_name_from_a_wrong_password() {
    let mut world = World::new(&["romeo"]);
    let mut answers = Vec::new();
    for name in ["romeo", "nobody"] {
        let mut client = stranger(&mut world);
        let wrong = plain(&mut world, &mut client, "", name, "wrong");
        let scram = scram(&mut world, &mut client, false, name, "wrong", ("n,,", b""));
        answers.push((wrong.to_string(), scram.to_string()));
        world.cut(client.conn);
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn s12_the_challenge_to_an_unknown_name_looks_real_and_stays_the_same_through_a_restart() {
    let mut world = World::new(&["romeo"]);
    let challenge = |world: &mut World, name: &str| {
        let mut client = stranger(world);
        let first = STANDARD.encode(format!("n,,n={name},r=x"));
        client.send(world, &format!("<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{first}</auth>"));
        let text = String::from_utf8(STANDARD.decode(client.element(world).text()).unwrap()).unwrap();
        world.cut(client.conn);
        text.split_once(",s=").unwrap().1.to_owned()
    };
    let (known, unknown) = (challenge(&mut world, "romeo"), challenge(&mut world, "nobody"));
    assert_eq!(known.len(), unknown.len());
    assert_ne!(unknown, challenge(&mut world, "noone"));
    world.drive();
    world.power_cut();
    assert_eq!(unknown, challenge(&mut world, "nobody"));
}

#[test]
fn s16_who_guesses_is_stopped_and_the_owner_is_not() {
    let mut world = World::new(&["romeo"]);
    world.address = [192, 0, 2, 10].into();
    Player::sign_in(&mut world, "romeo", "orchard");
    for host in 0..12 {
        world.address = [198, 51, 100, host].into();
        let mut tybalt = stranger(&mut world);
        plain(&mut world, &mut tybalt, "", "romeo", "guess");
        world.cut(tybalt.conn);
    }
    world.address = [198, 51, 100, 99].into();
    let mut tybalt = stranger(&mut world);
    let answer = plain(&mut world, &mut tybalt, "", "romeo", PASSWORD);
    assert_eq!(condition(&answer), "temporary-auth-failure", "even the right guess comes too late");
    world.address = [192, 0, 2, 10].into();
    Player::sign_in(&mut world, "romeo", "garden");
    world.address = [198, 51, 100, 99].into();
    world.advance(11 * 60 * 1000);
    Player::sign_in(&mut world, "romeo", "street");
}

#[test]
fn s15_a_new_password_ends_every_other_session() {
    let mut world = World::new(&["romeo"]);
    let mut phone = Player::online(&mut world, "romeo", "phone");
    let lost = Player::online(&mut world, "romeo", "lost");
    let mut desk = Player::online(&mut world, "romeo", "desk");
    world.cut(lost.conn);
    desk.send(
        &mut world,
        "<iq type='set' id='p' to='capulet.lit'><query xmlns='jabber:iq:register'><username>romeo</username>\
         <password>new</password></query></iq>",
    );
    let answers = desk.elements(&mut world);
    let answer = answers.iter().find(|answer| answer.get("id") == Some("p")).expect("an answer");
    assert_eq!(answer.get("type"), Some("result"), "{answer}");
    assert_eq!(crate::negotiate::ending(&mut phone, &mut world).as_deref(), Some("not-authorized"));
    assert!(desk.fence(&mut world), "who changed it stays");
    let mut client = stranger(&mut world);
    assert_eq!(condition(&plain(&mut world, &mut client, "", "romeo", PASSWORD)), "not-authorized");
    assert_eq!(plain(&mut world, &mut client, "", "romeo", "new").name, "success");
    client.open_stream(&mut world);
    let id = lost.sm.id.clone().unwrap();
    client.send(&mut world, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>"));
    assert_eq!(client.element(&mut world).name, "failed", "the session that waited is gone");
}

const NEW_PASSWORD: &str = "<iq type='set' to='capulet.lit' id='new'><query xmlns='jabber:iq:register'>\
                            <username>romeo</username><password>r0salin3</password></query></iq>";

#[test]
fn s15_a_new_password_stops_whoever_signs_in_with_the_old_one() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut owner = Player::sign_in(&mut world, "romeo", "orchard");
    // One has proved the password and not bound, one is just proving it, and somebody else is doing the same.
    let mut proved = stranger(&mut world);
    assert_eq!(plain(&mut world, &mut proved, "", "romeo", PASSWORD).name, "success");
    proved.open_stream(&mut world);
    let (mut proving, mut other) = (stranger(&mut world), stranger(&mut world));
    for (player, name) in [(&mut proving, "romeo"), (&mut other, "juliet")] {
        let first = STANDARD.encode(format!("n,,n={name},r=clientnonce"));
        player.send(&mut world, &format!("<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256'>{first}</auth>"));
        assert_eq!(player.element(&mut world).name, "challenge");
    }
    owner.send(&mut world, NEW_PASSWORD);
    assert_eq!(owner.element(&mut world).attrs.get("type").map(String::as_str), Some("result"));
    for player in [&mut proved, &mut proving] {
        let error = player.element(&mut world);
        assert!(error.to_string().contains("not-authorized"), "{error}");
    }
    assert!(!world.is_open(proved.conn) && !world.is_open(proving.conn));
    assert!(world.is_open(other.conn) && world.is_open(owner.conn));
    let mut again = stranger(&mut world);
    assert_eq!(condition(&plain(&mut world, &mut again, "", "romeo", PASSWORD)), "not-authorized");
    assert_eq!(plain(&mut world, &mut again, "", "romeo", "r0salin3").name, "success");
}

#[test]
fn a_disabled_account_is_told_so_if_it_proves_itself() {
    // XEP-0133 §4.3, RFC 6120 §6.5.2.
    let mut world = World::new(&["romeo", "prince!"]);
    let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
    let mut prince = Player::sign_in(&mut world, "prince", "hall");
    let command = |node: &str| {
        format!(
            "<iq type='set' to='capulet.lit' id='{node}'><command xmlns='http://jabber.org/protocol/commands' \
             node='http://jabber.org/protocol/admin#{node}'><x xmlns='jabber:x:data' type='submit'>\
             <field var='accountjids'><value>romeo@capulet.lit</value></field></x></command></iq>"
        )
    };
    prince.send(&mut world, &command("disable-user"));
    let done = prince.element(&mut world);
    assert!(done.to_string().contains("completed"), "{done}");
    let error = romeo.element(&mut world);
    assert!(error.to_string().contains("not-authorized"), "{error}");
    let mut again = stranger(&mut world);
    assert_eq!(condition(&plain(&mut world, &mut again, "", "romeo", "wrong")), "not-authorized");
    assert_eq!(condition(&plain(&mut world, &mut again, "", "romeo", PASSWORD)), "account-disabled");
    assert_eq!(condition(&scram(&mut world, &mut again, false, "romeo", PASSWORD, ("n,,", b""))), "account-disabled");
    prince.send(&mut world, &command("reenable-user"));
    prince.element(&mut world);
    assert_eq!(plain(&mut world, &mut again, "", "romeo", PASSWORD).name, "success");
}

#[test]
fn s16_a_guess_by_scram_counts_against_the_account() {
    let mut world = World::new(&["romeo"]);
    for host in 0..10 {
        world.address = [198, 51, 100, host].into();
        let mut tybalt = stranger(&mut world);
        let answer = scram(&mut world, &mut tybalt, false, "romeo", "guess", ("n,,", b""));
        assert_eq!(condition(&answer), "not-authorized");
        world.cut(tybalt.conn);
    }
    world.address = [198, 51, 100, 99].into();
    let mut tybalt = stranger(&mut world);
    let answer = scram(&mut world, &mut tybalt, false, "romeo", PASSWORD, ("n,,", b""));
    assert_eq!(condition(&answer), "temporary-auth-failure");
}

#[test]
fn s16_who_has_an_account_in_the_same_house_cannot_guess_for_ever() {
    let mut world = World::new(&["romeo", "tybalt"]);
    Player::sign_in(&mut world, "romeo", "orchard");
    let mut tried = 0;
    for _ in 0..20 {
        let mut tybalt = stranger(&mut world);
        for _ in 0..3 {
            tried += u32::from(condition(&plain(&mut world, &mut tybalt, "", "romeo", "guess")) == "not-authorized");
        }
        assert_eq!(plain(&mut world, &mut tybalt, "", "tybalt", PASSWORD).name, "success");
        world.cut(tybalt.conn);
    }
    assert_eq!(tried, 10);
    world.advance(11 * 60 * 1000);
    Player::sign_in(&mut world, "romeo", "garden");
}

#[test]
fn s16_guesses_that_are_under_way_count() {
    let mut world = World::new(&["romeo"]);
    let mut guessers: Vec<_> = (0..30).map(|_| stranger(&mut world)).collect();
    let data = STANDARD.encode("\0nobody\0guess");
    for guesser in &mut guessers {
        guesser.send(&mut world, &format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{data}</auth>"));
    }
    let mut answers: Vec<_> = guessers.iter_mut().map(|guesser| guesser.element(&mut world)).collect();
    answers.retain(|answer| condition(answer) == "not-authorized");
    assert_eq!(answers.len(), 20);
}

#[test]
fn s3_giving_up_is_an_attempt_as_well() {
    let mut world = World::new(&["romeo"]);
    let mut tybalt = stranger(&mut world);
    let first = STANDARD.encode("n,,n=romeo,r=x");
    for _ in 0..5 {
        tybalt.send(
            &mut world,
            &format!("<auth xmlns='{SASL}' mechanism='SCRAM-SHA-1'>{first}</auth><abort xmlns='{SASL}'/>"),
        );
    }
    let answers = tybalt.elements(&mut world);
    assert!(answers.last().is_some_and(|last| last.find("policy-violation").is_some()), "{answers:?}");
    assert!(world.is_closed(tybalt.conn));
}

#[test]
fn s3_who_signed_in_has_to_bind_in_time() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::connect(&mut world, "romeo", "orchard", true);
    romeo.authenticate(&mut world);
    let bound = Player::sign_in(&mut world, "romeo", "garden");
    world.advance(limits::PREAUTH_MS_MAX);
    assert_eq!(crate::negotiate::ending(&mut romeo, &mut world).as_deref(), Some("connection-timeout"));
    assert!(world.is_open(bound.conn));
    for _ in 0..limits::PREAUTH_PER_ADDRESS_MAX {
        Player::connect(&mut world, "romeo", "orchard", true).authenticate(&mut world);
    }
    let mut one_more = Player::connect(&mut world, "romeo", "orchard", true);
    assert_eq!(crate::negotiate::ending(&mut one_more, &mut world).as_deref(), Some("policy-violation"));
}
