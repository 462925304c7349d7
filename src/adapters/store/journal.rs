//! The journal: what makes a batch durable with one small append.
//!
//! The format, and what is assumed of the medium, stand on the module page. Invariant: `sequence` is the number of the
//! next record, and everything below it in the half in use is synced.

use std::{fs, io, os::unix::fs::FileExt, path::Path, sync::Arc};

use super::{Wear, private_file};
use crate::limits;

/// Bytes before a record's payload.
const HEAD_BYTES: usize = 16;

/// A journal file, or a test's idea of one.
pub trait Medium: Send {
    /// Reads everything.
    fn read_all(&self) -> io::Result<Vec<u8>>;
    /// Writes at a place.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync(&self) -> io::Result<()>;
}

impl Medium for fs::File {
    fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.metadata()?.len() as usize];
        self.read_exact_at(&mut bytes, 0)?;
        forget_pages(self);
        Ok(bytes)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Takes the file out of the page cache. What was read or written in one go stands there in pages of up to 2 MiB, and
/// the kernel would write such a page whole for every record.
fn forget_pages(file: &fs::File) {
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

/// Both halves.
pub struct Journal<M = fs::File> {
    halves: [M; 2],
    used: usize,
    at: u64,
    sequence: u64,
    wear: Arc<Wear>,
    /// A record that was refused may stand at `at`.
    soiled: bool,
    scratch: Vec<u8>,
}

impl Journal<fs::File> {
    /// Opens both files; new ones are filled with zeros first, so that a later append changes no metadata.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn open(folder: &Path, wear: Arc<Wear>) -> Result<Self, String> {
        let half = |name: &str| {
            let path = folder.join(name);
            let fail = |e: io::Error| format!("{}: {e}; is there space on the disk?", path.display());
            let file = private_file(&path)?;
            if file.metadata().map_err(fail)?.len() < limits::JOURNAL_BYTES {
                let zeros = vec![0; limits::JOURNAL_BYTES as usize];
                let have = file.metadata().map_err(fail)?.len();
                file.write_all_at(&zeros[have as usize..], have).map_err(fail)?;
                file.sync_all().map_err(fail)?;
                forget_pages(&file);
            }
            Ok::<_, String>(file)
        };
        let halves = [half("journal.0")?, half("journal.1")?];
        let folder = fs::File::open(folder).and_then(|folder| folder.sync_all());
        folder.map_err(|e| format!("the data directory cannot be synced: {e}"))?;
        Ok(Journal::over(halves, wear))
    }
}

impl<M: Medium> Journal<M> {
    /// A journal over two media; nothing is read yet.
    pub fn over(halves: [M; 2], wear: Arc<Wear>) -> Self {
        Journal { halves, used: 0, at: 0, sequence: 0, wear, soiled: false, scratch: Vec::new() }
    }

    /// Hands the payloads of all records above `applied`, in order, to `apply` along with the number of the last one.
    /// That number comes back; `applied` if there is none.
    ///
    /// # Errors
    /// One line: a file that cannot be read, or what `apply` says.
    pub fn replay(
        &self,
        applied: u64,
        apply: impl FnOnce(u64, &[Vec<u8>]) -> Result<(), String>,
    ) -> Result<u64, String> {
        let payloads = self.payloads(applied).map_err(|e| format!("the journal cannot be read: {e}"))?;
        let last = applied + payloads.len() as u64;
        if !payloads.is_empty() {
            apply(last, &payloads)?;
        }
        Ok(last)
    }

    /// The payloads of all records above `applied` that follow one another.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn payloads(&self, applied: u64) -> io::Result<Vec<Vec<u8>>> {
        let mut records = Vec::new();
        for half in &self.halves {
            read_records(&half.read_all()?, &mut records);
        }
        records.retain(|(sequence, _)| *sequence > applied);
        records.sort_by_key(|(sequence, _)| *sequence);
        let following = records.into_iter().zip(applied + 1..).take_while(|((sequence, _), want)| sequence == want);
        Ok(following.map(|((_, payload), _)| payload).collect())
    }

    /// Goes on from here, after everything that the files hold was applied.
    pub fn resume(mut self, sequence: u64) -> Self {
        self.sequence = sequence;
        self
    }

    /// The number of the last record.
    pub fn last(&self) -> u64 {
        self.sequence - 1
    }

    /// Appends batches and makes them durable, all or none.
    ///
    /// # Errors
    /// The medium's; the journal takes nothing more until [`Journal::mend`] succeeds.
    pub fn append<'b>(&mut self, batches: impl Iterator<Item = &'b [u8]>) -> io::Result<()> {
        if self.soiled {
            return Err(io::Error::other("a refused record was not removed yet"));
        }
        self.scratch.clear();
        let mut sequence = self.sequence;
        for payload in batches {
            write_record(sequence, payload, &mut self.scratch);
            sequence += 1;
        }
        let half = &self.halves[self.used];
        let done = half.write_at(&self.scratch, self.at).and_then(|()| half.sync());
        self.soiled = done.is_err();
        done?;
        self.wear.wrote(self.scratch.len());
        self.wear.synced();
        self.at += self.scratch.len() as u64;
        self.sequence = sequence;
        self.scratch.shrink_to(64 * 1024);
        Ok(())
    }

    /// Makes sure that no refused record is left at the end of the run.
    ///
    /// # Errors
    /// The medium's: it still fails.
    pub fn mend(&mut self) -> io::Result<()> {
        if self.soiled {
            let half = &self.halves[self.used];
            half.write_at(&[0; HEAD_BYTES], self.at)?;
            half.sync()?;
            self.soiled = false;
        }
        Ok(())
    }

    /// Everything is in the database: the other half is used from its start.
    pub fn switch(&mut self) {
        self.used = 1 - self.used;
        self.at = 0;
    }
}

fn write_record(sequence: u64, payload: &[u8], out: &mut Vec<u8>) {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&sequence.to_le_bytes());
    checksum.update(payload);
    // A batch is bounded far below 4 GiB (`limits::BATCH_BYTES_MAX` and what one turn can add).
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&checksum.finalize().to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(payload);
}

/// Reads the run of records at the start of a file, up to the first that is not whole or does not follow.
fn read_records(bytes: &[u8], out: &mut Vec<(u64, Vec<u8>)>) {
    let mut rest = bytes;
    let mut before: Option<u64> = None;
    while let Some((head, tail)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let sequence = u64::from(word(8)) | u64::from(word(12)) << 32;
        let Some(payload) = tail.get(..word(0) as usize) else { break };
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&sequence.to_le_bytes());
        checksum.update(payload);
        let follows = before.is_none_or(|before| sequence == before + 1);
        if sequence == 0 || checksum.finalize() != word(4) || !follows {
            break;
        }
        before = Some(sequence);
        out.push((sequence, payload.to_vec()));
        rest = &tail[payload.len()..];
    }
}
