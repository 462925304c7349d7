//! What is stored of a password, and how it is proved: the keys of SCRAM-SHA-1 and SCRAM-SHA-256.
//!
//! Source: RFC 5802 §3, RFC 7677, RFC 8265 §4.2.
//!
//! Invariant: a password is never stored, only the keys of both hashes are, or those of SHA-1 alone where another server
//! had no others; keys and proofs are compared in constant
//! time; and an account that does not exist answers as one that does (see [`Credentials::fake`]).

pub mod exchange;
mod written;

use std::{fmt, num::NonZeroU32};

use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::wire::jid;

/// Rounds of PBKDF2 for new passwords. RFC 7677 §4 asks for 4,096 or more; every client repeats the work at its sign-in
/// unless it keeps the result, old phones too, and a Pi does it for PLAIN.
pub const ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
/// Bytes of salt for new passwords.
pub const SALT_BYTES: usize = 16;
/// Longest salt that is stored; other servers' are up to 36 bytes.
pub const SALT_BYTES_MAX: usize = 64;
/// Longest password in bytes, before and after preparation. RFC 4616 §2 asks for 255 at least.
pub const PASSWORD_BYTES_MAX: usize = 1023;

/// Why a text is no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// RFC 8265 §4.2.2: a password is at least one character long.
    Empty,
    /// More than [`PASSWORD_BYTES_MAX`] bytes.
    TooLong,
    /// It holds a control character or one that Unicode has not assigned.
    Forbidden,
}

/// Prepares a password by the profile OpaqueString, RFC 8265 §4.2.
///
/// What stands outside ASCII passes through the profile's own buffers, which are not wiped.
///
/// # Errors
/// [`PasswordError`] says which rule it breaks.
pub fn prepare_password(password: &str) -> Result<Zeroizing<String>, PasswordError> {
    match password.len() {
        0 => return Err(PasswordError::Empty),
        1..=PASSWORD_BYTES_MAX => {}
        _ => return Err(PasswordError::TooLong),
    }
    if password.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(Zeroizing::new(password.to_owned()));
    }
    let prepared = jid::prepare_opaque(password).map_err(|_| PasswordError::Forbidden)?;
    let prepared = Zeroizing::new(prepared.into_owned());
    if prepared.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong);
    }
    Ok(prepared)
}

/// The hash of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1, RFC 5802.
    Sha1,
    /// SHA-256, RFC 7677.
    Sha256,
}

impl Hash {
    /// Bytes of a digest.
    pub const fn bytes(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
        }
    }

    /// `H()` of RFC 5802 §2.2.
    pub fn digest(self, data: &[u8]) -> digest::Digest {
        #[cfg(test)]
        work::add(work::Work { digests: 1, ..work::Work::default() });
        match self {
            Hash::Sha1 => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data),
            Hash::Sha256 => digest::digest(&digest::SHA256, data),
        }
    }

    /// `HMAC()` of RFC 5802 §2.2.
    pub fn hmac(self, key: &[u8], data: &[u8]) -> hmac::Tag {
        #[cfg(test)]
        work::add(work::Work { hmacs: 1, ..work::Work::default() });
        let algorithm = match self {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data)
    }

    /// `Hi()` of RFC 5802 §2.2: takes milliseconds.
    fn salted_password(self, password: &str, salt: &[u8], iterations: NonZeroU32) -> Zeroizing<Key> {
        let algorithm = match self {
            Hash::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Hash::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        };
        #[cfg(test)]
        work::add(work::Work { rounds: iterations.get(), ..work::Work::default() });
        let mut salted = Zeroizing::new(Key([0; 32], self.bytes()));
        pbkdf2::derive(algorithm, iterations, salt, password.as_bytes(), salted.bytes_mut());
        salted
    }
}

/// The bytes of one key, as many as its hash has.
#[derive(Clone, Eq)]
struct Key([u8; 32], usize);

impl Key {
    fn new(bytes: &[u8]) -> Option<Key> {
        let mut key = Key([0; 32], bytes.len());
        key.0.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(key)
    }

    fn bytes(&self) -> &[u8] {
        self.0.get(..self.1).unwrap_or_default()
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        self.0.get_mut(..self.1).unwrap_or_default()
    }
}

/// In constant time, so that no comparison can be the careless one.
impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.bytes().ct_eq(other.bytes()).into()
    }
}

impl Zeroize for Key {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}

/// What RFC 5802 §3 stores of a password, for one hash.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    hash: Hash,
    salt: heapless::Vec<u8, SALT_BYTES_MAX>,
    iterations: NonZeroU32,
    stored_key: Zeroizing<Key>,
    server_key: Zeroizing<Key>,
}

impl ScramKeys {
    /// Derives the keys of a prepared password. **Slow**: off the main thread.
    ///
    /// `None` if the salt is empty or longer than [`SALT_BYTES_MAX`].
    pub fn derive(hash: Hash, password: &str, salt: &[u8], iterations: NonZeroU32) -> Option<ScramKeys> {
        let salted = hash.salted_password(password, salt, iterations);
        ScramKeys::from_salted(hash, salted.bytes(), salt, iterations)
    }

    /// The keys of a `SaltedPassword`, RFC 5802 §3. `None` if it has not the hash's length, or the salt does not fit.
    pub fn from_salted(hash: Hash, salted: &[u8], salt: &[u8], iterations: NonZeroU32) -> Option<ScramKeys> {
        if salted.len() != hash.bytes() {
            return None;
        }
        let client_key = Zeroizing::new(Key::new(hash.hmac(salted, b"Client Key").as_ref())?);
        let stored_key = hash.digest(client_key.bytes());
        let server_key = hash.hmac(salted, b"Server Key");
        ScramKeys::from_parts(hash, salt, iterations, stored_key.as_ref(), server_key.as_ref())
    }

    /// Keys that another server has derived. `None` if a length does not fit.
    pub fn from_parts(
        hash: Hash,
        salt: &[u8],
        iterations: NonZeroU32,
        stored_key: &[u8],
        server_key: &[u8],
    ) -> Option<ScramKeys> {
        if salt.is_empty() || stored_key.len() != hash.bytes() || server_key.len() != hash.bytes() {
            return None;
        }
        Some(ScramKeys {
            hash,
            salt: heapless::Vec::from_slice(salt).ok()?,
            iterations,
            stored_key: Zeroizing::new(Key::new(stored_key)?),
            server_key: Zeroizing::new(Key::new(server_key)?),
        })
    }

    /// The hash they belong to.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The salt, sent to whoever claims the account.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Rounds of PBKDF2, likewise sent.
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Whether `proof` shows possession of the password, RFC 5802 §3; takes the same time for every wrong proof.
    pub fn accepts(&self, proof: &[u8], auth_message: &[u8]) -> bool {
        if proof.len() != self.hash.bytes() {
            return false;
        }
        let signature = self.hash.hmac(self.stored_key.bytes(), auth_message);
        let mut client_key = Zeroizing::new([0; 32]);
        for ((byte, proof), signature) in client_key.iter_mut().zip(proof).zip(signature.as_ref()) {
            *byte = proof ^ signature;
        }
        let claimed = self.hash.digest(&client_key[..self.hash.bytes()]);
        claimed.as_ref().ct_eq(self.stored_key.bytes()).into()
    }

    /// The server's proof towards the client, `ServerSignature` of RFC 5802 §3.
    pub fn server_signature(&self, auth_message: &[u8]) -> hmac::Tag {
        self.hash.hmac(self.server_key.bytes(), auth_message)
    }

    /// Whether these are the keys of a prepared password. **Slow**: off the main thread.
    fn belong_to(&self, password: &str) -> bool {
        let Some(derived) = ScramKeys::derive(self.hash, password, &self.salt, self.iterations) else { return false };
        derived.stored_key == self.stored_key
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.salt.len() as u8);
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.iterations.get().to_be_bytes());
        out.extend_from_slice(self.stored_key.bytes());
        out.extend_from_slice(self.server_key.bytes());
    }

    fn decode(hash: Hash, bytes: &[u8]) -> Option<(ScramKeys, &[u8])> {
        let (salt_bytes, rest) = bytes.split_first()?;
        let (salt, rest) = rest.split_at_checked(usize::from(*salt_bytes))?;
        let (iterations, rest) = rest.split_first_chunk::<4>()?;
        let (stored_key, rest) = rest.split_at_checked(hash.bytes())?;
        let (server_key, rest) = rest.split_at_checked(hash.bytes())?;
        let iterations = NonZeroU32::new(u32::from_be_bytes(*iterations))?;
        Some((ScramKeys::from_parts(hash, salt, iterations, stored_key, server_key)?, rest))
    }
}

/// The log never carries secrets.
impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScramKeys({:?}, {} rounds)", self.hash, self.iterations)
    }
}

/// What is stored of a password: SCRAM keys of both hashes.
///
/// New ones share one salt and one count of rounds; those that come from other servers need not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    sha1: ScramKeys,
    sha256: ScramKeys,
    /// No password leads to the keys of SHA-256, which are there so that nobody sees that they are missing.
    lacks_sha256: bool,
}

/// Versions of the stored form: with keys of both hashes, and with keys of SHA-1 only.
const VERSION: u8 = 1;
const VERSION_SHA1: u8 = 2;

/// What keys of accounts from another server look like to whoever begins to sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    salt: heapless::Vec<u8, SALT_BYTES_MAX>,
    iterations: NonZeroU32,
    /// Some accounts have keys of SHA-1 only, at present.
    pub lacks_sha256: bool,
}

impl Foreign {
    /// The stored form: rounds, then the salt of one account, which its server shows to everybody.
    pub fn encode(&self) -> Vec<u8> {
        [&self.iterations.get().to_be_bytes()[..], &self.salt].concat()
    }

    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Option<Foreign> {
        let (iterations, salt) = bytes.split_first_chunk::<4>()?;
        let iterations = NonZeroU32::new(u32::from_be_bytes(*iterations))?;
        let salt = heapless::Vec::from_slice(salt).ok().filter(|salt| !salt.is_empty())?;
        Some(Foreign { salt, iterations, lacks_sha256: false })
    }

    /// Another salt of the same form, made of these [`SALT_BYTES_MAX`] bytes.
    fn salt_of(&self, random: &[u8]) -> Vec<u8> {
        // COMPAT: Prosody 0.12 takes a UUID of version 4 as text.
        let is_uuid =
            self.salt.len() == 36 && self.salt.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9' | b'a'..=b'f'));
        let digit = |(at, (like, random)): (usize, (&u8, &u8))| match (is_uuid, at) {
            (false, _) => *random,
            (true, 8 | 13 | 14 | 18 | 23) => *like,
            (true, 19) => b"89ab"[usize::from(random % 4)],
            (true, _) => b"0123456789abcdef"[usize::from(random % 16)],
        };
        self.salt.iter().zip(random).enumerate().map(digit).collect()
    }
}

/// Random bytes that stand for missing keys: salt, StoredKey, ServerKey.
pub type Filler = [u8; SALT_BYTES + 2 * 32];

impl Credentials {
    /// Derives both keys of a password that [`prepare_password`] has prepared; `salt` is fresh and random.
    ///
    /// **Slow** (two times [`ITERATIONS`] rounds of PBKDF2, tens of milliseconds on a Pi): off the main thread.
    pub fn derive(password: &str, salt: [u8; SALT_BYTES], iterations: NonZeroU32) -> Credentials {
        let keys = |hash| ScramKeys::derive(hash, password, &salt, iterations);
        match (keys(Hash::Sha1), keys(Hash::Sha256)) {
            (Some(sha1), Some(sha256)) => Credentials { sha1, sha256, lacks_sha256: false },
            _ => unreachable!("a salt of {SALT_BYTES} bytes fits"),
        }
    }

    /// Joins keys of both hashes that come from elsewhere. `None` if they are not one of each.
    pub fn from_keys(sha1: ScramKeys, sha256: ScramKeys) -> Option<Credentials> {
        let fits = sha1.hash == Hash::Sha1 && sha256.hash == Hash::Sha256;
        fits.then_some(Credentials { sha1, sha256, lacks_sha256: false })
    }

    /// Keys of SHA-1 that come from elsewhere. `None` if they are of another hash.
    pub fn from_sha1(sha1: ScramKeys, filler: &Filler) -> Option<Credentials> {
        let (salt, keys) = filler.split_at(SALT_BYTES);
        let (stored, server) = keys.split_at(32);
        let sha256 = ScramKeys::from_parts(Hash::Sha256, salt, ITERATIONS, stored, server)?;
        (sha1.hash == Hash::Sha1).then_some(Credentials { sha1, sha256, lacks_sha256: true })
    }

    /// Whether nobody can sign in by SHA-256.
    pub fn lacks_sha256(&self) -> bool {
        self.lacks_sha256
    }

    /// The same with these keys of SHA-256.
    pub fn completed(self, sha256: ScramKeys) -> Option<Credentials> {
        Credentials::from_keys(self.sha1, sha256)
    }

    /// Credentials for an account that does not exist, so that nobody learns from the exchange that it does not
    /// (RFC 5802 §9 leaves this to the server).
    ///
    /// The same secret and name always give the same ones, with one salt for both hashes and [`ITERATIONS`] rounds as
    /// real accounts have; no password leads to their keys. `secret` is the server's own and survives its restart. Where
    /// accounts have come from another server, every second name looks like one of those (`foreign`).
    pub fn fake(secret: &[u8; 32], account: &str, foreign: Option<&Foreign>) -> Credentials {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let drawn = |label: &str| {
            #[cfg(test)]
            work::add(work::Work { hmacs: 1, ..work::Work::default() });
            let mut context = hmac::Context::with_key(&secret);
            context.update(label.as_bytes());
            // No label holds a NUL, so that no name can run into one.
            context.update(b"\0");
            context.update(account.as_bytes());
            context.sign()
        };
        let (salt, more) = (drawn("salt"), drawn("salt, more"));
        let random = [salt.as_ref(), more.as_ref()].concat();
        let own = (&random[..SALT_BYTES], ITERATIONS);
        // Drawn for every name, so that it takes the same time.
        let is_foreign = drawn("foreign").as_ref()[0] & 1 == 1;
        let foreign = foreign.filter(|_| is_foreign);
        let copied = foreign.map(|foreign| (foreign.salt_of(&random), foreign.iterations));
        let copied = copied.as_ref().map(|(salt, iterations)| (salt.as_slice(), *iterations));
        let keys = |hash: Hash, (salt, iterations): (&[u8], NonZeroU32), stored: &str, server: &str| {
            let (stored, server) = (drawn(stored), drawn(server));
            let (stored, server) = (&stored.as_ref()[..hash.bytes()], &server.as_ref()[..hash.bytes()]);
            ScramKeys::from_parts(hash, salt, iterations, stored, server)
        };
        let sha1 = keys(Hash::Sha1, copied.unwrap_or(own), "sha-1 stored", "sha-1 server");
        let sha256 = keys(Hash::Sha256, own, "sha-256 stored", "sha-256 server");
        match (sha1, sha256) {
            (Some(sha1), Some(sha256)) => {
                Credentials { sha1, sha256, lacks_sha256: foreign.is_some_and(|foreign| foreign.lacks_sha256) }
            }
            _ => unreachable!("a tag of 32 bytes is long enough for every part"),
        }
    }

    /// What the keys of SHA-1 look like, if not as ours do.
    pub fn foreign(&self) -> Option<Foreign> {
        let is_ours = self.sha1.salt.len() == SALT_BYTES && self.sha1.iterations == ITERATIONS;
        let (salt, iterations) = (self.sha1.salt.clone(), self.sha1.iterations);
        (!is_ours).then_some(Foreign { salt, iterations, lacks_sha256: self.lacks_sha256 })
    }

    /// The credentials of an account, or those of [`Credentials::fake`] if there is none. Costs the same either way, so
    /// that nobody learns from the time it takes whether there is such an account (S11).
    pub fn known_or_fake(
        known: Option<Credentials>,
        secret: &[u8; 32],
        account: &str,
        foreign: Option<&Foreign>,
    ) -> Credentials {
        let fake = std::hint::black_box(Credentials::fake(secret, account, foreign));
        known.unwrap_or(fake)
    }

    /// The keys of one hash.
    pub fn keys(&self, hash: Hash) -> &ScramKeys {
        match hash {
            Hash::Sha1 => &self.sha1,
            Hash::Sha256 => &self.sha256,
        }
    }

    /// Whether this is the password, prepared by [`prepare_password`]; compares in constant time.
    ///
    /// **Slow** (PBKDF2 once, with SHA-256 if it can): off the main thread.
    pub fn verify_password(&self, password: &str) -> bool {
        let keys = if self.lacks_sha256 { &self.sha1 } else { &self.sha256 };
        keys.belong_to(password)
    }

    /// Appends the stored form: a version, then for each hash the salt's length, salt, rounds, StoredKey, ServerKey.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(if self.lacks_sha256 { VERSION_SHA1 } else { VERSION });
        self.sha1.encode(out);
        self.sha256.encode(out);
    }

    /// Reads the stored form, which fills `bytes` to their end.
    pub fn decode(bytes: &[u8]) -> Option<Credentials> {
        let (&[version @ (VERSION | VERSION_SHA1)], rest) = bytes.split_first_chunk::<1>()? else { return None };
        let (sha1, rest) = ScramKeys::decode(Hash::Sha1, rest)?;
        let (sha256, rest) = ScramKeys::decode(Hash::Sha256, rest)?;
        rest.is_empty().then_some(Credentials { sha1, sha256, lacks_sha256: version == VERSION_SHA1 })
    }
}

/// What this thread has computed, for tests that compare work: time would tell more of the machine.
#[cfg(test)]
pub mod work {
    use std::cell::Cell;

    /// Work done.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Work {
        /// Digests alone.
        pub digests: u32,
        /// HMACs outside PBKDF2.
        pub hmacs: u32,
        /// Rounds of PBKDF2.
        pub rounds: u32,
    }

    thread_local! {
        static DONE: Cell<Work> = const { Cell::new(Work { digests: 0, hmacs: 0, rounds: 0 }) };
    }

    pub(super) fn add(more: Work) {
        let done = DONE.get();
        DONE.set(Work {
            digests: done.digests + more.digests,
            hmacs: done.hmacs + more.hmacs,
            rounds: done.rounds + more.rounds,
        });
    }

    /// What `run` computed.
    pub fn of(run: impl FnOnce()) -> Work {
        DONE.set(Work::default());
        run();
        DONE.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: NonZeroU32 = NonZeroU32::new(4).unwrap();

    #[test]
    fn passwords_of_rfc_8265_are_prepared() {
        // RFC 8265 §4.3, tables 3 and 4.
        for legal in ["correct horse battery staple", "Correct Horse Battery Staple", "πßå", "Jack of ♦s", " x "] {
            assert_eq!(prepare_password(legal).unwrap().as_str(), legal);
        }
        assert_eq!(prepare_password("foo\u{1680}bar").unwrap().as_str(), "foo bar");
        assert_eq!(prepare_password("a\u{308}").unwrap().as_str(), "\u{e4}");
        assert_eq!(prepare_password(""), Err(PasswordError::Empty));
        assert_eq!(prepare_password("my cat is a \tby"), Err(PasswordError::Forbidden));
        assert_eq!(prepare_password("ä\u{7f}"), Err(PasswordError::Forbidden));
        assert!(prepare_password(&"x".repeat(PASSWORD_BYTES_MAX)).is_ok());
        assert_eq!(prepare_password(&"x".repeat(PASSWORD_BYTES_MAX + 1)), Err(PasswordError::TooLong));
    }

    #[test]
    fn a_password_is_known_by_its_keys() {
        let credentials = Credentials::derive("pencil", [7; SALT_BYTES], FEW);
        assert!(credentials.verify_password("pencil"));
        assert!(!credentials.verify_password("Pencil") && !credentials.verify_password(""));
        let other = Credentials::derive("pencil", [8; SALT_BYTES], FEW);
        assert_ne!(credentials, other, "the salt matters");
    }

    #[test]
    fn every_second_unknown_name_looks_like_an_account_from_elsewhere() {
        let uuid = b"0b6f3a4e-6c8e-4d5c-9a37-0f3b7f0a9c11";
        let sha1 = ScramKeys::from_parts(Hash::Sha1, uuid, FEW, &[1; 20], &[2; 20]).unwrap();
        let known = Credentials::from_sha1(sha1, &[3; SALT_BYTES + 64]).unwrap();
        let foreign = Foreign::decode(&known.foreign().unwrap().encode()).unwrap();
        let foreign = Foreign { lacks_sha256: true, ..foreign };
        assert_eq!(Some(&foreign), known.foreign().as_ref());
        let mut alike = 0;
        for name in 0..100 {
            let fake = Credentials::fake(&[1; 32], &name.to_string(), Some(&foreign));
            if fake.foreign().is_some() {
                let salt = fake.sha1.salt();
                assert!(salt.len() == 36 && salt[14] == b'4' && salt[8] == b'-' && salt != uuid);
                assert!((fake.sha1.iterations(), fake.lacks_sha256()) == (FEW, true));
                alike += 1;
            }
        }
        assert!((30..70).contains(&alike), "{alike}");
    }

    #[test]
    fn credentials_survive_storage() {
        let credentials = Credentials::derive("pencil", [7; SALT_BYTES], FEW);
        let mut stored = Vec::new();
        credentials.encode(&mut stored);
        assert_eq!(stored.len(), 147, "known to those who budget the store");
        assert_eq!(Credentials::decode(&stored), Some(credentials));
        for cut in 0..stored.len() {
            assert_eq!(Credentials::decode(&stored[..cut]), None);
        }
        let longer = [stored.as_slice(), &[0]].concat();
        assert_eq!(Credentials::decode(&longer), None);
        stored[0] = VERSION_SHA1 + 1;
        assert_eq!(Credentials::decode(&stored), None);
    }

    #[test]
    fn s12_fake_credentials_look_like_real_ones() {
        let fake = |secret: u8, name: &str| Credentials::fake(&[secret; 32], name, None);
        let (fake, romeo, juliet, other) = (fake(1, "romeo"), fake(1, "romeo"), fake(1, "juliet"), fake(2, "romeo"));
        assert_eq!(fake, romeo, "the same each time");
        assert_ne!(fake.sha1.salt(), juliet.sha1.salt());
        assert_ne!(fake.sha1.salt(), other.sha1.salt());
        let real = Credentials::derive("pencil", [7; SALT_BYTES], ITERATIONS);
        for hash in [Hash::Sha1, Hash::Sha256] {
            assert_eq!(fake.keys(hash).salt().len(), real.keys(hash).salt().len());
            assert_eq!(fake.keys(hash).iterations(), real.keys(hash).iterations());
        }
        assert_eq!(fake.sha1.salt() == fake.sha256.salt(), real.sha1.salt() == real.sha256.salt());
        assert!(!fake.verify_password("pencil") && !fake.verify_password(""));
    }

    #[test]
    fn secrets_are_not_printed() {
        let credentials = Credentials::derive("pencil", [7; SALT_BYTES], FEW);
        assert_eq!(
            format!("{credentials:?}"),
            "Credentials { sha1: ScramKeys(Sha1, 4 rounds), sha256: ScramKeys(Sha256, 4 rounds), lacks_sha256: false }"
        );
    }
}
