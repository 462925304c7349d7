//! Overlay, thread and database together, on a medium that fails and loses its power, from seeds. What was answered
//! `Committed` is there afterwards; what was refused is not.

use std::{
    ops::ControlFlow,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use redb::{Database, ReadableTable};
use smol::channel::Receiver;

use super::{
    Dice,
    journal::journal,
    medium::{Disk, DiskFile},
};
use crate::{
    adapters::{
        port::{Answer, Mailbox},
        store::{
            committer::{Group, Job, Order, Pace, Worker},
            database::{Base, DatabaseView, open_backend},
            identify, replay_into, schema,
        },
    },
    domain::{
        overlay::{self, Layer, Op, Overlay},
        store::{MemoryView, View},
    },
    router::event::BatchId,
};

/// Server and store, without the thread: its jobs are done when the test says so.
struct House {
    disk: Disk,
    overlay: Overlay,
    worker: Worker<DiskFile>,
    group: Group,
    answers: Receiver<Answer>,
    view: DatabaseView,
    /// The number of the open batch.
    open: u64,
    flushing: bool,
    /// What is durable for sure, and what may be.
    durable: MemoryView,
    handed: Vec<(BatchId, Vec<u8>)>,
    doubtful: Vec<MemoryView>,
}

fn open_disk(disk: &Disk) -> Result<Database, redb::Error> {
    open_backend(disk.file(2), 64 * 1024)
}

fn rows_of(base: &Base) -> MemoryView {
    let read = base.begin_read().unwrap();
    let table = read.open_table(schema::ROWS).unwrap();
    let mut rows = MemoryView::default();
    for row in table.iter().unwrap() {
        let (key, value) = row.unwrap();
        if !key.value().starts_with(b"!") {
            rows.rows.insert(key.value().to_vec(), value.value().to_vec());
        }
    }
    rows
}

fn apply_batch(rows: &mut MemoryView, bytes: &[u8]) {
    assert!(overlay::decode(bytes, |op| {
        match op {
            Op::Put(key, value) => rows.rows.insert(key.to_vec(), value.to_vec()),
            Op::Remove(key) => rows.rows.remove(key),
        };
    }));
}

impl House {
    /// Starts on what is on the disk and checks it against what was promised.
    fn open(disk: Disk, seed: u64, expected: &[MemoryView]) -> House {
        let database = open_disk(&disk).unwrap();
        let identity = identify(&database, 1).unwrap();
        let mut journal = journal(&disk, seed, identity.store, identity.applied);
        replay_into(&mut journal, &database).unwrap();
        let opener = disk.clone();
        let base = Base::new(database, Box::new(move || open_disk(&opener)));
        let durable = rows_of(&base);
        let found = expected.iter().any(|rows| rows.rows == durable.rows);
        assert!(found, "seed {seed}: rows are missing, or refused ones are back");
        let (mailbox, answers) = Mailbox::new();
        let view = DatabaseView::new(base.clone(), Arc::default());
        let worker = Worker {
            journal,
            base,
            mailbox,
            wear: Arc::default(),
            schema: 1,
            cache_bytes: 64 * 1024,
            order: Order::default(),
            complained: None,
            pace: Pace::default(),
        };
        House {
            disk,
            overlay: Overlay::default(),
            worker,
            group: Group::default(),
            answers,
            view,
            open: 1,
            flushing: false,
            durable,
            handed: Vec::new(),
            doubtful: Vec::new(),
        }
    }

    /// The server's side of the protocol (`server/durable.rs`).
    fn handle(&mut self) {
        while let Ok(answer) = self.answers.try_recv() {
            match answer {
                Answer::Committed(last) => {
                    self.overlay.committed(last);
                    for (_, bytes) in self.handed.extract_if(.., |(batch, _)| *batch <= last) {
                        apply_batch(&mut self.durable, &bytes);
                    }
                    self.doubtful.clear();
                }
                Answer::Refused(first, _) => {
                    self.overlay.refused(first);
                    self.open += 1;
                    // One record holds some of the batches from the first one on, all or none.
                    let clean = self.worker.journal.is_clean();
                    let mut doubtful = self.durable.clone();
                    for (_, bytes) in self.handed.drain(..) {
                        apply_batch(&mut doubtful, &bytes);
                        if !clean {
                            self.doubtful.push(doubtful.clone());
                        }
                    }
                    if clean {
                        self.doubtful.clear();
                    }
                }
                Answer::Flushed(outcome) => {
                    self.flushing = false;
                    self.overlay.flushed(outcome.is_ok());
                }
                Answer::BackedUp(..) => unreachable!(),
            }
        }
    }

    fn write(&mut self, dice: &mut Dice) {
        for _ in 0..=dice.below(6) {
            let key = [b'k', dice.below(40) as u8];
            match dice.below(5) {
                0 => self.overlay.remove(&key),
                1 => self.overlay.forget(&key),
                2 => self.overlay.put_new(&[&b"n"[..], &dice.next().to_be_bytes()].concat(), &[1; 30]),
                _ => self.overlay.put(&key, &vec![dice.next() as u8; dice.below(300) as usize]),
            }
        }
    }

    fn hand_over(&mut self) -> bool {
        let batch = BatchId(self.open);
        let Some(bytes) = self.overlay.take_batch(batch) else { return false };
        self.open += 1;
        self.handed.push((batch, bytes.clone()));
        self.worker.perform(&mut self.group, Job::Commit(batch, bytes));
        true
    }

    fn freeze(&mut self) -> bool {
        let Some(layer) = self.overlay.freeze() else { return false };
        self.flushing = true;
        self.worker.perform(&mut self.group, Job::Flush(layer));
        true
    }

    /// The thread's queue is empty, and the server hears of it.
    fn finish(&mut self) {
        self.worker.commit_and_answer(&mut self.group);
        self.handle();
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.overlay.put(key, value);
        assert!(self.hand_over());
        self.finish();
    }

    fn step(&mut self, dice: &mut Dice) {
        // Several batches, and a flush, may be handed over before an answer is heard.
        for _ in 0..=dice.below(3) {
            self.write(dice);
            if dice.one_in(3) {
                continue;
            }
            self.hand_over();
            if dice.one_in(3) {
                self.worker.commit_and_answer(&mut self.group);
            }
            if dice.one_in(4) && !self.flushing {
                self.freeze();
            }
        }
        self.finish();
        if dice.one_in(4) {
            self.freeze();
            self.finish();
        }
    }

    /// What the server reads is what was promised, and what is still open.
    fn check(&mut self, seed: u64) {
        let mut expected = self.durable.clone();
        if !self.hand_over_aside(&mut expected) {
            return;
        }
        let found = self.overlay.scan(&self.view, b"a", b"z", false, usize::MAX);
        assert_eq!(found, expected.rows.into_iter().collect::<Vec<_>>(), "seed {seed}");
    }

    /// Hands the open batch over and makes it durable on a medium that is sound for the moment.
    fn hand_over_aside(&mut self, expected: &mut MemoryView) -> bool {
        self.disk.faults(0, 0);
        self.hand_over();
        for (_, bytes) in &self.handed {
            apply_batch(expected, bytes);
        }
        self.finish();
        self.handed.is_empty() && self.durable.rows == expected.rows
    }
}

/// Batches committed, refused, and layers moved.
fn house_run(seed: u64) -> [u64; 3] {
    let mut dice = Dice::new(seed ^ 0xdb);
    let disk = Disk::new(seed, &[8192, 8192, 0]);
    let mut house = House::open(disk, seed, &[MemoryView::default()]);
    let mut count = [0; 3];
    for life in 1..4 {
        let faults = ([0, 5, 30][dice.below(3) as usize], [0, 100, 300][dice.below(3) as usize]);
        for _ in 0..dice.below(40) {
            house.disk.faults(faults.0, faults.1);
            let (before, committed) = (house.open, house.worker.wear.batches.load(Relaxed));
            house.step(&mut dice);
            count[1] += (house.open - before).saturating_sub(house.worker.wear.batches.load(Relaxed) - committed);
            if !house.disk.is_powered() {
                break;
            }
            if dice.one_in(5) {
                house.check(seed);
            }
        }
        count[0] += house.worker.wear.batches.load(Relaxed);
        count[2] += house.worker.wear.flushes.load(Relaxed);
        let House { disk, worker, view, durable, mut doubtful, .. } = house;
        doubtful.push(durable);
        // Whatever the database still wants to write when it is dropped comes too late.
        disk.faults(0, 1);
        drop((worker, view));
        disk.power_cut();
        house = House::open(disk, seed + life * 1000, &doubtful);
    }
    count
}

#[test]
fn the_store_keeps_its_word_when_journal_and_database_fail() {
    let mut sum = [0; 3];
    for seed in 0..300 {
        sum.iter_mut().zip(house_run(seed)).for_each(|(sum, count)| *sum += count);
    }
    assert!(sum[0] > 5_000 && sum[1] > 500 && sum[2] > 500, "the seeds try all cases: {sum:?}");
}

#[test]
fn a_full_disk_keeps_the_layer_and_the_next_flush_takes_it() {
    let mut house = House::open(Disk::new(3, &[1 << 16, 1 << 16, 0]), 3, &[MemoryView::default()]);
    house.put(b"a", b"1");
    assert_eq!(house.view.read(b"a"), None);
    house.disk.faults(1, 0);
    assert!(house.freeze());
    house.disk.faults(0, 0);
    house.finish();
    assert_eq!(house.overlay.read(&house.view, b"a"), Some(b"1".to_vec()));
    assert_eq!(house.view.read(b"a"), None);
    assert!(house.freeze());
    house.finish();
    assert_eq!(house.view.read(b"a"), Some(b"1".to_vec()));
    assert!(house.overlay.is_empty());
}

#[test]
fn a_flush_behind_a_refused_batch_is_answered_and_not_done() {
    let mut house = House::open(Disk::new(6, &[1 << 16, 1 << 16, 0]), 6, &[MemoryView::default()]);
    house.put(b"kept", b"1");
    house.overlay.put(b"refused", b"2");
    house.disk.faults(1, 0);
    assert!(house.hand_over());
    house.worker.commit_and_answer(&mut house.group);
    house.disk.faults(0, 0);
    // The answer has not been heard.
    assert!(house.freeze());
    house.finish();
    assert!(!house.flushing);
    assert_eq!((house.view.read(b"kept"), house.view.read(b"refused")), (None, None));
    // Frozen in knowledge of the refusal, without any batch between.
    assert!(house.freeze());
    house.finish();
    assert_eq!((house.view.read(b"kept"), house.view.read(b"refused")), (Some(b"1".to_vec()), None));
}

#[test]
fn a_full_journal_refuses_until_the_database_takes_a_layer() {
    let mut house = House::open(Disk::new(7, &[4096, 4096, 0]), 7, &[MemoryView::default()]);
    for n in 0..10u8 {
        house.put(&[n], &[n; 1000]);
    }
    let kept = house.durable.rows.len();
    assert!((4..10).contains(&kept) && house.overlay.read(&house.view, &[9]).is_none());
    assert!(house.freeze());
    house.finish();
    house.put(b"z", b"1");
    assert_eq!(house.durable.rows.len(), kept + 1);
}

#[test]
fn a_scan_goes_on_where_it_was_when_the_database_is_opened_again() {
    for back in [false, true] {
        let mut house = House::open(Disk::new(4, &[1 << 19, 1 << 19, 0]), 4, &[MemoryView::default()]);
        for n in 0..300u32 {
            house.overlay.put(&n.to_be_bytes(), &[n as u8; 300]);
        }
        assert!(house.hand_over() && house.freeze());
        house.finish();
        let House { worker, group, disk, view, .. } = &mut house;
        let mut seen = Vec::new();
        view.scan(&[0; 4], &[1, 0, 0, 0], back, &mut |key, _| {
            seen.push(u32::from_be_bytes(key.try_into().unwrap()));
            if seen.len() == 50 {
                disk.faults(1, 0);
                worker.perform(group, Job::Flush(Arc::new(Layer::default())));
                disk.faults(0, 0);
            }
            ControlFlow::Continue(())
        });
        let mut expected: Vec<u32> = (0..300).collect();
        if back {
            expected.reverse();
        }
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_read_that_fails_once_is_tried_on_a_database_opened_again() {
    let mut house = House::open(Disk::new(5, &[1 << 16, 1 << 16, 0]), 5, &[MemoryView::default()]);
    house.put(b"a", b"1");
    assert!(house.freeze());
    house.finish();
    house.disk.faults(1, 0);
    house.worker.perform(&mut house.group, Job::Flush(Arc::new(Layer::default())));
    house.disk.faults(0, 0);
    house.disk.fail_reads(1);
    assert_eq!(house.view.read(b"a"), Some(b"1".to_vec()));
}

#[test]
#[should_panic(expected = "the database cannot be read")]
fn a_read_that_keeps_failing_never_says_that_there_is_no_row() {
    let mut house = House::open(Disk::new(8, &[1 << 16, 1 << 16, 0]), 8, &[MemoryView::default()]);
    house.put(b"a", b"1");
    assert!(house.freeze());
    house.finish();
    house.disk.faults(1, 0);
    house.worker.perform(&mut house.group, Job::Flush(Arc::new(Layer::default())));
    house.disk.fail_reads(u32::MAX);
    house.view.read(b"a");
}
