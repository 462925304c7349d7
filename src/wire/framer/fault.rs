//! What can be wrong with a stream, in a size that is cheap to return; becomes a [`StreamError`] at the edge.
//!
//! Source: RFC 6120 §4.9.3. Invariant: no fault holds a byte that the peer has sent.

use crate::wire::error::{StreamCondition, StreamError};

/// One violation and the text that explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Against XML or Namespaces in XML, RFC 6120 §4.9.3.13 and §11.3.
    Malformed(&'static str),
    /// A feature of XML that RFC 6120 §11.1 forbids.
    Restricted(&'static str),
    /// Something other than UTF-8, RFC 6120 §11.6 and §4.9.3.22.
    Encoding,
    /// Well-formed, but nothing that a stream can hold there, RFC 6120 §4.9.3.1.
    Format(&'static str),
    /// Past one of our bounds, RFC 6120 §4.9.3.14.
    Policy(&'static str),
    /// Longer than the bound on top-level elements, RFC 6120 §4.9.3.14 and §13.12.
    TooBig,
    /// Two of our own parsers disagree.
    Internal,
}

impl From<Fault> for StreamError {
    fn from(fault: Fault) -> StreamError {
        match fault {
            Fault::Malformed(text) => StreamError::new(StreamCondition::NotWellFormed).text(text),
            Fault::Restricted(text) => StreamError::new(StreamCondition::RestrictedXml).text(text),
            Fault::Encoding => StreamError::new(StreamCondition::UnsupportedEncoding).text("only UTF-8 is understood"),
            Fault::Format(text) => StreamError::new(StreamCondition::BadFormat).text(text),
            Fault::Policy(text) => StreamError::new(StreamCondition::PolicyViolation).text(text),
            Fault::TooBig => StreamError::new(StreamCondition::PolicyViolation)
                .text("the element is longer than this stream allows")
                .app("<stanza-too-big xmlns='urn:xmpp:errors'/>"),
            Fault::Internal => StreamError::new(StreamCondition::InternalServerError),
        }
    }
}
