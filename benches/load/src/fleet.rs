//! Many clients on one thread: one poller, level-triggered.

use std::{
    io,
    time::{Duration, Instant},
};

use polling::{Event, Events, PollMode, Poller};

use crate::{
    client::{Client, News, Setting, Stage},
    sasl::Derived,
};

/// What a scenario does when something happens to client number `usize`.
pub trait Scenario {
    fn news(&mut self, index: usize, client: &mut Client, news: News<'_>);
}

/// All clients of a run by number. A slot whose client has gone is `None`.
pub struct Fleet<'s> {
    pub setting: &'s Setting,
    pub clients: Vec<Option<Client>>,
    poller: Poller,
    events: Events,
    derived: Derived,
    writing: Vec<bool>,
}

impl<'s> Fleet<'s> {
    pub fn new(setting: &'s Setting) -> io::Result<Self> {
        Ok(Fleet {
            setting,
            clients: Vec::new(),
            poller: Poller::new()?,
            events: Events::new(),
            derived: Derived::default(),
            writing: Vec::new(),
        })
    }

    /// Starts a client in slot `index`; slots are filled from 0 on or used again.
    pub fn start(&mut self, index: usize, user: &str) -> io::Result<()> {
        let client = Client::connect(user, self.setting)?;
        if index >= self.clients.len() {
            self.clients.resize_with(index + 1, || None);
            self.writing.resize(index + 1, false);
        }
        // SAFETY: `drop_client` removes the socket from the poller before it is closed.
        unsafe { self.poller.add_with_mode(&client.socket, Event::readable(index), PollMode::Level)? };
        self.writing[index] = false;
        self.clients[index] = Some(client);
        self.arm(index)
    }

    /// Takes the client of a slot away.
    pub fn drop_client(&mut self, index: usize) {
        if let Some(client) = self.clients[index].take() {
            let _ = self.poller.delete(&client.socket);
        }
    }

    /// Stops serving a client without closing its connection.
    pub fn deafen(&mut self, index: usize) -> io::Result<()> {
        self.clients[index].as_ref().map_or(Ok(()), |client| self.poller.delete(&client.socket))
    }

    /// Sends what a client has queued outside of its own news, and waits for room if there is none.
    pub fn flush(&mut self, index: usize) -> io::Result<()> {
        if let Some(client) = &mut self.clients[index] {
            client.flush()?;
        }
        self.arm(index)
    }

    /// Waits once, at most `patience`, and serves whoever is ready. Returns the clients whose connection ended badly.
    pub fn wait(&mut self, patience: Duration, scenario: &mut impl Scenario) -> io::Result<Vec<(usize, io::Error)>> {
        self.events.clear();
        self.poller.wait(&mut self.events, Some(patience))?;
        let mut lost = Vec::new();
        let ready: Vec<Event> = self.events.iter().collect();
        for event in ready {
            let index = event.key;
            let Some(client) = &mut self.clients[index] else { continue };
            let served = client
                .read(self.setting, &mut self.derived, &mut |client, news| scenario.news(index, client, news))
                .and_then(|()| self.arm(index));
            // A client that has closed its stream may see the other end go in the same breath.
            let closed = self.clients[index].as_ref().is_some_and(|c| c.stage == Stage::Closed);
            match served {
                _ if closed => self.drop_client(index),
                Err(e) => {
                    lost.push((index, e));
                    self.drop_client(index);
                }
                Ok(()) => {}
            }
        }
        Ok(lost)
    }

    /// Signs in one client per name, `at_once` at a time; an error of any of them is an error of the run.
    pub fn sign_in(&mut self, users: &[String], at_once: usize, scenario: &mut impl Scenario) -> io::Result<()> {
        let mut next = 0;
        let mut quiet_since = Instant::now();
        let mut was_live = 0;
        loop {
            let live = self.clients.iter().flatten().filter(|c| c.stage == Stage::Live).count();
            if live == users.len() {
                return Ok(());
            }
            if live > was_live {
                (was_live, quiet_since) = (live, Instant::now());
            } else if quiet_since.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::other(format!("{live} of {} signed in, then nothing for 30 s", users.len())));
            }
            while next < users.len() && next - live < at_once {
                self.start(next, &users[next])?;
                next += 1;
            }
            if let Some((index, e)) = self.wait(Duration::from_millis(500), scenario)?.pop() {
                return Err(io::Error::other(format!("{}: {e}", users[index])));
            }
        }
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        let Some(client) = &self.clients[index] else { return Ok(()) };
        if client.stalled != self.writing[index] {
            let event = Event::new(index, true, client.stalled);
            self.poller.modify_with_mode(&client.socket, event, PollMode::Level)?;
            self.writing[index] = client.stalled;
        }
        Ok(())
    }
}
