//! Identities and instants that several floors share.

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

/// A message's number as the `id` of a stanza-id (XEP-0359): opaque to everybody else.
pub fn text(id: MessageId) -> heapless::String<16> {
    let mut out = heapless::String::new();
    for shift in (0..16).rev() {
        let digit = (id.0 >> (shift * 4)) as u32 & 15;
        // 16 digits fit.
        let _ = out.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
    out
}
