//! Passwords from a person or from standard input. Never from the command line, where others could read them.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Restores the terminal's echo when it goes, however that happens.
struct Silence(rustix::termios::Termios);

impl Silence {
    fn new() -> Option<Silence> {
        let before = tcgetattr(stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        silent.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Silence(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Asks twice on a terminal, or reads the first line of standard input.
///
/// # Errors
/// One line: the two differ, or there is nobody to ask.
pub fn read(account: &str, from_stdin: bool) -> Result<Zeroizing<String>, String> {
    if from_stdin {
        return line();
    }
    if !stdin().is_terminal() {
        return Err("nobody to ask for the password; --password-stdin reads it from standard input".into());
    }
    let _silence = Silence::new();
    let first = prompt(&format!("Password for {account}: "))?;
    let second = prompt("Again: ")?;
    if *first == *second { Ok(first) } else { Err("the two passwords differ; nothing was changed".into()) }
}

fn prompt(text: &str) -> Result<Zeroizing<String>, String> {
    eprint!("{text}");
    let _ = stderr().flush();
    line()
}

fn line() -> Result<Zeroizing<String>, String> {
    let mut line = Zeroizing::new(String::new());
    stdin().lock().read_line(&mut line).map_err(|e| format!("standard input: {e}"))?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    if line.is_empty() { Err("the password is empty".into()) } else { Ok(line) }
}
