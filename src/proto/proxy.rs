//! The header that a proxy puts before a connection that it passes on: whose it is.
//!
//! Source: the PROXY protocol, versions 1 and 2 (HAProxy, 2020). Who may say such things is decided elsewhere. Invariant:
//! what is no header of that protocol is an error and never guessed at (§2.2: the receiver "MUST NOT try to guess").

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// §2.1: the longest header of version 1, with its line end.
const LINE_BYTES_MAX: usize = 107;
/// §2.2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes before the addresses of version 2.
const FIXED_BYTES: usize = 16;
/// Bytes behind them that are taken: addresses and whatever the proxy adds (§2.2.7).
const REST_BYTES_MAX: usize = 520;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its bytes.
    pub length: usize,
    /// Whose connection it is; `None`: the proxy's own, or it does not know.
    pub from: Option<IpAddr>,
}

/// What begins a connection is no such header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHeader;

/// Reads the header at the beginning of a connection; `None`: more is needed.
///
/// # Errors
/// [`NoHeader`].
pub fn read(bytes: &[u8]) -> Result<Option<Told>, NoHeader> {
    let begins = |start: &[u8]| bytes.iter().zip(start).all(|(one, other)| one == other);
    if begins(SIGNATURE) {
        return second(bytes);
    }
    if begins(b"PROXY ") {
        return first(bytes);
    }
    Err(NoHeader)
}

/// §2.1.
fn first(bytes: &[u8]) -> Result<Option<Told>, NoHeader> {
    let view = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = view.windows(2).position(|two| two == b"\r\n") else {
        return if view.len() < LINE_BYTES_MAX { Ok(None) } else { Err(NoHeader) };
    };
    let line = std::str::from_utf8(&view[..end]).map_err(|_| NoHeader)?;
    let words: Vec<&str> = line.split(' ').collect();
    let from = match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => None,
        ["PROXY", family, from, to, from_port, to_port] => {
            let ports = [from_port, to_port].iter().all(|port| port.parse::<u16>().is_ok());
            let addresses = match *family {
                "TCP4" => from.parse::<Ipv4Addr>().ok().zip(to.parse::<Ipv4Addr>().ok()).map(|(from, _)| from.into()),
                "TCP6" => from.parse::<Ipv6Addr>().ok().zip(to.parse::<Ipv6Addr>().ok()).map(|(from, _)| from.into()),
                _ => None,
            };
            Some(addresses.filter(|_| ports).ok_or(NoHeader)?)
        }
        _ => return Err(NoHeader),
    };
    Ok(Some(Told { length: end + 2, from }))
}

/// §2.2.
fn second(bytes: &[u8]) -> Result<Option<Told>, NoHeader> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let (version, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if version >> 4 != 2 || version & 0x0F > 1 || length > REST_BYTES_MAX {
        return Err(NoHeader);
    }
    let Some(rest) = rest.get(..length) else { return Ok(None) };
    let from = match (version & 0x0F, family >> 4) {
        (0, _) => None,
        (1, 1) if length >= 12 => rest.first_chunk::<4>().map(|from| IpAddr::from(*from)),
        (1, 2) if length >= 36 => rest.first_chunk::<16>().map(|from| IpAddr::from(*from)),
        // Sockets of one machine, or nothing that is known.
        (1, 0 | 3) => None,
        _ => return Err(NoHeader),
    };
    Ok(Some(Told { length: FIXED_BYTES + length, from }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However it is cut, the header is found at the same byte.
    fn told(bytes: &[u8]) -> Result<Option<Told>, NoHeader> {
        let whole = read(bytes);
        if let Ok(Some(told)) = whole {
            assert!((0..told.length).all(|end| read(&bytes[..end]) == Ok(None)), "{bytes:?}");
        }
        whole
    }

    #[test]
    fn the_first_version_is_a_line() {
        // §2.1, its examples.
        let line = b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\nrest";
        assert_eq!(told(line), Ok(Some(Told { length: 56, from: Some([255, 255, 255, 255].into()) })));
        let six = b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n";
        assert_eq!(told(six).unwrap().unwrap().from, Some("2001:db8::1".parse().unwrap()));
        assert_eq!(told(b"PROXY UNKNOWN\r\n"), Ok(Some(Told { length: 15, from: None })));
        let long = [&b"PROXY UNKNOWN "[..], &[b'f'; 200], b"\r\n"].concat();
        assert_eq!(read(&long), Err(NoHeader));
        for bad in [
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP4 1.2.3.4\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
            "GET / HTTP/1.1\r\n",
            "\x16\x03\x01",
        ] {
            assert_eq!(read(bad.as_bytes()), Err(NoHeader), "{bad}");
        }
    }

    #[test]
    fn the_second_version_has_a_signature() {
        // §2.2.
        let header = |version: u8, family: u8, rest: &[u8]| {
            let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
            [SIGNATURE.as_slice(), &[version, family], &length, rest, b"behind"].concat()
        };
        let four = header(0x21, 0x11, &[192, 0, 2, 1, 127, 0, 0, 1, 0, 1, 0, 2]);
        assert_eq!(told(&four), Ok(Some(Told { length: 28, from: Some([192, 0, 2, 1].into()) })));
        let six = header(0x21, 0x21, &[[1; 16].as_slice(), &[2; 16], &[0; 4], &[3; 40]].concat());
        assert_eq!(told(&six), Ok(Some(Told { length: 16 + 76, from: Some([1; 16].into()) })));
        assert_eq!(told(&header(0x20, 0, b"")), Ok(Some(Told { length: 16, from: None })));
        for bad in [
            header(0x11, 0x11, &[0; 12]),
            header(0x22, 0x11, &[0; 12]),
            header(0x21, 0x11, &[0; 11]),
            header(0x21, 0x41, &[0; 12]),
            header(0x21, 0x11, &[0; 600]),
        ] {
            assert_eq!(read(&bad), Err(NoHeader), "{bad:?}");
        }
    }
}
