//! How one task of the main thread wakes another without a channel.
//!
//! Invariant: a ring is never lost; one that comes before the wait ends it at once.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Poll, Waker},
};

/// A bell within one thread: rings before the wait count, and many are one.
#[derive(Default)]
pub(super) struct Bell {
    rung: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Bell {
    pub fn ring(&self) {
        self.rung.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Forgets a ring that was answered otherwise.
    pub fn hush(&self) {
        self.rung.set(false);
    }

    /// Waits for a ring and takes it. One task may wait at a time.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            if self.rung.take() {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
