//! What a service can see and do during a turn.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    path::PathBuf,
    rc::Rc,
};

use zeroize::Zeroizing;

use super::{
    agenda::Agenda,
    event::{Effect, Entropy},
    refusal::Refusal,
    service::{AtBind, Card, ChangeNode, Discloses, Leg, Notice, Origin, Reply, Scope, Service},
    urgency::{Urgency, urgency},
};
use crate::{
    config::Config,
    domain::{
        accounts, blocks,
        ids::{AccountId, MessageId, QueryId, Seal, SessionId, StreamId, Time},
        overlay::Overlay,
        roster,
        sessions::{Keep, Sessions},
        store::{Store, View},
        waiting::{self, Tallies},
    },
    limits,
    wire::{
        build,
        element::Element,
        error::{Condition, StanzaError, StreamError},
        jid::Jid,
        ns,
        stanza::{Chunk, Kind, Stanza, Type},
    },
};

/// What is to be done after the current handler ends, in order.
#[derive(Debug)]
pub enum Work {
    /// A stanza that the server made enters this leg.
    Route(Leg, Stanza),
    /// Services hear of it.
    Notice(Notice),
    /// A session ends: its stream gets this error (`None`: a farewell), its unacknowledged stanzas find another way.
    End(SessionId, Option<StreamError>),
    /// Streams that have signed in to this account, or are about to, and have no session yet, get this error.
    Distrust(Jid, StreamError),
}

/// Everything that services share: settings, facts, and the queues of this turn.
#[derive(Debug)]
pub struct Core {
    /// Settings.
    pub config: Rc<Config>,
    /// Who is bound.
    pub sessions: Sessions,
    /// Writes not yet in the database.
    pub overlay: Overlay,
    /// What the world has to do, in order.
    pub effects: Vec<Effect>,
    /// What is left to do in this turn.
    pub work: Agenda,
    /// Every service's card.
    pub cards: Vec<&'static Card>,
    /// What services disclose beyond their cards: where, of which domain, what.
    pub disclosed: Vec<(Scope, String, Element)>,
    /// Services that answer disco requests for nodes.
    pub discloses: Vec<Discloses>,
    /// What services do while a session is bound.
    pub at_bind: Vec<AtBind>,
    /// What of it is announced: the elements `<feature/>` of XEP-0386 §3.1, serialised.
    pub bind_features: Vec<u8>,
    /// Host names that services own.
    pub hosts: BTreeMap<String, Host>,
    /// The batch that the writes of now will be part of.
    pub open_batch: u64,
    /// All batches up to this one are durable.
    pub committed: u64,
    /// Sessions to ask for an acknowledgement when the round is over.
    pub ask: Vec<SessionId>,
    /// Sessions whose gate holds something.
    pub gated: Vec<SessionId>,
    /// What was promised with writes that are not durable yet, each with its batch; broken if the disk refuses.
    pub promises: VecDeque<(u64, Promise)>,
    /// Sessions with messages that wait, to be served when the round is over.
    pub backlogs: Vec<SessionId>,
    /// Streams whose outbox is full, each with the streams that are paused because of it.
    pub stuck: BTreeMap<StreamId, Stuck>,
    /// The stream whose bytes are being handled.
    pub current: Option<StreamId>,
    /// Messages given to streams without stream management: forgotten once their batch is durable.
    pub handed_over: VecDeque<(u64, AccountId, MessageId)>,
    /// What waits for accounts that are absent.
    pub tallies: Tallies,
    /// Counters for `status`.
    pub counters: Counters,
    /// When the server started, seconds since 1970.
    pub started_s: u64,
    /// Some service has put work off: [`Notice::Chores`] comes in a moment.
    pub chores: bool,
    /// The same at a time that is further away.
    pub chores_at: Option<Time>,
    /// Makes the ids of archives.
    pub seal: Seal,
    features: BTreeMap<Box<str>, Vec<u8>>,
    pub(crate) last_message: u64,
    /// Message numbers up to this are reserved in the store; 0: unknown.
    pub(crate) message_ceiling: u64,
    pub(crate) next_query: u64,
}

/// A host name that a service owns, beside a domain.
#[derive(Clone, Debug)]
pub struct Host {
    /// Which service, by its place in the registry.
    pub service: usize,
    /// Its card.
    pub card: &'static Card,
    /// Beside which domain.
    pub domain: String,
}

/// What somebody was, or will be, told on the strength of a write.
#[derive(Clone, Debug)]
pub enum Promise {
    /// A stanza was taken in and will be counted as handled.
    Stanza(Stanza),
    /// An IQ will be answered with a result.
    Answer(SessionId, Origin),
}

/// A stream whose outbox is full.
#[derive(Clone, Debug)]
pub struct Stuck {
    /// Whether its writers are still held back.
    pub holds_back: bool,
    /// Streams that are paused because of it.
    pub held: Vec<StreamId>,
}

/// Counted since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Stanzas taken in.
    pub stanzas: u64,
    /// Messages given to a session or stored.
    pub messages: u64,
    /// Streams accepted.
    pub streams: u64,
    /// Successful sign-ins.
    pub sign_ins: u64,
    /// Failed sign-ins.
    pub failures: u64,
    /// Turns that panicked and were discarded.
    pub panics: u64,
    /// Batches handed over to be made durable; each costs one flush of the medium.
    pub commits: u64,
    /// Bytes in these batches.
    pub commit_bytes: u64,
}

/// The turn as a service sees it.
pub struct Ctx<'a> {
    /// Shared state.
    pub core: &'a mut Core,
    /// For deadlines.
    pub now: Time,
    /// Microseconds since 1970.
    pub wall_us: u64,
    /// The database.
    pub view: &'a dyn View,
    /// Randomness.
    pub entropy: &'a mut dyn Entropy,
}

impl Ctx<'_> {
    /// The store, with all writes up to now.
    pub fn store(&mut self) -> Store<'_> {
        Store { overlay: &mut self.core.overlay, view: self.view }
    }

    /// Settings.
    pub fn config(&self) -> &Config {
        &self.core.config
    }

    /// Who is bound.
    pub fn sessions(&self) -> &Sessions {
        &self.core.sessions
    }

    /// Seconds since 1970.
    pub fn wall_s(&self) -> u64 {
        self.wall_us / 1_000_000
    }

    /// Random bytes, fit for secrets.
    pub fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// A random name of 128 bits, in hexadecimal.
    pub fn token(&mut self) -> String {
        use std::fmt::Write;
        self.random::<16>().iter().fold(String::with_capacity(32), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
    }

    /// A message number that was never used; grows with time also if the clock goes back.
    pub fn message_id(&mut self) -> MessageId {
        self.core.last_message = self.wall_us.max(self.core.last_message + 1);
        MessageId(self.core.last_message)
    }

    /// A message number for something that is stored: it will not be used again after a restart either.
    pub fn stored_message_id(&mut self) -> MessageId {
        let id = self.message_id();
        if id.0 >= self.core.message_ceiling {
            let ceiling = id.0 + limits::MESSAGE_CEILING_US;
            self.core.message_ceiling = ceiling;
            waiting::raise_ceiling(&mut self.store(), ceiling);
        }
        id
    }

    /// Tells the readers of a message by which id their archive knows it, XEP-0313 §3.3.
    pub fn stanza_id(&self, owner: AccountId, bare: &str, message: MessageId) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(b"<stanza-id xmlns='urn:xmpp:sid:0'");
        build::attr("id", &self.core.seal.id(owner, message), &mut out);
        build::attr("by", bare, &mut out);
        out.extend_from_slice(b"/>");
        out
    }

    /// Lets [`Notice::Chores`] come at this time; perhaps earlier, and more than once.
    pub fn chores_at(&mut self, at: Time) {
        self.core.chores_at = Some(self.core.chores_at.map_or(at, |other| other.min(at)));
    }

    /// Sends a stanza that the server made through this leg and what follows it.
    pub fn send(&mut self, leg: Leg, stanza: Stanza) {
        self.core.work.push(Work::Route(leg, stanza));
    }

    /// Tells all services, after the current handler.
    pub fn notice(&mut self, notice: Notice) {
        self.core.work.push(Work::Notice(notice));
    }

    /// Ends a session with a stream error, after the current handler.
    pub fn end(&mut self, session: SessionId, error: StreamError) {
        self.core.work.push(Work::End(session, Some(error)));
    }

    /// Ends every sign-in to an account that has not led to a session yet: what it was proved by counts no more. After
    /// the current handler.
    pub fn distrust(&mut self, account: &Jid, error: StreamError) {
        self.core.work.push(Work::Distrust(account.bare(), error));
    }

    /// Gives a stanza to one session, as it stands.
    pub fn deliver(&mut self, session: SessionId, stanza: &Stanza, keep: Keep) {
        self.core.deliver(session, stanza.chunk(), keep);
    }

    /// Gives a server-made stanza to one session; `to` becomes its full address.
    pub fn push(&mut self, session: SessionId, from: Jid, element: &Element) {
        let Some(to) = self.core.sessions.session(session).map(|s| s.jid.clone()) else { return };
        let chunk = Stanza::build(element, from, Some(to)).chunk();
        self.core.deliver(session, chunk, Keep::Nothing);
    }

    /// Shows `viewer` the presence of all of `owner`'s available sessions (RFC 6121 §3.1.5).
    pub fn show_presence(&mut self, owner: &Jid, viewer: &Jid) {
        let sessions = self.core.sessions.of(owner.bare_str());
        let shown: Vec<_> = sessions.filter_map(|(_, s)| Some(s.presence.as_ref()?.stanza.clone())).collect();
        for stanza in shown {
            self.send(Leg::Inbound, stanza.readdressed(Some(viewer.clone())));
        }
    }

    /// Shows `viewer` that all of `owner`'s available sessions are gone (RFC 6121 §3.2.2).
    pub fn hide_presence(&mut self, owner: &Jid, viewer: &Jid) {
        let sessions = self.core.sessions.of(owner.bare_str()).filter(|(_, s)| s.presence.is_some());
        let hidden: Vec<_> = sessions.map(|(_, s)| s.jid.clone()).collect();
        let unavailable = Element::new("presence", ns::CLIENT).attr("type", "unavailable");
        for jid in hidden {
            self.send(Leg::Inbound, Stanza::build(&unavailable, jid, Some(viewer.clone())));
        }
    }

    /// Answers an IQ whose handler said [`Reply::Later`].
    pub fn answer(&mut self, origin: &Origin, outcome: Result<Reply, StanzaError>) {
        let waits = self.core.overlay.has_open();
        self.core.answer(origin, outcome, waits);
    }

    /// Derives credentials from a prepared password; [`Notice::Derived`] answers.
    pub fn derive(&mut self, password: Zeroizing<String>) -> QueryId {
        let query = self.core.query();
        self.core.effects.push(Effect::Derive(query, password));
        query
    }

    /// Writes a copy of the store to a file; [`Notice::BackedUp`] answers.
    pub fn backup(&mut self, file: PathBuf) -> QueryId {
        let query = self.core.query();
        self.core.effects.push(Effect::Backup(query, file));
        query
    }

    /// Lets the publish-subscribe service change a node of an account as if the account had asked for it: with its limits,
    /// notifications and [`Notice::NodeChanged`]. After the current handler; what cannot be done is left, and logged.
    pub fn change_node(&mut self, account: AccountId, node: &str, change: ChangeNode) {
        self.notice(Notice::ChangeNode(account, node.into(), Rc::new(change)));
    }

    /// The number of a local account, online or not.
    pub fn account(&mut self, jid: &Jid) -> Option<AccountId> {
        match self.core.sessions.online(jid.bare_str()) {
            Some(online) => Some(online.account),
            None => accounts::find(&self.store(), jid).map(|account| account.id),
        }
    }

    /// Whether the address is one of the domains served here.
    pub fn is_local(&self, jid: &Jid) -> bool {
        self.core.config.serves(jid.domain())
    }

    /// Whether `owner` blocks `other` (XEP-0191).
    /// Nobody can block themselves (XEP-0191 §4) or the server that speaks to them in its own name.
    pub fn blocks(&mut self, owner: &Jid, other: &Jid) -> bool {
        if owner.bare_str() == other.bare_str() || (other.local().is_none() && self.is_local(other)) {
            return false;
        }
        let account = match self.core.sessions.online(owner.bare_str()) {
            Some(online) if !online.lists.blocks => return false,
            Some(online) => online.account,
            None => match accounts::find(&self.store(), owner) {
                Some(account) => account.id,
                None => return false,
            },
        };
        blocks::blocks(&self.store(), account, other)
    }

    /// Whether the account shows its presence to this address: its roster says `from` or `both`.
    pub fn shows_presence(&mut self, account: AccountId, to: &Jid) -> bool {
        roster::item(&self.store(), account, to.bare_str()).is_some_and(|item| item.state.from)
    }

    /// Whether a message that nobody takes now may wait for this account.
    pub fn has_room_to_wait(&mut self, account: AccountId, stanza: &Stanza) -> bool {
        let rows_max = self.core.config.limits.offline_messages;
        let store = Store { overlay: &mut self.core.overlay, view: self.view };
        self.core.tallies.admits(&store, account, stanza.source_len(), rows_max, self.now)
    }

    /// Whether this address may administer the server: named in the configuration with its whole bare address, made an
    /// admin, or the command line (S17b).
    pub fn is_admin(&mut self, jid: &Jid) -> bool {
        if !self.is_local(jid) {
            return false;
        }
        if jid.local().is_none() {
            return self.core.local_session(jid).is_some();
        }
        self.core.config.admins.iter().any(|admin| admin == jid.bare_str())
            || accounts::find(&self.store(), jid).is_some_and(|account| account.is_admin)
    }
}

impl Core {
    /// Nobody is bound and nothing is left to do.
    pub fn new(config: Rc<Config>, started_s: u64) -> Core {
        Core {
            config,
            sessions: Sessions::default(),
            overlay: Overlay::default(),
            effects: Vec::new(),
            work: Agenda::default(),
            cards: Vec::new(),
            disclosed: Vec::new(),
            discloses: Vec::new(),
            at_bind: Vec::new(),
            bind_features: Vec::new(),
            hosts: BTreeMap::new(),
            open_batch: 1,
            committed: 0,
            ask: Vec::new(),
            gated: Vec::new(),
            promises: VecDeque::new(),
            backlogs: Vec::new(),
            stuck: BTreeMap::new(),
            current: None,
            handed_over: VecDeque::new(),
            tallies: Tallies::default(),
            counters: Counters::default(),
            started_s,
            chores: false,
            chores_at: None,
            seal: Seal::new(&[]),
            features: BTreeMap::new(),
            last_message: 0,
            message_ceiling: 0,
            next_query: 0,
        }
    }

    /// Writes down what services say about themselves; again when the settings change.
    pub fn introduce(&mut self, services: &[Box<dyn Service>]) {
        let config = self.config.clone();
        self.cards = services.iter().map(|service| service.card()).collect();
        self.discloses = services.iter().filter_map(|service| service.discloses()).collect();
        self.at_bind = services.iter().filter_map(|service| service.at_bind()).collect();
        // XEP-0198 §9.1: stream management is the server's own.
        let features = self.at_bind.iter().filter(|at| at.is_feature).map(|at| at.ns).chain([ns::SM]);
        self.bind_features.clear();
        for var in features {
            self.bind_features.extend_from_slice(b"<feature");
            build::attr("var", var, &mut self.bind_features);
            self.bind_features.extend_from_slice(b"/>");
        }
        self.disclosed.clear();
        self.hosts.clear();
        for (service, domain) in
            config.domains.iter().flat_map(|domain| (0..services.len()).map(move |at| (at, domain)))
        {
            let Some(name) = services[service].host(domain, &config) else { continue };
            let elements = services[service].disco(Scope::Hosted, &name, &config);
            self.disclosed.extend(elements.into_iter().map(|element| (Scope::Hosted, name.clone(), element)));
            self.hosts.insert(name, Host { service, card: services[service].card(), domain: domain.clone() });
        }
        for domain in &config.domains {
            for scope in [Scope::Host, Scope::Own] {
                let elements = services.iter().flat_map(|service| service.disco(scope, domain, &config));
                self.disclosed.extend(elements.map(|element| (scope, domain.clone(), element)));
            }
        }
        for domain in &config.domains {
            let fixed = self.cards.iter().flat_map(|card| card.stream_features).copied();
            let mut out = fixed.collect::<String>().into_bytes();
            for feature in services.iter().filter_map(|service| service.stream_feature(self, domain)) {
                feature.write(ns::CLIENT, &mut out);
            }
            self.features.insert(domain.as_str().into(), out);
        }
    }

    /// Stream features of the services after sign-in, serialised.
    pub fn stream_features(&self, domain: &str) -> &[u8] {
        self.features.get(domain).map(Vec::as_slice).unwrap_or_default()
    }

    /// A new question to the world outside.
    pub fn query(&mut self) -> QueryId {
        self.next_query += 1;
        QueryId(self.next_query)
    }

    /// The command line's session with this address, `domain/resource`.
    pub fn local_session(&self, jid: &Jid) -> Option<SessionId> {
        self.sessions.all().find(|(_, session)| session.is_local && session.jid == *jid).map(|(id, _)| id)
    }

    /// Whether someone of this bare address is bound from there; for `status`.
    pub fn peer_of(&self, session: SessionId) -> Option<IpAddr> {
        self.sessions.session(session)?.peer
    }

    /// Appends to a stream's outbox.
    pub fn write(&mut self, stream: StreamId, chunk: Chunk) {
        self.effects.push(Effect::Write(stream, chunk));
    }

    /// Gives bytes of one stanza to a session, behind whatever waits for the disk.
    pub fn deliver(&mut self, id: SessionId, chunk: Chunk, keep: Keep) {
        let Some(session) = self.sessions.session_mut(id) else { return };
        if let Some(held) = &mut session.held {
            match urgency(&chunk) {
                Urgency::Later(about) => {
                    if !held.push(about, chunk, keep) {
                        self.release(id);
                    }
                    return;
                }
                Urgency::Now => self.release(id),
            }
        }
        self.pass_on(id, chunk, keep);
    }

    fn pass_on(&mut self, id: SessionId, chunk: Chunk, keep: Keep) {
        let Some(session) = self.sessions.session_mut(id) else { return };
        if session.gate.is_empty() {
            self.emit(id, chunk, keep);
        } else {
            session.gate.push_back((0, chunk, keep));
        }
    }

    /// Nobody looks at a session's client from now on: what can wait is held back (XEP-0352).
    pub fn hold_back_from(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.session_mut(id) {
            session.held.get_or_insert_default();
        }
    }

    /// A session's client is looked at: it gets what was held back, and everything else as it comes.
    pub fn hold_nothing_back_from(&mut self, id: SessionId) {
        self.release(id);
        if let Some(session) = self.sessions.session_mut(id) {
            session.held = None;
        }
    }

    /// Lets everything out that was held back, in order.
    fn release(&mut self, id: SessionId) {
        let held = self.sessions.session_mut(id).and_then(|session| session.held.as_mut()).map(|held| held.take());
        for (chunk, keep) in held.into_iter().flatten() {
            self.pass_on(id, chunk, keep);
        }
    }

    /// Gives bytes to a session once this batch is durable, and everything later behind them.
    pub fn deliver_after(&mut self, id: SessionId, batch: u64, chunk: Chunk, keep: Keep) {
        self.release(id);
        let Some(session) = self.sessions.session_mut(id) else { return };
        session.gate.push_back((batch, chunk, keep));
        if !self.gated.contains(&id) {
            self.gated.push(id);
        }
    }

    /// The last batch with writes that somebody waits for: with nothing open, the last one that was closed.
    pub fn last_batch(&self) -> u64 {
        if self.overlay.has_open() { self.open_batch } else { self.open_batch - 1 }
    }

    /// A session has room again for messages that wait.
    pub fn backlog_moves(&mut self, id: SessionId) {
        if self.sessions.session(id).is_some_and(|session| session.backlog.is_some()) {
            self.backlogs.push(id);
        }
    }

    /// Lets through what waited for batches that are durable now.
    pub fn open_gates(&mut self) {
        let mut gated = std::mem::take(&mut self.gated);
        gated.retain(|id| {
            while let Some(session) = self.sessions.session_mut(*id) {
                match session.gate.front() {
                    Some((batch, ..)) if *batch > self.committed => return true,
                    None if session.ending.as_ref().is_some_and(|ending| ending.batch > self.committed) => return true,
                    None => {
                        if let Some(ending) = session.ending.take() {
                            self.work.push(Work::End(*id, ending.error));
                        }
                        return false;
                    }
                    Some(_) => {
                        if let Some((_, chunk, keep)) = session.gate.pop_front() {
                            self.emit(*id, chunk, keep);
                        }
                    }
                }
            }
            false
        });
        self.gated.append(&mut gated);
    }

    fn emit(&mut self, id: SessionId, chunk: Chunk, keep: Keep) {
        let batch = self.last_batch();
        let Some(session) = self.sessions.session_mut(id) else { return };
        let stream = session.stream;
        if let Some(sm) = &mut session.sm {
            let fits = sm.sent(chunk.clone(), keep);
            if stream.is_some() && sm.wants_to_ask() {
                self.ask.push(id);
            }
            if !fits {
                let error = StreamError::new(crate::wire::error::StreamCondition::ResourceConstraint)
                    .text("Too many stanzas without acknowledgement.");
                self.work.push(Work::End(id, Some(error)));
            }
        } else if let Keep::Message(message) = keep {
            self.handed_over.push_back((batch, session.account, message));
        }
        if let Some(stream) = stream {
            self.effects.push(Effect::Write(stream, chunk));
            self.hold_back(stream);
        }
    }

    /// Whoever fills an outbox that is full already has to wait a moment (bounded, see `limits::HELD_BACK_MS_MAX`).
    fn hold_back(&mut self, stream: StreamId) {
        if let (Some(stuck), Some(current)) = (self.stuck.get_mut(&stream), self.current)
            && stuck.holds_back
            && !stuck.held.contains(&current)
        {
            stuck.held.push(current);
            self.effects.push(Effect::Pause(current));
        }
    }

    /// Sends the one answer to an IQ. `waits`: it tells of writes that are not durable yet.
    pub fn answer(&mut self, origin: &Origin, outcome: Result<Reply, StanzaError>, waits: bool) {
        let (ty, payload) = match outcome {
            Ok(Reply::Later) => return,
            Ok(Reply::Empty) => ("result", None),
            Ok(Reply::Result(element)) => ("result", Some(element.to_vec())),
            Ok(Reply::Serialised(bytes)) => ("result", Some(bytes)),
            Err(error) => ("error", Some(error.element().to_vec())),
        };
        let Some(session) = self.session_at(&origin.from) else { return self.answer_house(origin, ty, payload) };
        let mut out = Vec::with_capacity(256);
        open_tag(Kind::Iq, ty, origin, &mut out);
        match payload {
            Some(payload) => {
                out.push(b'>');
                out.extend_from_slice(&payload);
                out.extend_from_slice(b"</iq>");
            }
            None => out.extend_from_slice(b"/>"),
        }
        let chunk = Chunk::new(out);
        let batch = self.last_batch();
        if waits && batch > self.committed {
            self.promises.push_back((batch, Promise::Answer(session, origin.clone())));
            self.deliver_after(session, batch, chunk, Keep::Nothing);
        } else {
            self.deliver(session, chunk, Keep::Nothing);
        }
    }

    /// The answer of one service to another one that asked in the name of an account: it goes to whoever of them looks at
    /// answers (`Kind::Iq`, `Leg::Inbound`, `Phase::Deliver`), as if it had come from elsewhere.
    fn answer_house(&mut self, origin: &Origin, ty: &'static str, payload: Option<Vec<u8>>) {
        let Some(to) = origin.to.clone().filter(|_| origin.from.is_bare() && self.config.serves(origin.from.domain()))
        else {
            return;
        };
        let payload = payload.and_then(|payload| Element::parse(&payload, ns::CLIENT).ok());
        let id = crate::wire::framer::unescape(&origin.id).into_owned();
        let iq = Element::new("iq", ns::CLIENT).attr("type", ty).attr("id", id).with(payload);
        self.work.push(Work::Route(Leg::Inbound, Stanza::build(&iq, to, Some(origin.from.clone()))));
    }

    /// Returns a stanza to its sender with an error; never an error for an error or a result (RFC 6120 §8.3.1).
    pub fn bounce(&mut self, stanza: &Stanza, error: &StanzaError) {
        if matches!(stanza.ty, Type::Error | Type::Result) {
            return;
        }
        if stanza.kind == Kind::Iq {
            log::debug!("{}", Refusal(stanza, error));
        }
        // What its sender's other devices and archive know of it, they shall know whole.
        if stanza.kind == Kind::Message && self.sessions.full(&stanza.from).is_some() {
            self.work.push(Work::Notice(Notice::Bounced(Box::new(stanza.clone()), error.clone())));
        }
        let origin =
            Origin { from: stanza.from.clone(), to: stanza.to.clone(), id: stanza.id_raw().unwrap_or_default().into() };
        let mut out = Vec::with_capacity(256);
        open_tag(stanza.kind, "error", &origin, &mut out);
        out.push(b'>');
        error.element().write(ns::CLIENT, &mut out);
        out.extend_from_slice(b"</");
        out.extend_from_slice(stanza.kind.as_str().as_bytes());
        out.push(b'>');
        // A bare sender (presence subscriptions) is answered at all its sessions that could have asked. A request from there
        // is the server's own; that nobody got it tells its service nothing about who was to get it.
        let chunk = Chunk::new(out);
        if let Some(session) = self.session_at(&stanza.from) {
            self.deliver(session, chunk, Keep::Nothing);
        } else if stanza.from.is_bare() && stanza.kind != Kind::Iq {
            let ids: Vec<_> = self.sessions.of(stanza.from.as_str()).map(|(id, _)| id).collect();
            for id in ids {
                self.deliver(id, chunk.clone(), Keep::Nothing);
            }
        }
    }

    /// The session with this full address, the command line's included.
    pub fn session_at(&self, jid: &Jid) -> Option<SessionId> {
        match self.sessions.full(jid) {
            Some((id, _)) => Some(id),
            None => self.local_session(jid),
        }
    }
}

/// Writes `<kind type='…' from='…' to='…' id='…'`; the id is already escaped for one kind of quote, so the other is
/// escaped here.
fn open_tag(kind: Kind, ty: &str, origin: &Origin, out: &mut Vec<u8>) {
    out.push(b'<');
    out.extend_from_slice(kind.as_str().as_bytes());
    out.extend_from_slice(b" type='");
    out.extend_from_slice(ty.as_bytes());
    out.push(b'\'');
    if let Some(to) = &origin.to {
        build::attr("from", to.as_str(), out);
    }
    build::attr("to", origin.from.as_str(), out);
    if !origin.id.is_empty() {
        out.extend_from_slice(b" id='");
        for part in origin.id.split_inclusive('\'') {
            match part.strip_suffix('\'') {
                Some(before) => {
                    out.extend_from_slice(before.as_bytes());
                    out.extend_from_slice(b"&apos;");
                }
                None => out.extend_from_slice(part.as_bytes()),
            }
        }
        out.push(b'\'');
    }
}

/// The answer to an IQ that nobody handles, RFC 6120 §8.4 and RFC 6121 §8.5.2.1.3.
pub const UNHANDLED: StanzaError = StanzaError::new(Condition::ServiceUnavailable);
