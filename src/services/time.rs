//! Tells the time.
//!
//! Source: XEP-0202 v2.0. Invariant: always UTC; nobody learns where the server stands.

use crate::{
    router::{
        context::Ctx,
        service::{Card, Iq, Reply, Scope, Service},
    },
    wire::{element::Element, error::StanzaError, ns, time},
};

/// XEP-0202.
#[derive(Debug)]
pub struct EntityTime;

static CARD: Card = Card {
    name: "time",
    source: "XEP-0202 v2.0",
    features: &[(Scope::Host, ns::TIME)],
    stream_features: &[],
    iq: &[(Scope::Host, ns::TIME, "time"), (Scope::Own, ns::TIME, "time")],
    passes: &[],
};

impl Service for EntityTime {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        iq.only_get()?;
        let utc = time::stamp(ctx.wall_us / 1_000);
        Ok(Element::new("time", ns::TIME).leaf("tzo", "+00:00").leaf("utc", utc.as_str()).into())
    }
}

#[cfg(test)]
mod tests {
    use crate::router::testing::{House, result_of};

    #[test]
    fn the_time_is_told_in_utc() {
        let mut house = House::new();
        house.wall_us = 1_166_553_515_000_000;
        let romeo = house.online("romeo@capulet.lit/orchard");
        let out = house.send(romeo, "<iq type='get' to='capulet.lit' id='time_1'><time xmlns='urn:xmpp:time'/></iq>");
        let expected = "<time xmlns='urn:xmpp:time'><tzo>+00:00</tzo><utc>2006-12-19T18:38:35Z</utc></time>";
        assert_eq!(result_of(&out), expected);
    }
}
