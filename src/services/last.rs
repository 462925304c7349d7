//! Tells how long an account has been away, and how long the server has been up.
//!
//! Source: XEP-0012 v2.0. Invariant: only those who see an account's presence learn when it was last there.

use crate::{
    domain::{accounts, ids::AccountId, keys},
    router::{
        context::Ctx,
        service::{Card, Iq, Reply, Scope, Service},
    },
    wire::{
        element::Element,
        error::{Condition, StanzaError},
        ns,
    },
};

/// XEP-0012.
#[derive(Debug)]
pub struct LastActivity;

static CARD: Card = Card {
    name: "last",
    source: "XEP-0012 v2.0",
    features: &[(Scope::Host, ns::LAST), (Scope::Own, ns::LAST)],
    stream_features: &[],
    iq: &[(Scope::Host, ns::LAST, "query"), (Scope::Own, ns::LAST, "query"), (Scope::Other, ns::LAST, "query")],
    passes: &[],
};

impl Service for LastActivity {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn iq(&mut self, iq: &Iq<'_>, ctx: &mut Ctx<'_>) -> Result<Reply, StanzaError> {
        iq.only_get()?;
        if iq.scope == Scope::Host {
            // XEP-0012 §5: of a server, the time since it started.
            return Ok(answer(ctx.wall_s().saturating_sub(ctx.core.started_s), "").into());
        }
        let account = iq.owner()?;
        // DEVIATION: XEP-0012 §4 says `forbidden` to those who do not see the account's presence. That would tell that
        // the account exists, which RFC 6121 §8.5.1 hides behind this very error.
        if iq.scope == Scope::Other && !ctx.shows_presence(account, iq.from) {
            return Err(Condition::ServiceUnavailable.into());
        }
        of_account(account, ctx).map(Reply::from)
    }
}

fn of_account(account: AccountId, ctx: &mut Ctx<'_>) -> Result<Element, StanzaError> {
    let jid = accounts::address(&ctx.store(), account).ok_or(StanzaError::new(Condition::ServiceUnavailable))?;
    // XEP-0012 §4: an account with an available resource is here now.
    if ctx.sessions().of(jid.bare_str()).any(|(_, session)| session.presence.is_some()) {
        return Ok(answer(0, ""));
    }
    let row = ctx.store().read(&keys::owned(keys::LAST, account)).unwrap_or_default();
    let (since_s, status) = match row.split_first_chunk::<8>() {
        Some((since, status)) => (u64::from_be_bytes(*since), String::from_utf8_lossy(status).into_owned()),
        // Never available: away since there is an account.
        None => (accounts::find(&ctx.store(), &jid).map_or(ctx.wall_s(), |account| account.created_s), String::new()),
    };
    Ok(answer(ctx.wall_s().saturating_sub(since_s), &status))
}

fn answer(seconds: u64, status: &str) -> Element {
    let query = Element::new("query", ns::LAST).attr("seconds", seconds.to_string());
    if status.is_empty() { query } else { query.text(status) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::{House, result_of};

    fn ask(to: &str) -> String {
        format!("<iq id='last1' to='{to}' type='get'><query xmlns='jabber:iq:last'/></iq>")
    }

    #[test]
    fn an_absent_account_tells_since_when_to_those_who_see_its_presence() {
        // XEP-0012 §4, examples 5 and 6.
        let mut house = House::new();
        let romeo = house.online("romeo@capulet.lit/orchard");
        let juliet = house.account("juliet@capulet.lit");
        let left = [&(house.wall_us / 1_000_000 - 903).to_be_bytes()[..], b"Heading <Home>"].concat();
        house.ctx().store().put(&keys::owned(keys::LAST, juliet), &left);
        let refused = house.send(romeo, &ask("juliet@capulet.lit"));
        assert!(refused[0].1.contains("service-unavailable"), "{refused:?}");
        house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
        let expected = "<query xmlns='jabber:iq:last' seconds='903'>Heading &lt;Home&gt;</query>";
        assert_eq!(result_of(&house.send(romeo, &ask("juliet@capulet.lit"))), expected);
    }

    #[test]
    fn an_available_account_is_here_now() {
        let mut house = House::new();
        let romeo = house.online("romeo@capulet.lit/orchard");
        house.available("juliet@capulet.lit/balcony");
        house.subscribe("juliet@capulet.lit", "romeo@capulet.lit");
        let expected = "<query xmlns='jabber:iq:last' seconds='0'/>";
        assert_eq!(result_of(&house.send(romeo, &ask("juliet@capulet.lit"))), expected);
    }

    #[test]
    fn the_server_tells_its_uptime() {
        // XEP-0012 §5, examples 8 and 9.
        let mut house = House::new();
        let romeo = house.online("romeo@capulet.lit/orchard");
        house.wall_us += 123_456_000_000;
        let expected = "<query xmlns='jabber:iq:last' seconds='123456'/>";
        assert_eq!(result_of(&house.send(romeo, &ask("capulet.lit"))), expected);
    }
}
