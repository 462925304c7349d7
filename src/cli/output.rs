//! What a command prints. Invariant: a reader who has seen enough, as in `lampone user list | head`, is no mistake; a
//! disk that is full is one.

use std::{
    fmt::Display,
    io::{ErrorKind, Write, stdout},
};

/// Prints one text and ends its last line.
///
/// # Errors
/// One line: standard output does not take it.
pub fn say(text: impl Display) -> Result<(), String> {
    let text = text.to_string();
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let mut out = stdout().lock();
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("standard output: {error}")),
        _ => Ok(()),
    }
}
