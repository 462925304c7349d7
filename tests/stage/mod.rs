//! The stage on which tests play: a simulated world around the server, clients, and an independent reader of XML.
//!
//! | file | what it holds |
//! |---|---|
//! | `xml.rs` | what the server says, read by a parser that is not the server's |
//! | `disk.rs` | a disk that can be slow, refuse, and forget what was not synced |
//! | `world.rs` | the server with a virtual clock, seeded randomness, connections and that disk |
//! | `player.rs` | a client: signs in, counts stanzas, resumes |
//! | `street.rs` | several such worlds whose servers talk to each other |
//! | `chat.rs`, `pattern.rs` | conversations as text |
#![allow(dead_code, reason = "each test binary uses a part of the stage")]

pub mod chat;
pub mod disk;
pub mod pattern;
pub mod player;
pub mod street;
pub mod world;
pub mod xml;

/// A connection's place in its [`Stage`].
pub type Conn = usize;

/// Where clients play: the simulated house or a real process.
pub trait Stage {
    /// Opens a connection; `direct`: it is under TLS from its first byte.
    fn connect(&mut self, direct: bool) -> Conn;
    /// The same to the server of this domain, where there are several.
    fn connect_to(&mut self, _domain: &str, direct: bool) -> Conn {
        self.connect(direct)
    }
    /// Sends bytes to the server.
    fn put(&mut self, conn: Conn, bytes: &[u8]);
    /// Takes what came from the server since the last call. Empty: nothing came, or it is closed.
    fn take(&mut self, conn: Conn) -> Vec<u8>;
    /// The server said `<proceed/>`: starts TLS.
    fn secure(&mut self, conn: Conn);
    /// Whether the server has closed the connection and all it said was taken.
    fn is_closed(&mut self, conn: Conn) -> bool;
    /// Breaks the connection without a word.
    fn cut(&mut self, conn: Conn);
    /// The power fails and comes back: all connections are gone, and all that was not durable.
    fn power_cut(&mut self);
    /// The house, if this is the simulated one.
    fn house(&mut self) -> Option<&mut world::World>;
}
