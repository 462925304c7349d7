//! What we send over streams that other servers open.
//!
//! Source: XEP-0288 §2. Invariants: a stanza goes out only for a pair that the other side has proved on this very stream;
//! questions about keys go over streams of our own; and what was not acknowledged when the stream breaks waits a while for
//! it to be resumed, then goes another way.

use super::{Held, Stage, Standing};
use crate::{
    domain::{
        ids::StreamId,
        peers::{Failure, LinkId, LinkState, Pair},
    },
    limits,
    router::event::Env,
    server::{Server, negotiate::Next},
};

impl Server {
    /// `<bidi/>`: the other side reads on the stream that it opened.
    pub(super) fn both_ways(&mut self, env: &mut Env<'_>, id: StreamId) -> Next {
        let Some(peer) = self.peer_mut(id).filter(|peer| peer.stage == Stage::Open) else {
            return self.peer_out_of_turn(env, id);
        };
        peer.is_bidi = true;
        Next::Go
    }

    /// The stream that the other side opened and over which this pair may be sent to, and whether it may be used now: until
    /// the other side has had time to ask for stream management, it is waited for, so that nothing goes out uncounted.
    pub(super) fn way_back(&self, env: &Env<'_>, pair: &Pair) -> Option<(StreamId, bool)> {
        let leads_there = |id: &StreamId| {
            self.peer(*id).is_some_and(|peer| {
                let is_proved = peer.pairs.iter().any(|(known, at)| known == pair && *at == Standing::Verified);
                peer.is_bidi && peer.link.is_none() && peer.stage == Stage::Open && is_proved
            })
        };
        let ways = self.streams.ids().into_iter().filter(leads_there);
        // An older one may be dead without our knowing.
        let id = ways.max_by_key(|id| self.peer(*id).map(|peer| peer.active))?;
        let peer = self.peer(id)?;
        let is_ready = peer.sm.is_some() || peer.is_settled || peer.active.plus_ms(limits::PEER_MANAGED_MS) <= env.now;
        Some((id, is_ready))
    }

    /// Lets a link use a stream that the other side opened, if there is one; `false`: it has to be dialed.
    pub(super) fn goes_back(&mut self, env: &mut Env<'_>, link_id: LinkId) -> bool {
        let Some(link) = self.core.peers.link(link_id) else { return false };
        if !link.questions.is_empty() || link.cut.is_some() {
            return false;
        }
        let Some((stream, is_ready)) = self.way_back(env, &link.pair) else { return false };
        if !is_ready {
            self.pause_link(env.now.plus_ms(limits::PEER_MANAGED_MS), link_id, Failure::Cut);
            return true;
        }
        if let Some(peer) = self.peer_mut(stream)
            && !peer.carries.contains(&link_id)
        {
            peer.carries.push(link_id);
        }
        if let Some(link) = self.core.peers.link_mut(link_id) {
            (link.state, link.failures) = (LinkState::Up(stream), 0);
        }
        self.send_out(env, link_id, stream);
        true
    }

    /// A link that used a stream of the other side has a question, which needs a stream of our own.
    pub(super) fn leaves_way_back(&mut self, stream: StreamId, link_id: LinkId) -> bool {
        let asks = self.core.peers.link(link_id).is_some_and(|link| !link.questions.is_empty());
        let Some(peer) = self.peer_mut(stream).filter(|peer| asks && peer.link.is_none()) else { return false };
        peer.carries.retain(|carried| *carried != link_id);
        true
    }

    /// Stream management is on, or the stream was resumed: whatever waited for that goes out.
    pub(super) fn carries_again(&mut self, id: StreamId) {
        let Some(peer) = self.peer(id).filter(|peer| peer.is_bidi && peer.link.is_none()) else { return };
        let verified = peer.pairs.iter().filter(|(_, standing)| *standing == Standing::Verified);
        let links: Vec<_> = verified.filter_map(|(pair, _)| self.core.peers.of(pair)).collect();
        for link_id in links {
            let Some(link) = self.core.peers.link_mut(link_id) else { continue };
            if matches!(link.state, LinkState::Failed(Failure::Cut | Failure::Timeout, _)) {
                link.state = LinkState::Resting;
            }
            self.core.peers.is_due(link_id);
        }
    }

    /// A stream that the other side opened is gone, with what we sent over it.
    pub(super) fn left_accepted(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        left: Option<Held>,
        carried: &[LinkId],
        broken: bool,
    ) {
        let comes_back = broken && left.as_ref().is_some_and(|left| left.sm.token.is_some());
        match left {
            Some(left) if comes_back => self.hold_peer(left),
            Some(mut left) => self.put_back(left.sm.take_unacked()),
            None => {}
        }
        let used = |link: &&LinkId| self.core.peers.link(**link).is_some_and(|link| link.state == LinkState::Up(id));
        for link in carried.iter().filter(used).copied().collect::<Vec<_>>() {
            match comes_back {
                // What comes now waits behind what may be sent again.
                true => self.pause_link(env.now.plus_ms(limits::PEER_RETURN_MS), link, Failure::Cut),
                false => self.link_cut(env, link),
            }
        }
    }
}
