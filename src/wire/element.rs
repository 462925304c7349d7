//! A small tree for payloads that the server itself reads or writes; stanzas that pass through never become one.
//!
//! Invariant: parsing takes only bytes that the framer has validated, and serialising declares each namespace where
//! it changes, so that the result means the same inside any stream.

use std::borrow::Cow;

use quick_xml::{
    XmlVersion,
    events::{BytesStart, Event},
    name::{Namespace, PrefixDeclaration, ResolveResult},
    reader::NsReader,
};

use super::{build, framer, ns};

/// One element with its attributes and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Local name, without prefix.
    pub name: Cow<'static, str>,
    /// Namespace name.
    pub ns: Cow<'static, str>,
    /// Attributes in document order. One with a prefix is named `{namespace}local`, whatever its prefix was, but for
    /// `xml:lang` and the like, which keep theirs.
    pub attrs: Vec<(Cow<'static, str>, String)>,
    /// Content in document order.
    pub nodes: Vec<Node>,
}

/// Content of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A child element.
    Element(Element),
    /// Character data, not escaped.
    Text(String),
}

/// Why validated bytes did not become a tree; an internal disagreement, never a user's mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError;

impl Element {
    /// An empty element.
    pub fn new(name: impl Into<Cow<'static, str>>, ns: impl Into<Cow<'static, str>>) -> Self {
        Element { name: name.into(), ns: ns.into(), attrs: Vec::new(), nodes: Vec::new() }
    }

    /// With one more attribute.
    #[must_use]
    pub fn attr(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.attrs.push((name.into(), value.into()));
        self
    }

    /// With one more attribute if there is a value.
    #[must_use]
    pub fn attr_if(self, name: impl Into<Cow<'static, str>>, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.attr(name, value),
            None => self,
        }
    }

    /// With one more child.
    #[must_use]
    pub fn child(mut self, child: Element) -> Self {
        self.nodes.push(Node::Element(child));
        self
    }

    /// With more children.
    #[must_use]
    pub fn with(mut self, children: impl IntoIterator<Item = Element>) -> Self {
        self.nodes.extend(children.into_iter().map(Node::Element));
        self
    }

    /// With more character data.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.nodes.push(Node::Text(text.into()));
        self
    }

    /// A child `<name>text</name>` in the namespace of this element.
    #[must_use]
    pub fn leaf(self, name: &'static str, text: impl Into<String>) -> Self {
        let child = Element::new(name, self.ns.clone()).text(text);
        self.child(child)
    }

    /// Whether this is `<name xmlns='ns'>`.
    pub fn is(&self, name: &str, ns: &str) -> bool {
        self.name == name && self.ns == ns
    }

    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The child elements.
    pub fn children(&self) -> impl Iterator<Item = &Element> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first child `<name xmlns='ns'>`.
    pub fn find(&self, name: &str, ns: &str) -> Option<&Element> {
        self.children().find(|child| child.is(name, ns))
    }

    /// The character data directly inside, joined.
    pub fn content(&self) -> String {
        let mut out = String::new();
        for node in &self.nodes {
            if let Node::Text(text) = node {
                out.push_str(text);
            }
        }
        out
    }

    /// The character data of the first child `name` in this element's namespace.
    pub fn leaf_text(&self, name: &str) -> Option<String> {
        self.find(name, &self.ns).map(Element::content)
    }

    /// Parses one complete element. `default_ns` is the namespace in force around it.
    ///
    /// # Errors
    /// [`ParseError`] if the bytes are not one well-formed element, which the framer excludes.
    pub fn parse(bytes: &[u8], default_ns: &str) -> Result<Element, ParseError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ParseError)?;
        let mut reader = NsReader::from_str(text);
        // Bound rather than assumed, so that xmlns='' inside means no namespace and not this one.
        let outer = reader.resolver_mut().add(PrefixDeclaration::Default, Namespace(default_ns));
        outer.map_err(|_| ParseError)?;
        let mut open: Vec<Element> = Vec::new();
        loop {
            match reader.read_event().map_err(|_| ParseError)? {
                Event::Start(tag) => open.push(start(&reader, &tag)?),
                Event::Empty(tag) => {
                    let element = start(&reader, &tag)?;
                    if let Some(done) = close(&mut open, element) {
                        return Ok(done);
                    }
                }
                Event::End(_) => {
                    let element = open.pop().ok_or(ParseError)?;
                    if let Some(done) = close(&mut open, element) {
                        return Ok(done);
                    }
                }
                Event::Text(text) => push_text(&mut open, &text.xml10_content()),
                Event::CData(text) => push_text(&mut open, &text.xml10_content()),
                Event::GeneralRef(name) => {
                    if let Some(c) = name.resolve_char_ref().map_err(|_| ParseError)? {
                        push_text(&mut open, c.encode_utf8(&mut [0; 4]));
                    } else {
                        let name = name.xml10_content();
                        push_text(&mut open, quick_xml::escape::resolve_predefined_entity(&name).ok_or(ParseError)?);
                    }
                }
                _ => return Err(ParseError),
            }
        }
    }

    /// Serialises into `out`; `outer_ns` is the default namespace at that place, declared again only if it differs.
    pub fn write(&self, outer_ns: &str, out: &mut Vec<u8>) {
        out.push(b'<');
        out.extend_from_slice(self.name.as_bytes());
        if self.ns != outer_ns {
            build::attr("xmlns", &self.ns, out);
        }
        self.write_attrs(out);
        if self.nodes.is_empty() {
            out.extend_from_slice(b"/>");
            return;
        }
        out.push(b'>');
        for node in &self.nodes {
            match node {
                Node::Element(element) => element.write(&self.ns, out),
                Node::Text(text) => build::escape(text, out),
            }
        }
        out.extend_from_slice(b"</");
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'>');
    }

    /// Each namespace of an attribute is declared on the element itself, under a prefix that counts the attributes: so
    /// the element can be moved anywhere.
    fn write_attrs(&self, out: &mut Vec<u8>) {
        for (at, (name, value)) in self.attrs.iter().enumerate() {
            let Some((namespace, local)) = expanded(name) else {
                build::attr(name, value, out);
                continue;
            };
            let of_same = |(name, _): &(Cow<'_, str>, String)| expanded(name).is_some_and(|(ns, _)| ns == namespace);
            let first = self.attrs.iter().position(of_same).unwrap_or(at);
            if first == at {
                build::attr(&format!("xmlns:ns{at}"), namespace, out);
            }
            build::attr(&format!("ns{first}:{local}"), value, out);
        }
    }

    /// Serialised as it stands inside a client stanza.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write(ns::CLIENT, &mut out);
        out
    }
}

fn start(reader: &NsReader<&[u8]>, tag: &BytesStart<'_>) -> Result<Element, ParseError> {
    let (resolved, local) = reader.resolver().resolve_element(tag.name());
    let mut element = Element::new(local.as_ref().to_owned(), namespace_of(resolved)?);
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|_| ParseError)?;
        let key = attribute.key.as_ref();
        if key == "xmlns" || key.starts_with("xmlns:") {
            continue;
        }
        let name = match key.contains(':') && !key.starts_with("xml:") {
            true => {
                let (resolved, local) = reader.resolver().resolve_attribute(attribute.key);
                format!("{{{}}}{}", namespace_of(resolved)?, local.as_ref())
            }
            false => key.to_owned(),
        };
        let value = attribute.normalized_value(XmlVersion::Explicit1_0).map_err(|_| ParseError)?.into_owned();
        element.attrs.push((name.into(), value));
    }
    Ok(element)
}

fn namespace_of(resolved: ResolveResult<'_>) -> Result<String, ParseError> {
    Ok(match resolved {
        // quick-xml gives the value as it was sent.
        ResolveResult::Bound(namespace) => framer::unescape(namespace.as_ref()).into_owned(),
        ResolveResult::Unbound => String::new(),
        // Bound by every stream header.
        ResolveResult::Unknown(prefix) if AsRef::<str>::as_ref(&prefix) == "stream" => ns::STREAM.to_owned(),
        ResolveResult::Unknown(_) => return Err(ParseError),
    })
}

/// Namespace and local part of an attribute that is in a namespace, Namespaces in XML 1.0 §5.2 and §6.2.
fn expanded(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix('{')?.rsplit_once('}')
}

fn close(open: &mut [Element], element: Element) -> Option<Element> {
    match open.last_mut() {
        Some(parent) => {
            parent.nodes.push(Node::Element(element));
            None
        }
        None => Some(element),
    }
}

fn push_text(open: &mut [Element], text: &str) {
    let Some(parent) = open.last_mut() else { return };
    match parent.nodes.last_mut() {
        Some(Node::Text(before)) => before.push_str(text),
        _ => parent.nodes.push(Node::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_survives_writing_and_reading() {
        let tree = Element::new("iq", ns::CLIENT).attr("type", "get").attr("id", "a'b\"<&>\n").child(
            Element::new("query", ns::ROSTER)
                .child(Element::new("item", ns::ROSTER).attr("name", "ü").text("1 < 2 & 3")),
        );
        let bytes = tree.to_vec();
        assert_eq!(Element::parse(&bytes, ns::CLIENT).unwrap(), tree, "{}", String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn attributes_keep_their_namespaces() {
        let bytes = b"<a xmlns:x='urn:x' xmlns:odd='u}&amp;' x:href='1' href='2' xml:lang='de' odd:y='3' x:z='4'>\
                      <x:b xmlns:x='urn:other' x:href='5'/></a>";
        let tree = Element::parse(bytes, ns::CLIENT).unwrap();
        let written = tree.to_vec();
        let text = String::from_utf8_lossy(&written);
        let again = Element::parse(&written, ns::CLIENT).unwrap();
        assert_eq!(again, tree, "{text}");
        for (name, value) in
            [("{urn:x}href", "1"), ("href", "2"), ("xml:lang", "de"), ("{u}&}y", "3"), ("{urn:x}z", "4")]
        {
            assert_eq!(again.get(name), Some(value), "{name} in {text}");
        }
        assert_eq!(again.find("b", "urn:other").unwrap().get("{urn:other}href"), Some("5"), "{text}");
        // What moves to another place takes its declarations along.
        let inner = again.children().next().unwrap().to_vec();
        assert_eq!(Element::parse(&inner, ns::CLIENT).unwrap(), *tree.children().next().unwrap());
    }

    #[test]
    fn prefixes_cdata_and_references_are_resolved() {
        let bytes = b"<a xmlns:p='urn:p'><p:b x='&#65;&amp;'>x<![CDATA[<y>]]>&lt;&#x42;</p:b></a>";
        let tree = Element::parse(bytes, ns::CLIENT).unwrap();
        let b = tree.find("b", "urn:p").unwrap();
        assert_eq!(b.get("x"), Some("A&"));
        assert_eq!(b.content(), "x<y><B");
    }
}
