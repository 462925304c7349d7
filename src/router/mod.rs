//! Floor 4: who gets this stanza, in which phase, by which service. Knows no service by name.

pub mod context;
pub mod event;
pub mod route;
pub mod service;
