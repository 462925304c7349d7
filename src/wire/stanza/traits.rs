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

impl Stanza {
    /// Looks at the children.
    pub fn traits(&self) -> Traits {
        let mut traits = Traits::default();
        for (_, name, namespace) in self.children() {
            match (namespace, name) {
                (ns::CLIENT, "body") => (traits.body, traits.content) = (true, true),
                (ns::CLIENT, "thread") | (ns::SID, _) => {}
                (ns::HINTS, "no-store") => traits.no_store = true,
                (ns::HINTS, "no-permanent-store") => traits.no_permanent_store = true,
                (ns::HINTS, "store") => traits.store = true,
                (ns::HINTS, "no-copy") | (ns::CARBONS, "private") => traits.private = true,
                (ns::HINTS, _) => {}
                (ns::CHAT_STATES, _) => traits.im_payload = true,
                (ns::RECEIPTS | ns::MARKERS, _) => (traits.im_payload, traits.content) = (true, true),
                (ns::MUC_USER, "x") => (traits.room, traits.content) = (true, true),
                (ns::CONFERENCE, "x") => (traits.direct_invite, traits.content) = (true, true),
                (ns::PUBSUB_EVENT, "event") => (traits.event, traits.content) = (true, true),
                (ns::CARBONS, "sent" | "received") => (traits.carbon, traits.content) = (true, true),
                (ns::MAM, "result" | "fin") => (traits.result, traits.content) = (true, true),
                _ => traits.content = true,
            }
        }
        traits
    }
}
