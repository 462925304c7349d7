//! Checks of settings against each other, when all are read.
//!
//! Invariant: what passes here can be served; a key whose value was refused is not blamed a second time.

use std::net::{IpAddr, SocketAddr};

use super::read::{Half, Reading, quoted};
use crate::limits;

/// Runs all checks.
pub(super) fn run(reading: &mut Reading) {
    domains(reading);
    hosts(reading);
    components(reading);
    certificates(reading);
    addresses(reading);
}

fn served(reading: &Reading, domain: &str) -> bool {
    reading.draft.config.serves(domain)
}

/// There is a domain, and the admins live on one of ours.
fn domains(reading: &mut Reading) {
    if !reading.sound(&["domain"]) {
        return;
    }
    if reading.draft.config.domains.is_empty() {
        return reading.refuse("domain", "found none; give at least one domain such as \"example.org\"");
    }
    for admin in reading.draft.config.admins.clone() {
        let domain = admin.split_once('@').map_or(admin.as_str(), |(_, domain)| domain);
        if reading.sound(&["admins"]) && !served(reading, domain) {
            let ours = reading.draft.config.domains.join(", ");
            let what =
                format!("found \"{admin}\", whose domain is not served; give accounts of {ours}, or add it to domain");
            reading.refuse("admins", &what);
        }
    }
}

/// No service's host name is a domain that is served.
fn hosts(reading: &mut Reading) {
    if !reading.sound(&["domain", "hosts.pubsub", "hosts.rooms", "hosts.upload"]) {
        return;
    }
    let hosts = reading.draft.config.hosts.clone();
    let names = [("hosts.pubsub", &hosts.pubsub), ("hosts.rooms", &hosts.rooms), ("hosts.upload", &hosts.upload)];
    for (at, (key, name)) in names.iter().enumerate() {
        let Some(name) = name else { continue };
        if let Some((other, _)) = names[..at].iter().find(|(_, other)| other.as_ref() == Some(name)) {
            let what = format!("found \"{name}\", which is the name of {other} as well; give another name");
            return reading.refuse(key, &what);
        }
        for domain in reading.draft.config.domains.clone() {
            let host = format!("{name}.{domain}");
            if served(reading, &host) {
                let what = format!("found \"{name}\", but {host} is a domain that is served; give another name");
                return reading.refuse(key, &what);
            }
        }
    }
}

/// Components have secrets, and domains that are nobody else's; no secret's stanzas go through a public network in clear.
fn components(reading: &mut Reading) {
    let config = reading.draft.config.clone();
    for (domain, component) in &config.components {
        let key = |last: &str| format!("components.{}.{last}", quoted(domain));
        let names = ["secret", "roster", "message", "iq", "presence", "delegate"].map(key);
        if component.secret.is_empty() && reading.sound(&[&names[0]]) {
            let given = names.iter().find(|name| reading.is_given(name)).unwrap_or(&names[0]).clone();
            reading.refuse(&given, &format!("found a component without a secret; give {} as well", names[0]));
        }
        let beside = |name: &Option<String>| {
            let name = name.as_deref().unwrap_or_default();
            config.domains.iter().any(|ours| domain.strip_suffix(ours.as_str()) == Some(&format!("{name}.")))
        };
        let hosts = [&config.hosts.pubsub, &config.hosts.rooms, &config.hosts.upload];
        if reading.sound(&["domain", "hosts.pubsub", "hosts.rooms", "hosts.upload"])
            && (served(reading, domain) || hosts.into_iter().any(beside))
        {
            let what = format!("found {domain}, which this server serves itself; give a component another domain");
            reading.refuse(&names[0], &what);
        }
        let before = config.components.range::<String, _>(..domain);
        for (other, ns) in before.flat_map(|(other, theirs)| theirs.delegate.keys().map(move |ns| (other, ns))) {
            if component.delegate.contains_key(ns) {
                let what = format!("found {ns}, which {other} answers already; give it to one of them");
                reading.refuse(&names[5], &what);
            }
        }
        if component.delegate.len() > limits::DELEGATED_NAMESPACES_MAX {
            let max = limits::DELEGATED_NAMESPACES_MAX;
            reading.refuse(&names[5], &format!("found {} namespaces; give {max} at most", component.delegate.len()));
        }
    }
    let public = config.listen.component.iter().find(|address| !is_private(address.ip().to_canonical()));
    if let (Some(address), false) = (public, config.components.is_empty()) {
        let what = format!(
            "found {address}; components speak without TLS, so give an address of this machine or of a private network"
        );
        reading.refuse("listen.component", &what);
    }
}

/// Loopback, RFC 1918, RFC 4193 and RFC 3927: nobody far away hears what is said there.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

/// Certificates have their keys, and their domains are served.
fn certificates(reading: &mut Reading) {
    let mut names = vec![("tls".to_owned(), None)];
    names.extend(
        reading
            .draft
            .certificates
            .keys()
            .map(|domain| (format!("certificates.{}", quoted(domain)), Some(domain.clone()))),
    );
    for (name, domain) in names {
        let (certificate, key) = (format!("{name}.certificate"), format!("{name}.key"));
        if !reading.sound(&[&certificate, &key]) {
            continue;
        }
        let half = match &domain {
            None => &reading.draft.tls,
            Some(domain) => &reading.draft.certificates[domain],
        };
        match half {
            Half { certificate: Some(_), key: None } => {
                reading.refuse(&certificate, &format!("found a certificate without its key; give {key} as well"));
            }
            Half { certificate: None, key: Some(_) } => {
                reading.refuse(&key, &format!("found a key without its certificate; give {certificate} as well"));
            }
            _ => {}
        }
        if let Some(domain) = domain.filter(|domain| reading.sound(&["domain"]) && !served(reading, domain)) {
            let part = if reading.draft.certificates[&domain].certificate.is_some() { certificate } else { key };
            let ours = reading.draft.config.domains.join(", ");
            let what = format!("found a domain that is not served; give one of {ours}, or add it to domain");
            reading.refuse(&part, &what);
        }
    }
}

/// No address is asked for twice: the second listener would not get it.
fn addresses(reading: &mut Reading) {
    let listen = reading.draft.config.listen.clone();
    let all: Vec<(&str, SocketAddr)> = (listen.c2s.iter().map(|address| ("listen.c2s", *address)))
        .chain(listen.c2s_tls.iter().map(|address| ("listen.c2s_tls", *address)))
        .chain(listen.s2s.iter().map(|address| ("listen.s2s", *address)))
        .chain(listen.s2s_tls.iter().map(|address| ("listen.s2s_tls", *address)))
        .chain(listen.https.iter().map(|address| ("listen.https", *address)))
        .chain(listen.http.iter().map(|address| ("listen.http", *address)))
        .chain(listen.component.iter().map(|address| ("listen.component", *address)))
        .collect();
    for (i, (key, address)) in all.iter().enumerate() {
        let clash = all[..i].iter().find(|(_, other)| overlap(*address, *other));
        if let Some((other_key, other)) = clash.filter(|(other, _)| reading.sound(&[key, other])) {
            let what = format!("found {address}, which {other_key} takes with {other}; give another address or port");
            reading.refuse(key, &what);
        }
    }
}

/// Whether two listeners would want the same: `[::]` takes every address of its port, `0.0.0.0` all of IPv4.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let takes = |a: IpAddr, b: IpAddr| a == b || (a.is_unspecified() && (a.is_ipv6() || b.is_ipv4()));
    let (one, other) = (a.ip().to_canonical(), b.ip().to_canonical());
    // Port 0 is whichever is free.
    a.port() == b.port() && a.port() != 0 && (takes(one, other) || takes(other, one))
}
