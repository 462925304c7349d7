//! Which messages an archive keeps.
//!
//! Source: XEP-0313 §6.1.1, XEP-0334 §4. Everything that is part of a conversation is kept, with a body or without:
//! encrypted messages, receipts, markers, reactions, corrections, retractions, calls. Not kept is what only tells the
//! state of a conversation, and what another archive has or nobody reads twice.

use crate::{
    router::service::Leg,
    wire::{
        jid::Jid,
        stanza::{Stanza, Type},
    },
};

/// Whether a message is kept; if not, why, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    Keeping,
    Nothing(&'static str),
}

impl Worth {
    /// This, or the first reason against it.
    pub fn and(self, next: impl FnOnce() -> Worth) -> Worth {
        match self {
            Worth::Keeping => next(),
            nothing => nothing,
        }
    }
}

/// What the message itself says. `leg`: whose archive it is about, the sender's or the recipient's.
pub fn of(stanza: &Stanza, leg: Leg) -> Worth {
    match (stanza.ty, leg) {
        (Type::Groupchat, _) => return Worth::Nothing("the room's own archive has it"),
        (Type::Headline, _) => return Worth::Nothing("a headline"),
        (Type::Error, Leg::Outbound) => return Worth::Nothing("an error sent to somebody else"),
        // What became of a message is part of the conversation; without an id nobody can tell of which.
        (Type::Error, Leg::Inbound) if stanza.id_raw().is_none() => return Worth::Nothing("an error about nothing"),
        _ => {}
    }
    let traits = stanza.traits();
    if traits.no_store || traits.no_permanent_store {
        Worth::Nothing("hint against storing")
    } else if traits.carbon || traits.result {
        Worth::Nothing("a copy of another message")
    } else if traits.event {
        Worth::Nothing("an event of a pubsub node")
    } else if !traits.content && !traits.store {
        Worth::Nothing("only a chat state")
    } else {
        Worth::Keeping
    }
}

/// What clients send comes from their full addresses, and so do its errors go there: one to the account itself answers
/// something that a service sent in its name, such as an event (XEP-0163 §4.3.1), and is part of no conversation.
pub fn answers_a_client(stanza: &Stanza, to: &Jid) -> Worth {
    match stanza.ty == Type::Error && to.is_bare() {
        true => Worth::Nothing("an error about what the account's services sent"),
        false => Worth::Keeping,
    }
}
