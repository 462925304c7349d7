//! The last item of a node for those who come online.
//!
//! Source: XEP-0163 §4.3.3 and §4.3.4. Invariant: a session gets at most one item of each node, and only when it comes, or
//! begins to ask for the node.

use super::{Site, access, items, notify};
use crate::{
    domain::{
        ids::{AccountId, SessionId},
        nodes::{self, Item, Node, settings::SendLast},
        roster,
    },
    router::context::Ctx,
    wire::jid::Jid,
};

/// A session wants to hear of these nodes: of its own account, and of those whose presence it sees.
pub(super) fn to_session(id: SessionId, wanted: &[Box<str>], ctx: &mut Ctx<'_>) {
    let Some(session) = ctx.sessions().session(id).filter(|session| session.presence.is_some()) else { return };
    let (account, jid) = (session.account, session.jid.bare());
    of_site(&Site { owner: account, jid: jid.clone(), is_personal: true }, id, &jid, wanted, ctx);
    for (contact, item) in roster::items(&ctx.store(), account) {
        let Some(contact) = Jid::parse(&contact).ok().filter(|contact| item.state.to && ctx.is_local(contact)) else {
            continue;
        };
        let Some(owner) = ctx.account(&contact) else { continue };
        let site = Site { owner, jid: contact, is_personal: true };
        if ctx.shows_presence(owner, &jid) && !notify::is_blocked(&site, &jid, ctx) {
            of_site(&site, id, &jid, wanted, ctx);
        }
    }
}

/// A client elsewhere wants to hear of these nodes of an account whose presence it sees.
pub(super) fn to_client(client: &Jid, account: AccountId, wanted: &[Box<str>], ctx: &mut Ctx<'_>) {
    let Some(site) = Site::personal(account, ctx) else { return };
    if !ctx.shows_presence(account, client) || notify::is_blocked(&site, client, ctx) {
        return;
    }
    for (node, item) in readable(&site, client, wanted, ctx) {
        notify::last_to_address(&site, &node, &item, client, ctx);
    }
}

/// A contact sees the account's presence from now on, and so is subscribed (XEP-0060 §9.1.2).
pub(super) fn to_contact(site: &Site, contact: &Jid, ctx: &mut Ctx<'_>) {
    if notify::is_blocked(site, contact, ctx) {
        return;
    }
    let sessions = ctx.sessions().of(contact.bare_str()).filter(|(_, session)| session.presence.is_some());
    let sessions: Vec<_> = sessions.map(|(id, session)| (id, session.wants_nodes.clone())).collect();
    for (id, wanted) in sessions {
        of_site(site, id, contact, &wanted, ctx);
    }
    for client in ctx.core.away.clients(contact) {
        let wanted = ctx.core.away.nodes(&client);
        to_client(&client, site.owner, &wanted, ctx);
    }
}

fn of_site(site: &Site, id: SessionId, jid: &Jid, wanted: &[Box<str>], ctx: &mut Ctx<'_>) {
    for (node, item) in readable(site, jid, wanted, ctx) {
        notify::last_to_session(site, &node, &item, id, ctx);
    }
}

/// The last items of those nodes that are sent to whoever comes, as far as somebody may read them.
fn readable(site: &Site, jid: &Jid, wanted: &[Box<str>], ctx: &mut Ctx<'_>) -> Vec<(Node, Item)> {
    if nodes::totals(&ctx.store(), site.owner).nodes == 0 {
        return Vec::new();
    }
    let mut out = Vec::new();
    for name in wanted {
        let Some(node) = nodes::find(&ctx.store(), site.owner, name) else { continue };
        let settings = &node.settings;
        if settings.send_last == SendLast::OnSubAndPresence
            && settings.deliver_notifications
            && access::may_read(site, &node, jid, ctx).is_ok()
            && let Some(item) = items::last(site, &node, ctx)
        {
            out.push((node, item));
        }
    }
    out
}
