//! What a change of the block list shows and hides, XEP-0191 §3.3 to §3.5.

use super::{gone, hears_broadcasts};
use crate::{
    domain::{accounts, ids::AccountId, roster},
    router::{context::Ctx, service::Leg},
    wire::jid::Jid,
};

/// XEP-0191 §3.3 and §3.4 (examples 8 and 12): who is blocked sees the owner leave, who is unblocked sees the owner
/// again; as much of a contact as the entry of the list names (§5).
pub fn block_changed(account: AccountId, entry: &Jid, blocked: bool, ctx: &mut Ctx<'_>) {
    let Some(owner) = accounts::address(&ctx.store(), account) else { return };
    if !ctx.is_local(entry) {
        return;
    }
    if blocked {
        end_directed(&owner, entry, ctx);
    }
    let contacts = roster::items(&ctx.store(), account).into_iter().filter(|(_, item)| item.state.from);
    let contacts: Vec<Jid> = contacts
        .filter_map(|(contact, _)| Jid::parse(&contact).ok())
        .filter(|contact| match entry.local() {
            Some(_) => contact.as_str() == entry.bare_str(),
            None => contact.domain() == entry.domain(),
        })
        .filter_map(|contact| entry.resource().map_or(Some(contact.clone()), |of| contact.with_resource(of).ok()))
        .collect();
    for contact in contacts {
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
