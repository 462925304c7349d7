//! What one message costs inside the house: framed, routed, kept, handed to its recipient and acknowledged, without
//! sockets, TLS and disk.
//!
//! `cargo bench --bench route` prints nanoseconds, `benches/instructions` instructions, which repeat.

use std::{rc::Rc, time::Instant};

use lampone::{
    config::Config,
    domain::{
        accounts,
        overlay::Overlay,
        store::{MemoryView, Store},
    },
    proto::scram::{Credentials, ITERATIONS},
    router::event::{BatchId, Door, Effect, Entropy, Env, Event, Secured, StreamId, Time},
    server::Server,
    wire::jid::Jid,
};

const MESSAGE: &str = "<message to='juliet@house.example' id='purple-a1b2c3' type='chat' xml:lang='en'>\
    <body>But, soft! what light through yonder window breaks?</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='purple-a1b2c3'/></message>";
const ROUNDS: usize = 200;
const MESSAGES: usize = 500;

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
    view: MemoryView,
    entropy: Counting,
    wall_us: u64,
    written: usize,
}

impl House {
    fn turn(&mut self, event: Event<'_>) -> Vec<Effect> {
        self.wall_us += 1;
        let mut env =
            Env { now: Time(self.wall_us / 1000), wall_us: self.wall_us, view: &self.view, entropy: &mut self.entropy };
        self.server.turn(&mut env, event).collect()
    }

    /// Does what the effects ask for, with a disk that is always quick.
    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let next = match effect {
                Effect::Write(_, chunk) => {
                    self.written += chunk.len();
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

    fn say(&mut self, stream: StreamId, text: &str) {
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

    fn sign_in(&mut self, slot: u32, plain: &str) -> StreamId {
        let stream = StreamId { slot, generation: 1 };
        let header = "<stream:stream to='house.example' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";
        for event in [
            Event::Opened(stream, Door::DirectTls([127, 0, 0, 1].into())),
            Event::Secured(stream, Secured { version: "1.3", ..Secured::default() }),
        ] {
            let effects = self.turn(event);
            self.perform(effects);
        }
        self.say(stream, header);
        self.say(stream, &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"));
        self.say(stream, header);
        self.say(stream, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
        self.say(stream, "<enable xmlns='urn:xmpp:sm:3'/><presence/>");
        stream
    }
}

fn house() -> House {
    let mut overlay = Overlay::default();
    let mut view = MemoryView::default();
    let empty = MemoryView::default();
    let mut store = Store { overlay: &mut overlay, view: &empty };
    for name in ["romeo", "juliet"] {
        let jid = Jid::from_parts(Some(name), "house.example", None).expect("an address");
        let credentials = Credentials::derive("secret", [1; 16], ITERATIONS);
        accounts::create(&mut store, &jid, credentials, false, 0).expect("a new account");
    }
    overlay.take_batch(BatchId(1));
    view.apply(&overlay.freeze().expect("two accounts"));
    let config = Rc::new(Config { domains: vec!["house.example".into()], ..Config::default() });
    let mut entropy = Counting(1);
    let wall_us = 1_800_000_000_000_000;
    let mut env = Env { now: Time(0), wall_us, view: &view, entropy: &mut entropy };
    let server = Server::new(config, &mut env);
    House { server, view, entropy, wall_us, written: 0 }
}

/// One round: messages in one read, one commit, the sender's and the recipient's acknowledgements.
#[inline(never)]
fn messages(house: &mut House, romeo: StreamId, juliet: StreamId, burst: &str, received: usize) {
    house.say(romeo, burst);
    house.say(juliet, &format!("<a xmlns='urn:xmpp:sm:3' h='{received}'/>"));
}

fn main() {
    let mut house = house();
    // PLAIN: NUL, name, NUL, password.
    let romeo = house.sign_in(0, "AHJvbWVvAHNlY3JldA==");
    let juliet = house.sign_in(1, "AGp1bGlldABzZWNyZXQ=");
    let burst = MESSAGE.repeat(MESSAGES) + "<r xmlns='urn:xmpp:sm:3'/>";
    let mut best = u128::MAX;
    let before = house.written;
    // Juliet has received her own presence.
    let mut received = 1;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        received += MESSAGES;
        messages(&mut house, romeo, juliet, &burst, received);
        best = best.min(start.elapsed().as_nanos() / MESSAGES as u128);
    }
    assert!(house.written - before > ROUNDS * MESSAGES * MESSAGE.len(), "every message was handed over");
    println!(
        "framed, routed, kept and acknowledged: {best} ns per message of {} bytes, best of {ROUNDS} rounds of {MESSAGES}",
        MESSAGE.len()
    );
}
