//! What the stream header declared, as far as the elements behind it need it.
//!
//! Source: RFC 6120 §4.8. Invariant: the header that nearly everybody sends costs no heap.

use crate::wire::ns;

/// Most prefixes that a stream header may bind, `stream` included.
pub const HEADER_PREFIXES_MAX: usize = 16;

/// The bit of a used-declarations set that stands for the default namespace.
pub const DEFAULT: u8 = 31;

/// The namespaces in force around a top-level element.
#[derive(Debug)]
pub enum Scope {
    /// `<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`
    Client,
    /// The same with `jabber:server`.
    Server,
    /// Any other header.
    Other(Box<Declared>),
}

/// Declarations of an uncommon header.
#[derive(Debug)]
pub struct Declared {
    /// The header's name as it was sent.
    pub root: Box<str>,
    /// The default namespace, empty if none.
    pub default: Box<str>,
    /// Prefixes and what they are bound to.
    pub prefixes: Vec<(Box<str>, Box<str>)>,
}

/// What an element without prefix and without declaration is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    /// The content namespace.
    Content,
    /// No namespace.
    None,
    /// Another namespace, which must be declared anew on elements that leave this stream.
    Foreign,
}

impl Scope {
    /// The scope that these declarations make.
    pub fn new(declared: Declared) -> Scope {
        let usual = &*declared.root == "stream:stream"
            && matches!(&declared.prefixes[..], [(prefix, uri)] if &**prefix == "stream" && &**uri == ns::STREAM);
        match &*declared.default {
            ns::CLIENT if usual => Scope::Client,
            ns::SERVER if usual => Scope::Server,
            _ => Scope::Other(Box::new(declared)),
        }
    }

    /// Nothing declared: what is in force around the header itself, if that is what comes.
    pub fn empty_if(header: bool) -> Option<Scope> {
        let empty = || Declared { root: "".into(), default: "".into(), prefixes: Vec::new() };
        header.then(|| Scope::Other(Box::new(empty())))
    }

    /// The content namespace, RFC 6120 §4.8.2. A header that leaves it to the elements ("prefix-free
    /// canonicalization") gets `jabber:client`, unless it binds a prefix to `jabber:server`.
    pub fn content(&self) -> &str {
        match self {
            Scope::Client => ns::CLIENT,
            Scope::Server => ns::SERVER,
            Scope::Other(declared) if !matches!(&*declared.default, "" | ns::STREAM) => &declared.default,
            Scope::Other(declared) => match declared.prefixes.iter().any(|(_, uri)| &**uri == ns::SERVER) {
                true => ns::SERVER,
                false => ns::CLIENT,
            },
        }
    }

    /// What the default namespace is.
    #[inline]
    pub fn default(&self) -> Default {
        match self {
            Scope::Client | Scope::Server => Default::Content,
            Scope::Other(declared) => match &*declared.default {
                "" => Default::None,
                uri if uri == self.content() => Default::Content,
                _ => Default::Foreign,
            },
        }
    }

    /// The default namespace itself, empty if none.
    pub fn default_uri(&self) -> &str {
        match self {
            Scope::Client => ns::CLIENT,
            Scope::Server => ns::SERVER,
            Scope::Other(declared) => &declared.default,
        }
    }

    /// What the header bound a prefix to, and the number of that declaration.
    pub fn prefix(&self, prefix: &[u8]) -> Option<(u8, &str)> {
        match self {
            Scope::Client | Scope::Server => (prefix == b"stream").then_some((0, ns::STREAM)),
            Scope::Other(declared) => {
                let at = declared.prefixes.iter().position(|(name, _)| name.as_bytes() == prefix)?;
                Some((at as u8, &declared.prefixes[at].1))
            }
        }
    }

    /// The header's name as it was sent; `</…>` must repeat it.
    pub fn root(&self) -> &[u8] {
        match self {
            Scope::Client | Scope::Server => b"stream:stream",
            Scope::Other(declared) => declared.root.as_bytes(),
        }
    }

    /// The declarations whose bits are set in `used`: attribute name and namespace.
    pub fn declarations(&self, used: u32) -> Vec<(String, &str)> {
        let mut out = Vec::new();
        if used & (1 << DEFAULT) != 0 {
            out.push(("xmlns".to_owned(), self.default_uri()));
        }
        match self {
            Scope::Client | Scope::Server if used & 1 != 0 => out.push(("xmlns:stream".to_owned(), ns::STREAM)),
            Scope::Client | Scope::Server => {}
            Scope::Other(declared) => {
                for (at, (prefix, uri)) in declared.prefixes.iter().enumerate() {
                    if used & (1 << at) != 0 {
                        out.push((format!("xmlns:{prefix}"), uri));
                    }
                }
            }
        }
        out
    }
}
