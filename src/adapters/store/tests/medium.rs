//! A medium with a cache of 512-byte sectors, that can fail and lose its power at any write or sync.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use super::Dice;
use crate::adapters::store::journal::JournalFile;

const SECTOR: usize = 512;

#[derive(Default)]
struct Content {
    /// What a power cut leaves, length included.
    durable: Vec<u8>,
    /// What the kernel shows.
    seen: Vec<u8>,
    dirty: BTreeSet<usize>,
}

impl Content {
    fn settle(&mut self, sector: usize) {
        let from = (sector * SECTOR).min(self.seen.len());
        let to = (from + SECTOR).min(self.seen.len());
        if self.durable.len() < to {
            self.durable.resize(to, 0);
        }
        self.durable[from..to].copy_from_slice(&self.seen[from..to]);
    }

    /// Half of what waits reaches the medium.
    fn settle_some(&mut self, dice: &mut Dice) {
        for sector in std::mem::take(&mut self.dirty) {
            if dice.one_in(2) {
                self.settle(sector);
            }
        }
    }
}

struct State {
    files: Vec<Content>,
    dice: Dice,
    powered: bool,
    /// One in so many writes and syncs fails, or cuts the power; 0: none.
    failing: u64,
    cutting: u64,
    /// So many reads fail.
    failing_reads: u32,
}

/// The whole medium.
#[derive(Clone)]
pub(super) struct Disk(Arc<Mutex<State>>);

impl Disk {
    /// Files of these lengths, durable and zero.
    pub(super) fn new(seed: u64, lengths: &[usize]) -> Disk {
        let content =
            |length: &usize| Content { durable: vec![0; *length], seen: vec![0; *length], ..Content::default() };
        let files = lengths.iter().map(content).collect();
        Disk(Arc::new(Mutex::new(State {
            files,
            dice: Dice::new(seed),
            powered: true,
            failing: 0,
            cutting: 0,
            failing_reads: 0,
        })))
    }

    pub(super) fn file(&self, at: usize) -> DiskFile {
        DiskFile { disk: self.clone(), at }
    }

    pub(super) fn faults(&self, failing: u64, cutting: u64) {
        let mut state = self.state();
        (state.failing, state.cutting) = (failing, cutting);
    }

    pub(super) fn fail_reads(&self, count: u32) {
        self.state().failing_reads = count;
    }

    pub(super) fn is_powered(&self) -> bool {
        self.state().powered
    }

    /// The power goes, if it has not gone, and comes back; no faults from here on.
    pub(super) fn power_cut(&self) {
        let mut state = self.state();
        let State { files, dice, .. } = &mut *state;
        for file in files {
            file.settle_some(dice);
            file.seen = file.durable.clone();
        }
        (state.powered, state.failing, state.cutting) = (true, 0, 0);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// Whether the next operation goes well; if not, with which error.
    fn fate(&mut self) -> Result<(), io::Error> {
        if !self.powered {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let State { dice, failing, cutting, .. } = self;
        if dice.one_in(*cutting) {
            self.powered = false;
            return Err(io::ErrorKind::NotConnected.into());
        }
        if dice.one_in(*failing) {
            return Err(if dice.one_in(2) { io::ErrorKind::StorageFull } else { io::ErrorKind::Other }.into());
        }
        Ok(())
    }
}

pub(super) struct DiskFile {
    disk: Disk,
    at: usize,
}

impl std::fmt::Debug for DiskFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file {}", self.at)
    }
}

impl DiskFile {
    fn load(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        if !state.powered {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if state.failing_reads > 0 {
            state.failing_reads -= 1;
            return Err(io::ErrorKind::Other.into());
        }
        let from = offset as usize;
        let found = state.files[self.at].seen.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn store(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        if !state.powered {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let fate = state.fate();
        let part = if fate.is_ok() { bytes.len() } else { state.dice.below(bytes.len() as u64 + 1) as usize };
        let file = &mut state.files[self.at];
        let from = offset as usize;
        if file.seen.len() < from + part {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.seen[from..from + part].copy_from_slice(&bytes[..part]);
        if part > 0 {
            file.dirty.extend(from / SECTOR..=(from + part - 1) / SECTOR);
        }
        fate
    }

    fn persist(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        if !state.powered {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let fate = state.fate();
        let State { files, dice, .. } = &mut *state;
        let file = &mut files[self.at];
        match &fate {
            Ok(()) => std::mem::take(&mut file.dirty).into_iter().for_each(|sector| file.settle(sector)),
            // The kernel forgets what it could not write, and goes on showing it.
            Err(_) => file.settle_some(dice),
        }
        fate
    }
}

impl JournalFile for DiskFile {
    fn capacity(&self) -> u64 {
        self.disk.state().files[self.at].seen.len() as u64
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.load(offset, buffer)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.store(offset, bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.persist()
    }
}

impl redb::StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.capacity())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.load(offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.fate()?;
        let file = &mut state.files[self.at];
        // Lengths are metadata, which the file system's own journal orders before data.
        file.seen.resize(len as usize, 0);
        file.durable.resize(len as usize, 0);
        file.dirty.retain(|sector| sector * SECTOR < len as usize);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.persist()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.store(offset, data)
    }
}
