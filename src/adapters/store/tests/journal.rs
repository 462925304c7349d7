//! The journal under power cuts and failures, from seeds. What was reported durable is there afterwards, in order; what
//! was refused is not.

use std::collections::VecDeque;

use super::{
    Dice,
    medium::{Disk, DiskFile},
};
use crate::adapters::store::journal::{Journal, JournalFile};

fn salts(seed: u64) -> Box<dyn FnMut() -> std::io::Result<u64> + Send> {
    let mut dice = Dice::new(seed ^ 0x5a17);
    Box::new(move || Ok(dice.next()))
}

pub(super) fn journal(disk: &Disk, seed: u64, store: u64, applied: u64) -> Journal<DiskFile> {
    Journal::new([disk.file(0), disk.file(1)], store, applied, salts(seed))
}

fn append(log: &mut Journal<DiskFile>, payload: &[u8]) -> std::io::Result<u64> {
    log.append([payload].into_iter())
}

/// Runs one seed; gives back how many appends were committed, refused, and in doubt at a power cut.
fn journal_run(seed: u64) -> [u64; 3] {
    let mut dice = Dice::new(seed);
    let disk = Disk::new(seed, &[4096, 4096]);
    let mut log = journal(&disk, seed, 7, 0);
    let (mut applied, mut count) = (0, [0; 3]);
    let mut committed: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
    for life in 1..6 {
        let mut doubtful: Vec<Vec<u8>> = Vec::new();
        disk.faults([0, 3, 9][dice.below(3) as usize], [0, 20, 60][dice.below(3) as usize]);
        for _ in 0..dice.below(60) {
            let payload: Vec<u8> = (0..1 + dice.below(900)).map(|_| dice.next() as u8).collect();
            match log.append([&*payload].into_iter()) {
                Ok(sequence) => {
                    committed.push_back((sequence, payload));
                    doubtful.clear();
                    count[0] += 1;
                }
                Err(_) if log.is_clean() => {
                    doubtful.clear();
                    count[1] += 1;
                }
                Err(_) => doubtful.push(payload),
            }
            if let Some((last, _)) = committed.back()
                && dice.one_in(6)
                && disk.is_powered()
            {
                applied += dice.below(last - applied + 1);
                committed.retain(|(sequence, _)| *sequence > applied);
                log.applied(applied);
            }
        }
        disk.power_cut();
        log = journal(&disk, seed + life, 7, applied);
        let mut found = Vec::new();
        let replay = log.replay(&mut |payload| found.push(payload.to_vec())).unwrap();
        assert!(!replay.gap && !replay.foreign, "seed {seed}");
        let expected: Vec<Vec<u8>> = committed.drain(..).map(|(_, payload)| payload).collect();
        assert_eq!(found.get(..expected.len()), Some(&expected[..]), "seed {seed}: what was committed is there");
        let more = &found[expected.len()..];
        assert!(
            more.len() <= 1 && more.iter().all(|one| doubtful.contains(one)),
            "seed {seed}: a refused record is back"
        );
        count[2] += more.len() as u64;
        applied = replay.through;
        // The power may go while the journal is emptied, too.
        disk.faults(0, 3);
        while log.restart(applied).is_err() {
            disk.power_cut();
            log = journal(&disk, seed + life + 100, 7, applied);
            let again = log.replay(&mut |_| panic!("seed {seed}: replayed twice")).unwrap();
            assert_eq!(again.records, 0);
        }
        disk.faults(0, 0);
    }
    count
}

#[test]
fn the_journal_keeps_its_word_through_power_cuts_and_failures() {
    let mut sum = [0; 3];
    for seed in 0..500 {
        let count = journal_run(seed);
        sum.iter_mut().zip(count).for_each(|(sum, count)| *sum += count);
    }
    assert!(sum[0] > 10_000 && sum[1] > 1_000 && sum[2] > 10, "the seeds try all cases: {sum:?}");
}

#[test]
fn a_full_journal_refuses_and_goes_on_after_a_flush() {
    let disk = Disk::new(1, &[4096, 4096]);
    let mut log = journal(&disk, 1, 7, 0);
    let mut last = 0;
    let error = loop {
        match append(&mut log, &[1; 1000]) {
            Ok(sequence) => last = sequence,
            Err(error) => break error,
        }
    };
    assert_eq!((last, error.kind()), (6, std::io::ErrorKind::StorageFull));
    log.applied(3);
    assert_eq!(append(&mut log, &[2; 1000]).unwrap(), 7);
    let mut log = journal(&disk, 2, 7, 3);
    let mut found = Vec::new();
    log.replay(&mut |payload| found.push(payload[0])).unwrap();
    assert_eq!(found, [1, 1, 1, 2]);
}

#[test]
fn a_journal_of_another_database_is_not_replayed() {
    let disk = Disk::new(1, &[4096, 4096]);
    append(&mut journal(&disk, 1, 7, 0), &[1; 10]).unwrap();
    let replay = journal(&disk, 2, 8, 0).replay(&mut |_| panic!("replayed")).unwrap();
    assert!(replay.foreign);
}

#[test]
fn a_damaged_record_ends_the_replay_and_is_told() {
    let disk = Disk::new(1, &[4096, 4096]);
    let mut log = journal(&disk, 1, 7, 0);
    while append(&mut log, &[1; 1000]).is_ok() {}
    let mut file = disk.file(0);
    file.write_at(1500, b"damage").unwrap();
    let mut count = 0;
    let replay = journal(&disk, 2, 7, 0).replay(&mut |_| count += 1).unwrap();
    assert_eq!((count, replay.gap), (1, true));
}
