//! Floor 5: services, one capability each. They know neither sockets nor transactions and never import each other.

pub mod deliver;
pub mod presence;
pub mod registration;
pub mod roster;

use crate::router::service::Service;

/// Every service, in the order in which they run within a phase.
pub fn all() -> Vec<Box<dyn Service>> {
    vec![Box::new(deliver::Deliver), Box::new(roster::Roster), Box::new(presence::PresenceService)]
}
