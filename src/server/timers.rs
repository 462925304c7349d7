//! Deadlines. One ordered set, so that the driver arms one timer; nothing in it means no wake-up at all.

use std::collections::BTreeSet;

use crate::{
    domain::{
        ids::{SessionId, StreamId},
        peers::LinkId,
    },
    router::event::Time,
};

/// What is due at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Alarm {
    /// The stream has not signed in (S3).
    SignIn(StreamId),
    /// Senders were held back long enough for this slow stream.
    HeldBack(StreamId),
    /// A stream that sent too much is read from again.
    Paced(StreamId),
    /// The end of a burst is to be acknowledged.
    Ask(SessionId),
    /// The client has not acknowledged in time.
    Unanswered(SessionId),
    /// Nobody resumed the session.
    Expiry(SessionId),
    /// A link to another domain is to be tried again, or what waits for it has waited long enough.
    Link(LinkId),
    /// Another server has not acknowledged in time.
    PeerSilent(StreamId),
    /// Nothing passed over a stream between servers for a while.
    PeerIdle(StreamId),
    /// Streams of other servers that broke were not resumed.
    PeersHeld,
    /// Writes that nobody waits for go to disk.
    LazyCommit,
    /// A step of what services have put off.
    Chores,
}

/// All deadlines.
#[derive(Debug, Default)]
pub struct Timers {
    set: BTreeSet<(Time, Alarm)>,
}

impl Timers {
    /// Sets an alarm.
    pub fn set(&mut self, at: Time, alarm: Alarm) {
        self.set.insert((at, alarm));
    }

    /// Takes an alarm back.
    pub fn cancel(&mut self, at: Time, alarm: Alarm) {
        self.set.remove(&(at, alarm));
    }

    /// The first deadline.
    pub fn first(&self) -> Option<Time> {
        self.set.first().map(|(at, _)| *at)
    }

    /// Takes the first alarm that is due.
    pub fn due(&mut self, now: Time) -> Option<Alarm> {
        let (at, alarm) = *self.set.first()?;
        (at <= now).then(|| {
            self.set.remove(&(at, alarm));
            alarm
        })
    }
}
