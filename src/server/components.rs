//! Streams of components: programs beside the server that speak for a domain of their own (XEP-0114).
//!
//! Source: XEP-0114 v1.6 §3; RFC 6120 §4.9.3 and §8.1 for what is refused. Invariants: nothing but the handshake is heard
//! before it; a component speaks for its one domain (S38); and one stream at most speaks for a domain.

use std::rc::Rc;

use super::{
    Server,
    bound::address,
    context,
    negotiate::{Next, State},
    random_id,
    streams::Slot,
};
use crate::{
    domain::ids::StreamId,
    proto::component,
    router::{core::Promise, delegation, event::Env, privilege},
    wire::{
        element::Element,
        error::{StreamCondition, StreamError},
        framer::Header,
        jid::Jid,
        ns,
        stanza::{AttrName, Chunk, Kind, NsRef, Outline, Stanza, slice},
    },
};

/// A component's stream.
#[derive(Debug, Default)]
pub struct ComponentStream {
    /// For which domain it speaks, or wants to.
    domain: Option<Rc<str>>,
    /// The stream's id, which its handshake depends on.
    id: Box<str>,
    /// It has proved itself.
    is_known: bool,
}

impl ComponentStream {
    /// For the log.
    pub fn name(&self) -> &str {
        self.domain.as_deref().unwrap_or("a component")
    }
}

impl Server {
    fn component(&self, id: StreamId) -> Option<&ComponentStream> {
        match &self.streams.slot(id)?.state {
            State::Component(component) => Some(component),
            _ => None,
        }
    }

    /// Whether a component is at the other end.
    pub(super) fn is_component(&self, id: StreamId) -> bool {
        self.component(id).is_some()
    }

    /// XEP-0114 §3: whom it wants to speak for.
    pub(super) fn component_header(&mut self, env: &mut Env<'_>, id: StreamId, header: &Header) -> Next {
        let known = &self.core.config.components;
        let domain = component::judge(header).and_then(|domain| match known.contains_key(&*domain) {
            true => Ok(domain),
            false => Err(StreamCondition::HostUnknown.into()),
        });
        let stream_id = random_id(env);
        match (domain, self.streams.slot_mut(id)) {
            (Ok(domain), Some(slot)) => {
                let mut out = Vec::with_capacity(256);
                component::write_header(&domain, &stream_id, &mut out);
                slot.header_sent = true;
                slot.state = State::Component(Box::new(ComponentStream {
                    domain: Some(domain),
                    id: stream_id.into(),
                    is_known: false,
                }));
                self.core.write(id, Chunk::new(out));
                Next::Go
            }
            (Err(error), _) => {
                self.fail(env, id, error);
                Next::Stop
            }
            (_, None) => Next::Stop,
        }
    }

    /// The first words on a stream, before an error, if our header is not out.
    pub(super) fn component_first_words(&self, env: &mut Env<'_>, slot: &Slot, out: &mut Vec<u8>) -> bool {
        let State::Component(_) = &slot.state else { return false };
        component::write_header(&self.core.config.domains[0], &random_id(env), out);
        true
    }

    /// One element from a component.
    pub(super) fn component_element(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        bytes: &[u8],
        outline: &mut Outline,
    ) -> Next {
        let Some(component) = self.component(id) else { return Next::Stop };
        match (&outline.ns, slice(bytes, &outline.name), component.is_known) {
            (NsRef::Content, "handshake", false) => self.handshake(env, id, bytes),
            (NsRef::Content, name, true) if Kind::from_name(name).is_some() => {
                self.component_stanza(env, id, bytes, outline)
            }
            (NsRef::Stream, "error", _) => Next::Go,
            (_, _, is_known) => {
                // RFC 6120 §4.9.3.12 and §4.9.3.24.
                let condition =
                    if is_known { StreamCondition::UnsupportedStanzaType } else { StreamCondition::NotAuthorized };
                self.fail(env, id, condition.into());
                Next::Stop
            }
        }
    }

    /// XEP-0114 §3, which leaves open what happens if there is such a component already. It stays, and the new one gets
    /// `<conflict/>` (RFC 6120 §4.9.3.3), as with Prosody: two that were started by mistake do not throw each other out for
    /// ever.
    fn handshake(&mut self, env: &mut Env<'_>, id: StreamId, bytes: &[u8]) -> Next {
        let Some(component) = self.component(id) else { return Next::Stop };
        let (Some(domain), stream) = (component.domain.clone(), component.id.clone()) else { return Next::Stop };
        let said = Element::parse(bytes, ns::CLIENT).map(|element| element.content()).unwrap_or_default();
        if let Err(error) = self.proves_itself(env, id, &domain, &stream, &said) {
            self.fail(env, id, error);
            return Next::Stop;
        }
        if let Some(Slot { state: State::Component(component), .. }) = self.streams.slot_mut(id) {
            component.is_known = true;
        }
        log::info!("{domain}: the component is connected");
        self.no_stranger(id);
        self.core.write(id, Chunk::new(&b"<handshake/>"[..]));
        privilege::advertise(&domain, &mut context(&mut self.core, env));
        delegation::advertise(&domain, &mut context(&mut self.core, env));
        Next::Widen(self.bounds())
    }

    /// Whether this handshake lets the stream speak for a domain. Guesses are counted by address as those of passwords are
    /// (S16), for each domain by itself: a component that is set up wrong does not keep out those beside it.
    fn proves_itself(
        &mut self,
        env: &Env<'_>,
        id: StreamId,
        domain: &Rc<str>,
        stream: &str,
        said: &str,
    ) -> Result<(), StreamError> {
        let from = self.streams.slot(id).and_then(Slot::peer);
        let config = self.core.config.clone();
        let guesses = self.handshakes.entry(domain.clone()).or_default();
        if !guesses.admits(from, domain, 0, &config.limits, env.now) {
            // Not compared: there is nothing to learn from it (RFC 6120 §4.9.3.14).
            return Err(StreamError::new(StreamCondition::PolicyViolation).text("Too many failures. Try again later."));
        }
        let secret = config.components.get(&**domain).map_or("", |settings| &*settings.secret);
        if !component::proves(said, stream, secret) {
            self.core.counters.failures += 1;
            guesses.failed(from, domain, env.now);
            return Err(StreamCondition::NotAuthorized.into());
        }
        guesses.succeeded(from, domain, env.now);
        match self.core.components.connect(domain, id) {
            true => Ok(()),
            false => Err(StreamError::new(StreamCondition::Conflict).text("Somebody speaks for this domain already.")),
        }
    }

    fn component_stanza(&mut self, env: &mut Env<'_>, id: StreamId, bytes: &[u8], outline: &mut Outline) -> Next {
        let (from, to) = match self.component_addresses(id, bytes, outline) {
            Ok(pair) => pair,
            Err(condition) => {
                self.fail(env, id, condition.into());
                return Next::Stop;
            }
        };
        let Some(stanza) = Stanza::read(bytes, std::mem::take(outline), from, Some(to)) else { return Next::Go };
        self.core.counters.stanzas += 1;
        let before = self.core.overlay.puts();
        let promise = (stanza.kind == Kind::Message).then(|| stanza.clone());
        self.router.from_component(stanza, &mut context(&mut self.core, env));
        self.work(env);
        if self.core.overlay.puts() != before {
            if let Some(stanza) = promise {
                // If the disk refuses it, its sender hears of it.
                self.core.promises.push_back((self.core.open_batch, Promise::Stanza(stanza)));
            }
            self.hold_if_behind(id);
        }
        if self.is_component(id) { Next::Go } else { Next::Stop }
    }

    /// XEP-0114 §3: both addresses are there, and the sender's is of the component's domain.
    fn component_addresses(
        &self,
        id: StreamId,
        bytes: &[u8],
        outline: &Outline,
    ) -> Result<(Jid, Jid), StreamCondition> {
        let domain = self.component(id).and_then(|component| component.domain.as_deref());
        let from = match address(bytes, outline, AttrName::From) {
            Some(Ok(from)) => from,
            Some(Err(())) | None => return Err(StreamCondition::InvalidFrom),
        };
        if Some(from.domain()) != domain {
            return Err(StreamCondition::InvalidFrom);
        }
        match address(bytes, outline, AttrName::To) {
            Some(Ok(to)) => Ok((from, to)),
            Some(Err(())) | None => Err(StreamCondition::ImproperAddressing),
        }
    }

    /// New settings: whoever is not wanted any more is told so, the others what they may do now.
    pub(super) fn components_reloaded(&mut self, env: &mut Env<'_>) {
        // Whoever mended a secret does not wait, and no domain is remembered that is not in the settings.
        self.handshakes.clear();
        let connected: Vec<_> = self.core.components.all().map(|(domain, id)| (domain.to_owned(), id)).collect();
        for (domain, id) in connected {
            if self.core.config.components.contains_key(&domain) {
                privilege::advertise(&domain, &mut context(&mut self.core, env));
                delegation::advertise(&domain, &mut context(&mut self.core, env));
            } else {
                // RFC 6120 §4.9.3.5.
                self.fail(env, id, StreamCondition::HostGone.into());
            }
        }
    }
}
