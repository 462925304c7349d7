//! The web door's deadlines: whoever sends the head of a request slowly, or never.

use super::*;

/// A house with a web door.
fn with_web(name: &str) -> (Running, SocketAddr) {
    let house = start(name, |config, _| config.listen.https = vec!["127.0.0.1:0".parse().expect("address")]);
    let web = house.web.expect("a web door");
    (house, web)
}

/// What still comes until the connection is closed.
fn rest(client: &mut impl Read) -> String {
    let mut out = Vec::new();
    let mut some = [0; 512];
    while let Ok(n) = client.read(&mut some) {
        if n == 0 {
            break;
        }
        out.extend_from_slice(&some[..n]);
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn a_head_that_never_ends_is_closed_at_its_deadline() {
    // S3: a byte now and then does not move the deadline.
    let (house, web) = with_web("slow-head");
    let mut client = connect(plain13(), "one.example", web).expect("handshake");
    client.write_all(b"GET / HTTP/1.1\r\nHost: one.example\r\n").expect("write");
    client.sock.set_read_timeout(Some(Duration::from_millis(HEAD_MS / 10))).expect("a timeout");
    let closed = (0..200).any(|_| {
        let is_sent = client.write_all(b"X-A: b\r\n").is_ok();
        let heard = client.read(&mut [0; 512]);
        let waits = |e: &io::Error| matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        !is_sent || !heard.as_ref().is_err_and(waits)
    });
    assert!(closed, "it is still open");
    // Others are served meanwhile and afterwards.
    let mut other = connect(plain13(), "one.example", house.direct).expect("handshake");
    echoes(&mut other, "lives");
}

#[test]
fn whoever_says_nothing_is_closed_at_the_deadline_too() {
    // S3: before TLS, after its handshake, and behind an answer.
    let (_house, web) = with_web("silent-head");
    let mut silent = TcpStream::connect(web).expect("a connection");
    silent.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    assert!(matches!(silent.read(&mut [0; 512]), Ok(0)), "closed");
    let mut shaken = connect(plain13(), "one.example", web).expect("handshake");
    assert_eq!(rest(&mut shaken), "");
    let mut served = connect(plain13(), "one.example", web).expect("handshake");
    served.write_all(b"BREW / HTTP/1.1\r\nHost: one.example\r\n\r\n").expect("write");
    let answer = rest(&mut served);
    assert!(answer.starts_with("HTTP/1.1 501 ") && !answer.contains("connection: close"), "{answer}");
}
