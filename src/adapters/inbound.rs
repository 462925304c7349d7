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
use crate::router::event::{Event, StreamId};

/// Bytes read from a socket at once: two full TLS records.
const READ_BYTES: usize = 32 * 1024;
/// Reads from one connection before others have their turn.
const READS_PER_ROUND: usize = 4;

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
    async fn resumed(&self, id: StreamId) {
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
    fn received(self: &Rc<Self>, core: &mut Core, id: StreamId, bytes: &[u8]) {
        let Some(connection) = core.table.find(id) else { return };
        match std::mem::replace(&mut connection.channel, Channel::Lent) {
            Channel::Clear => {
                connection.channel = Channel::Clear;
                self.deliver(core, Event::Received(id, bytes));
            }
            // In clear after <starttls/>: dropped (S6).
            other @ (Channel::Upgrading | Channel::Lent) => connection.channel = other,
            Channel::Tls(mut tls) => {
                let address = connection.address;
                let lives = self.decrypt(core, id, &mut tls, bytes, address);
                let wants_push = tls.wants_push();
                let Some(connection) = core.table.find(id) else { return };
                connection.channel = Channel::Tls(tls);
                if wants_push {
                    core.touch_closing_too(id);
                    self.flusher.ring();
                }
                if !lives {
                    self.lose(core, id);
                }
            }
        }
    }

    /// Whether the connection goes on.
    fn decrypt(
        self: &Rc<Self>,
        core: &mut Core,
        id: StreamId,
        tls: &mut Tls,
        mut bytes: &[u8],
        address: Option<IpAddr>,
    ) -> bool {
        let certificates = core.certificates.clone();
        loop {
            match tls.step(&mut bytes, &certificates) {
                Ok(Step::Hungry) => return true,
                Ok(Step::Closed) => return false,
                Ok(Step::Secured(secured)) => self.deliver(core, Event::Secured(id, secured)),
                Ok(Step::Plain) => {
                    let plain = tls.plain();
                    let length = plain.len();
                    self.deliver(core, Event::Received(id, plain));
                    tls.consume(length);
                }
                Err(reason) => {
                    log::debug!("TLS with {address:?} ended: {reason}");
                    return false;
                }
            }
            // Nothing is delivered after the house closed the stream.
            if core.table.find(id).is_none_or(|c| c.closing) {
                return true;
            }
        }
    }
}
