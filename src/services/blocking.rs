//! Keeps the addresses an account does not want to hear from, and keeps their stanzas away.
//!
//! Source: XEP-0191 v1.3, XEP-0377 v0.4.1. Invariant: to a blocked sender the account looks as if it did not exist (S36), and no block
//! stands between an account and its own resources or the server itself.

mod reports;

use std::collections::BTreeSet;

use crate::{
    domain::{blocks, ids::AccountId},
    limits,
    router::{
        context::Ctx,
        route::as_if_nobody,
        service::{Card, Flow, Iq, Leg, Notice, Phase, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, ErrorKind, StanzaError},
        jid::Jid,
        ns,
        stanza::{Kind, Stanza},
    },
};

/// XEP-0191, with the reports of XEP-0377.
#[derive(Debug, Default)]
pub struct Blocking {
    reporters: reports::Reporters,
}

static CARD: Card = Card {
    name: "blocking",
    source: "XEP-0191 v1.3, XEP-0377 v0.4.1",
    features: &[(Scope::Host, ns::BLOCKING), (Scope::Own, ns::BLOCKING), (Scope::Host, ns::REPORTING)],
    stream_features: &[],
    iq: &[
        (Scope::Own, ns::BLOCKING, "blocklist"),
        (Scope::Own, ns::BLOCKING, "block"),
        (Scope::Own, ns::BLOCKING, "unblock"),
    ],
    passes: &[
        (Kind::Message, Leg::Outbound, Phase::Admit),
        (Kind::Message, Leg::Inbound, Phase::Admit),
        (Kind::Presence, Leg::Outbound, Phase::Admit),
        (Kind::Presence, Leg::Inbound, Phase::Admit),
        (Kind::Iq, Leg::Outbound, Phase::Admit),
        (Kind::Iq, Leg::Inbound, Phase::Admit),
    ],
};

impl Service for Blocking {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        let owner = iq.owner()?;
        match (iq.payload.name.as_ref(), iq.is_set()) {
            ("blocklist", false) => Ok(list(owner, iq, ctx)),
            ("block", true) => {
                let reply = block(owner, iq, ctx)?;
                self.reporters.forward(owner, iq, ctx);
                Ok(reply)
            }
            ("unblock", true) => unblock(owner, iq, ctx),
            _ => Err(Condition::BadRequest.into()),
        }
    }

    fn pass(&mut self, (leg, _): (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let Some(to) = stanza.to.clone() else { return Flow::Continue };
        match leg {
            // XEP-0191 §3.3: nothing goes out to a blocked address.
            Leg::Outbound if ctx.blocks(&stanza.from, &to) => Flow::Bounce(
                StanzaError::new(Condition::NotAcceptable).kind(ErrorKind::Cancel).app("blocked", ns::BLOCKING_ERRORS),
            ),
            // XEP-0191 §3.3: an error, as if there were no such user. DEVIATION: to somebody from elsewhere silence,
            // because that is what a user who does not exist answers them.
            Leg::Inbound if ctx.blocks(&to, &stanza.from) => as_if_nobody(stanza, ctx.is_local(&stanza.from)),
            _ => Flow::Continue,
        }
    }
}

/// XEP-0191 §3.2.
fn list(owner: AccountId, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Reply {
    if let Some(session) = iq.session.and_then(|id| ctx.core.sessions.session_mut(id)) {
        session.wants_blocks = true;
    }
    let items = blocks::list(&ctx.store(), owner);
    let items = items.into_iter().map(|jid| Element::new("item", ns::BLOCKING).attr("jid", jid));
    Element::new("blocklist", ns::BLOCKING).with(items).into()
}

/// The addresses that a command names, prepared.
fn addresses(command: &Element) -> Result<Vec<Jid>, StanzaError> {
    let items = command.children().filter(|child| child.is("item", ns::BLOCKING));
    items
        .map(|item| {
            let jid = item.get("jid").ok_or(StanzaError::new(Condition::BadRequest))?;
            Jid::parse(jid).map_err(|_| Condition::JidMalformed.into())
        })
        .collect()
}

/// XEP-0191 §3.3.
fn block(owner: AccountId, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let jids = addresses(iq.payload)?;
    if jids.is_empty() {
        return Err(Condition::BadRequest.into());
    }
    let mut store = ctx.store();
    let mut after: BTreeSet<String> = blocks::list(&store, owner).into_iter().collect();
    after.extend(jids.iter().map(|jid| jid.as_str().to_owned()));
    let bytes: usize = after.iter().map(String::len).sum();
    if after.len() > limits::BLOCKED_MAX || bytes > limits::BLOCKED_BYTES_MAX {
        return Err(StanzaError::new(Condition::ResourceConstraint).text("The block list is full."));
    }
    let added: Vec<Jid> = jids.iter().filter(|jid| blocks::add(&mut store, owner, jid)).cloned().collect();
    changed(owner, iq.from, "block", &jids, ctx);
    for jid in added {
        ctx.notice(Notice::BlockChanged { account: owner, jid, blocked: true });
    }
    Ok(Reply::Empty)
}

/// XEP-0191 §3.4 and §3.5: without items, all.
fn unblock(owner: AccountId, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
    let named = addresses(iq.payload)?;
    let gone = match named.is_empty() {
        true => blocks::list(&ctx.store(), owner).iter().filter_map(|jid| Jid::parse(jid).ok()).collect(),
        false => named.clone(),
    };
    let mut store = ctx.store();
    let removed: Vec<Jid> = gone.into_iter().filter(|jid| blocks::remove(&mut store, owner, jid.as_str())).collect();
    changed(owner, iq.from, "unblock", &named, ctx);
    for jid in removed {
        ctx.notice(Notice::BlockChanged { account: owner, jid, blocked: false });
    }
    Ok(Reply::Empty)
}

/// Tells the account's sessions that asked for the list, and notes whether it still holds anything.
fn changed(owner: AccountId, from: &Jid, name: &'static str, jids: &[Jid], ctx: &mut Ctx<'_>) {
    let any = blocks::any(&ctx.store(), owner);
    if let Some(online) = ctx.core.sessions.online_mut(from.bare_str()) {
        online.lists.blocks = any;
    }
    let items = jids.iter().map(|jid| Element::new("item", ns::BLOCKING).attr("jid", jid.as_str()));
    let push = Element::new(name, ns::BLOCKING).with(items);
    let sessions: Vec<_> =
        ctx.sessions().of(from.bare_str()).filter(|(_, session)| session.wants_blocks).map(|(id, _)| id).collect();
    for session in sessions {
        let id = ctx.token();
        let iq = Element::new("iq", ns::CLIENT).attr("type", "set").attr("id", id).child(push.clone());
        ctx.push(session, from.bare(), &iq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::ids::SessionId,
        router::testing::{House, condition_of, result_of, to_session},
    };

    fn set(house: &mut House, who: SessionId, command: &str) -> Vec<(SessionId, String)> {
        house.send(who, &format!("<iq type='set' id='b'>{command}</iq>"))
    }

    fn block(house: &mut House, who: SessionId, jid: &str) {
        let out = set(house, who, &format!("<block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block>"));
        assert_eq!(result_of(&to_session(&out, who)), "", "{out:?}");
    }

    const LIST: &str = "<iq type='get' id='blocklist1'><blocklist xmlns='urn:xmpp:blocking'/></iq>";

    #[test]
    fn the_list_is_kept_and_told() {
        // XEP-0191 §3.2, examples 3 to 5.
        let mut house = House::new();
        let juliet = house.online("juliet@capulet.lit/chamber");
        assert_eq!(result_of(&house.send(juliet, LIST)), "<blocklist xmlns='urn:xmpp:blocking'/>");
        for jid in ["romeo@montague.net", "Iago@shakespeare.lit", "romeo@montague.net"] {
            let out = set(&mut house, juliet, &format!("<block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block>"));
            assert!(out.iter().any(|(_, xml)| xml.contains("type='result'")), "{out:?}");
        }
        let expected = "<blocklist xmlns='urn:xmpp:blocking'><item jid='iago@shakespeare.lit'/>\
                        <item jid='romeo@montague.net'/></blocklist>";
        assert_eq!(result_of(&house.send(juliet, LIST)), expected);
    }

    #[test]
    fn changes_are_pushed_to_resources_that_asked_for_the_list() {
        // XEP-0191 §3.3 to §3.5, examples 8, 12 and 15.
        let mut house = House::new();
        let chamber = house.online("juliet@capulet.lit/chamber");
        let balcony = house.online("juliet@capulet.lit/balcony");
        let garden = house.online("juliet@capulet.lit/garden");
        house.send(chamber, LIST);
        house.send(balcony, LIST);
        for command in [
            "<block xmlns='urn:xmpp:blocking'><item jid='romeo@montague.net'/></block>",
            "<unblock xmlns='urn:xmpp:blocking'><item jid='romeo@montague.net'/></unblock>",
            "<unblock xmlns='urn:xmpp:blocking'/>",
        ] {
            let out = set(&mut house, garden, command);
            for session in [chamber, balcony] {
                let pushed = to_session(&out, session);
                assert!(pushed.len() == 1 && pushed[0].1.contains(command), "{pushed:?}");
                assert!(pushed[0].1.contains("from='juliet@capulet.lit'") && pushed[0].1.contains("type='set'"));
            }
            assert_eq!(to_session(&out, garden).len(), 1, "{out:?}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        let mut house = House::new();
        let juliet = house.online("juliet@capulet.lit/chamber");
        for (command, condition) in [
            ("<block xmlns='urn:xmpp:blocking'/>", "bad-request"),
            ("<block xmlns='urn:xmpp:blocking'><item/></block>", "bad-request"),
            ("<block xmlns='urn:xmpp:blocking'><item jid='@'/></block>", "jid-malformed"),
            ("<blocklist xmlns='urn:xmpp:blocking'/>", "bad-request"),
        ] {
            assert_eq!(condition_of(&set(&mut house, juliet, command)), condition, "{command}");
        }
    }

    #[test]
    fn s36_to_the_blocked_the_account_does_not_exist() {
        // XEP-0191 §3.3: what an inbound stanza meets.
        let mut house = House::new();
        let romeo = house.online("romeo@capulet.lit/orchard");
        let juliet = house.available("juliet@capulet.lit/balcony");
        house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
        block(&mut house, juliet, "romeo@capulet.lit");
        for stanza in [
            "<message to='TO' id='1' type='chat'><body>hi</body></message>",
            "<message to='TO' id='1'><body>hi</body></message>",
            "<message to='TO/balcony' id='1' type='chat'><body>hi</body></message>",
            "<message to='TO/balcony' id='1'><body>hi</body></message>",
            "<message to='TO' id='1' type='groupchat'><body>hi</body></message>",
            "<message to='TO' id='1' type='headline'><body>hi</body></message>",
            "<message to='TO' id='1' type='error'><body>hi</body></message>",
            "<presence to='TO' id='1'/>",
            "<presence to='TO' id='1' type='subscribe'/>",
            "<presence to='TO' id='1' type='probe'/>",
            "<iq to='TO' id='1' type='get'><query xmlns='jabber:iq:last'/></iq>",
            "<iq to='TO' id='1' type='get'><vCard xmlns='vcard-temp'/></iq>",
            "<iq to='TO/balcony' id='1' type='get'><query xmlns='jabber:iq:version'/></iq>",
            "<iq to='TO/balcony' id='1' type='result'/>",
        ] {
            let blocked = house.send(romeo, &stanza.replace("TO", "juliet@capulet.lit"));
            let nobody = house.send(romeo, &stanza.replace("TO", "nobody@capulet.lit"));
            assert!(to_session(&blocked, juliet).is_empty(), "{stanza}: {blocked:?}");
            let blocked: Vec<_> = blocked.iter().map(|(_, xml)| xml.replace("juliet", "nobody")).collect();
            let nobody: Vec<_> = nobody.iter().map(|(_, xml)| xml.clone()).collect();
            assert_eq!(blocked, nobody, "{stanza}");
        }
    }

    #[test]
    fn nothing_goes_out_to_the_blocked() {
        // XEP-0191 §3.3, example 9.
        let mut house = House::new();
        let romeo = house.available("romeo@capulet.lit/orchard");
        let juliet = house.available("juliet@capulet.lit/balcony");
        block(&mut house, juliet, "romeo@capulet.lit");
        for stanza in [
            "<message to='romeo@capulet.lit' type='chat'><body>Can you hear me now?</body></message>",
            "<presence to='romeo@capulet.lit/orchard'/>",
            "<iq to='romeo@capulet.lit/orchard' id='1' type='get'><query xmlns='jabber:iq:version'/></iq>",
        ] {
            let out = house.send(juliet, stanza);
            let error = "<not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
                         <blocked xmlns='urn:xmpp:blocking:errors'/>";
            assert!(out.len() == 1 && out[0].1.contains(error) && out[0].1.contains("type='cancel'"), "{out:?}");
        }
        assert_eq!(
            result_of(&house.send(juliet, "<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>")),
            ""
        );
        let out =
            house.send(juliet, "<message to='romeo@capulet.lit/orchard' type='chat'><body>And now?</body></message>");
        assert!(to_session(&out, romeo)[0].1.contains("And now?"));
    }

    #[test]
    fn an_account_cannot_lock_itself_out() {
        // XEP-0191 §4: resources of one account always reach each other. The server speaks for itself.
        let mut house = House::new();
        let balcony = house.available("juliet@capulet.lit/balcony");
        let chamber = house.available("juliet@capulet.lit/chamber");
        let romeo = house.online("romeo@capulet.lit/orchard");
        block(&mut house, balcony, "juliet@capulet.lit");
        block(&mut house, balcony, "capulet.lit");
        let out = house.send(balcony, "<message to='juliet@capulet.lit/chamber' type='chat'><body>me</body></message>");
        assert!(to_session(&out, chamber)[0].1.contains("me"), "{out:?}");
        let ping = "<iq to='capulet.lit' id='c2s1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>";
        assert_eq!(result_of(&house.send(balcony, ping)), "");
        let out = house.send(romeo, "<message to='juliet@capulet.lit' type='chat'><body>others</body></message>");
        assert_eq!(condition_of(&out), "service-unavailable");
    }

    #[test]
    fn presence_hides_and_shows_with_the_list() {
        // XEP-0191 §3.3 and §3.4.
        let mut house = House::new();
        let romeo = house.available("romeo@capulet.lit/orchard");
        let juliet = house.available("juliet@capulet.lit/balcony");
        house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
        let item = "<item jid='romeo@capulet.lit'/>";
        let out = set(&mut house, juliet, &format!("<block xmlns='urn:xmpp:blocking'>{item}</block>"));
        assert!(to_session(&out, romeo)[0].1.contains("type='unavailable'"), "{out:?}");
        set(&mut house, juliet, "<block xmlns='urn:xmpp:blocking'><item jid='capulet.lit'/></block>");
        let out = set(&mut house, juliet, &format!("<unblock xmlns='urn:xmpp:blocking'>{item}</unblock>"));
        assert!(to_session(&out, romeo).is_empty(), "the domain is still blocked: {out:?}");
        let out = set(&mut house, juliet, "<unblock xmlns='urn:xmpp:blocking'/>");
        let seen = to_session(&out, romeo);
        assert!(seen.len() == 1 && !seen[0].1.contains("unavailable"), "{out:?}");
    }

    #[test]
    fn the_list_is_bounded() {
        let mut house = House::new();
        let juliet = house.online("juliet@capulet.lit/balcony");
        let items: String = (0..limits::BLOCKED_MAX).map(|n| format!("<item jid='x{n}@spam.lit'/>")).collect();
        let out = set(&mut house, juliet, &format!("<block xmlns='urn:xmpp:blocking'>{items}</block>"));
        assert_eq!(result_of(&out), "");
        let more = "<block xmlns='urn:xmpp:blocking'><item jid='one@more.lit'/></block>";
        assert_eq!(condition_of(&set(&mut house, juliet, more)), "resource-constraint");
    }
}
