//! A page of an archive.
//!
//! Source: XEP-0313 §4 and §5, XEP-0297. Invariants: a page is bounded in messages and in bytes, whatever is asked for;
//! what it costs does not depend on the size of the archive, which is read from one end of what matches.
//!
//! `<count/>` and `index` are exact where they are told. They are left out for queries by contact that do not show all
//! at once, unless the count alone is asked for (`<max>0</max>`) and it is below [`limits::ARCHIVE_COUNT_MAX`]: nothing
//! is walked through for a number that clients do not use (§4.3.2 leaves it to the server).

use std::ops::{ControlFlow, Range};

use super::{filter::Filter, retention};
use crate::{
    domain::{
        archive::{self, Contact},
        ids::{AccountId, MessageId, SessionId},
        rooms::senders,
        sessions::Keep,
    },
    limits,
    router::{
        context::Ctx,
        event::Effect,
        service::{Iq, Leg, Reply, Scope},
    },
    wire::{
        build,
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        jid::Jid,
        ns, rsm,
        stanza::{Chunk, Stanza, Stored},
        time,
    },
};

/// What matches, and which part of it is wanted.
struct Search {
    owner: AccountId,
    with: Option<Jid>,
    /// Numbers of the messages that match, by time and by id.
    matching: Range<u64>,
    /// The part of it that the page is taken from.
    wanted: Range<u64>,
    backward: bool,
    size: usize,
}

/// A page that was found, oldest first.
#[derive(Default)]
struct Found {
    messages: Vec<(MessageId, Stored)>,
    /// There is more in the direction of the query.
    more: bool,
}

/// Answers a query: sends the page, and tells where it ends.
pub fn answer(owner: AccountId, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let to = asker(iq)?;
    if iq.payload.get("node").is_some() {
        // For pubsub nodes, XEP-0442.
        return Err(Condition::FeatureNotImplemented.into());
    }
    let filter = Filter::of(iq.payload)?;
    let asked = rsm::Request::of(iq.payload)?.unwrap_or_default();
    let room = room(iq.session, ctx)?;
    let from = match (&iq.stanza.to, iq.scope) {
        (Some(room), Scope::Hosted) => room.bare(),
        _ => iq.from.bare(),
    };
    let (mut found, page) = match &filter.ids {
        Some(ids) => by_ids((owner, &from), &filter, ids, &asked, room, ctx)?,
        None => by_range(owner, &filter, &asked, room, ctx)?,
    };
    if iq.scope == Scope::Hosted {
        found.messages.iter_mut().for_each(|(_, text)| senders::show(text, iq.sight));
    }
    let complete = !found.more;
    let flip = iq.payload.find("flip-page", ns::MAM).is_some();
    send(owner, &to, &from, iq.payload.get("queryid"), &found, flip, ctx);
    let fin = Element::new("fin", ns::MAM).attr_if("complete", complete.then_some("true")).child(page.element());
    Ok(fin.into())
}

/// Who gets the page: a session of ours, or, if the archive is not an account's, somebody elsewhere.
struct Asker {
    session: Option<SessionId>,
    jid: Jid,
}

fn asker(iq: &Iq<'_>) -> Result<Asker, StanzaError> {
    match iq.session {
        None if iq.scope != Scope::Hosted => Err(Condition::ServiceUnavailable.into()),
        session => Ok(Asker { session, jid: iq.from.clone() }),
    }
}

/// Bytes that may be sent to this session now; at least one message. What goes to another server is bounded on that way.
fn room(session: Option<SessionId>, ctx: &Ctx<'_>) -> Result<usize, StanzaError> {
    let Some(session) = session else { return Ok(limits::ARCHIVE_PAGE_BYTES) };
    let Some(of) = ctx.sessions().session(session) else { return Ok(0) };
    let gated: usize = of.gate.iter().map(|(_, chunk, _)| chunk.len()).sum();
    let in_turn = ctx.core.effects.iter().map(|effect| match effect {
        Effect::Write(stream, chunk) if Some(*stream) == of.stream => chunk.len(),
        _ => 0,
    });
    let unread = gated + of.sm.as_ref().map_or(0, |sm| sm.unacked_bytes()).max(in_turn.sum());
    if unread >= limits::ARCHIVE_UNREAD_BYTES_MAX {
        let text = "Read what you have asked for first.";
        return Err(StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait).text(text));
    }
    Ok(limits::ARCHIVE_PAGE_BYTES.min(limits::ARCHIVE_UNREAD_BYTES_MAX - unread))
}

/// The message that a client names, if the archive holds it.
fn named(owner: AccountId, id: &str, ctx: &mut Ctx<'_>) -> Result<archive::Entry, StanzaError> {
    let missing = StanzaError::new(Condition::ItemNotFound);
    let message = ctx.core.seal.message(owner, id).ok_or(missing.clone())?;
    let store = ctx.store();
    let is_kept = |entry: &archive::Entry| entry.id.0 >= archive::kept_from(&store, owner);
    archive::entry(&store, owner, message).filter(is_kept).ok_or(missing)
}

/// The numbers that times, ids and retention leave, §4.1.2 and §4.1.3.
fn matching(owner: AccountId, filter: &Filter, ctx: &mut Ctx<'_>) -> Result<Range<u64>, StanzaError> {
    let mut range = retention::oldest(owner, ctx)..u64::MAX;
    if let Some(start) = filter.start_ms {
        range.start = range.start.max(start.saturating_mul(1_000));
    }
    if let Some(end) = filter.end_ms {
        // Stamps are told to the millisecond, and a message of the last one is within.
        range.end = range.end.min(end.saturating_add(1).saturating_mul(1_000));
    }
    if let Some(id) = &filter.after_id {
        range.start = range.start.max(named(owner, id, ctx)?.id.0 + 1);
    }
    if let Some(id) = &filter.before_id {
        range.end = range.end.min(named(owner, id, ctx)?.id.0);
    }
    Ok(range.start..range.end.max(range.start))
}

fn by_range(
    owner: AccountId,
    filter: &Filter,
    asked: &rsm::Request,
    room: usize,
    ctx: &mut Ctx<'_>,
) -> Result<(Found, rsm::Page), StanzaError> {
    if asked.index.is_some() && filter.with.is_some() {
        // XEP-0059 §2.6: where no count is told, there is no page by index.
        return Err(Condition::FeatureNotImplemented.into());
    }
    let matching = matching(owner, filter, ctx)?;
    let mut wanted = matching.clone();
    if let Some(index) = asked.index.filter(|index| *index > 0) {
        // XEP-0059 §2.6: behind the last one, the page is empty.
        let first = archive::nth(&ctx.store(), owner, matching.clone(), index as u64);
        wanted.start = first.map_or(matching.end, |id| id.0);
    }
    if let Some(id) = &asked.after {
        wanted.start = wanted.start.max(named(owner, id, ctx)?.id.0 + 1);
    }
    if let Some(id) = asked.before_id() {
        wanted.end = wanted.end.min(named(owner, id, ctx)?.id.0);
    }
    let search = Search {
        owner,
        with: filter.with.clone(),
        matching,
        wanted,
        backward: asked.is_backward(),
        size: asked.size(limits::ARCHIVE_PAGE_MAX),
    };
    let found = search.run(room, ctx)?;
    let page = search.page(&found, ctx);
    Ok((found, page))
}

impl Search {
    fn contact(&self) -> Option<(Contact, bool)> {
        self.with.as_ref().map(|with| (Contact::of(with), with.resource().is_some()))
    }

    fn run(&self, room: usize, ctx: &mut Ctx<'_>) -> Result<Found, StanzaError> {
        let store = ctx.store();
        let (contact, limit) = (self.contact(), self.size + 1);
        let ids = archive::ids(&store, self.owner, contact, self.wanted.clone(), self.backward, limit);
        if ids.is_cut && ids.found.is_empty() {
            // Without a message there is no place to go on from.
            let text = "Too many messages of other resources; ask for a shorter time.";
            return Err(StanzaError::new(Condition::PolicyViolation).text(text));
        }
        let mut found = Found { more: ids.is_cut || ids.found.len() > self.size, ..Found::default() };
        let (mut bytes, mut is_full) = (0, false);
        let wanted = ids.found.get(..self.size).unwrap_or(&ids.found);
        archive::texts(&store, wanted, self.backward, &mut |id, text| {
            if !self.with.as_ref().is_none_or(|with| concerns(&text, with)) {
                return ControlFlow::Continue(());
            }
            is_full = bytes >= room;
            if is_full {
                return ControlFlow::Break(());
            }
            bytes += text.rest.len();
            found.messages.push((id, text));
            ControlFlow::Continue(())
        });
        found.more |= is_full;
        if self.backward {
            found.messages.reverse();
        }
        Ok(found)
    }

    /// What is told of the page.
    fn page(&self, found: &Found, ctx: &mut Ctx<'_>) -> rsm::Page {
        let ends = ends(self.owner, found, ctx);
        let is_all = !found.more && self.wanted == self.matching;
        let shown = found.messages.len();
        let (index, count) = match (&self.with, is_all) {
            (_, true) => (Some(0), Some(shown)),
            (None, false) => self.place(found, ctx),
            (Some(_), false) if self.size == 0 => {
                let limit = limits::ARCHIVE_COUNT_MAX + 1;
                let store = ctx.store();
                let all = archive::ids(&store, self.owner, self.contact(), self.matching.clone(), false, limit);
                (None, Some(all.found.len()).filter(|count| *count < limit && !all.is_cut))
            }
            (Some(_), false) => (None, None),
        };
        // A client that goes backwards and is told that the page ends the list takes it for the last one (slixmpp does).
        let index = index.filter(|index| ends.is_some() && (*index == 0 || !self.backward));
        rsm::Page { index, ends, count }
    }

    /// Position of the page's first message among all that match, and how many these are: archives count through.
    fn place(&self, found: &Found, ctx: &mut Ctx<'_>) -> (Option<usize>, Option<usize>) {
        let store = ctx.store();
        let end = |back| archive::end(&store, self.owner, self.matching.clone(), back);
        let (Some(first), Some(last)) = (end(false), end(true)) else { return (None, Some(0)) };
        let shown = found.messages.first().and_then(|(id, _)| archive::entry(&store, self.owner, *id));
        let index = shown.map(|shown| shown.count.saturating_sub(first.count) as usize);
        (index, Some((last.count.saturating_sub(first.count) + 1) as usize))
    }
}

/// The messages that a client names one by one, §4.1.3, out of an archive with this address.
fn by_ids(
    (owner, own): (AccountId, &Jid),
    filter: &Filter,
    ids: &[String],
    asked: &rsm::Request,
    room: usize,
    ctx: &mut Ctx<'_>,
) -> Result<(Found, rsm::Page), StanzaError> {
    let matching = matching(owner, filter, ctx)?;
    let mut numbers = Vec::with_capacity(ids.len());
    for id in ids {
        numbers.push(named(owner, id, ctx)?.id);
    }
    numbers.sort_unstable();
    numbers.dedup();
    let store = ctx.store();
    let is_wanted = |id: &MessageId| matching.contains(&id.0);
    let all: Vec<(MessageId, Stored)> = numbers
        .into_iter()
        .filter(is_wanted)
        .filter_map(|id| Some((id, archive::text(&store, id)?)))
        .filter(|(_, text)| {
            // §4.1.1: every message comes from or goes to the archive's owner, those to oneself do both.
            filter.with.as_ref().is_none_or(|with| concerns(text, with) && (with != own || is_to_oneself(text)))
        })
        .collect();
    let place = |id: &str| {
        let id = ctx.core.seal.message(owner, id)?;
        all.iter().position(|(known, _)| *known == id)
    };
    let mut window = asked.window(all.len(), limits::ARCHIVE_PAGE_MAX, place)?;
    let full = window.len();
    let mut bytes = 0;
    let fits = all[window.clone()].iter().take_while(|(_, text)| {
        let fits = bytes < room;
        bytes += text.rest.len();
        fits
    });
    window.end = window.start + fits.count();
    let more = window.len() < full || if asked.is_backward() { window.start > 0 } else { window.end < all.len() };
    let count = all.len();
    let found = Found { messages: all.get(window.clone()).unwrap_or_default().to_vec(), more };
    let ends = ends(owner, &found, ctx);
    Ok((found, rsm::Page { index: ends.as_ref().map(|_| window.start), ends, count: Some(count) }))
}

/// Whether the message went to or came from this address, §4.1.1.
fn concerns(text: &Stored, with: &Jid) -> bool {
    let is_with = |other: &str| match with.resource() {
        Some(_) => other == with.as_str(),
        None => other.strip_prefix(with.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    };
    is_with(&text.from) || is_with(&text.to)
}

/// Whether sender and recipient are the same account.
fn is_to_oneself(text: &Stored) -> bool {
    let bare = |jid: &str| jid.split_once('/').map_or(jid.len(), |(bare, _)| bare.len());
    text.from[..bare(&text.from)] == text.to[..bare(&text.to)]
}

fn ends(owner: AccountId, found: &Found, ctx: &Ctx<'_>) -> Option<(String, String)> {
    let id = |message: &(MessageId, Stored)| ctx.core.seal.id(owner, message.0).as_str().to_owned();
    Some((id(found.messages.first()?), id(found.messages.last()?)))
}

/// Sends the messages of a page, §4.2 and §4.3.4.
fn send(owner: AccountId, to: &Asker, from: &Jid, query: Option<&str>, found: &Found, flip: bool, ctx: &mut Ctx<'_>) {
    let mut one = |(id, text): &(MessageId, Stored)| {
        let mut out = Vec::with_capacity(512 + text.rest.len());
        out.extend_from_slice(b"<message");
        build::attr("from", from.as_str(), &mut out);
        build::attr("to", to.jid.as_str(), &mut out);
        out.extend_from_slice(b"><result xmlns='urn:xmpp:mam:2'");
        if let Some(query) = query {
            build::attr("queryid", query, &mut out);
        }
        build::attr("id", &ctx.core.seal.id(owner, *id), &mut out);
        out.extend_from_slice(b"><forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay'");
        build::attr("stamp", &time::stamp_ms(id.0 / 1_000), &mut out);
        out.extend_from_slice(b"/>");
        text.write(Some(ns::CLIENT), &[], &mut out);
        out.extend_from_slice(b"</forwarded></result></message>");
        if let Some(session) = to.session {
            ctx.core.deliver(session, Chunk::new(out), Keep::Nothing);
        } else if let Ok(message) = Element::parse(&out, ns::CLIENT) {
            ctx.send(Leg::Inbound, Stanza::build(&message, from.clone(), Some(to.jid.clone())));
        }
    };
    if flip { found.messages.iter().rev().for_each(&mut one) } else { found.messages.iter().for_each(&mut one) }
}

/// The two ends of an archive, §5.
pub fn metadata(owner: AccountId, ctx: &mut Ctx<'_>) -> Element {
    let range = retention::oldest(owner, ctx)..u64::MAX;
    let store = ctx.store();
    let ends = [("start", false), ("end", true)]
        .map(|(name, back)| archive::end(&store, owner, range.clone(), back).map(|entry| (name, entry.id)));
    let end = |(name, id): (&'static str, MessageId)| {
        Element::new(name, ns::MAM)
            .attr("id", ctx.core.seal.id(owner, id).as_str())
            .attr("timestamp", time::stamp_ms(id.0 / 1_000).as_str())
    };
    Element::new("metadata", ns::MAM).with(ends.into_iter().flatten().map(end))
}
