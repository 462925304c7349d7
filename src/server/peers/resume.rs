//! What is left of a stream that broke, and how it goes on.
//!
//! Source: XEP-0198 §5. Invariant: a stream goes on only for the domains that were verified on it, all of them proved
//! again, and only when all that it brought is durable.

use super::Standing;
use crate::{
    domain::{
        ids::{StreamId, Time},
        peers::{Pair, Parcel},
    },
    limits,
    proto::sm::Sm,
    router::event::Env,
    server::{Server, negotiate::Next, resume::failed, timers::Alarm},
    wire::{
        element::Element,
        error::{Condition, StreamCondition, StreamError},
        ns,
        stanza::Chunk,
    },
};

/// A stream of another server that broke.
#[derive(Debug)]
pub struct Held {
    /// Counters and token.
    pub sm: Box<Sm<Parcel>>,
    /// Who was verified on it.
    pub pairs: Vec<(Pair, Standing)>,
    /// Both sides sent over it (XEP-0288).
    pub is_bidi: bool,
    /// What we sent over it and was not acknowledged goes another way: only how much came in can be told.
    pub is_over: bool,
    /// When what we sent over it goes another way.
    pub over_at: Time,
    /// When it is forgotten.
    pub until: Time,
}

impl Held {
    /// What is left of a stream that breaks now.
    pub fn new(sm: Box<Sm<Parcel>>, pairs: Vec<(Pair, Standing)>, is_bidi: bool, now: Time) -> Held {
        let (over_at, until) = (now.plus_ms(limits::PEER_RETURN_MS), now.plus_ms(limits::PEER_HOLD_MS));
        Held { sm, pairs, is_bidi, is_over: false, over_at, until }
    }

    /// Whether this pair was verified on it.
    pub fn is_of(&self, pair: &Pair) -> bool {
        self.pairs.iter().any(|(known, standing)| known == pair && *standing == Standing::Verified)
    }
}

/// By which name a stream is resumed.
pub fn name(token: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*token))
}

fn token(name: &str) -> Option<[u8; 16]> {
    let digits = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u128::from_str_radix(name, 16).ok()).flatten().map(u128::to_be_bytes)
}

impl Server {
    /// Keeps what is left of a stream for its resumption.
    pub(super) fn hold_peer(&mut self, held: Held) {
        self.timers.set(held.until, Alarm::PeersHeld);
        if held.sm.unacked_len() > 0 {
            self.timers.set(held.over_at, Alarm::PeersHeld);
        }
        self.peering.held.push_back(held);
        if self.peering.held.len() > limits::PEER_HELD_MAX
            && let Some(mut oldest) = self.peering.held.pop_front()
        {
            self.put_back(oldest.sm.take_unacked());
        }
    }

    /// Forgets those whose time is over; what we sent over one that does not come back goes another way.
    pub(in crate::server) fn forget_held_peers(&mut self, env: &mut Env<'_>) {
        let now = env.now;
        self.end_held(|held| held.over_at <= now);
        self.peering.held.retain(|held| held.until > now);
    }

    /// What we sent over these goes another way.
    pub(super) fn end_held(&mut self, which: impl Fn(&Held) -> bool) {
        let mut back = Vec::new();
        for held in self.peering.held.iter_mut().filter(|held| held.sm.unacked_len() > 0 && which(held)) {
            held.is_over = true;
            back.push(held.sm.take_unacked());
        }
        back.into_iter().rev().for_each(|parcels| self.put_back(parcels));
    }

    /// `<resume/>` from a server that has proved who it is on its new stream.
    pub(super) fn resume_peer(&mut self, env: &mut Env<'_>, id: StreamId, resume: &Element) -> Next {
        let wanted = resume.get("previd").and_then(token);
        let h = resume.get("h").and_then(|h| h.parse::<u32>().ok());
        let (Some(wanted), Some(h)) = (wanted, h) else {
            self.core.write(id, failed(Condition::ItemNotFound, None));
            return Next::Go;
        };
        self.leave_old_peer(env, id, &wanted);
        let found = self.peering.held.iter().position(|held| held.sm.token == Some(wanted));
        let found = found.filter(|at| self.may_resume(id, &self.peering.held[*at]));
        let Some(at) = found else {
            self.core.write(id, failed(Condition::ItemNotFound, None));
            return Next::Go;
        };
        if !self.peering.held[at].sm.is_settled(self.core.committed) {
            // The count that we tell is final, so that the disk has to answer first.
            self.peering.resuming.push((id, resume.clone()));
            self.hold(id);
            return Next::Go;
        }
        let Some(mut held) = self.peering.held.remove(at) else { return Next::Go };
        if held.is_over {
            // XEP-0198 §5: what came in need not come again.
            let h = held.sm.durable(self.core.committed);
            self.core.write(id, failed(Condition::ItemNotFound, Some(h)));
            return Next::Go;
        }
        self.go_on_peer(env, id, held, &wanted, h)
    }

    fn may_resume(&self, id: StreamId, held: &Held) -> bool {
        let Some(peer) = self.peer(id) else { return false };
        let verified = held.pairs.iter().filter(|(_, standing)| *standing == Standing::Verified);
        verified.clone().count() > 0 && verified.clone().all(|(pair, _)| peer.is_verified(pair))
    }

    /// The stream may not have broken for us yet.
    fn leave_old_peer(&mut self, env: &mut Env<'_>, id: StreamId, token: &[u8; 16]) {
        let has = |other: &StreamId| {
            let sm = self.peer(*other).and_then(|peer| peer.sm.as_ref());
            *other != id && sm.and_then(|sm| sm.token) == Some(*token)
        };
        let Some(old) = self.streams.ids().into_iter().find(has) else { return };
        let allowed = match (self.peer(old), self.peer(id)) {
            (Some(old), Some(new)) => {
                let verified = old.pairs.iter().filter(|(_, standing)| *standing == Standing::Verified);
                verified.clone().all(|(pair, _)| new.is_verified(pair))
            }
            _ => false,
        };
        if allowed {
            let error = StreamError::new(StreamCondition::Conflict).text("Resumed elsewhere.");
            self.abandon(env, old, &error);
        }
    }

    fn go_on_peer(&mut self, env: &mut Env<'_>, id: StreamId, held: Held, token: &[u8; 16], h: u32) -> Next {
        let mut sm = held.sm;
        // What was owed to the old stream, `resumed` says.
        sm.owes_ack = false;
        let resumed = Element::new("resumed", ns::SM)
            .attr("previd", name(token))
            .attr("h", sm.durable(self.core.committed).to_string());
        self.core.write(id, Chunk::new(resumed.to_vec()));
        let Some(peer) = self.peer_mut(id) else { return Next::Stop };
        (peer.sm, peer.is_bidi) = (Some(sm), peer.is_bidi || held.is_bidi);
        if !self.send_again(env, id, h) {
            return Next::Stop;
        }
        self.carries_again(id);
        Next::Go
    }

    /// What the other side has not got is sent again, XEP-0198 §5.
    fn send_again(&mut self, env: &mut Env<'_>, id: StreamId, h: u32) -> bool {
        if !self.peer_has(env, id, h) {
            return false;
        }
        let sm = self.peer(id).and_then(|peer| peer.sm.as_ref());
        let again: Vec<Chunk> = sm.iter().flat_map(|sm| sm.unacked().map(|(chunk, _)| chunk.clone())).collect();
        for chunk in again {
            self.core.write(id, chunk);
        }
        self.ask_peer(env, id);
        true
    }

    /// What a resumption waited for is durable, or never will be.
    pub(super) fn resume_waiting_peers(&mut self, env: &mut Env<'_>) {
        for (id, resume) in std::mem::take(&mut self.peering.resuming) {
            if self.peer(id).is_some() {
                // If it fails, its stream is closed already.
                let _ = self.resume_peer(env, id, &resume);
            }
            if self.peering.resuming.iter().all(|(waits, _)| *waits != id) {
                self.release(env, id);
            }
        }
    }

    /// We dialed, and the other side goes on where the stream broke.
    pub(super) fn peer_resumed(&mut self, env: &mut Env<'_>, id: StreamId, resumed: &Element) -> Next {
        let cut = self.peer(id).and_then(|peer| peer.link).and_then(|link| self.core.peers.link_mut(link)?.cut.take());
        let (Some(mut cut), Some(h)) = (cut, resumed.get("h").and_then(|h| h.parse().ok())) else {
            return self.peer_out_of_turn(env, id);
        };
        cut.sm.ask = crate::proto::sm::Ask::Quiet;
        // What was owed to the old stream, `<resume/>` said.
        cut.sm.owes_ack = false;
        if let Some(peer) = self.peer_mut(id) {
            (peer.sm, peer.previd) = (Some(cut.sm), Some(cut.previd));
        }
        if !self.send_again(env, id, h) {
            return Next::Stop;
        }
        self.link_open(env, id);
        Next::Go
    }

    /// The other side has forgotten the stream; what it had counted, if it says so, need not go out again.
    pub(super) fn peer_not_resumed(&mut self, env: &mut Env<'_>, id: StreamId, answer: &Element) -> Next {
        let cut = self.peer(id).and_then(|peer| peer.link).and_then(|link| self.core.peers.link_mut(link)?.cut.take());
        if let Some(cut) = cut {
            if let Some(peer) = self.peer_mut(id) {
                peer.sm = Some(cut.sm);
            }
            if let Some(h) = answer.get("h").and_then(|h| h.parse().ok())
                && !self.peer_has(env, id, h)
            {
                return Next::Stop;
            }
            if let Some(mut sm) = self.peer_mut(id).and_then(|peer| peer.sm.take()) {
                self.put_back(sm.take_unacked());
            }
        }
        self.enable_on(id);
        Next::Go
    }
}
