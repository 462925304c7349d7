//! An XML stream in WebSocket messages: frames in, bytes of the stream out, and back.
//!
//! Source: RFC 6455 §5 and §7, RFC 7395. The framer and the rest of the house speak of streams as TCP has them;
//! `<open/>` and `<close/>` become the stream's tags here, and what we say is cut into messages that stand alone
//! (RFC 7395 §3.3.3) by a framer of its own. The opening handshake is HTTP's business ([`accept_key`]).
//!
//! Frames are read here and not by a library: none of those looked at reads without a buffer of its own for each
//! connection, and an idle client is to cost no more than one by TCP.
//!
//! Invariants (S7): frames that are unmasked, of unknown kind, with reserved bits, or control frames in pieces end the
//! connection; a message is not gathered here, so its size is bounded where that of every stanza is; all that a peer
//! says passes the framer.

use ring::digest;

use super::cutter::{Cutter, Said};
use crate::wire::{
    build,
    element::Element,
    framer::{HEADER_BYTES_MAX, Header},
    ns,
};

/// RFC 6455 §1.3.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a control frame's content, RFC 6455 §5.5.
const CONTROL_BYTES_MAX: usize = 125;
/// Pieces of one message; a stanza fits into one.
const PIECES_MAX: u16 = 1_024;
/// Bytes of a frame's head: two, eight of the length, four of the mask.
const HEAD_BYTES_MAX: usize = 14;
/// Bytes of control frames that wait to be said; who asks for more answers is not listening.
const WORDS_BYTES_MAX: usize = 4 * 1024;

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`, RFC 6455 §4.2.2; `None`: that is no key.
pub fn accept_key(key: &str) -> Option<String> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(key).ok().filter(|bytes| bytes.len() == 16)?;
    let print = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), KEY_SUFFIX].concat());
    Some(STANDARD.encode(print))
}

/// The connection ends. What is to be said about it waits in [`Frames::words`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// The peer said so.
    Closed,
    /// The peer does not keep to the protocol; the text is for the log.
    Fault(&'static str),
}

/// One connection's frames.
#[derive(Debug)]
pub struct Frames {
    head: heapless::Vec<u8, HEAD_BYTES_MAX>,
    /// The frame whose content is being read.
    frame: Option<Piece>,
    /// Pieces of the message so far; 0: none has begun.
    pieces: u16,
    reading: Reading,
    /// Content of a control frame.
    control: heapless::Vec<u8, CONTROL_BYTES_MAX>,
    /// Cuts what we say.
    cutter: Cutter,
    words: Vec<u8>,
    has_closed: bool,
}

/// A frame behind its head.
#[derive(Clone, Copy, Debug)]
struct Piece {
    opcode: u8,
    is_last: bool,
    left: u64,
    mask: [u8; 4],
    at: usize,
}

/// What is known of the message that comes.
#[derive(Debug)]
enum Reading {
    /// Its beginning, while it may be one of the stream's tags.
    Beginning(Vec<u8>),
    /// It is none: its bytes are the stream's.
    Passing,
}

impl Default for Frames {
    fn default() -> Frames {
        Frames {
            head: heapless::Vec::new(),
            frame: None,
            pieces: 0,
            reading: Reading::Beginning(Vec::new()),
            control: heapless::Vec::new(),
            cutter: Cutter::default(),
            words: Vec::new(),
            has_closed: false,
        }
    }
}

impl Frames {
    /// Takes bytes of the connection; what they hold of the stream is appended to `stream`.
    ///
    /// # Errors
    /// The connection ends; what was appended still counts.
    pub fn take_in(&mut self, mut input: &[u8], stream: &mut Vec<u8>) -> Result<(), Parting> {
        loop {
            let Some(mut piece) = self.frame else {
                let Some((byte, rest)) = input.split_first() else { return Ok(()) };
                input = rest;
                // It has room: a head that is complete is taken at once.
                let _ = self.head.push(*byte);
                match head(&self.head) {
                    Ok(None) => {}
                    Ok(Some(piece)) => {
                        self.head.clear();
                        self.begin(piece)?;
                    }
                    Err(fault) => return Err(self.fault(1002, fault)),
                }
                continue;
            };
            let here = usize::try_from(piece.left).unwrap_or(usize::MAX).min(input.len());
            let (content, rest) = input.split_at(here);
            input = rest;
            let at = piece.at;
            let plain = content.iter().enumerate().map(|(i, byte)| byte ^ piece.mask[(at + i) % 4]);
            if piece.opcode >= CLOSE {
                // Its length was checked.
                self.control.extend(plain);
            } else {
                self.hear(plain, stream)?;
            }
            piece.left -= here as u64;
            piece.at += here;
            self.frame = Some(piece);
            if piece.left > 0 {
                return Ok(());
            }
            self.frame = None;
            self.end(piece, stream)?;
        }
    }

    /// A frame begins.
    fn begin(&mut self, piece: Piece) -> Result<(), Parting> {
        match (piece.opcode, self.pieces) {
            (CLOSE | PING | PONG, _) => self.control.clear(),
            (TEXT, 0) => {
                self.pieces = 1;
                self.reading = Reading::Beginning(Vec::new());
            }
            (0, 1..PIECES_MAX) => self.pieces += 1,
            (0, PIECES_MAX..) => return Err(self.fault(1008, "a message in too many pieces")),
            (2, _) => return Err(self.fault(1003, "a binary message")),
            (0 | TEXT, _) => return Err(self.fault(1002, "pieces out of order")),
            _ => return Err(self.fault(1002, "a frame of unknown kind")),
        }
        self.frame = Some(piece);
        Ok(())
    }

    /// Bytes of a text message.
    fn hear(&mut self, plain: impl Iterator<Item = u8>, stream: &mut Vec<u8>) -> Result<(), Parting> {
        let Reading::Beginning(beginning) = &mut self.reading else {
            stream.extend(plain);
            return Ok(());
        };
        beginning.extend(plain);
        if is_tag(beginning) {
            if beginning.len() > HEADER_BYTES_MAX {
                return Err(self.fault(1009, "a stream header that is too long"));
            }
        } else if let Some(first) = beginning.first() {
            // RFC 7395 §3.3.3.
            if *first != b'<' {
                return Err(self.fault(1002, "a message that does not begin with <"));
            }
            stream.append(beginning);
            self.reading = Reading::Passing;
        }
        Ok(())
    }

    /// A frame is complete.
    fn end(&mut self, piece: Piece, stream: &mut Vec<u8>) -> Result<(), Parting> {
        match piece.opcode {
            PING => {
                let content = std::mem::take(&mut self.control);
                if self.words.len() < WORDS_BYTES_MAX {
                    frame(PONG, &content, &mut self.words);
                }
            }
            PONG => {}
            CLOSE => {
                // RFC 6455 §5.5.1: the same code goes back.
                let code = self.control.get(..2).map(<[u8]>::to_vec).unwrap_or_default();
                self.say_close(&code);
                return Err(Parting::Closed);
            }
            _ if piece.is_last => {
                self.pieces = 0;
                if let Reading::Beginning(tag) = &mut self.reading {
                    let tag = std::mem::take(tag);
                    tag_of_stream(&tag, stream);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn fault(&mut self, code: u16, what: &'static str) -> Parting {
        self.say_close(&code.to_be_bytes());
        Parting::Fault(what)
    }

    fn say_close(&mut self, code: &[u8]) {
        if !std::mem::replace(&mut self.has_closed, true) {
            frame(CLOSE, code, &mut self.words);
        }
    }

    /// Control frames that are to be said, RFC 6455 §5.5.
    pub fn words(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.words)
    }

    /// Whether there are any.
    pub fn has_words(&self) -> bool {
        !self.words.is_empty()
    }

    /// We have said everything: the closing handshake begins, RFC 7395 §3.6.
    pub fn close(&mut self) {
        self.say_close(&1000u16.to_be_bytes());
    }

    /// Makes messages of what a stream says: whole elements, tags of the stream among them.
    pub fn say(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.cutter.cut(bytes, |said| match said {
            Said::Open(header) => {
                let mut open = Vec::new();
                write_open(&header, &mut open);
                frame(TEXT, &open, out);
            }
            Said::Element(element) => frame(TEXT, element, out),
            Said::End => frame(TEXT, b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>", out),
        });
    }
}

/// Reads a frame's head, RFC 6455 §5.2; `None`: more is needed.
fn head(bytes: &[u8]) -> Result<Option<Piece>, &'static str> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (opcode, is_last, length) = (first & 0x0F, first & 0x80 != 0, second & 0x7F);
    if first & 0x70 != 0 {
        return Err("reserved bits");
    }
    if second & 0x80 == 0 {
        return Err("a frame without a mask");
    }
    if opcode >= CLOSE && (!is_last || usize::from(length) > CONTROL_BYTES_MAX) {
        return Err("a control frame that is long or in pieces");
    }
    let long = match length {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((wide, mask)) = rest.split_at_checked(long) else { return Ok(None) };
    let Ok(mask) = <[u8; 4]>::try_from(mask) else { return Ok(None) };
    let left = match long {
        0 => u64::from(length),
        _ => wide.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    };
    if left > i64::MAX as u64 {
        return Err("a length beyond all bounds");
    }
    Ok(Some(Piece { opcode, is_last, left, mask, at: 0 }))
}

/// Appends a frame of ours: whole, without a mask.
fn frame(opcode: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match content.len() {
        short @ 0..126 => out.push(short as u8),
        middle @ 126..0x1_0000 => {
            out.push(126);
            out.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(content);
}

/// Whether a message may be `<open/>` or `<close/>`, as far as it has come.
fn is_tag(bytes: &[u8]) -> bool {
    [&b"<open"[..], b"<close"].iter().any(|tag| match bytes.split_at_checked(tag.len()) {
        Some((start, rest)) => start == *tag && rest.first().is_none_or(|byte| b" \t\r\n/>".contains(byte)),
        None => tag.starts_with(bytes),
    })
}

/// `<open/>` and `<close/>` as a stream by TCP says them. What is neither passes as it came, for the framer to judge.
fn tag_of_stream(tag: &[u8], stream: &mut Vec<u8>) {
    match Element::parse(tag, "") {
        Ok(open) if open.is("open", ns::FRAMING) => {
            stream.extend_from_slice(b"<stream:stream xmlns='jabber:client' xmlns:stream='");
            stream.extend_from_slice(ns::STREAM.as_bytes());
            stream.push(b'\'');
            for name in ["to", "from", "version", "xml:lang"] {
                if let Some(value) = open.get(name) {
                    build::attr(name, value, stream);
                }
            }
            stream.push(b'>');
        }
        Ok(close) if close.is("close", ns::FRAMING) => stream.extend_from_slice(b"</stream:stream>"),
        _ => stream.extend_from_slice(tag),
    }
}

/// Our header as RFC 7395 §3.4 has it.
fn write_open(header: &Header, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'");
    let attributes = [
        ("from", &header.from),
        ("to", &header.to),
        ("id", &header.id),
        ("version", &header.version),
        ("xml:lang", &header.lang),
    ];
    for (name, value) in attributes {
        if let Some(value) = value {
            build::attr(name, value, out);
        }
    }
    out.extend_from_slice(b"/>");
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: &str = "<open xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\" to=\"example.com\" version=\"1.0\" />";

    /// A frame as clients send it.
    fn masked(opcode: u8, is_last: bool, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        frame(opcode, content, &mut out);
        out.truncate(out.len() - content.len());
        out[0] = opcode | if is_last { 0x80 } else { 0 };
        out[1] |= 0x80;
        let mask = [1, 2, 3, 4];
        out.extend_from_slice(&mask);
        out.extend(content.iter().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
        out
    }

    fn text(content: &str) -> Vec<u8> {
        masked(TEXT, true, content.as_bytes())
    }

    /// What the stream hears, however the bytes are cut.
    fn heard(bytes: &[u8]) -> (String, Result<(), Parting>, Vec<u8>) {
        let mut whole = Vec::new();
        let mut frames = Frames::default();
        let outcome = frames.take_in(bytes, &mut whole);
        let mut single = Vec::new();
        let mut other = Frames::default();
        let each = bytes.iter().try_for_each(|byte| other.take_in(&[*byte], &mut single));
        assert_eq!((&whole, outcome), (&single, each));
        (String::from_utf8(whole).unwrap(), outcome, frames.words())
    }

    /// The messages in frames of ours.
    fn messages(mut bytes: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        while let [0x81, length, rest @ ..] = bytes {
            let (length, rest) = match length {
                126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
                short => (usize::from(*short), rest),
            };
            out.push(String::from_utf8(rest[..length].to_vec()).unwrap());
            bytes = &rest[length..];
        }
        assert!(bytes.is_empty());
        out
    }

    #[test]
    fn the_key_of_the_rfc_has_the_answer_of_the_rfc() {
        // RFC 6455 §1.3.
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(accept_key("c2hvcnQ="), None);
        assert_eq!(accept_key("no key"), None);
    }

    #[test]
    fn a_stream_opens_speaks_and_closes() {
        let close = "<close xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\" />";
        let message = "<message xmlns='jabber:client'><body>hi</body></message>";
        let bytes = [text(OPEN), text(message), text(close)].concat();
        let (stream, outcome, _) = heard(&bytes);
        assert_eq!(outcome, Ok(()));
        assert_eq!(
            stream,
            format!(
                "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                 to='example.com' version='1.0'>{message}</stream:stream>"
            )
        );
    }

    #[test]
    fn a_message_may_come_in_pieces_with_pings_between() {
        let bytes = [
            masked(TEXT, false, b"<mess"),
            masked(PING, true, b"there?"),
            masked(0, false, b""),
            masked(0, true, b"age/>"),
        ];
        let (stream, outcome, words) = heard(&bytes.concat());
        assert_eq!((stream.as_str(), outcome), ("<message/>", Ok(())));
        assert_eq!(words, [&[0x8A, 6][..], b"there?"].concat());
    }

    #[test]
    fn who_does_not_keep_to_the_protocol_goes() {
        // S7.
        let mut unmasked = Vec::new();
        frame(TEXT, b"<a/>", &mut unmasked);
        let pieces = |count: usize| {
            let rest = (0..count).flat_map(|_| masked(0, false, b""));
            masked(TEXT, false, b"<").into_iter().chain(rest).collect::<Vec<u8>>()
        };
        let mut reserved = text("<a/>");
        reserved[0] |= 0x40;
        let endless = [&[0x81, 0xFF][..], &[0xFF; 8], &[0; 4]].concat();
        for (bytes, code) in [
            (unmasked, 1002u16),
            (reserved, 1002),
            (masked(3, true, b""), 1002),
            (masked(11, true, b""), 1002),
            (masked(2, true, b"<a/>"), 1003),
            (masked(0, true, b"<a/>"), 1002),
            ([masked(TEXT, false, b"<a"), text("<b/>")].concat(), 1002),
            (masked(PING, false, b""), 1002),
            (masked(PING, true, &[0; 126]), 1002),
            (text(" <a/>"), 1002),
            (text("hello"), 1002),
            (pieces(usize::from(PIECES_MAX)), 1008),
            (endless, 1002),
            (text(&format!("<open {}/>", "x".repeat(HEADER_BYTES_MAX))), 1009),
        ] {
            let (_, outcome, words) = heard(&bytes);
            assert!(matches!(outcome, Err(Parting::Fault(_))), "{bytes:?}");
            assert_eq!(words, [&[0x88, 2][..], &code.to_be_bytes()].concat());
        }
        assert_eq!(heard(&pieces(usize::from(PIECES_MAX) - 1)).1, Ok(()));
    }

    #[test]
    fn a_close_frame_is_answered_once() {
        let (_, outcome, words) = heard(&masked(CLOSE, true, &1001u16.to_be_bytes()));
        assert_eq!((outcome, words), (Err(Parting::Closed), vec![0x88, 2, 0x03, 0xE9]));
        let mut frames = Frames::default();
        frames.close();
        assert_eq!(frames.words(), [0x88, 2, 0x03, 0xE8]);
        frames.close();
        assert!(!frames.has_words());
    }

    #[test]
    fn pings_beyond_measure_are_not_answered_for_ever() {
        let mut frames = Frames::default();
        for _ in 0..1_000 {
            frames.take_in(&masked(PING, true, &[7; 100]), &mut Vec::new()).unwrap();
        }
        assert!(frames.words().len() <= WORDS_BYTES_MAX + CONTROL_BYTES_MAX + 2);
    }

    #[test]
    fn what_we_say_stands_alone() {
        let mut frames = Frames::default();
        let mut out = Vec::new();
        let header = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' version='1.0' xml:lang='en' from='a&amp;b' id='7'>";
        let features = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";
        frames.say(format!("{header}{features}").as_bytes(), &mut out);
        frames.say(b"<iq type='result' id='1'/><message xmlns='jabber:client'><body>&lt;</body></message>", &mut out);
        frames.say(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", &mut out);
        frames.say(format!("{header}</stream:stream>").as_bytes(), &mut out);
        let open =
            "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='a&amp;b' id='7' version='1.0' xml:lang='en'/>";
        let expected = [
            open,
            "<stream:features xmlns:stream='http://etherx.jabber.org/streams'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>",
            "<iq xmlns='jabber:client' type='result' id='1'/>",
            "<message xmlns='jabber:client'><body>&lt;</body></message>",
            "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            open,
            "<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>",
        ];
        assert_eq!(messages(&out), expected);
    }

    #[test]
    fn a_header_holds_only_what_was_parsed() {
        let odd = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a&apos; b=&quot;c' version='1.0'/>";
        let (stream, ..) = heard(&text(odd));
        assert!(stream.contains("to='a&apos; b=&quot;c'"), "{stream}");
        let foreign = "<open xmlns='urn:example' to='a'/>";
        assert_eq!(heard(&text(foreign)).0, foreign, "for the framer to judge");
    }
}
