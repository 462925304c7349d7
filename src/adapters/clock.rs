//! The clocks and the system's randomness: the only place that asks for them.
//!
//! Invariant: [`Clock::now`] never goes back; [`Clock::wall_us`] may.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

use crate::router::event::{Entropy, Time};

/// Milliseconds since this clock was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Clock {
        Clock { start: Instant::now() }
    }
}

impl Clock {
    /// The monotonic time, in whole milliseconds, rounded down.
    pub fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// When the reactor shall fire so that `now` has reached `time`. A time too far to be told is a year away.
    pub fn instant(&self, time: Time) -> Instant {
        const YEAR_MS: u64 = 365 * 24 * 3_600 * 1_000;
        let ms = time.0.min(self.now().0.saturating_add(YEAR_MS));
        self.start + Duration::from_millis(ms)
    }
}

/// Microseconds since 1970; 0 if the clock stands before that.
pub fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The kernel's random source.
#[derive(Debug)]
pub struct SystemEntropy(SystemRandom);

impl Default for SystemEntropy {
    fn default() -> SystemEntropy {
        SystemEntropy(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    /// # Panics
    /// If the kernel has no randomness to give. The turn that asked is discarded: a guessable secret would be worse.
    fn fill(&mut self, buffer: &mut [u8]) {
        if self.0.fill(buffer).is_err() {
            panic!("the system has no randomness to give");
        }
    }
}
