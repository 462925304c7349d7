//! Links to other domains, and what waits for them.
//!
//! Source: RFC 6120 §10.4, XEP-0220 §2. Invariants: one link for one pair of domains (ours, theirs); what waits on a link
//! is bounded in number and bytes and goes out in order; and a message or subscription that one of our own was told we
//! have keeps its row until the other server has it, or until its sender was told that it has not.
//!
//! # What is durable
//!
//! What a client may count as handled (XEP-0198) must not be lost when the power fails, nor when a link breaks. So a message
//! worth keeping and whatever changes a subscription get a row in the same batch as everything else that they cause. The
//! row goes when the other server acknowledges (XEP-0198 on the link); without stream management on the link, when it was
//! handed to the connection and the batch is durable, as for clients without it. What a crash leaves is sent again after
//! the start, with the time when it was taken in (XEP-0203). Requests, presence and chat states are worth nothing later.

use std::collections::{BTreeMap, VecDeque};

use super::{
    ids::{MessageId, QueryId, StreamId, Time},
    keys,
    store::Store,
};
use crate::{limits, proto::sm::Sm, wire::stanza::Stanza};

/// Two domains that talk to each other: one of ours and one elsewhere, both prepared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Served here, or a host name here.
    pub ours: Box<str>,
    /// Served elsewhere.
    pub theirs: Box<str>,
}

impl Pair {
    /// A pair.
    pub fn new(ours: &str, theirs: &str) -> Pair {
        Pair { ours: ours.into(), theirs: theirs.into() }
    }
}

/// Names a link; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// A stanza on its way to another server.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The stanza.
    pub stanza: Stanza,
    /// Its row, if it has one.
    pub row: Option<MessageId>,
    /// When it was given to the link.
    pub since: Time,
}

/// Somebody claims to be the other domain, on this stream and with this key: the other domain is to be asked
/// (XEP-0220 §2.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The stream on which the claim came.
    pub claimant: StreamId,
    /// The id that we gave that stream.
    pub stream_id: Box<str>,
    /// The key.
    pub key: Box<str>,
    /// On which stream the other domain was asked.
    pub asked: Option<StreamId>,
}

/// Why a link could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such server.
    NotFound,
    /// It does not answer, or breaks off.
    Timeout,
    /// It and we cannot agree: no TLS, a certificate that proves nothing where one is required, or it does not believe us.
    Refused,
    /// It does not believe that we are who we are.
    Disbelieved,
    /// It was up a moment ago.
    Cut,
}

/// How far a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Nothing is tried.
    Resting,
    /// The world outside was asked to connect.
    Dialing(QueryId),
    /// Connected, not authenticated.
    Opening(StreamId),
    /// Stanzas go out.
    Up(StreamId),
    /// It failed and is not tried before this time.
    Failed(Failure, Time),
}

/// A stream that broke and can be resumed, XEP-0198 §5.
#[derive(Debug)]
pub struct Cut {
    /// What the other server calls it; empty: it cannot be resumed.
    pub previd: Box<str>,
    /// Counters, and what is not acknowledged.
    pub sm: Box<Sm<Parcel>>,
    /// Both sides sent over it (XEP-0288): the other one waits for it as well.
    pub is_bidi: bool,
    /// When it broke.
    pub since: Time,
}

/// One link.
#[derive(Debug)]
pub struct Link {
    /// Between whom.
    pub pair: Pair,
    /// How far it is.
    pub state: LinkState,
    /// Attempts that failed in a row.
    pub failures: u32,
    /// When the last one did.
    pub failed_at: Time,
    /// Questions for the other domain.
    pub questions: Vec<Question>,
    /// The stream that broke.
    pub cut: Option<Cut>,
    queue: VecDeque<Parcel>,
    queue_bytes: usize,
}

impl Link {
    /// Whether there is a reason to connect.
    pub fn is_wanted(&self) -> bool {
        self.has_stanzas() || !self.questions.is_empty()
    }

    /// Whether there is something to send, or to send again; or the other side may have.
    pub fn has_stanzas(&self) -> bool {
        !self.queue.is_empty() || self.cut.as_ref().is_some_and(|cut| cut.sm.unacked_len() > 0 || cut.is_bidi)
    }

    /// How many stanzas wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Since when the oldest waits.
    pub fn oldest(&self) -> Option<Time> {
        self.queue.front().map(|parcel| parcel.since)
    }

    /// The next one to go out.
    pub fn take_next(&mut self) -> Option<Parcel> {
        let parcel = self.queue.pop_front()?;
        self.queue_bytes -= parcel.stanza.source_len();
        Some(parcel)
    }

    /// These go out before all that wait; they were counted when they came first.
    pub fn put_back(&mut self, parcels: impl DoubleEndedIterator<Item = Parcel>) {
        for parcel in parcels.rev() {
            self.queue_bytes += parcel.stanza.source_len();
            self.queue.push_front(parcel);
        }
    }

    /// Takes out what need not wait any longer, in order.
    pub fn take_if(&mut self, gone: impl Fn(&Parcel) -> bool) -> Vec<Parcel> {
        let (out, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.queue).into_iter().partition(gone);
        self.queue_bytes = kept.iter().map(|parcel| parcel.stanza.source_len()).sum();
        self.queue = kept.into();
        out
    }

    fn fits(&self, parcel: &Parcel) -> bool {
        self.queue.len() < limits::PEER_QUEUE_MAX
            && self.queue_bytes + parcel.stanza.source_len() <= limits::PEER_QUEUE_BYTES_MAX
    }
}

/// All links.
#[derive(Debug, Default)]
pub struct Peers {
    links: BTreeMap<LinkId, Link>,
    by_pair: BTreeMap<Pair, LinkId>,
    next: u64,
    /// Links with something to do, to be served in this turn.
    pub due: Vec<LinkId>,
    /// Rows of what was given to connections without stream management: forgotten once their batch is durable.
    pub handed_over: VecDeque<(u64, MessageId)>,
}

impl Peers {
    /// A link by its id.
    pub fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    /// The same, to change.
    pub fn link_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    /// The link of this pair, if there is one.
    pub fn of(&self, pair: &Pair) -> Option<LinkId> {
        self.by_pair.get(pair).copied()
    }

    /// The link of this pair, made if there is none and there may be one more.
    pub fn of_or_new(&mut self, pair: &Pair) -> Option<LinkId> {
        if let Some(id) = self.of(pair) {
            return Some(id);
        }
        if self.links.len() >= limits::PEER_LINKS_MAX {
            // What failed and holds nothing is only remembered so that it is not tried again too soon.
            let idle = |link: &Link| matches!(link.state, LinkState::Failed(..)) && !link.is_wanted();
            let spare = self.links.iter().find(|(_, link)| idle(link)).map(|(id, _)| *id)?;
            self.remove(spare);
        }
        self.next += 1;
        let (id, pair) = (LinkId(self.next), pair.clone());
        let link = Link {
            pair: pair.clone(),
            state: LinkState::Resting,
            failures: 0,
            failed_at: Time(0),
            questions: Vec::new(),
            cut: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
        };
        self.links.insert(id, link);
        self.by_pair.insert(pair, id);
        Some(id)
    }

    /// Forgets a link.
    pub fn remove(&mut self, id: LinkId) -> Option<Link> {
        let link = self.links.remove(&id)?;
        self.by_pair.remove(&link.pair);
        Some(link)
    }

    /// Lets a stanza wait for its link, which is served in this turn.
    ///
    /// # Errors
    /// The stanza, if too many wait.
    pub fn send(&mut self, pair: &Pair, parcel: Parcel) -> Result<(), Box<Parcel>> {
        let Some(id) = self.of_or_new(pair) else { return Err(Box::new(parcel)) };
        match self.links.get_mut(&id) {
            Some(link) if link.fits(&parcel) => {
                link.queue_bytes += parcel.stanza.source_len();
                link.queue.push_back(parcel);
            }
            _ => return Err(Box::new(parcel)),
        }
        self.is_due(id);
        Ok(())
    }

    /// The link has something to do in this turn.
    pub fn is_due(&mut self, id: LinkId) {
        if !self.due.contains(&id) {
            self.due.push(id);
        }
    }

    /// All links in order.
    pub fn all(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
    }

    /// The link that waits for this answer.
    pub fn dialed(&self, query: QueryId) -> Option<LinkId> {
        self.all().find(|(_, link)| link.state == LinkState::Dialing(query)).map(|(id, _)| id)
    }

    /// Asserts what every turn must leave true.
    pub fn check(&self) {
        assert_eq!(self.links.len(), self.by_pair.len(), "each pair has one link");
        assert!(self.links.len() <= limits::PEER_LINKS_MAX, "links are bounded");
        for (id, link) in &self.links {
            assert_eq!(self.by_pair.get(&link.pair), Some(id), "pair and link know each other");
            let bytes: usize = link.queue.iter().map(|parcel| parcel.stanza.source_len()).sum();
            assert_eq!(link.queue_bytes, bytes, "what waits is counted");
            let most = limits::PEER_QUEUE_MAX + limits::PEER_UNACKED_MAX;
            assert!(link.queue.len() <= most, "what waits is bounded");
        }
    }
}

/// Writes down a stanza for another server, with both addresses in it.
pub fn keep(store: &mut Store<'_>, id: MessageId, stanza: &[u8]) {
    store.put_new(&keys::outgoing(id), stanza);
}

/// The other server has it, or its sender knows that it has not. Goes to disk along with later writes.
pub fn forget(store: &mut Store<'_>, id: MessageId) {
    store.overlay.forget(&keys::outgoing(id));
}

/// What was not delivered when the server stopped, oldest first.
pub fn left_over(store: &Store<'_>) -> Vec<(MessageId, Vec<u8>)> {
    // No more were written than links may hold, but a row that is not forgotten in time may stand beside them.
    let rows = store.prefix(&[keys::OUTGOING], limits::PEER_ROWS_MAX);
    let id = |key: &[u8]| Some(MessageId(u64::from_be_bytes(key.get(1..)?.try_into().ok()?)));
    rows.into_iter().filter_map(|(key, value)| Some((id(&key)?, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{element::Element, jid::Jid, ns};

    fn parcel(text: &str) -> Parcel {
        let message = Element::new("message", ns::CLIENT).leaf("body", text);
        let stanza = Stanza::build(&message, Jid::parse("a@capulet.lit").unwrap(), None);
        Parcel { stanza, row: None, since: Time(0) }
    }

    #[test]
    fn s25_a_queue_is_bounded_in_number_and_bytes() {
        let mut peers = Peers::default();
        let pair = Pair::new("capulet.lit", "montague.lit");
        assert!((0..limits::PEER_QUEUE_MAX).all(|_| peers.send(&pair, parcel(".")).is_ok()));
        assert!(peers.send(&pair, parcel(".")).is_err());
        peers.check();
        let (other, large) = (Pair::new("capulet.lit", "nurse.lit"), "x".repeat(limits::PEER_QUEUE_BYTES_MAX / 2));
        assert!(peers.send(&other, parcel(&large)).is_ok());
        assert!(peers.send(&other, parcel(&large)).is_err());
        assert!(peers.send(&other, parcel(".")).is_ok());
        peers.check();
    }

    #[test]
    fn s25_links_are_bounded_and_those_that_failed_give_way() {
        let mut peers = Peers::default();
        let pair = |n: usize| Pair::new("capulet.lit", &format!("d{n}.example"));
        assert!((0..limits::PEER_LINKS_MAX).all(|n| peers.of_or_new(&pair(n)).is_some()));
        assert_eq!(peers.of_or_new(&pair(limits::PEER_LINKS_MAX)), None);
        let failed = peers.of(&pair(7)).unwrap();
        peers.link_mut(failed).unwrap().state = LinkState::Failed(Failure::NotFound, Time(1));
        assert!(peers.of_or_new(&pair(limits::PEER_LINKS_MAX)).is_some());
        assert_eq!(peers.of(&pair(7)), None);
        peers.check();
    }

    #[test]
    fn what_comes_back_goes_out_first_and_in_order() {
        let mut peers = Peers::default();
        let pair = Pair::new("capulet.lit", "montague.lit");
        assert!(peers.send(&pair, parcel("3")).is_ok());
        let id = peers.of(&pair).unwrap();
        let link = peers.link_mut(id).unwrap();
        link.put_back(["1", "2"].map(parcel).into_iter());
        let order: Vec<_> = std::iter::from_fn(|| link.take_next()).map(|p| p.stanza.element().unwrap()).collect();
        assert_eq!(order.iter().map(|e| e.leaf_text("body").unwrap()).collect::<Vec<_>>(), ["1", "2", "3"]);
    }
}
