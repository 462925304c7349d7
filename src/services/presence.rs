//! Who is there: initial presence, updates, directed presence, probes, and unavailability.
//!
//! Source: RFC 6121 §4, XEP-0356 v0.4.1 §6, XEP-0203 v2.0 for the stamp of the last departure. Invariant: whoever was shown a session's
//! presence is shown that it went, however it went.

mod blocked;
mod probe;
#[cfg(test)]
mod tests;

use crate::{
    domain::{
        ids::{AccountId, SessionId},
        keys, roster,
        sessions::{Keep, Presence},
    },
    limits,
    router::{
        context::Ctx,
        privilege,
        service::{Card, Flow, Leg, Notice, Phase, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
        stanza::{Chunk, Kind, Stanza, Type},
    },
};

/// Presence.
#[derive(Debug)]
pub struct PresenceService;

static CARD: Card = Card {
    name: "presence",
    source: "RFC 6121 §4, XEP-0356 v0.4.1 §6",
    features: &[],
    stream_features: &[],
    iq: &[],
    passes: &[(Kind::Presence, Leg::Outbound, Phase::Deliver), (Kind::Presence, Leg::Inbound, Phase::Deliver)],
};

impl Service for PresenceService {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn pass(&mut self, (leg, _): (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        match leg {
            Leg::Outbound => outbound(stanza, ctx),
            Leg::Inbound => inbound(stanza, ctx),
        }
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        match notice {
            // RFC 6121 §4.5.2: gone without a word.
            Notice::SessionEnding(id) => depart(*id, None, ctx),
            Notice::BlockChanged { account, jid, blocked } => blocked::block_changed(*account, jid, *blocked, ctx),
            _ => {}
        }
    }
}

fn outbound(stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
    let Some((id, _)) = ctx.sessions().full(&stanza.from) else { return Flow::Continue };
    match (stanza.ty, &stanza.to) {
        (Type::Available | Type::Unavailable, _) if stanza.source_len() > limits::PRESENCE_BYTES_MAX => {
            Flow::Bounce(StanzaError::new(Condition::PolicyViolation).text("This presence is too large."))
        }
        (Type::Invalid, _) => Flow::Bounce(Condition::BadRequest.into()),
        (Type::Available, None) => available(id, stanza, ctx),
        (Type::Unavailable, None) => {
            depart(id, Some(stanza), ctx);
            Flow::Taken("unavailable")
        }
        (Type::Available | Type::Unavailable, Some(to)) => {
            directed(id, stanza.ty, &to.clone(), ctx);
            Flow::Continue
        }
        (_, None) => Flow::Taken("presence of this type needs an address"),
        _ => Flow::Continue,
    }
}

/// RFC 6121 §4.2.2 and §4.4.2.
fn available(id: SessionId, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Flow {
    let Some(priority) = priority(stanza) else {
        return Flow::Bounce(Condition::BadRequest.into());
    };
    let Some(session) = ctx.core.sessions.session_mut(id) else { return Flow::Taken("no session") };
    let before = session.priority();
    session.presence = Some(Box::new(Presence { priority, stanza: stanza.clone() }));
    let (account, jid) = (session.account, session.jid.clone());
    broadcast(account, &jid, stanza, ctx);
    if before.is_none() {
        greet(id, account, &jid, ctx);
        to_components(&jid, stanza, ctx);
    }
    if before.is_none_or(|before| before < 0 && priority >= 0) {
        ctx.notice(Notice::Available { session: id, initial: before.is_none() });
    }
    Flow::Taken("broadcast")
}

/// RFC 6121 §4.7.2.3: an integer from -128 to +127, 0 if absent.
fn priority(stanza: &Stanza) -> Option<i8> {
    match stanza.find("priority", ns::CLIENT) {
        None => Some(0),
        Some(element) => {
            let text = element.content();
            let text = text.trim();
            let digits = text.strip_prefix('+').filter(|rest| !rest.starts_with(['+', '-']));
            digits.unwrap_or(text).parse().ok()
        }
    }
}

/// To all who are subscribed, and to the account's own available sessions.
fn broadcast(account: AccountId, from: &Jid, stanza: &Stanza, ctx: &mut Ctx<'_>) {
    for (contact, item) in roster::items(&ctx.store(), account) {
        if item.state.from
            && let Ok(contact) = Jid::parse(&contact)
            && !ctx.blocks(from, &contact)
        {
            ctx.send(Leg::Inbound, stanza.readdressed(Some(contact)));
        }
    }
    to_own(from, stanza, ctx);
}

/// XEP-0356 §6.1 and §8: to components that are shown who is there, once. What they hear as contacts is the same.
fn to_components(from: &Jid, stanza: &Stanza, ctx: &mut Ctx<'_>) {
    for component in privilege::those_who(ctx, |component| component.presence) {
        let account = ctx.account(from);
        let hears = account.is_some_and(|account| roster::state(&ctx.store(), account, component.as_str()).from);
        if !hears {
            ctx.send(Leg::Inbound, stanza.readdressed(Some(component)));
        }
    }
}

/// An entity is subscribed to its own presence (RFC 6121 §4.2.2).
fn to_own(from: &Jid, stanza: &Stanza, ctx: &mut Ctx<'_>) {
    let own = ctx.sessions().of(from.bare_str()).filter(|(_, session)| session.presence.is_some());
    let own: Vec<_> = own.map(|(id, _)| id).collect();
    let chunk = stanza.chunk_to(Some(&from.bare()));
    for id in own {
        ctx.core.deliver(id, chunk.clone(), Keep::Nothing);
    }
}

/// What a newly available session is told: who else is there, who asked for a subscription (RFC 6121 §4.2.2, §4.3.1,
/// §3.1.3). Contacts here need no probe: their presence is a fact; those elsewhere are asked.
fn greet(id: SessionId, account: AccountId, jid: &Jid, ctx: &mut Ctx<'_>) {
    let bare = jid.bare();
    let mut present: Vec<Chunk> = Vec::new();
    for (other, session) in ctx.sessions().of(bare.as_str()) {
        if let (true, Some(presence)) = (other != id, &session.presence) {
            present.push(presence.stanza.chunk_to(Some(&bare)));
        }
    }
    for (contact, item) in roster::items(&ctx.store(), account) {
        if item.state.to {
            present.extend(presence_for(&contact, jid, ctx));
        }
        ask_elsewhere(&contact, item.state, &bare, ctx);
    }
    for (contact, request) in roster::requests(&ctx.store(), account) {
        // Who was blocked since is not heard of (XEP-0191 §3.3); the request waits on, as RFC 6121 §3.1.3 wants it.
        if Jid::parse(&contact).is_ok_and(|contact| !ctx.blocks(&bare, &contact)) {
            present.push(Chunk::new(request));
        }
    }
    for chunk in present {
        ctx.core.deliver(id, chunk, Keep::Nothing);
    }
}

/// RFC 6121 §4.3.1: whoever is elsewhere is asked for presence. §3.1.2: a request that was not answered is sent again;
/// the other side may have lost it.
fn ask_elsewhere(contact: &str, state: roster::State, owner: &Jid, ctx: &mut Ctx<'_>) {
    let asks = match state {
        roster::State { to: true, .. } => "probe",
        roster::State { pending_out: true, .. } => "subscribe",
        _ => return,
    };
    let Some(contact) = Jid::parse(contact).ok().filter(|contact| ctx.core.is_elsewhere(contact)) else { return };
    if !ctx.blocks(owner, &contact) {
        let presence = Element::new("presence", ns::CLIENT).attr("type", asks);
        ctx.send(Leg::Inbound, Stanza::build(&presence, owner.clone(), Some(contact)));
    }
}

/// The presence of a contact's available sessions, as far as the contact lets the session `viewer` see it.
fn presence_for(contact: &str, viewer: &Jid, ctx: &mut Ctx<'_>) -> Vec<Chunk> {
    let Some(online) = ctx.sessions().online(contact) else { return Vec::new() };
    let owner = online.account;
    let Ok(contact) = Jid::parse(contact) else { return Vec::new() };
    if !roster::state(&ctx.store(), owner, viewer.bare_str()).from || ctx.blocks(&contact, viewer) {
        return Vec::new();
    }
    let sessions = ctx.sessions().of(contact.as_str());
    let mut shown: Vec<Stanza> = sessions.filter_map(|(_, s)| Some(s.presence.as_ref()?.stanza.clone())).collect();
    shown.retain(|presence| !ctx.blocks(viewer, &presence.from));
    let to = viewer.bare();
    shown.iter().map(|presence| presence.chunk_to(Some(&to))).collect()
}

/// RFC 6121 §4.6.3: who is not told anyway when the session goes is remembered.
fn directed(id: SessionId, ty: Type, to: &Jid, ctx: &mut Ctx<'_>) {
    let hears = hears_broadcasts(id, to, ctx);
    let Some(session) = ctx.core.sessions.session_mut(id) else { return };
    session.directed.retain(|other| other != to);
    if ty != Type::Available || hears {
        return;
    }
    session.directed.push(to.clone());
    if session.directed.len() > limits::DIRECTED_MAX {
        // The one that was told least recently is told once more: that it hears no more.
        let forgotten = session.directed.remove(0);
        let gone = gone(&session.jid, &forgotten);
        if !hears_broadcasts(id, &forgotten, ctx) {
            ctx.send(Leg::Inbound, gone);
        }
    }
}

/// Whether the session is available and what it broadcasts reaches this address.
fn hears_broadcasts(id: SessionId, to: &Jid, ctx: &mut Ctx<'_>) -> bool {
    let Some(session) = ctx.sessions().session(id) else { return false };
    let (account, is_own) = (session.account, session.jid.bare_str() == to.bare_str());
    // A resource here that is connected and not available hears only what is addressed to itself.
    let deaf = ctx.sessions().full(to).is_some_and(|(_, session)| session.presence.is_none());
    session.presence.is_some() && !deaf && (is_own || roster::state(&ctx.store(), account, to.bare_str()).from)
}

/// `from` is not there any more.
fn gone(from: &Jid, to: &Jid) -> Stanza {
    let unavailable = Element::new("presence", ns::CLIENT).attr("type", "unavailable");
    Stanza::build(&unavailable, from.clone(), Some(to.clone()))
}

/// RFC 6121 §4.5.2: all who saw the session are told; `stanza`: the client's own words.
fn depart(id: SessionId, stanza: Option<&Stanza>, ctx: &mut Ctx<'_>) {
    let Some(session) = ctx.core.sessions.session_mut(id) else { return };
    let (account, jid) = (session.account, session.jid.clone());
    let was_available = session.presence.is_some();
    let mut directed = std::mem::take(&mut session.directed);
    session.backlog = None;
    directed.retain(|to| !hears_broadcasts(id, to, ctx) && !ctx.blocks(&jid, to));
    let silent = Element::new("presence", ns::CLIENT).attr("type", "unavailable");
    let stanza = stanza.cloned().unwrap_or_else(|| Stanza::build(&silent, jid.clone(), None));
    if was_available {
        broadcast(account, &jid, &stanza, ctx);
        to_components(&jid, &stanza, ctx);
    }
    for to in directed {
        ctx.send(Leg::Inbound, stanza.readdressed(Some(to)));
    }
    let Some(session) = ctx.core.sessions.session_mut(id) else { return };
    session.presence = None;
    let others = ctx.sessions().of(jid.bare_str()).any(|(_, session)| session.presence.is_some());
    if was_available && !others {
        // XEP-0012 §3: when the account was last seen, and its last words.
        let status = stanza.find("status", ns::CLIENT).map(|status| status.content()).unwrap_or_default();
        let mut value = ctx.wall_s().to_be_bytes().to_vec();
        value.extend_from_slice(status.as_bytes());
        ctx.store().put(&keys::owned(keys::LAST, account), &value);
    }
}

fn inbound(stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
    let Some(to) = stanza.to.clone() else { return Flow::Taken("no address") };
    match stanza.ty {
        Type::Probe => probe::probe(stanza, &to, ctx),
        Type::Available | Type::Unavailable | Type::Error => {
            notify(stanza, &to, ctx);
            Flow::Taken("presence delivered")
        }
        _ => Flow::Taken("presence of no use"),
    }
}

/// RFC 6121 §8.5.2.1.2 and §8.5.3.1.
fn notify(stanza: &Stanza, to: &Jid, ctx: &mut Ctx<'_>) {
    let sessions = ctx.sessions().of(to.bare_str()).filter(|(_, session)| match to.resource() {
        Some(resource) => session.jid.resource() == Some(resource),
        None => session.presence.is_some(),
    });
    let mut sessions: Vec<_> = sessions.map(|(id, session)| (id, session.jid.clone())).collect();
    if to.is_bare() && ctx.is_local(&stanza.from) && !ctx.blocks(&stanza.from, to) {
        // Single resources of the account may be blocked (XEP-0191 §5). If all of it is, this tells it so.
        sessions.retain(|(_, jid)| !ctx.blocks(&stanza.from, jid));
    }
    let chunk = stanza.chunk();
    for (id, _) in sessions {
        ctx.core.deliver(id, chunk.clone(), Keep::Nothing);
        if let (Type::Unavailable, Some(session)) = (stanza.ty, ctx.core.sessions.session_mut(id)) {
            // RFC 6121 §4.6.1.
            session.directed.retain(|shown| *shown != stanza.from);
        }
    }
}
