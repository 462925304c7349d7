//! The overlay against a plain map, whatever the disk does.

use proptest::prelude::*;

use super::*;
use crate::domain::store::MemoryView;

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    PutNew(u8),
    Remove(u8),
    Forget(u8),
    Take,
    Commit,
    Refuse,
    Freeze,
    Flush(bool),
    Mark,
    Rewind,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..12u8, any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => any::<u8>().prop_map(Step::PutNew),
        3 => (0..12u8).prop_map(Step::Remove),
        2 => (0..12u8).prop_map(Step::Forget),
        3 => Just(Step::Take),
        2 => Just(Step::Commit),
        1 => Just(Step::Refuse),
        2 => Just(Step::Freeze),
        2 => any::<bool>().prop_map(Step::Flush),
        2 => Just(Step::Mark),
        1 => Just(Step::Rewind),
    ]
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn reads_are_those_of_a_plain_map_whatever_the_disk_does(steps in prop::collection::vec(step(), 1..80)) {
        let mut overlay = Overlay::default();
        let mut view = MemoryView::default();
        let mut model = Model::new();
        // The model before each batch in flight and before the open one.
        let mut before: Vec<(u64, Model)> = Vec::new();
        let mut open_before = Model::new();
        let (mut next, mut fresh) = (1u64, 1000u32);
        let mut flushing: Option<(u64, Arc<Layer>)> = None;
        // What was received, with the batch that was open.
        let mut received: Vec<(u64, Vec<u8>)> = Vec::new();
        // The model when the turn began, and how much had been received by then.
        let mut turn = (Model::new(), 0);
        for step in steps {
            match step {
                Step::Mark => {
                    overlay.mark();
                    turn = (model.clone(), received.len());
                }
                Step::Rewind => {
                    overlay.rewind();
                    model = turn.0.clone();
                    received[turn.1..].iter().for_each(|(_, key)| { model.remove(key); });
                }
                Step::Put(key, value) => {
                    overlay.put(&[key], &[value]);
                    model.insert(vec![key], vec![value]);
                }
                Step::PutNew(value) => {
                    fresh += 1;
                    overlay.put_new(&fresh.to_be_bytes(), &[value]);
                    model.insert(fresh.to_be_bytes().to_vec(), vec![value]);
                }
                Step::Remove(key) => {
                    let key = model.keys().nth(key as usize).cloned().unwrap_or_else(|| vec![key]);
                    overlay.remove(&key);
                    model.remove(&key);
                }
                Step::Forget(key) => {
                    let key = model.keys().nth(key as usize).cloned().unwrap_or_else(|| vec![key]);
                    overlay.forget(&key);
                    model.remove(&key);
                    received.push((next, key));
                }
                Step::Take if overlay.take_batch(BatchId(next)).is_some() => {
                    before.push((next, std::mem::replace(&mut open_before, model.clone())));
                    turn = (model.clone(), received.len());
                    next += 1;
                }
                Step::Commit if !before.is_empty() => {
                    let (id, _) = before.remove(0);
                    overlay.committed(BatchId(id));
                }
                Step::Refuse if !before.is_empty() => {
                    let (id, old) = before.swap_remove(0);
                    before.clear();
                    overlay.refused(BatchId(id));
                    model = old.clone();
                    open_before = old;
                    received.retain(|(batch, _)| *batch >= id);
                    for (batch, key) in &mut received {
                        *batch = next;
                        model.remove(key);
                    }
                    turn = (model.clone(), received.len());
                    // The store's thread refuses a flush that stands behind a refused batch.
                    flushing = None;
                }
                Step::Freeze => {
                    if let Some(layer) = overlay.freeze() {
                        flushing = Some((next - 1, layer));
                    }
                }
                // In the order of the store's queue: a flush ends only after the batches before it.
                Step::Flush(done) if flushing.as_ref().is_some_and(|(last, _)| before.iter().all(|(id, _)| id > last)) => {
                    let (_, layer) = flushing.take().unwrap();
                    if done {
                        view.apply(&layer);
                    }
                    overlay.flushed(done);
                }
                _ => {}
            }
            for back in [false, true] {
                for limit in [1, 3, usize::MAX] {
                    let mut want: Vec<_> = model.clone().into_iter().collect();
                    if back { want.reverse(); }
                    want.truncate(limit);
                    prop_assert_eq!(overlay.scan(&view, &[], &[255; 5], back, limit), want);
                }
            }
            for key in 0..12u8 {
                prop_assert_eq!(overlay.read(&view, &[key]), model.get(&vec![key]).cloned());
            }
            let keys: Vec<[u8; 1]> = (0..12).map(|key| [key]).collect();
            let keys: Vec<&[u8]> = keys.iter().map(<[u8; 1]>::as_slice).collect();
            for limit in [1, 5, 12] {
                let mut found = Vec::new();
                overlay.read_each(&view, &keys, false, &mut |value| {
                    found.push(value.map(<[u8]>::to_vec));
                    if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
                let want: Vec<_> = keys.iter().take(limit).map(|key| model.get(*key).cloned()).collect();
                prop_assert_eq!(found, want);
            }
        }
    }
}

#[test]
fn a_turn_that_is_discarded_writes_nothing() {
    let (mut overlay, view) = (Overlay::default(), MemoryView::default());
    overlay.put(b"a", b"1");
    overlay.mark();
    overlay.put(b"a", b"2");
    overlay.put_new(b"b", b"2");
    overlay.rewind();
    assert_eq!((overlay.read(&view, b"a"), overlay.read(&view, b"b")), (Some(b"1".to_vec()), None));
    let mut ops = Vec::new();
    assert!(decode(&overlay.take_batch(BatchId(1)).unwrap(), |op| ops.push(format!("{op:?}"))));
    assert_eq!(ops, ["Put([97], [49])"], "nor does the journal hear of it");
    overlay.mark();
    overlay.remove(b"a");
    overlay.rewind();
    assert!(!overlay.has_open() && overlay.take_batch(BatchId(2)).is_none());
}

#[test]
fn a_message_that_was_received_leaves_no_trace() {
    let mut overlay = Overlay::default();
    overlay.put_new(b"q1", b"hello");
    assert!(overlay.take_batch(BatchId(1)).is_some());
    overlay.committed(BatchId(1));
    overlay.forget(b"q1");
    assert!(overlay.has_lazy() && !overlay.has_open());
    assert!(overlay.take_batch(BatchId(2)).is_some());
    assert!(overlay.is_empty());
}

#[test]
fn a_batch_reads_back_as_it_was_written() {
    let mut overlay = Overlay::default();
    overlay.put(b"a", b"1");
    overlay.remove(b"b");
    let bytes = overlay.take_batch(BatchId(1)).unwrap();
    let mut ops = Vec::new();
    assert!(decode(&bytes, |op| ops.push(format!("{op:?}"))));
    assert_eq!(ops, ["Put([97], [49])", "Remove([98])"]);
    for cut in 1..bytes.len() {
        decode(&bytes[..cut], |_| {});
    }
}

#[test]
fn keys_and_values_of_every_length_read_back_and_are_undone() {
    for length in 0..80 {
        let (key, value) = (vec![7; length], vec![9; 2 * length]);
        let mut overlay = Overlay::default();
        overlay.put(&key, &value);
        overlay.remove(&[&key[..], b"!"].concat());
        let bytes = overlay.take_batch(BatchId(1)).unwrap();
        let mut rows = Vec::new();
        assert!(decode(&bytes, |op| rows.push(match op {
            Op::Put(key, value) => (key.to_vec(), Some(value.to_vec())),
            Op::Remove(key) => (key.to_vec(), None),
        })));
        assert_eq!(rows, [(key.clone(), Some(value.clone())), ([&key[..], b"!"].concat(), None)]);
        overlay.put(&key, b"later");
        overlay.take_batch(BatchId(2)).unwrap();
        overlay.refused(BatchId(2));
        assert_eq!(overlay.read(&MemoryView::default(), &key), Some(value));
    }
}
