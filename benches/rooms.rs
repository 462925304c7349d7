//! What a room costs inside the house: a copy of a message, an entrance, and an occupant who says nothing; without sockets,
//! TLS and disk.
//!
//! `cargo bench --bench rooms` prints nanoseconds (the best of several rounds) and bytes.

mod house;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use house::{HEADER, House};
use lampone::router::event::StreamId;

const ROOM: &str = "coven@rooms.house.example";
const OCCUPANTS: usize = 200;
const ROUNDS: usize = 30;
/// So few that nobody is too fast for the room.
const ENTRANCES: usize = 12;
const MESSAGES: usize = 50;

/// Counts what is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn sign_in(house: &mut House, slot: u32) -> StreamId {
    let stream = house.connect(slot, 1);
    let plain = STANDARD.encode(format!("\0witch{slot}\0secret"));
    house.say(stream, HEADER);
    house.say(stream, &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"));
    house.say(stream, HEADER);
    house.say(stream, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq><presence/>");
    stream
}

fn enter(house: &mut House, stream: StreamId) {
    let caps = "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://conversations.im' \
                ver='QgayPKawpkPSDYmwT/WM94uAlu0='/>";
    let x = "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>";
    house.say(stream, &format!("<presence to='{ROOM}/witch number {}'>{caps}{x}</presence>", stream.slot));
}

fn leave(house: &mut House, stream: StreamId) {
    house.say(stream, &format!("<presence type='unavailable' to='{ROOM}/witch number {}'/>", stream.slot));
}

/// The best of some entrances into a room with so many people, in nanoseconds.
fn entrance(house: &mut House, last: StreamId) -> u128 {
    let mut best = u128::MAX;
    for _ in 0..ENTRANCES {
        let start = Instant::now();
        enter(house, last);
        best = best.min(start.elapsed().as_nanos());
        leave(house, last);
    }
    best
}

fn main() {
    let names: Vec<String> = (0..=OCCUPANTS).map(|n| format!("witch{n}")).collect();
    let mut house = house::house_of(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let streams: Vec<StreamId> = (0..=OCCUPANTS as u32).map(|slot| sign_in(&mut house, slot)).collect();
    let (last, others) = streams.split_last().expect("some");
    enter(&mut house, others[0]);
    let form =
        "<x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_maxusers'><value>500</value></field></x>";
    let owner = "http://jabber.org/protocol/muc#owner";
    house.say(others[0], &format!("<iq type='set' id='c' to='{ROOM}'><query xmlns='{owner}'>{form}</query></iq>"));
    for (at, stream) in others.iter().enumerate().skip(1) {
        if matches!(at, 25 | 50 | 100) {
            println!("entering a room of {at}: {} ns", entrance(&mut house, *last));
        }
        enter(&mut house, *stream);
    }
    println!("entering a room of {OCCUPANTS}: {} ns", entrance(&mut house, *last));

    let message = format!(
        "<message to='{ROOM}' id='purple-a1b2c3' type='groupchat' xml:lang='en'>\
         <body>But, soft! what light through yonder window breaks?</body>\
         <active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/>\
         <origin-id xmlns='urn:xmpp:sid:0' id='purple-a1b2c3'/></message>"
    );
    let burst = message.repeat(MESSAGES);
    let mut best = u128::MAX;
    let before = house.written;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        house.say(others[7], &burst);
        best = best.min(start.elapsed().as_nanos() / (MESSAGES * OCCUPANTS) as u128);
    }
    let copied = house.written - before;
    assert!(copied > ROUNDS * MESSAGES * OCCUPANTS * message.len(), "everybody gets every message");
    println!("a copy of a message of {} bytes among {OCCUPANTS}: {best} ns", message.len());

    let inside = IN_USE.load(Ordering::Relaxed);
    others.iter().skip(1).for_each(|stream| leave(&mut house, *stream));
    let outside = IN_USE.load(Ordering::Relaxed);
    println!("an occupant: {} bytes", inside.saturating_sub(outside) / (OCCUPANTS - 1));
}
