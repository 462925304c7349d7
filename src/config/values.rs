//! Values of settings: from TOML, or from a bare text of the command line, to what `Config` holds.
//!
//! Invariant: a value is taken whole or not at all; of a list, every wrong item is named.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    ops::Range,
    path::PathBuf,
};

use toml::de::DeValue;

use super::{
    Network,
    components::{Access, SECRET_CHARS_MAX, SECRET_CHARS_MIN, delegation, grant},
    keys::Key,
};
use crate::wire::jid::{Jid, ascii_domain, prepare_domain};

/// Characters of a wrong value that an error repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// A value on its way to its key.
pub(super) struct Given<'v> {
    /// The key.
    pub(super) key: &'static Key,
    /// The domain that stands in the key's name, prepared; empty for other keys.
    pub(super) domain: &'v str,
    /// The value.
    pub(super) value: &'v DeValue<'v>,
    /// Where it stands in `source`.
    pub(super) span: Range<usize>,
    /// The text that spans point into.
    pub(super) source: &'v str,
    /// Whether it is a text without quotes from the command line, in which commas part the items of a list.
    pub(super) bare: bool,
}

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Byte in the source.
    pub(super) at: usize,
    /// What stands there, short and on one line.
    pub(super) found: String,
    /// Which rule it breaks; empty where what the key takes says it all.
    pub(super) why: String,
}

/// One item of a list, or a value that is none.
struct Item<'v> {
    kind: Kind<'v>,
    span: Range<usize>,
}

enum Kind<'v> {
    Text(&'v str),
    Number(u64),
    Flag(bool),
    Other,
}

impl<'v> Kind<'v> {
    fn of(value: &'v DeValue<'v>) -> Kind<'v> {
        match value {
            DeValue::String(text) => Kind::Text(text),
            DeValue::Boolean(flag) => Kind::Flag(*flag),
            // Negative numbers and those beyond 64 bits are nothing that a key takes.
            DeValue::Integer(number) => {
                u64::from_str_radix(number.as_str(), number.radix()).map_or(Kind::Other, Kind::Number)
            }
            _ => Kind::Other,
        }
    }
}

/// A piece of source as an error shows it: one line, short.
pub(super) fn shown(source: &str, span: Range<usize>) -> String {
    let text = source.get(span).unwrap_or_default();
    let mut out: String = text.chars().take(SHOWN_CHARS_MAX).collect::<String>();
    if out.len() < text.len() {
        out.push('…');
    }
    let out: String = out.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if out.is_empty() { "nothing".into() } else { out }
}

impl<'v> Given<'v> {
    fn wrong(&self, item: &Item<'_>, why: impl Into<String>) -> Wrong {
        Wrong { at: item.span.start, found: shown(self.source, item.span.clone()), why: why.into() }
    }

    fn single(&self) -> Item<'v> {
        Item { kind: Kind::of(self.value), span: self.span.clone() }
    }

    fn items(&self) -> Vec<Item<'v>> {
        match self.value {
            DeValue::Array(array) => {
                array.iter().map(|item| Item { kind: Kind::of(item.get_ref()), span: item.span() }).collect()
            }
            DeValue::String(text) if self.bare => self.parted(text),
            _ => vec![self.single()],
        }
    }

    /// `a, b` without quotes; nothing at all is the empty list.
    fn parted(&self, text: &'v str) -> Vec<Item<'v>> {
        let mut at = self.span.start;
        let mut items = Vec::new();
        for piece in text.split(',').filter(|_| !text.trim().is_empty()) {
            let trimmed = piece.trim();
            let start = at + piece.len() - piece.trim_start().len();
            items.push(Item { kind: Kind::Text(trimmed), span: start..start + trimmed.len() });
            at += piece.len() + 1;
        }
        items
    }

    /// Reads one value; `read` says which rule a value breaks.
    fn one<T>(&self, read: impl Fn(&Kind<'v>) -> Result<T, String>) -> Result<T, Vec<Wrong>> {
        let item = self.single();
        read(&item.kind).map_err(|why| vec![self.wrong(&item, why)])
    }

    /// Reads a list without repetitions, or its only item.
    fn each<T: PartialEq>(&self, read: impl Fn(&Kind<'v>) -> Result<T, String>) -> Result<Vec<T>, Vec<Wrong>> {
        let (mut out, mut wrong) = (Vec::new(), Vec::new());
        for item in self.items() {
            match read(&item.kind) {
                Ok(value) if out.contains(&value) => wrong.push(self.wrong(&item, "stands there twice")),
                Ok(value) => out.push(value),
                Err(why) => wrong.push(self.wrong(&item, why)),
            }
        }
        if wrong.is_empty() { Ok(out) } else { Err(wrong) }
    }

    /// A path, not empty.
    pub(super) fn path(&self) -> Result<PathBuf, Vec<Wrong>> {
        self.one(|kind| match kind {
            Kind::Text("") => Err("empty".into()),
            Kind::Text("none") => Err("cannot be switched off; a file of that name is \"./none\"".into()),
            Kind::Text(text) if text.contains('\0') => Err("holds a NUL".into()),
            Kind::Text(text) => Ok(PathBuf::from(text)),
            _ => Err(String::new()),
        })
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Vec<Wrong>> {
        self.one(|kind| match kind {
            Kind::Text(text) => {
                choices.iter().find(|(word, _)| word == text).map(|(_, value)| *value).ok_or_else(String::new)
            }
            _ => Err(String::new()),
        })
    }

    /// Yes or no.
    pub(super) fn flag(&self) -> Result<bool, Vec<Wrong>> {
        self.one(|kind| match kind {
            Kind::Flag(flag) => Ok(*flag),
            Kind::Text("true") if self.bare => Ok(true),
            Kind::Text("false") if self.bare => Ok(false),
            _ => Err(String::new()),
        })
    }

    /// A whole number within bounds.
    pub(super) fn count(&self, min: u64, max: u64) -> Result<u64, Vec<Wrong>> {
        self.one(|kind| match kind {
            Kind::Number(number) => within(*number, min, max),
            _ => Err(String::new()),
        })
    }

    /// Bytes, as a number or with `KiB`, `MiB`, `GiB` behind it.
    pub(super) fn bytes(&self, min: u64, max: u64) -> Result<u64, Vec<Wrong>> {
        let units = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
        self.one(|kind| within(measured(kind, &units)?, min, max))
    }

    /// Bytes that are held in memory.
    pub(super) fn size(&self, min: u64, max: u64) -> Result<usize, Vec<Wrong>> {
        let bytes = self.bytes(min, max)?;
        // The largest bound fits into 32 bits, so this never fails.
        usize::try_from(bytes).map_err(|_| vec![self.wrong(&self.single(), "too large")])
    }

    /// Seconds, as a number or with `s`, `m`, `h`, `d` behind it.
    pub(super) fn seconds(&self, max: u64) -> Result<u64, Vec<Wrong>> {
        let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
        self.one(|kind| within(measured(kind, &units)?, 0, max))
    }

    /// A secret. One that will not do is not shown.
    pub(super) fn secret(&self) -> Result<String, Vec<Wrong>> {
        let item = self.single();
        let Kind::Text(text) = item.kind else { return Err(vec![self.wrong(&item, "")]) };
        if text.contains(char::is_control) {
            return Err(vec![self.wrong(&item, "")]);
        }
        let chars = text.chars().count();
        match (SECRET_CHARS_MIN..=SECRET_CHARS_MAX).contains(&chars) {
            true => Ok(text.to_owned()),
            false => Err(vec![Wrong { found: format!("one of {chars}"), ..self.wrong(&item, "") }]),
        }
    }

    /// Namespaces, each with the requests that are allowed.
    pub(super) fn grants(&self) -> Result<Vec<(String, Access)>, Vec<Wrong>> {
        self.each(|kind| match kind {
            Kind::Text(text) => grant(text),
            _ => Err(String::new()),
        })
    }

    /// Namespaces, each with the attributes that a payload must have.
    pub(super) fn delegations(&self) -> Result<Vec<(String, Vec<String>)>, Vec<Wrong>> {
        self.each(|kind| match kind {
            Kind::Text(text) => delegation(text),
            _ => Err(String::new()),
        })
    }

    /// Domains, prepared (RFC 7622 §3.2).
    pub(super) fn domains(&self) -> Result<Vec<String>, Vec<Wrong>> {
        self.each(|kind| match kind {
            Kind::Text(text) => domain(text),
            _ => Err(String::new()),
        })
    }

    /// The first part of a host name, prepared; `none` is none.
    pub(super) fn host(&self) -> Result<Option<String>, Vec<Wrong>> {
        self.one(|kind| match kind {
            Kind::Text("none") => Ok(None),
            Kind::Text(text) if text.contains('.') => Err("more than one part".into()),
            Kind::Text(text) => domain(text).map(Some),
            _ => Err(String::new()),
        })
    }

    /// Bare addresses of accounts, prepared. Whether their domains are served is checked when all is read.
    pub(super) fn accounts(&self) -> Result<Vec<String>, Vec<Wrong>> {
        self.each(|kind| {
            let Kind::Text(text) = kind else { return Err(String::new()) };
            let jid = Jid::parse(text).map_err(|_| "no valid address".to_owned())?;
            if jid.local().is_none() {
                return Err("names no account".into());
            }
            if !jid.is_bare() {
                return Err("names a device; leave out what begins with the slash".into());
            }
            Ok(jid.as_str().to_owned())
        })
    }

    /// URIs, XEP-0157 §3: a scheme, a colon and more, without blanks (RFC 3986 §3).
    pub(super) fn uris(&self) -> Result<Vec<String>, Vec<Wrong>> {
        self.each(|kind| match kind {
            Kind::Text(text) if is_uri(text) => Ok((*text).to_owned()),
            Kind::Text(text) if text.contains('@') && !text.contains(':') => {
                Err("no URI; put mailto: or xmpp: in front".into())
            }
            Kind::Text(_) => Err("no URI".into()),
            _ => Err(String::new()),
        })
    }

    /// Addresses to listen on; `none` is the empty list.
    pub(super) fn addresses(&self) -> Result<Vec<SocketAddr>, Vec<Wrong>> {
        if let Kind::Text("none") = self.single().kind {
            return Ok(Vec::new());
        }
        self.each(|kind| match kind {
            Kind::Number(port) => {
                u16::try_from(*port).map(any_address).map_err(|_| "a port is at most 65535".to_owned())
            }
            Kind::Text(text) => address(text),
            Kind::Flag(_) | Kind::Other => Err(String::new()),
        })
    }

    /// Addresses to ask; `none` is the empty list.
    pub(super) fn resolvers(&self) -> Result<Vec<SocketAddr>, Vec<Wrong>> {
        if let Kind::Text("none") = self.single().kind {
            return Ok(Vec::new());
        }
        self.each(|kind| match kind {
            Kind::Text(text) => match text.parse::<SocketAddr>() {
                Ok(address) if !address.ip().is_unspecified() && address.port() != 0 => Ok(address),
                _ => Err("no address with a port".to_owned()),
            },
            _ => Err(String::new()),
        })
    }

    /// `https://` with a host and perhaps a port, without a path; `none` is nothing.
    pub(super) fn web_url(&self) -> Result<Option<String>, Vec<Wrong>> {
        self.one(|kind| match kind {
            Kind::Text("none") => Ok(None),
            Kind::Text(text) => {
                let authority = text.strip_prefix("https://").ok_or("does not begin with https://")?;
                let authority = location(authority.trim_end_matches('/'))?;
                let (host, port) = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')).unzip();
                let host = ascii_domain(host.unwrap_or(&authority));
                Ok(Some(port.map_or(format!("https://{host}"), |port| format!("https://{host}:{port}"))))
            }
            _ => Err(String::new()),
        })
    }

    /// Addresses and networks.
    pub(super) fn networks(&self) -> Result<Vec<Network>, Vec<Wrong>> {
        self.each(|kind| match kind {
            Kind::Text(text) => Network::parse(text).ok_or_else(|| "no network".to_owned()),
            _ => Err(String::new()),
        })
    }

    /// Host and port to come back to, RFC 6120 §4.9.3.19; `none` is nothing.
    pub(super) fn location(&self) -> Result<Option<String>, Vec<Wrong>> {
        self.one(|kind| match kind {
            Kind::Text("none") => Ok(None),
            Kind::Text(text) => location(text).map(Some),
            _ => Err(String::new()),
        })
    }
}

/// Prepares a domain, or says that it is none.
pub(super) fn domain(text: &str) -> Result<String, String> {
    prepare_domain(text).map(|domain| domain.into_owned()).map_err(|_| "no valid domain".to_owned())
}

fn within(number: u64, min: u64, max: u64) -> Result<u64, String> {
    if number < min {
        Err("too small".into())
    } else if number > max {
        Err("too large".into())
    } else {
        Ok(number)
    }
}

/// A number, or a text of a number and a unit.
fn measured(kind: &Kind<'_>, units: &[(&str, u64)]) -> Result<u64, String> {
    let text = match kind {
        Kind::Number(number) => return Ok(*number),
        Kind::Text(text) => text.trim(),
        Kind::Flag(_) | Kind::Other => return Err(String::new()),
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(String::new());
    }
    let unit = unit.trim_start();
    let factor = match units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return Err("unknown unit".into()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(|| "too large".to_owned())
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !rest.is_empty()
        && !rest.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// `host`, `host:port`, `[IPv6]` or `[IPv6]:port`, the host prepared.
fn location(text: &str) -> Result<String, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.contains(':') && !host.starts_with('[') {
        return Err("an IPv6 address stands in brackets".into());
    }
    let host = domain(host)?;
    match port.map(str::parse::<u16>) {
        None => Ok(host),
        Some(Ok(port)) if port > 0 => Ok(format!("{host}:{port}")),
        Some(_) => Err("a port is a number from 1 to 65535".into()),
    }
}

fn any_address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) {
        return port.parse().map(any_address).map_err(|_| "a port is at most 65535".to_owned());
    }
    text.parse().map_err(|_| match text.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(_) => "the port is missing".to_owned(),
        Err(_) => "no address; names are not looked up".to_owned(),
    })
}
