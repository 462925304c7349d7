//! Sends messages that waited to a session that takes them, a page at a time.
//!
//! Source: XEP-0160 §2, XEP-0203 §4, XEP-0191 §3.3. Invariant: a message under way to another session of the account is
//! not sent a second time, and what a session has not acknowledged stays bounded.

use std::collections::BTreeSet;

use super::context::Ctx;
use crate::{
    domain::{
        ids::{AccountId, MessageId, SessionId},
        sessions::{Backlog, Keep},
        waiting::{self, Waiting},
    },
    limits,
    wire::{build, jid::Jid, stanza::Chunk, time},
};

/// Serves every session that has a backlog and room for a page.
pub fn serve(ctx: &mut Ctx<'_>) {
    let mut sessions = std::mem::take(&mut ctx.core.backlogs);
    sessions.sort_unstable();
    sessions.dedup();
    sessions.retain(|id| page(*id, ctx));
    ctx.core.backlogs.append(&mut sessions);
}

/// Sends one page if there is room; `false`: the session has caught up or is gone.
fn page(id: SessionId, ctx: &mut Ctx<'_>) -> bool {
    let Some(session) = ctx.core.sessions.session(id) else { return false };
    let Some(backlog) = session.backlog else { return false };
    let waits_for_acks = session.sm.as_ref().is_some_and(|sm| {
        sm.unacked_len() >= limits::BACKLOG_UNACKED_MAX || sm.unacked_bytes() >= limits::BACKLOG_UNACKED_BYTES_MAX
    });
    let Some(stream) = session.stream else { return true };
    if waits_for_acks || ctx.core.stuck.contains_key(&stream) {
        return true;
    }
    let (account, jid) = (session.account, session.jid.clone());
    let under_way = under_way(ctx, id, account, jid.bare_str());
    let (messages, last) = read_page(account, backlog.next, ctx);
    let next = messages.last().map(|message| MessageId(message.id.0 + 1));
    let kept_s = ctx.config().retention.offline_days.saturating_mul(86_400);
    let oldest = if kept_s == 0 { 0 } else { ctx.wall_us.saturating_sub(kept_s.saturating_mul(1_000_000)) };
    let (messages, stale): (Vec<_>, Vec<_>) = messages.into_iter().partition(|message| message.id.0 >= oldest);
    for message in stale {
        waiting::forget(&mut ctx.store(), account, message.id);
    }
    let (unwanted, messages): (Vec<_>, Vec<_>) = messages.into_iter().partition(|m| is_blocked(m, &jid, ctx));
    for message in unwanted {
        waiting::forget(&mut ctx.store(), account, message.id);
    }
    let is_due =
        |id: MessageId| !under_way.here.contains(&id) && (id >= backlog.since || !under_way.elsewhere.contains(&id));
    for message in messages.iter().filter(|message| is_due(message.id)) {
        catch_up(id, message.id, ctx);
        let known = if message.is_archived { ctx.stanza_id(account, jid.bare_str(), message.id) } else { Vec::new() };
        ctx.core.deliver(id, delayed(message, known, jid.domain()), Keep::Message(message.id));
    }
    if last {
        catch_up(id, MessageId(u64::MAX), ctx);
    }
    if let Some(session) = ctx.core.sessions.session_mut(id) {
        session.backlog = if last { None } else { next.map(|next| Backlog { next, ..backlog }) };
    }
    !last
}

/// Whether the owner has blocked the sender since the message came. XEP-0191 §3.3 forbids to deliver it, and §3.4 promises
/// only what comes after an unblocking: it is dropped, so that what a nuisance sent takes nobody else's room.
fn is_blocked(message: &Waiting, owner: &Jid, ctx: &mut Ctx<'_>) -> bool {
    if !ctx.sessions().online(owner.bare_str()).is_some_and(|online| online.lists.blocks) {
        return false;
    }
    Jid::parse(&message.stanza.from).is_ok_and(|from| ctx.blocks(owner, &from))
}

/// Sends the copies that came before this message.
fn catch_up(id: SessionId, before: MessageId, ctx: &mut Ctx<'_>) {
    while let Some(session) = ctx.core.sessions.session_mut(id)
        && let Some((_, chunk)) = session.behind.pop_front_if(|(copied, _)| *copied < before)
    {
        ctx.core.deliver(id, chunk, Keep::Nothing);
    }
}

/// Messages from this one on, as many as are sent at a time; and whether they are all.
fn read_page(account: AccountId, from: MessageId, ctx: &mut Ctx<'_>) -> (Vec<Waiting>, bool) {
    // A few rows at a time, since each may be as large as a stanza.
    const ROWS: usize = 8;
    let (mut messages, mut bytes, mut next) = (Vec::new(), 0, from);
    while messages.len() < limits::BACKLOG_PAGE && bytes < limits::BACKLOG_PAGE_BYTES {
        let rows = waiting::page(&ctx.store(), account, next, ROWS);
        let all = rows.len() < ROWS;
        for row in rows {
            if bytes >= limits::BACKLOG_PAGE_BYTES {
                return (messages, false);
            }
            bytes += row.stanza.rest.len();
            next = MessageId(row.id.0 + 1);
            messages.push(row);
        }
        if all {
            return (messages, true);
        }
    }
    (messages, false)
}

/// Messages that sessions of an account have got and not acknowledged.
struct UnderWay {
    /// To the session that is being served.
    here: BTreeSet<MessageId>,
    /// To others.
    elsewhere: BTreeSet<MessageId>,
}

fn under_way(ctx: &Ctx<'_>, id: SessionId, account: AccountId, bare: &str) -> UnderWay {
    let handed = ctx.core.handed_over.iter().filter(|(_, owner, _)| *owner == account).map(|(_, _, message)| *message);
    let mut found = UnderWay { here: handed.collect(), elsewhere: BTreeSet::new() };
    for (other, session) in ctx.core.sessions.of(bare) {
        let gated = session.gate.iter().map(|(_, _, keep)| keep);
        let unacked = session.sm.iter().flat_map(|sm| sm.unacked().map(|(_, keep)| keep));
        let held = session.held.iter().flat_map(|held| held.keeps());
        let kept = gated.chain(unacked).chain(held).filter_map(|keep| match keep {
            Keep::Message(message) => Some(*message),
            _ => None,
        });
        if other == id { found.here.extend(kept) } else { found.elsewhere.extend(kept) }
    }
    found
}

/// The message with the id that its archive has for it, and the time when we took it in (XEP-0203 §4).
fn delayed(message: &Waiting, mut inserted: Vec<u8>, domain: &str) -> Chunk {
    inserted.extend_from_slice(b"<delay xmlns='urn:xmpp:delay'");
    build::attr("from", domain, &mut inserted);
    build::attr("stamp", &time::stamp_ms(message.id.0 / 1000), &mut inserted);
    inserted.extend_from_slice(b"/>");
    let stanza = &message.stanza;
    let mut out = Vec::with_capacity(48 + stanza.from.len() + stanza.to.len() + inserted.len() + stanza.rest.len());
    stanza.write(None, &inserted, &mut out);
    Chunk::new(out)
}
