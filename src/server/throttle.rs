//! Failed sign-ins are counted by address and by account (S16).
//!
//! Whoever guesses is slowed down by address; whoever guesses one account's password from many addresses is refused for
//! that account, except from addresses where its owner signed in before: nobody can lock the owner out.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use crate::{config::Limits, router::event::Time};

/// Milliseconds after which failures are forgotten.
const WINDOW_MS: u64 = 10 * 60 * 1000;
/// Addresses and accounts remembered; the oldest are forgotten first.
const ENTRIES_MAX: usize = 4_096;
/// Addresses remembered per account where its owner signed in.
const GOOD_MAX: usize = 8;

#[derive(Debug, Default)]
struct Failures {
    count: u32,
    last: Time,
    good: VecDeque<IpAddr>,
}

/// Failed sign-ins of the last minutes.
#[derive(Debug, Default)]
pub struct Throttle {
    addresses: BTreeMap<IpAddr, Failures>,
    accounts: BTreeMap<Box<str>, Failures>,
}

/// The part of an address that one household owns: IPv4 whole, IPv6 the /64.
pub fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

impl Throttle {
    /// Whether a sign-in may be tried now.
    pub fn admits(&self, address: Option<IpAddr>, account: &str, limits: &Limits, now: Time) -> bool {
        let over = |failures: Option<&Failures>, limit: u32| {
            failures.is_some_and(|f| f.count >= limit && now < f.last.plus_ms(WINDOW_MS))
        };
        let Some(address) = address.map(household) else { return true };
        if over(self.addresses.get(&address), limits.failures_per_address) {
            return false;
        }
        let known = self.accounts.get(account);
        !over(known, limits.failures_per_account) || known.is_some_and(|known| known.good.contains(&address))
    }

    /// A sign-in failed.
    pub fn failed(&mut self, address: Option<IpAddr>, account: &str, now: Time) {
        let Some(address) = address.map(household) else { return };
        count(self.addresses.entry(address).or_default(), now);
        count(self.accounts.entry(account.into()).or_default(), now);
        trim(&mut self.addresses);
        trim(&mut self.accounts);
    }

    /// A sign-in succeeded.
    pub fn succeeded(&mut self, address: Option<IpAddr>, account: &str, now: Time) {
        let Some(address) = address.map(household) else { return };
        self.addresses.remove(&address);
        let known = self.accounts.entry(account.into()).or_default();
        (known.count, known.last) = (0, now);
        if !known.good.contains(&address) {
            known.good.push_back(address);
            if known.good.len() > GOOD_MAX {
                known.good.pop_front();
            }
        }
        trim(&mut self.accounts);
    }
}

fn count(failures: &mut Failures, now: Time) {
    if now >= failures.last.plus_ms(WINDOW_MS) {
        failures.count = 0;
    }
    failures.count = failures.count.saturating_add(1);
    failures.last = now;
}

fn trim<K: Ord + Clone>(map: &mut BTreeMap<K, Failures>) {
    if map.len() > ENTRIES_MAX
        && let Some(oldest) = map.iter().min_by_key(|(_, f)| f.last).map(|(key, _)| key.clone())
    {
        map.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { failures_per_address: 3, failures_per_account: 2, ..crate::config::Config::default().limits }
    }

    #[test]
    fn s16_an_address_that_guesses_is_refused_for_a_while() {
        let mut throttle = Throttle::default();
        let guesser = Some("192.0.2.1".parse().unwrap());
        for account in ["a", "b", "c"] {
            assert!(throttle.admits(guesser, account, &limits(), Time(0)));
            throttle.failed(guesser, account, Time(0));
        }
        assert!(!throttle.admits(guesser, "d", &limits(), Time(1)));
        assert!(throttle.admits(guesser, "d", &limits(), Time(WINDOW_MS)));
    }

    #[test]
    fn s16_the_owner_is_not_locked_out_by_others() {
        let mut throttle = Throttle::default();
        let home = Some("2001:db8::1".parse().unwrap());
        throttle.succeeded(home, "anna", Time(0));
        for host in 1..=4 {
            throttle.failed(Some(IpAddr::from([192, 0, 2, host])), "anna", Time(0));
        }
        assert!(!throttle.admits(Some("198.51.100.1".parse().unwrap()), "anna", &limits(), Time(1)));
        assert!(throttle.admits(Some("2001:db8::2".parse().unwrap()), "anna", &limits(), Time(1)));
    }
}
