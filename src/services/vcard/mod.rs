//! Keeps an account's vCard and shows it to everybody who asks; its picture is the account's avatar.
//!
//! Source: XEP-0054 v1.3.0, XEP-0153 v1.1.1, XEP-0398 v1.0.0. Invariants: only the account writes it; to others, no vCard
//! and no account look the same; which picture it shows is written down with it ([`crate::domain::photo`]).
//!
//! Avatars (XEP-0084) and vCard4 (XEP-0292) are nodes like others; `avatar` makes one picture of both worlds, `presence`
//! tells its hash.

mod avatar;
mod image;
mod picture;
mod presence;
#[cfg(test)]
mod tests;

use crate::{
    domain::{
        ids::AccountId,
        keys,
        photo::{self, Photo},
    },
    limits,
    router::{
        context::Ctx,
        service::{Card, Flow, Iq, Leg, Notice, Phase, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        ns,
        stanza::{Kind, Stanza},
    },
};
use picture::{Picture, Shown};

/// XEP-0054, XEP-0153 and XEP-0398.
#[derive(Debug)]
pub struct VCard;

static CARD: Card = Card {
    name: "vcard",
    source: "XEP-0054 v1.3.0, XEP-0084 v1.1.4, XEP-0153 v1.1.1, XEP-0292 v0.12.0, XEP-0398 v1.0.0",
    features: &[(Scope::Host, ns::VCARD), (Scope::Own, ns::VCARD), (Scope::Own, ns::VCARD_CONVERSION)],
    stream_features: &[],
    iq: &[(Scope::Own, ns::VCARD, "vCard"), (Scope::Other, ns::VCARD, "vCard")],
    // Before anybody keeps or shows the presence.
    passes: &[(Kind::Presence, Leg::Outbound, Phase::Clean)],
};

impl Service for VCard {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn leans_on(&self) -> &'static [(&'static str, &'static str)] {
        &[(ns::VCARD_CONVERSION, ns::PUBSUB)]
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

    fn pass(&mut self, _: (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        presence::stamp(stanza, ctx);
        Flow::Continue
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        if let Notice::NodeChanged { account, node, change, by_service: false } = notice
            && matches!(&**node, ns::AVATAR_DATA | ns::AVATAR_METADATA)
        {
            avatar::node_changed(*account, node, change, ctx);
        }
    }
}

fn read(owner: AccountId, ctx: &mut Ctx<'_>) -> Option<Element> {
    Element::parse(&ctx.store().read(&keys::owned(keys::VCARD, owner))?, "").ok()
}

/// Keeps a vCard, or none if there is nothing in it. `false`: it is too large, and the one before stays.
fn write(owner: AccountId, vcard: &Element, ctx: &mut Ctx<'_>) -> bool {
    let key = keys::owned(keys::VCARD, owner);
    if vcard.nodes.is_empty() {
        if ctx.store().has(&key) {
            ctx.store().remove(&key);
        }
        return true;
    }
    let mut bytes = Vec::with_capacity(1024);
    vcard.write("", &mut bytes);
    if bytes.len() > limits::VCARD_BYTES_MAX {
        return false;
    }
    ctx.store().put(&key, &bytes);
    true
}

/// XEP-0054 §3.2; what becomes of its picture, XEP-0398 §3.2.
fn put(owner: AccountId, vcard: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    if !write(owner, vcard, ctx) {
        return Err(StanzaError::new(Condition::NotAcceptable).text("The vCard is too large."));
    }
    let before = photo::photo(&ctx.store(), owner);
    let shown = Picture::in_vcard(vcard);
    let photo = match (&shown, before) {
        // An edited vCard comes back with the picture that it had.
        (Shown::This(picture), Photo::Is { hash, .. }) if hash == picture.hash => return Ok(Reply::Empty),
        (Shown::This(picture), _) => Photo::Is { hash: picture.hash, is_avatar: false },
        (_, Photo::Never) => return Ok(Reply::Empty),
        _ => Photo::Gone,
    };
    presence::tell(owner, photo, ctx);
    match shown {
        Shown::This(picture) => avatar::publish(owner, &picture, ctx),
        Shown::Nothing if before != photo => avatar::withdraw(owner, ctx),
        Shown::Nothing => {}
        Shown::Unfit => log::debug!("the picture of a vCard is not published as an avatar: it cannot be read"),
    }
    Ok(Reply::Empty)
}
