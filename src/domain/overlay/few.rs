//! Bytes that are mostly few: up to `N` of them stand where they are used, more in a box.
//!
//! A tree of small keys then is some runs of memory, and going down it follows no other pointers than its own.
//!
//! Invariant: the order is that of the bytes, so that a tree of these can be searched by `[u8]`.

use std::{borrow::Borrow, cmp::Ordering, fmt};

/// Bytes of a key that stand in place; those of messages and accounts do.
pub(super) const KEY: usize = 30;

/// Bytes; at most `N` of them take no memory of their own. `N` is below 256.
#[derive(Clone)]
pub(super) enum Few<const N: usize> {
    /// How many, and they, with zeros behind.
    Here(u8, [u8; N]),
    /// More than `N`.
    Boxed(Box<[u8]>),
}

impl<const N: usize> Few<N> {
    /// Whether these bytes would stand in place.
    pub fn fits(bytes: &[u8]) -> bool {
        bytes.len() <= N
    }

    /// A copy of these bytes.
    #[inline]
    pub fn of(bytes: &[u8]) -> Few<N> {
        let mut here = [0; N];
        match here.get_mut(..bytes.len()) {
            Some(front) => {
                front.copy_from_slice(bytes);
                Few::Here(bytes.len() as u8, here)
            }
            None => Few::Boxed(bytes.into()),
        }
    }

    /// The bytes.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Few::Here(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Few::Boxed(bytes) => bytes,
        }
    }
}

impl Ord for Few<KEY> {
    #[inline]
    fn cmp(&self, other: &Few<KEY>) -> Ordering {
        let (Few::Here(length, bytes), Few::Here(other_length, other_bytes)) = (self, other) else {
            return self.as_slice().cmp(other.as_slice());
        };
        // As two numbers that overlap. The zeros behind may make two look alike: then the shorter one comes first.
        let (one, two) = (front(bytes), front(other_bytes));
        if one != two {
            return one.cmp(&two);
        }
        back(bytes).cmp(&back(other_bytes)).then(length.cmp(other_length))
    }
}

#[inline]
fn front(bytes: &[u8; KEY]) -> u128 {
    bytes.first_chunk().map_or(0, |front| u128::from_be_bytes(*front))
}

#[inline]
fn back(bytes: &[u8; KEY]) -> u128 {
    bytes.last_chunk().map_or(0, |back| u128::from_be_bytes(*back))
}

impl PartialOrd for Few<KEY> {
    #[inline]
    fn partial_cmp(&self, other: &Few<KEY>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize> PartialEq for Few<N> {
    fn eq(&self, other: &Few<N>) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<const N: usize> Eq for Few<N> {}

impl<const N: usize> Borrow<[u8]> for Few<N> {
    fn borrow(&self) -> &[u8] {
        self.as_slice()
    }
}

impl<const N: usize> fmt::Debug for Few<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        // Few values, so that many begin alike and differ in what looks like padding.
        prop::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..40)
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_the_bytes(a in bytes(), b in bytes(), common in bytes()) {
            let (a, b) = ([common.as_slice(), &a].concat(), [common.as_slice(), &b].concat());
            prop_assert_eq!(Few::<KEY>::of(&a).cmp(&Few::of(&b)), a.cmp(&b));
            prop_assert_eq!(Few::<KEY>::of(&a) == Few::of(&b), a == b);
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        for length in 0..64 {
            let bytes: Vec<u8> = (0..length).collect();
            assert_eq!(Few::<KEY>::of(&bytes).as_slice(), bytes);
            assert_eq!(matches!(Few::<KEY>::of(&bytes), Few::Here(..)), Few::<KEY>::fits(&bytes));
        }
        assert_eq!((size_of::<Few<KEY>>(), size_of::<Option<Few<46>>>()), (32, 48));
    }
}
