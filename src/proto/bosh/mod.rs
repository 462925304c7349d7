//! A stream in requests and answers: what a client asks, in order, and which answer takes what the stream says.
//!
//! Source: XEP-0124 v1.11, XEP-0206 v1.4. One [`Session`] knows neither sockets nor clocks: requests come with a
//! [`Ticket`], answers go out by it. The stream's bytes are those of a stream by TCP on either side.
//!
//! Invariants: content reaches the stream in the order of the requests' numbers, each once; requests are answered in
//! that order; of what the stream says nothing is lost while an answer can be asked for again; no answer before the
//! stream has taken what the request brought, so that requests, words and answers that are kept are few; a request that
//! does not fit ends the session without telling why more exactly than XEP-0124 §14.3 wants.

pub mod body;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use ring::digest;

use self::body::{Body, Condition, StreamHeader, Writer, goodbye};
use super::cutter::{Cutter, Said};
use crate::{limits, wire::framer::Header};

/// A request that waits for its answer, as the adapter knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose.
    pub ticket: Ticket,
    /// 200, but for clients that know nothing else (XEP-0124 §17.1).
    pub status: u16,
    /// Its content.
    pub body: Vec<u8>,
}

/// What was agreed upon.
#[derive(Debug)]
struct Terms {
    wait_ms: u64,
    hold: usize,
    /// Requests that may be under way at once.
    requests: usize,
    /// Both sides tell what has come, XEP-0124 §9.
    acks: bool,
    ver: Option<(u32, u32)>,
}

impl Terms {
    fn new(body: &Body) -> Terms {
        let wait_s = body.wait.unwrap_or(limits::BOSH_WAIT_S_MAX).min(limits::BOSH_WAIT_S_MAX);
        // XEP-0124 §12: either makes it a session that is polled.
        let wanted = if wait_s == 0 { 0 } else { body.hold.unwrap_or(1).min(limits::BOSH_REQUESTS_MAX - 1) as usize };
        let acks = body.ack == Some(1);
        // §7.1: one is enough where connections are used again. stanza.js wants two, and has but two to send by: with both
        // held it could say nothing.
        Terms { wait_ms: wait_s * 1_000, hold: wanted.min(1), requests: wanted + 1, acks, ver: body.ver }
    }

    fn polls(&self) -> bool {
        self.hold == 0
    }

    fn inactivity_s(&self) -> u64 {
        if self.polls() { limits::BOSH_POLLED_INACTIVITY_S } else { limits::BOSH_INACTIVITY_S }
    }
}

/// A request that has come and is not answered.
#[derive(Debug)]
struct Waiting {
    rid: u64,
    /// `None`: whoever waited for the answer has gone, and may come again for it.
    ticket: Option<Ticket>,
    since: u64,
    /// It brought something, or wants something done.
    is_busy: bool,
    is_pause: bool,
    is_goodbye: bool,
    key: Option<String>,
}

/// An answer that was given, for who did not get it.
#[derive(Debug)]
struct Given {
    rid: u64,
    at: u64,
    body: Vec<u8>,
    key: Option<String>,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The client has said goodbye, and what it said is on its way.
    Ending,
    /// Nothing more comes from the stream; the last words wait for somebody to fetch them.
    Closed(Option<Condition>),
    /// It is over: no more answers.
    Over,
}

/// One session.
#[derive(Debug)]
pub struct Session {
    terms: Terms,
    sid: String,
    stage: Stage,
    /// Number of the next request in order.
    next: u64,
    /// Requests that came before their turn, fewer than `terms.requests`.
    early: Vec<(Body, Ticket)>,
    /// What the stream has not taken yet, by request.
    heard: VecDeque<(u64, Vec<u8>)>,
    waiting: VecDeque<Waiting>,
    given: VecDeque<Given>,
    answers: Vec<Answer>,
    cutter: Cutter,
    /// What the stream says and nobody was told yet.
    words: Vec<u8>,
    header: Option<Box<Header>>,
    has_error: bool,
    /// The stream has said that somebody proved who they are.
    is_signed_in: bool,
    opening: StreamHeader,
    is_created: bool,
    /// XEP-0124 §15: the print of the next key.
    key: Option<String>,
    /// Since when nobody waits.
    idle_since: u64,
    pause_ms: Option<u64>,
    /// When the last request came, and whether it was an empty one that found nothing.
    last: (u64, bool),
    /// XEP-0124 §9.2: an answer that the client seems to miss.
    missed: Option<u64>,
    repeats: u32,
}

impl Session {
    /// The session that a first request asks for, under a name that nobody can guess. `now` in milliseconds.
    pub fn new(sid: String, body: Body, ticket: Ticket, now: u64) -> Session {
        let mut session = Session {
            terms: Terms::new(&body),
            sid,
            stage: Stage::Open,
            next: body.rid,
            early: Vec::new(),
            heard: VecDeque::new(),
            waiting: VecDeque::new(),
            given: VecDeque::new(),
            answers: Vec::new(),
            cutter: Cutter::default(),
            words: Vec::new(),
            header: None,
            has_error: false,
            is_signed_in: false,
            opening: body.header.clone(),
            is_created: false,
            key: None,
            idle_since: now,
            pause_ms: None,
            last: (now, false),
            missed: None,
            repeats: 0,
        };
        session.begin(body, ticket, now);
        session
    }

    /// The first request: its content is the stream's header.
    fn begin(&mut self, body: Body, ticket: Ticket, now: u64) {
        self.next = body.rid + 1;
        self.key = body.new_key;
        self.heard.push_back((body.rid, self.opening.to_vec()));
        self.waiting.push_back(Waiting {
            rid: body.rid,
            ticket: Some(ticket),
            since: now,
            is_busy: true,
            is_pause: false,
            is_goodbye: false,
            key: body.key,
        });
    }

    /// Takes a request. If it does not fit the session breaks off, which [`Session::is_over`] tells. `room`: bytes that
    /// may still be kept, for all sessions before their sign-in, of requests ahead of their turn.
    pub fn take(&mut self, body: Body, ticket: Ticket, now: u64, room: usize) {
        let placed = self.admit_early(&body, room).and_then(|()| self.place(body, ticket, now));
        if let Err(condition) = placed {
            self.break_off(condition);
            if self.answers.iter().all(|answer| answer.ticket != ticket) {
                self.answer(ticket, Some(condition), goodbye(Some(condition), b""));
            }
        }
    }

    /// Bytes of requests that wait for their turn, if nobody has signed in yet (S3).
    pub fn early_bytes(&self) -> usize {
        if self.is_signed_in { 0 } else { self.early.iter().map(|(body, _)| body.bytes).sum() }
    }

    /// Whoever has not signed in keeps little here, also together with all others who have not.
    fn admit_early(&self, body: &Body, room: usize) -> Result<(), Condition> {
        if self.is_signed_in || body.rid <= self.next {
            return Ok(());
        }
        let is_small = self.early_bytes() + body.bytes <= limits::BOSH_EARLY_BYTES_MAX;
        if is_small && body.bytes <= room { Ok(()) } else { Err(Condition::PolicyViolation) }
    }

    fn place(&mut self, body: Body, ticket: Ticket, now: u64) -> Result<(), Condition> {
        if body.rid < self.next {
            return self.repeat(&body, ticket, now);
        }
        if self.stage == Stage::Ending {
            return Err(Condition::ItemNotFound);
        }
        // XEP-0124 §11 and §14.2.
        let more = usize::from(body.pause.is_some() || body.ends);
        if body.rid >= self.next + (self.terms.requests + more) as u64 {
            return Err(Condition::ItemNotFound);
        }
        if let Some((early, sooner)) = self.early.iter_mut().find(|(early, _)| early.rid == body.rid) {
            if early.key != body.key {
                return Err(Condition::ItemNotFound);
            }
            let sooner = std::mem::replace(sooner, ticket);
            return self.let_go(sooner);
        }
        self.early.push((body, ticket));
        while let Some(at) = self.early.iter().position(|(early, _)| early.rid == self.next) {
            let (body, ticket) = self.early.swap_remove(at);
            if let Err(condition) = self.check_key(&body).and_then(|()| self.check_pace(&body, now)) {
                // So that it is answered with the others.
                self.early.push((body, ticket));
                return Err(condition);
            }
            self.proceed(body, ticket, now);
        }
        Ok(())
    }

    /// A request that has come before, XEP-0124 §14.3.
    fn repeat(&mut self, body: &Body, ticket: Ticket, now: u64) -> Result<(), Condition> {
        if let Some(given) = self.given.iter().find(|given| given.rid == body.rid && given.key == body.key) {
            let copy = given.body.clone();
            self.idle_since = now;
            self.count_repeat()?;
            self.answer(ticket, None, copy);
            return Ok(());
        }
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.rid == body.rid && waiting.key == body.key);
        let waiting = waiting.ok_or(Condition::ItemNotFound)?;
        match waiting.ticket.replace(ticket) {
            Some(sooner) => self.let_go(sooner),
            None => Ok(()),
        }
    }

    fn count_repeat(&mut self) -> Result<(), Condition> {
        self.repeats += 1;
        if self.repeats > limits::BOSH_REPEATS_MAX { Err(Condition::PolicyViolation) } else { Ok(()) }
    }

    /// Somebody else asks the same: XEP-0124 §17.3.
    fn let_go(&mut self, sooner: Ticket) -> Result<(), Condition> {
        let mut error = Writer::default();
        error.attr("type", "error");
        self.answer(sooner, None, error.content(b""));
        self.count_repeat()
    }

    /// XEP-0124 §15.6.
    fn check_key(&mut self, body: &Body) -> Result<(), Condition> {
        if let Some(print) = &self.key {
            let fits = body.key.as_ref().is_some_and(|key| sha1(key).eq_ignore_ascii_case(print));
            if !fits {
                return Err(Condition::ItemNotFound);
            }
            self.key = body.new_key.clone().or(body.key.clone());
        } else {
            self.key = body.new_key.clone();
        }
        Ok(())
    }

    /// XEP-0124 §11 and §12.
    fn check_pace(&self, body: &Body, now: u64) -> Result<(), Condition> {
        let is_bare = is_bare(body);
        let (last, found_nothing) = self.last;
        let is_soon = now.saturating_sub(last) < limits::BOSH_POLLING_S * 1_000;
        let under_way = self.waiting.len() + 1;
        let is_too_many = under_way > self.terms.requests && body.pause.is_none() && !body.ends;
        let is_hasty = is_bare
            && is_soon
            && if self.terms.polls() { found_nothing } else { under_way >= self.terms.requests && self.is_created };
        if is_too_many || is_hasty || body.pause.is_some_and(|pause| pause > limits::BOSH_PAUSE_S_MAX) {
            return Err(Condition::PolicyViolation);
        }
        Ok(())
    }

    /// The next request in order.
    fn proceed(&mut self, body: Body, ticket: Ticket, now: u64) {
        let is_bare = is_bare(&body);
        let rid = self.next;
        self.next += 1;
        self.repeats = 0;
        self.idle_since = now;
        self.last = (now, is_bare);
        self.pause_ms = body.pause.map(|pause| pause * 1_000);
        if self.terms.acks && !self.given.is_empty() {
            let all = self.given.back().map_or(0, |given| given.rid);
            let known = body.ack.unwrap_or(all);
            self.missed = (known < all).then(|| known + 1);
        }
        let mut content = body.content;
        if body.restarts {
            // XEP-0206 §5: the content of such a request is ignored.
            self.opening.to = body.header.to.or(self.opening.to.take());
            self.opening.lang = body.header.lang.or(self.opening.lang.take());
            content = self.opening.to_vec();
        }
        if body.ends {
            self.stage = if self.stage == Stage::Open { Stage::Ending } else { self.stage };
            content.extend_from_slice(b"</stream:stream>");
        }
        // A stream that has closed hears nothing more.
        if !content.is_empty() && !matches!(self.stage, Stage::Closed(_) | Stage::Over) {
            self.heard.push_back((rid, content));
        }
        self.waiting.push_back(Waiting {
            rid,
            ticket: Some(ticket),
            since: now,
            is_busy: !is_bare,
            is_pause: body.pause.is_some(),
            is_goodbye: body.ends,
            key: body.key,
        });
    }

    /// What the stream is to hear next. Once it was given away it counts as heard.
    pub fn hear(&mut self) -> Option<Vec<u8>> {
        self.heard.pop_front().map(|(_, content)| content)
    }

    /// Whether there is something for the stream to hear.
    pub fn has_heard(&self) -> bool {
        !self.heard.is_empty()
    }

    /// What the stream says, as by TCP.
    pub fn say(&mut self, bytes: &[u8]) {
        let Session { cutter, words, header, has_error, is_signed_in, .. } = self;
        cutter.cut(bytes, |said| match said {
            Said::Open(open) => *header = Some(open),
            Said::Element(element) => {
                *has_error |= element.starts_with(b"<stream:error");
                // Of RFC 6120 §6.4.6 and of XEP-0388 alike; nobody but the house writes here.
                *is_signed_in |= element.starts_with(b"<success");
                words.extend_from_slice(element);
            }
            Said::End => {}
        });
    }

    /// Bytes that were said and are not in an answer.
    pub fn unsaid(&self) -> usize {
        self.words.len()
    }

    /// The stream says nothing more.
    pub fn close(&mut self) {
        if matches!(self.stage, Stage::Open | Stage::Ending) {
            self.heard.clear();
            self.stage = Stage::Closed(self.has_error.then_some(Condition::RemoteStreamError));
        }
    }

    /// The session ends here and now: everybody who waits is told.
    pub fn break_off(&mut self, condition: Condition) {
        if self.stage == Stage::Over {
            return;
        }
        self.stage = Stage::Over;
        self.heard.clear();
        let waiting = self.waiting.drain(..).filter_map(|waiting| waiting.ticket);
        let tickets: Vec<_> = waiting.chain(self.early.drain(..).map(|(_, ticket)| ticket)).collect();
        for ticket in tickets {
            self.answer(ticket, Some(condition), goodbye(Some(condition), b""));
        }
    }

    /// Whoever waited with this ticket has gone.
    pub fn left(&mut self, ticket: Ticket, now: u64) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.ticket == Some(ticket)) {
            waiting.ticket = None;
            self.idle_since = now;
        }
    }

    /// Gives the answers that are due, when the stream has said what it had to say for now.
    pub fn settle(&mut self, now: u64) {
        if self.stage == Stage::Over {
            return;
        }
        if self.idle_for(now).is_some_and(|idle| idle >= self.patience_ms()) {
            return self.break_off(Condition::ItemNotFound);
        }
        while self.waiting.front().is_some_and(|front| self.is_due(front, now)) {
            let Some(front) = self.waiting.pop_front() else { return };
            self.give(front, now);
            if self.stage == Stage::Over {
                return;
            }
        }
    }

    /// Whether the oldest request is to be answered now.
    fn is_due(&self, front: &Waiting, now: u64) -> bool {
        if self.heard.front().is_some_and(|(rid, _)| *rid <= front.rid) {
            return false;
        }
        // The answer to a goodbye says that it is over.
        let listens = !(front.is_goodbye && self.stage == Stage::Ending);
        let has_news =
            !self.words.is_empty() && listens || self.missed.is_some() || matches!(self.stage, Stage::Closed(_));
        let is_pausing = self.waiting.back().is_some_and(|last| last.is_pause);
        let has_waited = now >= self.due_at(front);
        let is_crowded = self.waiting.len() > self.terms.hold && !self.terms.polls();
        (has_news && front.ticket.is_some()) || is_pausing || has_waited || is_crowded
    }

    /// By when a request is answered in any case.
    fn due_at(&self, front: &Waiting) -> u64 {
        front.since
            + match (self.terms.polls(), front.is_busy) {
                (true, true) => limits::BOSH_GRACE_MS,
                (true, false) => 0,
                (false, _) => self.terms.wait_ms,
            }
    }

    /// Answers a request with what there is.
    fn give(&mut self, front: Waiting, now: u64) {
        let mut out = Writer::default();
        // XEP-0124 §10: the answer to a pause holds nothing.
        let takes_words = !front.is_pause && front.ticket.is_some();
        let mut words = if takes_words { std::mem::take(&mut self.words) } else { Vec::new() };
        let ends_in_peace = self.stage == Stage::Closed(None);
        if front.is_goodbye && ends_in_peace {
            // XEP-0124 §13: whoever leaves does not listen any more, and stanza.js stumbles over what comes.
            words.clear();
        }
        if takes_words && let Some(header) = self.header.take() {
            out.header(&header);
        }
        if !std::mem::replace(&mut self.is_created, true) {
            self.offer(&mut out);
        }
        let received = self.next - 1;
        if self.terms.acks && (received != front.rid || self.given.is_empty()) {
            out.attr("ack", received);
        }
        if let Some(missed) = self.missed.take()
            && let Some(given) = self.given.iter().find(|given| given.rid == missed)
        {
            out.attr("report", missed).attr("time", now.saturating_sub(given.at));
        }
        if !words.is_empty() {
            self.last.1 = false;
        }
        // They go ahead of the goodbye if somebody waits for that.
        let goes_ahead = ends_in_peace && !words.is_empty() && self.somebody_waits();
        let is_last = takes_words && matches!(self.stage, Stage::Closed(_)) && !goes_ahead;
        let condition = if let (true, Stage::Closed(condition)) = (is_last, self.stage) { condition } else { None };
        if is_last {
            out.attr("type", "terminate");
            if let Some(condition) = condition {
                out.attr("condition", condition.as_str());
            }
        }
        let body = out.content(&words);
        self.idle_since = now;
        if let Some(ticket) = front.ticket {
            self.answer(ticket, condition, body.clone());
        }
        self.given.push_back(Given { rid: front.rid, at: now, body, key: front.key });
        // One more than may be under way: a pause and a goodbye come on top.
        while self.given.len() > self.terms.requests + 1 {
            self.given.pop_front();
        }
        if is_last {
            self.stage = Stage::Over;
            self.dismiss();
        }
    }

    /// XEP-0124 §13: the others get an empty answer.
    fn dismiss(&mut self) {
        let waiting = self.waiting.drain(..).filter_map(|waiting| waiting.ticket);
        let tickets: Vec<_> = waiting.chain(self.early.drain(..).map(|(_, ticket)| ticket)).collect();
        for ticket in tickets {
            self.answer(ticket, None, Writer::default().content(b""));
        }
    }

    /// What is told once, XEP-0124 §7.2 and XEP-0206 §3.
    fn offer(&self, out: &mut Writer) {
        let Terms { wait_ms, hold, requests, acks: _, ver } = self.terms;
        out.attr("sid", &self.sid).attr("wait", wait_ms / 1_000).attr("requests", requests).attr("hold", hold);
        out.attr("polling", limits::BOSH_POLLING_S).attr("inactivity", self.terms.inactivity_s());
        out.attr("maxpause", limits::BOSH_PAUSE_S_MAX);
        let (major, minor) = ver.map_or((1, 11), |ver| ver.min((1, 11)));
        out.attr("ver", format_args!("{major}.{minor}"));
        out.of_xmpp("restartlogic", "true");
    }

    fn answer(&mut self, ticket: Ticket, condition: Option<Condition>, body: Vec<u8>) {
        let status = condition.filter(|_| self.terms.ver.is_none()).map_or(200, Condition::status);
        self.answers.push(Answer { ticket, status, body });
    }

    /// Answers that were given and not yet taken away.
    pub fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// Whether nothing more will come of it.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// For how long nobody has been waiting.
    fn idle_for(&self, now: u64) -> Option<u64> {
        (!self.somebody_waits()).then(|| now.saturating_sub(self.idle_since))
    }

    fn somebody_waits(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.ticket.is_some())
    }

    fn patience_ms(&self) -> u64 {
        self.pause_ms.unwrap_or(self.terms.inactivity_s() * 1_000)
    }

    /// When [`Session::settle`] has something to do if nothing happens before, in milliseconds.
    pub fn deadline(&self) -> Option<u64> {
        let due = self.waiting.front().filter(|_| self.heard.is_empty()).map(|front| self.due_at(front));
        let idle = (!self.somebody_waits()).then(|| self.idle_since + self.patience_ms());
        due.into_iter().chain(idle).min().filter(|_| self.stage != Stage::Over)
    }
}

/// Asks for what there is, and nothing else.
fn is_bare(body: &Body) -> bool {
    body.content.is_empty() && body.pause.is_none() && !body.ends && !body.restarts
}

/// In hexadecimal.
fn sha1(text: &str) -> String {
    let print = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    print.as_ref().iter().fold(String::with_capacity(40), |out, byte| format!("{out}{byte:02x}"))
}
