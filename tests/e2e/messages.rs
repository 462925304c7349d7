//! The client's side of RFC 7395: what a stream says by TCP as WebSocket messages, and back. Written apart from the
//! server's.

/// Where messages stand on their way.
#[derive(Debug, Default)]
pub struct Messages {
    ahead: Vec<u8>,
}

const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// What is said by HTTP first.
pub fn handshake(host: &str) -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: xmpp\r\n\r\n"
    )
}

/// One frame, masked.
pub fn frame(first: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match content.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        middle @ 126..0x1_0000 => {
            out.push(0x80 | 126);
            out.extend((middle as u16).to_be_bytes());
        }
        long => {
            out.push(0x80 | 127);
            out.extend((long as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    out.extend(content.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// What a stream says, as messages.
pub fn say(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut out = Vec::new();
    let mut rest = text.as_ref();
    if let Some((_, behind)) = rest.split_once("<stream:stream") {
        let (attributes, behind) = behind.split_once('>').unwrap_or((behind, ""));
        let attributes = attributes
            .replace(" xmlns='jabber:client'", "")
            .replace(" xmlns:stream='http://etherx.jabber.org/streams'", "");
        out.extend(frame(0x81, format!("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'{attributes}/>").as_bytes()));
        rest = behind;
    }
    let (before, ends) = rest.split_once("</stream:stream>").map_or((rest, false), |(before, _)| (before, true));
    if !before.trim().is_empty() {
        out.extend(frame(0x81, before.trim().as_bytes()));
    }
    if ends {
        out.extend(frame(0x81, b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"));
    }
    out
}

impl Messages {
    /// What came, as a stream by TCP would say it; nothing while a message is not whole.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.ahead.extend_from_slice(bytes);
        let mut out = String::new();
        while let [first, length, ..] = *self.ahead.as_slice() {
            let (head, length) = match length {
                126 if self.ahead.len() >= 4 => (4, usize::from(u16::from_be_bytes([self.ahead[2], self.ahead[3]]))),
                127 if self.ahead.len() >= 10 => {
                    (10, self.ahead[2..10].iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
                }
                126 | 127 => break,
                short => (2, usize::from(short)),
            };
            if self.ahead.len() < head + length {
                break;
            }
            let message = String::from_utf8(self.ahead[head..head + length].to_vec());
            self.ahead.drain(..head + length);
            match first {
                0x81 => out.push_str(&as_by_tcp(&message.expect("UTF-8"))),
                // Goodbye.
                0x88 => {}
                other => panic!("a frame of kind {other:x}"),
            }
        }
        out.into_bytes()
    }
}

/// Each message has to stand alone, and be one element.
fn as_by_tcp(message: &str) -> String {
    let (name, rest) = message.split_at(message.find([' ', '/', '>']).unwrap_or_default());
    let tag = rest.split('>').next().unwrap_or_default();
    if let Some((prefix, _)) = name[1..].split_once(':') {
        assert!(tag.contains(&format!("xmlns:{prefix}=")), "{message}");
    } else {
        assert!(tag.contains(" xmlns="), "{message}");
    }
    match name {
        "<open" => {
            let attributes = tag.trim_end_matches('/').replace(" xmlns='urn:ietf:params:xml:ns:xmpp-framing'", "");
            format!(
                "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                 xmlns:stream='http://etherx.jabber.org/streams'{attributes}>"
            )
        }
        "<close" => "</stream:stream>".to_owned(),
        _ => message.to_owned(),
    }
}
