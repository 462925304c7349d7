//! XEP-0060 §6 and §8.6 to §8.9: subscribers and owners, at a host and at an account.

use super::*;
use crate::{domain::roster, limits, wire::jid::Jid};

const HOST: &str = "pubsub.capulet.lit";

struct Scene {
    play: Play,
    owner: SessionId,
    reader: SessionId,
    other: SessionId,
}

/// A node of Hamlet's at the host, and two more people.
fn scene(settings: &[(&str, &str)]) -> Scene {
    let mut play = Play::new();
    let owner = play.online("hamlet@capulet.lit/elsinore", &[]);
    let reader = play.online("francisco@capulet.lit/barracks", &[]);
    let other = play.online("bernardo@capulet.lit/wall", &[]);
    let configure = format!("<create node='n'/><configure>{}</configure>", form("node_config", settings));
    play.get(owner, "set", HOST, &configure);
    Scene { play, owner, reader, other }
}

fn subscribe(jid: &str) -> String {
    format!("<subscribe node='n' jid='{jid}'/>")
}

const FRANCISCO: &str = "francisco@capulet.lit";

#[test]
fn subscribers_hear_once_at_the_address_that_they_subscribed() {
    // XEP-0060 §6.1, examples 32 and 33, and §7.1.2.
    let Scene { mut play, owner, reader, other } = scene(&[]);
    let answer = play.get(reader, "set", HOST, &subscribe(FRANCISCO));
    assert!(answer.contains("<subscription node='n' jid='francisco@capulet.lit' subid='"), "{answer}");
    assert!(answer.contains("subscription='subscribed'"));
    assert_eq!(play.get(reader, "set", HOST, &subscribe(FRANCISCO)), answer, "the same again");
    let out = play.publish(owner, HOST, "n", &item("a"));
    assert_eq!([reader, other, owner].map(|id| hears(&out, id)), [1, 0, 0]);
    assert!(out[0].1.starts_with("<message from='pubsub.capulet.lit' to='francisco@capulet.lit' type='headline'"));
    assert!(play.get(reader, "set", HOST, &format!("<unsubscribe node='n' jid='{FRANCISCO}'/>")).contains("'none'"));
    assert_eq!(hears(&play.publish(owner, HOST, "n", &item("b")), reader), 0);
    let gone = play.refused(reader, "set", HOST, &format!("<unsubscribe node='n' jid='{FRANCISCO}'/>"));
    assert_eq!(gone, "unexpected-request not-subscribed");
}

#[test]
fn a_new_subscriber_gets_the_last_item() {
    // XEP-0060 §6.1.7.
    let Scene { mut play, owner, reader, .. } = scene(&[]);
    play.publish(owner, HOST, "n", &item("a"));
    play.publish(owner, HOST, "n", &item("b"));
    let out = play.ask(reader, "set", HOST, &subscribe(FRANCISCO));
    assert_eq!(hears(&out, reader), 1);
    assert!(
        out[0].1.starts_with("<iq") && out[1].1.contains("<item id='b'>") && out[1].1.contains("<delay "),
        "{out:?}"
    );
}

#[test]
fn nobody_subscribes_another() {
    // XEP-0060 §6.1.3.1, §6.2.3.3.
    let Scene { mut play, reader, .. } = scene(&[]);
    for (inner, expected) in [
        (subscribe("bernardo@capulet.lit"), "bad-request invalid-jid"),
        (subscribe("@"), "bad-request invalid-jid"),
        ("<subscribe node='n'/>".into(), "bad-request jid-required"),
        (format!("<subscribe jid='{FRANCISCO}'/>"), "bad-request nodeid-required"),
        (format!("<subscribe node='x' jid='{FRANCISCO}'/>"), "item-not-found"),
        ("<unsubscribe node='n' jid='bernardo@capulet.lit'/>".into(), "forbidden"),
    ] {
        assert_eq!(play.refused(reader, "set", HOST, &inner), expected, "{inner}");
    }
    play.get(reader, "set", HOST, &subscribe(FRANCISCO));
    let wrong = format!("<unsubscribe node='n' jid='{FRANCISCO}' subid='x'/>");
    assert_eq!(play.refused(reader, "set", HOST, &wrong), "not-acceptable invalid-subid");
}

#[test]
fn full_addresses_are_subscribed_apart_and_bounded() {
    let Scene { mut play, owner, reader, .. } = scene(&[]);
    for at in 0..limits::SUBSCRIPTIONS_PER_MEMBER_MAX - 1 {
        play.get(reader, "set", HOST, &subscribe(&format!("{FRANCISCO}/{at}")));
    }
    play.get(reader, "set", HOST, &subscribe(&format!("{FRANCISCO}/barracks")));
    let more = play.refused(reader, "set", HOST, &subscribe(FRANCISCO));
    assert_eq!(more, "policy-violation too-many-subscriptions");
    assert_eq!(hears(&play.publish(owner, HOST, "n", &item("a")), reader), 1);
}

#[test]
fn a_subscribed_resource_hears_without_having_sent_presence() {
    // XEP-0060 §12.3 and RFC 6121 §8.5.3.1: what is for a connected resource reaches it.
    let Scene { mut play, owner, .. } = scene(&[]);
    let client = play.house.online("francisco@capulet.lit/bot");
    play.get(client, "set", HOST, &subscribe(&format!("{FRANCISCO}/bot")));
    assert_eq!(hears(&play.publish(owner, HOST, "n", &item("a")), client), 1);
    // Unless the node's owner wants it otherwise.
    play.configure(owner, HOST, "n", &[("presence_based_delivery", "1")]);
    assert_eq!(hears(&play.publish(owner, HOST, "n", &item("b")), client), 0);
}

#[test]
fn whitelists_and_outcasts() {
    // XEP-0060 §8.9 and §6.1.3.4.
    let Scene { mut play, owner, reader, other } = scene(&[("access_model", "whitelist")]);
    assert_eq!(play.refused(reader, "set", HOST, &subscribe(FRANCISCO)), "not-allowed closed-node");
    assert_eq!(play.refused(reader, "get", HOST, "<items node='n'/>"), "not-allowed closed-node");
    let set = |jid: &str, affiliation: &str| {
        format!("<affiliations node='n'><affiliation jid='{jid}' affiliation='{affiliation}'/></affiliations>")
    };
    play.get(owner, "owner set", HOST, &set(FRANCISCO, "member"));
    play.get(reader, "set", HOST, &subscribe(FRANCISCO));
    assert_eq!(hears(&play.publish(owner, HOST, "n", &item("a")), reader), 1);
    assert_eq!(play.ids(reader, HOST, "<items node='n'/>"), "a");
    assert_eq!(play.refused(reader, "owner set", HOST, &set(FRANCISCO, "owner")), "forbidden");
    assert_eq!(play.refused(reader, "owner get", HOST, "<affiliations node='n'/>"), "forbidden");
    let list = play.get(owner, "owner get", HOST, "<affiliations node='n'/>");
    assert!(list.contains("<affiliation jid='francisco@capulet.lit' affiliation='member'/>"), "{list}");
    assert!(list.contains("<affiliation jid='hamlet@capulet.lit' affiliation='owner'/>"), "{list}");
    // Out of favour: told so, and told no more.
    let out = play.ask(owner, "owner set", HOST, &set(FRANCISCO, "outcast"));
    assert!(to_session(&out, reader)[0].1.contains("subscription='none'"), "{out:?}");
    assert_eq!(hears(&play.publish(owner, HOST, "n", &item("b")), reader), 0);
    assert_eq!(play.refused(reader, "set", HOST, &subscribe(FRANCISCO)), "forbidden");
    // A node keeps an owner.
    assert_eq!(play.refused(owner, "owner set", HOST, &set("hamlet@capulet.lit", "none")), "not-acceptable");
    play.get(owner, "owner set", HOST, &set("bernardo@capulet.lit", "owner"));
    play.get(owner, "owner set", HOST, &set("hamlet@capulet.lit", "none"));
    assert_eq!(play.get(other, "owner set", HOST, "<delete node='n'/>"), "");
}

#[test]
fn an_owner_is_asked_and_their_word_counts() {
    // XEP-0060 §8.6.
    for (allow, state) in [("1", "subscribed"), ("0", "none")] {
        let Scene { mut play, owner, reader, other } = scene(&[("access_model", "authorize")]);
        play.publish(owner, HOST, "n", &item("a"));
        let out = play.ask(reader, "set", HOST, &subscribe(FRANCISCO));
        assert!(answers(&out, reader)[0].1.contains("subscription='pending'"), "{out:?}");
        assert_eq!(play.refused(reader, "set", HOST, &subscribe(FRANCISCO)), "not-authorized pending-subscription");
        assert_eq!(play.refused(reader, "get", HOST, "<items node='n'/>"), "not-authorized not-subscribed");
        assert_eq!(hears(&play.publish(owner, HOST, "n", &item("b")), reader), 0);
        let asked = &to_session(&out, owner)[0].1;
        assert!(
            asked.contains("pubsub#subscribe_authorization") && asked.contains("<value>francisco@capulet.lit</value>")
        );
        let word = [("node", "n"), ("subscriber_jid", FRANCISCO), ("allow", allow)];
        let word = format!("<message to='{HOST}' id='approve1'>{}</message>", form("subscribe_authorization", &word));
        assert_eq!(events(&play.house.send(other, &word)), [], "not an owner's word");
        let out = play.house.send(owner, &word);
        assert!(to_session(&out, reader)[0].1.contains(&format!("subscription='{state}'")), "{out:?}");
        assert_eq!(hears(&out, reader), if allow == "1" { 2 } else { 1 });
        assert_eq!(hears(&play.publish(owner, HOST, "n", &item("c")), reader), usize::from(allow == "1"));
        assert_eq!(play.house.send(owner, &word), [], "it waits no longer");
    }
}

#[test]
fn an_account_is_asked_too() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    let romeo = play.online("romeo@capulet.lit/orchard", &[]);
    play.get(
        juliet,
        "set",
        "",
        &format!("<create node='n'/><configure>{}</configure>", form("node_config", &[("access_model", "authorize")])),
    );
    let out = play.ask(romeo, "set", "juliet@capulet.lit", &subscribe("romeo@capulet.lit"));
    assert!(to_session(&out, juliet)[0].1.contains("subscribe_authorization"), "{out:?}");
    let word = [("node", "n"), ("subscriber_jid", "romeo@capulet.lit"), ("allow", "true")];
    let word = format!("<message to='juliet@capulet.lit' id='a'>{}</message>", form("subscribe_authorization", &word));
    let out = play.house.send(juliet, &word);
    assert!(to_session(&out, romeo)[0].1.contains("subscription='subscribed'"), "{out:?}");
    assert_eq!(hears(&out, juliet), 0);
    assert_eq!(hears(&play.publish(juliet, "", "n", &item("a")), romeo), 1);
}

#[test]
fn subscribers_say_how_they_want_to_be_told() {
    // XEP-0060 §6.3.
    let Scene { mut play, owner, reader, .. } = scene(&[]);
    let options = form("subscribe_options", &[("deliver", "0")]);
    play.get(reader, "set", HOST, &format!("{}<options>{options}</options>", subscribe(FRANCISCO)));
    assert_eq!(hears(&play.publish(owner, HOST, "n", &item("a")), reader), 0);
    let shown = play.get(reader, "get", HOST, &format!("<options node='n' jid='{FRANCISCO}'/>"));
    assert!(
        shown.contains("<field var='pubsub#deliver' type='boolean'") && shown.contains("<value>0</value>"),
        "{shown}"
    );
    let set = |settings: &[(&str, &str)]| {
        format!("<options node='n' jid='{FRANCISCO}'>{}</options>", form("subscribe_options", settings))
    };
    play.get(reader, "set", HOST, &set(&[("deliver", "1"), ("show-values", "away|dnd")]));
    assert_eq!(hears(&play.publish(owner, HOST, "n", &item("b")), reader), 0, "they are online");
    play.get(reader, "set", HOST, &set(&[("show-values", "online|away")]));
    assert_eq!(hears(&play.publish(owner, HOST, "n", &item("c")), reader), 1);
    for wrong in
        [("show-values", "asleep"), ("digest", "1"), ("deliver", "perhaps"), ("expire", "2030-01-01T00:00:00Z")]
    {
        assert_eq!(play.refused(reader, "set", HOST, &set(&[wrong])), "bad-request invalid-options", "{wrong:?}");
    }
    assert!(play.get(reader, "get", HOST, "<default/>").contains("pubsub#deliver"));
}

#[test]
fn subscribing_with_options_is_answered_with_what_came_of_them() {
    // XEP-0060 §6.3.7.
    let Scene { mut play, owner, reader, .. } = scene(&[]);
    play.publish(owner, HOST, "n", &item("a"));
    let options = form("subscribe_options", &[("deliver", "0")]);
    for about in ["node='n'", "jid='francisco@capulet.lit'"] {
        let wrong = format!("{}<options {about}>{options}</options>", subscribe(FRANCISCO));
        assert_eq!(play.refused(reader, "set", HOST, &wrong), "bad-request invalid-options", "{about}");
    }
    let out = play.ask(reader, "set", HOST, &format!("{}<options>{options}</options>", subscribe(FRANCISCO)));
    let answer = result_of(&answers(&out, reader));
    assert!(answer.contains("subscription='subscribed'/><options><x xmlns='jabber:x:data' type='result'>"), "{answer}");
    assert!(answer.contains("<value>0</value>") && !answer.contains("<option "), "{answer}");
    assert_eq!(hears(&out, reader), 0, "nor is the last item delivered");
}

#[test]
fn an_address_is_changed_once_in_a_request() {
    // XEP-0060 §8.8.2.4 and §8.9.2.4.
    let Scene { mut play, owner, reader, .. } = scene(&[]);
    let twice = "<affiliations node='n'><affiliation jid='francisco@capulet.lit' affiliation='member'/>\
                 <affiliation jid='francisco@capulet.lit/barracks' affiliation='outcast'/></affiliations>";
    assert_eq!(play.refused(owner, "owner set", HOST, twice), "bad-request");
    let twice = "<subscriptions node='n'><subscription jid='francisco@capulet.lit' subscription='subscribed'/>\
                 <subscription jid='francisco@capulet.lit' subscription='none'/></subscriptions>";
    assert_eq!(play.refused(owner, "owner set", HOST, twice), "bad-request");
    assert_eq!(hears(&play.publish(owner, HOST, "n", &item("a")), reader), 0);
}

#[test]
fn owners_hear_of_every_change_of_subscriptions_if_they_want_to() {
    // XEP-0060 §16.4.4, `pubsub#notify_sub`; XEP-0503 §3 wants it of spaces.
    let Scene { mut play, owner, reader, other } =
        scene(&[("access_model", "authorize"), ("notify_sub", "1"), ("purge_offline", "false")]);
    let set = |list: &str, jid: &str, value: &str| {
        format!("<{list}s node='n'><{list} jid='{jid}' {list}='{value}'/></{list}s>")
    };
    let told = |out: &Out, who: &str, state: &str| {
        let told = events(&to_session(out, owner));
        let last = told.last().map(|(_, xml)| xml.clone()).unwrap_or_default();
        last.contains(&format!("<subscription node='n' jid='{who}'")) && last.contains(&format!("='{state}'/></event>"))
    };
    play.ask(reader, "set", HOST, &subscribe(FRANCISCO));
    let out = play.ask(owner, "owner set", HOST, &set("subscription", FRANCISCO, "subscribed"));
    assert!(told(&out, FRANCISCO, "subscribed"), "{out:?}");
    let out = play.ask(owner, "owner set", HOST, &set("subscription", "bernardo@capulet.lit", "subscribed"));
    assert!(told(&out, "bernardo@capulet.lit", "subscribed") && hears(&out, other) == 1, "{out:?}");
    let out = play.ask(owner, "owner set", HOST, &set("affiliation", "bernardo@capulet.lit", "outcast"));
    assert!(told(&out, "bernardo@capulet.lit", "none"), "{out:?}");
    let out = play.ask(reader, "set", HOST, &format!("<unsubscribe node='n' jid='{FRANCISCO}'/>"));
    assert!(told(&out, FRANCISCO, "none"), "{out:?}");
}

#[test]
fn what_could_not_be_changed_is_told_as_it_stands() {
    // XEP-0060 §8.8.2.4 and §8.9.2.4: nothing was changed, and so everything is listed.
    let Scene { mut play, owner, reader, .. } = scene(&[]);
    play.get(reader, "set", HOST, &subscribe(FRANCISCO));
    let wrong = "<affiliations node='n'><affiliation jid='hamlet@capulet.lit' affiliation='none'/>\
                 <affiliation jid='francisco@capulet.lit' affiliation='member'/></affiliations>";
    let out = play.ask(owner, "owner set", HOST, wrong);
    let told = "<affiliations node='n'><affiliation jid='hamlet@capulet.lit' affiliation='owner'/>\
                <affiliation jid='francisco@capulet.lit' affiliation='none'/></affiliations></pubsub><error type='modify'>";
    assert!(out[0].1.contains(told), "{out:?}");
    let wrong = "<subscriptions node='n'><subscription jid='bernardo@capulet.lit' subscription='unconfigured'/>\
                 <subscription jid='francisco@capulet.lit' subscription='none'/></subscriptions>";
    let out = play.ask(owner, "owner set", HOST, wrong);
    let told = "<subscriptions node='n'><subscription jid='bernardo@capulet.lit' subscription='none'/>\
                <subscription jid='francisco@capulet.lit' subscription='subscribed'/></subscriptions>";
    assert!(out[0].1.contains(told) && condition_of(&out) == "not-acceptable", "{out:?}");
}

#[test]
fn who_waits_to_be_let_in_hears_that_the_node_is_gone() {
    // XEP-0060 §8.4.2.
    let Scene { mut play, owner, reader, .. } = scene(&[("access_model", "authorize")]);
    play.ask(reader, "set", HOST, &subscribe(FRANCISCO));
    let out = play.ask(owner, "owner set", HOST, "<delete node='n'/>");
    assert!(events(&to_session(&out, reader))[0].1.contains("<delete node='n'/>"), "{out:?}");
}

#[test]
fn everybody_learns_what_they_are_and_owners_what_others_are() {
    // XEP-0060 §5.6, §5.7 and §8.8.
    let Scene { mut play, owner, reader, other } = scene(&[]);
    play.get(reader, "set", HOST, &subscribe(FRANCISCO));
    let list = play.get(reader, "get", HOST, "<subscriptions/>");
    assert_eq!(list.matches("<subscription ").count(), 1);
    assert!(list.contains("node='n' jid='francisco@capulet.lit'"), "{list}");
    assert!(!play.get(other, "get", HOST, "<subscriptions/>").contains("<subscription "));
    assert!(play.get(owner, "get", HOST, "<affiliations/>").contains("<affiliation node='n' affiliation='owner'/>"));
    assert!(!play.get(reader, "get", HOST, "<affiliations node='n'/>").contains("<affiliation "));
    assert!(play.get(owner, "owner get", HOST, "<subscriptions node='n'/>").contains("jid='francisco@capulet.lit'"));
    assert_eq!(play.refused(other, "owner get", HOST, "<subscriptions node='n'/>"), "forbidden");
    let set = |jid: &str, state: &str| {
        format!("<subscriptions node='n'><subscription jid='{jid}' subscription='{state}'/></subscriptions>")
    };
    let out = play.ask(owner, "owner set", HOST, &set("bernardo@capulet.lit", "subscribed"));
    assert!(to_session(&out, other)[0].1.contains("subscription='subscribed'"), "{out:?}");
    let out = play.ask(owner, "owner set", HOST, &set(FRANCISCO, "none"));
    assert!(to_session(&out, reader)[0].1.contains("subscription='none'"), "{out:?}");
    let out = play.publish(owner, HOST, "n", &item("a"));
    assert_eq!([reader, other].map(|id| hears(&out, id)), [0, 1]);
    assert_eq!(play.refused(owner, "owner set", HOST, &set(FRANCISCO, "pending")), "not-acceptable");
}

#[test]
fn who_may_publish_is_the_owners_choice_and_others_words_are_safe() {
    let Scene { mut play, owner, reader, other } = scene(&[]);
    let publish = |id: &str| format!("<publish node='n'>{}</publish>", item(id));
    let retract = "<retract node='n'><item id='a'/></retract>";
    assert_eq!(play.refused(reader, "set", HOST, &publish("a")), "forbidden");
    play.configure(owner, HOST, "n", &[("publish_model", "subscribers")]);
    assert_eq!(play.refused(reader, "set", HOST, &publish("a")), "forbidden");
    play.get(reader, "set", HOST, &subscribe(FRANCISCO));
    play.get(reader, "set", HOST, &publish("a"));
    play.configure(owner, HOST, "n", &[("publish_model", "open")]);
    play.get(other, "set", HOST, &publish("b"));
    assert_eq!(play.refused(other, "set", HOST, &publish("a")), "forbidden");
    assert_eq!(play.refused(other, "set", HOST, retract), "forbidden");
    play.get(reader, "set", HOST, &publish("a"));
    play.get(owner, "set", HOST, retract);
    assert_eq!(play.ids(owner, HOST, "<items node='n'/>"), "b");
}

#[test]
fn the_host_knows_no_presence_and_only_people_from_here_make_nodes() {
    let Scene { mut play, owner, .. } = scene(&[]);
    for model in ["presence", "roster"] {
        let inner = format!("<configure node='n'>{}</configure>", form("node_config", &[("access_model", model)]));
        assert_eq!(play.refused(owner, "owner set", HOST, &inner), "not-acceptable unsupported-access-model");
    }
    let out = play.house.send(owner, &format!("<message to='{HOST}'><body>hello?</body></message>"));
    assert_eq!(condition_of(&out), "service-unavailable");
    let out =
        play.house.send(owner, &format!("<iq type='get' id='x' to='{HOST}/x'><query xmlns='jabber:iq:version'/></iq>"));
    assert_eq!(condition_of(&out), "service-unavailable");
    play.house.with(|router, ctx| {
        let xml =
            "<iq type='set' id='c'><pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='x'/></pubsub></iq>";
        let element = crate::wire::element::Element::parse(xml.as_bytes(), "jabber:client").unwrap();
        let jid = |text: &str| crate::wire::jid::Jid::parse(text).unwrap();
        let stanza = crate::wire::stanza::Stanza::build(&element, jid("mallory@elsewhere.lit/x"), Some(jid(HOST)));
        router.inbound(stanza, ctx);
    });
    assert_eq!(play.refused(owner, "get", HOST, "<items node='x'/>"), "item-not-found");
}

#[test]
fn whoever_gets_the_name_of_a_removed_account_gets_none_of_its_rights() {
    let Scene { mut play, owner, reader, .. } = scene(&[]);
    play.get(owner, "set", HOST, "<create node='shared'/>");
    play.get(reader, "set", HOST, &subscribe(FRANCISCO));
    let set =
        format!("<affiliations node='shared'><affiliation jid='{FRANCISCO}' affiliation='owner'/></affiliations>");
    play.get(owner, "owner set", HOST, &set);
    let account = play.house.account("hamlet@capulet.lit");
    let jid = crate::wire::jid::Jid::parse("hamlet@capulet.lit").unwrap();
    let out = play.house.notice(crate::router::service::Notice::AccountRemoved(account, jid));
    assert!(to_session(&out, reader)[0].1.contains("<delete node='n'/>"), "nobody owns it any longer: {out:?}");
    assert_eq!(play.refused(owner, "owner get", HOST, "<configure node='shared'/>"), "forbidden");
    play.get(reader, "owner get", HOST, "<configure node='shared'/>");
    assert_eq!(play.refused(reader, "get", HOST, "<items node='n'/>"), "item-not-found");
}

#[test]
fn one_account_makes_so_many_nodes_at_the_host() {
    let Scene { mut play, owner, other, .. } = scene(&[]);
    {
        let mut ctx = play.house.ctx();
        let mut store = ctx.store();
        let host = crate::domain::nodes::host(&store, HOST).unwrap();
        for at in 1..limits::HOST_NODES_PER_CREATOR_MAX {
            let settings = crate::domain::nodes::Settings::shared();
            crate::domain::nodes::create(&mut store, host, &at.to_string(), "hamlet@capulet.lit", settings, 0).unwrap();
        }
    }
    assert_eq!(play.refused(owner, "set", HOST, "<create node='more'/>"), "resource-constraint");
    play.get(other, "set", HOST, "<create node='more'/>");
}

#[test]
fn who_loses_sight_of_the_owner_loses_the_subscription() {
    // XEP-0163 §7.1, and §9.1.2 of XEP-0060 the other way round.
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    let romeo = play.online("romeo@capulet.lit/orchard", &["n"]);
    play.publish(juliet, "", "n", &item("a"));
    play.house.send(romeo, "<presence type='subscribe' to='juliet@capulet.lit'/>");
    let out = play.house.send(juliet, "<presence type='subscribed' to='romeo@capulet.lit'/>");
    assert_eq!(hears(&out, romeo), 1, "the last item, as to somebody who comes online: {out:?}");
    play.get(romeo, "set", "juliet@capulet.lit", &subscribe("romeo@capulet.lit/orchard"));
    assert_eq!(hears(&play.publish(juliet, "", "n", &item("b")), romeo), 1, "once, although there are two reasons");
    let out = play.house.send(juliet, "<presence type='unsubscribed' to='romeo@capulet.lit'/>");
    assert!(events(&to_session(&out, romeo))[0].1.contains("subscription='none'"), "{out:?}");
    assert_eq!(hears(&play.publish(juliet, "", "n", &item("c")), romeo), 0);
}

#[test]
fn who_is_elsewhere_and_subscribed_twice_hears_once() {
    // XEP-0163 §4.3.2: by what the clients want, and by a subscription of the bare address.
    let mut play = Play::new();
    play.house.federates = true;
    let juliet = play.online("juliet@capulet.lit/balcony", &[]);
    let account = play.house.account("juliet@capulet.lit");
    let state = roster::State { from: true, ..roster::State::default() };
    let item = roster::RosterItem { state, ..roster::RosterItem::default() };
    roster::put(&mut play.house.ctx().store(), account, "romeo@montague.lit", item);
    play.publish(juliet, "", NODE, &super::item("a"));
    let subscribe = format!(
        "<iq type='set' id='s' from='romeo@montague.lit/orchard' to='juliet@capulet.lit'>\
         <pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='{NODE}' jid='romeo@montague.lit'/></pubsub></iq>"
    );
    play.house.receive(&subscribe);
    let told = |play: &mut Play| {
        play.house.to_peers.clear();
        play.publish(juliet, "", NODE, &super::item("b"));
        play.house
            .to_peers
            .iter()
            .filter_map(|xml| Some(xml.split_once(" to='")?.1.split('\'').next()?.to_owned()))
            .collect()
    };
    let heard: Vec<String> = told(&mut play);
    assert_eq!(heard, ["romeo@montague.lit"]);
    let orchard = Jid::parse("romeo@montague.lit/orchard").unwrap();
    play.house.core.away.shown(&orchard, account);
    play.house.core.away.wants(&orchard, [Box::from(NODE)].into());
    let heard: Vec<String> = told(&mut play);
    assert_eq!(heard, ["romeo@montague.lit/orchard"]);
}
