//! Streams that are carried by requests: which request belongs to which stream, who waits for which answer, and when.
//!
//! Source: XEP-0124, XEP-0206; what a session means is `proto/bosh`'s business. A stream has one [`Line`], one task that
//! carries what requests bring into the house, in order, and no socket.
//!
//! Invariants: a session's name is 128 random bits (XEP-0124 §19.2); a stream has a seat as others have, until its last
//! words are fetched; bodies that are being read are bounded, each and all; whoever goes away takes nothing along.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use async_io::Timer;
use hyper::body::{Body as _, Incoming};
use smol::{
    channel::{Receiver, Sender},
    future::{or, yield_now},
};

use crate::{
    adapters::{bell::Bell, clock::Clock, conn::Connection, driver::Driver},
    limits,
    proto::bosh::{
        Answer, Session, Ticket,
        body::{self, Body, Condition, goodbye},
    },
    router::{
        event::{Door, Entropy, Event, Request, Secured, StreamId, Time},
        web::{Method, Page},
    },
};

/// `Content-Type` of answers; what a client wishes otherwise is granted if it is XML or text (XEP-0124 §7.1).
const KIND: &str = "text/xml; charset=utf-8";
const KINDS: &[(&str, &str)] =
    &[("application/xml", "application/xml; charset=utf-8"), ("text/plain", "text/plain; charset=utf-8")];

/// Milliseconds between two looks at what is due.
const SPAN_MS_MIN: u64 = 2;

/// All streams that are carried by requests.
#[derive(Default)]
pub(super) struct Lines {
    by_name: RefCell<BTreeMap<String, Rc<Line>>>,
    last: Cell<u64>,
    /// Bytes of bodies that are being read.
    reading: Cell<usize>,
}

impl Lines {
    /// Bytes that sessions before their sign-in may still keep of requests ahead of their turn. Counted anew each time:
    /// sessions are as few as connections, and there is no sum that could go wrong.
    fn early_room(&self) -> usize {
        let kept = self.by_name.borrow().values().map(|line| line.session.borrow().early_bytes()).sum();
        limits::BOSH_EARLY_ALL_BYTES_MAX.saturating_sub(kept)
    }
}

/// One stream's.
pub(in crate::adapters) struct Line {
    session: RefCell<Session>,
    asked: RefCell<BTreeMap<Ticket, Sender<Answer>>>,
    /// The carrier has something to do.
    bell: Bell,
    /// All is over.
    end: Bell,
    /// When the carrier wakes by itself, in milliseconds.
    armed: Cell<Option<u64>>,
    stream: Cell<Option<StreamId>>,
    kind: &'static str,
    clock: Clock,
}

impl Line {
    fn now(&self) -> u64 {
        self.clock.now().0
    }

    /// Takes a request; the answer comes by the receiver. `room` as [`Session::take`] has it.
    fn take(&self, body: Body, ticket: Ticket, room: usize) {
        self.session.borrow_mut().take(body, ticket, self.now(), room);
        self.hand_out();
        self.bell.ring();
    }

    /// What the stream says.
    pub fn say(&self, bytes: &[u8]) {
        self.session.borrow_mut().say(bytes);
    }

    /// Bytes that were said and that nobody has asked for.
    pub fn unsaid(&self) -> usize {
        self.session.borrow().unsaid()
    }

    /// Gives the answers that are due.
    pub fn settle(&self) {
        let deadline = {
            let session = &mut *self.session.borrow_mut();
            session.settle(self.now());
            session.deadline()
        };
        self.hand_out();
        let is_sooner = deadline.is_some_and(|deadline| self.armed.get().is_none_or(|armed| deadline < armed));
        if is_sooner || self.is_over() {
            self.bell.ring();
        }
    }

    /// The stream has said everything.
    pub fn close(&self) {
        self.session.borrow_mut().close();
        self.settle();
    }

    /// The stream is gone.
    pub fn break_off(&self) {
        self.session.borrow_mut().break_off(Condition::RemoteConnectionFailed);
        self.hand_out();
        self.bell.ring();
    }

    fn is_over(&self) -> bool {
        self.session.borrow().is_over()
    }

    /// Waits until all is over. One task may wait.
    pub async fn ended(&self) {
        self.end.wait().await;
    }

    fn hand_out(&self) {
        let answers = self.session.borrow_mut().answers();
        for answer in answers {
            if let Some(asked) = self.asked.borrow_mut().remove(&answer.ticket) {
                let _ = asked.try_send(answer);
            }
        }
    }
}

/// Somebody who waits for an answer.
struct Asking {
    line: Rc<Line>,
    ticket: Ticket,
    answer: Receiver<Answer>,
}

impl Asking {
    fn new(line: Rc<Line>, ticket: Ticket) -> Asking {
        let (sender, answer) = smol::channel::bounded(1);
        line.asked.borrow_mut().insert(ticket, sender);
        Asking { line, ticket, answer }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.line.asked.borrow_mut().remove(&self.ticket).is_some() {
            self.line.session.borrow_mut().left(self.ticket, self.line.now());
            self.line.bell.ring();
        }
    }
}

/// Bytes of a body that is being read, within what all may have.
struct Share<'l> {
    lines: &'l Lines,
    bytes: usize,
}

impl Share<'_> {
    fn grow(&mut self, bytes: usize) -> bool {
        let all = self.lines.reading.get() + bytes;
        self.bytes += bytes;
        self.lines.reading.set(all);
        all <= limits::BOSH_READING_BYTES_MAX && self.bytes <= limits::BOSH_BODY_BYTES_MAX
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.lines.reading.set(self.lines.reading.get() - self.bytes);
    }
}

/// A request to the door, to its answer.
pub(super) async fn converse(driver: &Rc<Driver>, head: &Request, is_secure: bool, content: Option<Incoming>) -> Page {
    let page = match (head.method, content) {
        (Method::Options, _) => Page::empty(204),
        (Method::Post, Some(content)) => match admit(driver, head, is_secure) {
            Ok(()) => ask(driver, head.peer, content).await,
            Err(page) => page,
        },
        _ => Page::not_allowed("OPTIONS, POST"),
    };
    page.header("cache-control", "no-store").for_all_origins()
}

/// In clear it would be a password in clear, as for WebSocket.
fn admit(driver: &Driver, head: &Request, is_secure: bool) -> Result<(), Page> {
    if head.host.as_ref().is_some_and(|name| !driver.web.config.borrow().is_web_name(name)) {
        return Err(Page::status(421, "This name is not served here.\n"));
    }
    if !is_secure {
        return Err(Page::status(403, "Not without TLS.\n"));
    }
    Ok(())
}

async fn ask(driver: &Rc<Driver>, peer: IpAddr, content: Incoming) -> Page {
    let lines = &driver.web.lines;
    let mut share = Share { lines, bytes: 0 };
    let bytes = match read(content, &mut share).await {
        Ok(bytes) => bytes,
        Err(page) => return page,
    };
    let body = match body::read(&bytes) {
        Ok(body) => body,
        Err(condition) => return refusal(condition),
    };
    drop((bytes, share));
    let ticket = Ticket(lines.last.get() + 1);
    lines.last.set(ticket.0);
    let line = match &body.sid {
        None => match driver.begin_line(body, ticket, peer) {
            Ok(asking) => return answered(asking).await,
            Err(page) => return page,
        },
        Some(name) => lines.by_name.borrow().get(name).cloned(),
    };
    let Some(line) = line else { return refusal(Condition::ItemNotFound) };
    let asking = Asking::new(line.clone(), ticket);
    line.take(body, ticket, lines.early_room());
    if line.is_over()
        && let Some(stream) = line.stream.get()
    {
        driver.lose(&mut driver.core.borrow_mut(), stream);
    }
    drop(line);
    answered(asking).await
}

async fn answered(asking: Asking) -> Page {
    let kind = asking.line.kind;
    match asking.answer.recv().await {
        Ok(answer) => Page { status: answer.status, kind, body: answer.body.into(), headers: Vec::new() },
        Err(_) => refusal(Condition::ItemNotFound),
    }
}

fn refusal(condition: Condition) -> Page {
    Page::ok(KIND, goodbye(Some(condition), b""))
}

/// The whole content, within bounds of size and time.
async fn read(mut content: Incoming, share: &mut Share<'_>) -> Result<Vec<u8>, Page> {
    let mut bytes = Vec::new();
    let reading = async {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut content).poll_frame(cx)).await {
            let frame = frame.map_err(|_| Page::status(400, "The content did not come whole.\n"))?;
            let Ok(data) = frame.into_data() else { continue };
            if !share.grow(data.len()) {
                return Err(refusal(Condition::PolicyViolation));
            }
            bytes.extend_from_slice(&data);
        }
        Ok(())
    };
    let slow = async {
        Timer::after(Duration::from_millis(limits::HTTP_STALL_MS_MAX)).await;
        Err(Page::status(408, "That took too long.\n"))
    };
    or(reading, slow).await?;
    Ok(bytes)
}

impl Driver {
    /// A stream begins.
    fn begin_line(self: &Rc<Self>, body: Body, ticket: Ticket, peer: IpAddr) -> Result<Asking, Page> {
        let seat = self.seats.take(Some(peer)).map_err(|refusal| {
            log::debug!("no stream for {peer}: {refusal:?}");
            Page::status(503, "Too many connections.\n")
        })?;
        let core = &mut *self.core.borrow_mut();
        let mut name = [0; 16];
        core.entropy.fill(&mut name);
        let name = name.iter().fold(String::with_capacity(32), |out, byte| format!("{out}{byte:02x}"));
        let wish = body.kind.as_deref().unwrap_or_default().to_ascii_lowercase();
        let kind = KINDS.iter().find(|(start, _)| wish.starts_with(start)).map_or(KIND, |(_, kind)| kind);
        let session = Session::new(name.clone(), body, ticket, self.clock.now().0);
        let line = Rc::new(Line {
            session: RefCell::new(session),
            asked: RefCell::default(),
            bell: Bell::default(),
            end: Bell::default(),
            armed: Cell::new(None),
            stream: Cell::new(None),
            kind,
            clock: self.clock,
        });
        let asking = Asking::new(line.clone(), ticket);
        let door = Door::Bosh(peer);
        let id = core.table.insert(Box::new(Connection::by_requests(line.clone(), &door, seat)));
        core.peak = core.peak.max(core.table.len());
        line.stream.set(Some(id));
        self.web.lines.by_name.borrow_mut().insert(name.clone(), line.clone());
        self.deliver(core, Event::Opened(id, door));
        // Requests come by connections of their own: there is none to bind to.
        self.deliver(core, Event::Secured(id, Secured::default()));
        self.spawn(self.clone().carry(id, line, name));
        Ok(asking)
    }

    /// The stream's task: what requests bring goes into the house; whoever has waited long enough is answered.
    async fn carry(self: Rc<Self>, id: StreamId, line: Rc<Line>, name: String) {
        while !line.is_over() {
            self.resumed(id).await;
            if !self.carry_in(id, &line) {
                continue;
            }
            // The end of the round, which may give answers and move the deadline.
            yield_now().await;
            let deadline = line.session.borrow().deadline().map(|at| at.max(line.now() + SPAN_MS_MIN));
            line.armed.set(deadline);
            let late = async {
                match deadline {
                    Some(at) => drop(Timer::at(self.clock.instant(Time(at))).await),
                    None => std::future::pending().await,
                }
            };
            or(line.bell.wait(), late).await;
        }
        self.web.lines.by_name.borrow_mut().remove(&name);
        self.lose(&mut self.core.borrow_mut(), id);
        line.end.ring();
    }

    /// Delivers what has come; the end of the round gives the answers. `false`: the house wants no more for now.
    fn carry_in(self: &Rc<Self>, id: StreamId, line: &Line) -> bool {
        let core = &mut *self.core.borrow_mut();
        while core.table.find(id).is_some_and(|c| !c.paused && !c.closing) {
            let content = line.session.borrow_mut().hear();
            let Some(content) = content else { break };
            self.deliver(core, Event::Received(id, &content));
        }
        match core.table.find(id) {
            Some(connection) => {
                connection.writing = false;
                let is_paused = connection.paused && !connection.closing;
                core.touch_closing_too(id);
                self.flusher.ring();
                !(is_paused && line.session.borrow().has_heard())
            }
            None => {
                line.settle();
                true
            }
        }
    }
}
