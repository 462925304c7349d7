//! The `<body/>` around what a request brings and what an answer says.
//!
//! Source: XEP-0124 §7 to §9, XEP-0206 §2 to §5. Invariants: what is given on to a stream are whole elements that the
//! framer has judged, so that nothing in a request can end or begin a stream but its attributes; numbers are bounded.

use crate::{
    limits,
    wire::{
        build,
        element::Element,
        framer::{Bounds, Frame, Framer, Header},
        ns,
        stanza::Outline,
    },
};

/// Largest request identifier, XEP-0124 §14.1.
const RID_MAX: u64 = (1 << 53) - 1;
/// Content is judged again, by the stream's own bounds.
const BOUNDS: Bounds = Bounds { stanza_bytes_max: limits::BOSH_BODY_BYTES_MAX, depth_max: limits::DEPTH_MAX };

/// Why a session ends, XEP-0124 §17.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The request makes no sense.
    BadRequest,
    /// There is no such session, or not this request in it.
    ItemNotFound,
    /// More than is allowed.
    PolicyViolation,
    /// The stream ended with an error, which stands in the answer.
    RemoteStreamError,
    /// The stream broke off.
    RemoteConnectionFailed,
}

impl Condition {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Condition::BadRequest => "bad-request",
            Condition::ItemNotFound => "item-not-found",
            Condition::PolicyViolation => "policy-violation",
            Condition::RemoteStreamError => "remote-stream-error",
            Condition::RemoteConnectionFailed => "remote-connection-failed",
        }
    }

    /// What a client is told that knows no conditions, XEP-0124 §17.1.
    pub fn status(self) -> u16 {
        match self {
            Condition::BadRequest => 400,
            Condition::PolicyViolation => 403,
            Condition::ItemNotFound => 404,
            Condition::RemoteStreamError | Condition::RemoteConnectionFailed => 200,
        }
    }
}

/// A request's `<body/>`.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// Its number.
    pub rid: u64,
    /// The session; a request without one begins it.
    pub sid: Option<String>,
    /// Header of the stream that is to begin, XEP-0206 §3.
    pub header: StreamHeader,
    /// Seconds that an answer may be waited for.
    pub wait: Option<u64>,
    /// Requests that may be kept waiting.
    pub hold: Option<u64>,
    /// Version of BOSH.
    pub ver: Option<(u32, u32)>,
    /// `Content-Type` of the answers.
    pub kind: Option<String>,
    /// The last request of which the answer came.
    pub ack: Option<u64>,
    /// XEP-0124 §15.
    pub key: Option<String>,
    /// XEP-0124 §15.
    pub new_key: Option<String>,
    /// Seconds of a pause.
    pub pause: Option<u64>,
    /// `type='terminate'`.
    pub ends: bool,
    /// A stream is to begin anew.
    pub restarts: bool,
    /// Whole elements for the stream.
    pub content: Vec<u8>,
    /// Bytes of the request: no less than all of this takes.
    pub bytes: usize,
}

/// What a stream's header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamHeader {
    /// To which domain.
    pub to: Option<String>,
    /// Who asks.
    pub from: Option<String>,
    /// Language of what is said.
    pub lang: Option<String>,
    /// Version of XMPP.
    pub version: Option<String>,
}

impl StreamHeader {
    /// As a stream by TCP says it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'".to_vec();
        let all =
            [("to", &self.to), ("from", &self.from), ("version", &self.version), ("xml:lang", &self.lang)].into_iter();
        for (name, value) in all.filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            build::attr(name, value, &mut out);
        }
        out.push(b'>');
        out
    }
}

/// Reads a request.
///
/// # Errors
/// [`Condition::BadRequest`]: it is no `<body/>`, has no number, or its content is not made of whole elements.
pub fn read(bytes: &[u8]) -> Result<Body, Condition> {
    let mut framer = Framer::new(BOUNDS);
    let mut outline = Outline::default();
    let mut rest = bytes;
    match framer.next(&mut rest, &mut outline) {
        Ok(Some(Frame::Header(_))) => {}
        _ => return Err(Condition::BadRequest),
    }
    let tag = &bytes[..bytes.len() - rest.len()];
    let mut body = attributes(tag).ok_or(Condition::BadRequest)?;
    body.bytes = bytes.len();
    loop {
        match framer.next(&mut rest, &mut outline) {
            Ok(Some(Frame::Element(element))) => body.content.extend_from_slice(element),
            Ok(Some(Frame::End)) if rest.iter().all(u8::is_ascii_whitespace) => return Ok(body),
            _ => return Err(Condition::BadRequest),
        }
    }
}

/// What the opening tag says; a declaration and white space may stand before it.
fn attributes(tag: &[u8]) -> Option<Body> {
    let tag = std::str::from_utf8(tag).ok()?;
    let tag = tag.strip_prefix("<?xml").map_or(Some(tag), |rest| Some(rest.split_once("?>")?.1))?;
    let tag = tag.trim_start();
    let alone = tag.strip_suffix("/>").or(tag.strip_suffix('>')).map(|start| format!("{start}/>"))?;
    let body = Element::parse(alone.as_bytes(), "").ok().filter(|body| body.is("body", ns::HTTP_BIND))?;
    let text = |name: &str| body.get(name).map(str::to_owned);
    let of_xmpp = |name: &str| body.get(&format!("{{{}}}{name}", ns::XBOSH)).map(str::to_owned);
    // What is said and is no number makes no sense.
    let number = |name: &str| match body.get(name) {
        None => Some(None),
        Some(value) => value.parse().ok().filter(|number| *number <= RID_MAX).map(Some),
    };
    let ver = |text: &str| {
        let (major, minor) = text.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    Some(Body {
        rid: number("rid")??,
        sid: text("sid"),
        header: StreamHeader {
            to: text("to"),
            from: text("from"),
            lang: text("xml:lang"),
            version: of_xmpp("version"),
        },
        wait: number("wait")?,
        hold: number("hold")?,
        ver: body.get("ver").and_then(ver),
        kind: text("content"),
        ack: number("ack")?,
        key: text("key"),
        new_key: text("newkey"),
        pause: number("pause")?,
        ends: body.get("type") == Some("terminate"),
        restarts: matches!(of_xmpp("restart").as_deref(), Some("true" | "1")),
        content: Vec::new(),
        bytes: 0,
    })
}

/// An answer as it is put together.
#[derive(Debug)]
pub struct Writer {
    out: Vec<u8>,
    has_xmpp: bool,
}

impl Default for Writer {
    fn default() -> Writer {
        let mut out = b"<body".to_vec();
        build::attr("xmlns", ns::HTTP_BIND, &mut out);
        Writer { out, has_xmpp: false }
    }
}

impl Writer {
    /// With another attribute.
    pub fn attr(&mut self, name: &str, value: impl ToString) -> &mut Writer {
        build::attr(name, &value.to_string(), &mut self.out);
        self
    }

    /// With another attribute of those that XEP-0206 adds.
    pub fn of_xmpp(&mut self, name: &str, value: &str) -> &mut Writer {
        if !std::mem::replace(&mut self.has_xmpp, true) {
            self.attr("xmlns:xmpp", ns::XBOSH);
        }
        self.attr(&format!("xmpp:{name}"), value)
    }

    /// What a new stream's header says, XEP-0206 §3.
    pub fn header(&mut self, header: &Header) -> &mut Writer {
        for (name, value) in [("from", &header.from), ("authid", &header.id)] {
            if let Some(value) = value {
                self.attr(name, value);
            }
        }
        if let Some(version) = &header.version {
            self.of_xmpp("version", version);
        }
        self
    }

    /// With this content.
    pub fn content(mut self, content: &[u8]) -> Vec<u8> {
        if content.is_empty() {
            self.out.extend_from_slice(b"/>");
            return self.out;
        }
        // XEP-0206 §2: features and errors want it declared here.
        if content.windows(8).any(|start| start == b"<stream:") {
            self.attr("xmlns:stream", ns::STREAM);
        }
        self.out.push(b'>');
        self.out.extend_from_slice(content);
        self.out.extend_from_slice(b"</body>");
        self.out
    }
}

/// The answer that ends a session, or says that there is none.
pub fn goodbye(condition: Option<Condition>, content: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.attr("type", "terminate");
    if let Some(condition) = condition {
        out.attr("condition", condition.as_str());
    }
    out.content(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_in_the_examples() {
        // XEP-0206 §3, example 1.
        let body = read(
            b"<?xml version='1.0' encoding='utf-8'?>\n<body content='text/xml; charset=utf-8' from='user@example.com' \
              hold='1' rid='1573741820' to='example.com' route='xmpp:example.com:9999' wait='60' xml:lang='en' \
              ver='1.6' xmpp:version='1.0' xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh'/>",
        )
        .unwrap();
        assert_eq!((body.rid, body.hold, body.wait, body.ver), (1_573_741_820, Some(1), Some(60), Some((1, 6))));
        assert_eq!(body.header.version.as_deref(), Some("1.0"));
        let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                      to='example.com' from='user@example.com' version='1.0' xml:lang='en'>";
        assert_eq!(String::from_utf8(body.header.to_vec()).unwrap(), header);
    }

    #[test]
    fn content_is_taken_with_and_without_its_namespace() {
        // XEP-0206 §2, its note.
        let body = read(
            b"<body rid='1' sid='s' xmlns='http://jabber.org/protocol/httpbind' xmlns:j='jabber:client'>\
              <message xmlns='jabber:client'><body>a</body></message> <presence/><j:presence/></body>\n",
        )
        .unwrap();
        let text = String::from_utf8(body.content).unwrap();
        assert!(text.starts_with("<message xmlns='jabber:client'><body>a</body></message><presence/>"), "{text}");
        assert!(text.ends_with("<j:presence xmlns:j='jabber:client'/>"), "{text}");
    }

    #[test]
    fn what_is_no_body_is_refused() {
        for bytes in [
            &b""[..],
            b"{}",
            b"<body rid='1'/>",
            b"<bodi rid='1' xmlns='http://jabber.org/protocol/httpbind'/>",
            b"<body xmlns='http://jabber.org/protocol/httpbind'/>",
            b"<body rid='x' xmlns='http://jabber.org/protocol/httpbind'/>",
            b"<body rid='-1' xmlns='http://jabber.org/protocol/httpbind'/>",
            b"<body rid='9007199254740992' xmlns='http://jabber.org/protocol/httpbind'/>",
            b"<body rid='1' hold='x' xmlns='http://jabber.org/protocol/httpbind'/>",
            b"<body rid='1' xmlns='http://jabber.org/protocol/httpbind'>text</body>",
            b"<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><message>",
            b"<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><message></body>",
            b"<body rid='1' xmlns='http://jabber.org/protocol/httpbind'><!-- --></body>",
            b"<body rid='1' xmlns='http://jabber.org/protocol/httpbind'></body><body/>",
            b"<body rid='1' xmlns='http://jabber.org/protocol/httpbind'></body></stream:stream>",
            b"<!DOCTYPE body><body rid='1' xmlns='http://jabber.org/protocol/httpbind'/>",
        ] {
            assert_eq!(read(bytes).err(), Some(Condition::BadRequest), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
