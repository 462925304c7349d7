//! SASL. (Placeholder types until the mechanisms land.)

/// Channel-binding data of one TLS connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelBinding {
    /// `tls-exporter`, RFC 9266; TLS 1.3 only.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point`, RFC 5929 §4: hash of the certificate.
    pub end_point: Option<heapless::Vec<u8, 64>>,
}
