//! Entering a room, being there under another name, and all that newcomers are shown.
//!
//! Source: XEP-0045 §7.1, §7.2, §7.6, §7.7, §10.1. Walk of a join: may they come in (in the order of [`admit`]); those who
//! are there are shown to them; they are shown to everybody, themselves last; what was said before; the subject.

use std::rc::Rc;

use super::{
    history,
    messages::is_forged,
    outgoing::{Showing, Word},
    room::{Occupant, Room, Visit},
    tokens, versions,
};
use crate::{
    domain::rooms::{Affiliation, Role},
    limits,
    router::context::Ctx,
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        jid::Jid,
        ns,
        stanza::Stanza,
    },
};

/// Whether somebody may come in under this nickname; XEP-0045 §7.2.5 to §7.2.9.
fn admit(room: &Room, who: &Jid, nick: &str, asked: &Element) -> Result<(), StanzaError> {
    let affiliation = room.affiliation(who);
    if room.is_locked && affiliation != Affiliation::Owner {
        // XEP-0045 §10.1.3.
        return Err(Condition::ItemNotFound.into());
    }
    if affiliation == Affiliation::Outcast {
        return Err(Condition::Forbidden.into());
    }
    if room.settings.is_members_only && affiliation < Affiliation::Member {
        return Err(Condition::RegistrationRequired.into());
    }
    if room.settings.password.is_some() && affiliation < Affiliation::Owner {
        let given = asked.leaf_text("password");
        if given.as_deref() != room.settings.password.as_deref() {
            return Err(Condition::NotAuthorized.into());
        }
    }
    // Another device under the same name is no other occupant.
    let is_new = room.named(nick).is_none_or(|at| *room.occupants[at].bare != *who.bare_str());
    if is_new && room.occupants.len() >= usize::from(room.settings.occupants_max) && affiliation < Affiliation::Admin {
        return Err(StanzaError::new(Condition::ServiceUnavailable).kind(ErrorKind::Wait));
    }
    let visits = room.of(who.bare_str()).iter().map(|at| room.occupants[*at].visits.len()).sum::<usize>();
    if visits >= limits::ROOM_VISITS_MAX || room.occupants.len() >= limits::ROOM_OCCUPANTS_MAX {
        return Err(StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait));
    }
    name(room, who, nick)
}

/// Whether a nickname is free for somebody, XEP-0045 §7.2.8.
fn name(room: &Room, who: &Jid, nick: &str) -> Result<(), StanzaError> {
    if nick.len() > limits::ROOM_NICK_BYTES_MAX || nick.trim().is_empty() {
        return Err(StanzaError::new(Condition::NotAcceptable).kind(ErrorKind::Cancel));
    }
    // Spaces around it make no other name, §13.5.
    let looks_like = |other: &Occupant| other.nick().trim() == nick.trim() && *other.bare != *who.bare_str();
    if room.occupants.iter().any(looks_like) || room.is_reserved(nick, who.bare_str()) {
        return Err(Condition::Conflict.into());
    }
    Ok(())
}

/// The content of a presence that the room passes on: without what only a room may say.
pub(super) fn content(stanza: &Stanza) -> Rc<[u8]> {
    let mut out = Vec::new();
    for child in stanza.element().iter().flat_map(Element::children) {
        let own = stanza.to.as_ref().map_or("", Jid::bare_str);
        if !is_forged(own, &child.name, &child.ns, || Some(child.clone())) {
            child.write(ns::CLIENT, &mut out);
        }
    }
    out.into()
}

/// Somebody comes in; `created`: they have just made the room.
///
/// # Errors
/// What they get instead.
pub(super) fn enter(
    room: &mut Room,
    stanza: &Stanza,
    nick: &str,
    asked: &Element,
    created: bool,
    ctx: &mut Ctx<'_>,
) -> Result<(), StanzaError> {
    let who = &stanza.from;
    tokens::redeem(room, who, asked, ctx)?;
    admit(room, who, nick, asked)?;
    let presence = content(stanza);
    if presence.len() > limits::ROOM_PRESENCE_BYTES_MAX {
        return Err(Condition::PolicyViolation.into());
    }
    if room.occupants.is_empty() {
        history::recall(room, ctx);
    }
    let session = ctx.sessions().full(who).map(|(id, _)| id);
    let number = room.next_visit;
    room.next_visit = room.next_visit.wrapping_add(1);
    let visit = Visit { jid: who.clone(), session, number, presence: presence.clone() };
    let affiliation = room.affiliation(who);
    let role = room.named(nick).map_or(room.first_role(who), |at| room.occupants[at].role);
    versions::answer(room, &visit, asked, ctx);
    show_others(room, nick, role, &visit, ctx);
    let at = match room.named(nick) {
        Some(at) => {
            room.occupants[at].visits.push(visit);
            at
        }
        None => {
            let address = room.jid.with_resource(nick).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
            room.occupants.push(Occupant { address, bare: who.bare_str().into(), role, visits: vec![visit] });
            room.occupants.len() - 1
        }
    };
    let occupant = &room.occupants[at];
    let mut own = Vec::new();
    if room.settings.shows_addresses {
        own.push(100);
    }
    if room.settings.keeps_archive {
        own.push(170);
    }
    if created {
        own.push(201);
    }
    let shown = (affiliation, occupant.role);
    let plain = Word::default();
    let mut showing = Showing::new(room, occupant, shown, who, &presence, plain, ctx);
    for viewer in room.occupants.iter().filter(|viewer| viewer.address != occupant.address) {
        for visit in &viewer.visits {
            showing.to(room, viewer, visit, ctx);
        }
    }
    for visit in occupant.visits.iter().filter(|visit| visit.jid != *who) {
        showing.to(room, occupant, visit, ctx);
    }
    // Themselves last: then they know that they have seen everybody.
    if let Some(visit) = occupant.visits.iter().find(|visit| visit.jid == *who) {
        let word = Word { own, ..Word::default() };
        let showing = Showing::new(room, occupant, shown, who, &presence, word, ctx);
        showing.answering(stanza).to(room, occupant, visit, ctx);
        history::show(room, visit, asked, ctx);
        history::show_subject(room, visit, ctx);
    }
    log::debug!("{who} enters {}", occupant.address);
    Ok(())
}

/// Shows those who are there, but for one nickname, to a device of somebody with this role.
pub(super) fn show_others(room: &Room, nick: &str, role: Role, visit: &Visit, ctx: &mut Ctx<'_>) {
    // Only what the newcomer may see matters here.
    let viewer = Occupant { address: room.jid.clone(), bare: visit.jid.bare_str().into(), role, visits: Vec::new() };
    for other in room.occupants.iter().filter(|other| other.nick() != nick) {
        let Some(latest) = other.visits.last() else { continue };
        let shown = (room.affiliation(&latest.jid), other.role);
        let mut showing = Showing::new(room, other, shown, &latest.jid, &latest.presence, Word::default(), ctx);
        showing.to(room, &viewer, visit, ctx);
    }
}

/// A device says something new of itself, and so is the one of which newcomers are shown; what it had said before.
fn present(occupant: &mut Occupant, visit: usize, presence: Rc<[u8]>) -> Rc<[u8]> {
    let mut latest = occupant.visits.remove(visit);
    let before = std::mem::replace(&mut latest.presence, presence);
    occupant.visits.push(latest);
    before
}

/// Somebody who is in changes what is seen of them, or, having lost track, enters again.
pub(super) fn update(
    room: &mut Room,
    stanza: &Stanza,
    (at, visit): (usize, usize),
    asked: Option<&Element>,
    ctx: &mut Ctx<'_>,
) -> Result<(), StanzaError> {
    let presence = content(stanza);
    if presence.len() > limits::ROOM_PRESENCE_BYTES_MAX {
        return Err(Condition::PolicyViolation.into());
    }
    let before = present(&mut room.occupants[at], visit, presence.clone());
    let affiliation = room.affiliation(&stanza.from);
    let occupant = &room.occupants[at];
    let shown = (affiliation, occupant.role);
    let Some(asked) = asked else {
        let showing = Showing::new(room, occupant, shown, &stanza.from, &presence, Word::default(), ctx);
        showing.answering(stanza).everybody(room, ctx);
        return Ok(());
    };
    let Some(visit) = occupant.visits.last() else { return Ok(()) };
    if before != presence {
        // XEP-0045 §17.3: to the others it is a presence like any other.
        let mut showing = Showing::new(room, occupant, shown, &stanza.from, &presence, Word::default(), ctx);
        for viewer in &room.occupants {
            for other in viewer.visits.iter().filter(|other| other.jid != stanza.from) {
                showing.to(room, viewer, other, ctx);
            }
        }
    }
    versions::answer(room, visit, asked, ctx);
    show_others(room, occupant.nick(), occupant.role, visit, ctx);
    let mut own = Vec::new();
    if room.settings.shows_addresses {
        own.push(100);
    }
    if room.settings.keeps_archive {
        own.push(170);
    }
    let word = Word { own, ..Word::default() };
    let showing = Showing::new(room, occupant, shown, &stanza.from, &presence, word, ctx);
    showing.answering(stanza).to(room, occupant, visit, ctx);
    history::show(room, visit, asked, ctx);
    history::show_subject(room, visit, ctx);
    Ok(())
}

/// Somebody who is in takes another nickname, with all devices; XEP-0045 §7.6.
pub(super) fn rename(
    room: &mut Room,
    stanza: &Stanza,
    at: usize,
    nick: &str,
    ctx: &mut Ctx<'_>,
) -> Result<(), StanzaError> {
    name(room, &stanza.from, nick)?;
    if room.named(nick).is_some() {
        // Another one of the same person.
        return Err(Condition::Conflict.into());
    }
    if room.occupants[at].role == Role::Visitor {
        // XEP-0045 §7.6: a room may forbid it to those who have no voice, who could speak that way.
        return Err(Condition::NotAllowed.into());
    }
    let address = room.jid.with_resource(nick).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
    let affiliation = room.affiliation(&stanza.from);
    let occupant = &room.occupants[at];
    let word = Word { nick: Some(nick.to_owned()), statuses: vec![303], ..Word::default() };
    let nothing: Rc<[u8]> = Rc::from([]);
    let shown = (affiliation, occupant.role);
    Showing::new(room, occupant, shown, &stanza.from, &nothing, word, ctx).everybody(room, ctx);
    let presence = content(stanza);
    let occupant = &mut room.occupants[at];
    occupant.address = address;
    if let Some(visit) = occupant.visits.iter().position(|visit| visit.jid == stanza.from) {
        present(occupant, visit, presence.clone());
    }
    let occupant = &room.occupants[at];
    let showing = Showing::new(room, occupant, shown, &stanza.from, &presence, Word::default(), ctx);
    showing.answering(stanza).everybody(room, ctx);
    Ok(())
}
