//! `lampone check`: everything that `serve` would read, without starting.

use std::{fmt::Display, path::Path};

use super::{output::say, settings::Sources};
use crate::{
    adapters::tls::Certificates,
    config::{Certificate, Config, Registration},
};

/// Reads settings and certificates and prints what they come to.
///
/// # Errors
/// A line for each mistake.
pub fn run(sources: &Sources) -> Result<(), String> {
    let (config, file) = sources.read_named()?;
    Certificates::check(&config)?;
    say(summary(&config, file.as_deref()))
}

fn joined<T: Display>(list: &[T], empty: &str) -> String {
    match list {
        [] => empty.to_owned(),
        list => list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn summary(config: &Config, file: Option<&str>) -> String {
    let admin_socket = config.listen.admin.clone().unwrap_or_else(|| config.data.join("admin.sock"));
    let path = |path: &Path| path.display().to_string();
    let mut rows = vec![
        ("settings", file.unwrap_or("no file; defaults and the command line").to_owned()),
        ("domains", joined(&config.domains, "")),
        ("data", path(&config.data)),
        ("STARTTLS", joined(&config.listen.c2s, "closed")),
        ("direct TLS", joined(&config.listen.c2s_tls, "closed")),
        ("admin socket", path(&admin_socket)),
        ("admins", joined(&config.admins, "none named here")),
        (
            "registration",
            match config.registration {
                Registration::Closed => "closed: only an admin makes accounts".to_owned(),
                Registration::Invited => "whoever holds an invitation".to_owned(),
            },
        ),
    ];
    for domain in &config.domains {
        let from = match config.certificates.get(domain).or(config.tls.as_ref()) {
            Some(Certificate { certificate, .. }) => path(certificate),
            None => "self-signed, made at the start".to_owned(),
        };
        rows.push(("certificate", format!("{domain}: {from}")));
    }
    rows.push(("", "the settings are good".to_owned()));
    rows.iter().map(|(label, value)| format!("{label:<12}  {value}").trim_start().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_would_be_served() {
        let text = "domain = ['a.example', 'b.example']\nlisten.c2s = 'none'\nregistration.policy = 'closed'\n\
                    [certificates.'b.example']\ncertificate = 'b.pem'\nkey = 'b.key'";
        let config = Config::read(Some(("f", text)), &[], Config::default()).unwrap();
        let lines = [
            "settings      f",
            "domains       a.example, b.example",
            "data          lampone-data",
            "STARTTLS      closed",
            "direct TLS    [::]:5223",
            "admin socket  lampone-data/admin.sock",
            "admins        none named here",
            "registration  closed: only an admin makes accounts",
            "certificate   a.example: self-signed, made at the start",
            "certificate   b.example: b.pem",
            "the settings are good",
        ];
        assert_eq!(summary(&config, Some("f")).lines().collect::<Vec<_>>(), lines);
    }
}
