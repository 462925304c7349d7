//! The client against a scripted server at the other end of a Unix socket.
//!
//! Invariant: nobody waits for time to pass; a client that asks what the script does not answer fails soon.

use std::{os::unix::net::UnixListener, thread::JoinHandle};

use super::*;

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams' from='home.example' id='1' version='1.0'>\
                      <stream:features/>";

/// Each step waits until its text was heard, then says its reply.
pub type Script = Vec<(&'static str, String)>;

/// The result of a command that is done, with this inside.
pub fn result(id: u64, inside: &str) -> String {
    format!(
        "<iq type='result' id='{id}'><command xmlns='http://jabber.org/protocol/commands' node='n' sessionid='s' \
         status='completed'>{inside}</command></iq>"
    )
}

/// A stanza error.
pub fn error(id: u64, condition: &str) -> String {
    format!(
        "<iq type='error' id='{id}'><error type='cancel'>\
         <{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    )
}

/// The first stage of a command that wants a form.
fn executing(id: u64, session: &str) -> String {
    format!(
        "<iq type='result' id='{id}'><command xmlns='http://jabber.org/protocol/commands' node='n' \
         sessionid='{session}' status='executing'><actions execute='complete'><complete/></actions>\
         <x xmlns='jabber:x:data' type='form'/></command></iq>"
    )
}

/// Plays a script, then hears the other side out; what it heard comes back.
fn play(mut stream: UnixStream, script: Script) -> String {
    let mut heard = String::new();
    for (wanted, reply) in script {
        let mut byte = [0];
        while !heard.contains(wanted) {
            assert!(stream.read(&mut byte).unwrap() == 1, "{wanted} never came, but {heard}");
            heard.push(byte[0].into());
        }
        // The client may be gone already, when that is what is tested.
        for byte in reply.as_bytes() {
            let _ = stream.write_all(&[*byte]);
        }
    }
    let mut rest = String::new();
    let _ = stream.read_to_string(&mut rest);
    heard + &rest
}

/// A client whose stream is open, and a server that plays a script.
pub fn fake(mut script: Script) -> (Client, JoinHandle<String>) {
    let (here, there) = UnixStream::pair().unwrap();
    script.insert(0, ("to='asked.example'>", HEADER.to_owned()));
    let server = std::thread::spawn(move || play(there, script));
    let client = Client::begin(here, "asked.example", Duration::from_secs(5)).unwrap();
    (client, server)
}

fn ended(client: Client, server: JoinHandle<String>) -> String {
    drop(client);
    server.join().unwrap()
}

#[test]
fn the_stream_is_plain_and_the_header_tells_the_domain() {
    let (client, server) = fake(vec![]);
    assert_eq!(client.domain(), "home.example");
    assert_eq!(client.account("Anna").unwrap().as_str(), "anna@home.example");
    assert_eq!(
        ended(client, server),
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' \
         to='asked.example'></stream:stream>"
    );
}

#[test]
fn a_command_and_its_form_go_in_one_stage() {
    let form = "<x xmlns='jabber:x:data' type='result'><field var='a'><value>2</value></field></x>\
                <note type='info'>All is well.</note>";
    let (mut client, server) = fake(vec![("</iq>", result(1, form))]);
    let done = client.command("urn:lampone:admin#backup", vec![Field::plain("file", "/a'b")]).unwrap();
    assert_eq!((done.form.unwrap().value("a"), done.notes), (Some("2"), vec!["All is well.".to_owned()]));
    let heard = ended(client, server);
    for part in [
        "<iq type='set' to='home.example' id='1'>",
        "node='urn:lampone:admin#backup'",
        "action='execute'",
        "<value>urn:lampone:admin</value>",
        "<value>/a&apos;b</value>",
    ] {
        assert!(heard.contains(part), "{part} in {heard}");
    }
}

#[test]
fn a_server_that_wants_the_form_later_gets_it_with_its_session() {
    let (mut client, server) =
        fake(vec![("</iq>", executing(1, "s1")), ("sessionid='s1'", String::new()), ("id='2'", result(2, ""))]);
    let whom = Field::plain("accountjids", "anna@home.example");
    client.command("http://jabber.org/protocol/admin#delete-user", vec![whom]).unwrap();
    let heard = ended(client, server);
    let second = heard.split("id='2'").nth(1).unwrap();
    assert!(second.contains("action='complete'") && second.contains("<value>anna@home.example</value>"), "{second}");
    // XEP-0133 §4: the form says what it is about.
    assert!(second.contains("<value>http://jabber.org/protocol/admin</value>"), "{second}");
}

#[test]
fn a_server_that_never_has_enough_is_left() {
    let (mut client, server) = fake(vec![("</iq>", executing(1, "s")), ("id='2'", executing(2, "s"))]);
    let why = client.command("n", Vec::new()).unwrap_err();
    assert_eq!(why, "the server wants to know more than this program can tell it");
    assert!(!ended(client, server).contains("id='3'"));
}

#[test]
fn what_is_no_answer_to_a_question_is_passed_over() {
    let noise = "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq><message id='1'><body>x</body></message>\
                 <iq type='result' id='7'/><iq type='result' id='x'/>";
    let (mut client, server) = fake(vec![("</iq>", noise.to_owned() + &error(1, "forbidden"))]);
    assert_eq!(client.command("n", Vec::new()).unwrap_err(), "forbidden");
    ended(client, server);
}

#[test]
fn a_command_that_was_not_carried_out_is_no_success() {
    for status in ["status='canceled'", ""] {
        let canceled = format!(
            "<iq type='result' id='1'><command xmlns='http://jabber.org/protocol/commands' node='n' {status}/></iq>"
        );
        let (mut client, server) = fake(vec![("</iq>", canceled)]);
        assert_eq!(client.command("n", Vec::new()).unwrap_err(), "the server did not carry it out");
        ended(client, server);
    }
}

#[test]
fn a_server_that_goes_away_is_told_in_one_line() {
    let stream_error = "<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    for (says, told) in [
        (stream_error, "the server ended the stream: it is stopping"),
        ("</stream:stream>", "the server ended the stream"),
        ("<!-- -->", "the server sent what is no XMPP"),
    ] {
        let (mut client, server) = fake(vec![("</iq>", says.to_owned())]);
        assert_eq!(client.command("n", Vec::new()).unwrap_err(), told);
        ended(client, server);
    }
}

#[test]
fn a_socket_without_a_server_names_itself_and_how_to_start_one() {
    let folder = std::env::temp_dir().join(format!("lampone-client-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("admin.sock");
    let told = format!("no server listens at {}; start one with `lampone serve`", socket.display());
    let refused = |path: &Path| Client::open(path, "home.example").err().unwrap();
    let _ = std::fs::remove_file(&socket);
    assert!(refused(&socket).starts_with(&told));
    // A socket that a killed server left behind.
    drop(UnixListener::bind(&socket).unwrap());
    assert!(refused(&socket).starts_with(&told));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_packaged_server_is_meant_only_if_no_other_is_named_or_here() {
    let packaged = std::env::temp_dir();
    let is_meant = |config: &Config, sources: &Sources| socket_path(sources, config, &packaged) == packaged;
    let usual = Config::default();
    assert!(!usual.data.exists(), "the tests run where no server has its data");
    assert!(is_meant(&usual, &Sources::default()));
    assert!(!is_meant(&usual, &Sources { data: Some("lampone-data".into()), ..Sources::default() }));
    assert!(!is_meant(&usual, &Sources { config: Some("x.toml".into()), ..Sources::default() }));
    // The settings name other data, or another socket.
    assert!(!is_meant(&Config { data: "/nowhere/lampone".into(), ..usual.clone() }, &Sources::default()));
    let listen = crate::config::Listen { admin: Some("/run/x.sock".into()), ..usual.listen.clone() };
    assert!(!is_meant(&Config { listen, ..usual.clone() }, &Sources::default()));
    let absent = Path::new("/nowhere/admin.sock");
    assert_eq!(socket_path(&Sources::default(), &usual, absent), Path::new("lampone-data/admin.sock"));
}
