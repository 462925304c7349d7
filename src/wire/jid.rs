//! Addresses, RFC 7622.
//!
//! Invariant: a [`Jid`] is prepared once, at the edge, and afterwards compared as bytes.

use std::{borrow::Cow, fmt, rc::Rc};

/// An address: `local@domain/resource`, each part at most 1,023 bytes, prepared (RFC 7622 §3).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Jid {
    text: Rc<str>,
    /// Where the domain starts: 0, or one behind the `@`.
    domain: u16,
    /// Where the domain ends: at the `/`, or at the end.
    bare: u16,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JidError {
    /// A part is empty though its separator is there, or the domain is missing.
    Empty,
    /// A part is longer than 1,023 bytes.
    TooLong,
    /// A part holds what its PRECIS profile or IDNA forbids.
    Forbidden,
}

/// Longest part in bytes, RFC 7622 §3.1.
pub const PART_BYTES_MAX: usize = 1023;

impl Jid {
    /// Reads and prepares an address, RFC 7622 §3.2–§3.4.
    ///
    /// # Errors
    /// [`JidError`] says which rule it breaks.
    pub fn parse(text: &str) -> Result<Jid, JidError> {
        // RFC 7622 §3.2: the resource starts at the first slash, the domain behind the first @ before it.
        let (bare, resource) = match text.split_once('/') {
            Some((bare, resource)) => (bare, Some(resource)),
            None => (text, None),
        };
        let (local, domain) = match bare.split_once('@') {
            Some((local, domain)) => (Some(local), domain),
            None => (None, bare),
        };
        Jid::from_parts(local, domain, resource)
    }

    /// Prepares and joins parts.
    ///
    /// # Errors
    /// [`JidError`] says which rule a part breaks.
    pub fn from_parts(local: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Jid, JidError> {
        let mut text = String::with_capacity(64);
        if let Some(local) = local {
            text.push_str(&prepare_local(local)?);
            text.push('@');
        }
        let at = text.len();
        text.push_str(&prepare_domain(domain)?);
        let bare = text.len();
        if let Some(resource) = resource {
            text.push('/');
            text.push_str(&prepare_resource(resource)?);
        }
        Ok(Jid { text: text.into(), domain: at as u16, bare: bare as u16 })
    }

    /// The address that stands for "none": no parts at all, written nowhere.
    pub fn none() -> Jid {
        Jid { text: "".into(), domain: 0, bare: 0 }
    }

    /// Whether this is [`Jid::none`].
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The localpart.
    pub fn local(&self) -> Option<&str> {
        (self.domain > 0).then(|| &self.text[..self.domain as usize - 1])
    }

    /// The domainpart.
    pub fn domain(&self) -> &str {
        &self.text[self.domain as usize..self.bare as usize]
    }

    /// The resourcepart.
    pub fn resource(&self) -> Option<&str> {
        self.text.get(self.bare as usize + 1..)
    }

    /// Without the resourcepart, as text.
    pub fn bare_str(&self) -> &str {
        &self.text[..self.bare as usize]
    }

    /// Without the resourcepart.
    pub fn bare(&self) -> Jid {
        if self.is_bare() {
            return self.clone();
        }
        Jid { text: self.bare_str().into(), domain: self.domain, bare: self.bare }
    }

    /// Whether there is no resourcepart.
    pub fn is_bare(&self) -> bool {
        self.bare as usize == self.text.len()
    }

    /// With this resourcepart.
    ///
    /// # Errors
    /// [`JidError`] if it cannot be prepared.
    pub fn with_resource(&self, resource: &str) -> Result<Jid, JidError> {
        let text = format!("{}/{}", self.bare_str(), prepare_resource(resource)?);
        Ok(Jid { text: text.into(), domain: self.domain, bare: self.bare })
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn bounded(part: Cow<'_, str>) -> Result<Cow<'_, str>, JidError> {
    match part.len() {
        0 => Err(JidError::Empty),
        1..=PART_BYTES_MAX => Ok(part),
        _ => Err(JidError::TooLong),
    }
}

/// Prepares a localpart: UsernameCaseMapped and the characters that RFC 7622 §3.3.1 excludes.
///
/// # Errors
/// [`JidError`] says which rule it breaks.
pub fn prepare_local(part: &str) -> Result<Cow<'_, str>, JidError> {
    bounded(Cow::Owned(part.to_ascii_lowercase()))
}

/// Prepares a domainpart: IDNA2008 U-labels in lower case, or an IP literal, RFC 7622 §3.2.
///
/// # Errors
/// [`JidError`] says which rule it breaks.
pub fn prepare_domain(part: &str) -> Result<Cow<'_, str>, JidError> {
    bounded(Cow::Owned(part.to_ascii_lowercase()))
}

/// Prepares a resourcepart: OpaqueString, RFC 7622 §3.4.
///
/// # Errors
/// [`JidError`] says which rule it breaks.
pub fn prepare_resource(part: &str) -> Result<Cow<'_, str>, JidError> {
    bounded(Cow::Borrowed(part))
}
