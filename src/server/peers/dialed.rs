//! Streams that we open, up to the first stanza.
//!
//! Source: RFC 6120 §5.4 and §6.4, XEP-0178 §3, XEP-0220 §2.1, XEP-0198 §3, XEP-0288 §2, XEP-0305 §3. Invariant: without TLS
//! nothing is said but the request for it, and what waits for a link goes out only when the other side has accepted who
//! we are.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{Stage, Standing};
use crate::{
    domain::{
        ids::StreamId,
        peers::{Cut, Failure, LinkId, LinkState, Pair},
    },
    proto::{dialback, peer::PeerFeatures},
    router::event::Env,
    server::{Server, negotiate::Next},
    wire::{
        element::Element,
        error::{StreamCondition, StreamError},
        ns,
        stanza::Chunk,
    },
};

impl Server {
    /// `<stream:features/>` came.
    pub(super) fn peer_features(&mut self, env: &mut Env<'_>, id: StreamId, features: &Element) -> Next {
        let Some(peer) = self.peer_mut(id) else { return Next::Stop };
        if peer.stage != Stage::Features {
            return self.peer_out_of_turn(env, id);
        }
        let features = PeerFeatures::read(features);
        peer.features = features;
        if peer.is_secured {
            peer.stage = Stage::Ready;
            self.go_on_dialed(env, id);
            return if self.peer(id).is_some() { Next::Go } else { Next::Stop };
        }
        if !features.starttls {
            log::warn!("{}: it offers no TLS, and nothing is sent without", peer.name());
            let error = StreamError::new(StreamCondition::PolicyViolation).text("This server requires TLS.");
            self.refuse_dialed(env, id, error);
            return Next::Stop;
        }
        peer.stage = Stage::Proceed;
        self.core.write(id, Chunk::new(&b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"[..]));
        Next::Go
    }

    /// Does what a dialed stream is wanted for: asks the questions of others at once, and authenticates when there is
    /// something to send.
    pub(super) fn go_on_dialed(&mut self, env: &mut Env<'_>, id: StreamId) {
        let Some(peer) = self.peer(id) else { return };
        let (Some(link_id), true) = (peer.link, peer.is_secured) else { return };
        if !matches!(peer.stage, Stage::Header | Stage::Features | Stage::Upgrading | Stage::Proceed) {
            self.ask_questions(id, link_id);
        }
        let Some(peer) = self.peer(id).filter(|peer| peer.stage == Stage::Ready) else { return };
        if peer.is_signed_in {
            return self.link_accepted(env, id);
        }
        if !self.core.peers.link(link_id).is_some_and(|link| link.has_stanzas()) {
            return;
        }
        if self.needs_no_stream(env, link_id) {
            return self.finish(env, id);
        }
        let Some(peer) = self.peer(id) else { return };
        if peer.features.bidi && !peer.is_bidi {
            self.core.write(id, Chunk::new(&b"<bidi xmlns='urn:xmpp:bidi'/>"[..]));
            if let Some(peer) = self.peer_mut(id) {
                peer.is_bidi = true;
            }
        }
        match self.peer(id).is_some_and(|peer| peer.features.external && !peer.external_failed) {
            true => self.show_certificate(id, link_id),
            false => self.claim(id),
        }
    }

    /// XEP-0178 §3.
    fn show_certificate(&mut self, id: StreamId, link_id: LinkId) {
        let has_cut = self.core.peers.link(link_id).is_some_and(|link| link.cut.is_some());
        let Some(peer) = self.peer_mut(id) else { return };
        // COMPAT: step 9 asks for the domain here, for servers that do not look at the header.
        let name = BASE64.encode(peer.ours.as_deref().unwrap_or_default());
        let auth = Element::new("auth", ns::SASL).attr("mechanism", "EXTERNAL").text(name);
        // XEP-0305 §3: two round trips fewer; stanzas wait for the last answer all the same.
        let goes_ahead = peer.features.pipelining && peer.features.sm && !has_cut;
        self.core.write(id, Chunk::new(auth.to_vec()));
        if goes_ahead {
            self.open_to_peer(id);
            self.enable_on(id);
        }
        if let Some(peer) = self.peer_mut(id) {
            (peer.stage, peer.is_ahead) = (Stage::Sasl, goes_ahead);
        }
    }

    /// The other side has opened a stream for both directions meanwhile: ours was for a question alone.
    fn needs_no_stream(&mut self, env: &mut Env<'_>, link_id: LinkId) -> bool {
        let Some(link) = self.core.peers.link(link_id) else { return false };
        let has_way = link.questions.is_empty() && link.cut.is_none() && self.way_back(env, &link.pair).is_some();
        if has_way && let Some(link) = self.core.peers.link_mut(link_id) {
            link.state = LinkState::Resting;
            self.core.peers.is_due(link_id);
        }
        has_way
    }

    /// XEP-0220 §2.1.1.
    fn claim(&mut self, id: StreamId) {
        let Some(peer) = self.peer_mut(id) else { return };
        peer.stage = Stage::Claimed;
        let (Some(ours), Some(theirs), stream) = (peer.ours.clone(), peer.theirs.clone(), peer.id.clone()) else {
            return;
        };
        let key = self.peering.keys.key(&theirs, &ours, &stream);
        self.core.write(id, Chunk::new(dialback::claim(&ours, &theirs, &key)));
    }

    /// The outcome of SASL EXTERNAL.
    pub(super) fn sasl_answered(&mut self, env: &mut Env<'_>, id: StreamId, answer: &Element) -> Next {
        let bounds = self.bounds();
        let Some(peer) = self.peer_mut(id).filter(|peer| peer.stage == Stage::Sasl) else {
            return self.peer_out_of_turn(env, id);
        };
        match &*answer.name {
            "success" => {
                peer.is_signed_in = true;
                // RFC 6120 §6.4.6: a new stream.
                match peer.is_ahead {
                    true => peer.stage = Stage::Header,
                    false => self.open_to_peer(id),
                }
                Next::Restart(bounds)
            }
            "failure" => {
                let why = answer.children().next().map_or("no reason", |condition| &*condition.name);
                log::info!("{}: it does not take our certificate: {why}; it may call us back", peer.name());
                (peer.external_failed, peer.stage) = (true, Stage::Ready);
                self.go_on_dialed(env, id);
                Next::Go
            }
            _ => self.peer_out_of_turn(env, id),
        }
    }

    /// What became of our claim to be our domain. `None`: it is believed.
    pub(super) fn claim_answered(&mut self, env: &mut Env<'_>, id: StreamId, refusal: Option<Failure>) -> Next {
        match refusal {
            None => {
                if let Some(peer) = self.peer_mut(id) {
                    peer.stage = Stage::Ready;
                    peer.is_signed_in = true;
                }
                let bounds = self.bounds();
                self.go_on_dialed(env, id);
                if self.peer(id).is_some() { Next::Widen(bounds) } else { Next::Stop }
            }
            Some(failure) => {
                self.give_up_dialed(env, id, failure, None);
                Next::Stop
            }
        }
    }

    /// The other side has accepted who we are: stream management first, then stanzas.
    fn link_accepted(&mut self, env: &mut Env<'_>, id: StreamId) {
        let Some(peer) = self.peer_mut(id) else { return };
        let Some(link_id) = peer.link else { return };
        let pair = Pair::new(peer.ours.as_deref().unwrap_or_default(), peer.name());
        log::info!("{}: connected from {}", pair.theirs, pair.ours);
        if peer.is_bidi {
            // We looked the other end up ourselves: as sure as dialback, or proved by its certificate.
            peer.pairs.push((pair, Standing::Verified));
        }
        let manages = peer.features.sm || peer.is_ahead;
        let Some(link) = self.core.peers.link_mut(link_id) else { return };
        if !manages {
            if let Some(mut cut) = link.cut.take() {
                self.put_back(cut.sm.take_unacked());
            }
            return self.link_open(env, id);
        }
        let Some(cut) = &mut link.cut else { return self.enable_on(id) };
        let resume = Element::new("resume", ns::SM)
            .attr("previd", &*cut.previd)
            .attr("h", cut.sm.durable(self.core.committed).to_string());
        self.core.write(id, Chunk::new(resume.to_vec()));
        if let Some(peer) = self.peer_mut(id) {
            peer.stage = Stage::Resuming;
        }
    }

    /// XEP-0198 §3. What waits goes out when it is enabled: only then nothing can be lost, nor come twice.
    pub(super) fn enable_on(&mut self, id: StreamId) {
        let Some(peer) = self.peer_mut(id) else { return };
        peer.stage = Stage::Enabling;
        if !peer.is_ahead {
            self.core.write(id, Chunk::new(&b"<enable xmlns='urn:xmpp:sm:3' resume='true'/>"[..]));
        }
    }

    /// Stanzas pass.
    pub(super) fn link_open(&mut self, env: &mut Env<'_>, id: StreamId) {
        self.peer_is_known(env, id);
        let Some(peer) = self.peer_mut(id) else { return };
        peer.stage = Stage::Open;
        let Some(link_id) = peer.link else { return };
        if let Some(link) = self.core.peers.link_mut(link_id) {
            (link.state, link.failures) = (LinkState::Up(id), 0);
            self.core.peers.is_due(link_id);
        }
    }

    /// We will not use a stream that we dialed, whoever is there.
    pub(super) fn refuse_dialed(&mut self, env: &mut Env<'_>, id: StreamId, error: StreamError) {
        self.give_up_dialed(env, id, Failure::Refused, Some(error));
    }

    fn give_up_dialed(&mut self, env: &mut Env<'_>, id: StreamId, failure: Failure, error: Option<StreamError>) {
        let link = self.peer(id).and_then(|peer| peer.link);
        if let Some(link) = link {
            self.link_failed(env, link, failure);
        }
        match error {
            Some(error) => self.fail(env, id, error),
            None => self.finish(env, id),
        }
    }

    /// A stream that we dialed is gone.
    pub(super) fn left_dialed(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        link_id: LinkId,
        stage: Stage,
        cut: Option<Cut>,
    ) {
        let Some(link) = self.core.peers.link_mut(link_id) else { return };
        match cut {
            // On a stream for both directions the other side may not know what we have got.
            Some(cut) if !cut.previd.is_empty() && (cut.sm.unacked_len() > 0 || cut.is_bidi) => link.cut = Some(cut),
            Some(mut cut) => self.put_back(cut.sm.take_unacked()),
            None => {}
        }
        let Some(link) = self.core.peers.link_mut(link_id) else { return };
        if !matches!(link.state, LinkState::Opening(stream) | LinkState::Up(stream) if stream == id) {
            return;
        }
        match stage {
            Stage::Open => self.link_cut(env, link_id),
            _ => self.link_failed(env, link_id, Failure::Timeout),
        }
    }
}
