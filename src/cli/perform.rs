//! Reads the command line and does what it says.
//!
//! Invariant: a mistake on the command line is one line with a hint and exit code 2; what could not be done is a line for
//! each reason and exit code 1.

use std::{process::ExitCode, slice};

use argh::{EarlyExit, FromArgs, SubCommands};

use super::{
    check,
    client::Client,
    command::{
        Add, Backup, Check, Command, Invite, Lampone, List, Passwd, Plan, Remove, Serve, Show, Status, User,
        UserCommand, Version,
    },
    output::say,
    serve,
    settings::Sources,
    users,
};
use crate::{config, server::Server};

/// Reads the command line, does what it says; the exit code is 2 if it cannot be read.
pub fn main() -> ExitCode {
    let words: Result<Vec<String>, _> = std::env::args_os().skip(1).map(|word| word.into_string()).collect();
    let words = match words {
        Ok(words) => words,
        Err(word) => {
            eprintln!("lampone: {} is not UTF-8; see `lampone --help`", word.to_string_lossy());
            return ExitCode::from(2);
        }
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match read(&words) {
        Ok(command) => perform(command),
        Err(EarlyExit { output, status: Ok(()) }) => say(output.trim_end()),
        Err(EarlyExit { output, .. }) => {
            eprintln!("lampone: {output}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(lines) => {
            lines.lines().for_each(|line| eprintln!("lampone: {line}"));
            ExitCode::FAILURE
        }
    }
}

/// The command, or what to print instead: help, or one line about a mistake.
fn read(words: &[&str]) -> Result<Command, EarlyExit> {
    let words = if words.is_empty() { &["--help"] } else { words };
    match Lampone::from_args(&["lampone"], words) {
        Ok(Lampone { version: true, .. }) => Ok(Command::Version(Version {})),
        Ok(Lampone { command: Some(command), .. }) => match contradiction(&command) {
            None => Ok(command),
            Some(what) => Err(mistake(what, words)),
        },
        Ok(Lampone { command: None, .. }) => read(&["--help"]),
        Err(EarlyExit { output, status: Err(()) }) => {
            let what = output.split_whitespace().collect::<Vec<_>>().join(" ");
            Err(mistake(what.trim_end_matches(['.', ':']), words))
        }
        Err(help) => Err(help),
    }
}

fn mistake(what: &str, words: &[&str]) -> EarlyExit {
    EarlyExit { output: format!("{what}; see `{} --help`", spoken_to(words)), status: Err(()) }
}

/// What cannot be meant together though each word is right.
fn contradiction(command: &Command) -> Option<&'static str> {
    let Command::User(User { command: UserCommand::Add(add) }) = command else { return None };
    match (&add.account, &add.from) {
        (None, None) => Some("Name an account, or a file with --from"),
        (Some(_), Some(_)) => Some("Name an account or a file with --from, not both"),
        (None, Some(_)) if add.password_stdin => {
            Some("The file of --from holds the passwords; leave out --password-stdin")
        }
        _ => None,
    }
}

/// The command that the words lead to, for the hint.
fn spoken_to(words: &[&str]) -> String {
    let named = |commands: &[&argh::CommandInfo], word: Option<&&str>| {
        word.is_some_and(|word| commands.iter().any(|command| command.name == *word))
    };
    let depth = match named(Command::COMMANDS, words.first()) {
        false => 0,
        true if words[0] == "user" && named(UserCommand::COMMANDS, words.get(1)) => 2,
        true => 1,
    };
    slice::from_ref(&"lampone").iter().chain(&words[..depth]).copied().collect::<Vec<_>>().join(" ")
}

fn perform(command: Command) -> Result<(), String> {
    match command {
        Command::Serve(Serve { config, domain, data, set }) => serve::run(Sources { config, domain, data, set }),
        Command::Check(Check { keys: true, .. }) => say(config::listing()),
        Command::Check(Check { config, domain, data, set, .. }) => check::run(&Sources { config, domain, data, set }),
        Command::User(User { command }) => perform_user(command),
        Command::Invite(Invite { admin, domain, data, config }) => {
            users::invite(&mut connect(data, config, domain)?, admin)
        }
        Command::Status(Status { data, config }) => {
            say(connect(data, config, None)?.run("urn:lampone:admin#status", &[])?.text())
        }
        Command::Backup(Backup { file, data, config }) => backup(&file, &mut connect(data, config, None)?),
        Command::Plan(Plan {}) => say(Server::plan()),
        Command::Version(Version {}) => say(format!("lampone {}", env!("CARGO_PKG_VERSION"))),
    }
}

fn perform_user(command: UserCommand) -> Result<(), String> {
    match command {
        UserCommand::Add(Add { account, password_stdin, from, data, config }) => {
            users::add(&mut connect(data, config, None)?, account, password_stdin, from)
        }
        UserCommand::Passwd(Passwd { account, password_stdin, data, config }) => {
            users::passwd(&mut connect(data, config, None)?, &account, password_stdin)
        }
        UserCommand::Remove(Remove { account, data, config }) => {
            users::remove(&mut connect(data, config, None)?, &account)
        }
        UserCommand::List(List { domain, data, config }) => users::list(&mut connect(data, config, domain)?),
        UserCommand::Show(Show { account, data, config }) => users::show(&mut connect(data, config, None)?, &account),
    }
}

fn connect(data: Option<String>, config: Option<String>, domain: Option<String>) -> Result<Client, String> {
    Client::connect(&Sources { config, data, ..Sources::default() }, domain.as_deref())
}

/// The file's name is made whole here: the server has another working directory.
fn backup(file: &str, client: &mut Client) -> Result<(), String> {
    let path = std::path::absolute(file).map_err(|e| format!("{file}: {e}"))?;
    let path = path.to_str().ok_or_else(|| format!("{file}: the path of its folder is not UTF-8"))?;
    let text = client.run("urn:lampone:admin#backup", &[("file", path)])?.text();
    say(format!("{text}{path} written"))
}

#[cfg(test)]
#[path = "perform/tests.rs"]
mod tests;
