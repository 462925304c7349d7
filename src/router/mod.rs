//! Floor 4: who gets this stanza, in which phase, by which service. Knows no service by name.

pub mod agenda;
pub mod answer;
pub mod backlog;
pub mod clients;
pub mod components;
pub mod context;
pub mod core;
pub mod delegation;
pub mod delivery;
pub mod event;
pub mod figures;
pub mod lifecycle;
pub mod newcomers;
pub mod peers;
pub mod privilege;
pub mod reach;
pub mod refusal;
pub mod route;
pub mod service;
#[cfg(test)]
pub mod testing;
pub mod urgency;
pub mod web;
