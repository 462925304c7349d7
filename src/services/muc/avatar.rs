//! A room's picture: its vCard, and the hash by which clients learn that there is another one.
//!
//! Source: XEP-0486 v0.1.0, XEP-0054 v1.3.0 for the vCard, XEP-0153 §3.1 for the hash. Invariant: only owners change it; the
//! hashes that the room tells are those of the pictures in the vCard that it gives out.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{outgoing::announce, room::Room};
use crate::{
    domain::{ids::AccountId, rooms, rooms::Affiliation},
    limits,
    router::{
        context::Ctx,
        service::{Iq, Reply},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        ns,
    },
};

/// Bytes of a hash.
const SHA1: usize = 20;

/// A request for the vCard of the room itself.
pub(super) fn answer(room: &mut Room, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    if !iq.is_set() {
        let vcard = rooms::vcard(&ctx.store(), room.id).and_then(|bytes| Element::parse(&bytes, "").ok());
        return Ok(vcard.unwrap_or_else(|| Element::new("vCard", ns::VCARD)).into());
    }
    if room.affiliation(iq.from) != Affiliation::Owner && !ctx.is_admin(iq.from) {
        return Err(StanzaError::new(Condition::Forbidden).text("Only owners are allowed to set avatars."));
    }
    let mut bytes = Vec::with_capacity(1024);
    if !iq.payload.nodes.is_empty() {
        iq.payload.write("", &mut bytes);
    }
    if bytes.len() > limits::VCARD_BYTES_MAX {
        return Err(StanzaError::new(Condition::NotAcceptable).text("The vCard is too large."));
    }
    if bytes == rooms::vcard(&ctx.store(), room.id).unwrap_or_default() {
        return Ok(Reply::Empty);
    }
    rooms::put_vcard(&mut ctx.store(), room.id, &bytes, &hashes(iq.payload));
    // XEP-0486 §3.2: whoever is in looks again.
    announce(room, &[104], ctx);
    Ok(Reply::Empty)
}

/// SHA-1 of each picture, one after the other; XEP-0486 §3.5: there may be one for each format.
fn hashes(vcard: &Element) -> Vec<u8> {
    let pictures = vcard.children().filter(|child| child.is("PHOTO", ns::VCARD));
    pictures.filter_map(hash).take(limits::ROOM_PICTURES_MAX).flatten().collect()
}

fn hash(picture: &Element) -> Option<[u8; SHA1]> {
    let picture = picture.leaf_text("BINVAL")?;
    // RFC 2426 §2.4.1: lines may be folded.
    let digits: Vec<u8> = picture.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let picture = STANDARD.decode(digits).ok().filter(|picture| !picture.is_empty())?;
    ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &picture).as_ref().try_into().ok()
}

/// What the room tells of its pictures, XEP-0486 §3.3.
pub(super) fn told(room: AccountId, ctx: &mut Ctx<'_>) -> Vec<String> {
    use std::fmt::Write;
    let hashes = rooms::pictures(&ctx.store(), room).unwrap_or_default();
    let written = hashes.chunks(SHA1).map(|hash| {
        hash.iter().fold(String::with_capacity(2 * SHA1), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    });
    written.collect()
}
