//! Client state: a client says whether somebody looks at it.
//!
//! Source: XEP-0352 v1.0.0. What can wait is judged in `router/urgency.rs` and waits in `domain/held.rs`; here is what is
//! announced, and the wish to begin inactive (XEP-0386 §3.2). Invariants: nothing is dropped that a later stanza does not
//! repeat; an important stanza brings everything before it along; nobody else learns of the state (§5), and no clock runs
//! because of it.
//!
//! Asking for acknowledgements needs no rule of its own: `<r/>` follows a stanza that was sent, and to a client that nobody
//! looks at nothing is sent that does not have to be.

use crate::{
    router::{
        context::Ctx,
        service::{AtBind, Card, Service},
    },
    wire::{element::Element, ns},
};

/// XEP-0352.
#[derive(Debug)]
pub struct ClientState;

static CARD: Card = Card {
    name: "csi",
    source: "XEP-0352 v1.0.0",
    features: &[],
    stream_features: &["<csi xmlns='urn:xmpp:csi:0'/>"],
    iq: &[],
    passes: &[],
};

impl Service for ClientState {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn at_bind(&self) -> Option<AtBind> {
        let run = |session, wish: Option<&Element>, ctx: &mut Ctx<'_>| {
            match wish.map(|wish| wish.name.as_ref()) {
                Some("inactive") => ctx.core.hold_back_from(session),
                Some("active") => ctx.core.hold_nothing_back_from(session),
                _ => {}
            }
            None
        };
        Some(AtBind { ns: ns::CSI, is_feature: true, run })
    }
}

#[cfg(test)]
mod tests;
