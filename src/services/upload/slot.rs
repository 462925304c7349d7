//! A slot: who may put which file where, until when. It is signed and given to the client, so nothing is kept of it.
//!
//! Invariant: what [`Slot::read`] returns is what [`Slot::token`] was made from, by this server.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::{
    domain::{
        files::{FileId, KIND_BYTES_MAX},
        ids::{AccountId, Seal},
    },
    limits,
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        ns,
    },
};

/// What a client asks for, XEP-0363 §4.
#[derive(Debug, PartialEq, Eq)]
pub struct Wish {
    pub name: String,
    pub bytes: u64,
    /// Empty: not told.
    pub kind: String,
}

/// What was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub file: FileId,
    pub account: AccountId,
    pub bytes: u64,
    /// Seconds since 1970.
    pub expires_s: u64,
    /// Empty: not told.
    pub kind: String,
    pub name: String,
}

const VERSION: u8 = 1;
/// Bytes of the seal that are used.
const SEAL_BYTES: usize = 16;
const LABEL: &str = "upload slot";

impl Wish {
    /// Reads `<request/>`.
    pub fn read(request: &Element) -> Result<Wish, StanzaError> {
        let bad = |text| StanzaError::new(Condition::BadRequest).text(text);
        let bytes = request.get("size").and_then(|size| size.parse().ok()).filter(|bytes| *bytes > 0);
        let bytes = bytes.ok_or(bad("The size is missing."))?;
        let name = request.get("filename").map(file_name).unwrap_or_default();
        if name.is_empty() {
            return Err(bad("The file name is missing."));
        }
        let kind = request.get("content-type").unwrap_or_default().trim();
        if !kind.is_empty() && !is_media_type(kind) {
            return Err(bad("This is no content type."));
        }
        // §5: what is not announced is not promised either.
        let purposes = request.children().filter(|child| child.ns == ns::UPLOAD_PURPOSE);
        if purposes.into_iter().any(|purpose| purpose.name != "message") {
            return Err(StanzaError::new(Condition::FeatureNotImplemented).text("Files are kept for messages only."));
        }
        Ok(Wish { name, bytes, kind: kind.to_owned() })
    }
}

/// The last part of a name as a file has it here and in an address: without what could lead elsewhere, and short, with
/// its ending (§4).
fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| !c.is_control() && *c != '%').collect();
    let plain = plain.trim_matches([' ', '.']);
    if plain.len() <= limits::FILE_NAME_BYTES_MAX {
        return plain.to_owned();
    }
    let ending = plain.rfind('.').map(|at| &plain[at..]).filter(|ending| ending.len() <= 16).unwrap_or_default();
    let mut end = limits::FILE_NAME_BYTES_MAX - ending.len();
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &plain[..end])
}

/// RFC 9110 §8.3.1, with nothing in it that could end a header.
fn is_media_type(kind: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let parts = essence.split_once('/');
    kind.len() <= KIND_BYTES_MAX
        && parts.is_some_and(|(ty, subtype)| token(ty) && token(subtype))
        && kind.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

impl Slot {
    fn payload(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.account.0.to_be_bytes());
        out.extend_from_slice(&self.bytes.to_be_bytes());
        out.extend_from_slice(&self.expires_s.to_be_bytes());
        out.extend_from_slice(self.kind.as_bytes());
        out
    }

    fn seal(file: FileId, name: &str, payload: &[u8], seal: &Seal) -> [u8; SEAL_BYTES] {
        let whole = seal.of(LABEL, &[file.as_bytes(), name.as_bytes(), payload]);
        let mut out = [0; SEAL_BYTES];
        out.copy_from_slice(&whole[..SEAL_BYTES]);
        out
    }

    /// The slot as a part of an address, which has file and name beside it.
    pub fn token(&self, seal: &Seal) -> String {
        let mut payload = self.payload();
        let tag = Slot::seal(self.file, &self.name, &payload, seal);
        payload.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(payload)
    }

    /// Reads a token that came with this file and name; `None`: it is not ours, or not for them.
    pub fn read(token: &str, file: FileId, name: &str, seal: &Seal) -> Option<Slot> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (payload, tag) = bytes.split_at_checked(bytes.len().checked_sub(SEAL_BYTES)?)?;
        if !bool::from(Slot::seal(file, name, payload, seal).as_slice().ct_eq(tag)) {
            return None;
        }
        let (&[VERSION], rest) = payload.split_first_chunk::<1>()? else { return None };
        let (account, rest) = rest.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_first_chunk::<8>()?;
        let (expires, kind) = rest.split_first_chunk::<8>()?;
        Some(Slot {
            file,
            account: AccountId(u32::from_be_bytes(*account)),
            bytes: u64::from_be_bytes(*bytes),
            expires_s: u64::from_be_bytes(*expires),
            kind: String::from_utf8(kind.to_vec()).ok()?,
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wish(xml: &str) -> Result<Wish, Condition> {
        let xml = format!("<request xmlns='urn:xmpp:http:upload:0' {xml}</request>");
        let element = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
        Wish::read(&element).map_err(|error| error.condition)
    }

    #[test]
    fn the_request_of_the_xep_is_understood() {
        let read = wish("filename='très cool.jpg' size='23456' content-type='image/jpeg'>").unwrap();
        assert_eq!(read, Wish { name: "très cool.jpg".into(), bytes: 23_456, kind: "image/jpeg".into() });
        let message = "<message xmlns='urn:xmpp:http:upload:purpose:0'/>";
        assert!(wish(&format!("filename='a' size='1'>{message}")).is_ok());
        assert_eq!(
            wish(&format!("filename='a' size='1'>{}", message.replace("message", "permanent"))),
            Err(Condition::FeatureNotImplemented)
        );
    }

    #[test]
    fn incomplete_or_hostile_requests_are_refused() {
        for odd in [
            "filename='a'>",
            "size='1'>",
            "filename='' size='1'>",
            "filename='..' size='1'>",
            "filename='a' size='0'>",
            "filename='a' size='-1'>",
            "filename='a' size='x'>",
            "filename='a/' size='1'>",
            "filename='a' size='99999999999999999999'>",
            "filename='a' size='1' content-type='a'>",
            "filename='a' size='1' content-type='a/b&#xA;x: y'>",
            "filename='a' size='1' content-type='a/é'>",
        ] {
            assert_eq!(wish(odd), Err(Condition::BadRequest), "{odd}");
        }
    }

    #[test]
    fn names_are_short_and_lead_nowhere() {
        assert_eq!(file_name("../../etc/passwd"), "passwd");
        assert_eq!(file_name("C:\\photos\\a%2e.jpg"), "a2e.jpg");
        let long = file_name(&format!("{}.jpg", "é".repeat(300)));
        assert!(long.len() <= limits::FILE_NAME_BYTES_MAX && long.ends_with(".jpg"), "{long}");
    }

    #[test]
    fn a_token_is_good_for_its_file_and_name_only() {
        let seal = Seal::new(b"secret");
        let file = FileId::new(1, [1; 16]);
        let slot = Slot {
            file,
            account: AccountId(3),
            bytes: 10,
            expires_s: 99,
            kind: "image/png".into(),
            name: "a.png".into(),
        };
        let token = slot.token(&seal);
        assert_eq!(Slot::read(&token, file, "a.png", &seal), Some(slot.clone()));
        assert_eq!(Slot::read(&token, file, "b.png", &seal), None);
        assert_eq!(Slot::read(&token, FileId::new(2, [1; 16]), "a.png", &seal), None);
        assert_eq!(Slot::read(&token, file, "a.png", &Seal::new(b"other")), None);
        let mut bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert_eq!(Slot::read(&URL_SAFE_NO_PAD.encode(&bytes), file, "a.png", &seal), None, "byte {at}");
            bytes[at] ^= 1;
        }
        for odd in ["", "AAAA", "%", &"A".repeat(5_000)] {
            assert_eq!(Slot::read(odd, file, "a.png", &seal), None);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn s41_a_slot_comes_back_and_nothing_else_is_one(
            account in any::<u32>(),
            bytes in any::<u64>(),
            expires_s in any::<u64>(),
            name in ".{1,40}",
            other in "[A-Za-z0-9_-]{0,120}",
            at in any::<prop::sample::Index>(),
        ) {
            let (seal, file) = (Seal::new(b"secret"), FileId::new(1, [1; 16]));
            let kind = "image/png".to_owned();
            let slot = Slot { file, account: AccountId(account), bytes, expires_s, kind, name: name.clone() };
            let token = slot.token(&seal);
            prop_assert!(Slot::read(&token, file, &name, &seal).as_ref() == Some(&slot));
            prop_assert!(Slot::read(&other, file, &name, &seal).is_none());
            prop_assert!(Slot::read(&token[..at.index(token.len())], file, &name, &seal).is_none());
            let _ = file_name(&name);
        }
    }
}
