//! Which sessions a message reaches.
//!
//! Source: RFC 6121 §8.5. A fact that several services rely on: who delivers, who copies, and who keeps what was
//! accepted and nothing else.

use super::context::Ctx;
use crate::{
    domain::ids::SessionId,
    wire::{
        jid::Jid,
        stanza::{Stanza, Type},
    },
};

/// What the rules say of a message for a local account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// These sessions get it.
    Sessions(Vec<SessionId>),
    /// It is for the account, of which no session takes messages now.
    Nobody,
    /// Its sender gets an error.
    Refused,
    /// It is dropped, for this reason.
    Dropped(&'static str),
}

/// RFC 6121 §8.5.2.1.1 and §8.5.3: the sessions that get a message.
pub fn reach(stanza: &Stanza, to: &Jid, ctx: &Ctx<'_>) -> Reach {
    if let Some(resource) = to.resource() {
        let exact = ctx.sessions().of(to.bare_str()).find(|(_, session)| session.jid.resource() == Some(resource));
        if let Some((id, _)) = exact {
            return Reach::Sessions(vec![id]);
        }
        match stanza.ty {
            Type::Chat => {}
            Type::Error => return Reach::Dropped("error to a session that is gone"),
            _ => return Reach::Refused,
        }
    }
    match stanza.ty {
        Type::Groupchat => return Reach::Refused,
        Type::Error => return Reach::Dropped("error to a bare address"),
        _ => {}
    }
    let able = || ctx.sessions().of(to.bare_str()).filter(|(_, session)| session.takes_messages());
    let highest = able().filter_map(|(_, session)| session.priority()).max();
    let all = stanza.ty == Type::Headline;
    let sessions: Vec<_> =
        able().filter(|(_, session)| all || session.priority() == highest).map(|(id, _)| id).collect();
    match (sessions.is_empty(), stanza.ty) {
        (false, _) => Reach::Sessions(sessions),
        (true, Type::Headline) => Reach::Dropped("headline, and nobody is there"),
        (true, _) => Reach::Nobody,
    }
}
