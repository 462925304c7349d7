//! Tells those who want to hear of it what happened at a node.
//!
//! Source: XEP-0060 §7.1.2, §9 and §12, XEP-0163 §4. Invariants: nobody is told who may not read the node now, who blocks
//! the owner or is blocked (XEP-0163 §4.3.3), or whose client did not ask for it; everybody gets the same bytes, once.

use std::collections::BTreeSet;

use super::{Site, access, items, subscribe};
use crate::{
    domain::{
        ids::SessionId,
        nodes::{
            Item, Node,
            members::{self, Affiliation, SHOWS, Subscription},
            settings::{AccessModel, NotificationType},
        },
        roster,
        sessions::{Keep, Session},
    },
    router::{context::Ctx, service::Leg},
    wire::{build, element::Element, jid::Jid, ns, stanza::Stanza},
};

/// Who is told.
#[derive(Default)]
struct Audience {
    /// Sessions here, each by itself.
    sessions: BTreeSet<SessionId>,
    /// Addresses of those whose sessions are not known, or who subscribed without saying what their clients want.
    addresses: BTreeSet<Jid>,
}

/// XEP-0060 §7.1.2: an item was published, and others gave way.
pub(super) fn published(site: &Site, node: &Node, item: Option<&Item>, gone: &[String], ctx: &mut Ctx<'_>) {
    let mut inner = open(node);
    if let Some(item) = item {
        items::write(item, &node.settings, node.settings.deliver_payloads, &mut inner);
    }
    close(&mut inner);
    tell(site, node, &inner, ctx);
    if !gone.is_empty() && node.settings.notify_retract {
        let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
        retracted(site, node, &gone, ctx);
    }
}

/// XEP-0060 §7.2.2.1: items are gone.
pub(super) fn retracted(site: &Site, node: &Node, ids: &[&str], ctx: &mut Ctx<'_>) {
    let mut inner = open(node);
    for id in ids {
        inner.extend_from_slice(b"<retract");
        build::attr("id", id, &mut inner);
        inner.extend_from_slice(b"/>");
    }
    close(&mut inner);
    tell(site, node, &inner, ctx);
}

/// Something else happened; the element stands inside `<event/>`.
pub(super) fn event(site: &Site, node: &Node, event: &Element, ctx: &mut Ctx<'_>) {
    let mut inner = Vec::with_capacity(256);
    event.write(ns::PUBSUB_EVENT, &mut inner);
    tell(site, node, &inner, ctx);
}

fn open(node: &Node) -> Vec<u8> {
    let mut inner = Vec::with_capacity(1024);
    inner.extend_from_slice(b"<items");
    build::attr("node", &node.name, &mut inner);
    inner.push(b'>');
    inner
}

fn close(inner: &mut Vec<u8>) {
    inner.extend_from_slice(b"</items>");
}

/// One stanza for all.
fn message(site: &Site, node: &Node, inner: &[u8], behind: &[u8], ctx: &mut Ctx<'_>) -> Stanza {
    let id = ctx.token();
    let ty = node.settings.notification_type.as_str();
    Stanza::message(ty, &id, site.jid.clone(), ("event", ns::PUBSUB_EVENT), inner, behind)
}

fn tell(site: &Site, node: &Node, inner: &[u8], ctx: &mut Ctx<'_>) {
    if !node.settings.deliver_notifications {
        return;
    }
    let audience = audience(site, node, ctx);
    if audience.sessions.is_empty() && audience.addresses.is_empty() {
        return;
    }
    // XEP-0060 §12.6: events are not kept for the absent.
    let behind: &[u8] = match node.settings.notification_type {
        NotificationType::Headline => b"",
        NotificationType::Normal => b"<no-store xmlns='urn:xmpp:hints'/>",
    };
    let message = message(site, node, inner, behind, ctx);
    for id in audience.sessions {
        to_session(id, &message, ctx);
    }
    for jid in audience.addresses {
        ctx.send(Leg::Inbound, message.readdressed(Some(jid)));
    }
}

fn to_session(id: SessionId, message: &Stanza, ctx: &mut Ctx<'_>) {
    let Some(session) = ctx.sessions().session(id) else { return };
    let chunk = message.chunk_to(Some(&session.jid));
    ctx.core.deliver(id, chunk, Keep::Nothing);
}

/// The last item for one session that came online, XEP-0163 §4.3.4.
pub(super) fn last_to_session(site: &Site, node: &Node, item: &Item, id: SessionId, ctx: &mut Ctx<'_>) {
    let message = last_message(site, node, item, ctx);
    to_session(id, &message, ctx);
}

/// The last item for a new subscriber, XEP-0060 §6.1.7.
pub(super) fn last_to_address(site: &Site, node: &Node, item: &Item, jid: &Jid, ctx: &mut Ctx<'_>) {
    let message = last_message(site, node, item, ctx);
    ctx.send(Leg::Inbound, message.readdressed(Some(jid.clone())));
}

/// Something that concerns one entity; the element stands inside `<event/>`.
pub(super) fn to_address(site: &Site, node: &Node, event: &Element, jid: &Jid, ctx: &mut Ctx<'_>) {
    if is_blocked(site, jid, ctx) {
        return;
    }
    let mut inner = Vec::with_capacity(256);
    event.write(ns::PUBSUB_EVENT, &mut inner);
    let message = message(site, node, &inner, b"", ctx);
    ctx.send(Leg::Inbound, message.readdressed(Some(jid.clone())));
}

fn last_message(site: &Site, node: &Node, item: &Item, ctx: &mut Ctx<'_>) -> Stanza {
    let mut inner = open(node);
    items::write(item, &node.settings, node.settings.deliver_payloads, &mut inner);
    close(&mut inner);
    let mut behind = b"<delay xmlns='urn:xmpp:delay'".to_vec();
    build::attr("stamp", &crate::wire::time::stamp(item.published_us / 1000), &mut behind);
    behind.extend_from_slice(b"/>");
    message(site, node, &inner, &behind, ctx)
}

fn audience(site: &Site, node: &Node, ctx: &mut Ctx<'_>) -> Audience {
    let mut audience = Audience::default();
    if site.is_personal {
        audience.sessions.extend(interested(site.jid.as_str(), node, ctx));
        contacts(site, node, &mut audience, ctx);
        if node.settings.access == AccessModel::Open {
            sharers(site, node, &mut audience, ctx);
        }
    }
    for (bare, member) in members::members(&ctx.store(), site.owner, node.id) {
        let Ok(jid) = Jid::parse(&bare) else { continue };
        let told: Vec<&Subscription> = member
            .subscriptions
            .iter()
            .filter(|subscription| !subscription.is_pending && subscription.delivers)
            .collect();
        if told.is_empty() || access::may_read(site, node, &jid, ctx).is_err() || is_blocked(site, &jid, ctx) {
            continue;
        }
        for subscription in told {
            subscriber(site, node, &jid, subscription, &mut audience, ctx);
        }
    }
    audience
}

/// XEP-0060 §9.1.2: those who see the owner's presence are subscribed to what is not for chosen ones; §9.2: and hear of
/// what their clients ask for.
fn contacts(site: &Site, node: &Node, audience: &mut Audience, ctx: &mut Ctx<'_>) {
    let groups = match node.settings.access {
        AccessModel::Open | AccessModel::Presence => None,
        AccessModel::Roster => Some(&node.settings.roster_groups),
        AccessModel::Authorize | AccessModel::Whitelist => return,
    };
    for (contact, item) in roster::items(&ctx.store(), site.owner) {
        let in_group = groups.is_none_or(|groups| item.groups.iter().any(|group| groups.contains(group)));
        if !item.state.from || !in_group {
            continue;
        }
        let sessions: Vec<SessionId> = interested(&contact, node, ctx).collect();
        let elsewhere = Jid::parse(&contact).map(|contact| ctx.core.away.interested(&contact, &node.name));
        let elsewhere = elsewhere.unwrap_or_default();
        if sessions.is_empty() && elsewhere.is_empty() {
            continue;
        }
        let affiliation = members::member(&ctx.store(), site.owner, node.id, &contact).affiliation;
        let is_out = matches!(affiliation, Affiliation::Outcast | Affiliation::PublishOnly);
        let Some(jid) = Jid::parse(&contact).ok().filter(|_| !is_out) else { continue };
        if !is_blocked(site, &jid, ctx) {
            audience.sessions.extend(sessions);
            audience.addresses.extend(elsewhere);
        }
    }
}

/// XEP-0060 §9.1.3: who sent presence to the owner without a subscription is subscribed to what is open while it lasts.
fn sharers(site: &Site, node: &Node, audience: &mut Audience, ctx: &mut Ctx<'_>) {
    let to_owner = |session: &Session| session.directed.iter().any(|to| to.bare_str() == site.jid.as_str());
    let all = ctx.sessions().all().filter(|(_, session)| to_owner(session) && session.wants_node(&node.name));
    let all: Vec<(SessionId, Jid)> = all.map(|(id, session)| (id, session.jid.clone())).collect();
    for (id, jid) in all {
        if access::may_read(site, node, &jid, ctx).is_ok() && !is_blocked(site, &jid, ctx) {
            audience.sessions.insert(id);
        }
    }
}

fn interested<'c>(bare: &str, node: &'c Node, ctx: &'c Ctx<'_>) -> impl Iterator<Item = SessionId> + 'c {
    ctx.sessions().of(bare).filter(|(_, session)| session.wants_node(&node.name)).map(|(id, _)| id)
}

/// Whether one of the two wants nothing of the other.
pub(super) fn is_blocked(site: &Site, jid: &Jid, ctx: &mut Ctx<'_>) -> bool {
    (site.is_personal && ctx.blocks(&site.jid, jid)) || ctx.blocks(jid, &site.jid)
}

/// XEP-0163 §4.3.2: an explicit subscription.
fn subscriber(
    site: &Site,
    node: &Node,
    bare: &Jid,
    subscription: &Subscription,
    audience: &mut Audience,
    ctx: &mut Ctx<'_>,
) {
    let address = subscribe::address(bare, subscription);
    if !ctx.is_local(bare) {
        // Once: the clients that are known to be interested, or else the bare address.
        let mut clients = Vec::new();
        if site.is_personal && subscription.resource.is_none() {
            clients = ctx.core.away.interested(bare, &node.name);
        }
        if clients.is_empty() {
            clients.push(address);
        }
        return audience.addresses.extend(clients);
    }
    // XEP-0060 §12.3 and §12.6: without a word about presence, an event goes where it was subscribed to.
    let needs_presence = node.settings.presence_based_delivery || subscription.shows != 0;
    let fits = |session: &Session| session.presence.is_some() && shows(session, subscription.shows);
    if let Some(resource) = &subscription.resource {
        let found = ctx.sessions().of(bare.as_str()).find(|(_, session)| session.jid.resource() == Some(resource));
        audience.sessions.extend(found.filter(|(_, session)| !needs_presence || fits(session)).map(|(id, _)| id));
        return;
    }
    let sessions: Vec<(SessionId, bool)> = ctx
        .sessions()
        .of(bare.as_str())
        .filter(|(_, session)| fits(session))
        .map(|(id, session)| (id, session.wants_node(&node.name)))
        .collect();
    if site.is_personal && sessions.iter().any(|(_, wants)| *wants) {
        audience.sessions.extend(sessions.into_iter().filter(|(_, wants)| *wants).map(|(id, _)| id));
    } else if !sessions.is_empty() || !needs_presence {
        audience.addresses.insert(address);
    }
}

/// XEP-0060 §16.4.2, `pubsub#show-values`.
fn shows(session: &Session, wanted: u8) -> bool {
    if wanted == 0 {
        return true;
    }
    let presence = session.presence.as_ref().and_then(|presence| presence.stanza.find("show", ns::CLIENT));
    let show = presence.map(|show| show.content());
    let show = show.as_deref().map(str::trim).filter(|show| !show.is_empty()).unwrap_or("online");
    SHOWS.iter().position(|name| *name == show).is_some_and(|at| wanted & (1 << at) != 0)
}
