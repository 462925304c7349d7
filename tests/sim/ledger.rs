//! What was sent, what was promised, what arrived.

use std::collections::{BTreeMap, BTreeSet};

/// One bound session of a client, counted over the whole play.
pub type SessionNo = u64;

/// What became of a message, as its sender knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No answer.
    Unknown,
    /// The server has taken it over: `h` counts it.
    Acknowledged,
    /// It came back with an error.
    Returned,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Account of the sender.
    pub from: usize,
    /// Session of the sender.
    pub session: SessionNo,
    /// Account of the recipient.
    pub to: usize,
    /// How many stanzas the session had sent with this one.
    pub count: u32,
    /// What became of it.
    pub fate: Fate,
    /// Sent to the account and not to one of its sessions, which may have one before the account takes messages.
    pub to_account: bool,
    /// The recipient had blocked the sender before it was sent.
    pub blocked: bool,
}

/// The books.
#[derive(Debug, Default)]
pub struct Ledger {
    /// All messages by number.
    pub sent: Vec<Sent>,
    /// Senders, each with a recipient who has asked to block them: what they sent before, and what they send for as long
    /// as the block may last, is dropped without a word (XEP-0191 §3.3).
    pub silenced: BTreeSet<(usize, usize)>,
    /// Which accounts received a message.
    arrived: BTreeSet<(usize, usize)>,
    /// The last first delivery by account and sender's session.
    order: BTreeMap<(usize, SessionNo), usize>,
}

impl Ledger {
    /// A client of `account` received message `n`. `in_order`: it is the account's only client.
    pub fn arrives(&mut self, account: usize, n: usize, in_order: bool) {
        let sent = &self.sent[n];
        assert_eq!(sent.to, account, "message {n} came to the wrong account");
        assert!(!sent.blocked, "message {n} came from a blocked sender");
        if self.arrived.insert((account, n)) && in_order && sent.to_account {
            let last = self.order.insert((account, sent.session), n);
            assert!(last.is_none_or(|last| last < n), "message {n} came for the first time behind {last:?}");
        }
    }

    /// `h` of a session.
    pub fn acknowledged(&mut self, session: SessionNo, h: u32) {
        for sent in self.sent.iter_mut().filter(|sent| sent.session == session && sent.count <= h) {
            if sent.fate == Fate::Unknown {
                sent.fate = Fate::Acknowledged;
            }
        }
    }

    /// A resumed session: the server has got `h` stanzas, and the client does not send the others again.
    pub fn resumes(&mut self, session: SessionNo, h: u32) {
        self.acknowledged(session, h);
        for sent in self.sent.iter_mut().filter(|sent| sent.session == session && sent.count > h) {
            sent.count = u32::MAX;
        }
    }

    /// Message `n` came back.
    pub fn returned(&mut self, n: usize) {
        self.sent[n].fate = Fate::Returned;
    }

    /// Everybody has come back and read everything.
    ///
    /// # Panics
    /// If something is lost.
    pub fn close(&self, exempt: &[usize]) {
        let lost: Vec<usize> = (0..self.sent.len())
            .filter(|n| {
                let sent = &self.sent[*n];
                let due = !exempt.contains(&sent.to) && !self.silenced.contains(&(sent.from, sent.to));
                sent.fate == Fate::Acknowledged && due && !self.arrived.contains(&(sent.to, *n))
            })
            .collect();
        let first = lost.first().map(|n| &self.sent[*n]);
        assert!(lost.is_empty(), "acknowledged and lost: {lost:?}, the first of them {first:?}");
    }

    /// How many messages arrived, for the curious.
    pub fn arrivals(&self) -> usize {
        self.arrived.len()
    }
}
