//! Learns of which nodes clients want to hear, from their capabilities.
//!
//! Source: XEP-0115 v1.6.0 §5.4 and §6.2, XEP-0060 v1.26 §9.2. A client's presence names a hash; whoever sends an unknown
//! one is asked once what it stands for, and the answer is kept for everybody who sends it later, also over a restart.
//! Invariant: what is kept under a hash has that hash (S31); anything else counts for the session that said it and for
//! nobody else. Nothing here wakes the server: an answer that does not come is missed when the next client asks.

use std::{collections::BTreeMap, rc::Rc};

use crate::{
    domain::{
        away::Shown,
        ids::{SessionId, Time},
        keys,
    },
    limits,
    router::{
        context::Ctx,
        service::{Card, Flow, Leg, Notice, Phase, Service},
    },
    wire::{
        caps::{Hash, is_sound, verification},
        element::Element,
        jid::Jid,
        ns,
        stanza::{Kind, Stanza, Type},
    },
};

/// XEP-0115, as a server uses it.
#[derive(Debug, Default)]
pub struct Caps {
    /// What each known hash stands for: nodes in order. A copy of rows in the store.
    known: BTreeMap<Box<str>, Rc<[Box<str>]>>,
    /// The question that each client, here or elsewhere, was asked and has not answered, by full address.
    asked: BTreeMap<Jid, Question>,
    /// The capabilities that each sent last, as one text.
    said: BTreeMap<Jid, Said>,
}

#[derive(Clone, Debug)]
struct Said {
    text: Box<str>,
    /// In whose name it is asked.
    server: Box<str>,
    /// The node that it is asked for, XEP-0115 §6.2.
    node: Option<Box<str>>,
    /// Its own answer did not fit: there is no use in asking it again.
    is_refuted: bool,
}

#[derive(Clone, Debug)]
struct Question {
    id: Box<str>,
    /// What it said when it was asked; `None`: a hash of a kind that nobody can verify.
    hash: Option<(Hash, Box<str>)>,
    /// What it said, as one text.
    said: Box<str>,
    at: Time,
}

static CARD: Card = Card {
    name: "caps",
    source: "XEP-0115 v1.6.0",
    features: &[],
    stream_features: &[],
    iq: &[],
    // Looked at before presence is taken by whoever broadcasts or delivers it.
    passes: &[
        (Kind::Presence, Leg::Outbound, Phase::Archive),
        (Kind::Presence, Leg::Inbound, Phase::Archive),
        (Kind::Iq, Leg::Inbound, Phase::Deliver),
    ],
};

impl Service for Caps {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn pass(&mut self, (leg, _): (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        match (leg, stanza.ty, &stanza.to) {
            (Leg::Outbound, Type::Available, None) => self.of_session(stanza, ctx),
            (Leg::Outbound, Type::Unavailable, None) => {
                if let Some((id, _)) = ctx.sessions().full(&stanza.from) {
                    self.forget(id, ctx);
                }
            }
            (Leg::Inbound, Type::Available | Type::Unavailable, Some(to)) if ctx.core.is_elsewhere(&stanza.from) => {
                self.of_client_elsewhere(stanza, &to.clone(), ctx);
            }
            (Leg::Inbound, Type::Result | Type::Error, _) => return self.answered(stanza, ctx),
            _ => {}
        }
        Flow::Continue
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        if let Notice::SessionEnding(id) = notice {
            let jid = ctx.sessions().session(*id).map(|session| session.jid.clone());
            let question = jid.and_then(|jid| self.asked.get(&jid).cloned());
            self.forget(*id, ctx);
            if let Some(question) = question {
                self.ask_another(&question, ctx);
            }
        }
    }
}

impl Caps {
    fn says(&self, who: &Jid, text: &str) -> bool {
        self.said.get(who).is_some_and(|said| &*said.text == text)
    }

    /// A session is gone or goes offline.
    fn forget(&mut self, id: SessionId, ctx: &mut Ctx<'_>) {
        if let Some(session) = ctx.core.sessions.session_mut(id) {
            self.asked.remove(&session.jid);
            self.said.remove(&session.jid);
            session.wants_nodes = Rc::default();
        }
    }

    /// A session says that it is available, and what it is.
    fn of_session(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) {
        let Some((_, session)) = ctx.sessions().full(&stanza.from) else { return };
        let is_initial = session.presence.is_none();
        let server = session.jid.domain().to_owned();
        self.presence(stanza, is_initial, &server, ctx);
    }

    /// A client elsewhere shows itself to one of our own. What it can do matters if that one shows itself to it.
    fn of_client_elsewhere(&mut self, stanza: &Stanza, to: &Jid, ctx: &mut Ctx<'_>) {
        let who = &stanza.from;
        if stanza.ty == Type::Unavailable {
            for client in if who.is_bare() { ctx.core.away.clients(who) } else { vec![who.clone()] } {
                self.asked.remove(&client);
                self.said.remove(&client);
                ctx.core.away.gone(&client);
            }
            return;
        }
        let Some(account) = ctx.account(to).filter(|_| !who.is_bare()) else { return };
        if !ctx.shows_presence(account, who) {
            return;
        }
        let Shown { is_new, instead } = ctx.core.away.shown(who, account);
        if let Some(gone) = instead {
            self.asked.remove(&gone);
            self.said.remove(&gone);
        }
        let nodes = ctx.core.away.nodes(who);
        if is_new && !nodes.is_empty() {
            ctx.notice(Notice::InterestedAway { client: who.clone(), account, nodes });
        }
        if !ctx.core.away.accounts(who).is_empty() {
            self.presence(stanza, false, to.domain(), ctx);
        }
    }

    /// A client says what it is; `server`: in whose name it is asked what that means.
    fn presence(&mut self, stanza: &Stanza, is_initial: bool, server: &str, ctx: &mut Ctx<'_>) {
        let who = &stanza.from;
        // What is too long to be kept is nothing that could be asked about: presence from elsewhere may be as large as a stanza.
        let caps = stanza.find("c", ns::CAPS).filter(|caps| text_of(caps).len() <= limits::CAPS_TEXT_BYTES_MAX);
        let text = caps.as_ref().map(text_of).unwrap_or_default();
        if !is_initial && self.says(who, &text) {
            return;
        }
        let Some(caps) = caps else {
            self.said.remove(who);
            return wants(who, Rc::default(), is_initial, ctx);
        };
        let node = caps.get("node").zip(caps.get("ver")).map(|(node, ver)| format!("{node}#{ver}").into());
        let said = Said { text: text.clone(), is_refuted: false, server: server.into(), node };
        self.said.insert(who.clone(), said);
        let verifiable = caps.get("hash").and_then(Hash::parse).zip(caps.get("ver"));
        match verifiable.and_then(|(hash, ver)| self.known(hash, ver, ctx)) {
            Some(nodes) => wants(who, nodes, is_initial, ctx),
            None => {
                let question = Question {
                    id: Box::default(),
                    hash: verifiable.map(|(hash, ver)| (hash, ver.into())),
                    said: text,
                    at: ctx.now,
                };
                // Somebody else is being asked the same.
                let pending = self.asked.values().any(|other| {
                    other.hash.is_some()
                        && other.said == question.said
                        && ctx.now.0 < other.at.0.saturating_add(limits::CAPS_ANSWER_MS)
                });
                if !pending {
                    self.ask(who, question, ctx);
                }
            }
        }
    }

    /// What a hash stands for, if that is known.
    fn known(&mut self, hash: Hash, ver: &str, ctx: &mut Ctx<'_>) -> Option<Rc<[Box<str>]>> {
        let key = name_of(hash, ver);
        if let Some(nodes) = self.known.get(&*key) {
            return Some(nodes.clone());
        }
        let row = ctx.store().read(&row_key(&key))?;
        let text = String::from_utf8(row).ok()?;
        let nodes: Rc<[Box<str>]> = text.split('\n').filter(|node| !node.is_empty()).map(Box::from).collect();
        self.remember(key, nodes.clone());
        Some(nodes)
    }

    fn remember(&mut self, key: Box<str>, nodes: Rc<[Box<str>]>) {
        if self.known.len() >= limits::CAPS_MAX {
            self.known.clear();
        }
        self.known.insert(key, nodes);
    }

    /// XEP-0115 §6.2: asks a client what it can do, in the name of a server.
    fn ask(&mut self, who: &Jid, question: Question, ctx: &mut Ctx<'_>) {
        if self.asked.len() >= limits::CAPS_ASKED_MAX && !self.asked.contains_key(who) {
            return;
        }
        let Some(said) = self.said.get(who) else { return };
        let Ok(server) = Jid::from_parts(None, &said.server, None) else { return };
        let token = ctx.token();
        let query = Element::new("query", ns::DISCO_INFO).attr_if("node", said.node.as_deref());
        let iq = Element::new("iq", ns::CLIENT).attr("type", "get").attr("id", token.clone()).child(query);
        let overtaken = self.asked.insert(who.clone(), Question { id: token.into(), ..question });
        match ctx.sessions().full(who).map(|(id, _)| id) {
            Some(id) => ctx.push(id, server, &iq),
            None => ctx.send(Leg::Inbound, Stanza::build(&iq, server, Some(who.clone()))),
        }
        if let Some(question) = overtaken {
            self.ask_another(&question, ctx);
        }
    }

    /// Who was asked is gone or says something else: somebody else who says the same is asked.
    fn ask_another(&mut self, question: &Question, ctx: &mut Ctx<'_>) {
        let other = self
            .said
            .iter()
            .find(|(who, said)| said.text == question.said && !said.is_refuted && !self.asked.contains_key(who));
        let Some((other, _)) = other.filter(|_| question.hash.is_some()) else { return };
        let other = other.clone();
        self.ask(&other, Question { at: ctx.now, ..question.clone() }, ctx);
    }

    /// A client did not prove what it said; perhaps another one can.
    fn refuted(&mut self, who: &Jid, question: &Question, ctx: &mut Ctx<'_>) {
        if let Some(said) = self.said.get_mut(who).filter(|said| said.text == question.said) {
            said.is_refuted = true;
        }
        self.ask_another(question, ctx);
    }

    /// The answer of a session, if it is one to our question.
    fn answered(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let who = stanza.from.clone();
        // Our ids hold nothing that would be escaped.
        let is_ours = self.asked.get(&who).is_some_and(|question| stanza.id_raw() == Some(&question.id));
        let Some(question) = is_ours.then(|| self.asked.remove(&who)).flatten() else { return Flow::Continue };
        let query = stanza.find("query", ns::DISCO_INFO);
        let (Type::Result, Some(query)) = (stanza.ty, query) else {
            self.refuted(&who, &question, ctx);
            return Flow::Taken("no capabilities");
        };
        let children: Vec<Element> = query.children().cloned().collect();
        let nodes = wanted(&children);
        let proved =
            question.hash.as_ref().filter(|(hash, ver)| is_sound(&children) && verification(&children, *hash) == **ver);
        match proved {
            Some((hash, ver)) => {
                let key = name_of(*hash, ver);
                keep(&key, &nodes, ctx);
                self.remember(key, nodes.clone());
                let same: Vec<_> = self
                    .said
                    .iter()
                    .filter(|(_, said)| said.text == question.said)
                    .map(|(who, _)| who.clone())
                    .collect();
                for who in same {
                    self.asked.remove(&who);
                    wants(&who, nodes.clone(), false, ctx);
                }
            }
            None => {
                if self.says(&who, &question.said) {
                    wants(&who, nodes, false, ctx);
                }
                self.refuted(&who, &question, ctx);
            }
        }
        Flow::Taken("capabilities")
    }
}

/// What a session says of itself, as one text.
fn text_of(caps: &Element) -> Box<str> {
    let part = |name| caps.get(name).unwrap_or_default();
    [part("hash"), part("ver"), part("node"), part("ext")].join("\n").into()
}

fn name_of(hash: Hash, ver: &str) -> Box<str> {
    format!("{hash:?} {ver}").into()
}

fn row_key(name: &str) -> Vec<u8> {
    [&[keys::CAPS], name.as_bytes()].concat()
}

/// Nodes that an answer to disco#info asks for, XEP-0060 §9.2, in order and bounded.
fn wanted(children: &[Element]) -> Rc<[Box<str>]> {
    let features = children.iter().filter(|child| child.is("feature", ns::DISCO_INFO));
    let nodes = features.filter_map(|feature| feature.get("var")?.strip_suffix("+notify"));
    let fits = |node: &&str| !node.is_empty() && node.len() <= limits::NODE_NAME_BYTES_MAX && !node.contains('\n');
    let mut nodes: Vec<Box<str>> = nodes.filter(fits).take(limits::INTERESTS_MAX).map(Box::from).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.into()
}

/// Keeps what a hash stands for. When there are too many, all go: those in use are learned again in a day.
fn keep(name: &str, nodes: &[Box<str>], ctx: &mut Ctx<'_>) {
    let mut store = ctx.store();
    let rows = store.prefix(&[keys::CAPS], limits::CAPS_MAX);
    if rows.len() >= limits::CAPS_MAX {
        rows.iter().for_each(|(key, _)| store.remove(key));
    }
    store.put(&row_key(name), nodes.join("\n").as_bytes());
}

/// From now on a client hears of these nodes; whoever has something for it is told of those that are new.
fn wants(who: &Jid, nodes: Rc<[Box<str>]>, is_initial: bool, ctx: &mut Ctx<'_>) {
    let id = ctx.sessions().full(who).map(|(id, _)| id);
    let before = match id.and_then(|id| ctx.core.sessions.session_mut(id)) {
        Some(session) => std::mem::replace(&mut session.wants_nodes, nodes.clone()),
        None => ctx.core.away.wants(who, nodes.clone()),
    };
    let new: Rc<[Box<str>]> = match is_initial || before.is_empty() {
        true => nodes,
        false => nodes.iter().filter(|node| !before.contains(node)).cloned().collect(),
    };
    if new.is_empty() {
        return;
    }
    match id {
        Some(session) => ctx.notice(Notice::Interested { session, nodes: new }),
        None => {
            for account in ctx.core.away.accounts(who) {
                let (client, nodes) = (who.clone(), new.clone());
                ctx.notice(Notice::InterestedAway { client, account, nodes });
            }
        }
    }
}

#[cfg(test)]
mod tests;
