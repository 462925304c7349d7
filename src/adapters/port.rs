//! What the driver stands between: a house that takes turns, a store that answers from another thread.
//!
//! Invariant: an answer never enters a turn by itself; it waits in the mailbox for the driver's next round.

use std::{path::PathBuf, sync::Arc, vec::Drain};

use smol::channel::{Receiver, Sender};

use crate::{
    domain::{overlay::Layer, store::View},
    router::event::{BatchId, Effect, Env, Event, QueryId, StoreError, Time},
    server::Server,
};

/// Answers from other threads that wait; they are few, and a full channel makes those threads wait.
const ANSWERS_MAX: usize = 256;

/// What is driven: the server, or an echo in tests.
pub trait House {
    /// One thing happens.
    fn turn(&mut self, env: &mut Env<'_>, event: Event<'_>) -> Drain<'_, Effect>;
    /// The round is over.
    fn settle(&mut self, env: &mut Env<'_>) -> Drain<'_, Effect>;
    /// The turn (or settling) that was begun panicked: its effects are forgotten, the stream that caused it is closed.
    fn discard_turn(&mut self, env: &mut Env<'_>) -> Drain<'_, Effect>;
    /// Panics if an invariant is broken; asked after a discarded turn.
    fn check(&self);
    /// When to tick.
    fn deadline(&self) -> Option<Time>;
}

impl House for Server {
    fn turn(&mut self, env: &mut Env<'_>, event: Event<'_>) -> Drain<'_, Effect> {
        Server::turn(self, env, event)
    }
    fn settle(&mut self, env: &mut Env<'_>) -> Drain<'_, Effect> {
        Server::settle(self, env)
    }
    fn discard_turn(&mut self, env: &mut Env<'_>) -> Drain<'_, Effect> {
        Server::discard_turn(self, env)
    }
    fn check(&self) {
        Server::check(self);
    }
    fn deadline(&self) -> Option<Time> {
        Server::deadline(self)
    }
}

/// The store as the driver needs it. Answers come through the [`Mailbox`], from whatever thread, or from
/// [`StorePort::settle`].
pub trait StorePort {
    /// The database as of the last flush.
    fn view(&self) -> &dyn View;
    /// Answered by [`Answer::Committed`] or [`Answer::Refused`], in order.
    fn commit(&mut self, batch: BatchId, puts: Vec<u8>);
    /// The round is over and everything is said: a store that would rather write here and now does, and answers.
    fn settle(&mut self) -> Option<Answer> {
        None
    }
    /// Answered by [`Answer::Flushed`].
    fn flush(&mut self, layer: Arc<Layer>);
    /// Answered by [`Answer::BackedUp`].
    fn backup(&mut self, query: QueryId, file: PathBuf);
}

/// What other threads answer.
#[derive(Debug)]
pub enum Answer {
    /// See [`Event::Committed`].
    Committed(BatchId),
    /// See [`Event::Refused`].
    Refused(BatchId, StoreError),
    /// See [`Event::Flushed`].
    Flushed(Result<(), StoreError>),
    /// See [`Event::BackedUp`].
    BackedUp(QueryId, Result<(), String>),
}

impl From<Answer> for Event<'static> {
    fn from(answer: Answer) -> Event<'static> {
        match answer {
            Answer::Committed(batch) => Event::Committed(batch),
            Answer::Refused(batch, error) => Event::Refused(batch, error),
            Answer::Flushed(outcome) => Event::Flushed(outcome),
            Answer::BackedUp(query, outcome) => Event::BackedUp(query, outcome),
        }
    }
}

/// Where other threads put their answers; wakes the main thread.
#[derive(Clone)]
pub struct Mailbox(Sender<Answer>);

impl Mailbox {
    /// A mailbox and its other end, for [`Driver::new`].
    pub fn new() -> (Mailbox, Receiver<Answer>) {
        let (sender, receiver) = smol::channel::bounded(ANSWERS_MAX);
        (Mailbox(sender), receiver)
    }

    /// Posts an answer. Waits while the box is full, so never call it on the main thread with more than
    /// a few answers outstanding. After the driver's end it does nothing.
    pub fn post(&self, answer: Answer) {
        let _ = self.0.send_blocking(answer);
    }
}

/// A store that keeps nothing and agrees to everything at once. For tests, and until the real one is opened.
pub struct ForgetfulStore(Mailbox);

impl ForgetfulStore {
    /// Answers into this mailbox.
    pub fn new(mailbox: Mailbox) -> ForgetfulStore {
        ForgetfulStore(mailbox)
    }
}

struct Nothing;

impl View for Nothing {
    fn read(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
    fn scan(&self, _: &[u8], _: &[u8], _: bool, _: &mut dyn FnMut(&[u8], &[u8]) -> std::ops::ControlFlow<()>) {}
}

impl StorePort for ForgetfulStore {
    fn view(&self) -> &dyn View {
        &Nothing
    }
    fn commit(&mut self, batch: BatchId, _: Vec<u8>) {
        self.0.post(Answer::Committed(batch));
    }
    fn flush(&mut self, _: Arc<Layer>) {
        self.0.post(Answer::Flushed(Ok(())));
    }
    fn backup(&mut self, query: QueryId, _: PathBuf) {
        self.0.post(Answer::BackedUp(query, Err("this store keeps nothing".into())));
    }
}
