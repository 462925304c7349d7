//! Slots, quotas and what goes, in a house without a network; the examples are those of XEP-0363.

use std::rc::Rc;

use super::*;
use crate::{
    domain::accounts,
    proto::http::target::Target,
    router::{
        event::Effect,
        testing::{House, condition_of, result_of},
    },
    wire::jid::Jid,
};

fn house(change: impl FnOnce(&mut Config)) -> House {
    let mut house = House::new();
    let mut config = (*house.core.config).clone();
    change(&mut config);
    house.configure(Rc::new(config));
    house
}

fn request(size: u64) -> String {
    let request = format!(
        "<request xmlns='urn:xmpp:http:upload:0' filename='très cool.jpg' size='{size}' content-type='image/jpeg'/>"
    );
    format!("<iq type='get' to='capulet.lit' id='step_03'>{request}</iq>")
}

/// Path and query to put, path to get.
fn slot(house: &mut House, from: crate::domain::ids::SessionId, size: u64) -> (String, String) {
    let answer = result_of(&house.send(from, &request(size)));
    let path = |tag: &str| {
        let url = answer
            .split(&format!("<{tag} url='https://capulet.lit:5443"))
            .nth(1)
            .and_then(|rest| rest.split('\'').next());
        url.unwrap_or_else(|| panic!("{tag} in {answer}")).to_owned()
    };
    (path("put"), path("get"))
}

fn web(house: &mut House, id: u64, method: Method, target: &str, length: Option<u64>) -> Answer {
    let request = Request {
        method,
        target: Target::parse(target).unwrap(),
        host: Some("capulet.lit".into()),
        peer: [192, 0, 2, 1].into(),
        is_forwarded: false,
        length,
        kind: None,
        languages: None,
        agent: None,
        body: Vec::new(),
    };
    house.with(|router, ctx| router.web(RequestId(id), &request, ctx));
    answer(house)
}

/// The last answer that came out, once all was durable.
fn answer(house: &mut House) -> Answer {
    let at = house.effects.iter().rposition(|effect| matches!(effect, Effect::Respond(..))).unwrap();
    let Effect::Respond(_, answer) = house.effects.remove(at) else { unreachable!() };
    *answer
}

fn status(answer: &Answer) -> u16 {
    match answer {
        Answer::Page(page) => page.status,
        Answer::Send(_) | Answer::Share(..) => 200,
        Answer::Take(..) => 100,
    }
}

/// Uploads a file of this size; where it is.
fn upload(house: &mut House, from: crate::domain::ids::SessionId, size: u64) -> String {
    let (put, get) = slot(house, from, size);
    assert_eq!(status(&web(house, 1, Method::Put, &put, Some(size))), 100);
    house.notice(Notice::Taken(RequestId(1), Ok(())));
    assert_eq!(status(&answer(house)), 201);
    get
}

fn discarded(house: &House) -> usize {
    house.effects.iter().filter(|effect| matches!(effect, Effect::Discard(_))).count()
}

#[test]
fn the_domain_tells_what_can_be_uploaded() {
    // §3.
    let ask = "<iq type='get' to='capulet.lit' id='1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    let mut house = house(|config| config.upload.file_bytes = 5_242_880);
    let juliet = house.online("juliet@capulet.lit/chamber");
    let out = result_of(&house.send(juliet, ask));
    assert!(out.contains("<identity category='store' type='file'/>"), "{out}");
    assert!(out.contains("<feature var='urn:xmpp:http:upload:0'/>"), "{out}");
    assert!(out.contains("<field var='max-file-size'><value>5242880</value></field>"), "{out}");
    for without in [0, 1] {
        let mut config = (*house.core.config).clone();
        if without == 0 {
            config.upload.file_bytes = 0;
        } else {
            config.listen.https.clear();
        }
        house.configure(Rc::new(config));
        let out = result_of(&house.send(juliet, ask));
        assert!(!out.contains("upload"), "{out}");
        assert_eq!(condition_of(&house.send(juliet, &request(1))), "service-unavailable");
    }
}

#[test]
fn a_slot_has_two_addresses_of_one_file() {
    // §4.
    let mut house = house(|_| {});
    let juliet = house.online("juliet@capulet.lit/chamber");
    let (put, get) = slot(&mut house, juliet, 23_456);
    assert!(get.ends_with("/tr%C3%A8s%20cool.jpg") && put.starts_with(&format!("{get}?slot=")), "{put}");
    let Answer::Take(_, 23_456) = web(&mut house, 1, Method::Put, &put, Some(23_456)) else { panic!("not taken") };
    assert_eq!(status(&web(&mut house, 2, Method::Put, &put, Some(23_456))), 409, "it is being taken");
    assert_eq!(status(&web(&mut house, 3, Method::Get, &get, None)), 404, "nothing before it is whole");
    house.notice(Notice::Taken(RequestId(1), Ok(())));
    assert_eq!(status(&answer(&mut house)), 201);
    let Answer::Send(file) = web(&mut house, 4, Method::Get, &get, None) else { panic!("not sent") };
    assert_eq!((file.bytes, file.kind.as_str()), (23_456, "image/jpeg"));
    assert_eq!(status(&web(&mut house, 5, Method::Put, &put, Some(23_456))), 409);
}

#[test]
fn a_host_name_gives_slots_as_the_domain_does() {
    let mut house = house(|_| {});
    let juliet = house.online("juliet@capulet.lit/balcony");
    let query = |what: &str, to: &str| {
        format!("<iq type='get' to='{to}' id='d'><query xmlns='http://jabber.org/protocol/disco#{what}'/></iq>")
    };
    let items = result_of(&house.send(juliet, &query("items", "capulet.lit")));
    assert!(items.contains("<item jid='upload.capulet.lit'/>"), "{items}");
    let info = result_of(&house.send(juliet, &query("info", "upload.capulet.lit")));
    assert!(info.contains("<identity category='store' type='file'/>") && info.contains("max-file-size"), "{info}");
    let there = request(10).replace("to='capulet.lit'", "to='upload.capulet.lit'");
    assert!(result_of(&house.send(juliet, &there)).contains("<put url='https://capulet.lit:5443/upload/"));
}

#[test]
fn only_accounts_get_slots() {
    let mut house = house(|_| {});
    let line = house.online("capulet.lit/1");
    assert_eq!(condition_of(&house.send(line, &request(1))), "forbidden");
}

#[test]
fn too_large_a_file_is_told_the_bound() {
    // §6.
    let mut house = house(|config| config.upload.file_bytes = 20_000);
    let juliet = house.online("juliet@capulet.lit/chamber");
    let out = house.send(juliet, &request(20_001));
    assert_eq!(condition_of(&out), "not-acceptable");
    assert!(out[0].1.contains("<max-file-size>20000</max-file-size>"), "{out:?}");
    slot(&mut house, juliet, 20_000);
}

#[test]
fn promised_and_stored_files_count_against_the_day() {
    let mut house = house(|config| config.upload.day_bytes = 1_000);
    let juliet = house.online("juliet@capulet.lit/chamber");
    let romeo = house.online("romeo@capulet.lit/orchard");
    upload(&mut house, juliet, 400);
    slot(&mut house, juliet, 600);
    let out = house.send(juliet, &request(1));
    assert_eq!(condition_of(&out), "resource-constraint");
    assert!(out[0].1.contains("<retry xmlns='urn:xmpp:http:upload:0' stamp='2023-11-15T22:13:20Z'/>"), "{out:?}");
    slot(&mut house, romeo, 1_000);
    // What was promised and not used counts for as long as the slot is good, what was stored for a day.
    house.wall_us += (limits::SLOT_S + 1) * 1_000_000;
    slot(&mut house, juliet, 600);
    house.wall_us += 90_000 * 1_000_000;
    slot(&mut house, juliet, 1_000);
}

#[test]
fn all_files_together_have_a_bound_and_what_fails_gives_back() {
    let mut house = house(|config| config.upload.total_bytes = 1_000);
    let juliet = house.online("juliet@capulet.lit/chamber");
    let romeo = house.online("romeo@capulet.lit/orchard");
    upload(&mut house, juliet, 400);
    let (put, _) = slot(&mut house, romeo, 600);
    assert_eq!(condition_of(&house.send(juliet, &request(1))), "resource-constraint");
    assert_eq!(status(&web(&mut house, 2, Method::Put, &put, Some(600))), 100);
    house.wall_us += (limits::SLOT_S + 1) * 1_000_000;
    assert_eq!(condition_of(&house.send(juliet, &request(1))), "resource-constraint", "it still comes");
    house.notice(Notice::Taken(RequestId(2), Err(TakeError::Full)));
    assert_eq!(status(&answer(&mut house)), 507);
    slot(&mut house, juliet, 600);
}

#[test]
fn a_slot_grows_old() {
    let mut house = house(|_| {});
    let juliet = house.online("juliet@capulet.lit/chamber");
    let (put, _) = slot(&mut house, juliet, 10);
    house.wall_us += limits::SLOT_S * 1_000_000;
    assert_eq!(status(&web(&mut house, 1, Method::Put, &put, Some(10))), 403);
}

#[test]
fn a_slot_survives_a_restart_but_not_the_quota() {
    let mut house = house(|config| config.upload.total_bytes = 1_000);
    let juliet = house.online("juliet@capulet.lit/chamber");
    let (put, _) = slot(&mut house, juliet, 600);
    house.router = crate::router::route::Router::new(crate::services::all());
    let (second, _) = slot(&mut house, juliet, 600);
    assert_eq!(status(&web(&mut house, 1, Method::Put, &second, Some(600))), 100);
    assert_eq!(status(&web(&mut house, 2, Method::Put, &put, Some(600))), 507);
}

#[test]
fn old_files_go() {
    let mut house = house(|_| {});
    let juliet = house.online("juliet@capulet.lit/chamber");
    let get = upload(&mut house, juliet, 10);
    house.wall_us += 29 * 86_400 * 1_000_000;
    assert_eq!(status(&web(&mut house, 2, Method::Get, &get, None)), 200);
    house.wall_us += 2 * 86_400 * 1_000_000;
    assert_eq!(status(&web(&mut house, 3, Method::Get, &get, None)), 404, "also before anybody cleans up");
    assert_eq!(discarded(&house), 0);
    house.notice(Notice::SessionBound(juliet));
    assert_eq!(discarded(&house), 1);
}

#[test]
fn the_files_of_a_removed_account_go() {
    let mut house = house(|_| {});
    let juliet = house.online("juliet@capulet.lit/chamber");
    let get = upload(&mut house, juliet, 10);
    for _ in 0..limits::UPLOAD_PURGE_STEP {
        upload(&mut house, juliet, 10);
    }
    let jid = Jid::parse("juliet@capulet.lit").unwrap();
    let account = accounts::close(&mut house.ctx().store(), &jid).unwrap();
    accounts::purge(&mut house.ctx().store(), account.id);
    house.notice(Notice::AccountRemoved(account.id, jid));
    assert!(house.core.chores, "one step does not reach");
    house.notice(Notice::Chores);
    assert_eq!(discarded(&house), limits::UPLOAD_PURGE_STEP + 1);
    assert_eq!(status(&web(&mut house, 2, Method::Get, &get, None)), 404);
}

#[test]
fn found_files_that_nobody_knows_go() {
    let mut house = house(|_| {});
    let juliet = house.online("juliet@capulet.lit/chamber");
    let get = upload(&mut house, juliet, 10);
    let known = FileId::parse(get.split('/').nth(2).unwrap()).unwrap();
    let found = vec![known, FileId::new(1_700_000_000, [7; 16])];
    house.notice(Notice::FilesFound(found.into()));
    assert_eq!(discarded(&house), 1);
    assert_eq!(status(&web(&mut house, 2, Method::Get, &get, None)), 200);
}

#[test]
fn what_could_run_is_saved_and_not_shown() {
    // S41.
    for (kind, how) in [
        ("image/jpeg", "inline"),
        ("video/mp4", "inline"),
        ("audio/ogg", "inline"),
        ("image/svg+xml", "attachment"),
        ("text/html", "attachment"),
        ("application/pdf", "attachment"),
        ("IMAGE/PNG", "inline"),
        ("", "attachment"),
        ("text/xml", "attachment"),
        ("image/jpegx", "attachment"),
    ] {
        let mut house = house(|_| {});
        let file = FileId::new(1_700_000_000, [7; 16]);
        let account = house.account("juliet@capulet.lit");
        let record = Record { account, bytes: 1, kind: kind.into(), name: "a".into() };
        files::put(&mut house.ctx().store(), file, &record);
        let target = format!("/upload/{}/a", file.name());
        let Answer::Send(sent) = web(&mut house, 1, Method::Get, &target, None) else { panic!("{kind}") };
        let told = |name: &str| sent.headers.iter().find(|(n, _)| *n == name).map(|(_, value)| value.clone()).unwrap();
        assert!(told("content-disposition").starts_with(how), "{kind}");
        assert!(told("content-security-policy").contains("sandbox"), "{kind}");
    }
}
