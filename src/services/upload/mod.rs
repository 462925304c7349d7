//! Files that people send one another: a slot by XMPP, the file itself by HTTP.
//!
//! Source: XEP-0363 v1.2.0. `slot.rs` has the slot, which is a signed address and no state; `keep.rs` what goes from the
//! store of files and when.
//!
//! Invariants: 201 is said when file and record are durable; a slot is good for one file of the promised size, for a
//! while (S41); what is promised counts against the quotas as what is stored does; a file that was uploaded can do
//! nothing in a browser but be looked at, or saved.

mod keep;
mod slot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use self::slot::Slot;
use crate::{
    config::Config,
    domain::{
        files::{self, FileId, Record},
        ids::AccountId,
    },
    limits,
    proto::http::target,
    router::{
        context::Ctx,
        event::TakeError,
        service::{Card, Iq, Notice, Reply, Scope, Service},
        web::{Answer, Method, Page, Request, RequestId, StoredFile, cors},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        form::{Field, Form, FormType},
        ns, time,
    },
};

/// XEP-0363.
#[derive(Debug, Default)]
pub struct Upload {
    /// Slots that were given and not used yet; bounded by `limits::SLOTS_MAX`.
    promised: VecDeque<Promised>,
    /// Bodies that are being taken; not more than there are connections.
    taking: BTreeMap<RequestId, Slot>,
    /// Bytes of all stored files, once they were counted.
    total: Option<u64>,
    keep: keep::Keep,
}

/// A slot that was given.
#[derive(Debug)]
struct Promised {
    file: FileId,
    account: AccountId,
    bytes: u64,
    expires_s: u64,
}

static CARD: Card = Card {
    name: "upload",
    source: "XEP-0363 v1.2.0",
    features: &[],
    stream_features: &[],
    iq: &[(Scope::Host, ns::UPLOAD, "request"), (Scope::Hosted, ns::UPLOAD, "request")],
    passes: &[],
};

/// Where files are, below the address of the web door.
const PATH: &str = "upload";
/// Seconds of the day that a quota is about.
const DAY_S: u64 = 86_400;
const TOO_MUCH: StanzaError = StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait);

/// Types that a browser may show where they are (S41); it runs nothing of them. Images of which it does (SVG) are no
/// image here.
const SHOWN: &[&str] = &[
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/webp",
    "image/avif",
    "image/heic",
    "image/heif",
    "image/jxl",
    "image/bmp",
    "audio/",
    "video/",
];

/// Whether people of a domain can upload anything.
fn is_offered(domain: &str, config: &Config) -> bool {
    config.upload.file_bytes > 0 && config.web_url(domain).is_some()
}

impl Service for Upload {
    fn card(&self) -> &'static Card {
        &CARD
    }

    /// §3; told of the domain itself, where one name is enough, and of a host name, for who looks for one only.
    fn disco(&self, scope: Scope, domain: &str, config: &Config) -> Vec<Element> {
        if scope == Scope::Own || (scope == Scope::Host && !is_offered(domain, config)) {
            return Vec::new();
        }
        let feature = |var: String| Element::new("feature", ns::DISCO_INFO).attr("var", var);
        let form = Form::typed(FormType::Result, ns::UPLOAD);
        vec![
            Element::new("identity", ns::DISCO_INFO).attr("category", "store").attr("type", "file"),
            feature(ns::UPLOAD.to_owned()),
            feature(format!("{}#message", ns::UPLOAD_PURPOSE)),
            form.field(Field::plain("max-file-size", config.upload.file_bytes.to_string())).element(),
        ]
    }

    fn host(&self, domain: &str, config: &Config) -> Option<String> {
        let host = config.hosts.upload.as_ref().filter(|_| is_offered(domain, config))?;
        Some(format!("{host}.{domain}"))
    }

    /// §4.
    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        iq.only_get()?;
        let host = ctx.core.hosts.get(iq.domain);
        let domain = host.map_or(iq.domain, |host| &host.domain);
        let base = ctx.config().web_url(domain).filter(|_| is_offered(domain, ctx.config()));
        let base = base.ok_or(StanzaError::new(Condition::ServiceUnavailable))?;
        // One of our own, of this domain.
        let here = iq.from.local().is_some() && iq.from.domain() == domain;
        let account = if here { ctx.account(iq.from) } else { None };
        let account = account.ok_or(StanzaError::new(Condition::Forbidden))?;
        let wish = slot::Wish::read(iq.payload)?;
        self.keep.expire(&mut self.total, ctx);
        self.admit(account, wish.bytes, ctx)?;
        let now_s = ctx.wall_s();
        let slot = Slot {
            file: FileId::new(now_s, ctx.random()),
            account,
            bytes: wish.bytes,
            expires_s: now_s + limits::SLOT_S,
            kind: wish.kind,
            name: wish.name,
        };
        let get = format!("{base}/{PATH}/{}/{}", slot.file.name(), target::encode(&slot.name));
        let put = format!("{get}?slot={}", slot.token(&ctx.core.seal));
        let Slot { file, bytes, expires_s, .. } = slot;
        self.promised.push_back(Promised { file, account, bytes, expires_s });
        Ok(Element::new("slot", ns::UPLOAD)
            .child(Element::new("put", ns::UPLOAD).attr("url", put))
            .child(Element::new("get", ns::UPLOAD).attr("url", get))
            .into())
    }

    fn paths(&self) -> &'static [&'static str] {
        &[PATH]
    }

    fn web(&mut self, id: RequestId, request: &Request, ctx: &mut Ctx<'_>) -> Option<Answer> {
        let answer = match (request.method, request.target.path().as_slice()) {
            (Method::Options, _) => Page::empty(204).for_all_origins().into(),
            (Method::Get | Method::Head, [_, file, name]) => send(file, name, ctx),
            (Method::Put, [_, file, name]) => self.take(id, request, file, name, ctx),
            (_, [_, _, _]) => Page::not_allowed("OPTIONS, HEAD, GET, PUT").for_all_origins().into(),
            _ => Page::not_found().for_all_origins().into(),
        };
        Some(answer)
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        match notice {
            Notice::Taken(id, outcome) => self.taken(*id, *outcome, ctx),
            Notice::FilesFound(found) => self.keep.found(found, &mut self.total, ctx),
            Notice::AccountRemoved(account, _) => self.keep.purge(*account, &mut self.total, ctx),
            Notice::Chores => self.keep.step(&mut self.total, ctx),
            Notice::SessionBound(_) => self.keep.expire(&mut self.total, ctx),
            _ => {}
        }
    }
}

impl Upload {
    /// Whether there is room for another file of this account. What was promised counts as if it were there (S41).
    fn admit(&mut self, account: AccountId, bytes: u64, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
        let Config { upload, .. } = ctx.config();
        let (day_max, total_max) = (upload.day_bytes, upload.total_bytes);
        if bytes > upload.file_bytes {
            let size = Element::new("file-too-large", ns::UPLOAD).leaf("max-file-size", upload.file_bytes.to_string());
            let error = StanzaError::new(Condition::NotAcceptable).kind(ErrorKind::Modify);
            return Err(error.text("The file is too large.").with(size));
        }
        let now_s = ctx.wall_s();
        self.promised.retain(|promised| promised.expires_s > now_s);
        let (rows, stored) =
            files::stored_since(&ctx.store(), account, now_s.saturating_sub(DAY_S), limits::UPLOAD_FILES_PER_DAY_MAX);
        let own = self.promised.iter().filter(|promised| promised.account == account);
        let (own_rows, own_bytes) = own.fold((0, 0u64), |(rows, sum), p| (rows + 1, sum.saturating_add(p.bytes)));
        let of_day = stored.saturating_add(own_bytes).saturating_add(bytes);
        if rows + own_rows >= limits::UPLOAD_FILES_PER_DAY_MAX || of_day > day_max {
            let stamp = time::stamp((now_s + DAY_S) * 1_000);
            let retry = Element::new("retry", ns::UPLOAD).attr("stamp", stamp.as_str());
            return Err(TOO_MUCH.text("That is more than may be uploaded in a day.").with(retry));
        }
        let promised = self.promised.iter().fold(0u64, |sum, promised| sum.saturating_add(promised.bytes));
        let in_all = self.total(ctx).saturating_add(promised).saturating_add(bytes);
        if self.promised.len() >= limits::SLOTS_MAX || in_all > total_max {
            return Err(TOO_MUCH.text("There is no room for files left on the server."));
        }
        Ok(())
    }

    /// Bytes of all stored files.
    fn total(&mut self, ctx: &mut Ctx<'_>) -> u64 {
        *self.total.get_or_insert_with(|| files::stored(&ctx.store(), limits::UPLOAD_FILES_MAX).1)
    }

    /// A body is about to come, §7.
    fn take(&mut self, id: RequestId, request: &Request, file: &str, name: &str, ctx: &mut Ctx<'_>) -> Answer {
        let refuse = |status, text| Page::status(status, text).for_all_origins().into();
        let token = request.target.parameter("slot").unwrap_or_default();
        let slot = FileId::parse(file).and_then(|file| Slot::read(&token, file, name, &ctx.core.seal));
        let Some(slot) = slot else { return refuse(403, "This slot is not from here.\n") };
        if slot.expires_s <= ctx.wall_s() {
            return refuse(403, "This slot is too old.\n");
        }
        let store = ctx.store();
        if files::find(&store, slot.file).is_some() || self.taking.values().any(|other| other.file == slot.file) {
            return refuse(409, "This slot was used.\n");
        }
        match request.length {
            Some(length) if length == slot.bytes => {}
            Some(_) => return refuse(413, "This is not the size that was promised.\n"),
            None => return refuse(411, "The size is missing.\n"),
        }
        // §7: "SHOULD reject the file if the Content-Type has been specified beforehand and does not match".
        let told = request.kind.as_deref().map(|kind| kind.split(';').next().unwrap_or_default().trim());
        let wanted = slot.kind.split(';').next().unwrap_or_default().trim();
        if !slot.kind.is_empty() && told.is_some_and(|told| !told.eq_ignore_ascii_case(wanted)) {
            return refuse(415, "This is not the type that was promised.\n");
        }
        // The account may be gone meanwhile, and after a restart nobody remembers what was promised.
        if crate::domain::accounts::address(&ctx.store(), slot.account).is_none() {
            return refuse(403, "This account is gone.\n");
        }
        if !self.promised.iter().any(|promised| promised.file == slot.file) {
            if self.admit(slot.account, slot.bytes, ctx).is_err() {
                return refuse(507, "There is no room left for this file.\n");
            }
            let Slot { file, account, bytes, expires_s, .. } = slot;
            self.promised.push_back(Promised { file, account, bytes, expires_s });
        }
        // It counts for as long as it comes, however long that is.
        for promised in self.promised.iter_mut().filter(|promised| promised.file == slot.file) {
            promised.expires_s = u64::MAX;
        }
        let (file, bytes) = (slot.file, slot.bytes);
        self.taking.insert(id, slot);
        Answer::Take(file, bytes)
    }

    /// What became of it.
    fn taken(&mut self, id: RequestId, outcome: Result<(), TakeError>, ctx: &mut Ctx<'_>) {
        let Some(slot) = self.taking.remove(&id) else { return };
        let page = match outcome {
            Ok(()) => {
                self.promised.retain(|promised| promised.file != slot.file);
                self.store(slot, ctx)
            }
            Err(error) => {
                // The slot may be used again while it is good; it is promised until then.
                for promised in self.promised.iter_mut().filter(|promised| promised.file == slot.file) {
                    promised.expires_s = slot.expires_s;
                }
                match error {
                    TakeError::Cut => Page::status(400, "The file did not come whole.\n"),
                    TakeError::Exists => Page::status(409, "This slot was used.\n"),
                    TakeError::Full => Page::status(507, "There is no room left on the server.\n"),
                    TakeError::Io => Page::status(500, "The server could not write this to its disk.\n"),
                }
            }
        };
        ctx.respond(id, page.for_all_origins());
    }

    fn store(&mut self, slot: Slot, ctx: &mut Ctx<'_>) -> Page {
        // Removed while the file came: it goes as well.
        if crate::domain::accounts::address(&ctx.store(), slot.account).is_none() {
            ctx.discard(slot.file);
            return Page::status(403, "This account is gone.\n");
        }
        let total = self.total(ctx);
        self.total = Some(total.saturating_add(slot.bytes));
        let Slot { file, account, bytes, kind, name, .. } = slot;
        files::put(&mut ctx.store(), file, &Record { account, bytes, kind, name });
        Page::empty(201)
    }
}

/// The file, to whoever knows its address (§2).
fn send(file: &str, name: &str, ctx: &mut Ctx<'_>) -> Answer {
    let found = FileId::parse(file).and_then(|file| Some((file, files::find(&ctx.store(), file)?)));
    let Some((file, record)) = found.filter(|(file, record)| record.name == name && !keep::is_expired(*file, ctx))
    else {
        return Page::not_found().for_all_origins().into();
    };
    let kind = if record.kind.is_empty() { "application/octet-stream".to_owned() } else { record.kind };
    let lower = kind.to_ascii_lowercase();
    let essence = lower.split(';').next().unwrap_or_default().trim();
    let is_shown = SHOWN.iter().any(|shown| essence == *shown || (shown.ends_with('/') && essence.starts_with(shown)));
    let how = if is_shown { "inline" } else { "attachment" };
    let headers = [
        // RFC 6266 §4.3, RFC 8187.
        ("content-disposition", format!("{how}; filename*=UTF-8''{}", target::encode(&record.name))),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox".to_owned()),
        ("cache-control", "private, max-age=31536000, immutable".to_owned()),
        ("cross-origin-resource-policy", "cross-origin".to_owned()),
    ];
    Answer::Send(StoredFile {
        file,
        bytes: record.bytes,
        kind,
        etag: format!("\"{}\"", file.name()),
        headers: headers.into_iter().chain(cors()).collect(),
    })
}
