//! Accounts from a server that kept keys of one hash only, and how they get those of the other: XEP-0480.

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{digest, hmac, pbkdf2};

use crate::{
    sasl::{condition, last_message_by, plain, scram, stranger},
    sasl2::{BIND, authenticate, text},
    stage::{
        player::Player,
        world::{PASSWORD, World},
        xml::Tree,
    },
};

/// RFC 5802 §5, as RFC 5803 writes it.
const KEYS: &str = "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=";
const OFFER: &str = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-256</upgrade>";
const NEXT: &str = "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-256'/>";

/// A house to which Romeo has come from another server, where his password was "pencil".
fn with_romeo() -> World {
    let mut world = World::new(&["juliet", "prince!"]);
    let mut prince = Player::sign_in(&mut world, "prince", "hall");
    prince.send(
        &mut world,
        &format!(
            "<iq type='set' to='capulet.lit' id='add'><command xmlns='http://jabber.org/protocol/commands' \
             node='http://jabber.org/protocol/admin#add-user'><x xmlns='jabber:x:data' type='submit'>\
             <field var='accountjid'><value>romeo@capulet.lit</value></field>\
             <field var='{{urn:lampone:admin}}keys'><value>{KEYS}</value></field></x></command></iq>"
        ),
    );
    let done = prince.element(&mut world);
    assert!(done.to_string().contains("completed"), "{done}");
    world
}

/// What a new stream is offered.
fn mechanisms(world: &mut World) -> Vec<String> {
    let mut client = Player::connect(world, "", "", true);
    let features = client.open_stream(world);
    let upgrade = features.find("authentication").and_then(|sasl2| sasl2.find("upgrade")).expect("XEP-0480 §2.1");
    assert_eq!((upgrade.ns.as_str(), upgrade.text().as_str()), ("urn:xmpp:sasl:upgrade:0", "UPGR-SCRAM-SHA-256"));
    features.find("mechanisms").unwrap().children().map(Tree::text).collect()
}

/// `<task-data/>` with this content.
fn data(inside: &str) -> String {
    format!("<task-data xmlns='urn:xmpp:sasl:2'>{inside}</task-data>")
}

/// Romeo's client, asked to upgrade.
fn asked(world: &mut World) -> Player {
    let mut romeo = stranger(world);
    romeo.account = "romeo".into();
    let bare = "n=romeo,r=clientnonce";
    romeo.send(
        world,
        &format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1'><initial-response>{}</initial-response>\
             {OFFER}{BIND}</authenticate>",
            STANDARD.encode(format!("n,,{bare}"))
        ),
    );
    let challenge = String::from_utf8(STANDARD.decode(romeo.element(world).text()).unwrap()).unwrap();
    let sha1 = (pbkdf2::PBKDF2_HMAC_SHA1, hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA1_FOR_LEGACY_USE_ONLY);
    let (last, expected) = last_message_by(sha1, "pencil", bare, &challenge, ("n,,", b""));
    romeo.send(world, &format!("<response xmlns='urn:xmpp:sasl:2'>{}</response>", STANDARD.encode(last)));
    let task = romeo.element(world);
    assert_eq!(text(&task, "additional-data"), STANDARD.encode(expected), "the server proves itself first: {task}");
    assert_eq!((task.name.as_str(), task.ns.as_str()), ("continue", "urn:xmpp:sasl:2"), "{task}");
    let tasks: Vec<String> = task.find("tasks").unwrap().children().map(Tree::text).collect();
    assert_eq!(tasks, ["UPGR-SCRAM-SHA-256"]);
    romeo
}

/// The hash that the client makes of its password and of what it was told.
fn answer(password: &str, told: &Tree) -> String {
    let salt = told.find("salt").unwrap_or_else(|| panic!("{told}"));
    assert_eq!(salt.ns, "urn:xmpp:scram-upgrade:0");
    let rounds = salt.get("iterations").unwrap().parse().unwrap();
    let mut salted = [0; 32];
    let bytes = STANDARD.decode(salt.text()).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &bytes, password.as_bytes(), &mut salted);
    data(&format!("<hash xmlns='urn:xmpp:scram-upgrade:0'>{}</hash>", STANDARD.encode(salted)))
}

#[test]
fn a_client_brings_the_keys_that_are_missing() {
    // XEP-0480 §3, the example.
    let mut world = with_romeo();
    // A client takes the best that is offered, so that nothing is offered that somebody could not use.
    assert_eq!(mechanisms(&mut world), ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"]);
    let mut romeo = asked(&mut world);
    romeo.send(&mut world, NEXT);
    let told = romeo.element(&mut world);
    romeo.send(&mut world, &answer("pencil", &told));
    let success = romeo.element(&mut world);
    assert_eq!(success.name, "success", "{success}");
    assert!(text(&success, "authorization-identifier").starts_with("romeo@capulet.lit/"), "{success}");
    assert!(success.find("bound").is_some(), "its other wishes are granted: {success}");
    // What was told is durable.
    world.power_fails(0);
    assert_eq!(mechanisms(&mut world)[..2], ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"]);
    let mut again = stranger(&mut world);
    assert_eq!(scram(&mut world, &mut again, false, "romeo", "pencil", ("n,,", b"")).name, "success");
}

#[test]
fn whoever_sends_the_password_itself_has_all_keys_from_then_on() {
    let mut world = with_romeo();
    let mut wrong = stranger(&mut world);
    assert_eq!(condition(&plain(&mut world, &mut wrong, "", "romeo", "pen")), "not-authorized");
    assert_eq!(mechanisms(&mut world)[0], "SCRAM-SHA-1-PLUS");
    let mut romeo = stranger(&mut world);
    assert_eq!(plain(&mut world, &mut romeo, "", "romeo", "pencil").name, "success");
    world.drive();
    world.power_fails(0);
    assert_eq!(mechanisms(&mut world)[..2], ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"]);
    let mut again = stranger(&mut world);
    assert_eq!(scram(&mut world, &mut again, false, "romeo", "pencil", ("n,,", b"")).name, "success");
}

#[test]
fn nobody_is_asked_who_needs_it_not() {
    let mut world = with_romeo();
    let mut juliet = stranger(&mut world);
    juliet.send(&mut world, &authenticate("juliet", PASSWORD, OFFER));
    assert_eq!(juliet.element(&mut world).name, "success");
    let mut wrong = stranger(&mut world);
    wrong.send(&mut world, &authenticate("romeo", "pen", OFFER));
    assert_eq!(condition(&wrong.element(&mut world)), "not-authorized", "nor before the password is proved");
    // Nor who has sent the password itself.
    let mut romeo = stranger(&mut world);
    romeo.send(&mut world, &authenticate("romeo", "pencil", OFFER));
    assert_eq!(romeo.element(&mut world).name, "success");
}

#[test]
fn a_task_that_goes_wrong_changes_nothing() {
    let mut world = with_romeo();
    for (said, expected) in [
        ("<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>".to_owned(), "invalid-mechanism"),
        (format!("{NEXT}{}", data("<hash xmlns='urn:xmpp:scram-upgrade:0'>c2hvcnQ=</hash>")), "malformed-request"),
        (format!("{NEXT}{}", data("<hash xmlns='urn:xmpp:scram-upgrade:0'/>")), "malformed-request"),
        (format!("{NEXT}{}", data("<hash xmlns='urn:xmpp:scram-upgrade:0'>?</hash>")), "incorrect-encoding"),
        (format!("{NEXT}<abort xmlns='urn:xmpp:sasl:2'/>"), "aborted"),
        ("<abort xmlns='urn:xmpp:sasl:2'/>".to_owned(), "aborted"),
    ] {
        let mut romeo = asked(&mut world);
        romeo.send(&mut world, &said);
        let answers = romeo.elements(&mut world);
        assert_eq!(condition(answers.last().unwrap()), expected, "{said}");
        // The stream is as it was before.
        assert_eq!(plain(&mut world, &mut romeo, "", "juliet", PASSWORD).name, "success");
    }
    for said in [data(""), NEXT.repeat(2), format!("{NEXT}{}", data("")), authenticate("romeo", "pencil", "")] {
        let mut romeo = asked(&mut world);
        romeo.send(&mut world, &said);
        let error = crate::negotiate::ending(&mut romeo, &mut world);
        assert_eq!(error.as_deref(), Some("policy-violation"), "{said}");
    }
    assert_eq!(mechanisms(&mut world), ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"]);
}

#[test]
fn a_new_password_or_the_end_of_the_account_settles_it_as_well() {
    let change = "<iq type='set' to='capulet.lit' id='new'><query xmlns='jabber:iq:register'><username>romeo</username>\
                  <password>r0salin3</password></query></iq>";
    let end = "<iq type='set' to='capulet.lit' id='end'><query xmlns='jabber:iq:register'><remove/></query></iq>";
    for request in [change, end] {
        let mut world = with_romeo();
        // Whoever is just doing the task with the old password does not get in (S15).
        let mut thief = asked(&mut world);
        let mut owner = stranger(&mut world);
        owner.account = "romeo".into();
        owner.send(&mut world, &authenticate("romeo", "pencil", BIND));
        assert_eq!(owner.element(&mut world).name, "success");
        owner.send(&mut world, request);
        world.drive();
        assert!(!world.is_open(thief.conn), "{request}");
        thief.elements(&mut world);
        assert_eq!(mechanisms(&mut world)[0], "SCRAM-SHA-256-PLUS", "{request}");
    }
}
