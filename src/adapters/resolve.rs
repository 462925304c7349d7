//! Where the server of a domain is: RFC 6120 §3.2, XEP-0368 v1.1, RFC 2782.
//!
//! A stub resolver of our own, because the system's knows no SRV records and blocks: messages in `message.rs`, the
//! network in `ask.rs`, what this machine says itself in `machine.rs`, the order of SRV records in `order.rs`.
//!
//! Invariants: aliases, records, servers and the cache are bounded; what DNS says for sure is told apart from its
//! failures, since only the former may lead to a fallback; nothing here wakes up by itself.

mod ask;
mod machine;
mod message;
mod order;

use std::{
    cell::RefCell,
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use smol::future::zip;

use self::{
    machine::Resolving,
    message::{Answer, Found, Kind},
};
use super::clock::SystemEntropy;
use crate::{limits, router::event::Entropy};

/// What is looked for at a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Its server, for other servers.
    Server,
    /// The same for clients.
    Client,
}

impl Service {
    /// RFC 6120 §3.2.2.
    pub fn port(self) -> u16 {
        match self {
            Service::Server => 5269,
            Service::Client => 5222,
        }
    }

    /// The names of its SRV records: direct TLS (XEP-0368), STARTTLS (RFC 6120 §3.2.1).
    pub fn names(self) -> [&'static str; 2] {
        match self {
            Service::Server => ["_xmpps-server._tcp", "_xmpp-server._tcp"],
            Service::Client => ["_xmpps-client._tcp", "_xmpp-client._tcp"],
        }
    }
}

/// A place to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Host name in A-labels, or an address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS from the start, XEP-0368.
    pub direct: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// DNS says that there is none.
    NotThere,
    /// No resolver answered in time.
    Silent,
    /// The resolvers could not say; the words are for the log.
    Failed(String),
}

/// Asks where servers are, and remembers it for as long as DNS allows.
pub struct Resolver {
    /// None: as the machine says.
    how: Option<Resolving>,
    cache: RefCell<BTreeMap<(String, Kind), (Instant, Found)>>,
}

impl Resolver {
    /// Asks these resolvers; if there are none, those of `/etc/resolv.conf`.
    pub fn new(servers: Vec<SocketAddr>) -> Resolver {
        let how = Resolving { servers, ..Resolving::default() };
        Resolver { how: Some(how).filter(|how| !how.servers.is_empty()), cache: RefCell::default() }
    }

    /// Asks as it is told.
    #[cfg(test)]
    fn asking(how: Resolving) -> Resolver {
        Resolver { how: Some(how), cache: RefCell::default() }
    }

    fn how(&self) -> Resolving {
        self.how.clone().unwrap_or_else(machine::resolving)
    }

    /// The resolvers that are asked.
    pub fn servers(&self) -> Vec<SocketAddr> {
        self.how().servers
    }

    /// The places of a domain's server, in the order to be tried; there is at least one.
    ///
    /// # Errors
    /// There is no server, or DNS cannot say.
    pub async fn hops(&self, domain: &str) -> Result<Vec<Hop>, NoAnswer> {
        self.hops_of(Service::Server, domain).await
    }

    /// The same for any service.
    ///
    /// # Errors
    /// There is none, or DNS cannot say.
    pub async fn hops_of(&self, service: Service, domain: &str) -> Result<Vec<Hop>, NoAnswer> {
        let fallback = |domain| Ok(vec![Hop { host: domain, port: service.port(), direct: false }]);
        let domain = domain.trim_end_matches('.').to_ascii_lowercase();
        if literal(&domain).is_some() {
            return fallback(domain);
        }
        let [direct, plain] = service.names().map(|name| format!("{name}.{domain}"));
        let (direct, plain) = zip(self.records(&direct), self.records(&plain)).await;
        let usable = |found: &Result<Vec<message::Service>, NoAnswer>| {
            found.as_ref().is_ok_and(|services| services.iter().any(|service| !service.host.is_empty()))
        };
        if !usable(&plain) && !usable(&direct) {
            // RFC 6120 §3.2.1, rule 3: "." is a decided no. Without SRV records, §3.2.2: the domain itself.
            let (plain, _) = (plain?, direct?);
            return if plain.is_empty() { fallback(domain) } else { Err(NoAnswer::NotThere) };
        }
        // One of the two is enough, whatever became of the other.
        Ok(order::order(plain.unwrap_or_default(), direct.unwrap_or_default(), draw))
    }

    /// The addresses of a host; there is at least one.
    ///
    /// # Errors
    /// It has none, or DNS cannot say.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NoAnswer> {
        if let Some(address) = literal(host) {
            return Ok(vec![address]);
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let local = machine::hosts(&host);
        if !local.is_empty() {
            return Ok(local);
        }
        let six = async {
            match self.how().no_aaaa {
                true => Ok(Found::Addresses(Vec::new())),
                false => self.look_up(&host, Kind::Aaaa).await,
            }
        };
        let (six, four) = zip(six, self.look_up(&host, Kind::A)).await;
        let addresses = |found: &Result<Found, NoAnswer>| match found {
            Ok(Found::Addresses(addresses)) => addresses.clone(),
            _ => Vec::new(),
        };
        let all = [addresses(&six), addresses(&four)].concat();
        if !all.is_empty() {
            return Ok(all);
        }
        // One that failed may have had some.
        six.and(four).and(Err(NoAnswer::NotThere))
    }

    async fn records(&self, name: &str) -> Result<Vec<message::Service>, NoAnswer> {
        Ok(match self.look_up(name, Kind::Srv).await? {
            Found::Services(services) => services,
            _ => Vec::new(),
        })
    }

    /// Follows aliases that the answers leave open.
    async fn look_up(&self, name: &str, kind: Kind) -> Result<Found, NoAnswer> {
        let mut name = name.to_owned();
        for _ in 0..limits::DNS_ALIASES_MAX {
            let found = match self.remembered(&name, kind) {
                Some(found) => found,
                None => {
                    let how = self.how();
                    let last = how.servers.len().saturating_sub(1) as u64;
                    let first = if how.rotates { draw(last) as usize } else { 0 };
                    let answer = ask::ask(&how, first, &name, kind).await?;
                    self.remember(&name, kind, &answer);
                    answer.found
                }
            };
            match found {
                Found::Alias(target) => name = target,
                found => return Ok(found),
            }
        }
        Err(NoAnswer::Failed(format!("{name}: aliases without end")))
    }

    fn remembered(&self, name: &str, kind: Kind) -> Option<Found> {
        let cache = self.cache.borrow();
        let (until, found) = cache.get(&(name.to_owned(), kind))?;
        (*until > Instant::now()).then(|| found.clone())
    }

    /// Bounded: what is over goes, and if that is not enough, what is over first.
    fn remember(&self, name: &str, kind: Kind, answer: &Answer) {
        if answer.ttl_s == 0 {
            return;
        }
        let now = Instant::now();
        let cache = &mut *self.cache.borrow_mut();
        if cache.len() >= limits::DNS_CACHE_MAX {
            cache.retain(|_, (until, _)| *until > now);
        }
        if cache.len() >= limits::DNS_CACHE_MAX
            && let Some(first) = cache.iter().min_by_key(|(_, (until, _))| *until).map(|(key, _)| key.clone())
        {
            cache.remove(&first);
        }
        let until = now + Duration::from_secs(answer.ttl_s.into());
        cache.insert((name.to_owned(), kind), (until, answer.found.clone()));
    }
}

/// `192.0.2.1`, `2001:db8::1` or `[2001:db8::1]`.
fn literal(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.parse().ok()
}

/// A random number up to and including `most`.
fn draw(most: u64) -> u64 {
    let mut bytes = [0; 8];
    SystemEntropy::default().fill(&mut bytes);
    u64::from_be_bytes(bytes) % most.saturating_add(1)
}

#[cfg(test)]
mod tests;
