//! A room in any weather: all who are in it hear the same, in the order of its archive, and see the same people.
//!
//! Clients enter under nicknames that others want too, leave, rename themselves, talk, are kicked and banned, break and
//! resume; power is cut. At the end each stay, from the moment when a client saw itself enter to the moment when it saw
//! itself leave or lost its session, is held against the archive.

use std::collections::{BTreeMap, BTreeSet};

use lampone::config::Config;

use crate::stage::{
    Stage,
    player::Player,
    world::{DOMAIN, Dice, World},
    xml::{Item, Tree},
};

const GUESTS: [(&str, &str); 5] =
    [("anna", "phone"), ("ben", "phone"), ("ben", "desk"), ("cleo", "phone"), ("dora", "phone")];
/// Owns the room.
const ANNA: usize = 0;
const NICKS: [&str; 4] = ["ada", "bea", "cis", "dot"];
const ROOM: &str = "coven@rooms.capulet.lit";
const MUC: &str = "http://jabber.org/protocol/muc";
const USER: &str = "http://jabber.org/protocol/muc#user";

/// What a client heard while it was in: the archive's id, and the message's number.
type Heard = Vec<(String, usize)>;

struct Guest {
    name: &'static str,
    resource: &'static str,
    player: Option<Player>,
    up: bool,
    /// Its own nickname; `None`: it is not in the room, as far as it knows.
    nick: Option<String>,
    /// Roles by nickname, as it sees them.
    view: BTreeMap<String, String>,
    /// What it heard in each stay, the present one last.
    stays: Vec<Heard>,
    /// Messages of this session by the count of stanzas sent with them.
    sent: BTreeMap<u32, usize>,
    /// Its own messages that came to it as to everybody.
    reflected: BTreeSet<usize>,
    /// Its own messages that came back with an error.
    returned: BTreeSet<usize>,
    /// Pages of the archive, oldest first.
    page: Heard,
    /// Ids and conditions of the answers that it got (`result` for results).
    answers: BTreeMap<String, String>,
}

impl Guest {
    fn send(&mut self, world: &mut World, text: &str) -> u32 {
        let Some(player) = &mut self.player else { return 0 };
        player.send(world, text);
        player.sm.sent
    }

    fn come(&mut self, world: &mut World) {
        let mut player = Player::sign_in(world, self.name, self.resource);
        player.manage(world);
        self.player = Some(player);
        self.up = true;
        self.sent.clear();
        self.out();
        self.send(world, "<presence/>");
    }

    fn resume(&mut self, world: &mut World) -> bool {
        let Some(player) = &mut self.player else { return false };
        let held = std::mem::take(&mut world.disk.held);
        let answer = player.resume(world, player.sm.h);
        world.disk.held = held;
        self.up = answer.name == "resumed";
        if self.up {
            player.sm.sent = player.sm.acked;
            let arrived = player.sm.acked;
            self.sent.retain(|count, _| *count <= arrived);
        }
        self.up
    }

    /// It is in the room no more.
    fn out(&mut self) {
        self.nick = None;
        self.view.clear();
        self.stays.push(Heard::new());
    }

    fn enter(&mut self, world: &mut World, nick: &str) {
        self.send(world, &format!("<presence to='{ROOM}/{nick}'><x xmlns='{MUC}'/></presence>"));
    }

    fn sees(&mut self, nick: &str, presence: &Tree) {
        let Some(x) = presence.children().find(|child| child.name == "x" && child.ns == USER) else { return };
        let has = |code: &str| x.children().any(|child| child.name == "status" && child.get("code") == Some(code));
        let item = x.find("item").expect("somebody is shown");
        if presence.get("type") != Some("unavailable") {
            let role = item.get("role").expect("with a role").to_owned();
            if has("110") && self.nick.as_deref() != Some(nick) {
                if self.nick.is_none() {
                    self.stays.push(Heard::new());
                }
                self.nick = Some(nick.to_owned());
            }
            self.view.insert(nick.to_owned(), role);
            return;
        }
        self.view.remove(nick);
        if has("110") {
            match has("303") {
                true => self.nick = item.get("nick").map(str::to_owned),
                false => self.out(),
            }
        }
    }

    fn note(&mut self, element: &Tree) {
        let from = element.get("from").unwrap_or_default();
        let ty = element.get("type").unwrap_or_default();
        let nick = from.strip_prefix(ROOM).and_then(|rest| rest.strip_prefix('/'));
        let id = element.get("id").unwrap_or_default();
        match (element.name.as_str(), ty, nick) {
            ("presence", "" | "unavailable", Some(nick)) => self.sees(nick, element),
            ("message", "error", _) => {
                self.returned.extend(id.strip_prefix('m').and_then(|n| n.parse::<usize>().ok()));
            }
            ("message", "groupchat", Some(nick)) => self.hears(nick, element),
            ("message", ..) => self.page.extend(element.find("result").and_then(archived)),
            ("iq", "result" | "error", _) => {
                let condition = element.find("error").and_then(|error| error.children().next());
                let outcome = condition.map_or("result", |condition| condition.name.as_str());
                self.answers.insert(id.to_owned(), outcome.to_owned());
            }
            _ => {}
        }
    }

    fn hears(&mut self, nick: &str, message: &Tree) {
        let Some(n) = message.find("body").and_then(|body| body.text().parse().ok()) else { return };
        let own = |child: &&Tree| child.name == "stanza-id" && child.get("by") == Some(ROOM);
        let ids: Vec<_> = message.children().filter(own).filter_map(|child| child.get("id")).collect();
        let [id] = ids.as_slice() else { panic!("one id of the room: {message}") };
        if message.find("delay").is_some() {
            return;
        }
        assert!(self.nick.is_some(), "{}/{} is not in, and hears {message}", self.name, self.resource);
        assert!(self.view.contains_key(nick), "{}/{} hears nobody: {message}", self.name, self.resource);
        self.stays.last_mut().expect("a stay").push(((*id).to_owned(), n));
        if self.sent.values().any(|own| *own == n) {
            self.reflected.insert(n);
        }
    }

    fn read(&mut self, world: &mut World) -> usize {
        let Some(mut player) = self.player.take() else { return 0 };
        let bytes = world.take_now(player.conn);
        player.read(world, &bytes);
        let items: Vec<_> = player.inbox().drain(..).collect();
        self.up &= world.is_open(player.conn);
        self.player = Some(player);
        let count = items.len();
        for item in items {
            match item {
                Item::Element(element) => self.note(&element),
                Item::End => self.up = false,
                Item::Header(_) => {}
            }
        }
        count
    }
}

/// Id and number of a message in an answer of the archive.
fn archived(result: &Tree) -> Option<(String, usize)> {
    let message = result.find("forwarded")?.find("message")?;
    Some((result.get("id")?.to_owned(), message.find("body")?.text().parse().ok()?))
}

struct Play {
    world: World,
    dice: Dice,
    guests: Vec<Guest>,
    messages: usize,
    asked: usize,
    /// Messages that were acknowledged to who said them, who also knows what became of them.
    owed: BTreeSet<usize>,
    /// What was heard and perhaps not durable when power was cut.
    perhaps_lost: BTreeSet<String>,
}

impl Play {
    fn new(seed: u64) -> Play {
        let mut dice = Dice(seed);
        let config = Config { domains: vec![DOMAIN.into()], ..Config::default() };
        let mut world = World::with(config, &["anna", "ben", "cleo", "dora"], dice.roll());
        world.chops = dice.one_in(2).then(|| Dice(dice.roll()));
        let guest = |(name, resource): (&'static str, &'static str)| Guest {
            name,
            resource,
            player: None,
            up: false,
            nick: None,
            view: BTreeMap::new(),
            stays: Vec::new(),
            sent: BTreeMap::new(),
            reflected: BTreeSet::new(),
            returned: BTreeSet::new(),
            page: Heard::new(),
            answers: BTreeMap::new(),
        };
        let guests = GUESTS.map(guest).into();
        Play { world, dice, guests, messages: 0, asked: 0, owed: BTreeSet::new(), perhaps_lost: BTreeSet::new() }
    }

    /// In fair weather Anna makes a room that stays.
    fn found(&mut self) {
        let Play { world, guests, .. } = self;
        let anna = &mut guests[ANNA];
        anna.come(world);
        anna.enter(world, "ada");
        let form = "<x xmlns='jabber:x:data' type='submit'><field var='muc#roomconfig_persistentroom'>\
                    <value>1</value></field></x>";
        anna.send(
            world,
            &format!("<iq type='set' id='set' to='{ROOM}'><query xmlns='{MUC}#owner'>{form}</query></iq>"),
        );
        self.all_read();
        let anna = &self.guests[ANNA];
        assert_eq!(anna.answers.get("set").map(String::as_str), Some("result"));
        assert_eq!(anna.nick.as_deref(), Some("ada"));
        self.world.disk.held = true;
    }

    fn step(&mut self) {
        let who = self.dice.below(self.guests.len());
        match self.dice.below(100) {
            0..50 if self.guests[who].up => self.act(who),
            0..55 => self.come(who),
            55..70 => {
                self.read(who);
            }
            70..83 => {
                self.world.settle();
                if let Some(answer) = self.world.disk.step() {
                    self.world.disk_says(answer);
                }
            }
            83..90 => {
                self.world.round();
            }
            90..96 => self.lose(who),
            96..98 => {
                let ms = if self.dice.one_in(4) { 3_700_000 } else { 1 + self.dice.below(5_000) as u64 };
                self.world.advance(ms);
            }
            _ => self.power_fails(),
        }
    }

    fn act(&mut self, who: usize) {
        let nick = NICKS[self.dice.below(NICKS.len())];
        let Play { world, dice, guests, .. } = self;
        let guest = &mut guests[who];
        match dice.below(12) {
            0..3 => guest.enter(world, nick),
            3 if dice.one_in(2) => {
                let text = format!("<presence type='unavailable' to='{ROOM}/{nick}'/>");
                guest.send(world, &text);
            }
            4 => {
                guest.send(world, &format!("<presence to='{ROOM}/{nick}'><show>away</show></presence>"));
            }
            5 if who == ANNA => self.rule(nick),
            _ => self.talk(who),
        }
    }

    /// Anna kicks, bans and pardons.
    fn rule(&mut self, nick: &str) {
        let ben = format!("ben@{DOMAIN}");
        let item = match self.dice.below(4) {
            0 => format!("<item affiliation='outcast' jid='{ben}'/>"),
            1 => format!("<item affiliation='none' jid='{ben}'/>"),
            _ => format!("<item role='none' nick='{nick}'/>"),
        };
        self.asked += 1;
        let query = format!("<query xmlns='{MUC}#admin'>{item}</query>");
        let text = format!("<iq type='set' id='rule{}' to='{ROOM}'>{query}</iq>", self.asked);
        self.guests[ANNA].send(&mut self.world, &text);
    }

    fn talk(&mut self, who: usize) {
        for _ in 0..1 + self.dice.below(6) {
            let n = self.messages;
            self.messages += 1;
            let text = format!("<message type='groupchat' to='{ROOM}' id='m{n}'><body>{n}</body></message>");
            let guest = &mut self.guests[who];
            let count = guest.send(&mut self.world, &text);
            guest.sent.insert(count, n);
        }
    }

    fn come(&mut self, who: usize) {
        if self.guests[who].up {
            return;
        }
        if self.dice.one_in(4) || !self.guests[who].resume(&mut self.world) {
            self.owe(who, false);
            self.guests[who].come(&mut self.world);
        }
    }

    fn read(&mut self, who: usize) -> usize {
        self.guests[who].read(&mut self.world)
    }

    /// What a client was promised for: acknowledged, and either heard by itself or, if it would have been told
    /// otherwise by now, not returned.
    fn owe(&mut self, who: usize, knows_all: bool) {
        let guest = &self.guests[who];
        let acked = guest.player.as_ref().map_or(0, |player| player.sm.acked);
        for (_, n) in guest.sent.iter().filter(|(count, _)| **count <= acked) {
            if guest.reflected.contains(n) || (knows_all && !guest.returned.contains(n)) {
                self.owed.insert(*n);
            }
        }
    }

    /// The connection breaks, and what was not read is lost.
    fn lose(&mut self, who: usize) {
        let Some(player) = &self.guests[who].player else { return };
        let conn = player.conn;
        self.world.cut(conn);
        self.world.take_now(conn);
        self.read(who);
        self.guests[who].up = false;
    }

    fn power_fails(&mut self) {
        let survive = self.dice.below(self.world.disk.waiting() + 1);
        self.world.power_fails(survive);
        for who in 0..self.guests.len() {
            self.lose(who);
            let heard = self.guests[who].stays.iter().flatten().map(|(id, _)| id.clone());
            self.perhaps_lost.extend(heard);
            self.owe(who, false);
            let guest = &mut self.guests[who];
            (guest.player, guest.up) = (None, false);
            guest.out();
        }
    }

    fn all_read(&mut self) {
        let mut idle = 0;
        for _ in 0..1_000 {
            self.world.drive();
            for guest in self.guests.iter_mut().filter(|guest| guest.up) {
                if let Some(player) = &guest.player {
                    self.world.put(player.conn, b"<r xmlns='urn:xmpp:sm:3'/>");
                }
            }
            let seen: usize = (0..self.guests.len()).map(|who| self.read(who)).sum();
            idle = if seen > 0 { 0 } else { idle + 1 };
            if idle == 3 {
                return;
            }
        }
        panic!("messages come for ever");
    }

    fn run(&mut self) {
        self.found();
        for _ in 0..80 + self.dice.below(120) {
            self.step();
        }
        self.world.disk.held = false;
        self.all_read();
        for who in 0..self.guests.len() {
            self.come(who);
        }
        self.all_read();
        (0..self.guests.len()).for_each(|who| self.owe(who, true));
        self.everybody_knows_where_they_are();
        self.everybody_sees_the_same();
        let archive = self.whole();
        self.check(&archive);
    }

    /// XEP-0410: who believes to be in is, and who does not is not.
    fn everybody_knows_where_they_are(&mut self) {
        for guest in &mut self.guests {
            let nick = guest.nick.clone().unwrap_or_else(|| "ada".into());
            let ping = format!("<iq type='get' id='ping' to='{ROOM}/{nick}'><ping xmlns='urn:xmpp:ping'/></iq>");
            guest.send(&mut self.world, &ping);
        }
        self.all_read();
        for guest in &self.guests {
            let answer = guest.answers.get("ping").map(String::as_str);
            let expected = if guest.nick.is_some() { "result" } else { "not-acceptable" };
            assert_eq!(answer, Some(expected), "{}/{} is {:?}", guest.name, guest.resource, guest.nick);
        }
    }

    fn everybody_sees_the_same(&self) {
        let mut inside = self.guests.iter().filter(|guest| guest.nick.is_some());
        let names: BTreeSet<&str> = inside.clone().filter_map(|guest| guest.nick.as_deref()).collect();
        for guest in inside.clone() {
            let seen: BTreeSet<&str> = guest.view.keys().map(String::as_str).collect();
            assert_eq!(seen, names, "{}/{} sees who is there", guest.name, guest.resource);
        }
        if let Some(first) = inside.next() {
            for other in inside {
                assert_eq!(first.view, other.view, "{} and {} see the same", first.name, other.name);
            }
        }
    }

    /// The archive from its beginning, as its owner reads it.
    fn whole(&mut self) -> Heard {
        let mut archive = Heard::new();
        loop {
            let after = archive.last().map(|(id, _)| format!("<after>{id}</after>")).unwrap_or_default();
            let set = format!("<set xmlns='http://jabber.org/protocol/rsm'>{after}</set>");
            let query = format!("<query xmlns='urn:xmpp:mam:2'>{set}</query>");
            self.guests[ANNA].page.clear();
            let text = format!("<iq type='set' id='all' to='{ROOM}'>{query}</iq>");
            self.guests[ANNA].send(&mut self.world, &text);
            self.all_read();
            assert_eq!(self.guests[ANNA].answers.get("all").map(String::as_str), Some("result"));
            if self.guests[ANNA].page.is_empty() {
                return archive;
            }
            archive.append(&mut self.guests[ANNA].page);
        }
    }

    fn check(&self, archive: &Heard) {
        let numbers: BTreeSet<usize> = archive.iter().map(|(_, n)| *n).collect();
        assert_eq!(numbers.len(), archive.len(), "a message is in the archive once");
        let lost: Vec<_> = self.owed.difference(&numbers).collect();
        assert!(lost.is_empty(), "acknowledged and not in the archive: {lost:?}");
        let place: BTreeMap<&str, usize> = archive.iter().enumerate().map(|(at, (id, _))| (id.as_str(), at)).collect();
        for guest in &self.guests {
            let label = format!("{}/{}", guest.name, guest.resource);
            for stay in &guest.stays {
                // An id that was lost with the power may come again for another message.
                let known = stay.iter().filter_map(|(id, n)| {
                    let at = place.get(id.as_str()).copied().filter(|at| archive[*at].1 == *n);
                    let lost = at.is_none() && !self.perhaps_lost.contains(id);
                    assert!(!lost, "{label} heard {n} as {id}, which is not what the archive has");
                    at
                });
                let places: Vec<usize> = known.collect();
                let gap = places.windows(2).find(|pair| pair[0] + 1 != pair[1]);
                assert!(gap.is_none(), "{label} heard one stay in another order, or with holes: {places:?}");
            }
        }
    }
}

/// Plays one seed.
pub fn play(seed: u64) {
    Play::new(seed).run();
}
