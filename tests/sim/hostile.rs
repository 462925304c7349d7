//! Two houses, and a server that lies to one of them.
//!
//! Romeo and Juliet write to each other across their houses. Meanwhile `verona.lit`, which somebody bad runs, dials
//! Romeo's house and is dialed by it, as the seed has it: with forged senders, forged dialback, receivers of other domains,
//! certificates for other domains, features without end, bytes one at a time, and connections that are reset anywhere.
//! Whatever it does, nobody hears a word that is forged, the two lose nothing, and in the end nothing of it is left.

use lampone::{
    limits,
    proto::identity::{PeerCertificate, PeerName},
    router::event::Door,
};

use crate::stage::{
    Conn, Stage,
    player::Player,
    street::{OTHER, Street, config},
    world::{DOMAIN, Dice},
};

/// The domain of the server that lies.
const ROGUE: &str = "verona.lit";
/// What it says where it must not.
const FORGED: &str = "forged";
/// Things that happen in a play.
const ACTS: usize = 30;

/// Shows a certificate for these names, which an authority has signed or not.
fn certificate(name: &str, signed: bool) -> Option<PeerCertificate> {
    let trusted = if signed { Ok(()) } else { Err("it is self-signed".into()) };
    Some(PeerCertificate { trusted, names: vec![PeerName::Dns(name.into())], not_after_s: 0 })
}

fn header(from: &str, id: &str) -> String {
    format!(
        "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
         xmlns:db='jabber:server:dialback' version='1.0' from='{from}' to='{DOMAIN}'{id}>"
    )
}

fn forged(from: &str, to: &str) -> String {
    format!("<message from='{from}' to='{to}' type='chat'><body>{FORGED}</body></message>")
}

/// What no server may say to us, wherever it stands.
fn lie(dice: &mut Dice) -> String {
    let claims = |word: &str| format!("<db:{word} from='{OTHER}' to='{DOMAIN}'");
    match dice.below(10) {
        0 => forged(&format!("juliet@{OTHER}/balcony"), &format!("romeo@{DOMAIN}")),
        1 => forged(&format!("romeo@{DOMAIN}"), &format!("romeo@{DOMAIN}")),
        2 => forged(&format!("x@rooms.{ROGUE}"), &format!("romeo@{DOMAIN}")),
        3 => forged(&format!("x@{ROGUE}"), &format!("juliet@{OTHER}")),
        4 => forged(&format!("x@{ROGUE}"), ""),
        5 => format!("{}>a key of mine</db:result>", claims("result")),
        6 => format!("{} type='valid'/>", claims("result")),
        7 => format!("{} id='any' type='valid'/>", claims("verify")),
        8 => format!("<stream:features>{}", "<x xmlns='urn:x'/>".repeat(limits::PREAUTH_STANZA_BYTES_MAX)),
        _ => format!("<message from='x@{ROGUE}' to='romeo@{DOMAIN}'>{}", "<a>".repeat(limits::DEPTH_MAX + 2)),
    }
}

/// What it says when it has dialed us.
fn calls(dice: &mut Dice) -> String {
    let external = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
    let (claimed, again) = if dice.one_in(3) { (OTHER, OTHER) } else { (ROGUE, ROGUE) };
    let becomes = if dice.one_in(4) { OTHER } else { again };
    let mut text = header(claimed, "");
    if dice.one_in(2) {
        text += &format!("{external}{}", header(becomes, ""));
    }
    text + &lie(dice)
}

/// What it says when we have dialed it.
fn answers(dice: &mut Dice) -> String {
    let bidi = if dice.one_in(2) { "<bidi xmlns='urn:xmpp:features:bidi'/>" } else { "" };
    let mut text = header(if dice.one_in(4) { OTHER } else { ROGUE }, " id='theirs'");
    text += &format!("<stream:features>{bidi}<dialback xmlns='urn:xmpp:features:dialback'/></stream:features>");
    if dice.one_in(2) {
        text += &format!("<db:result from='{ROGUE}' to='{DOMAIN}' type='valid'/>");
    }
    text + &lie(dice)
}

/// A connection in bad hands, with what it will still say.
struct Rogue {
    conn: Conn,
    text: Vec<u8>,
    /// Bytes at a time.
    step: usize,
    /// Said so much, it is reset.
    resets_at: usize,
}

struct Play {
    street: Street,
    dice: Dice,
    rogues: Vec<Rogue>,
}

impl Play {
    /// It dials Romeo's house.
    fn dials(&mut self) {
        let conn = self.street.houses[0].open(Door::PeerDirectTls([192, 0, 2, 66].into()));
        let text = calls(&mut self.dice);
        self.begins(conn, &text);
    }

    /// Romeo's house dials it.
    fn is_dialed(&mut self) {
        while let Some((house, query, domain)) = self.street.calls.pop_front() {
            assert_eq!((house, &*domain), (0, ROGUE));
            let conn = self.street.houses[0].open(Door::Dialed { query, address: [192, 0, 2, 66].into(), tls: true });
            let text = answers(&mut self.dice);
            self.begins(conn, &text);
        }
    }

    fn begins(&mut self, conn: Conn, text: &str) {
        let dice = &mut self.dice;
        let shown = match dice.below(5) {
            0 => None,
            1 => certificate(OTHER, false),
            2 => certificate(ROGUE, false),
            3 => certificate("xmpp.hosting.example", true),
            _ => certificate(ROGUE, true),
        };
        let step = [1, 7, 100_000][dice.below(3)];
        let resets_at = if dice.one_in(2) { dice.below(text.len()) } else { text.len() + 1 };
        self.street.houses[0].secure_with(conn, shown);
        self.rogues.push(Rogue { conn, text: text.as_bytes().to_vec(), step, resets_at });
    }

    /// Every rogue says a little more. Elements that need an answer before them are there in time or too early, as may be.
    fn goes_on(&mut self) {
        for rogue in &mut self.rogues {
            let house = &mut self.street.houses[0];
            let size = rogue.step.min(rogue.text.len()).min(rogue.resets_at);
            let said: Vec<u8> = rogue.text.drain(..size).collect();
            rogue.resets_at -= size;
            house.bring(rogue.conn, &said);
            if rogue.resets_at == 0 {
                house.drive();
                Stage::cut(house, rogue.conn);
            }
        }
        let house = &self.street.houses[0];
        self.rogues.retain(|rogue| house.is_open(rogue.conn));
    }
}

fn bodies(player: &mut Player, street: &mut Street) -> Vec<String> {
    player.elements(street).iter().filter_map(|element| Some(element.find("body")?.text())).collect()
}

/// Milliseconds after an act, at most: the clients read when all is over, before they would be given up.
const PAUSE_MS: usize = limits::ACK_MS_MAX as usize / (ACTS + 1);
/// Milliseconds for which nobody looks, fewer than [`limits::ACK_MS_MAX`].
const AT_ONCE_MS: u64 = 30_000;

/// Plays one seed.
pub fn play(seed: u64) {
    let mut dice = Dice(seed ^ 0xbad);
    let people: [&[&str]; 2] = [&["romeo"], &["juliet"]];
    let mut street = Street::with([(config(DOMAIN), people[0]), (config(OTHER), people[1])], seed);
    (street.trusted, street.direct) = (dice.one_in(2), dice.one_in(2));
    street.strangers.insert(ROGUE.into());
    let mut players = [
        Player::online(&mut street, "romeo", "orchard"),
        Player::online(&mut street, &format!("juliet@{OTHER}"), "balcony"),
    ];
    let mut play = Play { street, dice, rogues: Vec::new() };
    let mut sent: [Vec<String>; 2] = Default::default();
    for n in 0..ACTS {
        match play.dice.below(4) {
            0 => play.dials(),
            1 => {
                let text = format!("<message type='chat' to='x@{ROGUE}'><body>hark</body></message>");
                players[0].send(&mut play.street, &text);
            }
            from => {
                let from = from - 2;
                let (to, body) = (players[1 - from].jid(), n.to_string());
                let text = format!("<message type='chat' to='{to}'><body>{body}</body></message>");
                players[from].send(&mut play.street, &text);
                sent[from].push(body);
            }
        }
        for _ in 0..play.dice.below(20) {
            play.street.round();
            play.is_dialed();
            play.goes_on();
        }
        let pause = play.dice.below(PAUSE_MS) as u64;
        play.street.advance(pause);
    }
    // Whoever says nothing more is not waited for; links without use end.
    let mut heard = players.each_mut().map(|player| bodies(player, &mut play.street));
    for _ in 0..120 {
        play.street.advance(AT_ONCE_MS);
        play.is_dialed();
        for (player, heard) in players.iter_mut().zip(&mut heard) {
            heard.extend(bodies(player, &mut play.street));
        }
    }
    for to in 0..2 {
        let honest: Vec<_> = heard[to].iter().filter(|body| *body != "hark").collect();
        assert_eq!(honest, sent[1 - to].iter().collect::<Vec<_>>(), "what {} heard", players[to].jid());
        play.street.houses[to].server.check();
    }
    for rogue in &play.rogues {
        play.street.houses[0].half_close(rogue.conn);
    }
    for _ in 0..(limits::PEER_HOLD_MS + limits::PEER_IDLE_MS).div_ceil(AT_ONCE_MS) {
        // Clients that read nothing would be given up.
        play.street.advance(AT_ONCE_MS);
        for player in &mut players {
            player.elements(&mut play.street);
        }
    }
    for house in &play.street.houses {
        assert_eq!(house.connections(), 1, "its own client's");
        house.server.check();
    }
}
