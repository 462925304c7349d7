//! Which push services an account's devices want to be woken by, XEP-0357.
//!
//! Invariant: an account has at most [`limits::PUSH_PER_ACCOUNT_MAX`] registrations; the one that was asked for longest ago
//! gives way. A registration belongs to the device that asked for it last, or to the resource if the device has no number.

use super::{
    devices::DeviceId,
    ids::{AccountId, SessionId, Time},
    keys,
    sessions::{Session, Sessions},
    store::Store,
};
use crate::{limits, proto::sm::Ask};

/// A registration as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Address of the push service.
    pub service: String,
    /// The node there; may be empty.
    pub node: String,
    /// The device that asked.
    pub device: Option<DeviceId>,
    /// Its resource.
    pub resource: String,
    /// Seconds since 1970 when it asked last, no more than [`limits::PUSH_SEEN_S`] late.
    pub since_s: u64,
    /// What it asked for: the element `<enable/>`, serialised.
    pub wish: Vec<u8>,
}

const VERSION: u8 = 1;

impl Registration {
    /// Whether a session is one of the device that asked.
    pub fn is_of(&self, session: &Session) -> bool {
        let same_device = self.device.is_some() && self.device == session.device;
        same_device || session.jid.resource() == Some(&self.resource)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(28 + self.resource.len() + self.wish.len());
        out.push(VERSION);
        out.push(u8::from(self.device.is_some()));
        out.extend_from_slice(&self.device.map_or([0; 16], |device| device.0));
        out.extend_from_slice(&self.since_s.to_be_bytes());
        out.extend_from_slice(&(self.resource.len() as u16).to_be_bytes());
        out.extend_from_slice(self.resource.as_bytes());
        out.extend_from_slice(&self.wish);
        out
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Registration> {
        let mut parts = key.get(5..)?.splitn(2, |byte| *byte == 0);
        let (service, node) = (parts.next()?, parts.next()?);
        let (&[VERSION, has_device], rest) = value.split_first_chunk::<2>()? else { return None };
        let (device, rest) = rest.split_first_chunk::<16>()?;
        let (since, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (resource, wish) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(Registration {
            service: text(service)?,
            node: text(node)?,
            device: (has_device == 1).then_some(DeviceId(*device)),
            resource: text(resource)?,
            since_s: u64::from_be_bytes(*since),
            wish: wish.to_vec(),
        })
    }
}

fn key(account: AccountId, service: &str, node: &str) -> Vec<u8> {
    // Neither holds a zero: XML has none.
    keys::row(keys::PUSH, account, &[service.as_bytes(), &[0], node.as_bytes()].concat())
}

/// All registrations of an account.
pub fn list(store: &Store<'_>, account: AccountId) -> Vec<Registration> {
    let rows = store.prefix(&keys::owned(keys::PUSH, account), limits::PUSH_PER_ACCOUNT_MAX);
    rows.iter().filter_map(|(key, value)| Registration::decode(key, value)).collect()
}

/// Whether an account has any.
pub fn any(store: &Store<'_>, account: AccountId) -> bool {
    store.tally(&keys::owned(keys::PUSH, account), 1).rows > 0
}

/// Whether the device of a session is woken by push.
pub fn wakes(store: &Store<'_>, session: &Session) -> bool {
    list(store, session.account).iter().any(|registration| registration.is_of(session))
}

/// Keeps a registration, in place of an earlier one for the same node. A device that comes back and asks for the same
/// costs no write.
pub fn put(store: &mut Store<'_>, account: AccountId, registration: &Registration) {
    let known = list(store, account);
    let same = |other: &&Registration| (&other.service, &other.node) == (&registration.service, &registration.node);
    let is_late = |old: &Registration| registration.since_s.abs_diff(old.since_s) >= limits::PUSH_SEEN_S;
    match known.iter().find(same) {
        Some(old)
            if !is_late(old) && *registration == (Registration { since_s: registration.since_s, ..old.clone() }) =>
        {
            return;
        }
        None if known.len() >= limits::PUSH_PER_ACCOUNT_MAX => {
            if let Some(oldest) = known.iter().min_by_key(|other| other.since_s) {
                remove(store, account, &oldest.service, &oldest.node);
            }
        }
        _ => {}
    }
    store.put(&key(account, &registration.service, &registration.node), &registration.encode());
}

/// Removes a registration, if it is there.
pub fn remove(store: &mut Store<'_>, account: AccountId, service: &str, node: &str) {
    let key = key(account, service, node);
    if store.has(&key) {
        store.remove(&key);
    }
}

/// Removes those of a device, or of a resource whose device has no number.
pub fn forget(store: &mut Store<'_>, account: AccountId, device: Option<DeviceId>, resource: Option<&str>) {
    for registration in list(store, account) {
        let is_meant = match registration.device {
            Some(own) => device == Some(own),
            None => resource == Some(&registration.resource),
        };
        if is_meant {
            remove(store, account, &registration.service, &registration.node);
        }
    }
}

/// Where the device of a registration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Connected, as far as anybody knows.
    Here,
    /// Its session waits for it, or is connected and has been silent for [`limits::PUSH_ACK_MS`].
    Silent(SessionId),
    /// It has no session.
    Gone,
}

/// Where the device of a registration of this account is.
pub fn whereabouts(sessions: &Sessions, account: &str, registration: &Registration, now: Time) -> Whereabouts {
    let mut found = Whereabouts::Gone;
    for (id, session) in sessions.of(account).filter(|(_, session)| registration.is_of(session)) {
        if session.stream.is_some() && !is_silent(session, now) {
            return Whereabouts::Here;
        }
        found = Whereabouts::Silent(id);
    }
    found
}

/// Whether a client has owed an acknowledgement for so long that its device is woken.
fn is_silent(session: &Session, now: Time) -> bool {
    let ask = session.sm.as_ref().map(|sm| sm.ask);
    matches!(ask, Some(Ask::Out(since)) if now >= Time(since).plus_ms(limits::PUSH_ACK_MS))
}
