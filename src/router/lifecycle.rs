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
    config::{Config, Registration},
    domain::{
        accounts::{self, Account},
        archive, devices,
        ids::{AccountId, SessionId},
        invitations::{self, Invitation},
        push, roster,
    },
    limits,
    proto::scram::{self, Credentials},
    wire::{
        element::Element,
        error::{Condition, StanzaError, StreamCondition, StreamError},
        jid::Jid,
        ns,
        stanza::Stanza,
    },
};

/// Prepares a new password for [`Ctx::derive`].
///
/// # Errors
/// `not-acceptable` if [`scram::prepare_password`] refuses it.
pub fn prepare_password(text: &str) -> Result<Zeroizing<String>, StanzaError> {
    scram::prepare_password(text)
        .map_err(|_| StanzaError::new(Condition::NotAcceptable).text("This password cannot be used."))
}

/// Makes an account.
///
/// # Errors
/// `conflict` if the address is taken.
pub fn create(ctx: &mut Ctx<'_>, jid: &Jid, credentials: Credentials, is_admin: bool) -> Result<Account, StanzaError> {
    let taken = StanzaError::new(Condition::Conflict).text("There is an account of this name.");
    // A removed account whose last session has not ended yet still has its name.
    if ctx.sessions().online(jid.bare_str()).is_some() {
        return Err(taken);
    }
    let now_s = ctx.wall_s();
    let account = accounts::create(&mut ctx.store(), jid, credentials, is_admin, now_s).ok_or(taken)?;
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
    let missing = StanzaError::new(Condition::ItemNotFound);
    let account = accounts::find(&ctx.store(), jid).ok_or(missing.clone())?.id;
    // Tokens go, and so do the devices that know the old password only (XEP-0494 §3.1).
    let device = keep.and_then(|keep| ctx.sessions().session(keep)?.device);
    let kept = device.and_then(|id| Some((id, devices::find(&ctx.store(), account, id)?)));
    let mut pushes = push::list(&ctx.store(), account);
    let session = keep.and_then(|keep| ctx.sessions().session(keep));
    pushes.retain(|registration| session.is_some_and(|session| registration.is_of(session)));
    accounts::change_password(&mut ctx.store(), jid, credentials).ok_or(missing)?;
    if let Some((id, device)) = kept {
        devices::keep(&mut ctx.store(), account, id, device);
    }
    for registration in pushes {
        push::put(&mut ctx.store(), account, &registration);
    }
    end_sessions(ctx, jid, keep, "The password was changed.");
    Ok(())
}

/// Removes an account: nobody can sign in from now on, and its sessions end. When the last one is gone,
/// [`Notice::AccountClosed`] leads to [`finish_removal`].
///
/// # Errors
/// `item-not-found` if there is no such account.
pub fn remove(ctx: &mut Ctx<'_>, jid: &Jid) -> Result<(), StanzaError> {
    let account = accounts::close(&mut ctx.store(), jid).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    end_sessions(ctx, jid, None, "The account was removed.");
    ctx.notice(Notice::AccountClosed(account.id, jid.bare()));
    Ok(())
}

/// Lets nobody sign in to an account until it is enabled again, and ends its sessions. What belongs to it stays, and
/// messages for it wait, XEP-0133 §4.3 and §4.4.
///
/// # Errors
/// `item-not-found` if there is no such account.
pub fn set_disabled(ctx: &mut Ctx<'_>, jid: &Jid, is_disabled: bool) -> Result<(), StanzaError> {
    let account = accounts::find(&ctx.store(), jid).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    if account.is_disabled != is_disabled {
        accounts::update(&mut ctx.store(), jid, &Account { is_disabled, ..account });
    }
    if is_disabled {
        accounts::distrust(&mut ctx.store(), account.id);
        end_sessions(ctx, jid, None, "The account was disabled.");
    }
    Ok(())
}

/// Empties the archive of an account: from now on nobody is shown what it held, and that goes from the store step by step.
/// What others have in their archives stays theirs (XEP-0313 §3). How many messages they were.
///
/// # Errors
/// `item-not-found` if there is no such account.
pub fn empty_archive(ctx: &mut Ctx<'_>, jid: &Jid) -> Result<u64, StanzaError> {
    let account = accounts::find(&ctx.store(), jid).ok_or(StanzaError::new(Condition::ItemNotFound))?.id;
    let count = archive::forget(&mut ctx.store(), account);
    ctx.notice(Notice::ArchiveForgotten(account));
    Ok(count)
}

/// The second half of a removal: contacts learn that they share presence with the account no longer, RFC 6121 §2.5.2,
/// and its rows go. Not while it has sessions, whose end contacts shall see; nor if the disk refused the first half and
/// the account is back.
pub fn finish_removal(ctx: &mut Ctx<'_>, id: AccountId, jid: &Jid) {
    if accounts::find(&ctx.store(), jid).is_some_and(|account| account.id == id) {
        return;
    }
    for (contact, item) in roster::items(&ctx.store(), id) {
        let Ok(contact) = Jid::parse(&contact) else { continue };
        // On the recipient's leg: the sender's account is gone.
        if item.state.to || item.state.pending_out {
            ctx.send(Leg::Inbound, subscription("unsubscribe", jid, &contact));
        }
        if item.state.from {
            ctx.send(Leg::Inbound, subscription("unsubscribed", jid, &contact));
        }
    }
    accounts::purge(&mut ctx.store(), id);
    ctx.notice(Notice::AccountRemoved(id, jid.clone()));
}

/// An invitation as it is handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invited {
    /// `xmpp:DOMAIN?register;preauth=TOKEN`, XEP-0445 §2.2.
    pub uri: String,
    /// The page of the invitation, XEP-0379 §3.3; `None`: there is no web door.
    pub page: Option<String>,
    /// Seconds since 1970.
    pub expires_s: u64,
}

/// Makes an invitation to register in this domain, good for [`limits::INVITATION_S`].
///
/// # Errors
/// `not-allowed` if registration is closed, `resource-constraint` if too many invitations are open.
pub fn invite(ctx: &mut Ctx<'_>, domain: &str, is_admin: bool) -> Result<Invited, StanzaError> {
    if ctx.config().registration == Registration::Closed {
        return Err(StanzaError::new(Condition::NotAllowed).text("Registration is closed."));
    }
    let (token, created_s) = (ctx.token(), ctx.wall_s());
    let expires_s = created_s + limits::INVITATION_S;
    let invitation = Invitation { is_admin, created_s, expires_s, domain: domain.to_owned() };
    if !invitations::create(&mut ctx.store(), &token, &invitation) {
        return Err(StanzaError::new(Condition::ResourceConstraint).text("Too many invitations are open."));
    }
    let page = invitation_page(ctx.config(), domain, &token);
    Ok(Invited { uri: invitation_uri(domain, &token), page, expires_s })
}

/// The first segment of the pages of invitations.
pub const INVITATION_PATH: &str = "i";

/// The page of an invitation, where there is a web door.
pub fn invitation_page(config: &Config, domain: &str, token: &str) -> Option<String> {
    config.web_url(domain).map(|url| format!("{url}/{INVITATION_PATH}/{token}"))
}

/// Makes an account with an invitation: the token goes in the same turn as the account comes.
///
/// # Errors
/// `conflict` if the address is taken; then the token is whole. `not-allowed` if it was used already.
pub fn redeem(ctx: &mut Ctx<'_>, token: &str, jid: &Jid, credentials: Credentials) -> Result<Account, StanzaError> {
    if accounts::exists(&ctx.store(), jid) || ctx.sessions().online(jid.bare_str()).is_some() {
        return Err(Condition::Conflict.into());
    }
    let used = StanzaError::new(Condition::NotAllowed).text("The invitation was used already.");
    let invitation = invitations::consume(&mut ctx.store(), token).ok_or(used)?;
    create(ctx, jid, credentials, invitation.is_admin)
}

/// The link of an invitation. RFC 5122 §2.7: what stands outside ASCII is percent-encoded.
pub fn invitation_uri(domain: &str, token: &str) -> String {
    use std::fmt::Write;
    let mut uri = String::from("xmpp:");
    for byte in domain.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'[' | b']' | b':' => uri.push(byte as char),
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri + "?register;preauth=" + token
}

fn subscription(ty: &'static str, from: &Jid, to: &Jid) -> Stanza {
    let presence = Element::new("presence", ns::CLIENT).attr("type", ty);
    Stanza::build(&presence, from.bare(), Some(to.bare()))
}

/// Ends the sessions of an account, hibernating ones included, and sign-ins that have not led to one.
fn end_sessions(ctx: &mut Ctx<'_>, jid: &Jid, keep: Option<SessionId>, why: &'static str) {
    let sessions: Vec<_> = ctx.sessions().of(jid.bare_str()).map(|(id, _)| id).collect();
    for id in sessions.into_iter().filter(|id| Some(*id) != keep) {
        // XEP-0077 §3.2 names the condition for a removed account.
        ctx.end(id, StreamError::new(StreamCondition::NotAuthorized).text(why));
    }
    ctx.distrust(jid, StreamError::new(StreamCondition::NotAuthorized).text(why));
}
