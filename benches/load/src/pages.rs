//! Pages of an archive, newest first, one after the other. XEP-0313 §4, XEP-0059 §2.
//!
//! The archive is that of the first receiver of `pairs`, so run that first. When its beginning is reached the next page
//! is the newest one again.

use std::{fmt::Write, io, time::Duration, time::Instant};

use argh::FromArgs;

use crate::{
    Names,
    client::{Client, News, Setting},
    fleet::{Fleet, Scenario},
    gauge::Gauge,
    xml,
};

/// pages of an archive, newest first
#[derive(FromArgs)]
#[argh(subcommand, name = "pages")]
pub struct Pages {
    /// pages that are measured
    #[argh(option, default = "200")]
    count: u32,
    /// pages before the measurement
    #[argh(option, default = "10")]
    warmup: u32,
    /// messages of a page
    #[argh(option, default = "50")]
    size: u32,
}

#[derive(Default)]
struct Reader {
    /// The first id of the last page; empty: the newest page comes next.
    before: String,
    asked: u32,
    answered: u32,
    messages: u64,
    failure: Option<String>,
}

impl Reader {
    fn ask(&mut self, client: &mut Client, size: u32) {
        self.asked += 1;
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
    let until = reader.asked + pages;
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
        if let Some(failure) = reader.failure.take() {
            return Err(io::Error::other(failure));
        }
        if last.elapsed() > Duration::from_secs(20) {
            return Err(io::Error::other("a page did not come within 20 s"));
        }
    }
    Ok(())
}

/// Runs it; the line of JSON.
pub fn run(pages: &Pages, setting: Setting, names: &Names, pid: Option<u32>) -> Result<String, String> {
    let setting = Setting { presence: false, sm: false, ..setting };
    let mut reader = Reader::default();
    let measured = (|| {
        let mut fleet = Fleet::new(&setting)?;
        fleet.sign_in(&[names.of(1)], 1, &mut reader)?;
        phase(&mut reader, &mut fleet, pages.warmup, pages.size)?;
        reader.messages = 0;
        let (before, start) = (Gauge::read(pid), Instant::now());
        phase(&mut reader, &mut fleet, pages.count, pages.size)?;
        io::Result::Ok((start.elapsed().as_secs_f64(), Gauge::read(pid).since(&before)))
    })();
    let (seconds, cost) = measured.map_err(|e| e.to_string())?;
    Ok(format!(
        "{{\"scenario\":\"pages\",\"pages\":{},\"size\":{},\"messages\":{},\"seconds\":{seconds:.3},{cost}}}",
        pages.count, pages.size, reader.messages
    ))
}
