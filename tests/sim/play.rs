//! One play: what happens, in an order that only the seed knows.

mod views;

use std::collections::{BTreeMap, BTreeSet};

use lampone::config::Config;

use crate::{
    client::Client,
    ledger::{Fate, Ledger, Sent},
    stage::{
        Stage,
        world::{DOMAIN, Dice, World},
    },
};

const NAMES: [&str; 4] = ["anna", "ben", "cleo", "dora"];
/// Anna blocks Dora now and then.
const ANNA: usize = 0;
const DORA: usize = 3;
/// Cleo's client has no stream management: what is on its way when it breaks is lost.
const CLEO: usize = 2;
/// One client of each account.
const ONE_EACH: [usize; 4] = [0, 2, 3, 4];
const EVENTS_SHOWN: usize = 60;

/// The world, the clients, and the books.
pub struct Play {
    world: World,
    dice: Dice,
    clients: Vec<Client>,
    ledger: Ledger,
    sessions: u64,
    asks: u64,
    blocks: Blocks,
    /// By account: values of its private element that may be stored, the surest first.
    private: BTreeMap<usize, Vec<u64>>,
    /// Accounts of which some value was confirmed.
    confirmed: BTreeSet<usize>,
    /// The disk refuses nothing in this play. (What was shown on the strength of a write that was then refused is not
    /// taken back.)
    takes_all: bool,
    events: Vec<String>,
}

/// What Anna knows of her block list.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
enum Blocks {
    #[default]
    No,
    /// Asked, not answered: anything may be.
    Perhaps(String, bool),
    Yes,
}

impl Play {
    /// A play from its seed.
    pub fn new(seed: u64) -> Play {
        let mut dice = Dice(seed);
        let config = Config { domains: vec![DOMAIN.into()], ..Config::default() };
        let mut world = World::with(config, &NAMES, dice.roll());
        world.chops = dice.one_in(2).then(|| Dice(dice.roll()));
        world.disk.held = true;
        let dice_takes_all = dice.one_in(2);
        let clients = vec![
            Client::new(0, "anna", "phone", true, false),
            Client::new(0, "anna", "desk", true, false),
            Client::new(1, "ben", "phone", true, true),
            Client::new(CLEO, "cleo", "phone", false, false),
            Client::new(DORA, "dora", "phone", true, true),
        ];
        Play {
            world,
            dice,
            clients,
            ledger: Ledger::default(),
            sessions: 0,
            asks: 0,
            blocks: Blocks::No,
            private: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            takes_all: dice_takes_all,
            events: Vec::new(),
        }
    }

    /// The end of the story so far.
    pub fn last_events(&self) -> String {
        // One seed alone is being looked into.
        let shown = if std::env::var_os("LAMPONE_SEED").is_some() { usize::MAX } else { EVENTS_SHOWN };
        let first = self.events.len().saturating_sub(shown);
        self.events[first..].join("\n")
    }

    fn tell(&mut self, event: String) {
        self.events.push(format!("{:>9} ms  {event}", self.world.now.0));
    }

    /// Plays to the end.
    pub fn run(&mut self) {
        self.befriend();
        for _ in 0..40 + self.dice.below(80) {
            self.step();
        }
        self.finale();
    }

    /// In fair weather, some get to know each other.
    fn befriend(&mut self) {
        self.world.disk.held = false;
        for who in 0..self.clients.len() {
            self.client_comes(who);
        }
        for who in ONE_EACH {
            for other in ONE_EACH {
                if who != other && !self.dice.one_in(4) {
                    self.subscription(who, "subscribe", self.clients[other].account);
                    self.subscription(other, "subscribed", self.clients[who].account);
                    self.all_read();
                }
            }
        }
        self.world.disk.held = true;
    }

    fn step(&mut self) {
        let who = self.dice.below(self.clients.len());
        match self.dice.below(100) {
            0..35 => self.client_acts(who),
            35..55 => self.client_reads(who),
            55..75 => self.disk_works(),
            75..85 => {
                self.world.round();
            }
            85..92 => self.client_moves(who),
            92..96 => self.time_passes(),
            _ => self.trouble(),
        }
    }

    fn client_acts(&mut self, who: usize) {
        if !self.clients[who].up {
            return self.client_comes(who);
        }
        match self.dice.below(20) {
            0..11 => self.talk(who),
            11..13 => self.ping(who),
            13 if who != 1 => self.keep_private(who),
            14 | 15 => self.subscribe(who),
            16..18 => self.change_presence(who),
            18 if who != ANNA => self.look(who),
            // One client of hers alone, since nobody knows which of two is heard first.
            _ if who == ANNA => self.block(who),
            _ => self.talk(who),
        }
    }

    fn talk(&mut self, who: usize) {
        let burst = if self.dice.one_in(12) { 30 } else { 1 + self.dice.below(3) };
        for _ in 0..burst {
            let n = self.ledger.sent.len();
            let (to, address) = match self.dice.below(3) {
                0 => {
                    let other = &self.clients[self.dice.below(self.clients.len())];
                    (other.account, format!("{}@{DOMAIN}/{}", other.name, other.resource))
                }
                _ => {
                    let to = self.dice.below(NAMES.len());
                    (to, format!("{}@{DOMAIN}", NAMES[to]))
                }
            };
            let client = &mut self.clients[who];
            let text = format!("<message type='chat' to='{address}' id='m{n}'><body>m{n}</body></message>");
            let count = client.send(&mut self.world, &text);
            let blocked = (client.account, to) == (DORA, ANNA) && self.blocks == Blocks::Yes;
            let fate = Fate::Unknown;
            let to_account = !address.contains('/');
            let (from, session) = (client.account, client.session);
            self.ledger.sent.push(Sent { from, session, to, count, fate, to_account, blocked });
            let line = format!("{}/{} says m{n} to {address}", client.name, client.resource);
            self.tell(line);
        }
    }

    fn next_id(&mut self) -> String {
        self.asks += 1;
        format!("q{}", self.asks)
    }

    fn ping(&mut self, who: usize) {
        let id = self.next_id();
        let other = self.dice.below(self.clients.len());
        let to = match self.dice.below(3) {
            0 => DOMAIN.to_owned(),
            1 => format!("{}@{DOMAIN}", self.clients[other].name),
            _ => format!("{}@{DOMAIN}/{}", self.clients[other].name, self.clients[other].resource),
        };
        self.tell(format!("{}/{} pings {to} ({id})", self.clients[who].name, self.clients[who].resource));
        let text = format!("<iq type='get' to='{to}' id='{id}'><ping xmlns='urn:xmpp:ping'/></iq>");
        // Clients here answer no requests: one answer is due only where the server gives it.
        if to.contains('/') {
            self.clients[who].send(&mut self.world, &text);
        } else {
            self.clients[who].ask(&mut self.world, id, &text);
        }
    }

    fn keep_private(&mut self, who: usize) {
        let id = self.next_id();
        let value = self.asks;
        let account = self.clients[who].account;
        self.private.entry(account).or_default().push(value);
        self.tell(format!("{}/{} keeps {value} ({id})", self.clients[who].name, self.clients[who].resource));
        let text = format!(
            "<iq type='set' id='{id}'><query xmlns='jabber:iq:private'><v xmlns='urn:test'>{value}</v></query></iq>"
        );
        self.clients[who].ask(&mut self.world, id, &text);
    }

    fn subscribe(&mut self, who: usize) {
        let ty = ["subscribe", "subscribed", "unsubscribe", "unsubscribed"][self.dice.below(4)];
        let to = self.dice.below(NAMES.len());
        self.subscription(who, ty, to);
        // Most requests are granted, by now or before.
        let asked = (0..self.clients.len()).find(|other| self.clients[*other].account == to && self.clients[*other].up);
        if let ("subscribe", Some(asked), false) = (ty, asked, self.dice.one_in(3)) {
            self.subscription(asked, "subscribed", self.clients[who].account);
        }
    }

    fn subscription(&mut self, who: usize, ty: &str, to: usize) {
        let to = NAMES[to];
        self.tell(format!("{}/{} {ty} {to}", self.clients[who].name, self.clients[who].resource));
        self.clients[who].send(&mut self.world, &format!("<presence type='{ty}' to='{to}@{DOMAIN}'/>"));
    }

    fn change_presence(&mut self, who: usize) {
        let presence = match self.dice.below(5) {
            0 => "<presence type='unavailable'/>",
            2 => "<presence><show>dnd</show></presence>",
            1 => "<presence><priority>-1</priority></presence>",
            _ => "<presence><show>away</show></presence>",
        };
        self.tell(format!("{}/{} {presence}", self.clients[who].name, self.clients[who].resource));
        self.clients[who].send(&mut self.world, presence);
    }

    /// Somebody looks at the client, or puts it away (XEP-0352).
    fn look(&mut self, who: usize) {
        let state = if self.dice.one_in(3) { "active" } else { "inactive" };
        self.tell(format!("{}/{} is {state}", self.clients[who].name, self.clients[who].resource));
        self.clients[who].send(&mut self.world, &format!("<{state} xmlns='urn:xmpp:csi:0'/>"));
    }

    fn block(&mut self, who: usize) {
        let id = self.next_id();
        let block = self.dice.one_in(2);
        let name = if block { "block" } else { "unblock" };
        self.tell(format!("anna/{} {name}s dora ({id})", self.clients[who].resource));
        self.blocks = Blocks::Perhaps(id.clone(), block);
        if block {
            self.ledger.silenced.insert((DORA, ANNA));
        } else {
            // What was sent before and is heard only after it passes.
            for sent in self.ledger.sent.iter_mut().filter(|sent| sent.fate == Fate::Unknown) {
                sent.blocked = false;
            }
        }
        let item = format!("<item jid='dora@{DOMAIN}'/>");
        let text = format!("<iq type='set' id='{id}'><{name} xmlns='urn:xmpp:blocking'>{item}</{name}></iq>");
        self.clients[who].ask(&mut self.world, id, &text);
    }

    fn client_comes(&mut self, who: usize) {
        if self.clients[who].player.is_some() {
            self.lose_connection(who);
        }
        let resumes = self.clients[who].manages && self.clients[who].player.is_some() && !self.dice.one_in(4);
        let label = format!("{}/{}", self.clients[who].name, self.clients[who].resource);
        if resumes {
            let forgets = if self.dice.one_in(3) { self.dice.below(6) as u32 } else { 0 };
            let forgets = forgets.min(self.clients[who].player.as_ref().map_or(0, |player| player.sm.h));
            let done = self.clients[who].resume(&mut self.world, forgets, &mut self.ledger);
            self.tell(format!("{label} resumes, {forgets} forgotten: {done}"));
            if done {
                return;
            }
        }
        self.sessions += 1;
        let session = self.sessions;
        self.tell(format!("{label} signs in"));
        self.clients[who].come(&mut self.world, session);
    }

    fn client_reads(&mut self, who: usize) {
        let seen = self.clients[who].read(&mut self.world, &mut self.ledger);
        let account = self.clients[who].account;
        for element in seen.iter().filter(|element| element.name == "iq") {
            let (id, ty) = (element.get("id").unwrap_or_default(), element.get("type").unwrap_or_default());
            if let Blocks::Perhaps(asked, block) = &self.blocks
                && asked == id
                && account == ANNA
            {
                // The answer to the last command; if it is an error the list is what it was, whatever that was.
                self.blocks = match (ty, *block) {
                    ("result", true) => Blocks::Yes,
                    _ => Blocks::No,
                };
            }
            if ty == "result"
                && let Some(value) = id.strip_prefix('q').and_then(|value| value.parse::<u64>().ok())
                && let Some(values) = self.private.get_mut(&account)
                && let Some(at) = values.iter().position(|other| *other == value)
            {
                // It is durable: whatever was asked before it is overwritten.
                values.drain(..at);
                self.confirmed.insert(account);
            }
        }
        if !seen.is_empty() {
            let line = format!("{}/{} reads {}", self.clients[who].name, self.clients[who].resource, seen.len());
            self.tell(line);
        }
    }

    fn client_moves(&mut self, who: usize) {
        let Some(conn) = self.clients[who].player.as_ref().map(|player| player.conn) else { return };
        let label = format!("{}/{}", self.clients[who].name, self.clients[who].resource);
        if !self.clients[who].up {
            return;
        }
        match self.dice.below(7) {
            6 => {
                self.tell(format!("{label} closes its half"));
                self.world.half_close(conn);
                for _ in 0..self.dice.below(4) {
                    self.world.round();
                }
                self.client_reads(who);
                self.world.cut(conn);
                self.lose_connection(who);
            }
            0..3 => {
                self.tell(format!("{label} breaks"));
                self.world.cut(conn);
                self.lose_connection(who);
            }
            3 => {
                self.tell(format!("{label} stops reading"));
                self.world.stall(conn, true);
            }
            4 => {
                self.tell(format!("{label} reads again"));
                self.world.stall(conn, false);
            }
            _ => {
                self.tell(format!("{label} signs out"));
                let text = "</stream:stream>";
                self.world.put(conn, text.as_bytes());
                self.world.drive();
                self.client_reads(who);
                self.clients[who].up = false;
                self.clients[who].player = None;
            }
        }
    }

    /// What the client had not read is lost.
    fn lose_connection(&mut self, who: usize) {
        if let Some(player) = &self.clients[who].player {
            self.world.take_now(player.conn);
        }
        self.client_reads(who);
        self.clients[who].up = false;
    }

    fn disk_works(&mut self) {
        let jobs = 1 + self.dice.below(3);
        for _ in 0..jobs {
            self.world.settle();
            if let Some(answer) = self.world.disk.step() {
                self.world.disk_says(answer);
            }
        }
        self.tell(format!("the disk works; {} left", self.world.disk.waiting()));
    }

    fn time_passes(&mut self) {
        let ms = match self.dice.below(8) {
            0 => 3_700_000,
            // What was written moves into the database.
            1 => 86_500_000,
            _ => 1 + self.dice.below(9_000) as u64,
        };
        self.tell(format!("{ms} ms pass"));
        self.world.advance(ms);
    }

    fn trouble(&mut self) {
        match self.dice.below(6) {
            0 | 1 => {
                let survive = self.dice.below(self.world.disk.waiting() + 1);
                self.tell(format!("power is cut; {survive} batches survive"));
                self.world.power_fails(survive);
                for who in 0..self.clients.len() {
                    self.lose_connection(who);
                    self.clients[who].player = None;
                }
                if matches!(self.blocks, Blocks::Perhaps(..)) {
                    self.blocks = Blocks::No;
                }
            }
            2 if !self.takes_all => {
                let n = self.dice.below(3) as u32;
                self.tell(format!("the disk will refuse a write after {n}"));
                self.world.disk.refuse_in = Some(n);
            }
            3 => {
                self.tell("the database will not grow once".into());
                self.world.disk.fail_flush_in = Some(0);
            }
            4 => {
                let back = self.dice.below(4_000_000_000) as u64;
                self.tell(format!("the clock goes back {back} us"));
                self.world.wall_us -= back;
            }
            _ => {
                let on = self.dice.below(4_000_000_000) as u64;
                self.tell(format!("the clock goes on {on} us"));
                self.world.wall_us += on;
            }
        }
    }

    /// The weather clears, everybody comes back, and the books are closed.
    fn finale(&mut self) {
        self.tell("the weather clears".into());
        (self.world.disk.refuse_in, self.world.disk.fail_flush_in, self.world.disk.held) = (None, None, false);
        self.all_read();
        if self.dice.one_in(2) {
            self.tell("sessions expire".into());
            // Those who are there answer all the while.
            for _ in 0..63 {
                self.world.advance(59_000);
                (0..self.clients.len()).for_each(|who| self.client_reads(who));
            }
            self.all_read();
            self.check_views();
        }
        for who in 0..self.clients.len() {
            if !self.clients[who].up {
                self.client_comes(who);
            }
        }
        // Whoever was gone or refused messages takes them now.
        for client in self.clients.iter_mut().filter(|client| client.up) {
            client.send(&mut self.world, "<presence/>");
        }
        self.all_read();
        self.check_answers();
        self.ledger.close(&[CLEO]);
        self.check_private();
        self.check_rosters();
        self.check_views();
    }

    /// Until nothing comes any more.
    fn all_read(&mut self) {
        for client in &self.clients {
            if let Some(player) = &client.player
                && client.up
            {
                self.world.stall(player.conn, false);
                // What could wait has waited.
                self.world.put(player.conn, b"<active xmlns='urn:xmpp:csi:0'/>");
            }
        }
        let mut idle = 0;
        for _ in 0..1_000 {
            self.world.drive();
            let before = self.ledger.arrivals();
            let mut moved = false;
            for who in 0..self.clients.len() {
                if let Some(player) = &self.clients[who].player
                    && self.clients[who].up
                    && self.clients[who].manages
                {
                    let conn = player.conn;
                    self.world.put(conn, b"<r xmlns='urn:xmpp:sm:3'/>");
                }
                let seen = self.clients[who].player.as_ref().map_or(0, |player| player.sm.h);
                self.client_reads(who);
                moved |= self.clients[who].player.as_ref().map_or(0, |player| player.sm.h) != seen;
            }
            idle = if moved || before != self.ledger.arrivals() { 0 } else { idle + 1 };
            if idle == 3 {
                return;
            }
        }
        panic!("messages come for ever");
    }

    fn check_answers(&self) {
        for client in self.clients.iter().filter(|client| client.up && client.manages) {
            let Some(player) = &client.player else { continue };
            assert_eq!(player.sm.acked, player.sm.sent, "{}: all is acknowledged in the end", client.name);
            let missing: Vec<_> = client.asked.iter().filter(|(_, (_, answered))| !answered).collect();
            assert!(missing.is_empty(), "{}/{} waits for {missing:?}", client.name, client.resource);
        }
    }

    fn look_up(&mut self, who: usize, query: &str) -> crate::stage::xml::Tree {
        let text = format!("<iq type='get' id='look'>{query}</iq>");
        let id = self.next_id();
        self.clients[who].send(&mut self.world, &text.replace("look", &id));
        self.world.drive();
        let seen = self.clients[who].read(&mut self.world, &mut self.ledger);
        let answer = seen.into_iter().find(|element| element.get("id") == Some(&id));
        answer.expect("an answer").children().next().expect("a payload").clone()
    }

    /// What was answered with a result is there, or something that was asked later.
    fn check_private(&mut self) {
        for who in ONE_EACH {
            let account = self.clients[who].account;
            let Some(values) = self.private.get(&account).cloned() else { continue };
            let query = self.look_up(who, "<query xmlns='jabber:iq:private'><v xmlns='urn:test'/></query>");
            let stored = query.find("v").and_then(|v| v.text().parse::<u64>().ok());
            let sure = self.confirmed.contains(&account);
            match stored {
                Some(value) => assert!(values.contains(&value), "{} holds {value}, not {values:?}", NAMES[account]),
                None => assert!(!sure, "{} holds nothing, not {values:?}", NAMES[account]),
            }
        }
    }

    /// Both sides of every subscription agree.
    #[expect(clippy::needless_range_loop, reason = "two accounts are compared, by number")]
    fn check_rosters(&mut self) {
        let mut states: BTreeMap<(usize, usize), String> = BTreeMap::new();
        for who in ONE_EACH {
            let account = self.clients[who].account;
            let roster = self.look_up(who, "<query xmlns='jabber:iq:roster'/>");
            for item in roster.children() {
                let contact = item.get("jid").unwrap_or_default();
                let contact = NAMES.iter().position(|name| contact.strip_suffix(&format!("@{DOMAIN}")) == Some(name));
                let contact = contact.expect("a contact of the play");
                states.insert((account, contact), item.get("subscription").unwrap_or_default().to_owned());
            }
        }
        let state = |a, b| states.get(&(a, b)).map(String::as_str).unwrap_or("none");
        for a in 0..NAMES.len() {
            for b in 0..NAMES.len() {
                if self.ledger.silenced.contains(&(DORA, ANNA)) && [a, b].contains(&ANNA) && [a, b].contains(&DORA) {
                    continue;
                }
                let sees = matches!(state(a, b), "to" | "both");
                let shows = matches!(state(b, a), "from" | "both");
                assert_eq!(
                    sees,
                    shows,
                    "{} about {}: {}, the other way {}",
                    NAMES[a],
                    NAMES[b],
                    state(a, b),
                    state(b, a)
                );
            }
        }
    }
}
