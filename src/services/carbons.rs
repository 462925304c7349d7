//! Copies of messages for the other sessions of an account, so that each of its devices has every conversation whole.
//!
//! Source: XEP-0280 v1.0.1, all of §6.1 (`urn:xmpp:carbons:rules:0`). Invariants: copies are made here and nowhere else,
//! so that a client may believe them (S27, S28); a session has each message once, as itself or as a copy; an account
//! of which no session wants copies pays nothing for them.

use std::rc::Rc;

use crate::{
    domain::{
        ids::{MessageId, SessionId},
        sessions::Keep,
    },
    limits,
    router::{
        context::Ctx,
        reach::{Reach, reach},
        service::{AtBind, Card, Flow, Iq, Leg, Notice, Phase, Reply, Scope, Service},
    },
    wire::{
        build,
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
        stanza::{Chunk, Filed, Kind, Stanza, Type},
    },
};

/// XEP-0280.
#[derive(Debug)]
pub struct Carbons;

static CARD: Card = Card {
    name: "carbons",
    source: "XEP-0280 v1.0.1",
    features: &[(Scope::Host, ns::CARBONS), (Scope::Host, ns::CARBONS_RULES)],
    stream_features: &[],
    iq: &[(Scope::Own, ns::CARBONS, "enable"), (Scope::Own, ns::CARBONS, "disable")],
    passes: &[
        (Kind::Message, Leg::Outbound, Phase::Clean),
        (Kind::Message, Leg::Inbound, Phase::Clean),
        (Kind::Message, Leg::Outbound, Phase::Copy),
        (Kind::Message, Leg::Inbound, Phase::Copy),
    ],
};

/// Which way the copied message went, §7 and §8.
#[derive(Clone, Copy)]
enum Way {
    Sent,
    Received,
}

impl Service for Carbons {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        if !iq.is_set() {
            return Err(Condition::BadRequest.into());
        }
        let session = iq.session.ok_or(StanzaError::new(Condition::NotAllowed))?;
        ctx.core.sessions.set_carbons(session, iq.payload.name == "enable");
        Ok(Reply::Empty)
    }

    fn at_bind(&self) -> Option<AtBind> {
        let run = |session, wish: Option<&Element>, ctx: &mut Ctx<'_>| {
            if wish.is_some_and(|wish| wish.name == "enable") {
                ctx.core.sessions.set_carbons(session, true);
            }
            // XEP-0386 §3.2: it succeeds, so there is nothing to say.
            None
        };
        Some(AtBind { ns: ns::CARBONS, is_feature: true, run })
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        if let Notice::Bounced(stanza, error) = notice {
            bounced(stanza, error, ctx);
        }
    }

    fn pass(&mut self, (leg, phase): (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        match (phase, leg) {
            (Phase::Clean, _) => clean(stanza),
            (_, Leg::Outbound) => sent(stanza, ctx),
            (_, Leg::Inbound) => received(stanza, ctx),
        }
        Flow::Continue
    }
}

/// Nobody but us says that something is a copy (§12).
fn clean(stanza: &mut Stanza) {
    if stanza.has("sent", ns::CARBONS) || stanza.has("received", ns::CARBONS) {
        stanza.cut(|name, namespace, _| namespace == ns::CARBONS && matches!(name, "sent" | "received"));
    }
}

/// §6.1.
fn is_eligible(stanza: &Stanza, leg: Leg) -> bool {
    if stanza.ty == Type::Groupchat {
        return false;
    }
    let traits = stanza.traits();
    if traits.private {
        return false;
    }
    if traits.direct_invite || (traits.room && is_invitation(stanza)) {
        return true;
    }
    // A private message in a room: the room itself gives it to every client that has joined.
    if traits.room && leg == Leg::Inbound && !stanza.from.is_bare() {
        return false;
    }
    match stanza.ty {
        // What answers a message that was copied; of one that was not, nobody can tell from the answer.
        Type::Chat | Type::Error => true,
        Type::Normal => traits.body || traits.im_payload,
        _ => traits.im_payload,
    }
}

/// A mediated invitation, XEP-0045 §7.8.2.
fn is_invitation(stanza: &Stanza) -> bool {
    stanza.find("x", ns::MUC_USER).is_some_and(|x| x.find("invite", ns::MUC_USER).is_some())
}

fn wants_copies(jid: &Jid, ctx: &Ctx<'_>) -> bool {
    ctx.sessions().online(jid.bare_str()).is_some_and(|online| online.carbons > 0)
}

/// §8: all but the session that sent it.
fn sent(stanza: &Stanza, ctx: &mut Ctx<'_>) {
    // What goes to the account itself is delivered to its sessions, or copied to them, on arrival.
    let is_own = stanza.to.as_ref().is_some_and(|to| to.bare_str() == stanza.from.bare_str());
    if is_own || !wants_copies(&stanza.from, ctx) || !is_eligible(stanza, Leg::Outbound) {
        return;
    }
    let Some(owner) = ctx.account(&stanza.from) else { return };
    // The sender's own archive has it under this id; the recipient is not told (XEP-0313 §3.3).
    let known = match stanza.filed {
        Some(filed) => ctx.stanza_id(owner, stanza.from.bare_str(), MessageId(filed.number)),
        None => Vec::new(),
    };
    copy(stanza, Way::Sent, &known, &stanza.from, &[], ctx);
}

/// §7: all but those that get the message itself.
fn received(stanza: &Stanza, ctx: &mut Ctx<'_>) {
    let Some(to) = stanza.to.clone() else { return };
    if !wants_copies(&to, ctx) || !is_eligible(stanza, Leg::Inbound) {
        return;
    }
    let direct = match reach(stanza, &to, ctx) {
        Reach::Sessions(sessions) => sessions,
        // An error to the account itself answers what was sent in its name, and none of its clients.
        Reach::Dropped(_) if to.is_bare() => return,
        Reach::Nobody | Reach::Dropped(_) => Vec::new(),
        Reach::Refused => return,
    };
    copy(stanza, Way::Received, &[], &to, &direct, ctx);
}

/// §6.1: the error that answers a message that was copied; its sender has it.
fn bounced(stanza: &Stanza, error: &StanzaError, ctx: &mut Ctx<'_>) {
    if !wants_copies(&stanza.from, ctx) || !is_eligible(stanza, Leg::Outbound) {
        return;
    }
    let direct: Vec<_> = ctx.sessions().full(&stanza.from).map(|(id, _)| id).into_iter().collect();
    copy(&stanza.returned(error), Way::Received, &[], &stanza.from.clone(), &direct, ctx);
}

/// Gives a copy to each session of `owner` that wants copies, but for those that have the message.
fn copy(stanza: &Stanza, way: Way, inserted: &[u8], owner: &Jid, have: &[SessionId], ctx: &mut Ctx<'_>) {
    let wants = |id: SessionId, jid: &Jid| *jid != stanza.from && !have.contains(&id);
    let sessions =
        ctx.sessions().of(owner.bare_str()).filter(|(id, session)| session.carbons && wants(*id, &session.jid));
    let others: Vec<_> = sessions.map(|(id, session)| (id, session.jid.clone())).collect();
    if others.is_empty() {
        return;
    }
    let body = wrapped(stanza, way, inserted);
    for (id, jid) in others {
        let mut head = Vec::with_capacity(128);
        head.extend_from_slice(b"<message");
        build::attr("from", owner.bare_str(), &mut head);
        build::attr("to", jid.as_str(), &mut head);
        if let Some(ty) = stanza.ty.as_str() {
            build::attr("type", ty, &mut head);
        }
        head.push(b'>');
        hand_over(id, Chunk::shared(head, &body), stanza.filed, ctx);
    }
}

/// A session that still fetches what waited for it gets the copy in its place behind that.
fn hand_over(id: SessionId, copy: Chunk, filed: Option<Filed>, ctx: &mut Ctx<'_>) {
    if let (Some(filed), Some(session)) = (filed, ctx.core.sessions.session_mut(id))
        && session.backlog.is_some()
        && session.behind.len() < limits::BACKLOG_BEHIND_MAX
        && session.behind.iter().map(|(_, chunk)| chunk.len()).sum::<usize>() < limits::BACKLOG_PAGE_BYTES
    {
        return session.behind.push_back((MessageId(filed.number), copy));
    }
    ctx.core.deliver(id, copy, Keep::Nothing);
}

/// The content and the end of the copy, the same for all who get one (XEP-0297 §3).
fn wrapped(stanza: &Stanza, way: Way, inserted: &[u8]) -> Rc<[u8]> {
    let name = match way {
        Way::Sent => "sent",
        Way::Received => "received",
    };
    let mut body = Vec::with_capacity(384 + stanza.content_len());
    body.extend_from_slice(format!("<{name} xmlns='{}'><forwarded xmlns='{}'>", ns::CARBONS, ns::FORWARD).as_bytes());
    stanza.to_stored().write(Some(ns::CLIENT), inserted, &mut body);
    body.extend_from_slice(format!("</forwarded></{name}></message>").as_bytes());
    body.into()
}

#[cfg(test)]
mod tests;
