//! A link between two houses that is reset at every byte.
//!
//! A session of two links, one for each direction, from the first byte to the end of the idle streams, is played again and
//! again, and each time it breaks one byte later in what one house says, which has dialed one link and answered the other. Nothing is lost, nothing comes twice,
//! and nothing of it is held afterwards.

use lampone::limits;

use crate::stage::{
    player::Player,
    street::{Fuse, OTHER, Street},
};

/// Sessions after which everything starts anew: each leaves its wires behind in the street.
const SESSIONS: usize = 48;
/// Milliseconds within which a link that broke is made again; shorter than [`limits::ACK_MS_MAX`], since the clients read
/// only then.
const MENDED_MS: u64 = 30_000;

/// The bodies that came.
fn bodies(player: &mut Player, street: &mut Street) -> Vec<String> {
    let elements = player.elements(street);
    elements.iter().filter_map(|element| Some(element.find("body")?.text())).collect()
}

/// One session that breaks when this house has said so many bytes; `false`: it ended before that.
fn session(street: &mut Street, players: &mut [Player; 2], house: usize, bytes: usize) -> bool {
    street.fuse = Some(Fuse { house, bytes });
    for from in 0..2 {
        let to = players[1 - from].jid();
        players[from].send(street, &format!("<message type='chat' to='{to}'><body>{bytes}</body></message>"));
        street.drive();
    }
    street.advance(MENDED_MS);
    for player in players.iter_mut() {
        assert_eq!(bodies(player, street), [bytes.to_string()], "{}, byte {bytes} of house {house}", player.jid());
    }
    // Idle links end, and what was kept for those that broke is forgotten.
    for ms in [1_000, limits::PEER_IDLE_MS + limits::PEER_HOLD_MS + 60_000] {
        street.advance(ms);
        for player in players.iter_mut() {
            assert_eq!(player.elements(street), [], "{}, byte {bytes} of house {house}", player.jid());
        }
    }
    for n in 0..2 {
        street.houses[n].server.check();
        assert_eq!(street.houses[n].connections(), 1, "its own client's, byte {bytes} of house {house}");
    }
    street.fuse.is_none()
}

/// Plays all sessions of one kind.
pub fn play(trusted: bool, direct: bool, house: usize) {
    let mut bytes = 0;
    loop {
        let mut street = Street::new(&["romeo"], &["juliet"]);
        (street.trusted, street.direct) = (trusted, direct);
        let mut players = [
            Player::online(&mut street, "romeo", "orchard"),
            Player::online(&mut street, &format!("juliet@{OTHER}"), "balcony"),
        ];
        for _ in 0..SESSIONS {
            if !session(&mut street, &mut players, house, bytes) {
                assert!(bytes > 500, "a session has more than {bytes} bytes");
                return;
            }
            bytes += 1;
        }
    }
}
