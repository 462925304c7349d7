//! What a message is, as far as keeping and copying it depends on it: one look at its children.
//!
//! Sources: XEP-0334 v1.0.0, XEP-0280 v1.0.1 §6.1 and §9, XEP-0085 §5.5.

use super::Stanza;
use crate::wire::ns;

/// What the children of a message say about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// `<body/>`.
    pub body: bool,
    /// Something beyond chat states, thread, hints and ids.
    pub content: bool,
    /// Hint: not to be stored at all.
    pub no_store: bool,
    /// Hint: not to be stored for good.
    pub no_permanent_store: bool,
    /// Hint: worth storing.
    pub store: bool,
    /// Not to be copied: `<private/>` of XEP-0280, or the hint `<no-copy/>`.
    pub private: bool,
    /// A chat state, receipt or marker (XEP-0085, XEP-0184, XEP-0333).
    pub im_payload: bool,
    /// `<x xmlns='http://jabber.org/protocol/muc#user'/>`: it has to do with a room.
    pub room: bool,
    /// An invitation to a room sent directly, XEP-0249.
    pub direct_invite: bool,
    /// An event of a pubsub service.
    pub event: bool,
    /// What only a server may wrap: carbons.
    pub carbon: bool,
    /// What only an archive may send: results of a query.
    pub result: bool,
}

/// The namespaces that matter here.
#[derive(Clone, Copy)]
enum Family {
    Client,
    Sid,
    Hints,
    Carbons,
    ChatStates,
    /// Receipts and markers.
    Told,
    MucUser,
    Conference,
    Event,
    Mam,
}

const FAMILIES: [(&str, Family); 11] = [
    (ns::CLIENT, Family::Client),
    (ns::SID, Family::Sid),
    (ns::HINTS, Family::Hints),
    (ns::CARBONS, Family::Carbons),
    (ns::CHAT_STATES, Family::ChatStates),
    (ns::RECEIPTS, Family::Told),
    (ns::MARKERS, Family::Told),
    (ns::MUC_USER, Family::MucUser),
    (ns::CONFERENCE, Family::Conference),
    (ns::PUBSUB_EVENT, Family::Event),
    (ns::MAM, Family::Mam),
];

impl Stanza {
    /// Looks at the children.
    pub fn traits(&self) -> Traits {
        let mut traits = Traits::default();
        for (name, namespace) in self.child_names() {
            let family = FAMILIES.iter().find(|(known, _)| known.as_bytes() == namespace).map(|(_, family)| *family);
            match (family, name) {
                (Some(Family::Client), b"body") => (traits.body, traits.content) = (true, true),
                (Some(Family::Client), b"thread") | (Some(Family::Sid), _) => {}
                (Some(Family::Hints), b"no-store") => traits.no_store = true,
                (Some(Family::Hints), b"no-permanent-store") => traits.no_permanent_store = true,
                (Some(Family::Hints), b"store") => traits.store = true,
                (Some(Family::Hints), b"no-copy") | (Some(Family::Carbons), b"private") => traits.private = true,
                (Some(Family::Hints), _) => {}
                (Some(Family::ChatStates), _) => traits.im_payload = true,
                (Some(Family::Told), _) => (traits.im_payload, traits.content) = (true, true),
                (Some(Family::MucUser), b"x") => (traits.room, traits.content) = (true, true),
                (Some(Family::Conference), b"x") => (traits.direct_invite, traits.content) = (true, true),
                (Some(Family::Event), b"event") => (traits.event, traits.content) = (true, true),
                (Some(Family::Carbons), b"sent" | b"received") => (traits.carbon, traits.content) = (true, true),
                (Some(Family::Mam), b"result" | b"fin") => (traits.result, traits.content) = (true, true),
                _ => traits.content = true,
            }
        }
        traits
    }
}
