//! Signing in with a token, and giving tokens out: XEP-0484 v0.2.0 §3.
//!
//! Invariant: what is told of a token, that there is a new one or that an old one is good no more, is durable; and a
//! stranger cannot tell an unknown name, device or token from one another.

use zeroize::Zeroizing;

use super::{
    Server,
    instant::Settling,
    negotiate::{Next, State},
    sign_in::Words,
    streams::Slot,
};
use crate::{
    domain::{
        accounts,
        devices::{self, DeviceId},
        ids::{AccountId, StreamId},
        store::Store,
    },
    proto::{
        fast::{self, Issued, Message},
        sasl::{self, SaslCondition, SaslFailure, Success, Terms},
        sasl2::{Authenticate, Wishes},
    },
    router::event::Env,
    wire::jid::Jid,
};

/// What a sign-in did to the tokens of its device.
#[derive(Debug)]
pub enum TokenNews {
    /// A new one was made.
    Issued(Issued),
    /// They are good no more.
    Invalidated,
}

/// How the account was proved.
#[derive(Debug)]
pub enum Proved {
    /// By its password.
    Password {
        /// It has more keys than before.
        upgraded: bool,
    },
    /// By a token that was accepted.
    Token {
        /// It is to be followed by another one for this mechanism.
        due: Option<fast::Mechanism>,
        /// It is good no more.
        invalidated: bool,
    },
}

impl Server {
    /// XEP-0484 §3.4: one message proves the device's token.
    pub(super) fn fast(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        mechanism: fast::Mechanism,
        request: Authenticate,
    ) -> Next {
        let words = Words::Sasl2(request.wishes);
        let Words::Sasl2(wishes) = &words else { return Next::Stop };
        let (jid, success, proved, account) = match self.accept_token(env, id, mechanism, &request.initial, wishes) {
            Ok(accepted) => accepted,
            Err(failure) => return self.sasl_failed(env, id, &failure, None, &words),
        };
        self.admit(env, id, (jid, account), success, words, proved)
    }

    fn accept_token(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        mechanism: fast::Mechanism,
        initial: &Option<Zeroizing<Vec<u8>>>,
        wishes: &Wishes,
    ) -> Result<(Jid, Success, Proved, accounts::Account), SaslFailure> {
        const MALFORMED: SaslFailure = SaslFailure::new(SaslCondition::MalformedRequest, "a token without <fast/>");
        const UNKNOWN: SaslFailure = SaslFailure::new(SaslCondition::NotAuthorized, "no such token");
        let Some(Slot { state: State::Secured(secured), domain: Some(domain), .. }) = self.streams.slot(id) else {
            return Err(UNKNOWN);
        };
        let bound = mechanism.bound(&secured.binding);
        let bound = bound.ok_or(SaslFailure::new(SaslCondition::InvalidMechanism, "mechanism not offered"))?;
        // XEP-0484 §5.1: both are needed.
        let fast = wishes.fast.ok_or(MALFORMED)?;
        let device = wishes.agent.as_ref().and_then(|agent| agent.id).map(DeviceId).ok_or(MALFORMED)?;
        let message = Message::read(initial.as_ref().ok_or(MALFORMED)?)?;
        let from = secured.from.as_ref();
        let terms = Terms { domain, offer: &secured.offer, binding: &secured.binding, from };
        let local = sasl::account(&terms, message.name, None)?;
        let jid = Jid::from_parts(Some(&local), domain, None).map_err(|_| UNKNOWN)?;
        let peer = self.streams.slot(id).and_then(Slot::peer);
        // By address alone: nobody guesses a token, and failures of others must not keep its holder out.
        if !self.throttle.admits(peer, "", 0, &self.core.config.limits, env.now) {
            let failure = SaslFailure::new(SaslCondition::TemporaryAuthFailure, "throttled");
            return Err(failure.text("Too many failures; try again in some minutes."));
        }
        let mut store = Store { overlay: &mut self.core.overlay, view: env.view };
        let account = accounts::find(&store, &jid);
        // Number 0 is nobody's: an unknown account costs the same.
        let owner = account.as_ref().map_or(AccountId(0), |account| account.id);
        let mut tokens = devices::tokens(&store, owner, device);
        let accepted = tokens.accept(mechanism, &message, bound, fast, env.wall_us / 1_000_000)?;
        let account = account.ok_or(UNKNOWN)?;
        if accepted.is_news && !account.is_disabled {
            devices::put_tokens(&mut store, owner, device, &tokens);
        }
        let proved = Proved::Token { due: accepted.due, invalidated: fast.invalidates };
        Ok((jid, Success { local, additional_data: Some(accepted.answer) }, proved, account))
    }

    /// After the proof: gives the device the token that it asks for, or that is due.
    pub(super) fn token_news(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        (owner, device): (AccountId, DeviceId),
        wishes: &Wishes,
        proved: &Proved,
    ) -> Option<TokenNews> {
        let (due, invalidated) = match proved {
            Proved::Password { .. } => (None, false),
            Proved::Token { due, invalidated } => (*due, *invalidated),
        };
        let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot(id) else { return None };
        // XEP-0484 §3.2: only what this stream offers can be asked for.
        let is_offered = |mechanism: &fast::Mechanism| mechanism.bound(&secured.binding).is_some();
        let Some(mechanism) = wishes.token.or(due).filter(is_offered) else {
            return invalidated.then_some(TokenNews::Invalidated);
        };
        let mut dice: Zeroizing<fast::Dice> = Zeroizing::new([0; fast::TOKEN_BYTES]);
        env.entropy.fill(&mut *dice);
        let mut store = Store { overlay: &mut self.core.overlay, view: env.view };
        let mut tokens = devices::tokens(&store, owner, device);
        let issued = tokens.issue(mechanism, &dice, env.wall_us / 1_000_000);
        devices::put_tokens(&mut store, owner, device, &tokens);
        Some(TokenNews::Issued(issued))
    }

    /// Whether the news is true: the disk may have refused it, or a new password has come in between.
    pub(super) fn is_still_true(&mut self, env: &mut Env<'_>, settling: &Settling) -> bool {
        let Some(device) = settling.proof.device else { return false };
        let store = Store { overlay: &mut self.core.overlay, view: env.view };
        let tokens = devices::tokens(&store, settling.owner, device);
        match &settling.news {
            Some(TokenNews::Issued(issued)) => tokens.holds(issued),
            Some(TokenNews::Invalidated) => tokens.is_empty(),
            None => true,
        }
    }
}
