//! Identities and instants that several floors share.

use ring::hmac;

/// A connection's place in the driver's table. A stale id finds nothing; it never panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId {
    /// Index of the slot; slots are reused.
    pub slot: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

/// A bound resource's place in the table of sessions. A stale id finds nothing; it never panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    /// Index of the slot; slots are reused.
    pub slot: u32,
    /// Counts the uses of the slot.
    pub generation: u32,
}

/// A local account's number; never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u32);

/// A stored message's number: microseconds since 1970 when it was taken in, made unique and growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u64);

/// A question to the world outside, answered by a later event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub u64);

/// Milliseconds on a clock that never goes back; the zero point means nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    /// Later by this many milliseconds.
    pub fn plus_ms(self, ms: u64) -> Time {
        Time(self.0.saturating_add(ms))
    }
}

/// Makes the ids by which archives name their messages (XEP-0359): each is the message's number and a seal that only
/// this server can make, so that nobody can guess one (XEP-0313 §3).
#[derive(Clone, Debug)]
pub struct Seal(hmac::Key);

/// An archive's id as text.
pub type ArchiveId = heapless::String<28>;

/// Bytes of the seal that are shown.
const SEAL_BYTES: usize = 6;
/// Bytes of what a room calls a person.
const OCCUPANT_BYTES: usize = 16;

impl Seal {
    /// From the server's secret.
    pub fn new(secret: &[u8]) -> Seal {
        Seal(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The id of this message in the archive of this account.
    pub fn id(&self, owner: AccountId, message: MessageId) -> ArchiveId {
        let mut input = [0; 12];
        input[..4].copy_from_slice(&owner.0.to_be_bytes());
        input[4..].copy_from_slice(&message.0.to_be_bytes());
        let seal = hmac::sign(&self.0, &input);
        let number = message.0.to_be_bytes();
        let mut digits = heapless::Vec::new();
        for byte in number.iter().chain(seal.as_ref().iter().take(SEAL_BYTES)) {
            // 28 digits fit.
            let _ =
                digits.extend_from_slice(&[byte >> 4, byte & 15].map(|half| b"0123456789abcdef"[usize::from(half)]));
        }
        ArchiveId::from_utf8(digits).unwrap_or_default()
    }

    /// The seal of `parts` under a name of its own, 256 bits. No two lists of parts have the same one.
    pub fn of(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in std::iter::once(&label.as_bytes()).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    /// What a room calls a person, XEP-0421: nobody can tell the address from it, nor that two rooms mean the same.
    pub fn occupant(&self, room: AccountId, bare: &str) -> String {
        use std::fmt::Write;
        let seal = self.of("occupant", &[&room.0.to_be_bytes(), bare.as_bytes()]);
        seal.iter().take(OCCUPANT_BYTES).fold(String::new(), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }

    /// The message that an id names in the archive of this account; `None`: the id is not ours.
    pub fn message(&self, owner: AccountId, id: &str) -> Option<MessageId> {
        let message = MessageId(u64::from_str_radix(id.get(..16)?, 16).ok()?);
        (self.id(owner, message) == id).then_some(message)
    }
}
