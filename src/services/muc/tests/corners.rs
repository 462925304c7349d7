//! XEP-0045: what stands between the examples. Sentences of the text that no example shows, each with its section.

use super::*;

const HAG: &str = "hag66@capulet.lit";

/// What this one is told of a request.
fn outcome(out: &Out, who: SessionId) -> String {
    let iq: Out = to_session(out, who).into_iter().filter(|(_, xml)| xml.starts_with("<iq")).collect();
    if iq[0].1.contains("type='result'") { "done".to_owned() } else { condition_of(&iq) }
}

fn whisper(play: &mut Play, who: SessionId, nick: &str) -> Out {
    play.house.send(who, &format!("<message type='chat' id='w' to='{ROOM}/{nick}'><body>psst</body></message>"))
}

#[test]
fn who_enters_again_with_another_presence_is_seen_so_by_the_others() {
    // §17.3: a join of who is in is a full synchronization; others are shown what differs, and only that.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "thirdwitch");
    let again = |play: &mut Play| {
        let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
        play.house.send(hag, &format!("<presence to='{ROOM}/thirdwitch'><show>away</show>{x}</presence>"))
    };
    let out = again(&mut play);
    assert_eq!(heard(&out, hag).len(), 3, "the crone, oneself, the subject: {out:?}");
    let to_crone = heard(&out, crone);
    assert!(to_crone.len() == 1 && to_crone[0].contains("<show>away</show>"), "{to_crone:?}");
    assert_eq!(heard(&again(&mut play), crone).len(), 0, "nothing is new");
}

#[test]
fn an_empty_nickname_in_the_lists_takes_back_the_reserved_one() {
    // §9.5; and two such items are no conflict.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let wise = play.person("wiccarocks");
    let member = |who: &str, nick: &str| format!("<item affiliation='member' jid='{who}' nick='{nick}'/>");
    play.admin(crone, "set", &member(HAG, "third"));
    assert_eq!(refused(&play.enter(wise, "third"), wise), "conflict");
    let two = member(HAG, "") + &member("bard@capulet.lit", "");
    assert_eq!(outcome(&play.admin(crone, "set", &two), crone), "done");
    let list = answered(&play.admin(crone, "get", "<item affiliation='member'/>"), crone);
    assert!(list.contains(HAG) && !list.contains("nick="), "{list}");
    assert_eq!(heard(&play.enter(wise, "third"), wise).len(), 3);
}

#[test]
fn a_reserved_nickname_is_kept_as_it_is_written_in_addresses() {
    // §7.2.8, §17.1: what is compared has gone through the profile of resources. Here: e with an accent apart.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let wise = play.person("wiccarocks");
    play.admin(crone, "set", &format!("<item affiliation='member' jid='{HAG}' nick='He\u{301}cate'/>"));
    assert_eq!(refused(&play.enter(wise, "H\u{e9}cate"), wise), "conflict");
    let item = format!("<item affiliation='member' jid='{HAG}' nick=' '/>");
    assert_eq!(outcome(&play.admin(crone, "set", &item), crone), "not-acceptable");
}

#[test]
fn who_is_banned_keeps_no_nickname() {
    // §9.1, §9.2.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let wise = play.person("wiccarocks");
    play.admin(crone, "set", &format!("<item affiliation='member' jid='{HAG}' nick='third'/>"));
    play.admin(crone, "set", &format!("<item affiliation='outcast' jid='{HAG}' nick='third'/>"));
    let list = answered(&play.admin(crone, "get", "<item affiliation='outcast'/>"), crone);
    assert!(list.contains(HAG) && !list.contains("nick="), "{list}");
    assert_eq!(heard(&play.enter(wise, "third"), wise).len(), 3);
}

#[test]
fn a_moderator_silences_only_those_below() {
    // §8.4: not whoever stands as high; of the admins and owners nobody takes the voice. A kick (§8.2) is for equals, too.
    let mut play = Play::new();
    let crone = play.room(&[("moderatedroom", "1")]);
    let (wise, hag) = (play.person("wiccarocks"), play.person("hag66"));
    play.enter(wise, "second");
    play.enter(hag, "third");
    play.admin(crone, "set", "<item nick='second' role='moderator'/><item nick='third' role='participant'/>");
    let silence = "<item nick='third' role='visitor'/>";
    assert_eq!(outcome(&play.admin(wise, "set", silence), wise), "not-allowed");
    play.admin(crone, "set", "<item affiliation='member' jid='wiccarocks@capulet.lit'/>");
    assert_eq!(outcome(&play.admin(wise, "set", silence), wise), "done");
    assert_eq!(outcome(&play.admin(wise, "set", "<item nick='third' role='participant'/>"), wise), "done");
    play.admin(crone, "set", &format!("<item affiliation='member' jid='{HAG}'/>"));
    assert_eq!(outcome(&play.admin(wise, "set", silence), wise), "not-allowed");
    assert_eq!(outcome(&play.admin(wise, "set", "<item nick='third' role='none'/>"), wise), "done");
}

#[test]
fn a_moderator_who_becomes_a_member_stays_one() {
    // §5.1.3: what is gained is a role as high as the affiliation's, not a lower one.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let wise = play.person("wiccarocks");
    play.enter(wise, "second");
    play.admin(crone, "set", "<item nick='second' role='moderator'/>");
    let out = play.admin(crone, "set", "<item affiliation='member' jid='wiccarocks@capulet.lit'/>");
    let shown = &heard(&out, wise)[0];
    assert!(shown.contains("affiliation='member' role='moderator'"), "{shown}");
    play.admin(crone, "set", "<item affiliation='admin' jid='wiccarocks@capulet.lit'/>");
    let out = play.admin(crone, "set", "<item affiliation='member' jid='wiccarocks@capulet.lit'/>");
    let shown = &heard(&out, wise)[0];
    assert!(shown.contains("affiliation='member' role='participant'"), "what was the admin's goes: {shown}");
}

#[test]
fn characters_of_the_history_are_those_of_whole_stanzas() {
    // §7.2.14: complete stanzas only, as many as fit, counted with all that is around the words.
    let mut play = Play::new();
    let crone = play.room(&[]);
    for n in 0..4 {
        play.say(crone, &format!("Thrice {n}, «hrönn»"));
    }
    let (mut hag, mut shown) = (0, Vec::new());
    let mut with = |most: usize| {
        hag += 1;
        let who = play.person(&format!("hag{hag}"));
        let out = play.enter_with(who, &format!("hag{hag}"), &format!("<history maxchars='{most}'/>"));
        shown = heard(&out, who).into_iter().filter(|xml| xml.contains("<body>")).collect::<Vec<_>>();
        shown.clone()
    };
    let all = with(100_000);
    assert_eq!(all.len(), 4);
    let chars = |lines: &[String]| lines.iter().map(|line| line.chars().count()).sum::<usize>();
    let two = chars(&all[2..]);
    // The addresses of who looks are as long each time.
    assert_eq!(with(two).len(), 2);
    assert_eq!(with(two - 1).len(), 1);
    assert_eq!(with(two + 1).len(), 2);
    assert_eq!(with(0).len(), 0);
}

#[test]
fn a_locked_room_is_not_there_for_messages_either() {
    // §17.2.
    let mut play = Play::new();
    let (crone, hag) = (play.person("crone1"), play.person("hag66"));
    play.enter(crone, "firstwitch");
    assert_eq!(refused(&play.say(hag, "x"), hag), "item-not-found");
    assert_eq!(refused(&whisper(&mut play, hag, "firstwitch"), hag), "item-not-found");
    assert_eq!(heard(&play.say(crone, "x"), crone).len(), 1);
}

#[test]
fn who_leaves_a_room_that_was_never_set_up_is_told_that_it_is_gone() {
    // §10.1.3.
    let mut play = Play::new();
    let crone = play.person("crone1");
    play.enter(crone, "firstwitch");
    let out = play.house.send(crone, &format!("<presence type='unavailable' to='{ROOM}/firstwitch'/>"));
    let own = &heard(&out, crone)[0];
    assert!(own.contains("type='unavailable'") && own.contains("<destroy/>") && own.contains("code='110'"), "{own}");
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    assert_eq!(refused(&play.iq(crone, "get", "", info), crone), "item-not-found");
}
