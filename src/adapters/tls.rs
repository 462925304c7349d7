//! TLS, and the only file that names rustls: its API moves, the product's types do not.
//! RFC 6120 §5, RFC 7590, XEP-0368 v1.1; channel bindings by RFC 9266 and RFC 5929 §4.
//!
//! The ClientHello is read before anything is chosen, so the certificate that a connection uses is known for certain,
//! and a connection keeps it when a reload brings another.
//!
//! Invariants: [`Step::Secured`] comes once and before any plaintext; TLS 1.3 and 1.2 only, no early data, no session
//! memory (compression and renegotiation do not exist in rustls); tickets end with the certificate they were given for.

mod asking;
mod certificate;
mod der;
mod peer;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::IpAddr,
    path::Path,
    rc::Rc,
    sync::Arc,
};

use ring::digest;
use rustls::{
    CipherSuite, Connection, ProtocolVersion, ServerConfig, SupportedCipherSuite,
    crypto::{CryptoProvider, ring as ring_provider},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{Acceptor, NoServerSessionStorage, ProducesTickets},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

pub use self::asking::asking;
use self::{
    der::Hash,
    peer::{Roots, Sides},
};
use crate::{
    config::{Certificate, Config},
    proto::sasl::ChannelBinding,
    router::event::{Secured, Target},
};

/// XEP-0368 v1.1, rules of the SRV records, 7 and 8.
const ALPN: &[u8] = b"xmpp-client";
/// RFC 7301 §6.
const ALPN_HTTP: &[u8] = b"http/1.1";
/// RFC 9266 §2.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Which cipher a connection gets when both sides know several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CipherOrder {
    /// By this processor: `Aes` if it has instructions for AES, else `Chacha`.
    #[default]
    Cpu,
    /// AES-128-GCM first, unless the client wishes ChaCha20: it may be the one without AES instructions.
    Aes,
    /// ChaCha20-Poly1305 first, whatever the client wishes: AES without instructions is slow and leaks by timing.
    Chacha,
}

/// How the TLS stream began, which decides about ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Straight after accept, XEP-0368: ALPN is answered, and another protocol is refused.
    Direct,
    /// Straight after accept at the web door: HTTP, whether ALPN says so or nothing.
    Web,
    /// After `<proceed/>`, RFC 6120 §5.4.3: the port has said what is spoken, ALPN is ignored.
    Upgraded,
    /// As `Direct`, with another server: it is asked for its certificate.
    PeerDirect,
    /// As `Upgraded`, with another server.
    PeerUpgraded,
}

/// One certificate with its key, ready for use.
struct Identity {
    /// In our order of ciphers.
    ours: Configs,
    /// In the client's order.
    theirs: Configs,
    /// With other servers.
    peers: Sides,
    end_point: Option<heapless::Vec<u8, 64>>,
    /// Digest of the chain: tells whether a reload brought another.
    print: digest::Digest,
    order: CipherOrder,
}

/// Settings by how the stream began.
struct Configs {
    direct: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
    upgraded: Arc<ServerConfig>,
}

impl Configs {
    fn new(upgraded: ServerConfig) -> Configs {
        let mut direct = upgraded.clone();
        direct.alpn_protocols = vec![ALPN.to_vec(), ALPN_HTTP.to_vec()];
        let mut web = upgraded.clone();
        web.alpn_protocols = vec![ALPN_HTTP.to_vec()];
        Configs { direct: Arc::new(direct), web: Arc::new(web), upgraded: Arc::new(upgraded) }
    }
}

impl Identity {
    fn config(&self, start: Start, suites: &[CipherSuite]) -> &Arc<ServerConfig> {
        let wishes = !self.order.chacha_first() && prefers_chacha(suites);
        let configs = if wishes { &self.theirs } else { &self.ours };
        match start {
            Start::Direct => &configs.direct,
            Start::Web => &configs.web,
            Start::Upgraded => &configs.upgraded,
            Start::PeerDirect => &self.peers.accepting_direct,
            Start::PeerUpgraded => &self.peers.accepting_upgraded,
        }
    }
}

/// The certificates of all domains; replaced as a whole.
pub struct Certificates {
    by_name: BTreeMap<String, Arc<Identity>>,
    default: Arc<Identity>,
    roots: Rc<Roots>,
}

impl Certificates {
    /// Reads every certificate that the settings name and makes the self-signed one where none is named. Identities
    /// that `previous` holds unchanged stay, and with them the tickets of their sessions.
    ///
    /// # Errors
    /// One line for the admin: which file, what was found, what would do.
    pub fn load(config: &Config, previous: Option<&Certificates>, order: CipherOrder) -> Result<Certificates, String> {
        let mut files: BTreeMap<Certificate, Arc<Identity>> = BTreeMap::new();
        let mut by_name = BTreeMap::new();
        let mut default = None;
        let mut own = None;
        for domain in &config.domains {
            let named = config.certificates.get(domain).or(config.tls.as_ref());
            let wanted = match (named, &own) {
                (Some(named), _) => named.clone(),
                (None, Some(own)) => Certificate::clone(own),
                (None, None) => own.insert(certificate::self_signed(&config.data, &config.domains)?).clone(),
            };
            let identity = match files.get(&wanted) {
                Some(identity) => identity.clone(),
                None => {
                    let identity = load_identity(&wanted, domain, previous, order)?;
                    files.insert(wanted, identity.clone());
                    identity
                }
            };
            default.get_or_insert_with(|| identity.clone());
            by_name.insert(certificate::ascii(domain), identity);
        }
        let default = default.ok_or("there is no domain to serve")?;
        let roots = Rc::new(Roots::new(config.roots.clone()));
        Ok(Certificates { by_name, default, roots })
    }

    /// Reads the certificates that the settings name, for `lampone check`; makes none.
    ///
    /// # Errors
    /// One line per file that will not do.
    pub fn check(config: &Config) -> Result<(), String> {
        let named = config
            .domains
            .iter()
            .filter_map(|domain| Some((domain, config.certificates.get(domain).or(config.tls.as_ref())?)));
        let faults =
            named.filter_map(|(domain, files)| load_identity(files, domain, None, CipherOrder::default()).err());
        let faults: Vec<_> = faults.collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }

    /// The identity for this server name, or that of the domain above it, as services have; the first domain's if the
    /// client names none or one that is not served.
    fn choose(&self, name: Option<&str>) -> &Arc<Identity> {
        let name = name.map(certificate::ascii);
        let found = name.and_then(|name| {
            let above = || self.by_name.get(name.split_once('.')?.1);
            self.by_name.get(&name).or_else(above)
        });
        found.unwrap_or(&self.default)
    }

    fn known(&self, print: &digest::Digest, order: CipherOrder) -> Option<Arc<Identity>> {
        let same = |i: &&Arc<Identity>| i.print.as_ref() == print.as_ref() && i.order == order;
        self.by_name.values().find(same).cloned()
    }
}

fn load_identity(
    files: &Certificate,
    domain: &str,
    previous: Option<&Certificates>,
    order: CipherOrder,
) -> Result<Arc<Identity>, String> {
    let pem = read(&files.certificate, "certificate")?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let chain = found.map_err(|e| format!("{}: broken PEM: {e}", files.certificate.display()))?;
    let Some(leaf) = chain.first() else {
        let holds = if pem.is_empty() { "the file is empty" } else { "there is no certificate in it" };
        let want = "wanted is a PEM file with -----BEGIN CERTIFICATE-----, the server's own first";
        return Err(format!("{}: {holds}; {want}", files.certificate.display()));
    };
    let pem = zeroize::Zeroizing::new(read(&files.key, "private key")?);
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        let want = "wanted is a PEM file with -----BEGIN PRIVATE KEY-----, not encrypted";
        format!("{}: there is no private key in it; {want}", files.key.display())
    })?;
    for warning in certificate::warnings(leaf, domain, super::clock::wall_us() / 1_000_000) {
        log::warn!("{}: {warning}", files.certificate.display());
    }
    let mut print = digest::Context::new(&digest::SHA256);
    chain.iter().for_each(|part| print.update(part));
    let print = print.finish();
    if let Some(same) = previous.and_then(|p| p.known(&print, order)) {
        return Ok(same);
    }
    let end_point = end_point(leaf);
    let provider = provider(order);
    let key = provider.key_provider.load_private_key(key);
    let key = key.map_err(|_| {
        format!("{}: this kind of private key is not supported; ECDSA P-256 or RSA would do", files.key.display())
    })?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| {
        let (key, certificate) = (files.key.display(), files.certificate.display());
        format!(
            "{key}: this key does not belong to the certificate in {certificate}; give the two that were made together"
        )
    })?;
    let identity = Identity::new(certified, end_point, print, provider, order);
    identity.map(Arc::new).map_err(|e| format!("{}: {e}", files.certificate.display()))
}

fn read(file: &Path, what: &str) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|e| format!("{}: the {what} cannot be read: {e}", file.display()))
}

impl Identity {
    fn new(
        certified: CertifiedKey,
        end_point: Option<heapless::Vec<u8, 64>>,
        print: digest::Digest,
        provider: CryptoProvider,
        order: CipherOrder,
    ) -> Result<Identity, rustls::Error> {
        let resolver = Arc::new(SingleCertAndKey::from(certified));
        let provider = Arc::new(provider);
        let peers = Sides::new(&provider, &resolver)?;
        let ticketer: Arc<dyn ProducesTickets> = ring_provider::Ticketer::new()?;
        let mut upgraded = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        upgraded.session_storage = Arc::new(NoServerSessionStorage {});
        upgraded.ticketer = ticketer;
        upgraded.send_tls13_tickets = 1;
        let theirs = Configs::new(upgraded.clone());
        upgraded.ignore_client_order = true;
        Ok(Identity { ours: Configs::new(upgraded), theirs, peers, end_point, print, order })
    }
}

impl CipherOrder {
    fn chacha_first(self) -> bool {
        match self {
            CipherOrder::Aes => false,
            CipherOrder::Chacha => true,
            CipherOrder::Cpu => !cpu_has_aes(),
        }
    }
}

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn cpu_has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn cpu_has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(target_arch = "arm")]
fn cpu_has_aes() -> bool {
    // `HWCAP2_AES` of a 32-bit system.
    rustix::param::linux_hwcap().1 & 1 != 0
}

#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
fn cpu_has_aes() -> bool {
    false
}

/// Whether a client names ChaCha20 before AES, as those do that have no AES instructions.
fn prefers_chacha(suites: &[CipherSuite]) -> bool {
    suites.iter().find_map(|suite| match suite {
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => Some(true),
        CipherSuite::TLS13_AES_128_GCM_SHA256
        | CipherSuite::TLS13_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        | CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => Some(false),
        _ => None,
    }) == Some(true)
}

/// rustls's ring provider with its suites in our order; ECDSA stays before RSA.
fn provider(order: CipherOrder) -> CryptoProvider {
    let mut provider = ring_provider::default_provider();
    let chacha = order.chacha_first();
    provider.cipher_suites.sort_by_key(|suite| {
        let rank = match suite.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 1,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => {
                if chacha {
                    0
                } else {
                    3
                }
            }
            _ => 2,
        };
        (matches!(suite, SupportedCipherSuite::Tls12(_)), rank)
    });
    provider
}

/// `tls-server-end-point`, RFC 5929 §4.1.
fn end_point(certificate: &[u8]) -> Option<heapless::Vec<u8, 64>> {
    let algorithm = match der::signature_hash(certificate)? {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    };
    heapless::Vec::from_slice(digest::digest(algorithm, certificate).as_ref()).ok()
}

/// What came of the bytes.
#[derive(Debug)]
pub enum Step {
    /// The handshake is complete.
    Secured(Secured),
    /// There is plaintext: take it by [`Tls::plain`] and [`Tls::consume`].
    Plain,
    /// All bytes are taken; more are needed.
    Hungry,
    /// The peer said that it sends nothing more.
    Closed,
}

/// One TLS connection: the server's side, or ours when we connected to another server. About 7.5 KB in all when idle (4 KB of it rustls's input buffer).
pub struct Tls {
    state: State,
    start: Start,
    end_point: Option<heapless::Vec<u8, 64>>,
    told: bool,
    peer_closed: bool,
}

enum State {
    Hello(Acceptor),
    Open(Connection),
    /// Over; what rustls wants said about it.
    Failed(Vec<u8>),
}

/// Bytes for rustls. Says `WouldBlock` at the end, never end of file: rustls then gives back its large buffer.
struct Feed<'f, 'b>(&'f mut &'b [u8]);

impl Read for Feed<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { self.0.read(buffer) }
    }
}

impl Tls {
    /// A connection that we opened to another server; [`Tls::push`] says the ClientHello.
    ///
    /// # Errors
    /// The target is no name that TLS knows.
    pub fn dial(target: &Target, direct: bool, certificates: &Certificates) -> Result<Tls, String> {
        let sides = &certificates.choose(Some(&target.from)).peers;
        let mut open = Connection::Client(sides.dial(&target.domain, direct)?);
        open.set_buffer_limit(None);
        let start = if direct { Start::PeerDirect } else { Start::PeerUpgraded };
        Ok(Tls { state: State::Open(open), start, end_point: None, told: false, peer_closed: false })
    }

    /// A connection that waits for the ClientHello.
    pub fn new(start: Start) -> Tls {
        Tls { state: State::Hello(Acceptor::default()), start, end_point: None, told: false, peer_closed: false }
    }

    /// Takes bytes of the socket from the front of `feed` until there is something to tell. Call it until it says
    /// [`Step::Hungry`] or [`Step::Closed`], then [`Tls::push`], for TLS may have something to send.
    ///
    /// # Errors
    /// The connection is over; the text is for the log. [`Tls::push`] still sends the alert.
    pub fn step(&mut self, feed: &mut &[u8], certificates: &Certificates) -> Result<Step, String> {
        loop {
            match &mut self.state {
                State::Failed(_) => return Err("the connection has failed".into()),
                State::Hello(acceptor) => {
                    match acceptor.read_tls(&mut Feed(feed)) {
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Hungry),
                        Err(e) => return Err(e.to_string()),
                        Ok(_) => {}
                    }
                    self.accept(certificates)?;
                }
                State::Open(open) => {
                    if !open.is_handshaking() {
                        if !self.told {
                            self.told = true;
                            return Ok(Step::Secured(secured(open, self.end_point.take(), &certificates.roots)));
                        }
                        if open.reader().into_first_chunk().is_ok_and(|chunk| !chunk.is_empty()) {
                            return Ok(Step::Plain);
                        }
                    }
                    if self.peer_closed {
                        return Ok(Step::Closed);
                    }
                    match open.read_tls(&mut Feed(feed)) {
                        Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Step::Hungry),
                        Err(e) => return Err(e.to_string()),
                        Ok(_) => {}
                    }
                    self.peer_closed = open.process_new_packets().map_err(|e| e.to_string())?.peer_has_closed();
                }
            }
        }
    }

    /// Chooses a certificate once the ClientHello is complete.
    fn accept(&mut self, certificates: &Certificates) -> Result<(), String> {
        let State::Hello(acceptor) = &mut self.state else { return Ok(()) };
        let outcome = match acceptor.accept() {
            Ok(None) => return Ok(()),
            Ok(Some(accepted)) => {
                let identity = certificates.choose(accepted.client_hello().server_name());
                let config = identity.config(self.start, accepted.client_hello().cipher_suites());
                self.end_point.clone_from(&identity.end_point);
                accepted.into_connection(config.clone()).map(Connection::Server)
            }
            Err(refused) => Err(refused),
        };
        match outcome {
            Ok(mut open) => {
                // Bounds are the driver's business: it hands over no more than it allows to wait.
                open.set_buffer_limit(None);
                let state = open.process_new_packets().map_err(|e| e.to_string());
                self.state = State::Open(open);
                self.peer_closed = state?.peer_has_closed();
                Ok(())
            }
            Err((error, mut alert)) => {
                let mut last_words = Vec::new();
                // Writing into a Vec does not fail.
                let _ = alert.write_all(&mut last_words);
                self.state = State::Failed(last_words);
                Err(error.to_string())
            }
        }
    }

    /// Whether the client wants to speak HTTP, as far as ALPN tells; known with [`Step::Secured`].
    pub fn speaks_http(&self) -> bool {
        matches!(&self.state, State::Open(open) if open.alpn_protocol() == Some(ALPN_HTTP))
    }

    /// The plaintext at hand, one record's at most.
    pub fn plain(&mut self) -> &[u8] {
        match &mut self.state {
            State::Open(open) => open.reader().into_first_chunk().unwrap_or_default(),
            _ => &[],
        }
    }

    /// The first `length` bytes of [`Tls::plain`] were used.
    pub fn consume(&mut self, length: usize) {
        if let State::Open(open) = &mut self.state {
            io::BufRead::consume(&mut open.reader(), length);
        }
    }

    /// Encrypts; the records wait for [`Tls::push`]. Before the handshake is complete nothing is sent.
    pub fn write(&mut self, plain: &[u8]) {
        if let State::Open(open) = &mut self.state
            && !open.is_handshaking()
        {
            // With no limit set, rustls takes everything.
            let _ = open.writer().write_all(plain);
        }
    }

    /// Writes what waits. `false`: the socket takes no more for now.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn push(&mut self, socket: &mut dyn Write) -> io::Result<bool> {
        let outcome = match &mut self.state {
            State::Hello(_) => Ok(()),
            State::Failed(last_words) => {
                let words = std::mem::take(last_words);
                socket.write_all(&words)
            }
            State::Open(open) => loop {
                if !open.wants_write() {
                    break Ok(());
                }
                match open.write_tls(socket) {
                    Ok(_) => {}
                    Err(e) => break Err(e),
                }
            },
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Whether [`Tls::push`] has something to do.
    pub fn wants_push(&self) -> bool {
        match &self.state {
            State::Hello(_) => false,
            State::Failed(last_words) => !last_words.is_empty(),
            State::Open(open) => open.wants_write(),
        }
    }

    /// Says `close_notify`, to be sent by [`Tls::push`].
    pub fn close(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.send_close_notify();
        }
    }
}

fn secured(open: &Connection, end_point: Option<heapless::Vec<u8, 64>>, roots: &Roots) -> Secured {
    let tls13 = open.protocol_version() == Some(ProtocolVersion::TLSv1_3);
    // RFC 9266 §4.2 allows it below TLS 1.3 only with extended master secrets; clients do not try, so neither do we.
    let exporter = tls13.then(|| open.export_keying_material([0; 32], EXPORTER_LABEL, None).ok()).flatten();
    let server_name = match open {
        Connection::Server(open) => open.server_name(),
        Connection::Client(_) => None,
    };
    Secured {
        binding: ChannelBinding { exporter, end_point },
        // An IP address is no server name (RFC 6066 §3), and rustls passes none on.
        server_name: server_name.filter(|n| n.parse::<IpAddr>().is_err()).map(str::to_ascii_lowercase),
        version: if tls13 { "1.3" } else { "1.2" },
        peer: open.peer_certificates().and_then(|chain| roots.judge(chain)).map(Box::new),
    }
}
