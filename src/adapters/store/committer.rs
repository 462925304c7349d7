//! The thread that writes.
//!
//! It takes whatever waits and makes it durable as one group, so that groups grow by themselves under load and a lone
//! batch is written at once. Invariant: answers come in the order of the jobs, and after a refused batch nothing is
//! written until a batch comes that was made in knowledge of the refusal: the numbers of batches follow one another,
//! except after a refusal, when the main thread leaves one out.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::{
    Wear,
    database::{self, Database},
    journal::Journal,
};
use crate::{
    adapters::port::{Answer, Mailbox},
    domain::overlay::Layer,
    router::event::{BatchId, QueryId, StoreError},
};

/// Something to do, in order.
pub enum Job {
    /// Make a batch durable.
    Commit(BatchId, Vec<u8>),
    /// Move a layer, which holds all batches before it, into the database.
    Flush(Arc<Layer>),
    /// Copy everything to a file.
    Backup(QueryId, PathBuf),
}

/// The main thread's end. The queue is bounded by its user: at most `limits::BATCHES_IN_FLIGHT_MAX` batches and one
/// flush are under way.
pub struct Committer {
    jobs: Option<Sender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// One line: no thread could be started.
    pub fn start(database: Database, journal: Journal, mailbox: Mailbox, wear: Arc<Wear>) -> Result<Committer, String> {
        let (sender, jobs) = channel();
        let writer = Writer { database, journal, mailbox, wear, last: 0, refusing: false, flush_is_void: false };
        let thread = thread::Builder::new().name("lampone-store".into()).spawn(move || writer.run(&jobs));
        let thread = thread.map_err(|e| format!("the store's thread cannot be started: {e}"))?;
        Ok(Committer { jobs: Some(sender), thread: Some(thread) })
    }

    /// Queues a job.
    pub fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only with the queue.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Committer {
    /// What was queued is written before the process ends.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    database: Database,
    journal: Journal,
    mailbox: Mailbox,
    wear: Arc<Wear>,
    /// The number of the last batch that came in.
    last: u64,
    refusing: bool,
    /// The next flush was perhaps made before the main thread knew of a refusal: its layer may hold what was refused.
    flush_is_void: bool,
}

impl Writer {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut group: Vec<(BatchId, Vec<u8>)> = Vec::new();
        while let Ok(first) = jobs.recv() {
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::Commit(batch, puts) => group.push((batch, puts)),
                    other => {
                        self.commit(&mut group);
                        self.perform(other);
                    }
                }
                next = jobs.try_recv().ok();
            }
            self.commit(&mut group);
        }
    }

    fn commit(&mut self, group: &mut Vec<(BatchId, Vec<u8>)>) {
        while self.refusing && group.first().is_some_and(|(batch, _)| batch.0 == self.last + 1) {
            // Made before the main thread knew; it takes this one back with the first one.
            let (batch, _) = group.remove(0);
            self.last = batch.0;
            self.mailbox.post(Answer::Refused(batch, StoreError::Io));
        }
        let Some((first, _)) = group.first() else { return };
        let first = *first;
        self.last = group.last().map_or(self.last, |(batch, _)| batch.0);
        let written = self.journal.mend().and_then(|()| self.journal.append(group.iter().map(|(_, puts)| &**puts)));
        match written {
            Ok(()) => {
                (self.refusing, self.flush_is_void) = (false, false);
                self.wear.batches.fetch_add(group.len() as u64, Ordering::Relaxed);
                self.mailbox.post(Answer::Committed(BatchId(self.last)));
                group.clear();
            }
            Err(error) => {
                log::error!("the journal cannot be written: {error}");
                let full = error.kind() == std::io::ErrorKind::StorageFull;
                log::debug!("batches from {} on are refused", first.0);
                self.refuse(group, if full { StoreError::Full } else { StoreError::Io });
            }
        }
    }

    fn refuse(&mut self, group: &mut Vec<(BatchId, Vec<u8>)>, error: StoreError) {
        (self.refusing, self.flush_is_void) = (true, true);
        if let Some((first, _)) = group.first() {
            self.mailbox.post(Answer::Refused(*first, error));
        }
        group.clear();
    }

    fn perform(&mut self, job: Job) {
        match job {
            Job::Flush(_) if std::mem::take(&mut self.flush_is_void) => {
                self.mailbox.post(Answer::Flushed(Err(StoreError::Io)));
            }
            Job::Flush(layer) => {
                let outcome = self.flush(&layer);
                if outcome.is_ok() {
                    self.journal.switch();
                    self.wear.flushes.fetch_add(1, Ordering::Relaxed);
                }
                self.mailbox.post(Answer::Flushed(outcome));
            }
            Job::Backup(query, file) => self.backup(query, file),
            Job::Commit(..) => {}
        }
    }

    fn flush(&mut self, layer: &Layer) -> Result<(), StoreError> {
        // Else a refused record would stand in the half that is left behind.
        self.journal.mend().map_err(|error| {
            log::error!("the journal cannot be mended: {error}");
            StoreError::Io
        })?;
        self.database.apply(self.journal.last(), layer).map_err(|error| {
            log::error!("the database cannot be written: {error}");
            if database::is_full(&error) { StoreError::Full } else { StoreError::Io }
        })
    }

    /// The copy is made on a thread of its own, from what is durable now: a snapshot of the database and the records
    /// behind it.
    fn backup(&mut self, query: QueryId, file: PathBuf) {
        let view = self.database.view();
        let records = self.journal.payloads(self.database.applied());
        let mailbox = self.mailbox.clone();
        let copy = move || {
            let outcome = match records {
                Ok(records) => Database::copy(&view, &records, &file),
                Err(error) => Err(format!("the journal cannot be read: {error}")),
            };
            mailbox.post(Answer::BackedUp(query, outcome));
        };
        if let Err(error) = thread::Builder::new().name("lampone-backup".into()).spawn(copy) {
            self.mailbox.post(Answer::BackedUp(query, Err(format!("no thread for it: {error}"))));
        }
    }
}
