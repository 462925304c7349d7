//! The house from its front door: one file for each file of `src/server`, what each client looks for, and every conversation of `tests/scripts`.
//!
//! Tests that stand for a line of the security checklist carry its number.

#[path = "../stage/mod.rs"]
mod stage;

mod bind;
mod bound;
mod clients;
mod components;
mod devices;
mod durable;
mod fast;
mod negotiate;
mod peers;
mod quotas;
mod rooms;
mod sasl;
mod sasl2;
mod scripts;
mod streams;
mod upgrade;
