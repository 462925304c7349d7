//! Accounts made and removed by what XMPP has for it: XEP-0077 v2.4, §3.1 and §3.2.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    client::{Client, News, Setting},
    fleet::{Fleet, STILL, Scenario},
    xml,
};

/// Connections at once: servers watch who registers much.
const AT_ONCE: usize = 2;

struct Desk {
    done: usize,
    /// Whether accounts are to go.
    removes: bool,
    failure: Option<String>,
}

impl Scenario for Desk {
    fn news(&mut self, _: usize, client: &mut Client, news: News<'_>) {
        match news {
            News::Live if self.removes => {
                client.stanza("<iq type='set' id='remove'><query xmlns='jabber:iq:register'><remove/></query></iq>");
            }
            News::Live => {
                self.done += 1;
                client.close();
            }
            News::Stanza(stanza) if xml::attribute(stanza, "id") == Some("remove") => {
                if xml::attribute(stanza, "type") != Some("result") {
                    self.failure = Some(String::from_utf8_lossy(stanza).into_owned());
                }
                self.done += 1;
                client.close();
            }
            _ => {}
        }
    }
}

/// Makes the accounts, or removes them; how many of them may be made or gone, in their order, and why no more.
pub fn run(users: &[String], setting: &Setting, removes: bool) -> (usize, io::Result<()>) {
    let setting = Setting { registers: !removes, sm: false, presence: false, ..setting.clone() };
    let mut desk = Desk { done: 0, removes, failure: None };
    let mut started = 0;
    let outcome = serve(users, &setting, &mut desk, &mut started);
    (if desk.done == 0 { 0 } else { started }, outcome)
}

fn serve(users: &[String], setting: &Setting, desk: &mut Desk, started: &mut usize) -> io::Result<()> {
    let mut fleet = Fleet::new(setting)?;
    let mut last = (0, Instant::now());
    while desk.done < users.len() {
        for slot in 0..AT_ONCE {
            if *started < users.len() && fleet.clients.get(slot).is_none_or(Option::is_none) {
                fleet.start(slot, &users[*started])?;
                *started += 1;
            }
        }
        // A server may end the stream of an account that is gone (XEP-0077 §3.2) before it has answered.
        for (_, e) in fleet.wait(Duration::from_secs(1), desk)? {
            if !desk.removes {
                return Err(e);
            }
            desk.done += 1;
        }
        if let Some(failure) = desk.failure.take() {
            return Err(io::Error::other(format!("the server said {failure}")));
        }
        fleet.tell(desk.done as u64, users.len() as u64);
        if desk.done > last.0 {
            last = (desk.done, Instant::now());
        } else if last.1.elapsed() > STILL {
            return Err(io::Error::other(format!("nothing for {} s", STILL.as_secs())));
        }
    }
    Ok(())
}
