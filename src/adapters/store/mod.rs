//! The store: a journal for promptness, a database for order, one thread for both. The only room that names redb.
//!
//! ```text
//! main thread    Overlay --take_batch--> Effect::Commit ----.     Overlay --freeze--> Effect::Flush --.
//!                   ^ reads over View                       v                                         v
//! lampone-store                               journal: one write, one sync        redb: one transaction, two syncs
//!                                                           |                                         |
//! main thread                             Answer::Committed <'            Answer::Flushed, new View <--'
//! ```
//!
//! Acknowledged is what the journal has synced. A flush saves wear (a row costs 33 KB as a redb commit of its own,
//! 5 KB through journal and flush) and time at the next start; it is not what makes a message safe.
//!
//! # What is assumed of the medium
//!
//! 1. After a sync that succeeded, what was written before stays, power cut or not.
//! 2. Without one, any part of it may be there, in units of 512 bytes, in any order.
//! 3. A unit that is rewritten is either the old or the new; units around it keep what they had. (Cards that break this
//!    rule on a power cut can damage a record that was acknowledged just before; its checksum shows it, and the start
//!    says so. No software layout can undo it.)
//! 4. After a sync that failed, nothing that was written since the last good one counts, though the kernel may show it.
//!    So the journal overwrites the place, and the database is closed and opened again: its two-phase commit never
//!    points to pages whose sync failed, and pages of an unfinished transaction are written anew.
//! 5. Renames within the directory are atomic, and durable once the directory is synced.
//!
//! # After a failure
//!
//! A batch whose write or sync failed is refused, and so is everything behind it until a batch comes that was made in
//! knowledge of the refusal. A layer that the database does not take is answered so, and its rows come again with the
//! next one; the journal holds them meanwhile, until both halves are full. Then batches are refused as well.
//!
//! # Files, in the data directory (0700), each 0600
//!
//! | file | what |
//! |---|---|
//! | `lampone.redb` | the database; copied at rest, it is complete together with the journal of the same moment |
//! | `journal.0`, `journal.1` | the journal's halves, each `limits::JOURNAL_BYTES`, all blocks allocated |
//! | `lampone.lock` | held with `flock`; process id and start in seconds since 1970 |
//! | `lampone.redb.v<n>` | the database as it was before its schema changed from version n; may be deleted |
//! | `*.new`, `*.migrating`, `*.partial` | unfinished; may be deleted while the server is down |
//!
//! **Database**: redb 4, one table `rows`, bytes to bytes. Owner first, numbers big-endian; the keys themselves stand
//! in `domain/keys.rs`. Rows that come in crowds share blocks, as [`pack`] spells them. The prefix `!` is for rows about
//! the store itself; this module's are `!schema` (u32, version of the schema), `!store` (u64, random, names this database
//! to its journal), `!applied` (u64, last journal record in it).
//!
//! **Half of the journal**, numbers little-endian: magic `LAMPJ\0\0\x01`, `!store` u64, salt u64, first sequence
//! number u64, CRC-32 of these u32, four zero bytes; then records: length of the payload u32, CRC-32 of (salt,
//! sequence, length, payload) u32, sequence u64, payload. A payload is one or more batches, encoded as
//! `domain/overlay.rs` spells them. Sequence numbers grow by one over both halves. Replay takes the records above
//! `!applied`, strictly in sequence, and stops at the first that is missing or damaged. Why a refused record cannot come
//! back: [`journal`].
//!
//! # Format history
//!
//! | version | since | change |
//! |---|---|---|
//! | database 1, journal 1, ops 1 | 0.1.0 | the first |

mod backup;
mod committer;
mod database;
mod journal;
mod medium;
mod pack;
mod schema;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::Database;
use ring::rand::{SecureRandom, SystemRandom};

use self::{
    committer::{Committer, Job, Order, Pace, Worker},
    database::{Base, DatabaseView, Gathered, open_file},
    journal::{Journal, JournalFile},
    medium::{HalfFile, Lock, sync_name},
    schema::{Identity, Migration},
};
use super::port::{Answer, Mailbox, StorePort};
use crate::{
    domain::{overlay::Layer, store::View},
    limits,
    router::event::{BatchId, QueryId},
};

const DATABASE_NAME: &str = "lampone.redb";
const JOURNAL_NAMES: [&str; 2] = ["journal.0", "journal.1"];
const LOCK_NAME: &str = "lampone.lock";

/// What was written since the start, for `status` and for the life of the card.
#[derive(Debug, Default)]
pub struct Wear {
    /// Bytes handed to the medium, journal and database; the file system's own are not in it.
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
    committer: Committer<HalfFile>,
    /// What was written.
    pub wear: Arc<Wear>,
    /// Journal records that the last run had not moved into the database; they are there now.
    pub replayed: u64,
    /// Goes last: dropping the database writes to it.
    _lock: Lock,
}

impl StorePort for Store {
    fn view(&self) -> &dyn View {
        &self.view
    }

    fn commit(&mut self, batch: BatchId, puts: Vec<u8>) {
        self.committer.commit(batch, puts);
    }

    fn settle(&mut self) -> Option<Answer> {
        self.committer.settle()
    }

    fn flush(&mut self, layer: Arc<Layer>) {
        self.committer.send(Job::Flush(layer));
    }

    fn backup(&mut self, query: QueryId, file: PathBuf) {
        self.committer.send(Job::Backup(query, file));
    }
}

/// Sizes and steps that tests choose.
#[derive(Clone, Copy)]
struct Options {
    /// Bytes of redb's page cache.
    cache_bytes: usize,
    /// Bytes of each journal file when it is created.
    journal_bytes: u64,
    migrations: &'static [Migration],
}

/// Opens the store in `folder`, or makes one: takes the lock, opens the database, replays the journal, brings the layout
/// up to date, starts the thread. `cache_bytes` is the size of the database's page cache.
///
/// # Errors
/// One line for the admin, naming the file and what would mend it.
pub fn open(folder: &Path, cache_bytes: usize, mailbox: Mailbox) -> Result<Store, String> {
    let options = Options { cache_bytes, journal_bytes: limits::JOURNAL_BYTES, migrations: schema::MIGRATIONS };
    open_with(folder, options, mailbox)
}

fn open_with(folder: &Path, options: Options, mailbox: Mailbox) -> Result<Store, String> {
    let lock = Lock::take(&folder.join(LOCK_NAME))?;
    let path = folder.join(DATABASE_NAME);
    let wear = Arc::new(Wear::default());
    let opener = opener(path.clone(), options.cache_bytes, wear.clone());
    let unusable = |error: redb::Error| {
        format!("{}: cannot be opened: {error}; check the disk, or put a backup in its place", path.display())
    };
    let mut database = opener().map_err(unusable)?;
    let latest = schema::latest(options.migrations);
    let identity = identify(&database, latest).map_err(unusable)?;
    if identity.schema > latest {
        return Err(format!(
            "{}: the data was written by a newer Lampone (schema {}, this one knows {latest}); install that version, \
             or put back the file that was kept when the schema changed",
            path.display(),
            identity.schema
        ));
    }
    let (journal, replayed) = replay(folder, options, &database, identity, &wear)?;
    if identity.schema < latest {
        database.close().map_err(|error| unusable(redb::Error::Io(io::Error::other(error))))?;
        schema::migrate(&path, identity.schema, options.migrations, options.cache_bytes)?;
        database = opener().map_err(unusable)?;
    }
    let base = Base::new(database, opener);
    let worker = Worker {
        journal,
        base: base.clone(),
        mailbox,
        wear: wear.clone(),
        schema: latest,
        cache_bytes: options.cache_bytes,
        order: Order::default(),
        complained: None,
        pace: Pace::default(),
    };
    let committer = Committer::start(worker).map_err(|error| format!("the store has no thread: {error}"))?;
    Ok(Store { view: DatabaseView::new(base, wear.clone()), committer, wear, replayed, _lock: lock })
}

fn opener(path: PathBuf, cache_bytes: usize, wear: Arc<Wear>) -> database::Opener {
    Box::new(move || open_file(&path, cache_bytes, &wear))
}

/// Who the database is; a new one is told, and its name made durable.
fn identify(database: &Database, schema: u32) -> Result<Identity, redb::Error> {
    if let Some(identity) = schema::identity(database)? {
        return Ok(identity);
    }
    let identity = Identity { schema, store: random()?, applied: 0 };
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    schema::write_identity(&write, identity)?;
    write.commit()?;
    Ok(identity)
}

/// Opens the journal, brings what it holds into the database, and leaves it empty.
fn replay(
    folder: &Path,
    options: Options,
    database: &Database,
    identity: Identity,
    wear: &Arc<Wear>,
) -> Result<(Journal<HalfFile>, u64), String> {
    let [first, second] = JOURNAL_NAMES.map(|name| {
        let path = folder.join(name);
        HalfFile::open(&path, options.journal_bytes, wear.clone())
            .map_err(|error| format!("{}: {error}; {} bytes are needed for it", path.display(), options.journal_bytes))
    });
    let words = |error: &dyn std::fmt::Display| {
        format!("{}: the journal cannot be replayed: {error}; free some space, or check the disk", folder.display())
    };
    // Before anything is promised, the database has its name for good; one that is there already costs nothing.
    sync_name(&folder.join(DATABASE_NAME)).map_err(|error| words(&error))?;
    let mut journal = Journal::new([first?, second?], identity.store, identity.applied, Box::new(random));
    let found = replay_into(&mut journal, database).map_err(|error| words(&error))?;
    if found.foreign {
        log::warn!("the journal in {} belongs to another database and is not used", folder.display());
    }
    if found.gap {
        log::error!("a journal record is damaged; what was written after it is lost (see the disk's own log)");
    }
    Ok((journal, found.records))
}

fn replay_into<F: JournalFile>(journal: &mut Journal<F>, database: &Database) -> Result<journal::Replay, redb::Error> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    let found = {
        let mut rows = write.open_table(schema::ROWS)?;
        let (mut outcome, mut gathered) = (Ok(()), Gathered::default());
        let found = journal.replay(&mut |payload| {
            if outcome.is_ok() {
                outcome = gathered.take(payload);
            }
        })?;
        outcome?;
        gathered.write(&mut rows)?;
        rows.insert(schema::APPLIED, found.through.to_be_bytes().as_slice())?;
        found
    };
    if found.records > 0 {
        write.commit()?;
    } else {
        write.abort()?;
    }
    journal.restart(found.through)?;
    Ok(found)
}

/// A random number from the system.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(u64::from_le_bytes(bytes))
}
