//! RFC 6121 §8.5.4, table 1, line by line.

use crate::router::testing::{House, to_session};

/// What became of a message, in the letters of the table.
fn fate(to: &str, ty: &str, priorities: &[i8]) -> &'static str {
    let mut house = House::new();
    // He may see her presence, so nothing is kept from him (RFC 6121 §8.1).
    let romeo = house.online("romeo@capulet.lit/orchard");
    house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
    let mut hers = Vec::new();
    for (n, priority) in priorities.iter().enumerate() {
        let id = house.online(&format!("juliet@capulet.lit/{n}"));
        house.send(id, &format!("<presence><priority>{priority}</priority></presence>"));
        // Nothing waits for her, and she has been told so.
        crate::router::backlog::serve(&mut house.ctx());
        hers.push(id);
    }
    let account = house.account("juliet@capulet.lit");
    let out = house.send(romeo, &format!("<message to='{to}' type='{ty}' id='m'><body>!</body></message>"));
    let got: Vec<bool> = hers.iter().map(|id| !to_session(&out, *id).is_empty()).collect();
    let highest = priorities.iter().max();
    let most_available: Vec<bool> = priorities.iter().map(|p| Some(p) == highest).collect();
    let non_negative: Vec<bool> = priorities.iter().map(|p| *p >= 0).collect();
    let addressed: Vec<bool> = (0..got.len()).map(|n| to == format!("juliet@capulet.lit/{n}")).collect();
    assert!(out.iter().all(|(_, xml)| xml.contains("type='error'") || xml.contains(&format!("to='{to}'"))), "{out:?}");
    if !to_session(&out, romeo).is_empty() {
        assert!(to_session(&out, romeo)[0].1.contains("<service-unavailable"), "{out:?}");
        assert!(!got.contains(&true), "{out:?}");
        return "E";
    }
    let kept = crate::domain::waiting::count(&house.ctx().store(), account, 2) == 1;
    match got {
        _ if !got.contains(&true) && kept => "O",
        _ if !got.contains(&true) => "S",
        got if got == addressed || (priorities.len() == 1 && got == [true]) => "D",
        got if got == most_available => "M",
        got if got == non_negative => "A",
        got => panic!("{to} {ty} {priorities:?}: {got:?}"),
    }
}

#[test]
fn messages_fare_as_table_1_says() {
    const BARE: &str = "juliet@capulet.lit";
    const MATCH: &str = "juliet@capulet.lit/0";
    const NO_MATCH: &str = "juliet@capulet.lit/gone";
    type Line<'a> = (&'a str, &'a [i8], [&'a str; 5]);
    // What the RFC leaves open is decided so: store rather than refuse, the most available rather than all; our own
    // people learn that there is no such account. Errors are always dropped or delivered (§8.5.2.1.1, §8.5.3).
    let table: [Line<'_>; 13] = [
        // to, priorities of available resources, then normal, chat, groupchat, headline, error
        ("nobody@capulet.lit", &[], ["E", "E", "E", "S", "S"]),
        ("nobody@capulet.lit/x", &[], ["E", "E", "E", "E", "S"]),
        (BARE, &[], ["O", "O", "E", "S", "S"]),
        (NO_MATCH, &[], ["E", "O", "E", "E", "S"]),
        (BARE, &[-1, -2], ["O", "O", "E", "S", "S"]),
        (MATCH, &[-1, -2], ["D", "D", "D", "D", "D"]),
        (NO_MATCH, &[-1, -2], ["E", "O", "E", "E", "S"]),
        (BARE, &[0], ["D", "D", "E", "D", "S"]),
        (MATCH, &[0], ["D", "D", "D", "D", "D"]),
        (NO_MATCH, &[0], ["E", "D", "E", "E", "S"]),
        (BARE, &[1, 5, 0, -1, 5], ["M", "M", "E", "A", "S"]),
        (MATCH, &[1, 5, 0, -1, 5], ["D", "D", "D", "D", "D"]),
        (NO_MATCH, &[1, 5, 0, -1, 5], ["E", "M", "E", "E", "S"]),
    ];
    for (to, priorities, fates) in table {
        for (ty, expected) in ["normal", "chat", "groupchat", "headline", "error"].into_iter().zip(fates) {
            assert_eq!(fate(to, ty, priorities), expected, "{ty} to {to} with {priorities:?}");
        }
    }
}

#[test]
fn a_resource_that_is_connected_only_counts_for_its_full_address_alone() {
    // RFC 6121 §8.5.2.2 and §8.5.3.1.
    let mut house = House::new();
    let romeo = house.online("romeo@capulet.lit/orchard");
    let juliet = house.online("juliet@capulet.lit/balcony");
    let say = |to: &str| format!("<message to='{to}' type='chat'><body>!</body></message>");
    assert!(house.send(romeo, &say("juliet@capulet.lit")).is_empty());
    assert_eq!(to_session(&house.send(romeo, &say("juliet@capulet.lit/balcony")), juliet).len(), 1);
}
