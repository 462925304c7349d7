//! Looks at a server from outside, as other servers and clients would find it: for `lampone doctor`.
//!
//! Source: RFC 6120 §3.2 and §5, XEP-0368 v1.1. Everything is asked anew and nothing is sent but greetings. Invariants:
//! every place is tried, unlike in a dial, so that one that works does not hide one that does not; each step ends in
//! `PROBE_MS_MAX`, and what a server says is read up to `PROBE_BYTES_MAX`.

use std::{
    fs,
    future::{Future, poll_fn},
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    os::unix::fs::DirBuilderExt,
    time::Duration,
};

use async_io::Timer;
use smol::future::or;

use super::{
    conn::Socket,
    dial::{connect, shake},
    reactor,
    resolve::{Hop, NoAnswer, Resolver},
    tls::{Certificates, CipherOrder, Tls},
};
use crate::{
    config::Config,
    limits,
    router::event::{PeerCertificate, Target},
    wire::jid,
};

pub use super::resolve::Service;

/// An address, and the certificate of who is there.
pub type Shown = (IpAddr, Result<PeerCertificate, Fault>);

/// One place of a server, and how it is there.
#[derive(Debug)]
pub struct Place {
    /// Where DNS says it is.
    pub hop: Hop,
    /// Each address with what it showed, or what went wrong.
    pub addresses: Result<Vec<Shown>, NoAnswer>,
}

/// At which step a place failed; the words are the other side's or the system's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No TCP connection.
    Closed(String),
    /// It speaks, but offers no TLS.
    NoTls(String),
    /// TLS failed.
    Tls(String),
    /// It shows no certificate.
    NoCertificate,
}

/// What is shown to those who are visited: the certificate of the first domain if the settings name one, else one made for
/// the occasion, so that nothing is written where the server keeps its own.
///
/// # Errors
/// One line for the admin.
pub fn certificates(config: &Config) -> Result<Certificates, String> {
    let alone = Config { domains: config.domains.iter().take(1).cloned().collect(), ..config.clone() };
    if config.tls.is_some() || alone.domains.iter().any(|own| config.certificates.contains_key(own)) {
        return Certificates::load(&alone, None, CipherOrder::default());
    }
    let folder = std::env::temp_dir().join(format!("lampone-doctor-{}", std::process::id()));
    let told = |e: io::Error| format!("{}: cannot be made: {e}", folder.display());
    // Ours alone: it fails if somebody else made it.
    fs::DirBuilder::new().mode(0o700).create(&folder).map_err(told)?;
    let made = Certificates::load(&Config { data: folder.clone(), ..alone }, None, CipherOrder::default());
    fs::remove_dir_all(&folder).map_err(told)?;
    made
}

/// What there is for a service of a domain.
///
/// # Errors
/// DNS knows none, or cannot say.
pub fn look(
    config: &Config,
    certificates: &Certificates,
    service: Service,
    target: &Target,
) -> Result<Vec<Place>, NoAnswer> {
    let looking = async {
        let resolver = Resolver::new(config.resolvers.clone());
        let mut places = Vec::new();
        for hop in resolver.hops_of(service, &target.domain).await? {
            let addresses = match resolver.addresses(&hop.host).await {
                Err(none) => Err(none),
                Ok(addresses) => {
                    let mut shown = Vec::new();
                    for address in addresses.into_iter().take(limits::DIAL_ADDRESSES_MAX) {
                        let to = SocketAddr::new(address, hop.port);
                        shown.push((address, greeted(to, hop.direct, service, target, certificates).await));
                    }
                    Ok(shown)
                }
            };
            places.push(Place { hop, addresses });
        }
        Ok(places)
    };
    reactor::block_on(looking).unwrap_or_else(|e| Err(NoAnswer::Failed(e.to_string())))
}

/// An address of a host.
///
/// # Errors
/// It has none, or DNS cannot say.
pub fn address(host: &str) -> Result<IpAddr, NoAnswer> {
    let addresses = async_io::block_on(Resolver::new(Vec::new()).addresses(host))?;
    // Many a home has IPv6 in DNS and not on the cable.
    let four = addresses.iter().find(|address| address.is_ipv4());
    four.or(addresses.first()).copied().ok_or(NoAnswer::NotThere)
}

async fn greeted(
    to: SocketAddr,
    direct: bool,
    service: Service,
    target: &Target,
    certificates: &Certificates,
) -> Result<PeerCertificate, Fault> {
    let socket = in_time(connect(to)).await.map_err(|e| Fault::Closed(e.to_string()))?;
    if !direct {
        in_time(starttls(&socket, service, target)).await.map_err(|e| Fault::NoTls(e.to_string()))?;
    }
    // The name of the protocol is for doors of servers; a client's says another, or none.
    let mut tls = Tls::dial(target, direct && service == Service::Server, certificates).map_err(Fault::Tls)?;
    let shaken = async { Ok(shake(&socket, &mut tls, certificates).await) };
    let (secured, _) = in_time(shaken).await.map_err(|e| Fault::Tls(e.to_string()))?.map_err(Fault::Tls)?;
    secured.peer.map(|shown| *shown).ok_or(Fault::NoCertificate)
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = async {
        Timer::after(Duration::from_millis(limits::PROBE_MS_MAX)).await;
        Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
    };
    or(step, late).await
}

/// RFC 6120 §5.4, up to `<proceed/>`.
async fn starttls(socket: &Socket, service: Service, target: &Target) -> io::Result<()> {
    let (content, from) = match service {
        // No server talks to itself: who looks at the own one comes as nobody.
        Service::Server if target.from != target.domain => ("jabber:server", format!(" from='{}'", target.from)),
        Service::Server => ("jabber:server", String::new()),
        Service::Client => ("jabber:client", String::new()),
    };
    // In addresses, and so here, domains are in U-labels (RFC 7622 §3.2).
    let to = jid::prepare_domain(&target.domain).unwrap_or((&target.domain).into());
    let header = format!(
        "<?xml version='1.0'?><stream:stream xmlns='{content}' xmlns:stream='http://etherx.jabber.org/streams' \
         to='{to}'{from} version='1.0'>"
    );
    say(socket, header.as_bytes()).await?;
    if !hear(socket, &["</stream:features>", "<stream:features/>"]).await?.contains("urn:ietf:params:xml:ns:xmpp-tls") {
        return Err(io::Error::other("it offers no STARTTLS"));
    }
    say(socket, b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
    hear(socket, &["<proceed"]).await.map(drop)
}

async fn say(socket: &Socket, mut bytes: &[u8]) -> io::Result<()> {
    let mut socket = socket;
    while !bytes.is_empty() {
        match socket.write(bytes) {
            Ok(length) => bytes = bytes.get(length..).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => poll_fn(|cx| socket.poll_writable(cx)).await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// What is said until one of these words.
async fn hear(socket: &Socket, words: &[&str]) -> io::Result<String> {
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("it closed the connection")),
            Ok(length) => said.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => poll_fn(|cx| socket.poll_readable(cx)).await?,
            Err(e) => return Err(e),
        }
        let text = String::from_utf8_lossy(&said);
        if words.iter().any(|word| text.contains(word)) && text.trim_end().ends_with('>') {
            return Ok(text.into_owned());
        }
        if text.contains("</stream:stream>") || said.len() > limits::PROBE_BYTES_MAX {
            return Err(io::Error::other("it is no XMPP server for this domain"));
        }
    }
}
