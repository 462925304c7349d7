//! Who sees whose presence.

use std::collections::BTreeMap;

use super::{ANNA, DORA, Play};
use crate::stage::world::DOMAIN;

impl Play {
    /// Everybody sees the presence of those, and only those, who let them (RFC 6121 §4, XEP-0191 §3.3). Whoever is not
    /// connected is gone for good.
    pub(super) fn check_views(&mut self) {
        if !self.takes_all {
            return;
        }
        let up: Vec<usize> = (0..self.clients.len()).filter(|who| self.clients[*who].up).collect();
        let mut blocked = None;
        let mut rosters: BTreeMap<usize, BTreeMap<String, String>> = BTreeMap::new();
        for &who in &up {
            let account = self.clients[who].account;
            if account == ANNA {
                let list = self.look_up(who, "<blocklist xmlns='urn:xmpp:blocking'/>");
                blocked = Some(list.children().next().is_some());
            }
            let roster = self.look_up(who, "<query xmlns='jabber:iq:roster'/>");
            let items = roster.children();
            let states = items.map(|item| (item.get("jid"), item.get("subscription").unwrap_or_default()));
            let states = states.filter_map(|(jid, state)| Some((jid?.to_owned(), state.to_owned()))).collect();
            rosters.insert(account, states);
        }
        for &who in &up {
            let viewer = &self.clients[who];
            // Its own presence as the server knows it.
            if !viewer.view.contains_key(&viewer.jid()) {
                continue;
            }
            for (other, shown) in self.clients.iter().enumerate() {
                let sees = viewer.view.get(&shown.jid());
                let truth = shown.view.get(&shown.jid()).filter(|_| shown.up);
                let name = format!("{}@{DOMAIN}", shown.name);
                let may = match (shown.account == viewer.account, rosters.get(&shown.account)) {
                    (true, _) => true,
                    // She hears nothing of whom she blocks, and nobody asks again.
                    _ if (viewer.account, shown.account) == (ANNA, DORA) => continue,
                    _ if (viewer.account, shown.account) == (DORA, ANNA)
                        && self.ledger.silenced.contains(&(DORA, ANNA)) =>
                    {
                        match blocked {
                            Some(true) => false,
                            _ => continue,
                        }
                    }
                    _ => matches!(rosters[&viewer.account].get(&name).map(String::as_str), Some("to" | "both")),
                };
                let expected = truth.filter(|_| may);
                assert_eq!(
                    sees,
                    expected,
                    "{} sees {}; may: {may}, clients {who} and {other}",
                    viewer.jid(),
                    shown.jid()
                );
            }
        }
    }
}
