//! From the stream header to sign-in, RFC 6120 §4.3, §5 and §6.
//!
//! A stream's [`State`] moves forward only: what a later state needs is held by it and can be made from the earlier
//! one alone, so that SASL before TLS, or binding before SASL, cannot be written.

use std::collections::BTreeMap;

use super::{
    Server,
    components::ComponentStream,
    context,
    peers::PeerStream,
    random_id,
    sign_in::{Checking, Handshake, Proof, Verdicts},
    streams::Slot,
    upgrade::Spare,
};
use crate::{
    domain::{
        accounts,
        ids::{QueryId, SessionId, StreamId},
        store::Store,
    },
    limits,
    proto::{
        sasl::{ChannelBinding, Offer, SaslCondition, SaslFailure},
        sasl2,
        scram::Credentials,
        stream,
    },
    router::{
        event::{Door, Effect, Env, Secured},
        newcomers::household,
        service::Notice,
    },
    services::registration::{self, Registering},
    wire::{
        element::Element,
        error::StreamCondition,
        framer::{Bounds, Frame, Header},
        jid::Jid,
        ns,
        stanza::{Chunk, NsRef, Outline, slice},
    },
};

/// How far a stream has come.
#[derive(Debug)]
pub enum State {
    /// Not secured: STARTTLS is all there is. (Also a direct TLS stream whose handshake is not complete.)
    Clear,
    /// `<proceed/>` is out; the handshake is under way.
    Upgrading,
    /// Under TLS, nobody signed in.
    Secured(Box<SecuredState>),
    /// Signed in; neither bound nor resumed yet.
    Verified(Box<Proof>),
    /// A session is bound on it.
    Bound(SessionId),
    /// It goes to or comes from another server.
    Peer(Box<PeerStream>),
    /// A component is at the other end.
    Component(Box<ComponentStream>),
}

/// A secured stream on its way to sign-in.
#[derive(Debug)]
pub struct SecuredState {
    pub(super) binding: ChannelBinding,
    pub(super) offer: Offer,
    /// Whom the stream's header named as its sender: a hint, never a proof.
    pub(super) from: Option<Jid>,
    pub(super) handshake: Handshake,
    pub(super) attempts: u32,
    registering: Registering,
}

impl SecuredState {
    /// The disk refused the account that was made on this stream.
    pub(super) fn registration_refused(&mut self) {
        self.registering.refused();
    }
}

/// Questions to pool threads that streams wait for.
#[derive(Debug, Default)]
pub struct Questions {
    pub(super) verdicts: Verdicts,
    pub(super) checking: Checking,
    pub(super) spare: BTreeMap<QueryId, Spare>,
    pub(super) completing: BTreeMap<QueryId, (Jid, Credentials)>,
    registrations: BTreeMap<QueryId, StreamId>,
}

impl Server {
    /// TLS is up: a new stream begins (RFC 6120 §5.4.3.3), nothing of the old one counts (S6).
    pub(super) fn secured(&mut self, env: &mut Env<'_>, id: StreamId, secured: Secured) {
        if self.peer(id).is_some() {
            return self.peer_secured(env, id, secured);
        }
        let Some(slot) = self.streams.slot_mut(id) else { return };
        log::debug!("TLS {} with {:?}, SNI {:?}", secured.version, slot.peer(), secured.server_name);
        let store = Store { overlay: &mut self.core.overlay, view: env.view };
        let offer = Offer::new(&secured.binding, true, !accounts::any_lacks_sha256(&store));
        slot.state = State::Secured(Box::new(SecuredState {
            binding: secured.binding,
            offer,
            from: None,
            handshake: Handshake::Idle,
            attempts: 0,
            registering: Registering::default(),
        }));
        (slot.header_sent, slot.domain, slot.lang) = (false, None, None);
        if let Some(framer) = &mut slot.framer {
            framer.restart(preauth_bounds());
        }
    }

    /// Bytes came in. The framer is taken out of its slot while its frames are handled.
    pub(super) fn received(&mut self, env: &mut Env<'_>, id: StreamId, bytes: &[u8]) {
        if self.keeps(env, id, bytes) {
            return;
        }
        let Some(mut framer) = self.streams.slot_mut(id).and_then(|slot| slot.framer.take()) else { return };
        self.core.current = Some(id);
        let mut outline = std::mem::take(&mut self.outline);
        let (mut input, mut later) = (bytes, &[][..]);
        let mut pace = self.allowance(env, id);
        loop {
            let frame = match framer.next(&mut input, &mut outline) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    self.fail(env, id, error);
                    break;
                }
            };
            let next = match frame {
                Frame::Header(header) => self.header(env, id, &header),
                Frame::Element(bytes) => {
                    pace.stanzas += 1;
                    self.element(env, id, bytes, &mut outline)
                }
                Frame::End => {
                    self.finish(env, id);
                    Next::Stop
                }
            };
            self.work(env);
            match next {
                Next::Go if self.keeps(env, id, input) => break,
                Next::Go => {}
                Next::Restart(bounds) => framer.restart(bounds),
                Next::Widen(bounds) => framer.set_bounds(bounds),
                Next::Stop => break,
                Next::Upgrade => {
                    // Whitespace says nothing, and go-xmpp sends a line end.
                    self.upgrade(env, id, !input.trim_ascii().is_empty());
                    break;
                }
            }
            pace.bytes = bytes.len() - input.len();
            if pace.is_used_up() && !input.is_empty() {
                later = input;
                break;
            }
        }
        self.outline = outline;
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.framer = Some(framer);
            // What is kept for later is counted then.
            pace.bytes = bytes.len() - input.len();
            self.charge(env, id, &pace, later);
        }
    }

    fn header(&mut self, env: &mut Env<'_>, id: StreamId, header: &Header) -> Next {
        if self.peer(id).is_some() {
            return self.peer_header(env, id, header);
        }
        if self.is_component(id) {
            return self.component_header(env, id, header);
        }
        let config = self.core.config.clone();
        let Some(slot) = self.streams.slot_mut(id) else { return Next::Stop };
        let local = matches!(slot.door, Door::Local { .. });
        let mut opened = match stream::judge(header, |domain| config.serves(domain) || local) {
            Ok(opened) => opened,
            Err(error) => {
                self.fail(env, id, error);
                return Next::Stop;
            }
        };
        if local && !config.serves(&opened.domain) {
            // The command line may not know the domain yet; our header tells it.
            opened.domain = config.domains[0].as_str().into();
        }
        let bound_to = match &slot.state {
            State::Verified(proof) => Some(proof.account.domain().to_owned()),
            _ => None,
        };
        if bound_to.is_some_and(|domain| domain != *opened.domain) {
            // S8: who signed in at one domain does not move to another.
            self.fail(env, id, StreamCondition::HostUnknown.into());
            return Next::Stop;
        }
        let Some(slot) = self.streams.slot_mut(id) else { return Next::Stop };
        if let State::Secured(secured) = &mut slot.state {
            if opened.from.as_ref().is_some_and(|from| from.domain() != &*opened.domain) {
                // XEP-0388 §2.1, RFC 6120 §4.9.3.9.
                self.fail(env, id, StreamCondition::InvalidFrom.into());
                return Next::Stop;
            }
            secured.from = opened.from.clone();
        }
        let mut out = Vec::with_capacity(1024);
        stream::write_header(&opened.domain, &random_id(env), opened.from.as_ref(), &mut out);
        (slot.domain, slot.lang, slot.header_sent) = (Some(opened.domain), opened.lang, true);
        if local {
            out.extend_from_slice(b"<stream:features/>");
            self.core.write(id, Chunk::new(out));
            self.bind_local(env, id);
            return Next::Widen(self.bounds());
        }
        self.features(env, id, &mut out);
        self.core.write(id, Chunk::new(out));
        Next::Go
    }

    /// RFC 6120 §4.3.2: what can be negotiated now.
    pub(super) fn features(&mut self, env: &mut Env<'_>, id: StreamId, out: &mut Vec<u8>) {
        let Some(slot) = self.streams.slot(id) else { return };
        out.extend_from_slice(b"<stream:features>");
        match &slot.state {
            // Theirs are written elsewhere.
            State::Peer(_) | State::Component(_) => {}
            State::Clear | State::Upgrading => {
                out.extend_from_slice(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>");
            }
            State::Secured(secured) => {
                secured.offer.write(out);
                sasl2::write_feature(&secured.offer, &secured.binding, &self.core.bind_features, out);
                registration::write_features(&mut context(&mut self.core, env), out);
                stream::write_limits(limits::PREAUTH_STANZA_BYTES_MAX, out);
            }
            State::Verified(_) | State::Bound(_) => {
                let session = slot.session().and_then(|session| self.core.sessions.session(session));
                if session.is_none() {
                    out.extend_from_slice(b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>");
                }
                // XEP-0198 §3: enabled once, and a client may do whatever is offered.
                if session.is_none_or(|session| session.sm.is_none()) {
                    out.extend_from_slice(b"<sm xmlns='urn:xmpp:sm:3'/>");
                }
                let domain = slot.domain.as_deref().unwrap_or_default();
                out.extend_from_slice(self.core.stream_features(domain));
                stream::write_limits(self.core.config.limits.stanza_bytes, out);
            }
        }
        out.extend_from_slice(b"</stream:features>");
    }

    fn element(&mut self, env: &mut Env<'_>, id: StreamId, bytes: &[u8], outline: &mut Outline) -> Next {
        let Some(slot) = self.streams.slot(id) else { return Next::Stop };
        match &slot.state {
            State::Bound(session) => {
                let session = *session;
                self.bound_element(env, id, session, bytes, outline);
                if self.streams.slot(id).is_some() { Next::Go } else { Next::Stop }
            }
            State::Verified(_) => self.verified_element(env, id, bytes, outline),
            State::Secured(_) => self.secured_element(env, id, bytes, outline),
            State::Clear => self.clear_element(env, id, bytes, outline),
            State::Peer(_) => self.peer_element(env, id, bytes, outline),
            State::Component(_) => self.component_element(env, id, bytes, outline),
            State::Upgrading => Next::Stop,
        }
    }

    /// RFC 6120 §5.4.2: before TLS there is only STARTTLS.
    fn clear_element(&mut self, env: &mut Env<'_>, id: StreamId, bytes: &[u8], outline: &Outline) -> Next {
        if namespace(bytes, outline) == ns::TLS && slice(bytes, &outline.name) == "starttls" {
            return Next::Upgrade;
        }
        if namespace(bytes, outline) == ns::SASL {
            // RFC 6120 §6.5.4.
            let mut out = Vec::new();
            SaslFailure::new(SaslCondition::EncryptionRequired, "SASL before TLS").write(ns::SASL, &mut out);
            self.core.write(id, Chunk::new(out));
            return Next::Go;
        }
        self.refuse_early(env, id, outline)
    }

    /// An element that this state knows nothing of, RFC 6120 §4.9.3.12 and §4.9.3.24.
    pub(super) fn refuse_early(&mut self, env: &mut Env<'_>, id: StreamId, outline: &Outline) -> Next {
        let condition = match outline.ns {
            NsRef::Content => StreamCondition::NotAuthorized,
            _ => StreamCondition::UnsupportedStanzaType,
        };
        self.fail(env, id, condition.into());
        Next::Stop
    }

    /// RFC 6120 §5.4.2.3. Bytes that came in clear behind the request are an attempt to smuggle (S6).
    fn upgrade(&mut self, env: &mut Env<'_>, id: StreamId, pipelined: bool) {
        if pipelined {
            self.core.write(id, Chunk::new(&b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"[..]));
            return self.finish(env, id);
        }
        self.core.write(id, Chunk::new(&b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"[..]));
        self.core.effects.push(Effect::StartTls(id));
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.state = State::Upgrading;
        }
    }

    fn secured_element(&mut self, env: &mut Env<'_>, id: StreamId, bytes: &[u8], outline: &Outline) -> Next {
        let is_sasl2 = namespace(bytes, outline) == ns::SASL2;
        if let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot(id)
            && secured.handshake.is_sasl2()
            && !is_sasl2
        {
            return self.out_of_turn(env, id);
        }
        match namespace(bytes, outline) {
            ns::SASL2 => match Element::parse(bytes, ns::CLIENT) {
                Ok(element) => self.sasl2(env, id, element),
                Err(_) => self.refuse_early(env, id, outline),
            },
            ns::SASL => match Element::parse(bytes, ns::CLIENT) {
                Ok(element) => self.sasl(env, id, &element),
                Err(_) => self.refuse_early(env, id, outline),
            },
            ns::CLIENT if slice(bytes, &outline.name) == "iq" => match Element::parse(bytes, ns::CLIENT) {
                Ok(iq) => self.register(env, id, &iq, outline),
                Err(_) => self.refuse_early(env, id, outline),
            },
            _ => self.refuse_early(env, id, outline),
        }
    }

    /// An IQ before sign-in: only registration by invitation, XEP-0445 §3.
    fn register(&mut self, env: &mut Env<'_>, id: StreamId, iq: &Element, outline: &Outline) -> Next {
        let from = self.streams.slot(id).and_then(Slot::peer).map(household);
        let Some(Slot { state: State::Secured(secured), domain: Some(domain), .. }) = self.streams.slot_mut(id) else {
            return Next::Stop;
        };
        let domain = domain.clone();
        secured.registering.household = from;
        let mut ctx = context(&mut self.core, env);
        match registration::preauth_iq(&mut ctx, &mut secured.registering, iq, &domain) {
            registration::PreAuthReply::Now(answer) => self.core.write(id, Chunk::new(answer.to_vec())),
            registration::PreAuthReply::Later(query) => {
                self.questions.registrations.insert(query, id);
            }
            registration::PreAuthReply::NotAllowed => return self.refuse_early(env, id, outline),
        }
        Next::Go
    }

    /// Credentials were derived: for somebody who registers, or for a service.
    pub(super) fn derived(&mut self, env: &mut Env<'_>, query: QueryId, credentials: Credentials) {
        if let Some((jid, before)) = self.questions.completing.remove(&query) {
            return self.take_derived(env, &jid, &before, credentials);
        }
        let Some(id) = self.questions.registrations.remove(&query) else {
            return self.notice(env, &Notice::Derived(query, Box::new(credentials)));
        };
        let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(id) else { return };
        let before = self.core.overlay.puts();
        let mut ctx = context(&mut self.core, env);
        let answer = registration::preauth_derived(&mut ctx, &mut secured.registering, query, credentials);
        match answer {
            Some(answer) if self.core.overlay.puts() != before => self.registered(id, answer),
            Some(answer) => self.core.write(id, Chunk::new(answer.to_vec())),
            None => {}
        }
    }

    /// Bounds of a stream that signed in.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { stanza_bytes_max: self.core.config.limits.stanza_bytes, depth_max: limits::DEPTH_MAX }
    }
}

/// What the loop over frames does next.
#[derive(Debug)]
pub enum Next {
    /// The next frame.
    Go,
    /// A new stream header comes (RFC 6120 §4.3.3).
    Restart(Bounds),
    /// Larger stanzas from now on.
    Widen(Bounds),
    /// TLS.
    Upgrade,
    /// The stream is gone.
    Stop,
}

pub(super) fn preauth_bounds() -> Bounds {
    Bounds { stanza_bytes_max: limits::PREAUTH_STANZA_BYTES_MAX, depth_max: limits::DEPTH_MAX }
}

/// The namespace of a top-level element.
pub fn namespace<'a>(bytes: &'a [u8], outline: &Outline) -> &'a str {
    match &outline.ns {
        NsRef::Content => ns::CLIENT,
        NsRef::Stream => ns::STREAM,
        NsRef::Local(range) => slice(bytes, range),
    }
}
