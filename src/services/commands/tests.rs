//! The commands of XEP-0050 and XEP-0133, from their own examples, and who may not run them.

use super::*;
use crate::{
    domain::{accounts, invitations, roster},
    router::{
        event::Effect,
        testing::{House, Out, condition_of, result_of, to_session},
    },
    wire::{error::StreamCondition, form::Field},
};

const ADMIN: &str = "http://jabber.org/protocol/admin#";

fn execute(node: &str, attrs: &str, content: &str) -> String {
    format!(
        "<iq to='capulet.lit' type='set' id='c'>\
         <command xmlns='http://jabber.org/protocol/commands' node='{node}'{attrs}>{content}</command></iq>"
    )
}

fn submit(fields: &[(&str, &[&str])]) -> String {
    let form = fields.iter().fold(Form::typed(FormType::Submit, ns::ADMIN), |form, (var, values)| {
        let field = Field { kind: None, ..Field::new(var.to_string(), crate::wire::form::FieldType::TextSingle) };
        form.field(field.values(values.iter().map(|value| value.to_string())))
    });
    String::from_utf8(form.element().to_vec()).unwrap()
}

fn house() -> (House, crate::domain::ids::SessionId) {
    let mut house = House::new();
    house.make_admin("bard@capulet.lit");
    let bard = house.online("bard@capulet.lit/globe");
    (house, bard)
}

fn session_id(out: &Out) -> String {
    let command = Element::parse(result_of(out).as_bytes(), ns::CLIENT).unwrap();
    command.get("sessionid").unwrap().to_owned()
}

/// The result form of a completed command.
fn form_of(out: &Out) -> Form {
    let command = Element::parse(result_of(out).as_bytes(), ns::CLIENT).unwrap();
    assert_eq!(command.get("status"), Some("completed"));
    Form::find_in(&command).unwrap().unwrap()
}

fn exists(house: &mut House, jid: &str) -> bool {
    let jid = Jid::parse(jid).unwrap();
    accounts::exists(&house.ctx().store(), &jid)
}

#[test]
fn a_user_is_added_in_two_stages() {
    // XEP-0133 §4.1.
    let (mut house, bard) = house();
    let node = format!("{ADMIN}add-user");
    let out = house.send(bard, &execute(&node, " action='execute'", ""));
    let text = result_of(&out);
    assert!(text.contains("status='executing'") && text.contains("var='accountjid' type='jid-single'"), "{text}");
    assert!(text.contains("<actions execute='complete'><complete/></actions>"), "{text}");
    let id = session_id(&out);
    let filled =
        submit(&[("accountjid", &["juliet@capulet.lit"]), ("password", &["R0m30"]), ("password-verify", &["R0m30"])]);
    let with_id = format!(" sessionid='{id}'");
    assert_eq!(house.send(bard, &execute(&node, &with_id, &filled)), Vec::new(), "PBKDF2 is not part of a turn");
    let out = house.derived();
    assert!(result_of(&out).contains(&format!("sessionid='{id}' status='completed'")), "{out:?}");
    assert!(exists(&mut house, "juliet@capulet.lit"));
    // XEP-0050 §3.2: the session has ended.
    let again = house.send(bard, &execute(&node, &with_id, &filled));
    assert!(again[0].1.contains("bad-sessionid"), "{again:?}");
}

#[test]
fn a_filled_form_may_come_with_the_first_request() {
    let (mut house, bard) = house();
    let filled = submit(&[("accountjid", &["juliet@capulet.lit"]), ("password", &["R0m30"])]);
    for (action, condition) in [("execute", None), ("complete", Some("conflict"))] {
        let attrs = format!(" action='{action}'");
        let out = house.send(bard, &execute(&format!("{ADMIN}add-user"), &attrs, &filled));
        match condition {
            None => assert!(result_of(&house.derived()).contains("status='completed'")),
            Some(condition) => assert_eq!(condition_of(&out), condition),
        }
    }
}

#[test]
fn two_admins_who_add_the_same_name_add_it_once() {
    let (mut house, bard) = house();
    let filled = submit(&[("accountjid", &["juliet@capulet.lit"]), ("password", &["R0m30"])]);
    house.send(bard, &execute(&format!("{ADMIN}add-user"), "", &filled));
    house.send(bard, &execute(&format!("{ADMIN}add-user"), "", &filled));
    assert!(result_of(&house.derived()).contains("completed"));
    assert_eq!(condition_of(&house.derived()), "conflict");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let (mut house, bard) = house();
    let node = format!("{ADMIN}add-user");
    for (fields, condition) in [
        (vec![("password", "x")], "bad-request"),
        (vec![("accountjid", "juliet@capulet.lit")], "not-acceptable"),
        (vec![("accountjid", "@"), ("password", "x")], "jid-malformed"),
        (vec![("accountjid", "capulet.lit"), ("password", "x")], "bad-request"),
        (vec![("accountjid", "juliet@montague.lit"), ("password", "x")], "not-acceptable"),
        (vec![("accountjid", "a@capulet.lit"), ("password", "x"), ("password-verify", "y")], "bad-request"),
    ] {
        let values: Vec<_> = fields.iter().map(|(var, value)| (*var, std::slice::from_ref(value))).collect();
        assert_eq!(condition_of(&house.send(bard, &execute(&node, "", &submit(&values)))), condition, "{fields:?}");
    }
    assert_eq!(condition_of(&house.send(bard, &execute("nonsense", "", ""))), "item-not-found");
    for (attrs, app) in [
        (" action='prev'", "bad-action"),
        (" action='complete'", "bad-action"),
        (" action='jump'", "malformed-action"),
        (" sessionid='x'", "bad-payload"),
        (" sessionid='x' action='cancel'", "bad-sessionid"),
    ] {
        let out = house.send(bard, &execute(&node, attrs, ""));
        assert!(out[0].1.contains(app), "{attrs}: {out:?}");
    }
}

#[test]
fn a_command_can_be_cancelled_and_expires() {
    // XEP-0050 §2.4.3 and §4.
    let (mut house, bard) = house();
    let node = format!("{ADMIN}announce");
    let id = session_id(&house.send(bard, &execute(&node, "", "")));
    let out = house.send(bard, &execute(&node, &format!(" sessionid='{id}' action='cancel'"), ""));
    assert!(result_of(&out).contains(&format!("sessionid='{id}' status='canceled'")));
    let id = session_id(&house.send(bard, &execute(&node, "", "")));
    house.now = house.now.plus_ms(limits::COMMAND_MS_MAX);
    let out = house.send(bard, &execute(&node, &format!(" sessionid='{id}'"), &submit(&[("announcement", &["x"])])));
    assert!(out[0].1.contains("session-expired"), "{out:?}");
}

#[test]
fn open_commands_are_bounded_and_belong_to_one_requester() {
    let (mut house, bard) = house();
    let other = house.online("bard@capulet.lit/other");
    let node = format!("{ADMIN}announce");
    let filled = submit(&[("announcement", &["x"])]);
    let first = session_id(&house.send(bard, &execute(&node, "", "")));
    let stolen = house.send(other, &execute(&node, &format!(" sessionid='{first}'"), &filled));
    assert!(stolen[0].1.contains("bad-sessionid"), "{stolen:?}");
    for _ in 0..limits::COMMANDS_OPEN_MAX {
        house.send(bard, &execute(&node, "", ""));
    }
    let out = house.send(bard, &execute(&node, &format!(" sessionid='{first}'"), &filled));
    assert!(out[0].1.contains("bad-sessionid"), "{out:?}");
}

#[test]
fn s17b_only_admins_of_this_server_run_commands() {
    let (mut house, _) = house();
    let juliet = house.online("juliet@capulet.lit/balcony");
    for node in FOR_ADMINS.into_iter().flatten().map(|command| command.node) {
        assert_eq!(condition_of(&house.send(juliet, &execute(node, "", ""))), "forbidden", "{node}");
        assert_eq!(condition_of(&house.send(juliet, &execute(node, " sessionid='x'", ""))), "forbidden", "{node}");
    }
    assert_eq!(condition_of(&house.send(juliet, &execute("nonsense", "", ""))), "item-not-found");
    // The username alone means nothing.
    for stranger in ["bard@montague.lit", "bard@capulet.lit.evil.lit", "capulet.lit/x"] {
        let stranger = Jid::parse(stranger).unwrap();
        assert!(!house.ctx().is_admin(&stranger), "{stranger}");
    }
    let mut config = (*house.core.config).clone();
    config.admins = vec!["juliet@capulet.lit".into()];
    house.configure(std::rc::Rc::new(config));
    assert!(result_of(&house.send(juliet, &execute("urn:lampone:admin#status", "", ""))).contains("completed"));
}

#[test]
fn rights_that_were_taken_away_end_a_command() {
    let (mut house, bard) = house();
    let node = format!("{ADMIN}announce");
    let id = session_id(&house.send(bard, &execute(&node, "", "")));
    let jid = Jid::parse("bard@capulet.lit").unwrap();
    let mut ctx = house.ctx();
    let mut account = accounts::find(&ctx.store(), &jid).unwrap();
    account.is_admin = false;
    accounts::update(&mut ctx.store(), &jid, &account);
    let out = house.send(bard, &execute(&node, &format!(" sessionid='{id}'"), &submit(&[("announcement", &["x"])])));
    assert_eq!(condition_of(&out), "forbidden");
}

#[test]
fn commands_are_disclosed_to_admins() {
    // XEP-0050 §2.2 and §2.3.
    let (mut house, bard) = house();
    let juliet = house.online("juliet@capulet.lit/balcony");
    let ask = |what: &str, node: &str| {
        let ns = format!("http://jabber.org/protocol/disco#{what}");
        format!("<iq type='get' to='capulet.lit' id='d'><query xmlns='{ns}' node='{node}'/></iq>")
    };
    let list = result_of(&house.send(bard, &ask("items", ns::COMMANDS)));
    let count = |tables: &[&[Command]]| tables.iter().copied().flatten().count();
    let listed = |list: &str| list.matches("<item jid='capulet.lit' node='").count();
    assert_eq!(listed(&list), count(&FOR_ALL) + count(&FOR_ADMINS), "{list}");
    assert_eq!(listed(&result_of(&house.send(juliet, &ask("items", ns::COMMANDS)))), count(&FOR_ALL));
    let info = result_of(&house.send(juliet, &ask("info", ns::COMMANDS)));
    assert!(info.contains("<identity category='automation' type='command-list'"), "{info}");
    for command in FOR_ADMINS.into_iter().flatten() {
        let info = result_of(&house.send(bard, &ask("info", command.node)));
        assert!(info.contains("type='command-node'") && info.contains("<feature var='jabber:x:data'/>"), "{info}");
        assert_eq!(condition_of(&house.send(juliet, &ask("info", command.node))), "forbidden");
    }
    let root = "<iq type='get' to='capulet.lit' id='d'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
    assert!(result_of(&house.send(bard, root)).contains("node='http://jabber.org/protocol/commands'"));
    assert!(!result_of(&house.send(juliet, root)).contains("node="));
    assert!(result_of(&house.send(juliet, &execute("ping", "", ""))).contains("<note type='info'>It is."));
}

#[test]
fn a_deleted_user_is_gone_everywhere() {
    // XEP-0133 §4.2, RFC 6121 §2.5.2, S15.
    let (mut house, bard) = house();
    let juliet = house.available("juliet@capulet.lit/balcony");
    let romeo = house.available("romeo@capulet.lit/orchard");
    house.core.sessions.session_mut(romeo).unwrap().interested = true;
    house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
    house.subscribe("romeo@capulet.lit", "juliet@capulet.lit");
    house.send(juliet, "<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>J</FN></vCard></iq>");
    let id = house.account("juliet@capulet.lit");
    let filled = submit(&[("accountjids", &["juliet@capulet.lit"])]);
    let out = house.send(bard, &execute(&format!("{ADMIN}delete-user"), "", &filled));
    assert!(result_of(&to_session(&out, bard)).contains("status='completed'"), "{out:?}");
    assert_eq!(house.ended[0].0, juliet);
    assert_eq!(house.ended[0].1.condition, StreamCondition::NotAuthorized);
    assert!(!exists(&mut house, "juliet@capulet.lit"));
    let seen: Vec<_> = to_session(&out, romeo).into_iter().map(|(_, xml)| xml).collect();
    let at =
        |text: &str| seen.iter().position(|xml| xml.contains(text)).unwrap_or_else(|| panic!("{text} in {seen:?}"));
    assert!(at("type='unavailable'") < at("type='unsubscribed'"), "{seen:?}");
    assert!(at("type='unsubscribe'") < at("subscription='none'"), "{seen:?}");
    let romeo_id = house.account("romeo@capulet.lit");
    let mut ctx = house.ctx();
    let state = roster::state(&ctx.store(), romeo_id, "juliet@capulet.lit");
    assert!(!state.to && !state.from);
    for tag in crate::domain::keys::OWNED {
        let rows = ctx.store().prefix(&crate::domain::keys::owned(*tag, id), 1);
        assert!(rows.is_empty(), "rows {:?}", *tag as char);
    }
}

#[test]
fn a_disabled_account_keeps_what_it_has() {
    // XEP-0133 §4.3 and §4.4.
    let (mut house, bard) = house();
    let juliet = house.online("juliet@capulet.lit/balcony");
    house.subscribe("juliet@capulet.lit", "bard@capulet.lit");
    let id = house.account("juliet@capulet.lit");
    let run = |house: &mut House, node: &str, whom: &str| {
        house.send(bard, &execute(&format!("{ADMIN}{node}"), "", &submit(&[("accountjids", &[whom])])))
    };
    let disabled = |house: &mut House| {
        let jid = Jid::parse("juliet@capulet.lit").unwrap();
        accounts::find(&house.ctx().store(), &jid).unwrap().is_disabled
    };
    let out = run(&mut house, "disable-user", "juliet@capulet.lit");
    assert!(result_of(&to_session(&out, bard)).contains("completed") && disabled(&mut house), "{out:?}");
    assert_eq!(house.ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [juliet]);
    assert!(roster::state(&house.ctx().store(), id, "bard@capulet.lit").from);
    run(&mut house, "reenable-user", "juliet@capulet.lit");
    assert!(!disabled(&mut house));
    assert_eq!(condition_of(&run(&mut house, "disable-user", "bard@capulet.lit")), "not-allowed");
    assert_eq!(condition_of(&run(&mut house, "disable-user", "nobody@capulet.lit")), "item-not-found");
}

#[test]
fn disabled_users_are_counted_and_listed() {
    // XEP-0133 §4.14 and §4.19.
    let (mut house, bard) = house();
    for name in ["iago", "bernardo", "juliet"] {
        house.account(&format!("{name}@capulet.lit"));
    }
    let both = submit(&[("accountjids", &["iago@capulet.lit", "bernardo@capulet.lit"])]);
    house.send(bard, &execute(&format!("{ADMIN}disable-user"), "", &both));
    let ask = |house: &mut House, node: &str, content: &str| {
        form_of(&house.send(bard, &execute(&format!("{ADMIN}{node}"), "", content)))
    };
    assert_eq!(ask(&mut house, "get-disabled-users-num", "").value("disabledusersnum"), Some("2"));
    let list = ask(&mut house, "get-disabled-users-list", "");
    let all: Vec<_> = list.values("disableduserjids").collect();
    assert_eq!(all, ["bernardo@capulet.lit", "iago@capulet.lit"]);
    let cut = ask(&mut house, "get-disabled-users-list", &submit(&[("max_items", &["1"])]));
    assert_eq!(cut.values("disableduserjids").count(), 1);
    let iago = ask(&mut house, "user-stats", &submit(&[("accountjid", &["iago@capulet.lit"])]));
    assert_eq!(
        (iago.bool("{urn:lampone:admin}disabled"), iago.bool("{urn:lampone:admin}admin")),
        (Some(true), Some(false))
    );
}

#[test]
fn the_contacts_of_a_user_are_told() {
    // XEP-0133 §4.8.
    let (mut house, bard) = house();
    house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
    let node = format!("{ADMIN}get-user-roster");
    let out = house.send(bard, &execute(&node, "", &submit(&[("accountjids", &["juliet@capulet.lit"])])));
    let command = Element::parse(result_of(&out).as_bytes(), ns::CLIENT).unwrap();
    let form = command.find("x", ns::DATA).unwrap();
    let items: Vec<_> = form.find("query", ns::ROSTER).unwrap().children().collect();
    let item = |name| items[0].get(name);
    assert_eq!((items.len(), item("jid"), item("subscription")), (1, Some("romeo@capulet.lit"), Some("from")));
    let two = submit(&[("accountjids", &["juliet@capulet.lit", "romeo@capulet.lit"])]);
    assert_eq!(condition_of(&house.send(bard, &execute(&node, "", &two))), "bad-request");
}

#[test]
fn the_list_of_admins_is_edited() {
    // XEP-0133 §4.29.
    let (mut house, bard) = house();
    house.make_admin("chris@capulet.lit");
    house.account("hecate@capulet.lit");
    let node = format!("{ADMIN}edit-admin");
    let open = result_of(&house.send(bard, &execute(&node, "", "")));
    assert!(open.contains("<value>bard@capulet.lit</value><value>chris@capulet.lit</value>"), "{open}");
    let admins = |house: &mut House| {
        let found = accounts::admins(&house.ctx().store(), 9);
        found.iter().map(|jid| jid.local().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let ask = |house: &mut House, jids: &[&str]| house.send(bard, &execute(&node, "", &submit(&[("adminjids", jids)])));
    assert!(result_of(&ask(&mut house, &["bard@capulet.lit", "hecate@capulet.lit"])).contains("completed"));
    assert_eq!(admins(&mut house), "bard hecate");
    for (jids, condition) in [
        (&["hecate@capulet.lit"][..], "not-allowed"),
        (&[""], "not-allowed"),
        (&["bard@capulet.lit", "nobody@capulet.lit"], "item-not-found"),
        (&["bard@capulet.lit", "bard@montague.lit"], "item-not-found"),
    ] {
        assert_eq!(condition_of(&ask(&mut house, jids)), condition, "{jids:?}");
    }
    assert_eq!(condition_of(&house.send(bard, &execute(&node, "", &submit(&[])))), "bad-request");
    assert_eq!(admins(&mut house), "bard hecate");
}

#[test]
fn deleting_is_all_or_nothing() {
    let (mut house, bard) = house();
    house.account("juliet@capulet.lit");
    let filled = submit(&[("accountjids", &["juliet@capulet.lit", "nobody@capulet.lit"])]);
    let out = house.send(bard, &execute(&format!("{ADMIN}delete-user"), "", &filled));
    assert_eq!(condition_of(&out), "item-not-found");
    assert!(exists(&mut house, "juliet@capulet.lit"));
}

#[test]
fn s15_a_new_password_ends_all_sessions() {
    // XEP-0133 §4.7.
    let (mut house, bard) = house();
    let sessions = [house.online("juliet@capulet.lit/balcony"), house.online("juliet@capulet.lit/chamber")];
    let filled = submit(&[("accountjid", &["juliet@capulet.lit"]), ("password", &["V3r0n4"])]);
    house.send(bard, &execute(&format!("{ADMIN}change-user-password"), "", &filled));
    assert!(result_of(&house.derived()).contains("status='completed'"));
    assert_eq!(house.ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), sessions);
    let jid = Jid::parse("juliet@capulet.lit").unwrap();
    let account = accounts::find(&house.ctx().store(), &jid).unwrap();
    assert!(account.credentials.verify_password("V3r0n4"));
}

#[test]
fn an_added_user_is_an_admin_if_that_was_said() {
    let (mut house, bard) = house();
    for (name, said, is_admin) in [("juliet", "1", true), ("romeo", "0", false)] {
        let jid = format!("{name}@capulet.lit");
        let filled = submit(&[("accountjid", &[&jid]), ("password", &["x"]), ("{urn:lampone:admin}admin", &[said])]);
        assert_eq!(house.send(bard, &execute(&format!("{ADMIN}add-user"), "", &filled)), Vec::new());
        house.derived();
        let jid = Jid::parse(&jid).unwrap();
        assert_eq!(accounts::find(&house.ctx().store(), &jid).unwrap().is_admin, is_admin, "{name}");
    }
}

#[test]
fn sessions_are_ended_by_account_or_by_resource() {
    // XEP-0133 §4.5.
    let (mut house, bard) = house();
    let balcony = house.online("juliet@capulet.lit/balcony");
    let chamber = house.online("juliet@capulet.lit/chamber");
    let node = format!("{ADMIN}end-user-session");
    house.send(bard, &execute(&node, "", &submit(&[("accountjids", &["juliet@capulet.lit/balcony"])])));
    assert_eq!(house.ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [balcony]);
    house.send(bard, &execute(&node, "", &submit(&[("accountjids", &["juliet@capulet.lit"])])));
    assert_eq!(house.ended.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [balcony, chamber]);
    assert!(exists(&mut house, "juliet@capulet.lit"));
}

#[test]
fn users_are_counted_and_listed() {
    // XEP-0133 §4.15 to §4.21.
    let (mut house, bard) = house();
    house.account("juliet@capulet.lit");
    house.online("juliet@capulet.lit/balcony");
    house.online("juliet@capulet.lit/chamber");
    house.account("romeo@capulet.lit");
    let ask = |house: &mut House, node: &str, content: &str| {
        form_of(&house.send(bard, &execute(&format!("{ADMIN}{node}"), "", content)))
    };
    assert_eq!(ask(&mut house, "get-registered-users-num", "").value("registeredusersnum"), Some("3"));
    assert_eq!(ask(&mut house, "get-online-users-num", "").value("onlineusersnum"), Some("2"));
    let list = ask(&mut house, "get-registered-users-list", "");
    let all: Vec<_> = list.values("registereduserjids").collect();
    assert_eq!(all, ["bard@capulet.lit", "juliet@capulet.lit", "romeo@capulet.lit"]);
    let list = ask(&mut house, "get-online-users-list", "");
    assert_eq!(list.values("onlineuserjids").collect::<Vec<_>>(), ["bard@capulet.lit", "juliet@capulet.lit"]);
    let cut =
        house.send(bard, &execute(&format!("{ADMIN}get-registered-users-list"), "", &submit(&[("max_items", &["2"])])));
    assert!(result_of(&cut).contains("<note type='warn'>"), "{cut:?}");
    assert_eq!(form_of(&cut).values("registereduserjids").count(), 2);
    let rest =
        ask(&mut house, "get-registered-users-list", &submit(&[("{urn:lampone:admin}after", &["juliet@capulet.lit"])]));
    assert_eq!(rest.values("registereduserjids").collect::<Vec<_>>(), ["romeo@capulet.lit"]);
}

#[test]
fn what_is_known_of_a_user_is_told() {
    // XEP-0133 §4.9 and §4.10.
    let (mut house, bard) = house();
    house.online("juliet@capulet.lit/balcony");
    house.account("romeo@capulet.lit");
    house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
    let filled = submit(&[("accountjid", &["juliet@capulet.lit"])]);
    let form = form_of(&house.send(bard, &execute(&format!("{ADMIN}user-stats"), "", &filled)));
    assert_eq!((form.value("rostersize"), form.value("onlineresources")), (Some("1"), Some("balcony")));
    let filled = submit(&[("accountjids", &["juliet@capulet.lit", "romeo@capulet.lit"])]);
    let form = form_of(&house.send(bard, &execute(&format!("{ADMIN}get-user-lastlogin"), "", &filled)));
    assert_eq!(form.values("lastlogin").collect::<Vec<_>>(), ["2023-11-14T22:13:20Z", "never"]);
}

#[test]
fn an_announcement_reaches_every_session() {
    // XEP-0133 §4.23.
    let (mut house, bard) = house();
    let sessions = [house.online("juliet@capulet.lit/balcony"), house.online("romeo@capulet.lit/x"), bard];
    let filled = submit(&[("announcement", &["Going down <now>!", "Sorry."])]);
    let out = house.send(bard, &execute(&format!("{ADMIN}announce"), "", &filled));
    for session in sessions {
        let got = to_session(&out, session);
        assert!(got[0].1.contains("<body>Going down &lt;now&gt;!\nSorry.</body>"), "{got:?}");
        assert!(got[0].1.contains("from='capulet.lit'"), "{got:?}");
    }
}

#[test]
fn the_status_is_shown_to_the_command_line() {
    let (mut house, _) = house();
    let line = house.online("capulet.lit/line");
    house.wall_us += 5_000_000;
    house.core.counters.stanzas = 7;
    let form = form_of(&house.send(line, &execute("urn:lampone:admin#status", "", "")));
    assert_eq!(form.form_type(), Some("urn:lampone:admin#status"));
    let figures = ["version", "uptime", "accounts", "sessions", "stanzas"].map(|var| form.value(var).unwrap());
    assert_eq!(figures, [env!("CARGO_PKG_VERSION"), "5", "1", "1", "7"]);
}

#[test]
fn the_wear_of_the_disk_is_shown_since_the_start_and_a_day() {
    // The database of these tests claims 8,640,000 bytes and 86,400 syncs.
    let (mut house, bard) = house();
    for (days, bytes, syncs) in [(0, "8640000", "86400"), (1, "8640000", "86400"), (10, "864000", "8640")] {
        house.core.started_s = house.wall_us / 1_000_000 - days * 86_400;
        let form = form_of(&house.send(bard, &execute("urn:lampone:admin#status", "", "")));
        assert_eq!((form.value("disk-bytes"), form.value("disk-syncs")), (Some("8640000"), Some("86400")));
        assert_eq!((form.value("disk-bytes-a-day"), form.value("disk-syncs-a-day")), (Some(bytes), Some(syncs)));
    }
}

#[test]
fn a_backup_goes_where_the_asker_may_write() {
    let (mut house, bard) = house();
    let line = house.online("capulet.lit/line");
    let ask = |file: &str| execute("urn:lampone:admin#backup", "", &submit(&[("file", &[file])]));
    for path in ["/etc/passwd", "../x", "a/b", "..", ""] {
        assert_eq!(condition_of(&house.send(bard, &ask(path))), "bad-request", "{path}");
    }
    for (who, file, written) in [(bard, "a.db", "lampone-data/backups/a.db"), (line, "/media/a.db", "/media/a.db")] {
        assert_eq!(house.send(who, &ask(file)), Vec::new());
        let Some(Effect::Backup(query, path)) = house.effects.pop() else { panic!("a backup") };
        assert_eq!(path.to_str(), Some(written));
        let outcome = if who == line { Err("disk <full>".to_owned()) } else { Ok(()) };
        let out = house.notice(Notice::BackedUp(query, outcome.clone()));
        let note = "<note type='error'>disk &lt;full&gt;</note>";
        assert_eq!(result_of(&out).contains(note), outcome.is_err(), "{out:?}");
    }
}

#[test]
fn an_invitation_is_a_link_with_a_token() {
    // XEP-0401 §5.4, XEP-0445 §2.2.
    let (mut house, bard) = house();
    for (admin, is_admin) in [("0", false), ("true", true)] {
        let form =
            form_of(&house.send(bard, &execute("urn:lampone:admin#invite", "", &submit(&[("admin", &[admin])]))));
        assert_eq!(form.form_type(), Some("urn:xmpp:invite#invitation"));
        let token = form.value("uri").unwrap().strip_prefix("xmpp:capulet.lit?register;preauth=").unwrap().to_owned();
        assert_eq!(form.value("expire"), Some("2023-11-21T22:13:20Z"));
        let invitation = invitations::find(&house.ctx().store(), &token).unwrap();
        assert_eq!(invitation.is_admin, is_admin);
    }
}

#[test]
fn no_operation_of_a_command_is_for_who_may_not_run_it() {
    // S17b, S45: however it is asked for, also with a session of somebody who may.
    let (mut house, bard) = house();
    let romeo = house.online("romeo@capulet.lit/orchard");
    house.account("nurse@capulet.lit");
    let out = house.send(bard, &execute(&format!("{ADMIN}delete-user"), " action='execute'", ""));
    let id = session_id(&out);
    let form = submit(&[("accountjids", &["nurse@capulet.lit"]), ("accountjid", &["nurse@capulet.lit"])]);
    for command in FOR_ADMINS.into_iter().flatten() {
        for action in ["", " action='execute'", " action='complete'", " action='next'", " action='cancel'"] {
            for session in ["", &format!(" sessionid='{id}'")] {
                for content in ["", form.as_str()] {
                    let out = house.send(romeo, &execute(command.node, &format!("{action}{session}"), content));
                    assert_eq!(condition_of(&out), "forbidden", "{} {action} {session}", command.node);
                }
            }
        }
    }
    assert!(exists(&mut house, "nurse@capulet.lit"));
}

/// A setting for who may make an account.
fn set_policy(house: &mut House, policy: crate::config::Registration) {
    let mut config = (*house.core.config).clone();
    config.registration = policy;
    house.configure(std::rc::Rc::new(config));
}

/// The link in a result.
fn uri_in(out: &str) -> String {
    let (_, rest) = out.split_once("<value>xmpp:").expect("a link");
    format!("xmpp:{}", rest.split_once("</value>").expect("its end").0)
}

#[test]
fn whoever_has_an_account_invites_contacts() {
    // XEP-0401 §3.1: with an account here only if the settings let them give it.
    use crate::config::Registration;
    let (mut house, _) = house();
    let romeo = house.online("romeo@capulet.lit/orchard");
    for (policy, end) in [(Registration::Closed, ""), (Registration::Invited, ";ibr=y"), (Registration::Open, ";ibr=y")]
    {
        set_policy(&mut house, policy);
        let out = result_of(&house.send(romeo, &execute("urn:xmpp:invite#invite", "", "")));
        let uri = uri_in(&out);
        assert!(uri.starts_with("xmpp:romeo@capulet.lit?roster;preauth=") && uri.ends_with(end), "{uri}");
        assert!(uri.contains("ibr=y") != end.is_empty(), "{uri}");
        assert!(out.contains("urn:xmpp:invite#invitation") && out.contains("var='expire'"), "{out}");
    }
    for _ in 3..limits::INVITATIONS_PER_ACCOUNT_MAX {
        result_of(&house.send(romeo, &execute("urn:xmpp:invite#invite", "", "")));
    }
    let out = house.send(romeo, &execute("urn:xmpp:invite#invite", "", ""));
    assert_eq!(condition_of(&out), "resource-constraint");
}

#[test]
fn a_name_can_be_promised_to_who_is_invited() {
    // XEP-0401 §4: the link holds it, and nobody else gets it.
    let (mut house, bard) = house();
    let romeo = house.online("romeo@capulet.lit/orchard");
    let wish = submit(&[("username", &["Juliet"]), ("roster-subscription", &["1"])]);
    assert_eq!(condition_of(&house.send(romeo, &execute("urn:xmpp:invite#create-account", "", &wish))), "forbidden");
    set_policy(&mut house, crate::config::Registration::Invited);
    let uri = uri_in(&result_of(&house.send(romeo, &execute("urn:xmpp:invite#create-account", "", &wish))));
    assert!(uri.starts_with("xmpp:juliet@capulet.lit?register;preauth="), "{uri}");
    let again = house.send(bard, &execute("urn:xmpp:invite#create-account", "", &wish));
    assert_eq!(condition_of(&again), "conflict");
    let free = uri_in(&result_of(&house.send(bard, &execute("urn:xmpp:invite#create-account", "", &submit(&[])))));
    assert!(free.starts_with("xmpp:capulet.lit?register;preauth="), "{free}");
    let (juliet, nurse) = (Jid::parse("juliet@capulet.lit").unwrap(), Jid::parse("nurse@capulet.lit").unwrap());
    let credentials = House::credentials("correct horse");
    let redeem = |house: &mut House, uri: &str, jid: &Jid| {
        let token = uri.split_once("preauth=").unwrap().1.to_owned();
        let mut outcome = None;
        let out = house.with(|_, ctx| outcome = Some(lifecycle::redeem(ctx, &token, jid, credentials.clone())));
        (outcome.unwrap().map(drop).map_err(|error| error.condition), out)
    };
    assert_eq!(redeem(&mut house, &free, &juliet).0, Err(Condition::Conflict));
    assert_eq!(redeem(&mut house, &uri, &nurse).0, Err(Condition::NotAcceptable));
    assert_eq!(redeem(&mut house, &uri, &juliet).0, Ok(()));
    assert_eq!(redeem(&mut house, &uri, &juliet).0, Err(Condition::Conflict));
    // XEP-0401 §5: they are contacts at once.
    for (owner, contact) in [("romeo@capulet.lit", "juliet@capulet.lit"), ("juliet@capulet.lit", "romeo@capulet.lit")] {
        let account = house.ctx().account(&Jid::parse(owner).unwrap()).unwrap();
        let state = crate::domain::roster::state(&house.ctx().store(), account, contact);
        assert!(state.to && state.from, "{owner}: {state:?}");
    }
}

#[test]
fn a_link_leads_to_a_new_password_once() {
    let (mut house, bard) = house();
    house.account("romeo@capulet.lit");
    let wish = submit(&[("accountjid", &["romeo@capulet.lit"])]);
    let out = result_of(&house.send(bard, &execute("urn:lampone:admin#password-link", "", &wish)));
    assert!(out.contains("<value>https://capulet.lit:5443/i/") && !out.contains("xmpp:"), "{out}");
    let token = out.split_once("/i/").unwrap().1.split_once('<').unwrap().0.to_owned();
    let second = result_of(&house.send(bard, &execute("urn:lampone:admin#password-link", "", &wish)));
    let newer = second.split_once("/i/").unwrap().1.split_once('<').unwrap().0.to_owned();
    let credentials = House::credentials("correct horse");
    let mut use_up = |token: &str| lifecycle::redeem_password(&mut house.ctx(), token, credentials.clone()).is_ok();
    assert!(!use_up(&token), "the newer one replaces it");
    assert!(use_up(&newer) && !use_up(&newer));
    let nobody = submit(&[("accountjid", &["nobody@capulet.lit"])]);
    let out = house.send(bard, &execute("urn:lampone:admin#password-link", "", &nobody));
    assert_eq!(condition_of(&out), "item-not-found");
}

#[test]
fn open_invitations_are_bounded_and_expired_ones_give_way() {
    let (mut house, _) = house();
    let wish = lifecycle::Invite { domain: "capulet.lit", ..lifecycle::Invite::default() };
    let mut ctx = house.ctx();
    for _ in 0..limits::INVITATIONS_MAX {
        assert!(lifecycle::invite(&mut ctx, &wish).is_ok());
    }
    let full = lifecycle::invite(&mut ctx, &wish).unwrap_err();
    assert_eq!(full.condition, Condition::ResourceConstraint);
    house.wall_us += (limits::INVITATION_S + 4_000) * 1_000_000;
    assert!(lifecycle::invite(&mut house.ctx(), &wish).is_ok());
}

#[test]
fn what_one_command_deals_with_is_bounded() {
    let (mut house, bard) = house();
    let jids: Vec<String> = (0..=limits::COMMAND_TARGETS_MAX).map(|n| format!("a{n}@capulet.lit")).collect();
    let jids: Vec<&str> = jids.iter().map(String::as_str).collect();
    let out = house.send(bard, &execute(&format!("{ADMIN}delete-user"), "", &submit(&[("accountjids", &jids)])));
    assert_eq!(condition_of(&out), "policy-violation");
}

#[test]
fn passwords_under_derivation_are_bounded() {
    let (mut house, bard) = house();
    let add = |n: usize| {
        let filled = submit(&[("accountjid", &[&format!("a{n}@capulet.lit")]), ("password", &["x"])]);
        execute(&format!("{ADMIN}add-user"), "", &filled)
    };
    for n in 0..limits::DERIVING_MAX {
        assert_eq!(house.send(bard, &add(n)), Vec::new());
    }
    assert_eq!(condition_of(&house.send(bard, &add(99))), "resource-constraint");
    house.derived();
    assert_eq!(house.send(bard, &add(99)), Vec::new());
}

#[test]
fn a_list_of_users_is_bounded() {
    let (mut house, bard) = house();
    let credentials = House::credentials("pw");
    let mut ctx = house.ctx();
    let mut store = ctx.store();
    for n in 0..limits::COMMAND_LIST_MAX {
        let jid = Jid::parse(&format!("a{n}@capulet.lit")).unwrap();
        accounts::create(&mut store, &jid, credentials.clone(), false, 0).unwrap();
    }
    let list = house.send(bard, &execute(&format!("{ADMIN}get-registered-users-list"), "", ""));
    assert!(result_of(&list).contains("<note type='warn'>"));
    assert_eq!(form_of(&list).values("registereduserjids").count(), limits::COMMAND_LIST_MAX);
    let count = house.send(bard, &execute(&format!("{ADMIN}get-registered-users-num"), "", ""));
    assert_eq!(form_of(&count).value("registeredusersnum"), Some((limits::COMMAND_LIST_MAX + 1).to_string().as_str()));
}
