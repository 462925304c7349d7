//! The adapters with real sockets on loopback, a house that obeys its clients, and rustls's own client as the opponent.

use std::{
    collections::HashMap,
    fs,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
    vec::Drain,
};

use lampone::{
    adapters::{
        driver::{Driver, ForgetfulStore, House, Mailbox},
        listen, system,
        tls::{Certificates, CipherOrder, Start, Step, Tls},
    },
    config::{Certificate, Config},
    limits,
    router::event::{BatchId, Door, Effect, Env, Event, Secured, StreamId, Time},
    wire::stanza::Chunk,
};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};

// The house.

/// What the house tells the test.
#[derive(Debug)]
enum Note {
    Opened(Door),
    Secured(Secured),
    Heard(usize),
    Stuck,
    Drained,
    Closed,
    Committed(BatchId),
    Ticked,
    Reloaded,
}

/// Obeys lines: `echo X`, `big N`, `close`, `starttls`, `panic`, `pause`, `resume` (all), `tick`, `commit`.
struct Obedient {
    notes: Sender<Note>,
    /// `starttls` waits for the test here.
    gate: Receiver<()>,
    effects: Vec<Effect>,
    lines: HashMap<StreamId, Vec<u8>>,
    streams: Vec<StreamId>,
    current: Option<StreamId>,
    deadline: Option<Time>,
}

impl Obedient {
    fn new(notes: Sender<Note>, gate: Receiver<()>) -> Obedient {
        let (effects, lines, streams) = (Vec::new(), HashMap::new(), Vec::new());
        Obedient { notes, gate, effects, lines, streams, current: None, deadline: None }
    }

    fn line(&mut self, id: StreamId, line: &str, now: Time) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "echo" => self.effects.push(Effect::Write(id, Chunk::new(format!("{rest}\n").into_bytes()))),
            "big" => {
                let mut left: usize = rest.parse().expect("a number");
                while left > 0 {
                    let piece = left.min(10_000);
                    self.effects.push(Effect::Write(id, Chunk::new(vec![b'.'; piece])));
                    left -= piece;
                }
            }
            "close" => {
                self.effects.push(Effect::Write(id, Chunk::new(*b"bye\n")));
                self.effects.push(Effect::Close(id));
            }
            "starttls" => {
                let _ = self.gate.recv();
                self.lines.remove(&id);
                self.effects.push(Effect::Write(id, Chunk::new(*b"proceed\n")));
                self.effects.push(Effect::StartTls(id));
            }
            "panic" => {
                self.effects.push(Effect::Write(id, Chunk::new(*b"never seen\n")));
                panic!("as told");
            }
            "pause" => {
                self.effects.push(Effect::Pause(id));
                self.effects.push(Effect::Write(id, Chunk::new(*b"paused\n")));
            }
            "resume" => self.effects.extend(self.streams.iter().map(|id| Effect::Resume(*id))),
            "tick" => self.deadline = Some(now.plus_ms(20)),
            "commit" => self.effects.push(Effect::Commit(BatchId(7), Vec::new())),
            other => panic!("unknown word {other:?}"),
        }
    }
}

impl House for Obedient {
    fn turn(&mut self, env: &mut Env<'_>, event: Event<'_>) -> Drain<'_, Effect> {
        let note = match event {
            Event::Opened(id, door) => {
                self.streams.push(id);
                Note::Opened(door)
            }
            Event::Secured(_, secured) => Note::Secured(secured),
            Event::Received(id, bytes) => {
                self.current = Some(id);
                let _ = self.notes.send(Note::Heard(bytes.len()));
                let mut buffer = self.lines.remove(&id).unwrap_or_default();
                buffer.extend_from_slice(bytes);
                while let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                    let line: Vec<u8> = buffer.drain(..=end).collect();
                    let line = String::from_utf8_lossy(&line[..end]).into_owned();
                    self.line(id, &line, env.now);
                    if line == "starttls" {
                        buffer.clear();
                    }
                }
                self.lines.insert(id, buffer);
                return self.effects.drain(..);
            }
            Event::Stuck(_) => Note::Stuck,
            Event::Drained(_) => Note::Drained,
            Event::Closed(id) => {
                self.streams.retain(|s| *s != id);
                Note::Closed
            }
            Event::Committed(batch) => Note::Committed(batch),
            Event::Tick => {
                self.deadline = None;
                Note::Ticked
            }
            Event::Reloaded(_) => Note::Reloaded,
            Event::Shutdown => {
                for id in self.streams.drain(..) {
                    self.effects.push(Effect::Write(id, Chunk::new(*b"bye\n")));
                    self.effects.push(Effect::Close(id));
                }
                self.effects.push(Effect::Stop);
                return self.effects.drain(..);
            }
            _ => return self.effects.drain(..),
        };
        let _ = self.notes.send(note);
        self.effects.drain(..)
    }

    fn settle(&mut self, _: &mut Env<'_>) -> Drain<'_, Effect> {
        self.effects.drain(..)
    }

    fn discard_turn(&mut self, _: &mut Env<'_>) -> Drain<'_, Effect> {
        self.effects.clear();
        self.effects.extend(self.current.take().map(Effect::Close));
        self.effects.drain(..)
    }

    fn check(&self) {}

    fn deadline(&self) -> Option<Time> {
        self.deadline
    }
}

// The house's thread.

enum Order {
    Reload(Box<Config>),
    Shutdown,
}

struct Running {
    clear: SocketAddr,
    direct: SocketAddr,
    admin: PathBuf,
    notes: Receiver<Note>,
    gate: Sender<()>,
    orders: smol::channel::Sender<Order>,
    thread: Option<JoinHandle<()>>,
    folder: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.orders.try_send(Order::Shutdown);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder of this test alone.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lampone-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("folder");
    folder
}

fn config(folder: &Path) -> Config {
    let mut config = Config { domains: vec!["one.example".into()], data: folder.into(), ..Config::default() };
    config.listen.c2s = vec!["127.0.0.1:0".parse().expect("address")];
    config.listen.c2s_tls = config.listen.c2s.clone();
    config
}

fn start(name: &str, change: impl FnOnce(&mut Config, &Path)) -> Running {
    let folder = folder(name);
    let mut config = config(&folder);
    change(&mut config, &folder);
    let (notes_in, notes) = channel();
    let (gate, gate_out) = channel();
    let (orders, orders_out) = smol::channel::unbounded();
    let (ready, addresses) = channel();
    let thread = std::thread::spawn(move || {
        let certificates = Certificates::load(&config, None, CipherOrder::default()).expect("certificates");
        let listeners = listen::open(&config).expect("listeners");
        let (mailbox, answers) = Mailbox::new();
        let house = Obedient::new(notes_in, gate_out);
        let store = Box::new(ForgetfulStore::new(mailbox));
        let driver =
            Driver::new(|_| Box::new(house), store, answers, certificates, config.limits.streams).expect("timer");
        ready.send(listeners.addresses()).expect("test");
        let listeners = listeners.serve(&driver).expect("reactor");
        let ears = driver.clone();
        driver.spawn(async move {
            while let Ok(order) = orders_out.recv().await {
                match order {
                    Order::Reload(config) => {
                        let now = Certificates::load(&config, Some(&ears.certificates()), CipherOrder::default());
                        ears.reload(Rc::new(*config), now.expect("certificates"));
                    }
                    Order::Shutdown => ears.post(Event::Shutdown),
                }
            }
        });
        async_io::block_on(driver.run());
        drop(listeners);
    });
    let addresses = addresses.recv().expect("the house starts");
    let admin = folder.join("admin.sock");
    Running { clear: addresses[0], direct: addresses[1], admin, notes, gate, orders, thread: Some(thread), folder }
}

impl Running {
    /// The next note that the test cares for.
    fn note<T>(&self, pick: impl Fn(Note) -> Option<T>) -> T {
        loop {
            let note = self.notes.recv_timeout(Duration::from_secs(20)).expect("a note");
            if let Some(found) = pick(note) {
                return found;
            }
        }
    }

    fn closed(&self) {
        self.note(|n| matches!(n, Note::Closed).then_some(()));
    }

    fn secured(&self) -> Secured {
        self.note(|n| if let Note::Secured(s) = n { Some(s) } else { None })
    }
}

// The client.

/// Believes any certificate, but checks that the signature fits it.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &known)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &known)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn client_config(version: &'static rustls::SupportedProtocolVersion, alpn: &[&[u8]]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    config
}

type Client = StreamOwned<ClientConnection, TcpStream>;

fn shake(config: &Arc<ClientConfig>, name: &str, socket: TcpStream) -> io::Result<Client> {
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    let name = ServerName::try_from(name.to_string()).expect("name");
    let mut client = StreamOwned::new(ClientConnection::new(config.clone(), name).expect("client"), socket);
    while client.conn.is_handshaking() {
        client.conn.complete_io(&mut client.sock)?;
    }
    Ok(client)
}

fn connect(config: ClientConfig, name: &str, address: SocketAddr) -> io::Result<Client> {
    shake(&Arc::new(config), name, TcpStream::connect(address)?)
}

fn plain13() -> ClientConfig {
    client_config(&TLS13, &[])
}

/// Reads one line.
fn line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        assert_eq!(stream.read(&mut byte).expect("a line"), 1, "the stream ended after {line:?}");
        line.push(byte[0]);
    }
    String::from_utf8(line).expect("text")
}

fn echoes(client: &mut (impl Read + Write), text: &str) {
    client.write_all(format!("echo {text}\n").as_bytes()).expect("write");
    assert_eq!(line(client), format!("{text}\n"));
}

fn exporter(client: &ClientConnection) -> [u8; 32] {
    client.export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(&[])).expect("exporter")
}

fn leaf_digest(client: &ClientConnection) -> Vec<u8> {
    let leaf = &client.peer_certificates().expect("certificates")[0];
    ring::digest::digest(&ring::digest::SHA256, leaf).as_ref().to_vec()
}

/// A certificate in files of its own.
fn made(folder: &Path, file: &str, names: &[&str]) -> Certificate {
    let key = rcgen::KeyPair::generate().expect("key");
    let names: Vec<String> = names.iter().map(|n| (*n).to_string()).collect();
    let certificate = rcgen::CertificateParams::new(names).expect("names").self_signed(&key).expect("certificate");
    let files =
        Certificate { certificate: folder.join(format!("{file}.crt")), key: folder.join(format!("{file}.key")) };
    fs::write(&files.certificate, certificate.pem()).expect("write");
    fs::write(&files.key, key.serialize_pem()).expect("write");
    files
}

// TLS.

#[test]
fn both_versions_bind_the_channel() {
    let house = start("bind", |_, _| {});
    for (version, name, has_exporter) in [(&TLS13, "1.3", true), (&TLS12, "1.2", false)] {
        let mut client = connect(client_config(version, &[]), "One.Example", house.direct).expect("handshake");
        echoes(&mut client, "hello");
        let secured = house.secured();
        assert_eq!(secured.version, name);
        assert_eq!(secured.server_name.as_deref(), Some("one.example"));
        assert_eq!(secured.binding.exporter, has_exporter.then(|| exporter(&client.conn)));
        assert_eq!(secured.binding.end_point.as_deref(), Some(&leaf_digest(&client.conn)[..]));
    }
}

#[test]
fn direct_tls_answers_alpn_and_refuses_strangers() {
    let house = start("alpn", |_, _| {});
    let both =
        connect(client_config(&TLS13, &[b"h2", b"xmpp-client"]), "one.example", house.direct).expect("handshake");
    assert_eq!(both.conn.alpn_protocol(), Some(&b"xmpp-client"[..]));
    let none = connect(plain13(), "one.example", house.direct).expect("handshake");
    assert_eq!(none.conn.alpn_protocol(), None);
    let refused = connect(client_config(&TLS13, &[b"http/1.1"]), "one.example", house.direct).expect_err("refusal");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    house.closed();
}

#[test]
fn each_domain_shows_its_own_certificate() {
    let house = start("sni", |config, folder| {
        config.domains = vec!["one.example".into(), "bücher.example".into()];
        config.certificates.insert("one.example".into(), made(folder, "one", &["one.example"]));
        config.certificates.insert("bücher.example".into(), made(folder, "two", &["xn--bcher-kva.example"]));
    });
    let digest = |name: &str| {
        let client = connect(plain13(), name, house.direct).expect("handshake");
        assert_eq!(house.secured().binding.end_point.as_deref(), Some(&leaf_digest(&client.conn)[..]));
        leaf_digest(&client.conn)
    };
    let (one, two) = (digest("one.example"), digest("xn--bcher-kva.example"));
    assert_ne!(one, two);
    assert_eq!(digest("unknown.example"), one);
    assert_eq!(digest("127.0.0.1"), one);
}

#[test]
fn starttls_drops_what_was_pipelined_in_clear() {
    let house = start("starttls", |_, _| {});
    let mut socket = TcpStream::connect(house.clear).expect("connect");
    socket.write_all(b"starttls\n").expect("write");
    // The house is held in its turn until these bytes lie in the socket.
    house.note(|n| matches!(n, Note::Heard(_)).then_some(()));
    socket.write_all(b"echo injected\n").expect("write");
    house.gate.send(()).expect("house");
    assert_eq!(line(&mut socket), "proceed\n");
    // ALPN does not matter here.
    let config = Arc::new(client_config(&TLS13, &[b"http/1.1"]));
    let mut client = shake(&config, "one.example", socket).expect("handshake");
    echoes(&mut client, "clean");
    let secured = house.secured();
    assert_eq!(secured.binding.exporter, Some(exporter(&client.conn)));
    assert_eq!(house.note(|n| if let Note::Heard(n) = n { Some(n) } else { None }), "echo clean\n".len());
}

#[test]
fn records_may_be_cut_anywhere() {
    let folder = folder("cut");
    let certificates = Certificates::load(&config(&folder), None, CipherOrder::default()).expect("certificates");
    for (version, cut) in [(&TLS13, 1), (&TLS12, 1), (&TLS13, 3), (&TLS13, 4_099), (&TLS12, 70_000)] {
        let name = ServerName::try_from("one.example").expect("name");
        let mut client = ClientConnection::new(Arc::new(client_config(version, &[])), name).expect("client");
        client.set_buffer_limit(None);
        let mut server = Tls::new(Start::Direct);
        let (mut heard, mut echoed, mut secured, mut sent) = (Vec::new(), Vec::new(), 0, false);
        let question: Vec<u8> = (0..40_000u32).map(|n| n as u8).collect();
        loop {
            let (mut up, mut down) = (Vec::new(), Vec::new());
            while client.wants_write() {
                client.write_tls(&mut up).expect("vector");
            }
            for mut piece in up.chunks(cut) {
                loop {
                    match server.step(&mut piece, &certificates).expect("no fault") {
                        Step::Hungry => break,
                        Step::Secured(_) => secured += 1,
                        Step::Plain => {
                            assert_eq!(secured, 1, "plaintext before Secured");
                            let plain = server.plain().to_vec();
                            server.consume(plain.len());
                            server.write(&plain);
                            heard.extend(plain);
                        }
                        Step::Closed => panic!("closed"),
                    }
                }
            }
            assert!(server.push(&mut down).expect("vector"));
            for piece in down.chunks(cut) {
                let mut piece = piece;
                while !piece.is_empty() {
                    client.read_tls(&mut piece).expect("vector");
                    client.process_new_packets().expect("no fault");
                    let _ = client.reader().read_to_end(&mut echoed);
                }
            }
            if !client.is_handshaking() && !sent {
                client.writer().write_all(&question).expect("no limit");
                sent = true;
            } else if up.is_empty() && down.is_empty() {
                break;
            }
        }
        assert!(heard == question && echoed == question, "{version:?} cut at {cut}");
        assert_eq!(secured, 1);
    }
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn noise_instead_of_tls_is_answered_by_an_alert() {
    let house = start("noise", |_, _| {});
    let mut socket = TcpStream::connect(house.direct).expect("connect");
    socket.write_all(b"<stream:stream xmlns='jabber:client'>").expect("write");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("end");
    assert_eq!(answer.first(), Some(&21), "an alert record");
    house.closed();
}

#[test]
fn a_reload_changes_certificates_and_drops_nobody() {
    let house = start("reload", |config, folder| config.tls = Some(made(folder, "one", &["one.example"])));
    let resuming = Arc::new(plain13());
    let mut early = shake(&resuming, "one.example", TcpStream::connect(house.direct).expect("connect")).expect("tls");
    echoes(&mut early, "before");
    let mut again = shake(&resuming, "one.example", TcpStream::connect(house.direct).expect("connect")).expect("tls");
    echoes(&mut again, "again");
    assert_eq!(again.conn.handshake_kind(), Some(HandshakeKind::Resumed));

    let mut new = config(&house.folder);
    new.tls = Some(made(&house.folder, "two", &["one.example"]));
    house.orders.try_send(Order::Reload(Box::new(new))).expect("house");
    house.note(|n| matches!(n, Note::Reloaded).then_some(()));
    echoes(&mut early, "after");
    let mut late = shake(&resuming, "one.example", TcpStream::connect(house.direct).expect("connect")).expect("tls");
    echoes(&mut late, "late");
    assert_eq!(late.conn.handshake_kind(), Some(HandshakeKind::Full), "tickets end with their certificate");
    assert_eq!(house.secured().binding.end_point.as_deref(), Some(&leaf_digest(&late.conn)[..]));
    assert_ne!(leaf_digest(&late.conn), leaf_digest(&early.conn));
}

#[test]
fn the_cipher_follows_the_processor() {
    let folder = folder("cipher");
    for (order, wanted) in [
        (CipherOrder::Aes, rustls::CipherSuite::TLS13_AES_128_GCM_SHA256),
        (CipherOrder::Chacha, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256),
    ] {
        let certificates = Certificates::load(&config(&folder), None, order).expect("certificates");
        let name = ServerName::try_from("one.example").expect("name");
        // rustls's client wishes AES-256 first, which costs more and protects a chat no better.
        let mut client = ClientConnection::new(Arc::new(plain13()), name).expect("client");
        let (mut server, mut up, mut down) = (Tls::new(Start::Direct), Vec::new(), Vec::new());
        client.write_tls(&mut up).expect("vector");
        assert!(matches!(server.step(&mut &up[..], &certificates), Ok(Step::Hungry)));
        server.push(&mut down).expect("vector");
        client.read_tls(&mut &down[..]).expect("vector");
        client.process_new_packets().expect("no fault");
        assert_eq!(client.negotiated_cipher_suite().map(|s| s.suite()), Some(wanted));
    }
    let _ = fs::remove_dir_all(folder);
}

// Certificates.

#[test]
fn the_self_signed_certificate_is_kept_until_the_domains_change() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("self");
    let mut config = config(&folder);
    let load = |config: &Config| Certificates::load(config, None, CipherOrder::default()).map(|_| ());
    load(&config).expect("certificates");
    let (file, key) = (folder.join("tls/one.example.crt"), folder.join("tls/one.example.key"));
    assert_eq!(fs::metadata(&key).expect("key").permissions().mode() & 0o777, 0o600);
    let first = fs::read(&file).expect("certificate");
    load(&config).expect("certificates");
    assert_eq!(fs::read(&file).expect("certificate"), first);
    config.domains.push("two.example".into());
    load(&config).expect("certificates");
    assert_ne!(fs::read(&file).expect("certificate"), first);
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn wrong_certificate_files_are_told_in_one_line() {
    let folder = folder("wrong");
    let (one, two) = (made(&folder, "one", &["one.example"]), made(&folder, "two", &["one.example"]));
    let told = |certificate: &Path, key: &Path| {
        let mut config = config(&folder);
        config.tls = Some(Certificate { certificate: certificate.into(), key: key.into() });
        let line = Certificates::load(&config, None, CipherOrder::default()).err().expect("an error");
        assert!(!line.contains('\n'));
        line
    };
    assert!(told(&one.certificate, &two.key).contains("does not belong"));
    assert!(told(&one.key, &one.key).contains("no certificate in it"));
    assert!(told(&one.certificate, &one.certificate).contains("no private key in it"));
    assert!(told(&folder.join("absent"), &one.key).contains("cannot be read"));
    let _ = fs::remove_dir_all(folder);
}

// Writing and closing.

#[test]
fn a_slow_reader_is_told_of_and_gets_everything() {
    let house = start("slow", |_, _| {});
    let mut client = connect(plain13(), "one.example", house.direct).expect("handshake");
    let mut asked = 0;
    loop {
        client.write_all(b"big 100000\n").expect("write");
        asked += 100_000;
        assert!(asked < 60_000_000, "the kernel takes everything");
        house.note(|n| matches!(n, Note::Heard(_)).then_some(()));
        if let Ok(Note::Stuck) = house.notes.recv_timeout(Duration::from_millis(10)) {
            break;
        }
    }
    let mut got = vec![0; asked];
    client.read_exact(&mut got).expect("all of it");
    assert!(got.iter().all(|b| *b == b'.'));
    house.note(|n| matches!(n, Note::Drained).then_some(()));
    echoes(&mut client, "lives");
}

#[test]
fn who_never_reads_is_closed_at_the_cap() {
    let house = start("cap", |_, _| {});
    let mut lazy = connect(plain13(), "one.example", house.direct).expect("handshake");
    let mut other = connect(plain13(), "one.example", house.direct).expect("handshake");
    let order = format!("big {}\n", limits::OUTBOX_BYTES_CAP);
    // What the kernel takes is bounded, so some of these go past the cap.
    for _ in 0..20 {
        if lazy.write_all(order.as_bytes()).is_err() {
            break;
        }
    }
    house.closed();
    echoes(&mut other, "lives");
}

#[test]
fn what_one_round_says_is_one_record() {
    let house = start("record", |_, _| {});
    let mut client = connect(plain13(), "one.example", house.direct).expect("handshake");
    echoes(&mut client, "tickets are behind us");
    client.write_all(b"echo a\necho b\nbig 5000\necho c\n").expect("write");
    let mut header = [0; 5];
    client.sock.read_exact(&mut header).expect("a record");
    let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
    // Content type and tag of TLS 1.3 come on top.
    assert_eq!(length, "a\nb\n".len() + 5_000 + "c\n".len() + 1 + 16);
}

#[test]
fn closing_writes_what_waits_first() {
    let house = start("closing", |_, _| {});
    let mut client = connect(plain13(), "one.example", house.direct).expect("handshake");
    // Unread input at close must not destroy the last words.
    client.write_all(b"big 3000000\nclose\necho unheard\n").expect("write");
    client.write_all(&[b'x'; 20_000]).expect("write");
    let mut got = Vec::new();
    client.read_to_end(&mut got).expect("close_notify, not a cut");
    assert_eq!(got.len(), 3_000_000 + "bye\n".len());
    assert!(got.ends_with(b"bye\n"));
    drop(client);
    let mut other = connect(plain13(), "one.example", house.direct).expect("handshake");
    echoes(&mut other, "lives");
    assert!(!house.notes.try_iter().any(|n| matches!(n, Note::Closed)), "no Closed after Close");
}

#[test]
fn an_ended_or_broken_connection_is_told_once() {
    let house = start("ended", |_, _| {});
    let half = TcpStream::connect(house.clear).expect("connect");
    half.shutdown(Shutdown::Write).expect("shutdown");
    house.closed();
    let polite = connect(plain13(), "one.example", house.direct).expect("handshake");
    let mut polite = polite;
    polite.conn.send_close_notify();
    polite.conn.complete_io(&mut polite.sock).expect("write");
    house.closed();
    let mut reset = TcpStream::connect(house.clear).expect("connect");
    reset.write_all(b"big 10\n").expect("write");
    house.note(|n| matches!(n, Note::Heard(_)).then_some(()));
    let mut one = [0];
    reset.read_exact(&mut one).expect("an answer");
    drop(reset); // With unread bytes: a reset.
    house.closed();
    assert!(house.notes.try_recv().is_err());
}

#[test]
fn shutdown_says_goodbye_to_everybody() {
    let mut house = start("shutdown", |_, _| {});
    let mut clients: Vec<_> =
        (0..5).map(|_| connect(plain13(), "one.example", house.direct).expect("handshake")).collect();
    clients.iter_mut().for_each(|client| echoes(client, "hello"));
    house.orders.try_send(Order::Shutdown).expect("house");
    for client in &mut clients {
        let mut last = String::new();
        client.read_to_string(&mut last).expect("close_notify");
        assert_eq!(last, "bye\n");
    }
    house.thread.take().expect("thread").join().expect("a quiet end");
    assert!(!house.admin.exists(), "the socket file is gone");
}

// The house's turns.

#[test]
fn a_panic_costs_one_stream() {
    let house = start("panic", |_, _| {});
    let mut poison = TcpStream::connect(house.clear).expect("connect");
    let mut other = TcpStream::connect(house.clear).expect("connect");
    echoes(&mut other, "before");
    poison.write_all(b"panic\n").expect("write");
    let mut rest = Vec::new();
    let _ = poison.read_to_end(&mut rest);
    assert_eq!(rest, b"", "effects of the turn are discarded");
    echoes(&mut other, "after");
}

#[test]
fn a_paused_stream_is_not_read_until_resumed() {
    let house = start("pause", |_, _| {});
    let mut paused = connect(plain13(), "one.example", house.direct).expect("handshake");
    let mut other = TcpStream::connect(house.clear).expect("connect");
    paused.write_all(b"pause\n").expect("write");
    assert_eq!(line(&mut paused), "paused\n");
    while house.notes.try_recv().is_ok() {}
    paused.write_all(b"echo later\n").expect("write");
    echoes(&mut other, "now");
    echoes(&mut other, "now");
    let heard = house.notes.try_iter().filter(|n| matches!(n, Note::Heard(_))).count();
    assert_eq!(heard, 2, "the other's two lines");
    other.write_all(b"resume\n").expect("write");
    assert_eq!(line(&mut paused), "later\n");
}

#[test]
fn deadlines_tick_and_commits_are_answered() {
    let house = start("tick", |_, _| {});
    let mut client = TcpStream::connect(house.clear).expect("connect");
    client.write_all(b"tick\n").expect("write");
    house.note(|n| matches!(n, Note::Ticked).then_some(()));
    client.write_all(b"commit\n").expect("write");
    assert_eq!(house.note(|n| if let Note::Committed(b) = n { Some(b) } else { None }), BatchId(7));
}

#[test]
fn the_house_is_full_at_its_limit() {
    let house = start("full", |config, _| config.limits.streams = 2);
    let mut held: Vec<_> = (0..2).map(|_| TcpStream::connect(house.clear).expect("connect")).collect();
    held.iter_mut().for_each(|client| echoes(client, "in"));
    let mut late = TcpStream::connect(house.clear).expect("connect");
    assert_eq!(late.read(&mut [0]).unwrap_or(0), 0, "closed at once");
    drop(held.pop());
    house.closed();
    let mut next = TcpStream::connect(house.clear).expect("connect");
    echoes(&mut next, "in");
}

#[test]
fn the_admin_socket_knows_who_comes() {
    let house = start("admin", |_, _| {});
    let mut local = std::os::unix::net::UnixStream::connect(&house.admin).expect("connect");
    echoes(&mut local, "hello");
    let door = house.note(|n| if let Note::Opened(door) = n { Some(door) } else { None });
    assert_eq!(door, Door::Local { uid: rustix::process::geteuid().as_raw() });
}

// The process.

/// The process of the tests below: serves with what this file's house understands, in the folder that it is given.
#[test]
#[ignore = "a process of its own, started by other tests"]
fn serving_process() {
    let Some(folder) = std::env::var_os("LAMPONE_TEST_SERVE").map(PathBuf::from) else { return };
    let again = config(&folder);
    let house = Obedient::new(channel().0, channel().1);
    system::serve(config(&folder), Box::new(move || Ok(again.clone())), Box::new(|_, _| Box::new(house)))
        .expect("quiet");
}

/// Starts it, with at most so many open files, and gives its addresses.
fn process(
    folder: &Path,
    files_max: u32,
    environment: &[(&str, &str)],
) -> (std::process::Child, SocketAddr, SocketAddr) {
    let mut child = std::process::Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -Sn 20 && ulimit -Hn {files_max} && exec \"$0\" --ignored --exact serving_process --nocapture"
        ))
        .arg(std::env::current_exe().expect("name"))
        .env("LAMPONE_TEST_SERVE", folder)
        .env_remove("JOURNAL_STREAM")
        .envs(environment.iter().copied())
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("server");
    let mut lines = io::BufReader::new(child.stderr.take().expect("stderr"));
    let (clear, direct) = loop {
        let text = line(&mut lines);
        if let Some((_, addresses)) = text.trim().split_once("serving one.example on ") {
            let (clear, direct) = addresses.split_once(" and ").expect("two addresses");
            break (clear.parse().expect("address"), direct.parse().expect("address"));
        }
    };
    // What follows is read to the end, so that the process never waits for us.
    std::thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
    (child, clear, direct)
}

fn signal(child: &std::process::Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("signal");
}

#[test]
fn the_process_tells_systemd_and_heeds_signals() {
    let folder = folder("process");
    let notices = std::os::unix::net::UnixDatagram::bind(folder.join("notify")).expect("socket");
    notices.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    let wait_for = |wanted: &str| {
        let mut buffer = [0; 512];
        loop {
            let length = notices.recv(&mut buffer).unwrap_or_else(|e| panic!("no {wanted}: {e}"));
            if String::from_utf8_lossy(&buffer[..length]).contains(wanted) {
                break;
            }
        }
    };
    let path = folder.join("notify");
    let environment = [("NOTIFY_SOCKET", path.to_str().expect("text")), ("WATCHDOG_USEC", "200000")];
    let (mut child, address, _) = process(&folder, 200, &environment);
    wait_for("READY=1");
    wait_for("WATCHDOG=1");
    wait_for("WATCHDOG=1");
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("limits");
    let files = limits.lines().find(|l| l.starts_with("Max open files")).expect("a line");
    assert_eq!(files.split_whitespace().filter(|word| *word == "200").count(), 2, "soft is raised to hard: {files}");

    let mut client = TcpStream::connect(address).expect("connect");
    echoes(&mut client, "before");
    signal(&child, rustix::process::Signal::HUP);
    wait_for("RELOADING=1");
    wait_for("READY=1");
    echoes(&mut client, "after");
    signal(&child, rustix::process::Signal::TERM);
    wait_for("STOPPING=1");
    let mut last = String::new();
    client.read_to_string(&mut last).expect("a clean end");
    assert_eq!(last, "bye\n");
    drop(client);
    assert!(child.wait().expect("end").success());
    assert!(!folder.join("admin.sock").exists());
    let _ = fs::remove_dir_all(folder);
}

#[test]
fn accepting_survives_a_lack_of_files() {
    let folder = folder("files");
    let (mut child, address, _) = process(&folder, 32, &[]);
    // The kernel takes them all; the process can accept some.
    let mut clients: Vec<_> = (0..40).map(|_| TcpStream::connect(address).expect("connect")).collect();
    echoes(&mut clients[0], "in");
    let mut late = clients.split_off(30);
    drop(clients);
    for client in &mut late {
        client.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        echoes(client, "in at last");
    }
    signal(&child, rustix::process::Signal::INT);
    assert!(child.wait().expect("end").success());
    let _ = fs::remove_dir_all(folder);
}

// Figures.

/// Resident bytes and context switches of a process, by thread.
fn status(pid: u32) -> (u64, Vec<(String, u64)>) {
    let number = |text: &str, key: &str| -> u64 {
        let line = text.lines().find(|l| l.starts_with(key)).unwrap_or("0 0");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
    };
    let whole = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("tasks").flatten() {
        let text = fs::read_to_string(task.path().join("status")).expect("status");
        let name = text.lines().next().unwrap_or_default().replace("Name:\t", "");
        threads.push((name, number(&text, "voluntary_ctxt_switches") + number(&text, "nonvoluntary_ctxt_switches")));
    }
    (number(&whole, "VmRSS") * 1024, threads)
}

#[test]
#[ignore = "prints figures; ten seconds of silence"]
fn idle_clients_cost_little() {
    const CLIENTS: u64 = 1_000;
    let folder = folder("idle");
    let (mut server, _, address) = process(&folder, 4_096, &[]);
    let join = || {
        let mut client = connect(plain13(), "one.example", address).expect("handshake");
        echoes(&mut client, "hello");
        client
    };
    let mut clients: Vec<_> = (0..100).map(|_| join()).collect();
    let (before, _) = status(server.id());
    clients.extend((0..CLIENTS).map(|_| join()));
    let (after, _) = status(server.id());
    std::thread::sleep(Duration::from_secs(1));
    let (_, quiet) = status(server.id());
    std::thread::sleep(Duration::from_secs(10));
    let (_, later) = status(server.id());
    println!("{} bytes per idle TLS 1.3 client, {} KiB in all", (after - before) / CLIENTS, after / 1024);
    println!("context switches before and after ten seconds: {quiet:?} {later:?}");
    assert!((after - before) / CLIENTS <= 10 * 1024);
    assert_eq!(quiet, later, "an idle process does not wake");
    drop(clients);
    signal(&server, rustix::process::Signal::TERM);
    assert!(server.wait().expect("end").success());
    let _ = fs::remove_dir_all(folder);
}
