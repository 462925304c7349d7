//! Passwords, off the main thread: a PBKDF2 takes milliseconds here and tens of them on a small machine.
//!
//! Invariant: at most [`WORKERS_MAX`] run at once, so that a flood of sign-ins takes that many cores and no more.

use std::panic::{AssertUnwindSafe, catch_unwind};

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::proto::scram::{Credentials, ITERATIONS, SALT_BYTES};

/// Derivations at once.
pub const WORKERS_MAX: usize = 2;

/// Runs work on a thread of its own, which ends with it: starting one costs a hundredth of the work, and a pool's idle
/// threads would wake twice a second. `None`: there was no thread to be had, or the work panicked.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = smol::channel::bounded(1);
    let started = std::thread::Builder::new().name("lampone-keys".into()).spawn(move || {
        // Whoever asked may be gone.
        let _ = sender.send_blocking(work());
    });
    if let Err(error) = started {
        log::error!("no thread for a password: {error}");
        return None;
    }
    receiver.recv().await.ok()
}

/// SCRAM keys of a new, prepared password, with a salt of its own. `None` after a fault of ours (or a system without randomness: a
/// known salt would be worse than no account); it is logged, and whoever waits for the answer runs into its deadline.
pub fn derive(password: &str) -> Option<Credentials> {
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).ok()?;
    catch_unwind(|| Credentials::derive(password, salt, ITERATIONS)).ok()
}

/// Whether this is the (prepared) password, in a time that tells nothing. A fault of ours says no.
pub fn verify(credentials: &Credentials, password: &Zeroizing<String>) -> bool {
    catch_unwind(AssertUnwindSafe(|| credentials.verify_password(password))).unwrap_or(false)
}
