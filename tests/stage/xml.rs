//! What the server says, read by rxml: a second opinion on every byte that leaves the house.

use std::{collections::BTreeMap, fmt};

use rxml::{Event, Parse, Parser, error::EndOrError};

/// An element as a client understands it.
#[derive(Clone, PartialEq, Eq)]
pub struct Tree {
    /// Local name.
    pub name: String,
    /// Namespace name.
    pub ns: String,
    /// Attributes; those of a namespace as `{namespace}name`.
    pub attrs: BTreeMap<String, String>,
    /// Content in document order.
    pub nodes: Vec<Node>,
}

/// Content of an element.
#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    /// A child.
    Tree(Tree),
    /// Character data.
    Text(String),
}

/// One thing that came down a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The stream header, without content.
    Header(Tree),
    /// A child of the stream.
    Element(Tree),
    /// `</stream:stream>`.
    End,
}

impl Tree {
    /// The first child of this name, in whatever namespace.
    pub fn find(&self, name: &str) -> Option<&Tree> {
        self.children().find(|child| child.name == name)
    }

    /// The first child of this name and namespace.
    pub fn find_ns(&self, name: &str, ns: &str) -> Option<&Tree> {
        self.children().find(|child| child.name == name && child.ns == ns)
    }

    /// The child elements.
    pub fn children(&self) -> impl Iterator<Item = &Tree> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Tree(tree) => Some(tree),
            Node::Text(_) => None,
        })
    }

    /// The character data directly inside.
    pub fn text(&self) -> String {
        let texts = self.nodes.iter().filter_map(|node| match node {
            Node::Text(text) => Some(text.as_str()),
            Node::Tree(_) => None,
        });
        texts.collect()
    }

    /// An attribute without namespace.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attrs.get(name).map(String::as_str)
    }

    /// Whether it is a message, presence or IQ.
    pub fn is_stanza(&self) -> bool {
        self.ns == "jabber:client" && matches!(self.name.as_str(), "message" | "presence" | "iq")
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, "jabber:client", f)
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self, "jabber:client", f)
    }
}

fn write(tree: &Tree, outer: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "<{}", tree.name)?;
    if tree.ns != outer {
        write!(f, " xmlns='{}'", tree.ns)?;
    }
    for (name, value) in &tree.attrs {
        write!(f, " {name}='{value}'")?;
    }
    if tree.nodes.is_empty() {
        return f.write_str("/>");
    }
    f.write_str(">")?;
    for node in &tree.nodes {
        match node {
            Node::Tree(child) => write(child, &tree.ns, f)?,
            Node::Text(text) => f.write_str(text)?,
        }
    }
    write!(f, "</{}>", tree.name)
}

/// Reads one stream; after a restart comes a new reader.
pub struct Reader {
    parser: Parser,
    rest: Vec<u8>,
    open: Vec<Tree>,
}

impl Reader {
    /// Waits for a stream header.
    pub fn new() -> Reader {
        let mut parser = Parser::new();
        parser.set_text_buffering(false);
        Reader { parser, rest: Vec::new(), open: Vec::new() }
    }

    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// Bytes that were not read, for the reader of what follows.
    pub fn into_rest(self) -> Vec<u8> {
        self.rest
    }

    /// The next thing that is complete.
    ///
    /// # Panics
    /// If the server said something that is not well-formed.
    pub fn next(&mut self) -> Option<Item> {
        loop {
            let rest = std::mem::take(&mut self.rest);
            let mut left = rest.as_slice();
            let event = self.parser.parse(&mut left, false);
            self.rest = left.to_vec();
            match event {
                Ok(Some(event)) => {
                    if let Some(item) = self.event(event) {
                        return Some(item);
                    }
                }
                Ok(None) | Err(EndOrError::NeedMoreData) => return None,
                Err(EndOrError::Error(error)) => {
                    panic!("the server said what is not XML: {error} in {:?}", String::from_utf8_lossy(&rest))
                }
            }
        }
    }

    fn event(&mut self, event: Event) -> Option<Item> {
        match event {
            Event::XmlDeclaration(..) => None,
            Event::StartElement(_, (ns, name), attrs) => {
                let attrs = attrs.into_iter().map(|((ns, name), value)| match ns.as_str() {
                    "" => (name.to_string(), value),
                    "http://www.w3.org/XML/1998/namespace" => (format!("xml:{name}"), value),
                    ns => (format!("{{{ns}}}{name}"), value),
                });
                let tree = Tree { name: name.to_string(), ns: ns.to_string(), attrs: attrs.collect(), nodes: vec![] };
                self.open.push(tree.clone());
                (self.open.len() == 1).then_some(Item::Header(tree))
            }
            Event::Text(_, text) => {
                let depth = self.open.len();
                if let Some(parent) = self.open.last_mut().filter(|_| depth > 1) {
                    match parent.nodes.last_mut() {
                        Some(Node::Text(before)) => before.push_str(&text),
                        _ => parent.nodes.push(Node::Text(text)),
                    }
                }
                None
            }
            Event::EndElement(_) => {
                let done = self.open.pop()?;
                let depth = self.open.len();
                match self.open.last_mut() {
                    None => Some(Item::End),
                    Some(_) if depth == 1 => Some(Item::Element(done)),
                    Some(parent) => {
                        parent.nodes.push(Node::Tree(done));
                        None
                    }
                }
            }
        }
    }
}

/// Reads elements written in a test; `jabber:client` and the prefix `stream` are bound around them.
///
/// # Panics
/// If the text is not well-formed.
pub fn read(text: &str) -> Vec<Tree> {
    let mut reader = Reader::new();
    reader.push(b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
    reader.push(text.as_bytes());
    reader.push(b"</stream:stream>");
    let items = std::iter::from_fn(|| reader.next());
    let trees: Vec<_> = items
        .filter_map(|item| match item {
            Item::Element(tree) => Some(tree),
            _ => None,
        })
        .collect();
    assert!(!trees.is_empty() || text.trim().is_empty(), "no complete element: {text}");
    trees
}
