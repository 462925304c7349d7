//! Rows of nodes: what is written is read, and counts are those of the rows.

use super::{
    members::{Affiliation, Member, Subscription},
    *,
};
use crate::domain::{overlay::Overlay, store::MemoryView};

const OWNER: AccountId = AccountId(7);

fn with_store(test: impl FnOnce(&mut Store<'_>)) {
    let (mut overlay, view) = (Overlay::default(), MemoryView::default());
    test(&mut Store { overlay: &mut overlay, view: &view });
}

fn make(store: &mut Store<'_>, name: &str) -> Node {
    create(store, OWNER, name, "juliet@capulet.lit", Settings::personal(), 1).unwrap()
}

fn put(store: &mut Store<'_>, node: &Node, id: &str, payload: &str, at: u64) -> u64 {
    put_item(store, OWNER, node.id, (id, "juliet@capulet.lit/x", payload.as_bytes()), at)
}

fn ids(items: Vec<Item>) -> Vec<String> {
    items.into_iter().map(|item| item.id).collect()
}

#[test]
fn a_node_is_read_as_it_was_written() {
    with_store(|store| {
        let mut node = make(store, "urn:xmpp:bookmarks:1");
        node.settings.max_items = limits::NODE_ITEMS_MAX;
        node.settings.roster_groups = vec!["Friends".into(), "Verona".into()];
        update(store, OWNER, &node);
        assert_eq!(find(store, OWNER, "urn:xmpp:bookmarks:1"), Some(node.clone()));
        let other = Node { settings: Settings::shared(), ..node };
        update(store, OWNER, &other);
        assert_eq!(list(store, OWNER, "", 9), [other]);
        assert!(create(store, OWNER, "urn:xmpp:bookmarks:1", "x", Settings::personal(), 2).is_none());
        assert!(create(store, OWNER, "", "x", Settings::personal(), 2).is_none());
        let long = "x".repeat(limits::NODE_NAME_BYTES_MAX + 1);
        assert!(create(store, OWNER, &long, "x", Settings::personal(), 2).is_none());
        assert_eq!(find(store, AccountId(8), "urn:xmpp:bookmarks:1"), None);
    });
}

#[test]
fn items_stand_in_the_order_of_publication_and_keep_their_ids() {
    with_store(|store| {
        let node = make(store, "n");
        for (at, id) in ["a", "b", "c", "a"].into_iter().enumerate() {
            put(store, &node, id, "12", at as u64);
        }
        // The clock went back.
        put(store, &node, "d", "1", 0);
        let all = |store: &Store<'_>, back| ids(page(store, OWNER, node.id, Span::default(), back, 9));
        assert_eq!(all(store, false), ["b", "c", "a", "d"]);
        assert_eq!(all(store, true), ["d", "a", "c", "b"]);
        let (b, d) = (sequence(store, OWNER, node.id, "b"), sequence(store, OWNER, node.id, "d"));
        assert_eq!(ids(page(store, OWNER, node.id, Span { above: b, below: d }, true, 9)), ["a", "c"]);
        assert_eq!(last(store, OWNER, node.id).unwrap().id, "d");
        assert_eq!(item(store, OWNER, node.id, "c").unwrap().payload, b"12");
        assert_eq!(count(store, OWNER, node.id), Count { items: 4, bytes: 11 });
        let gone = item(store, OWNER, node.id, "c").unwrap();
        remove_item(store, OWNER, node.id, &gone);
        assert_eq!(
            (all(store, false), item(store, OWNER, node.id, "c")),
            (vec!["b".into(), "a".into(), "d".into()], None)
        );
        assert_eq!(totals(store, OWNER).bytes, 8);
    });
}

#[test]
fn nothing_is_left_of_a_node_that_is_gone() {
    with_store(|store| {
        let node = make(store, "n");
        let other = make(store, "nn");
        for at in 0..100 {
            put(store, &node, &at.to_string(), "x", at);
        }
        put(store, &other, "kept", "x", 1);
        members::put(store, OWNER, node.id, "r@x", &Member { affiliation: Affiliation::Member, ..Member::default() });
        remove(store, OWNER, &node);
        assert_eq!((totals(store, OWNER).nodes, totals(store, OWNER).bytes), (1, 5));
        let again = make(store, "n");
        assert_eq!(count(store, OWNER, again.id), Count::default());
        assert_eq!(members::members(store, OWNER, again.id), []);
        assert_eq!(count(store, OWNER, other.id).items, 1);
    });
}

#[test]
fn an_entity_has_a_row_while_it_is_something() {
    with_store(|store| {
        let node = make(store, "n");
        let subscription = |resource: Option<&str>| Subscription {
            resource: resource.map(str::to_owned),
            id: "s1".into(),
            is_pending: resource.is_none(),
            delivers: true,
            shows: 5,
        };
        let member = Member {
            affiliation: Affiliation::Publisher,
            subscriptions: vec![subscription(None), subscription(Some("orchard"))],
        };
        assert!(members::put(store, OWNER, node.id, "romeo@x", &member));
        assert_eq!(members::member(store, OWNER, node.id, "romeo@x"), member);
        assert!(members::put(store, OWNER, node.id, "romeo@x", &Member::default()));
        assert_eq!(members::members(store, OWNER, node.id), []);
        for at in 0..limits::NODE_MEMBERS_MAX {
            assert!(members::put(store, OWNER, node.id, &at.to_string(), &member));
        }
        assert!(!members::put(store, OWNER, node.id, "one more", &member));
        assert!(members::put(store, OWNER, node.id, "1", &member));
    });
}
