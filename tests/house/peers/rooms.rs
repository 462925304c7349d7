//! Rooms of one house with people of the other: `src/services/muc`.

use lampone::{limits, router::event::DialError};

use super::{bodies, lovers};
use crate::stage::{
    player::Player,
    street::{OTHER, Street},
    xml::Tree,
};

const ROOM: &str = "coven@rooms.capulet.lit";
const MUC: &str = "http://jabber.org/protocol/muc";

fn enter(player: &mut Player, street: &mut Street, nick: &str) -> Vec<Tree> {
    player.send(street, &format!("<presence to='{ROOM}/{nick}'><x xmlns='{MUC}'/></presence>"));
    player.elements(street)
}

fn ask(player: &mut Player, street: &mut Street, ty: &str, payload: &str) -> Vec<Tree> {
    player.send(street, &format!("<iq type='{ty}' id='q' to='{ROOM}'>{payload}</iq>"));
    player.elements(street)
}

fn say(player: &mut Player, street: &mut Street, body: &str) {
    player.send(street, &format!("<message type='groupchat' id='{body}' to='{ROOM}'><body>{body}</body></message>"));
}

/// Presence from the room: nickname, whether it is of somebody who is there, status codes.
fn seen(elements: &[Tree]) -> Vec<(String, bool, Vec<String>)> {
    let presence = elements.iter().filter(|e| e.name == "presence");
    let one = |e: &Tree| {
        let nick = e.get("from")?.strip_prefix(ROOM)?.strip_prefix('/')?.to_owned();
        let x = e.find_ns("x", "http://jabber.org/protocol/muc#user")?;
        let codes = x.children().filter(|c| c.name == "status").filter_map(|c| c.get("code")).map(str::to_owned);
        Some((nick, e.get("type").is_none(), codes.collect()))
    };
    presence.filter_map(one).collect()
}

fn is(nick: &str, there: bool, codes: &[&str]) -> (String, bool, Vec<String>) {
    (nick.to_owned(), there, codes.iter().map(|code| (*code).to_owned()).collect())
}

/// Romeo has made the room, and Juliet is in it.
fn coven(street: &mut Street) -> (Player, Player) {
    let (mut romeo, mut juliet) = lovers(street);
    enter(&mut romeo, street, "romeo");
    let form = format!("<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>");
    ask(&mut romeo, street, "set", &form);
    let got = enter(&mut juliet, street, "juliet");
    assert_eq!(seen(&got), [is("romeo", true, &[]), is("juliet", true, &["110", "170"])]);
    assert!(got.last().is_some_and(|last| last.find("subject").is_some()), "the subject comes last");
    assert_eq!(seen(&romeo.elements(street)), [is("juliet", true, &[])]);
    (romeo, juliet)
}

#[test]
fn people_of_two_houses_talk_in_one_room() {
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = coven(&mut street);
    for n in 0..4 {
        let (who, words) = if n % 2 == 0 { (&mut romeo, format!("r{n}")) } else { (&mut juliet, format!("j{n}")) };
        say(who, &mut street, &words);
        street.advance(10);
    }
    let said = ["r0", "j1", "r2", "j3"];
    assert_eq!(
        (bodies(&mut romeo, &mut street), bodies(&mut juliet, &mut street)),
        (said.map(str::to_owned).into(), said.map(str::to_owned).into())
    );
    // XEP-0313: she reads the archive of the room from where she is.
    let page = ask(&mut juliet, &mut street, "set", "<query xmlns='urn:xmpp:mam:2'/>");
    let results: Vec<&Tree> = page.iter().filter(|e| e.find("result").is_some()).collect();
    assert_eq!(results.len(), 4, "{page:?}");
    assert!(results.iter().all(|e| e.get("from") == Some(ROOM)));
    assert!(page.last().is_some_and(|last| last.find("fin").is_some()), "the page's end comes last");
    // Whispers, and requests through the room.
    juliet.send(&mut street, &format!("<message type='chat' to='{ROOM}/romeo'><body>psst</body></message>"));
    assert_eq!(bodies(&mut romeo, &mut street), ["psst"]);
    romeo.send(
        &mut street,
        &format!("<iq type='get' id='v' to='{ROOM}/juliet'><query xmlns='jabber:iq:version'/></iq>"),
    );
    let asked = juliet.element(&mut street);
    let id = asked.get("id").unwrap();
    let answer = "<query xmlns='jabber:iq:version'><name>x</name></query>";
    juliet.send(&mut street, &format!("<iq type='result' id='{id}' to='{ROOM}/romeo'>{answer}</iq>"));
    let answer = romeo.element(&mut street);
    assert_eq!((answer.get("id"), answer.get("type")), (Some("v"), Some("result")), "{answer}");
    // XEP-0410.
    juliet.send(&mut street, &format!("<iq type='get' id='p' to='{ROOM}/juliet'><ping xmlns='urn:xmpp:ping'/></iq>"));
    assert_eq!(juliet.element(&mut street).get("type"), Some("result"));
    juliet.send(&mut street, &format!("<presence type='unavailable' to='{ROOM}/juliet'/>"));
    assert_eq!(seen(&juliet.elements(&mut street)), [is("juliet", false, &["110"])]);
    assert_eq!(seen(&romeo.elements(&mut street)), [is("juliet", false, &[])]);
}

#[test]
fn whoever_is_elsewhere_enters_rooms_and_makes_none() {
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (_, mut juliet) = lovers(&mut street);
    let got = enter(&mut juliet, &mut street, "juliet");
    assert!(got[0].find("error").is_some_and(|error| error.find("not-allowed").is_some()), "{got:?}");
}

#[test]
fn whoever_is_invited_elsewhere_hears_of_it() {
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = lovers(&mut street);
    enter(&mut romeo, &mut street, "romeo");
    ask(
        &mut romeo,
        &mut street,
        "set",
        &format!("<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>"),
    );
    let invite = format!("<x xmlns='{MUC}#user'><invite to='juliet@montague.lit'/></x>");
    romeo.send(&mut street, &format!("<message to='{ROOM}'>{invite}</message>"));
    let got = juliet.element(&mut street);
    assert_eq!(got.get("from"), Some(ROOM));
    assert!(got.find("x").is_some(), "{got}");
}

#[test]
fn whoever_cannot_be_reached_is_not_there_any_more() {
    // XEP-0045 §18.1.2.
    let mut street = Street::new(&["romeo"], &["juliet"]);
    let (mut romeo, mut juliet) = coven(&mut street);
    // Neither finds the other.
    for domain in [OTHER, ROOM.split_once('@').unwrap().1] {
        street.away.insert(domain.into(), DialError::Timeout);
    }
    street.cut_wires();
    say(&mut romeo, &mut street, "anybody");
    assert_eq!(bodies(&mut romeo, &mut street), ["anybody"]);
    street.advance(limits::PEER_PATIENCE_MS + 1);
    assert_eq!(seen(&romeo.elements(&mut street)), [is("juliet", false, &["333"])]);
    street.away.clear();
    street.advance(limits::PEER_PAUSE_MS_MAX);
    juliet.elements(&mut street);
    juliet.send(&mut street, &format!("<iq type='get' id='p' to='{ROOM}/juliet'><ping xmlns='urn:xmpp:ping'/></iq>"));
    let answer = juliet.elements(&mut street).into_iter().find(|e| e.get("id") == Some("p")).unwrap();
    assert!(answer.find("error").is_some_and(|error| error.find("not-acceptable").is_some()), "{answer}");
}
