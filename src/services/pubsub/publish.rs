//! Publishing items and taking them back.
//!
//! Source: XEP-0060 §7, XEP-0163 §3. Invariant: whether somebody may publish is decided before anything else is told, so
//! that preconditions do not tell strangers how a node is set up; bytes are counted before they are kept.

use std::collections::BTreeSet;

use super::{Site, access, bad_request, forms, items, no_room, node_name, notify, owner, unsupported};
use crate::{
    domain::{
        ids::AccountId,
        nodes::{self, Item, Node, Settings, settings::WhenFull},
    },
    limits,
    router::{
        context::Ctx,
        service::{ChangeNode, Iq, NodeChange, Notice, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        jid::Jid,
        ns,
    },
};

/// What somebody wants to publish.
struct Publication<'a> {
    /// The item's id; `None`: there is no item, the event is all.
    id: Option<String>,
    /// Who publishes.
    publisher: &'a Jid,
    /// The payload, serialised.
    payload: Vec<u8>,
    /// Whether a service does it.
    by_service: bool,
}

/// XEP-0060 §7.1.
pub(super) fn publish(
    site: &Site,
    iq: &Iq<'_>,
    asked: &Element,
    options: Option<&Element>,
    ctx: &mut Ctx<'_>,
) -> Result<Reply, StanzaError> {
    let name = node_name(asked)?;
    let options = options.filter(|options| options.name == "publish-options");
    let node = nodes::find(&ctx.store(), site.owner, name);
    let settings = match &node {
        Some(node) => {
            access::may_publish(site, node, iq.from, ctx)?;
            let required = options.map(|options| forms::required(options, &node.settings, site)).transpose()?;
            if required.is_some_and(|required| required != node.settings) {
                return Err(forms::not_met());
            }
            node.settings.clone()
        }
        None => {
            access::may_create(site, iq.from, ctx)?;
            let required = options.map(|options| forms::required(options, &site.defaults(name), site)).transpose()?;
            required.unwrap_or_else(|| site.defaults(name))
        }
    };
    let publication = read(&settings, iq.from, asked, ctx)?;
    // Before a node is made: what is wrong with the item must not leave one behind.
    check_payload(&settings, &publication.payload)?;
    let id = publication.id.clone();
    match node {
        Some(node) => commit(site, &node, publication, ctx)?,
        None => {
            let (site, node) = owner::make(site, name, iq.from, settings, ctx)?;
            commit(&site, &node, publication, ctx)?;
        }
    }
    let item = id.map(|id| Element::new("item", ns::PUBSUB).attr("id", id));
    let published = Element::new("publish", ns::PUBSUB).attr("node", name).with(item);
    Ok(Element::new("pubsub", ns::PUBSUB).child(published).into())
}

/// XEP-0060 §7.1.3.6: whether there has to be an item, and a payload.
fn read<'a>(
    settings: &Settings,
    publisher: &'a Jid,
    asked: &Element,
    ctx: &mut Ctx<'_>,
) -> Result<Publication<'a>, StanzaError> {
    let mut given = asked.children().filter(|child| child.is("item", ns::PUBSUB));
    let (item, more) = (given.next(), given.next());
    if more.is_some() {
        return Err(bad_request("invalid-payload"));
    }
    let Some(item) = item else {
        return match (settings.persist_items, settings.deliver_payloads) {
            (true, _) => Err(bad_request("item-required")),
            (_, true) => Err(bad_request("payload-required")),
            _ => Ok(Publication { id: None, publisher, payload: Vec::new(), by_service: false }),
        };
    };
    if !settings.persist_items && !settings.deliver_payloads {
        return Err(bad_request("item-forbidden"));
    }
    let mut payloads = item.children();
    let payload = match (payloads.next(), payloads.next()) {
        (_, Some(_)) => return Err(bad_request("invalid-payload")),
        (Some(payload), None) => items::serialised(payload),
        (None, None) if settings.deliver_payloads => return Err(bad_request("payload-required")),
        (None, None) => Vec::new(),
    };
    let id = match item.get("id").filter(|id| !id.is_empty()) {
        Some(id) if id.len() > limits::ITEM_ID_BYTES_MAX => {
            return Err(StanzaError::new(Condition::NotAcceptable).text("The item's id is too long."));
        }
        Some(id) => id.to_owned(),
        None => ctx.token(),
    };
    Ok(Publication { id: Some(id), publisher, payload, by_service: false })
}

/// XEP-0060 §7.1.3.5.
fn check_payload(settings: &Settings, payload: &[u8]) -> Result<(), StanzaError> {
    if payload.len() > settings.max_payload as usize {
        let error = StanzaError::new(Condition::NotAcceptable).kind(ErrorKind::Modify);
        return Err(error.app("payload-too-big", ns::PUBSUB_ERRORS));
    }
    Ok(())
}

/// Keeps the item if the node keeps any, and tells those who want to hear of it.
fn commit(site: &Site, node: &Node, publication: Publication<'_>, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    check_payload(&node.settings, &publication.payload)?;
    let Publication { id, publisher, payload, by_service } = publication;
    let publisher_jid = publisher.as_str().to_owned();
    let mut item = Item {
        sequence: 0,
        id: id.clone().unwrap_or_default(),
        publisher: publisher_jid,
        published_us: ctx.wall_us,
        payload,
    };
    let mut gone = Vec::new();
    if node.settings.persist_items && node.settings.max_items > 0 {
        // What is too old takes nobody's place.
        gone = items::expire(site, node, ctx);
        let old = nodes::item(&ctx.store(), site.owner, node.id, &item.id);
        if let Some(old) = &old {
            access::may_replace(site, node, publisher, &old.publisher, ctx)?;
        }
        check_room(site, node, &item, old.as_ref(), ctx)?;
        gone.append(&mut make_room(site, node, old.is_none(), ctx));
        let (now_us, content) = (ctx.wall_us, (item.id.as_str(), item.publisher.as_str(), item.payload.as_slice()));
        item.sequence = nodes::put_item(&mut ctx.store(), site.owner, node.id, content, now_us);
    }
    notify::published(site, node, id.is_some().then_some(&item), &gone, ctx);
    if let Some(id) = id {
        changed(site, node, NodeChange::Published(id.into()), by_service, ctx);
    }
    for id in gone {
        changed(site, node, NodeChange::Retracted(id.into()), by_service, ctx);
    }
    Ok(())
}

/// Whether the item may be kept: its bytes fit, and a full node lets older ones go.
fn check_room(site: &Site, node: &Node, item: &Item, old: Option<&Item>, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let replaced = old.map_or(0, |old| nodes::weight(&old.id, &old.payload));
    let held = nodes::totals(&ctx.store(), site.owner).bytes.saturating_sub(replaced);
    if held + nodes::weight(&item.id, &item.payload) > site.bytes_max() {
        return Err(no_room("There is no room for more items."));
    }
    let is_full = nodes::count(&ctx.store(), site.owner, node.id).items >= node.settings.max_items;
    if old.is_none() && is_full && node.settings.when_full == WhenFull::Reject {
        return Err(StanzaError::new(Condition::Conflict).app("node-full", ns::PUBSUB_ERRORS));
    }
    Ok(())
}

/// Lets the oldest items of a full node go, some at a time. The ids of those whose going is told.
fn make_room(site: &Site, node: &Node, needs_one: bool, ctx: &mut Ctx<'_>) -> Vec<String> {
    let settings = &node.settings;
    let mut gone = Vec::new();
    for _ in 0..limits::ITEMS_EXPIRED_AT_ONCE_MAX {
        let count = nodes::count(&ctx.store(), site.owner, node.id).items;
        if count + u32::from(needs_one) <= settings.max_items {
            break;
        }
        let oldest = nodes::page(&ctx.store(), site.owner, node.id, nodes::Span::default(), false, 1);
        let Some(oldest) = oldest.into_iter().next() else { break };
        nodes::remove_item(&mut ctx.store(), site.owner, node.id, &oldest);
        // A node of one item is a state that changes; nobody is told that the state before is over.
        if settings.when_full == WhenFull::RetractOldest && settings.max_items > 1 {
            gone.push(oldest.id);
        }
    }
    gone
}

/// A node keeps fewer items than before: the oldest go, and those who hear of that are told in portions.
pub(super) fn shrink(site: &Site, node: &Node, ctx: &mut Ctx<'_>) {
    while nodes::count(&ctx.store(), site.owner, node.id).items > node.settings.max_items {
        let before = nodes::count(&ctx.store(), site.owner, node.id).items;
        let gone = make_room(site, node, false, ctx);
        if nodes::count(&ctx.store(), site.owner, node.id).items == before {
            break;
        }
        if !gone.is_empty() && node.settings.notify_retract {
            notify::retracted(site, node, &gone.iter().map(String::as_str).collect::<Vec<_>>(), ctx);
        }
        for id in gone {
            changed(site, node, NodeChange::Retracted(id.into()), false, ctx);
        }
    }
}

/// XEP-0060 §7.2.
pub(super) fn retract(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let name = node_name(asked)?;
    // Each once: what is gone already must not be taken off the account's bytes again.
    let mut ids = BTreeSet::new();
    for item in asked.children().filter(|child| child.is("item", ns::PUBSUB)) {
        ids.insert(item.get("id").filter(|id| !id.is_empty()).ok_or(bad_request("item-required"))?);
    }
    if ids.is_empty() {
        return Err(bad_request("item-required"));
    }
    let node = access::find(site, name, ctx)?;
    if !node.settings.persist_items {
        access::may_publish(site, &node, iq.from, ctx)?;
        return Err(unsupported("persistent-items"));
    }
    let mut found = Vec::new();
    for id in ids {
        let item = nodes::item(&ctx.store(), site.owner, node.id, id);
        // Whoever may not publish does not learn which items there are.
        let publisher = item.as_ref().map_or("", |item| &item.publisher);
        access::may_replace(site, &node, iq.from, publisher, ctx)?;
        found.push(item.ok_or(StanzaError::new(Condition::ItemNotFound))?);
    }
    let notify = asked.get("notify").is_some_and(|notify| matches!(notify, "1" | "true"));
    take_back(site, &node, &found, notify, false, ctx);
    Ok(Reply::Empty)
}

/// Removes items and tells of it.
fn take_back(site: &Site, node: &Node, gone: &[Item], notify: bool, by_service: bool, ctx: &mut Ctx<'_>) {
    for item in gone {
        nodes::remove_item(&mut ctx.store(), site.owner, node.id, item);
        changed(site, node, NodeChange::Retracted(item.id.as_str().into()), by_service, ctx);
    }
    if notify || node.settings.notify_retract {
        let ids: Vec<&str> = gone.iter().map(|item| item.id.as_str()).collect();
        notify::retracted(site, node, &ids, ctx);
    }
}

/// What another service wants done to an account's node, see [`Ctx::change_node`].
pub(super) fn by_service(account: AccountId, name: &str, change: &ChangeNode, ctx: &mut Ctx<'_>) {
    let Some(site) = Site::personal(account, ctx) else { return };
    let node = nodes::find(&ctx.store(), account, name);
    let outcome = match (change, node) {
        (ChangeNode::Publish { item, payload, settings }, node) => {
            let payload = items::serialised(payload);
            let is_same = |node: &Node| {
                nodes::item(&ctx.store(), account, node.id, item).is_some_and(|item| item.payload == payload)
            };
            if node.as_ref().is_some_and(is_same) {
                return;
            }
            let publisher = site.jid.clone();
            let node = node.map(Ok).unwrap_or_else(|| {
                let mut wanted = site.defaults(name);
                for (name, value) in *settings {
                    let _ = wanted.set(name, &[value]);
                }
                Ok(owner::make(&site, name, &publisher, wanted, ctx)?.1)
            });
            let id = Some(item.to_string());
            let publication = Publication { id, publisher: &publisher, payload, by_service: true };
            node.and_then(|node: Node| commit(&site, &node, publication, ctx))
        }
        (ChangeNode::Retract { item }, Some(node)) => {
            if let Some(item) = nodes::item(&ctx.store(), account, node.id, item) {
                take_back(&site, &node, &[item], false, true, ctx);
            }
            Ok(())
        }
        (ChangeNode::Retract { .. }, None) => Ok(()),
    };
    if let Err(error) = outcome {
        log::warn!("node {name} of {}: not changed for another service: {}", site.jid, error.condition.as_str());
    }
}

/// Tells other services what happened to an account's node.
pub(super) fn changed(site: &Site, node: &Node, change: NodeChange, by_service: bool, ctx: &mut Ctx<'_>) {
    if site.is_personal {
        ctx.notice(Notice::NodeChanged { account: site.owner, node: node.name.as_ref().into(), change, by_service });
    }
}
