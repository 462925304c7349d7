//! A browser client at `/chat/`: the files of a folder that the admin names (`web.client`).
//!
//! Source: RFC 9110; Content Security Policy Level 3. Invariants: what the client may load comes from here, as far as a
//! policy can say so; files that people uploaded lie elsewhere, under a policy of their own, and are no part of it.

use crate::router::{
    context::Ctx,
    service::{Card, Service},
    web::{Answer, Method, Page, Request, RequestId},
};

/// Serves the folder.
#[derive(Debug)]
pub struct BrowserClient;

static CARD: Card =
    Card { name: "browser", source: "RFC 9110", features: &[], stream_features: &[], iq: &[], passes: &[] };

/// A client runs its own scripts and speaks to servers; pictures and sounds come from wherever friends keep theirs.
const POLICY: &str = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; \
                      style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' https: data: blob:; \
                      media-src 'self' https: data: blob:; connect-src 'self' https: wss:; object-src 'none'; \
                      base-uri 'self'; form-action 'self'; frame-ancestors 'none'";

impl Service for BrowserClient {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn paths(&self) -> &'static [&'static str] {
        &["chat"]
    }

    fn web(&mut self, _: RequestId, request: &Request, ctx: &mut Ctx<'_>) -> Option<Answer> {
        if ctx.config().web.client.is_none() {
            return Some(Page::not_found().into());
        }
        if !matches!(request.method, Method::Get | Method::Head) {
            return Some(Page::not_allowed("HEAD, GET").into());
        }
        let mut path = request.target.segments.get(1..).unwrap_or_default().to_vec();
        if path.is_empty() && !request.target.is_folder {
            // Relative names in the page mean what stands beside it.
            return Some(Page::empty(308).header("location", "/chat/").into());
        }
        if request.target.is_folder {
            path.push("index.html".to_owned());
        }
        let headers = [("content-security-policy", POLICY), ("cache-control", "no-cache")];
        Some(Answer::Share(path, headers.map(|(name, value)| (name, value.to_owned())).into()))
    }
}
