//! What handlers left to do in this turn, in order.
//!
//! Invariant: a turn ends. Work that is caused by work is counted by how far it is from the handler that began: near
//! ones are what an event means (a session ends, its contacts are told, what that causes), as many as the facts demand,
//! and each is done. Far ones can only be a loop of ours, are bounded, and what is beyond the bound is dropped; but the
//! end of a session never is.

use std::collections::VecDeque;

use super::core::Work;
use crate::limits;

/// The queue of a turn.
#[derive(Debug, Default)]
pub struct Agenda {
    queue: VecDeque<Work>,
    /// How far what is being done now is from the handler that began.
    depth: usize,
    /// How much of the queue is equally far; the rest is one further.
    left: usize,
    /// Steps beyond `limits::WORK_DEPTH_FREE`.
    far: usize,
}

impl Agenda {
    /// To be done after everything that was left before.
    pub fn push(&mut self, work: Work) {
        self.queue.push_back(work);
    }

    /// What is to be done next; `None`: the turn is over.
    pub fn pop(&mut self) -> Option<Work> {
        loop {
            if self.left == 0 {
                (self.left, self.depth) = (self.queue.len(), self.depth + 1);
            }
            let Some(work) = self.queue.pop_front() else {
                (self.depth, self.left, self.far) = (0, 0, 0);
                return None;
            };
            self.left -= 1;
            if self.depth <= limits::WORK_DEPTH_FREE {
                return Some(work);
            }
            self.far += 1;
            if self.far == limits::WORK_FAR_MAX + 1 {
                log::error!("one event caused more than {} steps of a loop; the rest is dropped", limits::WORK_FAR_MAX);
            }
            if self.far <= limits::WORK_FAR_MAX || matches!(work, Work::End(..) | Work::Distrust(..)) {
                return Some(work);
            }
        }
    }

    /// Forgets everything: the turn went wrong.
    pub fn clear(&mut self) {
        *self = Agenda::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::ids::SessionId,
        router::service::Notice,
        wire::error::{StreamCondition, StreamError},
    };

    const SESSION: SessionId = SessionId { slot: 7, generation: 1 };

    fn end() -> Work {
        Work::End(SESSION, Some(StreamError::new(StreamCondition::NotAuthorized)))
    }

    #[test]
    fn a_wide_event_is_done_whole() {
        let mut agenda = Agenda::default();
        let wide = 3 * limits::WORK_FAR_MAX;
        (0..wide).for_each(|_| agenda.push(Work::Notice(Notice::Reloaded)));
        agenda.push(end());
        let mut done = 0;
        while let Some(work) = agenda.pop() {
            done += 1;
            // What the end of a session causes, and what that causes.
            if matches!(work, Work::End(..)) {
                (0..wide).for_each(|_| agenda.push(Work::Notice(Notice::Reloaded)));
            }
        }
        assert_eq!(done, 2 * wide + 1);
    }

    #[test]
    fn a_loop_stops_and_sessions_end_all_the_same() {
        let mut agenda = Agenda::default();
        agenda.push(Work::Notice(Notice::Reloaded));
        let (mut steps, mut ended) = (0, 0);
        while let Some(work) = agenda.pop() {
            steps += 1;
            match work {
                Work::End(..) => ended += 1,
                _ => {
                    agenda.push(Work::Notice(Notice::Reloaded));
                    if steps == limits::WORK_DEPTH_FREE + limits::WORK_FAR_MAX {
                        agenda.push(end());
                    }
                }
            }
        }
        assert_eq!((steps, ended), (limits::WORK_DEPTH_FREE + limits::WORK_FAR_MAX + 1, 1));
        // The next turn has its whole bound again.
        agenda.push(Work::Notice(Notice::Reloaded));
        assert!(agenda.pop().is_some() && agenda.pop().is_none());
    }
}
