//! Signing in with a token instead of the password: the mechanisms `HT-SHA-256-*`, and the tokens of one device.
//!
//! Source: XEP-0484 v0.2.0, draft-schmaus-kitten-sasl-ht-09. Without 0-RTT.
//!
//! Invariant: a token is good for the one mechanism for which it was asked, for the one device to which it was given, and
//! until its time; only a key that is derived from it is kept, which cannot be typed into a client, but with which somebody
//! who reads the store could make proofs until it expires (HMAC leaves no other way); and a device has at most two, the one it uses and the
//! next one (XEP-0484 §6.1).

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use ring::{digest, hmac};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::sasl::{BindingType, ChannelBinding, SaslCondition, SaslFailure};
use crate::{
    limits,
    wire::{build, time},
};

/// Random bytes of a token. As text they are more than a block of SHA-256, so that HMAC itself begins by hashing them: that
/// hash is what is kept.
pub const TOKEN_BYTES: usize = 51;

/// Random bytes for one token, fresh from the system's source.
pub type Dice = [u8; TOKEN_BYTES];

/// A mechanism of the family HT with SHA-256. `-UNIQ` is not among them: `tls-unique` is not defined for TLS 1.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// Bound to the channel by `tls-exporter`.
    Exporter,
    /// Bound to the channel by `tls-server-end-point`.
    EndPoint,
    /// Not bound.
    Unbound,
}

impl Mechanism {
    /// All, in order of preference.
    pub const ALL: [Mechanism; 3] = [Mechanism::Exporter, Mechanism::EndPoint, Mechanism::Unbound];

    /// Its name in the draft.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mechanism::Exporter => "HT-SHA-256-EXPR",
            Mechanism::EndPoint => "HT-SHA-256-ENDP",
            Mechanism::Unbound => "HT-SHA-256-NONE",
        }
    }

    /// The mechanism of this name.
    pub fn from_name(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.as_str() == name)
    }

    /// What a token is bound to on this stream; `None`: the mechanism is not offered on it.
    pub fn bound(self, binding: &ChannelBinding) -> Option<&[u8]> {
        match self {
            Mechanism::Exporter => binding.data(BindingType::Exporter),
            Mechanism::EndPoint => binding.data(BindingType::EndPoint),
            Mechanism::Unbound => Some(&[]),
        }
    }

    const fn code(self) -> u8 {
        match self {
            Mechanism::Unbound => 0,
            Mechanism::Exporter => 1,
            Mechanism::EndPoint => 2,
        }
    }
}

/// Appends the inline feature `<fast/>`, XEP-0484 §3.1.
pub fn write_feature(binding: &ChannelBinding, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<fast xmlns='urn:xmpp:fast:0'>");
    for mechanism in Mechanism::ALL.into_iter().filter(|mechanism| mechanism.bound(binding).is_some()) {
        out.extend_from_slice(b"<mechanism>");
        out.extend_from_slice(mechanism.as_str().as_bytes());
        out.extend_from_slice(b"</mechanism>");
    }
    out.extend_from_slice(b"</fast>");
}

/// `<fast/>` of a client, XEP-0484 §3.4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fast {
    /// How often it has used the token, by its own count.
    pub count: Option<u32>,
    /// The token is not to be good any more, XEP-0484 §3.6.
    pub invalidates: bool,
}

/// The client's only message: its name, and the token hashed.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'m> {
    /// As sent.
    pub name: &'m str,
    hash: &'m [u8],
}

impl<'m> Message<'m> {
    /// Reads `authcid NUL initiator-hashed-token`.
    ///
    /// # Errors
    /// `malformed-request`.
    pub fn read(message: &'m [u8]) -> Result<Message<'m>, SaslFailure> {
        const MALFORMED: SaslFailure = SaslFailure::new(SaslCondition::MalformedRequest, "malformed HT message");
        let end = message.iter().position(|byte| *byte == 0).filter(|end| *end > 0).ok_or(MALFORMED)?;
        let (name, hash) = message.split_at(end);
        let name = std::str::from_utf8(name).map_err(|_| MALFORMED)?;
        let hash = hash.get(1..).filter(|hash| hash.len() == digest::SHA256_OUTPUT_LEN).ok_or(MALFORMED)?;
        Ok(Message { name, hash })
    }
}

/// What is kept of a token: enough to know it, not enough to write it down again.
#[derive(Clone)]
struct Key(Zeroizing<[u8; 32]>);

impl Key {
    fn of(token: &str) -> Key {
        let mut key = Zeroizing::new([0; 32]);
        key.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        Key(key)
    }

    fn sign(&self, who: &str, bound: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0));
        context.update(who.as_bytes());
        context.update(bound);
        context.sign()
    }
}

/// The log never carries secrets.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// A token as kept.
#[derive(Clone, Debug)]
struct Token {
    mechanism: Mechanism,
    key: Key,
    /// Seconds since 1970.
    issued_s: u64,
    /// Seconds since 1970.
    expires_s: u64,
    /// The highest count with which it was used.
    count: u32,
}

/// Which token was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Next,
    Current,
}

/// The tokens of one device.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// Given out and not used yet.
    next: Option<Token>,
    /// Used.
    current: Option<Token>,
}

/// A proof that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The server's own proof, "additional data with success".
    pub answer: Vec<u8>,
    /// The tokens have changed.
    pub is_news: bool,
    /// The token is old enough to be followed by another one, for the same mechanism.
    pub due: Option<Mechanism>,
}

/// A token that was given out.
#[derive(Debug)]
pub struct Issued {
    token: Zeroizing<String>,
    expires_s: u64,
}

impl Issued {
    /// Appends `<token/>`, XEP-0484 §3.3.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<token xmlns='urn:xmpp:fast:0'");
        build::attr("expiry", &time::stamp(self.expires_s.saturating_mul(1000)), out);
        build::attr("token", &self.token, out);
        out.extend_from_slice(b"/>");
    }
}

impl Tokens {
    /// Judges a proof, and changes what its success changes. The work is the same whatever is wrong, also for tokens of
    /// nobody (S12).
    ///
    /// # Errors
    /// `credentials-expired` for a token that was right once; `not-authorized` for everything else, a count that was
    /// used before included.
    pub fn accept(
        &mut self,
        mechanism: Mechanism,
        message: &Message<'_>,
        bound: &[u8],
        fast: Fast,
        now_s: u64,
    ) -> Result<Accepted, SaslFailure> {
        let nobody = Key(Zeroizing::new([0; 32]));
        let is_right = |token: Option<&Token>| {
            let key = token.map_or(&nobody, |token| &token.key);
            let is_right: bool = key.sign("Initiator", bound).as_ref().ct_eq(message.hash).into();
            is_right && token.is_some_and(|token| token.mechanism == mechanism)
        };
        let which = match (is_right(self.next.as_ref()), is_right(self.current.as_ref())) {
            (true, _) => Which::Next,
            (_, true) => Which::Current,
            _ => return Err(SaslFailure::new(SaslCondition::NotAuthorized, "no such token")),
        };
        let slot = match which {
            Which::Next => &mut self.next,
            Which::Current => &mut self.current,
        };
        let Some(token) = slot else {
            return Err(SaslFailure::new(SaslCondition::NotAuthorized, "no such token"));
        };
        if token.expires_s <= now_s {
            // XEP-0484 §5.2: said to nobody but who holds it.
            return Err(SaslFailure::new(SaslCondition::CredentialsExpired, "the token has expired"));
        }
        if let Some(count) = fast.count {
            if count <= token.count {
                return Err(SaslFailure::new(SaslCondition::NotAuthorized, "the count was used before"));
            }
            token.count = count;
        }
        let answer = token.key.sign("Responder", bound).as_ref().to_vec();
        let due = (now_s >= token.issued_s.saturating_add(limits::TOKEN_ROTATES_S)).then_some(mechanism);
        let is_news = fast.count.is_some() || which == Which::Next || fast.invalidates;
        if fast.invalidates {
            *self = Tokens::default();
        } else if which == Which::Next {
            // XEP-0484 §3.5: the one before it is good no more.
            self.current = self.next.take();
        }
        Ok(Accepted { answer, is_news, due: due.filter(|_| !fast.invalidates) })
    }

    /// Makes the next token; one that was given out before and not used is good no more (XEP-0484 §3.5).
    pub fn issue(&mut self, mechanism: Mechanism, dice: &Dice, now_s: u64) -> Issued {
        let token = Zeroizing::new(BASE64.encode(dice));
        let expires_s = now_s.saturating_add(limits::TOKEN_S);
        self.next = Some(Token { mechanism, key: Key::of(&token), issued_s: now_s, expires_s, count: 0 });
        Issued { token, expires_s }
    }

    /// Whether this one is the next.
    pub fn holds(&self, issued: &Issued) -> bool {
        self.next.as_ref().is_some_and(|next| next.key.0.ct_eq(&*Key::of(&issued.token).0).into())
    }

    /// Whether one of them is good at this time, in seconds since 1970.
    pub fn any(&self, now_s: u64) -> bool {
        [&self.next, &self.current].into_iter().flatten().any(|token| token.expires_s > now_s)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.next.is_none() && self.current.is_none()
    }

    /// The stored form: a version, then both tokens, or a zero for one that is not there.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(112);
        out.push(VERSION);
        for token in [&self.next, &self.current] {
            let Some(token) = token else {
                out.push(0);
                continue;
            };
            out.push(1 + token.mechanism.code());
            out.extend_from_slice(&*token.key.0);
            out.extend_from_slice(&token.issued_s.to_be_bytes());
            out.extend_from_slice(&token.expires_s.to_be_bytes());
            out.extend_from_slice(&token.count.to_be_bytes());
        }
        out
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Option<Tokens> {
        let (&[VERSION], rest) = bytes.split_first_chunk::<1>()? else { return None };
        let (next, rest) = Token::decode(rest)?;
        let (current, rest) = Token::decode(rest)?;
        rest.is_empty().then_some(Tokens { next, current })
    }
}

const VERSION: u8 = 1;

impl Token {
    fn decode(bytes: &[u8]) -> Option<(Option<Token>, &[u8])> {
        let (code, rest) = bytes.split_first()?;
        let Some(code) = code.checked_sub(1) else { return Some((None, rest)) };
        let mechanism = Mechanism::ALL.into_iter().find(|mechanism| mechanism.code() == code)?;
        let (key, rest) = rest.split_first_chunk::<32>()?;
        let (issued, rest) = rest.split_first_chunk::<8>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<4>()?;
        let token = Token {
            mechanism,
            key: Key(Zeroizing::new(*key)),
            issued_s: u64::from_be_bytes(*issued),
            expires_s: u64::from_be_bytes(*expires),
            count: u32::from_be_bytes(*count),
        };
        Some((Some(token), rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn hashed(token: &str, who: &str, bound: &[u8]) -> Vec<u8> {
        // As a client computes it, from the text of the token.
        let key = hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes());
        hmac::sign(&key, &[who.as_bytes(), bound].concat()).as_ref().to_vec()
    }

    fn attempt(
        tokens: &mut Tokens,
        mechanism: Mechanism,
        issued: &Issued,
        bound: &[u8],
        fast: Fast,
        now_s: u64,
    ) -> Result<Accepted, SaslCondition> {
        let message = [b"juliet\0".as_slice(), &hashed(&issued.token, "Initiator", bound)].concat();
        let message = Message::read(&message).unwrap();
        tokens.accept(mechanism, &message, bound, fast, now_s).map_err(|failure| failure.condition)
    }

    fn uses(tokens: &mut Tokens, issued: &Issued, now_s: u64) -> Result<Accepted, SaslCondition> {
        attempt(tokens, Mechanism::Exporter, issued, b"channel", Fast::default(), now_s)
    }

    #[test]
    fn what_is_kept_knows_the_token_and_answers_it() {
        let mut tokens = Tokens::default();
        let issued = tokens.issue(Mechanism::Exporter, &[7; TOKEN_BYTES], NOW);
        let mut tokens = Tokens::decode(&tokens.encode()).unwrap();
        assert!(tokens.holds(&issued) && tokens.any(NOW) && !tokens.any(NOW + limits::TOKEN_S));
        let accepted = uses(&mut tokens, &issued, NOW).unwrap();
        assert_eq!(accepted.answer, hashed(&issued.token, "Responder", b"channel"));
        assert!(accepted.is_news && accepted.due.is_none());
        let stored = tokens.encode();
        assert!(!stored.windows(16).any(|part| issued.token.as_bytes().windows(16).any(|token| token == part)));
        assert_eq!(format!("{tokens:?}").matches("Key").count(), 1, "secrets are not printed");
    }

    #[test]
    fn a_token_is_good_for_its_mechanism_and_channel_only() {
        // XEP-0484 §3.4.
        let mut tokens = Tokens::default();
        let issued = tokens.issue(Mechanism::Unbound, &[7; TOKEN_BYTES], NOW);
        let none = Fast::default();
        assert!(attempt(&mut tokens, Mechanism::Exporter, &issued, b"", none, NOW).is_err());
        assert!(attempt(&mut tokens, Mechanism::EndPoint, &issued, b"", none, NOW).is_err());
        assert!(attempt(&mut tokens, Mechanism::Unbound, &issued, b"", none, NOW).is_ok());
        let issued = tokens.issue(Mechanism::Exporter, &[8; TOKEN_BYTES], NOW);
        assert!(attempt(&mut tokens, Mechanism::Unbound, &issued, b"", none, NOW).is_err());
        let elsewhere = [b"juliet\0".as_slice(), &hashed(&issued.token, "Initiator", b"other")].concat();
        let elsewhere = Message::read(&elsewhere).unwrap();
        assert!(tokens.accept(Mechanism::Exporter, &elsewhere, b"channel", none, NOW).is_err());
        assert!(uses(&mut tokens, &issued, NOW).is_ok());
    }

    #[test]
    fn the_old_token_is_good_until_the_new_one_is_used() {
        // XEP-0484 §3.5.
        let mut tokens = Tokens::default();
        let first = tokens.issue(Mechanism::Exporter, &[1; TOKEN_BYTES], NOW);
        uses(&mut tokens, &first, NOW).unwrap();
        let later = NOW + limits::TOKEN_ROTATES_S;
        assert_eq!(uses(&mut tokens, &first, later).unwrap().due, Some(Mechanism::Exporter));
        let lost = tokens.issue(Mechanism::Exporter, &[2; TOKEN_BYTES], later);
        assert!(uses(&mut tokens, &first, later).is_ok());
        let second = tokens.issue(Mechanism::Exporter, &[3; TOKEN_BYTES], later);
        assert!(uses(&mut tokens, &lost, later).is_err(), "given out, not used, and followed by another one");
        assert!(uses(&mut tokens, &second, later).is_ok());
        assert_eq!(uses(&mut tokens, &first, later).unwrap_err(), SaslCondition::NotAuthorized);
        assert!(uses(&mut tokens, &second, later).is_ok());
    }

    #[test]
    fn an_expired_token_says_so_to_its_holder_only() {
        // XEP-0484 §5.2.
        let mut tokens = Tokens::default();
        let issued = tokens.issue(Mechanism::Exporter, &[1; TOKEN_BYTES], NOW);
        let late = NOW + limits::TOKEN_S;
        assert_eq!(uses(&mut tokens, &issued, late).unwrap_err(), SaslCondition::CredentialsExpired);
        let other = Tokens::default().issue(Mechanism::Exporter, &[2; TOKEN_BYTES], NOW);
        assert_eq!(uses(&mut tokens, &other, late).unwrap_err(), SaslCondition::NotAuthorized);
        assert!(uses(&mut tokens, &issued, late - 1).is_ok());
    }

    #[test]
    fn a_count_is_good_once() {
        // XEP-0484 §3.4.
        let mut tokens = Tokens::default();
        let issued = tokens.issue(Mechanism::Exporter, &[1; TOKEN_BYTES], NOW);
        let mut counted = |count| {
            let fast = Fast { count: Some(count), invalidates: false };
            attempt(&mut tokens, Mechanism::Exporter, &issued, b"channel", fast, NOW).map(|accepted| accepted.is_news)
        };
        assert_eq!(counted(0), Err(SaslCondition::NotAuthorized), "positive");
        assert_eq!(counted(2), Ok(true));
        assert_eq!(counted(2), Err(SaslCondition::NotAuthorized));
        assert_eq!(counted(1), Err(SaslCondition::NotAuthorized));
        assert_eq!(counted(3), Ok(true));
    }

    #[test]
    fn an_invalidated_token_is_good_no_more() {
        // XEP-0484 §3.6.
        let mut tokens = Tokens::default();
        let issued = tokens.issue(Mechanism::Exporter, &[1; TOKEN_BYTES], NOW);
        let fast = Fast { count: None, invalidates: true };
        let late = NOW + limits::TOKEN_ROTATES_S;
        let accepted = attempt(&mut tokens, Mechanism::Exporter, &issued, b"channel", fast, late).unwrap();
        assert!(accepted.is_news && accepted.due.is_none() && tokens.is_empty());
        assert!(uses(&mut tokens, &issued, late).is_err());
    }

    #[test]
    fn malformed_messages_are_refused() {
        let hash = [1; 32];
        for message in [&b""[..], b"\0", b"juliet", b"juliet\0", b"juliet\0short"] {
            assert!(Message::read(message).is_err(), "{message:?}");
        }
        assert!(Message::read(&[b"\0", hash.as_slice()].concat()).is_err());
        assert!(Message::read(&[b"\xff\0", hash.as_slice()].concat()).is_err());
        assert!(Message::read(&[b"juliet\0", hash.as_slice(), b"1"].concat()).is_err());
        // The hash is binary: it may hold a NUL.
        assert!(Message::read(&[b"juliet\0", [0; 32].as_slice()].concat()).is_ok());
    }

    #[test]
    fn tokens_survive_storage() {
        let mut tokens = Tokens::default();
        assert_eq!(Tokens::decode(&tokens.encode()).map(|tokens| tokens.is_empty()), Some(true));
        let first = tokens.issue(Mechanism::EndPoint, &[1; TOKEN_BYTES], NOW);
        attempt(&mut tokens, Mechanism::EndPoint, &first, b"", Fast { count: Some(5), invalidates: false }, NOW)
            .unwrap();
        tokens.issue(Mechanism::Unbound, &[2; TOKEN_BYTES], NOW);
        let stored = tokens.encode();
        assert_eq!(Tokens::decode(&stored).unwrap().encode(), stored);
        for cut in 0..stored.len() {
            assert!(Tokens::decode(&stored[..cut]).is_none());
        }
    }

    #[test]
    fn mechanisms_are_offered_as_the_channel_allows() {
        let written = |binding: &ChannelBinding| {
            let mut out = Vec::new();
            write_feature(binding, &mut out);
            String::from_utf8(out).unwrap()
        };
        let none = ChannelBinding::default();
        assert_eq!(written(&none), "<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-NONE</mechanism></fast>");
        let all = ChannelBinding { exporter: Some([1; 32]), end_point: Some([2; 32].into_iter().collect()) };
        assert_eq!(written(&all).matches("<mechanism>").count(), 3);
        for mechanism in Mechanism::ALL {
            assert_eq!(Mechanism::from_name(mechanism.as_str()), Some(mechanism));
        }
    }
}
