//! Cuts what a stream says by TCP into elements that stand alone, for doors that carry them one by one.
//!
//! Source: RFC 7395 §3.3.3, XEP-0206 §2. Invariant: each element means the same wherever it is put.

use crate::{
    limits,
    wire::{
        framer::{Bounds, Frame, Framer, Header},
        stanza::{AttrName, NsRef, Outline},
    },
};

/// What we say is longer than what we hear, and bounded elsewhere.
const SPOKEN: Bounds = Bounds { stanza_bytes_max: limits::OUTBOX_BYTES_CAP, depth_max: limits::DEPTH_MAX + 8 };

/// One thing that a stream says.
#[derive(Debug)]
pub enum Said<'a> {
    /// The stream's header.
    Open(Box<Header>),
    /// An element with its namespace declared.
    Element(&'a [u8]),
    /// `</stream:stream>`.
    End,
}

/// One stream's cutter.
#[derive(Debug)]
pub struct Cutter(Framer);

impl Default for Cutter {
    fn default() -> Cutter {
        Cutter(Framer::new(SPOKEN))
    }
}

impl Cutter {
    /// Gives each thing that is complete with these bytes to `take`.
    pub fn cut(&mut self, mut bytes: &[u8], mut take: impl FnMut(Said<'_>)) {
        // RFC 7395 §3.7: a stream begins anew.
        if bytes.starts_with(b"<?xml") {
            self.0.restart(SPOKEN);
        }
        let mut outline = Outline::default();
        let mut alone = Vec::new();
        loop {
            alone.clear();
            match self.0.next(&mut bytes, &mut outline) {
                Ok(Some(Frame::Header(header))) => take(Said::Open(header)),
                Ok(Some(Frame::Element(element))) => {
                    stand_alone(element, &outline, &mut alone);
                    take(Said::Element(&alone));
                }
                Ok(Some(Frame::End)) => take(Said::End),
                Ok(None) => return,
                Err(error) => return log::error!("our own words cannot be read: {}", error.condition.as_str()),
            }
        }
    }
}

/// An element with the namespace that the stream's header had declared for it.
fn stand_alone(element: &[u8], outline: &Outline, out: &mut Vec<u8>) {
    let declared = match &outline.ns {
        NsRef::Content if outline.attrs.iter().all(|attr| attr.name != AttrName::Xmlns) => {
            &b" xmlns='jabber:client'"[..]
        }
        // What is left of our header's prefixes, the framer has declared.
        _ => b"",
    };
    let (start, rest) = element.split_at_checked(outline.name.end as usize).unwrap_or((element, b""));
    for part in [start, declared, rest] {
        out.extend_from_slice(part);
    }
}
