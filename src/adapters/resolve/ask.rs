//! Asks resolvers: one question, several servers in turn, UDP and, where an answer does not fit or none comes, TCP
//! (RFC 1035 §4.2, RFC 7766, RFC 5452).
//!
//! Invariants: each UDP question has a socket, and so a port, and an id of its own; what does not answer it is ignored
//! and buys no time; everything ends within `DNS_MS_MAX`.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use async_io::{Async, Timer};
use smol::{
    future::or,
    io::{AsyncReadExt, AsyncWriteExt},
};

use super::{
    NoAnswer,
    machine::Resolving,
    message::{Answer, Kind, Question, UDP_BYTES, Unread},
};
use crate::{adapters::clock::SystemEntropy, limits, router::event::Entropy};

/// How long a server may take over UDP in the first round; twice as long in each that follows.
const PATIENCE: Duration = Duration::from_millis(1_200);
/// Rounds.
const ATTEMPTS: usize = 2;
/// The same over TCP.
const TCP_PATIENCE: Duration = Duration::from_millis(3_000);

/// Asks the servers in turn until one answers, beginning with the `first`th.
pub async fn ask(how: &Resolving, first: usize, name: &str, kind: Kind) -> Result<Answer, NoAnswer> {
    let late = async {
        Timer::after(Duration::from_millis(limits::DNS_MS_MAX)).await;
        Err(NoAnswer::Silent)
    };
    or(in_turn(how, first, name, kind), late).await
}

async fn in_turn(how: &Resolving, first: usize, name: &str, kind: Kind) -> Result<Answer, NoAnswer> {
    let mut error = NoAnswer::Silent;
    let servers = || how.servers.iter().cycle().skip(first).take(how.servers.len());
    let mut patience = how.patience.unwrap_or(PATIENCE);
    for _ in 0..how.attempts.unwrap_or(ATTEMPTS) {
        for server in servers() {
            let answer = match how.is_tcp {
                true => over_tcp(*server, &question(name, kind)?).await,
                false => asked(*server, name, kind, patience).await,
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(failed) => error = failed,
            }
        }
        if how.patience.is_none() {
            patience *= 2;
        }
    }
    // Whoever stays silent over UDP may be one who does not give back the spelling of names.
    if let (NoAnswer::Silent, Some(server), false) = (&error, servers().next(), how.is_tcp) {
        return over_tcp(*server, &question(name, kind)?).await;
    }
    Err(error)
}

async fn asked(server: SocketAddr, name: &str, kind: Kind, patience: Duration) -> Result<Answer, NoAnswer> {
    let question = question(name, kind)?;
    let late = async {
        Timer::after(patience).await;
        Err(Unread::Foreign)
    };
    let udp =
        async { over_udp(server, &question).await.unwrap_or_else(|e| Err(Unread::Failed(format!("{server}: {e}")))) };
    match or(udp, late).await {
        Ok(answer) => Ok(answer),
        Err(Unread::Truncated) => over_tcp(server, &question).await,
        Err(Unread::Foreign) => Err(NoAnswer::Silent),
        Err(Unread::Failed(words)) => Err(NoAnswer::Failed(words)),
    }
}

fn question(name: &str, kind: Kind) -> Result<Question, NoAnswer> {
    let mut dice = [0; 34];
    SystemEntropy::default().fill(&mut dice);
    Question::new(name, kind, &dice).map_err(|_| NoAnswer::NotThere)
}

/// Waits for the answer; the kernel drops what comes from elsewhere, for the socket is connected.
async fn over_udp(server: SocketAddr, question: &Question) -> io::Result<Result<Answer, Unread>> {
    let any =
        if server.is_ipv6() { SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)) } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let socket = Async::<UdpSocket>::bind(any)?;
    socket.get_ref().connect(server)?;
    socket.send(question.bytes()).await?;
    let mut buffer = [0; UDP_BYTES as usize];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match question.read(buffer.get(..length).unwrap_or_default(), false) {
            Err(Unread::Foreign) => log::debug!("{server} sent what was not asked for"),
            answer => return Ok(answer),
        }
    }
}

async fn over_tcp(server: SocketAddr, question: &Question) -> Result<Answer, NoAnswer> {
    let late = async {
        Timer::after(TCP_PATIENCE).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    match or(tcp_exchange(server, question), late).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Unread::Failed(words))) => Err(NoAnswer::Failed(words)),
        Ok(Err(Unread::Foreign | Unread::Truncated)) => {
            Err(NoAnswer::Failed(format!("{server} answers something else")))
        }
        Err(e) if e.kind() == io::ErrorKind::TimedOut => Err(NoAnswer::Silent),
        Err(e) => Err(NoAnswer::Failed(format!("{server}: {e}"))),
    }
}

async fn tcp_exchange(server: SocketAddr, question: &Question) -> io::Result<Result<Answer, Unread>> {
    let mut stream = Async::<TcpStream>::connect(server).await?;
    let length = u16::try_from(question.bytes().len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_all(&[&length.to_be_bytes(), question.bytes()].concat()).await?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    // At most 64 KiB, and only for as long as it is read.
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).await?;
    Ok(question.read(&message, true))
}
