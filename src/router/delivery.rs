//! How bytes reach a session: behind what waits for the disk, and not before its client wants to see them.
//!
//! Invariant: what a session gets keeps its order, whatever holds a part of it back.

use super::{
    core::{Core, Work},
    event::Effect,
    urgency::{Urgency, urgency},
};
use crate::{
    domain::{
        ids::{SessionId, StreamId},
        sessions::Keep,
    },
    wire::{
        error::{StreamCondition, StreamError},
        stanza::Chunk,
    },
};

impl Core {
    /// Appends to a stream's outbox.
    pub fn write(&mut self, stream: StreamId, chunk: Chunk) {
        self.effects.push(Effect::Write(stream, chunk));
    }

    /// The same; whoever's stanza it is waits a moment if the outbox is full.
    pub fn write_held(&mut self, stream: StreamId, chunk: Chunk) {
        self.write(stream, chunk);
        self.hold_back(stream);
    }

    /// Gives bytes of one stanza to a session, behind whatever waits for the disk.
    pub fn deliver(&mut self, id: SessionId, chunk: Chunk, keep: Keep) {
        let Some(session) = self.sessions.session_mut(id) else { return };
        if let Some(held) = &mut session.held {
            match urgency(&chunk) {
                Urgency::Later(about) => {
                    if !held.push(about, chunk, keep) {
                        self.release(id);
                    }
                    return;
                }
                Urgency::Now => self.release(id),
            }
        }
        self.pass_on(id, chunk, keep);
    }

    /// The same from somebody who is not to wait for this session, such as who speaks in a room: if it does not read, it
    /// alone bears it.
    pub fn deliver_freely(&mut self, id: SessionId, chunk: Chunk, keep: Keep) {
        let current = self.current.take();
        self.deliver(id, chunk, keep);
        self.current = current;
    }

    fn pass_on(&mut self, id: SessionId, chunk: Chunk, keep: Keep) {
        let Some(session) = self.sessions.session_mut(id) else { return };
        if session.gate.is_empty() {
            self.emit(id, chunk, keep);
        } else {
            session.gate.push_back((0, chunk, keep));
        }
    }

    /// Nobody looks at a session's client from now on: what can wait is held back (XEP-0352).
    pub fn hold_back_from(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.session_mut(id) {
            session.held.get_or_insert_default();
        }
    }

    /// A session's client is looked at: it gets what was held back, and everything else as it comes.
    pub fn hold_nothing_back_from(&mut self, id: SessionId) {
        self.release(id);
        if let Some(session) = self.sessions.session_mut(id) {
            session.held = None;
        }
    }

    /// Lets everything out that was held back, in order.
    fn release(&mut self, id: SessionId) {
        let held = self.sessions.session_mut(id).and_then(|session| session.held.as_mut()).map(|held| held.take());
        for (chunk, keep) in held.into_iter().flatten() {
            self.pass_on(id, chunk, keep);
        }
    }

    /// Gives bytes to a session once this batch is durable, and everything later behind them.
    pub fn deliver_after(&mut self, id: SessionId, batch: u64, chunk: Chunk, keep: Keep) {
        self.release(id);
        let Some(session) = self.sessions.session_mut(id) else { return };
        session.gate.push_back((batch, chunk, keep));
        if !self.gated.contains(&id) {
            self.gated.push(id);
        }
    }

    /// The last batch with writes that somebody waits for: with nothing open, the last one that was closed.
    pub fn last_batch(&self) -> u64 {
        if self.overlay.has_open() { self.open_batch } else { self.open_batch - 1 }
    }

    /// A session has room again for messages that wait.
    pub fn backlog_moves(&mut self, id: SessionId) {
        if self.sessions.session(id).is_some_and(|session| session.backlog.is_some()) {
            self.backlogs.push(id);
        }
    }

    /// Lets through what waited for batches that are durable now.
    pub fn open_gates(&mut self) {
        let mut gated = std::mem::take(&mut self.gated);
        gated.retain(|id| {
            while let Some(session) = self.sessions.session_mut(*id) {
                match session.gate.front() {
                    Some((batch, ..)) if *batch > self.committed => return true,
                    None if session.ending.as_ref().is_some_and(|ending| ending.batch > self.committed) => return true,
                    None => {
                        if let Some(ending) = session.ending.take() {
                            self.work.push(Work::End(*id, ending.error));
                        }
                        return false;
                    }
                    Some(_) => {
                        if let Some((_, chunk, keep)) = session.gate.pop_front() {
                            self.emit(*id, chunk, keep);
                        }
                    }
                }
            }
            false
        });
        self.gated.append(&mut gated);
    }

    fn emit(&mut self, id: SessionId, chunk: Chunk, keep: Keep) {
        let batch = self.last_batch();
        let Some(session) = self.sessions.session_mut(id) else { return };
        let stream = session.stream;
        if let Some(sm) = &mut session.sm {
            let fits = sm.sent(chunk.clone(), keep);
            if stream.is_some() && sm.wants_to_ask() {
                self.ask.push(id);
            }
            if !fits {
                let error = StreamError::new(StreamCondition::ResourceConstraint)
                    .text("Too many stanzas without acknowledgement.");
                self.work.push(Work::End(id, Some(error)));
            }
        } else if let Keep::Message(message) = keep {
            self.handed_over.push_back((batch, session.account, message));
        }
        if let Some(stream) = stream {
            self.effects.push(Effect::Write(stream, chunk));
            self.hold_back(stream);
        }
    }

    /// Whoever fills an outbox that is full already has to wait a moment (bounded, see `limits::HELD_BACK_MS_MAX`).
    fn hold_back(&mut self, stream: StreamId) {
        if let (Some(stuck), Some(current)) = (self.stuck.get_mut(&stream), self.current)
            && stuck.holds_back
            && !stuck.held.contains(&current)
        {
            stuck.held.push(current);
            self.effects.push(Effect::Pause(current));
        }
    }
}
