//! Stanzas for components, and what they are told when they come.
//!
//! Source: XEP-0114 v1.6 §3. Invariant: nothing waits here for a component that is away, or that does not read: its outbox has
//! the bound of every outbox, and behind that its connection is closed.

use super::{
    context::Ctx,
    core::{Core, Work},
    peers::is_lasting,
    service::{Leg, Origin},
};
use crate::{
    domain::components::{Connected, Question},
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        ns,
        stanza::{Kind, Stanza, Type},
    },
};

/// The component is not connected. What comes of it is for its sender to decide, as elsewhere: Prosody says the same.
const AWAY: StanzaError = StanzaError::new(Condition::ServiceUnavailable)
    .kind(ErrorKind::Wait)
    .text("The service behind this address is not connected at the moment.");

/// Takes note of what a component says, so that nobody is left with it when it goes.
pub fn heard(stanza: &Stanza, core: &mut Core) {
    let Some(to) = &stanza.to else { return };
    match (stanza.kind, stanza.ty) {
        (Kind::Presence, Type::Available) => core.components.show(&stanza.from, to, true),
        (Kind::Presence, Type::Unavailable) => core.components.show(&stanza.from, to, false),
        (Kind::Iq, Type::Result | Type::Error) => {
            let id = stanza.id_raw().unwrap_or_default().into();
            core.components.answer(&Question { from: to.clone(), to: stanza.from.clone(), id });
        }
        _ => {}
    }
}

/// A component went: who waits for its answers is told, and so is everybody whom it showed somebody.
pub fn gone(left: Connected, core: &mut Core) {
    core.delegations.forget(&left.domain);
    for Question { from, to, id } in left.asked {
        core.answer(&Origin { from, to: Some(to), id }, Err(AWAY), false);
    }
    let unavailable = Element::new("presence", ns::CLIENT).attr("type", "unavailable");
    for (from, to) in left.shown {
        core.work.push(Work::Route(Leg::Inbound, Stanza::build(&unavailable, from, Some(to))));
    }
}

/// Gives a stanza to the component that speaks for its `to`.
pub fn send(stanza: &Stanza, ctx: &mut Ctx<'_>) {
    let Some(to) = &stanza.to else { return };
    match ctx.core.components.stream(to.domain()) {
        Some(stream) => {
            if let (Kind::Iq, Type::Get | Type::Set, Some(id)) = (stanza.kind, stanza.ty, stanza.id_raw()) {
                ctx.core.components.ask(Question { from: stanza.from.clone(), to: to.clone(), id: id.into() });
            }
            ctx.core.write_held(stream, stanza.chunk());
        }
        // RFC 6121 §4.3.1: nobody waits for an answer to presence; who asks for a subscription does.
        None if stanza.kind != Kind::Presence || is_lasting(stanza) => ctx.core.bounce(stanza, &AWAY),
        None => {}
    }
}
