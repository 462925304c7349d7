//! Tells by which other ways a domain is reached than by the TCP ports that DNS names.
//!
//! Source: XEP-0156 v1.4.0 §3, RFC 6415 §2 and §3. Invariant: only ways under TLS are told, and only those that are there.

use crate::{
    config::Config,
    router::{
        context::Ctx,
        service::{Card, Service},
        web::{Answer, BOSH_PATH, Method, Page, Request, RequestId, WEBSOCKET_PATH},
    },
    wire::{element::Element, jid},
};

/// XEP-0156.
#[derive(Debug)]
pub struct Alternatives;

static CARD: Card =
    Card { name: "alternatives", source: "XEP-0156 v1.4.0", features: &[], stream_features: &[], iq: &[], passes: &[] };

/// RFC 6415 §2.
const XRD: &str = "http://docs.oasis-open.org/ns/xri/xrd-1.0";
/// XEP-0156 §3.
const WEBSOCKET: &str = "urn:xmpp:alt-connections:websocket";
/// XEP-0156 §3.
const BOSH: &str = "urn:xmpp:alt-connections:xbosh";

impl Service for Alternatives {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn paths(&self) -> &'static [&'static str] {
        &[".well-known"]
    }

    fn web(&mut self, _: RequestId, request: &Request, ctx: &mut Ctx<'_>) -> Option<Answer> {
        let page = match (request.method, request.target.path().as_slice()) {
            (Method::Options, _) => Page::empty(204),
            (Method::Get | Method::Head, [_, "host-meta"]) => xml(request, ctx.config()),
            (Method::Get | Method::Head, [_, "host-meta.json"]) => json(request, ctx.config()),
            (_, [_, "host-meta" | "host-meta.json"]) => Page::not_allowed("OPTIONS, HEAD, GET"),
            _ => Page::not_found(),
        };
        Some(page.for_all_origins().into())
    }
}

/// Kind and address of each way.
fn links(request: &Request, config: &Config) -> Vec<(&'static str, String)> {
    let is_asked = |domain: &&String| {
        request.host.as_ref().is_some_and(|host| *host == **domain || *host == jid::ascii_domain(domain))
    };
    // A proxy calls us as it likes, and `web.url` may name us otherwise: then the first domain is meant.
    let domain = config.domains.iter().find(is_asked).or(config.domains.first());
    let url = domain.and_then(|domain| config.web_url(domain));
    let Some(place) = url.as_deref().and_then(|url| url.strip_prefix("https://")) else { return Vec::new() };
    vec![(WEBSOCKET, format!("wss://{place}/{WEBSOCKET_PATH}")), (BOSH, format!("https://{place}/{BOSH_PATH}"))]
}

fn xml(request: &Request, config: &Config) -> Page {
    let links = links(request, config).into_iter();
    let links = links.map(|(rel, href)| Element::new("Link", XRD).attr("rel", rel).attr("href", href));
    let mut out = b"<?xml version='1.0' encoding='utf-8'?>\n".to_vec();
    out.extend_from_slice(&Element::new("XRD", XRD).with(links).to_vec());
    Page::ok("application/xrd+xml; charset=utf-8", out)
}

/// Addresses hold nothing that JSON escapes: they are made of host names and digits.
fn json(request: &Request, config: &Config) -> Page {
    let links = links(request, config).into_iter();
    let links: Vec<_> = links.map(|(rel, href)| format!("{{\"rel\":\"{rel}\",\"href\":\"{href}\"}}")).collect();
    Page::ok("application/json", format!("{{\"links\":[{}]}}", links.join(",")).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proto::http::target::Target,
        router::{event::Effect, testing::House},
    };

    fn ask(method: Method, path: &str, host: Option<&str>) -> Page {
        let mut house = House::new();
        let mut config = (*house.core.config).clone();
        config.domains.push("münchen.lit".into());
        house.configure(std::rc::Rc::new(config));
        let request = Request {
            method,
            target: Target::parse(path).unwrap(),
            host: host.map(str::to_owned),
            peer: [192, 0, 2, 1].into(),
            is_forwarded: false,
            length: None,
            kind: None,
            languages: None,
            agent: None,
            body: Vec::new(),
        };
        house.with(|router, ctx| router.web(RequestId(1), &request, ctx));
        match house.effects.pop() {
            Some(Effect::Respond(_, answer)) => match *answer {
                Answer::Page(page) => page,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn text(page: &Page) -> String {
        String::from_utf8(page.body.to_vec()).unwrap()
    }

    #[test]
    fn browsers_find_the_websocket() {
        // XEP-0156 §3.
        let page = ask(Method::Get, "/.well-known/host-meta", Some("capulet.lit"));
        assert_eq!((page.status, page.kind), (200, "application/xrd+xml; charset=utf-8"));
        let link = "<Link rel='urn:xmpp:alt-connections:websocket' href='wss://capulet.lit:5443/ws'/>";
        assert!(text(&page).contains(link), "{}", text(&page));
        let link = "<Link rel='urn:xmpp:alt-connections:xbosh' href='https://capulet.lit:5443/bosh'/>";
        assert!(text(&page).contains(link), "{}", text(&page));
        assert!(page.headers.contains(&("access-control-allow-origin", "*".into())));
        let page = ask(Method::Get, "/.well-known/host-meta.json", Some("xn--mnchen-3ya.lit"));
        let expected = "{\"links\":[{\"rel\":\"urn:xmpp:alt-connections:websocket\",\"href\":\"wss://xn--mnchen-3ya.lit:5443/ws\"},\
                        {\"rel\":\"urn:xmpp:alt-connections:xbosh\",\"href\":\"https://xn--mnchen-3ya.lit:5443/bosh\"}]}";
        assert_eq!((page.kind, text(&page).as_str()), ("application/json", expected));
        assert!(text(&ask(Method::Get, "/.well-known/host-meta", None)).contains("wss://capulet.lit:5443/ws"));
    }

    #[test]
    fn other_paths_and_names_tell_nothing() {
        assert_eq!(ask(Method::Get, "/.well-known/security.txt", Some("capulet.lit")).status, 404);
        assert_eq!(ask(Method::Post, "/.well-known/host-meta", Some("capulet.lit")).status, 405);
        assert_eq!(ask(Method::Get, "/.well-known/host-meta", Some("montague.lit")).status, 421);
    }
}
