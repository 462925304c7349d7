//! The messages of SCRAM, server side, as typed states: [`Opened`] -> [`Proving`] -> the name that was proved.
//!
//! Source: RFC 5802 §5–§7, RFC 7677, XEP-0474 v0.5.0.
//!
//! Invariant: the signed text consists of the messages as they went over the wire, byte for byte, and nothing that a
//! client says chooses what it is compared with.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};

use super::{Credentials, Hash, ScramKeys};

/// The client's wish for channel binding, `gs2-cbind-flag` of RFC 5802 §7.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag<'m> {
    /// `n`: it cannot.
    Unable,
    /// `y`: it can, and believes that the server cannot.
    Unoffered,
    /// `p=`: it does, with this type.
    Bound(&'m str),
}

/// Why an exchange failed: `server-error-value` of RFC 5802 §7, for the log. XMPP's failure has no place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramError {
    /// A message breaks the grammar.
    InvalidEncoding,
    /// A mandatory extension (`m=`).
    ExtensionsNotSupported,
    /// The proof is wrong: another password, or no such account.
    InvalidProof,
    /// `c=` differs from what this connection is bound to.
    ChannelBindingsDontMatch,
    /// `y`, though a binding was offered: somebody has cut the list of mechanisms.
    ServerDoesSupportChannelBinding,
    /// `p=` with a mechanism that has no channel binding.
    ChannelBindingNotSupported,
    /// A type of binding that was not offered, or none with a mechanism that needs one.
    UnsupportedChannelBindingType,
    /// The name holds a wrong escape or cannot be prepared.
    InvalidUsernameEncoding,
    /// The nonce is not the one that was sent.
    OtherError,
}

impl ScramError {
    /// As RFC 5802 §7 writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            ScramError::InvalidEncoding => "invalid-encoding",
            ScramError::ExtensionsNotSupported => "extensions-not-supported",
            ScramError::InvalidProof => "invalid-proof",
            ScramError::ChannelBindingsDontMatch => "channel-bindings-dont-match",
            ScramError::ServerDoesSupportChannelBinding => "server-does-support-channel-binding",
            ScramError::ChannelBindingNotSupported => "channel-binding-not-supported",
            ScramError::UnsupportedChannelBindingType => "unsupported-channel-binding-type",
            ScramError::InvalidUsernameEncoding => "invalid-username-encoding",
            ScramError::OtherError => "other-error",
        }
    }
}

/// `client-first-message` of RFC 5802 §7, read but not yet judged.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst<'m> {
    /// The wish for channel binding.
    pub flag: Flag<'m>,
    /// `a=`, unescaped.
    pub authzid: Option<String>,
    /// `n=`, unescaped, not prepared.
    pub username: String,
    nonce: &'m str,
    gs2_header: &'m str,
    bare: &'m str,
}

impl<'m> ClientFirst<'m> {
    /// Reads the message.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn read(message: &'m [u8]) -> Result<ClientFirst<'m>, ScramError> {
        let message = std::str::from_utf8(message).map_err(|_| ScramError::InvalidEncoding)?;
        let mut parts = message.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ScramError::InvalidEncoding);
        };
        let flag = match flag {
            "n" => Flag::Unable,
            "y" => Flag::Unoffered,
            _ => {
                Flag::Bound(flag.strip_prefix("p=").filter(|name| is_cb_name(name)).ok_or(ScramError::InvalidEncoding)?)
            }
        };
        let authzid = match authzid {
            "" => None,
            _ => Some(saslname(authzid.strip_prefix("a=").ok_or(ScramError::InvalidEncoding)?)?),
        };
        let gs2_header = message.strip_suffix(bare).unwrap_or_default();

        let mut attributes = bare.split(',');
        let username = match attributes.next() {
            Some(first) if first.starts_with("m=") => return Err(ScramError::ExtensionsNotSupported),
            Some(first) => saslname(first.strip_prefix("n=").ok_or(ScramError::InvalidEncoding)?)?,
            None => return Err(ScramError::InvalidEncoding),
        };
        let nonce = attributes.next().and_then(|attribute| attribute.strip_prefix("r="));
        let nonce = nonce.filter(|nonce| is_nonce(nonce)).ok_or(ScramError::InvalidEncoding)?;
        extensions(attributes)?;
        Ok(ClientFirst { flag, authzid, username, nonce, gs2_header, bare })
    }

    /// Goes on once names and flag are found good. `bound` is the data of the channel that the flag names, empty for
    /// a flag without; `server_nonce` is fresh, printable and without comma; `downgrade` is the attribute `h` of
    /// XEP-0474.
    pub fn open(self, hash: Hash, bound: &[u8], server_nonce: &str, downgrade: Option<&str>) -> Opened {
        let expected = [self.gs2_header.as_bytes(), bound].concat();
        Opened {
            hash,
            bare: self.bare.to_owned(),
            nonce: format!("{}{server_nonce}", self.nonce),
            // RFC 5802 §6: the server constructs the value of c= and compares.
            channel: BASE64.encode(expected),
            downgrade: downgrade.map(str::to_owned),
        }
    }
}

/// The client has named itself; now the account's keys are needed.
#[derive(Debug)]
pub struct Opened {
    hash: Hash,
    bare: String,
    nonce: String,
    channel: String,
    downgrade: Option<String>,
}

impl Opened {
    /// The `server-first-message` for these keys, real or fake, and the state that awaits the proof.
    pub fn challenge(self, credentials: &Credentials) -> (Vec<u8>, Proving) {
        let keys = credentials.keys(self.hash).clone();
        let mut first = format!("r={},s={},i={}", self.nonce, BASE64.encode(keys.salt()), keys.iterations());
        if let Some(downgrade) = &self.downgrade {
            // XEP-0474 §5.1.
            first.push_str(",h=");
            first.push_str(downgrade);
        }
        let message = first.clone().into_bytes();
        let signed = format!("{},{first},", self.bare);
        (message, Proving { keys, nonce: self.nonce, channel: self.channel, signed })
    }
}

/// The client owes a proof.
#[derive(Debug)]
pub struct Proving {
    keys: ScramKeys,
    nonce: String,
    channel: String,
    /// `AuthMessage` of RFC 5802 §3 up to the client's last message.
    signed: String,
}

impl Proving {
    /// Judges the `client-final-message`; returns the `server-final-message`.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn prove(mut self, message: &[u8]) -> Result<Vec<u8>, ScramError> {
        let message = std::str::from_utf8(message).map_err(|_| ScramError::InvalidEncoding)?;
        let (without_proof, proof) = message.rsplit_once(",p=").ok_or(ScramError::InvalidEncoding)?;
        let proof = BASE64.decode(proof).map_err(|_| ScramError::InvalidEncoding)?;
        let mut attributes = without_proof.split(',');
        let channel = match attributes.next() {
            Some(first) if first.starts_with("m=") => return Err(ScramError::ExtensionsNotSupported),
            first => first.and_then(|first| first.strip_prefix("c=")).ok_or(ScramError::InvalidEncoding)?,
        };
        let nonce = attributes.next().and_then(|attribute| attribute.strip_prefix("r="));
        let nonce = nonce.ok_or(ScramError::InvalidEncoding)?;
        extensions(attributes)?;
        if channel != self.channel {
            return Err(ScramError::ChannelBindingsDontMatch);
        }
        if nonce != self.nonce {
            return Err(ScramError::OtherError);
        }
        self.signed.push_str(without_proof);
        if !self.keys.accepts(&proof, self.signed.as_bytes()) {
            return Err(ScramError::InvalidProof);
        }
        Ok(format!("v={}", BASE64.encode(self.keys.server_signature(self.signed.as_bytes()))).into_bytes())
    }
}

/// `saslname` of RFC 5802 §7, with `=2C` and `=3D` resolved.
fn saslname(text: &str) -> Result<String, ScramError> {
    let mut parts = text.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(ScramError::InvalidUsernameEncoding),
        };
        name.push(escaped);
        name.push_str(rest);
    }
    match name.contains('\0') || name.is_empty() {
        true => Err(ScramError::InvalidUsernameEncoding),
        false => Ok(name),
    }
}

fn is_cb_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

/// `printable` of RFC 5802 §7; the comma has ended the attribute already.
fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|byte| matches!(byte, 0x21..=0x7e))
}

/// Unknown extensions are skipped (RFC 5802 §5.1) if they have the form of an attribute, mandatory ones refused.
fn extensions<'m>(attributes: impl Iterator<Item = &'m str>) -> Result<(), ScramError> {
    for attribute in attributes {
        match attribute.as_bytes() {
            [b'm', b'=', ..] => return Err(ScramError::ExtensionsNotSupported),
            [name, b'=', _, ..] if name.is_ascii_alphabetic() && !attribute.contains('\0') => {}
            _ => return Err(ScramError::InvalidEncoding),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn credentials(salt: &str) -> Credentials {
        let (salt, rounds) = (BASE64.decode(salt).unwrap(), NonZeroU32::new(4096).unwrap());
        let keys = |hash| ScramKeys::derive(hash, "pencil", &salt, rounds).unwrap();
        Credentials::from_keys(keys(Hash::Sha1), keys(Hash::Sha256)).unwrap()
    }

    #[test]
    fn the_exchange_of_rfc_5802_succeeds() {
        // RFC 5802 §5.
        let first = ClientFirst::read(b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL").unwrap();
        assert_eq!((first.flag, first.username.as_str()), (Flag::Unable, "user"));
        let opened = first.open(Hash::Sha1, b"", "3rfcNHYJY1ZVvWVs7j", None);
        let (challenge, proving) = opened.challenge(&credentials("QSXCR+Q6sek8bf92"));
        assert_eq!(challenge, b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096");
        let done = proving
            .prove(b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")
            .unwrap();
        assert_eq!(done, b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=");
    }

    #[test]
    fn the_exchange_of_rfc_7677_succeeds() {
        // RFC 7677 §3.
        let first = ClientFirst::read(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap();
        let opened = first.open(Hash::Sha256, b"", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", None);
        let (challenge, proving) = opened.challenge(&credentials("W22ZaJ0SNY7soEsUEjb6gQ=="));
        let challenge = String::from_utf8(challenge).unwrap();
        assert_eq!(challenge, "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        let last = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(proving.prove(last.as_bytes()).unwrap(), b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn names_are_unescaped_and_optional_extensions_skipped() {
        let first = ClientFirst::read(b"p=tls-exporter,a=a=2Cb=3D,n=u=3D=2Cv,r=abc,x=1,y==").unwrap();
        assert_eq!(first.flag, Flag::Bound("tls-exporter"));
        assert_eq!(first.authzid.as_deref(), Some("a,b="));
        assert_eq!(first.username, "u=,v");
        assert_eq!(first.gs2_header, "p=tls-exporter,a=a=2Cb=3D,");
        assert_eq!(first.bare, "n=u=3D=2Cv,r=abc,x=1,y==");
    }

    #[test]
    fn malformed_first_messages_are_refused() {
        use ScramError::*;
        let table: [(&[u8], ScramError); 22] = [
            (b"", InvalidEncoding),
            (b"n", InvalidEncoding),
            (b"n,", InvalidEncoding),
            (b"n,,", InvalidEncoding),
            (b"x,,n=user,r=abc", InvalidEncoding),
            (b"N,,n=user,r=abc", InvalidEncoding),
            (b"p=,,n=user,r=abc", InvalidEncoding),
            (b"p=tls_unique,,n=user,r=abc", InvalidEncoding),
            (b"n,user,n=user,r=abc", InvalidEncoding),
            (b"n,a=,n=user,r=abc", InvalidUsernameEncoding),
            (b"n,,user,r=abc", InvalidEncoding),
            (b"n,,r=abc,n=user", InvalidEncoding),
            (b"n,,n=user", InvalidEncoding),
            (b"n,,n=user,r=", InvalidEncoding),
            (b"n,,n=user,r=a b", InvalidEncoding),
            (b"n,,n=user,r=\xc3\xa4", InvalidEncoding),
            (b"n,,n=user,r=abc,", InvalidEncoding),
            (b"n,,n=user,r=abc,1=x", InvalidEncoding),
            (b"n,,n=us=2cer,r=abc", InvalidUsernameEncoding),
            (b"n,,n=user\xff,r=abc", InvalidEncoding),
            (b"n,,m=x,n=user,r=abc", ExtensionsNotSupported),
            (b"n,,n=user,r=abc,m=x", ExtensionsNotSupported),
        ];
        for (message, error) in table {
            assert_eq!(ClientFirst::read(message), Err(error), "{}", String::from_utf8_lossy(message));
        }
    }

    #[test]
    fn malformed_last_messages_are_refused() {
        use ScramError::*;
        let proving = || {
            let opened = ClientFirst::read(b"n,,n=user,r=abc").unwrap().open(Hash::Sha1, b"", "def", None);
            opened.challenge(&Credentials::fake(&[0; 32], "user", None)).1
        };
        let proof = BASE64.encode([0; 20]);
        let table = [
            ("".to_owned(), InvalidEncoding),
            ("c=biws,r=abcdef".to_owned(), InvalidEncoding),
            ("c=biws,r=abcdef,p=!".to_owned(), InvalidEncoding),
            (format!("c=biws,r=abcdef,p={proof},x=1"), InvalidEncoding),
            (format!("r=abcdef,c=biws,p={proof}"), InvalidEncoding),
            (format!("c=biws,x=1,r=abcdef,p={proof}"), InvalidEncoding),
            (format!("m=1,c=biws,r=abcdef,p={proof}"), ExtensionsNotSupported),
            (format!("c=biws,r=abcdef,m=1,p={proof}"), ExtensionsNotSupported),
            (format!("c=eSws,r=abcdef,p={proof}"), ChannelBindingsDontMatch),
            (format!("c=,r=abcdef,p={proof}"), ChannelBindingsDontMatch),
            (format!("c=biws,r=abcdeg,p={proof}"), OtherError),
            (format!("c=biws,r=abc,p={proof}"), OtherError),
            (format!("c=biws,r=abcdef,x=1,p={proof}"), InvalidProof),
            ("c=biws,r=abcdef,p=".to_owned(), InvalidProof),
            (format!("c=biws,r=abcdef,p={}", BASE64.encode([0; 32])), InvalidProof),
        ];
        for (message, error) in table {
            assert_eq!(proving().prove(message.as_bytes()), Err(error), "{message}");
        }
    }
}
