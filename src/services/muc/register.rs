//! Registering with a room: a nickname that is one's own, and membership.
//!
//! Source: XEP-0045 §7.10, §9.9, XEP-0077. An open room takes everybody at once. One for members only, or a
//! moderated one, asks its admins: those
//! who are in it, and the others by a message that waits for them; whoever of them answers first decides. The form that they
//! send back names who it is about, so that nothing waits in the store. Invariant: nobody asks the same admins twice a day.

use std::collections::BTreeMap;

use super::{admin, invitations, messages::is_staff, outgoing::Word, room::Room};
use crate::{
    domain::{
        ids::Time,
        rooms::{self, Affiliation, Standing},
    },
    limits,
    router::{
        context::Ctx,
        service::{Iq, Leg, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        ns,
        stanza::Stanza,
    },
};

/// The form, XEP-0045 §15.5.1.
pub(super) const FORM: &str = "http://jabber.org/protocol/muc#register";
const NICK: &str = "muc#register_roomnick";
const ALLOW: &str = "muc#register_allow";
/// Whom an approval is about; beside the fields of §9.9, which lets others be added. Named as in a request for a voice.
const WHO: &str = "muc#jid";

/// When people asked rooms last, by room and bare address.
#[derive(Debug, Default)]
pub(super) struct Requests(BTreeMap<(Box<str>, Box<str>), Time>);

impl Requests {
    /// Notes that somebody asks a room; whether its admins have to be told.
    ///
    /// # Errors
    /// `resource-constraint` if too many people ask, be it here or of one domain elsewhere.
    fn note(&mut self, room: &Jid, who: &Jid, is_ours: bool, now: Time) -> Result<bool, StanzaError> {
        self.0.retain(|_, at| at.plus_ms(limits::ROOM_REQUEST_S * 1_000) > now);
        let key = (room.as_str().into(), who.bare_str().into());
        if self.0.contains_key(&key) {
            return Ok(false);
        }
        let of_domain = |of: &str| of.rsplit_once('@').is_some_and(|(_, domain)| domain == who.domain());
        let neighbours = self.0.keys().filter(|(_, who)| !is_ours && of_domain(who)).count();
        if self.0.len() >= limits::ROOM_REQUESTS_MAX || neighbours >= limits::ROOM_REQUESTS_PER_PEER_MAX {
            return Err(StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait));
        }
        self.0.insert(key, now);
        Ok(true)
    }

    /// A room is gone: nobody has asked the next one of this name.
    pub fn forget(&mut self, room: &Jid) {
        self.0.retain(|(of, _), _| **of != *room.as_str());
    }
}

/// A request in `jabber:iq:register` to a room.
pub(super) fn answer(
    room: &mut Room,
    requests: &mut Requests,
    iq: &Iq<'_>,
    ctx: &mut Ctx<'_>,
) -> Result<Reply, StanzaError> {
    let own = room.affiliation(iq.from);
    if own == Affiliation::Outcast {
        return Err(Condition::NotAllowed.into());
    }
    let bare = iq.from.bare();
    let known = room.standings.get(bare.as_str()).cloned().unwrap_or_default();
    if !iq.is_set() {
        return Ok(question(known.nick).into());
    }
    if iq.payload.find("remove", ns::REGISTER).is_some() {
        return withdraw(room, &bare, known, ctx);
    }
    let form = Form::find_in(iq.payload)?.ok_or(StanzaError::new(Condition::BadRequest))?;
    if form.form_type().is_some_and(|of| of != FORM) {
        return Err(Condition::BadRequest.into());
    }
    let nick = form.value(NICK).ok_or(StanzaError::new(Condition::BadRequest))?;
    let nick = nickname(room, &bare, nick)?;
    // What brings more than a nickname, to enter or to be heard, the staff gives.
    if own == Affiliation::None && (room.settings.is_members_only || room.settings.is_moderated) {
        if requests.note(&room.jid, &bare, ctx.is_local(&bare), ctx.now)? {
            ask(room, &bare, &nick, ctx);
        }
        return Ok(Reply::Empty);
    }
    enrol(room, &bare, nick, known.reason, ctx)?;
    Ok(Reply::Empty)
}

/// What has to be told to register, or that it has been done (§7.10).
fn question(nick: Option<String>) -> Element {
    const ASKED: &str = "Choose the nickname that shall be yours in this room.";
    let query = Element::new("query", ns::REGISTER);
    if let Some(nick) = nick {
        return query.child(Element::new("registered", ns::REGISTER)).leaf("username", nick);
    }
    let form = Form::typed(FormType::Form, FORM)
        .title("Registration")
        .instructions(ASKED)
        .field(Field::new(NICK, FieldType::TextSingle).label("Nickname").required());
    query.leaf("instructions", ASKED).child(form.element())
}

/// XEP-0077 §3.2: what was registered is given up.
fn withdraw(room: &mut Room, who: &Jid, known: Standing, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    if room.affiliation(who) == Affiliation::Member {
        admin::affiliate(room, who, Affiliation::None, None, None, None, ctx)?;
        return Ok(Reply::Empty);
    }
    let standing = Standing { nick: None, ..known };
    rooms::put_standing(&mut ctx.store(), room.id, who.as_str(), &standing);
    match standing.affiliation() == Affiliation::None {
        true => room.standings.remove(who.as_str()),
        false => room.standings.insert(who.as_str().into(), standing),
    };
    Ok(Reply::Empty)
}

/// The nickname as it is written in addresses, if somebody may have it.
fn nickname(room: &Room, who: &Jid, nick: &str) -> Result<String, StanzaError> {
    let fits = !nick.trim().is_empty() && nick.len() <= limits::ROOM_NICK_BYTES_MAX;
    let address =
        room.jid.with_resource(nick).ok().filter(|_| fits).ok_or(StanzaError::new(Condition::NotAcceptable))?;
    let nick = address.resource().unwrap_or_default();
    let used = room.named(nick).is_some_and(|at| *room.occupants[at].bare != *who.bare_str());
    match used || room.is_reserved(nick, who.bare_str()) {
        true => Err(Condition::Conflict.into()),
        false => Ok(nick.to_owned()),
    }
}

/// Somebody is a member from now on, if they were less.
fn enrol(
    room: &mut Room,
    who: &Jid,
    nick: String,
    reason: Option<String>,
    ctx: &mut Ctx<'_>,
) -> Result<(), StanzaError> {
    let own = room.affiliation(who);
    // Anybody may take a name in an open room: half of the list is left for those whom the staff writes down, the banned
    // among them.
    if own == Affiliation::None && room.standings.len() >= limits::ROOM_AFFILIATIONS_MAX / 2 {
        return Err(StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait));
    }
    let becomes = own.max(Affiliation::Member);
    admin::affiliate(room, who, becomes, Some(nick), reason, None, ctx)?;
    if becomes == own {
        // A member who registers is shown as one who becomes a member is.
        for at in room.of(who.as_str()) {
            admin::show_again(room, at, Word::default(), ctx);
        }
    }
    Ok(())
}

/// Puts the request before the room's admins, §9.9.
fn ask(room: &Room, who: &Jid, nick: &str, ctx: &mut Ctx<'_>) {
    let form = Form::typed(FormType::Form, FORM)
        .title("Registration request")
        .instructions("To let this person in as a member, check the box and confirm. To leave it, cancel.")
        .field(Field::new(WHO, FieldType::JidSingle).label("Address").value(who.as_str().to_owned()))
        .field(Field::new(NICK, FieldType::TextSingle).label("Desired nickname").value(nick.to_owned()))
        .field(Field::boolean(ALLOW, false).label("Allow this person to register with the room?"));
    let staff = room.standings.iter().filter(|(_, standing)| is_staff(standing.affiliation()));
    for admin in staff.map(|(admin, _)| admin).take(limits::ROOM_ADMINS_ASKED_MAX) {
        let message = Element::new("message", ns::CLIENT).attr("id", ctx.token());
        let within: Vec<Jid> =
            room.of(admin).iter().flat_map(|at| &room.occupants[*at].visits).map(|v| v.jid.clone()).collect();
        if !within.is_empty() {
            for jid in within {
                let message = Stanza::build(&message.clone().child(form.element()), room.jid.clone(), Some(jid));
                ctx.send(Leg::Inbound, message);
            }
        } else if let Ok(absent) = Jid::parse(admin) {
            // With words for clients that know no forms; so it waits for those who are not connected, too.
            let text = format!("{who} would like to become a member of {}, as “{nick}”.", room.jid);
            let message = message.leaf("body", text).child(form.element());
            ctx.send(Leg::Inbound, Stanza::build(&message, room.jid.clone(), Some(absent)));
        }
    }
}

/// An admin has answered.
///
/// # Errors
/// `forbidden` if it is none, `conflict` if the nickname is another's by now.
pub(super) fn decide(room: &mut Room, by: &Jid, form: &Form, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    if !is_staff(room.affiliation(by)) {
        return Err(Condition::Forbidden.into());
    }
    if form.kind != FormType::Submit || form.bool(ALLOW) != Some(true) {
        return Ok(());
    }
    let who = form.value(WHO).ok_or(StanzaError::new(Condition::BadRequest))?;
    let who = Jid::parse(who).map_err(|_| StanzaError::new(Condition::JidMalformed))?.bare();
    if who.local().is_none() || room.affiliation(&who) != Affiliation::None {
        // Another admin was quicker; who is banned stays so.
        return Ok(());
    }
    let nick = nickname(room, &who, form.value(NICK).unwrap_or_default())?;
    enrol(room, &who, nick, None, ctx)?;
    invitations::welcome(room, &by.bare(), &who, ctx);
    Ok(())
}
