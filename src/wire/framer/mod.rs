//! Finds the edges of stream elements and validates every byte on the way.
//!
//! Source: RFC 6120 §4.2, §4.7, §4.9, §11, XML 1.0. Invariant: nothing leaves here that was not validated whole, and
//! what is held for an element that is not complete never exceeds the stream's bound.
//!
//! An element that stands whole in the input is judged in one pass and handed out as a slice of the input. Only one that
//! comes in pieces is copied; the pass goes on where it stopped.

mod chars;
mod validate;

#[cfg(test)]
mod tests;

use validate::{Fault, Outer, Pass, RawAttrs, Repairs, Validator};

use super::{
    build,
    element::Element,
    error::{StreamCondition, StreamError},
    ns,
    stanza::Outline,
};

/// Bytes of a stream header, declarations and the XML declaration included.
const HEADER_BYTES_MAX: usize = 4 * 1024;
/// Namespaces that a stream header may bind.
const HEADER_PREFIXES_MAX: usize = 8;
/// Bytes of a buffer that an idle stream may keep.
const KEPT_BYTES_MAX: usize = 0;

/// Bounds of one stream, in bytes and counts.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Longest top-level element, in bytes.
    pub stanza_bytes_max: usize,
    /// Deepest nesting below the stream element.
    pub depth_max: usize,
}

/// What the stream header said, RFC 6120 §4.7.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Whether the element is `stream` in the stream namespace.
    pub is_stream: bool,
    /// Its prefix as written; RFC 6120 §4.8.5 wants `stream`, others are served as well.
    pub prefix: Option<String>,
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

/// Resumable at any byte.
#[derive(Debug)]
pub struct Framer {
    bounds: Bounds,
    stage: Stage,
    /// An element that is not complete, or one that was handed out last.
    buffer: Vec<u8>,
    handed_out: bool,
    /// How far the element in the buffer was judged.
    partial: Option<Box<Partial>>,
    /// What the header bound; `None` for the plain header that nearly everybody sends.
    outer: Option<Box<Outer>>,
    /// The header's qualified name if it is not `stream:stream`.
    end_name: Option<Box<str>>,
}

/// An element that is not complete.
#[derive(Debug, Default)]
struct Partial {
    pass: Pass,
    outline: Outline,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Waits for the header.
    Header,
    /// Between or inside top-level elements.
    Body,
    /// The other side has ended the stream.
    Ended,
}

/// What the plain header binds.
static PLAIN: std::sync::LazyLock<Outer> = std::sync::LazyLock::new(|| Outer {
    default: ns::CLIENT.into(),
    prefixes: vec![("stream".into(), ns::STREAM.into())],
});

/// More nesting than any stanza needs.
fn too_deep() -> StreamError {
    StreamError::new(StreamCondition::PolicyViolation).text("Elements are nested too deeply.")
}

fn too_big() -> StreamError {
    // RFC 6120 §4.9.3.14; the condition tells an honest client what to change (XEP-0478).
    StreamError::new(StreamCondition::PolicyViolation)
        .text("A stanza is too big.")
        .app("<stanza-too-big xmlns='urn:xmpp:errors'/>")
}

impl Framer {
    /// A framer that waits for a stream header.
    pub fn new(bounds: Bounds) -> Framer {
        Framer {
            bounds,
            stage: Stage::Header,
            buffer: Vec::new(),
            handed_out: false,
            partial: None,
            outer: None,
            end_name: None,
        }
    }

    /// Forgets the stream and waits for a new header with these bounds (STARTTLS, SASL).
    pub fn restart(&mut self, bounds: Bounds) {
        *self = Framer::new(bounds);
    }

    /// Bounds for the stanzas to come.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Bytes that are held for what is not complete.
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Takes bytes off the front of `input` up to the end of the next frame. `None`: all of `input` was taken and more
    /// is needed.
    ///
    /// # Errors
    /// The stream error that RFC 6120 demands; the framer must not be used after it.
    pub fn next<'f, 'a: 'f>(
        &'f mut self,
        input: &mut &'a [u8],
        outline: &mut Outline,
    ) -> Result<Option<Frame<'f>>, StreamError> {
        if std::mem::take(&mut self.handed_out) {
            self.buffer.clear();
            self.buffer.shrink_to(KEPT_BYTES_MAX);
        }
        match self.stage {
            Stage::Header => self.header(input),
            Stage::Body => self.body(input, outline),
            Stage::Ended => {
                *input = &[];
                Ok(None)
            }
        }
    }

    fn header(&mut self, input: &mut &[u8]) -> Result<Option<Frame<'static>>, StreamError> {
        // A header comes once and is short: it is always gathered, and looked at anew with each piece, within bounds.
        let before = self.buffer.len();
        let room = HEADER_BYTES_MAX.saturating_sub(before).min(input.len());
        self.buffer.extend_from_slice(&input[..room]);
        let spaces = self.buffer.iter().take_while(|byte| chars::is_space(**byte)).count();
        match read_header(&self.buffer, spaces) {
            Ok((end, header, outer, name)) => {
                *input = &input[end - before..];
                self.buffer = Vec::new();
                self.outer = (outer.default != ns::CLIENT || outer.prefixes != PLAIN.prefixes).then(|| Box::new(outer));
                self.end_name = (name != "stream:stream").then(|| name.into());
                self.stage = Stage::Body;
                Ok(Some(Frame::Header(Box::new(header))))
            }
            Err(Fault::Incomplete) if self.buffer.len() >= HEADER_BYTES_MAX => {
                Err(StreamError::new(StreamCondition::PolicyViolation).text("The stream header is too long."))
            }
            Err(Fault::Incomplete) => {
                *input = &input[room..];
                if spaces == self.buffer.len() {
                    // White space before a header is a keep-alive between streams.
                    self.buffer = Vec::new();
                }
                Ok(None)
            }
            Err(Fault::Bad(error)) => Err(error),
        }
    }

    fn body<'f, 'a: 'f>(
        &'f mut self,
        input: &mut &'a [u8],
        outline: &mut Outline,
    ) -> Result<Option<Frame<'f>>, StreamError> {
        if self.buffer.is_empty() {
            let spaces = input.iter().take_while(|byte| chars::is_space(**byte)).count();
            *input = &input[spaces..];
            match input {
                [] => return Ok(None),
                [b'<', b'/', ..] => {}
                [b'<', ..] => {
                    if let Some(frame) = self.whole(input, outline)? {
                        return Ok(Some(frame));
                    }
                    if input.is_empty() {
                        return Ok(None);
                    }
                }
                // RFC 6120 §11.7: only white space stands between first-level elements.
                _ => return Err(StreamCondition::BadFormat.into()),
            }
        }
        self.pieces(input, outline)
    }

    /// An element that stands whole in the input: one pass, no copy. If it does not, the pass is kept.
    fn whole<'a>(&mut self, input: &mut &'a [u8], outline: &mut Outline) -> Result<Option<Frame<'a>>, StreamError> {
        let outer = self.outer.as_deref().unwrap_or(&PLAIN);
        let within = &input[..input.len().min(self.bounds.stanza_bytes_max)];
        match Validator::new(within, outer, Pass::default()).element(self.bounds.depth_max, outline) {
            Ok((len, repairs)) if repairs.is_empty() => {
                let (element, rest) = input.split_at(len);
                *input = rest;
                Ok(Some(Frame::Element(element)))
            }
            // Repairs need the buffer: it is judged again from there.
            Ok(_) => Ok(None),
            Err((Fault::Incomplete, _)) if input.len() > within.len() => Err(too_big()),
            Err((Fault::Incomplete, pass)) => {
                let outline = std::mem::take(outline);
                self.partial = Some(Box::new(Partial { pass, outline }));
                self.buffer.extend_from_slice(input);
                *input = &[];
                Ok(None)
            }
            Err((Fault::Bad(error), _)) => Err(error),
        }
    }

    /// An element that comes in pieces, or `</stream:stream>`.
    fn pieces<'f>(&'f mut self, input: &mut &[u8], outline: &mut Outline) -> Result<Option<Frame<'f>>, StreamError> {
        if input.is_empty() {
            return Ok(None);
        }
        if self.is_end(input) {
            return self.end(input);
        }
        let held = self.buffer.len();
        let room = self.bounds.stanza_bytes_max.saturating_sub(held).min(input.len());
        self.buffer.extend_from_slice(&input[..room]);
        let outer = self.outer.as_deref().unwrap_or(&PLAIN);
        let mut partial = self.partial.take().unwrap_or_default();
        let pass = std::mem::take(&mut partial.pass);
        match Validator::new(&self.buffer, outer, pass).element(self.bounds.depth_max, &mut partial.outline) {
            Ok((len, repairs)) => {
                *input = &input[len - held..];
                self.buffer.truncate(len);
                *outline = partial.outline;
                self.handed_out = true;
                if !repairs.is_empty() {
                    self.repair(&repairs, outline)?;
                }
                Ok(Some(Frame::Element(&self.buffer)))
            }
            Err((Fault::Incomplete, _)) if room < input.len() => Err(too_big()),
            Err((Fault::Incomplete, pass)) => {
                *input = &[];
                partial.pass = pass;
                self.partial = Some(partial);
                Ok(None)
            }
            Err((Fault::Bad(error), _)) => Err(error),
        }
    }

    /// Whether the first-level bytes at hand begin, or are, an end tag.
    fn is_end(&self, input: &[u8]) -> bool {
        let mut first = self.buffer.iter().chain(input);
        first.next() == Some(&b'<') && first.next() == Some(&b'/')
    }

    fn end(&mut self, input: &mut &[u8]) -> Result<Option<Frame<'static>>, StreamError> {
        let name = self.end_name.as_deref().unwrap_or("stream:stream").as_bytes();
        while let Some((byte, rest)) = input.split_first() {
            self.buffer.push(*byte);
            *input = rest;
            let inside = self.buffer.get(2..).unwrap_or_default();
            let common = inside.len().min(name.len());
            let spaces = inside.get(name.len()..).unwrap_or_default();
            let spaces = spaces.strip_suffix(b">").unwrap_or(spaces);
            let fits = inside[..common] == name[..common] && spaces.iter().all(|byte| chars::is_space(*byte));
            if !fits || self.buffer.len() > HEADER_BYTES_MAX {
                return Err(StreamCondition::NotWellFormed.into());
            }
            if *byte == b'>' {
                self.buffer = Vec::new();
                self.stage = Stage::Ended;
                *input = &[];
                return Ok(Some(Frame::End));
            }
        }
        Ok(None)
    }

    /// Makes the element in the buffer stand by itself: prefixes of the stream header are bound on its own tag; what is
    /// written too oddly for that is written anew.
    fn repair(&mut self, repairs: &Repairs, outline: &mut Outline) -> Result<(), StreamError> {
        let outer = self.outer.as_deref().unwrap_or(&PLAIN);
        let mut bytes = Vec::with_capacity(self.buffer.len() + 64);
        let name_end = outline.name.end as usize;
        bytes.extend_from_slice(&self.buffer[..name_end]);
        for at in &repairs.borrowed {
            let (prefix, namespace) = &outer.prefixes[*at as usize];
            build::attr(&format!("xmlns:{prefix}"), namespace, &mut bytes);
        }
        bytes.extend_from_slice(&self.buffer[name_end..]);
        if repairs.rewrite {
            let element = Element::parse(&bytes, &outer.default).map_err(|_| StreamCondition::NotWellFormed)?;
            bytes.clear();
            element.write(&outer.default, &mut bytes);
        }
        if bytes.len() > self.bounds.stanza_bytes_max.saturating_add(HEADER_BYTES_MAX) {
            return Err(too_big());
        }
        self.buffer = bytes;
        match Validator::new(&self.buffer, outer, Pass::default()).element(self.bounds.depth_max, outline) {
            Ok((len, repairs)) if len == self.buffer.len() && repairs.is_empty() => Ok(()),
            Err((Fault::Bad(error), _)) => Err(error),
            _ => Err(StreamCondition::NotWellFormed.into()),
        }
    }
}

/// Reads an XML declaration, if there is one, and the header's tag. Returns where it ends, the header, what it binds and
/// its qualified name.
fn read_header(bytes: &[u8], spaces: usize) -> Result<(usize, Header, Outer, String), Fault> {
    let mut at = spaces;
    if bytes[at..].starts_with(&[0xEF, 0xBB, 0xBF]) {
        // RFC 6120 §11.6: a byte order mark is a zero-width space here, and no white space.
        return Err(StreamCondition::BadFormat.into());
    }
    if bytes[at..].starts_with(b"<?") {
        // White space before it is a keep-alive of the stream before a restart.
        at += declaration(&bytes[at..])?;
        at += bytes[at..].iter().take_while(|byte| chars::is_space(**byte)).count();
    }
    match bytes.get(at..at + 2) {
        None if bytes.get(at).is_none_or(|byte| *byte == b'<') => return Err(Fault::Incomplete),
        Some([b'<', b'!' | b'?']) => return Err(StreamCondition::RestrictedXml.into()),
        Some([b'<', _]) => {}
        _ => return Err(StreamCondition::BadFormat.into()),
    }
    let outer = Outer::default();
    let (len, name, attrs, empty) = Validator::new(&bytes[at..], &outer, Pass::default()).header()?;
    let tag = &bytes[at..at + len];
    let text = |range: &std::ops::Range<u32>| {
        String::from_utf8_lossy(&tag[range.start as usize..range.end as usize]).into_owned()
    };
    let name = text(&name);
    let outer = bindings(tag, &attrs)?;
    // The tag alone, closed, is an element that the tree can read.
    let mut closed = tag[..len - if empty { 2 } else { 1 }].to_vec();
    closed.extend_from_slice(b"/>");
    let prefix = name.split_once(':').map(|(prefix, _)| prefix.to_owned());
    let bound = |prefix: &str| prefix == "xml" || outer.prefixes.iter().any(|(known, _)| known == prefix);
    let used = attrs.iter().filter(|attr| attr.prefix > 0).map(|attr| text(&attr.name));
    let used = used.filter_map(|name| Some(name.split_once(':')?.0.to_owned())).filter(|prefix| prefix != "xmlns");
    if used.chain(prefix.clone()).any(|prefix| !bound(&prefix)) {
        return Err(StreamCondition::BadNamespacePrefix.into());
    }
    let element = Element::parse(&closed, "").map_err(|_| StreamCondition::NotWellFormed)?;
    if empty {
        return Err(StreamCondition::BadFormat.into());
    }
    let get = |name: &str| element.get(name).map(str::to_owned);
    let header = Header {
        to: get("to"),
        from: get("from"),
        id: get("id"),
        version: get("version"),
        lang: get("xml:lang"),
        content_ns: (!outer.default.is_empty()).then(|| outer.default.clone()),
        is_stream: element.is("stream", ns::STREAM),
        prefix,
    };
    Ok((at + len, header, outer, name))
}

/// `<?xml version='1.0' encoding='UTF-8'?>`, RFC 6120 §11.5 and §11.6. Returns where it ends.
fn declaration(bytes: &[u8]) -> Result<usize, Fault> {
    const START: &[u8] = b"<?xml";
    let common = bytes.len().min(START.len());
    if bytes[..common] != START[..common] {
        return Err(StreamCondition::RestrictedXml.into());
    }
    let Some(end) = memchr::memmem::find(bytes, b"?>") else { return Err(Fault::Incomplete) };
    let inside = std::str::from_utf8(&bytes[START.len()..end]).map_err(|_| StreamCondition::NotWellFormed)?;
    if !inside.starts_with([' ', '\t', '\r', '\n']) {
        return Err(StreamCondition::RestrictedXml.into());
    }
    // Read as the attributes of a tag, whose grammar is that of the declaration.
    let tag = format!("<x{inside}/>");
    let element = Validator::new(tag.as_bytes(), &PLAIN, Pass::default())
        .header()
        .ok()
        .and_then(|_| Element::parse(tag.as_bytes(), "").ok());
    let element = element.ok_or(StreamCondition::NotWellFormed)?;
    if element.get("version") != Some("1.0") {
        return Err(StreamCondition::NotWellFormed.into());
    }
    if element.get("encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case("utf-8")) {
        return Err(StreamCondition::UnsupportedEncoding.into());
    }
    Ok(end + 2)
}

/// What a header's attributes bind, unescaped.
fn bindings(tag: &[u8], attrs: &RawAttrs) -> Result<Outer, Fault> {
    let mut outer = Outer::default();
    for attr in attrs {
        let name = &tag[attr.name.start as usize..attr.name.end as usize];
        let value = &tag[attr.value.start as usize..attr.value.end as usize];
        let value = std::str::from_utf8(value).map_err(|_| StreamCondition::NotWellFormed)?;
        if value.contains('&') && name.starts_with(b"xmlns") {
            // Nobody needs references to name a namespace.
            return Err(StreamCondition::InvalidNamespace.into());
        }
        if name == b"xmlns" {
            outer.default = value.into();
        } else if let Some(prefix) = name.strip_prefix(b"xmlns:").filter(|prefix| *prefix != b"xml") {
            if outer.prefixes.len() >= HEADER_PREFIXES_MAX {
                return Err(StreamError::new(StreamCondition::PolicyViolation).text("Too many namespaces.").into());
            }
            outer.prefixes.push((String::from_utf8_lossy(prefix).into_owned(), value.into()));
        }
    }
    Ok(outer)
}

impl From<StreamError> for Fault {
    fn from(error: StreamError) -> Self {
        Fault::Bad(error)
    }
}
