//! Answers to presence probes, RFC 6121 §4.3.2 and §4.6.6.

use crate::{
    domain::{ids::AccountId, keys, roster, sessions::Session},
    router::{
        context::Ctx,
        service::{Flow, Leg},
    },
    wire::{build, element::Element, jid::Jid, ns, stanza::Stanza, time},
};

/// RFC 6121 §4.3.2 and §4.6.6.
pub fn probe(stanza: &Stanza, to: &Jid, ctx: &mut Ctx<'_>) -> Flow {
    let Some(account) = ctx.account(to) else { return Flow::Taken("no such account") };
    let viewer = stanza.from.clone();
    let state = roster::state(&ctx.store(), account, viewer.bare_str());
    let own = viewer.bare_str() == to.bare_str();
    if state.pending_in && !own {
        // An answer of `unsubscribed` would cancel the request on the asker's side alone.
        return Flow::Taken("probe of somebody whose request waits");
    }
    if !state.from && !own {
        return probe_of_stranger(stanza, account, to, ctx);
    }
    let mut answers: Vec<Stanza> = match to.resource() {
        None => ctx
            .sessions()
            .of(to.as_str())
            .filter_map(|(_, session)| Some(session.presence.as_ref()?.stanza.clone()))
            .collect(),
        Some(_) => vec![mere_presence(stanza, to, ctx)],
    };
    if answers.is_empty() {
        answers.push(last_seen(stanza, account, to, ctx));
    }
    for answer in answers {
        ctx.send(Leg::Inbound, answer.readdressed(Some(viewer.clone())));
    }
    Flow::Taken("probe answered")
}

/// Mere presence if the session showed itself to the prober, else `unsubscribed` to those who are known.
///
/// DEVIATION: RFC 6121 §4.3.2, rule 1, would say `unsubscribed` to everybody. To a blocked prober nothing may be said
/// (XEP-0191 §3.3), so only silence does not tell who has an account and who is blocked; §8.1 excepts contacts.
fn probe_of_stranger(stanza: &Stanza, account: AccountId, to: &Jid, ctx: &mut Ctx<'_>) -> Flow {
    let viewer = &stanza.from;
    let answer = if ctx.sessions().full(to).is_some_and(|(_, session)| showed_itself(session, viewer)) {
        mere_presence(stanza, to, ctx).readdressed(Some(viewer.clone()))
    } else if roster::item(&ctx.store(), account, viewer.bare_str()).is_some() {
        // RFC 6121 §4.3.2.1: the id is that of the probe.
        let denial = Element::new("presence", ns::CLIENT).attr("type", "unsubscribed").attr_if("id", id(stanza));
        Stanza::build(&denial, to.bare(), Some(viewer.bare()))
    } else {
        return Flow::Taken("probe of a stranger");
    };
    ctx.send(Leg::Inbound, answer);
    Flow::Taken("probe without subscription")
}

/// Whether the session sent this address directed presence.
fn showed_itself(session: &Session, viewer: &Jid) -> bool {
    session.directed.iter().any(|to| to == viewer || (to.is_bare() && to.as_str() == viewer.bare_str()))
}

/// Only that the resource is there, or is not (RFC 6121 §4.3.2, at the end, and §4.6.6).
fn mere_presence(probe: &Stanza, of: &Jid, ctx: &mut Ctx<'_>) -> Stanza {
    let session = ctx.sessions().full(of).map(|(_, session)| session);
    let presence = session.and_then(|session| session.presence.as_deref());
    let mere = Element::new("presence", ns::CLIENT);
    // RFC 6121 §4.3.2.1: whose id it carries.
    let mere = match presence {
        Some(presence) => mere.attr_if("id", id(&presence.stanza)),
        None if session.is_some_and(|session| showed_itself(session, &probe.from)) => mere,
        None => mere.attr("type", "unavailable").attr_if("id", id(probe)),
    };
    Stanza::build(&mere, of.clone(), None)
}

fn id(stanza: &Stanza) -> Option<String> {
    stanza.id_raw()?;
    stanza.element()?.get("id").map(str::to_owned)
}

/// RFC 6121 §4.3.2, rule 3.
fn last_seen(probe: &Stanza, account: AccountId, owner: &Jid, ctx: &mut Ctx<'_>) -> Stanza {
    let unavailable = Element::new("presence", ns::CLIENT).attr("type", "unavailable").attr_if("id", id(probe));
    let mut stanza = Stanza::build(&unavailable, owner.bare(), None);
    let row = ctx.store().read(&keys::owned(keys::LAST, account)).unwrap_or_default();
    if let Some((seconds, _)) = row.split_first_chunk::<8>() {
        let mut delay = b"<delay xmlns='urn:xmpp:delay'".to_vec();
        build::attr("stamp", &time::stamp(u64::from_be_bytes(*seconds) * 1000), &mut delay);
        delay.extend_from_slice(b"/>");
        stanza.add(&delay);
    }
    stanza
}
