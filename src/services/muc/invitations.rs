//! What a room carries between people who need not be in it: invitations, refusals, requests for a voice.
//!
//! Source: XEP-0045 §7.8.2, §7.13, §8.6, §9.5, §9.9. Invariant: an invitation names its real sender; into a members-only room only
//! those invite who may, and whom they invite becomes a member.

use super::{admin, messages::tell, register, room::Room};
use crate::{
    domain::{
        accounts,
        rooms::{Affiliation, Role},
    },
    limits,
    router::{context::Ctx, service::Leg},
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        form::{Field, FieldType, Form, FormType},
        jid::Jid,
        ns,
        stanza::Stanza,
    },
};

/// The form by which a voice is asked for and given, XEP-0045 §15.5.2.
const REQUEST: &str = "http://jabber.org/protocol/muc#request";

/// A message of type normal to the room.
pub(super) fn mediate(room: &mut Room, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    if let Some(x) = stanza.find("x", ns::MUC_USER) {
        let invites: Vec<&Element> = x.children().filter(|child| child.is("invite", ns::MUC_USER)).collect();
        if invites.len() > limits::ROOM_INVITES_MAX {
            return Err(Condition::PolicyViolation.into());
        }
        for asked in &invites {
            invite(room, stanza, asked, ctx)?;
        }
        if !invites.is_empty() {
            return Ok(());
        }
        if let Some(refusal) = x.find("decline", ns::MUC_USER) {
            return decline(room, stanza, refusal, ctx);
        }
    }
    match stanza.find("x", ns::DATA).as_ref().map(Form::read).transpose()? {
        Some(form) if form.form_type() == Some(REQUEST) => voice(room, stanza, &form, ctx),
        Some(form) if form.form_type() == Some(register::FORM) => register::decide(room, &stanza.from, &form, ctx),
        _ => Err(Condition::BadRequest.into()),
    }
}

fn addressee(asked: &Element) -> Result<Jid, StanzaError> {
    let to = asked.get("to").ok_or(StanzaError::new(Condition::BadRequest))?;
    Jid::parse(to).map_err(|_| Condition::JidMalformed.into())
}

/// XEP-0045 §7.8.2.
fn invite(room: &mut Room, stanza: &Stanza, asked: &Element, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    if room.place(&stanza.from).is_none() {
        return Err(StanzaError::new(Condition::NotAcceptable).kind(ErrorKind::Cancel));
    }
    let to = addressee(asked)?;
    let (inviter, invitee) = (room.affiliation(&stanza.from), room.affiliation(&to));
    let opens = room.settings.is_members_only && invitee < Affiliation::Member;
    if invitee == Affiliation::Outcast && inviter < Affiliation::Admin {
        return Err(Condition::Forbidden.into());
    }
    if opens && inviter < Affiliation::Admin && !(room.settings.members_invite && inviter == Affiliation::Member) {
        return Err(Condition::Forbidden.into());
    }
    if to.local().is_some() && ctx.is_local(&to) && !accounts::exists(&ctx.store(), &to) {
        // Our own people are told that they mistyped it; to others it would tell which accounts there are (S12).
        return if ctx.is_local(&stanza.from) { Err(Condition::ItemNotFound.into()) } else { Ok(()) };
    }
    if opens {
        admin::affiliate(room, &to, Affiliation::Member, None, None, None, ctx)?;
    }
    let id = stanza.id_raw().map(|id| crate::wire::framer::unescape(id).into_owned());
    send(room, &stanza.from, &to, asked, id, ctx);
    Ok(())
}

/// XEP-0045 §9.5: whoever becomes a member of a room for members only is told so by an invitation; for those who become it
/// otherwise than by one.
pub(super) fn welcome(room: &Room, by: &Jid, member: &Jid, ctx: &mut Ctx<'_>) {
    let is_within = !room.of(member.bare_str()).is_empty();
    if room.settings.is_members_only && !is_within && !room.is_locked {
        let id = ctx.token();
        send(room, by, member, &Element::new("invite", ns::MUC_USER), Some(id), ctx);
    }
}

/// The invitation as the room passes it on: with its password, and in the form of XEP-0249 as well.
fn send(room: &Room, by: &Jid, to: &Jid, asked: &Element, id: Option<String>, ctx: &mut Ctx<'_>) {
    let reason = asked.leaf_text("reason").filter(|reason| !reason.is_empty());
    let mut invite = Element::new("invite", ns::MUC_USER).attr("from", by.as_str());
    invite = invite.with(reason.as_ref().map(|why| Element::new("reason", ns::MUC_USER).text(why.as_str())));
    // A conversation that goes on here, XEP-0045 §7.9.
    invite = invite.with(asked.find("continue", ns::MUC_USER).cloned());
    let password =
        room.settings.password.as_ref().map(|word| Element::new("password", ns::MUC_USER).text(word.as_str()));
    let x = Element::new("x", ns::MUC_USER).child(invite).with(password);
    // For clients that know only this form, XEP-0249 §3.
    let direct = Element::new("x", ns::CONFERENCE)
        .attr("jid", room.jid.as_str())
        .attr_if("password", room.settings.password.as_deref())
        .attr_if("reason", reason);
    let message = Element::new("message", ns::CLIENT).attr_if("id", id).child(x).child(direct);
    ctx.send(Leg::Inbound, Stanza::build(&message, room.jid.clone(), Some(to.clone())));
}

fn decline(room: &Room, stanza: &Stanza, refusal: &Element, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let to = addressee(refusal)?;
    // Only to those who can have invited: occupants, by either of their addresses. Whoever declines is not in the room, and
    // does not learn who is.
    let by_nick = to.resource().filter(|_| to.bare_str() == room.jid.as_str()).and_then(|nick| room.named(nick));
    let at = by_nick.or_else(|| room.of(to.bare_str()).first().copied());
    let Some(at) = at.filter(|_| room.affiliation(&stanza.from) != Affiliation::Outcast) else { return Ok(()) };
    let reason = refusal.leaf_text("reason").map(|why| Element::new("reason", ns::MUC_USER).text(why));
    let decline = Element::new("decline", ns::MUC_USER).attr("from", stanza.from.bare_str()).with(reason);
    let x = Element::new("x", ns::MUC_USER).child(decline);
    tell(room, at, &Element::new("message", ns::CLIENT).child(x), ctx);
    Ok(())
}

/// XEP-0045 §7.13: a visitor asks; §8.6: a moderator allows it.
fn voice(room: &mut Room, stanza: &Stanza, form: &Form, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let (at, _) = room.place(&stanza.from).ok_or(StanzaError::new(Condition::NotAcceptable).kind(ErrorKind::Cancel))?;
    if room.occupants[at].role == Role::Moderator && form.value("muc#roomnick").is_some() {
        let nick = form.value("muc#roomnick").unwrap_or_default();
        if form.kind == FormType::Cancel || form.bool("muc#request_allow") != Some(true) {
            return Ok(());
        }
        let asked = room.named(nick).ok_or(StanzaError::new(Condition::ItemNotFound))?;
        if room.occupants[asked].role == Role::Visitor {
            admin::give_role(room, asked, Role::Participant, None, None, ctx);
        }
        return Ok(());
    }
    if !room.settings.visitors_ask || room.occupants[at].role != Role::Visitor {
        return Err(Condition::Forbidden.into());
    }
    let visitor = &room.occupants[at];
    let question = Form::typed(FormType::Form, REQUEST)
        .title("Voice request")
        .instructions("To approve this request for voice, select \"Grant voice\" and confirm.")
        .field(
            Field::new("muc#role", FieldType::ListSingle)
                .label("Requested role")
                .value("participant")
                .option("Participant", "participant"),
        )
        .field(Field::new("muc#jid", FieldType::JidSingle).label("Address").value(stanza.from.as_str().to_owned()))
        .field(Field::new("muc#roomnick", FieldType::TextSingle).label("Nickname").value(visitor.nick().to_owned()))
        .field(Field::boolean("muc#request_allow", false).label("Grant voice to this person?"));
    let message = Element::new("message", ns::CLIENT).child(question.element());
    for (at, _) in room.occupants.iter().enumerate().filter(|(_, one)| one.role == Role::Moderator) {
        tell(room, at, &message, ctx);
    }
    Ok(())
}
