//! The client's side of XEP-0124 and XEP-0206: what a stream says by TCP as requests, and back. Written apart from the
//! server's.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::TcpStream,
};

use rustls::{ClientConnection, StreamOwned};

/// A connection to the web door.
pub type Connection = StreamOwned<ClientConnection, TcpStream>;

/// A session and its connections.
pub struct Requests {
    sid: Option<String>,
    rid: u64,
    domain: String,
    idle: Vec<Connection>,
    /// Those with a request under way, in the order of the requests.
    busy: VecDeque<Connection>,
    ahead: String,
    pub is_over: bool,
}

const XMLNS: &str = "xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh'";

impl Requests {
    pub fn new(domain: &str) -> Requests {
        let (idle, busy) = (Vec::new(), VecDeque::new());
        Requests { sid: None, rid: 1_000, domain: domain.to_owned(), idle, busy, ahead: String::new(), is_over: false }
    }

    /// What a stream says, as requests.
    pub fn put(&mut self, bytes: &[u8], open: impl Fn() -> Connection) {
        let text = String::from_utf8_lossy(bytes);
        let mut rest = text.as_ref();
        if let Some((_, behind)) = rest.split_once("<stream:stream") {
            let (attributes, behind) = behind.split_once('>').unwrap_or((behind, ""));
            let attributes = attributes
                .replace(" xmlns='jabber:client'", "")
                .replace(" xmlns:stream='http://etherx.jabber.org/streams'", "");
            let attributes = match self.sid {
                Some(_) => attributes.replace(" version='1.0'", " xmpp:restart='true'"),
                None => attributes.replace(" version=", " ver='1.6' hold='1' wait='60' xmpp:version="),
            };
            self.ask(&attributes, "", &open);
            rest = behind;
        }
        let (before, ends) = rest.split_once("</stream:stream>").map_or((rest, false), |(before, _)| (before, true));
        if !before.trim().is_empty() || ends {
            self.ask(if ends { "type='terminate'" } else { "" }, before.trim(), &open);
        }
    }

    /// Reads until something came or patience ended.
    pub fn take(&mut self, open: impl Fn() -> Connection) -> Vec<u8> {
        while self.ahead.is_empty() && !self.is_over {
            if self.busy.is_empty() {
                self.ask("", "", &open);
            }
            if !self.answered() {
                break;
            }
        }
        std::mem::take(&mut self.ahead).into_bytes()
    }

    /// The connections break.
    pub fn cut(&mut self) {
        self.idle.clear();
        self.busy.clear();
        self.is_over = true;
    }

    fn ask(&mut self, attributes: &str, content: &str, open: impl Fn() -> Connection) {
        // The sid comes with the first answer; no more than two are under way.
        while !self.is_over && (self.busy.len() >= 2 || (self.sid.is_none() && !self.busy.is_empty())) {
            if !self.answered() {
                return;
            }
        }
        if self.is_over {
            return;
        }
        self.rid += 1;
        let sid = self.sid.as_ref().map_or(String::new(), |sid| format!(" sid='{sid}'"));
        let body = format!("<body {XMLNS} rid='{}'{sid} {attributes}>{content}</body>", self.rid);
        let (domain, length) = (&self.domain, body.len());
        let request = format!(
            "POST /bosh HTTP/1.1\r\nHost: {domain}\r\nContent-Type: text/xml; charset=utf-8\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let mut connection = self.idle.pop().unwrap_or_else(open);
        let _ = connection.write_all(request.as_bytes());
        self.busy.push_back(connection);
    }

    /// Reads the next answer. `false`: none came in time.
    fn answered(&mut self) -> bool {
        let Some(mut connection) = self.busy.pop_front() else { return false };
        let Some(body) = read_answer(&mut connection) else {
            self.busy.push_front(connection);
            return false;
        };
        self.idle.push(connection);
        let (tag, content) = body.split_once('>').unwrap_or((&body, ""));
        let attribute = |name: &str| {
            let (_, value) = tag.split_once(&format!(" {name}='"))?;
            Some(value.split_once('\'')?.0.to_owned())
        };
        self.sid = self.sid.take().or(attribute("sid"));
        if let Some(id) = attribute("authid") {
            let from = attribute("from").unwrap_or_default();
            self.ahead += &format!(
                "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                 xmlns:stream='http://etherx.jabber.org/streams' from='{from}' id='{id}' version='1.0'>"
            );
        }
        self.ahead += content.strip_suffix("</body>").unwrap_or_default();
        if attribute("type").as_deref() == Some("terminate") {
            self.ahead += "</stream:stream>";
            self.is_over = true;
        }
        true
    }
}

/// An answer's content.
fn read_answer(connection: &mut Connection) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("content-type: text/xml; charset=utf-8\r\n"), "{head}");
    assert!(head.contains("access-control-allow-origin: *\r\n"), "{head}");
    let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.split("\r\n").next()?.parse().ok());
    let mut body = vec![0; length.expect("a length")];
    connection.read_exact(&mut body).ok()?;
    Some(String::from_utf8(body).expect("UTF-8"))
}
