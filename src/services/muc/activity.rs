//! How much is said in rooms that everybody may find.
//!
//! Source: XEP-0502 v0.1.0 §4 and §6: messages of the last 24 whole hours, counted by the hour. Invariants: nothing is told
//! of a room into which not everybody may come, nor before an hour has been counted; counting takes the same for every
//! message, and the same room in memory for every room that counts.

use std::collections::BTreeMap;

use super::room::Room;
use crate::{
    limits,
    router::context::Ctx,
    wire::{jid::Jid, ns, stanza::Stanza},
};

/// Hours that count.
const HOURS: usize = 24;
/// What a room tells.
pub(super) const FIELD: &str = "{urn:xmpp:muc-activity}message-activity";

/// Messages of one room.
#[derive(Debug, Default)]
struct Hours {
    /// The hour that is counted now, since 1970.
    now: u64,
    /// Messages in it, and in those before it.
    counts: [u32; HOURS + 1],
}

impl Hours {
    /// Turns to this hour.
    fn turn(&mut self, now: u64) {
        let by = usize::try_from(now.saturating_sub(self.now)).unwrap_or(usize::MAX).min(HOURS + 1);
        self.counts.rotate_right(by % (HOURS + 1));
        self.counts[..by].fill(0);
        self.now = self.now.max(now);
    }
}

/// Messages of all rooms that are told of, by address.
#[derive(Debug, Default)]
pub(super) struct Activity(BTreeMap<Box<str>, Hours>);

fn hour(ctx: &Ctx<'_>) -> u64 {
    ctx.wall_s() / 3_600
}

/// Whether everybody may know, §4.1 and §9.
fn is_open(room: &Room) -> bool {
    let settings = &room.settings;
    settings.is_public && settings.is_persistent && !settings.is_members_only && settings.password.is_none()
}

impl Activity {
    /// A message was said to everybody, and is counted unless it only corrects another (§5).
    pub fn note(&mut self, room: &Room, message: &Stanza, ctx: &Ctx<'_>) {
        if !is_open(room) || !message.has("body", ns::CLIENT) || message.has("replace", ns::CORRECT) {
            return;
        }
        let now = hour(ctx);
        if self.0.len() >= limits::ROOMS_OPEN_MAX && !self.0.contains_key(room.jid.as_str()) {
            self.0.retain(|_, hours| hours.now + HOURS as u64 >= now);
            if self.0.len() >= limits::ROOMS_OPEN_MAX {
                return;
            }
        }
        let hours = self.0.entry(room.jid.as_str().into()).or_insert_with(|| Hours { now, ..Hours::default() });
        hours.turn(now);
        hours.counts[0] = hours.counts[0].saturating_add(1);
    }

    /// A room is gone.
    pub fn forget(&mut self, room: &Jid) {
        self.0.remove(room.as_str());
    }

    /// Messages an hour; `None`: nobody may know, or nobody does yet.
    pub fn per_hour(&mut self, room: &Room, ctx: &Ctx<'_>) -> Option<String> {
        let now = hour(ctx);
        // What was said before the server started is not known.
        let counted = now.saturating_sub(ctx.core.started_s / 3_600).min(HOURS as u64);
        if !is_open(room) || counted == 0 {
            return None;
        }
        let said: u32 = self.0.get_mut(room.jid.as_str()).map_or(0, |hours| {
            hours.turn(now);
            hours.counts[1..].iter().sum()
        });
        Some(format!("{:.2}", f64::from(said) / counted as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_pass_and_are_forgotten() {
        let mut hours = Hours { now: 10, ..Hours::default() };
        hours.counts[0] = 3;
        hours.turn(10);
        assert_eq!(hours.counts[0], 3);
        hours.turn(12);
        hours.counts[0] = 5;
        assert_eq!((hours.counts[1], hours.counts[2]), (0, 3));
        hours.turn(34);
        assert_eq!(hours.counts[1..].iter().sum::<u32>(), 8);
        hours.turn(35);
        assert_eq!(hours.counts[1..].iter().sum::<u32>(), 5);
        hours.turn(9);
        assert_eq!(hours.counts[1..].iter().sum::<u32>(), 5, "a clock that goes back");
        hours.turn(u64::MAX);
        assert_eq!(hours.counts.iter().sum::<u32>(), 0);
    }
}
