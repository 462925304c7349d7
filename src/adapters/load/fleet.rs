//! Many clients on one thread: one epoll, level-triggered.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
};

use super::{
    client::{Client, News, Setting, Stage},
    sasl::Derived,
};

/// Events that are taken at a time.
const EVENTS: usize = 1024;
/// How long nothing may happen before a scenario is given up.
pub const STILL: Duration = Duration::from_secs(30);
/// How often whoever watches is told.
const TELL: Duration = Duration::from_millis(200);

/// What a scenario does when something happens to client number `usize`.
pub trait Scenario {
    fn news(&mut self, index: usize, client: &mut Client, news: News<'_>);

    /// What the server said instead of what was wanted, once.
    fn failure(&mut self) -> Option<String> {
        None
    }
}

/// All clients of a run by number. A slot whose client has gone is `None`.
pub struct Fleet<'s> {
    pub setting: &'s Setting,
    pub clients: Vec<Option<Client>>,
    epoll: OwnedFd,
    events: Vec<Event>,
    derived: Derived,
    writing: Vec<bool>,
    begun: Instant,
    told: Instant,
}

impl<'s> Fleet<'s> {
    /// No client yet.
    ///
    /// # Errors
    /// The system has no epoll to give.
    pub fn new(setting: &'s Setting) -> io::Result<Self> {
        Ok(Fleet {
            setting,
            clients: Vec::new(),
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS),
            derived: Derived::default(),
            writing: Vec::new(),
            begun: Instant::now(),
            told: Instant::now(),
        })
    }

    /// Starts a client in slot `index`; slots are filled from 0 on or used again.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn start(&mut self, index: usize, user: &str) -> io::Result<()> {
        let client = Client::connect(user, self.setting)?;
        if index >= self.clients.len() {
            self.clients.resize_with(index + 1, || None);
            self.writing.resize(index + 1, false);
        }
        epoll::add(&self.epoll, &client.socket, EventData::new_u64(index as u64), EventFlags::IN)?;
        self.writing[index] = false;
        self.clients[index] = Some(client);
        self.arm(index)
    }

    /// Takes the client of a slot away; with its socket the kernel forgets what was waited for.
    pub fn drop_client(&mut self, index: usize) {
        self.clients[index] = None;
    }

    /// Stops serving a client without closing its connection.
    ///
    /// # Errors
    /// It is not served.
    pub fn deafen(&mut self, index: usize) -> io::Result<()> {
        match &self.clients[index] {
            Some(client) => Ok(epoll::delete(&self.epoll, &client.socket)?),
            None => Ok(()),
        }
    }

    /// Sends what a client has queued outside of its own news, and waits for room if there is none.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn flush(&mut self, index: usize) -> io::Result<()> {
        if let Some(client) = &mut self.clients[index] {
            client.flush()?;
        }
        self.arm(index)
    }

    /// Sends a stanza of a client.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn say(&mut self, index: usize, stanza: &str) -> io::Result<()> {
        if let Some(client) = &mut self.clients[index] {
            client.stanza(stanza);
        }
        self.flush(index)
    }

    /// Serves the clients until it is so; `what` names what is waited for.
    ///
    /// # Errors
    /// A client was lost, the server refused something, or it did not come within [`STILL`].
    pub fn until<S: Scenario>(&mut self, scenario: &mut S, what: &str, is_so: impl Fn(&S) -> bool) -> io::Result<()> {
        let begun = Instant::now();
        while !is_so(scenario) {
            if let Some((index, e)) = self.wait(Duration::from_secs(1), scenario)?.pop() {
                return Err(io::Error::other(format!("client {index}: {e}")));
            }
            if let Some(failure) = scenario.failure() {
                return Err(io::Error::other(format!("the server said {failure}")));
            }
            if begun.elapsed() > STILL {
                return Err(io::Error::other(format!("{what} did not come within {} s", STILL.as_secs())));
            }
        }
        Ok(())
    }

    /// Says how far it is to whoever watches, now and then.
    pub fn tell(&mut self, done: u64, of: u64) {
        if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            (self.setting.watch.show)(done, of);
        }
    }

    /// Waits once, at most `patience`, and serves whoever is ready. Returns the clients whose connection ended badly.
    ///
    /// # Errors
    /// Whoever watches has had enough.
    pub fn wait(&mut self, patience: Duration, scenario: &mut impl Scenario) -> io::Result<Vec<(usize, io::Error)>> {
        let watch = &self.setting.watch;
        if watch.is_over() {
            return Err(io::Error::other("it was stopped"));
        }
        if self.begun.elapsed() > watch.patience {
            return Err(io::Error::other(format!("it took more than {} s", watch.patience.as_secs())));
        }
        self.events.clear();
        let patience = Timespec { tv_sec: patience.as_secs() as _, tv_nsec: patience.subsec_nanos() as _ };
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&patience)) {
            Ok(_) => {}
            Err(e) if e == rustix::io::Errno::INTR => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        }
        let mut lost = Vec::new();
        let ready = std::mem::take(&mut self.events);
        for event in &ready {
            let index = event.data.u64() as usize;
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
        self.events = ready;
        Ok(lost)
    }

    /// Signs in one client per name, `at_once` at a time; an error of any of them is an error of the run.
    ///
    /// # Errors
    /// One of them could not sign in, or nothing moves any more.
    pub fn sign_in(&mut self, users: &[String], at_once: usize, scenario: &mut impl Scenario) -> io::Result<()> {
        let mut next = 0;
        let mut last = (0, Instant::now());
        loop {
            let live = self.clients.iter().flatten().filter(|c| c.stage == Stage::Live).count();
            if live == users.len() {
                return Ok(());
            }
            if live > last.0 {
                last = (live, Instant::now());
            } else if last.1.elapsed() > STILL {
                let (all, still) = (users.len(), STILL.as_secs());
                return Err(io::Error::other(format!("{live} of {all} signed in, then nothing for {still} s")));
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

    /// Closes all streams politely.
    pub fn close(&mut self) {
        for client in self.clients.iter_mut().flatten().filter(|client| client.stage == Stage::Live) {
            client.close();
        }
    }

    fn arm(&mut self, index: usize) -> io::Result<()> {
        let Some(client) = &self.clients[index] else { return Ok(()) };
        if client.stalled != self.writing[index] {
            let flags = if client.stalled { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(&self.epoll, &client.socket, EventData::new_u64(index as u64), flags)?;
            self.writing[index] = client.stalled;
        }
        Ok(())
    }
}
