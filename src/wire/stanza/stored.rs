//! A message outside of the router: as the store keeps it, and as it is put together again.
//!
//! Invariant: what is written is what came in, but for what the caller puts in behind the opening tag.

use crate::wire::build;

/// A stanza that an archive holds, word for word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filed {
    /// The number of its text in the store.
    pub number: u64,
    /// The archive of the account whose leg it is on has it; otherwise only the sender's.
    pub own: bool,
}

/// A stanza as the store keeps it: its addresses, and everything behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Who sent it; empty: as it stands in `rest`.
    pub from: String,
    /// Whom it is for; empty: as it stands in `rest`.
    pub to: String,
    /// The other attributes, the content, the end tag.
    pub rest: Vec<u8>,
    /// Where in `rest` children can be put in.
    pub insert_at: usize,
}

impl Stored {
    /// Appends the message with `inserted` as its first children; `xmlns` if it stands where the content namespace is
    /// another (XEP-0297 §3.1).
    pub fn write(&self, xmlns: Option<&str>, inserted: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"<message");
        if let Some(xmlns) = xmlns {
            build::attr("xmlns", xmlns, out);
        }
        for (name, value) in [("from", &self.from), ("to", &self.to)] {
            if !value.is_empty() {
                build::attr(name, value, out);
            }
        }
        let (head, tail) = self.rest.split_at(self.insert_at.min(self.rest.len()));
        out.extend_from_slice(head);
        out.extend_from_slice(inserted);
        out.extend_from_slice(tail);
    }
}
