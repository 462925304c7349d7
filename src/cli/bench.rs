//! `lampone bench`: load on an XMPP server, and what came of it.
//!
//! Invariants: nothing happens before it was told and agreed to; only the host that was named is connected to, and one
//! outside of this network only if the user says that it is theirs; every number is bounded here; the accounts that were
//! made are removed, also when a scenario fails or the user has had enough.

mod accounts;
mod report;

use std::{
    fmt::Write as _,
    io::{self, BufRead, IsTerminal, Write as _},
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use accounts::Maker;

use super::{Mistakes, args, client::Client, print};
use crate::{
    adapters::{
        ending,
        load::{Figures, Names, Watch, client::Setting, idle, pages, pairs, rooms, sasl, sign_in},
        probe, system, tls,
    },
    wire::jid,
};

/// Where clients find a server that says nothing else, RFC 6120 §14.7, and where TLS is there from the start.
const PORT: u16 = 5222;
const PORT_TLS: u16 = 5223;
/// How long one scenario may take besides being idle.
const SCENARIO: Duration = Duration::from_secs(300);
/// How long the removal of accounts may take once the user has had enough.
const CLEARING: Duration = Duration::from_secs(60);
/// Pairs that chat at once.
const PAIRS_MAX: usize = 25;
/// Occupants of the room.
const OCCUPANTS_MAX: usize = 50;
/// Messages under way of one pair.
const IN_FLIGHT: u32 = 4;
/// Bytes of a message's text.
const BODY: usize = 100;
/// Pages that are read, and messages of each.
const PAGES: u32 = 100;
const PAGE: u32 = 50;

/// All scenarios, in the order in which they run: the archive is read when pairs have filled it.
const SCENARIOS: [&str; 5] = ["signin", "idle", "pairs", "rooms", "archive"];

/// What will be done.
struct Plan<'a> {
    command: &'a args::Bench,
    scenarios: Vec<&'static str>,
    names: Names,
    /// The room's name.
    room: String,
    pairs: usize,
    occupants: usize,
}

/// Does it.
///
/// # Errors
/// It cannot be done, or not all of it was; what was done is on standard output all the same.
pub fn bench(command: &args::Bench) -> Result<(), Mistakes> {
    let told = |line| vec![line];
    let mut plan = Plan::new(command)?;
    let address = address(&command.host, command.mine).map_err(told)?;
    let mut maker = maker(command)?;
    let direct = command.direct || address.port() == PORT_TLS;
    let setting = Setting {
        address,
        domain: domain(command, &maker)?,
        tls: tls::asking(command.ca.as_deref(), direct).map_err(told)?,
        starttls: !direct,
        mechanism: command.mechanism,
        password: sasl::random().map_err(|e| told(e.to_string()))?.replace(['+', '/'], "x"),
        sm: !command.unacknowledged,
        presence: true,
        registers: false,
        watch: Watch { stop: Arc::new(AtomicBool::new(false)), patience: SCENARIO, show },
    };
    print::err(&plan.text(&setting, &maker));
    if !command.yes && !agreed()? {
        return Err(told("nothing was done".into()));
    }
    system::raise_file_limit();
    // Whoever has had enough waits until the accounts are gone.
    let (cleared, clearing) = mpsc::channel::<()>();
    let stop = setting.watch.stop.clone();
    let stopped = move || {
        stop.store(true, Ordering::Relaxed);
        let _ = clearing.recv_timeout(CLEARING);
    };
    ending::before_end(stopped).map_err(|e| told(format!("the system gives no signals: {e}")))?;
    let outcome = plan.carry_out(&setting, &mut maker);
    drop(cleared);
    outcome
}

/// Makes accounts as the command says.
fn maker(command: &args::Bench) -> Result<Maker, Mistakes> {
    Ok(match command.make.as_deref() {
        None | Some("lampone") => Maker::Lampone(Box::new(Client::connect(&command.sources())?)),
        Some("register") => Maker::InBand,
        Some(make) if make.contains("{user}") => {
            Maker::Command { make: make.to_owned(), unmake: command.unmake.clone() }
        }
        Some(other) => {
            return Err(vec![format!(
                "--make: found {other:?}; give lampone, register or a command with {{user}} in it"
            )]);
        }
    })
}

fn domain(command: &args::Bench, maker: &Maker) -> Result<String, Mistakes> {
    let named = match (command.sources().domain, maker) {
        (Some(domain), _) => domain,
        (None, Maker::Lampone(client)) => client.domain().to_owned(),
        (None, _) => split(&command.host).0.to_owned(),
    };
    match jid::prepare_domain(&named) {
        Ok(domain) => Ok(domain.into_owned()),
        Err(_) => Err(vec![format!("--domain: {named:?} is no domain")]),
    }
}

/// Host and port.
fn split(host: &str) -> (&str, Option<&str>) {
    match (host.strip_prefix('[').and_then(|rest| rest.split_once(']')), host.rsplit_once(':')) {
        (Some((six, port)), _) => (six, port.strip_prefix(':')),
        // More than one colon: an IPv6 address alone.
        (None, Some((name, port))) if !name.contains(':') => (name, Some(port)),
        _ => (host, None),
    }
}

/// The address that is connected to.
fn address(host: &str, mine: bool) -> Result<SocketAddr, String> {
    let (name, port) = split(host);
    let port = match port.map(str::parse) {
        None => PORT,
        Some(Ok(port)) => port,
        Some(Err(_)) => return Err(format!("{host}: give a host, or a host and a port such as localhost:5223")),
    };
    let address = probe::address(name).map_err(|_| format!("{name} has no address"))?;
    if !mine && !is_near(address) {
        return Err(format!(
            "{name} ({address}) is not in this network. Load on a server of others is an attack; if it is yours, add --mine"
        ));
    }
    Ok(SocketAddr::new(address, port))
}

/// Whether an address is this machine's or of a network such as a home has: RFC 1918, RFC 3927, RFC 4193, RFC 4291 §2.5.6.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => four.is_loopback() || four.is_private() || four.is_link_local(),
        IpAddr::V6(six) => six.is_loopback() || six.is_unique_local() || six.is_unicast_link_local(),
    }
}

/// Asks on the terminal.
fn agreed() -> Result<bool, Mistakes> {
    if !io::stdin().is_terminal() {
        return Err(vec!["there is no terminal to ask whether to begin; add --yes".into()]);
    }
    eprint!("Begin? [y/N] ");
    let _ = io::stderr().flush();
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|e| vec![format!("the terminal: {e}")])?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// How far a scenario is, for whoever looks on.
fn show(done: u64, of: u64) {
    if io::stderr().is_terminal() {
        eprint!("\r\x1b[K  {done} of {of}");
        let _ = io::stderr().flush();
    }
}

fn within<N: PartialOrd + std::fmt::Display>(name: &str, value: &N, range: &RangeInclusive<N>) -> Result<(), Mistakes> {
    match range.contains(value) {
        true => Ok(()),
        false => Err(vec![format!("--{name} is {value}; from {} to {} is possible", range.start(), range.end())]),
    }
}

impl<'a> Plan<'a> {
    fn new(command: &'a args::Bench) -> Result<Self, Mistakes> {
        within("accounts", &command.accounts, &(2..=500))?;
        within("sign-ins", &command.sign_ins, &(1..=5_000))?;
        within("idle", &command.idle, &(1..=5_000))?;
        within("seconds", &command.seconds, &(1..=600))?;
        within("messages", &command.messages, &(1..=10_000))?;
        let wanted: Vec<&str> = command.only.as_deref().map(|list| list.split(',').collect()).unwrap_or_default();
        if let Some(unknown) = wanted.iter().find(|word| !SCENARIOS.contains(word)) {
            return Err(vec![format!("--only: {unknown:?} is none of {}", SCENARIOS.join(", "))]);
        }
        let scenarios = SCENARIOS.iter().filter(|name| wanted.is_empty() || wanted.contains(name)).copied().collect();
        // Nobody's account is called so; what an earlier run left behind does not stand in the way.
        let random = sasl::random().map_err(|e| vec![e.to_string()])?;
        let tag: String = random.chars().filter(char::is_ascii_alphanumeric).take(6).collect();
        let prefix = format!("bench-{}-", tag.to_ascii_lowercase());
        let accounts = command.accounts;
        Ok(Plan {
            command,
            scenarios,
            room: format!("{prefix}room"),
            names: Names { prefix, accounts },
            pairs: (accounts / 2).min(PAIRS_MAX),
            occupants: accounts.min(OCCUPANTS_MAX),
        })
    }

    /// What one scenario will do.
    fn step(&self, scenario: &str) -> String {
        let args::Bench { sign_ins, idle, seconds, messages, .. } = self.command;
        let (pairs, occupants) = (self.pairs, self.occupants);
        match scenario {
            "signin" => format!("{sign_ins} sign-ins, two at a time"),
            "idle" => format!("{idle} clients that do nothing for {seconds} s"),
            "pairs" => format!("{pairs} pairs, {messages} messages each, {IN_FLIGHT} at a time"),
            "rooms" => format!("a room of {occupants}, in which {messages} messages are said in turn"),
            _ => format!("{PAGES} pages of {PAGE} messages from an archive"),
        }
    }

    fn text(&self, setting: &Setting, maker: &Maker) -> String {
        let (address, domain, accounts) = (setting.address, &setting.domain, self.names.accounts);
        let mut out = format!("At {address}, for {domain}, this will be done:\n");
        let mut line = |text: &str| {
            // Writing into a String does not fail.
            let _ = writeln!(out, "  {}", print::shown(text));
        };
        let (first, how) = (self.names.of(0), maker.says());
        line(&format!("accounts  {accounts} are made, {first} and so on, {how}"));
        for scenario in &self.scenarios {
            line(&format!("{scenario:8}  {}", self.step(scenario)));
        }
        line("accounts  are removed");
        out
    }

    fn carry_out(&mut self, setting: &Setting, maker: &mut Maker) -> Result<(), Mistakes> {
        let names = self.names.first(self.names.accounts);
        let mut faults = Vec::new();
        let mut done = Vec::new();
        let (made, outcome) = maker.make(&names, setting);
        match outcome {
            Err(lines) => faults.extend(lines.into_iter().take(3)),
            Ok(()) => {
                for scenario in self.scenarios.clone() {
                    if setting.watch.is_over() {
                        break;
                    }
                    print::err(&format!("{scenario}: {}\n", self.step(scenario)));
                    let outcome = self.run(scenario, setting);
                    if io::stderr().is_terminal() {
                        eprint!("\r\x1b[K");
                    }
                    match outcome {
                        Ok(figures) => done.push(figures),
                        Err(e) => faults.push(format!("{scenario}: {e}")),
                    }
                }
            }
        }
        if let Err(left) = maker.unmake(&names[..made], setting) {
            faults.push(format!("accounts {} and so on are still there: {}", names[0], left[0]));
        }
        if !done.is_empty() {
            print::out(&format!("{}{}\n", report::table(&done), report::json(setting, &done)))?;
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn run(&self, scenario: &str, setting: &Setting) -> io::Result<Figures> {
        let (command, names, pid) = (self.command, &self.names, self.command.pid);
        let messages = command.messages;
        match scenario {
            "signin" => {
                let load = sign_in::SignIn { count: command.sign_ins, warmup: 2, at_once: 2 };
                sign_in::run(&load, setting, names, pid)
            }
            "idle" => self.idle(setting),
            "pairs" => {
                let load = pairs::Pairs { pairs: self.pairs, in_flight: IN_FLIGHT, messages, warmup: 10, body: BODY };
                pairs::run(&load, setting, names, pid)
            }
            "rooms" => {
                let load = rooms::Rooms { occupants: self.occupants, messages, body: BODY };
                rooms::run(&load, &self.room, setting, names, pid)
            }
            _ => {
                let load = pages::Pages { count: PAGES, warmup: 2, size: PAGE };
                if !self.scenarios.contains(&"pairs") {
                    let fill = pairs::Pairs { pairs: 1, in_flight: IN_FLIGHT, messages, warmup: 0, body: BODY };
                    pairs::run(&fill, setting, names, None)?;
                }
                pages::run(&load, setting, names, pid)
            }
        }
    }

    /// Idle clients: how much memory each takes, and what they cost while nothing happens.
    fn idle(&self, setting: &Setting) -> io::Result<Figures> {
        let args::Bench { idle: count, seconds, pid, .. } = *self.command;
        let watch = Watch { patience: SCENARIO + Duration::from_secs(seconds), ..setting.watch.clone() };
        let setting = Setting { watch, ..setting.clone() };
        let begun = Instant::now();
        let hold = |_: &Figures, wait: &mut dyn FnMut(Duration, u64, u64) -> io::Result<()>| {
            let begun = Instant::now();
            while begun.elapsed().as_secs() < seconds {
                wait(Duration::from_secs(1), begun.elapsed().as_secs(), seconds)?;
            }
            Ok(())
        };
        let [here, held] = idle::run(&idle::Idle { count, at_once: 8 }, &setting, &self.names, pid, hold)?;
        let mut figures = Figures { unit: "clients", seconds: begun.elapsed().as_secs_f64(), ..here };
        figures.more.extend(held.more);
        if let Some(spent) = held.cost {
            figures.more.extend([("idle_cpu_ms", spent.cpu_ms), ("idle_switches", spent.switches)]);
        }
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A setting that nobody connects by.
    pub fn setting() -> Setting {
        Setting {
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            domain: "home.example".into(),
            tls: tls::asking(None, false).unwrap(),
            starttls: true,
            mechanism: sasl::Mechanism::ScramSha1,
            password: "x".into(),
            sm: true,
            presence: true,
            registers: false,
            watch: Watch::default(),
        }
    }

    #[test]
    fn hosts_come_with_or_without_a_port() {
        assert_eq!(split("home.example"), ("home.example", None));
        assert_eq!(split("home.example:5223"), ("home.example", Some("5223")));
        assert_eq!(split("[::1]:5223"), ("::1", Some("5223")));
        assert_eq!(split("::1"), ("::1", None));
        assert_eq!(address("127.0.0.1:5223", false), Ok(SocketAddr::from(([127, 0, 0, 1], 5223))));
        assert!(address("127.0.0.1:x", false).is_err());
    }

    #[test]
    fn a_server_elsewhere_has_to_be_called_ones_own() {
        for near in ["127.0.0.1", "192.168.1.5", "10.1.2.3", "169.254.1.1", "::1", "fd00::1", "fe80::1"] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in ["192.0.2.1", "172.32.0.1", "2001:db8::1", "::ffff:192.0.2.1"] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
        assert!(address("192.0.2.1", false).unwrap_err().contains("--mine"));
        assert!(address("192.0.2.1", true).is_ok());
    }
}
