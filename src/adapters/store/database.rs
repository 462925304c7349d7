//! The database behind the journal: opened, read, flushed into, opened again after a failure.
//!
//! redb refuses every call after an I/O error, on the medium's word, until the file is opened again; that is done at
//! once, by whoever flushed. A reader that meets the gap waits for it and goes on where it was.
//!
//! Source: DESIGN.md §6. Invariant: a flush and the sequence number it reaches become durable in one transaction; the
//! generation grows only after that, so a reader that sees the new generation sees the flush.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::*},
    },
};

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, StorageError, Table};

use super::{
    Wear,
    medium::{DatabaseFile, private},
    pack,
    schema::{APPLIED, ROWS},
};
use crate::{
    domain::{
        overlay::{self, Layer, Op},
        store::{self, View},
    },
    router::event::StoreError,
};

/// Opens or creates a database file.
pub(super) fn open_file(path: &Path, cache_bytes: usize, wear: &Arc<Wear>) -> Result<Database, redb::Error> {
    let file = private(path)?;
    open_backend(DatabaseFile { file, wear: wear.clone() }, cache_bytes)
}

/// The same on any backend. redb may panic on a file that was damaged from outside; that is an error here.
pub(super) fn open_backend(backend: impl redb::StorageBackend, cache_bytes: usize) -> Result<Database, redb::Error> {
    let opening = catch_unwind(AssertUnwindSafe(|| {
        redb::Builder::new()
            .set_cache_size(cache_bytes)
            .set_repair_callback(|session| {
                log::warn!("store: the database is repaired, {:.0} %", session.progress() * 100.0);
            })
            .create_with_backend(backend)
    }));
    match opening {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(redb::Error::Corrupted("the file is damaged".into())),
    }
}

/// What of an error the server needs to know.
pub(super) fn reason(error: &redb::Error) -> StoreError {
    match error {
        redb::Error::Io(error) => reason_io(error),
        _ => StoreError::Io,
    }
}

/// The same for the journal.
pub(super) fn reason_io(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => StoreError::Full,
        _ => StoreError::Io,
    }
}

/// How the database is opened again.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, redb::Error> + Send + Sync>;

/// The database as both threads hold it. Reads go on while a layer is written; whoever opens the database again waits
/// until nobody writes, since two handles on one file must never both live.
pub(super) struct Base {
    /// Held while a layer is written, and while the database is opened again. Taken before `database`.
    writing: Mutex<()>,
    database: Mutex<Option<Arc<Database>>>,
    generation: AtomicU64,
    opener: Opener,
}

impl Base {
    pub(super) fn new(database: Database, opener: Opener) -> Arc<Base> {
        let database = Mutex::new(Some(Arc::new(database)));
        Arc::new(Base { writing: Mutex::default(), database, generation: AtomicU64::new(0), opener })
    }

    /// Moves a layer into the database together with the sequence number it reaches. After an error nothing of it is
    /// there, or all of it, and the same rows may come again.
    pub(super) fn flush(&self, layer: &Layer, applied: u64) -> Result<(), redb::Error> {
        let _writing = locked(&self.writing);
        let database = self.opened(&mut locked(&self.database)).cloned();
        let outcome = database.and_then(|database| write_layer(&database, layer, applied));
        if outcome.is_err() {
            self.open_again();
        }
        self.generation.fetch_add(1, Release);
        outcome
    }

    /// Opens the database again after a read of generation `at` failed, unless that has happened since.
    fn reopen(&self, at: u64) {
        let _writing = locked(&self.writing);
        if self.generation.load(Acquire) == at {
            self.open_again();
            self.generation.fetch_add(1, Release);
        }
    }

    /// `writing` is held, so nobody uses the handle that goes.
    fn open_again(&self) {
        let mut slot = locked(&self.database);
        *slot = None;
        // A failure here is met again at the next use.
        let _ = self.opened(&mut slot);
    }

    /// A state of the database that stays as it is.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, redb::Error> {
        Ok(self.opened(&mut locked(&self.database))?.begin_read()?)
    }

    fn opened<'a>(&self, slot: &'a mut Option<Arc<Database>>) -> Result<&'a Arc<Database>, redb::Error> {
        let database = match slot.take() {
            Some(database) => database,
            None => Arc::new((self.opener)()?),
        };
        Ok(slot.insert(database))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_layer(database: &Database, layer: &Layer, applied: u64) -> Result<(), redb::Error> {
    let mut write = database.begin_write()?;
    write.set_quick_repair(true);
    {
        let mut rows = write.open_table(ROWS)?;
        pack::write(&mut rows, layer.rows())?;
        rows.insert(APPLIED, applied.to_be_bytes().as_slice())?;
    }
    write.commit()?;
    Ok(())
}

/// The writes of journal records, the last to each key; bounded by the size of the journal.
#[derive(Debug, Default)]
pub(super) struct Gathered(BTreeMap<Vec<u8>, Option<Vec<u8>>>);

impl Gathered {
    /// Takes in the payload of the next record.
    pub(super) fn take(&mut self, payload: &[u8]) -> Result<(), redb::Error> {
        let whole = overlay::decode(payload, |op| {
            match op {
                Op::Put(key, value) => self.0.insert(key.to_vec(), Some(value.to_vec())),
                Op::Remove(key) => self.0.insert(key.to_vec(), None),
            };
        });
        if whole { Ok(()) } else { Err(redb::Error::Corrupted("a journal record is malformed".into())) }
    }

    /// Brings them into the rows.
    pub(super) fn write(&self, rows: &mut Table<'_, &'static [u8], &'static [u8]>) -> Result<(), redb::Error> {
        let writes = self.0.iter().map(|(key, value)| (key.as_slice(), value.as_deref()));
        Ok(pack::write(rows, writes)?)
    }
}

type Rows = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Tries before a failing read ends the turn; each opens the table anew, which waits for a flush under way.
const READS_MAX: u32 = 3;

/// The database as of the last flush, for the main thread. Keeps one read transaction open until the next flush.
///
/// # Panics
/// A read that the medium refuses three times panics: there is no value to go on with, and "no such row" would be a
/// lie that later writes make true. The turn is discarded (DESIGN.md §5).
pub struct DatabaseView {
    base: Arc<Base>,
    wear: Arc<Wear>,
    cached: RefCell<Option<(u64, Rows)>>,
}

impl DatabaseView {
    pub(super) fn new(base: Arc<Base>, wear: Arc<Wear>) -> DatabaseView {
        DatabaseView { base, wear, cached: RefCell::new(None) }
    }

    /// Runs `read` on the table, on a fresh one if the database was flushed or if reading fails.
    fn with<T>(&self, mut read: impl FnMut(&Rows) -> Result<T, StorageError>) -> T {
        let mut failure = None;
        for _ in 0..READS_MAX {
            // A visitor may read again while this scan has the table; it then opens one of its own.
            let mut cached = self.cached.take();
            if failure.is_some() || cached.as_ref().is_none_or(|(at, _)| *at != self.base.generation.load(Acquire)) {
                cached = None;
                match self.fresh() {
                    Ok(fresh) => cached = Some(fresh),
                    Err(error) => failure = Some(error.to_string()),
                }
            }
            let Some((at, rows)) = cached else { continue };
            match read(&rows) {
                Ok(found) => {
                    self.cached.replace(Some((at, rows)));
                    return found;
                }
                Err(error) => {
                    failure = Some(error.to_string());
                    drop(rows);
                    self.base.reopen(at);
                }
            }
        }
        panic!("the database cannot be read: {}", failure.unwrap_or_default());
    }

    fn fresh(&self) -> Result<(u64, Rows), redb::Error> {
        // The number first: a flush in between makes the table newer than it says, never older.
        let at = self.base.generation.load(Acquire);
        Ok((at, self.base.begin_read()?.open_table(ROWS)?))
    }
}

impl View for DatabaseView {
    fn wear(&self) -> store::Wear {
        store::Wear { bytes: self.wear.bytes.load(Relaxed), syncs: self.wear.syncs.load(Relaxed) }
    }

    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.with(|rows| pack::read(rows, key))
    }

    fn read_each(&self, keys: &[&[u8]], back: bool, visit: &mut dyn FnMut(Option<&[u8]>) -> ControlFlow<()>) {
        // After a failure it goes on with the first key that was not read.
        let mut done = 0;
        self.with(|rows| pack::read_each(rows, keys, back, &mut done, visit));
    }

    fn scan(&self, from: &[u8], to: &[u8], back: bool, visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>) {
        // Where to go on after a failure: behind the last row visited.
        let mut last: Option<Vec<u8>> = None;
        self.with(|rows| {
            let behind = last.as_ref().filter(|_| !back).map(|last| [last.as_slice(), &[0]].concat());
            let low = behind.as_deref().unwrap_or(from);
            let high = last.clone().filter(|_| back);
            let mut seen: Option<Vec<u8>> = None;
            let outcome = pack::scan(rows, low, high.as_deref().unwrap_or(to), back, &mut |key, value| {
                let place = seen.get_or_insert_default();
                place.clear();
                place.extend_from_slice(key);
                visit(key, value)
            });
            last = seen.or(last.take());
            outcome
        });
    }
}
