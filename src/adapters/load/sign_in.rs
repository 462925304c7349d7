//! Sign-ins one after the other: TLS handshake, SASL, bind, and the stream closed again.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    Figures, Names,
    client::{Client, News, Setting},
    fleet::{Fleet, STILL, Scenario},
    gauge::Gauge,
    micros,
};

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct SignIn {
    /// Sign-ins that are measured.
    pub count: usize,
    /// Sign-ins before the measurement.
    pub warmup: usize,
    /// Sign-ins under way at once.
    pub at_once: usize,
}

struct Door {
    signed_in: usize,
    /// When the client of each slot began.
    begun: Vec<Instant>,
    latencies_us: Vec<u32>,
}

impl Scenario for Door {
    fn news(&mut self, index: usize, client: &mut Client, news: News<'_>) {
        if let News::Live = news {
            self.signed_in += 1;
            self.latencies_us.push(micros(self.begun[index].elapsed()));
            client.close();
        }
    }
}

fn phase(fleet: &mut Fleet<'_>, names: &Names, count: usize, at_once: usize) -> io::Result<Vec<u32>> {
    let mut door = Door { signed_in: 0, begun: vec![Instant::now(); at_once], latencies_us: Vec::with_capacity(count) };
    let mut started = 0;
    let mut last = (0, Instant::now());
    while door.signed_in < count {
        for slot in 0..at_once {
            if started < count && fleet.clients.get(slot).is_none_or(Option::is_none) {
                door.begun[slot] = Instant::now();
                fleet.start(slot, &names.of(started))?;
                started += 1;
            }
        }
        if let Some((_, e)) = fleet.wait(Duration::from_secs(1), &mut door)?.pop() {
            return Err(io::Error::other(format!("after {} sign-ins: {e}", door.signed_in)));
        }
        fleet.tell(door.signed_in as u64, count as u64);
        if door.signed_in > last.0 {
            last = (door.signed_in, Instant::now());
        } else if last.1.elapsed() > STILL {
            let still = STILL.as_secs();
            return Err(io::Error::other(format!("{} signed in, then nothing for {still} s", door.signed_in)));
        }
    }
    Ok(door.latencies_us)
}

/// Runs it.
///
/// # Errors
/// A sign-in failed, or nothing moves any more.
pub fn run(scenario: &SignIn, setting: &Setting, names: &Names, pid: Option<u32>) -> io::Result<Figures> {
    let setting = Setting { sm: false, presence: false, ..setting.clone() };
    let mut fleet = Fleet::new(&setting)?;
    phase(&mut fleet, names, scenario.warmup, scenario.at_once)?;
    let (before, start) = (Gauge::of(pid), Instant::now());
    let latencies_us = phase(&mut fleet, names, scenario.count, scenario.at_once)?;
    Ok(Figures {
        scenario: "signin",
        unit: "count",
        count: scenario.count as u64,
        seconds: start.elapsed().as_secs_f64(),
        latencies_us,
        cost: Gauge::spent(pid, before),
        more: Vec::new(),
    })
}
