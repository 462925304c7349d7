//! Both roles against each other, and what certificates are worth.

use std::{net::Ipv4Addr, path::Path};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

use super::*;
use crate::{
    adapters::tls::{Certificates, CipherOrder, Start, Step, Tls},
    config::{Certificate, Config},
    router::event::{PeerName, Secured, Target},
};

/// An authority and what it signs, in a folder of its own.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params.distinguished_name.push(DnType::CommonName, "subject.example");
    params
}

impl Authority {
    fn new(test: &str) -> Authority {
        let folder = std::env::temp_dir().join(format!("lampone-peer-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[]);
        params.distinguished_name.push(DnType::OrganizationName, test);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(folder.join("roots.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { folder, issuer: Issuer::new(params, key) }
    }

    fn roots(&self) -> PathBuf {
        self.folder.join("roots.pem")
    }

    /// A certificate of this authority.
    fn signs(&self, params: &CertificateParams) -> CertificateDer<'static> {
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().clone()
    }

    /// A server of this domain whose certificate this authority signed.
    fn server(&self, domain: &str) -> Certificates {
        let key = KeyPair::generate().unwrap();
        let pem = params(&[domain]).signed_by(&key, &self.issuer).unwrap().pem();
        let certificate = Certificate {
            certificate: self.folder.join(format!("{domain}.pem")),
            key: self.folder.join(format!("{domain}.key")),
        };
        fs::write(&certificate.certificate, pem).unwrap();
        fs::write(&certificate.key, key.serialize_pem()).unwrap();
        served(domain, Some(certificate), &self.folder, self.roots())
    }

    fn judges(&self, certificate: CertificateDer<'_>) -> PeerCertificate {
        Roots::new(self.roots()).judge(&[certificate]).unwrap()
    }
}

fn served(domain: &str, tls: Option<Certificate>, folder: &Path, roots: PathBuf) -> Certificates {
    let domains = vec![domain.to_string()];
    let config = Config { domains, tls, roots, data: folder.join(domain), ..Config::default() };
    Certificates::load(&config, None, CipherOrder::default()).unwrap()
}

/// What both sides are shown, or who refuses.
fn shaken(
    from: &Certificates,
    to: &Certificates,
    target: &Target,
    direct: bool,
    start: Start,
) -> Result<(Secured, Secured), String> {
    let (mut ours, mut theirs) = (Tls::dial(target, direct, from)?, Tls::new(start));
    let (mut we, mut they) = (None, None);
    for _ in 0..20 {
        let mut wire = Vec::new();
        ours.push(&mut wire).unwrap();
        let mut feed = wire.as_slice();
        while let step @ (Step::Secured(_) | Step::Plain) = theirs.step(&mut feed, to)? {
            if let Step::Secured(secured) = step {
                they = Some(secured);
            }
        }
        let mut wire = Vec::new();
        theirs.push(&mut wire).unwrap();
        let mut feed = wire.as_slice();
        while let step @ (Step::Secured(_) | Step::Plain) = ours.step(&mut feed, from)? {
            if let Step::Secured(secured) = step {
                we = Some(secured);
            }
        }
        if let (Some(_), Some(_)) = (&we, &they) {
            break;
        }
    }
    we.zip(they).ok_or("the handshake did not end".into())
}

fn target(domain: &str, from: &str) -> Target {
    Target { domain: domain.into(), from: from.into() }
}

#[test]
fn s23_servers_show_each_other_certificates_and_name_the_domain() {
    let authority = Authority::new("both");
    let (capulet, montague) = (authority.server("capulet.example"), authority.server("montague.example"));
    for (direct, start) in [(true, Start::PeerDirect), (false, Start::PeerUpgraded)] {
        let target = target("montague.example", "capulet.example");
        let (we, they) = shaken(&capulet, &montague, &target, direct, start).unwrap();
        assert_eq!(they.server_name.as_deref(), Some("montague.example"));
        assert_eq!((we.version, we.server_name), ("1.3", None));
        assert_eq!(we.peer.unwrap().proves("montague.example"), Ok(()));
        let shown = they.peer.unwrap();
        assert_eq!(shown.proves("capulet.example"), Ok(()));
        assert_eq!(shown.not_after_s, 2_208_988_800);
        assert!(shown.proves("montague.example").is_err());
    }
}

#[test]
fn s23_a_self_signed_certificate_passes_the_handshake_and_proves_nothing() {
    let authority = Authority::new("self");
    let capulet = authority.server("capulet.example");
    let own = served("montague.example", None, &authority.folder, authority.roots());
    let (we, they) =
        shaken(&capulet, &own, &target("montague.example", "capulet.example"), false, Start::PeerUpgraded).unwrap();
    let shown = we.peer.unwrap();
    assert_eq!(shown.names, [PeerName::Dns("montague.example".into())]);
    assert_eq!(shown.proves("montague.example"), Err("no trusted authority signed it".into()));
    assert_eq!(they.peer.unwrap().proves("capulet.example"), Ok(()), "the other side is judged by itself");
}

#[test]
fn another_protocol_is_refused_at_the_direct_door() {
    let authority = Authority::new("alpn");
    let capulet = authority.server("capulet.example");
    let towards = target("capulet.example", "capulet.example");
    assert!(shaken(&capulet, &capulet, &towards, true, Start::Direct).is_err(), "xmpp-server at the clients' door");
    assert!(shaken(&capulet, &capulet, &towards, false, Start::PeerDirect).is_ok(), "without ALPN");
}

#[test]
fn s23_an_authority_speaks_for_servers_and_for_now() {
    let authority = Authority::new("worth");
    let mut sample = params(&["a.example"]);
    assert_eq!(authority.judges(authority.signs(&sample)).trusted, Ok(()), "without a purpose: for every one");
    sample.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let good = authority.signs(&sample);
    assert_eq!(authority.judges(good.clone()).trusted, Ok(()));
    sample.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert_eq!(authority.judges(authority.signs(&sample)).trusted, Err("it is not made for servers".into()));
    sample.extended_key_usages.clear();
    sample.not_after = rcgen::date_time_ymd(2021, 1, 1);
    assert_eq!(authority.judges(authority.signs(&sample)).trusted, Err("it has expired".into()));
    sample.not_before = rcgen::date_time_ymd(2039, 1, 1);
    sample.not_after = rcgen::date_time_ymd(2040, 1, 1);
    assert_eq!(authority.judges(authority.signs(&sample)).trusted, Err("it is not valid yet".into()));
    let stranger = Authority::new("stranger");
    assert_eq!(stranger.judges(good.clone()).trusted, Err("no trusted authority signed it".into()));
    let nowhere = Roots::new(authority.folder.join("nowhere.pem"));
    assert!(nowhere.judge(std::slice::from_ref(&good)).unwrap().trusted.unwrap_err().contains("nowhere.pem"));
    assert_eq!(nowhere.judge(&[]), None);
}

#[test]
fn s18_only_names_that_servers_have_are_read() {
    const XMPP_ADDR: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 8, 5];
    let authority = Authority::new("names");
    let mut sample = params(&["A.example", "*.a.example"]);
    sample.subject_alt_names.push(SanType::IpAddress(Ipv4Addr::LOCALHOST.into()));
    sample.subject_alt_names.push(SanType::OtherName((XMPP_ADDR.to_vec(), "münchen.example".into())));
    sample.subject_alt_names.push(SanType::OtherName((XMPP_ADDR.to_vec(), "a.example\0.evil.example".into())));
    sample.subject_alt_names.push(SanType::OtherName((vec![1, 2, 3], "other.example".into())));
    // Nothing of the subject, which is `subject.example`.
    let wanted = [
        PeerName::Dns("a.example".into()),
        PeerName::Dns("*.a.example".into()),
        PeerName::XmppAddr("münchen.example".into()),
    ];
    assert_eq!(authority.judges(authority.signs(&sample)).names, wanted);
}

#[test]
fn damaged_certificates_are_not_trusted() {
    let authority = Authority::new("damaged");
    let good = authority.signs(&params(&["a.example", "b.example"]));
    let roots = Roots::new(authority.roots());
    for at in 0..good.len() {
        let mut damaged = good.to_vec();
        damaged[at] ^= 0x21;
        let cut = CertificateDer::from(good[..at].to_vec());
        for hostile in [CertificateDer::from(damaged), cut] {
            assert!(roots.judge(&[hostile]).unwrap().trusted.is_err(), "byte {at}");
        }
    }
}
