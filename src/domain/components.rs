//! Components that are connected, and what was asked in the name of accounts here and is not answered yet.
//!
//! Source: XEP-0114; XEP-0356 v0.4.1 §5. Invariant: a domain has one stream at most; questions are bounded, and each is
//! given back once.

use std::collections::{BTreeMap, VecDeque};

use super::ids::StreamId;
use crate::{limits, wire::jid::Jid};

/// A request that a component sent in the name of an account.
#[derive(Clone, Debug)]
pub struct Errand {
    /// The id under which it went out, which nobody can guess.
    pub id: Box<str>,
    /// The component's address that asked.
    pub component: Jid,
    /// The id of its request, as it stood between its quotes.
    pub asked: Box<str>,
    /// The id of the request inside.
    pub inner: Box<str>,
    /// In whose name, a bare address.
    pub account: Jid,
    /// Who was asked.
    pub to: Jid,
}

/// Who is connected.
#[derive(Debug, Default)]
pub struct Components {
    streams: BTreeMap<String, StreamId>,
    errands: VecDeque<Errand>,
}

impl Components {
    /// The stream of the component that speaks for this domain.
    pub fn stream(&self, domain: &str) -> Option<StreamId> {
        self.streams.get(domain).copied()
    }

    /// A component is there; `false`: there is one already, and it stays.
    pub fn connect(&mut self, domain: &str, stream: StreamId) -> bool {
        let is_new = !self.streams.contains_key(domain);
        if is_new {
            self.streams.insert(domain.to_owned(), stream);
        }
        is_new
    }

    /// A stream is gone.
    pub fn disconnect(&mut self, stream: StreamId) {
        self.streams.retain(|_, known| *known != stream);
    }

    /// Domains of those who are connected, in order.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.streams.keys().map(String::as_str)
    }

    /// All streams with their domains, in order.
    pub fn all(&self) -> impl Iterator<Item = (&str, StreamId)> {
        self.streams.iter().map(|(domain, stream)| (domain.as_str(), *stream))
    }

    /// Remembers a request; the oldest comes back if there are too many.
    #[must_use]
    pub fn send_out(&mut self, errand: Errand) -> Option<Errand> {
        let oldest = if self.errands.len() >= limits::ERRANDS_MAX { self.errands.pop_front() } else { None };
        self.errands.push_back(errand);
        oldest
    }

    /// Whether a request went out under this id.
    pub fn awaits(&self, id: &str) -> bool {
        self.errands.iter().any(|errand| *errand.id == *id)
    }

    /// The request that this answers.
    pub fn come_back(&mut self, id: &str, account: &Jid, from: Option<&Jid>) -> Option<Errand> {
        let is_it = |errand: &Errand| {
            *errand.id == *id && errand.account == *account && from.is_none_or(|from| *from == errand.to)
        };
        let at = self.errands.iter().position(is_it)?;
        self.errands.remove(at)
    }

    /// Asserts what holds at all times.
    pub fn check(&self) {
        assert!(self.errands.len() <= limits::ERRANDS_MAX, "errands are bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(slot: u32) -> StreamId {
        StreamId { slot, generation: 1 }
    }

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    fn errand(id: &str) -> Errand {
        Errand {
            id: id.into(),
            component: jid("bridge.capulet.lit"),
            asked: "1".into(),
            inner: "2".into(),
            account: jid("juliet@capulet.lit"),
            to: jid("romeo@montague.lit"),
        }
    }

    #[test]
    fn a_domain_has_one_stream() {
        let mut components = Components::default();
        assert!(components.connect("bridge.capulet.lit", stream(1)));
        assert!(!components.connect("bridge.capulet.lit", stream(2)));
        components.disconnect(stream(2));
        assert_eq!(components.stream("bridge.capulet.lit"), Some(stream(1)));
        components.disconnect(stream(1));
        assert!(components.connect("bridge.capulet.lit", stream(2)));
    }

    #[test]
    fn only_who_was_asked_answers_and_once() {
        let mut components = Components::default();
        assert!(components.send_out(errand("a")).is_none());
        let (juliet, romeo, tybalt) = (jid("juliet@capulet.lit"), jid("romeo@montague.lit"), jid("tybalt@capulet.lit"));
        assert!(components.come_back("a", &juliet, Some(&tybalt)).is_none());
        assert!(components.come_back("a", &tybalt, Some(&romeo)).is_none());
        assert!(components.come_back("a", &juliet, Some(&romeo)).is_some());
        assert!(components.come_back("a", &juliet, Some(&romeo)).is_none());
    }

    #[test]
    fn too_many_errands_give_the_oldest_back() {
        let mut components = Components::default();
        for n in 0..limits::ERRANDS_MAX {
            assert!(components.send_out(errand(&n.to_string())).is_none());
        }
        assert_eq!(components.send_out(errand("more")).map(|errand| errand.id), Some("0".into()));
        components.check();
    }
}
