//! From the stream header to sign-in, RFC 6120 §4.3, §5 and §6.
//!
//! A stream's [`State`] moves forward only: what a later state needs is held by it and can be made from the earlier
//! one alone, so that SASL before TLS, or binding before SASL, cannot be written.

use std::collections::BTreeMap;

use super::{Server, context, random_id, streams::Slot};
use crate::{
    domain::{
        accounts,
        ids::{QueryId, SessionId, StreamId},
        store::Store,
    },
    limits,
    proto::{
        sasl::{
            Awaiting, ChannelBinding, CheckPassword, NeedAccount, Offer, SaslCondition, SaslFailure, Step, Success,
            Terms, Verdict, begin,
            nonza::{self, Request},
        },
        scram::Credentials,
        stream,
    },
    router::{
        event::{Door, Effect, Env, Secured},
        service::Notice,
    },
    services::registration::{self, Registering},
    wire::{
        element::Element,
        error::{StreamCondition, StreamError},
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
}

/// A secured stream on its way to sign-in.
#[derive(Debug)]
pub struct SecuredState {
    binding: ChannelBinding,
    offer: Offer,
    handshake: Handshake,
    attempts: u32,
    registering: Registering,
}

/// Where the SASL handshake stands.
#[derive(Debug)]
enum Handshake {
    Idle,
    Awaiting(Awaiting),
    /// A pool thread compares the password; the query's answer goes on with it.
    Checking,
}

/// Proof that somebody signed in: only [`Server::succeed`] makes one.
#[derive(Debug)]
pub struct Proof {
    /// The account, as a bare address.
    pub account: Jid,
}

/// Questions to pool threads that streams wait for.
#[derive(Debug, Default)]
pub struct Questions {
    verdicts: BTreeMap<QueryId, (StreamId, Verdict)>,
    registrations: BTreeMap<QueryId, StreamId>,
}

impl Server {
    /// TLS is up: a new stream begins (RFC 6120 §5.4.3.3), nothing of the old one counts (S6).
    pub(super) fn secured(&mut self, env: &mut Env<'_>, id: StreamId, secured: Secured) {
        let _ = env;
        let Some(slot) = self.streams.slot_mut(id) else { return };
        log::debug!("TLS {} with {:?}, SNI {:?}", secured.version, slot.peer(), secured.server_name);
        let offer = Offer::new(&secured.binding, true);
        slot.state = State::Secured(Box::new(SecuredState {
            binding: secured.binding,
            offer,
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
        let mut input = bytes;
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
                Frame::Element(bytes) => self.element(env, id, bytes, &mut outline),
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
                    self.upgrade(env, id, !input.is_empty());
                    break;
                }
            }
        }
        self.outline = outline;
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.framer = Some(framer);
        }
    }

    fn header(&mut self, env: &mut Env<'_>, id: StreamId, header: &Header) -> Next {
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
        let mut out = Vec::with_capacity(1024);
        stream::write_header(&opened.domain, &random_id(env), opened.from.as_ref(), &mut out);
        (slot.domain, slot.lang, slot.header_sent) = (Some(opened.domain), opened.lang, true);
        if local {
            out.extend_from_slice(b"<stream:features/>");
            self.core.write(id, Chunk::new(out));
            self.bind_local(env, id);
            return Next::Widen(self.bounds());
        }
        self.features(id, &mut out);
        self.core.write(id, Chunk::new(out));
        Next::Go
    }

    /// RFC 6120 §4.3.2: what can be negotiated now.
    fn features(&mut self, id: StreamId, out: &mut Vec<u8>) {
        let Some(slot) = self.streams.slot(id) else { return };
        out.extend_from_slice(b"<stream:features>");
        match &slot.state {
            State::Clear | State::Upgrading => {
                out.extend_from_slice(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>");
            }
            State::Secured(secured) => {
                secured.offer.write(out);
                registration::write_features(&self.core.config, out);
                stream::write_limits(limits::PREAUTH_STANZA_BYTES_MAX, out);
            }
            State::Verified(_) | State::Bound(_) => {
                out.extend_from_slice(b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>");
                out.extend_from_slice(b"<sm xmlns='urn:xmpp:sm:3'/>");
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
            SaslFailure::new(SaslCondition::EncryptionRequired, "SASL before TLS").write(&mut out);
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
        match namespace(bytes, outline) {
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

    /// One element of the SASL handshake, RFC 6120 §6.4.
    fn sasl(&mut self, env: &mut Env<'_>, id: StreamId, element: &Element) -> Next {
        let mut nonce = [0; 18];
        env.entropy.fill(&mut nonce);
        let Some(Slot { state: State::Secured(secured), domain: Some(domain), .. }) = self.streams.slot_mut(id) else {
            return Next::Stop;
        };
        let domain = domain.clone();
        let terms = Terms { domain: &domain, offer: &secured.offer, binding: &secured.binding };
        let before = match std::mem::replace(&mut secured.handshake, Handshake::Idle) {
            Handshake::Checking => {
                // RFC 6120 §6.4.1: one handshake at a time; this one has not been answered yet.
                self.fail(env, id, StreamCondition::PolicyViolation.into());
                return Next::Stop;
            }
            before => before,
        };
        let failed = |condition, why| Step::Failure(SaslFailure::new(condition, why));
        let step = match (Request::read(element), before) {
            (Err(failure), _) => Step::Failure(failure),
            (Ok(Request::Auth { mechanism, initial }), _) => {
                begin(&terms, nonce, &mechanism, initial.as_ref().map(|data| data.as_slice()))
            }
            (Ok(Request::Response(response)), Handshake::Awaiting(awaiting)) => awaiting.respond(&terms, &response),
            (Ok(Request::Response(_)), _) => failed(SaslCondition::MalformedRequest, "response to nothing"),
            (Ok(Request::Abort), _) => failed(SaslCondition::Aborted, "the client gave up"),
        };
        self.step(env, id, step)
    }

    /// Goes on with a handshake until the client has to say something.
    fn step(&mut self, env: &mut Env<'_>, id: StreamId, step: Step) -> Next {
        match step {
            Step::Challenge(challenge, awaiting) => {
                let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(id) else {
                    return Next::Stop;
                };
                secured.handshake = Handshake::Awaiting(awaiting);
                let mut out = Vec::with_capacity(256);
                nonza::write_challenge(&challenge, &mut out);
                self.core.write(id, Chunk::new(out));
                Next::Go
            }
            Step::NeedAccount(need) => self.need_account(env, id, need),
            Step::CheckPassword(check) => self.check_password(env, id, check),
            Step::Success(success) => self.succeed(env, id, success),
            Step::Failure(failure) => self.sasl_failed(env, id, &failure, None),
        }
    }

    fn need_account(&mut self, env: &mut Env<'_>, id: StreamId, need: NeedAccount) -> Next {
        let Some((jid, credentials)) = self.credentials(env, id, need.local()) else {
            return self.throttled(env, id);
        };
        let _ = jid;
        let step = need.resume(&credentials);
        self.step(env, id, step)
    }

    fn check_password(&mut self, env: &mut Env<'_>, id: StreamId, check: CheckPassword) -> Next {
        let Some((_, credentials)) = self.credentials(env, id, check.verdict.local()) else {
            return self.throttled(env, id);
        };
        let query = self.core.query();
        self.core.effects.push(Effect::Verify(query, Box::new(credentials), check.password));
        self.questions.verdicts.insert(query, (id, check.verdict));
        if let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(id) {
            secured.handshake = Handshake::Checking;
        }
        Next::Go
    }

    /// The account's credentials, or fake ones that nobody can tell from real ones (S12). `None`: too many failures.
    fn credentials(&mut self, env: &mut Env<'_>, id: StreamId, local: &str) -> Option<(Jid, Credentials)> {
        let slot = self.streams.slot(id)?;
        let jid = Jid::from_parts(Some(local), slot.domain.as_deref()?, None).ok()?;
        if !self.throttle.admits(slot.peer(), jid.as_str(), &self.core.config.limits, env.now) {
            log::warn!("sign-in as {jid} from {:?} refused: too many failures", slot.peer());
            return None;
        }
        let known = accounts::find(&Store { overlay: &mut self.core.overlay, view: env.view }, &jid);
        let known = known.map(|account| account.credentials);
        let credentials = Credentials::known_or_fake(known, &self.secret, jid.as_str());
        Some((jid, credentials))
    }

    fn throttled(&mut self, env: &mut Env<'_>, id: StreamId) -> Next {
        let failure = SaslFailure::new(SaslCondition::TemporaryAuthFailure, "throttled")
            .text("Too many failures; try again in some minutes.");
        self.sasl_failed(env, id, &failure, None)
    }

    /// A pool thread compared the password.
    pub(super) fn password_verified(&mut self, env: &mut Env<'_>, query: QueryId, matches: bool) {
        let Some((id, verdict)) = self.questions.verdicts.remove(&query) else { return };
        let local = verdict.local().to_owned();
        let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(id) else { return };
        secured.handshake = Handshake::Idle;
        let step = verdict.resume(matches);
        let next = match step {
            Step::Failure(failure) => self.sasl_failed(env, id, &failure, Some(&local)),
            step => self.step(env, id, step),
        };
        if let (Next::Restart(bounds), Some(slot)) = (next, self.streams.slot_mut(id))
            && let Some(framer) = &mut slot.framer
        {
            framer.restart(bounds);
        }
    }

    /// RFC 6120 §6.4.6: the proof is made, the stream restarts.
    fn succeed(&mut self, env: &mut Env<'_>, id: StreamId, success: Success) -> Next {
        let Some(slot) = self.streams.slot_mut(id) else { return Next::Stop };
        let (State::Secured(_), Some(domain)) = (&slot.state, &slot.domain) else { return Next::Stop };
        let Ok(account) = Jid::from_parts(Some(&success.local), domain, None) else { return Next::Stop };
        let peer = slot.peer();
        let failure = match accounts::find(&Store { overlay: &mut self.core.overlay, view: env.view }, &account) {
            // Removed while the handshake was under way.
            None => Some(SaslFailure::new(SaslCondition::NotAuthorized, "the account is gone")),
            // RFC 6120 §6.5.2: said to nobody but who knows the password.
            Some(account) if account.is_disabled => {
                let failure = SaslFailure::new(SaslCondition::AccountDisabled, "the account is disabled");
                Some(failure.text("An administrator has disabled this account."))
            }
            Some(_) => None,
        };
        if let Some(failure) = failure {
            return self.sasl_failed(env, id, &failure, Some(&success.local));
        }
        let Some(slot) = self.streams.slot_mut(id) else { return Next::Stop };
        log::info!("{account} signed in from {peer:?}");
        self.throttle.succeeded(peer, account.as_str(), env.now);
        self.core.counters.sign_ins += 1;
        slot.state = State::Verified(Box::new(Proof { account }));
        slot.header_sent = false;
        self.no_stranger(id);
        let mut out = Vec::with_capacity(128);
        nonza::write_success(success.additional_data.as_deref(), &mut out);
        self.core.write(id, Chunk::new(out));
        Next::Restart(self.bounds())
    }

    /// A new password, or the end of the account: whoever proved the old one and has no session yet, or is just proving
    /// it, does not get in (S15).
    pub(super) fn distrust(&mut self, env: &mut Env<'_>, account: &Jid, error: &StreamError) {
        let signs_in = |id: &StreamId| {
            let slot = self.streams.slot(*id)?;
            let local = match &slot.state {
                State::Verified(proof) => return Some(proof.account == *account),
                State::Secured(secured) => match &secured.handshake {
                    Handshake::Idle => None,
                    Handshake::Awaiting(awaiting) => awaiting.local(),
                    Handshake::Checking => {
                        let mut verdicts = self.questions.verdicts.values();
                        verdicts.find(|(stream, _)| stream == id).map(|(_, verdict)| verdict.local())
                    }
                },
                State::Clear | State::Upgrading | State::Bound(_) => None,
            };
            Some(local? == account.local()? && slot.domain.as_deref()? == account.domain())
        };
        let ids: Vec<_> = self.streams.ids().into_iter().filter(|id| signs_in(id) == Some(true)).collect();
        for id in ids {
            self.fail(env, id, error.clone());
        }
    }

    fn sasl_failed(&mut self, env: &mut Env<'_>, id: StreamId, failure: &SaslFailure, local: Option<&str>) -> Next {
        let Some(slot) = self.streams.slot_mut(id) else { return Next::Stop };
        let (peer, domain) = (slot.peer(), slot.domain.clone());
        let State::Secured(secured) = &mut slot.state else { return Next::Stop };
        secured.handshake = Handshake::Idle;
        if failure.condition != SaslCondition::Aborted {
            secured.attempts += 1;
        }
        let attempts = secured.attempts;
        log::info!("sign-in from {peer:?} failed: {}", failure.why);
        self.core.counters.failures += 1;
        if failure.is_guess() {
            let account = format!("{}@{}", local.unwrap_or_default(), domain.as_deref().unwrap_or_default());
            self.throttle.failed(peer, &account, env.now);
        }
        let mut out = Vec::with_capacity(128);
        failure.write(&mut out);
        self.core.write(id, Chunk::new(out));
        if attempts >= limits::SASL_ATTEMPTS_MAX {
            // RFC 6120 §6.4.5.
            let error = StreamError::new(StreamCondition::PolicyViolation).text("Too many failed sign-ins.");
            self.fail(env, id, error);
            return Next::Stop;
        }
        Next::Go
    }

    /// An IQ before sign-in: only registration by invitation, XEP-0445 §3.
    fn register(&mut self, env: &mut Env<'_>, id: StreamId, iq: &Element, outline: &Outline) -> Next {
        let Some(Slot { state: State::Secured(secured), domain: Some(domain), .. }) = self.streams.slot_mut(id) else {
            return Next::Stop;
        };
        let domain = domain.clone();
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

fn preauth_bounds() -> Bounds {
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
