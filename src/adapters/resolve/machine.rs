//! What this machine says about names: `resolv.conf(5)`, `hosts(5)`.
//!
//! Both are small and read anew at each use, so that a new router or a changed line needs no restart. Invariant: no more
//! than `DNS_FILE_BYTES_MAX` of a file are read.

use std::{
    fs::{self, File},
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use crate::limits;

const PORT: u16 = 53;

/// Whom to ask, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolving {
    /// In order; never empty for the machine's.
    pub servers: Vec<SocketAddr>,
    /// `timeout`: how long a server may take, instead of what we think.
    pub patience: Option<Duration>,
    /// `attempts`: how often each server is asked, instead of twice.
    pub attempts: Option<usize>,
    /// `rotate`: any server is the first.
    pub rotates: bool,
    /// `use-vc`: over TCP alone.
    pub is_tcp: bool,
    /// `no-aaaa`: this machine has no use for addresses of IPv6.
    pub no_aaaa: bool,
}

/// What the machine says of its resolvers.
pub fn resolving() -> Resolving {
    resolving_in(&text("/etc/resolv.conf"))
}

fn resolving_in(text: &str) -> Resolving {
    let mut resolving = Resolving { servers: servers_in(text), ..Resolving::default() };
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("options") {
            continue;
        }
        // A later line beats an earlier one; what has no meaning here is left alone.
        for word in words {
            let number = |name: &str| word.strip_prefix(name)?.strip_prefix(':')?.parse::<u64>().ok();
            match word {
                "rotate" => resolving.rotates = true,
                "use-vc" | "usevc" | "tcp" => resolving.is_tcp = true,
                "no-aaaa" => resolving.no_aaaa = true,
                _ => {
                    // Bounds of resolv.conf(5); no patience at all would be no question.
                    let patience =
                        number("timeout").map(|s| Duration::from_secs(s.clamp(1, limits::DNS_TIMEOUT_S_MAX)));
                    resolving.patience = patience.or(resolving.patience);
                    let attempts = number("attempts").and_then(|n| usize::try_from(n).ok());
                    let attempts = attempts.map(|n| n.clamp(1, limits::DNS_ATTEMPTS_MAX));
                    resolving.attempts = attempts.or(resolving.attempts);
                }
            }
        }
    }
    resolving
}

fn servers_in(text: &str) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("nameserver")).then_some(words.next()?)
        })
        .filter_map(server)
        .take(limits::DNS_SERVERS_MAX)
        .collect();
    if servers.is_empty() {
        servers.push(SocketAddr::from((Ipv4Addr::LOCALHOST, PORT)));
    }
    servers
}

/// `192.0.2.1`, `2001:db8::1` or `fe80::1%eth0`.
fn server(word: &str) -> Option<SocketAddr> {
    let Some((address, zone)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse().ok()?, PORT));
    };
    let named = || {
        let sound = zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'@'));
        let file = format!("/sys/class/net/{zone}/ifindex");
        if sound { fs::read_to_string(file).ok()?.trim().parse().ok() } else { None }
    };
    let scope = zone.parse().ok().or_else(named)?;
    Some(SocketAddrV6::new(address.parse().ok()?, PORT, 0, scope).into())
}

/// The addresses that `/etc/hosts` has for a name in lower case.
pub fn hosts(name: &str) -> Vec<IpAddr> {
    hosts_in(&text("/etc/hosts"), name)
}

fn hosts_in(text: &str, name: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        if let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>)
            && words.any(|word| word.eq_ignore_ascii_case(name))
            && found.len() < limits::DIAL_ADDRESSES_MAX
        {
            found.push(address);
        }
    }
    found
}

fn text(path: &str) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limits::DNS_FILE_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) => {
            log::debug!("{path}: {e}");
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_those_of_resolv_conf() {
        let text = "# made by hand\nsearch home.example\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 # second\n\
                    nameserver fe80::1%3\nnameserver broken\nnameserver fe80::1%../../etc\noptions rotate\n";
        let wanted = ["192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%3]:53"];
        assert_eq!(servers_in(text), wanted.map(|address| address.parse::<SocketAddr>().unwrap()));
        assert_eq!(servers_in(""), ["127.0.0.1:53".parse::<SocketAddr>().unwrap()]);
        assert_eq!(servers_in(&"nameserver 192.0.2.1\n".repeat(50)).len(), limits::DNS_SERVERS_MAX);
    }

    #[test]
    fn options_say_how_to_ask() {
        let text =
            "options ndots:2 timeout:3 rotate\nnameserver 192.0.2.1\noptions attempts:4 trust-ad use-vc no-aaaa\n";
        let all = Resolving {
            servers: servers_in(text),
            patience: Some(Duration::from_secs(3)),
            attempts: Some(4),
            rotates: true,
            is_tcp: true,
            no_aaaa: true,
        };
        assert_eq!(resolving_in(text), all);
        let none = Resolving { servers: servers_in(text), ..Resolving::default() };
        let odd = "nameserver 192.0.2.1\n#options rotate\noptions timeout: attempts:x timeout:-1 rotated\n";
        assert_eq!(resolving_in(odd), none);
        // Out of bounds, and said twice.
        for (text, patience_s, attempts) in
            [("timeout:99 attempts:99", 30, 5), ("timeout:7 timeout:0 attempts:0", 1, 1)]
        {
            let found = resolving_in(&format!("options {text}"));
            assert_eq!((found.patience, found.attempts), (Some(Duration::from_secs(patience_s)), Some(attempts)));
        }
    }

    #[test]
    fn hosts_have_several_names() {
        let text =
            "127.0.0.1 localhost\n192.0.2.1 Pi.home.example pi # the server\n::1 localhost\n# 1.1.1.1 pi\nx pi\n";
        assert_eq!(hosts_in(text, "pi"), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(hosts_in(text, "pi.home.example").len(), 1);
        assert_eq!(hosts_in(text, "localhost").len(), 2);
        assert_eq!(hosts_in(text, "server"), Vec::<IpAddr>::new());
    }
}
