//! What can be typed.

use std::path::PathBuf;

use argh::{FromArgs, SubCommands};

use super::settings::Sources;
use crate::adapters::load::sasl::Mechanism;

/// XMPP chat server for the home.
#[derive(FromArgs)]
#[argh(
    example = "Start a server, with data in ./lampone-data:\n  {command_name} serve --domain home.example",
    example = "Make an account on it; the password is asked for:\n  {command_name} user add anna",
    note = "All commands but serve, check, doctor, bench, plan and version speak to a\n  running server through its administration socket, which root and the\n  server's own user may use. Name the server by the same --config or --data.",
    note = "Settings are read from lampone.toml in the data directory, or from\n  /etc/lampone.toml. `{command_name} COMMAND --help` tells more.",
    error_code(0, "It is done."),
    error_code(1, "It is not done; standard error says why."),
    error_code(2, "The command line was not understood.")
)]
struct Lampone {
    /// print the version
    #[argh(switch)]
    version: bool,

    #[argh(subcommand)]
    command: Option<Command>,
}

/// What to do.
#[derive(FromArgs)]
#[argh(subcommand)]
pub enum Command {
    Serve(Serve),
    Check(Check),
    Doctor(Doctor),
    User(User),
    Status(Status),
    Backup(Backup),
    Invite(Invite),
    Announce(Announce),
    Bench(Bench),
    Plan(Plan),
    Version(Version),
}

/// A command with the options that tell which server is meant; in front stands what `--domain` is to it.
macro_rules! command {
    ([$domain:tt] $(#[$($meta:tt)*])* $name:ident { $($body:tt)* }) => {
        #[derive(FromArgs)]
        $(#[$($meta)*])*
        pub struct $name {
            $($body)*

            /// file with the settings (default: lampone.toml in the data directory, else /etc/lampone.toml)
            #[argh(option, arg_name = "file")]
            config: Option<PathBuf>,

            #[doc = $domain]
            #[argh(option, arg_name = "domain")]
            domain: Option<String>,

            /// data directory (default: $STATE_DIRECTORY, else ./lampone-data)
            #[argh(option, arg_name = "dir")]
            data: Option<PathBuf>,

            /// one setting, over that of the file; may be given more than once (lampone check --keys lists them)
            #[argh(option, arg_name = "key=value")]
            set: Vec<String>,
        }

        impl $name {
            /// Where the settings come from.
            pub fn sources(&self) -> Sources {
                Sources {
                    config: self.config.clone(),
                    domain: self.domain.clone(),
                    data: self.data.clone(),
                    sets: self.set.clone(),
                }
            }
        }
    };
}

command! {
    ["domain to serve (default: the name of this machine)"]
    /// Run the server until a signal ends it; SIGHUP reads settings and certificates anew.
    #[argh(subcommand, name = "serve")]
    Serve {}
}

command! {
    ["domain to serve (default: the name of this machine)"]
    /// Read and check settings and certificates, without a server.
    #[argh(subcommand, name = "check")]
    Check {
        /// list all settings with defaults and meaning instead
        #[argh(switch)]
        pub keys: bool,
    }
}

command! {
    ["domain to serve (default: the name of this machine)"]
    /// Look at the domains as others find them: DNS, ports, certificates, and how to mend what is wrong.
    #[argh(subcommand, name = "doctor")]
    Doctor {
        /// another server's domain, to be looked at instead
        #[argh(positional)]
        pub other: Option<String>,
    }
}

/// Make, change, remove and list accounts.
#[derive(FromArgs)]
#[argh(subcommand, name = "user")]
pub struct User {
    #[argh(subcommand)]
    pub command: UserCommand,
}

/// What to do with accounts.
#[derive(FromArgs)]
#[argh(subcommand)]
pub enum UserCommand {
    Add(Add),
    Passwd(Passwd),
    ResetLink(ResetLink),
    Remove(Remove),
    Disable(Disable),
    Enable(Enable),
    List(List),
    Show(Show),
    Devices(Devices),
    Revoke(Revoke),
    EmptyArchive(EmptyArchive),
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Make an account, or many from a file.
    #[argh(
        subcommand,
        name = "add",
        note = "A file has one account a line: the address, a space or tab, the password,\n  or the SCRAM keys that another server has stored (RFC 5803), such as\n  SCRAM-SHA-1$4096:SALT$STOREDKEY:SERVERKEY. Empty lines and lines that\n  begin with # are skipped. Nothing is added if there is a mistake in the file."
    )]
    Add {
        /// the address, or its part before the @
        #[argh(positional, arg_name = "address")]
        pub name: Option<String>,

        /// the account may administer the server
        #[argh(switch)]
        pub admin: bool,

        /// take the password from the first line of standard input
        #[argh(switch)]
        pub password_stdin: bool,

        /// add the accounts in this file; - is standard input
        #[argh(option, arg_name = "file")]
        pub from: Option<PathBuf>,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Give an account a new password and end its sessions.
    #[argh(subcommand, name = "passwd")]
    Passwd {
        /// the address, or its part before the @
        #[argh(positional, arg_name = "address")]
        pub name: String,

        /// take the password from the first line of standard input
        #[argh(switch)]
        pub password_stdin: bool,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Make a link with which the holder of an account chooses a new password.
    #[argh(subcommand, name = "reset-link")]
    ResetLink {
        /// the address, or its part before the @
        #[argh(positional, arg_name = "address")]
        pub name: String,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Remove an account with all that belongs to it.
    #[argh(subcommand, name = "remove")]
    Remove {
        /// the address, or its part before the @
        #[argh(positional, arg_name = "address")]
        pub name: String,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Let nobody sign in to an account, and end its sessions; it keeps what it has.
    #[argh(subcommand, name = "disable")]
    Disable {
        /// the address, or its part before the @
        #[argh(positional, arg_name = "address")]
        pub name: String,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Let people sign in again to an account that was disabled.
    #[argh(subcommand, name = "enable")]
    Enable {
        /// the address, or its part before the @
        #[argh(positional, arg_name = "address")]
        pub name: String,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// List the addresses of all accounts.
    #[argh(subcommand, name = "list")]
    List {}
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Show what is known of an account.
    #[argh(subcommand, name = "show")]
    Show {
        /// the address, or its part before the @
        #[argh(positional, arg_name = "address")]
        pub name: String,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// List what has access to an account: devices, and sessions without a device.
    #[argh(subcommand, name = "devices")]
    Devices {
        /// the address, or its part before the @
        #[argh(positional, arg_name = "address")]
        pub name: String,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Sign a device out: its sessions end and its tokens are worth nothing.
    #[argh(subcommand, name = "revoke")]
    Revoke {
        /// the address, or its part before the @
        #[argh(positional, arg_name = "address")]
        pub name: String,

        /// the device, as `lampone user devices` names it
        #[argh(positional, arg_name = "device")]
        pub device: String,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Remove all messages from the archive of an account.
    #[argh(subcommand, name = "empty-archive")]
    EmptyArchive {
        /// the address, or its part before the @
        #[argh(positional, arg_name = "address")]
        pub name: String,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Show how the server is doing.
    #[argh(subcommand, name = "status")]
    Status {
        /// make a link to a page in the browser that shows it
        #[argh(switch)]
        pub link: bool,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Write a copy of everything to a new file while the server runs.
    #[argh(subcommand, name = "backup")]
    Backup {
        /// the file to make; the server writes it, as its own user
        #[argh(positional, arg_name = "file")]
        pub file: PathBuf,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Make a link with which somebody can register an account.
    #[argh(subcommand, name = "invite")]
    Invite {
        /// the new account may administer the server
        #[argh(switch)]
        pub admin: bool,
    }
}

command! {
    ["which of the server's domains is meant (default: its first)"]
    /// Send a message to everybody who is online.
    #[argh(subcommand, name = "announce")]
    Announce {
        /// the message; without it, standard input is read
        #[argh(positional, arg_name = "text")]
        pub text: Option<String>,
    }
}

command! {
    ["domain of the accounts (default: that of the Lampone that makes them, else the host)"]
    /// Put load on an XMPP server of yours and measure it: sign-ins, idle clients, pairs chatting, a room, an archive.
    #[argh(
        subcommand,
        name = "bench",
        example = "Lampone on this machine:\n  {command_name} localhost --pid $(pidof lampone)",
        example = "Prosody on the same machine:\n  {command_name} localhost --domain home.example --pid $(pidof lua5.4) \\\n    --make 'prosodyctl register {{user}} {{domain}} {{password}}' \\\n    --unmake 'prosodyctl deluser {{user}}@{{domain}}'",
        note = "It tells what it will do and asks before it begins. It connects to the host\n  that is named and to no other; the accounts are new ones, and go in the end.\n  On standard output: a table, then one line of JSON."
    )]
    Bench {
        /// the server, as host or host:port; TLS from the start at port 5223, else STARTTLS
        #[argh(positional, arg_name = "host")]
        pub host: String,

        /// of signin, idle, pairs, rooms, archive those that are wanted, with commas (default: all)
        #[argh(option, arg_name = "list")]
        pub only: Option<String>,

        /// how the accounts are made: lampone (by the one on this machine, the default), register (in band, XEP-0077), or a command with {user}, {domain} and {password}
        #[argh(option, arg_name = "how")]
        pub make: Option<String>,

        /// the command that removes one, if a command made it
        #[argh(option, arg_name = "command")]
        pub unmake: Option<String>,

        /// accounts, 2 to 500 (default: 20)
        #[argh(option, default = "20", arg_name = "number")]
        pub accounts: usize,

        /// sign-ins, 1 to 5000 (default: 100)
        #[argh(option, default = "100", arg_name = "number")]
        pub sign_ins: usize,

        /// idle clients, 1 to 5000 (default: 100)
        #[argh(option, default = "100", arg_name = "number")]
        pub idle: usize,

        /// seconds that they are idle, 1 to 600 (default: 10)
        #[argh(option, default = "10", arg_name = "number")]
        pub seconds: u64,

        /// messages of each pair and of the room, 1 to 10000 (default: 200)
        #[argh(option, default = "200", arg_name = "number")]
        pub messages: u32,

        /// scram-sha-1 (the default), scram-sha-256 or plain
        #[argh(option, default = "Mechanism::ScramSha1", arg_name = "mechanism")]
        pub mechanism: Mechanism,

        /// PEM file with the authorities to trust; without it any certificate will do
        #[argh(option, arg_name = "file")]
        pub ca: Option<PathBuf>,

        /// process of the server on this machine, whose time and memory are measured
        #[argh(option, arg_name = "number")]
        pub pid: Option<u32>,

        /// TLS from the start at this port too, though it is not 5223
        #[argh(switch)]
        pub direct: bool,

        /// the server has no stream management (XEP-0198): a message is done when it has arrived
        #[argh(switch)]
        pub unacknowledged: bool,

        /// the host is yours though it is not in this network
        #[argh(switch)]
        pub mine: bool,

        /// do not ask before it begins
        #[argh(switch)]
        pub yes: bool,
    }
}

/// Print which service acts in which phase of a stanza's way.
#[derive(FromArgs)]
#[argh(subcommand, name = "plan")]
pub struct Plan {}

/// Print the version.
#[derive(FromArgs)]
#[argh(subcommand, name = "version")]
pub struct Version {}

/// The command line asks for nothing that can be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Early {
    /// Help, or one line about what was not understood, with a hint.
    pub text: String,
    /// Whether help was asked for.
    pub is_help: bool,
}

/// Reads the command line, without the program's name.
///
/// # Errors
/// Help was asked for, or the line was not understood. Nothing at all asks for help.
pub fn read(words: &[String]) -> Result<Command, Early> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let parse = |words: &[&str]| {
        Lampone::from_args(&["lampone"], words).map_err(|early| match early.status {
            Ok(()) => Early { text: early.output, is_help: true },
            Err(()) => not_understood(&early.output, words),
        })
    };
    match parse(&words)? {
        Lampone { version: true, .. } => Ok(Command::Version(Version {})),
        Lampone { command: Some(command), .. } => match contradiction(&command) {
            Some(what) => Err(not_understood(what, &words)),
            None => Ok(command),
        },
        Lampone { command: None, .. } => match parse(&["--help"]) {
            Err(help) => Err(help),
            Ok(_) => Ok(Command::Version(Version {})),
        },
    }
}

/// What cannot be meant together though each word is right.
fn contradiction(command: &Command) -> Option<&'static str> {
    let Command::User(User { command: UserCommand::Add(add) }) = command else { return None };
    match (&add.name, &add.from) {
        (None, None) => Some("Whom? Give an address, or a file with --from"),
        (Some(_), Some(_)) => Some("Give either an address or --from, not both"),
        (None, Some(_)) if add.password_stdin => Some("--from brings the passwords itself; leave out --password-stdin"),
        _ => None,
    }
}

/// On one line, with a hint.
fn not_understood(what: &str, words: &[&str]) -> Early {
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    let is_named = |commands: &[&argh::CommandInfo], word: Option<&&str>| {
        word.is_some_and(|word| commands.iter().any(|command| command.name == *word))
    };
    let depth = match is_named(Command::COMMANDS, words.first()) {
        false => 0,
        true if words[0] == "user" && is_named(UserCommand::COMMANDS, words.get(1)) => 2,
        true => 1,
    };
    let command = [&["lampone"], &words[..depth]].concat().join(" ");
    Early { text: format!("{}; see `{command} --help`", what.trim_end_matches('.')), is_help: false }
}

#[cfg(test)]
#[path = "args/tests.rs"]
mod tests;
