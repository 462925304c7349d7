//! What a room sends: to one visit, or to all with the bytes that they have in common written once.
//!
//! Invariant: nobody is shown a real address who may not see it, and nobody gets anything from whom they block.

use std::rc::Rc;

use super::{
    hats,
    room::{Occupant, Room, Visit},
    versions::{self, Step},
};
use crate::{
    domain::{
        rooms::{Affiliation, Role},
        sessions::Keep,
    },
    router::{context::Ctx, service::Leg},
    wire::{
        build,
        element::Element,
        framer,
        jid::Jid,
        ns,
        stanza::{Chunk, Stanza},
    },
};

/// Gives bytes of a stanza from `from` to one device. One that does not read slows nobody who speaks: it is cut off at its
/// own bound.
pub(super) fn give(visit: &Visit, from: &Jid, chunk: Chunk, ctx: &mut Ctx<'_>) {
    if ctx.blocks(&visit.jid, from) {
        return;
    }
    if let Some(session) = visit.session {
        return ctx.core.deliver_freely(session, chunk, Keep::Nothing);
    }
    // To another server it goes by way of the router, which wants a stanza.
    let mut bytes = Vec::with_capacity(chunk.len());
    chunk.write(&mut bytes);
    if let Ok(element) = Element::parse(&bytes, ns::CLIENT) {
        ctx.send(Leg::Inbound, Stanza::build(&element, from.clone(), Some(visit.jid.clone())));
    }
}

/// `<item/>` of `muc#user` or `muc#admin` with what is to be told of somebody.
pub(super) fn item(
    namespace: &'static str,
    affiliation: Affiliation,
    role: Option<Role>,
    jid: Option<&str>,
    nick: Option<&str>,
) -> Element {
    Element::new("item", namespace)
        .attr_if("jid", jid)
        .attr_if("nick", nick)
        .attr("affiliation", affiliation.as_str())
        .attr_if("role", role.map(Role::as_str))
}

/// What is said along with a presence, XEP-0045 §15.6.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    /// Status codes for everybody.
    pub statuses: Vec<u16>,
    /// Status codes for those who are shown themselves, beside 110.
    pub own: Vec<u16>,
    /// The new nickname of who changes it.
    pub nick: Option<String>,
    /// Who did it (their nickname), and why.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// It is a change of the room's lists.
    pub step: Option<Step>,
    /// The room is gone: `<destroy/>`.
    pub destroy: Option<Element>,
}

impl Word {
    /// Status codes for everybody, and nothing else.
    pub fn statuses(codes: &[u16]) -> Word {
        Word { statuses: codes.to_vec(), ..Word::default() }
    }
}

/// A presence that is shown to many: the same bytes behind the opening tag, in at most four forms.
pub(super) struct Showing<'a> {
    from: &'a Jid,
    bare: &'a str,
    unavailable: bool,
    forms: [Option<Rc<[u8]>>; 4],
    item: Item<'a>,
    word: Word,
    content: Rc<[u8]>,
    behind: Vec<u8>,
    answers: Option<&'a Stanza>,
}

struct Item<'a> {
    affiliation: Affiliation,
    role: Role,
    jid: &'a str,
}

impl<'a> Showing<'a> {
    /// The presence of an occupant with this content; `jid`: the real address, for those who see it.
    pub fn new(
        room: &Room,
        occupant: &'a Occupant,
        (affiliation, role): (Affiliation, Role),
        jid: &'a Jid,
        content: &Rc<[u8]>,
        word: Word,
        ctx: &Ctx<'_>,
    ) -> Showing<'a> {
        let mut behind = Vec::with_capacity(96);
        stamp(room, &occupant.bare, ctx, &mut behind);
        if role != Role::None {
            hats::stamp(room, &occupant.bare, &mut behind);
        }
        Showing {
            from: &occupant.address,
            bare: &occupant.bare,
            unavailable: role == Role::None || word.nick.is_some(),
            forms: Default::default(),
            item: Item { affiliation, role, jid: jid.as_str() },
            word,
            content: content.clone(),
            behind,
            answers: None,
        }
    }

    /// It is the answer to a presence: who sent that gets it with the id that it had (XEP-0045, examples 20 and 21).
    pub fn answering(mut self, presence: &'a Stanza) -> Showing<'a> {
        self.answers = Some(presence);
        self
    }

    fn body(&mut self, sees: bool, own: bool, room: &Room, ctx: &Ctx<'_>) -> &Rc<[u8]> {
        let is_gone = self.unavailable;
        let (item, word, content, behind) = (&self.item, &self.word, &self.content, &self.behind);
        self.forms[usize::from(sees) * 2 + usize::from(own)].get_or_insert_with(|| {
            let jid = sees.then_some(item.jid);
            let about = self::item(ns::MUC_USER, item.affiliation, Some(item.role), jid, word.nick.as_deref());
            let about =
                about.with(word.actor.as_ref().map(|nick| Element::new("actor", ns::MUC_USER).attr("nick", nick)));
            let about = about.with(word.reason.as_ref().map(|why| Element::new("reason", ns::MUC_USER).text(why)));
            let own_codes = own.then(|| word.own.iter().chain([&110])).into_iter().flatten();
            let mut codes: Vec<u16> = word.statuses.iter().chain(own_codes).copied().collect();
            codes.sort_unstable();
            let codes =
                codes.into_iter().map(|code| Element::new("status", ns::MUC_USER).attr("code", code.to_string()));
            // XEP-0463 §4.2.1: whoever sees themselves knows which version they have.
            let version = word.step.as_ref().map(Step::element);
            let version = version.or_else(|| (own && !is_gone).then(|| versions::current(room, ctx)));
            let x = Element::new("x", ns::MUC_USER).with(version).child(about).with(word.destroy.clone()).with(codes);
            let mut out = Vec::with_capacity(256 + content.len());
            out.extend_from_slice(content);
            out.extend_from_slice(behind);
            x.write(ns::CLIENT, &mut out);
            out.extend_from_slice(b"</presence>");
            out.into()
        })
    }

    /// Shows it to one device of an occupant.
    pub fn to(&mut self, room: &Room, viewer: &Occupant, visit: &Visit, ctx: &mut Ctx<'_>) {
        let own = *viewer.bare == *self.bare && viewer.address == *self.from;
        let sees = room.sees_addresses(viewer) || own;
        let mut head = Vec::with_capacity(128);
        head.extend_from_slice(b"<presence");
        build::attr("from", self.from.as_str(), &mut head);
        build::attr("to", visit.jid.as_str(), &mut head);
        let answers = self.answers.filter(|presence| presence.from == visit.jid);
        if let Some(id) = answers.and_then(Stanza::id_raw) {
            build::attr("id", &framer::unescape(id), &mut head);
        }
        if self.unavailable {
            head.extend_from_slice(b" type='unavailable'");
        }
        head.push(b'>');
        let from = self.from;
        let chunk = Chunk::shared(head, self.body(sees, own, room, ctx));
        give(visit, from, chunk, ctx);
    }

    /// Shows it to every device of everybody.
    pub fn everybody(&mut self, room: &Room, ctx: &mut Ctx<'_>) {
        for viewer in &room.occupants {
            for visit in &viewer.visits {
                self.to(room, viewer, visit, ctx);
            }
        }
    }
}

/// `<occupant-id/>`, XEP-0421: the same for a person whatever the nickname, another one in each room.
pub(super) fn stamp(room: &Room, bare: &str, ctx: &Ctx<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"<occupant-id xmlns='urn:xmpp:occupant-id:0'");
    build::attr("id", &ctx.core.seal.occupant(room.id, bare), out);
    out.extend_from_slice(b"/>");
}

/// A message to everybody, as it stands.
pub(super) fn broadcast(room: &Room, message: &Stanza, ctx: &mut Ctx<'_>) {
    for visit in room.occupants.iter().flat_map(|occupant| &occupant.visits) {
        let is_away = ctx.sessions().online(visit.jid.bare_str()).is_some_and(|online| online.lists.pushes);
        match visit.session {
            Some(_) if !is_away => give(visit, &message.from, message.chunk_to(Some(&visit.jid)), ctx),
            // By way of the recipient's account, where a device that is not connected is woken; or to another server.
            _ => ctx.send(Leg::Inbound, message.readdressed(Some(visit.jid.clone()))),
        }
    }
}

/// A message of the room itself with status codes, XEP-0045 §10.2.1 and §9.
pub(super) fn announce(room: &Room, codes: &[u16], ctx: &mut Ctx<'_>) {
    let codes = codes.iter().map(|code| Element::new("status", ns::MUC_USER).attr("code", code.to_string()));
    let x = Element::new("x", ns::MUC_USER).with(codes);
    let message = Element::new("message", ns::CLIENT).attr("type", "groupchat").attr("id", ctx.token()).child(x);
    broadcast(room, &Stanza::build(&message, room.jid.clone(), None), ctx);
}
