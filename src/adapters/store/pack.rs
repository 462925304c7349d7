//! Rows that come in crowds share a block: one row of the database holds neighbours up to a few kilobytes.
//!
//! An archived message is five small rows, and what a tree of pages costs, it costs for each of them. So rows whose keys
//! are a group and a number ([`keys::packed`]) are kept in blocks: the key of a block is that of its first row, its
//! value is, for each row in order, length of the value (u32, little-endian), the eight bytes of the number, the value.
//! New rows come at a group's end and fill its last block; when that is full it stays as it is, and another begins.
//!
//! Invariants: nobody outside sees a block; the blocks of a group do not overlap; a block is never empty, and larger than
//! [`BLOCK_BYTES`] only if it holds a single row.

mod each;

use std::ops::{Bound, ControlFlow};

use redb::{ReadableTable, StorageError, Table};

use crate::domain::{
    keys,
    store::{Visitor, after_prefix},
};

pub(super) use each::read_each;

/// Bytes of a block: some pages of the database, so that a page that is written carries many rows.
const BLOCK_BYTES: usize = 3 * 1024;
/// Bytes of the number in a key.
const NUMBER: usize = 8;
/// Bytes of a row in a block beside its value.
const HEAD: usize = 4 + NUMBER;

/// A write: key, and value or removal.
pub(super) type Write<'a> = (&'a [u8], Option<&'a [u8]>);

/// Length of the group in the key of a packed row; `None`: the row stands alone.
fn group(key: &[u8]) -> Option<usize> {
    let group = keys::packed(*key.first()?)?;
    (key.len() == group + NUMBER).then_some(group)
}

/// The rows of a block: number and value.
struct Entries<'a>(&'a [u8]);

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let entry = (|| {
            let (length, rest) = self.0.split_first_chunk::<4>()?;
            let (number, rest) = rest.split_at_checked(NUMBER)?;
            let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            self.0 = rest;
            Some((number, value))
        })();
        if entry.is_none() {
            self.0 = &[];
        }
        Some(entry.ok_or_else(|| StorageError::Corrupted("a block of rows is malformed".into())))
    }
}

/// A block: its key and its value.
type Block = (Vec<u8>, Vec<u8>);

/// The block of a group that begins at `key` or last before it.
fn block_at(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    group: usize,
    key: &[u8],
) -> Result<Option<Block>, StorageError> {
    let mut range = rows.range::<&[u8]>((Bound::Included(&key[..group]), Bound::Included(key)))?;
    while let Some(row) = range.next_back() {
        let row = row?;
        if self::group(row.0.value()) == Some(group) {
            return Ok(Some((row.0.value().to_vec(), row.1.value().to_vec())));
        }
    }
    Ok(None)
}

/// The value under `key`.
pub(super) fn read(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StorageError> {
    let Some(group) = group(key) else { return Ok(rows.get(key)?.map(|value| value.value().to_vec())) };
    let mut range = rows.range::<&[u8]>((Bound::Included(&key[..group]), Bound::Included(key)))?;
    while let Some(row) = range.next_back() {
        let row = row?;
        if self::group(row.0.value()) != Some(group) {
            continue;
        }
        for entry in Entries(row.1.value()) {
            let (number, value) = entry?;
            if *number == key[group..] {
                return Ok(Some(value.to_vec()));
            }
        }
        return Ok(None);
    }
    Ok(None)
}

/// Visits rows as [`crate::domain::store::View::scan`] does.
pub(super) fn scan(
    rows: &impl ReadableTable<&'static [u8], &'static [u8]>,
    from: &[u8],
    to: &[u8],
    back: bool,
    visit: Visitor<'_>,
) -> Result<(), StorageError> {
    if from >= to {
        return Ok(());
    }
    // A block that begins before the range may reach into it.
    let before = match keys::packed(from.first().copied().unwrap_or_default()) {
        Some(group) if from.len() > group => block_at(rows, group, &padded(from, group))?.map(|(key, _)| key),
        _ => None,
    };
    let low = before.as_deref().filter(|key| *key < from).unwrap_or(from);
    let mut range = rows.range::<&[u8]>((Bound::Included(low), Bound::Excluded(to)))?;
    let mut key = Vec::new();
    while let Some(row) = if back { range.next_back() } else { range.next() } {
        let row = row?;
        let Some(group) = group(row.0.value()) else {
            if row.0.value() >= from && visit(row.0.value(), row.1.value()).is_break() {
                return Ok(());
            }
            continue;
        };
        key.clear();
        key.extend_from_slice(&row.0.value()[..group]);
        let mut one = |number: &[u8], value: &[u8]| {
            key.truncate(group);
            key.extend_from_slice(number);
            let within = from <= key.as_slice() && key.as_slice() < to;
            if within { visit(&key, value) } else { ControlFlow::Continue(()) }
        };
        let flow = if back {
            let entries = Entries(row.1.value()).collect::<Result<Vec<_>, _>>()?;
            entries.into_iter().rev().try_for_each(|(number, value)| one(number, value))
        } else {
            let mut flow = ControlFlow::Continue(());
            for entry in Entries(row.1.value()) {
                let (number, value) = entry?;
                flow = one(number, value);
                if flow.is_break() {
                    break;
                }
            }
            flow
        };
        if flow.is_break() {
            return Ok(());
        }
    }
    Ok(())
}

/// A key of a packed row that is not below `from`, which may have any length, nor above the rows from there on.
fn padded(from: &[u8], group: usize) -> Vec<u8> {
    let mut key = from.to_vec();
    key.resize(group + NUMBER, 0);
    key
}

/// Carries out writes, whose keys ascend.
pub(super) fn write<'a>(
    rows: &mut Table<'_, &'static [u8], &'static [u8]>,
    writes: impl Iterator<Item = Write<'a>>,
) -> Result<(), StorageError> {
    let mut crowd: Vec<Write<'a>> = Vec::new();
    for (key, value) in writes {
        let belongs =
            |(first, _): &Write<'_>| group(first) == group(key) && group(key).is_some_and(|g| first[..g] == key[..g]);
        if crowd.first().is_some_and(|first| !belongs(first)) {
            write_group(rows, &crowd)?;
            crowd.clear();
        }
        match (group(key), value) {
            (Some(_), _) => crowd.push((key, value)),
            (None, Some(value)) => drop(rows.insert(key, value)?),
            (None, None) => drop(rows.remove(key)?),
        }
    }
    write_group(rows, &crowd)
}

/// Writes to one group, in order.
fn write_group(
    rows: &mut Table<'_, &'static [u8], &'static [u8]>,
    mut writes: &[Write<'_>],
) -> Result<(), StorageError> {
    while let Some((key, _)) = writes.first() {
        let Some(group) = group(key) else { return Ok(()) };
        let old = block_at(rows, group, key)?;
        let next = next_block(rows, group, key)?;
        let here = writes.partition_point(|(key, _)| next.as_deref().is_none_or(|next| *key < next));
        let (now, later) = writes.split_at(here);
        writes = later;
        write_block(rows, group, old, now)?;
    }
    Ok(())
}

/// The key of the first block behind `key` in its group.
fn next_block(
    rows: &Table<'_, &'static [u8], &'static [u8]>,
    group: usize,
    key: &[u8],
) -> Result<Option<Vec<u8>>, StorageError> {
    let end = after_prefix(&key[..group]);
    for row in rows.range::<&[u8]>((Bound::Excluded(key), Bound::Excluded(end.as_slice())))? {
        let row = row?;
        if self::group(row.0.value()) == Some(group) {
            return Ok(Some(row.0.value().to_vec()));
        }
    }
    Ok(None)
}

/// Writes that all belong to one block, or behind it.
fn write_block(
    rows: &mut Table<'_, &'static [u8], &'static [u8]>,
    group: usize,
    old: Option<Block>,
    writes: &[Write<'_>],
) -> Result<(), StorageError> {
    let (old_key, old) = old.unwrap_or_default();
    let entries = Entries(&old).collect::<Result<Vec<_>, _>>()?;
    let prefix = writes.first().map_or(&[][..], |(key, _)| &key[..group]);
    let mut out = Blocks { prefix, key: Vec::new(), block: Vec::new(), is_new: false };
    let mut new = writes.iter().map(|(key, value)| (&key[group..], *value)).peekable();
    if entries.last().is_some_and(|(last, _)| new.peek().is_some_and(|(first, _)| last < first)) {
        // Everything comes behind what is there, which mostly stays as it is.
        (out.key, out.block) = (old_key, old.clone());
    } else {
        if !old_key.is_empty() {
            rows.remove(old_key.as_slice())?;
        }
        for (number, value) in entries {
            while let Some((new_number, new_value)) = new.next_if(|(new, _)| *new < number) {
                out.push(rows, new_number, new_value)?;
            }
            let value = new.next_if(|(new, _)| *new == number).map_or(Some(value), |(_, value)| value);
            out.push(rows, number, value)?;
        }
    }
    for (number, value) in new {
        out.push(rows, number, value)?;
    }
    out.finish(rows)
}

/// Blocks on their way into the database.
struct Blocks<'a> {
    prefix: &'a [u8],
    key: Vec<u8>,
    block: Vec<u8>,
    /// The block is not in the database like this.
    is_new: bool,
}

impl Blocks<'_> {
    fn push(
        &mut self,
        rows: &mut Table<'_, &'static [u8], &'static [u8]>,
        number: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), StorageError> {
        let Some(value) = value else { return Ok(()) };
        if !self.block.is_empty() && self.block.len() + HEAD + value.len() > BLOCK_BYTES {
            self.finish(rows)?;
        }
        if self.block.is_empty() {
            self.key.clear();
            self.key.extend_from_slice(self.prefix);
            self.key.extend_from_slice(number);
        }
        self.is_new = true;
        self.block.extend_from_slice(&(value.len() as u32).to_le_bytes());
        self.block.extend_from_slice(number);
        self.block.extend_from_slice(value);
        Ok(())
    }

    fn finish(&mut self, rows: &mut Table<'_, &'static [u8], &'static [u8]>) -> Result<(), StorageError> {
        if self.is_new {
            rows.insert(self.key.as_slice(), self.block.as_slice())?;
        }
        self.block.clear();
        self.is_new = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
