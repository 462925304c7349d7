//! Where the parts of a top-level element stand in its bytes.
//!
//! Invariant: every range was noted by the framer, or while the bytes were written here.

use std::ops::Range;

use crate::wire::{
    build,
    element::{Element, Node},
    ns,
};

/// Where the parts of one top-level element stand in its bytes. Filled by the framer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The element's local name.
    pub name: Range<u32>,
    /// The element's namespace.
    pub ns: NsRef,
    /// Attributes of the opening tag in document order, namespace declarations included.
    pub attrs: Vec<Attr>,
    /// Content: from behind the opening tag's `>` to before the end tag; empty if the element is `<a/>`.
    pub content: Range<u32>,
    /// Child elements in document order.
    pub children: Vec<Child>,
}

/// One attribute of the opening tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Which one.
    pub name: AttrName,
    /// The whole attribute with the white space before it and both quotes.
    pub whole: Range<u32>,
    /// The value between the quotes, as it was sent (escaped).
    pub value: Range<u32>,
}

/// The attributes that the server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttrName {
    /// `to`
    To,
    /// `from`
    From,
    /// `id`
    Id,
    /// `type`
    Type,
    /// `xml:lang`
    Lang,
    /// `xmlns`
    Xmlns,
    /// Any other, `xmlns:p` included.
    Other,
}

/// One child element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// From `<` to behind the end tag.
    pub whole: Range<u32>,
    /// Local name.
    pub name: Range<u32>,
    /// Namespace.
    pub ns: NsRef,
}

/// The namespace of an element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NsRef {
    /// The stream's content namespace, `jabber:client` or `jabber:server`.
    #[default]
    Content,
    /// Declared inside the element; the range of the declaration's value, empty for no namespace. Holds a reference
    /// (`&…;`) only if the namespace name itself holds a character that must be escaped; no name known to the server
    /// does.
    Local(Range<u32>),
    /// The stream namespace (`stream:features`, `stream:error`).
    Stream,
}

pub(super) fn range(r: &Range<u32>) -> Range<usize> {
    r.start as usize..r.end as usize
}

/// The framer has checked that all is UTF-8; a range that is not would be our mistake and reads as empty.
pub fn slice<'a>(bytes: &'a [u8], r: &Range<u32>) -> &'a str {
    bytes.get(range(r)).and_then(|part| std::str::from_utf8(part).ok()).unwrap_or_default()
}

/// Serialises a tree and notes its outline on the way.
pub(super) fn outline_of(element: &Element) -> (Vec<u8>, Outline) {
    let mut out = Vec::with_capacity(256);
    let mut outline = Outline::default();
    out.push(b'<');
    let at = out.len() as u32;
    out.extend_from_slice(element.name.as_bytes());
    outline.name = at..out.len() as u32;
    for (name, value) in &element.attrs {
        let which = match name.as_ref() {
            "to" | "from" => continue,
            // In a namespace: RFC 6120 §8.1 knows none on a stanza.
            foreign if foreign.starts_with('{') => continue,
            "id" => AttrName::Id,
            "type" => AttrName::Type,
            "xml:lang" => AttrName::Lang,
            _ => AttrName::Other,
        };
        let start = out.len() as u32;
        build::attr(name, value, &mut out);
        let end = out.len() as u32;
        outline.attrs.push(Attr { name: which, whole: start..end, value: start + name.len() as u32 + 3..end - 1 });
    }
    out.push(b'>');
    outline.content.start = out.len() as u32;
    for node in &element.nodes {
        match node {
            Node::Text(text) => build::escape(text, &mut out),
            Node::Element(child) => {
                let start = out.len() as u32;
                child.write(ns::CLIENT, &mut out);
                let name = start + 1..start + 1 + child.name.len() as u32;
                let ns = if child.ns == ns::CLIENT {
                    NsRef::Content
                } else {
                    // `write` puts the declaration first, <name xmlns='…', and its value holds no quote.
                    let value = name.end + 8;
                    let rest = out.get(value as usize..).unwrap_or_default();
                    let len = memchr::memchr(b'\'', rest).unwrap_or_default();
                    NsRef::Local(value..value + len as u32)
                };
                outline.children.push(Child { whole: start..out.len() as u32, name, ns });
            }
        }
    }
    outline.content.end = out.len() as u32;
    out.extend_from_slice(b"</");
    out.extend_from_slice(element.name.as_bytes());
    out.push(b'>');
    (out, outline)
}
