//! How the server is doing, in figures: for the command line, for administrators' clients and for what draws curves.
//!
//! Invariant: figures about people count them, and name nobody.

use super::context::Ctx;
use crate::domain::accounts;

/// One figure.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name: lower case and hyphens.
    pub name: &'static str,
    /// What it is, for a person.
    pub label: &'static str,
    /// The figure.
    pub value: u64,
    /// Whether it only grows until the next start.
    pub grows: bool,
}

const DAY_S: u64 = 86_400;

/// All figures, in the order in which they are told.
pub fn all(ctx: &mut Ctx<'_>) -> Vec<Figure> {
    let domains = ctx.core.config.domains.clone();
    let accounts: usize = domains.iter().map(|domain| accounts::count(&ctx.store(), domain)).sum();
    let sessions = ctx.sessions().all().filter(|(_, session)| !session.is_local);
    let (bound, waiting) = sessions.fold((0u64, 0u64), |(bound, waiting), (_, session)| match session.stream {
        Some(_) => (bound + 1, waiting),
        None => (bound, waiting + 1),
    });
    let counters = ctx.core.counters;
    let wear = ctx.view.wear();
    let uptime_s = ctx.wall_s().saturating_sub(ctx.core.started_s);
    // On the first day what was written up to now: a rate of some minutes says nothing about a day.
    let a_day = |figure: u64| (u128::from(figure) * u128::from(DAY_S) / u128::from(uptime_s.max(DAY_S))) as u64;
    let is = |name, label, value| Figure { name, label, value, grows: false };
    let grows = |name, label, value| Figure { name, label, value, grows: true };
    vec![
        is("uptime", "Seconds since the start", uptime_s),
        is("accounts", "Accounts", accounts as u64),
        is("users-online", "Accounts with a session", ctx.sessions().accounts_online() as u64),
        is("sessions", "Sessions with a stream", bound),
        is("sessions-waiting", "Sessions that wait to be resumed", waiting),
        grows("streams", "Streams accepted since the start", counters.streams),
        grows("sign-ins", "Sign-ins since the start", counters.sign_ins),
        grows("failures", "Failed sign-ins since the start", counters.failures),
        grows("stanzas", "Stanzas taken in since the start", counters.stanzas),
        grows("messages", "Messages delivered or kept since the start", counters.messages),
        grows("commits", "Batches written since the start", counters.commits),
        grows("commit-bytes", "Bytes in these batches", counters.commit_bytes),
        grows("disk-bytes", "Bytes written to the disk since the start", wear.bytes),
        is("disk-bytes-a-day", "Bytes written to the disk a day", a_day(wear.bytes)),
        grows("disk-syncs", "Syncs of the disk since the start", wear.syncs),
        is("disk-syncs-a-day", "Syncs of the disk a day", a_day(wear.syncs)),
        grows("panics", "Mistakes of the server since the start", counters.panics),
    ]
}
