//! One account publishes, others hear of it: personal events (XEP-0163 §4, XEP-0060 §6.1 and §7.1).
//!
//! The listeners subscribe to the node, so that none has to answer what it can do (XEP-0115). An event is done when all
//! of them have it.

use std::{io, time::Instant};

use super::{
    Figures, Names,
    client::{Client, News, Setting},
    fleet::{Fleet, Scenario},
    gauge::Gauge,
    micros, xml,
};

const NODE: &str = "urn:xmpp:load";

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Events {
    /// Accounts that listen.
    pub listeners: usize,
    /// Events that are measured.
    pub count: u32,
    /// Events before the measurement.
    pub warmup: u32,
    /// Bytes of the text in an item.
    pub body: usize,
}

#[derive(Default)]
struct Ears {
    /// Requests that were answered well.
    answered: usize,
    /// Events that were heard, by all together.
    heard: usize,
    failure: Option<String>,
}

impl Scenario for Ears {
    fn news(&mut self, _: usize, _: &mut Client, news: News<'_>) {
        let News::Stanza(stanza) = news else { return };
        match xml::name(stanza) {
            b"iq" if xml::attribute(stanza, "type") == Some("result") => self.answered += 1,
            b"iq" if xml::attribute(stanza, "type") == Some("error") => {
                self.failure = Some(String::from_utf8_lossy(stanza).into_owned());
            }
            b"message" if xml::find(stanza, "<items ").is_some() => self.heard += 1,
            _ => {}
        }
    }

    fn failure(&mut self) -> Option<String> {
        self.failure.take()
    }
}

fn publish(fleet: &mut Fleet<'_>, number: u32, text: &str, more: &str) -> io::Result<()> {
    let item = format!("<item id='current'><tune xmlns='{NODE}'>{number} {text}</tune></item>");
    let pubsub = format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{NODE}'>{item}</publish>{more}</pubsub>"
    );
    fleet.say(0, &format!("<iq type='set' id='e{number}'>{pubsub}</iq>"))
}

/// Runs it.
///
/// # Errors
/// The server has no personal events, or something did not come.
pub fn run(events: &Events, setting: &Setting, names: &Names, pid: Option<u32>) -> io::Result<Figures> {
    let mut ears = Ears::default();
    let mut fleet = Fleet::new(setting)?;
    fleet.sign_in(&names.first(events.listeners + 1), 8, &mut ears)?;
    let text = "x".repeat(events.body);
    let open = "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
                <value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
                <field var='pubsub#access_model'><value>open</value></field></x></publish-options>";
    publish(&mut fleet, 0, &text, open)?;
    fleet.until(&mut ears, "the node", |ears| ears.answered == 1)?;
    let to = format!("{}@{}", names.of(0), setting.domain);
    for listener in 1..=events.listeners {
        let own = format!("{}@{}", names.of(listener), setting.domain);
        let subscribe = format!(
            "<iq type='set' id='s' to='{to}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
             <subscribe node='{NODE}' jid='{own}'/></pubsub></iq>"
        );
        fleet.say(listener, &subscribe)?;
        fleet.until(&mut ears, "a subscription", |ears| ears.answered == 1 + listener)?;
    }
    let mut latencies_us = Vec::new();
    let (mut before, mut start) = (Gauge::of(pid), Instant::now());
    for number in 1..=events.warmup + events.count {
        if number == events.warmup + 1 {
            latencies_us.clear();
            (before, start) = (Gauge::of(pid), Instant::now());
        }
        (ears.heard, ears.answered) = (0, 0);
        let said = Instant::now();
        publish(&mut fleet, number, &text, "")?;
        fleet.until(&mut ears, "an event", |ears| ears.heard >= events.listeners && ears.answered == 1)?;
        latencies_us.push(micros(said.elapsed()));
        fleet.tell(u64::from(number), u64::from(events.warmup + events.count));
    }
    let (seconds, cost) = (start.elapsed().as_secs_f64(), Gauge::spent(pid, before));
    fleet.close();
    let (listeners, count) = (events.listeners as u64, u64::from(events.count));
    Ok(Figures {
        scenario: "events",
        unit: "notifications",
        count: count * listeners,
        seconds,
        latencies_us,
        cost,
        more: vec![("listeners", listeners), ("events", count)],
    })
}
