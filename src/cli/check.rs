//! `lampone check`: settings and certificates looked at without a server. Writes nothing.

use super::{Mistakes, print, settings::Sources};
use crate::{
    adapters::tls::{Certificates, CipherOrder},
    config::Config,
};

/// Tells what would be served, or what is wrong.
///
/// # Errors
/// One line for each mistake.
pub fn check(sources: &Sources) -> Result<(), Mistakes> {
    let config = sources.read()?;
    crate::adapters::log::start(log::LevelFilter::Warn);
    let mistakes = certificate_mistakes(&config);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let file = sources.file().map_or("none, all as usual".to_owned(), |path| path.display().to_string());
    let text = |addresses: &[std::net::SocketAddr]| addresses.iter().map(ToString::to_string).collect();
    let certificates = config.domains.iter().map(|domain| match named(&config, domain) {
        Some(files) => format!("{domain}: {}", files.certificate.display()),
        None => format!("{domain}: self-signed, made at the first start"),
    });
    let at = config.listen.component.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let components = config.components.keys().map(|domain| format!("{domain}, at {at}"));
    let admin = config.listen.admin.clone().unwrap_or_else(|| config.data.join("admin.sock"));
    print::out(&print::aligned(&[
        ("Settings", vec![file]),
        ("Domains", config.domains.clone()),
        ("Data", vec![config.data.display().to_string()]),
        ("STARTTLS", text(&config.listen.c2s)),
        ("Direct TLS", text(&config.listen.c2s_tls)),
        ("HTTPS", text(&config.listen.https)),
        ("HTTP", text(&config.listen.http)),
        ("Components", components.collect()),
        ("Administration", vec![admin.display().to_string()]),
        ("Certificates", certificates.collect()),
    ]))
}

fn named<'a>(config: &'a Config, domain: &str) -> Option<&'a crate::config::Certificate> {
    config.certificates.get(domain).or(config.tls.as_ref())
}

/// Loads what files the settings name, one domain after the other. Where none is named nothing can be wrong, and
/// nothing is made here.
fn certificate_mistakes(config: &Config) -> Mistakes {
    let mut mistakes = Vec::new();
    for domain in config.domains.iter().filter(|domain| named(config, domain).is_some()) {
        let alone = Config { domains: vec![domain.clone()], ..config.clone() };
        if let Err(line) = Certificates::load(&alone, None, CipherOrder::default()) {
            mistakes.push(line);
        }
    }
    mistakes.dedup();
    mistakes
}
