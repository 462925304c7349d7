//! Binding and resumption; how a session waits, and how it ends. RFC 6120 §7, XEP-0198 §3 and §5.

use std::collections::VecDeque;

use super::{
    Server, context,
    negotiate::{Next, State, namespace},
    streams::Slot,
    timers::Alarm,
};
use crate::{
    domain::{
        accounts,
        devices::DeviceId,
        ids::{AccountId, SessionId, StreamId},
        push,
        sessions::{Backlog, Ending, Keep, Lists, Session},
        store::Store,
        waiting,
    },
    limits,
    proto::sm::{Ask, Sm},
    router::{
        context::{Promise, UNHANDLED},
        event::{Door, Env, Time},
        service::Notice,
    },
    wire::{
        build,
        element::Element,
        error::{Condition, StanzaError, StreamCondition, StreamError},
        jid::Jid,
        ns,
        stanza::{Chunk, Outline, slice},
    },
};

impl Server {
    /// After sign-in: bind or resume, RFC 6120 §7.
    pub(super) fn verified_element(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        bytes: &[u8],
        outline: &Outline,
    ) -> Next {
        let Ok(element) = Element::parse(bytes, ns::CLIENT) else { return Next::Stop };
        match (namespace(bytes, outline), slice(bytes, &outline.name)) {
            (ns::CLIENT, "iq") => match element.find("bind", ns::BIND) {
                Some(bind) if element.get("type") == Some("set") => self.bind(env, id, &element, bind),
                _ => self.refuse_early(env, id, outline),
            },
            (ns::SM, "resume") => self.resume(env, id, &element),
            (ns::SM, _) => {
                self.core.write(id, failed(Condition::UnexpectedRequest, None));
                Next::Go
            }
            _ => self.refuse_early(env, id, outline),
        }
    }

    /// RFC 6120 §7.6 and §7.7.
    fn bind(&mut self, env: &mut Env<'_>, id: StreamId, iq: &Element, bind: &Element) -> Next {
        let Some(slot) = self.streams.slot(id) else { return Next::Stop };
        let State::Verified(proof) = &slot.state else { return Next::Stop };
        let (account, device) = (proof.account.clone(), proof.device);
        let wanted = bind.leaf_text("resource").filter(|resource| !resource.is_empty());
        let jid = match wanted {
            Some(resource) => account.with_resource(&resource),
            // RFC 6120 §7.6: of the server's making.
            None => account.with_resource(&resource(env)),
        };
        let Ok(jid) = jid else {
            self.refuse_bind(id, iq, &StanzaError::new(Condition::BadRequest));
            return Next::Go;
        };
        let store = Store { overlay: &mut self.core.overlay, view: env.view };
        let Some(owner) = accounts::find(&store, &account).map(|account| account.id) else {
            self.fail(env, id, StreamCondition::NotAuthorized.into());
            return Next::Stop;
        };
        let session = match self.bind_session(env, id, jid.clone(), owner, device) {
            Ok(session) => session,
            Err(error) => {
                self.refuse_bind(id, iq, &error);
                return Next::Go;
            }
        };
        let bound = Element::new("bind", ns::BIND).leaf("jid", jid.as_str());
        let answer = Element::new("iq", ns::CLIENT).attr("type", "result").attr_if("id", iq.get("id")).child(bound);
        self.core.write(id, Chunk::new(answer.to_vec()));
        self.notice(env, &Notice::SessionBound(session));
        Next::Go
    }

    /// Makes a session on a stream. Others of the same address end, and those of the same device (XEP-0386 §3.2).
    ///
    /// # Errors
    /// `resource-constraint` if the account has too many sessions.
    pub(super) fn bind_session(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        jid: Jid,
        owner: AccountId,
        device: Option<DeviceId>,
    ) -> Result<SessionId, StanzaError> {
        let of_account = self.core.sessions.of(jid.bare_str());
        let older = of_account.filter(|(_, old)| old.jid == jid || device.is_some() && old.device == device);
        // RFC 6120 §7.7.2.2: the newer one wins, since the older is most often the same client's dead stream. At once,
        // whatever still waits for the disk: two sessions never share an address.
        for old in older.map(|(id, _)| id).collect::<Vec<_>>() {
            let conflict = StreamError::new(StreamCondition::Conflict).text("Replaced by a new session.");
            match self.core.sessions.session(old).and_then(|session| session.stream) {
                Some(stream) => self.fail(env, stream, conflict),
                None => self.end_session(env, old),
            }
            self.work(env);
        }
        if self.core.sessions.of(jid.bare_str()).count() >= limits::SESSIONS_PER_ACCOUNT_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint).text("Too many sessions."));
        }
        let lists = Lists::of(&Store { overlay: &mut self.core.overlay, view: env.view }, owner);
        let session = self.session(jid, owner, id, env.wall_us / 1_000_000);
        let peer = self.streams.slot(id).and_then(Slot::peer);
        let session = self.core.sessions.insert(Session { peer, device, ..session }, lists);
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.state = State::Bound(session);
        }
        self.no_stranger(id);
        Ok(session)
    }

    fn refuse_bind(&mut self, id: StreamId, iq: &Element, error: &StanzaError) {
        let answer =
            Element::new("iq", ns::CLIENT).attr("type", "error").attr_if("id", iq.get("id")).child(error.element());
        self.core.write(id, Chunk::new(answer.to_vec()));
    }

    fn session(&self, jid: Jid, account: AccountId, stream: StreamId, since_s: u64) -> Session {
        Session {
            account,
            jid,
            stream: Some(stream),
            device: None,
            peer: None,
            is_local: false,
            presence: None,
            interested: false,
            wants_blocks: false,
            carbons: false,
            directed: Vec::new(),
            wants_nodes: Default::default(),
            sm: None,
            gate: VecDeque::new(),
            held: None,
            ending: None,
            backlog: None,
            behind: VecDeque::new(),
            expires: None,
            can_be_woken: false,
            hold_s: 0,
            since_s,
        }
    }

    /// The command line needs no sign-in: the adapter let in only who may read the socket.
    pub(super) fn bind_local(&mut self, env: &mut Env<'_>, id: StreamId) {
        let resource = super::random_id(env);
        let Some(slot) = self.streams.slot_mut(id) else { return };
        let Door::Local { uid } = slot.door else { return };
        let domain = slot.domain.clone().unwrap_or_default();
        let Ok(jid) = Jid::from_parts(None, &domain, Some(&resource)) else { return };
        self.no_stranger(id);
        log::debug!("administration by user id {uid}");
        let session = self.session(jid, AccountId(0), id, env.wall_us / 1_000_000);
        let session = self.core.sessions.insert(Session { is_local: true, ..session }, Lists::default());
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.state = State::Bound(session);
        }
    }

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

    /// XEP-0198 §5. The token and the account must both be right (S35).
    fn resume(&mut self, env: &mut Env<'_>, stream: StreamId, resume: &Element) -> Next {
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

    fn expire_later(&mut self, env: &mut Env<'_>, id: SessionId) {
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

/// Why there is nothing to resume, and how many stanzas of it were handled if that is known.
type Lost = (Condition, Option<u32>);

/// How many stanzas were handled of sessions that nobody resumed in time, XEP-0198 §5; the oldest are forgotten first.
#[derive(Debug, Default)]
pub struct Gone(VecDeque<(SessionId, [u8; 16], Jid, u32)>);

impl Gone {
    /// A session ends. What the disk may still refuse does not count.
    fn remember(&mut self, id: SessionId, account: Jid, sm: &mut Sm<Keep>, committed: u64) {
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

/// A resource of the server's making, RFC 6120 §7.6.
pub fn resource(env: &mut Env<'_>) -> String {
    let mut id = super::random_id(env);
    id.truncate(16);
    id
}

/// `<failed/>`, XEP-0198 §3 and §5.
pub fn failed(condition: Condition, h: Option<u32>) -> Chunk {
    let failed = Element::new("failed", ns::SM)
        .attr_if("h", h.map(|h| h.to_string()))
        .child(Element::new(condition.as_str(), ns::STANZA_ERRORS));
    Chunk::new(failed.to_vec())
}

/// The resumption id: where the session stands, and its secret.
fn resume_id(id: SessionId, token: &[u8; 16]) -> String {
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
