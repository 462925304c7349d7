//! From the stream header to sign-in.

use crate::stage::{player::Player, world::World};

#[test]
fn a_client_signs_in() {
    let mut world = World::new(&["romeo"]);
    let mut romeo = Player::online(&mut world, "romeo", "orchard");
    assert!(romeo.fence(&mut world));
}
