//! What people elsewhere want to hear of, as their presence told us.
//!
//! Source: XEP-0060 §9.2, XEP-0115 §6. Learned from presence and forgotten with it, or with a restart, after which presence
//! comes again. Invariant: bounded; who is beyond the bound hears of nothing by itself and can still ask.

use std::{collections::BTreeMap, rc::Rc};

use super::ids::AccountId;
use crate::{limits, wire::jid::Jid};

/// Names of nodes, in order.
pub type Nodes = Rc<[Box<str>]>;

/// A client elsewhere.
#[derive(Debug, Default)]
struct Client {
    nodes: Nodes,
    /// To whom here it showed itself.
    accounts: Vec<AccountId>,
    /// When it did so last: a number that grows.
    shown: u64,
}

/// Clients elsewhere, by full address.
#[derive(Debug, Default)]
pub struct Away {
    clients: BTreeMap<Jid, Client>,
    shown: u64,
}

/// A client showed itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Shown {
    /// To this account for the first time.
    pub is_new: bool,
    /// Another client of the same person, which gave way to it.
    pub instead: Option<Jid>,
}

impl Away {
    /// A client shows itself to an account.
    pub fn shown(&mut self, jid: &Jid, account: AccountId) -> Shown {
        let mut instead = None;
        if !self.clients.contains_key(jid) {
            instead = self.makes_room(jid);
            if self.clients.len() >= limits::AWAY_MAX {
                return Shown { is_new: false, instead };
            }
        }
        self.shown += 1;
        let client = self.clients.entry(jid.clone()).or_default();
        client.shown = self.shown;
        let is_new = !client.accounts.contains(&account) && client.accounts.len() < limits::AWAY_ACCOUNTS_MAX;
        if is_new {
            client.accounts.push(account);
        }
        Shown { is_new, instead }
    }

    /// Nobody says that they are gone whose server broke down. Of a person with many clients the one that showed itself least
    /// recently gives way to another one: so nobody takes up all the room there is.
    fn makes_room(&mut self, jid: &Jid) -> Option<Jid> {
        let bare = jid.bare();
        let many = self.of(&bare).count() >= limits::AWAY_CLIENTS_MAX;
        let (oldest, _) = self.of(&bare).min_by_key(|(_, client)| client.shown).filter(|_| many)?;
        let oldest = oldest.clone();
        self.clients.remove(&oldest);
        Some(oldest)
    }

    /// What a client wants to hear of from now on; what it wanted before.
    pub fn wants(&mut self, jid: &Jid, nodes: Nodes) -> Nodes {
        self.clients.get_mut(jid).map(|client| std::mem::replace(&mut client.nodes, nodes)).unwrap_or_default()
    }

    /// What a client wants to hear of.
    pub fn nodes(&self, jid: &Jid) -> Nodes {
        self.clients.get(jid).map(|client| client.nodes.clone()).unwrap_or_default()
    }

    /// To whom a client showed itself.
    pub fn accounts(&self, jid: &Jid) -> Vec<AccountId> {
        self.clients.get(jid).map(|client| client.accounts.clone()).unwrap_or_default()
    }

    /// A client is gone.
    pub fn gone(&mut self, jid: &Jid) {
        self.clients.remove(jid);
    }

    /// The clients of a bare address.
    pub fn clients(&self, bare: &Jid) -> Vec<Jid> {
        self.of(bare).map(|(jid, _)| jid.clone()).collect()
    }

    /// Those among them that want to hear of a node.
    pub fn interested(&self, bare: &Jid, node: &str) -> Vec<Jid> {
        let wants = |client: &Client| client.nodes.binary_search_by(|wanted| (**wanted).cmp(node)).is_ok();
        self.of(bare).filter(|(_, client)| wants(client)).map(|(jid, _)| jid.clone()).collect()
    }

    fn of<'a>(&'a self, bare: &'a Jid) -> impl Iterator<Item = (&'a Jid, &'a Client)> {
        let near = self.clients.range(bare.clone()..).take_while(|(jid, _)| jid.as_str().starts_with(bare.as_str()));
        near.filter(|(jid, _)| jid.bare_str() == bare.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_one_person_are_found_among_others() {
        let mut away = Away::default();
        let nodes: Nodes = ["mood", "tune"].map(Box::from).into();
        for jid in ["a@x.lit/1", "ab@x.lit/1", "a@x.lit/2", "a@x.li/1", "a@x.lit.org/1"] {
            let jid = Jid::parse(jid).unwrap();
            assert!(away.shown(&jid, AccountId(1)).is_new && !away.shown(&jid, AccountId(1)).is_new);
            away.wants(&jid, nodes.clone());
        }
        let bare = Jid::parse("a@x.lit").unwrap();
        let found = away.interested(&bare, "tune");
        assert_eq!(found.iter().map(Jid::as_str).collect::<Vec<_>>(), ["a@x.lit/1", "a@x.lit/2"]);
        away.gone(&found[0]);
        assert_eq!(away.interested(&bare, "tune").len(), 1);
        assert_eq!(away.interested(&bare, "nick").len(), 0);
    }

    #[test]
    fn they_are_bounded() {
        let mut away = Away::default();
        for n in 0..limits::AWAY_MAX {
            assert!(away.shown(&Jid::parse(&format!("a{n}@x.lit/1")).unwrap(), AccountId(1)).is_new);
        }
        assert!(!away.shown(&Jid::parse("b@x.lit/1").unwrap(), AccountId(1)).is_new);
    }

    #[test]
    fn of_one_person_the_client_that_was_silent_longest_gives_way() {
        let mut away = Away::default();
        let client = |n: usize| Jid::parse(&format!("a@x.lit/{n}")).unwrap();
        for n in 0..limits::AWAY_CLIENTS_MAX {
            assert_eq!(away.shown(&client(n), AccountId(1)), Shown { is_new: true, instead: None });
        }
        away.shown(&client(0), AccountId(1));
        let more = client(limits::AWAY_CLIENTS_MAX);
        assert_eq!(away.shown(&more, AccountId(1)), Shown { is_new: true, instead: Some(client(1)) });
        assert_eq!(away.clients(&more.bare()).len(), limits::AWAY_CLIENTS_MAX);
    }
}
