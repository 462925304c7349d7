//! Reading settings from a TOML file and from the command line.
//!
//! Invariant: every mistake is one line that names the place, the key, what was found and what would do; all of them are
//! found in one go.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use toml::de::{DeTable, DeValue};

use super::{
    Certificate, Config, Registration,
    keys::{KEYS, Key},
};
use crate::wire::jid::{self, Jid};

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string, or a bare word on the command line.
    Text(String),
    /// An integer.
    Number(i64),
    /// A list.
    List(Vec<Value>),
    /// Something that no setting takes.
    Other(&'static str),
}

impl Value {
    fn describe(&self) -> String {
        match self {
            Value::Text(text) => format!("\"{text}\""),
            Value::Number(number) => number.to_string(),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Other(what) => (*what).to_owned(),
        }
    }

    /// The text, or why not.
    pub fn text(&self) -> Result<String, String> {
        match self {
            Value::Text(text) => Ok(text.clone()),
            _ => Err("a string".into()),
        }
    }

    /// A list of texts; one text alone is a list of one, and commas part a bare one.
    pub fn texts(&self) -> Result<Vec<String>, String> {
        match self {
            Value::List(items) => items.iter().map(Value::text).collect(),
            Value::Text(text) => {
                Ok(text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect())
            }
            _ => Err("a string or a list of strings".into()),
        }
    }

    /// A count between bounds.
    pub fn count(&self, least: u64, most: u64) -> Result<u64, String> {
        let number = match self {
            Value::Number(number) => u64::try_from(*number).ok(),
            Value::Text(text) => text.parse().ok(),
            _ => None,
        };
        number.filter(|n| (least..=most).contains(n)).ok_or_else(|| format!("a number from {least} to {most}"))
    }

    /// Bytes: a number, or one with `KiB` or `MiB`.
    pub fn bytes(&self, least: u64, most: u64) -> Result<u64, String> {
        self.scaled(&[("KiB", 1024), ("MiB", 1024 * 1024)], least, most, "256 KiB")
    }

    /// Seconds: a number, or one with `s`, `m`, `h` or `d`.
    pub fn seconds(&self, least: u64, most: u64) -> Result<u64, String> {
        self.scaled(&[("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)], least, most, "1h")
    }

    fn scaled(&self, units: &[(&str, u64)], least: u64, most: u64, example: &str) -> Result<u64, String> {
        let number = match self {
            Value::Number(number) => u64::try_from(*number).ok(),
            Value::Text(text) => {
                let unit = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?.trim(), *scale)));
                let (digits, scale) = unit.unwrap_or((text, 1));
                digits.parse::<u64>().ok().and_then(|n| n.checked_mul(scale))
            }
            _ => None,
        };
        let fits = number.filter(|n| (least..=most).contains(n));
        fits.ok_or_else(|| format!("{least} to {most}, such as \"{example}\""))
    }

    /// Addresses to listen on; `none` or an empty list closes the door.
    pub fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let texts = match self {
            Value::Number(port) => vec![port.to_string()],
            other => other.texts()?,
        };
        if texts.iter().any(|text| text == "none") && texts.len() == 1 {
            return Ok(Vec::new());
        }
        texts.iter().map(|text| address(text)).collect()
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let port = |digits: &str| digits.parse::<u16>().ok().map(|port| (IpAddr::from(Ipv6Addr::UNSPECIFIED), port).into());
    let parsed = text.parse().ok().or_else(|| port(text.strip_prefix(':').unwrap_or(text)));
    parsed.ok_or_else(|| "\"[::]:5222\", \"192.0.2.1:5222\", \":5222\" or \"none\"".into())
}

/// One setting and where it stands.
#[derive(Clone, Debug)]
struct Setting {
    place: String,
    key: String,
    value: Value,
}

impl Config {
    /// Settings of a file (its name and text) over `base`, then those of the command line (`key=value`).
    ///
    /// # Errors
    /// One line for each mistake.
    pub fn read(file: Option<(&str, &str)>, sets: &[String], base: Config) -> Result<Config, Vec<String>> {
        let mut faults = Vec::new();
        let mut settings = Vec::new();
        if let Some((name, text)) = file {
            match DeTable::parse(text) {
                Ok(table) => flatten(table.get_ref(), "", &|at| format!("{name}:{}", line(text, at)), &mut settings),
                Err(error) => {
                    let at = error.span().map_or(1, |span| line(text, span.start));
                    faults.push(format!("{name}:{at}: {}", error.message().replace('\n', ", ")));
                }
            }
        }
        for set in sets {
            match set.split_once('=') {
                Some((key, value)) => settings.push(Setting {
                    place: "--set".into(),
                    key: key.trim().into(),
                    value: command_line_value(value.trim()),
                }),
                None => faults.push(format!("--set {set}: no \"=\"; --set listen.c2s=:5222 would do")),
            }
        }
        let mut config = base;
        for setting in &settings {
            if let Err(fault) = apply(&mut config, setting) {
                faults.push(fault);
            }
        }
        check(&mut config, &mut faults);
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }
}

fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn flatten(table: &DeTable<'_>, prefix: &str, place: &dyn Fn(usize) -> String, out: &mut Vec<Setting>) {
    for (name, value) in table {
        let quoted = name.get_ref().contains('.');
        let name = if quoted { format!("\"{}\"", name.get_ref()) } else { name.get_ref().to_string() };
        let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value.get_ref() {
            DeValue::Table(inner) => flatten(inner, &key, place, out),
            other => out.push(Setting { place: place(value.span().start), key, value: convert(other) }),
        }
    }
}

fn convert(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Value::Other("a huge number"), Value::Number)
        }
        DeValue::Array(items) => Value::List(items.iter().map(|item| convert(item.get_ref())).collect()),
        DeValue::Boolean(_) => Value::Other("a boolean"),
        DeValue::Float(_) => Value::Other("a number with a fraction"),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}

/// A TOML value if it is one, else the bare word.
fn command_line_value(text: &str) -> Value {
    match DeValue::parse(text) {
        Ok(value) => match convert(value.get_ref()) {
            Value::Other(_) => Value::Text(text.into()),
            value => value,
        },
        Err(_) => Value::Text(text.into()),
    }
}

fn apply(config: &mut Config, setting: &Setting) -> Result<(), String> {
    let wrong =
        |wants: String| format!("{}: {} is {}; {wants} would do", setting.place, setting.key, setting.value.describe());
    if let Some(rest) = setting.key.strip_prefix("certificates.") {
        return certificate(config, rest, &setting.value).map_err(wrong);
    }
    match KEYS.iter().find(|key| key.name == setting.key) {
        Some(key) => (key.set)(config, &setting.value).map_err(wrong),
        None => Err(format!("{}: there is no key {}; {}", setting.place, setting.key, nearest(&setting.key))),
    }
}

/// `"example.org".certificate` and `"example.org".key`.
fn certificate(config: &mut Config, rest: &str, value: &Value) -> Result<(), String> {
    let wants = || "[certificates.\"example.org\"] with certificate and key".to_owned();
    let (domain, part) = rest.rsplit_once('.').ok_or_else(wants)?;
    let domain = jid::prepare_domain(domain.trim_matches('"')).map_err(|_| wants())?.into_owned();
    let entry = config.certificates.entry(domain).or_insert_with(|| Certificate::EMPTY);
    match part {
        "certificate" => entry.certificate = value.text()?.into(),
        "key" => entry.key = value.text()?.into(),
        _ => return Err(wants()),
    }
    Ok(())
}

fn nearest(wrong: &str) -> String {
    let best = KEYS.iter().min_by_key(|key| distance(wrong, key.name));
    match best.filter(|key| distance(wrong, key.name) <= wrong.len() / 2) {
        Some(Key { name, .. }) => format!("did you mean {name}?"),
        None => "the README lists them all".into(),
    }
}

/// How many letters must change (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

/// What no single key can tell.
fn check(config: &mut Config, faults: &mut Vec<String>) {
    if config.domains.is_empty() {
        faults.push("domain is empty; domain = \"home.example\" would do".into());
    }
    let pairs = config.certificates.iter().map(|(domain, files)| (format!("certificates.\"{domain}\""), files));
    for (name, files) in pairs.chain(config.tls.iter().map(|files| ("tls".to_owned(), files))) {
        for (part, file) in [("certificate", &files.certificate), ("key", &files.key)] {
            if file.as_os_str().is_empty() {
                faults.push(format!("{name}.{part} is missing; certificate and key belong together"));
            }
        }
    }
    let served = config.domains.clone();
    for admin in &config.admins {
        let domain = Jid::parse(admin).map(|jid| jid.domain().to_owned()).unwrap_or_default();
        if !served.contains(&domain) {
            faults.push(format!("admins holds {admin}, whose domain is not served here; {} is", served.join(", ")));
        }
    }
    let mut all: Vec<_> = config.listen.c2s.iter().chain(&config.listen.c2s_tls).collect();
    all.sort();
    for pair in all.windows(2).filter(|pair| pair[0] == pair[1] && pair[0].port() != 0) {
        faults.push(format!("listen: {} stands there twice; each door needs a port of its own", pair[0]));
    }
}

/// Prepared domains.
pub fn domains(value: &Value) -> Result<Vec<String>, String> {
    let wants = || "a domain such as \"home.example\", or a list of them".to_owned();
    let texts = value.texts()?;
    let prepared = texts.iter().map(|text| jid::prepare_domain(text).map(|d| d.into_owned()).map_err(|_| wants()));
    prepared.collect::<Result<Vec<_>, _>>().and_then(|all| if all.is_empty() { Err(wants()) } else { Ok(all) })
}

/// Bare addresses of accounts.
pub fn accounts(value: &Value) -> Result<Vec<String>, String> {
    let wants = || "addresses such as \"anna@home.example\"".to_owned();
    let parse = |text: &String| match Jid::parse(text) {
        Ok(jid) if jid.is_bare() && jid.local().is_some() => Ok(jid.as_str().to_owned()),
        _ => Err(wants()),
    };
    value.texts()?.iter().map(parse).collect()
}

/// Who may make an account.
pub fn registration(value: &Value) -> Result<Registration, String> {
    match value.text()?.as_str() {
        "closed" => Ok(Registration::Closed),
        "invited" => Ok(Registration::Invited),
        _ => Err("\"closed\" or \"invited\"".into()),
    }
}
