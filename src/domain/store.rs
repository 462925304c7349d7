//! The store as the rest of the house sees it: ordered bytes, read at once, written by batch.
//!
//! Keys are ordered bytes, owner first, numbers big-endian, so that a prefix is a range.

use std::{
    collections::BTreeMap,
    ops::{Bound, ControlFlow},
};

use super::overlay::{Layer, Overlay};

/// Looks at one row of a scan: its key and value.
pub type Visitor<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Rows and their bytes, keys included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows.
    pub rows: usize,
    /// Bytes of their keys and values.
    pub bytes: usize,
}

/// What the medium had to take since the start: what shortens the life of a card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wear {
    /// Bytes handed to it, journal and database; the file system's own are not in it.
    pub bytes: u64,
    /// Syncs.
    pub syncs: u64,
}

/// Reads of the database as of the last flush. Every scan is bounded by its caller.
pub trait View {
    /// What was written; a database in memory wears nothing out.
    fn wear(&self) -> Wear {
        Wear::default()
    }

    /// The value under `key`.
    fn read(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Visits what stands under each of these keys, in their order, until the visitor breaks. They may come in any order,
    /// and cost least where they ascend, or descend if `back`.
    fn read_each(&self, keys: &[&[u8]], back: bool, visit: &mut dyn FnMut(Option<&[u8]>) -> ControlFlow<()>) {
        let _ = back;
        let _ = keys.iter().try_for_each(|key| visit(self.read(key).as_deref()));
    }

    /// Visits the rows with `from <= key < to` in ascending order (descending if `back`) until the visitor breaks.
    fn scan(&self, from: &[u8], to: &[u8], back: bool, visit: Visitor<'_>);
}

/// The database and, over it, all that was written since.
pub struct Store<'a> {
    /// Writes not yet in the database.
    pub overlay: &'a mut Overlay,
    /// The database.
    pub view: &'a dyn View,
}

impl Store<'_> {
    /// The value under `key`, with all writes of earlier turns and of this one.
    pub fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.overlay.read(self.view, key)
    }

    /// Visits what stands under each of these keys as [`View::read_each`] does, with all writes.
    pub fn read_each(&self, keys: &[&[u8]], back: bool, visit: &mut dyn FnMut(Option<&[u8]>) -> ControlFlow<()>) {
        self.overlay.read_each(self.view, keys, back, visit);
    }

    /// Whether there is a row under `key`.
    pub fn has(&self, key: &[u8]) -> bool {
        self.read(key).is_some()
    }

    /// At most `limit` rows with `from <= key < to`, ascending, or descending if `back`.
    pub fn scan(&self, from: &[u8], to: &[u8], back: bool, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.overlay.scan(self.view, from, to, back, limit)
    }

    /// How many rows begin with `prefix` and how many bytes they have, counted up to `limit` rows. Nothing is copied.
    pub fn tally(&self, prefix: &[u8], limit: usize) -> Tally {
        self.tally_by(prefix, limit, &<[u8]>::len)
    }

    /// The same where a value stands for more bytes than it has.
    pub fn tally_by(&self, prefix: &[u8], limit: usize, length: &dyn Fn(&[u8]) -> usize) -> Tally {
        let mut tally = Tally::default();
        self.overlay.visit(self.view, prefix, &after_prefix(prefix), false, &mut |key, value| {
            tally.rows += 1;
            tally.bytes += key.len() + length(value);
            if tally.rows < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        tally
    }

    /// Visits at most `limit` rows whose key starts with `prefix`, ascending. Nothing is copied.
    pub fn visit_prefix(&self, prefix: &[u8], limit: usize, visit: &mut dyn FnMut(&[u8], &[u8])) {
        let mut left = limit;
        self.overlay.visit(self.view, prefix, &after_prefix(prefix), false, &mut |key, value| {
            visit(key, value);
            left = left.saturating_sub(1);
            if left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    }

    /// What `read` makes of the last row with `from <= key < to`, where keys are never used below others that were there
    /// before: what was written lately is then found without looking into the database.
    pub fn newest<T>(&self, from: &[u8], to: &[u8], read: impl Fn(&[u8], &[u8]) -> T) -> Option<T> {
        let below = || self.scan(from, to, true, 1).pop().map(|(key, value)| read(&key, &value));
        self.overlay.newest(from, to, &read).or_else(below)
    }

    /// At most `limit` rows whose key starts with `prefix`, ascending.
    pub fn prefix(&self, prefix: &[u8], limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.scan(prefix, &after_prefix(prefix), false, limit)
    }

    /// Writes a row.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.overlay.put(key, value);
    }

    /// Writes a row whose key was never used before; removing it while it is still in the overlay then leaves no trace.
    pub fn put_new(&mut self, key: &[u8], value: &[u8]) {
        self.overlay.put_new(key, value);
    }

    /// Removes a row.
    pub fn remove(&mut self, key: &[u8]) {
        self.overlay.remove(key);
    }
}

/// The first key behind all keys that start with `prefix`.
pub fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![u8::MAX; prefix.len() + 1]
}

/// A database in memory, for tests and the simulator.
#[derive(Clone, Debug, Default)]
pub struct MemoryView {
    /// All rows.
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryView {
    /// Takes a layer in, as the database does when it is flushed.
    pub fn apply(&mut self, layer: &Layer) {
        for (key, value) in layer.rows() {
            match value {
                Some(value) => self.rows.insert(key.to_vec(), value.to_vec()),
                None => self.rows.remove(key),
            };
        }
    }
}

impl View for MemoryView {
    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.rows.get(key).cloned()
    }

    fn scan(&self, from: &[u8], to: &[u8], back: bool, visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>) {
        let range = self.rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let mut each = |(key, value): (&Vec<u8>, &Vec<u8>)| visit(key, value);
        let _ = if back { range.rev().try_for_each(&mut each) } else { { range }.try_for_each(&mut each) };
    }
}
