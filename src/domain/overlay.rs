//! Writes that the journal holds, or will hold in a moment, and the database does not yet.
//!
//! Reads look through three layers: what was written lately, what is being moved into the database, the database.
//! Invariant: after a batch is refused, reads see exactly what they saw before its first write; nothing of it, and
//! nothing that was written on the strength of it, is left. The same holds for a turn that is discarded.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque, btree_map},
    ops::{Bound, ControlFlow},
    sync::Arc,
};

use few::Few;

use super::store::{View, Visitor};
use crate::limits;

mod few;

type Key = Few<{ few::KEY }>;
/// The values of an archive's rows stand in place, texts in a box.
type Value = Few<46>;

/// Bytes of room that a new batch begins with at most: an idle house keeps no more.
const ROOM_BYTES_MAX: usize = 16 * 1024;

/// A batch of writes that becomes durable as one; ids only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u64);

/// What a layer knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// `None`: removed.
    value: Option<Value>,
    /// Neither the database nor an older layer has ever had this key: its removal leaves no trace.
    fresh: bool,
}

impl Entry {
    fn value(&self) -> Option<&[u8]> {
        self.value.as_ref().map(Value::as_slice)
    }

    /// Bytes that it takes under this key.
    fn size(&self, key: &[u8]) -> usize {
        key.len() + self.value().map_or(0, <[u8]>::len)
    }
}

/// A key and what was written there; `None`: it was removed.
type Row<'a> = (&'a [u8], Option<&'a [u8]>);

/// A set of writes in the order of their keys. Frozen, it is shared with the store's thread, read only.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    rows: BTreeMap<Key, Entry>,
    bytes: usize,
    through: BatchId,
}

impl Layer {
    /// Every key that was written, with its value, or `None` if it was removed; in order.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.rows.iter().map(|(key, entry)| (key.as_slice(), entry.value()))
    }

    /// The last batch in it, once it is frozen; batches that were taken back do not count.
    pub fn through(&self) -> BatchId {
        self.through
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The keys of a range, descending if `back`.
    fn range<'a>(&'a self, from: &[u8], to: &[u8], back: bool) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let mut rows = self.rows.range((Bound::Included(Key::of(from)), Bound::Excluded(Key::of(to))));
        std::iter::from_fn(move || {
            let (key, entry) = if back { rows.next_back() } else { rows.next() }?;
            Some((key.as_slice(), entry.value()))
        })
    }

    /// The last row of a range.
    fn last(&self, from: &[u8], to: &[u8]) -> Option<Row<'_>> {
        // Nothing is looked up at the range's other end.
        let (key, entry) = self.rows.range((Bound::Unbounded, Bound::Excluded(Key::of(to)))).next_back()?;
        (key.as_slice() >= from).then(|| (key.as_slice(), entry.value()))
    }

    fn entry(&self, key: &[u8]) -> Option<&Entry> {
        // A long key is not copied into a box to be looked up.
        if Key::fits(key) { self.rows.get(&Key::of(key)) } else { self.rows.get(key) }
    }

    fn set(&mut self, key: Key, entry: Option<Entry>) {
        self.bytes += entry.as_ref().map_or(0, |entry| entry.size(key.as_slice()));
        match (self.rows.entry(key), entry) {
            (btree_map::Entry::Occupied(mut slot), Some(entry)) => {
                let before = slot.insert(entry);
                self.bytes -= before.size(slot.key().as_slice());
            }
            (btree_map::Entry::Occupied(slot), None) => {
                let (key, before) = slot.remove_entry();
                self.bytes -= before.size(key.as_slice());
            }
            (btree_map::Entry::Vacant(slot), Some(entry)) => {
                slot.insert(entry);
            }
            (btree_map::Entry::Vacant(_), None) => {}
        }
    }
}

/// One write as the journal records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// A key and its value.
    Put(&'a [u8], &'a [u8]),
    /// A key that goes.
    Remove(&'a [u8]),
}

impl<'a> Op<'a> {
    fn parts(&self) -> Row<'a> {
        match *self {
            Op::Put(key, value) => (key, Some(value)),
            Op::Remove(key) => (key, None),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let (key, value) = self.parts();
        write_row(u8::from(value.is_some()), key, value, out);
    }
}

/// A kind, the key, the value if there is one; before either its length (u32, little-endian). Keys and values are bounded
/// far below 4 GiB by the stanzas they come from.
fn write_row(kind: u8, key: &[u8], value: Option<&[u8]>, out: &mut Vec<u8>) {
    let value_length = (value.map_or(0, <[u8]>::len) as u32).to_le_bytes();
    let value_length = value.map_or(&[][..], |_| &value_length);
    // Most keys are short: everything in front of the value is put together first, and copied as one.
    let mut front = [kind; 1 + 4 + few::KEY + 4];
    front[1..5].copy_from_slice(&(key.len() as u32).to_le_bytes());
    if Key::fits(key) {
        let (at, end) = (5 + key.len(), 5 + key.len() + value_length.len());
        front[5..at].copy_from_slice(key);
        front[at..end].copy_from_slice(value_length);
        out.extend_from_slice(&front[..end]);
    } else {
        out.extend_from_slice(&front[..5]);
        out.extend_from_slice(key);
        out.extend_from_slice(value_length);
    }
    out.extend_from_slice(value.unwrap_or_default());
}

/// Takes a key or a value that [`write_row`] wrote from the front.
fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *bytes = rest;
    Some(part)
}

/// Reads the writes of a batch in order; `false`: the bytes are no batch, and what was read before that stands.
pub fn decode(mut bytes: &[u8], mut op: impl FnMut(Op<'_>)) -> bool {
    while let Some((kind, rest)) = bytes.split_first() {
        bytes = rest;
        let Some(key) = part(&mut bytes) else { return false };
        match kind {
            0 => op(Op::Remove(key)),
            1 => match part(&mut bytes) {
                Some(value) => op(Op::Put(key, value)),
                None => return false,
            },
            _ => return false,
        }
    }
    true
}

/// What keys were before the writes of a batch, in order; to be put back if the disk refuses. Mostly it does not, so this
/// is one run of bytes that costs little to write: for each write what was there, and the key.
#[derive(Debug, Default)]
struct Undo {
    before: Vec<u8>,
    /// Rows that somebody has received, which stays true whatever the disk says.
    received: Vec<Key>,
}

/// The layers knew nothing of the key, or of its removal; otherwise the key had a value.
const UNKNOWN: u8 = 0;
const REMOVED: u8 = 1;
const VALUE: u8 = 2;
/// Added to the others: [`Entry::fresh`].
const FRESH: u8 = 4;

impl Undo {
    fn note(&mut self, key: &[u8], before: Option<&Entry>) {
        let kind = before.map_or(UNKNOWN, |entry| {
            (if entry.value.is_some() { VALUE } else { REMOVED }) + (if entry.fresh { FRESH } else { 0 })
        });
        write_row(kind, key, before.and_then(Entry::value), &mut self.before);
    }

    /// What [`Undo::note`] was told since it was `from` bytes long, the last first.
    fn backwards(&self, from: usize) -> Vec<(Key, Option<Entry>)> {
        let (mut bytes, mut out) = (self.before.get(from..).unwrap_or_default(), Vec::new());
        while let Some((kind, rest)) = bytes.split_first() {
            bytes = rest;
            let Some(key) = part(&mut bytes) else { break };
            let value = if kind & VALUE == 0 { None } else { part(&mut bytes).map(Value::of) };
            let entry = Entry { value, fresh: kind & FRESH != 0 };
            out.push((Key::of(key), (*kind != UNKNOWN).then_some(entry)));
        }
        out.reverse();
        out
    }
}

/// How far the open batch had come when a turn began: lengths only, since what is needed to go back there is kept for the
/// disk's sake anyway.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    open: usize,
    before: usize,
    received: usize,
    urgent: bool,
}

/// All writes that the database does not have.
#[derive(Debug, Default)]
pub struct Overlay {
    active: Layer,
    frozen: Option<Arc<Layer>>,
    open: Vec<u8>,
    open_undo: Undo,
    open_urgent: bool,
    mark: Mark,
    in_flight: VecDeque<(BatchId, Undo)>,
    /// The last batch that was taken, and not taken back.
    last: BatchId,
    puts: u64,
    journal_bytes: usize,
}

impl Overlay {
    /// See [`super::store::Store::read`].
    pub fn read(&self, view: &dyn View, key: &[u8]) -> Option<Vec<u8>> {
        match self.entry(key) {
            Some(entry) => entry.value().map(<[u8]>::to_vec),
            None => view.read(key),
        }
    }

    /// See [`super::store::Store::read_each`].
    pub fn read_each(
        &self,
        view: &dyn View,
        keys: &[&[u8]],
        back: bool,
        visit: &mut dyn FnMut(Option<&[u8]>) -> ControlFlow<()>,
    ) {
        let below: Vec<&[u8]> = keys.iter().copied().filter(|key| self.entry(key).is_none()).collect();
        let mut left = keys.iter();
        // Those that are written here, up to the next one that is not.
        let mut written = |visit: &mut dyn FnMut(Option<&[u8]>) -> ControlFlow<()>| {
            left.by_ref().map_while(|key| self.entry(key)).try_for_each(|entry| visit(entry.value()))
        };
        let mut ended = false;
        view.read_each(&below, back, &mut |value| {
            let flow = match written(visit) {
                ControlFlow::Continue(()) => visit(value),
                flow => flow,
            };
            ended |= flow.is_break();
            flow
        });
        if !ended {
            let _ = written(visit);
        }
    }

    fn entry(&self, key: &[u8]) -> Option<&Entry> {
        let frozen = || self.frozen.as_ref().and_then(|layer| layer.entry(key));
        self.active.entry(key).or_else(frozen)
    }

    /// See [`super::store::Store::scan`].
    pub fn scan(&self, view: &dyn View, from: &[u8], to: &[u8], back: bool, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut out = Vec::new();
        if limit > 0 {
            self.visit(view, from, to, back, &mut |key, value| {
                out.push((key.to_vec(), value.to_vec()));
                if out.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
        }
        out
    }

    /// Visits rows as [`View::scan`] does, with all that was written.
    pub fn visit(&self, view: &dyn View, from: &[u8], to: &[u8], back: bool, visit: Visitor<'_>) {
        if from >= to {
            return;
        }
        let mut above = self.above(from, to, back).peekable();
        let before = |a: &[u8], b: &[u8]| if back { a > b } else { a < b };
        // A key that was removed has no row.
        let mut row =
            |key: &[u8], value: Option<&[u8]>| value.map_or(ControlFlow::Continue(()), |value| visit(key, value));
        let mut ended = false;
        view.scan(from, to, back, &mut |key, value| {
            while let Some((upper, written)) = above.next_if(|(upper, _)| before(upper, key)) {
                ended |= row(upper, written).is_break();
                if ended {
                    return ControlFlow::Break(());
                }
            }
            let written = above.next_if(|(upper, _)| *upper == key).map_or(Some(value), |(_, written)| written);
            ended |= row(key, written).is_break();
            if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        while !ended && let Some((upper, written)) = above.next() {
            ended |= row(upper, written).is_break();
        }
    }

    /// What `read` makes of the last row of a range, if that was written, not removed, since the last flush. Keys must
    /// never be used below others of the range that were there before.
    pub fn newest<T>(&self, from: &[u8], to: &[u8], read: impl FnOnce(&[u8], &[u8]) -> T) -> Option<T> {
        // What is in the newer layer comes behind what is in the older one, unless it removes that.
        let (key, value) = match self.active.last(from, to) {
            Some((_, None)) => self.above(from, to, true).next(),
            None => self.frozen.as_ref().and_then(|layer| layer.last(from, to)),
            written => written,
        }?;
        Some(read(key, value?))
    }

    /// The written keys of a range with what was written last, looked up as far as somebody asks: a short read of a
    /// long range costs no more than what it reads.
    fn above<'a>(&'a self, from: &[u8], to: &[u8], back: bool) -> impl Iterator<Item = Row<'a>> + use<'a> {
        let mut newer = self.active.range(from, to, back).peekable();
        let mut older =
            self.frozen.as_deref().map(|layer| layer.range(from, to, back)).into_iter().flatten().peekable();
        std::iter::from_fn(move || {
            let (Some((new, _)), Some((old, _))) = (newer.peek(), older.peek()) else {
                return newer.next().or_else(|| older.next());
            };
            match if back { old.cmp(new) } else { new.cmp(old) } {
                Ordering::Less => newer.next(),
                Ordering::Greater => older.next(),
                Ordering::Equal => {
                    older.next();
                    newer.next()
                }
            }
        })
    }

    /// See [`super::store::Store::put`].
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.write(Op::Put(key, value), false, true);
    }

    /// See [`super::store::Store::put_new`].
    pub fn put_new(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(self.entry(key).is_none(), "a new key is new");
        self.write(Op::Put(key, value), true, true);
    }

    /// See [`super::store::Store::remove`].
    pub fn remove(&mut self, key: &[u8]) {
        self.write(Op::Remove(key), false, true);
    }

    /// Removes a row that somebody has received: nobody waits for it, so it causes no commit of its own.
    pub fn forget(&mut self, key: &[u8]) {
        if self.entry(key).is_none_or(|entry| entry.value.is_some()) {
            self.write(Op::Remove(key), false, false);
        }
        self.open_undo.received.push(Key::of(key));
    }

    /// `is_new`: no layer has ever had the key, nor has the database.
    fn write(&mut self, op: Op<'_>, is_new: bool, is_urgent: bool) {
        op.write(&mut self.open);
        let (key, value) = op.parts();
        let value = value.map(Value::of);
        match self.active.rows.entry(Key::of(key)) {
            btree_map::Entry::Occupied(mut slot) => {
                let before = slot.get();
                self.open_undo.note(key, Some(before));
                self.active.bytes -= before.size(key);
                let fresh = before.fresh;
                // A key that nothing below knows needs no tombstone.
                if fresh && value.is_none() {
                    slot.remove();
                } else {
                    let entry = Entry { value, fresh };
                    self.active.bytes += entry.size(key);
                    slot.insert(entry);
                }
            }
            btree_map::Entry::Vacant(slot) => {
                let below = self.frozen.as_ref().filter(|_| !is_new).and_then(|layer| layer.entry(key));
                self.open_undo.note(key, below);
                let entry = Entry { value, fresh: is_new };
                self.active.bytes += entry.size(key);
                slot.insert(entry);
            }
        }
        if is_urgent {
            self.puts += 1;
            self.open_urgent = true;
        }
    }

    /// A turn begins: [`Overlay::rewind`] leads back to here.
    pub fn mark(&mut self) {
        self.mark = Mark {
            open: self.open.len(),
            before: self.open_undo.before.len(),
            received: self.open_undo.received.len(),
            urgent: self.open_urgent,
        };
    }

    /// What was written since the last mark is taken back, except that what was received stays forgotten. Batches that were
    /// closed since then stay: they are the committer's.
    pub fn rewind(&mut self) {
        let mark = self.mark;
        for (key, entry) in self.open_undo.backwards(mark.before) {
            self.active.set(key, entry);
        }
        self.open.truncate(mark.open);
        self.open_undo.before.truncate(mark.before);
        self.open_urgent = mark.urgent;
        let at = mark.received.min(self.open_undo.received.len());
        for key in self.open_undo.received.split_off(at) {
            self.forget(key.as_slice());
        }
    }

    /// Counts writes that somebody waits for, since the start.
    pub fn puts(&self) -> u64 {
        self.puts
    }

    /// Whether the open batch holds writes that somebody waits for.
    pub fn has_open(&self) -> bool {
        self.open_urgent
    }

    /// Whether the open batch holds only writes that nobody waits for.
    pub fn has_lazy(&self) -> bool {
        !self.open.is_empty() && !self.open_urgent
    }

    /// Bytes of the open batch.
    pub fn open_bytes(&self) -> usize {
        self.open.len()
    }

    /// Whether nothing is missing in the database.
    pub fn is_empty(&self) -> bool {
        self.active.is_empty() && self.frozen.is_none()
    }

    /// Whether it is time to move the layer into the database: for its size, or for the journal's.
    pub fn is_full(&self) -> bool {
        self.active.bytes >= limits::OVERLAY_BYTES_MAX || self.journal_bytes >= limits::JOURNAL_BYTES_DUE
    }

    /// Closes the open batch and gives its bytes for the journal; `None`: nothing was written.
    pub fn take_batch(&mut self, batch: BatchId) -> Option<Vec<u8>> {
        if self.open.is_empty() {
            return None;
        }
        (self.open_urgent, self.mark) = (false, Mark::default());
        self.journal_bytes += self.open.len();
        self.last = batch;
        // The next batch is likely to be as large as this one.
        let room = |bytes: &[u8]| Vec::with_capacity(bytes.len().min(ROOM_BYTES_MAX));
        let undo = Undo { before: room(&self.open_undo.before), received: Vec::new() };
        self.in_flight.push_back((batch, std::mem::replace(&mut self.open_undo, undo)));
        let next = room(&self.open);
        Some(std::mem::replace(&mut self.open, next))
    }

    /// All batches up to this one are durable.
    pub fn committed(&mut self, batch: BatchId) {
        while self.in_flight.front().is_some_and(|(id, _)| *id <= batch) {
            self.in_flight.pop_front();
        }
    }

    /// This batch and all later ones, the open one included, are taken back, except that what was received stays
    /// forgotten. A layer frozen behind it, which the store's thread then has refused as well, is thawed.
    pub fn refused(&mut self, batch: BatchId) {
        if self.in_flight.iter().all(|(id, _)| *id < batch) {
            return;
        }
        self.thaw();
        self.last = BatchId(batch.0.saturating_sub(1));
        let mut undo = std::mem::take(&mut self.open_undo);
        (self.open, self.open_urgent) = (Vec::new(), false);
        let mut received = Vec::new();
        loop {
            for (key, entry) in undo.backwards(0) {
                self.active.set(key, entry);
            }
            received.append(&mut undo.received);
            match self.in_flight.pop_back_if(|(id, _)| *id >= batch) {
                Some((_, next)) => undo = next,
                None => break,
            }
        }
        for key in received {
            self.forget(key.as_slice());
        }
        self.mark();
    }

    /// Puts the frozen layer back under the active one.
    fn thaw(&mut self) {
        let Some(frozen) = self.frozen.take() else { return };
        let newer = std::mem::replace(&mut self.active, Arc::unwrap_or_clone(frozen));
        for (key, entry) in newer.rows {
            self.active.set(key, Some(entry));
        }
    }

    /// Freezes what was written for the move into the database; `None` if there is nothing, if a layer is on its way,
    /// or if the open batch is not closed.
    pub fn freeze(&mut self) -> Option<Arc<Layer>> {
        if self.frozen.is_some() {
            return None;
        }
        // An empty layer moves too if the journal is full of what was received since: the move empties the journal.
        let moves = !self.active.is_empty() || self.journal_bytes >= limits::JOURNAL_BYTES_DUE;
        if !moves || !self.open.is_empty() {
            return None;
        }
        let mut layer = std::mem::take(&mut self.active);
        // Below the next layer, these keys are no longer unknown.
        layer.rows.values_mut().for_each(|entry| entry.fresh = false);
        layer.through = self.last;
        self.journal_bytes = 0;
        let layer = Arc::new(layer);
        self.frozen = Some(layer.clone());
        Some(layer)
    }

    /// The frozen layer is in the database, or could not get there: then it goes with the next one, since the store
    /// takes a layer to hold everything that the journal holds by then.
    pub fn flushed(&mut self, done: bool) {
        if done {
            self.frozen = None;
        } else {
            self.thaw();
        }
    }
}

#[cfg(test)]
mod tests;
