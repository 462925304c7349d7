//! Streams that another server opens and reads on as well: XEP-0288.

use lampone::limits;

use super::hostile::{Rogue, certificate, header, house, message, names, self_signed, stream_error};
use crate::stage::{Stage, player::Player, world::World, xml::Reader};

const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";
const ENABLE: &str = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";

/// A stream of montague.lit's, known by its certificate, on which it asks for both ways.
fn opened(world: &mut World) -> Rogue {
    let (mut rogue, features) = Rogue::greet(world, certificate(&["montague.lit"]), "montague.lit");
    assert!(features.find("bidi").is_some(), "{features}");
    assert_eq!(names(&rogue.say(world, BIDI)), [""; 0]);
    assert_eq!(rogue.sign_in(world), ["success"]);
    rogue.reader = Reader::new();
    let features = rogue.say(world, &header("montague.lit", "")).pop().expect("features");
    assert!(features.find("bidi").is_none(), "once is enough: {features}");
    rogue
}

/// The same, with stream management; its name for a resumption.
fn managed(world: &mut World) -> (Rogue, String) {
    let mut rogue = opened(world);
    let enabled = rogue.say(world, ENABLE).remove(0);
    (rogue, enabled.get("id").expect("resumable").to_owned())
}

fn juliet_writes(world: &mut World, juliet: &mut Player, body: &str) {
    juliet.send(world, &format!("<message to='romeo@montague.lit' type='chat'><body>{body}</body></message>"));
    world.drive();
}

fn bodies(heard: &[crate::stage::xml::Tree]) -> Vec<String> {
    heard.iter().filter_map(|element| Some(element.find("body")?.text())).collect()
}

#[test]
fn what_we_send_goes_over_the_stream_that_the_other_side_opened() {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let (mut rogue, _) = managed(&mut world);
    juliet_writes(&mut world, &mut juliet, "1");
    let heard = rogue.hear(&mut world);
    assert_eq!((bodies(&heard), names(&heard)), (vec!["1".to_owned()], vec!["message".into(), "r".into()]));
    rogue.say(&mut world, "<a xmlns='urn:xmpp:sm:3' h='1'/>");
    juliet_writes(&mut world, &mut juliet, "2");
    assert_eq!(bodies(&rogue.hear(&mut world)), ["2"]);
    assert!(world.dials.is_empty(), "nobody was called");
    // Theirs come in as ever.
    rogue.say(&mut world, &message("romeo@montague.lit", "juliet@capulet.lit"));
    assert_eq!(juliet.elements(&mut world).len(), 1);
}

#[test]
fn without_asking_for_it_nothing_comes_back() {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let mut rogue = Rogue::verified(&mut world, "montague.lit");
    rogue.say(&mut world, ENABLE);
    juliet_writes(&mut world, &mut juliet, "1");
    assert_eq!(names(&rogue.hear(&mut world)), [""; 0]);
    assert_eq!(world.dials.len(), 1);
}

#[test]
fn nothing_goes_to_who_has_proved_nothing_nor_for_other_domains() {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let (mut rogue, _) = Rogue::greet(&mut world, self_signed("montague.lit"), "montague.lit");
    rogue.say(&mut world, BIDI);
    let mut verona = Rogue::greet(&mut world, certificate(&["verona.lit"]), "verona.lit").0;
    verona.say(&mut world, BIDI);
    assert_eq!(verona.sign_in(&mut world), ["success"]);
    verona.reader = Reader::new();
    verona.say(&mut world, &header("verona.lit", ""));
    verona.say(&mut world, ENABLE);
    juliet_writes(&mut world, &mut juliet, "1");
    world.advance(limits::PEER_MANAGED_MS + 1);
    assert_eq!((names(&rogue.hear(&mut world)), names(&verona.hear(&mut world))), (vec![], vec![]));
    assert_eq!(world.dials.len(), 1, "it is called");
}

#[test]
fn a_claim_that_is_believed_opens_the_way_back_and_needs_no_second_stream() {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let (mut rogue, _) = Rogue::greet(&mut world, self_signed("montague.lit"), "montague.lit");
    rogue.say(&mut world, BIDI);
    rogue.say(&mut world, "<db:result from='montague.lit' to='capulet.lit'>key</db:result>");
    // XEP-0288 §2.2: it is asked about elsewhere.
    let mut called = Rogue::answer(&mut world, "montague.lit");
    let asked =
        called.say(&mut world, "<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>");
    let id = asked[0].get("id").expect("an id").to_owned();
    let valid = format!("<db:verify from='montague.lit' to='capulet.lit' id='{id}' type='valid'/>");
    called.say(&mut world, &valid);
    assert_eq!(names(&rogue.hear(&mut world)), ["result"]);
    rogue.say(&mut world, ENABLE);
    juliet_writes(&mut world, &mut juliet, "1");
    assert_eq!(bodies(&rogue.hear(&mut world)), ["1"]);
    assert_eq!(names(&called.hear(&mut world)), [""; 0]);
    assert!(!world.is_open(called.conn), "that stream has done what it was for");
    assert!(world.dials.is_empty());
}

#[test]
fn who_does_not_manage_its_stream_is_sent_to_after_a_moment() {
    for speaks in [true, false] {
        let mut world = house();
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        let mut rogue = opened(&mut world);
        if speaks {
            rogue.say(&mut world, &message("romeo@montague.lit", "juliet@capulet.lit"));
        }
        juliet_writes(&mut world, &mut juliet, "1");
        let at_once = bodies(&rogue.hear(&mut world)).len();
        assert_eq!(at_once, usize::from(speaks), "whoever speaks will manage nothing any more");
        world.advance(limits::PEER_MANAGED_MS + 1);
        assert_eq!(at_once + bodies(&rogue.hear(&mut world)).len(), 1);
        assert!(world.dials.is_empty());
    }
}

#[test]
fn a_stream_that_breaks_and_is_resumed_loses_and_doubles_nothing() {
    for taken in 0..=2 {
        let mut world = house();
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        let (mut rogue, id) = managed(&mut world);
        juliet_writes(&mut world, &mut juliet, "1");
        juliet_writes(&mut world, &mut juliet, "2");
        assert_eq!(bodies(&rogue.hear(&mut world)), ["1", "2"]);
        Stage::cut(&mut world, rogue.conn);
        juliet_writes(&mut world, &mut juliet, "3");
        assert!(world.dials.is_empty(), "it comes back by itself");
        let mut rogue = opened(&mut world);
        let resume = format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='{taken}'/>");
        let heard = rogue.say(&mut world, &resume);
        assert_eq!(heard[0].name, "resumed");
        let wanted = ["1", "2", "3"];
        assert_eq!(bodies(&heard), wanted[taken..], "{taken}");
        world.server.check();
    }
}

#[test]
fn what_was_sent_to_a_stream_that_does_not_come_back_goes_another_way() {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let (mut rogue, id) = managed(&mut world);
    juliet_writes(&mut world, &mut juliet, "1");
    rogue.say(&mut world, &message("romeo@montague.lit", "juliet@capulet.lit"));
    Stage::cut(&mut world, rogue.conn);
    juliet_writes(&mut world, &mut juliet, "2");
    world.advance(limits::PEER_RETURN_MS + 1);
    let mut theirs = Rogue::answer(&mut world, "montague.lit");
    theirs.say(&mut world, "<stream:features/>");
    let heard = theirs.say(&mut world, "<db:result from='montague.lit' to='capulet.lit' type='valid'/>");
    assert_eq!(bodies(&heard), ["1", "2"], "in order");
    // XEP-0198 §5: who comes back too late learns what need not come again.
    let mut rogue = opened(&mut world);
    let heard = rogue.say(&mut world, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='0'/>"));
    assert_eq!((heard[0].name.as_str(), heard[0].get("h")), ("failed", Some("1")));
}

#[test]
fn who_begins_anew_gets_what_its_stream_before_did_not_acknowledge() {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let (rogue, _) = managed(&mut world);
    juliet_writes(&mut world, &mut juliet, "1");
    Stage::cut(&mut world, rogue.conn);
    juliet_writes(&mut world, &mut juliet, "2");
    let mut rogue = opened(&mut world);
    assert_eq!(bodies(&rogue.say(&mut world, ENABLE)), ["1", "2"]);
    assert!(world.dials.is_empty());
}

#[test]
fn a_stream_that_is_closed_gives_back_what_was_not_acknowledged() {
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let (mut rogue, _) = managed(&mut world);
    juliet_writes(&mut world, &mut juliet, "1");
    rogue.say(&mut world, "</stream:stream>");
    world.advance(limits::PEER_REDIAL_MS + 1);
    let mut theirs = Rogue::answer(&mut world, "montague.lit");
    theirs.say(&mut world, "<stream:features/>");
    let heard = theirs.say(&mut world, "<db:result from='montague.lit' to='capulet.lit' type='valid'/>");
    assert_eq!(bodies(&heard), ["1"]);
}

#[test]
fn whoever_closes_says_first_how_much_it_has() {
    // XEP-0198 §4: it need not come again.
    let mut world = house();
    let _juliet = Player::online(&mut world, "juliet", "balcony");
    let (mut rogue, _) = managed(&mut world);
    rogue.say(&mut world, &message("romeo@montague.lit", "juliet@capulet.lit"));
    let mut config = world.config().clone();
    config.federation.block = vec!["montague.lit".into()];
    world.reload(config);
    let heard = rogue.hear(&mut world);
    assert_eq!((names(&heard), heard[0].get("h")), (vec!["a".to_owned(), "error".into()], Some("1")));
}

#[test]
fn a_key_is_asked_about_on_a_stream_of_our_own() {
    // XEP-0288 §2.2, for whoever claims to be the same domain while its stream is open.
    let mut world = house();
    let mut juliet = Player::online(&mut world, "juliet", "balcony");
    let (mut rogue, _) = managed(&mut world);
    juliet_writes(&mut world, &mut juliet, "1");
    rogue.hear(&mut world);
    let (mut other, _) = Rogue::greet(&mut world, self_signed("montague.lit"), "montague.lit");
    other.say(&mut world, "<db:result from='montague.lit' to='capulet.lit'>key</db:result>");
    assert_eq!(names(&rogue.hear(&mut world)), [""; 0]);
    let mut theirs = Rogue::answer(&mut world, "montague.lit");
    assert_eq!(names(&theirs.say(&mut world, "<stream:features/>")), ["verify"]);
}

#[test]
fn an_acknowledgement_of_more_than_was_sent_ends_the_stream() {
    let mut world = house();
    let (mut rogue, _) = managed(&mut world);
    let heard = rogue.say(&mut world, "<a xmlns='urn:xmpp:sm:3' h='1'/>");
    assert_eq!(stream_error(&heard).as_deref(), Some("undefined-condition"));
}
