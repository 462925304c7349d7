//! What components answer in place of this server and of the accounts here, as far as the admin lets them.
//!
//! Source: XEP-0355 v0.5 in its admin mode; its client mode is left out, as §9 allows. Invariants: only what the settings name
//! goes to a component, never what it asks itself; whoever asked gets one answer, under this server's eyes; and a component
//! that is away, or answers wrongly, is `service-unavailable` to them (§4.3).

use super::{
    answer::UNHANDLED,
    context::Ctx,
    privilege::{as_clients_say, with},
    service::{Leg, Origin, Reply, Scope},
};
use crate::{
    domain::{
        delegations::{Asked, Delegated, Place},
        ids::SessionId,
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
        stanza::{Kind, Stanza, Type},
    },
};

/// Gives a request to the component that answers it, if there is one; `true`: nobody here is to answer.
pub fn takes(stanza: &Stanza, scope: Scope, session: Option<SessionId>, ctx: &mut Ctx<'_>) -> bool {
    let Some((_, _, ns)) = stanza.children().next() else { return false };
    // Accounts' lists of nodes (§7.2.5); what lies below them is asked for later.
    let is_list = ns == ns::DISCO_ITEMS && of_account(scope);
    let ns = if is_list { ns::DELEGATED_ITEMS } else { ns };
    let Some((component, attributes)) = ctx.config().delegate(ns).filter(|_| scope != Scope::Hosted) else {
        return false;
    };
    let component = component.to_owned();
    if is_list || !attributes.is_empty() {
        let Some(payload) = stanza.child(0) else { return false };
        // §4.3, note 3.
        let has_all = attributes.iter().all(|name| payload.get(name).is_some());
        if !has_all || (is_list && payload.get("node").is_some_and(|node| !node.is_empty())) {
            return false;
        }
    }
    if is_own(stanza, &component, ctx) {
        return false;
    }
    // RFC 6121 §2.1.6: whoever asks for the roster hears of its changes, whoever it is that answers.
    if let (ns::ROSTER, Type::Get, Scope::Own, Some(id)) = (ns, stanza.ty, scope, session)
        && let Some(session) = ctx.core.sessions.session_mut(id)
    {
        session.interested = true;
    }
    forward(stanza, &component, ctx);
    true
}

/// The same for a node of an account that nobody here knows (§7.2.4 and §7.2.5).
pub fn takes_unknown(stanza: &Stanza, scope: Scope, payload: &Element, error: &StanzaError, ctx: &mut Ctx<'_>) -> bool {
    let is_unknown = matches!(error.condition, Condition::ItemNotFound | Condition::ServiceUnavailable);
    let has_node = payload.get("node").is_some_and(|node| !node.is_empty());
    if !(is_unknown && has_node && of_account(scope) && stanza.ty == Type::Get) {
        return false;
    }
    let config = ctx.config();
    let known = match &*payload.ns {
        ns::DISCO_ITEMS => config.delegate(ns::DELEGATED_ITEMS),
        // Whoever lists a node tells of it.
        ns::DISCO_INFO => config.delegate(ns::DELEGATED_INFO).or_else(|| config.delegate(ns::DELEGATED_ITEMS)),
        _ => None,
    };
    let Some(component) = known.map(|(component, _)| component.to_owned()) else { return false };
    let takes = !is_own(stanza, &component, ctx);
    if takes {
        forward(stanza, &component, ctx);
    }
    takes
}

fn of_account(scope: Scope) -> bool {
    matches!(scope, Scope::Own | Scope::Other)
}

/// What never goes to this component: what it asks itself, by its own name or by an account's (§4.3.1), and what this server's
/// command line asks.
fn is_own(stanza: &Stanza, component: &str, ctx: &Ctx<'_>) -> bool {
    let from = &stanza.from;
    let errand = stanza.id_raw().and_then(|id| ctx.core.components.sent_out_by(id, from));
    from.domain() == component
        || errand.is_some_and(|by| by.domain() == component)
        || (from.local().is_none() && ctx.is_local(from))
}

/// §4.3: the request inside of another one.
fn forward(stanza: &Stanza, component: &str, ctx: &mut Ctx<'_>) {
    let domain = stanza.to.as_ref().unwrap_or(&stanza.from).domain();
    let id = stanza.id_raw().unwrap_or_default();
    let asked = Asked::Request { from: stanza.from.clone(), to: stanza.to.clone(), id: id.into() };
    let parts = (Jid::parse(domain), Jid::parse(component), stanza.element());
    let (Ok(ours), Ok(to), Some(iq)) = parts else { return refuse(asked, ctx) };
    if ctx.core.components.stream(component).is_none() {
        return refuse(asked, ctx);
    }
    let iq = with(iq, "from", stanza.from.as_str());
    let iq = match &stanza.to {
        Some(to) => with(iq, "to", to.as_str()),
        None => iq,
    };
    let forwarded = Element::new("forwarded", ns::FORWARD).child(iq);
    let delegation = Element::new("delegation", ns::DELEGATION).child(forwarded);
    ask(Delegated { id: ctx.token().into(), ours, component: to, asked }, "set", delegation, ctx);
}

/// Asks a component.
fn ask(delegated: Delegated, ty: &'static str, payload: Element, ctx: &mut Ctx<'_>) {
    let iq = Element::new("iq", ns::CLIENT).attr("type", ty).attr("id", &*delegated.id).child(payload);
    let stanza = Stanza::build(&iq, delegated.ours.clone(), Some(delegated.component.clone()));
    if let Some(oldest) = ctx.core.delegations.send_out(delegated) {
        refuse(oldest.asked, ctx);
    }
    ctx.send(Leg::Inbound, stanza);
}

/// §4.3, notes 1 and 2.
fn refuse(asked: Asked, ctx: &mut Ctx<'_>) {
    if let Asked::Request { from, to, id } = asked {
        ctx.core.answer(&Origin { from, to, id }, Err(UNHANDLED), false);
    }
}

/// Whether this answers what a component was asked; then whoever asked has it.
pub fn answered(stanza: &Stanza, ctx: &mut Ctx<'_>) -> bool {
    let (Kind::Iq, Type::Result | Type::Error) = (stanza.kind, stanza.ty) else { return false };
    let (Some(id), Some(to)) = (stanza.id_raw(), &stanza.to) else { return false };
    let Some(delegated) = ctx.core.delegations.come_back(id, to, &stanza.from) else { return false };
    match delegated.asked {
        Asked::Features(place) => {
            let query = stanza.find("query", ns::DISCO_INFO).filter(|_| stanza.ty == Type::Result);
            let told = query.map(|query| query.children().filter(|child| is_told(child)).cloned().collect());
            ctx.core.delegations.tell(delegated.component.domain(), place, told.unwrap_or_default());
        }
        Asked::Request { from, to, id } => {
            let origin = Origin { from, to, id };
            let outcome = decapsulated(stanza, &origin).map_err(|why| {
                log::warn!("{}: {why} for a request that is delegated to it", stanza.from);
                UNHANDLED
            });
            ctx.core.answer(&origin, outcome, false);
        }
    }
    true
}

/// Identities, features, and forms (§7.2.3).
fn is_told(child: &Element) -> bool {
    match (&*child.name, &*child.ns) {
        ("identity", ns::DISCO_INFO) => child.get("category").is_some() && child.get("type").is_some(),
        ("feature", ns::DISCO_INFO) => child.get("var").is_some(),
        ("x", ns::DATA) => true,
        _ => false,
    }
}

/// §4.3: the answer inside, if it is one to this request; otherwise what is wrong.
fn decapsulated(stanza: &Stanza, origin: &Origin) -> Result<Reply, &'static str> {
    if stanza.ty == Type::Error {
        return Err("an error");
    }
    let delegation = stanza.find("delegation", ns::DELEGATION).ok_or("an answer without a delegation")?;
    let forwarded = delegation.find("forwarded", ns::FORWARD).ok_or("an answer without anything forwarded")?;
    let is_iq = |child: &&Element| child.name == "iq" && matches!(&*child.ns, ns::CLIENT | ns::COMPONENT);
    let iq = forwarded.children().find(is_iq).ok_or("an answer without an iq")?;
    if iq.get("type") != Some("result") {
        return Err("an answer that is no result");
    }
    if iq.get("id") != Some(&*crate::wire::framer::unescape(&origin.id)) {
        return Err("an answer with another id");
    }
    let address = |name: &str| iq.get(name).map(|text| Jid::parse(text).map_err(|_| "an answer with no address"));
    if address("to").transpose()?.as_ref() != Some(&origin.from) {
        return Err("an answer to somebody else");
    }
    // A request without `to` is one to the account (RFC 6120 §8.1.1.1), and there are components that say so.
    let is_asked = |from: Jid| match &origin.to {
        Some(to) => from == *to,
        None => from.as_str() == origin.from.bare_str() || from.as_str() == origin.from.domain(),
    };
    if !address("from").transpose()?.is_none_or(is_asked) {
        return Err("an answer from somebody else");
    }
    let mut payloads = iq.children();
    match (payloads.next(), payloads.next()) {
        (None, _) => Ok(Reply::Empty),
        (Some(payload), None) => Ok(Reply::Result(as_clients_say(payload))),
        _ => Err("an answer with two payloads"),
    }
}

/// Tells a component what is delegated to it, for each domain of ours, and asks what it can do (§4.2 and §7.2).
pub fn advertise(component: &str, ctx: &mut Ctx<'_>) {
    let config = ctx.core.config.clone();
    let Some(delegate) = config.components.get(component).map(|settings| &settings.delegate) else { return };
    let Ok(to) = Jid::parse(component) else { return };
    if !ctx.core.delegations.inform(component, !delegate.is_empty()) {
        return;
    }
    let attribute = |name: &String| Element::new("attribute", ns::DELEGATION).attr("name", name.as_str());
    let delegated = delegate.iter().map(|(ns, attributes)| {
        Element::new("delegated", ns::DELEGATION).attr("namespace", ns.as_str()).with(attributes.iter().map(attribute))
    });
    let delegation = Element::new("delegation", ns::DELEGATION).with(delegated);
    for domain in &config.domains {
        let Ok(ours) = Jid::parse(domain) else { continue };
        let message = Element::new("message", ns::CLIENT).attr("id", ctx.token()).child(delegation.clone());
        ctx.send(Leg::Inbound, Stanza::build(&message, ours.clone(), Some(to.clone())));
        for (ns, is_account) in delegate.keys().flat_map(|ns| [(ns, false), (ns, true)]) {
            if ns.starts_with(ns::DELEGATION) {
                // What is told of nodes is asked for when somebody asks.
                continue;
            }
            let separator = if is_account { ":bare:" } else { "::" };
            let node = format!("{}{separator}{ns}", ns::DELEGATION);
            let query = Element::new("query", ns::DISCO_INFO).attr("node", node);
            let place = Place { domain: domain.as_str().into(), is_account, ns: ns.as_str().into() };
            let (ours, component) = (ours.clone(), to.clone());
            let asked = Asked::Features(place);
            ask(Delegated { id: ctx.token().into(), ours, component, asked }, "get", query, ctx);
        }
    }
}
