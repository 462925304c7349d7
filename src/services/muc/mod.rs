//! Rooms: group chat.
//!
//! Source: XEP-0045 v1.35.1, XEP-0410 v1.1.0, XEP-0421 v1.0.1, XEP-0249 v1.2. Remote and local occupants are the same
//! thing: a full address.
//!
//! Walks:
//! - **A join** (`entering`): presence with `<x xmlns='…muc'/>` to `room@host/nick`. The room is found, loaded, or made and
//!   locked; those inside are shown to the newcomer, the newcomer to them, to itself last; history; subject.
//! - **A message** (`messages`): to `room@host`. Forged ids and statuses are cut, the occupant's address and the room's ids
//!   are stamped, the archive keeps it, and every device gets an own opening tag over the same shared bytes.
//! - **A kick** (`admin`): `muc#admin` sets role `none`. All items of a request are judged before one is done; then the
//!   occupant leaves with status 307, seen by those who stay and by themselves.
//!
//! Invariants: a room in memory has somebody in it, or is looked at in this very handler; a room that is not persistent
//! leaves nothing in the store when the last one goes, or at the first look after a restart.

mod activity;
mod admin;
mod avatar;
mod directory;
mod disco;
mod entering;
mod form;
mod hats;
mod history;
mod invitations;
mod leaving;
mod lists;
mod messages;
mod moderation;
mod outgoing;
mod owner;
mod pace;
mod register;
mod relay;
mod room;
#[cfg(test)]
mod tests;
mod tokens;
mod versions;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use self::{outgoing::Word, room::Room};
use crate::{
    config::Config,
    domain::rooms::{self, Affiliation, Role, Settings, Standing, Subject, Versions, senders::Sight},
    limits,
    router::{
        answer::UNHANDLED,
        context::Ctx,
        service::{Card, Discloses, Flow, Iq, Leg, Notice, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        jid::Jid,
        ns,
        stanza::{Kind, Stanza, Type},
    },
};

/// Name of this service's card, by which it knows its own host names.
const NAME: &str = "muc";

static CARD: Card = Card {
    name: NAME,
    source: "XEP-0045 v1.35.1, XEP-0249 v1.2, XEP-0317 v0.3.1, XEP-0410 v1.1.0, XEP-0421 v1.0.1, XEP-0425 v0.3.0, XEP-0433 v0.1.0, XEP-0463 v0.2.0, XEP-0486 v0.1.0, XEP-0488 v0.1.0, XEP-0500 v0.1.1, XEP-0502 v0.1.0",
    features: &[],
    stream_features: &[],
    iq: &[(Scope::Hosted, ns::CHANNEL_SEARCH, "search")],
    passes: &[],
};

/// XEP-0045.
#[derive(Debug, Default)]
pub struct Muc {
    /// Rooms with somebody in them, by bare address.
    rooms: BTreeMap<Box<str>, Room>,
    pace: pace::Pace,
    /// Who waits to be let in, where rooms choose their members.
    requests: register::Requests,
    activity: activity::Activity,
    /// What a restart left of rooms that do not stay is gone.
    has_swept: bool,
}

impl Service for Muc {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        if iq.payload.is("search", ns::CHANNEL_SEARCH) && iq.stanza.to.as_ref().is_none_or(|to| to.local().is_none()) {
            return self.search(iq, ctx);
        }
        let to = iq.stanza.to.clone().filter(|to| to.local().is_some()).ok_or(UNHANDLED)?;
        let bare = to.bare();
        let Some(room) = open(&mut self.rooms, &bare, ctx) else {
            let is_ping = to.resource().is_some() && iq.payload.is("ping", ns::PING);
            // XEP-0410 §3.1: `item-not-found` would tell a client that it is still in.
            return Err(if is_ping { relay::outside() } else { Condition::ItemNotFound.into() });
        };
        let answer = match to.resource() {
            Some(nick) => relay::ask(room, iq, nick, ctx).map(owner::After::Stays),
            None => of_room(room, (&mut self.requests, &mut self.activity), iq, ctx),
        };
        let answer = answer.map(|after| match after {
            owner::After::Stays(reply) => reply,
            owner::After::Goes => {
                self.gone(&bare);
                Reply::Empty
            }
        });
        self.close(&bare, ctx);
        answer
    }

    fn hosted(&mut self, stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let Some(to) = stanza.to.clone() else { return Flow::Taken("for nobody") };
        if to.local().is_none() {
            return match (stanza.kind, stanza.ty) {
                (Kind::Message, ty) if ty != Type::Error => Flow::Bounce(UNHANDLED),
                _ => Flow::Taken("of no use to this host"),
            };
        }
        let bare = to.bare();
        let flow = match stanza.kind {
            Kind::Presence => self.presence(&bare, to.resource(), stanza, ctx),
            Kind::Message => self.message(&bare, to.resource(), stanza, ctx),
            Kind::Iq => {
                if let (Some(nick), Some(room)) = (to.resource(), self.open(&bare, ctx)) {
                    relay::answered(room, stanza, nick, ctx);
                }
                Flow::Taken("an answer")
            }
        };
        self.close(&bare, ctx);
        flow
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        match notice {
            Notice::SessionEnding(session) => {
                let Some(jid) = ctx.sessions().session(*session).map(|session| session.jid.clone()) else { return };
                let within = self.rooms.values().filter(|room| room.place(&jid).is_some());
                for room in within.map(|room| room.jid.clone()).collect::<Vec<_>>() {
                    self.leave(&room, &jid, Rc::from([]), Word::default(), ctx);
                }
            }
            Notice::SessionBound(_) if !self.has_swept => self.sweep(ctx),
            Notice::EndRoom { room, reason } => self.end(room, reason.as_deref(), ctx),
            Notice::AccountRemoved(_, jid) => self.forget(jid, ctx),
            Notice::Stopping => self.stop(ctx),
            _ => {}
        }
    }

    fn disco(&self, scope: Scope, _: &str, _: &Config) -> Vec<Element> {
        if scope == Scope::Hosted { disco::host() } else { Vec::new() }
    }

    fn discloses(&self) -> Option<Discloses> {
        Some(directory::listed)
    }

    fn host(&self, domain: &str, config: &Config) -> Option<String> {
        config.hosts.rooms.as_ref().map(|host| format!("{host}.{domain}"))
    }
}

impl Muc {
    /// A room that is in memory or in the store.
    fn open(&mut self, jid: &Jid, ctx: &mut Ctx<'_>) -> Option<&mut Room> {
        open(&mut self.rooms, jid, ctx)
    }

    /// A room in which nobody is any more leaves memory, and the store too unless it is persistent.
    fn close(&mut self, jid: &Jid, ctx: &mut Ctx<'_>) {
        if let Some(room) = self.rooms.get(jid.as_str()).filter(|room| room.occupants.is_empty()) {
            if !room.settings.is_persistent || room.is_locked {
                owner::forget(room, ctx);
                return self.gone(jid);
            }
            self.rooms.remove(jid.as_str());
        }
    }

    /// A room has ended: the next one of this name is another one.
    fn gone(&mut self, jid: &Jid) {
        self.rooms.remove(jid.as_str());
        self.requests.forget(jid);
        self.activity.forget(jid);
    }

    /// Rooms that do not stay ended with the process that they were in.
    fn sweep(&mut self, ctx: &mut Ctx<'_>) {
        self.has_swept = true;
        for host in directory::hosts(ctx) {
            directory::each(&host, ctx, &mut |jid, record, ctx| {
                if !record.settings.is_persistent && !self.rooms.contains_key(jid.as_str()) {
                    owner::forget(&Room::loaded(jid, record, &ctx.store()), ctx);
                }
                true
            });
        }
    }

    /// XEP-0045 §11.2: each is told that the service goes, and nobody that the others do.
    fn stop(&mut self, ctx: &mut Ctx<'_>) {
        for (_, mut room) in std::mem::take(&mut self.rooms) {
            while !room.occupants.is_empty() {
                leaving::remove_alone(&mut room, Word::statuses(&[332]), ctx);
            }
        }
    }

    /// An administrator ends a room.
    fn end(&mut self, jid: &Jid, reason: Option<&str>, ctx: &mut Ctx<'_>) {
        let Some(room) = self.open(jid, ctx) else { return };
        let mut asked = Element::new("destroy", ns::MUC_OWNER);
        if let Some(reason) = reason {
            asked = asked.leaf("reason", reason);
        }
        if owner::destroy(room, Some(&asked), ctx).is_ok() {
            log::info!("the room {jid} was ended by an administrator");
            self.gone(jid);
        }
    }

    /// Somebody looks for rooms, XEP-0433.
    fn search(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        if ctx.core.hosts.get(iq.domain).is_none_or(|host| host.card.name != NAME) {
            return Err(UNHANDLED);
        }
        iq.only_get()?;
        if !self.pace.allows(iq.from.bare_str(), ctx.now) {
            return Err(directory::too_often());
        }
        let rooms = &self.rooms;
        let people = |room: &Jid| rooms.get(room.as_str()).map_or(0, |room| room.occupants.len());
        directory::search(iq, &people, ctx).map(Reply::from)
    }

    fn leave(&mut self, jid: &Jid, who: &Jid, content: Rc<[u8]>, word: Word, ctx: &mut Ctx<'_>) {
        if let Some(room) = self.rooms.get_mut(jid.as_str()) {
            leaving::leave(room, who, content, word, ctx);
        }
        self.close(jid, ctx);
    }

    fn presence(&mut self, room: &Jid, nick: Option<&str>, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Flow {
        match stanza.ty {
            Type::Unavailable => {
                self.leave(room, &stanza.from, entering::content(stanza), Word::default(), ctx);
                Flow::Taken("somebody leaves")
            }
            Type::Error => {
                // XEP-0045 §18.1.2: whoever cannot be reached is not there.
                self.leave(room, &stanza.from, Rc::from([]), Word::statuses(&[333]), ctx);
                Flow::Taken("an occupant who is gone")
            }
            Type::Available => match self.arrive(room, nick, stanza, ctx) {
                Ok(()) => Flow::Taken("somebody enters"),
                Err(error) => refuse(room, stanza, &error, ctx),
            },
            _ => Flow::Taken("of no use to a room"),
        }
    }

    /// Presence that makes somebody an occupant, or changes one.
    fn arrive(&mut self, jid: &Jid, nick: Option<&str>, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
        let nick = nick.ok_or(StanzaError::new(Condition::JidMalformed))?;
        let asked = stanza.find("x", ns::MUC);
        let is_within = self.rooms.get(jid.as_str()).and_then(|room| room.place(&stanza.from));
        let moves = is_within.is_none()
            || asked.is_some()
            || self
                .rooms
                .get(jid.as_str())
                .is_some_and(|room| is_within.is_some_and(|(at, _)| room.occupants[at].nick() != nick));
        if moves && !self.pace.allows(stanza.from.bare_str(), ctx.now) {
            return Err(StanzaError::new(Condition::ResourceConstraint).kind(ErrorKind::Wait).text("Too fast."));
        }
        if let (Some(place), Some(room)) = (is_within, self.rooms.get_mut(jid.as_str())) {
            return match room.occupants[place.0].nick() == nick {
                true => entering::update(room, stanza, place, asked.as_ref(), ctx),
                false => entering::rename(room, stanza, place.0, nick, ctx),
            };
        }
        let Some(asked) = asked else { return desynchronized(jid, nick, stanza, ctx) };
        let created = self.open(jid, ctx).is_none();
        if created {
            self.create(jid, stanza, ctx)?;
        }
        let Some(room) = self.rooms.get_mut(jid.as_str()) else { return Err(Condition::InternalServerError.into()) };
        entering::enter(room, stanza, nick, &asked, created, ctx)
    }

    /// XEP-0045 §10.1.1: whoever enters a room that is not there makes it, and owns it.
    fn create(&mut self, jid: &Jid, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
        let refused = || StanzaError::new(Condition::NotAllowed).kind(ErrorKind::Cancel);
        let account = ctx.account(&stanza.from).filter(|_| ctx.is_local(&stanza.from)).ok_or_else(refused)?;
        if self.rooms.len() >= limits::ROOMS_OPEN_MAX
            || rooms::count(&ctx.store(), account, limits::ROOMS_PER_ACCOUNT_MAX) >= limits::ROOMS_PER_ACCOUNT_MAX
        {
            return Err(refused().text("There are too many rooms."));
        }
        let creator = stanza.from.bare();
        let id = rooms::make(&mut ctx.store(), jid, &creator).ok_or_else(refused)?;
        let owner = Standing { affiliation: Some(Affiliation::Owner), ..Standing::default() };
        let room = Room {
            jid: jid.clone(),
            id,
            creator: creator.as_str().to_owned(),
            settings: Settings::default(),
            subject: Subject::default(),
            standings: [(creator.as_str().into(), owner)].into(),
            occupants: Vec::new(),
            history: Default::default(),
            is_locked: true,
            spoke: BTreeMap::new(),
            voices: BTreeMap::new(),
            next_visit: 0,
            hats: Default::default(),
            versions: Versions::of(&ctx.store(), id),
        };
        // What a power cut leaves of a room that nobody has set up is found, and removed, by its row.
        room.save(&mut ctx.store());
        log::info!("{creator} makes the room {jid}");
        self.rooms.insert(jid.as_str().into(), room);
        Ok(())
    }

    fn message(&mut self, jid: &Jid, nick: Option<&str>, stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        if stanza.ty == Type::Error {
            if is_fatal(stanza) {
                self.leave(jid, &stanza.from, Rc::from([]), Word::statuses(&[333]), ctx);
            } else if let (Some(nick), Some(room)) = (nick, self.rooms.get(jid.as_str())) {
                // Whoever wrote privately learns that it was not taken; errors are not answered.
                let _ = messages::whisper(room, stanza, nick, ctx);
            }
            return Flow::Taken("an error to a room");
        }
        // XEP-0045 §17.2: one that is not set up is as little there as one that is not.
        let room = open(&mut self.rooms, jid, ctx).filter(|room| !room.is_locked || room.place(&stanza.from).is_some());
        let Some(room) = room else { return Flow::Bounce(Condition::ItemNotFound.into()) };
        match nick {
            None => match messages::to_room(room, stanza, ctx) {
                Flow::Taken(why) if stanza.ty == Type::Groupchat => {
                    self.activity.note(room, stanza, ctx);
                    Flow::Taken(why)
                }
                flow => flow,
            },
            Some(nick) => match messages::whisper(room, stanza, nick, ctx) {
                Ok(()) => Flow::Taken("whispered in a room"),
                Err(error) => Flow::Bounce(error),
            },
        }
    }

    /// An account is gone: it is nothing to any room any more.
    fn forget(&mut self, jid: &Jid, ctx: &mut Ctx<'_>) {
        for host in directory::hosts(ctx) {
            directory::each(&host, ctx, &mut |_, record, ctx| {
                if rooms::is_listed(&ctx.store(), record.id, jid.as_str()) {
                    let version = ctx.stored_message_id();
                    let mut versions = Versions::of(&ctx.store(), record.id);
                    versions.note(&mut ctx.store(), record.id, version, jid.as_str());
                }
                rooms::put_standing(&mut ctx.store(), record.id, jid.as_str(), &Standing::default());
                rooms::put_worn(&mut ctx.store(), record.id, jid.as_str(), &BTreeSet::new());
                true
            });
        }
        for room in self.rooms.values_mut() {
            room.standings.remove(jid.as_str());
            room.hats.worn.remove(jid.as_str());
            room.versions = Versions::of(&ctx.store(), room.id);
        }
    }
}

/// A room that is in memory or in the store.
fn open<'r>(within: &'r mut BTreeMap<Box<str>, Room>, jid: &Jid, ctx: &mut Ctx<'_>) -> Option<&'r mut Room> {
    if !within.contains_key(jid.as_str()) {
        let record = rooms::find(&ctx.store(), jid)?;
        let stays = record.settings.is_persistent;
        let room = Room::loaded(jid.clone(), record, &ctx.store());
        if !stays {
            // Left over from before a restart: everybody is gone.
            owner::forget(&room, ctx);
            return None;
        }
        within.insert(jid.as_str().into(), room);
    }
    within.get_mut(jid.as_str())
}

/// Errors that say that nobody is there who could read, XEP-0045 §18.1.2 and XEP-0410 §3.1.
fn is_fatal(stanza: &Stanza) -> bool {
    const GONE: &[&str] = &[
        "gone",
        "item-not-found",
        "recipient-unavailable",
        "redirect",
        "remote-server-not-found",
        "remote-server-timeout",
        "service-unavailable",
        "jid-malformed",
    ];
    let error = stanza.find("error", ns::CLIENT);
    error
        .iter()
        .flat_map(Element::children)
        .any(|child| child.ns == ns::STANZA_ERRORS && GONE.contains(&child.name.as_ref()))
}

/// Presence of somebody who believes to be in the room, XEP-0045 §7.2.1: they learn that they are not.
fn desynchronized(jid: &Jid, nick: &str, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Result<(), StanzaError> {
    let from = jid.with_resource(nick).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
    let item = outgoing::item(ns::MUC_USER, Affiliation::None, Some(rooms::Role::None), None, None);
    let codes = [110, 307, 333].map(|code: u16| Element::new("status", ns::MUC_USER).attr("code", code.to_string()));
    let x = Element::new("x", ns::MUC_USER).child(item).with(codes);
    let presence = Element::new("presence", ns::CLIENT).attr("type", "unavailable").child(x);
    ctx.send(Leg::Inbound, Stanza::build(&presence, from, Some(stanza.from.clone())));
    Ok(())
}

/// Presence that the room does not take comes back as XEP-0045 §7.2.5 to §7.2.11 show it: clients know by the `<x/>` that
/// the room speaks, and not a server on the way to it.
fn refuse(room: &Jid, stanza: &Stanza, error: &StanzaError, ctx: &mut Ctx<'_>) -> Flow {
    log::debug!("{} does not enter {room}: {}", stanza.from, error.condition.as_str());
    let id = stanza.id_raw().map(|id| crate::wire::framer::unescape(id).into_owned());
    let presence = Element::new("presence", ns::CLIENT).attr("type", "error").attr_if("id", id);
    let presence = presence.child(Element::new("x", ns::MUC)).child(error.element().attr("by", room.as_str()));
    let from = stanza.to.clone().unwrap_or_else(|| room.clone());
    ctx.send(Leg::Inbound, Stanza::build(&presence, from, Some(stanza.from.clone())));
    Flow::Taken("it may not enter")
}

/// A request to the room itself.
fn of_room(
    room: &mut Room,
    (requests, activity): (&mut register::Requests, &mut activity::Activity),
    iq: &Iq<'_>,
    ctx: &mut Ctx<'_>,
) -> Result<owner::After, StanzaError> {
    let own = room.affiliation(iq.from);
    // XEP-0045 §10.1.3: until it is set up, nobody but its maker finds it.
    if room.is_locked && own != Affiliation::Owner {
        return Err(Condition::ItemNotFound.into());
    }
    let reply = match (iq.payload.ns.as_ref(), iq.payload.name.as_ref()) {
        (ns::MUC_OWNER, "query") => return owner::answer(room, iq, ctx),
        (ns::MUC_ADMIN, "query") => admin::answer(room, iq, ctx),
        (ns::DISCO_INFO | ns::DISCO_ITEMS, "query") => disco::of_room(room, activity, iq, ctx),
        (ns::VCARD, "vCard") => avatar::answer(room, iq, ctx),
        (ns::REGISTER, "query") => register::answer(room, requests, iq, ctx),
        (ns::MODERATE, "moderate") | (ns::FASTEN, "apply-to") if room.settings.keeps_archive => {
            moderation::answer(room, iq, ctx)
        }
        (ns::COMMANDS, "command") => hats::answer(room, iq, ctx),
        (ns::MUC_TOKEN, _) => tokens::answer(room, iq, ctx),
        (ns::PING, "ping") => Ok(Reply::Empty),
        (ns::MAM, "query" | "metadata") => archive(room, own, iq),
        _ => Err(UNHANDLED),
    };
    reply.map(owner::After::Stays)
}

/// XEP-0313 §5.1.3: the archive is for those who could have been there.
fn archive(room: &Room, own: Affiliation, iq: &Iq<'_>) -> Result<Reply, StanzaError> {
    if !room.settings.keeps_archive {
        return Err(UNHANDLED);
    }
    let is_within = !room.of(iq.from.bare_str()).is_empty();
    let may = match own {
        Affiliation::Outcast => false,
        Affiliation::None => !room.settings.is_members_only && (is_within || room.settings.password.is_none()),
        _ => true,
    };
    let is_moderator = room.place(iq.from).is_some_and(|(at, _)| room.occupants[at].role == Role::Moderator);
    let sight = match room.settings.shows_addresses {
        // XEP-0045 §5.2: staff are moderators as soon as they come in.
        _ if is_moderator || own >= Affiliation::Admin => Sight::All,
        true => Sight::AsItWas,
        false => Sight::Nicknames,
    };
    if may { Ok(Reply::For(room.id, sight)) } else { Err(Condition::Forbidden.into()) }
}
