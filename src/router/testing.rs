//! A house without streams for the tests of services: facts, router, sessions, and the stanzas that come out.

use std::{cell::RefCell, collections::BTreeMap, ops::ControlFlow, rc::Rc};

use super::{
    context::Ctx,
    core::{Core, Work},
    event::{BatchId, Effect, Entropy},
    route::Router,
    service::Notice,
};
use crate::{
    config::Config,
    domain::{
        accounts,
        ids::{AccountId, SessionId, StreamId, Time},
        peers::Link,
        roster::{self, RosterItem},
        sessions::{Ending, Lists, Presence, Session},
        store::{View, Wear},
    },
    proto::scram::Credentials,
    services,
    wire::{
        element::Element,
        error::{Condition, StreamError},
        jid::Jid,
        ns,
        stanza::{Chunk, Stanza},
    },
};

/// A database that holds nothing: all facts of a test stand in the overlay.
struct Nothing;

impl View for Nothing {
    fn wear(&self) -> Wear {
        Wear { bytes: 8_640_000, syncs: 86_400 }
    }

    fn read(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn scan(&self, _: &[u8], _: &[u8], _: bool, _: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>) {}
}

/// Counts instead of drawing lots, so that a test is the same each time.
#[derive(Debug, Default)]
struct Counting(u64);

impl Entropy for Counting {
    fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.0 += 1;
            let bytes = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// What came out: to which session, and the stanza as text.
pub type Out = Vec<(SessionId, String)>;

/// Server state with `capulet.lit` as its domain.
pub struct House {
    pub core: Core,
    pub router: Router,
    pub wall_us: u64,
    pub now: Time,
    /// Sessions that were ended, in order.
    pub ended: Vec<(SessionId, StreamError)>,
    /// Other servers can be reached.
    pub federates: bool,
    /// What was sent to them.
    pub to_peers: Vec<String>,
    /// Effects other than stanzas.
    pub effects: Vec<Effect>,
    entropy: Counting,
    streams: RefCell<BTreeMap<StreamId, SessionId>>,
}

impl Default for House {
    fn default() -> House {
        House::new()
    }
}

impl House {
    pub fn new() -> House {
        let wall_us = 1_700_000_000_000_000;
        let router = Router::new(services::all());
        let config = Config { domains: vec!["capulet.lit".into()], ..Config::default() };
        let mut core = Core::new(Rc::new(config), wall_us / 1_000_000);
        core.introduce(router.services());
        House {
            core,
            router,
            wall_us,
            now: Time(0),
            ended: Vec::new(),
            federates: false,
            to_peers: Vec::new(),
            effects: Vec::new(),
            entropy: Counting::default(),
            streams: RefCell::default(),
        }
    }

    pub fn configure(&mut self, config: Rc<Config>) {
        self.core.config = config;
        self.core.introduce(self.router.services());
    }

    pub fn ctx(&mut self) -> Ctx<'_> {
        Ctx { core: &mut self.core, now: self.now, wall_us: self.wall_us, view: &Nothing, entropy: &mut self.entropy }
    }

    /// Credentials as the world outside would derive them.
    pub fn credentials(password: &str) -> Credentials {
        // A handful of rounds will do here.
        Credentials::derive(password, [7; 16], std::num::NonZeroU32::new(4).unwrap())
    }

    /// Makes an account, or finds it.
    pub fn account(&mut self, jid: &str) -> AccountId {
        let jid = Jid::parse(jid).unwrap();
        let now_s = self.wall_us / 1_000_000;
        let mut ctx = self.ctx();
        let mut store = ctx.store();
        match accounts::find(&store, &jid) {
            Some(account) => account.id,
            None => accounts::create(&mut store, &jid, House::credentials("pw"), false, now_s).unwrap().id,
        }
    }

    pub fn make_admin(&mut self, jid: &str) {
        self.account(jid);
        let jid = Jid::parse(jid).unwrap();
        let mut ctx = self.ctx();
        let mut account = accounts::find(&ctx.store(), &jid).unwrap();
        account.is_admin = true;
        accounts::update(&mut ctx.store(), &jid, &account);
    }

    /// Binds a session, with its account if need be.
    pub fn online(&mut self, full: &str) -> SessionId {
        let jid = Jid::parse(full).unwrap();
        let is_local = jid.local().is_none();
        let account = if is_local { AccountId(0) } else { self.account(jid.bare_str()) };
        let lists = Lists::of(&self.ctx().store(), account);
        let slot = self.streams.borrow().len() as u32;
        let stream = StreamId { slot, generation: 1 };
        let session = Session {
            account,
            jid,
            stream: Some(stream),
            device: None,
            peer: None,
            is_unguessable: false,
            is_local,
            presence: None,
            interested: false,
            wants_blocks: false,
            carbons: false,
            directed: Vec::new(),
            wants_nodes: Default::default(),
            sm: None,
            gate: Default::default(),
            held: None,
            ending: None,
            backlog: None,
            behind: Default::default(),
            expires: None,
            can_be_woken: false,
            hold_s: 0,
            since_s: self.wall_us / 1_000_000,
        };
        let id = self.core.sessions.insert(session, lists);
        self.streams.borrow_mut().insert(stream, id);
        id
    }

    /// Binds a session that has sent presence.
    pub fn available(&mut self, full: &str) -> SessionId {
        let id = self.online(full);
        let presence = Element::new("presence", ns::CLIENT);
        let stanza = Stanza::build(&presence, Jid::parse(full).unwrap(), None);
        self.core.sessions.session_mut(id).unwrap().presence = Some(Box::new(Presence { priority: 0, stanza }));
        id
    }

    /// Lets `contact` see the presence of `owner`, on both sides.
    pub fn subscribe(&mut self, owner: &str, contact: &str) {
        let (owner_id, contact_id) = (self.account(owner), self.account(contact));
        let mut ctx = self.ctx();
        let mut store = ctx.store();
        let mut item: RosterItem = roster::item(&store, owner_id, contact).unwrap_or_default();
        item.state.from = true;
        roster::put(&mut store, owner_id, contact, item);
        let mut item: RosterItem = roster::item(&store, contact_id, owner).unwrap_or_default();
        item.state.to = true;
        roster::put(&mut store, contact_id, owner, item);
    }

    /// A session sends a stanza; what comes out once all is durable.
    pub fn send(&mut self, from: SessionId, xml: &str) -> Out {
        let element = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
        let jid = self.core.sessions.session(from).unwrap().jid.clone();
        let to = element.get("to").map(|to| Jid::parse(to).unwrap());
        let stanza = Stanza::build(&element, jid, to);
        self.with(|router, ctx| router.outbound(stanza, Some(from), ctx))
    }

    /// A stanza comes from another server.
    pub fn receive(&mut self, xml: &str) -> Out {
        let element = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
        let [from, to] = ["from", "to"].map(|name| Jid::parse(element.get(name).unwrap()).unwrap());
        let stanza = Stanza::build(&element, from, Some(to));
        self.with(|router, ctx| router.inbound(stanza, ctx))
    }

    /// The world outside, or time, tells something.
    pub fn notice(&mut self, notice: Notice) -> Out {
        self.with(|router, ctx| router.notice(&notice, ctx))
    }

    /// Answers the last question for credentials.
    pub fn derived(&mut self) -> Out {
        let at = self.effects.iter().position(|effect| matches!(effect, Effect::Derive(..))).unwrap();
        let Effect::Derive(query, password) = self.effects.remove(at) else { unreachable!() };
        self.notice(Notice::Derived(query, Box::new(House::credentials(&password))))
    }

    /// One handler, and all that follows.
    pub fn with(&mut self, handler: impl FnOnce(&mut Router, &mut Ctx<'_>)) -> Out {
        let mut router = std::mem::replace(&mut self.router, Router::new(Vec::new()));
        handler(&mut router, &mut self.ctx());
        let mut out = Vec::new();
        self.flush(&mut out);
        while let Some(work) = self.next_work(&mut router) {
            // There are no streams here that have not signed in.
            let Work::End(id, error) = work else { continue };
            if let Some(session) = self.core.sessions.session_mut(id)
                && !session.gate.is_empty()
            {
                session.ending.get_or_insert(Ending { batch: 0, error });
                self.flush(&mut out);
                continue;
            }
            if self.core.sessions.session(id).is_some() {
                router.notice(&Notice::SessionEnding(id), &mut self.ctx());
                self.flush(&mut out);
                self.core.sessions.remove(id);
                self.ended.extend(error.map(|error| (id, error)));
            }
        }
        self.flush(&mut out);
        self.core.sessions.check();
        self.router = router;
        out
    }

    fn next_work(&mut self, router: &mut Router) -> Option<Work> {
        loop {
            if let Some(work) = router.work(&mut self.ctx()) {
                return Some(work);
            }
            let link = self.core.peers.due.pop()?;
            while let Some(parcel) = self.core.peers.link_mut(link).and_then(Link::take_next) {
                if self.federates {
                    self.to_peers.push(text(&parcel.stanza.chunk()));
                } else {
                    super::peers::give_back(&parcel, &Condition::RemoteServerNotFound.into(), &mut self.ctx());
                }
            }
        }
    }

    /// All writes are durable, and what was written comes out.
    fn flush(&mut self, out: &mut Out) {
        let batch = BatchId(self.core.open_batch);
        if self.core.overlay.take_batch(batch).is_some() {
            self.core.overlay.committed(batch);
        }
        self.core.committed = batch.0;
        self.core.open_batch += 1;
        self.core.open_gates();
        self.core.reply_settled();
        for effect in std::mem::take(&mut self.core.effects) {
            match effect {
                Effect::Write(stream, chunk) => out.push((self.streams.borrow()[&stream], text(&chunk))),
                other => self.effects.push(other),
            }
        }
    }
}

fn text(chunk: &Chunk) -> String {
    let mut bytes = Vec::new();
    chunk.write(&mut bytes);
    // All that comes out has to be well-formed.
    assert!(Element::parse(&bytes, ns::CLIENT).is_ok(), "{}", String::from_utf8_lossy(&bytes));
    String::from_utf8(bytes).unwrap()
}

/// What one session got.
pub fn to_session(out: &Out, id: SessionId) -> Out {
    out.iter().filter(|(session, _)| *session == id).cloned().collect()
}

/// The payload of the one result that came out; empty if it has none.
pub fn result_of(out: &Out) -> String {
    let [(_, xml)] = out.as_slice() else { panic!("one answer: {out:?}") };
    let iq = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
    assert_eq!((iq.name.as_ref(), iq.get("type")), ("iq", Some("result")), "{xml}");
    iq.children().next().map(|child| String::from_utf8(child.to_vec()).unwrap()).unwrap_or_default()
}

/// The condition of the one error that came out.
pub fn condition_of(out: &Out) -> String {
    let [(_, xml)] = out.as_slice() else { panic!("one answer: {out:?}") };
    let stanza = Element::parse(xml.as_bytes(), ns::CLIENT).unwrap();
    assert_eq!(stanza.get("type"), Some("error"), "{xml}");
    let error = stanza.find("error", ns::CLIENT).unwrap();
    let mut conditions = error.children().filter(|child| child.ns == ns::STANZA_ERRORS);
    conditions.next().unwrap().name.to_string()
}
