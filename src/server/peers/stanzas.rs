//! What comes in from another server: stanzas of pairs that are verified, and acknowledgements.
//!
//! Source: RFC 6120 §8.1.1.2 and §8.1.2.2, XEP-0198. Invariants: `from` is a domain that was proved on this very stream
//! and `to` one of ours (S22); and `h` counts only what is durable, as for clients.

use super::{Stage, Standing};
use crate::{
    domain::{
        ids::{StreamId, Time},
        peers::{self, Pair},
        store::Store,
    },
    limits,
    proto::sm::{Ask, Sm},
    router::{core::Promise, event::Env},
    server::{
        Server,
        bound::address,
        context,
        negotiate::{Next, State},
        nonza,
        resume::failed,
        streams::Slot,
        timers::Alarm,
    },
    wire::{
        build,
        element::Element,
        error::{Condition, StreamCondition, StreamError},
        jid::Jid,
        stanza::{AttrName, Chunk, Kind, Outline, Stanza, Type, slice},
    },
};

impl Server {
    /// A stanza from another server.
    pub(super) fn peer_stanza(
        &mut self,
        env: &mut Env<'_>,
        stream: StreamId,
        bytes: &[u8],
        outline: &mut Outline,
    ) -> Next {
        let (from, to) = match self.stanza_between(stream, bytes, outline) {
            Ok(pair) => pair,
            Err(condition) => {
                self.fail(env, stream, condition.into());
                return Next::Stop;
            }
        };
        let lang = match outline.attrs.iter().any(|attr| attr.name == AttrName::Lang) {
            true => None,
            false => self.streams.slot(stream).and_then(|slot| slot.lang.clone()),
        };
        let Some(mut stanza) = Stanza::read(bytes, std::mem::take(outline), from, Some(to)) else { return Next::Go };
        stanza.lang = lang;
        self.core.counters.stanzas += 1;
        if let Some(peer) = self.peer_mut(stream) {
            (peer.active, peer.is_settled) = (env.now, true);
        }
        let before = self.core.overlay.puts();
        let is_subscription =
            matches!(stanza.ty, Type::Subscribe | Type::Subscribed | Type::Unsubscribe | Type::Unsubscribed);
        let promise = (stanza.kind == Kind::Message || is_subscription).then(|| stanza.clone());
        self.router.inbound(stanza, &mut context(&mut self.core, env));
        self.work(env);
        if let Some(stanza) = promise
            && self.core.overlay.puts() != before
        {
            self.core.promises.push_back((self.core.open_batch, Promise::Stanza(stanza)));
        }
        let batch = self.core.last_batch();
        let batch = (batch > self.core.committed).then_some(batch);
        if let Some(sm) = self.peer_mut(stream).and_then(|peer| peer.sm.as_mut()) {
            sm.received(batch);
        }
        if self.core.overlay.puts() != before {
            self.hold_if_behind(stream);
        }
        if self.peer(stream).is_some() { Next::Go } else { Next::Stop }
    }

    /// From whom to whom a stanza is, if it may be.
    fn stanza_between(&self, stream: StreamId, bytes: &[u8], outline: &Outline) -> Result<(Jid, Jid), StreamCondition> {
        if Kind::from_name(slice(bytes, &outline.name)).is_none() {
            return Err(StreamCondition::UnsupportedStanzaType);
        }
        let peer = self.peer(stream).ok_or(StreamCondition::NotAuthorized)?;
        // RFC 6120 §4.9.3.12: nobody is known here; or we dialed, and nothing comes back this way.
        if !peer.has_verified() {
            return Err(StreamCondition::NotAuthorized);
        }
        // RFC 6120 §8.1.1.2 and §8.1.2.2.
        let (Some(Ok(from)), Some(Ok(to))) =
            (address(bytes, outline, AttrName::From), address(bytes, outline, AttrName::To))
        else {
            return Err(StreamCondition::ImproperAddressing);
        };
        let of_theirs =
            |(pair, standing): &(Pair, Standing)| *standing == Standing::Verified && *pair.theirs == *from.domain();
        if !peer.pairs.iter().any(of_theirs) {
            return Err(StreamCondition::InvalidFrom);
        }
        if !self.core.is_ours(to.domain()) {
            return Err(StreamCondition::HostUnknown);
        }
        match peer.is_verified(&Pair::new(to.domain(), from.domain())) {
            true => Ok((from, to)),
            false => Err(StreamCondition::InvalidFrom),
        }
    }

    /// A nonza of stream management, XEP-0198.
    pub(super) fn peer_sm(&mut self, env: &mut Env<'_>, id: StreamId, nonza: &Element) -> Next {
        let Some(peer) = self.peer(id) else { return Next::Stop };
        let (stage, dialed, known) = (peer.stage, peer.link.is_some(), peer.has_verified());
        match (&*nonza.name, stage) {
            ("enable", Stage::Open) if !dialed && known && peer.sm.is_none() => {
                self.manage_peer(env, id, nonza);
                self.begins_anew(id);
            }
            ("resume", Stage::Open) if !dialed && known && peer.sm.is_none() => {
                return self.resume_peer(env, id, nonza);
            }
            ("enable" | "resume", _) if !dialed => {
                self.core.write(id, failed(Condition::UnexpectedRequest, None));
            }
            ("enabled", Stage::Enabling) => {
                let resumes = matches!(nonza.get("resume"), Some("true" | "1"));
                let previd = nonza.get("id").filter(|id| resumes && id.len() <= PREVID_BYTES_MAX).map(Into::into);
                if let Some(peer) = self.peer_mut(id) {
                    (peer.sm, peer.previd) = (Some(Box::new(Sm::new(None))), previd);
                }
                self.link_open(env, id);
            }
            ("failed", Stage::Enabling) => self.link_open(env, id),
            ("resumed", Stage::Resuming) => return self.peer_resumed(env, id, nonza),
            ("failed", Stage::Resuming) => return self.peer_not_resumed(env, id, nonza),
            ("r", _) => self.answer_peer(id),
            ("a", _) => return self.peer_acknowledged(env, id, nonza.get("h")),
            _ => return self.peer_out_of_turn(env, id),
        }
        Next::Go
    }

    /// XEP-0198 §3.
    fn manage_peer(&mut self, env: &mut Env<'_>, id: StreamId, enable: &Element) {
        let mut token = [0; 16];
        env.entropy.fill(&mut token);
        let resumable = matches!(enable.get("resume"), Some("true" | "1"));
        let Some(peer) = self.peer_mut(id) else { return };
        peer.sm = Some(Box::new(Sm::new(resumable.then_some(token))));
        let mut out = b"<enabled xmlns='urn:xmpp:sm:3'".to_vec();
        if resumable {
            build::attr("id", &super::resume::name(&token), &mut out);
            build::attr("resume", "true", &mut out);
            build::attr("max", &(limits::PEER_HOLD_MS / 1000).to_string(), &mut out);
        }
        out.extend_from_slice(b"/>");
        self.core.write(id, Chunk::new(out));
    }

    /// Whoever enables stream management instead of resuming has forgotten the streams before.
    fn begins_anew(&mut self, id: StreamId) {
        let Some(peer) = self.peer(id).filter(|peer| peer.is_bidi) else { return };
        let pairs: Vec<_> = peer.pairs.iter().map(|(pair, _)| pair.clone()).collect();
        self.end_held(|held| held.is_bidi && pairs.iter().any(|pair| held.is_of(pair)));
        self.carries_again(id);
    }

    /// The other side asks how much we have; the answer waits for the disk.
    fn answer_peer(&mut self, id: StreamId) {
        let committed = self.core.committed;
        let Some(sm) = self.peer_mut(id).and_then(|peer| peer.sm.as_mut()) else { return };
        if sm.is_settled(committed) {
            let ack = nonza(sm, committed);
            self.core.write(id, Chunk::new(ack));
        } else if !std::mem::replace(&mut sm.owes_ack, true) {
            self.peering.owing.push(id);
        }
    }

    /// The disk has answered: whoever waited for an acknowledgement gets it.
    pub(in crate::server) fn settle_peers(&mut self, env: &mut Env<'_>) {
        let committed = self.core.committed;
        for id in std::mem::take(&mut self.peering.owing) {
            let Some(sm) = self.peer_mut(id).and_then(|peer| peer.sm.as_mut()) else { continue };
            if sm.is_settled(committed) {
                sm.owes_ack = false;
                let ack = nonza(sm, committed);
                self.core.write(id, Chunk::new(ack));
            } else {
                self.peering.owing.push(id);
            }
        }
        self.core.send_answers_out();
        self.forget_sent(env);
        self.resume_waiting_peers(env);
    }

    /// XEP-0198 §4: what we have need not be sent again when the stream is closed.
    pub(in crate::server) fn last_acknowledgement(&mut self, id: StreamId) -> Vec<u8> {
        let committed = self.core.committed;
        let sm = self.peer_mut(id).and_then(|peer| peer.sm.as_mut());
        sm.map(|sm| nonza(sm, committed)).unwrap_or_default()
    }

    fn peer_acknowledged(&mut self, env: &mut Env<'_>, id: StreamId, h: Option<&str>) -> Next {
        let Some(h) = h.and_then(|h| h.parse().ok()) else {
            let error = StreamError::new(StreamCondition::UndefinedCondition).text("An ack needs a number 'h'.");
            self.fail(env, id, error);
            return Next::Stop;
        };
        if !self.peer_has(env, id, h) {
            return Next::Stop;
        }
        self.peer_drained(id);
        self.ask_peer(env, id);
        Next::Go
    }

    /// The other side has everything up to `h`; `false`: it claims too much, and its stream is closed.
    pub(super) fn peer_has(&mut self, env: &mut Env<'_>, id: StreamId, h: u32) -> bool {
        let Some(Slot { state: State::Peer(peer), .. }) = self.streams.slot_mut(id) else { return true };
        let Some(sm) = &mut peer.sm else { return true };
        if let Ask::Out(since) = std::mem::replace(&mut sm.ask, Ask::Quiet) {
            self.timers.cancel(Time(since).plus_ms(limits::ACK_MS_MAX), Alarm::PeerSilent(id));
        }
        let too_high = match sm.acked(h) {
            Ok(parcels) => {
                let mut store = Store { overlay: &mut self.core.overlay, view: env.view };
                for row in parcels.filter_map(|parcel| parcel.row) {
                    peers::forget(&mut store, row);
                }
                return true;
            }
            Err(too_high) => too_high,
        };
        let app = format!(
            "<handled-count-too-high xmlns='urn:xmpp:sm:3' h='{}' send-count='{}'/>",
            too_high.h, too_high.sent
        );
        self.fail(env, id, StreamError::new(StreamCondition::UndefinedCondition).app(app));
        false
    }
}

/// Longest name of a stream to be resumed that we remember, in bytes.
const PREVID_BYTES_MAX: usize = 512;
