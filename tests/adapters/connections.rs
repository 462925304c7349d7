//! Connections from the first byte to the last, and the turns that they cause.

use super::*;

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
