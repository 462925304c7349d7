//! Leaving a room, of one's own will or not.
//!
//! Source: XEP-0045 §7.14, §8.2, §9.1, §9.4, §10.9. Invariant: whoever is out was told so, the last to be told of it.

use std::rc::Rc;

use super::{
    outgoing::{Showing, Word},
    room::{Occupant, Room},
};
use crate::{
    domain::rooms::{Affiliation, Role},
    router::context::Ctx,
    wire::{element::Element, jid::Jid, ns},
};

/// One device leaves. What others see of the person is then another device's, or that they are gone.
pub(super) fn leave(room: &mut Room, who: &Jid, content: Rc<[u8]>, word: Word, ctx: &mut Ctx<'_>) {
    let Some((at, visit)) = room.place(who) else { return };
    let affiliation = room.affiliation(who);
    let role = room.occupants[at].role;
    if room.occupants[at].visits.len() > 1 {
        let gone = room.occupants[at].visits.remove(visit);
        let occupant = &room.occupants[at];
        Showing::new(room, occupant, (affiliation, Role::None), who, &content, word, ctx)
            .to(room, occupant, &gone, ctx);
        // What was seen of them last is what is left of them, unless it was of this device.
        let was_latest = visit == occupant.visits.len();
        if let Some(latest) = occupant.visits.last().filter(|_| was_latest) {
            let shown = (affiliation, role);
            let (jid, presence) = (&latest.jid, &latest.presence);
            Showing::new(room, occupant, shown, jid, presence, Word::default(), ctx).everybody(room, ctx);
        }
        return;
    }
    let gone = room.occupants.remove(at);
    room.keep_voice(&gone, affiliation);
    // XEP-0045 §10.1.3: a room that was never set up goes with its maker.
    let ends = room.is_locked && room.occupants.is_empty();
    let destroy = ends.then(|| Element::new("destroy", ns::MUC_USER)).or(word.destroy);
    told(room, &gone, affiliation, &content, Word { destroy, ..word }, ctx);
    log::debug!("{who} leaves {}", gone.address);
}

/// An occupant is removed with all devices: kicked, banned, or no longer allowed to be there.
pub(super) fn remove(room: &mut Room, at: usize, affiliation: Affiliation, word: Word, ctx: &mut Ctx<'_>) {
    let gone = room.occupants.remove(at);
    room.voices.remove(&gone.bare);
    told(room, &gone, affiliation, &Rc::from([]), word, ctx);
    log::debug!("{} is removed", gone.address);
}

/// Those who stay learn of it, then those who go.
fn told(room: &Room, gone: &Occupant, affiliation: Affiliation, content: &Rc<[u8]>, word: Word, ctx: &mut Ctx<'_>) {
    let Some(latest) = gone.visits.last() else { return };
    let mut showing = Showing::new(room, gone, (affiliation, Role::None), &latest.jid, content, word, ctx);
    showing.everybody(room, ctx);
    for visit in &gone.visits {
        showing.to(room, gone, visit, ctx);
    }
}

/// The first occupant goes, and only they are told: the room ends (XEP-0045 §10.9), or the service does (§11.2).
pub(super) fn remove_alone(room: &mut Room, word: Word, ctx: &mut Ctx<'_>) {
    let gone = room.occupants.remove(0);
    let Some(latest) = gone.visits.last() else { return };
    let nothing: Rc<[u8]> = Rc::from([]);
    let shown = (Affiliation::None, Role::None);
    let mut showing = Showing::new(room, &gone, shown, &latest.jid, &nothing, word, ctx);
    for visit in &gone.visits {
        showing.to(room, &gone, visit, ctx);
    }
}
