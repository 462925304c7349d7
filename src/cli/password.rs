//! Passwords from a person or from standard input. Never from the command line, where others could read them.
//!
//! Source: RFC 8265 §4.2 for what a password is; POSIX termios for the silence.
//! Invariant: whoever is asked gets the terminal back as it was, also after the key that interrupts.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};

use rustix::{
    process::{Signal, getpid, kill_process},
    termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr},
};
use zeroize::Zeroizing;

use crate::proto::scram::{self, PasswordError};

/// Longest line that is read, in bytes: what a terminal gives at once, and more than any password.
const LINE_BYTES_MAX: usize = 4096;

/// A terminal that shows nothing; it is restored when this goes, however that happens.
///
/// The keys that interrupt end the line instead of the process: nobody has to catch a signal to tidy up.
struct Silence {
    before: Termios,
    interrupts: Vec<u8>,
}

/// How a line ended.
enum Ended {
    /// As lines do.
    Whole(Zeroizing<String>),
    /// With a key that interrupts.
    Interrupted,
}

impl Silence {
    fn new() -> Option<Silence> {
        let before = tcgetattr(stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.local_modes.insert(LocalModes::ECHONL);
        let mut interrupts = Vec::new();
        let ends =
            [(SpecialCodeIndex::VINTR, SpecialCodeIndex::VEOL), (SpecialCodeIndex::VQUIT, SpecialCodeIndex::VEOL2)];
        for (key, end) in ends {
            // 0 is a key that is switched off.
            if before.special_codes[key] != 0 {
                silent.special_codes[end] = before.special_codes[key];
                interrupts.push(before.special_codes[key]);
            }
        }
        tcsetattr(stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Silence { before, interrupts })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }
}

/// Asks twice on a terminal, or reads the first line of standard input.
///
/// # Errors
/// One line: the two differ, it is no password, or there is nobody to ask.
pub fn read(account: &str, from_stdin: bool) -> Result<Zeroizing<String>, String> {
    if from_stdin {
        let line = line(&mut stdin().lock(), &[])?;
        let Ended::Whole(password) = line else { return Err("standard input: interrupted".into()) };
        return check(password);
    }
    if !stdin().is_terminal() {
        return Err("nobody to ask for the password; --password-stdin reads it from standard input".into());
    }
    let silence = Silence::new().ok_or("the terminal goes on showing what is typed; use --password-stdin")?;
    let first = check(prompt(&format!("Password for {account}: "), &silence)?)?;
    let second = prompt("Again: ", &silence)?;
    if *first == *second { Ok(first) } else { Err("the two passwords differ; nothing was changed".into()) }
}

/// Whether the server will take it, so that a mistake is told before the second question.
///
/// # Errors
/// One line: which rule it breaks.
pub fn check(password: Zeroizing<String>) -> Result<Zeroizing<String>, String> {
    match scram::prepare_password(&password) {
        Ok(_) => Ok(password),
        Err(PasswordError::Empty) => Err("the password is empty".into()),
        Err(PasswordError::TooLong) => Err("the password is too long".into()),
        Err(PasswordError::Forbidden) => Err("the password holds a character that cannot be typed again".into()),
    }
}

fn prompt(text: &str, silence: &Silence) -> Result<Zeroizing<String>, String> {
    let _ = write!(stderr(), "{text}").and_then(|()| stderr().flush());
    match line(&mut stdin().lock(), &silence.interrupts)? {
        Ended::Whole(line) => Ok(line),
        Ended::Interrupted => {
            let _ = writeln!(stderr());
            let _ = tcsetattr(stdin(), OptionalActions::Flush, &silence.before);
            // The shell has to see the signal, or its loop around us would go on.
            let _ = kill_process(getpid(), Signal::INT);
            Err("interrupted; nothing was changed".into())
        }
    }
}

/// One line without its end.
fn line(input: &mut impl BufRead, interrupts: &[u8]) -> Result<Ended, String> {
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    loop {
        let Some(&byte) = input.fill_buf().map_err(|e| format!("standard input: {e}"))?.first() else { break };
        input.consume(1);
        match byte {
            b'\n' => break,
            byte if interrupts.contains(&byte) => return Ok(Ended::Interrupted),
            _ if line.len() == LINE_BYTES_MAX => return Err("the password is too long".into()),
            byte => line.push(byte),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    let text = std::str::from_utf8(&line).map_err(|_| "the password is not UTF-8")?;
    Ok(Ended::Whole(Zeroizing::new(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8]) -> Result<String, String> {
        match line(&mut &input[..], &[3])? {
            Ended::Whole(text) => check(text).map(|text| text.to_string()),
            Ended::Interrupted => Err("interrupted".into()),
        }
    }

    #[test]
    fn the_first_line_is_the_password() {
        assert_eq!(whole(b"two words \nrest"), Ok("two words ".into()));
        assert_eq!(whole(b"dos\r\n"), Ok("dos".into()));
        assert_eq!(whole("ohne Ende ü".as_bytes()), Ok("ohne Ende ü".into()));
    }

    #[test]
    fn what_is_no_password_is_told_here() {
        assert_eq!(whole(b"").unwrap_err(), "the password is empty");
        assert_eq!(whole(b"\r\n").unwrap_err(), "the password is empty");
        assert!(whole(b"a\x1ab\n").unwrap_err().starts_with("the password holds a character"));
        assert_eq!(whole(b"\xff\n").unwrap_err(), "the password is not UTF-8");
        assert_eq!(whole(&[b'x'; LINE_BYTES_MAX + 1]).unwrap_err(), "the password is too long");
        assert_eq!(whole(b"abc\x03").unwrap_err(), "interrupted");
    }
}
