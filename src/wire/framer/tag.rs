//! One tag: its end, its name, its attributes. Syntax only; what prefixes mean is decided in `scan`.
//!
//! Source: XML 1.0 productions \[40\] STag, \[41\] Attribute, \[42\] ETag, \[44\] EmptyElemTag; Namespaces in XML 1.0
//! \[7\] QName. Invariant: nothing is remembered here, so that a tag may be read again when more of it has come.

use super::{
    chars::{self, NAME, NAME_START, Reference, SPACE, is},
    fault::Fault,
};

/// Most attributes of one tag, namespace declarations included.
pub const ATTRS_MAX: usize = 32;

/// A name with or without prefix, as positions.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// First byte.
    pub start: u32,
    /// First byte of the local part; equals `start` if there is no prefix.
    pub local: u32,
    /// Behind the last byte.
    pub end: u32,
}

impl Name {
    /// The prefix, empty if there is none.
    #[inline(always)]
    pub fn prefix<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        if self.has_prefix() { &bytes[self.start as usize..self.local as usize - 1] } else { &[] }
    }

    /// Whether there is a prefix.
    #[inline(always)]
    pub fn has_prefix(&self) -> bool {
        self.local != self.start
    }

    /// The local part.
    #[inline(always)]
    pub fn local<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.local as usize..self.end as usize]
    }

    /// Prefix and local part.
    #[inline(always)]
    pub fn whole<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

/// One attribute, as positions.
#[derive(Clone, Copy, Debug)]
pub struct RawAttr {
    /// First byte of the white space before it.
    pub start: u32,
    /// Its name.
    pub name: Name,
    /// First byte of the value, behind the quote.
    pub value: u32,
    /// Behind the value; the closing quote stands here.
    pub value_end: u32,
}

impl RawAttr {
    /// The value as it was sent.
    #[inline(always)]
    pub fn value<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        &bytes[self.value as usize..self.value_end as usize]
    }

    /// The prefix that this attribute declares: empty for `xmlns`. `None` if it declares none.
    #[inline(always)]
    pub fn declares<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        if self.name.has_prefix() {
            (self.name.prefix(bytes) == b"xmlns").then(|| self.name.local(bytes))
        } else {
            (self.name.whole(bytes) == b"xmlns").then_some(&[][..])
        }
    }
}

/// The attributes of one tag in document order.
pub type Attrs = heapless::Vec<RawAttr, ATTRS_MAX>;

/// An opening tag.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// Its name.
    pub name: Name,
    /// Behind its `>`.
    pub end: usize,
    /// Whether it is `<a/>`.
    pub empty: bool,
}

/// Why no tag was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is not complete.
    More,
    /// It is not legal.
    Bad(Fault),
}

const fn malformed(text: &'static str) -> Stop {
    Stop::Bad(Fault::Malformed(text))
}

/// Reads the opening tag whose `<` stands at `at`.
#[inline]
pub fn open(bytes: &[u8], at: usize, attrs: &mut Attrs) -> Result<Tag, Stop> {
    attrs.clear();
    let name = qname(bytes, at + 1)?;
    let mut at = name.end as usize;
    loop {
        let start = at;
        at = chars::space_end(bytes, at);
        match bytes.get(at) {
            None => return Err(Stop::More),
            Some(b'>') => return Ok(Tag { name, end: at + 1, empty: false }),
            Some(b'/') => {
                return match bytes.get(at + 1) {
                    None => Err(Stop::More),
                    Some(b'>') => Ok(Tag { name, end: at + 2, empty: true }),
                    Some(_) => Err(malformed("'/' inside a tag")),
                };
            }
            Some(_) if at == start => return Err(malformed("no white space before an attribute")),
            Some(_) => {}
        }
        let attr = attribute(bytes, start, at)?;
        at = attr.value_end as usize + 1;
        attrs.push(attr).map_err(|_| Stop::Bad(Fault::Policy("too many attributes on one tag")))?;
    }
}

/// Reads `name='value'` at `at`; the white space before it begins at `start`.
#[inline(always)]
fn attribute(bytes: &[u8], start: usize, at: usize) -> Result<RawAttr, Stop> {
    let name = qname(bytes, at)?;
    let mut at = name.end as usize;
    if bytes.get(at) != Some(&b'=') {
        at = chars::space_end(bytes, at);
        match bytes.get(at) {
            None => return Err(Stop::More),
            Some(b'=') => {}
            Some(_) => return Err(malformed("an attribute without '='")),
        }
    }
    at += 1;
    let quote = match bytes.get(at) {
        Some(&quote @ (b'\'' | b'"')) => quote,
        _ => {
            at = chars::space_end(bytes, at);
            match bytes.get(at) {
                None => return Err(Stop::More),
                Some(&quote @ (b'\'' | b'"')) => quote,
                Some(_) => return Err(malformed("an attribute value without quotes")),
            }
        }
    };
    let value = at + 1;
    let end = value_end(bytes, value, quote)?;
    Ok(RawAttr { start: start as u32, name, value: value as u32, value_end: end as u32 })
}

/// The place of the closing quote.
#[inline(always)]
fn value_end(bytes: &[u8], mut at: usize, quote: u8) -> Result<usize, Stop> {
    loop {
        at = chars::value_end(bytes, at);
        match bytes.get(at) {
            None => return Err(Stop::More),
            Some(&byte) if byte == quote => return Ok(at),
            Some(b'\'' | b'"') => at += 1,
            Some(b'&') => match chars::reference(&bytes[at..]) {
                Reference::Char(_, len) => at += len,
                Reference::More => return Err(Stop::More),
                Reference::Bad(_, fault) => return Err(Stop::Bad(fault)),
            },
            Some(b'<') => return Err(malformed("'<' in an attribute value")),
            Some(_) => return Err(malformed("control character")),
        }
    }
}

#[inline(always)]
fn qname(bytes: &[u8], at: usize) -> Result<Name, Stop> {
    let end = ncname(bytes, at)?;
    match bytes.get(end) {
        None => Err(Stop::More),
        Some(b':') => {
            let local = end + 1;
            let end = ncname(bytes, local)?;
            if bytes.get(end) == Some(&b':') {
                return Err(malformed("two colons in a name"));
            }
            Ok(Name { start: at as u32, local: local as u32, end: end as u32 })
        }
        Some(_) => Ok(Name { start: at as u32, local: at as u32, end: end as u32 }),
    }
}

#[inline(always)]
fn ncname(bytes: &[u8], at: usize) -> Result<usize, Stop> {
    let Some(&first) = bytes.get(at) else { return Err(Stop::More) };
    if !is(first, NAME_START) {
        return Err(malformed("a name begins with a character that names cannot begin with"));
    }
    let mut all = first;
    let mut end = at + 1;
    while let Some(&byte) = bytes.get(end)
        && is(byte, NAME)
    {
        all |= byte;
        end += 1;
    }
    if all >= 0x80 {
        if end == bytes.len() {
            return Err(Stop::More);
        }
        chars::check_name(&bytes[at..end]).map_err(Stop::Bad)?;
    }
    Ok(end)
}

/// Reads the end tag whose `<` stands at `at` and which must close `name`. Gives the place behind its `>`.
#[inline]
pub fn close(bytes: &[u8], at: usize, name: &[u8]) -> Result<usize, Stop> {
    let rest = &bytes[at + 2..];
    let Some(sent) = rest.get(..name.len()) else { return Err(Stop::More) };
    if sent != name {
        return Err(malformed("an end tag that closes nothing"));
    }
    let mut end = at + 2 + name.len();
    if bytes.get(end) != Some(&b'>') {
        end = chars::space_end(bytes, end);
    }
    match bytes.get(end) {
        None => Err(Stop::More),
        Some(b'>') => Ok(end + 1),
        Some(_) => Err(malformed("an end tag that closes nothing")),
    }
}

/// Goes on looking for the `>` of a tag from `at`, without reading the tag. `quote` is the quote that is open, zero
/// for none, and lives on until the next call.
///
/// # Errors
/// A byte that can stand nowhere in a tag, with its place.
pub fn skim(bytes: &[u8], mut at: usize, quote: &mut u8) -> Result<Option<usize>, (usize, Fault)> {
    loop {
        at = chars::tag_run_end(bytes, at);
        match bytes.get(at) {
            None => return Ok(None),
            Some(b'>') if *quote == 0 => return Ok(Some(at)),
            Some(b'>') => {}
            Some(b'<') => return Err((at, Fault::Malformed("'<' inside a tag"))),
            Some(&byte @ (b'\'' | b'"')) => match *quote {
                0 => *quote = byte,
                open if open == byte => *quote = 0,
                _ => {}
            },
            Some(_) => return Err((at, Fault::Malformed("control character"))),
        }
        at += 1;
    }
}

/// Whether this byte may follow the `<` of an opening tag.
#[inline(always)]
pub fn begins(byte: u8) -> bool {
    is(byte, NAME_START)
}

/// Whether this byte is white space.
#[inline(always)]
pub fn is_space(byte: u8) -> bool {
    is(byte, SPACE)
}
