//! Keys, and questions about them.
//!
//! Source: XEP-0220 §2. Invariants: an answer counts only on the stream on which its question was asked, for that pair,
//! stream and key (S20); and a claim is believed without a question only if a certificate proves it (S21).

use super::{Stage, Standing};
use crate::{
    domain::{
        ids::StreamId,
        peers::{Failure, LinkId, LinkState, Pair, Question},
    },
    limits,
    proto::dialback::{self, Dialback, Verdict, Word},
    router::event::Env,
    server::{Server, negotiate::Next},
    wire::{
        element::Element,
        error::{Condition, StreamCondition},
        stanza::Chunk,
    },
};

impl Server {
    /// An element of the dialback namespace, under TLS.
    pub(super) fn dialback(&mut self, env: &mut Env<'_>, id: StreamId, element: &Element) -> Next {
        let Some(said) = Dialback::read(element) else {
            self.fail(env, id, StreamCondition::ImproperAddressing.into());
            return Next::Stop;
        };
        let Dialback { from, to, word } = said;
        match word {
            Word::Ask(stream, key) => {
                // §2.2.2: whoever asks need not be known; the key says nothing to those who do not have it.
                let verdict = match self.core.is_ours(&to) {
                    true => Ok(self.peering.keys.is_ours(&key, &from, &to, &stream)),
                    false => Err(Condition::ItemNotFound),
                };
                self.core.write(id, Chunk::new(dialback::told(&to, &from, &stream, verdict)));
            }
            Word::Told(stream, verdict) => return self.told(env, id, &Pair::new(&to, &from), &stream, &verdict),
            Word::Claim(key) => return self.claim_heard(env, id, &from, &to, key),
            Word::Claimed(verdict) => {
                let asked = self.peer(id).is_some_and(|peer| {
                    let own = (peer.ours.as_deref(), peer.theirs.as_deref()) == (Some(&*to), Some(&*from));
                    peer.link.is_some() && peer.stage == Stage::Claimed && own
                });
                if !asked {
                    // S20: an answer to nothing.
                    log::info!("{}: a verdict for which nobody asked", self.who(id));
                    return self.peer_out_of_turn(env, id);
                }
                return self.claim_answered(env, id, refusal(&from, &verdict));
            }
        }
        Next::Go
    }

    /// Somebody wants to send to `to` as `from` (§2.1.1 and §2.2.1).
    fn claim_heard(&mut self, env: &mut Env<'_>, id: StreamId, from: &str, to: &str, key: String) -> Next {
        let pair = Pair::new(to, from);
        let verdict = match self.judge_claim(id, &pair) {
            Ok(true) => Ok(true),
            Ok(false) => match self.let_ask(id, &pair, key) {
                Ok(()) => return Next::Go,
                Err(condition) => Err(condition),
            },
            Err(condition) => Err(condition),
        };
        if let Err(condition) = verdict {
            log::info!("{from}: claim to be it, towards {to}, not taken: {}", condition.as_str());
        }
        self.core.write(id, Chunk::new(dialback::claimed(to, from, verdict)));
        if verdict.is_ok() {
            return self.verified(env, id, &pair);
        }
        Next::Go
    }

    /// Whether a claim is proved already; otherwise it may be asked about.
    fn judge_claim(&self, id: StreamId, pair: &Pair) -> Result<bool, Condition> {
        let peer = self.peer(id).ok_or(Condition::NotAllowed)?;
        if peer.link.is_some() || !peer.is_secured {
            return Err(Condition::NotAllowed);
        }
        if !self.core.is_ours(&pair.ours) {
            // §2.4.2.
            return Err(Condition::ItemNotFound);
        }
        if self.core.is_ours(&pair.theirs) {
            return Err(Condition::NotAuthorized);
        }
        if self.core.config.federation.admits(&pair.theirs).is_err() {
            return Err(Condition::PolicyViolation);
        }
        if peer.is_verified(pair) {
            return Ok(true);
        }
        if peer.pairs.len() >= limits::PEER_PAIRS_MAX {
            return Err(Condition::ResourceConstraint);
        }
        match self.proof(id, &pair.theirs) {
            Ok(()) => Ok(true),
            Err(_) if self.core.config.federation.require_certificate => Err(Condition::NotAuthorized),
            Err(why) => {
                log::debug!("{}: to be called back: {why}", pair.theirs);
                Ok(false)
            }
        }
    }

    /// Lets the other domain be asked whether a key is its own, over our own link to it.
    fn let_ask(&mut self, id: StreamId, pair: &Pair, key: String) -> Result<(), Condition> {
        let peer = self.peer_mut(id).ok_or(Condition::NotAllowed)?;
        let claims = peer.pairs.iter().filter(|(_, standing)| *standing == Standing::Claimed);
        if claims.count() >= limits::PEER_CLAIMS_MAX || peer.pairs.iter().any(|(known, _)| known == pair) {
            return Err(Condition::ResourceConstraint);
        }
        let question = Question { claimant: id, stream_id: (*peer.id).into(), key: key.into(), asked: None };
        let link_id = self.core.peers.of_or_new(pair).ok_or(Condition::ResourceConstraint)?;
        let link = self.core.peers.link_mut(link_id).ok_or(Condition::ResourceConstraint)?;
        if link.questions.len() >= limits::PEER_QUESTIONS_MAX {
            return Err(Condition::ResourceConstraint);
        }
        link.questions.push(question);
        self.core.peers.is_due(link_id);
        if let Some(peer) = self.peer_mut(id) {
            peer.pairs.push((pair.clone(), Standing::Claimed));
        }
        Ok(())
    }

    /// Asks what has not been asked yet, on a stream that we dialed.
    pub(super) fn ask_questions(&mut self, id: StreamId, link: LinkId) {
        let Some(link) = self.core.peers.link_mut(link) else { return };
        let mut out = Vec::new();
        for question in link.questions.iter_mut().filter(|question| question.asked.is_none()) {
            question.asked = Some(id);
            let Pair { ours, theirs } = &link.pair;
            out.extend_from_slice(&dialback::ask(ours, theirs, &question.stream_id, &question.key));
        }
        if !out.is_empty() {
            self.core.write(id, Chunk::new(out));
        }
    }

    /// The other domain answers (§2.1.2).
    fn told(&mut self, env: &mut Env<'_>, id: StreamId, pair: &Pair, stream: &str, verdict: &Verdict) -> Next {
        let link = self.core.peers.of(pair).and_then(|link| self.core.peers.link_mut(link));
        let found = link.and_then(|link| {
            let asked = |question: &Question| question.asked == Some(id) && &*question.stream_id == stream;
            let at = link.questions.iter().position(asked)?;
            Some(link.questions.remove(at))
        });
        let Some(question) = found else {
            // S20.
            log::info!("{}: an answer to a question that nobody asked it", self.who(id));
            return self.peer_out_of_turn(env, id);
        };
        let verdict = match verdict {
            Verdict::Valid => Ok(true),
            Verdict::Invalid => Ok(false),
            // §2.4.2: the other domain could not say.
            Verdict::Error(_) => Err(Condition::ItemNotFound),
        };
        self.conclude(env, &question, pair, verdict);
        if self.peer(id).is_some() { Next::Go } else { Next::Stop }
    }

    /// A claim was decided.
    fn conclude(&mut self, env: &mut Env<'_>, question: &Question, pair: &Pair, verdict: Result<bool, Condition>) {
        let id = question.claimant;
        let Some(peer) = self.peer_mut(id) else { return };
        let before = peer.pairs.len();
        peer.pairs.retain(|(known, standing)| known != pair || *standing != Standing::Claimed);
        if peer.pairs.len() == before {
            return;
        }
        self.core.write(id, Chunk::new(dialback::claimed(&pair.ours, &pair.theirs, verdict)));
        match verdict {
            Ok(true) => {
                self.verified(env, id, pair);
                let bounds = self.bounds();
                if let Some(framer) = self.streams.slot_mut(id).and_then(|slot| slot.framer.as_mut()) {
                    framer.set_bounds(bounds);
                }
            }
            Ok(false) => {
                log::warn!("{}: somebody at {} claims to be it and is not", pair.theirs, self.who(id));
                if self.peer(id).is_some_and(|peer| !peer.has_verified()) {
                    // §2.2.1: with no other valid pair the stream is closed.
                    self.finish(env, id);
                }
            }
            Err(condition) => {
                log::info!("{}: could not be asked who it is: {}", pair.theirs, condition.as_str());
            }
        }
    }

    /// The other side is who it says, on this stream and towards our domain.
    fn verified(&mut self, env: &mut Env<'_>, id: StreamId, pair: &Pair) -> Next {
        if let Some(peer) = self.peer_mut(id)
            && !peer.is_verified(pair)
        {
            peer.pairs.push((pair.clone(), Standing::Verified));
            log::info!("{}: connected to {}", pair.theirs, pair.ours);
        }
        self.is_there_again(env, pair);
        Next::Widen(self.peer_is_known(env, id))
    }

    /// The questions of a link will not be answered.
    pub(super) fn drop_questions(&mut self, env: &mut Env<'_>, link: LinkId, condition: Condition) {
        let Some(link) = self.core.peers.link_mut(link) else { return };
        let (pair, questions) = (link.pair.clone(), std::mem::take(&mut link.questions));
        for question in questions {
            self.conclude(env, &question, &pair, Err(condition));
        }
    }

    /// A stream is gone: its claims need no answer, and what was asked on it is not answered.
    pub(super) fn forget_questions(&mut self, env: &mut Env<'_>, id: StreamId) {
        let touched = |question: &Question| question.claimant == id || question.asked == Some(id);
        let links = self.core.peers.all().filter(|(_, link)| link.questions.iter().any(touched));
        for link_id in links.map(|(id, _)| id).collect::<Vec<_>>() {
            let Some(link) = self.core.peers.link_mut(link_id) else { continue };
            link.questions.retain(|question| question.claimant != id);
            let pair = link.pair.clone();
            let lost: Vec<_> = link.questions.extract_if(.., |question| question.asked == Some(id)).collect();
            for question in lost {
                // §2.1.2: as if it had been an error.
                self.conclude(env, &question, &pair, Err(Condition::RemoteServerTimeout));
            }
            if self.core.peers.link(link_id).is_some_and(|link| link.state == LinkState::Resting) {
                self.core.peers.is_due(link_id);
            }
        }
    }
}

/// Why our claim is not believed; `None`: it is.
fn refusal(theirs: &str, verdict: &Verdict) -> Option<Failure> {
    match verdict {
        Verdict::Valid => None,
        Verdict::Invalid => {
            log::warn!("{theirs}: it called back and was told that we are not who we are; look at our DNS records");
            Some(Failure::Disbelieved)
        }
        Verdict::Error(condition) => {
            log::warn!("{theirs}: it does not take us: {condition}");
            // XEP-0220 §2.4.2: it could not ask about us now, or has no room now.
            let may_pass = ["remote-server-timeout", "remote-server-not-found", "resource-constraint"];
            Some(if may_pass.contains(&&**condition) { Failure::Timeout } else { Failure::Refused })
        }
    }
}
