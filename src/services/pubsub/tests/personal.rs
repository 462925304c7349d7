//! XEP-0163: events of accounts.

use super::*;
use crate::router::service::{ChangeNode, Notice};

const OWNER: &str = "juliet@capulet.lit";

#[test]
fn an_event_reaches_contacts_and_own_devices_that_ask_for_it() {
    // XEP-0163 §3 and §4, examples 1 and 2.
    let mut play = Play::new();
    let balcony = play.online("juliet@capulet.lit/balcony", &[NODE]);
    let chamber = play.online("juliet@capulet.lit/chamber", &[NODE]);
    let silent = play.online("juliet@capulet.lit/silent", &["mood"]);
    let nurse = play.online("nurse@capulet.lit/chamber", &[NODE]);
    let romeo = play.online("romeo@capulet.lit/orchard", &["http://jabber.org/protocol/activity"]);
    let benvolio = play.online("benvolio@capulet.lit/x", &[NODE]);
    play.house.subscribe(OWNER, "nurse@capulet.lit");
    play.house.subscribe(OWNER, "romeo@capulet.lit");
    let out = play.publish(balcony, "", NODE, &item("a"));
    assert_eq!([balcony, chamber, nurse].map(|id| hears(&out, id)), [1, 1, 1]);
    assert_eq!([silent, romeo, benvolio].map(|id| hears(&out, id)), [0, 0, 0]);
    let (_, xml) = &to_session(&out, nurse)[0];
    assert!(xml.starts_with("<message from='juliet@capulet.lit' to='nurse@capulet.lit/chamber' type='headline' id='"));
    let event = format!(
        "<event xmlns='http://jabber.org/protocol/pubsub#event'><items node='{NODE}'><item id='a'>{TUNE}</item></items></event>"
    );
    assert!(xml.contains(&event), "{xml}");
}

#[test]
fn the_blocked_hear_nothing() {
    // XEP-0163 §4.3.3, rule 3, and S36.
    for (who, whom) in [("juliet", "nurse"), ("nurse", "juliet")] {
        let mut play = Play::new();
        let juliet = play.online("juliet@capulet.lit/balcony", &[]);
        let nurse = play.online("nurse@capulet.lit/chamber", &[NODE]);
        play.house.subscribe(OWNER, "nurse@capulet.lit");
        assert_eq!(hears(&play.publish(juliet, "", NODE, &item("a")), nurse), 1);
        let blocker = if who == "juliet" { juliet } else { nurse };
        let block = format!("<block xmlns='urn:xmpp:blocking'><item jid='{whom}@capulet.lit'/></block>");
        play.house.send(blocker, &format!("<iq type='set' id='b'>{block}</iq>"));
        assert_eq!(hears(&play.publish(juliet, "", NODE, &item("b")), nurse), 0, "{who} blocks {whom}");
        let nodes: std::rc::Rc<[Box<str>]> = vec![NODE.into()].into();
        let out = play.house.notice(Notice::Interested { session: nurse, nodes });
        assert_eq!(hears(&out, nurse), 0);
    }
}

#[test]
fn who_comes_online_gets_the_last_item_of_each_node_once() {
    // XEP-0163 §4.3.4.
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    play.house.subscribe(OWNER, "nurse@capulet.lit");
    let kept = &[("max_items", "max")];
    for id in ["a", "b"] {
        play.publish_with(juliet, NODE, &item(id), kept);
    }
    play.publish_with(juliet, "never", &item("c"), &[("send_last_published_item", "never")]);
    play.publish_with(juliet, "private", &item("d"), &[("access_model", "whitelist")]);
    for (full, count) in
        [("nurse@capulet.lit/chamber", 1), ("juliet@capulet.lit/chamber", 2), ("benvolio@capulet.lit/x", 0)]
    {
        let id = play.online(full, &[NODE, "never", "private"]);
        let nodes = play.house.core.sessions.session(id).unwrap().wants_nodes.clone();
        let out = play.house.notice(Notice::Interested { session: id, nodes });
        assert_eq!(hears(&out, id), count, "{full}: {out:?}");
        if count > 0 {
            assert!(
                out[0].1.contains("<item id='b'>") && out[0].1.contains("<delay xmlns='urn:xmpp:delay' stamp='2023")
            );
        }
    }
}

#[test]
fn access_models_decide_what_is_read_and_heard() {
    // XEP-0060 §4.5 and §6.5.9, S32.
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    let friend = play.online("romeo@capulet.lit/orchard", &[NODE]);
    let contact = play.online("nurse@capulet.lit/chamber", &[NODE]);
    let stranger = play.online("tybalt@capulet.lit/x", &[NODE]);
    play.house.subscribe(OWNER, "romeo@capulet.lit");
    play.house.subscribe(OWNER, "nurse@capulet.lit");
    play.house.send(
        juliet,
        "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='romeo@capulet.lit'><group>Friends</group></item></query></iq>",
    );
    let items = format!("<items node='{NODE}'/>");
    play.publish(juliet, "", NODE, &item("a"));
    for (model, heard, contacts, strangers) in [
        ("open", [1, 1, 0], "", ""),
        ("presence", [1, 1, 0], "", "service-unavailable"),
        ("roster", [1, 0, 0], "not-authorized not-in-roster-group", "service-unavailable"),
        ("whitelist", [0, 0, 0], "not-allowed closed-node", "service-unavailable"),
        ("authorize", [0, 0, 0], "not-authorized not-subscribed", "service-unavailable"),
    ] {
        play.configure(juliet, "", NODE, &[("access_model", model), ("roster_groups_allowed", "Friends")]);
        let out = play.publish(juliet, "", NODE, &item("b"));
        assert_eq!([friend, contact, stranger].map(|id| hears(&out, id)), heard, "{model}");
        for (who, expected) in [(contact, contacts), (stranger, strangers)] {
            match expected {
                "" => assert_eq!(play.ids(who, OWNER, &items), "b", "{model}"),
                _ => assert_eq!(play.refused(who, "get", OWNER, &items), expected, "{model}"),
            }
        }
        assert_eq!(play.ids(juliet, "", &items), "b");
    }
}

#[test]
fn who_sends_presence_hears_of_what_is_open_while_it_lasts() {
    // XEP-0060 §9.1.3.
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    let romeo = play.online("romeo@capulet.lit/orchard", &[NODE, "presence"]);
    play.publish_with(juliet, NODE, &item("a"), &[("access_model", "open")]);
    for (presence, heard) in [("", 1), (" type='unavailable'", 0)] {
        play.house.send(romeo, &format!("<presence to='juliet@capulet.lit'{presence}/>"));
        assert_eq!(hears(&play.publish(juliet, "", NODE, &item("b")), romeo), heard, "{presence}");
        assert_eq!(hears(&play.publish(juliet, "", "presence", &item("b")), romeo), 0);
    }
}

#[test]
fn s32_private_nodes_are_private_also_if_the_client_forgets_to_say_so() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    let nurse = play.online("nurse@capulet.lit/chamber", &["storage:bookmarks"]);
    play.house.subscribe(OWNER, "nurse@capulet.lit");
    for node in ["storage:bookmarks", "urn:xmpp:bookmarks:1", "urn:xmpp:mds:displayed:0"] {
        let out = play.publish(juliet, "", node, &item("a"));
        assert_eq!(hears(&out, nurse), 0);
        let refused = play.refused(nurse, "get", OWNER, &format!("<items node='{node}'/>"));
        assert_eq!(refused, "not-allowed closed-node");
    }
}

#[test]
fn s12_refusals_tell_strangers_nothing() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    let stranger = play.online("tybalt@capulet.lit/x", &[NODE]);
    play.publish(juliet, "", NODE, &item("a"));
    play.publish_with(juliet, "open", &item("a"), &[("access_model", "open")]);
    for (how, inner) in [
        ("get", format!("<items node='{NODE}'/>")),
        ("get", "<items node='none'/>".into()),
        ("get", "<items/>".into()),
        ("set", format!("<publish node='{NODE}'>{}</publish>", item("x"))),
        ("set", format!("<publish node='open'>{}</publish>{}", item("x"), options(&[("access_model", "presence")]))),
        ("set", format!("<publish node='new'>{}</publish>", item("x"))),
        ("set", "<create node='open'/>".into()),
        ("set", "<retract node='open'><item id='a'/></retract>".into()),
        ("owner get", "<configure node='open'/>".into()),
        ("owner set", format!("<configure node='open'>{}</configure>", form("node_config", &[]))),
        ("owner set", "<delete node='open'/>".into()),
        ("owner set", "<purge node='open'/>".into()),
        ("owner get", "<default/>".into()),
        ("get", "<default/>".into()),
        ("get", "<subscriptions/>".into()),
        ("get", "<affiliations/>".into()),
    ] {
        let here = play.ask(stranger, how, OWNER, &inner);
        let nobody = play.ask(stranger, how, "nobody@capulet.lit", &inner);
        assert_eq!(here[0].1.replace("juliet", "nobody"), nobody[0].1, "{how} {inner}");
    }
    assert_eq!(play.ids(stranger, OWNER, "<items node='open'/>"), "a");
    // XEP-0060 §5.4 and §5.5: what they may read they may also look at.
    let mut look = |to: &str, what: &str, node: &str| {
        let query = format!("<query xmlns='http://jabber.org/protocol/disco#{what}' node='{node}'/>");
        play.house.send(stranger, &format!("<iq type='get' id='d' to='{to}'>{query}</iq>"))
    };
    assert!(result_of(&look(OWNER, "info", "open")).contains("<identity category='pubsub' type='leaf'/>"));
    assert!(result_of(&look(OWNER, "items", "open")).contains("<item jid='juliet@capulet.lit' name='a'/>"));
    for (what, node) in
        [("info", NODE), ("items", NODE), ("info", "none"), ("info", "http://jabber.org/protocol/commands")]
    {
        let (here, nobody) = (look(OWNER, what, node), look("nobody@capulet.lit", what, node));
        assert_eq!(here[0].1.replace("juliet", "nobody"), nobody[0].1, "{what} {node}");
    }
}

#[test]
fn nobody_else_learns_the_groups_of_a_roster() {
    // XEP-0060 §8.3: a form with what may be chosen; which groups there are is the account's own business.
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    let nurse = play.online("nurse@capulet.lit/chamber", &[]);
    play.house.subscribe(OWNER, "nurse@capulet.lit");
    let push = "<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='nurse@capulet.lit'>\
                <group>Gossips</group></item></query></iq>";
    play.house.send(juliet, push);
    assert!(play.get(juliet, "owner get", "", "<default/>").contains("Gossips"));
    let seen = play.ask(nurse, "owner get", OWNER, "<default/>");
    assert!(!seen[0].1.contains("Gossips"), "{seen:?}");
    // Nor whoever owns a single node of it.
    play.publish(juliet, "", NODE, &item("a"));
    let nurse_owns = format!(
        "<affiliations node='{NODE}'><affiliation jid='nurse@capulet.lit' affiliation='owner'/></affiliations>"
    );
    play.get(juliet, "owner set", "", &nurse_owns);
    let seen = play.get(nurse, "owner get", OWNER, &format!("<configure node='{NODE}'/>"));
    assert!(!seen.contains("Gossips"), "{seen}");
}

#[test]
fn contacts_change_nothing() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    let nurse = play.online("nurse@capulet.lit/chamber", &[]);
    play.house.subscribe(OWNER, "nurse@capulet.lit");
    play.publish(juliet, "", NODE, &item("a"));
    for (how, inner) in [
        ("set", format!("<publish node='{NODE}'>{}</publish>", item("x"))),
        ("set", "<publish node='new'><item/></publish>".into()),
        ("set", "<create node='new'/>".into()),
        ("set", format!("<retract node='{NODE}'><item id='a'/></retract>")),
        ("set", format!("<retract node='{NODE}'><item id='none'/></retract>")),
        ("owner get", format!("<configure node='{NODE}'/>")),
        ("owner set", format!("<configure node='{NODE}'>{}</configure>", form("node_config", &[]))),
        ("owner set", format!("<delete node='{NODE}'/>")),
        ("owner set", format!("<purge node='{NODE}'/>")),
    ] {
        assert_eq!(play.refused(nurse, how, OWNER, &inner), "forbidden", "{how} {inner}");
    }
    assert_eq!(play.ids(nurse, OWNER, &format!("<items node='{NODE}'/>")), "a");
}

#[test]
fn nothing_is_left_of_an_account_that_is_gone() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    let account = play.house.account(OWNER);
    play.publish(juliet, "", NODE, &item("a"));
    let rows = |play: &mut Play| play.house.ctx().store().prefix(&crate::domain::keys::owned(b'n', account), 99).len();
    assert!(rows(&mut play) > 3);
    let jid = crate::wire::jid::Jid::parse(OWNER).unwrap();
    crate::domain::accounts::remove(&mut play.house.ctx().store(), &jid);
    assert_eq!(rows(&mut play), 0);
}

#[test]
fn another_service_publishes_in_the_name_of_the_account() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[NODE]);
    let account = play.house.account(OWNER);
    let tune = crate::wire::element::Element::parse(TUNE.as_bytes(), "").unwrap();
    let publish = |play: &mut Play| {
        let change =
            ChangeNode::Publish { item: "a".into(), payload: tune.clone(), settings: &[("access_model", "open")] };
        play.house.with(|router, ctx| {
            ctx.change_node(account, NODE, change);
            assert!(router.work(ctx).is_none());
        })
    };
    assert_eq!(hears(&publish(&mut play), juliet), 1);
    // Nothing new, nobody is told.
    assert_eq!(hears(&publish(&mut play), juliet), 0);
    let settings = play.get(juliet, "owner get", "", &format!("<configure node='{NODE}'/>"));
    assert!(settings.contains("label='Who may subscribe and retrieve items'><value>open</value>"), "{settings}");
    let out = play.house.with(|router, ctx| {
        ctx.change_node(account, NODE, ChangeNode::Retract { item: "a".into() });
        assert!(router.work(ctx).is_none());
    });
    assert!(to_session(&out, juliet)[0].1.contains("<retract id='a'/>"), "{out:?}");
}
