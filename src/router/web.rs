//! Requests to the web door and their answers: what they mean, without sockets, bytes on the wire or files.
//!
//! Source: RFC 9110. A service names the first segments of the paths that are its own ([`Service::paths`]) and answers in
//! [`Service::web`]; a file's bytes pass between network and disk and never come here.
//!
//! Invariants (S39, S44): who answers is decided by the decoded path alone; a request for a name that is not ours is
//! answered by nobody; every request gets one answer.

use std::{borrow::Cow, net::IpAddr};

use super::{context::Ctx, core::Core, event::Effect, route::Router};
use crate::{
    domain::files::FileId,
    proto::http::{host, target::Target},
};

/// The path at which streams in WebSocket messages begin, RFC 7395.
pub const WEBSOCKET_PATH: &str = "ws";

/// The path at which streams are carried by requests, XEP-0124.
pub const BOSH_PATH: &str = "bosh";

/// The paths at which clients look that were told about another server.
pub const PATHS_ELSEWHERE: [&str; 2] = ["xmpp-websocket", "http-bind"];

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// The methods that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// RFC 9110 §9.3.1.
    Get,
    /// RFC 9110 §9.3.2: as GET; the adapter leaves the content out.
    Head,
    /// RFC 9110 §9.3.4.
    Put,
    /// RFC 9110 §9.3.3.
    Post,
    /// RFC 9110 §9.3.7.
    Options,
}

/// A request: its head, and its body if that is a small one.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is to be done.
    pub method: Method,
    /// To what.
    pub target: Target,
    /// For which host, in lower case and without a port; `None` if it came through a proxy that we trust, which may
    /// call us as it likes.
    pub host: Option<String>,
    /// Who asks, as far as it can be believed.
    pub peer: IpAddr,
    /// A proxy passed it on for somebody.
    pub is_forwarded: bool,
    /// Bytes of the body (`Content-Length`); `None` if it does not say.
    pub length: Option<u64>,
    /// `Content-Type`.
    pub kind: Option<String>,
    /// `Accept-Language`.
    pub languages: Option<String>,
    /// `User-Agent`: a hint at the device, no more.
    pub agent: Option<String>,
    /// The body of a POST, `limits::FORM_BYTES_MAX` at most; empty for others.
    pub body: Vec<u8>,
}

impl Request {
    /// Whether it comes from this machine, as far as that can be known: a proxy here has to say for whom it speaks.
    pub fn is_from_here(&self) -> bool {
        self.peer.to_canonical().is_loopback() && !self.is_forwarded
    }
}

/// How this machine calls itself.
const HERE: &[&str] = &["localhost", "127.0.0.1", "::1"];

/// What the adapter does about a request.
#[derive(Debug)]
pub enum Answer {
    /// Send this.
    Page(Page),
    /// Send a stored file, or what of it was asked for.
    Send(StoredFile),
    /// Send a file of the folder that `web.client` names, by the segments of its path below it; `index.html` of a folder.
    Share(Vec<String>, Vec<(&'static str, String)>),
    /// Take the body, which has exactly so many bytes, into this file; [`super::event::Event::Taken`] tells what became
    /// of it, and another answer follows.
    Take(FileId, u64),
}

/// A short answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Status code, RFC 9110 §15.
    pub status: u16,
    /// `Content-Type`; empty without a body.
    pub kind: &'static str,
    /// The content.
    pub body: Cow<'static, [u8]>,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
}

/// A file of the upload store, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Which.
    pub file: FileId,
    /// Its bytes.
    pub bytes: u64,
    /// `Content-Type`.
    pub kind: String,
    /// `ETag` with its quotes. What is stored never changes.
    pub etag: String,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
}

/// Headers of answers that pages of other origins may read (Fetch standard §3.2); nothing here goes by cookies.
pub const CORS: &[(&str, &str)] = &[
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "OPTIONS, HEAD, GET, PUT, POST"),
    ("access-control-allow-headers", "Authorization, Content-Type, Range"),
    ("access-control-expose-headers", "Content-Range, ETag"),
    ("access-control-max-age", "86400"),
];

impl Page {
    /// A status with a line of text that says it.
    pub fn status(status: u16, text: &'static str) -> Page {
        Page { status, kind: "text/plain; charset=utf-8", body: text.as_bytes().into(), headers: Vec::new() }
    }

    /// Nothing but a status.
    pub fn empty(status: u16) -> Page {
        Page { status, kind: "", body: Cow::Borrowed(b""), headers: Vec::new() }
    }

    /// 200 with this content.
    pub fn ok(kind: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Page {
        Page { status: 200, kind, body: body.into(), headers: Vec::new() }
    }

    /// 404: there is nothing, or nothing that may be known.
    pub fn not_found() -> Page {
        Page::status(404, "There is nothing here.\n")
    }

    /// 405 with the methods that would do (RFC 9110 §15.5.6).
    pub fn not_allowed(methods: &str) -> Page {
        Page::status(405, "This cannot be done here.\n").header("allow", methods)
    }

    /// With another header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Page {
        self.headers.push((name, value.into()));
        self
    }

    /// With the headers that let pages of other origins read it.
    pub fn for_all_origins(mut self) -> Page {
        self.headers.extend(cors());
        self
    }
}

/// [`CORS`] as headers of an answer.
pub fn cors() -> impl Iterator<Item = (&'static str, String)> {
    CORS.iter().map(|(name, value)| (*name, (*value).to_owned()))
}

impl From<Page> for Answer {
    fn from(page: Page) -> Answer {
        Answer::Page(page)
    }
}

/// An answer that waits for the disk.
#[derive(Debug)]
pub struct Reply {
    /// The batch on whose strength it is given.
    pub batch: u64,
    /// To which request.
    pub request: RequestId,
    /// The answer.
    pub answer: Answer,
}

impl Router {
    /// A request came.
    pub fn web(&mut self, id: RequestId, request: &Request, ctx: &mut Ctx<'_>) {
        let answer = match self.answerer_of(request, ctx) {
            Ok(service) => match self.service_mut(service).web(id, request, ctx) {
                Some(answer) => answer,
                None => return,
            },
            Err(page) => page.into(),
        };
        ctx.respond(id, answer);
    }

    fn answerer_of(&self, request: &Request, ctx: &Ctx<'_>) -> Result<usize, Page> {
        // RFC 9110 §15.5.20; S44.
        let is_ours = |name: &String| {
            ctx.core.config.is_web_name(name) || (request.is_from_here() && HERE.contains(&name.as_str()))
        };
        if request.host.as_ref().is_some_and(|name| !is_ours(name)) {
            return Err(Page::status(421, "This name is not served here.\n"));
        }
        let first = request.target.segments.first().map(String::as_str).unwrap_or_default();
        self.services().iter().position(|service| service.paths().contains(&first)).ok_or_else(Page::not_found)
    }
}

impl Ctx<'_> {
    /// Answers a request; if anything was written in this round, once it is durable.
    pub fn respond(&mut self, request: RequestId, answer: impl Into<Answer>) {
        let answer = answer.into();
        let batch = self.core.last_batch();
        if self.core.overlay.has_open() && batch > self.core.committed {
            self.core.replies.push_back(Reply { batch, request, answer });
        } else {
            self.core.effects.push(Effect::Respond(request, Box::new(answer)));
        }
    }

    /// Removes a stored file.
    pub fn discard(&mut self, file: FileId) {
        self.core.effects.push(Effect::Discard(file));
    }
}

impl Core {
    /// Gives the answers for which the disk has done its part.
    pub fn reply_settled(&mut self) {
        while self.replies.front().is_some_and(|reply| reply.batch <= self.committed) {
            let Some(reply) = self.replies.pop_front() else { return };
            self.effects.push(Effect::Respond(reply.request, Box::new(reply.answer)));
        }
    }

    /// What these answers and all later ones tell was discarded.
    pub fn replies_discarded(&mut self, from: usize) {
        for reply in self.replies.iter_mut().skip(from) {
            reply.answer = Page::status(500, "The server made a mistake.\n").for_all_origins().into();
        }
    }

    /// The disk did not take what these answers tell.
    pub fn reply_refused(&mut self, first: u64) {
        for reply in self.replies.iter_mut().filter(|reply| reply.batch >= first) {
            reply.answer = Page::status(507, "The server could not write this to its disk.\n").for_all_origins().into();
        }
    }
}

/// The name that a `Host` header gives; see [`host::name`].
pub fn host_name(header: &str) -> String {
    host::name(header)
}
