//! Requests between occupants, and their answers.
//!
//! Source: XEP-0045 §6.6, §17.4; XEP-0410 §3. What passes carries, in its id, which device asked and which was
//! asked: so the room remembers nothing of it. Invariant: only occupants ask, and only who was asked answers.

use super::{
    messages::forward,
    room::{Room, Visit},
};
use crate::{
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        error::{Condition, ErrorKind, StanzaError},
        framer,
        jid::Jid,
        ns,
        stanza::Stanza,
    },
};

/// A request of one occupant to another, by nickname.
pub(super) fn ask(room: &Room, iq: &Iq<'_>, nick: &str, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    // XEP-0045 §6.6, and XEP-0410 §3.1: who is not in learns it so.
    let outside = match iq.payload.ns.as_ref() {
        ns::DISCO_INFO | ns::DISCO_ITEMS => Condition::BadRequest.into(),
        _ => outside(),
    };
    let (at, visit) = room.place(iq.from).ok_or(outside)?;
    let asker = &room.occupants[at];
    if asker.nick() == nick && iq.payload.is("ping", ns::PING) {
        // XEP-0410 §3.2: the room answers in the client's place.
        return Ok(Reply::Empty);
    }
    let to = room.named(nick).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let Some(latest) = room.occupants[to].visits.last() else { return Err(Condition::ItemNotFound.into()) };
    // A vCard is the account's, not the device's (XEP-0054 §3.3).
    let to = if iq.payload.ns == ns::VCARD { latest.jid.bare() } else { latest.jid.clone() };
    let id = framer::unescape(iq.stanza.id_raw().unwrap_or_default()).into_owned();
    let id = format!("{:x}.{:x}.{id}", asker.visits[visit].number, latest.number);
    forward(iq.stanza, asker.address.clone(), to, &id, ctx);
    Ok(Reply::Later)
}

/// What whoever is not in is told.
pub(super) fn outside() -> StanzaError {
    StanzaError::new(Condition::NotAcceptable).kind(ErrorKind::Cancel)
}

/// The answer to it, to the nickname of who asked.
pub(super) fn answered(room: &Room, stanza: &Stanza, nick: &str, ctx: &mut Ctx<'_>) {
    let Some(at) = room.named(nick) else { return };
    let id = framer::unescape(stanza.id_raw().unwrap_or_default()).into_owned();
    let mut parts = id.splitn(3, '.');
    let mut number = || parts.next().and_then(|number| u32::from_str_radix(number, 16).ok());
    let (number, asked) = (number(), number());
    let (Some(asked), Some(id)) = (asked, parts.next()) else { return };
    let Some(from) = answerer(room, &stanza.from, asked) else { return };
    let Some(visit) = room.occupants[at].visits.iter().find(|visit| Some(visit.number) == number) else { return };
    forward(stanza, from, visit.jid.clone(), id, ctx);
}

/// The occupant who was asked by way of this visit, if it is they who answer: by a full address, or, for the account, by the
/// bare one.
fn answerer(room: &Room, from: &Jid, asked: u32) -> Option<Jid> {
    let is_it = |visit: &Visit| visit.number == asked && (from.is_bare() || visit.jid == *from);
    let mut own = room.occupants.iter().filter(|occupant| *occupant.bare == *from.bare_str());
    own.find(|occupant| occupant.visits.iter().any(is_it)).map(|occupant| occupant.address.clone())
}
