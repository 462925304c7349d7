//! The one timer: a clock of the kernel's that the reactor watches like a socket.
//!
//! Invariant: it costs one system call to set and nothing while it stands; the reactor is not woken to learn of it.

use std::{
    cell::Cell,
    future::poll_fn,
    io,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::{clock::Clock, reactor::Source};
use crate::router::event::Time;

/// Milliseconds by which it may stand too early.
const STALE_MS_MAX: u64 = 1_000;
const ZERO: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Rings once at the time that it is set to.
pub(super) struct Alarm {
    timer: Source,
    clock: Clock,
    set: Cell<Option<Time>>,
}

impl Alarm {
    /// Not set.
    ///
    /// # Errors
    /// Those of the system, for example when the process has no descriptors left.
    pub fn new(clock: Clock) -> io::Result<Alarm> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Alarm { timer: Source::new(timer)?, clock, set: Cell::new(None) })
    }

    /// Sees to it that it rings at `time` or before.
    pub fn set_by(&self, time: Time) {
        if self.set.get().is_none_or(|set| time < set) {
            self.set_at(Some(time));
        }
    }

    /// If it would ring long before anything is due it is set anew, so that an idle house is not woken by deadlines that
    /// were met long ago. Within a second it is left alone.
    pub fn relax(&self, due: Option<Time>) {
        if let Some(set) = self.set.get()
            && due.is_none_or(|due| due > set.plus_ms(STALE_MS_MAX))
        {
            self.set_at(due);
        }
    }

    fn set_at(&self, time: Option<Time>) {
        self.set.set(time);
        let it_value = time.map_or(ZERO, |time| {
            // A moment at least: nothing at all would stop it.
            let left = self.clock.instant(time).saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
            Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() }
        });
        let value = Itimerspec { it_interval: ZERO, it_value };
        if let Err(e) = timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value) {
            log::error!("the timer cannot be set: {e}");
        }
    }

    /// Waits until it rings. From then on it is not set.
    pub async fn rung(&self) {
        loop {
            let mut expirations = [0; 8];
            match rustix::io::read(&self.timer, &mut expirations) {
                Ok(_) => return self.set.set(None),
                Err(_) => {
                    self.timer.is_empty();
                    poll_fn(|cx| self.timer.poll_readable(cx)).await;
                }
            }
        }
    }
}
