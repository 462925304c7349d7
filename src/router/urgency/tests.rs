//! What is important and what waits, from the stanzas that clients send.

use super::*;

fn of(xml: &str) -> Urgency {
    urgency(&Chunk::new(xml.as_bytes()))
}

fn waits(xml: &str) -> bool {
    matches!(of(xml), Urgency::Later(_))
}

/// Whether the second takes the place of the first.
fn replaces(first: &str, second: &str) -> bool {
    let about = |xml| match of(xml) {
        Urgency::Later(about) => about,
        Urgency::Now => panic!("{xml} does not wait"),
    };
    about(first).is_some_and(|first| Some(first) == about(second))
}

#[test]
fn what_people_read_or_hear_is_important() {
    for child in [
        "<body>Wherefore art thou?</body>",
        "<subject>The masque</subject>",
        "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/></encrypted>",
        "<encrypted xmlns='eu.siacs.conversations.axolotl'/><store xmlns='urn:xmpp:hints'/>",
        "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>",
        "<retract xmlns='urn:xmpp:jingle-message:0' id='1'/>",
        "<x xmlns='jabber:x:conference' jid='masque@rooms.capulet.lit'/>",
        "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='nurse@capulet.lit'/></x>",
        "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>",
        "<x xmlns='http://jabber.org/protocol/muc#user'/>",
        "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>x</reaction></reactions>",
        "<event xmlns='http://jabber.org/protocol/pubsub#event'/><body>news</body>",
        "<result xmlns='urn:xmpp:mam:2' id='1'/>",
        "<unheard-of xmlns='urn:example:what'/>",
    ] {
        assert!(!waits(&format!("<message from='romeo@montague.lit/x' type='chat'>{child}</message>")), "{child}");
    }
    assert!(!waits(
        "<message from='a@b/c' type='error'><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    ));
}

#[test]
fn requests_and_answers_are_important() {
    assert!(!waits("<iq type='get' from='romeo@montague.lit/x' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"));
    for ty in ["subscribe", "subscribed", "unsubscribe", "unsubscribed", "error"] {
        assert!(!waits(&format!("<presence from='romeo@montague.lit' type='{ty}'/>")), "{ty}");
    }
    let room = "<presence from='masque@rooms.capulet.lit/me'><x xmlns='http://jabber.org/protocol/muc#user'>";
    assert!(!waits(&format!("{room}<item affiliation='none'/><status code='110'/></x></presence>")));
    assert!(waits(&format!("{room}<item affiliation='none'/></x></presence>")));
    // Kicked, banned, or the room is gone: XEP-0045 examples 90, 113 and 202, also where nobody says whose it is.
    let gone = "<presence type='unavailable' from='masque@rooms.capulet.lit/me'><x xmlns='http://jabber.org/protocol/muc#user'>";
    for (why, is_held) in [
        ("<status code='307'/>", false),
        ("<status code='301'/>", false),
        ("<destroy jid='other@rooms.capulet.lit'/>", false),
        ("<status code='307'/><status code='110'/><status code='333'/>", false),
        ("<status code='307'/><status code='333'/>", true),
        ("", true),
    ] {
        assert_eq!(
            waits(&format!("{gone}<item affiliation='none' role='none'/>{why}</x></presence>")),
            is_held,
            "{why}"
        );
    }
}

#[test]
fn ticks_states_presence_and_news_wait() {
    for xml in [
        "<message from='r@b'><x xmlns='http://jabber.org/protocol/muc#user'><mav xmlns='urn:xmpp:muc:affiliations:1' \
         until='2'/><item affiliation='member' jid='a@b' role='none'/></x></message>",
        "<message from='a@b/c'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
        "<message from='a@b/c'><received xmlns='urn:xmpp:receipts' id='1'/><store xmlns='urn:xmpp:hints'/></message>",
        "<message from='a@b/c'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/><thread>t</thread></message>",
        "<message from='a@b' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'/></message>",
        "<presence from='a@b/c'/>",
        "<presence from='a@b/c' type='unavailable'/>",
    ] {
        assert!(waits(xml), "{xml}");
    }
}

#[test]
fn copies_are_judged_by_what_they_carry() {
    let copy = |way, child| {
        format!(
            "<message from='juliet@capulet.lit' type='chat'><{way} xmlns='urn:xmpp:carbons:2'>\
             <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='a@b/c' to='d@e'>{child}</message>\
             </forwarded></{way}></message>"
        )
    };
    let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>";
    let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
    assert!(!waits(&copy("received", "<body>x</body>")));
    assert!(!waits(&copy("sent", "<body>x</body>")));
    // Read on another device: the notification goes away here.
    assert!(!waits(&copy("sent", marker)));
    assert!(waits(&copy("received", marker)));
    assert!(waits(&copy("sent", state)));
}

#[test]
fn the_last_word_of_each_is_enough() {
    let presence = |from: &str, show: &str| format!("<presence from='{from}'><show>{show}</show></presence>");
    assert!(replaces(&presence("a@b/c", "away"), &presence("a@b/c", "xa")));
    assert!(replaces(&presence("a@b/c", "away"), "<presence from='a@b/c' type='unavailable'/>"));
    assert!(!replaces(&presence("a@b/c", "away"), &presence("a@b/d", "xa")));

    let event = |from: &str, node: &str, id: &str| {
        format!(
            "<message from='{from}' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>\
             <items node='{node}'><item id='{id}'/></items></event></message>"
        )
    };
    let (mood, marks) = ("http://jabber.org/protocol/mood", "urn:xmpp:mds:displayed:0");
    assert!(replaces(&event("a@b", mood, "1"), &event("a@b", mood, "2")));
    assert!(!replaces(&event("a@b", mood, "1"), &event("d@e", mood, "1")));
    // One item for each conversation: each of them is news.
    assert!(!replaces(&event("a@b", marks, "1"), &event("a@b", marks, "2")));
    assert!(replaces(&event("a@b", marks, "1"), &event("a@b", marks, "1")));

    let state = |name: &str| {
        format!("<message from='a@b/c' to='d@e'><{name} xmlns='http://jabber.org/protocol/chatstates'/></message>")
    };
    assert!(replaces(&state("composing"), &state("paused")));
    let receipt = "<message from='a@b/c' to='d@e'><received xmlns='urn:xmpp:receipts' id='1'/></message>";
    assert!(!replaces(receipt, receipt));
}
