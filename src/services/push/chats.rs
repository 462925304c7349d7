//! Whether somebody wants to be told of a conversation at all.
//!
//! Source: XEP-0492 v0.2.0, by the settings that an account keeps with its bookmarks ([`telling`]). What is woken by push is
//! a telephone, so that the settings for clients of that type count first.

use super::wish::mentions;
use crate::{
    domain::{
        ids::AccountId,
        telling::{self, TELEPHONE},
    },
    router::context::Ctx,
    wire::{element::Element, jid::Jid, ns},
};

/// Whether the account's owner wants to be told of a message from there.
pub fn wants(account: AccountId, own: &Jid, from: &Jid, message: &Element, ctx: &mut Ctx<'_>) -> bool {
    let chat = telling::chat(&ctx.store(), account, from, TELEPHONE);
    let is_mentioned = || {
        // What is said to one person alone mentions that person.
        if message.get("type") != Some("groupchat") {
            return true;
        }
        let nick = chat.nick.as_deref().or(own.local()).unwrap_or_default();
        is_named(message, own, from, nick) || mentions(&message.leaf_text("body").unwrap_or_default(), nick)
    };
    let is_public = chat.telling.is_none() && telling::is_public(&ctx.store(), from);
    chat.wants(is_public, is_mentioned)
}

/// XEP-0492 §3: a reply to what the owner said (XEP-0461), or a mention (XEP-0372), by their address or by that of the
/// occupant who has this nick.
fn is_named(message: &Element, own: &Jid, room: &Jid, nick: &str) -> bool {
    let is_own = |address: &str| {
        Jid::parse(address).is_ok_and(|jid| {
            jid.bare_str() == own.bare_str() || (jid.bare_str() == room.bare_str() && jid.resource() == Some(nick))
        })
    };
    message.children().any(|child| match (child.ns.as_ref(), child.name.as_ref()) {
        (ns::REPLY, "reply") => child.get("to").is_some_and(is_own),
        (ns::REFERENCE, "reference") if child.get("type") == Some("mention") => {
            let address = child.get("uri").and_then(|uri| uri.strip_prefix("xmpp:"));
            address.is_some_and(|address| is_own(address.split('?').next().unwrap_or_default()))
        }
        _ => false,
    })
}
