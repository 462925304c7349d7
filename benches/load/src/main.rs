//! XMPP load generator: it drives a server from outside and prints one line of JSON.
//!
//! What it does is `lampone bench`'s, of whose files it is built; here are the command line that `benches/compare` wants,
//! and the killing.

// Not every part of it is wanted here.
#[allow(dead_code)]
#[path = "../../../src/adapters/load/mod.rs"]
mod load;

mod floor;
mod kill;

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
};

use argh::FromArgs;
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::load::{Names, Watch, client::Setting, events, idle, pages, pairs, rooms, sasl::Mechanism, sign_in};

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
    /// part of the name of the only cipher that is offered, such as CHACHA20
    #[argh(option, default = "String::new()")]
    suite: String,
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
    Pairs(Pairs),
    SignIn(SignIn),
    Idle(Idle),
    Pages(Pages),
    Events(Events),
    Rooms(Rooms),
    Floor(Floor),
    Kill(kill::Kill),
}

/// chat messages between pairs of accounts
#[derive(FromArgs)]
#[argh(subcommand, name = "pairs")]
struct Pairs {
    /// pairs of accounts
    #[argh(option, default = "1")]
    pairs: usize,
    /// messages in flight per pair
    #[argh(option, default = "1")]
    in_flight: u32,
    /// messages per pair that are measured
    #[argh(option, default = "1000")]
    messages: u32,
    /// messages per pair before the measurement
    #[argh(option, default = "50")]
    warmup: u32,
    /// bytes of a body
    #[argh(option, default = "100")]
    body: usize,
}

/// sign-ins one after the other
#[derive(FromArgs)]
#[argh(subcommand, name = "signin")]
struct SignIn {
    /// sign-ins that are measured
    #[argh(option, default = "200")]
    count: usize,
    /// sign-ins before the measurement
    #[argh(option, default = "20")]
    warmup: usize,
    /// sign-ins under way at once
    #[argh(option, default = "2")]
    at_once: usize,
}

/// clients that do nothing until standard input ends
#[derive(FromArgs)]
#[argh(subcommand, name = "idle")]
struct Idle {
    /// how many clients
    #[argh(option, default = "100")]
    count: usize,
    /// sign-ins under way at once
    #[argh(option, default = "8")]
    at_once: usize,
}

/// pages of an archive, newest first
#[derive(FromArgs)]
#[argh(subcommand, name = "pages")]
struct Pages {
    /// pages that are measured
    #[argh(option, default = "200")]
    count: u32,
    /// pages before the measurement
    #[argh(option, default = "10")]
    warmup: u32,
    /// messages of a page
    #[argh(option, default = "50")]
    size: u32,
}

/// one account publishes, others hear of it
#[derive(FromArgs)]
#[argh(subcommand, name = "events")]
struct Events {
    /// accounts that listen
    #[argh(option, default = "50")]
    listeners: usize,
    /// events that are measured
    #[argh(option, default = "200")]
    count: u32,
    /// events before the measurement
    #[argh(option, default = "20")]
    warmup: u32,
    /// bytes of the text in an item
    #[argh(option, default = "100")]
    body: usize,
}

/// one room in which each occupant speaks in turn
#[derive(FromArgs)]
#[argh(subcommand, name = "rooms")]
struct Rooms {
    /// occupants of the room
    #[argh(option, default = "200")]
    occupants: usize,
    /// messages that are measured
    #[argh(option, default = "200")]
    messages: u32,
    /// bytes of a body
    #[argh(option, default = "100")]
    body: usize,
}

/// no server: TLS records to many connections, and what they cost the writer
#[derive(FromArgs)]
#[argh(subcommand, name = "floor")]
struct Floor {
    /// connections
    #[argh(option, default = "200")]
    connections: usize,
    /// records on each
    #[argh(option, default = "200")]
    rounds: u32,
    /// bytes of a record's text
    #[argh(option, default = "300")]
    bytes: usize,
    /// certificate for the domain, PEM
    #[argh(option)]
    certificate: String,
    /// its key, PEM
    #[argh(option)]
    key: String,
}

fn tls(ca: &str, suite: &str) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| format!("{ca}: {e}"))? {
        roots.add(certificate.map_err(|e| format!("{ca}: {e}"))?).map_err(|e| format!("{ca}: {e}"))?;
    }
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|offered| format!("{:?}", offered.suite()).contains(suite));
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
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
        tls: Arc::new(tls(&arguments.ca, &arguments.suite)?),
        mechanism: arguments.mechanism,
        password: arguments.password,
        starttls: false,
        sm: !arguments.no_sm,
        presence: true,
        registers: false,
        watch: Watch::default(),
    };
    let (names, pid) = (Names { prefix: arguments.prefix, accounts: arguments.accounts }, arguments.pid);
    let figures = match arguments.scenario {
        Command::Pairs(Pairs { pairs, in_flight, messages, warmup, body }) => {
            pairs::run(&pairs::Pairs { pairs, in_flight, messages, warmup, body }, &setting, &names, pid)
        }
        Command::SignIn(SignIn { count, warmup, at_once }) => {
            sign_in::run(&sign_in::SignIn { count, warmup, at_once }, &setting, &names, pid)
        }
        Command::Idle(Idle { count, at_once }) => {
            // A line as soon as all are there; nothing is read from the server until standard input has ended.
            idle::run(&idle::Idle { count, at_once }, &setting, &names, pid, |here, _| {
                println!("{}", here.json());
                io::stdout().flush()?;
                io::stdin().read_to_end(&mut Vec::new()).map(drop)
            })
            .map(|[_, held]| held)
        }
        Command::Pages(Pages { count, warmup, size }) => {
            pages::run(&pages::Pages { count, warmup, size }, &setting, &names, pid)
        }
        Command::Events(Events { listeners, count, warmup, body }) => {
            events::run(&events::Events { listeners, count, warmup, body }, &setting, &names, pid)
        }
        Command::Rooms(Rooms { occupants, messages, body }) => {
            rooms::run(&rooms::Rooms { occupants, messages, body }, "crowd", &setting, &names, pid)
        }
        Command::Floor(Floor { connections, rounds, bytes, certificate, key }) => {
            let floor = floor::Floor { connections, rounds, bytes, certificate: &certificate, key: &key };
            return floor::run(&floor, &setting.domain, setting.tls).map_err(|e| e.to_string());
        }
        Command::Kill(scenario) => return kill::run(scenario, &setting, &names),
    };
    figures.map(|figures| figures.json()).map_err(|e| e.to_string())
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
