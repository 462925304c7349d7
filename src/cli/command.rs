//! The commands and their options.

use std::process::ExitCode;

use argh::FromArgs;

use super::{client, serve, settings, users};
use crate::{adapters::tls::Certificates, server::Server};

/// Lampone: a chat server for the home (XMPP).
///
/// `lampone serve` starts it; the other commands speak to the running server.
#[derive(FromArgs)]
struct Lampone {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Serve(Serve),
    Check(Check),
    User(User),
    Invite(Invite),
    Status(Status),
    Backup(Backup),
    Plan(Plan),
    Version(Version),
}

/// run the server until a signal ends it
#[derive(FromArgs)]
#[argh(subcommand, name = "serve")]
struct Serve {
    /// file of settings; else lampone.toml in the data directory, else /etc/lampone.toml
    #[argh(option)]
    config: Option<String>,
    /// domain to serve; else the file's, else the host's name
    #[argh(option)]
    domain: Option<String>,
    /// data directory; else the file's, else ./lampone-data
    #[argh(option)]
    data: Option<String>,
    /// a setting as key=value, over the file; may be repeated
    #[argh(option)]
    set: Vec<String>,
}

/// read settings and certificates, say what is wrong, start nothing
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
struct Check {
    /// file of settings; else lampone.toml in the data directory, else /etc/lampone.toml
    #[argh(option)]
    config: Option<String>,
    /// domain to serve; else the file's, else the host's name
    #[argh(option)]
    domain: Option<String>,
    /// data directory; else the file's, else ./lampone-data
    #[argh(option)]
    data: Option<String>,
    /// a setting as key=value, over the file; may be repeated
    #[argh(option)]
    set: Vec<String>,
}

/// add, change, remove, list and show accounts
#[derive(FromArgs)]
#[argh(subcommand, name = "user")]
struct User {
    #[argh(subcommand)]
    command: UserCommand,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum UserCommand {
    Add(Add),
    Passwd(Passwd),
    Remove(Remove),
    List(List),
    Show(Show),
}

/// make an account, or many from a file
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
struct Add {
    /// address, or the name alone for the server's first domain
    #[argh(positional)]
    account: Option<String>,
    /// read the password from standard input instead of asking
    #[argh(switch)]
    password_stdin: bool,
    /// make the accounts of a file: an address and a password on each line
    #[argh(option)]
    from: Option<String>,
    /// data directory of the running server
    #[argh(option)]
    data: Option<String>,
    /// file of settings of the running server
    #[argh(option)]
    config: Option<String>,
}

/// give an account a new password; ends its sessions
#[derive(FromArgs)]
#[argh(subcommand, name = "passwd")]
struct Passwd {
    /// address, or the name alone for the server's first domain
    #[argh(positional)]
    account: String,
    /// read the password from standard input instead of asking
    #[argh(switch)]
    password_stdin: bool,
    /// data directory of the running server
    #[argh(option)]
    data: Option<String>,
    /// file of settings of the running server
    #[argh(option)]
    config: Option<String>,
}

/// remove an account and all its data
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
struct Remove {
    /// address, or the name alone for the server's first domain
    #[argh(positional)]
    account: String,
    /// data directory of the running server
    #[argh(option)]
    data: Option<String>,
    /// file of settings of the running server
    #[argh(option)]
    config: Option<String>,
}

/// list accounts
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
struct List {
    /// data directory of the running server
    #[argh(option)]
    data: Option<String>,
    /// file of settings of the running server
    #[argh(option)]
    config: Option<String>,
}

/// show one account: contacts, sessions
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
struct Show {
    /// address, or the name alone for the server's first domain
    #[argh(positional)]
    account: String,
    /// data directory of the running server
    #[argh(option)]
    data: Option<String>,
    /// file of settings of the running server
    #[argh(option)]
    config: Option<String>,
}

/// make an invitation link for a new user
#[derive(FromArgs)]
#[argh(subcommand, name = "invite")]
struct Invite {
    /// the new user becomes an administrator
    #[argh(switch)]
    admin: bool,
    /// data directory of the running server
    #[argh(option)]
    data: Option<String>,
    /// file of settings of the running server
    #[argh(option)]
    config: Option<String>,
}

/// show what the server is doing
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
struct Status {
    /// data directory of the running server
    #[argh(option)]
    data: Option<String>,
    /// file of settings of the running server
    #[argh(option)]
    config: Option<String>,
}

/// write a consistent copy of all data to a file while the server runs
#[derive(FromArgs)]
#[argh(subcommand, name = "backup")]
struct Backup {
    /// the file to write; must not exist
    #[argh(positional)]
    file: String,
    /// data directory of the running server
    #[argh(option)]
    data: Option<String>,
    /// file of settings of the running server
    #[argh(option)]
    config: Option<String>,
}

/// print which service looks at which stanza in which phase
#[derive(FromArgs)]
#[argh(subcommand, name = "plan")]
struct Plan {}

/// print the version
#[derive(FromArgs)]
#[argh(subcommand, name = "version")]
struct Version {}

/// Reads the command line, does what it says; the exit code is 2 if it cannot be read.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    if words.is_empty() {
        words.push("--help");
    }
    let lampone = match Lampone::from_args(&["lampone"], &words) {
        Ok(lampone) => lampone,
        Err(early) if early.status.is_ok() => {
            println!("{}", early.output.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(early) => {
            let line = early.output.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" ");
            eprintln!("lampone: {line}");
            return ExitCode::from(2);
        }
    };
    match perform(lampone.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(lines) => {
            lines.lines().for_each(|line| eprintln!("lampone: {line}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> Result<(), String> {
    let socket = |data: Option<String>, config: Option<String>| {
        client::Client::connect(&settings::Sources { config, data, ..settings::Sources::default() })
    };
    match command {
        Command::Serve(Serve { config, domain, data, set }) => {
            serve::run(settings::Sources { config, domain, data, set })
        }
        Command::Check(Check { config, domain, data, set }) => check(&settings::Sources { config, domain, data, set }),
        Command::User(User { command }) => match command {
            UserCommand::Add(Add { account, password_stdin, from, data, config }) => {
                users::add(&mut socket(data, config)?, account, password_stdin, from)
            }
            UserCommand::Passwd(Passwd { account, password_stdin, data, config }) => {
                users::passwd(&mut socket(data, config)?, &account, password_stdin)
            }
            UserCommand::Remove(Remove { account, data, config }) => {
                users::remove(&mut socket(data, config)?, &account)
            }
            UserCommand::List(List { data, config }) => users::list(&mut socket(data, config)?),
            UserCommand::Show(Show { account, data, config }) => users::show(&mut socket(data, config)?, &account),
        },
        Command::Invite(Invite { admin, data, config }) => users::invite(&mut socket(data, config)?, admin),
        Command::Status(Status { data, config }) => {
            socket(data, config)?.run("urn:lampone:admin#status", &[]).map(|answer| answer.print())
        }
        Command::Backup(Backup { file, data, config }) => {
            let path = std::path::absolute(&file).map_err(|e| format!("{file}: {e}"))?;
            let path = path.to_string_lossy().into_owned();
            socket(data, config)?.run("urn:lampone:admin#backup", &[("file", &path)])?.print();
            println!("{path} written");
            Ok(())
        }
        Command::Plan(Plan {}) => {
            print!("{}", Server::plan());
            Ok(())
        }
        Command::Version(Version {}) => {
            println!("lampone {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

/// `lampone check`: everything that `serve` would read, without starting.
fn check(sources: &settings::Sources) -> Result<(), String> {
    let config = sources.read()?;
    Certificates::check(&config)?;
    println!("domains      {}", config.domains.join(", "));
    println!("data         {}", config.data.display());
    let doors = |list: &[std::net::SocketAddr]| match list {
        [] => "closed".to_owned(),
        list => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    println!("STARTTLS     {}", doors(&config.listen.c2s));
    println!("direct TLS   {}", doors(&config.listen.c2s_tls));
    println!("settings are good");
    Ok(())
}
