//! What the host, its rooms and the people in them tell of themselves.
//!
//! Source: XEP-0045 §6. Invariant: a room that is not public is found only by those who know its address, and lists its
//! occupants only to them that are in it; who could not come in is told neither of them nor of the subject.

use super::{
    activity::Activity,
    avatar, form, hats,
    room::{Occupant, Room},
    tokens,
};
use crate::{
    domain::rooms::Affiliation,
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
    },
};

/// A client asks whether its nickname is kept for it, XEP-0045 §7.12.
const OWN_NICK: &str = "x-roomuser-item";
/// Messages come back with the id that they had, XEP-0045 §7.4.
const STABLE_ID: &str = "http://jabber.org/protocol/muc#stable_id";
/// A client asks which namespaces a room lets pass.
const TRAFFIC: &str = "http://jabber.org/protocol/muc#traffic";

/// disco#info of the host.
pub(super) fn host() -> Vec<Element> {
    let features =
        [ns::MUC, ns::DISCO_INFO, ns::DISCO_ITEMS, ns::OCCUPANT_ID, ns::VCARD, ns::RSM, ns::CHANNEL_SEARCH, STABLE_ID];
    let identity = Element::new("identity", ns::DISCO_INFO).attr("category", "conference").attr("type", "text");
    std::iter::once(identity.attr("name", "Rooms")).chain(features.into_iter().map(feature)).collect()
}

fn feature(var: &'static str) -> Element {
    Element::new("feature", ns::DISCO_INFO).attr("var", var)
}

/// A request to the room itself.
pub(super) fn of_room(
    room: &Room,
    activity: &mut Activity,
    iq: &Iq<'_>,
    ctx: &mut Ctx<'_>,
) -> Result<Reply, StanzaError> {
    iq.only_get()?;
    let node = iq.payload.get("node").filter(|node| !node.is_empty());
    let query = Element::new("query", iq.payload.ns.clone()).attr_if("node", node);
    if iq.payload.ns == ns::DISCO_ITEMS {
        if node == Some(ns::COMMANDS) {
            let item = |(node, name)| {
                let item = Element::new("item", ns::DISCO_ITEMS).attr("jid", room.jid.as_str());
                item.attr("node", node).attr("name", name)
            };
            return Ok(query.with(hats::offered(room, iq.from).map(item)).into());
        }
        let sees = room.place(iq.from).is_some() || (room.settings.is_public && could_enter(room, iq.from));
        let listed = room.occupants.iter().filter(|_| sees && node.is_none());
        let item = |one: &Occupant| Element::new("item", ns::DISCO_ITEMS).attr("jid", one.address.as_str());
        return Ok(query.with(listed.map(item)).into());
    }
    match node {
        Some(OWN_NICK) => {
            let nick = room.standings.get(iq.from.bare_str()).and_then(|standing| standing.nick.clone());
            Ok(query.with(nick.map(|nick| identity("text", nick))).into())
        }
        // XEP-0045 §18.1.1: no namespace is thrown away.
        Some(TRAFFIC) => Err(Condition::ServiceUnavailable.into()),
        Some(ns::COMMANDS) => Ok(query.child(automation("command-list", "Commands")).into()),
        // XEP-0050 §2.3.
        Some(node) => match hats::offered(room, iq.from).find(|(known, _)| *known == node) {
            Some((_, name)) => {
                let about = [automation("command-node", name), feature(ns::COMMANDS), feature(ns::DATA)];
                Ok(query.with(about).into())
            }
            None => Err(Condition::ItemNotFound.into()),
        },
        None => Ok(query
            .with(tokens::are_given(room, ctx).then(|| feature(ns::MUC_TOKEN)))
            .with(info(room, could_enter(room, iq.from), avatar::told(room.id, ctx), activity.per_hour(room, ctx)))
            .into()),
    }
}

fn automation(ty: &str, name: &str) -> Element {
    Element::new("identity", ns::DISCO_INFO).attr("category", "automation").attr("type", ty).attr("name", name)
}

fn identity(ty: &str, name: String) -> Element {
    Element::new("identity", ns::DISCO_INFO).attr("category", "conference").attr("type", ty).attr("name", name)
}

/// Whether somebody is in, or could come in as they are: others learn neither what is talked about nor with how many
/// (XEP-0045 §13.4).
fn could_enter(room: &Room, who: &Jid) -> bool {
    let is_open = !room.settings.is_members_only && room.settings.password.is_none();
    match room.affiliation(who) {
        Affiliation::Outcast => false,
        Affiliation::None => is_open || !room.of(who.bare_str()).is_empty(),
        _ => true,
    }
}

/// XEP-0045 §6.4; `opens`: to somebody who could come in.
fn info(room: &Room, opens: bool, pictures: Vec<String>, per_hour: Option<String>) -> Vec<Element> {
    let settings = &room.settings;
    let name = if settings.name.is_empty() { room.jid.local().unwrap_or_default() } else { &settings.name };
    let either = |is, yes, no| if is { yes } else { no };
    let mut features = vec![
        ns::MUC,
        ns::DISCO_INFO,
        ns::DISCO_ITEMS,
        ns::OCCUPANT_ID,
        ns::SID,
        ns::REGISTER,
        ns::VCARD,
        ns::COMMANDS,
        ns::HATS,
        ns::MAV,
        STABLE_ID,
        "http://jabber.org/protocol/muc#self-ping-optimization",
        "http://jabber.org/protocol/muc#request",
        either(settings.is_public, "muc_public", "muc_hidden"),
        either(settings.is_persistent, "muc_persistent", "muc_temporary"),
        either(settings.is_members_only, "muc_membersonly", "muc_open"),
        either(settings.is_moderated, "muc_moderated", "muc_unmoderated"),
        either(settings.shows_addresses, "muc_nonanonymous", "muc_semianonymous"),
        either(settings.password.is_some(), "muc_passwordprotected", "muc_unsecured"),
    ];
    if settings.keeps_archive {
        features.extend([ns::MAM, ns::MAM_EXTENDED, ns::MODERATE, ns::MODERATE_0]);
    }
    std::iter::once(identity("text", name.to_owned()))
        .chain(features.into_iter().map(feature))
        .chain([form::info(room, opens, pictures, per_hour).element()])
        .collect()
}
