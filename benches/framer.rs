//! How long the framer takes for one stanza: nanoseconds and bytes per second, best of several runs.

use std::{hint::black_box, time::Instant};

use lampone::wire::{
    framer::{Bounds, Frame, Framer},
    stanza::Outline,
};

const HEADER: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";
const CHAT: &str = "<message to='juliet@capulet.example/balcony' id='5f2c6a9e-77d1' type='chat'><body>Wherefore art thou, Romeo? Deny thy father!</body><active xmlns='http://jabber.org/protocol/chatstates'/><request xmlns='urn:xmpp:receipts'/><origin-id xmlns='urn:xmpp:sid:0' id='5f2c6a9e-77d1'/><markable xmlns='urn:xmpp:chat-markers:0'/></message>";
const PING: &str = "<iq type='get' id='ping-1' to='a.example'><ping xmlns='urn:xmpp:ping'/></iq>";
const PRESENCE: &str = "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='https://client.example' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/><priority>5</priority></presence>";

/// Best time of one stanza in nanoseconds; the input comes in slices of `chunk` bytes.
fn time(stanza: &str, chunk: usize) -> f64 {
    let copies = (1 << 19) / stanza.len();
    let stream = stanza.repeat(copies);
    let mut best = f64::MAX;
    for _ in 0..7 {
        let mut framer = Framer::new(Bounds { stanza_bytes_max: 262_144, depth_max: 64 });
        let mut outline = Outline::default();
        assert!(matches!(framer.next(&mut HEADER.as_bytes(), &mut outline), Ok(Some(Frame::Header(_)))));
        let mut seen = 0;
        let start = Instant::now();
        for piece in stream.as_bytes().chunks(chunk) {
            let mut input = piece;
            while let Some(frame) = framer.next(&mut input, &mut outline).expect("legal input") {
                seen += usize::from(matches!(frame, Frame::Element(_)));
                black_box(&frame);
                black_box(&outline);
            }
        }
        let spent = start.elapsed();
        assert_eq!(seen, copies);
        best = best.min(spent.as_nanos() as f64 / copies as f64);
    }
    best
}

fn main() {
    let vcard = format!(
        "<iq type='set' id='v'><vCard xmlns='vcard-temp'><PHOTO><BINVAL>{}</BINVAL></PHOTO></vCard></iq>",
        "QUJD".repeat(15_000)
    );
    for (name, stanza, chunk) in [
        ("chat, 4 children", CHAT, usize::MAX),
        ("chat, 64 bytes at a time", CHAT, 64),
        ("chat, byte by byte", CHAT, 1),
        ("ping", PING, usize::MAX),
        ("presence", PRESENCE, usize::MAX),
        ("vcard", &vcard, usize::MAX),
        ("vcard, byte by byte", &vcard, 1),
    ] {
        let nanos = time(stanza, chunk);
        println!(
            "{name:26} {:6} bytes {nanos:10.0} ns {:8.0} MB/s",
            stanza.len(),
            stanza.len() as f64 * 1000.0 / nanos
        );
    }
}
