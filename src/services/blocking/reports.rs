//! Reports that come with a block request, told to the administrators.
//!
//! Source: XEP-0377 v0.4.1. Invariant: a report changes nothing about the block it came with, goes to nobody but the
//! administrators of this server, and one account cannot fill their inbox with them. What else a report allows
//! (`<report-origin/>`, `<third-party/>`, §5) is not done, so that it need not be asked about.

use std::collections::BTreeMap;

use crate::{
    domain::{accounts, ids::AccountId},
    limits,
    router::{
        context::Ctx,
        service::{Iq, Leg},
    },
    wire::{element::Element, jid::Jid, ns, stanza::Stanza},
};

const DAY_S: u64 = 86_400;

/// How many reports accounts have sent of late.
#[derive(Debug, Default)]
pub struct Reporters {
    /// When the account's day began, and the reports since.
    days: BTreeMap<AccountId, (u64, u32)>,
}

impl Reporters {
    /// Whether one more report may pass. Who has reported nothing for a day is forgotten; if everybody reports at once,
    /// the rest has to wait.
    fn admit(&mut self, reporter: AccountId, now_s: u64) -> bool {
        // The clock may have been put back: then a new day begins as well.
        let is_over = |began: u64| now_s < began || now_s - began >= DAY_S;
        if !self.days.contains_key(&reporter) && self.days.len() >= limits::REPORTERS_MAX {
            self.days.retain(|_, (began, _)| !is_over(*began));
            if self.days.len() >= limits::REPORTERS_MAX {
                return false;
            }
        }
        let (began, count) = self.days.entry(reporter).or_insert((now_s, 0));
        if is_over(*began) {
            (*began, *count) = (now_s, 0);
        }
        *count += 1;
        *count <= limits::REPORTS_PER_DAY_MAX
    }

    /// Tells the administrators of every report among the items of a block request that was carried out.
    pub fn forward(&mut self, owner: AccountId, iq: &Iq<'_>, ctx: &mut Ctx<'_>) {
        for item in iq.payload.children().filter(|child| child.is("item", ns::BLOCKING)) {
            let Some(report) = item.find("report", ns::REPORTING) else { continue };
            let Some(blocked) = item.get("jid").and_then(|jid| Jid::parse(jid).ok()) else { continue };
            // XEP-0377 §4: a report has a reason. One without is none, and blocks all the same (§6).
            let Some(reason) = report.get("reason").filter(|reason| !reason.is_empty()) else { continue };
            let reason = reason_in_words(reason);
            if !self.admit(owner, ctx.wall_s()) {
                log::warn!("{} reports {blocked}: not told, too many reports in a day", iq.from.bare_str());
                continue;
            }
            log::info!("{} reports {blocked}: {reason}", iq.from.bare_str());
            tell(iq, &blocked, &reason, report, ctx);
        }
    }
}

/// XEP-0377 §4; other documents may define more.
fn reason_in_words(reason: &str) -> String {
    match reason {
        "urn:xmpp:reporting:spam" => "spam".to_owned(),
        "urn:xmpp:reporting:abuse" => "abuse".to_owned(),
        other => cut(other, limits::REPORT_REASON_BYTES_MAX).to_owned(),
    }
}

/// One message to each administrator with an account here; it waits for those who are absent.
fn tell(iq: &Iq<'_>, blocked: &Jid, reason: &str, report: &Element, ctx: &mut Ctx<'_>) {
    let Ok(host) = Jid::from_parts(None, iq.from.domain(), None) else { return };
    let mut body = format!("{} has blocked {blocked} and reports it: {reason}", iq.from.bare_str());
    // One language is enough to read; XEP-0377 §8 allows several.
    let text = report.leaf_text("text").unwrap_or_default();
    if !text.trim().is_empty() {
        body += "\n\n";
        body += cut(text.trim(), limits::REPORT_TEXT_BYTES_MAX);
    }
    let ids = report.children().filter(|child| child.is("stanza-id", ns::SID));
    for (at, id) in ids.take(limits::REPORT_STANZA_IDS_MAX).enumerate() {
        body += if at == 0 { "\n\nMessages:" } else { "" };
        let part = |name| cut(id.get(name).unwrap_or_default(), limits::REPORT_REASON_BYTES_MAX);
        body += &format!("\n{} (archive of {})", part("id"), part("by"));
    }
    let message = Element::new("message", ns::CLIENT)
        .leaf("subject", format!("Report about {blocked}: {reason}"))
        .leaf("body", body);
    let mut readers = accounts::admins(&ctx.store(), limits::REPORT_READERS_MAX);
    readers.extend(ctx.config().admins.iter().filter_map(|admin| Jid::parse(admin).ok()));
    readers.sort_unstable();
    readers.dedup();
    readers.retain(|reader| accounts::exists(&ctx.store(), reader));
    for reader in readers.into_iter().take(limits::REPORT_READERS_MAX) {
        let id = ctx.token();
        ctx.send(Leg::Inbound, Stanza::build(&message.clone().attr("id", id), host.clone(), Some(reader)));
    }
}

/// As much of a text as fits.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{ids::SessionId, waiting},
        router::testing::{House, Out, condition_of, result_of, to_session},
    };

    const REPORT: &str = "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>\
        <stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.net' id='28482-98726-73623'/>\
        <text xml:lang='en'>Never came &lt;trouble&gt; to my house like this.</text></report>";

    fn block(house: &mut House, who: SessionId, jid: &str, report: &str) -> Out {
        let item = format!("<item jid='{jid}'>{report}</item>");
        house.send(who, &format!("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'>{item}</block></iq>"))
    }

    fn house() -> (House, SessionId, SessionId) {
        let mut house = House::new();
        house.make_admin("bard@capulet.lit");
        let bard = house.available("bard@capulet.lit/globe");
        let juliet = house.online("juliet@capulet.lit/chamber");
        (house, bard, juliet)
    }

    #[test]
    fn a_report_reaches_the_admins() {
        // XEP-0377 §6, example 6.
        let (mut house, bard, juliet) = house();
        let out = block(&mut house, juliet, "romeo@example.net", REPORT);
        assert_eq!(result_of(&to_session(&out, juliet)), "");
        let told = to_session(&out, bard);
        assert_eq!(told.len(), 1, "{out:?}");
        let message = Element::parse(told[0].1.as_bytes(), ns::CLIENT).unwrap();
        assert_eq!((message.get("from"), message.get("type")), (Some("capulet.lit"), None));
        assert_eq!(message.leaf_text("subject").as_deref(), Some("Report about romeo@example.net: spam"));
        let expected = "juliet@capulet.lit has blocked romeo@example.net and reports it: spam\n\n\
                        Never came <trouble> to my house like this.\n\n\
                        Messages:\n28482-98726-73623 (archive of romeo@example.net)";
        assert_eq!(message.leaf_text("body").as_deref(), Some(expected));
        let list = house.send(juliet, "<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>");
        assert!(result_of(&list).contains("romeo@example.net") && !result_of(&list).contains("report"));
    }

    #[test]
    fn a_report_waits_for_admins_who_are_absent_and_those_of_the_settings_get_it_too() {
        let (mut house, bard, juliet) = house();
        let mut config = (*house.core.config).clone();
        config.admins = vec!["bard@capulet.lit".into(), "nurse@capulet.lit".into(), "nobody@capulet.lit".into()];
        house.configure(std::rc::Rc::new(config));
        let nurse = house.account("nurse@capulet.lit");
        let out = block(&mut house, juliet, "romeo@example.net", REPORT);
        assert_eq!(to_session(&out, bard).len(), 1);
        assert_eq!(waiting::count(&house.ctx().store(), nurse, 9), 1);
    }

    #[test]
    fn a_block_does_not_depend_on_its_report() {
        // XEP-0377 §6.
        let (mut house, bard, juliet) = house();
        for (at, report) in [
            "<report xmlns='urn:xmpp:reporting:1'/>",
            "<report xmlns='urn:xmpp:reporting:1' reason=''/>",
            "<report xmlns='urn:xmpp:reporting:0' reason='urn:xmpp:reporting:spam'/>",
        ]
        .iter()
        .enumerate()
        {
            let out = block(&mut house, juliet, &format!("romeo{at}@example.net"), report);
            assert_eq!((result_of(&to_session(&out, juliet)).as_str(), to_session(&out, bard).len()), ("", 0));
        }
        let out = block(&mut house, juliet, "@", REPORT);
        assert_eq!(condition_of(&out), "jid-malformed");
    }

    #[test]
    fn reports_of_one_account_are_bounded_in_a_day() {
        let (mut house, bard, juliet) = house();
        let told = |house: &mut House, n: u32| {
            let out = block(house, juliet, &format!("spammer{n}@example.net"), REPORT);
            assert_eq!(result_of(&to_session(&out, juliet)), "", "it is blocked in any case");
            to_session(&out, bard).len()
        };
        for n in 0..limits::REPORTS_PER_DAY_MAX {
            assert_eq!(told(&mut house, n), 1);
        }
        assert_eq!(told(&mut house, 1_000), 0);
        house.wall_us += DAY_S * 1_000_000;
        assert_eq!(told(&mut house, 1_001), 1);
    }

    #[test]
    fn reporters_and_what_they_say_are_bounded() {
        let mut reporters = Reporters::default();
        for n in 0..limits::REPORTERS_MAX {
            assert!(reporters.admit(AccountId(n as u32), 0));
        }
        let late = AccountId(limits::REPORTERS_MAX as u32);
        assert!(!reporters.admit(late, 0) && reporters.admit(AccountId(0), 0));
        assert!(reporters.admit(late, DAY_S));
        let (mut house, bard, juliet) = house();
        let ids = "<stanza-id xmlns='urn:xmpp:sid:0' by='a' id='b'/>".repeat(limits::REPORT_STANZA_IDS_MAX + 1);
        let text = "ü".repeat(limits::REPORT_TEXT_BYTES_MAX);
        let reason = "x".repeat(limits::REPORT_REASON_BYTES_MAX + 1);
        let report =
            format!("<report xmlns='urn:xmpp:reporting:1' reason='{reason}'><text>{text}</text>{ids}</report>");
        let out = to_session(&block(&mut house, juliet, "romeo@example.net", &report), bard);
        let told = &out[0].1;
        assert_eq!(told.matches("\nb (archive of a)").count(), limits::REPORT_STANZA_IDS_MAX);
        assert_eq!(told.matches('ü').count(), limits::REPORT_TEXT_BYTES_MAX / 2);
        assert!(!told.contains(&reason) && told.contains(&reason[1..]));
    }
}
