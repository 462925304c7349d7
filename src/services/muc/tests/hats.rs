//! XEP-0317 v0.3.1, example by example.

use super::*;

const ASSISTANT: &str = "http://tech.example.edu/hats#TeacherAssistant";
const HAG: &str = "hag66@capulet.lit";

fn command(play: &mut Play, who: SessionId, verb: &str, fields: &[(&str, &str)]) -> Out {
    let fields: String =
        fields.iter().map(|(var, value)| format!("<field var='hats#{var}'><value>{value}</value></field>")).collect();
    let form = match fields.is_empty() {
        true => String::new(),
        false => format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:hats:commands</value></field>{fields}</x>"
        ),
    };
    let node = format!("urn:xmpp:hats:commands:{verb}");
    let xml =
        format!("<command xmlns='http://jabber.org/protocol/commands' action='execute' node='{node}'>{form}</command>");
    play.iq(who, "set", "", &xml)
}

/// A room with the hat of the examples, its owner, and somebody else in it.
fn classroom() -> (Play, SessionId, SessionId) {
    let mut play = Play::new();
    let crone = play.room(&[("persistentroom", "1")]);
    let hag = play.person("hag66");
    play.enter(hag, "terry");
    command(&mut play, crone, "create", &[("title", "Assistant"), ("uri", ASSISTANT), ("hue", "327.255249")]);
    (play, crone, hag)
}

fn hats_of(xml: &str) -> &str {
    xml.split_once("<hats").and_then(|(_, rest)| rest.split_once("</hats>")).map_or("", |(hats, _)| hats)
}

#[test]
fn a_room_tells_that_it_has_hats_and_which() {
    // XEP-0317 examples 1 and 2.
    let (mut play, crone, hag) = classroom();
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let told = answered(&play.iq(hag, "get", "", info), hag);
    assert!(told.contains("<feature var='urn:xmpp:hats:0'/>") && told.contains("commands'/>"), "{told}");
    let hash = |told: &str| told.split_once("hats#hash").unwrap().1.split_once("<value>").unwrap().1[..40].to_owned();
    let before = hash(&told);
    assert!(before.bytes().all(|digit| digit.is_ascii_hexdigit()));
    command(&mut play, crone, "create", &[("title", "Helper"), ("uri", ASSISTANT)]);
    assert_ne!(hash(&answered(&play.iq(hag, "get", "", info), hag)), before);
    let items = "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>";
    let count = |out: &Out, who| answered(out, who).matches("node='urn:xmpp:hats:commands:").count();
    assert_eq!(count(&play.iq(crone, "get", "", items), crone), 6);
    assert_eq!(count(&play.iq(hag, "get", "", items), hag), 1, "who is in it sees the list of hats");
    let node = info.replace("/>", " node='urn:xmpp:hats:commands:assign'/>");
    assert!(answered(&play.iq(crone, "get", "", &node), crone).contains("type='command-node'"));
    assert_eq!(refused(&play.iq(hag, "get", "", &node), hag), "item-not-found");
}

#[test]
fn hats_are_made_changed_and_destroyed() {
    // XEP-0317 examples 4 to 8 (§3.2), 9 to 12 (§3.3), 13 and 14 (§3.4).
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "terry");
    let form = answered(&command(&mut play, crone, "create", &[]), crone);
    for part in ["status='executing'", "var='hats#title'", "var='hats#uri'", "var='hats#hue'", "type='form'"] {
        assert!(form.contains(part), "{part} in {form}");
    }
    let fields = [("title", "Assistant"), ("uri", ASSISTANT), ("hue", "327.255249")];
    let out = command(&mut play, crone, "create", &fields);
    assert!(answered(&out, crone).contains("status='completed'"), "{out:?}");
    assert!(heard(&out, hag)[0].contains("<status code='104'/>"), "everybody is told: {out:?}");
    assert_eq!(heard(&command(&mut play, crone, "create", &fields), hag).len(), 0, "nothing has changed");
    let list = answered(&command(&mut play, hag, "list", &[]), hag);
    assert!(list.contains(ASSISTANT) && list.contains("<value>Assistant</value>") && list.contains("327.255249"));

    command(&mut play, crone, "assign", &[("jid", HAG), ("uri", ASSISTANT)]);
    let out = command(&mut play, crone, "create", &[("title", "Helper"), ("uri", ASSISTANT)]);
    let shown = heard(&out, crone).into_iter().find(|xml| xml.contains("<presence") || xml.starts_with("<presence"));
    assert!(hats_of(&shown.unwrap()).contains("title='Helper'"), "{out:?}");

    let form = answered(&command(&mut play, crone, "destroy", &[]), crone);
    assert!(form.contains("<option label='Helper'>"), "{form}");
    let out = command(&mut play, crone, "destroy", &[("uri", ASSISTANT)]);
    let to_hag = heard(&out, hag);
    assert!(to_hag[0].contains("<status code='104'/>") && !to_hag[1].contains("<hats"), "{to_hag:?}");
    assert_eq!(refused(&command(&mut play, crone, "destroy", &[("uri", ASSISTANT)]), crone), "item-not-found");
    assert!(!answered(&command(&mut play, hag, "list", &[]), hag).contains("<item>"));
}

#[test]
fn hats_are_put_on_and_taken_off_and_everybody_sees_it() {
    // XEP-0317 example 3 (§3.1), 15 to 18 (§3.5), 19 and 20 (§3.6), 21 and 22 (§3.7).
    let (mut play, crone, hag) = classroom();
    let form = answered(&command(&mut play, crone, "assign", &[]), crone);
    assert!(form.contains("var='hats#jid'") && form.contains("<option label='Assistant'>"), "{form}");
    let worn = [("jid", HAG), ("uri", ASSISTANT)];
    let out = command(&mut play, crone, "assign", &worn);
    assert!(answered(&out, crone).contains("status='completed'"));
    for who in [crone, hag] {
        let shown = heard(&out, who).into_iter().find(|xml| xml.starts_with("<presence")).unwrap();
        let expected = format!(" xmlns='urn:xmpp:hats:0'><hat title='Assistant' uri='{ASSISTANT}' hue='327.255249'/>");
        assert_eq!(hats_of(&shown), expected);
    }
    let list = answered(&command(&mut play, crone, "list-assigned", &[]), crone);
    assert!(list.contains(HAG) && list.contains(ASSISTANT), "{list}");
    assert_eq!(refused(&command(&mut play, hag, "list-assigned", &[]), hag), "forbidden", "addresses are not shown");
    // Whoever comes later sees it, and whoever comes back wears it, after everybody was gone, too.
    for (who, nick) in [(hag, "terry"), (crone, "firstwitch")] {
        play.house.send(who, &format!("<presence to='{ROOM}/{nick}' type='unavailable'/>"));
    }
    play.enter(crone, "firstwitch");
    let out = play.enter(hag, "terry");
    assert!(hats_of(&heard(&out, crone)[0]).contains(ASSISTANT), "{out:?}");

    let out = command(&mut play, crone, "unassign", &worn);
    let shown = heard(&out, hag);
    assert!(shown.len() == 1 && !shown[0].contains("<hats"), "{shown:?}");
    assert!(heard(&command(&mut play, crone, "unassign", &worn), hag).is_empty(), "it is off");
}

#[test]
fn nobody_puts_a_hat_on_by_themselves() {
    let (mut play, crone, hag) = classroom();
    let hats = format!("<hats xmlns='urn:xmpp:hats:0'><hat title='Assistant' uri='{ASSISTANT}'/></hats>");
    for xml in [
        format!("<presence to='{ROOM}/terry'>{hats}</presence>"),
        format!("<presence to='{ROOM}/terence'>{hats}</presence>"),
        format!("<message type='groupchat' to='{ROOM}'><body>x</body>{hats}</message>"),
        format!("<message type='chat' to='{ROOM}/firstwitch'><body>x</body>{hats}</message>"),
    ] {
        let got = heard(&play.house.send(hag, &xml), crone);
        assert!(!got.is_empty() && got.iter().all(|xml| !xml.contains("hats:0")), "{got:?}");
    }
    let worn = [("jid", HAG), ("uri", ASSISTANT)];
    for (verb, fields) in [("assign", &worn[..]), ("create", &[("uri", "urn:x"), ("title", "x")]), ("destroy", &worn)] {
        assert_eq!(refused(&command(&mut play, hag, verb, fields), hag), "forbidden", "{verb}");
    }
    let outsider = play.person("outsider");
    assert_eq!(refused(&command(&mut play, outsider, "list", &[]), outsider), "forbidden");
}

#[test]
fn forms_with_mistakes_and_too_many_hats_are_refused() {
    use crate::limits;
    let (mut play, crone, _) = classroom();
    let long = "u".repeat(limits::ROOM_HAT_URI_BYTES_MAX + 1);
    let title = "t".repeat(limits::ROOM_HAT_TITLE_BYTES_MAX + 1);
    for fields in [
        &[("title", "x")][..],
        &[("uri", "urn:x")],
        &[("title", "x"), ("uri", long.as_str())],
        &[("title", title.as_str()), ("uri", "urn:x")],
        &[("title", "x"), ("uri", "urn:x"), ("hue", "361")],
        &[("title", "x"), ("uri", "urn:x"), ("hue", "nan")],
        &[("title", "x"), ("uri", "urn:x"), ("hue", "red")],
    ] {
        assert_eq!(refused(&command(&mut play, crone, "create", fields), crone), "bad-request", "{fields:?}");
    }
    for (who, error) in [("", "jid-malformed"), ("capulet.lit", "bad-request")] {
        let out = command(&mut play, crone, "assign", &[("jid", who), ("uri", ASSISTANT)]);
        assert_eq!(refused(&out, crone), error, "{who}");
    }
    let worn = [("jid", HAG), ("uri", "urn:unknown")];
    assert_eq!(refused(&command(&mut play, crone, "assign", &worn), crone), "item-not-found");
    assert_eq!(refused(&command(&mut play, crone, "dance", &[]), crone), "item-not-found");
    let make =
        |play: &mut Play, n: usize| command(play, crone, "create", &[("title", "x"), ("uri", &format!("urn:n:{n}"))]);
    for n in 1..limits::ROOM_HATS_MAX {
        assert!(answered(&make(&mut play, n), crone).contains("completed"));
    }
    assert_eq!(refused(&make(&mut play, 0), crone), "resource-constraint");
    let wear = |play: &mut Play, who: &str, n: usize| {
        command(play, crone, "assign", &[("jid", who), ("uri", &format!("urn:n:{n}"))])
    };
    for n in 1..=limits::ROOM_HATS_WORN_MAX {
        assert!(answered(&wear(&mut play, HAG, n), crone).contains("completed"));
    }
    assert_eq!(refused(&wear(&mut play, HAG, limits::ROOM_HATS_WORN_MAX + 1), crone), "resource-constraint");
    for n in 1..limits::ROOM_HAT_WEARERS_MAX {
        wear(&mut play, &format!("p{n}@x.lit"), 1);
    }
    assert_eq!(refused(&wear(&mut play, "last@x.lit", 1), crone), "resource-constraint");
}
