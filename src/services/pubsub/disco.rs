//! What accounts, hosts and nodes tell of themselves.
//!
//! Source: XEP-0060 §5 and §10, XEP-0163 §6. Invariant: a node is told of only to those who may read it (XEP-0163 §6.2).

use super::{NAME, Site, access, forms, items};
use crate::{
    domain::nodes::{self, Item, Node, members},
    limits,
    router::{
        context::Ctx,
        service::{DiscoAsk, Scope},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        ns, rsm,
    },
};

macro_rules! features {
    ($($scope:ident: $($name:literal)*;)*) => {
        &[$($((Scope::$scope, concat!("http://jabber.org/protocol/pubsub", $name)),)*)*]
    };
}

/// Features of accounts, XEP-0060 §10.
pub(super) const FEATURES: &[(Scope, &str)] = features! {
    Own: ""
        "#access-authorize" "#access-open" "#access-presence" "#access-roster" "#access-whitelist"
        "#manage-subscriptions" "#member-affiliation" "#modify-affiliations" "#outcast-affiliation"
        "#presence-subscribe" "#publish-only-affiliation" "#publisher-affiliation" "#retrieve-affiliations"
        "#retrieve-default-sub" "#retrieve-subscriptions" "#subscribe" "#subscription-notifications"
        "#subscription-options"
        "#auto-create" "#auto-subscribe" "#config-node" "#config-node-max" "#create-and-configure" "#create-nodes"
        "#delete-items" "#delete-nodes" "#filtered-notifications" "#instant-nodes" "#item-ids" "#last-published"
        "#meta-data" "#multi-items" "#persistent-items" "#presence-notifications" "#publish" "#publish-node-full"
        "#publish-options" "#pubsub-on-a-jid" "#purge-nodes" "#retract-items" "#retrieve-default" "#retrieve-items"
        "#rsm";
};

/// Features of hosts.
const HOST_FEATURES: &[(Scope, &str)] = features! {
    Hosted: ""
        "#access-authorize" "#access-open" "#access-whitelist"
        "#manage-subscriptions" "#member-affiliation" "#modify-affiliations" "#outcast-affiliation"
        "#publish-only-affiliation" "#publisher-affiliation" "#retrieve-affiliations" "#retrieve-default-sub"
        "#retrieve-subscriptions" "#subscribe" "#subscription-notifications" "#subscription-options"
        "#auto-create" "#config-node" "#config-node-max" "#create-and-configure" "#create-nodes"
        "#delete-items" "#delete-nodes" "#instant-nodes" "#item-ids" "#last-published"
        "#meta-data" "#multi-items" "#persistent-items" "#publish" "#publish-node-full"
        "#publish-options" "#purge-nodes" "#retract-items" "#retrieve-default" "#retrieve-items" "#rsm";
};

fn identity(ty: &'static str) -> Element {
    Element::new("identity", ns::DISCO_INFO).attr("category", "pubsub").attr("type", ty)
}

/// What is told beside the card's features.
pub(super) fn identities(scope: Scope) -> Vec<Element> {
    match scope {
        Scope::Own => vec![identity("pep")],
        Scope::Hosted => {
            let features =
                HOST_FEATURES.iter().map(|(_, feature)| Element::new("feature", ns::DISCO_INFO).attr("var", *feature));
            std::iter::once(identity("service").attr("name", "Publish-Subscribe")).chain(features).collect()
        }
        _ => Vec::new(),
    }
}

/// Requests for nodes, and the list of them.
pub(super) fn discloses(ask: &DiscoAsk<'_>, ctx: &mut Ctx<'_>) -> Option<Result<Vec<Element>, StanzaError>> {
    if ask.iq.scope == Scope::Host
        || (ask.iq.scope == Scope::Hosted && ctx.core.hosts.get(ask.iq.domain)?.card.name != NAME)
    {
        return None;
    }
    let site = Site::of(ask.iq, ctx).ok()?;
    let Some(name) = ask.node else { return Some(list(&site, ask, ctx)) };
    let node = nodes::find(&ctx.store(), site.owner, name)?;
    if let Err(error) = access::may_read(&site, &node, ask.iq.from, ctx) {
        // What may not be read and what is not there look the same to those who only look around.
        log::debug!("disco of {name} at {}: {}", site.jid, error.condition.as_str());
        return Some(Err(Condition::ItemNotFound.into()));
    }
    Some(match ask.items {
        true => items(&site, &node, ask, ctx),
        false => Ok(info(&site, &node, ctx)),
    })
}

/// XEP-0060 §5.2: nodes that this asker may read, in pages (XEP-0059) if asked so or if there are very many.
fn list(site: &Site, ask: &DiscoAsk<'_>, ctx: &mut Ctx<'_>) -> Result<Vec<Element>, StanzaError> {
    let asked = rsm::Request::of(ask.iq.payload)?;
    let mut visible: Vec<(String, String)> = Vec::new();
    let mut after = String::new();
    loop {
        let nodes = nodes::list(&ctx.store(), site.owner, &after, limits::NODES_PAGE);
        let Some(last) = nodes.last() else { break };
        after = (*last.name).to_owned();
        let readable = nodes.into_iter().filter(|node| access::may_read(site, node, ask.iq.from, ctx).is_ok());
        visible.extend(readable.map(|node| ((*node.name).to_owned(), node.settings.title)));
    }
    let is_paged = asked.is_some() || visible.len() > limits::NODES_MAX;
    let place = |name: &str| visible.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok();
    let window = asked.unwrap_or_default().window(visible.len(), limits::NODES_MAX, place)?;
    let page =
        rsm::Page::of(&window, visible.len(), |at| visible.get(at).map(|(name, _)| name.clone()).unwrap_or_default());
    let item = |(name, title): &(String, String)| {
        let title = Some(title.as_str()).filter(|title| !title.is_empty());
        let item = Element::new("item", ns::DISCO_ITEMS).attr("jid", site.jid.as_str());
        item.attr("node", name.as_str()).attr_if("name", title)
    };
    let items = visible.get(window).unwrap_or_default().iter().map(item);
    Ok(items.chain(is_paged.then(|| page.element())).collect())
}

/// XEP-0060 §5.3 and §5.4.
fn info(site: &Site, node: &Node, ctx: &mut Ctx<'_>) -> Vec<Element> {
    let members = members::members(&ctx.store(), site.owner, node.id);
    let feature = |var| Element::new("feature", ns::DISCO_INFO).attr("var", var);
    vec![
        identity("leaf"),
        feature(ns::PUBSUB),
        feature(ns::DISCO_INFO),
        feature(ns::DISCO_ITEMS),
        forms::meta_data(node, site, &members),
    ]
}

/// XEP-0060 §5.5: ids of the items, those published last first, in pages (XEP-0059) if asked so or if there are very many.
fn items(site: &Site, node: &Node, ask: &DiscoAsk<'_>, ctx: &mut Ctx<'_>) -> Result<Vec<Element>, StanzaError> {
    let mut asked = rsm::Request::of(ask.iq.payload)?;
    if asked.is_none() && nodes::count(&ctx.store(), site.owner, node.id).items as usize > limits::DISCO_ITEMS_MAX {
        asked = Some(rsm::Request::default());
    }
    let (found, page) = items::list(site, node, (limits::DISCO_ITEMS_MAX, true), asked.as_ref(), ctx)?;
    let item = |item: Item| Element::new("item", ns::DISCO_ITEMS).attr("jid", site.jid.as_str()).attr("name", item.id);
    Ok(found.into_iter().map(item).chain(page.map(|page| page.element())).collect())
}
