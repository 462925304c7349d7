//! Lets people change their password, remove their account, and make one if they hold an invitation.
//!
//! Source: XEP-0077 v2.4, XEP-0445 v0.2.0, XEP-0401 v0.6.0. Invariant: without a token that was handed out here no
//! account is made in band; a token makes one account; and after a new password or a removal nobody stays signed in
//! who is not entitled to (S15).

mod before;
#[cfg(test)]
mod tests;

pub use before::{PreAuthReply, Registering, first_invitation, preauth_derived, preauth_iq, write_features};

use crate::{
    domain::{
        accounts,
        ids::{AccountId, QueryId, SessionId},
    },
    limits,
    router::{
        context::Ctx,
        lifecycle,
        service::{Card, Iq, Notice, Origin, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        form::Form,
        jid::Jid,
        ns,
    },
};

/// XEP-0077 for those who have signed in.
#[derive(Debug, Default)]
pub struct Registration {
    pending: Vec<Pending>,
    /// Closed accounts whose sessions have not all ended; no more than there are sessions.
    closing: Vec<(AccountId, Jid)>,
}

/// A password that is being derived.
#[derive(Debug)]
struct Pending {
    query: QueryId,
    origin: Origin,
    account: Jid,
    session: Option<SessionId>,
}

static CARD: Card = Card {
    name: "registration",
    source: "XEP-0077 v2.4, XEP-0445 v0.2.0, XEP-0401 v0.6.0",
    features: &[(Scope::Host, ns::REGISTER)],
    stream_features: &[],
    iq: &[(Scope::Host, ns::REGISTER, "query"), (Scope::Own, ns::REGISTER, "query")],
    passes: &[],
};

impl Service for Registration {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        let account = iq.from.bare();
        let removes = iq.payload.find("remove", ns::REGISTER).is_some();
        // Whoever asks the host asks about the own account there; the command line has none.
        if account.local().is_none() || account.domain() != iq.domain || !accounts::exists(&ctx.store(), &account) {
            return Err(match (iq.is_set(), removes) {
                // XEP-0077 §3.1: nobody registers from within a session.
                (false, _) => Condition::ServiceUnavailable,
                // Table 1: the sender was not registered before.
                (true, true) => Condition::RegistrationRequired,
                // Table 2.
                (true, false) => Condition::NotAllowed,
            }
            .into());
        }
        if !iq.is_set() {
            return Ok(registered(&account).into());
        }
        if removes {
            return remove(iq, &account, ctx);
        }
        self.change_password(iq, account, ctx)
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        match notice {
            Notice::Derived(query, credentials) => {
                let Some(at) = self.pending.iter().position(|pending| pending.query == *query) else { return };
                let Pending { origin, account, session, .. } = self.pending.swap_remove(at);
                // The session that asked knows the new password and stays.
                let outcome = lifecycle::change_password(ctx, &account, (**credentials).clone(), session);
                ctx.answer(&origin, outcome.map(|()| Reply::Empty));
            }
            Notice::AccountClosed(id, jid) => match ctx.sessions().online(jid.bare_str()) {
                Some(_) => self.closing.push((*id, jid.clone())),
                None => lifecycle::finish_removal(ctx, *id, jid),
            },
            Notice::SessionEnding(session) => self.session_ending(*session, ctx),
            _ => {}
        }
    }
}

/// XEP-0077 §3.1, example 4; the password is not known and stays empty.
fn registered(account: &Jid) -> Element {
    let query = Element::new("query", ns::REGISTER);
    query
        .child(Element::new("registered", ns::REGISTER))
        .leaf("instructions", "To change your password, send your username and the new password.")
        .leaf("username", account.local().unwrap_or_default())
        .child(Element::new("password", ns::REGISTER))
}

/// XEP-0077 §3.2.
fn remove(iq: &Iq<'_>, account: &Jid, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    // Table 1: it must be alone.
    if iq.payload.children().count() != 1 {
        return Err(Condition::BadRequest.into());
    }
    lifecycle::remove(ctx, account)?;
    Ok(Reply::Empty)
}

impl Registration {
    /// The last session of a closed account ends: once it is gone, the removal goes on.
    fn session_ending(&mut self, session: SessionId, ctx: &mut Ctx<'_>) {
        let Some(session) = ctx.core.sessions.session(session) else { return };
        let is_last = ctx.core.sessions.of(session.jid.bare_str()).count() == 1;
        let at = self.closing.iter().position(|(id, _)| *id == session.account);
        if let (true, Some(at)) = (is_last, at) {
            let (id, jid) = self.closing.swap_remove(at);
            ctx.notice(Notice::AccountClosed(id, jid));
        }
    }

    /// XEP-0077 §3.3.
    fn change_password(&mut self, iq: &Iq<'_>, account: Jid, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        let (username, password) = fields(iq.payload)?;
        let (Some(username), Some(password)) = (username, password) else {
            return Err(Condition::BadRequest.into());
        };
        let named = Jid::from_parts(Some(&username), account.domain(), None).or_else(|_| Jid::parse(&username));
        if named.ok().as_ref() != Some(&account) {
            return Err(StanzaError::new(Condition::NotAllowed).text("This is not your username."));
        }
        if self.pending.len() >= limits::DERIVING_MAX || self.pending.iter().any(|p| p.account == account) {
            return Err(Condition::ResourceConstraint.into());
        }
        let query = ctx.derive(lifecycle::prepare_password(&password)?);
        self.pending.push(Pending { query, origin: iq.origin(), account, session: iq.session });
        Ok(Reply::Later)
    }
}

/// Username and password of a request: those of its data form if it has one (XEP-0077 §4). An empty one is none
/// (XEP-0077 §3.1, footnote).
fn fields(query: &Element) -> Result<(Option<String>, Option<String>), StanzaError> {
    let (username, password) = match Form::find_in(query)? {
        Some(form) => {
            let owned = |var| form.value(var).map(str::to_owned);
            (owned("username"), owned("password"))
        }
        None => (query.leaf_text("username"), query.leaf_text("password")),
    };
    let given = |text: &String| !text.is_empty();
    Ok((username.filter(given), password.filter(given)))
}
