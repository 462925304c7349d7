//! Contacts elsewhere: what services do for people here, they do for them.

use super::{bodies, lovers, message};
use crate::stage::{
    player::Player,
    street::{OTHER, Street},
    xml::Tree,
};

/// Presence that came, as `from type`.
fn presence(player: &mut Player, street: &mut Street) -> Vec<String> {
    let elements = player.elements(street);
    let presence = elements.iter().filter(|element| element.name == "presence");
    presence
        .map(|p| format!("{} {}", p.get("from").unwrap_or_default(), p.get("type").unwrap_or("available")))
        .collect()
}

/// Both see each other's presence.
fn befriend(street: &mut Street, romeo: &mut Player, juliet: &mut Player) {
    romeo.send(street, "<presence type='subscribe' to='juliet@montague.lit'/>");
    juliet.send(street, "<presence type='subscribed' to='romeo@capulet.lit'/>");
    juliet.send(street, "<presence type='subscribe' to='romeo@capulet.lit'/>");
    street.drive();
    romeo.send(street, "<presence type='subscribed' to='juliet@montague.lit'/>");
    street.drive();
    romeo.elements(street);
    juliet.elements(street);
}

fn iq(player: &mut Player, street: &mut Street, ty: &str, to: &str, payload: &str) -> Tree {
    player.send(street, &format!("<iq type='{ty}' id='q' to='{to}'>{payload}</iq>"));
    player.elements(street).into_iter().find(|answer| answer.get("id") == Some("q")).expect("an answer")
}

#[test]
fn subscriptions_and_presence_go_both_ways() {
    // RFC 6121 §3.1 and §4.
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = lovers(&mut street);
    romeo.send(&mut street, "<presence type='subscribe' to='juliet@montague.lit/balcony'/>");
    assert_eq!(presence(&mut juliet, &mut street), ["romeo@capulet.lit subscribe"]);
    juliet.send(&mut street, "<presence type='subscribed' to='romeo@capulet.lit'/>");
    let heard = presence(&mut romeo, &mut street);
    assert_eq!(heard, ["juliet@montague.lit subscribed", "juliet@montague.lit/balcony available"]);
    juliet.send(&mut street, "<presence><show>away</show></presence>");
    assert_eq!(presence(&mut romeo, &mut street), ["juliet@montague.lit/balcony available"]);
    // A second device of Romeo's asks, and hears at once.
    let mut phone = Player::online(&mut street, "romeo", "phone");
    let heard = presence(&mut phone, &mut street);
    assert!(heard.contains(&"juliet@montague.lit/balcony available".to_owned()), "{heard:?}");
    romeo.elements(&mut street);
    juliet.sign_out(&mut street);
    assert_eq!(presence(&mut romeo, &mut street), ["juliet@montague.lit/balcony unavailable"]);
    romeo.send(&mut street, "<presence type='unsubscribe' to='juliet@montague.lit'/>");
    street.drive();
    let mut juliet = Player::online(&mut street, "juliet@montague.lit", "balcony");
    let roster = iq(&mut juliet, &mut street, "get", "juliet@montague.lit", "<query xmlns='jabber:iq:roster'/>");
    let item = roster.find("query").and_then(|query| query.find("item")).and_then(|item| item.get("subscription"));
    assert_eq!(item.unwrap_or("none"), "none", "{roster}");
}

#[test]
fn a_request_that_was_lost_is_sent_again() {
    // RFC 6121 §3.1.2.
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let mut romeo = Player::online(&mut street, "romeo", "orchard");
    street.away.insert(OTHER.into(), lampone::router::event::DialError::Timeout);
    romeo.send(&mut street, "<presence type='subscribe' to='juliet@montague.lit'/>");
    street.advance(lampone::limits::PEER_PATIENCE_MS + 1);
    street.away.clear();
    street.advance(lampone::limits::PEER_PAUSE_MS_MAX);
    romeo.sign_out(&mut street);
    let mut juliet = Player::online(&mut street, "juliet@montague.lit", "balcony");
    assert_eq!(presence(&mut juliet, &mut street), [""; 0]);
    let _romeo = Player::online(&mut street, "romeo", "orchard");
    assert_eq!(presence(&mut juliet, &mut street), ["romeo@capulet.lit subscribe"]);
}

#[test]
fn strangers_elsewhere_learn_nothing_of_presence() {
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (_romeo, mut juliet) = lovers(&mut street);
    juliet.send(&mut street, "<presence type='probe' to='romeo@capulet.lit'/>");
    juliet.send(&mut street, "<presence type='probe' to='romeo@capulet.lit/orchard'/>");
    juliet.send(&mut street, "<presence type='probe' to='nobody@capulet.lit'/>");
    assert_eq!(juliet.elements(&mut street), []);
    for payload in ["<query xmlns='jabber:iq:last'/>", "<query xmlns='http://jabber.org/protocol/disco#info'/>"] {
        let mut errors =
            ["romeo@capulet.lit", "nobody@capulet.lit", "romeo@capulet.lit/orchard", "nobody@capulet.lit/x"]
                .map(|to| iq(&mut juliet, &mut street, "get", to, payload).to_string().replace(to, ""));
        errors.sort();
        assert_eq!(errors[0], errors[3], "an account is not told from none");
    }
}

#[test]
fn blocking_reaches_across_houses() {
    // XEP-0191 §3.3 and §3.4.
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = lovers(&mut street);
    befriend(&mut street, &mut romeo, &mut juliet);
    let item = "<item jid='romeo@capulet.lit'/>";
    iq(
        &mut juliet,
        &mut street,
        "set",
        "juliet@montague.lit",
        &format!("<block xmlns='urn:xmpp:blocking'>{item}</block>"),
    );
    assert_eq!(presence(&mut romeo, &mut street), ["juliet@montague.lit/balcony unavailable"]);
    romeo.send(&mut street, &message("juliet@montague.lit", "unheard"));
    romeo.send(&mut street, "<presence><show>chat</show></presence>");
    assert_eq!(juliet.elements(&mut street), []);
    romeo.elements(&mut street);
    let unblock = format!("<unblock xmlns='urn:xmpp:blocking'>{item}</unblock>");
    juliet.send(&mut street, &format!("<iq type='set' id='u'>{unblock}</iq>"));
    assert_eq!(presence(&mut romeo, &mut street), ["juliet@montague.lit/balcony available"]);
    assert_eq!(presence(&mut juliet, &mut street), ["romeo@capulet.lit/orchard available"]);
}

#[test]
fn requests_are_answered_for_domains_accounts_hosts_and_sessions() {
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = lovers(&mut street);
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    for to in ["montague.lit", "pubsub.montague.lit"] {
        assert_eq!(iq(&mut romeo, &mut street, "get", to, info).get("type"), Some("result"), "{to}");
    }
    assert_eq!(
        iq(&mut romeo, &mut street, "get", "montague.lit", "<ping xmlns='urn:xmpp:ping'/>").get("type"),
        Some("result")
    );
    befriend(&mut street, &mut romeo, &mut juliet);
    let vcard = "<vCard xmlns='vcard-temp'><FN>Juliet</FN></vCard>";
    iq(&mut juliet, &mut street, "set", "juliet@montague.lit", vcard);
    let card = iq(&mut romeo, &mut street, "get", "juliet@montague.lit", "<vCard xmlns='vcard-temp'/>");
    assert!(card.to_string().contains("<FN>Juliet</FN>"), "{card}");
    romeo.send(
        &mut street,
        "<iq type='get' id='v' to='juliet@montague.lit/balcony'><query xmlns='jabber:iq:version'/></iq>",
    );
    let asked = juliet.element(&mut street);
    assert_eq!(asked.get("from"), Some("romeo@capulet.lit/orchard"));
    juliet.send(&mut street, "<iq type='result' id='v' to='romeo@capulet.lit/orchard'/>");
    assert_eq!(romeo.element(&mut street).get("type"), Some("result"));
}

#[test]
fn copies_and_archives_hold_what_is_said_across_houses() {
    // XEP-0280 and XEP-0313.
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = lovers(&mut street);
    let mut phone = Player::online(&mut street, "juliet@montague.lit", "phone");
    phone.send(&mut street, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    romeo.send(&mut street, &message("juliet@montague.lit/balcony", "one"));
    street.drive();
    juliet.send(&mut street, &message("romeo@capulet.lit/orchard", "two"));
    street.drive();
    let copies = phone.elements(&mut street);
    let copies: Vec<_> = copies.iter().filter(|c| c.find("received").or(c.find("sent")).is_some()).collect();
    assert_eq!(copies.len(), 2, "{copies:?}");
    bodies(&mut romeo, &mut street);
    bodies(&mut juliet, &mut street);
    for player in [&mut romeo, &mut juliet] {
        player.send(&mut street, "<iq type='set' id='a'><query xmlns='urn:xmpp:mam:2'/></iq>");
        let results = player.elements(&mut street);
        assert_eq!(results.iter().filter(|r| r.find("result").is_some()).count(), 2, "{results:?}");
    }
}

#[test]
fn events_reach_those_elsewhere_who_want_them() {
    // XEP-0163 §4.3, XEP-0115 §6.2.
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = lovers(&mut street);
    befriend(&mut street, &mut romeo, &mut juliet);
    let publish = |id: &str| {
        format!(
            "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='http://jabber.org/protocol/tune'>\
             <item id='{id}'><tune xmlns='http://jabber.org/protocol/tune'><title>{id}</title></tune></item></publish></pubsub>"
        )
    };
    assert_eq!(
        iq(&mut juliet, &mut street, "set", "juliet@montague.lit", &publish("lark")).get("type"),
        Some("result")
    );
    // The example of XEP-0115 §5.2 does not ask for tunes; this one cannot be verified and counts for this client alone.
    romeo.send(
        &mut street,
        "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:x' ver='AAAAAAAAAAAAAAAAAAAAAAAAAAA='/></presence>",
    );
    // Both servers ask: his own, and hers.
    let asked: Vec<_> = romeo.elements(&mut street).into_iter().filter(|e| e.name == "iq").collect();
    let from: Vec<_> = asked.iter().filter_map(|iq| iq.get("from")).collect();
    assert!(from.contains(&"capulet.lit") && from.contains(&"montague.lit"), "{from:?}");
    for iq in &asked {
        let (id, from) = (iq.get("id").unwrap_or_default(), iq.get("from").unwrap_or_default());
        romeo.send(
            &mut street,
            &format!(
                "<iq type='result' id='{id}' to='{from}'><query xmlns='http://jabber.org/protocol/disco#info'>\
                 <feature var='http://jabber.org/protocol/tune+notify'/></query></iq>"
            ),
        );
    }
    let events: Vec<_> = romeo.elements(&mut street).iter().map(Tree::to_string).collect();
    assert!(events.len() == 1 && events[0].contains("<title>lark</title>"), "the last item: {events:?}");
    iq(&mut juliet, &mut street, "set", "juliet@montague.lit", &publish("nightingale"));
    let events: Vec<_> = romeo.elements(&mut street).iter().map(Tree::to_string).collect();
    assert!(events.len() == 1 && events[0].contains("<title>nightingale</title>"), "a new one: {events:?}");
    romeo.sign_out(&mut street);
    street.drive();
    juliet.elements(&mut street);
    iq(&mut juliet, &mut street, "set", "juliet@montague.lit", &publish("owl"));
}

#[test]
fn a_room_has_people_of_both_houses() {
    // XEP-0045 §7.2, §7.4, §7.14.
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = lovers(&mut street);
    let join = |nick: &str| {
        format!("<presence to='ball@rooms.montague.lit/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    };
    juliet.send(&mut street, &join("j"));
    let own = juliet.elements(&mut street);
    assert!(own.iter().any(|e| e.get("from") == Some("ball@rooms.montague.lit/j")), "{own:?}");
    juliet.send(
        &mut street,
        "<iq type='set' id='o' to='ball@rooms.montague.lit'><query xmlns='http://jabber.org/protocol/muc#owner'>\
         <x xmlns='jabber:x:data' type='submit'/></query></iq>",
    );
    juliet.elements(&mut street);
    romeo.send(&mut street, &join("r"));
    let heard = presence(&mut romeo, &mut street);
    assert!(heard.contains(&"ball@rooms.montague.lit/j available".to_owned()), "{heard:?}");
    assert!(heard.contains(&"ball@rooms.montague.lit/r available".to_owned()), "{heard:?}");
    romeo.send(
        &mut street,
        "<message type='groupchat' to='ball@rooms.montague.lit' id='g'><body>if I profane</body></message>",
    );
    for player in [&mut romeo, &mut juliet] {
        assert!(bodies(player, &mut street).contains(&"if I profane".to_owned()));
    }
    // Whoever cannot be reached any more is in the room no more.
    street.cut_wires();
    for house in ["capulet.lit", "rooms.montague.lit"] {
        street.away.insert(house.into(), lampone::router::event::DialError::NotFound);
    }
    juliet.send(
        &mut street,
        "<message type='groupchat' to='ball@rooms.montague.lit' id='h'><body>pilgrim</body></message>",
    );
    street.advance(lampone::limits::PEER_PATIENCE_MS);
    let heard = presence(&mut juliet, &mut street);
    assert!(heard.contains(&"ball@rooms.montague.lit/r unavailable".to_owned()), "{heard:?}");
}
