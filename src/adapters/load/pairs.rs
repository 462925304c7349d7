//! Chat messages between pairs of accounts, a fixed number in flight per pair.
//!
//! A message is done when its receiver has it and, with stream management, when the server's `<a/>` to the sender covers
//! it. XEP-0198 §4.

use std::{
    collections::VecDeque,
    fmt::Write,
    io,
    time::{Duration, Instant},
};

use super::{
    Figures, Names,
    client::{Client, News, Setting},
    fleet::{Fleet, STILL, Scenario},
    gauge::Gauge,
    micros, xml,
};

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Pairs {
    /// Pairs of accounts.
    pub pairs: usize,
    /// Messages in flight per pair.
    pub in_flight: u32,
    /// Messages per pair that are measured.
    pub messages: u32,
    /// Messages per pair before the measurement.
    pub warmup: u32,
    /// Bytes of a body.
    pub body: usize,
}

#[derive(Default, Clone)]
struct Pair {
    /// The receiver's bare address.
    to: String,
    sent: u32,
    received: u32,
    acked: u32,
    /// Stanzas that the sender had sent before its first message.
    before: u32,
    done: u32,
    /// When those were sent that have not arrived: `in_flight` at most.
    sent_at: VecDeque<Instant>,
}

/// Even clients send, the odd ones behind them receive.
struct Chat {
    pairs: Vec<Pair>,
    sm: bool,
    body: String,
    /// Messages per pair after which the phase ends.
    until: u32,
    in_flight: u32,
    running: bool,
    finished: usize,
    misordered: u64,
    errors: u64,
    /// Pairs whose sender may send more, by number.
    ready: Vec<usize>,
    /// From sending to arriving.
    latencies_us: Vec<u32>,
}

impl Chat {
    fn settle(&mut self, number: usize) {
        let pair = &mut self.pairs[number];
        let done = if self.sm { pair.received.min(pair.acked) } else { pair.received };
        if done > pair.done {
            if pair.done < self.until && done >= self.until {
                self.finished += 1;
            }
            pair.done = done;
            if !self.ready.contains(&number) {
                self.ready.push(number);
            }
        }
    }

    /// Fills the flight of one pair: one write, one request for an acknowledgement.
    fn fill(&mut self, number: usize, client: &mut Client) {
        let pair = &mut self.pairs[number];
        let upto = self.until.min(pair.done + self.in_flight);
        if pair.sent >= upto {
            return;
        }
        if pair.sent == 0 {
            pair.before = client.sent;
        }
        let mut out = String::with_capacity((upto - pair.sent) as usize * (self.body.len() + 100) + 32);
        while pair.sent < upto {
            pair.sent += 1;
            let _ = write!(out, "<message to='{}' type='chat' id='m{}'>", pair.to, pair.sent);
            let _ = write!(out, "<body>{}</body></message>", self.body);
            client.sent += 1;
            pair.sent_at.push_back(Instant::now());
        }
        if self.sm {
            out.push_str("<r xmlns='urn:xmpp:sm:3'/>");
        }
        client.write(&out);
    }
}

impl Scenario for Chat {
    fn news(&mut self, index: usize, client: &mut Client, news: News<'_>) {
        let number = index / 2;
        match news {
            News::Acked if index.is_multiple_of(2) && self.running => {
                let pair = &mut self.pairs[number];
                pair.acked = client.acked.saturating_sub(pair.before).min(pair.sent);
                self.settle(number);
            }
            News::Stanza(stanza) if xml::name(stanza) == b"message" => {
                let id = xml::attribute(stanza, "id").and_then(|id| id.strip_prefix('m'));
                if xml::attribute(stanza, "type") == Some("error") {
                    self.errors += 1;
                } else if let Some(id) = id.and_then(|id| id.parse::<u32>().ok()) {
                    let pair = &mut self.pairs[number];
                    self.misordered += u64::from(id != pair.received + 1);
                    pair.received += 1;
                    self.latencies_us.extend(pair.sent_at.pop_front().map(|at| micros(at.elapsed())));
                    self.settle(number);
                }
            }
            _ => {}
        }
    }
}

fn phase(chat: &mut Chat, fleet: &mut Fleet<'_>, messages: u32) -> io::Result<()> {
    let begin = chat.until;
    chat.until += messages;
    chat.running = true;
    chat.finished = if messages == 0 { chat.pairs.len() } else { 0 };
    chat.ready = (0..chat.pairs.len()).collect();
    let mut last = Instant::now();
    while chat.finished < chat.pairs.len() {
        for number in std::mem::take(&mut chat.ready) {
            if let Some(client) = &mut fleet.clients[2 * number] {
                chat.fill(number, client);
            }
            fleet.flush(2 * number)?;
        }
        if let Some((index, e)) = fleet.wait(Duration::from_secs(1), chat)?.pop() {
            return Err(io::Error::other(format!("client {index}: {e}")));
        }
        let done: u64 = chat.pairs.iter().map(|pair| u64::from(pair.done.saturating_sub(begin))).sum();
        fleet.tell(done, chat.pairs.len() as u64 * u64::from(messages));
        if !chat.ready.is_empty() {
            last = Instant::now();
        } else if last.elapsed() > STILL {
            return Err(io::Error::other(format!(
                "nothing moved for {} s; {done} messages were done",
                STILL.as_secs()
            )));
        }
    }
    Ok(())
}

/// Runs it.
///
/// # Errors
/// A connection broke, or nothing moves any more.
pub fn run(pairs: &Pairs, setting: &Setting, names: &Names, pid: Option<u32>) -> io::Result<Figures> {
    let users = names.first(2 * pairs.pairs);
    let to = |i: usize| format!("{}@{}", users[2 * i + 1], setting.domain);
    let mut chat = Chat {
        pairs: (0..pairs.pairs).map(|i| Pair { to: to(i), ..Pair::default() }).collect(),
        sm: setting.sm,
        body: "a".repeat(pairs.body),
        until: 0,
        in_flight: pairs.in_flight,
        running: false,
        finished: 0,
        misordered: 0,
        errors: 0,
        ready: Vec::new(),
        latencies_us: Vec::new(),
    };
    let mut fleet = Fleet::new(setting)?;
    fleet.sign_in(&users, 8, &mut chat)?;
    phase(&mut chat, &mut fleet, pairs.warmup)?;
    chat.latencies_us.clear();
    let (before, start) = (Gauge::of(pid), Instant::now());
    phase(&mut chat, &mut fleet, pairs.messages)?;
    let (seconds, cost) = (start.elapsed().as_secs_f64(), Gauge::spent(pid, before));
    fleet.close();
    Ok(Figures {
        scenario: "pairs",
        unit: "messages",
        count: pairs.pairs as u64 * u64::from(pairs.messages),
        seconds,
        latencies_us: chat.latencies_us,
        cost,
        more: vec![
            ("pairs", pairs.pairs as u64),
            ("in_flight", u64::from(pairs.in_flight)),
            ("acknowledged", u64::from(setting.sm)),
            ("misordered", chat.misordered),
            ("errors", chat.errors),
        ],
    })
}
