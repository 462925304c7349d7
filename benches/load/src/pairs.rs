//! Chat messages between pairs of accounts, a fixed number in flight per pair.
//!
//! A message is done when its receiver has it and, with stream management, when the server's `<a/>` to the sender covers
//! it. XEP-0198 §4.

use std::{fmt::Write, io, time::Duration, time::Instant};

use argh::FromArgs;

use crate::{
    Names,
    client::{Client, News, Setting, Stage},
    fleet::{Fleet, Scenario},
    gauge::Gauge,
    xml,
};

/// chat messages between pairs of accounts
#[derive(FromArgs)]
#[argh(subcommand, name = "pairs")]
pub struct Pairs {
    /// pairs of accounts
    #[argh(option, default = "1")]
    pairs: usize,
    /// messages in flight per pair
    #[argh(option, default = "1")]
    in_flight: u32,
    /// messages per pair that are measured
    #[argh(option, default = "1000")]
    messages: u32,
    /// messages per pair before the measurement
    #[argh(option, default = "50")]
    warmup: u32,
    /// bytes of a body
    #[argh(option, default = "100")]
    body: usize,
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
                    self.settle(number);
                }
            }
            _ => {}
        }
    }
}

fn phase(chat: &mut Chat, fleet: &mut Fleet<'_>, messages: u32) -> io::Result<()> {
    chat.until += messages;
    chat.running = true;
    chat.finished = 0;
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
        if !chat.ready.is_empty() {
            last = Instant::now();
        } else if last.elapsed() > Duration::from_secs(20) {
            let done: u64 = chat.pairs.iter().map(|p| u64::from(p.done)).sum();
            return Err(io::Error::other(format!("nothing moved for 20 s; {done} messages were done")));
        }
    }
    Ok(())
}

/// Runs it; the line of JSON.
pub fn run(pairs: &Pairs, setting: &Setting, names: &Names, pid: Option<u32>) -> Result<String, String> {
    let users: Vec<String> = (0..2 * pairs.pairs).map(|i| names.of(i)).collect();
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
    };
    let measured = (|| {
        let mut fleet = Fleet::new(setting)?;
        fleet.sign_in(&users, 8, &mut chat)?;
        phase(&mut chat, &mut fleet, pairs.warmup)?;
        let (before, start) = (Gauge::read(pid), Instant::now());
        phase(&mut chat, &mut fleet, pairs.messages)?;
        let (seconds, after) = (start.elapsed().as_secs_f64(), Gauge::read(pid));
        for client in fleet.clients.iter_mut().flatten().filter(|c| c.stage == Stage::Live) {
            client.close();
        }
        io::Result::Ok((seconds, after.since(&before)))
    })();
    let (seconds, cost) = measured.map_err(|e| e.to_string())?;
    let messages = pairs.pairs as u64 * u64::from(pairs.messages);
    Ok(format!(
        "{{\"scenario\":\"pairs\",\"pairs\":{},\"in_flight\":{},\"sm\":{},\"messages\":{messages},\"misordered\":{},\
         \"errors\":{},\"seconds\":{seconds:.3},{cost}}}",
        pairs.pairs, pairs.in_flight, setting.sm, chat.misordered, chat.errors
    ))
}
