//! Presence tells which picture the vCard shows.
//!
//! Source: XEP-0398 v1.0.0 §4, XEP-0153 v1.1.1 §4.1. Invariant: what is broadcast holds what the client wrote, and our
//! word on the picture among what was added; so the client's own words can be sent again with another word.

use super::picture;
use crate::{
    domain::{
        accounts,
        ids::AccountId,
        photo::{self, Photo},
    },
    router::{context::Ctx, service::Leg},
    wire::{
        element::Element,
        ns,
        stanza::{Stanza, Type},
    },
};

/// Adds the hash to available presence, broadcast or directed. The hash is remembered with the account's sessions.
pub fn stamp(stanza: &mut Stanza, ctx: &mut Ctx<'_>) {
    let Some(online) = ctx.sessions().online(stanza.from.bare_str()) else { return };
    let photo = online.lists.photo;
    if stanza.ty != Type::Available {
        return;
    }
    if !stanza.has("x", ns::VCARD_UPDATE) {
        if photo != Photo::Never {
            add(photo, stanza);
        }
        return;
    }
    let Some(said) = stanza.find("x", ns::VCARD_UPDATE) else { return };
    let own = said.find("photo", ns::VCARD_UPDATE);
    let shall_stand = match own {
        // Whoever says that it shows no picture shows none.
        Some(own) if own.content().trim().is_empty() => true,
        // Where we know of no picture at all, the client may know better.
        Some(_) => photo == Photo::Never,
        None => false,
    };
    if !shall_stand {
        stanza.cut(|name, namespace, _| name == "x" && namespace == ns::VCARD_UPDATE);
        add(photo, stanza);
    }
}

fn add(photo: Photo, stanza: &mut Stanza) {
    // XEP-0153 §4.1, rule 3: no picture is an empty element.
    let mut child = b"<x xmlns='vcard-temp:x:update'><photo>".to_vec();
    child.extend_from_slice(photo.hash().map(picture::hex).unwrap_or_default().as_bytes());
    child.extend_from_slice(b"</photo></x>");
    stanza.add(&child);
}

/// Whether the client said that it shows no picture.
fn hides(presence: &Stanza) -> bool {
    let said = presence.find("x", ns::VCARD_UPDATE);
    let is_empty = |own: &Element| own.content().trim().is_empty();
    said.is_some_and(|said| said.find("photo", ns::VCARD_UPDATE).is_some_and(is_empty))
}

/// Writes down which picture the vCard shows. If it is another one, sessions that are available say so: their last
/// presence is broadcast again.
pub fn tell(account: AccountId, photo: Photo, ctx: &mut Ctx<'_>) {
    let before = photo::photo(&ctx.store(), account);
    if before == photo {
        return;
    }
    photo::put(&mut ctx.store(), account, photo);
    let Some(owner) = accounts::address(&ctx.store(), account) else { return };
    let Some(online) = ctx.core.sessions.online_mut(owner.as_str()) else { return };
    online.lists.photo = photo;
    if before.hash() == photo.hash() {
        return;
    }
    let sessions = ctx.sessions().of(owner.as_str());
    let shown = sessions.filter_map(|(_, session)| Some(&session.presence.as_ref()?.stanza));
    let again: Vec<Stanza> = shown.filter(|stanza| !hides(stanza)).map(Stanza::without_additions).collect();
    for stanza in again {
        ctx.send(Leg::Outbound, stanza);
    }
}
