//! Floor 6: the one owner.

use std::{rc::Rc, vec::Drain};

use crate::{
    config::Config,
    router::event::{Effect, Env, Event, Time},
};

/// All protocol state.
pub struct Server {
    config: Rc<Config>,
    effects: Vec<Effect>,
}

impl Server {
    /// A server with nobody connected.
    pub fn new(config: Rc<Config>, env: &mut Env<'_>) -> Server {
        let _ = env;
        Server { config, effects: Vec::new() }
    }

    /// One thing happens; what is to be done about it comes back, in order.
    #[must_use]
    pub fn turn(&mut self, env: &mut Env<'_>, event: Event<'_>) -> Drain<'_, Effect> {
        let _ = (env, event, &self.config);
        self.effects.drain(..)
    }

    /// The driver's round is over: what was written in its turns becomes one batch.
    #[must_use]
    pub fn settle(&mut self, env: &mut Env<'_>) -> Drain<'_, Effect> {
        let _ = env;
        self.effects.drain(..)
    }

    /// When to send `Event::Tick`.
    pub fn deadline(&self) -> Option<Time> {
        None
    }
}
