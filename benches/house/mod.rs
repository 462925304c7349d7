//! The house without sockets, TLS and disk, for what is measured from inside.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::rc::Rc;

use lampone::{
    config::Config,
    domain::{
        accounts,
        overlay::Overlay,
        store::{MemoryView, Store},
    },
    proto::{
        sasl::ChannelBinding,
        scram::{Credentials, ITERATIONS},
    },
    router::event::{BatchId, Door, Effect, Entropy, Env, Event, Secured, StreamId, Time},
    server::Server,
    wire::jid::Jid,
};

/// A client's stream header.
pub const HEADER: &str = "<stream:stream to='house.example' version='1.0' xmlns='jabber:client' \
                          xmlns:stream='http://etherx.jabber.org/streams'>";
/// What both ends know of every connection.
pub const EXPORTER: [u8; 32] = [0x5e; 32];

/// Numbers that are the same each time.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, buffer: &mut [u8]) {
        buffer.iter_mut().for_each(|byte| {
            self.0 = self.0.wrapping_mul(5).wrapping_add(7);
            *byte = self.0;
        });
    }
}

/// The server, with a disk that is always quick.
pub struct House {
    server: Server,
    view: MemoryView,
    entropy: Counting,
    wall_us: u64,
    /// Everything that was written to clients, for who wants to read it.
    pub said: Option<Vec<u8>>,
    /// Bytes written to clients.
    pub written: usize,
}

impl House {
    fn turn(&mut self, event: Event<'_>) -> Vec<Effect> {
        self.wall_us += 1;
        let mut env =
            Env { now: Time(self.wall_us / 1000), wall_us: self.wall_us, view: &self.view, entropy: &mut self.entropy };
        self.server.turn(&mut env, event).collect()
    }

    /// A connection under TLS 1.3.
    pub fn connect(&mut self, slot: u32, generation: u32) -> StreamId {
        let stream = StreamId { slot, generation };
        let binding = ChannelBinding { exporter: Some(EXPORTER), end_point: None };
        for event in [
            Event::Opened(stream, Door::DirectTls([127, 0, 0, 1].into())),
            Event::Secured(stream, Secured { version: "1.3", binding, ..Secured::default() }),
        ] {
            let effects = self.turn(event);
            self.perform(effects);
        }
        stream
    }

    /// A connection is cut.
    pub fn cut(&mut self, stream: StreamId) {
        let effects = self.turn(Event::Closed(stream));
        self.perform(effects);
        self.settle();
    }

    /// Does what the effects ask for, with a disk that is always quick.
    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let next = match effect {
                Effect::Write(_, chunk) => {
                    self.written += chunk.len();
                    if let Some(said) = &mut self.said {
                        chunk.write(said);
                    }
                    continue;
                }
                Effect::Commit(batch, _) => Event::Committed(batch),
                Effect::Verify(query, ..) => Event::Verified(query, true),
                Effect::Flush(layer) => {
                    self.view.apply(&layer);
                    Event::Flushed(Ok(()))
                }
                _ => continue,
            };
            let more = self.turn(next);
            self.perform(more);
        }
    }

    /// Bytes of a client, and the end of the round.
    pub fn say(&mut self, stream: StreamId, text: &str) {
        let effects = self.turn(Event::Received(stream, text.as_bytes()));
        self.perform(effects);
        self.settle();
    }

    fn settle(&mut self) {
        let now = Time(self.wall_us / 1000);
        let mut env = Env { now, wall_us: self.wall_us, view: &self.view, entropy: &mut self.entropy };
        let effects = self.server.settle(&mut env).collect();
        self.perform(effects);
    }
}

/// With the accounts `romeo` and `juliet`, whose password is `secret`.
pub fn house() -> House {
    house_of(&["romeo", "juliet"])
}

/// With these accounts, and the same password.
pub fn house_of(names: &[&str]) -> House {
    let mut overlay = Overlay::default();
    let mut view = MemoryView::default();
    let empty = MemoryView::default();
    let mut store = Store { overlay: &mut overlay, view: &empty };
    let credentials = Credentials::derive("secret", [1; 16], ITERATIONS);
    for name in names {
        let jid = Jid::from_parts(Some(name), "house.example", None).expect("an address");
        accounts::create(&mut store, &jid, credentials.clone(), false, 0).expect("a new account");
    }
    overlay.take_batch(BatchId(1));
    view.apply(&overlay.freeze().expect("two accounts"));
    let config = Rc::new(Config { domains: vec!["house.example".into()], ..Config::default() });
    let mut entropy = Counting(1);
    let wall_us = 1_800_000_000_000_000;
    let mut env = Env { now: Time(0), wall_us, view: &view, entropy: &mut entropy };
    let server = Server::new(config, &mut env);
    House { server, view, entropy, wall_us, said: None, written: 0 }
}
