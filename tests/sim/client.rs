//! A client that comes and goes.

use std::collections::BTreeMap;

use crate::{
    ledger::{Ledger, SessionNo},
    stage::{
        player::Player,
        world::{DOMAIN, World},
        xml::{Item, Tree},
    },
};

/// One device of an account.
pub struct Client {
    /// Index of its account.
    pub account: usize,
    /// Localpart of its account.
    pub name: &'static str,
    /// Its resource.
    pub resource: &'static str,
    /// Uses stream management.
    pub manages: bool,
    /// It is the account's only one, so everything comes in order.
    pub alone: bool,
    /// It is, or was, connected.
    pub player: Option<Player>,
    /// Its connection is up.
    pub up: bool,
    /// Its session.
    pub session: SessionNo,
    /// What it remembers of each stanza that it received in this session, by count.
    log: Vec<Option<String>>,
    /// Whose presence it sees, by full address, with what it shows.
    pub view: BTreeMap<String, String>,
    /// IQs of this session by id, with the count of stanzas sent; and whether they were answered.
    pub asked: BTreeMap<String, (u32, bool)>,
}

impl Client {
    /// A device that is off.
    pub fn new(account: usize, name: &'static str, resource: &'static str, manages: bool, alone: bool) -> Client {
        Client {
            account,
            name,
            resource,
            manages,
            alone,
            player: None,
            up: false,
            session: 0,
            log: Vec::new(),
            view: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Signs in with a new session and comes online.
    pub fn come(&mut self, world: &mut World, session: SessionNo) {
        let mut player = Player::sign_in(world, self.name, self.resource);
        if self.manages {
            player.manage(world);
        }
        self.session = session;
        self.log.clear();
        self.view.clear();
        self.asked.clear();
        self.up = true;
        player.send(world, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>");
        self.player = Some(player);
    }

    /// Comes back with its session, having lost what it knew of the last `forgets` stanzas; `false`: the session is gone.
    pub fn resume(&mut self, world: &mut World, forgets: u32, ledger: &mut Ledger) -> bool {
        let Some(player) = &mut self.player else { return false };
        // It does not take back what it has told.
        let h = player.sm.h - forgets.min(player.sm.h - player.sm.told);
        // The answer may wait for the disk.
        let held = std::mem::take(&mut world.disk.held);
        player.sm.h = h;
        let answer = player.resume(world, h);
        world.disk.held = held;
        if answer.name != "resumed" {
            world_cut(world, player);
            self.player = None;
            self.up = false;
            return false;
        }
        self.log.truncate(h as usize);
        self.up = true;
        player.sm.sent = player.sm.acked;
        let arrived = player.sm.acked;
        ledger.resumes(self.session, arrived);
        self.asked.retain(|_, (count, _)| *count <= arrived);
        true
    }

    /// Sends a stanza; how many it has sent now.
    pub fn send(&mut self, world: &mut World, text: &str) -> u32 {
        let Some(player) = &mut self.player else { return 0 };
        player.send(world, text);
        player.sm.sent
    }

    /// Asks something and expects one answer.
    pub fn ask(&mut self, world: &mut World, id: String, text: &str) {
        let count = self.send(world, text);
        self.asked.insert(id, (count, false));
    }

    /// Reads what has come by now.
    pub fn read(&mut self, world: &mut World, ledger: &mut Ledger) -> Vec<Tree> {
        let mut seen = Vec::new();
        let Some(mut player) = self.player.take() else { return seen };
        let bytes = world.take_now(player.conn);
        player.read(world, &bytes);
        while let Some(item) = player.inbox().pop_front() {
            match item {
                Item::Element(element) => {
                    self.note(&element, ledger);
                    seen.push(element);
                }
                Item::End => self.up = false,
                Item::Header(_) => {}
            }
        }
        if self.manages {
            ledger.acknowledged(self.session, player.sm.acked);
            assert_eq!(player.sm.h as usize, self.log.len(), "the test counts as the client does");
        }
        self.up &= world.is_open(player.conn);
        self.player = Some(player);
        seen
    }

    fn note(&mut self, element: &Tree, ledger: &mut Ledger) {
        if !element.is_stanza() {
            let wrong =
                element.find("undefined-condition").or(element.find("bad-format")).or(element.find("invalid-xml"));
            assert!(wrong.is_none(), "{}/{} did nothing wrong: {element}", self.name, self.resource);
            return;
        }
        let ty = element.get("type").unwrap_or_default();
        let id = element.get("id").unwrap_or_default();
        let mut known = None;
        match (element.name.as_str(), ty) {
            ("presence", "" | "unavailable") => self.sees(element, ty == "unavailable"),
            ("message", "error") => {
                if let Some(n) = number(id) {
                    ledger.returned(n);
                }
            }
            ("message", _) => {
                let n = element.find("body").and_then(|body| number(&body.text())).expect("each message has a number");
                ledger.arrives(self.account, n, self.alone);
                known = element.find("stanza-id").and_then(|sid| sid.get("id")).map(str::to_owned);
                assert!(known.is_some(), "a message has its stanza-id: {element}");
            }
            ("iq", "result" | "error") if id != "roster" => {
                known = Some(format!("answer to {id}"));
                // Of an earlier session, if it is not known.
                if let Some((_, answered)) = self.asked.get_mut(id) {
                    *answered = true;
                }
            }
            _ => {}
        }
        if let Some(known) = &known {
            let again = self.log.iter().flatten().any(|before| before == known);
            assert!(!again, "{}/{} got {known} twice in one session: {element}", self.name, self.resource);
        }
        self.log.push(known);
    }
}

impl Client {
    /// Its full address.
    pub fn jid(&self) -> String {
        format!("{}@{DOMAIN}/{}", self.name, self.resource)
    }

    fn sees(&mut self, presence: &Tree, gone: bool) {
        let from = presence.get("from").unwrap_or_default();
        if gone && from == self.jid() {
            // From here on it is told of nobody; when it comes back it is told of all.
            self.view.clear();
        } else if gone {
            self.view.remove(from);
        } else {
            let show = presence.children().find(|child| child.name == "show").map(Tree::text).unwrap_or_default();
            self.view.insert(from.to_owned(), show);
        }
    }
}

fn world_cut(world: &mut World, player: &Player) {
    use crate::stage::Stage;
    world.cut(player.conn);
}

/// The number in `m17`.
pub fn number(text: &str) -> Option<usize> {
    text.strip_prefix('m')?.parse().ok()
}
