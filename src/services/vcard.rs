//! Keeps an account's vCard and shows it to everybody who asks.
//!
//! Source: XEP-0054 v1.3.0. Invariant: only the account writes it; to others, no vCard and no account look the same.

use crate::{
    domain::{ids::AccountId, keys},
    limits,
    router::{
        context::Ctx,
        service::{Card, Iq, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        ns,
    },
};

/// XEP-0054.
#[derive(Debug)]
pub struct VCard;

static CARD: Card = Card {
    name: "vcard",
    source: "XEP-0054 v1.3.0",
    features: &[(Scope::Host, ns::VCARD), (Scope::Own, ns::VCARD)],
    stream_features: &[],
    iq: &[(Scope::Own, ns::VCARD, "vCard"), (Scope::Other, ns::VCARD, "vCard")],
    passes: &[],
};

impl Service for VCard {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        let owner = iq.owner()?;
        match (iq.scope, iq.is_set()) {
            (Scope::Own, true) => put(owner, iq.payload, ctx),
            // XEP-0054 §3.1: an empty one if there is none; clients want to edit it.
            (Scope::Own, false) => Ok(read(owner, ctx).unwrap_or_else(|| Element::new("vCard", ns::VCARD)).into()),
            // XEP-0054 §3.2 allows `forbidden`, which would tell that there is such an account (S12).
            (_, true) => Err(Condition::ServiceUnavailable.into()),
            // XEP-0054 §3.3: the same error as for an account that does not exist.
            (_, false) => read(owner, ctx).map(Reply::from).ok_or(Condition::ServiceUnavailable.into()),
        }
    }
}

fn read(owner: AccountId, ctx: &mut Ctx<'_>) -> Option<Element> {
    Element::parse(&ctx.store().read(&keys::owned(keys::VCARD, owner))?, "").ok()
}

fn put(owner: AccountId, vcard: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let key = keys::owned(keys::VCARD, owner);
    if vcard.nodes.is_empty() {
        if ctx.store().has(&key) {
            ctx.store().remove(&key);
        }
        return Ok(Reply::Empty);
    }
    let mut bytes = Vec::with_capacity(1024);
    vcard.write("", &mut bytes);
    if bytes.len() > limits::VCARD_BYTES_MAX {
        return Err(StanzaError::new(Condition::NotAcceptable).text("The vCard is too large."));
    }
    ctx.store().put(&key, &bytes);
    Ok(Reply::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::{House, condition_of, result_of};

    const VCARD: &str = "<vCard xmlns='vcard-temp'><FN>Peter Saint-Andre</FN><TEL><WORK/><NUMBER/></TEL></vCard>";

    #[test]
    fn a_vcard_is_published_and_seen_by_others() {
        // XEP-0054 §3, examples 1, 2, 5, 6, 8 and 9.
        let mut house = House::new();
        let peter = house.online("stpeter@capulet.lit/roundabout");
        let jer = house.online("jer@capulet.lit/x");
        let empty = "<vCard xmlns='vcard-temp'/>";
        assert_eq!(result_of(&house.send(peter, &format!("<iq id='v1' type='get'>{empty}</iq>"))), empty);
        assert_eq!(result_of(&house.send(peter, &format!("<iq id='v2' type='set'>{VCARD}</iq>"))), "");
        let ask = format!("<iq id='v3' to='stpeter@capulet.lit' type='get'>{empty}</iq>");
        for asker in [peter, jer] {
            assert_eq!(result_of(&house.send(asker, &ask)), VCARD);
        }
        assert_eq!(result_of(&house.send(peter, &format!("<iq id='v4' type='set'>{empty}</iq>"))), "");
        assert_eq!(condition_of(&house.send(jer, &ask)), "service-unavailable");
    }

    #[test]
    fn extensions_of_a_vcard_survive_storing() {
        let mut house = House::new();
        let peter = house.online("stpeter@capulet.lit/roundabout");
        let vcard = "<vCard xmlns='vcard-temp' xmlns:e='urn:e'><FN e:sort='Andre' xml:lang='en'>Peter</FN><e:X e:y='1'/></vCard>";
        house.send(peter, &format!("<iq id='v1' type='set'>{vcard}</iq>"));
        let out = result_of(&house.send(peter, "<iq id='v2' type='get'><vCard xmlns='vcard-temp'/></iq>"));
        let parsed = |xml: &str| Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
        assert_eq!(parsed(&out), parsed(vcard), "{out}");
    }

    #[test]
    fn s12_no_vcard_and_no_account_look_the_same() {
        // XEP-0054 §3.3, example 10.
        let mut house = House::new();
        let peter = house.online("stpeter@capulet.lit/roundabout");
        house.account("jer@capulet.lit");
        for ty in ["get", "set"] {
            let ask = |to| format!("<iq id='v3' to='{to}@capulet.lit' type='{ty}'>{VCARD}</iq>");
            let (here, nowhere) = (house.send(peter, &ask("jer")), house.send(peter, &ask("nobody")));
            assert_eq!(here[0].1.replace("jer", "nobody"), nowhere[0].1);
        }
    }

    #[test]
    fn a_vcard_is_bounded() {
        let mut house = House::new();
        let peter = house.online("stpeter@capulet.lit/roundabout");
        let photo = "A".repeat(limits::VCARD_BYTES_MAX);
        let set = format!("<iq id='v' type='set'><vCard xmlns='vcard-temp'><PHOTO>{photo}</PHOTO></vCard></iq>");
        assert_eq!(condition_of(&house.send(peter, &set)), "not-acceptable");
    }
}
