//! `lampone serve`: runs the server until a signal ends it.

pub use crate::adapters::system::ReloadFn;
use crate::{adapters::system, config::Config, server::Server};

/// Serves with these settings; `sources` reads them anew at SIGHUP.
///
/// # Errors
/// One line for the admin: why it could not start.
pub fn run(config: Config, sources: ReloadFn) -> Result<(), String> {
    system::serve(config, sources, Box::new(|config, env| Box::new(Server::new(config, env))))
}
