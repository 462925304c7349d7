//! What comes into the core and what goes out of it. Both enums are closed: a new variant is a design decision.

use std::{net::IpAddr, path::PathBuf, rc::Rc, sync::Arc};

use zeroize::Zeroizing;

pub use super::web::{Answer, Request, RequestId};
pub use crate::domain::{
    files::FileId,
    ids::{QueryId, StreamId, Time},
    overlay::BatchId,
};
pub use crate::proto::identity::{PeerCertificate, PeerName};
use crate::{
    config::Config,
    domain::overlay::Layer,
    proto::{sasl::ChannelBinding, scram::Credentials},
    wire::stanza::Chunk,
};

/// Through which door a connection came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Door {
    /// TCP that starts in clear and upgrades by STARTTLS, RFC 6120 §5.
    StartTls(IpAddr),
    /// TCP that starts with TLS, XEP-0368; `Event::Secured` follows before any bytes.
    DirectTls(IpAddr),
    /// WebSocket messages, RFC 7395; `Event::Secured` follows before any bytes. Without TLS only a trusted proxy comes in.
    WebSocket(IpAddr),
    /// Requests and answers, XEP-0124; as [`Door::WebSocket`].
    Bosh(IpAddr),
    /// The same from another server, port 5269.
    PeerStartTls(IpAddr),
    /// The same from another server with TLS from the start (XEP-0368, ALPN `xmpp-server`).
    PeerDirectTls(IpAddr),
    /// A component, in clear, from this machine or a private network (XEP-0114).
    Component(IpAddr),
    /// We connected to another server, for [`Effect::Dial`].
    Dialed {
        /// The question that this answers.
        query: QueryId,
        /// Where it is.
        address: IpAddr,
        /// TLS from the start; `Event::Secured` follows before any bytes.
        tls: bool,
    },
    /// The administration socket; the peer's user id was allowed by the adapter.
    Local {
        /// User id of the peer (`SO_PEERCRED`).
        uid: u32,
    },
}

/// What TLS knows once its handshake is complete.
#[derive(Clone, Debug, Default)]
pub struct Secured {
    /// Data for channel binding.
    pub binding: ChannelBinding,
    /// Server name that the client asked for (SNI), lower case.
    pub server_name: Option<String>,
    /// `1.3` or `1.2`, for `status` and the log.
    pub version: &'static str,
    /// What another server has shown.
    pub peer: Option<Box<PeerCertificate>>,
}

/// Which server to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its domain, in A-labels.
    pub domain: String,
    /// The domain of ours that wants to.
    pub from: String,
}

/// Why a server could not be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialError {
    /// DNS knows no such server.
    NotFound,
    /// DNS or the server did not answer in time.
    Timeout,
    /// No address took a connection; the words are for the log.
    Unreachable(String),
    /// TLS failed; the words are for the log.
    Tls(String),
}

/// Why the store refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// No space is left on the medium.
    Full,
    /// The medium failed.
    Io,
}

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeError {
    /// It came too slowly, or not whole.
    Cut,
    /// There is such a file, or it is being taken.
    Exists,
    /// No space is left on the medium.
    Full,
    /// The medium failed.
    Io,
}

/// Everything that can happen to the server.
#[derive(Debug)]
pub enum Event<'a> {
    /// A connection was accepted.
    Opened(StreamId, Door),
    /// Its TLS handshake is complete.
    Secured(StreamId, Secured),
    /// Bytes came in, decrypted. All are consumed in this turn.
    Received(StreamId, &'a [u8]),
    /// More than `limits::OUTBOX_BYTES_MAX` bytes wait to be written after the socket took what it could.
    Stuck(StreamId),
    /// A stuck stream has written everything.
    Drained(StreamId),
    /// The connection is gone: end of file, reset, TLS failure, hard cap of the outbox. Never after `Effect::Close`.
    Closed(StreamId),
    /// All batches up to this one are durable.
    Committed(BatchId),
    /// This batch and all after it that were handed over are not durable and will not be.
    Refused(BatchId, StoreError),
    /// The layer given by `Effect::Flush` is in the database (`Ok`), or not: what it held goes with the next one. Every
    /// flush is answered, also one that was refused along with a batch before it.
    Flushed(Result<(), StoreError>),
    /// Credentials were derived from a password.
    Derived(QueryId, Credentials),
    /// A password was compared with credentials.
    Verified(QueryId, bool),
    /// A backup was written, or why not, in words for the admin.
    BackedUp(QueryId, Result<(), String>),
    /// A server could not be connected to.
    DialFailed(QueryId, DialError),
    /// New settings.
    Reloaded(Rc<Config>),
    /// A request came to the web door; answered by `Respond`, or by several if the first is [`super::web::Answer::Take`].
    Asked(RequestId, Box<Request>),
    /// What became of a body that was to be taken. On `Ok` it is durable.
    Taken(RequestId, Result<(), TakeError>),
    /// Stored files that were found at start; those that nobody knows shall go.
    Found(Box<[FileId]>),
    /// The process shall end: close streams with `system-shutdown`, commit, then `Effect::Stop`.
    Shutdown,
    /// The time that `Server::deadline` asked for has come.
    Tick,
}

/// Everything that the server can want from the world.
#[derive(Debug)]
pub enum Effect {
    /// Append to the stream's outbox; written at the end of the driver's round, in one TLS record if it fits.
    Write(StreamId, Chunk),
    /// Write what waits, then start the TLS handshake; bytes in clear that came before it are dropped.
    StartTls(StreamId),
    /// Stop reading from the stream.
    Pause(StreamId),
    /// Read again.
    Resume(StreamId),
    /// Write what waits (bounded in time), close. No event follows for this id; the slot may be reused.
    Close(StreamId),
    /// Make these puts durable, in order; answered by `Committed` or `Refused`.
    Commit(BatchId, Vec<u8>),
    /// Move this frozen layer into the database; answered by `Flushed`. At most one is under way.
    Flush(Arc<Layer>),
    /// Derive credentials on a pool thread; answered by `Derived`.
    Derive(QueryId, Zeroizing<String>),
    /// Compare a password on a pool thread, in a time that tells nothing; answered by `Verified`.
    Verify(QueryId, Box<Credentials>, Zeroizing<String>),
    /// Write a consistent copy of the store to this file; answered by `BackedUp`.
    Backup(QueryId, PathBuf),
    /// Answer a request; of no effect if whoever asked is gone.
    Respond(RequestId, Box<Answer>),
    /// Remove a stored file; one that is not there is no fault.
    Discard(FileId),
    /// Connect to another server; answered by `Opened` through [`Door::Dialed`] or by `DialFailed`.
    Dial(QueryId, Box<Target>),
    /// All streams are closed and all is durable: end the process.
    Stop,
}

/// Randomness from outside.
pub trait Entropy {
    /// Fills the buffer with bytes fit for secrets.
    fn fill(&mut self, buffer: &mut [u8]);
}

/// What a turn may know of the world.
pub struct Env<'e> {
    /// For deadlines.
    pub now: Time,
    /// Microseconds since 1970, for stamps and ids; may jump.
    pub wall_us: u64,
    /// The database as of the last flush.
    pub view: &'e dyn crate::domain::store::View,
    /// Randomness.
    pub entropy: &'e mut dyn Entropy,
}
