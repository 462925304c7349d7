//! `lampone serve`: runs the server until a signal ends it.

use super::{invitation, output::say, settings::Sources};
use crate::{
    adapters::{driver::House, system},
    config::Config,
    router::event::Env,
    server::Server,
};
use std::rc::Rc;

/// Serves with the settings of these sources, which are read anew at SIGHUP.
///
/// # Errors
/// One line for the admin: why it could not start.
pub fn run(sources: Sources) -> Result<(), String> {
    let config = sources.read()?;
    let again = Box::new(move || sources.read());
    system::serve(config, again, Box::new(house))
}

fn house(config: Rc<Config>, env: &mut Env<'_>) -> Box<dyn House> {
    let mut server = Server::new(config, env);
    if let Some(uri) = server.first_invitation(env) {
        let told = say(format!(
            "Nobody has an account yet. The first administrator's invitation:\n{}Or on this machine: lampone user add NAME",
            invitation::text(&uri)
        ));
        // The server can do without; `lampone invite --admin` makes another.
        if let Err(why) = told {
            log::warn!("the invitation could not be shown: {why}");
        }
    }
    Box::new(server)
}
