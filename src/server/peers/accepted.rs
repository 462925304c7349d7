//! Streams that other servers open: our header and features, SASL EXTERNAL.
//!
//! Source: RFC 6120 §4.3 and §6, XEP-0178 §3. Invariant: EXTERNAL is offered only to a server whose
//! certificate has proved the domain of its header, and gives it that domain and no other (S21, S23).

use std::rc::Rc;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{Stage, Standing};
use crate::{
    domain::{ids::StreamId, peers::Pair},
    proto::{
        peer::{self, PeerFeatures, PeerOpened},
        sasl::{SaslCondition, SaslFailure},
    },
    router::event::Env,
    server::{Server, negotiate::Next, random_id},
    wire::{
        element::Element,
        error::{StreamCondition, StreamError},
        jid, ns,
        stanza::Chunk,
    },
};

impl Server {
    /// A header came: ours answers, with what can be negotiated now.
    pub(super) fn greet(&mut self, env: &mut Env<'_>, id: StreamId, opened: PeerOpened) -> Next {
        // RFC 6120 §4.7.2: liberal towards servers of the old time, which name nobody.
        let ours = opened.to.unwrap_or_else(|| self.core.config.domains[0].as_str().into());
        if let Err(error) = self.admits_header(id, &ours, opened.from.as_ref()) {
            self.fail(env, id, error);
            return Next::Stop;
        }
        let stream_id = random_id(env);
        let Some(peer) = self.peer_mut(id) else { return Next::Stop };
        (peer.ours, peer.theirs, peer.id) = (Some(ours.clone()), opened.from, stream_id.as_str().into());
        peer.stage = Stage::Open;
        let theirs = peer.theirs.clone();
        let features = self.offer(id);
        let mut out = Vec::with_capacity(768);
        peer::write_header(&ours, theirs.as_deref(), Some(&stream_id), &mut out);
        features.write(&mut out);
        self.core.write(id, Chunk::new(out));
        if let Some(slot) = self.streams.slot_mut(id) {
            (slot.domain, slot.header_sent) = (Some(ours), true);
        }
        Next::Go
    }

    /// Whether a stream between these domains may begin.
    fn admits_header(&self, id: StreamId, ours: &Rc<str>, theirs: Option<&Rc<str>>) -> Result<(), StreamError> {
        if !self.core.is_ours(ours) {
            return Err(StreamCondition::HostUnknown.into());
        }
        let Some(peer) = self.peer(id) else { return Ok(()) };
        if peer.is_signed_in && (peer.ours.as_ref() != Some(ours) || peer.theirs.as_ref() != theirs) {
            // Who signed in as one domain does not become another (S8).
            return Err(StreamCondition::InvalidFrom.into());
        }
        let Some(theirs) = theirs else { return Ok(()) };
        if self.core.is_ours(theirs) {
            return Err(StreamCondition::InvalidFrom.into());
        }
        if let Err(why) = self.core.config.federation.admits(theirs) {
            log::info!("{theirs}: turned away: {why}");
            return Err(StreamError::new(StreamCondition::PolicyViolation).text("This server does not talk to yours."));
        }
        if peer.is_secured
            && self.core.config.federation.require_certificate
            && let Err(why) = self.proof(id, theirs)
        {
            log::info!("{theirs}: turned away because of its certificate: {why}");
            let error = StreamError::new(StreamCondition::PolicyViolation);
            return Err(error.text("This server requires a certificate that proves your domain."));
        }
        Ok(())
    }

    fn offer(&self, id: StreamId) -> PeerFeatures {
        let Some(peer) = self.peer(id) else { return PeerFeatures::default() };
        if !peer.is_secured {
            // RFC 6120 §5.3.1: nothing else, XEP-0288 notwithstanding.
            return PeerFeatures { starttls: true, ..PeerFeatures::default() };
        }
        let proof = peer.theirs.as_deref().map(|theirs| self.proof(id, theirs));
        PeerFeatures {
            starttls: false,
            external: !peer.is_signed_in && matches!(proof, Some(Ok(()))),
            dialback: true,
            bidi: !peer.is_signed_in && !peer.is_bidi,
            sm: peer.sm.is_none(),
            pipelining: !peer.is_signed_in,
        }
    }

    /// XEP-0178 §3, steps 11 and 12.
    pub(super) fn sasl_external(&mut self, env: &mut Env<'_>, id: StreamId, auth: &Element) -> Next {
        let Some(peer) = self.peer(id) else { return Next::Stop };
        if peer.is_signed_in || peer.stage != Stage::Open {
            return self.peer_out_of_turn(env, id);
        }
        match self.signs_in(id, auth) {
            Ok(pair) => {
                log::info!("{}: connected, by certificate, to {}", pair.theirs, pair.ours);
                self.core.write(id, Chunk::new(&b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"[..]));
                let bounds = self.peer_is_known(env, id);
                if let Some(peer) = self.peer_mut(id) {
                    (peer.is_signed_in, peer.stage) = (true, Stage::Header);
                    peer.pairs.push((pair.clone(), Standing::Verified));
                }
                self.is_there_again(env, &pair);
                if let Some(slot) = self.streams.slot_mut(id) {
                    slot.header_sent = false;
                }
                Next::Restart(bounds)
            }
            Err(failure) => {
                log::info!("{}: EXTERNAL failed: {}", self.who(id), failure.condition.as_str());
                let mut out = Vec::new();
                failure.write(ns::SASL, &mut out);
                self.core.write(id, Chunk::new(out));
                // XEP-0178 §3, step 10.
                self.finish(env, id);
                Next::Stop
            }
        }
    }

    fn signs_in(&self, id: StreamId, auth: &Element) -> Result<Pair, SaslFailure> {
        let refuse = |condition| SaslFailure::new(condition, "EXTERNAL");
        if auth.get("mechanism") != Some("EXTERNAL") {
            return Err(refuse(SaslCondition::InvalidMechanism));
        }
        let peer = self.peer(id).ok_or(refuse(SaslCondition::NotAuthorized))?;
        let text = auth.content();
        let wanted = match text.trim() {
            "" | "=" => None,
            text => {
                let bytes = BASE64.decode(text).map_err(|_| refuse(SaslCondition::IncorrectEncoding))?;
                let text = String::from_utf8(bytes).map_err(|_| refuse(SaslCondition::InvalidAuthzid))?;
                let domain = jid::prepare_domain(&text).map_err(|_| refuse(SaslCondition::InvalidAuthzid))?;
                Some(domain.into_owned())
            }
        };
        let (Some(ours), Some(theirs)) = (&peer.ours, &peer.theirs) else {
            return Err(refuse(SaslCondition::NotAuthorized));
        };
        if wanted.is_some_and(|wanted| wanted != **theirs) {
            return Err(refuse(SaslCondition::InvalidAuthzid));
        }
        self.proof(id, theirs).map_err(|_| refuse(SaslCondition::NotAuthorized))?;
        Ok(Pair::new(ours, theirs))
    }
}
