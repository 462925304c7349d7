//! The server with a virtual clock, seeded randomness, connections, and a disk that does what the test wants.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    rc::Rc,
    sync::{Mutex, OnceLock},
};

use lampone::{
    config::Config,
    domain::{
        accounts,
        overlay::{BatchId, Overlay},
        store::{MemoryView, Store},
    },
    limits,
    proto::{
        identity::PeerCertificate,
        sasl::ChannelBinding,
        scram::{Credentials, ITERATIONS},
    },
    router::event::{DialError, Door, Effect, Entropy, Env, Event, QueryId, Secured, StreamId, Target, Time},
    server::Server,
    wire::jid::Jid,
};

use super::{
    Conn, Stage,
    disk::{Answer, Disk},
};

/// The domain of the play.
pub const DOMAIN: &str = "capulet.lit";
/// Everybody's password.
pub const PASSWORD: &str = "correct horse";
/// What both sides of every simulated TLS connection know of it.
pub const EXPORTER: [u8; 32] = [0x5e; 32];

/// Random numbers from a seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

impl Entropy for Dice {
    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let bytes = self.roll().to_be_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// Whoever draws from it makes a mistake: every handler that does may stand for one that has a fault.
struct Fault;

impl Entropy for Fault {
    fn fill(&mut self, _: &mut [u8]) {
        // Without the hook, whose text would be taken for a failure.
        std::panic::resume_unwind(Box::new("a fault"));
    }
}

/// A connection as the adapters would hold it, and the client's end of it.
struct Line {
    id: StreamId,
    to_server: VecDeque<u8>,
    /// Written by the server, not yet taken by the socket.
    outbox: Vec<u8>,
    to_client: Vec<u8>,
    open: bool,
    paused: bool,
    /// The client does not read.
    stalled: bool,
    /// The client writes no more.
    half_closed: bool,
    stuck: bool,
    upgrading: bool,
}

enum Question {
    Derive(QueryId, String),
    Verify(QueryId, Box<Credentials>, String),
}

/// The house and everything around it.
pub struct World {
    /// The server.
    pub server: Server,
    /// Its disk.
    pub disk: Disk,
    /// Milliseconds since the start.
    pub now: Time,
    /// Microseconds since 1970.
    pub wall_us: u64,
    /// Bytes arrive cut at arbitrary places.
    pub chops: Option<Dice>,
    /// Where the next connection comes from.
    pub address: IpAddr,
    /// The server said that everything is done.
    pub stopped: bool,
    config: Rc<Config>,
    entropy: Dice,
    lines: Vec<Line>,
    live: BTreeMap<StreamId, Conn>,
    generations: Vec<u32>,
    questions: VecDeque<Question>,
    /// Servers that it wants to be connected to.
    pub dials: VecDeque<(QueryId, Target)>,
    /// There are no other servers.
    pub is_alone: bool,
}

impl World {
    /// A house with these accounts; a name that ends in `!` is an administrator's.
    pub fn new(accounts: &[&str]) -> World {
        World::with(Config { domains: vec![DOMAIN.into()], ..Config::default() }, accounts, 1)
    }

    /// The same with other settings and another seed.
    pub fn with(config: Config, accounts: &[&str], seed: u64) -> World {
        let config = Rc::new(config);
        let wall_us = 1_700_000_000_000_000;
        let mut disk = Disk::default();
        disk.view = found(accounts, &config.domains[0], wall_us);
        let mut entropy = Dice(seed);
        let server = start(&config, &mut disk, Time(0), wall_us, &mut entropy);
        World {
            server,
            disk,
            now: Time(0),
            wall_us,
            chops: None,
            address: [192, 0, 2, 1].into(),
            stopped: false,
            config,
            entropy,
            lines: Vec::new(),
            live: BTreeMap::new(),
            generations: Vec::new(),
            questions: VecDeque::new(),
            dials: VecDeque::new(),
            is_alone: true,
        }
    }

    /// One turn of the server, and its effects.
    pub fn turn(&mut self, event: Event<'_>) {
        let mut env = Env { now: self.now, wall_us: self.wall_us, view: &self.disk.view, entropy: &mut self.entropy };
        let effects: Vec<Effect> = self.server.turn(&mut env, event).collect();
        self.server.check();
        self.perform(effects);
    }

    /// One turn as the driver takes it when a handler has a fault: it draws a random number and panics.
    ///
    /// # Panics
    /// If nothing in the turn draws one, or the house is not sound afterwards.
    pub fn turn_with_fault(&mut self, conn: Conn) {
        let line = &mut self.lines[conn];
        let (id, bytes): (_, Vec<u8>) = (line.id, line.to_server.drain(..).collect());
        let mut env = Env { now: self.now, wall_us: self.wall_us, view: &self.disk.view, entropy: &mut Fault };
        let server = &mut self.server;
        let turn = std::panic::AssertUnwindSafe(|| server.turn(&mut env, Event::Received(id, &bytes)).count());
        assert!(std::panic::catch_unwind(turn).is_err(), "nothing was drawn");
        let mut env = Env { now: self.now, wall_us: self.wall_us, view: &self.disk.view, entropy: &mut self.entropy };
        let effects: Vec<Effect> = self.server.discard_turn(&mut env).collect();
        self.server.check();
        self.perform(effects);
    }

    /// The end of a round; `true`: something is to be done.
    pub fn settle(&mut self) -> bool {
        let mut env = Env { now: self.now, wall_us: self.wall_us, view: &self.disk.view, entropy: &mut self.entropy };
        let effects: Vec<Effect> = self.server.settle(&mut env).collect();
        self.server.check();
        let busy = !effects.is_empty() && !self.stopped;
        self.perform(effects);
        busy
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Write(id, chunk) => {
                    if let Some(line) = self.line(id) {
                        chunk.write(&mut line.outbox);
                    }
                }
                Effect::StartTls(id) => {
                    if let Some(line) = self.line(id) {
                        line.to_server.clear();
                        line.upgrading = true;
                    }
                }
                Effect::Pause(id) => {
                    if let Some(line) = self.line(id) {
                        line.paused = true;
                    }
                }
                Effect::Resume(id) => {
                    if let Some(line) = self.line(id) {
                        line.paused = false;
                    }
                }
                Effect::Close(id) => self.close(id),
                Effect::Commit(batch, bytes) => self.disk.commit(batch, bytes),
                Effect::Flush(layer) => self.disk.flush(layer),
                Effect::Derive(query, password) => {
                    self.questions.push_back(Question::Derive(query, password.to_string()));
                }
                Effect::Verify(query, credentials, password) => {
                    self.questions.push_back(Question::Verify(query, credentials, password.to_string()));
                }
                Effect::Dial(query, target) => self.dials.push_back((query, *target)),
                Effect::Backup(..) => {}
                // What is said at the web door is looked at with the real binary.
                Effect::Respond(..) | Effect::Discard(_) => {}
                Effect::Stop => self.stopped = true,
            }
        }
    }

    fn line(&mut self, id: StreamId) -> Option<&mut Line> {
        let conn = *self.live.get(&id)?;
        self.lines.get_mut(conn)
    }

    fn close(&mut self, id: StreamId) {
        if let Some(conn) = self.live.remove(&id) {
            let line = &mut self.lines[conn];
            line.open = false;
            let last = std::mem::take(&mut line.outbox);
            line.to_client.extend(last);
        }
    }

    /// Lets everything happen until nobody has anything left to do.
    ///
    /// # Panics
    /// If that never comes.
    pub fn drive(&mut self) {
        for _ in 0..200_000 {
            if !self.round() {
                return;
            }
        }
        panic!("the house never rests");
    }

    /// One round of the driver; `false`: nothing happened.
    pub fn round(&mut self) -> bool {
        let mut busy = false;
        for conn in 0..self.lines.len() {
            busy |= self.receive(conn);
        }
        while let Some(question) = self.questions.pop_front() {
            busy = true;
            match question {
                Question::Derive(query, password) => self.turn(Event::Derived(query, credentials(&password))),
                Question::Verify(query, credentials, password) => {
                    self.turn(Event::Verified(query, verify(&credentials, &password)));
                }
            }
        }
        while self.is_alone
            && let Some((query, _)) = self.dials.pop_front()
        {
            busy = true;
            self.turn(Event::DialFailed(query, DialError::NotFound));
        }
        if let Some(answer) = self.disk.work() {
            busy = true;
            self.disk_says(answer);
        }
        busy |= self.settle();
        for conn in 0..self.lines.len() {
            busy |= self.write_out(conn);
        }
        busy
    }

    /// The disk's answer reaches the server.
    pub fn disk_says(&mut self, answer: Answer) {
        match answer {
            Answer::Committed(batch) => self.turn(Event::Committed(batch)),
            Answer::Refused(batch, error) => self.turn(Event::Refused(batch, error)),
            Answer::Flushed(outcome) => self.turn(Event::Flushed(outcome)),
        }
    }

    fn receive(&mut self, conn: Conn) -> bool {
        let line = &mut self.lines[conn];
        if !line.open || line.paused || line.upgrading {
            return false;
        }
        if line.to_server.is_empty() {
            return line.half_closed && self.end(conn);
        }
        let size = match &mut self.chops {
            Some(dice) => 1 + dice.below(line.to_server.len().min(900)),
            None => line.to_server.len().min(16 * 1024),
        };
        let bytes: Vec<u8> = line.to_server.drain(..size).collect();
        let id = line.id;
        self.turn(Event::Received(id, &bytes));
        true
    }

    /// The end of what the client sends: its connection is gone for the server, except that what waits is written if the
    /// socket takes it.
    fn end(&mut self, conn: Conn) -> bool {
        let line = &mut self.lines[conn];
        let id = line.id;
        line.open = false;
        let last = std::mem::take(&mut line.outbox);
        if !line.stalled {
            line.to_client.extend(last);
        }
        self.live.remove(&id);
        self.turn(Event::Closed(id));
        true
    }

    /// The client sends nothing more, and reads on.
    pub fn half_close(&mut self, conn: Conn) {
        self.lines[conn].half_closed = true;
    }

    /// The socket takes what it can; the server hears when that is too little.
    fn write_out(&mut self, conn: Conn) -> bool {
        let line = &mut self.lines[conn];
        let id = line.id;
        if !line.open {
            return false;
        }
        if !line.stalled {
            let moved = !line.outbox.is_empty();
            let out = std::mem::take(&mut line.outbox);
            line.to_client.extend(out);
            if std::mem::take(&mut line.stuck) {
                self.turn(Event::Drained(id));
                return true;
            }
            return moved;
        }
        if line.outbox.len() > limits::OUTBOX_BYTES_CAP {
            line.open = false;
            line.outbox.clear();
            self.live.remove(&id);
            self.turn(Event::Closed(id));
            return true;
        }
        if line.outbox.len() > limits::OUTBOX_BYTES_MAX && !line.stuck {
            line.stuck = true;
            self.turn(Event::Stuck(id));
            return true;
        }
        false
    }

    /// Opens a connection through this door.
    pub fn open(&mut self, door: Door) -> Conn {
        let used: Vec<u32> = self.live.keys().map(|id| id.slot).collect();
        let slot = (0..).find(|slot| !used.contains(slot)).unwrap_or_default();
        if self.generations.len() <= slot as usize {
            self.generations.push(0);
        }
        self.generations[slot as usize] += 1;
        let id = StreamId { slot, generation: self.generations[slot as usize] };
        let conn = self.lines.len();
        self.lines.push(Line {
            id,
            to_server: VecDeque::new(),
            outbox: Vec::new(),
            to_client: Vec::new(),
            open: true,
            paused: false,
            stalled: false,
            half_closed: false,
            stuck: false,
            upgrading: false,
        });
        self.live.insert(id, conn);
        let direct = matches!(door, Door::DirectTls(_));
        self.turn(Event::Opened(id, door));
        if direct {
            self.turn(Event::Secured(id, secured()));
        }
        conn
    }

    /// Whether a domain is served here, or is the host name of a service.
    pub fn serves(&self, domain: &str) -> bool {
        let names = [&self.config.hosts.pubsub, &self.config.hosts.rooms, &self.config.hosts.upload];
        let named = |own: &String, name: &Option<String>| name.as_ref().is_some_and(|n| domain == format!("{n}.{own}"));
        let hosts = |own: &String| names.iter().any(|name| named(own, name));
        self.config.domains.iter().any(|own| own == domain || hosts(own))
    }

    /// What the domain of its people is.
    pub fn domain(&self) -> &str {
        &self.config.domains[0]
    }

    /// New settings.
    pub fn reload(&mut self, config: Config) {
        self.config = Rc::new(config);
        self.turn(Event::Reloaded(self.config.clone()));
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Whether the server wants TLS on this connection.
    pub fn wants_tls(&self, conn: Conn) -> bool {
        self.lines[conn].open && self.lines[conn].upgrading
    }

    /// TLS between servers is up.
    pub fn secure_with(&mut self, conn: Conn, peer: Option<PeerCertificate>) {
        self.lines[conn].upgrading = false;
        let id = self.lines[conn].id;
        self.turn(Event::Secured(id, Secured { peer: peer.map(Box::new), ..secured() }));
    }

    /// The other end sends bytes, without driving the house.
    pub fn bring(&mut self, conn: Conn, bytes: &[u8]) {
        self.put(conn, bytes);
    }

    /// The client stops or begins to read.
    pub fn stall(&mut self, conn: Conn, stalled: bool) {
        self.lines[conn].stalled = stalled;
    }

    /// Bytes that wait in the connection's outbox.
    pub fn outbox(&self, conn: Conn) -> usize {
        self.lines[conn].outbox.len()
    }

    /// Whether the server reads no more from it for now.
    pub fn is_paused(&self, conn: Conn) -> bool {
        self.lines[conn].paused
    }

    /// Connections that are up.
    pub fn connections(&self) -> usize {
        self.lines.iter().filter(|line| line.open).count()
    }

    /// Whether the connection is up.
    pub fn is_open(&self, conn: Conn) -> bool {
        self.lines[conn].open
    }

    /// Takes what came, without driving the house.
    pub fn take_now(&mut self, conn: Conn) -> Vec<u8> {
        std::mem::take(&mut self.lines[conn].to_client)
    }

    /// What was taken and did not get there yet.
    pub fn put_back(&mut self, conn: Conn, mut rest: Vec<u8>) {
        let line = &mut self.lines[conn];
        rest.append(&mut line.to_client);
        line.to_client = rest;
    }

    /// Lets time pass, through all deadlines.
    ///
    /// # Panics
    /// If a deadline does not go away.
    pub fn advance(&mut self, ms: u64) {
        self.drive();
        let end = self.now.plus_ms(ms);
        let mut alarms = 0;
        while let Some(due) = self.server.deadline().filter(|due| *due <= end) {
            let due = due.max(self.now);
            self.wall_us += (due.0 - self.now.0) * 1000;
            self.now = due;
            self.turn(Event::Tick);
            self.drive();
            alarms += 1;
            assert!(alarms < 100_000, "the same deadline again and again");
        }
        self.wall_us += (end.0 - self.now.0) * 1000;
        self.now = end;
    }

    /// The power fails and comes back; so many batches that were under way reached the disk.
    pub fn power_fails(&mut self, survive: usize) {
        for line in &mut self.lines {
            line.open = false;
            line.outbox.clear();
        }
        self.live.clear();
        self.questions.clear();
        self.dials.clear();
        self.disk.power_cut(survive);
        self.server = start(&self.config, &mut self.disk, self.now, self.wall_us, &mut self.entropy);
        self.stopped = false;
    }
}

impl Stage for World {
    fn connect(&mut self, direct: bool) -> Conn {
        let address = self.address;
        self.open(if direct { Door::DirectTls(address) } else { Door::StartTls(address) })
    }

    fn put(&mut self, conn: Conn, bytes: &[u8]) {
        let line = &mut self.lines[conn];
        if line.open && !line.half_closed {
            line.to_server.extend(bytes);
        }
    }

    fn take(&mut self, conn: Conn) -> Vec<u8> {
        self.drive();
        self.take_now(conn)
    }

    fn secure(&mut self, conn: Conn) {
        let line = &mut self.lines[conn];
        assert!(std::mem::take(&mut line.upgrading), "the server does not expect TLS");
        let id = line.id;
        self.turn(Event::Secured(id, secured()));
    }

    fn is_closed(&mut self, conn: Conn) -> bool {
        self.drive();
        !self.lines[conn].open && self.lines[conn].to_client.is_empty()
    }

    fn cut(&mut self, conn: Conn) {
        let line = &mut self.lines[conn];
        let id = line.id;
        if std::mem::take(&mut line.open) {
            line.outbox.clear();
            self.live.remove(&id);
            self.turn(Event::Closed(id));
        }
    }

    fn power_cut(&mut self) {
        self.drive();
        self.power_fails(0);
    }

    fn house(&mut self) -> Option<&mut World> {
        Some(self)
    }
}

fn start(config: &Rc<Config>, disk: &mut Disk, now: Time, wall_us: u64, entropy: &mut Dice) -> Server {
    let mut env = Env { now, wall_us, view: &disk.view, entropy };
    Server::new(config.clone(), &mut env)
}

fn secured() -> Secured {
    let binding = ChannelBinding { exporter: Some(EXPORTER), end_point: None };
    Secured { binding, server_name: None, version: "1.3", peer: None }
}

/// A database with these accounts.
fn found(names: &[&str], domain: &str, wall_us: u64) -> MemoryView {
    let mut view = MemoryView::default();
    let mut overlay = Overlay::default();
    let mut store = Store { overlay: &mut overlay, view: &view };
    for name in names {
        let local = name.trim_end_matches('!');
        let jid = Jid::from_parts(Some(local), domain, None).expect("a good name");
        let made = accounts::create(&mut store, &jid, credentials(PASSWORD), local != *name, wall_us / 1_000_000);
        made.expect("a new name");
    }
    if overlay.take_batch(BatchId(1)).is_some() {
        let layer = overlay.freeze().expect("accounts were written");
        view.apply(&layer);
    }
    view
}

/// Credentials of a password; slow the first time.
pub fn credentials(password: &str) -> Credentials {
    static KNOWN: OnceLock<Mutex<BTreeMap<String, Credentials>>> = OnceLock::new();
    let mut known = KNOWN.get_or_init(Mutex::default).lock().expect("no test panics here");
    known.entry(password.into()).or_insert_with(|| Credentials::derive(password, [7; 16], ITERATIONS)).clone()
}

/// Compares a password; slow the first time.
fn verify(credentials: &Credentials, password: &str) -> bool {
    type Known = BTreeMap<(Vec<u8>, String), bool>;
    static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
    let mut bytes = Vec::new();
    credentials.encode(&mut bytes);
    let mut known = KNOWN.get_or_init(Mutex::default).lock().expect("no test panics here");
    *known.entry((bytes, password.into())).or_insert_with(|| credentials.verify_password(password))
}
