//! Managing presence subscriptions, RFC 6121 §3 and Appendix A; the tables stand in `domain/roster.rs`.

use super::write;
use crate::{
    domain::{
        ids::AccountId,
        roster::{self, Action, RosterItem, State},
    },
    limits,
    router::{
        context::Ctx,
        service::{Flow, Leg},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
        stanza::{Stanza, Type},
    },
};

/// The action that a presence type stands for.
pub fn action(ty: Type) -> Option<Action> {
    match ty {
        Type::Subscribe => Some(Action::Subscribe),
        Type::Subscribed => Some(Action::Subscribed),
        Type::Unsubscribe => Some(Action::Unsubscribe),
        Type::Unsubscribed => Some(Action::Unsubscribed),
        _ => None,
    }
}

fn type_of(action: Action) -> &'static str {
    match action {
        Action::Subscribe => "subscribe",
        Action::Subscribed => "subscribed",
        Action::Unsubscribe => "unsubscribe",
        Action::Unsubscribed => "unsubscribed",
    }
}

/// The owner sends it, RFC 6121 §3.1.2, §3.1.5, §3.2.2, §3.3.2, §3.4.2.
pub fn outbound(action: Action, stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
    let Some(contact) = stanza.to.as_ref().map(Jid::bare) else {
        return Flow::Taken("a subscription needs an address");
    };
    // Stamped with the bare address (RFC 6121 §3.1.2), and meant for the bare address.
    let owner = stanza.from.bare();
    (stanza.from, stanza.to) = (owner.clone(), Some(contact.clone()));
    if contact == owner {
        return Flow::Taken("everybody sees their own presence");
    }
    if action == Action::Subscribe && stanza.source_len() > limits::REQUEST_BYTES_MAX {
        return Flow::Bounce(StanzaError::new(Condition::PolicyViolation).text("This request is too large."));
    }
    let Some(account) = ctx.account(&owner) else { return Flow::Taken("no such account") };
    let before = roster::state(&ctx.store(), account, contact.as_str());
    let after = before.outbound(action);
    if action == Action::Unsubscribed && before.from {
        // RFC 6121 §3.2.2: while the contact may still see it.
        ctx.hide_presence(&owner, &contact);
    }
    if let Err(full) = change(ctx, &owner, account, &contact, before, after.state) {
        return Flow::Bounce(full);
    }
    if !after.route {
        return Flow::Taken("changes nothing for the contact");
    }
    // Behind the presence that was hidden above; an approval comes before the presence that it allows (RFC 6121
    // §3.1.5).
    ctx.send(Leg::Inbound, stanza.clone());
    if action == Action::Subscribed && !before.from {
        ctx.show_presence(&owner, &contact);
    }
    Flow::Taken("on its way")
}

/// The contact sent it, RFC 6121 §3.1.3, §3.1.6, §3.2.3, §3.3.3.
pub fn inbound(action: Action, stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
    let Some(owner) = stanza.to.as_ref().map(Jid::bare) else { return Flow::Taken("no address") };
    if action != Action::Subscribe && stanza.to.as_ref().is_some_and(|to| !to.is_bare()) {
        // RFC 6121 §8.5.3.2.2.
        return Flow::Taken("subscriptions are managed by bare addresses");
    }
    let contact = stanza.from.bare();
    let Some(account) = ctx.account(&owner) else { return Flow::Taken("no such account") };
    let before = roster::state(&ctx.store(), account, contact.as_str());
    if action == Action::Unsubscribe
        && before.pending_in
        && roster::item(&ctx.store(), account, contact.as_str()).is_none()
    {
        // RFC 6121 §3.3.3 asks for no more than this where there is no roster item; with one, A.3.2 says what to do.
        roster::drop_request(&mut ctx.store(), account, contact.as_str());
        return Flow::Taken("the request was withdrawn");
    }
    let after = before.inbound(action);
    (stanza.from, stanza.to) = (contact.clone(), Some(owner.clone()));
    if after.state.pending_in && !before.pending_in {
        if stanza.source_len() > limits::REQUEST_BYTES_MAX {
            return Flow::Taken("a request that is too large to be kept");
        }
        let bytes = stanza.to_vec();
        if !roster::keep_request(&mut ctx.store(), account, contact.as_str(), &bytes) {
            return Flow::Taken("too many requests wait");
        }
    }
    if after.deliver {
        show(action, stanza, &owner, ctx);
    }
    if let Err(full) = change(ctx, &owner, account, &contact, before, after.state) {
        return Flow::Bounce(full);
    }
    if let Some(reply) = after.reply {
        let reply = Element::new("presence", ns::CLIENT).attr("type", type_of(reply));
        if before.from && !after.state.from {
            ctx.hide_presence(&owner, &contact);
        }
        ctx.send(Leg::Inbound, Stanza::build(&reply, owner.clone(), Some(contact.clone())));
        if after.state.from && action == Action::Subscribe {
            ctx.show_presence(&owner, &contact);
        }
    }
    Flow::Taken("subscription handled")
}

/// RFC 6121 §3.1.3: a request goes to all available resources, everything else to the interested ones.
fn show(action: Action, stanza: &Stanza, owner: &Jid, ctx: &mut Ctx<'_>) {
    let sessions = ctx.sessions().of(owner.as_str()).filter(|(_, session)| match action {
        Action::Subscribe => session.presence.is_some(),
        _ => session.interested,
    });
    let sessions: Vec<_> = sessions.map(|(id, _)| id).collect();
    for id in sessions {
        ctx.deliver(id, stanza, crate::domain::sessions::Keep::Nothing);
    }
}

/// Brings the store from one state to another and pushes the item if the roster shows a difference.
fn change(
    ctx: &mut Ctx<'_>,
    owner: &Jid,
    account: AccountId,
    contact: &Jid,
    before: State,
    after: State,
) -> Result<(), StanzaError> {
    let shown = |state: State| State { pending_in: false, ..state };
    let changes = shown(before) != shown(after);
    let known = roster::item(&ctx.store(), account, contact.as_str());
    let item = RosterItem { state: shown(after), ..known.unwrap_or_default() };
    if changes && !roster::has_room(&ctx.store(), account, contact.as_str(), &item) {
        return Err(StanzaError::new(Condition::ResourceConstraint).text("The roster is full."));
    }
    if before.pending_in && !after.pending_in {
        roster::drop_request(&mut ctx.store(), account, contact.as_str());
    }
    if !changes {
        return Ok(());
    }
    write(ctx, owner, account, contact, item);
    Ok(())
}

/// RFC 6121 §2.5.2: what the contact hears when the owner removes the item.
pub fn end(ctx: &mut Ctx<'_>, owner: &Jid, contact: &Jid, state: State) {
    if state.from {
        ctx.hide_presence(owner, contact);
    }
    let mut tell = |action: Action| {
        let presence = Element::new("presence", ns::CLIENT).attr("type", type_of(action));
        ctx.send(Leg::Inbound, Stanza::build(&presence, owner.clone(), Some(contact.bare())));
    };
    if state.to || state.pending_out {
        tell(Action::Unsubscribe);
    }
    if state.from {
        tell(Action::Unsubscribed);
    }
}
