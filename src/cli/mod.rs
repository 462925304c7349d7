//! Floor 8: the front door.

pub mod serve;
