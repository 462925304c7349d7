//! Block lists as facts, XEP-0191. The service that changes them stands in `services/blocking.rs`.

use super::{ids::AccountId, keys, store::Store};
use crate::wire::jid::Jid;

/// Whether the account's list holds `jid` in one of the forms of XEP-0191 §5: full, bare, domain with resource,
/// domain.
pub fn blocks(store: &Store<'_>, account: AccountId, jid: &Jid) -> bool {
    let listed = |text: &str| store.has(&keys::row(keys::BLOCKED, account, text.as_bytes()));
    listed(jid.as_str())
        || (!jid.is_bare() && listed(jid.bare_str()))
        || (jid.local().is_some() && listed(jid.domain()))
        || (jid.local().is_some()
            && jid.resource().is_some_and(|resource| listed(&format!("{}/{resource}", jid.domain()))))
}

/// Whether the list holds anything.
pub fn any(store: &Store<'_>, account: AccountId) -> bool {
    !store.prefix(&keys::owned(keys::BLOCKED, account), 1).is_empty()
}

/// The list in order, bounded by `limits::BLOCKED_MAX` when it was written.
pub fn list(store: &Store<'_>, account: AccountId) -> Vec<String> {
    let prefix = keys::owned(keys::BLOCKED, account);
    let rows = store.prefix(&prefix, crate::limits::BLOCKED_MAX);
    rows.into_iter().filter_map(|(key, _)| String::from_utf8(key.get(prefix.len()..)?.to_vec()).ok()).collect()
}

/// Puts an address on the list; `false` if it stood there before.
pub fn add(store: &mut Store<'_>, account: AccountId, jid: &Jid) -> bool {
    let key = keys::row(keys::BLOCKED, account, jid.as_str().as_bytes());
    let is_new = !store.has(&key);
    if is_new {
        store.put(&key, &[1]);
    }
    is_new
}

/// Takes an address off the list; `false` if it did not stand there.
pub fn remove(store: &mut Store<'_>, account: AccountId, jid: &str) -> bool {
    let key = keys::row(keys::BLOCKED, account, jid.as_bytes());
    let was_there = store.has(&key);
    if was_there {
        store.remove(&key);
    }
    was_there
}
