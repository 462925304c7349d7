//! Owners see and change who subscribed to a node, and who is what to it.
//!
//! Source: XEP-0060 §8.8 and §8.9. Where one change of several is not possible, none is made, and how all of them stand is
//! told with the error. Invariant: a node keeps an owner.

use std::collections::BTreeSet;

use super::{Site, access, no_room, node_name, notify, requests, subscribe};
use crate::{
    domain::nodes::{
        Node,
        members::{self, Affiliation, Member, Subscription},
    },
    limits,
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
    },
};

/// XEP-0060 §8.8.1 and §8.9.1: the list of `<subscription/>` or `<affiliation/>`.
pub(super) fn list(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let node = access::owned(site, node_name(asked)?, iq.from, ctx)?;
    let mut all = members::members(&ctx.store(), site.owner, node.id);
    if site.is_personal {
        all.retain(|(bare, _)| bare != site.jid.as_str());
        all.push((site.jid.as_str().to_owned(), access::standing(site, &node, &site.jid, ctx)));
    }
    let mut list = Element::new(asked.name.clone(), ns::PUBSUB_OWNER).attr("node", &*node.name);
    for (bare, member) in all {
        if asked.name == "affiliations" {
            if member.affiliation != Affiliation::None {
                let one = Element::new("affiliation", ns::PUBSUB_OWNER).attr("jid", bare);
                list = list.child(one.attr("affiliation", member.affiliation.as_str()));
            }
            continue;
        }
        let Ok(bare) = Jid::parse(&bare) else { continue };
        for subscription in member.subscriptions.iter().filter(|subscription| !subscription.is_pending) {
            let jid = subscribe::address(&bare, subscription);
            let one = Element::new("subscription", ns::PUBSUB_OWNER).attr("jid", jid.as_str());
            list = list.child(one.attr("subid", subscription.id.clone()).attr("subscription", "subscribed"));
        }
    }
    Ok(Element::new("pubsub", ns::PUBSUB_OWNER).child(list).into())
}

/// Addresses and new values, all valid, each address once: affiliations are those of bare ones (XEP-0060 §8.8.2.4, §8.9.2.4).
fn changes<'e>(asked: &'e Element, name: &str) -> Result<Vec<(Jid, &'e str)>, StanzaError> {
    let mut changes = Vec::new();
    let mut named = BTreeSet::new();
    for child in asked.children().filter(|child| child.is(name, ns::PUBSUB_OWNER)) {
        let jid = child.get("jid").ok_or(StanzaError::new(Condition::BadRequest))?;
        let jid = Jid::parse(jid).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        if !named.insert(if name == "affiliation" { jid.bare() } else { jid.clone() }) {
            return Err(Condition::BadRequest.into());
        }
        // XEP-0060 §8.8.2.1: what has no value is not changed.
        if let Some(value) = child.get(name) {
            changes.push((jid, value));
        }
    }
    Ok(changes)
}

/// XEP-0060 §8.9.2.
pub(super) fn affiliate(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let node = access::owned(site, node_name(asked)?, iq.from, ctx)?;
    let mut wanted = Vec::new();
    for (jid, value) in changes(asked, "affiliation")? {
        let affiliation = Affiliation::parse(value).ok_or(StanzaError::new(Condition::BadRequest))?;
        wanted.push((jid.bare(), affiliation));
    }
    let possible = keeps_owner(site, &node, &wanted, ctx)
        .and_then(|()| has_room(site, &node, wanted.iter().map(|(jid, _)| jid), ctx));
    if let Err(error) = possible {
        return Err(error.beside(as_they_stand(site, &node, asked, ctx)));
    }
    for (jid, affiliation) in wanted {
        set_affiliation(site, &node, &jid, affiliation, ctx);
    }
    Ok(Reply::Empty)
}

fn keeps_owner(site: &Site, node: &Node, wanted: &[(Jid, Affiliation)], ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let mut owners = access::owners(site, node, ctx);
    for (jid, affiliation) in wanted {
        if access::is_host_of(site, jid) && *affiliation != Affiliation::Owner {
            return Err(Condition::NotAcceptable.into());
        }
        owners.retain(|owner| owner != jid);
        if *affiliation == Affiliation::Owner {
            owners.push(jid.clone());
        }
    }
    if owners.is_empty() { Err(Condition::NotAcceptable.into()) } else { Ok(()) }
}

/// XEP-0060 §8.8.2.4 and §8.9.2.4: how those stand whose standing was not changed.
fn as_they_stand(site: &Site, node: &Node, asked: &Element, ctx: &mut Ctx<'_>) -> Element {
    let mut list = Element::new(asked.name.clone(), ns::PUBSUB_OWNER).attr("node", &*node.name);
    for jid in asked.children().filter_map(|child| Jid::parse(child.get("jid")?).ok()) {
        let member = access::standing(site, node, &jid, ctx);
        let (name, value) = match asked.name.as_ref() {
            "affiliations" => ("affiliation", member.affiliation.as_str()),
            _ => ("subscription", member.subscription(jid.resource()).map_or("none", subscribe::state_of)),
        };
        list = list.child(Element::new(name, ns::PUBSUB_OWNER).attr("jid", jid.as_str()).attr(name, value));
    }
    Element::new("pubsub", ns::PUBSUB_OWNER).child(list)
}

fn has_room<'j>(
    site: &Site,
    node: &Node,
    jids: impl Iterator<Item = &'j Jid>,
    ctx: &mut Ctx<'_>,
) -> Result<(), StanzaError> {
    let known = members::members(&ctx.store(), site.owner, node.id);
    let new = jids.filter(|jid| !known.iter().any(|(bare, _)| bare == jid.bare_str())).count();
    match known.len() + new <= limits::NODE_MEMBERS_MAX {
        true => Ok(()),
        false => Err(no_room("This node has too many members.")),
    }
}

/// XEP-0060 §8.7: a change of affiliation also decides what waits; and who may not read any longer is told no more.
fn set_affiliation(site: &Site, node: &Node, jid: &Jid, affiliation: Affiliation, ctx: &mut Ctx<'_>) {
    let mut member = members::member(&ctx.store(), site.owner, node.id, jid.as_str());
    member.affiliation = affiliation;
    let waiting: Vec<Jid> = member
        .subscriptions
        .iter()
        .filter(|subscription| subscription.is_pending)
        .map(|subscription| subscribe::address(jid, subscription))
        .collect();
    members::put(&mut ctx.store(), site.owner, node.id, jid.as_str(), &access::kept(site, jid, member));
    let allow = match affiliation {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::Member => true,
        Affiliation::Outcast | Affiliation::PublishOnly => false,
        Affiliation::None => return requests::recheck_node(site, node, jid, ctx),
    };
    for waiting in waiting {
        requests::settle(site, node, &waiting, allow, ctx);
    }
    requests::recheck_node(site, node, jid, ctx);
}

/// XEP-0060 §8.8.2.
pub(super) fn subscribe_others(
    site: &Site,
    iq: &Iq<'_>,
    asked: &Element,
    ctx: &mut Ctx<'_>,
) -> Result<Reply, StanzaError> {
    let node = access::owned(site, node_name(asked)?, iq.from, ctx)?;
    let wanted = changes(asked, "subscription")?;
    let possible = match wanted.iter().all(|(_, state)| matches!(*state, "subscribed" | "none")) {
        true => has_room(site, &node, wanted.iter().map(|(jid, _)| jid), ctx),
        false => Err(Condition::NotAcceptable.into()),
    };
    if let Err(error) = possible {
        return Err(error.beside(as_they_stand(site, &node, asked, ctx)));
    }
    for (jid, state) in wanted {
        let member = members::member(&ctx.store(), site.owner, node.id, jid.bare_str());
        set_subscription(site, &node, &jid, member, state == "subscribed", ctx);
    }
    Ok(Reply::Empty)
}

fn set_subscription(site: &Site, node: &Node, jid: &Jid, mut member: Member, wanted: bool, ctx: &mut Ctx<'_>) {
    let known = member.subscription(jid.resource()).cloned();
    let (subscription, state) = match (known, wanted) {
        (Some(known), _) if known.is_pending => {
            requests::settle(site, node, jid, wanted, ctx);
            return;
        }
        (Some(known), false) => {
            member.subscriptions.retain(|other| other.id != known.id);
            (known, "none")
        }
        (None, true) if member.subscriptions.len() < limits::SUBSCRIPTIONS_PER_MEMBER_MAX => {
            let resource = jid.resource().map(str::to_owned);
            let new = Subscription { resource, id: ctx.token(), is_pending: false, delivers: true, shows: 0 };
            member.subscriptions.push(new.clone());
            (new, "subscribed")
        }
        _ => return,
    };
    members::put(&mut ctx.store(), site.owner, node.id, jid.bare_str(), &member);
    let changed = subscribe::state(node, jid, &subscription, state, ns::PUBSUB_EVENT);
    notify::to_address(site, node, &changed, jid, ctx);
    subscribe::tell_owners(site, node, jid, &subscription, state, ctx);
}
