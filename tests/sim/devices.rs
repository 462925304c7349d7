//! Several devices of one account, which flap: in the end each holds the whole conversation, in one order.
//!
//! Each device does what clients do: it enables carbons, asks the archive for what came behind the last message that it
//! knows, and takes what comes live meanwhile behind that.

use std::collections::{BTreeMap, BTreeSet};

use lampone::config::Config;

use crate::stage::{
    Stage,
    player::Player,
    world::{DOMAIN, Dice, World},
    xml::{Item, Tree},
};

const DEVICES: [(&str, &str); 4] = [("anna", "phone"), ("anna", "desk"), ("anna", "tablet"), ("ben", "phone")];
/// The one whose account has no other device.
const BEN: usize = 3;

/// A message as a device knows it: the archive's id, and its number.
type Known = (String, usize);

struct Device {
    name: &'static str,
    resource: &'static str,
    player: Option<Player>,
    up: bool,
    /// What it holds, in its order.
    known: Vec<Known>,
    /// What came live before the archive had answered.
    live: Vec<Known>,
    /// The archive has answered in this session.
    synced: bool,
    /// Pages of the answer under way.
    page: Vec<Known>,
    /// Questions asked; only the last one counts.
    asked: u32,
    /// Messages of this session by the count of stanzas sent with them.
    sent: BTreeMap<u32, usize>,
}

impl Device {
    fn bare(&self) -> String {
        format!("{}@{DOMAIN}", self.name)
    }

    fn send(&mut self, world: &mut World, text: &str) -> u32 {
        let Some(player) = &mut self.player else { return 0 };
        player.send(world, text);
        player.sm.sent
    }

    fn ask(&mut self, world: &mut World) {
        let last = self.page.last().or(self.known.last());
        let after = last.map(|(id, _)| format!("<after>{id}</after>")).unwrap_or_default();
        let set = format!("<set xmlns='http://jabber.org/protocol/rsm'><max>5</max>{after}</set>");
        self.asked += 1;
        let query = format!("<query xmlns='urn:xmpp:mam:2' queryid='{}'>{set}</query>", self.asked);
        self.send(world, &format!("<iq type='set' id='sync{}'>{query}</iq>", self.asked));
    }

    fn come(&mut self, world: &mut World) {
        let mut player = Player::sign_in(world, self.name, self.resource);
        player.manage(world);
        self.player = Some(player);
        (self.up, self.synced) = (true, false);
        self.live.clear();
        self.sent.clear();
        self.greet(world);
    }

    /// What begins a session, in this order, so that nothing is missed between the archive's answer and the copies.
    fn greet(&mut self, world: &mut World) {
        self.page.clear();
        self.send(world, "<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq><presence/>");
        self.ask(world);
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
            if !self.synced {
                // All of it may be lost, and half of an answer is of no use.
                self.greet(world);
            }
        }
        self.up
    }

    fn hold(&mut self, message: Known) {
        match self.known.iter().find(|(id, _)| *id == message.0) {
            Some((_, n)) => assert_eq!(*n, message.1, "an id means one message"),
            None => self.known.push(message),
        }
    }

    fn note(&mut self, world: &mut World, element: &Tree) {
        let bare = self.bare();
        if element.name == "message" && element.get("type") != Some("error") {
            let wrapper =
                element.children().find(|child| matches!(child.name.as_str(), "result" | "sent" | "received"));
            let (message, result) = match wrapper {
                Some(wrapper) => {
                    if wrapper.get("queryid").is_some_and(|asked| asked != self.asked.to_string()) {
                        return;
                    }
                    let inner = wrapper.find("forwarded").and_then(|forwarded| forwarded.find("message"));
                    (inner.expect("a forwarded message"), wrapper.get("id"))
                }
                None => (element, None),
            };
            let n = message.find("body").and_then(|body| body.text().parse().ok()).expect("a number");
            let own = |child: &&Tree| child.name == "stanza-id" && child.get("by") == Some(bare.as_str());
            let live = || message.children().find(own).and_then(|sid| sid.get("id")).expect("the archive's id");
            match result {
                Some(id) => self.page.push((id.to_owned(), n)),
                None if self.synced => self.hold((live().to_owned(), n)),
                None => self.live.push((live().to_owned(), n)),
            }
        }
        if element.get("id") == Some(&format!("sync{}", self.asked)) && !self.synced {
            let fin = element.find("fin");
            match fin.map(|fin| fin.get("complete")) {
                // What it held last never became durable: it begins anew.
                None => {
                    assert!(element.find("error").is_some_and(|error| error.find("item-not-found").is_some()));
                    self.known.clear();
                    self.page.clear();
                    self.ask(world);
                }
                Some(Some("true")) => {
                    self.synced = true;
                    for message in std::mem::take(&mut self.page).into_iter().chain(std::mem::take(&mut self.live)) {
                        self.hold(message);
                    }
                }
                Some(_) => self.ask(world),
            }
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
                Item::Element(element) => self.note(world, &element),
                Item::End => self.up = false,
                Item::Header(_) => {}
            }
        }
        count
    }
}

struct Play {
    world: World,
    dice: Dice,
    devices: Vec<Device>,
    /// By number: the device that sent it.
    authors: Vec<usize>,
    acknowledged: BTreeSet<usize>,
}

impl Play {
    fn new(seed: u64) -> Play {
        let mut dice = Dice(seed);
        let config = Config { domains: vec![DOMAIN.into()], ..Config::default() };
        let mut world = World::with(config, &["anna", "ben"], dice.roll());
        world.chops = dice.one_in(2).then(|| Dice(dice.roll()));
        world.disk.held = true;
        let device = |(name, resource): (&'static str, &'static str)| Device {
            name,
            resource,
            player: None,
            up: false,
            known: Vec::new(),
            live: Vec::new(),
            synced: false,
            page: Vec::new(),
            asked: 0,
            sent: BTreeMap::new(),
        };
        let devices = DEVICES.map(device).into();
        Play { world, dice, devices, authors: Vec::new(), acknowledged: BTreeSet::new() }
    }

    fn step(&mut self) {
        let who = self.dice.below(self.devices.len());
        match self.dice.below(100) {
            0..40 if self.devices[who].up => self.talk(who),
            0..55 => self.come(who),
            55..70 => {
                self.read(who);
            }
            70..85 => {
                self.world.settle();
                if let Some(answer) = self.world.disk.step() {
                    self.world.disk_says(answer);
                }
            }
            85..90 => {
                self.world.round();
            }
            90..96 => self.lose(who),
            96..98 => {
                let ms = if self.dice.one_in(4) { 3_700_000 } else { 1 + self.dice.below(5_000) as u64 };
                self.world.advance(ms);
            }
            _ => {
                let survive = self.dice.below(self.world.disk.waiting() + 1);
                self.world.power_fails(survive);
                (0..self.devices.len()).for_each(|who| self.lose(who));
            }
        }
    }

    fn talk(&mut self, who: usize) {
        for _ in 0..1 + self.dice.below(8) {
            let n = self.authors.len();
            let to = match (who, self.dice.below(4)) {
                (BEN, 0) => format!("anna@{DOMAIN}/{}", DEVICES[self.dice.below(BEN)].1),
                (BEN, _) => format!("anna@{DOMAIN}"),
                _ => format!("ben@{DOMAIN}"),
            };
            self.authors.push(who);
            let text = format!("<message type='chat' to='{to}' id='m{n}'><body>{n}</body></message>");
            let device = &mut self.devices[who];
            let count = device.send(&mut self.world, &text);
            device.sent.insert(count, n);
        }
    }

    fn come(&mut self, who: usize) {
        let Play { world, devices, dice, .. } = self;
        let device = &mut devices[who];
        if !device.up && (dice.one_in(4) || !device.resume(world)) {
            device.come(world);
        }
    }

    fn read(&mut self, who: usize) -> usize {
        let device = &mut self.devices[who];
        let count = device.read(&mut self.world);
        let acked = device.player.as_ref().map_or(0, |player| player.sm.acked);
        self.acknowledged.extend(device.sent.iter().filter(|(count, _)| **count <= acked).map(|(_, n)| *n));
        count
    }

    /// The connection breaks, and what was not read is lost.
    fn lose(&mut self, who: usize) {
        let Some(player) = &self.devices[who].player else { return };
        let conn = player.conn;
        self.world.cut(conn);
        self.world.take_now(conn);
        // What it has counted it has received.
        self.read(who);
        self.devices[who].up = false;
    }

    fn all_read(&mut self) {
        let mut idle = 0;
        for _ in 0..1_000 {
            self.world.drive();
            for device in self.devices.iter_mut().filter(|device| device.up) {
                if let Some(player) = &device.player {
                    self.world.put(player.conn, b"<r xmlns='urn:xmpp:sm:3'/>");
                }
            }
            let seen: usize = (0..self.devices.len()).map(|who| self.read(who)).sum();
            // The acknowledgements are hidden.
            idle = if seen > 0 { 0 } else { idle + 1 };
            if idle == 3 {
                return;
            }
        }
        panic!("messages come for ever");
    }

    fn run(&mut self) {
        for _ in 0..60 + self.dice.below(100) {
            self.step();
        }
        self.world.disk.held = false;
        self.all_read();
        for who in 0..self.devices.len() {
            self.come(who);
        }
        self.all_read();
        let archives: Vec<_> = (0..self.devices.len()).map(|who| self.whole(who)).collect();
        for (who, archive) in archives.iter().enumerate() {
            self.check(who, archive);
        }
        assert_eq!(archives[0], archives[1], "the devices of an account read the same archive");
        assert_eq!(archives[0], archives[2], "the devices of an account read the same archive");
    }

    /// The archive from its beginning.
    fn whole(&mut self, who: usize) -> Vec<Known> {
        let device = &mut self.devices[who];
        let known = std::mem::take(&mut device.known);
        device.synced = false;
        device.ask(&mut self.world);
        self.all_read();
        let device = &mut self.devices[who];
        assert!(device.synced, "{}/{} has an answer", device.name, device.resource);
        std::mem::replace(&mut device.known, known)
    }

    fn check(&self, who: usize, archive: &[Known]) {
        let device = &self.devices[who];
        let label = format!("{}/{}", device.name, device.resource);
        let numbers: BTreeSet<_> = archive.iter().map(|(_, n)| *n).collect();
        assert_eq!(numbers.len(), archive.len(), "{label}: a message is in the archive once");
        let lost: Vec<_> = self.acknowledged.difference(&numbers).collect();
        assert!(lost.is_empty(), "{label}: acknowledged and not in the archive: {lost:?}");
        let place: BTreeMap<_, _> = archive.iter().enumerate().map(|(at, (id, _))| (id.as_str(), at)).collect();
        let places: Vec<_> = device.known.iter().map(|(id, n)| (place.get(id.as_str()).copied(), *n)).collect();
        assert!(places.iter().all(|(at, _)| at.is_some()), "{label} holds what the archive does not: {places:?}");
        let turned: Vec<_> = places.windows(2).filter(|pair| pair[0].0 > pair[1].0).collect();
        assert!(turned.is_empty(), "{label} holds the conversation in another order: {turned:?}");
        let held: BTreeSet<_> = device.known.iter().map(|(_, n)| *n).collect();
        let holes: Vec<_> = numbers.iter().filter(|n| !held.contains(n) && self.authors[**n] != who).collect();
        assert!(holes.is_empty(), "{label} has holes: {holes:?}");
    }
}

/// Plays one seed.
pub fn play(seed: u64) {
    Play::new(seed).run();
}
