//! What a service can see and do during a turn.

use std::{path::PathBuf, rc::Rc};

use zeroize::Zeroizing;

use super::{
    core::{Core, Work},
    event::{Effect, Entropy},
    service::{ChangeNode, Leg, Notice, Origin, Reply},
};
use crate::{
    config::Config,
    domain::{
        accounts, blocks,
        ids::{AccountId, MessageId, QueryId, SessionId, Time},
        roster,
        sessions::{Keep, Sessions},
        store::{Store, View},
        waiting,
    },
    limits,
    wire::{
        build,
        element::Element,
        error::{StanzaError, StreamError},
        jid::Jid,
        ns,
        stanza::Stanza,
    },
};

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
