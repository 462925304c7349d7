//! A client that nobody looks at, in the house without streams.

use crate::{
    domain::{ids::SessionId, sessions::Keep},
    limits,
    router::testing::{House, Out, to_session},
    wire::stanza::Chunk,
};

/// Romeo and Juliet are friends and online; nobody looks at Juliet's client.
fn house() -> (House, SessionId, SessionId) {
    let mut house = House::new();
    let (romeo, juliet) = (house.available("romeo@capulet.lit/orchard"), house.available("juliet@capulet.lit/balcony"));
    house.subscribe("romeo@capulet.lit", "juliet@capulet.lit");
    house.core.hold_back_from(juliet);
    (house, romeo, juliet)
}

fn message(child: &str) -> String {
    format!("<message to='juliet@capulet.lit' type='chat'>{child}</message>")
}

fn bodies(out: &Out) -> Vec<&str> {
    let words = ["away", "xa", "composing", "paused", "Hark", "unavailable"];
    out.iter().flat_map(|(_, xml)| words.iter().filter(|word| xml.contains(**word)).copied()).collect()
}

#[test]
fn an_important_stanza_brings_everything_before_it_along() {
    let (mut house, romeo, juliet) = house();
    for xml in [
        "<presence><show>away</show></presence>".to_owned(),
        message("<composing xmlns='http://jabber.org/protocol/chatstates'/>"),
        message("<paused xmlns='http://jabber.org/protocol/chatstates'/>"),
        "<presence><show>xa</show></presence>".to_owned(),
    ] {
        assert!(to_session(&house.send(romeo, &xml), juliet).is_empty(), "{xml} waits");
    }
    let out = to_session(&house.send(romeo, &message("<body>Hark</body>")), juliet);
    assert_eq!(bodies(&out), ["paused", "xa", "Hark"], "the last of each, in the order in which they came");
    // The client is still not looked at.
    assert!(to_session(&house.send(romeo, "<presence><show>away</show></presence>"), juliet).is_empty());
}

#[test]
fn a_client_that_is_looked_at_gets_what_waited() {
    let (mut house, romeo, juliet) = house();
    house.send(romeo, "<presence><show>away</show></presence>");
    let out = house.with(|_, ctx| ctx.core.hold_nothing_back_from(juliet));
    assert_eq!(bodies(&to_session(&out, juliet)), ["away"]);
    let out = house.send(romeo, "<presence type='unavailable'/>");
    assert_eq!(bodies(&to_session(&out, juliet)), ["unavailable"], "nothing is held back any more");
}

#[test]
fn what_waits_for_the_disk_is_not_overtaken() {
    let (mut house, _, juliet) = house();
    let presence = |show: &str| {
        Chunk::new(format!("<presence from='romeo@capulet.lit/x'><show>{show}</show></presence>").into_bytes())
    };
    let out = house.with(|_, ctx| {
        ctx.core.deliver(juliet, presence("away"), Keep::Nothing);
        let batch = ctx.core.open_batch;
        ctx.core.deliver_after(juliet, batch, Chunk::new(&b"<iq type='result' id='Hark'/>"[..]), Keep::Nothing);
        ctx.core.deliver(juliet, presence("xa"), Keep::Nothing);
        ctx.core.hold_nothing_back_from(juliet);
    });
    assert_eq!(bodies(&out), ["away", "Hark", "xa"]);
}

#[test]
fn more_than_may_wait_goes_out() {
    let (mut house, _, juliet) = house();
    let presence = |n: usize| Chunk::new(format!("<presence from='romeo@capulet.lit/{n}'/>").into_bytes());
    let out = house.with(|_, ctx| {
        (0..limits::HELD_MAX).for_each(|n| ctx.core.deliver(juliet, presence(n), Keep::Nothing));
    });
    assert!(out.is_empty());
    let out = house.with(|_, ctx| ctx.core.deliver(juliet, presence(limits::HELD_MAX), Keep::Nothing));
    assert_eq!(out.len(), limits::HELD_MAX + 1);
}
