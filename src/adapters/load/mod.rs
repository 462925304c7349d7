//! Load on an XMPP server from outside, and what it costs: for `lampone bench`, and for `benches/load`, which is built
//! from these very files and so names nothing of the house.
//!
//! One thread, no sleeping, as few system calls as the work allows: it may share the machine with what it measures.
//!
//! Invariants: a client connects to the address that it was given and nowhere else, whatever the server says; every
//! scenario ends when [`Watch`] says so; numbers of clients and messages are the caller's to bound.

pub mod client;
pub mod events;
pub mod fleet;
pub mod gauge;
pub mod idle;
pub mod pages;
pub mod pairs;
pub mod register;
pub mod rooms;
pub mod sasl;
pub mod sign_in;
pub mod xml;

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gauge::Gauge;

/// Names of accounts by number.
#[derive(Clone, Debug)]
pub struct Names {
    pub prefix: String,
    /// How many there are; clients beyond that share them.
    pub accounts: usize,
}

impl Names {
    pub fn of(&self, number: usize) -> String {
        format!("{}{}", self.prefix, number % self.accounts.max(1))
    }

    /// The names of the first `count` clients.
    pub fn first(&self, count: usize) -> Vec<String> {
        (0..count).map(|number| self.of(number)).collect()
    }
}

/// Somebody who watches a scenario: hears how far it is, and may end it.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Once true, every scenario ends with an error.
    pub stop: Arc<AtomicBool>,
    /// How long one scenario may take.
    pub patience: Duration,
    /// Told a few times a second: how much of how much is done.
    pub show: fn(u64, u64),
}

impl Default for Watch {
    fn default() -> Self {
        Watch { stop: Arc::default(), patience: Duration::from_secs(24 * 3_600), show: |_, _| {} }
    }
}

impl Watch {
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What came of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub scenario: &'static str,
    /// What is counted, in the plural.
    pub unit: &'static str,
    pub count: u64,
    pub seconds: f64,
    /// Microseconds that single ones took; empty if that means nothing.
    pub latencies_us: Vec<u32>,
    /// What the server's process spent, if it is known; its memory is that at the end.
    pub cost: Option<Gauge>,
    /// What else is to be told.
    pub more: Vec<(&'static str, u64)>,
}

impl Figures {
    /// Units in a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.count as f64 / self.seconds } else { 0.0 }
    }

    /// The time that this share of them took at most, in microseconds.
    pub fn quantile_us(&self, share: f64) -> Option<u32> {
        let mut sorted = self.latencies_us.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        sorted.get((last as f64 * share).round() as usize).copied()
    }

    /// A JSON object. All names in it are ours, so nothing has to be escaped.
    pub fn json(&self) -> String {
        let mut out = format!("{{\"scenario\":\"{}\",\"{}\":{}", self.scenario, self.unit, self.count);
        for (name, value) in &self.more {
            let _ = write!(out, ",\"{name}\":{value}");
        }
        let _ = write!(out, ",\"seconds\":{:.3}", self.seconds);
        if let (Some(median), Some(slow)) = (self.quantile_us(0.5), self.quantile_us(0.99)) {
            let _ = write!(out, ",\"median_us\":{median},\"p99_us\":{slow}");
        }
        if let Some(cost) = &self.cost {
            let _ = write!(out, ",{}", cost.json());
        }
        out.push('}');
        out
    }
}

/// Microseconds, as far as they fit.
fn micros(duration: Duration) -> u32 {
    duration.as_micros().try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_told_as_json() {
        let figures = Figures {
            scenario: "pairs",
            unit: "messages",
            count: 4,
            seconds: 2.0,
            latencies_us: vec![400, 100, 300, 200],
            cost: None,
            more: vec![("errors", 0)],
        };
        let told = r#"{"scenario":"pairs","messages":4,"errors":0,"seconds":2.000,"median_us":300,"p99_us":400}"#;
        assert_eq!(figures.json(), told);
        assert_eq!((figures.rate(), Figures::default().rate()), (2.0, 0.0));
        assert_eq!(Figures::default().quantile_us(0.5), None);
    }

    #[test]
    fn clients_beyond_the_accounts_share_them() {
        let names = Names { prefix: "x".into(), accounts: 2 };
        assert_eq!(names.first(3), ["x0", "x1", "x0"]);
    }
}
