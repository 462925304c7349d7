//! What all services share: settings, facts, and the queues of a turn; and what they say about themselves.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    rc::Rc,
};

use super::{
    agenda::Agenda,
    event::Effect,
    newcomers::Newcomers,
    service::{AtBind, Card, Discloses, Leg, Notice, Origin, Scope, Service},
    web::Reply,
};
use crate::{
    config::Config,
    domain::{
        away::Away,
        components::Components,
        delegations::Delegations,
        ids::{AccountId, MessageId, QueryId, Seal, SessionId, StreamId, Time},
        overlay::Overlay,
        peers::Peers,
        sessions::Sessions,
        waiting::Tallies,
    },
    wire::{build, element::Element, error::StreamError, jid::Jid, ns, stanza::Stanza},
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
    pub disclosed: Vec<Disclosed>,
    /// Services that answer disco requests for nodes, with their cards.
    pub discloses: Vec<(&'static Card, Discloses)>,
    /// Features that hold only while requests of a namespace are answered here: feature, namespace.
    pub leaning: Vec<(&'static str, &'static str)>,
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
    /// Answers to requests of the web door that wait for the disk.
    pub replies: VecDeque<Reply>,
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
    /// What clients elsewhere want to hear of.
    pub away: Away,
    /// Links to other domains.
    pub peers: Peers,
    /// Components that are connected.
    pub components: Components,
    /// What they answer in place of this server.
    pub delegations: Delegations,
    /// Answers to requests from elsewhere that wait for the disk, each with its batch and what was asked.
    pub answers_out: VecDeque<(u64, Origin, Stanza)>,
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
    /// Accounts that strangers make.
    pub newcomers: Newcomers,
    features: BTreeMap<Box<str>, Vec<u8>>,
    pub(crate) last_message: u64,
    /// Message numbers up to this are reserved in the store; 0: unknown.
    pub(crate) message_ceiling: u64,
    pub(crate) next_query: u64,
}

/// What a service discloses of itself.
#[derive(Clone, Debug)]
pub struct Disclosed {
    /// Where.
    pub scope: Scope,
    /// Of which domain of ours, or host name of a service.
    pub domain: String,
    /// Whose it is.
    pub card: &'static Card,
    /// An identity, a feature, an item or a form.
    pub element: Element,
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
            leaning: Vec::new(),
            at_bind: Vec::new(),
            bind_features: Vec::new(),
            hosts: BTreeMap::new(),
            open_batch: 1,
            committed: 0,
            ask: Vec::new(),
            gated: Vec::new(),
            promises: VecDeque::new(),
            replies: VecDeque::new(),
            backlogs: Vec::new(),
            stuck: BTreeMap::new(),
            current: None,
            handed_over: VecDeque::new(),
            tallies: Tallies::default(),
            away: Away::default(),
            peers: Peers::default(),
            components: Components::default(),
            delegations: Delegations::default(),
            answers_out: VecDeque::new(),
            counters: Counters::default(),
            started_s,
            chores: false,
            chores_at: None,
            seal: Seal::new(&[]),
            newcomers: Newcomers::default(),
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
        self.discloses = services.iter().filter_map(|service| Some((service.card(), service.discloses()?))).collect();
        self.leaning = services.iter().flat_map(|service| service.leans_on()).copied().collect();
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
            self.disclose(&*services[service], Scope::Hosted, &name);
            self.hosts.insert(name, Host { service, card: services[service].card(), domain: domain.clone() });
        }
        for domain in &config.domains {
            for scope in [Scope::Host, Scope::Own] {
                services.iter().for_each(|service| self.disclose(&**service, scope, domain));
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

    fn disclose(&mut self, service: &dyn Service, scope: Scope, domain: &str) {
        let elements = service.disco(scope, domain, &self.config);
        let card = service.card();
        self.disclosed.extend(elements.into_iter().map(|element| Disclosed {
            scope,
            domain: domain.to_owned(),
            card,
            element,
        }));
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

    /// The session with this full address, the command line's included.
    pub fn session_at(&self, jid: &Jid) -> Option<SessionId> {
        match self.sessions.full(jid) {
            Some((id, _)) => Some(id),
            None => self.local_session(jid),
        }
    }
}
