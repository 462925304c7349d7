//! Establishes a session, which RFC 6121 made a no-op; clients that still ask get the answer that they wait for.
//!
//! Source: RFC 3921 §3, RFC 6120 Appendix D; draft-cridland-xmpp-session-01 for `<optional/>`. Invariant: changes
//! nothing.

use crate::{
    router::{
        context::Ctx,
        service::{Card, Iq, Reply, Scope, Service},
    },
    wire::{
        error::{Condition, StanzaError},
        ns,
    },
};

/// The session of RFC 3921.
#[derive(Debug)]
pub struct LegacySession;

static CARD: Card = Card {
    name: "session",
    source: "RFC 3921 §3",
    features: &[],
    stream_features: &["<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>"],
    iq: &[(Scope::Host, ns::SESSION, "session"), (Scope::Own, ns::SESSION, "session")],
    passes: &[],
};

impl Service for LegacySession {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, _: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        if iq.is_set() { Ok(Reply::Empty) } else { Err(Condition::BadRequest.into()) }
    }
}

#[cfg(test)]
mod tests {
    use crate::router::testing::{House, result_of};

    #[test]
    fn old_clients_get_their_session() {
        let mut house = House::new();
        let juliet = house.online("juliet@capulet.lit/balcony");
        for to in ["to='capulet.lit'", ""] {
            let session = "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>";
            assert_eq!(result_of(&house.send(juliet, &format!("<iq {to} id='s' type='set'>{session}</iq>"))), "");
        }
    }
}
