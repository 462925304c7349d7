//! What waits for the disk: batches of writes, and everything that was promised on their strength.
//!
//! Invariant: `core.committed` never passes a batch that the committer has not answered.

use super::{Owing, Server, negotiate::State, nonza, streams::Slot, timers::Alarm};
use crate::{
    domain::{accounts, ids::StreamId, store::Store, waiting},
    limits,
    router::{
        core::Promise,
        event::{BatchId, Effect, Env, StoreError, Time},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError, StreamCondition, StreamError},
        jid::Jid,
        ns,
        stanza::Chunk,
    },
};

/// State of the conversation with the committer.
#[derive(Debug, Default)]
pub struct Durable {
    /// Batches handed over and not answered.
    in_flight: usize,
    /// A layer is on its way into the database.
    flushing: bool,
    /// When the overlay is old enough to move.
    flush_by: Option<Time>,
    /// The database could not take the last layer: the next one waits for its time, however full the overlay is.
    flush_failed: bool,
    /// Writes that nobody waits for have waited long enough.
    pub(super) commit_lazy: bool,
    lazy_armed: bool,
    /// Streams that are paused because the committer is behind.
    pub(super) paused: Vec<StreamId>,
    /// Sessions whose client asked for an acknowledgement that the disk holds back.
    pub(super) owing: Owing,
    /// Answers to registrations, each with its batch, on streams that have not signed in; one per stream at most.
    registered: Vec<(u64, StreamId, Element)>,
    /// Streams that asked to resume a session of which the disk holds something back, with what they asked.
    pub(super) resuming: Vec<(StreamId, Element)>,
    /// Streams whose sign-in has succeeded and is not told before something is durable.
    pub(super) settling: Vec<StreamId>,
    refused_before: bool,
}

/// What senders are told when the disk refuses.
const REFUSED: StanzaError = StanzaError::new(Condition::ResourceConstraint)
    .kind(ErrorKind::Wait)
    .text("The server could not write this to its disk.");

impl Durable {
    fn is_old(&self, now: Time) -> bool {
        self.flush_by.is_some_and(|by| by <= now)
    }
}

impl Server {
    /// Hands the open batch to the committer, and a layer that is large or old enough to the database.
    pub(super) fn commit(&mut self, env: &mut Env<'_>) {
        let urgent = self.core.overlay.has_open();
        let lazy = self.core.overlay.has_lazy();
        let may = self.durable.in_flight < limits::BATCHES_IN_FLIGHT_MAX;
        // A layer can be frozen only when the open batch is closed.
        let full = self.core.overlay.is_full() && !self.durable.flush_failed;
        let now = self.durable.commit_lazy || self.stops || self.durable.is_old(env.now) || full;
        if may && (urgent || lazy && now) {
            let batch = BatchId(self.core.open_batch);
            if let Some(bytes) = self.core.overlay.take_batch(batch) {
                self.core.counters.commits += 1;
                self.core.counters.commit_bytes += bytes.len() as u64;
                self.core.effects.push(Effect::Commit(batch, bytes));
                self.core.open_batch += 1;
                self.durable.in_flight += 1;
            }
            (self.durable.commit_lazy, self.durable.lazy_armed) = (false, false);
        } else if lazy && !self.durable.lazy_armed {
            self.durable.lazy_armed = true;
            self.timers.set(env.now.plus_ms(limits::LAZY_COMMIT_MS), Alarm::LazyCommit);
        }
        self.flush(env);
    }

    fn flush(&mut self, env: &mut Env<'_>) {
        let overlay = &mut self.core.overlay;
        if self.durable.flush_by.is_none() && !overlay.is_empty() {
            self.durable.flush_by = Some(env.now.plus_ms(limits::OVERLAY_MS_MAX));
        }
        let pressing = !self.durable.flush_failed && (overlay.is_full() || self.stops);
        // Nobody is woken for it: what is old moves when something happens anyway; until then the journal keeps it.
        let due = self.durable.is_old(env.now) || pressing;
        if due
            && !self.durable.flushing
            && let Some(layer) = overlay.freeze()
        {
            self.durable.flushing = true;
            self.durable.flush_by = None;
            self.core.effects.push(Effect::Flush(layer));
        }
        self.stop_if_done();
    }

    /// A stream filled the open batch while the committer is behind: it waits.
    pub(super) fn hold_if_behind(&mut self, id: StreamId) {
        let behind = self.durable.in_flight >= limits::BATCHES_IN_FLIGHT_MAX
            && self.core.overlay.open_bytes() > limits::BATCH_BYTES_MAX;
        if behind && !self.durable.paused.contains(&id) {
            self.durable.paused.push(id);
            self.core.effects.push(Effect::Pause(id));
        }
    }

    /// Says that an account was made, once it is.
    pub(super) fn registered(&mut self, stream: StreamId, answer: Element) {
        self.durable.registered.push((self.core.open_batch, stream, answer));
    }

    pub(super) fn committed(&mut self, env: &mut Env<'_>, batch: BatchId) {
        let newly = batch.0.saturating_sub(self.core.committed);
        self.durable.in_flight = self.durable.in_flight.saturating_sub(newly as usize);
        self.core.committed = self.core.committed.max(batch.0);
        self.core.overlay.committed(batch);
        if std::mem::take(&mut self.durable.refused_before) {
            log::warn!("the disk takes writes again");
        }
        self.core.promises.retain(|(promised, _)| *promised > batch.0);
        self.settled(env);
    }

    /// The disk would not have it: whoever was to be told that we have it is told that we have not.
    pub(super) fn refused(&mut self, env: &mut Env<'_>, batch: BatchId, error: StoreError) {
        if !std::mem::replace(&mut self.durable.refused_before, true) {
            log::error!("the disk refuses writes: {error:?}; senders get an error until it takes them again");
        }
        if batch.0 <= self.core.committed {
            // One of those that were taken back along with an earlier one.
            return;
        }
        self.durable.in_flight = 0;
        // A flush under way is refused as well; its own answer says so.
        self.core.overlay.refused(batch);
        self.relearn(env);
        self.core.message_ceiling = 0;
        // The open batch was written on the strength of the refused ones and goes with them.
        let last = self.core.open_batch;
        self.core.open_batch += 1;
        let (kept, broken): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.core.promises).into_iter().partition(|(promised, _)| *promised < batch.0);
        self.core.promises.extend(kept);
        self.core.reply_refused(batch.0);
        for (promised, promise) in broken {
            match promise {
                Promise::Stanza(stanza) => self.core.bounce(&stanza, &REFUSED),
                Promise::Answer(id, origin) => {
                    if let Some(session) = self.core.sessions.session_mut(id) {
                        session.gate.retain(|(gated, ..)| *gated != promised);
                    }
                    self.core.answer(&origin, Err(REFUSED), false);
                }
            }
        }
        self.core.refuse_answers_out(batch.0, &REFUSED);
        for (promised, stream, answer) in &mut self.durable.registered {
            if (batch.0..=last).contains(promised) {
                if let Some(Slot { state: State::Secured(secured), .. }) = self.streams.slot_mut(*stream) {
                    secured.registration_refused();
                }
                let iq = Element::new("iq", ns::CLIENT).attr("type", "error").attr_if("from", answer.get("from"));
                *answer = iq.attr_if("id", answer.get("id")).child(REFUSED.element());
            }
        }
        // Who was to end because of what is taken back stays, and is heard again.
        let mut stay = Vec::new();
        for id in &self.core.gated {
            let Some(session) = self.core.sessions.session_mut(*id) else { continue };
            if session.ending.take_if(|ending| ending.error.is_some() && ending.batch >= batch.0).is_some() {
                stay.extend(session.stream);
            }
        }
        // Nothing waits for these batches any more.
        self.core.committed = self.core.committed.max(last);
        self.turn_strays_out(env);
        self.settled(env);
        for stream in stay {
            self.release(env, stream);
        }
    }

    /// What is remembered of the store's rows is what they were before the writes that were taken back.
    pub(super) fn relearn(&mut self, env: &mut Env<'_>) {
        self.core.sessions.relearn(&Store { overlay: &mut self.core.overlay, view: env.view });
    }

    /// An account that the disk did not take, or a discarded turn made, is none: whoever signed in to it goes before somebody else's account gets
    /// its number (S15).
    pub(super) fn turn_strays_out(&mut self, env: &mut Env<'_>) {
        let store = Store { overlay: &mut self.core.overlay, view: env.view };
        let number = |jid: &Jid| accounts::find(&store, jid).map(|account| account.id);
        let sessions = self.core.sessions.all().filter(|(_, session)| !session.is_local && session.ending.is_none());
        let strays: Vec<_> = sessions.filter(|(_, session)| number(&session.jid) != Some(session.account)).collect();
        let strays: Vec<_> = strays.into_iter().map(|(id, session)| (id, session.stream)).collect();
        let proved =
            |id: &StreamId| self.streams.slot(*id).and_then(Slot::proved).is_some_and(|jid| number(jid).is_none());
        let signing_in: Vec<_> = self.streams.ids().into_iter().filter(proved).collect();
        let error =
            StreamError::new(StreamCondition::NotAuthorized).text("The account could not be written to the disk.");
        for (session, stream) in strays {
            match stream {
                Some(stream) => self.fail(env, stream, error.clone()),
                None => self.end_session(env, session),
            }
        }
        for stream in signing_in {
            self.fail(env, stream, error.clone());
        }
    }

    fn settled(&mut self, env: &mut Env<'_>) {
        self.core.open_gates();
        self.core.reply_settled();
        let committed = self.core.committed;
        for (_, stream, answer) in self.durable.registered.extract_if(.., |(batch, ..)| *batch <= committed) {
            self.core.write(stream, Chunk::new(answer.to_vec()));
        }
        for id in std::mem::take(&mut self.durable.owing) {
            let committed = self.core.committed;
            let Some(session) = self.core.sessions.session_mut(id) else { continue };
            let (Some(sm), stream) = (&mut session.sm, session.stream) else { continue };
            let Some(stream) = stream else {
                // The answer to `<resume/>` will say it.
                sm.owes_ack = false;
                continue;
            };
            if sm.is_settled(committed) {
                sm.owes_ack = false;
                let ack = nonza(sm, committed);
                self.core.write(stream, Chunk::new(ack));
            } else {
                self.durable.owing.push_back(id);
            }
        }
        self.forget_handed_over(env);
        self.settle_peers(env);
        self.resume_waiting(env);
        self.welcome_waiting(env);
        for id in std::mem::take(&mut self.durable.paused) {
            self.unpause(id);
        }
    }

    /// What was given to streams without stream management counts as received once it is durable.
    pub(super) fn forget_handed_over(&mut self, env: &Env<'_>) {
        while let Some((batch, account, message)) = self.core.handed_over.front().copied() {
            if batch > self.core.committed {
                break;
            }
            self.core.handed_over.pop_front();
            let mut store = Store { overlay: &mut self.core.overlay, view: env.view };
            waiting::forget(&mut store, account, message);
        }
    }

    pub(super) fn flushed(&mut self, outcome: Result<(), StoreError>) {
        self.durable.flushing = false;
        self.durable.flush_failed = outcome.is_err();
        self.core.overlay.flushed(outcome.is_ok());
        if let Err(error) = outcome {
            log::error!("the database cannot grow: {error:?}; the journal holds what is new until it can");
            self.durable.flush_by = None;
        }
    }

    /// SIGTERM: streams are told, then everything becomes durable.
    pub(super) fn shut_down(&mut self, env: &mut Env<'_>) {
        self.stops = true;
        self.notice(env, &crate::router::service::Notice::Stopping);
        self.work(env);
        for id in self.streams.ids() {
            self.fail(env, id, crate::wire::error::StreamCondition::SystemShutdown.into());
        }
        self.work(env);
        self.durable.commit_lazy = true;
    }

    fn stop_if_done(&mut self) {
        let quiet = self.durable.in_flight == 0 && !self.durable.flushing && self.core.overlay.open_bytes() == 0;
        if self.stops && quiet {
            self.core.effects.push(Effect::Stop);
        }
    }
}
