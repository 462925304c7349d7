//! What a session is not sent as long as nobody looks at its client.
//!
//! Source: XEP-0352 v1.0.0 §3. Invariants: what comes out comes in the order in which it went in, so that nobody's stanzas
//! overtake each other; of several about the same thing only the last is there; and it is bounded.

use std::collections::BTreeMap;

use super::sessions::Keep;
use crate::{limits, wire::stanza::Chunk};

/// Stanzas that wait for an important one, or for the client to be looked at.
#[derive(Debug, Default)]
pub struct Held {
    next: u64,
    entries: BTreeMap<u64, Entry>,
    /// Where the last one about a thing stands.
    latest: BTreeMap<Box<str>, u64>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    about: Option<Box<str>>,
    chunk: Chunk,
    keep: Keep,
}

impl Held {
    /// Keeps a stanza; with `about` it takes the place of an earlier one about the same. `false`: there are more now than
    /// [`limits::HELD_MAX`], or more bytes than [`limits::HELD_QUEUE_BYTES_MAX`], and all have to go out.
    #[must_use]
    pub fn push(&mut self, about: Option<Box<str>>, chunk: Chunk, keep: Keep) -> bool {
        // Somebody answers for the others.
        let about = about.filter(|_| matches!(keep, Keep::Nothing));
        let at = self.next;
        self.next += 1;
        let earlier = about.clone().and_then(|about| self.latest.insert(about, at));
        if let Some(earlier) = earlier.and_then(|earlier| self.entries.remove(&earlier)) {
            self.bytes -= earlier.weight();
        }
        let entry = Entry { about, chunk, keep };
        self.bytes += entry.weight();
        self.entries.insert(at, entry);
        self.entries.len() <= limits::HELD_MAX && self.bytes <= limits::HELD_QUEUE_BYTES_MAX
    }

    /// All of it, oldest first; nothing is held any more.
    pub fn take(&mut self) -> impl Iterator<Item = (Chunk, Keep)> + use<> {
        std::mem::take(self).entries.into_values().map(|entry| (entry.chunk, entry.keep))
    }

    /// What to remember of each.
    pub fn keeps(&self) -> impl Iterator<Item = &Keep> {
        self.entries.values().map(|entry| &entry.keep)
    }
}

impl Entry {
    fn weight(&self) -> usize {
        self.chunk.len() + self.about.as_ref().map_or(0, |about| about.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::MessageId;

    fn chunk(text: &str) -> Chunk {
        Chunk::new(text.as_bytes())
    }

    fn texts(held: &mut Held) -> Vec<String> {
        let text = |chunk: Chunk| {
            let mut out = Vec::new();
            chunk.write(&mut out);
            String::from_utf8(out).unwrap()
        };
        held.take().map(|(chunk, _)| text(chunk)).collect()
    }

    #[test]
    fn the_last_about_a_thing_stays_in_its_own_place() {
        let mut held = Held::default();
        for (about, text) in [(Some("romeo"), "away"), (None, "receipt"), (Some("romeo"), "here"), (Some("nurse"), "x")]
        {
            assert!(held.push(about.map(Box::from), chunk(text), Keep::Nothing));
        }
        assert_eq!(texts(&mut held), ["receipt", "here", "x"]);
        assert_eq!(texts(&mut held), [""; 0]);
    }

    #[test]
    fn what_somebody_answers_for_is_not_replaced() {
        let mut held = Held::default();
        assert!(held.push(Some("a".into()), chunk("1"), Keep::Message(MessageId(1))));
        assert!(held.push(Some("a".into()), chunk("2"), Keep::Message(MessageId(2))));
        assert_eq!(texts(&mut held), ["1", "2"]);
    }

    #[test]
    fn it_is_bounded_in_number_and_in_bytes() {
        let mut held = Held::default();
        assert!((0..limits::HELD_MAX).all(|_| held.push(None, chunk("."), Keep::Nothing)));
        assert!(!held.push(None, chunk("."), Keep::Nothing));
        let mut held = Held::default();
        let large = "x".repeat(limits::HELD_QUEUE_BYTES_MAX);
        assert!(held.push(None, chunk(&large), Keep::Nothing));
        assert!(!held.push(None, chunk("."), Keep::Nothing));
        let mut held = Held::default();
        assert!((0..2 * limits::HELD_MAX).all(|_| held.push(
            Some("romeo".into()),
            chunk(&large[1000..]),
            Keep::Nothing
        )));
    }
}
