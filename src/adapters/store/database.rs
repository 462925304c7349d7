//! The database behind the journal, and its schema.
//!
//! Invariant: the sequence number in the database and the rows change in one transaction.

use std::{
    cell::{OnceCell, RefCell},
    fs, io,
    ops::{Bound, ControlFlow},
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use redb::{
    Builder, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition,
    WriteTransaction,
};

use super::{Wear, private_file};
use crate::domain::{
    overlay::{self, Layer, Op},
    store::View,
};

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// Sequence number of the last journal record that is in the database.
const APPLIED: &[u8] = b"!journal";
/// Version of the schema.
const SCHEMA: &[u8] = b"!schema";

/// One step of the schema, from its index to the next version.
pub type Migration = fn(&WriteTransaction) -> Result<(), redb::Error>;

/// All steps, oldest first; the schema's version is one more than their number.
pub const MIGRATIONS: &[Migration] = &[];

/// The database.
pub struct Database {
    database: Arc<redb::Database>,
    /// Counts changes, so that readers know when to look anew.
    generation: Arc<AtomicU64>,
}

impl Database {
    /// Opens or makes the database, and brings its schema up to date.
    ///
    /// # Errors
    /// One line that names the file and what would mend it.
    pub fn open(file: &Path, cache_bytes: usize, wear: Arc<Wear>) -> Result<Database, String> {
        let mut database = Database::open_raw(file, cache_bytes, wear.clone())?;
        let version = database.version().map_err(|e| broken(file, &e))?;
        let newest = MIGRATIONS.len() as u64 + 1;
        match version {
            None => database.stamp(newest).map_err(|e| broken(file, &e))?,
            Some(version) if version == newest => {}
            Some(version) if version > newest => {
                return Err(format!(
                    "{}: the data was written by a newer Lampone (schema {version}, this one knows {newest}); \
                     install that version, or restore a backup",
                    file.display()
                ));
            }
            Some(version) => {
                drop(database);
                migrate(file, version, MIGRATIONS, cache_bytes, &wear)?;
                database = Database::open_raw(file, cache_bytes, wear)?;
            }
        }
        Ok(database)
    }

    fn open_raw(file: &Path, cache_bytes: usize, wear: Arc<Wear>) -> Result<Database, String> {
        let backend = Counting { file: private_file(file)?, wear };
        let opened = Builder::new().set_cache_size(cache_bytes).create_with_backend(backend);
        let database = opened.map_err(|e| broken(file, &e.into()))?;
        let made = database.begin_write().map_err(redb::Error::from).and_then(|transaction| {
            let known = transaction.list_tables()?.next().is_some();
            if !known {
                transaction.open_table(ROWS)?;
            }
            if known { Ok(transaction.abort()?) } else { Ok(transaction.commit()?) }
        });
        made.map_err(|e| broken(file, &e))?;
        Ok(Database { database: Arc::new(database), generation: Arc::default() })
    }

    /// Reads for the main thread.
    pub fn view(&self) -> DatabaseView {
        DatabaseView { database: self.database.clone(), generation: self.generation.clone(), table: RefCell::default() }
    }

    /// Sequence number of the last journal record that is in the database.
    pub fn applied(&self) -> u64 {
        self.number(APPLIED).ok().flatten().unwrap_or(0)
    }

    fn version(&self) -> Result<Option<u64>, redb::Error> {
        self.number(SCHEMA)
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>, redb::Error> {
        let table = self.database.begin_read()?.open_table(ROWS)?;
        let value = table.get(key)?;
        Ok(value.and_then(|value| value.value().try_into().ok()).map(u64::from_be_bytes))
    }

    fn stamp(&self, version: u64) -> Result<(), redb::Error> {
        self.write(|table| {
            table.insert(SCHEMA, &version.to_be_bytes()[..])?;
            Ok(())
        })
    }

    /// Moves a layer in; `sequence` is the number of the last journal record in it.
    ///
    /// # Errors
    /// redb's; nothing of the layer is in the database then.
    pub fn apply(&mut self, sequence: u64, layer: &Layer) -> Result<(), redb::Error> {
        self.write(|table| {
            for (key, value) in layer.rows() {
                match value {
                    Some(value) => table.insert(key, value)?,
                    None => table.remove(key)?,
                };
            }
            table.insert(APPLIED, &sequence.to_be_bytes()[..])?;
            Ok(())
        })
    }

    /// Applies journal records at start.
    ///
    /// # Errors
    /// One line for the admin.
    pub fn apply_records(&mut self, sequence: u64, records: &[Vec<u8>]) -> Result<(), String> {
        let done = self.write(|table| {
            records.iter().try_for_each(|record| apply_record(table, record))?;
            table.insert(APPLIED, &sequence.to_be_bytes()[..])?;
            Ok(())
        });
        log::info!("{} batches taken in from the journal", records.len());
        done.map_err(|e| format!("the journal cannot be moved into the database: {e}; is there space on the disk?"))
    }

    fn write(
        &self,
        change: impl FnOnce(&mut redb::Table<'_, &[u8], &[u8]>) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        // Recovery after a power cut then needs no walk over the whole file.
        transaction.set_quick_repair(true);
        change(&mut transaction.open_table(ROWS)?)?;
        transaction.commit()?;
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Copies everything, and the journal records behind it, to a new file. Slow; on a thread of its own.
    ///
    /// # Errors
    /// One line for the admin.
    pub fn copy(view: &DatabaseView, records: &[Vec<u8>], target: &Path) -> Result<(), String> {
        if target.exists() {
            return Err(format!("{}: exists already; name another file", target.display()));
        }
        let partial = target.with_extension("partial");
        let fail = |e: redb::Error| format!("{}: {e}", partial.display());
        let _ = fs::remove_file(&partial);
        let copy = Database::open_raw(&partial, 1024 * 1024, Arc::default())?;
        let result = copy.write(|table| {
            view.each(|key, value| table.insert(key, value).map(drop))?;
            records.iter().try_for_each(|record| apply_record(table, record))?;
            // A copy stands without a journal.
            table.remove(APPLIED)?;
            Ok(())
        });
        drop(copy);
        result.map_err(fail)?;
        fs::rename(&partial, target).map_err(|e| format!("{}: {e}", target.display()))?;
        let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| format!("{}: {e}", folder.display()))
    }
}

fn apply_record(table: &mut redb::Table<'_, &[u8], &[u8]>, record: &[u8]) -> Result<(), redb::Error> {
    let mut outcome = Ok(());
    overlay::decode(record, |op| {
        if outcome.is_ok() {
            outcome = match op {
                Op::Put(key, value) => table.insert(key, value).map(drop),
                Op::Remove(key) => table.remove(key).map(drop),
            };
        }
    });
    Ok(outcome?)
}

fn broken(file: &Path, error: &redb::Error) -> String {
    format!("{}: {error}; if the file is damaged, put a backup in its place", file.display())
}

/// Brings a copy of the file up to date, then puts it in the file's place.
pub fn migrate(
    file: &Path,
    version: u64,
    steps: &[Migration],
    cache_bytes: usize,
    wear: &Arc<Wear>,
) -> Result<(), String> {
    let copy = file.with_extension("migrating");
    let kept = file.with_extension(format!("schema-{version}"));
    fs::copy(file, &copy).map_err(|e| format!("{}: {e}; is there space for a second copy?", copy.display()))?;
    let database = Database::open_raw(&copy, cache_bytes, wear.clone())?;
    for (at, step) in steps.iter().enumerate().skip(version.saturating_sub(1) as usize) {
        log::info!("schema {} to {}", at + 1, at + 2);
        let done = database.database.begin_write().map_err(redb::Error::from).and_then(|transaction| {
            step(&transaction)?;
            transaction.open_table(ROWS)?.insert(SCHEMA, &(at as u64 + 2).to_be_bytes()[..])?;
            Ok(transaction.commit()?)
        });
        done.map_err(|e| format!("{}: schema {} to {}: {e}; the data is unchanged", copy.display(), at + 1, at + 2))?;
    }
    drop(database);
    fs::rename(file, &kept).and_then(|()| fs::rename(&copy, file)).map_err(|e| format!("{}: {e}", file.display()))?;
    log::info!("the data as it was before is kept as {}", kept.display());
    Ok(())
}

/// The table as one read transaction sees it.
type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Reads of the database, on the main thread.
pub struct DatabaseView {
    database: Arc<redb::Database>,
    generation: Arc<AtomicU64>,
    /// With the generation that it shows.
    table: RefCell<Option<(u64, Table)>>,
}

impl DatabaseView {
    /// The table as of the last change; kept open between changes, which are a minute apart.
    fn with<R>(&self, read: impl FnOnce(&Table) -> Result<R, redb::Error>) -> Option<R> {
        let generation = self.generation.load(Ordering::Acquire);
        let mut kept = self.table.borrow_mut();
        let outcome = (|| {
            if kept.as_ref().is_none_or(|(then, _)| *then != generation) {
                *kept = None;
                *kept = Some((generation, self.database.begin_read()?.open_table(ROWS)?));
            }
            match &*kept {
                Some((_, table)) => read(table).map(Some),
                None => Ok(None),
            }
        })();
        outcome.unwrap_or_else(|error| {
            log::error!("the database cannot be read: {error}");
            None
        })
    }

    /// Visits every row.
    fn each(&self, mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), redb::StorageError>) -> Result<(), redb::Error> {
        let outcome = OnceCell::new();
        self.with(|table| {
            for row in table.iter()? {
                let (key, value) = row?;
                if let Err(error) = visit(key.value(), value.value()) {
                    let _ = outcome.set(error);
                    break;
                }
            }
            Ok(())
        });
        outcome.into_inner().map_or(Ok(()), |error| Err(error.into()))
    }
}

impl View for DatabaseView {
    fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.with(|table| Ok(table.get(key)?.map(|value| value.value().to_vec()))).flatten()
    }

    fn scan(&self, from: &[u8], to: &[u8], back: bool, visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>) {
        self.with(|table| {
            let mut rows = table.range::<&[u8]>((Bound::Included(from), Bound::Excluded(to)))?;
            while let Some(row) = if back { rows.next_back() } else { rows.next() } {
                let (key, value) = row?;
                if visit(key.value(), value.value()).is_break() {
                    break;
                }
            }
            Ok(())
        });
    }
}

/// A file that counts what is written to it.
#[derive(Debug)]
struct Counting {
    file: fs::File,
    wear: Arc<Wear>,
}

impl StorageBackend for Counting {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.wear.synced();
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.wear.wrote(data.len());
        self.file.write_all_at(data, offset)
    }
}

/// Whether an error of the database means that there is no space.
pub fn is_full(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull)
}
