//! Components that are connected: who of theirs is shown as available, what they are asked and have not answered, and what they
//! asked in the name of accounts here.
//!
//! Source: XEP-0114; XEP-0356 v0.4.1 §5. Invariants: a domain has one stream at most; all of it is bounded, and each question is
//! given back once. It lives as long as the stream: what is left is for whoever ends it to settle.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

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

/// A request to a component that it has not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Who asks.
    pub from: Jid,
    /// Whom.
    pub to: Jid,
    /// The request's id, as it stood between its quotes.
    pub id: Box<str>,
}

/// One that is connected.
#[derive(Debug)]
pub struct Connected {
    /// For whom it speaks.
    pub domain: Box<str>,
    /// Its stream.
    pub stream: StreamId,
    /// Which of its addresses are shown as available, and to whom.
    pub shown: BTreeSet<(Jid, Jid)>,
    /// What it has not answered, oldest first.
    pub asked: VecDeque<Question>,
}

/// Who is connected.
#[derive(Debug, Default)]
pub struct Components {
    connected: BTreeMap<String, Connected>,
    errands: VecDeque<Errand>,
}

impl Components {
    /// The stream of the component that speaks for this domain.
    pub fn stream(&self, domain: &str) -> Option<StreamId> {
        self.connected.get(domain).map(|connected| connected.stream)
    }

    /// A component is there; `false`: there is one already, and it stays.
    pub fn connect(&mut self, domain: &str, stream: StreamId) -> bool {
        let is_new = !self.connected.contains_key(domain);
        if is_new {
            let connected = Connected { domain: domain.into(), stream, shown: BTreeSet::new(), asked: VecDeque::new() };
            self.connected.insert(domain.to_owned(), connected);
        }
        is_new
    }

    /// A stream is gone; what is left of the component that spoke on it, if there was one.
    pub fn disconnect(&mut self, stream: StreamId) -> Option<Connected> {
        let domain = self.all().find(|(_, known)| *known == stream)?.0.to_owned();
        self.errands.retain(|errand| errand.component.domain() != domain);
        self.connected.remove(&domain)
    }

    /// Domains of those who are connected, in order.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.connected.keys().map(String::as_str)
    }

    /// All streams with their domains, in order.
    pub fn all(&self) -> impl Iterator<Item = (&str, StreamId)> {
        self.connected.iter().map(|(domain, connected)| (domain.as_str(), connected.stream))
    }

    /// A component is asked something. Of too many questions it may leave the oldest unanswered.
    pub fn ask(&mut self, question: Question) {
        let Some(connected) = self.connected.get_mut(question.to.domain()) else { return };
        if connected.asked.len() >= limits::COMPONENT_ASKED_MAX {
            connected.asked.pop_front();
        }
        connected.asked.push_back(question);
    }

    /// A component answers.
    pub fn answer(&mut self, answer: &Question) {
        if let Some(connected) = self.connected.get_mut(answer.to.domain())
            && let Some(at) = connected.asked.iter().position(|question| question == answer)
        {
            connected.asked.remove(at);
        }
    }

    /// A component shows one of its addresses to somebody, or not any more.
    pub fn show(&mut self, from: &Jid, to: &Jid, is_available: bool) {
        let Some(connected) = self.connected.get_mut(from.domain()) else { return };
        let pair = (from.clone(), to.clone());
        if !is_available {
            connected.shown.remove(&pair);
        } else if connected.shown.len() < limits::COMPONENT_SHOWN_MAX {
            connected.shown.insert(pair);
        }
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

    /// The component that sent this request in the name of an account.
    pub fn sent_out_by(&self, id: &str, account: &Jid) -> Option<&Jid> {
        let mut errands = self.errands.iter();
        errands.find(|errand| *errand.id == *id && errand.account == *account).map(|errand| &errand.component)
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
        for connected in self.connected.values() {
            assert!(connected.asked.len() <= limits::COMPONENT_ASKED_MAX, "questions are bounded");
            assert!(connected.shown.len() <= limits::COMPONENT_SHOWN_MAX, "who is shown is bounded");
        }
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
        assert!(components.disconnect(stream(2)).is_none());
        assert_eq!(components.stream("bridge.capulet.lit"), Some(stream(1)));
        assert!(components.disconnect(stream(1)).is_some());
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

    #[test]
    fn what_was_asked_and_shown_is_left_when_a_component_goes_and_is_bounded() {
        let mut components = Components::default();
        assert!(components.connect("bridge.capulet.lit", stream(1)));
        let (x, juliet) = (jid("x@bridge.capulet.lit"), jid("juliet@capulet.lit"));
        let question = |n: usize| Question { from: juliet.clone(), to: x.clone(), id: n.to_string().into() };
        for n in 0..=limits::COMPONENT_ASKED_MAX {
            components.ask(question(n));
        }
        components.answer(&question(1));
        for n in 0..=limits::COMPONENT_SHOWN_MAX {
            components.show(&jid(&format!("x@bridge.capulet.lit/{n}")), &juliet, true);
        }
        components.show(&jid("x@bridge.capulet.lit/0"), &juliet, false);
        components.check();
        assert!(components.send_out(errand("a")).is_none());
        let left = components.disconnect(stream(1)).unwrap();
        assert_eq!((left.asked.len(), left.asked.front()), (limits::COMPONENT_ASKED_MAX - 1, Some(&question(2))));
        assert_eq!(left.shown.len(), limits::COMPONENT_SHOWN_MAX - 1);
        assert!(!components.awaits("a"), "nobody waits for the answer");
    }
}
