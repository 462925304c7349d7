//! The table of connections: opening, closing, failing, and back-pressure.

use std::{collections::BTreeMap, net::IpAddr, rc::Rc};

use super::{
    Server,
    negotiate::State,
    pace::Bucket,
    peers::{Parting, PeerStream},
    random_id,
    timers::Alarm,
};
use crate::{
    domain::{
        ids::{SessionId, StreamId},
        sessions::Sessions,
    },
    limits,
    proto::stream,
    router::{
        components,
        core::Stuck,
        event::{Door, Effect, Env, Time},
        newcomers::household,
    },
    wire::{
        error::{StreamCondition, StreamError},
        framer::{Bounds, Framer},
        jid::Jid,
        stanza::Chunk,
    },
};

/// One connection.
#[derive(Debug)]
pub struct Slot {
    /// Through which door it came.
    pub door: Door,
    /// Cuts its bytes into elements; away while its bytes are being handled.
    pub framer: Option<Box<Framer>>,
    /// How far it has come.
    pub state: State,
    /// Our header is out, so an error needs none before it.
    pub header_sent: bool,
    /// The domain it named; may not change once signed in (S8).
    pub domain: Option<Rc<str>>,
    /// Default language of its stanzas (RFC 6120 §8.1.5).
    pub lang: Option<Rc<str>>,
    /// Until when it must have signed in and bound or resumed a session.
    pub sign_in_by: Option<Time>,
    /// What it has used of its rate, as long as it is no proved domain's.
    pub bucket: Bucket,
    /// It sent too much: until when no more is read from it.
    pub paced: Option<Time>,
    /// It waits for the disk.
    pub waits: bool,
    /// It waits for either: bytes that come meanwhile, bounded by [`limits::HELD_BYTES_MAX`].
    pub held: Option<Vec<u8>>,
}

impl Slot {
    /// The session bound on it.
    pub fn session(&self) -> Option<SessionId> {
        match self.state {
            State::Bound(session) => Some(session),
            _ => None,
        }
    }

    /// The account that was proved on it, while it has no session.
    pub fn proved(&self) -> Option<&Jid> {
        match &self.state {
            State::Verified(proof) => Some(&proof.account),
            State::Secured(secured) => secured.handshake.proved(),
            State::Clear | State::Upgrading | State::Bound(_) | State::Peer(_) | State::Component(_) => None,
        }
    }

    /// Where it came from.
    pub fn peer(&self) -> Option<IpAddr> {
        match self.door {
            Door::StartTls(ip)
            | Door::DirectTls(ip)
            | Door::WebSocket(ip)
            | Door::Bosh(ip)
            | Door::PeerStartTls(ip)
            | Door::PeerDirectTls(ip)
            | Door::Component(ip) => Some(ip),
            // Whom we dialed is no stranger at our door.
            Door::Local { .. } | Door::Dialed { .. } => None,
        }
    }
}

/// All connections by the driver's slot.
#[derive(Debug, Default)]
pub struct Streams {
    slots: Vec<Option<(u32, Slot)>>,
    /// How many connections of a household have no session.
    strangers: BTreeMap<IpAddr, usize>,
}

impl Streams {
    fn insert(&mut self, id: StreamId, slot: Slot) {
        let at = id.slot as usize;
        if self.slots.len() <= at {
            self.slots.resize_with(at + 1, || None);
        }
        self.slots[at] = Some((id.generation, slot));
    }

    /// Forgets a connection.
    pub fn remove(&mut self, id: StreamId) -> Option<Slot> {
        let slot = self.slots.get_mut(id.slot as usize)?.take_if(|(generation, _)| *generation == id.generation)?;
        Some(slot.1)
    }

    /// A connection by its id.
    pub fn slot(&self, id: StreamId) -> Option<&Slot> {
        self.slots.get(id.slot as usize)?.as_ref().filter(|(generation, _)| *generation == id.generation).map(|s| &s.1)
    }

    /// A connection by its id, to change.
    pub fn slot_mut(&mut self, id: StreamId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.slot as usize)?.as_mut();
        slot.filter(|(generation, _)| *generation == id.generation).map(|s| &mut s.1)
    }

    /// All ids in order of slots.
    pub fn ids(&self) -> Vec<StreamId> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(at, slot)| Some(StreamId { slot: at as u32, generation: slot.as_ref()?.0 })).collect()
    }

    /// Asserts that sessions and streams point at each other.
    pub fn check(&self, sessions: &Sessions) {
        for id in self.ids() {
            if let Some(session) = self.slot(id).and_then(Slot::session) {
                let session = sessions.session(session).expect("a bound stream's session exists");
                assert_eq!(session.stream, Some(id), "session and stream point at each other");
            }
        }
        let strangers = self.ids().into_iter().filter_map(|id| self.slot(id));
        let strangers = strangers.filter(|slot| slot.sign_in_by.is_some() && slot.peer().is_some()).count();
        assert_eq!(self.strangers.values().sum::<usize>(), strangers, "who has not signed in is counted");
        for (_, session) in sessions.all() {
            if let Some(stream) = session.stream {
                assert!(self.slot(stream).is_some(), "a session's stream exists");
            }
            assert!(session.stream.is_some() || session.expires.is_some(), "a session without stream expires");
        }
    }
}

impl Server {
    pub(super) fn opened(&mut self, env: &mut Env<'_>, id: StreamId, door: Door) {
        self.core.counters.streams += 1;
        let bounds = Bounds { stanza_bytes_max: limits::PREAUTH_STANZA_BYTES_MAX, depth_max: limits::DEPTH_MAX };
        let sign_in_by = env.now.plus_ms(limits::PREAUTH_MS_MAX);
        self.timers.set(sign_in_by, Alarm::SignIn(id));
        let state = match door {
            Door::PeerStartTls(_) | Door::PeerDirectTls(_) | Door::Dialed { .. } => {
                State::Peer(Box::new(PeerStream::new(env.now)))
            }
            Door::Component(_) => State::Component(Box::default()),
            Door::StartTls(_) | Door::DirectTls(_) | Door::WebSocket(_) | Door::Bosh(_) | Door::Local { .. } => {
                State::Clear
            }
        };
        let slot = Slot {
            state,
            door,
            framer: Some(Box::new(Framer::new(bounds))),
            header_sent: false,
            domain: None,
            lang: None,
            sign_in_by: Some(sign_in_by),
            bucket: Bucket::default(),
            paced: None,
            waits: false,
            held: None,
        };
        let household = slot.peer().map(household);
        self.streams.insert(id, slot);
        let strangers = household.map_or(0, |household| {
            let count = self.streams.strangers.entry(household).or_default();
            *count += 1;
            *count
        });
        if self.stops {
            self.fail(env, id, StreamCondition::SystemShutdown.into());
        } else if strangers > limits::PREAUTH_PER_ADDRESS_MAX {
            let error = StreamError::new(StreamCondition::PolicyViolation).text("Too many connections at once.");
            self.fail(env, id, error);
        }
        self.peer_opened(env, id);
    }

    /// The stream has a session or is gone: its deadline is off, and its household has one stranger less (S3).
    pub(super) fn no_stranger(&mut self, id: StreamId) {
        let Some(slot) = self.streams.slot_mut(id) else { return };
        let Some(at) = slot.sign_in_by.take() else { return };
        let household = slot.peer().map(household);
        self.timers.cancel(at, Alarm::SignIn(id));
        if let Some(household) = household
            && let Some(count) = self.streams.strangers.get_mut(&household)
        {
            *count -= 1;
            if *count == 0 {
                self.streams.strangers.remove(&household);
            }
        }
    }

    /// The connection is gone without a word: a session that can be resumed waits (XEP-0198 §5).
    pub(super) fn closed(&mut self, env: &mut Env<'_>, id: StreamId) {
        let peer = self.take_peer(id);
        if let Some(session) = self.forget_stream(id) {
            self.hibernate(env, session);
        }
        if let Some(peer) = peer {
            self.peer_gone(env, id, *peer, Parting::Broken);
        }
    }

    /// What a stream between servers holds, before it is forgotten.
    fn take_peer(&mut self, id: StreamId) -> Option<Box<PeerStream>> {
        let slot = self.streams.slot_mut(id)?;
        match std::mem::replace(&mut slot.state, State::Upgrading) {
            State::Peer(peer) => Some(peer),
            other => {
                slot.state = other;
                None
            }
        }
    }

    /// Closes with a stream error (RFC 6120 §4.9). The session ends with it.
    pub(super) fn fail(&mut self, env: &mut Env<'_>, id: StreamId, error: StreamError) {
        let Some(slot) = self.streams.slot(id) else { return };
        if slot.sign_in_by.is_none() || self.chatter.admits(env.now) {
            log::info!(
                "{}: closing with {}{}",
                self.who(id),
                error.condition.as_str(),
                error.text.map(|text| format!(" ({text})")).unwrap_or_default()
            );
        }
        let Some(slot) = self.streams.slot(id) else { return };
        let mut out = Vec::with_capacity(512);
        if !slot.header_sent
            && !self.peer_first_words(env, slot, &mut out)
            && !self.component_first_words(env, slot, &mut out)
        {
            let domain = slot.domain.as_deref().unwrap_or(&self.core.config.domains[0]);
            stream::write_header(domain, &random_id(env), None, &mut out);
        }
        error.write(&mut out);
        self.goodbye(env, id, out);
    }

    /// Closes in peace: the other side ended its stream, or we have said all. What the disk may still refuse is waited
    /// for: its sender would never hear of it (RFC 6120 §4.4 lets us finish what we have to say).
    pub(super) fn finish(&mut self, env: &mut Env<'_>, id: StreamId) {
        match self.streams.slot(id).and_then(Slot::session).filter(|session| self.owes(*session)) {
            Some(session) => self.end_later(session, None),
            None => self.goodbye(env, id, Vec::new()),
        }
    }

    fn goodbye(&mut self, env: &mut Env<'_>, id: StreamId, last_words: Vec<u8>) {
        let mut words = self.last_acknowledgement(id);
        words.extend_from_slice(&last_words);
        words.extend_from_slice(b"</stream:stream>");
        self.core.write(id, Chunk::new(words));
        self.core.effects.push(Effect::Close(id));
        let peer = self.take_peer(id);
        if let Some(session) = self.forget_stream(id) {
            self.end_session(env, session);
        }
        if let Some(peer) = peer {
            self.peer_gone(env, id, *peer, Parting::Closed);
        }
    }

    /// Closes a stream that seems dead; its session waits for resumption.
    pub(super) fn abandon(&mut self, env: &mut Env<'_>, id: StreamId, error: &StreamError) {
        log::info!("{}: {}", self.who(id), error.text.unwrap_or(error.condition.as_str()));
        let mut out = Vec::with_capacity(256);
        error.write(&mut out);
        out.extend_from_slice(b"</stream:stream>");
        self.core.write(id, Chunk::new(out));
        self.core.effects.push(Effect::Close(id));
        self.closed(env, id);
    }

    /// Takes the stream out of every table; the session that was bound on it comes back without it.
    pub(super) fn forget_stream(&mut self, id: StreamId) -> Option<SessionId> {
        self.no_stranger(id);
        let slot = self.streams.remove(id)?;
        if let Some(until) = slot.paced {
            self.timers.cancel(until, Alarm::Paced(id));
        }
        self.drained(id);
        self.durable.paused.retain(|paused| *paused != id);
        self.durable.resuming.retain(|(waits, _)| *waits != id);
        self.durable.settling.retain(|waits| *waits != id);
        if let Some(left) = self.core.components.disconnect(id).filter(|_| !self.stops) {
            components::gone(left, &mut self.core);
        }
        for stuck in self.core.stuck.values_mut() {
            stuck.held.retain(|held| *held != id);
        }
        let session = slot.session()?;
        self.stop_asking(session);
        if let Some(session) = self.core.sessions.session_mut(session) {
            session.stream = None;
        }
        Some(session)
    }

    /// A recipient does not read: those who write to it wait a moment, never longer (no stall of others).
    pub(super) fn stuck(&mut self, env: &mut Env<'_>, id: StreamId) {
        if self.streams.slot(id).is_some() {
            self.core.stuck.insert(id, Stuck { holds_back: true, held: Vec::new() });
            self.timers.set(env.now.plus_ms(limits::HELD_BACK_MS_MAX), Alarm::HeldBack(id));
        }
    }

    /// Everything was written: whoever waited goes on.
    pub(super) fn drained(&mut self, id: StreamId) {
        for held in self.core.stuck.remove(&id).map(|stuck| stuck.held).unwrap_or_default() {
            self.unpause(held);
        }
    }

    /// Reads from the stream again, unless there is another reason not to.
    pub(super) fn unpause(&mut self, id: StreamId) {
        let waits = self.streams.slot(id).is_none_or(|slot| slot.held.is_some());
        let is_held_back = || self.core.stuck.values().any(|stuck| stuck.held.contains(&id));
        if !waits && !self.durable.paused.contains(&id) && !is_held_back() {
            self.core.effects.push(Effect::Resume(id));
        }
    }

    /// What comes from the stream waits from now on.
    pub(super) fn hold(&mut self, id: StreamId) {
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.waits = true;
            slot.held.get_or_insert_default();
            self.core.effects.push(Effect::Pause(id));
        }
    }

    /// Keeps bytes of a stream that waits; `false`: it does not.
    pub(super) fn keeps(&mut self, env: &mut Env<'_>, id: StreamId, bytes: &[u8]) -> bool {
        let Some(held) = self.streams.slot_mut(id).and_then(|slot| slot.held.as_mut()) else { return false };
        if held.len() + bytes.len() <= limits::HELD_BYTES_MAX {
            held.extend_from_slice(bytes);
        } else {
            let error = StreamError::new(StreamCondition::PolicyViolation).text("Too much while the server is busy.");
            self.fail(env, id, error);
        }
        true
    }

    /// The stream does not wait for the disk any more.
    pub(super) fn release(&mut self, env: &mut Env<'_>, id: StreamId) {
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.waits = false;
            self.hear_on(env, id);
        }
    }

    /// If the stream waits for nothing more, what came meanwhile is heard now.
    pub(super) fn hear_on(&mut self, env: &mut Env<'_>, id: StreamId) {
        let Some(slot) = self.streams.slot_mut(id).filter(|slot| !slot.waits && slot.paced.is_none()) else { return };
        let Some(held) = slot.held.take() else { return };
        self.unpause(id);
        if !held.is_empty() {
            self.received(env, id, &held);
            self.core.current = None;
        }
    }

    /// Whoever was held back for this stream goes on, although it is still full; its cap closes it in the end.
    pub(super) fn release_held(&mut self, id: StreamId) {
        let Some(stuck) = self.core.stuck.get_mut(&id) else { return };
        stuck.holds_back = false;
        for held in std::mem::take(&mut stuck.held) {
            self.unpause(held);
        }
    }

    pub(super) fn tick(&mut self, env: &mut Env<'_>) {
        while let Some(alarm) = self.timers.due(env.now) {
            match alarm {
                Alarm::SignIn(id) if self.peer_too_slow(env, id) => {}
                Alarm::Link(link) => self.link_alarm(env, link),
                Alarm::PeerSilent(id) => self.peer_silent(env, id),
                Alarm::PeerIdle(id) => self.peer_idle(env, id),
                Alarm::PeersHeld => self.forget_held_peers(env),
                Alarm::SignIn(id) => {
                    let error = StreamError::new(StreamCondition::ConnectionTimeout).text("Sign in faster.");
                    self.fail(env, id, error);
                }
                Alarm::HeldBack(id) => self.release_held(id),
                Alarm::Paced(id) => self.paced(env, id),
                Alarm::Ask(session) => self.core.ask.push(session),
                Alarm::Unanswered(session) => self.unanswered(env, session),
                Alarm::Expiry(session) => self.end_session(env, session),
                Alarm::Chores => self.notice(env, &crate::router::service::Notice::Chores),
                Alarm::LazyCommit => self.durable.commit_lazy = true,
            }
            self.work(env);
        }
    }

    /// For the log: who is at the other end.
    pub(super) fn who(&self, id: StreamId) -> String {
        let Some(slot) = self.streams.slot(id) else { return "closed stream".into() };
        let session = slot.session().and_then(|session| self.core.sessions.session(session));
        let name = match &slot.state {
            State::Peer(peer) => Some(peer.name()),
            State::Component(component) => Some(component.name()),
            _ => None,
        };
        if let Some(name) = name {
            let at = slot.peer().map(|at| format!(" at {at}")).unwrap_or_default();
            return format!("{name}{at}");
        }
        match (session, slot.peer()) {
            (Some(session), _) => session.jid.to_string(),
            (None, Some(peer)) => peer.to_string(),
            (None, None) => "local".into(),
        }
    }
}
