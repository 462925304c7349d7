//! Who may do what with a node. Every right is decided here.
//!
//! Source: XEP-0060 §4.1 and §4.5, XEP-0163 §4 and §5. Invariant: decisions are made from the whole bare address (S17b) and
//! from facts as they are now, so who loses access by a change of the roster has lost it at once (XEP-0163 §7.1).

use super::Site;
use crate::{
    domain::{
        accounts,
        nodes::{
            self, Node, Settings,
            members::{self, Affiliation, Member},
            settings::{AccessModel, PublishModel},
        },
        roster,
    },
    router::context::Ctx,
    wire::{
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
    },
};

/// The node of this name.
pub(super) fn find(site: &Site, name: &str, ctx: &mut Ctx<'_>) -> Result<Node, StanzaError> {
    // COMPAT: Profanity (0.13 to 0.15) publishes its first list of OMEMO devices only if this code tells it that there is none.
    let missing = || StanzaError::new(Condition::ItemNotFound).code("404");
    nodes::find(&ctx.store(), site.owner, name).ok_or_else(missing)
}

/// The node of this name, for one of its owners.
pub(super) fn owned(site: &Site, name: &str, jid: &Jid, ctx: &mut Ctx<'_>) -> Result<Node, StanzaError> {
    let node = find(site, name, ctx)?;
    match standing(site, &node, jid, ctx).affiliation {
        Affiliation::Owner => Ok(node),
        _ => Err(Condition::Forbidden.into()),
    }
}

/// How somebody stands to a node: an account owns its nodes whatever their rows say.
pub(super) fn standing(site: &Site, node: &Node, jid: &Jid, ctx: &mut Ctx<'_>) -> Member {
    let mut member = members::member(&ctx.store(), site.owner, node.id, jid.bare_str());
    if is_host_of(site, jid) {
        member.affiliation = Affiliation::Owner;
    }
    member
}

/// What is written of somebody: that an account owns its nodes is not.
pub(super) fn kept(site: &Site, jid: &Jid, mut member: Member) -> Member {
    if is_host_of(site, jid) {
        member.affiliation = Affiliation::None;
    }
    member
}

/// The bare addresses of a node's owners.
pub(super) fn owners(site: &Site, node: &Node, ctx: &mut Ctx<'_>) -> Vec<Jid> {
    let mut owners: Vec<Jid> = if site.is_personal { vec![site.jid.clone()] } else { Vec::new() };
    let members = members::members(&ctx.store(), site.owner, node.id).into_iter();
    let more = members.filter(|(_, member)| member.affiliation == Affiliation::Owner);
    owners.extend(more.filter_map(|(bare, _)| Jid::parse(&bare).ok()));
    owners
}

/// Whether the whole service is this one's own.
pub(super) fn is_host_of(site: &Site, jid: &Jid) -> bool {
    site.is_personal && jid.bare_str() == site.jid.as_str()
}

/// Whether somebody asks an account that does not show them its presence.
pub(super) fn is_stranger(site: &Site, jid: &Jid, ctx: &mut Ctx<'_>) -> bool {
    site.is_personal && !is_host_of(site, jid) && !ctx.shows_presence(site.owner, jid)
}

/// Whether somebody may make nodes: on their own account, or, if they have an account here, on a host.
pub(super) fn may_create(site: &Site, jid: &Jid, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let may = match site.is_personal {
        true => is_host_of(site, jid),
        false => ctx.is_local(jid) && accounts::exists(&ctx.store(), jid),
    };
    if may { Ok(()) } else { Err(Condition::Forbidden.into()) }
}

/// Whether somebody may read, and be told of, what a node holds.
pub(super) fn may_read(site: &Site, node: &Node, jid: &Jid, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let member = standing(site, node, jid, ctx);
    match member.affiliation {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::Member => Ok(()),
        Affiliation::Outcast | Affiliation::PublishOnly => Err(Condition::Forbidden.into()),
        Affiliation::None => match node.settings.access {
            AccessModel::Authorize if member.is_subscribed() => Ok(()),
            // XEP-0060 §6.5.9.3.
            AccessModel::Authorize => Err(refused(Condition::NotAuthorized, "not-subscribed")),
            _ => lets_in(site, &node.settings, jid, ctx),
        },
    }
}

/// Whether somebody who has no affiliation may subscribe; those of an authorize model wait for an owner.
pub(super) fn lets_in(site: &Site, settings: &Settings, jid: &Jid, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    match settings.access {
        AccessModel::Open | AccessModel::Authorize => Ok(()),
        AccessModel::Presence if ctx.shows_presence(site.owner, jid) => Ok(()),
        AccessModel::Presence => Err(refused(Condition::NotAuthorized, "presence-subscription-required")),
        AccessModel::Roster if in_groups(site, settings, jid, ctx) => Ok(()),
        AccessModel::Roster => Err(refused(Condition::NotAuthorized, "not-in-roster-group")),
        AccessModel::Whitelist => Err(refused(Condition::NotAllowed, "closed-node")),
    }
}

/// XEP-0060 §4.5: who sees the owner's presence and is in one of the groups.
fn in_groups(site: &Site, settings: &Settings, jid: &Jid, ctx: &mut Ctx<'_>) -> bool {
    let item = roster::item(&ctx.store(), site.owner, jid.bare_str());
    item.is_some_and(|item| item.state.from && item.groups.iter().any(|group| settings.roster_groups.contains(group)))
}

/// Whether somebody may publish.
pub(super) fn may_publish(site: &Site, node: &Node, jid: &Jid, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let member = standing(site, node, jid, ctx);
    let may = match member.affiliation {
        Affiliation::Owner | Affiliation::Publisher | Affiliation::PublishOnly => true,
        Affiliation::Outcast => false,
        Affiliation::Member | Affiliation::None => match node.settings.publish {
            PublishModel::Publishers => false,
            PublishModel::Subscribers => member.is_subscribed() && may_read(site, node, jid, ctx).is_ok(),
            PublishModel::Open => may_read(site, node, jid, ctx).is_ok(),
        },
    };
    if may { Ok(()) } else { Err(Condition::Forbidden.into()) }
}

/// Whether somebody may remove, or publish anew, what this publisher published. DEVIATION: XEP-0060 §7.1.3 lets everybody
/// who may publish overwrite any item; where everybody may publish, that would let strangers replace each other's words.
pub(super) fn may_replace(
    site: &Site,
    node: &Node,
    jid: &Jid,
    publisher: &str,
    ctx: &mut Ctx<'_>,
) -> Result<(), StanzaError> {
    let is_own = publisher.split('/').next() == Some(jid.bare_str());
    let affiliation = standing(site, node, jid, ctx).affiliation;
    match affiliation {
        Affiliation::Owner | Affiliation::Publisher => Ok(()),
        Affiliation::Outcast => Err(Condition::Forbidden.into()),
        _ if is_own => Ok(()),
        _ => Err(Condition::Forbidden.into()),
    }
}

const fn refused(condition: Condition, reason: &'static str) -> StanzaError {
    StanzaError::new(condition).app(reason, ns::PUBSUB_ERRORS)
}
