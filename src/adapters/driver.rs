//! The driver: the world's events go into the house one at a time, its effects go out in order (DESIGN §3, §5).
//!
//! A *round* is what the ready tasks bring: each delivers its event and rings the flusher, which the first-in-first-out
//! executor runs behind them. It settles the round: writes of all its turns become one batch, and every connection that
//! has something to say says it in one system call.
//!
//! Invariants: a turn is never entered from a turn (what answers at once goes through the queue); nothing polls; with
//! everybody idle nothing here is woken.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::{Rc, Weak},
    time::Duration,
};

use async_io::Timer;
use smol::{LocalExecutor, channel::Receiver, future::or, lock::Semaphore};
use zeroize::Zeroizing;

pub use super::port::{Answer, ForgetfulStore, House, Mailbox, StorePort};
use super::{
    alarm::Alarm,
    bell::Bell,
    clock::{self, Clock, SystemEntropy},
    conn::{Channel, Connection, Socket},
    dial::Outside,
    http::Web,
    memory::Ceiling,
    pool,
    preface::Prefaces,
    reactor,
    table::{Refusal, Seats, Table},
    tls::Certificates,
};
use crate::{
    config::Config,
    limits,
    proto::scram::Credentials,
    router::event::{Door, Effect, Env, Event, QueryId, StreamId, Time},
};

/// Connections that must have gone before memory is given back to the system.
const TRIM_GONE_MIN: usize = 256;
/// Milliseconds after a panic until the next tick, so that a faulty timer does not turn the house into a heater.
const AFTER_PANIC_MS: u64 = 1_000;
/// Everything that turns touch.
pub(super) struct Core {
    pub(super) house: Box<dyn House>,
    pub(super) store: Box<dyn StorePort>,
    pub(super) entropy: SystemEntropy,
    pub(super) table: Table,
    pub(super) certificates: Rc<Certificates>,
    /// Events of our own making and answers, delivered by the flusher.
    pub(super) queue: VecDeque<Event<'static>>,
    pub(super) dirty: Vec<StreamId>,
    /// The turn's effects while they are carried out; kept for its room.
    pub(super) effects: Vec<Effect>,
    pub(super) gather: Vec<u8>,
    /// Connections that went since memory was last given back, and the most there were.
    pub(super) gone: usize,
    pub(super) peak: usize,
}

/// The running house with all its connections. Lives on one thread.
pub struct Driver {
    pub(super) executor: LocalExecutor<'static>,
    pub(super) core: RefCell<Core>,
    /// The process's read buffer, taken while it is used.
    pub(super) inbox: Cell<Vec<u8>>,
    pub(super) clock: Clock,
    pub(super) seats: Rc<Seats>,
    pub(super) memory: Ceiling,
    pub(super) flusher: Bell,
    pub(super) alarm: Alarm,
    pub(super) stop: Bell,
    pub(super) stopping: Cell<bool>,
    /// Closing connections, each with the time by which it has to be over; in order, for all get the same.
    pub(super) partings: RefCell<VecDeque<(Time, Weak<Socket>)>>,
    /// No tick before this.
    pub(super) tick_floor: Cell<Time>,
    pub(super) workers: Rc<Semaphore>,
    /// Closing connections whose last bytes are not yet with the kernel.
    pub(super) unsaid: Cell<usize>,
    /// The web door's.
    pub(super) web: Web,
    /// What may stand before a connection.
    pub(super) prefaces: Prefaces,
    /// The way to other servers.
    pub(super) outside: Outside,
}

impl Driver {
    /// A driver with nobody connected. `house` is made with the environment that turns see.
    ///
    /// # Errors
    /// The system has no timer to give.
    pub fn new(
        house: impl FnOnce(&mut Env<'_>) -> Box<dyn House>,
        store: Box<dyn StorePort>,
        answers: Receiver<Answer>,
        certificates: Certificates,
        streams_max: usize,
    ) -> io::Result<Rc<Driver>> {
        let clock = Clock::default();
        let mut entropy = SystemEntropy::default();
        let mut env = Env { now: clock.now(), wall_us: clock::wall_us(), view: store.view(), entropy: &mut entropy };
        let house = house(&mut env);
        let core = Core {
            house,
            store,
            entropy,
            table: Table::default(),
            certificates: Rc::new(certificates),
            queue: VecDeque::new(),
            dirty: Vec::new(),
            effects: Vec::new(),
            gather: Vec::new(),
            gone: 0,
            peak: 0,
        };
        let driver = Rc::new(Driver {
            executor: LocalExecutor::new(),
            core: RefCell::new(core),
            inbox: Cell::default(),
            clock,
            seats: Seats::new(streams_max, limits::STREAMS_PER_ADDRESS_MAX),
            memory: Ceiling::of_this_process(),
            flusher: Bell::default(),
            alarm: Alarm::new(clock)?,
            stop: Bell::default(),
            stopping: Cell::new(false),
            partings: RefCell::default(),
            tick_floor: Cell::new(Time(0)),
            workers: Rc::new(Semaphore::new(pool::WORKERS_MAX)),
            unsaid: Cell::new(0),
            web: Web::default(),
            prefaces: Prefaces::default(),
            outside: Outside::default(),
        });
        driver.spawn(driver.clone().flush_rounds());
        driver.spawn(driver.clone().tick());
        driver.spawn(driver.clone().take_answers(answers));
        driver.arm(driver.core.borrow().house.deadline());
        Ok(driver)
    }

    /// Runs until the house says [`Effect::Stop`] (or [`Driver::give_up`] is called), then until the last words are
    /// written, within `CLOSING_MS_MAX`. On the thread that the driver was made on.
    ///
    /// # Errors
    /// The system has no descriptors to give.
    pub fn run(self: Rc<Self>) -> io::Result<()> {
        reactor::block_on(self.live())
    }

    async fn live(self: Rc<Self>) {
        let driver = self.clone();
        self.executor
            .run(async move {
                driver.stop.wait().await;
                let said = async {
                    while driver.unsaid.get() > 0 {
                        driver.stop.wait().await;
                    }
                };
                let late = async {
                    Timer::after(Duration::from_millis(limits::CLOSING_MS_MAX)).await;
                };
                or(said, late).await;
            })
            .await;
    }

    /// Ends [`Driver::run`] now, although the house has not said so.
    pub fn give_up(&self) {
        self.stopping.set(true);
        self.unsaid.set(0);
        self.stop.ring();
    }

    /// Runs a task on the main thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // In a box, so that the executor is compiled once and not for each kind of task.
        let task: Pin<Box<dyn Future<Output = ()>>> = Box::pin(task);
        self.executor.spawn(task).detach();
    }

    /// Queues an event; it is delivered in this or the next round.
    pub fn post(&self, event: Event<'static>) {
        self.core.borrow_mut().queue.push_back(event);
        self.flusher.ring();
    }

    /// New settings and certificates; connections keep the certificate that they have.
    pub fn reload(&self, config: Rc<Config>, certificates: Certificates) {
        self.seats.allow(config.limits.streams);
        self.web.configure(config.clone());
        self.outside.configure(&config);
        self.prefaces.configure(config.clone());
        self.core.borrow_mut().certificates = Rc::new(certificates);
        self.post(Event::Reloaded(config));
    }

    /// The certificates in use.
    pub fn certificates(&self) -> Rc<Certificates> {
        self.core.borrow().certificates.clone()
    }

    /// Takes an accepted, non-blocking socket in, or says why not; then it is closed.
    pub fn admit(self: &Rc<Self>, fd: OwnedFd, door: Door) -> Result<(), Refusal> {
        match Socket::new(fd) {
            Ok(socket) => self.admit_socket(Rc::new(socket), door, &[]),
            Err(e) => {
                log::debug!("a connection ended before it began: {e}");
                Ok(())
            }
        }
    }

    /// The same with what was read of it already.
    pub(super) fn admit_socket(self: &Rc<Self>, socket: Rc<Socket>, door: Door, early: &[u8]) -> Result<(), Refusal> {
        let address = match door {
            Door::StartTls(address)
            | Door::DirectTls(address)
            | Door::WebSocket(address)
            | Door::Bosh(address)
            | Door::PeerStartTls(address)
            | Door::PeerDirectTls(address)
            | Door::Component(address)
            | Door::Dialed { address, .. } => Some(address),
            Door::Local { .. } => None,
        };
        let seat = self.seats.take(address)?;
        let core = &mut *self.core.borrow_mut();
        let id = self.open(core, Connection::new(socket, &door, seat), door);
        if !early.is_empty() {
            self.received(core, id, early);
        }
        Ok(())
    }

    /// A new connection has its place, its task, and the house hears of it.
    pub(super) fn open(self: &Rc<Self>, core: &mut Core, connection: Connection, door: Door) -> StreamId {
        let socket = connection.socket.clone();
        let id = core.table.insert(Box::new(connection));
        core.peak = core.peak.max(core.table.len());
        self.spawn(self.clone().read(id, socket));
        self.deliver(core, Event::Opened(id, door));
        id
    }

    /// One event, one turn, its effects.
    pub(super) fn deliver(self: &Rc<Self>, core: &mut Core, event: Event<'_>) {
        let stream = stream_of(&event).filter(|_| !matches!(event, Event::Closed(_)));
        self.enter(core, stream, |house, env, effects| effects.extend(house.turn(env, event)));
        self.flusher.ring();
    }

    /// Goes into the house and carries out what it wants. A panic in there costs the effects of this visit and the
    /// stream that caused it, nobody else (DESIGN §5). If the house is not sound afterwards the process ends: systemd
    /// starts it again, and what was acknowledged is on the disk.
    pub(super) fn enter(
        self: &Rc<Self>,
        core: &mut Core,
        stream: Option<StreamId>,
        visit: impl FnOnce(&mut dyn House, &mut Env<'_>, &mut Vec<Effect>),
    ) {
        let Core { house, store, entropy, effects, .. } = core;
        let mut env = Env { now: self.clock.now(), wall_us: clock::wall_us(), view: store.view(), entropy };
        let mut poison = None;
        if catch_unwind(AssertUnwindSafe(|| visit(&mut **house, &mut env, effects))).is_err() {
            log::error!("what stream {stream:?} caused was discarded and the stream is closed; the house goes on");
            self.tick_floor.set(self.clock.now().plus_ms(AFTER_PANIC_MS));
            effects.clear();
            if catch_unwind(AssertUnwindSafe(|| effects.extend(house.discard_turn(&mut env)))).is_err() {
                effects.clear();
                poison = stream;
            }
            if catch_unwind(AssertUnwindSafe(|| house.check())).is_err() {
                log::error!("the house is not sound any more, leaving at once");
                std::process::abort();
            }
        }
        self.perform(core);
        if let Some(id) = poison {
            self.lose(core, id);
        }
        self.arm(core.house.deadline());
    }

    /// Carries out the effects at hand, in order.
    pub(super) fn perform(self: &Rc<Self>, core: &mut Core) {
        let mut effects = std::mem::take(&mut core.effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Write(id, chunk) => core.touch(id, |c| c.append(chunk)),
                Effect::StartTls(id) => core.touch(id, |c| {
                    if matches!(c.channel, Channel::Clear) {
                        c.channel = Channel::Upgrading;
                    }
                }),
                Effect::Close(id) => {
                    core.touch(id, |c| c.closing = true);
                    // What was about to be told of it is of no interest any more, and `Closed` would be wrong.
                    core.queue.retain(|event| stream_of(event) != Some(id));
                }
                Effect::Pause(id) => {
                    if let Some(c) = core.table.find(id) {
                        c.paused = true;
                    }
                }
                Effect::Resume(id) => {
                    if let Some(c) = core.table.find(id) {
                        c.paused = false;
                        if let Some(reader) = c.reader.take() {
                            reader.wake();
                        }
                    }
                }
                Effect::Commit(batch, puts) => core.store.commit(batch, puts),
                Effect::Flush(layer) => core.store.flush(layer),
                Effect::Backup(query, file) => core.store.backup(query, file),
                Effect::Dial(query, target) => self.spawn(self.clone().dial(query, *target)),
                Effect::Derive(query, password) => self.spawn(self.clone().derive(query, password)),
                Effect::Verify(query, credentials, password) => {
                    self.spawn(self.clone().verify(query, *credentials, password));
                }
                Effect::Respond(id, answer) => self.web.answer(id, *answer),
                Effect::Discard(file) => {
                    if let Some(task) = self.web.discard(file) {
                        self.spawn(task);
                    }
                }
                Effect::Stop => self.stopping.set(true),
            }
        }
        core.effects = effects;
    }

    /// The connection is gone by itself: the house hears of it unless it closed it.
    pub(super) fn lose(&self, core: &mut Core, id: StreamId) {
        let Some(connection) = core.table.remove(id) else { return };
        core.gone += 1;
        if !connection.closing {
            core.queue.push_back(Event::Closed(id));
            self.flusher.ring();
        }
        connection.abandon();
    }

    // Time, answers, passwords.

    /// Something is due by then.
    pub(super) fn arm(&self, deadline: Option<Time>) {
        if let Some(deadline) = deadline {
            self.alarm.set_by(deadline.max(self.tick_floor.get()));
        }
    }

    /// At the end of a round: what nobody waits for any more wakes nobody.
    pub(super) fn relax(&self, deadline: Option<Time>) {
        let mut partings = self.partings.borrow_mut();
        while partings.pop_front_if(|(_, socket)| socket.strong_count() == 0).is_some() {}
        let parting = partings.front().map(|(by, _)| *by);
        self.alarm.relax(deadline.into_iter().chain(parting).min());
    }

    /// The one timer.
    async fn tick(self: Rc<Self>) {
        loop {
            self.alarm.rung().await;
            let now = self.clock.now();
            self.part(now);
            let core = &mut *self.core.borrow_mut();
            match core.house.deadline() {
                Some(deadline) if deadline <= now => {
                    // A house that asks for the past gets a tick a millisecond, not a storm.
                    self.tick_floor.set(now.plus_ms(1));
                    self.deliver(core, Event::Tick);
                }
                later => self.arm(later),
            }
        }
    }

    /// A connection that is closing has this long for its last words.
    pub(super) fn part_by(&self, deadline: Time, socket: &Rc<Socket>) {
        self.partings.borrow_mut().push_back((deadline, Rc::downgrade(socket)));
        self.alarm.set_by(deadline);
    }

    /// Ends the closing connections whose time is over: their tasks wake up and find it so.
    fn part(&self, now: Time) {
        let mut partings = self.partings.borrow_mut();
        while let Some((_, socket)) = partings.pop_front_if(|(by, _)| *by <= now) {
            if let Some(socket) = socket.upgrade() {
                socket.shut();
            }
        }
        if let Some((by, _)) = partings.front() {
            self.alarm.set_by(*by);
        }
    }

    async fn take_answers(self: Rc<Self>, answers: Receiver<Answer>) {
        while let Ok(answer) = answers.recv().await {
            self.post(answer.into());
            while let Ok(answer) = answers.try_recv() {
                self.post(answer.into());
            }
        }
    }

    async fn derive(self: Rc<Self>, query: QueryId, password: Zeroizing<String>) {
        let workers = self.workers.clone();
        let _permit = workers.acquire().await;
        if let Some(credentials) = pool::run(move || pool::derive(&password)).await.flatten() {
            self.post(Event::Derived(query, credentials));
        }
    }

    async fn verify(self: Rc<Self>, query: QueryId, credentials: Credentials, password: Zeroizing<String>) {
        let workers = self.workers.clone();
        let _permit = workers.acquire().await;
        let verdict = pool::run(move || pool::verify(&credentials, &password)).await.unwrap_or(false);
        self.post(Event::Verified(query, verdict));
    }
}

impl Core {
    /// Changes a connection that is not closing, and remembers to flush it.
    pub(super) fn touch(&mut self, id: StreamId, change: impl FnOnce(&mut Connection)) {
        if let Some(c) = self.table.find(id).filter(|c| !c.closing) {
            change(c);
            if !std::mem::replace(&mut c.dirty, true) {
                self.dirty.push(id);
            }
        }
    }

    /// Remembers to flush a connection.
    pub(super) fn touch_closing_too(&mut self, id: StreamId) {
        if let Some(c) = self.table.find(id)
            && !std::mem::replace(&mut c.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    /// After a mass disconnect the memory goes back to the system.
    pub(super) fn give_back(&mut self) {
        if self.gone >= TRIM_GONE_MIN && self.table.len() * 2 <= self.peak {
            self.gone = 0;
            self.peak = self.table.len();
            super::system::trim_memory();
        }
    }
}

fn stream_of(event: &Event<'_>) -> Option<StreamId> {
    match event {
        Event::Opened(id, _)
        | Event::Secured(id, _)
        | Event::Received(id, _)
        | Event::Stuck(id)
        | Event::Drained(id)
        | Event::Closed(id) => Some(*id),
        _ => None,
    }
}
