//! Finds the edges of stream elements and validates every byte on the way, once.
//!
//! Source: RFC 6120 §4.2–§4.9 and §11; XML 1.0 (5th edition); Namespaces in XML 1.0. Design: text is walked in runs
//! of harmless bytes; a tag is read at once if it is complete, otherwise its `>` is looked for and it is read then.
//! An element that is complete in the input is given out as a slice of the input; only what is cut off is kept.
//!
//! Invariants: what is given out is well-formed, means the same outside of this stream's header (up to the content
//! namespace), and was checked by the same rules however the input was cut; memory stays below a constant times
//! `stanza_bytes_max`, and an idle framer owns no heap.

mod chars;
mod fault;
mod header;
mod names;
mod rewrite;
mod scan;
mod scope;
mod tag;
#[cfg(test)]
mod tests;

pub use chars::unescape;
pub use header::DECLARATION_BYTES_MAX;
pub use scan::{BINDS_MAX, CHILDREN_MAX, DEPTH_CAP, TAG_BYTES_MAX};
pub use scope::HEADER_PREFIXES_MAX;
pub use tag::ATTRS_MAX;

use fault::Fault;
use scan::{Found, Rules, Scan};
use scope::{Default as Outside, Scope};
use tag::Attrs;

use super::{error::StreamError, stanza::Outline};

/// Longest stream header in bytes, and most white space before it; nobody is known yet when it comes.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Bounds of one stream, in bytes and counts.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest top-level element, in bytes.
    pub stanza_bytes_max: usize,
    /// Deepest nesting below the stream element; at most [`DEPTH_CAP`] whatever is said here.
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
    /// The prefix of the element, `None` if it has none. The framer takes any; whoever reads the header may answer
    /// another than `stream` with `bad-namespace-prefix` (RFC 6120 §4.8.5).
    pub prefix: Option<String>,
    /// Whether the element is `stream` in the stream namespace, whatever its prefix. If not, the answer is
    /// `invalid-namespace` or `bad-format` (RFC 6120 §4.8.1).
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

/// Where in the stream the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has come, or a `<` that stands in the buffer.
    Start,
    /// Inside the XML declaration.
    Declaration,
    /// Before or inside the stream header.
    Header,
    /// Between or inside top-level elements.
    Stream,
    /// The header was `<stream:stream/>`: its end is still to be reported.
    Ending,
    /// Over, in order or not: whatever comes is thrown away.
    Over,
}

/// Resumable at any byte; looks at each a constant number of times.
#[derive(Debug)]
pub struct Framer {
    bounds: Bounds,
    stage: Stage,
    /// The buffer holds an element that was given out by the last call.
    given: bool,
    /// White space seen before the stream header, in bytes.
    blank: u16,
    scope: Scope,
    /// An element (or the XML declaration) as far as it has come; empty between elements.
    buffer: Vec<u8>,
    /// The walk over what is in the buffer.
    pending: Option<Box<Pending>>,
}

/// A walk that waits for more.
#[derive(Debug)]
struct Pending {
    scan: Scan,
    outline: Outline,
}

/// One element that a walk found, before it is given out.
struct Piece<'i> {
    found: Found,
    /// The input that it is a slice of; `None` if it stands in the buffer.
    slice: Option<&'i [u8]>,
    used: u32,
    rewrite: bool,
    /// The header, if it is one.
    header: Option<Box<(Header, Scope)>>,
}

impl Framer {
    /// A framer that waits for a stream header.
    pub fn new(bounds: Bounds) -> Framer {
        Framer {
            bounds,
            stage: Stage::Start,
            given: false,
            blank: 0,
            scope: Scope::Client,
            buffer: Vec::new(),
            pending: None,
        }
    }

    /// Takes bytes off the front of `input` up to the end of the next frame. `None`: all of `input` was taken
    /// and more is needed. `outline` is overwritten; after a frame other than an element it means nothing.
    ///
    /// Everything that comes behind the end of the stream or behind an error is thrown away.
    ///
    /// # Errors
    /// The stream error that RFC 6120 demands: `not-well-formed` (also for an unbound prefix, as in the example of
    /// §4.9.3.13), `restricted-xml`, `unsupported-encoding` (also for broken UTF-8, §4.9.3.22), `bad-format` for
    /// text between elements, `policy-violation` past a bound.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        outline: &mut Outline,
    ) -> Result<Option<Frame<'a>>, StreamError> {
        if self.given {
            self.given = false;
            self.buffer = Vec::new();
        }
        match self.piece(input, outline) {
            Ok(Some(piece)) => self.give(piece, outline),
            Ok(None) => Ok(None),
            Err(fault) => Err(self.fail(fault)),
        }
    }

    /// Forgets the stream and waits for a new header with these bounds (STARTTLS, SASL).
    pub fn restart(&mut self, bounds: Bounds) {
        *self = Framer::new(bounds);
    }

    /// Bounds for the stanzas to come; one that is on its way already must keep them too.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Heap held for an element that is not complete, in bytes, without its outline.
    pub fn held_bytes(&self) -> usize {
        self.buffer.capacity() + self.pending.as_ref().map_or(0, |_| size_of::<Pending>())
    }

    fn fail(&mut self, fault: Fault) -> StreamError {
        self.restart(self.bounds);
        self.stage = Stage::Over;
        fault.into()
    }

    /// The next piece of the stream, whatever it is.
    fn piece<'i>(&mut self, input: &mut &'i [u8], outline: &mut Outline) -> Result<Option<Piece<'i>>, Fault> {
        if self.stage == Stage::Start && !self.start(input)? {
            return Ok(None);
        }
        if self.stage == Stage::Declaration && !self.declaration(input)? {
            return Ok(None);
        }
        match self.stage {
            Stage::Ending => {
                let piece = Piece { found: Found::End(0), slice: None, used: 0, rewrite: false, header: None };
                return Ok(Some(piece));
            }
            Stage::Over => {
                *input = &[];
                return Ok(None);
            }
            _ => {}
        }
        if self.pending.is_some() {
            return self.resume(input, outline);
        }
        if !self.skip_blank(input)? {
            return Ok(None);
        }
        self.begin(input, outline)
    }

    /// Decides whether the stream begins with an XML declaration. `false`: more is needed.
    fn start(&mut self, input: &mut &[u8]) -> Result<bool, Fault> {
        let held = self.buffer.len();
        let at = |place: usize| if place < held { Some(b'<') } else { input.get(place - held).copied() };
        match (at(0), at(1)) {
            // UTF-16 and UTF-32 show themselves in the first two bytes (XML 1.0 appendix F).
            (Some(0 | 0xFE | 0xFF), _) | (Some(b'<'), Some(0)) => return Err(Fault::Encoding),
            (None, _) => return Ok(false),
            // COMPAT: a keep-alive that crossed our `<success/>`; a stream restarts, the connection does not.
            (Some(byte), _) if held == 0 && tag::is_space(byte) => {
                let blank = chars::space_end(input, 0);
                *input = &input[blank..];
                self.blank = self.blank.saturating_add(blank.min(usize::from(u16::MAX)) as u16);
                if usize::from(self.blank) > HEADER_BYTES_MAX {
                    return Err(Fault::Policy("too much white space before the stream header"));
                }
                return if input.is_empty() { Ok(false) } else { self.start(input) };
            }
            (Some(b'<'), None) => {
                self.buffer = b"<".to_vec();
                *input = &[];
                return Ok(false);
            }
            (Some(b'<'), Some(b'?')) => self.stage = Stage::Declaration,
            (Some(_), _) => {
                self.stage = Stage::Header;
                if held > 0 {
                    self.pending = Some(Box::new(Pending { scan: Scan::new(), outline: Outline::default() }));
                }
            }
        }
        Ok(true)
    }

    /// Takes the XML declaration. `false`: more is needed.
    fn declaration(&mut self, input: &mut &[u8]) -> Result<bool, Fault> {
        let held = self.buffer.len();
        let end = memchr::memchr(b'>', input).map_or(input.len(), |at| at + 1);
        let end = end.min(DECLARATION_BYTES_MAX - held);
        self.buffer.extend_from_slice(&input[..end]);
        *input = &input[end..];
        let same = self.buffer.iter().zip(b"<?xml").take_while(|(a, b)| a == b).count();
        let named = same == 5 && self.buffer.get(5).is_none_or(|byte| tag::is_space(*byte));
        if !named && same < self.buffer.len() {
            return Err(Fault::Restricted("processing instructions are not allowed"));
        }
        if self.buffer.last() == Some(&b'>') {
            header::check_declaration(&self.buffer)?;
            self.buffer = Vec::new();
            self.stage = Stage::Header;
            return Ok(true);
        }
        if self.buffer.len() == DECLARATION_BYTES_MAX {
            return Err(Fault::Policy("XML declaration too long"));
        }
        Ok(false)
    }

    /// Skips white space between top-level elements. `false`: nothing else is there.
    fn skip_blank(&mut self, input: &mut &[u8]) -> Result<bool, Fault> {
        let at = chars::space_end(input, 0);
        if self.stage == Stage::Header {
            self.blank = self.blank.saturating_add(at.min(usize::from(u16::MAX)) as u16);
            if usize::from(self.blank) > HEADER_BYTES_MAX {
                return Err(Fault::Policy("too much white space before the stream header"));
            }
        }
        *input = &input[at..];
        match (input.first(), self.stage) {
            (None, _) => Ok(false),
            (Some(b'<'), _) => Ok(true),
            // No character begins with these bytes, so it is no UTF-8.
            (Some(0x80..=0xC1 | 0xF5..=0xFF), _) => Err(Fault::Encoding),
            (Some(0..0x20), _) => Err(Fault::Malformed("control character")),
            // RFC 6120 §11.6: a byte order mark is a character like others, and none may stand here.
            (Some(_), Stage::Header) => Err(Fault::Malformed("text before the stream header")),
            (Some(_), _) => Err(Fault::Format("text between top-level elements")),
        }
    }

    /// The bound on what is being read.
    fn bytes_max(&self) -> usize {
        match self.stage {
            Stage::Stream => self.bounds.stanza_bytes_max.min(u32::MAX as usize / 16),
            _ => HEADER_BYTES_MAX,
        }
    }

    fn too_big(&self) -> Fault {
        match self.stage {
            Stage::Stream => Fault::TooBig,
            _ => Fault::Policy("stream header too long"),
        }
    }

    /// At the `<` of an element: tries to find all of it in the input, keeps what is there if it is cut off.
    fn begin<'i>(&mut self, input: &mut &'i [u8], outline: &mut Outline) -> Result<Option<Piece<'i>>, Fault> {
        let bytes_max = self.bytes_max();
        let all: &'i [u8] = input;
        let view = &all[..all.len().min(bytes_max)];
        let outside = Scope::empty_if(self.stage == Stage::Header);
        let rules = rules(self.bounds, self.stage, outside.as_ref().unwrap_or(&self.scope));
        let mut scan = Scan::new();
        let mut attrs = Attrs::new();
        clear(outline);
        match scan.advance(view, &rules, &mut attrs, outline)? {
            Some(found) => {
                let (slice, rest) = all.split_at(end_of(found));
                *input = rest;
                Piece::new(found, Some(slice), slice, &scan, &attrs).map(Some)
            }
            None if view.len() == bytes_max => Err(self.too_big()),
            None => {
                self.buffer = view.to_vec();
                self.pending = Some(Box::new(Pending { scan, outline: std::mem::take(outline) }));
                *input = &[];
                Ok(None)
            }
        }
    }

    /// Goes on with the element in the buffer.
    fn resume<'i>(&mut self, input: &mut &'i [u8], outline: &mut Outline) -> Result<Option<Piece<'i>>, Fault> {
        let bytes_max = self.bytes_max();
        let held = self.buffer.len();
        let taken = input.len().min(bytes_max.saturating_sub(held));
        self.buffer.extend_from_slice(&input[..taken]);
        let outside = Scope::empty_if(self.stage == Stage::Header);
        let rules = rules(self.bounds, self.stage, outside.as_ref().unwrap_or(&self.scope));
        let Some(mut pending) = self.pending.take() else { return Ok(None) };
        let mut attrs = Attrs::new();
        match pending.scan.advance(&self.buffer, &rules, &mut attrs, &mut pending.outline)? {
            Some(found) => {
                let end = end_of(found);
                *input = &input[end.saturating_sub(held)..];
                self.buffer.truncate(end);
                self.given = true;
                *outline = std::mem::take(&mut pending.outline);
                Piece::new(found, None, &self.buffer, &pending.scan, &attrs).map(Some)
            }
            None if self.buffer.len() >= bytes_max => Err(self.too_big()),
            None => {
                *input = &input[taken..];
                self.pending = Some(pending);
                Ok(None)
            }
        }
    }

    fn give<'a, 'i: 'a>(
        &'a mut self,
        piece: Piece<'i>,
        outline: &mut Outline,
    ) -> Result<Option<Frame<'a>>, StreamError> {
        match piece.found {
            Found::End(_) => {
                self.stage = Stage::Over;
                Ok(Some(Frame::End))
            }
            Found::Header(end) => {
                let Some(parts) = piece.header else { return Err(self.fail(Fault::Internal)) };
                let (header, scope) = *parts;
                let bytes = piece.slice.unwrap_or(&self.buffer);
                let ended = bytes[..end].ends_with(b"/>");
                self.scope = scope;
                self.stage = if ended { Stage::Ending } else { Stage::Stream };
                Ok(Some(Frame::Header(Box::new(header))))
            }
            Found::Element(_) if piece.rewrite || piece.used != 0 => {
                let bytes = piece.slice.unwrap_or(&self.buffer);
                match rewritten(bytes, &piece, &self.scope, outline) {
                    Ok(bytes) => self.buffer = bytes,
                    Err(fault) => return Err(self.fail(fault)),
                }
                self.given = true;
                Ok(Some(Frame::Element(&self.buffer)))
            }
            Found::Element(_) => Ok(Some(Frame::Element(piece.slice.unwrap_or(&self.buffer)))),
        }
    }
}

impl<'i> Piece<'i> {
    fn new(
        found: Found,
        slice: Option<&'i [u8]>,
        bytes: &[u8],
        scan: &Scan,
        attrs: &Attrs,
    ) -> Result<Piece<'i>, Fault> {
        let header = match found {
            Found::Header(_) => Some(Box::new(header::read(bytes, scan, attrs)?)),
            _ => None,
        };
        Ok(Piece { found, slice, used: scan.used, rewrite: scan.rewrite, header })
    }
}

/// The rules for what comes in this stage.
fn rules(bounds: Bounds, stage: Stage, scope: &Scope) -> Rules<'_> {
    let header = stage != Stage::Stream;
    let depth_max = if header { 1 } else { bounds.depth_max };
    Rules { scope, content: scope.content(), default: scope.default(), depth_max, header }
}

/// An element made fit to leave the stream, with its new outline.
fn rewritten(bytes: &[u8], piece: &Piece<'_>, scope: &Scope, outline: &mut Outline) -> Result<Vec<u8>, Fault> {
    let mut bytes = match piece.used {
        0 => bytes.to_vec(),
        used => rewrite::declare(bytes, outline, scope, used),
    };
    let mut default = scope.default();
    if piece.rewrite {
        bytes = rewrite::rebuild(&bytes, scope)?;
        default = Outside::Content;
    }
    let rules = Rules { scope, content: scope.content(), default, depth_max: DEPTH_CAP, header: false };
    clear(outline);
    match Scan::new().advance(&bytes, &rules, &mut Attrs::new(), outline)? {
        Some(Found::Element(end)) if end == bytes.len() => Ok(bytes),
        _ => Err(Fault::Internal),
    }
}

fn end_of(found: Found) -> usize {
    match found {
        Found::Header(end) | Found::Element(end) | Found::End(end) => end,
    }
}

/// Empties an outline and keeps its room.
fn clear(outline: &mut Outline) {
    outline.attrs.clear();
    outline.children.clear();
}
