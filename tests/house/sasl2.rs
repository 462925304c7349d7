//! SASL2 and Bind 2 as a client sees them: `src/server/sign_in.rs` and `src/server/instant.rs`.

use base64::{Engine, engine::general_purpose::STANDARD};
use lampone::limits;

use crate::{
    negotiate::ending,
    sasl::{condition, last_message, stranger},
    stage::{
        Stage,
        player::{Management, Player, header},
        world::{EXPORTER, PASSWORD, World},
        xml::{Item, Tree},
    },
};

pub const PHONE: &str = "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>AwesomeXMPP</software>\
                     <device>Kiva&apos;s Phone</device></user-agent>";
pub const BIND: &str =
    "<bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>";

/// `<authenticate/>` with the password and these wishes.
pub fn authenticate(name: &str, password: &str, wishes: &str) -> String {
    let data = STANDARD.encode(format!("\0{name}\0{password}"));
    format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{data}</initial-response>{wishes}\
         </authenticate>"
    )
}

/// A client that has been let in; the success.
pub fn instant(world: &mut World, name: &str, wishes: &str) -> (Player, Tree) {
    let mut player = stranger(world);
    player.account = name.into();
    player.sm.automatic = true;
    player.send(world, &authenticate(name, PASSWORD, wishes));
    let success = player.element(world);
    assert_eq!((success.name.as_str(), success.ns.as_str()), ("success", "urn:xmpp:sasl:2"), "{success}");
    (player, success)
}

pub fn text(tree: &Tree, name: &str) -> String {
    tree.find(name).map(Tree::text).unwrap_or_default()
}

#[test]
fn one_flight_of_the_client_is_answered_with_a_session() {
    // XEP-0388 §1, XEP-0386 §2.
    let mut world = World::new(&["romeo", "juliet"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let mut romeo = Player::connect(&mut world, "romeo", "", true);
    let flight = header("capulet.lit") + &authenticate("romeo", PASSWORD, &format!("{PHONE}{BIND}"));
    romeo.send(&mut world, &flight);
    world.drive();
    assert!(matches!(romeo.next(&mut world), Some(Item::Header(_))));
    assert_eq!(romeo.element(&mut world).name, "features");
    let success = romeo.element(&mut world);
    assert!(text(&success, "authorization-identifier").starts_with("romeo@capulet.lit/AwesomeXMPP/"), "{success}");
    assert!(success.find("bound").and_then(|bound| bound.find("enabled")).is_some(), "{success}");
    let features = romeo.element(&mut world);
    assert_eq!(features.name, "features", "behind the success, without a restart");
    assert!(features.find("bind").is_none() && features.find("ver").is_some(), "{features}");
    assert!(features.find("sm").is_none(), "what is done is not offered: {features}");
    romeo.send(&mut world, "<message to='juliet@capulet.lit' type='chat'><body>Hark!</body></message>");
    assert_eq!(text(&juliet.element(&mut world), "body"), "Hark!");
}

#[test]
fn a_stranger_is_offered_sasl2_under_tls_only() {
    // XEP-0388 §4.
    let mut world = World::new(&["romeo"]);
    let mut clear = Player::connect(&mut world, "romeo", "", false);
    let features = clear.open_stream(&mut world);
    assert!(features.find("authentication").is_none());
    clear.send(&mut world, &authenticate("romeo", PASSWORD, ""));
    assert!(ending(&mut clear, &mut world).is_some());
    let mut secured = Player::connect(&mut world, "romeo", "", true);
    let features = secured.open_stream(&mut world);
    let names = |list: &str| -> Vec<String> {
        let list = features.find(list).unwrap();
        list.children().filter(|child| child.name == "mechanism").map(Tree::text).collect()
    };
    assert_eq!(names("authentication"), names("mechanisms"), "XEP-0474: one list, one hash");
    let inline = features.find("authentication").and_then(|feature| feature.find("inline")).unwrap();
    assert!(inline.find("sm").is_some());
    let bind = inline.find("bind").and_then(|bind| bind.find("inline")).unwrap();
    assert!(bind.children().any(|feature| feature.get("var") == Some("urn:xmpp:sm:3")), "{bind}");
}

#[test]
fn scram_with_a_bound_channel_speaks_sasl2() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = stranger(&mut world);
    let (bare, gs2) = ("n=romeo,r=clientnonce", "p=tls-exporter,,");
    let first = STANDARD.encode(format!("{gs2}{bare}"));
    romeo.send(
        &mut world,
        &format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256-PLUS'><initial-response>{first}\
             </initial-response>{BIND}</authenticate>"
        ),
    );
    let challenge = romeo.element(&mut world);
    assert_eq!((challenge.name.as_str(), challenge.ns.as_str()), ("challenge", "urn:xmpp:sasl:2"));
    let server_first = String::from_utf8(STANDARD.decode(challenge.text()).unwrap()).unwrap();
    assert!(server_first.contains(",h="), "XEP-0474: {server_first}");
    let (last, expected) = last_message(PASSWORD, bare, &server_first, (gs2, &EXPORTER));
    let response = format!("<response xmlns='urn:xmpp:sasl:2'>{}</response>", STANDARD.encode(last));
    romeo.send(&mut world, &response);
    let success = romeo.element(&mut world);
    assert_eq!(text(&success, "additional-data"), STANDARD.encode(expected));
    assert!(success.find("bound").is_some());
}

#[test]
fn a_success_without_wishes_leads_to_binding_as_before() {
    let mut world = World::new(&["romeo"]);
    let (mut romeo, success) = instant(&mut world, "romeo", "");
    assert_eq!(text(&success, "authorization-identifier"), "romeo@capulet.lit");
    let features = romeo.element(&mut world);
    assert!(features.find("bind").is_some() && features.find("sm").is_some(), "{features}");
    romeo.resource = "orchard".into();
    romeo.bind(&mut world);
    romeo.manage(&mut world);
    assert!(romeo.fence(&mut world));
}

#[test]
fn nothing_is_granted_to_who_fails() {
    // XEP-0388 §2.6.2.
    let mut world = World::new(&["romeo"]);
    let mut romeo = stranger(&mut world);
    romeo.send(&mut world, &authenticate("romeo", "wrong", &format!("{PHONE}{BIND}")));
    let failure = romeo.element(&mut world);
    assert_eq!((failure.ns.as_str(), condition(&failure)), ("urn:xmpp:sasl:2", "not-authorized"));
    assert!(romeo.elements(&mut world).is_empty());
    romeo.send(&mut world, "<message to='romeo@capulet.lit'><body>x</body></message>");
    assert_eq!(ending(&mut romeo, &mut world).as_deref(), Some("not-authorized"));
}

#[test]
fn s12_sasl2_does_not_tell_who_has_an_account() {
    let mut world = World::new(&["romeo"]);
    let mut answers = Vec::new();
    for name in ["romeo", "nobody"] {
        let mut client = stranger(&mut world);
        client.send(&mut world, &authenticate(name, "wrong", BIND));
        answers.push(client.element(&mut world).to_string());
        world.cut(client.conn);
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn s16_failures_count_in_whatever_words_they_come() {
    let mut world = World::new(&["romeo"]);
    let mut client = stranger(&mut world);
    for _ in 0..limits::SASL_ATTEMPTS_MAX - 1 {
        client.send(&mut world, &authenticate("romeo", "wrong", ""));
        assert_eq!(condition(&client.element(&mut world)), "not-authorized");
    }
    client.send(&mut world, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='NONE'/>");
    assert_eq!(condition(&client.element(&mut world)), "invalid-mechanism");
    assert_eq!(ending(&mut client, &mut world).as_deref(), Some("policy-violation"));
}

#[test]
fn a_handshake_keeps_to_the_words_in_which_it_began() {
    // XEP-0388 §2.5.
    let first = STANDARD.encode("n,,n=romeo,r=clientnonce");
    let old = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>{first}</auth>");
    let new = format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256'><initial-response>{first}</initial-response>\
         </authenticate>"
    );
    let others = [
        (&old, "<response xmlns='urn:xmpp:sasl:2'/>"),
        (&old, "<abort xmlns='urn:xmpp:sasl:2'/>"),
        (&old, &new),
        (&new, "<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"),
        (&new, "<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>"),
        (&new, "<next xmlns='urn:xmpp:sasl:2' task='HOTP'/>"),
        (&new, &new),
    ];
    for (begins, goes_on) in others {
        let mut world = World::new(&["romeo"]);
        let mut client = stranger(&mut world);
        client.send(&mut world, begins);
        assert_eq!(client.element(&mut world).name, "challenge");
        client.send(&mut world, goes_on);
        assert_eq!(ending(&mut client, &mut world).as_deref(), Some("policy-violation"), "{goes_on}");
    }
    let mut world = World::new(&["romeo"]);
    let mut client = stranger(&mut world);
    client.send(&mut world, &new);
    assert_eq!(client.element(&mut world).name, "challenge");
    client.send(&mut world, "<abort xmlns='urn:xmpp:sasl:2'><text>Enough.</text></abort>");
    assert_eq!(condition(&client.element(&mut world)), "aborted");
    client.send(&mut world, &authenticate("romeo", PASSWORD, ""));
    assert_eq!(client.element(&mut world).name, "success", "after its end another may begin");
}

#[test]
fn who_has_signed_in_does_not_sign_in_again() {
    // XEP-0388 §5.7.
    for wishes in ["", BIND] {
        let mut world = World::new(&["romeo"]);
        let (mut romeo, _) = instant(&mut world, "romeo", wishes);
        romeo.element(&mut world);
        romeo.send(&mut world, &authenticate("romeo", PASSWORD, ""));
        assert!(ending(&mut romeo, &mut world).is_some());
    }
}

#[test]
fn an_authorization_identity_has_to_be_the_senders() {
    // XEP-0388 §5.3 and §2.1 (S9).
    let mut world = World::new(&["romeo", "juliet"]);
    let attempt = |world: &mut World, from: &str, authzid: &str| {
        let mut client = Player::connect(world, "romeo", "", true);
        let header = header("capulet.lit").replace(" to=", &format!(" from='{from}' to="));
        let data = STANDARD.encode(format!("{authzid}\0romeo\0{PASSWORD}"));
        client.send(
            world,
            &format!(
                "{header}<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{data}\
                 </initial-response></authenticate>"
            ),
        );
        let told = client.elements(world);
        told.last().map(ToString::to_string).unwrap_or_default()
    };
    let (romeo, juliet) = ("romeo@capulet.lit", "juliet@capulet.lit");
    assert!(attempt(&mut world, romeo, romeo).contains("features"));
    assert!(attempt(&mut world, juliet, "").contains("features"), "a header is no identity");
    assert!(attempt(&mut world, juliet, romeo).contains("invalid-authzid"));
    assert!(attempt(&mut world, romeo, juliet).contains("invalid-authzid"));
    assert!(attempt(&mut world, "romeo@montague.lit", "").contains("invalid-from"));
}

#[test]
fn a_device_keeps_its_resource_and_replaces_its_own_session_only() {
    // XEP-0386 §3.2.
    let mut world = World::new(&["romeo"]);
    let other = PHONE.replace("d4565fa7", "00000000");
    let (mut phone, success) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}"));
    let (mut desk, _) = instant(&mut world, "romeo", &format!("{other}{BIND}"));
    desk.element(&mut world);
    let own = text(&success, "authorization-identifier");
    assert!(!own.contains("d4565fa7"), "the device's number stays with us");
    let (_, again) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}"));
    assert_eq!(text(&again, "authorization-identifier"), own);
    assert_eq!(ending(&mut phone, &mut world).as_deref(), Some("conflict"));
    let untagged = BIND.replace("<tag>AwesomeXMPP</tag>", "");
    let (_, success) = instant(&mut world, "romeo", &format!("{PHONE}{untagged}"));
    assert_eq!(text(&success, "authorization-identifier"), own.replace("AwesomeXMPP/", ""));
    assert!(desk.fence(&mut world), "another device is not touched");
    world.drive();
    world.power_cut();
    let (_, success) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}"));
    assert_eq!(text(&success, "authorization-identifier"), own, "also after a restart");
    let (_, success) = instant(&mut world, "romeo", BIND);
    assert_ne!(text(&success, "authorization-identifier"), own, "who gives no number gets another name each time");
}

#[test]
fn a_tag_that_cannot_be_an_address_is_left_out() {
    let mut world = World::new(&["romeo"]);
    let long = "x".repeat(limits::TAG_BYTES_MAX + 1);
    for (tag, shown) in [("a b", "/a b/"), ("a&#9;b", ""), (&long, ""), ("", "")] {
        let bind = format!("<bind xmlns='urn:xmpp:bind:0'><tag>{tag}</tag></bind>");
        let (_, success) = instant(&mut world, "romeo", &bind);
        let own = text(&success, "authorization-identifier");
        assert_eq!(own.matches('/').count(), if shown.is_empty() { 1 } else { 2 }, "{own}");
        assert!(own.contains(shown), "{own}");
    }
}

#[test]
fn a_session_is_resumed_in_the_same_breath() {
    // XEP-0198 §9.2.
    let mut world = World::new(&["romeo", "juliet"]);
    let (mut phone, success) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}"));
    phone.element(&mut world);
    phone.come_online(&mut world, "<presence/>");
    let own = text(&success, "authorization-identifier");
    let (id, h) = (phone.sm.id.clone().unwrap(), phone.sm.h);
    world.cut(phone.conn);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<message to='romeo@capulet.lit' type='chat'><body>Ay me!</body></message>");
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' h='{h}' previd='{id}'/>");
    let mut again = stranger(&mut world);
    again.sm = Management { enabled: false, ..phone.sm };
    again.send(&mut world, &authenticate("romeo", PASSWORD, &format!("{PHONE}{resume}{BIND}")));
    let success = again.element(&mut world);
    assert_eq!(text(&success, "authorization-identifier"), own);
    assert!(success.find("resumed").is_some() && success.find("bound").is_none(), "{success}");
    assert_eq!(text(&again.element(&mut world), "body"), "Ay me!", "no features in between");
    assert!(again.fence(&mut world));
}

#[test]
fn who_cannot_resume_gets_a_new_session() {
    // XEP-0198 §9.2.
    let mut world = World::new(&["romeo", "juliet"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let own = juliet.sm.id.clone().unwrap();
    for (previd, why) in [("1-1-0", "item-not-found"), (own.as_str(), "item-not-found")] {
        let resume = format!("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{previd}'/>");
        let (mut romeo, success) = instant(&mut world, "romeo", &format!("{resume}{BIND}"));
        let failed = success.find("failed").unwrap_or_else(|| panic!("{success}"));
        assert!(failed.find(why).is_some(), "{failed}");
        assert!(success.find("bound").is_some());
        assert_eq!(romeo.element(&mut world).name, "features");
        assert!(romeo.fence(&mut world));
    }
    assert!(juliet.fence(&mut world), "S35: nobody resumes what is another's");
}

#[test]
fn a_resumption_waits_for_the_disk() {
    let mut world = World::new(&["romeo", "juliet"]);
    let (mut phone, _) = instant(&mut world, "romeo", BIND);
    phone.element(&mut world);
    world.disk.held = true;
    phone.send(&mut world, "<message to='juliet@capulet.lit' type='chat'><body>Hark!</body></message>");
    world.drive();
    let id = phone.sm.id.clone().unwrap();
    world.cut(phone.conn);
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>");
    let mut again = stranger(&mut world);
    again.send(&mut world, &authenticate("romeo", PASSWORD, &resume));
    assert!(again.elements(&mut world).is_empty(), "what was sent is not counted yet");
    world.disk.held = false;
    let success = again.element(&mut world);
    assert_eq!(success.find("resumed").and_then(|resumed| resumed.get("h")), Some("1"), "{success}");
}

/// Bodies of the messages that come after presence.
fn fetched(world: &mut World, player: &mut Player) -> Vec<String> {
    assert_eq!(player.element(world).name, "features");
    assert!(player.elements(world).is_empty(), "nothing before presence");
    player.send(world, "<presence/>");
    player.elements(world).iter().map(|element| text(element, "body")).filter(|body| !body.is_empty()).collect()
}

const AY_ME: &str = "<message to='romeo@capulet.lit' type='chat'><body>Ay me!</body></message>";

#[test]
fn what_the_archive_has_is_left_to_it() {
    // XEP-0386 §3.2.
    let mut world = World::new(&["romeo", "juliet"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, AY_ME);
    assert!(juliet.fence(&mut world));
    let (mut phone, success) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}"));
    let metadata = success.find("bound").and_then(|bound| bound.find("metadata")).unwrap();
    let end = metadata.find("end").and_then(|end| end.get("id")).unwrap().to_owned();
    assert_eq!(fetched(&mut world, &mut phone), Vec::<String>::new());
    phone.send(&mut world, "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>");
    let results = phone.elements(&mut world);
    let result = results.iter().find_map(|message| message.find("result")).unwrap();
    assert_eq!(result.get("id"), Some(end.as_str()));
    // A client that does not bind so, and comes later, gets nothing twice.
    let mut old = Player::sign_in(&mut world, "romeo", "old");
    old.send(&mut world, "<presence/>");
    assert!(!old.elements(&mut world).iter().any(|element| text(element, "body") == "Ay me!"));
}

#[test]
fn what_the_archive_does_not_have_comes_after_presence() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    // One message in the archive, one not.
    juliet.send(&mut world, &AY_ME.replace("Ay me!", "Hist!"));
    romeo.send(
        &mut world,
        "<iq type='set' id='p'><prefs xmlns='urn:xmpp:mam:2' default='never'><always/><never/></prefs></iq>",
    );
    romeo.elements(&mut world);
    world.cut(romeo.conn);
    juliet.send(&mut world, AY_ME);
    assert!(juliet.fence(&mut world));
    let (mut phone, _) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}"));
    assert_eq!(fetched(&mut world, &mut phone), ["Hist!", "Ay me!"]);
}

#[test]
fn what_is_on_its_way_to_another_session_stays_there() {
    let mut world = World::new(&["romeo", "juliet"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let mut desk = Player::online(&mut world, "romeo", "desk");
    desk.sm.automatic = false;
    juliet.send(&mut world, AY_ME);
    world.drive();
    world.cut(desk.conn);
    instant(&mut world, "romeo", &format!("{PHONE}{BIND}"));
    world.drive();
    world.power_cut();
    let mut again = Player::sign_in(&mut world, "romeo", "desk");
    again.send(&mut world, "<presence/>");
    assert!(again.elements(&mut world).iter().any(|element| text(element, "body") == "Ay me!"), "not lost");
}

#[test]
fn carbons_are_enabled_in_the_same_breath() {
    // XEP-0280 §4.1, XEP-0386 §3.2.
    let mut world = World::new(&["romeo", "juliet"]);
    let mut client = Player::connect(&mut world, "romeo", "", true);
    let features = client.open_stream(&mut world).to_string();
    assert!(features.contains("<feature var='urn:xmpp:carbons:2'/>"), "{features}");
    let bind = BIND.replace("</bind>", "<enable xmlns='urn:xmpp:carbons:2'/></bind>");
    let (mut phone, success) = instant(&mut world, "romeo", &format!("{PHONE}{bind}"));
    let bound = success.find("bound").unwrap();
    assert!(!bound.children().any(|child| child.ns == "urn:xmpp:carbons:2"), "{bound}");
    phone.element(&mut world);
    let mut desk = Player::online(&mut world, "romeo", "desk");
    desk.send(&mut world, "<message to='juliet@capulet.lit' type='chat'><body>Hark!</body></message>");
    let copies = phone.elements(&mut world);
    assert!(copies.iter().any(|message| message.find("sent").is_some()), "{copies:?}");
}

#[test]
fn who_has_too_many_sessions_is_told_instead_of_let_in() {
    let mut world = World::new(&["romeo"]);
    for at in 0..limits::SESSIONS_PER_ACCOUNT_MAX {
        Player::sign_in(&mut world, "romeo", &at.to_string());
    }
    let mut client = stranger(&mut world);
    client.send(&mut world, &authenticate("romeo", PASSWORD, BIND));
    assert_eq!(condition(&client.element(&mut world)), "temporary-auth-failure");
}
