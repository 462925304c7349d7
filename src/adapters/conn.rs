//! One connection: its socket, its TLS, what waits to be written. The driver decides when; this file knows how.
//!
//! Invariants: whatever waits is gathered into one buffer and leaves as one run of TLS records by one system call where
//! the socket takes it; what does not fit stays as shared chunks, not as a second copy; an idle connection holds no
//! buffer of ours.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Write},
    net::IpAddr,
    os::fd::OwnedFd,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rustix::net::{RecvFlags, Shutdown, sockopt};

use super::{
    http::Line,
    reactor::Source,
    table::Seat,
    tls::{Start, Tls},
};
use crate::{proto::websocket::Frames, router::event::Door, wire::stanza::Chunk};

/// Bytes gathered before they are encrypted and written: some TLS records, so that a large outbox is not copied whole.
const GATHER_BYTES: usize = 64 * 1024;
/// Bytes in clear that are thrown away before `<proceed/>`; who sent more is no client.
const CLEAR_DISCARD_MAX: usize = 64 * 1024;

/// Dead peers are the kernel's business, so that we need no timer. An idle peer is asked after five minutes (no more
/// often than phones ping by themselves), then every minute. `TCP_USER_TIMEOUT` ends the connection when nothing came
/// for seven minutes: two probes lost, or as long without an acknowledgement of what we sent. (Linux lets the user
/// timeout decide about keepalive as well; a shorter one would make one lost probe fatal.)
const KEEPALIVE_IDLE: Duration = Duration::from_secs(300);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEPALIVE_PROBES: u32 = 2;
const USER_TIMEOUT_MS: u32 = 420_000;

/// How a TCP connection of ours behaves; what a listener accepts behaves as the listener was told to (`tcp(7)`).
pub(super) fn set_manners(fd: &OwnedFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(fd, true)?;
    // These make things better; their absence (a strange kernel) is no reason to refuse a client.
    let _ = sockopt::set_socket_keepalive(fd, true);
    let _ = sockopt::set_tcp_keepidle(fd, KEEPALIVE_IDLE);
    let _ = sockopt::set_tcp_keepintvl(fd, KEEPALIVE_INTERVAL);
    let _ = sockopt::set_tcp_keepcnt(fd, KEEPALIVE_PROBES);
    let _ = sockopt::set_tcp_user_timeout(fd, USER_TIMEOUT_MS);
    Ok(())
}

/// A stream socket, TCP or Unix; none where a stream is carried by requests.
pub(super) struct Socket(Option<Source>);

impl Socket {
    /// Registers a socket that was accepted, or has begun to connect, and is non-blocking already.
    pub fn new(fd: OwnedFd) -> io::Result<Socket> {
        Ok(Socket(Some(Source::new(fd)?)))
    }

    fn fd(&self) -> io::Result<&Source> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// What went wrong while it waited, such as a connection that was refused.
    pub fn error(&self) -> io::Result<()> {
        Ok(sockopt::socket_error(self.fd()?)??)
    }

    /// Reads what is there; 0 is the end.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let fd = self.fd()?;
        loop {
            match rustix::net::recv(fd, &mut *buffer, RecvFlags::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                Err(e @ rustix::io::Errno::AGAIN) => {
                    fd.is_empty();
                    return Err(e.into());
                }
                other => return Ok(other?.0),
            }
        }
    }

    /// One task at a time may wait for it to be readable, after a read that did not fill its buffer.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fd()?.poll_readable(cx).map(Ok)
    }

    /// One task at a time may wait for it to be writable, after a write that would have blocked.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fd()?.poll_writable(cx).map(Ok)
    }

    /// Nothing more is written or read; whoever waits wakes up. The peer may be gone already.
    pub fn shut(&self) {
        let _ = self.fd().map(|fd| rustix::net::shutdown(fd, Shutdown::Both));
    }

    /// Nothing more is written.
    pub fn finish(&self) {
        let _ = self.fd().map(|fd| rustix::net::shutdown(fd, Shutdown::Write));
    }
}

impl Write for &Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(buffer)])
    }

    // The runtime ignores SIGPIPE, so a closed peer is an error here and nothing worse.
    fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = self.fd()?;
        loop {
            match rustix::io::writev(fd, buffers) {
                Err(rustix::io::Errno::INTR) => {}
                Err(e @ rustix::io::Errno::AGAIN) => {
                    fd.is_full();
                    return Err(e.into());
                }
                other => return Ok(other?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is spoken on the socket.
pub(super) enum Channel {
    /// Bytes as they are.
    Clear,
    /// `<proceed/>` is on its way out; bytes that come before it has left are in clear and dropped (S6).
    Upgrading,
    /// TLS, its handshake included.
    Tls(Box<Tls>),
    /// The driver has the TLS in its hands, within one call.
    Lent,
    /// Requests and answers, each over whatever connection it comes by.
    Requests(Rc<Line>),
}

/// Which TLS comes after STARTTLS.
enum Upgrade {
    /// The peer begins it.
    Accept(Start),
    /// We do.
    Dial(Box<Tls>),
}

/// How far a flush got.
#[derive(Debug)]
pub(super) enum Flushed {
    /// Everything is with the kernel.
    Done,
    /// The socket takes no more for now.
    Blocked,
    /// The socket is broken.
    Broken(io::Error),
}

/// One connection.
pub(super) struct Connection {
    pub socket: Rc<Socket>,
    pub channel: Channel,
    pub address: Option<IpAddr>,
    /// What follows `Upgrading`.
    upgrade: Upgrade,
    /// Not yet encrypted; bodies are shared with other outboxes.
    pending: VecDeque<Chunk>,
    pending_bytes: usize,
    /// Encrypted (or clear) and with rustls (or in `rest`), not yet all with the kernel.
    gathered_bytes: usize,
    rest: Vec<u8>,
    /// The reader's, while it is paused.
    pub reader: Option<Waker>,
    /// The stream is in WebSocket messages. Lent while they are read.
    pub frames: Option<Box<Frames>>,
    pub paused: bool,
    pub closing: bool,
    /// Goodbye is said.
    parted: bool,
    pub dirty: bool,
    pub stuck: bool,
    /// A task waits for the socket to take more.
    pub writing: bool,
    seat: Seat,
}

impl Connection {
    /// A connection that was accepted at this door.
    pub fn new(socket: Rc<Socket>, door: &Door, seat: Seat) -> Connection {
        let channel = match *door {
            Door::DirectTls(_) => Channel::Tls(Box::new(Tls::new(Start::Direct))),
            Door::PeerDirectTls(_) => Channel::Tls(Box::new(Tls::new(Start::PeerDirect))),
            _ => Channel::Clear,
        };
        Connection::over(socket, channel, door, seat)
    }

    /// A connection that we opened: with TLS that is established, or with what STARTTLS is to bring.
    pub fn dialed(socket: Rc<Socket>, tls: Box<Tls>, door: &Door, seat: Seat) -> Connection {
        if let Door::Dialed { tls: true, .. } = door {
            return Connection::over(socket, Channel::Tls(tls), door, seat);
        }
        let connection = Connection::over(socket, Channel::Clear, door, seat);
        Connection { upgrade: Upgrade::Dial(tls), ..connection }
    }

    /// A stream that is carried by requests.
    pub fn by_requests(line: Rc<Line>, door: &Door, seat: Seat) -> Connection {
        Connection::over(Rc::new(Socket(None)), Channel::Requests(line), door, seat)
    }

    /// What carries it, if that is no socket.
    pub fn line(&self) -> Option<&Rc<Line>> {
        if let Channel::Requests(line) = &self.channel { Some(line) } else { None }
    }

    /// A connection over a channel that was opened before.
    pub fn over(socket: Rc<Socket>, channel: Channel, door: &Door, seat: Seat) -> Connection {
        let (address, start, frames) = match *door {
            // A component never asks for TLS.
            Door::StartTls(address) | Door::DirectTls(address) | Door::Component(address) => {
                (Some(address), Start::Upgraded, None)
            }
            Door::PeerStartTls(address) | Door::PeerDirectTls(address) | Door::Dialed { address, .. } => {
                (Some(address), Start::PeerUpgraded, None)
            }
            Door::Bosh(address) => (Some(address), Start::Upgraded, None),
            Door::WebSocket(address) => (Some(address), Start::Upgraded, Some(Box::default())),
            Door::Local { .. } => (None, Start::Upgraded, None),
        };
        Connection {
            socket,
            channel,
            address,
            upgrade: Upgrade::Accept(start),
            pending: VecDeque::new(),
            pending_bytes: 0,
            gathered_bytes: 0,
            rest: Vec::new(),
            reader: None,
            frames,
            paused: false,
            closing: false,
            parted: false,
            dirty: false,
            stuck: false,
            writing: false,
            seat,
        }
    }

    /// Its socket and seat, when no stream comes of it.
    pub fn into_parts(self) -> (Rc<Socket>, Seat) {
        (self.socket, self.seat)
    }

    /// Appends to the outbox.
    pub fn append(&mut self, chunk: Chunk) {
        self.pending_bytes += chunk.len();
        self.pending.push_back(chunk);
    }

    /// Bytes of plaintext that wait, those that were encrypted and not all sent included.
    pub fn waiting(&self) -> usize {
        self.pending_bytes + self.gathered_bytes
    }

    /// Gives what waits to the requests that wait for it. What nobody has asked for yet stays here, but for last words.
    fn speak(&mut self, line: &Line, gather: &mut Vec<u8>) -> Flushed {
        if self.closing {
            while !self.pending.is_empty() {
                // It cannot fail: there is no socket.
                let _ = self.gather(gather);
            }
            line.close();
            return Flushed::Done;
        }
        line.settle();
        while !self.pending.is_empty() && line.unsaid() == 0 {
            let _ = self.gather(gather);
            line.settle();
        }
        self.gathered_bytes = line.unsaid();
        if self.gathered_bytes > 0 {
            return Flushed::Blocked;
        }
        self.pending = VecDeque::new();
        Flushed::Done
    }

    /// Writes as much as the socket takes. `gather` is the process's scratch buffer.
    pub fn flush(&mut self, gather: &mut Vec<u8>) -> Flushed {
        if let Some(line) = self.line().cloned() {
            return self.speak(&line, gather);
        }
        if matches!(self.channel, Channel::Upgrading)
            && let Err(e) = self.discard_clear()
        {
            return Flushed::Broken(e);
        }
        loop {
            // What TLS has to say for itself leaves together with what the house says.
            if self.gathered_bytes == 0
                && (!self.pending.is_empty() || self.frames.as_ref().is_some_and(|frames| frames.has_words()))
                && let Err(e) = self.gather(gather)
            {
                return Flushed::Broken(e);
            }
            if self.closing && self.pending.is_empty() {
                self.say_goodbye();
            }
            match self.push() {
                Ok(true) => self.gathered_bytes = 0,
                Ok(false) => return Flushed::Blocked,
                Err(e) => return Flushed::Broken(e),
            }
            if self.pending.is_empty() {
                // The buffer is given back: idle connections own none.
                self.pending = VecDeque::new();
                if !matches!(self.channel, Channel::Upgrading) {
                    return Flushed::Done;
                }
                match std::mem::replace(&mut self.upgrade, Upgrade::Accept(Start::PeerUpgraded)) {
                    Upgrade::Accept(start) => {
                        self.channel = Channel::Tls(Box::new(Tls::new(start)));
                        return Flushed::Done;
                    }
                    // Once more: the ClientHello is ours to say.
                    Upgrade::Dial(tls) => self.channel = Channel::Tls(tls),
                }
            }
        }
    }

    /// Takes some of what waits and encrypts it, or writes it at once where it is to go in clear.
    fn gather(&mut self, gather: &mut Vec<u8>) -> io::Result<()> {
        gather.clear();
        while gather.len() < GATHER_BYTES
            && let Some(chunk) = self.pending.pop_front()
        {
            self.pending_bytes -= chunk.len();
            match &mut self.frames {
                Some(frames) => {
                    let mut words = Vec::with_capacity(chunk.len());
                    chunk.write(&mut words);
                    frames.say(&words, gather);
                }
                None => chunk.write(gather),
            }
        }
        if let Some(frames) = &mut self.frames {
            gather.append(&mut frames.words());
        }
        self.gathered_bytes = gather.len();
        self.send(gather)
    }

    /// Encrypts, or writes at once what is to go in clear.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.channel {
            Channel::Tls(tls) => tls.write(bytes),
            Channel::Lent => {}
            Channel::Requests(line) => line.say(bytes),
            Channel::Clear | Channel::Upgrading => match (&*self.socket).write(bytes) {
                Ok(n) => self.rest.extend_from_slice(bytes.get(n..).unwrap_or_default()),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.rest.extend_from_slice(bytes),
                Err(e) => return Err(e),
            },
        }
        Ok(())
    }

    /// Writes what an earlier pass left. `false`: the socket takes no more.
    fn push(&mut self) -> io::Result<bool> {
        if let Channel::Tls(tls) = &mut self.channel {
            return tls.push(&mut &*self.socket);
        }
        if self.rest.is_empty() {
            return Ok(true);
        }
        match (&*self.socket).write(&self.rest) {
            Ok(n) if n == self.rest.len() => {
                self.rest = Vec::new();
                Ok(true)
            }
            Ok(n) => {
                self.rest.drain(..n);
                Ok(false)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Throws away what the peer sent in clear before it could have seen `<proceed/>` (RFC 6120 §5.4.2.3 lets TLS begin
    /// behind that; CVE-2011-0411 is what happens otherwise).
    fn discard_clear(&self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        let mut discarded = 0;
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => discarded += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            }
            if discarded > CLEAR_DISCARD_MAX {
                return Err(io::Error::other("too much in clear after <starttls/>"));
            }
        }
    }

    /// Says goodbye in WebSocket and TLS, once, to be written by the next push.
    fn say_goodbye(&mut self) {
        if std::mem::replace(&mut self.parted, true) {
            return;
        }
        if let Some(frames) = &mut self.frames {
            frames.close();
            let words = frames.words();
            // A socket that is broken is noticed by the push.
            let _ = self.send(&words);
        }
        if let Channel::Tls(tls) = &mut self.channel {
            tls.close();
        }
    }

    /// Ends it now: what waits is lost, whoever waits for the socket wakes up and finds the id stale. A goodbye or an
    /// alert is sent if the socket takes it at once.
    pub fn abandon(mut self) {
        self.say_goodbye();
        let _ = self.push();
        if let Some(line) = self.line() {
            line.break_off();
        }
        self.socket.shut();
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
