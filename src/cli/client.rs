//! A client of the running server on its administration socket: runs ad-hoc commands (XEP-0050) as an admin could from a
//! phone. Who may open the socket is the server's business (`SO_PEERCRED`).

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

use super::settings::Sources;
use crate::wire::{
    build,
    element::Element,
    form::{Field, Form, FormType},
    framer::{Bounds, Frame, Framer},
    ns,
    stanza::Outline,
};

/// How long an answer may take: a backup of everything takes longest.
const PATIENCE: Duration = Duration::from_secs(600);

/// A stream to the server.
pub struct Client {
    stream: UnixStream,
    framer: Framer,
    input: Vec<u8>,
    /// The server's first domain.
    pub domain: String,
    next: u64,
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    /// Result form.
    pub form: Option<Form>,
    /// Notes for a person.
    pub notes: Vec<String>,
}

impl Client {
    /// Finds the socket by the settings and opens a stream.
    ///
    /// # Errors
    /// One line: no server runs there, or it may not be asked.
    pub fn connect(sources: &Sources) -> Result<Client, String> {
        let config = sources.read()?;
        let socket: PathBuf = config.listen.admin.clone().unwrap_or_else(|| config.data.join("admin.sock"));
        let stream = UnixStream::connect(&socket).map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => format!("{}: not allowed; try as root", socket.display()),
            _ => format!(
                "no server answers at {}; start it with `lampone serve`, or name its data directory with --data",
                socket.display()
            ),
        })?;
        let bounds = Bounds { stanza_bytes_max: 16 << 20, depth_max: 64 };
        let timeout = stream.set_read_timeout(Some(PATIENCE));
        timeout.map_err(|e| format!("{}: {e}", socket.display()))?;
        let mut client =
            Client { stream, framer: Framer::new(bounds), input: Vec::new(), domain: String::new(), next: 0 };
        let mut header =
            b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'".to_vec();
        build::attr("to", &config.domains[0], &mut header);
        header.extend_from_slice(b" version='1.0'>");
        client.send(&header)?;
        // The header, then empty features.
        client.receive()?;
        client.receive()?;
        Ok(client)
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|e| format!("the server went away: {e}"))
    }

    /// The next element; the header only notes the domain.
    fn receive(&mut self) -> Result<Option<Element>, String> {
        let mut outline = Outline::default();
        loop {
            let mut rest = &self.input[..];
            let frame = self.framer.next(&mut rest, &mut outline);
            let frame = frame.map_err(|e| format!("the server speaks no XMPP: {}", e.condition.as_str()))?;
            let found = match frame {
                Some(Frame::Header(header)) => {
                    self.domain = header.from.unwrap_or_default();
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
                    let condition = error.children().next().map(|child| child.name.to_string());
                    return Err(format!("the server says {}", condition.unwrap_or_default()));
                }
                Some(found) => return Ok(found),
                None => {}
            }
            let mut chunk = [0; 16 * 1024];
            let read = self.stream.read(&mut chunk).map_err(|e| format!("no answer: {e}"))?;
            if read == 0 {
                return Err("the server closed the connection; does its log say why?".into());
            }
            self.input.extend_from_slice(&chunk[..read]);
        }
    }

    /// Sends a command with its filled form and does not wait.
    pub fn ask(&mut self, node: &str, fields: &[(&str, &str)]) -> Result<u64, String> {
        self.next += 1;
        let form_type = if node.starts_with(ns::ADMIN) { ns::ADMIN } else { "urn:lampone:admin" };
        let form = Form::typed(FormType::Submit, form_type);
        let form = fields
            .iter()
            .fold(form, |form, (var, value)| form.field(Field::plain((*var).to_owned(), (*value).to_owned())));
        let mut command = Element::new("command", ns::COMMANDS).attr("node", node).attr("action", "execute");
        if !fields.is_empty() {
            command = command.child(form.element());
        }
        let iq = Element::new("iq", ns::CLIENT)
            .attr("type", "set")
            .attr("to", self.domain.as_str())
            .attr("id", self.next.to_string())
            .child(command);
        self.send(&iq.to_vec())?;
        Ok(self.next)
    }

    /// The next answer: to which command, and what it says.
    pub fn answer(&mut self) -> Result<(u64, Result<Answer, String>), String> {
        loop {
            let Some(iq) = self.receive()? else { continue };
            let Some(id) = iq.get("id").and_then(|id| id.parse().ok()) else { continue };
            return Ok((id, read_answer(&iq)));
        }
    }

    /// Runs one command to its end.
    ///
    /// # Errors
    /// One line: what the server says against it.
    pub fn run(&mut self, node: &str, fields: &[(&str, &str)]) -> Result<Answer, String> {
        let asked = self.ask(node, fields)?;
        loop {
            let (id, answer) = self.answer()?;
            if id == asked {
                return answer;
            }
        }
    }

    /// The whole address of an account given by name or address.
    pub fn address(&self, account: &str) -> String {
        if account.contains('@') { account.to_owned() } else { format!("{account}@{}", self.domain) }
    }
}

fn read_answer(iq: &Element) -> Result<Answer, String> {
    if iq.get("type") == Some("error") {
        let error = iq.find("error", ns::CLIENT);
        let text = error.and_then(|e| e.find("text", ns::STANZA_ERRORS)).map(Element::content);
        let condition = error.and_then(|e| e.children().next()).map(|c| c.name.replace('-', " "));
        return Err(text.or(condition).unwrap_or_else(|| "refused".into()));
    }
    let Some(command) = iq.find("command", ns::COMMANDS) else {
        return Ok(Answer { form: None, notes: Vec::new() });
    };
    let notes = command.children().filter(|child| child.is("note", ns::COMMANDS));
    let (errors, notes): (Vec<_>, Vec<_>) = notes.partition(|note| note.get("type") == Some("error"));
    if let Some(error) = errors.first() {
        return Err(error.content());
    }
    let form = Form::find_in(command).map_err(|_| "the answer's form cannot be read".to_owned())?;
    Ok(Answer { form, notes: notes.iter().map(|note| note.content()).collect() })
}

impl Answer {
    /// Prints what a person wants to see: fields aligned, then notes.
    pub fn print(&self) {
        print!("{}", self.text());
    }

    fn text(&self) -> String {
        let rows: Vec<(String, Vec<String>)> = self.form.iter().flat_map(|form| rows(&form.element())).collect();
        let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for (label, values) in rows {
            for (at, value) in values.iter().enumerate() {
                let label = if at == 0 { label.as_str() } else { "" };
                out += &format!("{label:<width$}  {value}\n");
            }
        }
        self.notes.iter().for_each(|note| out += &format!("{note}\n"));
        out
    }
}

/// Labels and values of a form, as its element shows them.
fn rows(form: &Element) -> Vec<(String, Vec<String>)> {
    let fields = form.children().filter(|child| child.is("field", ns::DATA) && child.get("type") != Some("hidden"));
    fields
        .map(|field| {
            let label = field.get("label").or(field.get("var")).unwrap_or_default().to_owned();
            let values = field.children().filter(|child| child.is("value", ns::DATA)).map(Element::content);
            (label, values.collect())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_prints_aligned() {
        let form = Form::typed(FormType::Result, "x")
            .field(Field::plain("a", "1").label("Version"))
            .field(Field::plain("b", "2").label("Accounts online"));
        let answer = Answer { form: Some(form), notes: vec!["done".into()] };
        assert_eq!(answer.text(), "Version          1\nAccounts online  2\ndone\n");
    }

    #[test]
    fn an_error_is_one_line() {
        let iq = Element::parse(
            b"<iq type='error' id='1'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
            ns::CLIENT,
        );
        assert_eq!(read_answer(&iq.unwrap()).unwrap_err(), "item not found");
    }
}
