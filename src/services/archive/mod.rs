//! Archives of accounts: every message is kept once, and its owner can ask for it.
//!
//! | file | what it holds |
//! |---|---|
//! | `worth.rs` | which messages are kept, and why others are not |
//! | `prefs.rs` | whose messages the owner wants kept (XEP-0441) |
//! | `filter.rs` | the form that says what is asked for |
//! | `query.rs` | a page of the archive |
//! | `retention.rs` | what goes because it is old, too much, or nobody's |
//!
//! Source: XEP-0313 v1.1.3, XEP-0059 v1.0, XEP-0334 v1.0.0, XEP-0359 v0.7.0, XEP-0441 v0.2.0. The rows stand in
//! [`crate::domain::archive`]. Invariants: an archive holds what was accepted for its owner or sent by them and nothing
//! that was refused; its ids are those that live messages carry; only its owner reads it (S28, S29); results come from
//! the server alone (S27).

mod filter;
mod prefs;
mod query;
mod retention;
#[cfg(test)]
mod tests;
mod worth;

use self::worth::Worth;
use crate::{
    domain::{
        archive::{self, Contact},
        ids::{AccountId, MessageId},
    },
    limits,
    router::{
        context::Ctx,
        reach::{Reach, reach},
        service::{AtBind, Card, Flow, Iq, Leg, Notice, Phase, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
        stanza::{Filed, Kind, Stanza},
    },
};

/// XEP-0313 for accounts.
#[derive(Debug, Default)]
pub struct Archive {
    chores: retention::Chores,
}

static CARD: Card = Card {
    name: "archive",
    source: "XEP-0313 v1.1.3, XEP-0059 v1.0, XEP-0334 v1.0.0, XEP-0441 v0.2.0",
    features: &[
        (Scope::Own, ns::MAM),
        (Scope::Own, ns::MAM_EXTENDED),
        (Scope::Own, ns::MAM_GROUPCHAT),
        (Scope::Own, ns::RSM),
    ],
    stream_features: &[],
    // Another's archive is asked for in vain, as one of an account that does not exist (S12).
    iq: &[(Scope::Own, ns::MAM, "query"), (Scope::Own, ns::MAM, "metadata"), (Scope::Own, ns::MAM, "prefs")],
    passes: &[
        (Kind::Message, Leg::Outbound, Phase::Clean),
        (Kind::Message, Leg::Outbound, Phase::Archive),
        (Kind::Message, Leg::Inbound, Phase::Archive),
    ],
};

impl Service for Archive {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        let owner = iq.owner()?;
        match (iq.payload.name.as_ref(), iq.is_set()) {
            ("query", true) => query::answer(owner, iq, ctx),
            ("query", false) => Ok(filter::form().into()),
            ("prefs", true) => prefs::change(owner, iq.from, iq.payload, ctx),
            ("prefs", false) => Ok(prefs::of(owner, ctx).element().into()),
            ("metadata", false) => Ok(query::metadata(owner, ctx).into()),
            _ => Err(Condition::BadRequest.into()),
        }
    }

    fn at_bind(&self) -> Option<AtBind> {
        let run = |session, _: Option<&Element>, ctx: &mut Ctx<'_>| {
            let owner = ctx.sessions().session(session)?.account;
            Some(query::metadata(owner, ctx))
        };
        Some(AtBind { ns: ns::MAM, is_feature: false, run })
    }

    fn pass(&mut self, at: (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        match at {
            (_, Phase::Clean) => {
                // A user's client is no archive; a room is, and does not come this way.
                if stanza.has("result", ns::MAM) {
                    stanza.cut(|name, namespace, _| name == "result" && namespace == ns::MAM);
                }
            }
            (Leg::Outbound, _) => self.sent(stanza, ctx),
            (Leg::Inbound, _) => self.received(stanza, ctx),
        }
        Flow::Continue
    }

    fn notice(&mut self, notice: &Notice, ctx: &mut Ctx<'_>) {
        match notice {
            Notice::AccountRemoved(account, _) => self.chores.purge(*account, ctx),
            Notice::ArchiveForgotten(account) => self.chores.empty(*account, ctx),
            Notice::Archive { owner, is_gone: true } => self.chores.purge(*owner, ctx),
            Notice::Archive { owner, is_gone: false } => self.chores.look(*owner, ctx),
            Notice::Chores => self.chores.step(ctx),
            Notice::Bounced(stanza, error) => self.bounced(stanza, error, ctx),
            _ => {}
        }
    }
}

impl Archive {
    /// A message leaves one of our own.
    fn sent(&mut self, stanza: &mut Stanza, ctx: &mut Ctx<'_>) {
        let Some(contact) = stanza.to.clone() else { return };
        let Some(owner) = ctx.account(&stanza.from) else { return };
        let from = stanza.from.clone();
        if let Worth::Nothing(why) = worth::of(stanza, Leg::Outbound).and(|| prefs::allow(owner, &from, &contact, ctx))
        {
            return log::debug!("archive of {}: not kept: {why}", stanza.from.bare_str());
        }
        let other = if ctx.is_local(&contact) { ctx.account(&contact) } else { None };
        self.file(stanza, owner, &contact, other, ctx);
    }

    /// A message comes to one of our own.
    fn received(&mut self, stanza: &mut Stanza, ctx: &mut Ctx<'_>) {
        let Some(to) = stanza.to.clone() else { return };
        let Some(owner) = ctx.account(&to) else { return };
        let contact = stanza.from.clone();
        // Sent to oneself: it is there already.
        let is_there = contact.bare_str() == to.bare_str() && stanza.filed.is_some();
        if !is_there {
            let worth = worth::of(stanza, Leg::Inbound)
                .and(|| worth::answers_a_client(stanza, &to))
                .and(|| prefs::allow(owner, &to, &contact, ctx))
                .and(|| match reach(stanza, &to, ctx) {
                    Reach::Refused => Worth::Nothing("it is refused"),
                    _ => Worth::Keeping,
                });
            if let Worth::Nothing(why) = worth {
                stanza.filed = stanza.filed.map(|filed| Filed { own: false, ..filed });
                return log::debug!("archive of {}: not kept: {why}", to.bare_str());
            }
            let other = if ctx.is_local(&contact) { ctx.account(&contact) } else { None };
            self.file(stanza, owner, &contact, other, ctx);
        }
        if let Some(filed) = stanza.filed {
            let known = ctx.stanza_id(owner, to.bare_str(), MessageId(filed.number));
            stanza.add(&known);
        }
    }

    /// A message of one of our own came back: what became of it stands behind it in the archive, if that has it.
    fn bounced(&mut self, stanza: &Stanza, error: &StanzaError, ctx: &mut Ctx<'_>) {
        let (Some(contact), Some(filed)) = (stanza.to.clone(), stanza.filed) else { return };
        let Some(owner) = ctx.account(&stanza.from) else { return };
        let mut error = stanza.returned(error);
        let is_kept = archive::entry(&ctx.store(), owner, MessageId(filed.number)).is_some();
        if is_kept && worth::of(&error, Leg::Inbound) == Worth::Keeping {
            self.file(&mut error, owner, &contact, None, ctx);
        }
    }

    /// Keeps it: the text once, and a row for this owner.
    fn file(
        &mut self,
        stanza: &mut Stanza,
        owner: AccountId,
        contact: &Jid,
        other: Option<AccountId>,
        ctx: &mut Ctx<'_>,
    ) {
        let id = match stanza.filed {
            Some(filed) => MessageId(filed.number),
            None => {
                let id = ctx.stored_message_id();
                archive::keep_text(&mut ctx.store(), id, stanza, stanza.to.as_ref());
                id
            }
        };
        stanza.filed = Some(Filed { number: id.0, own: true });
        let bytes = stanza.content_len() + stanza.from.as_str().len() + contact.as_str().len();
        let contact = Contact::of(contact);
        let count = archive::file(&mut ctx.store(), owner, id, contact, other, bytes);
        log::debug!("archive of account {}: message {} is kept", owner.0, id.0);
        if count.is_multiple_of(limits::ARCHIVE_TRIM_EVERY) {
            self.chores.look(owner, ctx);
        }
    }
}
