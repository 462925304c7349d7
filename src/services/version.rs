//! Tells which software runs here.
//!
//! Source: XEP-0092 v1.1. Invariant: the operating system is not told (XEP-0092 §5).

use crate::{
    router::{
        context::Ctx,
        service::{Card, Iq, Reply, Scope, Service},
    },
    wire::{element::Element, error::StanzaError, ns},
};

/// XEP-0092.
#[derive(Debug)]
pub struct Version;

static CARD: Card = Card {
    name: "version",
    source: "XEP-0092 v1.1",
    features: &[(Scope::Host, ns::VERSION)],
    stream_features: &[],
    iq: &[(Scope::Host, ns::VERSION, "query"), (Scope::Own, ns::VERSION, "query")],
    passes: &[],
};

impl Service for Version {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, _: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        iq.only_get()?;
        let query = Element::new("query", ns::VERSION);
        Ok(query.leaf("name", "Lampone").leaf("version", env!("CARGO_PKG_VERSION")).into())
    }
}

#[cfg(test)]
mod tests {
    use crate::router::testing::{House, result_of};

    #[test]
    fn name_and_version_are_told_and_the_system_is_not() {
        let mut house = House::new();
        let romeo = house.online("romeo@capulet.lit/orchard");
        let ask = "<iq type='get' to='capulet.lit' id='version_1'><query xmlns='jabber:iq:version'/></iq>";
        let version = env!("CARGO_PKG_VERSION");
        let expected =
            format!("<query xmlns='jabber:iq:version'><name>Lampone</name><version>{version}</version></query>");
        assert_eq!(result_of(&house.send(romeo, ask)), expected);
    }
}
