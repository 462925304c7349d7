//! Keeps an account's vCard and shows it to everybody who asks; its picture is the account's avatar as well.
//!
//! Source: XEP-0054 v1.3.0; for the picture see [`avatar`]. Invariant: only the account writes it; to others, no vCard and no account look the same.

mod avatar;
mod photo;
#[cfg(test)]
mod tests;

use crate::{
    domain::{ids::AccountId, keys},
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

/// XEP-0054.
#[derive(Debug)]
pub struct VCard;

static CARD: Card = Card {
    name: "vcard",
    source: "XEP-0054 v1.3.0, XEP-0084 v1.1.4, XEP-0153 v1.1.1, XEP-0398 v1.0.1",
    features: &[(Scope::Host, ns::VCARD), (Scope::Own, ns::VCARD), (Scope::Own, ns::VCARD_CONVERSION)],
    stream_features: &[],
    iq: &[(Scope::Own, ns::VCARD, "vCard"), (Scope::Other, ns::VCARD, "vCard")],
    passes: &[(Kind::Presence, Leg::Outbound, Phase::Clean)],
};

impl Service for VCard {
    fn card(&self) -> &'static Card {
        &CARD
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
        avatar::stamp(stanza, ctx);
        Flow::Continue
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        if let Notice::NodeChanged { account, node, change, by_service: false } = notice
            && node.as_ref() == ns::AVATAR_METADATA
        {
            avatar::published(*account, change, ctx);
        }
    }
}

fn read(owner: AccountId, ctx: &mut Ctx<'_>) -> Option<Element> {
    Element::parse(&ctx.store().read(&keys::owned(keys::VCARD, owner))?, "").ok()
}

fn put(owner: AccountId, vcard: &Element, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    write(owner, vcard, ctx)?;
    avatar::written(owner, Some(vcard), ctx);
    Ok(Reply::Empty)
}

/// Writes the vCard down; one that is empty goes.
fn write(owner: AccountId, vcard: &Element, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let key = keys::owned(keys::VCARD, owner);
    if vcard.nodes.is_empty() {
        if ctx.store().has(&key) {
            ctx.store().remove(&key);
        }
        return Ok(());
    }
    let mut bytes = Vec::with_capacity(1024);
    vcard.write("", &mut bytes);
    if bytes.len() > limits::VCARD_BYTES_MAX {
        return Err(StanzaError::new(Condition::NotAcceptable).text("The vCard is too large."));
    }
    ctx.store().put(&key, &bytes);
    Ok(())
}
