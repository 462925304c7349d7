//! Hats: what people are to a room beside their affiliation, and who wears which.
//!
//! Source: XEP-0317 v0.3.1. A hat is a row, and so is everybody who wears some. Invariant: nobody wears a hat that the room
//! does not have.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    super::{ids::AccountId, keys, store::Store},
    settings::{read_text, text},
};
use crate::limits;

/// A hat; what names it is its URI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hat {
    /// What people read.
    pub title: String,
    /// Its colour, an angle in degrees as it was given (XEP-0392 §4); empty: none.
    pub hue: String,
}

/// The hats of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hats {
    /// By URI.
    pub all: BTreeMap<Box<str>, Hat>,
    /// URIs, by the bare address of who wears them; never an empty set.
    pub worn: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
}

const VERSION: u8 = 1;
/// What follows the room in the key of a hat.
const HAT: u8 = b'h';
/// What follows the room in the key of who wears some.
const WEARER: u8 = b'w';

fn key(room: AccountId, kind: u8, name: &str) -> Vec<u8> {
    keys::row(keys::ROOM_HAT, room, &[&[kind], name.as_bytes()].concat())
}

/// The hats of a room.
pub fn hats(store: &Store<'_>, room: AccountId) -> Hats {
    let mut hats = Hats::default();
    let prefix = keys::owned(keys::ROOM_HAT, room);
    for (key, value) in store.prefix(&prefix, limits::ROOM_HATS_MAX + limits::ROOM_HAT_WEARERS_MAX) {
        let Some((kind, name)) = key.get(prefix.len()..).and_then(<[u8]>::split_first) else { continue };
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let Some((&[VERSION], mut rest)) = value.split_first_chunk::<1>() else { continue };
        if *kind == HAT {
            if let (Some(title), Some(hue)) = (read_text(&mut rest), read_text(&mut rest)) {
                hats.all.insert(name.into(), Hat { title, hue });
            }
            continue;
        }
        let mut worn = BTreeSet::new();
        while let Some(uri) = read_text(&mut rest) {
            worn.insert(uri.into());
        }
        hats.worn.insert(name.into(), worn);
    }
    hats
}

/// Writes down a hat; `None`: there is none of this URI any more. Who wore it is another row's business.
pub fn put_hat(store: &mut Store<'_>, room: AccountId, uri: &str, hat: Option<&Hat>) {
    let key = key(room, HAT, uri);
    let Some(hat) = hat else { return store.remove(&key) };
    let mut out = vec![VERSION];
    text(&hat.title, &mut out);
    text(&hat.hue, &mut out);
    store.put(&key, &out);
}

/// Writes down what somebody wears; nothing leaves no row.
pub fn put_worn(store: &mut Store<'_>, room: AccountId, who: &str, worn: &BTreeSet<Box<str>>) {
    let key = key(room, WEARER, who);
    if worn.is_empty() {
        return store.remove(&key);
    }
    let mut out = vec![VERSION];
    worn.iter().for_each(|uri| text(uri, &mut out));
    store.put(&key, &out);
}

/// Nothing of hats is left.
pub(super) fn forget(store: &mut Store<'_>, room: AccountId) {
    let most = limits::ROOM_HATS_MAX + limits::ROOM_HAT_WEARERS_MAX;
    for (key, _) in store.prefix(&keys::owned(keys::ROOM_HAT, room), most) {
        store.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{overlay::Overlay, store::MemoryView};

    #[test]
    fn hats_are_read_as_they_were_written() {
        let (mut overlay, view) = (Overlay::default(), MemoryView::default());
        let mut store = Store { overlay: &mut overlay, view: &view };
        let hat = Hat { title: "Teacher's Assistant".into(), hue: "327.255249".into() };
        let worn: BTreeSet<Box<str>> = ["urn:a".into(), "urn:b".into()].into();
        put_hat(&mut store, AccountId(9), "urn:a", Some(&hat));
        put_hat(&mut store, AccountId(9), "urn:b", Some(&Hat::default()));
        put_hat(&mut store, AccountId(8), "urn:c", Some(&hat));
        put_worn(&mut store, AccountId(9), "terry@example.edu", &worn);
        let read = hats(&store, AccountId(9));
        assert_eq!(read.all.into_iter().collect::<Vec<_>>(), [("urn:a".into(), hat), ("urn:b".into(), Hat::default())]);
        assert_eq!(read.worn, [("terry@example.edu".into(), worn)].into());
        put_worn(&mut store, AccountId(9), "terry@example.edu", &BTreeSet::new());
        put_hat(&mut store, AccountId(9), "urn:b", None);
        assert_eq!((hats(&store, AccountId(9)).all.len(), hats(&store, AccountId(9)).worn.len()), (1, 0));
        forget(&mut store, AccountId(9));
        assert_eq!(hats(&store, AccountId(9)), Hats::default());
        assert_eq!(hats(&store, AccountId(8)).all.len(), 1);
    }
}
