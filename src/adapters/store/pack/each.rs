//! Many rows read one after the other: neighbours share the way down the tree, and the block that they are in.
//!
//! Invariant: what is read is what [`super::read`] reads for each key by itself; the order of the keys decides only what it
//! costs.

use std::ops::{Bound, ControlFlow};

use redb::{AccessGuard, Cursor, ReadableTable, StorageError};

use super::{Entries, group};

type Bytes = &'static [u8];

/// A block of the table: its key and its value.
type Block<'t> = (AccessGuard<'t, Bytes>, AccessGuard<'t, Bytes>);

/// Where the last row was found.
struct Place<'t, T> {
    rows: &'t T,
    /// Stands behind the block, or before it if the keys descend.
    cursor: Option<Cursor<'t, Bytes, Bytes>>,
    block: Option<Block<'t>>,
    back: bool,
    /// Rows were lately in the same block or in the next one.
    is_dense: bool,
}

/// Reads what stands under each of these keys from `done` on, and counts those that were read. They may come in any order,
/// and cost least where they ascend, or descend if `back`.
pub(in super::super) fn read_each<T: ReadableTable<Bytes, Bytes>>(
    rows: &T,
    keys: &[&[u8]],
    back: bool,
    done: &mut usize,
    visit: &mut dyn FnMut(Option<&[u8]>) -> ControlFlow<()>,
) -> Result<(), StorageError> {
    let mut place = Place { rows, cursor: None, block: None, back, is_dense: true };
    while let Some(key) = keys.get(*done) {
        let flow = match group(key) {
            Some(group) if place.go(group, key)? => {
                let value = place.block.as_ref().map(|(_, block)| find(block.value(), &key[group..])).transpose()?;
                *done += 1;
                visit(value.flatten())
            }
            // It stands alone, or among rows that only look like it.
            _ => {
                let value = super::read(rows, key)?;
                *done += 1;
                visit(value.as_deref())
            }
        };
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

impl<T: ReadableTable<Bytes, Bytes>> Place<'_, T> {
    /// Goes to the block in which the row stands if it is there at all; `false`: who knows.
    fn go(&mut self, group: usize, key: &[u8]) -> Result<bool, StorageError> {
        if self.is_here(group, key)? {
            self.is_dense = true;
            return Ok(true);
        }
        // Of dense rows the next one is mostly one step away; to others the way is gone anew from the root.
        if let Some(cursor) = self.cursor.as_mut().filter(|_| self.is_dense) {
            self.block = if self.back { cursor.prev()? } else { cursor.next()? };
            self.is_dense = self.is_here(group, key)?;
            if self.is_dense {
                return Ok(true);
            }
        }
        let mut cursor = self.rows.upper_bound(Bound::Included(key))?;
        self.block = if self.back { cursor.prev()? } else { cursor.peek_prev()? };
        self.cursor = Some(cursor);
        Ok(self.block.as_ref().is_some_and(|(first, _)| is_of(first.value(), group, key)))
    }

    /// Whether the row stands in the block where we are, or nowhere.
    fn is_here(&self, group: usize, key: &[u8]) -> Result<bool, StorageError> {
        let Some((first, block)) = &self.block else { return Ok(false) };
        if !is_of(first.value(), group, key) || first.value() > key {
            return Ok(false);
        }
        // Beyond its last row another block may begin.
        match Entries(block.value()).last().transpose()? {
            Some((last, _)) => Ok(&key[group..] <= last),
            None => Ok(false),
        }
    }
}

/// Whether the block that begins with this key is of the group of that one.
fn is_of(first: &[u8], group: usize, key: &[u8]) -> bool {
    self::group(first) == Some(group) && first[..group] == key[..group]
}

fn find<'b>(block: &'b [u8], number: &[u8]) -> Result<Option<&'b [u8]>, StorageError> {
    for entry in Entries(block) {
        let (at, value) = entry?;
        if at == number {
            return Ok(Some(value));
        }
    }
    Ok(None)
}
