//! What owners do with nodes: make them, set them up, empty them, remove them.
//!
//! Source: XEP-0060 §8.1 to §8.5. Invariant: nobody but an owner gets past the first line of any of these.

use super::{Site, access, forms, no_room, node_name, notify, publish, subscribe, unsupported};
use crate::{
    domain::nodes::{
        self, Node, Settings,
        members::{self, Affiliation, Member},
    },
    limits,
    router::{
        context::Ctx,
        service::{Iq, NodeChange, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        form::{Form, FormType},
        jid::Jid,
        ns,
    },
};

/// Makes a node within the limits; the site knows its owner from now on.
///
/// # Errors
/// `conflict` if the name is taken, `resource-constraint` if there are too many, `not-acceptable` if it is too long.
pub(super) fn make(
    site: &Site,
    name: &str,
    creator: &Jid,
    settings: Settings,
    ctx: &mut Ctx<'_>,
) -> Result<(Site, Node), StanzaError> {
    let now_s = ctx.wall_s();
    let mut store = ctx.store();
    let mut site = site.clone();
    if !site.is_personal {
        site.owner = nodes::make_host(&mut store, site.jid.as_str()).ok_or(no_room("No more hosts."))?;
        let all = nodes::list(&store, site.owner, "", limits::HOST_NODES_MAX);
        if all.iter().filter(|node| node.creator == creator.bare_str()).count() >= limits::HOST_NODES_PER_CREATOR_MAX {
            return Err(no_room("You have too many nodes."));
        }
    }
    if nodes::totals(&store, site.owner).nodes as usize >= site.nodes_max() {
        return Err(no_room("There are too many nodes."));
    }
    if name.len() > limits::NODE_NAME_BYTES_MAX {
        return Err(StanzaError::new(Condition::NotAcceptable).text("The node's name is too long."));
    }
    let node = nodes::create(&mut store, site.owner, name, creator.bare_str(), settings, now_s);
    let node = node.ok_or(StanzaError::new(Condition::Conflict))?;
    if !access::is_host_of(&site, creator) {
        let owner = Member { affiliation: Affiliation::Owner, ..Member::default() };
        members::put(&mut store, site.owner, node.id, creator.bare_str(), &owner);
    }
    Ok((site, node))
}

/// XEP-0060 §8.1.
pub(super) fn create(
    site: &Site,
    iq: &Iq<'_>,
    asked: &Element,
    configure: Option<&Element>,
    ctx: &mut Ctx<'_>,
) -> Result<Reply, StanzaError> {
    access::may_create(site, iq.from, ctx)?;
    let configure = configure.filter(|configure| configure.name == "configure");
    // XEP-0060 §8.1.3.
    if configure.is_some_and(|configure| configure.get("node").is_some()) {
        return Err(Condition::BadRequest.into());
    }
    let form = configure.map(Form::find_in).transpose()?.flatten();
    let name = match asked.get("node").filter(|node| !node.is_empty()) {
        Some(name) => name.to_owned(),
        None => ctx.token(),
    };
    let settings = match form.filter(|form| form.kind == FormType::Submit) {
        Some(form) => forms::changed(&form, &site.defaults(&name), site)?,
        None => site.defaults(&name),
    };
    make(site, &name, iq.from, settings, ctx)?;
    let created = Element::new("create", ns::PUBSUB).attr("node", name);
    Ok(Element::new("pubsub", ns::PUBSUB).child(created).into())
}

/// XEP-0060 §8.3.
pub(super) fn defaults(site: &Site, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Reply {
    let form = forms::settings(&site.defaults(""), site, Some(iq.from), ctx);
    let default = Element::new("default", ns::PUBSUB_OWNER).child(form);
    Element::new("pubsub", ns::PUBSUB_OWNER).child(default).into()
}

/// XEP-0060 §8.2.1: the form to be filled in.
pub(super) fn settings(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let node = access::owned(site, node_name(asked)?, iq.from, ctx)?;
    let form = forms::settings(&node.settings, site, Some(iq.from), ctx);
    let configure = Element::new("configure", ns::PUBSUB_OWNER).attr("node", &*node.name).child(form);
    Ok(Element::new("pubsub", ns::PUBSUB_OWNER).child(configure).into())
}

/// XEP-0060 §8.2.4: the form is filled in.
pub(super) fn configure(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let mut node = access::owned(site, node_name(asked)?, iq.from, ctx)?;
    let form = Form::find_in(asked)?.ok_or(StanzaError::new(Condition::BadRequest))?;
    match form.kind {
        FormType::Cancel => return Ok(Reply::Empty),
        FormType::Submit => {}
        _ => return Err(Condition::BadRequest.into()),
    }
    let settings = forms::changed(&form, &node.settings, site)?;
    if settings == node.settings {
        return Ok(Reply::Empty);
    }
    node.settings = settings;
    nodes::update(&mut ctx.store(), site.owner, &node);
    if !node.settings.persist_items {
        nodes::purge(&mut ctx.store(), site.owner, node.id);
    }
    publish::shrink(site, &node, ctx);
    if node.settings.notify_config {
        let form = node.settings.deliver_payloads.then(|| forms::settings(&node.settings, site, None, ctx));
        let configuration = Element::new("configuration", ns::PUBSUB_EVENT).attr("node", &*node.name).with(form);
        notify::event(site, &node, &configuration, ctx);
    }
    publish::changed(site, &node, NodeChange::Configured, false, ctx);
    Ok(Reply::Empty)
}

/// XEP-0060 §8.4.
pub(super) fn delete(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let node = access::owned(site, node_name(asked)?, iq.from, ctx)?;
    let uri = asked.find("redirect", ns::PUBSUB_OWNER).and_then(|redirect| redirect.get("uri"));
    remove(site, &node, uri, ctx);
    Ok(Reply::Empty)
}

fn remove(site: &Site, node: &Node, replacement: Option<&str>, ctx: &mut Ctx<'_>) {
    if node.settings.notify_delete {
        let redirect = replacement.map(|uri| Element::new("redirect", ns::PUBSUB_EVENT).attr("uri", uri));
        let deleted = Element::new("delete", ns::PUBSUB_EVENT).attr("node", &*node.name).with(redirect);
        notify::event(site, node, &deleted, ctx);
        // XEP-0060 §8.4.2: also those who wait to be let in.
        for (bare, member) in members::members(&ctx.store(), site.owner, node.id) {
            let Ok(bare) = Jid::parse(&bare) else { continue };
            for waiting in member.subscriptions.iter().filter(|subscription| subscription.is_pending) {
                notify::to_address(site, node, &deleted, &subscribe::address(&bare, waiting), ctx);
            }
        }
    }
    nodes::remove(&mut ctx.store(), site.owner, node);
    publish::changed(site, node, NodeChange::Deleted, false, ctx);
}

/// An account is gone: whoever gets its name later is nothing to the hosts' nodes, and those that have no owner left go.
pub(super) fn forget(jid: &Jid, ctx: &mut Ctx<'_>) {
    let hosts: Vec<Jid> = ctx.core.hosts.keys().filter_map(|host| Jid::parse(host).ok()).collect();
    for site in hosts.iter().filter_map(|host| Site::hosted(host, ctx)).collect::<Vec<_>>() {
        for node in nodes::list(&ctx.store(), site.owner, "", site.nodes_max()) {
            let member = members::member(&ctx.store(), site.owner, node.id, jid.bare_str());
            if member == Member::default() {
                continue;
            }
            members::put(&mut ctx.store(), site.owner, node.id, jid.bare_str(), &Member::default());
            if member.affiliation == Affiliation::Owner && access::owners(&site, &node, ctx).is_empty() {
                remove(&site, &node, None, ctx);
            }
        }
    }
}

/// XEP-0060 §8.5.
pub(super) fn purge(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let node = access::owned(site, node_name(asked)?, iq.from, ctx)?;
    if !node.settings.persist_items {
        return Err(unsupported("persistent-items"));
    }
    nodes::purge(&mut ctx.store(), site.owner, node.id);
    if node.settings.notify_retract {
        notify::event(site, &node, &Element::new("purge", ns::PUBSUB_EVENT).attr("node", &*node.name), ctx);
    }
    publish::changed(site, &node, NodeChange::Purged, false, ctx);
    Ok(Reply::Empty)
}
