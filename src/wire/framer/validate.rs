//! One pass over an element that judges every byte and notes where things are.
//!
//! Source: XML 1.0 (5th edition), Namespaces in XML 1.0 (3rd edition), RFC 6120 §4.9.3 and §11. Invariant: what passes
//! is namespace-well-formed, holds nothing that RFC 6120 §11.1 forbids, and means the same behind any opening tag that
//! binds the stream's namespaces.

use std::ops::Range;

use heapless::Vec as Bounded;

use super::{
    chars::{self, CLASS, Class},
    too_deep,
};
use crate::wire::{
    error::{StreamCondition, StreamError},
    ns,
    stanza::{Attr, AttrName, Child, NsRef, Outline},
};

/// Elements open at once that the validator can hold; `Bounds::depth_max` is smaller.
const OPEN_MAX: usize = 64;
/// Namespace declarations in force at once.
const BINDINGS_MAX: usize = 64;
/// Attributes of one tag.
const ATTRS_MAX: usize = 32;
/// Bytes of one tag (a vCard's picture is text, not an attribute).
const TAG_BYTES_MAX: usize = 16 * 1024;

/// Why there is no verdict of "good".
#[derive(Debug)]
pub enum Fault {
    /// The bytes end before the element does.
    Incomplete,
    /// Bad for good.
    Bad(StreamError),
}

impl From<StreamCondition> for Fault {
    fn from(condition: StreamCondition) -> Self {
        Fault::Bad(condition.into())
    }
}

const MALFORMED: StreamCondition = StreamCondition::NotWellFormed;

/// What the stream header bound.
#[derive(Clone, Debug, Default)]
pub struct Outer {
    /// The header's default namespace.
    pub default: String,
    /// Its prefixes but `xml`, with their namespaces.
    pub prefixes: Vec<(String, String)>,
}

impl Outer {
    fn prefix(&self, prefix: &[u8]) -> Option<usize> {
        self.prefixes.iter().position(|(known, _)| known.as_bytes() == prefix)
    }
}

/// What has to be changed so that the element stands by itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Prefixes of the stream header that it uses, by index, `stream` itself excepted.
    pub borrowed: Bounded<u8, 8>,
    /// It has to be written anew: a prefixed stanza, or a namespace name with references.
    pub rewrite: bool,
}

impl Repairs {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.borrowed.is_empty() && !self.rewrite
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Space {
    /// Declared inside the element.
    Local(Range<u32>),
    /// The header's default namespace.
    Default,
    /// A prefix of the header.
    Outer(u8),
    /// The prefix `xml`.
    Xml,
}

#[derive(Debug)]
struct Binding {
    prefix: Range<u32>,
    value: Range<u32>,
}

#[derive(Debug)]
struct Open {
    name: Range<u32>,
    bindings: u16,
}

/// One attribute of a tag, before namespaces are known.
#[derive(Clone, Debug)]
pub struct RawAttr {
    /// With the white space before it and both quotes.
    pub whole: Range<u32>,
    /// The name.
    pub name: Range<u32>,
    /// Length of the prefix, 0 if there is none.
    pub prefix: u32,
    /// Between the quotes.
    pub value: Range<u32>,
}

/// The attributes of one tag.
pub type RawAttrs = Bounded<RawAttr, ATTRS_MAX>;

/// How far a pass over one element has come; it goes on when more bytes are there. Ranges count from the element's
/// first byte.
#[derive(Debug, Default)]
pub struct Pass {
    at: usize,
    within: Within,
    /// Where the search for the end of the tag at `at` goes on, and the quote it is in (0: none).
    scanned: usize,
    quote: u8,
    open: Bounded<Open, OPEN_MAX>,
    bindings: Bounded<Binding, BINDINGS_MAX>,
    repairs: Repairs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Within {
    /// At `<`.
    #[default]
    Markup,
    Text,
    Cdata,
}

/// One run over the bytes that are there.
pub struct Validator<'a> {
    bytes: &'a [u8],
    outer: &'a Outer,
    pass: Pass,
}

impl<'a> Validator<'a> {
    /// Goes on with a pass; a new one begins at the first byte of an element, which is `<`.
    pub fn new(bytes: &'a [u8], outer: &'a Outer, pass: Pass) -> Self {
        Validator { bytes, outer, pass }
    }

    /// Judges one element. The outline is filled; the element's length comes back, with what is to be repaired.
    ///
    /// # Errors
    /// The fault, and the pass to go on with if more bytes are needed.
    pub fn element(mut self, depth_max: usize, outline: &mut Outline) -> Result<(usize, Repairs), (Fault, Pass)> {
        if self.pass.at == 0 {
            outline.attrs.clear();
            outline.children.clear();
            outline.content = 0..0;
        }
        match self.run(depth_max, outline) {
            Ok(()) => Ok((self.pass.at, self.pass.repairs)),
            Err(fault) => Err((fault, self.pass)),
        }
    }

    fn run(&mut self, depth_max: usize, outline: &mut Outline) -> Result<(), Fault> {
        loop {
            match self.pass.within {
                Within::Text => self.text()?,
                Within::Cdata => self.cdata()?,
                Within::Markup => match self.peek(1)? {
                    b'!' => self.begin_cdata()?,
                    b'?' => return Err(StreamCondition::RestrictedXml.into()),
                    b'/' => {
                        self.find_tag_end()?;
                        self.end_tag(outline)?;
                    }
                    _ => {
                        self.find_tag_end()?;
                        self.start_tag(depth_max, outline)?;
                    }
                },
            }
            if self.pass.open.is_empty() {
                std::str::from_utf8(&self.bytes[..self.pass.at]).map_err(|_| MALFORMED)?;
                return Ok(());
            }
        }
    }

    /// Whether the tag that begins here is there as a whole; only then it is read. Looks at each byte once.
    fn find_tag_end(&mut self) -> Result<(), Fault> {
        let mut at = self.pass.scanned.max(self.pass.at + 1);
        let found = loop {
            let rest = &self.bytes[at..];
            let next = match self.pass.quote {
                0 => memchr::memchr3(b'>', b'\'', b'"', rest),
                quote => memchr::memchr(quote, rest),
            };
            let Some(next) = next else {
                at = self.bytes.len();
                break false;
            };
            let byte = rest[next];
            at += next + 1;
            match (self.pass.quote, byte) {
                (0, b'>') => break true,
                (0, quote) => self.pass.quote = quote,
                _ => self.pass.quote = 0,
            }
        };
        if at - self.pass.at > TAG_BYTES_MAX {
            return Err(policy("A tag is too long."));
        }
        self.pass.scanned = if found { 0 } else { at };
        if found { Ok(()) } else { Err(Fault::Incomplete) }
    }

    /// Judges the tag of a stream header: its name, and its attributes. Returns its length and whether it is empty.
    pub fn header(mut self) -> Result<(usize, Range<u32>, RawAttrs, bool), Fault> {
        self.pass.at = 1;
        let (name, _) = self.name()?;
        let mut attrs = RawAttrs::new();
        let empty = self.attributes(&mut attrs)?;
        self.declare(&attrs)?;
        std::str::from_utf8(&self.bytes[..self.pass.at]).map_err(|_| MALFORMED)?;
        Ok((self.pass.at, name, attrs, empty))
    }

    fn peek(&self, ahead: usize) -> Result<u8, Fault> {
        self.bytes.get(self.pass.at + ahead).copied().ok_or(Fault::Incomplete)
    }

    fn slice(&self, range: &Range<u32>) -> &'a [u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }

    fn start_tag(&mut self, depth_max: usize, outline: &mut Outline) -> Result<(), Fault> {
        let tag = self.pass.at as u32;
        self.pass.at += 1;
        let (name, prefix) = self.name()?;
        let mut attrs = RawAttrs::new();
        let bindings = self.pass.bindings.len() as u16;
        let empty = self.attributes(&mut attrs)?;
        self.declare(&attrs)?;
        let space = self.resolve(&(name.start..name.start + prefix))?;
        self.check_attributes(&attrs)?;
        let local = if prefix == 0 { name.clone() } else { name.start + prefix + 1..name.end };
        match self.pass.open.len() {
            0 => self.outline_root(&attrs, local, prefix, &space, outline),
            1 => outline.children.push(Child { whole: tag..0, name: local, ns: self.space_ref(&space) }),
            _ => {}
        }
        if self.pass.open.len() >= depth_max || self.pass.open.push(Open { name, bindings }).is_err() {
            return Err(Fault::Bad(too_deep()));
        }
        self.pass.within = Within::Text;
        if empty {
            self.close(outline, None);
        }
        Ok(())
    }

    fn outline_root(&mut self, attrs: &RawAttrs, local: Range<u32>, prefix: u32, space: &Space, outline: &mut Outline) {
        outline.name = local;
        outline.ns = self.space_ref(space);
        self.pass.repairs.rewrite |= prefix > 0 && outline.ns == NsRef::Content;
        outline.content = self.pass.at as u32..self.pass.at as u32;
        for attr in attrs {
            let name = match self.slice(&attr.name) {
                b"to" => AttrName::To,
                b"from" => AttrName::From,
                b"id" => AttrName::Id,
                b"type" => AttrName::Type,
                b"xml:lang" => AttrName::Lang,
                b"xmlns" => AttrName::Xmlns,
                _ => AttrName::Other,
            };
            outline.attrs.push(Attr { name, whole: attr.whole.clone(), value: attr.value.clone() });
        }
    }

    fn end_tag(&mut self, outline: &mut Outline) -> Result<(), Fault> {
        let tag = self.pass.at as u32;
        self.pass.at += 2;
        let (name, _) = self.name()?;
        while chars::is_space(self.peek(0)?) {
            self.pass.at += 1;
        }
        if self.peek(0)? != b'>' {
            return Err(MALFORMED.into());
        }
        self.pass.at += 1;
        let started = self.pass.open.last().map(|open| self.slice(&open.name));
        if started != Some(self.slice(&name)) {
            return Err(MALFORMED.into());
        }
        self.pass.within = Within::Text;
        self.close(outline, Some(tag));
        Ok(())
    }

    fn close(&mut self, outline: &mut Outline, end_tag: Option<u32>) {
        let Some(open) = self.pass.open.pop() else { return };
        self.pass.bindings.truncate(open.bindings as usize);
        match self.pass.open.len() {
            0 => {
                if let Some(tag) = end_tag {
                    outline.content.end = tag;
                }
            }
            1 => {
                if let Some(child) = outline.children.last_mut() {
                    child.whole.end = self.pass.at as u32;
                }
            }
            _ => {}
        }
    }

    /// A qualified name: its range, and the length of its prefix.
    fn name(&mut self) -> Result<(Range<u32>, u32), Fault> {
        let start = self.pass.at;
        let mut prefix = 0;
        let mut part = start;
        let mut ascii = true;
        loop {
            let byte = self.peek(0)?;
            if byte == b':' {
                if prefix > 0 || self.pass.at == part {
                    return Err(StreamCondition::BadNamespacePrefix.into());
                }
                prefix = (self.pass.at - start) as u32;
                part = self.pass.at + 1;
            } else if self.pass.at == part && !chars::begins_name(byte) || !chars::continues_name(byte) {
                break;
            }
            ascii &= byte < 0x80;
            self.pass.at += 1;
        }
        if self.pass.at == part {
            return Err(MALFORMED.into());
        }
        if !ascii {
            let text = std::str::from_utf8(&self.bytes[start..self.pass.at]).map_err(|_| MALFORMED)?;
            if !text.split(':').all(chars::is_name) {
                return Err(MALFORMED.into());
            }
        }
        Ok((start as u32..self.pass.at as u32, prefix))
    }

    /// The attributes up to the tag's end; whether the tag is `<…/>`.
    fn attributes(&mut self, attrs: &mut RawAttrs) -> Result<bool, Fault> {
        loop {
            let before = self.pass.at;
            while chars::is_space(self.peek(0)?) {
                self.pass.at += 1;
            }
            match self.peek(0)? {
                b'>' => {
                    self.pass.at += 1;
                    return Ok(false);
                }
                b'/' => {
                    if self.peek(1)? != b'>' {
                        return Err(MALFORMED.into());
                    }
                    self.pass.at += 2;
                    return Ok(true);
                }
                _ if self.pass.at == before => return Err(MALFORMED.into()),
                _ => {}
            }
            let attr = self.attribute(before)?;
            let same = |other: &&RawAttr| self.slice(&other.name) == self.slice(&attr.name);
            if attrs.iter().find(same).is_some() {
                return Err(MALFORMED.into());
            }
            attrs.push(attr).map_err(|_| policy("Too many attributes."))?;
        }
    }

    fn attribute(&mut self, before: usize) -> Result<RawAttr, Fault> {
        let (name, prefix) = self.name()?;
        while chars::is_space(self.peek(0)?) {
            self.pass.at += 1;
        }
        if self.peek(0)? != b'=' {
            return Err(MALFORMED.into());
        }
        self.pass.at += 1;
        while chars::is_space(self.peek(0)?) {
            self.pass.at += 1;
        }
        let quote = self.peek(0)?;
        if !matches!(quote, b'\'' | b'"') {
            return Err(MALFORMED.into());
        }
        self.pass.at += 1;
        let start = self.pass.at as u32;
        loop {
            let byte = self.peek(0)?;
            if byte == quote {
                break;
            }
            match CLASS[byte as usize] {
                Class::Plain | Class::Bracket => self.pass.at += 1,
                Class::Amp => self.reference()?,
                Class::Ef => self.not_a_noncharacter()?,
                Class::Lt | Class::Control => return Err(MALFORMED.into()),
            }
        }
        let value = start..self.pass.at as u32;
        self.pass.at += 1;
        Ok(RawAttr { whole: before as u32..self.pass.at as u32, name, prefix, value })
    }

    fn reference(&mut self) -> Result<(), Fault> {
        match chars::reference(&self.bytes[self.pass.at..]) {
            Ok(Some(len)) => {
                self.pass.at += len;
                Ok(())
            }
            Ok(None) => Err(Fault::Incomplete),
            // RFC 6120 §11.1: an entity that is not predefined is restricted; a bad one is malformed.
            Err(()) => match self.bytes.get(self.pass.at + 1) {
                Some(byte) if chars::begins_name(*byte) => Err(StreamCondition::RestrictedXml.into()),
                _ => Err(MALFORMED.into()),
            },
        }
    }

    /// At a byte 0xEF: U+FFFE and U+FFFF are no characters.
    fn not_a_noncharacter(&mut self) -> Result<(), Fault> {
        if self.peek(1)? == 0xBF && matches!(self.peek(2)?, 0xBE | 0xBF) {
            return Err(MALFORMED.into());
        }
        self.pass.at += 1;
        Ok(())
    }

    /// Character data up to the next `<`.
    fn text(&mut self) -> Result<(), Fault> {
        loop {
            let rest = &self.bytes[self.pass.at..];
            let plain = rest.iter().position(|byte| CLASS[*byte as usize] != Class::Plain);
            self.pass.at += plain.unwrap_or(rest.len());
            match CLASS[self.peek(0)? as usize] {
                Class::Lt => {
                    self.pass.within = Within::Markup;
                    return Ok(());
                }
                Class::Amp => self.reference()?,
                Class::Ef => self.not_a_noncharacter()?,
                Class::Bracket => {
                    if self.peek(1)? == b']' && self.peek(2)? == b'>' {
                        return Err(MALFORMED.into());
                    }
                    self.pass.at += 1;
                }
                _ => return Err(MALFORMED.into()),
            }
        }
    }

    /// At `<!`: a CDATA section inside an element, and nothing else (RFC 6120 §11.1).
    fn begin_cdata(&mut self) -> Result<(), Fault> {
        const START: &[u8] = b"<![CDATA[";
        let rest = &self.bytes[self.pass.at..];
        let common = rest.len().min(START.len());
        if rest[..common] != START[..common] || self.pass.open.is_empty() {
            return Err(StreamCondition::RestrictedXml.into());
        }
        if common < START.len() {
            return Err(Fault::Incomplete);
        }
        self.pass.at += START.len();
        self.pass.within = Within::Cdata;
        Ok(())
    }

    /// The inside of a CDATA section.
    fn cdata(&mut self) -> Result<(), Fault> {
        loop {
            match self.peek(0)? {
                b']' => {
                    if self.peek(1)? == b']' && self.peek(2)? == b'>' {
                        self.pass.at += 3;
                        self.pass.within = Within::Text;
                        return Ok(());
                    }
                    self.pass.at += 1;
                }
                byte => match CLASS[byte as usize] {
                    Class::Control => return Err(MALFORMED.into()),
                    Class::Ef => self.not_a_noncharacter()?,
                    _ => self.pass.at += 1,
                },
            }
        }
    }

    /// Namespace declarations of one tag, Namespaces in XML §3.
    fn declare(&mut self, attrs: &RawAttrs) -> Result<(), Fault> {
        for attr in attrs {
            let name = self.slice(&attr.name);
            let prefix = match (name, attr.prefix) {
                (b"xmlns", 0) => attr.name.start..attr.name.start,
                (_, 5) if name.starts_with(b"xmlns:") => attr.name.start + 6..attr.name.end,
                _ => continue,
            };
            let value = self.slice(&attr.value);
            let is_xml = self.slice(&prefix) == b"xml";
            let reserved = value == ns::XMLNS.as_bytes()
                || self.slice(&prefix) == b"xmlns"
                || is_xml != (value == ns::XML.as_bytes())
                || (!prefix.is_empty() && value.is_empty());
            if reserved {
                return Err(StreamCondition::BadNamespacePrefix.into());
            }
            // The names of namespaces are compared as bytes all over the house.
            self.pass.repairs.rewrite |= value.contains(&b'&');
            let binding = Binding { prefix, value: attr.value.clone() };
            self.pass.bindings.push(binding).map_err(|_| policy("Too many namespaces."))?;
        }
        Ok(())
    }

    /// The namespace that a prefix stands for; an empty one is the default.
    fn resolve(&mut self, prefix: &Range<u32>) -> Result<Space, Fault> {
        let wanted = self.slice(prefix);
        let inner = self.pass.bindings.iter().rev().find(|binding| self.slice(&binding.prefix) == wanted);
        if let Some(binding) = inner {
            return Ok(Space::Local(binding.value.clone()));
        }
        match wanted {
            b"" => Ok(Space::Default),
            b"xml" => Ok(Space::Xml),
            b"xmlns" => Err(StreamCondition::BadNamespacePrefix.into()),
            _ => {
                let known = self.outer.prefix(wanted).ok_or(StreamCondition::BadNamespacePrefix)?;
                let is_stream = wanted == b"stream" && self.outer.prefixes[known].1 == ns::STREAM;
                if !is_stream && !self.pass.repairs.borrowed.contains(&(known as u8)) {
                    self.pass.repairs.rewrite |= self.pass.repairs.borrowed.push(known as u8).is_err();
                }
                Ok(Space::Outer(known as u8))
            }
        }
    }

    fn space_name(&self, space: &Space) -> &[u8] {
        match space {
            Space::Local(range) => self.slice(range),
            Space::Default => self.outer.default.as_bytes(),
            Space::Outer(at) => self.outer.prefixes[*at as usize].1.as_bytes(),
            Space::Xml => ns::XML.as_bytes(),
        }
    }

    fn space_ref(&self, space: &Space) -> NsRef {
        let name = self.space_name(space);
        if name == self.outer.default.as_bytes() {
            return NsRef::Content;
        }
        match space {
            _ if name == ns::STREAM.as_bytes() => NsRef::Stream,
            Space::Local(range) => NsRef::Local(range.clone()),
            // Borrowed prefixes are bound inside when the element is repaired and judged again.
            _ => NsRef::Local(0..0),
        }
    }

    /// Prefixes are bound, and no two attributes have the same expanded name (Namespaces in XML §6.3).
    fn check_attributes(&mut self, attrs: &RawAttrs) -> Result<(), Fault> {
        let mut seen: Bounded<(Space, Range<u32>), ATTRS_MAX> = Bounded::new();
        for attr in attrs.iter().filter(|attr| attr.prefix > 0) {
            let prefix = attr.name.start..attr.name.start + attr.prefix;
            if self.slice(&prefix) == b"xmlns" {
                continue;
            }
            let space = self.resolve(&prefix)?;
            let local = attr.name.start + attr.prefix + 1..attr.name.end;
            let same = seen.iter().any(|(other, name)| {
                self.slice(name) == self.slice(&local) && self.space_name(other) == self.space_name(&space)
            });
            if same {
                return Err(MALFORMED.into());
            }
            // As many as there are attributes.
            let _ = seen.push((space, local));
        }
        Ok(())
    }
}

fn policy(text: &'static str) -> Fault {
    Fault::Bad(StreamError::new(StreamCondition::PolicyViolation).text(text))
}
