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
        invitations::{self, Invitation, Purpose},
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
    let is_first = !accounts::any(&ctx.store());
    let account = accounts::create(&mut ctx.store(), jid, credentials, is_admin, now_s).ok_or(taken)?;
    if is_first {
        invitations::forget_admins(&mut ctx.store());
    }
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
    invitations::forget_passwords(&mut ctx.store(), jid);
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
    invitations::forget_of(&mut ctx.store(), jid);
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
        invitations::forget_of(&mut ctx.store(), jid);
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

/// Somebody is invited.
#[derive(Clone, Debug, Default)]
pub struct Invite<'i> {
    /// To which domain.
    pub domain: &'i str,
    /// As an administrator.
    pub is_admin: bool,
    /// By whom, if not from the command line.
    pub inviter: Option<&'i Jid>,
    /// To be whom, if not left open.
    pub username: Option<String>,
    /// Who invites and who is invited become contacts.
    pub befriends: bool,
    /// To be a contact first of all, with whatever account (XEP-0401 §3).
    pub is_contact: bool,
}

/// Makes an invitation, good for [`limits::INVITATION_S`]: to an account here if who invites may give that, else to be a
/// contact (XEP-0401 §3 and §4).
///
/// # Errors
/// `conflict` if the name is taken or promised, `resource-constraint` if too many invitations are open.
pub fn invite(ctx: &mut Ctx<'_>, invite: &Invite<'_>) -> Result<Invited, StanzaError> {
    let Invite { domain, is_admin, inviter, username, befriends, is_contact } = invite.clone();
    let inviter = inviter.map(Jid::bare);
    let gives_account = may_give_accounts(ctx, inviter.as_ref());
    if !gives_account && !is_contact {
        return Err(StanzaError::new(Condition::NotAllowed).text("Only administrators may invite to an account here."));
    }
    let (token, created_s) = (ctx.token(), ctx.wall_s());
    if let Some(name) = &username {
        let jid = Jid::from_parts(Some(name), domain, None).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
        if accounts::exists(&ctx.store(), &jid) || invitations::is_reserved(&ctx.store(), &jid, &token, created_s) {
            return Err(StanzaError::new(Condition::Conflict).text("This name is taken or promised."));
        }
    }
    let invitation = Invitation {
        purpose: if is_contact { Purpose::Contact } else { Purpose::Account },
        is_admin,
        created_s,
        expires_s: created_s + limits::INVITATION_S,
        domain: domain.to_owned(),
        inviter: inviter.as_ref().map(|jid| jid.as_str().to_owned()),
        befriends: befriends && inviter.is_some(),
        is_for_all: is_contact && gives_account,
        username,
    };
    keep(ctx, token, &invitation)
}

/// Whether this account, or the command line, may invite somebody to an account here.
pub fn may_give_accounts(ctx: &mut Ctx<'_>, inviter: Option<&Jid>) -> bool {
    let is_for_all = ctx.config().registration != Registration::Closed;
    is_for_all || inviter.is_none_or(|jid| ctx.is_admin(jid))
}

/// A link with which the holder chooses a new password for this account, once and soon; an older one is good no more.
///
/// # Errors
/// `item-not-found` if there is no such account, `not-allowed` without a web door.
pub fn password_link(ctx: &mut Ctx<'_>, jid: &Jid) -> Result<Invited, StanzaError> {
    if !accounts::exists(&ctx.store(), jid) {
        return Err(Condition::ItemNotFound.into());
    }
    invitations::forget_passwords(&mut ctx.store(), jid);
    let username = jid.local().map(str::to_owned);
    page_link(ctx, Purpose::Password, jid.domain(), username, limits::PASSWORD_LINK_S)
}

/// A link to the page for administrators.
///
/// # Errors
/// `not-allowed` without a web door.
pub fn status_link(ctx: &mut Ctx<'_>, domain: &str) -> Result<Invited, StanzaError> {
    page_link(ctx, Purpose::Status, domain, None, limits::STATUS_LINK_S)
}

fn page_link(
    ctx: &mut Ctx<'_>,
    purpose: Purpose,
    domain: &str,
    username: Option<String>,
    seconds: u64,
) -> Result<Invited, StanzaError> {
    if ctx.config().web_url(domain).is_none() {
        return Err(StanzaError::new(Condition::NotAllowed).text("There is no web door: see listen.https and web.url."));
    }
    let (token, created_s) = (ctx.token(), ctx.wall_s());
    let (domain, expires_s) = (domain.to_owned(), created_s + seconds);
    keep(ctx, token, &Invitation { purpose, domain, username, created_s, expires_s, ..Invitation::default() })
}

fn keep(ctx: &mut Ctx<'_>, token: String, invitation: &Invitation) -> Result<Invited, StanzaError> {
    if !invitations::create(&mut ctx.store(), &token, invitation) {
        return Err(StanzaError::new(Condition::ResourceConstraint).text("Too many invitations are open."));
    }
    Ok(invited(ctx.config(), &token, invitation))
}

/// An invitation as it is handed on.
pub fn invited(config: &Config, token: &str, invitation: &Invitation) -> Invited {
    let page = invitation_page(config, invitation, token);
    Invited { uri: invitation_uri(invitation, token), page, expires_s: invitation.expires_s }
}

/// The first segment of the pages of invitations.
pub const INVITATION_PATH: &str = "i";

/// The first segment of the page for administrators.
pub const STATUS_PATH: &str = "status";

/// The page of an invitation, where there is a web door.
pub fn invitation_page(config: &Config, invitation: &Invitation, token: &str) -> Option<String> {
    let path = if invitation.purpose == Purpose::Status { STATUS_PATH } else { INVITATION_PATH };
    config.web_url(&invitation.domain).map(|url| format!("{url}/{path}/{token}"))
}

/// Makes an account with an invitation: the token goes in the same turn as the account comes.
///
/// # Errors
/// `conflict` if the address is taken or promised to somebody else; then the token is whole. `not-acceptable` if the
/// invitation is for another name. `not-allowed` if it was used already.
pub fn redeem(ctx: &mut Ctx<'_>, token: &str, jid: &Jid, credentials: Credentials) -> Result<Account, StanzaError> {
    let now_s = ctx.wall_s();
    let is_taken = accounts::exists(&ctx.store(), jid)
        || ctx.sessions().online(jid.bare_str()).is_some()
        || invitations::is_reserved(&ctx.store(), jid, token, now_s);
    if is_taken {
        return Err(Condition::Conflict.into());
    }
    let named = invitations::find(&ctx.store(), token).and_then(|invitation| invitation.username);
    if named.is_some_and(|name| Some(name.as_str()) != jid.local()) {
        return Err(StanzaError::new(Condition::NotAcceptable).text("The invitation is for another name."));
    }
    let used = StanzaError::new(Condition::NotAllowed).text("The invitation was used already.");
    let invitation = invitations::consume(&mut ctx.store(), token, Invitation::makes_account).ok_or(used)?;
    let account = create(ctx, jid, credentials, invitation.is_admin)?;
    if invitation.befriends
        && let Some(inviter) = invitation.inviter.and_then(|inviter| Jid::parse(&inviter).ok())
    {
        befriend(ctx, &inviter, &jid.bare());
    }
    Ok(account)
}

/// Two accounts here become contacts of each other (XEP-0401 §5), as if their clients had agreed upon it: each is approved
/// before it asks.
fn befriend(ctx: &mut Ctx<'_>, one: &Jid, other: &Jid) {
    let pairs = [(one, other), (other, one)];
    for action in ["subscribed", "subscribe"] {
        for (from, to) in pairs {
            ctx.send(Leg::Outbound, subscription(action, from, to));
        }
    }
}

/// Somebody asks to be a contact and shows an invitation of this account for it (XEP-0379 §3.5): approved, and asked in
/// turn. `false`: it is good for nothing, and the request is one like others.
pub fn accept(ctx: &mut Ctx<'_>, token: &str, owner: &Jid, asks: &Stanza) -> bool {
    let now_s = ctx.wall_s();
    let fits = |invitation: &Invitation| {
        invitation.is_good(Purpose::Contact, now_s) && invitation.inviter.as_deref() == Some(owner.bare_str())
    };
    if invitations::consume(&mut ctx.store(), token, fits).is_none() {
        return false;
    }
    let contact = asks.from.bare();
    ctx.send(Leg::Outbound, subscription("subscribed", &owner.bare(), &contact));
    ctx.send(Leg::Inbound, asks.clone());
    ctx.send(Leg::Outbound, subscription("subscribe", &owner.bare(), &contact));
    true
}

/// Gives an account the password that the holder of a link has chosen: the token goes in the same turn.
///
/// # Errors
/// `not-allowed` if it was used already; `item-not-found` if the account has gone.
pub fn redeem_password(ctx: &mut Ctx<'_>, token: &str, credentials: Credentials) -> Result<Jid, StanzaError> {
    let used = || StanzaError::new(Condition::NotAllowed).text("The link was used already.");
    let fits = |invitation: &Invitation| invitation.purpose == Purpose::Password;
    let invitation = invitations::consume(&mut ctx.store(), token, fits).ok_or_else(used)?;
    let jid = Jid::from_parts(invitation.username.as_deref(), &invitation.domain, None).map_err(|_| used())?;
    change_password(ctx, &jid, credentials, None)?;
    Ok(jid)
}

/// The link of an invitation: XEP-0401 §3.1 with a contact, XEP-0445 §2 without. RFC 5122 §2.7: what stands outside ASCII
/// is percent-encoded.
pub fn invitation_uri(invitation: &Invitation, token: &str) -> String {
    let Invitation { domain, username, inviter, .. } = invitation;
    let contact = inviter.as_ref().filter(|_| invitation.purpose == Purpose::Contact);
    let name = username.as_ref().map(|name| format!("{name}@{domain}"));
    let address = contact.cloned().or(name).unwrap_or_else(|| domain.clone());
    let query = match (contact, invitation.is_for_all) {
        (Some(_), true) => format!("roster;preauth={token};ibr=y"),
        (Some(_), false) => format!("roster;preauth={token}"),
        (None, _) => format!("register;preauth={token}"),
    };
    format!("xmpp:{}?{query}", percent_encoded(&address))
}

fn percent_encoded(address: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(address.len());
    for byte in address.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'[' | b']' | b':' | b'@' => {
                out.push(byte as char);
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
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
