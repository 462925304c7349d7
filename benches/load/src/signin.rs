//! Sign-ins one after the other: TLS 1.3 handshake, SASL, bind, and the stream closed again.

use std::{io, time::Duration, time::Instant};

use argh::FromArgs;

use crate::{
    Names,
    client::{Client, News, Setting},
    fleet::{Fleet, Scenario},
    gauge::Gauge,
};

/// sign-ins one after the other
#[derive(FromArgs)]
#[argh(subcommand, name = "signin")]
pub struct SignIn {
    /// sign-ins that are measured
    #[argh(option, default = "200")]
    count: usize,
    /// sign-ins before the measurement
    #[argh(option, default = "20")]
    warmup: usize,
    /// sign-ins under way at once
    #[argh(option, default = "2")]
    at_once: usize,
}

struct Door {
    signed_in: usize,
}

impl Scenario for Door {
    fn news(&mut self, _: usize, client: &mut Client, news: News<'_>) {
        if let News::Live = news {
            self.signed_in += 1;
            client.close();
        }
    }
}

fn phase(fleet: &mut Fleet<'_>, names: &Names, count: usize, at_once: usize) -> io::Result<()> {
    let mut door = Door { signed_in: 0 };
    let mut started = 0;
    let mut last = (0, Instant::now());
    while door.signed_in < count {
        for slot in 0..at_once {
            if started < count && fleet.clients.get(slot).is_none_or(Option::is_none) {
                fleet.start(slot, &names.of(started))?;
                started += 1;
            }
        }
        if let Some((_, e)) = fleet.wait(Duration::from_secs(1), &mut door)?.pop() {
            return Err(io::Error::other(format!("after {} sign-ins: {e}", door.signed_in)));
        }
        if door.signed_in > last.0 {
            last = (door.signed_in, Instant::now());
        } else if last.1.elapsed() > Duration::from_secs(30) {
            return Err(io::Error::other(format!("{} signed in, then nothing for 30 s", door.signed_in)));
        }
    }
    Ok(())
}

/// Runs it; the line of JSON.
pub fn run(scenario: &SignIn, setting: Setting, names: &Names, pid: Option<u32>) -> Result<String, String> {
    let setting = Setting { sm: false, presence: false, ..setting };
    let measured = (|| {
        let mut fleet = Fleet::new(&setting)?;
        phase(&mut fleet, names, scenario.warmup, scenario.at_once)?;
        let (before, start) = (Gauge::read(pid), Instant::now());
        phase(&mut fleet, names, scenario.count, scenario.at_once)?;
        io::Result::Ok((start.elapsed().as_secs_f64(), Gauge::read(pid).since(&before)))
    })();
    let (seconds, cost) = measured.map_err(|e| e.to_string())?;
    let (mechanism, count) = (setting.mechanism.name(), scenario.count);
    Ok(format!(
        "{{\"scenario\":\"signin\",\"mechanism\":\"{mechanism}\",\"count\":{count},\"seconds\":{seconds:.3},{cost}}}"
    ))
}
