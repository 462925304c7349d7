//! XEP-0433 v0.1.0, example by example; 9 is that of a service that does not tell of all its channels.

use super::*;

const HOST: &str = "rooms.capulet.lit";

/// Rooms with these names, fields and people; all public unless they say otherwise.
fn town() -> (Play, SessionId) {
    let mut play = Play::new();
    let crone = play.person("crone1");
    let rooms: [(&str, &[(&str, &str)]); 4] = [
        ("commteam", &[("roomname", "Communication"), ("roomdesc", "Words about words"), ("whois", "anyone")]),
        ("operators", &[("roomname", "XMPP Service Operators"), ("roomdesc", "Discussion venue"), ("lang", "en")]),
        ("witches", &[("membersonly", "1")]),
        ("secret", &[("publicroom", "0"), ("roomname", "Operators' secrets")]),
    ];
    for (name, fields) in rooms {
        let room = format!("{name}@{HOST}");
        play.house
            .send(crone, &format!("<presence to='{room}/a'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
        // Of two fields of one name the first counts.
        let public = [("publicroom", "1")];
        let fields: String = fields
            .iter()
            .chain(&public)
            .map(|(name, value)| format!("<field var='muc#roomconfig_{name}'><value>{value}</value></field>"))
            .collect();
        let form = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
        let query = format!("<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>");
        play.house.send(crone, &format!("<iq type='set' id='c' to='{room}'>{query}</iq>"));
    }
    let seeker = play.person("seeker");
    play.house.send(
        seeker,
        &format!("<presence to='operators@{HOST}/s'><x xmlns='http://jabber.org/protocol/muc'/></presence>"),
    );
    (play, seeker)
}

fn ask(play: &mut Play, who: SessionId, inner: &str) -> Out {
    let search = format!("<search xmlns='urn:xmpp:channel-search:0:search'>{inner}</search>");
    play.house.send(who, &format!("<iq type='get' id='s' to='{HOST}'>{search}</iq>"))
}

fn search(play: &mut Play, who: SessionId, fields: &[(&str, &str)], set: &str) -> Out {
    let fields: String =
        fields.iter().map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>")).collect();
    let params = "<field var='FORM_TYPE'><value>urn:xmpp:channel-search:0:search-params</value></field>";
    let set = format!("<set xmlns='http://jabber.org/protocol/rsm'>{set}</set>");
    ask(play, who, &format!("{set}<x xmlns='jabber:x:data' type='submit'>{params}{fields}</x>"))
}

/// Names of what was found, in order.
fn found(play: &mut Play, who: SessionId, fields: &[(&str, &str)], set: &str) -> String {
    let told = answered(&search(play, who, fields, set), who);
    assert!(told.starts_with("<result xmlns='urn:xmpp:channel-search:0:search'>"), "{told}");
    let items = told.split("<item address='").skip(1);
    items.map(|item| item.split('@').next().unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_host_tells_that_it_can_be_searched_and_how() {
    // XEP-0433 examples 1 to 3.
    let (mut play, seeker) = town();
    let info = format!("<iq type='get' id='i' to='{HOST}'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>");
    let told = answered(&play.house.send(seeker, &info), seeker);
    assert!(told.contains("<feature var='urn:xmpp:channel-search:0:search'/>"), "{told}");
    let form = answered(&ask(&mut play, seeker, ""), seeker);
    for var in ["q", "all", "sinname", "sindescription", "sinaddr", "min_users", "types", "key"] {
        assert!(form.contains(&format!("<field var='{var}'")), "{var} in {form}");
    }
}

#[test]
fn rooms_are_found_by_words_and_told_of_page_by_page() {
    // XEP-0433 examples 4 and 5.
    let (mut play, seeker) = town();
    let told = answered(&search(&mut play, seeker, &[("q", "XMPP operators")], ""), seeker);
    for part in [
        "<item address='operators@rooms.capulet.lit'>",
        "<name>XMPP Service Operators</name><description>Discussion venue</description><language>en</language>",
        "<nusers>2</nusers><service-type>xep-0045</service-type><is-open/>",
        "<anonymity-mode>muc_semianonymous</anonymity-mode>",
    ] {
        assert!(told.contains(part) && !told.contains("secret"), "{part} in {told}");
    }
    let by_address = ("key", "{urn:xmpp:channel-search:0:order}address");
    for (fields, expected) in [
        (&[("q", "operators")][..], "operators"),
        (&[("q", "operators nothing")], ""),
        (&[("q", "WORDS")], "commteam"),
        (&[("q", "words"), ("sindescription", "0")], ""),
        (&[("q", "commteam"), ("sinaddr", "false")], ""),
        (&[("q", "communication"), ("sinname", "0")], ""),
        (&[("q", "rooms.capulet.lit"), by_address], "commteam operators witches"),
        (&[("all", "true")], "operators commteam witches"),
        (&[("all", "1"), by_address], "commteam operators witches"),
        (&[("all", "1"), ("min_users", "2")], "operators"),
        (&[("all", "1"), ("types", "xep-0369")], ""),
        (&[("all", "1"), ("types", "xep-0045"), ("{urn:unheard}of", "x")], "operators commteam witches"),
    ] {
        assert_eq!(found(&mut play, seeker, fields, ""), expected, "{fields:?}");
    }
    let all = [("all", "1"), by_address];
    assert_eq!(found(&mut play, seeker, &all, "<max>2</max>"), "commteam operators");
    let page = "<max>2</max><after>operators@rooms.capulet.lit</after>";
    assert_eq!(found(&mut play, seeker, &all, page), "witches");
    let told = answered(&search(&mut play, seeker, &[("q", "witches")], ""), seeker);
    assert!(!told.contains("<is-open/>") && told.contains("<count>1</count>"), "{told}");
    let told = answered(&search(&mut play, seeker, &[("q", "commteam")], ""), seeker);
    assert!(told.contains("<anonymity-mode>{urn:xmpp:channel-search:0:anonymity}none</anonymity-mode>"), "{told}");
}

#[test]
fn a_search_that_makes_no_sense_is_refused_with_its_reason() {
    // XEP-0433 examples 6, 7, 10 and 11.
    let (mut play, seeker) = town();
    let (long, many) = ("w".repeat(crate::limits::ROOM_SEARCH_BYTES_MAX + 1), "w ".repeat(9));
    for (fields, condition, app) in [
        (&[("q", "x"), ("key", "{urn:x}size")][..], "feature-not-implemented", "<invalid-sort-key"),
        (&[("q", " ")], "bad-request", "<invalid-search-terms"),
        (&[("q", long.as_str())], "bad-request", "<invalid-search-terms"),
        (&[("q", many.as_str())], "bad-request", "<invalid-search-terms"),
        (&[("q", "x"), ("all", "1")], "bad-request", "<var>all</var><var>q</var></conflicting-fields>"),
        (&[("min_users", "1")], "bad-request", "<no-search-conditions"),
        (&[("all", "0")], "bad-request", "<no-search-conditions"),
    ] {
        let out = search(&mut play, seeker, fields, "");
        assert_eq!(refused(&out, seeker), condition, "{fields:?}");
        assert!(heard(&out, seeker)[0].contains(app), "{out:?}");
    }
    assert_eq!(
        refused(&search(&mut play, seeker, &[("all", "1")], "<after>nowhere</after>"), seeker),
        "item-not-found"
    );
    let set = format!("<iq type='set' id='s' to='{HOST}'><search xmlns='urn:xmpp:channel-search:0:search'/></iq>");
    assert!(heard(&play.house.send(seeker, &set), seeker)[0].contains("type='error'"));
}

#[test]
fn who_searches_all_the_time_has_to_wait() {
    // XEP-0433 example 8.
    let (mut play, seeker) = town();
    for _ in 0..crate::limits::ROOM_MOVES_BURST {
        search(&mut play, seeker, &[("all", "1")], "");
    }
    let out = search(&mut play, seeker, &[("all", "1")], "");
    assert_eq!(refused(&out, seeker), "resource-constraint");
    assert!(heard(&out, seeker)[0].contains("<rate-limit xmlns='urn:xmpp:channel-search:0:error' retry-after='5'/>"));
}
