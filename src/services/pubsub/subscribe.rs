//! What subscribers do: subscribe, unsubscribe, say how they want to be told, ask what they are.
//!
//! Source: XEP-0060 §5.6, §5.7, §6.1 to §6.4. One subscription for each address, named by an id of ours. Invariant: nobody
//! subscribes, or asks for, another bare address than their own.

use super::{Site, access, bad_request, forms, items, no_room, node_name, notify, requests, unsupported};
use crate::{
    domain::nodes::{
        self, Node,
        members::{self, Affiliation, Member, Subscription},
        settings::{AccessModel, SendLast},
    },
    limits,
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        form::{Form, FormType},
        jid::Jid,
        ns,
    },
};

/// The address that a request is about: one of the asker's own.
fn own_address(iq: &Iq<'_>, asked: &Element, otherwise: StanzaError) -> Result<Jid, StanzaError> {
    let text = asked.get("jid").ok_or(bad_request("jid-required"))?;
    let jid = Jid::parse(text).map_err(|_| bad_request("invalid-jid"))?;
    if jid.bare_str() == iq.from.bare_str() { Ok(jid) } else { Err(otherwise) }
}

/// XEP-0060 §6.1.
pub(super) fn subscribe(
    site: &Site,
    iq: &Iq<'_>,
    asked: &Element,
    options: Option<&Element>,
    ctx: &mut Ctx<'_>,
) -> Result<Reply, StanzaError> {
    let jid = own_address(iq, asked, bad_request("invalid-jid"))?;
    let options = options.filter(|options| options.name == "options");
    // XEP-0060 §6.3.7: whom and what they are about stands in `<subscribe/>`.
    if options.is_some_and(|options| options.get("node").or(options.get("jid")).is_some()) {
        return Err(bad_request("invalid-options"));
    }
    let node = access::find(site, node_name(asked)?, ctx)?;
    let mut member = access::standing(site, &node, iq.from, ctx);
    let is_pending = may_subscribe(site, &node, &member, iq.from, ctx)?;
    if let Some(known) = member.subscription(jid.resource()) {
        // XEP-0060 §6.1.3.7 and §6.1.6.
        return match known.is_pending {
            true => Err(StanzaError::new(Condition::NotAuthorized).app("pending-subscription", ns::PUBSUB_ERRORS)),
            false => Ok(answer(vec![element(&node, &jid, known, ns::PUBSUB)])),
        };
    }
    if member.subscriptions.len() >= limits::SUBSCRIPTIONS_PER_MEMBER_MAX {
        return Err(StanzaError::new(Condition::PolicyViolation).app("too-many-subscriptions", ns::PUBSUB_ERRORS));
    }
    let resource = jid.resource().map(str::to_owned);
    let mut subscription = Subscription { resource, id: ctx.token(), is_pending, delivers: true, shows: 0 };
    let wanted = options.map(Form::find_in).transpose()?.flatten();
    if let Some(form) = &wanted {
        forms::set_options(form, &mut subscription)?;
    }
    member.subscriptions.push(subscription.clone());
    keep(site, &node, &jid, member, ctx)?;
    if is_pending {
        requests::ask_owners(site, &node, &jid, &subscription, ctx);
    } else {
        welcome(site, &node, &jid, &subscription, ctx);
        tell_owners(site, &node, &jid, &subscription, "subscribed", ctx);
    }
    // XEP-0060 §6.3.7: and what came of the options.
    let options =
        wanted.map(|_| Element::new("options", ns::PUBSUB).child(forms::options(&subscription, FormType::Result)));
    Ok(answer(std::iter::once(element(&node, &jid, &subscription, ns::PUBSUB)).chain(options).collect()))
}

/// Whether somebody may subscribe; `true`: an owner has to agree.
fn may_subscribe(site: &Site, node: &Node, member: &Member, jid: &Jid, ctx: &mut Ctx<'_>) -> Result<bool, StanzaError> {
    match member.affiliation {
        Affiliation::Outcast | Affiliation::PublishOnly => Err(Condition::Forbidden.into()),
        _ if !node.settings.subscribe => Err(unsupported("subscribe")),
        Affiliation::Owner | Affiliation::Publisher | Affiliation::Member => Ok(false),
        Affiliation::None => {
            access::lets_in(site, &node.settings, jid, ctx)?;
            Ok(node.settings.access == AccessModel::Authorize)
        }
    }
}

fn keep(site: &Site, node: &Node, jid: &Jid, member: Member, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let member = access::kept(site, jid, member);
    match members::put(&mut ctx.store(), site.owner, node.id, jid.bare_str(), &member) {
        true => Ok(()),
        false => Err(no_room("This node has too many subscribers.")),
    }
}

/// XEP-0060 §6.1.7: the last item for a new subscriber who wants to be told of items.
pub(super) fn welcome(site: &Site, node: &Node, jid: &Jid, subscription: &Subscription, ctx: &mut Ctx<'_>) {
    let settings = &node.settings;
    if settings.send_last == SendLast::Never || !settings.deliver_notifications || !subscription.delivers {
        return;
    }
    if let Some(item) = items::last(site, node, ctx) {
        notify::last_to_address(site, node, &item, jid, ctx);
    }
}

/// XEP-0060 §16.4.4, `pubsub#notify_sub`: owners hear that somebody is subscribed, or is so no longer, whoever did it.
pub(super) fn tell_owners(
    site: &Site,
    node: &Node,
    jid: &Jid,
    subscription: &Subscription,
    state: &'static str,
    ctx: &mut Ctx<'_>,
) {
    if !node.settings.notify_sub {
        return;
    }
    let changed = self::state(node, jid, subscription, state, ns::PUBSUB_EVENT);
    for owner in access::owners(site, node, ctx) {
        notify::to_address(site, node, &changed, &owner, ctx);
    }
}

/// XEP-0060 §6.2.
pub(super) fn unsubscribe(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let jid = own_address(iq, asked, Condition::Forbidden.into())?;
    let node = access::find(site, node_name(asked)?, ctx)?;
    let (mut member, mut subscription) = subscribed(site, &node, &jid, asked, ctx)?;
    member.subscriptions.retain(|other| other.id != subscription.id);
    keep(site, &node, &jid, member, ctx)?;
    subscription.is_pending = false;
    let gone = state(&node, &jid, &subscription, "none", ns::PUBSUB);
    tell_owners(site, &node, &jid, &subscription, "none", ctx);
    Ok(answer(vec![gone]))
}

/// The subscription that a request is about, XEP-0060 §6.2.3 and §6.3.4.
fn subscribed(
    site: &Site,
    node: &Node,
    jid: &Jid,
    asked: &Element,
    ctx: &mut Ctx<'_>,
) -> Result<(Member, Subscription), StanzaError> {
    let member = access::standing(site, node, jid, ctx);
    let not_subscribed = StanzaError::new(Condition::UnexpectedRequest).kind(ErrorKind::Cancel);
    let not_subscribed = not_subscribed.app("not-subscribed", ns::PUBSUB_ERRORS);
    let found = member.subscription(jid.resource()).cloned().ok_or(not_subscribed)?;
    match asked.get("subid") {
        Some(id) if id != found.id => {
            Err(StanzaError::new(Condition::NotAcceptable).app("invalid-subid", ns::PUBSUB_ERRORS))
        }
        _ => Ok((member, found)),
    }
}

/// XEP-0060 §6.3.
pub(super) fn options(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let jid = own_address(iq, asked, Condition::Forbidden.into())?;
    let node = access::find(site, node_name(asked)?, ctx)?;
    let (mut member, mut subscription) = subscribed(site, &node, &jid, asked, ctx)?;
    if !iq.is_set() {
        let options = Element::new("options", ns::PUBSUB).attr("node", &*node.name).attr("jid", jid.as_str());
        let options =
            options.attr("subid", subscription.id.clone()).child(forms::options(&subscription, FormType::Form));
        return Ok(answer(vec![options]));
    }
    let form = Form::find_in(asked)?.ok_or(bad_request("invalid-options"))?;
    forms::set_options(&form, &mut subscription)?;
    for other in member.subscriptions.iter_mut().filter(|other| other.id == subscription.id) {
        *other = subscription.clone();
    }
    keep(site, &node, &jid, member, ctx)?;
    Ok(Reply::Empty)
}

/// XEP-0060 §6.4.
pub(super) fn default_options(asked: &Element) -> Reply {
    let default = Subscription { resource: None, id: String::new(), is_pending: false, delivers: true, shows: 0 };
    let answered = Element::new("default", ns::PUBSUB).attr_if("node", asked.get("node"));
    answer(vec![answered.child(forms::options(&default, FormType::Form))])
}

/// XEP-0060 §5.6: what the asker subscribed to, at one node or at all.
pub(super) fn subscriptions(
    site: &Site,
    iq: &Iq<'_>,
    asked: &Element,
    ctx: &mut Ctx<'_>,
) -> Result<Reply, StanzaError> {
    let mut list = Element::new("subscriptions", ns::PUBSUB).attr_if("node", asked.get("node"));
    for node in concerned(site, asked, ctx)? {
        let member = members::member(&ctx.store(), site.owner, node.id, iq.from.bare_str());
        for subscription in &member.subscriptions {
            let jid = address(&iq.from.bare(), subscription);
            list = list.child(element(&node, &jid, subscription, ns::PUBSUB));
        }
    }
    Ok(answer(vec![list]))
}

/// XEP-0060 §5.7: what the asker is to one node or to all.
pub(super) fn affiliations(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let mut list = Element::new("affiliations", ns::PUBSUB).attr_if("node", asked.get("node"));
    for node in concerned(site, asked, ctx)? {
        let affiliation = access::standing(site, &node, iq.from, ctx).affiliation;
        if affiliation != Affiliation::None {
            let one = Element::new("affiliation", ns::PUBSUB).attr("node", &*node.name);
            list = list.child(one.attr("affiliation", affiliation.as_str()));
        }
    }
    Ok(answer(vec![list]))
}

fn concerned(site: &Site, asked: &Element, ctx: &mut Ctx<'_>) -> Result<Vec<Node>, StanzaError> {
    match asked.get("node").filter(|node| !node.is_empty()) {
        Some(name) => Ok(vec![access::find(site, name, ctx)?]),
        None => Ok(nodes::list(&ctx.store(), site.owner, "", site.nodes_max())),
    }
}

fn answer(children: Vec<Element>) -> Reply {
    Element::new("pubsub", ns::PUBSUB).with(children).into()
}

/// The address that was subscribed.
pub(super) fn address(bare: &Jid, subscription: &Subscription) -> Jid {
    let full = subscription.resource.as_deref().and_then(|resource| bare.with_resource(resource).ok());
    full.unwrap_or_else(|| bare.clone())
}

/// `<subscription/>` as it stands.
pub(super) fn element(node: &Node, jid: &Jid, subscription: &Subscription, ns: &'static str) -> Element {
    state(node, jid, subscription, state_of(subscription), ns)
}

/// The value of the attribute, XEP-0060 §4.2.
pub(super) fn state_of(subscription: &Subscription) -> &'static str {
    if subscription.is_pending { "pending" } else { "subscribed" }
}

/// `<subscription/>` in this state.
pub(super) fn state(
    node: &Node,
    jid: &Jid,
    subscription: &Subscription,
    state: &'static str,
    ns: &'static str,
) -> Element {
    let element = Element::new("subscription", ns).attr("node", &*node.name).attr("jid", jid.as_str());
    element.attr("subid", subscription.id.clone()).attr("subscription", state)
}
