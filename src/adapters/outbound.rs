//! The way out: the end of a round, what it writes, and the last words of a connection.
//!
//! Invariants: one system call for each connection and round as long as the socket takes it; what a stream may let wait
//! is bounded (`OUTBOX_BYTES_MAX`, `OUTBOX_BYTES_CAP`); a connection that the house closed ends within `CLOSING_MS_MAX`.

use std::{cell::Cell, future::poll_fn, io, rc::Rc};

use smol::future::yield_now;

use super::{
    conn::{Connection, Flushed, Socket},
    driver::{Core, Driver},
};
use crate::{
    limits,
    router::event::{Event, StreamId},
};

/// Room of the gathering buffer that is kept between rounds.
const GATHER_KEPT: usize = 128 * 1024;

impl Driver {
    /// The flusher: runs behind the tasks that were ready and ends their round.
    pub(super) async fn flush_rounds(self: Rc<Self>) {
        loop {
            self.flusher.wait().await;
            let core = &mut *self.core.borrow_mut();
            for _ in 0..core.queue.len() {
                if let Some(event) = core.queue.pop_front() {
                    self.deliver(core, event);
                }
            }
            // The rings of these turns are answered here and now.
            self.flusher.hush();
            self.enter(core, None, |house, env, effects| effects.extend(house.settle(env)));
            let mut dirty = std::mem::take(&mut core.dirty);
            for id in dirty.drain(..) {
                self.flush(core, id);
            }
            core.dirty = dirty;
            core.gather.clear();
            core.gather.shrink_to(GATHER_KEPT);
            if let Some(answer) = core.store.settle() {
                core.queue.push_back(answer.into());
            }
            self.relax(core.house.deadline());
            if !core.queue.is_empty() {
                self.flusher.ring();
            }
            if self.stopping.get() {
                self.stop.ring();
            }
            core.give_back();
        }
    }

    /// Writes what a connection has to say, and draws the consequences.
    fn flush(self: &Rc<Self>, core: &mut Core, id: StreamId) {
        let Some(c) = core.table.find(id) else { return };
        c.dirty = false;
        if c.writing && !c.closing && c.waiting() <= limits::OUTBOX_BYTES_MAX {
            return; // Its writer is called when the socket takes more.
        }
        let flushed = c.flush(&mut core.gather);
        if let Flushed::Broken(e) = &flushed {
            log::debug!("stream {id:?} broke: {e}");
            return self.lose(core, id);
        }
        if c.closing {
            if let Some(connection) = core.table.remove(id) {
                core.gone += 1;
                self.unsaid.set(self.unsaid.get() + 1);
                self.spawn(self.clone().close(connection));
            }
            return;
        }
        if matches!(flushed, Flushed::Done) {
            if std::mem::take(&mut c.stuck) {
                core.queue.push_back(Event::Drained(id));
            }
            return;
        }
        if c.waiting() > limits::OUTBOX_BYTES_CAP {
            log::info!("stream {id:?} reads too slowly: {} bytes wait, it is closed", c.waiting());
            return self.lose(core, id);
        }
        if c.waiting() > limits::OUTBOX_BYTES_MAX && !std::mem::replace(&mut c.stuck, true) {
            core.queue.push_back(Event::Stuck(id));
        }
        // Who is carried by requests is flushed again when the next one comes.
        if !std::mem::replace(&mut c.writing, true) && c.line().is_none() {
            let socket = c.socket.clone();
            self.spawn(self.clone().write_on(id, socket));
        }
    }

    /// Lives while the socket is full.
    async fn write_on(self: Rc<Self>, id: StreamId, socket: Rc<Socket>) {
        let ready = poll_fn(|cx| socket.poll_writable(cx)).await;
        let core = &mut *self.core.borrow_mut();
        if ready.is_err() {
            return self.lose(core, id);
        }
        let Some(c) = core.table.find(id) else { return };
        c.writing = false;
        // The flusher goes on and, if need be, starts another writer.
        core.touch_closing_too(id);
        self.flusher.ring();
    }

    /// The last moments of a connection that the house closed: what waits, goodbye, end of sending, and the peer's end,
    /// because closing a socket with unread bytes would destroy what the peer has not read yet.
    async fn close(self: Rc<Self>, mut connection: Box<Connection>) {
        let socket = connection.socket.clone();
        let unsaid = Cell::new(true);
        let said = || {
            if unsaid.take() {
                self.unsaid.set(self.unsaid.get().saturating_sub(1));
                if self.stopping.get() {
                    self.stop.ring();
                }
            }
        };
        if let Some(line) = connection.line().cloned() {
            connection.flush(&mut self.core.borrow_mut().gather);
            yield_now().await;
            said();
            // Its seat is taken until somebody has fetched the last words, or nobody comes for them.
            return line.ended().await;
        }
        self.part_by(self.clock.now().plus_ms(limits::CLOSING_MS_MAX), &socket);
        loop {
            let flushed = connection.flush(&mut self.core.borrow_mut().gather);
            match flushed {
                Flushed::Broken(_) => break,
                Flushed::Blocked => {
                    let _ = poll_fn(|cx| socket.poll_writable(cx)).await;
                }
                Flushed::Done => {
                    socket.finish();
                    said();
                    drain(&socket).await;
                    break;
                }
            }
        }
        said();
        socket.shut();
    }
}

/// Reads until the peer has said everything too. Ends with the socket at the latest, see [`Driver::part_by`].
async fn drain(socket: &Socket) {
    let mut rest = [0; 512];
    loop {
        match socket.read(&mut rest) {
            Ok(0) => return,
            Ok(_) => yield_now().await,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                let _ = poll_fn(|cx| socket.poll_readable(cx)).await;
            }
            Err(_) => return,
        }
    }
}
