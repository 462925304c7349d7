//! The web door: HTTP/1.1 over TLS or, behind a reverse proxy, without.
//!
//! Source: RFC 9110, RFC 9112. The messages are hyper's business: it reads heads and bodies, keeps connections alive and
//! refuses what could be read in two ways. Ours are the socket and its TLS (`link.rs`), what becomes of a request
//! (`exchange.rs`), files (`files.rs`), and the bounds.
//!
//! Invariants: a connection costs one task and no thread; nothing waits without a bound (S3); what a request means is
//! decided by the house, and the bytes of files never enter it.

mod body;
mod bosh;
mod exchange;
mod files;
mod link;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    io,
    net::IpAddr,
    path::Path,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use async_io::Timer;
use hyper::{rt, server::conn::http1, service::service_fn};
use smol::{channel::Sender, future::or};

pub(super) use self::bosh::Line;
use self::{files::Files, link::Link};
use super::{
    conn::{Channel, Connection, Socket},
    driver::Driver,
    table::{Refusal, Seat, Seats},
    tls::{Start, Tls},
};
use crate::{
    config::Config,
    limits,
    proto::sasl::ChannelBinding,
    router::event::{Answer, Door, Event, FileId, RequestId, Secured},
};

/// What the driver keeps for the web door.
pub(super) struct Web {
    /// Requests that wait for the house.
    asked: RefCell<BTreeMap<RequestId, Sender<Answer>>>,
    last: Cell<u64>,
    seats: Rc<Seats>,
    files: RefCell<Option<Rc<Files>>>,
    config: RefCell<Rc<Config>>,
    lines: bosh::Lines,
    /// Milliseconds that a head may take.
    head_ms: Cell<u64>,
}

impl Default for Web {
    fn default() -> Web {
        Web {
            asked: RefCell::default(),
            last: Cell::new(0),
            seats: Seats::new(limits::HTTP_CONNECTIONS_MAX, limits::HTTP_CONNECTIONS_PER_ADDRESS_MAX),
            files: RefCell::default(),
            config: RefCell::default(),
            lines: bosh::Lines::default(),
            head_ms: Cell::new(limits::HTTP_HEAD_MS_MAX),
        }
    }
}

impl Web {
    /// New settings.
    pub fn configure(&self, config: Rc<Config>) {
        *self.config.borrow_mut() = config;
    }

    /// The house answers; whoever asked may be gone.
    pub fn answer(&self, id: RequestId, answer: Answer) {
        if let Some(asked) = self.asked.borrow().get(&id) {
            let _ = asked.try_send(answer);
        }
    }

    /// A stored file goes.
    pub fn discard(&self, file: FileId) -> Option<impl Future<Output = ()> + use<>> {
        let files = self.files.borrow().clone()?;
        Some(async move { files.discard(file).await })
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.config.borrow().web.proxies.iter().any(|network| network.contains(address))
    }
}

impl Driver {
    /// Opens the store of files in the data folder, and lets the house know what is in it.
    ///
    /// # Errors
    /// One line for the admin: the folder, and what the system said.
    pub fn open_web(self: &Rc<Self>, config: Rc<Config>, data: &Path) -> Result<(), String> {
        let files = Rc::new(Files::open(data)?);
        *self.web.files.borrow_mut() = Some(files.clone());
        self.web.configure(config);
        let driver = self.clone();
        self.spawn(async move {
            let found = files.list().await;
            for some in found.chunks(limits::FILES_FOUND_STEP) {
                driver.post(Event::Found(some.into()));
                smol::future::yield_now().await;
            }
        });
        Ok(())
    }

    /// Connections from now on have so many milliseconds for a head, instead of [`limits::HTTP_HEAD_MS_MAX`]: who tests the
    /// bound does not want to wait for it.
    pub fn bound_heads(&self, ms: u64) {
        self.web.head_ms.set(ms);
    }

    /// Takes an accepted socket in as a web connection, with what was read of it already, or says why not; then it is closed.
    pub(super) fn admit_web(
        self: &Rc<Self>,
        socket: Rc<Socket>,
        peer: IpAddr,
        is_tls: bool,
        early: &[u8],
    ) -> Result<(), Refusal> {
        let seat = self.web.seats.take(Some(peer).filter(|peer| !self.web.is_proxy(*peer)))?;
        let tls = is_tls.then(|| Box::new(Tls::new(Start::Web)));
        let mut link = Link::new(self.clone(), socket, tls);
        match link.take_in(early) {
            Ok(()) => self.spawn(self.clone().serve_web(link, peer, seat)),
            Err(e) => log::debug!("web connection from {peer} ended: {e}"),
        }
        Ok(())
    }

    /// A connection to the direct TLS door whose client wants to speak HTTP (RFC 7301). `rest` came behind the handshake.
    pub(super) fn adopt_web(
        self: &Rc<Self>,
        socket: Rc<Socket>,
        tls: Box<Tls>,
        (rest, secured): (&[u8], Secured),
        peer: IpAddr,
        seat: Seat,
    ) {
        let mut link = Link::new(self.clone(), socket, Some(tls));
        link.was_secured(secured);
        match link.take_in(rest) {
            Ok(()) => self.spawn(self.clone().serve_web(link, peer, seat)),
            Err(e) => log::debug!("web connection from {peer} ended: {e}"),
        }
    }

    /// The connection's task.
    async fn serve_web(self: Rc<Self>, link: Link, peer: IpAddr, seat: Seat) {
        let socket = link.socket();
        let turned = Rc::new(Cell::new(None));
        let (driver, turns, is_tls) = (self.clone(), turned.clone(), link.is_tls());
        // Boxed because a connection that turns into another one has to be movable.
        let service = service_fn(move |request| {
            Box::pin(exchange::exchange(driver.clone(), peer, is_tls, request, turns.clone()))
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(ReactorTimer)
            .header_read_timeout(Duration::from_millis(self.web.head_ms.get()))
            .max_headers(limits::HTTP_HEADERS_MAX)
            .max_buf_size(limits::HTTP_HEAD_BYTES_MAX);
        let mut connection = builder.serve_connection(link, service);
        let outcome = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
        let http1::Parts { io: mut link, read_buf, .. } = connection.into_parts();
        match outcome {
            Err(e) => log::debug!("web connection from {peer} ended: {e}"),
            Ok(()) => {
                if let Some(peer) = turned.get() {
                    return self.begin_stream(link, &read_buf, peer);
                }
                // A peer that does not take our goodbye has gone.
                let _ = poll_fn(|cx| rt::Write::poll_shutdown(Pin::new(&mut link), cx)).await;
            }
        }
        drop(link);
        // Closing a socket with unread bytes would destroy what the peer has not read yet.
        socket.finish();
        or(drain(&socket), later(limits::CLOSING_MS_MAX)).await;
        socket.shut();
        drop(seat);
    }

    /// A WebSocket was agreed upon: the connection is a stream from now on, RFC 7395.
    fn begin_stream(self: &Rc<Self>, link: Link, read: &[u8], peer: IpAddr) {
        let (socket, tls, secured, spare) = link.into_parts();
        let seat = match self.seats.take(Some(peer)) {
            Ok(seat) => seat,
            Err(refusal) => {
                log::debug!("no stream for {peer}: {refusal:?}");
                return socket.shut();
            }
        };
        let door = Door::WebSocket(peer);
        let channel = tls.map_or(Channel::Clear, Channel::Tls);
        let core = &mut *self.core.borrow_mut();
        let id = core.table.insert(Box::new(Connection::over(socket.clone(), channel, &door, seat)));
        core.peak = core.peak.max(core.table.len());
        self.deliver(core, Event::Opened(id, door));
        // No page can see the TLS under it, and with a proxy it is not ours: there is nothing to bind to. Some clients
        // (stanza.js) would choose a mechanism that binds nevertheless.
        let binding = ChannelBinding::default();
        self.deliver(core, Event::Secured(id, Secured { binding, ..secured.unwrap_or_default() }));
        let early = [read, &spare].concat();
        if !early.is_empty() && !self.hear_plain(core, id, &early) {
            return self.lose(core, id);
        }
        self.spawn(self.clone().read(id, socket));
    }

    /// Asks the house; `None`: it has not answered in time, which only a fault of ours can cause.
    async fn ask(
        &self,
        id: RequestId,
        event: Event<'static>,
        answers: &smol::channel::Receiver<Answer>,
    ) -> Option<Answer> {
        log::trace!("web request {id:?}");
        self.post(event);
        or(async { answers.recv().await.ok() }, async {
            later(limits::HTTP_ANSWER_MS_MAX).await;
            None
        })
        .await
    }
}

/// Reads and forgets, within the bound of a closing connection.
async fn drain(socket: &Socket) {
    let mut rest = [0; 4096];
    loop {
        match socket.read(&mut rest) {
            Ok(0) => return,
            Ok(_) => smol::future::yield_now().await,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if poll_fn(|cx| socket.poll_readable(cx)).await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

async fn later(ms: u64) {
    Timer::after(Duration::from_millis(ms)).await;
}

/// hyper's clock.
#[derive(Clone, Copy, Debug)]
struct ReactorTimer;

struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl rt::Sleep for Sleep {}

impl rt::Timer for ReactorTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(Timer::after(duration)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Sleep(Timer::at(deadline)))
    }
}
