//! The README's table of standards is made here, from the services' cards and from [`ELSEWHERE`].
//!
//! After a change: `LAMPONE_SNAPSHOTS=write cargo test --test readme` puts the table into the README.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use lampone::services;

/// What is implemented outside services: the file or folder in `src/`, and its sources as a card would name them. Add
/// a line here when something below or above the services learns a standard.
const ELSEWHERE: &[(&str, &str)] = &[
    ("wire/framer.rs", "RFC 6120 §4 and §11"),
    ("wire/jid.rs", "RFC 7622"),
    ("wire/error.rs", "RFC 6120 §4.9 and §8.3"),
    ("wire/form.rs", "XEP-0004 v2.13.1, XEP-0068 v1.3.0"),
    ("wire/time.rs", "XEP-0082 v1.1"),
    ("proto/stream.rs", "RFC 6120 §4.3, XEP-0478 v0.2.0"),
    ("proto/sasl.rs", "RFC 6120 §6, RFC 4422, RFC 4616, RFC 5929 §4, RFC 9266, XEP-0440 v1.0.0, XEP-0474 v0.5.0"),
    ("proto/sasl2.rs", "XEP-0388 v1.0.4"),
    ("server/upgrade.rs", "XEP-0480 v0.2.0"),
    ("proto/fast.rs", "XEP-0484 v0.2.0"),
    ("proto/scram.rs", "RFC 5802, RFC 7677, RFC 8265 §4.2"),
    ("proto/scram/written.rs", "RFC 5803"),
    ("proto/bosh/mod.rs", "XEP-0124 v1.11.2, XEP-0206 v1.4"),
    ("proto/dialback.rs", "XEP-0220 v1.1.1, XEP-0185 v1.0"),
    ("proto/component.rs", "XEP-0114 v1.6"),
    ("proto/websocket.rs", "RFC 7395, RFC 6455"),
    ("proto/sm.rs", "XEP-0198 v1.6.3"),
    ("router/route.rs", "RFC 6120 §10, RFC 6121 §8"),
    ("router/backlog.rs", "XEP-0160 v1.0.1, XEP-0203 v2.0"),
    ("router/delegation.rs", "XEP-0355 v0.5"),
    ("router/privilege.rs", "XEP-0356 v0.4.1"),
    ("router/lifecycle.rs", "RFC 5122 §2.7"),
    ("server/negotiate.rs", "RFC 6120 §5"),
    ("server/peers/accepted.rs", "XEP-0178 v1.2 §3"),
    ("server/peers/both_ways.rs", "XEP-0288 v1.0.1"),
    ("server/peers/dialed.rs", "XEP-0305 v0.3"),
    ("server/peers/resume.rs", "XEP-0198 v1.6.3 §5"),
    ("server/bind.rs", "RFC 6120 §7"),
    ("server/instant.rs", "XEP-0386 v1.1.0, XEP-0198 v1.6.3 §9"),
    ("adapters/tls.rs", "RFC 7590, XEP-0368 v1.1.0"),
];

/// Names of standards, one a line, behind their numbers; also of those that are not implemented yet.
const TITLES: &str = include_str!("titles.txt");

/// What surrounds the table in the README.
const BEGIN: &str = "<!-- standards: LAMPONE_SNAPSHOTS=write cargo test --test readme -->\n";
const END: &str = "<!-- end of standards -->\n";

/// One standard.
#[derive(Default)]
struct Row {
    versions: BTreeSet<String>,
    /// Who implements it, and which sections.
    places: Vec<String>,
}

/// The parts of a card's `source`: the standard, its version, sections if some are named.
fn parts(source: &str) -> Vec<(String, Option<String>, Option<String>)> {
    let mut parts: Vec<String> = Vec::new();
    for piece in source.split(", ") {
        match parts.last_mut() {
            Some(last) if piece.starts_with('§') => last.extend([", ", piece]),
            _ => parts.push(piece.to_owned()),
        }
    }
    let read = |part: &String| {
        let (standard, rest) = match part.strip_prefix("RFC ") {
            Some(rest) => {
                let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                (format!("RFC {number}"), rest.to_owned())
            }
            None => part.split_once(' ').map(|(xep, rest)| (xep.to_owned(), rest.to_owned())).unwrap_or_default(),
        };
        let (version, sections) = match rest.strip_prefix('v') {
            Some(rest) => match rest.split_once(' ') {
                Some((version, sections)) => (Some(version.to_owned()), sections.to_owned()),
                None => (Some(rest.to_owned()), String::new()),
            },
            None => (None, rest),
        };
        let is_number = |number: &str| number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        let is_read = match (standard.strip_prefix("XEP-"), standard.strip_prefix("RFC ")) {
            (Some(number), _) => is_number(number) && version.is_some(),
            (_, Some(number)) => is_number(number),
            _ => false,
        };
        assert!(
            is_read && (sections.is_empty() || sections.starts_with('§')),
            "{part:?} in {source:?}: write \"XEP-0077 v2.4\" or \"RFC 6121 §4\", with \", \" between them"
        );
        (standard, version, Some(sections).filter(|sections| !sections.is_empty()))
    };
    parts.iter().map(read).collect()
}

/// The table in Markdown.
fn table() -> String {
    let services = services::all();
    let cards = services.iter().map(|service| (format!("`{}`", service.card().name), service.card().source));
    let elsewhere = ELSEWHERE.iter().map(|(place, source)| (format!("`{}`", place.trim_end_matches(".rs")), *source));
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for (place, source) in cards.chain(elsewhere) {
        for (standard, version, sections) in parts(source) {
            let row = rows.entry(standard).or_default();
            row.versions.extend(version);
            row.places.push(match sections {
                Some(sections) => format!("{place} ({sections})"),
                None => place.clone(),
            });
        }
    }
    let mut out = String::from("| standard | version | what it is | where |\n|---|---|---|---|\n");
    for (standard, row) in rows {
        let title = TITLES.lines().find_map(|line| line.strip_prefix(&format!("{standard} ")));
        let title = title.unwrap_or_else(|| panic!("add the title of {standard} to tests/readme/titles.txt"));
        assert!(row.versions.len() <= 1, "{standard} is named with several versions: {:?}", row.versions);
        let version = row.versions.first().map_or("", String::as_str);
        let link = match standard.strip_prefix("RFC ") {
            Some(number) => format!("https://www.rfc-editor.org/rfc/rfc{number}"),
            None => format!("https://xmpp.org/extensions/{}.html", standard.to_lowercase()),
        };
        out += &format!("| [{standard}]({link}) | {version} | {title} | {} |\n", row.places.join(", "));
    }
    out
}

#[test]
fn the_table_of_standards_is_that_of_the_cards() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("the README has the mark where the table begins");
    let (is, after) = rest.split_once(END).expect("the README has the mark where the table ends");
    let table = table();
    let should = format!("\n{table}\n");
    if std::env::var_os("LAMPONE_SNAPSHOTS").is_some() {
        return fs::write(path, [before, BEGIN, &should, END, after].concat()).unwrap();
    }
    assert!(is == should, "`LAMPONE_SNAPSHOTS=write cargo test --test readme` makes the README's table:\n{table}");
}

#[test]
fn what_stands_elsewhere_names_its_source() {
    for (place, source) in ELSEWHERE {
        let path = format!("{}/src/{place}", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        for (standard, ..) in parts(source) {
            assert!(text.contains(&standard), "{place} does not name {standard}");
        }
    }
}
