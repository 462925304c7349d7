//! The avatar that an account publishes becomes the picture of its vCard, and the other way round.
//!
//! Source: XEP-0398 v1.0.0 §3 and §8, XEP-0084 v1.1.4 §3. Invariants: only what the account itself published counts,
//! whoever else may publish there; a vCard is readable by everybody, so an avatar stands in it only while everybody may
//! read its node; nothing that a service changed is answered by a change, so that no loop can arise.

use super::{
    picture::{self, Picture},
    presence,
};
use crate::{
    domain::{
        accounts,
        ids::AccountId,
        nodes::{
            self, Item, Node,
            settings::{AccessModel, WhenFull},
        },
        photo::{self, Photo},
    },
    limits,
    router::{
        context::Ctx,
        service::{ChangeNode, NodeChange},
    },
    wire::{element::Element, ns},
};

/// A vCard may be read by everybody; so may nodes that are made for what stands in it.
const OPEN: &[(&str, &str)] = &[("access_model", "open")];

/// What the nodes say.
enum Avatar {
    /// This picture, for everybody.
    Open(Picture),
    /// The account shows none, XEP-0084 §3.5.
    Withdrawn,
    /// None that could stand in the vCard. Why not.
    None(&'static str),
    /// Somebody else had the last word.
    Foreign,
}

/// Something changed in a node of avatars.
pub fn node_changed(account: AccountId, node: &str, change: &NodeChange, ctx: &mut Ctx<'_>) {
    let is_metadata = node == ns::AVATAR_METADATA;
    if let (false, NodeChange::Published(id)) = (is_metadata, change)
        && announced(account, ctx).is_none_or(|info| info.id != **id)
    {
        // Data come before the metadata that point to them.
        return;
    }
    let before = photo::photo(&ctx.store(), account);
    let is_withdrawal = is_metadata && matches!(change, NodeChange::Published(_));
    let picture = match published(account, ctx) {
        Avatar::Open(picture) if before == (Photo::Is { hash: picture.hash, is_avatar: true }) => return,
        Avatar::Open(picture) => Some(picture),
        Avatar::Withdrawn if before.hash().is_some() && is_withdrawal => None,
        Avatar::None(why) if matches!(before, Photo::Is { is_avatar: true, .. }) => {
            log::debug!("the picture of a vCard goes: {why}");
            None
        }
        Avatar::None(why) => return log::debug!("an avatar does not come into the vCard: {why}"),
        Avatar::Withdrawn | Avatar::Foreign => return,
    };
    let fits = set_photo(account, picture.as_ref(), ctx);
    if !fits {
        log::debug!("an avatar does not come into the vCard: it would be too large");
        if matches!(before, Photo::Is { is_avatar: true, .. }) {
            // The one before is not the avatar any more.
            set_photo(account, None, ctx);
        }
    }
}

/// Changes the vCard's picture and nothing else. `false`: it would be too large.
fn set_photo(account: AccountId, picture: Option<&Picture>, ctx: &mut Ctx<'_>) -> bool {
    let mut vcard = super::read(account, ctx).unwrap_or_else(|| Element::new("vCard", ns::VCARD));
    picture::replace(&mut vcard, picture);
    if !super::write(account, &vcard, ctx) {
        return false;
    }
    let photo = picture.map_or(Photo::Gone, |picture| Photo::Is { hash: picture.hash, is_avatar: true });
    presence::tell(account, photo, ctx);
    true
}

/// What the metadata say about the picture in the data node.
struct Info {
    id: String,
    content_type: Option<String>,
}

/// The last item of the metadata node if the account published it.
fn metadata(account: AccountId, ctx: &mut Ctx<'_>) -> Result<Element, Avatar> {
    let store = ctx.store();
    let node = nodes::find(&store, account, ns::AVATAR_METADATA).ok_or(Avatar::None("no metadata"))?;
    let item = nodes::last(&store, account, node.id).ok_or(Avatar::None("no metadata"))?;
    if !is_by_owner(&item, account, ctx) {
        return Err(Avatar::Foreign);
    }
    let payload = Element::parse(&item.payload, "").ok();
    payload.filter(|payload| payload.is("metadata", ns::AVATAR_METADATA)).ok_or(Avatar::None("no metadata"))
}

/// XEP-0398 §3.1: of several, the one that is not elsewhere.
fn info(metadata: &Element) -> Option<Info> {
    let infos = metadata.children().filter(|child| child.is("info", ns::AVATAR_METADATA));
    let info = infos.into_iter().find(|info| info.get("url").is_none())?;
    // Hexadecimal, in whichever case.
    Some(Info { id: info.get("id")?.to_owned(), content_type: info.get("type").map(str::to_owned) })
}

fn announced(account: AccountId, ctx: &mut Ctx<'_>) -> Option<Info> {
    info(&metadata(account, ctx).ok()?)
}

/// XEP-0398 §3.1.
fn published(account: AccountId, ctx: &mut Ctx<'_>) -> Avatar {
    let metadata = match metadata(account, ctx) {
        Ok(metadata) => metadata,
        Err(avatar) => return avatar,
    };
    let Some(info) = info(&metadata) else {
        // Pointers and pictures elsewhere are avatars too. `<stop/>` is how it was said once (XEP-0084 §3.5).
        let says_none = metadata.children().all(|child| child.name == "stop");
        return if says_none { Avatar::Withdrawn } else { Avatar::None("the picture is elsewhere") };
    };
    let Some(node) = nodes::find(&ctx.store(), account, ns::AVATAR_DATA) else { return Avatar::None("no data") };
    // XEP-0398 §8.
    if node.settings.access != AccessModel::Open {
        return Avatar::None("not everybody may see it");
    }
    let Some(item) = nodes::item(&ctx.store(), account, node.id, &info.id) else { return Avatar::None("no data") };
    if !is_by_owner(&item, account, ctx) {
        return Avatar::Foreign;
    }
    let data = Element::parse(&item.payload, "").ok();
    let picture = data.and_then(|data| Picture::in_data(&data, info.content_type.as_deref()));
    match picture {
        None => Avatar::None("its data are no picture"),
        Some(picture) if !picture::hex(picture.hash).eq_ignore_ascii_case(&info.id) => {
            Avatar::None("its id is not its hash")
        }
        Some(picture) => Avatar::Open(picture),
    }
}

/// Whether the account itself published an item: others may be let to, but not to change the vCard.
fn is_by_owner(item: &Item, account: AccountId, ctx: &mut Ctx<'_>) -> bool {
    let bare = item.publisher.split('/').next().unwrap_or_default();
    accounts::address(&ctx.store(), account).is_some_and(|owner| owner.as_str() == bare)
}

/// XEP-0398 §3.2: data first, then metadata.
pub fn publish(account: AccountId, picture: &Picture, ctx: &mut Ctx<'_>) {
    let (data, metadata, id) = (picture.data(), picture.metadata(), picture::hex(picture.hash));
    if let Err(why) = has_room(account, &id, [&data, &metadata], ctx) {
        return log::debug!("the picture of a vCard is not published as an avatar: {why}");
    }
    let publication = |payload| ChangeNode::Publish { item: id.as_str().into(), payload, settings: OPEN };
    ctx.change_node(account, ns::AVATAR_DATA, publication(data));
    let store = ctx.store();
    let node = nodes::find(&store, account, ns::AVATAR_METADATA);
    let is_buried = node.is_some_and(|node| {
        let last = nodes::last(&store, account, node.id).map(|item| item.id);
        nodes::sequence(&store, account, node.id, &id).is_some() && last.as_ref() != Some(&id)
    });
    if is_buried {
        // The same as before would be no change; the last item is the one that counts.
        ctx.change_node(account, ns::AVATAR_METADATA, ChangeNode::Retract { item: id.as_str().into() });
    }
    ctx.change_node(account, ns::AVATAR_METADATA, publication(metadata));
}

/// XEP-0084 §3.5: the account shows no avatar.
pub fn withdraw(account: AccountId, ctx: &mut Ctx<'_>) {
    match metadata(account, ctx) {
        Ok(metadata) if metadata.children().next().is_some() => {}
        _ => return,
    }
    let item = ctx.token().into_boxed_str();
    let payload = Element::new("metadata", ns::AVATAR_METADATA);
    ctx.change_node(account, ns::AVATAR_METADATA, ChangeNode::Publish { item, payload, settings: OPEN });
}

/// Whether both nodes take these items: metadata without data would point nowhere.
fn has_room(account: AccountId, id: &str, payloads: [&Element; 2], ctx: &mut Ctx<'_>) -> Result<(), &'static str> {
    let store = ctx.store();
    let mut totals = nodes::totals(&store, account);
    for (name, payload) in [ns::AVATAR_DATA, ns::AVATAR_METADATA].into_iter().zip(payloads) {
        let bytes = payload.to_vec();
        let node = nodes::find(&store, account, name);
        totals.nodes += u32::from(node.is_none());
        totals.bytes += nodes::weight(id, &bytes);
        let refuses = |node: &Node| {
            let settings = &node.settings;
            let is_full = nodes::count(&store, account, node.id).items >= settings.max_items;
            let keeps = settings.persist_items && settings.max_items > 0;
            !keeps || bytes.len() > settings.max_payload as usize || (is_full && settings.when_full == WhenFull::Reject)
        };
        if node.as_ref().is_some_and(refuses) || bytes.len() > limits::ITEM_BYTES_MAX as usize {
            return Err("its node does not take it");
        }
    }
    match totals.nodes as usize > limits::NODES_MAX || totals.bytes > limits::NODES_BYTES_MAX {
        true => Err("there is no room for more items"),
        false => Ok(()),
    }
}
