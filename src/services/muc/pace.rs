//! How often one person may make a room show something to everybody in it.
//!
//! Invariant: whoever has not moved for long is forgotten, so the table is as large as the last minute was busy.

use std::collections::BTreeMap;

use crate::{domain::ids::Time, limits};

/// Moves left, and when that was.
#[derive(Debug, Default)]
pub(super) struct Pace(BTreeMap<Box<str>, (u64, Time)>);

impl Pace {
    /// Whether somebody may move now; counts it.
    pub fn allows(&mut self, bare: &str, now: Time) -> bool {
        let refilled = |(left, since): (u64, Time)| {
            let earned = now.0.saturating_sub(since.0) * limits::ROOM_MOVES_PER_S / 1_000;
            (left + earned).min(limits::ROOM_MOVES_BURST)
        };
        if self.0.len() > limits::ROOM_OCCUPANTS_MAX {
            self.0.retain(|_, state| refilled(*state) < limits::ROOM_MOVES_BURST);
        }
        let state = self.0.get(bare).copied().unwrap_or((limits::ROOM_MOVES_BURST, now));
        let left = refilled(state);
        if left == 0 {
            return false;
        }
        // Time that has not earned a move yet still counts.
        let since = if left == state.0 { state.1 } else { now };
        self.0.insert(bare.into(), (left - 1, since));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_too_fast_has_to_wait() {
        let mut pace = Pace::default();
        let allowed = (0..1_000).filter(|_| pace.allows("hag66@shakespeare.lit", Time(0))).count();
        assert_eq!(allowed as u64, limits::ROOM_MOVES_BURST);
        assert!(pace.allows("crone@shakespeare.lit", Time(0)));
        let later = Time(2_000);
        let allowed = (0..1_000).filter(|_| pace.allows("hag66@shakespeare.lit", later)).count();
        assert_eq!(allowed as u64, 2 * limits::ROOM_MOVES_PER_S);
    }
}
