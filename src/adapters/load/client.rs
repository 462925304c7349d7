//! One client: TCP, STARTTLS or direct TLS, sign-in, bind, stream management, all without blocking but the connect.
//!
//! Sources: RFC 6120 §4–§7, XEP-0368 (direct TLS), XEP-0077 §3.1 (registration), XEP-0198. `sent`, `handled` and `acked`
//! count stanzas as XEP-0198 §4 does, from `<enable/>` and `<enabled/>` on.
//!
//! Invariant: passwords go over TLS only.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, ClientConnection, pki_types::ServerName};

use super::{
    Watch,
    sasl::{Derived, Exchange, Mechanism},
    xml::{self, Found, Scanner},
};

/// Bytes of one element from the server; more is no answer to anything that is asked here.
const ELEMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// What every client of a run has in common.
#[derive(Clone)]
pub struct Setting {
    pub address: SocketAddr,
    pub domain: String,
    pub tls: Arc<ClientConfig>,
    /// TLS begins after STARTTLS, not at once.
    pub starttls: bool,
    pub mechanism: Mechanism,
    pub password: String,
    /// Enable stream management.
    pub sm: bool,
    /// Send initial presence once bound.
    pub presence: bool,
    /// Make the account instead of signing in to it.
    pub registers: bool,
    pub watch: Watch,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before TLS, waits for features.
    Greeting,
    /// Has asked for TLS.
    Upgrading,
    Opening,
    Registering,
    Authenticating,
    Reopening,
    Binding,
    Enabling,
    Live,
    Closed,
}

/// What a client tells its scenario.
pub enum News<'a> {
    /// Signed in, bound, managed if asked for; or registered, if that was wanted.
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
    user: String,
    exchange: Exchange,
    /// A write did not fit into the socket.
    pub stalled: bool,
}

impl Client {
    /// Connects and queues the stream header; the handshake runs with the first `read` and `flush`.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(user: &str, setting: &Setting) -> io::Result<Client> {
        let mut socket = TcpStream::connect_timeout(&setting.address, CONNECT)?;
        socket.set_nodelay(true)?;
        if setting.starttls {
            // A few hundred bytes into an empty socket's buffer.
            socket.write_all(header(&setting.domain).as_bytes())?;
        }
        socket.set_nonblocking(true)?;
        let name = ServerName::try_from(setting.domain.clone()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(setting.tls.clone(), name).map_err(io::Error::other)?;
        tls.set_buffer_limit(None);
        let mut client = Client {
            stage: if setting.starttls { Stage::Greeting } else { Stage::Opening },
            sent: 0,
            acked: 0,
            handled: 0,
            counts: false,
            socket,
            tls,
            input: Vec::new(),
            taken: 0,
            scanner: Scanner::default(),
            user: user.to_owned(),
            exchange: Exchange::new(setting.mechanism, user, &setting.password)?,
            stalled: false,
        };
        if !setting.starttls {
            client.write(&header(&setting.domain));
            client.flush()?;
        }
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

    fn is_clear(&self) -> bool {
        matches!(self.stage, Stage::Greeting | Stage::Upgrading)
    }

    /// Writes what is queued, as far as the socket takes it.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stalled = false;
        while !self.is_clear() && self.tls.wants_write() {
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

    /// Reads until the socket is empty and tells the news in order.
    ///
    /// # Errors
    /// The connection or the stream ended, or the server said what cannot be gone on with.
    pub fn read(
        &mut self,
        setting: &Setting,
        derived: &mut Derived,
        news: &mut impl FnMut(&mut Client, News<'_>),
    ) -> io::Result<()> {
        while self.is_clear() {
            if !self.read_clear()? {
                return Ok(());
            }
            self.take(setting, derived, news)?;
        }
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

    /// Whether something came before TLS.
    fn read_clear(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4096];
        match self.socket.read(&mut piece) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                self.input.extend_from_slice(&piece[..length]);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e),
        }
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
        if self.input.len() > ELEMENT_BYTES_MAX {
            return Err(io::Error::other("the server's answer is too long"));
        }
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
            return Err(refused(element));
        }
        match self.stage {
            Stage::Greeting => {
                if xml::find(element, "<starttls").is_none() {
                    return Err(io::Error::other("the server offers no STARTTLS"));
                }
                self.socket.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")?;
                self.stage = Stage::Upgrading;
            }
            Stage::Upgrading => {
                // RFC 6120 §5.4.3.3: the stream begins anew.
                self.stage = Stage::Opening;
                self.scanner = Scanner::default();
                self.write(&header(&setting.domain));
                self.flush()?;
            }
            Stage::Opening if setting.registers => {
                // XEP-0077 §3.1. Name and password are ours and need no escaping.
                let (user, password) = (&self.user, &setting.password);
                let form = format!(
                    "<iq type='set' id='register'><query xmlns='jabber:iq:register'><username>{user}</username>\
                     <password>{password}</password></query></iq>"
                );
                self.write(&form);
                self.stage = Stage::Registering;
            }
            Stage::Opening => {
                let mechanism = setting.mechanism.name();
                let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism=";
                self.write(&format!("{auth}'{mechanism}'>{}</auth>", self.exchange.initial()));
                self.stage = Stage::Authenticating;
            }
            Stage::Registering => {
                expect_result(element)?;
                self.stage = Stage::Live;
                news(self, News::Live);
            }
            Stage::Authenticating if name == b"challenge" => {
                let answer = self.exchange.answer(xml::text(element), derived).map_err(io::Error::other)?;
                self.write(&format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{answer}</response>"));
            }
            Stage::Authenticating => {
                self.exchange.accept(xml::text(element)).map_err(io::Error::other)?;
                self.scanner = Scanner::default();
                self.write(&header(&setting.domain));
                self.stage = Stage::Reopening;
            }
            Stage::Reopening => {
                if setting.sm && xml::find(element, "urn:xmpp:sm:3").is_none() {
                    return Err(io::Error::other("the server offers no stream management (XEP-0198)"));
                }
                self.write("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
                self.stage = Stage::Binding;
            }
            Stage::Binding => {
                expect_result(element)?;
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
}

fn header(domain: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

fn expect_result(iq: &[u8]) -> io::Result<()> {
    if xml::attribute(iq, "type") == Some("result") { Ok(()) } else { Err(refused(iq)) }
}

/// What the server said instead of going on.
fn refused(element: &[u8]) -> io::Error {
    let said = String::from_utf8_lossy(&element[..element.len().min(500)]);
    io::Error::other(format!("the server said {said}"))
}
