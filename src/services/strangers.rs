//! How much strangers from elsewhere may say.
//!
//! Source: RFC 6120 §13.12, RFC 6121 §13.2, XEP-0205 §3. A stranger is somebody of another server who is in no roster item
//! of the account, to whom its sessions show no presence, and to whom nobody of the account has written. Such a person may
//! introduce themselves; a domain may do so for some people an hour, each of them with some stanzas, and the rest is
//! treated as if there were no such user, which is what it costs a sender of spam to find addresses here. Invariants: what
//! is dropped tells nothing about who has an account (S12); whoever is known is never held back; and all this is bounded.

use std::collections::BTreeMap;

use crate::{
    domain::{ids::Time, roster},
    limits,
    router::{
        context::Ctx,
        route::as_if_nobody,
        service::{Card, Flow, Leg, Phase, Service},
    },
    wire::{
        jid::Jid,
        stanza::{Kind, Stanza, Type},
    },
};

/// Limits for strangers.
#[derive(Debug, Default)]
pub struct Strangers {
    /// By recipient and sender, both bare.
    known: BTreeMap<(Jid, Jid), Acquaintance>,
    /// By domain: introductions since then.
    domains: BTreeMap<Box<str>, (Time, u32)>,
}

/// What somebody from elsewhere and an account here have to do with each other.
#[derive(Clone, Copy, Debug)]
struct Acquaintance {
    since: Time,
    stanzas: u32,
    /// The account has written to them.
    is_answered: bool,
}

static CARD: Card = Card {
    name: "strangers",
    source: "RFC 6120 §13.12",
    features: &[],
    stream_features: &[],
    iq: &[],
    passes: &[
        (Kind::Message, Leg::Outbound, Phase::Admit),
        (Kind::Message, Leg::Inbound, Phase::Admit),
        (Kind::Presence, Leg::Inbound, Phase::Admit),
    ],
};

impl Service for Strangers {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn pass(&mut self, (leg, _): (Leg, Phase), stanza: &mut Stanza, ctx: &mut Ctx<'_>) -> Flow {
        let Some(to) = stanza.to.clone() else { return Flow::Continue };
        match leg {
            // The admin has invited the component, and the component those who come with it.
            _ if ctx.core.is_component(&to) || ctx.core.is_component(&stanza.from) => Flow::Continue,
            Leg::Outbound if ctx.core.is_elsewhere(&to) => {
                self.answers(&stanza.from, &to, ctx.now);
                Flow::Continue
            }
            Leg::Inbound if counts(stanza) && ctx.core.is_elsewhere(&stanza.from) && is_stranger(stanza, &to, ctx) => {
                match self.admits(&to, &stanza.from, ctx.now) {
                    Ok(()) => Flow::Continue,
                    Err(why) => {
                        log::info!("{} is a stranger to somebody here and is not heard: {why}", stanza.from.bare_str());
                        as_if_nobody(stanza, false)
                    }
                }
            }
            _ => Flow::Continue,
        }
    }
}

/// What a stranger can annoy with. Errors answer what was said here, and what a room says is asked for.
fn counts(stanza: &Stanza) -> bool {
    match stanza.kind {
        Kind::Message => !matches!(stanza.ty, Type::Error | Type::Groupchat),
        Kind::Presence => matches!(stanza.ty, Type::Subscribe),
        Kind::Iq => false,
    }
}

/// Whether the account has nothing to do with the sender, as far as is written down.
fn is_stranger(stanza: &Stanza, to: &Jid, ctx: &mut Ctx<'_>) -> bool {
    let from = stanza.from.bare_str();
    let Some(account) = ctx.account(to) else { return false };
    let is_shown = |jid: &Jid| jid.bare_str() == from;
    if ctx.sessions().of(to.bare_str()).any(|(_, session)| session.directed.iter().any(is_shown)) {
        return false;
    }
    let item = roster::item(&ctx.store(), account, from);
    item.is_none_or(|item| !item.state.to && !item.state.from && !item.state.pending_out && !item.state.approved)
}

impl Strangers {
    /// Somebody here writes to somebody elsewhere, and wants to hear the answer.
    fn answers(&mut self, from: &Jid, to: &Jid, now: Time) {
        self.make_room(now);
        let key = (from.bare(), to.bare());
        let known = self.known.entry(key).or_insert(Acquaintance { since: now, stanzas: 0, is_answered: true });
        known.is_answered = true;
    }

    /// Whether one more stanza of a stranger is heard; why not, for the log.
    fn admits(&mut self, to: &Jid, from: &Jid, now: Time) -> Result<(), &'static str> {
        let key = (to.bare(), from.bare());
        let is_over = |since: Time| now >= since.plus_ms(limits::STRANGER_WINDOW_MS);
        if let Some(known) = self.known.get_mut(&key) {
            if known.is_answered {
                return Ok(());
            }
            if !is_over(known.since) {
                known.stanzas += 1;
                return match known.stanzas <= limits::STRANGER_STANZAS_MAX {
                    true => Ok(()),
                    false => Err("too many messages without an answer"),
                };
            }
        }
        if self.domains.len() >= limits::STRANGER_DOMAINS_MAX && !self.domains.contains_key(from.domain()) {
            self.domains.retain(|_, (since, _)| !is_over(*since));
            if self.domains.len() >= limits::STRANGER_DOMAINS_MAX {
                return Err("too many servers introduce people");
            }
        }
        let (since, introduced) = self.domains.entry(from.domain().into()).or_insert((now, 0));
        if is_over(*since) {
            (*since, *introduced) = (now, 0);
        }
        *introduced = introduced.saturating_add(1);
        if *introduced > limits::STRANGERS_PER_DOMAIN_MAX {
            return Err("too many introductions from that server");
        }
        self.make_room(now);
        self.known.insert(key, Acquaintance { since: now, stanzas: 1, is_answered: false });
        Ok(())
    }

    /// Forgets those whose time is over, or, if there are none, whoever stands first: they introduce themselves again.
    fn make_room(&mut self, now: Time) {
        if self.known.len() < limits::STRANGERS_MAX {
            return;
        }
        self.known.retain(|_, known| now < known.since.plus_ms(limits::STRANGER_WINDOW_MS));
        if self.known.len() >= limits::STRANGERS_MAX {
            self.known.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::House;

    fn say(house: &mut House, xml: &str) -> usize {
        house.receive(xml).len()
    }

    fn message(from: &str, to: &str) -> String {
        format!("<message type='chat' from='{from}' to='{to}'><body>.</body></message>")
    }

    fn house() -> House {
        let mut house = House::new();
        house.federates = true;
        house.available("juliet@capulet.lit/balcony");
        house
    }

    #[test]
    fn a_stranger_is_heard_some_times_and_then_not() {
        let mut house = house();
        let spam = message("a@spam.lit/x", "juliet@capulet.lit");
        for _ in 0..limits::STRANGER_STANZAS_MAX {
            assert_eq!(say(&mut house, &spam), 1);
        }
        assert_eq!(say(&mut house, &spam), 0);
        assert!(house.to_peers.is_empty(), "silence, as from nobody");
        house.now = house.now.plus_ms(limits::STRANGER_WINDOW_MS);
        assert_eq!(say(&mut house, &spam), 1);
    }

    #[test]
    fn a_domain_introduces_some_people_an_hour() {
        let mut house = house();
        let request = |n| format!("<presence type='subscribe' from='a{n}@spam.lit' to='juliet@capulet.lit'/>");
        for n in 0..limits::STRANGERS_PER_DOMAIN_MAX {
            assert_eq!(say(&mut house, &request(n)), 1, "{n}");
        }
        assert_eq!(say(&mut house, &request(limits::STRANGERS_PER_DOMAIN_MAX)), 0);
        assert_eq!(say(&mut house, &message("a@other.lit", "juliet@capulet.lit")), 1);
        // Who was introduced before goes on.
        assert_eq!(say(&mut house, &message("a0@spam.lit", "juliet@capulet.lit")), 1);
    }

    #[test]
    fn friends_rooms_and_whoever_is_written_to_are_never_held_back() {
        let mut house = house();
        let juliet = house.available("juliet@capulet.lit/garden");
        let many = 2 * limits::STRANGER_STANZAS_MAX;
        house.send(juliet, "<message type='chat' to='b@friend.lit'><body>?</body></message>");
        house.send(juliet, "<presence to='room@rooms.lit/j'/>");
        let mut ctx = house.ctx();
        let account = ctx.account(&Jid::parse("juliet@capulet.lit").unwrap()).unwrap();
        let state = roster::State { to: true, ..roster::State::default() };
        let item = roster::RosterItem { state, ..roster::RosterItem::default() };
        roster::put(&mut ctx.store(), account, "romeo@montague.lit", item);
        for from in ["b@friend.lit/x", "room@rooms.lit/other", "romeo@montague.lit/orchard"] {
            for n in 0..many {
                assert!(say(&mut house, &message(from, "juliet@capulet.lit/garden")) > 0, "{from} {n}");
            }
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut strangers = Strangers::default();
        let to = Jid::parse("juliet@capulet.lit").unwrap();
        for n in 0..limits::STRANGERS_MAX + 10 {
            let from = Jid::parse(&format!("a@d{n}.lit")).unwrap();
            let heard = strangers.admits(&to, &from, Time(0)).is_ok();
            assert_eq!(heard, n < limits::STRANGER_DOMAINS_MAX);
            strangers.answers(&to, &from, Time(0));
        }
        assert!(strangers.known.len() <= limits::STRANGERS_MAX);
        assert!(strangers.domains.len() <= limits::STRANGER_DOMAINS_MAX);
    }
}
