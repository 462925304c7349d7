//! The contact list and its subscriptions.
//!
//! Source: RFC 6121 §2 and §3, XEP-0237 v1.3. Invariant: every change of an item reaches every interested session of
//! the account as a push, in the order of the versions.

mod subscriptions;
#[cfg(test)]
mod tests;

use crate::{
    domain::{
        ids::AccountId,
        roster::{self, RosterItem},
    },
    limits,
    router::{
        context::Ctx,
        service::{Card, Flow, Iq, Leg, Notice, Phase, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        jid::Jid,
        ns,
        stanza::{Kind, Stanza},
    },
};

/// Roster and subscriptions.
#[derive(Debug)]
pub struct Roster;

static CARD: Card = Card {
    name: "roster",
    source: "RFC 6121 §2 and §3, XEP-0237 v1.3",
    features: &[(Scope::Host, ns::ROSTER), (Scope::Own, ns::ROSTER)],
    stream_features: &["<ver xmlns='urn:xmpp:features:rosterver'/>", "<sub xmlns='urn:xmpp:features:pre-approval'/>"],
    // DEVIATION: RFC 6121 §2.3.3 says `forbidden` to whoever sets somebody else's roster. That would tell that there is
    // such an account; so here nobody answers for others, as for an account that does not exist (S12).
    iq: &[(Scope::Own, ns::ROSTER, "query"), (Scope::Host, ns::ROSTER, "query")],
    passes: &[(Kind::Presence, Leg::Outbound, Phase::Deliver), (Kind::Presence, Leg::Inbound, Phase::Deliver)],
};

impl Service for Roster {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        // RFC 6121 §2.3.3: only the account itself.
        let (Scope::Own, Some(owner)) = (iq.scope, iq.account) else {
            return Err(Condition::Forbidden.into());
        };
        if iq.is_set() { set(iq, owner, ctx) } else { list(iq, owner, ctx) }
    }

    fn pass(&mut self, (leg, _): (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        match (subscriptions::action(stanza.ty), leg) {
            (None, _) => Flow::Continue,
            (Some(action), Leg::Outbound) => subscriptions::outbound(action, stanza, ctx),
            (Some(action), Leg::Inbound) => subscriptions::inbound(action, stanza, ctx),
        }
    }
}

/// RFC 6121 §2.2 and §2.6: the roster, or nothing and pushes for what changed since the version that the client knows.
fn list(iq: &Iq<'_>, owner: AccountId, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    if let Some(session) = iq.session.and_then(|id| ctx.core.sessions.session_mut(id)) {
        session.interested = true;
    }
    let versions = roster::versions(&ctx.store(), owner);
    let mut items = roster::items(&ctx.store(), owner);
    let known = iq.payload.get("ver").map(|ver| ver.parse::<u64>().ok());
    if let (Some(Some(known)), Some(session)) = (known, iq.session)
        && (versions.removed..=versions.current).contains(&known)
    {
        // RFC 6121 §2.6.3: an empty result, then one push per changed item in the order of change.
        items.retain(|(_, item)| item.changed > known);
        items.sort_by_key(|(_, item)| item.changed);
        ctx.core.answer(&iq.origin(), Ok(Reply::Empty), false);
        for (contact, item) in items {
            let push = push_element(ctx, item_element(&contact, &item), item.changed);
            ctx.push(session, Jid::none(), &push);
        }
        return Ok(Reply::Later);
    }
    let mut query = Element::new("query", ns::ROSTER);
    if known.is_some() {
        query = query.attr("ver", versions.current.to_string());
    }
    Ok(query.with(items.iter().map(|(contact, item)| item_element(contact, item))).into())
}

/// RFC 6121 §2.3 to §2.5.
fn set(iq: &Iq<'_>, owner: AccountId, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let mut items = iq.payload.children();
    let (Some(item), None) = (items.next(), items.next()) else {
        return Err(Condition::BadRequest.into());
    };
    if !item.is("item", ns::ROSTER) {
        return Err(Condition::BadRequest.into());
    }
    let jid = item.get("jid").ok_or(StanzaError::new(Condition::BadRequest))?;
    let jid = Jid::parse(jid).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
    if jid.as_str() == iq.from.bare_str() {
        return Err(StanzaError::new(Condition::NotAllowed).text("You are not your own contact."));
    }
    if item.get("subscription") == Some("remove") {
        return remove(iq, owner, &jid, ctx);
    }
    let (name, groups) = texts(item)?;
    let known = roster::item(&ctx.store(), owner, jid.as_str());
    // RFC 6121 §2.1.5: `subscription` other than remove, `ask` and `approved` are the server's business.
    let changed = RosterItem { name, groups, ..known.unwrap_or_default() };
    if !roster::has_room(&ctx.store(), owner, jid.as_str(), &changed) {
        return Err(StanzaError::new(Condition::ResourceConstraint).text("The roster is full."));
    }
    write(ctx, iq.from, owner, &jid, changed);
    Ok(Reply::Empty)
}

/// Name and groups, RFC 6121 §2.3.3.
fn texts(item: &Element) -> Result<(String, Vec<String>), StanzaError> {
    let name = item.get("name").unwrap_or_default().to_owned();
    let too_long = |text: &str| text.len() > limits::ROSTER_TEXT_BYTES_MAX;
    if too_long(&name) {
        return Err(Condition::NotAcceptable.into());
    }
    let mut groups: Vec<String> = Vec::new();
    for group in item.children().filter(|child| child.is("group", ns::ROSTER)) {
        let group = group.content();
        if group.is_empty() || too_long(&group) || groups.len() >= limits::ROSTER_GROUPS_MAX {
            return Err(Condition::NotAcceptable.into());
        }
        if groups.contains(&group) {
            return Err(Condition::BadRequest.into());
        }
        groups.push(group);
    }
    Ok((name, groups))
}

/// RFC 6121 §2.5.2: the subscriptions end with the item.
fn remove(iq: &Iq<'_>, owner: AccountId, contact: &Jid, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let Some(item) = roster::item(&ctx.store(), owner, contact.as_str()) else {
        return Err(Condition::ItemNotFound.into());
    };
    subscriptions::end(ctx, &iq.from.bare(), contact, item.state);
    let version = roster::remove(&mut ctx.store(), owner, contact.as_str());
    ctx.notice(Notice::ContactChanged { account: owner, contact: contact.bare(), shows: false });
    let gone = Element::new("item", ns::ROSTER).attr("jid", contact.as_str()).attr("subscription", "remove");
    push(ctx, iq.from, gone, version);
    Ok(Reply::Empty)
}

/// Writes an item and tells all interested sessions of `owner_jid`'s account.
fn write(ctx: &mut Ctx<'_>, owner_jid: &Jid, owner: AccountId, contact: &Jid, item: RosterItem) {
    let before = roster::item(&ctx.store(), owner, contact.as_str()).unwrap_or_default();
    let item = roster::put(&mut ctx.store(), owner, contact.as_str(), item);
    if before.state.from != item.state.from || before.groups != item.groups {
        let shows = item.state.from && !before.state.from;
        ctx.notice(Notice::ContactChanged { account: owner, contact: contact.bare(), shows });
    }
    push(ctx, owner_jid, item_element(contact.as_str(), &item), item.changed);
}

/// RFC 6121 §2.1.6.
fn push(ctx: &mut Ctx<'_>, owner_jid: &Jid, item: Element, version: u64) {
    let push = push_element(ctx, item, version);
    let interested = ctx.sessions().of(owner_jid.bare_str()).filter(|(_, session)| session.interested);
    let interested: Vec<_> = interested.map(|(id, _)| id).collect();
    for id in interested {
        ctx.push(id, Jid::none(), &push);
    }
}

fn push_element(ctx: &mut Ctx<'_>, item: Element, version: u64) -> Element {
    let query = Element::new("query", ns::ROSTER).attr("ver", version.to_string()).child(item);
    Element::new("iq", ns::CLIENT).attr("type", "set").attr("id", ctx.token()).child(query)
}

fn item_element(contact: &str, item: &RosterItem) -> Element {
    let mut element = Element::new("item", ns::ROSTER).attr("jid", contact);
    if !item.name.is_empty() {
        element = element.attr("name", item.name.as_str());
    }
    element = element.attr("subscription", item.state.subscription());
    if item.state.pending_out {
        element = element.attr("ask", "subscribe");
    }
    if item.state.approved {
        element = element.attr("approved", "true");
    }
    item.groups.iter().fold(element, |element, group| element.leaf("group", group.as_str()))
}
