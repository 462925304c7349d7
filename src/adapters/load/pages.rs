//! Pages of an archive, newest first, one after the other. XEP-0313 §4, XEP-0059 §2.
//!
//! The archive is that of the first receiver of `pairs`, so run that first. When its beginning is reached the next page
//! is the newest one again.

use std::{
    fmt::Write,
    io,
    time::{Duration, Instant},
};

use super::{
    Figures, Names,
    client::{Client, News, Setting},
    fleet::{Fleet, STILL, Scenario},
    gauge::Gauge,
    micros, xml,
};

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    /// Pages that are measured.
    pub count: u32,
    /// Pages before the measurement.
    pub warmup: u32,
    /// Messages of a page.
    pub size: u32,
}

#[derive(Default)]
struct Reader {
    /// The first id of the last page; empty: the newest page comes next.
    before: String,
    asked: u32,
    answered: u32,
    messages: u64,
    asked_at: Option<Instant>,
    latencies_us: Vec<u32>,
    failure: Option<String>,
}

impl Reader {
    fn ask(&mut self, client: &mut Client, size: u32) {
        self.asked += 1;
        self.asked_at = Some(Instant::now());
        let mut out = String::with_capacity(256);
        let _ = write!(out, "<iq type='set' id='p{}'><query xmlns='urn:xmpp:mam:2' queryid='p'>", self.asked);
        let _ = write!(out, "<set xmlns='http://jabber.org/protocol/rsm'><max>{size}</max>");
        let _ = write!(out, "<before>{}</before></set></query></iq>", self.before);
        client.stanza(&out);
    }
}

impl Scenario for Reader {
    fn news(&mut self, _: usize, _: &mut Client, news: News<'_>) {
        let News::Stanza(stanza) = news else { return };
        if xml::name(stanza) == b"message" && xml::find(stanza, "<result").is_some() {
            self.messages += 1;
        } else if xml::name(stanza) == b"iq" && xml::attribute(stanza, "id").is_some_and(|id| id.starts_with('p')) {
            self.answered += 1;
            self.latencies_us.extend(self.asked_at.map(|at| micros(at.elapsed())));
            let text = String::from_utf8_lossy(stanza);
            if !text.contains("<fin") {
                self.failure = Some(text.into_owned());
                return;
            }
            let first = xml::find(stanza, "<first").map(|first| String::from_utf8_lossy(xml::text(first)).into_owned());
            let complete = text.contains("complete='true'") || text.contains("complete=\"true\"");
            self.before = first.filter(|_| !complete).unwrap_or_default();
        }
    }
}

fn phase(reader: &mut Reader, fleet: &mut Fleet<'_>, pages: u32, size: u32) -> io::Result<()> {
    let begin = reader.asked;
    let until = begin + pages;
    let mut last = Instant::now();
    while reader.answered < until {
        if reader.asked == reader.answered {
            if let Some(client) = &mut fleet.clients[0] {
                reader.ask(client, size);
            }
            fleet.flush(0)?;
            last = Instant::now();
        }
        if let Some((_, e)) = fleet.wait(Duration::from_secs(1), reader)?.pop() {
            return Err(e);
        }
        fleet.tell(u64::from(reader.answered - begin), u64::from(pages));
        if let Some(failure) = reader.failure.take() {
            return Err(io::Error::other(failure));
        }
        if last.elapsed() > STILL {
            return Err(io::Error::other(format!("a page did not come within {} s", STILL.as_secs())));
        }
    }
    Ok(())
}

/// Runs it.
///
/// # Errors
/// The server keeps no archive, or a page did not come.
pub fn run(pages: &Pages, setting: &Setting, names: &Names, pid: Option<u32>) -> io::Result<Figures> {
    let setting = Setting { presence: false, sm: false, ..setting.clone() };
    let mut reader = Reader::default();
    let mut fleet = Fleet::new(&setting)?;
    fleet.sign_in(&[names.of(1)], 1, &mut reader)?;
    phase(&mut reader, &mut fleet, pages.warmup, pages.size)?;
    reader.messages = 0;
    reader.latencies_us.clear();
    let (before, start) = (Gauge::of(pid), Instant::now());
    phase(&mut reader, &mut fleet, pages.count, pages.size)?;
    let (seconds, cost) = (start.elapsed().as_secs_f64(), Gauge::spent(pid, before));
    fleet.close();
    Ok(Figures {
        scenario: "pages",
        unit: "pages",
        count: u64::from(pages.count),
        seconds,
        latencies_us: reader.latencies_us,
        cost,
        more: vec![("size", u64::from(pages.size)), ("messages", reader.messages)],
    })
}
