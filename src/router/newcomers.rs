//! How many accounts strangers make where registration is open to all (`registration.policy = "open"`).
//!
//! Invariant (S3): bounded from one household and in all, and so is what is remembered of it.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{domain::ids::Time, limits};

/// The part of an address that one household owns: IPv4 whole, IPv6 the /64.
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// Accounts that were asked for in the current span of time.
#[derive(Debug, Default)]
pub struct Newcomers {
    since: Option<Time>,
    all: u32,
    by_household: BTreeMap<IpAddr, u32>,
}

impl Newcomers {
    /// Whether somebody from this household may make one more; counts it.
    pub fn admits(&mut self, household: Option<IpAddr>, now: Time) -> bool {
        let is_over = self.since.is_none_or(|since| now >= since.plus_ms(limits::REGISTRATION_WINDOW_S * 1_000));
        if is_over {
            *self = Newcomers { since: Some(now), ..Newcomers::default() };
        }
        if self.all >= limits::REGISTRATIONS_MAX {
            return false;
        }
        if let Some(household) = household {
            let count = self.by_household.entry(household).or_default();
            if *count >= limits::REGISTRATIONS_PER_HOUSEHOLD_MAX {
                return false;
            }
            *count += 1;
        }
        self.all += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_household_and_all_make_so_many_accounts_a_day() {
        let mut newcomers = Newcomers::default();
        let home = Some(IpAddr::from([192, 0, 2, 1]));
        let mut made = (0..10).filter(|_| newcomers.admits(home, Time(0))).count();
        assert_eq!(made, limits::REGISTRATIONS_PER_HOUSEHOLD_MAX as usize);
        made += (0..=255).filter(|at| newcomers.admits(Some([198, 51, 100, *at].into()), Time(1))).count();
        assert_eq!(made, limits::REGISTRATIONS_MAX as usize);
        assert!(!newcomers.admits(None, Time(2)));
        assert!(newcomers.admits(home, Time(limits::REGISTRATION_WINDOW_S * 1_000)));
    }
}
