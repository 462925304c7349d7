//! A disk that can be slow, refuse, and forget what was not synced.
//!
//! It behaves as the store's thread does: jobs are done in the order in which they were handed over, a refused batch
//! takes with it all that was made before the server knew, and what was answered `Committed` survives everything.

use std::{collections::VecDeque, sync::Arc};

use lampone::{
    domain::{
        overlay::{self, Layer, Op},
        store::MemoryView,
    },
    router::event::{BatchId, StoreError},
};

enum Job {
    Commit(BatchId, Vec<u8>),
    Flush { layer: Arc<Layer>, covers: BatchId },
}

/// What the disk says.
pub enum Answer {
    /// See `Event::Committed`.
    Committed(BatchId),
    /// See `Event::Refused`.
    Refused(BatchId, StoreError),
    /// See `Event::Flushed`.
    Flushed(Result<(), StoreError>),
}

/// The database, the journal, and the jobs not yet done.
#[derive(Default)]
pub struct Disk {
    /// The database as of the last flush.
    pub view: MemoryView,
    journal: VecDeque<(BatchId, Vec<u8>)>,
    queue: VecDeque<Job>,
    last: Option<BatchId>,
    flushing: Option<(Arc<Layer>, BatchId)>,
    /// Nothing is written until a batch comes that was made in knowledge of a refusal: it leaves one number out.
    refusing: bool,
    seen: u64,
    flush_is_void: bool,
    /// Nothing gets done.
    pub held: bool,
    /// So many commits are done before one is refused.
    pub refuse_in: Option<u32>,
    /// So many flushes are done before one fails.
    pub fail_flush_in: Option<u32>,
    /// Batches committed since the start.
    pub commits: u64,
}

impl Disk {
    /// Takes a batch.
    pub fn commit(&mut self, batch: BatchId, bytes: Vec<u8>) {
        self.last = Some(batch);
        self.queue.push_back(Job::Commit(batch, bytes));
    }

    /// Takes a layer for the database.
    pub fn flush(&mut self, layer: Arc<Layer>) {
        let covers = match &self.flushing {
            // Offered again: it covers no more than it did then.
            Some((before, covers)) if Arc::ptr_eq(before, &layer) => *covers,
            _ => self.last.unwrap_or(BatchId(0)),
        };
        self.flushing = Some((layer.clone(), covers));
        self.queue.push_back(Job::Flush { layer, covers });
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Does one job, unless it is held.
    pub fn work(&mut self) -> Option<Answer> {
        if self.held {
            return None;
        }
        self.step()
    }

    /// Does one job.
    pub fn step(&mut self) -> Option<Answer> {
        match self.queue.pop_front()? {
            Job::Commit(batch, bytes) => {
                let behind_refused = self.refusing && batch.0 == self.seen + 1;
                self.seen = batch.0;
                if behind_refused || counts_down(&mut self.refuse_in) {
                    (self.refusing, self.flush_is_void) = (true, true);
                    return Some(Answer::Refused(batch, StoreError::Full));
                }
                (self.refusing, self.flush_is_void) = (false, false);
                self.commits += 1;
                self.journal.push_back((batch, bytes));
                Some(Answer::Committed(batch))
            }
            Job::Flush { .. } if std::mem::take(&mut self.flush_is_void) => Some(Answer::Flushed(Err(StoreError::Io))),
            Job::Flush { layer, covers } => {
                if counts_down(&mut self.fail_flush_in) {
                    return Some(Answer::Flushed(Err(StoreError::Full)));
                }
                self.view.apply(&layer);
                self.journal.retain(|(batch, _)| *batch > covers);
                Some(Answer::Flushed(Ok(())))
            }
        }
    }

    /// The power fails while jobs wait, and comes back: the first `survive` batches reached the disk although nobody
    /// could say so any more; then the journal is read into the database.
    pub fn power_cut(&mut self, survive: usize) {
        let batches = std::mem::take(&mut self.queue).into_iter().filter_map(|job| match job {
            Job::Commit(batch, bytes) => Some((batch, bytes)),
            Job::Flush { .. } => None,
        });
        self.journal.extend(batches.take(survive));
        for (_, bytes) in std::mem::take(&mut self.journal) {
            let whole = overlay::decode(&bytes, |op| match op {
                Op::Put(key, value) => {
                    self.view.rows.insert(key.to_vec(), value.to_vec());
                }
                Op::Remove(key) => {
                    self.view.rows.remove(key);
                }
            });
            assert!(whole, "a batch that was written can be read");
        }
        (self.last, self.flushing, self.refusing, self.seen, self.flush_is_void) = (None, None, false, 0, false);
    }
}

fn counts_down(counter: &mut Option<u32>) -> bool {
    match counter {
        Some(0) => {
            *counter = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}
