//! Gives messages to sessions, and keeps those for whom nobody is there.
//!
//! Source: RFC 6121 §8.5, XEP-0160 v1.0.1, XEP-0203 v2.0, XEP-0334 v1.0.0. Invariant: a message worth keeping has its row
//! ([`crate::domain::waiting`]) before the sender can be told that we have it, and keeps it until a client has received
//! it.

use crate::{
    domain::{
        archive,
        ids::{AccountId, MessageId, SessionId},
        sessions::{Backlog, Keep},
        waiting,
    },
    router::{
        answer::UNHANDLED,
        context::Ctx,
        reach::{Reach, reach},
        service::{Card, Flow, Leg, Notice, Phase, Scope, Service},
    },
    wire::{
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
    /// It is stored.
    Keeping,
    /// It means nothing later, and nobody misses it.
    Passing(&'static str),
    /// It is not to be stored, and its sender may miss it.
    Loss(&'static str),
}

/// XEP-0160 §3 and XEP-0334 §4: what is kept. `<no-permanent-store/>` is about archives only.
fn worth(stanza: &Stanza) -> Worth {
    match stanza.ty {
        Type::Chat | Type::Normal => {}
        _ => return Worth::Passing("neither normal nor chat"),
    }
    let traits = stanza.traits();
    // A message that only tells the state of a conversation is worth nothing later (XEP-0085 §5.8); everything else, with
    // a body or without (receipts, OMEMO, call signalling, nothing at all), is.
    if traits.im_payload && !traits.content && !traits.store {
        return Worth::Passing("only a chat state");
    }
    if traits.no_store { Worth::Loss("hint no-store") } else { Worth::Keeping }
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

fn deliver(stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
    let Some(to) = stanza.to.clone() else { return Flow::Taken("no address") };
    let sessions = match reach(stanza, &to, ctx) {
        Reach::Sessions(sessions) => sessions,
        Reach::Nobody => return Flow::Continue,
        Reach::Refused => return Flow::Bounce(UNHANDLED),
        Reach::Dropped(why) => return Flow::Taken(why),
    };
    let account = match worth(stanza) {
        Worth::Keeping => ctx.account(&to),
        Worth::Passing(_) | Worth::Loss(_) => None,
    };
    let all_behind = sessions.iter().all(|id| ctx.sessions().session(*id).is_some_and(|s| s.backlog.is_some()));
    if all_behind
        && let Some(account) = account
        && !ctx.has_room_to_wait(account, stanza)
    {
        // Nobody fetches what waits already: as if nobody were there.
        return refuse(stanza, account, ctx);
    }
    ctx.core.counters.messages += 1;
    let kept = account.map(|account| keep(stanza, account, ctx));
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
    let Some(account) = ctx.account(&to) else { return Flow::Bounce(UNHANDLED) };
    match worth(stanza) {
        Worth::Keeping => {}
        Worth::Passing(why) => return Flow::Taken(why),
        // To a stranger the error would tell that nobody is there (RFC 6121 §8.1, RFC 6120 §10.2).
        Worth::Loss(why) => {
            match stanza.from.bare_str() == to.bare_str() || ctx.shows_presence(account, &stanza.from) {
                true => return Flow::Bounce(UNHANDLED),
                false => return Flow::Taken(why),
            }
        }
    }
    if !ctx.has_room_to_wait(account, stanza) {
        // XEP-0160 §2, step 3: the sender learns that the queue is full.
        return refuse(stanza, account, ctx);
    }
    ctx.core.counters.messages += 1;
    keep(stanza, account, ctx);
    Flow::Taken("kept")
}

/// There is no room for it. What is refused is not in the archive either (XEP-0313 §6.1).
fn refuse(stanza: &Stanza, account: AccountId, ctx: &mut Ctx<'_>) -> Flow {
    if let Some(filed) = stanza.filed.filter(|filed| filed.own) {
        archive::retract(&mut ctx.store(), account, MessageId(filed.number));
    }
    Flow::Bounce(UNHANDLED)
}

/// Gives the message a row; its number is that of its archive, if that has it.
fn keep(stanza: &Stanza, account: AccountId, ctx: &mut Ctx<'_>) -> MessageId {
    ctx.core.tallies.add(account, stanza.source_len());
    match stanza.filed.filter(|filed| filed.own) {
        Some(filed) => {
            let id = MessageId(filed.number);
            waiting::keep_archived(&mut ctx.store(), account, id, stanza.source_len());
            id
        }
        None => {
            let id = ctx.stored_message_id();
            waiting::keep(&mut ctx.store(), account, id, &stanza.to_stored());
            id
        }
    }
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

#[cfg(test)]
mod tests;
