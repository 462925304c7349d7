//! Floor 6: the one owner. [`Server::turn`] takes an event and tells what is to be done about it.
//!
//! | file | what it holds |
//! |---|---|
//! | `streams.rs` | the table of connections, closing, back-pressure |
//! | `negotiate.rs` | from the stream header to sign-in |
//! | `sign_in.rs` | the handshake of SASL and SASL2 |
//! | `token.rs`, `upgrade.rs` | tokens instead of passwords; keys of the newer hash from a sign-in |
//! | `instant.rs` | from the proof of SASL2 to a session, in one answer |
//! | `bind.rs`, `manage.rs`, `resume.rs`, `ending.rs` | a session's beginning, stream management, return and end |
//! | `bound.rs` | stanzas and acknowledgements of a bound session |
//! | `components.rs` | streams of components |
//! | `peers/` | streams to and from other servers |
//! | `durable.rs` | batches, gates, what waits for the disk |
//! | `timers.rs`, `throttle.rs`, `pace.rs` | deadlines; failed sign-ins; how much a stream may send in a second |

mod bind;
mod bound;
mod components;
mod durable;
mod ending;
mod instant;
mod manage;
mod negotiate;
mod pace;
mod peers;
mod resume;
mod sign_in;
mod streams;
mod throttle;
mod timers;
mod token;
mod upgrade;

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    vec::Drain,
};

use crate::{
    config::Config,
    domain::{
        ids::{Seal, SessionId},
        keys,
        store::Store,
        waiting,
    },
    limits,
    proto::sm::Sm,
    router::{
        context::Ctx,
        core::{Core, Work},
        event::{Effect, Env, Event, Time},
        lifecycle::Invited,
        route::Router,
        service::Notice,
    },
    services,
    wire::{error::StreamCondition, stanza::Outline},
};

/// All protocol state. Owns no socket, reads no clock.
pub struct Server {
    core: Core,
    router: Router,
    streams: streams::Streams,
    timers: timers::Timers,
    throttle: throttle::Throttle,
    /// Failed handshakes of components, by domain: one that is set up wrong does not keep the others of its machine out.
    handshakes: BTreeMap<Rc<str>, throttle::Throttle>,
    pacing: pace::Pacing,
    durable: durable::Durable,
    questions: negotiate::Questions,
    gone: resume::Gone,
    chatter: throttle::Chatter,
    peering: peers::Peering,
    outline: Outline,
    /// Key of the fake credentials that unknown users meet (S12).
    secret: [u8; 32],
    before: Before,
    stops: bool,
}

/// What stood in queues when the turn began: behind it stands what a discarded turn has promised.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    handed_over: usize,
    answers_out: usize,
    replies: usize,
}

impl Server {
    /// A server with nobody connected, over the store that `env` shows.
    pub fn new(config: Rc<Config>, env: &mut Env<'_>) -> Server {
        let router = Router::new(services::all());
        let mut core = Core::new(config, env.wall_us / 1_000_000);
        core.introduce(router.services());
        let secret = server_secret(&mut core, env);
        core.seal = Seal::new(&secret);
        core.last_message = waiting::ceiling(&Store { overlay: &mut core.overlay, view: env.view });
        peers::start(&mut core, env);
        Server {
            core,
            router,
            streams: streams::Streams::default(),
            timers: timers::Timers::default(),
            throttle: throttle::Throttle::default(),
            handshakes: BTreeMap::new(),
            pacing: pace::Pacing::default(),
            durable: durable::Durable::default(),
            questions: negotiate::Questions::default(),
            gone: resume::Gone::default(),
            chatter: throttle::Chatter::default(),
            peering: peers::Peering::new(env.entropy),
            outline: Outline::default(),
            secret,
            before: Before::default(),
            stops: false,
        }
    }

    /// One thing happens; what is to be done about it comes back, in order.
    #[must_use]
    pub fn turn(&mut self, env: &mut Env<'_>, event: Event<'_>) -> Drain<'_, Effect> {
        self.begin();
        match event {
            Event::Opened(id, door) => self.opened(env, id, door),
            Event::Secured(id, secured) => self.secured(env, id, secured),
            Event::Received(id, bytes) => self.received(env, id, bytes),
            Event::Stuck(id) => self.stuck(env, id),
            Event::Drained(id) => {
                self.drained(id);
                self.peer_drained(id);
            }
            Event::Closed(id) => self.closed(env, id),
            Event::Committed(batch) => self.committed(env, batch),
            Event::Refused(batch, error) => self.refused(env, batch, error),
            Event::Flushed(outcome) => self.flushed(outcome),
            Event::Derived(query, credentials) => self.derived(env, query, credentials),
            Event::Verified(query, matches) => self.password_verified(env, query, matches),
            Event::DialFailed(query, error) => self.dial_failed(env, query, &error),
            Event::BackedUp(query, outcome) => self.notice(env, &Notice::BackedUp(query, outcome)),
            Event::Reloaded(config) => {
                self.core.config = config;
                self.core.introduce(self.router.services());
                self.peers_reloaded(env);
                self.components_reloaded(env);
                self.notice(env, &Notice::Reloaded);
            }
            Event::Asked(id, request) => self.router.web(id, &request, &mut context(&mut self.core, env)),
            Event::Taken(id, outcome) => self.notice(env, &Notice::Taken(id, outcome)),
            Event::Found(files) => self.notice(env, &Notice::FilesFound(files.into())),
            Event::Shutdown => self.shut_down(env),
            Event::Tick => self.tick(env),
        }
        self.work(env);
        self.core.current = None;
        self.core.effects.drain(..)
    }

    /// The driver's round is over: what was written in its turns becomes one batch.
    #[must_use]
    pub fn settle(&mut self, env: &mut Env<'_>) -> Drain<'_, Effect> {
        self.begin();
        crate::router::backlog::serve(&mut context(&mut self.core, env));
        // What was on its way when the server stopped is due without any event.
        self.work(env);
        self.ask_for_acks(env.now);
        self.forget_handed_over(env);
        self.forget_sent(env);
        if std::mem::take(&mut self.core.chores) {
            self.timers.set(env.now.plus_ms(limits::CHORES_MS), timers::Alarm::Chores);
        }
        if let Some(at) = self.core.chores_at.take() {
            self.timers.set(at.max(env.now), timers::Alarm::Chores);
        }
        self.commit(env);
        self.core.effects.drain(..)
    }

    /// When to send `Event::Tick`; `None`: nothing is due, ever.
    pub fn deadline(&self) -> Option<Time> {
        self.timers.first()
    }

    /// Who runs in which phase, as `lampone plan` prints it.
    pub fn plan() -> String {
        Router::new(services::all()).plan()
    }

    /// An invitation for the first administrator, if nobody has an account yet.
    pub fn first_invitation(&mut self, env: &mut Env<'_>) -> Option<Invited> {
        services::registration::first_invitation(&mut context(&mut self.core, env))
    }

    /// Asserts every invariant that spans tables.
    pub fn check(&self) {
        self.core.sessions.check();
        self.streams.check(&self.core.sessions);
        self.core.peers.check();
        self.core.components.check();
        self.core.delegations.check();
        let components = self.core.components.all().map(|(_, id)| id);
        assert!(components.into_iter().all(|id| self.is_component(id)), "only open streams speak for components");
        for (_, session) in self.core.sessions.all() {
            if let Some(sm) = &session.sm {
                assert!(
                    sm.unacked_len() <= limits::SM_QUEUE_MAX,
                    "{}: unacknowledged stanzas are bounded",
                    session.jid
                );
            }
            let own = self.core.sessions.of(session.jid.bare_str());
            let (waiting, bound): (Vec<_>, Vec<_>) = own.partition(|(_, session)| session.stream.is_none());
            assert!(waiting.len() <= limits::HIBERNATIONS_PER_ACCOUNT_MAX, "{}: hibernations are few", session.jid);
            assert!(bound.len() <= limits::SESSIONS_PER_ACCOUNT_MAX, "{}: sessions are few", session.jid);
        }
        assert!(self.core.stuck.keys().all(|id| self.streams.slot(*id).is_some()), "only open streams are stuck");
        assert!(self.core.backlogs.len() <= 2 * self.core.sessions.len() + 64, "backlogs belong to sessions");
    }

    /// Notes what there is to go back to.
    fn begin(&mut self) {
        let core = &mut self.core;
        core.overlay.mark();
        let (handed_over, answers_out) = (core.handed_over.len(), core.answers_out.len());
        self.before = Before { handed_over, answers_out, replies: core.replies.len() };
    }

    /// The turn that was begun went wrong inside: forget its effects and what it wrote, close the stream that caused it
    /// without resumption. The driver calls it after a panic, then [`Server::check`].
    #[must_use]
    pub fn discard_turn(&mut self, env: &mut Env<'_>) -> Drain<'_, Effect> {
        let core = &mut self.core;
        // A batch that is closed is the committer's: it holds what other turns wrote.
        core.effects.retain(|effect| matches!(effect, Effect::Commit(..) | Effect::Flush(_)));
        core.work.clear();
        core.overlay.rewind();
        // The number may have been reserved by what is taken back.
        core.message_ceiling = 0;
        core.handed_over.truncate(self.before.handed_over);
        core.answers_out.truncate(self.before.answers_out);
        core.replies_discarded(self.before.replies);
        core.counters.panics += 1;
        self.relearn(env);
        self.turn_strays_out(env);
        if let Some(stream) = self.core.current.take() {
            self.fail(env, stream, StreamCondition::InternalServerError.into());
        }
        self.core.work.clear();
        self.core.effects.drain(..)
    }

    /// Does what handlers left to do, until nothing is left.
    fn work(&mut self, env: &mut Env<'_>) {
        loop {
            while let Some(work) = self.router.work(&mut context(&mut self.core, env)) {
                match work {
                    Work::End(session, error) => self.end_with(env, session, error),
                    Work::Distrust(account, error) => self.distrust(env, &account, &error),
                    // The router did these itself.
                    Work::Route(..) | Work::Notice(_) => {}
                }
            }
            if self.core.peers.due.is_empty() {
                return;
            }
            self.serve_links(env);
        }
    }

    fn notice(&mut self, env: &mut Env<'_>, notice: &Notice) {
        self.router.notice(notice, &mut context(&mut self.core, env));
    }
}

/// The turn as services see it.
fn context<'a>(core: &'a mut Core, env: &'a mut Env<'_>) -> Ctx<'a> {
    Ctx { core, now: env.now, wall_us: env.wall_us, view: env.view, entropy: env.entropy }
}

/// A random secret that outlives restarts, so that an unknown user looks the same tomorrow (S12).
fn server_secret(core: &mut Core, env: &mut Env<'_>) -> [u8; 32] {
    let key = keys::meta("secret");
    let mut store = Store { overlay: &mut core.overlay, view: env.view };
    if let Some(secret) = store.read(&key).and_then(|value| value.try_into().ok()) {
        return secret;
    }
    let mut secret = [0; 32];
    env.entropy.fill(&mut secret);
    store.put(&key, &secret);
    secret
}

/// The part of [`Sm`] that the queue of owed acknowledgements needs.
type Owing = VecDeque<SessionId>;

/// `<a h='…'/>` or another nonza of stream management.
fn nonza<K>(sm: &mut Sm<K>, committed: u64) -> Vec<u8> {
    let h = sm.durable(committed);
    format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>").into_bytes()
}

/// A random name of 128 bits in hexadecimal (S13).
fn random_id(env: &mut Env<'_>) -> String {
    use std::fmt::Write;
    let mut bytes = [0; 16];
    env.entropy.fill(&mut bytes);
    bytes.iter().fold(String::with_capacity(32), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
