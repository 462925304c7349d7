//! Stream headers and stream features, RFC 6120 §4.3 and §4.7.
//!
//! Invariant: a header is judged before anything else on its stream, and what we answer echoes only what was parsed.

use std::rc::Rc;

use crate::wire::{
    build,
    error::{StreamCondition, StreamError},
    framer::Header,
    jid::{self, Jid},
    ns,
};

/// What a good header asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The domain it named, prepared.
    pub domain: Rc<str>,
    /// Its `from`, to be echoed as our `to` (RFC 6120 §4.7.2).
    pub from: Option<Jid>,
    /// Its `xml:lang`.
    pub lang: Option<Rc<str>>,
}

/// Judges the header of a client stream, RFC 6120 §4.7 and §4.8.
///
/// # Errors
/// The stream error that RFC 6120 §4.9.3 names for the first fault.
pub fn judge(header: &Header, serves: impl Fn(&str) -> bool) -> Result<Opened, StreamError> {
    if !header.is_stream {
        // RFC 6120 §4.8.5 and §4.9.3.10.
        return Err(StreamCondition::InvalidNamespace.into());
    }
    if header.content_ns.as_deref() != Some(ns::CLIENT) {
        return Err(StreamCondition::InvalidNamespace.into());
    }
    let major = header.version.as_deref().and_then(|version| version.split_once('.')?.0.parse::<u32>().ok());
    if major.is_none_or(|major| major < 1) {
        // RFC 6120 §4.7.5: without a version it would be older than XMPP.
        return Err(StreamCondition::UnsupportedVersion.into());
    }
    let Some(to) = &header.to else {
        return Err(StreamError::new(StreamCondition::ImproperAddressing).text("The stream header needs a 'to'."));
    };
    let domain = jid::prepare_domain(to).map_err(|_| StreamError::new(StreamCondition::HostUnknown))?;
    if !serves(&domain) {
        return Err(StreamCondition::HostUnknown.into());
    }
    Ok(Opened {
        domain: domain.as_ref().into(),
        from: header.from.as_deref().and_then(|from| Jid::parse(from).ok()),
        lang: header.lang.as_deref().filter(|lang| is_language(lang)).map(Into::into),
    })
}

/// A language tag as RFC 5646 spells them: what else would be stamped on stanzas unseen.
pub(super) fn is_language(lang: &str) -> bool {
    (1..=35).contains(&lang.len()) && lang.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Appends our header, RFC 6120 §4.7.
pub fn write_header(domain: &str, id: &str, to: Option<&Jid>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'");
    out.extend_from_slice(b" xmlns:stream='http://etherx.jabber.org/streams' version='1.0' xml:lang='en'");
    build::attr("from", domain, out);
    build::attr("id", id, out);
    if let Some(to) = to {
        build::attr("to", to.as_str(), out);
    }
    out.push(b'>');
}

/// XEP-0478: what a stream may carry.
pub fn write_limits(stanza_bytes_max: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>");
    out.extend_from_slice(stanza_bytes_max.to_string().as_bytes());
    out.extend_from_slice(b"</max-bytes></limits>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            to: Some("Home.Example".into()),
            version: Some("1.0".into()),
            content_ns: Some(ns::CLIENT.into()),
            is_stream: true,
            ..Header::default()
        }
    }

    fn condition(header: &Header) -> StreamCondition {
        judge(header, |domain| domain == "home.example").unwrap_err().condition
    }

    #[test]
    fn a_good_header_is_prepared() {
        let opened = judge(&header(), |domain| domain == "home.example").unwrap();
        assert_eq!(&*opened.domain, "home.example");
    }

    #[test]
    fn each_fault_has_its_condition() {
        let case = |change: fn(&mut Header)| {
            let mut header = header();
            change(&mut header);
            condition(&header)
        };
        assert_eq!(case(|h| h.is_stream = false), StreamCondition::InvalidNamespace);
        assert_eq!(case(|h| h.content_ns = Some(ns::SERVER.into())), StreamCondition::InvalidNamespace);
        assert_eq!(case(|h| h.version = None), StreamCondition::UnsupportedVersion);
        assert_eq!(case(|h| h.version = Some("0.9".into())), StreamCondition::UnsupportedVersion);
        assert_eq!(case(|h| h.to = None), StreamCondition::ImproperAddressing);
        assert_eq!(case(|h| h.to = Some("elsewhere.example".into())), StreamCondition::HostUnknown);
        assert_eq!(case(|h| h.to = Some("a b".into())), StreamCondition::HostUnknown);
    }
}
