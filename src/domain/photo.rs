//! Which picture an account's vCard shows, by its hash; XEP-0153, XEP-0398.
//!
//! Invariant: the row is written together with the vCard, so that nobody has to read a picture to learn its hash.

use super::{ids::AccountId, keys, store::Store};

/// A SHA-1 hash of a picture's bytes, by which XEP-0084 and XEP-0153 know it.
pub type PictureHash = [u8; 20];

/// The picture in an account's vCard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Photo {
    /// There never was one.
    #[default]
    Never,
    /// There was one.
    Gone,
    /// This one.
    Is {
        /// Which.
        hash: PictureHash,
        /// It was put there because the account published it as an avatar (XEP-0084), and goes when that goes.
        is_avatar: bool,
    },
}

impl Photo {
    /// The picture's hash.
    pub fn hash(self) -> Option<PictureHash> {
        match self {
            Photo::Is { hash, .. } => Some(hash),
            _ => None,
        }
    }
}

/// Behind the hash of a picture that is an avatar.
const AVATAR: u8 = 1;

/// The account's.
pub fn photo(store: &Store<'_>, account: AccountId) -> Photo {
    let Some(row) = store.read(&keys::photo(account)) else { return Photo::Never };
    match row.split_first_chunk::<20>() {
        Some((hash, rest)) => Photo::Is { hash: *hash, is_avatar: rest == [AVATAR] },
        None => Photo::Gone,
    }
}

/// Writes it down.
pub fn put(store: &mut Store<'_>, account: AccountId, photo: Photo) {
    let key = keys::photo(account);
    match photo {
        Photo::Never => store.remove(&key),
        Photo::Gone => store.put(&key, &[]),
        Photo::Is { hash, is_avatar: false } => store.put(&key, &hash),
        Photo::Is { hash, is_avatar: true } => store.put(&key, &[&hash[..], &[AVATAR]].concat()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::House;

    #[test]
    fn what_is_written_is_read() {
        let mut house = House::new();
        let account = house.account("romeo@capulet.lit");
        let mut ctx = house.ctx();
        assert_eq!(photo(&ctx.store(), account), Photo::Never);
        let (hash, gone) = ([7; 20], Photo::Gone);
        for wanted in [Photo::Is { hash, is_avatar: true }, gone, Photo::Is { hash, is_avatar: false }, Photo::Never] {
            put(&mut ctx.store(), account, wanted);
            assert_eq!(photo(&ctx.store(), account), wanted);
        }
    }
}
