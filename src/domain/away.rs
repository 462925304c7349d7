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
}

/// Clients elsewhere, by full address.
#[derive(Debug, Default)]
pub struct Away(BTreeMap<Jid, Client>);

impl Away {
    /// A client shows itself to an account; `true`: for the first time.
    pub fn shown(&mut self, jid: &Jid, account: AccountId) -> bool {
        if self.0.len() >= limits::AWAY_MAX && !self.0.contains_key(jid) {
            return false;
        }
        let client = self.0.entry(jid.clone()).or_default();
        let is_new = !client.accounts.contains(&account) && client.accounts.len() < limits::AWAY_ACCOUNTS_MAX;
        if is_new {
            client.accounts.push(account);
        }
        is_new
    }

    /// What a client wants to hear of from now on; what it wanted before.
    pub fn wants(&mut self, jid: &Jid, nodes: Nodes) -> Nodes {
        self.0.get_mut(jid).map(|client| std::mem::replace(&mut client.nodes, nodes)).unwrap_or_default()
    }

    /// What a client wants to hear of.
    pub fn nodes(&self, jid: &Jid) -> Nodes {
        self.0.get(jid).map(|client| client.nodes.clone()).unwrap_or_default()
    }

    /// To whom a client showed itself.
    pub fn accounts(&self, jid: &Jid) -> Vec<AccountId> {
        self.0.get(jid).map(|client| client.accounts.clone()).unwrap_or_default()
    }

    /// A client is gone.
    pub fn gone(&mut self, jid: &Jid) {
        self.0.remove(jid);
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
        let near = self.0.range(bare.clone()..).take_while(|(jid, _)| jid.as_str().starts_with(bare.as_str()));
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
            assert!(away.shown(&jid, AccountId(1)) && !away.shown(&jid, AccountId(1)));
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
            assert!(away.shown(&Jid::parse(&format!("a@x.lit/{n}")).unwrap(), AccountId(1)));
        }
        assert!(!away.shown(&Jid::parse("b@x.lit/1").unwrap(), AccountId(1)));
    }
}
