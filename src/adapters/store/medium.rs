//! The files themselves: created private, locked, counted.
//!
//! Source: DESIGN.md §6 (wear is a feature). Invariant: every byte and every sync that the store sends to the medium
//! passes one of the types here and is counted.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::fs::{Advice, FlockOperation, fadvise, flock};

use super::{
    Wear,
    journal::{JournalFile, PAGE},
};

/// Opens or creates a file that only its owner may read.
pub(super) fn private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    // A file that was there before, with wider rights, is narrowed (S53).
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Makes the name of a file or directory durable.
pub(super) fn sync_name(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// The database's file, as redb wants it. redb's own locks are not used: `lampone.lock` guards the whole directory,
/// and a database that failed has to be opened again while readers still hold the old one.
#[derive(Debug)]
pub(super) struct DatabaseFile {
    pub(super) file: File,
    pub(super) wear: Arc<Wear>,
}

impl redb::StorageBackend for DatabaseFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.wear.synced();
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.wear.wrote(data.len());
        self.file.write_all_at(data, offset)
    }
}

/// One of the journal's files.
#[derive(Debug)]
pub(super) struct HalfFile {
    file: File,
    capacity: u64,
    wear: Arc<Wear>,
}

impl HalfFile {
    /// Opens the file, or creates it with all its blocks written and durable. It gets its name only then: a file of
    /// that name is complete.
    pub(super) fn open(path: &Path, capacity: u64, wear: Arc<Wear>) -> io::Result<HalfFile> {
        if !path.exists() {
            return HalfFile::create(path, capacity, wear);
        }
        let file = private(path)?;
        match file.metadata()?.len() {
            // Someone emptied it: nothing is in it that could be lost.
            0 => HalfFile::create(path, capacity, wear),
            capacity => Ok(HalfFile { file, capacity, wear }),
        }
    }

    fn create(path: &Path, capacity: u64, wear: Arc<Wear>) -> io::Result<HalfFile> {
        let unfinished = beside(path, "new");
        let mut file = private(&unfinished)?;
        file.set_len(0)?;
        let zeros = [0; 64 * 1024];
        let mut left = capacity;
        while left > 0 {
            let step = zeros.get(..left.min(zeros.len() as u64) as usize).unwrap_or(&zeros);
            file.write_all(step)?;
            wear.wrote(step.len());
            left -= step.len() as u64;
        }
        file.sync_all()?;
        wear.synced();
        std::fs::rename(&unfinished, path)?;
        sync_name(path)?;
        let half = HalfFile { file, capacity, wear };
        half.release();
        Ok(half)
    }
}

impl JournalFile for HalfFile {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.wear.wrote(bytes.len());
        // The last page by itself, see `release`: the next record begins in it.
        let last_page = (offset + bytes.len() as u64).saturating_sub(1) / PAGE * PAGE;
        let split = usize::try_from(last_page.saturating_sub(offset)).unwrap_or_default();
        let (pages, last) = bytes.split_at(split.min(bytes.len()));
        if !pages.is_empty() {
            self.file.write_all_at(pages, offset)?;
        }
        self.file.write_all_at(last, offset + pages.len() as u64)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.wear.synced();
        self.file.sync_data()
    }

    /// What was read or written in one go stands in the page cache in folios of up to 2 MiB, and for every record that
    /// goes there later the kernel counts, and on some file systems writes, such a folio whole.
    fn release(&self) {
        let _ = fadvise(&self.file, 0, None, Advice::DontNeed);
    }
}

/// The same path with `.suffix` appended.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Holds the data directory for this process; gone with the process, however it ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock, or says in words for the admin who has it.
    pub(super) fn take(path: &Path) -> Result<Lock, String> {
        let mut file = private(path).map_err(|error| format!("{}: {error}", path.display()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Without its words the message is still true.
                let _ = Read::by_ref(&mut file).take(64).read_to_string(&mut holder);
                return Err(held_message(path, &holder));
            }
            Err(error) => return Err(format!("{}: cannot be locked: {error}", path.display())),
        }
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let words = format!("{} {seconds}\n", std::process::id());
        let written = file.set_len(0).and_then(|()| file.write_all_at(words.as_bytes(), 0));
        written.map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Lock { _file: file })
    }
}

fn held_message(path: &Path, holder: &str) -> String {
    let mut words = holder.split_whitespace();
    let pid = words.next().unwrap_or("unknown");
    let since = words.next().and_then(|seconds| seconds.parse().ok());
    let age = since.and_then(|seconds| {
        SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|now| now.as_secs().saturating_sub(seconds))
    });
    let age = age.map_or(String::new(), |seconds| format!(", running for {seconds} s"));
    format!(
        "{}: the data is in use by another server: process {pid}{age}; stop it, or give this one another data directory",
        path.display()
    )
}
