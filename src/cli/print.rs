//! What a person reads: aligned columns, QR codes.
//!
//! Invariant: no control character that came over a stream or out of a file reaches the terminal.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use qrcodegen::{QrCode, QrCodeEcc};

use super::Mistakes;

/// Modules of white around a QR code, ISO/IEC 18004 §9.1.
const QUIET: i32 = 4;

/// Writes to standard output.
///
/// # Errors
/// Nobody reads there any more, or the disk behind it is full.
pub fn out(text: &str) -> Result<(), Mistakes> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        // `lampone user list | head`: nothing to complain about.
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Err(Vec::new()),
        Err(e) => Err(vec![format!("standard output: {e}")]),
    }
}

/// Writes to standard error what somebody who looks on may want to know.
pub fn err(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Text without what a terminal would obey.
pub fn shown(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        true => text.replace(char::is_control, "\u{fffd}").into(),
        false => text.into(),
    }
}

/// Labels and values in two columns; further values of one label stand below the first.
pub fn aligned<L: AsRef<str>>(rows: &[(L, Vec<String>)]) -> String {
    let width = rows.iter().map(|(label, _)| shown(label.as_ref()).chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for (label, values) in rows {
        let label = shown(label.as_ref());
        let none = ["-".to_owned()];
        let values = if values.is_empty() { &none[..] } else { values };
        for (index, value) in values.iter().enumerate() {
            let label = if index == 0 { label.as_ref() } else { "" };
            out.push_str(&format!("{label:width$}  {}\n", shown(value)));
        }
    }
    out
}

/// A QR code in half blocks, black on white whatever the terminal's colours; `None` if the text is too long for one.
pub fn qr_code(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let mut out = String::new();
    let edges = -QUIET..code.size() + QUIET;
    for y in edges.clone().step_by(2) {
        out.push_str("\x1b[30;107m");
        out.extend(edges.clone().map(|x| match (code.get_module(x, y), code.get_module(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        out.push_str("\x1b[0m\n");
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_one_column() {
        let rows = [
            ("Domains", vec!["a.example".to_owned(), "b.example".to_owned()]),
            ("Größe", vec!["1".to_owned()]),
            ("Nobody", Vec::new()),
        ];
        assert_eq!(aligned(&rows), "Domains  a.example\n         b.example\nGröße    1\nNobody   -\n");
    }

    #[test]
    fn terminals_are_told_nothing_by_strangers() {
        assert_eq!(aligned(&[("a", vec!["x\x1b[2J\ny".to_owned()])]), "a  x\u{fffd}[2J\u{fffd}y\n");
    }

    #[test]
    fn a_qr_code_is_a_square_with_a_margin() {
        let code = qr_code("xmpp:home.example?register;preauth=0123456789abcdef").unwrap();
        let lines: Vec<&str> = code.lines().collect();
        let width = lines[0].chars().count() - "\x1b[30;107m\x1b[0m".len();
        assert_eq!(lines.len(), width.div_ceil(2));
        assert!(lines[0].contains(&" ".repeat(width)));
        assert!(qr_code(&"x".repeat(5_000)).is_none());
    }
}
