//! What waits for a domain: when it is dialed, when it goes out, and when its senders are told that it does not.
//!
//! Source: RFC 6120 §10.4 and §5.4.3. Invariants: a domain is dialed once at a time and after a failure not before a pause
//! that grows; an unreachable one costs a look into a table (S25); and what was up a moment ago is tried again before
//! anybody is told.

use std::collections::VecDeque;

use super::Stage;
use crate::{
    domain::{
        ids::{StreamId, Time},
        peers::{self, Cut, Failure, Link, LinkId, LinkState, Pair, Parcel},
        store::Store,
    },
    limits,
    proto::sm::Ask,
    router::{
        core::Core,
        event::{DialError, Effect, Env, QueryId, Target},
        peers::{give_back, is_lasting},
    },
    server::{Server, context, negotiate::State, streams::Slot, timers::Alarm},
    wire::{
        build,
        element::Element,
        error::{Condition, StanzaError, StreamCondition, StreamError},
        jid::{self, Jid},
        ns,
        stanza::{Chunk, Stanza},
        time,
    },
};

/// What was on its way when the server stopped waits for its links again.
pub fn start(core: &mut Core, env: &Env<'_>) {
    let rows = peers::left_over(&Store { overlay: &mut core.overlay, view: env.view });
    for (row, bytes) in rows {
        let parcel = revive(&bytes, row.0).map(|stanza| Parcel { stanza, row: Some(row), since: env.now });
        let sent = parcel.is_some_and(|parcel| {
            let to = parcel.stanza.to.as_ref().map(Jid::domain).unwrap_or_default();
            let pair = Pair::new(parcel.stanza.from.domain(), to);
            core.peers.send(&pair, parcel).is_ok()
        });
        if !sent {
            peers::forget(&mut Store { overlay: &mut core.overlay, view: env.view }, row);
        }
    }
}

/// A stanza from its row, with the time when it was taken in (XEP-0203).
fn revive(bytes: &[u8], taken_us: u64) -> Option<Stanza> {
    let element = Element::parse(bytes, ns::CLIENT).ok()?;
    let from = Jid::parse(element.get("from")?).ok()?;
    let to = Jid::parse(element.get("to")?).ok()?;
    let mut delay = b"<delay xmlns='urn:xmpp:delay'".to_vec();
    build::attr("from", from.domain(), &mut delay);
    build::attr("stamp", &time::stamp_ms(taken_us / 1000), &mut delay);
    delay.extend_from_slice(b"/>");
    let mut stanza = Stanza::build(&element, from, Some(to));
    stanza.add(&delay);
    Some(stanza)
}

impl Failure {
    /// What the sender of a stanza is told, RFC 6120 §8.3.3.16 and §8.3.3.17, XEP-0220 §2.1.1.
    fn condition(self) -> Condition {
        match self {
            Failure::NotFound => Condition::RemoteServerNotFound,
            Failure::Disbelieved => Condition::InternalServerError,
            Failure::Timeout | Failure::Refused | Failure::Cut => Condition::RemoteServerTimeout,
        }
    }

    /// Whether another attempt soon may well succeed.
    fn may_pass(self) -> bool {
        matches!(self, Failure::Timeout | Failure::Cut)
    }
}

impl Server {
    /// Serves every link that has something to do.
    pub(in crate::server) fn serve_links(&mut self, env: &mut Env<'_>) {
        for id in std::mem::take(&mut self.core.peers.due) {
            self.serve_link(env, id);
        }
    }

    fn serve_link(&mut self, env: &mut Env<'_>, id: LinkId) {
        let Some(link) = self.core.peers.link(id) else { return };
        match link.state {
            LinkState::Up(stream) => {
                if self.leaves_way_back(stream, id) {
                    return self.dial(env, id);
                }
                self.ask_questions(stream, id);
                self.send_out(env, id, stream);
            }
            LinkState::Dialing(_) => {}
            LinkState::Opening(stream) => self.go_on_dialed(env, stream),
            // Somebody claims to be that server: it may well be there again. If both sides paused for each other, neither
            // would ever verify the other.
            LinkState::Failed(why, _) if why.may_pass() && link.is_asked(env.now) => self.dial(env, id),
            LinkState::Failed(why, until) if env.now < until => self.tell(env, id, why),
            LinkState::Failed(..) | LinkState::Resting => self.dial(env, id),
        }
    }

    /// Dials, if there is a reason to; otherwise the link is forgotten.
    fn dial(&mut self, env: &mut Env<'_>, id: LinkId) {
        let Some(link) = self.core.peers.link(id) else { return };
        if self.stops {
            return;
        }
        if !link.is_wanted() {
            self.core.peers.remove(id);
            return;
        }
        if let Some(cut) = &link.cut
            && !cut.sm.is_settled(self.core.committed)
        {
            // A count that the disk may still take back cannot be told.
            return self.pause_link(env.now.plus_ms(limits::CHORES_MS), id, Failure::Cut);
        }
        if self.goes_back(env, id) {
            return;
        }
        let Some(link) = self.core.peers.link(id) else { return };
        let pair = link.pair.clone();
        let domain = jid::ascii_domain(&pair.theirs);
        let query = self.core.query();
        if let Some(link) = self.core.peers.link_mut(id) {
            link.state = LinkState::Dialing(query);
        }
        log::debug!("{}: dialing", pair.theirs);
        self.core.effects.push(Effect::Dial(query, Box::new(Target { domain, from: pair.ours.into() })));
    }

    /// The world outside could not connect.
    pub(in crate::server) fn dial_failed(&mut self, env: &mut Env<'_>, query: QueryId, error: &DialError) {
        let Some(id) = self.core.peers.dialed(query) else { return };
        let name = self.core.peers.link(id).map(|link| link.pair.theirs.clone()).unwrap_or_default();
        let failure = match error {
            DialError::NotFound => {
                log::info!("{name}: DNS knows no such server");
                Failure::NotFound
            }
            DialError::Timeout => {
                log::info!("{name}: no answer");
                Failure::Timeout
            }
            DialError::Unreachable(why) => {
                log::info!("{name}: cannot be reached: {why}");
                Failure::Timeout
            }
            DialError::Tls(why) => {
                log::warn!("{name}: TLS failed: {why}");
                Failure::Refused
            }
        };
        self.link_failed(env, id, failure);
    }

    /// A link could not be made: it rests for a while.
    pub(super) fn link_failed(&mut self, env: &mut Env<'_>, id: LinkId, why: Failure) {
        let Some(link) = self.core.peers.link_mut(id) else { return };
        (link.failures, link.failed_at) = (link.failures.saturating_add(1), env.now);
        let pause = match why {
            Failure::NotFound => limits::PEER_NOT_FOUND_MS,
            _ => (limits::PEER_PAUSE_MS << (link.failures - 1).min(16)).min(limits::PEER_PAUSE_MS_MAX),
        };
        let is_over = |cut: &mut Cut| {
            let holds_nothing = cut.sm.unacked_len() == 0 && !cut.is_bidi;
            !why.may_pass() || holds_nothing || cut.is_older_than(env.now)
        };
        if let Some(mut cut) = link.cut.take_if(is_over) {
            self.put_back(cut.sm.take_unacked());
        }
        self.pause_link(env.now.plus_ms(pause), id, why);
        self.tell(env, id, why);
    }

    /// A link that was up broke: it is made again, soon, if somebody wants it.
    pub(super) fn link_cut(&mut self, env: &mut Env<'_>, id: LinkId) {
        let Some(link) = self.core.peers.link_mut(id) else { return };
        if link.is_wanted() {
            return self.pause_link(env.now.plus_ms(limits::PEER_REDIAL_MS), id, Failure::Cut);
        }
        self.core.peers.remove(id);
    }

    pub(super) fn pause_link(&mut self, until: Time, id: LinkId, why: Failure) {
        if let Some(link) = self.core.peers.link_mut(id) {
            link.state = LinkState::Failed(why, until);
            self.timers.set(until, Alarm::Link(id));
        }
    }

    /// Tells those who need not wait any longer for a link that failed.
    fn tell(&mut self, env: &mut Env<'_>, id: LinkId, why: Failure) {
        self.drop_questions(env, id, why.condition());
        let Some(link) = self.core.peers.link_mut(id) else { return };
        let now = env.now;
        let waits = |parcel: &Parcel| match why {
            Failure::Cut => parcel.since.plus_ms(limits::PEER_PATIENCE_MS) > now,
            _ if !why.may_pass() => false,
            _ => is_lasting(&parcel.stanza) && parcel.since.plus_ms(limits::PEER_PATIENCE_MS) > now,
        };
        let gone = link.take_if(|parcel| !waits(parcel));
        if let Some(oldest) = link.oldest() {
            self.timers.set(oldest.plus_ms(limits::PEER_PATIENCE_MS), Alarm::Link(id));
        }
        let error = StanzaError::new(why.condition());
        for parcel in gone {
            give_back(&parcel, &error, &mut context(&mut self.core, env));
        }
    }

    /// A time has come for which a link waited.
    pub(in crate::server) fn link_alarm(&mut self, env: &mut Env<'_>, id: LinkId) {
        let Some(link) = self.core.peers.link_mut(id) else { return };
        match link.state {
            LinkState::Resting if !link.is_wanted() => {
                self.core.peers.remove(id);
            }
            LinkState::Resting | LinkState::Failed(..) => self.serve_link(env, id),
            _ => {}
        }
    }

    /// A server that could not be reached has come to us: what it is answered does not wait for the end of a pause.
    pub(super) fn is_there_again(&mut self, env: &mut Env<'_>, pair: &Pair) {
        let Some(id) = self.core.peers.of(pair) else { return };
        let Some(link) = self.core.peers.link_mut(id) else { return };
        if let LinkState::Failed(Failure::Timeout, _) = link.state
            && env.now >= link.failed_at.plus_ms(limits::PEER_QUESTION_PAUSE_MS)
        {
            (link.state, link.failures) = (LinkState::Resting, 0);
            self.core.peers.is_due(id);
        }
    }

    /// Sends what waits, as far as the other side takes it.
    pub(super) fn send_out(&mut self, env: &mut Env<'_>, id: LinkId, stream: StreamId) {
        let batch = self.core.last_batch();
        loop {
            if self.core.stuck.contains_key(&stream) {
                break;
            }
            let full = self.peer(stream).and_then(|peer| peer.sm.as_ref()).is_some_and(|sm| {
                sm.unacked_len() >= limits::PEER_UNACKED_MAX || sm.unacked_bytes() >= limits::PEER_UNACKED_BYTES_MAX
            });
            if full {
                break;
            }
            let Some(parcel) = self.core.peers.link_mut(id).and_then(Link::take_next) else { break };
            let chunk = parcel.stanza.chunk();
            let row = parcel.row;
            let Some(peer) = self.peer_mut(stream) else { break };
            peer.active = env.now;
            match &mut peer.sm {
                // Below its bound, see above.
                Some(sm) => {
                    let _ = sm.sent(chunk.clone(), parcel);
                }
                None => self.core.peers.handed_over.extend(row.map(|row| (batch, row))),
            }
            self.core.write(stream, chunk);
        }
        self.ask_peer(env, stream);
    }

    /// One question for an acknowledgement is out as long as something is not acknowledged.
    pub(super) fn ask_peer(&mut self, env: &mut Env<'_>, stream: StreamId) {
        let Some(sm) = self.peer_mut(stream).and_then(|peer| peer.sm.as_mut()) else { return };
        if sm.unacked_len() > 0 && sm.ask == Ask::Quiet {
            sm.ask = Ask::Out(env.now.0);
            self.timers.set(env.now.plus_ms(limits::ACK_MS_MAX), Alarm::PeerSilent(stream));
            self.core.write(stream, Chunk::new(&b"<r xmlns='urn:xmpp:sm:3'/>"[..]));
        }
    }

    /// A peer that does not acknowledge is not there any more; what it has not got goes out again.
    pub(in crate::server) fn peer_silent(&mut self, env: &mut Env<'_>, stream: StreamId) {
        if self.peer(stream).is_some() {
            let error = StreamError::new(StreamCondition::ConnectionTimeout).text("No acknowledgement in time.");
            self.abandon(env, stream, &error);
        }
    }

    /// What was not acknowledged goes out again, before all that waits; whose link is gone learns it.
    pub(super) fn put_back(&mut self, mut parcels: VecDeque<(Chunk, Parcel)>) {
        while let Some((_, parcel)) = parcels.pop_back() {
            let to = parcel.stanza.to.as_ref().map(Jid::domain).unwrap_or_default();
            let pair = Pair::new(parcel.stanza.from.domain(), to);
            let Some(link) = self.core.peers.of_or_new(&pair) else { continue };
            if let Some(link) = self.core.peers.link_mut(link) {
                link.put_back([parcel].into_iter());
            }
            self.core.peers.is_due(link);
        }
    }

    /// The outbox of a stream is empty again.
    pub(in crate::server) fn peer_drained(&mut self, stream: StreamId) {
        let Some(Slot { state: State::Peer(peer), .. }) = self.streams.slot(stream) else { return };
        for link in peer.link.iter().chain(&peer.carries) {
            self.core.peers.is_due(*link);
        }
    }

    /// A stream that carried nothing for a while is closed.
    pub(in crate::server) fn peer_idle(&mut self, env: &mut Env<'_>, stream: StreamId) {
        let Some(peer) = self.peer(stream) else { return };
        let patience = if peer.link.is_some() { limits::PEER_IDLE_MS } else { limits::PEER_IDLE_IN_MS };
        let due = peer.active.plus_ms(patience);
        let busy = peer.stage != Stage::Open || peer.sm.as_ref().is_some_and(|sm| sm.unacked_len() > 0);
        if due > env.now || busy {
            return self.timers.set(due.max(env.now.plus_ms(limits::PEER_PAUSE_MS)), Alarm::PeerIdle(stream));
        }
        log::debug!("{}: nothing to say; closed", self.who(stream));
        self.finish(env, stream);
    }

    /// A dialed stream has not become a link in time. One that only asked for others has done what it is for.
    pub(in crate::server) fn peer_too_slow(&mut self, env: &mut Env<'_>, stream: StreamId) -> bool {
        let Some(peer) = self.peer(stream) else { return false };
        let link = peer.link.and_then(|link| self.core.peers.link(link));
        let opens = |link: &Link| link.state == LinkState::Opening(stream) && !link.is_wanted();
        if peer.stage == Stage::Ready && link.is_some_and(opens) {
            let id = peer.link;
            if let Some(link) = id.and_then(|id| self.core.peers.link_mut(id)) {
                link.state = LinkState::Resting;
            }
            self.finish(env, stream);
            if let Some(id) = id {
                self.core.peers.is_due(id);
            }
            return true;
        }
        false
    }

    /// New settings: with whom we do not talk any more is told so, and what waits for them goes back.
    pub(in crate::server) fn peers_reloaded(&mut self, env: &mut Env<'_>) {
        let federation = self.core.config.federation.clone();
        let refused = |domain: &str| federation.admits(domain).is_err();
        for id in self.streams.ids() {
            let Some(peer) = self.peer(id) else { continue };
            let known = peer.theirs.as_deref().into_iter().chain(peer.pairs.iter().map(|(pair, _)| &*pair.theirs));
            if known.into_iter().any(refused) {
                let error = StreamError::new(StreamCondition::PolicyViolation);
                self.fail(env, id, error.text("This server does not talk to yours."));
            }
        }
        let gone = self.core.peers.all().filter(|(_, link)| refused(&link.pair.theirs)).map(|(id, _)| id);
        for id in gone.collect::<Vec<_>>() {
            self.link_failed(env, id, Failure::Refused);
        }
    }

    /// What was handed to connections without stream management counts as received once it is durable.
    pub(in crate::server) fn forget_sent(&mut self, env: &Env<'_>) {
        while let Some((_, row)) = self.core.peers.handed_over.pop_front_if(|(batch, _)| *batch <= self.core.committed)
        {
            peers::forget(&mut Store { overlay: &mut self.core.overlay, view: env.view }, row);
        }
    }
}

impl Link {
    /// Whether a question is worth another attempt before the pause is over.
    fn is_asked(&self, now: Time) -> bool {
        !self.questions.is_empty() && now >= self.failed_at.plus_ms(limits::PEER_QUESTION_PAUSE_MS)
    }
}

impl Cut {
    fn is_older_than(&self, now: Time) -> bool {
        self.since.plus_ms(limits::PEER_HOLD_MS) <= now
            || self.sm.unacked().any(|(_, parcel)| parcel.since.plus_ms(limits::PEER_PATIENCE_MS) <= now)
    }
}
