//! Certificate files: the self-signed one that a first start makes, and what an admin should know about any.
//!
//! Invariant: a private key is never readable by others, at no moment; an existing pair is only replaced when the
//! domains have changed.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

use super::der;
use crate::{adapters::clock, config::Certificate};

/// Days before the end from which on the admin is warned.
const WARNING_DAYS: u64 = 14;
/// Years that a self-signed certificate is valid: clients pin it, so a new one costs every user a question.
const VALID_YEARS: i32 = 10;

/// The domain as certificates and SNI have it: A-labels, lower case.
pub fn ascii(domain: &str) -> String {
    idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_ascii_lowercase())
}

/// The self-signed certificate in `<data>/tls/`, ECDSA P-256, with exactly the served domains as names. It is named
/// after the first domain, made when missing and made anew when the domains have changed.
///
/// # Errors
/// One line for the admin: the file and what the system said.
pub fn self_signed(data: &Path, domains: &[String]) -> Result<Certificate, String> {
    let mut names: Vec<String> = domains.iter().map(|domain| plain_name(&ascii(domain))).collect();
    names.dedup();
    let first = names.first().ok_or("there is no domain to make a certificate for")?;
    // A prepared domain holds no slash; a colon (IPv6) is legal in a file name.
    let folder = data.join("tls");
    let files =
        Certificate { certificate: folder.join(format!("{first}.crt")), key: folder.join(format!("{first}.key")) };
    if files.key.exists() && stored_names(&files.certificate).as_ref() == Some(&names) {
        return Ok(files);
    }
    let mut params = CertificateParams::new(names.clone()).map_err(|e| format!("no certificate for {names:?}: {e}"))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, first.as_str());
    let year = this_year();
    params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
    params.not_after = rcgen::date_time_ymd(year + VALID_YEARS, 1, 1);
    let made = KeyPair::generate().and_then(|key| Ok((params.self_signed(&key)?, key)));
    let (certificate, key) = made.map_err(|e| format!("no certificate for {names:?}: {e}"))?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(|e| told(&folder, &e))?;
    let key = zeroize::Zeroizing::new(key.serialize_pem());
    // The key first: a certificate without its key would look complete to the next start.
    store(&files.key, key.as_bytes())?;
    store(&files.certificate, certificate.pem().as_bytes())?;
    log::info!("made a self-signed certificate for {}: {}", names.join(", "), files.certificate.display());
    Ok(files)
}

/// An IPv6 domain is written in brackets (RFC 7622 §3.2); certificates have the bare address.
fn plain_name(domain: &str) -> String {
    domain.trim_start_matches('[').trim_end_matches(']').to_string()
}

fn stored_names(file: &Path) -> Option<Vec<String>> {
    let text = fs::read_to_string(file).ok()?;
    let body: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).ok()?;
    Some(der::names(&der))
}

fn this_year() -> i32 {
    const YEAR_S: u64 = 31_556_952;
    i32::try_from(1970 + clock::wall_us() / 1_000_000 / YEAR_S).unwrap_or(2_026)
}

/// Writes a file of mode 0600 as a whole or not at all.
fn store(file: &Path, bytes: &[u8]) -> Result<(), String> {
    let fresh = file.with_extension("new");
    let written = || -> io::Result<()> {
        let _ = fs::remove_file(&fresh);
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&fresh, file)
    };
    written().map_err(|e| told(file, &e))
}

fn told(file: &Path, error: &io::Error) -> String {
    format!(
        "{}: cannot be written: {error}; the data directory must belong to the user that Lampone runs as",
        file.display()
    )
}

/// What an admin should know about the certificate of this domain, one line each, without the file's name.
pub fn warnings(certificate: &[u8], domain: &str, now_s: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    let names = der::names(certificate);
    let wanted = plain_name(&ascii(domain));
    if !names.iter().any(|name| names_domain(name, &wanted)) {
        let found = if names.is_empty() { "no name at all".to_string() } else { names.join(", ") };
        warnings.push(format!("the certificate does not name {wanted}, it names {found}; clients will refuse it"));
    }
    let now = i64::try_from(now_s).unwrap_or(i64::MAX);
    match der::validity(certificate) {
        None => warnings.push("the certificate's dates cannot be read".to_string()),
        Some((from, _)) if now < from => {
            warnings.push("the certificate is not valid yet; is this machine's clock right?".to_string());
        }
        Some((_, until)) if until <= now => {
            warnings.push(format!("the certificate expired {} days ago; renew it", (now - until) / 86_400));
        }
        Some((_, until)) if until - now < i64::try_from(WARNING_DAYS * 86_400).unwrap_or(0) => {
            warnings.push(format!("the certificate expires in {} days", (until - now) / 86_400));
        }
        Some(_) => {}
    }
    warnings
}

/// Whether this name of a certificate covers the domain; `*` stands for one label (RFC 6125 §6.4.3).
fn names_domain(name: &str, domain: &str) -> bool {
    if let (Ok(a), Ok(b)) = (name.parse::<IpAddr>(), domain.parse::<IpAddr>()) {
        return a == b;
    }
    match name.strip_prefix("*.") {
        Some(parent) => domain.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => name == domain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: u64 = 86_400;
    /// 2030-01-01, when the certificate of these tests ends.
    const END_S: u64 = 1_893_456_000;

    fn made(names: &[&str]) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_string()).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(2025, 1, 1);
        params.not_after = rcgen::date_time_ymd(2030, 1, 1);
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn an_admin_is_warned_before_a_certificate_ends() {
        let certificate = made(&["one.example"]);
        let warned = |now_s| warnings(&certificate, "one.example", now_s).join("|");
        assert_eq!(warned(END_S - 15 * DAY_S), "");
        assert!(warned(END_S - 13 * DAY_S).contains("expires in 13 days"));
        assert!(warned(END_S + 2 * DAY_S).contains("expired 2 days ago"));
        assert!(warned(1_000_000).contains("not valid yet"));
    }

    #[test]
    fn an_admin_is_warned_of_a_certificate_for_another_name() {
        let now_s = END_S - 100 * DAY_S;
        let certificate = made(&["*.example.org", "bare.example"]);
        let warned = |domain| !warnings(&certificate, domain, now_s).is_empty();
        assert!(!warned("chat.example.org") && !warned("bare.example"));
        assert!(warned("example.org") && warned("a.b.example.org") && warned("other.example"));
    }
}
