//! The page from an invitation to an account.

use super::*;
use crate::{
    proto::http::target::Target,
    router::{event::Effect, testing::House},
};

fn request(method: Method, path: &str, languages: &str, body: &str) -> Request {
    Request {
        method,
        target: Target::parse(path).unwrap(),
        host: Some("capulet.lit".into()),
        peer: [192, 0, 2, 1].into(),
        is_forwarded: false,
        length: None,
        kind: Some("application/x-www-form-urlencoded".into()),
        languages: Some(languages.into()),
        agent: Some("Mozilla/5.0 (Linux; Android 16)".into()),
        body: body.into(),
    }
}

/// The page that comes out; credentials are derived on the way.
fn ask(house: &mut House, request: &Request) -> (u16, String, Page) {
    house.with(|router, ctx| router.web(RequestId(1), request, ctx));
    if house.effects.iter().any(|effect| matches!(effect, Effect::Derive(..))) {
        house.derived();
    }
    match house.effects.pop() {
        Some(Effect::Respond(_, answer)) => match *answer {
            Answer::Page(page) => (page.status, String::from_utf8(page.body.to_vec()).unwrap(), page),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn get(house: &mut House, path: &str) -> (u16, String, Page) {
    ask(house, &request(Method::Get, path, "en", ""))
}

fn post(house: &mut House, path: &str, body: &str) -> (u16, String, Page) {
    ask(house, &request(Method::Post, path, "en", body))
}

/// A house and the path of an open invitation.
fn invited() -> (House, String) {
    let mut house = House::new();
    let wish = lifecycle::Invite { domain: "capulet.lit", ..lifecycle::Invite::default() };
    let page = lifecycle::invite(&mut house.ctx(), &wish).unwrap().page.unwrap();
    let path = page.strip_prefix("https://capulet.lit:5443").unwrap().to_owned();
    (house, path)
}

#[test]
fn a_form_makes_an_account_and_uses_up_the_invitation() {
    let (mut house, path) = invited();
    let (status, html, page) = get(&mut house, &path);
    assert_eq!(status, 200);
    assert!(html.contains("xmpp:capulet.lit?register;preauth=") && html.contains("<svg"), "{html}");
    assert!(html.len() <= 30 * 1024, "{}", html.len());
    assert!(page.headers.iter().any(|(name, value)| *name == "content-security-policy" && value.contains("'none'")));
    let (status, html, _) = post(&mut house, &path, "name=Juliet&password=correct+horse");
    assert_eq!(status, 201, "{html}");
    assert!(html.contains("<strong>juliet@capulet.lit</strong>"), "{html}");
    let jid = Jid::parse("juliet@capulet.lit").unwrap();
    assert!(accounts::exists(&house.ctx().store(), &jid));
    for (status, ..) in [get(&mut house, &path), post(&mut house, &path, "name=nurse&password=correct+horse")] {
        assert_eq!(status, 404, "one invitation, one account");
    }
}

#[test]
fn nobody_gets_in_without_an_invitation() {
    // S12, S47.
    let (mut house, path) = invited();
    house.account("romeo@capulet.lit");
    let body = "name=romeo&password=correct+horse";
    let mut told = Vec::new();
    for path in ["/i", "/i/", "/i/0123456789abcdef", "/i/x/free?name=romeo", "/i/x/free?name=nobody"] {
        told.push(get(&mut house, path));
        told.push(post(&mut house, path, body));
    }
    assert!(told.iter().all(|(status, html, _)| *status == 404 && *html == told[0].1), "{told:?}");
    house.wall_us += (limits::INVITATION_S + 1) * 1_000_000;
    assert_eq!(get(&mut house, &path).0, 404);
    assert_eq!(post(&mut house, &path, "name=nurse&password=correct+horse").0, 404);
}

#[test]
fn what_is_wrong_is_told_and_the_invitation_stays_good() {
    let (mut house, path) = invited();
    house.account("romeo@capulet.lit");
    for (body, status, told) in [
        ("name=romeo&password=correct+horse", 409, words::ENGLISH.taken),
        ("name=ROMEO%40capulet.lit&password=correct+horse", 409, words::ENGLISH.taken),
        ("name=a+b&password=correct+horse", 422, words::ENGLISH.bad_name),
        ("name=a%40elsewhere.lit&password=correct+horse", 422, words::ENGLISH.bad_name),
        ("name=&password=correct+horse", 422, words::ENGLISH.bad_name),
        ("password=correct+horse", 422, words::ENGLISH.bad_name),
        ("name=nurse&password=short", 422, words::ENGLISH.short_password),
        ("name=nurse", 422, words::ENGLISH.short_password),
    ] {
        let (code, html, _) = post(&mut house, &path, body);
        assert_eq!(code, status, "{body}");
        assert!(html.contains(told), "{body}: {html}");
    }
    let mut other = request(Method::Post, &path, "en", "name=nurse&password=correct+horse");
    other.kind = Some("text/plain".into());
    assert_eq!(ask(&mut house, &other).0, 415);
    assert_eq!(post(&mut house, &path, "name=+nurse%40capulet.lit+&password=correct+horse").0, 201);
}

#[test]
fn what_was_typed_cannot_leave_its_place() {
    // S42.
    let (mut house, path) = invited();
    let (_, html, _) = post(&mut house, &path, "name=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E&password=x");
    assert!(!html.contains("<script>") && html.contains("&lt;script&gt;"), "{html}");
}

#[test]
fn the_page_speaks_the_language_of_the_browser() {
    for (accept, language) in [
        ("it-IT,it;q=0.9,en;q=0.5", "it"),
        ("en-GB,it;q=0.8", "en"),
        ("de, fr;q=0.9, it;q=0.3", "it"),
        ("de", "en"),
        ("", "en"),
        ("it;q=0", "en"),
        (";;;,,,q=,it;q=x", "it"),
    ] {
        let (mut house, path) = invited();
        let (_, html, _) = ask(&mut house, &request(Method::Get, &path, accept, ""));
        assert!(html.contains(&format!("<html lang=\"{language}\">")), "{accept}");
    }
}

#[test]
fn names_are_looked_up_for_those_who_are_invited() {
    let (mut house, path) = invited();
    house.account("romeo@capulet.lit");
    for (name, verdict) in [("romeo", "taken"), ("nurse", "ok"), ("a%20b", "bad"), ("", "bad")] {
        assert_eq!(get(&mut house, &format!("{path}/free?name={name}")).1, verdict, "{name}");
    }
    let script = get(&mut house, "/i/check.js");
    assert_eq!((script.0, script.2.kind), (200, "text/javascript; charset=utf-8"));
}

#[test]
fn the_right_app_comes_first() {
    let (mut house, path) = invited();
    for (agent, first) in [
        ("Mozilla/5.0 (Linux; Android 16)", "Conversations"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0)", "Monal"),
        ("Mozilla/5.0 (X11; Linux x86_64)", "Dino"),
    ] {
        let mut request = request(Method::Get, &path, "en", "");
        request.agent = Some(agent.into());
        let (_, html, _) = ask(&mut house, &request);
        let list = html.split("<ul>").nth(1).unwrap();
        assert!(list.trim_start().split("</li>").next().unwrap().contains(first), "{agent}");
    }
}

#[test]
fn two_forms_at_once_make_one_account() {
    let (mut house, path) = invited();
    let first = request(Method::Post, &path, "en", "name=nurse&password=correct+horse");
    house.with(|router, ctx| router.web(RequestId(1), &first, ctx));
    let second = request(Method::Post, &path, "en", "name=peter&password=correct+horse");
    house.with(|router, ctx| router.web(RequestId(2), &second, ctx));
    let busy = house.effects.pop();
    assert!(
        matches!(&busy, Some(Effect::Respond(RequestId(2), answer)) if matches!(&**answer, Answer::Page(page) if page.status == 503)),
        "{busy:?}"
    );
    house.derived();
    assert!(accounts::exists(&house.ctx().store(), &Jid::parse("nurse@capulet.lit").unwrap()));
    assert!(!accounts::exists(&house.ctx().store(), &Jid::parse("peter@capulet.lit").unwrap()));
}

#[test]
fn the_page_says_who_invites_and_makes_them_contacts() {
    // XEP-0401 §3.2 and §5.
    let mut house = House::new();
    house.account("romeo@capulet.lit");
    let romeo = Jid::parse("romeo@capulet.lit").unwrap();
    let mut config = (*house.core.config).clone();
    config.registration = crate::config::Registration::Invited;
    house.configure(std::rc::Rc::new(config));
    let (domain, inviter) = ("capulet.lit", Some(&romeo));
    let wish = lifecycle::Invite { domain, inviter, befriends: true, is_contact: true, ..lifecycle::Invite::default() };
    let page = lifecycle::invite(&mut house.ctx(), &wish).unwrap().page.unwrap();
    let path = page.strip_prefix("https://capulet.lit:5443").unwrap().to_owned();
    let (status, html, _) = get(&mut house, &path);
    assert_eq!(status, 200);
    assert!(html.contains("romeo@capulet.lit invites you to chat on capulet.lit"), "{html}");
    assert!(html.contains("xmpp:romeo@capulet.lit?roster;preauth=") && html.contains("<form "), "{html}");
    assert_eq!(post(&mut house, &path, "name=juliet&password=correct+horse").0, 201);
    let juliet = house.ctx().account(&Jid::parse("juliet@capulet.lit").unwrap()).unwrap();
    let state = crate::domain::roster::state(&house.ctx().store(), juliet, "romeo@capulet.lit");
    assert!(state.to && state.from, "{state:?}");
    // Where only administrators give accounts, it is a contact and no more.
    let mut config = (*house.core.config).clone();
    config.registration = crate::config::Registration::Closed;
    house.configure(std::rc::Rc::new(config));
    let page = lifecycle::invite(&mut house.ctx(), &wish).unwrap().page.unwrap();
    let path = page.strip_prefix("https://capulet.lit:5443").unwrap().to_owned();
    let (status, html, _) = get(&mut house, &path);
    assert!(status == 200 && !html.contains("<form "), "{html}");
    assert_eq!(post(&mut house, &path, "name=nurse&password=correct+horse").0, 404);
    assert_eq!(get(&mut house, &format!("{path}/free?name=nurse")).0, 404);
}

#[test]
fn a_link_lets_somebody_choose_a_new_password() {
    let mut house = House::new();
    house.account("juliet@capulet.lit");
    let juliet = Jid::parse("juliet@capulet.lit").unwrap();
    let page = lifecycle::password_link(&mut house.ctx(), &juliet).unwrap().page.unwrap();
    let path = page.strip_prefix("https://capulet.lit:5443").unwrap().to_owned();
    let (status, html, _) = get(&mut house, &path);
    assert!(status == 200 && html.contains("juliet@capulet.lit") && html.contains("autocomplete=\"new-password\""));
    let (status, html, _) = post(&mut house, &path, "password=short");
    assert!(status == 422 && html.contains(words::ENGLISH.short_password), "{html}");
    assert_eq!(post(&mut house, &path, "password=correct+horse").0, 200);
    assert_eq!(get(&mut house, &path).0, 404, "once");
    // A new password by other means makes older links worthless, and so does the account's end.
    let link = lifecycle::password_link(&mut house.ctx(), &juliet).unwrap().page.unwrap();
    let path = link.strip_prefix("https://capulet.lit:5443").unwrap().to_owned();
    let credentials = House::credentials("another one");
    lifecycle::change_password(&mut house.ctx(), &juliet, credentials, None).unwrap();
    assert_eq!(get(&mut house, &path).0, 404);
}

#[test]
fn the_status_is_shown_to_who_has_its_link_only() {
    // S47.
    let (mut house, invitation) = invited();
    let page = lifecycle::status_link(&mut house.ctx(), "capulet.lit").unwrap().page.unwrap();
    let path = page.strip_prefix("https://capulet.lit:5443").unwrap().to_owned();
    let (status, html, page) = get(&mut house, &path);
    assert!(status == 200 && html.contains("Accounts"), "{html}");
    assert!(page.headers.contains(&("cache-control", "no-store".to_owned())));
    let token = path.strip_prefix("/status/").unwrap();
    assert_eq!(get(&mut house, &format!("/i/{token}")).0, 404, "it invites nobody");
    for other in ["/status", "/status/", "/status/0", &invitation.replace("/i/", "/status/")] {
        assert_eq!(get(&mut house, other).0, 404, "{other}");
    }
    house.wall_us += limits::STATUS_LINK_S * 1_000_000;
    assert_eq!(get(&mut house, &path).0, 404);
}

#[test]
fn the_hosts_own_page_says_how_one_gets_in_and_offers_nothing_to_try() {
    let mut house = House::new();
    for path in ["/", "/register"] {
        let (status, html, _) = get(&mut house, path);
        assert_eq!(status, 200);
        assert!(html.contains("<h1>Chat on capulet.lit</h1>") && html.contains("by invitation"), "{html}");
        assert!(!html.contains("<form"), "{html}");
        assert_eq!(post(&mut house, path, "name=juliet&password=correct+horse").0, 405);
    }
    assert_eq!(get(&mut house, "/register/free?name=juliet").0, 404);
    let (_, html, _) = ask(&mut house, &request(Method::Get, "/", "it", ""));
    assert!(html.contains("Chat su capulet.lit") && html.contains("lang=\"it\""), "{html}");
    assert!(!accounts::any(&house.ctx().store()));
}

#[test]
fn where_registration_is_open_the_hosts_page_makes_accounts_up_to_a_bound() {
    let mut house = House::new();
    let mut config = (*house.core.config).clone();
    config.registration = crate::config::Registration::Open;
    house.configure(std::rc::Rc::new(config));
    assert!(get(&mut house, "/").1.contains("action=\"/register\""));
    let (status, html, _) = post(&mut house, "/register", "name=Juliet&password=correct+horse");
    assert_eq!(status, 201, "{html}");
    let jid = Jid::parse("juliet@capulet.lit").unwrap();
    assert!(accounts::exists(&house.ctx().store(), &jid));
    for (body, expected) in [
        ("name=juliet&password=correct+horse", 409),
        ("name=a+b&password=correct+horse", 422),
        ("name=nurse&password=short", 422),
    ] {
        let (status, html, _) = post(&mut house, "/register", body);
        assert_eq!(status, expected, "{html}");
        assert!(html.contains("aria-invalid") && html.contains("<form"), "{html}");
    }
    let made =
        (0..20).filter(|at| post(&mut house, "/register", &format!("name=n{at}&password=correct+horse")).0 == 201);
    assert_eq!(made.count() as u32, limits::REGISTRATIONS_PER_HOUSEHOLD_MAX - 1);
    let (status, html, _) = post(&mut house, "/register", "name=late&password=correct+horse");
    assert!(status == 429 && html.contains("Enough accounts"), "{html}");
}
