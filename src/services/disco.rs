//! Tells what the server and its accounts can do.
//!
//! Source: XEP-0030 v2.5.0, XEP-0115 v1.6.0, XEP-0128 v1.0.1, XEP-0157 v1.1.1, XEP-0355 v0.5 §7. Invariant: an answer is made
//! from the services' cards and from what they disclose, or from what a component tells that answers in a service's place, so
//! nothing is advertised that nobody does; and what the server's capability hash stands for is exactly what it answers.

use crate::{
    config::Config,
    domain::delegations::Place,
    router::{
        context::Ctx,
        core::Core,
        service::{Card, Discloses, DiscoAsk, Iq, Reply, Scope, Service},
    },
    wire::{
        caps::{Hash, verification},
        element::Element,
        error::{Condition, StanzaError},
        form::{FieldType, Form, FormType},
        ns,
    },
};

/// XEP-0030 with XEP-0115 for the server.
#[derive(Debug)]
pub struct Disco;

/// What the capability hash is a hash of: this software, XEP-0115 §4.
const CAPS_NODE: &str = "urn:lampone";
/// FORM_TYPE of contact addresses, XEP-0157 §3.
const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";

static CARD: Card = Card {
    name: "disco",
    source: "XEP-0030 v2.5.0, XEP-0115 v1.6.0, XEP-0128 v1.0.1, XEP-0157 v1.1.1, XEP-0355 v0.5 §7",
    features: &[
        (Scope::Host, ns::DISCO_INFO),
        (Scope::Host, ns::DISCO_ITEMS),
        (Scope::Host, ns::CAPS),
        (Scope::Host, ns::DELEGATION),
        (Scope::Own, ns::DISCO_INFO),
        (Scope::Own, ns::DISCO_ITEMS),
        (Scope::Hosted, ns::DISCO_INFO),
        (Scope::Hosted, ns::DISCO_ITEMS),
    ],
    stream_features: &[],
    iq: &[
        (Scope::Host, ns::DISCO_INFO, "query"),
        (Scope::Host, ns::DISCO_ITEMS, "query"),
        (Scope::Own, ns::DISCO_INFO, "query"),
        (Scope::Own, ns::DISCO_ITEMS, "query"),
        (Scope::Other, ns::DISCO_INFO, "query"),
        (Scope::Other, ns::DISCO_ITEMS, "query"),
        (Scope::Hosted, ns::DISCO_INFO, "query"),
        (Scope::Hosted, ns::DISCO_ITEMS, "query"),
    ],
    passes: &[],
};

impl Service for Disco {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        iq.only_get()?;
        // XEP-0030 §9. DEVIATION: it wants an empty list of items where the account does not exist or its presence is
        // hidden from the asker; RFC 6121 §8.5.1 wants this error for the former, and both must look the same.
        let is_stranger = iq.scope == Scope::Other && !ctx.shows_presence(iq.owner()?, iq.from);
        let items = iq.payload.ns == ns::DISCO_ITEMS;
        let node = iq.payload.get("node").filter(|node| !node.is_empty());
        let children = match (node, items) {
            // XEP-0060 §5.4: what everybody may read, everybody may be told of.
            (Some(node), _) if is_stranger => {
                of_node(iq, node, items, ctx).map_err(|_| Condition::ServiceUnavailable)?
            }
            _ if is_stranger => return Err(Condition::ServiceUnavailable.into()),
            (None, false) => info(ctx.core, iq.scope, iq.domain),
            (None, true) => root_items(iq, ctx)?,
            (Some(node), _) => of_node(iq, node, items, ctx)?,
        };
        let query = Element::new("query", iq.payload.ns.clone()).attr_if("node", node);
        Ok(query.with(children).into())
    }

    /// XEP-0157: contact addresses of the server.
    fn disco(&self, scope: Scope, _: &str, config: &Config) -> Vec<Element> {
        if scope != Scope::Host || config.contact.is_empty() {
            return Vec::new();
        }
        let form = Form::typed(FormType::Result, SERVER_INFO);
        let form = config.contact.iter().fold(form, |form, (role, addresses)| {
            let field = crate::wire::form::Field::new(role.clone(), FieldType::ListMulti);
            form.field(field.values(addresses.iter().cloned()))
        });
        vec![form.element()]
    }

    /// XEP-0115 §6.3: so that a client need not ask each time.
    fn stream_feature(&self, core: &Core, domain: &str) -> Option<Element> {
        let ver = verification(&info(core, Scope::Host, domain), Hash::Sha1);
        Some(Element::new("c", ns::CAPS).attr("hash", "sha-1").attr("node", CAPS_NODE).attr("ver", ver))
    }
}

/// The children of an answer to disco#info: identities, features in order without doubles, forms.
fn info(core: &Core, scope: Scope, domain: &str) -> Vec<Element> {
    // What an account shows to those who see its presence is what it shows to its owner.
    let scope = if scope == Scope::Other { Scope::Own } else { scope };
    let identity = match scope {
        Scope::Host => Some(identity("server", "im").attr("name", "Lampone")),
        // What it is, the service that owns the host name tells.
        Scope::Hosted => None,
        _ => Some(identity("account", "registered")),
    };
    let delegated = delegated(core, scope, domain);
    let disclosed = |name: &'static str| {
        let here = core.disclosed.iter().filter(move |told| told.scope == scope && told.domain == domain);
        here.filter(move |told| told.element.name == name)
    };
    let own = |name: &'static str| {
        disclosed(name).filter(|told| !delegated.iter().any(|(ns, _)| answers(told.card, ns))).map(|told| &told.element)
    };
    let theirs =
        |name: &'static str| delegated.iter().flat_map(|(_, told)| *told).filter(move |element| element.name == name);
    let cards = core.cards.iter().flat_map(|card| card.features).filter(|(s, _)| *s == scope).map(|(_, var)| *var);
    let features = cards.chain(disclosed("feature").filter_map(|told| told.element.get("var")));
    let leans = |var: &str, ns: &str| core.leaning.contains(&(var, ns));
    let kept = features.filter(|var| !delegated.iter().any(|(ns, _)| is_of(var, ns) || leans(var, ns)));
    let mut vars: Vec<&str> = kept.chain(theirs("feature").filter_map(|feature| feature.get("var"))).collect();
    vars.sort_unstable();
    vars.dedup();
    let features = vars.into_iter().map(|var| Element::new("feature", ns::DISCO_INFO).attr("var", var));
    let mut identities: Vec<&Element> = own("identity").collect();
    for identity in theirs("identity") {
        // XEP-0115 §5.4: a doubled identity makes a hash that nobody believes.
        if !identities.contains(&identity) {
            identities.push(identity);
        }
    }
    let forms = own("x").chain(theirs("x")).cloned();
    identity.into_iter().chain(identities.into_iter().cloned()).chain(features).chain(forms).collect()
}

/// Namespaces that a component answers in place of ours, with what it tells of itself (XEP-0355 §7.2): nothing while it is away.
fn delegated<'c>(core: &'c Core, scope: Scope, domain: &str) -> Vec<(&'c str, &'c [Element])> {
    if !matches!(scope, Scope::Host | Scope::Own) {
        return Vec::new();
    }
    let all =
        core.config.components.iter().flat_map(|(name, settings)| settings.delegate.keys().map(move |ns| (name, ns)));
    let told = all.map(|(name, ns)| {
        let place = Place { domain: domain.into(), is_account: scope == Scope::Own, ns: ns.as_str().into() };
        (ns.as_str(), core.delegations.told(name, &place))
    });
    told.collect()
}

/// Whether a service answers requests of this namespace.
fn answers(card: &Card, ns: &str) -> bool {
    card.iq.iter().any(|(_, known, _)| *known == ns)
}

/// Whether a feature belongs to this namespace.
fn is_of(var: &str, ns: &str) -> bool {
    var.strip_prefix(ns).is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
}

/// Who answers disco requests for nodes there; whose requests a component answers has none.
fn who_disclose(scope: Scope, core: &Core) -> Vec<Discloses> {
    let here = core.discloses.iter().filter(|(card, _)| {
        let mut claims = card.iq.iter().filter(|(known, ..)| *known == scope);
        !claims.any(|(_, ns, _)| {
            scope != Scope::Hosted && core.config.delegate(ns).is_some_and(|(_, only)| only.is_empty())
        })
    });
    here.map(|(_, discloses)| *discloses).collect()
}

fn identity(category: &str, ty: &str) -> Element {
    Element::new("identity", ns::DISCO_INFO).attr("category", category).attr("type", ty)
}

/// disco#items without a node: what services disclose to everybody, and what they list for this asker.
fn root_items(iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Vec<Element>, StanzaError> {
    let scope = if iq.scope == Scope::Other { Scope::Own } else { iq.scope };
    let disclosed = ctx.core.disclosed.iter().filter(|told| told.scope == scope && told.domain == iq.domain);
    let mut items: Vec<Element> =
        disclosed.filter(|told| told.element.name == "item").map(|told| told.element.clone()).collect();
    if scope == Scope::Host {
        let hosts = ctx.core.hosts.iter().filter(|(_, host)| host.domain == iq.domain);
        items.extend(hosts.map(|(name, _)| Element::new("item", ns::DISCO_ITEMS).attr("jid", name.as_str())));
        let components = ctx.core.components.domains().filter(|name| ctx.config().is_beside(name, iq.domain));
        items.extend(components.map(|name| Element::new("item", ns::DISCO_ITEMS).attr("jid", name)));
    }
    let ask = DiscoAsk { iq, items: true, node: None };
    for discloses in who_disclose(iq.scope, ctx.core) {
        if let Some(more) = discloses(&ask, ctx) {
            items.extend(more?);
        }
    }
    Ok(items)
}

fn of_node(iq: &Iq<'_>, node: &str, items: bool, ctx: &mut Ctx<'_>) -> Result<Vec<Element>, StanzaError> {
    let ask = DiscoAsk { iq, items, node: Some(node) };
    for discloses in who_disclose(iq.scope, ctx.core) {
        if let Some(answer) = discloses(&ask, ctx) {
            return answer;
        }
    }
    // XEP-0115 §6.2: the node of our own hash stands for what it is a hash of.
    if iq.scope == Scope::Host && !items {
        let children = info(ctx.core, Scope::Host, iq.domain);
        if node.strip_prefix(CAPS_NODE).and_then(|rest| rest.strip_prefix('#'))
            == Some(&verification(&children, Hash::Sha1))
        {
            return Ok(children);
        }
    }
    Err(Condition::ItemNotFound.into())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::router::testing::{House, condition_of, result_of};

    fn parsed(xml: &str) -> Vec<Element> {
        Element::parse(xml.as_bytes(), ns::CLIENT).unwrap().children().cloned().collect()
    }

    fn ask(what: &str, to: &str, node: &str) -> String {
        let ns = format!("http://jabber.org/protocol/disco#{what}");
        format!("<iq type='get' to='{to}' id='info1'><query xmlns='{ns}'{node}/></iq>")
    }

    #[test]
    fn the_server_tells_identity_features_and_contacts() {
        // XEP-0030 §3.1 and XEP-0157 §3.
        let mut house = House::new();
        let mut config = (*house.core.config).clone();
        config.contact.insert("abuse-addresses".into(), vec!["mailto:abuse@capulet.lit".into()]);
        house.configure(Rc::new(config));
        let juliet = house.online("juliet@capulet.lit/chamber");
        let out = result_of(&house.send(juliet, &ask("info", "capulet.lit", "")));
        assert!(out.contains("<identity category='server' type='im' name='Lampone'/>"), "{out}");
        for var in [ns::DISCO_INFO, ns::DISCO_ITEMS, ns::CAPS, ns::PING, ns::BLOCKING, ns::VCARD, ns::REGISTER] {
            assert_eq!(out.matches(&format!("<feature var='{var}'/>")).count(), 1, "{var} in {out}");
        }
        assert!(out.contains("<value>http://jabber.org/network/serverinfo</value>"), "{out}");
        assert!(
            out.contains("<field var='abuse-addresses' type='list-multi'><value>mailto:abuse@capulet.lit<"),
            "{out}"
        );
    }

    #[test]
    fn the_stream_feature_is_the_hash_of_the_answer() {
        // XEP-0115 §6.2 and §6.3.
        let mut house = House::new();
        let juliet = house.online("juliet@capulet.lit/chamber");
        let feature = Disco.stream_feature(&house.core, "capulet.lit").unwrap();
        let ver = feature.get("ver").unwrap().to_owned();
        let node = format!("{}#{ver}", feature.get("node").unwrap());
        let plain = result_of(&house.send(juliet, &ask("info", "capulet.lit", "")));
        assert_eq!(verification(&parsed(&plain), Hash::Sha1), ver);
        let of_node = result_of(&house.send(juliet, &ask("info", "capulet.lit", &format!(" node='{node}'"))));
        assert_eq!(of_node.replace(&format!(" node='{node}'"), ""), plain);
    }

    #[test]
    fn an_unknown_node_is_not_found() {
        let mut house = House::new();
        let juliet = house.online("juliet@capulet.lit/chamber");
        for (what, to) in [("info", "capulet.lit"), ("items", "capulet.lit"), ("info", "juliet@capulet.lit")] {
            for node in [" node='x'", " node='urn:lampone#x'"] {
                assert_eq!(condition_of(&house.send(juliet, &ask(what, to, node))), "item-not-found");
            }
        }
    }

    #[test]
    fn an_account_tells_those_who_see_its_presence() {
        // XEP-0030 §9.
        let mut house = House::new();
        let juliet = house.online("juliet@capulet.lit/chamber");
        let romeo = house.online("romeo@capulet.lit/orchard");
        let own = result_of(&house.send(juliet, &ask("info", "juliet@capulet.lit", "")));
        assert!(own.contains("<identity category='account' type='registered'/>"), "{own}");
        assert!(own.contains("<feature var='urn:xmpp:sid:0'/>"), "{own}");
        for what in ["info", "items"] {
            for node in ["", " node='x'"] {
                let here = house.send(romeo, &ask(what, "juliet@capulet.lit", node));
                let nobody = house.send(romeo, &ask(what, "nobody@capulet.lit", node));
                assert_eq!(condition_of(&here), "service-unavailable");
                assert_eq!(here[0].1.replace("juliet", "nobody"), nobody[0].1);
            }
        }
        house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
        assert_eq!(result_of(&house.send(romeo, &ask("info", "juliet@capulet.lit", ""))), own);
        let items = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
        assert_eq!(result_of(&house.send(romeo, &ask("items", "juliet@capulet.lit", ""))), items);
    }
}
