//! A session that waited gets a new stream, or learns what became of it. XEP-0198 §5.

use std::collections::VecDeque;

use super::{
    Server,
    negotiate::{Next, State},
    timers::Alarm,
};
use crate::{
    domain::{
        ids::{SessionId, StreamId},
        sessions::Keep,
    },
    limits,
    proto::sm::Sm,
    router::{event::Env, service::Notice},
    wire::{
        build,
        element::Element,
        error::{Condition, StreamCondition, StreamError},
        jid::Jid,
        ns,
        stanza::Chunk,
    },
};

impl Server {
    /// XEP-0198 §5. The token and the account must both be right (S35).
    pub(super) fn resume(&mut self, env: &mut Env<'_>, stream: StreamId, resume: &Element) -> Next {
        let Some(slot) = self.streams.slot(stream) else { return Next::Stop };
        let State::Verified(proof) = &slot.state else { return Next::Stop };
        let (id, h) = match self.resumable(&proof.account, resume) {
            Ok(found) => found,
            Err((condition, handled)) => {
                self.core.write(stream, failed(condition, handled));
                return Next::Go;
            }
        };
        if self.awaits_disk(env, id) {
            self.durable.resuming.push((stream, resume.clone()));
            self.hold(stream);
            return Next::Go;
        }
        let answer = self.reattach(stream, id);
        self.core.write(stream, Chunk::new(answer));
        self.catch_up(env, stream, id, h)
    }

    /// The session that a `<resume/>` means, and how many stanzas its client has received.
    ///
    /// # Errors
    /// `bad-request` without a number, `item-not-found` without such a session of this account; then with the count of
    /// one that ended, if it is remembered.
    pub(super) fn resumable(&self, account: &Jid, resume: &Element) -> Result<(SessionId, u32), Lost> {
        let h = resume.get("h").and_then(|h| h.parse::<u32>().ok()).ok_or((Condition::BadRequest, None))?;
        let previous = resume.get("previd").unwrap_or_default();
        let found = parse_resume_id(previous).filter(|(id, token)| {
            self.core.sessions.session(*id).is_some_and(|session| {
                let same = session.sm.as_ref().and_then(|sm| sm.token).is_some_and(|own| same_token(&own, token));
                same && session.jid.bare_str() == account.as_str() && session.ending.is_none()
            })
        });
        found.map(|(id, _)| (id, h)).ok_or_else(|| (Condition::ItemNotFound, self.gone.handled(previous, account)))
    }

    /// Puts a session on its new stream; returns `<resumed/>`.
    pub(super) fn reattach(&mut self, stream: StreamId, id: SessionId) -> Vec<u8> {
        let mut answer = b"<resumed xmlns='urn:xmpp:sm:3'".to_vec();
        let Some(slot) = self.streams.slot_mut(stream) else { return answer };
        slot.state = State::Bound(id);
        let peer = slot.peer();
        self.no_stranger(stream);
        let committed = self.core.committed;
        if let Some(session) = self.core.sessions.session_mut(id) {
            (session.stream, session.peer) = (Some(stream), peer);
            if let Some(at) = session.expires.take() {
                self.timers.cancel(at, Alarm::Expiry(id));
            }
            if let Some(sm) = &mut session.sm {
                build::attr("h", &sm.durable(committed).to_string(), &mut answer);
                build::attr("previd", &sm.token.map(|token| resume_id(id, &token)).unwrap_or_default(), &mut answer);
            }
        }
        answer.extend_from_slice(b"/>");
        answer
    }

    /// XEP-0198 §5: what the client has not received is sent again.
    pub(super) fn catch_up(&mut self, env: &mut Env<'_>, stream: StreamId, id: SessionId, h: u32) -> Next {
        if !self.acknowledge(env, stream, id, h) {
            return Next::Stop;
        }
        let Some(sm) = self.core.sessions.session_mut(id).and_then(|session| session.sm.as_mut()) else {
            return Next::Stop;
        };
        let again: Vec<Chunk> = sm.unacked().map(|(chunk, _)| chunk.clone()).collect();
        if !again.is_empty() {
            self.core.ask.push(id);
        }
        for chunk in again {
            self.core.write(stream, chunk);
        }
        // XEP-0352 §4.2: a resumed stream is active.
        self.core.hold_nothing_back_from(id);
        self.core.backlogs.push(id);
        self.notice(env, &Notice::SessionResumed(id));
        Next::Go
    }

    /// A session that is to be resumed leaves its stream. A client that is told less than we have counted sends the rest
    /// again, and both count differently from then on: so while the disk holds something back, the answer waits for it.
    pub(super) fn awaits_disk(&mut self, env: &mut Env<'_>, id: SessionId) -> bool {
        self.leave_old_stream(env, id);
        let committed = self.core.committed;
        let Some(session) = self.core.sessions.session_mut(id) else { return false };
        if session.sm.as_ref().is_none_or(|sm| sm.is_settled(committed)) {
            return false;
        }
        if session.expires.is_none() {
            self.expire_later(env, id);
        }
        true
    }

    /// What a resumption waited for is durable, or never will be.
    pub(super) fn resume_waiting(&mut self, env: &mut Env<'_>) {
        for (stream, resume) in std::mem::take(&mut self.durable.resuming) {
            if matches!(self.streams.slot(stream), Some(slot) if matches!(slot.state, State::Verified(_))) {
                // If it fails, its stream is closed already.
                let _ = self.resume(env, stream, &resume);
            }
            if self.durable.resuming.iter().all(|(waits, _)| *waits != stream) {
                self.release(env, stream);
            }
        }
    }

    /// XEP-0198 §5: a session that is resumed leaves a stream that may still be open.
    fn leave_old_stream(&mut self, env: &mut Env<'_>, id: SessionId) {
        let old = self.core.sessions.session_mut(id).and_then(|session| session.stream.take());
        if let Some(old) = old
            && let Some(slot) = self.streams.slot_mut(old)
        {
            slot.state = State::Upgrading;
            self.fail(env, old, StreamError::new(StreamCondition::Conflict).text("Resumed elsewhere."));
        }
    }
}

/// Why there is nothing to resume, and how many stanzas of it were handled if that is known.
type Lost = (Condition, Option<u32>);

/// How many stanzas were handled of sessions that nobody resumed in time, XEP-0198 §5; the oldest are forgotten first.
#[derive(Debug, Default)]
pub struct Gone(VecDeque<(SessionId, [u8; 16], Jid, u32)>);

impl Gone {
    /// A session ends. What the disk may still refuse does not count.
    pub fn remember(&mut self, id: SessionId, account: Jid, sm: &mut Sm<Keep>, committed: u64) {
        let Some(token) = sm.token else { return };
        if self.0.len() >= limits::GONE_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id, token, account, sm.durable(committed)));
    }

    /// The count of the session with this resumption id, if it belonged to this account.
    fn handled(&self, previous: &str, account: &Jid) -> Option<u32> {
        let (id, token) = parse_resume_id(previous)?;
        let (_, own, owner, h) = self.0.iter().find(|(gone, ..)| *gone == id)?;
        (same_token(own, &token) && owner == account).then_some(*h)
    }
}

/// `<failed/>`, XEP-0198 §3 and §5.
pub fn failed(condition: Condition, h: Option<u32>) -> Chunk {
    let failed = Element::new("failed", ns::SM)
        .attr_if("h", h.map(|h| h.to_string()))
        .child(Element::new(condition.as_str(), ns::STANZA_ERRORS));
    Chunk::new(failed.to_vec())
}

/// The resumption id: where the session stands, and its secret.
pub fn resume_id(id: SessionId, token: &[u8; 16]) -> String {
    use std::fmt::Write;
    let mut text = format!("{:x}-{:x}-", id.slot, id.generation);
    for byte in token {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn parse_resume_id(text: &str) -> Option<(SessionId, [u8; 16])> {
    let mut parts = text.split('-');
    let slot = u32::from_str_radix(parts.next()?, 16).ok()?;
    let generation = u32::from_str_radix(parts.next()?, 16).ok()?;
    let token = u128::from_str_radix(parts.next().filter(|token| token.len() == 32)?, 16).ok()?;
    parts.next().is_none().then_some((SessionId { slot, generation }, token.to_be_bytes()))
}

/// Compares in a time that tells nothing (S11).
fn same_token(a: &[u8; 16], b: &[u8; 16]) -> bool {
    a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
