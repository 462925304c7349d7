//! Servers that lie, cut short: whatever the other side of a stream says is cut at every byte, whoever dialed.

use lampone::{limits, router::event::Door};

use super::hostile::{Rogue, header, house, message, names, self_signed};
use crate::stage::{Conn, Stage, player::Player, world::World};

/// Brings so many bytes of this script, one part after the other.
fn said(world: &mut World, conn: Conn, script: &[String], bytes: usize) {
    let mut left = bytes;
    for part in script {
        let cut = part.len().min(left);
        world.bring(conn, &part.as_bytes()[..cut]);
        world.drive();
        left -= cut;
    }
}

/// What a server says that we dialed, up to the message that it took and one of its own.
fn answers() -> Vec<String> {
    vec![
        header("montague.lit", " id='theirs'"),
        "<stream:features><bidi xmlns='urn:xmpp:features:bidi'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>".into(),
        "<db:result from='montague.lit' to='capulet.lit' type='valid'/>".into(),
        "<enabled xmlns='urn:xmpp:sm:3' id='x' resume='true'/>".into(),
        message("romeo@montague.lit", "juliet@capulet.lit"),
        "<a xmlns='urn:xmpp:sm:3' h='1'/>".into(),
    ]
}

/// How often a text is in what was written.
fn times(text: &str, bytes: &[u8]) -> usize {
    String::from_utf8_lossy(bytes).matches(text).count()
}

#[test]
fn whom_we_dialed_is_cut_at_every_byte_and_nothing_is_lost() {
    let script = answers();
    let enabled: usize = script[..4].iter().map(String::len).sum();
    let whole: usize = script.iter().map(String::len).sum();
    for bytes in 0..whole {
        let mut world = house();
        let mut juliet = Player::online(&mut world, "juliet", "balcony");
        juliet.send(&mut world, "<message to='romeo@montague.lit' type='chat'><body>wherefore</body></message>");
        world.drive();
        let (query, _) = world.dials.pop_front().expect("a call");
        let conn = world.open(Door::Dialed { query, address: [192, 0, 2, 77].into(), tls: true });
        world.secure_with(conn, self_signed("montague.lit"));
        said(&mut world, conn, &script, bytes);
        let sent = times("wherefore", &world.take_now(conn));
        Stage::cut(&mut world, conn);
        world.server.check();
        world.advance(limits::PEER_PAUSE_MS + 1);
        // It went out once or not at all, and counts as received when the other side says so.
        let resumes = bytes >= enabled;
        assert_eq!(sent, usize::from(resumes), "byte {bytes}");
        let mut theirs = Rogue::answer(&mut world, "montague.lit");
        theirs.say(&mut world, &script[1]);
        let asks = theirs.say(&mut world, &script[2]);
        assert_eq!(names(&asks), [if resumes { "resume" } else { "enable" }], "byte {bytes}");
        let h = asks[0].get("h").unwrap_or_default().to_owned();
        let took = if bytes >= enabled + script[4].len() { "1" } else { "0" };
        assert_eq!(h, if resumes { took } else { "" }, "byte {bytes}");
        let goes_on = "<resumed xmlns='urn:xmpp:sm:3' previd='x' h='0'/>".to_owned();
        let came = theirs.say(&mut world, if resumes { &goes_on } else { &script[3] });
        assert_eq!(came.iter().filter(|element| element.name == "message").count(), 1, "byte {bytes}");
        assert_eq!(juliet.elements(&mut world).len(), usize::from(took == "1"), "byte {bytes}");
        world.server.check();
    }
}
