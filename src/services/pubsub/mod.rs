//! Publish-subscribe: every account is such a service (PEP), and so is one host name beside each domain.
//!
//! Source: XEP-0060 v1.26.0, XEP-0163 v1.2.2, XEP-0222 v1.0.1, XEP-0223 v1.1.1, XEP-0248 not. One implementation serves
//! both; what differs is in [`Site`]: who owns it, its defaults, its limits. Nothing here knows what is published: OMEMO
//! keys, pictures, bookmarks and blogs are nodes like others.
//!
//! Invariants: a request changes or shows something only after [`access`] said so, in one place for each kind of right;
//! to somebody who does not see an account's presence, every refusal is the one of an account that does not exist (S12,
//! S32); an event's payload is written once, whoever gets it.
//!
//! Other services learn of changes by [`Notice::NodeChanged`], read nodes as facts ([`crate::domain::nodes`]), and change
//! them by [`Ctx::change_node`].

mod access;
mod disco;
mod forms;
mod items;
mod last;
mod lists;
mod notify;
mod owner;
mod publish;
mod requests;
mod subscribe;
#[cfg(test)]
mod tests;

use crate::{
    config::Config,
    domain::{
        accounts,
        ids::AccountId,
        nodes::{
            self, Settings,
            settings::{AccessModel, SendLast},
        },
    },
    limits,
    router::{
        answer::UNHANDLED,
        context::Ctx,
        service::{Card, Discloses, Flow, Iq, Leg, Notice, Phase, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        jid::Jid,
        ns,
        stanza::{Kind, Stanza, Type},
    },
};

/// XEP-0060 and XEP-0163.
#[derive(Debug)]
pub struct PubSub;

/// Name of this service's card, by which it knows its own host names.
const NAME: &str = "pubsub";

static CARD: Card = Card {
    name: NAME,
    source: "XEP-0060 v1.26.0, XEP-0163 v1.2.2, XEP-0222 v1.0.1, XEP-0223 v1.1.1",
    features: disco::FEATURES,
    stream_features: &[],
    iq: &[
        (Scope::Own, ns::PUBSUB, "pubsub"),
        (Scope::Own, ns::PUBSUB_OWNER, "pubsub"),
        (Scope::Other, ns::PUBSUB, "pubsub"),
        (Scope::Other, ns::PUBSUB_OWNER, "pubsub"),
        (Scope::Hosted, ns::PUBSUB, "pubsub"),
        (Scope::Hosted, ns::PUBSUB_OWNER, "pubsub"),
    ],
    passes: &[(Kind::Message, Leg::Outbound, Phase::Clean), (Kind::Message, Leg::Inbound, Phase::Clean)],
};

/// One publish-subscribe service: an account's, or a host's.
#[derive(Clone, Debug)]
struct Site {
    /// Whose rows hold its nodes.
    owner: AccountId,
    /// Its address: the account's bare one, or the host name.
    jid: Jid,
    /// Whether it is an account's.
    is_personal: bool,
}

/// Nodes of accounts that are for the account's own clients (XEP-0223) and hold many items: bookmarks (XEP-0402), and what
/// was read (XEP-0490).
const PRIVATE: &[&str] = &[ns::BOOKMARKS, ns::DISPLAYED];

/// Owner of the nodes of a host that never had one: no account has this number.
const NOBODY: AccountId = AccountId(0);

impl Site {
    /// The service that a request is for.
    fn of(iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Site, StanzaError> {
        match iq.scope {
            Scope::Own => Ok(Site { owner: iq.owner()?, jid: iq.from.bare(), is_personal: true }),
            Scope::Other => {
                let jid = iq.stanza.to.as_ref().map(Jid::bare).ok_or(UNHANDLED)?;
                Ok(Site { owner: iq.owner()?, jid, is_personal: true })
            }
            _ => {
                let to = iq.stanza.to.as_ref().ok_or(UNHANDLED)?;
                Site::hosted(to, ctx).filter(|_| to.is_bare()).ok_or(UNHANDLED)
            }
        }
    }

    /// The service of an account.
    fn personal(owner: AccountId, ctx: &mut Ctx<'_>) -> Option<Site> {
        Some(Site { owner, jid: accounts::address(&ctx.store(), owner)?, is_personal: true })
    }

    /// The service at one of our host names.
    fn hosted(jid: &Jid, ctx: &mut Ctx<'_>) -> Option<Site> {
        let is_ours = ctx.core.hosts.get(jid.domain()).is_some_and(|host| host.card.name == NAME);
        let jid = Jid::from_parts(None, jid.domain(), None).ok().filter(|_| is_ours && jid.local().is_none())?;
        let owner = nodes::host(&ctx.store(), jid.as_str()).unwrap_or(NOBODY);
        Some(Site { owner, jid, is_personal: false })
    }

    /// What a node of this name is unless somebody says otherwise.
    fn defaults(&self, name: &str) -> Settings {
        let personal = Settings::personal();
        match self.is_personal {
            // S32: a client that forgets to say so must not show them to everybody.
            true if name == ns::OLD_BOOKMARKS => Settings { access: AccessModel::Whitelist, ..personal },
            true if PRIVATE.contains(&name) => Settings {
                access: AccessModel::Whitelist,
                send_last: SendLast::Never,
                max_items: limits::NODE_ITEMS_MAX,
                ..personal
            },
            true => personal,
            false => Settings::shared(),
        }
    }

    fn nodes_max(&self) -> usize {
        if self.is_personal { limits::NODES_MAX } else { limits::HOST_NODES_MAX }
    }

    fn bytes_max(&self) -> u64 {
        if self.is_personal { limits::NODES_BYTES_MAX } else { limits::HOST_NODES_BYTES_MAX }
    }
}

impl Service for PubSub {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        let site = Site::of(iq, ctx)?;
        let answer = match iq.payload.ns == ns::PUBSUB_OWNER {
            true => owners(&site, iq, ctx),
            false => everybodys(&site, iq, ctx),
        };
        // S12: whoever does not see the account's presence cannot tell it from none by what is refused. DEVIATION: XEP-0060
        // has conditions of its own for that, which would.
        answer.map_err(|error| if access::is_stranger(&site, iq.from, ctx) { UNHANDLED } else { error })
    }

    /// An owner's answer to a subscription request, to the account whose node it is about.
    fn pass(&mut self, (leg, _): (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let Some(to) = stanza.to.as_ref().filter(|to| to.is_bare() && stanza.has("x", ns::DATA)).cloned() else {
            return Flow::Continue;
        };
        // One's own never leave one's own leg, where they would be copied and kept.
        if leg == Leg::Outbound && to.as_str() != stanza.from.bare_str() {
            return Flow::Continue;
        }
        let Some(owner) = ctx.account(&to).filter(|_| to.local().is_some()) else { return Flow::Continue };
        let site = Site { owner, jid: to, is_personal: true };
        match requests::answered(&site, stanza, ctx) {
            true => Flow::Taken("an owner's word on a subscription"),
            false => Flow::Continue,
        }
    }

    fn hosted(&mut self, stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let site = stanza.to.clone().and_then(|to| Site::hosted(&to, ctx));
        match (stanza.kind, site) {
            (Kind::Message, Some(site)) if requests::answered(&site, stanza, ctx) => Flow::Taken("an owner's word"),
            // Bounced notifications end here.
            (Kind::Message, _) if stanza.ty != Type::Error => Flow::Bounce(UNHANDLED),
            _ => Flow::Taken("of no use to this host"),
        }
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        match notice {
            Notice::ContactChanged { account, contact, shows } => {
                if let Some(site) = Site::personal(*account, ctx) {
                    requests::recheck(&site, contact, ctx);
                    if *shows {
                        last::to_contact(&site, contact, ctx);
                    }
                }
            }
            Notice::AccountRemoved(_, jid) => owner::forget(jid, ctx),
            Notice::Interested { session, nodes } => last::to_session(*session, nodes, ctx),
            Notice::InterestedAway { client, account, nodes } => last::to_client(client, *account, nodes, ctx),
            Notice::ChangeNode(account, node, change) => publish::by_service(*account, node, change, ctx),
            _ => {}
        }
    }

    fn disco(&self, scope: Scope, _: &str, _: &Config) -> Vec<Element> {
        disco::identities(scope)
    }

    fn discloses(&self) -> Option<Discloses> {
        Some(disco::discloses)
    }

    fn host(&self, domain: &str, config: &Config) -> Option<String> {
        config.hosts.pubsub.as_ref().map(|host| format!("{host}.{domain}"))
    }
}

/// Requests in the namespace for everybody.
fn everybodys(site: &Site, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let (asked, rest) = parts(iq.payload)?;
    tells(site, iq, asked, ctx)?;
    match (asked.name.as_ref(), iq.is_set()) {
        ("publish", true) => publish::publish(site, iq, asked, rest, ctx),
        ("retract", true) => publish::retract(site, iq, asked, ctx),
        ("items", false) => items::items(site, iq, asked, ctx),
        ("subscribe", true) => subscribe::subscribe(site, iq, asked, rest, ctx),
        ("unsubscribe", true) => subscribe::unsubscribe(site, iq, asked, ctx),
        ("options", _) => subscribe::options(site, iq, asked, ctx),
        ("default", false) => Ok(subscribe::default_options(asked)),
        ("subscriptions", false) => subscribe::subscriptions(site, iq, asked, ctx),
        ("affiliations", false) => subscribe::affiliations(site, iq, asked, ctx),
        ("create", true) => owner::create(site, iq, asked, rest, ctx),
        _ => Err(Condition::FeatureNotImplemented.into()),
    }
}

/// Requests in the namespace for owners.
fn owners(site: &Site, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let (asked, _) = parts(iq.payload)?;
    tells(site, iq, asked, ctx)?;
    match (asked.name.as_ref(), iq.is_set()) {
        ("default", false) => Ok(owner::defaults(site, iq, ctx)),
        ("configure", false) => owner::settings(site, iq, asked, ctx),
        ("configure", true) => owner::configure(site, iq, asked, ctx),
        ("delete", true) => owner::delete(site, iq, asked, ctx),
        ("subscriptions" | "affiliations", false) => lists::list(site, iq, asked, ctx),
        ("subscriptions", true) => lists::subscribe_others(site, iq, asked, ctx),
        ("affiliations", true) => lists::affiliate(site, iq, asked, ctx),
        ("purge", true) => owner::purge(site, iq, asked, ctx),
        _ => Err(Condition::FeatureNotImplemented.into()),
    }
}

/// Whether there is an answer for whoever asks: to a stranger, what is about no node that can be read says only that there
/// is such an account (S12).
fn tells(site: &Site, iq: &Iq<'_>, asked: &Element, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let node = asked.get("node").filter(|node| !node.is_empty());
    let is_of_service = matches!(&*asked.name, "default" | "subscriptions" | "affiliations") && !iq.is_set();
    if !is_of_service || !access::is_stranger(site, iq.from, ctx) {
        return Ok(());
    }
    let node = access::find(site, node.filter(|_| asked.name != "default").ok_or(UNHANDLED)?, ctx)?;
    access::may_read(site, &node, iq.from, ctx)
}

/// What is asked for, and what stands behind it: settings, options, or a page.
fn parts(payload: &Element) -> Result<(&Element, Option<&Element>), StanzaError> {
    let mut children = payload.children().filter(|child| child.ns == payload.ns);
    let asked = children.next().ok_or(Condition::BadRequest)?;
    Ok((asked, children.next()))
}

/// The name of the node that is asked for.
fn node_name(asked: &Element) -> Result<&str, StanzaError> {
    asked.get("node").filter(|node| !node.is_empty()).ok_or(bad_request("nodeid-required"))
}

/// `bad-request` with one of the conditions of XEP-0060 §17.
const fn bad_request(condition: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).app(condition, ns::PUBSUB_ERRORS)
}

/// `feature-not-implemented` with the feature's name, XEP-0060 §17.
const fn unsupported(feature: &'static str) -> StanzaError {
    StanzaError::new(Condition::FeatureNotImplemented).app("unsupported", ns::PUBSUB_ERRORS).feature(feature)
}

/// There is no room left.
const fn no_room(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait).text(text)
}
