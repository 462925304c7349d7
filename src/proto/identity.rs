//! For which domains a certificate speaks.
//!
//! Source: RFC 9525 §6, RFC 6120 §13.7.1.2, XEP-0178 v1.2. Invariant: only names of the subjectAltName count, never the
//! subject (S18), and the domain compared is the one of the addresses, whatever host DNS led to (S24).

use crate::{limits, wire::jid};

/// A name in a certificate's subjectAltName.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// dNSName, in A-labels; its left-most label may be `*`.
    Dns(String),
    /// SRVName of `_xmpp-server` (RFC 4985): the domain behind the service.
    SrvXmppServer(String),
    /// `id-on-xmppAddr` (RFC 6120 §13.7.1.4): an address.
    XmppAddr(String),
}

/// What a peer has shown in its TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Whether its chain ends at an authority that is trusted, for serverAuth and now; else why not, for the log.
    pub trusted: Result<(), String>,
    /// The names in it.
    pub names: Vec<PeerName>,
    /// Seconds since 1970 when it expires.
    pub not_after_s: u64,
}

impl PeerCertificate {
    /// Whether it proves that its holder is this domain, prepared as in addresses.
    ///
    /// # Errors
    /// Why not, for the log.
    pub fn proves(&self, domain: &str) -> Result<(), String> {
        self.trusted.clone()?;
        match names_match(&self.names, domain) {
            true => Ok(()),
            false => Err(format!("it is not for {domain}")),
        }
    }
}

/// Whether one of these names is the domain (RFC 9525 §6.3); of many names only the first
/// [`limits::CERTIFICATE_NAMES_MAX`] are looked at.
pub fn names_match(names: &[PeerName], domain: &str) -> bool {
    let ascii = jid::ascii_domain(domain);
    names.iter().take(limits::CERTIFICATE_NAMES_MAX).any(|name| match name {
        PeerName::Dns(name) => dns_matches(name, &ascii),
        // RFC 9525 §6.3: a wildcard has no place in the names of services.
        PeerName::SrvXmppServer(name) => name.eq_ignore_ascii_case(&ascii),
        PeerName::XmppAddr(address) => jid::prepare_domain(address).is_ok_and(|address| address == domain),
    })
}

/// RFC 9525 §6.3: label by label; `*` stands for the whole left-most label and for one label only.
fn dns_matches(name: &str, domain: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.eq_ignore_ascii_case(domain) {
        return true;
    }
    let (Some(below), Some((first, rest))) = (name.strip_prefix("*."), domain.split_once('.')) else { return false };
    // A wildcard never stands for a whole top-level domain, nor for a label of another script.
    below.contains('.') && !below.contains('*') && !first.starts_with("xn--") && below.eq_ignore_ascii_case(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(name: &str, domain: &str) -> bool {
        names_match(&[PeerName::Dns(name.into())], domain)
    }

    #[test]
    fn s18_a_wildcard_is_one_whole_left_most_label() {
        assert!(dns("Capulet.Lit", "capulet.lit"));
        assert!(dns("*.capulet.lit", "rooms.capulet.lit"));
        for (name, domain) in [
            ("*.capulet.lit", "capulet.lit"),
            ("*.capulet.lit", "a.rooms.capulet.lit"),
            ("*.lit", "capulet.lit"),
            ("r*.capulet.lit", "rooms.capulet.lit"),
            ("rooms.*.lit", "rooms.capulet.lit"),
            ("*.*.lit", "rooms.capulet.lit"),
            ("*", "capulet"),
            ("capulet.lit.evil.example", "capulet.lit"),
            ("evilcapulet.lit", "capulet.lit"),
            ("capulet.lit\0.evil.example", "capulet.lit"),
        ] {
            assert!(!dns(name, domain), "{name} is not {domain}");
        }
    }

    #[test]
    fn s18_names_of_services_and_addresses_are_whole() {
        assert!(names_match(&[PeerName::SrvXmppServer("capulet.lit".into())], "capulet.lit"));
        assert!(!names_match(&[PeerName::SrvXmppServer("*.capulet.lit".into())], "rooms.capulet.lit"));
        assert!(names_match(&[PeerName::XmppAddr("Capulet.LIT".into())], "capulet.lit"));
        assert!(!names_match(&[PeerName::XmppAddr("juliet@capulet.lit".into())], "capulet.lit"));
        assert!(!names_match(&[PeerName::XmppAddr("*.capulet.lit".into())], "rooms.capulet.lit"));
    }

    #[test]
    fn s18_other_scripts_are_compared_as_a_labels() {
        assert!(dns("xn--mnchen-3ya.example", "münchen.example"));
        assert!(names_match(&[PeerName::XmppAddr("münchen.example".into())], "münchen.example"));
        assert!(!dns("*.example.org", "münchen.example.org"));
        assert!(!dns("münchen.example", "münchen.example"), "a dNSName is ASCII");
    }

    #[test]
    fn s18_of_a_thousand_names_only_the_first_count() {
        let mut names = vec![PeerName::Dns("other.example".into()); limits::CERTIFICATE_NAMES_MAX];
        names.push(PeerName::Dns("capulet.lit".into()));
        assert!(!names_match(&names, "capulet.lit"));
        assert!(names_match(&names[1..], "capulet.lit"));
    }

    #[test]
    fn s23_a_name_without_trust_proves_nothing() {
        let names = vec![PeerName::Dns("capulet.lit".into())];
        let mut shown = PeerCertificate { trusted: Err("it is expired".into()), names, not_after_s: 0 };
        assert_eq!(shown.proves("capulet.lit"), Err("it is expired".into()));
        shown.trusted = Ok(());
        assert_eq!(shown.proves("capulet.lit"), Ok(()));
        assert!(shown.proves("montague.lit").is_err());
    }
}
