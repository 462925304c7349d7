//! Floor 7: sockets, TLS, files, clocks, signals. The only floor that waits, blocks or fails at the system.

mod alarm;
mod bell;
pub mod clock;
pub mod conn;
mod dial;
pub mod driver;
pub mod ending;
mod http;
mod inbound;
pub mod listen;
pub mod load;
pub mod log;
mod memory;
mod outbound;
pub mod pool;
pub mod port;
mod preface;
pub mod probe;
mod reactor;
pub mod resolve;
pub mod store;
pub mod system;
mod table;
pub mod tls;
mod workers;
