//! The way in: socket, TLS, house. One task for each connection, one buffer for all.
//!
//! Invariants: bytes are read only when those before them were consumed, which is the back-pressure inward; plaintext
//! comes after `Secured`; nothing is delivered after the house closed the stream; bytes in clear after `<starttls/>`
//! are dropped (S6).

use std::{future::poll_fn, io, net::IpAddr, rc::Rc, task::Poll};

use smol::future::yield_now;

use super::{
    conn::{Channel, Socket},
    driver::{Core, Driver},
    tls::{Step, Tls},
};
use crate::{
    proto::websocket::Parting,
    router::event::{Event, Secured, StreamId},
};

/// Bytes read from a socket at once: two full TLS records.
const READ_BYTES: usize = 32 * 1024;
/// Reads from one connection before others have their turn.
const READS_PER_ROUND: usize = 4;

/// What becomes of a connection whose bytes were decrypted.
enum Fate<'b> {
    GoesOn,
    Ended,
    /// It speaks HTTP; these bytes stand behind the handshake.
    Web(&'b [u8], Secured),
}

/// How a read ended.
enum Heard {
    /// The socket is empty.
    Silence,
    /// There may be more; others first.
    More,
    /// The house wants no more for now.
    Paused,
    /// The connection is not ours any more.
    Gone,
}

impl Driver {
    /// The connection's task.
    pub(super) async fn read(self: Rc<Self>, id: StreamId, socket: Rc<Socket>) {
        loop {
            match self.hear(id, &socket) {
                Heard::Gone => return,
                Heard::More => yield_now().await,
                Heard::Paused => self.resumed(id).await,
                Heard::Silence => {
                    if poll_fn(|cx| socket.poll_readable(cx)).await.is_err() {
                        return self.lose(&mut self.core.borrow_mut(), id);
                    }
                }
            }
        }
    }

    /// Waits until the connection is not paused, or gone.
    pub(super) async fn resumed(&self, id: StreamId) {
        poll_fn(|cx| match self.core.borrow_mut().table.find(id) {
            Some(c) if c.paused => {
                c.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// Reads what is there, within a bound, and delivers it.
    fn hear(self: &Rc<Self>, id: StreamId, socket: &Socket) -> Heard {
        let mut inbox = self.inbox.take();
        inbox.resize(READ_BYTES, 0);
        let core = &mut *self.core.borrow_mut();
        let mut heard = Heard::More;
        for _ in 0..READS_PER_ROUND {
            match core.table.find(id) {
                None => heard = Heard::Gone,
                Some(c) if c.closing => heard = Heard::Gone,
                Some(c) if c.paused => heard = Heard::Paused,
                Some(_) => match socket.read(&mut inbox) {
                    Ok(0) => {
                        self.lose(core, id);
                        heard = Heard::Gone;
                    }
                    Ok(n) => {
                        self.received(core, id, &inbox[..n]);
                        if n == READ_BYTES {
                            continue;
                        }
                        // It was all there was, almost surely; if not, the reactor says so at once.
                        heard = Heard::Silence;
                        match core.table.find(id) {
                            Some(c) if c.paused => heard = Heard::Paused,
                            Some(c) if !c.closing => {}
                            _ => heard = Heard::Gone,
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => heard = Heard::Silence,
                    Err(e) => {
                        log::debug!("stream {id:?} broke: {e}");
                        self.lose(core, id);
                        heard = Heard::Gone;
                    }
                },
            }
            break;
        }
        self.inbox.set(inbox);
        heard
    }

    /// Bytes of the socket: in clear to the house, in TLS through it. A `Pause` among the turns stops the next read,
    /// not what this one has brought.
    pub(super) fn received(self: &Rc<Self>, core: &mut Core, id: StreamId, bytes: &[u8]) {
        let Some(connection) = core.table.find(id) else { return };
        match std::mem::replace(&mut connection.channel, Channel::Lent) {
            Channel::Clear => {
                connection.channel = Channel::Clear;
                if !self.hear_plain(core, id, bytes) {
                    self.lose(core, id);
                }
            }
            // In clear after <starttls/>: dropped (S6).
            other @ (Channel::Upgrading | Channel::Lent | Channel::Requests(_)) => connection.channel = other,
            Channel::Tls(mut tls) => {
                let address = connection.address;
                let fate = self.decrypt(core, id, &mut tls, bytes, address);
                let fate = match (fate, address) {
                    (Fate::Web(rest, secured), Some(address)) => {
                        return self.hand_over(core, id, tls, (rest, secured), address);
                    }
                    (fate, _) => fate,
                };
                let wants_push = tls.wants_push();
                let Some(connection) = core.table.find(id) else { return };
                connection.channel = Channel::Tls(tls);
                if wants_push {
                    core.touch_closing_too(id);
                    self.flusher.ring();
                }
                if matches!(fate, Fate::Ended) {
                    self.lose(core, id);
                }
            }
        }
    }

    /// Plaintext: the stream's bytes, or WebSocket messages that hold them. `false`: the connection is to end.
    pub(super) fn hear_plain(self: &Rc<Self>, core: &mut Core, id: StreamId, plain: &[u8]) -> bool {
        let Some(connection) = core.table.find(id) else { return true };
        let Some(mut frames) = connection.frames.take() else {
            self.deliver(core, Event::Received(id, plain));
            return true;
        };
        let mut stream = Vec::new();
        let outcome = frames.take_in(plain, &mut stream);
        let has_words = frames.has_words();
        connection.frames = Some(frames);
        if has_words {
            core.touch_closing_too(id);
            self.flusher.ring();
        }
        if !stream.is_empty() {
            self.deliver(core, Event::Received(id, &stream));
        }
        if let Err(Parting::Fault(what)) = outcome {
            log::debug!("stream {id:?} does not keep to WebSocket: {what}");
        }
        outcome.is_ok()
    }

    /// A connection to the direct TLS door turns out to be the web's (RFC 7301): no stream comes of it.
    fn hand_over(
        self: &Rc<Self>,
        core: &mut Core,
        id: StreamId,
        tls: Box<Tls>,
        (rest, secured): (&[u8], Secured),
        peer: IpAddr,
    ) {
        let Some(connection) = core.table.remove(id) else { return };
        core.queue.push_back(Event::Closed(id));
        self.flusher.ring();
        let (socket, seat) = connection.into_parts();
        // The driver's tables are in use until this read is over.
        let (driver, rest) = (self.clone(), rest.to_vec());
        self.spawn(async move { driver.adopt_web(socket, tls, (&rest, secured), peer, seat) });
    }

    fn decrypt<'b>(
        self: &Rc<Self>,
        core: &mut Core,
        id: StreamId,
        tls: &mut Tls,
        mut bytes: &'b [u8],
        address: Option<IpAddr>,
    ) -> Fate<'b> {
        let certificates = core.certificates.clone();
        loop {
            match tls.step(&mut bytes, &certificates) {
                Ok(Step::Hungry) => return Fate::GoesOn,
                Ok(Step::Closed) => return Fate::Ended,
                Ok(Step::Secured(secured)) if tls.speaks_http() => return Fate::Web(bytes, secured),
                Ok(Step::Secured(secured)) => self.deliver(core, Event::Secured(id, secured)),
                Ok(Step::Plain) => {
                    let plain = tls.plain();
                    let length = plain.len();
                    let goes_on = self.hear_plain(core, id, plain);
                    tls.consume(length);
                    if !goes_on {
                        return Fate::Ended;
                    }
                }
                Err(reason) => {
                    log::debug!("TLS with {address:?} ended: {reason}");
                    return Fate::Ended;
                }
            }
            // Nothing is delivered after the house closed the stream.
            if core.table.find(id).is_none_or(|c| c.closing) {
                return Fate::GoesOn;
            }
        }
    }
}
