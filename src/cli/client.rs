//! A client of the running server on its administration socket: runs ad-hoc commands as an admin could from a phone. Who
//! may open the socket is the server's business (`SO_PEERCRED`).
//!
//! Source: RFC 6120 §4 (streams), XEP-0050 v1.3.0 §3.
//! Invariant: each request gets one answer of the caller's, however many stages it took; answers are known by their id.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    accounts,
    answer::{self, Answer, Refusal, Stage},
    settings::Sources,
};
use crate::{
    config::Config,
    wire::{
        build,
        element::Element,
        form::{Field, Form, FormType},
        framer::{Bounds, Frame, Framer},
        jid, ns,
        stanza::Outline,
    },
};

/// How long the server may take to greet: nothing has to be computed for that.
const GREETING: Duration = Duration::from_secs(10);
/// How long an answer may take: a backup of everything takes longest.
const PATIENCE: Duration = Duration::from_secs(600);
/// Bytes of one answer: a list of 2,000 addresses of 2 KiB each, with room.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Nesting of an answer; a form is four deep.
const DEPTH_MAX: usize = 64;
/// Where the service of systemd keeps its data.
const SERVICE_DATA: &str = "/var/lib/lampone";
/// FORM_TYPE of commands that are not from XEP-0133.
const OWN: &str = "urn:lampone:admin";

/// A stream to the server.
pub struct Client {
    stream: UnixStream,
    framer: Framer,
    input: Vec<u8>,
    /// The domain that is administered: the one asked for, else the server's first.
    pub domain: String,
    next: u64,
    /// Requests that are not answered, by the id of their last stage.
    open: BTreeMap<u64, Request>,
}

struct Request {
    /// The id that the caller knows.
    asked: u64,
    node: String,
    form: Form,
    /// Whether the form was submitted in a stage of its own already.
    submitted: bool,
}

impl Client {
    /// Finds the socket by the settings and opens a stream.
    ///
    /// # Errors
    /// One line: no server runs there, it may not be asked, or it does not serve `domain`.
    pub fn connect(sources: &Sources, domain: Option<&str>) -> Result<Client, String> {
        let domain = domain.map(|text| match jid::prepare_domain(text) {
            Ok(domain) => Ok(domain.into_owned()),
            Err(_) => Err(format!("--domain: found {text:?}; give a domain such as \"example.org\"")),
        });
        let domain = domain.transpose()?;
        let config = sources.read()?;
        let stream = dial(&sockets(&config, sources))?;
        let client = Client::greet(stream, domain.as_deref().unwrap_or(&config.domains[0]))?;
        match domain {
            Some(domain) if domain != client.domain => {
                Err(format!("{domain} is not served; the server's first domain is {}", client.domain))
            }
            _ => Ok(client),
        }
    }

    /// Opens the stream, RFC 6120 §4.2; without SASL, since the server knows who is at the other end.
    fn greet(stream: UnixStream, to: &str) -> Result<Client, String> {
        let bounds = Bounds { stanza_bytes_max: ANSWER_BYTES_MAX, depth_max: DEPTH_MAX };
        let (framer, input, open) = (Framer::new(bounds), Vec::new(), BTreeMap::new());
        let mut client = Client { stream, framer, input, domain: to.to_owned(), next: 0, open };
        let mut header =
            b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'".to_vec();
        build::attr("to", to, &mut header);
        header.extend_from_slice(b" version='1.0'>");
        client.wait_at_most(GREETING)?;
        client.send(&header)?;
        // The header, then empty features.
        client.receive()?;
        client.receive()?;
        client.wait_at_most(PATIENCE)?;
        Ok(client)
    }

    fn wait_at_most(&self, time: Duration) -> Result<(), String> {
        let set = self.stream.set_read_timeout(Some(time)).and_then(|()| self.stream.set_write_timeout(Some(time)));
        set.map_err(|e| format!("the socket takes no time limit: {e}"))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|e| format!("the server went away: {e}"))
    }

    /// The next element; of the header only the domain is noted.
    fn receive(&mut self) -> Result<Option<Element>, String> {
        let mut outline = Outline::default();
        loop {
            let mut rest = &self.input[..];
            let frame = self.framer.next(&mut rest, &mut outline);
            let frame = frame.map_err(|e| format!("the server speaks no XMPP: {}", e.condition.as_str()))?;
            let found = match frame {
                Some(Frame::Header(header)) => {
                    self.domain = header.from.unwrap_or_else(|| std::mem::take(&mut self.domain));
                    Some(None)
                }
                Some(Frame::Element(bytes)) => {
                    Some(Some(Element::parse(bytes, ns::CLIENT).map_err(|_| "an answer cannot be read".to_owned())?))
                }
                Some(Frame::End) => return Err("the server ended the conversation".into()),
                None => None,
            };
            let taken = self.input.len() - rest.len();
            self.input.drain(..taken);
            match found {
                Some(Some(error)) if error.is("error", ns::STREAM) => {
                    let condition = error.children().next().map(|child| child.name.replace('-', " "));
                    return Err(format!("the server ends the stream: {}", condition.unwrap_or_default()));
                }
                Some(found) => return Ok(found),
                None => self.read_more()?,
            }
        }
    }

    fn read_more(&mut self) -> Result<(), String> {
        let mut chunk = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("the server closed the connection; its log says why".into()),
                Ok(read) => {
                    self.input.extend_from_slice(&chunk[..read]);
                    return Ok(());
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err("the server does not answer".into());
                }
                Err(e) => return Err(format!("the server went away: {e}")),
            }
        }
    }

    /// Sends a command with its filled form and does not wait; the number is that of [`Client::answer`].
    ///
    /// # Errors
    /// One line: the server is gone.
    pub fn ask(&mut self, node: &str, fields: &[(&str, &str)]) -> Result<u64, String> {
        let form_type = if node.starts_with(ns::ADMIN) { ns::ADMIN } else { OWN };
        let form = fields.iter().fold(Form::typed(FormType::Submit, form_type), |form, (var, value)| {
            form.field(Field::plain((*var).to_owned(), (*value).to_owned()))
        });
        let mut command = Element::new("command", ns::COMMANDS).attr("node", node).attr("action", "execute");
        if !fields.is_empty() {
            command = command.child(form.element());
        }
        let asked = self.next + 1;
        self.request(command, Request { asked, node: node.to_owned(), form, submitted: false })?;
        Ok(asked)
    }

    fn request(&mut self, command: Element, request: Request) -> Result<(), String> {
        self.next += 1;
        let iq = Element::new("iq", ns::CLIENT)
            .attr("type", "set")
            .attr("to", self.domain.as_str())
            .attr("id", self.next.to_string())
            .child(command);
        self.send(&iq.to_vec())?;
        self.open.insert(self.next, request);
        Ok(())
    }

    /// The next answer: to which question, and what it says.
    ///
    /// # Errors
    /// One line: the server is gone.
    pub fn answer(&mut self) -> Result<(u64, Result<Answer, Refusal>), String> {
        loop {
            let Some(iq) = self.receive()? else { continue };
            // The server may ask something itself, under an id of ours.
            if !iq.is("iq", ns::CLIENT) || !matches!(iq.get("type"), Some("result" | "error")) {
                continue;
            }
            let id = iq.get("id").and_then(|id| id.parse().ok());
            let Some(request) = id.and_then(|id: u64| self.open.remove(&id)) else { continue };
            let asked = request.asked;
            match answer::read(&iq) {
                Ok(Stage::Completed(answer)) => return Ok((asked, Ok(answer))),
                Ok(Stage::Executing(session)) if !request.submitted => self.submit(&session, request)?,
                Ok(Stage::Executing(_)) => {
                    let why = "the server asks for more than the command line can answer".to_owned();
                    return Ok((asked, Err(why.into())));
                }
                Err(refusal) => return Ok((asked, Err(refusal))),
            }
        }
    }

    /// The second stage, XEP-0050 §3.3: a server need not take the form with the first.
    fn submit(&mut self, session: &str, request: Request) -> Result<(), String> {
        let command = Element::new("command", ns::COMMANDS)
            .attr("node", request.node.as_str())
            .attr("sessionid", session)
            .attr("action", "complete")
            .child(request.form.element());
        self.request(command, Request { submitted: true, ..request })
    }

    /// Runs one command to its end.
    ///
    /// # Errors
    /// What the server says against it, or that it is gone.
    pub fn run(&mut self, node: &str, fields: &[(&str, &str)]) -> Result<Answer, Refusal> {
        let asked = self.ask(node, fields)?;
        loop {
            let (id, answer) = self.answer()?;
            if id == asked {
                return answer;
            }
        }
    }

    /// The whole address of an account given by name or address.
    ///
    /// # Errors
    /// One line: it is none.
    pub fn address(&self, account: &str) -> Result<String, String> {
        accounts::address(account, &self.domain)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // RFC 6120 §4.4; nobody waits for the answer.
        let _ = self.stream.write_all(b"</stream:stream>");
    }
}

/// Where the server may listen, likeliest first.
fn sockets(config: &Config, sources: &Sources) -> Vec<PathBuf> {
    if let Some(socket) = &config.listen.admin {
        return vec![socket.clone()];
    }
    let mut sockets = vec![config.data.join("admin.sock")];
    // Nobody said where, and there is nothing here: the machine's own service is meant.
    let is_told = sources.data.is_some() || sources.config.is_some() || config.data != Config::default().data;
    if !is_told && !config.data.exists() {
        sockets.push(Path::new(SERVICE_DATA).join("admin.sock"));
    }
    sockets
}

fn dial(sockets: &[PathBuf]) -> Result<UnixStream, String> {
    let mut refused = None;
    for socket in sockets {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {}
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                refused = Some(format!("{}: not allowed; try as root or as the server's user", socket.display()));
            }
            Err(e) => refused = Some(format!("{}: {e}", socket.display())),
        }
    }
    let tried = sockets.iter().map(|socket| socket.display().to_string()).collect::<Vec<_>>().join(" or ");
    Err(refused.unwrap_or_else(|| {
        format!("no server answers at {tried}; start it with `lampone serve`, or name its data directory with --data")
    }))
}

#[cfg(test)]
#[path = "client/tests.rs"]
pub(super) mod tests;
