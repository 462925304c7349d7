//! A consistent copy of everything committed, written while the server runs.
//!
//! The store's thread takes a [`Snapshot`] in order with the commits: a read transaction and the journal records that
//! the database lacks at that moment. Whoever holds it writes it out at leisure, on a thread of its own, without a flush and
//! without holding up any commit. The file is a database of its own, with a new identity, so a journal left beside it
//! is never replayed into it: put in place as `lampone.redb`, it is what `lampone serve` opens.
//!
//! Invariant: a file under the wanted name is complete and durable; an existing one is never touched.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use redb::{Database, Durability, ReadTransaction};

use super::{
    database::{Gathered, open_file},
    medium::{beside, sync_name},
    random,
    schema::{self, APPLIED, Identity, ROWS, SCHEMA, STORE},
};

/// Bytes of rows in one transaction while copying: bounds what redb keeps in memory.
const STEP_BYTES: usize = 1024 * 1024;

/// Everything committed at one moment. Holding it keeps old pages of the database from being reused.
pub struct Snapshot {
    pub(super) read: ReadTransaction,
    /// Journal payloads that the database lacks, in order.
    pub(super) journal: Vec<u8>,
    pub(super) schema: u32,
    pub(super) cache_bytes: usize,
    pub(super) path: PathBuf,
}

impl Snapshot {
    /// Writes the copy; blocks for as long as that takes. Errors are in words for the admin; nothing is left behind
    /// then.
    pub fn write(self) -> Result<(), String> {
        let path = self.path.clone();
        let words = |error: &dyn std::fmt::Display| format!("{}: the backup was not written: {error}", path.display());
        if path.exists() {
            return Err(words(&"there is such a file already; choose another name"));
        }
        let partial = beside(&path, "partial");
        let outcome = self.write_to(&partial).and_then(|()| Ok(publish(&partial, &path)?));
        outcome.map_err(|error| {
            // The error is told; a file that cannot even be removed changes nothing about it.
            let _ = std::fs::remove_file(&partial);
            words(&error)
        })
    }

    fn write_to(&self, partial: &Path) -> Result<(), redb::Error> {
        if partial.exists() {
            std::fs::remove_file(partial)?;
        }
        let target = open_file(partial, self.cache_bytes, &std::sync::Arc::default())?;
        self.copy_rows(&target)?;
        let write = target.begin_write()?;
        {
            let mut rows = write.open_table(ROWS)?;
            let mut gathered = Gathered::default();
            gathered.take(&self.journal)?;
            gathered.write(&mut rows)?;
        }
        schema::write_identity(&write, Identity { schema: self.schema, store: random()?, applied: 0 })?;
        write.commit()?;
        target.close()?;
        File::open(partial)?.sync_all()?;
        Ok(())
    }

    fn copy_rows(&self, target: &Database) -> Result<(), redb::Error> {
        let source = self.read.open_table(ROWS)?;
        let mut from = source.range::<&[u8]>(..)?;
        loop {
            let mut write = target.begin_write()?;
            write.set_durability(Durability::None)?;
            let mut bytes = 0;
            {
                let mut rows = write.open_table(ROWS)?;
                while bytes < STEP_BYTES {
                    let Some(row) = from.next() else { break };
                    let row = row?;
                    let (key, value) = (row.0.value(), row.1.value());
                    if ![SCHEMA, STORE, APPLIED].contains(&key) {
                        rows.insert(key, value)?;
                    }
                    bytes += key.len() + value.len();
                }
            }
            write.commit()?;
            if bytes < STEP_BYTES {
                return Ok(());
            }
        }
    }
}

fn publish(partial: &Path, path: &Path) -> io::Result<()> {
    if path.exists() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is such a file by now; choose another name"));
    }
    std::fs::rename(partial, path)?;
    sync_name(path)
}
