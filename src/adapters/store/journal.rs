//! The redo journal: what is committed and not yet in the database.
//!
//! Two files of fixed size, their blocks allocated and zeroed beforehand, so that an append changes no metadata: one
//! write and one `fdatasync` make it durable. File formats and what is assumed of the medium: the page of
//! [`super`]. Source: DESIGN.md §6.
//!
//! **Where a record goes.** Behind the last one, if it fits; else to the start of the other half, if all its records
//! are in the database; else it is refused as [`io::ErrorKind::StorageFull`]. Each use of a half begins with a header
//! that has a fresh random salt, and the salt is part of every checksum: neither what an earlier use left behind nor
//! bytes that a stranger put into a message can be taken for a record.
//!
//! **What is refused stays away.** When write or sync fails, the record's place holds anything: nothing, parts, or all
//! of it, and the kernel may have dropped it from its cache while claiming otherwise. Before the refusal is reported,
//! the place is overwritten with zeros and synced; a record without header ends the replay. Nothing else is appended
//! until that has succeeded, and only then is the same sequence number used again, at the same place or in the other
//! half. So a refused record can be replayed in one case only: the medium refuses even the zeros, and the power goes
//! before it recovers. Nobody can promise anything then; the sender has an error and the message may arrive.

use std::io;

const MAGIC: [u8; 8] = *b"LAMPJ\0\0\x01";
/// Magic, store, salt, first sequence, checksum, padding.
const HALF_HEADER: usize = 40;
/// Length, checksum, sequence.
const RECORD_HEADER: usize = 16;
/// What the medium writes at least. A record is written with zeros up to the end of its last page: pages are then always
/// overwritten whole or known, and none has to be read before it can be written.
pub(super) const PAGE: u64 = 4096;

/// One of the two files. A write that returned is not durable before the next sync that succeeds.
pub trait JournalFile: Send {
    /// Bytes allocated; constant.
    fn capacity(&self) -> u64;
    /// Fills the buffer.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all bytes or fails; on failure any part may have been written.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes all writes durable. After a failure no earlier unsynced write counts.
    fn sync(&mut self) -> io::Result<()>;
    /// What is durable need not stay in memory: it was read, or written in bulk, or is about to be overwritten.
    fn release(&self) {}
}

/// What a replay found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    /// Records given out.
    pub records: u64,
    /// Sequence number of the last of them, or of the database if there were none.
    pub through: u64,
    /// A record with a checksum in order that does not follow: one between is damaged, so the medium lost something
    /// that was acknowledged.
    pub gap: bool,
    /// The journal belongs to another database and was left alone.
    pub foreign: bool,
}

#[derive(Debug)]
struct Half<F> {
    file: F,
    salt: u64,
    /// End of the last durable record; 0 before the first of this use.
    tail: u64,
    /// First and last sequence number of this use; 0 when there is none.
    first: u64,
    last: u64,
}

/// Both halves.
pub struct Journal<F> {
    halves: [Half<F>; 2],
    current: usize,
    next: u64,
    applied: u64,
    store: u64,
    /// Half and place of a record that was refused and may still be there.
    unclean: Option<(usize, u64)>,
    salts: Box<dyn FnMut() -> io::Result<u64> + Send>,
    buffer: Vec<u8>,
}

/// A half as its header describes it.
struct Header {
    store: u64,
    salt: u64,
    first: u64,
}

impl<F: JournalFile> Journal<F> {
    /// The journal of the database `store`, which holds all records up to `applied`. Call `replay` and `restart` before
    /// the first `append`. `salts` gives random numbers.
    pub fn new(
        files: [F; 2],
        store: u64,
        applied: u64,
        salts: Box<dyn FnMut() -> io::Result<u64> + Send>,
    ) -> Journal<F> {
        let halves = files.map(|file| Half { file, salt: 0, tail: 0, first: 0, last: 0 });
        Journal { halves, current: 0, next: applied + 1, applied, store, unclean: None, salts, buffer: Vec::new() }
    }

    /// Gives out, in order, the payload of every record that the database lacks. Stops where one is missing, damaged,
    /// or out of sequence.
    pub fn replay(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<Replay> {
        let mut found = Replay { through: self.applied, ..Replay::default() };
        let mut order = Vec::new();
        for (at, half) in self.halves.iter_mut().enumerate() {
            let Some(header) = read_header(&half.file)? else { continue };
            if header.store != self.store {
                found.foreign = true;
                continue;
            }
            (half.salt, half.first) = (header.salt, header.first);
            order.push((header.first, at));
        }
        order.sort_unstable();
        for (first, at) in order {
            let Some(half) = self.halves.get_mut(at) else { continue };
            let (mut sequence, mut offset) = (first, HALF_HEADER as u64);
            while let Some(length) = read_record(&half.file, half.salt, sequence, offset, &mut self.buffer)? {
                if sequence == found.through + 1 {
                    each(self.buffer.get(RECORD_HEADER..).unwrap_or_default());
                    found.through = sequence;
                    found.records += 1;
                } else if sequence > found.through {
                    found.gap = true;
                    return Ok(found);
                }
                half.last = sequence;
                sequence += 1;
                offset += length;
            }
        }
        Ok(found)
    }

    /// The database holds all that was replayed, up to `through`: both halves are empty from here on. What they held is
    /// made unreadable, so that no later replay can find it next to newer records.
    pub fn restart(&mut self, through: u64) -> io::Result<()> {
        for half in &mut self.halves {
            if half.first != 0 {
                half.file.write_at(0, &[0; HALF_HEADER + RECORD_HEADER])?;
                half.file.sync()?;
            }
            half.file.release();
            (half.tail, half.first, half.last) = (0, 0, 0);
        }
        (self.applied, self.next) = (through, through + 1);
        Ok(())
    }

    /// Makes one durable record of these payloads and returns its sequence number. After an error nothing of it will be
    /// replayed, with the exception named above. Nothing to write is durable at once.
    pub fn append<'b>(&mut self, payloads: impl Iterator<Item = &'b [u8]> + Clone) -> io::Result<u64> {
        let length: usize = payloads.clone().map(<[u8]>::len).sum();
        if length == 0 {
            return Ok(self.next - 1);
        }
        self.clean()?;
        let at = self.place(length)?;
        let (sequence, store) = (self.next, self.store);
        let half = self.halves.get_mut(at).ok_or(io::ErrorKind::NotFound)?;
        self.buffer.clear();
        if half.tail == 0 {
            half.salt = (self.salts)()?;
            half.first = sequence;
            write_header(&mut self.buffer, &Header { store, salt: half.salt, first: sequence });
        }
        let length = u32::try_from(length).map_err(|_| io::ErrorKind::StorageFull)?;
        let mut checksum = checksum_of(half.salt, sequence, length);
        payloads.clone().for_each(|payload| checksum.update(payload));
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(&checksum.finalize().to_le_bytes());
        self.buffer.extend_from_slice(&sequence.to_le_bytes());
        payloads.for_each(|payload| self.buffer.extend_from_slice(payload));
        let bytes = self.buffer.len() as u64;
        let padding = (half.tail + bytes).next_multiple_of(PAGE).min(half.file.capacity()) - (half.tail + bytes);
        self.buffer.resize(self.buffer.len() + padding as usize, 0);
        let written = half.file.write_at(half.tail, &self.buffer).and_then(|()| half.file.sync());
        self.buffer.clear();
        self.buffer.shrink_to(64 * 1024);
        if let Err(error) = written {
            self.unclean = Some((at, half.tail));
            // A failure here keeps the place marked; the next append tries again first.
            let _ = self.clean();
            return Err(error);
        }
        half.tail += bytes;
        half.last = sequence;
        self.next += 1;
        Ok(sequence)
    }

    /// The database holds all records up to `applied`. Goes on in the other half, if that is free now.
    pub fn applied(&mut self, applied: u64) {
        self.applied = self.applied.max(applied);
        let other = 1 - self.current;
        if self.is_free(other) && self.halves.get(self.current).is_some_and(|half| half.tail > 0) {
            self.begin(other);
        }
    }

    /// The number of the last durable record.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// Whether no refused record is waiting to be overwritten.
    #[cfg(test)]
    pub fn is_clean(&self) -> bool {
        self.unclean.is_none()
    }

    /// The payloads, joined, of all durable records that the database lacks, for a backup.
    pub fn unapplied(&self) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut record = Vec::new();
        let mut order: Vec<&Half<F>> = self.halves.iter().filter(|half| half.last > self.applied).collect();
        order.sort_unstable_by_key(|half| half.first);
        for half in order {
            let mut offset = HALF_HEADER as u64;
            for sequence in half.first..=half.last {
                let length = read_record(&half.file, half.salt, sequence, offset, &mut record)?;
                offset += length.ok_or(io::ErrorKind::InvalidData)?;
                if sequence > self.applied {
                    out.extend_from_slice(record.get(RECORD_HEADER..).unwrap_or_default());
                }
            }
            half.file.release();
        }
        Ok(out)
    }

    /// Chooses the half for a record with this payload, and makes it the current one.
    fn place(&mut self, payload: usize) -> io::Result<usize> {
        let record = (RECORD_HEADER + payload) as u64;
        let fits = |half: &Half<F>| half.tail.max(HALF_HEADER as u64) + record <= half.file.capacity();
        let fits_empty = |half: &Half<F>| HALF_HEADER as u64 + record <= half.file.capacity();
        if self.halves.get(self.current).is_some_and(fits) {
            return Ok(self.current);
        }
        for at in [1 - self.current, self.current] {
            if self.is_free(at) && self.halves.get(at).is_some_and(fits_empty) {
                self.begin(at);
                return Ok(at);
            }
        }
        Err(io::Error::new(io::ErrorKind::StorageFull, "both halves of the journal wait for the database"))
    }

    /// Whether the database holds all records of this half.
    fn is_free(&self, at: usize) -> bool {
        self.halves.get(at).is_some_and(|half| half.last <= self.applied)
    }

    fn begin(&mut self, at: usize) {
        if let Some(half) = self.halves.get_mut(at) {
            half.file.release();
            (half.tail, half.first, half.last) = (0, 0, 0);
        }
        self.current = at;
    }

    /// Overwrites the place of a refused record.
    fn clean(&mut self) -> io::Result<()> {
        let Some((at, place)) = self.unclean else { return Ok(()) };
        let half = self.halves.get_mut(at).ok_or(io::ErrorKind::NotFound)?;
        let zeros = [0; HALF_HEADER + RECORD_HEADER];
        let length = if place == 0 { zeros.len() } else { RECORD_HEADER };
        half.file.write_at(place, zeros.get(..length).unwrap_or_default())?;
        half.file.sync()?;
        self.unclean = None;
        Ok(())
    }
}

fn checksum_of(salt: u64, sequence: u64, length: u32) -> crc32fast::Hasher {
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&salt.to_le_bytes());
    checksum.update(&sequence.to_le_bytes());
    checksum.update(&length.to_le_bytes());
    checksum
}

fn write_header(out: &mut Vec<u8>, header: &Header) {
    let start = out.len();
    out.extend_from_slice(&MAGIC);
    for number in [header.store, header.salt, header.first] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    let checksum = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&checksum.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
}

/// The header of a half in use; `None` if there is none, or a damaged one.
fn read_header(file: &impl JournalFile) -> io::Result<Option<Header>> {
    if file.capacity() < HALF_HEADER as u64 {
        return Ok(None);
    }
    let mut bytes = [0; HALF_HEADER];
    file.read_at(0, &mut bytes)?;
    let header = Header { store: number(&bytes, 8), salt: number(&bytes, 16), first: number(&bytes, 24) };
    let mut expected = Vec::with_capacity(HALF_HEADER);
    write_header(&mut expected, &header);
    Ok((expected == bytes && header.first != 0).then_some(header))
}

/// Reads the record `sequence` with its header into `buffer`; its length, or `None` if it is not there.
fn read_record(
    file: &impl JournalFile,
    salt: u64,
    sequence: u64,
    offset: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<u64>> {
    buffer.clear();
    let mut head = [0; RECORD_HEADER];
    if offset + RECORD_HEADER as u64 > file.capacity() {
        return Ok(None);
    }
    file.read_at(offset, &mut head)?;
    let (first, found) = (number(&head, 0), number(&head, 8));
    let (length, expected) = (first as u32, (first >> 32) as u32);
    let end = RECORD_HEADER as u64 + u64::from(length);
    if length == 0 || found != sequence || offset + end > file.capacity() {
        return Ok(None);
    }
    buffer.resize(RECORD_HEADER + length as usize, 0);
    let payload = buffer.get_mut(RECORD_HEADER..).unwrap_or_default();
    file.read_at(offset + RECORD_HEADER as u64, payload)?;
    let mut checksum = checksum_of(salt, sequence, length);
    checksum.update(payload);
    Ok((checksum.finalize() == expected).then_some(end))
}

/// The little-endian number at `offset`; bytes that are not there count as zero.
fn number(bytes: &[u8], offset: usize) -> u64 {
    let mut raw = [0; 8];
    raw.iter_mut().zip(bytes.iter().skip(offset)).for_each(|(to, from)| *to = *from);
    u64::from_le_bytes(raw)
}
