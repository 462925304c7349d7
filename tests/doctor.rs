//! `lampone doctor` with the real binary: what it says of a domain depends on DNS and on who answers, and is told apart.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::unix::net::UnixDatagram,
    path::PathBuf,
    process::{Child, Command, Output},
    time::Duration,
};

const SRV: u16 = 33;
const A: u16 = 1;
const PATIENCE: Duration = Duration::from_secs(20);

/// A zone: (name, type) to records; a name that is not there at all is unknown.
type Zone = BTreeMap<(String, u16), Vec<Vec<u8>>>;

fn name(text: &str) -> Vec<u8> {
    let labels = text.split('.').filter(|label| !label.is_empty());
    let mut out: Vec<u8> = labels.flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
    out.push(0);
    out
}

fn service(zone: &mut Zone, at: &str, port: u16, host: &str) {
    let data = [&[0, 0, 0, 5], &port.to_be_bytes()[..], &name(host)].concat();
    zone.entry((at.into(), SRV)).or_default().push(data);
}

fn address(zone: &mut Zone, at: &str) {
    zone.insert((at.into(), A), vec![Ipv4Addr::LOCALHOST.octets().to_vec()]);
}

/// A name server on loopback; its address. The thread ends with the test.
fn name_server(zone: Zone) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let at = socket.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        let mut buffer = [0; 1_500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Some(answer) = answer(&zone, &buffer[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    at
}

fn answer(zone: &Zone, query: &[u8]) -> Option<Vec<u8>> {
    let mut asked = String::new();
    let mut at = 12;
    while let length @ 1.. = usize::from(*query.get(at)?) {
        asked.push_str(&String::from_utf8_lossy(query.get(at + 1..at + 1 + length)?));
        asked.push('.');
        at += length + 1;
    }
    let asked = asked.trim_end_matches('.').to_ascii_lowercase();
    let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
    let records = zone.get(&(asked.clone(), kind)).cloned().unwrap_or_default();
    let code = if zone.keys().any(|(known, _)| *known == asked) { 0 } else { 3 };
    let mut out = [&query[..2], &[0x81, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]].concat();
    out.extend_from_slice(query.get(12..at + 5)?);
    for data in records {
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&(data.len() as u16).to_be_bytes());
        out.extend_from_slice(&data);
    }
    Some(out)
}

/// A folder for one test, with the ports of a server that may run there: clients, and servers.
struct Place {
    data: PathBuf,
    clients: u16,
    servers: u16,
    running: Option<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.data);
    }
}

impl Place {
    fn new(name: &str) -> Place {
        let data = std::env::temp_dir().join(format!("lampone-test-doctor-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data).expect("a folder");
        let held = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [clients, servers] = held.map(|listener| listener.local_addr().expect("an address").port());
        Place { data, clients, servers, running: None }
    }

    fn command(&self, verb: &str, domain: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lampone"));
        command.args([verb, "--domain", domain, "--data"]).arg(&self.data);
        let sets = [
            format!("listen.c2s=127.0.0.1:{}", self.clients),
            format!("listen.s2s=127.0.0.1:{}", self.servers),
            "listen.c2s_tls=none".into(),
            "listen.s2s_tls=none".into(),
            "listen.https=none".into(),
        ];
        for set in sets {
            command.args(["--set", &set]);
        }
        command
    }

    fn serve(&mut self, domain: &str) {
        let notices = self.data.join("notify");
        let ready = UnixDatagram::bind(&notices).expect("a socket");
        ready.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let log = fs::File::create(self.data.join("log")).expect("a log");
        let again = log.try_clone().expect("a log");
        let mut command = self.command("serve", domain);
        let child = command.env("NOTIFY_SOCKET", &notices).stdout(log).stderr(again).spawn();
        self.running = Some(child.expect("the server starts"));
        let mut notice = [0; 1_024];
        let length = ready.recv(&mut notice).expect("a notice");
        assert!(String::from_utf8_lossy(&notice[..length]).contains("READY=1"));
    }

    fn doctor(&self, domain: &str, zone: Zone, more: &[&str]) -> (bool, String) {
        let servers = format!("dns.servers={}", name_server(zone));
        let mut command = self.command("doctor", domain);
        let Output { status, stdout, stderr } = command.args(["--set", &servers]).args(more).output().expect("it runs");
        let told = String::from_utf8_lossy(&stderr);
        assert!(status.success() || told.ends_with("fault\n") || told.ends_with("faults\n"), "{told}");
        (status.success(), String::from_utf8_lossy(&stdout).into_owned())
    }
}

#[test]
fn a_domain_without_records_is_told_the_records() {
    // A name that no hosts file knows: that would be an address.
    let place = Place::new("records");
    let (well, text) = place.doctor("unheard-of.test", Zone::new(), &[]);
    assert!(!well, "{text}");
    assert!(text.contains("unheard-of.test. 3600 IN A "), "{text}");
    for (service, port) in [("_xmpp-client", place.clients), ("_xmpp-server", place.servers)] {
        let record = format!("{service}._tcp.unheard-of.test. 3600 IN SRV 0 5 {port} unheard-of.test.");
        assert!(text.contains(&record), "{record} is missing in\n{text}");
    }
}

#[test]
fn a_host_without_address_and_a_port_without_server_are_told_apart() {
    let place = Place::new("ports");
    let mut zone = Zone::new();
    service(&mut zone, "_xmpp-client._tcp.home.test", place.clients, "nowhere.home.test");
    service(&mut zone, "_xmpp-server._tcp.home.test", place.servers, "home.test");
    address(&mut zone, "home.test");
    let (well, text) = place.doctor("home.test", zone, &[]);
    assert!(!well);
    assert!(text.contains("nowhere.home.test has no address"), "{text}");
    assert!(text.contains("nowhere.home.test. 3600 IN A "), "{text}");
    assert!(text.contains(&format!("home.test:{} at 127.0.0.1: Connection refused", place.servers)), "{text}");
}

#[test]
fn a_self_signed_certificate_is_a_fault_of_ours_and_a_note_about_others() {
    let mut place = Place::new("certificate");
    place.serve("home.test");
    let mut zone = Zone::new();
    service(&mut zone, "_xmpp-client._tcp.home.test", place.clients, "home.test");
    service(&mut zone, "_xmpp-server._tcp.home.test", place.servers, "home.test");
    address(&mut zone, "home.test");
    let (well, text) = place.doctor("home.test", zone.clone(), &[]);
    assert!(!well);
    assert_eq!(text.matches("its certificate proves nothing").count(), 2, "{text}");
    assert!(text.contains("get a certificate for home.test"), "{text}");
    let asked = zone.clone();
    let (well, text) = place.doctor("else.test", zone, &["home.test"]);
    assert!(well, "{text}");
    assert!(text.contains("its certificate proves nothing") && text.contains("dialback"), "{text}");
    let (well, text) = place.doctor("else.test", asked, &["home.test", "--set", "federation.require_certificate=true"]);
    assert!(!well, "{text}");
}

#[test]
fn a_domain_of_somebody_else_that_cannot_be_reached_is_explained() {
    let place = Place::new("other");
    let mut zone = Zone::new();
    service(&mut zone, "_xmpp-server._tcp.no.test", 0, "");
    service(&mut zone, "_xmpp-server._tcp.down.test", place.servers, "down.test");
    address(&mut zone, "down.test");
    let (well, text) = place.doctor("home.test", zone.clone(), &["no.test"]);
    assert!(!well && text.contains("no such service"), "{text}");
    let (well, text) = place.doctor("home.test", zone.clone(), &["down.test"]);
    assert!(!well && text.contains("Connection refused"), "{text}");
    let (well, text) = place.doctor("home.test", zone, &["unknown.test"]);
    assert!(!well && text.contains("unknown.test has no address"), "{text}");
}

#[test]
fn each_of_several_domains_is_visited_by_nobody() {
    let mut place = Place::new("several");
    let both = "one.test,two.test";
    place.serve(both);
    let mut zone = Zone::new();
    for domain in ["one.test", "two.test"] {
        service(&mut zone, &format!("_xmpp-client._tcp.{domain}"), place.clients, domain);
        service(&mut zone, &format!("_xmpp-server._tcp.{domain}"), place.servers, domain);
        address(&mut zone, domain);
    }
    let (_, text) = place.doctor(both, zone, &[]);
    assert_eq!(text.matches("STARTTLS, but its certificate proves nothing").count(), 4, "{text}");
}
