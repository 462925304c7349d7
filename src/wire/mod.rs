//! Floor 1: bytes to XML to stanzas and back. Knows no network.

pub mod bookmarks;
pub mod build;
pub mod caps;
pub mod element;
pub mod error;
pub mod form;
pub mod framer;
pub mod jid;
pub mod ns;
pub mod rsm;
pub mod stanza;
pub mod time;
