//! What a device asks for when it registers: the form of its push service, and what it does not want to be woken for.
//!
//! Source: XEP-0357 v0.4.1 §5 for the form. The filters are those by the makers of the iOS client Siskin, at
//! xeps.tigase.net/docs/push-notifications: `tigase:push:filter:*`, `tigase:push:priority:0`, `tigase:push:jingle:0`.

use super::sealed::{ENCRYPT, Seal};
use crate::{
    domain::push::Registration,
    limits,
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        form::{Form, FormType},
        jid::Jid,
        ns,
    },
};

/// Senders who are not contacts wake nobody.
pub const IGNORE_UNKNOWN: &str = "tigase:push:filter:ignore-unknown:0";
/// These senders wake nobody.
pub const MUTED: &str = "tigase:push:filter:muted:0";
/// Only these rooms wake anybody.
pub const GROUPCHAT: &str = "tigase:push:filter:groupchat:0";
/// Notifications say how urgent they are.
pub const PRIORITY: &str = "tigase:push:priority:0";
/// Notifications of calls say that they are.
pub const JINGLE: &str = "tigase:push:jingle:0";

/// What there is to tell, as far as a wish depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Who sent it.
    pub from: &'a Jid,
    /// Whether the sender is in the roster.
    pub is_contact: bool,
    /// It was said in a room.
    pub groupchat: bool,
    /// What was said, if it can be read.
    pub body: &'a str,
}

/// An `<enable/>` of which only that is left which means something here.
///
/// # Errors
/// `bad-request` if its form is none or its key cannot be used, `policy-violation` if it is larger than [`limits::PUSH_WISH_BYTES_MAX`].
pub fn read(enable: &Element) -> Result<Vec<u8>, StanzaError> {
    let mut kept = Element::new("enable", ns::PUSH);
    if let Some(form) = options(enable)? {
        kept = kept.child(form);
    }
    if enable.find("encrypt", ENCRYPT).is_some_and(|encrypt| Seal::read(encrypt).is_none()) {
        return Err(StanzaError::new(Condition::BadRequest).text("This key is not one for AES-128 in GCM mode."));
    }
    let meaningful = |child: &&Element| {
        let known = [("ignore-unknown", IGNORE_UNKNOWN), ("muted", MUTED), ("groupchat", GROUPCHAT)];
        let known = known.iter().chain(&[("priority", PRIORITY), ("jingle", JINGLE), ("encrypt", ENCRYPT)]);
        known.clone().any(|(name, ns)| child.is(name, ns))
    };
    let kept = kept.with(enable.children().filter(meaningful).cloned());
    let mut out = Vec::with_capacity(256);
    kept.write(ns::CLIENT, &mut out);
    match out.len() <= limits::PUSH_WISH_BYTES_MAX {
        true => Ok(out),
        false => Err(StanzaError::new(Condition::PolicyViolation).text("This is more than is kept for a device.")),
    }
}

/// The form that goes along with every notification.
fn options(enable: &Element) -> Result<Option<Element>, StanzaError> {
    let form = Form::find_in(enable)?;
    Ok(form.map(|form| Form { kind: FormType::Submit, ..form }.element()))
}

/// What a device asked for.
#[derive(Debug)]
pub struct Wish(Element);

impl Wish {
    /// That of a registration; one that cannot be read asks for nothing.
    pub fn of(registration: &Registration) -> Wish {
        let element = Element::parse(&registration.wish, ns::CLIENT);
        Wish(element.unwrap_or_else(|_| Element::new("enable", ns::PUSH)))
    }

    /// The form for `<publish-options/>`.
    pub fn options(&self) -> Option<&Element> {
        self.0.find("x", ns::DATA)
    }

    /// The key under which it wants to know what was said.
    pub fn seal(&self) -> Option<Seal> {
        self.0.find("encrypt", ENCRYPT).and_then(Seal::read)
    }

    /// Whether it wants to know how urgent a notification is.
    pub fn wants_priority(&self) -> bool {
        self.0.find("priority", PRIORITY).is_some()
    }

    /// Whether it wants to know of calls as such.
    pub fn wants_calls(&self) -> bool {
        self.0.find("jingle", JINGLE).is_some()
    }

    /// Whether the device wants to be woken for this.
    pub fn allows(&self, told: &Told<'_>) -> bool {
        let from = told.from.bare_str();
        let is_from = |child: &&Element| {
            child.get("jid").and_then(|jid| Jid::parse(jid).ok()).is_some_and(|jid| jid.as_str() == from)
        };
        if self.0.find("muted", MUTED).is_some_and(|muted| muted.children().any(|item| is_from(&item))) {
            return false;
        }
        if told.groupchat {
            let Some(rooms) = self.0.find("groupchat", GROUPCHAT) else { return true };
            return match rooms.children().find(is_from).map(|room| (room.get("allow"), room.get("nick"))) {
                Some((Some("always"), _)) => true,
                Some((Some("mentioned"), Some(nick))) => mentions(told.body, nick),
                _ => false,
            };
        }
        told.is_contact || self.0.find("ignore-unknown", IGNORE_UNKNOWN).is_none()
    }
}

/// Whether somebody is called by name.
pub fn mentions(body: &str, nick: &str) -> bool {
    let is_word = |end: Option<char>| end.is_some_and(char::is_alphanumeric);
    !nick.is_empty()
        && body
            .match_indices(nick)
            .any(|(at, _)| !is_word(body[..at].chars().next_back()) && !is_word(body[at + nick.len()..].chars().next()))
}
