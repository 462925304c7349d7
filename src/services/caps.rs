//! Learns of which nodes clients want to hear, from their capabilities.
//!
//! Source: XEP-0115 v1.6.0 §5.4 and §6.2, XEP-0060 v1.26 §9.2. A client's presence names a hash; whoever sends an unknown
//! one is asked once what it stands for, and the answer is kept for everybody who sends it later, also over a restart.
//! Invariant: what is kept under a hash has that hash (S31); anything else counts for the session that said it and for
//! nobody else. Nothing here wakes the server: an answer that does not come is missed when the next client asks.

use std::{collections::BTreeMap, rc::Rc};

use crate::{
    domain::{
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
        ns,
        stanza::{Kind, Stanza, Type},
    },
};

/// XEP-0115, as a server uses it.
#[derive(Debug, Default)]
pub struct Caps {
    /// What each known hash stands for: nodes in order. A copy of rows in the store.
    known: BTreeMap<Box<str>, Rc<[Box<str>]>>,
    /// The question that each session was asked and has not answered.
    asked: BTreeMap<SessionId, Question>,
    /// The capabilities that each session sent last, as one text.
    said: BTreeMap<SessionId, Said>,
}

#[derive(Clone, Debug)]
struct Said {
    text: Box<str>,
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
    // Looked at before presence is taken by whoever broadcasts it.
    passes: &[(Kind::Presence, Leg::Outbound, Phase::Archive), (Kind::Iq, Leg::Inbound, Phase::Deliver)],
};

impl Service for Caps {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn pass(&mut self, (leg, _): (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        match (leg, stanza.ty, &stanza.to) {
            (Leg::Outbound, Type::Available, None) => self.presence(stanza, ctx),
            (Leg::Outbound, Type::Unavailable, None) => {
                if let Some((id, _)) = ctx.sessions().full(&stanza.from) {
                    self.forget(id, ctx);
                }
            }
            (Leg::Inbound, Type::Result | Type::Error, _) => return self.answered(stanza, ctx),
            _ => {}
        }
        Flow::Continue
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        if let Notice::SessionEnding(id) = notice {
            let question = self.asked.get(id).cloned();
            self.forget(*id, ctx);
            if let Some(question) = question {
                self.ask_another(&question, ctx);
            }
        }
    }
}

impl Caps {
    fn says(&self, id: SessionId, text: &str) -> bool {
        self.said.get(&id).is_some_and(|said| &*said.text == text)
    }

    /// A session is gone or goes offline.
    fn forget(&mut self, id: SessionId, ctx: &mut Ctx<'_>) {
        self.asked.remove(&id);
        self.said.remove(&id);
        if let Some(session) = ctx.core.sessions.session_mut(id) {
            session.wants_nodes = Rc::default();
        }
    }

    /// A session says that it is available, and what it is.
    fn presence(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) {
        let Some((id, session)) = ctx.sessions().full(&stanza.from) else { return };
        let is_initial = session.presence.is_none();
        let caps = stanza.find("c", ns::CAPS);
        let text = caps.as_ref().map(text_of).unwrap_or_default();
        if !is_initial && self.says(id, &text) {
            return;
        }
        let Some(caps) = caps else {
            self.said.remove(&id);
            return wants(id, Rc::default(), is_initial, ctx);
        };
        self.said.insert(id, Said { text: text.clone(), is_refuted: false });
        let verifiable = caps.get("hash").and_then(Hash::parse).zip(caps.get("ver"));
        match verifiable.and_then(|(hash, ver)| self.known(hash, ver, ctx)) {
            Some(nodes) => wants(id, nodes, is_initial, ctx),
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
                    let node = caps.get("node").zip(caps.get("ver")).map(|(node, ver)| format!("{node}#{ver}"));
                    self.ask(id, question, node, ctx);
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

    /// XEP-0115 §6.2: asks a session what it can do, in the name of its server.
    fn ask(&mut self, id: SessionId, question: Question, node: Option<String>, ctx: &mut Ctx<'_>) {
        if self.asked.len() >= limits::CAPS_ASKED_MAX && !self.asked.contains_key(&id) {
            return;
        }
        let Some(domain) = ctx.sessions().session(id).map(|session| session.jid.domain().to_owned()) else { return };
        let Ok(server) = crate::wire::jid::Jid::from_parts(None, &domain, None) else { return };
        let token = ctx.token();
        let query = Element::new("query", ns::DISCO_INFO).attr_if("node", node);
        let iq = Element::new("iq", ns::CLIENT).attr("type", "get").attr("id", token.clone()).child(query);
        self.asked.insert(id, Question { id: token.into(), ..question });
        ctx.push(id, server, &iq);
    }

    /// Who was asked is gone: somebody else who says the same is asked.
    fn ask_another(&mut self, question: &Question, ctx: &mut Ctx<'_>) {
        let other = self
            .said
            .iter()
            .find(|(id, said)| said.text == question.said && !said.is_refuted && !self.asked.contains_key(id));
        let Some((other, _)) = other.filter(|_| question.hash.is_some()) else { return };
        let other = *other;
        let presence = ctx.sessions().session(other).and_then(|session| session.presence.as_ref());
        let caps = presence.and_then(|presence| presence.stanza.find("c", ns::CAPS));
        let node = caps.and_then(|caps| Some(format!("{}#{}", caps.get("node")?, caps.get("ver")?)));
        self.ask(other, Question { at: ctx.now, ..question.clone() }, node, ctx);
    }

    /// A session did not prove what it said; perhaps another one can.
    fn refuted(&mut self, id: SessionId, question: &Question, ctx: &mut Ctx<'_>) {
        if let Some(said) = self.said.get_mut(&id).filter(|said| said.text == question.said) {
            said.is_refuted = true;
        }
        self.ask_another(question, ctx);
    }

    /// The answer of a session, if it is one to our question.
    fn answered(&mut self, stanza: &Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let Some((id, _)) = ctx.sessions().full(&stanza.from) else { return Flow::Continue };
        // Our ids hold nothing that would be escaped.
        let is_ours = self.asked.get(&id).is_some_and(|question| stanza.id_raw() == Some(&question.id));
        let Some(question) = self.asked.remove(&id).filter(|_| is_ours) else { return Flow::Continue };
        let query = stanza.find("query", ns::DISCO_INFO);
        let (Type::Result, Some(query)) = (stanza.ty, query) else {
            self.refuted(id, &question, ctx);
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
                let same: Vec<_> =
                    self.said.iter().filter(|(_, said)| said.text == question.said).map(|(id, _)| *id).collect();
                for id in same {
                    self.asked.remove(&id);
                    wants(id, nodes.clone(), false, ctx);
                }
            }
            None => {
                if self.says(id, &question.said) {
                    wants(id, nodes, false, ctx);
                }
                self.refuted(id, &question, ctx);
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

/// From now on a session hears of these nodes; whoever has something for it is told of those that are new.
fn wants(id: SessionId, nodes: Rc<[Box<str>]>, is_initial: bool, ctx: &mut Ctx<'_>) {
    let Some(session) = ctx.core.sessions.session_mut(id) else { return };
    let before = std::mem::replace(&mut session.wants_nodes, nodes.clone());
    let new: Rc<[Box<str>]> = match is_initial || before.is_empty() {
        true => nodes,
        false => nodes.iter().filter(|node| !before.contains(node)).cloned().collect(),
    };
    if !new.is_empty() {
        ctx.notice(Notice::Interested { session: id, nodes: new });
    }
}

#[cfg(test)]
mod tests;
