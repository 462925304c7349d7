//! Registration before sign-in: the stream has no session yet, so it calls these functions itself.
//!
//! The stream offers [`write_features`] under TLS, hands every IQ that comes before sign-in to [`preauth_iq`],
//! and, if that says [`PreAuthReply::Later`], the credentials to [`preauth_derived`].

use std::net::IpAddr;

use super::fields;

use crate::{
    config::Registration,
    domain::{accounts, ids::QueryId, invitations},
    limits,
    proto::scram::Credentials,
    router::{context::Ctx, lifecycle},
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
    },
};

/// What a stream has done about registration.
#[derive(Debug, Default)]
pub struct Registering {
    /// A token that was good when it was shown.
    token: Option<String>,
    /// Requests up to now.
    requests: u32,
    /// The account that is being made: the question, the `id` of the request, its address.
    pending: Option<(QueryId, Option<String>, Jid)>,
    /// An account was made; one stream makes one.
    done: bool,
    /// The household that the stream comes from.
    pub household: Option<IpAddr>,
}

/// What the stream does next.
#[derive(Debug)]
pub enum PreAuthReply {
    /// Send this IQ; behind the disk if there were writes.
    Now(Element),
    /// Call [`preauth_derived`] with the credentials that answer this question.
    Later(QueryId),
    /// This is no registration: stanzas before sign-in are a `not-authorized` stream error, RFC 6120 §4.9.3.12.
    NotAllowed,
}

/// Appends the stream features before sign-in; only under TLS, and only while somebody could make an account.
pub fn write_features(ctx: &mut Ctx<'_>, out: &mut Vec<u8>) {
    let now_s = ctx.wall_s();
    let is_for_all = ctx.config().registration == Registration::Open;
    let has_invited = invitations::any_account(&ctx.store(), now_s);
    if is_for_all || has_invited {
        out.extend_from_slice(b"<register xmlns='http://jabber.org/features/iq-register'/>");
    }
    if has_invited {
        out.extend_from_slice(b"<register xmlns='urn:xmpp:ibr-token:0'/>");
        // COMPAT: clients written before XEP-0445 had a namespace of its own look for that of XEP-0401.
        out.extend_from_slice(b"<register xmlns='urn:xmpp:invite'/>");
    }
}

/// Deals with an IQ that came before sign-in on a stream to `domain` under TLS.
pub fn preauth_iq(ctx: &mut Ctx<'_>, state: &mut Registering, iq: &Element, domain: &str) -> PreAuthReply {
    let asks = iq.is("iq", ns::CLIENT) && matches!(iq.get("type"), Some("get" | "set"));
    let here = iq.get("to").is_none_or(|to| Jid::parse(to).is_ok_and(|to| to.as_str() == domain));
    let mut payloads = iq.children();
    let (Some(payload), None) = (payloads.next(), payloads.next()) else { return PreAuthReply::NotAllowed };
    let is_preauth = payload.is("preauth", ns::PRE_AUTH);
    if !asks || !here || !(is_preauth || payload.is("query", ns::REGISTER)) {
        return PreAuthReply::NotAllowed;
    }
    let is_set = iq.get("type") == Some("set");
    let outcome = admit(state).and_then(|()| match (is_preauth, is_set) {
        (true, true) => show_token(ctx, state, payload, domain).map(|()| Outcome::Done(None)),
        (true, false) => Err(Condition::BadRequest.into()),
        (false, false) => form(ctx, state).map(|form| Outcome::Done(Some(form))),
        (false, true) => register(ctx, state, payload, domain).map(Outcome::Later),
    });
    let id = iq.get("id").map(str::to_owned);
    match outcome {
        Ok(Outcome::Done(payload)) => PreAuthReply::Now(answer(id, domain, Ok(payload))),
        Ok(Outcome::Later((query, jid))) => {
            state.pending = Some((query, id, jid));
            PreAuthReply::Later(query)
        }
        Err(error) => PreAuthReply::Now(answer(id, domain, Err(error))),
    }
}

enum Outcome {
    Done(Option<Element>),
    Later((QueryId, Jid)),
}

fn admit(state: &mut Registering) -> Result<(), StanzaError> {
    state.requests += 1;
    // XEP-0077 §3.1.1: too many, one after the other was granted, or one while another is under way.
    if state.requests > limits::REGISTER_REQUESTS_MAX || state.done || state.pending.is_some() {
        return Err(Condition::NotAcceptable.into());
    }
    Ok(())
}

/// XEP-0445 §4: the token is looked at, and not used up.
fn show_token(ctx: &mut Ctx<'_>, state: &mut Registering, preauth: &Element, domain: &str) -> Result<(), StanzaError> {
    let token = preauth.get("token").unwrap_or_default();
    let now_s = ctx.wall_s();
    let invitation = invitations::find(&ctx.store(), token);
    if !invitation.is_some_and(|it| it.makes_account_now(now_s) && it.domain == domain) {
        let refused = StanzaError::new(Condition::ItemNotFound).text("The provided token is invalid or expired.");
        return Err(refused);
    }
    state.token = Some(token.to_owned());
    Ok(())
}

/// XEP-0077 §3.1, example 2.
fn form(ctx: &mut Ctx<'_>, state: &Registering) -> Result<Element, StanzaError> {
    let query = Element::new("query", ns::REGISTER);
    if state.token.is_none() && ctx.config().registration != Registration::Open {
        let told = "Accounts are made by invitation. Open your invitation link to register.";
        return Ok(query.leaf("instructions", told));
    }
    // XEP-0401 §4: the name is chosen already.
    let named = state.token.as_ref().and_then(|token| invitations::find(&ctx.store(), token)?.username);
    Ok(query
        .leaf("instructions", "Choose a username and a password.")
        .child(named.into_iter().fold(Element::new("username", ns::REGISTER), Element::text))
        .child(Element::new("password", ns::REGISTER)))
}

fn register(
    ctx: &mut Ctx<'_>,
    state: &Registering,
    query: &Element,
    domain: &str,
) -> Result<(QueryId, Jid), StanzaError> {
    // Who has no token learns nothing about usernames (S12).
    let is_open = ctx.config().registration == Registration::Open;
    if state.token.is_none() && !is_open {
        return Err(StanzaError::new(Condition::NotAllowed).text("An invitation is needed."));
    }
    if query.find("remove", ns::REGISTER).is_some() {
        // XEP-0077 §3.2, table 1.
        return Err(Condition::UnexpectedRequest.into());
    }
    let (Some(username), Some(password)) = fields(query)? else {
        return Err(Condition::NotAcceptable.into());
    };
    let jid = Jid::from_parts(Some(&username), domain, None)
        .map_err(|_| StanzaError::new(Condition::NotAcceptable).text("This username cannot be used."))?;
    let password = lifecycle::prepare_password(&password)?;
    let now_s = ctx.wall_s();
    let token = state.token.as_deref().unwrap_or_default();
    if accounts::exists(&ctx.store(), &jid) || invitations::is_reserved(&ctx.store(), &jid, token, now_s) {
        return Err(Condition::Conflict.into());
    }
    let now = ctx.now;
    if state.token.is_none() && !ctx.core.newcomers.admits(state.household, now) {
        let error = StanzaError::new(Condition::ResourceConstraint);
        return Err(error.text("Too many accounts were made today. Try again tomorrow, or ask for an invitation."));
    }
    Ok((ctx.derive(password), jid))
}

/// Makes the account with the credentials that were asked for; the answer comes back, for after the disk. `None` if
/// nothing was asked.
pub fn preauth_derived(
    ctx: &mut Ctx<'_>,
    state: &mut Registering,
    query: QueryId,
    credentials: Credentials,
) -> Option<Element> {
    if state.pending.as_ref()?.0 != query {
        return None;
    }
    let (_, id, jid) = state.pending.take()?;
    let outcome = create(ctx, state, &jid, credentials);
    state.done = outcome.is_ok();
    Some(answer(id, jid.domain(), outcome.map(|()| None)))
}

/// The token goes in the same turn as the account comes; it may have expired since it was shown (XEP-0445 §4), or have
/// made another account.
fn create(ctx: &mut Ctx<'_>, state: &mut Registering, jid: &Jid, credentials: Credentials) -> Result<(), StanzaError> {
    let used = || StanzaError::new(Condition::NotAllowed).text("The invitation was used already.");
    if state.token.is_none() && ctx.config().registration == Registration::Open {
        return lifecycle::create(ctx, jid, credentials, false).map(drop);
    }
    let token = state.token.clone().ok_or_else(used)?;
    let outcome = lifecycle::redeem(ctx, &token, jid, credentials).map(drop);
    if outcome.as_ref().is_err_and(|error| error.condition == Condition::NotAllowed) {
        state.token = None;
    }
    outcome
}

impl Registering {
    /// The disk refused the account that was made: the stream may ask again, and its token is whole again.
    pub fn refused(&mut self) {
        self.done = false;
    }
}

fn answer(id: Option<String>, domain: &str, outcome: Result<Option<Element>, StanzaError>) -> Element {
    let iq = |ty: &'static str| {
        Element::new("iq", ns::CLIENT).attr("type", ty).attr("from", domain).attr_if("id", id.clone())
    };
    match outcome {
        Ok(payload) => iq("result").with(payload),
        Err(error) => iq("error").child(error.element()),
    }
}

/// The link that makes the first account, an administrator's: as long as there is no account, an open admin invitation,
/// or a new one. `None` if there are accounts.
pub fn first_invitation(ctx: &mut Ctx<'_>) -> Option<lifecycle::Invited> {
    if accounts::any(&ctx.store()) {
        return None;
    }
    let domain = ctx.config().domains.first()?.clone();
    let now_s = ctx.wall_s();
    let open = invitations::list(&ctx.store()).into_iter().find(|(_, invitation)| {
        invitation.is_admin && invitation.domain == domain && invitation.makes_account_now(now_s)
    });
    match open {
        Some((token, invitation)) => Some(lifecycle::invited(ctx.config(), &token, &invitation)),
        None => {
            let admin = lifecycle::Invite { domain: &domain, is_admin: true, ..lifecycle::Invite::default() };
            lifecycle::invite(ctx, &admin).ok()
        }
    }
}
