//! What the owner of an archive notices, after XEP-0313, XEP-0059, XEP-0334 and XEP-0441.

mod emptied;

use crate::{
    domain::{archive, ids::SessionId, keys, waiting},
    limits,
    router::{
        service::Notice,
        testing::{House, Out, condition_of, result_of, to_session},
    },
    wire::{element::Element, jid::Jid, ns},
};

const ROMEO: &str = "romeo@capulet.lit/orchard";
const JULIET: &str = "juliet@capulet.lit/balcony";

fn parsed(xml: &str) -> Element {
    Element::parse(xml.as_bytes(), ns::CLIENT).unwrap()
}

/// A house with both of them, and Juliet's session.
fn house() -> (House, SessionId, SessionId) {
    let mut house = House::new();
    let romeo = house.available(ROMEO);
    let juliet = house.available(JULIET);
    (house, romeo, juliet)
}

fn say(house: &mut House, from: SessionId, to: &str, text: &str) -> Out {
    house.wall_us += 1_000_000;
    house.send(from, &format!("<message to='{to}' type='chat' id='m'><body>{text}</body></message>"))
}

/// A page as its client sees it.
struct Page {
    /// Bodies, in the order in which they came.
    bodies: Vec<String>,
    /// Archive ids.
    ids: Vec<String>,
    fin: Element,
}

impl Page {
    fn rsm(&self, name: &str) -> Option<String> {
        self.fin.find("set", ns::RSM).unwrap().leaf_text(name)
    }

    fn is_complete(&self) -> bool {
        self.fin.get("complete") == Some("true")
    }

    fn index(&self) -> Option<String> {
        let first = self.fin.find("set", ns::RSM).unwrap().find("first", ns::RSM)?;
        first.get("index").map(str::to_owned)
    }
}

fn fields(fields: &[(&str, &str)]) -> String {
    let field = |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let fields: String = fields.iter().map(field).collect();
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value>\
         </field>{fields}</x>"
    )
}

fn set(inner: &str) -> String {
    format!("<set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>")
}

fn ask(house: &mut House, who: SessionId, inner: &str) -> Out {
    house.send(who, &format!("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2' queryid='f27'>{inner}</query></iq>"))
}

fn query(house: &mut House, who: SessionId, inner: &str) -> Page {
    let mut out = ask(house, who, inner);
    let (_, fin) = out.pop().unwrap();
    let fin = parsed(&fin);
    assert_eq!(fin.get("type"), Some("result"), "{fin:?}");
    let mut page =
        Page { bodies: Vec::new(), ids: Vec::new(), fin: fin.find("fin", ns::MAM).expect("the end is told").clone() };
    let own = house.core.sessions.session(who).unwrap().jid.clone();
    for (to, xml) in out {
        let message = parsed(&xml);
        assert_eq!(to, who, "results go to who asked");
        assert_eq!(message.get("from"), Some(own.bare_str()), "results come from the account itself");
        let result = message.find("result", ns::MAM).unwrap();
        assert_eq!(result.get("queryid"), Some("f27"));
        let forwarded = result.find("forwarded", ns::FORWARD).unwrap();
        assert!(forwarded.find("delay", ns::DELAY).unwrap().get("stamp").is_some());
        let inner = forwarded.find("message", ns::CLIENT).unwrap();
        page.bodies.push(inner.leaf_text("body").unwrap_or_else(|| "?".into()));
        page.ids.push(result.get("id").unwrap().to_owned());
    }
    page
}

fn stanza_id(message: &str) -> Option<String> {
    parsed(message).find("stanza-id", ns::SID).and_then(|sid| sid.get("id")).map(str::to_owned)
}

#[test]
fn the_id_of_a_live_message_is_that_of_the_recipients_archive() {
    let (mut house, romeo, juliet) = house();
    let out = say(&mut house, romeo, JULIET, "hello");
    let live = stanza_id(&to_session(&out, juliet)[0].1).unwrap();
    let hers = query(&mut house, juliet, "");
    assert_eq!((hers.bodies.as_slice(), &hers.ids[0]), (["hello".to_owned()].as_slice(), &live));
    let his = query(&mut house, romeo, "");
    assert_eq!(his.bodies, ["hello"]);
    assert_ne!(his.ids[0], live, "an id says nothing about another archive");
}

#[test]
fn a_message_between_two_accounts_is_stored_once() {
    let (mut house, romeo, juliet) = house();
    let text = "x".repeat(10_000);
    say(&mut house, romeo, JULIET, &text);
    let store = house.ctx();
    let rows = store.core.overlay.scan(store.view, b"", &[255], false, usize::MAX);
    assert_eq!(rows.iter().filter(|(_, value)| value.len() > 5_000).count(), 1);
    house.send(juliet, "<presence type='unavailable'/>");
}

#[test]
fn what_is_part_of_a_conversation_is_kept_and_nothing_else() {
    let kept = [
        "<body>.</body>",
        "<encrypted xmlns='eu.siacs.conversations.axolotl'/>",
        "<received xmlns='urn:xmpp:receipts' id='1'/>",
        "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
        "<reactions xmlns='urn:xmpp:reactions:0' id='1'><reaction>!</reaction></reactions>",
        "<apply-to xmlns='urn:xmpp:fasten:0' id='1'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to>",
        "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
        "<replace xmlns='urn:xmpp:message-correct:0' id='1'/><body>.</body>",
        "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>",
        "<active xmlns='http://jabber.org/protocol/chatstates'/><body>.</body>",
        "<active xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/>",
    ];
    let not_kept = [
        "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
        "<composing xmlns='http://jabber.org/protocol/chatstates'/><thread>t</thread><no-copy xmlns='urn:xmpp:hints'/>",
        "<body>.</body><no-store xmlns='urn:xmpp:hints'/>",
        "<body>.</body><no-permanent-store xmlns='urn:xmpp:hints'/>",
        "<body>.</body><no-store xmlns='urn:xmpp:hints'/><store xmlns='urn:xmpp:hints'/>",
        "<event xmlns='http://jabber.org/protocol/pubsub#event'/>",
    ];
    for (payloads, expected) in [(kept.as_slice(), 1), (not_kept.as_slice(), 0)] {
        for payload in payloads {
            for ty in ["chat", "normal"] {
                let (mut house, romeo, juliet) = house();
                house.send(romeo, &format!("<message to='{JULIET}' type='{ty}' id='1'>{payload}</message>"));
                assert_eq!(query(&mut house, juliet, "").ids.len(), expected, "{ty}: {payload}");
                assert_eq!(query(&mut house, romeo, "").ids.len(), expected, "{ty}: {payload}");
            }
        }
    }
    for ty in ["groupchat", "headline"] {
        let (mut house, romeo, juliet) = house();
        house.send(romeo, &format!("<message to='{JULIET}' type='{ty}' id='1'><body>.</body></message>"));
        assert_eq!(query(&mut house, juliet, "").ids.len() + query(&mut house, romeo, "").ids.len(), 0, "{ty}");
    }
}

#[test]
fn what_is_not_kept_has_no_id() {
    let (mut house, romeo, juliet) = house();
    let secret = "<body>.</body><no-permanent-store xmlns='urn:xmpp:hints'/>";
    let out = house.send(romeo, &format!("<message to='{JULIET}' type='chat'>{secret}</message>"));
    assert_eq!(stanza_id(&to_session(&out, juliet)[0].1), None);
}

#[test]
fn who_is_refused_leaves_nothing_behind() {
    let (mut house, romeo, juliet) = house();
    // RFC 6121 §8.5.3.2.1: no such resource, and not a chat.
    let out = house.send(romeo, "<message to='juliet@capulet.lit/gone' id='1'><body>.</body></message>");
    assert_eq!(condition_of(&out), "service-unavailable");
    house.send(
        juliet,
        "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='romeo@capulet.lit'/></block></iq>",
    );
    say(&mut house, romeo, JULIET, "blocked");
    assert_eq!(query(&mut house, juliet, "").ids.len(), 0);
}

#[test]
fn a_full_queue_refuses_and_the_archive_forgets() {
    let mut house = House::new();
    let romeo = house.available(ROMEO);
    let juliet = house.account("juliet@capulet.lit");
    let mut config = (*house.core.config).clone();
    config.limits.offline_messages = 1;
    house.configure(config.into());
    say(&mut house, romeo, "juliet@capulet.lit", "kept");
    let out = say(&mut house, romeo, "juliet@capulet.lit", "refused");
    assert_eq!(condition_of(&out), "service-unavailable");
    assert_eq!(waiting::count(&house.ctx().store(), juliet, 9), 1);
    let session = house.available(JULIET);
    assert_eq!(query(&mut house, session, "").bodies, ["kept"]);
}

#[test]
fn a_message_to_oneself_is_there_once() {
    let (mut house, romeo, _) = house();
    let out = say(&mut house, romeo, "romeo@capulet.lit", "note");
    say(&mut house, romeo, JULIET, "other");
    let id = stanza_id(&out[0].1).unwrap();
    let page = query(&mut house, romeo, &fields(&[("with", "romeo@capulet.lit")]));
    assert_eq!((page.bodies.as_slice(), page.ids), (["note".to_owned()].as_slice(), vec![id]));
}

#[test]
fn with_oneself_are_the_messages_to_oneself_only() {
    // XEP-0313 §4.1.1, by time and by ids.
    let (mut house, romeo, _) = house();
    say(&mut house, romeo, JULIET, "hello");
    say(&mut house, romeo, "romeo@capulet.lit", "milk");
    let all = query(&mut house, romeo, "");
    assert_eq!(all.bodies, ["hello", "milk"]);
    let own = fields(&[("with", "romeo@capulet.lit")]);
    assert_eq!(query(&mut house, romeo, &own).bodies, ["milk"]);
    let ids: String = all.ids.iter().map(|id| format!("<value>{id}</value>")).collect();
    let named = own.replace("</x>", &format!("<field var='ids'>{ids}</field></x>"));
    assert_eq!(query(&mut house, romeo, &named).bodies, ["milk"]);
    assert_eq!(query(&mut house, romeo, &named.replace("romeo@", "juliet@")).bodies, ["hello"]);
}

#[test]
fn pages_go_forwards_and_backwards_and_count() {
    let (mut house, romeo, juliet) = house();
    for n in 0..10 {
        say(&mut house, romeo, JULIET, &n.to_string());
    }
    let first = query(&mut house, juliet, &set("<max>4</max>"));
    assert_eq!(first.bodies.concat(), "0123");
    assert_eq!((first.is_complete(), first.rsm("count"), first.index()), (false, Some("10".into()), Some("0".into())));
    assert_eq!((first.rsm("first").as_ref(), first.rsm("last").as_ref()), (first.ids.first(), first.ids.last()));
    let after = format!("<max>4</max><after>{}</after>", first.ids[3]);
    let second = query(&mut house, juliet, &set(&after));
    assert_eq!((second.bodies.concat().as_str(), second.index()), ("4567", Some("4".into())));
    let after = format!("<max>4</max><after>{}</after>", second.ids[3]);
    let third = query(&mut house, juliet, &set(&after));
    assert_eq!((third.bodies.concat().as_str(), third.is_complete()), ("89", true));

    let last = query(&mut house, juliet, &set("<max>4</max><before/>"));
    assert_eq!((last.bodies.concat().as_str(), last.is_complete(), last.index()), ("6789", false, None));
    let before = format!("<max>4</max><before>{}</before>", last.ids[0]);
    assert_eq!(query(&mut house, juliet, &set(&before)).bodies.concat(), "2345");
    let before = format!("<max>4</max><before>{}</before>", first.ids[2]);
    let end = query(&mut house, juliet, &set(&before));
    assert_eq!((end.bodies.concat().as_str(), end.is_complete()), ("01", true));

    let flipped = query(&mut house, juliet, &(set("<max>4</max><before/>") + "<flip-page/>"));
    assert_eq!(flipped.bodies.concat(), "9876");
    assert_eq!(flipped.rsm("first"), last.rsm("first"), "only the order of sending is another");

    let none = query(&mut house, juliet, &set("<max>0</max>"));
    assert_eq!((none.ids.len(), none.rsm("count"), none.rsm("first")), (0, Some("10".into()), None));
}

#[test]
fn filters_by_contact_time_and_id() {
    let (mut house, romeo, juliet) = house();
    let nurse = house.available("nurse@capulet.lit/kitchen");
    let start = house.wall_us / 1_000;
    for n in 0..6 {
        let from = if n % 2 == 0 { romeo } else { nurse };
        say(&mut house, from, JULIET, &n.to_string());
    }
    say(&mut house, juliet, "nurse@capulet.lit", "6");
    let mut bodies = |given: &[(&str, &str)]| query(&mut house, juliet, &fields(given)).bodies.concat();
    assert_eq!(bodies(&[("with", "nurse@capulet.lit")]), "1356");
    assert_eq!(bodies(&[("with", "nurse@capulet.lit/kitchen")]), "135");
    assert_eq!(bodies(&[("with", "nurse@capulet.lit/gone")]), "");
    assert_eq!(bodies(&[("with", "tybalt@capulet.lit")]), "");
    // The messages have whole seconds.
    let at = |n: u64| crate::wire::time::stamp(start + 1_000 * (n + 1));
    assert_eq!(bodies(&[("start", &at(2))]), "23456");
    assert_eq!(bodies(&[("end", &at(2))]), "012");
    assert_eq!(bodies(&[("start", &at(1)), ("end", &at(5)), ("with", "romeo@capulet.lit")]), "24");
    assert_eq!(bodies(&[("start", &at(5)), ("end", &at(1))]), "");
    assert_eq!(bodies(&[("include-groupchat", "true"), ("start", "")]), "0123456");

    let all = query(&mut house, juliet, "").ids;
    let mut bodies = |given: &[(&str, &str)]| query(&mut house, juliet, &fields(given)).bodies.concat();
    assert_eq!(bodies(&[("after-id", &all[1])]), "23456");
    assert_eq!(bodies(&[("before-id", &all[2])]), "01");
    assert_eq!(bodies(&[("after-id", &all[1]), ("before-id", &all[5]), ("with", "nurse@capulet.lit")]), "3");
    assert_eq!(bodies(&[("ids", &format!("{}</value><value>{}", all[4], all[0]))]), "04");
    let page = query(&mut house, juliet, &(fields(&[("with", "nurse@capulet.lit")]) + &set("<max>0</max>")));
    assert_eq!(page.rsm("count"), Some("4".into()), "asked for alone, it is counted");
}

#[test]
fn ids_that_are_not_there_are_told_and_cannot_be_guessed() {
    let (mut house, romeo, juliet) = house();
    say(&mut house, romeo, JULIET, "hello");
    let his = query(&mut house, romeo, "").ids[0].clone();
    let hers = query(&mut house, juliet, "").ids[0].clone();
    // The same number with another seal.
    let guessed = format!("{}{}", &hers[..16], "000000000000");
    for id in [his.as_str(), &guessed, "", "x", "ffffffffffffffffffffffffffff", "ü".repeat(14).as_str()] {
        for inner in [
            set(&format!("<after>{id}</after>")),
            set(&format!("<before>{id}</before>")),
            fields(&[("ids", id)]),
            fields(&[("after-id", id)]),
            fields(&[("before-id", id)]),
        ] {
            // Empty fields say nothing, and an empty `before` means the last page.
            if !id.is_empty() {
                assert_eq!(condition_of(&ask(&mut house, juliet, &inner)), "item-not-found", "{inner}");
            }
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (mut house, _, juliet) = house();
    for (inner, condition) in [
        (fields(&[("{http://example.com/}free-text-search", "x")]), "feature-not-implemented"),
        (fields(&[("start", "yesterday")]), "bad-request"),
        (fields(&[("with", "@")]), "jid-malformed"),
        (set("<max>many</max>"), "bad-request"),
        (fields(&[("with", "romeo@capulet.lit")]) + &set("<index>3</index>"), "feature-not-implemented"),
        ("<x xmlns='jabber:x:data' type='submit'/>".into(), "bad-request"),
        ("<x xmlns='jabber:x:data'/>".into(), "bad-request"),
    ] {
        assert_eq!(condition_of(&ask(&mut house, juliet, &inner)), condition, "{inner}");
    }
}

#[test]
fn s29_nobody_but_the_owner_reads_an_archive() {
    let (mut house, romeo, _) = house();
    say(&mut house, romeo, JULIET, "hello");
    for to in ["juliet@capulet.lit", "nobody@capulet.lit"] {
        for (ty, payload) in [("set", "query"), ("get", "query"), ("get", "metadata"), ("get", "prefs")] {
            let out = house
                .send(romeo, &format!("<iq to='{to}' type='{ty}' id='q'><{payload} xmlns='urn:xmpp:mam:2'/></iq>"));
            assert_eq!(condition_of(&out), "service-unavailable", "{to} {payload}");
        }
    }
}

#[test]
fn s27_clients_cannot_pose_as_an_archive() {
    let (mut house, romeo, juliet) = house();
    let forged = "<result xmlns='urn:xmpp:mam:2' queryid='f27' id='1'><forwarded xmlns='urn:xmpp:forward:0'>\
                  <message xmlns='jabber:client' from='nurse@capulet.lit'><body>forged</body></message></forwarded></result>";
    let out =
        house.send(romeo, &format!("<message to='{JULIET}' type='chat' id='1'><body>true</body>{forged}</message>"));
    let message = &to_session(&out, juliet)[0].1;
    assert!(message.contains("true") && !message.contains("forged"), "{message}");
    assert_eq!(query(&mut house, juliet, "").bodies, ["true"]);
}

#[test]
fn the_fields_and_the_ends_are_told() {
    let (mut house, romeo, juliet) = house();
    let form = result_of(&house.send(juliet, "<iq type='get' id='1'><query xmlns='urn:xmpp:mam:2'/></iq>"));
    for var in ["with", "start", "end", "before-id", "after-id", "ids", "include-groupchat"] {
        assert!(form.contains(&format!("var='{var}'")), "{form}");
    }
    assert!(form.contains("xdata-validate") && !form.contains("required"), "{form}");
    let ends = |house: &mut House| {
        parsed(&result_of(&house.send(juliet, "<iq type='get' id='1'><metadata xmlns='urn:xmpp:mam:2'/></iq>")))
    };
    assert_eq!(ends(&mut house).children().count(), 0, "an empty archive has no ends");
    say(&mut house, romeo, JULIET, "first");
    say(&mut house, romeo, JULIET, "last");
    let ids = query(&mut house, juliet, "").ids;
    let metadata = ends(&mut house);
    let end = |name| metadata.find(name, ns::MAM).unwrap();
    assert_eq!((end("start").get("id"), end("end").get("id")), (Some(ids[0].as_str()), Some(ids[1].as_str())));
    assert_eq!(end("start").get("timestamp"), Some("2023-11-14T22:13:21.000Z"));
}

#[test]
fn a_page_is_bounded_in_messages_and_bytes() {
    let (mut house, romeo, juliet) = house();
    for n in 0..limits::ARCHIVE_PAGE_MAX + 3 {
        say(&mut house, romeo, JULIET, &n.to_string());
    }
    for inner in [String::new(), set("<max>100000</max>"), set("<max>100000</max><before/>")] {
        let page = query(&mut house, juliet, &inner);
        assert_eq!((page.ids.len(), page.is_complete()), (limits::ARCHIVE_PAGE_MAX, false), "{inner}");
    }
    let large = "y".repeat(limits::ARCHIVE_PAGE_BYTES / 2);
    for _ in 0..4 {
        say(&mut house, romeo, JULIET, &large);
    }
    let page = query(&mut house, juliet, &set("<before/>"));
    assert_eq!((page.ids.len(), page.is_complete()), (2, false), "the newest that fit");
    let before = query(&mut house, juliet, &set(&format!("<before>{}</before>", page.ids[0])));
    assert_eq!(before.bodies.len(), 2, "and the next page goes on where it ended");
}

#[test]
fn a_count_is_told_as_long_as_it_is_cheap() {
    let (mut house, romeo, juliet) = house();
    let ask = fields(&[("with", "romeo@capulet.lit")]) + &set("<max>0</max>");
    for n in 0..=limits::ARCHIVE_COUNT_MAX {
        say(&mut house, romeo, JULIET, "x");
        if n + 2 >= limits::ARCHIVE_COUNT_MAX {
            let count = query(&mut house, juliet, &ask).rsm("count");
            let expected = Some((n + 1).to_string()).filter(|_| n < limits::ARCHIVE_COUNT_MAX);
            assert_eq!(count, expected, "after {} messages", n + 1);
        }
    }
    assert_eq!(
        query(&mut house, juliet, &set("<max>0</max>")).rsm("count"),
        Some((limits::ARCHIVE_COUNT_MAX + 1).to_string())
    );
}

#[test]
fn what_waits_and_is_archived_is_stored_once_and_carries_its_id() {
    let mut house = House::new();
    let romeo = house.available(ROMEO);
    let account = house.account("juliet@capulet.lit");
    say(&mut house, romeo, "juliet@capulet.lit", "late");
    let mut ctx = house.ctx();
    let rows = ctx.store().prefix(&keys::owned(keys::WAITING, account), 9);
    assert_eq!(rows[0].1.len(), 5, "the row only says that the archive has it");
    let waits = waiting::page(&ctx.store(), account, crate::domain::ids::MessageId(0), 9);
    assert!(waits[0].is_archived && String::from_utf8_lossy(&waits[0].stanza.rest).contains("late"));
    // The archive loses it, the queue does not.
    archive::forget_oldest(&mut ctx.store(), account, 9, |_, _| true);
    let waits = waiting::page(&ctx.store(), account, waits[0].id, 9);
    assert!(!waits[0].is_archived && String::from_utf8_lossy(&waits[0].stanza.rest).contains("late"));
}

#[test]
fn preferences_say_whose_messages_are_kept() {
    let (mut house, romeo, juliet) = house();
    let nurse = house.available("nurse@capulet.lit/kitchen");
    let get = "<iq type='get' id='1'><prefs xmlns='urn:xmpp:mam:2'/></iq>";
    let prefs = result_of(&house.send(juliet, get));
    assert_eq!(prefs, "<prefs xmlns='urn:xmpp:mam:2' default='always'><always/><never/></prefs>");
    house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
    // Each default with both lists, and which of three are kept: Romeo (a contact), the nurse, Tybalt.
    let tybalt = house.available("tybalt@capulet.lit/sword");
    for (default, always, never, expected) in [
        ("always", "", "nurse@capulet.lit", "rt"),
        ("never", "nurse@capulet.lit", "", "n"),
        ("roster", "", "", "r"),
        ("roster", "tybalt@capulet.lit/sword", "romeo@capulet.lit/orchard", "t"),
        ("always", "nurse@capulet.lit", "nurse@capulet.lit", "rt"),
        ("always", "", "nurse@capulet.lit/elsewhere", "rnt"),
    ] {
        let list = |jid: &str| if jid.is_empty() { String::new() } else { format!("<jid>{jid}</jid>") };
        let sent = format!(
            "<iq type='set' id='1'><prefs xmlns='urn:xmpp:mam:2' default='{default}'><always>{}</always><never>{}\
             </never></prefs></iq>",
            list(always),
            list(never)
        );
        let applied = result_of(&house.send(juliet, &sent));
        assert_eq!(applied, result_of(&house.send(juliet, get)));
        assert!(applied.contains(&format!("default='{default}'")) && applied.contains(&list(always)), "{applied}");
        let before = query(&mut house, juliet, &set("<max>0</max>")).rsm("count").unwrap();
        for (session, text) in [(romeo, "r"), (nurse, "n"), (tybalt, "t")] {
            say(&mut house, session, JULIET, text);
        }
        let page = query(&mut house, juliet, &set("<max>3</max><before/>"));
        let new = page.rsm("count").unwrap().parse::<usize>().unwrap() - before.parse::<usize>().unwrap();
        let kept = page.bodies[page.bodies.len() - new..].concat();
        assert_eq!(kept, expected, "{default} {always} {never}");
    }
    for (prefs, condition) in [
        ("default='perhaps'", "bad-request"),
        ("default='never'><always><jid>@</jid></always></prefs", "jid-malformed"),
    ] {
        let close = if prefs.contains('>') { ">" } else { "/>" };
        let out =
            house.send(juliet, &format!("<iq type='set' id='1'><prefs xmlns='urn:xmpp:mam:2' {prefs}{close}</iq>"));
        assert_eq!(condition_of(&out), condition);
    }
    let many: String = (0..=limits::ARCHIVE_PREFS_MAX).map(|n| format!("<jid>a{n}@b</jid>")).collect();
    let many = format!(
        "<iq type='set' id='1'><prefs xmlns='urn:xmpp:mam:2' default='never'><always>{many}</always></prefs></iq>"
    );
    assert_eq!(condition_of(&house.send(juliet, &many)), "resource-constraint");
}

#[test]
fn old_messages_are_not_shown_and_go() {
    let (mut house, romeo, juliet) = house();
    let account = house.account("juliet@capulet.lit");
    say(&mut house, romeo, JULIET, "old");
    let day = 86_400_000_000;
    house.wall_us += limits::ARCHIVE_DAYS * day;
    say(&mut house, romeo, JULIET, "young");
    assert_eq!(query(&mut house, juliet, "").bodies, ["young"], "before it is removed, it is out of sight");
    for _ in 0..limits::ARCHIVE_TRIM_EVERY {
        say(&mut house, romeo, JULIET, "more");
    }
    let first = archive::first(&house.ctx().store(), account).unwrap();
    assert!(first.id.0 > house.wall_us - day, "and then it is gone");
    let count = query(&mut house, juliet, &set("<max>0</max>")).rsm("count").unwrap();
    assert_eq!(count, (1 + limits::ARCHIVE_TRIM_EVERY).to_string());
}

#[test]
fn an_archive_is_bounded_in_bytes_and_loses_its_oldest() {
    let (mut house, romeo, juliet) = house();
    let mut config = (*house.core.config).clone();
    config.retention.archive_bytes = 20_000;
    house.configure(config.into());
    let messages = 3 * limits::ARCHIVE_TRIM_EVERY;
    for n in 1..=messages {
        say(&mut house, romeo, JULIET, &format!("{n} {}", "z".repeat(1_000)));
    }
    let page = query(&mut house, juliet, "");
    assert!((8..=32).contains(&page.ids.len()), "{}", page.ids.len());
    assert!(page.bodies.last().unwrap().starts_with(&format!("{messages} ")));
    let mut ctx = house.ctx();
    let texts = ctx.store().prefix(b"m", usize::MAX).len();
    assert!(texts <= 48, "{texts} texts for two archives of at most 32 messages");
}

#[test]
fn the_archive_of_a_removed_account_goes_in_steps_and_the_other_party_keeps_its_own() {
    let (mut house, romeo, juliet) = house();
    let account = house.account("juliet@capulet.lit");
    for n in 0..limits::ARCHIVE_PURGE_STEP + 10 {
        say(&mut house, romeo, JULIET, &n.to_string());
    }
    say(&mut house, juliet, "tybalt@example.net", "elsewhere");
    let jid = Jid::parse("juliet@capulet.lit").unwrap();
    house.notice(Notice::AccountRemoved(account, jid));
    assert!(archive::first(&house.ctx().store(), account).is_some() && house.core.chores, "a step at a time");
    house.core.chores = false;
    house.notice(Notice::Chores);
    assert!(archive::first(&house.ctx().store(), account).is_none() && !house.core.chores);
    assert_eq!(query(&mut house, romeo, &set("<max>1</max>")).bodies, ["0"], "his texts are there");
    let mut ctx = house.ctx();
    assert_eq!(ctx.store().prefix(b"m", usize::MAX).len(), limits::ARCHIVE_PURGE_STEP + 10, "hers alone is gone");
    assert_eq!(ctx.store().prefix(&keys::owned(keys::ARCHIVE_WITH, account), 9).len(), 0);
}

#[test]
fn who_asks_faster_than_they_read_is_refused() {
    let (mut house, romeo, juliet) = house();
    let large = "y".repeat(limits::ARCHIVE_PAGE_BYTES - 1_000);
    say(&mut house, romeo, JULIET, &large);
    let out = house.with(|router, ctx| {
        for n in 0..20 {
            let xml = format!("<iq type='set' id='q{n}'><query xmlns='urn:xmpp:mam:2'/></iq>");
            let stanza = crate::wire::stanza::Stanza::build(&parsed(&xml), Jid::parse(JULIET).unwrap(), None);
            router.outbound(stanza, Some(juliet), ctx);
        }
    });
    let bytes: usize = out.iter().map(|(_, xml)| xml.len()).sum();
    assert!(bytes < limits::ARCHIVE_UNREAD_BYTES_MAX + 2 * limits::ARCHIVE_PAGE_BYTES, "{bytes}");
    assert!(out.last().unwrap().1.contains("resource-constraint"), "{}", out.last().unwrap().1);
}

#[test]
fn what_became_of_a_message_stands_behind_it() {
    let (mut house, romeo, _) = house();
    let to = "nobody@elsewhere.example";
    let out = house.send(romeo, &format!("<message to='{to}' type='chat' id=\"a'b\"><body>anybody?</body></message>"));
    assert_eq!(condition_of(&out), "remote-server-not-found");
    let out = ask(&mut house, romeo, &fields(&[("with", to)]));
    let error = parsed(&out[1].1);
    let forwarded = error.find("result", ns::MAM).unwrap().find("forwarded", ns::FORWARD).unwrap();
    let error = forwarded.find("message", ns::CLIENT).unwrap();
    assert_eq!((error.get("type"), error.get("id"), error.get("from")), (Some("error"), Some("a'b"), Some(to)));
    // Without an id it would say nothing; and what is not kept gets no error behind it.
    house.send(romeo, &format!("<message to='{to}' type='chat'><body>?</body></message>"));
    house.send(romeo, &format!("<message to='{to}' id='1'><body>?</body><no-store xmlns='urn:xmpp:hints'/></message>"));
    assert_eq!(query(&mut house, romeo, "").ids.len(), 3);
}

#[test]
fn errors_about_what_the_accounts_services_sent_are_nobodys() {
    // XEP-0163 §4.3.1: bounced events go to the account itself.
    let (mut house, romeo, _) = house();
    house.core.sessions.set_carbons(romeo, true);
    let error = |to: &str| {
        format!(
            "<message xmlns='jabber:client' from='nurse@elsewhere.example' to='{to}' type='error' id='e'>\
             <error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
        )
    };
    assert_eq!(house.receive(&error("romeo@capulet.lit")), []);
    assert_eq!(query(&mut house, romeo, "").ids.len(), 0);
    // One to a client that is gone concerns the others.
    assert_eq!(to_session(&house.receive(&error("romeo@capulet.lit/gone")), romeo).len(), 1);
    assert_eq!(query(&mut house, romeo, "").ids.len(), 1);
}
