//! The thread that writes.
//!
//! Batches that wait are joined into one journal record: one write, one sync, one answer. Under load groups grow by
//! themselves; a lone batch waits for nothing. Flushes and backups stand in the same queue.
//!
//! Source: DESIGN.md §5, §6. Invariants: what is answered `Committed` is durable, in order; after a refusal every batch
//! that was handed over before the main thread learned of it is dropped (`Refused` speaks for them all); a layer goes
//! into the database only if everything it holds is durable.
//!
//! The numbers of batches follow one another, except after a refusal, when the main thread leaves one out: by this gap
//! the first batch is known that was made in knowledge of the refusal. A layer says which batch it reaches: one that
//! was frozen in ignorance of the refusal reaches beyond the last committed.

use std::{
    fmt, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Wear,
    backup::Snapshot,
    database::{Base, reason, reason_io},
    journal::{Journal, JournalFile},
};
use crate::{
    adapters::port::{Answer, Mailbox},
    domain::overlay::Layer,
    limits,
    router::event::{BatchId, QueryId, StoreError},
};

/// Between two lines of the log about failures, DESIGN.md §10: a full disk refuses every batch.
const COMPLAINTS_APART: Duration = Duration::from_secs(60);

/// Something to do, in order.
pub(super) enum Job {
    /// Make a batch durable.
    Commit(BatchId, Vec<u8>),
    /// Move a layer, which holds all batches before it, into the database.
    Flush(Arc<Layer>),
    /// Copy everything to a file.
    Backup(QueryId, PathBuf),
}

/// The main thread's end. Dropping it writes what waits and ends the thread. The queue is bounded by its user: at most
/// `limits::BATCHES_IN_FLIGHT_MAX` batches and one flush are under way.
pub(super) struct Committer {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    pub(super) fn start<F: JournalFile + 'static>(worker: Worker<F>) -> io::Result<Committer> {
        let (jobs, queue) = channel();
        let thread = thread::Builder::new().name("lampone-store".into()).spawn(move || {
            // Without this thread nothing is durable any more; the service manager starts a sound process.
            let guard = AbortOnPanic;
            worker.run(&queue);
            std::mem::forget(guard);
        })?;
        Ok(Committer { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Queues a job.
    pub(super) fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The receiver goes only with the thread, and that takes the process along.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        log::error!("the store's thread failed; the process ends");
        std::process::abort();
    }
}

/// The thread's own state.
pub(super) struct Worker<F> {
    pub(super) journal: Journal<F>,
    pub(super) base: Arc<Base>,
    pub(super) mailbox: Mailbox,
    pub(super) wear: Arc<Wear>,
    pub(super) schema: u32,
    pub(super) cache_bytes: usize,
    pub(super) order: Order,
    /// When a failure was last written to the log.
    pub(super) complained: Option<Instant>,
}

/// Where the thread is in the run of batches.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The last batch that came in, and the last that is durable.
    last: u64,
    committed: u64,
    /// No batch came yet that was made in knowledge of the last refusal.
    refusing: bool,
}

/// Batches that become one record.
#[derive(Debug, Default)]
pub(super) struct Group {
    batches: Vec<(BatchId, Vec<u8>)>,
    bytes: usize,
}

impl Group {
    /// Whether this many bytes more can be joined. A record stays far below the size of a journal file.
    fn takes(&self, bytes: usize) -> bool {
        self.batches.is_empty() || self.bytes + bytes <= limits::BATCH_BYTES_MAX
    }
}

impl<F: JournalFile> Worker<F> {
    fn run(mut self, queue: &Receiver<Job>) {
        let mut group = Group::default();
        while let Ok(first) = queue.recv() {
            let mut next = Some(first);
            while let Some(job) = next.take() {
                self.perform(&mut group, job);
                next = queue.try_recv().ok();
            }
            self.commit(&mut group);
        }
    }

    /// Joins a batch to the group; anything else is done once the group is written.
    pub(super) fn perform(&mut self, group: &mut Group, job: Job) {
        match job {
            Job::Commit(batch, bytes) => {
                if !group.takes(bytes.len()) {
                    self.commit(group);
                }
                self.join(group, batch, bytes);
            }
            Job::Flush(layer) => {
                self.commit(group);
                let outcome = self.flush(&layer);
                // The server may take the rows back out of a layer that nobody else holds.
                drop(layer);
                self.mailbox.post(Answer::Flushed(outcome));
            }
            Job::Backup(query, path) => {
                self.commit(group);
                self.backup(query, path);
            }
        }
    }

    /// Adds a batch to the group, unless a refusal speaks for it already.
    fn join(&mut self, group: &mut Group, batch: BatchId, bytes: Vec<u8>) {
        let follows = batch.0 == self.order.last + 1;
        self.order.last = batch.0;
        self.order.refusing &= follows;
        if !self.order.refusing {
            group.bytes += bytes.len();
            group.batches.push((batch, bytes));
        }
    }

    /// Makes the group durable, and empties it.
    pub(super) fn commit(&mut self, group: &mut Group) {
        let (Some((first, _)), Some((last, _))) = (group.batches.first(), group.batches.last()) else { return };
        let (first, last) = (*first, *last);
        match self.journal.append(group.batches.iter().map(|(_, bytes)| &**bytes)) {
            Ok(_) => {
                self.order.committed = last.0;
                self.wear.batches.fetch_add(group.batches.len() as u64, Relaxed);
                self.mailbox.post(Answer::Committed(last));
            }
            Err(error) => {
                self.complain(format_args!("the journal cannot take {} bytes: {error}", group.bytes));
                self.order.refusing = true;
                self.mailbox.post(Answer::Refused(first, reason_io(&error)));
            }
        }
        group.batches.clear();
        group.bytes = 0;
    }

    fn flush(&mut self, layer: &Layer) -> Result<(), StoreError> {
        if layer.through().0 > self.order.committed {
            // It holds what was refused, and was taken back with it.
            return Err(StoreError::Io);
        }
        let through = self.journal.last();
        match self.base.flush(layer, through) {
            Ok(()) => {
                self.journal.applied(through);
                self.wear.flushes.fetch_add(1, Relaxed);
                Ok(())
            }
            Err(error) => {
                self.complain(format_args!("the database cannot be written: {error}"));
                Err(reason(&error))
            }
        }
    }

    fn complain(&mut self, words: fmt::Arguments<'_>) {
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAINTS_APART) {
            self.complained = Some(Instant::now());
            log::error!("{words}");
        }
    }

    /// The copy is made on a thread of its own, from what is durable now.
    fn backup(&self, query: QueryId, path: PathBuf) {
        let mailbox = self.mailbox.clone();
        let started = self.snapshot(path).and_then(|snapshot| {
            let copy = move || mailbox.post(Answer::BackedUp(query, snapshot.write()));
            let thread = thread::Builder::new().name("lampone-backup".into()).spawn(copy);
            thread.map_err(|error| format!("no thread for the backup: {error}"))
        });
        if let Err(words) = started {
            self.mailbox.post(Answer::BackedUp(query, Err(words)));
        }
    }

    fn snapshot(&self, path: PathBuf) -> Result<Snapshot, String> {
        let words = |error: &dyn fmt::Display| format!("{}: no state to copy: {error}", path.display());
        let read = self.base.begin_read().map_err(|error| words(&error))?;
        let journal = self.journal.unapplied().map_err(|error| words(&error))?;
        Ok(Snapshot { read, journal, schema: self.schema, cache_bytes: self.cache_bytes, path })
    }
}
