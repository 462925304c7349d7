//! A file of accounts for `lampone user add --from`: on each line an address, white space, and a password.
//!
//! Invariant: either every line can be used, or nothing is sent and each mistake has its line.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::password;
use crate::wire::jid::Jid;

/// One account of a file.
#[derive(Debug)]
pub struct Line {
    /// Its number in the file, from 1.
    pub number: usize,
    /// The address, prepared.
    pub account: String,
    /// The password; it cannot begin or end with white space.
    pub password: Zeroizing<String>,
}

/// Reads a file, given as its name and text; empty lines and those that begin with `#` are skipped. A name without
/// domain is an account of `domain`.
///
/// # Errors
/// One line for each mistake: file, line, what was found and what would do. Passwords are not repeated.
pub fn read(name: &str, text: &str, domain: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    let mut faults = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (number, line) = (at + 1, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match read_line(number, line, domain) {
            Ok(line) => match seen.insert(line.account.clone(), number) {
                None => lines.push(line),
                Some(first) => {
                    faults.push(format!("{name}:{number}: {} stands in line {first} already", line.account));
                }
            },
            Err(why) => faults.push(format!("{name}:{number}: {why}")),
        }
    }
    if faults.is_empty() { Ok(lines) } else { Err(faults.join("\n")) }
}

fn read_line(number: usize, line: &str, domain: &str) -> Result<Line, String> {
    // A line that has no blank may be a password alone, so it is not shown.
    let (account, password) =
        line.split_once([' ', '\t']).ok_or("no password; \"anna@home.example secret\" would do")?;
    let password = password::check(Zeroizing::new(password.trim().to_owned()))?;
    Ok(Line { number, account: address(account, domain)?, password })
}

/// The prepared address of an account given by name or address; a name alone is one of `domain`.
///
/// # Errors
/// One line: what was found and what would do.
pub fn address(account: &str, domain: &str) -> Result<String, String> {
    let would_do = format!("\"anna\" or \"anna@{domain}\" would do");
    let jid = match account.contains(['@', '/']) {
        true => Jid::parse(account),
        false => Jid::from_parts(Some(account), domain, None),
    };
    match jid {
        Ok(jid) if jid.local().is_some() && jid.is_bare() => Ok(jid.as_str().to_owned()),
        _ => Err(format!("{account:?} is no address of an account; {would_do}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_read_with_their_passwords() {
        let text = "\u{feff}# family\n\nAnna@Home.example  secret word\nben\tx\r\n";
        let lines = read("f", text, "home.example").unwrap();
        let seen: Vec<_> =
            lines.iter().map(|line| (line.number, line.account.as_str(), line.password.as_str())).collect();
        assert_eq!(seen, [(3, "anna@home.example", "secret word"), (4, "ben@home.example", "x")]);
    }

    #[test]
    fn every_mistake_of_a_file_has_its_line_and_shows_no_password() {
        let text = "anna\nben x\ncleo@home.example/phone s3cret\n@@ s3cret\nBEN y\nben@club.example z\ndora a\x01b\n";
        let faults = read("f", text, "home.example").unwrap_err();
        assert!(!faults.contains("s3cret"));
        let starts = [
            "f:1: no password; \"anna@home.example secret\" would do",
            "f:3: \"cleo@home.example/phone\" is no address of an account; \"anna\" or \"anna@home.example\" would do",
            "f:4: \"@@\" is no address",
            "f:5: ben@home.example stands in line 2 already",
            "f:7: the password holds a character",
        ];
        assert_eq!(faults.lines().count(), starts.len(), "{faults}");
        for (fault, start) in faults.lines().zip(starts) {
            assert!(fault.starts_with(start), "{fault}");
        }
    }
}
