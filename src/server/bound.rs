//! Stanzas and acknowledgements of a bound session, RFC 6120 §8 and §10, XEP-0198 §4.

use super::{Server, context, negotiate::namespace, nonza, resume::failed};
use crate::{
    domain::ids::{SessionId, StreamId},
    router::{core::Promise, event::Env},
    wire::{
        element::Element,
        error::{Condition, StreamCondition, StreamError},
        jid::Jid,
        ns,
        stanza::{AttrName, Chunk, Kind, NsRef, Outline, Stanza, Type, slice},
    },
};

impl Server {
    /// One top-level element of a bound stream.
    pub(super) fn bound_element(
        &mut self,
        env: &mut Env<'_>,
        stream: StreamId,
        session: SessionId,
        bytes: &[u8],
        outline: &mut Outline,
    ) {
        if outline.ns == NsRef::Content {
            return self.stanza(env, stream, session, bytes, outline);
        }
        if namespace(bytes, outline) == ns::SM {
            return self.sm(env, stream, session, bytes, outline);
        }
        // XEP-0352 §3.2. There is no answer.
        match (namespace(bytes, outline), slice(bytes, &outline.name)) {
            (ns::CSI, "active") => return self.core.hold_nothing_back_from(session),
            (ns::CSI, "inactive") => return self.core.hold_back_from(session),
            _ => {}
        }
        // RFC 6120 §4.9.3.24.
        self.fail(env, stream, StreamCondition::UnsupportedStanzaType.into());
    }

    fn stanza(&mut self, env: &mut Env<'_>, stream: StreamId, id: SessionId, bytes: &[u8], outline: &mut Outline) {
        if Kind::from_name(slice(bytes, &outline.name)).is_none() {
            return self.fail(env, stream, StreamCondition::UnsupportedStanzaType.into());
        }
        let Some(session) = self.core.sessions.session(id) else { return };
        let own = session.jid.clone();
        if !own_from(bytes, outline, &own) {
            // RFC 6120 §8.1.2.1 and §4.9.3.9 (S26).
            return self.fail(env, stream, StreamCondition::InvalidFrom.into());
        }
        let (to, malformed) = match address(bytes, outline, AttrName::To) {
            None => (None, false),
            Some(Ok(to)) => (Some(to), false),
            Some(Err(())) => (None, true),
        };
        let lang = match outline.attrs.iter().any(|attr| attr.name == AttrName::Lang) {
            true => None,
            false => self.streams.slot(stream).and_then(|slot| slot.lang.clone()),
        };
        let Some(mut stanza) = Stanza::read(bytes, std::mem::take(outline), own, to) else { return };
        stanza.lang = lang;
        self.core.counters.stanzas += 1;
        let before = self.core.overlay.puts();
        if malformed {
            // RFC 6120 §8.3.3.8.
            self.core.bounce(&stanza, &Condition::JidMalformed.into());
        } else {
            // What a client must hear of if it comes to nothing: messages and subscriptions.
            let is_subscription =
                matches!(stanza.ty, Type::Subscribe | Type::Subscribed | Type::Unsubscribe | Type::Unsubscribed);
            let promise = (stanza.kind == Kind::Message || is_subscription).then(|| stanza.clone());
            self.router.outbound(stanza, Some(id), &mut context(&mut self.core, env));
            self.work(env);
            self.promise(before, promise);
        }
        // A stanza that writes nothing may rely on what was written before it, by whomever.
        let batch = self.core.last_batch();
        let batch = (batch > self.core.committed).then_some(batch);
        if let Some(sm) = self.core.sessions.session_mut(id).and_then(|session| session.sm.as_mut()) {
            sm.received(batch);
        }
        if self.core.overlay.puts() != before {
            self.hold_if_behind(stream);
        }
    }

    /// Remembers who must hear of it if the disk refuses what this stanza wrote.
    fn promise(&mut self, before: u64, stanza: Option<Stanza>) {
        if let Some(stanza) = stanza
            && self.core.overlay.puts() != before
        {
            self.core.promises.push_back((self.core.open_batch, Promise::Stanza(stanza)));
        }
    }

    /// A nonza of stream management.
    fn sm(&mut self, env: &mut Env<'_>, stream: StreamId, id: SessionId, bytes: &[u8], outline: &Outline) {
        let committed = self.core.committed;
        let Some(session) = self.core.sessions.session_mut(id) else { return };
        match (slice(bytes, &outline.name), &mut session.sm) {
            ("enable", _) => {
                if let Ok(enable) = Element::parse(bytes, ns::CLIENT) {
                    self.enable(env, stream, id, &enable);
                }
            }
            ("r", Some(sm)) if sm.is_settled(committed) => {
                let ack = nonza(sm, committed);
                self.core.write(stream, Chunk::new(ack));
            }
            ("r", Some(sm)) => {
                // The answer waits for the disk; one answer serves all requests until then.
                if !sm.owes_ack {
                    sm.owes_ack = true;
                    self.durable.owing.push_back(id);
                }
            }
            ("a", Some(_)) => match attribute(bytes, outline, "h").and_then(|h| h.parse().ok()) {
                Some(h) => {
                    self.acknowledge(env, stream, id, h);
                    self.core.backlog_moves(id);
                }
                None => {
                    let error =
                        StreamError::new(StreamCondition::UndefinedCondition).text("An ack needs a number 'h'.");
                    self.fail(env, stream, error);
                }
            },
            _ => self.core.write(stream, failed(Condition::UnexpectedRequest, None)),
        }
    }
}

/// Whether the stanza's `from`, if any, is the session's own full or bare address.
fn own_from(bytes: &[u8], outline: &Outline, own: &Jid) -> bool {
    match address(bytes, outline, AttrName::From) {
        None => true,
        Some(Ok(from)) => from == *own || (from.is_bare() && from.as_str() == own.bare_str()),
        Some(Err(())) => false,
    }
}

/// An address from the opening tag; `Err`: there is one and it is malformed.
pub(super) fn address(bytes: &[u8], outline: &Outline, name: AttrName) -> Option<Result<Jid, ()>> {
    let attr = outline.attrs.iter().find(|attr| attr.name == name)?;
    let raw = slice(bytes, &attr.value);
    if raw.contains('&') {
        // References are rare in addresses; the tree reads them.
        let key = if name == AttrName::To { "to" } else { "from" };
        let element = Element::parse(bytes, ns::CLIENT).ok();
        let value = element.as_ref().and_then(|element| element.get(key)).unwrap_or_default();
        return Some(Jid::parse(value).map_err(drop));
    }
    Some(Jid::parse(raw).map_err(drop))
}

/// The raw value of an attribute that the outline does not know by name.
fn attribute<'a>(bytes: &'a [u8], outline: &Outline, name: &str) -> Option<&'a str> {
    outline.attrs.iter().find_map(|attr| {
        let written = slice(bytes, &(attr.whole.start..attr.value.start)).trim_start();
        let key = written.split(['=', ' ', '\t', '\r', '\n']).next()?;
        (key == name).then(|| slice(bytes, &attr.value))
    })
}
