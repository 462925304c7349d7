//! The known key nearest to an unknown one.
//!
//! Source: Levenshtein's distance, by rows.

use super::keys::{KEYS, has_domains};

/// Characters of a name that are compared; more are no slip.
const COMPARED_CHARS_MAX: usize = 64;

/// Characters from which on the beginning of a name is a shortened name.
const SHORTENED_MIN: usize = 3;

/// Changes of one character that lead from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(COMPARED_CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().take(COMPARED_CHARS_MAX).enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// What stands before the last part, with its dot.
fn section(name: &str) -> &str {
    &name[..name.len() - last(name).len()]
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// The nearest name in the table, with `*` for a domain. A table may be a misspelt section, so those count for it.
///
/// A right name in the wrong section is near, a slip inside the right section nearer: `stanza_bytes` is
/// `limits.stanza_bytes`, but `admin` is rather `admins` than `listen.admin`.
pub(super) fn nearest(path: &[&str], is_table: bool) -> &'static str {
    let unknown = match path {
        [section, _, rest @ ..] if has_domains(section) => [&[*section, "*"], rest].concat().join("."),
        path => path.join("."),
    };
    let names = KEYS.iter().map(|key| key.name);
    let sections = names.clone().filter_map(|name| name.split_once('.').map(|(section, _)| section));
    let steps = |name: &str| {
        let (own, other) = (last(&unknown), last(name));
        let is_home = section(&unknown) == section(name);
        // A shortened name (`cert`) is as near as one slip.
        let slips = if own.len() >= SHORTENED_MIN && other.starts_with(own) { 1 } else { distance(own, other) };
        match slips {
            _ if is_home => 2 * slips,
            0..=1 => 2 * slips + 3,
            _ => 2 * distance(&unknown, name) + 3,
        }
    };
    names.chain(sections.filter(|_| is_table)).min_by_key(|name| steps(name)).unwrap_or_default()
}
