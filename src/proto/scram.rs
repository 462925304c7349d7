//! SCRAM. (Placeholder types until the mechanisms land.)

/// What is stored of a password: SCRAM keys of both hashes.
#[derive(Clone, Debug)]
pub struct Credentials {}

impl Credentials {
    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let _ = out;
    }
    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Option<Credentials> {
        let _ = bytes;
        None
    }
}
