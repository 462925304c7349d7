//! Clients that sign in, become available and then do nothing until standard input ends.

use std::io::{self, Read, Write};

use argh::FromArgs;

use crate::{
    Names,
    client::{Client, News, Setting},
    fleet::{Fleet, Scenario},
    gauge::Gauge,
};

/// clients that do nothing
#[derive(FromArgs)]
#[argh(subcommand, name = "idle")]
pub struct Idle {
    /// how many clients
    #[argh(option, default = "100")]
    count: usize,
    /// sign-ins under way at once
    #[argh(option, default = "8")]
    at_once: usize,
}

struct Still;

impl Scenario for Still {
    fn news(&mut self, _: usize, _: &mut Client, _: News<'_>) {}
}

/// Prints a line as soon as all are signed in and one when standard input has ended. Nothing is read from the server
/// in between: an idle server sends nothing, and what it sends waits in the kernel.
pub fn run(idle: &Idle, setting: &Setting, names: &Names, pid: Option<u32>) -> Result<String, String> {
    let users: Vec<String> = (0..idle.count).map(|i| names.of(i)).collect();
    let held = (|| {
        let before = Gauge::read(pid);
        let mut fleet = Fleet::new(setting)?;
        fleet.sign_in(&users, idle.at_once, &mut Still)?;
        // The last questions for an acknowledgement are answered, as a client would.
        fleet.wait(std::time::Duration::from_secs(2), &mut Still)?;
        println!("{{\"scenario\":\"idle\",\"count\":{},{}}}", idle.count, Gauge::read(pid).since(&before));
        io::stdout().flush()?;
        let start = Gauge::read(pid);
        io::stdin().read_to_end(&mut Vec::new())?;
        let lost = fleet.wait(std::time::Duration::ZERO, &mut Still)?.len();
        io::Result::Ok((lost, Gauge::read(pid).since(&start)))
    })();
    let (lost, cost) = held.map_err(|e| e.to_string())?;
    Ok(format!("{{\"scenario\":\"held\",\"count\":{},\"lost\":{lost},{cost}}}", idle.count))
}
