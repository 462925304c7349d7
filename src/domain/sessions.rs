//! Who is bound here: sessions by account and by address.
//!
//! A session survives its stream until resumption ends (XEP-0198). Invariant: every session stands in the list of its
//! account, and two sessions of one account never share a resource.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
    rc::Rc,
};

use super::{
    archive, blocks,
    devices::DeviceId,
    held::Held,
    ids::{AccountId, MessageId, SessionId, StreamId, Time},
    photo::{self, Photo},
    push,
    store::Store,
};
use crate::{
    proto::sm::Sm,
    wire::{
        error::StreamError,
        jid::Jid,
        stanza::{Chunk, Stanza},
    },
};

/// What to remember of a stanza that was sent and not acknowledged.
#[derive(Clone, Debug)]
pub enum Keep {
    /// A stored message: its row goes when it was received.
    Message(MessageId),
    /// An IQ get or set: its sender gets an error if it was not received.
    Request(Box<Stanza>),
    /// Nothing to do.
    Nothing,
}

/// The last available presence of a session.
#[derive(Clone, Debug)]
pub struct Presence {
    /// RFC 6121 §4.7.2.3.
    pub priority: i8,
    /// As it is broadcast: from the full address, without `to`.
    pub stanza: Stanza,
}

/// How far a session has been given the messages that waited for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The next message is this one or later.
    pub next: MessageId,
    /// Older messages may be under way to another session and are then not sent a second time; these and later ones
    /// came when this session was there.
    pub since: MessageId,
}

/// Why a session ends, once what it was promised is durable or refused.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The batch that it waits for.
    pub batch: u64,
    /// What its stream is told; `None`: the client closed it.
    pub error: Option<StreamError>,
}

/// One bound resource.
#[derive(Debug)]
pub struct Session {
    /// Whose.
    pub account: AccountId,
    /// Its full address.
    pub jid: Jid,
    /// Its stream; `None` while it waits for resumption.
    pub stream: Option<StreamId>,
    /// The device on which it runs, if it said so (XEP-0388 §2.4).
    pub device: Option<DeviceId>,
    /// Where its last stream came from.
    pub peer: Option<IpAddr>,
    /// Its resource is random, of our making and new, so that only who was told it can name it.
    pub is_unguessable: bool,
    /// Bound by the command line on the administration socket; belongs to no account.
    pub is_local: bool,
    /// Available presence; `None`: connected only.
    pub presence: Option<Box<Presence>>,
    /// Asked for the roster (RFC 6121 §2.2: an interested resource).
    pub interested: bool,
    /// Asked for the block list (XEP-0191 §3.4).
    pub wants_blocks: bool,
    /// Gets copies of the messages of other sessions (XEP-0280); see [`Sessions::set_carbons`].
    pub carbons: bool,
    /// Whom it sent directed presence (RFC 6121 §4.6).
    pub directed: Vec<Jid>,
    /// Nodes it wants to hear of (XEP-0060 §9.2), in order.
    pub wants_nodes: Rc<[Box<str>]>,
    /// Stream management.
    pub sm: Option<Box<Sm<Keep>>>,
    /// Answers that wait for the disk, each with its batch, and what must not overtake them.
    pub gate: VecDeque<(u64, Chunk, Keep)>,
    /// Nobody looks at the client (XEP-0352), or it is not connected: what can wait, waits here.
    pub held: Option<Box<Held>>,
    /// Messages that wait to be sent to it, in order; `None`: it has caught up.
    pub backlog: Option<Backlog>,
    /// Copies of messages (XEP-0280) that came meanwhile, in order: they take their places among those that wait.
    pub behind: VecDeque<(MessageId, Chunk)>,
    /// It ends as soon as nothing waits for the disk; until then it is heard no more.
    pub ending: Option<Ending>,
    /// When it is forgotten if nobody resumes it.
    pub expires: Option<Time>,
    /// Its device can be woken by push.
    pub can_be_woken: bool,
    /// Seconds that it waits for resumption.
    pub hold_s: u64,
    /// Seconds since 1970 when it was bound.
    pub since_s: u64,
}

impl Session {
    /// Whether messages to the bare address may come here (RFC 6121 §8.5.2.1.1).
    pub fn takes_messages(&self) -> bool {
        self.presence.as_ref().is_some_and(|presence| presence.priority >= 0)
    }

    /// Whether it is available and wants to hear of a node.
    pub fn wants_node(&self, node: &str) -> bool {
        self.presence.is_some() && self.wants_nodes.binary_search_by(|wanted| (**wanted).cmp(node)).is_ok()
    }

    /// Priority of its presence.
    pub fn priority(&self) -> Option<i8> {
        self.presence.as_ref().map(|presence| presence.priority)
    }
}

/// An account with at least one session.
#[derive(Debug)]
pub struct Online {
    /// Its number.
    pub account: AccountId,
    /// Its sessions, oldest first.
    pub sessions: Vec<SessionId>,
    /// Which lists it has.
    pub lists: Lists,
    /// How many of its sessions get carbons; spares the walk.
    pub carbons: usize,
}

/// What is remembered of an account that is online: which of its lists hold anything, which spares the look-ups in those
/// that do not, and its picture.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lists {
    /// Whom it blocks.
    pub blocks: bool,
    /// Whose messages its archive keeps.
    pub archive: bool,
    /// Which devices are woken by push; not set while all of them are connected.
    pub pushes: bool,
    /// The picture in its vCard, of which its presence tells.
    pub photo: Photo,
}

impl Lists {
    /// As they stand in the store.
    pub fn of(store: &Store<'_>, account: AccountId) -> Lists {
        Lists {
            blocks: blocks::any(store, account),
            archive: archive::has_prefs(store, account),
            pushes: push::any(store, account),
            photo: photo::photo(store, account),
        }
    }
}

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    slots: Vec<(u32, Option<Session>)>,
    free: Vec<u32>,
    online: BTreeMap<Box<str>, Online>,
}

impl Sessions {
    /// Adds a session; `lists` is used if it is the first of its account.
    pub fn insert(&mut self, session: Session, lists: Lists) -> SessionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let entry = &mut self.slots[slot as usize];
        entry.0 = entry.0.wrapping_add(1);
        let id = SessionId { slot, generation: entry.0 };
        if !session.is_local {
            let (account, carbons) = (session.account, usize::from(session.carbons));
            match self.online.get_mut(session.jid.bare_str()) {
                Some(online) => {
                    online.sessions.push(id);
                    online.carbons += carbons;
                }
                None => {
                    let online = Online { account, sessions: vec![id], lists, carbons };
                    self.online.insert(session.jid.bare_str().into(), online);
                }
            }
        }
        entry.1 = Some(session);
        id
    }

    /// Forgets a session.
    pub fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.slots.get_mut(id.slot as usize).filter(|slot| slot.0 == id.generation)?.1.take()?;
        self.free.push(id.slot);
        if let Some(online) = self.online.get_mut(session.jid.bare_str()) {
            online.sessions.retain(|other| *other != id);
            online.carbons -= usize::from(session.carbons && !session.is_local);
            if online.sessions.is_empty() {
                self.online.remove(session.jid.bare_str());
            }
        }
        Some(session)
    }

    /// Lets a session have copies of the messages of its account's other sessions, or no longer (XEP-0280).
    pub fn set_carbons(&mut self, id: SessionId, carbons: bool) {
        let Some(session) = self.session_mut(id).filter(|session| !session.is_local) else { return };
        let before = std::mem::replace(&mut session.carbons, carbons);
        let bare = session.jid.bare_str().to_owned();
        if let Some(online) = self.online_mut(&bare) {
            online.carbons = online.carbons + usize::from(carbons) - usize::from(before);
        }
    }

    /// A session by its id.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.slots.get(id.slot as usize).filter(|slot| slot.0 == id.generation)?.1.as_ref()
    }

    /// A session by its id, to change.
    pub fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.slots.get_mut(id.slot as usize).filter(|slot| slot.0 == id.generation)?.1.as_mut()
    }

    /// The account of this bare address, if it has sessions.
    pub fn online(&self, bare: &str) -> Option<&Online> {
        self.online.get(bare)
    }

    /// The same, to change.
    pub fn online_mut(&mut self, bare: &str) -> Option<&mut Online> {
        self.online.get_mut(bare)
    }

    /// Writes were taken back: what is remembered of accounts is read anew.
    pub fn relearn(&mut self, store: &Store<'_>) {
        for online in self.online.values_mut() {
            online.lists = Lists::of(store, online.account);
        }
    }

    /// All sessions of this bare address, oldest first.
    pub fn of<'a>(&'a self, bare: &str) -> impl Iterator<Item = (SessionId, &'a Session)> + 'a + use<'a> {
        let ids = self.online.get(bare).map(|online| online.sessions.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| Some((*id, self.session(*id)?)))
    }

    /// The session with this full address.
    pub fn full(&self, jid: &Jid) -> Option<(SessionId, &Session)> {
        let resource = jid.resource()?;
        self.of(jid.bare_str()).find(|(_, session)| session.jid.resource() == Some(resource))
    }

    /// Every session, in the order of slots.
    pub fn all(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.slots.iter().enumerate().filter_map(|(slot, (generation, session))| {
            Some((SessionId { slot: slot as u32, generation: *generation }, session.as_ref()?))
        })
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nobody is bound.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many accounts have a session.
    pub fn accounts_online(&self) -> usize {
        self.online.len()
    }

    /// Asserts what every turn must leave true.
    pub fn check(&self) {
        for (bare, online) in &self.online {
            assert!(!online.sessions.is_empty(), "{bare} is online without a session");
            let carbons = online.sessions.iter().filter_map(|id| self.session(*id)).filter(|session| session.carbons);
            assert_eq!(carbons.count(), online.carbons, "{bare}: sessions with carbons are counted");
            for id in &online.sessions {
                let session = self.session(*id).expect("a listed session exists");
                assert_eq!((session.account, session.jid.bare_str()), (online.account, &**bare));
                let same = online.sessions.iter().filter_map(|id| self.session(*id));
                assert_eq!(same.filter(|other| other.jid == session.jid).count(), 1, "one session per resource");
            }
        }
        let listed: usize = self.online.values().map(|online| online.sessions.len()).sum();
        let local = self.all().filter(|(_, session)| session.is_local).count();
        assert_eq!(listed + local, self.len(), "every session stands in its account's list");
    }
}
