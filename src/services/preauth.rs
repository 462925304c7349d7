//! Makes whoever shows an invitation of an account a contact of it, without anybody being asked.
//!
//! Source: XEP-0379 v0.3.3 §3.5, XEP-0401 v0.6.0 §3. The tokens are those of `domain/invitations.rs`. Invariants: a token makes
//! one contact, of the account that gave it out; one that is not good is ignored, and the request is one like others.

use crate::{
    router::{
        context::Ctx,
        lifecycle,
        service::{Card, Flow, Leg, Phase, Service},
    },
    wire::{
        ns,
        stanza::{Kind, Stanza, Type},
    },
};

/// XEP-0379 on the side of who invited.
#[derive(Debug)]
pub struct PreAuthenticated;

static CARD: Card = Card {
    name: "preauth",
    source: "XEP-0379 v0.3.3 §3.5",
    features: &[],
    stream_features: &[],
    iq: &[],
    passes: &[(Kind::Presence, Leg::Inbound, Phase::Admit)],
};

impl Service for PreAuthenticated {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn pass(&mut self, _: (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        if stanza.ty != Type::Subscribe {
            return Flow::Continue;
        }
        let (Some(owner), Some(shown)) = (stanza.to.clone(), stanza.find("preauth", ns::PRE_AUTH)) else {
            return Flow::Continue;
        };
        let token = shown.get("token").unwrap_or_default();
        match lifecycle::accept(ctx, token, &owner, stanza) {
            true => Flow::Taken("it was invited"),
            false => Flow::Continue,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::roster::{self, State},
        router::testing::House,
        wire::jid::Jid,
    };

    fn state(house: &mut House, owner: &str, contact: &str) -> State {
        let account = house.ctx().account(&Jid::parse(owner).unwrap()).unwrap();
        roster::state(&house.ctx().store(), account, contact)
    }

    fn token(house: &mut House) -> String {
        let romeo = Jid::parse("romeo@capulet.lit").unwrap();
        let (domain, inviter) = ("capulet.lit", Some(&romeo));
        let wish =
            lifecycle::Invite { domain, inviter, befriends: true, is_contact: true, ..lifecycle::Invite::default() };
        let uri = lifecycle::invite(&mut house.ctx(), &wish).unwrap().uri;
        uri.split_once("preauth=").unwrap().1.to_owned()
    }

    fn asks(from: &str, to: &str, token: &str) -> String {
        let shown = format!("<preauth xmlns='urn:xmpp:pars:0' token='{token}'/>");
        format!("<presence type='subscribe' from='{from}' to='{to}'>{shown}</presence>")
    }

    #[test]
    fn whoever_shows_an_invitation_becomes_a_contact() {
        // XEP-0379 §3.5: approved and asked in turn, somebody of this server as well as somebody of another.
        let mut house = House::new();
        house.federates = true;
        let romeo = house.available("romeo@capulet.lit/orchard");
        let nurse = house.available("nurse@capulet.lit/hall");
        let good = token(&mut house);
        let out = house.send(nurse, &asks("nurse@capulet.lit", "romeo@capulet.lit", &good));
        assert!(!out.iter().any(|(to, xml)| *to == romeo && xml.contains("type='subscribe'")), "{out:?}");
        let both = state(&mut house, "romeo@capulet.lit", "nurse@capulet.lit");
        assert!(both.from && both.pending_out, "{both:?}");
        let good = token(&mut house);
        house.receive(&asks("juliet@montague.lit", "romeo@capulet.lit", &good));
        let both = state(&mut house, "romeo@capulet.lit", "juliet@montague.lit");
        assert!(both.from && both.pending_out, "{both:?}");
        assert!(house.to_peers.iter().any(|xml| xml.contains("type='subscribed'")), "{:?}", house.to_peers);
        assert!(house.to_peers.iter().any(|xml| xml.contains("type='subscribe'")), "{:?}", house.to_peers);
    }

    #[test]
    fn what_is_no_invitation_changes_nothing() {
        // XEP-0379 §4: used, of somebody else, or made up.
        let mut house = House::new();
        let romeo = house.available("romeo@capulet.lit/orchard");
        house.available("tybalt@capulet.lit/hall");
        let nurse = house.available("nurse@capulet.lit/hall");
        let good = token(&mut house);
        house.send(nurse, &asks("nurse@capulet.lit", "tybalt@capulet.lit", &good));
        assert!(!state(&mut house, "tybalt@capulet.lit", "nurse@capulet.lit").from);
        let out = house.send(nurse, &asks("nurse@capulet.lit", "romeo@capulet.lit", "made-up"));
        assert!(out.iter().any(|(to, xml)| *to == romeo && xml.contains("type='subscribe'")), "{out:?}");
        assert!(!state(&mut house, "romeo@capulet.lit", "nurse@capulet.lit").from);
        let paris = house.available("paris@capulet.lit/hall");
        house.send(paris, &asks("paris@capulet.lit", "romeo@capulet.lit", &good));
        assert!(state(&mut house, "romeo@capulet.lit", "paris@capulet.lit").from);
        let lady = house.available("lady@capulet.lit/hall");
        house.send(lady, &asks("lady@capulet.lit", "romeo@capulet.lit", &good));
        assert!(!state(&mut house, "romeo@capulet.lit", "lady@capulet.lit").from);
    }
}
