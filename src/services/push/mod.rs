//! Wakes devices whose clients are not connected, through the push services of their makers.
//!
//! Source: XEP-0357 v0.4.1, XEP-0492 v0.2.0, and the filters named in [`wish`]. A registration is a fact
//! ([`crate::domain::push`]); here is who is woken, when, and how often. Invariants: nothing that was said leaves the house,
//! nor who said it, unless under the seal of the very device ([`sealed`]); a device that is connected is not woken; one
//! that is woken and does not come is woken ever more seldom; and only the push service itself ends a registration by an error, not whoever failed to reach it.

mod cause;
mod chats;
mod sealed;
mod wake;
mod wish;

use std::collections::BTreeMap;

use self::{
    cause::Cause,
    sealed::Said,
    wake::{Key, News, Woken, key},
    wish::{Told, Wish},
};
use crate::{
    domain::{
        ids::{AccountId, SessionId, Time},
        push::{self, Registration, Whereabouts, whereabouts},
        roster,
    },
    limits,
    router::{
        context::Ctx,
        reach::{Reach, reach},
        service::{Card, Flow, Iq, Leg, Notice, Phase, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
        stanza::{Kind, Stanza, Type},
    },
};

/// XEP-0357.
#[derive(Debug, Default)]
pub struct Push {
    /// Registrations whose device was woken and has not come yet.
    woken: BTreeMap<Key, Woken>,
}

static CARD: Card = Card {
    name: "push",
    source: "XEP-0357 v0.4.1, XEP-0492 v0.2.0",
    features: &[
        (Scope::Own, ns::PUSH),
        (Scope::Own, wish::IGNORE_UNKNOWN),
        (Scope::Own, wish::MUTED),
        (Scope::Own, wish::GROUPCHAT),
        (Scope::Own, wish::PRIORITY),
        (Scope::Own, wish::JINGLE),
        (Scope::Own, sealed::ENCRYPT),
        (Scope::Own, sealed::ALGORITHM),
    ],
    stream_features: &[],
    iq: &[(Scope::Own, ns::PUSH, "enable"), (Scope::Own, ns::PUSH, "disable")],
    passes: &[
        (Kind::Message, Leg::Inbound, Phase::Copy),
        (Kind::Presence, Leg::Inbound, Phase::Copy),
        (Kind::Iq, Leg::Inbound, Phase::Admit),
        (Kind::Iq, Leg::Inbound, Phase::Deliver),
    ],
};

impl Service for Push {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        if !iq.is_set() {
            return Err(Condition::BadRequest.into());
        }
        let service = iq.payload.get("jid").and_then(|jid| Jid::parse(jid).ok());
        let service = service.ok_or(StanzaError::new(Condition::BadRequest).text("Which push service?"))?;
        match iq.payload.name.as_ref() {
            "enable" => self.enable(iq, &service, ctx),
            _ => self.disable(iq, &service, ctx),
        }
    }

    fn pass(&mut self, (_, phase): (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        match (stanza.kind, phase) {
            (Kind::Message, _) => return self.message(stanza, ctx),
            (Kind::Presence, _) if stanza.ty == Type::Subscribe => self.request(stanza, ctx),
            (Kind::Presence, _) => {}
            (Kind::Iq, Phase::Deliver) => return self.answered(stanza, ctx),
            (Kind::Iq, _) => self.call(stanza, ctx),
        }
        Flow::Continue
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        match notice {
            Notice::SessionBound(id) | Notice::SessionResumed(id) => self.back(*id, ctx),
            Notice::SessionWaits(id) | Notice::SessionSilent(id) => self.left(*id, ctx),
            // Nobody will resume it, and what it has not acknowledged waits for the device.
            Notice::SessionEnding(id) => {
                let is_lost = |id| {
                    let session = ctx.sessions().session(id)?;
                    Some(session.sm.as_ref()?.token.is_none() && session.stream.is_none())
                };
                if is_lost(*id) == Some(true) {
                    self.left(*id, ctx);
                }
                if let Some(own) = ctx.sessions().session(*id).map(|session| session.jid.bare()) {
                    may_be_away(own.as_str(), ctx);
                }
            }
            Notice::SaidToMembers { members, stanza } => {
                members.iter().for_each(|member| self.said_to_member(member, stanza, ctx));
            }
            Notice::AccountRemoved(account, _) => self.woken.retain(|(owner, ..), _| owner != account),
            Notice::Chores => self.remind(ctx),
            // `Notice::Returned`: nobody reached the push service, which says nothing about the registration.
            _ => {}
        }
    }
}

// What clients ask for.
impl Push {
    /// §5.
    fn enable(&mut self, iq: &Iq<'_>, service: &Jid, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        let account = iq.owner()?;
        let session = iq.session.and_then(|id| ctx.sessions().session(id));
        let (device, resource) = session
            .map(|session| (session.device, session.jid.resource().unwrap_or_default().to_owned()))
            .ok_or(StanzaError::new(Condition::NotAllowed))?;
        let node = iq.payload.get("node").unwrap_or_default().to_owned();
        if node.len() > limits::NODE_NAME_BYTES_MAX {
            return Err(Condition::NotAcceptable.into());
        }
        let wish = wish::read(iq.payload)?;
        let service = service.as_str().to_owned();
        let registration = Registration { service, node, device, resource, since_s: ctx.wall_s(), wish };
        push::put(&mut ctx.store(), account, &registration);
        self.woken.remove(&key(account, &registration));
        let (usual_s, hold_s) = (ctx.config().retention.resume_s, ctx.config().retention.resume_push_s);
        may_be_away(iq.from.bare_str(), ctx);
        if let Some(session) = iq.session.and_then(|id| ctx.core.sessions.session_mut(id)) {
            session.can_be_woken = true;
            // Not if its client wanted less. Whoever is woken may take longer to come back.
            if session.hold_s == usual_s {
                session.hold_s = hold_s.max(usual_s);
            }
        }
        Ok(Reply::Empty)
    }

    /// §6: one node, or all of the service.
    fn disable(&mut self, iq: &Iq<'_>, service: &Jid, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        let account = iq.owner()?;
        let node = iq.payload.get("node");
        for registration in push::list(&ctx.store(), account) {
            if registration.service == service.as_str() && node.is_none_or(|node| node == registration.node) {
                self.forget(account, &registration, ctx);
            }
        }
        Ok(Reply::Empty)
    }

    pub(super) fn forget(&mut self, account: AccountId, registration: &Registration, ctx: &mut Ctx<'_>) {
        push::remove(&mut ctx.store(), account, &registration.service, &registration.node);
        self.woken.remove(&key(account, registration));
    }
}

// What happens to the account.
impl Push {
    /// A message is about to be delivered, or kept.
    fn message(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let Some(to) = stanza.to.clone() else { return Flow::Continue };
        if stanza.has("pubsub", ns::PUBSUB) && self.is_put_out(stanza, &to, ctx) {
            return Flow::Taken("a push service wants no more");
        }
        let Some((account, mut away)) = away(&to, ctx) else { return Flow::Continue };
        let targets = match reach(stanza, &to, ctx) {
            Reach::Sessions(targets) => Some(targets),
            Reach::Nobody => None,
            Reach::Refused | Reach::Dropped(_) => return Flow::Continue,
        };
        let traits = stanza.traits();
        // What nobody else gets a copy of is of no use to a device that it is not for.
        let is_for_one = traits.private || stanza.ty == Type::Groupchat || traits.room && !stanza.from.is_bare();
        away.retain(|(_, place)| match (place, &targets) {
            (Whereabouts::Here, _) => false,
            (_, None) => true,
            (Whereabouts::Silent(id), Some(targets)) => !is_for_one || targets.contains(id),
            (Whereabouts::Gone, Some(_)) => !is_for_one,
        });
        self.told(account, &to, away, stanza, ctx);
        Flow::Continue
    }

    /// A member of a room that is for members only hears of what was said there. A session that waits for its device was in
    /// the room, and has got it, or did not want to be.
    fn said_to_member(&mut self, member: &Jid, stanza: &Stanza, ctx: &mut Ctx<'_>) {
        let Some((account, mut away)) = away(member, ctx) else { return };
        away.retain(|(_, place)| *place == Whereabouts::Gone);
        self.told(account, member, away, stanza, ctx);
    }

    /// Somebody asks for a subscription (RFC 6121 §3.1.3).
    fn request(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) {
        let Some(to) = stanza.to.clone() else { return };
        let Some((account, away)) = away(&to, ctx) else { return };
        let state = roster::state(&ctx.store(), account, stanza.from.bare_str());
        if state.from || state.pending_in || state.approved {
            return;
        }
        self.told(account, &to, away, stanza, ctx);
    }

    /// A request to a session that does not answer: a call, perhaps.
    fn call(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) {
        if stanza.ty != Type::Set || !stanza.has("jingle", ns::JINGLE) {
            return;
        }
        let Some(to) = stanza.to.clone().filter(|to| !to.is_bare()) else { return };
        let Some((id, _)) = ctx.sessions().full(&to) else { return };
        let Some((account, mut away)) = away(&to, ctx) else { return };
        away.retain(|(_, place)| *place == Whereabouts::Silent(id));
        if away.is_empty() || !ctx.shows_presence(account, &stanza.from) {
            return;
        }
        self.told(account, &to, away, stanza, ctx);
    }

    /// Wakes devices for a stanza, if it is worth it.
    fn told(
        &mut self,
        account: AccountId,
        to: &Jid,
        away: Vec<(Registration, Whereabouts)>,
        stanza: &Stanza,
        ctx: &mut Ctx<'_>,
    ) {
        if away.is_empty() {
            return;
        }
        let Some(element) = stanza.element() else { return };
        let element = element.attr("from", stanza.from.as_str());
        let own = to.bare();
        for (registration, _) in away {
            if let Some(news) = judge(account, &own, &registration, &element, ctx) {
                let messages = u32::from(news.cause != Cause::Request);
                self.wake((account, &own), &registration, news, messages, ctx);
            }
        }
    }

    /// §8: the push service does not let the account publish any more.
    fn is_put_out(&mut self, stanza: &Stanza, to: &Jid, ctx: &mut Ctx<'_>) -> bool {
        let Some(account) = ctx.account(to) else { return false };
        let Some(pubsub) = stanza.find("pubsub", ns::PUBSUB) else { return false };
        let is_out = pubsub.children().any(|child| {
            child.is("affiliation", ns::PUBSUB)
                && child.get("affiliation") == Some("none")
                && child.get("jid") == Some(to.bare_str())
        });
        let node = pubsub.get("node").unwrap_or_default();
        let mut all = push::list(&ctx.store(), account).into_iter().filter(|_| is_out);
        match all.find(|own| own.service == stanza.from.as_str() && own.node == node) {
            Some(registration) => {
                self.forget(account, &registration, ctx);
                true
            }
            None => false,
        }
    }
}

// Devices that come and go.
impl Push {
    /// A device is here again.
    fn back(&mut self, id: SessionId, ctx: &Ctx<'_>) {
        if let Some(session) = ctx.sessions().session(id) {
            self.woken.retain(|(owner, ..), woken| *owner != session.account || !woken.registration.is_of(session));
        }
    }

    /// A session was cut off, or is silent: what it has not acknowledged is to be told to its device.
    fn left(&mut self, id: SessionId, ctx: &mut Ctx<'_>) {
        let Some(session) = ctx.sessions().session(id) else { return };
        let (account, own) = (session.account, session.jid.bare());
        may_be_away(own.as_str(), ctx);
        let mut meant = push::list(&ctx.store(), account);
        let Some(session) = ctx.sessions().session(id) else { return };
        meant.retain(|registration| registration.is_of(session));
        meant.retain(|own| whereabouts(ctx.sessions(), session.jid.bare_str(), own, ctx.now) != Whereabouts::Here);
        if meant.is_empty() {
            return;
        }
        // Whoever was asked after being woken has answered in between.
        let asked_ms = session.sm.as_ref().map_or(0, |sm| sm.asked_ms);
        for registration in &meant {
            self.forget_before(Time(asked_ms), &key(account, registration));
        }
        let chunks = session.sm.iter().flat_map(|sm| sm.unacked().map(|(chunk, _)| chunk));
        let stanzas = chunks.filter_map(|chunk| {
            let mut bytes = Vec::with_capacity(chunk.len());
            chunk.write(&mut bytes);
            let stanza = Element::parse(&bytes, ns::CLIENT).ok()?;
            cause::of(&stanza, own.as_str()).is_some().then_some(stanza)
        });
        let stanzas: Vec<_> = stanzas.take(limits::PUSH_UNACKED_MAX).collect();
        for registration in meant {
            let news = stanzas.iter().filter_map(|stanza| judge(account, &own, &registration, stanza, ctx));
            let news: Vec<_> = news.collect();
            let messages = news.iter().filter(|news| news.cause != Cause::Request).count() as u32;
            // The most pressing one is told, and of several the last.
            let Some(news) = news.into_iter().max_by_key(|news| news.cause.rank()) else { continue };
            // It may have been woken for some of them when it fell silent.
            match messages.saturating_sub(self.told_of(&key(account, &registration))) {
                0 if messages > 0 => {}
                new => self.wake((account, &own), &registration, news, new, ctx),
            }
        }
    }
}

/// Why this stanza wakes the device of a registration, if it does. `stanza` has its `from`.
fn judge(
    account: AccountId,
    own: &Jid,
    registration: &Registration,
    stanza: &Element,
    ctx: &mut Ctx<'_>,
) -> Option<News> {
    let cause = cause::of(stanza, own.as_str())?;
    let inner = cause::innermost(stanza);
    let from = inner.get("from").and_then(|from| Jid::parse(from).ok())?;
    let body = inner.leaf_text("body").unwrap_or_default();
    let groupchat = inner.get("type") == Some("groupchat");
    if cause == Cause::Message && !chats::wants(account, own, &from, inner, ctx) {
        return None;
    }
    let is_contact = roster::item(&ctx.store(), account, from.bare_str()).is_some();
    let told = Told { from: &from, is_contact, groupchat, body: &body };
    let wish = Wish::of(registration);
    if !wish.allows(&told) {
        return None;
    }
    let said = wish.seal().map(|_| Box::new(Said::of(inner, &from, &cause)));
    Some(News { cause, said })
}

/// The account's registrations whose device is not connected, if there are any; and where it is.
fn away(jid: &Jid, ctx: &mut Ctx<'_>) -> Option<(AccountId, Vec<(Registration, Whereabouts)>)> {
    if ctx.sessions().online(jid.bare_str()).is_some_and(|online| !online.lists.pushes) {
        return None;
    }
    let account = ctx.account(jid)?;
    let all = push::list(&ctx.store(), account).into_iter();
    let all = all.map(|registration| {
        let place = whereabouts(ctx.sessions(), jid.bare_str(), &registration, ctx.now);
        (registration, place)
    });
    let away: Vec<_> = all.filter(|(_, place)| *place != Whereabouts::Here).collect();
    if away.is_empty() {
        if let Some(online) = ctx.core.sessions.online_mut(jid.bare_str()) {
            online.lists.pushes = false;
        }
        return None;
    }
    Some((account, away))
}

/// Something changed for a session or a registration of this account: the next message looks who is there.
fn may_be_away(bare: &str, ctx: &mut Ctx<'_>) {
    if let Some(online) = ctx.core.sessions.online_mut(bare) {
        online.lists.pushes = true;
    }
}

#[cfg(test)]
mod tests;
