//! Rooms as facts: what a room is set up to be, who is what to it, what was last said of its subject.
//!
//! Source: XEP-0045 v1.35.x. A room has a number like an account's, so its archive is one like an account's. Who is in a
//! room now is no fact but state of the service: after a restart nobody is (XEP-0410 tells clients).
//!
//! Invariants: a room that is stored has an owner; an affiliation of none without a reserved nickname has no row.

mod hats;
pub mod senders;
mod settings;
mod tokens;
mod versions;

use super::{
    accounts,
    ids::AccountId,
    keys,
    store::{Store, after_prefix},
};
use crate::{limits, wire::jid::Jid};

pub use hats::{Hat, Hats, hats, put_hat, put_worn};
pub use settings::{Settings, Whisper};
pub use tokens::{Token, put_token, token, tokens};
pub use versions::Versions;

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)* }
        impl $name {
            /// All, lowest first.
            pub const ALL: &[$name] = &[$($name::$variant,)*];

            /// As it stands in attributes.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// Reads [`Self::as_str`].
            pub fn parse(text: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|word| word.as_str() == text)
            }
        }
    };
}

words! {
    /// What somebody is to a room for good, XEP-0045 §5.2; lowest first.
    Affiliation {
        /// May not enter.
        Outcast => "outcast",
        /// Nothing special.
        None => "none",
        /// May enter a members-only room.
        Member => "member",
        /// May change the list of members and bans.
        Admin => "admin",
        /// May do everything.
        Owner => "owner",
    }
}

words! {
    /// What an occupant may do while in the room, XEP-0045 §5.1; lowest first.
    Role {
        /// Is not in the room.
        None => "none",
        /// May listen.
        Visitor => "visitor",
        /// May speak.
        Participant => "participant",
        /// May take others' voice, and kick.
        Moderator => "moderator",
    }
}

/// A room as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number, which its archive has too.
    pub id: AccountId,
    /// The bare address of who made it, on whose account it counts.
    pub creator: String,
    /// How it is set up.
    pub settings: Settings,
    /// Its subject.
    pub subject: Subject,
}

/// What a room's subject is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The nickname of who set it; empty if nobody did.
    pub nick: String,
    /// When, microseconds since 1970; 0: never.
    pub at_us: u64,
    /// The `<subject/>` elements as they were sent, and who sent them (XEP-0421); empty: none was set.
    pub elements: Vec<u8>,
}

/// What somebody is to a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The affiliation.
    pub affiliation: Option<Affiliation>,
    /// The nickname that is theirs.
    pub nick: Option<String>,
    /// Why they are what they are, in somebody's words.
    pub reason: Option<String>,
}

impl Standing {
    /// The affiliation; none if nothing is known.
    pub fn affiliation(&self) -> Affiliation {
        self.affiliation.unwrap_or(Affiliation::None)
    }
}

const VERSION: u8 = 1;

fn key(jid: &Jid) -> Vec<u8> {
    [&[keys::ROOM], jid.domain().as_bytes(), &[0], jid.local().unwrap_or_default().as_bytes()].concat()
}

/// The room of this bare address.
pub fn find(store: &Store<'_>, jid: &Jid) -> Option<Record> {
    decode(&store.read(&key(jid))?)
}

/// Writes a room down, or what changed of it.
pub fn put(store: &mut Store<'_>, jid: &Jid, record: &Record) {
    let mut out = vec![VERSION];
    out.extend_from_slice(&record.id.0.to_be_bytes());
    settings::text(&record.creator, &mut out);
    settings::text(&record.subject.nick, &mut out);
    out.extend_from_slice(&record.subject.at_us.to_be_bytes());
    out.extend_from_slice(&(record.subject.elements.len() as u32).to_be_bytes());
    out.extend_from_slice(&record.subject.elements);
    record.settings.encode(&mut out);
    store.put(&key(jid), &out);
}

fn decode(value: &[u8]) -> Option<Record> {
    let (&[VERSION], rest) = value.split_first_chunk::<1>()? else { return None };
    let (id, mut rest) = rest.split_first_chunk::<4>()?;
    let creator = settings::read_text(&mut rest)?;
    let nick = settings::read_text(&mut rest)?;
    let (at_us, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first_chunk::<4>()?;
    let (elements, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    let subject = Subject { nick, at_us: u64::from_be_bytes(*at_us), elements: elements.to_vec() };
    Some(Record { id: AccountId(u32::from_be_bytes(*id)), creator, settings: Settings::decode(rest)?, subject })
}

/// A number for a new room, which counts on the account of who makes it; `None`: all numbers are used.
pub fn make(store: &mut Store<'_>, jid: &Jid, creator: &Jid) -> Option<AccountId> {
    let id = accounts::take_number(store)?;
    // An archive stays as long as the address of its owner is known.
    store.put(&keys::owned(keys::ADDRESS, id), jid.as_str().as_bytes());
    if let Some(account) = accounts::find(store, creator) {
        store.put(&keys::row(keys::ROOM_MADE, account.id, jid.as_str().as_bytes()), &[]);
    }
    Some(id)
}

/// How many rooms an account has made, counted up to `limit`.
pub fn count(store: &Store<'_>, account: AccountId, limit: usize) -> usize {
    store.tally(&keys::owned(keys::ROOM_MADE, account), limit).rows
}

/// Removes a room and who is what to it. Its archive goes otherwise.
pub fn remove(store: &mut Store<'_>, jid: &Jid, id: AccountId, creator: &str) {
    store.remove(&key(jid));
    store.remove(&keys::owned(keys::ADDRESS, id));
    put_vcard(store, id, &[], &[]);
    hats::forget(store, id);
    versions::forget(store, id);
    tokens::forget(store, id);
    let creator = Jid::parse(creator).ok().and_then(|creator| accounts::find(store, &creator));
    if let Some(account) = creator {
        store.remove(&keys::row(keys::ROOM_MADE, account.id, jid.as_str().as_bytes()));
    }
    for (who, _) in standings(store, id) {
        store.remove(&keys::row(keys::ROOM_STANDING, id, who.as_bytes()));
    }
}

/// The vCard of a room, serialised.
pub fn vcard(store: &Store<'_>, id: AccountId) -> Option<Vec<u8>> {
    store.read(&keys::owned(keys::VCARD, id))
}

/// SHA-1 of the pictures in it, one after the other.
pub fn pictures(store: &Store<'_>, id: AccountId) -> Option<Vec<u8>> {
    store.read(&keys::photo(id))
}

/// Writes down a room's vCard, none if it is empty, and the hashes of its pictures.
pub fn put_vcard(store: &mut Store<'_>, id: AccountId, vcard: &[u8], pictures: &[u8]) {
    let rows = [(keys::owned(keys::VCARD, id), vcard), (keys::photo(id), pictures)];
    for (key, value) in rows {
        match value.is_empty() {
            false => store.put(&key, value),
            true if store.has(&key) => store.remove(&key),
            true => {}
        }
    }
}

/// Rooms of a host that are stored, by name, from behind `after` on; at most `limit`.
pub fn list(store: &Store<'_>, host: &str, after: &str, limit: usize) -> Vec<(Jid, Record)> {
    let prefix = [&[keys::ROOM], host.as_bytes(), &[0]].concat();
    let mut from = [prefix.as_slice(), after.as_bytes()].concat();
    if !after.is_empty() {
        from.push(0);
    }
    let rows = store.scan(&from, &after_prefix(&prefix), false, limit);
    let room = |(key, value): (Vec<u8>, Vec<u8>)| {
        let local = std::str::from_utf8(key.get(prefix.len()..)?).ok()?;
        Some((Jid::from_parts(Some(local), host, None).ok()?, decode(&value)?))
    };
    rows.into_iter().filter_map(room).collect()
}

/// Everybody who is something to a room, by address; bare ones, and domains (XEP-0045 §9.1).
pub fn standings(store: &Store<'_>, id: AccountId) -> Vec<(String, Standing)> {
    let prefix = keys::owned(keys::ROOM_STANDING, id);
    let rows = store.prefix(&prefix, limits::ROOM_AFFILIATIONS_MAX);
    let one = |(key, value): (Vec<u8>, Vec<u8>)| {
        let who = std::str::from_utf8(key.get(prefix.len()..)?).ok()?;
        Some((who.to_owned(), read_standing(&value)?))
    };
    rows.into_iter().filter_map(one).collect()
}

/// Writes down what somebody is to a room; an affiliation of none without a nickname leaves no row.
pub fn put_standing(store: &mut Store<'_>, id: AccountId, who: &str, standing: &Standing) {
    let key = keys::row(keys::ROOM_STANDING, id, who.as_bytes());
    if standing.affiliation() == Affiliation::None && standing.nick.is_none() {
        return store.remove(&key);
    }
    let mut out = vec![VERSION, standing.affiliation() as u8];
    settings::text(standing.nick.as_deref().unwrap_or_default(), &mut out);
    settings::text(standing.reason.as_deref().unwrap_or_default(), &mut out);
    store.put(&key, &out);
}

/// Whether somebody is something to a room.
pub fn is_listed(store: &Store<'_>, id: AccountId, who: &str) -> bool {
    store.has(&keys::row(keys::ROOM_STANDING, id, who.as_bytes()))
}

fn read_standing(value: &[u8]) -> Option<Standing> {
    let (&[VERSION, affiliation], mut rest) = value.split_first_chunk::<2>()? else { return None };
    let nick = Some(settings::read_text(&mut rest)?).filter(|nick| !nick.is_empty());
    let reason = Some(settings::read_text(&mut rest)?).filter(|reason| !reason.is_empty());
    Some(Standing { affiliation: Affiliation::ALL.get(usize::from(affiliation)).copied(), nick, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{overlay::Overlay, store::MemoryView};

    #[test]
    fn a_room_is_read_as_it_was_written() {
        let (mut overlay, view) = (Overlay::default(), MemoryView::default());
        let mut store = Store { overlay: &mut overlay, view: &view };
        let jid = Jid::parse("coven@rooms.example").unwrap();
        let settings = Settings {
            name: "Coven".into(),
            password: Some("cauldronburn".into()),
            is_members_only: true,
            occupants_max: 30,
            whisper: Whisper::Moderators,
            slow_s: 20,
            ..Settings::default()
        };
        let subject = Subject { nick: "thirdwitch".into(), at_us: 7, elements: b"<subject>x</subject>".to_vec() };
        let record = Record { id: AccountId(9), creator: "crone@shakespeare.lit".into(), settings, subject };
        put(&mut store, &jid, &record);
        assert_eq!(find(&store, &jid), Some(record.clone()));
        assert_eq!(list(&store, "rooms.example", "", 5), [(jid.clone(), record.clone())]);
        assert_eq!(list(&store, "rooms.example", "coven", 5), []);
        let hag = Standing {
            affiliation: Some(Affiliation::Outcast),
            nick: Some("hag".into()),
            reason: Some("Treason".into()),
        };
        put_standing(&mut store, record.id, "hag66@shakespeare.lit", &hag);
        assert_eq!(standings(&store, record.id), [("hag66@shakespeare.lit".into(), hag)]);
        remove(&mut store, &jid, record.id, &record.creator);
        assert_eq!((find(&store, &jid), standings(&store, record.id).len()), (None, 0));
    }
}
