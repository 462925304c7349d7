//! Headers and features of server streams.
//!
//! Source: RFC 6120 §4.3, §4.7 and §4.8, XEP-0220 §2.3, XEP-0288 §2. Invariant: a header is judged before anything else
//! on its stream; the domains that it names are claims and nothing more.

use std::rc::Rc;

use crate::wire::{
    build,
    element::Element,
    error::{StreamCondition, StreamError},
    framer::Header,
    jid, ns,
};

/// What a good header of a server stream said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerOpened {
    /// The domain it is for, prepared.
    pub to: Option<Rc<str>>,
    /// The domain it claims to be from, prepared.
    pub from: Option<Rc<str>>,
    /// Its id; only the answering side gives one.
    pub id: Option<String>,
    /// Its `xml:lang`.
    pub lang: Option<Rc<str>>,
}

/// Judges the header of a server stream. `answers`: the other side answers ours; only then an id is demanded.
///
/// # Errors
/// The stream error that RFC 6120 §4.9.3 names for the first fault.
pub fn judge(header: &Header, answers: bool) -> Result<PeerOpened, StreamError> {
    if !header.is_stream || header.content_ns.as_deref() != Some(ns::SERVER) {
        // RFC 6120 §4.8.1 and §4.9.3.10.
        return Err(StreamCondition::InvalidNamespace.into());
    }
    let major = header.version.as_deref().and_then(|version| version.split_once('.')?.0.parse::<u32>().ok());
    if major.is_none_or(|major| major < 1) {
        // RFC 6120 §4.7.5: such a server knows no TLS.
        return Err(StreamCondition::UnsupportedVersion.into());
    }
    let domain = |text: &Option<String>, condition: StreamCondition| match text.as_deref() {
        None | Some("") => Ok(None),
        Some(text) => match jid::prepare_domain(text) {
            Ok(domain) => Ok(Some(Rc::from(domain.as_ref()))),
            Err(_) => Err(StreamError::new(condition)),
        },
    };
    let id = header.id.clone().filter(|id| !id.is_empty());
    if answers && id.as_ref().is_none_or(|id| id.len() > ID_BYTES_MAX) {
        // RFC 6120 §4.7.3: dialback needs it.
        return Err(StreamError::new(StreamCondition::BadFormat).text("The answering header needs an 'id'."));
    }
    Ok(PeerOpened {
        to: domain(&header.to, StreamCondition::HostUnknown)?,
        from: domain(&header.from, StreamCondition::InvalidFrom)?,
        id,
        lang: header.lang.as_deref().filter(|lang| super::stream::is_language(lang)).map(Into::into),
    })
}

/// Longest stream id, in bytes.
const ID_BYTES_MAX: usize = 512;

/// Appends our header; `id` only when we answer (RFC 6120 §4.7.3).
pub fn write_header(from: &str, to: Option<&str>, id: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='jabber:server'");
    out.extend_from_slice(b" xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams'");
    out.extend_from_slice(b" version='1.0' xml:lang='en'");
    build::attr("from", from, out);
    if let Some(to) = to {
        build::attr("to", to, out);
    }
    if let Some(id) = id {
        build::attr("id", id, out);
    }
    out.push(b'>');
}

/// What the other side can negotiate now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerFeatures {
    /// STARTTLS.
    pub starttls: bool,
    /// SASL EXTERNAL.
    pub external: bool,
    /// Dialback with errors, XEP-0220 §2.3.
    pub dialback: bool,
    /// XEP-0288.
    pub bidi: bool,
    /// XEP-0198.
    pub sm: bool,
    /// What follows may be sent before what goes before it is answered, XEP-0305 §4.
    pub pipelining: bool,
}

impl PeerFeatures {
    /// Reads `<stream:features/>`.
    pub fn read(features: &Element) -> PeerFeatures {
        let mechanisms = features.find("mechanisms", ns::SASL);
        let external = |child: &Element| child.is("mechanism", ns::SASL) && child.content().trim() == "EXTERNAL";
        PeerFeatures {
            starttls: features.find("starttls", ns::TLS).is_some(),
            external: mechanisms.is_some_and(|mechanisms| mechanisms.children().any(external)),
            dialback: features.find("dialback", ns::DIALBACK_FEATURE).is_some(),
            bidi: features.find("bidi", ns::BIDI_FEATURE).is_some(),
            sm: features.find("sm", ns::SM).is_some(),
            pipelining: features.find("pipelining", ns::PIPELINING_FEATURE).is_some(),
        }
    }

    /// Appends `<stream:features/>` with what we can negotiate.
    pub fn write(self, out: &mut Vec<u8>) {
        let parts: [(bool, &[u8]); 6] = [
            (self.starttls, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"),
            (
                self.external,
                b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>",
            ),
            (self.dialback, b"<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>"),
            (self.bidi, b"<bidi xmlns='urn:xmpp:features:bidi'/>"),
            (self.sm, b"<sm xmlns='urn:xmpp:sm:3'/>"),
            (self.pipelining, b"<pipelining xmlns='urn:xmpp:features:pipelining'/>"),
        ];
        out.extend_from_slice(b"<stream:features>");
        for (_, xml) in parts.iter().filter(|(is_on, _)| *is_on) {
            out.extend_from_slice(xml);
        }
        out.extend_from_slice(b"</stream:features>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            to: Some("Capulet.Lit".into()),
            from: Some("montague.lit".into()),
            version: Some("1.0".into()),
            content_ns: Some(ns::SERVER.into()),
            is_stream: true,
            ..Header::default()
        }
    }

    #[test]
    fn a_good_header_is_prepared() {
        let opened = judge(&header(), false).unwrap();
        assert_eq!((opened.to.as_deref(), opened.from.as_deref()), (Some("capulet.lit"), Some("montague.lit")));
        let nameless = Header { to: None, from: None, ..header() };
        assert_eq!(judge(&nameless, false).map(|opened| (opened.to, opened.from)), Ok((None, None)));
    }

    #[test]
    fn each_fault_has_its_condition() {
        let case = |answers, change: fn(&mut Header)| {
            let mut header = header();
            change(&mut header);
            judge(&header, answers).map(|_| ()).map_err(|error| error.condition)
        };
        assert_eq!(case(false, |h| h.is_stream = false), Err(StreamCondition::InvalidNamespace));
        assert_eq!(case(false, |h| h.content_ns = Some(ns::CLIENT.into())), Err(StreamCondition::InvalidNamespace));
        assert_eq!(case(false, |h| h.version = None), Err(StreamCondition::UnsupportedVersion));
        assert_eq!(case(false, |h| h.to = Some("a b".into())), Err(StreamCondition::HostUnknown));
        assert_eq!(case(false, |h| h.from = Some("juliet@".into())), Err(StreamCondition::InvalidFrom));
        assert_eq!(case(true, |_| ()), Err(StreamCondition::BadFormat));
        assert_eq!(case(true, |h| h.id = Some("x".repeat(ID_BYTES_MAX + 1))), Err(StreamCondition::BadFormat));
        assert_eq!(case(true, |h| h.id = Some("1".into())), Ok(()));
    }

    #[test]
    fn features_are_read_as_they_are_written() {
        for features in [
            PeerFeatures::default(),
            PeerFeatures { starttls: true, bidi: true, ..PeerFeatures::default() },
            PeerFeatures { starttls: false, external: true, dialback: true, bidi: true, sm: true, pipelining: true },
        ] {
            let mut out = Vec::new();
            features.write(&mut out);
            let bound = "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>";
            let xml = String::from_utf8(out).unwrap().replace("<stream:features>", bound);
            assert_eq!(PeerFeatures::read(&Element::parse(xml.as_bytes(), ns::SERVER).unwrap()), features);
        }
    }
}
