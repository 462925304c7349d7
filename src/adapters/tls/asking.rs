//! TLS of those who ask as clients: `lampone bench`.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};

use super::{CipherOrder, peer, provider};

/// Settings of a client that trusts the authorities in this PEM file, or whomever it meets if there is none. Every
/// handshake is a full one, so that each costs what a first one costs.
///
/// # Errors
/// One line: the file will not do.
pub fn asking(authorities: Option<&Path>, direct: bool) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(provider(CipherOrder::default()));
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13, &TLS12]);
    let builder = builder.map_err(|e| e.to_string())?;
    let mut config = match authorities {
        Some(file) => builder.with_root_certificates(read(file)?).with_no_client_auth(),
        None => {
            let anybody = Arc::new(peer::Anybody(algorithms));
            builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
        }
    };
    if direct {
        config.alpn_protocols = vec![super::ALPN.to_vec()];
    }
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn read(file: &Path) -> Result<RootCertStore, String> {
    let told = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|e| told(&e))? {
        roots.add(certificate.map_err(|e| told(&e))?).map_err(|e| told(&e))?;
    }
    if roots.is_empty() { Err(told(&"there is no certificate in it")) } else { Ok(roots) }
}
