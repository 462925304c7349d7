//! Packed rows behave as rows, whatever is written in whatever order.

use std::{collections::BTreeMap, ops::ControlFlow};

use redb::{Database, ReadableDatabase, ReadableTable, backends::InMemoryBackend};

use super::{super::schema::ROWS, BLOCK_BYTES, read, read_each, scan, write};
use crate::{
    adapters::store::tests::Dice,
    domain::store::{MemoryView, View, Visitor},
};

/// Keys of two groups of each kind, of rows that stand alone, and of some that only look alike.
fn key(dice: &mut Dice) -> Vec<u8> {
    let number = |dice: &mut Dice| dice.below(300).to_be_bytes();
    let owner = dice.below(2) as u8;
    match dice.below(5) {
        0 => [&b"m"[..], &number(dice)].concat(),
        1 => [&[b'x', 0, 0, 0, owner][..], &number(dice)].concat(),
        2 => [&[b'y', 0, 0, 0, 1, 7, 7, 7, 7, 7, 7, 7, owner][..], &number(dice)].concat(),
        3 => vec![b"lmnwxyz"[dice.below(7) as usize], owner],
        _ => vec![b'x', 0, 0, 0, owner, dice.below(9) as u8],
    }
}

fn value(dice: &mut Dice) -> Vec<u8> {
    let length = if dice.one_in(40) { BLOCK_BYTES + 5 } else { dice.below(400) as usize };
    vec![dice.below(256) as u8; length]
}

#[test]
fn packed_rows_are_read_and_scanned_like_others() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let mut model = MemoryView::default();
        for _ in 0..12 {
            let mut writes = BTreeMap::new();
            for _ in 0..dice.below(200) {
                let removes = dice.one_in(3);
                let key = key(&mut dice);
                writes.insert(key, (!removes).then(|| value(&mut dice)));
            }
            let transaction = database.begin_write().unwrap();
            {
                let mut rows = transaction.open_table(ROWS).unwrap();
                write(&mut rows, writes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))).unwrap();
                for row in rows.iter().unwrap() {
                    let (_, block) = row.unwrap();
                    assert!(block.value().len() <= BLOCK_BYTES + 32);
                }
            }
            transaction.commit().unwrap();
            for (key, value) in writes {
                match value {
                    Some(value) => model.rows.insert(key, value),
                    None => model.rows.remove(&key),
                };
            }
            let rows = database.begin_read().unwrap().open_table(ROWS).unwrap();
            for _ in 0..40 {
                let (a, b) = (key(&mut dice), key(&mut dice));
                let cut = |dice: &mut Dice, key: &[u8]| key[..1 + dice.below(key.len() as u64) as usize].to_vec();
                assert_eq!(read(&rows, &a).unwrap(), model.read(&a), "seed {seed}");
                let (from, to) = (cut(&mut dice, &a), cut(&mut dice, &b));
                let (limit, back) = (1 + dice.below(30), dice.one_in(2));
                let collect = |run: &dyn Fn(Visitor<'_>)| {
                    let mut found = Vec::new();
                    run(&mut |key, value| {
                        found.push((key.to_vec(), value.to_vec()));
                        if found.len() as u64 >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                    });
                    found
                };
                let ours = collect(&|visit| scan(&rows, &from, &to, back, visit).unwrap());
                let theirs = collect(&|visit| {
                    if from < to {
                        View::scan(&model, &from, &to, back, visit)
                    }
                });
                assert_eq!(ours, theirs, "seed {seed}: {from:?} to {to:?}");
            }
            for order in 0..3 {
                let mut keys: Vec<Vec<u8>> = (0..dice.below(80)).map(|_| key(&mut dice)).collect();
                match order {
                    0 => keys.sort(),
                    1 => keys.sort_by(|a, b| b.cmp(a)),
                    _ => {}
                }
                let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
                let (limit, mut done, mut found) = (1 + dice.below(90) as usize, 0, Vec::new());
                read_each(&rows, &keys, dice.one_in(2), &mut done, &mut |value| {
                    found.push(value.map(<[u8]>::to_vec));
                    if found.len() >= limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .unwrap();
                let theirs: Vec<_> = keys.iter().take(limit).map(|key| model.read(key)).collect();
                assert_eq!((found, done), (theirs, keys.len().min(limit)), "seed {seed}: {keys:?}");
            }
        }
    }
}

#[test]
fn what_comes_at_the_end_fills_blocks_and_leaves_full_ones_alone() {
    let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
    for number in 0..200u64 {
        let transaction = database.begin_write().unwrap();
        let key = [&b"m"[..], &number.to_be_bytes()].concat();
        write(&mut transaction.open_table(ROWS).unwrap(), [(key.as_slice(), Some(&[7; 100][..]))].into_iter()).unwrap();
        transaction.commit().unwrap();
    }
    let rows = database.begin_read().unwrap().open_table(ROWS).unwrap();
    let blocks: Vec<usize> = rows.iter().unwrap().map(|row| row.unwrap().1.value().len()).collect();
    assert_eq!(blocks.len(), 200usize.div_ceil(BLOCK_BYTES / 112));
    assert!(blocks[..blocks.len() - 1].iter().all(|bytes| *bytes > BLOCK_BYTES - 112), "{blocks:?}");
}
