//! Which installations of which software have signed in to an account, XEP-0494; each by the number that it gave itself
//! (XEP-0388 §2.4, `<user-agent id=''/>`).
//!
//! Invariant: an account has at most [`limits::DEVICES_PER_ACCOUNT_MAX`] devices, and a device's short name is random:
//! it tells nothing of the number behind it, and may be seen by contacts as a part of its resource (XEP-0386 §3.2).

use super::{ids::AccountId, keys, store::Store};
use crate::{limits, proto::fast::Tokens};

/// The number that an installation gave itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId(pub [u8; 16]);

/// Bytes of a device's short name, as random as a name has to be that nobody else may hit upon.
pub const NAME_BYTES: usize = 8;

/// A device as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its short name, random.
    pub name: [u8; NAME_BYTES],
    /// It has shown the account's password.
    pub knows_password: bool,
    /// Seconds since 1970.
    pub first_s: u64,
    /// Seconds since 1970; no more than [`limits::DEVICE_SEEN_S`] late.
    pub last_s: u64,
    /// Name of the software, as it says; may be empty.
    pub software: String,
    /// Name of the device, as it says; may be empty.
    pub device: String,
}

const VERSION: u8 = 1;

impl Device {
    /// Its short name as text, in hexadecimal: it is also typed.
    pub fn name(&self) -> String {
        format!("{:016x}", u64::from_be_bytes(self.name))
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.software.len() + self.device.len());
        out.push(VERSION);
        out.extend_from_slice(&self.name);
        out.push(u8::from(self.knows_password));
        out.extend_from_slice(&self.first_s.to_be_bytes());
        out.extend_from_slice(&self.last_s.to_be_bytes());
        out.push(self.software.len() as u8);
        out.extend_from_slice(self.software.as_bytes());
        out.extend_from_slice(self.device.as_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Device> {
        let (&[VERSION], rest) = bytes.split_first_chunk::<1>()? else { return None };
        let (name, rest) = rest.split_first_chunk::<NAME_BYTES>()?;
        let (flags, rest) = rest.split_first_chunk::<1>()?;
        let (first, rest) = rest.split_first_chunk::<8>()?;
        let (last, rest) = rest.split_first_chunk::<8>()?;
        let (software, rest) = rest.split_first()?;
        let (software, device) = rest.split_at_checked(usize::from(*software))?;
        Some(Device {
            name: *name,
            knows_password: flags[0] & 1 != 0,
            first_s: u64::from_be_bytes(*first),
            last_s: u64::from_be_bytes(*last),
            software: String::from_utf8(software.to_vec()).ok()?,
            device: String::from_utf8(device.to_vec()).ok()?,
        })
    }
}

/// A sign-in of a device.
#[derive(Debug)]
pub struct Seen<'a> {
    /// With the password, not with something that stands for it.
    pub by_password: bool,
    /// What it calls its software, at most [`limits::DEVICE_TEXT_BYTES_MAX`] bytes.
    pub software: &'a str,
    /// What it calls itself, likewise.
    pub device: &'a str,
    /// Seconds since 1970.
    pub now_s: u64,
}

fn key(account: AccountId, id: DeviceId) -> Vec<u8> {
    keys::row(keys::DEVICE, account, &id.0)
}

/// The device of this number.
pub fn find(store: &Store<'_>, account: AccountId, id: DeviceId) -> Option<Device> {
    Device::decode(&store.read(&key(account, id))?)
}

/// All devices of an account.
pub fn list(store: &Store<'_>, account: AccountId) -> Vec<(DeviceId, Device)> {
    let rows = store.prefix(&keys::owned(keys::DEVICE, account), limits::DEVICES_PER_ACCOUNT_MAX);
    rows.into_iter()
        .filter_map(|(key, value)| Some((DeviceId(key.get(5..)?.try_into().ok()?), Device::decode(&value)?)))
        .collect()
}

/// Remembers a sign-in. Written down only if there is news: a phone that comes back all day costs no writes. If there
/// are too many devices, the one that was away longest gives way, but none that `is_here`. `name` draws the short name of
/// one that is new.
pub fn seen(
    store: &mut Store<'_>,
    account: AccountId,
    id: DeviceId,
    seen: &Seen<'_>,
    name: impl FnOnce() -> [u8; NAME_BYTES],
    is_here: impl Fn(DeviceId) -> bool,
) -> Device {
    let known = find(store, account, id);
    if known.is_none() {
        make_room(store, account, is_here);
    }
    let old = known.as_ref();
    let said = |now: &str, before: Option<&String>| match now {
        "" => before.cloned().unwrap_or_default(),
        now => now.to_owned(),
    };
    let device = Device {
        name: old.map_or_else(name, |old| old.name),
        knows_password: seen.by_password || old.is_some_and(|old| old.knows_password),
        first_s: old.map_or(seen.now_s, |old| old.first_s),
        last_s: match old {
            Some(old) if seen.now_s.abs_diff(old.last_s) < limits::DEVICE_SEEN_S => old.last_s,
            _ => seen.now_s,
        },
        software: said(seen.software, old.map(|old| &old.software)),
        device: said(seen.device, old.map(|old| &old.device)),
    };
    if old != Some(&device) {
        store.put(&key(account, id), &device.encode());
    }
    device
}

fn make_room(store: &mut Store<'_>, account: AccountId, is_here: impl Fn(DeviceId) -> bool) {
    let devices = list(store, account);
    if devices.len() < limits::DEVICES_PER_ACCOUNT_MAX {
        return;
    }
    // Those that are here are fewer than devices may be, or as many: then the eldest of them.
    let eldest = devices.iter().min_by_key(|(id, device)| (is_here(*id), device.last_s)).map(|(id, _)| *id);
    if let Some(eldest) = eldest {
        forget(store, account, eldest);
    }
}

/// Forgets the devices that were last seen before this time, in seconds since 1970, but none that `is_here`.
pub fn fade(store: &mut Store<'_>, account: AccountId, before_s: u64, is_here: impl Fn(DeviceId) -> bool) {
    for (id, device) in list(store, account) {
        if device.last_s < before_s && !is_here(id) {
            forget(store, account, id);
        }
    }
}

/// Forgets a device, and all that stands for the password in its hands.
pub fn forget(store: &mut Store<'_>, account: AccountId, id: DeviceId) {
    store.remove(&key(account, id));
    store.remove(&tokens_key(account, id));
}

/// Writes a device down again that has shown the new password of its account.
pub fn keep(store: &mut Store<'_>, account: AccountId, id: DeviceId, device: Device) {
    store.put(&key(account, id), &Device { knows_password: true, ..device }.encode());
}

fn tokens_key(account: AccountId, id: DeviceId) -> Vec<u8> {
    keys::row(keys::TOKENS, account, &id.0)
}

/// The tokens of a device.
pub fn tokens(store: &Store<'_>, account: AccountId, id: DeviceId) -> Tokens {
    store.read(&tokens_key(account, id)).and_then(|bytes| Tokens::decode(&bytes)).unwrap_or_default()
}

/// Writes the tokens of a device.
pub fn put_tokens(store: &mut Store<'_>, account: AccountId, id: DeviceId, tokens: &Tokens) {
    match tokens.is_empty() {
        true => store.remove(&tokens_key(account, id)),
        false => store.put(&tokens_key(account, id), &tokens.encode()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{overlay::Overlay, store::MemoryView};

    const ACCOUNT: AccountId = AccountId(1);

    fn sign_in(now_s: u64) -> Seen<'static> {
        Seen { by_password: true, software: "Gajim", device: "laptop", now_s }
    }

    #[test]
    fn a_device_survives_its_encoding() {
        let device = Device {
            name: [1; NAME_BYTES],
            knows_password: true,
            first_s: 7,
            last_s: 9,
            software: "x".repeat(limits::DEVICE_TEXT_BYTES_MAX),
            device: "Kiva's Phone".into(),
        };
        assert_eq!(Device::decode(&device.encode()), Some(device));
    }

    #[test]
    fn a_device_that_comes_back_keeps_its_name_and_costs_no_write() {
        let (mut overlay, view) = (Overlay::default(), MemoryView::default());
        let mut store = Store { overlay: &mut overlay, view: &view };
        let id = DeviceId([1; 16]);
        let first = seen(&mut store, ACCOUNT, id, &sign_in(1_000_000), || [7; NAME_BYTES], |_| false);
        let puts = store.overlay.puts();
        let again = Seen { software: "", by_password: false, ..sign_in(1_000_001) };
        assert_eq!(seen(&mut store, ACCOUNT, id, &again, || [8; NAME_BYTES], |_| false), first);
        assert_eq!(store.overlay.puts(), puts);
        let later =
            seen(&mut store, ACCOUNT, id, &sign_in(1_000_000 + limits::DEVICE_SEEN_S), || [8; NAME_BYTES], |_| false);
        assert_eq!((later.first_s, later.last_s), (1_000_000, 1_000_000 + limits::DEVICE_SEEN_S));
    }

    #[test]
    fn devices_are_few_and_the_one_away_longest_gives_way() {
        let (mut overlay, view) = (Overlay::default(), MemoryView::default());
        let mut store = Store { overlay: &mut overlay, view: &view };
        let id = |at: usize| DeviceId((at as u128).to_be_bytes());
        for at in 0..=limits::DEVICES_PER_ACCOUNT_MAX {
            // The first one is here all the time.
            seen(
                &mut store,
                ACCOUNT,
                id(at),
                &sign_in(1_000_000 + at as u64),
                || [7; NAME_BYTES],
                |other| other == id(0),
            );
        }
        let left = list(&store, ACCOUNT);
        assert_eq!(left.len(), limits::DEVICES_PER_ACCOUNT_MAX);
        assert!(find(&store, ACCOUNT, id(0)).is_some() && find(&store, ACCOUNT, id(1)).is_none());
    }
}
