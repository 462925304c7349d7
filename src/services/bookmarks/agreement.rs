//! Whatever clients do, in whatever order, the three places agree, and nothing goes that nobody took away.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    tests::{OWNER, Play},
    *,
};

/// What clients do to the four rooms `a` to `d`, in any of the three places.
#[derive(Clone, Debug)]
enum Deed {
    /// A new client bookmarks a room, or edits its bookmark; the number is its name and its extension.
    Publish(u8, u8),
    Retract(u8),
    /// An old client changes what it was shown: renames, adds or leaves out a room; in private XML, or in the node.
    Rename(u8, u8, bool),
    LeaveOut(u8, bool),
    /// An old client adds a link.
    Link(u8, bool),
    TidyUp,
    Purge,
    SignIn,
}

fn deed() -> impl Strategy<Value = Deed> {
    let (room, number) = (0..4u8, any::<u8>());
    prop_oneof![
        6 => (room.clone(), number).prop_map(|(room, n)| Deed::Publish(room, n)),
        3 => room.clone().prop_map(Deed::Retract),
        6 => (room.clone(), number, any::<bool>()).prop_map(|(room, n, private)| Deed::Rename(room, n, private)),
        3 => (room, any::<bool>()).prop_map(|(room, private)| Deed::LeaveOut(room, private)),
        2 => (0..3u8, any::<bool>()).prop_map(|(n, private)| Deed::Link(n, private)),
        1 => Just(Deed::TidyUp),
        1 => Just(Deed::Purge),
        1 => Just(Deed::SignIn),
    ]
}

fn address(room: u8) -> String {
    format!("{}@rooms.lit", char::from(b'a' + room))
}

impl Play {
    /// What an old client makes of the list that it is shown.
    fn rewrites(&mut self, private: bool, change: impl FnOnce(&mut Vec<Element>)) {
        let account = self.house.account(OWNER);
        let mut ctx = self.house.ctx();
        let shown = if private { stored(account, &mut ctx) } else { published(account, &mut ctx) };
        let mut children: Vec<Element> = shown.unwrap_or_default().element().children().cloned().collect();
        change(&mut children);
        let mut content = Vec::new();
        children.iter().for_each(|child| child.write(ns::OLD_BOOKMARKS, &mut content));
        let content = String::from_utf8(content).unwrap();
        match private {
            true => self.stores(&content),
            false => self.publishes(&content),
        };
    }

    fn does(&mut self, deed: &Deed) {
        match deed {
            Deed::Publish(room, n) => {
                let extension = format!("<extensions><state xmlns='urn:x' at='{n}'/></extensions>");
                let conference =
                    format!("<conference xmlns='urn:xmpp:bookmarks:1' name='{n}'>{extension}</conference>");
                self.bookmarks(&address(*room), &conference);
            }
            Deed::Retract(room) => {
                let request = format!("<retract node='{}'><item id='{}'/></retract>", ns::BOOKMARKS, address(*room));
                let xml = format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{request}</pubsub>");
                self.house.send(self.phone, &format!("<iq type='set' id='i'>{xml}</iq>"));
            }
            Deed::Rename(room, n, private) => self.rewrites(*private, |all| {
                let found = all.iter_mut().find(|child| child.get("jid") == Some(&address(*room)));
                match found {
                    Some(child) => Common { name: Some(n.to_string()), ..Common::of(child) }.write_into(child),
                    None => all.push(
                        Element::new("conference", ns::OLD_BOOKMARKS)
                            .attr("jid", address(*room))
                            .attr("name", n.to_string()),
                    ),
                }
            }),
            Deed::LeaveOut(room, private) => {
                self.rewrites(*private, |all| all.retain(|child| child.get("jid") != Some(&address(*room))));
            }
            Deed::Link(n, private) => self.rewrites(*private, |all| {
                all.push(Element::new("url", ns::OLD_BOOKMARKS).attr("url", n.to_string()));
            }),
            Deed::TidyUp | Deed::Purge => {
                let (what, node) = match deed {
                    Deed::Purge => ("purge", ns::BOOKMARKS),
                    _ => ("delete", ns::OLD_BOOKMARKS),
                };
                let xml =
                    format!("<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><{what} node='{node}'/></pubsub>");
                self.house.send(self.phone, &format!("<iq type='set' id='i'>{xml}</iq>"));
            }
            Deed::SignIn => {}
        }
        // Whatever a client took away of the copies is there again when somebody signs in.
        let phone = self.phone;
        self.house.notice(Notice::SessionBound(phone));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_clients_do_all_places_agree_and_nothing_else_is_lost(deeds in prop::collection::vec(deed(), 1..25)) {
        let mut play = Play::new();
        let account = play.house.account(OWNER);
        // What ought to be there: name and extension of each room, and how many links.
        let mut rooms: BTreeMap<u8, (u8, Option<u8>)> = BTreeMap::new();
        let mut links = 0;
        for deed in &deeds {
            play.does(deed);
            match deed {
                Deed::Publish(room, n) => drop(rooms.insert(*room, (*n, Some(*n)))),
                Deed::Retract(room) | Deed::LeaveOut(room, _) => drop(rooms.remove(room)),
                Deed::Rename(room, n, _) => rooms.entry(*room).or_insert((*n, None)).0 = *n,
                Deed::Link(..) => links += 1,
                Deed::Purge => rooms.clear(),
                Deed::TidyUp | Deed::SignIn => {}
            }
            let old = stored(account, &mut play.house.ctx()).unwrap_or_default();
            let copy = published(account, &mut play.house.ctx()).unwrap_or_default();
            prop_assert_eq!(&old, &copy);
            let named: BTreeMap<String, Option<String>> =
                old.bookmarks().into_iter().map(|one| (one.address, one.common.name)).collect();
            let wanted: BTreeMap<String, Option<String>> =
                rooms.iter().map(|(room, (name, _))| (address(*room), Some(name.to_string()))).collect();
            prop_assert_eq!(&named, &wanted);
            prop_assert_eq!(old.element().children().filter(|child| child.name == "url").count(), links);
            let natives = natives(account, &mut play.house.ctx());
            let new: BTreeMap<String, Option<String>> =
                natives.into_iter().map(|(id, _, common)| (id, common.name)).collect();
            prop_assert_eq!(&new, &wanted);
            let shown = if rooms.is_empty() { String::new() } else { play.rooms() };
            for (room, (_, extension)) in &rooms {
                let item = shown.split_once(&format!("<item id='{}'>", address(*room))).unwrap().1;
                let item = item.split_once("</item>").unwrap().0;
                let kept = extension.map(|n| format!("at='{n}'"));
                prop_assert!(kept.is_none_or(|kept| item.contains(&kept)), "{item}");
            }
        }
    }
}
