//! How much streams may send in a second; who sends more is read more slowly.
//!
//! Source: RFC 6120 §13.12 (bounds on what one entity takes of a server's resources); the algorithm is the virtual
//! scheduling of ITU-T I.371. Invariants: nothing is dropped and nothing is answered with an error, TCP carries the pause
//! to the sender; what comes over all streams of one domain is counted together, but to a domain only once it is proved,
//! so that nobody uses up another's; and what is heard is beyond the bound by one stanza at most, the rest of the read waits.

use std::collections::BTreeMap;

use super::{Server, negotiate::State, timers::Alarm};
use crate::{
    config::Rate,
    domain::ids::StreamId,
    limits,
    router::event::{Door, Effect, Env, Time},
};

/// Nanoseconds of a second.
const SECOND_NS: u64 = 1_000_000_000;
/// Nanoseconds of a millisecond.
const MILLISECOND_NS: u64 = 1_000_000;
/// Nanoseconds whose share may come at once.
const BURST_NS: u64 = limits::RATE_BURST_S * SECOND_NS;

/// What was used of one rate: the time at which all of it may be used again, in nanoseconds since the server's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Credit(u64);

impl Credit {
    /// Uses up so much at so much a second (0: as much as there is); the milliseconds by which that is too early.
    fn spend(&mut self, amount: usize, per_second: u64, now: Time) -> u64 {
        if per_second == 0 {
            return 0;
        }
        let costs = (amount as u64).saturating_mul(SECOND_NS) / per_second;
        self.0 = self.0.max(nanoseconds(now)).saturating_add(costs);
        self.0.saturating_sub(nanoseconds(now)).saturating_sub(BURST_NS).div_ceil(MILLISECOND_NS)
    }

    /// What may be used up without being too early.
    fn left(self, per_second: u64, now: Time) -> usize {
        if per_second == 0 {
            return usize::MAX;
        }
        let ns = BURST_NS.saturating_sub(self.0.saturating_sub(nanoseconds(now)));
        usize::try_from(u128::from(ns) * u128::from(per_second) / u128::from(SECOND_NS)).unwrap_or(usize::MAX)
    }
}

fn nanoseconds(now: Time) -> u64 {
    now.0.saturating_mul(MILLISECOND_NS)
}

/// What a sender has used of its rates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bucket {
    bytes: Credit,
    stanzas: Credit,
    /// The log has it that this sender is too fast.
    told: bool,
}

impl Bucket {
    /// Uses up what was heard; by how many milliseconds that is too early, and which bound says so.
    fn spend(&mut self, bytes: usize, stanzas: usize, rate: Rate, now: Time) -> (u64, &'static str) {
        let by_bytes = self.bytes.spend(bytes, rate.bytes, now);
        let by_stanzas = self.stanzas.spend(stanzas, rate.stanzas, now);
        match by_bytes > by_stanzas {
            true => (by_bytes, "bytes"),
            false => (by_stanzas, "stanzas"),
        }
    }

    fn full_at(&self) -> u64 {
        self.bytes.max(self.stanzas).0
    }
}

/// The buckets of domains elsewhere.
#[derive(Debug, Default)]
pub struct Pacing {
    domains: BTreeMap<Box<str>, Bucket>,
}

impl Pacing {
    /// The bucket of a domain that was proved. Full ones are forgotten when there are many, then the least used.
    fn of(&mut self, domain: &str, now: Time) -> &mut Bucket {
        if self.domains.len() >= limits::RATED_DOMAINS_MAX && !self.domains.contains_key(domain) {
            self.domains.retain(|_, bucket| bucket.full_at() > nanoseconds(now));
            while self.domains.len() >= limits::RATED_DOMAINS_MAX
                && let Some(least) = self.domains.iter().min_by_key(|(_, bucket)| bucket.full_at())
            {
                let least = least.0.clone();
                self.domains.remove(&least);
            }
        }
        self.domains.entry(domain.into()).or_default()
    }
}

/// What of a read is heard at once.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// Bytes that were heard.
    pub bytes: usize,
    /// Stanzas among them.
    pub stanzas: usize,
    bytes_max: usize,
    stanzas_max: usize,
}

impl Allowance {
    /// Whether the rest waits.
    pub fn is_used_up(&self) -> bool {
        self.bytes >= self.bytes_max || self.stanzas >= self.stanzas_max
    }
}

/// Which settings a rate is of, for the log.
type Whose = &'static str;

impl Server {
    /// The bucket of a stream; `None`: it has no bounds.
    fn bucket(&mut self, now: Time, id: StreamId) -> Option<(&mut Bucket, Rate, Whose)> {
        let slot = self.streams.slot_mut(id)?;
        let limits = &self.core.config.limits;
        let (rate, whose) = match (&slot.state, &slot.door) {
            // The admin's own: the command line, and programs that have a secret in the settings.
            (_, Door::Local { .. }) | (State::Component(_), _) => return None,
            (State::Peer(_), _) => (limits.peer_rate, "peer"),
            _ => (limits.client_rate, "client"),
        };
        let proved = match &slot.state {
            State::Peer(peer) => peer.proved_domain(),
            _ => None,
        };
        let bucket = match proved {
            Some(domain) => self.pacing.of(domain, now),
            None => &mut slot.bucket,
        };
        Some((bucket, rate, whose))
    }

    /// How much of what is read now is heard now; one stanza always, so that there is no end to waiting.
    pub(super) fn allowance(&mut self, env: &Env<'_>, id: StreamId) -> Allowance {
        let max = self.bucket(env.now, id).map(|(bucket, rate, _)| {
            (bucket.bytes.left(rate.bytes, env.now), bucket.stanzas.left(rate.stanzas, env.now))
        });
        let (bytes_max, stanzas_max) = max.unwrap_or((usize::MAX, usize::MAX));
        Allowance { bytes: 0, stanzas: 0, bytes_max: bytes_max.max(1), stanzas_max: stanzas_max.max(1) }
    }

    /// So much was heard from a stream; what came behind it, and whatever comes, waits if that is past the bound.
    pub(super) fn charge(&mut self, env: &Env<'_>, id: StreamId, heard: &Allowance, later: &[u8]) {
        let Some((bucket, rate, whose)) = self.bucket(env.now, id) else { return };
        let (owed, bound) = bucket.spend(heard.bytes, heard.stanzas, rate, env.now);
        if owed == 0 && later.is_empty() {
            return;
        }
        let is_news = !std::mem::replace(&mut bucket.told, true);
        let Some(slot) = self.streams.slot_mut(id) else { return };
        slot.held.get_or_insert_default().extend_from_slice(later);
        if slot.paced.is_none() {
            let until = env.now.plus_ms(owed.max(limits::RATE_PAUSE_MS));
            slot.paced = Some(until);
            self.timers.set(until, Alarm::Paced(id));
            self.core.effects.push(Effect::Pause(id));
        }
        if is_news {
            log::warn!("{}: sends more than limits.{whose}_{bound} for long; it is heard at that pace", self.who(id));
        }
    }

    /// A stream that was too fast is heard again.
    pub(super) fn paced(&mut self, env: &mut Env<'_>, id: StreamId) {
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.paced = None;
            self.hear_on(env, id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { bytes: 1_000, stanzas: 10 };
    const BURST: usize = limits::RATE_BURST_S as usize;

    #[test]
    fn a_burst_is_free_and_what_is_beyond_it_takes_its_time() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.bytes.left(1_000, Time(5_000)), BURST * 1_000);
        assert_eq!(bucket.spend(BURST * 1_000, 1, RATE, Time(5_000)).0, 0);
        assert_eq!(bucket.bytes.left(1_000, Time(5_000)), 0);
        assert_eq!(bucket.spend(500, 1, RATE, Time(5_000)), (500, "bytes"));
        assert_eq!(bucket.spend(0, 0, RATE, Time(5_500)).0, 0);
        assert_eq!(bucket.spend(1, 1, RATE, Time(5_500)), (1, "bytes"));
        assert_eq!(bucket.spend(BURST * 1_000, 0, RATE, Time(1_000_000)).0, 0, "it fills up again");
        assert_eq!(Bucket::default().spend(1, BURST * 10 + 2, RATE, Time(0)), (200, "stanzas"));
    }

    #[test]
    fn without_a_rate_there_is_no_pause() {
        let off = Rate { bytes: 0, stanzas: 0 };
        assert_eq!(Bucket::default().spend(usize::MAX, usize::MAX, off, Time(0)).0, 0);
        assert_eq!(Bucket::default().bytes.left(0, Time(0)), usize::MAX);
    }

    #[test]
    fn over_a_long_time_no_more_passes_than_the_rate() {
        let (mut bucket, mut now, mut passed) = (Bucket::default(), 0, 0);
        while now < 100_000 {
            passed += 700;
            now += bucket.spend(700, 1, Rate { stanzas: 0, ..RATE }, Time(now)).0;
        }
        assert!((100_000..=(100 + BURST) * 1_000 + 1_400).contains(&passed), "{passed}");
    }

    #[test]
    fn domains_are_bounded_and_those_that_used_much_stay() {
        let mut pacing = Pacing::default();
        pacing.of("busy.example", Time(0)).spend(BURST * 1_000, 1, RATE, Time(0));
        for n in 0..limits::RATED_DOMAINS_MAX * 2 {
            pacing.of(&format!("d{n}.example"), Time(0)).spend(1, 1, RATE, Time(0));
            assert!(pacing.domains.len() <= limits::RATED_DOMAINS_MAX);
        }
        assert!(pacing.domains.contains_key("busy.example"));
    }
}
