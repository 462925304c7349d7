//! How an account wants to be told of what is said in its chats.
//!
//! Source: XEP-0492 v0.2.0: `<notify/>` among the `<extensions/>` of the bookmark (XEP-0402 v1.2.0) whose item is named
//! after the chat, be it a room or a person. Invariant: who said nothing is told, except of what strangers say in public.

use super::{ids::AccountId, nodes, rooms, store::Store};
pub use crate::wire::bookmarks::Telling;
use crate::wire::{bookmarks, jid::Jid, ns};

/// Category and type of a client, as in service discovery: the settings of a telephone are those for its clients, then
/// those for all clients, then those for everybody (§3).
pub const TELEPHONE: (&str, &str) = ("client", "phone");

/// What is settled for a chat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chat {
    /// The setting; `None`: there is none.
    pub telling: Option<Telling>,
    /// What the owner is called there, if the bookmark says so.
    pub nick: Option<String>,
}

impl Chat {
    /// Whether to tell. §3: without a setting always, but in public rooms only of what mentions the owner.
    pub fn wants(&self, is_public: bool, is_mentioned: impl FnOnce() -> bool) -> bool {
        match self.telling {
            Some(Telling::Never) => false,
            Some(Telling::OnMention) => is_mentioned(),
            Some(Telling::Always) => true,
            None => !is_public || is_mentioned(),
        }
    }
}

/// Whether a chat is with a room here that everybody finds and may enter, so that what is said there is only worth it on
/// mention (§3). Of rooms elsewhere nothing is known.
pub fn is_public(store: &Store<'_>, chat: &Jid) -> bool {
    let room = rooms::find(store, &chat.bare());
    room.is_some_and(|room| room.settings.is_public && !room.settings.is_members_only)
}

/// What an account has settled for a chat with `with`: a room or a person, whatever the resource.
pub fn chat(store: &Store<'_>, account: AccountId, with: &Jid, client: (&str, &str)) -> Chat {
    let node = nodes::find(store, account, ns::BOOKMARKS);
    let item = node.and_then(|node| nodes::item(store, account, node.id, with.bare_str()));
    let read = item.and_then(|item| bookmarks::telling(&item.payload, client));
    read.map(|(telling, nick)| Chat { telling, nick }).unwrap_or_default()
}
