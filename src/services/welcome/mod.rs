//! The page that an invitation link opens: who one is invited by to what, an app for this device, and a form that makes
//! the account there and then; and the page of the host itself, with such a form where registration is open to all.
//!
//! Source: XEP-0379 v0.3.3 §3.3, XEP-0401 v0.6.0 §4, XEP-0445 v0.2.0 §4. `page.rs` has the pages, `words.rs` what
//! they say, `front.rs` the page of the host.
//!
//! Invariants: the token in the path is all that counts, and whoever has none learns nothing (S12, S47); the account is
//! made and the token goes in the same turn, and the page says so when both are durable; there is no cookie and no state
//! in the browser, so no other page can act in somebody's name (S42); the page works whole without a script.

mod front;
mod page;
#[cfg(test)]
mod tests;
mod words;

use zeroize::Zeroizing;

use self::{
    page::{Form, Welcome},
    words::{Problem, Words},
};
use crate::{
    domain::{
        accounts,
        ids::QueryId,
        invitations::{self, Invitation, Purpose},
    },
    limits,
    proto::{http::target, scram::Credentials},
    router::{
        context::Ctx,
        lifecycle::{self, INVITATION_PATH},
        service::{Card, Notice, Service},
        web::{Answer, Method, Page, Request, RequestId},
    },
    wire::{error::Condition, jid::Jid},
};

/// The page of an invitation.
#[derive(Debug, Default)]
pub struct WelcomePage {
    /// Accounts whose credentials are being derived; bounded by `limits::DERIVING_MAX`.
    pending: Vec<Pending>,
}

/// An account that is about to be made.
#[derive(Debug)]
struct Pending {
    query: QueryId,
    request: RequestId,
    /// The invitation; `None` where none is needed.
    token: Option<String>,
    jid: Jid,
    /// It is made; else it gets a new password.
    is_new: bool,
    words: &'static Words,
}

static CARD: Card =
    Card {
        name: "welcome", source: "XEP-0379 v0.3.3 §3.3", features: &[], stream_features: &[], iq: &[], passes: &[]
    };

/// The one script, which only makes the page better.
const SCRIPT: &str = "check.js";

impl Service for WelcomePage {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn paths(&self) -> &'static [&'static str] {
        &[INVITATION_PATH, front::ROOT, front::PATH]
    }

    fn web(&mut self, id: RequestId, request: &Request, ctx: &mut Ctx<'_>) -> Option<Answer> {
        let words = words::choose(request.languages.as_deref());
        let path = request.target.path();
        let (token, below) = match path.as_slice() {
            [] | [front::ROOT] | [front::PATH] => return self.front(id, request, words, ctx),
            [front::PATH, ..] => return Some(Page::not_found().into()),
            [_, SCRIPT] => return Some(page::script().into()),
            [_, token] => (*token, None),
            [_, token, below] => (*token, Some(*below)),
            _ => return Some(page::gone(words).into()),
        };
        let Some(invitation) = open_invitation(token, ctx) else { return Some(page::gone(words).into()) };
        if invitation.purpose == Purpose::Password {
            return self.choose_password(id, request, token, below, &invitation, words, ctx);
        }
        let is_asked_for = matches!(request.method, Method::Get | Method::Head) && below.is_none();
        if !invitation.makes_account() && !is_asked_for {
            return Some(page::gone(words).into());
        }
        match (request.method, below) {
            (Method::Get | Method::Head, None) => Some(show(request, token, &invitation, words, "", None, ctx).into()),
            (Method::Get, Some("free")) => Some(is_free(request, token, &invitation, ctx).into()),
            (Method::Post, None) => self.register(id, request, token, &invitation, words, ctx),
            (_, None) => Some(Page::not_allowed("HEAD, GET, POST").into()),
            _ => Some(page::gone(words).into()),
        }
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        let Notice::Derived(query, credentials) = notice else { return };
        let Some(at) = self.pending.iter().position(|pending| pending.query == *query) else { return };
        let pending = self.pending.swap_remove(at);
        let page = create(&pending, (**credentials).clone(), ctx);
        ctx.respond(pending.request, page);
    }
}

/// The invitation of this token, if it is still good.
fn open_invitation(token: &str, ctx: &mut Ctx<'_>) -> Option<Invitation> {
    let now_s = ctx.wall_s();
    let invitation = invitations::find(&ctx.store(), token)?;
    let is_here = invitation.purpose != Purpose::Status && ctx.config().serves(&invitation.domain);
    (invitation.expires_s > now_s && is_here).then_some(invitation)
}

/// The page with its form; `problem` is what was wrong with what was sent before.
fn show(
    request: &Request,
    token: &str,
    invitation: &Invitation,
    words: &'static Words,
    name: &str,
    problem: Option<Problem>,
    ctx: &Ctx<'_>,
) -> Page {
    let domain = invitation.domain.as_str();
    let action = format!("/{INVITATION_PATH}/{}", target::encode(token));
    let form = invitation.makes_account().then(|| Form {
        title: words.here_title,
        action: &action,
        name: invitation.username.as_deref().unwrap_or(name),
        is_named: invitation.username.is_some(),
        problem,
    });
    let welcome = Welcome {
        words,
        domain,
        uri: &lifecycle::invitation_uri(invitation, token),
        page: lifecycle::invitation_page(ctx.config(), invitation, token),
        agent: request.agent.as_deref().unwrap_or_default(),
        has_browser_client: ctx.config().web.client.is_some(),
        until_s: invitation.expires_s,
        inviter: invitation.inviter.as_deref(),
        form,
    };
    page::welcome(&welcome)
}

/// Whether a name can be had, for the script: `ok`, `taken` or `bad`. Whoever asks holds an invitation, and would learn it
/// by trying.
fn is_free(request: &Request, token: &str, invitation: &Invitation, ctx: &mut Ctx<'_>) -> Page {
    let name = request.target.parameter("name").unwrap_or_default();
    let verdict = match address(&name, &invitation.domain) {
        Ok(jid) if is_taken(&jid, token, ctx) => "taken",
        Ok(_) => "ok",
        Err(_) => "bad",
    };
    Page::ok("text/plain; charset=utf-8", verdict.as_bytes()).header("cache-control", "no-store")
}

fn is_taken(jid: &Jid, token: &str, ctx: &mut Ctx<'_>) -> bool {
    let now_s = ctx.wall_s();
    accounts::exists(&ctx.store(), jid)
        || ctx.sessions().online(jid.bare_str()).is_some()
        || invitations::is_reserved(&ctx.store(), jid, token, now_s)
}

/// The fields of a form; `None`: it is none.
fn form_of(request: &Request) -> Option<&str> {
    let is_form = request.kind.as_deref().is_some_and(|kind| {
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    std::str::from_utf8(&request.body).ok().filter(|_| is_form)
}

/// The address that somebody chose. People write all of it, or with capitals and blanks around it.
fn address(name: &str, domain: &str) -> Result<Jid, Problem> {
    let name = name.trim();
    let local = match name.rsplit_once('@') {
        Some((local, host)) if host.eq_ignore_ascii_case(domain) => local,
        Some(_) => return Err(Problem::Name),
        None => name,
    };
    if local.is_empty() || local.chars().any(char::is_whitespace) {
        return Err(Problem::Name);
    }
    Jid::from_parts(Some(local), domain, None).map_err(|_| Problem::Name)
}

/// A password that will do, as it is derived from.
fn prepared(password: &str) -> Result<Zeroizing<String>, Problem> {
    if password.chars().count() < limits::PASSWORD_CHARS_MIN {
        return Err(Problem::ShortPassword);
    }
    lifecycle::prepare_password(password).map_err(|_| Problem::Password)
}

impl WelcomePage {
    /// The form was sent.
    fn register(
        &mut self,
        id: RequestId,
        request: &Request,
        token: &str,
        invitation: &Invitation,
        words: &'static Words,
        ctx: &mut Ctx<'_>,
    ) -> Option<Answer> {
        let Some(form) = form_of(request) else { return Some(Page::status(415, "A form is wanted.\n").into()) };
        let name = target::form_value(form, "name").unwrap_or_default();
        let password = target::form_value(form, "password").unwrap_or_default();
        match self.begin(id, &name, &password, token, invitation, words, ctx) {
            Ok(()) => None,
            Err(problem) => {
                let shown: String = name.chars().take(64).collect();
                let mut page = show(request, token, invitation, words, &shown, Some(problem), ctx);
                page.status = problem.status();
                Some(page.into())
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all that one form brings")]
    fn begin(
        &mut self,
        request: RequestId,
        name: &str,
        password: &str,
        token: &str,
        invitation: &Invitation,
        words: &'static Words,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let jid = address(name, &invitation.domain)?;
        if invitation.username.as_deref().is_some_and(|named| jid.local() != Some(named)) {
            return Err(Problem::Name);
        }
        if is_taken(&jid, token, ctx) {
            return Err(Problem::Taken);
        }
        self.derive(request, password, Some(token), (jid, true), words, ctx)
    }

    /// Goes on once the password is derived.
    fn derive(
        &mut self,
        request: RequestId,
        password: &str,
        token: Option<&str>,
        (jid, is_new): (Jid, bool),
        words: &'static Words,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let password = prepared(password)?;
        if self.pending.len() >= limits::DERIVING_MAX
            || self.pending.iter().any(|p| token.is_some() && p.token.as_deref() == token)
        {
            return Err(Problem::Busy);
        }
        let query = ctx.derive(password);
        self.pending.push(Pending { query, request, token: token.map(str::to_owned), jid, is_new, words });
        Ok(())
    }

    /// The page of a link to a new password, and its form.
    #[expect(clippy::too_many_arguments, reason = "all that one request brings")]
    fn choose_password(
        &mut self,
        id: RequestId,
        request: &Request,
        token: &str,
        below: Option<&str>,
        invitation: &Invitation,
        words: &'static Words,
        ctx: &mut Ctx<'_>,
    ) -> Option<Answer> {
        let jid = Jid::from_parts(invitation.username.as_deref(), &invitation.domain, None).ok();
        let jid = jid.filter(|jid| below.is_none() && accounts::exists(&ctx.store(), jid));
        let Some(jid) = jid else { return Some(page::gone(words).into()) };
        let action = format!("/{INVITATION_PATH}/{}", target::encode(token));
        let shown = |problem| page::password(words, &jid, &action, invitation.expires_s, problem).into();
        match request.method {
            Method::Get | Method::Head => Some(shown(None)),
            Method::Post => {
                let Some(form) = form_of(request) else { return Some(Page::status(415, "A form is wanted.\n").into()) };
                let password = target::form_value(form, "password").unwrap_or_default();
                match self.derive(id, &password, Some(token), (jid.clone(), false), words, ctx) {
                    Ok(()) => None,
                    Err(problem) => Some(shown(Some(problem))),
                }
            }
            _ => Some(Page::not_allowed("HEAD, GET, POST").into()),
        }
    }
}

/// The token goes in the turn in which the account comes, or its password.
fn create(pending: &Pending, credentials: Credentials, ctx: &mut Ctx<'_>) -> Page {
    let Pending { token, jid, is_new, words, .. } = pending;
    let has_client = ctx.config().web.client.is_some();
    let Some(token) = token else { return front::create(pending, credentials, ctx) };
    if !is_new {
        return match lifecycle::redeem_password(ctx, token, credentials) {
            Ok(_) => page::changed(words, jid, has_client),
            Err(_) => page::gone(words),
        };
    }
    match lifecycle::redeem(ctx, token, jid, credentials) {
        Ok(_) => page::done(words, jid, has_client),
        // Somebody else was quicker with the name; the invitation is still good.
        Err(error) if error.condition == Condition::Conflict => {
            page::retry(words, &format!("/{INVITATION_PATH}/{token}"))
        }
        Err(_) => page::gone(words),
    }
}
