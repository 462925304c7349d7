//! SCRAM. (Placeholder types until the mechanisms land.)

/// What is stored of a password: SCRAM keys of both hashes.
#[derive(Clone, Debug)]
pub struct Credentials {}
