//! Reads settings: the file over what is there, the command line over both.
//!
//! Invariant: either every setting is right, or none is taken and each mistake has its line.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::PathBuf,
};

use toml::de::{DeTable, DeValue};

use super::{
    Certificate, Config, checks,
    keys::{self, KEYS, Key},
    nearest::nearest,
    values::{self, Given, Wrong, shown},
};

/// Settings while they are read.
pub(super) struct Draft {
    /// All but the certificates.
    pub(super) config: Config,
    /// The certificate for all domains.
    pub(super) tls: Half,
    /// The certificates of single domains.
    pub(super) certificates: BTreeMap<String, Half>,
}

/// A certificate of which one half may be missing yet.
#[derive(Default)]
pub(super) struct Half {
    /// PEM chain.
    pub(super) certificate: Option<PathBuf>,
    /// PEM private key.
    pub(super) key: Option<PathBuf>,
}

impl From<Certificate> for Half {
    fn from(whole: Certificate) -> Half {
        Half { certificate: Some(whole.certificate), key: Some(whole.key) }
    }
}

/// What has been read, and what was wrong with it.
pub(super) struct Reading {
    /// The settings so far.
    pub(super) draft: Draft,
    /// Where each key was given last, as an error begins.
    places: BTreeMap<String, String>,
    /// Keys whose value was refused: no check builds on them, or one mistake would be told twice.
    failed: BTreeSet<String>,
    /// One line each.
    errors: Vec<String>,
}

/// Where the text comes from.
#[derive(Clone, Copy)]
struct Origin<'t> {
    /// The file's name; `None`: the command line.
    file: Option<&'t str>,
    /// Which option of the command line.
    option: &'t str,
    /// What spans point into.
    source: &'t str,
    /// Whether the value is a text without quotes.
    bare: bool,
}

impl Origin<'_> {
    /// `lampone.toml:7` or `--set`.
    fn place(&self, at: usize) -> String {
        match self.file {
            Some(name) => {
                let before = self.source.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
                format!("{name}:{}:", before + 1)
            }
            None => self.option.to_owned(),
        }
    }
}

impl Config {
    /// Reads a file, given as its name and text, over `base`, and then settings of the form `key=value` over that.
    ///
    /// The value of a setting is TOML, or else a text without quotes, in which commas part the items of a list. A
    /// setting that begins with `--`, such as `--data=5222`, is an option of that name: its value is always a text.
    ///
    /// # Errors
    /// One line for each mistake, in the order of the text: file and line, `--set` or the option, key, what was found
    /// and what would do.
    pub fn read(file: Option<(&str, &str)>, sets: &[String], base: Config) -> Result<Config, Vec<String>> {
        let mut reading = Reading::new(base);
        if let Some((name, text)) = file {
            reading.file(name, text);
        }
        for set in sets {
            reading.set(set);
        }
        checks::run(&mut reading);
        if reading.errors.is_empty() { Ok(reading.draft.finished()) } else { Err(reading.errors) }
    }
}

impl Draft {
    /// The settings; halves that are not whole are gone, but the checks have refused those.
    fn finished(self) -> Config {
        let whole = |half: Half| Some(Certificate { certificate: half.certificate?, key: half.key? });
        let certificates = self.certificates.into_iter().filter_map(|(domain, half)| Some((domain, whole(half)?)));
        Config { tls: whole(self.tls), certificates: certificates.collect(), ..self.config }
    }
}

impl Reading {
    fn new(mut base: Config) -> Reading {
        let tls = base.tls.take().map(Half::from).unwrap_or_default();
        let certificates = std::mem::take(&mut base.certificates);
        let certificates = certificates.into_iter().map(|(domain, whole)| (domain, whole.into())).collect();
        Reading {
            draft: Draft { config: base, tls, certificates },
            places: BTreeMap::new(),
            failed: BTreeSet::new(),
            errors: Vec::new(),
        }
    }

    /// Whether no value of these keys was refused.
    pub(super) fn sound(&self, keys: &[&str]) -> bool {
        !keys.iter().any(|key| self.failed.contains(*key))
    }

    /// Whether a key was given.
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Records what is wrong with a key that was read.
    pub(super) fn refuse(&mut self, key: &str, what: &str) {
        let place = self.places.get(key).map(|place| format!("{place} ")).unwrap_or_default();
        self.errors.push(format!("{place}{key}: {what}"));
    }

    fn file(&mut self, name: &str, text: &str) {
        let origin = Origin { file: Some(name), option: "", source: text, bare: false };
        let (table, broken) = DeTable::parse_recoverable(text);
        let mut found: Vec<(usize, String)> = Vec::new();
        if broken.is_empty() {
            self.table(origin, &mut Vec::new(), table.get_ref(), &mut found);
        }
        // What was made of broken text says little: only where it breaks is told.
        for error in broken {
            let span = error.span().unwrap_or_default();
            let line = shown(text, line_around(text, span.start));
            let what = error.message().replace('\n', ", ");
            found.push((span.start, format!("{} no TOML: {what}; found {}", origin.place(span.start), line.trim())));
        }
        found.sort();
        self.errors.extend(found.into_iter().map(|(_, line)| line));
    }

    fn set(&mut self, set: &str) {
        let Some((name, text)) = set.split_once('=') else {
            self.errors.push(format!("--set: found {}; give key=value", shown(set, 0..set.len())));
            return;
        };
        let text = text.trim();
        let (option, name) = match name.strip_prefix("--") {
            Some(key) => (name, key),
            None => ("--set", name),
        };
        let parsed = if option == "--set" { DeValue::parse(text).ok() } else { None };
        let (value, bare) = match parsed.map(|value| value.into_inner()) {
            // No key takes the other kinds: `log=inf` and `data=2026-01-01` are texts.
            Some(value @ (DeValue::String(_) | DeValue::Integer(_) | DeValue::Array(_) | DeValue::Table(_))) => {
                (value, false)
            }
            _ => (DeValue::String(text.into()), true),
        };
        let origin = Origin { file: None, option, source: text, bare };
        let mut path = set_path(name.trim());
        let mut found = Vec::new();
        self.entry(origin, &mut path, 0, (&value, 0..text.len()), &mut found);
        self.errors.extend(found.into_iter().map(|(_, line)| line));
    }

    fn table<'t>(
        &mut self,
        origin: Origin<'t>,
        path: &mut Vec<&'t str>,
        table: &'t DeTable<'t>,
        found: &mut Vec<(usize, String)>,
    ) {
        for (key, value) in table {
            path.push(key.get_ref());
            self.entry(origin, path, key.span().start, (value.get_ref(), value.span()), found);
            path.pop();
        }
    }

    /// One key and its value, which may be a section with keys of its own.
    fn entry<'t>(
        &mut self,
        origin: Origin<'t>,
        path: &mut Vec<&'t str>,
        at: usize,
        (value, span): (&'t DeValue<'t>, Range<usize>),
        found: &mut Vec<(usize, String)>,
    ) {
        if let Some(key) = KEYS.iter().find(|key| key.is_at(path)) {
            return self.value(origin, path, key, at, (value, span), found);
        }
        let name = written(path);
        if KEYS.iter().any(|key| key.is_below(path)) {
            let DeValue::Table(table) = value else {
                let inside: Vec<_> = KEYS.iter().filter(|key| key.is_below(path)).map(shown_name).collect();
                let what = shown(origin.source, span);
                let line = format!("{} {name}: found {what}; give its keys {}", origin.place(at), inside.join(", "));
                return found.push((at, line));
            };
            return self.table(origin, path, table, found);
        }
        let near = nearest(path, matches!(value, DeValue::Table(_)));
        let domain = path.get(1).filter(|_| path.len() > 2 && keys::has_domains(path[0]));
        let near_written = near.replace('*', &domain.map_or("\"example.org\"".into(), |domain| quoted(domain)));
        found.push((at, format!("{} {name}: unknown key; the nearest is {near_written}", origin.place(at))));
        self.failed.insert(near_written);
    }

    fn value<'t>(
        &mut self,
        origin: Origin<'t>,
        path: &[&'t str],
        key: &'static Key,
        at: usize,
        (value, span): (&'t DeValue<'t>, Range<usize>),
        found: &mut Vec<(usize, String)>,
    ) {
        let mut name = written(path);
        let mut domain = String::new();
        if let (true, Some(part)) = (key.name.contains('*'), path.get(1)) {
            match values::domain(part) {
                Ok(prepared) => domain = prepared,
                Err(why) => {
                    let ours = if path[0] == "certificates" { " that is served" } else { "" };
                    let line =
                        format!("{} {name}: found {} ({why}); give a domain{ours}", origin.place(at), quoted(part));
                    return found.push((at, line));
                }
            }
            // However it was spelt: the places and the checks know a domain by its prepared form.
            name = key.written(&quoted(&domain));
        }
        self.places.insert(name.clone(), origin.place(at));
        let given = Given { key, domain: &domain, value, span, source: origin.source, bare: origin.bare };
        let Err(wrong) = (key.set)(&mut self.draft, &given) else {
            // A later value that is right does not mend an earlier wrong one, but checks may build on it.
            self.failed.remove(&name);
            return;
        };
        for Wrong { at, found: what, why } in wrong {
            let why = if why.is_empty() { why } else { format!(" ({why})") };
            found.push((at, format!("{} {name}: found {what}{why}; give {}", origin.place(at), key.takes)));
        }
        self.failed.insert(name);
    }
}

fn shown_name(key: &Key) -> String {
    key.sample()
}

fn line_around(text: &str, at: usize) -> Range<usize> {
    let bytes = text.as_bytes();
    let at = at.min(bytes.len());
    let start = bytes[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |position| position + 1);
    let end = bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |position| at + position);
    start..end
}

/// The path of a key on the command line. A domain in it needs no quotes though it has dots: it is all that stands
/// between the first and the last.
fn set_path(name: &str) -> Vec<&str> {
    if let Some((section, rest)) = name.split_once('.').filter(|(section, _)| keys::has_domains(section)) {
        return match rest.rsplit_once('.').filter(|(_, last)| !last.ends_with(['"', '\''])) {
            Some((domain, last)) => vec![section, domain.trim_matches(['"', '\'']), last],
            None => vec![section, rest.trim_matches(['"', '\''])],
        };
    }
    name.split('.').collect()
}

/// A part of a name in quotes.
pub(super) fn quoted(part: &str) -> String {
    format!("{part:?}")
}

/// A path as it is written in a file: parts that are no bare keys (TOML, Keys) stand in quotes.
fn written(path: &[&str]) -> String {
    let is_bare = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    let parts: Vec<String> = path
        .iter()
        .map(|part| if is_bare(part) { (*part).to_owned() } else { shown(&quoted(part), 0..quoted(part).len()) })
        .collect();
    parts.join(".")
}
