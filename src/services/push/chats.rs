//! Whether somebody wants to be told of a conversation at all.
//!
//! Source: XEP-0492 v0.2.0: `<notify/>` among the `<extensions/>` of a bookmark (XEP-0402 v1.2.0). What is woken by push is
//! a telephone, so that the settings for clients of that type count, then those for clients, then the others (§3).

use super::wish::mentions;
use crate::{
    domain::{ids::AccountId, nodes},
    router::context::Ctx,
    wire::{element::Element, jid::Jid, ns},
};

/// Whether the account's owner wants to be told of what somebody says. Without a setting: yes; whether it is a public room
/// that is only worth it on mention (§3), its bookmark does not say.
pub fn wants(account: AccountId, own: &Jid, from: &Jid, groupchat: bool, body: &str, ctx: &mut Ctx<'_>) -> bool {
    let Some(conference) = bookmark(account, from, ctx) else { return true };
    let extensions = conference.find("extensions", ns::BOOKMARKS);
    let setting = extensions.and_then(|extensions| extensions.find("notify", ns::NOTIFY)).and_then(setting);
    match setting {
        Some("never") => false,
        // What is said to one person alone mentions that person.
        Some("on-mention") if groupchat => {
            let nick = conference.leaf_text("nick").or(own.local().map(str::to_owned)).unwrap_or_default();
            mentions(body, &nick)
        }
        _ => true,
    }
}

/// The bookmark of a room; its item's id is the room's address (XEP-0402 §3).
fn bookmark(account: AccountId, from: &Jid, ctx: &mut Ctx<'_>) -> Option<Element> {
    let store = ctx.store();
    let node = nodes::find(&store, account, ns::BOOKMARKS)?;
    let item = nodes::item(&store, account, node.id, from.bare_str())?;
    Element::parse(&item.payload, ns::CLIENT).ok().filter(|payload| payload.is("conference", ns::BOOKMARKS))
}

/// The setting that is most specific to a telephone.
fn setting(notify: &Element) -> Option<&str> {
    let specific = |child: &Element| match (child.get("identity-category"), child.get("identity-type")) {
        (Some("client"), Some("phone")) => Some(3),
        (Some("client"), None) => Some(2),
        (None, None) => Some(1),
        _ => None,
    };
    let settings = notify.children().filter(|child| child.ns == ns::NOTIFY);
    let best = settings.filter_map(|child| Some((specific(child)?, child))).max_by_key(|(specific, _)| *specific);
    best.map(|(_, child)| child.name.as_ref())
}
