//! What components do in the name of accounts here, as far as the admin lets them.
//!
//! Source: XEP-0356 v0.4.1. Rosters are answered for by their service. Invariants: a component does nothing that its
//! settings do not name, and nothing that the account itself could not do; and every request in an account's name is
//! answered once, by whoever was asked.

use super::{components, context::Ctx, route::Router, service::Leg};
use crate::{
    config::{Access, Component},
    domain::{accounts, components::Errand},
    wire::{
        element::{Element, Node},
        error::{Condition, StanzaError},
        framer,
        jid::Jid,
        ns,
        stanza::{Kind, Stanza, Type},
    },
};

/// Not among what the settings name.
const FORBIDDEN: StanzaError = StanzaError::new(Condition::Forbidden);

impl Router {
    /// A stanza from a component, whose `from` is of its domain.
    pub fn from_component(&mut self, stanza: Stanza, ctx: &mut Ctx<'_>) {
        components::heard(&stanza, ctx.core);
        let is_request = matches!(stanza.ty, Type::Get | Type::Set);
        let outcome = match stanza.kind {
            Kind::Message if stanza.ty != Type::Error && is_privileged_message(&stanza, ctx) => message(&stanza, ctx),
            Kind::Iq if is_request && stanza.has("privileged_iq", ns::PRIVILEGE) => request(&stanza, ctx),
            _ => return self.inbound(stanza, ctx),
        };
        match outcome {
            // The server's own word is for the recipient alone.
            Ok(inner) if inner.from.local().is_none() => self.inbound(inner, ctx),
            Ok(inner) => self.outbound(inner, None, ctx),
            Err(error) => ctx.core.bounce(&stanza, &error),
        }
    }
}

fn settings<'c>(stanza: &Stanza, ctx: &'c Ctx<'_>) -> Option<&'c Component> {
    ctx.config().components.get(stanza.from.domain())
}

/// A message to the server that holds another one.
fn is_privileged_message(stanza: &Stanza, ctx: &Ctx<'_>) -> bool {
    let is_to_host = |to: &Jid| to.local().is_none() && to.is_bare() && ctx.is_local(to);
    stanza.to.as_ref().is_some_and(is_to_host) && stanza.has("privilege", ns::PRIVILEGE)
}

/// §4.3: the message that is to be sent.
fn message(stanza: &Stanza, ctx: &mut Ctx<'_>) -> Result<Stanza, StanzaError> {
    if !settings(stanza, ctx).is_some_and(|component| component.message) {
        return Err(FORBIDDEN);
    }
    let bad = || StanzaError::new(Condition::BadRequest);
    let privilege = stanza.find("privilege", ns::PRIVILEGE).ok_or_else(bad)?;
    let forwarded = privilege.find("forwarded", ns::FORWARD).ok_or_else(bad)?;
    // Libraries of components leave the namespace of their own stream in it.
    let is_message = |child: &&Element| child.name == "message" && matches!(&*child.ns, ns::CLIENT | ns::COMPONENT);
    let message = as_clients_say(forwarded.children().find(is_message).ok_or_else(bad)?);
    let from = message.get("from").and_then(|from| Jid::parse(from).ok()).ok_or(FORBIDDEN)?;
    let is_somebody = from.local().is_none() || accounts::exists(&ctx.store(), &from);
    if !from.is_bare() || !ctx.is_local(&from) || !is_somebody {
        return Err(FORBIDDEN);
    }
    let to = message.get("to").map(Jid::parse).transpose().map_err(|_| StanzaError::new(Condition::JidMalformed))?;
    Ok(Stanza::build(&message, from, Some(to.ok_or_else(bad)?)))
}

/// §5.3: the request that is to be sent.
fn request(stanza: &Stanza, ctx: &mut Ctx<'_>) -> Result<Stanza, StanzaError> {
    let account = stanza.to.clone().filter(|to| to.is_bare() && to.local().is_some() && ctx.is_local(to));
    let account = account.filter(|account| accounts::exists(&ctx.store(), account)).ok_or(FORBIDDEN)?;
    let outer = stanza.find("privileged_iq", ns::PRIVILEGE).ok_or(FORBIDDEN)?;
    let iq = outer.children().find(|child| child.is("iq", ns::CLIENT)).cloned().ok_or(FORBIDDEN)?;
    let is_from_account = |from: &str| Jid::parse(from).is_ok_and(|from| from == account);
    if !iq.get("from").is_none_or(is_from_account) || Type::parse(Kind::Iq, iq.get("type")) != stanza.ty {
        return Err(FORBIDDEN);
    }
    let mut payloads = iq.children().map(|payload| &*payload.ns);
    let (Some(ns), None) = (payloads.next(), payloads.next()) else { return Err(Condition::BadRequest.into()) };
    let granted = settings(stanza, ctx).map(|component| &component.iq);
    let access = granted.and_then(|granted| granted.get(ns).copied());
    drop(payloads);
    if !access.unwrap_or_default().allows(stanza.ty == Type::Set) {
        return Err(FORBIDDEN);
    }
    let to = iq.get("to").map(Jid::parse).transpose().map_err(|_| StanzaError::new(Condition::JidMalformed))?;
    let to = to.unwrap_or_else(|| account.clone());
    let id = ctx.token();
    let errand = Errand {
        id: id.as_str().into(),
        component: stanza.from.clone(),
        asked: stanza.id_raw().unwrap_or_default().into(),
        inner: iq.get("id").unwrap_or_default().into(),
        account: account.clone(),
        to: to.clone(),
    };
    if let Some(oldest) = ctx.core.components.send_out(errand) {
        let error = StanzaError::new(Condition::RemoteServerTimeout).element();
        let late = Element::new("iq", ns::CLIENT).attr("type", "error").child(error);
        give_back(&oldest, late, ctx);
    }
    Ok(Stanza::build(&with(iq, "id", &id), account, Some(to)))
}

/// Whether this answers what a component asked in an account's name; then the component has it.
pub fn answered(stanza: &Stanza, ctx: &mut Ctx<'_>) -> bool {
    let (Some(id), Some(account)) = (stanza.id_raw(), &stanza.to) else { return false };
    let Some(errand) = ctx.core.components.come_back(id, account, Some(&stanza.from)) else { return false };
    if let Some(answer) = stanza.element() {
        give_back(&errand, answer, ctx);
    }
    true
}

/// §5.3: the answer inside of another one. An error is one outside as well.
fn give_back(errand: &Errand, mut answer: Element, ctx: &mut Ctx<'_>) {
    for (name, value) in [("from", errand.to.as_str()), ("to", errand.account.as_str()), ("id", &*errand.inner)] {
        answer = with(answer, name, value);
    }
    let ty = answer.get("type").unwrap_or("error").to_owned();
    let error = answer.find("error", ns::CLIENT).cloned();
    let forwarded = Element::new("forwarded", ns::FORWARD).child(answer);
    let privilege = Element::new("privilege", ns::PRIVILEGE).child(forwarded);
    let id = framer::unescape(&errand.asked).into_owned();
    let iq = Element::new("iq", ns::CLIENT).attr("type", ty).attr("id", id).child(privilege).with(error);
    ctx.send(Leg::Inbound, Stanza::build(&iq, errand.account.clone(), Some(errand.component.clone())));
}

/// Tells a component what it may do, for each domain of ours, and shows it who is there (§3.2, §4.2, §5.2, §6.2 and §7).
pub fn advertise(domain: &str, ctx: &mut Ctx<'_>) {
    let Some(component) = ctx.config().components.get(domain).filter(|component| component.is_privileged()) else {
        return;
    };
    let (privilege, shows_presence) = (permissions(component), component.presence);
    let Ok(to) = Jid::parse(domain) else { return };
    for ours in ctx.config().domains.clone() {
        let Ok(from) = Jid::parse(&ours) else { continue };
        let message = Element::new("message", ns::CLIENT).attr("id", ctx.token()).child(privilege.clone());
        ctx.send(Leg::Inbound, Stanza::build(&message, from, Some(to.clone())));
    }
    if shows_presence {
        let present = ctx.sessions().all().filter_map(|(_, session)| Some(session.presence.as_ref()?.stanza.clone()));
        for presence in present.collect::<Vec<_>>() {
            ctx.send(Leg::Inbound, presence.readdressed(Some(to.clone())));
        }
    }
}

fn permissions(component: &Component) -> Element {
    let perm = |access: &'static str| Element::new("perm", ns::PRIVILEGE).attr("access", access);
    let mut privilege = Element::new("privilege", ns::PRIVILEGE);
    if component.roster != Access::None {
        let push = if component.roster.allows(false) { "true" } else { "false" };
        privilege = privilege.child(perm("roster").attr("type", component.roster.as_str()).attr("push", push));
    }
    if component.message {
        privilege = privilege.child(perm("message").attr("type", "outgoing"));
    }
    if !component.iq.is_empty() {
        let grant = |(ns, access): (&String, &Access)| {
            Element::new("namespace", ns::PRIVILEGE).attr("ns", ns.as_str()).attr("type", access.as_str())
        };
        privilege = privilege.child(perm("iq").with(component.iq.iter().map(grant)));
    }
    if component.presence {
        privilege = privilege.child(perm("presence").attr("type", "managed_entity"));
    }
    privilege
}

/// Connected components for which `may` holds.
pub fn those_who(ctx: &Ctx<'_>, may: impl Fn(&Component) -> bool) -> Vec<Jid> {
    let components = &ctx.config().components;
    let names = ctx.core.components.domains().filter(|domain| components.get(*domain).is_some_and(&may));
    names.filter_map(|domain| Jid::parse(domain).ok()).collect()
}

/// Whether whoever speaks from this address may read, or change, the roster of an account here (§3).
pub fn may_use_roster(from: &Jid, is_set: bool, ctx: &Ctx<'_>) -> bool {
    ctx.config().components.get(from.domain()).is_some_and(|component| component.roster.allows(is_set))
}

/// The element with another value of an attribute.
pub(super) fn with(mut element: Element, name: &'static str, value: &str) -> Element {
    element.attrs.retain(|(known, _)| known != name);
    element.attr(name, value)
}

/// The same element in the content namespace of clients, where it was in that of components.
pub(super) fn as_clients_say(element: &Element) -> Element {
    let nodes = element.nodes.iter().map(|node| match node {
        Node::Element(child) => Node::Element(as_clients_say(child)),
        Node::Text(text) => Node::Text(text.clone()),
    });
    let ns = if element.ns == ns::COMPONENT { ns::CLIENT.into() } else { element.ns.clone() };
    Element { name: element.name.clone(), ns, attrs: element.attrs.clone(), nodes: nodes.collect() }
}
