//! Lampone.
pub mod wire;
