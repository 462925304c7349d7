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
