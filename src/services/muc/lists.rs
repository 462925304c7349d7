//! How much a room's lists hold: of people, of bytes, and of changes in one go.
//!
//! Source: XEP-0045 §9, §10.3 to §10.8; RFC 6120 §13.12. Invariants: what one request changes fits as a whole or is refused
//! as a whole; a list that is asked for fits into the outbox of who asks.

use std::collections::{BTreeMap, BTreeSet};

use super::room::Room;
use crate::{
    domain::rooms::{Affiliation, Standing},
    limits,
    wire::error::{Condition, ErrorKind, StanzaError},
};

/// Bytes that somebody takes in the lists.
fn bytes(who: &str, standing: &Standing) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    who.len() + text(&standing.nick) + text(&standing.reason)
}

/// What somebody becomes: their nickname stays theirs as long as they are a member, unless there is another one, or an empty
/// one (XEP-0045 §9.5); whoever is banned has none (§9.1).
pub(super) fn becomes(known: Option<&Standing>, given: &Standing) -> Standing {
    let keeps = given.affiliation() >= Affiliation::Member;
    let kept = known.and_then(|known| known.nick.clone()).filter(|_| keeps);
    let nick =
        given.nick.clone().or(kept).filter(|nick| !nick.is_empty() && given.affiliation() != Affiliation::Outcast);
    Standing { nick, ..given.clone() }
}

/// Whether the lists take all of these changes, one after the other; of the same address the last counts.
///
/// # Errors
/// `conflict` if a nickname is another's; `resource-constraint` if there would be too many people, or bytes of them.
pub(super) fn fit<'a>(room: &Room, changes: impl Iterator<Item = (&'a str, &'a Standing)>) -> Result<(), StanzaError> {
    let changes: BTreeMap<&str, &Standing> = changes.collect();
    let mut nicks = BTreeSet::new();
    let (mut people, mut held) = (0, 0);
    for (who, standing) in room.standings.iter().filter(|(who, _)| !changes.contains_key(&***who)) {
        people += 1;
        held += bytes(who, standing);
        nicks.extend(standing.nick.as_deref());
    }
    let grows = changes.iter().any(|(who, given)| {
        let before = room.standings.get(*who).map_or(0, |known| bytes(who, known));
        given.affiliation() != Affiliation::None && bytes(who, given) > before
    });
    let becoming: Vec<(&str, Standing)> =
        changes.iter().map(|(who, given)| (*who, becomes(room.standings.get(*who), given))).collect();
    for (who, standing) in &becoming {
        let is_taken = standing
            .nick
            .as_deref()
            .is_some_and(|nick| nick.len() > limits::ROOM_NICK_BYTES_MAX || !nicks.insert(nick));
        if is_taken {
            return Err(Condition::Conflict.into());
        }
        if standing.affiliation() != Affiliation::None {
            people += 1;
            held += bytes(who, standing);
        }
    }
    // Whatever makes the lists smaller is always taken.
    if grows && (people > limits::ROOM_AFFILIATIONS_MAX || held > limits::ROOM_AFFILIATIONS_BYTES_MAX) {
        return Err(StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait).text("The list is full."));
    }
    Ok(())
}
