//! Whether a stanza is worth waking a telephone for.
//!
//! Source: XEP-0352 v1.0.0 §3.2 leaves it to the server. The rule, and why:
//!
//! - Requests and answers: somebody waits for them.
//! - What people read or hear: bodies, subjects, encrypted payloads, invitations, call signalling, errors, requests for a
//!   subscription, and whatever else of a message this house does not know.
//! - What was sent by another of one's own devices: the notification on the telephone is to go away.
//! - Not: who is there, chat states, receipts and markers of others (ticks in a conversation that nobody looks at), and
//!   news of nodes. They come before whatever comes next.
//!
//! Invariant: what the house does not know is important.

use crate::wire::{element::Element, ns, stanza::Chunk};

/// When a stanza goes to a client that nobody looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// At once, and everything that waits before it.
    Now,
    /// With whatever is sent next. Of several about the same thing the last one is enough.
    Later(Option<Box<str>>),
}

/// Nodes that hold one item at a time, whatever its id is: a new one takes the place of the old one.
const SINGLES: &[&str] = &[
    "eu.siacs.conversations.axolotl.devicelist",
    "http://jabber.org/protocol/activity",
    "http://jabber.org/protocol/geoloc",
    "http://jabber.org/protocol/mood",
    "http://jabber.org/protocol/nick",
    "http://jabber.org/protocol/tune",
    "urn:xmpp:avatar:metadata",
    "urn:xmpp:omemo:2:devices",
];

/// Judges a stanza as it is about to be sent.
pub fn urgency(chunk: &Chunk) -> Urgency {
    let mut bytes = Vec::with_capacity(chunk.len());
    chunk.write(&mut bytes);
    if bytes.starts_with(b"<iq") {
        return Urgency::Now;
    }
    Element::parse(&bytes, ns::CLIENT).map_or(Urgency::Now, |stanza| of_stanza(&stanza))
}

/// Judges a stanza.
pub fn of_stanza(stanza: &Element) -> Urgency {
    match stanza.name.as_ref() {
        "presence" => of_presence(stanza),
        "message" => of_message(stanza),
        _ => Urgency::Now,
    }
}

fn of_presence(presence: &Element) -> Urgency {
    match presence.get("type") {
        None | Some("unavailable") if !is_own_in_room(presence) => {
            Urgency::Later(presence.get("from").map(|from| ["presence ", from].concat().into()))
        }
        // Requests and answers about subscriptions are for a person; an error answers something.
        _ => Urgency::Now,
    }
}

/// The client's own presence in a room, XEP-0045 §7.2.2: it joined, or was put out.
///
/// That somebody is kicked or banned, or that the room ends, need not say whose presence it is (XEP-0045 §10.9 shows it
/// without status 110, and rooms elsewhere send it so): it is seldom, and may be about whoever gets it. Not so an occupant
/// whom the room lost (status 333), which happens all the time.
fn is_own_in_room(presence: &Element) -> bool {
    let Some(room) = presence.find("x", ns::MUC_USER) else { return false };
    let says = |code| room.children().any(|child| child.name == "status" && child.get("code") == Some(code));
    let is_gone = presence.get("type") == Some("unavailable");
    let is_put_out = ["301", "307", "321", "322", "332"].into_iter().any(says) && !says("333");
    says("110") || (is_gone && (is_put_out || room.find("destroy", ns::MUC_USER).is_some()))
}

fn of_message(message: &Element) -> Urgency {
    if message.get("type") == Some("error") {
        return Urgency::Now;
    }
    if let Some((carbon, inner)) = message.children().find_map(carried) {
        return match of_message(inner) {
            // From another of one's own devices, markers included: what they answer was read there.
            Urgency::Later(_) if carbon == "sent" && inner.children().any(|child| child.ns == ns::MARKERS) => {
                Urgency::Now
            }
            urgency => urgency,
        };
    }
    if message.children().all(is_quiet) { Urgency::Later(subject_of(message)) } else { Urgency::Now }
}

/// The message in a carbon copy, and which way it went (XEP-0280 §7 and §8).
fn carried(child: &Element) -> Option<(&str, &Element)> {
    if child.ns != ns::CARBONS || !matches!(child.name.as_ref(), "sent" | "received") {
        return None;
    }
    Some((&child.name, child.find("forwarded", ns::FORWARD)?.find("message", ns::CLIENT)?))
}

/// What nobody has to see at once.
fn is_quiet(child: &Element) -> bool {
    match (child.ns.as_ref(), child.name.as_ref()) {
        (ns::CLIENT, "thread") => true,
        // XEP-0224 and the like would stand in a namespace of their own.
        (ns::CHAT_STATES | ns::RECEIPTS | ns::MARKERS | ns::HINTS | ns::SID | ns::DELAY | ns::CAPS, _) => true,
        (ns::PUBSUB_EVENT, "event") | (ns::ADDRESS, "addresses") => true,
        // That a room's occupant did it, XEP-0421.
        (ns::OCCUPANT_ID, _) => true,
        // Who is what to a room now, of somebody who is not there (XEP-0045 §10.3 to §10.7): as presence. An invitation, a
        // refusal or another word of the room is for a person.
        (ns::MUC_USER, "x") => {
            let is_item = |inside: &Element| matches!(inside.name.as_ref(), "item" | "mav");
            child.children().next().is_some() && child.children().all(is_item)
        }
        _ => false,
    }
}

/// What a quiet message is about, if a later one about the same says everything that it says.
fn subject_of(message: &Element) -> Option<Box<str>> {
    let from = message.get("from").unwrap_or_default();
    if let Some(event) = message.find("event", ns::PUBSUB_EVENT) {
        let mut changes = event.children();
        let (items, None) = (changes.next()?, changes.next()) else { return None };
        let node = items.get("node")?;
        let mut contents = items.children();
        let (item, None) = (contents.next()?, contents.next()) else { return None };
        // XEP-0060 lets a publisher leave ids out; a node of one item is known by its name only.
        let id = if SINGLES.contains(&node) { "" } else { item.get("id").unwrap_or_default() };
        let replaces = items.name == "items" && item.name == "item";
        return replaces.then(|| ["item ", from, "\n", node, "\n", id].concat().into());
    }
    let only_a_state = message.children().all(|child| {
        matches!(child.ns.as_ref(), ns::CHAT_STATES | ns::HINTS) || (child.ns == ns::CLIENT && child.name == "thread")
    });
    only_a_state.then(|| ["state ", from, "\n", message.get("to").unwrap_or_default()].concat().into())
}

#[cfg(test)]
mod tests;
