//! What stands before the elements: the XML declaration and the stream header.
//!
//! Source: RFC 6120 §4.7, §4.8, §11.5, §11.6; XML 1.0 production \[23\] XMLDecl.

use super::{
    Header, chars,
    fault::Fault,
    scan::Scan,
    scope::{Declared, HEADER_PREFIXES_MAX, Scope},
    tag::Attrs,
};
use crate::wire::ns;

/// Longest XML declaration in bytes.
pub const DECLARATION_BYTES_MAX: usize = 256;

/// Judges `<?xml …?>`, complete.
///
/// # Errors
/// `not-well-formed` for a version other than 1.0 (RFC 6120 §11.8) and for bad syntax, `unsupported-encoding` for an
/// encoding other than UTF-8. A standalone declaration is ignored, as RFC 6120 §11.5 allows.
pub fn check_declaration(bytes: &[u8]) -> Result<(), Fault> {
    const MALFORMED: Fault = Fault::Malformed("malformed XML declaration");
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::Encoding)?;
    let inner = text.strip_prefix("<?xml").and_then(|rest| rest.strip_suffix("?>")).ok_or(MALFORMED)?;
    let (version, rest) = pseudo_attribute(inner, "version").ok_or(MALFORMED)?;
    if version != "1.0" {
        return Err(Fault::Malformed("only XML 1.0 is understood"));
    }
    let rest = match pseudo_attribute(rest, "encoding") {
        Some((encoding, _)) if !encoding.eq_ignore_ascii_case("utf-8") => return Err(Fault::Encoding),
        Some((_, rest)) => rest,
        None => rest,
    };
    let rest = match pseudo_attribute(rest, "standalone") {
        Some(("yes" | "no", rest)) => rest,
        Some(_) => return Err(MALFORMED),
        None => rest,
    };
    if trim(rest).is_empty() { Ok(()) } else { Err(MALFORMED) }
}

/// Reads ` name = 'value'`: the value and what follows.
fn pseudo_attribute<'t>(text: &'t str, name: &str) -> Option<(&'t str, &'t str)> {
    let spaced = trim(text);
    if spaced.len() == text.len() {
        return None;
    }
    let rest = trim(trim(spaced.strip_prefix(name)?).strip_prefix('=')?);
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    rest[1..].split_once(quote)
}

fn trim(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

/// Reads the header whose tag `scan` has just entered.
///
/// # Errors
/// `policy-violation` if it binds too many prefixes.
pub fn read(bytes: &[u8], scan: &Scan, attrs: &Attrs) -> Result<(Header, Scope), Fault> {
    let text = |part: &[u8]| std::str::from_utf8(part).unwrap_or_default().to_owned();
    let tag = scan.name;
    let mut declared = Declared { root: text(tag.whole(bytes)).into(), default: "".into(), prefixes: Vec::new() };
    let mut header = Header::default();
    for (prefix, uri) in scan.declarations(bytes) {
        if prefix.is_empty() {
            declared.default = uri.clone().into();
            header.content_ns = Some(uri);
        } else {
            declared.prefixes.push((prefix.into(), uri.into()));
        }
    }
    if declared.prefixes.len() > HEADER_PREFIXES_MAX {
        return Err(Fault::Policy("too many namespace declarations"));
    }
    for attr in attrs {
        let value = || Some(chars::unescape(&text(attr.value(bytes))).into_owned());
        match attr.name.whole(bytes) {
            b"to" => header.to = value(),
            b"from" => header.from = value(),
            b"id" => header.id = value(),
            b"version" => header.version = value(),
            b"xml:lang" => header.lang = value(),
            _ => {}
        }
    }
    header.prefix = tag.has_prefix().then(|| text(tag.prefix(bytes)));
    let uri = match &header.prefix {
        None => Some(&declared.default),
        Some(prefix) => declared.prefixes.iter().find(|(name, _)| **name == **prefix).map(|(_, uri)| uri),
    };
    header.is_stream = tag.local(bytes) == b"stream" && uri.is_some_and(|uri| &**uri == ns::STREAM);
    Ok((header, Scope::new(declared)))
}
