//! What attackers say to the web door of the real binary: requests within requests, ranges, slots of others, ways out of
//! a folder, crowds.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::symlink,
};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::{
    process::Process,
    stage::{Stage, world::DOMAIN},
    web::{sign_in, slot, until, until_served},
};

/// Something that is answered in a way of its own, to be hidden in another request.
const HIDDEN: &str = "GET /.well-known/host-meta HTTP/1.1\r\nHost: capulet.lit\r\nConnection: close\r\n\r\n";

#[test]
fn a_request_within_a_request_is_never_answered() {
    // S39; RFC 9112 §6.3 and §11.2: whatever a proxy before us makes of it, what stands behind is no request.
    let process = Process::start("abuse-smuggling", &[]);
    let length = HIDDEN.len();
    let chunk = format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
    for (head, body) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{HIDDEN}")),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n".into(), chunk.clone()),
        (format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), HIDDEN.to_owned()),
        (format!("Content-Length: {length}\r\nContent-Length: 0\r\n"), HIDDEN.to_owned()),
        (format!("Content-Length: {length}, 0\r\n"), HIDDEN.to_owned()),
        (format!("Content-Length: {length}\r\nX: y\r\n Content-Length: 0\r\n"), HIDDEN.to_owned()),
        ("X: y\r\n Transfer-Encoding: chunked\r\n".into(), format!("0\r\n\r\n{HIDDEN}")),
        ("Transfer-Encoding: chunked\r\n folded: yes\r\n".into(), format!("0\r\n\r\n{HIDDEN}")),
        ("Transfer-Encoding: xchunked\r\n".into(), chunk.clone()),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n".into(), format!("0\r\n\r\n{HIDDEN}")),
        ("Transfer-Encoding:\x0bchunked\r\n".into(), format!("0\r\n\r\n{HIDDEN}")),
        ("Transfer-Encoding: chunked\0\r\n".into(), format!("0\r\n\r\n{HIDDEN}")),
        ("Content-Length: -1\r\n".into(), HIDDEN.to_owned()),
        ("Content-Length: 0x0\r\n".into(), HIDDEN.to_owned()),
        ("Content-Length: 99999999999999999999999\r\n".into(), HIDDEN.to_owned()),
        ("X: y\rContent-Length: 0\r\n".into(), HIDDEN.to_owned()),
        ("Transfer-Encoding: chunked\r\n".into(), format!("-1\r\n{HIDDEN}")),
        ("Transfer-Encoding: chunked\r\n".into(), format!("ffffffffffffffffff\r\n{HIDDEN}")),
        ("Transfer-Encoding: chunked\r\n".into(), format!("1\r\naXX0\r\n\r\n{HIDDEN}")),
        ("Transfer-Encoding: chunked\r\n".into(), format!("0 x\r\n\r\n{HIDDEN}")),
    ] {
        let request = format!("POST /i/nothing HTTP/1.1\r\nHost: {DOMAIN}\r\n{head}\r\n{body}");
        let reply = process.web(request.as_bytes());
        let body = String::from_utf8_lossy(&reply.body);
        assert!(!body.contains("XRD") && !body.contains("HTTP/1.1"), "{head:?}: {reply:?}");
        // 404: one reading was possible, and the connection closed behind it.
        assert!(matches!(reply.status, 400 | 404 | 413 | 501), "{head:?}: {reply:?}");
    }
}

#[test]
fn lines_may_end_without_a_carriage_return_and_mean_the_same() {
    // RFC 9112 §2.2 lets us take a bare LF; then it ends a line everywhere, and in a name or a value it cannot stand.
    let process = Process::start("abuse-lines", &[]);
    let bare = HIDDEN.replace("\r\n", "\n");
    assert!(matches!(process.web(bare.as_bytes()).status, 200 | 400));
    let body = format!("POST /i/nothing HTTP/1.1\nHost: {DOMAIN}\nContent-Length: {}\n\n{HIDDEN}", HIDDEN.len());
    let mut line = process.browse(process.web);
    line.write_all(body.as_bytes()).unwrap();
    line.write_all(b"GET /nothing HTTP/1.1\r\nHost: capulet.lit\r\nConnection: close\r\n\r\n").unwrap();
    let mut out = Vec::new();
    let _ = line.read_to_end(&mut out);
    assert!(!String::from_utf8_lossy(&out).contains("XRD"));
}

#[test]
fn what_comes_byte_by_byte_means_what_it_means_at_once() {
    // Each byte is a TLS record of its own, so nothing comes in larger pieces.
    let process = Process::start("abuse-bytes", &[]);
    let chunks = "4;x=y\r\nname\r\n2\r\n=a\r\n0\r\nTrailer: z\r\n\r\n";
    for request in [
        HIDDEN.to_owned(),
        HIDDEN.replace("GET ", "BREW "),
        HIDDEN.replace("host-meta", "%2e%2e%2fhost-meta"),
        HIDDEN.replace("Host:", "Host :"),
        format!("POST /i/nothing HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\nContent-Length: 6\r\n\r\nname=a"),
        format!(
            "POST /i/x HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ),
        format!("POST /bosh HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\nContent-Length: 8\r\n\r\n<body/>\n"),
    ] {
        let whole = process.web(request.as_bytes());
        let mut line = process.browse(process.web);
        for byte in request.bytes() {
            if line.write_all(&[byte]).is_err() {
                break;
            }
        }
        let mut out = Vec::new();
        let _ = line.read_to_end(&mut out);
        let text = String::from_utf8_lossy(&out);
        let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(text.starts_with(&format!("HTTP/1.1 {} ", whole.status)), "{request}: {text}");
        assert_eq!(body.as_bytes(), whole.body, "{request}");
    }
}

#[test]
fn chunk_extensions_are_overlooked_and_bounded() {
    // RFC 9112 §7.1.1: bounded in all, however many chunks there are.
    let process = Process::start("abuse-chunks", &[]);
    let post = |chunks: &str| {
        let head = format!("POST /i/nothing HTTP/1.1\r\nHost: {DOMAIN}\r\nTransfer-Encoding: chunked\r\n");
        process.web(format!("{head}Connection: close\r\n\r\n{chunks}0\r\n\r\n").as_bytes()).status
    };
    assert_eq!(post("1;name=value\r\na\r\n1;x=\"y\"\r\nb\r\n"), 404, "read, and nothing is there");
    assert_eq!(post(&format!("1;{}\r\na\r\n", "x".repeat(100_000))), 400);
    assert_eq!(post(&format!("1;{}\r\na\r\n", "x".repeat(100)).repeat(1_000)), 400);
    assert_eq!(post(&"1\r\na\r\n".repeat(20_000)), 413, "as much as a form may have, whatever the pieces");
}

#[test]
fn of_several_ranges_the_whole_is_sent_once() {
    // RFC 9110 §14.2 and §17.15: the same bytes cannot be asked for many times.
    let mut process = Process::start("abuse-ranges", &["juliet".into()]);
    let juliet = sign_in(&mut process, "juliet");
    let data = vec![b'a'; 1_000];
    let (put, get) = slot(&mut process, juliet, "a.png", data.len(), "image/png");
    assert_eq!(process.send("PUT", &put, "", &data).status, 201);
    let many = (0..500).map(|_| "0-").collect::<Vec<_>>().join(",");
    for (range, status, bytes) in [
        ("0-1,3-4".to_owned(), 200, 1_000),
        ("0-,0-,0-".into(), 200, 1_000),
        (many, 200, 1_000),
        ("5-2".into(), 200, 1_000),
        ("-1-2".into(), 200, 1_000),
        ("0x0-0x5".into(), 200, 1_000),
        ("0-99999999999999999999999".into(), 206, 1_000),
        ("-99999999999999999999999".into(), 206, 1_000),
        ("999-".into(), 206, 1),
        ("1000-".into(), 416, 0),
        ("1000-2000".into(), 416, 0),
        ("-0".into(), 416, 0),
        ("18446744073709551615-".into(), 416, 0),
    ] {
        let reply = process.request("GET", &get, &format!("Range: bytes={range}\r\n"));
        assert_eq!((reply.status, reply.body.len()), (status, bytes), "{range}");
        let length = reply.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        assert_eq!(length, bytes, "{range}");
    }
    let twice = process.request("GET", &get, "Range: bytes=0-0\r\nRange: bytes=1-1\r\n");
    assert!(twice.body.len() == 1 || twice.status == 200, "{twice:?}");
}

#[test]
fn a_slot_is_of_one_person_and_of_one_signature() {
    // S41: what stands in the token is signed, each byte of it; the path of one and the token of another are nobody's.
    let mut process = Process::start("abuse-slots", &["juliet".into(), "romeo".into()]);
    let juliet = sign_in(&mut process, "juliet");
    let romeo = sign_in(&mut process, "romeo");
    let (of_juliet, get) = slot(&mut process, juliet, "a.png", 4, "image/png");
    let (of_romeo, _) = slot(&mut process, romeo, "a.png", 4, "image/png");
    let (path, token) = of_juliet.split_once('?').unwrap();
    let (_, other) = of_romeo.split_once('?').unwrap();
    assert_eq!(process.send("PUT", &format!("{path}?{other}"), "", b"data").status, 403);
    let start = token.find('=').map_or(0, |at| at + 1);
    for at in start..token.len() {
        let mut altered = token.as_bytes().to_vec();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).unwrap();
        let reply = process.send("PUT", &format!("{path}?{altered}"), "", b"data");
        // The last character of base64 may hold bits that mean nothing: then it must not be taken for the same.
        assert_eq!(reply.status, 403, "{altered}");
    }
    assert_eq!(process.request("GET", &get, "").status, 404, "nothing came of it");
    assert_eq!(process.send("PUT", &of_juliet, "", b"data").status, 201);
    for again in [&b"data"[..], b"else"] {
        assert_eq!(process.send("PUT", &of_juliet, "", again).status, 409);
    }
    assert_eq!(process.request("GET", &get, "").body, b"data");
}

#[test]
fn no_way_leads_out_of_a_folder() {
    // S39: encoded, encoded twice, with NUL; and links, wherever they stand.
    let folder = std::env::temp_dir().join(format!("lampone-e2e-abuse-{}", std::process::id()));
    let client = folder.join("client");
    fs::create_dir_all(client.join("js")).unwrap();
    fs::create_dir_all(folder.join("secrets")).unwrap();
    fs::write(folder.join("secrets/key.html"), "secret").unwrap();
    fs::write(client.join("index.html"), "page").unwrap();
    symlink(folder.join("secrets/key.html"), client.join("file.html")).unwrap();
    symlink(folder.join("secrets"), client.join("folder")).unwrap();
    symlink("../secrets/key.html", client.join("relative.html")).unwrap();
    symlink(client.join("file.html"), client.join("js/chain.html")).unwrap();
    symlink("loop.html", client.join("loop.html")).unwrap();
    symlink("nothing", client.join("dangling.html")).unwrap();
    symlink("/dev/zero", client.join("zero.html")).unwrap();
    symlink("index.html", client.join("inside.html")).unwrap();
    let pipe = client.join("pipe.html");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let process = Process::start_with("abuse-folder", &[], &[format!("web.client={}", client.display())]);
    for (path, expected) in [
        ("/chat/file.html", 404),
        ("/chat/folder/key.html", 404),
        ("/chat/folder/", 404),
        ("/chat/relative.html", 404),
        ("/chat/js/chain.html", 404),
        ("/chat/loop.html", 404),
        ("/chat/dangling.html", 404),
        ("/chat/zero.html", 404),
        ("/chat/pipe.html", 404),
        ("/chat/%2e%2e%2fsecrets%2fkey.html", 400),
        ("/chat/%252e%252e/secrets/key.html", 400),
        ("/chat/%252e%252e%252fsecrets%252fkey.html", 400),
        ("/chat/index.html%00.png", 400),
        ("/chat/index.html%2500.png", 400),
        ("/chat/js/../../secrets/key.html", 400),
        ("/chat/..;/secrets/key.html", 404),
        ("/chat//etc/passwd", 400),
        ("/chat/%2fetc%2fpasswd", 400),
        ("/upload/%00/a", 400),
        ("/upload/%2e%2e%2f%2e%2e%2flampone.toml/a", 400),
    ] {
        let reply = process.request("GET", path, "");
        assert_eq!(reply.status, expected, "{path}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("secret"), "{path}");
    }
    assert_eq!(process.request("GET", "/chat/inside.html", "").body, b"page", "a link within the folder is a file");
    fs::remove_dir_all(folder).unwrap();
}

/// Descriptors that this process may have.
fn descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1_024)
}

/// A connection from one of many addresses of this machine; `None`: it was refused.
fn from_somewhere(number: usize, to: SocketAddr) -> Option<TcpStream> {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    let source = Ipv4Addr::new(127, 7, (number / 100 / 200) as u8 + 1, (number / 100 % 200) as u8 + 1);
    bind(&socket, &SocketAddr::from((source, 0))).ok()?;
    connect(&socket, &to).ok()?;
    let socket = TcpStream::from(socket);
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

#[test]
fn ten_thousand_connections_leave_room_for_a_chat() {
    // S3: of a crowd from everywhere 1,024 are let in (`limits::HTTP_CONNECTIONS_MAX`).
    let wanted = descriptors().saturating_sub(500).min(10_000);
    let mut process = Process::start("abuse-crowd", &["juliet".into(), "romeo".into()]);
    let romeo = sign_in(&mut process, "romeo");
    let crowd: Vec<_> = (0..wanted).filter_map(|number| from_somewhere(number, process.web)).collect();
    assert!(crowd.len() > wanted / 2, "{} of {wanted}", crowd.len());
    // Somebody signs in and chats while they are there; each round gives the server time to turn away the others.
    let mut open = usize::MAX;
    for _ in 0..50 {
        let juliet = sign_in(&mut process, "juliet");
        process.put(juliet, format!("<message to='romeo@{DOMAIN}' id='m'><body>art</body></message>").as_bytes());
        process.put(romeo, b"<presence/>");
        until(&mut process, romeo, "<body>art</body>");
        process.cut(juliet);
        // Who is let in hears nothing until it speaks.
        let waits =
            |socket: &&TcpStream| (&mut &**socket).read(&mut [0; 64]).is_err_and(|e| e.kind() == ErrorKind::WouldBlock);
        open = crowd.iter().filter(waits).count();
        if open <= 1_024 {
            break;
        }
    }
    assert!(open <= 1_024, "{open}");
    assert!(open >= wanted.min(1_024) * 9 / 10, "{open} of {wanted}");
    drop(crowd);
    until_served(&process);
}
