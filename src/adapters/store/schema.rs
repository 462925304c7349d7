//! The database's layout of rows: its version, and how an older one becomes the present one.
//!
//! Source: DESIGN.md §6. Invariants: a migration never touches the file in use but a copy, which takes its name when it
//! is complete and durable; a newer layout is refused before anything is written.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use redb::{Database, ReadableDatabase, TableDefinition, TableError, WriteTransaction};

use super::{
    database::open_file,
    medium::{beside, private, sync_name},
};

/// The only table.
pub(super) const ROWS: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("rows");
/// Version of the layout, u32 big-endian.
pub(super) const SCHEMA: &[u8] = b"!schema";
/// Random number that ties journal and database, u64 big-endian.
pub(super) const STORE: &[u8] = b"!store";
/// Sequence number of the last journal record in the database, u64 big-endian.
pub(super) const APPLIED: &[u8] = b"!applied";

/// A step from one layout to the next.
pub(super) struct Migration {
    /// What it does, for the log.
    pub(super) what: &'static str,
    /// Changes the rows; all in one transaction, on a copy.
    pub(super) run: fn(&WriteTransaction) -> Result<(), redb::Error>,
}

/// The steps, in order: the first leads from version 1 to 2. Never edited once released, only added to.
pub(super) const MIGRATIONS: &[Migration] = &[];

/// The version that these steps lead to.
pub(super) fn latest(migrations: &[Migration]) -> u32 {
    1 + migrations.len() as u32
}

/// What the database says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) schema: u32,
    pub(super) store: u64,
    pub(super) applied: u64,
}

/// Reads the meta rows; `None` if the database is new.
pub(super) fn identity(database: &Database) -> Result<Option<Identity>, redb::Error> {
    let read = database.begin_read()?;
    let rows = match read.open_table(ROWS) {
        Ok(rows) => rows,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let number = |key: &[u8]| -> Result<Option<u64>, redb::Error> {
        let found = rows.get(key)?;
        Ok(found.map(|value| value.value().iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))))
    };
    let (Some(schema), Some(store)) = (number(SCHEMA)?, number(STORE)?) else { return Ok(None) };
    let schema = u32::try_from(schema).unwrap_or(u32::MAX);
    Ok(Some(Identity { schema, store, applied: number(APPLIED)?.unwrap_or(0) }))
}

/// Writes the meta rows of a new database.
pub(super) fn write_identity(write: &WriteTransaction, identity: Identity) -> Result<(), redb::Error> {
    let mut rows = write.open_table(ROWS)?;
    rows.insert(SCHEMA, identity.schema.to_be_bytes().as_slice())?;
    rows.insert(STORE, identity.store.to_be_bytes().as_slice())?;
    rows.insert(APPLIED, identity.applied.to_be_bytes().as_slice())?;
    Ok(())
}

/// Brings the closed database at `path` from version `from` to the latest one: copy, change the copy, make it durable,
/// keep the old file as `….v<from>`, give the copy its name.
pub(super) fn migrate(path: &Path, from: u32, migrations: &[Migration], cache_bytes: usize) -> Result<(), String> {
    let copy = beside(path, "migrating");
    let words = |error: &dyn std::fmt::Display| {
        // The error is told; a copy that stays is overwritten by the next try.
        let _ = std::fs::remove_file(&copy);
        format!("{}: cannot be brought up to date: {error}; it is unchanged, free space may be needed", path.display())
    };
    copy_file(path, &copy).map_err(|error| words(&error))?;
    let database = open_file(&copy, cache_bytes, &Arc::default()).map_err(|error| words(&error))?;
    let changed = (|| -> Result<(), redb::Error> {
        let mut write = database.begin_write()?;
        write.set_quick_repair(true);
        for (step, migration) in migrations.iter().enumerate().skip(from.saturating_sub(1) as usize) {
            log::info!("store: layout {} to {}: {}", step + 1, step + 2, migration.what);
            (migration.run)(&write)?;
        }
        write.open_table(ROWS)?.insert(SCHEMA, latest(migrations).to_be_bytes().as_slice())?;
        write.commit()?;
        Ok(())
    })();
    changed.map_err(|error| words(&error))?;
    drop(database);
    let renamed = (|| -> io::Result<()> {
        File::open(&copy)?.sync_all()?;
        let kept = beside(path, &format!("v{from}"));
        // A link, so that there is a database under the name at any moment; where links are unknown, none is kept.
        if let Err(error) = std::fs::hard_link(path, &kept) {
            log::warn!("store: {} is not kept: {error}", kept.display());
        }
        std::fs::rename(&copy, path)?;
        sync_name(path)
    })();
    renamed.map_err(|error| words(&error))
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let total = source.metadata()?.len().max(1);
    let mut target = private(to)?;
    target.set_len(0)?;
    let mut buffer = vec![0; 256 * 1024];
    let (mut done, mut told) = (0u64, 0);
    loop {
        let read = source.read(&mut buffer)?;
        if read == 0 {
            return target.sync_all();
        }
        target.write_all(buffer.get(..read).unwrap_or_default())?;
        done += read as u64;
        let tenth = done * 10 / total;
        if tenth > told {
            told = tenth;
            log::info!("store: {} % copied before the layout changes", tenth * 10);
        }
    }
}
