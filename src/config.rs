//! Typed settings. One TOML file holds what differs from the defaults; every key can be given on the command line.
//!
//! Source: TOML 1.1 for the file; the keys are our own and stand in one table, `config/keys.rs`.
//! Invariant: nothing here opens a file or looks at the environment; [`Config::read`] is given text.

mod checks;
mod components;
mod keys;
mod nearest;
mod network;
mod read;
#[cfg(test)]
mod tests;
mod values;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

pub use components::{Access, Component};
pub use keys::{listing, reference};
pub use network::Network;

use crate::{limits, wire::jid::ascii_domain};

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
    /// PEM file of the authorities that are trusted to sign other servers' certificates.
    pub roots: PathBuf,
    /// DNS resolvers; empty: those of `/etc/resolv.conf`.
    pub resolvers: Vec<SocketAddr>,
    /// Who may make an account.
    pub registration: Registration,
    /// The web door.
    pub web: Web,
    /// Uploaded files, XEP-0363.
    pub upload: Upload,
    /// Host names beside each domain.
    pub hosts: Hosts,
    /// What rooms offer.
    pub rooms: Rooms,
    /// Talking to other servers.
    pub federation: Federation,
    /// Components by their domain, prepared, XEP-0114.
    pub components: BTreeMap<String, Component>,
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
    /// Other servers, STARTTLS; default `[::]:5269`.
    pub s2s: Vec<SocketAddr>,
    /// Other servers, direct TLS; none by default.
    pub s2s_tls: Vec<SocketAddr>,
    /// HTTPS; default `[::]:5443`.
    pub https: Vec<SocketAddr>,
    /// HTTP without TLS, for a reverse proxy; none by default.
    pub http: Vec<SocketAddr>,
    /// Components, without TLS; default `127.0.0.1:5347`. Open only if there are components.
    pub component: Vec<SocketAddr>,
    /// Proxies that put the PROXY protocol's header before the connections that they pass on.
    pub proxy_protocol: Vec<Network>,
    /// Where TLS connections for names that are not ours go; `None`: they are ours all the same.
    pub passthrough: Option<SocketAddr>,
    /// Where connections go by which a certificate authority asks for a proof, RFC 8737; `None`: they are refused.
    pub acme: Option<SocketAddr>,
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
    /// Administrators, and whoever holds an invitation of theirs (the default).
    Closed,
    /// Whoever holds an invitation of anybody who has an account.
    Invited,
    /// Everybody, within limits.
    Open,
}

/// The web door.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// Where it is reached from outside, `https://chat.example.org`; `None`: at each domain and the first port of
    /// [`Listen::https`].
    pub url: Option<String>,
    /// Folder of a browser client that is served at `/chat/`.
    pub client: Option<PathBuf>,
    /// Reverse proxies whose word about the client's address counts.
    pub proxies: Vec<Network>,
}

/// Uploaded files, XEP-0363.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// Bytes of one file; 0: nobody uploads.
    pub file_bytes: u64,
    /// Bytes that one account may upload in a day.
    pub day_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

/// What stands before each domain in the host names of services, prepared; `None`: there is no such service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Publish-subscribe, XEP-0060.
    pub pubsub: Option<String>,
    /// Rooms, XEP-0045.
    pub rooms: Option<String>,
    /// Uploads, XEP-0363; the domain itself has them as well.
    pub upload: Option<String>,
}

/// What rooms offer, XEP-0045.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rooms {
    /// Members-only rooms give out tokens that make members, XEP-0488.
    pub invite_tokens: bool,
}

/// With which other servers, and on what terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Federation {
    /// At all.
    pub enabled: bool,
    /// With these domains and what is below them only; empty: with everybody.
    pub allow: Vec<String>,
    /// Not with these domains, nor with what is below them.
    pub block: Vec<String>,
    /// Only with servers whose certificate proves their domain; otherwise dialback under TLS is enough.
    pub require_certificate: bool,
}

impl Federation {
    /// Whether this prepared domain may be talked to.
    ///
    /// # Errors
    /// Why not, for the log.
    pub fn admits(&self, domain: &str) -> Result<(), &'static str> {
        let is_at = |listed: &String| {
            domain == listed
                || domain.strip_suffix(listed.as_str()).is_some_and(|below| below.ends_with('.') && below.len() > 1)
        };
        if !self.enabled {
            return Err("federation is switched off");
        }
        if self.block.iter().any(is_at) {
            return Err("it is in federation.block");
        }
        match self.allow.is_empty() || self.allow.iter().any(is_at) {
            true => Ok(()),
            false => Err("it is not in federation.allow"),
        }
    }
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
    /// What one domain elsewhere may send.
    pub peer_rate: Rate,
    /// What one client may send.
    pub client_rate: Rate,
    /// Messages kept for one absent account.
    pub offline_messages: usize,
    /// Bytes of the database's cache.
    pub cache_bytes: usize,
}

/// How much may come in a second, for long; 0: any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes.
    pub bytes: u64,
    /// Stanzas, and whatever else stands where they stand.
    pub stanzas: u64,
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
    /// Days that an uploaded file is kept; 0: for ever.
    pub upload_days: u64,
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
                s2s: vec![SocketAddr::from(([0u16; 8], 5269))],
                s2s_tls: Vec::new(),
                https: vec![SocketAddr::from(([0u16; 8], 5443))],
                http: Vec::new(),
                component: vec![SocketAddr::from(([127, 0, 0, 1], 5347))],
                proxy_protocol: Vec::new(),
                passthrough: None,
                acme: None,
                location: None,
                admin: None,
            },
            tls: None,
            certificates: BTreeMap::new(),
            admins: Vec::new(),
            contact: BTreeMap::new(),
            log: log::LevelFilter::Info,
            roots: "/etc/ssl/certs/ca-certificates.crt".into(),
            resolvers: Vec::new(),
            registration: Registration::Closed,
            web: Web::default(),
            upload: Upload {
                file_bytes: limits::UPLOAD_BYTES,
                day_bytes: limits::UPLOAD_DAY_BYTES,
                total_bytes: limits::UPLOAD_TOTAL_BYTES,
            },
            hosts: Hosts { pubsub: Some("pubsub".into()), rooms: Some("rooms".into()), upload: Some("upload".into()) },
            rooms: Rooms::default(),
            federation: Federation { enabled: true, allow: Vec::new(), block: Vec::new(), require_certificate: false },
            components: BTreeMap::new(),
            limits: Limits {
                stanza_bytes: limits::STANZA_BYTES_MAX,
                streams: limits::STREAMS_MAX,
                failures_per_address: 20,
                failures_per_account: 10,
                peer_rate: Rate { bytes: limits::PEER_BYTES_PER_S, stanzas: limits::PEER_STANZAS_PER_S },
                client_rate: Rate { bytes: limits::CLIENT_BYTES_PER_S, stanzas: limits::CLIENT_STANZAS_PER_S },
                offline_messages: limits::OFFLINE_PER_ACCOUNT_MAX,
                cache_bytes: limits::DATABASE_CACHE_BYTES,
            },
            retention: Retention {
                resume_s: 3_600,
                resume_push_s: 86_400,
                offline_days: 0,
                archive_days: limits::ARCHIVE_DAYS,
                archive_bytes: limits::ARCHIVE_BYTES,
                upload_days: limits::UPLOAD_DAYS,
                device_days: 365,
            },
        }
    }
}

impl Config {
    /// Where the web door of a domain is reached from outside, without a slash at its end; `None`: there is none.
    pub fn web_url(&self, domain: &str) -> Option<String> {
        if let Some(url) = &self.web.url {
            return Some(url.clone());
        }
        // Port 0 is whichever is free, which nobody outside can know.
        let port = self.listen.https.first().map(SocketAddr::port).filter(|port| *port > 0)?;
        let host = ascii_domain(domain);
        Some(if port == 443 { format!("https://{host}") } else { format!("https://{host}:{port}") })
    }

    /// Whether the web door answers for this host name, in lower case: a domain, or what `web.url` names.
    pub fn is_web_name(&self, name: &str) -> bool {
        let named = self.web.url.as_ref().is_some_and(|url| url_host(url) == name);
        named || self.domains.iter().any(|domain| domain == name || ascii_domain(domain) == name)
    }

    /// Whether a component's domain is shown beside this one of ours: it is below it, or below none and this is the first.
    pub fn is_beside(&self, component: &str, domain: &str) -> bool {
        let is_below = |domain: &str| component.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        match self.domains.iter().any(|domain| is_below(domain)) {
            true => is_below(domain),
            false => self.domains.first().is_some_and(|first| first == domain),
        }
    }

    /// Whether this prepared domain is served here.
    pub fn serves(&self, domain: &str) -> bool {
        self.domains.iter().any(|d| d == domain)
    }
}

/// The host name in a checked `web.url`.
fn url_host(url: &str) -> &str {
    let authority = url.trim_start_matches("https://");
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}
