//! Tokens: a link lets people into a room for members only whose addresses nobody knows.
//!
//! Source: XEP-0488 v0.1.0, off unless `rooms.invite_tokens` says otherwise. A token comes as the password of a join and makes
//! a member of whoever is nothing to the room yet; for anybody else it is not looked at. A room with a password of its own
//! has none. Invariants: a token lets in nobody when who asked for it could not invite any more; every token ends.

use super::{admin, messages::is_staff, room::Room};
use crate::{
    domain::rooms::{self, Affiliation, Role, Token},
    limits,
    router::{
        answer::UNHANDLED,
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        jid::Jid,
        ns,
    },
};

/// Whether the room gives out tokens.
pub(super) fn are_given(room: &Room, ctx: &Ctx<'_>) -> bool {
    ctx.config().rooms.invite_tokens && room.settings.is_members_only && room.settings.password.is_none()
}

/// Who may invite may ask for a token, §7 "allowinvites".
fn may_ask(room: &Room, who: &Jid) -> bool {
    let own = room.affiliation(who);
    is_staff(own) || (own == Affiliation::Member && room.settings.members_invite)
}

/// Moderators see, and revoke, everybody's tokens (§10).
fn sees_all(room: &Room, who: &Jid) -> bool {
    is_staff(room.affiliation(who)) || room.place(who).is_some_and(|(at, _)| room.occupants[at].role == Role::Moderator)
}

/// A request about tokens.
pub(super) fn answer(room: &Room, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    if !are_given(room, ctx) {
        return Err(UNHANDLED);
    }
    let asks = may_ask(room, iq.from);
    if !asks && !sees_all(room, iq.from) {
        return Err(Condition::Forbidden.into());
    }
    match (iq.payload.name.as_ref(), iq.is_set()) {
        ("request", true) if asks => give(room, iq, ctx),
        ("request", true) => Err(Condition::Forbidden.into()),
        ("tokens", false) => Ok(list(room, iq.from, ctx).into()),
        ("revoke", true) => revoke(room, iq, ctx),
        _ => Err(Condition::BadRequest.into()),
    }
}

/// §4.2 and §4.3.
fn give(room: &Room, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let number = |name| {
        let number = iq.payload.get(name).map(str::parse::<u32>).transpose();
        number.map_err(|_| StanzaError::new(Condition::BadRequest))
    };
    // Without a wish, and whatever the wish, no token is for ever.
    let delay = number("delay")?.map_or(limits::ROOM_TOKEN_S_MAX, u64::from).clamp(1, limits::ROOM_TOKEN_S_MAX);
    let uses = number("counter")?.map(|uses| uses.clamp(1, limits::ROOM_TOKEN_USES_MAX));
    let known = current(room, ctx);
    let own = known.iter().filter(|(_, token)| token.creator == iq.from.bare_str()).count();
    if known.len() >= limits::ROOM_TOKENS_MAX || own >= limits::ROOM_TOKENS_EACH_MAX {
        return Err(StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait).text("Too many tokens."));
    }
    let token = Token { creator: iq.from.bare_str().to_owned(), uses, expires_s: ctx.wall_s() + delay };
    let name = ctx.token();
    rooms::put_token(&mut ctx.store(), room.id, &name, Some(&token));
    Ok(element(&name, &token, false, ctx).into())
}

fn element(name: &str, token: &Token, tells_creator: bool, ctx: &Ctx<'_>) -> Element {
    Element::new("token", ns::MUC_TOKEN)
        .attr("delay", token.expires_s.saturating_sub(ctx.wall_s()).to_string())
        .attr_if("counter", token.uses.map(|uses| uses.to_string()))
        .attr_if("creator", tells_creator.then_some(token.creator.as_str()))
        .text(name)
}

/// Tokens that are good for something; what has expired goes.
fn current(room: &Room, ctx: &mut Ctx<'_>) -> Vec<(String, Token)> {
    let now = ctx.wall_s();
    let mut known = rooms::tokens(&ctx.store(), room.id);
    known.retain(|(name, token)| {
        let is_good = token.expires_s > now;
        if !is_good {
            rooms::put_token(&mut ctx.store(), room.id, name, None);
        }
        is_good
    });
    known
}

/// §4.6: those that somebody may revoke.
fn list(room: &Room, who: &Jid, ctx: &mut Ctx<'_>) -> Element {
    let all = sees_all(room, who);
    let known = current(room, ctx);
    let shown = known.iter().filter(|(_, token)| all || token.creator == who.bare_str());
    Element::new("tokens", ns::MUC_TOKEN).with(shown.map(|(name, token)| element(name, token, all, ctx)))
}

/// §4.7.
fn revoke(room: &Room, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let name = iq.payload.content();
    let all = sees_all(room, iq.from);
    let token = find(room, name.trim(), ctx).filter(|token| all || token.creator == iq.from.bare_str());
    token.ok_or(StanzaError::new(Condition::ItemNotFound))?;
    rooms::put_token(&mut ctx.store(), room.id, name.trim(), None);
    Ok(Reply::Empty)
}

fn find(room: &Room, name: &str, ctx: &mut Ctx<'_>) -> Option<Token> {
    let fits = !name.is_empty() && name.len() <= limits::ROOM_PASSWORD_BYTES_MAX;
    let now = ctx.wall_s();
    fits.then(|| rooms::token(&ctx.store(), room.id, name)).flatten().filter(|token| token.expires_s > now)
}

/// Somebody enters with a password that may be a token: they are a member from now on, §4.5.
///
/// # Errors
/// `not-authorized` with `<expired-token/>` if it is none (any more).
pub(super) fn redeem(room: &mut Room, who: &Jid, asked: &Element, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    // §5: whoever is something to the room needs none, and uses none up.
    if !are_given(room, ctx) || room.is_locked || room.affiliation(who) != Affiliation::None {
        return Ok(());
    }
    let Some(name) = asked.leaf_text("password").filter(|word| !word.is_empty()) else { return Ok(()) };
    let creator_may = |token: &Token| Jid::parse(&token.creator).is_ok_and(|creator| may_ask(room, &creator));
    let Some(mut token) = find(room, &name, ctx).filter(creator_may) else {
        return Err(StanzaError::new(Condition::NotAuthorized).app("expired-token", ns::MUC_TOKEN));
    };
    admin::affiliate(room, &who.bare(), Affiliation::Member, None, None, None, ctx)?;
    log::info!("{} becomes a member of {} by a token of {}", who.bare_str(), room.jid, token.creator);
    if let Some(uses) = &mut token.uses {
        *uses -= 1;
        let left = (*uses > 0).then_some(&token);
        rooms::put_token(&mut ctx.store(), room.id, &name, left);
    }
    Ok(())
}
