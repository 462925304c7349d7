//! Failed sign-ins are counted by address and by account (S16).
//!
//! Whoever guesses is slowed down by address; whoever guesses one account's password from many addresses is refused for
//! that account, except from addresses where its owner signed in before: nobody can lock the owner out. Whoever is at
//! such an address, in the same house perhaps, is slowed down there: nobody can guess for ever.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use crate::{
    config::Limits,
    limits,
    router::{event::Time, newcomers::household},
};

/// Milliseconds after which failures are forgotten.
const WINDOW_MS: u64 = 10 * 60 * 1000;
/// Addresses and accounts remembered; the oldest are forgotten first.
const ENTRIES_MAX: usize = 4_096;
/// Addresses remembered per account where its owner signed in.
const GOOD_MAX: usize = 8;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    count: u32,
    last: Time,
}

/// Failures of an account.
#[derive(Debug, Default)]
struct Account {
    all: Count,
    /// Where its owner signed in, with the failures there since.
    good: VecDeque<(IpAddr, Count)>,
}

/// Failed sign-ins of the last minutes.
#[derive(Debug, Default)]
pub struct Throttle {
    addresses: BTreeMap<IpAddr, Count>,
    accounts: BTreeMap<Box<str>, Account>,
}

impl Count {
    fn is_over(self, limit: u32, now: Time) -> bool {
        self.count >= limit && now < self.last.plus_ms(WINDOW_MS)
    }

    fn raise(&mut self, now: Time) {
        if now >= self.last.plus_ms(WINDOW_MS) {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
    }
}

impl Throttle {
    /// Whether a sign-in may be tried now. `under_way`: passwords from this address that are being compared.
    pub fn admits(&self, address: Option<IpAddr>, account: &str, under_way: u32, limits: &Limits, now: Time) -> bool {
        let Some(address) = address.map(household) else { return true };
        let failed = self.addresses.get(&address).copied().unwrap_or_default();
        let failed = if now < failed.last.plus_ms(WINDOW_MS) { failed.count } else { 0 };
        if failed.saturating_add(under_way) >= limits.failures_per_address {
            return false;
        }
        let Some(known) = self.accounts.get(account) else { return true };
        let here = known.good.iter().find(|(good, _)| *good == address).map(|(_, count)| *count);
        !here.unwrap_or(known.all).is_over(limits.failures_per_account, now)
    }

    /// A sign-in failed.
    pub fn failed(&mut self, address: Option<IpAddr>, account: &str, now: Time) {
        let Some(address) = address.map(household) else { return };
        self.addresses.entry(address).or_default().raise(now);
        let known = self.accounts.entry(account.into()).or_default();
        known.all.raise(now);
        if let Some((_, here)) = known.good.iter_mut().find(|(good, _)| *good == address) {
            here.raise(now);
        }
        trim(&mut self.addresses, |count| count.last);
        self.trim_accounts();
    }

    /// A sign-in succeeded.
    pub fn succeeded(&mut self, address: Option<IpAddr>, account: &str, now: Time) {
        let Some(address) = address.map(household) else { return };
        self.addresses.remove(&address);
        let known = self.accounts.entry(account.into()).or_default();
        known.all = Count { count: 0, last: now };
        match known.good.iter_mut().find(|(good, _)| *good == address) {
            Some((_, here)) => *here = Count::default(),
            None => {
                known.good.push_back((address, Count::default()));
                if known.good.len() > GOOD_MAX {
                    known.good.pop_front();
                }
            }
        }
        self.trim_accounts();
    }

    /// Names that a stranger made up go before those that somebody owns.
    fn trim_accounts(&mut self) {
        trim(&mut self.accounts, |account| (!account.good.is_empty(), account.all.last));
    }
}

fn trim<K: Ord + Clone, V, O: Ord>(map: &mut BTreeMap<K, V>, order: impl Fn(&V) -> O) {
    if map.len() > ENTRIES_MAX
        && let Some(first) = map.iter().min_by_key(|(_, value)| order(value)).map(|(key, _)| key.clone())
    {
        map.remove(&first);
    }
}

/// Lines of the log that strangers cause, in the current minute: a line costs them a packet and us a write to the card.
#[derive(Debug, Default)]
pub struct Chatter {
    minute: u64,
    lines: u32,
}

impl Chatter {
    /// Whether one more line may be written.
    pub fn admits(&mut self, now: Time) -> bool {
        let minute = now.0 / 60_000;
        if minute != self.minute {
            *self = Chatter { minute, lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        if self.lines == limits::STRANGER_LINES_MAX {
            log::warn!("many connections and failed sign-ins of strangers: the rest of this minute is not logged");
        }
        self.lines < limits::STRANGER_LINES_MAX
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
            assert!(throttle.admits(guesser, account, 0, &limits(), Time(0)));
            throttle.failed(guesser, account, Time(0));
        }
        assert!(!throttle.admits(guesser, "d", 0, &limits(), Time(1)));
        assert!(throttle.admits(guesser, "d", 0, &limits(), Time(WINDOW_MS)));
    }

    #[test]
    fn s16_the_owner_is_not_locked_out_by_others() {
        let mut throttle = Throttle::default();
        let home = Some("2001:db8::1".parse().unwrap());
        throttle.succeeded(home, "anna", Time(0));
        for host in 1..=4 {
            throttle.failed(Some(IpAddr::from([192, 0, 2, host])), "anna", Time(0));
        }
        assert!(!throttle.admits(Some("198.51.100.1".parse().unwrap()), "anna", 0, &limits(), Time(1)));
        assert!(throttle.admits(Some("2001:db8::2".parse().unwrap()), "anna", 0, &limits(), Time(1)));
    }

    #[test]
    fn s16_made_up_names_do_not_make_the_owner_a_stranger() {
        let mut throttle = Throttle::default();
        let home = Some("2001:db8::1".parse().unwrap());
        throttle.succeeded(home, "anna", Time(0));
        for n in 0..2 * ENTRIES_MAX as u32 {
            let address = std::net::Ipv4Addr::from(0xC000_0200 + n).into();
            throttle.failed(Some(address), &format!("nobody{n}"), Time(1));
            throttle.failed(Some(address), "anna", Time(1));
        }
        assert!(throttle.admits(home, "anna", 0, &limits(), Time(2)));
        assert!(throttle.accounts.len() <= ENTRIES_MAX && throttle.addresses.len() <= ENTRIES_MAX);
    }

    #[test]
    fn strangers_fill_no_log() {
        let mut chatter = Chatter::default();
        let lines = |chatter: &mut Chatter, now| (0..10_000).filter(|_| chatter.admits(Time(now))).count();
        assert_eq!(lines(&mut chatter, 60_000), limits::STRANGER_LINES_MAX as usize - 1);
        assert_eq!(lines(&mut chatter, 119_999), 0);
        assert_eq!(lines(&mut chatter, 120_000), limits::STRANGER_LINES_MAX as usize - 1);
    }
}
