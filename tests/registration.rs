//! An invitation from the first start to the first sign-in, through the server as the driver sees it, XEP-0445 §4.

use std::{net::Ipv4Addr, num::NonZeroU32, rc::Rc};

use lampone::{
    config::Config,
    domain::store::MemoryView,
    proto::scram::Credentials,
    router::event::{Door, Effect, Entropy, Env, Event, Secured, StreamId, Time},
    server::Server,
};

struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, buffer: &mut [u8]) {
        for byte in buffer {
            self.0 = self.0.wrapping_mul(31).wrapping_add(7);
            *byte = self.0;
        }
    }
}

struct House {
    server: Server,
    view: MemoryView,
    entropy: Counting,
    /// Answered by `commit`, one after the other.
    effects: Vec<Effect>,
}

const STREAM: StreamId = StreamId { slot: 0, generation: 1 };

impl House {
    fn new() -> House {
        let (view, mut entropy) = (MemoryView::default(), Counting(0));
        let config = Rc::new(Config { domains: vec!["capulet.lit".into()], ..Config::default() });
        let server = Server::new(config, &mut env(&view, &mut entropy));
        House { server, view, entropy, effects: Vec::new() }
    }

    /// What was written to the stream in this turn and the rest of its round.
    fn turn(&mut self, event: Event<'_>) -> String {
        let mut env = env(&self.view, &mut self.entropy);
        let mut effects: Vec<Effect> = self.server.turn(&mut env, event).collect();
        effects.extend(self.server.settle(&mut env));
        let mut out = Vec::new();
        for effect in effects {
            match effect {
                Effect::Write(_, chunk) => chunk.write(&mut out),
                other => self.effects.push(other),
            }
        }
        String::from_utf8(out).unwrap()
    }

    fn received(&mut self, xml: &str) -> String {
        self.turn(Event::Received(STREAM, xml.as_bytes()))
    }

    /// The disk answers all that waits for it.
    fn commit(&mut self) -> String {
        let mut out = String::new();
        while let Some(at) = self.effects.iter().position(|effect| matches!(effect, Effect::Commit(..))) {
            let Effect::Commit(batch, _) = self.effects.remove(at) else { unreachable!() };
            out += &self.turn(Event::Committed(batch));
        }
        out
    }

    fn derive(&mut self) -> String {
        let at = self.effects.iter().position(|effect| matches!(effect, Effect::Derive(..))).unwrap();
        let Effect::Derive(query, password) = self.effects.remove(at) else { unreachable!() };
        let credentials = Credentials::derive(&password, [1; 16], NonZeroU32::new(4).unwrap());
        self.turn(Event::Derived(query, credentials))
    }
}

fn env<'e>(view: &'e MemoryView, entropy: &'e mut Counting) -> Env<'e> {
    Env { now: Time(1), wall_us: 1_700_000_000_000_000, view, entropy }
}

#[test]
fn the_first_invitation_makes_an_admin_who_is_told_when_the_disk_has_the_account() {
    let mut house = House::new();
    let mut env = env(&house.view, &mut house.entropy);
    let link = house.server.first_invitation(&mut env).unwrap().uri;
    let token = link.strip_prefix("xmpp:capulet.lit?register;preauth=").unwrap().to_owned();
    let address = Ipv4Addr::LOCALHOST.into();
    house.turn(Event::Opened(STREAM, Door::DirectTls(address)));
    house.turn(Event::Secured(STREAM, Secured::default()));
    house.commit();
    let features = house.received(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.lit' \
         version='1.0'>",
    );
    for feature in ["http://jabber.org/features/iq-register", "urn:xmpp:ibr-token:0", "urn:xmpp:invite"] {
        assert!(features.contains(&format!("<register xmlns='{feature}'/>")), "{features}");
    }
    let shown = house.received(&format!(
        "<iq type='set' to='capulet.lit' id='pa1'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>"
    ));
    assert_eq!(shown, "<iq type='result' from='capulet.lit' id='pa1'/>");
    let register = "<iq type='set' id='reg2'><query xmlns='jabber:iq:register'>\
                    <username>bill</username><password>Calliope</password></query></iq>";
    assert_eq!(house.received(register), "");
    assert_eq!(house.derive(), "", "nothing is said before the disk has it");
    assert_eq!(house.commit(), "<iq type='result' from='capulet.lit' id='reg2'/>");
    // base64 of NUL bill NUL Calliope
    let auth = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGJpbGwAQ2FsbGlvcGU=</auth>";
    house.received(auth);
    assert!(house.effects.iter().any(|effect| matches!(effect, Effect::Verify(..))), "the account is there");
    house.server.check();
}

#[test]
fn nobody_is_told_of_an_account_that_the_disk_refused() {
    use lampone::router::event::StoreError;
    let mut house = House::new();
    let mut env = env(&house.view, &mut house.entropy);
    let link = house.server.first_invitation(&mut env).unwrap().uri;
    let token = link.rsplit_once('=').unwrap().1.to_owned();
    house.turn(Event::Opened(STREAM, Door::DirectTls(Ipv4Addr::LOCALHOST.into())));
    house.turn(Event::Secured(STREAM, Secured::default()));
    house.commit();
    house.received(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='capulet.lit' \
         version='1.0'>",
    );
    house.received(&format!("<iq type='set' id='pa1'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>"));
    house.received(
        "<iq type='set' id='reg2'><query xmlns='jabber:iq:register'>\
         <username>bill</username><password>Calliope</password></query></iq>",
    );
    house.derive();
    let at = house.effects.iter().position(|effect| matches!(effect, Effect::Commit(..))).unwrap();
    let Effect::Commit(batch, _) = house.effects.remove(at) else { unreachable!() };
    let out = house.turn(Event::Refused(batch, StoreError::Full));
    assert!(out.contains("id='reg2'") && out.contains("<resource-constraint"), "{out}");
    // XEP-0077 §3.1.1 forbids a second account on a stream, and there is no first one: the token is good, the name free.
    house.received(
        "<iq type='set' id='reg3'><query xmlns='jabber:iq:register'>\
         <username>bill</username><password>Calliope</password></query></iq>",
    );
    house.derive();
    assert_eq!(house.commit(), "<iq type='result' from='capulet.lit' id='reg3'/>");
    house.server.check();
}
