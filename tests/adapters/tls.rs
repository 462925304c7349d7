//! TLS and its certificates.

use super::*;

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
    let refused = connect(client_config(&TLS13, &[b"imap"]), "one.example", house.direct).expect_err("refusal");
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

/// A hello in one record: the version of a client that knows no newer one, its suites, and its methods of compression.
fn hello(version: [u8; 2], methods: &[u8]) -> Vec<u8> {
    // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 and _AES_128_CBC_SHA; curve and signature as every client of that time.
    let suites = [0xc0, 0x2b, 0xc0, 0x09];
    let extensions = [
        0, 10, 0, 4, 0, 2, 0, 23, // groups: secp256r1
        0, 11, 0, 2, 1, 0, // points: uncompressed
        0, 13, 0, 4, 0, 2, 4, 3, // signatures: ECDSA over SHA-256
    ];
    let mut body = version.to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend([0, suites.len() as u8]);
    body.extend(suites);
    body.push(methods.len() as u8);
    body.extend(methods);
    body.extend([0, extensions.len() as u8]);
    body.extend(extensions);
    let mut record = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    record.extend(body);
    record
}

#[test]
fn s4_old_versions_and_compression_are_refused() {
    let house = start("old", |_, _| {});
    let first = |hello: &[u8]| {
        let mut socket = TcpStream::connect(house.direct).expect("connect");
        socket.write_all(hello).expect("write");
        let mut answer = [0; 7];
        socket.read_exact(&mut answer).expect("answer");
        answer
    };
    assert_eq!(first(&hello([3, 3], &[0]))[0], 22, "TLS 1.2 without compression goes on");
    for version in [[3, 0], [3, 1], [3, 2]] {
        let answer = first(&hello(version, &[0]));
        assert_eq!((answer[0], answer[6]), (21, 70), "{version:?}: protocol_version");
    }
    let answer = first(&hello([3, 3], &[1]));
    assert_eq!((answer[0], answer[6]), (21, 47), "nothing but DEFLATE: illegal_parameter, RFC 5246 §7.4.1.2");
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
