//! What one message costs inside the house: framed, routed, kept, handed to its recipient and acknowledged, without
//! sockets, TLS and disk.
//!
//! `cargo bench --bench route` prints nanoseconds, `benches/instructions` instructions, which repeat.

mod house;

use std::time::Instant;

use house::{HEADER, House};
use lampone::router::event::StreamId;

const MESSAGE: &str = "<message to='juliet@house.example' id='purple-a1b2c3' type='chat' xml:lang='en'>\
    <body>But, soft! what light through yonder window breaks?</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
    <origin-id xmlns='urn:xmpp:sid:0' id='purple-a1b2c3'/></message>";
const ROUNDS: usize = 200;
const MESSAGES: usize = 500;

/// Signs in with PLAIN, binds and comes online.
fn sign_in(house: &mut House, slot: u32, plain: &str) -> StreamId {
    let stream = house.connect(slot, 1);
    house.say(stream, HEADER);
    house.say(stream, &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"));
    house.say(stream, HEADER);
    house.say(stream, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    house.say(stream, "<enable xmlns='urn:xmpp:sm:3'/><presence/>");
    stream
}

/// One round: messages in one read, one commit, the sender's and the recipient's acknowledgements.
#[inline(never)]
fn messages(house: &mut House, romeo: StreamId, juliet: StreamId, burst: &str, received: usize) {
    house.say(romeo, burst);
    house.say(juliet, &format!("<a xmlns='urn:xmpp:sm:3' h='{received}'/>"));
}

fn main() {
    let mut house = house::house();
    // PLAIN: NUL, name, NUL, password.
    let romeo = sign_in(&mut house, 0, "AHJvbWVvAHNlY3JldA==");
    let juliet = sign_in(&mut house, 1, "AGp1bGlldABzZWNyZXQ=");
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
