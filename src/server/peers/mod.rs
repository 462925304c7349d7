//! Streams between servers, both directions.
//!
//! Source: RFC 6120 §4–§6, §8.1, §10.4; XEP-0220, XEP-0178, XEP-0198, XEP-0288. Invariants: nothing but STARTTLS happens
//! before TLS; a stanza is taken from a pair of domains only after the other side has proved its one on this very stream;
//! and what we send to a domain goes over a stream whose other end we looked up ourselves, or on which it has proved itself and
//! asked for it.
//!
//! | file | what it holds |
//! |---|---|
//! | `accepted.rs` | streams that others open: features, SASL EXTERNAL, claims |
//! | `dialed.rs` | streams that we open, up to the first stanza |
//! | `dialback.rs` | keys and questions about them |
//! | `links.rs` | what waits for a domain, failures, pauses, silence |
//! | `both_ways.rs` | what we send over streams that others open |
//! | `stanzas.rs` | what comes in, acknowledgements |
//! | `resume.rs` | what is left of a stream that broke |

mod accepted;
mod both_ways;
mod dialback;
mod dialed;
mod links;
mod resume;
mod stanzas;

use std::{collections::VecDeque, rc::Rc};

pub use links::start;
pub use resume::Held;

use super::{
    Server,
    negotiate::{Next, State, namespace},
    random_id,
    streams::Slot,
};
use crate::{
    domain::{
        ids::{StreamId, Time},
        peers::{Cut, LinkId, LinkState, Pair, Parcel},
    },
    limits,
    proto::{
        dialback::Keys,
        identity::PeerCertificate,
        peer::{self, PeerFeatures},
        sm::Sm,
    },
    router::event::{Door, Effect, Entropy, Env, QueryId, Secured},
    wire::{
        element::Element,
        error::StreamCondition,
        framer::{Bounds, Header},
        ns,
        stanza::{Chunk, NsRef, Outline, slice},
    },
};

/// How far a stream between servers is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The other side's header is to come.
    Header,
    /// We dialed: its features are to come.
    Features,
    /// We dialed: we asked for TLS.
    Proceed,
    /// TLS is being negotiated.
    Upgrading,
    /// We dialed: nothing more is needed to authenticate once there is something to send.
    Ready,
    /// We dialed: SASL EXTERNAL is under way.
    Sasl,
    /// We dialed: we claimed to be our domain (XEP-0220 §2.1.1).
    Claimed,
    /// We dialed and are authenticated: stream management is asked for.
    Enabling,
    /// The same for a stream that broke.
    Resuming,
    /// Stanzas pass for every pair that is verified.
    Open,
}

/// Whether a pair may send stanzas to us on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The other domain is being asked.
    Claimed,
    /// It has proved it.
    Verified,
}

/// A stream between servers.
#[derive(Debug)]
pub struct PeerStream {
    /// How far it is.
    pub stage: Stage,
    /// The link for which we dialed.
    pub link: Option<LinkId>,
    /// Under TLS.
    pub is_secured: bool,
    /// SASL has succeeded on it.
    pub is_signed_in: bool,
    /// Our domain in its header.
    pub ours: Option<Rc<str>>,
    /// The domain that the other side claims in its header; the one that we dialed.
    pub theirs: Option<Rc<str>>,
    /// The stream's id, given by who was dialed.
    pub id: Rc<str>,
    /// What the other side has shown.
    pub certificate: Option<Box<PeerCertificate>>,
    /// What the other side can negotiate now.
    pub features: PeerFeatures,
    /// What follows SASL is out already (XEP-0305 §3).
    pub is_ahead: bool,
    /// SASL EXTERNAL failed on it.
    pub external_failed: bool,
    /// Whoever dialed lets the other side send stanzas as well (XEP-0288).
    pub is_bidi: bool,
    /// The other side dialed and has sent a stanza: whether it manages the stream is decided.
    pub is_settled: bool,
    /// The other side dialed: links whose stanzas go out over it.
    pub carries: Vec<LinkId>,
    /// Who may send stanzas to whom here.
    pub pairs: Vec<(Pair, Standing)>,
    /// Stream management.
    pub sm: Option<Box<Sm<Parcel>>>,
    /// By which name the other side resumes it, if we dialed.
    pub previd: Option<Box<str>>,
    /// When a stanza passed last.
    pub active: Time,
}

impl PeerStream {
    /// Nobody is known on it.
    pub fn new(now: Time) -> PeerStream {
        PeerStream {
            stage: Stage::Header,
            link: None,
            is_secured: false,
            is_signed_in: false,
            ours: None,
            theirs: None,
            id: "".into(),
            certificate: None,
            features: PeerFeatures::default(),
            is_ahead: false,
            external_failed: false,
            is_bidi: false,
            is_settled: false,
            carries: Vec::new(),
            pairs: Vec::new(),
            sm: None,
            previd: None,
            active: now,
        }
    }

    /// Whether the other side has proved on this stream that it is this domain, to send to ours. A certificate proves a
    /// domain to all of ours.
    pub fn is_verified(&self, pair: &Pair) -> bool {
        let verified = |(known, standing): &(Pair, Standing)| *standing == Standing::Verified && known == pair;
        self.pairs.iter().any(verified) || self.is_signed_in && self.link.is_none() && self.proves(pair)
    }

    fn proves(&self, pair: &Pair) -> bool {
        self.theirs.as_deref() == Some(&*pair.theirs)
    }

    /// Whether any pair has been verified.
    pub fn has_verified(&self) -> bool {
        self.pairs.iter().any(|(_, standing)| *standing == Standing::Verified)
    }

    /// The first domain that was proved on it.
    pub fn proved_domain(&self) -> Option<&str> {
        let proved = self.pairs.iter().find(|(_, standing)| *standing == Standing::Verified);
        proved.map(|(pair, _)| &*pair.theirs)
    }

    /// For the log: who is said to be at the other end.
    pub fn name(&self) -> &str {
        self.theirs.as_deref().unwrap_or("another server")
    }
}

/// What streams between servers share.
#[derive(Debug)]
pub struct Peering {
    /// Our dialback keys.
    pub keys: Keys,
    /// Streams whose other side asked for an acknowledgement that the disk holds back.
    pub owing: Vec<StreamId>,
    /// Streams that ask to resume one of which the disk holds something back, with what they asked.
    pub resuming: Vec<(StreamId, Element)>,
    /// Streams that broke and may be resumed, oldest first.
    pub held: VecDeque<Held>,
}

impl Peering {
    /// With a new secret: keys are those of a process (S19).
    pub fn new(entropy: &mut dyn Entropy) -> Peering {
        let mut secret = [0; 32];
        entropy.fill(&mut secret);
        Peering { keys: Keys::new(&secret), owing: Vec::new(), resuming: Vec::new(), held: VecDeque::new() }
    }
}

/// How a stream went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Without a word; it may be resumed.
    Broken,
    /// One side closed it.
    Closed,
}

impl Server {
    /// A stream between servers by its id.
    pub(super) fn peer(&self, id: StreamId) -> Option<&PeerStream> {
        match &self.streams.slot(id)?.state {
            State::Peer(peer) => Some(peer),
            _ => None,
        }
    }

    /// The same, to change.
    pub(super) fn peer_mut(&mut self, id: StreamId) -> Option<&mut PeerStream> {
        match &mut self.streams.slot_mut(id)?.state {
            State::Peer(peer) => Some(peer),
            _ => None,
        }
    }

    /// A connection to or from another server is there.
    pub(super) fn peer_opened(&mut self, env: &mut Env<'_>, id: StreamId) {
        let Some(slot) = self.streams.slot(id) else { return };
        if let Door::Dialed { query, tls, .. } = slot.door {
            self.dial_answered(env, id, query, tls);
        }
    }

    fn dial_answered(&mut self, env: &mut Env<'_>, id: StreamId, query: QueryId, tls: bool) {
        let link = self.core.peers.dialed(query).filter(|_| !self.stops);
        let Some((link, state)) = link.and_then(|id| Some((id, self.core.peers.link_mut(id)?))) else {
            // Nobody wants it any more.
            self.core.effects.push(Effect::Close(id));
            self.forget_stream(id);
            return;
        };
        state.state = LinkState::Opening(id);
        let pair = state.pair.clone();
        if let Some(peer) = self.peer_mut(id) {
            (peer.link, peer.ours, peer.theirs) = (Some(link), Some((*pair.ours).into()), Some((*pair.theirs).into()));
        }
        if !tls {
            self.open_to_peer(id);
        }
        let _ = env;
    }

    /// Our header, on a stream that we dialed.
    pub(super) fn open_to_peer(&mut self, id: StreamId) {
        let Some(peer) = self.peer_mut(id) else { return };
        peer.stage = Stage::Header;
        let mut out = Vec::with_capacity(256);
        peer::write_header(peer.ours.as_deref().unwrap_or_default(), peer.theirs.as_deref(), None, &mut out);
        self.core.write(id, Chunk::new(out));
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.header_sent = true;
        }
    }

    /// TLS is up: everything begins anew (RFC 6120 §5.4.3.3).
    pub(super) fn peer_secured(&mut self, env: &mut Env<'_>, id: StreamId, secured: Secured) {
        let Some(slot) = self.streams.slot_mut(id) else { return };
        (slot.header_sent, slot.lang) = (false, None);
        if let Some(framer) = &mut slot.framer {
            framer.restart(super::negotiate::preauth_bounds());
        }
        let State::Peer(peer) = &mut slot.state else { return };
        (peer.stage, peer.is_secured, peer.features) = (Stage::Header, true, PeerFeatures::default());
        peer.certificate = secured.peer;
        let (name, dialed) = (peer.name().to_owned(), peer.link.is_some());
        log::debug!("{name}: TLS {}", secured.version);
        if !dialed {
            peer.theirs = None;
            return;
        }
        if self.core.config.federation.require_certificate
            && let Err(why) = self.proof(id, &name)
        {
            log::warn!("{name}: not used, because of its certificate: {why}");
            return self.refuse_dialed(env, id, StreamCondition::PolicyViolation.into());
        }
        self.open_to_peer(id);
    }

    /// Whether the certificate of a stream proves that the other side is this domain.
    ///
    /// # Errors
    /// Why not, for the log.
    pub(super) fn proof(&self, id: StreamId, domain: &str) -> Result<(), String> {
        let certificate = self.peer(id).and_then(|peer| peer.certificate.as_ref());
        certificate.ok_or_else(|| "it has shown none".to_owned())?.proves(domain)
    }

    /// The other side's header.
    pub(super) fn peer_header(&mut self, env: &mut Env<'_>, id: StreamId, header: &Header) -> Next {
        let Some(peer) = self.peer(id) else { return Next::Stop };
        let dialed = peer.link.is_some();
        let opened = match peer::judge(header, dialed) {
            Ok(opened) if peer.stage == Stage::Header => opened,
            Ok(_) => return self.peer_out_of_turn(env, id),
            Err(error) => {
                self.fail(env, id, error);
                return Next::Stop;
            }
        };
        if let Some(slot) = self.streams.slot_mut(id) {
            slot.lang = opened.lang.clone();
        }
        if !dialed {
            return self.greet(env, id, opened);
        }
        if let Some(peer) = self.peer_mut(id) {
            peer.id = opened.id.unwrap_or_default().into();
            peer.stage = Stage::Features;
        }
        Next::Go
    }

    /// One element on a stream between servers.
    pub(super) fn peer_element(
        &mut self,
        env: &mut Env<'_>,
        id: StreamId,
        bytes: &[u8],
        outline: &mut Outline,
    ) -> Next {
        let Some(peer) = self.peer(id) else { return Next::Stop };
        let (dialed, secured) = (peer.link.is_some(), peer.is_secured);
        if outline.ns == NsRef::Content {
            return match secured {
                true => self.peer_stanza(env, id, bytes, outline),
                false => self.peer_out_of_turn(env, id),
            };
        }
        let (space, name) = (namespace(bytes, outline).to_owned(), slice(bytes, &outline.name).to_owned());
        let Ok(element) = Element::parse(bytes, ns::SERVER) else { return self.peer_out_of_turn(env, id) };
        match (&*space, &*name) {
            (ns::STREAM, "error") => {
                let why = element.children().find(|child| child.ns == ns::STREAM_ERRORS);
                let why = why.map_or("an error", |condition| &*condition.name);
                log::info!("{}: it closes the stream: {why}", self.who(id));
                Next::Go
            }
            (ns::STREAM, "features") if dialed => self.peer_features(env, id, &element),
            (ns::TLS, _) if !secured => self.peer_tls(env, id, &name, dialed),
            _ if !secured => self.peer_out_of_turn(env, id),
            (ns::SASL, _) if dialed => self.sasl_answered(env, id, &element),
            (ns::SASL, "auth") => self.sasl_external(env, id, &element),
            (ns::DIALBACK, _) => self.dialback(env, id, &element),
            (ns::BIDI, "bidi") if !dialed => self.both_ways(env, id),
            (ns::SM, _) => self.peer_sm(env, id, &element),
            _ => self.peer_out_of_turn(env, id),
        }
    }

    fn peer_tls(&mut self, env: &mut Env<'_>, id: StreamId, name: &str, dialed: bool) -> Next {
        let stage = self.peer(id).map(|peer| peer.stage);
        match (name, dialed, stage) {
            ("starttls", false, Some(Stage::Open)) => {
                self.core.write(id, Chunk::new(&b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"[..]));
            }
            ("proceed", true, Some(Stage::Proceed)) => {}
            _ => return self.peer_out_of_turn(env, id),
        }
        if let Some(peer) = self.peer_mut(id) {
            peer.stage = Stage::Upgrading;
        }
        // What came in clear behind it is dropped with the rest of the input (S6).
        self.core.effects.push(Effect::StartTls(id));
        Next::Stop
    }

    /// Something that has no place here and now.
    pub(super) fn peer_out_of_turn(&mut self, env: &mut Env<'_>, id: StreamId) -> Next {
        // RFC 6120 §4.9.3.12: what is sent before anybody is known.
        let known = self.peer(id).is_some_and(|peer| peer.has_verified() || peer.stage == Stage::Open);
        let condition = if known { StreamCondition::UnsupportedStanzaType } else { StreamCondition::NotAuthorized };
        self.fail(env, id, condition.into());
        Next::Stop
    }

    /// The first words on a stream, before an error, if our header is not out.
    pub(super) fn peer_first_words(&self, env: &mut Env<'_>, slot: &Slot, out: &mut Vec<u8>) -> bool {
        let State::Peer(peer) = &slot.state else { return false };
        let ours = peer.ours.as_deref().unwrap_or(&self.core.config.domains[0]);
        let id = random_id(env);
        let id = peer.link.is_none().then_some(&*id);
        peer::write_header(ours, peer.theirs.as_deref(), id, out);
        true
    }

    /// The stream is out of every table. What it carried finds another way.
    pub(super) fn peer_gone(&mut self, env: &mut Env<'_>, id: StreamId, peer: PeerStream, how: Parting) {
        self.forget_questions(env, id);
        let PeerStream { link, sm, previd, pairs, is_bidi, stage, carries, .. } = peer;
        let broken = how == Parting::Broken && !self.stops;
        if let Some(link) = link {
            let previd = previd.filter(|_| broken).unwrap_or_default();
            let cut = sm.map(|sm| Cut { previd, sm, is_bidi, since: env.now });
            return self.left_dialed(env, id, link, stage, cut);
        }
        let held = sm.map(|sm| Held::new(sm, pairs, is_bidi, env.now));
        self.left_accepted(env, id, held, &carries, broken);
    }

    /// Whoever has proved something is no stranger, and may send larger stanzas.
    pub(super) fn peer_is_known(&mut self, env: &mut Env<'_>, id: StreamId) -> Bounds {
        self.no_stranger(id);
        if let Some(peer) = self.peer_mut(id) {
            peer.active = env.now;
            let patience = if peer.link.is_some() { limits::PEER_IDLE_MS } else { limits::PEER_IDLE_IN_MS };
            self.timers.set(env.now.plus_ms(patience), super::timers::Alarm::PeerIdle(id));
        }
        self.bounds()
    }
}
