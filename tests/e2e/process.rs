//! The real binary as a stage: a process with a data directory of its own, and clients on sockets.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{
    messages::{self, Messages},
    requests::Requests,
    stage::{
        Conn, Stage,
        world::{DOMAIN, PASSWORD, World},
    },
};

/// Milliseconds after which somebody who waits for bytes gives up.
const PATIENCE_MS: u64 = 5_000;

/// The process and all connections to it.
pub struct Process {
    child: Child,
    data: PathBuf,
    plain: SocketAddr,
    direct: SocketAddr,
    /// The web door.
    pub web: SocketAddr,
    /// Connections by direct TLS go to the web door, RFC 7395.
    pub by_websocket: bool,
    /// The same by XEP-0124.
    pub by_bosh: bool,
    admins: String,
    sets: Vec<String>,
    lines: Vec<Line>,
    tls: Arc<ClientConfig>,
}

struct Line {
    socket: Option<TcpStream>,
    tls: Option<Box<ClientConnection>>,
    /// The stream is in WebSocket messages.
    messages: Option<Messages>,
    /// The stream is in requests and answers.
    requests: Option<Requests>,
    ahead: Vec<u8>,
}

/// Ports that nobody has, each another. They lie below those that the kernel gives away, so that no connection of a test
/// beside this one gets them before the server does.
fn free_ports() -> [SocketAddr; 3] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 22_000;
    [(); 3].map(|()| {
        let free = (0..COUNT).find_map(|_| {
            let at = (std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))) % COUNT;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::try_from(FIRST + at).ok()?));
            TcpListener::bind(address).is_ok().then_some(address)
        });
        free.expect("a free port")
    })
}

impl Process {
    /// Starts the server and makes the accounts.
    pub fn start(name: &str, accounts: &[String]) -> Process {
        Process::start_with(name, accounts, &[])
    }

    /// The same with settings of its own.
    pub fn start_with(name: &str, accounts: &[String], sets: &[String]) -> Process {
        let data = std::env::temp_dir().join(format!("lampone-e2e-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&data);
        fs::create_dir_all(&data).expect("a directory");
        let [plain, direct, web] = free_ports();
        let admins = accounts.iter().filter_map(|name| name.strip_suffix('!'));
        let admins = admins.map(|name| format!("{name}@{DOMAIN}")).collect::<Vec<_>>().join(",");
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting(ring::default_provider())))
            .with_no_client_auth();
        let child = spawn(&data, [plain, direct, web], &admins, sets);
        let process = Process {
            child,
            data,
            plain,
            direct,
            web,
            by_websocket: false,
            by_bosh: false,
            sets: sets.to_vec(),
            admins,
            lines: Vec::new(),
            tls: Arc::new(tls),
        };
        process.add_accounts(accounts);
        process
    }

    fn add_accounts(&self, accounts: &[String]) {
        let lines = accounts.iter().map(|name| format!("{}@{DOMAIN} {PASSWORD}\n", name.trim_end_matches('!')));
        let file = self.data.join("accounts");
        fs::write(&file, lines.collect::<String>()).expect("a file");
        let mut command = lampone();
        command.args(["user", "add", "--from"]).arg(&file).arg("--data").arg(&self.data);
        let done = command.output().expect("the command runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    /// Runs a command of the server's command line; what it printed.
    pub fn command(&self, words: &[&str]) -> String {
        let done = lampone().args(words).arg("--data").arg(&self.data).output().expect("the command runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Reads until something came, the other side closed, or patience ended.
    fn read(&mut self, conn: Conn) -> Vec<u8> {
        let line = &mut self.lines[conn];
        if !line.ahead.is_empty() {
            return std::mem::take(&mut line.ahead);
        }
        if let Some(mut requests) = line.requests.take() {
            let out = requests.take(|| self.browse(self.web));
            self.lines[conn].requests = Some(requests);
            return out;
        }
        let Some(socket) = &mut line.socket else { return Vec::new() };
        let mut buffer = vec![0; 64 * 1024];
        let read = match &mut line.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), socket).read(&mut buffer),
            None => socket.read(&mut buffer),
        };
        match read {
            Ok(size) if size > 0 => {
                buffer.truncate(size);
                let Some(messages) = &mut line.messages else { return buffer };
                let heard = messages.hear(&buffer);
                // Half a message is none.
                if heard.is_empty() { self.read(conn) } else { heard }
            }
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Vec::new(),
            _ => {
                line.socket = None;
                Vec::new()
            }
        }
    }
}

/// The binary; `LAMPONE_UNDER_TEST` names another, such as one for a board with its emulator before it.
fn lampone() -> Command {
    let other = std::env::var("LAMPONE_UNDER_TEST").unwrap_or_default();
    let mut words = other.split(' ').filter(|word| !word.is_empty());
    let mut command = Command::new(words.next().unwrap_or(env!("CARGO_BIN_EXE_lampone")));
    command.args(words);
    command
}

/// Starts the binary and waits until it says that it is ready, as systemd does.
fn spawn(data: &Path, [plain, direct, web]: [SocketAddr; 3], admins: &str, sets: &[String]) -> Child {
    let notices = data.join("notify");
    let _ = fs::remove_file(&notices);
    let ready = UnixDatagram::bind(&notices).expect("a socket");
    ready.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS))).expect("a timeout");
    let log = fs::File::options().create(true).append(true).open(data.join("log")).expect("a log");
    let mut command = lampone();
    command
        .args(["serve", "--domain", DOMAIN, "--data"])
        .arg(data)
        .arg("--set")
        .arg(format!("listen.c2s={plain}"))
        .arg("--set")
        .arg(format!("listen.c2s_tls={direct}"))
        .arg("--set")
        .arg(format!("listen.https={web}"))
        .args(["--set", "listen.s2s=none"])
        .env("NOTIFY_SOCKET", &notices)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    for set in sets {
        command.args(["--set", set]);
    }
    if !admins.is_empty() {
        command.arg("--set").arg(format!("admins={admins}"));
    }
    let child = command.spawn().expect("the binary starts");
    let mut notice = [0; 512];
    loop {
        match ready.recv(&mut notice) {
            Ok(size) if String::from_utf8_lossy(&notice[..size]).contains("READY=1") => return child,
            Ok(_) => {}
            Err(e) => panic!("not ready: {e}\n{}", fs::read_to_string(data.join("log")).unwrap_or_default()),
        }
    }
}

/// What came back from the web door.
#[derive(Debug)]
pub struct Reply {
    /// The status code; 0: the connection closed without an answer.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// What stood behind it.
    pub body: Vec<u8>,
}

impl Reply {
    fn read(bytes: &[u8]) -> Reply {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(bytes.len());
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Reply { status, head, body: bytes.get(end + 4..).unwrap_or_default().to_vec() }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

impl Process {
    /// A TLS connection to the web door, or to the one for direct TLS, which offers HTTP by ALPN.
    pub fn browse(&self, to: SocketAddr) -> rustls::StreamOwned<ClientConnection, TcpStream> {
        let mut config = (*self.tls).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(DOMAIN).expect("a name");
        let socket = TcpStream::connect(to).expect("a connection");
        socket.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS))).expect("a timeout");
        rustls::StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("TLS"), socket)
    }

    /// A TLS client that wants to speak to this name.
    pub fn tls_to(&self, name: &'static str) -> ClientConnection {
        ClientConnection::new(self.tls.clone(), ServerName::try_from(name).expect("a name")).expect("TLS")
    }

    /// The same with these protocols (RFC 7301).
    pub fn tls_offering(&self, name: &'static str, protocols: &[&str]) -> ClientConnection {
        let mut config = rustls::ClientConfig::clone(&self.tls);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        ClientConnection::new(config.into(), ServerName::try_from(name).expect("a name")).expect("TLS")
    }

    /// The STARTTLS door.
    pub fn plain(&self) -> SocketAddr {
        self.plain
    }

    /// Sends bytes as they stand.
    pub fn put_raw(&mut self, conn: Conn, bytes: &[u8]) {
        let line = &mut self.lines[conn];
        let (Some(tls), Some(socket)) = (&mut line.tls, &mut line.socket) else { return };
        let _ = rustls::Stream::new(tls.as_mut(), socket).write_all(bytes);
    }

    fn connect_by_websocket(&mut self) -> Conn {
        let mut line = self.browse(self.web);
        line.write_all(messages::handshake(DOMAIN).as_bytes()).expect("a handshake");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            line.read_exact(&mut byte).expect("an answer");
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n"), "{head}");
        assert!(head.contains("sec-websocket-protocol: xmpp\r\n"), "{head}");
        let (tls, socket) = line.into_parts();
        let conn = self.lines.len();
        let (socket, tls) = (Some(socket), Some(Box::new(tls)));
        self.lines.push(Line { socket, tls, messages: Some(Messages::default()), requests: None, ahead: Vec::new() });
        conn
    }

    /// Says this to the web door and hears all that comes back until the connection closes.
    pub fn web(&self, request: &[u8]) -> Reply {
        self.web_at(self.web, request)
    }

    /// The same at another door.
    pub fn web_at(&self, to: SocketAddr, request: &[u8]) -> Reply {
        let mut line = self.browse(to);
        // The server may refuse before it has read all.
        let _ = line.write_all(request);
        let mut out = Vec::new();
        let _ = line.read_to_end(&mut out);
        Reply::read(&out)
    }

    /// A request without a body, after which the connection closes.
    pub fn request(&self, method: &str, path: &str, headers: &str) -> Reply {
        self.web(format!("{method} {path} HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n{headers}\r\n").as_bytes())
    }

    /// The same with one.
    pub fn send(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reply {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.web(&[head.as_bytes(), body].concat())
    }

    /// The direct TLS door.
    pub fn direct(&self) -> SocketAddr {
        self.direct
    }

    /// The folder of data.
    pub fn data(&self) -> &Path {
        &self.data
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

impl Stage for Process {
    fn connect(&mut self, direct: bool) -> Conn {
        if direct && self.by_websocket {
            return self.connect_by_websocket();
        }
        if direct && self.by_bosh {
            let requests = Some(Requests::new(DOMAIN));
            self.lines.push(Line { socket: None, tls: None, messages: None, requests, ahead: Vec::new() });
            return self.lines.len() - 1;
        }
        let socket = TcpStream::connect(if direct { self.direct } else { self.plain }).expect("a connection");
        socket.set_nodelay(true).expect("an option");
        socket.set_read_timeout(Some(Duration::from_millis(PATIENCE_MS))).expect("a timeout");
        let conn = self.lines.len();
        self.lines.push(Line { socket: Some(socket), tls: None, messages: None, requests: None, ahead: Vec::new() });
        if direct {
            self.secure(conn);
        }
        conn
    }

    fn put(&mut self, conn: Conn, bytes: &[u8]) {
        if let Some(mut requests) = self.lines[conn].requests.take() {
            requests.put(bytes, || self.browse(self.web));
            self.lines[conn].requests = Some(requests);
            return;
        }
        let line = &mut self.lines[conn];
        let Some(socket) = &mut line.socket else { return };
        let framed = line.messages.is_some().then(|| messages::say(bytes));
        let bytes = framed.as_deref().unwrap_or(bytes);
        // The other side may have closed already; the test learns it when it reads.
        let _ = match &mut line.tls {
            Some(tls) => rustls::Stream::new(tls.as_mut(), socket).write_all(bytes),
            None => socket.write_all(bytes),
        };
    }

    fn take(&mut self, conn: Conn) -> Vec<u8> {
        self.read(conn)
    }

    fn secure(&mut self, conn: Conn) {
        let name = ServerName::try_from(DOMAIN).expect("a name");
        let mut tls = ClientConnection::new(self.tls.clone(), name).expect("TLS");
        let line = &mut self.lines[conn];
        let socket = line.socket.as_mut().expect("a connection");
        while tls.is_handshaking() {
            tls.complete_io(socket).expect("a handshake");
        }
        line.tls = Some(Box::new(tls));
    }

    fn is_closed(&mut self, conn: Conn) -> bool {
        if self.lines[conn].ahead.is_empty() {
            let bytes = self.read(conn);
            self.lines[conn].ahead = bytes;
        }
        let line = &self.lines[conn];
        let is_over = line.requests.as_ref().map_or(line.socket.is_none(), |requests| requests.is_over);
        is_over && line.ahead.is_empty()
    }

    fn cut(&mut self, conn: Conn) {
        let line = &mut self.lines[conn];
        line.socket = None;
        line.ahead.clear();
        if let Some(requests) = &mut line.requests {
            requests.cut();
        }
    }

    fn power_cut(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for line in &mut self.lines {
            line.socket = None;
            if let Some(requests) = &mut line.requests {
                requests.cut();
            }
        }
        self.child = spawn(&self.data, [self.plain, self.direct, self.web], &self.admins, &self.sets);
    }

    fn house(&mut self) -> Option<&mut World> {
        None
    }
}

/// Trusts the server's self-signed certificate, whose making other tests look at.
#[derive(Debug)]
struct Trusting(CryptoProvider);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
