//! Proxies in front of the doors, and another web server behind one of them.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread::JoinHandle,
    time::Duration,
};

use rustls::StreamOwned;

use crate::{process::Process, stage::world::DOMAIN};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn connect(to: SocketAddr, header: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // In two pieces, as networks do it.
    let (first, second) = header.split_at(header.len() / 2);
    socket.write_all(first).unwrap();
    socket.write_all(second).unwrap();
    socket
}

/// The status of a page behind such a header; 0: the connection closed.
fn ask(process: &Process, header: &[u8], path: &str) -> u16 {
    let mut line = StreamOwned::new(process.tls_to(DOMAIN), connect(process.web, header));
    let request = format!("GET {path} HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n\r\n");
    let _ = line.write_all(request.as_bytes());
    let mut out = String::new();
    let _ = line.read_to_string(&mut out);
    out.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn a_proxy_says_whose_connection_it_is() {
    // The PROXY protocol §2. Figures are for this machine only, which tells whom the server believes to see.
    let process = Process::start_with("proxy-header", &[], &["listen.proxy_protocol=127.0.0.1".to_owned()]);
    let far = [SIGNATURE, &[0x21, 0x11, 0, 12, 203, 0, 113, 7, 127, 0, 0, 1, 0, 1, 0, 2]].concat();
    let own = [SIGNATURE, &[0x20, 0, 0, 0]].concat();
    for (header, expected) in [
        (&b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n"[..], 404),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", 404),
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", 200),
        (b"PROXY UNKNOWN\r\n", 200),
        (&far, 404),
        (&own, 200),
        // It must say so, and nothing else.
        (b"", 0),
        (b"PROXY TCP4 203.0.113.7\r\n", 0),
    ] {
        assert_eq!(ask(&process, header, "/metrics"), expected, "{}", String::from_utf8_lossy(header));
    }
    let mut plain =
        connect(process.plain(), b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n<stream:stream to='capulet.lit' ");
    plain.write_all(b"version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>").unwrap();
    let mut heard = String::new();
    while !heard.contains("<starttls") {
        let mut some = [0; 1024];
        let size = plain.read(&mut some).unwrap();
        assert!(size > 0, "{heard}");
        heard += &String::from_utf8_lossy(&some[..size]);
    }
}

#[test]
fn nobody_else_says_whose_connection_it_is() {
    // S44.
    let process = Process::start_with("proxy-stranger", &[], &["listen.proxy_protocol=192.0.2.0/24".to_owned()]);
    assert_eq!(ask(&process, b"", "/metrics"), 200);
    assert_eq!(ask(&process, b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\n", "/metrics"), 0);
}

/// Another server: what comes to its first connection goes back, so that the client sees its own words.
fn echo() -> (SocketAddr, JoinHandle<()>) {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let behind = std::thread::spawn(move || {
        let (mut socket, _) = upstream.accept().unwrap();
        let mut back = socket.try_clone().unwrap();
        std::io::copy(&mut socket, &mut back).unwrap();
        back.shutdown(std::net::Shutdown::Both).unwrap();
    });
    (address, behind)
}

/// Says so much at a door and hears the same.
fn hears_itself(door: SocketAddr, said: &[u8]) {
    let mut socket = connect(door, said);
    socket.shutdown(std::net::Shutdown::Write).unwrap();
    let mut echo = Vec::new();
    socket.read_to_end(&mut echo).unwrap();
    assert!(echo == said, "{} of {} bytes", echo.len(), said.len());
}

#[test]
fn an_authority_asks_whoever_gets_the_certificate() {
    // RFC 8737 §3: by the only protocol `acme-tls/1`, for a name of ours.
    let (address, behind) = echo();
    let process = Process::start_with("acme", &[], &[format!("listen.acme={address}")]);
    let hello = |protocols: &[&str]| {
        let mut hello = Vec::new();
        process.tls_offering(DOMAIN, protocols).write_tls(&mut hello).unwrap();
        hello
    };
    hears_itself(process.web, &hello(&["acme-tls/1"]));
    behind.join().unwrap();
    assert_eq!(ask(&process, b"", "/metrics"), 200);
    // A client that could speak it as well is none.
    let mut tls = process.tls_offering(DOMAIN, &["http/1.1", "acme-tls/1"]);
    let mut socket = connect(process.web, b"");
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).expect("a handshake");
    }
    assert_eq!(tls.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn names_of_others_are_handed_through_untouched() {
    let (address, behind) = echo();
    let process = Process::start_with("passthrough", &[], &[format!("listen.passthrough={address}")]);
    for door in [process.web, process.direct()] {
        // Ours are served here, whatever the case of the letters.
        let mut tls = process.tls_to("Capulet.Lit");
        let mut socket = connect(door, b"");
        while tls.is_handshaking() {
            tls.complete_io(&mut socket).expect("a handshake");
        }
    }
    let mut hello = Vec::new();
    process.tls_to("blog.capulet.lit").write_tls(&mut hello).unwrap();
    hello.extend_from_slice(&[7; 100_000]);
    hears_itself(process.direct(), &hello);
    behind.join().unwrap();
}
