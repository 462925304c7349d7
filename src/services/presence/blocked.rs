//! What a change of the block list shows and hides, XEP-0191 §3.3 to §3.5.

use super::{ask_elsewhere, gone, hears_broadcasts, presence_for};
use crate::{
    domain::{accounts, ids::AccountId, roster, sessions::Keep},
    router::{context::Ctx, service::Leg},
    wire::jid::Jid,
};

/// XEP-0191 §3.3 and §3.4 (examples 8 and 12): who is blocked sees the owner leave, who is unblocked sees the owner
/// again; as much of a contact as the entry of the list names (§5).
pub fn block_changed(account: AccountId, entry: &Jid, blocked: bool, ctx: &mut Ctx<'_>) {
    let Some(owner) = accounts::address(&ctx.store(), account) else { return };
    if blocked {
        end_directed(&owner, entry, ctx);
    }
    for (contact, item) in roster::items(&ctx.store(), account) {
        let Ok(contact) = Jid::parse(&contact) else { continue };
        let is_named = match entry.local() {
            Some(_) => contact.as_str() == entry.bare_str(),
            None => contact.domain() == entry.domain(),
        };
        if is_named && item.state.to && !blocked {
            hear_again(&owner, &contact, ctx);
        }
        if !is_named || !item.state.from {
            continue;
        }
        let contact = entry.resource().and_then(|of| contact.with_resource(of).ok()).unwrap_or(contact);
        // A resource here that is not available was shown nothing and is shown nothing.
        let deaf = ctx.sessions().full(&contact).is_none_or(|(_, session)| session.presence.is_none());
        if !contact.is_bare() && ctx.is_local(&contact) && deaf {
            continue;
        }
        if blocked {
            ctx.hide_presence(&owner, &contact);
        } else if !ctx.blocks(&owner, &contact) {
            // No other entry of the list stands for the contact.
            ctx.show_presence(&owner, &contact);
        }
    }
}

/// The presence of an unblocked contact was kept from the owner, who learns what it is now, as of RFC 6121 §4.3.
fn hear_again(owner: &Jid, contact: &Jid, ctx: &mut Ctx<'_>) {
    let own = ctx.sessions().of(owner.bare_str()).filter(|(_, session)| session.presence.is_some());
    let own: Vec<_> = own.map(|(id, session)| (id, session.jid.clone())).collect();
    if !own.is_empty() {
        let state = roster::State { to: true, ..roster::State::default() };
        ask_elsewhere(contact.as_str(), state, &owner.bare(), ctx);
    }
    for (id, jid) in own {
        for presence in presence_for(contact.as_str(), &jid, ctx) {
            ctx.core.deliver(id, presence, Keep::Nothing);
        }
    }
}

/// Those who were sent directed presence and are blocked now see the session leave, and hear no more.
fn end_directed(owner: &Jid, entry: &Jid, ctx: &mut Ctx<'_>) {
    let own: Vec<_> = ctx.sessions().of(owner.bare_str()).map(|(id, session)| (id, session.jid.clone())).collect();
    for (id, jid) in own {
        let Some(session) = ctx.core.sessions.session_mut(id) else { continue };
        let (gone_to, kept) = std::mem::take(&mut session.directed).into_iter().partition(|to| ctx.blocks(owner, to));
        let mut gone_to: Vec<Jid> = gone_to;
        let kept: Vec<Jid> = kept;
        if entry.local().is_some() && !entry.is_bare() && kept.iter().any(|to| to.as_str() == entry.bare_str()) {
            // One resource of several that saw it.
            gone_to.push(entry.clone());
        }
        if let Some(session) = ctx.core.sessions.session_mut(id) {
            session.directed = kept;
        }
        for to in gone_to {
            if !hears_broadcasts(id, &to, ctx) {
                ctx.send(Leg::Inbound, gone(&jid, &to));
            }
        }
    }
}
