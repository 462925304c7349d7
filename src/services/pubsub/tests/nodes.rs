//! XEP-0060 §6.5, §7 and §8: items and nodes.

use super::*;
use crate::{domain::nodes as facts, limits, router::service::Notice};

fn juliet(play: &mut Play) -> SessionId {
    play.online("juliet@capulet.lit/balcony", &[NODE])
}

#[test]
fn publishing_makes_the_node_and_names_the_item() {
    // XEP-0060 §7.1.2 and §7.1.4.
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let answer = play.get(juliet, "set", "", &format!("<publish node='{NODE}'><item>{TUNE}</item></publish>"));
    let id = answer.split("<item id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    assert!(answer.starts_with("<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='http"), "{answer}");
    assert!(id.len() >= 16);
    let found = play.get(juliet, "get", "", &format!("<items node='{NODE}'/>"));
    let expected = format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{NODE}'><item id='{id}'>{TUNE}</item></items></pubsub>"
    );
    assert_eq!(found, expected);
}

#[test]
fn payloads_mean_the_same_wherever_they_are_sent() {
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let payload = "<p:a xmlns:p='urn:p' p:x='1'><b xmlns='jabber:client'>&lt;&amp;<![CDATA[<]]></b></p:a>";
    let bare = "<c xmlns=''/>";
    for payload in [payload, bare] {
        let out = play.publish(juliet, "", NODE, &format!("<item id='a'>{payload}</item>"));
        let read = play.get(juliet, "get", "", &format!("<items node='{NODE}'/>"));
        let parse = |xml: &str| crate::wire::element::Element::parse(xml.as_bytes(), "jabber:client").unwrap();
        let first = |tree: &crate::wire::element::Element| tree.children().next().unwrap().clone();
        let expected = parse(payload);
        assert_eq!(first(&first(&first(&parse(&read)))), expected);
        assert_eq!(first(&first(&first(&first(&parse(&out[0].1))))), expected);
    }
}

#[test]
fn what_cannot_be_published_is_refused_with_its_reason() {
    // XEP-0060 §7.1.3, and nothing is left behind.
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let big = "x".repeat(limits::ITEM_BYTES_MAX as usize);
    let two = item("a") + &item("b");
    let long = item(&"x".repeat(limits::ITEM_ID_BYTES_MAX + 1));
    for (inner, expected) in [
        ("<publish/>".to_owned(), "bad-request nodeid-required"),
        ("<publish node='n'/>".into(), "bad-request item-required"),
        ("<publish node='n'><item/></publish>".into(), "bad-request payload-required"),
        ("<publish node='n'><item><a xmlns='a'/><b xmlns='b'/></item></publish>".into(), "bad-request invalid-payload"),
        (format!("<publish node='n'>{two}</publish>"), "bad-request invalid-payload"),
        (format!("<publish node='n'><item><a xmlns='a'>{big}</a></item></publish>"), "not-acceptable payload-too-big"),
        (format!("<publish node='n'>{long}</publish>"), "not-acceptable"),
        (
            format!("<publish node='{}'>{}</publish>", "n".repeat(limits::NODE_NAME_BYTES_MAX + 1), item("a")),
            "not-acceptable",
        ),
    ] {
        assert_eq!(play.refused(juliet, "set", "", &inner), expected, "{inner:.60}");
    }
    assert_eq!(play.refused(juliet, "get", "", "<items node='n'/>"), "item-not-found");
}

#[test]
fn a_singleton_keeps_the_last_item_and_says_nothing_of_the_one_before() {
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    play.publish(juliet, "", NODE, &item("a"));
    let out = play.publish(juliet, "", NODE, &item("b"));
    assert_eq!(hears(&out, juliet), 1);
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'/>")), "b");
}

#[test]
fn a_full_node_lets_the_oldest_go_or_refuses() {
    // XEP-0060 §7.1.2.5.
    for (full, told, left) in [("retract-oldest", 2, "c b"), ("discard-oldest", 1, "c b"), ("reject", 0, "b a")] {
        let mut play = Play::new();
        let juliet = juliet(&mut play);
        let options = &[("max_items", "2"), ("publish_node_full", full)];
        play.publish_with(juliet, NODE, &item("a"), options);
        play.publish_with(juliet, NODE, &item("b"), options);
        let out = play.ask(juliet, "set", "", &format!("<publish node='{NODE}'>{}</publish>", item("c")));
        assert_eq!(hears(&out, juliet), told, "{full}");
        if full == "reject" {
            assert_eq!(condition_of(&out), "conflict");
        }
        assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'/>")), left);
    }
}

#[test]
fn thousands_of_items_are_kept_and_read_by_pages() {
    // XEP-0060 §6.5.4 and §6.5.7, XEP-0059.
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    for at in 0..1200 {
        play.publish_with(juliet, NODE, &item(&at.to_string()), &[("max_items", "max")]);
    }
    let count = play.ids(juliet, "", &format!("<items node='{NODE}'/>")).split(' ').count();
    assert_eq!(count, 1200);
    let items =
        |inner: &str| format!("<items node='{NODE}'/><set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>");
    for (page, expected) in [
        ("<max>3</max>", "1199 1198 1197"),
        ("<max>2</max><after>1197</after>", "1196 1195"),
        ("<max>2</max><before>1197</before>", "1199 1198"),
        ("<max>2</max><before/>", "1 0"),
        ("<max>0</max>", ""),
    ] {
        assert_eq!(play.ids(juliet, "", &items(page)), expected, "{page}");
        assert!(play.get(juliet, "get", "", &items(page)).contains("<count>1200</count>"));
    }
    assert_eq!(play.refused(juliet, "get", "", &items("<after>none</after>")), "item-not-found");
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}' max_items='2'/>")), "1199 1198");
    let some = "<item id='7'/><item id='none'/><item id='5'/>";
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'>{some}</items>")), "7 5");
}

#[test]
fn s17_ids_are_names_whatever_they_look_like() {
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let names = ["&apos; OR 1=1 --", "%", "*", "../..", "a&amp;b", "\u{fffd}", "0", "-1", "{x}"];
    for name in names {
        play.publish_with(juliet, NODE, &item(name), &[("max_items", "max")]);
    }
    let page = |inner: String| {
        format!("<items node='{NODE}'/><set xmlns='http://jabber.org/protocol/rsm'><max>1</max>{inner}</set>")
    };
    for pair in names.windows(2) {
        let older = play.get(juliet, "get", "", &page(format!("<after>{}</after>", pair[1])));
        assert!(older.contains(&format!("<item id='{}'", pair[0])), "{older}");
        let newer = play.get(juliet, "get", "", &page(format!("<before>{}</before>", pair[0])));
        assert!(newer.contains(&format!("<item id='{}'", pair[1])), "{newer}");
    }
    for (at, name) in names.iter().enumerate() {
        play.get(juliet, "set", "", &format!("<retract node='{NODE}'><item id='{name}'/></retract>"));
        let left = play.get(juliet, "get", "", &format!("<items node='{NODE}'/>"));
        assert_eq!(left.matches("<item ").count(), names.len() - at - 1, "{name} took nothing else along: {left}");
    }
    for node in ["%", "*", "&apos;", "../x"] {
        assert_eq!(play.refused(juliet, "get", "", &format!("<items node='{node}'/>")), "item-not-found");
    }
}

#[test]
fn an_answer_is_bounded_in_bytes() {
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let payload = format!("<a xmlns='a'>{}</a>", "x".repeat(150_000));
    for id in ["a", "b", "c", "d", "e"] {
        play.publish_with(juliet, NODE, &format!("<item id='{id}'>{payload}</item>"), &[("max_items", "max")]);
    }
    let found = play.get(juliet, "get", "", &format!("<items node='{NODE}'/>"));
    assert!(found.len() < limits::ITEMS_ANSWER_BYTES_MAX + 1000);
    assert!(found.contains("<last>c</last><count>5</count>"), "the rest is asked for by page");
    let ids: String = ["a", "b", "c", "d", "e"].map(|id| format!("<item id='{id}'/>")).concat();
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'>{ids}</items>")), "a b c");
}

#[test]
fn items_expire() {
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let options = &[("max_items", "max"), ("item_expire", "60")];
    play.publish_with(juliet, NODE, &item("a"), options);
    play.house.wall_us += 50_000_000;
    play.publish_with(juliet, NODE, &item("b"), options);
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'/>")), "b a");
    play.house.wall_us += 10_000_000;
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'><item id='a'/><item id='b'/></items>")), "b");
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'/>")), "b");
    assert_eq!(
        facts::totals(&play.house.ctx().store(), crate::domain::ids::AccountId(1)).bytes as usize,
        TUNE.len() + 1
    );
}

#[test]
fn expired_items_are_not_sent_unasked_and_take_no_room() {
    // XEP-0060 §16.4.4, `pubsub#item_expire`.
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let options =
        &[("max_items", "1"), ("item_expire", "60"), ("publish_node_full", "reject"), ("access_model", "open")];
    play.publish_with(juliet, NODE, &item("a"), options);
    play.house.wall_us += 60_000_000;
    let romeo = play.online("romeo@capulet.lit/orchard", &[]);
    let subscribe = format!("<subscribe node='{NODE}' jid='romeo@capulet.lit'/>");
    assert_eq!(hears(&play.ask(romeo, "set", "juliet@capulet.lit", &subscribe), romeo), 0);
    let wants = Notice::Interested { session: juliet, nodes: [NODE.into()].into() };
    assert_eq!(events(&play.house.notice(wants)), []);
    play.publish(juliet, "", NODE, &item("b"));
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'/>")), "b");
}

#[test]
fn a_node_that_is_to_keep_fewer_items_lets_the_oldest_go() {
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    for id in ["a", "b", "c", "d"] {
        play.publish_with(juliet, NODE, &item(id), &[("max_items", "4")]);
    }
    let out = play.configure(juliet, "", NODE, &[("max_items", "2")]);
    assert_eq!(hears(&out, juliet), 1);
    assert!(out[0].1.contains("<retract id='a'/><retract id='b'/>"), "{out:?}");
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'/>")), "d c");
}

#[test]
fn items_are_taken_back() {
    // XEP-0060 §7.2.
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let quiet = &[("max_items", "max"), ("notify_retract", "0")];
    for id in ["a", "b", "c"] {
        play.publish_with(juliet, NODE, &item(id), quiet);
    }
    let retract = |inner: &str, more: &str| format!("<retract node='{NODE}'{more}>{inner}</retract>");
    assert_eq!(play.refused(juliet, "set", "", &retract("<item id='x'/>", "")), "item-not-found");
    assert_eq!(play.refused(juliet, "set", "", &retract("<item/>", "")), "bad-request item-required");
    assert_eq!(play.refused(juliet, "set", "", &retract("", "")), "bad-request item-required");
    assert_eq!(hears(&play.ask(juliet, "set", "", &retract("<item id='a'/>", "")), juliet), 0);
    let out = play.ask(juliet, "set", "", &retract("<item id='b'/>", " notify='true'"));
    assert!(events(&out)[0].1.contains(&format!("<items node='{NODE}'><retract id='b'/></items>")), "{out:?}");
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'/>")), "c");
}

#[test]
fn a_publisher_states_what_the_node_has_to_be() {
    // XEP-0060 §7.1.5.
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let publish =
        |settings: &[(&str, &str)]| format!("<publish node='{NODE}'>{}</publish>{}", item("a"), options(settings));
    let wanted = &[("access_model", "whitelist"), ("max_items", "max"), ("notify_delete", "true")];
    play.publish_with(juliet, NODE, &item("a"), wanted);
    play.publish_with(juliet, NODE, &item("a"), wanted);
    for other in [
        ("access_model", "open"),
        ("max_items", "1"),
        ("persist_items", "0"),
        ("send_last_published_item", "never"),
        ("x-unknown", "1"),
        ("access_model", "nonsense"),
    ] {
        assert_eq!(play.refused(juliet, "set", "", &publish(&[other])), "conflict precondition-not-met", "{other:?}");
    }
    // What Conversations does then: it reads the form, changes what it wants, and publishes again.
    let form = play.get(juliet, "owner get", "", &format!("<configure node='{NODE}'/>"));
    assert!(form.contains("<x xmlns='jabber:x:data' type='form'>") && form.contains("<value>max</value>"), "{form}");
    let submitted = form.replace("type='form'", "type='submit'").replace(
        "<field var='pubsub#access_model' type='list-single' label='Who may subscribe and retrieve items'><value>whitelist<",
        "<field var='pubsub#access_model'><value>open<",
    );
    let inner = submitted.split_once("<configure").unwrap().1.split_once("</pubsub>").unwrap().0;
    assert_eq!(play.get(juliet, "owner set", "", &format!("<configure{inner}")), "");
    play.publish_with(juliet, NODE, &item("a"), &[("access_model", "open"), ("max_items", "max")]);
}

#[test]
fn nodes_are_made_set_up_emptied_and_removed() {
    // XEP-0060 §8.1 to §8.5.
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let configure = format!(
        "<configure>{}</configure>",
        form("node_config", &[("title", "Tunes"), ("max_items", "5"), ("notify_config", "1")])
    );
    play.get(juliet, "set", "", &format!("<create node='{NODE}'/>{configure}"));
    assert_eq!(play.refused(juliet, "set", "", &format!("<create node='{NODE}'/>")), "conflict");
    assert!(play.get(juliet, "set", "", "<create/>").contains("<create node='"));
    assert_eq!(play.refused(juliet, "set", "", "<create node='x'/><configure node='x'/>"), "bad-request");
    let defaults = play.get(juliet, "owner get", "", "<default/>");
    assert!(defaults.contains("<field var='pubsub#access_model' type='list-single'"), "{defaults}");
    let out = play.configure(juliet, "", NODE, &[("title", "More"), ("unknown", "x")]);
    assert!(
        out[0].1.contains(&format!("<configuration node='{NODE}'><x xmlns='jabber:x:data' type='result'>")),
        "{out:?}"
    );
    let wrong = format!("<configure node='{NODE}'>{}</configure>", form("node_config", &[("access_model", "x")]));
    assert_eq!(play.refused(juliet, "owner set", "", &wrong), "not-acceptable unsupported-access-model");
    play.publish(juliet, "", NODE, &item("a"));
    let out = play.ask(juliet, "owner set", "", &format!("<purge node='{NODE}'/>"));
    assert!(events(&out)[0].1.contains(&format!("<purge node='{NODE}'/>")), "{out:?}");
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'/>")), "");
    let redirect = "<redirect uri='xmpp:hamlet@denmark.lit?;node=blog'/>";
    let out = play.ask(juliet, "owner set", "", &format!("<delete node='{NODE}'>{redirect}</delete>"));
    assert!(events(&out)[0].1.contains(&format!("<delete node='{NODE}'>{redirect}</delete>")), "{out:?}");
    assert_eq!(play.refused(juliet, "owner set", "", &format!("<delete node='{NODE}'/>")), "item-not-found");
}

#[test]
fn events_go_without_payloads_or_not_at_all() {
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let out = play.publish_with(juliet, NODE, &item("a"), &[("deliver_payloads", "0")]);
    assert!(out[0].1.contains("<item id='a'/></items>"), "{out:?}");
    play.configure(juliet, "", NODE, &[("deliver_notifications", "0")]);
    assert_eq!(play.publish(juliet, "", NODE, &item("a")), []);
    play.configure(juliet, "", NODE, &[("deliver_notifications", "1"), ("persist_items", "0")]);
    // XEP-0060 §6.5.9.4.
    let reads = play.ask(juliet, "get", "", &format!("<items node='{NODE}'/>"));
    assert!(condition_of(&reads) == "feature-not-implemented" && reads[0].1.contains("feature='persistent-items'"));
    let out = play.publish(juliet, "", NODE, "");
    assert!(out[0].1.contains(&format!("<items node='{NODE}'></items>")), "{out:?}");
    play.configure(juliet, "", NODE, &[("persist_items", "1")]);
    assert_eq!(play.ids(juliet, "", &format!("<items node='{NODE}'/>")), "", "nothing was kept");
}

#[test]
fn an_account_has_room_for_so_many_nodes_and_bytes() {
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    let account = play.house.account("juliet@capulet.lit");
    {
        let mut ctx = play.house.ctx();
        let mut store = ctx.store();
        for at in 0..limits::NODES_MAX {
            facts::create(&mut store, account, &at.to_string(), "x", facts::Settings::personal(), 0).unwrap();
        }
        // As many bytes as fit, and room for one small item.
        let node = facts::find(&store, account, "0").unwrap();
        let payload = vec![b'x'; limits::NODES_BYTES_MAX as usize - TUNE.len() - 4];
        facts::put_item(&mut store, account, node.id, ("big", "x", &payload), 1);
    }
    let publish = |node: &str, id: &str| format!("<publish node='{node}'>{}</publish>", item(id));
    assert_eq!(play.refused(juliet, "set", "", &publish("one more", "a")), "resource-constraint");
    assert_eq!(play.refused(juliet, "set", "", "<create node='one more'/>"), "resource-constraint");
    assert_eq!(play.refused(juliet, "set", "", &publish("1", "ab")), "resource-constraint");
    // To the byte; and again over itself.
    play.get(juliet, "set", "", &publish("1", "a"));
    play.get(juliet, "set", "", &publish("1", "a"));
}

#[test]
fn a_form_of_another_service_may_say_that_nobody_gets_replies() {
    // XEP-0060 §12.17: "none" is one of three values.
    let mut play = Play::new();
    let owner = play.online("hamlet@capulet.lit/elsinore", &[]);
    play.get(owner, "set", "pubsub.capulet.lit", "<create node='n'/>");
    let replies = |play: &mut Play, value: &str| {
        play.configure(owner, "pubsub.capulet.lit", "n", &[("itemreply", value)]);
        play.get(owner, "owner get", "pubsub.capulet.lit", "<configure node='n'/>")
    };
    assert!(replies(&mut play, "none").contains("<value>none</value><option label='owner'>"));
    assert!(replies(&mut play, "publisher").contains("<value>publisher</value><option label='owner'>"));
    assert!(replies(&mut play, "none").contains("<value>none</value><option label='owner'>"));
}

#[test]
fn an_item_named_twice_is_taken_back_once() {
    // What an account holds is counted, and nobody counts it down.
    let mut play = Play::new();
    let juliet = juliet(&mut play);
    for id in ["a", "b"] {
        play.publish_with(juliet, "n", &item(id), &[("max_items", "10")]);
    }
    let bytes = |play: &mut Play| {
        let account = play.house.account("juliet@capulet.lit");
        facts::totals(&play.house.ctx().store(), account).bytes
    };
    let before = bytes(&mut play);
    let out = play.ask(juliet, "set", "", "<retract node='n' notify='1'><item id='a'/><item id='a'/></retract>");
    assert_eq!(result_of(&answers(&out, juliet)), "");
    assert_eq!(bytes(&mut play), before / 2);
    assert_eq!(play.ids(juliet, "", "<items node='n'/>"), "b");
}

#[test]
fn a_node_that_only_tells_that_something_happened_takes_no_item() {
    // XEP-0060 §7.1.3.6 and §4.3: neither kept nor sent, an item would be nowhere.
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &["n"]);
    let settings = form("node_config", &[("persist_items", "0"), ("deliver_payloads", "0")]);
    play.get(juliet, "set", "", &format!("<create node='n'/><configure>{settings}</configure>"));
    for inner in ["<item id='a'/>", &item("a")] {
        let refused = play.refused(juliet, "set", "", &format!("<publish node='n'>{inner}</publish>"));
        assert_eq!(refused, "bad-request item-forbidden", "{inner}");
    }
    let out = play.ask(juliet, "set", "", "<publish node='n'/>");
    assert!(events(&out)[0].1.contains("<items node='n'></items>"), "{out:?}");
}

#[test]
fn many_nodes_are_listed_in_pages() {
    // XEP-0060 §5.2.1 (Example 10), XEP-0059 §2.
    let mut play = Play::new();
    let owner = play.online("juliet@capulet.lit/balcony", &[]);
    let stranger = play.online("romeo@capulet.lit/orchard", &[]);
    for name in ["e", "c", "a", "d", "b"] {
        play.get(owner, "set", "pubsub.capulet.lit", &format!("<create node='{name}'/>"));
    }
    play.configure(owner, "pubsub.capulet.lit", "c", &[("access_model", "whitelist")]);
    let mut list = |who, set: &str| {
        let query = format!(
            "<iq type='get' id='i' to='pubsub.capulet.lit'><query xmlns='http://jabber.org/protocol/disco#items'>\
             {set}</query></iq>"
        );
        let answer = answers(&play.house.send(who, &query), who);
        let nodes = answer.iter().flat_map(|(_, xml)| xml.split(" node='").skip(1));
        let nodes: String = nodes.map(|rest| rest.split('\'').next().unwrap()).collect();
        (nodes, answer[0].1.clone())
    };
    let (all, answer) = list(owner, "");
    assert_eq!(all, "abcde");
    assert!(!answer.contains("<set"), "nobody has asked for a page: {answer}");
    let set = |inner: &str| format!("<set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>");
    let (page, answer) = list(owner, &set("<max>2</max>"));
    assert_eq!(page, "ab");
    assert!(answer.contains("<first index='0'>a</first><last>b</last><count>5</count>"), "{answer}");
    assert_eq!(list(owner, &set("<max>2</max><after>b</after>")).0, "cd");
    assert_eq!(list(owner, &set("<max>2</max><before/>")).0, "de");
    assert_eq!(list(owner, &set("<max>9</max><before>c</before>")).0, "ab");
    let (page, answer) = list(stranger, &set("<max>2</max><after>b</after>"));
    assert_eq!(page, "de", "who may not read it does not learn of it");
    assert!(answer.contains("<count>4</count>"), "{answer}");
    assert!(list(owner, &set("<after>z</after>")).1.contains("<item-not-found"));
}

#[test]
fn items_of_a_node_are_listed_in_pages() {
    // XEP-0060 §5.5 (Example 15), XEP-0059 §2.
    let mut play = Play::new();
    let owner = play.online("juliet@capulet.lit/balcony", &[]);
    for id in ["a", "b", "c", "d", "e"] {
        play.get(owner, "set", "", &format!("<publish node='n'><item id='{id}'>{TUNE}</item></publish>"));
    }
    play.configure(owner, "", "n", &[("max_items", "max")]);
    for id in ["a", "b", "c", "d", "e"] {
        play.get(owner, "set", "", &format!("<publish node='n'><item id='{id}'>{TUNE}</item></publish>"));
    }
    let mut list = |set: &str| {
        let query = "<query xmlns='http://jabber.org/protocol/disco#items' node='n'>";
        let iq = format!("<iq type='get' id='i' to='juliet@capulet.lit'>{query}{set}</query></iq>");
        let answer = answers(&play.house.send(owner, &iq), owner)[0].1.clone();
        let names = answer.split(" name='").skip(1).map(|rest| rest.split('\'').next().unwrap());
        (names.collect::<String>(), answer)
    };
    let (all, answer) = list("");
    assert_eq!(all, "edcba", "{answer}");
    assert!(!answer.contains("<set"), "nobody has asked for a page: {answer}");
    let set = |inner: &str| format!("<set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>");
    let (page, answer) = list(&set("<max>2</max>"));
    assert_eq!(page, "ed");
    assert!(answer.contains("<first>e</first><last>d</last><count>5</count>"), "{answer}");
    assert_eq!(list(&set("<max>2</max><after>d</after>")).0, "cb");
    assert_eq!(list(&set("<max>2</max><before/>")).0, "ba");
    assert!(list(&set("<after>z</after>")).1.contains("<item-not-found"));
}
