//! What HTTP means, without a connection: targets, ranges, conditions. The parser of messages is the adapter's.
//!
//! Source: RFC 9110, RFC 3986.

pub mod host;
#[cfg(test)]
mod properties;
pub mod range;
pub mod target;
