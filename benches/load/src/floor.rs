//! What TLS and the kernel alone take to bring a text to many: one record to each connection, written by a thread that does
//! nothing else. No server is faster without other cryptography or other system calls.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Barrier},
    thread,
};

use rustls::{
    ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};

/// How much of it, and with what.
pub struct Floor<'a> {
    pub connections: usize,
    /// Rounds that are measured; each writes to every connection once.
    pub rounds: u32,
    /// Bytes of a copy.
    pub bytes: usize,
    pub certificate: &'a str,
    pub key: &'a str,
}

/// Writes and reads on loopback; a line of JSON with the writer's CPU time.
///
/// # Errors
/// The certificate or a connection is of no use.
pub fn run(floor: &Floor<'_>, domain: &str, tls: Arc<ClientConfig>) -> io::Result<String> {
    let chain: Vec<_> =
        CertificateDer::pem_file_iter(floor.certificate).and_then(Iterator::collect).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(floor.key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut far = Vec::with_capacity(floor.connections);
    let mut near = Vec::with_capacity(floor.connections);
    for _ in 0..floor.connections {
        let name = ServerName::try_from(domain.to_owned()).map_err(io::Error::other)?;
        let client = ClientConnection::new(tls.clone(), name).map_err(io::Error::other)?;
        let mut reader = StreamOwned::new(client, TcpStream::connect(listener.local_addr()?)?);
        let (socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        let server = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
        let mut writer = StreamOwned::new(server, socket);
        // Both ends of a handshake have to move.
        let moved = thread::spawn(move || reader.write_all(b"!").map(|()| reader));
        writer.read_exact(&mut [0])?;
        far.push(moved.join().map_err(|_| io::Error::other("a reader fell"))??);
        near.push(writer);
    }
    let (bytes, rounds) = (floor.bytes, floor.rounds);
    let (begin, end) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (may, done) = (begin.clone(), end.clone());
    let writer = thread::spawn(move || -> io::Result<u64> {
        let text = vec![b'a'; bytes];
        let before = cpu_ns()?;
        for _ in 0..rounds {
            may.wait();
            for connection in &mut near {
                connection.write_all(&text)?;
                connection.flush()?;
            }
            done.wait();
        }
        cpu_ns().map(|after| after - before)
    });
    let mut copy = vec![0; bytes];
    for _ in 0..rounds {
        begin.wait();
        far.iter_mut().try_for_each(|connection| connection.read_exact(&mut copy))?;
        end.wait();
    }
    let cpu_ns = writer.join().map_err(|_| io::Error::other("the writer fell"))??;
    let copies = u64::from(rounds) * floor.connections as u64;
    Ok(format!("{{\"scenario\":\"floor\",\"copies\":{copies},\"cpu_ns\":{cpu_ns}}}"))
}

/// What the calling thread has spent; proc(5), `schedstat`.
fn cpu_ns() -> io::Result<u64> {
    let spent = fs::read_to_string("/proc/thread-self/schedstat")?;
    spent.split(' ').next().and_then(|ns| ns.parse().ok()).ok_or_else(|| io::Error::other("no schedstat"))
}
