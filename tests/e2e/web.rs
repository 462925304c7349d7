//! The web door of the real binary: uploads, and what strangers may try.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
};

use crate::{
    process::Process,
    stage::{
        Conn, Stage,
        world::{DOMAIN, PASSWORD},
    },
};

const DATA: &[u8] = b"Wherefore art thou Romeo?";

/// Reads until this stands there.
pub fn until(process: &mut Process, conn: Conn, end: &str) -> String {
    let mut out = String::new();
    while !out.contains(end) {
        let bytes = process.take(conn);
        assert!(!bytes.is_empty(), "no {end} in {out}");
        out.push_str(&String::from_utf8_lossy(&bytes));
    }
    out
}

/// Signs in with the plain mechanism.
pub fn sign_in(process: &mut Process, name: &str) -> Conn {
    use base64::Engine;
    let conn = process.connect(true);
    let open = format!(
        "<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    );
    process.put(conn, open.as_bytes());
    until(process, conn, "</stream:features>");
    let plain = base64::engine::general_purpose::STANDARD.encode(format!("\0{name}\0{PASSWORD}"));
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    process.put(conn, auth.as_bytes());
    until(process, conn, "<success");
    process.put(conn, open.as_bytes());
    until(process, conn, "</stream:features>");
    process.put(conn, b"<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    until(process, conn, "</iq>");
    conn
}

/// The answer to a request for a slot.
fn ask(process: &mut Process, conn: Conn, name: &str, size: usize, kind: &str) -> String {
    let request =
        format!("<request xmlns='urn:xmpp:http:upload:0' filename='{name}' size='{size}' content-type='{kind}'/>");
    process.put(conn, format!("<iq type='get' to='{DOMAIN}' id='s'>{request}</iq>").as_bytes());
    until(process, conn, "</iq>")
}

/// The paths to put and to get.
pub fn slot(process: &mut Process, conn: Conn, name: &str, size: usize, kind: &str) -> (String, String) {
    let answer = ask(process, conn, name, size, kind);
    let base = format!("https://{DOMAIN}:{}", process.web.port());
    let path = |tag: &str| {
        let url = answer.split(&format!("<{tag} url='")).nth(1).and_then(|rest| rest.split('\'').next());
        url.and_then(|url| url.strip_prefix(&base)).unwrap_or_else(|| panic!("{tag} in {answer}")).to_owned()
    };
    (path("put"), path("get"))
}

fn files(process: &Process) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["uploads", "uploads/half"] {
        let entries = fs::read_dir(process.data().join(folder)).unwrap();
        found.extend(entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()));
    }
    found
}

#[test]
fn a_file_goes_up_and_comes_down() {
    let mut process = Process::start("web-upload", &["juliet".into(), "romeo".into()]);
    let juliet = sign_in(&mut process, "juliet");
    let (put, get) = slot(&mut process, juliet, "très cool.txt", DATA.len(), "text/plain");
    assert!(get.ends_with("/tr%C3%A8s%20cool.txt"), "{get}");
    assert_eq!(process.request("GET", &get, "").status, 404, "nothing is there yet");
    assert_eq!(process.send("PUT", &put, "Content-Type: text/plain\r\n", DATA).status, 201);

    let got = process.request("GET", &get, "");
    assert_eq!((got.status, got.body.as_slice()), (200, DATA));
    assert_eq!(got.header("content-type"), Some("text/plain"));
    assert_eq!(got.header("content-disposition"), Some("attachment; filename*=utf-8''tr%c3%a8s%20cool.txt"));
    assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(got.header("access-control-allow-origin"), Some("*"));
    assert!(got.header("content-security-policy").unwrap().contains("sandbox"), "{}", got.head);
    assert_eq!(got.header("set-cookie"), None);

    let head = process.request("HEAD", &get, "");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), Some(DATA.len().to_string().as_str()));

    let part = process.request("GET", &get, "Range: bytes=10-12\r\n");
    assert_eq!((part.status, part.body.as_slice()), (206, b"art".as_slice()));
    assert_eq!(part.header("content-range"), Some("bytes 10-12/25"));
    let beyond = process.request("GET", &get, "Range: bytes=25-\r\n");
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */25")));
    // Names are case-sensitive, so the tag is taken from the path.
    let etag = get.split('/').nth(2).unwrap().to_owned();
    assert_eq!(process.request("GET", &get, &format!("If-None-Match: \"{etag}\"\r\n")).status, 304);
}

#[test]
fn what_was_acknowledged_is_there_after_a_power_cut() {
    let mut process = Process::start("web-power", &["juliet".into()]);
    let juliet = sign_in(&mut process, "juliet");
    let (put, get) = slot(&mut process, juliet, "a.png", DATA.len(), "image/png");
    // Another one is cut off in the middle.
    let (cut, _) = slot(&mut process, juliet, "b.png", 1_000, "image/png");
    let mut half = process.browse(process.web);
    let head = format!("PUT {cut} HTTP/1.1\r\nHost: {DOMAIN}\r\nContent-Length: 1000\r\n\r\nhalf");
    half.write_all(head.as_bytes()).unwrap();
    assert_eq!(process.send("PUT", &put, "", DATA).status, 201);
    fs::write(process.data().join("uploads").join("A".repeat(28)), b"nobody's").unwrap();
    process.power_cut();
    let got = process.request("GET", &get, "");
    assert_eq!((got.status, got.body.as_slice()), (200, DATA));
    assert_eq!(got.header("content-disposition"), Some("inline; filename*=utf-8''a.png"));
    assert_eq!(process.send("PUT", &put, "", DATA).status, 409, "the slot was used");
    // Only the whole one is left; the sign-in behind which this is looked at came after the files were found.
    sign_in(&mut process, "juliet");
    assert_eq!(files(&process).len(), 1, "{:?}", files(&process));
}

#[test]
fn a_slot_is_good_for_its_file_only() {
    // S41.
    let mut process = Process::start("web-slots", &["juliet".into()]);
    let juliet = sign_in(&mut process, "juliet");
    let (put, get) = slot(&mut process, juliet, "a.png", DATA.len(), "image/png");
    let (path, token) = put.split_once('?').unwrap();
    let (other, _) = slot(&mut process, juliet, "b.png", DATA.len(), "image/png");
    let other = other.split_once('?').unwrap().1;
    for (path, expected) in [
        (path.to_owned(), 403),
        (format!("{path}?{other}"), 403),
        (format!("{path}?{token}x"), 403),
        (format!("{}?{token}", path.replace("a.png", "a.html")), 403),
    ] {
        assert_eq!(process.send("PUT", &path, "", DATA).status, expected, "{path}");
    }
    assert_eq!(process.send("PUT", &put, "", &DATA[1..]).status, 413);
    assert_eq!(process.send("PUT", &put, "", &[DATA, DATA].concat()).status, 413);
    assert_eq!(process.send("PUT", &put, "Content-Type: text/html\r\n", DATA).status, 415);
    let chunked =
        format!("PUT {put} HTTP/1.1\r\nHost: {DOMAIN}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n");
    assert_eq!(process.web(chunked.as_bytes()).status, 411);
    assert_eq!(process.send("POST", &put, "", DATA).status, 405);
    assert_eq!(process.send("PUT", &put, "Content-Type: image/png\r\n", DATA).status, 201, "after all that");
    assert_eq!(process.send("PUT", &put, "", DATA).status, 409);
    let got = process.request("GET", &get.replace("a.png", "a.html"), "");
    assert_eq!(got.status, 404, "another name is another file");
    assert!(ask(&mut process, juliet, "a", 200 << 20, "").contains("<max-file-size>104857600<"));
}

#[test]
fn a_removed_account_takes_its_files_along() {
    let mut process = Process::start("web-removal", &["juliet".into(), "romeo".into()]);
    let juliet = sign_in(&mut process, "juliet");
    let (put, get) = slot(&mut process, juliet, "a.png", DATA.len(), "image/png");
    assert_eq!(process.send("PUT", &put, "", DATA).status, 201);
    let remove =
        format!("<iq type='set' to='{DOMAIN}' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>");
    process.put(juliet, remove.as_bytes());
    until(&mut process, juliet, "stream:stream>");
    assert_eq!(process.request("GET", &get, "").status, 404);
    sign_in(&mut process, "romeo");
    assert_eq!(files(&process), Vec::<PathBuf>::new());
}

#[test]
fn one_port_serves_both() {
    let mut process = Process::start("web-one-port", &["juliet".into()]);
    // No ALPN is XMPP, as before.
    sign_in(&mut process, "juliet");
    let request = format!("GET /nothing HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n\r\n");
    let reply = process.web_at(process.direct(), request.as_bytes());
    assert_eq!(reply.status, 404, "{reply:?}");
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused() {
    let process = Process::start("web-abuse", &[]);
    let host = format!("Host: {DOMAIN}\r\n");
    let many = "X: y\r\n".repeat(100);
    let long = format!("X: {}\r\n", "y".repeat(20_000));
    for (request, expected) in [
        (format!("GET /upload/x HTTP/1.1\r\n{host}Connection: close\r\n\r\n"), 404),
        // S39.
        (format!("GET /upload/../../etc/passwd HTTP/1.1\r\n{host}Connection: close\r\n\r\n"), 400),
        (format!("GET /upload/%2e%2e/%2e%2e/etc HTTP/1.1\r\n{host}Connection: close\r\n\r\n"), 400),
        (format!("GET /upload/%252e%252e%252fetc HTTP/1.1\r\n{host}Connection: close\r\n\r\n"), 400),
        (format!("GET /upload/..\\..\\etc HTTP/1.1\r\n{host}Connection: close\r\n\r\n"), 400),
        (format!("GET /%u002e%u002e/etc HTTP/1.1\r\n{host}Connection: close\r\n\r\n"), 400),
        // S44.
        ("GET / HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n".into(), 421),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".into(), 400),
        (format!("GET / HTTP/1.1\r\n{host}{host}Connection: close\r\n\r\n"), 400),
        (
            format!("GET / HTTP/1.1\r\n{host}X-Forwarded-Host: x\r\nX-Forwarded-For: x\r\nConnection: close\r\n\r\n"),
            200,
        ),
        // Two lengths, or a length and chunks: what stands behind is a request to some and a body to others.
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: 1, 2\r\n\r\nab"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Content-Length: +1\r\n\r\na"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}{many}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{host}{long}\r\n"), 431),
        (format!("BREW / HTTP/1.1\r\n{host}Connection: close\r\n\r\n"), 501),
        ("nonsense\r\n\r\n".into(), 400),
    ] {
        let reply = process.web(request.as_bytes());
        let shown: String = request.chars().take(120).collect();
        assert_eq!(reply.status, expected, "{shown:?}: {}", reply.head);
    }
    // A length and chunks: the chunks count and the connection is not used again, or it is refused.
    let both = format!(
        "POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /i HTTP/1.1\r\n{host}\r\n"
    );
    let reply = process.web(both.as_bytes());
    assert!(!String::from_utf8_lossy(&reply.body).contains("HTTP/1.1"), "no second answer: {reply:?}");
}

#[test]
fn redirects_lead_nowhere_else() {
    // S46: whatever is asked for, and whoever is said to be asked.
    let folder = std::env::temp_dir();
    let process = Process::start_with("web-redirects", &[], &[format!("web.client={}", folder.display())]);
    for path in ["/chat", "/chat?to=https://elsewhere.example", "//elsewhere.example/chat", "/chat//elsewhere.example"]
    {
        let reply = process.request("GET", path, "X-Forwarded-Host: elsewhere.example\r\n");
        assert!(reply.header("location").is_none_or(|location| location == "/chat/"), "{path}: {reply:?}");
    }
}

#[test]
fn connections_of_one_address_are_bounded() {
    // S3: more than one may have are closed at once, and those before them are served.
    let process = Process::start("web-crowd", &[]);
    let mut crowd: Vec<_> = (0..400).map(|_| std::net::TcpStream::connect(process.web).unwrap()).collect();
    let mut open = 0;
    for socket in &mut crowd {
        socket.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
        // Who is let in hears nothing until it speaks.
        open += usize::from(!matches!(socket.read(&mut [0]), Ok(0)));
    }
    assert!((100..=128).contains(&open), "{open}");
    drop(crowd);
    until_served(&process);
}

/// The house learns that connections are gone when it looks.
pub fn until_served(process: &Process) {
    let begun = std::time::Instant::now();
    while process.request("GET", "/.well-known/host-meta", "").status != 200 {
        assert!(begun.elapsed().as_secs() < 60, "nobody is served any more");
    }
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let process = Process::start("web-alive", &[]);
    let mut line = process.browse(process.web);
    for path in ["/x", "/upload/x/y", "/z"] {
        line.write_all(format!("GET {path} HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n").as_bytes()).unwrap();
        let mut head = [0; 12];
        line.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 404");
        let mut rest = Vec::new();
        while !rest.ends_with(b"here.\n") {
            let mut byte = [0];
            line.read_exact(&mut byte).unwrap();
            rest.push(byte[0]);
        }
    }
}

#[test]
fn a_websocket_begins_with_the_handshake_of_the_rfc() {
    // RFC 6455 §4.2 and RFC 7395 §3.1; S7.
    let process = Process::start("web-handshake", &[]);
    let good = crate::messages::handshake(DOMAIN);
    for (from, to, expected) in [
        ("Sec-WebSocket-Protocol: xmpp\r\n", "", 400),
        ("Protocol: xmpp", "Protocol: chat", 400),
        ("Version: 13", "Version: 8", 426),
        ("Upgrade: websocket", "Upgrade: h2c", 400),
        ("Connection: Upgrade", "Connection: close", 400),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhl", 400),
        ("GET /ws", "POST /ws", 400),
        ("GET /ws", "GET /ws2", 404),
        (DOMAIN, "elsewhere.example", 421),
        ("Upgrade: websocket\r\n", "", 404),
    ] {
        let request = good.replacen(from, to, 1).replacen("\r\n\r\n", "\r\nX: y\r\n\r\n", 1);
        let mut line = process.browse(process.web);
        line.write_all(request.as_bytes()).unwrap();
        let mut start = [0; 12];
        line.read_exact(&mut start).unwrap();
        assert_eq!(String::from_utf8_lossy(&start[9..]), expected.to_string(), "{to} for {from}");
    }
}

#[test]
fn streams_of_browsers_offer_nothing_to_bind_to() {
    // RFC 5802 §6: no page can see the TLS under it, and stanza.js takes what has the best name without asking further.
    let mut process = Process::start("web-binding", &[]);
    process.by_websocket = true;
    let conn = process.connect(true);
    process.put_raw(conn, &crate::messages::frame(0x81, OPEN));
    let features = until(&mut process, conn, "</stream:features>");
    assert!(features.contains(">SCRAM-SHA-256<") && features.contains(">HT-SHA-256-NONE<"), "{features}");
    assert!(!features.contains("-PLUS") && !features.contains("channel-binding"), "{features}");
}

#[test]
fn browsers_get_in_where_other_servers_have_their_doors() {
    let process = Process::start("web-doors", &[]);
    let handshake = crate::messages::handshake(DOMAIN).replacen("GET /ws", "GET /xmpp-websocket", 1);
    let mut line = process.browse(process.web);
    line.write_all(handshake.as_bytes()).unwrap();
    let mut start = [0; 12];
    line.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 101");
    assert_eq!(process.request("GET", "/http-bind", "").status, 405);
}

#[test]
fn hostile_xml_ends_a_websocket_as_it_ends_a_stream() {
    // S1, S7: what once broke others, as messages.
    let mut process = Process::start("web-corpus", &[]);
    process.by_websocket = true;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/framer");
    let mut played = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let conn = process.connect(true);
        process.put_raw(conn, &crate::messages::frame(0x81, OPEN));
        until(&mut process, conn, "</stream:features>");
        // The files are whole streams; some begin with the fault, some with a header.
        process.put_raw(conn, &crate::messages::frame(0x81, &bytes));
        // Where the fault is that something never ends, it ends now.
        process.put_raw(conn, &crate::messages::frame(0x81, b"</never></opened>"));
        let mut out = String::new();
        while !process.is_closed(conn) && !out.contains("</stream:stream>") {
            out.push_str(&String::from_utf8_lossy(&process.take(conn)));
        }
        assert!(out.is_empty() || out.contains("<stream:error"), "{}: {out}", path.display());
        played += 1;
    }
    assert!(played > 20, "{played}");
}

const OPEN: &[u8] = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='capulet.lit' version='1.0'/>";

#[test]
fn browsers_find_their_way_in() {
    // XEP-0156 §3.
    let process = Process::start("web-host-meta", &[]);
    let found = process.request("GET", "/.well-known/host-meta", "Origin: https://elsewhere.example\r\n");
    let link = format!("wss://{DOMAIN}:{}/ws", process.web.port());
    assert!(String::from_utf8_lossy(&found.body).contains(&link), "{found:?}");
    assert_eq!(found.header("access-control-allow-origin"), Some("*"));
    let etag = found.header("etag").unwrap().to_owned();
    let again = process.request("GET", "/.well-known/host-meta", &format!("If-None-Match: {etag}\r\n"));
    assert_eq!((again.status, again.body.len()), (304, 0));
}

#[test]
fn a_browser_client_is_served_and_nothing_beside_it() {
    let folder = std::env::temp_dir().join(format!("lampone-e2e-client-{}", std::process::id()));
    fs::create_dir_all(folder.join("client/js")).unwrap();
    fs::write(folder.join("client/index.html"), "<!doctype html>").unwrap();
    fs::write(folder.join("client/js/start.js"), "start()").unwrap();
    fs::write(folder.join("secret"), "secret").unwrap();
    std::os::unix::fs::symlink(folder.join("secret"), folder.join("client/link")).unwrap();
    let process = Process::start_with("web-client", &[], &[format!("web.client={}", folder.join("client").display())]);
    let redirect = process.request("GET", "/chat", "");
    assert_eq!((redirect.status, redirect.header("location")), (308, Some("/chat/")));
    let page = process.request("GET", "/chat/", "");
    assert_eq!((page.status, page.body.as_slice()), (200, b"<!doctype html>".as_slice()));
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let script = process.request("GET", "/chat/js/start.js", "Range: bytes=0-4\r\n");
    assert_eq!((script.status, script.body.as_slice()), (206, b"start".as_slice()));
    assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    let etag = page.header("etag").unwrap().to_owned();
    assert_eq!(process.request("GET", "/chat/", &format!("If-None-Match: {etag}\r\n")).status, 304);
    for (path, expected) in [
        ("/chat/link", 404),
        ("/chat/js/", 404),
        ("/chat/js", 404),
        ("/chat/nothing", 404),
        ("/chat/../secret", 400),
        ("/chat/%2e%2e/secret", 400),
        ("/chat/..%2fsecret", 400),
    ] {
        assert_eq!(process.request("GET", path, "").status, expected, "{path}");
    }
    assert_eq!(process.send("POST", "/chat/", "", b"x").status, 405);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn only_a_trusted_proxy_is_believed() {
    // S44.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ask = |process: &Process, request: &str| {
        let mut line = std::net::TcpStream::connect(port).unwrap();
        line.write_all(request.as_bytes()).unwrap();
        let mut out = String::new();
        line.read_to_string(&mut out).unwrap();
        let _ = process;
        out.split(' ').nth(1).unwrap_or_default().to_owned()
    };
    let plain = "GET /.well-known/host-meta HTTP/1.1\r\nHost: backend:5280\r\nConnection: close\r\n\r\n";
    let upgrade =
        crate::messages::handshake(DOMAIN).replacen("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 12", 1);
    let upgrade = upgrade.replacen("Connection: Upgrade", "Connection: Upgrade, close", 1);
    let http = format!("listen.http={port}");
    let process = Process::start_with("web-plain", &[], std::slice::from_ref(&http));
    assert_eq!(ask(&process, plain), "421", "strangers name us as we are called");
    assert_eq!(ask(&process, &upgrade), "403", "no password in clear");
    drop(process);
    let process = Process::start_with("web-proxy", &[], &[http, "web.proxies=127.0.0.1".to_owned()]);
    assert_eq!(ask(&process, plain), "200", "a proxy calls us as it likes");
    assert_eq!(ask(&process, &upgrade), "426", "it has had TLS");
}

#[test]
fn an_invitation_becomes_an_account_in_the_browser() {
    let mut process = Process::start("web-invitation", &[]);
    let link = process.command(&["invite"]);
    let path = link
        .trim()
        .strip_prefix(&format!("https://{DOMAIN}:{}", process.web.port()))
        .unwrap_or_else(|| panic!("{link}"));
    let path = path.to_owned();
    let page = process.request("GET", &path, "Accept-Language: it\r\n");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(String::from_utf8_lossy(&page.body).contains("<html lang=\"it\">"));
    assert!(page.head.len() + page.body.len() <= 30 * 1024, "{}", page.body.len());
    assert_eq!(page.header("set-cookie"), None);
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let form = format!("name=Juliet&password={PASSWORD}");
    assert_eq!(process.send("POST", &path, kind, b"name=juliet&password=short").status, 422);
    assert_eq!(process.send("POST", &path, kind, &[b'a'; 20_000]).status, 413);
    let done = process.send("POST", &path, kind, form.as_bytes());
    assert_eq!(done.status, 201, "{done:?}");
    // It was told, so it is durable.
    process.power_cut();
    sign_in(&mut process, "juliet");
    assert_eq!(process.request("GET", &path, "").status, 404, "one invitation, one account");
}
