//! The thread that writes, and the short way past it.
//!
//! Batches that wait are joined into one journal record: one write, one sync, one answer. Under load groups grow by
//! themselves; a lone batch waits for nothing. Flushes and backups stand in the same queue.
//!
//! Waking a thread and being woken by it costs more than the sync itself on a fast disk. So while the thread has nothing
//! to do and the last syncs were mostly swift, the main thread writes its batch itself, at the end of its round. A few
//! slow ones, or one that is very slow, and the thread does it again for a good while: a card that takes milliseconds
//! does not hold up the house.
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
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
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
pub(super) struct Committer<F: JournalFile> {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared<F>>,
    /// Batches that the main thread writes itself when its round is over.
    own: Group,
}

/// What both threads hold. The lock is never waited for: the main thread takes it only while nothing is queued.
struct Shared<F> {
    worker: Mutex<Worker<F>>,
    /// Jobs sent and not done.
    queued: AtomicUsize,
}

impl<F: JournalFile> Shared<F> {
    fn worker(&self) -> MutexGuard<'_, Worker<F>> {
        // A panic of its holder ends the process.
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: JournalFile + 'static> Committer<F> {
    /// Starts the thread.
    pub(super) fn start(worker: Worker<F>) -> io::Result<Committer<F>> {
        let (jobs, queue) = channel();
        let shared = Arc::new(Shared { worker: Mutex::new(worker), queued: AtomicUsize::new(0) });
        let theirs = shared.clone();
        let thread = thread::Builder::new().name("lampone-store".into()).spawn(move || {
            // Without this thread nothing is durable any more; the service manager starts a sound process.
            let guard = AbortOnPanic;
            run(&theirs, &queue);
            std::mem::forget(guard);
        })?;
        Ok(Committer { jobs: Some(jobs), thread: Some(thread), shared, own: Group::default() })
    }

    /// Takes a batch; it is on its way to the medium at once, or when the round is over.
    pub(super) fn commit(&mut self, batch: BatchId, bytes: Vec<u8>) {
        let idle = self.shared.queued.load(Acquire) == 0;
        if idle && self.own.takes(bytes.len()) && self.shared.worker().is_swift() {
            self.own.push(batch, bytes);
        } else {
            self.send(Job::Commit(batch, bytes));
        }
    }

    /// The main thread has said what it had to say: it writes what it took upon itself.
    pub(super) fn settle(&mut self) -> Option<Answer> {
        if self.own.batches.is_empty() {
            return None;
        }
        let guard = AbortOnPanic;
        let group = std::mem::take(&mut self.own);
        let mut worker = self.shared.worker();
        let mut joined = Group::default();
        for (batch, bytes) in group.batches {
            worker.join(&mut joined, batch, bytes);
        }
        let answer = worker.commit(&mut joined);
        std::mem::forget(guard);
        answer
    }

    /// Queues a job, behind the batches that the main thread has not written yet.
    pub(super) fn send(&mut self, job: Job) {
        let Some(jobs) = &self.jobs else { return };
        let own = std::mem::take(&mut self.own).batches;
        for job in own.into_iter().map(|(batch, bytes)| Job::Commit(batch, bytes)).chain([job]) {
            self.shared.queued.fetch_add(1, Relaxed);
            // The receiver goes only with the thread, and that takes the process along.
            let _ = jobs.send(job);
        }
    }
}

impl<F: JournalFile> Drop for Committer<F> {
    fn drop(&mut self) {
        if let Some(jobs) = self.jobs.take() {
            for (batch, bytes) in std::mem::take(&mut self.own).batches {
                let _ = jobs.send(Job::Commit(batch, bytes));
            }
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's life.
fn run<F: JournalFile>(shared: &Shared<F>, queue: &Receiver<Job>) {
    let mut group = Group::default();
    while let Ok(first) = queue.recv() {
        let mut worker = shared.worker();
        let mut done = 0;
        let mut next = Some(first);
        while let Some(job) = next.take() {
            worker.perform(&mut group, job);
            done += 1;
            next = queue.try_recv().ok();
        }
        let answer = worker.commit(&mut group);
        let mailbox = worker.mailbox.clone();
        drop(worker);
        // Before the answer wakes the main thread, so that it finds nothing queued.
        shared.queued.fetch_sub(done, Release);
        if let Some(answer) = answer {
            mailbox.post(answer);
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
    pub(super) pace: Pace,
}

/// How the medium has kept up lately.
#[derive(Debug)]
pub(super) struct Pace {
    /// What speaks against the medium: each swift sync takes one from it, each slow one adds the more the slower it was.
    doubt: u64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { doubt: limits::SYNC_DOUBT_MAX + limits::SWIFT_SYNCS_FIRST }
    }
}

impl Pace {
    fn took(&mut self, time: Duration) {
        let too_slow = time.as_micros() as u64 / limits::SWIFT_SYNC_US;
        self.doubt = match too_slow {
            0 => self.doubt.saturating_sub(1),
            times => {
                let doubt = self.doubt.saturating_add(times.saturating_mul(limits::SLOW_SYNC_DOUBT));
                doubt.min(limits::SYNC_DOUBT_MAX + limits::SWIFT_SYNCS_AGAIN)
            }
        };
    }

    fn is_swift(&self) -> bool {
        self.doubt <= limits::SYNC_DOUBT_MAX
    }
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

    fn push(&mut self, batch: BatchId, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        self.batches.push((batch, bytes));
    }
}

impl<F: JournalFile> Worker<F> {
    /// Whether the last syncs were so fast that the main thread may wait for one.
    fn is_swift(&self) -> bool {
        self.pace.is_swift()
    }

    /// Joins a batch to the group; anything else is done once the group is written.
    pub(super) fn perform(&mut self, group: &mut Group, job: Job) {
        match job {
            Job::Commit(batch, bytes) => {
                if !group.takes(bytes.len()) {
                    self.commit_and_answer(group);
                }
                self.join(group, batch, bytes);
            }
            Job::Flush(layer) => {
                self.commit_and_answer(group);
                let outcome = self.flush(&layer);
                // The server may take the rows back out of a layer that nobody else holds.
                drop(layer);
                self.mailbox.post(Answer::Flushed(outcome));
            }
            Job::Backup(query, path) => {
                self.commit_and_answer(group);
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
            group.push(batch, bytes);
        }
    }

    /// [`Worker::commit`], with its answer in the mailbox.
    pub(super) fn commit_and_answer(&mut self, group: &mut Group) {
        if let Some(answer) = self.commit(group) {
            self.mailbox.post(answer);
        }
    }

    /// Makes the group durable, and empties it. The answer; `None` if nothing was in it.
    pub(super) fn commit(&mut self, group: &mut Group) -> Option<Answer> {
        let (first, last) = (group.batches.first()?.0, group.batches.last()?.0);
        let begun = Instant::now();
        let answer = match self.journal.append(group.batches.iter().map(|(_, bytes)| &**bytes)) {
            Ok(_) => {
                self.order.committed = last.0;
                self.wear.batches.fetch_add(group.batches.len() as u64, Relaxed);
                Answer::Committed(last)
            }
            Err(error) => {
                self.complain(format_args!("the journal cannot take {} bytes: {error}", group.bytes));
                self.order.refusing = true;
                Answer::Refused(first, reason_io(&error))
            }
        };
        self.pace.took(begun.elapsed());
        group.batches.clear();
        group.bytes = 0;
        Some(answer)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn after(syncs: impl IntoIterator<Item = u64>) -> bool {
        let mut pace = Pace::default();
        for ms in syncs {
            pace.took(Duration::from_millis(ms));
        }
        pace.is_swift()
    }

    #[test]
    fn the_main_thread_trusts_a_medium_that_was_swift_for_a_while() {
        let first = limits::SWIFT_SYNCS_FIRST as usize;
        assert!(!after(vec![0; first - 1]));
        assert!(after(vec![0; first]));
    }

    #[test]
    fn a_busy_machine_may_be_late_now_and_then_and_a_slow_card_may_not() {
        let swift = [0; 100];
        assert!(after(swift.into_iter().chain([3])));
        assert!(after(swift.into_iter().chain([0, 0, 0, 0, 0, 3].repeat(50))));
        assert!(!after(swift.into_iter().chain([3, 3, 3])));
        assert!(!after(swift.into_iter().chain([20])), "once, and long");
        assert!(!after(swift.into_iter().chain([20]).chain([0; 10])), "and for a while");
        assert!(after(swift.into_iter().chain([20]).chain([0; 80])));
    }
}
