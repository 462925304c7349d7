//! A moderator takes back what somebody said.
//!
//! Source: XEP-0425 v0.3.0, and its version 0.2 (`urn:xmpp:message-moderate:0` inside XEP-0422), which some clients still
//! send and read; XEP-0424 v0.4.2 for the tombstone. Invariant: only what this room has archived can be taken back, and
//! from then on nobody is shown its words again, neither from the archive nor from the history.

use super::{
    history,
    outgoing::{broadcast, stamp},
    room::Room,
};
use crate::{
    domain::{
        archive,
        ids::MessageId,
        rooms::{Role, senders},
    },
    limits,
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        ns,
        stanza::Stanza,
        time,
    },
};

/// What is asked for, in either version.
struct Wish<'a> {
    id: &'a str,
    reason: Option<String>,
}

impl<'a> Wish<'a> {
    fn of(payload: &'a Element) -> Option<Wish<'a>> {
        let (id, moderate, retract) = match payload.ns.as_ref() {
            ns::FASTEN => (payload.get("id")?, payload.find("moderate", ns::MODERATE_0)?, ns::RETRACT_0),
            _ => (payload.get("id")?, payload, ns::RETRACT),
        };
        moderate.find("retract", retract)?;
        let reason = moderate.leaf_text("reason").filter(|reason| !reason.is_empty());
        Some(Wish { id, reason })
    }
}

/// XEP-0425 §4.
pub(super) fn answer(room: &mut Room, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    if !iq.is_set() {
        return Err(Condition::BadRequest.into());
    }
    let moderator = room.place(iq.from).map(|(at, _)| at).filter(|at| room.occupants[*at].role == Role::Moderator);
    let moderator = &room.occupants[moderator.ok_or(StanzaError::new(Condition::Forbidden))?];
    let wish = Wish::of(iq.payload).ok_or(StanzaError::new(Condition::BadRequest))?;
    if wish.reason.as_ref().is_some_and(|reason| reason.len() > limits::ROOM_REASON_BYTES_MAX) {
        return Err(Condition::PolicyViolation.into());
    }
    let missing = StanzaError::new(Condition::ItemNotFound);
    let message = ctx.core.seal.message(room.id, wish.id).ok_or(missing.clone())?;
    let store = ctx.store();
    if message.0 < archive::kept_from(&store, room.id) || archive::entry(&store, room.id, message).is_none() {
        return Err(missing);
    }
    let by = moderator.address.as_str().to_owned();
    let mut person = Vec::new();
    stamp(room, &moderator.bare, ctx, &mut person);
    let person = Element::parse(&person, ns::CLIENT).map_err(|_| StanzaError::new(Condition::InternalServerError))?;
    let moderated = |namespace| Element::new("moderated", namespace).attr("by", by.as_str()).child(person.clone());
    bury(room, message, moderated(ns::MODERATE), wish.reason.as_deref(), ctx);
    tell(room, &wish, &moderated, ctx);
    Ok(Reply::Empty)
}

fn with_reason(element: Element, reason: Option<&str>) -> Element {
    match reason {
        Some(reason) => element.leaf("reason", reason),
        None => element,
    }
}

/// XEP-0425 §5: of the message itself, only who said it and when is left.
fn bury(room: &mut Room, message: MessageId, moderated: Element, reason: Option<&str>, ctx: &mut Ctx<'_>) {
    room.history.retain(|line| line.at_us != message.0);
    let stamp = time::stamp(ctx.wall_us / 1_000);
    let mut store = ctx.store();
    let Some(mut text) = archive::text(&store, message) else { return };
    let mut whole = Vec::with_capacity(text.rest.len() + 128);
    text.write(Some(ns::CLIENT), &[], &mut whole);
    let Ok(mut said) = Element::parse(&whole, ns::CLIENT) else { return };
    let retracted = Element::new("retracted", ns::RETRACT).attr("stamp", stamp.as_str()).child(moderated);
    let of_room: Vec<Element> = said
        .children()
        .filter(|child| matches!(child.ns.as_ref(), ns::OCCUPANT_ID | ns::MUC_USER | senders::VEILED))
        .cloned()
        .collect();
    said.nodes.clear();
    said.attrs.retain(|(name, _)| name != "from" && name != "to");
    let said = said.with(of_room).child(with_reason(retracted, reason));
    let written = Stanza::build(&said, room.jid.clone(), None).to_stored();
    (text.rest, text.insert_at) = (written.rest, written.insert_at);
    archive::replace_text(&mut store, message, &text);
}

/// XEP-0425 §4.1, in both versions at once: a client takes the one that it knows.
fn tell(room: &mut Room, wish: &Wish<'_>, moderated: &dyn Fn(&'static str) -> Element, ctx: &mut Ctx<'_>) {
    let reason = wish.reason.as_deref();
    let retract = Element::new("retract", ns::RETRACT).attr("id", wish.id).child(moderated(ns::MODERATE));
    let old = moderated(ns::MODERATE_0).child(Element::new("retract", ns::RETRACT_0));
    let fasten = Element::new("apply-to", ns::FASTEN).attr("id", wish.id).child(with_reason(old, reason));
    let message = Element::new("message", ns::CLIENT).attr("type", "groupchat").attr("id", ctx.token());
    let message = message.child(with_reason(retract, reason)).child(fasten);
    let mut message = Stanza::build(&message, room.jid.clone(), None);
    if room.settings.keeps_archive {
        let id = history::keep(room, &message, ctx);
        let known = ctx.stanza_id(room.id, room.jid.as_str(), id);
        message.add(&known);
    }
    broadcast(room, &message, ctx);
}
