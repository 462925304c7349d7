//! A room in which each occupant speaks in turn. XEP-0045 v1.34: §6.3 (which service), §10.1.2 (an instant room), §7.2
//! (entering), §7.4 (speaking), §10.9 (its end).
//!
//! A message is done when every occupant has it, the one who spoke too.

use std::{io, time::Instant};

use super::{
    Figures, Names,
    client::{Client, News, Setting},
    fleet::{Fleet, Scenario},
    gauge::Gauge,
    micros, xml,
};

/// Services of a server that are asked whether they have rooms.
const SERVICES_MAX: usize = 32;

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Rooms {
    pub occupants: usize,
    /// Messages that are measured.
    pub messages: u32,
    /// Bytes of a body.
    pub body: usize,
}

#[derive(Default)]
struct Room {
    /// What the server's services are, once it has said.
    services: Option<Vec<String>>,
    /// The first one with rooms.
    service: Option<String>,
    /// Answers of services that are still to come.
    unasked: usize,
    /// The room is there and is set up.
    is_made: bool,
    entered: usize,
    /// The number of the message that is under way, and copies of it that have come.
    message: u32,
    copies: usize,
    failure: Option<String>,
}

impl Room {
    fn answer(&mut self, iq: &[u8]) {
        let is_result = xml::attribute(iq, "type") == Some("result");
        match xml::attribute(iq, "id") {
            Some("items") => self.services = Some(services(iq)),
            Some("made") if is_result => self.is_made = true,
            Some("made") => self.failure = Some(String::from_utf8_lossy(iq).into_owned()),
            Some("info") => {
                self.unasked = self.unasked.saturating_sub(1);
                let is_rooms = xml::find(iq, "http://jabber.org/protocol/muc").is_some();
                if is_result && is_rooms && self.service.is_none() {
                    self.service = xml::attribute(iq, "from").map(str::to_owned);
                }
            }
            _ => {}
        }
    }
}

/// The addresses in an answer to `disco#items`.
fn services(iq: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = iq;
    while let Some(item) = xml::find(rest, "<item ").filter(|_| found.len() < SERVICES_MAX) {
        found.extend(xml::attribute(item, "jid").map(str::to_owned));
        rest = &item[1..];
    }
    found
}

impl Scenario for Room {
    fn news(&mut self, _: usize, _: &mut Client, news: News<'_>) {
        let News::Stanza(stanza) = news else { return };
        match xml::name(stanza) {
            b"iq" => self.answer(stanza),
            // XEP-0045 §7.2.2: one's own presence comes last and says so.
            b"presence" if ["code='110'", "code=\"110\""].iter().any(|code| xml::find(stanza, code).is_some()) => {
                self.entered += 1;
            }
            b"presence" | b"message" if xml::attribute(stanza, "type") == Some("error") => {
                self.failure = Some(String::from_utf8_lossy(stanza).into_owned());
            }
            b"message" => {
                let number = xml::attribute(stanza, "id").and_then(|id| id.strip_prefix('g'));
                if number.and_then(|number| number.parse().ok()) == Some(self.message) {
                    self.copies += 1;
                }
            }
            _ => {}
        }
    }

    fn failure(&mut self) -> Option<String> {
        self.failure.take()
    }
}

/// The server's service for rooms.
fn discover(fleet: &mut Fleet<'_>, room: &mut Room, domain: &str) -> io::Result<String> {
    let items = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
    fleet.say(0, &format!("<iq type='get' id='items' to='{domain}'>{items}</iq>"))?;
    fleet.until(room, "the list of services", |room| room.services.is_some())?;
    let services = room.services.take().unwrap_or_default();
    room.unasked = services.len();
    for service in &services {
        let info = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
        fleet.say(0, &format!("<iq type='get' id='info' to='{service}'>{info}</iq>"))?;
    }
    fleet.until(room, "what services can do", |room| room.unasked == 0)?;
    room.service.take().ok_or_else(|| io::Error::other("the server has no rooms (XEP-0045)"))
}

fn enter(fleet: &mut Fleet<'_>, room: &mut Room, index: usize, address: &str) -> io::Result<()> {
    let history = "<x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>";
    fleet.say(index, &format!("<presence to='{address}/n{index}'>{history}</presence>"))?;
    fleet.until(room, "an entrance", |room| room.entered > index)
}

/// Runs it in a room of this name.
///
/// # Errors
/// The server has no rooms, or something did not come.
pub fn run(rooms: &Rooms, name: &str, setting: &Setting, names: &Names, pid: Option<u32>) -> io::Result<Figures> {
    let mut room = Room::default();
    let mut fleet = Fleet::new(setting)?;
    fleet.sign_in(&names.first(rooms.occupants), 8, &mut room)?;
    let address = format!("{name}@{}", discover(&mut fleet, &mut room, &setting.domain)?);
    enter(&mut fleet, &mut room, 0, &address)?;
    let owner = "<query xmlns='http://jabber.org/protocol/muc#owner'>";
    let form = format!("{owner}<x xmlns='jabber:x:data' type='submit'/></query>");
    fleet.say(0, &format!("<iq type='set' id='made' to='{address}'>{form}</iq>"))?;
    fleet.until(&mut room, "the room", |room| room.is_made)?;
    for index in 1..rooms.occupants {
        enter(&mut fleet, &mut room, index, &address)?;
        fleet.tell(index as u64, rooms.occupants as u64);
    }
    let body = "a".repeat(rooms.body);
    let mut latencies_us = Vec::with_capacity(rooms.messages as usize);
    let (before, start) = (Gauge::of(pid), Instant::now());
    for number in 0..rooms.messages {
        (room.message, room.copies) = (number, 0);
        let message = format!("<message to='{address}' type='groupchat' id='g{number}'><body>{body}</body></message>");
        let said = Instant::now();
        fleet.say(number as usize % rooms.occupants, &message)?;
        fleet.until(&mut room, "a message", |room| room.copies >= rooms.occupants)?;
        latencies_us.push(micros(said.elapsed()));
        fleet.tell(u64::from(number), u64::from(rooms.messages));
    }
    let (seconds, cost) = (start.elapsed().as_secs_f64(), Gauge::spent(pid, before));
    room.is_made = false;
    fleet.say(0, &format!("<iq type='set' id='made' to='{address}'>{owner}<destroy/></query></iq>"))?;
    fleet.until(&mut room, "the end of the room", |room| room.is_made)?;
    fleet.close();
    let (occupants, messages) = (rooms.occupants as u64, u64::from(rooms.messages));
    Ok(Figures {
        scenario: "rooms",
        unit: "copies",
        count: messages * occupants,
        seconds,
        latencies_us,
        cost,
        more: vec![("occupants", occupants), ("messages", messages)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_from_the_answer() {
        let iq = b"<iq id='items'><query><item jid='rooms.a'/><item name='x' jid='pubsub.a'/></query></iq>";
        assert_eq!(services(iq), ["rooms.a", "pubsub.a"]);
    }
}
