//! Sessions against XEP-0124 and XEP-0206, without sockets; time is a number.

use super::*;

const XMLNS: &str = "xmlns='http://jabber.org/protocol/httpbind'";
const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' from='capulet.lit' id='abc' version='1.0'>";
const FEATURES: &str = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";

struct Play {
    session: Session,
    now: u64,
    next_ticket: u64,
    room: usize,
}

impl Play {
    /// A session with these attributes, the stream's answer given.
    fn new(attributes: &str) -> (Play, String) {
        let mut play = Play::silent(attributes);
        let heard = play.heard();
        assert!(heard.starts_with("<stream:stream xmlns='jabber:client'"), "{heard}");
        play.session.say(HEADER.as_bytes());
        play.session.say(FEATURES.as_bytes());
        let answers = play.settle();
        assert_eq!(answers.len(), 1);
        (play, answers[0].1.clone())
    }

    fn silent(attributes: &str) -> Play {
        let text = format!(
            "<body {XMLNS} rid='100' to='capulet.lit' ver='1.6' xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh' {attributes}/>"
        );
        let body = body::read(text.as_bytes()).unwrap();
        Play {
            session: Session::new("sid".into(), body, Ticket(0), 0),
            now: 0,
            next_ticket: 1,
            room: limits::BOSH_EARLY_ALL_BYTES_MAX,
        }
    }

    fn ask(&mut self, rid: u64, attributes: &str, content: &str) -> u64 {
        let text =
            format!("<body {XMLNS} xmlns:xmpp='urn:xmpp:xbosh' sid='sid' rid='{rid}' {attributes}>{content}</body>");
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.session.take(body::read(text.as_bytes()).unwrap(), Ticket(ticket), self.now, self.room);
        ticket
    }

    /// The stream takes what has come.
    fn heard(&mut self) -> String {
        let mut all = Vec::new();
        while let Some(some) = self.session.hear() {
            all.extend(some);
        }
        String::from_utf8(all).unwrap()
    }

    fn say(&mut self, text: &str) {
        self.session.say(text.as_bytes());
    }

    /// Answers, each with its ticket.
    fn settle(&mut self) -> Vec<(u64, String)> {
        self.session.settle(self.now);
        self.answers()
    }

    fn answers(&mut self) -> Vec<(u64, String)> {
        let answers = self.session.answers().into_iter();
        answers.map(|answer| (answer.ticket.0, String::from_utf8(answer.body).unwrap())).collect()
    }

    fn empty(ticket: u64) -> (u64, String) {
        (ticket, format!("<body {XMLNS}/>"))
    }

    fn ended(ticket: u64, condition: &str) -> (u64, String) {
        (ticket, format!("<body {XMLNS} type='terminate' condition='{condition}'/>"))
    }
}

#[test]
fn a_session_begins_as_in_the_example() {
    // XEP-0124 §7.2, XEP-0206 §3.
    let (play, answer) = Play::new("hold='1' wait='300' xml:lang='it' from='juliet@capulet.lit'");
    for part in [
        " sid='sid'",
        " wait='60'",
        " requests='2'",
        " hold='1'",
        " inactivity='30'",
        " polling='2'",
        " maxpause='120'",
        " ver='1.6'",
        " from='capulet.lit'",
        " authid='abc'",
        " xmpp:version='1.0'",
        " xmpp:restartlogic='true'",
        " xmlns:stream='http://etherx.jabber.org/streams'><stream:features",
    ] {
        assert!(answer.contains(part), "{part} in {answer}");
    }
    assert_eq!(answer.matches("xmlns:xmpp=").count(), 1, "{answer}");
    assert!(crate::wire::element::Element::parse(answer.as_bytes(), "").is_ok(), "{answer}");
    assert_eq!(play.session.opening.lang.as_deref(), Some("it"));
}

#[test]
fn an_answer_waits_for_something_to_say() {
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let first = play.ask(101, "", "");
    assert_eq!(play.settle(), []);
    play.say("<message><body>Hi</body></message>");
    let said = format!("<body {XMLNS}><message xmlns='jabber:client'><body>Hi</body></message></body>");
    assert_eq!(play.settle(), [(first, said)]);
    // XEP-0124 §8: nothing to say within the time.
    let second = play.ask(102, "", "");
    assert_eq!(play.session.deadline(), Some(60_000));
    play.now = 59_999;
    assert_eq!(play.settle(), []);
    play.now = 60_000;
    assert_eq!(play.settle(), [Play::empty(second)]);
    // What is said while nobody asks waits for the next one.
    play.say("<presence/>");
    assert_eq!(play.settle(), []);
    assert!(play.session.unsaid() > 0);
    let third = play.ask(103, "", "");
    assert_eq!(play.settle(), [(third, format!("<body {XMLNS}><presence xmlns='jabber:client'/></body>"))]);
}

#[test]
fn a_new_request_sets_the_old_one_free() {
    // XEP-0124 §5.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let first = play.ask(101, "", "");
    play.settle();
    let second = play.ask(102, "", "<iq type='get' id='1'/>");
    assert_eq!(play.heard(), "<iq type='get' id='1'/>");
    // The answer of the house goes to the oldest.
    play.say("<iq type='result' id='1'/>");
    let answers = play.settle();
    assert_eq!(answers, [(first, format!("<body {XMLNS}><iq xmlns='jabber:client' type='result' id='1'/></body>"))]);
    let third = play.ask(103, "", "<message/>");
    assert_eq!(play.settle(), [Play::empty(second)]);
    play.ask(104, "", "<message/>");
    assert_eq!(play.settle(), [], "the stream has not taken what the third brought");
    play.heard();
    assert_eq!(play.settle(), [Play::empty(third)]);
}

#[test]
fn requests_out_of_order_are_put_in_order() {
    // XEP-0124 §14.2.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let second = play.ask(102, "", "<message id='b'/>");
    assert_eq!((play.heard().as_str(), play.settle()), ("", vec![]));
    let first = play.ask(101, "", "<message id='a'/>");
    assert_eq!(play.heard(), "<message id='a'/><message id='b'/>");
    assert_eq!(play.settle(), [Play::empty(first)]);
    play.now = 60_000;
    assert_eq!(play.settle(), [Play::empty(second)]);
}

#[test]
fn a_request_beyond_the_window_ends_the_session() {
    // XEP-0124 §14.2: the error does not tell whether it was too large or too small.
    for rid in [103, 9_007_199_254_740_991, 99, 0] {
        let (mut play, _) = Play::new("hold='1' wait='60'");
        let ticket = play.ask(rid, "", "<message/>");
        assert_eq!(play.answers(), [Play::ended(ticket, "item-not-found")], "{rid}");
        assert!(play.session.is_over());
        assert_eq!(play.heard(), "");
    }
}

#[test]
fn a_lost_answer_is_given_again() {
    // XEP-0124 §14.3.
    let (mut play, opening) = Play::new("hold='1' wait='60'");
    let again = play.ask(100, "", "");
    assert_eq!(play.answers(), [(again, opening)]);
    let first = play.ask(101, "", "<message id='a'/>");
    play.heard();
    play.say("<message/>");
    let answers = play.settle();
    assert_eq!(answers[0].0, first);
    let again = play.ask(101, "", "<message id='a'/>");
    assert_eq!(play.answers(), [(again, answers[0].1.clone())]);
    assert_eq!(play.heard(), "", "nothing is heard twice");
    for rid in 102..106 {
        play.ask(rid, "", "<message/>");
        play.heard();
        play.say("<message/>");
        play.settle();
    }
    let late = play.ask(101, "", "");
    assert_eq!(play.answers(), [Play::ended(late, "item-not-found")], "it is not kept for ever");
}

#[test]
fn a_request_that_is_sent_again_while_it_waits_is_taken_over() {
    // XEP-0124 §14.3 and §17.3.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let first = play.ask(101, "", "<message id='a'/>");
    play.heard();
    play.settle();
    let again = play.ask(101, "", "<message id='a'/>");
    assert_eq!(play.answers(), [(first, format!("<body {XMLNS} type='error'/>"))]);
    play.say("<message/>");
    assert_eq!(play.settle()[0].0, again);
    // Not for ever.
    play.ask(102, "", "");
    for _ in 0..=limits::BOSH_REPEATS_MAX {
        assert!(!play.session.is_over());
        play.ask(102, "", "");
    }
    assert!(play.session.is_over());
}

#[test]
fn what_nobody_waits_for_is_not_sent() {
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let first = play.ask(101, "", "");
    play.settle();
    play.session.left(Ticket(first), 0);
    play.say("<message/>");
    assert_eq!(play.settle(), []);
    assert!(play.session.unsaid() > 0);
    let again = play.ask(101, "", "");
    assert_eq!(play.settle(), [(again, format!("<body {XMLNS}><message xmlns='jabber:client'/></body>"))]);
}

#[test]
fn who_asks_for_nothing_for_too_long_is_gone() {
    // XEP-0124 §10.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    assert_eq!(play.session.deadline(), Some(30_000));
    play.now = 29_999;
    play.settle();
    assert!(!play.session.is_over());
    play.now = 30_000;
    assert_eq!(play.settle(), []);
    assert!(play.session.is_over());
    assert_eq!(play.session.deadline(), None);
}

#[test]
fn a_pause_lasts_until_the_next_request() {
    // XEP-0124 §10.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let first = play.ask(101, "", "");
    play.settle();
    let pause = play.ask(102, "pause='120'", "");
    assert_eq!(play.settle(), [Play::empty(first), Play::empty(pause)]);
    assert_eq!(play.session.deadline(), Some(120_000));
    play.say("<message/>");
    play.now = 119_999;
    assert_eq!(play.settle(), []);
    let back = play.ask(103, "", "");
    assert_eq!(play.settle(), [(back, format!("<body {XMLNS}><message xmlns='jabber:client'/></body>"))]);
    assert_eq!(play.session.deadline(), Some(play.now + 30_000));
    let more = play.ask(104, "pause='121'", "");
    assert_eq!(play.answers(), [Play::ended(more, "policy-violation")]);
}

#[test]
fn a_pause_comes_on_top_of_what_may_be_under_way() {
    // XEP-0124 §11; what is said goes to a request that is no pause.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let first = play.ask(101, "", "<message/>");
    let second = play.ask(102, "", "<message/>");
    let pause = play.ask(103, "pause='10'", "");
    play.heard();
    play.say("<presence/>");
    let words = format!("<body {XMLNS}><presence xmlns='jabber:client'/></body>");
    assert_eq!(play.settle(), [(first, words), Play::empty(second), Play::empty(pause)]);
}

#[test]
fn too_many_requests_end_the_session() {
    // XEP-0124 §11: the stream takes nothing, so none is answered.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let tickets = [101, 102].map(|rid| play.ask(rid, "", "<message/>"));
    assert_eq!(play.settle(), []);
    let third = play.ask(103, "", "<message/>");
    let ended = play.answers();
    for ticket in tickets.into_iter().chain([third]) {
        assert!(ended.contains(&Play::ended(ticket, "policy-violation")), "{ended:?}");
    }
    assert_eq!(ended.len(), 3);
}

#[test]
fn empty_requests_in_haste_end_the_session() {
    // XEP-0124 §11: as many as may be under way, the last one empty, within the polling interval.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    play.ask(101, "", "");
    play.settle();
    play.now = limits::BOSH_POLLING_S * 1_000;
    play.ask(102, "", "");
    play.settle();
    assert!(!play.session.is_over());
    play.now += limits::BOSH_POLLING_S * 1_000 - 1;
    let hasty = play.ask(103, "", "");
    assert!(play.answers().contains(&Play::ended(hasty, "policy-violation")));
}

#[test]
fn polling_is_answered_at_once_and_not_too_often() {
    // XEP-0124 §12.
    for attributes in ["hold='0' wait='60'", "hold='1' wait='0'"] {
        let (mut play, answer) = Play::new(attributes);
        assert!(answer.contains(" requests='1' hold='0'"), "{answer}");
        assert!(answer.contains(" inactivity='90'"), "{answer}");
        let first = play.ask(101, "", "");
        assert_eq!(play.settle(), [Play::empty(first)]);
        play.now = limits::BOSH_POLLING_S * 1_000;
        let second = play.ask(102, "", "");
        assert_eq!(play.settle(), [Play::empty(second)]);
        // What it says itself it may say at any time, and the answer may come along.
        let third = play.ask(103, "", "<iq type='get' id='1'/>");
        play.heard();
        assert_eq!(play.settle(), []);
        play.say("<iq type='result' id='1'/>");
        assert_eq!(play.settle()[0].0, third);
        play.ask(104, "", "");
        play.settle();
        let hasty = play.ask(105, "", "");
        assert_eq!(play.answers(), [Play::ended(hasty, "policy-violation")]);
    }
}

#[test]
fn a_goodbye_is_acknowledged_to_the_oldest() {
    // XEP-0124 §13.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let first = play.ask(101, "", "");
    play.settle();
    let last = play.ask(102, "type='terminate'", "<presence type='unavailable'/>");
    assert_eq!(play.heard(), "<presence type='unavailable'/></stream:stream>");
    play.say("</stream:stream>");
    play.session.close();
    assert_eq!(play.settle(), [(first, format!("<body {XMLNS} type='terminate'/>")), Play::empty(last)]);
    assert!(play.session.is_over());
}

#[test]
fn what_was_still_to_be_said_goes_ahead_of_a_goodbye() {
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let first = play.ask(101, "", "");
    play.settle();
    let last = play.ask(102, "type='terminate'", "");
    play.heard();
    play.say("<message/></stream:stream>");
    play.session.close();
    let said = (first, format!("<body {XMLNS}><message xmlns='jabber:client'/></body>"));
    assert_eq!(play.settle(), [said, (last, format!("<body {XMLNS} type='terminate'/>"))]);
    assert!(play.session.is_over());
    // Whoever has nothing but its goodbye under way does not listen any more (XEP-0124 §13).
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let last = play.ask(101, "type='terminate'", "");
    play.heard();
    play.say("<message/></stream:stream>");
    play.session.close();
    assert_eq!(play.settle(), [(last, format!("<body {XMLNS} type='terminate'/>"))]);
    // Nor is it answered before all is over.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let last = play.ask(101, "type='terminate'", "");
    play.heard();
    play.say("<message/>");
    assert_eq!(play.settle(), []);
    play.say("</stream:stream>");
    play.session.close();
    assert_eq!(play.settle(), [(last, format!("<body {XMLNS} type='terminate'/>"))]);
    // Where we say goodbye, everything is said.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    let only = play.ask(101, "", "");
    play.settle();
    play.say("<message/></stream:stream>");
    play.session.close();
    let said = format!("<body {XMLNS} type='terminate'><message xmlns='jabber:client'/></body>");
    assert_eq!(play.settle(), [(only, said)]);
}

#[test]
fn the_error_of_a_stream_comes_along_with_what_was_said_before() {
    // XEP-0206 §5: also if nobody waits when it is said.
    let (mut play, _) = Play::new("hold='1' wait='60'");
    play.say("<message/><stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
    play.say("</stream:stream>");
    play.session.close();
    assert_eq!(play.settle(), []);
    assert!(!play.session.is_over());
    let ticket = play.ask(101, "", "<message/>");
    let answers = play.settle();
    let start = format!(
        "<body {XMLNS} type='terminate' condition='remote-stream-error' \
         xmlns:stream='http://etherx.jabber.org/streams'><message xmlns='jabber:client'/><stream:error"
    );
    assert_eq!(answers.len(), 1);
    assert!(answers[0].0 == ticket && answers[0].1.starts_with(&start), "{answers:?}");
    assert!(play.session.is_over());
}

#[test]
fn a_stream_begins_anew() {
    // XEP-0206 §4: the content of the request is ignored.
    let (mut play, _) = Play::new("hold='1' wait='60' from='juliet@capulet.lit'");
    let ticket = play.ask(101, "xmpp:restart='true' to='capulet.lit' xml:lang='en'", "<message/>");
    let header = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                  to='capulet.lit' from='juliet@capulet.lit' version='1.0' xml:lang='en'>";
    assert_eq!(play.heard(), header);
    play.say(&HEADER.replace("abc", "def"));
    play.say(FEATURES);
    let answers = play.settle();
    assert!(answers[0].0 == ticket && answers[0].1.contains(" authid='def'"), "{answers:?}");
    assert!(!answers[0].1.contains(" sid="), "{answers:?}");
}

#[test]
fn keys_protect_a_session() {
    // XEP-0124 §15.
    let chain: Vec<_> = std::iter::successors(Some(sha1("seed")), |key| Some(sha1(key))).take(4).collect();
    let new = format!("hold='1' wait='60' newkey='{}'", chain[3].to_uppercase());
    let (mut play, opening) = Play::new(&new);
    play.ask(101, &format!("key='{}'", chain[2]), "<message id='a'/>");
    play.ask(102, &format!("key='{}'", chain[1]), "<message id='b'/>");
    assert_eq!(play.heard(), "<message id='a'/><message id='b'/>");
    play.settle();
    // Repeated as it was.
    let again = play.ask(100, "", "");
    assert!(play.answers().contains(&(again, opening)));
    play.ask(103, &format!("key='{}' newkey='{}'", chain[0], sha1("other")), "<message id='c'/>");
    play.heard();
    play.settle();
    let bad = play.ask(104, "key='seed'", "<message id='d'/>");
    assert!(play.answers().contains(&Play::ended(bad, "item-not-found")));
    assert_eq!(play.heard(), "");

    let (mut play, _) = Play::new(&new);
    let bad = play.ask(101, "", "<message/>");
    assert_eq!(play.answers(), [Play::ended(bad, "item-not-found")]);
}

#[test]
fn acknowledgements_tell_what_has_come() {
    // XEP-0124 §9.
    let (mut play, opening) = Play::new("hold='1' wait='60' ack='1'");
    assert!(opening.contains(" ack='100'"), "{opening}");
    let first = play.ask(101, "", "");
    play.settle();
    let second = play.ask(102, "", "<message/>");
    play.heard();
    assert_eq!(play.settle(), [(first, format!("<body {XMLNS} ack='102'/>"))]);
    play.now = 852;
    play.ask(103, "ack='100'", "<message/>");
    play.heard();
    let answers = play.settle();
    assert_eq!(answers, [(second, format!("<body {XMLNS} ack='103' report='101' time='852'/>"))]);
}

#[test]
fn old_clients_are_told_by_status() {
    // XEP-0124 §17.1.
    let text = format!("<body {XMLNS} rid='100' to='capulet.lit'/>");
    let body = body::read(text.as_bytes()).unwrap();
    let mut session = Session::new("sid".into(), body, Ticket(0), 0);
    session.break_off(Condition::ItemNotFound);
    assert_eq!(session.answers()[0].status, 404);
}

#[test]
fn who_wants_two_requests_held_can_always_speak() {
    // XEP-0124 §7.1 and §7.2: no more than it wants, and one is enough.
    let (mut play, answer) = Play::new("hold='2' wait='60'");
    assert!(answer.contains(" requests='3' hold='1'"), "{answer}");
    let first = play.ask(101, "", "");
    assert_eq!(play.settle(), []);
    play.ask(102, "", "<message/>");
    play.heard();
    assert_eq!(play.settle(), [Play::empty(first)], "the older one is free again");
}

#[test]
fn what_is_kept_is_bounded() {
    let (mut play, _) = Play::new("hold='2' wait='60'");
    for rid in 101..400 {
        play.ask(rid, "", "<message/>");
        play.heard();
        play.say("<message/>");
        play.settle();
    }
    assert!(play.session.given.len() <= play.session.terms.requests + 1);
    assert!(play.session.waiting.len() <= play.session.terms.requests);
    assert!(!play.session.is_over());
}

#[test]
fn before_sign_in_little_is_kept_of_what_comes_ahead_of_its_turn() {
    // S3.
    let large = format!("<message>{}</message>", "x".repeat(limits::BOSH_EARLY_BYTES_MAX));
    let (mut play, _) = Play::new("hold='1'");
    let ticket = play.ask(102, "", &large);
    assert_eq!(play.answers(), [Play::ended(ticket, "policy-violation")]);
    // Whoever they all are together.
    let (mut play, _) = Play::new("hold='1'");
    play.room = 100;
    let ticket = play.ask(102, "", &"<presence/>".repeat(20));
    assert_eq!(play.answers(), [Play::ended(ticket, "policy-violation")]);
    // What is in its turn is the stream's to judge, and counts for nobody.
    let (mut play, _) = Play::new("hold='1'");
    play.room = 0;
    play.ask(101, "", &large);
    assert_eq!((play.heard(), play.session.early_bytes()), (large.clone(), 0));
    // What waits is counted until it has its turn.
    let (mut play, _) = Play::new("hold='1'");
    play.ask(102, "", "<b/>");
    assert!(play.session.early_bytes() > "<b/>".len());
    play.ask(101, "", "<a/>");
    assert_eq!((play.heard().as_str(), play.session.early_bytes()), ("<a/><b/>", 0));
}

#[test]
fn after_sign_in_what_comes_ahead_of_its_turn_may_be_a_whole_stanza() {
    let large = format!("<message>{}</message>", "x".repeat(limits::BOSH_EARLY_BYTES_MAX));
    for success in ["<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "<success xmlns='urn:xmpp:sasl:2'/>"] {
        let (mut play, _) = Play::new("hold='1'");
        play.say(success);
        play.room = 0;
        play.ask(102, "", &large);
        assert_eq!(play.session.early_bytes(), 0, "it counts for nobody but its own session");
        play.ask(101, "", "<a/>");
        assert_eq!(play.heard(), format!("<a/>{large}"));
    }
}
