//! The door for requests and answers (XEP-0124), as a client and as an attacker see it.

use std::{fs, io::Write as _};

use crate::{
    process::{Process, Reply},
    stage::world::DOMAIN,
};

const XMLNS: &str = "xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh'";
const KIND: &str = "Content-Type: text/xml; charset=utf-8\r\n";

fn post(process: &Process, attributes: &str, content: &str) -> String {
    let body = format!("<body {XMLNS} {attributes}>{content}</body>");
    text(&process.send("POST", "/bosh", KIND, body.as_bytes()))
}

fn text(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{reply:?}");
    String::from_utf8_lossy(&reply.body).into_owned()
}

fn begin(process: &Process) -> String {
    let to = format!("rid='100' to='{DOMAIN}' hold='1' wait='1' ver='1.6' xmpp:version='1.0'");
    let answer = post(process, &to, "");
    assert!(answer.contains("<stream:features"), "{answer}");
    let (_, sid) = answer.split_once(" sid='").expect("a sid");
    sid.split_once('\'').expect("its end").0.to_owned()
}

#[test]
fn pages_of_other_origins_may_use_bosh() {
    // Fetch standard §3.2, XEP-0124 §19.
    let process = Process::start("bosh-cors", &[]);
    let preflight = "Origin: https://elsewhere.example\r\nAccess-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Headers: content-type\r\n";
    let reply = process.request("OPTIONS", "/bosh", preflight);
    assert_eq!(reply.status, 204);
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert!(reply.header("access-control-allow-headers").unwrap().contains("content-type"));
    assert_eq!(process.request("GET", "/bosh", "").status, 405);
    let reply = process.send("POST", "/bosh", KIND, b"");
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("content-type"), Some("text/xml; charset=utf-8"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let wrong = "POST /bosh HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(process.web(wrong.as_bytes()).status, 421);
}

#[test]
fn an_answer_that_was_lost_can_be_asked_for_again() {
    // XEP-0124 §14.3.
    let process = Process::start("bosh-again", &[]);
    let sid = begin(&process);
    let session = format!("sid='{sid}' rid='101'");
    let ask = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-1'>biwsbj14LHI9eA==</auth>";
    let first = post(&process, &session, ask);
    assert!(first.contains("<challenge "), "{first}");
    assert_eq!(post(&process, &session, ask), first);
    // Whoever knows neither the name nor the number gets nothing.
    let unknown = post(&process, "sid='0' rid='102'", "");
    assert!(unknown.contains(" condition='item-not-found'"), "{unknown}");
    let beyond = post(&process, &format!("sid='{sid}' rid='200'"), "");
    assert_eq!(beyond, unknown);
    assert_eq!(post(&process, &format!("sid='{sid}' rid='102'"), ""), unknown, "it is over");
}

#[test]
fn what_a_client_says_may_be_a_whole_stanza_and_no_more() {
    // S3: the answer comes before all was read.
    let process = Process::start("bosh-large", &[]);
    let sid = begin(&process);
    let large = "x".repeat(300_000);
    let answer = post(&process, &format!("sid='{sid}' rid='101'"), &format!("<message>{large}</message>"));
    assert!(answer.contains(" condition='policy-violation'"), "{answer}");
    // Before sign-in it is less, which the stream itself says.
    let answer = post(&process, &format!("sid='{sid}' rid='101'"), &format!("<message>{}</message>", &large[..20_000]));
    assert!(answer.contains(" condition='remote-stream-error'"), "{answer}");
    assert!(answer.contains("<policy-violation "), "{answer}");
}

#[test]
fn hostile_xml_ends_a_request_as_it_ends_a_stream() {
    // S1, S7: what once broke others, as the content of a request and as the whole of it.
    let process = Process::start("bosh-corpus", &[]);
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/framer");
    let mut played = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let sid = begin(&process);
        let start = format!("<body {XMLNS} sid='{sid}' rid='101'>");
        let inside = [start.as_bytes(), &bytes, b"</body>"].concat();
        for content in [bytes, inside] {
            let answer = text(&process.send("POST", "/bosh", KIND, &content));
            assert!(
                answer.contains(" type='terminate'") || answer == "<body xmlns='http://jabber.org/protocol/httpbind'/>",
                "{}: {answer}",
                path.display()
            );
        }
        played += 1;
    }
    assert!(played > 20, "{played}");
}

#[test]
fn a_request_that_is_given_up_takes_nothing_along() {
    // XEP-0124 §14.3: the connection breaks while the request waits; what is said then is said to who asks again.
    let process = Process::start("bosh-gone", &[]);
    let sid = begin(&process);
    let body = format!("<body {XMLNS} sid='{sid}' rid='101'/>");
    let head = format!("POST /bosh HTTP/1.1\r\nHost: {DOMAIN}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut line = process.browse(process.web);
    line.write_all(head.as_bytes()).unwrap();
    drop(line);
    let answer = post(&process, &format!("sid='{sid}' rid='101'"), "");
    assert_eq!(answer, "<body xmlns='http://jabber.org/protocol/httpbind'/>");
    let end = post(&process, &format!("sid='{sid}' rid='102' type='terminate'"), "");
    assert_eq!(end, "<body xmlns='http://jabber.org/protocol/httpbind' type='terminate'/>");
}

#[test]
fn sessions_of_one_address_are_bounded() {
    // S3: they count as other streams do, whether anybody asks for their answers or not.
    let process = Process::start("bosh-many", &[]);
    let to = format!("<body {XMLNS} rid='100' to='{DOMAIN}' ver='1.6' xmpp:version='1.0'/>");
    let replies: Vec<_> = (0..70).map(|_| process.send("POST", "/bosh", KIND, to.as_bytes())).collect();
    let open = replies.iter().filter(|reply| String::from_utf8_lossy(&reply.body).contains("<stream:features")).count();
    assert!((32..=64).contains(&open), "{open}");
}
