//! Signing in, server side: which mechanisms a stream offers, and one handshake as typed states that consume
//! themselves. Elements of RFC 6120 stand in [`nonza`]; SASL2 (XEP-0388) can frame the same states in its own.
//!
//! Source: RFC 6120 §6, RFC 4422, RFC 4616 (PLAIN), RFC 5802 and RFC 7677 (SCRAM), RFC 5929 §4 and RFC 9266 (channel
//! bindings), XEP-0440 v1.0.0, XEP-0474 v0.5.0.
//!
//! ```text
//! begin ─┬─ Challenge (no initial response yet) ── respond ─┐
//!        ├──────────────────────────────────────────────────┤
//!        ├─ NeedAccount ── resume ── Challenge ── respond ──┼─ Success | Failure
//!        └─ CheckPassword ── verdict.resume ────────────────┘
//! ```
//!
//! Invariant: a session acts as nobody but the account that was proved; a mechanism that was not offered on this
//! stream is not performed; and nothing that a stranger sees depends on whether an account exists.

pub mod nonza;
#[cfg(test)]
mod tests;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

use super::scram::{
    self, Credentials, Hash,
    exchange::{ClientFirst, Flag, Opened, Proving, ScramError},
};
use crate::wire::{
    build,
    jid::{self, Jid},
    ns,
};

/// Longest response in bytes, decoded. PLAIN needs the most: an address, a name and a password of 1,023 bytes a part.
pub const RESPONSE_BYTES_MAX: usize = 4096;

/// Random bytes for one handshake, fresh from the system's source.
pub type Nonce = [u8; 18];

/// Channel-binding data of one TLS connection; empty without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelBinding {
    /// `tls-exporter`, RFC 9266; TLS 1.3 only.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point`, RFC 5929 §4: hash of the certificate.
    pub end_point: Option<heapless::Vec<u8, 64>>,
}

impl ChannelBinding {
    pub(super) fn data(&self, kind: BindingType) -> Option<&[u8]> {
        match kind {
            BindingType::Exporter => self.exporter.as_ref().map(|data| data.as_slice()),
            BindingType::EndPoint => self.end_point.as_deref(),
        }
    }
}

/// A type of channel binding. `tls-unique` is not among them: it is not defined for TLS 1.3 (RFC 9266 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindingType {
    /// `tls-exporter`, RFC 9266.
    Exporter,
    /// `tls-server-end-point`, RFC 5929 §4.
    EndPoint,
}

impl BindingType {
    const ALL: [BindingType; 2] = [BindingType::Exporter, BindingType::EndPoint];

    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            BindingType::Exporter => "tls-exporter",
            BindingType::EndPoint => "tls-server-end-point",
        }
    }
}

/// A mechanism that this server performs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// SCRAM with channel binding.
    ScramPlus(Hash),
    /// SCRAM without.
    Scram(Hash),
    /// The password itself, RFC 4616; under TLS only.
    Plain,
}

impl Mechanism {
    /// All, in order of preference. SHA-1 stays because some clients know nothing better and would fall to PLAIN.
    const ALL: [Mechanism; 5] = [
        Mechanism::ScramPlus(Hash::Sha256),
        Mechanism::ScramPlus(Hash::Sha1),
        Mechanism::Scram(Hash::Sha256),
        Mechanism::Scram(Hash::Sha1),
        Mechanism::Plain,
    ];

    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mechanism::ScramPlus(Hash::Sha256) => "SCRAM-SHA-256-PLUS",
            Mechanism::ScramPlus(Hash::Sha1) => "SCRAM-SHA-1-PLUS",
            Mechanism::Scram(Hash::Sha256) => "SCRAM-SHA-256",
            Mechanism::Scram(Hash::Sha1) => "SCRAM-SHA-1",
            Mechanism::Plain => "PLAIN",
        }
    }
}

/// What one stream offers. The same binding and `tls` always give the same offer, so that it need not be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// In order of preference.
    pub mechanisms: heapless::Vec<Mechanism, 8>,
    /// In order of preference; empty if no mechanism with channel binding is offered.
    pub bindings: heapless::Vec<BindingType, 2>,
}

impl Offer {
    /// What a stream with this binding offers; `tls` says whether nobody can listen to it, `sha256` whether every account
    /// can sign in by that: a client takes the best that is offered, and does not try another one.
    pub fn new(binding: &ChannelBinding, tls: bool, sha256: bool) -> Offer {
        let bindings: heapless::Vec<_, 2> =
            BindingType::ALL.into_iter().filter(|kind| tls && binding.data(*kind).is_some()).collect();
        let mechanisms = Mechanism::ALL.into_iter().filter(|mechanism| match mechanism {
            Mechanism::ScramPlus(Hash::Sha256) | Mechanism::Scram(Hash::Sha256) if !sha256 => false,
            Mechanism::ScramPlus(_) => !bindings.is_empty(),
            Mechanism::Scram(_) => true,
            Mechanism::Plain => tls,
        });
        Offer { mechanisms: mechanisms.collect(), bindings }
    }

    /// Appends the stream features `<mechanisms/>` (RFC 6120 §6.4.1) and `<sasl-channel-binding/>` (XEP-0440 §2).
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<mechanisms");
        build::attr("xmlns", ns::SASL, out);
        out.push(b'>');
        self.write_mechanisms(out);
        out.extend_from_slice(b"</mechanisms>");
        self.write_bindings(out);
    }

    /// Appends the `<mechanism/>` elements alone, which SASL2 wraps otherwise.
    pub fn write_mechanisms(&self, out: &mut Vec<u8>) {
        for mechanism in &self.mechanisms {
            out.extend_from_slice(b"<mechanism>");
            out.extend_from_slice(mechanism.as_str().as_bytes());
            out.extend_from_slice(b"</mechanism>");
        }
    }

    /// Appends `<sasl-channel-binding/>` alone; nothing if there is no type to announce (XEP-0440 §2).
    pub fn write_bindings(&self, out: &mut Vec<u8>) {
        if self.bindings.is_empty() {
            return;
        }
        out.extend_from_slice(b"<sasl-channel-binding");
        build::attr("xmlns", ns::SASL_CB, out);
        out.push(b'>');
        for kind in &self.bindings {
            out.extend_from_slice(b"<channel-binding");
            build::attr("type", kind.as_str(), out);
            out.extend_from_slice(b"/>");
        }
        out.extend_from_slice(b"</sasl-channel-binding>");
    }

    fn has_plus(&self) -> bool {
        self.mechanisms.iter().any(|mechanism| matches!(mechanism, Mechanism::ScramPlus(_)))
    }

    /// The attribute `h`, XEP-0474 §5.1: a hash over all that was announced, sorted as bytes.
    fn downgrade_hash(&self, hash: Hash) -> String {
        let sorted = |names: &mut dyn Iterator<Item = &'static str>| {
            let mut names: Vec<_> = names.collect();
            names.sort_unstable();
            names.join("\x1e")
        };
        let mut announced = sorted(&mut self.mechanisms.iter().map(|mechanism| mechanism.as_str()));
        if !self.bindings.is_empty() {
            announced.push('\x1f');
            announced.push_str(&sorted(&mut self.bindings.iter().map(|kind| kind.as_str())));
        }
        BASE64.encode(hash.digest(announced.as_bytes()))
    }
}

/// Conditions of a failed handshake, RFC 6120 §6.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SaslCondition {
    /// The client gave up.
    Aborted,
    /// The account may not sign in at present. Said only to who has proved the password.
    AccountDisabled,
    /// The password is too old. Said only to who has proved it.
    CredentialsExpired,
    /// Not without TLS.
    EncryptionRequired,
    /// Not base64.
    IncorrectEncoding,
    /// The account may not act as that identity.
    InvalidAuthzid,
    /// No such mechanism on this stream.
    InvalidMechanism,
    /// It breaks the mechanism's grammar.
    MalformedRequest,
    /// Policy wants a stronger mechanism.
    MechanismTooWeak,
    /// Wrong name, password, or binding; which of them is not said.
    NotAuthorized,
    /// The server cannot judge at present.
    TemporaryAuthFailure,
}

impl SaslCondition {
    /// The element's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            SaslCondition::Aborted => "aborted",
            SaslCondition::AccountDisabled => "account-disabled",
            SaslCondition::CredentialsExpired => "credentials-expired",
            SaslCondition::EncryptionRequired => "encryption-required",
            SaslCondition::IncorrectEncoding => "incorrect-encoding",
            SaslCondition::InvalidAuthzid => "invalid-authzid",
            SaslCondition::InvalidMechanism => "invalid-mechanism",
            SaslCondition::MalformedRequest => "malformed-request",
            SaslCondition::MechanismTooWeak => "mechanism-too-weak",
            SaslCondition::NotAuthorized => "not-authorized",
            SaslCondition::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}

/// A failed handshake, RFC 6120 §6.4.5. The stream lives on until its retries are used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaslFailure {
    /// The defined condition.
    pub condition: SaslCondition,
    /// Text for a person, in English.
    pub text: Option<&'static str>,
    /// The reason for the debug log; never sent, since it may say more than a stranger should know.
    pub why: &'static str,
}

impl SaslFailure {
    /// The condition and the reason for the log.
    pub const fn new(condition: SaslCondition, why: &'static str) -> SaslFailure {
        SaslFailure { condition, text: None, why }
    }

    /// The same failure with a text for a person.
    #[must_use]
    pub const fn text(mut self, text: &'static str) -> SaslFailure {
        self.text = Some(text);
        self
    }

    /// Whether somebody may have guessed: these slow the address down. Every failure but `aborted` counts against the
    /// stream's retry limit (RFC 6120 §6.4.5).
    pub fn is_guess(&self) -> bool {
        // A client that knows only `tls-unique` fails before it has said anything of a password.
        self.condition == SaslCondition::NotAuthorized && self.why != ScramError::UnsupportedChannelBindingType.as_str()
    }
}

impl From<ScramError> for SaslFailure {
    fn from(error: ScramError) -> SaslFailure {
        let condition = match error {
            ScramError::InvalidEncoding => SaslCondition::MalformedRequest,
            // One answer for all that depends on names, keys and bindings.
            _ => SaslCondition::NotAuthorized,
        };
        SaslFailure::new(condition, error.as_str())
    }
}

/// What the stream has settled before the handshake.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'t> {
    /// The host that the client has connected to, prepared.
    pub domain: &'t str,
    /// What was offered on this stream, exactly as sent.
    pub offer: &'t Offer,
    /// What its TLS connection is bound to.
    pub binding: &'t ChannelBinding,
    /// The `from` of the stream's header if an authorization identity has to agree with it (XEP-0388 §5.3), as SASL2
    /// wants.
    pub from: Option<&'t Jid>,
}

/// What happens next in a handshake.
#[derive(Debug)]
#[must_use]
pub enum Step {
    /// Send this challenge, which may be empty, and await the response.
    Challenge(Vec<u8>, Awaiting),
    /// Look the account up.
    NeedAccount(NeedAccount),
    /// Look the account up and compare the password off the main thread.
    CheckPassword(CheckPassword),
    /// Signed in.
    Success(Success),
    /// Not signed in.
    Failure(SaslFailure),
}

/// A challenge is out; the handshake waits for the response.
#[derive(Debug)]
pub struct Awaiting(State);

#[derive(Debug)]
enum State {
    Initial(Mechanism, Nonce),
    Proof { local: String, proving: Box<Proving> },
}

impl Awaiting {
    /// The localpart of the account that is being proved, prepared, once the client has named it.
    pub fn local(&self) -> Option<&str> {
        match &self.0 {
            State::Initial(..) => None,
            State::Proof { local, .. } => Some(local),
        }
    }

    /// Takes the decoded response; `terms` are those of [`begin`].
    pub fn respond(self, terms: &Terms<'_>, response: &[u8]) -> Step {
        if response.len() > RESPONSE_BYTES_MAX {
            return failure(SaslCondition::MalformedRequest, "response too long");
        }
        match self.0 {
            State::Initial(mechanism, nonce) => opened(terms, mechanism, &nonce, response),
            State::Proof { local, proving } => match proving.prove(response) {
                Ok(data) => Step::Success(Success { local, additional_data: Some(data) }),
                Err(error) => Step::Failure(error.into()),
            },
        }
    }
}

/// The client has named its account.
#[derive(Debug)]
pub struct NeedAccount {
    local: String,
    opened: Box<Opened>,
}

impl NeedAccount {
    /// The account's localpart, prepared.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// Goes on with the account's credentials, or with [`Credentials::fake`] if there is no such account.
    pub fn resume(self, credentials: &Credentials) -> Step {
        let (challenge, proving) = self.opened.challenge(credentials);
        Step::Challenge(challenge, Awaiting(State::Proof { local: self.local, proving: Box::new(proving) }))
    }
}

/// The client has sent its password.
#[derive(Debug)]
pub struct CheckPassword {
    /// Prepared; for [`Credentials::verify_password`] with the account's credentials, or with [`Credentials::fake`]
    /// if there is no such account. Slow: off the main thread.
    pub password: Zeroizing<String>,
    /// Waits for the result.
    pub verdict: Verdict,
}

/// A password is being compared.
#[derive(Debug)]
pub struct Verdict {
    local: String,
}

impl Verdict {
    /// The account's localpart, prepared.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// Goes on with the result of the comparison.
    pub fn resume(self, is_right: bool) -> Step {
        match is_right {
            true => Step::Success(Success { local: self.local, additional_data: None }),
            false => failure(SaslCondition::NotAuthorized, "wrong name or password"),
        }
    }
}

/// The account is proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Success {
    /// Its localpart, prepared; the session acts as this account and no other.
    pub local: String,
    /// "Additional data with success", RFC 6120 §6.4.6.
    pub additional_data: Option<Vec<u8>>,
}

fn failure(condition: SaslCondition, why: &'static str) -> Step {
    Step::Failure(SaslFailure::new(condition, why))
}

/// Begins a handshake, RFC 6120 §6.4.2; an older one that has not ended is dropped by the caller. `initial` is the
/// decoded initial response, `None` if there was none.
pub fn begin(terms: &Terms<'_>, nonce: Nonce, mechanism: &str, initial: Option<&[u8]>) -> Step {
    let Some(mechanism) = terms.offer.mechanisms.iter().find(|offered| offered.as_str() == mechanism) else {
        return failure(SaslCondition::InvalidMechanism, "mechanism not offered on this stream");
    };
    match initial {
        Some(response) if response.len() > RESPONSE_BYTES_MAX => {
            failure(SaslCondition::MalformedRequest, "initial response too long")
        }
        Some(response) => opened(terms, *mechanism, &nonce, response),
        // RFC 4422 §3: an empty challenge asks for what could have come with the request.
        None => Step::Challenge(Vec::new(), Awaiting(State::Initial(*mechanism, nonce))),
    }
}

fn opened(terms: &Terms<'_>, mechanism: Mechanism, nonce: &Nonce, response: &[u8]) -> Step {
    let step = match mechanism {
        Mechanism::Plain => plain(terms, response),
        Mechanism::Scram(hash) => scram(terms, hash, false, nonce, response),
        Mechanism::ScramPlus(hash) => scram(terms, hash, true, nonce, response),
    };
    step.unwrap_or_else(Step::Failure)
}

fn plain(terms: &Terms<'_>, message: &[u8]) -> Result<Step, SaslFailure> {
    const MALFORMED: SaslFailure = SaslFailure::new(SaslCondition::MalformedRequest, "malformed PLAIN message");
    let message = std::str::from_utf8(message).map_err(|_| MALFORMED)?;
    let mut parts = message.split('\0');
    let (Some(authzid), Some(authcid), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(MALFORMED);
    };
    if authcid.is_empty() || password.is_empty() {
        return Err(MALFORMED);
    }
    let local = account(terms, authcid, Some(authzid).filter(|authzid| !authzid.is_empty()))?;
    // RFC 4616 §2: what cannot be prepared does not verify.
    let password = scram::prepare_password(password)
        .map_err(|_| SaslFailure::new(SaslCondition::NotAuthorized, "password cannot be prepared"))?;
    Ok(Step::CheckPassword(CheckPassword { password, verdict: Verdict { local } }))
}

fn scram(terms: &Terms<'_>, hash: Hash, plus: bool, nonce: &Nonce, message: &[u8]) -> Result<Step, SaslFailure> {
    let first = ClientFirst::read(message)?;
    let bound = bound(terms, plus, first.flag)?;
    let local = account(terms, &first.username, first.authzid.as_deref())?;
    let opened = first.open(hash, bound, &BASE64.encode(nonce), Some(&terms.offer.downgrade_hash(hash)));
    Ok(Step::NeedAccount(NeedAccount { local, opened: Box::new(opened) }))
}

/// The data that the exchange is to be bound to, RFC 5802 §6; empty without channel binding.
fn bound<'t>(terms: &Terms<'t>, plus: bool, flag: Flag<'_>) -> Result<&'t [u8], ScramError> {
    match flag {
        Flag::Bound(_) if !plus => Err(ScramError::ChannelBindingNotSupported),
        Flag::Bound(name) => {
            let kind = terms.offer.bindings.iter().find(|kind| kind.as_str() == name);
            let data = kind.and_then(|kind| terms.binding.data(*kind));
            data.ok_or(ScramError::UnsupportedChannelBindingType)
        }
        // The client believes that nothing was offered: somebody has cut the list.
        Flag::Unoffered if terms.offer.has_plus() => Err(ScramError::ServerDoesSupportChannelBinding),
        Flag::Unoffered | Flag::Unable if plus => Err(ScramError::UnsupportedChannelBindingType),
        Flag::Unoffered | Flag::Unable => Ok(&[]),
    }
}

/// The account that signs in. It acts for itself only: another authorization identity is refused.
///
/// # Errors
/// `not-authorized` for a name that no account can have, `invalid-authzid`.
pub fn account(terms: &Terms<'_>, authcid: &str, authzid: Option<&str>) -> Result<String, SaslFailure> {
    // No account bears a name that cannot be prepared, so that the answer is the one for unknown accounts.
    let local = jid::prepare_local(authcid)
        .map_err(|_| SaslFailure::new(SaslCondition::NotAuthorized, "name cannot be prepared"))?
        .into_owned();
    if let Some(authzid) = authzid {
        // RFC 6120 §6.3.8: a bare JID.
        let is_own = Jid::parse(authzid)
            .is_ok_and(|jid| jid.is_bare() && jid.local() == Some(&local) && jid.domain() == terms.domain);
        if !is_own {
            return Err(SaslFailure::new(SaslCondition::InvalidAuthzid, "authzid is not the account's own address"));
        }
        // The header names a domain of ours, or it would not have been believed so far.
        if terms.from.is_some_and(|from| from.local() != Some(&local)) {
            return Err(SaslFailure::new(SaslCondition::InvalidAuthzid, "authzid is not the stream's `from`"));
        }
    }
    Ok(local)
}
