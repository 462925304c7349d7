//! How the server is doing, as a page for administrators: at `/status/` behind a token that `lampone status --link` makes.
//!
//! Source: RFC 9110. Invariants: whoever has no token learns not even that there is something (S47); nothing can be done
//! here, and nobody is named.

use crate::{
    domain::invitations::{self, Purpose},
    router::{
        context::Ctx,
        figures,
        lifecycle::STATUS_PATH,
        service::{Card, Service},
        web::{Answer, Method, Page, Request, RequestId},
    },
};

/// The page.
#[derive(Debug)]
pub struct StatusPage;

static CARD: Card =
    Card { name: "status_page", source: "RFC 9110", features: &[], stream_features: &[], iq: &[], passes: &[] };

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

const STYLE: &str = ":root{color-scheme:light dark}body{font:1.0625rem/1.5 system-ui,sans-serif;max-width:34rem;\
                     margin:0 auto;padding:1.5rem 1.25rem}table{border-collapse:collapse;width:100%}\
                     th{text-align:left;font-weight:400}td{text-align:right;font-variant-numeric:tabular-nums}\
                     th,td{padding:.25rem 0;border-bottom:1px solid #8884}";

impl Service for StatusPage {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn paths(&self) -> &'static [&'static str] {
        &[STATUS_PATH]
    }

    fn web(&mut self, _: RequestId, request: &Request, ctx: &mut Ctx<'_>) -> Option<Answer> {
        let now_s = ctx.wall_s();
        let is_let_in = match request.target.path().as_slice() {
            [_, token] => invitations::find(&ctx.store(), token).is_some_and(|it| it.is_good(Purpose::Status, now_s)),
            _ => false,
        };
        Some(match request.method {
            _ if !is_let_in => Page::not_found().into(),
            Method::Get | Method::Head => page(ctx).into(),
            _ => Page::not_allowed("HEAD, GET").into(),
        })
    }
}

/// Labels are ours and figures are digits: nothing has to be escaped.
fn page(ctx: &mut Ctx<'_>) -> Page {
    let figures = figures::all(ctx).into_iter();
    let rows: String = figures
        .map(|figure| format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", figure.label, figure.value))
        .collect();
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n\
         <title>Lampone</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>Lampone {version}</h1>\n\
         <table>\n{rows}</table>\n</main>\n</body>\n</html>\n",
        version = env!("CARGO_PKG_VERSION"),
    );
    let page = Page::ok("text/html; charset=utf-8", body.into_bytes());
    page.header("content-security-policy", POLICY).header("cache-control", "no-store")
}
