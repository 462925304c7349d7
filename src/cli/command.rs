//! The commands and their options, as `--help` shows them. Invariant: what a command does stands in `perform.rs`.

use argh::FromArgs;

/// Lampone, a chat server for the home (XMPP).
#[derive(FromArgs)]
#[argh(
    example = "Start a server, and make an account on it from another terminal:\n\
               $ {command_name} serve --domain home.example\n\
               $ {command_name} user add anna",
    note = "`{command_name} COMMAND --help` explains a command. Settings are read from lampone.toml;\n\
            `{command_name} check --keys` lists them all. The commands user, invite, status and\n\
            backup speak to the running server through the socket in its data directory.",
    error_code(1, "It could not be done; each reason is a line."),
    error_code(2, "The command line could not be understood.")
)]
pub struct Lampone {
    /// print the version
    #[argh(switch)]
    pub version: bool,
    #[argh(subcommand)]
    pub command: Option<Command>,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum Command {
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
pub struct Serve {
    /// file of settings; else lampone.toml in the data directory, else /etc/lampone.toml
    #[argh(option, arg_name = "FILE")]
    pub config: Option<String>,
    /// domain to serve, or several with commas; else the file's, else the host's name
    #[argh(option, arg_name = "DOMAIN")]
    pub domain: Option<String>,
    /// data directory; else the file's, else $STATE_DIRECTORY, else ./lampone-data
    #[argh(option, arg_name = "DIR")]
    pub data: Option<String>,
    /// a setting as key=value, over the file; may be repeated; `lampone check --keys` lists the keys
    #[argh(option, arg_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// read settings and certificates, say what is wrong, start nothing
#[derive(FromArgs)]
#[argh(subcommand, name = "check")]
pub struct Check {
    /// list every setting with its default and meaning, and read nothing
    #[argh(switch)]
    pub keys: bool,
    /// file of settings; else lampone.toml in the data directory, else /etc/lampone.toml
    #[argh(option, arg_name = "FILE")]
    pub config: Option<String>,
    /// domain to serve, or several with commas; else the file's, else the host's name
    #[argh(option, arg_name = "DOMAIN")]
    pub domain: Option<String>,
    /// data directory; else the file's, else $STATE_DIRECTORY, else ./lampone-data
    #[argh(option, arg_name = "DIR")]
    pub data: Option<String>,
    /// a setting as key=value, over the file; may be repeated; `lampone check --keys` lists the keys
    #[argh(option, arg_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// add, change, remove, list and show accounts
#[derive(FromArgs)]
#[argh(subcommand, name = "user")]
pub struct User {
    #[argh(subcommand)]
    pub command: UserCommand,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum UserCommand {
    Add(Add),
    Passwd(Passwd),
    Remove(Remove),
    List(List),
    Show(Show),
}

/// make an account, or many from a file
#[derive(FromArgs)]
#[argh(subcommand, name = "add")]
pub struct Add {
    /// address, or the name alone for the server's first domain
    #[argh(positional)]
    pub account: Option<String>,
    /// read the password from standard input instead of asking
    #[argh(switch)]
    pub password_stdin: bool,
    /// make the accounts of a file: on each line an address or name, white space, a password; # begins a comment
    #[argh(option, arg_name = "FILE")]
    pub from: Option<String>,
    /// data directory of the running server, if it is not the default
    #[argh(option, arg_name = "DIR")]
    pub data: Option<String>,
    /// file of settings of the running server, if it is not the default
    #[argh(option, arg_name = "FILE")]
    pub config: Option<String>,
}

/// give an account a new password; ends its sessions
#[derive(FromArgs)]
#[argh(subcommand, name = "passwd")]
pub struct Passwd {
    /// address, or the name alone for the server's first domain
    #[argh(positional)]
    pub account: String,
    /// read the password from standard input instead of asking
    #[argh(switch)]
    pub password_stdin: bool,
    /// data directory of the running server, if it is not the default
    #[argh(option, arg_name = "DIR")]
    pub data: Option<String>,
    /// file of settings of the running server, if it is not the default
    #[argh(option, arg_name = "FILE")]
    pub config: Option<String>,
}

/// remove an account and all its data
#[derive(FromArgs)]
#[argh(subcommand, name = "remove")]
pub struct Remove {
    /// address, or the name alone for the server's first domain
    #[argh(positional)]
    pub account: String,
    /// data directory of the running server, if it is not the default
    #[argh(option, arg_name = "DIR")]
    pub data: Option<String>,
    /// file of settings of the running server, if it is not the default
    #[argh(option, arg_name = "FILE")]
    pub config: Option<String>,
}

/// list accounts
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
pub struct List {
    /// one of the server's domains; else its first
    #[argh(option, arg_name = "DOMAIN")]
    pub domain: Option<String>,
    /// data directory of the running server, if it is not the default
    #[argh(option, arg_name = "DIR")]
    pub data: Option<String>,
    /// file of settings of the running server, if it is not the default
    #[argh(option, arg_name = "FILE")]
    pub config: Option<String>,
}

/// show one account: contacts, sessions
#[derive(FromArgs)]
#[argh(subcommand, name = "show")]
pub struct Show {
    /// address, or the name alone for the server's first domain
    #[argh(positional)]
    pub account: String,
    /// data directory of the running server, if it is not the default
    #[argh(option, arg_name = "DIR")]
    pub data: Option<String>,
    /// file of settings of the running server, if it is not the default
    #[argh(option, arg_name = "FILE")]
    pub config: Option<String>,
}

/// make an invitation link for a new user
#[derive(FromArgs)]
#[argh(subcommand, name = "invite")]
pub struct Invite {
    /// the new user becomes an administrator
    #[argh(switch)]
    pub admin: bool,
    /// one of the server's domains; else its first
    #[argh(option, arg_name = "DOMAIN")]
    pub domain: Option<String>,
    /// data directory of the running server, if it is not the default
    #[argh(option, arg_name = "DIR")]
    pub data: Option<String>,
    /// file of settings of the running server, if it is not the default
    #[argh(option, arg_name = "FILE")]
    pub config: Option<String>,
}

/// show what the server is doing
#[derive(FromArgs)]
#[argh(subcommand, name = "status")]
pub struct Status {
    /// data directory of the running server, if it is not the default
    #[argh(option, arg_name = "DIR")]
    pub data: Option<String>,
    /// file of settings of the running server, if it is not the default
    #[argh(option, arg_name = "FILE")]
    pub config: Option<String>,
}

/// write a consistent copy of all data to a file while the server runs
#[derive(FromArgs)]
#[argh(subcommand, name = "backup")]
pub struct Backup {
    /// the file to write; it must not exist, and the server must be allowed to make it
    #[argh(positional)]
    pub file: String,
    /// data directory of the running server, if it is not the default
    #[argh(option, arg_name = "DIR")]
    pub data: Option<String>,
    /// file of settings of the running server, if it is not the default
    #[argh(option, arg_name = "FILE")]
    pub config: Option<String>,
}

/// print which service looks at which stanza in which phase
#[derive(FromArgs)]
#[argh(subcommand, name = "plan")]
pub struct Plan {}

/// print the version
#[derive(FromArgs)]
#[argh(subcommand, name = "version")]
pub struct Version {}
