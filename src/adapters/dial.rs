//! The way to other servers: which addresses, in which order, and the first that takes us.
//!
//! Source: RFC 6120 §3.2, XEP-0368 v1.1, RFC 8305. A target's hops come from the resolver in the order to be tried; the
//! addresses of one hop race, each a little after the one before. Where a hop begins with TLS, it has taken us when its
//! handshake is complete, so a server that fails there is passed over as one that is silent (XEP-0368, rule 2).
//!
//! Invariants: every dial is answered once, within `DIAL_MS_MAX` of its turn; no more than `DIALS_MAX` run at once; the
//! house hears of a connection when it can be used, not before.

use std::{
    cell::RefCell,
    fmt::Display,
    future::{Future, pending, poll_fn},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use async_io::Timer;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType},
};
use smol::{future::or, lock::Semaphore};

use super::{
    conn::{Connection, Socket, set_manners},
    driver::Driver,
    resolve::{Hop, NoAnswer, Resolver},
    tls::{Certificates, Step, Tls},
};
use crate::{
    config::Config,
    limits,
    router::event::{DialError, Door, Event, QueryId, Secured, Target},
};

/// RFC 8305 §5: how long an address is ahead of the next.
const STAGGER: Duration = Duration::from_millis(250);
/// Bytes read at once in a handshake: a chain of certificates.
const HANDSHAKE_BYTES: usize = 8 * 1024;

/// What the driver keeps for the way out.
pub(super) struct Outside {
    resolver: RefCell<Rc<Resolver>>,
    places: Rc<Semaphore>,
}

impl Default for Outside {
    fn default() -> Outside {
        let resolver = RefCell::new(Rc::new(Resolver::new(Vec::new())));
        Outside { resolver, places: Rc::new(Semaphore::new(limits::DIALS_MAX)) }
    }
}

impl Outside {
    /// New settings; what was learned from DNS is forgotten.
    pub fn configure(&self, config: &Config) {
        *self.resolver.borrow_mut() = Rc::new(Resolver::new(config.resolvers.clone()));
    }
}

/// A server that took us.
struct Reached {
    socket: Socket,
    address: IpAddr,
    tls: Box<Tls>,
    /// Where TLS came first: what it has shown, and what came right behind.
    secured: Option<(Secured, Vec<u8>)>,
}

/// One attempt among several.
type Runner<'r, T> = Pin<Box<dyn Future<Output = T> + 'r>>;

/// What a dial is about.
struct Errand {
    target: Target,
    certificates: Rc<Certificates>,
}

impl Driver {
    /// Connects to another server and lets the house know.
    pub(super) async fn dial(self: Rc<Self>, query: QueryId, target: Target) {
        let places = self.outside.places.clone();
        let _place = places.acquire().await;
        let errand = Errand { target, certificates: self.certificates() };
        let resolver = self.outside.resolver.borrow().clone();
        let late = async {
            Timer::after(Duration::from_millis(limits::DIAL_MS_MAX)).await;
            Err(DialError::Timeout)
        };
        let outcome = or(errand.run(&resolver), late).await;
        if let Err(error) = outcome.and_then(|reached| self.take_dialed(query, reached)) {
            log::debug!("{} was not reached: {error:?}", errand.target.domain);
            self.post(Event::DialFailed(query, error));
        }
    }

    /// The connection becomes a stream.
    fn take_dialed(self: &Rc<Self>, query: QueryId, reached: Reached) -> Result<(), DialError> {
        let Reached { socket, address, tls, secured } = reached;
        // One machine may be the server of many domains: the total is the bound, not the address.
        let seat = self.seats.take(None).map_err(|_| DialError::Unreachable("limits.streams is reached".into()))?;
        let door = Door::Dialed { query, address, tls: secured.is_some() };
        let connection = Connection::dialed(Rc::new(socket), tls, &door, seat);
        let core = &mut *self.core.borrow_mut();
        let id = self.open(core, connection, door);
        if let Some((secured, rest)) = secured {
            // The end of our handshake waits to be sent.
            core.touch_closing_too(id);
            if core.table.find(id).is_some_and(|c| !c.closing) {
                self.deliver(core, Event::Secured(id, secured));
                self.received(core, id, &rest);
            }
            self.flusher.ring();
        }
        Ok(())
    }
}

impl Errand {
    /// Hop by hop. The error is that of the last.
    async fn run(&self, resolver: &Resolver) -> Result<Reached, DialError> {
        let mut error = DialError::NotFound;
        for hop in resolver.hops(&self.target.domain).await? {
            let addresses = match resolver.addresses(&hop.host).await {
                Ok(addresses) => addresses,
                Err(failed) => {
                    error = failed.into();
                    continue;
                }
            };
            let late = async {
                Timer::after(Duration::from_millis(limits::DIAL_HOP_MS_MAX)).await;
                Err(DialError::Timeout)
            };
            match or(self.race(&hop, addresses), late).await {
                Ok(reached) => return Ok(reached),
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    /// The first address of a hop that takes us (RFC 8305 §5).
    async fn race(&self, hop: &Hop, addresses: Vec<IpAddr>) -> Result<Reached, DialError> {
        let mut waiting = interleaved(addresses).into_iter().peekable();
        let mut runners: Vec<Runner<'_, Result<Reached, DialError>>> = Vec::new();
        let mut error = DialError::NotFound;
        loop {
            if let Some(address) = waiting.next() {
                runners.push(Box::pin(self.attempt(SocketAddr::new(address, hop.port), hop.direct)));
            } else if runners.is_empty() {
                return Err(error);
            }
            let more = waiting.peek().is_some();
            let stagger = async {
                if !more {
                    return pending().await;
                }
                Timer::after(STAGGER).await;
                None
            };
            match or(async { Some(first(&mut runners).await) }, stagger).await {
                Some(Ok(reached)) => return Ok(reached),
                Some(Err(failed)) => error = failed,
                None => {}
            }
        }
    }

    async fn attempt(&self, to: SocketAddr, direct: bool) -> Result<Reached, DialError> {
        let tls = Tls::dial(&self.target, direct, &self.certificates).map_err(DialError::Tls)?;
        let mut tls = Box::new(tls);
        let socket = connect(to).await.map_err(|e| unreachable(to, e))?;
        let secured = match direct {
            false => None,
            true => match shake(&socket, &mut tls, &self.certificates).await {
                Ok(secured) => Some(secured),
                Err(reason) => {
                    // The alert, if the socket takes it at once.
                    let _ = tls.push(&mut &socket);
                    return Err(DialError::Tls(format!("{to}: {reason}")));
                }
            },
        };
        Ok(Reached { socket, address: to.ip(), tls, secured })
    }
}

impl From<NoAnswer> for DialError {
    fn from(none: NoAnswer) -> DialError {
        match none {
            NoAnswer::NotThere => DialError::NotFound,
            NoAnswer::Silent => DialError::Timeout,
            NoAnswer::Failed(words) => DialError::Unreachable(words),
        }
    }
}

fn unreachable(to: SocketAddr, error: impl Display) -> DialError {
    DialError::Unreachable(format!("{to}: {error}"))
}

/// IPv6 and IPv4 in turn, IPv6 first (RFC 8305 §4); bounded.
fn interleaved(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut order = Vec::new();
    while order.len() < limits::DIAL_ADDRESSES_MAX {
        let before = order.len();
        order.extend(six.next());
        order.extend(four.next());
        if order.len() == before {
            break;
        }
    }
    order
}

/// Waits until one of them ends, and takes it out.
async fn first<T>(runners: &mut Vec<Runner<'_, T>>) -> T {
    poll_fn(|cx| {
        for index in 0..runners.len() {
            if let Poll::Ready(outcome) = runners[index].as_mut().poll(cx) {
                drop(runners.swap_remove(index));
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    })
    .await
}

/// A TCP connection.
pub(super) async fn connect(to: SocketAddr) -> io::Result<Socket> {
    let family = if to.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&fd, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(e) => return Err(e.into()),
    }
    set_manners(&fd)?;
    let socket = Socket::new(fd)?;
    poll_fn(|cx| socket.poll_writable(cx)).await?;
    socket.error()?;
    Ok(socket)
}

/// The handshake of a connection that begins with TLS, and what came behind it.
pub(super) async fn shake(
    socket: &Socket,
    tls: &mut Tls,
    certificates: &Certificates,
) -> Result<(Secured, Vec<u8>), String> {
    let broken = |e: io::Error| e.to_string();
    let mut buffer = vec![0; HANDSHAKE_BYTES];
    loop {
        while !tls.push(&mut &*socket).map_err(broken)? {
            poll_fn(|cx| socket.poll_writable(cx)).await.map_err(broken)?;
        }
        let length = loop {
            match socket.read(&mut buffer) {
                Ok(0) => return Err("closed in the handshake".into()),
                Ok(length) => break length,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|cx| socket.poll_readable(cx)).await.map_err(broken)?;
                }
                Err(e) => return Err(e.to_string()),
            }
        };
        let mut feed = buffer.get(..length).unwrap_or_default();
        match tls.step(&mut feed, certificates)? {
            Step::Secured(secured) => return Ok((secured, feed.to_vec())),
            Step::Hungry => {}
            Step::Plain | Step::Closed => return Err("closed in the handshake".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::TcpListener, thread};

    use super::*;
    use crate::{
        adapters::tls::CipherOrder,
        proto::hello::{self, Hello},
    };

    #[test]
    fn s24_tls_asks_for_the_domain_whatever_host_dns_led_to() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let hop =
            Hop { host: "xmpp.hosting.example".into(), port: listener.local_addr().unwrap().port(), direct: true };
        let asked = thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let (mut bytes, mut buffer) = (Vec::new(), [0; 4_096]);
            loop {
                let length = socket.read(&mut buffer).unwrap();
                bytes.extend_from_slice(&buffer[..length]);
                match hello::read(&bytes) {
                    Hello::More if length > 0 => {}
                    Hello::For { name, .. } => return name,
                    _ => return None,
                }
            }
        });
        let data = std::env::temp_dir().join(format!("lampone-dial-{}", std::process::id()));
        let config = Config { domains: vec!["capulet.example".into()], data: data.clone(), ..Config::default() };
        std::fs::create_dir_all(&data).unwrap();
        let certificates = Rc::new(Certificates::load(&config, None, CipherOrder::default()).unwrap());
        let target = Target { domain: "montague.example".into(), from: "capulet.example".into() };
        let errand = Errand { target, certificates };
        let outcome =
            crate::adapters::reactor::block_on(errand.race(&hop, vec!["127.0.0.1".parse().unwrap()])).unwrap();
        std::fs::remove_dir_all(&data).unwrap();
        assert!(matches!(outcome, Err(DialError::Tls(_))), "it closes after the first message");
        assert_eq!(asked.join().unwrap().as_deref(), Some("montague.example"));
    }

    #[test]
    fn families_take_turns_and_ipv6_begins() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let order = interleaved(["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"].map(ip).to_vec());
        assert_eq!(order, ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"].map(ip));
        assert_eq!(interleaved(vec![ip("192.0.2.1"); 100]).len(), limits::DIAL_ADDRESSES_MAX);
    }
}
