//! Every numbered example of XEP-0045 §6 to §10, and of §11.1 and §18.1, in the order of the text, and those of what stands
//! around it, as plays in `examples/`.
//!
//! One statement a line; `#` begins a comment, and numbers before a colon are those of the examples it is:
//!
//! | statement | what happens |
//! |---|---|
//! | `89: crone set admin <item …/>` | a request to the room, by the end of its namespace; `get` likewise |
//! | `18: hag says <presence …/>` | a stanza as it stands |
//! | `20: hag hears part · part · !part` | of what they have not been heard to hear yet, one has these parts, and not that |
//! | `hag hears nothing` | there is nothing else |
//! | `forget` | what was heard up to now is of no interest |
//!
//! `{room}` is the room's address, `{last id}` what it called the last message that has words, `ns:muc` and the like are namespaces. A double space is what a line break would be.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// What no server does: the example, and whose business it is.
const OTHERS: &[(u16, &str)] = &[
    (14, "a client asks another"),
    (15, "a client answers another"),
    (16, "a client asks another"),
    (17, "a client answers another"),
    (51, "nicknames are never rewritten: they are taken as they are, or refused"),
    (53, "nicknames are not locked down"),
    (60, "a conversation of two"),
    (73, "every room can be registered with"),
    (86, "what a client shows"),
    (158, "every room can be configured"),
    (219, "every namespace passes"),
];

const PEOPLE: [(&str, &str); 5] = [
    ("crone", "crone1@capulet.lit/desktop"),
    ("wise", "wiccarocks@capulet.lit/laptop"),
    ("hag", "hag66@capulet.lit/pda"),
    ("hecate", "hecate@capulet.lit/broom"),
    ("bard", "bard@capulet.lit/globe"),
];

/// Somebody of another server.
const SPY: (&str, &str) = ("spy", "spy@elsewhere.lit/pda");

const NAMESPACES: [(&str, &str); 9] = [
    ("muc", "http://jabber.org/protocol/muc"),
    ("user", "http://jabber.org/protocol/muc#user"),
    ("admin", "http://jabber.org/protocol/muc#admin"),
    ("owner", "http://jabber.org/protocol/muc#owner"),
    ("info", "http://jabber.org/protocol/disco#info"),
    ("items", "http://jabber.org/protocol/disco#items"),
    ("register", "jabber:iq:register"),
    ("data", "jabber:x:data"),
    ("rsm", "http://jabber.org/protocol/rsm"),
];

/// The parts of a play that were seen.
struct Stage {
    play: Play,
    sessions: BTreeMap<&'static str, SessionId>,
    unheard: BTreeMap<&'static str, Vec<String>>,
    examples: BTreeSet<u16>,
    /// The room's id of the last message.
    last_id: String,
}

impl Stage {
    fn perform(text: &str) -> BTreeSet<u16> {
        let mut stage = Stage {
            play: Play::new(),
            sessions: BTreeMap::new(),
            unheard: BTreeMap::new(),
            examples: BTreeSet::new(),
            last_id: String::new(),
        };
        stage.play.house.federates = true;
        for (name, jid) in PEOPLE {
            let session = stage.play.house.available(jid);
            stage.sessions.insert(name, session);
        }
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                stage.line(line, at + 1);
            }
        }
        stage.examples
    }

    fn line(&mut self, line: &str, at: usize) {
        let (numbers, rest) = line
            .split_once(": ")
            .filter(|(numbers, _)| numbers.bytes().all(|byte| byte.is_ascii_digit() || byte == b','))
            .unwrap_or(("", line));
        self.examples.extend(numbers.split(',').filter_map(|number| number.parse::<u16>().ok()));
        if rest == "forget" {
            return self.unheard.clear();
        }
        let mut words = rest.splitn(3, ' ');
        let (who, verb, what) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
        let who = self.sessions.keys().copied().find(|known| *known == who).unwrap_or(SPY.0);
        let mut what = what.replace("{room}", ROOM).replace("{last id}", &self.last_id);
        for (name, namespace) in NAMESPACES {
            what = what.replace(&format!("ns:{name} "), &format!("xmlns='{namespace}' "));
            what = what.replace(&format!("ns:{name}>"), &format!("xmlns='{namespace}'>"));
            what = what.replace(&format!("ns:{name}/>"), &format!("xmlns='{namespace}'/>"));
        }
        match verb {
            "says" => self.send(who, &what),
            "set" | "get" => {
                let (name, inner) = what.split_once(' ').unwrap_or((&what, ""));
                let namespace = NAMESPACES.iter().find(|(known, _)| *known == name).unwrap().1;
                let xml =
                    format!("<iq type='{verb}' id='q' to='{ROOM}'><query xmlns='{namespace}'>{inner}</query></iq>");
                self.send(who, &xml);
            }
            "hears" => {
                let unheard = self.unheard.entry(who).or_default();
                if what == "nothing" {
                    return assert!(unheard.is_empty(), "line {at}: {line}\n{}", unheard.join("\n"));
                }
                let parts: Vec<&str> = what.split(" · ").collect();
                let fits = |xml: &&String| {
                    parts.iter().all(|part| match part.strip_prefix('!') {
                        Some(part) => !xml.contains(part),
                        None => xml.contains(part),
                    })
                };
                let found = unheard.iter().find(fits).cloned();
                let found = found.unwrap_or_else(|| panic!("line {at}: {line}\n{}", unheard.join("\n")));
                unheard.retain(|xml| *xml != found);
            }
            _ => panic!("line {at}: {line}"),
        }
    }

    fn send(&mut self, who: &str, xml: &str) {
        // Nobody waits for the pace of a room here.
        self.play.house.now.0 += 1_000;
        let out = match self.sessions.get(who) {
            Some(session) => self.play.house.send(*session, xml),
            None => self.play.house.receive(&xml.replacen(' ', &format!(" from='{}' ", SPY.1), 1)),
        };
        for (session, xml) in out {
            let name = self.sessions.iter().find(|(_, known)| **known == session).map(|(name, _)| *name);
            if let Some((_, rest)) = xml.split_once("<stanza-id ").filter(|_| xml.contains("<body>")) {
                self.last_id = rest.split_once(" id='").map_or("", |(_, id)| &id[..id.find('\'').unwrap()]).to_owned();
            }
            self.unheard.entry(name.unwrap()).or_default().push(xml);
        }
        let away = std::mem::take(&mut self.play.house.to_peers);
        self.unheard.entry(SPY.0).or_default().extend(away);
    }
}

macro_rules! plays {
    ($($name:ident $file:literal $from:literal $to:literal $others:expr;)*) => {
        $(#[test]
        fn $name() {
            let told = Stage::perform(include_str!(concat!("examples/", $file, ".play")));
            let others: BTreeSet<u16> = $others.iter().map(|(number, _): &(u16, &str)| *number).collect();
            let expected: BTreeSet<u16> = ($from..=$to).filter(|number| !others.contains(number)).collect();
            let missing: Vec<_> = expected.difference(&told).collect();
            let more: Vec<_> = told.difference(&expected).collect();
            assert!(missing.is_empty() && more.is_empty(), "missing {missing:?}, elsewhere {more:?}");
        })*
    };
}

// Those of XEP-0317, 0433, 0463, 0488 and 0502 are in the tests of `hats`, `search`, `versions` and `tokens`.
plays! {
    discovery "6" 1 17 OTHERS;
    occupants "7" 18 83 OTHERS;
    moderators "8" 84 109 OTHERS;
    admins "9" 110 151 OTHERS;
    owners "10" 152 204 OTHERS;
    errors "11" 205 206 OTHERS;
    namespaces "18" 218 220 OTHERS;
    direct_invitations "0249" 1 4 [(3, "a client asks another"), (4, "a client answers another")];
    archives "0313" 27 27 [];
    stanza_ids "0359" 1 6 [];
    self_pings "0410" 1 4 [];
    occupant_ids "0421" 1 7 [(7, "how a server may make them")];
    retractions "0424" 1 7 [
        (1, "a client asks another"),
        (2, "a client answers another"),
        (5, "archives keep what was retracted"),
        (6, "archives keep what was retracted"),
        (7, "archives keep what was retracted"),
    ];
    moderation "0425" 1 8 [];
    avatars "0486" 1 15 [(5, "every room has vCards"), (15, "it is not encouraged")];
    slow_mode "0500" 1 5 [(4, "the registry's"), (5, "the registry's")];
}
