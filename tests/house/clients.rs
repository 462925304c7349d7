//! What each client looks for before it shows a check as green, or before it uses a feature at all: a table of its
//! questions, and the answers that it must get.

use std::collections::BTreeSet;

use crate::stage::{
    player::Player,
    world::{DOMAIN, World},
    xml::Tree,
};

const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
const ROOM: &str = "verona@rooms.capulet.lit";

/// What an account must say of itself. `#x` stands for a feature of publish-subscribe.
const OF_ACCOUNT: &[(&str, &[&str])] = &[
    ("Conversations, archive and push", &["urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:push:0"]),
    ("Conversations, native bookmarks", &["#publish-options", "#config-node-max", "urn:xmpp:bookmarks:1#compat"]),
    ("Conversations, what was read elsewhere", &["#publish-options", "#config-node-max"]),
    ("Conversations, personal events", &["#persistent-items"]),
    (
        "Monal, personal events",
        &[
            "#filtered-notifications",
            "#publish-options",
            "#publish",
            "#subscribe",
            "#create-nodes",
            "#delete-items",
            "#delete-nodes",
            "#persistent-items",
            "#retrieve-items",
            "#auto-create",
        ],
    ),
    ("Monal, modern personal events", &["#item-ids", "#multi-items", "#config-node-max"]),
    ("Monal, pictures", &["urn:xmpp:pep-vcard-conversion:0"]),
    ("Gajim, native bookmarks", &["urn:xmpp:bookmarks:1#compat-pep", "#config-node-max"]),
    ("Gajim, bookmarks of old", &["urn:xmpp:bookmarks-conversion:0"]),
    ("Converse.js, bookmarks", &["urn:xmpp:bookmarks:1#compat", "#publish-options", "#config-node-max"]),
    ("Movim, pubsub", &["#persistent-items", "#multi-items"]),
    ("Dino, archive", &["urn:xmpp:mam:2"]),
    (
        "Siskin, push",
        &[
            "urn:xmpp:push:0",
            "tigase:push:filter:ignore-unknown:0",
            "tigase:push:filter:muted:0",
            "tigase:push:filter:groupchat:0",
            "tigase:push:priority:0",
            "tigase:push:encrypt:0",
            "tigase:push:encrypt:aes-128-gcm",
            "tigase:push:jingle:0",
        ],
    ),
];

/// What the server must say of itself.
const OF_SERVER: &[(&str, &[&str])] = &[
    ("Conversations", &["urn:xmpp:carbons:2", "urn:xmpp:blocking", "urn:xmpp:ping", "vcard-temp"]),
    ("Movim, password and removal", &["jabber:iq:register"]),
    ("everybody, photos", &["urn:xmpp:http:upload:0"]),
];

/// What a room must say of itself.
const OF_ROOM: &[(&str, &[&str])] = &[
    ("Conversations, a private group", &["muc_membersonly", "muc_nonanonymous", "muc_persistent", "muc_hidden"]),
    (
        "Conversations",
        &["http://jabber.org/protocol/muc#stable_id", "urn:xmpp:occupant-id:0", "urn:xmpp:mam:2", "urn:xmpp:sid:0"],
    ),
    ("Conversations, Converse.js and Gajim, moderation", &["urn:xmpp:message-moderate:1"]),
    ("Movim, moderation", &["urn:xmpp:message-moderate:0"]),
    ("Dino, history of a group", &["urn:xmpp:mam:2"]),
    ("Conversations, is it still there", &["http://jabber.org/protocol/muc#self-ping-optimization"]),
    ("Converse.js, one's nickname", &["jabber:iq:register"]),
];

/// Publish-options by name, without their prefix.
type Options = &'static [(&'static str, &'static str)];

/// How clients publish: node, and the options that they insist on.
const PUBLISHES: &[(&str, &str, Options)] = &[
    ("Conversations, bookmarks", "urn:xmpp:bookmarks:1", CONVERSATIONS),
    ("Conversations, what was read", "urn:xmpp:mds:displayed:0", CONVERSATIONS),
    (
        "Movim, bookmarks",
        "urn:xmpp:bookmarks:1",
        &[
            ("persist_items", "true"),
            ("access_model", "whitelist"),
            ("send_last_published_item", "never"),
            ("max_items", "max"),
            ("notify_retract", "true"),
        ],
    ),
    (
        "Dino, bookmarks",
        "urn:xmpp:bookmarks:1",
        &[
            ("persist_items", "true"),
            ("max_items", "max"),
            ("send_last_published_item", "never"),
            ("access_model", "whitelist"),
        ],
    ),
    (
        "Conversations, avatars for everybody",
        "urn:xmpp:avatar:metadata",
        &[("persist_items", "true"), ("access_model", "open")],
    ),
    (
        "Movim, avatars",
        "urn:xmpp:avatar:metadata",
        &[
            ("persist_items", "true"),
            ("access_model", "presence"),
            ("send_last_published_item", "on_sub_and_presence"),
            ("deliver_payloads", "true"),
            ("max_items", "1"),
        ],
    ),
    ("all, OMEMO devices", "eu.siacs.conversations.axolotl.devicelist", &[("access_model", "open")]),
    ("all, OMEMO 2 devices", "urn:xmpp:omemo:2:devices", &[("access_model", "open")]),
    ("all, OMEMO 2 bundles", "urn:xmpp:omemo:2:bundles", &[("access_model", "open"), ("max_items", "max")]),
    (
        "Movim, blog",
        "urn:xmpp:microblog:0",
        &[
            ("persist_items", "true"),
            ("max_items", "max"),
            ("itemreply", "publisher"),
            ("notify_sub", "true"),
            ("notify_retract", "true"),
            ("type", "urn:xmpp:microblog:0"),
        ],
    ),
    ("XEP-0223", "urn:example:private", &[("persist_items", "true"), ("access_model", "whitelist")]),
];

const CONVERSATIONS: Options = &[
    ("persist_items", "true"),
    ("access_model", "whitelist"),
    ("send_last_published_item", "never"),
    ("max_items", "max"),
    ("notify_delete", "true"),
    ("notify_retract", "true"),
];

fn answer(world: &mut World, player: &mut Player, text: &str) -> Tree {
    player.send(world, text);
    player.elements(world).into_iter().find(|element| element.name == "iq").expect("an answer")
}

/// The features and identities of an address.
fn says(world: &mut World, player: &mut Player, to: &str) -> (BTreeSet<String>, Vec<Tree>) {
    let query = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let info = answer(world, player, &format!("<iq type='get' id='d' to='{to}'>{query}</iq>"));
    let query = info.find("query").unwrap_or_else(|| panic!("{info}"));
    let (features, others): (Vec<&Tree>, Vec<&Tree>) = query.children().partition(|child| child.name == "feature");
    let vars = features.iter().filter_map(|feature| feature.get("var")).map(str::to_owned);
    (vars.collect(), others.into_iter().cloned().collect())
}

fn all_found(said: &BTreeSet<String>, wanted: &[(&str, &[&str])]) {
    for (client, vars) in wanted {
        for var in *vars {
            let whole = var.strip_prefix('#').map_or((*var).to_owned(), |rest| format!("{PUBSUB}#{rest}"));
            assert!(said.contains(&whole), "{client} misses {whole}");
        }
    }
}

fn has_identity(others: &[Tree], category: &str, kind: &str) -> bool {
    others.iter().any(|other| {
        other.name == "identity" && other.get("category") == Some(category) && other.get("type") == Some(kind)
    })
}

fn form(kind: &str, prefix: &str, fields: &[(&str, &str)]) -> String {
    let fields: String = fields
        .iter()
        .map(|(var, value)| format!("<field var='{prefix}{var}'><value>{value}</value></field>"))
        .collect();
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>{kind}</value></field>\
         {fields}</x>"
    )
}

#[test]
fn an_account_says_what_clients_look_for() {
    let mut world = World::new(&["juliet"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let own = juliet.bare();
    let (said, others) = says(&mut world, &mut juliet, &own);
    all_found(&said, OF_ACCOUNT);
    assert!(has_identity(&others, "pubsub", "pep") && has_identity(&others, "account", "registered"), "{others:?}");
}

#[test]
fn the_server_says_what_clients_look_for_and_leads_to_its_services() {
    let mut world = World::new(&["juliet"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let (said, others) = says(&mut world, &mut juliet, DOMAIN);
    all_found(&said, OF_SERVER);
    assert!(has_identity(&others, "server", "im"), "{others:?}");
    let query = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    let items = answer(&mut world, &mut juliet, &format!("<iq type='get' id='d' to='{DOMAIN}'>{query}</iq>"));
    let mut found = Vec::new();
    for item in items.find("query").unwrap().children() {
        let (_, others) = says(&mut world, &mut juliet, item.get("jid").unwrap());
        found.extend(others);
    }
    for (client, category, kind) in [
        ("everybody, rooms", "conference", "text"),
        ("Movim, communities", "pubsub", "service"),
        ("go-sendxmpp, photos", "store", "file"),
    ] {
        assert!(has_identity(&found, category, kind), "{client}: {found:?}");
    }
}

#[test]
fn what_clients_insist_on_when_they_publish_is_so() {
    for (client, node, options) in PUBLISHES {
        let mut world = World::new(&["juliet"]);
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        let required = form(&format!("{PUBSUB}#publish-options"), "pubsub#", options);
        let publish = |id: &str| {
            format!(
                "<iq type='set' id='p'><pubsub xmlns='{PUBSUB}'><publish node='{node}'><item id='{id}'>\
                 <payload xmlns='urn:example:payload'/></item></publish><publish-options>{required}</publish-options>\
                 </pubsub></iq>"
            )
        };
        for id in ["a@b.example", "a@b.example", "current"] {
            let published = answer(&mut world, &mut juliet, &publish(id));
            assert_eq!(published.get("type"), Some("result"), "{client}: {published}");
        }
        // The form of the owner shows what was asked for.
        let configure =
            format!("<iq type='get' id='c'><pubsub xmlns='{PUBSUB}#owner'><configure node='{node}'/></pubsub></iq>");
        let shown = answer(&mut world, &mut juliet, &configure).to_string();
        for (var, value) in *options {
            let value = if *value == "true" { "1" } else { value };
            let field =
                shown.split(&format!("var='pubsub#{var}'")).nth(1).and_then(|rest| rest.split("</field>").next());
            let field = field.unwrap_or_else(|| panic!("{client}: no {var} in {shown}"));
            assert!(field.contains(&format!("<value>{value}</value>")), "{client}: {var} is not {value}: {field}");
        }
        // Another who wants it otherwise is told so, in words that they wait for.
        let other = form(&format!("{PUBSUB}#publish-options"), "pubsub#", &[("access_model", "authorize")]);
        let refused = answer(&mut world, &mut juliet, &publish("x").replace(&required, &other));
        assert!(refused.to_string().contains("<precondition-not-met"), "{client}: {refused}");
    }
}

#[test]
fn a_private_group_as_conversations_makes_it_says_what_clients_look_for() {
    let mut world = World::new(&["juliet", "romeo"]);
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    juliet.send(
        &mut world,
        &format!("<presence to='{ROOM}/juliet'><x xmlns='http://jabber.org/protocol/muc'/></presence>"),
    );
    juliet.elements(&mut world);
    let settings = form(
        "http://jabber.org/protocol/muc#roomconfig",
        "",
        &[
            ("muc#roomconfig_persistentroom", "1"),
            ("muc#roomconfig_membersonly", "1"),
            ("muc#roomconfig_publicroom", "0"),
            ("muc#roomconfig_whois", "anyone"),
            ("muc#roomconfig_changesubject", "0"),
            ("muc#roomconfig_allowinvites", "0"),
            ("{http://prosody.im/protocol/muc}roomconfig_allowmemberinvites", "0"),
            ("muc#roomconfig_enablearchiving", "1"),
            ("mam", "1"),
            ("muc#roomconfig_mam", "1"),
        ],
    );
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#owner'>{settings}</query>");
    let made = answer(&mut world, &mut juliet, &format!("<iq type='set' id='m' to='{ROOM}'>{query}</iq>"));
    assert_eq!(made.get("type"), Some("result"), "{made}");
    let (said, others) = says(&mut world, &mut juliet, ROOM);
    all_found(&said, OF_ROOM);
    assert!(has_identity(&others, "conference", "text"), "{others:?}");
}

#[test]
fn streams_offer_what_clients_look_for() {
    let mut world = World::new(&["juliet"]);
    let mut juliet = Player::connect(&mut world, "juliet", "balcony", true);
    let features = juliet.open_stream(&mut world).to_string();
    for (client, wanted) in [
        ("Dino", "<mechanism>SCRAM-SHA-1</mechanism>"),
        ("Gajim", "<mechanism>SCRAM-SHA-256</mechanism>"),
        ("Monal", "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>"),
        ("Conversations, quick start", "<authentication xmlns='urn:xmpp:sasl:2'>"),
        ("Conversations, quick start", "<bind xmlns='urn:xmpp:bind:0'>"),
        ("Conversations, quick start", "<feature var='urn:xmpp:carbons:2'/>"),
        ("Conversations, quick start", "<feature var='urn:xmpp:sm:3'/>"),
        ("Conversations, FAST", "<fast xmlns='urn:xmpp:fast:0'>"),
    ] {
        assert!(features.contains(wanted), "{client} misses {wanted} in {features}");
    }
    let mut juliet = Player::connect(&mut world, "juliet", "balcony", true);
    juliet.authenticate(&mut world);
    let features = juliet.features.as_ref().unwrap().to_string();
    for (client, wanted) in [
        ("all mobile clients, roster versions", "<ver xmlns='urn:xmpp:features:rosterver'/>"),
        ("all mobile clients, client state", "<csi xmlns='urn:xmpp:csi:0'/>"),
        ("all mobile clients, stream management", "<sm xmlns='urn:xmpp:sm:3'/>"),
        ("Monal, pre-approval", "<sub xmlns='urn:xmpp:features:pre-approval'/>"),
        ("everybody, limits", "<limits xmlns='urn:xmpp:stream-limits:0'>"),
    ] {
        assert!(features.contains(wanted), "{client} misses {wanted} in {features}");
    }
}
