//! One client: TCP, TLS 1.3, sign-in, bind, stream management, all without blocking.
//!
//! Sources: RFC 6120 §4–§7, XEP-0368 (direct TLS), XEP-0198. `sent`, `handled` and `acked` count stanzas as XEP-0198 §4
//! does, from `<enable/>` and `<enabled/>` on.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use crate::{
    sasl::{Derived, Exchange, Mechanism},
    xml::{self, Found, Scanner},
};

/// What every client of a run has in common.
pub struct Setting {
    pub address: SocketAddr,
    pub domain: String,
    pub tls: Arc<ClientConfig>,
    pub mechanism: Mechanism,
    pub password: String,
    /// Enable stream management.
    pub sm: bool,
    /// Send initial presence once bound.
    pub presence: bool,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Opening,
    Authenticating,
    Reopening,
    Binding,
    Enabling,
    Live,
    Closed,
}

/// What a client tells its scenario.
pub enum News<'a> {
    /// Signed in, bound, managed if asked for.
    Live,
    /// A message, presence or IQ arrived.
    Stanza(&'a [u8]),
    /// The server handled more of what was sent; `acked` has grown.
    Acked,
}

/// One connection.
pub struct Client {
    pub stage: Stage,
    /// Stanzas sent since `<enable/>`.
    pub sent: u32,
    /// Of those, handled by the server.
    pub acked: u32,
    /// Stanzas received since `<enabled/>`.
    handled: u32,
    /// Stream management is on.
    counts: bool,
    pub socket: TcpStream,
    tls: ClientConnection,
    input: Vec<u8>,
    taken: usize,
    scanner: Scanner,
    exchange: Exchange,
    /// A write did not fit into the socket.
    pub stalled: bool,
}

impl Client {
    /// Connects and queues the stream header; the handshake runs with the first `read` and `flush`.
    pub fn connect(user: &str, setting: &Setting) -> io::Result<Client> {
        let socket = TcpStream::connect(setting.address)?;
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(setting.domain.clone()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(setting.tls.clone(), name).map_err(io::Error::other)?;
        tls.set_buffer_limit(None);
        let exchange = Exchange::new(setting.mechanism, user, &setting.password);
        let mut client = Client {
            stage: Stage::Opening,
            sent: 0,
            acked: 0,
            handled: 0,
            counts: false,
            socket,
            tls,
            input: Vec::new(),
            taken: 0,
            scanner: Scanner::default(),
            exchange,
            stalled: false,
        };
        client.open(setting);
        client.flush()?;
        Ok(client)
    }

    /// Queues bytes; `flush` sends them.
    pub fn write(&mut self, bytes: &str) {
        // Writing into the session's buffer cannot fail: it has no limit.
        let _ = self.tls.writer().write_all(bytes.as_bytes());
    }

    /// Queues one stanza and counts it.
    pub fn stanza(&mut self, bytes: &str) {
        self.write(bytes);
        self.sent += 1;
    }

    /// Writes what is queued, as far as the socket takes it.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stalled = false;
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled = true;
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Closes the stream politely: what was received is acknowledged first (XEP-0198 §4); what the server has not
    /// acknowledged is not waited for.
    pub fn close(&mut self) {
        if self.counts {
            let handled = self.handled;
            self.write(&format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>"));
        }
        self.write("</stream:stream>");
        self.tls.send_close_notify();
        let _ = self.flush();
        self.stage = Stage::Closed;
    }

    /// Reads until the socket is empty and tells the news in order. An error ends the connection.
    pub fn read(
        &mut self,
        setting: &Setting,
        derived: &mut Derived,
        news: &mut impl FnMut(&mut Client, News<'_>),
    ) -> io::Result<()> {
        loop {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
            let state = self.tls.process_new_packets().map_err(io::Error::other)?;
            let fresh = state.plaintext_bytes_to_read();
            if fresh > 0 {
                let old = self.input.len();
                self.input.resize(old + fresh, 0);
                self.tls.reader().read_exact(&mut self.input[old..])?;
                self.take(setting, derived, news)?;
            }
        }
        self.flush()
    }

    fn take(
        &mut self,
        setting: &Setting,
        derived: &mut Derived,
        news: &mut impl FnMut(&mut Client, News<'_>),
    ) -> io::Result<()> {
        // The buffer leaves `self` while its elements are told, so that the teller may write.
        let input = std::mem::take(&mut self.input);
        loop {
            match self.scanner.next(&input[self.taken..]) {
                Found::Header(n) => self.taken += n,
                Found::Element(n) => {
                    let element = &input[self.taken..self.taken + n];
                    self.taken += n;
                    self.element(element.trim_ascii_start(), setting, derived, news)?;
                }
                Found::End => return Err(io::Error::other("the server closed the stream")),
                Found::Partial => break,
            }
        }
        self.input = input;
        self.input.drain(..self.taken);
        self.taken = 0;
        if self.input.is_empty() {
            // Thousands of idle clients would otherwise keep their largest read.
            self.input = Vec::new();
        }
        Ok(())
    }

    fn element(
        &mut self,
        element: &[u8],
        setting: &Setting,
        derived: &mut Derived,
        news: &mut impl FnMut(&mut Client, News<'_>),
    ) -> io::Result<()> {
        let name = xml::name(element);
        if name == b"stream:error" || name == b"failure" || name == b"failed" {
            return Err(io::Error::other(String::from_utf8_lossy(element).into_owned()));
        }
        match self.stage {
            Stage::Opening => {
                let mechanism = setting.mechanism.name();
                let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism=";
                self.write(&format!("{auth}'{mechanism}'>{}</auth>", self.exchange.initial()));
                self.stage = Stage::Authenticating;
            }
            Stage::Authenticating if name == b"challenge" => {
                let answer = self.exchange.answer(xml::text(element), derived).map_err(io::Error::other)?;
                self.write(&format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{answer}</response>"));
            }
            Stage::Authenticating => {
                self.exchange.accept(xml::text(element)).map_err(io::Error::other)?;
                self.scanner = Scanner::default();
                self.open(setting);
                self.stage = Stage::Reopening;
            }
            Stage::Reopening => {
                self.write("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
                self.stage = Stage::Binding;
            }
            Stage::Binding => {
                if xml::attribute(element, "type") != Some("result") {
                    return Err(io::Error::other(String::from_utf8_lossy(element).into_owned()));
                }
                if setting.sm {
                    self.write("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
                    self.counts = true;
                    self.stage = Stage::Enabling;
                } else {
                    self.live(setting, news);
                }
            }
            Stage::Enabling => self.live(setting, news),
            Stage::Live => self.live_element(name, element, news),
            Stage::Closed => {}
        }
        Ok(())
    }

    fn live(&mut self, setting: &Setting, news: &mut impl FnMut(&mut Client, News<'_>)) {
        self.stage = Stage::Live;
        if setting.presence {
            self.stanza("<presence/>");
        }
        news(self, News::Live);
    }

    fn live_element(&mut self, name: &[u8], element: &[u8], news: &mut impl FnMut(&mut Client, News<'_>)) {
        match name {
            b"a" => {
                if let Some(h) = xml::attribute(element, "h").and_then(|h| h.parse().ok()) {
                    self.acked = h;
                    news(self, News::Acked);
                }
            }
            b"r" => {
                let handled = self.handled;
                self.write(&format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>"));
            }
            b"message" | b"presence" | b"iq" => {
                self.handled = self.handled.wrapping_add(1);
                news(self, News::Stanza(element));
            }
            _ => {}
        }
    }

    fn open(&mut self, setting: &Setting) {
        let domain = &setting.domain;
        self.write(&format!(
            "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>"
        ));
    }
}
