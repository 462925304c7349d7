//! What the devices of an account notice, after XEP-0280.

use crate::{
    domain::ids::SessionId,
    router::testing::{House, Out, condition_of, to_session},
    wire::{element::Element, ns},
};

struct Scene {
    house: House,
    /// The session that talks to Juliet, without carbons.
    garden: SessionId,
    /// Another of his, with carbons.
    home: SessionId,
    juliet: SessionId,
}

const BARE: &str = "romeo@capulet.lit";
const GARDEN: &str = "romeo@capulet.lit/garden";
const JULIET: &str = "juliet@capulet.lit/balcony";

fn enable(house: &mut House, session: SessionId, name: &str) {
    let out = house.send(session, &format!("<iq type='set' id='c'><{name} xmlns='urn:xmpp:carbons:2'/></iq>"));
    assert!(out[0].1.contains("type='result'"), "{out:?}");
}

fn scene() -> Scene {
    let mut house = House::new();
    let garden = house.available(GARDEN);
    let home = house.available("romeo@capulet.lit/home");
    let juliet = house.available(JULIET);
    enable(&mut house, home, "enable");
    Scene { house, garden, home, juliet }
}

/// The copied message, if the session got a copy: which way, and what.
fn copy(out: &Out, session: SessionId) -> Option<(String, Element)> {
    let own = to_session(out, session);
    let [(_, xml)] = own.as_slice() else {
        assert!(own.is_empty(), "not more than one: {own:?}");
        return None;
    };
    let message = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
    let wrapper = message.children().find(|child| child.ns == ns::CARBONS)?;
    assert_eq!(message.get("from"), Some(BARE), "copies come from the account itself");
    let inner = wrapper.find("forwarded", ns::FORWARD).unwrap().find("message", ns::CLIENT).unwrap();
    assert_eq!(message.get("type").unwrap_or("normal"), inner.get("type").unwrap_or("normal"));
    Some((wrapper.name.to_string(), inner.clone()))
}

#[test]
fn both_ways_are_copied_whole_and_name_the_archives_id() {
    let Scene { mut house, garden, home, juliet } = scene();
    let out = house.send(
        juliet,
        &format!("<message to='{GARDEN}' type='chat' id='1'><body>What man</body><thread>t</thread></message>"),
    );
    let (way, inner) = copy(&out, home).unwrap();
    assert_eq!((way.as_str(), inner.get("from"), inner.get("to")), ("received", Some(JULIET), Some(GARDEN)));
    assert_eq!((inner.leaf_text("body").unwrap(), inner.leaf_text("thread").unwrap()), ("What man".into(), "t".into()));
    assert_eq!(inner.find("stanza-id", ns::SID).unwrap().get("by"), Some(BARE));
    assert_eq!(to_session(&out, garden).len(), 1, "the addressee has the message and no copy");

    let out = house.send(garden, &format!("<message to='{JULIET}' type='chat' id='2'><body>Neither</body></message>"));
    let (way, inner) = copy(&out, home).unwrap();
    assert_eq!((way.as_str(), inner.get("from"), inner.get("to")), ("sent", Some(GARDEN), Some(JULIET)));
    assert_eq!(inner.find("stanza-id", ns::SID).unwrap().get("by"), Some(BARE));
    let hers = &to_session(&out, juliet)[0].1;
    assert!(!hers.contains(&format!("by='{BARE}'")), "she is not told of his archive: {hers}");
    assert!(to_session(&out, garden).is_empty(), "no copy to the sender");
}

#[test]
fn they_can_be_switched_on_and_off_any_number_of_times() {
    let Scene { mut house, garden, home, juliet } = scene();
    let send = |house: &mut House| {
        copy(&house.send(juliet, &format!("<message to='{GARDEN}' type='chat'><body>.</body></message>")), home)
            .is_some()
    };
    enable(&mut house, home, "enable");
    assert!(send(&mut house));
    enable(&mut house, home, "disable");
    enable(&mut house, home, "disable");
    assert!(!send(&mut house));
    enable(&mut house, garden, "enable");
    enable(&mut house, home, "enable");
    assert!(send(&mut house));
    let out = house.send(home, "<iq type='get' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    assert_eq!(condition_of(&out), "bad-request");
    let out = house.send(
        home,
        &format!("<iq type='set' to='{}' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>", "juliet@capulet.lit"),
    );
    assert_eq!(condition_of(&out), "service-unavailable");
}

#[test]
fn each_session_has_a_message_to_the_account_once() {
    let Scene { mut house, garden, home, juliet } = scene();
    let out = house.send(juliet, &format!("<message to='{BARE}' type='chat'><body>.</body></message>"));
    for session in [garden, home] {
        assert_eq!(to_session(&out, session).len(), 1);
        assert!(copy(&out, session).is_none(), "it is delivered to both");
    }
    // With a priority below the other's it is no addressee, and copied to.
    house.core.sessions.session_mut(home).unwrap().presence.as_mut().unwrap().priority = -1;
    let out = house.send(juliet, &format!("<message to='{BARE}' type='chat'><body>.</body></message>"));
    assert_eq!(copy(&out, home).unwrap().0, "received");
    // A resource that is gone, RFC 6121 §8.5.3.2.1: as if sent to the account.
    let out = house.send(juliet, &format!("<message to='{BARE}/gone' type='chat'><body>.</body></message>"));
    assert_eq!((to_session(&out, garden).len(), copy(&out, home).unwrap().0.as_str()), (1, "received"));
}

#[test]
fn a_message_to_oneself_comes_once() {
    let Scene { mut house, garden, home, .. } = scene();
    enable(&mut house, garden, "enable");
    let out = house.send(garden, &format!("<message to='{BARE}' type='chat'><body>note</body></message>"));
    assert_eq!((to_session(&out, garden).len(), to_session(&out, home).len()), (1, 1));
    let out = house.send(home, &format!("<message to='{GARDEN}' type='chat'><body>note</body></message>"));
    assert_eq!((to_session(&out, garden).len(), to_session(&out, home).len()), (1, 0));
}

/// Whether messages with this type and payload are copied: those he sends, those he receives.
fn copied(ty: &str, payload: &str) -> (bool, bool) {
    let Scene { mut house, garden, home, juliet } = scene();
    let message = |to| format!("<message to='{to}' type='{ty}' id='1'>{payload}</message>");
    let sent = copy(&house.send(garden, &message(JULIET)), home).is_some();
    let received = copy(&house.send(juliet, &message(GARDEN)), home).is_some();
    (sent, received)
}

#[test]
fn which_messages_are_copied() {
    let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    let receipt = "<received xmlns='urn:xmpp:receipts' id='1'/>";
    let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>";
    let direct = "<x xmlns='jabber:x:conference' jid='darkcave@macbeth.shakespeare.lit'/>";
    let mediated = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='hecate@shakespeare.lit'/></x>";
    for (ty, payload) in [
        ("chat", "<body>.</body>"),
        ("chat", "<encrypted xmlns='eu.siacs.conversations.axolotl'/>"),
        ("chat", state),
        ("normal", "<body>.</body>"),
        ("normal", receipt),
        ("normal", marker),
        ("normal", state),
        ("normal", direct),
        ("normal", mediated),
        ("error", "<error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"),
    ] {
        assert_eq!(copied(ty, payload), (true, true), "{ty} {payload}");
    }
    for (ty, payload) in [
        ("normal", "<subject>.</subject>"),
        ("normal", "<x xmlns='urn:other'/>"),
        ("groupchat", "<body>.</body>"),
        ("groupchat", mediated),
        ("headline", "<body>.</body>"),
        ("chat", "<body>.</body><private xmlns='urn:xmpp:carbons:2'/><no-copy xmlns='urn:xmpp:hints'/>"),
        ("chat", "<body>.</body><private xmlns='urn:xmpp:carbons:2'/>"),
        ("chat", "<body>.</body><no-copy xmlns='urn:xmpp:hints'/>"),
    ] {
        assert_eq!(copied(ty, payload), (false, false), "{ty} {payload}");
    }
    // A private message in a room: copied when it is sent, given to each client by the room when it comes.
    let private = "<body>.</body><x xmlns='http://jabber.org/protocol/muc#user'/>";
    assert_eq!(copied("chat", private), (true, false));
}

#[test]
fn private_stays_where_the_sender_put_it() {
    let Scene { mut house, garden, juliet, .. } = scene();
    let out = house.send(
        juliet,
        &format!("<message to='{GARDEN}' type='chat'><body>.</body><private xmlns='urn:xmpp:carbons:2'/></message>"),
    );
    assert!(to_session(&out, garden)[0].1.contains("<private"), "XEP-0280 §9: it is not taken out");
}

#[test]
fn what_is_refused_or_blocked_is_not_copied() {
    let Scene { mut house, home, juliet, .. } = scene();
    let out = house.send(juliet, &format!("<message to='{BARE}/gone' id='1'><body>.</body></message>"));
    assert!(to_session(&out, home).is_empty());
    house.send(
        home,
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='juliet@capulet.lit'/></block></iq>",
    );
    let out = house.send(juliet, &format!("<message to='{GARDEN}' type='chat' id='1'><body>.</body></message>"));
    assert!(to_session(&out, home).is_empty());
}

#[test]
fn nobody_is_there_but_who_gets_copies() {
    let Scene { mut house, garden, home, juliet } = scene();
    for session in [garden, home] {
        house.core.sessions.session_mut(session).unwrap().presence = None;
    }
    let out = house.send(juliet, &format!("<message to='{BARE}' type='chat'><body>.</body></message>"));
    assert_eq!(copy(&out, home).unwrap().0, "received");
    let romeo = house.account(BARE);
    assert_eq!(crate::domain::waiting::count(&house.ctx().store(), romeo, 9), 1, "and it waits for whoever comes");
}

#[test]
fn s27_clients_cannot_forge_copies() {
    let Scene { mut house, garden, home, juliet } = scene();
    for name in ["received", "sent"] {
        let forged = format!(
            "<{name} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' \
             from='nurse@capulet.lit' to='{GARDEN}' type='chat'><body>forged</body></message></forwarded></{name}>"
        );
        let out =
            house.send(juliet, &format!("<message to='{GARDEN}' type='chat'><body>true</body>{forged}</message>"));
        for session in [garden, home] {
            let xml = &to_session(&out, session)[0].1;
            assert!(xml.contains("true") && !xml.contains("forged"), "{xml}");
        }
    }
}

#[test]
fn copies_do_not_overtake_what_waits() {
    use crate::domain::{ids::MessageId, sessions::Backlog};
    let Scene { mut house, garden, home, juliet } = scene();
    let behind = Backlog { next: MessageId(0), since: MessageId(0) };
    house.core.sessions.session_mut(home).unwrap().backlog = Some(behind);
    let say = |house: &mut House, from, to, text: &str| {
        house.send(from, &format!("<message to='{to}' type='chat'><body>{text}</body></message>"))
    };
    say(&mut house, juliet, "romeo@capulet.lit/home", "1");
    let out = say(&mut house, garden, JULIET, "2");
    assert!(to_session(&out, home).is_empty(), "its place is behind what waits");
    // More than are kept come at once.
    for n in 1..crate::limits::BACKLOG_BEHIND_MAX {
        assert!(to_session(&say(&mut house, garden, JULIET, &n.to_string()), home).is_empty());
    }
    assert_eq!(to_session(&say(&mut house, garden, JULIET, "x"), home).len(), 1);
    house.core.backlogs.push(home);
    let out = house.with(|_, ctx| crate::router::backlog::serve(ctx));
    let own = to_session(&out, home);
    assert!(own[0].1.contains("<body>1</body>") && own[1].1.contains("<body>2</body>"), "{own:?}");
    assert_eq!(own.len(), 1 + crate::limits::BACKLOG_BEHIND_MAX);
}

#[test]
fn errors_of_copied_messages_are_copied() {
    let Scene { mut house, garden, home, .. } = scene();
    let to = "nobody@elsewhere.example";
    let out = house.send(garden, &format!("<message to='{to}' type='chat' id='1'><body>.</body></message>"));
    let own = to_session(&out, home);
    assert_eq!(own.len(), 2, "the message and what became of it: {own:?}");
    let (way, error) = copy(&own[1..].to_vec(), home).unwrap();
    assert_eq!((way.as_str(), error.get("type"), error.get("id")), ("received", Some("error"), Some("1")));
    assert_eq!(to_session(&out, garden).len(), 1, "who sent it has the error and no copy");
    let private = "<body>.</body><private xmlns='urn:xmpp:carbons:2'/>";
    let out = house.send(garden, &format!("<message to='{to}' type='chat' id='1'>{private}</message>"));
    assert!(to_session(&out, home).is_empty());
}
