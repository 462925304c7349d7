//! A room while somebody is in it, or looks at it.
//!
//! Invariants: every occupant has a visit; a nickname belongs to one bare address; one full address is in a room once.

use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use crate::{
    domain::{
        ids::{AccountId, SessionId, Time},
        rooms::{self, Affiliation, Hats, Record, Role, Settings, Standing, Subject, Versions},
        store::Store,
    },
    limits,
    wire::{jid::Jid, stanza::Stored},
};

/// One device of an occupant.
#[derive(Debug)]
pub(super) struct Visit {
    /// Its full address.
    pub jid: Jid,
    /// Its session, if it is one of ours.
    pub session: Option<SessionId>,
    /// Names it within the occupant, in what passes through the room.
    pub number: u32,
    /// The content of its presence, serialised.
    pub presence: Rc<[u8]>,
}

/// Somebody in a room, with all devices.
#[derive(Debug)]
pub(super) struct Occupant {
    /// Room and nickname.
    pub address: Jid,
    /// The real bare address.
    pub bare: Box<str>,
    /// What they may do.
    pub role: Role,
    /// Never empty; the one of which others have seen something last comes last.
    pub visits: Vec<Visit>,
}

impl Occupant {
    /// The nickname.
    pub fn nick(&self) -> &str {
        self.address.resource().unwrap_or_default()
    }
}

/// A message that newcomers are shown.
#[derive(Debug)]
pub(super) struct Line {
    /// When, microseconds since 1970; also its number in the archive.
    pub at_us: u64,
    /// What was said, from the occupant's address.
    pub message: Stored,
    /// Bytes of what the room put in: its ids.
    pub stamps: Vec<u8>,
}

/// A room.
#[derive(Debug)]
pub(super) struct Room {
    pub jid: Jid,
    pub id: AccountId,
    pub creator: String,
    pub settings: Settings,
    pub subject: Subject,
    /// By bare address or domain.
    pub standings: BTreeMap<Box<str>, Standing>,
    /// In the order in which they came.
    pub occupants: Vec<Occupant>,
    pub history: VecDeque<Line>,
    /// Its creator has not said yet what it is to be: nobody else may enter (XEP-0045 §10.1.3).
    pub is_locked: bool,
    /// When people said something last, where they may not say as much as they like; by bare address.
    pub spoke: BTreeMap<Box<str>, Time>,
    /// Who may speak, or may not, other than their affiliation says, where that is given and taken (XEP-0045 §5.1); by bare
    /// address of those who are not there.
    pub voices: BTreeMap<Box<str>, Role>,
    /// Number of the next visit.
    pub next_visit: u32,
    pub hats: Hats,
    /// Which changes its lists went through.
    pub versions: Versions,
}

impl Room {
    pub fn loaded(jid: Jid, record: Record, store: &Store<'_>) -> Room {
        let standings = rooms::standings(store, record.id).into_iter().map(|(who, what)| (who.into(), what)).collect();
        let hats = rooms::hats(store, record.id);
        let versions = Versions::of(store, record.id);
        Room {
            jid,
            id: record.id,
            creator: record.creator,
            settings: record.settings,
            subject: record.subject,
            standings,
            occupants: Vec::new(),
            history: VecDeque::new(),
            is_locked: false,
            spoke: BTreeMap::new(),
            voices: BTreeMap::new(),
            next_visit: 0,
            hats,
            versions,
        }
    }

    /// Writes down everything but who is what.
    pub fn save(&self, store: &mut Store<'_>) {
        let record = Record {
            id: self.id,
            creator: self.creator.clone(),
            settings: self.settings.clone(),
            subject: self.subject.clone(),
        };
        rooms::put(store, &self.jid, &record);
    }

    /// What an address is to the room: itself, or its domain if that is banned (XEP-0045 §9.1).
    pub fn affiliation(&self, jid: &Jid) -> Affiliation {
        let own = self.standings.get(jid.bare_str()).map_or(Affiliation::None, Standing::affiliation);
        if own != Affiliation::None {
            return own;
        }
        let of_domain = self.standings.get(jid.domain()).map_or(Affiliation::None, Standing::affiliation);
        if of_domain == Affiliation::Outcast { of_domain } else { own }
    }

    /// The role that comes with an affiliation, XEP-0045 §5.1.2.
    pub fn default_role(&self, affiliation: Affiliation) -> Role {
        match affiliation {
            Affiliation::Owner | Affiliation::Admin => Role::Moderator,
            Affiliation::Member => Role::Participant,
            Affiliation::None if self.settings.is_moderated => Role::Visitor,
            Affiliation::None => Role::Participant,
            Affiliation::Outcast => Role::None,
        }
    }

    /// The role of somebody who comes in.
    pub fn first_role(&self, jid: &Jid) -> Role {
        let affiliation = self.affiliation(jid);
        let kept =
            self.voices.get(jid.bare_str()).filter(|_| self.settings.is_moderated && affiliation < Affiliation::Admin);
        kept.copied().unwrap_or(self.default_role(affiliation))
    }

    /// Somebody leaves a moderated room of their own will: the voice that they were given, or lost, they have next time. To
    /// moderate is for one visit.
    pub fn keep_voice(&mut self, gone: &Occupant, affiliation: Affiliation) {
        let role = gone.role.min(Role::Participant);
        if !self.settings.is_moderated || affiliation >= Affiliation::Admin || role == self.default_role(affiliation) {
            self.voices.remove(&gone.bare);
        } else if self.voices.len() < limits::ROOM_VOICES_MAX {
            self.voices.insert(gone.bare.clone(), role);
        }
    }

    /// Where the occupant stands who has a visit from this full address, and where the visit stands.
    pub fn place(&self, jid: &Jid) -> Option<(usize, usize)> {
        let bare = jid.bare_str();
        self.occupants
            .iter()
            .enumerate()
            .filter(|(_, occupant)| *occupant.bare == *bare)
            .find_map(|(at, occupant)| Some((at, occupant.visits.iter().position(|visit| visit.jid == *jid)?)))
    }

    /// Where the occupant of this nickname stands.
    pub fn named(&self, nick: &str) -> Option<usize> {
        self.occupants.iter().position(|occupant| occupant.nick() == nick)
    }

    /// Occupants of this bare address.
    pub fn of(&self, bare: &str) -> Vec<usize> {
        let own = self.occupants.iter().enumerate().filter(|(_, occupant)| *occupant.bare == *bare);
        own.map(|(at, _)| at).collect()
    }

    /// Whether the nickname is kept for somebody else (XEP-0045 §7.10).
    pub fn is_reserved(&self, nick: &str, bare: &str) -> bool {
        let is_it = |own: &str| own.trim() == nick.trim();
        self.standings.iter().any(|(who, standing)| **who != *bare && standing.nick.as_deref().is_some_and(is_it))
    }

    /// Whether the room would lose its last owner if these bare addresses became what is said of them, one after the other; of
    /// the same one the last counts.
    pub fn loses_its_owners<'a>(&'a self, changes: impl Iterator<Item = (&'a str, Affiliation)>) -> bool {
        let changed: BTreeMap<&str, Affiliation> = changes.collect();
        let mut owners =
            self.standings.iter().filter(|(_, standing)| standing.affiliation() == Affiliation::Owner).peekable();
        owners.peek().is_some()
            && owners.all(|(who, _)| changed.contains_key(&**who))
            && changed.values().all(|to| *to != Affiliation::Owner)
    }

    /// Whether this occupant sees real addresses, XEP-0045 §5.1.
    pub fn sees_addresses(&self, viewer: &Occupant) -> bool {
        self.settings.shows_addresses || viewer.role == Role::Moderator
    }
}
