//! What one sign-in costs inside the house, from the first byte under TLS to a session with stream management, without
//! sockets, TLS, disk and PBKDF2. `cargo bench --bench sign_in` prints nanoseconds.

mod house;

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use house::{EXPORTER, HEADER, House};
use lampone::router::event::StreamId;
use ring::{digest, hmac, pbkdf2};

const ROUNDS: u32 = 2_000;
const AGENT: &str =
    "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>AwesomeXMPP</software></user-agent>";
const BIND: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>AwesomeXMPP</tag><enable xmlns='urn:xmpp:sm:3' resume='true'/>\
                    <enable xmlns='urn:xmpp:carbons:2'/></bind>";
const EXPR: &str = "HT-SHA-256-EXPR";

fn sign(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
}

/// What the server says to these words, and how long it takes.
fn ask(house: &mut House, stream: StreamId, text: &str) -> (String, Duration) {
    house.said = Some(Vec::with_capacity(4096));
    let start = Instant::now();
    house.say(stream, text);
    let spent = start.elapsed();
    (String::from_utf8(house.said.take().unwrap_or_default()).expect("UTF-8"), spent)
}

/// The text between two others.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let from = text.find(before).unwrap_or_else(|| panic!("no {before} in {text}")) + before.len();
    text[from..].split(after).next().unwrap_or_default()
}

/// SCRAM-SHA-256 in the words of RFC 6120, a second stream, and two requests: six flights.
fn classic(house: &mut House, stream: StreamId, salted: &[u8]) -> Duration {
    let bare = "n=romeo,r=clientnonce";
    let first = STANDARD.encode(format!("n,,{bare}"));
    let (_, mut spent) = ask(house, stream, HEADER);
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>{first}</auth>");
    let (challenge, took) = ask(house, stream, &auth);
    spent += took;
    let server_first =
        String::from_utf8(STANDARD.decode(between(&challenge, "'>", "<")).expect("base64")).expect("text");
    let without_proof = format!("c=biws,r={}", between(&server_first, "r=", ","));
    let client_key = sign(salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let signature = sign(stored_key.as_ref(), format!("{bare},{server_first},{without_proof}").as_bytes());
    let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
    let last = STANDARD.encode(format!("{without_proof},p={}", STANDARD.encode(proof)));
    let response = format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{last}</response>");
    let bind = "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    let wishes = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>\
                  <iq type='set' id='2'><enable xmlns='urn:xmpp:carbons:2'/></iq>";
    for flight in [response.as_str(), HEADER, bind, wishes] {
        let (said, took) = ask(house, stream, flight);
        assert!(!said.contains("failure") && !said.contains("error"), "{said}");
        spent += took;
    }
    spent
}

/// One flight.
fn instant(house: &mut House, stream: StreamId, authenticate: &str) -> Duration {
    let (said, spent) = ask(house, stream, &format!("{HEADER}{authenticate}"));
    assert!(said.contains("<enabled"), "{said}");
    spent
}

fn measured(name: &str, house: &mut House, mut sign_in: impl FnMut(&mut House, StreamId) -> Duration) {
    let mut times: Vec<Duration> = Vec::new();
    for round in 0..ROUNDS {
        let stream = house.connect(0, round + 1);
        times.push(sign_in(house, stream));
        // The session ends with its stream, so that none waits for resumption.
        house.say(stream, "</stream:stream>");
    }
    times.sort();
    println!("{name}: {:.1} µs, median of {ROUNDS}", times[times.len() / 2].as_nanos() as f64 / 1000.0);
}

fn main() {
    let mut salted = [0; 32];
    let rounds = lampone::proto::scram::ITERATIONS;
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &[1; 16], b"secret", &mut salted);
    measured("SCRAM-SHA-256, bind, enable: 6 flights", &mut house::house(), |house, stream| {
        classic(house, stream, &salted)
    });

    let plain = STANDARD.encode("\0romeo\0secret");
    let plain = format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{plain}</initial-response>{AGENT}{BIND}"
    );
    let mut house = house::house();
    let password = format!("{plain}</authenticate>");
    measured("SASL2 with PLAIN and Bind 2: 1 flight", &mut house, |house, stream| instant(house, stream, &password));

    let stream = house.connect(0, ROUNDS + 1);
    let request = format!("{HEADER}{plain}<request-token xmlns='urn:xmpp:fast:0' mechanism='{EXPR}'/></authenticate>");
    let (said, _) = ask(&mut house, stream, &request);
    let token = between(&said, " token='", "'").to_owned();
    house.cut(stream);
    let hashed = sign(token.as_bytes(), &[b"Initiator", EXPORTER.as_slice()].concat());
    let message = STANDARD.encode([b"romeo\0".as_slice(), hashed.as_ref()].concat());
    let proof = format!(
        "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{EXPR}'><initial-response>{message}</initial-response>{AGENT}\
         <fast xmlns='urn:xmpp:fast:0'/>{BIND}</authenticate>"
    );
    measured("FAST and Bind 2: 1 flight", &mut house, |house, stream| instant(house, stream, &proof));
}
