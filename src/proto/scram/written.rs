//! SCRAM keys as text: how accounts come from other servers.
//!
//! Source: RFC 5803 §2, `SCRAM-SHA-1$4096:c2FsdA==$StoredKey:ServerKey` in base64. Invariant: only what is whole is taken.

use std::num::NonZeroU32;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{Credentials, Filler, Hash, ScramKeys};

/// Rounds that are taken: fewer than 4,096 are against RFC 5802 §5.1, and clients refuse very many.
const ROUNDS: std::ops::RangeInclusive<u32> = 4_096..=10_000_000;

impl Hash {
    /// How RFC 5803 and SASL name it.
    const fn scheme(self) -> &'static str {
        match self {
            Hash::Sha1 => "SCRAM-SHA-1",
            Hash::Sha256 => "SCRAM-SHA-256",
        }
    }
}

impl ScramKeys {
    /// Whether a text begins as keys do, so that it is no password.
    pub fn is_written(text: &str) -> bool {
        text.starts_with("SCRAM-SHA-") && text.contains('$')
    }

    /// Reads keys of this form.
    ///
    /// # Errors
    /// What would do instead.
    pub fn read(text: &str) -> Result<ScramKeys, &'static str> {
        const FORM: &str = "keys are written as SCRAM-SHA-1$ROUNDS:SALT$STOREDKEY:SERVERKEY, salt and keys in base64";
        let mut parts = text.split('$');
        let (Some(scheme), Some(info), Some(keys), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(FORM);
        };
        let hash = [Hash::Sha1, Hash::Sha256].into_iter().find(|hash| hash.scheme() == scheme);
        let hash = hash.ok_or("keys are those of SCRAM-SHA-1 or SCRAM-SHA-256")?;
        let (rounds, salt) = info.split_once(':').ok_or(FORM)?;
        let (stored, server) = keys.split_once(':').ok_or(FORM)?;
        let rounds = rounds.parse().ok().filter(|rounds| ROUNDS.contains(rounds)).and_then(NonZeroU32::new);
        let rounds = rounds.ok_or("the rounds are between 4096 and 10000000")?;
        let bytes = |text: &str| BASE64.decode(text).map_err(|_| FORM);
        ScramKeys::from_parts(hash, &bytes(salt)?, rounds, &bytes(stored)?, &bytes(server)?)
            .ok_or("salt or keys have not the length that they must have")
    }
}

impl Credentials {
    /// Joins the keys of a password: of SHA-1, or of both hashes. `filler` is fresh and random.
    ///
    /// # Errors
    /// What would do instead.
    pub fn read<'t>(texts: impl Iterator<Item = &'t str>, filler: &Filler) -> Result<Credentials, &'static str> {
        const WHICH: &str = "keys of SCRAM-SHA-1 are needed, and those of SCRAM-SHA-256 may stand behind them";
        let mut keys = texts.map(ScramKeys::read);
        let (first, second) = (keys.next().transpose()?, keys.next().transpose()?);
        match (first, second, keys.next()) {
            (Some(sha1), None, None) => Credentials::from_sha1(sha1, filler),
            (Some(sha1), Some(sha256), None) => Credentials::from_keys(sha1, sha256),
            _ => None,
        }
        .ok_or(WHICH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 5802 §5: password "pencil".
    const SHA1: &str = "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=";
    // RFC 7677 §3: the same.
    const SHA256: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==\
                          $WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    fn read(texts: &[&str]) -> Result<Credentials, &'static str> {
        Credentials::read(texts.iter().copied(), &[7; 80])
    }

    #[test]
    fn keys_of_another_server_are_good_for_the_same_password() {
        let old = read(&[SHA1]).unwrap();
        assert!(old.lacks_sha256() && old.verify_password("pencil") && !old.verify_password("pen"));
        let both = read(&[SHA1, SHA256]).unwrap();
        assert!(!both.lacks_sha256() && both.verify_password("pencil"));
        for credentials in [old, both] {
            let mut stored = Vec::new();
            credentials.encode(&mut stored);
            assert_eq!(Credentials::decode(&stored), Some(credentials));
        }
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        for wrong in [
            SHA1.replace("$6d", "6d"),
            SHA1.replace("SHA-1$", "SHA-512$"),
            SHA1.replace("4096", "1000"),
            SHA1.replace("4096", "many"),
            SHA1.replace("QSXCR+Q6sek8bf92", ""),
            SHA1.replace("6dlG", ""),
            SHA1.replace("K9Y=", "K9Y"),
            format!("{SHA1}$x"),
        ] {
            assert!(read(&[&wrong]).is_err(), "{wrong}");
        }
        assert!(read(&[]).is_err() && read(&[SHA256]).is_err() && read(&[SHA256, SHA1]).is_err());
        assert!(read(&[SHA1, SHA256, SHA1]).is_err());
        assert!(ScramKeys::is_written(SHA1) && !ScramKeys::is_written("pencil$"));
    }
}
