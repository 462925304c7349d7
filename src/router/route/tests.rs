//! What a stranger learns from the answers: nothing (S12); and that an event of any width is done whole.

use crate::{
    limits,
    router::{
        lifecycle,
        route::as_if_nobody,
        service::Flow,
        testing::{House, to_session},
    },
    wire::{
        element::Element,
        jid::Jid,
        ns,
        stanza::{Stanza, Type},
    },
};

/// Everything that somebody could send to find out whether there is such an account, except messages that would be kept,
/// see the second test. `TO` is a bare address.
const QUESTIONS: &[&str] = &[
    "<iq to='TO' id='1' type='get'><query xmlns='jabber:iq:roster'/></iq>",
    "<iq to='TO' id='1' type='set'><query xmlns='jabber:iq:roster'><item jid='a@b'/></query></iq>",
    "<iq to='TO' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<iq to='TO' id='1' type='set'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<iq to='TO' id='1' type='get'><query xmlns='jabber:iq:last'/></iq>",
    "<iq to='TO' id='1' type='set'><query xmlns='jabber:iq:last'/></iq>",
    "<iq to='TO' id='1' type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    "<iq to='TO' id='1' type='set'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
    "<iq to='TO' id='1' type='get'><query xmlns='http://jabber.org/protocol/disco#items' node='x'/></iq>",
    "<iq to='TO' id='1' type='get'><vCard xmlns='vcard-temp'/></iq>",
    "<iq to='TO' id='1' type='set'><vCard xmlns='vcard-temp'/></iq>",
    "<iq to='TO' id='1' type='get'><query xmlns='jabber:iq:private'><x xmlns='y'/></query></iq>",
    "<iq to='TO' id='1' type='set'><query xmlns='jabber:iq:private'/></iq>",
    "<iq to='TO' id='1' type='get'><blocklist xmlns='urn:xmpp:blocking'/></iq>",
    "<iq to='TO' id='1' type='set'><block xmlns='urn:xmpp:blocking'/></iq>",
    "<iq to='TO' id='1' type='get'><query xmlns='jabber:iq:register'/></iq>",
    "<iq to='TO' id='1' type='set'><query xmlns='jabber:iq:register'><remove/></query></iq>",
    "<iq to='TO' id='1' type='get'><query xmlns='jabber:iq:version'/></iq>",
    "<iq to='TO' id='1' type='get'><time xmlns='urn:xmpp:time'/></iq>",
    "<iq to='TO' id='1' type='set'><command xmlns='http://jabber.org/protocol/commands' node='x'/></iq>",
    "<iq to='TO' id='1' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>",
    "<iq to='TO' id='1' type='set'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>",
    "<iq to='TO' id='1' type='set'><query xmlns='urn:xmpp:mam:2'/></iq>",
    "<iq to='TO' id='1' type='get'><metadata xmlns='urn:xmpp:mam:2'/></iq>",
    "<iq to='TO' id='1' type='set'><enable xmlns='urn:xmpp:carbons:2'/></iq>",
    "<iq to='TO' id='1' type='get'><query xmlns='urn:unknown'/></iq>",
    "<iq to='TO' id='1' type='get'/>",
    "<iq to='TO' id='1' type='result'/>",
    "<iq to='TO' id='1' type='error'/>",
    "<iq to='TO/balcony' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<iq to='TO/balcony' id='1' type='set'><query xmlns='jabber:iq:roster'/></iq>",
    "<iq to='TO/elsewhere' id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
    "<presence to='TO' id='1'/>",
    "<presence to='TO/elsewhere' id='1'/>",
    "<presence to='TO' id='1' type='unavailable'/>",
    "<presence to='TO' id='1' type='probe'/>",
    "<presence to='TO/balcony' id='1' type='probe'/>",
    "<presence to='TO/elsewhere' id='1' type='probe'/>",
    "<presence to='TO' id='1' type='unsubscribe'/>",
    "<presence to='TO' id='1' type='unsubscribed'/>",
    "<presence to='TO' id='1' type='subscribed'/>",
    "<presence to='TO' id='1' type='subscribe'/>",
    "<presence to='TO' id='1' type='probe'/>",
    "<presence to='TO' id='1' type='unsubscribe'/>",
    "<message to='TO' id='1' type='headline'><body>?</body></message>",
    "<message to='TO' id='1' type='groupchat'><body>?</body></message>",
    "<message to='TO' id='1' type='error'><body>?</body></message>",
    "<message to='TO/elsewhere' id='1'><body>?</body></message>",
    "<message to='TO/elsewhere' id='1' type='headline'><body>?</body></message>",
    "<message to='TO/elsewhere' id='1' type='groupchat'><body>?</body></message>",
];

#[test]
fn s12_a_stranger_cannot_tell_who_has_an_account_nor_who_is_there() {
    let mut house = House::new();
    let romeo = house.available("romeo@capulet.lit/orchard");
    house.core.sessions.session_mut(romeo).unwrap().interested = true;
    house.available("julia@capulet.lit/balcony");
    house.account("susan@capulet.lit");
    for question in QUESTIONS {
        let mut answers = ["julia", "susan", "bobby"].map(|name| {
            let out = house.send(romeo, &question.replace("TO", &format!("{name}@capulet.lit")));
            let seen = to_session(&out, romeo).into_iter();
            // Roster pushes carry ids and versions of their own.
            let plain = |xml: String| match xml.split_once("<item ") {
                Some((_, item)) => item.replace(name, "bobby"),
                None => xml.replace(name, "bobby"),
            };
            seen.map(|(_, xml)| plain(xml)).collect::<Vec<_>>()
        });
        let nobody = answers[2].clone();
        answers[..2].iter_mut().for_each(|answer| assert_eq!(*answer, nobody, "{question}"));
    }
}

#[test]
fn s12_messages_from_elsewhere_to_nobody_meet_the_silence_of_those_that_are_kept() {
    let fate = |to: &str, ty: Type, is_ours| {
        let element = Element::new("message", ns::CLIENT).attr_if("type", ty.as_str());
        let from = Jid::parse("tybalt@verona.example/street").unwrap();
        matches!(as_if_nobody(&Stanza::build(&element, from, Jid::parse(to).ok()), is_ours), Flow::Taken(_))
    };
    for to in ["nobody@capulet.lit", "nobody@capulet.lit/gone"] {
        assert!(fate(to, Type::Chat, false) && !fate(to, Type::Chat, true), "our own people learn of a mistake");
        assert!(!fate(to, Type::Groupchat, false), "an error anyway, RFC 6121 §8.5.4");
    }
    assert!(fate("nobody@capulet.lit", Type::Normal, false) && !fate("nobody@capulet.lit", Type::Normal, true));
}

#[test]
fn every_contact_hears_that_every_session_of_a_removed_account_ended() {
    let mut house = House::new();
    let sessions = limits::SESSIONS_PER_ACCOUNT_MAX;
    let contacts = 1 + limits::WORK_FAR_MAX / sessions;
    let owner = Jid::parse("juliet@capulet.lit").unwrap();
    let hers: Vec<_> = (0..sessions).map(|n| house.available(&format!("juliet@capulet.lit/{n}"))).collect();
    let theirs: Vec<_> = (0..contacts)
        .map(|n| {
            house.subscribe("juliet@capulet.lit", &format!("contact{n}@capulet.lit"));
            house.available(&format!("contact{n}@capulet.lit/home"))
        })
        .collect();
    let out = house.with(|_, ctx| lifecycle::remove(ctx, &owner).unwrap());
    assert_eq!(house.ended.len(), hers.len());
    let mut heard = std::collections::BTreeMap::new();
    for (id, xml) in out.iter().filter(|(_, xml)| xml.contains("type='unavailable'")) {
        heard.entry(*id).or_insert_with(std::collections::BTreeSet::new).insert(xml);
    }
    assert!(theirs.iter().all(|id| heard.get(id).is_some_and(|heard| heard.len() == sessions)), "{}", heard.len());
}

#[test]
fn what_is_no_iq_reaches_nobody_also_from_elsewhere() {
    // RFC 6120 §8.2.3.
    let mut house = House::new();
    house.federates = true;
    house.available("juliet@capulet.lit/balcony");
    house.subscribe("juliet@capulet.lit", "romeo@montague.lit");
    let ping = "<ping xmlns='urn:xmpp:ping'/>";
    for (iq, answers) in [
        (format!("type='maybe' id='1'>{ping}"), 1),
        (format!("type='get'>{ping}"), 1),
        ("type='get' id='1'>".to_owned(), 1),
        (format!("type='set' id='1'>{ping}{ping}"), 1),
        ("type='result'>".to_owned(), 0),
    ] {
        for to in ["juliet@capulet.lit/balcony", "juliet@capulet.lit", "nobody@capulet.lit", "rooms.capulet.lit"] {
            house.to_peers.clear();
            let out = house.receive(&format!("<iq from='romeo@montague.lit/orchard' to='{to}' {iq}</iq>"));
            assert!(out.is_empty(), "{iq} to {to}: {out:?}");
            assert_eq!(house.to_peers.len(), answers, "{iq} to {to}: {:?}", house.to_peers);
            assert!(house.to_peers.iter().all(|answer| answer.contains("<bad-request ")), "{:?}", house.to_peers);
        }
    }
}
