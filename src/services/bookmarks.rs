//! Keeps the bookmarks of an account in step, whichever way its clients store them.
//!
//! Source: XEP-0402 v1.2.0 §5.3, XEP-0411 v1.1.0, XEP-0048 v1.2. There are three places: the node `urn:xmpp:bookmarks:1`
//! with one item a room, the node `storage:bookmarks` with all in one item, and the private element (XEP-0049), which holds
//! the same as that item. For rooms the first is the truth; everything else that stands in the old form (links, what nobody
//! knows) is in the other two alone, and extensions of XEP-0402 in the first alone. Written is only what both can say
//! ([`crate::wire::bookmarks`]), so that nothing is lost on the way there and back.
//!
//! The private element is also what the old form and the rooms last agreed on: what an old client took away is told from
//! what it never knew by comparing with that. Invariants: only a room that was there, and that a client left out or
//! retracted, goes; what a service did ([`Ctx::change_node`]) is never answered; who converts makes sure that nobody but the
//! account reads the result (XEP-0411 §5).

use std::collections::BTreeSet;

use crate::{
    domain::{
        ids::{AccountId, SessionId},
        nodes::{self, Item, Span},
        private,
    },
    limits,
    router::{
        context::Ctx,
        service::{Card, ChangeNode, NodeChange, Notice, Scope, Service},
    },
    wire::{
        bookmarks::{self, Bookmark, Collection, Common},
        element::Element,
        jid::Jid,
        ns,
    },
};

/// XEP-0402 and XEP-0411.
#[derive(Debug)]
pub struct Bookmarks;

static CARD: Card = Card {
    name: "bookmarks",
    source: "XEP-0402 v1.2.0, XEP-0411 v1.1.0, XEP-0048 v1.2",
    features: &[
        (Scope::Own, ns::BOOKMARKS_COMPAT),
        (Scope::Own, ns::BOOKMARKS_COMPAT_PEP),
        (Scope::Own, ns::BOOKMARKS_CONVERSION),
    ],
    stream_features: &[],
    iq: &[],
    passes: &[],
};

/// XEP-0048 §3.1, the example: the item that holds all bookmarks.
const CURRENT: &str = "current";

/// XEP-0402 §3.3, the example.
const SETTINGS: &[(&str, &str)] = &[
    ("persist_items", "1"),
    ("max_items", "max"),
    ("send_last_published_item", "never"),
    ("access_model", "whitelist"),
];

/// XEP-0048 §3.1, the example.
const OLD_SETTINGS: &[(&str, &str)] = &[("persist_items", "1"), ("access_model", "whitelist")];

impl Service for Bookmarks {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn leans_on(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (ns::BOOKMARKS_COMPAT, ns::PUBSUB),
            (ns::BOOKMARKS_COMPAT_PEP, ns::PUBSUB),
            (ns::BOOKMARKS_CONVERSION, ns::PUBSUB),
        ]
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        match notice {
            Notice::SessionBound(id) => at_bind(*id, ctx),
            Notice::NodeChanged { account, node, change, by_service: false } => match node.as_ref() {
                ns::BOOKMARKS => native_changed(*account, change, ctx),
                // Who only tidies up behind a conversion of its own takes no bookmark away: XEP-0402 §5.3.2 speaks of lists
                // that are published. The item comes back with the next change, or sign-in.
                ns::OLD_BOOKMARKS if matches!(change, NodeChange::Published(_)) => old_published(*account, ctx),
                _ => {}
            },
            Notice::PrivateChanged { account, ns, name, before }
                if (ns.as_ref(), name.as_ref()) == (ns::OLD_BOOKMARKS, "storage") =>
            {
                let before = before.as_deref().and_then(parse).unwrap_or_default();
                let after = stored(*account, ctx).unwrap_or_default();
                keep(*account, &after, ctx);
                publish_old(*account, &after, ctx);
                follow(*account, &before, &after, ctx);
            }
            _ => {}
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Collection> {
    Element::parse(bytes, "").ok().and_then(Collection::read)
}

fn key(account: AccountId) -> Vec<u8> {
    private::key(account, ns::OLD_BOOKMARKS, "storage")
}

/// The private element.
fn stored(account: AccountId, ctx: &mut Ctx<'_>) -> Option<Collection> {
    parse(&ctx.store().read(&key(account))?)
}

/// Writes the private element. One without content is written as well: it says that there is nothing. What is too large
/// stays away; the rooms are in their node.
fn keep(account: AccountId, all: &Collection, ctx: &mut Ctx<'_>) -> bool {
    let mut bytes = Vec::with_capacity(1024);
    all.element().write("", &mut bytes);
    let key = key(account);
    if ctx.store().read(&key).as_ref() == Some(&bytes) {
        return true;
    }
    let fits = bytes.len() <= limits::PRIVATE_BYTES_MAX
        && private::has_room(&ctx.store(), account, &[(key.as_slice(), bytes.len())]);
    match fits {
        true => ctx.store().put(&key, &bytes),
        false => log::warn!("bookmarks of account {}: no room for the old form of them all", account.0),
    }
    fits
}

/// Publishes all bookmarks in one item.
fn publish_old(account: AccountId, all: &Collection, ctx: &mut Ctx<'_>) {
    // XEP-0411 §5: nobody but the account reads what is converted.
    nodes::close(&mut ctx.store(), account, ns::OLD_BOOKMARKS, 1);
    let change = ChangeNode::Publish { item: CURRENT.into(), payload: all.element(), settings: OLD_SETTINGS };
    ctx.change_node(account, ns::OLD_BOOKMARKS, change);
}

/// What an item of the node for rooms says, and of which room.
fn native_of(item: &Item) -> Option<(Jid, Common)> {
    let payload = Element::parse(&item.payload, ns::CLIENT).ok()?;
    payload.is("conference", ns::BOOKMARKS).then(|| Some((bookmarks::room(&item.id)?, Common::of(&payload))))?
}

/// A client published or retracted rooms: the old form follows.
fn native_changed(account: AccountId, change: &NodeChange, ctx: &mut Ctx<'_>) {
    let Some(mut all) = stored(account, ctx) else { return bring_together(account, ctx) };
    let before = all.clone();
    match change {
        NodeChange::Published(id) => {
            let store = ctx.store();
            let node = nodes::find(&store, account, ns::BOOKMARKS);
            let item = node.and_then(|node| nodes::item(&store, account, node.id, id));
            let Some((room, common)) = item.as_ref().and_then(native_of) else { return };
            all.set(&room, id, &common);
        }
        NodeChange::Retracted(id) => {
            let Some(room) = bookmarks::room(id) else { return };
            all.forget(&room);
        }
        NodeChange::Purged | NodeChange::Deleted => all.forget_rooms(),
        NodeChange::Configured => return,
    }
    // What cannot be kept is not shown either: an old client would write it back without what it was not shown.
    if all != before && keep(account, &all, ctx) {
        publish_old(account, &all, ctx);
    }
}

/// A client published all bookmarks in one item.
fn old_published(account: AccountId, ctx: &mut Ctx<'_>) {
    let Some(after) = published(account, ctx) else { return };
    let before = stored(account, ctx).unwrap_or_default();
    keep(account, &after, ctx);
    follow(account, &before, &after, ctx);
}

/// What was published last in the old form.
fn published(account: AccountId, ctx: &mut Ctx<'_>) -> Option<Collection> {
    let store = ctx.store();
    let node = nodes::find(&store, account, ns::OLD_BOOKMARKS)?;
    parse(&nodes::last(&store, account, node.id)?.payload)
}

/// The node for rooms follows an old client that wrote them all. XEP-0402 §5.3.2: nobody is told of those that are the same.
fn follow(account: AccountId, before: &Collection, after: &Collection, ctx: &mut Ctx<'_>) {
    let new = after.bookmarks();
    for bookmark in new.iter().take(limits::BOOKMARKS_MAX) {
        publish_native(account, bookmark, before.find(&bookmark.room).as_ref(), ctx);
    }
    let mut is_left: BTreeSet<&Jid> = BTreeSet::new();
    is_left.extend(new.iter().map(|bookmark| &bookmark.room));
    for gone in before.bookmarks().into_iter().take(limits::BOOKMARKS_MAX) {
        if !is_left.contains(&gone.room) {
            let item = native_item(account, &gone, ctx).map_or(gone.address, |item| item.id);
            ctx.change_node(account, ns::BOOKMARKS, ChangeNode::Retract { item: item.into() });
        }
    }
}

/// Publishes one room if it is not there, or if an old client changed what it knew of it.
fn publish_native(account: AccountId, bookmark: &Bookmark, before: Option<&Common>, ctx: &mut Ctx<'_>) {
    let item = native_item(account, bookmark, ctx);
    if item.is_some() && before == Some(&bookmark.common) {
        return;
    }
    // XEP-0402 §3.3: or one room would take the place of another.
    nodes::close(&mut ctx.store(), account, ns::BOOKMARKS, limits::NODE_ITEMS_MAX);
    let kept = item.as_ref().and_then(|item| Element::parse(&item.payload, ns::CLIENT).ok());
    let change = ChangeNode::Publish {
        item: item.map_or(bookmark.room.as_str().into(), |item| item.id.into()),
        payload: bookmarks::native(kept, &bookmark.common),
        settings: SETTINGS,
    };
    ctx.change_node(account, ns::BOOKMARKS, change);
}

/// The item of a room, by its address as it should be or as a client wrote it.
fn native_item(account: AccountId, bookmark: &Bookmark, ctx: &mut Ctx<'_>) -> Option<Item> {
    let store = ctx.store();
    let node = nodes::find(&store, account, ns::BOOKMARKS)?;
    let item = |id| nodes::item(&store, account, node.id, id);
    item(bookmark.room.as_str()).or_else(|| item(&bookmark.address))
}

/// XEP-0411 §4: what was stored before anybody converted is converted before a client asks for it.
fn at_bind(id: SessionId, ctx: &mut Ctx<'_>) {
    let Some(session) = ctx.sessions().session(id).filter(|session| !session.is_local) else { return };
    let account = session.account;
    let store = ctx.store();
    let old = nodes::find(&store, account, ns::OLD_BOOKMARKS);
    let places = [
        store.has(&key(account)),
        old.is_some_and(|node| nodes::count(&store, account, node.id).items > 0),
        nodes::find(&store, account, ns::BOOKMARKS).is_some(),
    ];
    // In step if all three are there, because then each has followed the others.
    if places.contains(&true) && places.contains(&false) {
        bring_together(account, ctx);
    }
}

/// Makes one of what stands in the three places. Of a room that is in more than one, its own item counts.
fn bring_together(account: AccountId, ctx: &mut Ctx<'_>) {
    let mut all = stored(account, ctx).unwrap_or_default();
    if let Some(published) = published(account, ctx) {
        all.add_missing(published);
    }
    for (id, room, common) in natives(account, ctx) {
        all.set(&room, &id, &common);
    }
    if keep(account, &all, ctx) {
        publish_old(account, &all, ctx);
    }
    for bookmark in all.bookmarks().into_iter().take(limits::BOOKMARKS_MAX) {
        publish_native(account, &bookmark, Some(&bookmark.common), ctx);
    }
}

/// Rooms in their own node: id of the item, address, what it says.
fn natives(account: AccountId, ctx: &mut Ctx<'_>) -> Vec<(String, Jid, Common)> {
    let store = ctx.store();
    let Some(node) = nodes::find(&store, account, ns::BOOKMARKS) else { return Vec::new() };
    let mut found = Vec::new();
    let mut span = Span::default();
    while found.len() < limits::BOOKMARKS_MAX {
        let page = nodes::page(&store, account, node.id, span, false, limits::ITEMS_PAGE);
        span.above = page.last().map(|item| item.sequence);
        let is_last = page.len() < limits::ITEMS_PAGE;
        found.extend(page.into_iter().filter_map(|item| {
            let (room, common) = native_of(&item)?;
            Some((item.id, room, common))
        }));
        if is_last {
            break;
        }
    }
    found
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;
