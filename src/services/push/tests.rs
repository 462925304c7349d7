//! Who is woken, for what, and how often; in the house without streams.

use crate::{
    domain::{
        ids::{AccountId, SessionId},
        push,
        rooms::{self, Record, Settings, Subject},
    },
    limits,
    proto::sm::Sm,
    router::{
        clients, lifecycle,
        service::Notice,
        testing::{House, Out, condition_of, result_of, to_session},
    },
    wire::{element::Element, jid::Jid, ns},
};

const SERVICE: &str = "push@capulet.lit/app";
const JULIET: &str = "juliet@capulet.lit";

/// Romeo is there, and so is a push service, which is a client here; Juliet's telephone has registered and is gone.
struct Verona {
    house: House,
    romeo: SessionId,
    service: SessionId,
}

impl Verona {
    fn new(wish: &str) -> Verona {
        let mut house = House::new();
        let romeo = house.available("romeo@capulet.lit/orchard");
        let service = house.available(SERVICE);
        house.subscribe("push@capulet.lit", JULIET);
        let mut verona = Verona { house, romeo, service };
        let phone = verona.house.available("juliet@capulet.lit/phone");
        let enable = format!("<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='yxs32'>{wish}</enable>");
        let out = verona.house.send(phone, &format!("<iq type='set' id='x42'>{enable}</iq>"));
        assert_eq!(result_of(&out), "");
        verona.leave(phone);
        verona
    }

    /// A session ends.
    fn leave(&mut self, id: SessionId) {
        self.house.notice(Notice::SessionEnding(id));
        self.house.core.sessions.remove(id);
    }

    fn registrations(&mut self) -> usize {
        let juliet = self.house.account(JULIET);
        push::list(&self.house.ctx().store(), juliet).len()
    }

    /// What the push service gets.
    fn told(&self, out: &Out) -> Vec<String> {
        to_session(out, self.service).into_iter().map(|(_, xml)| xml).collect()
    }

    /// Romeo sends her a message; what the push service gets.
    fn says(&mut self, child: &str) -> Vec<String> {
        let out = self.house.send(self.romeo, &format!("<message to='{JULIET}' type='chat'>{child}</message>"));
        self.told(&out)
    }

    /// The push service answers the last request.
    fn answers(&mut self, request: &str, ty: &str, payload: &str) {
        let iq = Element::parse(request.as_bytes(), ns::CLIENT).unwrap();
        let (id, to) = (iq.get("id").unwrap(), iq.get("from").unwrap());
        self.house.send(self.service, &format!("<iq type='{ty}' id='{id}' to='{to}'>{payload}</iq>"));
    }

    fn time_passes(&mut self, ms: u64) -> Vec<String> {
        self.house.now = self.house.now.plus_ms(ms);
        let out = self.house.notice(Notice::Chores);
        self.told(&out)
    }
}

const HARK: &str = "<body>Hark</body>";

/// An error as a push service sends it.
fn error(ty: &str, condition: &str) -> String {
    format!("<error type='{ty}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>")
}

#[test]
fn who_is_gone_is_woken_without_a_word_of_what_was_said() {
    let mut verona = Verona::new(
        "<x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
         <field var='secret'><value>eruio234vzxc2kla-91</value></field></x>",
    );
    let told = verona.says(HARK);
    let [told] = told.as_slice() else { panic!("{told:?}") };
    assert!(!told.contains("Hark") && !told.contains("romeo"), "{told}");
    let iq = Element::parse(told.as_bytes(), ns::CLIENT).unwrap();
    assert_eq!((iq.get("type"), iq.get("from"), iq.get("to")), (Some("set"), Some(JULIET), Some(SERVICE)));
    let pubsub = iq.find("pubsub", ns::PUBSUB).unwrap();
    let publish = pubsub.find("publish", ns::PUBSUB).unwrap();
    assert_eq!(publish.get("node"), Some("yxs32"));
    let item = publish.find("item", ns::PUBSUB).unwrap();
    let summary = item.find("notification", ns::PUSH).unwrap().find("x", ns::DATA).unwrap();
    let summary = crate::wire::form::Form::read(summary).unwrap();
    assert_eq!((summary.form_type(), summary.value("message-count")), (Some(ns::PUSH_SUMMARY), Some("1")));
    let options = pubsub.find("publish-options", ns::PUBSUB).unwrap().find("x", ns::DATA).unwrap();
    let options = crate::wire::form::Form::read(options).unwrap();
    assert_eq!(options.value("secret"), Some("eruio234vzxc2kla-91"));
    assert_eq!(options.form_type(), Some("http://jabber.org/protocol/pubsub#publish-options"));
}

#[test]
fn a_device_with_a_seal_is_told_under_it() {
    let encrypt = |key: &str| format!("<encrypt xmlns='tigase:push:encrypt:0' alg='aes-128-gcm'>{key}</encrypt>");
    let mut verona = Verona::new(&encrypt("BwcHBwcHBwcHBwcHBwcHBw=="));
    let told = verona.says(HARK);
    assert!(told[0].contains("<encrypted xmlns='tigase:push:encrypt:0' iv="), "{told:?}");
    assert!(!told[0].contains("urn:xmpp:push:summary") && !told[0].contains("Hark"));
    let phone = verona.house.available("juliet@capulet.lit/phone");
    let enable = format!("<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}'>{}</enable>", encrypt("c2hvcnQ="));
    assert_eq!(condition_of(&verona.house.send(phone, &format!("<iq type='set' id='e'>{enable}</iq>"))), "bad-request");
}

#[test]
fn only_what_matters_wakes() {
    for (child, wakes) in [
        (HARK, true),
        ("<encrypted xmlns='eu.siacs.conversations.axolotl'/><store xmlns='urn:xmpp:hints'/>", true),
        ("<propose xmlns='urn:xmpp:jingle-message:0' id='a73sjjvkla37jfea'/>", true),
        ("<retract xmlns='urn:xmpp:jingle-message:0' id='a73sjjvkla37jfea'/>", false),
        ("<composing xmlns='http://jabber.org/protocol/chatstates'/>", false),
        ("<received xmlns='urn:xmpp:receipts' id='1'/>", false),
        ("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", false),
    ] {
        assert_eq!(!Verona::new("").says(child).is_empty(), wakes, "{child}");
    }
}

#[test]
fn who_is_connected_is_not_woken() {
    let mut verona = Verona::new("");
    let phone = verona.house.available("juliet@capulet.lit/phone");
    verona.house.notice(Notice::SessionBound(phone));
    assert!(verona.says(HARK).is_empty());
    verona.house.core.sessions.session_mut(phone).unwrap().stream = None;
    verona.house.notice(Notice::SessionWaits(phone));
    assert_eq!(verona.says(HARK).len(), 1, "its session waits for it");
}

#[test]
fn a_telephone_is_woken_while_another_device_is_connected() {
    let mut verona = Verona::new("");
    verona.house.available("juliet@capulet.lit/desk");
    assert_eq!(verona.says(HARK).len(), 1);
    // What is for the desk alone is not for the telephone.
    let private = "<message to='juliet@capulet.lit/desk' type='chat'><body>x</body><private xmlns='urn:xmpp:carbons:2'/></message>";
    verona.time_passes(limits::PUSH_PAUSE_MS);
    let romeo = verona.romeo;
    let out = verona.house.send(romeo, private);
    assert!(verona.told(&out).is_empty());
}

#[test]
fn a_device_that_does_not_come_is_woken_ever_more_seldom() {
    let mut verona = Verona::new("");
    assert_eq!(verona.says(HARK).len(), 1);
    assert!(verona.says(HARK).is_empty() && verona.says(HARK).is_empty());
    assert_eq!(verona.house.core.chores_at, Some(verona.house.now.plus_ms(limits::PUSH_PAUSE_MS)));
    let told = verona.time_passes(limits::PUSH_PAUSE_MS);
    assert!(told.len() == 1 && told[0].contains("<value>3</value>"), "{told:?}");
    assert!(verona.time_passes(limits::PUSH_PAUSE_MS_MAX).is_empty(), "nothing is left to tell");
    for _ in 0..9 {
        verona.time_passes(limits::PUSH_PAUSE_MS_MAX);
        assert_eq!(verona.says(HARK).len(), 1);
    }
    assert!(verona.says(HARK).is_empty());
    assert!(verona.time_passes(limits::PUSH_PAUSE_MS_MAX - 1).is_empty());
    assert_eq!(verona.time_passes(1).len(), 1);
    // It comes, and goes again.
    let phone = verona.house.available("juliet@capulet.lit/phone");
    verona.house.notice(Notice::SessionBound(phone));
    verona.leave(phone);
    let told = verona.says(HARK);
    assert!(told.len() == 1 && told[0].contains("<value>1</value>"), "{told:?}");
}

#[test]
fn what_was_sent_and_not_received_is_told_when_the_connection_is_gone() {
    for token in [None, Some([7; 16])] {
        let mut verona = Verona::new("");
        let phone = verona.house.available("juliet@capulet.lit/phone");
        verona.house.core.sessions.session_mut(phone).unwrap().sm = Some(Box::new(Sm::new(token)));
        let marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>";
        for child in [HARK, marker, HARK] {
            assert!(verona.says(child).is_empty());
        }
        verona.house.core.sessions.session_mut(phone).unwrap().stream = None;
        let gone = if token.is_some() { Notice::SessionWaits(phone) } else { Notice::SessionEnding(phone) };
        let out = verona.house.notice(gone);
        let told = verona.told(&out);
        assert!(told.len() == 1 && told[0].contains("<value>2</value>"), "{told:?}");
        assert!(verona.time_passes(limits::PUSH_PAUSE_MS).is_empty(), "once");
    }
}

#[test]
fn a_call_to_a_session_that_hibernates_wakes() {
    let mut verona = Verona::new("");
    let phone = verona.house.available("juliet@capulet.lit/phone");
    verona.house.core.sessions.session_mut(phone).unwrap().stream = None;
    verona.house.notice(Notice::SessionWaits(phone));
    let jingle = |action| {
        let jingle = format!("<jingle xmlns='urn:xmpp:jingle:1' action='{action}' sid='a73'/>");
        format!("<iq type='set' id='j' to='juliet@capulet.lit/phone'>{jingle}</iq>")
    };
    let romeo = verona.romeo;
    let out = verona.house.send(romeo, &jingle("session-initiate"));
    assert!(verona.told(&out).is_empty(), "not for a stranger, who would not reach it");
    verona.house.subscribe(JULIET, "romeo@capulet.lit");
    let out = verona.house.send(romeo, &jingle("session-info"));
    assert!(verona.told(&out).is_empty());
    let out = verona.house.send(romeo, &jingle("session-initiate"));
    assert_eq!(verona.told(&out).len(), 1);
}

#[test]
fn a_call_does_not_wait() {
    let mut verona = Verona::new("<priority xmlns='tigase:push:priority:0'/><jingle xmlns='tigase:push:jingle:0'/>");
    assert_eq!(verona.says(HARK).len(), 1);
    verona.house.now = verona.house.now.plus_ms(limits::PUSH_CALL_PAUSE_MS);
    let told = verona.says(
        "<propose xmlns='urn:xmpp:jingle-message:0' id='a73'>\
         <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='audio'/></propose>",
    );
    assert!(told.len() == 1, "{told:?}");
    assert!(told[0].contains("<priority xmlns='tigase:push:priority:0'>high</priority>"), "{told:?}");
    let jingle = "<jingle xmlns='tigase:push:jingle:0' action='propose' sid='a73'><media>audio</media></jingle>";
    assert!(told[0].contains(jingle), "{told:?}");
    assert!(verona.says("<propose xmlns='urn:xmpp:jingle-message:0' id='a74'/>").is_empty(), "but not a storm of them");
}

#[test]
fn of_a_call_no_more_is_kept_and_told_than_a_call_needs() {
    let mut verona = Verona::new("<jingle xmlns='tigase:push:jingle:0'/>");
    let long = "x".repeat(limits::PUSH_TEXT_BYTES + 1);
    let propose = |id: &str, media: &str| {
        format!(
            "<propose xmlns='urn:xmpp:jingle-message:0' id='{id}'>\
             <description xmlns='urn:xmpp:jingle:apps:rtp:1' media='{media}'/></propose>"
        )
    };
    let told = verona.says(&propose(&long[1..], "audio"));
    assert!(told.len() == 1 && told[0].contains(&long[1..]) && told[0].contains("<media>audio</media>"), "{told:?}");
    // It is a call still, which its client finds out about when it comes.
    for (id, media) in [(&*long, "audio"), ("a73", &*long)] {
        verona.house.now = verona.house.now.plus_ms(limits::PUSH_CALL_PAUSE_MS);
        let told = verona.says(&propose(id, media));
        assert!(told.len() == 1 && !told[0].contains(&long), "{told:?}");
    }
}

#[test]
fn what_waits_for_a_device_that_was_signed_out_is_not_told() {
    let mut verona = Verona::new("");
    assert_eq!(verona.says(HARK).len(), 1);
    assert!(verona.says(HARK).is_empty(), "in a moment");
    let jid = Jid::parse(JULIET).unwrap();
    verona.house.with(|_, ctx| lifecycle::change_password(ctx, &jid, House::credentials("new"), None).unwrap());
    assert_eq!(verona.registrations(), 0);
    assert!(verona.time_passes(limits::PUSH_PAUSE_MS_MAX).is_empty());
}

#[test]
fn only_the_push_service_ends_a_registration() {
    for (ty, condition, ends) in [
        ("cancel", "item-not-found", true),
        ("auth", "forbidden", true),
        ("wait", "resource-constraint", false),
        ("cancel", "remote-server-not-found", false),
        ("wait", "remote-server-timeout", false),
    ] {
        let mut verona = Verona::new("");
        let told = verona.says(HARK);
        verona.answers(&told[0], "error", &error(ty, condition));
        assert_eq!(verona.registrations() == 0, ends, "{condition}");
    }
    let mut verona = Verona::new("");
    let told = verona.says(HARK);
    verona.answers(&told[0], "result", "");
    verona.answers(&told[0], "error", &error("cancel", "item-not-found"));
    assert_eq!(verona.registrations(), 1, "there is one answer");
    // Somebody else says so.
    let told = verona.time_passes(limits::PUSH_PAUSE_MS);
    assert!(told.is_empty());
    let told = verona.says(HARK);
    verona.service = verona.romeo;
    verona.answers(&told[0], "error", &error("cancel", "item-not-found"));
    assert_eq!(verona.registrations(), 1);
}

#[test]
fn a_push_service_that_is_not_reached_keeps_its_registrations() {
    let mut verona = Verona::new("");
    let phone = verona.house.available("juliet@capulet.lit/phone");
    for service in ["push-5.client.example", "nobody@capulet.lit/app", "push@capulet.lit/gone"] {
        let enable = format!("<enable xmlns='urn:xmpp:push:0' jid='{service}' node='n'/>");
        verona.house.send(phone, &format!("<iq type='set' id='e'>{enable}</iq>"));
    }
    verona.leave(phone);
    let desk = verona.house.available("juliet@capulet.lit/desk");
    let romeo = verona.romeo;
    let out = verona.house.send(romeo, &format!("<message to='{JULIET}' type='chat'>{HARK}</message>"));
    assert_eq!(verona.registrations(), 4);
    assert_eq!(to_session(&out, desk).len(), 1, "her clients do not hear of it: {out:?}");
}

#[test]
fn a_service_of_the_house_may_be_the_push_service() {
    let mut verona = Verona::new("");
    let phone = verona.house.available("juliet@capulet.lit/phone");
    // Nodes of somebody else's account, where she may not publish; and her own, where she may.
    for service in ["push@capulet.lit", JULIET] {
        let enable = format!("<enable xmlns='urn:xmpp:push:0' jid='{service}' node='n'/>");
        verona.house.send(phone, &format!("<iq type='set' id='e'>{enable}</iq>"));
    }
    verona.leave(phone);
    verona.says(HARK);
    let juliet = verona.house.account(JULIET);
    let left: Vec<_> = push::list(&verona.house.ctx().store(), juliet).into_iter().map(|own| own.service).collect();
    assert_eq!(left, [JULIET, SERVICE], "the refusal of a service here counts like any other");
}

#[test]
fn a_client_of_the_same_account_may_be_the_push_service() {
    let mut verona = Verona::new("");
    let phone = verona.house.available("juliet@capulet.lit/phone");
    let desk = verona.house.available("juliet@capulet.lit/desk");
    let enable = "<enable xmlns='urn:xmpp:push:0' jid='juliet@capulet.lit/desk' node='n'/>";
    verona.house.send(phone, &format!("<iq type='set' id='e'>{enable}</iq>"));
    verona.leave(phone);
    verona.service = desk;
    let told: Vec<_> = verona.says(HARK).into_iter().filter(|xml| xml.starts_with("<iq")).collect();
    verona.answers(&told[0], "error", &error("cancel", "item-not-found"));
    assert_eq!(verona.registrations(), 1);
}

#[test]
fn a_new_password_ends_the_registrations_of_others() {
    let mut verona = Verona::new("");
    let desk = verona.house.available("juliet@capulet.lit/desk");
    let enable = format!("<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='desk'/>");
    verona.house.send(desk, &format!("<iq type='set' id='e'>{enable}</iq>"));
    let jid = Jid::parse(JULIET).unwrap();
    let juliet = verona.house.account(JULIET);
    verona.house.with(|_, ctx| lifecycle::change_password(ctx, &jid, House::credentials("new"), Some(desk)).unwrap());
    let left = push::list(&verona.house.ctx().store(), juliet);
    assert_eq!(left.iter().map(|registration| &*registration.node).collect::<Vec<_>>(), ["desk"]);
    verona.house.with(|_, ctx| lifecycle::set_disabled(ctx, &jid, true).unwrap());
    assert_eq!(verona.registrations(), 0);
}

#[test]
fn a_client_that_is_signed_out_is_woken_no_more() {
    let mut verona = Verona::new("");
    let desk = verona.house.available("juliet@capulet.lit/desk");
    let enable = format!("<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='desk'/>");
    verona.house.send(desk, &format!("<iq type='set' id='e'>{enable}</iq>"));
    let jid = Jid::parse(JULIET).unwrap();
    let juliet = verona.house.account(JULIET);
    verona.house.with(|_, ctx| {
        let id = clients::list(ctx, juliet, &jid)[0].id.clone();
        clients::revoke(ctx, juliet, &jid, &id).unwrap();
    });
    assert_eq!(verona.registrations(), 1, "the telephone's");
}

#[test]
fn a_request_for_a_subscription_wakes_once() {
    let mut verona = Verona::new("");
    let romeo = verona.romeo;
    let ask = format!("<presence type='subscribe' to='{JULIET}'/>");
    let out = verona.house.send(romeo, &ask);
    let told = verona.told(&out);
    assert!(told.len() == 1 && told[0].contains("pending-subscription-count"), "{told:?}");
    assert!(!told[0].contains("last-message-body"));
    verona.house.now = verona.house.now.plus_ms(limits::PUSH_PAUSE_MS);
    let out = verona.house.send(romeo, &ask);
    assert!(verona.told(&out).is_empty(), "it is no news");
}

#[test]
fn a_device_says_what_it_does_not_want_to_be_woken_for() {
    let unknown = "<ignore-unknown xmlns='tigase:push:filter:ignore-unknown:0'/>";
    let mut verona = Verona::new(unknown);
    assert!(verona.says(HARK).is_empty());
    verona.house.subscribe(JULIET, "romeo@capulet.lit");
    assert_eq!(verona.says(HARK).len(), 1);

    let muted = "<muted xmlns='tigase:push:filter:muted:0'><item jid='romeo@capulet.lit'/></muted>";
    assert!(Verona::new(muted).says(HARK).is_empty());
    let muted = "<muted xmlns='tigase:push:filter:muted:0'><item jid='nurse@capulet.lit'/></muted>";
    assert_eq!(Verona::new(muted).says(HARK).len(), 1);
}

#[test]
fn rooms_wake_as_they_are_asked_to() {
    let rules =
        "<groupchat xmlns='tigase:push:filter:groupchat:0'><room jid='romeo@capulet.lit' allow='always'/></groupchat>";
    let mentioned = "<groupchat xmlns='tigase:push:filter:groupchat:0'>\
                     <room jid='romeo@capulet.lit' allow='mentioned' nick='Jule'/></groupchat>";
    let none = "<groupchat xmlns='tigase:push:filter:groupchat:0'/>";
    for (rules, body, wakes) in [
        ("", "x", true),
        (none, "x", false),
        (rules, "x", true),
        (mentioned, "x", false),
        (mentioned, "Jules!", false),
        (mentioned, "ay, Jule?", true),
    ] {
        let mut verona = Verona::new(rules);
        let phone = verona.house.available("juliet@capulet.lit/phone");
        verona.house.notice(Notice::SessionBound(phone));
        verona.house.core.sessions.session_mut(phone).unwrap().stream = None;
        verona.house.notice(Notice::SessionWaits(phone));
        // A room's message, as it would come to the session that joined.
        let message = format!("<message to='juliet@capulet.lit/phone' type='groupchat'><body>{body}</body></message>");
        let romeo = verona.romeo;
        let out = verona.house.send(romeo, &message);
        assert_eq!(verona.told(&out).len() == 1, wakes, "{rules} {body}");
    }
}

impl Verona {
    /// Juliet bookmarks a chat at her desk.
    fn bookmarks(&mut self, chat: &str, nick: &str, notify: &str) {
        let desk = self.house.available("juliet@capulet.lit/desk");
        self.house.send(
            desk,
            &format!(
                "<iq type='set' id='b'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
                 <publish node='urn:xmpp:bookmarks:1'><item id='{chat}'>\
                 <conference xmlns='urn:xmpp:bookmarks:1'>{nick}<extensions>\
                 <notify xmlns='urn:xmpp:notification-settings:1'>{notify}</notify></extensions></conference>\
                 </item></publish></pubsub></iq>"
            ),
        );
    }
}

impl Verona {
    /// A room's message as it comes to the session that joined, on Juliet's telephone, which is out of reach; whether that
    /// is woken. Romeo's address stands for the room's.
    fn says_in_room(&mut self, said: &str) -> bool {
        let phone = self.house.available("juliet@capulet.lit/phone");
        self.house.notice(Notice::SessionBound(phone));
        self.house.core.sessions.session_mut(phone).unwrap().stream = None;
        self.house.notice(Notice::SessionWaits(phone));
        let message = format!("<message to='juliet@capulet.lit/phone' type='groupchat'>{said}</message>");
        let out = self.house.send(self.romeo, &message);
        self.told(&out).len() == 1
    }
}

#[test]
fn conversations_that_are_bookmarked_as_silent_do_not_wake() {
    // XEP-0492 §3.
    for (notify, wakes) in [
        ("<never/>", false),
        ("<always/>", true),
        ("<on-mention/>", true),
        ("<always/><never identity-category='client' identity-type='phone'/>", false),
        ("<never/><always identity-category='client'/>", true),
        ("<always/><never identity-category='client' identity-type='pc'/>", true),
        ("<never><advanced><x xmlns='urn:x'/></advanced></never>", false),
    ] {
        let mut verona = Verona::new("");
        verona.bookmarks("romeo@capulet.lit", "", notify);
        assert_eq!(verona.says(HARK).len() == 1, wakes, "{notify}");
    }
}

#[test]
fn a_room_that_is_only_worth_it_on_mention_wakes_who_is_mentioned() {
    // XEP-0492 §3: a reply, a mention, or the nick spelled out. Romeo's address stands for the room's.
    let reply = |to: &str| format!("<body>ay</body><reply xmlns='urn:xmpp:reply:0' to='{to}' id='1'/>");
    let mention =
        |uri: &str| format!("<body>ay</body><reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:{uri}'/>");
    for (nick, said, wakes) in [
        ("<nick>Jule</nick>", "<body>ay</body>".to_owned(), false),
        ("<nick>Jule</nick>", "<body>Jule: ay</body>".to_owned(), true),
        ("", "<body>ay, juliet!</body>".to_owned(), true),
        ("<nick>Jule</nick>", reply("romeo@capulet.lit/Jule"), true),
        ("<nick>Jule</nick>", reply("romeo@capulet.lit/Nurse"), false),
        ("", mention("juliet@capulet.lit"), true),
        ("", mention("nurse@capulet.lit"), false),
    ] {
        let mut verona = Verona::new("");
        verona.bookmarks("romeo@capulet.lit", nick, "<on-mention/>");
        assert_eq!(verona.says_in_room(&said), wakes, "{nick} {said}");
    }
}

#[test]
fn of_public_rooms_only_mentions_wake_unless_it_is_settled() {
    // XEP-0492 §3.
    for (is_public, notify, said, wakes) in [
        (false, None, "ay", true),
        (true, None, "ay", false),
        (true, None, "ay, juliet", true),
        (true, Some("<always/>"), "ay", true),
        (true, Some("<never/>"), "ay, juliet", false),
        (true, Some("<always identity-category='client' identity-type='pc'/>"), "ay", false),
    ] {
        let mut verona = Verona::new("");
        let settings = Settings { is_public, ..Settings::default() };
        let room = Record { id: AccountId(99), creator: String::new(), settings, subject: Subject::default() };
        rooms::put(&mut verona.house.ctx().store(), &Jid::parse("romeo@capulet.lit").unwrap(), &room);
        if let Some(notify) = notify {
            verona.bookmarks("romeo@capulet.lit", "", notify);
        }
        assert_eq!(verona.says_in_room(&format!("<body>{said}</body>")), wakes, "{is_public} {notify:?} {said}");
    }
}

#[test]
fn what_is_disabled_is_told_nothing() {
    let mut verona = Verona::new("");
    let phone = verona.house.available("juliet@capulet.lit/phone");
    for node in ["a", "b"] {
        let enable = format!("<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='{node}'/>");
        verona.house.send(phone, &format!("<iq type='set' id='e'>{enable}</iq>"));
    }
    assert_eq!(verona.registrations(), 3);
    let one = format!("<iq type='set' id='d'><disable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='a'/></iq>");
    assert_eq!(result_of(&verona.house.send(phone, &one)), "");
    assert_eq!(verona.registrations(), 2);
    let all = format!("<iq type='set' id='d'><disable xmlns='urn:xmpp:push:0' jid='{SERVICE}'/></iq>");
    verona.house.send(phone, &all);
    assert_eq!(verona.registrations(), 0);
    verona.leave(phone);
    assert!(verona.says(HARK).is_empty());
    // §8: the service itself wants no more.
    let mut verona = Verona::new("");
    let service = verona.service;
    let message = format!(
        "<message to='{JULIET}'><pubsub xmlns='http://jabber.org/protocol/pubsub' node='yxs32'>\
         <affiliation jid='{JULIET}' affiliation='none'/></pubsub></message>"
    );
    let romeo = verona.romeo;
    verona.house.send(romeo, &message);
    assert_eq!(verona.registrations(), 1, "somebody else cannot say so");
    verona.house.send(service, &message);
    assert_eq!(verona.registrations(), 0);
}

#[test]
fn registrations_are_few_and_the_oldest_gives_way() {
    let mut verona = Verona::new("");
    let phone = verona.house.available("juliet@capulet.lit/phone");
    for node in 0..limits::PUSH_PER_ACCOUNT_MAX {
        verona.house.wall_us += 1_000_000;
        let enable = format!("<enable xmlns='urn:xmpp:push:0' jid='{SERVICE}' node='{node}'/>");
        verona.house.send(phone, &format!("<iq type='set' id='e'>{enable}</iq>"));
    }
    let juliet = verona.house.account(JULIET);
    let left = push::list(&verona.house.ctx().store(), juliet);
    assert_eq!(left.len(), limits::PUSH_PER_ACCOUNT_MAX);
    assert!(left.iter().all(|registration| registration.node != "yxs32"));
}

#[test]
fn what_cannot_be_kept_is_refused() {
    let mut house = House::new();
    let phone = house.available("juliet@capulet.lit/phone");
    let mut refused = |enable: &str| condition_of(&house.send(phone, &format!("<iq type='set' id='e'>{enable}</iq>")));
    assert_eq!(refused("<enable xmlns='urn:xmpp:push:0' node='n'/>"), "bad-request");
    assert_eq!(refused("<disable xmlns='urn:xmpp:push:0'/>"), "bad-request");
    assert_eq!(refused("<enable xmlns='urn:xmpp:push:0' jid='a'><x xmlns='jabber:x:data'/></enable>"), "bad-request");
    let item = "<item jid='somebody@somewhere.lit'/>".repeat(limits::PUSH_WISH_BYTES_MAX / 20);
    let muted = format!("<muted xmlns='tigase:push:filter:muted:0'>{item}</muted>");
    assert_eq!(refused(&format!("<enable xmlns='urn:xmpp:push:0' jid='a'>{muted}</enable>")), "policy-violation");
    let node = "n".repeat(limits::NODE_NAME_BYTES_MAX + 1);
    assert_eq!(refused(&format!("<enable xmlns='urn:xmpp:push:0' jid='a' node='{node}'/>")), "not-acceptable");
}

#[test]
fn the_same_again_costs_no_write() {
    let mut house = House::new();
    let phone = house.available("juliet@capulet.lit/phone");
    let enable = "<iq type='set' id='e'><enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'/></iq>";
    house.send(phone, enable);
    let before = house.core.overlay.puts();
    house.wall_us += 1_000_000;
    house.send(phone, enable);
    assert_eq!(house.core.overlay.puts(), before);
}

/// Romeo makes a room and sets it up with these fields; Juliet is a member.
fn coven(verona: &mut Verona, fields: &[(&str, &str)]) {
    let romeo = verona.romeo;
    let room = "coven@rooms.capulet.lit";
    let field =
        |(name, value): &(&str, &str)| format!("<field var='muc#roomconfig_{name}'><value>{value}</value></field>");
    let fields: String = fields.iter().map(field).collect();
    let form = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
    let owner = "http://jabber.org/protocol/muc#owner";
    let admin = "http://jabber.org/protocol/muc#admin";
    let member = format!("<query xmlns='{admin}'><item affiliation='member' jid='{JULIET}'/></query>");
    for stanza in [
        format!("<presence to='{room}/r'><x xmlns='http://jabber.org/protocol/muc'/></presence>"),
        // Before the room is for members only: an invitation would call her, too.
        format!("<iq type='set' id='m' to='{room}'>{member}</iq>"),
        format!("<iq type='set' id='c' to='{room}'><query xmlns='{owner}'>{form}</query></iq>"),
    ] {
        verona.house.send(romeo, &stanza);
    }
}

#[test]
fn what_is_said_in_a_private_group_wakes_members_who_are_gone() {
    let says = |verona: &mut Verona, inner: &str| {
        let romeo = verona.romeo;
        let message = format!("<message type='groupchat' to='coven@rooms.capulet.lit' id='g'>{inner}</message>");
        let out = verona.house.send(romeo, &message);
        verona.told(&out)
    };
    let mut verona = Verona::new("");
    coven(&mut verona, &[("membersonly", "1")]);
    assert!(says(&mut verona, "<composing xmlns='http://jabber.org/protocol/chatstates'/>").is_empty());
    let told = says(&mut verona, HARK);
    assert!(told.len() == 1 && !told[0].contains("Hark"), "{told:?}");
    // Whoever looked at it elsewhere, and is no member, is told nothing.
    let mut verona = Verona::new("");
    coven(&mut verona, &[("membersonly", "0")]);
    assert!(says(&mut verona, HARK).is_empty(), "in a room that is open, nobody is called");
}

#[test]
fn what_is_said_in_a_room_wakes_a_device_whose_session_waits_there() {
    let mut verona = Verona::new("");
    coven(&mut verona, &[]);
    let phone = verona.house.available("juliet@capulet.lit/phone");
    verona.house.notice(Notice::SessionBound(phone));
    let enter = "<presence to='coven@rooms.capulet.lit/j'><x xmlns='http://jabber.org/protocol/muc'/></presence>";
    verona.house.send(phone, enter);
    let romeo = verona.romeo;
    let message = format!("<message type='groupchat' to='coven@rooms.capulet.lit' id='g'>{HARK}</message>");
    let out = verona.house.send(romeo, &message);
    assert!(verona.told(&out).is_empty() && to_session(&out, phone).len() == 1, "it is there: {out:?}");
    verona.house.core.sessions.session_mut(phone).unwrap().stream = None;
    verona.house.notice(Notice::SessionWaits(phone));
    let out = verona.house.send(romeo, &message);
    assert_eq!(verona.told(&out).len(), 1);
}
