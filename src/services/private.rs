//! Keeps XML for an account's own clients.
//!
//! Source: XEP-0049 v1.2. Invariant: nobody but the account reads or writes it, and what it takes is bounded.

use std::rc::Rc;

use crate::{
    domain::{ids::AccountId, private},
    limits,
    router::{
        context::Ctx,
        service::{Card, Iq, Notice, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        ns,
    },
};

/// XEP-0049.
#[derive(Debug)]
pub struct PrivateXml;

static CARD: Card = Card {
    name: "private",
    source: "XEP-0049 v1.2",
    features: &[(Scope::Host, ns::PRIVATE), (Scope::Own, ns::PRIVATE)],
    stream_features: &[],
    iq: &[(Scope::Own, ns::PRIVATE, "query"), (Scope::Other, ns::PRIVATE, "query")],
    passes: &[],
};

impl Service for PrivateXml {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        // XEP-0049 §2.3 allows `service-unavailable` beside `forbidden`; only the former does not tell whether the
        // account exists (S12).
        if iq.scope == Scope::Other {
            return Err(Condition::ServiceUnavailable.into());
        }
        let owner = iq.owner()?;
        let elements: Vec<&Element> = iq.payload.children().collect();
        // XEP-0049 §2.3: at least one child, in a namespace of its own.
        if elements.is_empty() || elements.iter().any(|element| element.ns == ns::PRIVATE || element.ns == ns::CLIENT) {
            return Err(Condition::NotAcceptable.into());
        }
        if iq.is_set() { put(owner, &elements, ctx) } else { read(owner, &elements, ctx) }
    }
}

fn key(owner: AccountId, element: &Element) -> Vec<u8> {
    private::key(owner, &element.ns, &element.name)
}

fn read(owner: AccountId, elements: &[&Element], ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    // XEP-0049 §2.3: one namespace in a request. One element as well, so that an answer is no larger than a row.
    let [asked] = elements else { return Err(Condition::BadRequest.into()) };
    let stored = ctx.store().read(&key(owner, asked)).and_then(|bytes| Element::parse(&bytes, "").ok());
    let found = stored.unwrap_or_else(|| Element::new(asked.name.clone(), asked.ns.clone()));
    Ok(Element::new("query", ns::PRIVATE).child(found).into())
}

fn put(owner: AccountId, elements: &[&Element], ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let mut rows = Vec::with_capacity(elements.len());
    for element in elements {
        let mut bytes = Vec::new();
        element.write("", &mut bytes);
        if bytes.len() > limits::PRIVATE_BYTES_MAX {
            return Err(StanzaError::new(Condition::NotAcceptable).text("The element is too large."));
        }
        rows.push((key(owner, element), bytes));
    }
    let weights: Vec<_> = rows.iter().map(|(key, bytes)| (key.as_slice(), bytes.len())).collect();
    if !private::has_room(&ctx.store(), owner, &weights) {
        return Err(StanzaError::new(Condition::ResourceConstraint).text("Too many private elements."));
    }
    for (element, (key, bytes)) in elements.iter().zip(rows) {
        let before = ctx.store().read(&key);
        // An element without content reads the same when it is not there.
        match element.attrs.is_empty() && element.nodes.is_empty() {
            true if before.is_some() => ctx.store().remove(&key),
            true => {}
            false => ctx.store().put(&key, &bytes),
        }
        let (ns, name) = (element.ns.as_ref().into(), element.name.as_ref().into());
        ctx.notice(Notice::PrivateChanged { account: owner, ns, name, before: before.map(Rc::from) });
    }
    Ok(Reply::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::{House, condition_of, result_of};

    const PREFS: &str = "<exodus xmlns='exodus:prefs'><defaultnick>Hamlet</defaultnick></exodus>";

    fn iq(ty: &str, content: &str) -> String {
        format!("<iq type='{ty}' id='1001'><query xmlns='jabber:iq:private'>{content}</query></iq>")
    }

    #[test]
    fn what_was_stored_is_retrieved() {
        // XEP-0049 §2.3, examples 1 and 2.
        let mut house = House::new();
        let hamlet = house.online("hamlet@capulet.lit/denmark");
        assert_eq!(result_of(&house.send(hamlet, &iq("set", PREFS))), "");
        let out = house.send(hamlet, &iq("get", "<exodus xmlns='exodus:prefs'/>"));
        assert_eq!(result_of(&out), format!("<query xmlns='jabber:iq:private'>{PREFS}</query>"));
    }

    #[test]
    fn foreign_attributes_survive_storing() {
        let mut house = House::new();
        let hamlet = house.online("hamlet@capulet.lit/denmark");
        let links = "<links xmlns='urn:play' xmlns:x='http://www.w3.org/1999/xlink'>\
                     <link x:href='http://elsinore.lit/' x:type='simple' xml:lang='da'>Kronborg</link></links>";
        assert_eq!(result_of(&house.send(hamlet, &iq("set", links))), "");
        let out = result_of(&house.send(hamlet, &iq("get", "<links xmlns='urn:play'/>")));
        let query = Element::parse(out.as_bytes(), ns::CLIENT).unwrap();
        assert_eq!(query.children().next(), Some(&Element::parse(links.as_bytes(), ns::CLIENT).unwrap()), "{out}");
    }

    #[test]
    fn what_was_never_stored_comes_back_without_content() {
        let mut house = House::new();
        let hamlet = house.online("hamlet@capulet.lit/denmark");
        let out = house.send(hamlet, &iq("get", "<storage xmlns='storage:bookmarks'/>"));
        let expected = "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>";
        assert_eq!(result_of(&out), expected);
    }

    #[test]
    fn others_are_refused() {
        // XEP-0049 §2.3, example 3.
        let mut house = House::new();
        let macbeth = house.online("macbeth@capulet.lit/x");
        house.account("hamlet@capulet.lit");
        for ty in ["get", "set"] {
            let iq = iq(ty, PREFS).replace("<iq ", "<iq to='hamlet@capulet.lit' ");
            assert_eq!(condition_of(&house.send(macbeth, &iq)), "service-unavailable");
        }
    }

    #[test]
    fn a_request_without_an_element_is_not_acceptable() {
        // XEP-0049 §2.3, example 4.
        let mut house = House::new();
        let hamlet = house.online("hamlet@capulet.lit/denmark");
        for (ty, content) in [("get", ""), ("set", ""), ("set", "<a/>")] {
            assert_eq!(condition_of(&house.send(hamlet, &iq(ty, content))), "not-acceptable");
        }
    }

    #[test]
    fn rows_and_bytes_are_bounded() {
        let mut house = House::new();
        let hamlet = house.online("hamlet@capulet.lit/denmark");
        let large = format!("<a xmlns='b'>{}</a>", "x".repeat(limits::PRIVATE_BYTES_MAX));
        assert_eq!(condition_of(&house.send(hamlet, &iq("set", &large))), "not-acceptable");
        let many = |from: usize, to: usize| (from..to).map(|n| format!("<a xmlns='n{n}'>x</a>")).collect::<String>();
        let full = house.send(hamlet, &iq("set", &many(0, limits::PRIVATE_ROWS_MAX)));
        assert_eq!(result_of(&full), "");
        assert_eq!(condition_of(&house.send(hamlet, &iq("set", &many(900, 901)))), "resource-constraint");
        assert_eq!(result_of(&house.send(hamlet, &iq("set", &many(0, 1)))), "");
    }

    #[test]
    fn all_elements_of_an_account_together_are_bounded() {
        let mut house = House::new();
        let hamlet = house.online("hamlet@capulet.lit/denmark");
        let large = |n: usize| format!("<a xmlns='n{n}'>{}</a>", "x".repeat(limits::PRIVATE_BYTES_MAX - 100));
        let fit = limits::PRIVATE_TOTAL_BYTES_MAX / limits::PRIVATE_BYTES_MAX;
        for n in 0..fit {
            assert_eq!(result_of(&house.send(hamlet, &iq("set", &large(n)))), "");
        }
        assert_eq!(condition_of(&house.send(hamlet, &iq("set", &large(fit)))), "resource-constraint");
        // What takes the place of another does not count twice, and what goes makes room.
        assert_eq!(result_of(&house.send(hamlet, &iq("set", &large(0)))), "");
        assert_eq!(result_of(&house.send(hamlet, &iq("set", "<a xmlns='n0'/>"))), "");
        assert_eq!(result_of(&house.send(hamlet, &iq("set", &large(fit)))), "");
    }
}
