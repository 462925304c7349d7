//! Everything between the proof of SASL2 and a usable session, in one answer: resumption, binding, features.
//!
//! Source: XEP-0388 §2.6.1, XEP-0386 §3.2, XEP-0198 §9. Invariant: wishes are granted in the order resume, bind; a stream
//! that resumed is not bound; and nothing is told before it is durable.

use super::{
    Server,
    bind::resource,
    context,
    negotiate::{Next, State},
    resume::failed,
    sign_in::{Handshake, Proof, Words},
    streams::Slot,
    token::{Proved, TokenNews},
};
use crate::{
    domain::{
        devices::{self, DeviceId, Seen},
        ids::{AccountId, SessionId, StreamId},
        store::Store,
        waiting,
    },
    limits,
    proto::{
        sasl::{SaslCondition, SaslFailure, Success},
        sasl2::{self, Wishes},
    },
    router::{event::Env, service::Notice},
    wire::{element::Element, error::StanzaError, jid::Jid, ns, stanza::Chunk},
};

/// A sign-in that has succeeded and was not told so yet.
#[derive(Debug)]
pub struct Settling {
    /// Who it is.
    pub proof: Proof,
    /// Its number.
    pub owner: AccountId,
    additional_data: Option<Vec<u8>>,
    wishes: Box<Wishes>,
    /// The short name of its device.
    name: Option<String>,
    /// What is to be told of tokens.
    pub news: Option<TokenNews>,
    /// The batch with which it becomes durable.
    batch: u64,
}

impl Settling {
    /// Of this account, with the server's last word in the mechanism.
    pub fn new(proof: Proof, owner: AccountId, success: Success, wishes: Box<Wishes>) -> Box<Settling> {
        let additional_data = success.additional_data;
        Box::new(Settling { proof, owner, additional_data, wishes, name: None, news: None, batch: 0 })
    }
}

impl Server {
    /// The proof is made: the device is written down, and the stream goes on as soon as it may.
    pub(super) fn settle_in(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        mut settling: Box<Settling>,
        proved: &Proved,
    ) -> Next {
        if let Proved::Password { upgraded: true } = proved {
            settling.batch = self.core.last_batch();
        }
        if let Some(agent) = &settling.wishes.agent
            && let Some(device) = agent.id.map(DeviceId)
        {
            let now_s = env.wall_us / 1_000_000;
            let by_password = matches!(proved, Proved::Password { .. });
            let seen = Seen { by_password, software: &agent.software, device: &agent.device, now_s };
            let sessions = &self.core.sessions;
            let account = settling.proof.account.as_str();
            let is_here = |other| sessions.of(account).any(|(_, session)| session.device == Some(other));
            let mut store = Store { overlay: &mut self.core.overlay, view: env.view };
            let entropy = &mut *env.entropy;
            let name = || {
                let mut name = [0; devices::NAME_BYTES];
                entropy.fill(&mut name);
                name
            };
            let known = devices::seen(&mut store, settling.owner, device, &seen, name, is_here);
            (settling.proof.device, settling.name) = (Some(device), Some(known.name()));
            settling.news = self.token_news(env, id, (settling.owner, device), &settling.wishes, proved);
            if settling.news.is_some() {
                settling.batch = self.core.last_batch();
            }
        }
        self.welcome(env, id, settling)
    }

    /// Streams whose answer waited for the disk go on.
    pub(super) fn welcome_waiting(&mut self, env: &mut Env<'_>) {
        for id in std::mem::take(&mut self.durable.settling) {
            let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(id) else { continue };
            match std::mem::take(&mut secured.handshake) {
                Handshake::Settling(settling) => {
                    let next = self.welcome(env, id, settling);
                    self.apply(id, next);
                    if !self.durable.settling.contains(&id) {
                        self.release(env, id);
                    }
                }
                other => secured.handshake = other,
            }
        }
    }

    /// The answer waits for the disk.
    fn wait(&mut self, id: StreamId, settling: Box<Settling>) -> Next {
        if let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(id) {
            secured.handshake = Handshake::Settling(settling);
            self.durable.settling.push(id);
            self.hold(id);
        }
        Next::Go
    }

    /// Grants the wishes and says so.
    fn welcome(&mut self, env: &mut Env<'_>, id: StreamId, settling: Box<Settling>) -> Next {
        if settling.batch > self.core.committed {
            return self.wait(id, settling);
        }
        let mut token = Vec::new();
        match &settling.news {
            Some(TokenNews::Issued(issued)) if self.is_still_true(env, &settling) => issued.write(&mut token),
            Some(TokenNews::Invalidated) if !self.is_still_true(env, &settling) => {
                let failure =
                    SaslFailure::new(SaslCondition::TemporaryAuthFailure, "the disk would not forget a token");
                return self.sasl_failed(env, id, &failure, None, &Words::Sasl2(Box::default()));
            }
            _ => {}
        }
        let mut results = Vec::with_capacity(256);
        if let Some(resume) = &settling.wishes.resume {
            match self.resumable(&settling.proof.account, resume) {
                Ok((session, _)) if self.awaits_disk(env, session) => return self.wait(id, settling),
                Ok((session, h)) => return self.welcome_back(env, id, (session, h), &settling, &token),
                // XEP-0198 §9.2: said, and then a new session is made if one is wanted.
                Err((condition, handled)) => failed(condition, handled).write(&mut results),
            }
        }
        let session = match &settling.wishes.bind {
            None => None,
            Some(bind) => match self.bind_at_once(env, id, &settling, bind, &mut results) {
                Ok(session) => Some(session),
                Err(error) => {
                    // XEP-0386 has no word for it; without a session nobody is served.
                    let failure = SaslFailure::new(SaslCondition::TemporaryAuthFailure, "no session could be bound");
                    let failure = SaslFailure { text: error.text, ..failure };
                    return self.sasl_failed(env, id, &failure, None, &Words::Sasl2(Box::default()));
                }
            },
        };
        results.append(&mut token);
        let own = session.and_then(|session| self.core.sessions.session(session)).map(|session| session.jid.clone());
        let identity = own.as_ref().unwrap_or(&settling.proof.account);
        let mut out = Vec::with_capacity(1024);
        sasl2::write_success(settling.additional_data.as_deref(), identity, &results, &mut out);
        if let (None, Some(slot)) = (session, self.streams.slot_mut(id)) {
            slot.state = State::Verified(Box::new(settling.proof));
        }
        // XEP-0388 §2.6.1: at once, without a restart.
        self.features(env, id, &mut out);
        self.core.write(id, Chunk::new(out));
        if let Some(session) = session {
            self.notice(env, &Notice::SessionBound(session));
        }
        Next::Widen(self.bounds())
    }

    /// XEP-0198 §9.2: the session is there again; no features follow.
    fn welcome_back(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        (session, h): (SessionId, u32),
        settling: &Settling,
        token: &[u8],
    ) -> Next {
        let mut results = self.reattach(id, session);
        results.extend_from_slice(token);
        if let (Some(device), Some(session)) = (settling.proof.device, self.core.sessions.session_mut(session)) {
            session.device = Some(device);
        }
        let own = self.core.sessions.session(session).map(|session| session.jid.clone());
        let mut out = Vec::with_capacity(512);
        let identity = own.as_ref().unwrap_or(&settling.proof.account);
        sasl2::write_success(settling.additional_data.as_deref(), identity, &results, &mut out);
        self.core.write(id, Chunk::new(out));
        match self.catch_up(env, id, session, h) {
            Next::Go => Next::Widen(self.bounds()),
            next => next,
        }
    }

    /// XEP-0386 §3.2; appends `<bound/>`.
    fn bind_at_once(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        settling: &Settling,
        bind: &Element,
        out: &mut Vec<u8>,
    ) -> Result<SessionId, StanzaError> {
        let tag = bind.leaf_text("tag").filter(|tag| !tag.is_empty() && tag.len() <= limits::TAG_BYTES_MAX);
        let jid = self.address(env, settling, tag.as_deref())?;
        let session = self.bind_session(env, id, jid, settling.owner, settling.proof.device)?;
        self.leave_to_archive(env, settling);
        out.extend_from_slice(b"<bound xmlns='urn:xmpp:bind:0'>");
        for at in 0..self.core.at_bind.len() {
            let at = self.core.at_bind[at];
            let mut ctx = context(&mut self.core, env);
            if !at.is_feature {
                if let Some(result) = (at.run)(session, None, &mut ctx) {
                    result.write(ns::BIND2, out);
                }
                continue;
            }
            for wish in bind.children().filter(|wish| wish.ns == at.ns) {
                if let Some(result) = (at.run)(session, Some(wish), &mut ctx) {
                    result.write(ns::BIND2, out);
                }
            }
        }
        if let Some(enable) = bind.find("enable", ns::SM) {
            // XEP-0198 §9.1.
            match self.manage(env, session, enable) {
                Ok(enabled) => out.extend_from_slice(&enabled),
                Err(condition) => failed(condition, None).write(out),
            }
        }
        out.extend_from_slice(b"</bound>");
        Ok(session)
    }

    /// XEP-0386 §3.2: what waits is not sent to who binds so, since it reads the archive. Obeyed where the archive has all of
    /// it, and nobody else is there: what is on its way to another session is that session's to acknowledge.
    fn leave_to_archive(&mut self, env: &mut Env<'_>, settling: &Settling) {
        if self.core.sessions.of(settling.proof.account.as_str()).count() == 1 {
            let mut store = Store { overlay: &mut self.core.overlay, view: env.view };
            waiting::leave_to_archive(&mut store, settling.owner);
            self.core.tallies.forget(settling.owner);
        }
    }

    /// XEP-0386 §3.2.1: the client's tag, then a name that stays the same for the same device and shows nothing of it.
    fn address(&self, env: &mut Env<'_>, settling: &Settling, tag: Option<&str>) -> Result<Jid, StanzaError> {
        let random;
        let name = match &settling.name {
            Some(name) => name.as_str(),
            None => {
                random = resource(env);
                &random
            }
        };
        let account = &settling.proof.account;
        let tagged = tag.and_then(|tag| account.with_resource(&[tag, "/", name].concat()).ok());
        // A tag that cannot be part of an address is left out.
        match tagged {
            Some(jid) => Ok(jid),
            None => account.with_resource(name).map_err(|_| crate::wire::error::Condition::BadRequest.into()),
        }
    }
}
