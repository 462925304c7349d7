//! What has access to an account, for its owner and the administrators: XEP-0494, `src/router/clients.rs`.

use lampone::{config::Config, limits};

use crate::{
    fast::{EXPR, first_token, request, uses},
    negotiate::ending,
    sasl::condition,
    sasl2::{BIND, PHONE, instant, text},
    stage::{
        Stage,
        player::Player,
        world::{DOMAIN, World},
        xml::Tree,
    },
};

const LIST: &str = "<iq type='get' id='list'><list xmlns='urn:xmpp:cam:0'/></iq>";

fn answer(world: &mut World, player: &mut Player, text: &str) -> Tree {
    player.send(world, text);
    player.elements(world).into_iter().find(|element| element.name == "iq").expect("an answer")
}

fn clients(world: &mut World, player: &mut Player) -> Vec<Tree> {
    let answer = answer(world, player, LIST);
    answer.find("clients").unwrap_or_else(|| panic!("{answer}")).children().cloned().collect()
}

fn revoke(id: &str) -> String {
    format!("<iq type='set' id='revoke'><revoke xmlns='urn:xmpp:cam:0' id='{id}'/></iq>")
}

fn of_phone(clients: &[Tree]) -> &Tree {
    let is_phone = |client: &&Tree| client.find("user-agent").is_some_and(|agent| !text(agent, "device").is_empty());
    clients.iter().find(is_phone).expect("the phone is listed")
}

fn command(world: &mut World, admin: &mut Player, node: &str, fields: &[(&str, &str)]) -> Tree {
    let fields: String =
        fields.iter().map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>")).collect();
    let command = format!(
        "<iq type='set' to='capulet.lit' id='c'><command xmlns='http://jabber.org/protocol/commands' \
         node='urn:lampone:admin#{node}'><x xmlns='jabber:x:data' type='submit'>{fields}</x></command></iq>"
    );
    answer(world, admin, &command)
}

#[test]
fn people_see_what_has_access_to_their_account() {
    // XEP-0494 §3.1.
    let mut world = World::new(&["romeo", "juliet"]);
    let token = first_token(&mut world, EXPR);
    let mut desk = Player::sign_in(&mut world, "romeo", "desk");
    let mut juliet = Player::sign_in(&mut world, "juliet", "balcony");
    let seen = clients(&mut world, &mut desk);
    assert_eq!(seen.len(), 2, "{seen:?}");
    let phone = of_phone(&seen);
    assert_eq!((phone.get("connected"), phone.get("type")), (Some("false"), Some("session")));
    let auth = phone.find("auth").unwrap();
    assert!(auth.find("password").is_some() && auth.find("fast").is_some(), "{auth}");
    assert_eq!(phone.find("permission").and_then(|permission| permission.get("status")), Some("unrestricted"));
    assert_eq!(text(phone.find("user-agent").unwrap(), "device"), "Kiva's Phone");
    assert_eq!(text(phone, "first-seen"), "2023-11-14T22:13:20Z");
    let other = seen.iter().find(|client| client.get("id") != phone.get("id")).unwrap();
    assert_eq!(other.get("connected"), Some("true"));
    world.advance(3 * 3_600_000);
    assert_eq!(uses(&mut world, EXPR, &token).name, "success");
    let later = clients(&mut world, &mut desk);
    assert_eq!(text(of_phone(&later), "last-seen"), "2023-11-15T01:13:20Z");
    assert_eq!(clients(&mut world, &mut juliet).len(), 1, "nobody sees those of others");
    for whose in ["romeo@capulet.lit", "capulet.lit"] {
        let refused = answer(&mut world, &mut juliet, &LIST.replace(" id", &format!(" to='{whose}' id")));
        assert_eq!(refused.get("type"), Some("error"), "{refused}");
    }
}

#[test]
fn a_revoked_device_is_signed_out_and_only_a_new_password_keeps_it_out() {
    // XEP-0494 §3.2.
    let mut world = World::new(&["romeo"]);
    let (mut phone, success) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}{}", request(EXPR)));
    let token = success.find("token").and_then(|token| token.get("token")).unwrap().to_owned();
    phone.element(&mut world);
    let mut desk = Player::sign_in(&mut world, "romeo", "desk");
    let seen = clients(&mut world, &mut desk);
    let id = of_phone(&seen).get("id").unwrap().to_owned();
    let told = answer(&mut world, &mut desk, &revoke(&id));
    let error = told.find("error").unwrap();
    assert!(error.find("service-unavailable").is_some() && error.find("password-reset-required").is_some(), "{error}");
    assert_eq!(ending(&mut phone, &mut world).as_deref(), Some("not-authorized"));
    assert_eq!(condition(&uses(&mut world, EXPR, &token)), "not-authorized");
    assert_eq!(clients(&mut world, &mut desk).len(), 1);
    let again = answer(&mut world, &mut desk, &revoke(&id));
    assert!(again.to_string().contains("item-not-found"), "{again}");
    assert!(answer(&mut world, &mut desk, &revoke("")).to_string().contains("item-not-found"));
    let malformed = revoke("x").replace(" id='x'", "");
    assert!(answer(&mut world, &mut desk, &malformed).to_string().contains("bad-request"));
    assert!(answer(&mut world, &mut desk, &revoke("x").replace("'set'", "'get'")).to_string().contains("bad-request"));
}

#[test]
fn a_session_that_waits_for_its_client_is_revoked_too() {
    let mut world = World::new(&["romeo"]);
    let (phone, _) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}"));
    let lost = Player::online(&mut world, "romeo", "lost");
    world.cut(phone.conn);
    world.cut(lost.conn);
    let mut desk = Player::sign_in(&mut world, "romeo", "desk");
    let own = desk.jid();
    for client in clients(&mut world, &mut desk) {
        assert_eq!(client.get("connected"), Some("true"), "it can come back");
        let told = answer(&mut world, &mut desk, &revoke(client.get("id").unwrap()));
        if !world.is_open(desk.conn) {
            assert!(told.to_string().contains("password-reset-required"), "who revokes the own session is told first");
            break;
        }
    }
    world.drive();
    let (mut fresh, _) = instant(&mut world, "romeo", "");
    fresh.element(&mut world);
    let id = phone.sm.id.unwrap();
    fresh.send(&mut world, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>"));
    assert_eq!(fresh.element(&mut world).name, "failed", "{own}");
}

#[test]
fn administrators_see_and_sign_out_the_devices_of_others() {
    let mut world = World::new(&["romeo", "prince!"]);
    let (mut phone, _) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}{}", request(EXPR)));
    phone.element(&mut world);
    let mut prince = Player::sign_in(&mut world, "prince", "hall");
    let whose = ("accountjid", "romeo@capulet.lit");
    let table = command(&mut world, &mut prince, "user-devices", &[whose]);
    let form = table.find("command").and_then(|command| command.find("x")).unwrap_or_else(|| panic!("{table}"));
    let row = form.find("item").unwrap();
    let value = |var: &str| {
        let field = row.children().find(|field| field.get("var") == Some(var)).unwrap();
        text(field, "value")
    };
    assert_eq!((value("software").as_str(), value("connected").as_str()), ("AwesomeXMPP", "1"));
    let done = command(&mut world, &mut prince, "revoke-device", &[whose, ("device", &value("id"))]);
    assert!(done.to_string().contains("completed") && done.to_string().contains("note"), "{done}");
    assert_eq!(ending(&mut phone, &mut world).as_deref(), Some("not-authorized"));
    let done = command(&mut world, &mut prince, "revoke-device", &[whose, ("device", &value("id"))]);
    assert!(done.to_string().contains("item-not-found"), "{done}");
    let mut romeo = Player::sign_in(&mut world, "romeo", "orchard");
    let refused = command(&mut world, &mut romeo, "user-devices", &[whose]);
    assert!(refused.to_string().contains("forbidden"), "S17b: {refused}");
}

#[test]
fn a_new_password_leaves_the_device_that_set_it() {
    let mut world = World::new(&["romeo"]);
    first_token(&mut world, EXPR);
    let other = PHONE.replace("d4565fa7", "00000000").replace("Kiva", "Other");
    let (mut desk, success) = instant(&mut world, "romeo", &format!("{other}{BIND}"));
    desk.element(&mut world);
    assert_eq!(clients(&mut world, &mut desk).len(), 2);
    let changed = answer(
        &mut world,
        &mut desk,
        "<iq type='set' id='p' to='capulet.lit'><query xmlns='jabber:iq:register'><username>romeo</username>\
         <password>new</password></query></iq>",
    );
    assert_eq!(changed.get("type"), Some("result"));
    let left = clients(&mut world, &mut desk);
    assert_eq!(left.len(), 1, "the other one has no access any more");
    assert_eq!(left[0].get("connected"), Some("true"));
    assert!(text(&success, "authorization-identifier").ends_with(left[0].get("id").unwrap()), "it keeps its name");
}

#[test]
fn a_device_that_stays_away_is_forgotten() {
    // XEP-0494 §5: for how long is a matter of settings.
    let mut config = Config { domains: vec![DOMAIN.into()], ..Config::default() };
    config.retention.device_days = 2;
    let mut world = World::with(config, &["romeo"], 1);
    first_token(&mut world, EXPR);
    let mut desk = Player::sign_in(&mut world, "romeo", "desk");
    world.advance(2 * 86_400_000);
    assert_eq!(clients(&mut world, &mut desk).len(), 2);
    world.advance(1000);
    assert_eq!(clients(&mut world, &mut desk).len(), 1);
}

#[test]
fn a_device_has_one_session_however_it_is_bound() {
    let mut world = World::new(&["romeo"]);
    let (mut phone, _) = instant(&mut world, "romeo", PHONE);
    phone.element(&mut world);
    phone.resource = "phone".into();
    phone.bind(&mut world);
    let seen = clients(&mut world, &mut phone);
    assert_eq!((seen.len(), of_phone(&seen).get("connected")), (1, Some("true")));
    let (mut again, _) = instant(&mut world, "romeo", &format!("{PHONE}{BIND}"));
    again.element(&mut world);
    assert_eq!(ending(&mut phone, &mut world).as_deref(), Some("conflict"));
    assert_eq!(clients(&mut world, &mut again).len(), 1);
}

#[test]
fn devices_of_an_account_are_bounded() {
    let mut world = World::new(&["romeo"]);
    for at in 0..=limits::DEVICES_PER_ACCOUNT_MAX {
        let agent = PHONE.replace("d4565fa7", &format!("{at:08x}"));
        let (client, _) = instant(&mut world, "romeo", &agent);
        world.cut(client.conn);
    }
    let mut desk = Player::sign_in(&mut world, "romeo", "desk");
    assert_eq!(clients(&mut world, &mut desk).len(), limits::DEVICES_PER_ACCOUNT_MAX + 1);
}
