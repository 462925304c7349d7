//! TLS with other servers, in both roles. RFC 6120 §13.7, XEP-0178 v1.2, XEP-0368 v1.1.
//!
//! A handshake takes any certificate, because dialback may prove later what the certificate does not (XEP-0220 §2.7);
//! what the certificate is worth is told to the house, which decides.
//!
//! Invariants: that the peer has the key of the certificate it shows is always verified; chains are judged for
//! `serverAuth` in both roles, since public authorities sign for nothing else any more; no session is resumed, so each
//! judgement is of today; the authorities are read when the first certificate is judged, not before.

use std::{cell::OnceCell, fs, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    ServerConfig, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, ring as ring_provider, verify_tls12_signature,
        verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::{
        NoServerSessionStorage, ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};

use super::der;
use crate::{adapters::clock, limits, router::event::PeerCertificate};

/// XEP-0368 v1.1, rule 8.
const ALPN: &[u8] = b"xmpp-server";

/// Settings for the streams of one identity with other servers.
pub(super) struct Sides {
    pub(super) accepting_direct: Arc<ServerConfig>,
    pub(super) accepting_upgraded: Arc<ServerConfig>,
    dialing_direct: Arc<ClientConfig>,
    dialing_upgraded: Arc<ClientConfig>,
}

impl Sides {
    pub(super) fn new(provider: &Arc<CryptoProvider>, own: &Arc<SingleCertAndKey>) -> Result<Sides, Error> {
        let anybody = Arc::new(Anybody(provider.signature_verification_algorithms));
        let mut accepting = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_client_cert_verifier(anybody.clone())
            .with_cert_resolver(own.clone());
        accepting.session_storage = Arc::new(NoServerSessionStorage {});
        accepting.send_tls13_tickets = 0;
        accepting.ignore_client_order = true;
        let mut dialing = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(anybody)
            .with_client_cert_resolver(own.clone());
        dialing.resumption = Resumption::disabled();
        let mut accepting_direct = accepting.clone();
        accepting_direct.alpn_protocols = vec![ALPN.to_vec()];
        let mut dialing_direct = dialing.clone();
        dialing_direct.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Sides {
            accepting_direct: Arc::new(accepting_direct),
            accepting_upgraded: Arc::new(accepting),
            dialing_direct: Arc::new(dialing_direct),
            dialing_upgraded: Arc::new(dialing),
        })
    }

    /// The client's side towards the server of this domain, which is named whatever host DNS led to (XEP-0368, rule 6).
    pub(super) fn dial(&self, domain: &str, direct: bool) -> Result<ClientConnection, String> {
        let literal = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(domain);
        let name = ServerName::try_from(literal.to_owned());
        let name = name.map_err(|_| format!("{domain} is no name for a certificate"))?;
        let config = if direct { &self.dialing_direct } else { &self.dialing_upgraded };
        ClientConnection::new(config.clone(), name).map_err(|e| e.to_string())
    }
}

/// Takes every certificate whose key the peer has.
#[derive(Debug)]
pub(super) struct Anybody(pub(super) WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

impl ClientCertVerifier for Anybody {
    // A server without a certificate may still call back (XEP-0220).
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// The authorities that are trusted, read at first use.
pub(super) struct Roots {
    file: PathBuf,
    store: OnceCell<Result<RootCertStore, String>>,
}

impl Roots {
    pub(super) fn new(file: PathBuf) -> Roots {
        Roots { file, store: OnceCell::new() }
    }

    /// What a chain is worth, now; `None`: there is none.
    pub(super) fn judge(&self, chain: &[CertificateDer<'_>]) -> Option<PeerCertificate> {
        self.judge_at(chain, Duration::from_micros(clock::wall_us()))
    }

    fn judge_at(&self, chain: &[CertificateDer<'_>], now: Duration) -> Option<PeerCertificate> {
        let (leaf, intermediates) = chain.split_first()?;
        Some(PeerCertificate {
            trusted: self.trust(leaf, intermediates, UnixTime::since_unix_epoch(now)),
            names: der::peer_names(leaf),
            not_after_s: der::validity(leaf).map_or(0, |(_, until)| until.max(0).unsigned_abs()),
        })
    }

    fn trust(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), String> {
        let store = self.store.get_or_init(|| self.read()).as_ref().map_err(String::clone)?;
        let leaf = ParsedCertificate::try_from(leaf).map_err(|e| in_words(&e))?;
        let algorithms = ring_provider::default_provider().signature_verification_algorithms.all;
        let intermediates = intermediates.get(..limits::CERTIFICATE_CHAIN_MAX).unwrap_or(intermediates);
        verify_server_cert_signed_by_trust_anchor(&leaf, store, intermediates, now, algorithms)
            .map_err(|e| in_words(&e))
    }

    fn read(&self) -> Result<RootCertStore, String> {
        let told = |what: String| {
            let line = format!("{}: {what}; no other server's certificate is trusted (tls.roots)", self.file.display());
            log::warn!("{line}");
            line
        };
        let pem = fs::read(&self.file).map_err(|e| told(format!("the authorities cannot be read: {e}")))?;
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        store.roots.shrink_to_fit();
        if store.is_empty() { Err(told("there is no certificate in it".into())) } else { Ok(store) }
    }
}

/// Why a chain is not trusted, for the log.
fn in_words(error: &Error) -> String {
    let Error::InvalidCertificate(error) = error else { return error.to_string() };
    match error {
        CertificateError::UnknownIssuer => "no trusted authority signed it".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet".into(),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not made for servers".into()
        }
        CertificateError::BadSignature => "its signature is wrong".into(),
        CertificateError::BadEncoding => "it is malformed".into(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;
