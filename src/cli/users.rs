//! Commands about accounts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, IsTerminal, Read},
    path::Path,
};

use zeroize::Zeroizing;

use super::{
    Mistakes, args,
    client::{Client, account},
    house::tell_link,
    password, print,
    settings::Sources,
};
use crate::{
    proto::scram::{Credentials, ScramKeys},
    wire::{
        form::{Field, FieldType, Form},
        jid::Jid,
    },
};

const ADD: &str = "http://jabber.org/protocol/admin#add-user";
const REMOVE: &str = "http://jabber.org/protocol/admin#delete-user";
const DISABLE: &str = "http://jabber.org/protocol/admin#disable-user";
const ENABLE: &str = "http://jabber.org/protocol/admin#reenable-user";
const CHANGE_PASSWORD: &str = "http://jabber.org/protocol/admin#change-user-password";
const LIST: &str = "http://jabber.org/protocol/admin#get-registered-users-list";
const STATISTICS: &str = "http://jabber.org/protocol/admin#user-stats";
const DEVICES: &str = "urn:lampone:admin#user-devices";
const EMPTY_ARCHIVE: &str = "urn:lampone:admin#empty-archive";
const REVOKE: &str = "urn:lampone:admin#revoke-device";
const LAST_LOGIN: &str = "http://jabber.org/protocol/admin#get-user-lastlogin";

/// Our additions to the forms of XEP-0133.
const KEYS: &str = "{urn:lampone:admin}keys";
const IS_ADMIN: &str = "{urn:lampone:admin}admin";
const IS_DISABLED: &str = "{urn:lampone:admin}disabled";
const HAS_OLD_KEYS: &str = "{urn:lampone:admin}old-keys";

/// Requests under way at once: half of what the server derives for all its admins (`limits::DERIVING_MAX`).
const WINDOW: usize = 8;
/// Bytes of a file with accounts.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Mistakes in a file that are told.
const MISTAKES_MAX: usize = 20;

/// `lampone user add`.
///
/// # Errors
/// The account exists, its name or password cannot be used, or no server runs.
pub fn add(command: &args::Add) -> Result<(), Mistakes> {
    match (&command.name, &command.from) {
        (Some(name), None) => add_one(command, name),
        (None, Some(file)) => add_all(command, file),
        // Such lines are not understood, see `args::read`.
        _ => Err(vec!["give either an address or --from".to_owned()]),
    }
}

fn add_one(command: &args::Add, name: &str) -> Result<(), Mistakes> {
    let mut client = Client::connect(&command.sources())?;
    let told = |line| vec![line];
    let jid = client.account(name).map_err(told)?;
    let password = password::obtain(command.password_stdin, jid.as_str()).map_err(told)?;
    client
        .command(ADD, new_account(&jid, &Secret::Password(&password), command.admin))
        .map_err(|why| vec![format!("{jid}: {why}")])?;
    print::out(&format!("{jid} is added.\n"))
}

/// Makes these accounts, all of one password.
///
/// # Errors
/// A line for each that was not made.
pub fn make(client: &mut Client, names: &[String], password: &str) -> Result<(), Mistakes> {
    let users: Result<Vec<_>, String> =
        names.iter().map(|name| Ok((client.account(name)?, Secret::Password(password)))).collect();
    let mut progress = Progress::default();
    add_pipelined(client, &users.map_err(|line| vec![line])?, false, &mut progress).map_err(|line| vec![line])?;
    if progress.failed.is_empty() { Ok(()) } else { Err(progress.failed) }
}

/// Removes these accounts.
///
/// # Errors
/// A line for each that is still there.
pub fn unmake(client: &mut Client, names: &[String]) -> Result<(), Mistakes> {
    let mut left = Vec::new();
    for name in names {
        let whom = client.account(name).map(|jid| Field::plain("accountjids", jid.as_str().to_owned()));
        left.extend(whom.and_then(|whom| client.command(REMOVE, vec![whom])).err().map(|why| format!("{name}: {why}")));
    }
    if left.is_empty() { Ok(()) } else { Err(left) }
}

fn new_account(jid: &Jid, secret: &Secret<'_>, is_admin: bool) -> Vec<Field> {
    // XEP-0133 §4.1.
    let mut fields = match secret {
        Secret::Keys(keys) => {
            vec![
                address(jid),
                Field::new(KEYS, FieldType::TextMulti).values(keys.split_whitespace().map(str::to_owned)),
            ]
        }
        Secret::Password(password) => {
            let mut fields = credentials(jid, password);
            fields.push(Field::plain("password-verify", (*password).to_owned()));
            fields
        }
    };
    if is_admin {
        fields.push(Field::boolean(IS_ADMIN, true));
    }
    fields
}

fn credentials(jid: &Jid, password: &str) -> Vec<Field> {
    vec![address(jid), Field::plain("password", password.to_owned())]
}

fn address(jid: &Jid) -> Field {
    Field::plain("accountjid", jid.as_str().to_owned())
}

fn add_all(command: &args::Add, file: &Path) -> Result<(), Mistakes> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let bytes = read_users(file).map_err(|e| vec![format!("{name}: {e}")])?;
    let text = text_of(&bytes).map_err(|line| vec![format!("{name}:{line}: not valid UTF-8")])?;
    let mut client = Client::connect(&command.sources())?;
    let domain = client.domain().to_owned();
    let users = parse_users(text, &domain).map_err(|mistakes| {
        let more = mistakes.len().saturating_sub(MISTAKES_MAX);
        let lines = mistakes.into_iter().take(MISTAKES_MAX).map(|(line, what)| format!("{name}:{line}: {what}"));
        lines.chain((more > 0).then(|| format!("{name}: and {more} mistakes more"))).collect::<Vec<_>>()
    })?;
    let mut progress = Progress::default();
    let end = add_pipelined(&mut client, &users, command.admin, &mut progress);
    let Progress { added, mut failed } = progress;
    print::out(&format!("{added} added, {} not.\n", users.len() - added))?;
    if let Err(why) = end {
        let unanswered = users.len() - added - failed.len();
        failed.push(format!("{why}; {unanswered} had no answer, add the file again to see which are there"));
    }
    if failed.is_empty() { Ok(()) } else { Err(failed) }
}

/// What has become of a file of accounts; also if the stream breaks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Progress {
    added: usize,
    /// A line for each that failed.
    failed: Vec<String>,
}

/// Adds them with some requests under way.
///
/// # Errors
/// The stream broke.
fn add_pipelined(
    client: &mut Client,
    users: &[NewUser<'_>],
    is_admin: bool,
    progress: &mut Progress,
) -> Result<(), String> {
    let mut under_way: BTreeMap<u64, &Jid> = BTreeMap::new();
    let mut waiting = users.iter();
    loop {
        while under_way.len() < WINDOW
            && let Some((jid, secret)) = waiting.next()
        {
            let id = client.ask(ADD, new_account(jid, secret, is_admin))?;
            under_way.insert(id, jid);
        }
        if under_way.is_empty() {
            return Ok(());
        }
        let (id, outcome) = client.answer()?;
        match (under_way.remove(&id), outcome) {
            (Some(_), Ok(_)) => progress.added += 1,
            (Some(jid), Err(why)) => progress.failed.push(format!("{jid}: {why}")),
            (None, _) => {}
        }
        tell(progress.added + progress.failed.len(), users.len());
    }
}

/// Each account takes tens of milliseconds on a small machine: whoever watches a long file sees how far it is.
fn tell(done: usize, of: usize) {
    const STEP: usize = 100;
    if of > STEP && (done.is_multiple_of(STEP) || done == of) && io::stderr().is_terminal() {
        eprint!("\r{done} of {of}{}", if done == of { "\n" } else { "" });
    }
}

/// The text of a file without the mark that some editors put before it; otherwise the first line that is none.
fn text_of(bytes: &[u8]) -> Result<&str, usize> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let lines_before = |end| bytes[..end].iter().filter(|byte| **byte == b'\n').count();
    std::str::from_utf8(bytes).map_err(|e| lines_before(e.valid_up_to()) + 1)
}

fn read_users(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let input: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(fs::File::open(file)?),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    input.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(io::Error::other(format!("longer than {FILE_BYTES_MAX} bytes"))),
        false => Ok(bytes),
    }
}

/// By what somebody signs in to a new account.
#[derive(Debug)]
enum Secret<'a> {
    Password(&'a str),
    /// SCRAM keys as another server has stored them (RFC 5803), one hash behind the other.
    Keys(&'a str),
}

/// An account to make.
type NewUser<'a> = (Jid, Secret<'a>);

/// Accounts of a file, or all mistakes with their line numbers: an address, a space or tab, a password, which may have
/// spaces inside, or SCRAM keys.
fn parse_users<'a>(text: &'a str, domain: &str) -> Result<Vec<NewUser<'a>>, Vec<(usize, String)>> {
    let mut users = Vec::new();
    let mut seen = BTreeSet::new();
    let mut mistakes = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, password) = line.split_once([' ', '\t']).map_or((line, ""), |(name, rest)| (name, rest.trim()));
        match account(name, domain) {
            Err(why) => mistakes.push((index + 1, why)),
            Ok(jid) if password.is_empty() => mistakes.push((index + 1, format!("{jid} has no password"))),
            Ok(jid) if !seen.insert(jid.clone()) => mistakes.push((index + 1, format!("{jid} is there twice"))),
            Ok(jid) if ScramKeys::is_written(password) => match Credentials::read(password.split_whitespace(), &[0; _])
            {
                Ok(_) => users.push((jid, Secret::Keys(password))),
                Err(why) => mistakes.push((index + 1, format!("{jid}: {why}"))),
            },
            Ok(jid) => users.push((jid, Secret::Password(password))),
        }
    }
    if mistakes.is_empty() { Ok(users) } else { Err(mistakes) }
}

/// `lampone user passwd`.
///
/// # Errors
/// There is no such account, the password cannot be used, or no server runs.
pub fn change_password(command: &args::Passwd) -> Result<(), Mistakes> {
    let mut client = Client::connect(&command.sources())?;
    let told = |line| vec![line];
    let jid = client.account(&command.name).map_err(told)?;
    let password = password::obtain(command.password_stdin, jid.as_str()).map_err(told)?;
    client.command(CHANGE_PASSWORD, credentials(&jid, &password)).map_err(|why| vec![format!("{jid}: {why}")])?;
    print::out(&format!("{jid} has a new password.\n"))
}

/// `lampone user reset-link`.
///
/// # Errors
/// There is no such account, no web door, or no server runs.
pub fn reset_link(command: &args::ResetLink) -> Result<(), Mistakes> {
    let mut client = Client::connect(&command.sources())?;
    let jid = client.account(&command.name).map_err(|line| vec![line])?;
    let done = client.command("urn:lampone:admin#password-link", vec![address(&jid)]);
    let form = done.map_err(|why| vec![format!("{jid}: {why}")])?.form;
    tell_link(form.as_ref(), "It makes one new password and is good until")
}

/// `lampone user remove`.
///
/// # Errors
/// There is no such account, or no server runs.
pub fn remove(command: &args::Remove) -> Result<(), Mistakes> {
    to_one(&command.sources(), &command.name, REMOVE, "is removed")
}

/// `lampone user disable` and `lampone user enable`.
///
/// # Errors
/// There is no such account, or no server runs.
pub fn set_disabled(sources: &Sources, name: &str, is_disabled: bool) -> Result<(), Mistakes> {
    match is_disabled {
        true => to_one(sources, name, DISABLE, "is disabled"),
        false => to_one(sources, name, ENABLE, "is enabled"),
    }
}

/// A command that takes any number of accounts, with one.
fn to_one(sources: &Sources, name: &str, node: &str, what_it_is: &str) -> Result<(), Mistakes> {
    let mut client = Client::connect(sources)?;
    let jid = client.account(name).map_err(|line| vec![line])?;
    let whom = Field::plain("accountjids", jid.as_str().to_owned());
    client.command(node, vec![whom]).map_err(|why| vec![format!("{jid}: {why}")])?;
    print::out(&format!("{jid} {what_it_is}.\n"))
}

/// `lampone user list`.
///
/// # Errors
/// No server runs, or it refused.
pub fn list(sources: &Sources) -> Result<(), Mistakes> {
    let mut client = Client::connect(sources)?;
    let mut after: Option<String> = None;
    loop {
        let from_there = after.take().map(|jid| Field::plain("{urn:lampone:admin}after", jid));
        let done = client.command(LIST, from_there.into_iter().collect()).map_err(|line| vec![line])?;
        let form = done.form.as_ref();
        let users: Vec<&str> = form.map(|form| form.values("registereduserjids").collect()).unwrap_or_default();
        print::out(&users.iter().map(|jid| format!("{}\n", print::shown(jid))).collect::<String>())?;
        // A note says that the list was cut; the next page begins behind its last address.
        match users.last() {
            Some(last) if !done.notes.is_empty() => after = Some((*last).to_owned()),
            _ => return Ok(()),
        }
    }
}

/// `lampone user show`.
///
/// # Errors
/// There is no such account, or no server runs.
pub fn show(command: &args::Show) -> Result<(), Mistakes> {
    let mut client = Client::connect(&command.sources())?;
    let jid = client.account(&command.name).map_err(|line| vec![line])?;
    let told = |why| vec![format!("{jid}: {why}")];
    let statistics = client.command(STATISTICS, vec![address(&jid)]).map_err(told)?.form;
    let whom = Field::plain("accountjids", jid.as_str().to_owned());
    let last = client.command(LAST_LOGIN, vec![whom]).map_err(told)?.form;
    let values = |form: &Option<Form>, var: &str| -> Vec<String> {
        form.iter().flat_map(|form| form.values(var)).map(str::to_owned).collect()
    };
    let said = |var| match statistics.as_ref().and_then(|form| form.bool(var)) {
        Some(true) => vec!["yes".to_owned()],
        Some(false) => vec!["no".to_owned()],
        None => Vec::new(),
    };
    let sessions = values(&statistics, "onlineresources");
    let here = if sessions.is_empty() { "Last here" } else { "Here since" };
    print::out(&print::aligned(&[
        ("Address", vec![jid.to_string()]),
        (here, values(&last, "lastlogin")),
        ("Sessions", sessions),
        ("From", values(&statistics, "ipaddresses")),
        ("Contacts", values(&statistics, "rostersize")),
        ("Administrator", said(IS_ADMIN)),
        ("Disabled", said(IS_DISABLED)),
        ("Old keys", said(HAS_OLD_KEYS)),
    ]))
}

/// `lampone user devices`.
///
/// # Errors
/// There is no such account, or no server runs.
pub fn devices(command: &args::Devices) -> Result<(), Mistakes> {
    let mut client = Client::connect(&command.sources())?;
    let jid = client.account(&command.name).map_err(|line| vec![line])?;
    let done = client.command(DEVICES, vec![address(&jid)]).map_err(|why| vec![format!("{jid}: {why}")])?;
    let rows = done.form.map(|form| form.items).unwrap_or_default();
    let value = |row: &[Field], var: &str| -> String {
        let field = row.iter().find(|field| field.var == var);
        field.and_then(|field| field.values.first()).map(|text| text.to_string()).unwrap_or_default()
    };
    let line = |row: &Vec<Field>| {
        let here = if value(row, "connected") == "1" { "here" } else { "away" };
        let names = [value(row, "software"), value(row, "device")];
        let names = names.iter().filter(|name| !name.is_empty()).map(String::as_str).collect::<Vec<_>>().join(", ");
        let line = format!("{:<16}  {here}  {}  {names}", value(row, "id"), value(row, "last-seen"));
        format!("{}\n", print::shown(line.trim_end()))
    };
    print::out(&rows.iter().map(line).collect::<String>())
}

/// `lampone user revoke`.
///
/// # Errors
/// There is no such account or device, or no server runs.
pub fn revoke(command: &args::Revoke) -> Result<(), Mistakes> {
    let mut client = Client::connect(&command.sources())?;
    let jid = client.account(&command.name).map_err(|line| vec![line])?;
    let fields = vec![address(&jid), Field::plain("device", command.device.clone())];
    let done = client.command(REVOKE, fields).map_err(|why| vec![format!("{jid}: {}: {why}", command.device)])?;
    let more = match done.notes.is_empty() {
        true => String::new(),
        false => format!("It knows the password; `lampone user passwd {jid}` keeps it out for good.\n"),
    };
    print::out(&format!("{} of {jid} is signed out.\n{more}", print::shown(&command.device)))
}

/// `lampone user empty-archive`.
///
/// # Errors
/// There is no such account, or no server runs.
pub fn empty_archive(command: &args::EmptyArchive) -> Result<(), Mistakes> {
    let mut client = Client::connect(&command.sources())?;
    let jid = client.account(&command.name).map_err(|line| vec![line])?;
    let done = client.command(EMPTY_ARCHIVE, vec![address(&jid)]).map_err(|why| vec![format!("{jid}: {why}")])?;
    let count = done.form.as_ref().and_then(|form| form.value("messages")).unwrap_or("0");
    print::out(&format!("The archive of {jid} is empty; messages removed: {}.\n", print::shown(count)))
}

#[cfg(test)]
mod tests {
    use super::{
        super::client::scripted::{error, fake, result},
        *,
    };

    #[test]
    fn requests_go_out_before_answers_come_and_answers_come_in_any_order() {
        // All three are asked for before the first is answered.
        let answers = [result(3, ""), error(1, "conflict"), result(2, "")].concat();
        let (mut client, server) = fake(vec![("cleo@home.example", answers)]);
        let users = parse_users("anna x\nben y\ncleo z\n", "home.example").unwrap();
        let mut progress = Progress::default();
        assert_eq!(add_pipelined(&mut client, &users, false, &mut progress), Ok(()));
        let failed = vec!["anna@home.example: there is an account of this name".to_owned()];
        assert_eq!(progress, Progress { added: 2, failed });
        drop(client);
        let heard = server.join().unwrap();
        for field in ["accountjid", "password", "password-verify"] {
            assert_eq!(heard.matches(&format!("var='{field}'")).count(), 3, "{heard}");
        }
    }

    #[test]
    fn what_was_added_is_known_when_the_server_goes_away() {
        let text: String = (0..=WINDOW).map(|n| format!("u{n} x\n")).collect();
        let users = parse_users(&text, "home.example").unwrap();
        let last = format!("u{}@", WINDOW - 1);
        let (mut client, server) = fake(vec![(last.leak(), result(1, "") + "</stream:stream>")]);
        let mut progress = Progress::default();
        assert!(add_pipelined(&mut client, &users, false, &mut progress).is_err());
        assert_eq!(progress, Progress { added: 1, failed: Vec::new() });
        drop(client);
        server.join().unwrap();
    }

    #[test]
    fn a_file_of_accounts_is_read_line_by_line() {
        let text = "# family\n\nanna  s3cret word\r\nBob@home.example\tpa#ss\n   # end\n";
        let users = parse_users(text, "home.example").unwrap();
        let users: Vec<_> = users.iter().map(|(jid, secret)| format!("{jid} {secret:?}")).collect();
        assert_eq!(users[..], ["anna@home.example Password(\"s3cret word\")", "bob@home.example Password(\"pa#ss\")"]);
    }

    #[test]
    fn accounts_of_other_servers_come_with_keys_instead_of_passwords() {
        let keys = "SCRAM-SHA-1$4096:QSXCR+Q6sek8bf92$6dlGYMOdZcOPutkcNY8U2g7vK9Y=:D+CSWLOshSulAsxiupA+qs2/fTE=";
        let text = format!("anna {keys}\nbob {}\n", keys.replace("4096", "x"));
        let mistakes = parse_users(&text, "home.example").unwrap_err();
        assert_eq!(mistakes, [(2, "bob@home.example: the rounds are between 4096 and 10000000".to_owned())]);
        let users = parse_users(text.lines().next().unwrap(), "home.example").unwrap();
        assert!(matches!(users[..], [(_, Secret::Keys(found))] if found == keys), "{users:?}");
    }

    #[test]
    fn a_file_may_begin_with_a_mark_and_must_be_text() {
        assert_eq!(text_of("\u{feff}anna x\n".as_bytes()), Ok("anna x\n"));
        assert_eq!(text_of(b"anna x\n\nb\xff y\n"), Err(3));
    }

    #[test]
    fn all_mistakes_of_a_file_are_told_with_their_lines() {
        let text = "anna x\n\nbob\na/b x\nANNA@home.example y\n";
        let mistakes = parse_users(text, "home.example").unwrap_err();
        let lines: Vec<usize> = mistakes.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4, 5]);
        assert_eq!(mistakes[2].1, "anna@home.example is there twice");
    }
}
