//! Commands about the whole server: its state, backups, invitations.

use std::io::{self, IsTerminal, Read};

use super::{Mistakes, args, client::Client, print};
use crate::wire::form::{Field, FieldType, Form};

/// Bytes of an announcement that is read from standard input: more than anybody reads.
const ANNOUNCEMENT_BYTES_MAX: u64 = 8 * 1024;

/// `lampone status`.
///
/// # Errors
/// No server runs, or it refused.
pub fn status(command: &args::Status) -> Result<(), Mistakes> {
    let mut client = Client::connect(&command.sources())?;
    if command.link {
        let done = client.command("urn:lampone:admin#status-link", Vec::new()).map_err(|line| vec![line])?;
        return tell_link(done.form.as_ref(), "It shows how the server is doing to whoever has it, and is good until");
    }
    let done = client.command("urn:lampone:admin#status", Vec::new()).map_err(|line| vec![line])?;
    let form = done.form.ok_or_else(|| vec!["the server told nothing".to_owned()])?;
    let is_shown = |field: &&Field| field.kind != Some(FieldType::Hidden);
    let rows: Vec<(String, Vec<String>)> = form
        .fields
        .iter()
        .filter(is_shown)
        .map(|field| {
            let label = field.label.as_deref().unwrap_or(&field.var);
            (label.to_owned(), field.values.iter().map(|value| value.clone().into_owned()).collect())
        })
        .collect();
    print::out(&print::aligned(&rows))
}

/// `lampone backup`.
///
/// # Errors
/// No server runs, or the file could not be written.
pub fn backup(command: &args::Backup) -> Result<(), Mistakes> {
    // The server has another working directory.
    let file = std::path::absolute(&command.file);
    let file = file.map_err(|e| vec![format!("{}: {e}", command.file.display())])?;
    let text = file.to_str().ok_or_else(|| vec![format!("{}: not valid UTF-8", file.display())])?;
    let mut client = Client::connect(&command.sources())?;
    let outcome = client.command("urn:lampone:admin#backup", vec![Field::plain("file", text.to_owned())]);
    outcome.map_err(|line| vec![format!("no backup was made: {line}")])?;
    print::out(&format!("{} is written.\n", print::shown(text)))
}

/// `lampone announce`.
///
/// # Errors
/// No server runs, or there is nothing to announce.
pub fn announce(command: &args::Announce) -> Result<(), Mistakes> {
    let text = match &command.text {
        Some(text) => text.clone(),
        None => read_announcement().map_err(|e| vec![format!("standard input: {e}")])?,
    };
    let lines = text.lines().map(|line| line.trim_end().to_owned());
    let field = Field::new("announcement", FieldType::TextMulti).values(lines);
    let mut client = Client::connect(&command.sources())?;
    let outcome = client.command("http://jabber.org/protocol/admin#announce", vec![field]);
    outcome.map_err(|line| vec![line])?;
    print::out("The announcement is sent.\n")
}

fn read_announcement() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().take(ANNOUNCEMENT_BYTES_MAX + 1).read_to_string(&mut text)?;
    match text.len() as u64 > ANNOUNCEMENT_BYTES_MAX {
        true => Err(io::Error::other(format!("an announcement has {ANNOUNCEMENT_BYTES_MAX} bytes at most"))),
        false => Ok(text),
    }
}

/// `lampone invite`.
///
/// # Errors
/// No server runs, or it refused.
pub fn invite(command: &args::Invite) -> Result<(), Mistakes> {
    let mut client = Client::connect(&command.sources())?;
    let done = client.command("urn:lampone:admin#invite", vec![Field::boolean("admin", command.admin)]);
    let form = done.map_err(|line| vec![line])?.form;
    tell_link(form.as_ref(), "It makes one account and is good until")
}

/// Prints a link, and on a terminal its code and until when it is good.
///
/// # Errors
/// The server told none.
pub fn tell_link(form: Option<&Form>, what: &str) -> Result<(), Mistakes> {
    // A page works on every device, also where no app is yet.
    let link = form.and_then(|form| form.value("landing-url").or(form.value("uri")));
    let told = form.and_then(|form| Some((link?, form.value("expire")?)));
    let (link, until) = told.ok_or_else(|| vec!["the server told no link".to_owned()])?;
    if !io::stdout().is_terminal() {
        return print::out(&format!("{}\n", print::shown(link)));
    }
    let code = print::qr_code(link).unwrap_or_default();
    let uri = form.and_then(|form| form.value("uri")).filter(|uri| *uri != link);
    let in_app = uri.map_or(String::new(), |uri| format!("In an app that is there already: {}\n", print::shown(uri)));
    print::out(&format!("{}\n\n{code}\n{in_app}{what} {}.\n", print::shown(link), print::shown(until)))
}
