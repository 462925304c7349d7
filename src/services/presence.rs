//! Who is there: initial presence, updates, directed presence, probes, and unavailability.
//!
//! Source: RFC 6121 §4, XEP-0203 v2.0 for the stamp of the last departure. Invariant: whoever was shown a session's
//! presence is shown that it went, however it went.

use crate::{
    domain::{
        ids::{AccountId, SessionId},
        keys, roster,
        sessions::{Keep, Presence},
    },
    limits,
    router::{
        context::Ctx,
        service::{Card, Flow, Leg, Notice, Phase, Service},
    },
    wire::{
        build,
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
        stanza::{Chunk, Kind, Stanza, Type},
        time,
    },
};

/// Presence.
#[derive(Debug)]
pub struct PresenceService;

static CARD: Card = Card {
    name: "presence",
    source: "RFC 6121 §4",
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
            Notice::BlockChanged { account, jid, blocked } => block_changed(*account, jid, *blocked, ctx),
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
            && ctx.is_local(&contact)
            && !ctx.blocks(from, &contact)
        {
            ctx.send(Leg::Inbound, stanza.readdressed(Some(contact)));
        }
    }
    to_own(from, stanza, ctx);
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
/// §3.1.3). Contacts here need no probe: their presence is a fact.
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
            present.extend(presence_for(&contact, &bare, ctx));
        }
    }
    present.extend(roster::requests(&ctx.store(), account).into_iter().map(Chunk::new));
    for chunk in present {
        ctx.core.deliver(id, chunk, Keep::Nothing);
    }
}

/// The presence of a contact's available sessions, as far as the contact lets `viewer` see it.
fn presence_for(contact: &str, viewer: &Jid, ctx: &mut Ctx<'_>) -> Vec<Chunk> {
    let Some(online) = ctx.sessions().online(contact) else { return Vec::new() };
    let owner = online.account;
    let Ok(contact) = Jid::parse(contact) else { return Vec::new() };
    if !roster::state(&ctx.store(), owner, viewer.as_str()).from
        || ctx.blocks(&contact, viewer)
        || ctx.blocks(viewer, &contact)
    {
        return Vec::new();
    }
    let sessions = ctx.sessions().of(contact.as_str());
    sessions.filter_map(|(_, s)| Some(s.presence.as_ref()?.stanza.chunk_to(Some(viewer)))).collect()
}

/// RFC 6121 §4.6.3.
fn directed(id: SessionId, ty: Type, to: &Jid, ctx: &mut Ctx<'_>) {
    let Some(session) = ctx.sessions().session(id) else { return };
    let (account, is_available) = (session.account, session.presence.is_some());
    let subscribed = is_available && roster::state(&ctx.store(), account, to.bare_str()).from;
    let Some(session) = ctx.core.sessions.session_mut(id) else { return };
    match ty {
        Type::Available if !subscribed && !session.directed.contains(to) => {
            if session.directed.len() >= limits::DIRECTED_MAX {
                session.directed.remove(0);
            }
            session.directed.push(to.clone());
        }
        Type::Unavailable => session.directed.retain(|other| other != to),
        _ => {}
    }
}

/// RFC 6121 §4.5.2: all who saw the session are told; `stanza`: the client's own words.
fn depart(id: SessionId, stanza: Option<&Stanza>, ctx: &mut Ctx<'_>) {
    let Some(session) = ctx.core.sessions.session_mut(id) else { return };
    let (account, jid) = (session.account, session.jid.clone());
    let was_available = session.presence.is_some();
    let directed = std::mem::take(&mut session.directed);
    session.backlog = None;
    let silent = Element::new("presence", ns::CLIENT).attr("type", "unavailable");
    let stanza = stanza.cloned().unwrap_or_else(|| Stanza::build(&silent, jid.clone(), None));
    if was_available {
        broadcast(account, &jid, &stanza, ctx);
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
        Type::Probe => probe(stanza, &to, ctx),
        Type::Available | Type::Unavailable | Type::Error => {
            // RFC 6121 §8.5.2.1.2 and §8.5.3.1.
            let sessions = ctx.sessions().of(to.bare_str()).filter(|(_, session)| match to.resource() {
                Some(resource) => session.jid.resource() == Some(resource),
                None => session.presence.is_some(),
            });
            let sessions: Vec<_> = sessions.map(|(id, _)| id).collect();
            let chunk = stanza.chunk();
            for id in sessions {
                ctx.core.deliver(id, chunk.clone(), Keep::Nothing);
            }
            Flow::Taken("presence delivered")
        }
        _ => Flow::Taken("presence of no use"),
    }
}

/// RFC 6121 §4.3.2 and §4.6.6.
fn probe(stanza: &Stanza, to: &Jid, ctx: &mut Ctx<'_>) -> Flow {
    let Some(account) = ctx.account(to) else { return Flow::Taken("no such account") };
    let viewer = stanza.from.clone();
    let state = roster::state(&ctx.store(), account, viewer.bare_str());
    let own = viewer.bare_str() == to.bare_str();
    if state.pending_in && !own {
        // An answer of `unsubscribed` would cancel the request on the asker's side alone.
        return Flow::Taken("probe of somebody whose request waits");
    }
    if !state.from && !own {
        return probe_of_stranger(stanza, to, ctx);
    }
    let sessions = ctx.sessions().of(to.bare_str()).filter(|(_, session)| match to.resource() {
        Some(resource) => session.jid.resource() == Some(resource),
        None => true,
    });
    let mut answers: Vec<Stanza> =
        sessions.filter_map(|(_, session)| Some(session.presence.as_ref()?.stanza.clone())).collect();
    if answers.is_empty() && to.is_bare() {
        answers.push(last_seen(account, to, ctx));
    }
    for answer in answers {
        ctx.send(Leg::Inbound, answer.readdressed(Some(viewer.clone())));
    }
    Flow::Taken("probe answered")
}

/// Mere presence if the session showed itself to the prober, else `unsubscribed`.
fn probe_of_stranger(stanza: &Stanza, to: &Jid, ctx: &mut Ctx<'_>) -> Flow {
    let viewer = &stanza.from;
    let shown = ctx.sessions().full(to).is_some_and(|(_, session)| {
        session.directed.iter().any(|d| d == viewer || (d.is_bare() && d.as_str() == viewer.bare_str()))
    });
    let answer = Element::new("presence", ns::CLIENT);
    let answer = if shown {
        Stanza::build(&answer, to.clone(), Some(viewer.clone()))
    } else {
        Stanza::build(&answer.attr("type", "unsubscribed"), to.bare(), Some(viewer.bare()))
    };
    ctx.send(Leg::Inbound, answer);
    Flow::Taken("probe of a stranger")
}

/// RFC 6121 §4.3.2, rule 3.
fn last_seen(account: AccountId, owner: &Jid, ctx: &mut Ctx<'_>) -> Stanza {
    let unavailable = Element::new("presence", ns::CLIENT).attr("type", "unavailable");
    let mut stanza = Stanza::build(&unavailable, owner.bare(), None);
    let row = ctx.store().read(&keys::owned(keys::LAST, account)).unwrap_or_default();
    if let Some((seconds, _)) = row.split_first_chunk::<8>() {
        let mut delay = b"<delay xmlns='urn:xmpp:delay'".to_vec();
        build::attr("stamp", &time::stamp(u64::from_be_bytes(*seconds) * 1000), &mut delay);
        delay.extend_from_slice(b"/>");
        stanza.add(&delay);
    }
    stanza
}

/// XEP-0191 §3.3 and §3.4 (examples 8 and 12): the blocked contact sees the owner leave, the unblocked one sees the
/// owner again.
fn block_changed(account: AccountId, contact: &Jid, blocked: bool, ctx: &mut Ctx<'_>) {
    let Some(owner) = crate::domain::accounts::address(&ctx.store(), account) else { return };
    if !ctx.is_local(contact) {
        return;
    }
    let contacts: Vec<Jid> = match contact.local() {
        Some(_) => vec![contact.bare()],
        None => roster::items(&ctx.store(), account)
            .into_iter()
            .filter_map(|(jid, _)| Jid::parse(&jid).ok())
            .filter(|jid| jid.domain() == contact.domain())
            .collect(),
    };
    for contact in contacts {
        // Another entry of the list may still stand for the contact.
        if !blocked && ctx.blocks(&owner, &contact) {
            continue;
        }
        if roster::state(&ctx.store(), account, contact.as_str()).from {
            if blocked {
                ctx.hide_presence(&owner, &contact);
            } else {
                ctx.show_presence(&owner, &contact);
            }
        }
    }
}
