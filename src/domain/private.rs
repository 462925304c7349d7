//! Private elements of an account, XEP-0049, as facts: one row each, by namespace and name.
//!
//! Invariant: what an account keeps is bounded in rows and bytes ([`has_room`]).

use super::{ids::AccountId, keys, store::Store};
use crate::limits;

/// Key of the row that holds an element.
pub fn key(owner: AccountId, ns: &str, name: &str) -> Vec<u8> {
    keys::row(keys::PRIVATE, owner, &[ns.as_bytes(), &[0], name.as_bytes()].concat())
}

/// Whether all rows still fit when these, each with the bytes of its value, take the places of those that are there.
pub fn has_room(store: &Store<'_>, owner: AccountId, rows: &[(&[u8], usize)]) -> bool {
    let mut kept = store.tally(&keys::owned(keys::PRIVATE, owner), limits::PRIVATE_ROWS_MAX);
    let mut written = rows.to_vec();
    written.sort_unstable();
    // Of doubles, the largest counts.
    written.reverse();
    written.dedup_by_key(|(key, _)| *key);
    for (key, bytes) in written {
        let before = store.read(key).map(|row| row.len());
        kept.rows += usize::from(before.is_none());
        kept.bytes = (kept.bytes + key.len() + bytes).saturating_sub(before.map_or(0, |before| key.len() + before));
    }
    kept.rows <= limits::PRIVATE_ROWS_MAX && kept.bytes <= limits::PRIVATE_TOTAL_BYTES_MAX
}
