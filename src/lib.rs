//! Lampone.
pub mod adapters;
pub mod cli;
pub mod config;
pub mod domain;
pub mod limits;
pub mod proto;
pub mod router;
pub mod server;
pub mod services;
pub mod wire;
