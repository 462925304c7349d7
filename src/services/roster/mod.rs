//! The contact list and its subscriptions.
//!
//! Source: RFC 6121 §2 and §3, XEP-0237 v1.3, XEP-0356 v0.4.1 §3. Invariant: every change of an item reaches every interested session of
//! the account as a push, in the order of the versions.

mod privileged;
mod subscriptions;
#[cfg(test)]
mod tests;

use crate::{
    domain::{
        ids::AccountId,
        roster::{self, RosterItem, State},
    },
    limits,
    router::{
        context::Ctx,
        privilege,
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
    source: "RFC 6121 §2 and §3, XEP-0237 v1.3, XEP-0356 v0.4.1 §3",
    features: &[(Scope::Host, ns::ROSTER), (Scope::Own, ns::ROSTER)],
    stream_features: &["<ver xmlns='urn:xmpp:features:rosterver'/>", "<sub xmlns='urn:xmpp:features:pre-approval'/>"],
    // DEVIATION: RFC 6121 §2.3.3 says `forbidden` to whoever sets somebody else's roster. That would tell that there is
    // such an account; so to others the answer is that of an account that does not exist (S12).
    iq: &[(Scope::Own, ns::ROSTER, "query"), (Scope::Other, ns::ROSTER, "query"), (Scope::Host, ns::ROSTER, "query")],
    passes: &[(Kind::Presence, Leg::Outbound, Phase::Deliver), (Kind::Presence, Leg::Inbound, Phase::Deliver)],
};

impl Service for Roster {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        match (iq.scope, iq.account, &iq.stanza.to) {
            (Scope::Own, Some(owner), _) if iq.is_set() => set(iq, &iq.from.bare(), owner, ctx),
            (Scope::Own, Some(owner), _) => list(iq, owner, ctx),
            (Scope::Other, Some(owner), Some(to)) if ctx.core.is_component(iq.from) => {
                if !privilege::may_use_roster(iq.from, iq.is_set(), ctx) {
                    return Err(Condition::Forbidden.into());
                }
                if iq.is_set() { privileged::set_all(iq, &to.bare(), owner, ctx) } else { list(iq, owner, ctx) }
            }
            (Scope::Other, ..) => Err(Condition::ServiceUnavailable.into()),
            // RFC 6121 §2.3.3: only the account itself.
            _ => Err(Condition::Forbidden.into()),
        }
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
fn set(iq: &Iq<'_>, owner_jid: &Jid, owner: AccountId, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let mut items = iq.payload.children();
    let (Some(item), None) = (items.next(), items.next()) else {
        return Err(Condition::BadRequest.into());
    };
    set_item(item, |_, state| state, owner_jid, owner, ctx)
}

/// One item. `settle` says what becomes of the subscription to this contact.
fn set_item(
    item: &Element,
    settle: impl Fn(&Jid, State) -> State,
    owner_jid: &Jid,
    owner: AccountId,
    ctx: &mut Ctx<'_>,
) -> Result<Reply, StanzaError> {
    if !item.is("item", ns::ROSTER) {
        return Err(Condition::BadRequest.into());
    }
    let jid = item.get("jid").ok_or(StanzaError::new(Condition::BadRequest))?;
    let jid = Jid::parse(jid).map_err(|_| StanzaError::new(Condition::JidMalformed))?;
    if jid == *owner_jid {
        return Err(StanzaError::new(Condition::NotAllowed).text("You are not your own contact."));
    }
    if item.get("subscription") == Some("remove") {
        return remove(owner_jid, owner, &jid, ctx);
    }
    let (name, groups) = texts(item)?;
    let known = roster::item(&ctx.store(), owner, jid.as_str());
    // RFC 6121 §2.1.5: `subscription` other than remove, `ask` and `approved` are the server's business.
    let known = known.unwrap_or_default();
    let changed = RosterItem { name, groups, state: settle(&jid, known.state), ..known };
    if !roster::has_room(&ctx.store(), owner, jid.as_str(), &changed) {
        return Err(StanzaError::new(Condition::ResourceConstraint).text("The roster is full."));
    }
    write(ctx, owner_jid, owner, &jid, changed);
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
fn remove(owner_jid: &Jid, owner: AccountId, contact: &Jid, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let Some(item) = roster::item(&ctx.store(), owner, contact.as_str()) else {
        return Err(Condition::ItemNotFound.into());
    };
    subscriptions::end(ctx, owner_jid, contact, item.state);
    let version = roster::remove(&mut ctx.store(), owner, contact.as_str());
    ctx.notice(Notice::ContactChanged { account: owner, contact: contact.bare(), shows: false });
    let gone = Element::new("item", ns::ROSTER).attr("jid", contact.as_str()).attr("subscription", "remove");
    push(ctx, owner_jid, gone, version);
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
    // XEP-0356 §3.4.
    for component in privilege::those_who(ctx, |component| component.roster.allows(false)) {
        ctx.send(Leg::Inbound, Stanza::build(&push, owner_jid.bare(), Some(component)));
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
