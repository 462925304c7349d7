//! Who gets this stanza, RFC 6120 §10 and RFC 6121 §8.
//!
//! Every message and presence walks the phases for the sender's account, then for the recipient's. An IQ that the
//! server answers meets exactly one service; any other goes to the session it names.

use std::collections::BTreeMap;

use super::{
    answer::UNHANDLED,
    context::Ctx,
    core::Work,
    delegation, peers, privilege,
    refusal::Refusal,
    service::{Card, Flow, Handles, Iq, Leg, Notice, PHASES, Phase, Reply, Scope, Service},
};
use crate::{
    domain::{
        accounts,
        ids::{AccountId, SessionId},
        rooms::senders::Sight,
        roster,
        sessions::Keep,
    },
    wire::{
        error::Condition,
        jid::Jid,
        stanza::{Kind, Stanza, Type},
    },
};

/// The services and who of them looks at what.
pub struct Router {
    services: Vec<Box<dyn Service>>,
    iq: BTreeMap<Handles, usize>,
    passes: [Vec<usize>; KINDS * LEGS * PHASES.len()],
}

const KINDS: usize = 3;
const LEGS: usize = 2;

fn index(kind: Kind, leg: Leg, phase: Phase) -> usize {
    (kind as usize * LEGS + leg as usize) * PHASES.len() + phase as usize
}

impl Router {
    /// Builds the tables from the services' cards.
    ///
    /// # Panics
    /// If two services claim the same payload or name: a mistake of ours that must not start.
    pub fn new(services: Vec<Box<dyn Service>>) -> Router {
        let mut iq = BTreeMap::new();
        let mut passes = std::array::from_fn(|_| Vec::new());
        for (at, service) in services.iter().enumerate() {
            let card = service.card();
            for path in service.paths() {
                if let Some(other) = services.iter().take(at).find(|other| other.paths().contains(path)) {
                    panic!("{} and {} both claim /{path}", other.card().name, card.name);
                }
            }
            for handles in card.iq {
                if let Some(other) = iq.insert(*handles, at) {
                    let other: &dyn Service = &*services[other];
                    panic!("{} and {} both claim {handles:?}", other.card().name, card.name);
                }
            }
            for (kind, leg, phase) in card.passes {
                passes[index(*kind, *leg, *phase)].push(at);
            }
        }
        Router { services, iq, passes }
    }

    /// The cards in order of registration.
    pub fn cards(&self) -> Vec<&'static Card> {
        self.services.iter().map(|service| service.card()).collect()
    }

    /// The services, for what they say about themselves.
    pub fn services(&self) -> &[Box<dyn Service>] {
        &self.services
    }

    /// A service by its place.
    pub(super) fn service_mut(&mut self, at: usize) -> &mut dyn Service {
        &mut *self.services[at]
    }

    /// Who runs when, as text.
    pub fn plan(&self) -> String {
        let mut out = String::new();
        for kind in [Kind::Message, Kind::Presence, Kind::Iq] {
            for leg in [Leg::Outbound, Leg::Inbound] {
                for phase in PHASES {
                    let names: Vec<_> =
                        self.passes[index(kind, leg, phase)].iter().map(|at| self.services[*at].card().name).collect();
                    if !names.is_empty() {
                        out += &format!("{:<9} {leg:<9?} {phase:<8?} {}\n", kind.as_str(), names.join(", "));
                    }
                }
            }
        }
        for ((scope, ns, name), at) in &self.iq {
            out += &format!("iq        {scope:<9?} <{name} xmlns='{ns}'> {}\n", self.services[*at].card().name);
        }
        out
    }

    /// Does what handlers left to do, until nothing is left. What it cannot do itself comes back.
    pub fn work(&mut self, ctx: &mut Ctx<'_>) -> Option<Work> {
        loop {
            let Some(work) = ctx.core.work.pop() else {
                if ctx.core.delegations.take_change() {
                    ctx.core.introduce(&self.services);
                }
                return None;
            };
            match work {
                Work::Route(Leg::Outbound, stanza) => self.outbound(stanza, None, ctx),
                Work::Route(Leg::Inbound, stanza) => self.inbound(stanza, ctx),
                Work::Notice(notice) => self.notice(&notice, ctx),
                work @ (Work::End(..) | Work::Distrust(..)) => return Some(work),
            }
        }
    }

    /// All services hear of it.
    pub fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        for service in &mut self.services {
            service.notice(notice, ctx);
        }
    }

    /// A stanza from one of our own: first for the sender's account. `session`: who sent it.
    pub fn outbound(&mut self, mut stanza: Stanza, session: Option<SessionId>, ctx: &mut Ctx<'_>) {
        if stanza.kind == Kind::Iq {
            return self.iq_outbound(stanza, session, ctx);
        }
        // RFC 6120 §10.3.1: a message without `to` is for the sender's own account.
        if stanza.kind == Kind::Message && stanza.to.is_none() {
            stanza.to = Some(stanza.from.bare());
        }
        for phase in PHASES {
            match self.phase(Leg::Outbound, phase, &mut stanza, ctx) {
                Flow::Continue => {}
                Flow::Taken(_) => return,
                Flow::Bounce(error) => return ctx.core.bounce(&stanza, &error),
            }
        }
        self.inbound(stanza, ctx);
    }

    /// A stanza for whoever `to` names.
    pub fn inbound(&mut self, mut stanza: Stanza, ctx: &mut Ctx<'_>) {
        let Some(to) = stanza.to.clone() else { return };
        if stanza.kind == Kind::Iq && ctx.core.is_elsewhere(&stanza.from) && is_no_iq(&stanza) {
            return ctx.core.bounce(&stanza, &Condition::BadRequest.into());
        }
        if ctx.core.hosts.contains_key(to.domain()) {
            return self.hosted(stanza, None, ctx);
        }
        if !ctx.is_local(&to) {
            // RFC 6120 §10.4.
            return peers::send(stanza, ctx);
        }
        if to.local().is_none() {
            return self.host(&stanza, &to, ctx);
        }
        if stanza.kind == Kind::Iq {
            return self.iq_inbound(stanza, None, ctx);
        }
        let exists = ctx.sessions().online(to.bare_str()).is_some() || accounts::exists(&ctx.store(), &to);
        if !exists {
            if let Flow::Bounce(error) = as_if_nobody(&stanza, ctx.is_local(&stanza.from)) {
                ctx.core.bounce(&stanza, &error);
            }
            return;
        }
        for phase in PHASES {
            match self.phase(Leg::Inbound, phase, &mut stanza, ctx) {
                Flow::Continue => {}
                Flow::Taken(why) => return log::trace!("{:?} to {to}: {why}", stanza.kind),
                Flow::Bounce(error) => return ctx.core.bounce(&stanza, &error),
            }
        }
    }

    fn phase(&mut self, leg: Leg, phase: Phase, stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        for at in &self.passes[index(stanza.kind, leg, phase)] {
            match self.services[*at].pass((leg, phase), stanza, ctx) {
                Flow::Continue => {}
                flow => return flow,
            }
        }
        Flow::Continue
    }

    /// To the domain itself, RFC 6120 §10.5.1 and §10.5.2.
    fn host(&mut self, stanza: &Stanza, to: &Jid, ctx: &mut Ctx<'_>) {
        match stanza.kind {
            Kind::Iq if matches!(stanza.ty, Type::Result | Type::Error) || to.resource().is_some() => {
                let ours = to.is_bare() && matches!(stanza.ty, Type::Result | Type::Error);
                if ours && delegation::answered(stanza, ctx) {
                    return;
                }
                if let Some(session) = ctx.core.local_session(to) {
                    ctx.deliver(session, stanza, Keep::Nothing);
                } else if ours {
                    // The answer to a question that the server asked, for whoever asked it.
                    self.phase(Leg::Inbound, Phase::Deliver, &mut stanza.clone(), ctx);
                } else {
                    ctx.core.bounce(stanza, &UNHANDLED);
                }
            }
            Kind::Iq => self.answer(stanza, Scope::Host, None, None, ctx),
            Kind::Message => ctx.core.bounce(stanza, &UNHANDLED),
            // Directed presence tells the server nothing that it does not know.
            Kind::Presence => {}
        }
    }

    /// To a host name that a service owns, or to an address there: requests to be answered, and all else.
    fn hosted(&mut self, mut stanza: Stanza, session: Option<SessionId>, ctx: &mut Ctx<'_>) {
        if stanza.kind == Kind::Iq && matches!(stanza.ty, Type::Get | Type::Set) {
            return self.answer(&stanza, Scope::Hosted, None, session, ctx);
        }
        let host = stanza.to.as_ref().and_then(|to| ctx.core.hosts.get(to.domain()));
        let Some(service) = host.map(|host| host.service) else { return };
        match self.services[service].hosted(&mut stanza, ctx) {
            Flow::Continue => {}
            Flow::Taken(why) => log::trace!("{:?} to a host: {why}", stanza.kind),
            Flow::Bounce(error) => ctx.core.bounce(&stanza, &error),
        }
    }

    /// Who answers this payload: to an address below a host name its owner alone, anywhere else who claims it.
    fn answerer(&self, stanza: &Stanza, scope: Scope, ctx: &Ctx<'_>) -> Option<usize> {
        let (_, name, ns) = stanza.children().next()?;
        match &stanza.to {
            Some(to) if scope == Scope::Hosted && !(to.local().is_none() && to.is_bare()) => {
                ctx.core.hosts.get(to.domain()).map(|host| host.service)
            }
            _ => {
                let iq: &BTreeMap<(Scope, &str, &str), usize> = &self.iq;
                iq.get(&(scope, ns, name)).copied()
            }
        }
    }

    /// An IQ from one of our own sessions, RFC 6120 §10.3.3 and RFC 6121 §8.5.
    fn iq_outbound(&mut self, mut stanza: Stanza, session: Option<SessionId>, ctx: &mut Ctx<'_>) {
        let requests = matches!(stanza.ty, Type::Get | Type::Set);
        if is_no_iq(&stanza) {
            return ctx.core.bounce(&stanza, &Condition::BadRequest.into());
        }
        // The bare address of the command line is the server's, which it means when it writes it.
        let is_own = |to: &Jid| to.local().is_some() && to.is_bare() && to.as_str() == stanza.from.bare_str();
        let own = stanza.to.as_ref().is_none_or(is_own);
        if own {
            if requests {
                let account = ctx.account(&stanza.from);
                return self.answer(&stanza, Scope::Own, account, session, ctx);
            }
            // The answer to a question that the server asked in the account's name.
            stanza.to.get_or_insert_with(|| stanza.from.bare());
            if privilege::answered(&stanza, ctx) {
                return;
            }
            self.phase(Leg::Inbound, Phase::Deliver, &mut stanza, ctx);
            return;
        }
        match self.phase(Leg::Outbound, Phase::Admit, &mut stanza, ctx) {
            Flow::Continue => {}
            Flow::Taken(_) => return,
            Flow::Bounce(error) => return ctx.core.bounce(&stanza, &error),
        }
        let Some(to) = stanza.to.clone() else { return };
        if ctx.core.hosts.contains_key(to.domain()) {
            return self.hosted(stanza, session, ctx);
        }
        if !ctx.is_local(&to) {
            return peers::send(stanza, ctx);
        }
        if to.local().is_none() {
            return match (to.resource(), requests) {
                (None, true) => self.answer(&stanza, Scope::Host, None, session, ctx),
                _ => self.host(&stanza, &to, ctx),
            };
        }
        self.iq_inbound(stanza, session, ctx);
    }

    /// An IQ for a local account or one of its sessions, RFC 6121 §8.5.2.1.3 and §8.5.3.
    fn iq_inbound(&mut self, mut stanza: Stanza, session: Option<SessionId>, ctx: &mut Ctx<'_>) {
        let Some(to) = stanza.to.clone() else { return };
        let requests = matches!(stanza.ty, Type::Get | Type::Set);
        let Some(account) = ctx.account(&to) else {
            return ctx.core.bounce(&stanza, &UNHANDLED);
        };
        match self.phase(Leg::Inbound, Phase::Admit, &mut stanza, ctx) {
            Flow::Continue => {}
            Flow::Taken(_) => return,
            Flow::Bounce(error) => return ctx.core.bounce(&stanza, &error),
        }
        if to.is_bare() {
            if requests {
                return self.answer(&stanza, Scope::Other, Some(account), session, ctx);
            }
            // The answer to a question that the server asked in the account's name.
            if !privilege::answered(&stanza, ctx) {
                self.phase(Leg::Inbound, Phase::Deliver, &mut stanza, ctx);
            }
            return;
        }
        let Some((target, _)) = ctx.sessions().full(&to) else {
            return ctx.core.bounce(&stanza, &UNHANDLED);
        };
        if !requests {
            return ctx.deliver(target, &stanza, Keep::Nothing);
        }
        if !shares_presence(ctx, account, target, &stanza.from) {
            return ctx.core.bounce(&stanza, &UNHANDLED);
        }
        ctx.deliver(target, &stanza, Keep::Request(Box::new(stanza.clone())));
    }

    /// Exactly one service answers, or nobody does.
    fn answer(
        &mut self,
        stanza: &Stanza,
        scope: Scope,
        account: Option<AccountId>,
        session: Option<SessionId>,
        ctx: &mut Ctx<'_>,
    ) {
        if delegation::takes(stanza, scope, session, ctx) {
            return;
        }
        let service = self.answerer(stanza, scope, ctx);
        let (Some(service), Some(payload)) = (service, stanza.child(0)) else {
            return ctx.core.bounce(stanza, &UNHANDLED);
        };
        let domain = match (&stanza.to, scope) {
            (Some(to), _) => to.domain().to_owned(),
            (None, _) => stanza.from.domain().to_owned(),
        };
        let iq = Iq {
            stanza,
            payload: &payload,
            ty: stanza.ty,
            scope,
            from: &stanza.from,
            session,
            account,
            domain: &domain,
            sight: Sight::All,
        };
        let before = ctx.core.overlay.puts();
        let mut outcome = self.services[service].iq(&iq, ctx);
        if let Ok(Reply::For(owner, sight)) = outcome {
            let key: (Scope, &str, &str) = (Scope::Own, &payload.ns, &payload.name);
            let iqs: &BTreeMap<(Scope, &str, &str), usize> = &self.iq;
            outcome = match iqs.get(&key) {
                Some(other) => self.services[*other].iq(&Iq { account: Some(owner), sight, ..iq }, ctx),
                None => Err(UNHANDLED),
            };
        }
        if let Err(error) = &outcome
            && delegation::takes_unknown(stanza, scope, &payload, error, ctx)
        {
            return;
        }
        if let (Scope::Other, Err(error), Some(account)) = (scope, &outcome, account)
            && !ctx.shows_presence(account, iq.from)
            && !ctx.core.is_component(iq.from)
        {
            // Whatever a stranger does wrong, the answer is that of an account that does not exist (S12).
            log::debug!("to a stranger, {}", Refusal(stanza, error));
            outcome = Err(UNHANDLED);
        }
        // A request that changes nothing, because an earlier one did, relies on the writes of that one.
        let relies = stanza.ty == Type::Set && outcome.is_ok();
        let waits = relies || ctx.core.overlay.puts() != before;
        if let Err(error) = &outcome {
            log::debug!("{}", Refusal(stanza, error));
        }
        ctx.core.answer(&iq.origin(), outcome, waits);
    }
}

/// RFC 6120 §8.2.3: an IQ has a type and an id, and a request one child.
fn is_no_iq(stanza: &Stanza) -> bool {
    let requests = matches!(stanza.ty, Type::Get | Type::Set);
    stanza.ty == Type::Invalid || stanza.id_raw().is_none() || (requests && stanza.children().count() != 1)
}

/// What meets a stanza for a user who does not exist, RFC 6121 §8.5.1, or who does not want to be found.
///
/// To somebody from elsewhere, what would be delivered or stored if there were such a user is ignored, since an error
/// would tell that there is none (RFC 6120 §10.2: directory harvesting); what would be an error anyway is one here (RFC
/// 6121 §8.5.4, table 1). Our own people are told: who mistypes the address of somebody at home should learn of it.
pub fn as_if_nobody(stanza: &Stanza, is_ours: bool) -> Flow {
    let bare = stanza.to.as_ref().is_some_and(Jid::is_bare);
    match (stanza.kind, stanza.ty) {
        (Kind::Presence, _) | (_, Type::Error | Type::Result) => Flow::Taken("nobody"),
        (Kind::Message, Type::Headline) if bare => Flow::Taken("nobody"),
        (Kind::Message, Type::Chat) if !is_ours => Flow::Taken("nobody"),
        (Kind::Message, Type::Normal) if bare && !is_ours => Flow::Taken("nobody"),
        _ => Flow::Bounce(UNHANDLED),
    }
}

/// RFC 6121 §8.5.3.1: a request reaches a session only if its account lets the sender see presence, or the session
/// sent presence there, or both are the same account. That is a SHOULD for the sake of presence, of which a name that
/// cannot be guessed gives nothing away: who knows it was told, and people who are no contacts send files and pings to it.
fn shares_presence(ctx: &mut Ctx<'_>, account: AccountId, target: SessionId, from: &Jid) -> bool {
    let Some(session) = ctx.sessions().session(target) else { return false };
    session.is_unguessable
        || session.jid.bare_str() == from.bare_str()
        // Who is in a room sent presence to one address there, and is asked from all of them (XEP-0045 §17.4).
        || session.directed.iter().any(|to| to.bare_str() == from.bare_str())
        || from.local().is_none()
        // What a room passes on, it has looked at.
        || ctx.core.hosts.contains_key(from.domain())
        || roster::state(&ctx.store(), account, from.bare_str()).from
}

#[cfg(test)]
mod tests;
