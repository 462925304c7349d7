//! Typed settings. One TOML file holds what differs from the defaults; every key can be given on the command line.
//!
//! Source: TOML 1.1 for the file; the keys are our own and stand in one table, `config/keys.rs`.
//! Invariant: nothing here opens a file or looks at the environment; [`Config::read`] is given text.

mod checks;
mod keys;
mod nearest;
mod read;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

pub use keys::{listing, reference};

use crate::limits;

/// All settings, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The domains served, prepared; the first is the default one. Never empty.
    pub domains: Vec<String>,
    /// Where everything is kept.
    pub data: PathBuf,
    /// Listeners.
    pub listen: Listen,
    /// Certificate of every domain that has none of its own; `None`: self-signed.
    pub tls: Option<Certificate>,
    /// Certificates of single domains.
    pub certificates: BTreeMap<String, Certificate>,
    /// Bare JIDs of administrators, prepared.
    pub admins: Vec<String>,
    /// Contact addresses by role (`abuse-addresses`, `admin-addresses`, …), XEP-0157.
    pub contact: BTreeMap<String, Vec<String>>,
    /// `error`, `warn`, `info`, `debug`, `trace`.
    pub log: log::LevelFilter,
    /// Who may make an account.
    pub registration: Registration,
    /// Host names beside each domain.
    pub hosts: Hosts,
    /// Bounds that an admin may change.
    pub limits: Limits,
    /// How long things are kept.
    pub retention: Retention,
}

/// Addresses to listen on. Empty lists close that door.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// STARTTLS; default `[::]:5222`, which serves IPv4 as well.
    pub c2s: Vec<SocketAddr>,
    /// Direct TLS; default `[::]:5223`.
    pub c2s_tls: Vec<SocketAddr>,
    /// Where clients come back to resume a session, XEP-0198 §3: host, or host and port; `None`: they find it as before.
    pub location: Option<String>,
    /// The administration socket; default `admin.sock` in the data directory.
    pub admin: Option<PathBuf>,
}

/// Files of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Certificate {
    /// PEM chain, the server's own first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// Who may make an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Only the admin.
    Closed,
    /// Whoever holds an invitation (the default).
    Invited,
}

/// What stands before each domain in the host names of services, prepared; `None`: there is no such service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Publish-subscribe, XEP-0060.
    pub pubsub: Option<String>,
}

/// Bounds that an admin may change; defaults in `limits.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one stanza.
    pub stanza_bytes: usize,
    /// Connections in all.
    pub streams: usize,
    /// Failed sign-ins in a row from one address before it is delayed.
    pub failures_per_address: u32,
    /// Failed sign-ins in a row for one account before it is delayed.
    pub failures_per_account: u32,
    /// Messages kept for one absent account.
    pub offline_messages: usize,
    /// Bytes of the database's cache.
    pub cache_bytes: usize,
}

/// How long things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Seconds that a session waits for its client to resume it, XEP-0198.
    pub resume_s: u64,
    /// The same for a client with push.
    pub resume_push_s: u64,
    /// Days that an undelivered message is kept; 0: for ever.
    pub offline_days: u64,
    /// Days that an archived message is kept; 0: for ever.
    pub archive_days: u64,
    /// Bytes of one account's archive; 0: any.
    pub archive_bytes: u64,
    /// Days that a device is remembered which does not sign in, XEP-0494.
    pub device_days: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            domains: vec!["localhost".into()],
            data: "lampone-data".into(),
            listen: Listen {
                c2s: vec![SocketAddr::from(([0u16; 8], 5222))],
                c2s_tls: vec![SocketAddr::from(([0u16; 8], 5223))],
                location: None,
                admin: None,
            },
            tls: None,
            certificates: BTreeMap::new(),
            admins: Vec::new(),
            contact: BTreeMap::new(),
            log: log::LevelFilter::Info,
            registration: Registration::Invited,
            hosts: Hosts { pubsub: Some("pubsub".into()) },
            limits: Limits {
                stanza_bytes: limits::STANZA_BYTES_MAX,
                streams: limits::STREAMS_MAX,
                failures_per_address: 20,
                failures_per_account: 10,
                offline_messages: limits::OFFLINE_PER_ACCOUNT_MAX,
                cache_bytes: limits::DATABASE_CACHE_BYTES,
            },
            retention: Retention {
                resume_s: 3_600,
                resume_push_s: 86_400,
                offline_days: 0,
                archive_days: limits::ARCHIVE_DAYS,
                archive_bytes: limits::ARCHIVE_BYTES,
                device_days: 365,
            },
        }
    }
}

impl Config {
    /// Whether this prepared domain is served here.
    pub fn serves(&self, domain: &str) -> bool {
        self.domains.iter().any(|d| d == domain)
    }
}
