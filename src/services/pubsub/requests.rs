//! Subscriptions that wait for an owner's word.
//!
//! Source: XEP-0060 §8.6 and §12.13. Every owner is asked, also those who are absent, and the first word counts. Invariant:
//! only the word of an owner counts, and only about a request that waits.

use super::{Site, access, notify, subscribe};
use crate::{
    domain::nodes::{
        self, Node,
        members::{self, Subscription},
    },
    router::{context::Ctx, service::Leg},
    wire::{
        element::Element,
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        ns,
        stanza::{Stanza, Type},
    },
};

/// FORM_TYPE of these forms.
const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";

/// Asks the owners of a node whether they let somebody in.
pub(super) fn ask_owners(site: &Site, node: &Node, jid: &Jid, subscription: &Subscription, ctx: &mut Ctx<'_>) {
    let form = Form::typed(FormType::Form, AUTHORIZATION)
        .title("Subscription request")
        .instructions("Shall this address be subscribed to this node?")
        .field(Field::hidden("pubsub#subid", subscription.id.clone()))
        .field(Field::new("pubsub#node", FieldType::TextSingle).label("Node").value(node.name.to_string()))
        .field(
            Field::new("pubsub#subscriber_jid", FieldType::JidSingle)
                .label("Subscriber")
                .value(jid.as_str().to_owned()),
        )
        .field(Field::boolean("pubsub#allow", false).label("Allow the subscription"));
    let id = ctx.token();
    let message = Element::new("message", ns::CLIENT).attr("id", id).child(form.element());
    let stanza = Stanza::build(&message, site.jid.clone(), None);
    for owner in access::owners(site, node, ctx) {
        ctx.send(Leg::Inbound, stanza.readdressed(Some(owner)));
    }
}

/// A message to the service that may be an owner's answer; whether it was.
pub(super) fn answered(site: &Site, stanza: &Stanza, ctx: &mut Ctx<'_>) -> bool {
    if stanza.ty == Type::Error || !stanza.has("x", ns::DATA) {
        return false;
    }
    let form = stanza.find("x", ns::DATA).and_then(|x| Form::read(&x).ok());
    // What we ask is itself such a form, on its way to the owner.
    let is_answer = |form: &Form| {
        form.form_type() == Some(AUTHORIZATION) && matches!(form.kind, FormType::Submit | FormType::Cancel)
    };
    let Some(form) = form.filter(is_answer) else { return false };
    // A form of type cancel leaves the request as it is (XEP-0060 §8.6).
    if form.kind == FormType::Submit {
        let why = decide(site, &form, &stanza.from, ctx);
        log::debug!(
            "subscription request at {}: {}",
            site.jid,
            why.unwrap_or("no such request, or not an owner's word")
        );
    }
    true
}

/// The word of an owner.
fn decide(site: &Site, form: &Form, from: &Jid, ctx: &mut Ctx<'_>) -> Option<&'static str> {
    let allow = form.bool("pubsub#allow")?;
    let jid = Jid::parse(form.value("pubsub#subscriber_jid")?).ok()?;
    let node = access::owned(site, form.value("pubsub#node")?, from, ctx).ok()?;
    settle(site, &node, &jid, allow, ctx)
}

/// Lets somebody whose subscription waits in, or sends them away, and tells them.
pub(super) fn settle(site: &Site, node: &Node, jid: &Jid, allow: bool, ctx: &mut Ctx<'_>) -> Option<&'static str> {
    let mut member = members::member(&ctx.store(), site.owner, node.id, jid.bare_str());
    let waits = |other: &&mut Subscription| other.is_pending && other.resource.as_deref() == jid.resource();
    let subscription = member.subscriptions.iter_mut().find(waits)?;
    subscription.is_pending = false;
    let subscription = subscription.clone();
    if !allow {
        member.subscriptions.retain(|other| other.id != subscription.id);
    }
    members::put(&mut ctx.store(), site.owner, node.id, jid.bare_str(), &member);
    let state = if allow { "subscribed" } else { "none" };
    let changed = subscribe::state(node, jid, &subscription, state, ns::PUBSUB_EVENT);
    notify::to_address(site, node, &changed, jid, ctx);
    subscribe::tell_owners(site, node, jid, &subscription, state, ctx);
    if allow {
        subscribe::welcome(site, node, jid, &subscription, ctx);
    }
    Some(if allow { "allowed" } else { "denied" })
}

/// XEP-0163 §7.1: a contact lost access, or may have; subscriptions that are not allowed any longer end.
pub(super) fn recheck(site: &Site, contact: &Jid, ctx: &mut Ctx<'_>) {
    for node in nodes::list(&ctx.store(), site.owner, "", site.nodes_max()) {
        recheck_node(site, &node, contact, ctx);
    }
}

/// The same for one node.
pub(super) fn recheck_node(site: &Site, node: &Node, contact: &Jid, ctx: &mut Ctx<'_>) {
    let mut member = members::member(&ctx.store(), site.owner, node.id, contact.bare_str());
    if !member.is_subscribed() || access::may_read(site, node, contact, ctx).is_ok() {
        return;
    }
    let ended = std::mem::take(&mut member.subscriptions);
    members::put(&mut ctx.store(), site.owner, node.id, contact.bare_str(), &member);
    for subscription in ended {
        let jid = subscribe::address(&contact.bare(), &subscription);
        let changed = subscribe::state(node, &jid, &subscription, "none", ns::PUBSUB_EVENT);
        notify::to_address(site, node, &changed, &jid, ctx);
        subscribe::tell_owners(site, node, &jid, &subscription, "none", ctx);
    }
}
