//! The page itself: HTML that stands alone, with one style sheet inside, one optional script, and no picture but the code.
//!
//! Invariant: whatever did not come from this file is escaped.

use qrcodegen::{QrCode, QrCodeEcc};

use super::{
    SCRIPT,
    words::{Problem, Words},
};
use crate::{
    router::{lifecycle::INVITATION_PATH, web::Page},
    wire::{build, jid::Jid, time},
};

/// What a page is made from.
pub struct Welcome<'w> {
    pub words: &'static Words,
    pub domain: &'w str,
    /// `xmpp:` link of the invitation.
    pub uri: &'w str,
    /// Address of the page, for other devices.
    pub page: Option<String>,
    /// `User-Agent`.
    pub agent: &'w str,
    pub has_browser_client: bool,
    pub until_s: u64,
    /// Who invites.
    pub inviter: Option<&'w str>,
    /// An account can be made here.
    pub form: Option<Form<'w>>,
}

/// The form that makes an account.
pub struct Form<'w> {
    /// What stands above it.
    pub title: &'static str,
    /// Where it goes.
    pub action: &'w str,
    /// What was given as a name before.
    pub name: &'w str,
    /// The name is chosen already.
    pub is_named: bool,
    pub problem: Option<Problem>,
}

const HTML: &str = "text/html; charset=utf-8";

/// The style is inside the page, known by nothing but its place; the script comes from here.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d1b1e;--paper:#fffdfc;--soft:#5b5560;--line:#c9bfc6;--berry:#a3123f;--on:#fff}\
@media(prefers-color-scheme:dark){:root{--ink:#f2eef0;--paper:#1b181b;--soft:#b9b0b6;--line:#575058;--berry:#ff8fae;--on:#2a0512}}\
*{box-sizing:border-box}\
body{margin:0;background:var(--paper);color:var(--ink);font:1.0625rem/1.5 system-ui,sans-serif}\
main{max-width:34rem;margin:0 auto;padding:1.5rem 1.25rem 3rem}\
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .5rem;overflow-wrap:anywhere}\
h2{font-size:1.15rem;margin:2rem 0 .25rem}\
p{margin:.4rem 0}\
.soft{color:var(--soft)}\
a{color:var(--berry)}\
ul{padding-left:1.2rem;margin:.4rem 0}\
li{margin:.3rem 0}\
.button,button{display:block;width:100%;padding:.8rem 1rem;margin:1rem 0 .5rem;border:0;border-radius:.6rem;background:var(--berry);\
color:var(--on);font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}\
label{display:block;margin-top:1rem;font-weight:600}\
input{display:block;width:100%;padding:.7rem;margin:.25rem 0;border:1px solid var(--line);border-radius:.5rem;background:transparent;\
color:inherit;font:inherit}\
:focus-visible{outline:3px solid var(--berry);outline-offset:2px}\
[aria-invalid=true]{border-color:var(--berry)}\
.told{font-weight:600;color:var(--berry)}\
svg{display:block;width:12rem;max-width:100%;height:auto;margin:.8rem 0;border-radius:.4rem}\
strong{overflow-wrap:anywhere}";

/// Says beneath the name whether it is free, once one stops typing.
const SCRIPT_TEXT: &str = "\
\"use strict\";
const field = document.getElementById(\"name\"), told = document.getElementById(\"verdict\");
let timer, asked = 0;
field.addEventListener(\"input\", () => {
  clearTimeout(timer);
  told.textContent = \"\";
  const mine = ++asked, name = field.value.trim();
  if (!name) return;
  timer = setTimeout(async () => {
    const place = `${field.form.getAttribute(\"action\")}/free?name=${encodeURIComponent(name)}`;
    const verdict = await fetch(place).then((answer) => answer.ok ? answer.text() : \"\").catch(() => \"\");
    if (mine !== asked) return;
    told.textContent = told.dataset[verdict] || \"\";
    field.setAttribute(\"aria-invalid\", String(verdict === \"taken\" || verdict === \"bad\"));
  }, 400);
});
";

/// An app: its name, where it is found.
type App = (&'static str, &'static str);
const ANDROID: App = ("Conversations", "https://play.google.com/store/apps/details?id=eu.siacs.conversations");
const ANDROID_FREE: App = ("Conversations (F-Droid)", "https://f-droid.org/packages/eu.siacs.conversations/");
const APPLE: App = ("Monal", "https://apps.apple.com/app/id317711500");
const COMPUTER: App = ("Gajim", "https://gajim.org/download/");
const COMPUTER_LINUX: App = ("Dino", "https://dino.im/");

fn escaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    build::escape(text, &mut out);
    // What was text is text.
    String::from_utf8(out).unwrap_or_default()
}

fn html(status: u16, words: &Words, title: &str, content: &str, more: &str) -> Page {
    let language = words.language;
    let body = format!(
        "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{}</title>\n<style>{STYLE}</style>\n{more}</head>\n\
         <body>\n<main>\n{content}</main>\n</body>\n</html>\n",
        escaped(title)
    );
    let mut page = Page::ok(HTML, body.into_bytes());
    page.status = status;
    let page = page.header("content-security-policy", POLICY);
    page.header("cache-control", "no-store").header("vary", "Accept-Language")
}

/// The script.
pub fn script() -> Page {
    Page::ok("text/javascript; charset=utf-8", SCRIPT_TEXT.as_bytes())
}

/// The invitation.
pub fn welcome(welcome: &Welcome<'_>) -> Page {
    let Welcome { words, domain, .. } = welcome;
    let host = escaped(domain);
    let title = match welcome.inviter {
        Some(who) => words.invited_by.replace("{who}", &escaped(who)).replace("{}", &host),
        None => words.invited.replace("{}", &host),
    };
    let mut content = format!("<h1>{title}</h1>\n<p>{}</p>\n", words.what);
    content += &format!(
        "<h2>{}</h2>\n<p class=\"soft\">{}</p>\n{}",
        words.app_title,
        words.app_text,
        apps(words, welcome.agent, welcome.has_browser_client)
    );
    content += &format!("<a class=\"button\" href=\"{}\">{}</a>\n", escaped(welcome.uri), words.open);
    if let Some(code) = welcome.page.as_deref().and_then(|page| code(page, words.scan_label)) {
        content += &format!("<p class=\"soft\">{}</p>\n{code}", words.scan);
    }
    if let Some(shown) = &welcome.form {
        content += &form(shown, words, &host);
    }
    let until = if welcome.form.is_some() { words.until } else { words.contact_until };
    content += &format!("<p class=\"soft\">{}</p>\n", until.replace("{}", &day(welcome.until_s)));
    let script = format!("<script src=\"/{INVITATION_PATH}/{SCRIPT}\" defer></script>\n");
    html(200, words, words.title, &content, if welcome.form.is_some() { &script } else { "" })
}

/// What stands at the host's name itself: what this is, how one gets in, and what one gets in with.
pub fn front(
    words: &'static Words,
    domain: &str,
    agent: &str,
    has_browser_client: bool,
    open: Option<&Form<'_>>,
) -> Page {
    let host = escaped(domain);
    let title = words.front_title.replace("{}", &host);
    let mut content = format!("<h1>{title}</h1>\n<p>{}</p>\n", words.what);
    match open {
        Some(shown) => content += &form(shown, words, &host),
        None => content += &format!("<p>{}</p>\n", words.front_closed),
    }
    let apps = apps(words, agent, has_browser_client);
    content += &format!("<h2>{}</h2>\n<p class=\"soft\">{}</p>\n{apps}", words.front_apps, words.app_text);
    let status = open.and_then(|form| form.problem).map_or(200, Problem::status);
    html(status, words, &title, &content, "")
}

/// Apps, the one for this device first.
fn apps(words: &Words, agent: &str, has_browser_client: bool) -> String {
    let android = (words.android, [ANDROID, ANDROID_FREE].as_slice());
    let apple = (words.apple, [APPLE].as_slice());
    let computer = (words.computer, [COMPUTER_LINUX, COMPUTER].as_slice());
    let order = if agent.contains("Android") {
        [android, apple, computer]
    } else if agent.contains("iPhone") || agent.contains("iPad") {
        [apple, android, computer]
    } else {
        [computer, android, apple]
    };
    let mut out = String::from("<ul>\n");
    for (device, apps) in order {
        let links = apps.iter().map(|(name, place)| format!("<a href=\"{place}\" rel=\"noreferrer\">{name}</a>"));
        out += &format!("<li>{} {device}</li>\n", links.collect::<Vec<_>>().join(", "));
    }
    if has_browser_client {
        out += &format!("<li><a href=\"/chat/\">{}</a></li>\n", words.browser);
    }
    out + "</ul>\n"
}

fn form(form: &Form<'_>, words: &'static Words, host: &str) -> String {
    let told = |about_name: bool| match form.problem {
        Some(problem) if problem.is_about_name() == about_name => problem.told(words),
        _ => "",
    };
    let invalid = |about_name: bool| if told(about_name).is_empty() { "" } else { " aria-invalid=\"true\" autofocus" };
    format!(
        "<h2>{title}</h2>\n<p class=\"soft\">{here_text}</p>\n\
         <form method=\"post\" action=\"{action}\" accept-charset=\"utf-8\">\n\
         <label for=\"name\">{name_label}</label>\n\
         <input id=\"name\" name=\"name\" value=\"{name}\" required maxlength=\"64\" autocomplete=\"username\" \
         autocapitalize=\"none\" spellcheck=\"false\" aria-describedby=\"name-hint verdict\"{name_invalid}{named}>\n\
         <p class=\"soft\" id=\"name-hint\">{name_hint}</p>\n\
         <p class=\"told\" id=\"verdict\" role=\"status\" data-ok=\"{free}\" data-taken=\"{taken}\" data-bad=\"{bad}\">{name_told}</p>\n\
         <label for=\"password\">{password_label}</label>\n\
         <input id=\"password\" name=\"password\" type=\"password\" required minlength=\"8\" maxlength=\"256\" \
         autocomplete=\"new-password\" aria-describedby=\"password-hint password-told\"{password_invalid}>\n\
         <p class=\"soft\" id=\"password-hint\">{password_hint}</p>\n\
         <p class=\"told\" id=\"password-told\" role=\"status\">{password_told}</p>\n\
         <button>{create}</button>\n</form>\n",
        title = form.title,
        here_text = words.here_text,
        action = escaped(form.action),
        name_label = words.name,
        name = escaped(form.name),
        name_invalid = invalid(true),
        named = if form.is_named { " readonly" } else { "" },
        name_hint = words.name_hint.replace("{}", host),
        free = words.free,
        taken = words.taken,
        bad = words.bad_name,
        name_told = told(true),
        password_label = words.password,
        password_invalid = invalid(false),
        password_hint = words.password_hint,
        password_told = told(false),
        create = words.create,
    )
}

/// Someone chooses a new password.
pub fn password(words: &'static Words, jid: &Jid, action: &str, until_s: u64, problem: Option<Problem>) -> Page {
    let title = words.choose_title.replace("{}", &escaped(jid.as_str()));
    let (told, invalid) = problem.map_or(("", ""), |problem| (problem.told(words), " aria-invalid=\"true\" autofocus"));
    let content = format!(
        "<h1>{title}</h1>\n<p>{text}</p>\n<form method=\"post\" action=\"{action}\" accept-charset=\"utf-8\">\n\
         <input type=\"hidden\" name=\"name\" value=\"{name}\" autocomplete=\"username\">\n\
         <label for=\"password\">{label}</label>\n\
         <input id=\"password\" name=\"password\" type=\"password\" required minlength=\"8\" maxlength=\"256\" \
         autocomplete=\"new-password\" aria-describedby=\"password-hint password-told\"{invalid}>\n\
         <p class=\"soft\" id=\"password-hint\">{hint}</p>\n\
         <p class=\"told\" id=\"password-told\" role=\"status\">{told}</p>\n\
         <button>{save}</button>\n</form>\n<p class=\"soft\">{until}</p>\n",
        text = words.choose_text,
        action = escaped(action),
        name = escaped(jid.as_str()),
        label = words.password,
        hint = words.password_hint,
        save = words.save,
        until = words.choose_until.replace("{}", &day(until_s)),
    );
    html(problem.map_or(200, Problem::status), words, &title, &content, "")
}

/// The new password is good.
pub fn changed(words: &'static Words, jid: &Jid, has_browser_client: bool) -> Page {
    let address = escaped(jid.as_str());
    let mut content =
        format!("<h1>{}</h1>\n<p>{} <strong>{address}</strong></p>\n", words.changed_title, words.changed_text);
    if has_browser_client {
        content += &format!("<a class=\"button\" href=\"/chat/\">{}</a>\n", words.browser);
    }
    html(200, words, words.changed_title, &content, "")
}

fn day(until_s: u64) -> String {
    let until = time::stamp(until_s.saturating_mul(1_000));
    until.as_str().split('T').next().unwrap_or_default().to_owned()
}

/// The account is made.
pub fn done(words: &'static Words, jid: &Jid, has_browser_client: bool) -> Page {
    let address = escaped(jid.as_str());
    let mut content = format!(
        "<h1>{}</h1>\n<p>{} <strong>{address}</strong></p>\n<p>{}</p>\n",
        words.done_title, words.done_text, words.done_next
    );
    if has_browser_client {
        content += &format!("<a class=\"button\" href=\"/chat/\">{}</a>\n", words.browser);
    }
    html(201, words, words.done_title, &content, "")
}

/// There is no such invitation, or none any more.
pub fn gone(words: &'static Words) -> Page {
    let content = format!("<h1>{}</h1>\n<p>{}</p>\n", words.gone_title, words.gone_text);
    html(404, words, words.gone_title, &content, "")
}

/// The name was taken while the account was being made.
pub fn retry(words: &'static Words, place: &str) -> Page {
    let place = escaped(place);
    let content = format!("<h1>{}</h1>\n<a class=\"button\" href=\"{place}\">{}</a>\n", words.taken, words.again);
    html(409, words, words.taken, &content, "")
}

/// A code as a picture of runs of dark modules.
fn code(text: &str, label: &str) -> Option<String> {
    const QUIET: i32 = 4;
    let code = QrCode::encode_text(text, QrCodeEcc::Low).ok()?;
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).count() as i32;
            if run > 0 {
                path += &format!("M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
            }
            x += run.max(1);
        }
    }
    let side = code.size() + 2 * QUIET;
    Some(format!(
        "<svg viewBox=\"0 0 {side} {side}\" role=\"img\" aria-label=\"{label}\"><path fill=\"#fff\" d=\"M0 0h{side}v{side}H0z\"/>\
         <path fill=\"#000\" d=\"{path}\"/></svg>\n"
    ))
}
