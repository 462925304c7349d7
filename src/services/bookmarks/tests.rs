//! One account, an old client and a new one: what each finds of what the other stored.

use super::*;
use crate::domain::nodes::settings::AccessModel;
use crate::router::testing::{House, Out, condition_of, result_of, to_session};

const PHONE: &str = "juliet@capulet.lit/phone";
pub(super) const OWNER: &str = "juliet@capulet.lit";
const LINK: &str = "<url name='Complete Works' url='http://the-tech.mit.edu/Shakespeare/'/>";
const NOTIFY: &str = "<extensions><notify xmlns='urn:xmpp:notification-settings:1'><never/></notify></extensions>";

/// Juliet with an old desktop client and a new one in her telephone; both want to hear of all there is.
pub(super) struct Play {
    pub house: House,
    desk: SessionId,
    pub phone: SessionId,
}

impl Play {
    pub fn new() -> Play {
        let mut house = House::new();
        let desk = house.available("juliet@capulet.lit/desk");
        let phone = house.available(PHONE);
        for id in [desk, phone] {
            let nodes: [Box<str>; 2] = [ns::OLD_BOOKMARKS.into(), ns::BOOKMARKS.into()];
            house.core.sessions.session_mut(id).unwrap().wants_nodes = nodes.into_iter().collect();
        }
        Play { house, desk, phone }
    }

    /// What the telephone does; what it is told.
    fn pubsub(&mut self, ty: &str, inner: &str) -> (String, Vec<String>) {
        let xml =
            format!("<iq type='{ty}' id='i'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{inner}</pubsub></iq>");
        let phone = self.phone;
        self.done(phone, &xml)
    }

    fn done(&mut self, who: SessionId, xml: &str) -> (String, Vec<String>) {
        let out = self.house.send(who, xml);
        let (answers, events): (Out, Out) =
            to_session(&out, who).into_iter().partition(|(_, xml)| xml.starts_with("<iq"));
        (result_of(&answers), events.into_iter().map(|(_, xml)| event(&xml)).collect())
    }

    /// Publishes a room; the events.
    pub fn bookmarks(&mut self, room: &str, conference: &str) -> Vec<String> {
        self.pubsub(
            "set",
            &format!("<publish node='{}'><item id='{room}'>{conference}</item></publish>", ns::BOOKMARKS),
        )
        .1
    }

    fn retracts(&mut self, room: &str) -> Vec<String> {
        self.pubsub("set", &format!("<retract node='{}'><item id='{room}'/></retract>", ns::BOOKMARKS)).1
    }

    /// The rooms in their own node, those published last first.
    pub fn rooms(&mut self) -> String {
        let (found, _) = self.pubsub("get", &format!("<items node='{}'/>", ns::BOOKMARKS));
        inner(&found, "items").replace(" xmlns='urn:xmpp:bookmarks:1'", "")
    }

    fn published(&mut self) -> String {
        let (found, _) = self.pubsub("get", &format!("<items node='{}'/>", ns::OLD_BOOKMARKS));
        inner(&found, "storage")
    }

    pub fn publishes(&mut self, content: &str) -> Vec<String> {
        let storage = format!("<storage xmlns='storage:bookmarks'>{content}</storage>");
        let item = format!("<publish node='storage:bookmarks'><item id='current'>{storage}</item></publish>");
        self.pubsub("set", &item).1
    }

    /// The desktop stores a list; what it is told.
    pub fn stores(&mut self, content: &str) -> Vec<String> {
        let storage = format!("<storage xmlns='storage:bookmarks'>{content}</storage>");
        let desk = self.desk;
        let xml = format!("<iq type='set' id='p'><query xmlns='jabber:iq:private'>{storage}</query></iq>");
        self.done(desk, &xml).1
    }

    fn stored(&mut self) -> String {
        let xml =
            "<iq type='get' id='p'><query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query></iq>";
        let desk = self.desk;
        inner(&self.done(desk, xml).0, "storage")
    }
}

/// What is inside the first element of this name.
fn inner(xml: &str, name: &str) -> String {
    let Some((_, rest)) = xml.split_once(&format!("<{name} ")) else { return String::new() };
    let Some((_, rest)) = rest.split_once('>').filter(|(tag, _)| !tag.ends_with('/')) else { return String::new() };
    rest.split_once(&format!("</{name}>")).unwrap().0.to_owned()
}

fn event(message: &str) -> String {
    let event = message.split_once("pubsub#event'>").unwrap().1.split_once("</event>").unwrap().0;
    event.replace(" xmlns='urn:xmpp:bookmarks:1'", "").replace(" xmlns='storage:bookmarks'", "")
}

fn published(node: &str, id: &str, payload: &str) -> String {
    format!("<items node='{node}'><item id='{id}'>{payload}</item></items>")
}

#[test]
fn what_a_new_client_bookmarks_an_old_one_finds_in_both_places() {
    // XEP-0402 §5.3.1: cast into the old namespace, the item's id in `jid`.
    let mut play = Play::new();
    let conference =
        "<conference xmlns='urn:xmpp:bookmarks:1' name='The Play' autojoin='1'><nick>JC</nick></conference>";
    let events = play.bookmarks("theplay@rooms.lit", conference);
    let old = "<conference jid='theplay@rooms.lit' name='The Play' autojoin='true'><nick>JC</nick></conference>";
    let both = [
        published(ns::BOOKMARKS, "theplay@rooms.lit", &conference.replace(" xmlns='urn:xmpp:bookmarks:1'", "")),
        published(ns::OLD_BOOKMARKS, "current", &format!("<storage>{old}</storage>")),
    ];
    assert_eq!(events, both);
    assert_eq!([play.stored(), play.published()], [old, old]);
    assert_eq!(play.retracts("theplay@rooms.lit").len(), 2);
    assert_eq!([play.stored(), play.published()], ["", ""]);
}

#[test]
fn what_an_old_client_stores_a_new_one_is_told_of() {
    // XEP-0411 §3: with a notification on the old node as well; XEP-0402 §5.3.2: and only of what changed.
    let mut play = Play::new();
    let (a, b) = ("<conference jid='a@rooms.lit' name='A'/>", "<conference jid='b@rooms.lit' name='B' autojoin='1'/>");
    let events = play.stores(a);
    let of_a = published(ns::BOOKMARKS, "a@rooms.lit", "<conference name='A'/>");
    assert_eq!(events, [published(ns::OLD_BOOKMARKS, "current", &format!("<storage>{a}</storage>")), of_a.clone()]);
    let events = play.stores(&[a, b].concat());
    assert_eq!(events.len(), 2);
    assert_eq!(events[1], published(ns::BOOKMARKS, "b@rooms.lit", "<conference name='B' autojoin='true'/>"));
    let events = play.stores(b);
    assert_eq!(events[1], format!("<items node='{}'><retract id='a@rooms.lit'/></items>", ns::BOOKMARKS));
    assert_eq!(play.rooms(), "<item id='b@rooms.lit'><conference name='B' autojoin='true'/></item>");
    // In the node of XEP-0048, the same, and nothing comes back to it.
    let events = play.publishes(&a.replace("'A'", "'Ä'"));
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(play.rooms(), "<item id='a@rooms.lit'><conference name='Ä'/></item>");
    assert_eq!(play.stored(), a.replace("'A'", "'Ä'"));
    assert_eq!(play.stores("").len(), 2);
    assert_eq!([play.rooms(), play.published()], ["", ""]);
}

#[test]
fn nothing_that_one_form_cannot_say_is_lost() {
    let mut play = Play::new();
    let extended = format!("<conference xmlns='urn:xmpp:bookmarks:1' name='A'>{NOTIFY}</conference>");
    play.bookmarks("a@rooms.lit", &extended);
    // An old client writes back what it read, with a link and things of its own; it joins from now on.
    let own = "<conference jid='a@rooms.lit' name='A' autojoin='1' minimize='true'><print_status>all</print_status></conference>";
    play.stores(&[LINK, own].concat());
    let joined = format!("<item id='a@rooms.lit'><conference name='A' autojoin='true'>{NOTIFY}</conference></item>");
    assert_eq!(play.rooms(), joined);
    // A new client renames the room and bookmarks another one.
    play.bookmarks("a@rooms.lit", &extended.replace("'A'", "'B' autojoin='true'"));
    play.bookmarks("c@rooms.lit", "<conference xmlns='urn:xmpp:bookmarks:1'/>");
    let all = [LINK, &own.replace("'A'", "'B'"), "<conference jid='c@rooms.lit'/>"].concat();
    assert_eq!([play.stored(), play.published()], [all.clone(), all.clone()]);
    // And goes; the link is still there, and so is what is no room's address.
    play.stores(&[&all, "<conference jid='a@rooms.lit/nick'/><conference/>"].concat());
    play.retracts("a@rooms.lit");
    play.retracts("c@rooms.lit");
    assert_eq!(play.stored(), [LINK, "<conference jid='a@rooms.lit/nick'/><conference/>"].concat());
}

#[test]
fn who_has_only_old_bookmarks_finds_them_after_signing_in() {
    // XEP-0411 §4.
    let conference = "<conference jid='A@Rooms.lit' name='A'/>";
    for place in ["private", "node"] {
        let mut play = Play::new();
        let account = play.house.account(OWNER);
        let all = format!("<storage xmlns='storage:bookmarks'>{LINK}{conference}</storage>");
        let all = Element::parse(all.as_bytes(), "").unwrap();
        let mut bytes = Vec::new();
        all.write("", &mut bytes);
        let mut ctx = play.house.ctx();
        let mut store = ctx.store();
        match place {
            "private" => store.put(&key(account), &bytes),
            _ => {
                let settings = nodes::Settings::personal();
                let node = nodes::create(&mut store, account, ns::OLD_BOOKMARKS, OWNER, settings, 1).unwrap();
                nodes::put_item(&mut store, account, node.id, ("current", OWNER, &bytes), 1);
            }
        }
        let phone = play.phone;
        play.house.notice(Notice::SessionBound(phone));
        assert_eq!(play.rooms(), "<item id='a@rooms.lit'><conference name='A'/></item>", "{place}");
        assert_eq!([play.stored(), play.published()], [[LINK, conference].concat(), [LINK, conference].concat()]);
        // XEP-0411 §5: nobody else reads them.
        let mut ctx = play.house.ctx();
        let node = nodes::find(&ctx.store(), account, ns::OLD_BOOKMARKS).unwrap();
        assert_eq!(node.settings.access, AccessModel::Whitelist);
        // The next one finds everything in step.
        let desk = play.desk;
        assert_eq!(play.house.notice(Notice::SessionBound(desk)), []);
    }
}

#[test]
fn of_a_room_that_was_stored_twice_its_own_item_counts() {
    let mut play = Play::new();
    let account = play.house.account(OWNER);
    let old = "<storage xmlns='storage:bookmarks'><conference jid='a@rooms.lit' name='old'/><conference jid='b@rooms.lit'/></storage>";
    play.house.ctx().store().put(&key(account), old.as_bytes());
    let mut ctx = play.house.ctx();
    let mut store = ctx.store();
    let node = nodes::create(&mut store, account, ns::BOOKMARKS, OWNER, nodes::Settings::personal(), 1).unwrap();
    let new = b"<conference xmlns='urn:xmpp:bookmarks:1' name='new'/>";
    nodes::put_item(&mut store, account, node.id, ("a@rooms.lit", OWNER, new), 1);
    let phone = play.phone;
    play.house.notice(Notice::SessionBound(phone));
    assert_eq!(play.stored(), "<conference jid='a@rooms.lit' name='new'/><conference jid='b@rooms.lit'/>");
    // XEP-0402 §3.3: the node had room for one.
    assert_eq!(
        play.rooms(),
        "<item id='b@rooms.lit'><conference/></item><item id='a@rooms.lit'><conference name='new'/></item>"
    );
}

#[test]
fn a_node_that_was_open_is_closed_before_rooms_come_into_it() {
    // XEP-0411 §5, XEP-0402 §3.3.
    let mut play = Play::new();
    let nurse = play.house.available("nurse@capulet.lit/x");
    for node in [ns::BOOKMARKS, ns::OLD_BOOKMARKS] {
        let field = "<field var='pubsub#access_model'><value>open</value></field>";
        let kind = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#node_config</value></field>";
        let form = format!("<configure><x xmlns='jabber:x:data' type='submit'>{kind}{field}</x></configure>");
        play.pubsub("set", &format!("<create node='{node}'/>{form}"));
    }
    play.stores("<conference jid='a@rooms.lit'/>");
    for node in [ns::BOOKMARKS, ns::OLD_BOOKMARKS] {
        let ask = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{node}'/></pubsub>");
        let out = play.house.send(nurse, &format!("<iq type='get' id='n' to='{OWNER}'>{ask}</iq>"));
        assert_eq!(condition_of(&out), "service-unavailable");
    }
}

#[test]
fn who_tidies_up_the_old_node_takes_no_bookmark_away() {
    let mut play = Play::new();
    play.bookmarks("a@rooms.lit", "<conference xmlns='urn:xmpp:bookmarks:1'/>");
    let phone = play.phone;
    let delete = "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><delete node='storage:bookmarks'/></pubsub>";
    play.done(phone, &format!("<iq type='set' id='d'>{delete}</iq>"));
    assert_eq!(play.rooms(), "<item id='a@rooms.lit'><conference/></item>");
    play.house.notice(Notice::SessionBound(phone));
    assert_eq!(play.published(), "<conference jid='a@rooms.lit'/>");
    // Without their own node there are no rooms.
    play.stores(&[LINK, "<conference jid='a@rooms.lit'/>"].concat());
    play.done(phone, &format!("<iq type='set' id='d'>{}</iq>", delete.replace(ns::OLD_BOOKMARKS, ns::BOOKMARKS)));
    assert_eq!(play.stored(), LINK);
}

#[test]
fn what_is_beyond_the_bound_stays_where_it_is() {
    let mut play = Play::new();
    let many = |n: usize| (0..n).map(|n| format!("<conference jid='r{n}@rooms.lit'/>")).collect::<String>();
    play.stores(&many(limits::BOOKMARKS_MAX + 1));
    let account = play.house.account(OWNER);
    let count = |play: &mut Play| {
        let mut ctx = play.house.ctx();
        let node = nodes::find(&ctx.store(), account, ns::BOOKMARKS).unwrap();
        nodes::count(&ctx.store(), account, node.id).items as usize
    };
    assert_eq!(count(&mut play), limits::BOOKMARKS_MAX);
    play.retracts("r0@rooms.lit");
    assert_eq!(play.stored(), many(limits::BOOKMARKS_MAX + 1).replacen("<conference jid='r0@rooms.lit'/>", "", 1));
    // The old form is full; nothing that a new client stores is taken away by an old one that never saw it.
    let long =
        format!("<conference xmlns='urn:xmpp:bookmarks:1' name='{}'/>", "x".repeat(limits::PRIVATE_BYTES_MAX - 500));
    play.bookmarks("long@rooms.lit", &long);
    assert!(!play.stored().contains("long@rooms.lit"));
    play.stores("<conference jid='r7@rooms.lit'/>");
    let rooms = play.rooms();
    assert!(rooms.contains("long@rooms.lit") && rooms.contains("r7@rooms.lit"));
    assert_eq!(count(&mut play), 2);
}
