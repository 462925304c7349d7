//! Gives messages to sessions, and keeps those for whom nobody is there.
//!
//! Source: RFC 6121 §8.5, XEP-0160 v1.0.1, XEP-0203 v2.0, XEP-0334 v1.0.0. Invariant: a message worth keeping has its row
//! ([`crate::domain::waiting`]) before the sender can be told that we have it, and keeps it until a client has received
//! it.

use crate::{
    domain::{
        ids::{AccountId, MessageId, SessionId},
        sessions::{Backlog, Keep},
        waiting,
    },
    limits,
    router::{
        context::{Ctx, UNHANDLED},
        service::{Card, Flow, Leg, Notice, Phase, Scope, Service},
    },
    wire::{
        build,
        jid::Jid,
        ns,
        stanza::{Kind, Stanza, Type},
    },
};

/// Delivery and offline storage.
#[derive(Debug)]
pub struct Deliver;

static CARD: Card = Card {
    name: "deliver",
    source: "RFC 6121 §8.5, XEP-0160 v1.0.1, XEP-0334 v1.0.0",
    features: &[(Scope::Host, ns::OFFLINE)],
    stream_features: &[],
    iq: &[],
    passes: &[(Kind::Message, Leg::Inbound, Phase::Deliver), (Kind::Message, Leg::Inbound, Phase::Absent)],
};

/// Whether a message survives the absence of its recipient, with the reason for the log.
enum Worth {
    Keeping,
    Nothing(&'static str),
}

/// XEP-0160 §3 and XEP-0334 §4.3: what is kept.
fn worth(stanza: &Stanza) -> Worth {
    match stanza.ty {
        Type::Chat | Type::Normal => {}
        _ => return Worth::Nothing("neither normal nor chat"),
    }
    if stanza.children().any(|(_, name, ns)| ns == ns::HINTS && matches!(name, "no-store" | "no-permanent-store")) {
        return Worth::Nothing("hint no-store");
    }
    // A message that only tells the state of a conversation is worth nothing later; everything else, with a body or
    // without (receipts, OMEMO, call signalling), is.
    let only_state = stanza.children().all(|(_, name, ns)| {
        ns == "http://jabber.org/protocol/chatstates"
            || (ns == ns::CLIENT && name == "thread")
            || ns == ns::HINTS
            || ns == ns::SID
    });
    if only_state { Worth::Nothing("only a chat state") } else { Worth::Keeping }
}

impl Service for Deliver {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn pass(&mut self, (_, phase): (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        match phase {
            Phase::Deliver => deliver(stanza, ctx),
            _ => absent(stanza, ctx),
        }
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        if let Notice::Available { session, .. } = notice {
            start_backlog(*session, ctx);
        }
    }
}

/// RFC 6121 §8.5.2.1.1 and §8.5.3: the sessions that get it.
fn recipients(stanza: &Stanza, to: &Jid, ctx: &Ctx<'_>) -> Result<Vec<SessionId>, Flow> {
    if let Some(resource) = to.resource() {
        let exact = ctx.sessions().of(to.bare_str()).find(|(_, session)| session.jid.resource() == Some(resource));
        if let Some((id, _)) = exact {
            return Ok(vec![id]);
        }
        match stanza.ty {
            Type::Chat => {}
            Type::Error => return Err(Flow::Taken("error to a session that is gone")),
            _ => return Err(Flow::Bounce(UNHANDLED)),
        }
    }
    match stanza.ty {
        Type::Groupchat => return Err(Flow::Bounce(UNHANDLED)),
        Type::Error => return Err(Flow::Taken("error to a bare address")),
        _ => {}
    }
    let able = || ctx.sessions().of(to.bare_str()).filter(|(_, session)| session.takes_messages());
    let highest = able().filter_map(|(_, session)| session.priority()).max();
    let all = stanza.ty == Type::Headline;
    Ok(able().filter(|(_, session)| all || session.priority() == highest).map(|(id, _)| id).collect())
}

fn deliver(stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
    let Some(to) = stanza.to.clone() else { return Flow::Taken("no address") };
    let sessions = match recipients(stanza, &to, ctx) {
        Ok(sessions) if sessions.is_empty() => return Flow::Continue,
        Ok(sessions) => sessions,
        Err(flow) => return flow,
    };
    let account = match worth(stanza) {
        Worth::Keeping => ctx.account(&to),
        Worth::Nothing(_) => None,
    };
    let all_behind = sessions.iter().all(|id| ctx.sessions().session(*id).is_some_and(|s| s.backlog.is_some()));
    if all_behind && account.is_some_and(|account| !ctx.has_room_to_wait(account, stanza)) {
        // Nobody fetches what waits already: as if nobody were there.
        return Flow::Bounce(UNHANDLED);
    }
    ctx.core.counters.messages += 1;
    let kept = account.map(|account| keep(stanza, &to, account, ctx));
    let chunk = stanza.chunk();
    for id in sessions {
        // What is kept and comes while older messages are still on their way to that session goes behind them.
        let behind = kept.is_some() && ctx.sessions().session(id).is_some_and(|session| session.backlog.is_some());
        if !behind {
            let keep = kept.map_or(Keep::Nothing, Keep::Message);
            ctx.core.deliver(id, chunk.clone(), keep);
        }
    }
    Flow::Taken("delivered")
}

/// RFC 6121 §8.5.2.2.1: nobody takes messages.
fn absent(stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
    let Some(to) = stanza.to.clone() else { return Flow::Taken("no address") };
    match stanza.ty {
        Type::Headline | Type::Error => return Flow::Taken("nobody there"),
        Type::Groupchat => return Flow::Bounce(UNHANDLED),
        _ => {}
    }
    if let Worth::Nothing(why) = worth(stanza) {
        return Flow::Taken(why);
    }
    let Some(account) = ctx.account(&to) else { return Flow::Bounce(UNHANDLED) };
    if !ctx.has_room_to_wait(account, stanza) {
        // XEP-0160 §2, step 3: the sender learns that the queue is full.
        return Flow::Bounce(UNHANDLED);
    }
    ctx.core.counters.messages += 1;
    keep(stanza, &to, account, ctx);
    Flow::Taken("kept")
}

/// Gives the message its number and its row.
fn keep(stanza: &mut Stanza, to: &Jid, account: AccountId, ctx: &mut Ctx<'_>) -> MessageId {
    let id = ctx.message_id();
    let mut stanza_id = Vec::with_capacity(96);
    stanza_id.extend_from_slice(b"<stanza-id xmlns='urn:xmpp:sid:0'");
    build::attr("id", crate::domain::ids::text(id).as_str(), &mut stanza_id);
    build::attr("by", to.bare_str(), &mut stanza_id);
    stanza_id.extend_from_slice(b"/>");
    stanza.add(&stanza_id);
    let (bytes, insert_at) = stanza.to_stored();
    waiting::keep(&mut ctx.store(), account, id, &bytes, insert_at);
    ctx.core.tallies.add(account, bytes.len());
    if id.0 >= ctx.core.message_ceiling {
        ctx.core.message_ceiling = id.0 + limits::MESSAGE_CEILING_US;
        let ceiling = ctx.core.message_ceiling;
        waiting::raise_ceiling(&mut ctx.store(), ceiling);
    }
    id
}

/// A session takes messages from now on: those that wait come first, oldest first (XEP-0160 §2, step 5).
fn start_backlog(id: SessionId, ctx: &mut Ctx<'_>) {
    let since = ctx.message_id();
    let Some(session) = ctx.core.sessions.session_mut(id) else { return };
    ctx.core.tallies.forget(session.account);
    if session.takes_messages() && session.backlog.is_none() && !session.is_local {
        session.backlog = Some(Backlog { next: MessageId(0), since });
        ctx.core.backlogs.push(id);
    }
}
