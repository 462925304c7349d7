//! What owners do: set the room up, and destroy it.
//!
//! Source: XEP-0045 §10.1, §10.2, §10.9. Invariant: a form changes the fields that it holds, and no others; a change that
//! is refused changes nothing.

use super::{
    form, leaving,
    outgoing::{Word, announce},
    room::Room,
};
use crate::{
    domain::rooms::{self, Affiliation, Role, Settings},
    router::{
        context::Ctx,
        service::{Iq, Notice, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        form::{Form, FormType},
        jid::Jid,
        ns,
    },
};

/// What becomes of the room.
pub(super) enum After {
    /// It goes on.
    Stays(Reply),
    /// It is to be forgotten.
    Goes,
}

/// A request in `muc#owner`.
pub(super) fn answer(room: &mut Room, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<After, StanzaError> {
    if room.affiliation(iq.from) != Affiliation::Owner && !ctx.is_admin(iq.from) {
        return Err(Condition::Forbidden.into());
    }
    if !iq.is_set() {
        return match iq.payload.children().next() {
            None => {
                let form = form::asked(&room.settings, room);
                Ok(After::Stays(Element::new("query", ns::MUC_OWNER).child(form).into()))
            }
            Some(_) => Err(Condition::BadRequest.into()),
        };
    }
    if let Some(destroy) = iq.payload.find("destroy", ns::MUC_OWNER) {
        self::destroy(room, Some(destroy), ctx)?;
        return Ok(After::Goes);
    }
    let form = Form::find_in(iq.payload)?.ok_or(StanzaError::new(Condition::BadRequest))?;
    match form.kind {
        // XEP-0045 §10.1.3: whoever gives up the set-up of a new room gives up the room.
        FormType::Cancel if room.is_locked => {
            self::destroy(room, None, ctx)?;
            Ok(After::Goes)
        }
        FormType::Cancel => Ok(After::Stays(Reply::Empty)),
        FormType::Submit => {
            let changed = form::read(&form, &room.settings)?;
            let lists = form::lists(&form)?;
            form::apply_lists(room, iq.from, &lists, ctx)?;
            configure(room, changed, ctx);
            Ok(After::Stays(Reply::Empty))
        }
        _ => Err(Condition::BadRequest.into()),
    }
}

/// The room is set up this way from now on; everybody is told what matters to them. XEP-0045 §10.2.1.
fn configure(room: &mut Room, changed: Settings, ctx: &mut Ctx<'_>) {
    let before = std::mem::replace(&mut room.settings, changed);
    let was_locked = std::mem::replace(&mut room.is_locked, false);
    let now = room.settings.clone();
    room.save(&mut ctx.store());
    if was_locked {
        // From now on each change is written as it is made.
        for (who, standing) in &room.standings {
            rooms::put_standing(&mut ctx.store(), room.id, who, standing);
        }
    }
    if before == now && !was_locked {
        return;
    }
    let mut codes = Vec::new();
    if before.keeps_archive != now.keeps_archive {
        codes.push(if now.keeps_archive { 170 } else { 171 });
    }
    if before.shows_addresses != now.shows_addresses {
        codes.push(if now.shows_addresses { 172 } else { 173 });
    }
    let quiet = Settings { keeps_archive: now.keeps_archive, shows_addresses: now.shows_addresses, ..before.clone() };
    if quiet != now {
        codes.push(104);
    }
    if !codes.is_empty() {
        announce(room, &codes, ctx);
    }
    if now.is_members_only && !before.is_members_only {
        // XEP-0045 §9.4 and §15.6.2: nobody stays who could not come in.
        while let Some(at) = room
            .occupants
            .iter()
            .position(|one| one.visits.last().is_some_and(|visit| room.affiliation(&visit.jid) < Affiliation::Member))
        {
            leaving::remove(room, at, Affiliation::None, Word::statuses(&[322]), ctx);
        }
    }
    if now.is_moderated != before.is_moderated {
        room.voices.clear();
        for at in 0..room.occupants.len() {
            let affiliation = room.occupants[at].visits.last().map(|visit| room.affiliation(&visit.jid));
            if affiliation == Some(Affiliation::None) && !now.is_moderated && room.occupants[at].role == Role::Visitor {
                room.occupants[at].role = Role::Participant;
                super::admin::show_again(room, at, Word::default(), ctx);
            }
        }
    }
}

/// The room ends: everybody is sent away (XEP-0045 §10.9), and what it kept goes.
pub(super) fn destroy(room: &mut Room, asked: Option<&Element>, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let venue = asked.and_then(|asked| asked.get("jid")).map(Jid::parse).transpose();
    let venue = venue.map_err(|_| StanzaError::new(Condition::JidMalformed).kind(ErrorKind::Modify))?;
    let mut told = Element::new("destroy", ns::MUC_USER).attr_if("jid", venue.as_ref().map(Jid::as_str));
    for name in ["password", "reason"] {
        if let Some(text) = asked.and_then(|asked| asked.leaf_text(name)) {
            told = told.leaf(name, text);
        }
    }
    while !room.occupants.is_empty() {
        let word = Word { destroy: Some(told.clone()), ..Word::default() };
        leaving::remove_alone(room, word, ctx);
    }
    forget(room, ctx);
    Ok(())
}

/// Nothing of the room is left in the store; its archive goes in steps.
pub(super) fn forget(room: &Room, ctx: &mut Ctx<'_>) {
    rooms::remove(&mut ctx.store(), &room.jid, room.id, &room.creator);
    ctx.notice(Notice::Archive { owner: room.id, is_gone: true });
}
