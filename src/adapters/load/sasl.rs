//! SASL of the client's end: PLAIN (RFC 4616), SCRAM-SHA-1 and SCRAM-SHA-256 (RFC 5802, RFC 7677) without binding.
//!
//! The server's signature is checked, so a server that skips half of the exchange is not measured as fast.

use std::{collections::HashMap, io, num::NonZeroU32};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{digest, hmac, pbkdf2, rand::SecureRandom};

/// Iterations of PBKDF2 that a server can demand: half a second of a Pi's time.
const ROUNDS_MAX: u32 = 1_000_000;

/// What the client proves its password with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha1,
    ScramSha256,
}

impl std::str::FromStr for Mechanism {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name.to_ascii_lowercase().as_str() {
            "plain" => Ok(Mechanism::Plain),
            "scram-sha-1" => Ok(Mechanism::ScramSha1),
            "scram-sha-256" => Ok(Mechanism::ScramSha256),
            _ => Err("one of plain, scram-sha-1, scram-sha-256".into()),
        }
    }
}

impl Mechanism {
    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
        }
    }
}

/// Salted passwords already derived: the client's PBKDF2 must not take the processor from the server under measurement.
#[derive(Default)]
pub struct Derived(HashMap<(Vec<u8>, u32, String), Vec<u8>>);

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    mechanism: Mechanism,
    user: String,
    password: String,
    nonce: String,
    server_signature: Vec<u8>,
}

impl Exchange {
    /// Begins; a nonce of 144 bits comes from the operating system.
    ///
    /// # Errors
    /// It has none.
    pub fn new(mechanism: Mechanism, user: &str, password: &str) -> io::Result<Self> {
        Ok(Exchange {
            mechanism,
            user: user.into(),
            password: password.into(),
            nonce: random()?,
            server_signature: Vec::new(),
        })
    }

    fn first_bare(&self) -> String {
        format!("n={},r={}", self.user, self.nonce)
    }

    /// The initial response, base64.
    pub fn initial(&self) -> String {
        BASE64_STANDARD.encode(match self.mechanism {
            Mechanism::Plain => format!("\0{}\0{}", self.user, self.password),
            _ => format!("n,,{}", self.first_bare()),
        })
    }

    /// The answer to the server's challenge, base64 in and out. RFC 5802 §3.
    pub fn answer(&mut self, challenge: &[u8], derived: &mut Derived) -> Result<String, String> {
        let server_first = decode(challenge)?;
        let field = |key: &str| {
            let found = server_first.split(',').find_map(|f| f.strip_prefix(key));
            found.ok_or_else(|| format!("no {key} in the challenge"))
        };
        let nonce = field("r=")?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the server's nonce does not continue ours".into());
        }
        let salt = BASE64_STANDARD.decode(field("s=")?).map_err(|e| e.to_string())?;
        let rounds: u32 = field("i=")?.parse().map_err(|_| "iteration count is no number".to_string())?;
        let salted = self.salted(salt, rounds, derived)?;

        let (mac, hash) = self.algorithms();
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{without_proof}", self.first_bare());
        let client_key = keyed(mac, &salted, b"Client Key");
        let stored_key = digest::digest(hash, client_key.as_ref());
        let signature = keyed(mac, stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_key = keyed(mac, &salted, b"Server Key");
        self.server_signature = keyed(mac, server_key.as_ref(), signed.as_bytes()).as_ref().to_vec();
        Ok(BASE64_STANDARD.encode(format!("{without_proof},p={}", BASE64_STANDARD.encode(proof))))
    }

    /// Checks what came with `<success/>`.
    pub fn accept(&self, success: &[u8]) -> Result<(), String> {
        if self.mechanism == Mechanism::Plain {
            return Ok(());
        }
        let last = decode(success)?;
        let signature = last.split(',').find_map(|f| f.strip_prefix("v=")).ok_or("no v= in success")?;
        let signature = BASE64_STANDARD.decode(signature).map_err(|e| e.to_string())?;
        if signature.is_empty() || signature != self.server_signature {
            return Err("the server does not know the password".into());
        }
        Ok(())
    }

    fn algorithms(&self) -> (hmac::Algorithm, &'static digest::Algorithm) {
        match self.mechanism {
            Mechanism::ScramSha1 => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA1_FOR_LEGACY_USE_ONLY),
            _ => (hmac::HMAC_SHA256, &digest::SHA256),
        }
    }

    fn salted(&self, salt: Vec<u8>, rounds: u32, derived: &mut Derived) -> Result<Vec<u8>, String> {
        let count = NonZeroU32::new(rounds).filter(|n| n.get() <= ROUNDS_MAX);
        let count = count.ok_or_else(|| format!("{rounds} iterations are not a sane number"))?;
        let (algorithm, len) = match self.mechanism {
            Mechanism::ScramSha1 => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
            _ => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
        };
        let key = (salt, rounds, format!("{len} {}", self.password));
        if let Some(known) = derived.0.get(&key) {
            return Ok(known.clone());
        }
        let mut out = vec![0; len];
        pbkdf2::derive(algorithm, count, &key.0, self.password.as_bytes(), &mut out);
        derived.0.insert(key, out.clone());
        Ok(out)
    }
}

/// 144 random bits, base64.
///
/// # Errors
/// The system has none.
pub fn random() -> io::Result<String> {
    let mut bytes = [0; 18];
    let filled = ring::rand::SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system has no random bytes"))?;
    Ok(BASE64_STANDARD.encode(bytes))
}

fn keyed(algorithm: hmac::Algorithm, key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(algorithm, key), data)
}

fn decode(base64: &[u8]) -> Result<String, String> {
    let bytes = BASE64_STANDARD.decode(base64.trim_ascii()).map_err(|e| e.to_string())?;
    String::from_utf8(bytes).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scram_sha_1_gives_the_proof_of_rfc_5802_section_5() {
        let mut exchange = Exchange::new(Mechanism::ScramSha1, "user", "pencil").unwrap();
        exchange.nonce = "fyko+d2lbbFgONRv9qkxdawL".into();
        let challenge = "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096";
        let answer = exchange.answer(BASE64_STANDARD.encode(challenge).as_bytes(), &mut Derived::default()).unwrap();
        let answer = decode(answer.as_bytes()).unwrap();
        assert!(answer.ends_with("p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="), "{answer}");
        exchange.accept(BASE64_STANDARD.encode("v=rmF9pqV8S7suAoZWja4dJRkFsKQ=").as_bytes()).unwrap();
    }
}
