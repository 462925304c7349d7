//! Who is what to a room, told as changes since somebody knew it last.
//!
//! Source: XEP-0463 v0.2.0 (`urn:xmpp:muc:affiliations:1`). Every change of the lists makes a version; the change and every
//! presence in which somebody sees themselves name it; whoever enters with one is told what has changed since, or, if it is
//! not known any more, everything. Invariants: only those follow the lists who may read them (XEP-0045 §9.5, §10.5, §10.8);
//! bans are told to the staff alone, and to others as if those were nothing to the room; what somebody was before is told to
//! nobody.

use super::{
    messages::is_staff,
    outgoing::{give, item},
    room::{Room, Visit},
};
use crate::{
    domain::rooms::{Affiliation, Role, Standing},
    limits,
    router::context::Ctx,
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
        stanza::Stanza,
    },
};

/// A change, as the presence or message that tells it names it.
#[derive(Clone, Debug)]
pub(super) struct Step(Element);

impl Step {
    /// `<mav since='' until=''/>`.
    pub fn element(&self) -> Element {
        self.0.clone()
    }
}

fn mav(since: Option<&str>, until: &str) -> Element {
    Element::new("mav", ns::MAV).attr_if("since", since).attr("until", until)
}

fn name(room: &Room, ctx: &Ctx<'_>) -> String {
    ctx.core.seal.id(room.id, room.versions.latest).as_str().to_owned()
}

/// What goes into a presence in which somebody sees themselves.
pub(super) fn current(room: &Room, ctx: &Ctx<'_>) -> Element {
    mav(None, &name(room, ctx))
}

/// Somebody has become something else: there is a new version.
pub(super) fn step(room: &mut Room, who: &Jid, ctx: &mut Ctx<'_>) -> Step {
    let before = name(room, ctx);
    let at = ctx.stored_message_id();
    room.versions.note(&mut ctx.store(), room.id, at, who.bare_str());
    Step(mav(Some(&before), &name(room, ctx)))
}

/// Whether somebody may read the lists, all but that of bans.
fn may_follow(room: &Room, own: Affiliation) -> bool {
    own == Affiliation::Owner || (room.settings.shows_addresses && own >= Affiliation::Member)
}

/// An affiliation as somebody with this one is told it.
fn shown(to: Affiliation, viewer: Affiliation) -> Affiliation {
    if to == Affiliation::Outcast && !is_staff(viewer) { Affiliation::None } else { to }
}

/// Whoever is about to see the room, and knows a version, or would like to, is told what they do not know.
pub(super) fn answer(room: &Room, visit: &Visit, asked: &Element, ctx: &mut Ctx<'_>) {
    let Some(known) = asked.find("mav", ns::MAV) else { return };
    let own = room.affiliation(&visit.jid);
    let message = || Element::new("message", ns::CLIENT);
    if !may_follow(room, own) {
        let error = StanzaError::new(Condition::Forbidden).element().attr("by", room.jid.as_str());
        return tell(room, visit, message().attr("id", ctx.token()).attr("type", "error").child(error), ctx);
    }
    let until = name(room, ctx);
    let known = known.get("since");
    if known == Some(&until) {
        return;
    }
    let changed = known.and_then(|since| {
        let version = ctx.core.seal.message(room.id, since)?;
        let changed = room.versions.since(&ctx.store(), room.id, version)?;
        // Whoever was something else then may have been told less: they begin anew.
        (!changed.contains(visit.jid.bare_str())).then_some(changed)
    });
    let of = |who: &str| shown(room.standings.get(who).map_or(Affiliation::None, Standing::affiliation), own);
    let (mut since, items): (_, Vec<(&str, Affiliation)>) = match &changed {
        Some(changed) => (known.map(str::to_owned), changed.iter().map(|who| (who.as_str(), of(who))).collect()),
        None => {
            let all = room.standings.keys().map(|who| (&**who, of(who)));
            (None, all.filter(|(_, to)| *to != Affiliation::None).collect())
        }
    };
    let parts = items.chunks(limits::ROOM_VERSION_ITEMS_MAX).collect::<Vec<_>>();
    for at in 0..parts.len().max(1) {
        // §4.2.1: parts follow one another by versions of their own, which nobody knows later.
        let to = if at + 1 >= parts.len() { until.clone() } else { ctx.token() };
        let part = parts.get(at).copied().unwrap_or_default();
        let items = part.iter().map(|(who, to)| item(ns::MUC_USER, *to, None, Some(who), None));
        let x = Element::new("x", ns::MUC_USER).child(mav(since.as_deref(), &to)).with(items);
        tell(room, visit, message().attr("id", ctx.token()).child(x), ctx);
        since = Some(to);
    }
}

fn tell(room: &Room, visit: &Visit, message: Element, ctx: &mut Ctx<'_>) {
    let message = Stanza::build(&message, room.jid.clone(), None);
    give(visit, &room.jid, message.chunk_to(Some(&visit.jid)), ctx);
}

/// Those who are there hear of somebody who is not and has become something else: of new members all who see addresses, as
/// XEP-0045 §9.3 to §10.6 show it; of anything else those who follow the lists.
pub(super) fn tell_of_absent(room: &Room, who: &Jid, to: Affiliation, step: &Step, ctx: &mut Ctx<'_>) {
    let id = ctx.token();
    let message = |to| {
        let about = item(ns::MUC_USER, to, Some(Role::None), Some(who.as_str()), None);
        let x = Element::new("x", ns::MUC_USER).child(step.element()).child(about);
        let message = Element::new("message", ns::CLIENT).attr("id", id.clone()).child(x);
        Stanza::build(&message, room.jid.clone(), None)
    };
    let (real, public) = (message(to), message(shown(to, Affiliation::Member)));
    for occupant in &room.occupants {
        let own = occupant.visits.last().map_or(Affiliation::None, |visit| room.affiliation(&visit.jid));
        let hears = match to >= Affiliation::Member {
            true => room.settings.shows_addresses || occupant.role == Role::Moderator,
            false => may_follow(room, own) || is_staff(own),
        };
        let message = if is_staff(own) { &real } else { &public };
        for visit in occupant.visits.iter().filter(|_| hears) {
            give(visit, &room.jid, message.chunk_to(Some(&visit.jid)), ctx);
        }
    }
}
