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

#[test]
fn nobody_gets_a_voice_by_registering() {
    // §7.10 with §8: where moderators give the voice, the staff decides who is a member.
    let mut play = Play::new();
    let crone = play.room(&[("moderatedroom", "1")]);
    let hag = play.person("hag66");
    play.enter(hag, "third");
    let form = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#register\
         </value></field><field var='muc#register_roomnick'><value>third</value></field></x>";
    let query = format!("<query xmlns='jabber:iq:register'>{form}</query>");
    let out = play.iq(hag, "set", "", &query);
    assert_eq!(outcome(&out, hag), "done");
    assert!(heard(&out, crone)[0].contains("muc#register_allow"), "{out:?}");
    assert_eq!(refused(&play.say(hag, "x"), hag), "forbidden");
    let nothing = "<query xmlns='jabber:iq:register'><x xmlns='jabber:x:data' type='submit'/></query>";
    assert_eq!(refused(&play.iq(hag, "set", "", nothing), hag), "bad-request");
}

#[test]
fn a_new_room_of_an_old_name_knows_nothing_of_the_old_one() {
    // §10.9: who asked the old room to be let in asks the new one's admins again.
    let mut play = Play::new();
    let closed = [("membersonly", "1"), ("persistentroom", "1")];
    let crone = play.room(&closed);
    let hag = play.person("hag66");
    let form =
        "<x xmlns='jabber:x:data' type='submit'><field var='muc#register_roomnick'><value>third</value></field></x>";
    let query = format!("<query xmlns='jabber:iq:register'>{form}</query>");
    assert_eq!(heard(&play.iq(hag, "set", "", &query), crone).len(), 1);
    assert_eq!(heard(&play.iq(hag, "set", "", &query), crone).len(), 0);
    play.owner(crone, "<destroy/>");
    play.enter(crone, "firstwitch");
    play.configure(crone, &closed);
    assert_eq!(heard(&play.iq(hag, "set", "", &query), crone).len(), 1);
}

#[test]
fn a_voice_in_a_moderated_room_outlasts_a_visit() {
    // §5.1: roles of moderated rooms are kept, but for that of a moderator; a kick takes what was given.
    let mut play = Play::new();
    let crone = play.room(&[("moderatedroom", "1")]);
    let hag = play.person("hag66");
    let again = |play: &mut Play| {
        play.house.send(hag, &format!("<presence type='unavailable' to='{ROOM}/third'/>"));
        let out = play.enter(hag, "other");
        let own = heard(&out, hag).into_iter().find(|xml| xml.contains("code='110'")).unwrap();
        play.house.send(hag, &format!("<presence type='unavailable' to='{ROOM}/other'/>"));
        play.enter(hag, "third");
        own
    };
    play.enter(hag, "third");
    assert!(again(&mut play).contains("role='visitor'"));
    play.admin(crone, "set", "<item nick='third' role='participant'/>");
    assert!(again(&mut play).contains("role='participant'"));
    play.admin(crone, "set", "<item nick='third' role='moderator'/>");
    assert!(again(&mut play).contains("role='participant'"), "a moderator for one visit");
    play.admin(crone, "set", "<item nick='third' role='none'/>");
    assert!(again(&mut play).contains("role='visitor'"));
    play.admin(crone, "set", &format!("<item affiliation='member' jid='{HAG}'/>"));
    play.admin(crone, "set", "<item nick='third' role='visitor'/>");
    assert!(again(&mut play).contains("role='visitor'"), "who was silenced comes back silent");
    play.configure(crone, &[("moderatedroom", "0")]);
    assert!(again(&mut play).contains("role='participant'"));
}

#[test]
fn who_becomes_a_moderator_is_shown_who_is_who() {
    // §8: moderators see real addresses, by presence.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let (hag, wise) = (play.person("hag66"), play.person("wiccarocks"));
    play.enter(hag, "third");
    play.enter(wise, "second");
    let real = "jid='hag66@capulet.lit/desktop'";
    for item in ["<item nick='second' role='moderator'/>", "<item affiliation='admin' jid='wiccarocks@capulet.lit'/>"] {
        let out = play.admin(crone, "set", item);
        let to_wise = heard(&out, wise);
        assert!(to_wise[0].contains("/second'") && to_wise[0].contains("code='110'"), "{to_wise:?}");
        assert!(to_wise.iter().any(|xml| xml.contains("/third'") && xml.contains(real)), "{to_wise:?}");
        assert!(!heard(&out, hag).iter().any(|xml| xml.contains(real) && !xml.contains("code='110'")));
        play.admin(crone, "set", "<item nick='second' role='participant'/>");
    }
}

#[test]
fn a_closed_room_tells_strangers_neither_its_subject_nor_who_is_in() {
    // §6.4, §6.5, §13.4.
    let mut play = Play::new();
    let crone = play.room(&[("membersonly", "1"), ("publicroom", "1")]);
    let hag = play.person("hag66");
    play.house.send(crone, &format!("<message type='groupchat' to='{ROOM}'><subject>Fire Burn</subject></message>"));
    let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
    let items = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    let sees = |play: &mut Play, who| {
        let told = answered(&play.iq(who, "get", "", info), who);
        let listed = answered(&play.iq(who, "get", "", items), who);
        (told.contains("Fire Burn"), told.contains("muc#roominfo_occupants"), listed.contains("/firstwitch"))
    };
    assert_eq!(sees(&mut play, crone), (true, true, true));
    assert_eq!(sees(&mut play, hag), (false, false, false));
    play.admin(crone, "set", &format!("<item affiliation='member' jid='{HAG}'/>"));
    assert_eq!(sees(&mut play, hag), (true, true, true));
    play.configure(crone, &[("membersonly", "0")]);
    play.admin(crone, "set", &format!("<item affiliation='none' jid='{HAG}'/>"));
    assert_eq!(sees(&mut play, hag), (true, true, true), "who could come in");
    play.admin(crone, "set", &format!("<item affiliation='outcast' jid='{HAG}'/>"));
    assert_eq!(sees(&mut play, hag), (false, false, false));
}

#[test]
fn a_private_message_that_was_not_taken_comes_back_to_who_sent_it() {
    // RFC 6120 §8.3.1, §7.5; what says that nobody is there is the room's business (§18.1.2).
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "third");
    whisper(&mut play, hag, "firstwitch");
    let error = "<error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let out = play.house.send(crone, &format!("<message type='error' id='w' to='{ROOM}/third'>{error}</message>"));
    let told = &heard(&out, hag)[0];
    assert!(told.contains("/firstwitch'") && told.contains("type='error'") && told.contains(" id='w'"), "{told}");
    assert_eq!(heard(&out, crone).len(), 0);
}

#[test]
fn where_nobody_may_write_privately_nobody_does() {
    // §15.5.3, muc#roomconfig_allowpm. Where only some may, moderators are written to all the same.
    let mut play = Play::new();
    let crone = play.room(&[("allowpm", "none")]);
    let hag = play.person("hag66");
    play.enter(hag, "third");
    assert_eq!(refused(&whisper(&mut play, hag, "firstwitch"), hag), "forbidden");
    assert_eq!(refused(&whisper(&mut play, crone, "third"), crone), "forbidden");
    play.configure(crone, &[("allowpm", "moderators")]);
    assert_eq!(heard(&whisper(&mut play, hag, "firstwitch"), crone).len(), 1);
}

#[test]
fn a_card_comes_from_whom_it_was_asked_for() {
    // §17.4: somebody who is in twice answers, for the account, under the name that was asked.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    let phone = play.house.available("hag66@capulet.lit/phone");
    play.enter(hag, "third");
    play.enter(phone, "fourth");
    for nick in ["third", "fourth"] {
        let out = play.iq(crone, "get", &format!("/{nick}"), "<vCard xmlns='vcard-temp'/>");
        let told = heard(&out, crone).into_iter().find(|xml| xml.starts_with("<iq")).unwrap();
        assert!(told.contains(&format!("from='{ROOM}/{nick}'")) && told.contains(" id='q1'"), "{told}");
    }
}

#[test]
fn a_full_room_counts_names() {
    // §7.2.9: one person under two names is two occupants, under one name with two devices one.
    let mut play = Play::new();
    play.room(&[("maxusers", "2")]);
    let hag = play.person("hag66");
    let (phone, tablet) =
        (play.house.available("hag66@capulet.lit/phone"), play.house.available("hag66@capulet.lit/tablet"));
    play.enter(hag, "third");
    assert_eq!(refused(&play.enter(phone, "fourth"), phone), "service-unavailable");
    assert_eq!(heard(&play.enter(tablet, "third"), tablet).len(), 3);
}

#[test]
fn what_a_form_shows_can_be_chosen_in_it() {
    // XEP-0004 §3.3: the value of a list is one of its options; and names that clients use are understood.
    let mut play = Play::new();
    let crone = play.room(&[("maxusers", "25"), ("mam", "0")]);
    let form = answered(&play.owner_asks(crone), crone);
    assert!(form.contains("<option label='25'><value>25</value></option>"), "{form}");
    let archive = form.split("enablearchiving'").nth(1).and_then(|rest| rest.split("</field>").next()).unwrap();
    assert!(archive.contains("<value>0</value>") || archive.contains("<value>false</value>"), "{archive}");
}

#[test]
fn the_archive_knows_former_subjects_and_the_history_does_not() {
    // XEP-0313 §5.1: subject changes are stored. §7.2.13: they are no part of the discussion history; nor is who has read it.
    let mut play = Play::new();
    let crone = play.room(&[("persistentroom", "1")]);
    let to_all = |play: &mut Play, inner: &str| {
        play.house.send(crone, &format!("<message type='groupchat' id='s1' to='{ROOM}'>{inner}</message>"))
    };
    let out = to_all(&mut play, "<subject>Fire Burn</subject>");
    assert!(heard(&out, crone)[0].contains("<stanza-id "), "{out:?}");
    play.say(crone, "Double, double");
    to_all(&mut play, "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>");
    to_all(&mut play, "<subject>Cauldron Bubble</subject>");
    let archived = |play: &mut Play| {
        let out = play.iq(crone, "set", "", "<query xmlns='urn:xmpp:mam:2' queryid='f27'/>");
        heard(&out, crone).into_iter().filter(|xml| xml.contains("<forwarded")).collect::<Vec<_>>()
    };
    let kept = archived(&mut play);
    assert!(kept.len() == 4 && kept[0].contains("Fire Burn") && kept[3].contains("Cauldron"), "{kept:?}");
    let hag = play.person("hag66");
    let check = |shown: Vec<String>| {
        assert!(shown.len() == 2 && shown[0].contains("Double, double"), "{shown:?}");
        assert!(shown[1].contains("Cauldron Bubble") && !shown[1].contains("stanza-id"), "{shown:?}");
    };
    check(heard(&play.enter(hag, "third"), hag).split_off(2));
    // And so it is when the room is read from the store.
    for (who, nick) in [(hag, "third"), (crone, "firstwitch")] {
        play.house.send(who, &format!("<presence type='unavailable' to='{ROOM}/{nick}'/>"));
    }
    check(heard(&play.enter(hag, "third"), hag).split_off(1));
}

#[test]
fn newcomers_see_of_somebody_what_the_others_saw_last() {
    // §7.2.8: of several devices under one name the one that spoke last counts.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    let phone = play.house.available("hag66@capulet.lit/phone");
    play.enter(hag, "third");
    play.enter(phone, "third");
    let away = format!("<presence to='{ROOM}/third'><show>away</show></presence>");
    assert!(heard(&play.house.send(hag, &away), crone)[0].contains("<show>away</show>"));
    let wise = play.person("wiccarocks");
    let out = play.enter(wise, "second");
    let seen = heard(&out, wise).into_iter().find(|xml| xml.contains("/third'")).unwrap();
    assert!(seen.contains("<show>away</show>"), "{seen}");
    // The other one leaves: nothing is to be seen of that.
    let out = play.house.send(phone, &format!("<presence type='unavailable' to='{ROOM}/third'/>"));
    let own = heard(&out, phone);
    assert!(own.len() == 1 && own[0].contains("type='unavailable'") && own[0].contains("code='110'"), "{own:?}");
    assert_eq!((heard(&out, crone).len(), heard(&out, wise).len(), heard(&out, hag).len()), (0, 0, 0), "{out:?}");
    let back = play.enter(phone, "third");
    assert!(!heard(&back, crone)[0].contains("<show>"), "{back:?}");
    let out = play.house.send(phone, &format!("<presence type='unavailable' to='{ROOM}/third'/>"));
    assert!(heard(&out, crone)[0].contains("<show>away</show>"), "what is left of them: {out:?}");
}

#[test]
fn one_request_gives_a_nickname_to_one_person_only() {
    // §9.5: also if the other keeps it from before.
    let mut play = Play::new();
    let crone = play.room(&[]);
    play.admin(crone, "set", &format!("<item affiliation='member' jid='{HAG}' nick='third'/>"));
    let bard = "<item affiliation='member' jid='bard@capulet.lit' nick='third'/>";
    let keeps = format!("<item affiliation='member' jid='{HAG}'><reason>still</reason></item>");
    assert_eq!(outcome(&play.admin(crone, "set", &(keeps + bard)), crone), "conflict");
    let gives = format!("<item affiliation='member' jid='{HAG}' nick=''/>");
    assert_eq!(outcome(&play.admin(crone, "set", &(gives + bard)), crone), "done");
}

#[test]
fn a_ban_of_a_domain_touches_nobody_who_is_something_by_themselves() {
    // §9.2: the address itself comes first.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let wise = play.person("wiccarocks");
    let bard = play.person("bard");
    play.enter(wise, "second");
    play.enter(bard, "bard");
    play.admin(crone, "set", "<item affiliation='member' jid='wiccarocks@capulet.lit'/>");
    play.admin(crone, "set", "<item nick='second' role='moderator'/>");
    let out = play.admin(crone, "set", "<item affiliation='outcast' jid='capulet.lit'/>");
    assert!(heard(&out, bard).iter().any(|xml| xml.contains("code='301'")), "{out:?}");
    let to_wise = heard(&out, wise);
    assert!(!to_wise.iter().any(|xml| xml.contains("/second'")), "{to_wise:?}");
    play.admin(crone, "set", "<item affiliation='none' jid='capulet.lit'/>");
    let list = answered(&play.admin(crone, "get", "<item role='moderator'/>"), crone);
    assert!(list.contains("nick='second'"), "{list}");
}

#[test]
fn slow_mode_says_how_slow() {
    // XEP-0500 §5.
    let mut play = Play::new();
    play.room(&[("slow_mode_duration", "20")]);
    let hag = play.person("hag66");
    play.enter(hag, "third");
    play.say(hag, "one");
    let out = play.say(hag, "two");
    assert!(heard(&out, hag)[0].contains("20 seconds"), "{out:?}");
}

#[test]
fn nobody_looks_like_another_by_a_space() {
    // §13.5: mimicking a nickname by a space at the end.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let (hag, wise) = (play.person("hag66"), play.person("wiccarocks"));
    play.enter(hag, "third");
    play.admin(crone, "set", "<item affiliation='member' jid='bard@capulet.lit' nick='bard'/>");
    for nick in ["third ", "bard "] {
        assert_eq!(refused(&play.enter(wise, nick), wise), "conflict", "{nick:?}");
    }
    assert_eq!(heard(&play.enter(wise, "the third"), wise).len(), 4);
}

#[test]
fn a_subject_says_who_set_it_though_another_has_the_name_now() {
    // XEP-0421 §4: on every message that comes from an occupant. And disco tells a subject in several languages.
    let mut play = Play::new();
    let crone = play.room(&[("persistentroom", "1"), ("changesubject", "1")]);
    let (hag, wise) = (play.person("hag66"), play.person("wiccarocks"));
    let id = |xml: &str| xml.split("<occupant-id ").nth(1).and_then(|rest| rest.split("/>").next()).unwrap().to_owned();
    play.enter(hag, "third");
    let both = "<subject>Fire Burn</subject><subject xml:lang='de'>Feuer brenn</subject>";
    let out = play.house.send(hag, &format!("<message type='groupchat' to='{ROOM}'>{both}</message>"));
    let own = id(&heard(&out, crone)[0]);
    play.house.send(hag, &format!("<presence type='unavailable' to='{ROOM}/third'/>"));
    let shown = heard(&play.enter(wise, "third"), wise);
    let subject = shown.iter().find(|xml| xml.contains("Fire Burn") && xml.contains("Feuer")).unwrap();
    assert!(subject.contains(&format!("from='{ROOM}/third'")) && id(subject) == own, "{subject}");
    assert_ne!(id(&shown[1]), own, "another person");
    let told = answered(&play.iq(crone, "get", "", "<query xmlns='http://jabber.org/protocol/disco#info'/>"), crone);
    assert!(told.contains("<value>Fire Burn</value>"), "{told}");
}

#[test]
fn an_error_that_comes_by_way_of_the_room_does_not_say_where_from() {
    // §17.4: the room does not tell the real address of who was asked.
    let mut play = Play::new();
    let crone = play.room(&[]);
    let hag = play.person("hag66");
    play.enter(hag, "third");
    let out = play.iq(crone, "get", "/third", "<query xmlns='jabber:iq:version'/>");
    let asked = heard(&out, hag);
    let id = asked[0].split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let error = "<error type='cancel' by='hag66@capulet.lit'><service-unavailable \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    let answer = format!("<iq type='error' id='{id}' to='{ROOM}/firstwitch'>{error}</iq>");
    let told = &heard(&play.house.send(hag, &answer), crone)[0];
    assert!(told.contains("service-unavailable") && told.contains(" id='q1'") && !told.contains("hag66"), "{told}");
}
