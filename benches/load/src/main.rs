//! XMPP load generator: it drives a server from outside and prints one line of JSON.
//!
//! One thread, no sleeping, as few system calls as the work allows: it shares the machine with what it measures.

mod client;
mod fleet;
mod gauge;
mod idle;
mod kill;
mod pages;
mod pairs;
mod sasl;
mod signin;
mod xml;

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use argh::FromArgs;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{client::Setting, sasl::Mechanism};

/// Drives an XMPP server over direct TLS and prints one line of JSON.
#[derive(FromArgs)]
struct Arguments {
    /// address of the direct TLS port
    #[argh(option, default = "SocketAddr::from(([127, 0, 0, 1], 5223))")]
    address: SocketAddr,
    /// domain of the accounts and of the certificate
    #[argh(option)]
    domain: String,
    /// certificate of the authority to trust, PEM
    #[argh(option)]
    ca: String,
    /// plain, scram-sha-1 or scram-sha-256
    #[argh(option, default = "Mechanism::ScramSha1")]
    mechanism: Mechanism,
    /// accounts are this word and a number from 0 on
    #[argh(option, default = "String::from(\"load\")")]
    prefix: String,
    /// password of all accounts
    #[argh(option, default = "String::from(\"load-password\")")]
    password: String,
    /// accounts that exist; clients beyond that share them
    #[argh(option, default = "1000")]
    accounts: usize,
    /// do not enable stream management: a message then counts when it is received
    #[argh(switch)]
    no_sm: bool,
    /// process whose cost is measured
    #[argh(option)]
    pid: Option<u32>,
    #[argh(subcommand)]
    scenario: Command,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Command {
    Pairs(pairs::Pairs),
    SignIn(signin::SignIn),
    Idle(idle::Idle),
    Pages(pages::Pages),
    Kill(kill::Kill),
}

/// Names of accounts by number.
pub struct Names {
    prefix: String,
    accounts: usize,
}

impl Names {
    pub fn of(&self, number: usize) -> String {
        format!("{}{}", self.prefix, number % self.accounts.max(1))
    }
}

fn tls(ca: &str) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| format!("{ca}: {e}"))? {
        roots.add(certificate.map_err(|e| format!("{ca}: {e}"))?).map_err(|e| format!("{ca}: {e}"))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| e.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"xmpp-client".to_vec()];
    // Every handshake is a full one, so that sign-ins cost what a first sign-in costs.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

fn run() -> Result<String, String> {
    let arguments: Arguments = argh::from_env();
    let setting = Setting {
        address: arguments.address,
        domain: arguments.domain,
        tls: Arc::new(tls(&arguments.ca)?),
        mechanism: arguments.mechanism,
        password: arguments.password,
        sm: !arguments.no_sm,
        presence: true,
    };
    let names = Names { prefix: arguments.prefix, accounts: arguments.accounts };
    match arguments.scenario {
        Command::Pairs(scenario) => pairs::run(&scenario, &setting, &names, arguments.pid),
        Command::SignIn(scenario) => signin::run(&scenario, setting, &names, arguments.pid),
        Command::Idle(scenario) => idle::run(&scenario, &setting, &names, arguments.pid),
        Command::Pages(scenario) => pages::run(&scenario, setting, &names, arguments.pid),
        Command::Kill(scenario) => kill::run(scenario, &setting, &names),
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("load: {e}");
            ExitCode::FAILURE
        }
    }
}
