//! The store on disk: a journal in front of a redb database, one thread that writes both, and reads on the main thread.
//!
//! # How a write gets there
//!
//! 1. The committer takes all batches that wait and appends them to the journal with one write and one sync. Then they
//!    are durable, and only then answered.
//! 2. The main thread's overlay shows them to readers meanwhile. When the overlay is large or a minute old, it is frozen
//!    and applied to the database as one transaction, together with the sequence number of the last batch in it; from
//!    there on the other journal file is used.
//! 3. At start, journal records above that number are applied.
//!
//! # Files in the data directory
//!
//! | file | what |
//! |---|---|
//! | `lampone.redb` | the database: one table of bytes to bytes, keys as in `domain/keys.rs` |
//! | `journal.0`, `journal.1` | the two halves of the journal, used in turn |
//! | `lampone.lock` | held while a server runs; names its process |
//!
//! A journal file is a run of records from its start: length (u32), CRC-32 of what follows (u32), sequence number (u64),
//! payload (the writes of a batch as `domain/overlay.rs` spells them), all little-endian. Numbers grow by one from
//! record to record, across both files and over all restarts; whatever breaks the run ends it, so the rest of an earlier
//! use of the file is never taken for new.
//!
//! # What is assumed of the medium
//!
//! - After a successful sync the bytes stay. Before it, any part of them may be there, in any order, down to sectors.
//! - A write leaves bytes outside its range alone.
//! - Damage from outside (a dying card) is found by checksums, here and in redb, and reported; it is not repaired.
//!
//! # After a failure
//!
//! A batch whose write or sync failed is refused, and so is everything behind it, until the place where it would stand
//! was overwritten with zeros and synced. If the power goes before that, a refused batch may turn out to be there after
//! all: its sender was told too little, never too much.
//!
//! # Format history
//!
//! 1: first format.

mod committer;
mod database;
mod journal;

use std::{
    fs,
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::fs::{FlockOperation, flock};

use super::port::{Mailbox, StorePort};
use crate::{
    domain::{overlay::Layer, store::View},
    router::event::{BatchId, QueryId},
};
use committer::{Committer, Job};
use database::{Database, DatabaseView};
use journal::Journal;

/// What was written since the start, for `status` and for the life of the card.
#[derive(Debug, Default)]
pub struct Wear {
    /// Bytes handed to the medium, journal and database.
    pub bytes: AtomicU64,
    /// Syncs.
    pub syncs: AtomicU64,
    /// Batches made durable.
    pub batches: AtomicU64,
    /// Layers moved into the database.
    pub flushes: AtomicU64,
}

impl Wear {
    fn wrote(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn synced(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }
}

/// The store of a running server.
pub struct Store {
    view: DatabaseView,
    committer: Committer,
    /// What was written.
    pub wear: Arc<Wear>,
    /// Released when the process ends.
    _lock: fs::File,
}

/// Opens the store in `folder`, and takes in what the journal holds.
///
/// # Errors
/// One line for the admin, naming the file and what would mend it.
pub fn open(folder: &Path, cache_bytes: usize, mailbox: Mailbox) -> Result<Store, String> {
    let lock = lock(folder)?;
    let wear = Arc::new(Wear::default());
    let file = folder.join("lampone.redb");
    let mut database = Database::open(&file, cache_bytes, wear.clone())?;
    let journal = Journal::open(folder, wear.clone())?;
    let applied = database.applied();
    let last = journal.replay(applied, |sequence, records| database.apply_records(sequence, records))?;
    let journal = journal.resume(last + 1);
    let view = database.view();
    let committer = Committer::start(database, journal, mailbox, wear.clone())?;
    Ok(Store { view, committer, wear, _lock: lock })
}

impl StorePort for Store {
    fn view(&self) -> &dyn View {
        &self.view
    }

    fn commit(&mut self, batch: BatchId, puts: Vec<u8>) {
        self.committer.send(Job::Commit(batch, puts));
    }

    fn flush(&mut self, layer: Arc<Layer>) {
        self.committer.send(Job::Flush(layer));
    }

    fn backup(&mut self, query: QueryId, file: PathBuf) {
        self.committer.send(Job::Backup(query, file));
    }
}

/// One server per data directory: two would each believe that they own the journal.
fn lock(folder: &Path) -> Result<fs::File, String> {
    let path = folder.join("lampone.lock");
    let opened = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(&path);
    let mut file = opened.map_err(|e| format!("{}: {e}; is the data directory writable?", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let holder = fs::read_to_string(&path).unwrap_or_default();
        let holder = if holder.trim().is_empty() { "another process".into() } else { holder.trim().to_owned() };
        return Err(format!(
            "{}: the data is in use by {holder}; stop that server or give this one another data directory",
            folder.display()
        ));
    }
    let note = format!("lampone, process {}\n", std::process::id());
    let written = file.set_len(0).and_then(|()| file.write_all(note.as_bytes()));
    written.map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(file)
}

/// Opens a file that only the server's own user may read.
fn private_file(path: &Path) -> Result<fs::File, String> {
    let opened = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
    let file = opened.map_err(|e| format!("{}: {e}", path.display()))?;
    // A file that was there before, with wider rights, is narrowed (S53).
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests;
