//! The store in a directory, with its thread.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::atomic::Ordering::Relaxed};

use smol::channel::Receiver;

use super::Scratch;
use crate::{
    adapters::{
        port::{Answer, Mailbox, StorePort},
        store::{
            self, DATABASE_NAME, Options, open_with,
            schema::{Migration, ROWS},
        },
    },
    domain::{overlay::Overlay, store::Store},
    router::event::{BatchId, QueryId, StoreError},
};

const SMALL: Options = Options { cache_bytes: 256 * 1024, journal_bytes: 64 * 1024, migrations: &[] };

/// Store and overlay, as driver and server hold them.
struct House {
    overlay: Overlay,
    store: store::Store,
    answers: Receiver<Answer>,
    next: u64,
}

impl House {
    fn open(folder: &Path) -> House {
        House::open_with(folder, &[])
    }

    fn open_with(folder: &Path, migrations: &'static [Migration]) -> House {
        std::fs::create_dir_all(folder).unwrap();
        let (mailbox, answers) = Mailbox::new();
        let store = open_with(folder, Options { migrations, ..SMALL }, mailbox).unwrap();
        House { overlay: Overlay::default(), store, answers, next: 0 }
    }

    fn store(&mut self) -> Store<'_> {
        Store { overlay: &mut self.overlay, view: self.store.view() }
    }

    /// Puts one row and waits until it is durable.
    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.store().put(key, value);
        self.hand_over();
        assert!(matches!(self.answer(), Answer::Committed(_)));
    }

    fn hand_over(&mut self) {
        self.next += 1;
        let id = BatchId(self.next);
        if let Some(bytes) = self.overlay.take_batch(id) {
            self.store.commit(id, bytes);
        }
    }

    fn flush(&mut self) {
        let layer = self.overlay.freeze().unwrap();
        self.store.flush(layer);
        assert!(matches!(self.answer(), Answer::Flushed(Ok(()))));
    }

    fn backup(&mut self, path: &Path) -> Result<(), String> {
        self.store.backup(QueryId(9), path.into());
        match self.answer() {
            Answer::BackedUp(QueryId(9), outcome) => outcome,
            other => panic!("another answer: {other:?}"),
        }
    }

    /// Ends the round and waits for the thread.
    fn answer(&mut self) -> Answer {
        let answer = self.store.settle().unwrap_or_else(|| self.answers.recv_blocking().unwrap());
        match &answer {
            Answer::Committed(id) => self.overlay.committed(*id),
            Answer::Refused(id, _) => {
                self.overlay.refused(*id);
                self.next += 1;
            }
            Answer::Flushed(outcome) => self.overlay.flushed(outcome.is_ok()),
            Answer::BackedUp(..) => {}
        }
        answer
    }
}

fn refusal(folder: &Path) -> String {
    open_with(folder, SMALL, Mailbox::new().0).err().unwrap()
}

#[test]
fn what_was_committed_is_there_after_a_restart_flushed_or_not() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("data");
    let mut house = House::open(&directory);
    house.put(b"a", b"1");
    house.put(b"b", b"2");
    house.flush();
    house.put(b"a", b"3");
    house.store().remove(b"b");
    house.put(b"c", b"4");
    let wear = house.store.wear.clone();
    assert_eq!((wear.batches.load(Relaxed), wear.flushes.load(Relaxed)), (4, 1));
    assert!(wear.bytes.load(Relaxed) > 0 && wear.syncs.load(Relaxed) >= 6);
    drop(house);
    let mut house = House::open(&directory);
    assert_eq!(house.store.replayed, 2);
    let rows = house.store().scan(b"a", b"z", false, 9);
    assert_eq!(rows, [(b"a".to_vec(), b"3".to_vec()), (b"c".to_vec(), b"4".to_vec())]);
    drop(house);
    assert_eq!(House::open(&directory).store.replayed, 0);
}

#[test]
fn files_are_private_and_leave_nothing_unfinished() {
    let scratch = Scratch::new();
    let directory = scratch.path().join("data");
    drop(House::open(&directory));
    std::fs::set_permissions(directory.join(DATABASE_NAME), PermissionsExt::from_mode(0o644)).unwrap();
    drop(House::open(&directory));
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut names: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.iter().all(|path| mode(path) == 0o600));
    let names: Vec<_> = names.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["journal.0", "journal.1", "lampone.lock", "lampone.redb"]);
}

#[test]
fn many_batches_through_small_journals_with_flushes_between() {
    let scratch = Scratch::new();
    let mut house = House::open(scratch.path());
    let value = vec![b'v'; 700];
    for n in 0..400u32 {
        house.put(&n.to_be_bytes(), &value);
        if n % 50 == 49 {
            house.flush();
        }
    }
    drop(house);
    let mut house = House::open(scratch.path());
    let back = house.store().scan(&[0; 4], &[1, 0, 0, 0], true, 1000);
    assert_eq!(back.len(), 400);
    assert_eq!(back.first().map(|(key, _)| key.as_slice()), Some(&399u32.to_be_bytes()[..]));
}

#[test]
fn a_full_journal_refuses_all_that_was_handed_over_and_then_goes_on() {
    let scratch = Scratch::new();
    let mut house = House::open(scratch.path());
    house.put(b"kept", b"1");
    house.store().put(b"large", &vec![0; 100 * 1024]);
    house.hand_over();
    house.store().put(b"later", b"2");
    house.hand_over();
    let refused = house.answer();
    assert!(matches!(refused, Answer::Refused(BatchId(2), StoreError::Full)), "{refused:?}");
    assert!(!house.store().has(b"large") && !house.store().has(b"later"));
    house.put(b"next", b"3");
    drop(house);
    let mut house = House::open(scratch.path());
    let keys: Vec<_> = house.store().scan(b"a", b"z", false, 9).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"kept", b"next"]);
}

#[test]
fn a_second_server_is_told_who_holds_the_data() {
    let scratch = Scratch::new();
    let house = House::open(scratch.path());
    let words = refusal(scratch.path());
    assert!(words.contains(&format!("process {}", std::process::id())), "{words}");
    assert!(words.contains("lampone.lock") && words.contains("data directory"), "{words}");
    drop(house);
    House::open(scratch.path());
}

#[test]
fn a_file_that_is_no_database_is_named() {
    let scratch = Scratch::new();
    std::fs::write(scratch.path().join(DATABASE_NAME), vec![b'x'; 10_000]).unwrap();
    let words = refusal(scratch.path());
    assert!(words.contains(DATABASE_NAME) && words.contains("backup"), "{words}");
}

#[test]
fn a_backup_holds_everything_committed_and_opens_in_place() {
    let scratch = Scratch::new();
    let (live, restored) = (scratch.path().join("live"), scratch.path().join("restored"));
    let copy = scratch.path().join("copy.redb");
    let mut house = House::open(&live);
    house.put(b"flushed", b"1");
    house.put(b"gone", b"1");
    house.flush();
    house.put(b"journal", b"2");
    house.store().remove(b"gone");
    house.put(b"flushed", b"3");
    house.backup(&copy).unwrap();
    house.put(b"after", b"4");
    let again = house.backup(&copy).unwrap_err();
    assert!(again.contains("copy.redb") && again.contains("already"), "{again}");
    std::fs::create_dir(&restored).unwrap();
    std::fs::rename(&copy, restored.join(DATABASE_NAME)).unwrap();
    // A journal that was left in the directory belongs to another database and changes nothing.
    drop(house);
    std::fs::copy(live.join("journal.0"), restored.join("journal.0")).unwrap();
    std::fs::copy(live.join("journal.1"), restored.join("journal.1")).unwrap();
    let mut house = House::open(&restored);
    let rows = house.store().scan(b"a", b"z", false, 9);
    assert_eq!(rows, [(b"flushed".to_vec(), b"3".to_vec()), (b"journal".to_vec(), b"2".to_vec())]);
    house.put(b"works", b"5");
}

const STEPS: &[Migration] = &[
    Migration {
        what: "adds a row",
        run: |write| {
            write.open_table(ROWS)?.insert(b"two".as_slice(), b"2".as_slice())?;
            Ok(())
        },
    },
    Migration {
        what: "removes a row",
        run: |write| {
            write.open_table(ROWS)?.remove(b"one".as_slice())?;
            Ok(())
        },
    },
];

#[test]
fn an_older_layout_migrates_forward_after_its_journal_was_replayed() {
    let scratch = Scratch::new();
    let mut house = House::open(scratch.path());
    house.put(b"one", b"1");
    drop(house);
    let house = House::open_with(scratch.path(), STEPS);
    assert_eq!((house.store.view().read(b"one"), house.store.view().read(b"two")), (None, Some(b"2".to_vec())));
    drop(house);
    assert!(scratch.path().join("lampone.redb.v1").exists());
    let words = refusal(scratch.path());
    assert!(words.contains("schema 3") && words.contains("newer Lampone"), "{words}");
    House::open_with(scratch.path(), STEPS);
}

#[test]
fn a_migration_that_fails_leaves_the_data_as_it_was() {
    let scratch = Scratch::new();
    let mut house = House::open(scratch.path());
    house.put(b"one", b"1");
    drop(house);
    let failing: &[Migration] =
        &[Migration { what: "fails", run: |_| Err(redb::Error::Io(std::io::ErrorKind::StorageFull.into())) }];
    let words = open_with(scratch.path(), Options { migrations: failing, ..SMALL }, Mailbox::new().0).err().unwrap();
    assert!(words.contains("unchanged"), "{words}");
    assert_eq!(House::open(scratch.path()).store.view().read(b"one"), Some(b"1".to_vec()));
}

#[test]
fn the_view_scans_both_ways_and_bears_a_read_within_a_scan() {
    let scratch = Scratch::new();
    let mut house = House::open(scratch.path());
    for key in [b"a", b"b", b"c"] {
        house.put(key, key);
    }
    house.flush();
    let view = house.store.view();
    for (back, expected) in [(false, b"ab"), (true, b"ba")] {
        let mut seen = Vec::new();
        view.scan(b"a", b"c", back, &mut |key, value| {
            assert_eq!(view.read(key).as_deref(), Some(value));
            seen.extend_from_slice(key);
            std::ops::ControlFlow::Continue(())
        });
        assert_eq!(seen, expected);
    }
    view.scan(b"c", b"a", false, &mut |_, _| panic!("an empty range has no rows"));
}
