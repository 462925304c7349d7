//! Floor 3: facts. Accounts, rosters, sessions, and the overlay of writes not yet in the database. Knows no XML.

pub mod accounts;
pub mod archive;
pub mod away;
pub mod blocks;
pub mod components;
pub mod delegations;
pub mod devices;
pub mod files;
pub mod held;
pub mod ids;
pub mod invitations;
pub mod keys;
pub mod nodes;
pub mod overlay;
pub mod peers;
pub mod photo;
pub mod private;
pub mod push;
pub mod rooms;
pub mod roster;
pub mod sessions;
pub mod store;
pub mod telling;
pub mod waiting;
