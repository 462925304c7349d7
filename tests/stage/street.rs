//! Several houses whose servers talk to each other over wires that a test can cut.
//!
//! All clocks go together. Names are looked up in the houses' own settings; what a certificate says is the street's.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use lampone::{
    config::Config,
    proto::identity::{PeerCertificate, PeerName},
    router::event::{DialError, Door, Event, QueryId, Time},
};

use super::{
    Conn, Stage,
    world::{DOMAIN, Dice, World},
};

/// The other domain of the play.
pub const OTHER: &str = "montague.lit";
/// Connections of one house have numbers below this.
const PER_HOUSE: usize = 1_000_000;

/// A connection between two servers: house and connection at each end, who dialed first.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// Who dialed.
    pub from: (usize, Conn),
    /// Who was dialed.
    pub to: (usize, Conn),
}

/// A wire that breaks when one house has said so many bytes over all wires.
#[derive(Clone, Copy, Debug)]
pub struct Fuse {
    /// Who says them.
    pub house: usize,
    /// What is left of them.
    pub bytes: usize,
}

/// Houses and what is between them.
pub struct Street {
    /// The houses.
    pub houses: Vec<World>,
    /// Wires between them, also those that are gone.
    pub wires: Vec<Wire>,
    /// Certificates prove the domains of their houses.
    pub trusted: bool,
    /// TLS from the first byte.
    pub direct: bool,
    /// Domains that cannot be reached now, and why.
    pub away: BTreeMap<String, DialError>,
    /// Where bytes are cut.
    pub chops: Option<Dice>,
    /// What each house sent to others, for tests that look.
    pub heard: Vec<Vec<u8>>,
    /// Where the next wire breaks.
    pub fuse: Option<Fuse>,
    /// Domains whose server is the test itself.
    pub strangers: BTreeSet<String>,
    /// Calls for them: from which house, and what it asked.
    pub calls: VecDeque<(usize, QueryId, String)>,
    /// Who spoke in turn on each wire: who dialed (`true`) or who was dialed; two flights are a round trip.
    pub flights: BTreeMap<usize, Vec<bool>>,
    open: BTreeSet<usize>,
}

impl Street {
    /// Romeo's and Juliet's houses: `capulet.lit` and `montague.lit`.
    pub fn new(here: &[&str], there: &[&str]) -> Street {
        Street::with([(config(DOMAIN), here), (config(OTHER), there)], 1)
    }

    /// Houses with these settings and people.
    pub fn with<'a>(houses: impl IntoIterator<Item = (Config, &'a [&'a str])>, seed: u64) -> Street {
        let mut dice = Dice(seed);
        let mut houses: Vec<_> =
            houses.into_iter().map(|(config, people)| World::with(config, people, dice.roll())).collect();
        for house in &mut houses {
            house.is_alone = false;
        }
        Street {
            heard: vec![Vec::new(); houses.len()],
            houses,
            wires: Vec::new(),
            trusted: true,
            direct: false,
            away: BTreeMap::new(),
            chops: None,
            fuse: None,
            strangers: BTreeSet::new(),
            calls: VecDeque::new(),
            flights: BTreeMap::new(),
            open: BTreeSet::new(),
        }
    }

    /// The house that serves a domain, or a host name beside it.
    pub fn of(&self, domain: &str) -> Option<usize> {
        let serves = |domain| self.houses.iter().position(|house| house.serves(domain));
        serves(domain).or_else(|| serves(domain.split_once('.')?.1))
    }

    fn certificate(&self, house: usize) -> Option<PeerCertificate> {
        let domain = self.houses[house].domain();
        let names = [domain.to_owned(), format!("*.{domain}")].map(PeerName::Dns).to_vec();
        let trusted = if self.trusted { Ok(()) } else { Err("it is self-signed".to_owned()) };
        Some(PeerCertificate { trusted, names, not_after_s: 0 })
    }

    fn dial(&mut self, from: usize) -> bool {
        let Some((query, target)) = self.houses[from].dials.pop_front() else { return false };
        let (domain, _) = idna::domain_to_unicode(&target.domain);
        if self.strangers.contains(&domain) {
            self.calls.push_back((from, query, domain));
            return true;
        }
        let to = match self.away.get(&domain) {
            Some(error) => Err(error.clone()),
            None => self.of(&domain).ok_or(DialError::NotFound),
        };
        match to {
            Err(error) => self.houses[from].turn(Event::DialFailed(query, error)),
            Ok(to) => {
                let address = [192, 0, 2, 100 + from as u8].into();
                let door = if self.direct { Door::PeerDirectTls(address) } else { Door::PeerStartTls(address) };
                let there = self.houses[to].open(door);
                let here = self.houses[from].open(Door::Dialed {
                    query,
                    address: [192, 0, 2, 100 + to as u8].into(),
                    tls: self.direct,
                });
                let wire = Wire { from: (from, here), to: (to, there) };
                if self.direct {
                    self.secure_wire(wire);
                }
                self.open.insert(self.wires.len());
                self.wires.push(wire);
            }
        }
        true
    }

    fn secure_wire(&mut self, wire: Wire) {
        let (ours, theirs) = (self.certificate(wire.from.0), self.certificate(wire.to.0));
        self.houses[wire.to.0].secure_with(wire.to.1, ours);
        self.houses[wire.from.0].secure_with(wire.from.1, theirs);
    }

    /// Carries bytes over a wire; `false`: nothing moved.
    fn carry(&mut self, at: usize) -> bool {
        let wire = self.wires[at];
        let mut moved = false;
        for (from, to) in [(wire.from, wire.to), (wire.to, wire.from)] {
            let mut bytes = self.houses[from.0].take_now(from.1);
            if let Some(dice) = &mut self.chops {
                // The rest is still on its way.
                let rest = bytes.split_off(dice.below(bytes.len() + 1));
                moved |= !rest.is_empty();
                self.houses[from.0].put_back(from.1, rest);
            }
            let breaks = self.burns_down(from.0, &mut bytes);
            self.heard[from.0].extend(&bytes);
            let (flights, dialed) =
                (self.flights.entry(at).or_default(), from.1 == wire.from.1 && from.0 == wire.from.0);
            if !bytes.is_empty() && flights.last() != Some(&dialed) {
                flights.push(dialed);
            }
            moved |= !bytes.is_empty();
            self.houses[to.0].bring(to.1, &bytes);
            if breaks {
                self.reset(at);
                return true;
            }
        }
        let tls = |(house, conn): (usize, Conn)| self.houses[house].wants_tls(conn);
        if tls(wire.from) && tls(wire.to) {
            self.secure_wire(wire);
            return true;
        }
        for (one, other) in [(wire.from, wire.to), (wire.to, wire.from)] {
            if !self.houses[one.0].is_open(one.1) {
                self.open.remove(&at);
                self.houses[other.0].half_close(other.1);
                moved = true;
            }
        }
        moved
    }

    /// Whether the wire breaks within these bytes, of which those before the break are left.
    fn burns_down(&mut self, house: usize, bytes: &mut Vec<u8>) -> bool {
        let Some(fuse) = self.fuse.as_mut().filter(|fuse| fuse.house == house) else { return false };
        if bytes.len() < fuse.bytes || bytes.is_empty() {
            fuse.bytes -= bytes.len();
            return false;
        }
        bytes.truncate(fuse.bytes);
        self.fuse = None;
        true
    }

    /// Breaks a wire when the other side has read what came before.
    fn reset(&mut self, at: usize) {
        self.open.remove(&at);
        let Wire { from, to } = self.wires[at];
        for (house, conn) in [from, to] {
            self.houses[house].drive();
            self.houses[house].cut(conn);
        }
    }

    /// Breaks every wire, each with what was on its way at a place of its own.
    pub fn cut_wires(&mut self) {
        for at in std::mem::take(&mut self.open) {
            let wire = self.wires[at];
            for (house, conn) in [wire.from, wire.to] {
                self.houses[house].cut(conn);
            }
        }
    }

    /// Wires that are up.
    pub fn wires_up(&self) -> Vec<Wire> {
        self.open.iter().map(|at| self.wires[*at]).collect()
    }

    /// One round of every house; `false`: nothing happened.
    pub fn round(&mut self) -> bool {
        let mut busy = false;
        for house in 0..self.houses.len() {
            busy |= self.houses[house].round();
            while self.dial(house) {
                busy = true;
            }
        }
        for at in self.open.clone() {
            busy |= self.carry(at);
        }
        busy
    }

    /// Lets everything happen until nobody has anything left to do.
    ///
    /// # Panics
    /// If that never comes.
    pub fn drive(&mut self) {
        for _ in 0..100_000 {
            if !self.round() {
                return;
            }
        }
        panic!("the street never rests");
    }

    /// Lets time pass and does not wait for anybody: wires stay in the middle of what they carry.
    pub fn pass(&mut self, ms: u64) {
        let now = self.houses[0].now.plus_ms(ms);
        self.set_clocks(now);
        for house in &mut self.houses {
            if house.server.deadline().is_some_and(|deadline| deadline <= now) {
                house.turn(Event::Tick);
            }
        }
    }

    /// Lets time pass, through all deadlines.
    pub fn advance(&mut self, ms: u64) {
        self.drive();
        let end = self.houses[0].now.plus_ms(ms);
        loop {
            let due = self.houses.iter().filter_map(|house| house.server.deadline()).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.set_clocks(due);
            for house in &mut self.houses {
                if house.server.deadline().is_some_and(|deadline| deadline <= due) {
                    house.turn(Event::Tick);
                }
            }
            self.drive();
        }
        self.set_clocks(end);
    }

    fn set_clocks(&mut self, now: Time) {
        for house in &mut self.houses {
            let now = now.max(house.now);
            house.wall_us += (now.0 - house.now.0) * 1000;
            house.now = now;
        }
    }
}

/// Settings of a house.
pub fn config(domain: &str) -> Config {
    Config { domains: vec![domain.into()], ..Config::default() }
}

impl Stage for Street {
    fn connect(&mut self, direct: bool) -> Conn {
        self.houses[0].connect(direct)
    }

    fn connect_to(&mut self, domain: &str, direct: bool) -> Conn {
        let house = self.of(domain).expect("a domain of the street");
        house * PER_HOUSE + self.houses[house].connect(direct)
    }

    fn put(&mut self, conn: Conn, bytes: &[u8]) {
        self.houses[conn / PER_HOUSE].put(conn % PER_HOUSE, bytes);
    }

    fn take(&mut self, conn: Conn) -> Vec<u8> {
        self.drive();
        self.houses[conn / PER_HOUSE].take_now(conn % PER_HOUSE)
    }

    fn secure(&mut self, conn: Conn) {
        self.houses[conn / PER_HOUSE].secure(conn % PER_HOUSE);
    }

    fn is_closed(&mut self, conn: Conn) -> bool {
        self.drive();
        self.houses[conn / PER_HOUSE].is_closed(conn % PER_HOUSE)
    }

    fn cut(&mut self, conn: Conn) {
        self.houses[conn / PER_HOUSE].cut(conn % PER_HOUSE);
    }

    fn power_cut(&mut self) {
        self.drive();
        for house in &mut self.houses {
            house.power_fails(0);
        }
        self.open.clear();
    }

    fn house(&mut self) -> Option<&mut World> {
        Some(&mut self.houses[0])
    }
}
