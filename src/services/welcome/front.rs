//! The page of the host itself, and accounts for everybody where the settings say so (`registration.policy = "open"`).
//!
//! Source: XEP-0077 v2.4 §3.1, whose limits hold here as well. Invariant: where registration is not open, there is nothing
//! here to be tried (S12, S47).

use super::{
    Pending, WelcomePage, address, form_of, is_taken, page,
    page::Form,
    prepared,
    words::{Problem, Words},
};
use crate::{
    config::Registration,
    proto::{http::target, scram::Credentials},
    router::{
        context::Ctx,
        lifecycle,
        newcomers::household,
        web::{Answer, Method, Page, Request, RequestId},
    },
};

/// The first segment of the host's own page.
pub const ROOT: &str = "";
/// Where its form goes.
pub const PATH: &str = "register";
/// Characters of a name that are shown again.
const SHOWN_MAX: usize = 64;

/// The domain whose page is asked for.
fn domain_of(request: &Request, ctx: &Ctx<'_>) -> String {
    let named = request.host.as_ref().filter(|host| ctx.config().serves(host));
    named.or_else(|| ctx.config().domains.first()).cloned().unwrap_or_default()
}

fn show(request: &Request, words: &'static Words, name: &str, problem: Option<Problem>, ctx: &Ctx<'_>) -> Page {
    let is_open = ctx.config().registration == Registration::Open;
    let form = Form { title: words.open_title, action: &format!("/{PATH}"), name, is_named: false, problem };
    let agent = request.agent.as_deref().unwrap_or_default();
    let has_client = ctx.config().web.client.is_some();
    page::front(words, &domain_of(request, ctx), agent, has_client, is_open.then_some(&form))
}

impl WelcomePage {
    /// The page, or what its form brings.
    pub(super) fn front(
        &mut self,
        id: RequestId,
        request: &Request,
        words: &'static Words,
        ctx: &mut Ctx<'_>,
    ) -> Option<Answer> {
        let is_form = request.target.segments.first().is_some_and(|first| first == PATH);
        let takes = is_form && ctx.config().registration == Registration::Open;
        match request.method {
            Method::Get | Method::Head => Some(show(request, words, "", None, ctx).into()),
            Method::Post if takes => {
                let Some(form) = form_of(request) else { return Some(Page::status(415, "A form is wanted.\n").into()) };
                let name = target::form_value(form, "name").unwrap_or_default();
                let password = target::form_value(form, "password").unwrap_or_default();
                let problem = self.enroll(id, request, &name, &password, words, ctx).err()?;
                let shown: String = name.chars().take(SHOWN_MAX).collect();
                Some(show(request, words, &shown, Some(problem), ctx).into())
            }
            _ if takes => Some(Page::not_allowed("HEAD, GET, POST").into()),
            _ => Some(Page::not_allowed("HEAD, GET").into()),
        }
    }

    fn enroll(
        &mut self,
        id: RequestId,
        request: &Request,
        name: &str,
        password: &str,
        words: &'static Words,
        ctx: &mut Ctx<'_>,
    ) -> Result<(), Problem> {
        let jid = address(name, &domain_of(request, ctx))?;
        if is_taken(&jid, "", ctx) {
            return Err(Problem::Taken);
        }
        // Whoever is refused for another reason has not used anything up.
        prepared(password)?;
        if !ctx.core.newcomers.admits(Some(household(request.peer)), ctx.now) {
            return Err(Problem::Many);
        }
        self.derive(id, password, None, (jid, true), words, ctx)
    }
}

/// The account is made, unless somebody was quicker or the settings have changed.
pub(super) fn create(pending: &Pending, credentials: Credentials, ctx: &mut Ctx<'_>) -> Page {
    let Pending { jid, words, .. } = pending;
    let has_client = ctx.config().web.client.is_some();
    if ctx.config().registration != Registration::Open {
        return page::gone(words);
    }
    match lifecycle::create(ctx, jid, credentials, false) {
        Ok(_) => page::done(words, jid, has_client),
        Err(_) => page::retry(words, &format!("/{PATH}")),
    }
}
