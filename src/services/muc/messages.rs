//! What occupants say: to everybody, to one of them, and about the room.
//!
//! Source: XEP-0045 §7.4, §7.5, §8.1, §7.8, §7.13; XEP-0359 §5; XEP-0421. Walk of a message to everybody: may they speak;
//! what only the room may say is taken out; the room's ids are put in; the archive keeps it; everybody gets the same bytes.

use std::rc::Rc;

use super::{
    history, invitations,
    outgoing::{broadcast, give, item, stamp},
    room::{Line, Occupant, Room},
};
use crate::{
    domain::rooms::{Affiliation, Role, Subject, Whisper, senders},
    limits,
    router::{
        context::Ctx,
        service::{Flow, Leg, Notice},
    },
    wire::{
        element::{Element, Node},
        error::{Condition, ErrorKind, StanzaError},
        jid::Jid,
        ns,
        stanza::{Stanza, Type},
    },
};

/// A message to the room itself.
pub(super) fn to_room(room: &mut Room, stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
    match stanza.ty {
        Type::Groupchat => match speak(room, stanza, ctx) {
            Ok(()) => Flow::Taken("said in a room"),
            Err(error) => Flow::Bounce(error),
        },
        Type::Error => Flow::Taken("an error to a room"),
        _ => match invitations::mediate(room, stanza, ctx) {
            Ok(()) => Flow::Taken("carried by a room"),
            Err(error) => Flow::Bounce(error),
        },
    }
}

/// XEP-0045 §7.4.
fn speak(room: &mut Room, stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let (at, _) = room.place(&stanza.from).ok_or(StanzaError::new(Condition::NotAcceptable).kind(ErrorKind::Cancel))?;
    let occupant = &room.occupants[at];
    let has = |name| stanza.has(name, ns::CLIENT);
    let is_subject = has("subject") && !has("body") && !has("thread");
    if is_subject {
        may_set_subject(room, occupant.role)?;
    } else if occupant.role < Role::Participant {
        return Err(Condition::Forbidden.into());
    }
    if has("body") {
        slowly(room, &stanza.from, ctx)?;
    }
    let occupant = &room.occupants[at];
    let (from, bare, role, real) =
        (occupant.address.clone(), occupant.bare.clone(), occupant.role, stanza.from.clone());
    clean(room, stanza);
    stanza.from = from;
    stanza.to = None;
    let mut stamps = Vec::with_capacity(192);
    stamp(room, &bare, ctx, &mut stamps);
    if is_subject {
        set_subject(room, stanza, &stamps, ctx)?;
    }
    let traits = stanza.traits();
    let is_kept = !traits.no_store && !traits.no_permanent_store && (traits.content || traits.store);
    // XEP-0045 §7.2.13: former subjects are no part of the history, and who has read what would fill it.
    let is_history = is_kept && (traits.body || !(is_subject || traits.im_payload));
    if room.settings.keeps_archive && is_kept {
        let mut kept = stanza.clone();
        let item = item(ns::MUC_USER, room.affiliation(&real), Some(role), Some(real.as_str()), None);
        kept.add(&senders::note(&item, room.settings.shows_addresses));
        kept.add(&stamps);
        stanza.add(&stamps);
        let id = history::keep(room, &kept, ctx);
        let known = ctx.stanza_id(room.id, room.jid.as_str(), id);
        if is_history {
            history::remember(room, Line { at_us: id.0, message: stanza.to_stored(), stamps: known.clone() });
        }
        stanza.add(&known);
    } else {
        stanza.add(&stamps);
        if is_history {
            let at_us = ctx.wall_us;
            history::remember(room, Line { at_us, message: stanza.to_stored(), stamps: Vec::new() });
        }
    }
    broadcast(room, stanza, ctx);
    if room.settings.is_members_only && traits.content {
        tell_members(room, &bare, stanza, ctx);
    }
    Ok(())
}

/// XEP-0500 §5: whether it is not too soon after what the same person said before.
fn slowly(room: &mut Room, who: &Jid, ctx: &Ctx<'_>) -> Result<(), StanzaError> {
    let pause_ms = u64::from(room.settings.slow_s) * 1_000;
    if pause_ms == 0 || is_staff(room.affiliation(who)) {
        return Ok(());
    }
    let now = ctx.now;
    // Nobody is remembered for longer than it matters.
    room.spoke.retain(|_, at| at.plus_ms(pause_ms) > now);
    if room.spoke.contains_key(who.bare_str()) || room.spoke.len() >= limits::ROOM_SPOKE_MAX {
        let text = format!("This room is in slow mode: one message in {} seconds.", room.settings.slow_s);
        let text = Element::new("text", ns::STANZA_ERRORS).attr("xml:lang", "en").text(text);
        return Err(StanzaError::new(Condition::PolicyViolation).kind(ErrorKind::Wait).with(text));
    }
    room.spoke.insert(who.bare_str().into(), now);
    Ok(())
}

/// Members of ours who are not connected hear of it by push.
fn tell_members(room: &Room, speaker: &str, stanza: &Stanza, ctx: &mut Ctx<'_>) {
    let standings = room.standings.iter().filter(|(_, standing)| standing.affiliation() >= Affiliation::Member);
    let members = standings.map(|(who, _)| &**who).filter(|who| *who != speaker);
    let members = members.filter(|who| who.split_once('@').is_some_and(|(_, domain)| ctx.core.config.serves(domain)));
    // Whoever is connected with every device is not looked at any further.
    let away = members.filter(|who| ctx.sessions().online(who).is_none_or(|online| online.lists.pushes));
    let away = away.filter_map(|who| Jid::parse(who).ok());
    let members: Rc<[Jid]> = away.take(limits::ROOM_WAKES_MAX).collect();
    if !members.is_empty() {
        ctx.notice(Notice::SaidToMembers { members, stanza: Rc::new(stanza.clone()) });
    }
}

/// Takes out what only the room may say (S27, S28).
pub(super) fn clean(room: &Room, stanza: &mut Stanza) {
    let own = room.jid.as_str();
    stanza.cut(|name, namespace, bytes| is_forged(own, name, namespace, || Element::parse(bytes, ns::CLIENT).ok()));
}

/// Whether nobody but the room `own` says such a thing: who is what to it, its ids, its memory (S27, S28).
///
/// What cannot be read on its own, because its prefix is bound outside, is not taken for harmless.
pub(super) fn is_forged(own: &str, name: &str, namespace: &str, read: impl FnOnce() -> Option<Element>) -> bool {
    let names_it = |attribute: &str| read().is_none_or(|element| attribute_is(&element, attribute, own));
    match namespace {
        ns::MUC_USER | ns::OCCUPANT_ID | ns::MUC | ns::HATS => true,
        ns::SID => name == "stanza-id" && names_it("by"),
        ns::DELAY => names_it("from"),
        ns::MAM => name == "result",
        _ => false,
    }
}

fn attribute_is(element: &Element, name: &str, value: &str) -> bool {
    element.get(name).is_some_and(|found| Jid::parse(found).map_or(found == value, |jid| jid.bare_str() == value))
}

fn may_set_subject(room: &Room, role: Role) -> Result<(), StanzaError> {
    let needed = if room.settings.participants_set_subject { Role::Participant } else { Role::Moderator };
    if role >= needed { Ok(()) } else { Err(Condition::Forbidden.into()) }
}

/// XEP-0045 §8.1; `stamps`: who set it, whoever has the nickname later (XEP-0421 §4).
fn set_subject(room: &mut Room, stanza: &Stanza, stamps: &[u8], ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let mut elements = Vec::new();
    for child in stanza.element().iter().flat_map(Element::children) {
        if child.is("subject", ns::CLIENT) {
            child.write(ns::CLIENT, &mut elements);
        }
    }
    if elements.len() > limits::ROOM_SUBJECT_BYTES_MAX {
        return Err(Condition::PolicyViolation.into());
    }
    elements.extend_from_slice(stamps);
    let nick = stanza.from.resource().unwrap_or_default().to_owned();
    room.subject = Subject { nick, at_us: ctx.wall_us, elements };
    if room.settings.is_persistent {
        room.save(&mut ctx.store());
    }
    Ok(())
}

/// A message to one occupant, XEP-0045 §7.5.
pub(super) fn whisper(room: &Room, stanza: &mut Stanza, nick: &str, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    if stanza.ty == Type::Groupchat {
        return Err(Condition::BadRequest.into());
    }
    let (at, _) = room.place(&stanza.from).ok_or(StanzaError::new(Condition::NotAcceptable).kind(ErrorKind::Cancel))?;
    let sender = &room.occupants[at];
    let to = room.named(nick).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let to = &room.occupants[to];
    // Where some may, all may write to a moderator: how else would a visitor get a voice?
    let wrote = |from: &Occupant, to: &Occupant| {
        let whisper = room.settings.whisper;
        whisper.allows(from.role) || (to.role == Role::Moderator && whisper != Whisper::Nobody)
    };
    let may = if stanza.ty == Type::Error { wrote(to, sender) } else { wrote(sender, to) };
    if !may {
        return Err(Condition::Forbidden.into());
    }
    clean(room, stanza);
    let mut out = stanza.clone();
    out.from = sender.address.clone();
    let mut stamps = Vec::with_capacity(192);
    stamp(room, &sender.bare, ctx, &mut stamps);
    // XEP-0045 §7.5: so that those who see it know that it came by way of a room (XEP-0280 §6.1).
    Element::new("x", ns::MUC_USER).write(ns::CLIENT, &mut stamps);
    out.add(&stamps);
    if *to.bare == *sender.bare {
        // To oneself, by way of the room: one's archive has it as what was sent and as what came.
        out.filed = None;
    }
    for visit in &to.visits {
        let one = out.readdressed(Some(visit.jid.clone()));
        match visit.session {
            Some(_) if ctx.blocks(&visit.jid, &out.from) => {}
            // By way of the recipient's account: its archive keeps private messages.
            _ => ctx.send(Leg::Inbound, one),
        }
    }
    Ok(())
}

/// Carries an answer or a request between two occupants.
pub(super) fn forward(stanza: &Stanza, from: Jid, to: Jid, id: &str, ctx: &mut Ctx<'_>) {
    let Some(mut element) = stanza.element() else { return };
    element.attrs.retain(|(name, _)| name != "id");
    // XEP-0045 §17.4: where an error arose is a real address.
    for node in &mut element.nodes {
        if let Node::Element(error) = node
            && error.is("error", ns::CLIENT)
        {
            error.attrs.retain(|(name, _)| name != "by");
        }
    }
    ctx.send(Leg::Inbound, Stanza::build(&element.attr("id", id), from, Some(to)));
}

/// Tells an occupant something in the room's name.
pub(super) fn tell(room: &Room, at: usize, message: &Element, ctx: &mut Ctx<'_>) {
    let stanza = Stanza::build(message, room.jid.clone(), None);
    for visit in &room.occupants[at].visits {
        give(visit, &room.jid, stanza.chunk_to(Some(&visit.jid)), ctx);
    }
}

/// Whether an affiliation may do what only owners and admins may.
pub(super) fn is_staff(affiliation: Affiliation) -> bool {
    affiliation >= Affiliation::Admin
}
