//! What may stand before a connection proper: a proxy's word whose it is, and TLS that is for somebody else.
//!
//! Source: the PROXY protocol; RFC 6066 §3; RFC 8737 §3. `proto/proxy.rs` and `proto/hello.rs` read it.
//!
//! Invariants (S3, S44): only connections from `listen.proxy_protocol` have such a header, and they must; a connection for a
//! name that is not ours goes to `listen.passthrough`, an authority's to `listen.acme`, byte for byte, and nothing of it is
//! kept; connections that are being looked at, and those that are handed through, are bounded in number, bytes and time.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    future::poll_fn,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use async_io::Timer;
use smol::future::{or, yield_now};

use super::{
    conn::Socket,
    dial::connect,
    driver::Driver,
    listen::Kind,
    table::{Refusal, Seat, Seats},
};
use crate::{
    config::Config,
    limits,
    proto::{
        hello::{self, Hello},
        proxy,
    },
    services,
};

/// Bytes read at once of a connection that is handed through.
const POUR_BYTES: usize = 16 * 1024;

/// What the settings say about it.
pub(super) struct Prefaces {
    config: RefCell<Rc<Config>>,
    /// Host names that are ours.
    names: RefCell<BTreeSet<String>>,
    seats: Rc<Seats>,
}

impl Default for Prefaces {
    fn default() -> Prefaces {
        let seats = Seats::new(limits::PREFACES_MAX, limits::PREFACES_PER_ADDRESS_MAX);
        Prefaces { config: RefCell::default(), names: RefCell::default(), seats }
    }
}

impl Prefaces {
    /// New settings.
    pub fn configure(&self, config: Rc<Config>) {
        let services = services::all();
        let mut names: BTreeSet<String> = config.domains.iter().cloned().collect();
        for domain in &config.domains {
            names.extend(services.iter().filter_map(|service| service.host(domain, &config)));
        }
        let ascii: Vec<String> = names.iter().map(|name| crate::wire::jid::ascii_domain(name)).collect();
        names.extend(ascii);
        *self.names.borrow_mut() = names;
        *self.config.borrow_mut() = config;
    }

    fn is_proxy(&self, from: IpAddr) -> bool {
        self.config.borrow().listen.proxy_protocol.iter().any(|network| network.contains(from))
    }

    /// Whether some connections at this door are for somebody else.
    fn divides(&self, kind: Kind) -> bool {
        let listen = &self.config.borrow().listen;
        kind.begins_with_tls() && (listen.passthrough.is_some() || listen.acme.is_some())
    }

    /// Who else such a connection is for. Names of others have their proofs made by others.
    fn upstream(&self, name: Option<&str>, is_acme: bool) -> Option<SocketAddr> {
        let listen = &self.config.borrow().listen;
        let others = listen.passthrough.filter(|_| name.is_some_and(|name| !self.is_ours(name)));
        others.or(listen.acme.filter(|_| is_acme))
    }

    fn is_ours(&self, name: &str) -> bool {
        self.names.borrow().contains(name) || self.config.borrow().is_web_name(name)
    }
}

/// What came of the first bytes.
enum First {
    /// The connection proper, whose it is, and what was read of it.
    Ours(IpAddr, Vec<u8>),
    /// It is for another server.
    Theirs(SocketAddr, Vec<u8>),
}

impl Driver {
    /// Takes an accepted connection in, or says why not; then it is closed.
    pub(super) fn receive(self: &Rc<Self>, kind: Kind, socket: Rc<Socket>, from: IpAddr) -> Result<(), Refusal> {
        let is_proxy = self.prefaces.is_proxy(from);
        if !is_proxy && !self.prefaces.divides(kind) {
            return self.arrive(kind, socket, from, &[]);
        }
        let seat = self.prefaces.seats.take(Some(from).filter(|_| !is_proxy))?;
        self.spawn(self.clone().look(kind, socket, from, is_proxy, seat));
        Ok(())
    }

    /// Looks at the first bytes and lets the connection go where it belongs.
    async fn look(self: Rc<Self>, kind: Kind, socket: Rc<Socket>, from: IpAddr, is_proxy: bool, seat: Seat) {
        let late = async {
            Timer::after(Duration::from_millis(limits::PREFACE_MS_MAX)).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        match or(self.first(kind, &socket, from, is_proxy), late).await {
            Ok(First::Ours(from, early)) => {
                drop(seat);
                if let Err(refusal) = self.arrive(kind, socket, from, &early) {
                    log::debug!("a connection of {from} is refused: {refusal:?}");
                }
            }
            Ok(First::Theirs(upstream, early)) => {
                if let Err(e) = hand_through(&socket, upstream, &early).await {
                    log::debug!("a connection that was handed through to {upstream} ended: {e}");
                }
                socket.shut();
                drop(seat);
            }
            Err(e) => log::debug!("a connection from {from} ended before it began: {e}"),
        }
    }

    async fn first(&self, kind: Kind, socket: &Socket, mut from: IpAddr, is_proxy: bool) -> io::Result<First> {
        let mut bytes = Vec::new();
        if is_proxy {
            let told = loop {
                match proxy::read(&bytes) {
                    Ok(Some(told)) => break told,
                    Ok(None) => more(socket, &mut bytes).await?,
                    Err(_) => return Err(io::Error::other("a proxy that does not say whose connection it is")),
                }
            };
            bytes.drain(..told.length);
            from = told.from.map_or(from, |told| told.to_canonical());
        }
        if !self.prefaces.divides(kind) {
            return Ok(First::Ours(from, bytes));
        }
        let upstream = loop {
            match hello::read(&bytes) {
                Hello::More => more(socket, &mut bytes).await?,
                Hello::For { name, is_acme } => break self.prefaces.upstream(name.as_deref(), is_acme),
                Hello::Other => break None,
            }
        };
        Ok(match upstream {
            Some(upstream) => First::Theirs(upstream, bytes),
            None => First::Ours(from, bytes),
        })
    }
}

/// Waits for more bytes.
async fn more(socket: &Socket, bytes: &mut Vec<u8>) -> io::Result<()> {
    let before = bytes.len();
    bytes.resize(before + 2 * 1024, 0);
    let read = loop {
        match socket.read(&mut bytes[before..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => poll_fn(|cx| socket.poll_readable(cx)).await?,
            other => break other?,
        }
    };
    bytes.truncate(before + read);
    Ok(())
}

/// Both ways, until both sides have said everything or one breaks.
async fn hand_through(socket: &Socket, upstream: SocketAddr, early: &[u8]) -> io::Result<()> {
    let late = async {
        Timer::after(Duration::from_millis(limits::PREFACE_MS_MAX)).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let other = or(connect(upstream), late).await?;
    write_all(&other, early).await?;
    let ways = smol::future::try_zip(pour(socket, &other), pour(&other, socket)).await;
    other.shut();
    ways.map(drop)
}

/// One way.
async fn pour(from: &Socket, to: &Socket) -> io::Result<()> {
    let mut buffer = vec![0; POUR_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => {
                to.finish();
                return Ok(());
            }
            Ok(read) => write_all(to, &buffer[..read]).await?,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => poll_fn(|cx| from.poll_readable(cx)).await?,
            Err(e) => return Err(e),
        }
        yield_now().await;
    }
}

async fn write_all(mut to: &Socket, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => poll_fn(|cx| to.poll_writable(cx)).await?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
