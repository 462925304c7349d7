//! `lampone doctor`: a domain looked at as others find it: DNS, ports, TLS, certificate, and the step that mends a fault.
//!
//! What is looked at stands in `adapters/probe.rs`; here it is put into words. Writes nothing.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use super::{Mistakes, print, settings::Sources};
use crate::{
    adapters::{
        clock,
        probe::{self, Fault, Place, Service},
        resolve::{Hop, NoAnswer},
        tls::Certificates,
    },
    config::Config,
    router::event::{PeerCertificate, Target},
    wire::jid::{ascii_domain, prepare_domain},
};

/// Days before its end that a certificate ought to be renewed.
const RENEW_DAYS: u64 = 14;

/// What was found about a domain.
struct Finding<'c> {
    config: &'c Config,
    target: Target,
    /// As in addresses.
    domain: String,
    text: String,
    faults: usize,
}

/// Looks at all domains that are served, or at another server's.
///
/// # Errors
/// How many faults there are; they are told on standard output.
pub fn doctor(sources: &Sources, other: Option<&str>) -> Result<(), Mistakes> {
    let config = sources.read()?;
    crate::adapters::log::start(log::LevelFilter::Error);
    let certificates = probe::certificates(&config).map_err(|line| vec![line])?;
    let wanted = match other {
        None => config.domains.clone(),
        Some(other) => match prepare_domain(other) {
            Ok(domain) => vec![domain.into_owned()],
            Err(_) => return Err(vec![format!("{other} is no domain; give one such as example.org")]),
        },
    };
    let first = config.domains.first().map(|domain| ascii_domain(domain)).unwrap_or_default();
    let mut faults = 0;
    for domain in wanted {
        let ascii = ascii_domain(&domain);
        // Others are visited in the name of the first domain; our own by nobody, for no server talks to itself.
        let from = if config.serves(&domain) { ascii.clone() } else { first.clone() };
        let target = Target { domain: ascii, from };
        let mut finding = Finding { config: &config, target, domain, text: String::new(), faults: 0 };
        finding.examine(&certificates);
        print::out(&finding.text)?;
        faults += finding.faults;
    }
    match faults {
        0 => Ok(()),
        1 => Err(vec!["one fault".into()]),
        many => Err(vec![format!("{many} faults")]),
    }
}

impl Finding<'_> {
    fn is_ours(&self) -> bool {
        self.config.serves(&self.domain)
    }

    fn examine(&mut self, certificates: &Certificates) {
        // What clients find elsewhere is none of our business.
        let services: &[Service] =
            if self.is_ours() { &[Service::Client, Service::Server] } else { &[Service::Server] };
        for service in services {
            if *service == Service::Server && self.is_ours() && !self.config.federation.enabled {
                self.line(&format!("{}: federation.enabled is false, other servers are not let in", self.domain));
                continue;
            }
            let whom = if *service == Service::Server { "other servers" } else { "clients" };
            self.line(&format!("{}, as {whom} find it:", self.domain));
            match probe::look(self.config, certificates, *service, &self.target) {
                Err(NoAnswer::NotThere) => self.no_service(*service),
                Err(none) => self.no_answer(&self.target.domain.clone(), *service, &none),
                Ok(places) => {
                    for place in &places {
                        self.place(*service, place);
                    }
                }
            }
        }
    }

    fn line(&mut self, text: &str) {
        // Writing into a String does not fail.
        let _ = writeln!(self.text, "{}", print::shown(text));
    }

    fn fault(&mut self, what: &str, mend: &str) {
        self.faults += 1;
        self.line(&format!("  FAULT  {what}"));
        self.line(&format!("         {mend}"));
    }

    /// The record that leads to a port of ours.
    fn record(&self, service: Service, direct: bool, port: u16) -> String {
        let [with_tls, plain] = service.names();
        let (name, domain) = (if direct { with_tls } else { plain }, &self.target.domain);
        format!("{name}.{domain}. 3600 IN SRV 0 5 {port} {domain}.")
    }

    /// DNS says that there is decidedly none (RFC 2782).
    fn no_service(&mut self, service: Service) {
        let what = format!("DNS says that {} has no such service: the target of its SRV record is \".\"", self.domain);
        let mend = match (self.is_ours(), self.doors(service, false).first()) {
            (false, _) => "nobody can reach it; is it spelled right?".into(),
            (true, Some(door)) => {
                format!("put this record in its place: {}", self.record(service, false, door.port()))
            }
            (true, None) => format!("remove that record, and set {}", key(service, false)),
        };
        self.fault(&what, &mend);
    }

    fn no_answer(&mut self, name: &str, service: Service, none: &NoAnswer) {
        match none {
            NoAnswer::NotThere => {
                let mend = match (self.is_ours(), self.doors(service, false).first()) {
                    (false, _) => "nobody can reach it; is it spelled right?".into(),
                    // Without SRV records the domain itself was looked for, at the usual port.
                    (true, Some(door)) if name == self.target.domain && door.port() != usual(service) => {
                        format!(
                            "add these records, with the address that the internet has for this machine: {} and {name}. \
                             3600 IN A 192.0.2.1",
                            self.record(service, false, door.port())
                        )
                    }
                    (true, _) => format!(
                        "add this record, with the address that the internet has for this machine: {name}. 3600 IN A \
                         192.0.2.1"
                    ),
                };
                self.fault(&format!("{name} has no address"), &mend);
            }
            NoAnswer::Silent => {
                let mend = "look whether the resolvers in /etc/resolv.conf answer, or name others by dns.servers";
                self.fault(&format!("no resolver answers about {name}"), mend);
            }
            NoAnswer::Failed(words) => {
                let mend = "look at the zone with another resolver, named by dns.servers, and mend it at its provider";
                self.fault(&format!("DNS cannot say where {name} is: {words}"), mend);
            }
        }
    }

    fn place(&mut self, service: Service, place: &Place) {
        let Hop { host, port, direct } = &place.hop;
        match &place.addresses {
            Err(none) => self.no_answer(host, service, none),
            Ok(addresses) => {
                for (address, shown) in addresses {
                    let at = format!("{host}:{port} at {address}");
                    match shown {
                        Ok(certificate) => {
                            let way = if *direct { "TLS from the start" } else { "STARTTLS" };
                            self.certificate(&format!("{at}: {way}"), certificate);
                        }
                        Err(fault) => self.unreached(&at, service, &place.hop, *address, fault),
                    }
                }
            }
        }
    }

    fn unreached(&mut self, at: &str, service: Service, hop: &Hop, address: IpAddr, fault: &Fault) {
        let (what, mend) = match fault {
            Fault::Closed(words) => (words.clone(), self.open(service, hop, address)),
            Fault::NoTls(words) => {
                let key = key(service, false);
                (words.clone(), format!("another program has this port; {key} says where Lampone listens"))
            }
            Fault::Tls(words) => {
                let mend = match hop.direct {
                    true => format!("let the port lead to what {} names, or remove the SRV record", key(service, true)),
                    false => "look into the server's log with log = \"debug\"".into(),
                };
                (format!("TLS failed: {words}"), mend)
            }
            Fault::NoCertificate => ("it shows no certificate".into(), "give it one".into()),
        };
        let mend = if self.is_ours() { mend } else { "that is for its administrators to mend".into() };
        self.fault(&format!("{at}: {what}"), &mend);
    }

    /// Where we listen.
    fn doors(&self, service: Service, direct: bool) -> &[SocketAddr] {
        let listen = &self.config.listen;
        match (service, direct) {
            (Service::Server, false) => &listen.s2s,
            (Service::Server, true) => &listen.s2s_tls,
            (Service::Client, false) => &listen.c2s,
            (Service::Client, true) => &listen.c2s_tls,
        }
    }

    /// What lets a port be reached.
    fn open(&self, service: Service, hop: &Hop, address: IpAddr) -> String {
        let (port, key) = (hop.port, key(service, hop.direct));
        let Some(door) = self.doors(service, hop.direct).first() else {
            return format!("nobody listens: set {key} = {port} and restart, or remove the SRV record");
        };
        if door.port() != port && hop.host == self.target.domain && port == usual(service) && !hop.direct {
            let record = self.record(service, false, door.port());
            return format!("{key} is port {}: set {key} = {port}, or add this record: {record}", door.port());
        }
        format!(
            "let TCP port {port} of {address} lead to port {} of this machine: in the router's port forwarding and in every \
             firewall. Some routers lead nobody back from inside: then ask from elsewhere",
            door.port()
        )
    }

    fn certificate(&mut self, at: &str, shown: &PeerCertificate) {
        let now_s = clock::wall_us() / 1_000_000;
        let days = shown.not_after_s.saturating_sub(now_s) / 86_400;
        let ascii = &self.target.domain;
        let get = format!(
            "get a certificate for {ascii}, such as with `certbot certonly -d {ascii}`, and name it by tls.certificate and \
             tls.key"
        );
        let mend = if self.is_ours() {
            get
        } else {
            "without it dialback has to do, see federation.require_certificate".into()
        };
        match shown.proves(&self.domain) {
            // Dialback will do where a certificate is not required.
            Err(why) if !self.is_ours() && !self.config.federation.require_certificate => {
                self.line(&format!("  note   {at}, but its certificate proves nothing: {why}"));
                self.line(&format!("         {mend}"));
            }
            Err(why) => self.fault(&format!("{at}, but its certificate proves nothing: {why}"), &mend),
            Ok(()) if days < RENEW_DAYS && self.is_ours() => {
                self.fault(
                    &format!("{at}, but its certificate ends in {days} days"),
                    "renew it, then reload the server",
                );
            }
            Ok(()) => self.line(&format!("  ok     {at}, certificate good for {days} days")),
        }
    }
}

/// Where those look who find no SRV record, RFC 6120 §14.7.
fn usual(service: Service) -> u16 {
    match service {
        Service::Client => 5_222,
        Service::Server => 5_269,
    }
}

/// Which setting opens a door.
fn key(service: Service, direct: bool) -> &'static str {
    match (service, direct) {
        (Service::Server, false) => "listen.s2s",
        (Service::Server, true) => "listen.s2s_tls",
        (Service::Client, false) => "listen.c2s",
        (Service::Client, true) => "listen.c2s_tls",
    }
}
