//! Where we are reached, and by whom through whom: host names and forwarded addresses.
//!
//! Source: RFC 9110 §7.2, RFC 7239 §4. Invariant (S44): what a client says about itself counts only if a trusted proxy
//! passed it on, and then only the address that this proxy saw itself.

use std::net::IpAddr;

use crate::config::Network;

/// The client's address as the nearest proxy tells it: the last one that is no proxy of ours in `X-Forwarded-For` or, if
/// there is none, in `Forwarded` (RFC 7239). `None`: it tells none that can be read.
pub fn forwarded(x_forwarded_for: Option<&str>, forwarded: Option<&str>, proxies: &[Network]) -> Option<IpAddr> {
    let ours = |address: &IpAddr| proxies.iter().any(|network| network.contains(*address));
    let last = |addresses: &mut dyn DoubleEndedIterator<Item = Option<IpAddr>>| {
        // An address that cannot be read ends the search: what stands before it was written by anybody.
        addresses.rev().find(|address| address.as_ref().is_none_or(|address| !ours(address))).flatten()
    };
    match (x_forwarded_for, forwarded) {
        (Some(list), _) => last(&mut list.split(',').map(node)),
        (None, Some(list)) => last(&mut list.split(',').map(|element| {
            let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
            node(pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?.1)
        })),
        (None, None) => None,
    }
}

/// An address as a list names it: quoted or not, an IPv6 one in brackets or not, with a port or not.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    text.parse().ok().or_else(|| text.rsplit_once(':')?.0.parse().ok())
}

/// The name in a `Host` header, without its port, in lower case.
pub fn name(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(name, _)| name),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| Network::parse(text).unwrap()).collect()
    }

    #[test]
    fn the_nearest_address_that_is_no_proxy_counts() {
        let proxies = networks(&["127.0.0.1", "10.0.0.0/8"]);
        let told = |list: &str| forwarded(Some(list), None, &proxies).map(|a| a.to_string());
        assert_eq!(told("192.0.2.7").as_deref(), Some("192.0.2.7"));
        assert_eq!(told("1.2.3.4, 192.0.2.7, 10.0.0.5").as_deref(), Some("192.0.2.7"), "the rest is hearsay");
        assert_eq!(told("192.0.2.7, nonsense"), None);
        assert_eq!(told("[2001:db8::7]:443").as_deref(), Some("2001:db8::7"));
        let told = |list: &str| forwarded(None, Some(list), &proxies).map(|a| a.to_string());
        assert_eq!(told("for=1.2.3.4, for=\"[2001:db8::7]:80\";proto=https").as_deref(), Some("2001:db8::7"));
        assert_eq!(told("proto=https"), None);
    }

    #[test]
    fn a_host_has_a_name() {
        for (host, expected) in
            [("Example.org:5443", "example.org"), ("example.org.", "example.org"), ("[::1]:80", "::1")]
        {
            assert_eq!(name(host), expected);
        }
    }
}
