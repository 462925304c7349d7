//! Floor 7: sockets, TLS, files, clocks, signals. The only floor that waits, blocks or fails at the system.

pub mod certificate;
pub mod clock;
pub mod conn;
mod der;
pub mod driver;
pub mod listen;
pub mod log;
pub mod pool;
pub mod system;
mod table;
pub mod tls;
