//! What a component does in the name of accounts: `src/router/privilege.rs` (XEP-0356).

use lampone::config::Access;

use super::{BRIDGE, Bridge, SECRET, bodies, house, privileged, settings, stanza_error};
use crate::stage::{player::Player, xml::Tree};

#[test]
fn a_component_hears_what_it_may_do() {
    let mut world = house(privileged());
    let (_, got) = Bridge::signs_in(&mut world, BRIDGE, SECRET);
    let privilege = got[1].find_ns("privilege", "urn:xmpp:privilege:2").expect("XEP-0356 §3.2");
    assert_eq!(got[1].get("from"), Some("capulet.lit"));
    let perms: Vec<_> = privilege.children().map(|perm| (perm.get("access"), perm.get("type"))).collect();
    let expected =
        [("roster", Some("both")), ("message", Some("outgoing")), ("iq", None), ("presence", Some("managed_entity"))];
    assert_eq!(perms, expected.map(|(access, ty)| (Some(access), ty)));
    let namespaces: Vec<_> = privilege.children().nth(2).unwrap().children().map(|ns| ns.get("type")).collect();
    assert_eq!(namespaces, [Some("both"), Some("get"), Some("get")]);
    let (_, got) = Bridge::signs_in(&mut world, "other.example", "quite another one");
    assert_eq!(got.len(), 1, "nothing to tell whoever may nothing");
}

fn wrapped(from: &str, to: &str, ns: &str) -> String {
    format!(
        "<message from='{BRIDGE}' to='capulet.lit' id='w'><privilege xmlns='urn:xmpp:privilege:2'>\
         <forwarded xmlns='urn:xmpp:forward:0'><message xmlns='{ns}' type='chat' id='i' from='{from}' to='{to}'>\
         <body>from afar</body></message></forwarded></privilege></message>"
    )
}

#[test]
fn what_was_written_on_the_other_network_is_sent_as_the_accounts_own() {
    let mut world = house(privileged());
    let mut bridge = Bridge::connected(&mut world);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    juliet.send(&mut world, "<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    juliet.elements(&mut world);
    bridge.hear(&mut world);
    for ns in ["jabber:client", "jabber:component:accept"] {
        assert_eq!(bridge.say(&mut world, &wrapped("juliet@capulet.lit", "romeo@capulet.lit", ns)), []);
        let got = romeo.element(&mut world);
        assert_eq!(
            (got.get("from"), got.find("body").map(Tree::text).as_deref()),
            (Some("juliet@capulet.lit"), Some("from afar"))
        );
        let copy = juliet.element(&mut world).to_string();
        assert!(
            copy.contains("urn:xmpp:carbons:2") && copy.contains("from afar") && !copy.contains("component"),
            "{copy}"
        );
    }
    // To a contact of the component's own, it comes back.
    let got = bridge.say(&mut world, &wrapped("juliet@capulet.lit", "x@bridge.capulet.lit", "jabber:client"));
    assert_eq!(bodies(&got), ["from afar"]);
}

#[test]
fn s38_a_message_in_somebodys_name_is_refused_beyond_the_rules() {
    let mut world = house(privileged());
    let mut bridge = Bridge::connected(&mut world);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    bridge.hear(&mut world);
    for from in ["juliet@capulet.lit/balcony", "nobody@capulet.lit", "juliet@montague.lit", "x@bridge.capulet.lit", ""]
    {
        let got = bridge.say(&mut world, &wrapped(from, "romeo@capulet.lit", "jabber:client"));
        assert_eq!(stanza_error(&got[0]), "forbidden", "{from}");
    }
    assert_eq!(romeo.elements(&mut world), []);
    world.reload(settings());
    let got = bridge.say(&mut world, &wrapped("juliet@capulet.lit", "romeo@capulet.lit", "jabber:client"));
    assert_eq!(stanza_error(&got[0]), "forbidden");
    assert_eq!(romeo.elements(&mut world), []);
}

fn errand(ty: &str, to: &str, inner: &str) -> String {
    format!(
        "<iq from='{BRIDGE}' to='{to}' type='{ty}' id='out'><privileged_iq xmlns='urn:xmpp:privilege:2'>{inner}\
         </privileged_iq></iq>"
    )
}

const PUBLISH: &str = "<iq xmlns='jabber:client' type='set' id='in'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
                       <publish node='urn:xmpp:bookmarks:1'><item id='room@bridge.capulet.lit'>\
                       <conference xmlns='urn:xmpp:bookmarks:1' name='Tavern'/></item></publish></pubsub></iq>";

#[test]
fn a_request_in_an_accounts_name_is_answered_inside_of_another_one() {
    let mut world = house(privileged());
    let mut bridge = Bridge::connected(&mut world);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    bridge.hear(&mut world);
    let got = bridge.say(&mut world, &errand("set", "juliet@capulet.lit", PUBLISH));
    let [answer] = &got[..] else { panic!("{got:?}") };
    let head = [answer.get("type"), answer.get("from"), answer.get("to"), answer.get("id")];
    assert_eq!(head, [Some("result"), Some("juliet@capulet.lit"), Some(BRIDGE), Some("out")]);
    let forwarded =
        answer.find_ns("privilege", "urn:xmpp:privilege:2").and_then(|p| p.find("forwarded")).expect("§5.3");
    let inner = forwarded.find_ns("iq", "jabber:client").expect("the answer");
    assert_eq!((inner.get("id"), inner.get("to")), (Some("in"), Some("juliet@capulet.lit")));
    // The bookmark is Juliet's own.
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(
        &mut world,
        "<iq type='get' id='g'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub></iq>",
    );
    let items = juliet.elements(&mut world);
    assert!(items.iter().any(|element| element.to_string().contains("Tavern")), "{items:?}");
    bridge.hear(&mut world);
    // Nobody is there, or nobody answers: an error outside and inside.
    let version = "<iq xmlns='jabber:client' type='get' id='in' to='nobody@capulet.lit/x'><query xmlns='jabber:iq:version'/></iq>";
    let got = bridge.say(&mut world, &errand("get", "juliet@capulet.lit", version));
    assert_eq!((got[0].get("type"), &*stanza_error(&got[0])), (Some("error"), "service-unavailable"));
    assert!(got[0].to_string().contains("id='in'") || got[0].to_string().contains("id=\"in\""), "{}", got[0]);
    // Somebody else's client answers.
    let version = version.replace("nobody@capulet.lit/x", "capulet.lit");
    let got = bridge.say(&mut world, &errand("get", "juliet@capulet.lit", &version));
    assert!(got[0].to_string().contains("Lampone"), "{}", got[0]);
    assert_eq!(romeo.elements(&mut world), []);
}

#[test]
fn an_answer_that_tells_of_a_write_waits_for_the_disk() {
    let mut world = house(privileged());
    let mut bridge = Bridge::connected(&mut world);
    world.disk.held = true;
    assert_eq!(bridge.say(&mut world, &errand("set", "juliet@capulet.lit", PUBLISH)), []);
    world.disk.held = false;
    assert_eq!(bridge.hear(&mut world).len(), 1);
}

#[test]
fn s38_a_request_in_somebodys_name_is_refused_beyond_the_rules() {
    let mut world = house(privileged());
    let mut bridge = Bridge::connected(&mut world);
    let get =
        "<iq xmlns='jabber:client' type='get' id='in'><query xmlns='jabber:iq:private'><a xmlns='urn:a'/></query></iq>";
    for (ty, to, inner) in [
        ("set", "juliet@capulet.lit", get.replace("'get'", "'set'")),
        ("set", "juliet@capulet.lit", get.to_owned()),
        ("get", "juliet@capulet.lit", get.replace("jabber:iq:private", "jabber:iq:roster")),
        ("get", "juliet@capulet.lit", get.replace("jabber:client", "jabber:server")),
        ("get", "juliet@capulet.lit", get.replace(" id=", " from='romeo@capulet.lit' id=")),
        ("get", "juliet@capulet.lit/balcony", get.to_owned()),
        ("get", "nobody@capulet.lit", get.to_owned()),
        ("get", "capulet.lit", get.to_owned()),
    ] {
        let got = bridge.say(&mut world, &errand(ty, to, &inner));
        assert_eq!(stanza_error(&got[0]), "forbidden", "{ty} {to} {inner}");
    }
    let got = bridge.say(&mut world, &errand("get", "juliet@capulet.lit", get));
    assert_eq!(got[0].get("type"), Some("result"));
    world.reload(settings());
    let got = bridge.say(&mut world, &errand("get", "juliet@capulet.lit", get));
    assert_eq!(stanza_error(&got[0]), "forbidden");
}

fn roster(ty: &str, items: &str) -> String {
    format!(
        "<iq from='{BRIDGE}' to='juliet@capulet.lit' type='{ty}' id='r'><query xmlns='jabber:iq:roster'>{items}</query></iq>"
    )
}

#[test]
fn a_component_writes_its_contacts_into_a_roster() {
    let mut world = house(privileged());
    let mut bridge = Bridge::connected(&mut world);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    bridge.hear(&mut world);
    let items = "<item jid='x@bridge.capulet.lit' name='X' subscription='both'><group>Afar</group></item>\
                 <item jid='romeo@capulet.lit' subscription='both'/>";
    let got = bridge.say(&mut world, &roster("set", items));
    let kinds: Vec<_> = got.iter().map(|e| (&*e.name, e.get("type"), e.get("from"))).collect();
    // Two pushes, Juliet's presence for the new contact, and the answer.
    assert!(kinds.contains(&("iq", Some("result"), Some("juliet@capulet.lit"))), "{kinds:?}");
    assert!(kinds.contains(&("presence", None, Some("juliet@capulet.lit/balcony"))), "{kinds:?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == ("iq", Some("set"), Some("juliet@capulet.lit"))).count(), 2);
    let pushes = juliet.elements(&mut world);
    assert_eq!(pushes.len(), 2, "{pushes:?}");
    assert!(pushes[0].to_string().contains("both") && pushes[0].to_string().contains("Afar"), "{}", pushes[0]);
    // Nobody sees Romeo's presence by it.
    assert!(pushes[1].to_string().contains("none"), "{}", pushes[1]);
    let got = bridge.say(&mut world, &roster("get", ""));
    assert_eq!(got[0].find("query").map(|query| query.children().count()), Some(2));
    // What Juliet changes, the component hears of.
    juliet.send(
        &mut world,
        "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='x@bridge.capulet.lit' name='Y'/></query></iq>",
    );
    let got = bridge.hear(&mut world);
    assert!(got[0].to_string().contains("name='Y'") || got[0].to_string().contains("name=\"Y\""), "{got:?}");
}

#[test]
fn s38_a_roster_is_closed_to_components_without_the_privilege() {
    let mut world = house(settings());
    let mut bridge = Bridge::connected(&mut world);
    for ty in ["get", "set"] {
        let items = if ty == "set" { "<item jid='x@bridge.capulet.lit'/>" } else { "" };
        assert_eq!(stanza_error(&bridge.say(&mut world, &roster(ty, items))[0]), "forbidden");
    }
    let mut only_get = privileged();
    only_get.components.get_mut(BRIDGE).unwrap().roster = Access::Get;
    world.reload(only_get);
    bridge.hear(&mut world);
    assert_eq!(bridge.say(&mut world, &roster("get", ""))[0].get("type"), Some("result"));
    let got = bridge.say(&mut world, &roster("set", "<item jid='x@bridge.capulet.lit'/>"));
    assert_eq!(stanza_error(&got[0]), "forbidden");
    // To anybody else an account answers as if there was none (S12).
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    for to in ["juliet@capulet.lit", "nobody@capulet.lit"] {
        romeo.send(&mut world, &format!("<iq type='get' id='r' to='{to}'><query xmlns='jabber:iq:roster'/></iq>"));
        assert_eq!(stanza_error(&romeo.element(&mut world)), "service-unavailable");
    }
}

#[test]
fn a_component_is_shown_who_comes_and_goes_and_no_more() {
    let mut world = house(privileged());
    let _romeo = Player::online(&mut world, "romeo", "orchard");
    let (mut bridge, got) = Bridge::signs_in(&mut world, BRIDGE, SECRET);
    let shown = |got: &[Tree]| -> Vec<(String, Option<String>)> {
        let presences = got.iter().filter(|element| element.name == "presence");
        presences.map(|e| (e.get("from").unwrap().to_owned(), e.get("type").map(str::to_owned))).collect()
    };
    assert_eq!(shown(&got), [("romeo@capulet.lit/orchard".to_owned(), None)]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    assert_eq!(shown(&bridge.hear(&mut world)), [("juliet@capulet.lit/balcony".to_owned(), None)]);
    juliet.send(&mut world, "<presence><show>away</show></presence>");
    assert_eq!(shown(&bridge.hear(&mut world)), []);
    juliet.sign_out(&mut world);
    let gone = ("juliet@capulet.lit/balcony".to_owned(), Some("unavailable".to_owned()));
    assert_eq!(shown(&bridge.hear(&mut world)), [gone]);
}
