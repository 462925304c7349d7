//! Chat through a server that is killed again and again; nothing acknowledged may be missing.
//!
//! Promise under test: a message covered by an `<a/>` to its sender (XEP-0198 §4) reaches its receiver at least once, in
//! order, and a copy delivered again carries the same `<stanza-id/>` (XEP-0359). The sender repeats nothing, so every
//! repetition seen is the server's.

use std::{
    io,
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use argh::FromArgs;
use rustls::{ClientConnection, pki_types::ServerName};

use crate::load::{
    Names,
    client::{Client, News, Setting},
    fleet::{Fleet, Scenario},
    xml,
};

/// messages through a server that is killed at random
#[derive(FromArgs)]
#[argh(subcommand, name = "kill")]
pub struct Kill {
    /// messages in all
    #[argh(option, default = "10000")]
    messages: usize,
    /// how often the server is killed
    #[argh(option, default = "50")]
    kills: usize,
    /// messages in flight
    #[argh(option, default = "32")]
    in_flight: usize,
    /// seed of the moments of death; printed, so that a run can be repeated
    #[argh(option)]
    seed: Option<u64>,
    /// seconds that the server may take to answer, and half of which nothing may move
    #[argh(option, default = "20")]
    patience: u64,
    /// the server's command line; it must become the server itself (`exec`)
    #[argh(positional, greedy)]
    server: Vec<String>,
}

/// Everything known about one message, by its number.
#[derive(Clone, Default)]
struct Record {
    acked: bool,
    received: bool,
    stanza_id: Option<String>,
}

/// Client 0 sends, client 1 receives.
struct Chat {
    to: String,
    records: Vec<Record>,
    /// Messages sent so far; the number of the next one.
    sent: usize,
    /// Number of the first message sent on the present stream.
    base: usize,
    /// Stanzas that the sender had sent on this stream before its first message.
    before: u32,
    acked_here: usize,
    received_last: Option<usize>,
    received: usize,
    again: usize,
    misordered: Vec<String>,
    renamed: usize,
    strangers: usize,
}

impl Chat {
    fn new(to: String, messages: usize) -> Chat {
        Chat {
            to,
            records: vec![Record::default(); messages],
            sent: 0,
            base: 0,
            before: 0,
            acked_here: 0,
            received_last: None,
            received: 0,
            again: 0,
            misordered: Vec::new(),
            renamed: 0,
            strangers: 0,
        }
    }

    /// Queues messages up to number `upto`, and one request for an acknowledgement.
    fn send(&mut self, client: &mut Client, upto: usize) {
        if self.sent >= upto {
            return;
        }
        let body = "a".repeat(100);
        for number in self.sent..upto {
            let to = &self.to;
            client.stanza(&format!("<message to='{to}' type='chat' id='k{number}'><body>{body}</body></message>"));
        }
        self.sent = upto;
        client.write("<r xmlns='urn:xmpp:sm:3'/>");
    }

    fn acked(&mut self, h: u32) {
        let upto = (h.saturating_sub(self.before) as usize).min(self.sent - self.base);
        for record in &mut self.records[self.base + self.acked_here..self.base + upto] {
            record.acked = true;
        }
        self.acked_here = self.acked_here.max(upto);
    }

    fn message(&mut self, stanza: &[u8]) {
        let id = xml::attribute(stanza, "id").and_then(|id| id.strip_prefix('k'));
        let Some(number) = id.and_then(|id| id.parse::<usize>().ok()).filter(|&n| n < self.sent) else {
            self.strangers += 1;
            return;
        };
        let stanza_id = xml::find(stanza, "<stanza-id").and_then(|e| xml::attribute(e, "id")).map(str::to_owned);
        let record = &mut self.records[number];
        if record.received {
            self.again += 1;
            self.renamed += usize::from(record.stanza_id != stanza_id);
            return;
        }
        record.received = true;
        record.stanza_id = stanza_id;
        self.received += 1;
        if let Some(last) = self.received_last.filter(|&last| last > number) {
            self.misordered.push(format!("{number} after {last}"));
        }
        self.received_last = Some(number);
    }
}

impl Scenario for Chat {
    fn news(&mut self, index: usize, client: &mut Client, news: News<'_>) {
        match news {
            News::Acked if index == 0 => self.acked(client.acked),
            News::Stanza(stanza) if index == 1 && xml::name(stanza) == b"message" => self.message(stanza),
            _ => {}
        }
    }
}

/// xorshift64*: moments of death need no better randomness, but a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % bound
    }
}

/// The server's process; killed when it goes out of scope.
struct Server(Child);

impl Server {
    /// Starts it and waits until it answers: a port may accept for a server that is still on its way.
    fn start(kill: &Kill, setting: &Setting) -> io::Result<Server> {
        let (program, arguments) =
            kill.server.split_first().ok_or_else(|| io::Error::other("no command for the server"))?;
        let mut server =
            Server(Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        let deadline = Instant::now() + Duration::from_secs(kill.patience);
        while !answers(setting) {
            if let Some(status) = server.0.try_wait()? {
                return Err(io::Error::other(format!("the server ended: {status}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("the server did not answer within {} s", kill.patience)));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(server)
    }
}

/// Whether TLS comes about.
fn answers(setting: &Setting) -> bool {
    let shaken = || {
        let mut socket = TcpStream::connect(setting.address)?;
        socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        let name = ServerName::try_from(setting.domain.clone()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(setting.tls.clone(), name).map_err(io::Error::other)?;
        tls.complete_io(&mut socket)
    };
    shaken().is_ok()
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the receiver does during one life of the server.
#[derive(Clone, Copy, PartialEq)]
enum Receiver {
    Listens,
    /// Reads nothing more from the moment when this many messages of this life are sent: they wait in sockets and in
    /// the session's queue when the server dies.
    DeafAfter(usize),
    /// Does not sign in: messages are stored for later.
    Absent,
}

/// One life of the server.
struct Life {
    receiver: Receiver,
    /// The number behind the last message of this life.
    end: usize,
    /// The blow falls so long after the last message was sent: those in flight are anywhere between socket and disk.
    linger: Duration,
    last: bool,
}

impl Life {
    fn new(kill: &Kill, sent: usize, last: bool, dice: &mut Dice) -> Life {
        let left = kill.messages - sent;
        let share = 2 * (kill.messages / kill.kills.max(1)) as u64;
        let quota = if last { left } else { left.min(1 + dice.below(share) as usize) };
        let receiver = match dice.below(4) {
            _ if last => Receiver::Listens,
            0 => Receiver::Absent,
            1 => Receiver::DeafAfter(dice.below(1 + quota as u64) as usize),
            _ => Receiver::Listens,
        };
        Life { receiver, end: sent + quota, linger: Duration::from_micros(dice.below(8_000)), last }
    }

    /// Chats until the moment of death has come; in the last life until everything acknowledged was received, or until
    /// nothing has moved for long, in which case the records tell what is missing.
    ///
    /// The server dies before the clients' sockets close, so that it never hears of their end.
    fn run(mut self, kill: &Kill, server: Server, setting: &Setting, names: &Names, chat: &mut Chat) -> io::Result<()> {
        let mut fleet = Fleet::new(setting)?;
        chat.base = chat.sent;
        chat.acked_here = 0;
        let users = [names.of(0), names.of(1)];
        let present = if self.receiver == Receiver::Absent { 1 } else { 2 };
        fleet.sign_in(&users[..present], 2, chat)?;
        chat.before = fleet.clients[0].as_ref().map_or(0, |c| c.sent);
        let mut sent_all: Option<Instant> = None;
        let mut moved = (0, Instant::now());
        loop {
            let acked = chat.base + chat.acked_here;
            if let Some(client) = &mut fleet.clients[0] {
                chat.send(client, self.end.min(acked + kill.in_flight));
            }
            fleet.flush(0)?;
            if matches!(self.receiver, Receiver::DeafAfter(n) if chat.sent - chat.base >= n) {
                fleet.deafen(1)?;
                self.receiver = Receiver::Listens;
            }
            if chat.sent == self.end {
                let since = *sent_all.get_or_insert_with(Instant::now);
                let answered = acked == self.end && chat.records.iter().all(|r| r.received || !r.acked);
                if if self.last { answered } else { since.elapsed() >= self.linger } {
                    break;
                }
            }
            let busy = sent_all.is_some() && !self.last;
            let patience = if busy { Duration::from_micros(500) } else { Duration::from_secs(1) };
            if let Some((index, e)) = fleet.wait(patience, chat)?.pop() {
                return Err(io::Error::other(format!("client {index}: {e}")));
            }
            if chat.received + acked != moved.0 {
                moved = (chat.received + acked, Instant::now());
            } else if moved.1.elapsed() > Duration::from_secs(kill.patience) / 2 {
                if self.last {
                    break;
                }
                return Err(io::Error::other(format!(
                    "nothing moved for {} s, {} sent, {acked} acked",
                    kill.patience / 2,
                    chat.sent
                )));
            }
        }
        drop(server);
        Ok(())
    }
}

/// Runs it; the line of JSON, or an error that names the first promise broken.
pub fn run(kill: Kill, setting: &Setting, names: &Names) -> Result<String, String> {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
    let seed = kill.seed.unwrap_or(clock).max(1);
    let mut dice = Dice(seed);
    let mut chat = Chat::new(format!("{}@{}", names.of(1), setting.domain), kill.messages);
    let start = Instant::now();
    for death in 0..=kill.kills {
        let life = Life::new(&kill, chat.sent, death == kill.kills, &mut dice);
        Server::start(&kill, setting)
            .and_then(|server| life.run(&kill, server, setting, names, &mut chat))
            .map_err(|e| format!("life {death} of seed {seed}: {e}"))?;
    }
    let acked = chat.records.iter().filter(|r| r.acked).count();
    let lost: Vec<usize> = (0..kill.messages).filter(|&n| chat.records[n].acked && !chat.records[n].received).collect();
    let line = format!(
        "{{\"scenario\":\"kill\",\"seed\":{seed},\"kills\":{},\"messages\":{},\"acknowledged\":{acked},\"received\":{},\
         \"again\":{},\"lost\":{},\"misordered\":{},\"renamed\":{},\"seconds\":{:.1}}}",
        kill.kills,
        kill.messages,
        chat.received,
        chat.again,
        lost.len(),
        chat.misordered.len(),
        chat.renamed,
        start.elapsed().as_secs_f64()
    );
    if lost.is_empty() && chat.misordered.is_empty() && chat.renamed == 0 && chat.strangers == 0 {
        return Ok(line);
    }
    let few = |list: Vec<String>| list.into_iter().take(10).collect::<Vec<_>>().join(", ");
    Err(format!(
        "{line}\n  lost: {}\n  out of order: {}\n  strangers: {}",
        few(lost.iter().map(usize::to_string).collect()),
        few(chat.misordered),
        chat.strangers
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize, stanza_id: &str) -> String {
        format!("<message id='k{number}'><body>x</body><stanza-id xmlns='urn:xmpp:sid:0' id='{stanza_id}'/></message>")
    }

    fn sent(messages: usize) -> Chat {
        Chat { sent: messages, ..Chat::new("b@x".into(), messages) }
    }

    #[test]
    fn a_copy_with_the_same_stanza_id_is_allowed_and_another_is_not() {
        let mut chat = sent(2);
        chat.message(message(0, "s0").as_bytes());
        chat.message(message(0, "s0").as_bytes());
        assert_eq!((chat.again, chat.renamed), (1, 0));
        chat.message(message(0, "other").as_bytes());
        assert_eq!((chat.again, chat.renamed), (2, 1));
    }

    #[test]
    fn order_counts_by_first_arrival() {
        let mut chat = sent(4);
        for number in [0, 1, 0, 3] {
            chat.message(message(number, "s").as_bytes());
        }
        assert!(chat.misordered.is_empty());
        chat.message(message(2, "s").as_bytes());
        assert_eq!(chat.misordered, ["2 after 3"]);
    }

    #[test]
    fn acknowledgements_count_from_the_first_message_of_the_stream() {
        let mut chat = sent(5);
        // Two messages belong to an earlier stream; presence went ahead of the others.
        (chat.base, chat.before) = (2, 1);
        chat.acked(3);
        assert_eq!(chat.records.iter().map(|r| r.acked).collect::<Vec<_>>(), [false, false, true, true, false]);
    }

    #[test]
    fn a_message_that_nobody_sent_is_a_stranger() {
        let mut chat = sent(1);
        chat.message(message(7, "s").as_bytes());
        assert_eq!((chat.strangers, chat.received), (1, 0));
    }
}
