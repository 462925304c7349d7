//! Answers pings.
//!
//! Source: XEP-0199 v2.0.1. Invariant: a ping to somebody else's account is answered only to those who see that
//! account's presence, so that nobody finds accounts by pinging names (S12).

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

/// XEP-0199.
#[derive(Debug)]
pub struct Ping;

static CARD: Card = Card {
    name: "ping",
    source: "XEP-0199 v2.0.1",
    features: &[(Scope::Host, ns::PING), (Scope::Own, ns::PING), (Scope::Hosted, ns::PING)],
    stream_features: &[],
    iq: &[
        (Scope::Host, ns::PING, "ping"),
        (Scope::Own, ns::PING, "ping"),
        (Scope::Other, ns::PING, "ping"),
        (Scope::Hosted, ns::PING, "ping"),
    ],
    passes: &[],
};

impl Service for Ping {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        iq.only_get()?;
        if iq.scope == Scope::Other && !ctx.shows_presence(iq.owner()?, iq.from) {
            return Err(Condition::ServiceUnavailable.into());
        }
        Ok(Reply::Empty)
    }
}

#[cfg(test)]
mod tests {
    use crate::router::testing::{House, result_of};

    #[test]
    fn the_server_and_the_own_account_answer() {
        // XEP-0199 §4.2, examples 5 and 6, and the note below them.
        let mut house = House::new();
        let juliet = house.online("juliet@capulet.lit/balcony");
        for to in ["to='capulet.lit'", "to='juliet@capulet.lit'", ""] {
            let out = house.send(juliet, &format!("<iq {to} id='c2s1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>"));
            assert_eq!(result_of(&out), "", "{to}: {out:?}");
        }
    }

    #[test]
    fn s12_an_account_of_a_stranger_looks_like_one_that_does_not_exist() {
        let mut house = House::new();
        let juliet = house.online("juliet@capulet.lit/balcony");
        house.account("romeo@capulet.lit");
        let ping = |to| format!("<iq to='{to}@capulet.lit' id='p' type='get'><ping xmlns='urn:xmpp:ping'/></iq>");
        let stranger = house.send(juliet, &ping("romeo"));
        let nobody = house.send(juliet, &ping("nobody"));
        assert_eq!(stranger[0].1.replace("romeo", "nobody"), nobody[0].1);
        assert!(stranger[0].1.contains("service-unavailable"), "{stranger:?}");
        house.subscribe("romeo@capulet.lit", "juliet@capulet.lit");
        assert_eq!(result_of(&house.send(juliet, &ping("romeo"))), "");
    }
}
