//! Streams of components: header and handshake.
//!
//! Source: XEP-0114 §3, v1.6. Invariant: a digest is compared in constant time (S11), and nothing of a secret is echoed.

use std::{fmt::Write, rc::Rc};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use subtle::ConstantTimeEq;

use crate::wire::{
    build,
    error::{StreamCondition, StreamError},
    framer::Header,
    jid, ns,
};

/// Judges the header of a component's stream; the domain that it wants to speak for, prepared.
///
/// # Errors
/// `invalid-namespace` and `host-unknown`, as XEP-0114 §3 wants them.
pub fn judge(header: &Header) -> Result<Rc<str>, StreamError> {
    if !header.is_stream || header.content_ns.as_deref() != Some(ns::COMPONENT) {
        return Err(StreamCondition::InvalidNamespace.into());
    }
    let Some(to) = header.to.as_deref().filter(|to| !to.is_empty()) else {
        return Err(StreamError::new(StreamCondition::ImproperAddressing).text("The stream header needs a 'to'."));
    };
    let domain = jid::prepare_domain(to).map_err(|_| StreamError::new(StreamCondition::HostUnknown))?;
    Ok(domain.as_ref().into())
}

/// Appends our header. There is no version: what XMPP 1.0 added, features and SASL, is not spoken here.
pub fn write_header(domain: &str, id: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<?xml version='1.0'?><stream:stream xmlns='jabber:component:accept'");
    out.extend_from_slice(b" xmlns:stream='http://etherx.jabber.org/streams'");
    build::attr("from", domain, out);
    build::attr("id", id, out);
    out.push(b'>');
}

/// What a component that knows the secret says on the stream of this id: 40 hexadecimal digits in lower case.
pub fn digest(id: &str, secret: &str) -> String {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(id.as_bytes());
    hash.update(secret.as_bytes());
    hash.finish().as_ref().iter().fold(String::with_capacity(40), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Whether this is the handshake of somebody who knows the secret; compares in constant time.
pub fn proves(handshake: &str, id: &str, secret: &str) -> bool {
    let is_digest = digest(id, secret).as_bytes().ct_eq(handshake.trim().as_bytes());
    // Without a secret nobody can know it.
    !secret.is_empty() && is_digest.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            to: Some("Bridge.Capulet.Lit".into()),
            content_ns: Some(ns::COMPONENT.into()),
            is_stream: true,
            ..Header::default()
        }
    }

    #[test]
    fn the_header_names_the_component_and_needs_no_version() {
        assert_eq!(judge(&header()).as_deref(), Ok("bridge.capulet.lit"));
        let condition = |header: Header| judge(&header).map_err(|error| error.condition);
        let client = Header { content_ns: Some(ns::CLIENT.into()), ..header() };
        assert_eq!(condition(client), Err(StreamCondition::InvalidNamespace));
        assert_eq!(condition(Header { is_stream: false, ..header() }), Err(StreamCondition::InvalidNamespace));
        assert_eq!(condition(Header { to: Some("a b".into()), ..header() }), Err(StreamCondition::HostUnknown));
        assert_eq!(condition(Header { to: None, ..header() }), Err(StreamCondition::ImproperAddressing));
    }

    #[test]
    fn s38_the_digest_is_that_of_id_and_secret() {
        // SHA-1 of `3BF96D32secret`, by sha1sum(1).
        assert_eq!(digest("3BF96D32", "secret"), "b09ea9b3b7f586be8a08d0a3dd7466f110aeb136");
        assert!(proves(" b09ea9b3b7f586be8a08d0a3dd7466f110aeb136\n", "3BF96D32", "secret"));
        for (handshake, id, secret) in [
            ("b09ea9b3b7f586be8a08d0a3dd7466f110aeb136", "3BF96D33", "secret"),
            ("b09ea9b3b7f586be8a08d0a3dd7466f110aeb136", "3BF96D32", "Secret"),
            ("", "3BF96D32", "secret"),
            (&digest("1", ""), "1", ""),
        ] {
            assert!(!proves(handshake, id, secret), "{handshake} {id} {secret}");
        }
    }
}
