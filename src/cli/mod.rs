//! Floor 8: the front door. The only room that knows the command line, the environment and files of settings.

mod accounts;
mod answer;
mod check;
mod client;
mod command;
mod invitation;
mod output;
mod password;
mod perform;
pub mod serve;
mod settings;
mod users;

pub use perform::main;
