//! The command line's stream to a running server: a client of the administration socket.
//!
//! Source: RFC 6120 §4.2, XEP-0050 v1.3.0. Invariant: each request is answered once, by the answer that has its `id`;
//! answers may come in any order.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use zeroize::Zeroizing;

use super::settings::Sources;
use crate::{
    config::Config,
    limits,
    wire::{
        build,
        element::Element,
        form::{Field, Form, FormType},
        framer::{Bounds, Frame, Framer, Header},
        jid::Jid,
        ns,
        stanza::Outline,
    },
};

/// How long the server may take to say hello.
const HELLO: Duration = Duration::from_secs(10);
/// How long a command may take; a backup of much data takes minutes on a slow card.
const COMMAND: Duration = Duration::from_secs(600);
/// Bytes of one answer: a list of `COMMAND_LIST_MAX` long addresses.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes taken from the socket at a time.
const READ_BYTES: usize = 16 * 1024;
/// Where a packaged server keeps its data.
const PACKAGED: &str = "/var/lib/lampone/admin.sock";

/// A stream to a running server.
pub struct Client {
    socket: UnixStream,
    framer: Framer,
    outline: Outline,
    input: VecDeque<u8>,
    domain: String,
    sent: u64,
}

/// What a command brought.
#[derive(Debug, Default)]
pub struct Done {
    /// What the server adds, XEP-0050 §4.1: `warn` or `info`, and the text.
    pub notes: Vec<String>,
    /// The result.
    pub form: Option<Form>,
}

/// How a command went; the error is one line.
pub type Outcome = Result<Done, String>;

/// One thing out of the stream.
enum Heard {
    Header(Box<Header>),
    Element(Element),
}

impl Client {
    /// Opens a stream to the server that these settings belong to.
    ///
    /// # Errors
    /// The settings are wrong, no server runs there, or it does not want to speak with us.
    pub fn connect(sources: &Sources) -> Result<Client, Vec<String>> {
        let config = sources.read()?;
        Client::open(&socket_path(sources, &config), &config.domains[0]).map_err(|line| vec![line])
    }

    fn open(path: &Path, domain: &str) -> Result<Client, String> {
        let socket = UnixStream::connect(path).map_err(|e| not_there(path, &e))?;
        let told = |e: io::Error| format!("{}: {e}", path.display());
        socket.set_read_timeout(Some(HELLO)).map_err(told)?;
        socket.set_write_timeout(Some(HELLO)).map_err(told)?;
        let bounds = Bounds { stanza_bytes_max: ANSWER_BYTES_MAX, depth_max: limits::DEPTH_MAX };
        let mut client = Client {
            socket,
            framer: Framer::new(bounds),
            outline: Outline::default(),
            input: VecDeque::new(),
            domain: domain.to_owned(),
            sent: 0,
        };
        client.greet()?;
        client.socket.set_read_timeout(Some(COMMAND)).map_err(told)?;
        Ok(client)
    }

    /// Header and features both ways; the server's header tells its domain.
    fn greet(&mut self) -> Result<(), String> {
        let mut header = b"<stream:stream xmlns='jabber:client' xmlns:stream='".to_vec();
        header.extend_from_slice(ns::STREAM.as_bytes());
        header.extend_from_slice(b"' version='1.0'");
        build::attr("to", &self.domain, &mut header);
        header.push(b'>');
        self.send(&header)?;
        match self.hear()? {
            Heard::Header(header) => self.domain = header.from.unwrap_or_else(|| self.domain.clone()),
            Heard::Element(_) => return Err("the server speaks no XMPP".into()),
        }
        match self.hear()? {
            Heard::Element(features) if features.is("features", ns::STREAM) => Ok(()),
            _ => Err("the server offers no features".into()),
        }
    }

    /// The server's domain, as its header gave it.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The account that a person means by an address or by its part before the `@`.
    ///
    /// # Errors
    /// One line: it can be no account's address.
    pub fn account(&self, name: &str) -> Result<Jid, String> {
        account(name, &self.domain)
    }

    /// Asks for a command and waits for its end.
    ///
    /// # Errors
    /// One line: the server refused, or the stream broke.
    pub fn command(&mut self, node: &str, fields: Vec<Field>) -> Outcome {
        let id = self.ask(node, fields)?;
        loop {
            let (answered, outcome) = self.answer()?;
            if answered == id {
                return outcome;
            }
        }
    }

    /// Asks for a command; the number comes back with its answer.
    ///
    /// # Errors
    /// The stream broke.
    pub fn ask(&mut self, node: &str, fields: Vec<Field>) -> Result<u64, String> {
        self.sent += 1;
        let form = fields.into_iter().fold(Form::new(FormType::Submit), Form::field);
        let command = Element::new("command", ns::COMMANDS).attr("node", node).attr("action", "execute");
        let iq = Element::new("iq", ns::CLIENT)
            .attr("type", "set")
            .attr("to", self.domain.clone())
            .attr("id", self.sent.to_string())
            .child(command.child(form.element()));
        let mut bytes = Zeroizing::new(Vec::new());
        iq.write(ns::CLIENT, &mut bytes);
        self.send(&bytes)?;
        Ok(self.sent)
    }

    /// The next answer, whichever it is.
    ///
    /// # Errors
    /// The stream broke.
    pub fn answer(&mut self) -> Result<(u64, Outcome), String> {
        loop {
            let Heard::Element(element) = self.hear()? else { return Err("the server began anew".into()) };
            if element.is("error", ns::STREAM) {
                return Err(format!("the server ended the stream: {}", reason(&element)));
            }
            let id = element.get("id").and_then(|id| id.parse().ok());
            if let (true, Some(id)) = (element.is("iq", ns::CLIENT), id) {
                return Ok((id, outcome(&element)));
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.socket.write_all(bytes).map_err(|e| broken(&e))
    }

    fn hear(&mut self) -> Result<Heard, String> {
        loop {
            let input: &[u8] = self.input.make_contiguous();
            let mut rest = input;
            let frame = self.framer.next(&mut rest, &mut self.outline);
            let heard = match frame.map_err(|_| "the server sent what is no XMPP")? {
                Some(Frame::Header(header)) => Some(Heard::Header(header)),
                Some(Frame::Element(bytes)) => {
                    let element = Element::parse(bytes, ns::CLIENT).map_err(|_| "the server sent what is no XML")?;
                    Some(Heard::Element(element))
                }
                Some(Frame::End) => return Err("the server ended the stream".into()),
                None => None,
            };
            let taken = input.len() - rest.len();
            self.input.drain(..taken);
            if let Some(heard) = heard {
                return Ok(heard);
            }
            let mut piece = [0; READ_BYTES];
            match self.socket.read(&mut piece) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(length) => self.input.extend(&piece[..length]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(broken(&e)),
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.socket.write_all(b"</stream:stream>");
    }
}

/// Where the server listens. Who names nothing may mean the one that was installed from a package.
fn socket_path(sources: &Sources, config: &Config) -> PathBuf {
    let path = config.listen.admin.clone().unwrap_or_else(|| config.data.join("admin.sock"));
    let packaged = PathBuf::from(PACKAGED);
    let is_unsaid = sources.data.is_none() && sources.config.is_none() && config.listen.admin.is_none();
    if is_unsaid && !path.exists() && packaged.exists() { packaged } else { path }
}

fn not_there(path: &Path, e: &io::Error) -> String {
    let path = path.display();
    match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!(
                "no server listens at {path}; start one with `lampone serve`, or name the data directory of another with --data"
            )
        }
        io::ErrorKind::PermissionDenied => format!("{path}: only root and the server's own user may use it"),
        _ => format!("{path}: {e}"),
    }
}

fn broken(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the server does not answer".into(),
        _ => format!("the connection to the server broke: {e}"),
    }
}

/// The account that a person means, at this domain unless another is named.
///
/// # Errors
/// One line: it can be no account's address.
pub fn account(name: &str, domain: &str) -> Result<Jid, String> {
    let jid = if name.contains('@') { Jid::parse(name) } else { Jid::from_parts(Some(name), domain, None) };
    match jid {
        Ok(jid) if jid.is_bare() && jid.local().is_some() => Ok(jid),
        _ => Err(format!("{name:?} cannot be the address of an account")),
    }
}

/// What an answer says.
fn outcome(iq: &Element) -> Outcome {
    if iq.get("type") != Some("result") {
        let error = iq.find("error", ns::CLIENT);
        return Err(error.map_or("refused, and no reason was given".to_owned(), reason));
    }
    let Some(command) = iq.find("command", ns::COMMANDS) else { return Ok(Done::default()) };
    let mut done = Done::default();
    for note in command.children().filter(|child| child.is("note", ns::COMMANDS)) {
        match note.get("type") {
            Some("error") => return Err(note.content()),
            _ => done.notes.push(note.content()),
        }
    }
    if command.get("status") == Some("executing") {
        return Err("the server wants to know more than this program can tell it".into());
    }
    done.form = Form::find_in(command).map_err(|_| "the server's answer is too long")?;
    Ok(done)
}

/// Why, in words: those of the server, or ours for the condition (RFC 6120 §4.9.3, §8.3.3).
fn reason(error: &Element) -> String {
    let conditions = || error.children().filter(|child| [ns::STANZA_ERRORS, ns::STREAM_ERRORS].contains(&&*child.ns));
    if let Some(text) = conditions().find(|child| child.name == "text") {
        return text.content();
    }
    match conditions().map(|child| child.name.as_ref()).next().unwrap_or("undefined-condition") {
        "conflict" => "there is an account of this name",
        "item-not-found" => "there is no such account",
        "resource-constraint" => "the server has too much to do, try again",
        "internal-server-error" => "the server failed; its log says more",
        "jid-malformed" => "this cannot be an address",
        "system-shutdown" => "it is stopping",
        other => return other.replace('-', " "),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Outcome {
        outcome(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())
    }

    #[test]
    fn names_without_domain_are_at_the_servers() {
        let name = |name| account(name, "home.example").map(|jid| jid.to_string());
        assert_eq!(name("Anna").as_deref(), Ok("anna@home.example"));
        assert_eq!(name("bob@other.example").as_deref(), Ok("bob@other.example"));
        for wrong in ["", "a@b/c", "a b", "@home.example", "a/b"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn refusals_become_one_line() {
        let stanzas = ns::STANZA_ERRORS;
        let refused = |inside: &str| {
            read(&format!("<iq type='error' id='1'><error type='cancel'>{inside}</error></iq>")).unwrap_err()
        };
        assert_eq!(refused(&format!("<conflict xmlns='{stanzas}'/>")), "there is an account of this name");
        assert_eq!(refused(&format!("<not-allowed xmlns='{stanzas}'/>")), "not allowed");
        let text = format!("<bad-request xmlns='{stanzas}'/><text xmlns='{stanzas}'>Too short.</text>");
        assert_eq!(refused(&text), "Too short.");
    }

    #[test]
    fn an_error_note_is_a_refusal_and_others_are_not() {
        let noted = |kind: &str| {
            let commands = ns::COMMANDS;
            read(&format!(
                "<iq type='result' id='1'><command xmlns='{commands}' status='completed'><note type='{kind}'>disk full</note></command></iq>"
            ))
        };
        assert_eq!(noted("error").unwrap_err(), "disk full");
        assert_eq!(noted("warn").unwrap().notes, ["disk full"]);
    }
}
