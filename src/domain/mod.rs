//! Floor 3: facts. Accounts, rosters, sessions, and the overlay of writes not yet in the database. Knows no XML.

pub mod overlay;
pub mod store;
