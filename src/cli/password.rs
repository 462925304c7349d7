//! Passwords as people give them: typed twice unseen, or on standard input.
//!
//! Invariant: the terminal echoes again whatever happens. While a password is typed keys raise no signals, and a signal
//! from elsewhere ends the program only when the terminal is as it was, so that nobody is left at a silent one.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::adapters::ending;

/// Bytes of one password; RFC 8265 sets no limit, and people type less.
const BYTES_MAX: usize = 1024;

/// A password from the first line of standard input, or asked for twice.
///
/// # Errors
/// One line: there is none, or the two differ.
pub fn obtain(from_stdin: bool, whose: &str) -> Result<Zeroizing<String>, String> {
    let stdin = io::stdin();
    if from_stdin {
        return first_line(&mut stdin.lock());
    }
    if !stdin.is_terminal() {
        return Err("there is no terminal to ask for a password; give it with --password-stdin".into());
    }
    // Before the first question and until the second is answered: who types at once is neither shown nor cut short.
    let _quiet = Quiet::begin().map_err(|e| format!("the terminal: {e}"))?;
    let first = ask(&format!("Password for {whose}: "))?;
    if first.is_empty() {
        return Err("the password is empty".into());
    }
    match *first == *ask("The same again: ")? {
        true => Ok(first),
        false => Err("the two passwords differ".into()),
    }
}

fn first_line(input: &mut dyn BufRead) -> Result<Zeroizing<String>, String> {
    let mut line = Zeroizing::new(String::with_capacity(BYTES_MAX + 3));
    let told = |e: io::Error| match e.kind() {
        io::ErrorKind::InvalidData => "the password is not valid UTF-8".to_owned(),
        _ => format!("standard input: {e}"),
    };
    input.take(BYTES_MAX as u64 + 2).read_line(&mut line).map_err(told)?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    match length {
        0 => Err("the first line of standard input holds no password".into()),
        1..=BYTES_MAX => Ok(line),
        _ => Err(format!("a password has {BYTES_MAX} bytes at most")),
    }
}

/// A terminal that shows nothing, until this goes; then it is as it was. It holds how it was, until it is so again.
struct Quiet(Arc<Mutex<Option<Termios>>>);

impl Quiet {
    fn begin() -> io::Result<Quiet> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        let held = Quiet(Arc::new(Mutex::new(Some(before))));
        let before = held.0.clone();
        ending::before_end(move || give_back(&before))?;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(held)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        give_back(&self.0);
    }
}

fn give_back(before: &Mutex<Option<Termios>>) {
    let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(before) = before.take() {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

/// One question to a terminal that is quiet already.
fn ask(prompt: &str) -> Result<Zeroizing<String>, String> {
    eprint!("{prompt}");
    let _ = io::stderr().flush();
    let typed = typed(&mut io::stdin().lock());
    eprintln!();
    let typed = typed.map_err(|e| format!("the terminal: {e}"))?.ok_or("nothing was changed")?;
    std::str::from_utf8(&typed).map(|text| text.to_owned().into()).map_err(|_| "the password is not valid UTF-8".into())
}

/// What is typed up to the end of the line; `None` if the person left (Ctrl-C, Ctrl-D, end of input).
fn typed(input: &mut dyn Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut line = Zeroizing::new(Vec::with_capacity(BYTES_MAX));
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
            Ok(_) => {}
        }
        match byte[0] {
            b'\r' | b'\n' => return Ok(Some(line)),
            // Ctrl-C, Ctrl-D, Ctrl-\.
            0x03 | 0x04 | 0x1c => return Ok(None),
            // Ctrl-U.
            0x15 => line.clear(),
            // Backspace takes a whole character back.
            0x08 | 0x7f => while line.pop().is_some_and(|last| last & 0xc0 == 0x80) {},
            other if line.len() < BYTES_MAX => line.push(other),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_characters_are_taken_back() {
        let typed =
            |keys: &str| typed(&mut keys.as_bytes()).unwrap().map(|line| String::from_utf8(line.to_vec()).unwrap());
        assert_eq!(typed("passé\x7fe\n").as_deref(), Some("passe"));
        assert_eq!(typed("wrong\x15right\r").as_deref(), Some("right"));
        assert_eq!(typed("\x7f\n").as_deref(), Some(""));
        // Also when a line's end follows.
        for keys in ["abc\x03\n", "abc\x04\n", "abc\x1c\n", "abc"] {
            assert_eq!(typed(keys), None);
        }
    }

    #[test]
    fn the_first_line_is_the_password() {
        assert_eq!(first_line(&mut "a b \r\nrest".as_bytes()).unwrap().as_str(), "a b ");
        assert!(first_line(&mut "\nrest".as_bytes()).is_err());
        assert!(first_line(&mut "x".repeat(2_000).as_bytes()).is_err());
    }
}
