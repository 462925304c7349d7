//! The bytes of a web connection: socket and TLS, as hyper reads and writes them.
//!
//! Invariants: what is read goes straight to where hyper wants it; what does not fit is kept, one read's worth at most;
//! nothing more is encrypted while the socket takes none; a peer that takes nothing for `HTTP_STALL_MS_MAX` is left.

use std::{
    future::Future,
    io::{self, Write},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use async_io::Timer;
use hyper::rt;

use crate::{
    adapters::{
        conn::Socket,
        driver::Driver,
        tls::{Step, Tls},
    },
    limits,
    router::event::Secured,
};

/// Bytes read from a socket at once: two full TLS records.
const READ_BYTES: usize = 32 * 1024;
/// Bytes encrypted at once.
const WRITE_BYTES: usize = 64 * 1024;

/// One connection.
pub(super) struct Link {
    driver: Rc<Driver>,
    socket: Rc<Socket>,
    tls: Option<Box<Tls>>,
    /// Plaintext that hyper had no room for, and how much of it was taken.
    spare: Vec<u8>,
    spare_taken: usize,
    /// What the handshake told, for a stream in WebSocket messages.
    secured: Option<Secured>,
    /// The peer has said everything.
    is_over: bool,
    /// Runs while the socket takes nothing.
    stalled: Option<Timer>,
}

impl Link {
    pub fn new(driver: Rc<Driver>, socket: Rc<Socket>, tls: Option<Box<Tls>>) -> Link {
        Link { driver, socket, tls, spare: Vec::new(), spare_taken: 0, secured: None, is_over: false, stalled: None }
    }

    pub fn socket(&self) -> Rc<Socket> {
        self.socket.clone()
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// For another protocol on the same connection: socket, TLS, what its handshake told, and plaintext not yet read.
    pub fn into_parts(mut self) -> (Rc<Socket>, Option<Box<Tls>>, Option<Secured>, Vec<u8>) {
        let spare = self.spare.split_off(self.spare_taken.min(self.spare.len()));
        (self.socket, self.tls, self.secured, spare)
    }

    /// The handshake of a connection that somebody else has accepted.
    pub fn was_secured(&mut self, secured: Secured) {
        self.secured = Some(secured);
    }

    /// Bytes of the socket that somebody else has read.
    pub fn take_in(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.decrypt(bytes, None)
    }

    /// Decrypts to where it is wanted, the rest into `spare`.
    fn decrypt(&mut self, bytes: &[u8], mut cursor: Option<&mut rt::ReadBufCursor<'_>>) -> io::Result<()> {
        let spare = &mut self.spare;
        let mut give = |plain: &[u8]| {
            let room = cursor.as_ref().map_or(0, |cursor| cursor.remaining()).min(plain.len());
            if let Some(cursor) = &mut cursor {
                cursor.put_slice(&plain[..room]);
            }
            spare.extend_from_slice(&plain[room..]);
        };
        let Some(tls) = &mut self.tls else {
            give(bytes);
            return Ok(());
        };
        let certificates = self.driver.certificates();
        let mut feed = bytes;
        loop {
            match tls.step(&mut feed, &certificates) {
                Ok(Step::Hungry) => return Ok(()),
                Ok(Step::Closed) => {
                    self.is_over = true;
                    return Ok(());
                }
                Ok(Step::Secured(secured)) => self.secured = Some(secured),
                Ok(Step::Plain) => {
                    let plain = tls.plain();
                    let length = plain.len();
                    give(plain);
                    tls.consume(length);
                }
                Err(reason) => {
                    // The alert.
                    let _ = tls.push(&mut &*self.socket);
                    return Err(io::Error::other(reason));
                }
            }
        }
    }

    /// Hands out what is kept. `false`: nothing is.
    fn serve_spare(&mut self, cursor: &mut rt::ReadBufCursor<'_>) -> bool {
        let kept = self.spare.get(self.spare_taken..).unwrap_or_default();
        if kept.is_empty() {
            return false;
        }
        let some = kept.len().min(cursor.remaining());
        cursor.put_slice(&kept[..some]);
        self.spare_taken += some;
        if self.spare_taken == self.spare.len() {
            (self.spare, self.spare_taken) = (Vec::new(), 0);
        }
        true
    }

    /// What TLS has encrypted leaves.
    fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let done = match &mut self.tls {
                Some(tls) => tls.push(&mut &*self.socket)?,
                None => true,
            };
            if done {
                self.stalled = None;
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_room(cx))?;
        }
    }

    /// Waits until the socket takes more, not for ever.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.socket.poll_writable(cx) {
            Poll::Ready(outcome) => {
                self.stalled = None;
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                let stall = || Timer::after(Duration::from_millis(limits::HTTP_STALL_MS_MAX));
                let stalled = self.stalled.get_or_insert_with(stall);
                Pin::new(stalled).poll(cx).map(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl rt::Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if cursor.remaining() == 0 || self.serve_spare(&mut cursor) {
            return Poll::Ready(Ok(()));
        }
        let link = &mut *self;
        let room = cursor.remaining();
        let mut inbox = link.driver.inbox.take();
        inbox.resize(READ_BYTES, 0);
        let outcome = loop {
            if link.is_over {
                break Poll::Ready(Ok(()));
            }
            match link.socket.read(&mut inbox) {
                Ok(0) => break Poll::Ready(Ok(())),
                Ok(n) => {
                    if let Err(e) = link.decrypt(&inbox[..n], Some(&mut cursor)) {
                        break Poll::Ready(Err(e));
                    }
                    // The handshake's own words; if they do not all go now they go along with what is written next.
                    if let Some(tls) = &mut link.tls
                        && tls.wants_push()
                        && let Err(e) = tls.push(&mut &*link.socket)
                    {
                        break Poll::Ready(Err(e));
                    }
                    if cursor.remaining() < room {
                        break Poll::Ready(Ok(()));
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => match link.socket.poll_readable(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(e)) => break Poll::Ready(Err(e)),
                    Poll::Pending => break Poll::Pending,
                },
                Err(e) => break Poll::Ready(Err(e)),
            }
        };
        link.driver.inbox.set(inbox);
        outcome
    }
}

impl rt::Write for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let link = &mut *self;
        ready!(link.poll_push(cx))?;
        if link.tls.is_none() {
            loop {
                match (&*link.socket).write_vectored(buffers) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => ready!(link.poll_room(cx))?,
                    other => return Poll::Ready(other),
                }
            }
        }
        let Some(tls) = &mut link.tls else { return Poll::Ready(Ok(0)) };
        let mut written = 0;
        for buffer in buffers {
            let some = &buffer[..buffer.len().min(WRITE_BYTES - written)];
            tls.write(some);
            written += some.len();
        }
        // What the socket does not take now, the next call or the flush sends.
        tls.push(&mut &*link.socket)?;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_push(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(tls) = &mut self.tls {
            tls.close();
        }
        ready!(self.poll_push(cx))?;
        self.socket.finish();
        Poll::Ready(Ok(()))
    }
}
