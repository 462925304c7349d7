//! Addresses, RFC 7622.
//!
//! Invariant: a [`Jid`] is prepared once, at the edge, and afterwards compared as bytes.

use std::{borrow::Cow, fmt, net::Ipv6Addr, rc::Rc};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use precis_profiles::{OpaqueString, UsernameCaseMapped, precis_core::profile::PrecisFastInvocation};

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

/// What a byte of an ASCII part means to the profile that reads it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Stays as it is.
    Keep,
    /// An upper-case letter of a part that is compared in lower case.
    Lower,
    /// Excluded.
    Deny,
}

const fn table(from: u8, mapped: bool, excluded: &[u8]) -> [Class; 128] {
    let mut table = [Class::Deny; 128];
    let mut byte = from;
    while byte < 0x7f {
        table[byte as usize] = if mapped && byte.is_ascii_uppercase() { Class::Lower } else { Class::Keep };
        byte += 1;
    }
    let mut at = 0;
    while at < excluded.len() {
        table[excluded[at] as usize] = Class::Deny;
        at += 1;
    }
    table
}

/// ASCII of the IdentifierClass (RFC 8264 §4.2.1) without what RFC 7622 §3.3.1 excludes.
static LOCAL: [Class; 128] = table(0x21, true, LOCAL_EXCLUDED);
/// ASCII of the FreeformClass, RFC 8264 §4.3.1: everything but controls.
static RESOURCE: [Class; 128] = table(0x20, false, b"");
/// Letters, digits, hyphen, dot; and the underscore, which hosts in home networks carry though RFC 952 does not know it.
static DOMAIN: [Class; 128] = table(0x2d, true, b"/:;<=>?@[\\]^`{|}~");

/// RFC 7622 §3.3.1.
const LOCAL_EXCLUDED: &[u8] = b"\"&'/:<>@";

/// Preparation can shorten a text to no less than a quarter; longer input cannot become a legal part.
const INPUT_BYTES_MAX: usize = 4 * PART_BYTES_MAX;

/// Prepares a part that is ASCII by its table alone; `None` sends the caller to the Unicode rules.
fn prepare_ascii<'p>(part: &'p str, table: &[Class; 128]) -> Option<Result<Cow<'p, str>, JidError>> {
    let mut mapped = false;
    let mut denied = false;
    for byte in part.bytes() {
        match table.get(byte as usize)? {
            Class::Keep => {}
            Class::Lower => mapped = true,
            Class::Deny => denied = true,
        }
    }
    if denied {
        return Some(Err(JidError::Forbidden));
    }
    Some(Ok(if mapped { Cow::Owned(part.to_ascii_lowercase()) } else { Cow::Borrowed(part) }))
}

/// Applies a PRECIS profile until the text stands still, at most the three times that RFC 8264 §7 asks for.
fn prepare_unicode<'p>(
    part: &'p str,
    enforce: impl for<'a> Fn(&'a str) -> Option<Cow<'a, str>>,
) -> Result<Cow<'p, str>, JidError> {
    let mut text = part.to_owned();
    for _ in 0..3 {
        let next = enforce(&text).ok_or(JidError::Forbidden)?;
        if next == text {
            return Ok(Cow::Owned(text));
        }
        text = next.into_owned();
    }
    Err(JidError::Forbidden)
}

fn bounded(part: Cow<'_, str>) -> Result<Cow<'_, str>, JidError> {
    match part.len() {
        0 => Err(JidError::Empty),
        1..=PART_BYTES_MAX => Ok(part),
        _ => Err(JidError::TooLong),
    }
}

fn bounded_input(part: &str) -> Result<(), JidError> {
    match part.len() {
        0 => Err(JidError::Empty),
        1..=INPUT_BYTES_MAX => Ok(()),
        _ => Err(JidError::TooLong),
    }
}

/// Prepares a localpart: UsernameCaseMapped and the characters that RFC 7622 §3.3.1 excludes.
///
/// Borrows when nothing changes.
///
/// # Errors
/// [`JidError`] says which rule it breaks.
pub fn prepare_local(part: &str) -> Result<Cow<'_, str>, JidError> {
    bounded_input(part)?;
    if let Some(prepared) = prepare_ascii(part, &LOCAL) {
        return bounded(prepared?);
    }
    let prepared = prepare_unicode(part, |text| UsernameCaseMapped::enforce(text).ok())?;
    // Checked behind the width mapping: a full-width '@' has become an '@' by now.
    if prepared.bytes().any(|byte| LOCAL_EXCLUDED.contains(&byte)) {
        return Err(JidError::Forbidden);
    }
    bounded(prepared)
}

/// Prepares a domainpart: IDNA2008 U-labels in lower case, or an IP literal, RFC 7622 §3.2.
///
/// Borrows when nothing changes. An IPv6 address stands in brackets (RFC 6122 §2.2) and takes its canonical form.
///
/// # Errors
/// [`JidError`] says which rule it breaks.
pub fn prepare_domain(part: &str) -> Result<Cow<'_, str>, JidError> {
    // RFC 7622 §3.2: the final dot goes before anything else happens.
    let part = part.strip_suffix('.').unwrap_or(part);
    bounded_input(part)?;
    if let Some(literal) = part.strip_prefix('[') {
        return prepare_ipv6(part, literal);
    }
    let prepared = match prepare_ascii(part, &DOMAIN) {
        // An A-label becomes a U-label, RFC 7622 §3.2.1.
        Some(Ok(ascii)) if ascii.split('.').any(|label| label.starts_with("xn--")) => prepare_idn(part)?,
        Some(ascii) => ascii?,
        None => prepare_idn(part)?,
    };
    let prepared = bounded(prepared)?;
    if prepared.is_ascii() {
        labels_in_bounds(&prepared)?
    }
    Ok(prepared)
}

fn prepare_ipv6<'p>(part: &'p str, literal: &str) -> Result<Cow<'p, str>, JidError> {
    let address: Ipv6Addr = literal.strip_suffix(']').and_then(|text| text.parse().ok()).ok_or(JidError::Forbidden)?;
    let canonical = format!("[{address}]");
    Ok(if canonical == part { Cow::Borrowed(part) } else { Cow::Owned(canonical) })
}

/// A prepared domain as DNS, TLS and URLs name it: in A-labels (RFC 5890 §2.3.2.1).
pub fn ascii_domain(domain: &str) -> String {
    let ascii = Uts46::new().to_ascii(domain.as_bytes(), DOMAIN_DENY, Hyphens::CheckFirstLast, DnsLength::Ignore);
    ascii.map(Cow::into_owned).unwrap_or_else(|_| domain.to_ascii_lowercase())
}

/// ASCII that the table [`DOMAIN`] denies, in the form that `idna` wants.
const DOMAIN_DENY: AsciiDenyList = AsciiDenyList::new(true, "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~");

/// Maps and checks with UTS 46, which is how IDNA2008's mapping (RFC 5895) is practised.
fn prepare_idn(part: &str) -> Result<Cow<'static, str>, JidError> {
    let uts46 = Uts46::new();
    let (unicode, checked) = uts46.to_unicode(part.as_bytes(), DOMAIN_DENY, Hyphens::CheckFirstLast);
    checked.map_err(|_| JidError::Forbidden)?;
    // The limits of RFC 1034 are those of the A-labels.
    let ascii = uts46
        .to_ascii(unicode.as_bytes(), DOMAIN_DENY, Hyphens::CheckFirstLast, DnsLength::Ignore)
        .map_err(|_| JidError::Forbidden)?;
    labels_in_bounds(&ascii)?;
    Ok(Cow::Owned(unicode.into_owned()))
}

/// RFC 1034 §3.1 and §3.5: labels of 1 to 63 bytes, not bordered by hyphens, 253 bytes in all.
fn labels_in_bounds(ascii: &str) -> Result<(), JidError> {
    if ascii.len() > 253 {
        return Err(JidError::TooLong);
    }
    for label in ascii.split('.') {
        match label.len() {
            0 => return Err(JidError::Empty),
            1..=63 if label.starts_with('-') || label.ends_with('-') => return Err(JidError::Forbidden),
            1..=63 => {}
            _ => return Err(JidError::TooLong),
        }
    }
    Ok(())
}

/// Prepares a resourcepart: OpaqueString, RFC 7622 §3.4.
///
/// Borrows when nothing changes. A leading space is refused: the profile would pass it, RFC 7622 §3.5 (example 18)
/// says that it is no address.
///
/// # Errors
/// [`JidError`] says which rule it breaks.
pub fn prepare_resource(part: &str) -> Result<Cow<'_, str>, JidError> {
    bounded_input(part)?;
    let prepared = match prepare_ascii(part, &RESOURCE) {
        Some(prepared) => prepared?,
        None => prepare_opaque(part)?,
    };
    if prepared.starts_with(' ') {
        return Err(JidError::Forbidden);
    }
    bounded(prepared)
}

/// The OpaqueString profile alone, RFC 8265 §4.2; also the rule for passwords. Bounds are the caller's.
pub(crate) fn prepare_opaque(text: &str) -> Result<Cow<'_, str>, JidError> {
    prepare_unicode(text, |text| OpaqueString::enforce(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_addresses_of_rfc_7622_are_addresses() {
        // RFC 7622 §3.5, table 1: (address, localpart, domainpart, resourcepart), prepared.
        let table = [
            ("juliet@example.com", Some("juliet"), "example.com", None),
            ("juliet@example.com/foo", Some("juliet"), "example.com", Some("foo")),
            ("juliet@example.com/foo bar", Some("juliet"), "example.com", Some("foo bar")),
            ("juliet@example.com/foo@bar", Some("juliet"), "example.com", Some("foo@bar")),
            ("foo\\20bar@example.com", Some("foo\\20bar"), "example.com", None),
            ("fussball@example.com", Some("fussball"), "example.com", None),
            ("fu\u{df}ball@example.com", Some("fu\u{df}ball"), "example.com", None),
            ("\u{3c0}@example.com", Some("\u{3c0}"), "example.com", None),
            ("\u{3a3}@example.com/foo", Some("\u{3c3}"), "example.com", Some("foo")),
            ("\u{3c3}@example.com/foo", Some("\u{3c3}"), "example.com", Some("foo")),
            ("\u{3c2}@example.com/foo", Some("\u{3c2}"), "example.com", Some("foo")),
            ("king@example.com/\u{265a}", Some("king"), "example.com", Some("\u{265a}")),
            ("example.com", None, "example.com", None),
            ("example.com/foobar", None, "example.com", Some("foobar")),
            ("a.example.com/b@example.net", None, "a.example.com", Some("b@example.net")),
        ];
        for (text, local, domain, resource) in table {
            let jid = Jid::parse(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
            assert_eq!((jid.local(), jid.domain(), jid.resource()), (local, domain, resource), "{text}");
            assert_eq!(Jid::parse(jid.as_str()).as_ref(), Ok(&jid), "prepared twice is prepared once");
        }
    }

    #[test]
    fn strings_that_rfc_7622_excludes_are_no_addresses() {
        // RFC 7622 §3.5, table 2.
        let table = [
            ("\"juliet\"@example.com", JidError::Forbidden),
            ("foo bar@example.com", JidError::Forbidden),
            ("juliet@example.com/ foo", JidError::Forbidden),
            ("@example.com/", JidError::Empty),
            ("henry\u{2163}@example.com", JidError::Forbidden),
            ("\u{265a}@example.com", JidError::Forbidden),
            ("juliet@", JidError::Empty),
            ("/foobar", JidError::Empty),
        ];
        for (text, error) in table {
            assert_eq!(Jid::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn prepared_ascii_is_borrowed() {
        assert!(matches!(prepare_local("juliet"), Ok(Cow::Borrowed("juliet"))));
        assert!(matches!(prepare_domain("example.com."), Ok(Cow::Borrowed("example.com"))));
        assert!(matches!(prepare_resource("Balcony 2"), Ok(Cow::Borrowed("Balcony 2"))));
        assert_eq!(prepare_local("JuliET").unwrap(), "juliet");
        assert_eq!(prepare_domain("EXAMPLE.com").unwrap(), "example.com");
    }

    #[test]
    fn excluded_characters_stay_excluded_in_every_disguise() {
        for excluded in "\"&'/:<>@ \t\u{7f}\u{0}\u{a0}\u{ad}\u{200b}\u{ff20}\u{ff0f}\u{ff1c}\u{ff06}".chars() {
            assert_eq!(prepare_local(&format!("a{excluded}b")), Err(JidError::Forbidden), "{excluded:?}");
            assert_eq!(prepare_local(&format!("\u{e4}{excluded}b")), Err(JidError::Forbidden), "{excluded:?}");
        }
        for control in ['\0', '\n', '\u{1b}', '\u{7f}', '\u{85}', '\u{200b}'] {
            assert_eq!(prepare_resource(&format!("a{control}b")), Err(JidError::Forbidden), "{control:?}");
        }
    }

    #[test]
    fn letters_that_mean_the_same_become_the_same() {
        assert_eq!(prepare_local("\u{ff2a}uliet").unwrap(), "juliet", "width and case");
        assert_eq!(prepare_local("A\u{308}").unwrap(), "\u{e4}", "composed");
        assert_eq!(prepare_resource("a\u{a0}b").unwrap(), "a b", "spaces");
        assert_eq!(prepare_resource("\u{c4}").unwrap(), "\u{c4}", "resources keep their case");
        assert_eq!(prepare_resource("\u{a0}b"), Err(JidError::Forbidden), "a leading space in disguise");
    }

    #[test]
    fn domains_take_unicode_form() {
        assert_eq!(prepare_domain("B\u{dc}CHER.example").unwrap(), "b\u{fc}cher.example");
        assert_eq!(prepare_domain("XN--bcher-KVA.example").unwrap(), "b\u{fc}cher.example");
        assert_eq!(prepare_domain("\u{ff41}.example").unwrap(), "a.example");
        for bad in ["xn--\u{fc}.example", "xn--zzzzzz9999.example", "a b.example", "a..b", "-a.example", "a-.example"] {
            assert!(prepare_domain(bad).is_err(), "{bad}");
        }
        for bad in [".", "..", ".example", "\u{3002}", "b\u{fc}cher\u{3002}", "ex@mple", "ex\u{ff0f}mple", "a:5222"] {
            assert!(prepare_domain(bad).is_err(), "{bad}");
        }
        assert_eq!(prepare_domain("_raspberry.local").unwrap(), "_raspberry.local");
    }

    #[test]
    fn domains_may_be_addresses() {
        assert_eq!(prepare_domain("192.0.2.1").unwrap(), "192.0.2.1");
        assert_eq!(prepare_domain("[::1]").unwrap(), "[::1]");
        assert_eq!(prepare_domain("[2001:DB8:0::1]").unwrap(), "[2001:db8::1]");
        for bad in ["::1", "[::1", "[]", "[1.2.3.4]", "[::1]x", "[fe80::1%eth0]"] {
            assert!(prepare_domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_are_at_most_1023_bytes_when_prepared() {
        let full = "a".repeat(PART_BYTES_MAX);
        assert!(prepare_local(&full).is_ok() && prepare_resource(&full).is_ok());
        let over = "a".repeat(PART_BYTES_MAX + 1);
        assert_eq!(prepare_local(&over), Err(JidError::TooLong));
        assert_eq!(prepare_resource(&over), Err(JidError::TooLong));
        assert!(prepare_local(&"\u{ff41}".repeat(PART_BYTES_MAX)).is_ok(), "three bytes become one");
        assert_eq!(prepare_resource(&"\u{e4}".repeat(512)), Err(JidError::TooLong));
        assert_eq!(prepare_local(&"a".repeat(1 << 20)), Err(JidError::TooLong));
        assert_eq!(prepare_domain(&"a".repeat(64)), Err(JidError::TooLong));
        assert_eq!(prepare_domain(&"a.".repeat(127)), Ok(Cow::Owned("a.".repeat(126) + "a")));
        assert_eq!(prepare_domain(&"a.".repeat(128)), Err(JidError::TooLong));
        assert_eq!(prepare_domain(&"\u{fc}".repeat(63)), Err(JidError::TooLong), "as A-label");
    }
}
