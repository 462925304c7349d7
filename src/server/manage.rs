//! Stream management of a session: enabled, acknowledged, asked for. XEP-0198 §3 and §4.

use super::{
    Server,
    resume::{failed, resume_id},
    timers::Alarm,
};
use crate::{
    domain::{
        ids::{SessionId, StreamId},
        push,
        sessions::Keep,
        store::Store,
        waiting,
    },
    limits,
    proto::sm::{Ask, Sm},
    router::{
        event::{Env, Time},
        service::Notice,
    },
    wire::{
        build,
        element::Element,
        error::{Condition, StreamCondition, StreamError},
        stanza::Chunk,
    },
};

impl Server {
    /// XEP-0198 §3.
    pub(super) fn enable(&mut self, env: &mut Env<'_>, stream: StreamId, id: SessionId, enable: &Element) {
        match self.manage(env, id, enable) {
            Ok(enabled) => self.core.write(stream, Chunk::new(enabled)),
            Err(condition) => {
                // XEP-0198 §3 shows the one and demands the other.
                self.core.write(stream, failed(condition, None));
                let error =
                    StreamError::new(StreamCondition::PolicyViolation).text("Stream management is enabled once.");
                self.fail(env, stream, error);
            }
        }
    }

    /// Counts the stanzas of a session from now on; returns `<enabled/>`.
    ///
    /// # Errors
    /// `unexpected-request` if they are counted already.
    pub(super) fn manage(&mut self, env: &mut Env<'_>, id: SessionId, enable: &Element) -> Result<Vec<u8>, Condition> {
        let session = self.core.sessions.session(id).ok_or(Condition::UnexpectedRequest)?;
        let can_be_woken = push::wakes(&Store { overlay: &mut self.core.overlay, view: env.view }, session);
        let kept = &self.core.config.retention;
        let hold_s = match kept.resume_s {
            0 => 0,
            // Whoever is woken may take longer to come back.
            usual if can_be_woken => usual.max(kept.resume_push_s),
            usual => usual,
        };
        let session = self.core.sessions.session_mut(id).ok_or(Condition::UnexpectedRequest)?;
        if session.sm.is_some() {
            return Err(Condition::UnexpectedRequest);
        }
        let mut token = [0; 16];
        env.entropy.fill(&mut token);
        let resumable = matches!(enable.get("resume"), Some("true" | "1")) && !session.is_local && hold_s > 0;
        let wanted = enable.get("max").and_then(|max| max.parse::<u64>().ok()).filter(|max| *max > 0);
        let hold_s = wanted.map_or(hold_s, |wanted| wanted.min(hold_s));
        (session.hold_s, session.can_be_woken) = (hold_s, can_be_woken);
        session.sm = Some(Box::new(Sm::new(resumable.then_some(token))));
        let mut answer = b"<enabled xmlns='urn:xmpp:sm:3'".to_vec();
        if resumable {
            build::attr("id", &resume_id(id, &token), &mut answer);
            build::attr("resume", "true", &mut answer);
            build::attr("max", &hold_s.to_string(), &mut answer);
            if let Some(location) = &self.core.config.listen.location {
                build::attr("location", location, &mut answer);
            }
        }
        answer.extend_from_slice(b"/>");
        Ok(answer)
    }

    /// The client has received everything up to `h`; `false`: it claims too much, and its stream is closed.
    pub(super) fn acknowledge(&mut self, env: &mut Env<'_>, stream: StreamId, id: SessionId, h: u32) -> bool {
        let Some(session) = self.core.sessions.session_mut(id) else { return false };
        let (account, Some(sm)) = (session.account, &mut session.sm) else { return true };
        let before = sm.unacked_len();
        let too_high = match sm.acked(h) {
            Ok(kept) => {
                let mut store = Store { overlay: &mut self.core.overlay, view: env.view };
                for keep in kept {
                    if let Keep::Message(message) = keep {
                        waiting::forget(&mut store, account, message);
                    }
                }
                None
            }
            Err(too_high) => Some(too_high),
        };
        if let Some(too_high) = too_high {
            // XEP-0198 §4.
            let app = format!(
                "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='{}' send-count='{}'/>",
                too_high.h, too_high.sent
            );
            self.fail(env, stream, StreamError::new(StreamCondition::UndefinedCondition).app(app));
            return false;
        }
        let left = sm.unacked_len();
        if left == 0 || matches!(sm.ask, Ask::Out(_)) {
            self.stop_asking(id);
        }
        // More was sent meanwhile. An ack that moves nothing is not answered by asking again: no ping-pong.
        if (1..before).contains(&left) {
            self.core.ask.push(id);
        }
        true
    }

    /// Asks sessions that got something for an acknowledgement (XEP-0198 §4): at once after a pause or when much is
    /// unacknowledged, else when the pause is over.
    pub(super) fn ask_for_acks(&mut self, now: Time) {
        for id in std::mem::take(&mut self.core.ask) {
            let Some(session) = self.core.sessions.session_mut(id) else { continue };
            let (Some(sm), Some(stream)) = (&mut session.sm, session.stream) else { continue };
            let due = Time(sm.asked_ms).plus_ms(limits::ASK_PAUSE_MS);
            let first = sm.asked_ms == 0;
            // A backlog of large messages waits for the answer.
            let much = sm.unacked_len() >= limits::ASK_UNACKED || sm.unacked_bytes() >= limits::BACKLOG_PAGE_BYTES;
            match sm.ask {
                Ask::Out(_) => continue,
                _ if sm.unacked_len() == 0 => continue,
                Ask::Quiet if !first && now < due && !much => {
                    sm.ask = Ask::Due(due.0);
                    self.timers.set(due, Alarm::Ask(id));
                    continue;
                }
                Ask::Due(at) if now.0 < at && !much => continue,
                Ask::Due(at) => self.timers.cancel(Time(at), Alarm::Ask(id)),
                Ask::Quiet => {}
            }
            (sm.ask, sm.asked_ms) = (Ask::Out(now.0), now.0);
            let patience_ms = if session.can_be_woken { limits::PUSH_ACK_MS } else { limits::ACK_MS_MAX };
            self.timers.set(now.plus_ms(patience_ms), Alarm::Unanswered(id));
            self.core.write(stream, Chunk::new(&b"<r xmlns='urn:xmpp:sm:3'/>"[..]));
        }
    }

    /// Nothing is to be asked of this session for now.
    pub(super) fn stop_asking(&mut self, id: SessionId) {
        let Some(sm) = self.core.sessions.session_mut(id).and_then(|session| session.sm.as_mut()) else { return };
        match std::mem::replace(&mut sm.ask, Ask::Quiet) {
            Ask::Quiet => {}
            Ask::Due(at) => self.timers.cancel(Time(at), Alarm::Ask(id)),
            Ask::Out(since) => {
                for ms in [limits::PUSH_ACK_MS, limits::ACK_MS_MAX] {
                    self.timers.cancel(Time(since).plus_ms(ms), Alarm::Unanswered(id));
                }
            }
        }
    }

    /// A client that does not acknowledge is not there any more, whatever its connection says. A device that can be woken
    /// is, before that: its radio may only sleep, and its connection may live.
    pub(super) fn unanswered(&mut self, env: &mut Env<'_>, id: SessionId) {
        let ask = self.core.sessions.session(id).and_then(|session| Some(session.sm.as_ref()?.ask));
        if let Some(Ask::Out(since)) = ask
            && let end = Time(since).plus_ms(limits::ACK_MS_MAX)
            && env.now < end
        {
            self.timers.set(end, Alarm::Unanswered(id));
            return self.notice(env, &Notice::SessionSilent(id));
        }
        if let Some(stream) = self.core.sessions.session(id).and_then(|session| session.stream) {
            let error = StreamError::new(StreamCondition::ConnectionTimeout).text("No acknowledgement in time.");
            self.abandon(env, stream, &error);
        }
    }
}
