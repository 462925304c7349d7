//! What is left of an archive that its owner or an administrator emptied; and pages by position.

use super::*;

fn command(house: &mut House, who: SessionId, to: &str, node: &str, field: &str) -> Out {
    let form = match field {
        "" => String::new(),
        field => format!("<x xmlns='jabber:x:data' type='submit'>{field}</x>"),
    };
    let command = format!("<command xmlns='http://jabber.org/protocol/commands' node='{node}'>{form}</command>");
    house.send(who, &format!("<iq type='set' id='c' to='{to}'>{command}</iq>"))
}

const OWN: &str = "urn:lampone:account#empty-archive";
const SURE: &str = "<field var='sure'><value>1</value></field>";

/// The number of messages that a command says that it removed.
fn removed(out: &Out) -> String {
    let iq = out.iter().find(|(_, xml)| xml.starts_with("<iq")).unwrap();
    let form = iq.1.split_once("var='messages'").unwrap().1;
    form.split_once("<value>").unwrap().1.split_once("</value>").unwrap().0.to_owned()
}

#[test]
fn an_owner_who_is_sure_empties_the_archive_at_once_and_others_keep_theirs() {
    let (mut house, romeo, juliet) = house();
    let account = house.account("juliet@capulet.lit");
    let many = limits::ARCHIVE_PURGE_STEP + 10;
    for n in 0..many {
        say(&mut house, romeo, JULIET, &n.to_string());
    }
    let old = query(&mut house, juliet, &set("<max>1</max><before/>")).ids.remove(0);
    // XEP-0050: a form first, and nothing happens to who does not fill it in.
    let form = result_of(&command(&mut house, juliet, "juliet@capulet.lit", OWN, ""));
    assert!(form.contains("status='executing'") && form.contains("var='sure'"), "{form}");
    let unsure = SURE.replace('1', "0");
    assert_eq!(condition_of(&command(&mut house, juliet, "juliet@capulet.lit", OWN, &unsure)), "bad-request");
    let out = command(&mut house, juliet, "juliet@capulet.lit", OWN, SURE);
    assert_eq!(removed(&out), many.to_string());
    // Nothing is shown though not everything is gone yet, not by its id either.
    assert!(archive::first(&house.ctx().store(), account).is_some());
    assert_eq!(
        query(&mut house, juliet, &set("")).fin,
        parsed(
            "<fin xmlns='urn:xmpp:mam:2' complete='true'><set xmlns='http://jabber.org/protocol/rsm'><count>0</count></set></fin>"
        )
    );
    assert_eq!(condition_of(&ask(&mut house, juliet, &set(&format!("<after>{old}</after>")))), "item-not-found");
    let metadata = house.send(juliet, "<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>");
    assert_eq!(result_of(&metadata), "<metadata xmlns='urn:xmpp:mam:2'/>");
    // What comes now is kept, and counts from the beginning.
    say(&mut house, romeo, JULIET, "anew");
    let page = query(&mut house, juliet, &set("<max>5</max>"));
    assert_eq!((page.bodies.concat().as_str(), page.rsm("count").as_deref()), ("anew", Some("1")));
    assert!(house.core.chores);
    house.notice(Notice::Chores);
    let store = house.ctx();
    let rows =
        store.core.overlay.scan(store.view, &keys::owned(keys::ARCHIVE, account), &[keys::ARCHIVE + 1], false, 9);
    assert_eq!(rows.len(), 1, "the rest is gone");
    assert_eq!(query(&mut house, romeo, &set("<max>1</max>")).rsm("count"), Some((many + 1).to_string()));
}

#[test]
fn messages_that_wait_are_not_lost_with_the_archive() {
    let mut house = House::new();
    let romeo = house.available(ROMEO);
    house.account("juliet@capulet.lit");
    say(&mut house, romeo, "juliet@capulet.lit", "for later");
    let juliet = house.online(JULIET);
    let account = house.account("juliet@capulet.lit");
    let mut ctx = house.ctx();
    // XEP-0386 §3.2: they are not left to an archive that does not show them.
    assert_eq!(archive::forget(&mut ctx.store(), account), 1);
    assert!(!waiting::leave_to_archive(&mut ctx.store(), account));
    command(&mut house, juliet, "juliet@capulet.lit", OWN, SURE);
    let mut ctx = house.ctx();
    assert!(archive::first(&ctx.store(), account).is_none());
    assert_eq!(waiting::page(&ctx.store(), account, crate::domain::ids::MessageId(0), 9).len(), 1);
}

#[test]
fn nobody_empties_the_archive_of_somebody_else_but_an_administrator() {
    let (mut house, romeo, juliet) = house();
    house.make_admin("bard@capulet.lit");
    let bard = house.online("bard@capulet.lit/globe");
    say(&mut house, romeo, JULIET, "hi");
    let admins = "urn:lampone:admin#empty-archive";
    let whom = "<field var='accountjid'><value>juliet@capulet.lit</value></field>";
    assert_eq!(condition_of(&command(&mut house, romeo, "juliet@capulet.lit", OWN, SURE)), "service-unavailable");
    assert_eq!(condition_of(&command(&mut house, romeo, "capulet.lit", admins, whom)), "forbidden");
    assert_eq!(condition_of(&command(&mut house, romeo, "romeo@capulet.lit", admins, whom)), "item-not-found");
    assert_eq!(query(&mut house, juliet, &set("")).bodies, ["hi"]);
    assert_eq!(removed(&command(&mut house, bard, "capulet.lit", admins, whom)), "1");
    assert_eq!(query(&mut house, juliet, &set("")).bodies, [""; 0]);
    // Each finds what they may do.
    let list = |house: &mut House, to: &str| {
        let query =
            "<query xmlns='http://jabber.org/protocol/disco#items' node='http://jabber.org/protocol/commands'/>";
        result_of(&house.send(romeo, &format!("<iq type='get' id='d' to='{to}'>{query}</iq>")))
    };
    assert!(list(&mut house, "romeo@capulet.lit").contains(&format!("jid='romeo@capulet.lit' node='{OWN}'")));
    let at_the_server = list(&mut house, "capulet.lit");
    assert!(at_the_server.contains(OWN) && !at_the_server.contains(admins), "{at_the_server}");
}

#[test]
fn a_page_may_begin_at_a_position() {
    // XEP-0059 §2.6.
    let (mut house, romeo, juliet) = house();
    for n in 0..10 {
        say(
            &mut house,
            if n % 3 == 0 { juliet } else { romeo },
            if n % 3 == 0 { ROMEO } else { JULIET },
            &n.to_string(),
        );
        // Between two messages pass one second to a month.
        house.wall_us += 10u64.pow(n) * 1_000;
    }
    for (index, max, bodies) in [(0, 3, "012"), (4, 3, "456"), (8, 3, "89"), (9, 1, "9"), (10, 3, ""), (99, 3, "")] {
        let page = query(&mut house, juliet, &set(&format!("<max>{max}</max><index>{index}</index>")));
        assert_eq!(page.bodies.concat(), bodies, "{index}");
        assert_eq!(page.rsm("count").as_deref(), Some("10"), "{index}");
        assert_eq!(page.index(), (!bodies.is_empty()).then(|| index.to_string()));
        assert_eq!(page.is_complete(), index + max >= 10, "{index}");
    }
}
