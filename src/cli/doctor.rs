//! `lampone doctor`: a domain looked at as others find it: DNS, ports, TLS, certificate, and the step that mends a fault.
//!
//! What is looked at stands in `adapters/probe.rs`; here it is put into words. Writes nothing.

use std::{fmt::Write as _, net::IpAddr};

use super::{Mistakes, print, settings::Sources};
use crate::{
    adapters::{
        clock,
        probe::{self, Fault, Place, Service},
        resolve::{Hop, NoAnswer},
        tls::{Certificates, CipherOrder},
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
    if config.tls.is_none() && !config.data.join("tls").exists() {
        let data = config.data.display();
        return Err(vec![format!(
            "{data}: no server has run with this data directory; start one first with `lampone serve`, or name another \
             with --data"
        )]);
    }
    let certificates = Certificates::load(&config, None, CipherOrder::default()).map_err(|line| vec![line])?;
    let wanted = match other {
        None => config.domains.clone(),
        Some(other) => match prepare_domain(other) {
            Ok(domain) => vec![domain.into_owned()],
            Err(_) => return Err(vec![format!("{other} is no domain; give one such as example.org")]),
        },
    };
    let from = config.domains.first().map(|domain| ascii_domain(domain).to_string()).unwrap_or_default();
    let mut faults = 0;
    for domain in wanted {
        let target = Target { domain: ascii_domain(&domain).to_string(), from: from.clone() };
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
                Err(none) => self.no_answer(&self.domain.clone(), *service, &none),
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

    fn no_answer(&mut self, name: &str, service: Service, none: &NoAnswer) {
        let ours = self.is_ours();
        match none {
            NoAnswer::NotThere => {
                let mend = match (ours, name == self.domain) {
                    (true, true) => format!(
                        "remove the SRV record of {}.{name} whose target is \".\": it says that there is no such service",
                        service.names()[1]
                    ),
                    (true, false) => format!("add an A or AAAA record of {name} with the address of this machine"),
                    (false, _) => "nobody can reach it; is it spelled right?".into(),
                };
                self.fault(&format!("DNS knows nothing of {name}"), &mend);
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

    /// What lets a port be reached.
    fn open(&self, service: Service, hop: &Hop, address: IpAddr) -> String {
        let listen = &self.config.listen;
        let doors = match (service, hop.direct) {
            (Service::Server, false) => &listen.s2s,
            (Service::Server, true) => &listen.s2s_tls,
            (Service::Client, false) => &listen.c2s,
            (Service::Client, true) => &listen.c2s_tls,
        };
        let (port, key) = (hop.port, key(service, hop.direct));
        let Some(door) = doors.first() else {
            return format!("nobody listens: set {key} = {port} and restart, or remove the SRV record");
        };
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

/// Which setting opens a door.
fn key(service: Service, direct: bool) -> &'static str {
    match (service, direct) {
        (Service::Server, false) => "listen.s2s",
        (Service::Server, true) => "listen.s2s_tls",
        (Service::Client, false) => "listen.c2s",
        (Service::Client, true) => "listen.c2s_tls",
    }
}
