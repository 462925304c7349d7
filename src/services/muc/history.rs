//! What newcomers are shown of what was said before, and the subject.
//!
//! Source: XEP-0045 §7.2.13 to §7.2.15, XEP-0203. Invariant: a room remembers [`limits::ROOM_HISTORY_MAX`] messages at
//! most, and not more than [`limits::ROOM_HISTORY_BYTES_MAX`] bytes of them.

use super::{
    outgoing::give,
    room::{Line, Room, Visit},
};
use crate::{
    domain::{
        archive,
        ids::MessageId,
        rooms::senders::{self, Sight},
    },
    limits,
    router::context::Ctx,
    wire::{
        build,
        element::Element,
        jid::Jid,
        ns,
        stanza::{Chunk, Stanza, Stored},
        time,
    },
};

/// A message is part of the history from now on.
pub(super) fn remember(room: &mut Room, line: Line) {
    room.history.push_back(line);
    let bytes = |room: &Room| room.history.iter().map(|line| line.message.rest.len()).sum::<usize>();
    while room.history.len() > limits::ROOM_HISTORY_MAX
        || (bytes(room) > limits::ROOM_HISTORY_BYTES_MAX && room.history.len() > 1)
    {
        room.history.pop_front();
    }
}

/// When the first one comes, the archive knows what was said last.
pub(super) fn recall(room: &mut Room, ctx: &mut Ctx<'_>) {
    if !room.settings.keeps_archive || !room.history.is_empty() {
        return;
    }
    let store = ctx.store();
    let kept = archive::kept_from(&store, room.id)..u64::MAX;
    let ids = archive::ids(&store, room.id, None, kept, true, limits::ROOM_HISTORY_MAX).found;
    let texts: Vec<_> = ids.into_iter().filter_map(|id| Some((id, archive::text(&store, id)?))).collect();
    for (id, mut message) in texts.into_iter().rev() {
        senders::show(&mut message, Sight::Nicknames);
        if !is_shown(&message) {
            continue;
        }
        let stamps = ctx.stanza_id(room.id, room.jid.as_str(), id);
        remember(room, Line { at_us: id.0, message, stamps });
    }
}

/// Whether newcomers are shown a message of the archive: not former subjects, nor who has read what.
fn is_shown(message: &Stored) -> bool {
    let mut whole = Vec::with_capacity(message.rest.len() + 128);
    message.write(Some(ns::CLIENT), &[], &mut whole);
    let Ok(message) = Element::parse(&whole, ns::CLIENT) else { return false };
    let has = |name| message.find(name, ns::CLIENT).is_some();
    let is_told = |child: &Element| matches!(child.ns.as_ref(), ns::RECEIPTS | ns::MARKERS | ns::CHAT_STATES);
    has("body") || !(message.children().any(is_told) || (has("subject") && !has("thread")))
}

/// How much of the history somebody wants, XEP-0045 §7.2.13; every bound counts.
struct Wish {
    chars: usize,
    stanzas: usize,
    from_us: u64,
}

impl Wish {
    fn of(room: &Room, asked: &Element, now_us: u64) -> Wish {
        let mut wish = Wish { chars: usize::MAX, stanzas: usize::from(room.settings.history), from_us: 0 };
        let Some(history) = asked.find("history", ns::MUC) else { return wish };
        let number = |name| history.get(name).and_then(|value| value.parse::<u64>().ok());
        if let Some(chars) = number("maxchars") {
            wish.chars = chars as usize;
        }
        if let Some(stanzas) = number("maxstanzas") {
            // XEP-0045 §15.5.3: `muc#maxhistoryfetch` is the most that the room shows.
            wish.stanzas = wish.stanzas.min(stanzas as usize);
        }
        if let Some(seconds) = number("seconds") {
            wish.from_us = now_us.saturating_sub(seconds.saturating_mul(1_000_000));
        }
        if let Some(since) = history.get("since").and_then(time::parse) {
            wish.from_us = wish.from_us.max(since.saturating_mul(1_000));
        }
        wish
    }
}

/// Shows the history to a newcomer, oldest first.
pub(super) fn show(room: &Room, visit: &Visit, asked: &Element, ctx: &mut Ctx<'_>) {
    let wish = Wish::of(room, asked, ctx.wall_us);
    let (mut left, mut lines) = (wish.chars, Vec::new());
    for line in room.history.iter().rev().take(wish.stanzas).take_while(|line| line.at_us >= wish.from_us) {
        let Ok(from) = Jid::parse(&line.message.from) else { continue };
        let mut inserted = line.stamps.clone();
        delay(room, line.at_us, &mut inserted);
        let mut message = line.message.clone();
        message.to = visit.jid.as_str().to_owned();
        let mut out = Vec::with_capacity(message.rest.len() + 256);
        message.write(None, &inserted, &mut out);
        // Characters of the complete stanza; the bytes that go on with one are none.
        let chars = out.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        let Some(fewer) = left.checked_sub(chars) else { break };
        left = fewer;
        lines.push((from, out));
    }
    for (from, out) in lines.into_iter().rev() {
        give(visit, &from, Chunk::new(out), ctx);
    }
}

fn delay(room: &Room, at_us: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<delay xmlns='urn:xmpp:delay'");
    build::attr("from", room.jid.as_str(), out);
    build::attr("stamp", &time::stamp_ms(at_us / 1_000), out);
    out.extend_from_slice(b"/>");
}

/// Shows the subject, which ends what newcomers are shown; an empty one too (XEP-0045 §7.2.15).
pub(super) fn show_subject(room: &Room, visit: &Visit, ctx: &mut Ctx<'_>) {
    let subject = &room.subject;
    let from = match subject.nick.as_str() {
        "" => room.jid.clone(),
        nick => room.jid.with_resource(nick).unwrap_or_else(|_| room.jid.clone()),
    };
    let mut out = Vec::with_capacity(256 + subject.elements.len());
    out.extend_from_slice(b"<message type='groupchat'");
    build::attr("from", from.as_str(), &mut out);
    build::attr("to", visit.jid.as_str(), &mut out);
    out.push(b'>');
    match subject.elements.is_empty() {
        true => out.extend_from_slice(b"<subject/>"),
        false => out.extend_from_slice(&subject.elements),
    }
    if subject.at_us > 0 {
        delay(room, subject.at_us, &mut out);
    }
    out.extend_from_slice(b"</message>");
    give(visit, &from, Chunk::new(out), ctx);
}

/// Keeps a message in the room's archive; its number.
pub(super) fn keep(room: &Room, message: &Stanza, ctx: &mut Ctx<'_>) -> MessageId {
    let id = ctx.stored_message_id();
    let mut store = ctx.store();
    archive::keep_text(&mut store, id, message, None);
    let contact = archive::Contact::of(&message.from);
    let count = archive::file(&mut store, room.id, id, contact, None, message.content_len());
    if count.is_multiple_of(limits::ARCHIVE_TRIM_EVERY) {
        ctx.notice(crate::router::service::Notice::Archive { owner: room.id, is_gone: false });
    }
    id
}
