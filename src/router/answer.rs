//! Answers to requests, and stanzas that go back with an error.
//!
//! Source: RFC 6120 §8.2.3 and §8.3. Invariant: nothing answers an error or a result.

use super::{
    core::{Core, Promise, Work},
    refusal::Refusal,
    service::{Leg, Notice, Origin, Reply},
};
use crate::{
    domain::sessions::Keep,
    wire::{
        build,
        element::Element,
        error::{Condition, StanzaError},
        framer, ns,
        stanza::{Chunk, Kind, Stanza, Type},
    },
};

/// A payload as elements.
fn elements(payload: Option<Vec<u8>>) -> Vec<Element> {
    let whole = payload.and_then(|payload| {
        let bytes = [b"<iq xmlns='jabber:client'>".as_slice(), &payload, b"</iq>"].concat();
        Element::parse(&bytes, ns::CLIENT).ok()
    });
    whole.map(|whole| whole.children().cloned().collect()).unwrap_or_default()
}

impl Core {
    /// Sends the one answer to an IQ. `waits`: it tells of writes that are not durable yet.
    pub fn answer(&mut self, origin: &Origin, outcome: Result<Reply, StanzaError>, waits: bool) {
        let (ty, payload) = match outcome {
            Ok(Reply::Later | Reply::For(..)) => return,
            Ok(Reply::Empty) => ("result", None),
            Ok(Reply::Result(element)) => ("result", Some(element.to_vec())),
            Ok(Reply::Serialised(bytes)) => ("result", Some(bytes)),
            Err(error) => {
                let mut payload = error.beside.as_ref().map(|beside| beside.to_vec()).unwrap_or_default();
                payload.append(&mut error.element().to_vec());
                ("error", Some(payload))
            }
        };
        if self.is_elsewhere(&origin.from) {
            return self.answer_out(origin, ty, payload, waits);
        }
        let Some(session) = self.session_at(&origin.from) else { return self.answer_house(origin, ty, payload, waits) };
        let mut out = Vec::with_capacity(256);
        open_tag(Kind::Iq, ty, origin, &mut out);
        match payload {
            Some(payload) => {
                out.push(b'>');
                out.extend_from_slice(&payload);
                out.extend_from_slice(b"</iq>");
            }
            None => out.extend_from_slice(b"/>"),
        }
        let chunk = Chunk::new(out);
        let batch = self.last_batch();
        if waits && batch > self.committed {
            self.promises.push_back((batch, Promise::Answer(session, origin.clone())));
            self.deliver_after(session, batch, chunk, Keep::Nothing);
        } else {
            self.deliver(session, chunk, Keep::Nothing);
        }
    }

    /// The answer to somebody elsewhere. What tells of writes waits for them, as for our own.
    fn answer_out(&mut self, origin: &Origin, ty: &'static str, payload: Option<Vec<u8>>, waits: bool) {
        let Some(to) = &origin.to else { return };
        let id = framer::unescape(&origin.id).into_owned();
        let iq = Element::new("iq", ns::CLIENT).attr("type", ty).attr("id", id).with(elements(payload));
        let answer = Stanza::build(&iq, to.clone(), Some(origin.from.clone()));
        let batch = self.last_batch();
        if waits && batch > self.committed {
            self.answers_out.push_back((batch, origin.clone(), answer));
        } else {
            self.work.push(Work::Route(Leg::Inbound, answer));
        }
    }

    /// Sends the answers to requests from elsewhere that waited for batches which are durable now.
    pub fn send_answers_out(&mut self) {
        while let Some((_, _, answer)) = self.answers_out.pop_front_if(|(batch, ..)| *batch <= self.committed) {
            self.work.push(Work::Route(Leg::Inbound, answer));
        }
    }

    /// The disk refused these batches and all later ones: whoever asked from elsewhere learns that it was not done.
    pub fn refuse_answers_out(&mut self, batch: u64, error: &StanzaError) {
        let waiting = std::mem::take(&mut self.answers_out);
        let (kept, broken): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(promised, ..)| *promised < batch);
        self.answers_out.extend(kept);
        for (_, origin, _) in broken {
            self.answer(&origin, Err(error.clone()), false);
        }
    }

    /// The answer of one service to another one that asked in the name of an account or of a host: it goes to whoever of them
    /// looks at answers (`Kind::Iq`, `Leg::Inbound`, `Phase::Deliver`), as if it had come from elsewhere.
    fn answer_house(&mut self, origin: &Origin, ty: &'static str, payload: Option<Vec<u8>>, waits: bool) {
        let is_ours = origin.from.is_bare() && self.config.serves(origin.from.domain());
        let is_hosted = self.hosts.contains_key(origin.from.domain());
        let Some(to) = origin.to.clone().filter(|_| is_ours || is_hosted) else { return };
        let id = framer::unescape(&origin.id).into_owned();
        let iq = Element::new("iq", ns::CLIENT).attr("type", ty).attr("id", id).with(elements(payload));
        let answer = Stanza::build(&iq, to, Some(origin.from.clone()));
        let batch = self.last_batch();
        // Whoever has somebody else ask relies on the answer as they would.
        if waits && batch > self.committed && self.components.awaits(&origin.id) {
            self.answers_out.push_back((batch, origin.clone(), answer));
        } else {
            self.work.push(Work::Route(Leg::Inbound, answer));
        }
    }

    /// Returns a stanza to its sender with an error; never an error for an error or a result (RFC 6120 §8.3.1).
    pub fn bounce(&mut self, stanza: &Stanza, error: &StanzaError) {
        if matches!(stanza.ty, Type::Error | Type::Result) {
            return;
        }
        if stanza.kind == Kind::Iq {
            log::debug!("{}", Refusal(stanza, error));
        }
        // A host's own: what a room passed on, and nobody took. What a component asked in an account's name is answered.
        let is_errand = || stanza.kind == Kind::Iq && stanza.id_raw().is_some_and(|id| self.components.awaits(id));
        if self.is_elsewhere(&stanza.from) || self.hosts.contains_key(stanza.from.domain()) || is_errand() {
            return self.work.push(Work::Route(Leg::Inbound, stanza.returned(error)));
        }
        // What its sender's other devices and archive know of it, they shall know whole.
        if stanza.kind == Kind::Message && self.sessions.full(&stanza.from).is_some() {
            self.work.push(Work::Notice(Notice::Bounced(Box::new(stanza.clone()), error.clone())));
        }
        let origin =
            Origin { from: stanza.from.clone(), to: stanza.to.clone(), id: stanza.id_raw().unwrap_or_default().into() };
        let mut out = Vec::with_capacity(256);
        open_tag(stanza.kind, "error", &origin, &mut out);
        out.push(b'>');
        error.element().write(ns::CLIENT, &mut out);
        out.extend_from_slice(b"</");
        out.extend_from_slice(stanza.kind.as_str().as_bytes());
        out.push(b'>');
        // A bare sender (presence subscriptions) is answered at all its sessions that could have asked. A request from there
        // is the server's own; that nobody got it tells its service nothing about who was to get it.
        let chunk = Chunk::new(out);
        if let Some(session) = self.session_at(&stanza.from) {
            self.deliver(session, chunk, Keep::Nothing);
        } else if stanza.from.is_bare() && stanza.kind != Kind::Iq {
            let ids: Vec<_> = self.sessions.of(stanza.from.as_str()).map(|(id, _)| id).collect();
            for id in ids {
                self.deliver(id, chunk.clone(), Keep::Nothing);
            }
        }
    }
}

/// Writes `<kind type='…' from='…' to='…' id='…'`; the id is already escaped for one kind of quote, so the other is
/// escaped here.
fn open_tag(kind: Kind, ty: &str, origin: &Origin, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(kind.as_str().as_bytes());
    out.extend_from_slice(b" type='");
    out.extend_from_slice(ty.as_bytes());
    out.push(b'\'');
    if let Some(to) = &origin.to {
        build::attr("from", to.as_str(), out);
    }
    build::attr("to", origin.from.as_str(), out);
    if !origin.id.is_empty() {
        out.extend_from_slice(b" id='");
        for part in origin.id.split_inclusive('\'') {
            match part.strip_suffix('\'') {
                Some(before) => {
                    out.extend_from_slice(before.as_bytes());
                    out.extend_from_slice(b"&apos;");
                }
                None => out.extend_from_slice(part.as_bytes()),
            }
        }
        out.push(b'\'');
    }
}

/// The answer to an IQ that nobody handles, RFC 6120 §8.4 and RFC 6121 §8.5.2.1.3.
pub const UNHANDLED: StanzaError = StanzaError::new(Condition::ServiceUnavailable);
