//! Stanzas for addresses elsewhere: they are written down if they must not be lost, and wait for their link.
//!
//! Source: RFC 6120 §10.4. Invariants: nothing leaves in the name of a domain that is not ours, so that nobody relays
//! through us; and whoever is not allowed to be talked to is not dialed.

use super::{components, context::Ctx, core::Core, service::Leg};
use crate::{
    domain::peers::{self, Pair, Parcel},
    wire::{
        error::{Condition, ErrorKind, StanzaError},
        jid::Jid,
        stanza::{Kind, Stanza, Type},
    },
};

/// Too much waits for that server.
const FULL: StanzaError = StanzaError::new(Condition::ResourceConstraint)
    .kind(ErrorKind::Wait)
    .text("Too much waits for that server already.");
/// The admin does not want it.
const NOT_ALLOWED: StanzaError =
    StanzaError::new(Condition::NotAllowed).text("This server does not talk to that domain.");
/// There is no federation here.
const ALONE: StanzaError = StanzaError::new(Condition::RemoteServerNotFound);

/// Whether a stanza must reach the other server though the power fails: what its sender may count as handled, and would
/// miss. Chat states, presence and requests are worth nothing later, and a hint forbids to store.
pub fn is_lasting(stanza: &Stanza) -> bool {
    match (stanza.kind, stanza.ty) {
        (Kind::Message, Type::Chat | Type::Normal | Type::Groupchat) => {
            let traits = stanza.traits();
            (traits.content || traits.store) && !traits.no_store
        }
        (Kind::Presence, ty) => {
            matches!(ty, Type::Subscribe | Type::Subscribed | Type::Unsubscribe | Type::Unsubscribed)
        }
        _ => false,
    }
}

/// Sends a stanza to the server of its `to`, or to the component that speaks for it.
pub fn send(stanza: Stanza, ctx: &mut Ctx<'_>) {
    let Some(to) = stanza.to.clone() else { return };
    if ctx.core.is_component(&to) {
        return components::send(&stanza, ctx);
    }
    if !ctx.core.is_ours(stanza.from.domain()) {
        return log::debug!("from {} to {to}: neither is here", stanza.from.domain());
    }
    let federation = &ctx.core.config.federation;
    if !federation.enabled {
        return ctx.core.bounce(&stanza, &ALONE);
    }
    if let Err(why) = federation.admits(to.domain()) {
        log::debug!("nothing is sent to {}: {why}", to.domain());
        return ctx.core.bounce(&stanza, &NOT_ALLOWED);
    }
    let row = is_lasting(&stanza).then(|| {
        let id = ctx.stored_message_id();
        peers::keep(&mut ctx.store(), id, &stanza.to_vec());
        id
    });
    let pair = Pair::new(stanza.from.domain(), to.domain());
    if let Err(parcel) = ctx.core.peers.send(&pair, Parcel { stanza, row, since: ctx.now }) {
        give_back(&parcel, &FULL, ctx);
    }
}

/// A stanza does not reach its server: its sender learns of it, and it is forgotten.
pub fn give_back(parcel: &Parcel, error: &StanzaError, ctx: &mut Ctx<'_>) {
    if let Some(row) = parcel.row {
        peers::forget(&mut ctx.store(), row);
    }
    let stanza = &parcel.stanza;
    if ctx.core.hosts.contains_key(stanza.from.domain()) && !matches!(stanza.ty, Type::Error | Type::Result) {
        // A service that speaks to somebody who cannot be reached hears of it, as of any error (XEP-0045 §18.1).
        return ctx.send(Leg::Inbound, stanza.returned(error));
    }
    // RFC 6121 §4.3.1: nobody waits for an answer to presence; an error about a subscription tells who asked.
    if stanza.kind != Kind::Presence || is_lasting(stanza) {
        ctx.core.bounce(stanza, error);
    }
}

impl Core {
    /// Whether this domain is served here, is the host name of a service, or a component speaks for it.
    pub fn is_ours(&self, domain: &str) -> bool {
        self.config.serves(domain) || self.hosts.contains_key(domain) || self.config.components.contains_key(domain)
    }

    /// Whether this server does not know who is behind the address: somebody of another server, or of a component.
    pub fn is_elsewhere(&self, jid: &Jid) -> bool {
        !self.config.serves(jid.domain()) && !self.hosts.contains_key(jid.domain())
    }

    /// Whether a component speaks for this address, connected or not.
    pub fn is_component(&self, jid: &Jid) -> bool {
        self.config.components.contains_key(jid.domain())
    }
}
