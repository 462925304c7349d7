//! What archives cost: the medium per message, and a page out of archives of a thousand to a million messages.
//!
//! `cargo bench --bench archive` runs the whole house over a real store in a temporary directory (`TMPDIR` chooses the
//! medium), without sockets and TLS; `cargo bench --bench archive -- 100000` stops at that size. The clock is moved by
//! hand: one message a second, and one a minute for lone messages.

use std::{path::Path, rc::Rc, sync::atomic::Ordering::Relaxed, time::Instant};

use lampone::{
    adapters::{
        port::{Answer, Mailbox, StorePort},
        store,
    },
    config::Config,
    domain::{accounts, overlay::Overlay, store::Store},
    limits,
    proto::scram::{Credentials, ITERATIONS},
    router::event::{BatchId, Door, Effect, Entropy, Env, Event, Secured, StreamId, Time},
    server::Server,
    wire::{jid::Jid, time},
};
use smol::channel::Receiver;

/// Contacts of the account whose archive is read.
const CONTACTS: usize = 20;
/// Messages in one round.
const BURST: usize = 100;
/// Messages of a page.
const PAGE: usize = 50;
/// Bytes of a message without its opening tag.
const BODY: usize = 300;
const START_US: u64 = 1_800_000_000_000_000;
const QUERIES: u32 = 200;

struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.iter_mut().for_each(|byte| {
            self.0 = self.0.wrapping_mul(5).wrapping_add(7);
            *byte = self.0;
        });
    }
}

struct House {
    server: Server,
    store: store::Store,
    answers: Receiver<Answer>,
    entropy: Counting,
    wall_us: u64,
    out: Vec<u8>,
    keeps_output: bool,
    flushing: bool,
}

impl House {
    fn turn(&mut self, event: Event<'_>) {
        let now = Time((self.wall_us - START_US) / 1000);
        let mut env = Env { now, wall_us: self.wall_us, view: self.store.view(), entropy: &mut self.entropy };
        let effects: Vec<_> = self.server.turn(&mut env, event).collect();
        self.perform(effects);
    }

    fn settle(&mut self) {
        let now = Time((self.wall_us - START_US) / 1000);
        let mut env = Env { now, wall_us: self.wall_us, view: self.store.view(), entropy: &mut self.entropy };
        let effects: Vec<_> = self.server.settle(&mut env).collect();
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut committed = None;
        for effect in effects {
            match effect {
                Effect::Write(_, chunk) if self.keeps_output => chunk.write(&mut self.out),
                Effect::Commit(batch, bytes) => {
                    self.store.commit(batch, bytes);
                    committed = Some(batch);
                }
                Effect::Flush(layer) => {
                    self.store.flush(layer);
                    self.flushing = true;
                }
                Effect::Verify(query, ..) => self.turn(Event::Verified(query, true)),
                _ => {}
            }
        }
        if let Some(answer) = self.store.settle() {
            if matches!(answer, Answer::Committed(_)) {
                committed = None;
            }
            self.turn(answer.into());
        }
        while committed.is_some() || self.flushing {
            let answer = self.answers.recv_blocking().expect("the store answers");
            match &answer {
                Answer::Committed(batch) => committed = committed.filter(|last| last > batch),
                Answer::Flushed(outcome) => {
                    outcome.expect("the medium has room");
                    self.flushing = false;
                }
                other => panic!("{other:?}"),
            }
            self.turn(answer.into());
        }
    }

    fn say(&mut self, stream: StreamId, text: &str) {
        self.turn(Event::Received(stream, text.as_bytes()));
        self.settle();
    }

    /// What the server answers.
    fn ask(&mut self, stream: StreamId, text: &str) -> usize {
        self.out.clear();
        self.keeps_output = true;
        self.say(stream, text);
        self.keeps_output = false;
        self.out.len()
    }

    fn sign_in(&mut self, slot: u32, name: &str) -> StreamId {
        let stream = StreamId { slot, generation: 1 };
        let header = "<stream:stream to='house.example' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";
        self.turn(Event::Opened(stream, Door::DirectTls([127, 0, 0, 1].into())));
        self.turn(Event::Secured(stream, Secured { version: "1.3", ..Secured::default() }));
        self.say(stream, header);
        let plain = base64(format!("\0{name}\0secret").as_bytes());
        self.say(stream, &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"));
        self.say(stream, header);
        self.say(stream, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
        self.say(stream, "<presence/>");
        stream
    }

    fn written(&self) -> (u64, u64) {
        (self.store.wear.bytes.load(Relaxed), self.store.wear.syncs.load(Relaxed))
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn house(folder: &Path) -> House {
    let (mailbox, answers) = Mailbox::new();
    let mut store = store::open(folder, limits::DATABASE_CACHE_BYTES, mailbox).expect("a new store");
    let mut overlay = Overlay::default();
    let mut rows = Store { overlay: &mut overlay, view: store.view() };
    let names = ["juliet".to_owned()].into_iter().chain((0..CONTACTS).map(|n| format!("contact{n}")));
    for name in names {
        let jid = Jid::from_parts(Some(&name), "house.example", None).expect("an address");
        let credentials = Credentials::derive("secret", [1; 16], ITERATIONS);
        accounts::create(&mut rows, &jid, credentials, false, 0).expect("a new account");
    }
    let bytes = overlay.take_batch(BatchId(1)).expect("accounts");
    store.commit(BatchId(1), bytes);
    if store.settle().is_none() {
        answers.recv_blocking().expect("the store answers");
    }
    store.flush(overlay.freeze().expect("accounts"));
    answers.recv_blocking().expect("the store answers");
    let mut config = Config { domains: vec!["house.example".into()], ..Config::default() };
    config.retention.archive_bytes = 0;
    let mut entropy = Counting(1);
    let mut env = Env { now: Time(0), wall_us: START_US, view: store.view(), entropy: &mut entropy };
    let server = Server::new(Rc::new(config), &mut env);
    House { server, store, answers, entropy, wall_us: START_US, out: Vec::new(), keeps_output: false, flushing: false }
}

fn message(n: usize) -> String {
    let body: String = (0..BODY - 40).map(|at| char::from(b'a' + ((n * 31 + at * 7) % 26) as u8)).collect();
    format!("<message to='juliet@house.example' id='m{n}' type='chat'><body>{body}</body></message>")
}

fn query(inner: &str, fields: &[(&str, &str)]) -> String {
    let field = |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let fields: String = fields.iter().map(field).collect();
    format!(
        "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field \
         var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>{fields}</x><set xmlns='http://jabber.org/protocol/rsm'>\
         <max>{PAGE}</max>{inner}</set></query></iq>"
    )
}

/// Microseconds of this thread, system calls included: the bars are about work, not about the machine's other users.
fn worked_us() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills in the structure that it is given.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) }, 0);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Microseconds per message of a page, the mean of many.
fn page(house: &mut House, juliet: StreamId, text: &str, expected: usize) -> f64 {
    house.ask(juliet, text);
    let answer = String::from_utf8_lossy(&house.out).into_owned();
    assert_eq!(answer.matches("<forwarded").count(), expected, "{text}: {answer:.400}");
    let start = worked_us();
    for _ in 0..QUERIES {
        house.ask(juliet, text);
    }
    (worked_us() - start) / f64::from(QUERIES) / expected as f64
}

/// The same for pages that follow one another backwards from the newest, each asked for once and in the cache of nobody.
fn scroll(house: &mut House, juliet: StreamId, fields: &[(&str, &str)]) -> f64 {
    let (mut before, mut spent, mut pages) = ("<before/>".to_owned(), 0.0, 0);
    while pages < QUERIES {
        let text = query(&before, fields);
        let start = worked_us();
        house.ask(juliet, &text);
        spent += worked_us() - start;
        pages += 1;
        let answer = String::from_utf8_lossy(&house.out);
        let first = answer.rsplit_once("</first>").and_then(|(head, _)| head.rsplit_once('>'));
        match first.filter(|_| answer.matches("<forwarded").count() == PAGE) {
            Some((_, id)) => before = format!("<before>{id}</before>"),
            // The oldest page is shorter: once more from the newest.
            None => before = "<before/>".to_owned(),
        }
    }
    spent / f64::from(pages) / PAGE as f64
}

fn main() {
    let largest: usize = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(1_000_000);
    let folder = std::env::temp_dir().join(format!("lampone-bench-archive-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary directory");
    let mut house = house(&folder);
    let juliet = house.sign_in(0, "juliet");
    let contacts: Vec<_> = (0..CONTACTS).map(|n| house.sign_in(1 + n as u32, &format!("contact{n}"))).collect();

    println!("lone messages of {BODY} bytes, one a minute, moves into the database included:");
    let before = house.written();
    const LONE: usize = 1_440;
    for n in 0..LONE {
        house.wall_us += 60_000_000;
        house.say(contacts[n % CONTACTS], &message(n));
    }
    let after = house.written();
    let per = |a: u64, b: u64| (b - a) as f64 / LONE as f64;
    println!("  {:.0} bytes, {:.2} syncs per message, over a day", per(before.0, after.0), per(before.1, after.1));

    println!("bursts of {BURST}, and pages of {PAGE}, µs per returned message:");
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "messages",
        "µs/msg",
        "wear/msg",
        "disk/msg",
        "first",
        "last",
        "start",
        "with",
        "with+s",
        "with<",
        "scroll",
        "with"
    );
    let mut sent = LONE;
    for size in [2_000, 10_000, 100_000, 1_000_000].into_iter().filter(|size| *size <= largest) {
        let (from, before, clock) = (sent, house.written(), Instant::now());
        while sent < size {
            for contact in &contacts {
                let mut burst = String::new();
                for _ in 0..BURST / CONTACTS {
                    burst += &message(sent);
                    sent += 1;
                }
                house.wall_us += 1_000_000 * (BURST / CONTACTS) as u64;
                house.turn(Event::Received(*contact, burst.as_bytes()));
            }
            house.settle();
        }
        let (count, spent) = ((sent - from) as f64, clock.elapsed());
        let wear = (house.written().0 - before.0) as f64 / count;
        let disk = std::fs::metadata(folder.join("lampone.redb")).map_or(0, |file| blocks(&file)) as f64 / sent as f64;
        let middle = time::stamp_ms((START_US / 2 + house.wall_us / 2) / 1000).as_str().to_owned();
        let with = ("with", "contact7@house.example");
        let queries = [
            query("", &[]),
            query("<before/>", &[]),
            query("", &[("start", &middle)]),
            query("", &[with]),
            query("", &[with, ("start", &middle)]),
            query("<before/>", &[with]),
        ];
        let mut costs: Vec<_> = queries.iter().map(|text| page(&mut house, juliet, text, PAGE)).collect();
        costs.extend([&[][..], &[with]].map(|fields| scroll(&mut house, juliet, fields)));
        print!("{sent:>9} {:>9.1} {wear:>9.0} {disk:>9.0}", spent.as_secs_f64() * 1e6 / count);
        costs.iter().for_each(|cost| print!(" {cost:>7.2}"));
        println!();
    }
    drop(house);
    let _ = std::fs::remove_dir_all(&folder);
}

/// Bytes that a sparse file takes.
fn blocks(file: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    file.blocks() * 512
}
