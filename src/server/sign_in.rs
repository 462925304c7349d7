//! The handshake of SASL on a stream, in the words of RFC 6120 §6.4 or of SASL2 (XEP-0388).
//!
//! Invariant: a handshake is held in the words in which it began, to its end; and all ways to sign in pass through
//! [`Server::admit`], which asks last whether the account may.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    Server,
    instant::Settling,
    negotiate::{Next, State},
    streams::Slot,
    token::Proved,
    upgrade::Upgrading,
};
use crate::{
    domain::{
        accounts::{self, Account},
        devices::DeviceId,
        ids::{QueryId, StreamId},
        store::Store,
    },
    limits,
    proto::{
        fast,
        sasl::{
            Awaiting, CheckPassword, NeedAccount, Nonce, SaslCondition, SaslFailure, Step, Success, Terms, Verdict,
            begin, nonza,
        },
        sasl2::{self, Wishes},
        scram::Credentials,
    },
    router::{
        event::{Effect, Env},
        newcomers::household,
    },
    wire::{
        element::Element,
        error::{StreamCondition, StreamError},
        jid::Jid,
        ns,
        stanza::Chunk,
    },
};

/// Where the handshake of a stream stands.
#[derive(Debug, Default)]
pub enum Handshake {
    /// None has begun, or the last one failed.
    #[default]
    Idle,
    /// The client owes a response.
    Awaiting(Awaiting, Words),
    /// A pool thread compares the password; the query's answer goes on with it.
    Checking(Words),
    /// It has succeeded, and the client does a task first.
    Upgrading(Box<Upgrading>),
    /// It has succeeded, and what its success tells has to be durable first.
    Settling(Box<Settling>),
}

/// In which words a handshake is held.
#[derive(Debug)]
pub enum Words {
    /// RFC 6120 §6.4.
    Sasl,
    /// XEP-0388, with what the client wants when it has succeeded.
    Sasl2(Box<Wishes>),
}

/// Proof that somebody signed in: only [`Server::admit`] makes one.
#[derive(Debug)]
pub struct Proof {
    /// The account, as a bare address.
    pub account: Jid,
    /// The device, if it said its number (XEP-0388 §2.4).
    pub device: Option<DeviceId>,
}

/// Passwords that pool threads compare, each for a stream.
pub type Verdicts = BTreeMap<QueryId, (StreamId, Verdict)>;

/// Whence and for whom each of those passwords came: it counts as a guess also if its stream is gone by then.
pub type Checking = BTreeMap<QueryId, (IpAddr, Jid)>;

impl Handshake {
    /// The account, if the proof is made and only the answer waits.
    pub fn proved(&self) -> Option<&Jid> {
        match self {
            Handshake::Settling(settling) => Some(&settling.proof.account),
            Handshake::Upgrading(upgrading) => Some(&upgrading.account),
            Handshake::Idle | Handshake::Awaiting(..) | Handshake::Checking(_) => None,
        }
    }

    /// Whether it is held in the words of SASL2, in which nothing else may be said until it ends (XEP-0388 §2.5).
    pub fn is_sasl2(&self) -> bool {
        matches!(
            self,
            Handshake::Awaiting(_, Words::Sasl2(_))
                | Handshake::Checking(Words::Sasl2(_))
                | Handshake::Upgrading(_)
                | Handshake::Settling(_)
        )
    }
}

impl Server {
    /// One element of the handshake of RFC 6120 §6.4.
    pub(super) fn sasl(&mut self, env: &mut Env<'_>, id: StreamId, element: &Element) -> Next {
        let Some(Slot { state: State::Secured(secured), domain: Some(domain), .. }) = self.streams.slot_mut(id) else {
            return Next::Stop;
        };
        let domain = domain.clone();
        let terms = Terms { domain: &domain, offer: &secured.offer, binding: &secured.binding, from: None };
        let before = match std::mem::take(&mut secured.handshake) {
            Handshake::Idle => None,
            Handshake::Awaiting(awaiting, Words::Sasl) => Some(awaiting),
            // RFC 6120 §6.4.1: one handshake at a time; this one has not been answered yet, or is held in other words.
            _ => return self.out_of_turn(env, id),
        };
        let local = before.as_ref().and_then(|awaiting| awaiting.local().map(str::to_owned));
        let failed = |condition, why| Step::Failure(SaslFailure::new(condition, why));
        let step = match (nonza::Request::read(element), before) {
            (Err(failure), _) => Step::Failure(failure),
            (Ok(nonza::Request::Auth { mechanism, initial }), _) => {
                begin(&terms, nonce(env), &mechanism, initial.as_ref().map(|data| data.as_slice()))
            }
            (Ok(nonza::Request::Response(response)), Some(awaiting)) => awaiting.respond(&terms, &response),
            (Ok(nonza::Request::Response(_)), None) => failed(SaslCondition::MalformedRequest, "response to nothing"),
            (Ok(nonza::Request::Abort), _) => failed(SaslCondition::Aborted, "the client gave up"),
        };
        self.answer(env, id, step, Words::Sasl, local.as_deref())
    }

    /// One element of the handshake of XEP-0388.
    pub(super) fn sasl2(&mut self, env: &mut Env<'_>, id: StreamId, element: Element) -> Next {
        let Some(Slot { state: State::Secured(secured), domain: Some(domain), .. }) = self.streams.slot_mut(id) else {
            return Next::Stop;
        };
        let domain = domain.clone();
        let from = secured.from.as_ref();
        let terms = Terms { domain: &domain, offer: &secured.offer, binding: &secured.binding, from };
        let before = match std::mem::take(&mut secured.handshake) {
            Handshake::Idle => None,
            Handshake::Awaiting(awaiting, Words::Sasl2(wishes)) => Some((awaiting, wishes)),
            Handshake::Upgrading(upgrading) => return self.take_keys(env, id, upgrading, element),
            _ => return self.out_of_turn(env, id),
        };
        let local = before.as_ref().and_then(|(awaiting, _)| awaiting.local().map(str::to_owned));
        let failed = |condition, why| Step::Failure(SaslFailure::new(condition, why));
        let (step, wishes) = match (sasl2::Request::read(element), before) {
            (Err(failure), _) => (Step::Failure(failure), Box::default()),
            (Ok(sasl2::Request::Authenticate(request)), None) => {
                if let Some(mechanism) = fast::Mechanism::from_name(&request.mechanism) {
                    return self.fast(env, id, mechanism, *request);
                }
                let initial = request.initial.as_ref().map(|data| data.as_slice());
                (begin(&terms, nonce(env), &request.mechanism, initial), request.wishes)
            }
            (Ok(sasl2::Request::Response(response)), Some((awaiting, wishes))) => {
                (awaiting.respond(&terms, &response), wishes)
            }
            (Ok(sasl2::Request::Abort), _) => (failed(SaslCondition::Aborted, "the client gave up"), Box::default()),
            (Ok(sasl2::Request::Response(_)), None) => {
                (failed(SaslCondition::MalformedRequest, "response to nothing"), Box::default())
            }
            // XEP-0388 §2.5: nothing but a response or the end of it.
            (Ok(_), _) => return self.out_of_turn(env, id),
        };
        self.answer(env, id, step, Words::Sasl2(wishes), local.as_deref())
    }

    /// Something was said that may not be said now.
    pub(super) fn out_of_turn(&mut self, env: &mut Env<'_>, id: StreamId) -> Next {
        self.fail(env, id, StreamCondition::PolicyViolation.into());
        Next::Stop
    }

    /// Goes on after the client said something. `local`: whose account it is about, if it had said so before; a failure
    /// is counted there (S16).
    fn answer(&mut self, env: &mut Env<'_>, id: StreamId, step: Step, words: Words, local: Option<&str>) -> Next {
        match step {
            Step::Failure(failure) => self.sasl_failed(env, id, &failure, local, &words),
            step => self.step(env, id, step, words),
        }
    }

    /// Goes on with a handshake until the client has to say something.
    fn step(&mut self, env: &mut Env<'_>, id: StreamId, step: Step, words: Words) -> Next {
        match step {
            Step::Challenge(challenge, awaiting) => {
                let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(id) else {
                    return Next::Stop;
                };
                let mut out = Vec::with_capacity(256);
                match &words {
                    Words::Sasl => nonza::write_challenge(&challenge, &mut out),
                    Words::Sasl2(_) => sasl2::write_challenge(&challenge, &mut out),
                }
                secured.handshake = Handshake::Awaiting(awaiting, words);
                self.core.write(id, Chunk::new(out));
                Next::Go
            }
            Step::NeedAccount(need) => self.need_account(env, id, need, words),
            Step::CheckPassword(check) => self.check_password(env, id, check, words),
            Step::Success(success) => self.succeed(env, id, success, words),
            Step::Failure(failure) => self.sasl_failed(env, id, &failure, None, &words),
        }
    }

    fn need_account(&mut self, env: &mut Env<'_>, id: StreamId, need: NeedAccount, words: Words) -> Next {
        let Some(credentials) = self.credentials(env, id, need.local()) else {
            return self.throttled(env, id, &words);
        };
        let step = need.resume(&credentials);
        self.step(env, id, step, words)
    }

    fn check_password(&mut self, env: &mut Env<'_>, id: StreamId, check: CheckPassword, words: Words) -> Next {
        if self.questions.verdicts.len() >= limits::VERIFYING_MAX {
            return self.throttled(env, id, &words);
        }
        let local = check.verdict.local().to_owned();
        let Some(credentials) = self.credentials(env, id, &local) else {
            return self.throttled(env, id, &words);
        };
        let query = self.core.query();
        if let Some(slot) = self.streams.slot(id)
            && let (Some(peer), Some(domain)) = (slot.peer(), slot.domain.as_deref())
            && let Ok(jid) = Jid::from_parts(Some(&local), domain, None)
        {
            self.questions.checking.insert(query, (household(peer), jid));
        }
        if credentials.lacks_sha256() {
            self.questions.spare.insert(query, (check.password.clone(), credentials.clone()));
        }
        self.core.effects.push(Effect::Verify(query, Box::new(credentials), check.password));
        self.questions.verdicts.insert(query, (id, check.verdict));
        if let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(id) {
            secured.handshake = Handshake::Checking(words);
        }
        Next::Go
    }

    /// The account's credentials, or fake ones that nobody can tell from real ones (S12). `None`: too many failures.
    fn credentials(&mut self, env: &mut Env<'_>, id: StreamId, local: &str) -> Option<Credentials> {
        let slot = self.streams.slot(id)?;
        let jid = Jid::from_parts(Some(local), slot.domain.as_deref()?, None).ok()?;
        let peer = slot.peer();
        // What is being compared may be a guess as well.
        let own = peer.map(household);
        let under_way = self.questions.checking.values().filter(|(from, _)| Some(*from) == own).count();
        if !self.throttle.admits(peer, jid.as_str(), under_way as u32, &self.core.config.limits, env.now) {
            if self.chatter.admits(env.now) {
                log::warn!("sign-in as {jid} from {peer:?} refused: too many failures");
            }
            return None;
        }
        let known = accounts::find(&Store { overlay: &mut self.core.overlay, view: env.view }, &jid);
        let known = known.map(|account| account.credentials);
        let foreign = accounts::foreign(&Store { overlay: &mut self.core.overlay, view: env.view });
        Some(Credentials::known_or_fake(known, &self.secret, jid.as_str(), foreign.as_ref()))
    }

    fn throttled(&mut self, env: &mut Env<'_>, id: StreamId, words: &Words) -> Next {
        let failure = SaslFailure::new(SaslCondition::TemporaryAuthFailure, "throttled")
            .text("Too many failures; try again in some minutes.");
        self.sasl_failed(env, id, &failure, None, words)
    }

    /// A pool thread compared the password.
    pub(super) fn password_verified(&mut self, env: &mut Env<'_>, query: QueryId, matches: bool) {
        let asked = self.questions.checking.remove(&query);
        let spare = self.questions.spare.remove(&query);
        if let (Some(spare), Some((_, jid)), true) = (spare, &asked, matches) {
            self.derive_missing(jid.clone(), spare);
        }
        let Some((id, verdict)) = self.questions.verdicts.remove(&query) else { return };
        let local = verdict.local().to_owned();
        let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(id) else {
            // Who did not wait for the answer has guessed all the same.
            if let (Some((peer, jid)), false) = (asked, matches) {
                self.throttle.failed(Some(peer), jid.as_str(), env.now);
            }
            return;
        };
        let Handshake::Checking(words) = std::mem::take(&mut secured.handshake) else { return };
        let next = match verdict.resume(matches) {
            Step::Failure(failure) => self.sasl_failed(env, id, &failure, Some(&local), &words),
            step => self.step(env, id, step, words),
        };
        self.apply(id, next);
    }

    /// Does with the framer what a handler wanted that was not called by the loop over frames.
    pub(super) fn apply(&mut self, id: StreamId, next: Next) {
        let Some(framer) = self.streams.slot_mut(id).and_then(|slot| slot.framer.as_mut()) else { return };
        match next {
            Next::Restart(bounds) => framer.restart(bounds),
            Next::Widen(bounds) => framer.set_bounds(bounds),
            Next::Go | Next::Upgrade | Next::Stop => {}
        }
    }

    /// The proof is made. RFC 6120 §6.4.6: the stream restarts; XEP-0388 §2.6.1: it does not.
    fn succeed(&mut self, env: &mut Env<'_>, id: StreamId, success: Success, words: Words) -> Next {
        let Some(slot) = self.streams.slot_mut(id) else { return Next::Stop };
        let (State::Secured(_), Some(domain)) = (&slot.state, &slot.domain) else { return Next::Stop };
        let Ok(account) = Jid::from_parts(Some(&success.local), domain, None) else { return Next::Stop };
        let found = accounts::find(&Store { overlay: &mut self.core.overlay, view: env.view }, &account);
        let Some(found) = found else {
            // Removed while the handshake was under way.
            let failure = SaslFailure::new(SaslCondition::NotAuthorized, "the account is gone");
            return self.sasl_failed(env, id, &failure, Some(&success.local), &words);
        };
        // Who sent the password itself has nothing to do: the server makes of it what it needs.
        let by_proof = success.additional_data.is_some();
        let is_lacking = by_proof && found.credentials.lacks_sha256() && !found.is_disabled;
        match words {
            Words::Sasl2(wishes) if wishes.upgrades && is_lacking => self.ask_to_upgrade(id, account, success, wishes),
            words => self.admit(env, id, (account, found), success, words, Proved::Password { upgraded: false }),
        }
    }

    /// Whoever has proved to be this account may come in, if the account may.
    pub(super) fn admit(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        (account, found): (Jid, Account),
        success: Success,
        words: Words,
        proved: Proved,
    ) -> Next {
        if found.is_disabled {
            // RFC 6120 §6.5.2: said to nobody but who knows the password.
            let failure = SaslFailure::new(SaslCondition::AccountDisabled, "the account is disabled")
                .text("An administrator has disabled this account.");
            return self.sasl_failed(env, id, &failure, Some(&success.local), &words);
        }
        let peer = self.streams.slot(id).and_then(Slot::peer);
        log::info!("{account} signed in from {peer:?}");
        self.throttle.succeeded(peer, account.as_str(), env.now);
        self.core.counters.sign_ins += 1;
        let proof = Proof { account, device: None };
        match words {
            Words::Sasl => self.restart(id, proof, success.additional_data.as_deref()),
            Words::Sasl2(wishes) => self.settle_in(env, id, Settling::new(proof, found.id, success, wishes), &proved),
        }
    }

    /// RFC 6120 §6.4.6.
    fn restart(&mut self, id: StreamId, proof: Proof, additional_data: Option<&[u8]>) -> Next {
        let Some(slot) = self.streams.slot_mut(id) else { return Next::Stop };
        slot.state = State::Verified(Box::new(proof));
        slot.header_sent = false;
        let mut out = Vec::with_capacity(128);
        nonza::write_success(additional_data, &mut out);
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
                    Handshake::Awaiting(awaiting, _) => awaiting.local(),
                    Handshake::Checking(_) => {
                        let mut verdicts = self.questions.verdicts.values();
                        verdicts.find(|(stream, _)| stream == id).map(|(_, verdict)| verdict.local())
                    }
                    Handshake::Upgrading(upgrading) => return Some(upgrading.account == *account),
                    Handshake::Settling(settling) => return Some(settling.proof.account == *account),
                },
                State::Clear | State::Upgrading | State::Bound(_) | State::Peer(_) | State::Component(_) => None,
            };
            Some(local? == account.local()? && slot.domain.as_deref()? == account.domain())
        };
        let ids: Vec<_> = self.streams.ids().into_iter().filter(|id| signs_in(id) == Some(true)).collect();
        for id in ids {
            self.fail(env, id, error.clone());
        }
    }

    /// The handshake has failed; the stream is as it was before it.
    pub(super) fn sasl_failed(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        failure: &SaslFailure,
        local: Option<&str>,
        words: &Words,
    ) -> Next {
        let Some(slot) = self.streams.slot_mut(id) else { return Next::Stop };
        let (peer, domain) = (slot.peer(), slot.domain.clone());
        let State::Secured(secured) = &mut slot.state else { return Next::Stop };
        secured.handshake = Handshake::Idle;
        // Giving up counts as well: it costs us as much as failing.
        secured.attempts += 1;
        let attempts = secured.attempts;
        if self.chatter.admits(env.now) {
            log::info!("sign-in from {peer:?} failed: {}", failure.why);
        }
        self.core.counters.failures += 1;
        if failure.is_guess() {
            let account = format!("{}@{}", local.unwrap_or_default(), domain.as_deref().unwrap_or_default());
            self.throttle.failed(peer, &account, env.now);
        }
        let mut out = Vec::with_capacity(128);
        match words {
            Words::Sasl => failure.write(ns::SASL, &mut out),
            Words::Sasl2(_) => failure.write(ns::SASL2, &mut out),
        }
        self.core.write(id, Chunk::new(out));
        if attempts >= limits::SASL_ATTEMPTS_MAX {
            // RFC 6120 §6.4.5.
            let error = StreamError::new(StreamCondition::PolicyViolation).text("Too many failed sign-ins.");
            self.fail(env, id, error);
            return Next::Stop;
        }
        Next::Go
    }
}

fn nonce(env: &mut Env<'_>) -> Nonce {
    let mut nonce = Nonce::default();
    env.entropy.fill(&mut nonce);
    nonce
}
