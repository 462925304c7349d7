//! How often a device is woken, and what its push service is told.
//!
//! Source: XEP-0357 v0.4.1 §7. Invariant: between two notifications of messages to one device that does not come there is a
//! pause, each twice as long as the one before up to [`limits::PUSH_PAUSE_MS_MAX`]; nothing is lost in it but the number.

use std::rc::Rc;

use super::{
    Push,
    cause::Cause,
    sealed::Said,
    wish::{self, Wish},
};
use crate::{
    domain::{
        ids::{AccountId, Time},
        push::{self, Registration},
        roster,
    },
    limits,
    router::{
        context::Ctx,
        service::{Flow, Leg},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind},
        form::{Field, Form, FormType},
        jid::Jid,
        ns,
        stanza::{Stanza, Type},
    },
};

/// Account, push service and node.
pub(super) type Key = (AccountId, Rc<str>, Rc<str>);

/// Something to tell a device.
#[derive(Debug)]
pub(super) struct News {
    /// Why it is woken.
    pub cause: Cause,
    /// What was said, if the device has a seal.
    pub said: Option<Box<Said>>,
}

/// A device that was woken.
#[derive(Debug)]
pub(super) struct Woken {
    pub(super) registration: Registration,
    /// The bare address of its account.
    account: Jid,
    /// The id of the last request, until it is answered.
    asked: Option<Box<str>>,
    /// Woken last at this time.
    last: Time,
    /// Not woken again before this; a call does not wait for it.
    next: Time,
    /// How long after the next time that will be.
    pause_ms: u64,
    /// Not woken for a call before this.
    next_call: Time,
    /// There is something to tell at `next`.
    waits: Option<News>,
    /// Messages and calls since the device was here.
    messages: u32,
}

/// Where what is known of a registration stands.
pub(super) fn key(account: AccountId, registration: &Registration) -> Key {
    (account, registration.service.as_str().into(), registration.node.as_str().into())
}

impl Push {
    /// Wakes a device now, or later if it was woken a moment ago.
    pub(super) fn wake(
        &mut self,
        (account, own): (AccountId, &Jid),
        registration: &Registration,
        news: News,
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
            last: ctx.now,
            next: ctx.now,
            pause_ms: limits::PUSH_PAUSE_MS,
            next_call: ctx.now,
            waits: None,
            messages: 0,
        });
        woken.messages = woken.messages.saturating_add(messages);
        let is_due = match news.cause {
            Cause::Call(_) => ctx.now >= woken.next_call,
            _ => ctx.now >= woken.next,
        };
        if is_due {
            return self.publish(&key, &news, true, ctx);
        }
        if !matches!(woken.waits, Some(News { cause: Cause::Call(_), .. })) {
            woken.waits = Some(news);
        }
        ctx.chores_at(woken.next);
    }

    /// What is known of a device that was woken before this time is over.
    pub(super) fn forget_before(&mut self, at: Time, key: &Key) {
        if self.woken.get(key).is_some_and(|woken| woken.last < at) {
            self.woken.remove(key);
        }
    }

    /// Of how many messages a device was told, or will be, that has not come.
    pub(super) fn told_of(&self, key: &Key) -> u32 {
        self.woken.get(key).map_or(0, |woken| woken.messages)
    }

    /// What had to wait has waited long enough.
    pub(super) fn remind(&mut self, ctx: &mut Ctx<'_>) {
        let waiting = self.woken.iter().filter(|(_, woken)| woken.waits.is_some());
        let (due, later): (Vec<_>, Vec<_>) =
            waiting.map(|(key, woken)| (key.clone(), woken.next)).partition(|(_, at)| *at <= ctx.now);
        for (key, _) in due {
            // It was signed out since, or its password is another one.
            let known = push::list(&ctx.store(), key.0);
            if !known.iter().any(|own| (&*own.service, &*own.node) == (&*key.1, &*key.2)) {
                self.woken.remove(&key);
                continue;
            }
            if let Some(news) = self.woken.get_mut(&key).and_then(|woken| woken.waits.take()) {
                self.publish(&key, &news, false, ctx);
            }
        }
        if let Some(at) = later.into_iter().map(|(_, at)| at).min() {
            ctx.chores_at(at);
        }
    }

    /// §7. `is_new`: what it is about is not among the account's facts yet.
    fn publish(&mut self, key: &Key, news: &News, is_new: bool, ctx: &mut Ctx<'_>) {
        let iv = ctx.random();
        let Some(woken) = self.woken.get_mut(key) else { return };
        let Ok(service) = Jid::parse(&woken.registration.service) else { return };
        let id = ctx.token();
        woken.asked = Some(id.as_str().into());
        woken.last = ctx.now;
        woken.next = ctx.now.plus_ms(woken.pause_ms);
        woken.next_call = ctx.now.plus_ms(limits::PUSH_CALL_PAUSE_MS);
        woken.pause_ms = (2 * woken.pause_ms).min(limits::PUSH_PAUSE_MS_MAX);
        woken.waits = None;
        let requests = match news.cause {
            Cause::Request => roster::requests(&ctx.store(), key.0).len() + usize::from(is_new),
            _ => 0,
        };
        let wish = Wish::of(&woken.registration);
        let notification = notification(&wish, news, iv, (woken.messages, requests));
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
    pub(super) fn answered(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Flow {
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

/// Whether an error is one that the push service means, and will mean tomorrow.
fn is_final(stanza: &Stanza) -> bool {
    let Some(error) = stanza.find("error", ns::CLIENT) else { return true };
    let says = |condition: Condition| error.find(condition.as_str(), ns::STANZA_ERRORS).is_some();
    // Whoever could not reach it speaks in its name (RFC 6120 §8.3.3.16 and §8.3.3.17).
    let unreached = says(Condition::RemoteServerNotFound) || says(Condition::RemoteServerTimeout);
    error.get("type") != Some(ErrorKind::Wait.as_str()) && !unreached
}

/// What a push service is told, and how many messages and requests there are.
fn notification(wish: &Wish, news: &News, iv: [u8; 12], (messages, requests): (u32, usize)) -> Element {
    let sealed = wish.seal().zip(news.said.as_ref()).and_then(|(seal, said)| seal.seal(said, messages, iv));
    let told = sealed.unwrap_or_else(|| summary(&news.cause, messages, requests));
    let mut notification = Element::new("notification", ns::PUSH).child(told);
    if wish.wants_priority() {
        notification = notification.child(Element::new("priority", wish::PRIORITY).text("high"));
    }
    if let (Cause::Call(Some(call)), true) = (&news.cause, wish.wants_calls()) {
        notification = notification.child(call.clone());
    }
    notification
}

/// The summary of §7. The text stands for any text: services take a notification without one for something that need not be
/// shown. Nobody learns who wrote, or what.
fn summary(cause: &Cause, messages: u32, requests: usize) -> Element {
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
    summary.element()
}
