//! How a session waits for its client, and how it ends. XEP-0198 §4 and §5.

use super::{Server, context, timers::Alarm};
use crate::{
    domain::{
        ids::SessionId,
        sessions::{Backlog, Ending, Keep},
    },
    limits,
    router::{answer::UNHANDLED, core::Promise, event::Env, service::Notice},
    wire::error::StreamError,
};

impl Server {
    /// The stream broke: the session waits for its client, if the client can come back.
    pub(super) fn hibernate(&mut self, env: &mut Env<'_>, id: SessionId) {
        let Some(session) = self.core.sessions.session_mut(id) else { return };
        let resumable = session.sm.as_ref().is_some_and(|sm| sm.token.is_some()) && session.ending.is_none();
        if !resumable || self.stops {
            return self.end_session(env, id);
        }
        log::debug!("{} waits for resumption", session.jid);
        let bare = session.jid.bare();
        // What is of no use later shall not fill its queue meanwhile.
        self.core.hold_back_from(id);
        self.expire_later(env, id);
        let waiting = self.core.sessions.of(bare.as_str()).filter(|(_, session)| session.stream.is_none());
        let waiting: Vec<_> = waiting.map(|(id, session)| (session.expires, id)).collect();
        if waiting.len() > limits::HIBERNATIONS_PER_ACCOUNT_MAX
            && let Some((_, oldest)) = waiting.into_iter().min()
        {
            self.end_session(env, oldest);
        }
        self.notice(env, &Notice::SessionWaits(id));
    }

    pub(super) fn expire_later(&mut self, env: &mut Env<'_>, id: SessionId) {
        let Some(session) = self.core.sessions.session_mut(id) else { return };
        let at = env.now.plus_ms(session.hold_s.saturating_mul(1000));
        session.expires = Some(at);
        self.timers.set(at, Alarm::Expiry(id));
    }

    /// Ends a session whose stream, if any, is told why; `None`: it said goodbye.
    pub(super) fn end_with(&mut self, env: &mut Env<'_>, id: SessionId, error: Option<StreamError>) {
        let Some(session) = self.core.sessions.session(id) else { return };
        match (session.stream, error) {
            (None, _) => self.end_session(env, id),
            // An answer that waits for the disk is said first; `Core::open_gates` comes back to this.
            (Some(_), error) if !session.gate.is_empty() => self.end_later(id, error),
            (Some(stream), Some(error)) => self.fail(env, stream, error),
            (Some(stream), None) => self.finish(env, stream),
        }
    }

    /// Whether the disk may still refuse something of which this session would have to hear.
    pub(super) fn owes(&self, id: SessionId) -> bool {
        let committed = self.core.committed;
        let Some(session) = self.core.sessions.session(id).filter(|_| self.core.last_batch() > committed) else {
            return false;
        };
        let is_own = |promise: &Promise| matches!(promise, Promise::Stanza(stanza) if stanza.from == session.jid);
        !session.gate.is_empty() || self.core.promises.iter().any(|(_, promise)| is_own(promise))
    }

    /// Ends a session when nothing waits for the disk any more. Until then it is not heard: what it asks would put the
    /// end off.
    pub(super) fn end_later(&mut self, id: SessionId, error: Option<StreamError>) {
        let batch = self.core.last_batch();
        let Some(session) = self.core.sessions.session_mut(id) else { return };
        session.ending.get_or_insert(Ending { batch, error });
        let stream = session.stream;
        if !self.core.gated.contains(&id) {
            self.core.gated.push(id);
        }
        if let Some(stream) = stream {
            self.hold(stream);
        }
    }

    /// Ends a session: contacts are told, and what it has not received finds another way (XEP-0198 §4).
    pub(super) fn end_session(&mut self, env: &mut Env<'_>, id: SessionId) {
        if self.core.sessions.session(id).is_none() {
            return;
        }
        self.notice(env, &Notice::SessionEnding(id));
        let Some(mut session) = self.core.sessions.remove(id) else { return };
        if let Some(at) = session.expires {
            self.timers.cancel(at, Alarm::Expiry(id));
        }
        if let Some(sm) = &mut session.sm {
            self.gone.remember(id, session.jid.bare(), sm, self.core.committed);
        }
        let unacked = session.sm.as_mut().map(|sm| sm.take_unacked()).unwrap_or_default();
        let gated = session.gate.into_iter().map(|(_, chunk, keep)| (chunk, keep));
        let held = session.held.into_iter().flat_map(|mut held| held.take());
        let mut messages = Vec::new();
        for (_, keep) in unacked.into_iter().chain(gated).chain(held) {
            match keep {
                Keep::Message(message) => messages.push(message),
                Keep::Request(iq) => self.core.bounce(&iq, &UNHANDLED),
                Keep::Nothing => {}
            }
        }
        if let Some(first) = messages.iter().min() {
            // Their rows are still there: whoever else takes messages for this account gets them from there.
            let since = context(&mut self.core, env).message_id();
            let others = self.core.sessions.of(session.jid.bare_str());
            let able = others.filter(|(_, other)| other.takes_messages());
            for id in able.map(|(id, _)| id).collect::<Vec<_>>() {
                if let Some(other) = self.core.sessions.session_mut(id) {
                    // One that has not caught up begins again there: what it has got does not come twice.
                    other.backlog = Some(match other.backlog {
                        Some(backlog) => Backlog { next: backlog.next.min(*first), ..backlog },
                        None => Backlog { next: *first, since },
                    });
                    self.core.backlogs.push(id);
                }
            }
        }
        self.durable.owing.retain(|owing| *owing != id);
    }
}
