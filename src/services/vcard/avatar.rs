//! One picture in two places: the vCard (XEP-0153) and PEP (XEP-0084), and its hash in presence.
//!
//! Source: XEP-0398 v1.0.1 §4, XEP-0153 v1.1.1 §3 and §4.1, XEP-0084 v1.1.4. The vCard is open to everybody, so only what is
//! open in PEP comes there (XEP-0398 §8). Invariant: the hash that is remembered is that of the picture in the vCard; a
//! change that a service made in PEP is not answered.

use super::{
    photo::{Photo, hex},
    read, write,
};
use crate::{
    domain::{
        accounts,
        ids::AccountId,
        keys,
        nodes::{self, settings::AccessModel},
        sessions::Lists,
    },
    router::{
        context::Ctx,
        service::{ChangeNode, Leg, NodeChange},
    },
    wire::{
        build,
        element::Element,
        ns,
        stanza::{Stanza, Type},
    },
};

/// XEP-0398 §8: what everybody may see in the vCard, everybody may see here.
const SETTINGS: &[(&str, &str)] = &[("persist_items", "1"), ("access_model", "open")];

/// The account wrote its vCard: PEP follows (XEP-0398 §4.2).
pub(super) fn written(owner: AccountId, vcard: Option<&Element>, ctx: &mut Ctx<'_>) {
    let photo = vcard.and_then(Photo::of);
    let hash = photo.as_ref().map(Photo::hash);
    if hash == Lists::photo_of(&ctx.store(), owner) {
        return;
    }
    remember(owner, hash, ctx);
    let metadata = match &photo {
        Some(photo) => {
            let item = hex(&photo.hash()).into();
            ctx.change_node(
                owner,
                ns::AVATAR_DATA,
                ChangeNode::Publish { item, payload: photo.data(), settings: SETTINGS },
            );
            photo.metadata()
        }
        None => Element::new("metadata", ns::AVATAR_METADATA),
    };
    let item = hash.map_or_else(|| "none".to_owned(), |hash| hex(&hash)).into();
    ctx.change_node(owner, ns::AVATAR_METADATA, ChangeNode::Publish { item, payload: metadata, settings: SETTINGS });
    show(owner, ctx);
}

/// Something happened to the account's metadata: the vCard follows (XEP-0398 §4.1).
pub(super) fn published(owner: AccountId, change: &NodeChange, ctx: &mut Ctx<'_>) {
    let photo = match change {
        NodeChange::Published(item) => chosen(owner, item, ctx),
        NodeChange::Retracted(_) | NodeChange::Purged | NodeChange::Deleted => None,
    };
    let hash = photo.as_ref().map(Photo::hash);
    if hash == Lists::photo_of(&ctx.store(), owner) {
        return;
    }
    let mut vcard = read(owner, ctx).unwrap_or_else(|| Element::new("vCard", ns::VCARD));
    vcard.nodes.retain(|node| !matches!(node, crate::wire::element::Node::Element(one) if one.is("PHOTO", ns::VCARD)));
    let vcard = vcard.with(photo.map(|photo| photo.in_vcard()));
    if let Err(error) = write(owner, &vcard, ctx) {
        return log::debug!("account {}: the avatar does not fit into the vCard: {error:?}", owner.0);
    }
    remember(owner, hash, ctx);
    show(owner, ctx);
}

/// The picture of an item of metadata, if everybody may see it and its hash is right.
fn chosen(owner: AccountId, item: &str, ctx: &mut Ctx<'_>) -> Option<Photo> {
    let store = ctx.store();
    let node = nodes::find(&store, owner, ns::AVATAR_METADATA)?;
    let metadata = Element::parse(&nodes::item(&store, owner, node.id, item)?.payload, ns::CLIENT).ok()?;
    let infos = metadata.children().filter(|child| child.is("info", ns::AVATAR_METADATA));
    // XEP-0398 §4.1: not one that is elsewhere.
    let info = infos.into_iter().find(|info| info.get("url").is_none())?;
    let data = nodes::find(&store, owner, ns::AVATAR_DATA).filter(|node| node.settings.access == AccessModel::Open)?;
    let payload = nodes::item(&store, owner, data.id, info.get("id")?)?.payload;
    let photo = Photo::of_data(&Element::parse(&payload, ns::CLIENT).ok()?, info.get("type").unwrap_or("image/png"))?;
    info.get("id").filter(|id| id.eq_ignore_ascii_case(&hex(&photo.hash()))).map(|_| photo)
}

/// The hash is found again by whoever shows presence.
fn remember(owner: AccountId, hash: Option<[u8; 20]>, ctx: &mut Ctx<'_>) {
    let key = keys::photo(owner);
    match hash {
        Some(hash) => ctx.store().put(&key, &hash),
        None => ctx.store().remove(&key),
    }
    let Some(jid) = accounts::address(&ctx.store(), owner) else { return };
    if let Some(online) = ctx.core.sessions.online_mut(jid.as_str()) {
        online.lists.photo = hash;
    }
}

/// Everybody who sees the account's sessions sees the new hash, XEP-0153 §4.1.
fn show(owner: AccountId, ctx: &mut Ctx<'_>) {
    let Some(jid) = accounts::address(&ctx.store(), owner) else { return };
    let sessions = ctx.sessions().of(jid.as_str());
    let shown: Vec<_> = sessions.filter_map(|(_, session)| Some(session.presence.as_ref()?.stanza.clone())).collect();
    for stanza in shown {
        // As its client sent it; the hash comes in on the way.
        if let Some(element) = stanza.element() {
            ctx.send(Leg::Outbound, Stanza::build(&element, stanza.from.clone(), None));
        }
    }
}

/// Puts the hash into a presence that a session sends, XEP-0398 §4.4.
pub(super) fn stamp(stanza: &mut Stanza, ctx: &Ctx<'_>) {
    if stanza.ty != Type::Available {
        return;
    }
    let hash = ctx.sessions().online(stanza.from.bare_str()).and_then(|online| online.lists.photo);
    let told = stanza.find("x", ns::VCARD_UPDATE).map(|x| x.leaf_text("photo"));
    let says = match (&told, hash) {
        // The client says that it shows none, or is in the room under another face.
        (Some(Some(photo)), _) if photo.is_empty() => return,
        (None, None) => return,
        (Some(Some(photo)), Some(hash)) if *photo == hex(&hash) => return,
        (_, hash) => hash,
    };
    if told.is_some() {
        stanza.cut(|name, namespace, _| name == "x" && namespace == ns::VCARD_UPDATE);
    }
    let mut out = Vec::with_capacity(112);
    out.extend_from_slice(b"<x");
    build::attr("xmlns", ns::VCARD_UPDATE, &mut out);
    match says {
        Some(hash) => {
            out.extend_from_slice(b"><photo>");
            out.extend_from_slice(hex(&hash).as_bytes());
            out.extend_from_slice(b"</photo></x>");
        }
        None => out.extend_from_slice(b"><photo/></x>"),
    }
    stanza.add(&out);
}
