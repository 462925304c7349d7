//! Which changes the lists of a room went through, and whom each was about.
//!
//! Source: XEP-0463 v0.2.0. A change is a row, named by a message's number, so that no version comes twice, not even in another
//! room of the same address. What somebody became is not in it: what they are now is all that anybody is told. Invariant:
//! there are no more than [`limits::ROOM_VERSIONS_MAX`] rows.

use std::collections::BTreeSet;

use super::super::{
    ids::{AccountId, MessageId},
    keys,
    store::Store,
};
use crate::limits;

/// How far the lists of a room have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The number of the last change; 0: there was none.
    pub latest: MessageId,
    /// The number of the first one that is remembered, or one below it.
    oldest: MessageId,
    /// Changes that are remembered.
    kept: usize,
}

fn key(room: AccountId, version: MessageId) -> Vec<u8> {
    keys::row(keys::ROOM_VERSION, room, &version.0.to_be_bytes())
}

fn read(key: &[u8]) -> MessageId {
    MessageId(key.last_chunk::<8>().map_or(0, |number| u64::from_be_bytes(*number)))
}

impl Versions {
    /// Of a room that is stored.
    pub fn of(store: &Store<'_>, room: AccountId) -> Versions {
        let kept = store.tally(&keys::owned(keys::ROOM_VERSION, room), limits::ROOM_VERSIONS_MAX).rows;
        let last = store.scan(&key(room, MessageId(0)), &key(room, MessageId(u64::MAX)), true, 1).pop();
        Versions { latest: last.map_or(MessageId(0), |(key, _)| read(&key)), oldest: MessageId(0), kept }
    }

    /// The lists have changed for this address; `at` is higher than every version before.
    pub fn note(&mut self, store: &mut Store<'_>, room: AccountId, at: MessageId, who: &str) {
        store.put_new(&key(room, at), who.as_bytes());
        self.latest = at;
        if self.kept < limits::ROOM_VERSIONS_MAX {
            self.kept += 1;
            return;
        }
        // From where the last one was removed: what is below need not be looked at again.
        let (from, to) = (key(room, self.oldest), key(room, at));
        if let Some((oldest, _)) = store.scan(&from, &to, false, 1).pop() {
            self.oldest = read(&oldest);
            store.remove(&oldest);
        }
    }

    /// Whom the changes behind a version were about; `None`: the version is not known, or no longer.
    pub fn since(&self, store: &Store<'_>, room: AccountId, since: MessageId) -> Option<BTreeSet<String>> {
        // Before the first change there was one, too, as long as none is forgotten.
        let is_first = since.0 == 0 && self.kept < limits::ROOM_VERSIONS_MAX;
        if !is_first && !store.has(&key(room, since)) {
            return None;
        }
        let from = key(room, MessageId(since.0.saturating_add(1)));
        let rows = store.scan(&from, &key(room, MessageId(u64::MAX)), false, limits::ROOM_VERSIONS_MAX);
        Some(rows.into_iter().filter_map(|(_, who)| String::from_utf8(who).ok()).collect())
    }
}

/// Nothing of it is left.
pub(super) fn forget(store: &mut Store<'_>, room: AccountId) {
    for (key, _) in store.prefix(&keys::owned(keys::ROOM_VERSION, room), limits::ROOM_VERSIONS_MAX) {
        store.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{overlay::Overlay, store::MemoryView};

    #[test]
    fn changes_are_remembered_up_to_their_bound() {
        let (mut overlay, view) = (Overlay::default(), MemoryView::default());
        let mut store = Store { overlay: &mut overlay, view: &view };
        let room = AccountId(9);
        let mut versions = Versions::of(&store, room);
        assert_eq!(versions.since(&store, room, MessageId(0)), Some(BTreeSet::new()));
        versions.note(&mut store, room, MessageId(10), "a@x");
        versions.note(&mut store, room, MessageId(20), "b@x");
        versions.note(&mut store, room, MessageId(30), "b@x");
        assert_eq!(versions, Versions::of(&store, room));
        let since = |versions: &Versions, store: &Store<'_>, at| {
            versions.since(store, room, MessageId(at)).map(|who| who.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(since(&versions, &store, 0).as_deref(), Some("a@x b@x"));
        assert_eq!(since(&versions, &store, 10).as_deref(), Some("b@x"));
        assert_eq!(since(&versions, &store, 30).as_deref(), Some(""));
        assert_eq!(since(&versions, &store, 15), None);
        for n in 0..limits::ROOM_VERSIONS_MAX as u64 {
            versions.note(&mut store, room, MessageId(100 + n), "c@x");
        }
        assert_eq!(versions.latest, Versions::of(&store, room).latest);
        assert_eq!((since(&versions, &store, 0), since(&versions, &store, 30)), (None, None));
        assert_eq!(since(&versions, &store, 100).as_deref(), Some("c@x"));
        assert_eq!(store.tally(&keys::owned(keys::ROOM_VERSION, room), 9_999).rows, limits::ROOM_VERSIONS_MAX);
        forget(&mut store, room);
        assert_eq!(Versions::of(&store, room).latest, MessageId(0));
    }
}
