//! Walks over one top-level element: checks it, finds its end, notes its outline.
//!
//! Source: XML 1.0 and Namespaces in XML 1.0 as RFC 6120 §11 restricts them; design and bounds: S1, S2, S5 of the
//! security checklist. Invariant: wherever the input is cut, the outline, the end and the condition of an error are
//! the same, and each byte is looked at a constant number of times. To that end an error counts only when the byte
//! that proves it has come, and a tag is judged only when its `>` has come.

use super::{
    chars::{self, Reference},
    fault::Fault,
    names::{Bind, Meaning},
    scope::{Default, Scope},
    tag::{self, Attrs, Name, Stop, Tag},
};
use crate::wire::stanza::{Attr, AttrName, Child, NsRef, Outline};

/// Deepest nesting that can be asked for, in elements; what is open stands in an array of this length.
pub const DEPTH_CAP: usize = 128;
/// Most namespace declarations in force at one place.
pub const BINDS_MAX: usize = 64;
/// Longest tag in bytes, from `<` to `>`.
pub const TAG_BYTES_MAX: usize = 16 * 1024;
/// Most direct children of a top-level element; keeps the outline below a constant times the element.
pub const CHILDREN_MAX: usize = 1024;

const CDATA: &[u8] = b"<![CDATA[";

/// What holds while an element is scanned.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// What the stream header declared.
    pub scope: &'a Scope,
    /// The content namespace of the stream.
    pub content: &'a str,
    /// Deepest nesting, the top-level element counting as 1.
    pub depth_max: usize,
    /// Whether the next tag is the stream header.
    pub header: bool,
    /// What an element without prefix and without declaration is in.
    pub default: Default,
}

/// What was found, with the place behind its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The opening tag of the stream.
    Header(usize),
    /// A complete element.
    Element(usize),
    /// The end tag of the stream.
    End(usize),
}

/// An element whose end tag has not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    /// First byte of the name.
    name: u32,
    /// Length of the name; a tag is shorter than 64 KiB.
    name_len: u16,
    /// Number of declarations in force outside it.
    pub(super) binds: u8,
    /// The declaration of the default namespace in force inside it, counted from 1; 0 is the stream header's.
    pub(super) default: u8,
    /// Whether it and all around it are in the content namespace.
    pub(super) content: bool,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Content,
    /// Inside a tag whose `>` has not come.
    Tag {
        start: usize,
        quote: u8,
    },
    Cdata,
}

/// The state of a walk; positions count from the element's first byte.
#[derive(Debug)]
pub struct Scan {
    mode: Mode,
    /// Everything before is checked.
    at: usize,
    /// Everything before is known to be UTF-8.
    encoded: usize,
    pub(super) open: heapless::Vec<Open, DEPTH_CAP>,
    pub(super) binds: heapless::Vec<Bind, BINDS_MAX>,
    /// Which declarations of the stream header the element uses, a bit for each.
    pub used: u32,
    /// Whether the element must be written anew.
    pub rewrite: bool,
    /// The name of the top-level element, once its tag is read.
    pub name: Name,
}

type Fail = (usize, Fault);

impl Scan {
    /// At the `<` of a top-level element.
    #[inline]
    pub const fn new() -> Scan {
        Scan {
            mode: Mode::Content,
            at: 0,
            encoded: 0,
            open: heapless::Vec::new(),
            binds: heapless::Vec::new(),
            used: 0,
            rewrite: false,
            name: Name { start: 0, local: 0, end: 0 },
        }
    }

    /// Goes on in `bytes`, which begin with the element's first byte and hold at least what the last call saw.
    /// `None`: all was looked at and the element is not complete.
    ///
    /// # Errors
    /// The violation whose last byte stands first.
    pub fn advance(
        &mut self,
        bytes: &[u8],
        rules: &Rules<'_>,
        attrs: &mut Attrs,
        outline: &mut Outline,
    ) -> Result<Option<Found>, Fault> {
        match self.walk(bytes, rules, attrs, outline) {
            Ok(found) => {
                let end = match found {
                    Some(Found::Header(end) | Found::Element(end) | Found::End(end)) => end,
                    None => bytes.len(),
                };
                self.encoded += chars::check_encoding(&bytes[self.encoded..end])?;
                Ok(found)
            }
            Err((at, fault)) => {
                // Broken encoding up to the byte that proved the fault would have been seen first, had the bytes
                // come one by one.
                chars::check_encoding(bytes.get(self.encoded..=at).unwrap_or_default())?;
                Err(fault)
            }
        }
    }

    fn walk(
        &mut self,
        bytes: &[u8],
        rules: &Rules<'_>,
        attrs: &mut Attrs,
        outline: &mut Outline,
    ) -> Result<Option<Found>, Fail> {
        loop {
            let found = match self.mode {
                Mode::Content => {
                    self.at = chars::text_end(bytes, self.at);
                    match bytes.get(self.at) {
                        None => return Ok(None),
                        Some(b'<') => self.markup(bytes, rules, attrs, outline)?,
                        Some(_) => self.text(bytes)?,
                    }
                }
                Mode::Tag { start, quote } => self.rest_of_tag(bytes, start, quote, rules, attrs, outline)?,
                Mode::Cdata => self.cdata(bytes)?,
            };
            match found {
                Step::On => {}
                Step::More => return Ok(None),
                Step::Found(found) => return Ok(Some(found)),
            }
        }
    }

    /// At a byte that may not stand freely in text.
    fn text(&mut self, bytes: &[u8]) -> Result<Step, Fail> {
        let at = self.at;
        match bytes[at] {
            b'&' => match chars::reference(&bytes[at..]) {
                Reference::Char(_, len) => self.at += len,
                Reference::More => return Ok(Step::More),
                Reference::Bad(offset, fault) => return Err((at + offset, fault)),
            },
            // Text begins behind a '>', so the two bytes before are of the same text if they are brackets.
            b'>' if bytes[..at].ends_with(b"]]") => return Err((at, Fault::Malformed("']]>' in text"))),
            b'>' => self.at += 1,
            _ => return Err((at, Fault::Malformed("control character"))),
        }
        Ok(Step::On)
    }

    /// At a `<`.
    #[inline(always)]
    fn markup(
        &mut self,
        bytes: &[u8],
        rules: &Rules<'_>,
        attrs: &mut Attrs,
        outline: &mut Outline,
    ) -> Result<Step, Fail> {
        let start = self.at;
        let Some(&second) = bytes.get(start + 1) else { return Ok(Step::More) };
        match second {
            b'/' if rules.header => return Err((start + 1, Fault::Malformed("an end tag before the stream header"))),
            b'/' => {
                if let Ok(end) = tag::close(bytes, start, self.innermost(bytes, rules))
                    && end - start <= TAG_BYTES_MAX
                {
                    return Ok(self.close(start, end, outline));
                }
            }
            b'!' => return self.declaration(bytes),
            b'?' => return Err((start + 1, Fault::Restricted("processing instructions are not allowed"))),
            first if tag::begins(first) => {
                if let Ok(tag) = tag::open(bytes, start, attrs)
                    && tag.end - start <= TAG_BYTES_MAX
                {
                    return self.enter(bytes, start, &tag, rules, attrs, outline);
                }
            }
            _ => return Err((start + 1, Fault::Malformed("'<' begins no tag"))),
        }
        // Not complete, or not legal: find its end and judge it there, wherever the input was cut.
        self.mode = Mode::Tag { start, quote: 0 };
        self.at = start + 1;
        Ok(Step::On)
    }

    /// At `<!`: CDATA inside an element, anything else is forbidden (RFC 6120 §11.1).
    fn declaration(&mut self, bytes: &[u8]) -> Result<Step, Fail> {
        let rest = &bytes[self.at..];
        let same = rest.iter().zip(CDATA).take_while(|(a, b)| a == b).count();
        if same == 2 && rest.len() > 2 {
            return Err((self.at + 2, Fault::Restricted("comments and document types are not allowed")));
        }
        if same < CDATA.len() {
            if same == rest.len() {
                return Ok(Step::More);
            }
            return Err((self.at + same, Fault::Malformed("'<![' begins no CDATA section")));
        }
        if self.open.is_empty() {
            return Err((self.at + same - 1, Fault::Malformed("CDATA outside of an element")));
        }
        self.at += CDATA.len();
        self.mode = Mode::Cdata;
        Ok(Step::On)
    }

    fn cdata(&mut self, bytes: &[u8]) -> Result<Step, Fail> {
        loop {
            self.at = chars::cdata_end(bytes, self.at);
            match bytes[self.at..] {
                [] | [b']'] | [b']', b']'] => return Ok(Step::More),
                [b']', b']', b'>', ..] => {
                    self.at += 3;
                    self.mode = Mode::Content;
                    return Ok(Step::On);
                }
                [b']', ..] => self.at += 1,
                [_, ..] => return Err((self.at, Fault::Malformed("control character"))),
            }
        }
    }

    /// Looks for the end of a tag that could not be read at once, and reads it there.
    #[cold]
    fn rest_of_tag(
        &mut self,
        bytes: &[u8],
        start: usize,
        mut quote: u8,
        rules: &Rules<'_>,
        attrs: &mut Attrs,
        outline: &mut Outline,
    ) -> Result<Step, Fail> {
        let limit = start + TAG_BYTES_MAX;
        let view = &bytes[..bytes.len().min(limit)];
        let Some(last) = tag::skim(view, self.at, &mut quote)? else {
            if view.len() == limit {
                return Err((limit - 1, Fault::Policy("tag too long")));
            }
            self.at = view.len();
            self.mode = Mode::Tag { start, quote };
            return Ok(Step::More);
        };
        let view = &bytes[..=last];
        let fault = |stop| match stop {
            Stop::Bad(fault) => (last, fault),
            Stop::More => (last, Fault::Malformed("malformed tag")),
        };
        self.mode = Mode::Content;
        if bytes[start + 1] == b'/' {
            let end = tag::close(view, start, self.innermost(bytes, rules)).map_err(fault)?;
            return Ok(self.close(start, end, outline));
        }
        let tag = tag::open(view, start, attrs).map_err(fault)?;
        self.enter(bytes, start, &tag, rules, attrs, outline)
    }

    /// The name that the next end tag must have.
    #[inline(always)]
    fn innermost<'b>(&self, bytes: &'b [u8], rules: &Rules<'b>) -> &'b [u8] {
        match self.open.last() {
            Some(open) => &bytes[open.name as usize..open.name as usize + open.name_len as usize],
            None => rules.scope.root(),
        }
    }

    /// Behind an end tag.
    #[inline(always)]
    fn close(&mut self, start: usize, end: usize, outline: &mut Outline) -> Step {
        self.at = end;
        let Some(open) = self.open.pop() else { return Step::Found(Found::End(end)) };
        self.leave(open.binds, start, end, outline)
    }

    /// An element ended at `end`; its content ended at `content_end`.
    #[inline(always)]
    fn leave(&mut self, binds: u8, content_end: usize, end: usize, outline: &mut Outline) -> Step {
        self.binds.truncate(binds as usize);
        match self.open.len() {
            0 => {
                outline.content.end = content_end as u32;
                Step::Found(Found::Element(end))
            }
            1 => {
                if let Some(child) = outline.children.last_mut() {
                    child.whole.end = end as u32;
                }
                Step::On
            }
            _ => Step::On,
        }
    }

    /// Behind an opening tag: what it declares, what its names mean, where it stands.
    #[inline(always)]
    fn enter(
        &mut self,
        bytes: &[u8],
        start: usize,
        tag: &Tag,
        rules: &Rules<'_>,
        attrs: &Attrs,
        outline: &mut Outline,
    ) -> Result<Step, Fail> {
        let fail = |fault| (tag.end - 1, fault);
        if self.open.len() >= rules.depth_max.min(DEPTH_CAP) {
            return Err(fail(Fault::Policy("elements are nested too deeply")));
        }
        let meaning = self.resolve(bytes, tag, rules, attrs).map_err(fail)?;
        let Meaning { ns, content, binds, default } = meaning;
        self.at = tag.end;
        match self.open.len() {
            0 => {
                self.name = tag.name;
                root(bytes, tag, attrs, ns, outline);
                if rules.header {
                    return Ok(Step::Found(Found::Header(tag.end)));
                }
            }
            1 => {
                if outline.children.len() == CHILDREN_MAX {
                    return Err(fail(Fault::Policy("too many children of one element")));
                }
                let whole = start as u32..tag.end as u32;
                outline.children.push(Child { whole, name: tag.name.local..tag.name.end, ns });
            }
            _ => {}
        }
        if tag.empty {
            return Ok(self.leave(binds, tag.end, tag.end, outline));
        }
        let name_len = (tag.name.end - tag.name.start) as u16;
        let open = Open { name: tag.name.start, name_len, binds, default, content };
        self.open.push(open).map_err(|_| fail(Fault::Policy("elements are nested too deeply")))?;
        Ok(Step::On)
    }
}

/// Notes the opening tag of a top-level element.
fn root(bytes: &[u8], tag: &Tag, attrs: &Attrs, ns: NsRef, outline: &mut Outline) {
    outline.name = tag.name.local..tag.name.end;
    outline.ns = ns;
    outline.content = tag.end as u32..tag.end as u32;
    outline.attrs.extend(attrs.iter().map(|attr| Attr {
        name: match attr.name.whole(bytes) {
            b"to" => AttrName::To,
            b"from" => AttrName::From,
            b"id" => AttrName::Id,
            b"type" => AttrName::Type,
            b"xml:lang" => AttrName::Lang,
            b"xmlns" => AttrName::Xmlns,
            _ => AttrName::Other,
        },
        whole: attr.start..attr.value_end + 1,
        value: attr.value..attr.value_end,
    }));
}

/// How the walk goes on.
enum Step {
    On,
    More,
    Found(Found),
}
