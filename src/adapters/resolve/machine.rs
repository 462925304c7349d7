//! What this machine says about names: `resolv.conf(5)`, `hosts(5)`.
//!
//! Both are small and read anew at each use, so that a new router or a changed line needs no restart. Invariant: no more
//! than `DNS_FILE_BYTES_MAX` of a file are read.

use std::{
    fs::{self, File},
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6},
};

use crate::limits;

const PORT: u16 = 53;

/// The machine's resolvers, in order.
pub fn servers() -> Vec<SocketAddr> {
    servers_in(&text("/etc/resolv.conf"))
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
    fn hosts_have_several_names() {
        let text =
            "127.0.0.1 localhost\n192.0.2.1 Pi.home.example pi # the server\n::1 localhost\n# 1.1.1.1 pi\nx pi\n";
        assert_eq!(hosts_in(text, "pi"), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(hosts_in(text, "pi.home.example").len(), 1);
        assert_eq!(hosts_in(text, "localhost").len(), 2);
        assert_eq!(hosts_in(text, "server"), Vec::<IpAddr>::new());
    }
}
