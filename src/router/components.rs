//! Stanzas for components, and what they are told when they come.
//!
//! Source: XEP-0114 v1.6 §3. Invariant: nothing waits here for a component that is away, or that does not read: its outbox has
//! the bound of every outbox, and behind that its connection is closed.

use super::{context::Ctx, peers::is_lasting};
use crate::wire::{
    error::{Condition, ErrorKind, StanzaError},
    stanza::{Kind, Stanza},
};

/// The component is not connected. What comes of it is for its sender to decide, as elsewhere: Prosody says the same.
const AWAY: StanzaError = StanzaError::new(Condition::ServiceUnavailable)
    .kind(ErrorKind::Wait)
    .text("The service behind this address is not connected at the moment.");

/// Gives a stanza to the component that speaks for its `to`.
pub fn send(stanza: &Stanza, ctx: &mut Ctx<'_>) {
    let Some(to) = &stanza.to else { return };
    match ctx.core.components.stream(to.domain()) {
        Some(stream) => ctx.core.write_held(stream, stanza.chunk()),
        // RFC 6121 §4.3.1: nobody waits for an answer to presence; who asks for a subscription does.
        None if stanza.kind != Kind::Presence || is_lasting(stanza) => ctx.core.bounce(stanza, &AWAY),
        None => {}
    }
}
