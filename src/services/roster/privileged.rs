//! Contacts that a component writes into the roster of an account.
//!
//! Source: XEP-0356 v0.4.1 §3.3. Invariant: nobody's presence is shown, and nobody's seen, who did not agree: of subscriptions
//! only those to a component's own addresses are taken from it. It could ask and agree for these itself; the account's owner
//! has agreed by signing in to it.

use super::set_item;
use crate::{
    domain::{
        ids::AccountId,
        roster::{self, State},
    },
    limits,
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
    },
};

/// Writes one item or several, all that a component has to tell of its network.
pub fn set_all(iq: &Iq<'_>, owner_jid: &Jid, owner: AccountId, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let items = iq.payload.children().count();
    if items == 0 || iq.payload.children().any(|item| !item.is("item", ns::ROSTER)) {
        return Err(Condition::BadRequest.into());
    }
    if items > limits::ROSTER_ITEMS_AT_ONCE_MAX {
        return Err(StanzaError::new(Condition::PolicyViolation).text("Too many contacts at once."));
    }
    for item in iq.payload.children() {
        let wanted = item.get("subscription");
        let settle = |jid: &Jid, state: State| match wanted {
            Some(wanted) if jid.domain() == iq.from.domain() => settled(wanted, state),
            _ => state,
        };
        let contact = item.get("jid").and_then(|jid| Jid::parse(jid).ok());
        let sees = |ctx: &mut Ctx<'_>| {
            contact.as_ref().is_some_and(|contact| roster::state(&ctx.store(), owner, contact.as_str()).from)
        };
        let saw = sees(ctx);
        set_item(item, settle, owner_jid, owner, ctx)?;
        if let (false, true, Some(contact)) = (saw, sees(ctx), &contact) {
            // As behind an approval, RFC 6121 §3.1.5.
            ctx.show_presence(owner_jid, contact);
        }
    }
    Ok(Reply::Empty)
}

fn settled(wanted: &str, state: State) -> State {
    let (to, from) = match wanted {
        "none" => (false, false),
        "to" => (true, false),
        "from" => (false, true),
        "both" => (true, true),
        _ => return state,
    };
    State { to, from, pending_out: state.pending_out && !to, ..state }
}
