//! What is written: a head of its own, a body that many share.

use std::{ops::Range, rc::Rc};

use super::outline::range;

/// Bytes on their way out: an own head and a range of shared bytes. Cloning copies no byte.
#[derive(Clone, Debug)]
pub struct Chunk {
    head: Rc<[u8]>,
    body: Rc<[u8]>,
    range: Range<u32>,
}

impl Chunk {
    /// A chunk of bytes that belong to nobody else.
    pub fn new(bytes: impl Into<Rc<[u8]>>) -> Chunk {
        let head: Rc<[u8]> = bytes.into();
        Chunk { body: head.clone(), head, range: 0..0 }
    }

    /// A chunk whose second part is shared with others.
    pub fn shared(head: impl Into<Rc<[u8]>>, body: &Rc<[u8]>) -> Chunk {
        Chunk::sharing(head, body, 0..body.len() as u32)
    }

    /// A chunk whose second part is this range of bytes that others share.
    pub(super) fn sharing(head: impl Into<Rc<[u8]>>, body: &Rc<[u8]>, range: Range<u32>) -> Chunk {
        Chunk { head: head.into(), body: body.clone(), range }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.head.len() + self.range.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.body[range(&self.range)]);
    }
}
