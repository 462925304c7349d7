//! Who said what a room has archived: the real address, in front of the words.
//!
//! Source: XEP-0313 §5.1.1. Invariant: what was said while only moderators saw real addresses is shown with them to
//! moderators alone, whatever the room has become since.

use crate::wire::{element::Element, ns, stanza::Stored};

/// What somebody may know of those who spoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sight {
    /// Nothing but nicknames.
    #[default]
    Nicknames,
    /// What everybody could see when it was said.
    AsItWas,
    /// The real address of everybody.
    All,
}

/// The namespace in which an archive hides what only moderators saw; it never leaves the store.
pub const VEILED: &str = "urn:lampone:veiled";
const VEILED_X: &[u8] = b"<x xmlns='urn:lampone:veiled'>";
const OPEN_X: &[u8] = b"<x xmlns='http://jabber.org/protocol/muc#user'>";
const END: &[u8] = b"</x>";

/// What is filed in front of the words: `item` tells of the sender what occupants with that right see.
pub fn note(item: &Element, is_open: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(160);
    out.extend_from_slice(if is_open { OPEN_X } else { VEILED_X });
    item.write(ns::MUC_USER, &mut out);
    out.extend_from_slice(END);
    out
}

/// Leaves of the note what may be seen.
pub fn show(text: &mut Stored, sight: Sight) {
    let at = text.insert_at.min(text.rest.len());
    let note = &text.rest[at..];
    let is_veiled = note.starts_with(VEILED_X);
    if !is_veiled && !note.starts_with(OPEN_X) {
        return;
    }
    match (sight, is_veiled) {
        (Sight::All, true) => drop(text.rest.splice(at..at + VEILED_X.len(), OPEN_X.iter().copied())),
        (Sight::All | Sight::AsItWas, false) => {}
        _ => {
            let end = note.windows(END.len()).position(|bytes| bytes == END).map_or(0, |end| end + END.len());
            drop(text.rest.drain(at..at + end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(is_open: bool, sight: Sight) -> String {
        let item = Element::new("item", ns::MUC_USER).attr("jid", "hag66@shakespeare.lit");
        let rest = [b" id='1'>".as_slice(), &note(&item, is_open), b"<body>so</body></message>"].concat();
        let mut text = Stored { rest, insert_at: 8, ..Stored::default() };
        show(&mut text, sight);
        String::from_utf8(text.rest).unwrap()
    }

    #[test]
    fn addresses_are_for_those_who_could_see_them() {
        let bare = " id='1'><body>so</body></message>";
        let full = " id='1'><x xmlns='http://jabber.org/protocol/muc#user'><item jid='hag66@shakespeare.lit'/></x>\
                    <body>so</body></message>";
        for (is_open, sight, expected) in [
            (true, Sight::All, full),
            (true, Sight::AsItWas, full),
            (true, Sight::Nicknames, bare),
            (false, Sight::All, full),
            (false, Sight::AsItWas, bare),
            (false, Sight::Nicknames, bare),
        ] {
            assert_eq!(shown(is_open, sight), expected, "{is_open} {sight:?}");
        }
    }

    #[test]
    fn what_has_no_note_stays_as_it_is() {
        let rest = b"><body>so</body></message>".to_vec();
        let mut text = Stored { rest: rest.clone(), insert_at: 1, ..Stored::default() };
        show(&mut text, Sight::Nicknames);
        assert_eq!(text.rest, rest);
    }
}
