//! How a refused IQ is told in the log at level `debug`: what was asked, by whom, of whom, and the error. It shows what
//! a client misses, without what people write to each other: of the payload it names the elements of the two upper
//! levels and the node, nothing else.

use std::fmt;

use crate::wire::{error::StanzaError, stanza::Stanza};

/// One refused request, written out only when somebody listens.
pub struct Refusal<'a>(pub &'a Stanza, pub &'a StanzaError);

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refusal(stanza, error) = self;
        write!(f, "refused: {:?}", stanza.ty)?;
        if let Some(payload) = stanza.child(0) {
            write!(f, " {} {}", payload.name, payload.ns)?;
            let inner = payload.children().next();
            if let Some(inner) = inner {
                write!(f, " {}", inner.name)?;
            }
            if let Some(node) = payload.get("node").or_else(|| inner?.get("node")) {
                write!(f, " {node}")?;
            }
        }
        write!(f, " from {}", stanza.from)?;
        if let Some(to) = &stanza.to {
            write!(f, " to {to}")?;
        }
        write!(f, ": {}", error.condition.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
    };

    #[test]
    fn it_names_what_was_asked_and_not_what_was_said() {
        let iq = "<iq type='set' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
                  <publish node='urn:x'><item><secret xmlns='x'>words</secret></item></publish></pubsub></iq>";
        let iq = Element::parse(iq.as_bytes(), ns::CLIENT).unwrap();
        let (from, to) = (Jid::parse("anna@house.test/phone").unwrap(), Jid::parse("house.test").unwrap());
        let stanza = Stanza::build(&iq, from, Some(to));
        assert_eq!(
            Refusal(&stanza, &StanzaError::new(Condition::ItemNotFound)).to_string(),
            "refused: Set pubsub http://jabber.org/protocol/pubsub publish urn:x from anna@house.test/phone to \
             house.test: item-not-found"
        );
    }
}
