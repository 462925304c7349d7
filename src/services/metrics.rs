//! Figures for what draws curves, at `/metrics`, for this machine only.
//!
//! Source: Prometheus text exposition format 0.0.4. Invariant: whoever asks from elsewhere, or through a proxy, learns not
//! even that there is something.

use crate::router::{
    context::Ctx,
    figures,
    service::{Card, Service},
    web::{Answer, Method, Page, Request, RequestId},
};

/// The figures.
#[derive(Debug)]
pub struct Metrics;

static CARD: Card =
    Card { name: "metrics", source: "RFC 9110", features: &[], stream_features: &[], iq: &[], passes: &[] };

impl Service for Metrics {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn paths(&self) -> &'static [&'static str] {
        &["metrics"]
    }

    fn web(&mut self, _: RequestId, request: &Request, ctx: &mut Ctx<'_>) -> Option<Answer> {
        if !request.is_from_here() || request.target.segments.len() != 1 {
            return Some(Page::not_found().into());
        }
        if !matches!(request.method, Method::Get | Method::Head) {
            return Some(Page::not_allowed("HEAD, GET").into());
        }
        Some(Page::ok("text/plain; version=0.0.4; charset=utf-8", text(ctx).into_bytes()).into())
    }
}

fn text(ctx: &mut Ctx<'_>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let build = format!("# TYPE lampone_build_info gauge\nlampone_build_info{{version=\"{version}\"}} 1\n");
    figures::all(ctx).into_iter().fold(build, |out, figure| {
        let (end, ty) = if figure.grows { ("_total", "counter") } else { ("", "gauge") };
        let name = format!("lampone_{}{end}", figure.name.replace('-', "_"));
        format!("{out}# HELP {name} {}\n# TYPE {name} {ty}\n{name} {}\n", figure.label, figure.value)
    })
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::{
        proto::http::target::Target,
        router::{event::Effect, testing::House},
    };

    fn ask(peer: &str, host: Option<&str>, is_forwarded: bool) -> (u16, String) {
        let mut house = House::new();
        house.online("juliet@capulet.lit/chamber");
        let request = Request {
            method: Method::Get,
            target: Target::parse("/metrics").unwrap(),
            host: host.map(str::to_owned),
            peer: peer.parse::<IpAddr>().unwrap(),
            is_forwarded,
            length: None,
            kind: None,
            languages: None,
            agent: None,
            body: Vec::new(),
        };
        house.with(|router, ctx| router.web(RequestId(1), &request, ctx));
        match house.effects.pop() {
            Some(Effect::Respond(_, answer)) => match *answer {
                Answer::Page(page) => (page.status, String::from_utf8(page.body.to_vec()).unwrap()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn this_machine_is_told_the_figures() {
        let (status, text) = ask("127.0.0.1", Some("localhost"), false);
        assert_eq!(status, 200);
        for line in ["lampone_sessions 1", "# TYPE lampone_sessions gauge", "lampone_stanzas_total 0"] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert!(!text.contains("juliet"), "{text}");
        assert_eq!(ask("::1", Some("capulet.lit"), false).0, 200);
    }

    #[test]
    fn nobody_else_is() {
        assert_eq!(ask("192.0.2.1", Some("capulet.lit"), false).0, 404);
        assert_eq!(ask("192.0.2.1", Some("localhost"), false).0, 421);
        assert_eq!(ask("127.0.0.1", None, true).0, 404, "through a proxy that claims to be here");
    }
}
