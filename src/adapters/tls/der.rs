//! Three questions to a certificate: how it is signed, how long it is valid, which names it has (RFC 5280 §4.1). No
//! more: whether it is to be trusted others judge.
//!
//! Invariant: any bytes give an answer or `None`; nothing is read outside its element.

use crate::{limits, router::event::PeerName};

/// Hash functions that certificates are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256, also in place of MD5 and SHA-1 (RFC 5929 §4.1).
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const PSS_HASH: u8 = 0xa0;
/// As a GeneralName, and around the value of one.
const OTHER_NAME: u8 = 0xa0;
const DNS_NAME: u8 = 0x82;
const IP_ADDRESS: u8 = 0x87;

struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and contents. Lengths of up to four bytes are known.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let count = usize::from(first & 0x7f);
            if count == 0 || count > 4 {
                return None;
            }
            let (digits, after) = rest.split_at_checked(count)?;
            rest = after;
            digits.iter().try_fold(0usize, |n, &d| n.checked_mul(256)?.checked_add(usize::from(d)))?
        };
        let (body, after) = rest.split_at_checked(length)?;
        self.0 = after;
        Some((tag, body))
    }

    /// The contents of the next element, which has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(t, _)| *t == tag).map(|(_, body)| body)
    }
}

/// The parts of `TBSCertificate` from `validity` on, and what follows it.
fn parts(certificate: &[u8]) -> Option<(Der<'_>, Der<'_>)> {
    let mut outer = Der(Der(certificate).expect(SEQUENCE)?);
    let mut tbs = Der(outer.expect(SEQUENCE)?);
    let (tag, _) = tbs.next()?;
    if tag == VERSION {
        tbs.expect(INTEGER)?; // Serial number.
    }
    tbs.expect(SEQUENCE)?; // Signature algorithm, again.
    tbs.expect(SEQUENCE)?; // Issuer.
    Some((tbs, outer))
}

/// The one hash function of the certificate's signature algorithm as `tls-server-end-point` wants it (RFC 5929 §4.1):
/// `None` where it has none of its own (Ed25519) or one unknown here, because then the binding is undefined.
pub fn signature_hash(certificate: &[u8]) -> Option<Hash> {
    const PKCS1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01";
    const ECDSA: &[u8] = b"\x2a\x86\x48\xce\x3d\x04";
    let mut algorithm = Der(parts(certificate)?.1.expect(SEQUENCE)?);
    let oid = algorithm.expect(OID)?;
    if let Some(rsa) = oid.strip_prefix(PKCS1) {
        return match rsa {
            [4 | 5 | 11] => Some(Hash::Sha256),
            [12] => Some(Hash::Sha384),
            [13] => Some(Hash::Sha512),
            [10] => pss_hash(algorithm),
            _ => None,
        };
    }
    match oid.strip_prefix(ECDSA)? {
        [1] | [3, 2] => Some(Hash::Sha256),
        [3, 3] => Some(Hash::Sha384),
        [3, 4] => Some(Hash::Sha512),
        _ => None,
    }
}

/// RSASSA-PSS names its hash in the parameters; absent means SHA-1 (RFC 4055 §3.1).
fn pss_hash(mut algorithm: Der<'_>) -> Option<Hash> {
    let mut parameters = Der(algorithm.expect(SEQUENCE)?);
    let Some(hash) = parameters.expect(PSS_HASH) else { return Some(Hash::Sha256) };
    match Der(Der(hash).expect(SEQUENCE)?).expect(OID)? {
        b"\x2b\x0e\x03\x02\x1a" | b"\x60\x86\x48\x01\x65\x03\x04\x02\x01" => Some(Hash::Sha256),
        b"\x60\x86\x48\x01\x65\x03\x04\x02\x02" => Some(Hash::Sha384),
        b"\x60\x86\x48\x01\x65\x03\x04\x02\x03" => Some(Hash::Sha512),
        _ => None,
    }
}

/// From when to when the certificate is valid, in seconds since 1970.
pub fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let mut validity = Der(parts(certificate)?.0.expect(SEQUENCE)?);
    Some((time(validity.next()?)?, time(validity.next()?)?))
}

/// `YYMMDDHHMMSSZ` (RFC 5280 §4.1.2.5.1: 50 to 99 are of the last century) or `YYYYMMDDHHMMSSZ`.
fn time((tag, text): (u8, &[u8])) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    let number = |from: usize, length: usize| -> Option<i64> {
        let digits = digits.get(from..from + length)?;
        digits.iter().try_fold(0i64, |n, d| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0')))
    };
    let (year, at) = match tag {
        UTC_TIME => (number(0, 2).map(|y| if y < 50 { 2000 + y } else { 1900 + y })?, 2),
        GENERALIZED_TIME => (number(0, 4)?, 4),
        _ => return None,
    };
    let (month, day) = (number(at, 2)?, number(at + 2, 2)?);
    let seconds = number(at + 4, 2)? * 3_600 + number(at + 6, 2)? * 60 + number(at + 8, 2)?;
    // Months count from March, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + seconds)
}

/// The names of the certificate as written in it: DNS names in lower case, IP addresses as text.
pub fn names(certificate: &[u8]) -> Vec<String> {
    alternative_names(certificate).unwrap_or_default()
}

/// The names by which another server may be known (RFC 6120 §13.7.1.2), as written in the certificate, of all kinds
/// together at most `CERTIFICATE_NAMES_MAX`; what is not well-formed is left out.
pub fn peer_names(certificate: &[u8]) -> Vec<PeerName> {
    let mut names = Vec::new();
    let Some(mut general) = general_names(certificate) else { return names };
    while names.len() < limits::CERTIFICATE_NAMES_MAX
        && let Some((tag, body)) = general.next()
    {
        names.extend(match tag {
            DNS_NAME => host(body).map(PeerName::Dns),
            OTHER_NAME => other_name(body),
            _ => None,
        });
    }
    names
}

/// `OtherName` of RFC 5280 §4.2.1.6 where it is a name of a server.
fn other_name(body: &[u8]) -> Option<PeerName> {
    /// `id-on-xmppAddr`, RFC 6120 §13.7.1.4.
    const XMPP_ADDR: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x08\x05";
    /// `id-on-dnsSRV`, RFC 4985 §2.
    const DNS_SRV: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x08\x07";
    /// RFC 6120 §13.7.1.2.1.
    const SERVICE: &str = "_xmpp-server.";
    let mut other = Der(body);
    let kind = other.expect(OID)?;
    let mut value = Der(other.expect(OTHER_NAME)?);
    match kind {
        XMPP_ADDR => {
            let address = str::from_utf8(value.expect(UTF8_STRING)?).ok()?;
            let sound = !address.is_empty() && !address.contains(char::is_control);
            sound.then(|| PeerName::XmppAddr(address.to_owned()))
        }
        DNS_SRV => {
            let name = host(value.expect(IA5_STRING)?)?;
            let (service, domain) = name.split_at_checked(SERVICE.len())?;
            let named = service == SERVICE && !domain.is_empty();
            named.then(|| PeerName::SrvXmppServer(domain.to_owned()))
        }
        _ => None,
    }
}

/// A name of printable ASCII in lower case. Others, such as `good.example\0.evil.example`, are no names at all.
fn host(bytes: &[u8]) -> Option<String> {
    let sound = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
    sound.then(|| String::from_utf8_lossy(bytes).to_ascii_lowercase())
}

fn alternative_names(certificate: &[u8]) -> Option<Vec<String>> {
    let mut general = general_names(certificate)?;
    let mut names = Vec::new();
    while let Some((tag, body)) = general.next() {
        match tag {
            DNS_NAME => names.push(String::from_utf8_lossy(body).to_ascii_lowercase()),
            IP_ADDRESS => names.extend(ip_text(body)),
            _ => {}
        }
    }
    Some(names)
}

/// The contents of the `subjectAltName` extension.
fn general_names(certificate: &[u8]) -> Option<Der<'_>> {
    const SUBJECT_ALT_NAME: &[u8] = b"\x55\x1d\x11";
    let mut tbs = parts(certificate)?.0;
    let extensions = loop {
        if let (EXTENSIONS, body) = tbs.next()? {
            break body;
        }
    };
    let mut extensions = Der(Der(extensions).expect(SEQUENCE)?);
    while let Some(extension) = extensions.expect(SEQUENCE) {
        let mut extension = Der(extension);
        if extension.expect(OID)? != SUBJECT_ALT_NAME {
            continue;
        }
        let value = loop {
            if let (OCTET_STRING, body) = extension.next()? {
                break body;
            }
        };
        return Some(Der(Der(value).expect(SEQUENCE)?));
    }
    None
}

fn ip_text(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::IpAddr::from(four).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|sixteen| std::net::IpAddr::from(sixteen).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("key");
        let names = vec!["one.example".to_string(), "192.0.2.1".to_string()];
        let mut params = rcgen::CertificateParams::new(names).expect("names");
        params.not_before = rcgen::date_time_ymd(1999, 12, 31);
        params.not_after = rcgen::date_time_ymd(2052, 2, 29);
        params.self_signed(&key).expect("certificate").der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        assert_eq!(signature_hash(&made(&rcgen::PKCS_ECDSA_P256_SHA256)), Some(Hash::Sha256));
        assert_eq!(signature_hash(&made(&rcgen::PKCS_ECDSA_P384_SHA384)), Some(Hash::Sha384));
        assert_eq!(signature_hash(&made(&rcgen::PKCS_ED25519)), None);
    }

    #[test]
    fn validity_and_names_are_read() {
        let der = made(&rcgen::PKCS_ECDSA_P256_SHA256);
        assert_eq!(validity(&der), Some((946_598_400, 2_592_777_600)));
        assert_eq!(names(&der), ["one.example", "192.0.2.1"]);
    }

    #[test]
    fn s18_cut_and_damaged_certificates_give_no_answer_and_no_panic() {
        let der = made(&rcgen::PKCS_ECDSA_P256_SHA256);
        for end in 0..der.len() {
            assert_eq!(signature_hash(&der[..end]), None);
            let mut damaged = der.clone();
            damaged[end] ^= 0x85;
            let _ = (signature_hash(&damaged), validity(&damaged), names(&damaged), peer_names(&damaged));
        }
    }
    /// A certificate with nothing in it but this GeneralName.
    fn with_name(name: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, body: &[u8]| [&[tag, u8::try_from(body.len()).unwrap()], body].concat();
        let value = wrap(OCTET_STRING, &wrap(SEQUENCE, name));
        let extension = wrap(SEQUENCE, &[b"\x06\x03\x55\x1d\x11", value.as_slice()].concat());
        let extensions = wrap(EXTENSIONS, &wrap(SEQUENCE, &extension));
        let tbs = wrap(SEQUENCE, &[b"\x02\x01\x01\x30\x00\x30\x00", extensions.as_slice()].concat());
        wrap(SEQUENCE, &tbs)
    }

    #[test]
    fn names_of_services_count_for_servers_only() {
        const SRV: &[u8] = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x07";
        let srv = |tag: u8, text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            let value = [&[OTHER_NAME, length + 2, tag, length], text.as_bytes()].concat();
            let body = [SRV, &value].concat();
            peer_names(&with_name(&[&[OTHER_NAME, u8::try_from(body.len()).unwrap()], body.as_slice()].concat()))
        };
        assert_eq!(srv(IA5_STRING, "_xmpp-server.A.example"), [PeerName::SrvXmppServer("a.example".into())]);
        assert_eq!(srv(IA5_STRING, "_XMPP-Server.a.example"), [PeerName::SrvXmppServer("a.example".into())]);
        for other in ["_xmpp-client.a.example", "a.example", "_xmpp-server.", "_xmpp-server", "", "_xmpp-serverä.b"] {
            assert_eq!(srv(IA5_STRING, other), [], "{other}");
        }
        assert_eq!(srv(UTF8_STRING, "_xmpp-server.a.example"), []);
    }

    #[test]
    fn s18_hostile_names_are_none() {
        for hostile in
            [&b"\x82\x00"[..], b"\x82\x05a b.c", b"\x82\x04a\0.b", b"\xa0\x02\x06\x00", b"\x82\x84\xff\xff\xff\xff"]
        {
            assert_eq!(peer_names(&with_name(hostile)), [], "{hostile:?}");
        }
    }
}
