//! Floor 8: the front door. The only room that knows the command line, the environment and files of settings.

mod client;
mod command;
mod invitation;
mod password;
pub mod serve;
mod settings;
mod users;

pub use command::main;
