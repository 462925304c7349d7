//! Floor 8: the front door.
//!
//! | file | what it holds |
//! |---|---|
//! | `args.rs` | what can be typed |
//! | `settings.rs` | from command line and files to settings |
//! | `serve.rs`, `check.rs`, `doctor.rs` | the server itself; its settings looked at; what others find |
//! | `bench.rs` | load on a server, and what came of it |
//! | `client.rs` | the stream to a running server |
//! | `users.rs`, `house.rs` | commands that a running server carries out |
//! | `password.rs`, `print.rs` | what a person types and reads |
//!
//! Exit codes: 0 it is done, 1 it is not and standard error says why, 2 the command line was not understood.

mod args;
mod bench;
mod check;
mod client;
mod doctor;
mod house;
mod password;
mod print;
pub mod serve;
mod settings;
mod users;

use std::{ffi::OsString, process::ExitCode};

use args::{Command, UserCommand};

/// Lines for standard error; none if everything was told already.
type Mistakes = Vec<String>;

/// Does what the command line (without the program's name) asks for.
pub fn run(words: impl Iterator<Item = OsString>) -> ExitCode {
    let Ok(words) = words.map(OsString::into_string).collect::<Result<Vec<_>, _>>() else {
        eprintln!("lampone: the command line is not valid UTF-8; see `lampone --help`");
        return ExitCode::from(2);
    };
    let command = match args::read(&words) {
        Ok(command) => command,
        Err(early) if early.is_help => return ended(print::out(&early.text)),
        Err(early) => {
            eprintln!("lampone: {}", print::shown(&early.text));
            return ExitCode::from(2);
        }
    };
    ended(carry_out(command))
}

fn ended(outcome: Result<(), Mistakes>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(lines) => {
            for line in lines {
                eprintln!("lampone: {}", print::shown(&line));
            }
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> Result<(), Mistakes> {
    match command {
        Command::Serve(c) => serve::serve(c.sources()),
        Command::Check(c) if c.keys => print::out(&crate::config::listing()),
        Command::Check(c) => check::check(&c.sources()),
        Command::Doctor(c) => doctor::doctor(&c.sources(), c.other.as_deref()),
        Command::User(user) => match user.command {
            UserCommand::Add(c) => users::add(&c),
            UserCommand::Passwd(c) => users::change_password(&c),
            UserCommand::ResetLink(c) => users::reset_link(&c),
            UserCommand::Remove(c) => users::remove(&c),
            UserCommand::Disable(c) => users::set_disabled(&c.sources(), &c.name, true),
            UserCommand::Enable(c) => users::set_disabled(&c.sources(), &c.name, false),
            UserCommand::List(c) => users::list(&c.sources()),
            UserCommand::Show(c) => users::show(&c),
            UserCommand::Devices(c) => users::devices(&c),
            UserCommand::Revoke(c) => users::revoke(&c),
            UserCommand::EmptyArchive(c) => users::empty_archive(&c),
        },
        Command::Bench(c) => bench::bench(&c),
        Command::Status(c) => house::status(&c),
        Command::Backup(c) => house::backup(&c),
        Command::Invite(c) => house::invite(&c),
        Command::Announce(c) => house::announce(&c),
        Command::Plan(_) => print::out(&crate::server::Server::plan()),
        Command::Version(_) => print::out(concat!("lampone ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}
