//! Two houses, and wires between them that break anywhere.
//!
//! Both write to each other while every wire is cut at places that only the seed knows, bytes are cut anywhere, and the
//! disks are slow, and some hear only so much a second. Nothing may be lost, come twice, or out of order.

use crate::stage::{
    Stage,
    player::Player,
    street::{OTHER, Street, config},
    world::{DOMAIN, Dice},
};

/// Messages of a play, both ways together.
const MESSAGES: usize = 24;

/// Plays one seed.
pub fn play(seed: u64) {
    let mut dice = Dice(seed ^ 0x5eed);
    let people: [&[&str]; 2] = [&["romeo"], &["juliet"]];
    let mut settings = [config(DOMAIN), config(OTHER)];
    if Dice(seed ^ 0x9ace).one_in(3) {
        // A burst of so many seconds is less than what the two say.
        for settings in &mut settings {
            settings.limits.peer_rate.bytes = 500;
        }
    }
    let [here, there] = settings;
    let mut street = Street::with([(here, people[0]), (there, people[1])], seed);
    (street.trusted, street.direct) = (dice.one_in(2), dice.one_in(2));
    let mut players = [
        Player::online(&mut street, "romeo", "orchard"),
        Player::online(&mut street, "juliet@montague.lit", "balcony"),
    ];
    let addresses = players.each_ref().map(Player::jid);
    for house in &mut street.houses {
        house.disk.held = dice.one_in(2);
    }
    street.chops = dice.one_in(2).then(|| Dice(dice.roll()));
    let mut sent: [Vec<String>; 2] = Default::default();
    for n in 0..MESSAGES {
        let from = dice.below(2);
        let body = format!("{n}");
        let message =
            format!("<message type='chat' to='{}' id='{n}'><body>{body}</body></message>", addresses[1 - from]);
        players[from].send(&mut street, &message);
        sent[from].push(body);
        for _ in 0..dice.below(12) {
            street.round();
            for house in &mut street.houses {
                if house.disk.held
                    && dice.one_in(3)
                    && let Some(answer) = house.disk.step()
                {
                    house.disk_says(answer);
                }
            }
        }
        if dice.one_in(2) {
            street.cut_wires();
        }
        if dice.one_in(4) {
            street.pass(dice.below(1_500) as u64);
        }
    }
    for house in &mut street.houses {
        house.disk.held = false;
    }
    // Attempts that failed in a row are a while apart; nobody has lost patience yet.
    street.advance(100_000);
    for to in 0..2 {
        let got: Vec<String> =
            players[to].elements(&mut street).iter().filter_map(|e| Some(e.find("body")?.text())).collect();
        assert_eq!(got, sent[1 - to], "what {} received", addresses[to]);
    }
    for house in &street.houses {
        house.server.check();
    }
    let _ = street.house();
}
