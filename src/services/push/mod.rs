//! Wakes devices whose clients are not connected, through the push services of their makers.
//!
//! Source: XEP-0357 v0.4.1, XEP-0492 v0.2.0, and the filters named in [`wish`]. A registration is a fact
//! ([`crate::domain::push`]); here is who is woken, when, and how often. Invariants: nothing that was said leaves the house,
//! nor who said it; a device that is connected is not woken; one that is woken and does not come is woken ever more
//! seldom; and only the push service itself ends a registration by an error, not whoever failed to reach it.

mod cause;
mod chats;
mod wish;

use std::{collections::BTreeMap, rc::Rc};

use self::{
    cause::Cause,
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
        error::{Condition, ErrorKind, StanzaError},
        form::{Field, Form, FormType},
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

/// Account, push service and node.
type Key = (AccountId, Rc<str>, Rc<str>);

/// A device that was woken.
#[derive(Debug)]
struct Woken {
    registration: Registration,
    /// The bare address of its account.
    account: Jid,
    /// The id of the last request, until it is answered.
    asked: Option<Box<str>>,
    /// Not woken again before this; a call does not wait for it.
    next: Time,
    /// How long after the next time that will be.
    pause_ms: u64,
    /// Not woken for a call before this.
    next_call: Time,
    /// There is something to tell at `next`.
    waits: Option<Cause>,
    /// Messages and calls since the device was here.
    messages: u32,
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
            Notice::SessionWaits(id) => self.left(*id, ctx),
            // Nobody will resume it, and what it has not acknowledged waits for the device.
            Notice::SessionEnding(id) => {
                let is_lost = |id| {
                    let session = ctx.sessions().session(id)?;
                    Some(session.sm.as_ref()?.token.is_none() && session.stream.is_none())
                };
                if is_lost(*id) == Some(true) {
                    self.left(*id, ctx);
                }
            }
            Notice::AccountRemoved(account, _) => self.woken.retain(|(owner, ..), _| owner != account),
            Notice::Chores => self.remind(ctx),
            // `Notice::Returned`: nobody reached the push service, which says nothing about the registration.
            _ => {}
        }
    }
}

fn key(account: AccountId, registration: &Registration) -> Key {
    (account, registration.service.as_str().into(), registration.node.as_str().into())
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
        if let Some(online) = ctx.core.sessions.online_mut(iq.from.bare_str()) {
            online.lists.pushes = true;
        }
        if let Some(session) = iq.session.and_then(|id| ctx.core.sessions.session_mut(id))
            && session.hold_s == usual_s
        {
            // Not if its client wanted less. Whoever is woken may take longer to come back.
            session.hold_s = hold_s.max(usual_s);
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

    fn forget(&mut self, account: AccountId, registration: &Registration, ctx: &mut Ctx<'_>) {
        push::remove(&mut ctx.store(), account, &registration.service, &registration.node);
        self.woken.remove(&key(account, registration));
    }
}

// What happens to the account.
impl Push {
    /// A message is about to be delivered, or kept.
    fn message(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let Some(to) = stanza.to.clone() else { return Flow::Continue };
        let Some((account, registrations)) = registrations(&to, ctx) else { return Flow::Continue };
        if stanza.has("pubsub", ns::PUBSUB) && self.is_put_out(stanza, account, &registrations, ctx) {
            return Flow::Taken("a push service wants no more");
        }
        let targets = match reach(stanza, &to, ctx) {
            Reach::Sessions(targets) => Some(targets),
            Reach::Nobody => None,
            Reach::Refused | Reach::Dropped(_) => return Flow::Continue,
        };
        let traits = stanza.traits();
        // What nobody else gets a copy of is of no use to a device that it is not for.
        let is_for_one = traits.private || stanza.ty == Type::Groupchat || traits.room && !stanza.from.is_bare();
        let away = registrations.into_iter().filter(|registration| {
            match (whereabouts(ctx.sessions(), to.bare_str(), registration), &targets) {
                (Whereabouts::Here, _) => false,
                (_, None) => true,
                (Whereabouts::Hibernating(id), Some(targets)) => !is_for_one || targets.contains(&id),
                (Whereabouts::Gone, Some(_)) => !is_for_one,
            }
        });
        let away: Vec<_> = away.collect();
        self.told(account, &to, away, stanza, ctx);
        Flow::Continue
    }

    /// Somebody asks for a subscription (RFC 6121 §3.1.3).
    fn request(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) {
        let Some(to) = stanza.to.clone() else { return };
        let Some((account, mut registrations)) = registrations(&to, ctx) else { return };
        let state = roster::state(&ctx.store(), account, stanza.from.bare_str());
        if state.from || state.pending_in || state.approved {
            return;
        }
        registrations.retain(|own| whereabouts(ctx.sessions(), to.bare_str(), own) != Whereabouts::Here);
        self.told(account, &to, registrations, stanza, ctx);
    }

    /// A request to a session that hibernates: a call, perhaps.
    fn call(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) {
        if stanza.ty != Type::Set || !stanza.has("jingle", ns::JINGLE) {
            return;
        }
        let Some(to) = stanza.to.clone().filter(|to| !to.is_bare()) else { return };
        let Some((id, _)) = ctx.sessions().full(&to).filter(|(_, session)| session.stream.is_none()) else { return };
        let Some((account, mut registrations)) = registrations(&to, ctx) else { return };
        if !ctx.shows_presence(account, &stanza.from) {
            return;
        }
        let bare = to.bare_str();
        registrations.retain(|own| whereabouts(ctx.sessions(), bare, own) == Whereabouts::Hibernating(id));
        self.told(account, &to, registrations, stanza, ctx);
    }

    /// Wakes devices for a stanza, if it is worth it.
    fn told(&mut self, account: AccountId, to: &Jid, away: Vec<Registration>, stanza: &Stanza, ctx: &mut Ctx<'_>) {
        if away.is_empty() {
            return;
        }
        let Some(element) = stanza.element() else { return };
        let element = element.attr("from", stanza.from.as_str());
        let own = to.bare();
        for registration in away {
            if let Some(cause) = judge(account, &own, &registration, &element, ctx) {
                let messages = u32::from(cause != Cause::Request);
                self.wake((account, &own), &registration, cause, messages, ctx);
            }
        }
    }

    /// §8: the push service does not let the account publish any more.
    fn is_put_out(
        &mut self,
        stanza: &Stanza,
        account: AccountId,
        registrations: &[Registration],
        ctx: &mut Ctx<'_>,
    ) -> bool {
        let Some(pubsub) = stanza.find("pubsub", ns::PUBSUB) else { return false };
        let own = stanza.to.as_ref().map(Jid::bare_str);
        let is_out = pubsub.children().any(|child| {
            child.is("affiliation", ns::PUBSUB) && child.get("affiliation") == Some("none") && child.get("jid") == own
        });
        let node = pubsub.get("node").unwrap_or_default();
        let meant = registrations.iter().find(|own| own.service == stanza.from.as_str() && own.node == node);
        match meant.filter(|_| is_out) {
            Some(registration) => {
                self.forget(account, registration, ctx);
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

    /// A session was cut off: what it has not acknowledged is to be told to its device.
    fn left(&mut self, id: SessionId, ctx: &mut Ctx<'_>) {
        let Some(session) = ctx.sessions().session(id) else { return };
        let own = session.jid.bare();
        let Some((account, mut away)) = registrations(&own, ctx) else { return };
        let Some(session) = ctx.sessions().session(id) else { return };
        away.retain(|registration| registration.is_of(session));
        away.retain(|registration| whereabouts(ctx.sessions(), own.as_str(), registration) != Whereabouts::Here);
        if away.is_empty() {
            return;
        }
        let chunks = session.sm.iter().flat_map(|sm| sm.unacked().map(|(chunk, _)| chunk));
        let stanzas = chunks.filter_map(|chunk| {
            let mut bytes = Vec::with_capacity(chunk.len());
            chunk.write(&mut bytes);
            let stanza = Element::parse(&bytes, ns::CLIENT).ok()?;
            cause::of(&stanza, own.as_str()).is_some().then_some(stanza)
        });
        let stanzas: Vec<_> = stanzas.take(limits::PUSH_UNACKED_MAX).collect();
        for registration in away {
            let causes = stanzas.iter().filter_map(|stanza| judge(account, &own, &registration, stanza, ctx));
            let causes: Vec<_> = causes.collect();
            let messages = causes.iter().filter(|cause| **cause != Cause::Request).count() as u32;
            // The most pressing one is told.
            let Some(cause) = causes.into_iter().max_by_key(Cause::rank) else { continue };
            self.wake((account, &own), &registration, cause, messages, ctx);
        }
    }
}

// How often, and what.
impl Push {
    /// Wakes a device now, or later if it was woken a moment ago.
    fn wake(
        &mut self,
        (account, own): (AccountId, &Jid),
        registration: &Registration,
        cause: Cause,
        messages: u32,
        ctx: &mut Ctx<'_>,
    ) {
        let key = key(account, registration);
        if !self.woken.contains_key(&key) && self.woken.len() >= limits::PUSH_WOKEN_MAX {
            // Whoever is forgotten may be woken once too often.
            let longest = self.woken.iter().max_by_key(|(_, woken)| woken.pause_ms).map(|(key, _)| key.clone());
            longest.and_then(|key| self.woken.remove(&key));
        }
        let woken = self.woken.entry(key.clone()).or_insert_with(|| Woken {
            registration: registration.clone(),
            account: own.clone(),
            asked: None,
            next: ctx.now,
            pause_ms: limits::PUSH_PAUSE_MS,
            next_call: ctx.now,
            waits: None,
            messages: 0,
        });
        woken.messages = woken.messages.saturating_add(messages);
        let is_due = match cause {
            Cause::Call(_) => ctx.now >= woken.next_call,
            _ => ctx.now >= woken.next,
        };
        if is_due {
            return self.publish(&key, &cause, ctx);
        }
        if !matches!(woken.waits, Some(Cause::Call(_))) {
            woken.waits = Some(cause);
        }
        ctx.chores_at(woken.next);
    }

    /// What had to wait has waited long enough.
    fn remind(&mut self, ctx: &mut Ctx<'_>) {
        let waiting = self.woken.iter().filter(|(_, woken)| woken.waits.is_some());
        let (due, later): (Vec<_>, Vec<_>) =
            waiting.map(|(key, woken)| (key.clone(), woken.next)).partition(|(_, at)| *at <= ctx.now);
        for (key, _) in due {
            if let Some(cause) = self.woken.get_mut(&key).and_then(|woken| woken.waits.take()) {
                self.publish(&key, &cause, ctx);
            }
        }
        if let Some(at) = later.into_iter().map(|(_, at)| at).min() {
            ctx.chores_at(at);
        }
    }

    /// §7.
    fn publish(&mut self, key: &Key, cause: &Cause, ctx: &mut Ctx<'_>) {
        let Some(woken) = self.woken.get_mut(key) else { return };
        let Ok(service) = Jid::parse(&woken.registration.service) else { return };
        let id = ctx.token();
        woken.asked = Some(id.as_str().into());
        woken.next = ctx.now.plus_ms(woken.pause_ms);
        woken.next_call = ctx.now.plus_ms(limits::PUSH_CALL_PAUSE_MS);
        woken.pause_ms = (2 * woken.pause_ms).min(limits::PUSH_PAUSE_MS_MAX);
        woken.waits = None;
        let requests = match cause {
            Cause::Request => roster::requests(&ctx.store(), key.0).len() + 1,
            _ => 0,
        };
        let wish = Wish::of(&woken.registration);
        let notification = notification(&wish, cause, woken.messages, requests);
        let node = Some(woken.registration.node.as_str()).filter(|node| !node.is_empty());
        let item = Element::new("item", ns::PUBSUB).child(notification);
        let publish = Element::new("publish", ns::PUBSUB).attr_if("node", node).child(item);
        let options = wish.options().map(|form| Element::new("publish-options", ns::PUBSUB).child(form.clone()));
        let pubsub = Element::new("pubsub", ns::PUBSUB).child(publish).with(options);
        let iq = Element::new("iq", ns::CLIENT).attr("type", "set").attr("id", id).child(pubsub);
        let stanza = Stanza::build(&iq, woken.account.clone(), Some(service));
        ctx.send(Leg::Outbound, stanza);
    }

    /// The push service says what became of it (§7.1).
    fn answered(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let (Some(to), Some(id)) = (&stanza.to, stanza.id_raw()) else { return Flow::Continue };
        // Our ids hold nothing that would be escaped.
        let ours = self.woken.iter_mut().find(|(_, woken)| {
            woken.asked.as_deref() == Some(id)
                && woken.account.as_str() == to.bare_str()
                && woken.registration.service == stanza.from.as_str()
        });
        let Some(((account, ..), woken)) = ours else { return Flow::Continue };
        woken.asked = None;
        if stanza.ty == Type::Error && is_final(stanza) {
            let (account, registration) = (*account, woken.registration.clone());
            log::debug!("{} wants no notifications of {to} any more", registration.service);
            self.forget(account, &registration, ctx);
        }
        Flow::Taken("a push service's answer")
    }
}

/// Why this stanza wakes the device of a registration, if it does. `stanza` has its `from`.
fn judge(
    account: AccountId,
    own: &Jid,
    registration: &Registration,
    stanza: &Element,
    ctx: &mut Ctx<'_>,
) -> Option<Cause> {
    let cause = cause::of(stanza, own.as_str())?;
    let inner = cause::innermost(stanza);
    let from = inner.get("from").and_then(|from| Jid::parse(from).ok())?;
    let body = inner.leaf_text("body").unwrap_or_default();
    let groupchat = inner.get("type") == Some("groupchat");
    if cause == Cause::Message && !chats::wants(account, own, &from, groupchat, &body, ctx) {
        return None;
    }
    let is_contact = roster::item(&ctx.store(), account, from.bare_str()).is_some();
    let told = Told { from: &from, is_contact, groupchat, body: &body };
    Wish::of(registration).allows(&told).then_some(cause)
}

/// Whether an error is one that the push service means, and will mean tomorrow.
fn is_final(stanza: &Stanza) -> bool {
    let Some(error) = stanza.find("error", ns::CLIENT) else { return true };
    let says = |condition: Condition| error.find(condition.as_str(), ns::STANZA_ERRORS).is_some();
    // Whoever could not reach it speaks in its name (RFC 6120 §8.3.3.16 and §8.3.3.17).
    let unreached = says(Condition::RemoteServerNotFound) || says(Condition::RemoteServerTimeout);
    error.get("type") != Some(ErrorKind::Wait.as_str()) && !unreached
}

/// The account's registrations, if it has any.
fn registrations(jid: &Jid, ctx: &mut Ctx<'_>) -> Option<(AccountId, Vec<Registration>)> {
    if ctx.sessions().online(jid.bare_str()).is_some_and(|online| !online.lists.pushes) {
        return None;
    }
    let account = ctx.account(jid)?;
    let registrations = push::list(&ctx.store(), account);
    if registrations.is_empty() {
        if let Some(online) = ctx.core.sessions.online_mut(jid.bare_str()) {
            online.lists.pushes = false;
        }
        return None;
    }
    Some((account, registrations))
}

/// What a push service is told. The text stands for any text: services take a notification without one for something
/// that need not be shown. Nobody learns who wrote, or what.
fn notification(wish: &Wish, cause: &Cause, messages: u32, requests: usize) -> Element {
    let mut summary = Form::typed(FormType::Submit, ns::PUSH_SUMMARY);
    if messages > 0 {
        summary = summary.field(Field::plain("message-count", messages.to_string()));
    }
    if requests > 0 {
        summary = summary.field(Field::plain("pending-subscription-count", requests.to_string()));
    }
    if *cause != Cause::Request {
        summary = summary.field(Field::plain("last-message-body", "New message!"));
    }
    let mut notification = Element::new("notification", ns::PUSH).child(summary.element());
    if wish.wants_priority() {
        notification = notification.child(Element::new("priority", wish::PRIORITY).text("high"));
    }
    if let (Cause::Call(Some(call)), true) = (cause, wish.wants_calls()) {
        notification = notification.child(call.clone());
    }
    notification
}

#[cfg(test)]
mod tests;
