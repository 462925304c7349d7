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
    future::poll_fn,
    io,
    net::IpAddr,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
    vec::Drain,
};

use async_io::Timer;
use smol::{
    LocalExecutor,
    channel::{Receiver, Sender},
    future::{or, yield_now},
    lock::Semaphore,
};
use zeroize::Zeroizing;

use super::{
    clock::{self, Clock, SystemEntropy},
    conn::{Channel, Connection, Flushed, Socket},
    pool,
    table::{Refusal, Seats, Table},
    tls::{Certificates, Step, Tls},
};
use crate::{
    config::Config,
    domain::{overlay::Layer, store::View},
    limits,
    proto::scram::Credentials,
    router::event::{BatchId, Door, Effect, Env, Event, QueryId, StoreError, StreamId, Time},
    server::Server,
};

/// Bytes read from a socket at once: two full TLS records.
const READ_BYTES: usize = 32 * 1024;
/// Reads from one connection before others have their turn.
const READS_PER_ROUND: usize = 4;
/// Answers from other threads that wait; they are few, and a full channel makes those threads wait.
const ANSWERS_MAX: usize = 256;
/// Connections that must have gone before memory is given back to the system.
const TRIM_GONE_MIN: usize = 256;
/// Milliseconds after a panic until the next tick, so that a faulty timer does not turn the house into a heater.
const AFTER_PANIC_MS: u64 = 1_000;
/// Room of the gathering buffer that is kept between rounds.
const GATHER_KEPT: usize = 128 * 1024;

/// What is driven: the server, or an echo in tests.
pub trait House {
    /// One thing happens. Effects that a panicking turn has left behind must not show in the next.
    fn turn(&mut self, env: &mut Env<'_>, event: Event<'_>) -> Drain<'_, Effect>;
    /// The round is over.
    fn settle(&mut self, env: &mut Env<'_>) -> Drain<'_, Effect>;
    /// When to tick.
    fn deadline(&self) -> Option<Time>;
}

impl House for Server {
    fn turn(&mut self, env: &mut Env<'_>, event: Event<'_>) -> Drain<'_, Effect> {
        Server::turn(self, env, event)
    }
    fn settle(&mut self, env: &mut Env<'_>) -> Drain<'_, Effect> {
        Server::settle(self, env)
    }
    fn deadline(&self) -> Option<Time> {
        Server::deadline(self)
    }
}

/// The store as the driver needs it. Answers come through the [`Mailbox`], from whatever thread.
pub trait StorePort {
    /// The database as of the last flush.
    fn view(&self) -> &dyn View;
    /// Answered by [`Answer::Committed`] or [`Answer::Refused`], in order.
    fn commit(&mut self, batch: BatchId, puts: Vec<u8>);
    /// Answered by [`Answer::Flushed`].
    fn flush(&mut self, layer: Arc<Layer>);
    /// Answered by [`Answer::BackedUp`].
    fn backup(&mut self, query: QueryId, file: PathBuf);
}

/// What other threads answer.
#[derive(Debug)]
pub enum Answer {
    /// See [`Event::Committed`].
    Committed(BatchId),
    /// See [`Event::Refused`].
    Refused(BatchId, StoreError),
    /// See [`Event::Flushed`].
    Flushed(Result<(), StoreError>),
    /// See [`Event::BackedUp`].
    BackedUp(QueryId, Result<(), String>),
}

impl From<Answer> for Event<'static> {
    fn from(answer: Answer) -> Event<'static> {
        match answer {
            Answer::Committed(batch) => Event::Committed(batch),
            Answer::Refused(batch, error) => Event::Refused(batch, error),
            Answer::Flushed(outcome) => Event::Flushed(outcome),
            Answer::BackedUp(query, outcome) => Event::BackedUp(query, outcome),
        }
    }
}

/// Where other threads put their answers; wakes the main thread.
#[derive(Clone)]
pub struct Mailbox(Sender<Answer>);

impl Mailbox {
    /// A mailbox and its other end, for [`Driver::new`].
    pub fn new() -> (Mailbox, Receiver<Answer>) {
        let (sender, receiver) = smol::channel::bounded(ANSWERS_MAX);
        (Mailbox(sender), receiver)
    }

    /// Posts an answer. Waits while the box is full, so never call it on the main thread with more than
    /// a few answers outstanding. After the driver's end it does nothing.
    pub fn post(&self, answer: Answer) {
        let _ = self.0.send_blocking(answer);
    }
}

/// A store that keeps nothing and agrees to everything at once. For tests, and until the real one is opened.
pub struct ForgetfulStore(Mailbox);

impl ForgetfulStore {
    /// Answers into this mailbox.
    pub fn new(mailbox: Mailbox) -> ForgetfulStore {
        ForgetfulStore(mailbox)
    }
}

struct Nothing;

impl View for Nothing {
    fn read(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn scan(&self, _: &[u8], _: &[u8], _: bool, _: &mut dyn FnMut(&[u8], &[u8]) -> std::ops::ControlFlow<()>) {}
}

impl StorePort for ForgetfulStore {
    fn view(&self) -> &dyn View {
        &Nothing
    }
    fn commit(&mut self, batch: BatchId, _: Vec<u8>) {
        self.0.post(Answer::Committed(batch));
    }
    fn flush(&mut self, _: Arc<Layer>) {
        self.0.post(Answer::Flushed(Ok(())));
    }
    fn backup(&mut self, query: QueryId, _: PathBuf) {
        self.0.post(Answer::BackedUp(query, Err("this store keeps nothing".into())));
    }
}

/// A bell within one thread: rings before the wait count, and many are one.
#[derive(Default)]
pub(super) struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    pub fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Waits for a ring and takes it. One task may wait at a time.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            if self.rung.take() {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Everything that turns touch.
struct Core {
    house: Box<dyn House>,
    store: Box<dyn StorePort>,
    entropy: SystemEntropy,
    table: Table,
    certificates: Rc<Certificates>,
    /// Events of our own making and answers, delivered by the flusher.
    queue: VecDeque<Event<'static>>,
    dirty: Vec<StreamId>,
    /// The turn's effects while they are carried out; kept for its room.
    effects: Vec<Effect>,
    gather: Vec<u8>,
    /// Connections that went since memory was last given back, and the most there were.
    gone: usize,
    peak: usize,
}

/// The running house with all its connections. Lives on one thread.
pub struct Driver {
    executor: LocalExecutor<'static>,
    core: RefCell<Core>,
    /// The process's read buffer, taken while it is used.
    inbox: Cell<Vec<u8>>,
    clock: Clock,
    seats: Rc<Seats>,
    flusher: Bell,
    timer: Bell,
    stop: Bell,
    stopping: Cell<bool>,
    /// Earliest deadline that the reactor knows.
    armed: Cell<Option<Time>>,
    /// No tick before this.
    tick_floor: Cell<Time>,
    workers: Rc<Semaphore>,
    /// Closing connections whose last bytes are not yet with the kernel.
    unsaid: Cell<usize>,
}

/// How a read ended.
enum Heard {
    /// The socket is empty.
    Silence,
    /// There may be more; others first.
    More,
    /// The house wants no more for now.
    Paused,
    /// The connection is not ours any more.
    Gone,
}

impl Driver {
    /// A driver with nobody connected. `house` is made with the environment that turns see.
    pub fn new(
        house: impl FnOnce(&mut Env<'_>) -> Box<dyn House>,
        store: Box<dyn StorePort>,
        answers: Receiver<Answer>,
        certificates: Certificates,
        streams_max: usize,
    ) -> Rc<Driver> {
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
            seats: Seats::new(streams_max),
            flusher: Bell::default(),
            timer: Bell::default(),
            stop: Bell::default(),
            stopping: Cell::new(false),
            armed: Cell::new(None),
            tick_floor: Cell::new(Time(0)),
            workers: Rc::new(Semaphore::new(pool::WORKERS_MAX)),
            unsaid: Cell::new(0),
        });
        driver.spawn(driver.clone().flush_rounds());
        driver.spawn(driver.clone().tick());
        driver.spawn(driver.clone().take_answers(answers));
        driver.arm(driver.core.borrow().house.deadline());
        driver
    }

    /// Runs until the house says [`Effect::Stop`] (or [`Driver::give_up`] is called), then until the last words are
    /// written, within `CLOSING_MS_MAX`.
    pub async fn run(self: Rc<Self>) {
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

    /// Ends [`Driver::run`] although the house has not said so.
    pub fn give_up(&self) {
        self.stopping.set(true);
        self.stop.ring();
    }

    /// Runs a task on the main thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
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
        self.core.borrow_mut().certificates = Rc::new(certificates);
        self.post(Event::Reloaded(config));
    }

    /// The certificates in use.
    pub fn certificates(&self) -> Rc<Certificates> {
        self.core.borrow().certificates.clone()
    }

    /// Takes an accepted, non-blocking socket in, or says why not; then it is closed.
    pub fn admit(self: &Rc<Self>, fd: OwnedFd, door: Door) -> Result<(), Refusal> {
        let address = match door {
            Door::StartTls(address) | Door::DirectTls(address) => Some(address),
            Door::Local { .. } => None,
        };
        let seat = self.seats.take(address)?;
        let socket = match Socket::new(fd, address.is_some()) {
            Ok(socket) => Rc::new(socket),
            Err(e) => {
                log::debug!("a connection ended before it began: {e}");
                return Ok(());
            }
        };
        let core = &mut *self.core.borrow_mut();
        let id = core.table.insert(Box::new(Connection::new(socket.clone(), &door, seat)));
        core.peak = core.peak.max(core.table.len());
        self.spawn(self.clone().read(id, socket));
        self.deliver(core, Event::Opened(id, door));
        Ok(())
    }

    /// One event, one turn, its effects. A panic in it costs the stream that caused it, and nobody else.
    fn deliver(self: &Rc<Self>, core: &mut Core, event: Event<'_>) {
        let stream = stream_of(&event);
        let again = matches!(event, Event::Closed(_));
        let Core { house, store, entropy, effects, .. } = core;
        let mut env = Env { now: self.clock.now(), wall_us: clock::wall_us(), view: store.view(), entropy };
        let turn = catch_unwind(AssertUnwindSafe(|| effects.extend(house.turn(&mut env, event))));
        if turn.is_err() {
            core.effects.clear();
            self.tick_floor.set(self.clock.now().plus_ms(AFTER_PANIC_MS));
            log::error!("a turn was discarded; stream {stream:?} is closed for it, the house goes on");
            if let Some(id) = stream.filter(|_| !again) {
                self.lose(core, id);
            }
        }
        self.perform(core);
        self.arm(core.house.deadline());
        self.flusher.ring();
    }

    /// Carries out the effects at hand, in order.
    fn perform(self: &Rc<Self>, core: &mut Core) {
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
                Effect::Derive(query, password) => self.spawn(self.clone().derive(query, password)),
                Effect::Verify(query, credentials, password) => {
                    self.spawn(self.clone().verify(query, credentials, password));
                }
                Effect::Stop => self.stopping.set(true),
            }
        }
        core.effects = effects;
    }

    /// The connection is gone by itself: the house hears of it unless it closed it.
    fn lose(&self, core: &mut Core, id: StreamId) {
        let Some(connection) = core.table.remove(id) else { return };
        core.gone += 1;
        if !connection.closing {
            core.queue.push_back(Event::Closed(id));
            self.flusher.ring();
        }
        connection.abandon();
    }

    // Reading.

    /// The connection's task.
    async fn read(self: Rc<Self>, id: StreamId, socket: Rc<Socket>) {
        loop {
            match self.hear(id, &socket) {
                Heard::Gone => return,
                Heard::More => yield_now().await,
                Heard::Paused => self.resumed(id).await,
                Heard::Silence => {
                    if poll_fn(|cx| socket.poll_readable(cx)).await.is_err() {
                        return self.lose(&mut self.core.borrow_mut(), id);
                    }
                }
            }
        }
    }

    /// Waits until the connection is not paused, or gone.
    async fn resumed(&self, id: StreamId) {
        poll_fn(|cx| match self.core.borrow_mut().table.find(id) {
            Some(c) if c.paused => {
                c.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// Reads what is there, within a bound, and delivers it.
    fn hear(self: &Rc<Self>, id: StreamId, socket: &Socket) -> Heard {
        let mut inbox = self.inbox.take();
        inbox.resize(READ_BYTES, 0);
        let core = &mut *self.core.borrow_mut();
        let mut heard = Heard::More;
        for _ in 0..READS_PER_ROUND {
            match core.table.find(id) {
                None => heard = Heard::Gone,
                Some(c) if c.closing => heard = Heard::Gone,
                Some(c) if c.paused => heard = Heard::Paused,
                Some(_) => match socket.read(&mut inbox) {
                    Ok(0) => {
                        self.lose(core, id);
                        heard = Heard::Gone;
                    }
                    Ok(n) => {
                        self.received(core, id, &inbox[..n]);
                        if n == READ_BYTES {
                            continue;
                        }
                        // It was all there was, almost surely; if not, the reactor says so at once.
                        heard = Heard::Silence;
                        match core.table.find(id) {
                            Some(c) if c.paused => heard = Heard::Paused,
                            Some(c) if !c.closing => {}
                            _ => heard = Heard::Gone,
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => heard = Heard::Silence,
                    Err(e) => {
                        log::debug!("stream {id:?} broke: {e}");
                        self.lose(core, id);
                        heard = Heard::Gone;
                    }
                },
            }
            break;
        }
        self.inbox.set(inbox);
        heard
    }

    /// Bytes of the socket: in clear to the house, in TLS through it. A `Pause` among the turns stops the next read,
    /// not what this one has brought.
    fn received(self: &Rc<Self>, core: &mut Core, id: StreamId, bytes: &[u8]) {
        let Some(connection) = core.table.find(id) else { return };
        match std::mem::replace(&mut connection.channel, Channel::Lent) {
            Channel::Clear => {
                connection.channel = Channel::Clear;
                self.deliver(core, Event::Received(id, bytes));
            }
            // In clear after <starttls/>: dropped (S6).
            other @ (Channel::Upgrading | Channel::Lent) => connection.channel = other,
            Channel::Tls(mut tls) => {
                let address = connection.address;
                let lives = self.decrypt(core, id, &mut tls, bytes, address);
                let wants_push = tls.wants_push();
                let Some(connection) = core.table.find(id) else { return };
                connection.channel = Channel::Tls(tls);
                if wants_push {
                    core.touch_closing_too(id);
                    self.flusher.ring();
                }
                if !lives {
                    self.lose(core, id);
                }
            }
        }
    }

    /// Whether the connection goes on.
    fn decrypt(
        self: &Rc<Self>,
        core: &mut Core,
        id: StreamId,
        tls: &mut Tls,
        mut bytes: &[u8],
        address: Option<IpAddr>,
    ) -> bool {
        let certificates = core.certificates.clone();
        loop {
            match tls.step(&mut bytes, &certificates) {
                Ok(Step::Hungry) => return true,
                Ok(Step::Closed) => return false,
                Ok(Step::Secured(secured)) => self.deliver(core, Event::Secured(id, secured)),
                Ok(Step::Plain) => {
                    let plain = tls.plain();
                    let length = plain.len();
                    self.deliver(core, Event::Received(id, plain));
                    tls.consume(length);
                }
                Err(reason) => {
                    log::debug!("TLS with {address:?} ended: {reason}");
                    return false;
                }
            }
            // Nothing is delivered after the house closed the stream.
            if core.table.find(id).is_none_or(|c| c.closing) {
                return true;
            }
        }
    }

    // Writing.

    /// The flusher: runs behind the tasks that were ready and ends their round.
    async fn flush_rounds(self: Rc<Self>) {
        loop {
            self.flusher.wait().await;
            let core = &mut *self.core.borrow_mut();
            for _ in 0..core.queue.len() {
                if let Some(event) = core.queue.pop_front() {
                    self.deliver(core, event);
                }
            }
            // The rings of these turns are answered here and now.
            self.flusher.rung.set(false);
            self.settle(core);
            let mut dirty = std::mem::take(&mut core.dirty);
            for id in dirty.drain(..) {
                self.flush(core, id);
            }
            core.dirty = dirty;
            core.gather.shrink_to(GATHER_KEPT);
            if !core.queue.is_empty() {
                self.flusher.ring();
            }
            if self.stopping.get() {
                self.stop.ring();
            }
            core.give_back();
        }
    }

    fn settle(self: &Rc<Self>, core: &mut Core) {
        let Core { house, store, entropy, effects, .. } = core;
        let mut env = Env { now: self.clock.now(), wall_us: clock::wall_us(), view: store.view(), entropy };
        if catch_unwind(AssertUnwindSafe(|| effects.extend(house.settle(&mut env)))).is_err() {
            core.effects.clear();
            log::error!("the end of a round was discarded, the house goes on");
        }
        self.perform(core);
        self.arm(core.house.deadline());
    }

    /// Writes what a connection has to say, and draws the consequences.
    fn flush(self: &Rc<Self>, core: &mut Core, id: StreamId) {
        let Some(c) = core.table.find(id) else { return };
        c.dirty = false;
        if c.writing && !c.closing && c.waiting() <= limits::OUTBOX_BYTES_MAX {
            return; // Its writer is called when the socket takes more.
        }
        let flushed = c.flush(&mut core.gather);
        if let Flushed::Broken(e) = &flushed {
            log::debug!("stream {id:?} broke: {e}");
            return self.lose(core, id);
        }
        if c.closing {
            if let Some(connection) = core.table.remove(id) {
                core.gone += 1;
                self.unsaid.set(self.unsaid.get() + 1);
                self.spawn(self.clone().close(connection));
            }
            return;
        }
        if matches!(flushed, Flushed::Done) {
            if std::mem::take(&mut c.stuck) {
                core.queue.push_back(Event::Drained(id));
            }
            return;
        }
        if c.waiting() > limits::OUTBOX_BYTES_CAP {
            log::info!("stream {id:?} reads too slowly: {} bytes wait, it is closed", c.waiting());
            return self.lose(core, id);
        }
        if c.waiting() > limits::OUTBOX_BYTES_MAX && !std::mem::replace(&mut c.stuck, true) {
            core.queue.push_back(Event::Stuck(id));
        }
        if !std::mem::replace(&mut c.writing, true) {
            let socket = c.socket.clone();
            self.spawn(self.clone().write_on(id, socket));
        }
    }

    /// Lives while the socket is full.
    async fn write_on(self: Rc<Self>, id: StreamId, socket: Rc<Socket>) {
        let ready = poll_fn(|cx| socket.poll_writable(cx)).await;
        let core = &mut *self.core.borrow_mut();
        if ready.is_err() {
            return self.lose(core, id);
        }
        let Some(c) = core.table.find(id) else { return };
        c.writing = false;
        // The flusher goes on and, if need be, starts another writer.
        core.touch_closing_too(id);
        self.flusher.ring();
    }

    /// The last moments of a connection that the house closed: what waits, goodbye, end of sending, and the peer's end,
    /// because closing a socket with unread bytes would destroy what the peer has not read yet.
    async fn close(self: Rc<Self>, mut connection: Box<Connection>) {
        let socket = connection.socket.clone();
        let unsaid = Cell::new(true);
        let said = || {
            if unsaid.take() {
                self.unsaid.set(self.unsaid.get() - 1);
                if self.stopping.get() {
                    self.stop.ring();
                }
            }
        };
        let goodbye = async {
            let mut parted = false;
            loop {
                let flushed = connection.flush(&mut self.core.borrow_mut().gather);
                match flushed {
                    Flushed::Broken(_) => return,
                    Flushed::Blocked => {
                        let _ = poll_fn(|cx| socket.poll_writable(cx)).await;
                    }
                    Flushed::Done if parted => break,
                    Flushed::Done => {
                        connection.say_goodbye();
                        parted = true;
                    }
                }
            }
            socket.finish();
            said();
            let mut rest = [0; 512];
            loop {
                match socket.read(&mut rest) {
                    Ok(0) => return,
                    Ok(_) => yield_now().await,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        let _ = poll_fn(|cx| socket.poll_readable(cx)).await;
                    }
                    Err(_) => return,
                }
            }
        };
        let late = async {
            Timer::after(Duration::from_millis(limits::CLOSING_MS_MAX)).await;
        };
        or(goodbye, late).await;
        said();
        socket.shut();
    }

    // Time, answers, passwords.

    /// Tells the reactor if the earliest deadline moved earlier; later ones are found when the timer fires.
    fn arm(&self, deadline: Option<Time>) {
        let Some(deadline) = deadline.map(|d| d.max(self.tick_floor.get())) else { return };
        if self.armed.get().is_none_or(|armed| deadline < armed) {
            self.armed.set(Some(deadline));
            self.timer.ring();
        }
    }

    /// The one timer.
    async fn tick(self: Rc<Self>) {
        let mut timer = Timer::never();
        loop {
            let moved = async {
                self.timer.wait().await;
                true
            };
            let fired = async {
                (&mut timer).await;
                false
            };
            if or(moved, fired).await {
                if let Some(armed) = self.armed.get() {
                    timer.set_at(self.clock.instant(armed));
                }
                continue;
            }
            self.armed.set(None);
            let now = self.clock.now();
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
        if let Some(credentials) = smol::unblock(move || pool::derive(&password)).await {
            self.post(Event::Derived(query, credentials));
        }
    }

    async fn verify(self: Rc<Self>, query: QueryId, credentials: Credentials, password: Zeroizing<String>) {
        let workers = self.workers.clone();
        let _permit = workers.acquire().await;
        let verdict = smol::unblock(move || pool::verify(&credentials, &password)).await;
        self.post(Event::Verified(query, verdict));
    }
}

impl Core {
    /// Changes a connection that is not closing, and remembers to flush it.
    fn touch(&mut self, id: StreamId, change: impl FnOnce(&mut Connection)) {
        if let Some(c) = self.table.find(id).filter(|c| !c.closing) {
            change(c);
            if !std::mem::replace(&mut c.dirty, true) {
                self.dirty.push(id);
            }
        }
    }

    /// Remembers to flush a connection.
    fn touch_closing_too(&mut self, id: StreamId) {
        if let Some(c) = self.table.find(id)
            && !std::mem::replace(&mut c.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    /// After a mass disconnect the memory goes back to the system.
    fn give_back(&mut self) {
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
