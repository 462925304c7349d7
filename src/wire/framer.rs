//! Finds the edges of stream elements and validates every byte on the way, once.

use super::{error::StreamError, stanza::Outline};

/// Bounds of one stream, in bytes and counts.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest top-level element, in bytes.
    pub stanza_bytes_max: usize,
    /// Deepest nesting below the stream element.
    pub depth_max: usize,
}

/// What the stream header said, RFC 6120 §4.7.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// `to`, unescaped.
    pub to: Option<String>,
    /// `from`, unescaped.
    pub from: Option<String>,
    /// `id`, unescaped.
    pub id: Option<String>,
    /// `version`, unescaped.
    pub version: Option<String>,
    /// `xml:lang`, unescaped.
    pub lang: Option<String>,
    /// The default namespace declared, the content namespace.
    pub content_ns: Option<String>,
    /// Whether the element is `stream` in the stream namespace with the prefix `stream`.
    pub is_stream: bool,
}

/// One thing that the framer found.
#[derive(Debug)]
pub enum Frame<'a> {
    /// The stream header.
    Header(Box<Header>),
    /// A complete top-level element; its outline stands in the argument of [`Framer::next`].
    Element(&'a [u8]),
    /// `</stream:stream>`.
    End,
}

/// Resumable at any byte; scans none twice.
#[derive(Debug)]
pub struct Framer {}

impl Framer {
    /// A framer that waits for a stream header.
    pub fn new(bounds: Bounds) -> Framer {
        let _ = bounds;
        todo!()
    }

    /// Takes bytes off the front of `input` up to the end of the next frame. `None`: all of `input` was taken
    /// and more is needed.
    ///
    /// # Errors
    /// The stream error that RFC 6120 demands; the framer must not be used after it.
    pub fn next<'f, 'a: 'f>(
        &'f mut self,
        input: &mut &'a [u8],
        outline: &mut Outline,
    ) -> Result<Option<Frame<'f>>, StreamError> {
        let _ = (input, outline);
        todo!()
    }

    /// Forgets the stream and waits for a new header with these bounds (STARTTLS, SASL).
    pub fn restart(&mut self, bounds: Bounds) {
        let _ = bounds;
        todo!()
    }

    /// Bounds for the stanzas to come.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        let _ = bounds;
        todo!()
    }
}
