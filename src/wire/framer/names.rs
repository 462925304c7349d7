//! What names mean: namespace declarations, prefixes, expanded names, and whether an element can be passed on as it
//! stands.
//!
//! Source: Namespaces in XML 1.0 §3–§6; RFC 6120 §4.8. Invariant: every prefix is bound, no two attributes of a tag
//! have one expanded name, and what others will read does not depend on the header of the stream that it came in on.

use super::{
    chars,
    fault::Fault,
    scan::{Rules, Scan},
    scope::{DEFAULT, Default},
    tag::{Attrs, Name, RawAttr, Tag},
};
use crate::wire::{ns, stanza::NsRef};

/// One namespace declaration in force.
#[derive(Clone, Copy, Debug)]
pub struct Bind {
    /// The prefix, an empty range for the default namespace.
    prefix: (u32, u32),
    /// The value as it was sent.
    value: (u32, u32),
    /// What it comes to.
    uri: Uri,
    /// Whether the value as it was sent differs from the namespace name.
    odd: bool,
}

/// A namespace as far as the framer tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Uri {
    Content,
    Stream,
    Other,
}

/// What an opening tag came to.
#[derive(Debug)]
pub struct Meaning {
    /// The element's namespace; exact for a top-level element and its children.
    pub ns: NsRef,
    /// Whether it and all around it are in the content namespace.
    pub content: bool,
    /// Number of declarations in force outside the element.
    pub binds: u8,
    /// The declaration of the default namespace, counted from 1; 0 is the stream header's.
    pub default: u8,
}

const UNBOUND: Fault = Fault::Malformed("a prefix that is not bound");
const RESERVED: Fault = Fault::Malformed("the prefixes xml and xmlns and their namespaces cannot be bound anew");
const TWICE: Fault = Fault::Malformed("an attribute stands twice on one tag");

impl Scan {
    /// Reads the declarations of a tag and resolves its names.
    #[inline(always)]
    pub(super) fn resolve(
        &mut self,
        bytes: &[u8],
        tag: &Tag,
        rules: &Rules<'_>,
        attrs: &Attrs,
    ) -> Result<Meaning, Fault> {
        let binds = self.binds.len() as u8;
        let (mut default, parent_content) = match self.open.last() {
            Some(open) => (open.default, open.content),
            None => (0, true),
        };
        let outer_default = default;
        let mut prefixed = false;
        for (at, attr) in attrs.iter().enumerate() {
            if let Some(prefix) = attr.declares(bytes) {
                self.declare(bytes, prefix, attr, rules)?;
                if prefix.is_empty() {
                    default = self.binds.len() as u8;
                }
            } else {
                prefixed |= attr.name.has_prefix();
            }
            let whole = attr.name.whole(bytes);
            if attrs[..at].iter().any(|before| before.name.whole(bytes) == whole) {
                return Err(TWICE);
            }
        }
        if prefixed {
            self.check_prefixes(bytes, rules, attrs)?;
        }
        let depth = self.open.len();
        let inherits = !tag.name.has_prefix() && default == outer_default && depth > 0;
        if inherits && (parent_content || depth > 1) && (default != 0 || rules.default == Default::Content) {
            // The usual descendant: no prefix, nothing declared.
            return Ok(Meaning { ns: NsRef::Content, content: parent_content, binds, default });
        }
        let ns = if tag.name.has_prefix() || default != 0 {
            self.declared(bytes, tag.name, default, outer_default, parent_content, rules)?
        } else {
            self.inherited(rules)
        };
        let content = parent_content && ns == NsRef::Content;
        Ok(Meaning { ns, content, binds, default })
    }

    /// The namespace of an element that has a prefix or stands below a declaration inside the top-level element.
    fn declared(
        &mut self,
        bytes: &[u8],
        name: Name,
        default: u8,
        outer_default: u8,
        parent_content: bool,
        rules: &Rules<'_>,
    ) -> Result<NsRef, Fault> {
        let depth = self.open.len();
        let bind = if name.has_prefix() {
            match self.lookup(bytes, name.prefix(bytes), rules)? {
                Bound::Here(bind) => bind,
                Bound::Header(uri) => {
                    // The declaration will be put on the top-level element, and the element be read again.
                    let content = uri == rules.content;
                    self.rewrite |= content && parent_content;
                    return Ok(match uri {
                        ns::STREAM => NsRef::Stream,
                        _ if content => NsRef::Content,
                        _ => NsRef::Local(0..0),
                    });
                }
                // Nobody defines elements in the namespace of xml:lang; a range for it would have to be invented.
                Bound::Xml => return Err(Fault::Malformed("an element with the prefix xml")),
            }
        } else {
            self.binds[default as usize - 1]
        };
        if bind.uri == Uri::Content && parent_content {
            // RFC 6120 §4.8.5: no prefixes for the content namespace. And whoever passes the element on to a stream
            // with another content namespace must find no declaration inside that contradicts it (§4.8.3).
            let anew = depth > 0 && default != outer_default;
            self.rewrite |= name.has_prefix() || anew || bind.odd;
        } else if bind.odd && depth < 2 {
            self.rewrite = true;
        }
        Ok(match bind.uri {
            Uri::Content => NsRef::Content,
            Uri::Stream => NsRef::Stream,
            Uri::Other => NsRef::Local(bind.value.0..bind.value.1),
        })
    }

    /// The namespace of an element without prefix that only the stream header's default applies to.
    fn inherited(&mut self, rules: &Rules<'_>) -> NsRef {
        match rules.default {
            Default::Content => NsRef::Content,
            Default::None => NsRef::Local(0..0),
            Default::Foreign => {
                self.used |= 1 << DEFAULT;
                match rules.scope.default_uri() {
                    ns::STREAM => NsRef::Stream,
                    _ => NsRef::Local(0..0),
                }
            }
        }
    }

    /// Takes up one declaration, Namespaces in XML 1.0 §3.
    #[inline(always)]
    fn declare(&mut self, bytes: &[u8], prefix: &[u8], attr: &RawAttr, rules: &Rules<'_>) -> Result<(), Fault> {
        let raw = attr.value(bytes);
        let odd = raw.iter().any(|b| matches!(b, b'&' | b'\t' | b'\n' | b'\r'));
        let uri = if odd { self.odd_uri(prefix, raw, rules)? } else { classify(prefix, raw, rules)? };
        if prefix == b"xml" {
            return Ok(());
        }
        let local = if prefix.is_empty() { (0, 0) } else { (attr.name.local, attr.name.end) };
        let bind = Bind { prefix: local, value: (attr.value, attr.value_end), uri, odd };
        self.binds.push(bind).map_err(|_| Fault::Policy("too many namespace declarations"))
    }

    #[cold]
    fn odd_uri(&self, prefix: &[u8], raw: &[u8], rules: &Rules<'_>) -> Result<Uri, Fault> {
        let raw = std::str::from_utf8(raw).map_err(|_| Fault::Encoding)?;
        classify(prefix, chars::unescape(raw).as_bytes(), rules)
    }

    /// Checks the prefixes of attributes and, if there are two, their expanded names.
    #[cold]
    fn check_prefixes(&mut self, bytes: &[u8], rules: &Rules<'_>, attrs: &Attrs) -> Result<(), Fault> {
        let mut seen: heapless::Vec<(Name, std::borrow::Cow<'_, str>), { super::tag::ATTRS_MAX }> =
            heapless::Vec::new();
        for attr in attrs.iter().filter(|attr| attr.name.has_prefix() && attr.declares(bytes).is_none()) {
            let uri = match self.lookup(bytes, attr.name.prefix(bytes), rules)? {
                Bound::Xml => ns::XML.into(),
                Bound::Header(uri) => uri.into(),
                Bound::Here(bind) => {
                    let raw = &bytes[bind.value.0 as usize..bind.value.1 as usize];
                    chars::unescape(std::str::from_utf8(raw).map_err(|_| Fault::Encoding)?)
                }
            };
            let local = attr.name.local(bytes);
            if seen.iter().any(|(name, before)| name.local(bytes) == local && *before == uri) {
                return Err(TWICE);
            }
            // As long as the attributes themselves.
            let _ = seen.push((attr.name, uri));
        }
        Ok(())
    }

    /// What a prefix is bound to.
    fn lookup<'r>(&mut self, bytes: &[u8], prefix: &[u8], rules: &Rules<'r>) -> Result<Bound<'r>, Fault> {
        if prefix == b"xml" {
            return Ok(Bound::Xml);
        }
        let here =
            self.binds.iter().rev().find(|bind| &bytes[bind.prefix.0 as usize..bind.prefix.1 as usize] == prefix);
        if let Some(bind) = here {
            return Ok(Bound::Here(*bind));
        }
        let (number, uri) = rules.scope.prefix(prefix).ok_or(UNBOUND)?;
        self.used |= 1 << number;
        Ok(Bound::Header(uri))
    }

    /// The declarations of the tag just entered: prefix (empty for the default namespace) and namespace name.
    pub fn declarations(&self, bytes: &[u8]) -> impl Iterator<Item = (String, String)> {
        let part = move |range: (u32, u32)| {
            let raw = bytes.get(range.0 as usize..range.1 as usize).unwrap_or_default();
            chars::unescape(std::str::from_utf8(raw).unwrap_or_default()).into_owned()
        };
        self.binds.iter().map(move |bind| (part(bind.prefix), part(bind.value)))
    }
}

/// What a lookup found.
enum Bound<'r> {
    Xml,
    Here(Bind),
    Header(&'r str),
}

/// What a declared namespace name is; refuses the forbidden ones.
#[inline(always)]
fn classify(prefix: &[u8], uri: &[u8], rules: &Rules<'_>) -> Result<Uri, Fault> {
    if prefix == b"xmlns" || (prefix == b"xml") != (uri == ns::XML.as_bytes()) || uri == ns::XMLNS.as_bytes() {
        return Err(RESERVED);
    }
    if uri == rules.content.as_bytes() {
        Ok(Uri::Content)
    } else if uri == ns::STREAM.as_bytes() {
        Ok(Uri::Stream)
    } else if uri.is_empty() && !prefix.is_empty() {
        // Namespaces in XML 1.0 §6.1: only 1.1 knows undeclaring a prefix.
        Err(Fault::Malformed("a prefix cannot be undeclared"))
    } else {
        Ok(Uri::Other)
    }
}
