//! Threads for work that waits for the disk.
//!
//! Invariants: there are never more threads than were allowed, and they start when there is work; one that found nothing
//! to do for [`IDLE`] ends, so that an idle house has no thread to be woken. (The pool of the `blocking` crate keeps its
//! threads and wakes each of them twice a second.)

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// How long a thread waits for more: longer than the pauses between the blocks of one upload.
const IDLE: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce() + Send>;

/// What waits, and who could do it.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    bell: Condvar,
}

impl Shared {
    /// A job never runs under the lock, so nothing is broken if a thread panicked.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread, until there is nothing more to do.
    fn work(&self) {
        let mut queue = self.queue();
        loop {
            while let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                // Whoever waits for the job sees that its answer never comes.
                let _ = catch_unwind(AssertUnwindSafe(job));
                queue = self.queue();
            }
            queue.idle += 1;
            let waited = self.bell.wait_timeout(queue, IDLE);
            let timed_out;
            (queue, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
            if timed_out.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

/// A handful of threads.
#[derive(Clone)]
pub struct Workers {
    shared: Arc<Shared>,
    name: &'static str,
    max: usize,
}

impl Workers {
    /// At most `max` threads of this name; none yet.
    pub fn new(name: &'static str, max: usize) -> Workers {
        let shared = Shared { queue: Mutex::default(), bell: Condvar::new() };
        Workers { shared: Arc::new(shared), name, max }
    }

    /// Has work done and waits for what comes of it. What waits is bounded by who waits. `None`: it panicked, or there was
    /// no thread to be had.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (sender, receiver) = smol::channel::bounded(1);
        self.start(move || {
            // Whoever asked may be gone.
            let _ = sender.send_blocking(work());
        });
        receiver.recv().await.ok()
    }

    /// Has work done that nobody waits for.
    pub fn start(&self, work: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.queue();
        queue.jobs.push_back(Box::new(work));
        if queue.idle >= queue.jobs.len() {
            self.shared.bell.notify_one();
            return;
        }
        if queue.threads == self.max {
            return;
        }
        queue.threads += 1;
        let shared = self.shared.clone();
        let started = thread::Builder::new().name(self.name.into()).spawn(move || shared.work());
        if let Err(error) = started {
            queue.threads -= 1;
            log::error!("no thread for work on files: {error}");
            if queue.threads == 0 {
                // Nobody will ever do it: whoever waits is told now.
                queue.jobs.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    };

    use smol::future::{block_on, zip};

    use super::*;

    #[test]
    fn work_is_done_side_by_side_up_to_the_bound() {
        let workers = Workers::new("test", 2);
        let meet = Arc::new(Barrier::new(2));
        let waits = |meet: &Arc<Barrier>| {
            let meet = meet.clone();
            move || meet.wait().is_leader()
        };
        let (one, other) = block_on(zip(workers.run(waits(&meet)), workers.run(waits(&meet))));
        assert_ne!(one.unwrap(), other.unwrap(), "both were there at once");
        assert!(workers.shared.queue().threads <= 2);
    }

    #[test]
    fn whoever_asked_for_work_that_panics_is_told_and_others_are_served() {
        let workers = Workers::new("test", 1);
        let broken = block_on(workers.run(|| -> u8 { panic!("on purpose") }));
        assert_eq!((broken, block_on(workers.run(|| 7))), (None, Some(7)));
    }

    #[test]
    fn a_crowd_waits_for_few_threads() {
        let workers = Workers::new("test", 2);
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..100 {
            let done = done.clone();
            workers.start(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert!(workers.shared.queue().threads <= 2);
        // Threads take jobs in order, so this one is behind all but those under way.
        block_on(workers.run(|| ()));
        block_on(workers.run(|| ()));
        assert!(done.load(Ordering::Relaxed) >= 99);
    }
}
