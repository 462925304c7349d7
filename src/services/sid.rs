//! Takes out stanza-ids that only we may give.
//!
//! Source: XEP-0359 v0.7.0 §4. Invariant: a stanza-id in the name of this server or of one of its accounts was set
//! here, so clients may rely on it (S27). The ids themselves are added where messages are kept.

use std::cell::Cell;

use crate::{
    router::{
        context::Ctx,
        service::{Card, Flow, Leg, Phase, Scope, Service},
    },
    wire::{
        jid::Jid,
        ns,
        stanza::{Kind, Stanza},
    },
};

/// XEP-0359.
#[derive(Debug)]
pub struct StanzaIds;

static CARD: Card = Card {
    name: "sid",
    source: "XEP-0359 v0.7.0",
    features: &[(Scope::Own, ns::SID)],
    stream_features: &[],
    iq: &[],
    passes: &[(Kind::Message, Leg::Outbound, Phase::Clean), (Kind::Message, Leg::Inbound, Phase::Clean)],
};

impl Service for StanzaIds {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn pass(&mut self, _: (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        if stanza.has("stanza-id", ns::SID) {
            clean(stanza, ctx);
        }
        Flow::Continue
    }
}

fn clean(stanza: &mut Stanza, ctx: &Ctx<'_>) {
    // A tree of the whole, because the prefix of a child may be bound on the stanza's own tag.
    let Some(tree) = stanza.element() else { return };
    let is_forged = |by: &str| match Jid::parse(by) {
        Ok(by) => {
            let is_party = |party: &Jid| party.bare_str() == by.bare_str();
            ctx.is_local(&by)
                && (by.local().is_none() || is_party(&stanza.from) || stanza.to.as_ref().is_some_and(is_party))
        }
        Err(_) => false,
    };
    let forged: Vec<bool> =
        tree.children().map(|child| child.is("stanza-id", ns::SID) && child.get("by").is_some_and(is_forged)).collect();
    // The closure is asked once for each child, in document order.
    let at = Cell::new(0);
    stanza.cut(|_, _, _| forged.get(at.replace(at.get() + 1)).copied().unwrap_or(false));
}

#[cfg(test)]
mod tests {
    use crate::router::testing::House;

    #[test]
    fn s27_all_forged_ids_are_cut_and_those_of_others_stay() {
        let mut house = House::new();
        let romeo = house.online("romeo@capulet.lit/orchard");
        house.available("juliet@capulet.lit/balcony");
        let forged = ["juliet@capulet.lit", "JULIET@capulet.lit/x", "romeo@capulet.lit", "capulet.lit"]
            .map(|by| format!("<stanza-id xmlns='urn:xmpp:sid:0' id='forged' by='{by}'/>"))
            .concat();
        let out = house.send(
            romeo,
            &format!(
                "<message type='chat' to='juliet@capulet.lit' id='m'>{forged}<body>hi</body>{forged}\
                 <stanza-id xmlns='urn:xmpp:sid:0' id='kept' by='room@muc.montague.lit'/>\
                 <origin-id xmlns='urn:xmpp:sid:0' id='kept too'/></message>"
            ),
        );
        let message = &out.iter().find(|(_, xml)| xml.starts_with("<message")).unwrap().1;
        assert!(!message.contains("forged"), "{message}");
        assert!(message.contains("<body>hi</body>"), "{message}");
        assert!(message.contains("id='kept' by='room@muc.montague.lit'") && message.contains("kept too"), "{message}");
    }
}
