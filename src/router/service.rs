//! What a service is: one capability, with what it advertises, what it answers and when it runs in one [`Card`].
//!
//! Services reach one another only by facts, by phases and by notices; they never import each other.

use std::rc::Rc;

use super::{
    context::Ctx,
    core::Core,
    event::TakeError,
    web::{Answer, Page, Request, RequestId},
};
use crate::{
    config::Config,
    domain::{
        files::FileId,
        ids::{AccountId, QueryId, SessionId},
        rooms::senders::Sight,
    },
    proto::scram::Credentials,
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        stanza::{Kind, Stanza, Type},
    },
};

/// For whose account a stanza is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// For the sender's account.
    Outbound,
    /// For the recipient's account.
    Inbound,
}

/// The order in which services see a message or presence; named, never numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// May it pass at all (blocking, privileges)?
    Admit,
    /// Take out what the sender must not claim.
    Clean,
    /// Keep it.
    Archive,
    /// Copy it to other sessions of the same account.
    Copy,
    /// Give it to the sessions it is for.
    Deliver,
    /// Nobody was there.
    Absent,
}

/// All phases in order.
pub const PHASES: [Phase; 6] = [Phase::Admit, Phase::Clean, Phase::Archive, Phase::Copy, Phase::Deliver, Phase::Absent];

/// What a pass decided.
#[derive(Debug)]
pub enum Flow {
    /// The next service looks at it.
    Continue,
    /// It is dealt with; nobody else looks at it. The word says why, for the log.
    Taken(&'static str),
    /// The sender gets this error.
    Bounce(StanzaError),
}

/// To whom an IQ is addressed, seen from the one who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// To the server's domain.
    Host,
    /// To the sender's own account: no `to`, or its own bare address.
    Own,
    /// To the bare address of another local account.
    Other,
    /// To a host name that a service owns, or to an address there.
    Hosted,
}

/// An IQ payload that a service answers: scope, namespace, element name.
pub type Handles = (Scope, &'static str, &'static str);

/// One service's business card.
#[derive(Debug)]
pub struct Card {
    /// Short name, unique.
    pub name: &'static str,
    /// The document it implements, with version.
    pub source: &'static str,
    /// What disco tells: where, and the feature's name.
    pub features: &'static [(Scope, &'static str)],
    /// Stream features after sign-in, as XML.
    pub stream_features: &'static [&'static str],
    /// IQ payloads it answers.
    pub iq: &'static [Handles],
    /// Where it looks at messages and presence.
    pub passes: &'static [(Kind, Leg, Phase)],
}

/// Where an answer goes; kept by a service that answers later.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Who asked.
    pub from: Jid,
    /// Whom they asked; `None` if the stanza had no `to`.
    pub to: Option<Jid>,
    /// The stanza's `id` as it stood between its quotes.
    pub id: Box<str>,
}

/// An IQ of type get or set for the server to answer.
#[derive(Debug)]
pub struct Iq<'a> {
    /// The stanza.
    pub stanza: &'a Stanza,
    /// Its one payload.
    pub payload: &'a Element,
    /// `Type::Get` or `Type::Set`.
    pub ty: Type,
    /// To whom it is addressed.
    pub scope: Scope,
    /// Who asks.
    pub from: &'a Jid,
    /// The local session that asks; `None` if it came from elsewhere.
    pub session: Option<SessionId>,
    /// The account asked: the sender's own for `Own`, the addressee's for `Other`.
    pub account: Option<AccountId>,
    /// The domain it concerns.
    pub domain: &'a str,
    /// What who asks may know of those who spoke in a room.
    pub sight: Sight,
}

impl Iq<'_> {
    /// Whether it is of type set.
    pub fn is_set(&self) -> bool {
        self.ty == Type::Set
    }

    /// The sender's account in scope `Own`, the addressee's in scope `Other`.
    ///
    /// # Errors
    /// `service-unavailable` if there is none: the command line has no account.
    pub fn owner(&self) -> Result<AccountId, StanzaError> {
        self.account.ok_or(StanzaError::new(Condition::ServiceUnavailable))
    }

    /// Refuses what only makes sense as a question.
    ///
    /// # Errors
    /// `not-allowed` if the request is of type set.
    pub fn only_get(&self) -> Result<(), StanzaError> {
        if self.is_set() { Err(Condition::NotAllowed.into()) } else { Ok(()) }
    }

    /// Where to send an answer that comes later.
    pub fn origin(&self) -> Origin {
        Origin {
            from: self.from.clone(),
            to: self.stanza.to.clone(),
            id: self.stanza.id_raw().unwrap_or_default().into(),
        }
    }
}

/// What a handler answers; the router sends exactly one.
#[derive(Debug)]
pub enum Reply {
    /// `result` without payload.
    Empty,
    /// `result` with this payload.
    Result(Element),
    /// `result` with this payload, serialised: validated or written by us, and with its namespace.
    Serialised(Vec<u8>),
    /// Whoever answers this payload for accounts shall answer it as if it were asked by the owner of these rows: the
    /// archive of a room, for one.
    For(AccountId, Sight),
    /// The service keeps [`Iq::origin`] and calls [`Ctx::answer`] once, in a later turn.
    Later,
}

impl From<Element> for Reply {
    fn from(element: Element) -> Self {
        Reply::Result(element)
    }
}

/// What happened, for those who care. Handled after the current handler ends.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A session was bound.
    SessionBound(SessionId),
    /// A session resumed on a new stream, XEP-0198 §5.
    SessionResumed(SessionId),
    /// The stream of a session broke, and the session waits for resumption.
    SessionWaits(SessionId),
    /// The client of a session whose device can be woken has not acknowledged for a while.
    SessionSilent(SessionId),
    /// A session is about to be forgotten; it is still in the table.
    SessionEnding(SessionId),
    /// A session became available for the first time, or with another priority.
    Available {
        /// Which.
        session: SessionId,
        /// Whether it was not available before.
        initial: bool,
    },
    /// The contact (bare address) may see the presence of `account` no longer, or again.
    BlockChanged {
        /// Whose list.
        account: AccountId,
        /// The blocked or unblocked address.
        jid: Jid,
        /// Blocked now.
        blocked: bool,
    },
    /// An account was made.
    AccountCreated(Jid),
    /// An account was closed: nobody can sign in, and its sessions end. Its rows are still there.
    AccountClosed(AccountId, Jid),
    /// An account is gone; its rows are removed.
    AccountRemoved(AccountId, Jid),
    /// An archive of messages is to be emptied: nothing of it is shown any more ([`crate::domain::archive::forget`]).
    ArchiveForgotten(AccountId),
    /// Something of a roster item changed that decides what the contact may see.
    ContactChanged {
        /// Whose roster.
        account: AccountId,
        /// The contact's bare address.
        contact: Jid,
        /// Whether the contact sees the account's presence now and did not before.
        shows: bool,
    },
    /// A session wants to hear of nodes of which it did not want to hear before (XEP-0060 §9.2), or it comes online and
    /// still wants to.
    Interested {
        /// Which.
        session: SessionId,
        /// Names of the nodes, in order.
        nodes: Rc<[Box<str>]>,
    },
    /// A client elsewhere, to which an account shows its presence, wants to hear of nodes of which it did not want to hear
    /// before.
    InterestedAway {
        /// Which, by its full address.
        client: Jid,
        /// Whose nodes.
        account: AccountId,
        /// Names of the nodes, in order.
        nodes: Rc<[Box<str>]>,
    },
    /// Something changed in a node of an account.
    NodeChanged {
        /// Whose.
        account: AccountId,
        /// The node's name.
        node: Rc<str>,
        /// What happened.
        change: NodeChange,
        /// Whether a service caused it by [`Ctx::change_node`]; such a change is not to be answered by another one.
        by_service: bool,
    },
    /// A service wants something changed in a node of an account; see [`Ctx::change_node`].
    ChangeNode(AccountId, Rc<str>, Rc<ChangeNode>),
    /// A client stored a private element (XEP-0049).
    PrivateChanged {
        /// Whose.
        account: AccountId,
        /// Its namespace.
        ns: Rc<str>,
        /// Its name.
        name: Rc<str>,
        /// What was there before, serialised.
        before: Option<Rc<[u8]>>,
    },
    /// `Ctx::derive` answered.
    Derived(QueryId, Box<Credentials>),
    /// `Ctx::backup` answered.
    BackedUp(QueryId, Result<(), String>),
    /// What became of a body that [`super::web::Answer::Take`] was about. On `Ok` it is durable.
    Taken(RequestId, Result<(), TakeError>),
    /// Stored files that are on the disk.
    FilesFound(Rc<[FileId]>),
    /// The settings changed.
    Reloaded,
    /// The process is about to end; streams are still open.
    Stopping,
    /// A message of one of our own came back to it with this error.
    Bounced(Box<Stanza>, StanzaError),
    /// An administrator wants a room of ours to end, and says why to those who are in it.
    EndRoom {
        /// Its bare address.
        room: Jid,
        /// Why.
        reason: Option<Box<str>>,
    },
    /// Something was said in a room of ours that is for its members only, who are told as if it was said to them: whose
    /// device is not there is to be woken.
    SaidToMembers {
        /// Bare addresses of ours, without the one who said it.
        members: Rc<[Jid]>,
        /// What was said, by an occupant.
        stanza: Rc<Stanza>,
    },
    /// An archive that is no account's has grown by [`limits::ARCHIVE_TRIM_EVERY`](crate::limits::ARCHIVE_TRIM_EVERY)
    /// messages, or nobody owns it any more.
    Archive {
        /// Whose.
        owner: AccountId,
        /// It is to go.
        is_gone: bool,
    },
    /// There is time for a step of what was put off (`core.chores`).
    Chores,
}

/// What happened to a node. The facts are those of [`crate::domain::nodes`], and the change is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// This item was published, or published again.
    Published(Rc<str>),
    /// This item is gone.
    Retracted(Rc<str>),
    /// All items are gone.
    Purged,
    /// The node is gone, with all items.
    Deleted,
    /// The node has other settings.
    Configured,
}

/// What a service wants done to a node, as if the account had asked for it.
#[derive(Clone, Debug)]
pub enum ChangeNode {
    /// Publishes an item; the node is made if it is not there. Published again as it is, it changes nothing.
    Publish {
        /// The item's id.
        item: Box<str>,
        /// Its payload.
        payload: Element,
        /// Settings of the node by name (without `pubsub#`) and value, if it has to be made.
        settings: &'static [(&'static str, &'static str)],
    },
    /// Removes an item if it is there.
    Retract {
        /// The item's id.
        item: Box<str>,
    },
}

/// One capability.
pub trait Service {
    /// What it advertises, answers and looks at.
    fn card(&self) -> &'static Card;

    /// Answers an IQ that the card names.
    ///
    /// # Errors
    /// The stanza error that the sender gets.
    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        let _ = (iq, ctx);
        Err(Condition::ServiceUnavailable.into())
    }

    /// Looks at a message or presence in a phase that the card names.
    fn pass(&mut self, at: (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let _ = (at, stanza, ctx);
        Flow::Continue
    }

    /// Hears what happened.
    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        let _ = (notice, ctx);
    }

    /// What disco tells of a domain (`Scope::Host`), of an account there (`Scope::Own`), or, to be told by its owner, of
    /// a host name (`Scope::Hosted`) beyond the card's features:
    /// `<identity/>`, `<feature/>` and forms `<x/>` for disco#info, `<item/>` for disco#items. The same for everybody,
    /// because XEP-0115 hashes it; asked once at start and when the settings change.
    fn disco(&self, scope: Scope, domain: &str, config: &Config) -> Vec<Element> {
        let _ = (scope, domain, config);
        Vec::new()
    }

    /// What it does while a session is bound, in the same breath as the sign-in (XEP-0386 §3.2).
    fn at_bind(&self) -> Option<AtBind> {
        None
    }

    /// The host name beside this domain that the service owns: requests to it, and to addresses there, come to its
    /// [`iq`](Service::iq) in [`Scope::Hosted`], all else to [`hosted`](Service::hosted). Asked once at start and when the
    /// settings change.
    fn host(&self, domain: &str, config: &Config) -> Option<String> {
        let _ = (domain, config);
        None
    }

    /// Takes a message, presence, or the answer to an IQ, for the host name that the service owns or an address there.
    fn hosted(&mut self, stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let _ = ctx;
        match stanza.kind {
            Kind::Message => Flow::Bounce(Condition::ServiceUnavailable.into()),
            _ => Flow::Taken("of no use to this host"),
        }
    }

    /// The first segments of the paths that are its own at the web door (`.well-known`, `upload`). No two services may name
    /// the same.
    fn paths(&self) -> &'static [&'static str] {
        &[]
    }

    /// Answers a request for one of its paths. `None`: it calls `ctx.respond` once, in a later turn.
    fn web(&mut self, id: RequestId, request: &Request, ctx: &mut Ctx<'_>) -> Option<Answer> {
        let _ = (id, request, ctx);
        Some(Page::not_found().into())
    }

    /// Answers disco requests for nodes, and lists items that not everybody may see.
    fn discloses(&self) -> Option<Discloses> {
        None
    }

    /// Features of its card that hold only as long as requests of another namespace are answered here, and by no component
    /// (XEP-0355): feature, namespace.
    fn leans_on(&self) -> &'static [(&'static str, &'static str)] {
        &[]
    }

    /// Stream features after sign-in that depend on settings or cards.
    fn stream_feature(&self, core: &Core, domain: &str) -> Option<Element> {
        let _ = (core, domain);
        None
    }
}

/// What a service does while a session is bound, before anybody else learns that it is. Carbons, for one, are enabled so:
///
/// ```text
/// fn at_bind(&self) -> Option<AtBind> {
///     Some(AtBind { ns: ns::CARBONS, is_feature: true, run: |session, wish, ctx| … })
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AtBind {
    /// Namespace of the elements by which a client asks for it.
    pub ns: &'static str,
    /// Announced as a feature to ask for (XEP-0386 §3.1), and run for each element in that namespace. Otherwise it runs
    /// once for every session, as the metadata of the archive do.
    pub is_feature: bool,
    /// Session; what the client asks for, `None` if it runs for every session. What it returns becomes part of `<bound/>`.
    pub run: fn(SessionId, Option<&Element>, &mut Ctx<'_>) -> Option<Element>,
}

/// A disco request, XEP-0030.
#[derive(Debug)]
pub struct DiscoAsk<'a> {
    /// The request itself.
    pub iq: &'a Iq<'a>,
    /// disco#items; otherwise disco#info.
    pub items: bool,
    /// The node asked for. Without one only items are asked for, to be added to those of others.
    pub node: Option<&'a str>,
}

/// The children of the answering `<query/>`, or why there are none; `None`: the node is not known to this service.
pub type Discloses = fn(&DiscoAsk<'_>, &mut Ctx<'_>) -> Option<Result<Vec<Element>, StanzaError>>;
