//! One request and its answer: the head as the house wants it, the body to where it says, the answer as hyper wants it.
//!
//! Invariants (S39, S44): a target that could be read in two ways is refused before anybody looks at what it names; what
//! a request says about who sends it counts only from a trusted proxy; a body is read only as far as somebody wants it.

use std::{cell::Cell, convert::Infallible, future::poll_fn, net::IpAddr, pin::Pin, rc::Rc, time::Duration};

use async_io::Timer;
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::{Body, Bytes, Incoming},
    header::{self, HeaderName, HeaderValue},
};
use ring::digest;
use smol::{channel::Receiver, future::or};

use super::{body::Outgoing, files::Files};
use crate::{
    adapters::driver::Driver,
    limits,
    proto::{
        http::{
            host,
            range::{self, Part},
            target::Target,
        },
        websocket,
    },
    router::{
        event::{Answer, Event, RequestId, TakeError},
        web::{BOSH_PATH, Method, PATHS_ELSEWHERE, Page, StoredFile, WEBSOCKET_PATH, cors, host_name},
    },
};

/// Headers of every answer that does not say otherwise: nothing is guessed, shown in frames, or told to others.
const ALWAYS: &[(&str, &str)] = &[
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
];

/// Where streams in WebSocket messages begin.
const WEBSOCKET: [&str; 2] = [WEBSOCKET_PATH, PATHS_ELSEWHERE[0]];

/// Where streams that are carried by requests are.
const BOSH: [&str; 2] = [BOSH_PATH, PATHS_ELSEWHERE[1]];

/// What of the request's head is looked at once the house has answered.
struct Conditions {
    is_head: bool,
    range: Option<String>,
    if_range: Option<String>,
    if_none_match: Option<String>,
}

/// Set when the connection turns into a stream, with the address of its client.
pub(super) type Turns = Rc<Cell<Option<IpAddr>>>;

/// Takes one request to its answer.
pub(super) async fn exchange(
    driver: Rc<Driver>,
    peer: IpAddr,
    is_tls: bool,
    request: Request<Incoming>,
    turns: Turns,
) -> Result<Response<Outgoing>, Infallible> {
    let (parts, body) = request.into_parts();
    let conditions = Conditions {
        is_head: parts.method == hyper::Method::HEAD,
        range: text(&parts.headers, header::RANGE),
        if_range: text(&parts.headers, header::IF_RANGE),
        if_none_match: text(&parts.headers, header::IF_NONE_MATCH),
    };
    let mut body = Some(body);
    let answer = match read_head(&driver, peer, &parts.method, &parts.uri, &parts.headers) {
        Err(page) => Answer::Page(page),
        Ok(head) if is_one_of(&head, &WEBSOCKET) && parts.headers.contains_key(header::UPGRADE) => {
            // In clear it would be a password in clear; a proxy that we trust has had it under TLS.
            match switch(&driver, is_tls || driver.web.is_proxy(peer), &head, &parts.headers) {
                Ok(response) => {
                    turns.set(Some(head.peer));
                    return Ok(response);
                }
                Err(page) => Answer::Page(page),
            }
        }
        Ok(head) if is_one_of(&head, &BOSH) => {
            let is_secure = is_tls || driver.web.is_proxy(peer);
            Answer::Page(super::bosh::converse(&driver, &head, is_secure, body.take()).await)
        }
        Ok(mut head) => match read_form(&mut head, &mut body).await {
            Err(page) => Answer::Page(page),
            Ok(()) => converse(&driver, head, body).await,
        },
    };
    Ok(match answer {
        Answer::Page(page) => page_response(page, &conditions),
        Answer::Send(file) => file_response(&driver, file, &conditions).await,
        Answer::Share(path, headers) => shared_response(&driver, &path, headers, &conditions).await,
        Answer::Take(..) => page_response(Page::status(500, "The server is at fault.\n"), &conditions),
    })
}

/// Whether the request goes to one of these paths, with or without a slash at its end.
fn is_one_of(head: &crate::router::event::Request, names: &[&str]) -> bool {
    matches!(head.target.path().as_slice(), [name] | [name, ""] if names.contains(name))
}

/// The head as the house reads it.
fn read_head(
    driver: &Driver,
    peer: IpAddr,
    method: &hyper::Method,
    uri: &hyper::Uri,
    headers: &HeaderMap,
) -> Result<crate::router::event::Request, Page> {
    let bad = || Page::status(400, "This request makes no sense.\n");
    let method = match *method {
        hyper::Method::GET => Method::Get,
        hyper::Method::HEAD => Method::Head,
        hyper::Method::PUT => Method::Put,
        hyper::Method::POST => Method::Post,
        hyper::Method::OPTIONS => Method::Options,
        _ => return Err(Page::status(501, "This method is not known.\n")),
    };
    let target = uri.path_and_query().map_or(uri.path(), |both| both.as_str());
    let target = Target::parse(target).ok_or_else(bad)?;
    // RFC 9112 §3.2: exactly one Host; the name in an absolute target goes before it.
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, more) = (hosts.next().and_then(|value| value.to_str().ok()), hosts.next());
    let host = uri.authority().map(|authority| authority.as_str()).or(host);
    let (Some(host), None) = (host, more) else { return Err(bad()) };
    let is_proxy = driver.web.is_proxy(peer);
    let forwarded = is_proxy.then(|| {
        let of = |name| joined(headers, name);
        let proxies = driver.web.config.borrow();
        host::forwarded(of("x-forwarded-for").as_deref(), of("forwarded").as_deref(), &proxies.web.proxies)
    });
    Ok(crate::router::event::Request {
        method,
        target,
        host: (!is_proxy).then(|| host_name(host)),
        peer: forwarded.flatten().unwrap_or(peer),
        is_forwarded: headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded"),
        length: text(headers, header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        kind: text(headers, header::CONTENT_TYPE),
        languages: text(headers, header::ACCEPT_LANGUAGE),
        agent: text(headers, header::USER_AGENT),
        body: Vec::new(),
    })
}

/// The opening handshake, RFC 6455 §4.2 and RFC 7395 §3.1. Who may come from which pages is not asked: nothing here goes
/// by what a browser adds on its own (RFC 6455 §10.2).
fn switch(
    driver: &Driver,
    is_secure: bool,
    head: &crate::router::event::Request,
    headers: &HeaderMap,
) -> Result<Response<Outgoing>, Page> {
    let bad = |text| Page::status(400, text);
    let lists = |name: &str, word: &str| {
        joined(headers, name).is_some_and(|list| list.split(',').any(|one| one.trim().eq_ignore_ascii_case(word)))
    };
    if head.host.as_ref().is_some_and(|name| !driver.web.config.borrow().is_web_name(name)) {
        return Err(Page::status(421, "This name is not served here.\n"));
    }
    if !is_secure {
        return Err(Page::status(403, "Not without TLS.\n"));
    }
    if head.method != Method::Get || !lists("upgrade", "websocket") || !lists("connection", "upgrade") {
        return Err(bad("This is no WebSocket handshake.\n"));
    }
    if text(headers, header::SEC_WEBSOCKET_VERSION).as_deref() != Some("13") {
        return Err(Page::status(426, "Version 13 is spoken here.\n").header("sec-websocket-version", "13"));
    }
    // RFC 7395 §3.1: without the sub-protocol there is nothing to say.
    if !lists("sec-websocket-protocol", "xmpp") {
        return Err(bad("The sub-protocol xmpp is spoken here.\n"));
    }
    let key = text(headers, header::SEC_WEBSOCKET_KEY).and_then(|key| websocket::accept_key(&key));
    let key = key.ok_or_else(|| bad("This is no WebSocket handshake.\n"))?;
    let told = [("upgrade", "websocket"), ("connection", "upgrade"), ("sec-websocket-protocol", "xmpp")];
    let mut told: Vec<_> = told.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    told.push(("sec-websocket-accept", key));
    Ok(response(101, &told))
}

/// The content of a POST, which is a form.
async fn read_form(head: &mut crate::router::event::Request, body: &mut Option<Incoming>) -> Result<(), Page> {
    if head.method != Method::Post {
        return Ok(());
    }
    let Some(mut body) = body.take() else { return Ok(()) };
    let read = async {
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let frame = frame.map_err(|_| Page::status(400, "The content did not come whole.\n"))?;
            let Ok(data) = frame.into_data() else { continue };
            if head.body.len() + data.len() > limits::FORM_BYTES_MAX {
                return Err(Page::status(413, "That is too much.\n"));
            }
            head.body.extend_from_slice(&data);
        }
        Ok(())
    };
    let slow = async {
        Timer::after(Duration::from_millis(limits::HTTP_STALL_MS_MAX)).await;
        Err(Page::status(408, "That took too long.\n"))
    };
    or(read, slow).await
}

/// Asks the house, and does what it wants done before it answers for good.
async fn converse(driver: &Rc<Driver>, head: crate::router::event::Request, body: Option<Incoming>) -> Answer {
    let waiting = Waiting::new(driver);
    let (id, receiver) = (waiting.id, &waiting.answers);
    let silent = || Answer::Page(Page::status(503, "The server does not answer.\n"));
    let asked = Event::Asked(id, Box::new(head));
    let (file, bytes) = match driver.ask(id, asked, receiver).await {
        Some(Answer::Take(file, bytes)) => (file, bytes),
        Some(answer) => return answer,
        None => return silent(),
    };
    let mut taking = Taking { waiting: &waiting, is_told: false };
    let files = driver.web.files.borrow().clone();
    let outcome = match (files, body) {
        (Some(files), Some(body)) => files.take(file, bytes, body).await,
        _ => Err(TakeError::Io),
    };
    taking.is_told = true;
    driver.ask(id, Event::Taken(id, outcome), receiver).await.unwrap_or_else(silent)
}

/// A request that waits for the house; forgotten when this goes.
struct Waiting {
    driver: Rc<Driver>,
    id: RequestId,
    answers: Receiver<Answer>,
}

impl Waiting {
    fn new(driver: &Rc<Driver>) -> Waiting {
        let id = RequestId(driver.web.last.get() + 1);
        driver.web.last.set(id.0);
        let (sender, answers) = smol::channel::bounded(2);
        driver.web.asked.borrow_mut().insert(id, sender);
        Waiting { driver: driver.clone(), id, answers }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.driver.web.asked.borrow_mut().remove(&self.id);
    }
}

/// A body that is being taken: the house hears of its end also if the connection breaks.
struct Taking<'w> {
    waiting: &'w Waiting,
    is_told: bool,
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.waiting.driver.post(Event::Taken(self.waiting.id, Err(TakeError::Cut)));
        }
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// All lines of a header that is a list, RFC 9110 §5.3.
fn joined(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("-")).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// An answer's head; what `more` says counts before what always is said.
fn response(status: u16, more: &[(&'static str, String)]) -> Response<Outgoing> {
    let mut response = Response::new(Outgoing::Nothing);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let always = ALWAYS.iter().map(|(name, value)| (*name, (*value).to_owned()));
    for (name, value) in always.chain(more.iter().cloned()) {
        match HeaderValue::try_from(value) {
            Ok(value) => drop(response.headers_mut().insert(HeaderName::from_static(name), value)),
            Err(_) => log::error!("the answer's header {name} cannot be written"),
        }
    }
    response
}

fn page_response(page: Page, conditions: &Conditions) -> Response<Outgoing> {
    let mut headers = page.headers;
    let bytes = page.body.len() as u64;
    if !page.kind.is_empty() {
        headers.push(("content-type", page.kind.to_owned()));
    }
    // What is never the same twice has no tag.
    let is_kept = headers.iter().all(|(name, value)| *name != "cache-control" || value != "no-store");
    if page.status == 200 && is_kept {
        let print = digest::digest(&digest::SHA256, &page.body);
        let etag = print.as_ref().iter().take(8).fold(String::new(), |out, byte| format!("{out}{byte:02x}"));
        let etag = format!("\"{etag}\"");
        headers.push(("etag", etag.clone()));
        if range::wanted(bytes, &etag, None, None, conditions.if_none_match.as_deref()) == Part::Nothing {
            return response(304, &headers);
        }
    }
    if conditions.is_head {
        headers.push(("content-length", bytes.to_string()));
        return response(page.status, &headers);
    }
    let mut response = response(page.status, &headers);
    if bytes > 0 {
        *response.body_mut() = Outgoing::Bytes(Bytes::from(page.body.into_owned()));
    }
    response
}

async fn file_response(driver: &Driver, stored: StoredFile, conditions: &Conditions) -> Response<Outgoing> {
    let StoredFile { file, bytes, kind, etag, mut headers } = stored;
    let files = driver.web.files.borrow().clone();
    let Some(files) = files else { return response(404, &cors().collect::<Vec<_>>()) };
    headers.push(("content-type", kind));
    let open = files.clone();
    let sent = part_response(&files, bytes, &etag, headers, conditions, async move |from| open.find(file, from).await);
    sent.await.unwrap_or_else(|e| {
        log::warn!("the uploaded file {} cannot be read: {e}", file.name());
        response(404, &cors().collect::<Vec<_>>())
    })
}

/// A file of a folder that is open to all.
async fn shared_response(
    driver: &Driver,
    path: &[String],
    mut headers: Vec<(&'static str, String)>,
    conditions: &Conditions,
) -> Response<Outgoing> {
    let folder = driver.web.config.borrow().web.client.clone();
    let files = driver.web.files.borrow().clone();
    let not_found = || page_response(Page::not_found(), conditions);
    let (Some(folder), Some(files)) = (folder, files) else { return not_found() };
    let Some(shared) = files.share(folder, path.to_vec()).await else { return not_found() };
    headers.push(("content-type", shared.kind.to_owned()));
    let (bytes, etag) = (shared.bytes, shared.etag.clone());
    let open = files.clone();
    let sent =
        part_response(&files, bytes, &etag, headers, conditions, async move |from| open.seek(shared, from).await);
    sent.await.unwrap_or_else(|_| not_found())
}

/// The head of a file, and what of it was asked for.
async fn part_response(
    files: &Rc<Files>,
    bytes: u64,
    etag: &str,
    mut headers: Vec<(&'static str, String)>,
    conditions: &Conditions,
    open: impl AsyncFnOnce(u64) -> std::io::Result<std::fs::File>,
) -> std::io::Result<Response<Outgoing>> {
    headers.push(("etag", etag.to_owned()));
    headers.push(("accept-ranges", "bytes".to_owned()));
    let if_none_match = conditions.if_none_match.as_deref();
    // RFC 9110 §14.2: ranges mean something to GET only.
    let range = conditions.range.as_deref().filter(|_| !conditions.is_head);
    let (status, from, length) = match range::wanted(bytes, etag, range, conditions.if_range.as_deref(), if_none_match)
    {
        Part::Nothing => return Ok(response(304, &headers)),
        Part::Beyond => {
            headers.push(("content-range", format!("bytes */{bytes}")));
            return Ok(response(416, &headers));
        }
        Part::Whole => (200, 0, bytes),
        Part::Some { from, bytes: length } => {
            headers.push(("content-range", format!("bytes {from}-{}/{bytes}", from + length - 1)));
            (206, from, length)
        }
    };
    let file = open(from).await?;
    if conditions.is_head {
        headers.push(("content-length", length.to_string()));
        return Ok(response(status, &headers));
    }
    let mut response = response(status, &headers);
    *response.body_mut() = Outgoing::file(files.clone(), file, length);
    Ok(response)
}
