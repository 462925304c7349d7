//! The adapters with real sockets on loopback, a house that obeys its clients, and rustls's own client as the opponent.

mod connections;
mod process;
mod tls;
mod web;

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

/// Milliseconds that the head of a request may take here.
const HEAD_MS: u64 = 300;

enum Order {
    Reload(Box<Config>),
    Shutdown,
}

struct Running {
    clear: SocketAddr,
    direct: SocketAddr,
    /// Where it is wanted.
    web: Option<SocketAddr>,
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
    config.listen.https = Vec::new();
    config.listen.s2s = Vec::new();
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
        driver.bound_heads(HEAD_MS);
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
        driver.run().expect("reactor");
        drop(listeners);
    });
    let addresses = addresses.recv().expect("the house starts");
    let admin = folder.join("admin.sock");
    let web = addresses.get(2).copied();
    Running { clear: addresses[0], direct: addresses[1], web, admin, notes, gate, orders, thread: Some(thread), folder }
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
