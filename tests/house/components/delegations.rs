//! What a component answers in place of the server: `src/router/delegation.rs` (XEP-0355), by its examples.

use lampone::limits;

use super::{BRIDGE, Bridge, Config, SECRET, house, privileged, settings, stanza_error};
use crate::stage::{player::Player, world::World, xml::Tree};

const DELEGATION: &str = "urn:xmpp:delegation:2";
const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const INFO: &str = "http://jabber.org/protocol/disco#info";
const ITEMS: &str = "http://jabber.org/protocol/disco#items";
const MOOD: &str = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='http://jabber.org/protocol/mood'>\
                    <item><mood xmlns='http://jabber.org/protocol/mood'><annoyed/></mood></item></publish></pubsub>";

fn delegating(to: Config, what: &[(&str, &[&str])]) -> Config {
    let mut settings = to;
    let delegate = what.iter().map(|(ns, only)| ((*ns).into(), only.iter().map(|name| (*name).into()).collect()));
    settings.components.get_mut(BRIDGE).unwrap().delegate = delegate.collect();
    settings
}

/// A house whose nodes are the component's, the component, and Juliet.
fn pubsub_elsewhere() -> (World, Bridge, Player) {
    let mut world = house(delegating(settings(), &[(PUBSUB, &[])]));
    let bridge = Bridge::connected(&mut world);
    let juliet = Player::online(&mut world, "juliet", "balcony");
    (world, bridge, juliet)
}

/// The requests inside of what a component got, each with the id of what it came in.
fn delegated(got: &[Tree]) -> Vec<(String, Tree)> {
    let inner = |iq: &Tree| {
        let forwarded = iq.find_ns("delegation", DELEGATION)?.find_ns("forwarded", "urn:xmpp:forward:0")?;
        assert_eq!(
            (iq.get("from"), iq.get("to"), iq.get("type")),
            (Some("capulet.lit"), Some(BRIDGE), Some("set")),
            "§4.3"
        );
        Some((iq.get("id")?.to_owned(), forwarded.find_ns("iq", "jabber:client").expect("§4.3").clone()))
    };
    got.iter().filter(|element| element.name == "iq").filter_map(inner).collect()
}

fn the_one(got: &[Tree]) -> (String, Tree) {
    let mut all = delegated(got);
    assert_eq!(all.len(), 1, "{got:?}");
    all.remove(0)
}

fn answer(id: &str, inner: &str) -> String {
    format!(
        "<iq from='{BRIDGE}' to='capulet.lit' id='{id}' type='result'><delegation xmlns='{DELEGATION}'>\
         <forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></delegation></iq>"
    )
}

fn features(got: &[Tree], node: &str) -> Tree {
    let asks = |iq: &&Tree| iq.find_ns("query", INFO).is_some_and(|query| query.get("node") == Some(node));
    got.iter().find(asks).unwrap_or_else(|| panic!("nobody asks for {node}: {got:?}")).clone()
}

fn tell(question: &Tree, told: &str) -> String {
    let (id, node) = (question.get("id").unwrap(), question.find("query").unwrap().get("node").unwrap());
    format!(
        "<iq from='{BRIDGE}' to='capulet.lit' id='{id}' type='result'><query xmlns='{INFO}' node='{node}'>{told}</query></iq>"
    )
}

fn ask(world: &mut World, who: &mut Player, to: &str, what: &str, node: &str) -> Tree {
    let node = if node.is_empty() { String::new() } else { format!(" node='{node}'") };
    who.send(world, &format!("<iq type='get' id='d' to='{to}'><query xmlns='{what}'{node}/></iq>"));
    who.element(world)
}

fn vars(answer: &Tree) -> Vec<String> {
    let query = answer.find("query").unwrap_or_else(|| panic!("{answer}"));
    let features = query.children().filter(|child| child.name == "feature");
    features.map(|feature| feature.get("var").unwrap().to_owned()).collect()
}

#[test]
fn a_component_hears_what_is_delegated_to_it_and_is_asked_what_it_can_do() {
    // Examples 1 and 18, and the nodes of §7.2.
    let mut world = house(delegating(settings(), &[("urn:xmpp:mam:2", &["node"]), (PUBSUB, &[])]));
    let (_, got) = Bridge::signs_in(&mut world, BRIDGE, SECRET);
    let delegation = got[1].find_ns("delegation", DELEGATION).expect("§4.2");
    assert_eq!((&*got[1].name, got[1].get("from"), got[1].get("to")), ("message", Some("capulet.lit"), Some(BRIDGE)));
    let told: Vec<_> = delegation.children().map(|it| (it.get("namespace").unwrap(), it.children().count())).collect();
    assert_eq!(told, [(PUBSUB, 0), ("urn:xmpp:mam:2", 1)]);
    let attribute = delegation.children().nth(1).unwrap().children().next().unwrap();
    assert_eq!((&*attribute.name, attribute.get("name")), ("attribute", Some("node")));
    for ns in [PUBSUB, "urn:xmpp:mam:2"] {
        for separator in ["::", ":bare:"] {
            features(&got, &format!("{DELEGATION}{separator}{ns}"));
        }
    }
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    assert!(vars(&ask(&mut world, &mut juliet, "capulet.lit", INFO, "")).contains(&DELEGATION.to_owned()), "§7.1");
}

#[test]
fn what_is_delegated_is_answered_by_the_component_and_nobody_sees_it() {
    // Examples 2 to 5.
    let (mut world, mut bridge, mut juliet) = pubsub_elsewhere();
    juliet.send(&mut world, &format!("<iq id='pep1' type='set'>{MOOD}</iq>"));
    let (id, inner) = the_one(&bridge.hear(&mut world));
    assert_eq!(inner.get("from"), Some("juliet@capulet.lit/balcony"));
    assert_eq!((inner.get("to"), inner.get("id"), inner.get("type")), (None, Some("pep1"), Some("set")));
    assert!(inner.find_ns("pubsub", PUBSUB).unwrap().to_string().contains("annoyed"));
    // The namespaces are those of the component's own stream, in whose middle this stands.
    let result = "<iq xmlns='jabber:client' to='juliet@capulet.lit/balcony' id='pep1' type='result'>\
                  <pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='http://jabber.org/protocol/mood'>\
                  <item id='1'/></publish></pubsub></iq>";
    bridge.say(&mut world, &answer(&id, result));
    let got = juliet.element(&mut world);
    assert_eq!((got.get("type"), got.get("id"), got.get("from")), (Some("result"), Some("pep1"), None));
    assert!(got.find_ns("pubsub", PUBSUB).unwrap().to_string().contains("mood"), "{got}");
    // Once, and nobody here published anything.
    assert_eq!(bridge.say(&mut world, &answer(&id, result)), []);
    assert_eq!(juliet.elements(&mut world), []);
}

#[test]
fn requests_to_the_domain_and_to_bare_addresses_are_delegated_and_no_others() {
    let (mut world, mut bridge, mut juliet) = pubsub_elsewhere();
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    bridge.hear(&mut world);
    let get = format!("<pubsub xmlns='{PUBSUB}'><items node='urn:a'/></pubsub>");
    for to in ["capulet.lit", "juliet@capulet.lit", "romeo@capulet.lit"] {
        romeo.send(&mut world, &format!("<iq type='get' id='g' to='{to}'>{get}</iq>"));
        let (id, inner) = the_one(&bridge.hear(&mut world));
        assert_eq!(inner.get("to"), Some(to));
        let result = format!(
            "<iq xmlns='jabber:client' from='{to}' to='romeo@capulet.lit/orchard' id='g' type='result'>\
             <pubsub xmlns='{PUBSUB}'/></iq>"
        );
        bridge.say(&mut world, &answer(&id, &result));
        let got = romeo.element(&mut world);
        // RFC 6120 §8.1.2.1: the answer to oneself may leave it out.
        assert_eq!((got.get("type"), got.get("from").unwrap_or("romeo@capulet.lit")), (Some("result"), to));
    }
    for to in ["juliet@capulet.lit/balcony", "pubsub.capulet.lit", "rooms.capulet.lit", "nobody@capulet.lit"] {
        romeo.send(&mut world, &format!("<iq type='get' id='g' to='{to}'>{get}</iq>"));
        assert_eq!(bridge.hear(&mut world), [], "{to}");
        juliet.elements(&mut world);
        romeo.elements(&mut world);
    }
    // Another namespace is nobody's but ours.
    juliet.send(&mut world, "<iq type='get' id='v' to='capulet.lit'><query xmlns='jabber:iq:version'/></iq>");
    assert_eq!(bridge.hear(&mut world), []);
    assert!(juliet.element(&mut world).to_string().contains("Lampone"));
}

#[test]
fn an_answer_that_is_none_to_the_request_is_refused() {
    // §4.3: `to`, `from`, `id` and `type`.
    let (mut world, mut bridge, mut juliet) = pubsub_elsewhere();
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let inner = |attrs: &str, content: &str| format!("<iq xmlns='jabber:client' {attrs}>{content}</iq>");
    let empty = format!("<pubsub xmlns='{PUBSUB}'/>");
    for wrong in [
        inner("to='romeo@capulet.lit/orchard' id='p' type='result'", &empty),
        inner("id='p' type='result'", &empty),
        inner("to='juliet@capulet.lit' id='p' type='result'", &empty),
        inner("to='juliet@capulet.lit/balcony' id='q' type='result'", &empty),
        inner("to='juliet@capulet.lit/balcony' type='result'", &empty),
        inner("to='juliet@capulet.lit/balcony' id='p' type='set'", &empty),
        inner("to='juliet@capulet.lit/balcony' id='p' type='error'", &empty),
        inner("to='juliet@capulet.lit/balcony' from='romeo@capulet.lit' id='p' type='result'", &empty),
        inner("to='juliet@capulet.lit/balcony' from='@' id='p' type='result'", &empty),
        inner("to='juliet@capulet.lit/balcony' id='p' type='result'", &empty.repeat(2)),
        "<message xmlns='jabber:client' to='juliet@capulet.lit/balcony' id='p' type='result'/>".into(),
        String::new(),
    ] {
        juliet.send(&mut world, &format!("<iq id='p' type='set'>{MOOD}</iq>"));
        let (id, _) = the_one(&bridge.hear(&mut world));
        assert_eq!(bridge.say(&mut world, &answer(&id, &wrong)), []);
        let got = juliet.element(&mut world);
        assert_eq!((got.get("id"), &*stanza_error(&got)), (Some("p"), "service-unavailable"), "{wrong}");
        assert_eq!(romeo.elements(&mut world), [], "{wrong}");
    }
    assert!(!bridge.ended);
    // What is right in the words of libraries: the account's own address for none, nothing inside, the stream's namespace.
    for right in [
        inner("to='juliet@capulet.lit/balcony' from='juliet@capulet.lit' id='p' type='result'", ""),
        format!(
            "<iq xmlns='jabber:component:accept' to='juliet@capulet.lit/balcony' id='p' type='result'>{empty}</iq>"
        ),
    ] {
        juliet.send(&mut world, &format!("<iq id='p' type='set'>{MOOD}</iq>"));
        let (id, _) = the_one(&bridge.hear(&mut world));
        bridge.say(&mut world, &answer(&id, &right));
        assert_eq!(juliet.element(&mut world).get("type"), Some("result"), "{right}");
    }
    // An answer by somebody else counts for nothing.
    juliet.send(&mut world, &format!("<iq id='p' type='set'>{MOOD}</iq>"));
    let (id, _) = the_one(&bridge.hear(&mut world));
    let (mut other, _) = Bridge::signs_in(&mut world, "other.example", "quite another one");
    let right = inner("to='juliet@capulet.lit/balcony' id='p' type='result'", &empty);
    other.say(&mut world, &answer(&id, &right).replace(BRIDGE, "other.example"));
    assert_eq!(juliet.elements(&mut world), []);
}

#[test]
fn who_is_away_or_fails_is_unavailable() {
    // §4.3, notes 1 and 2.
    let (mut world, mut bridge, mut juliet) = pubsub_elsewhere();
    let publish = format!("<iq id='p' type='set'>{MOOD}</iq>");
    juliet.send(&mut world, &publish);
    let (id, _) = the_one(&bridge.hear(&mut world));
    let error = "<error type='cancel'><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    bridge.say(&mut world, &format!("<iq from='{BRIDGE}' to='capulet.lit' id='{id}' type='error'>{error}</iq>"));
    assert_eq!(stanza_error(&juliet.element(&mut world)), "service-unavailable");
    // It goes with a question.
    juliet.send(&mut world, &publish);
    assert_eq!(juliet.elements(&mut world), []);
    bridge.say(&mut world, "</stream:stream>");
    assert_eq!(stanza_error(&juliet.element(&mut world)), "service-unavailable");
    juliet.send(&mut world, &publish);
    assert_eq!(stanza_error(&juliet.element(&mut world)), "service-unavailable");
}

#[test]
fn a_request_without_the_attribute_stays_here() {
    // §4.3, note 3.
    let mut world = house(delegating(settings(), &[("urn:xmpp:mam:2", &["node"])]));
    let mut bridge = Bridge::connected(&mut world);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<iq type='set' id='m'><query xmlns='urn:xmpp:mam:2' queryid='q'/></iq>");
    assert!(juliet.elements(&mut world).iter().any(|got| got.find("fin").is_some()));
    juliet.send(&mut world, "<iq type='set' id='m'><query xmlns='urn:xmpp:mam:2' node='urn:a'/></iq>");
    assert_eq!(the_one(&bridge.hear(&mut world)).1.get("id"), Some("m"));
}

#[test]
fn what_a_component_asks_itself_is_not_delegated_to_it() {
    // §4.3.1, with XEP-0356 by which a component acts in an account's name.
    let mut world = house(delegating(privileged(), &[(PUBSUB, &[]), ("jabber:iq:roster", &[])]));
    let mut bridge = Bridge::connected(&mut world);
    let roster = "<query xmlns='jabber:iq:roster'><item jid='romeo@montaigu.lit' name='My Romeo'><group>Rivals</group></item></query>";
    let got = bridge
        .say(&mut world, &format!("<iq from='{BRIDGE}' to='juliet@capulet.lit' type='set' id='roster2'>{roster}</iq>"));
    assert_eq!(delegated(&got), []);
    assert!(got.iter().any(|it| (it.get("id"), it.get("type")) == (Some("roster2"), Some("result"))), "{got:?}");
    let privileged = format!(
        "<iq from='{BRIDGE}' to='juliet@capulet.lit' type='set' id='out'><privileged_iq xmlns='urn:xmpp:privilege:2'>\
         <iq xmlns='jabber:client' type='set' id='in'>{MOOD}</iq></privileged_iq></iq>"
    );
    let got = bridge.say(&mut world, &privileged);
    assert_eq!(delegated(&got), []);
    assert!(got.iter().any(|it| (it.get("id"), it.get("type")) == (Some("out"), Some("result"))), "{got:?}");
    // Another component's is.
    let (mut other, _) = Bridge::signs_in(&mut world, "other.example", "quite another one");
    let get = format!("<pubsub xmlns='{PUBSUB}'><items node='urn:a'/></pubsub>");
    other.say(&mut world, &format!("<iq from='x@other.example' to='juliet@capulet.lit' type='get' id='o'>{get}</iq>"));
    let (id, inner) = the_one(&bridge.hear(&mut world));
    assert_eq!(inner.get("from"), Some("x@other.example"));
    let result = "<iq xmlns='jabber:client' from='juliet@capulet.lit' to='x@other.example' id='o' type='result'/>";
    bridge.say(&mut world, &answer(&id, result));
    assert_eq!(other.hear(&mut world)[0].get("type"), Some("result"));
}

#[test]
fn whoever_asks_the_component_for_the_roster_hears_of_its_changes() {
    // §4.3.1: "The server will then send the roster pushes (with the enforced group) normally".
    let mut world = house(delegating(privileged(), &[("jabber:iq:roster", &[])]));
    let mut bridge = Bridge::connected(&mut world);
    let mut juliet = Player::sign_in(&mut world, "juliet", "balcony");
    juliet.send(&mut world, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    the_one(&bridge.hear(&mut world));
    let item = "<query xmlns='jabber:iq:roster'><item jid='romeo@montaigu.lit'/></query>";
    bridge.say(&mut world, &format!("<iq from='{BRIDGE}' to='juliet@capulet.lit' type='set' id='s'>{item}</iq>"));
    let push = juliet.element(&mut world);
    assert!(push.to_string().contains("romeo@montaigu.lit"), "{push}");
}

#[test]
fn what_the_component_can_do_is_told_in_place_of_what_the_server_can() {
    // Examples 8 to 14, and §7.2.3.
    let mut world = house(delegating(settings(), &[(PUBSUB, &[])]));
    let (mut bridge, got) = Bridge::signs_in(&mut world, BRIDGE, SECRET);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let is_pubsub = |var: &&String| var.starts_with(PUBSUB);
    // Before it answered, and when it is away, nobody does that.
    let before = ask(&mut world, &mut juliet, "juliet@capulet.lit", INFO, "");
    assert_eq!(vars(&before).iter().find(is_pubsub), None);
    assert!(!before.to_string().contains("pep") && !before.to_string().contains("bookmarks"), "{before}");
    let form =
        "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'><value>urn:a</value></field></x>";
    let of_account = tell(
        &features(&got, &format!("{DELEGATION}:bare:{PUBSUB}")),
        &format!("<identity category='pubsub' type='pep'/><feature var='{PUBSUB}#publish'/>{form}<y xmlns='urn:y'/>"),
    );
    let of_domain = tell(
        &features(&got, &format!("{DELEGATION}::{PUBSUB}")),
        &format!("<feature var='{PUBSUB}'/><feature var='{PUBSUB}#subscribe'/><feature/>"),
    );
    bridge.say(&mut world, &of_account);
    bridge.say(&mut world, &of_domain);
    let account = ask(&mut world, &mut juliet, "juliet@capulet.lit", INFO, "");
    assert_eq!(vars(&account).iter().filter(is_pubsub).collect::<Vec<_>>(), [&format!("{PUBSUB}#publish")]);
    assert!(vars(&account).contains(&"urn:xmpp:mam:2".to_owned()), "all else is as it was");
    let children: Vec<_> = account.find("query").unwrap().children().map(|child| &*child.name).collect();
    assert_eq!((children[0], children[1], children.last()), ("identity", "identity", Some(&"x")), "{account}");
    let domain = ask(&mut world, &mut juliet, "capulet.lit", INFO, "");
    assert_eq!(
        vars(&domain).iter().filter(is_pubsub).collect::<Vec<_>>(),
        [PUBSUB, &format!("{PUBSUB}#subscribe")],
        "{domain}"
    );
    // XEP-0115 §6.3: the hash in the stream's features is one of this answer.
    let caps = |world: &mut World| -> String {
        let features = Player::connect(world, "romeo", "orchard", true).authenticate(world);
        features.find("c").expect("XEP-0115 §6.3").get("ver").unwrap().to_owned()
    };
    let ver = caps(&mut world);
    let node = ask(&mut world, &mut juliet, "capulet.lit", INFO, &format!("urn:lampone#{ver}"));
    assert_eq!(vars(&node), vars(&domain));
    bridge.say(&mut world, "</stream:stream>");
    assert_ne!(caps(&mut world), ver);
    let after = ask(&mut world, &mut juliet, "juliet@capulet.lit", INFO, "");
    assert_eq!(vars(&after), vars(&before));
}

#[test]
fn nodes_that_nobody_here_knows_are_the_components() {
    // Examples 15 to 25.
    let info = "urn:xmpp:delegation:2:bare:disco#info:*";
    let items = "urn:xmpp:delegation:2:bare:disco#items:*";
    let mut world = house(delegating(settings(), &[(info, &[]), (items, &[])]));
    let (mut bridge, got) = Bridge::signs_in(&mut world, BRIDGE, SECRET);
    assert_eq!(got.len(), 2, "nobody is asked for the features of these: {got:?}");
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    let to = "juliet@capulet.lit";
    for (what, node) in [(INFO, " node='urn:xmpp:microblog:0'"), (ITEMS, ""), (ITEMS, " node='urn:xmpp:microblog:0'")] {
        for who in [&mut juliet, &mut romeo] {
            let query = format!("<query xmlns='{what}'{node}");
            who.send(&mut world, &format!("<iq type='get' id='d' to='{to}'>{query}/></iq>"));
            let (id, inner) = the_one(&bridge.hear(&mut world));
            let attrs = (inner.get("from").map(str::to_owned), inner.get("to"), inner.get("id"));
            assert_eq!(attrs, (Some(who.jid()), Some(to), Some("d")));
            let result = format!(
                "<iq xmlns='jabber:client' from='{to}' to='{}' id='d' type='result'>{query}><a xmlns='urn:a'/></query></iq>",
                who.jid()
            );
            bridge.say(&mut world, &answer(&id, &result));
            let got = who.element(&mut world);
            assert!(got.get("type") == Some("result") && got.to_string().contains("urn:a"), "{got}");
        }
    }
    // What the server knows itself, and what is not an account's, stays here.
    juliet.send(&mut world, &format!("<iq id='p' type='set'>{MOOD}</iq>"));
    juliet.elements(&mut world);
    let mood = "http://jabber.org/protocol/mood";
    for (to, what, node) in [(to, INFO, mood), (to, ITEMS, mood), (to, INFO, ""), ("capulet.lit", ITEMS, "")] {
        let got = ask(&mut world, &mut juliet, to, what, node);
        assert_eq!(got.get("type"), Some("result"), "{to} {what} {node}");
    }
    for to in ["capulet.lit", "nobody@capulet.lit", "rooms.capulet.lit"] {
        let got = ask(&mut world, &mut juliet, to, INFO, "urn:xmpp:microblog:0");
        assert_eq!(got.get("type"), Some("error"), "{to}");
    }
    assert_eq!(bridge.hear(&mut world), []);
    // Whoever lists nodes tells of them (§7.2.5).
    world.reload(delegating(settings(), &[(items, &[])]));
    bridge.hear(&mut world);
    juliet.send(&mut world, &format!("<iq type='get' id='d' to='{to}'><query xmlns='{INFO}' node='urn:b'/></iq>"));
    the_one(&bridge.hear(&mut world));
}

#[test]
fn new_settings_are_told_and_hold_at_once() {
    let (mut world, mut bridge, mut juliet) = pubsub_elsewhere();
    world.reload(settings());
    let got = bridge.hear(&mut world);
    let told = got.iter().find_map(|it| it.find_ns("delegation", DELEGATION)).expect("§8: delegations have changed");
    assert_eq!((got.len(), told.children().count()), (1, 0));
    juliet.send(&mut world, &format!("<iq id='p' type='set'>{MOOD}</iq>"));
    assert!(juliet.elements(&mut world).iter().any(|got| got.get("type") == Some("result")));
    assert!(ask(&mut world, &mut juliet, "juliet@capulet.lit", INFO, "").to_string().contains("pep"));
    world.reload(settings());
    assert_eq!(bridge.hear(&mut world), [], "nothing has changed");
}

#[test]
fn more_requests_than_a_component_answers_are_refused_from_the_oldest_on() {
    let (mut world, mut bridge, mut juliet) = pubsub_elsewhere();
    bridge.hear(&mut world);
    // What it was asked of itself, and did not answer, is forgotten first.
    for n in 0..=limits::DELEGATED_MAX {
        juliet.send(&mut world, &format!("<iq id='p{n}' type='set'>{MOOD}</iq>"));
    }
    assert_eq!(delegated(&bridge.hear(&mut world)).len(), limits::DELEGATED_MAX + 1);
    let got = juliet.elements(&mut world);
    let ids: Vec<_> = got.iter().map(|it| (it.get("id").unwrap(), stanza_error(it))).collect();
    assert_eq!(ids, [("p0", "service-unavailable".to_owned())]);
}
