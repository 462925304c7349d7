//! What each client insists on, by name.

use super::*;

/// The features that an account tells its owner.
fn account(play: &mut Play, who: SessionId) -> String {
    let ask =
        "<iq type='get' id='d' to='juliet@capulet.lit'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    result_of(&play.house.send(who, ask))
}

fn has(disco: &str, features: &[&str]) {
    for feature in features {
        let var = format!("<feature var='http://jabber.org/protocol/pubsub{feature}'/>");
        assert!(disco.contains(&var), "{feature} in {disco}");
    }
}

#[test]
fn an_account_is_a_publish_subscribe_service() {
    // XEP-0163 §6.1.
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/x", &[]);
    let disco = account(&mut play, juliet);
    assert!(disco.contains("<identity category='pubsub' type='pep'/>"), "{disco}");
    assert!(disco.contains("<identity category='account' type='registered'/>"));
    has(&disco, &["", "#access-presence", "#auto-create", "#auto-subscribe", "#config-node", "#create-and-configure"]);
    has(&disco, &["#pubsub-on-a-jid", "#last-published", "#rsm", "#meta-data"]);
}

#[test]
fn conversations_shows_pep_native_bookmarks_and_read_markers() {
    // PEP present only with #persistent-items; the others need the rest.
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/x", &["urn:xmpp:bookmarks:1", "urn:xmpp:mds:displayed:0"]);
    has(&account(&mut play, juliet), &["#persistent-items", "#publish-options", "#config-node-max"]);
    let private = &[
        ("persist_items", "1"),
        ("access_model", "whitelist"),
        ("send_last_published_item", "never"),
        ("max_items", "max"),
        ("notify_delete", "1"),
        ("notify_retract", "1"),
    ];
    for node in ["urn:xmpp:bookmarks:1", "urn:xmpp:mds:displayed:0"] {
        for at in 0..3 {
            let out = play.publish_with(juliet, node, &item(&format!("room{at}@rooms.lit")), private);
            assert_eq!(hears(&out, juliet), 1);
        }
        assert_eq!(play.ids(juliet, "", &format!("<items node='{node}'/>")).split(' ').count(), 3);
    }
    for model in ["open", "presence"] {
        let node = format!("urn:xmpp:avatar:data {model}");
        play.publish_with(juliet, &node, &item("sha1"), &[("persist_items", "1"), ("access_model", model)]);
    }
}

#[test]
fn monal_finds_all_that_it_tests_pep_for() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/x", &[]);
    let disco = account(&mut play, juliet);
    has(&disco, &["#filtered-notifications", "#publish-options", "#publish", "#create-nodes", "#delete-items"]);
    has(&disco, &["#delete-nodes", "#persistent-items", "#retrieve-items", "#auto-create", "#subscribe"]);
    has(&disco, &["#item-ids", "#multi-items", "#config-node-max"]);
}

#[test]
fn gajim_and_converse_use_native_bookmarks() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/x", &[]);
    has(&account(&mut play, juliet), &["#publish-options", "#config-node-max", "#multi-items"]);
}

#[test]
fn dino_keeps_bookmarks_and_omemo_keys() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/x", &[]);
    let bookmarks = &[
        ("persist_items", "true"),
        ("max_items", "max"),
        ("send_last_published_item", "never"),
        ("access_model", "whitelist"),
    ];
    play.publish_with(juliet, "urn:xmpp:bookmarks:1", &item("a@rooms.lit"), bookmarks);
    play.publish_with(
        juliet,
        "eu.siacs.conversations.axolotl.devicelist",
        &item("current"),
        &[("access_model", "open")],
    );
    let open = &[("access_model", "open"), ("max_items", "max")];
    play.publish_with(juliet, "urn:xmpp:omemo:2:bundles", &item("31415"), open);
    play.publish_with(juliet, "urn:xmpp:omemo:2:bundles", &item("27182"), open);
    let stranger = play.online("tybalt@capulet.lit/x", &[]);
    let bundle = "<items node='urn:xmpp:omemo:2:bundles'><item id='27182'/></items>";
    assert_eq!(play.ids(stranger, "juliet@capulet.lit", bundle), "27182");
    assert_eq!(
        play.refused(stranger, "get", "juliet@capulet.lit", "<items node='urn:xmpp:bookmarks:1'/>"),
        "service-unavailable"
    );
}

#[test]
fn movim_keeps_blog_subscriptions_and_avatars() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/x", &[]);
    has(&account(&mut play, juliet), &["#persistent-items", "#multi-items"]);
    let blog = &[
        ("persist_items", "true"),
        ("max_items", "max"),
        ("itemreply", "publisher"),
        ("notify_sub", "1"),
        ("notify_retract", "1"),
        ("type", "urn:xmpp:microblog:0"),
        ("access_model", "presence"),
        ("send_last_published_item", "on_sub_and_presence"),
        ("deliver_payloads", "true"),
    ];
    for id in ["a", "b"] {
        play.publish_with(juliet, "urn:xmpp:microblog:0", &item(id), blog);
    }
    let found = play.get(juliet, "get", "", "<items node='urn:xmpp:microblog:0'/>");
    assert!(found.contains("<item id='a' publisher='juliet@capulet.lit/x'>"), "{found}");
    assert_eq!(play.ids(juliet, "", "<items node='urn:xmpp:microblog:0'/>"), "b a");
}

#[test]
fn the_host_is_found_and_says_what_it_can() {
    let mut play = Play::new();
    let juliet = play.online("juliet@capulet.lit/x", &[]);
    let mut disco = |what: &str, to: &str| {
        let query = format!("<query xmlns='http://jabber.org/protocol/disco#{what}'/>");
        result_of(&play.house.send(juliet, &format!("<iq type='get' id='d' to='{to}'>{query}</iq>")))
    };
    assert!(disco("items", "capulet.lit").contains("<item jid='pubsub.capulet.lit'/>"));
    let info = disco("info", "pubsub.capulet.lit");
    assert!(info.contains("<identity category='pubsub' type='service'"), "{info}");
    has(&info, &["", "#create-nodes", "#publish", "#access-whitelist", "#persistent-items"]);
    assert!(!info.contains("#access-presence") && !info.contains("account"), "{info}");
}
