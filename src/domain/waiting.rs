//! Messages that are on disk and not yet known to be received.
//!
//! A message for a local account gets a row before its sender is told that we have it, and loses the row when one of
//! the account's clients has received it. So after a crash exactly the rows that are left are delivered again, as
//! offline messages (XEP-0160) with the stanza-id they had: at least once, never zero times.
//!
//! A message that the account's archive holds is not stored a second time: its row says so, and the archive has the
//! text.

use std::collections::BTreeMap;

use super::{
    archive,
    ids::{AccountId, MessageId, Time},
    keys,
    store::{Store, Tally},
};
use crate::{limits, wire::stanza::Stored};

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number; also when it was taken in.
    pub id: MessageId,
    /// The message.
    pub stanza: Stored,
    /// The account's archive holds it under the same number.
    pub is_archived: bool,
}

/// What the first byte of a row means.
mod form {
    /// The whole stanza, with the place where children can be put in; no longer written.
    pub const PLAIN: u8 = 1;
    /// A stanza as archives have it.
    pub const WHOLE: u8 = 2;
    /// The length of the message, which the account's archive has.
    pub const ARCHIVED: u8 = 3;
}

/// Keeps a message that no archive of this account has.
pub fn keep(store: &mut Store<'_>, account: AccountId, id: MessageId, stanza: &Stored) {
    store.put_new(&keys::waiting(account, id), &whole(stanza));
}

/// Keeps a message of so many bytes that the account's archive has.
pub fn keep_archived(store: &mut Store<'_>, account: AccountId, id: MessageId, bytes: usize) {
    let mut value = [form::ARCHIVED; 5];
    value[1..].copy_from_slice(&(bytes as u32).to_be_bytes());
    store.put_new(&keys::waiting(account, id), &value);
}

/// Bytes of the message of a row.
fn length(value: &[u8]) -> usize {
    match value {
        [form::ARCHIVED, length @ ..] => length.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes) as usize),
        whole => whole.len(),
    }
}

/// Gives a message that waits a text of its own, since its archive is about to lose it.
pub(super) fn stand_alone(store: &mut Store<'_>, account: AccountId, id: MessageId) {
    let key = keys::waiting(account, id);
    if store.read(&key).is_some_and(|row| row.first() == Some(&form::ARCHIVED)) {
        match archive::text(store, id) {
            Some(stanza) => store.put(&key, &whole(&stanza)),
            None => store.remove(&key),
        }
    }
}

fn whole(stanza: &Stored) -> Vec<u8> {
    let mut value = archive::encode_text(stanza);
    value.insert(0, form::WHOLE);
    value
}

/// Every message was numbered below this; so numbers grow through a restart also if the clock goes back, as it does on
/// machines without a clock of their own.
pub fn ceiling(store: &Store<'_>) -> u64 {
    let row = store.read(&keys::meta("message-ceiling"));
    row.and_then(|row| Some(u64::from_be_bytes(row.try_into().ok()?))).unwrap_or(0)
}

/// Raises the [`ceiling`], along with the message that needs it.
pub fn raise_ceiling(store: &mut Store<'_>, ceiling: u64) {
    store.put(&keys::meta("message-ceiling"), &ceiling.to_be_bytes());
}

/// Forgets a message that was received. Goes to disk along with later writes.
pub fn forget(store: &mut Store<'_>, account: AccountId, id: MessageId) {
    store.overlay.forget(&keys::waiting(account, id));
}

/// Forgets all messages that wait, if the account's archive has every one of them; otherwise none (XEP-0386 §3.2).
pub fn leave_to_archive(store: &mut Store<'_>, account: AccountId) -> bool {
    // Bounded when they were written.
    let rows = store.prefix(&keys::owned(keys::WAITING, account), usize::MAX);
    let kept_from = archive::kept_from(store, account);
    let in_archive = |key: &[u8]| {
        let id = key.get(5..).and_then(|id| Some(MessageId(u64::from_be_bytes(id.try_into().ok()?))));
        id.is_some_and(|id| id.0 >= kept_from && archive::entry(store, account, id).is_some())
    };
    let all = rows.iter().all(|(key, value)| value.first() == Some(&form::ARCHIVED) && in_archive(key));
    if all {
        for (key, _) in &rows {
            store.overlay.forget(key);
        }
    }
    all
}

/// Whether the message still waits.
pub fn waits(store: &Store<'_>, account: AccountId, id: MessageId) -> bool {
    store.has(&keys::waiting(account, id))
}

/// One message.
pub fn message(store: &Store<'_>, account: AccountId, id: MessageId) -> Option<Waiting> {
    decode(store, id, &store.read(&keys::waiting(account, id))?)
}

/// At most `limit` messages numbered `from` or later, in order.
pub fn page(store: &Store<'_>, account: AccountId, from: MessageId, limit: usize) -> Vec<Waiting> {
    let end = super::store::after_prefix(&keys::owned(keys::WAITING, account));
    store
        .scan(&keys::waiting(account, from), &end, false, limit)
        .into_iter()
        .filter_map(|(key, value)| {
            let id = key.get(5..)?.try_into().ok().map(u64::from_be_bytes)?;
            decode(store, MessageId(id), &value)
        })
        .collect()
}

/// How many wait, counted up to `limit`.
pub fn count(store: &Store<'_>, account: AccountId, limit: usize) -> usize {
    store.tally(&keys::owned(keys::WAITING, account), limit).rows
}

/// What waits for accounts that do not fetch it, so that nobody has to count it again for every message.
///
/// Messages that were received since are still in a number here: it is counted anew when it says that there is no room,
/// once in [`RECOUNT_MS`] at most.
#[derive(Debug, Default)]
pub struct Tallies(BTreeMap<AccountId, (Tally, Time)>);

/// Milliseconds between two counts of what waits for an account.
const RECOUNT_MS: u64 = 1_000;
/// Accounts of which the count is remembered.
const TALLIES_MAX: usize = 256;

impl Tallies {
    /// Whether there is room for one more message of so many bytes; `rows_max`: messages that may wait.
    pub fn admits(&mut self, store: &Store<'_>, account: AccountId, bytes: usize, rows_max: usize, now: Time) -> bool {
        let fits = |tally: Tally| tally.rows < rows_max && tally.bytes + bytes <= limits::OFFLINE_BYTES_MAX;
        match self.0.get(&account) {
            Some((tally, _)) if fits(*tally) => return true,
            Some((_, counted)) if now < counted.plus_ms(RECOUNT_MS) => return false,
            _ => {}
        }
        let tally = store.tally_by(&keys::owned(keys::WAITING, account), rows_max.max(1), &length);
        if self.0.len() >= TALLIES_MAX {
            self.0.pop_first();
        }
        self.0.insert(account, (tally, now));
        fits(tally)
    }

    /// One more message of so many bytes waits.
    pub fn add(&mut self, account: AccountId, bytes: usize) {
        if let Some((tally, _)) = self.0.get_mut(&account) {
            tally.rows += 1;
            tally.bytes += bytes;
        }
    }

    /// The account fetches what waits.
    pub fn forget(&mut self, account: AccountId) {
        self.0.remove(&account);
    }
}

fn decode(store: &Store<'_>, id: MessageId, value: &[u8]) -> Option<Waiting> {
    let (form, rest) = value.split_first()?;
    let stanza = match *form {
        form::ARCHIVED => archive::text(store, id)?,
        form::WHOLE => archive::decode_text(rest)?,
        form::PLAIN => {
            let (insert_at, bytes) = rest.split_first_chunk::<4>()?;
            let rest = bytes.strip_prefix(b"<message")?.to_vec();
            let insert_at = (u32::from_be_bytes(*insert_at) as usize).checked_sub(b"<message".len())?;
            Stored { insert_at, rest, ..Stored::default() }
        }
        _ => return None,
    };
    (stanza.insert_at <= stanza.rest.len()).then_some(Waiting { id, stanza, is_archived: *form == form::ARCHIVED })
}
