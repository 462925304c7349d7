//! What components answer in place of this server: requests that they have not answered yet, and what they told of themselves.
//!
//! Source: XEP-0355 v0.5 §4 and §7.2. Invariants: all of it is bounded; each request is given back once, to whoever ends it;
//! and an answer counts only if it comes from whom it was asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    limits,
    wire::{element::Element, jid::Jid},
};

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A request of somebody (§4.3).
    Request {
        /// Who asks.
        from: Jid,
        /// Whom; `None`: there was no `to`.
        to: Option<Jid>,
        /// The request's id, as it stood between its quotes.
        id: Box<str>,
    },
    /// What the component can do (§7.2).
    Features(Place),
}

/// Of what features are told: of one of our domains or of the accounts there, for one namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// One of our domains.
    pub domain: Box<str>,
    /// Of its accounts; otherwise of the domain itself.
    pub is_account: bool,
    /// The namespace.
    pub ns: Box<str>,
}

/// Something that a component was asked and has not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegated {
    /// The id under which it went out, which nobody can guess.
    pub id: Box<str>,
    /// The domain of ours that asks.
    pub ours: Jid,
    /// The component.
    pub component: Jid,
    /// What it was asked.
    pub asked: Asked,
}

/// All that is delegated.
#[derive(Debug, Default)]
pub struct Delegations {
    /// Oldest first.
    waiting: VecDeque<Delegated>,
    /// What components told, while they are connected.
    told: BTreeMap<String, BTreeMap<Place, Vec<Element>>>,
    /// Who knows that something is delegated to it.
    informed: BTreeSet<String>,
    has_changed: bool,
}

impl Delegations {
    /// Remembers what was asked; the oldest comes back if there is too much.
    #[must_use]
    pub fn send_out(&mut self, delegated: Delegated) -> Option<Delegated> {
        let oldest = if self.waiting.len() >= limits::DELEGATED_MAX { self.waiting.pop_front() } else { None };
        self.waiting.push_back(delegated);
        oldest
    }

    /// What this answers.
    pub fn come_back(&mut self, id: &str, ours: &Jid, component: &Jid) -> Option<Delegated> {
        let is_it = |delegated: &Delegated| {
            *delegated.id == *id && delegated.ours == *ours && delegated.component == *component
        };
        let at = self.waiting.iter().position(is_it)?;
        self.waiting.remove(at)
    }

    /// A component told what it can do: identities, features and forms, of which as many are kept as are allowed.
    pub fn tell(&mut self, component: &str, place: Place, mut elements: Vec<Element>) {
        let places = self.told.entry(component.to_owned()).or_default();
        let mut bytes = 0;
        let fits = elements.iter().take_while(|element| {
            bytes += element.to_vec().len();
            bytes <= limits::DELEGATED_FEATURES_BYTES_MAX
        });
        let fits = fits.count();
        elements.truncate(fits);
        self.has_changed |= places.get(&place) != Some(&elements);
        places.insert(place, elements);
    }

    /// What it told of one place.
    pub fn told(&self, component: &str, place: &Place) -> &[Element] {
        self.told.get(component).and_then(|places| places.get(place)).map(Vec::as_slice).unwrap_or_default()
    }

    /// A component hears what is delegated to it. Whether it has to be told: something is, or something was.
    pub fn inform(&mut self, component: &str, is_anything: bool) -> bool {
        // What is not delegated any more is not told of.
        self.has_changed |= self.told.remove(component).is_some();
        if is_anything {
            self.informed.insert(component.to_owned());
            return true;
        }
        self.informed.remove(component)
    }

    /// A component went.
    pub fn forget(&mut self, component: &str) {
        self.has_changed |= self.told.remove(component).is_some();
        self.informed.remove(component);
    }

    /// Whether what is told has changed since the last call.
    pub fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Asserts what holds at all times.
    pub fn check(&self) {
        assert!(self.waiting.len() <= limits::DELEGATED_MAX, "what is delegated is bounded");
        let bytes = |told: &Vec<Element>| told.iter().map(|element| element.to_vec().len()).sum::<usize>();
        let mut all = self.told.values().flat_map(BTreeMap::values);
        assert!(all.all(|told| bytes(told) <= limits::DELEGATED_FEATURES_BYTES_MAX), "what is told is bounded");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ns;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }

    fn place() -> Place {
        Place { domain: "capulet.lit".into(), is_account: true, ns: ns::PUBSUB.into() }
    }

    fn delegated(id: &str) -> Delegated {
        let (ours, component) = (jid("capulet.lit"), jid("pubsub.capulet.lit"));
        Delegated { id: id.into(), ours, component, asked: Asked::Features(place()) }
    }

    #[test]
    fn only_who_was_asked_answers_and_once() {
        let mut delegations = Delegations::default();
        assert!(delegations.send_out(delegated("a")).is_none());
        let (ours, component) = (jid("capulet.lit"), jid("pubsub.capulet.lit"));
        assert!(delegations.come_back("a", &ours, &jid("other.example")).is_none());
        assert!(delegations.come_back("a", &jid("montague.lit"), &component).is_none());
        assert!(delegations.come_back("b", &ours, &component).is_none());
        assert!(delegations.come_back("a", &ours, &component).is_some());
        assert!(delegations.come_back("a", &ours, &component).is_none());
    }

    #[test]
    fn too_much_gives_the_oldest_back() {
        let mut delegations = Delegations::default();
        for n in 0..limits::DELEGATED_MAX {
            assert!(delegations.send_out(delegated(&n.to_string())).is_none());
        }
        assert_eq!(delegations.send_out(delegated("more")).map(|oldest| oldest.id), Some("0".into()));
        let feature = Element::new("feature", ns::DISCO_INFO);
        delegations.tell("pubsub.capulet.lit", place(), vec![feature; limits::DELEGATED_FEATURES_BYTES_MAX]);
        delegations.check();
    }

    #[test]
    fn what_was_told_is_known_until_its_teller_goes() {
        let mut delegations = Delegations::default();
        assert!(!delegations.inform("pubsub.capulet.lit", false), "nothing to tell");
        let told = vec![Element::new("identity", ns::DISCO_INFO)];
        delegations.tell("pubsub.capulet.lit", place(), told.clone());
        assert!(delegations.take_change() && !delegations.take_change());
        delegations.tell("pubsub.capulet.lit", place(), told.clone());
        assert!(!delegations.take_change(), "the same again");
        assert_eq!(delegations.told("pubsub.capulet.lit", &place()), told);
        assert_eq!(delegations.told("other.example", &place()), []);
        delegations.forget("pubsub.capulet.lit");
        assert!(delegations.take_change());
        assert_eq!(delegations.told("pubsub.capulet.lit", &place()), []);
    }

    #[test]
    fn who_heard_of_something_hears_that_it_is_over() {
        let mut delegations = Delegations::default();
        assert!(delegations.inform("pubsub.capulet.lit", true));
        assert!(delegations.inform("pubsub.capulet.lit", true));
        assert!(delegations.inform("pubsub.capulet.lit", false));
        assert!(!delegations.inform("pubsub.capulet.lit", false));
    }
}
