//! The doors: TCP listeners, the administration socket, sockets that systemd opened (`sd_listen_fds(3)`).
//!
//! Invariants: accepting survives a lack of file descriptors; nobody but root and our own user passes the
//! administration socket, which is never open to others, not even for a moment.

use std::{
    fs,
    future::poll_fn,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileTypeExt, PermissionsExt},
        unix::net::{SocketAddr as UnixAddress, UnixStream},
    },
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use async_io::Timer;
use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt},
};
use smol::future::yield_now;

use super::{
    conn::{Socket, set_manners},
    driver::Driver,
    reactor::Source,
    table::Refusal,
};
use crate::{config::Config, router::event::Door};

/// Connections that the kernel keeps for us between two accepts.
const BACKLOG: i32 = 1_024;
/// Connections accepted before others have their turn.
const ACCEPTS_PER_ROUND: usize = 32;
/// How long accepting rests when the system has no file descriptor or memory for another connection.
const REST: Duration = Duration::from_millis(500);
/// Between two log lines about the same trouble.
const QUIET: Duration = Duration::from_secs(60);
/// Files of `/proc` that are looked at to name the program that holds a port.
const LOOKED_AT_MAX: usize = 200_000;

/// A door that stays shut.
const NONE: &Vec<SocketAddr> = &Vec::new();

/// What a listener leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    StartTls,
    DirectTls,
    PeerStartTls,
    PeerDirectTls,
    Component,
    Https,
    Http,
    Admin,
}

impl Kind {
    /// Whether the first bytes are TLS's.
    pub fn begins_with_tls(self) -> bool {
        matches!(self, Kind::DirectTls | Kind::PeerDirectTls | Kind::Https)
    }
}

/// Everything that listens.
pub struct Listeners {
    sockets: Vec<(Kind, OwnedFd)>,
    /// Removed when we end.
    admin: Option<PathBuf>,
}

impl Drop for Listeners {
    fn drop(&mut self) {
        if let Some(path) = &self.admin {
            let _ = fs::remove_file(path);
        }
    }
}

/// Opens all doors. Where systemd hands over sockets for a door (named `c2s`, `c2s_tls`, `s2s`,
/// `s2s_tls`, `component`, `https`, `http`, `admin` by `FileDescriptorName=`), these are taken instead of the addresses in the settings.
///
/// # Errors
/// One line for the admin: the address, who holds it if that can be seen, what would mend it.
pub fn open(config: &Config) -> Result<Listeners, String> {
    let mut listeners = Listeners { sockets: inherited()?, admin: None };
    let given = |kind| listeners.sockets.iter().any(|(k, _)| *k == kind);
    let admin = given(Kind::Admin);
    // Who talks to no other server need not hear them knock.
    let federates = |addresses| if config.federation.enabled { addresses } else { NONE };
    let doors = [
        (Kind::StartTls, &config.listen.c2s),
        (Kind::DirectTls, &config.listen.c2s_tls),
        (Kind::PeerStartTls, federates(&config.listen.s2s)),
        (Kind::PeerDirectTls, federates(&config.listen.s2s_tls)),
        (Kind::Component, if config.components.is_empty() { NONE } else { &config.listen.component }),
        (Kind::Https, &config.listen.https),
        (Kind::Http, &config.listen.http),
    ];
    for (kind, addresses, given) in doors.map(|(kind, addresses)| (kind, addresses, given(kind))) {
        for address in addresses.iter().filter(|_| !given) {
            // Two listeners on one port, one for each family: IPv6 then keeps to itself.
            let alone = addresses.iter().any(|a| a.is_ipv4() && a.port() == address.port());
            let socket = tcp(*address, alone).map_err(|e| taken(*address, e))?;
            listeners.sockets.push((kind, socket));
        }
    }
    for (kind, socket) in listeners.sockets.iter().filter(|(kind, _)| *kind != Kind::Admin) {
        set_manners(socket).map_err(|e| format!("{kind:?}: the system does not take a listener's settings: {e}"))?;
    }
    if !admin {
        let path = config.listen.admin.clone().unwrap_or_else(|| config.data.join("admin.sock"));
        let socket = unix(&path)?;
        listeners.sockets.push((Kind::Admin, socket));
        listeners.admin = Some(path);
    }
    Ok(listeners)
}

impl Listeners {
    /// The TCP addresses, for the log and for tests that let the system choose a port.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let name = |fd: &OwnedFd| SocketAddr::try_from(rustix::net::getsockname(fd).ok()?).ok();
        self.sockets.iter().filter_map(|(_, fd)| name(fd)).collect()
    }

    /// Accepts on all of them for as long as the driver runs. The guard removes the socket file.
    ///
    /// # Errors
    /// When the reactor takes no more.
    pub fn serve(mut self, driver: &Rc<Driver>) -> Result<Listeners, String> {
        for (kind, fd) in self.sockets.drain(..) {
            let ready = rustix::io::ioctl_fionbio(&fd, true).map_err(io::Error::from).and_then(|()| Source::new(fd));
            let listener = ready.map_err(|e| format!("cannot wait for connections: {e}"))?;
            driver.spawn(accept(driver.clone(), kind, listener));
        }
        Ok(self)
    }
}

/// Sockets from systemd. `LISTEN_FDNAMES` tells them apart; without names the first is `c2s`, the second `c2s_tls`, the
/// third `https`, the fourth `s2s`.
fn inherited() -> Result<Vec<(Kind, OwnedFd)>, String> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut given = listenfd::ListenFd::from_env();
    let mut names = names.split(':');
    let mut sockets = Vec::new();
    for index in 0..given.len() {
        // A socket unit that says no name has its own, the same for all its sockets (`systemd.socket(5)`).
        let name = names.next().filter(|name| !name.ends_with(".socket")).unwrap_or_default();
        let kind = match (name, index) {
            ("c2s", _) | ("" | "unknown", 0) => Kind::StartTls,
            ("c2s_tls", _) | ("" | "unknown", 1) => Kind::DirectTls,
            ("s2s", _) | ("" | "unknown", 3) => Kind::PeerStartTls,
            ("s2s_tls", _) => Kind::PeerDirectTls,
            ("component", _) => Kind::Component,
            ("https", _) | ("" | "unknown", 2) => Kind::Https,
            ("http", _) => Kind::Http,
            ("admin", _) => Kind::Admin,
            (other, _) => {
                return Err(format!(
                    "systemd passed a socket named {other:?}; FileDescriptorName= must be c2s, c2s_tls, s2s, s2s_tls, \
                     component, https, http or admin"
                ));
            }
        };
        let fd = match kind {
            Kind::Admin => given.take_unix_listener(index).map(|l| l.map(OwnedFd::from)),
            _ => given.take_tcp_listener(index).map(|l| l.map(OwnedFd::from)),
        };
        match fd {
            Ok(Some(fd)) => sockets.push((kind, fd)),
            Ok(None) => {}
            Err(e) => return Err(format!("socket {index} from systemd does not fit {kind:?}: {e}")),
        }
    }
    Ok(sockets)
}

fn tcp(address: SocketAddr, v6_alone: bool) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let any_v6 = address.is_ipv6() && address.ip().is_unspecified();
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let bound = || -> rustix::io::Result<OwnedFd> {
        let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&fd, true)?;
        if address.is_ipv6() {
            sockopt::set_ipv6_v6only(&fd, v6_alone || !any_v6)?;
        }
        rustix::net::bind(&fd, &address)?;
        rustix::net::listen(&fd, BACKLOG)?;
        Ok(fd)
    };
    match bound() {
        // A system without IPv6: the same port on IPv4.
        Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) if any_v6 && !v6_alone => {
            log::info!("this system has no IPv6, listening on IPv4 only");
            tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), false)
        }
        other => Ok(other?),
    }
}

/// Why an address could not be opened, in one line.
fn taken(address: SocketAddr, error: io::Error) -> String {
    let mend = match error.kind() {
        io::ErrorKind::AddrInUse => {
            let holder = holder(address.port()).unwrap_or_else(|| "another program".to_string());
            return format!(
                "cannot listen on {address}: {holder} has it; stop that, or set another port under [listen]"
            );
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE, or set another port",
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address; [::] means all addresses",
        _ => "set another address under [listen]",
    };
    format!("cannot listen on {address}: {error}; {mend}")
}

/// The program that listens on this port, as far as `/proc` shows it to us: `prosody (process 812)`.
fn holder(port: u16) -> Option<String> {
    const LISTENING: &str = "0A";
    let wanted = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|file| fs::read_to_string(file).unwrap_or_default());
    let inode = tables.iter().flat_map(|table| table.lines()).find_map(|line| {
        let mut fields = line.split_whitespace();
        let (local, state) = (fields.nth(1)?, fields.nth(1)?);
        let inode = fields.nth(5)?;
        (local.ends_with(&wanted) && state == LISTENING).then(|| inode.to_string())
    })?;
    let link = PathBuf::from(format!("socket:[{inode}]"));
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut left = LOOKED_AT_MAX;
    for process in processes.filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit)) {
        for file in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            left = left.checked_sub(1)?;
            if fs::read_link(file.path()).is_ok_and(|target| target == link) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some(format!("{} (process {})", name.trim(), process.file_name().to_string_lossy()));
            }
        }
    }
    None
}

/// The administration socket. Nobody can connect before it is ours alone: it listens last.
fn unix(path: &Path) -> Result<OwnedFd, String> {
    let told = |e: io::Error| format!("cannot open the administration socket {}: {e}", path.display());
    if fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket()) {
        let answers = UnixAddress::from_pathname(path).and_then(|address| UnixStream::connect_addr(&address));
        if answers.is_ok() {
            return Err(format!("another Lampone runs already: it answers on {}; stop it first", path.display()));
        }
        // Left by a process that was killed.
        fs::remove_file(path).map_err(told)?;
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(told)?;
    }
    let bound = || -> io::Result<OwnedFd> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::bind(&fd, &SocketAddrUnix::new(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        rustix::net::listen(&fd, BACKLOG)?;
        Ok(fd)
    };
    bound().map_err(told)
}

/// One listener's task.
async fn accept(driver: Rc<Driver>, kind: Kind, listener: Source) {
    let mut complained: Option<Instant> = None;
    let mut complain = move |text: &str| {
        if complained.is_none_or(|at| at.elapsed() >= QUIET) {
            complained = Some(Instant::now());
            log::warn!("{text}");
        }
    };
    loop {
        poll_fn(|cx| listener.poll_readable(cx)).await;
        let mut round = 0;
        loop {
            match rustix::net::acceptfrom_with(&listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok((fd, from)) => {
                    let from = from.and_then(|from| SocketAddr::try_from(from).ok()).map(|from| from.ip());
                    if let Err(refusal) = enter(&driver, kind, fd, from) {
                        complain(&match refusal {
                            Refusal::Memory => {
                                "memory is nearly used up (MemoryHigh=): nobody new comes in for now".into()
                            }
                            Refusal::House => "as many connections as limits.streams allows: more are refused".into(),
                            Refusal::Address => format!("too many connections from {from:?}: more are refused"),
                        });
                    }
                }
                Err(Errno::AGAIN) => {
                    listener.is_empty();
                    break;
                }
                Err(e @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                    complain(&format!("no connection can be accepted for now: {e}; raise LimitNOFILE"));
                    Timer::after(REST).await;
                }
                // Those who gave up before we came (`accept(2)`, error handling).
                Err(_) => {}
            }
            round += 1;
            if round % ACCEPTS_PER_ROUND == 0 {
                yield_now().await;
            }
        }
    }
}

fn enter(driver: &Rc<Driver>, kind: Kind, fd: OwnedFd, from: Option<IpAddr>) -> Result<(), Refusal> {
    // Whoever mends that is let in.
    if kind != Kind::Admin && driver.memory.is_near() {
        return Err(Refusal::Memory);
    }
    match (kind, from) {
        (Kind::Admin, _) => match allowed(&fd) {
            Some(uid) => driver.admit(fd, Door::Local { uid }),
            None => Ok(()),
        },
        (_, Some(from)) => match Socket::new(fd) {
            Ok(socket) => driver.receive(kind, Rc::new(socket), from.to_canonical()),
            Err(e) => {
                log::debug!("a connection ended before it began: {e}");
                Ok(())
            }
        },
        // The peer was gone before we asked who it is.
        (_, None) => Ok(()),
    }
}

impl Driver {
    /// A connection with whatever was read of it already goes to its door.
    pub(super) fn arrive(
        self: &Rc<Self>,
        kind: Kind,
        socket: Rc<Socket>,
        from: IpAddr,
        early: &[u8],
    ) -> Result<(), Refusal> {
        let door = match kind {
            Kind::StartTls => Door::StartTls(from),
            Kind::DirectTls => Door::DirectTls(from),
            Kind::PeerStartTls => Door::PeerStartTls(from),
            Kind::PeerDirectTls => Door::PeerDirectTls(from),
            Kind::Component => Door::Component(from),
            Kind::Https => return self.admit_web(socket, from, true, early),
            Kind::Http => return self.admit_web(socket, from, false, early),
            Kind::Admin => return Ok(()),
        };
        self.admit_socket(socket, door, early)
    }
}

/// The peer's user id, if it is root's or our own.
fn allowed(fd: impl AsFd) -> Option<u32> {
    let uid = sockopt::socket_peercred(fd).ok()?.uid;
    if uid.is_root() || uid == rustix::process::geteuid() {
        return Some(uid.as_raw());
    }
    log::warn!("user {} may not use the administration socket", uid.as_raw());
    None
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_taken_port_is_named_with_its_holder() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let line = taken(address, tcp(address, false).unwrap_err());
        assert!(line.contains(&address.to_string()), "{line}");
        assert!(line.contains(&format!("process {}", std::process::id())), "{line}");
    }

    #[test]
    fn any_address_serves_both_families() {
        let fd = tcp("[::]:0".parse().unwrap(), false).unwrap();
        let port = SocketAddr::try_from(rustix::net::getsockname(&fd).unwrap()).unwrap().port();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    }

    #[test]
    fn a_stale_admin_socket_is_replaced_and_a_live_one_is_not() {
        let folder = std::env::temp_dir().join(format!("lampone-listen-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("admin.sock");
        drop(unix(&path).unwrap());
        let held = unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(unix(&path).unwrap_err().contains("runs already"));
        drop(held);
        fs::remove_dir_all(&folder).unwrap();
    }
}
