//! Registering with a room: a nickname that is one's own, and membership.
//!
//! Source: XEP-0045 §7.10, XEP-0077. Where a room wants to choose its members, registering is forbidden instead of being
//! put before its owners (a MAY): they are asked in person.

use super::{admin, outgoing::Word, room::Room};
use crate::{
    domain::rooms::{self, Affiliation},
    limits,
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        form::{Field, FieldType, Form, FormType},
        ns,
    },
};

/// The form, XEP-0045 §15.5.1.
const FORM: &str = "http://jabber.org/protocol/muc#register";
const NICK: &str = "muc#register_roomnick";

/// A request in `jabber:iq:register` to a room.
pub(super) fn answer(room: &mut Room, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let own = room.affiliation(iq.from);
    let known = room.standings.get(iq.from.bare_str()).cloned().unwrap_or_default();
    if own == Affiliation::Outcast || (own == Affiliation::None && room.settings.is_members_only) {
        return Err(Condition::NotAllowed.into());
    }
    if !iq.is_set() {
        let query = Element::new("query", ns::REGISTER);
        if let Some(nick) = known.nick {
            return Ok(query.child(Element::new("registered", ns::REGISTER)).leaf("username", nick).into());
        }
        let form = Form::typed(FormType::Form, FORM)
            .title("Registration")
            .instructions("Choose the nickname that shall be yours in this room.")
            .field(Field::new(NICK, FieldType::TextSingle).label("Nickname").required());
        let query = query.leaf("instructions", "Choose the nickname that shall be yours in this room.");
        return Ok(query.child(form.element()).into());
    }
    let bare = iq.from.bare();
    if iq.payload.find("remove", ns::REGISTER).is_some() {
        if own == Affiliation::Member {
            admin::affiliate(room, &bare, Affiliation::None, None, None, None, ctx)?;
            return Ok(Reply::Empty);
        }
        let standing = rooms::Standing { nick: None, ..known };
        rooms::put_standing(&mut ctx.store(), room.id, bare.as_str(), &standing);
        match standing.affiliation() == Affiliation::None {
            true => room.standings.remove(bare.as_str()),
            false => room.standings.insert(bare.as_str().into(), standing),
        };
        return Ok(Reply::Empty);
    }
    let form = Form::find_in(iq.payload)?.ok_or(StanzaError::new(Condition::BadRequest))?;
    if form.form_type().is_some_and(|of| of != FORM) {
        return Err(Condition::BadRequest.into());
    }
    let nick = form.value(NICK).unwrap_or_default();
    let fits = !nick.trim().is_empty() && nick.len() <= limits::ROOM_NICK_BYTES_MAX;
    let address =
        room.jid.with_resource(nick).ok().filter(|_| fits).ok_or(StanzaError::new(Condition::NotAcceptable))?;
    let nick = address.resource().unwrap_or_default();
    let used = room.named(nick).is_some_and(|at| *room.occupants[at].bare != *bare.as_str());
    if used || room.is_reserved(nick, bare.as_str()) {
        return Err(Condition::Conflict.into());
    }
    // Anybody may take a name in an open room: half of the list is left for those whom the staff writes down, the banned
    // among them.
    if own == Affiliation::None && room.standings.len() >= limits::ROOM_AFFILIATIONS_MAX / 2 {
        return Err(StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait));
    }
    // Who is nothing to the room yet becomes a member; who is more than that stays it.
    let becomes = own.max(Affiliation::Member);
    admin::affiliate(room, &bare, becomes, Some(nick.to_owned()), known.reason, None, ctx)?;
    if let Some((at, _)) = room.place(iq.from).filter(|_| becomes == own) {
        // A member who registers is shown as one who becomes a member is.
        admin::show_again(room, at, Word::default(), ctx);
    }
    Ok(Reply::Empty)
}
