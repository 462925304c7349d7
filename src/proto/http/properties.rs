//! What holds for whatever a peer may send to the web door: targets, ranges, addresses, requests that carry a stream, frames.
//!
//! Invariant: nothing here panics; a part lies within its file, a segment within its folder; and what comes byte by byte
//! means what it means at once.

use proptest::prelude::*;

use super::{host, range, target};
use crate::proto::{
    bosh::{
        Session, Ticket,
        body::{self, Body},
    },
    websocket::{Frames, Parting},
};

/// Text of the pieces that have a meaning, and of anything.
fn text_of(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![4 => prop::sample::select(pieces).prop_map(str::to_owned), 1 => ".{0,4}"];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

const OF_TARGETS: &[&str] =
    &["/", "..", ".", "%2e", "%2F", "%5c", "%25", "%00", "%", "\\", "a", "?", "=", "&", "%c3%a8", "+"];
const OF_RANGES: &[&str] =
    &["bytes=", "bytes", "=", "-", ",", " ", "0", "1", "99", "1000", "18446744073709551615", "9999999999999999999999"];
const OF_BODIES: &[&str] = &[
    "<body ",
    "xmlns='http://jabber.org/protocol/httpbind'",
    " rid='1'",
    " rid='-1'",
    " sid='s'",
    " hold='1'",
    " wait='9'",
    ">",
    "</body>",
    "<a/>",
    "<a>",
    "</a>",
    "<?xml version='1.0'?>",
    "<!--",
    "&amp;",
    "'",
    "<stream:stream>",
    "</stream:stream>",
    " ",
    "/>",
];

const MESSAGES: &[&str] = &[
    "<a/>",
    "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a.example' version='1.0'/>",
    "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
    "<",
    "<o",
    "pen",
    "x",
    " <a/>",
];

/// A frame's bytes; some are as they must be.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![6 => Just(1u8), 2 => Just(0u8), 2 => Just(9u8), 1 => Just(8u8), 1 => 0..16u8];
    let content = prop_oneof![
        3 => prop::sample::select(MESSAGES).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ];
    (opcode, any::<bool>(), prop::bool::weighted(0.95), any::<[u8; 4]>(), content).prop_map(
        |(opcode, last, masked, mask, content)| {
            let mut out = vec![opcode | if last { 0x80 } else { 0 }];
            let masked_bit = if masked { 0x80 } else { 0 };
            match u8::try_from(content.len()) {
                Ok(length @ ..126) => out.push(length | masked_bit),
                _ => {
                    out.push(126 | masked_bit);
                    out.extend((content.len() as u16).to_be_bytes());
                }
            }
            if masked {
                out.extend(mask);
            }
            out.extend(content.iter().enumerate().map(|(at, byte)| if masked { byte ^ mask[at % 4] } else { *byte }));
            out
        },
    )
}

/// What the stream hears, how it ends, and what is said about it.
fn hear<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> (Vec<u8>, Option<Parting>, Vec<u8>) {
    let (mut frames, mut stream) = (Frames::default(), Vec::new());
    for piece in pieces {
        if let Err(parting) = frames.take_in(piece, &mut stream) {
            return (stream, Some(parting), frames.words());
        }
    }
    (stream, None, frames.words())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn s39_whatever_is_a_target_stays_in_its_folder(text in text_of(OF_TARGETS)) {
        let Some(target) = target::Target::parse(&format!("/{text}")) else { return Ok(()) };
        for segment in &target.segments {
            prop_assert!(!segment.is_empty() && segment != "." && segment != "..", "{text}");
            prop_assert!(!segment.contains(['/', '\\', '\0']), "{text}");
            prop_assert!(target::decode(&target::encode(segment)).as_ref() == Some(segment), "{text}");
        }
        let _ = target.parameter("a");
        let again: String = target.segments.iter().map(|segment| format!("/{}", target::encode(segment))).collect();
        if let Some(again) = target::Target::parse(&again) {
            prop_assert!(again.segments == target.segments, "{text}");
        }
    }

    #[test]
    fn whatever_part_is_wanted_lies_within_the_file(
        text in text_of(OF_RANGES),
        bytes in prop_oneof![0..3u64, 0..1_001u64, Just(u64::MAX)],
    ) {
        match range::wanted(bytes, "\"x\"", Some(&text), None, None) {
            range::Part::Some { from, bytes: length } => {
                prop_assert!(length > 0 && from.checked_add(length).is_some_and(|end| end <= bytes), "{text} of {bytes}");
            }
            range::Part::Nothing => prop_assert!(false, "no condition was given"),
            range::Part::Whole | range::Part::Beyond => {}
        }
    }

    #[test]
    fn whoever_is_named_is_read_without_a_panic(text in "[a-z0-9:.\\[\\]\", =;]{0,40}") {
        let _ = (host::name(&text), host::forwarded(Some(&text), None, &[]), host::forwarded(None, Some(&text), &[]));
    }

    #[test]
    fn a_request_that_carries_a_stream_is_whole_or_none(text in text_of(OF_BODIES), is_wrapped in any::<bool>()) {
        let text = if is_wrapped {
            format!("<body xmlns='http://jabber.org/protocol/httpbind' rid='1'>{text}</body>")
        } else {
            text
        };
        let Ok(read) = body::read(text.as_bytes()) else { return Ok(()) };
        prop_assert!(read.bytes == text.len() && read.content.len() <= read.bytes);
        // Without its end it is none.
        let cut = text.trim_end();
        prop_assert!(body::read(&cut.as_bytes()[..cut.len() - 1]).is_err(), "{cut}");
        // What goes on to the stream is whole elements: alone they are the same.
        let alone = [b"<body xmlns='http://jabber.org/protocol/httpbind' rid='1'>", &read.content[..], b"</body>"].concat();
        prop_assert_eq!(body::read(&alone).map(|again| again.content), Ok(read.content));
    }

    #[test]
    fn s7_frames_mean_the_same_however_they_come(
        frames in prop::collection::vec(frame(), 0..30),
        cuts in prop::collection::vec(1..50usize, 1..9),
    ) {
        let bytes = frames.concat();
        let whole = hear(std::iter::once(&bytes[..]));
        prop_assert_eq!(&whole, &hear(bytes.chunks(1)));
        let (mut rest, mut pieces) = (&bytes[..], Vec::new());
        for cut in cuts.iter().cycle() {
            let (piece, tail) = rest.split_at(rest.len().min(*cut));
            pieces.push(piece);
            rest = tail;
            if rest.is_empty() { break; }
        }
        prop_assert_eq!(&whole, &hear(pieces.into_iter()));
        // A header of ours is longer than theirs by what TCP wants to see, and there is one for each message at most.
        prop_assert!(whole.0.len() <= bytes.len() + frames.len() * 256, "{}", whole.0.len());
        prop_assert!(whole.2.len() <= 5 * 1024, "{}", whole.2.len());
    }

    #[test]
    fn a_session_keeps_little_and_answers_each_request_once(
        steps in prop::collection::vec((0..6u64, 0..4u8, 0..3_000usize, any::<bool>()), 1..60),
    ) {
        let first = Body { rid: 10, hold: Some(1), wait: Some(5), bytes: 10, ..Body::default() };
        let mut session = Session::new("s".into(), first, Ticket(0), 0);
        let (mut answered, mut next) = (Vec::new(), 11);
        for (at, (ahead, kind, size, settles)) in steps.into_iter().enumerate() {
            let now = at as u64 * 700;
            let content = if kind == 0 { Vec::new() } else { vec![b' '; size] };
            let rid = (next + ahead).saturating_sub(2);
            let body = Body { rid, ends: kind == 3 && size < 20, bytes: content.len() + 50, content, ..Body::default() };
            session.take(body, Ticket(at as u64 + 1), now, 4_000);
            prop_assert!(session.early_bytes() <= 4 * 4_000);
            while session.hear().is_some() { next += 1; }
            if settles {
                session.say(b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' id='a'><a/>");
                session.settle(now);
            }
            answered.extend(session.answers().into_iter().map(|answer| answer.ticket));
            if session.is_over() { break; }
        }
        let count = answered.len();
        answered.sort();
        answered.dedup();
        prop_assert_eq!(answered.len(), count, "nobody gets two answers");
    }
}
