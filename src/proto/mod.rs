//! Floor 2: one connection's state machines, without I/O. Knows no other connection.

pub mod bosh;
pub mod component;
pub mod cutter;
pub mod dialback;
pub mod fast;
pub mod hello;
pub mod http;
pub mod identity;
pub mod peer;
pub mod proxy;
pub mod sasl;
pub mod sasl2;
pub mod scram;
pub mod sm;
pub mod stream;
pub mod websocket;
