//! Archives: which account keeps which message, and the one text that all of them share.
//!
//! A message between two accounts of this server is one text (`m`) and a row in either archive (`x`), which a second row
//! (`y`) finds by contact. Rows of an archive count through: each knows how many messages and bytes the archive took in
//! up to it, so the size of any stretch is known from its ends, and nothing has to be rewritten.
//!
//! Source: XEP-0313 §3 and §6.1. Invariants: a text is there as long as one archive holds it; a message goes only from
//! the old end of an archive (§3.2), or from the new end in the turn in which it came; rows that wait
//! ([`super::waiting`]) and rely on the archive's text get one of their own before it goes.

use std::{
    cmp::Ordering,
    ops::{ControlFlow, Range},
};

use ring::digest;

use super::{
    ids::{AccountId, MessageId},
    keys,
    store::{Store, after_prefix},
    waiting,
};
use crate::{
    limits,
    wire::{
        jid::Jid,
        stanza::{Stanza, Stored},
    },
};

const VERSION: u8 = 1;

/// Whom a message was exchanged with, as the index knows it: hashes, so that keys are short and of one length. Two
/// contacts may share one; who reads a message compares the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    bare: [u8; 8],
    /// Of the resource; zero without one.
    resource: [u8; 4],
}

impl Contact {
    /// The index entry of an address.
    pub fn of(jid: &Jid) -> Contact {
        let digest = digest::digest(&digest::SHA256, jid.bare_str().as_bytes());
        let bare = *digest.as_ref().first_chunk::<8>().unwrap_or(&[0; 8]);
        // Sorts out most of the others of the same contact; nobody gains by making two alike.
        let resource = jid.resource().map_or(0, |resource| crc32fast::hash(resource.as_bytes()).max(1));
        Contact { bare, resource: resource.to_be_bytes() }
    }
}

/// A message in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which message; also when it was taken in.
    pub id: MessageId,
    /// With whom.
    contact: Contact,
    /// The other account here whose archive may hold it too; 0: none.
    other: AccountId,
    /// Bytes that it takes in the store, roughly.
    pub size: u64,
    /// Messages that the archive took in with this one.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Bytes of keys and indexes that a message costs an archive beside its text.
const OVERHEAD: u64 = 128;

impl Entry {
    fn encode(&self) -> [u8; 41] {
        let mut out = [VERSION; 41];
        out[1..9].copy_from_slice(&self.contact.bare);
        out[9..13].copy_from_slice(&self.contact.resource);
        out[13..17].copy_from_slice(&self.other.0.to_be_bytes());
        for (place, number) in out[17..].chunks_exact_mut(8).zip([self.size, self.count, self.bytes]) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        out
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Entry> {
        let id = MessageId(u64::from_be_bytes(key.get(5..)?.try_into().ok()?));
        let (&[VERSION], rest) = value.split_first_chunk::<1>()? else { return None };
        let (bare, rest) = rest.split_first_chunk::<8>()?;
        let (resource, rest) = rest.split_first_chunk::<4>()?;
        let (other, rest) = rest.split_first_chunk::<4>()?;
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<8>()?;
        let (bytes, _) = rest.split_first_chunk::<8>()?;
        Some(Entry {
            id,
            contact: Contact { bare: *bare, resource: *resource },
            other: AccountId(u32::from_be_bytes(*other)),
            size: u64::from_be_bytes(*size),
            count: u64::from_be_bytes(*count),
            bytes: u64::from_be_bytes(*bytes),
        })
    }
}

/// Writes the text of a message for `to`; once, however many archives hold it.
pub fn keep_text(store: &mut Store<'_>, id: MessageId, stanza: &Stanza, to: Option<&Jid>) {
    let (from, to) = (stanza.from.as_str(), to.map(Jid::as_str).unwrap_or_default());
    let mut text = Vec::with_capacity(128 + from.len() + to.len() + stanza.content_len());
    open_text(from, to, &mut text);
    let insert_at = stanza.write_rest(&mut text);
    close_text(insert_at, &mut text);
    store.put_new(&keys::text(id), &text);
}

/// Another text in the place of one that is there.
pub fn replace_text(store: &mut Store<'_>, id: MessageId, stanza: &Stored) {
    store.put(&keys::text(id), &encode_text(stanza));
}

/// The text of a message.
pub fn text(store: &Store<'_>, id: MessageId) -> Option<Stored> {
    decode_text(&store.read(&keys::text(id))?)
}

/// The texts of these messages, in their order, until the visitor breaks; those that are not there are passed over.
pub fn texts(
    store: &Store<'_>,
    ids: &[MessageId],
    back: bool,
    visit: &mut dyn FnMut(MessageId, Stored) -> ControlFlow<()>,
) {
    let keys: Vec<[u8; 9]> = ids.iter().map(|id| keys::text(*id)).collect();
    let keys: Vec<&[u8]> = keys.iter().map(<[u8; 9]>::as_slice).collect();
    let mut left = ids.iter();
    store.read_each(&keys, back, &mut |value| match (left.next(), value.and_then(decode_text)) {
        (Some(id), Some(text)) => visit(*id, text),
        _ => ControlFlow::Continue(()),
    });
}

/// The bytes of a stanza in the store, as [`decode_text`] reads them: lengths, addresses, the rest.
pub fn encode_text(stanza: &Stored) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + stanza.from.len() + stanza.to.len() + stanza.rest.len());
    open_text(&stanza.from, &stanza.to, &mut out);
    out.extend_from_slice(&stanza.rest);
    close_text(stanza.insert_at, &mut out);
    out
}

/// Where a text says at which place children can be put in.
const INSERT_AT: Range<usize> = 5..9;

/// What stands in front of the rest.
fn open_text(from: &str, to: &str, out: &mut Vec<u8>) {
    out.push(VERSION);
    // An address has at most 3,071 bytes (RFC 7622 §3.1).
    out.extend_from_slice(&(from.len() as u16).to_be_bytes());
    out.extend_from_slice(&(to.len() as u16).to_be_bytes());
    out.extend_from_slice(&[0; INSERT_AT.end - INSERT_AT.start]);
    out.extend_from_slice(from.as_bytes());
    out.extend_from_slice(to.as_bytes());
}

/// What is known once the rest is written.
fn close_text(insert_at: usize, out: &mut [u8]) {
    if let Some(place) = out.get_mut(INSERT_AT) {
        place.copy_from_slice(&(insert_at as u32).to_be_bytes());
    }
}

/// Reads [`encode_text`].
pub fn decode_text(value: &[u8]) -> Option<Stored> {
    let (&[VERSION], rest) = value.split_first_chunk::<1>()? else { return None };
    let (from, rest) = rest.split_first_chunk::<2>()?;
    let (to, rest) = rest.split_first_chunk::<2>()?;
    let (insert_at, rest) = rest.split_first_chunk::<4>()?;
    let (from, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*from)))?;
    let (to, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*to)))?;
    let insert_at = u32::from_be_bytes(*insert_at) as usize;
    let part = |part: &[u8]| String::from_utf8(part.to_vec()).ok();
    (insert_at <= rest.len()).then_some(Stored { from: part(from)?, to: part(to)?, rest: rest.to_vec(), insert_at })
}

/// Whether an account has said whose messages it wants kept (XEP-0441).
pub fn has_prefs(store: &Store<'_>, owner: AccountId) -> bool {
    store.has(&keys::owned(keys::ARCHIVE_PREFS, owner))
}

/// Puts a message into an archive. Its text has `text_bytes`; `other`: the account here that is the other party. Returns
/// how many messages the archive took in, this one included.
pub fn file(
    store: &mut Store<'_>,
    owner: AccountId,
    id: MessageId,
    contact: Contact,
    other: Option<AccountId>,
    text_bytes: usize,
) -> u64 {
    let size = text_bytes as u64 + OVERHEAD;
    let (count, bytes) = last(store, owner).map_or((0, 0), |last| (last.count, last.bytes));
    let other = other.unwrap_or(AccountId(0));
    let entry = Entry { id, contact, other, size, count: count + 1, bytes: bytes + size };
    store.put_new(&keys::archived(owner, id), &entry.encode());
    store.put_new(&keys::archived_with(owner, contact.bare, id), &contact.resource);
    entry.count
}

/// A message of an archive.
pub fn entry(store: &Store<'_>, owner: AccountId, id: MessageId) -> Option<Entry> {
    let key = keys::archived(owner, id);
    Entry::decode(&key, &store.read(&key)?)
}

/// The first message with `from <= id < to`; the last one if `back`.
pub fn end(store: &Store<'_>, owner: AccountId, ids: Range<u64>, back: bool) -> Option<Entry> {
    let bounds = [ids.start, ids.end].map(|id| keys::archived(owner, MessageId(id)));
    let (key, value) = store.scan(&bounds[0], &bounds[1], back, 1).pop()?;
    Entry::decode(&key, &value)
}

/// The oldest message of an archive.
pub fn first(store: &Store<'_>, owner: AccountId) -> Option<Entry> {
    end(store, owner, 0..u64::MAX, false)
}

/// The newest message of an archive.
pub fn last(store: &Store<'_>, owner: AccountId) -> Option<Entry> {
    let bounds = [0, u64::MAX].map(|id| keys::archived(owner, MessageId(id)));
    store.newest(&bounds[0], &bounds[1], Entry::decode)?
}

/// The first message number that the owner of an archive has not wanted forgotten.
pub fn kept_from(store: &Store<'_>, owner: AccountId) -> u64 {
    let row = store.read(&forgotten(owner)).and_then(|row| row.try_into().ok());
    row.map_or(0, u64::from_be_bytes)
}

/// Forgets all messages that an archive has up to now: [`kept_from`] says so at once, and they may go from its old end.
/// How many they are.
pub fn forget(store: &mut Store<'_>, owner: AccountId) -> u64 {
    let Some(last) = last(store, owner) else { return 0 };
    let first = end(store, owner, kept_from(store, owner)..u64::MAX, false);
    store.put(&forgotten(owner), &(last.id.0 + 1).to_be_bytes());
    first.map_or(0, |first| last.count.saturating_sub(first.count) + 1)
}

fn forgotten(owner: AccountId) -> Vec<u8> {
    keys::row(keys::ARCHIVE_PREFS, owner, b"f")
}

/// The message behind so many others of those with `from <= id < to`, of which the archive counts all through.
pub fn nth(store: &Store<'_>, owner: AccountId, ids: Range<u64>, behind: u64) -> Option<MessageId> {
    let (first, last) = (end(store, owner, ids.clone(), false)?, end(store, owner, ids, true)?);
    let wanted = first.count.checked_add(behind).filter(|wanted| *wanted <= last.count)?;
    let (mut low, mut high) = (first.id.0, last.id.0);
    // Halved each time: as many looks as a number has bits.
    while low <= high {
        let middle = low + (high - low) / 2;
        let entry = end(store, owner, middle..high + 1, false);
        match entry.map(|entry| (entry.count.cmp(&wanted), entry.id)) {
            Some((Ordering::Equal, id)) => return Some(id),
            Some((Ordering::Less, id)) => low = id.0 + 1,
            _ => high = middle.checked_sub(1)?,
        }
    }
    None
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// In the order of the search.
    pub found: Vec<MessageId>,
    /// It ended at [`limits::ARCHIVE_LOOK_MAX`]: there may be more.
    pub is_cut: bool,
}

/// Ids of at most `limit` messages with `from <= id < to`, ascending, or descending if `back`; with this contact only,
/// and, if the flag beside it says so, with this resource of theirs. Those of other resources are passed over.
pub fn ids(
    store: &Store<'_>,
    owner: AccountId,
    contact: Option<(Contact, bool)>,
    ids: Range<u64>,
    back: bool,
    limit: usize,
) -> Ids {
    let id_of = |key: &[u8]| Some(MessageId(u64::from_be_bytes(*key.last_chunk::<8>()?)));
    let bound = |id| match contact {
        Some((contact, _)) => keys::archived_with(owner, contact.bare, MessageId(id)).to_vec(),
        None => keys::archived(owner, MessageId(id)).to_vec(),
    };
    let is_wanted = |resource: &[u8]| contact.is_none_or(|(contact, exact)| !exact || resource == contact.resource);
    let portion = if contact.is_some_and(|(_, exact)| exact) { limit.max(PORTION) } else { limit };
    let (mut range, mut looked_at, mut out) = (ids, 0, Ids::default());
    while out.found.len() < limit && range.start < range.end {
        if looked_at >= limits::ARCHIVE_LOOK_MAX {
            out.is_cut = true;
            break;
        }
        let rows = store.scan(&bound(range.start), &bound(range.end), back, portion);
        looked_at += rows.len();
        out.found.extend(rows.iter().filter(|(_, value)| is_wanted(value)).filter_map(|(key, _)| id_of(key)));
        match rows.last().and_then(|(key, _)| id_of(key)) {
            Some(last) if rows.len() == portion && back => range.end = last.0,
            Some(last) if rows.len() == portion => range.start = last.0 + 1,
            _ => break,
        }
    }
    out.found.truncate(limit);
    out
}

/// Rows read at a time in search of one resource.
const PORTION: usize = 256;

/// Takes back what was filed in this turn.
pub fn retract(store: &mut Store<'_>, owner: AccountId, id: MessageId) {
    if let Some(entry) = entry(store, owner, id) {
        remove(store, owner, &entry);
    }
}

/// Removes the oldest messages of an archive, at most `limit` of them, as long as `is_stale` says so of the oldest and
/// the newest that are there; `true`: there may be more of them.
pub fn forget_oldest(
    store: &mut Store<'_>,
    owner: AccountId,
    limit: usize,
    is_stale: impl Fn(&Entry, &Entry) -> bool,
) -> bool {
    let Some(newest) = last(store, owner) else { return false };
    let bounds = [0, u64::MAX].map(|id| keys::archived(owner, MessageId(id)));
    // Mostly there is nothing to do, and the oldest tells it.
    let oldest = store.scan(&bounds[0], &bounds[1], false, 1).pop();
    if oldest.and_then(|(key, value)| Entry::decode(&key, &value)).is_some_and(|oldest| !is_stale(&oldest, &newest)) {
        return false;
    }
    let oldest = store.scan(&bounds[0], &bounds[1], false, limit);
    let more = oldest.len() == limit;
    for (key, value) in oldest {
        match Entry::decode(&key, &value) {
            Some(entry) if is_stale(&entry, &newest) => remove(store, owner, &entry),
            Some(_) => return false,
            None => store.remove(&key),
        }
    }
    more
}

/// The account with the next archive behind that of `after`.
pub fn next_owner(store: &Store<'_>, after: AccountId) -> Option<AccountId> {
    let from = keys::archived(AccountId(after.0.checked_add(1)?), MessageId(0));
    let (key, _) = store.scan(&from, &after_prefix(&[keys::ARCHIVE]), false, 1).pop()?;
    Some(AccountId(u32::from_be_bytes(*key.get(1..)?.first_chunk::<4>()?)))
}

fn remove(store: &mut Store<'_>, owner: AccountId, entry: &Entry) {
    waiting::stand_alone(store, owner, entry.id);
    store.remove(&keys::archived(owner, entry.id));
    store.remove(&keys::archived_with(owner, entry.contact.bare, entry.id));
    if entry.other.0 == 0 || !store.has(&keys::archived(entry.other, entry.id)) {
        store.remove(&keys::text(entry.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{overlay::Overlay, store::MemoryView};

    #[test]
    fn a_search_for_one_resource_ends_and_says_so() {
        let (mut overlay, view) = (Overlay::default(), MemoryView::default());
        let mut store = Store { overlay: &mut overlay, view: &view };
        let owner = AccountId(7);
        let contact = |resource: &str| Contact::of(&Jid::parse(&format!("romeo@montague.lit/{resource}")).unwrap());
        let last = limits::ARCHIVE_LOOK_MAX as u64 + 2 * PORTION as u64;
        let (orchard, garden) = (contact("orchard"), contact("garden"));
        for id in 1..=last {
            file(&mut store, owner, MessageId(id), if id == last { garden } else { orchard }, None, 100);
        }
        let forward = ids(&store, owner, Some((garden, true)), 0..u64::MAX, false, 9);
        assert_eq!(forward, Ids { found: Vec::new(), is_cut: true });
        let back = ids(&store, owner, Some((garden, true)), 0..u64::MAX, true, 1);
        assert_eq!(back, Ids { found: vec![MessageId(last)], is_cut: false });
        let near = ids(&store, owner, Some((garden, true)), last - 5..u64::MAX, false, 9);
        assert_eq!(near, Ids { found: vec![MessageId(last)], is_cut: false });
        let all = ids(&store, owner, Some((garden, false)), 0..u64::MAX, false, 3);
        assert_eq!(all.found, [1, 2, 3].map(MessageId));
        assert_eq!(ids(&store, AccountId(8), None, 0..u64::MAX, false, 9).found, []);
    }
}
