//! What belongs to the life of an account: making it, changing its password, removing it.
//!
//! In-band registration and the admin's commands end here, so that each happens in one way. Source: RFC 6121 §2.5,
//! XEP-0077 §3.2. Invariant: nobody who signed in with an old password, or to an account that is gone, stays (S15).

use zeroize::Zeroizing;

use super::{
    context::Ctx,
    service::{Leg, Notice},
};
use crate::{
    domain::{
        accounts::{self, Account},
        ids::SessionId,
        roster,
    },
    limits,
    proto::scram::Credentials,
    wire::{
        element::Element,
        error::{Condition, StanzaError, StreamCondition, StreamError},
        jid::{self, Jid},
        ns,
        stanza::Stanza,
    },
};

/// Prepares a new password for [`Ctx::derive`], RFC 8265 §4.2.
///
/// # Errors
/// `not-acceptable` if it is empty, longer than [`limits::PASSWORD_BYTES_MAX`] or holds what the profile forbids.
pub fn prepare_password(text: &str) -> Result<Zeroizing<String>, StanzaError> {
    let refused = StanzaError::new(Condition::NotAcceptable).text("This password cannot be used.");
    if text.is_empty() || text.len() > limits::PASSWORD_BYTES_MAX {
        return Err(refused);
    }
    match jid::prepare_opaque(text) {
        Ok(prepared) if !prepared.is_empty() => Ok(Zeroizing::new(prepared.into_owned())),
        _ => Err(refused),
    }
}

/// Makes an account.
///
/// # Errors
/// `conflict` if the address is taken.
pub fn create(ctx: &mut Ctx<'_>, jid: &Jid, credentials: Credentials, is_admin: bool) -> Result<Account, StanzaError> {
    let now_s = ctx.wall_s();
    let account = accounts::create(&mut ctx.store(), jid, credentials, is_admin, now_s)
        .ok_or(StanzaError::new(Condition::Conflict).text("There is an account of this name."))?;
    ctx.notice(Notice::AccountCreated(jid.bare()));
    Ok(account)
}

/// Changes a password and ends all sessions of the account but the one that `keep` names.
///
/// # Errors
/// `item-not-found` if there is no such account.
pub fn change_password(
    ctx: &mut Ctx<'_>,
    jid: &Jid,
    credentials: Credentials,
    keep: Option<SessionId>,
) -> Result<(), StanzaError> {
    let mut account = accounts::find(&ctx.store(), jid).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    account.credentials = credentials;
    accounts::update(&mut ctx.store(), jid, &account);
    end_sessions(ctx, jid, keep, "The password was changed.");
    Ok(())
}

/// Removes an account: nobody can sign in from now on, its sessions end, its contacts learn that they share presence
/// with it no longer, and at last its rows go.
///
/// # Errors
/// `item-not-found` if there is no such account.
pub fn remove(ctx: &mut Ctx<'_>, jid: &Jid) -> Result<(), StanzaError> {
    let account = accounts::close(&mut ctx.store(), jid).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    // In this order: contacts see it go offline before they are unsubscribed, and the roster is there until then.
    end_sessions(ctx, jid, None, "The account was removed.");
    for (contact, item) in roster::items(&ctx.store(), account.id) {
        let Ok(contact) = Jid::parse(&contact) else { continue };
        // RFC 6121 §2.5.2. On the recipient's leg: the sender's account is gone.
        if item.state.to || item.state.pending_out {
            ctx.send(Leg::Inbound, subscription("unsubscribe", jid, &contact));
        }
        if item.state.from {
            ctx.send(Leg::Inbound, subscription("unsubscribed", jid, &contact));
        }
    }
    ctx.notice(Notice::AccountClosed(account.id, jid.bare()));
    Ok(())
}

fn subscription(ty: &'static str, from: &Jid, to: &Jid) -> Stanza {
    let presence = Element::new("presence", ns::CLIENT).attr("type", ty);
    Stanza::build(&presence, from.bare(), Some(to.bare()))
}

/// Ends the sessions of an account, hibernating ones included.
fn end_sessions(ctx: &mut Ctx<'_>, jid: &Jid, keep: Option<SessionId>, why: &'static str) {
    let sessions: Vec<_> = ctx.sessions().of(jid.bare_str()).map(|(id, _)| id).collect();
    for id in sessions.into_iter().filter(|id| Some(*id) != keep) {
        // XEP-0077 §3.2 names the condition for a removed account.
        ctx.end(id, StreamError::new(StreamCondition::NotAuthorized).text(why));
    }
}
