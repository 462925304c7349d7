//! Stream management: who has received how much, XEP-0198.
//!
//! Invariant: the `h` that we tell never counts a stanza whose writes are not durable (DESIGN: acknowledged means
//! durable), and a stanza that we sent is kept until the other side counts it.

use std::collections::VecDeque;

use crate::{limits, wire::stanza::Chunk};

/// Counters and unacknowledged stanzas of one session. `K` is what the owner wants back with an acknowledgement.
#[derive(Debug)]
pub struct Sm<K> {
    /// Token for resumption; `None` if the client did not ask for it.
    pub token: Option<[u8; 16]>,
    /// The client asked for an acknowledgement that must wait for the disk.
    pub owes_ack: bool,
    /// Whether we have asked for an acknowledgement.
    pub ask: Ask,
    /// When we asked last, in milliseconds of the core's clock.
    pub asked_ms: u64,
    handled: u32,
    /// `h` before the first stanza of a batch, and the batch; in order.
    marks: VecDeque<(u32, u64)>,
    acked: u32,
    queue: VecDeque<(Chunk, K)>,
    queue_bytes: usize,
}

/// Where we stand with asking for an acknowledgement. A lone stanza is followed by `<r/>` in the same packet; those of
/// a burst share one, so that neither side wakes for every stanza.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing is asked and nothing is to be asked.
    Quiet,
    /// To be asked at this time, in milliseconds.
    Due(u64),
    /// Asked at this time and not answered.
    Out(u64),
}

/// The other side claims more than we sent, XEP-0198 §4 (`handled-count-too-high`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandledTooHigh {
    /// What it claims.
    pub h: u32,
    /// What we sent.
    pub sent: u32,
}

impl<K> Sm<K> {
    /// Counts from zero, XEP-0198 §3.
    pub fn new(token: Option<[u8; 16]>) -> Self {
        Sm {
            token,
            owes_ack: false,
            ask: Ask::Quiet,
            asked_ms: 0,
            handled: 0,
            marks: VecDeque::new(),
            acked: 0,
            queue: VecDeque::new(),
            queue_bytes: 0,
        }
    }

    /// A stanza came in and was dealt with. `batch`: its writes become durable with it.
    pub fn received(&mut self, batch: Option<u64>) {
        if let Some(batch) = batch
            && self.marks.back().is_none_or(|mark| mark.1 != batch)
        {
            self.marks.push_back((self.handled, batch));
        }
        self.handled = self.handled.wrapping_add(1);
    }

    /// The `h` that may be told when all batches up to `committed` are durable.
    pub fn durable(&mut self, committed: u64) -> u32 {
        while self.marks.front().is_some_and(|mark| mark.1 <= committed) {
            self.marks.pop_front();
        }
        self.marks.front().map_or(self.handled, |mark| mark.0)
    }

    /// Whether all that came in is durable.
    pub fn is_settled(&self, committed: u64) -> bool {
        self.marks.back().is_none_or(|mark| mark.1 <= committed)
    }

    /// Keeps a stanza that goes out. `false`: the queue is full, the session cannot go on.
    #[must_use]
    pub fn sent(&mut self, chunk: Chunk, keep: K) -> bool {
        self.queue_bytes += chunk.len();
        self.queue.push_back((chunk, keep));
        self.queue.len() <= limits::SM_QUEUE_MAX && self.queue_bytes <= limits::SM_QUEUE_BYTES_MAX
    }

    /// Whether what was just sent gives reason to ask: it is the first, or the burst has grown large.
    pub fn wants_to_ask(&self) -> bool {
        match self.ask {
            Ask::Quiet => true,
            Ask::Due(_) => self.queue.len() == limits::ASK_UNACKED,
            Ask::Out(_) => false,
        }
    }

    /// The other side has handled all stanzas up to `h`; what was kept with them comes back in order.
    ///
    /// # Errors
    /// [`HandledTooHigh`] if it cannot have; the stream must be closed (XEP-0198 §4).
    pub fn acked(&mut self, h: u32) -> Result<impl Iterator<Item = K> + '_, HandledTooHigh> {
        let newly = h.wrapping_sub(self.acked) as usize;
        if newly > self.queue.len() {
            return Err(HandledTooHigh { h, sent: self.acked.wrapping_add(self.queue.len() as u32) });
        }
        self.acked = h;
        self.queue_bytes -= self.queue.iter().take(newly).map(|(chunk, _)| chunk.len()).sum::<usize>();
        Ok(self.queue.drain(..newly).map(|(_, keep)| keep))
    }

    /// Stanzas sent and not acknowledged, oldest first.
    pub fn unacked(&self) -> impl Iterator<Item = &(Chunk, K)> {
        self.queue.iter()
    }

    /// Takes everything that was not acknowledged.
    pub fn take_unacked(&mut self) -> VecDeque<(Chunk, K)> {
        self.queue_bytes = 0;
        std::mem::take(&mut self.queue)
    }

    /// Bytes of the stanzas that are not acknowledged.
    pub fn unacked_bytes(&self) -> usize {
        self.queue_bytes
    }

    /// How many stanzas are not acknowledged.
    pub fn unacked_len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk() -> Chunk {
        Chunk::new(&b"<a/>"[..])
    }

    #[test]
    fn h_waits_for_the_disk() {
        let mut sm = Sm::<()>::new(None);
        sm.received(None);
        assert_eq!(sm.durable(0), 1);
        sm.received(Some(1));
        sm.received(None);
        sm.received(Some(2));
        assert_eq!(sm.durable(0), 1);
        assert_eq!(sm.durable(1), 3);
        assert_eq!(sm.durable(2), 4);
    }

    #[test]
    fn counters_wrap() {
        let mut sm = Sm::new(None);
        sm.acked = u32::MAX;
        assert!(sm.sent(chunk(), 1));
        assert!(sm.sent(chunk(), 2));
        assert_eq!(sm.acked(1).unwrap().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn s35_an_ack_beyond_what_was_sent_is_refused() {
        let mut sm = Sm::new(None);
        assert!(sm.sent(chunk(), ()));
        assert_eq!(sm.acked(2).err(), Some(HandledTooHigh { h: 2, sent: 1 }));
        assert_eq!(sm.acked(1).unwrap().count(), 1);
        assert_eq!(sm.acked(0).err(), Some(HandledTooHigh { h: 0, sent: 1 }), "an ack never goes back");
    }

    #[test]
    fn s35_the_queue_is_bounded() {
        let mut sm = Sm::new(None);
        let fits = (0..limits::SM_QUEUE_MAX).all(|_| sm.sent(chunk(), ()));
        assert!(fits);
        assert!(!sm.sent(chunk(), ()));
    }
}
