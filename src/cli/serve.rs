//! `lampone serve`: runs the server until a signal ends it.

use std::io::{IsTerminal, Write};

use super::{Mistakes, print, settings::Sources};
pub use crate::adapters::system::ReloadFn;
use crate::{adapters::system, config::Config, server::Server};

/// Serves with settings from these sources.
///
/// # Errors
/// Why it could not start.
pub fn serve(sources: Sources) -> Result<(), Mistakes> {
    let config = sources.read()?;
    let again = Box::new(move || sources.read().map_err(|lines| lines.join("; ")));
    run(config, again).map_err(|line| vec![line])
}

/// Serves with these settings; `sources` reads them anew at SIGHUP.
///
/// # Errors
/// One line for the admin: why it could not start.
pub fn run(config: Config, sources: ReloadFn) -> Result<(), String> {
    let house: system::HouseFn = Box::new(|config, env| {
        let mut server = Server::new(config.clone(), env);
        if let Some(invited) = server.first_invitation(env) {
            welcome(&config, &invited.uri, invited.page.as_deref());
        }
        Box::new(server)
    });
    system::serve(config, sources, house)
}

/// What the first admin has to know. Nobody may be listening on standard output, which is no reason not to serve.
fn welcome(config: &Config, link: &str, page: Option<&str>) {
    let mut out = std::io::stdout().lock();
    let data = config.data.display();
    let _ = writeln!(out, "\nNobody has an account yet. This link makes an administrator's:\n\n  {link}\n");
    if let Some(page) = page {
        let _ = writeln!(out, "It can be opened in a browser as well:\n\n  {page}\n");
    }
    if let (true, Some(code)) = (out.is_terminal(), print::qr_code(link)) {
        let _ = writeln!(out, "{code}");
    }
    let _ = writeln!(out, "Or make one from here:\n\n  lampone user add NAME --admin --data {data}\n");
    let _ = out.flush();
}
