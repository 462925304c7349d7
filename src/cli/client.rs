//! The command line's stream to a running server: a client of the administration socket.
//!
//! Source: RFC 6120 §4.2, XEP-0050 v1.3.0. Invariant: each request is answered once, by the answer that has its `id`,
//! however many stages it took; answers may come in any order.

use std::{
    collections::{BTreeMap, VecDeque},
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
        jid::{self, Jid},
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
/// FORM_TYPE of commands that are not from XEP-0133.
const OWN: &str = "urn:lampone:admin";

/// A stream to a running server.
pub struct Client {
    socket: UnixStream,
    framer: Framer,
    outline: Outline,
    input: VecDeque<u8>,
    domain: String,
    sent: u64,
    /// Requests without an answer, by the `id` of their last stage.
    open: BTreeMap<u64, Request>,
}

/// A command under way.
struct Request {
    /// The number that the asker knows.
    number: u64,
    node: String,
    form: Form,
    /// Whether the form went out in a stage of its own.
    is_submitted: bool,
}

/// How far a command has come, XEP-0050 §3.
#[derive(Debug)]
enum Stage {
    /// It is over.
    Completed(Done),
    /// This session waits for a form.
    Executing(String),
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
    /// Opens a stream to the server that these settings belong to. `--domain` tells which of its domains is meant.
    ///
    /// # Errors
    /// The settings are wrong, no server runs there, it does not want to speak with us, or does not serve the domain.
    pub fn connect(sources: &Sources) -> Result<Client, Vec<String>> {
        let meant = sources.domain.as_deref().map(|text| match jid::prepare_domain(text) {
            Ok(domain) => Ok(domain.into_owned()),
            Err(_) => Err(vec![format!("--domain: found {text:?}; give one of the server's domains")]),
        });
        let meant = meant.transpose()?;
        // As one of several it must not take the place of the others: admins of those would be strangers.
        let config = Sources { domain: None, ..sources.clone() }.read()?;
        let domain = meant.as_ref().unwrap_or(&config.domains[0]);
        let client =
            Client::open(&socket_path(sources, &config, Path::new(PACKAGED)), domain).map_err(|line| vec![line])?;
        match meant {
            // The socket answers for the first domain whatever was asked for.
            Some(meant) if meant != client.domain => {
                Err(vec![format!("{meant} is not served there; the server's first domain is {}", client.domain)])
            }
            _ => Ok(client),
        }
    }

    fn open(path: &Path, domain: &str) -> Result<Client, String> {
        let socket = UnixStream::connect(path).map_err(|e| not_there(path, &e))?;
        Client::begin(socket, domain, COMMAND)
    }

    /// Greets; answers to commands may then take this long.
    fn begin(socket: UnixStream, domain: &str, patience: Duration) -> Result<Client, String> {
        let told = |e: io::Error| format!("the socket takes no time limit: {e}");
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
            open: BTreeMap::new(),
        };
        client.greet()?;
        client.socket.set_read_timeout(Some(patience)).map_err(told)?;
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
        let form_type = if node.starts_with(ns::ADMIN) { ns::ADMIN } else { OWN };
        let form = fields.into_iter().fold(Form::typed(FormType::Submit, form_type), Form::field);
        let command = Element::new("command", ns::COMMANDS).attr("node", node).attr("action", "execute");
        let number = self.sent + 1;
        self.request(command, Request { number, node: node.to_owned(), form, is_submitted: false })?;
        Ok(number)
    }

    /// The second stage, XEP-0050 §3.3: a server need not take the form with the first.
    fn submit(&mut self, session: &str, request: Request) -> Result<(), String> {
        let command = Element::new("command", ns::COMMANDS)
            .attr("node", request.node.clone())
            .attr("sessionid", session)
            .attr("action", "complete");
        self.request(command, Request { is_submitted: true, ..request })
    }

    fn request(&mut self, command: Element, request: Request) -> Result<(), String> {
        self.sent += 1;
        let iq = Element::new("iq", ns::CLIENT)
            .attr("type", "set")
            .attr("to", self.domain.clone())
            .attr("id", self.sent.to_string())
            .child(command.child(request.form.element()));
        let mut bytes = Zeroizing::new(Vec::new());
        iq.write(ns::CLIENT, &mut bytes);
        self.send(&bytes)?;
        self.open.insert(self.sent, request);
        Ok(())
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
            // The server may ask something itself, and by chance under an id of ours (RFC 6120 §8.1.3).
            if !element.is("iq", ns::CLIENT) || !matches!(element.get("type"), Some("result" | "error")) {
                continue;
            }
            let id = element.get("id").and_then(|id| id.parse::<u64>().ok());
            let Some(request) = id.and_then(|id| self.open.remove(&id)) else { continue };
            let number = request.number;
            match stage(&element) {
                Ok(Stage::Completed(done)) => return Ok((number, Ok(done))),
                Ok(Stage::Executing(session)) if !request.is_submitted => self.submit(&session, request)?,
                Ok(Stage::Executing(_)) => {
                    return Ok((number, Err("the server wants to know more than this program can tell it".into())));
                }
                Err(why) => return Ok((number, Err(why))),
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

/// Where the server listens. Who names nothing may mean the one that was installed from a package, at `packaged`.
fn socket_path(sources: &Sources, config: &Config, packaged: &Path) -> PathBuf {
    let path = config.listen.admin.clone().unwrap_or_else(|| config.data.join("admin.sock"));
    let is_unsaid = sources.data.is_none() && sources.config.is_none() && config.listen.admin.is_none();
    // A server whose data are here is meant though it does not run: its accounts are not those of another.
    let is_here = config.data != Config::default().data || config.data.exists();
    // What may not be looked at is there: then the reason is told, and not that nobody listens.
    let is_packaged = !matches!(packaged.try_exists(), Ok(false));
    if is_unsaid && !is_here && is_packaged { packaged.to_owned() } else { path }
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
fn stage(iq: &Element) -> Result<Stage, String> {
    if iq.get("type") != Some("result") {
        let error = iq.find("error", ns::CLIENT);
        return Err(error.map_or("refused, and no reason was given".to_owned(), reason));
    }
    let Some(command) = iq.find("command", ns::COMMANDS) else { return Ok(Stage::Completed(Done::default())) };
    let mut done = Done::default();
    for note in command.children().filter(|child| child.is("note", ns::COMMANDS)) {
        match note.get("type") {
            Some("error") => return Err(note.content()),
            _ => done.notes.push(note.content()),
        }
    }
    match (command.get("status"), command.get("sessionid")) {
        (Some("executing"), Some(session)) => return Ok(Stage::Executing(session.to_owned())),
        (Some("completed"), _) => {}
        _ => return Err("the server did not carry it out".into()),
    }
    done.form = Form::find_in(command).map_err(|_| "the server's answer is too long")?;
    Ok(Stage::Completed(done))
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
#[path = "client/scripted.rs"]
pub(super) mod scripted;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Outcome {
        match stage(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap())? {
            Stage::Completed(done) => Ok(done),
            Stage::Executing(session) => Err(session),
        }
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
