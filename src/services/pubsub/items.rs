//! Reading what was published.
//!
//! Source: XEP-0060 §6.5, XEP-0059 v1.0. What was published last comes first: clients that take the first item of many
//! take the one that counts, and pages go back in time. Invariant: an answer is bounded in bytes, whatever is asked for.

use super::{Site, access, node_name, unsupported};
use crate::{
    domain::nodes::{
        self, Item, Node, Span,
        settings::{ItemReply, Settings},
    },
    limits,
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        build,
        element::Element,
        error::{Condition, StanzaError},
        ns,
        rsm::{Page, Request},
    },
};

/// The namespace around a payload that is written down: none that there is, so that the payload declares its own.
const NOWHERE: &str = "\0";

/// A payload as it is kept and sent on: it means the same at any place.
pub(super) fn serialised(payload: &Element) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    payload.write(NOWHERE, &mut out);
    out
}

/// Appends `<item id='…'>payload</item>`.
pub(super) fn write(item: &Item, settings: &Settings, with_payload: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<item");
    build::attr("id", &item.id, out);
    // XEP-0060 §7.1.2.3: made by us, and in every form of the item or in none.
    if settings.item_reply == Some(ItemReply::Publisher) {
        build::attr("publisher", &item.publisher, out);
    }
    if with_payload && !item.payload.is_empty() {
        out.push(b'>');
        out.extend_from_slice(&item.payload);
        out.extend_from_slice(b"</item>");
    } else {
        out.extend_from_slice(b"/>");
    }
}

/// XEP-0060 §6.5.
pub(super) fn items(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let node = access::find(site, node_name(asked)?, ctx)?;
    access::may_read(site, &node, iq.from, ctx)?;
    if !node.settings.persist_items {
        // XEP-0060 §6.5.9.4.
        return Err(unsupported("persistent-items"));
    }
    let ids: Vec<&str> =
        asked.children().filter(|child| child.is("item", ns::PUBSUB)).filter_map(|item| item.get("id")).collect();
    let page = Request::of(iq.payload)?;
    let (found, set) = if !ids.is_empty() {
        (by_id(site, &node, &ids, ctx), None)
    } else {
        let max = asked.get("max_items").map(|max| max.trim().parse::<usize>().map_err(|_| Condition::BadRequest));
        let max = max.transpose()?.unwrap_or(usize::MAX);
        list(site, &node, (max, false), page.as_ref(), ctx)?
    };
    let mut out = b"<pubsub xmlns='http://jabber.org/protocol/pubsub'><items".to_vec();
    build::attr("node", &node.name, &mut out);
    out.push(b'>');
    for item in &found {
        write(item, &node.settings, true, &mut out);
    }
    out.extend_from_slice(b"</items>");
    if let Some(set) = set {
        set.element().write(ns::PUBSUB, &mut out);
    }
    out.extend_from_slice(b"</pubsub>");
    Ok(Reply::Serialised(out))
}

/// Takes items while there is room for them in the answer; the first one always fits.
struct Room {
    left: usize,
    found: Vec<Item>,
    /// Only the ids are told.
    names: bool,
}

impl Room {
    fn new(names: bool) -> Room {
        Room { left: limits::ITEMS_ANSWER_BYTES_MAX, found: Vec::new(), names }
    }

    fn take(&mut self, mut item: Item) -> bool {
        if self.names {
            item.payload = Default::default();
        }
        let weight = nodes::weight(&item.id, &item.payload) as usize;
        if weight > self.left && !self.found.is_empty() {
            return false;
        }
        self.left = self.left.saturating_sub(weight);
        self.found.push(item);
        true
    }
}

fn is_alive(node: &Node, item: &Item, now_us: u64) -> bool {
    let age_us = now_us.saturating_sub(item.published_us);
    node.settings.expire_s == 0 || age_us / 1_000_000 < node.settings.expire_s
}

/// What was published last, unless it is older than the node keeps things.
pub(super) fn last(site: &Site, node: &Node, ctx: &mut Ctx<'_>) -> Option<Item> {
    nodes::last(&ctx.store(), site.owner, node.id).filter(|item| is_alive(node, item, ctx.wall_us))
}

/// XEP-0060 §6.5.8: those of these items that there are.
fn by_id(site: &Site, node: &Node, ids: &[&str], ctx: &mut Ctx<'_>) -> Vec<Item> {
    let mut room = Room::new(false);
    for id in ids {
        let item = nodes::item(&ctx.store(), site.owner, node.id, id);
        if let Some(item) = item.filter(|item| is_alive(node, item, ctx.wall_us))
            && !room.take(item)
        {
            break;
        }
    }
    room.found
}

/// XEP-0060 §6.5.2 to §6.5.7: all items, the latest, or a page of them; without their payloads if only `names` are wanted. `<set/>` is told if a page was asked for, or if
/// there are more.
pub(super) fn list(
    site: &Site,
    node: &Node,
    (max, names): (usize, bool),
    page: Option<&Request>,
    ctx: &mut Ctx<'_>,
) -> Result<(Vec<Item>, Option<Page>), StanzaError> {
    expire(site, node, ctx);
    let count = nodes::count(&ctx.store(), site.owner, node.id).items as usize;
    let place = |id: &str| {
        let sequence = nodes::sequence(&ctx.store(), site.owner, node.id, id);
        sequence.ok_or(StanzaError::new(Condition::ItemNotFound))
    };
    let mut place = place;
    let mut span = Span::default();
    let mut size = max;
    if let Some(page) = page {
        if page.index.is_some() {
            // XEP-0059 §2.5.
            return Err(Condition::FeatureNotImplemented.into());
        }
        size = page.size(max);
        // Later in the list is earlier in time.
        span.below = page.after.as_deref().map(&mut place).transpose()?;
        span.above = page.before_id().map(&mut place).transpose()?;
    }
    let backward = page.is_some_and(Request::is_backward);
    let mut room = Room::new(names);
    let mut is_cut = false;
    while room.found.len() < size && !is_cut {
        let limit = (size - room.found.len()).min(limits::ITEMS_PAGE);
        let rows = nodes::page(&ctx.store(), site.owner, node.id, span, !backward, limit);
        let is_last = rows.len() < limit;
        for item in rows {
            match backward {
                true => span.above = Some(item.sequence),
                false => span.below = Some(item.sequence),
            }
            is_cut = !room.take(item);
            if is_cut {
                break;
            }
        }
        if is_last {
            break;
        }
    }
    let mut found = room.found;
    if backward {
        found.reverse();
    }
    let ends = found.first().zip(found.last()).map(|(first, last)| (first.id.clone(), last.id.clone()));
    let told = page.is_some() || is_cut;
    Ok((found, told.then_some(Page { ends, index: None, count: Some(count) })))
}

/// Lets go what is older than the node keeps things, some at a time; the ids of what went.
pub(super) fn expire(site: &Site, node: &Node, ctx: &mut Ctx<'_>) -> Vec<String> {
    let mut gone = Vec::new();
    if node.settings.expire_s == 0 {
        return gone;
    }
    let now_us = ctx.wall_us;
    let oldest =
        nodes::page(&ctx.store(), site.owner, node.id, Span::default(), false, limits::ITEMS_EXPIRED_AT_ONCE_MAX);
    for item in oldest.into_iter().take_while(|item| !is_alive(node, item, now_us)) {
        nodes::remove_item(&mut ctx.store(), site.owner, node.id, &item);
        gone.push(item.id);
    }
    gone
}
