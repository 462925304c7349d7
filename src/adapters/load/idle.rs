//! Clients that sign in, become available and then do nothing.

use std::{io, time::Duration};

use super::{
    Figures, Names,
    client::{Client, News, Setting},
    fleet::{Fleet, Scenario},
    gauge::Gauge,
};

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// How many clients.
    pub count: usize,
    /// Sign-ins under way at once.
    pub at_once: usize,
}

struct Still;

impl Scenario for Still {
    fn news(&mut self, _: usize, _: &mut Client, _: News<'_>) {}
}

/// Signs them in, tells what that cost, lets `hold` wait as long as it likes, and tells what was spent meanwhile. `hold`
/// gets a function that serves what little an idle server says, at most for the time given; who does not call it leaves
/// that in the kernel.
///
/// # Errors
/// One could not sign in, or `hold` failed.
pub fn run(
    idle: &Idle,
    setting: &Setting,
    names: &Names,
    pid: Option<u32>,
    hold: impl FnOnce(&Figures, &mut dyn FnMut(Duration, u64, u64) -> io::Result<()>) -> io::Result<()>,
) -> io::Result<[Figures; 2]> {
    let before = Gauge::of(pid);
    let mut fleet = Fleet::new(setting)?;
    fleet.sign_in(&names.first(idle.count), idle.at_once, &mut Still)?;
    // The last questions for an acknowledgement are answered, as a client would.
    fleet.wait(Duration::from_secs(2), &mut Still)?;
    let count = idle.count as u64;
    let figures = |scenario, cost, more| Figures { scenario, unit: "count", count, cost, more, ..Figures::default() };
    let grown = Gauge::of(pid).zip(before).map_or(0, |(now, then)| now.rss_kib.saturating_sub(then.rss_kib));
    let here = figures("idle", Gauge::spent(pid, before), vec![("grown_kib", grown)]);
    let start = Gauge::of(pid);
    let mut lost = 0;
    hold(&here, &mut |patience, done, of| {
        lost += fleet.wait(patience, &mut Still)?.len();
        fleet.tell(done, of);
        Ok(())
    })?;
    lost += fleet.wait(Duration::ZERO, &mut Still)?.len();
    let held = figures("held", Gauge::spent(pid, start), vec![("lost", lost as u64)]);
    fleet.close();
    Ok([here, held])
}
