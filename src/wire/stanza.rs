//! A stanza: a head that was read, and a body that is only pointed at.
//!
//! Source: RFC 6120 §8. Invariant: the bytes were validated by the framer; what is forwarded is a fresh opening tag
//! followed by a range of the very bytes that came in.

use std::{ops::Range, rc::Rc};

use super::{
    build,
    element::{Element, Node},
    error::StanzaError,
    framer,
    jid::Jid,
    ns,
};

mod chunk;
mod outline;
mod stored;
mod traits;

pub use chunk::Chunk;
pub use outline::{Attr, AttrName, Child, NsRef, Outline, slice};
pub use stored::{Filed, Stored};
pub use traits::Traits;

use outline::{outline_of, range};

/// Which of the three stanzas, RFC 6120 §8.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `<message/>`
    Message,
    /// `<presence/>`
    Presence,
    /// `<iq/>`
    Iq,
}

impl Kind {
    /// The element's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Presence => "presence",
            Kind::Iq => "iq",
        }
    }

    /// The kind that an element's name means.
    pub fn from_name(name: &str) -> Option<Kind> {
        match name {
            "message" => Some(Kind::Message),
            "presence" => Some(Kind::Presence),
            "iq" => Some(Kind::Iq),
            _ => None,
        }
    }
}

/// The `type` attribute of any stanza, RFC 6121 §4.7.1 and §5.2.2, RFC 6120 §8.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// Message: `normal`, absent or unknown (RFC 6121 §5.2.2).
    Normal,
    /// Message.
    Chat,
    /// Message.
    Groupchat,
    /// Message.
    Headline,
    /// Any stanza.
    Error,
    /// Presence without a type.
    Available,
    /// Presence.
    Unavailable,
    /// Presence.
    Subscribe,
    /// Presence.
    Subscribed,
    /// Presence.
    Unsubscribe,
    /// Presence.
    Unsubscribed,
    /// Presence.
    Probe,
    /// IQ.
    Get,
    /// IQ.
    Set,
    /// IQ.
    Result,
    /// A presence or IQ type that no document defines.
    Invalid,
}

impl Type {
    /// Reads the attribute of a stanza of this kind.
    pub fn parse(kind: Kind, value: Option<&str>) -> Type {
        match (kind, value) {
            (_, Some("error")) => Type::Error,
            (Kind::Message, Some("chat")) => Type::Chat,
            (Kind::Message, Some("groupchat")) => Type::Groupchat,
            (Kind::Message, Some("headline")) => Type::Headline,
            (Kind::Message, _) => Type::Normal,
            (Kind::Presence, None) => Type::Available,
            (Kind::Presence, Some("unavailable")) => Type::Unavailable,
            (Kind::Presence, Some("subscribe")) => Type::Subscribe,
            (Kind::Presence, Some("subscribed")) => Type::Subscribed,
            (Kind::Presence, Some("unsubscribe")) => Type::Unsubscribe,
            (Kind::Presence, Some("unsubscribed")) => Type::Unsubscribed,
            (Kind::Presence, Some("probe")) => Type::Probe,
            (Kind::Iq, Some("get")) => Type::Get,
            (Kind::Iq, Some("set")) => Type::Set,
            (Kind::Iq, Some("result")) => Type::Result,
            _ => Type::Invalid,
        }
    }

    /// The attribute's value; `None` where the attribute is left out.
    pub const fn as_str(self) -> Option<&'static str> {
        Some(match self {
            Type::Normal | Type::Available | Type::Invalid => return None,
            Type::Chat => "chat",
            Type::Groupchat => "groupchat",
            Type::Headline => "headline",
            Type::Error => "error",
            Type::Unavailable => "unavailable",
            Type::Subscribe => "subscribe",
            Type::Subscribed => "subscribed",
            Type::Unsubscribe => "unsubscribe",
            Type::Unsubscribed => "unsubscribed",
            Type::Probe => "probe",
            Type::Get => "get",
            Type::Set => "set",
            Type::Result => "result",
        })
    }
}

/// One stanza on its way through the router.
#[derive(Clone, Debug)]
pub struct Stanza {
    /// Which element.
    pub kind: Kind,
    /// Its `type`.
    pub ty: Type,
    /// Who sent it: stamped from the session, never believed.
    pub from: Jid,
    /// Whom it is for; absent until routing, see RFC 6120 §10.3.
    pub to: Option<Jid>,
    /// The element as it came in, or as the server built it.
    bytes: Rc<[u8]>,
    outline: Rc<Outline>,
    /// The stream's `xml:lang` if the stanza has none of its own (RFC 6120 §8.1.5).
    pub lang: Option<Rc<str>>,
    /// Where an archive has it already.
    pub filed: Option<Filed>,
    /// Children to add behind the opening tag (stanza-id, delay), already serialised.
    adds: Vec<u8>,
}

impl Stanza {
    /// A stanza from validated bytes. `None` if the element is no stanza of the content namespace.
    pub fn read(bytes: &[u8], outline: Outline, from: Jid, to: Option<Jid>) -> Option<Stanza> {
        if outline.ns != NsRef::Content {
            return None;
        }
        let kind = Kind::from_name(slice(bytes, &outline.name))?;
        let ty = outline.attrs.iter().find(|attr| attr.name == AttrName::Type);
        // Whoever reads the stanza resolves references, so we must not see another type than they do.
        let ty = ty.map(|attr| framer::unescape(slice(bytes, &attr.value)));
        let ty = Type::parse(kind, ty.as_deref());
        Some(Stanza {
            kind,
            ty,
            from,
            to,
            bytes: bytes.into(),
            outline: Rc::new(outline),
            lang: None,
            filed: None,
            adds: Vec::new(),
        })
    }

    /// A stanza that the server itself makes. The element's `from` and `to` are replaced by the arguments.
    pub fn build(element: &Element, from: Jid, to: Option<Jid>) -> Stanza {
        let kind = Kind::from_name(&element.name).unwrap_or(Kind::Message);
        let ty = Type::parse(kind, element.get("type"));
        let (bytes, outline) = outline_of(element);
        let (bytes, outline) = (bytes.into(), Rc::new(outline));
        Stanza { kind, ty, from, to, bytes, outline, lang: None, filed: None, adds: Vec::new() }
    }

    /// A message of the server's own with one child: `<name xmlns='ns'>inner</name>`. `inner` is content that was
    /// validated or written by us, and that inherits nothing but `ns`; `behind` the same, for what follows the child.
    pub fn message(
        ty: &'static str,
        id: &str,
        from: Jid,
        (name, ns): (&'static str, &'static str),
        inner: &[u8],
        behind: &[u8],
    ) -> Stanza {
        let head = Element::new("message", ns::CLIENT).attr("type", ty).attr("id", id);
        let (mut out, mut outline) = outline_of(&head);
        // Its end tag is written again behind the child.
        out.truncate(outline.content.start as usize);
        let start = out.len() as u32;
        out.push(b'<');
        out.extend_from_slice(name.as_bytes());
        let after_name = out.len() as u32;
        build::attr("xmlns", ns, &mut out);
        let value = after_name + " xmlns='".len() as u32;
        let ns = NsRef::Local(value..out.len() as u32 - 1);
        out.push(b'>');
        out.extend_from_slice(inner);
        out.extend_from_slice(b"</");
        out.extend_from_slice(name.as_bytes());
        out.push(b'>');
        outline.children.push(Child { whole: start..out.len() as u32, name: start + 1..after_name, ns });
        out.extend_from_slice(behind);
        outline.content.end = out.len() as u32;
        out.extend_from_slice(b"</message>");
        let ty = Type::parse(Kind::Message, Some(ty));
        let (bytes, outline) = (out.into(), Rc::new(outline));
        Stanza { kind: Kind::Message, ty, from, to: None, bytes, outline, lang: None, filed: None, adds: Vec::new() }
    }

    /// The stanza's `id` as it stands between the quotes (escaped).
    pub fn id_raw(&self) -> Option<&str> {
        self.attr_raw(AttrName::Id)
    }

    /// An attribute as it stands between the quotes (escaped).
    pub fn attr_raw(&self, name: AttrName) -> Option<&str> {
        let attr = self.outline.attrs.iter().find(|attr| attr.name == name)?;
        Some(slice(&self.bytes, &attr.value))
    }

    /// Name and namespace of each child, in document order, with its index.
    pub fn children(&self) -> impl Iterator<Item = (usize, &str, &str)> {
        self.outline
            .children
            .iter()
            .enumerate()
            .map(|(at, child)| (at, slice(&self.bytes, &child.name), self.namespace(&child.ns)))
    }

    /// Whether there is a child `<name xmlns='ns'>`.
    pub fn has(&self, name: &str, ns: &str) -> bool {
        self.child_names().any(|(n, s)| n == name.as_bytes() && s == ns.as_bytes())
    }

    /// Name and namespace of each child as bytes, which is enough to compare them.
    fn child_names(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let part = |at: &Range<u32>| self.bytes.get(range(at)).unwrap_or_default();
        self.outline.children.iter().map(move |child| {
            let namespace = match &child.ns {
                NsRef::Content => ns::CLIENT.as_bytes(),
                NsRef::Stream => ns::STREAM.as_bytes(),
                NsRef::Local(at) => part(at),
            };
            (part(&child.name), namespace)
        })
    }

    /// The first child `<name xmlns='ns'>` as a tree.
    pub fn find(&self, name: &str, ns: &str) -> Option<Element> {
        let at = self.children().find(|(_, n, s)| *n == name && *s == ns)?.0;
        self.child(at)
    }

    /// The child with this index as a tree.
    pub fn child(&self, at: usize) -> Option<Element> {
        // A prefix may be bound on the stanza's own tag, so the tree is read from the whole.
        let tree = self.element()?;
        tree.children().nth(at).cloned()
    }

    /// The child's own bytes. Fit for storing only if [`Stanza::declares_prefixes`] is false.
    pub fn child_bytes(&self, at: usize) -> Option<&[u8]> {
        let child = self.outline.children.get(at)?;
        self.bytes.get(range(&child.whole))
    }

    /// Whether the opening tag binds prefixes that children may use.
    pub fn declares_prefixes(&self) -> bool {
        self.outline.attrs.iter().any(|attr| {
            attr.name == AttrName::Other && slice(&self.bytes, &attr.whole).trim_start().starts_with("xmlns:")
        })
    }

    /// The whole stanza as a tree, as it came in (before added and with cut children gone).
    pub fn element(&self) -> Option<Element> {
        let mut tree = Element::parse(&self.bytes, ns::CLIENT).ok()?;
        if tree.ns != ns::CLIENT {
            // A peer's stanza that says xmlns='jabber:server' itself.
            let server = tree.ns.clone();
            rescope(&mut tree, &server);
        }
        Some(tree)
    }

    /// Whether the content holds anything at all.
    pub fn is_empty(&self) -> bool {
        self.outline.content.is_empty()
    }

    /// Bytes of the stanza as it came, before anything was stamped or added.
    pub fn source_len(&self) -> usize {
        self.bytes.len()
    }

    /// Length of the content in bytes.
    pub fn content_len(&self) -> usize {
        self.outline.content.len() + self.adds.len()
    }

    /// Adds a serialised child.
    pub fn add(&mut self, child: &[u8]) {
        self.adds.extend_from_slice(child);
    }

    /// Takes back all that was added: the stanza is again what its sender wrote.
    #[must_use]
    pub fn without_additions(&self) -> Stanza {
        Stanza { adds: Vec::new(), ..self.clone() }
    }

    /// Takes out the children for which `cut` says so; copies the body only then.
    pub fn cut(&mut self, cut: impl Fn(&str, &str, &[u8]) -> bool) {
        let gone: Vec<usize> = self
            .outline
            .children
            .iter()
            .enumerate()
            .filter(|(_, child)| {
                let name = slice(&self.bytes, &child.name);
                cut(name, self.namespace(&child.ns), self.bytes.get(range(&child.whole)).unwrap_or_default())
            })
            .map(|(at, _)| at)
            .collect();
        if gone.is_empty() {
            return;
        }
        let mut outline = Outline { children: Vec::new(), ..(*self.outline).clone() };
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut from = 0u32;
        let mut removed = 0u32;
        for (at, child) in self.outline.children.iter().enumerate() {
            if gone.contains(&at) {
                bytes.extend_from_slice(&self.bytes[from as usize..child.whole.start as usize]);
                from = child.whole.end;
                removed += child.whole.end - child.whole.start;
            } else {
                let shift = |r: &Range<u32>| r.start - removed..r.end - removed;
                let ns = match &child.ns {
                    // A declaration on the opening tag stands before every child and does not move.
                    NsRef::Local(r) if r.start >= self.outline.content.start => NsRef::Local(shift(r)),
                    other => other.clone(),
                };
                outline.children.push(Child { whole: shift(&child.whole), name: shift(&child.name), ns });
            }
        }
        bytes.extend_from_slice(&self.bytes[from as usize..]);
        outline.content.end -= removed;
        // What an archive has is no longer this.
        self.filed = None;
        self.bytes = bytes.into();
        self.outline = Rc::new(outline);
    }

    /// What goes onto a stream: a fresh opening tag with `from` and `to`, and the shared content.
    pub fn chunk(&self) -> Chunk {
        self.chunk_to(self.to.as_ref())
    }

    /// The same with another `to` (RFC 6121 §8.5 leaves `to` as it was, presence broadcast sets it).
    pub fn chunk_to(&self, to: Option<&Jid>) -> Chunk {
        let mut head = Vec::with_capacity(96 + self.adds.len());
        self.open(to, &mut head);
        let body = if self.outline.content.is_empty() && self.adds.is_empty() {
            head.extend_from_slice(b"/>");
            0..0
        } else {
            head.push(b'>');
            head.extend_from_slice(&self.adds);
            if self.outline.content.is_empty() {
                head.extend_from_slice(b"</");
                head.extend_from_slice(self.kind.as_str().as_bytes());
                head.push(b'>');
                0..0
            } else {
                // The end tag follows the content and is the last thing in the element.
                self.outline.content.start..self.bytes.len() as u32
            }
        };
        Chunk::sharing(head, &self.bytes, body)
    }

    /// The message as the store keeps it.
    pub fn to_stored(&self) -> Stored {
        let mut rest = Vec::with_capacity(96 + self.content_len());
        let insert_at = self.write_rest(&mut rest);
        let to = self.to.as_ref().map(|to| to.as_str().to_owned()).unwrap_or_default();
        Stored { from: self.from.as_str().to_owned(), to, rest, insert_at }
    }

    /// Appends what [`Stored::rest`] holds of the message; [`Stored::insert_at`].
    pub fn write_rest(&self, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        self.open_rest(out);
        out.push(b'>');
        let insert_at = out.len() - start;
        out.extend_from_slice(&self.adds);
        out.extend_from_slice(self.bytes.get(range(&self.outline.content)).unwrap_or_default());
        out.extend_from_slice(b"</message>");
        insert_at
    }

    /// The stanza that tells its sender of this error, RFC 6120 §8.3.1.
    pub fn returned(&self, error: &StanzaError) -> Stanza {
        let id = self.id_raw().map(|id| framer::unescape(id).into_owned());
        let element = Element::new(self.kind.as_str(), ns::CLIENT).attr("type", "error").attr_if("id", id);
        let from = self.to.clone().unwrap_or_else(|| self.from.bare());
        Stanza::build(&element.child(error.element()), from, Some(self.from.clone()))
    }

    /// The same stanza for somebody else; shares all bytes.
    #[must_use]
    pub fn readdressed(&self, to: Option<Jid>) -> Stanza {
        Stanza { to, ..self.clone() }
    }

    /// The stanza as one run of bytes, as it would be sent.
    pub fn to_vec(&self) -> Vec<u8> {
        let chunk = self.chunk();
        let mut out = Vec::with_capacity(chunk.len());
        chunk.write(&mut out);
        out
    }

    fn open(&self, to: Option<&Jid>, head: &mut Vec<u8>) {
        head.push(b'<');
        head.extend_from_slice(self.kind.as_str().as_bytes());
        if !self.from.is_empty() {
            jid_attr("from", &self.from, head);
        }
        if let Some(to) = to {
            jid_attr("to", to, head);
        }
        self.open_rest(head);
    }

    /// What stands in the opening tag beside the addresses.
    fn open_rest(&self, head: &mut Vec<u8>) {
        for attr in &self.outline.attrs {
            match attr.name {
                AttrName::From | AttrName::To | AttrName::Xmlns => {}
                _ => head.extend_from_slice(&self.bytes[range(&attr.whole)]),
            }
        }
        if let Some(lang) = &self.lang {
            build::attr("xml:lang", lang, head);
        }
    }

    /// Namespace of a child.
    fn namespace(&self, ns: &NsRef) -> &str {
        match ns {
            NsRef::Content => ns::CLIENT,
            NsRef::Stream => ns::STREAM,
            NsRef::Local(r) => slice(&self.bytes, r),
        }
    }
}

/// Moves an element and what inherits its namespace to `jabber:client`, RFC 6120 §4.8.3: elements of other
/// namespaces stay as they are, with all that is in them.
fn rescope(element: &mut Element, from: &str) {
    if element.ns != from {
        return;
    }
    element.ns = ns::CLIENT.into();
    for node in &mut element.nodes {
        if let Node::Element(child) = node {
            rescope(child, from);
        }
    }
}

fn jid_attr(name: &str, jid: &Jid, head: &mut Vec<u8>) {
    build::attr(name, jid.as_str(), head);
}

#[cfg(test)]
mod tests;
