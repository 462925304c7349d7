//! Who has access to an account: devices that said their number, and sessions of software that did not.
//!
//! The account's owner and the administrators end here, so that both see and do the same. Source: XEP-0494 v0.1.0.
//! Invariant: a client that is revoked has no session, nothing that stands for a password, and is on its way to none.

use super::context::Ctx;
use crate::{
    domain::{
        devices::{self, DeviceId},
        ids::{AccountId, SessionId},
        push,
    },
    wire::{
        error::{Condition, StanzaError, StreamCondition, StreamError},
        jid::Jid,
    },
};

/// Something that has access to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Names it for [`revoke`].
    pub id: String,
    /// It has a session, also one that waits for resumption.
    pub is_connected: bool,
    /// It has shown the account's password.
    pub knows_password: bool,
    /// It holds a token, XEP-0484.
    pub has_token: bool,
    /// Seconds since 1970.
    pub first_s: u64,
    /// Seconds since 1970 of its last sign-in, or a little earlier.
    pub last_s: u64,
    /// As it says; may be empty.
    pub software: String,
    /// As it says; may be empty.
    pub device: String,
}

/// All clients of an account, the latest first.
pub fn list(ctx: &mut Ctx<'_>, account: AccountId, jid: &Jid) -> Vec<Client> {
    let now_s = ctx.wall_s();
    let sessions: Vec<_> = ctx.sessions().of(jid.bare_str()).map(|(id, s)| (id, s.device, s.since_s)).collect();
    let is_here = |device| sessions.iter().any(|(_, own, _)| *own == Some(device));
    let before_s = now_s.saturating_sub(ctx.config().retention.device_days.saturating_mul(86_400));
    devices::fade(&mut ctx.store(), account, before_s, is_here);
    let mut clients = Vec::new();
    for (id, device) in devices::list(&ctx.store(), account) {
        let since_s = sessions.iter().filter(|(_, own, _)| *own == Some(id)).map(|(.., since_s)| *since_s).max();
        clients.push(Client {
            id: device.name(),
            is_connected: since_s.is_some(),
            knows_password: device.knows_password,
            has_token: devices::tokens(&ctx.store(), account, id).any(now_s),
            first_s: device.first_s,
            last_s: since_s.unwrap_or_default().max(device.last_s),
            software: device.software,
            device: device.device,
        });
    }
    // What did not say its number came with the password; nothing is known of it once it is gone.
    clients.extend(sessions.iter().filter(|(_, device, _)| device.is_none()).map(|(id, _, since_s)| Client {
        id: nameless(*id),
        is_connected: true,
        knows_password: true,
        has_token: false,
        first_s: *since_s,
        last_s: *since_s,
        software: String::new(),
        device: String::new(),
    }));
    clients.sort_by(|a, b| (b.last_s, &b.id).cmp(&(a.last_s, &a.id)));
    clients
}

/// The name of a session whose software did not say its number. A dot stands in no device's name.
fn nameless(id: SessionId) -> String {
    format!("{:x}.{:x}", id.slot, id.generation)
}

/// Takes a client's access away: its sessions end and its tokens are good no more. `false`: it has shown the password,
/// and only another password keeps it out for good (XEP-0494 §3.2).
///
/// # Errors
/// `item-not-found` if there is no such client.
pub fn revoke(ctx: &mut Ctx<'_>, account: AccountId, jid: &Jid, id: &str) -> Result<bool, StanzaError> {
    let device = devices::list(&ctx.store(), account).into_iter().find(|(_, device)| device.name() == id);
    let is_meant = |session: SessionId, own: Option<DeviceId>| match (&device, own) {
        (Some((device, _)), own) => own == Some(*device),
        (None, None) => nameless(session) == id,
        (None, Some(_)) => false,
    };
    let sessions = ctx.sessions().of(jid.bare_str()).map(|(id, session)| (id, session.device));
    let ending: Vec<_> = sessions.filter(|(id, own)| is_meant(*id, *own)).map(|(id, _)| id).collect();
    if device.is_none() && ending.is_empty() {
        return Err(StanzaError::new(Condition::ItemNotFound).text("There is no such device."));
    }
    let knows_password = device.as_ref().is_none_or(|(_, device)| device.knows_password);
    for session in &ending {
        let resource = ctx.sessions().session(*session).and_then(|session| session.jid.resource()).map(str::to_owned);
        push::forget(&mut ctx.store(), account, None, resource.as_deref());
    }
    if let Some((device, _)) = device {
        devices::forget(&mut ctx.store(), account, device);
        push::forget(&mut ctx.store(), account, Some(device), None);
    }
    let error = StreamError::new(StreamCondition::NotAuthorized).text("This device was signed out.");
    for session in ending {
        ctx.end(session, error.clone());
    }
    // It may be coming in at this very moment.
    ctx.distrust(jid, error);
    Ok(!knows_password)
}
