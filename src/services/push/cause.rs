//! What a device is woken for.
//!
//! Source: the rule of `router/urgency.rs`, without what its owner did and what somebody is waiting for; XEP-0353 v0.7.0
//! and XEP-0166 §6.2 for calls. Invariant: nothing that is said goes to a push service, only that something was.

use crate::{
    limits,
    router::urgency::{self, Urgency},
    wire::{element::Element, jid::Jid, ns},
};

/// Why a device is woken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Somebody said something.
    Message,
    /// Somebody calls, and waits for an answer; what to tell of the call ([`super::wish::JINGLE`]).
    Call(Option<Element>),
    /// Somebody asks for a subscription.
    Request,
}

impl Cause {
    /// The higher, the more pressing.
    pub fn rank(&self) -> u8 {
        match self {
            Cause::Request => 0,
            Cause::Message => 1,
            Cause::Call(_) => 2,
        }
    }
}

/// Why a stanza would wake the device that does not get it, if it would. `own`: the bare address of the device's account.
pub fn of(stanza: &Element, own: &str) -> Option<Cause> {
    let from = stanza.get("from").and_then(|from| Jid::parse(from).ok());
    if from.as_ref().is_none_or(|from| from.bare_str() == own) && stanza.find("received", ns::CARBONS).is_none() {
        return None;
    }
    match (stanza.name.as_ref(), stanza.get("type")) {
        ("presence", Some("subscribe")) => Some(Cause::Request),
        ("iq", Some("set")) => {
            let jingle = stanza.find("jingle", ns::JINGLE)?;
            (jingle.get("action") == Some("session-initiate")).then_some(Cause::Call(None))
        }
        ("message", Some("error" | "headline")) => None,
        ("message", _) => of_message(stanza, own),
        _ => None,
    }
}

fn of_message(message: &Element, own: &str) -> Option<Cause> {
    if let Some(received) = message.find("received", ns::CARBONS) {
        // From oneself only, or it would be cut on the way; the copy itself is judged.
        let inner = received.find("forwarded", ns::FORWARD)?.find("message", ns::CLIENT)?;
        return if inner.find("received", ns::CARBONS).is_some() { None } else { of(inner, own) };
    }
    if message.children().any(|child| {
        matches!((child.ns.as_ref(), child.name.as_ref()), (ns::MAM, "result" | "fin") | (ns::CARBONS, "sent"))
    }) {
        return None;
    }
    let is_read = message.children().any(|child| child.is("body", ns::CLIENT));
    if let Some(call) = message.children().find(|child| child.ns == ns::JINGLE_MESSAGE).filter(|_| !is_read) {
        // Whoever is not there cannot stop ringing.
        return (call.name == "propose").then(|| Cause::Call(Some(told(call))));
    }
    match urgency::of_stanza(message) {
        Urgency::Now => Some(Cause::Message),
        Urgency::Later(_) => None,
    }
}

/// A call as its client is told of it.
fn told(call: &Element) -> Element {
    let media = call.children().filter(|child| child.is("description", ns::JINGLE_RTP));
    // A stranger's words, kept while the device is not to be woken and sent to its push service.
    let is_short = |text: &&str| text.len() <= limits::PUSH_TEXT_BYTES;
    let media = media.filter_map(|description| description.get("media").filter(is_short).map(str::to_owned));
    let jingle = Element::new("jingle", super::wish::JINGLE).attr("action", call.name.clone());
    let jingle = jingle.attr_if("sid", call.get("id").filter(is_short));
    media.take(4).fold(jingle, |jingle, media| jingle.leaf("media", media))
}

/// The message that a copy carries, or the stanza itself.
pub fn innermost(stanza: &Element) -> &Element {
    let received = stanza.find("received", ns::CARBONS);
    let inner = received.and_then(|received| received.find("forwarded", ns::FORWARD)?.find("message", ns::CLIENT));
    inner.unwrap_or(stanza)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wakes(xml: &str) -> bool {
        of(&Element::parse(xml.as_bytes(), ns::CLIENT).unwrap(), "juliet@capulet.lit").is_some()
    }

    #[test]
    fn what_the_owner_does_elsewhere_wakes_nobody() {
        let copy = |way: &str, from: &str| {
            format!(
                "<message from='juliet@capulet.lit' to='juliet@capulet.lit/phone'><{way} xmlns='urn:xmpp:carbons:2'>\
                 <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='{from}' type='chat'>\
                 <body>x</body></message></forwarded></{way}></message>"
            )
        };
        assert!(wakes(&copy("received", "romeo@montague.lit/orchard")));
        assert!(!wakes(&copy("sent", "juliet@capulet.lit/desk")));
        assert!(!wakes("<message from='juliet@capulet.lit/desk' type='chat'><body>note to self</body></message>"));
    }

    #[test]
    fn answers_and_news_wake_nobody() {
        for xml in [
            "<message from='romeo@montague.lit/x' type='error'><body>x</body></message>",
            "<message from='romeo@montague.lit/x' type='headline'><body>x</body></message>",
            "<message from='rooms.capulet.lit'><result xmlns='urn:xmpp:mam:2' id='1'/></message>",
            "<iq from='romeo@montague.lit/x' type='get' id='1'><query xmlns='jabber:iq:version'/></iq>",
            "<presence from='romeo@montague.lit/x'/>",
        ] {
            assert!(!wakes(xml), "{xml}");
        }
    }
}
