//! More keys for a password that another server has kept for one hash only: XEP-0480 v0.2.0, within SASL2; or unasked, if
//! the password itself was sent.
//!
//! Invariant: only who has just proved the password gets this far; success is told when the keys are durable; and whatever
//! goes wrong, the account is as it was.

use zeroize::Zeroizing;

use super::{
    Server,
    negotiate::{Next, State},
    sign_in::{Handshake, Words},
    streams::Slot,
    token::Proved,
};
use crate::{
    domain::{
        accounts::{self, Account},
        ids::StreamId,
        store::Store,
    },
    proto::{
        sasl::{SaslCondition, SaslFailure, Success},
        sasl2::{self, Request, UPGRADE, Wishes},
        scram::{Credentials, Hash, ITERATIONS, SALT_BYTES, ScramKeys},
    },
    router::event::{Effect, Env},
    wire::{element::Element, jid::Jid, stanza::Chunk},
};

/// A password that is being compared with keys of SHA-1 only, and these: if it is right, it leads to the others.
pub type Spare = (Zeroizing<String>, Credentials);

/// A task under way.
#[derive(Debug)]
pub struct Upgrading {
    /// Who has proved the password.
    pub account: Jid,
    local: String,
    wishes: Box<Wishes>,
    /// What was told to the client, once it has begun.
    salt: Option<[u8; SALT_BYTES]>,
}

impl Server {
    /// The password is proved: the client is asked to do what it has offered, XEP-0480 §2.2.
    pub(super) fn ask_to_upgrade(&mut self, id: StreamId, account: Jid, success: Success, wishes: Box<Wishes>) -> Next {
        let mut out = Vec::with_capacity(256);
        sasl2::write_continue(success.additional_data.as_deref(), &mut out);
        self.core.write(id, Chunk::new(out));
        self.go_on(id, Box::new(Upgrading { account, local: success.local, wishes, salt: None }))
    }

    /// What the client says meanwhile, XEP-0388 §2.6.3.
    pub(super) fn take_keys(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        mut task: Box<Upgrading>,
        said: Element,
    ) -> Next {
        let failed = |condition, why| SaslFailure::new(condition, why);
        let failure = match (Request::read(said), task.salt) {
            (Ok(Request::Next(name)), None) if name == UPGRADE => {
                let mut salt = [0; SALT_BYTES];
                env.entropy.fill(&mut salt);
                task.salt = Some(salt);
                let mut out = Vec::with_capacity(256);
                sasl2::write_salt(&salt, ITERATIONS, &mut out);
                self.core.write(id, Chunk::new(out));
                return self.go_on(id, task);
            }
            (Ok(Request::Next(_)), None) => failed(SaslCondition::InvalidMechanism, "a task that was not asked for"),
            (Ok(Request::Hash(Some(hash))), Some(salt)) => match self.complete(env, &task.account, &hash, &salt) {
                Some(account) => {
                    log::info!("{} has keys for SCRAM-SHA-256 now", task.account);
                    let success = Success { local: task.local, additional_data: None };
                    let words = Words::Sasl2(task.wishes);
                    let proved = Proved::Password { upgraded: true };
                    return self.admit(env, id, (task.account, account), success, words, proved);
                }
                None => failed(SaslCondition::MalformedRequest, "a hash that does not fit"),
            },
            (Ok(Request::Abort), _) => failed(SaslCondition::Aborted, "the client gave up its task"),
            (Err(failure), _) => failure,
            (Ok(_), _) => return self.out_of_turn(env, id),
        };
        self.sasl_failed(env, id, &failure, Some(&task.local), &Words::Sasl2(task.wishes))
    }

    /// A password was right: what is missing is derived from it, as for a new one. Nobody waits for that.
    pub(super) fn derive_missing(&mut self, jid: Jid, (password, before): Spare) {
        let query = self.core.query();
        self.questions.completing.insert(query, (jid, before));
        self.core.effects.push(Effect::Derive(query, password));
    }

    /// They were derived. If the account has had other keys since, or is another one, they are nobody's.
    pub(super) fn take_derived(&mut self, env: &mut Env<'_>, jid: &Jid, before: &Credentials, derived: Credentials) {
        let mut store = Store { overlay: &mut self.core.overlay, view: env.view };
        if accounts::find(&store, jid).is_some_and(|account| account.credentials == *before) {
            log::info!("{jid} has keys for SCRAM-SHA-256 now");
            accounts::complete(&mut store, jid, derived);
        }
    }

    fn go_on(&mut self, id: StreamId, task: Box<Upgrading>) -> Next {
        if let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(id) {
            secured.handshake = Handshake::Upgrading(task);
        }
        Next::Go
    }

    /// Keeps the new keys; the account as it is then. `None`: no keys, or no such account any more.
    fn complete(
        &mut self,
        env: &mut Env<'_>,
        jid: &Jid,
        hash: &Zeroizing<Vec<u8>>,
        salt: &[u8; SALT_BYTES],
    ) -> Option<Account> {
        let keys = ScramKeys::from_salted(Hash::Sha256, hash, salt, ITERATIONS)?;
        let mut store = Store { overlay: &mut self.core.overlay, view: env.view };
        let credentials = accounts::find(&store, jid)?.credentials.completed(keys)?;
        accounts::complete(&mut store, jid, credentials)
    }
}
