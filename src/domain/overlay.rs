//! Writes that the journal holds, or will hold in a moment, and the database does not yet.
//!
//! Reads look through three layers: what was written lately, what is being moved into the database, the database.
//! Invariant: after a batch is refused, reads see exactly what they saw before its first write; nothing of it, and
//! nothing that was written on the strength of it, is left.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, VecDeque},
    ops::{Bound, ControlFlow},
    sync::Arc,
};

use super::store::{View, Visitor};
use crate::limits;

/// A batch of writes that becomes durable as one; ids only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchId(pub u64);

/// What a layer knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// `None`: removed.
    value: Option<Box<[u8]>>,
    /// Neither the database nor an older layer has ever had this key: its removal leaves no trace.
    fresh: bool,
}

/// A key and what was written there; `None`: it was removed.
type Row<'a> = (&'a [u8], Option<&'a [u8]>);

/// A set of writes in the order of their keys. Frozen, it is shared with the store's thread, read only.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    rows: BTreeMap<Box<[u8]>, Entry>,
    bytes: usize,
    through: BatchId,
}

impl Layer {
    /// Every key that was written, with its value, or `None` if it was removed; in order.
    pub fn rows(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.rows.iter().map(|(key, entry)| (&**key, entry.value.as_deref()))
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
        let mut rows = self.rows.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        std::iter::from_fn(move || {
            let (key, entry) = if back { rows.next_back() } else { rows.next() }?;
            Some((&**key, entry.value.as_deref()))
        })
    }

    fn set(&mut self, key: &[u8], entry: Option<Entry>) {
        let size = |entry: &Entry| key.len() + entry.value.as_ref().map_or(0, |value| value.len());
        self.bytes += entry.as_ref().map_or(0, size);
        let before = match entry {
            Some(entry) => self.rows.insert(key.into(), entry),
            None => self.rows.remove(key),
        };
        self.bytes -= before.as_ref().map_or(0, size);
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

impl Op<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let (key, value) = match self {
            Op::Put(key, value) => (key, Some(value)),
            Op::Remove(key) => (key, None),
        };
        // Keys and values are bounded far below 4 GiB by the stanzas they come from.
        out.push(u8::from(value.is_some()));
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(key);
        if let Some(value) = value {
            out.extend_from_slice(&(value.len() as u32).to_le_bytes());
            out.extend_from_slice(value);
        }
    }
}

/// Reads the writes of a batch in order; `false`: the bytes are no batch, and what was read before that stands.
pub fn decode(mut bytes: &[u8], mut op: impl FnMut(Op<'_>)) -> bool {
    fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        *bytes = rest;
        Some(part)
    }
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

/// What keys were before the writes of a batch, in order; to be put back if the disk refuses.
#[derive(Debug, Default)]
struct Undo {
    before: Vec<(Box<[u8]>, Option<Entry>)>,
    /// Rows that somebody has received, which stays true whatever the disk says.
    received: Vec<Box<[u8]>>,
}

/// All writes that the database does not have.
#[derive(Debug, Default)]
pub struct Overlay {
    active: Layer,
    frozen: Option<Arc<Layer>>,
    open: Vec<u8>,
    open_undo: Undo,
    open_urgent: bool,
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
            Some(entry) => entry.value.as_ref().map(|value| value.to_vec()),
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
            left.by_ref().map_while(|key| self.entry(key)).try_for_each(|entry| visit(entry.value.as_deref()))
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
        let frozen = || self.frozen.as_ref().and_then(|layer| layer.rows.get(key));
        self.active.rows.get(key).or_else(frozen)
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

    /// The last row of a range if it was written, not removed, since the last flush.
    pub fn newest(&self, from: &[u8], to: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let (key, value) = self.above(from, to, true).next()?;
        Some((key.to_vec(), value?.to_vec()))
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
        let fresh = self.active.rows.get(key).is_some_and(|entry| entry.fresh);
        self.write(Op::Put(key, value), self.entry(key).cloned(), fresh, true);
    }

    /// See [`super::store::Store::put_new`].
    pub fn put_new(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(self.entry(key).is_none(), "a new key is new");
        self.write(Op::Put(key, value), None, true, true);
    }

    /// See [`super::store::Store::remove`].
    pub fn remove(&mut self, key: &[u8]) {
        self.write(Op::Remove(key), self.entry(key).cloned(), false, true);
    }

    /// Removes a row that somebody has received: nobody waits for it, so it causes no commit of its own.
    pub fn forget(&mut self, key: &[u8]) {
        let before = self.entry(key);
        if before.is_none_or(|entry| entry.value.is_some()) {
            self.write(Op::Remove(key), before.cloned(), false, false);
        }
        self.open_undo.received.push(key.into());
    }

    /// `before`: what the layers hold under the key.
    fn write(&mut self, op: Op<'_>, before: Option<Entry>, fresh: bool, urgent: bool) {
        op.write(&mut self.open);
        let (key, entry) = match op {
            Op::Put(key, value) => (key, Some(Entry { value: Some(value.into()), fresh })),
            // A key that nothing below knows needs no tombstone.
            Op::Remove(key) if self.active.rows.get(key).is_some_and(|entry| entry.fresh) => (key, None),
            Op::Remove(key) => (key, Some(Entry { value: None, fresh: false })),
        };
        self.open_undo.before.push((key.into(), before));
        self.active.set(key, entry);
        if urgent {
            self.puts += 1;
            self.open_urgent = true;
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
        self.open_urgent = false;
        self.journal_bytes += self.open.len();
        self.last = batch;
        self.in_flight.push_back((batch, std::mem::take(&mut self.open_undo)));
        Some(std::mem::take(&mut self.open))
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
            for (key, entry) in undo.before.into_iter().rev() {
                self.active.set(&key, entry);
            }
            received.append(&mut undo.received);
            match self.in_flight.pop_back_if(|(id, _)| *id >= batch) {
                Some((_, next)) => undo = next,
                None => break,
            }
        }
        for key in received {
            self.forget(&key);
        }
    }

    /// Puts the frozen layer back under the active one.
    fn thaw(&mut self) {
        let Some(frozen) = self.frozen.take() else { return };
        let newer = std::mem::replace(&mut self.active, Arc::unwrap_or_clone(frozen));
        for (key, entry) in newer.rows {
            self.active.set(&key, Some(entry));
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::store::MemoryView;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        PutNew(u8),
        Remove(u8),
        Forget(u8),
        Take,
        Commit,
        Refuse,
        Freeze,
        Flush(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..12u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
            2 => any::<u8>().prop_map(Step::PutNew),
            3 => (0..12u8).prop_map(Step::Remove),
            2 => (0..12u8).prop_map(Step::Forget),
            3 => Just(Step::Take),
            2 => Just(Step::Commit),
            1 => Just(Step::Refuse),
            2 => Just(Step::Freeze),
            2 => any::<bool>().prop_map(Step::Flush),
        ]
    }

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
        #[test]
        fn reads_are_those_of_a_plain_map_whatever_the_disk_does(steps in prop::collection::vec(step(), 1..80)) {
            let mut overlay = Overlay::default();
            let mut view = MemoryView::default();
            let mut model = Model::new();
            // The model before each batch in flight and before the open one.
            let mut before: Vec<(u64, Model)> = Vec::new();
            let mut open_before = Model::new();
            let (mut next, mut fresh) = (1u64, 1000u32);
            let mut flushing: Option<(u64, Arc<Layer>)> = None;
            // What was received, with the batch that was open.
            let mut received: Vec<(u64, Vec<u8>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        overlay.put(&[key], &[value]);
                        model.insert(vec![key], vec![value]);
                    }
                    Step::PutNew(value) => {
                        fresh += 1;
                        overlay.put_new(&fresh.to_be_bytes(), &[value]);
                        model.insert(fresh.to_be_bytes().to_vec(), vec![value]);
                    }
                    Step::Remove(key) => {
                        let key = model.keys().nth(key as usize).cloned().unwrap_or_else(|| vec![key]);
                        overlay.remove(&key);
                        model.remove(&key);
                    }
                    Step::Forget(key) => {
                        let key = model.keys().nth(key as usize).cloned().unwrap_or_else(|| vec![key]);
                        overlay.forget(&key);
                        model.remove(&key);
                        received.push((next, key));
                    }
                    Step::Take if overlay.take_batch(BatchId(next)).is_some() => {
                        before.push((next, std::mem::replace(&mut open_before, model.clone())));
                        next += 1;
                    }
                    Step::Commit if !before.is_empty() => {
                        let (id, _) = before.remove(0);
                        overlay.committed(BatchId(id));
                    }
                    Step::Refuse if !before.is_empty() => {
                        let (id, old) = before.swap_remove(0);
                        before.clear();
                        overlay.refused(BatchId(id));
                        model = old.clone();
                        open_before = old;
                        received.retain(|(batch, _)| *batch >= id);
                        for (batch, key) in &mut received {
                            *batch = next;
                            model.remove(key);
                        }
                        // The store's thread refuses a flush that stands behind a refused batch.
                        flushing = None;
                    }
                    Step::Freeze => {
                        if let Some(layer) = overlay.freeze() {
                            flushing = Some((next - 1, layer));
                        }
                    }
                    // In the order of the store's queue: a flush ends only after the batches before it.
                    Step::Flush(done) if flushing.as_ref().is_some_and(|(last, _)| before.iter().all(|(id, _)| id > last)) => {
                        let (_, layer) = flushing.take().unwrap();
                        if done {
                            view.apply(&layer);
                        }
                        overlay.flushed(done);
                    }
                    _ => {}
                }
                for back in [false, true] {
                    for limit in [1, 3, usize::MAX] {
                        let mut want: Vec<_> = model.clone().into_iter().collect();
                        if back { want.reverse(); }
                        want.truncate(limit);
                        prop_assert_eq!(overlay.scan(&view, &[], &[255; 5], back, limit), want);
                    }
                }
                for key in 0..12u8 {
                    prop_assert_eq!(overlay.read(&view, &[key]), model.get(&vec![key]).cloned());
                }
                let keys: Vec<[u8; 1]> = (0..12).map(|key| [key]).collect();
                let keys: Vec<&[u8]> = keys.iter().map(<[u8; 1]>::as_slice).collect();
                for limit in [1, 5, 12] {
                    let mut found = Vec::new();
                    overlay.read_each(&view, &keys, false, &mut |value| {
                        found.push(value.map(<[u8]>::to_vec));
                        if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                    });
                    let want: Vec<_> = keys.iter().take(limit).map(|key| model.get(*key).cloned()).collect();
                    prop_assert_eq!(found, want);
                }
            }
        }
    }

    #[test]
    fn a_message_that_was_received_leaves_no_trace() {
        let mut overlay = Overlay::default();
        overlay.put_new(b"q1", b"hello");
        assert!(overlay.take_batch(BatchId(1)).is_some());
        overlay.committed(BatchId(1));
        overlay.forget(b"q1");
        assert!(overlay.has_lazy() && !overlay.has_open());
        assert!(overlay.take_batch(BatchId(2)).is_some());
        assert!(overlay.is_empty());
    }

    #[test]
    fn a_batch_reads_back_as_it_was_written() {
        let mut overlay = Overlay::default();
        overlay.put(b"a", b"1");
        overlay.remove(b"b");
        let bytes = overlay.take_batch(BatchId(1)).unwrap();
        let mut ops = Vec::new();
        assert!(decode(&bytes, |op| ops.push(format!("{op:?}"))));
        assert_eq!(ops, ["Put([97], [49])", "Remove([98])"]);
        for cut in 1..bytes.len() {
            decode(&bytes[..cut], |_| {});
        }
    }
}
