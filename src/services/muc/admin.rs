//! Who is what: lists, kicks, bans, voices.
//!
//! Source: XEP-0045 §5.1.1, §5.2.1, §8.2 to §8.5, §9, §10.3 to §10.8. Invariants: nobody changes one who stands as high as
//! they do or higher, but owners; a room keeps an owner; a request changes all that it names, or nothing.

use super::{
    entering, invitations, leaving, lists,
    messages::is_staff,
    outgoing::{Showing, Word, item},
    room::Room,
    versions,
};
use crate::{
    domain::rooms::{self, Affiliation, Role, Standing},
    limits,
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        jid::Jid,
        ns,
    },
};

/// One thing to be changed.
enum Change {
    Affiliation { who: Jid, standing: Standing },
    Role { nick: String, to: Role, reason: Option<String> },
}

/// A request in `muc#admin`.
pub(super) fn answer(room: &mut Room, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    if iq.is_set() {
        return change(room, iq, ctx);
    }
    let asked = iq.payload.find("item", ns::MUC_ADMIN).ok_or(StanzaError::new(Condition::BadRequest))?;
    let own = room.affiliation(iq.from);
    let at = room.place(iq.from).map(|(at, _)| at);
    let mut query = Element::new("query", ns::MUC_ADMIN);
    if let Some(affiliation) = asked.get("affiliation") {
        let wanted = Affiliation::parse(affiliation).ok_or(StanzaError::new(Condition::BadRequest))?;
        // XEP-0045 §9.5, §10.5 and §10.8: members may see each other where all see real addresses, and otherwise who the
        // owners and admins are is the owners' business.
        let open = room.settings.shows_addresses && own >= Affiliation::Member && wanted != Affiliation::Outcast;
        let needed = if wanted >= Affiliation::Admin { Affiliation::Owner } else { Affiliation::Admin };
        if own < needed && !open {
            return Err(Condition::Forbidden.into());
        }
        return Ok(query.with(listed(room, wanted)).into());
    }
    let wanted = asked.get("role").and_then(Role::parse).ok_or(StanzaError::new(Condition::BadRequest))?;
    if at.is_none_or(|at| room.occupants[at].role != Role::Moderator) && !is_staff(own) {
        return Err(Condition::Forbidden.into());
    }
    for occupant in room.occupants.iter().filter(|occupant| occupant.role == wanted) {
        let jid = occupant.visits.last().map(|visit| visit.jid.clone());
        let affiliation = jid.as_ref().map_or(Affiliation::None, |jid| room.affiliation(jid));
        let jid = jid.as_ref().map(Jid::as_str);
        query = query.child(item(ns::MUC_ADMIN, affiliation, Some(wanted), jid, Some(occupant.nick())));
    }
    Ok(query.into())
}

/// Everybody of one affiliation.
fn listed(room: &Room, wanted: Affiliation) -> Vec<Element> {
    let mut left = limits::ROOM_LIST_BYTES_MAX;
    let mut list = Vec::new();
    for (who, standing) in room.standings.iter().filter(|(_, standing)| standing.affiliation() == wanted) {
        let nick = standing.nick.as_deref().filter(|_| left > 0);
        let reason = standing.reason.as_deref().filter(|_| left > 0);
        let reason = reason.map(|why| Element::new("reason", ns::MUC_ADMIN).text(why));
        let one = item(ns::MUC_ADMIN, wanted, None, Some(who), nick).with(reason);
        left = left.saturating_sub(one.to_vec().len());
        list.push(one);
    }
    list
}

/// What is asked for, one item after the other.
fn changes(room: &Room, payload: &Element) -> Result<Vec<Change>, StanzaError> {
    let bad = || StanzaError::new(Condition::BadRequest);
    let items: Vec<&Element> = payload.children().filter(|child| child.is("item", ns::MUC_ADMIN)).collect();
    if items.is_empty() {
        return Err(bad());
    }
    if items.len() > limits::ROOM_CHANGES_MAX {
        return Err(Condition::PolicyViolation.into());
    }
    let mut changes = Vec::with_capacity(items.len());
    for one in items {
        let reason = one.leaf_text("reason").filter(|reason| !reason.is_empty());
        if reason.as_ref().is_some_and(|reason| reason.len() > limits::ROOM_REASON_BYTES_MAX) {
            return Err(Condition::PolicyViolation.into());
        }
        let nick = one.get("nick").map(str::to_owned);
        if one.get("affiliation").is_some() && one.get("role").is_some() {
            // XEP-0045 §17.4: one or the other.
            return Err(bad());
        }
        if let Some(to) = one.get("affiliation") {
            let to = Affiliation::parse(to).ok_or_else(bad)?;
            let who = match (one.get("jid"), &nick) {
                (Some(jid), _) => Jid::parse(jid).map_err(|_| StanzaError::new(Condition::JidMalformed))?.bare(),
                (None, Some(nick)) => {
                    let at = room.named(nick).ok_or(StanzaError::new(Condition::ItemNotFound))?;
                    Jid::parse(&room.occupants[at].bare).map_err(|_| bad())?
                }
                (None, None) => return Err(bad()),
            };
            let nick = nick.filter(|_| one.get("jid").is_some()).map(|nick| reserved(room, &nick)).transpose()?;
            changes.push(Change::Affiliation { who, standing: Standing { affiliation: Some(to), nick, reason } });
        } else {
            let to = one.get("role").and_then(Role::parse).ok_or_else(bad)?;
            let nick = match (nick, one.get("jid")) {
                (Some(nick), _) => nick,
                (None, Some(jid)) => {
                    let jid = Jid::parse(jid).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
                    let at = room.of(jid.bare_str()).first().copied();
                    room.occupants[at.ok_or(StanzaError::new(Condition::ItemNotFound))?].nick().to_owned()
                }
                (None, None) => return Err(bad()),
            };
            changes.push(Change::Role { nick, to, reason });
        }
    }
    Ok(changes)
}

/// A nickname that is to be somebody's, as it is written in addresses; an empty one takes back what was theirs (§9.5).
fn reserved(room: &Room, nick: &str) -> Result<String, StanzaError> {
    if nick.is_empty() {
        return Ok(String::new());
    }
    let address = room.jid.with_resource(nick).ok().filter(|_| !nick.trim().is_empty());
    let address = address.ok_or(StanzaError::new(Condition::NotAcceptable))?;
    Ok(address.resource().unwrap_or_default().to_owned())
}

fn change(room: &mut Room, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let changes = changes(room, iq.payload)?;
    for change in &changes {
        match change {
            Change::Affiliation { who, standing } => may_affiliate(room, iq.from, who, standing.affiliation())?,
            Change::Role { nick, to, .. } => may_give_role(room, iq.from, nick, *to)?,
        }
    }
    // The last owner: a request that would leave none is refused as a whole.
    let affiliated = changes.iter().filter_map(|change| match change {
        Change::Affiliation { who, standing } => Some((who.as_str(), standing.affiliation())),
        Change::Role { .. } => None,
    });
    if room.loses_its_owners(affiliated) {
        return Err(StanzaError::new(Condition::Conflict).kind(ErrorKind::Cancel));
    }
    lists::fit(
        room,
        changes.iter().filter_map(|change| match change {
            Change::Affiliation { who, standing } => Some((who.as_str(), standing)),
            Change::Role { .. } => None,
        }),
    )?;
    let tells = changes.len() <= limits::ROOM_TOLD_MAX;
    let actor = room.place(iq.from).map(|(at, _)| room.occupants[at].nick().to_owned());
    for change in changes {
        match change {
            Change::Affiliation { who, standing } => {
                let is_new = tells && room.affiliation(&who) == Affiliation::None;
                let becomes_member = standing.affiliation() >= Affiliation::Member;
                stand(room, &who, standing, actor.clone(), tells, ctx);
                if is_new && becomes_member {
                    invitations::welcome(room, &iq.from.bare(), &who, ctx);
                }
            }
            Change::Role { nick, to, reason } => {
                // One of the changes before may have removed them.
                if let Some(at) = room.named(&nick) {
                    give_role(room, at, to, reason, actor.clone(), ctx);
                }
            }
        }
    }
    Ok(Reply::Empty)
}

/// XEP-0045 §5.2.1, table 8.
fn may_affiliate(room: &Room, by: &Jid, who: &Jid, to: Affiliation) -> Result<(), StanzaError> {
    let own = room.affiliation(by);
    let before = room.standings.get(who.bare_str()).map_or(Affiliation::None, Standing::affiliation);
    if !is_staff(own) {
        return Err(Condition::Forbidden.into());
    }
    if who.local().is_none() && !matches!(to, Affiliation::Outcast | Affiliation::None) {
        // A whole domain can be banned, and nothing else.
        return Err(Condition::NotAllowed.into());
    }
    if to == Affiliation::Outcast && who.bare_str() == by.bare_str() {
        // §9.1: nobody bans themselves.
        return Err(StanzaError::new(Condition::Conflict).kind(ErrorKind::Cancel));
    }
    if own == Affiliation::Owner || (before < Affiliation::Admin && to < Affiliation::Admin) {
        return Ok(());
    }
    // What is an admin or more, or would become it, is the owners' business: §9.1 for bans, §10.3 to §10.8 for the rest.
    match to {
        Affiliation::Outcast => Err(StanzaError::new(Condition::NotAllowed).kind(ErrorKind::Cancel)),
        _ => Err(Condition::Forbidden.into()),
    }
}

/// XEP-0045 §5.1.1 and §8.2 to §8.5, §9.6, §9.7.
fn may_give_role(room: &Room, by: &Jid, nick: &str, to: Role) -> Result<(), StanzaError> {
    let target = room.named(nick).ok_or(StanzaError::new(Condition::ItemNotFound))?;
    let target = &room.occupants[target];
    let theirs = target.visits.last().map_or(Affiliation::None, |visit| room.affiliation(&visit.jid));
    let own = room.affiliation(by);
    let is_moderator = room.place(by).is_some_and(|(at, _)| room.occupants[at].role == Role::Moderator);
    let refused = || Err(StanzaError::new(Condition::NotAllowed).kind(ErrorKind::Cancel));
    if !is_moderator && !is_staff(own) {
        return Err(Condition::Forbidden.into());
    }
    let takes_moderation = target.role == Role::Moderator && to != Role::Moderator;
    if to == Role::Moderator && !is_staff(own) {
        return Err(Condition::Forbidden.into());
    }
    // Those above are not touched; admins and owners keep the role that comes with what they are.
    if theirs > own || (is_staff(theirs) && takes_moderation && !(own == Affiliation::Owner && to == Role::None)) {
        return refused();
    }
    if takes_moderation && !is_staff(own) {
        return refused();
    }
    // §8.4: a voice is taken from those below only.
    if to == Role::Visitor && target.role > Role::Visitor && theirs >= own {
        return refused();
    }
    Ok(())
}

/// Changes what somebody is, and tells everybody whom it concerns. XEP-0045 §9 and §10.
///
/// # Errors
/// If the list is full, or the nickname is another's.
pub(super) fn affiliate(
    room: &mut Room,
    who: &Jid,
    to: Affiliation,
    nick: Option<String>,
    reason: Option<String>,
    actor: Option<String>,
    ctx: &mut Ctx<'_>,
) -> Result<(), StanzaError> {
    let given = Standing { affiliation: Some(to), nick, reason };
    lists::fit(room, [(who.bare_str(), &given)].into_iter())?;
    stand(room, who, given, actor, true, ctx);
    Ok(())
}

/// The same for a change that [`lists::fit`] has let pass; `tells`: occupants hear of it though it is about nobody who is
/// there.
pub(super) fn stand(
    room: &mut Room,
    who: &Jid,
    given: Standing,
    actor: Option<String>,
    tells: bool,
    ctx: &mut Ctx<'_>,
) {
    let who = who.bare();
    let (before, to) = (room.affiliation(&who), given.affiliation());
    let listed = room.standings.get(who.as_str()).map_or(Affiliation::None, Standing::affiliation);
    let standing = lists::becomes(room.standings.get(who.as_str()), &given);
    rooms::put_standing(&mut ctx.store(), room.id, who.as_str(), &standing);
    match to == Affiliation::None && standing.nick.is_none() {
        true => room.standings.remove(who.as_str()),
        false => room.standings.insert(who.as_str().into(), standing),
    };
    if to != listed {
        room.voices.remove(who.as_str());
    }
    let step = (to != listed).then(|| versions::step(room, &who, ctx));
    if to != before || who.local().is_none() {
        let word = Word { actor, reason: given.reason, step, ..Word::default() };
        show_change(room, &who, (before, to), word, tells, ctx);
    }
}

/// Occupants whom a change of affiliation concerns are shown anew, or go.
fn show_change(
    room: &mut Room,
    who: &Jid,
    (before, to): (Affiliation, Affiliation),
    word: Word,
    tells: bool,
    ctx: &mut Ctx<'_>,
) {
    let is_domain = who.local().is_none();
    let hit = |bare: &str| {
        if is_domain { Jid::parse(bare).is_ok_and(|jid| jid.domain() == who.domain()) } else { *bare == *who.as_str() }
    };
    let concerned: Vec<Jid> =
        room.occupants.iter().filter(|one| hit(&one.bare)).map(|one| one.address.clone()).collect();
    if let Some(step) = word.step.as_ref().filter(|_| tells && !room.is_locked && (is_domain || concerned.is_empty())) {
        versions::tell_of_absent(room, who, to, step, ctx);
    }
    // What is banned is the domain: who goes with it is not in the lists.
    let word = Word { step: word.step.filter(|_| !is_domain), ..word };
    for address in &concerned {
        let Some(at) = address.resource().and_then(|nick| room.named(nick)) else { continue };
        let Some(jid) = room.occupants[at].visits.last().map(|visit| visit.jid.clone()) else { continue };
        let now = room.affiliation(&jid);
        if now == Affiliation::Outcast {
            leaving::remove(room, at, now, Word { statuses: vec![301], ..word.clone() }, ctx);
        } else if room.settings.is_members_only && now < Affiliation::Member {
            leaving::remove(room, at, now, Word { statuses: vec![321], ..word.clone() }, ctx);
        } else if !is_domain {
            let (role, default) = (room.occupants[at].role, room.default_role(now));
            // XEP-0045 §5.1.3: what an affiliation brings comes, and nothing is lost by it. With one that goes, more than a
            // voice goes; whoever has none does not get it that way.
            room.occupants[at].role =
                if to > before { role.max(default) } else { role.min(default.max(Role::Participant)) };
            show_again(room, at, word.clone(), ctx);
            show_people(room, at, role, ctx);
        }
    }
}

/// Everybody sees an occupant as they are now.
pub(super) fn show_again(room: &Room, at: usize, word: Word, ctx: &mut Ctx<'_>) {
    let occupant = &room.occupants[at];
    let Some(latest) = occupant.visits.last() else { return };
    let shown = (room.affiliation(&latest.jid), occupant.role);
    Showing::new(room, occupant, shown, &latest.jid, &latest.presence, word, ctx).everybody(room, ctx);
}

/// Changes what an occupant may do, or kicks them. XEP-0045 §8.2 to §8.5.
pub(super) fn give_role(
    room: &mut Room,
    at: usize,
    to: Role,
    reason: Option<String>,
    actor: Option<String>,
    ctx: &mut Ctx<'_>,
) {
    let word = Word { actor, reason, ..Word::default() };
    if to == Role::None {
        let affiliation =
            room.occupants[at].visits.last().map_or(Affiliation::None, |visit| room.affiliation(&visit.jid));
        return leaving::remove(room, at, affiliation, Word { statuses: vec![307], ..word }, ctx);
    }
    if room.occupants[at].role == to {
        return;
    }
    let before = std::mem::replace(&mut room.occupants[at].role, to);
    show_again(room, at, word, ctx);
    show_people(room, at, before, ctx);
}

/// Whoever has become a moderator is shown everybody anew, with their real addresses (§8).
fn show_people(room: &Room, at: usize, before: Role, ctx: &mut Ctx<'_>) {
    let occupant = &room.occupants[at];
    if room.settings.shows_addresses || before == Role::Moderator || occupant.role != Role::Moderator {
        return;
    }
    for visit in &occupant.visits {
        entering::show_others(room, occupant.nick(), occupant.role, visit, ctx);
    }
}
