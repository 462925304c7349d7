//! The command line of the real binary: exit codes, a terminal that is asked for a password, and a running server.

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt,
            net::{UnixDatagram, UnixStream},
            process::ExitStatusExt,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

const DOMAIN: &str = "home.example";

fn lampone() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lampone"));
    command.env_remove("STATE_DIRECTORY").env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
    command
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lampone-cli-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A server on loopback that ends with the test.
struct Server {
    child: Child,
    data: PathBuf,
}

impl Server {
    fn start(name: &str) -> Server {
        let data = folder(name);
        let notices = data.join("notify");
        let ready = UnixDatagram::bind(&notices).unwrap();
        ready.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let child = lampone()
            .args(["serve", "--domain", DOMAIN, "--set", "listen.c2s=127.0.0.1:0", "--set", "listen.c2s_tls=none"])
            .arg("--data")
            .arg(&data)
            .env("NOTIFY_SOCKET", &notices)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Server { child, data };
        let mut notice = [0; 512];
        loop {
            let size = ready.recv(&mut notice).unwrap_or_else(|e| {
                let _ = server.child.kill();
                panic!("the server is not ready: {e}")
            });
            if String::from_utf8_lossy(&notice[..size]).contains("READY=1") {
                return server;
            }
        }
    }

    /// A command to this server, with the data directory at its end.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = lampone();
        command.args(words).arg("--data").arg(&self.data);
        command
    }

    /// Runs a command with this standard input: exit code, standard output, standard error.
    fn run(&self, words: &[&str], input: &str) -> (i32, String, String) {
        let mut command = self.command(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that does not ask may be gone before it is told.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        told(child.wait_with_output().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.data);
    }
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn alone(words: &[&OsStr], here: &Path) -> (i32, String, String) {
    told(lampone().args(words).current_dir(here).output().unwrap())
}

#[test]
fn mistakes_on_the_command_line_are_one_line_and_exit_code_2() {
    let here = folder("mistakes");
    for words in [&["frob"][..], &["serve", "--frob"], &["user"], &["user", "add"], &["backup"]] {
        let words: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        let (code, out, err) = alone(&words, &here);
        assert_eq!((code, out.as_str(), err.lines().count()), (2, "", 1), "{err}");
        assert!(err.starts_with("lampone: ") && err.contains("; see `lampone "), "{err}");
    }
    let (code, _, err) = alone(&[OsStr::new("user"), OsStr::from_bytes(b"\xff")], &here);
    assert_eq!((code, err.lines().count()), (2, 1), "{err}");
    assert!(err.contains("is not UTF-8"), "{err}");
    fs::remove_dir_all(here).unwrap();
}

#[test]
fn check_reads_all_and_starts_nothing() {
    let here = folder("check");
    fs::write(here.join("a.toml"), "domain = 'home.example'\nlog = 'loud'\n[limits]\nstream = 1\n").unwrap();
    let check = |words: &[&str]| alone(&[&["check"], words].concat().iter().map(OsStr::new).collect::<Vec<_>>(), &here);
    let (code, out, err) = check(&["--config", "a.toml"]);
    assert_eq!((code, out.as_str()), (1, ""));
    let lines: Vec<_> = err.lines().collect();
    assert!(lines[0].starts_with("lampone: a.toml:2: log: found 'loud'; give "), "{err}");
    assert_eq!(lines[1], "lampone: a.toml:4: limits.stream: unknown key; the nearest is limits.streams");
    assert_eq!(lines.len(), 2, "{err}");

    fs::write(here.join("b.toml"), "tls.certificate = 'no.pem'\ntls.key = 'no.key'\n").unwrap();
    let (code, _, err) = check(&["--config", "b.toml", "--domain", DOMAIN]);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.contains("no.pem"), "{err}");

    let (code, _, err) = check(&["--config", "none.toml"]);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.starts_with("lampone: none.toml: the settings cannot be read: "), "{err}");

    // In the data directory it is found without being named.
    fs::create_dir(here.join("lampone-data")).unwrap();
    fs::write(here.join("lampone-data/lampone.toml"), "domain = 'found.example'\n").unwrap();
    let (code, out, err) = check(&[]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.contains("lampone-data/lampone.toml") && out.contains("found.example"), "{out}");
    assert_eq!(fs::read_dir(here.join("lampone-data")).unwrap().count(), 1, "nothing was made");
    fs::remove_dir_all(here).unwrap();
}

#[test]
fn without_a_server_the_socket_and_the_way_to_start_are_named() {
    let here = folder("absent");
    let (code, out, err) = alone(&["user", "list", "--data", "d"].map(OsStr::new), &here);
    assert_eq!((code, out.as_str()), (1, ""));
    let line = "lampone: no server answers at d/admin.sock; start it with `lampone serve`, or name its data directory \
                with --data\n";
    assert_eq!(err, line);
    fs::remove_dir_all(here).unwrap();
}

#[test]
fn accounts_are_made_shown_changed_and_removed() {
    let server = Server::start("accounts");
    let run = |words: &[&str], input: &str| server.run(words, input);
    let good = |text: &str| (0, format!("{text}\n"), String::new());
    let bad = |text: &str| (1, String::new(), format!("lampone: {text}\n"));
    assert_eq!(run(&["user", "add", "Anna", "--password-stdin"], "x\ny\n"), good("anna@home.example added"));
    assert_eq!(
        run(&["user", "add", "anna@home.example", "--password-stdin"], "x\n"),
        bad("anna@home.example exists already")
    );
    assert_eq!(run(&["user", "add", "ben", "--password-stdin"], ""), bad("the password is empty"));
    assert_eq!(run(&["user", "passwd", "anna", "--password-stdin"], "z"), good("anna@home.example has a new password"));
    let nobody = "there is no account ben@home.example; `lampone user list` shows all";
    assert_eq!(run(&["user", "passwd", "ben", "--password-stdin"], "z"), bad(nobody));
    assert_eq!(run(&["user", "show", "ben"], ""), bad(nobody));
    let (code, shown, _) = run(&["user", "show", "anna"], "");
    assert!(code == 0 && shown.lines().any(|line| line.split_whitespace().eq(["Contacts", "0"])), "{shown}");

    let file = server.data.join("family");
    fs::write(&file, "cleo 1\nben\n").unwrap();
    let from = ["user", "add", "--from", file.to_str().unwrap()];
    let (code, out, err) = run(&from, "");
    assert_eq!((code, out.as_str()), (1, ""), "a file with a mistake adds nobody");
    assert!(err.contains("family:2: no password"), "{err}");
    fs::write(&file, "cleo 1\n\nben 2 3\nanna 4\n").unwrap();
    let (code, out, err) = run(&from, "");
    assert_eq!((code, out.as_str()), (1, "2 of 3 added, 1 failed\n"));
    assert!(err.ends_with("family:4: anna@home.example exists already\n"), "{err}");
    assert_eq!(run(&["user", "list"], ""), good("anna@home.example\nben@home.example\ncleo@home.example"));
    assert_eq!(run(&["user", "remove", "ben"], ""), good("ben@home.example removed"));
    assert_eq!(run(&["user", "list", "--domain", DOMAIN], ""), good("anna@home.example\ncleo@home.example"));
    assert_eq!(
        run(&["user", "list", "--domain", "club.example"], ""),
        bad("club.example is not served; the server's first domain is home.example")
    );
}

#[test]
fn invitations_status_and_backups_come_from_the_running_server() {
    let server = Server::start("others");
    let (code, link, _) = server.run(&["invite"], "");
    assert!(code == 0 && link.starts_with("xmpp:home.example?register;preauth="), "{link}");
    assert_eq!(link.lines().count(), 1, "no picture for a program");
    assert_ne!(server.run(&["invite", "--admin"], "").1, link);
    let (code, status, _) = server.run(&["status"], "");
    assert!(code == 0 && status.lines().any(|line| line.split_whitespace().eq(["Domains", DOMAIN])), "{status}");
    let file = server.data.join("copy");
    let words = ["backup", file.to_str().unwrap()];
    assert_eq!(server.run(&words, ""), (0, format!("{} written\n", file.display()), String::new()));
    let (code, _, err) = server.run(&words, "");
    assert!(code == 1 && err.lines().count() == 1 && err.contains("exists already"), "{err}");
}

#[test]
fn a_reader_who_has_seen_enough_is_no_mistake_and_a_full_disk_is() {
    // Nobody reads from the beginning, so that the first write is refused however little it is.
    let (theirs, ours) = UnixStream::pair().unwrap();
    drop(ours);
    let stdout = Stdio::from(OwnedFd::from(theirs));
    let child = lampone().args(["check", "--keys"]).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
    let (code, _, err) = told(child.wait_with_output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = lampone().arg("plan").stdout(full).stderr(Stdio::piped()).output().unwrap();
    let (code, _, err) = told(output);
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.starts_with("lampone: standard output: "), "{err}");
}

/// A terminal: the side of whoever types, and the side that a program reads from.
fn terminal() -> (fs::File, OwnedFd) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = fs::File::options().read(true).write(true).open(OsStr::from_bytes(name.as_bytes())).unwrap();
    (ours.into(), theirs.into())
}

/// How a conversation on a terminal went.
struct Typed {
    end: ExitStatus,
    /// What stood on standard error.
    said: String,
    /// What the terminal itself showed of the typing.
    shown: String,
    /// Whether the terminal is as it was before.
    restored: bool,
}

/// Asks for Anna's password on a terminal and types these when asked.
fn typed(server: &Server, lines: &[&[u8]]) -> Typed {
    let (mut ours, theirs) = terminal();
    let mut command = server.command(&["user", "add", "anna"]);
    command.stdin(theirs.try_clone().unwrap()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    let mut errors = child.stderr.take().unwrap();
    for (line, prompt) in lines.iter().zip(["Password for anna@home.example: ", "Again: "]) {
        let mut byte = [0];
        while !said.ends_with(prompt) && errors.read(&mut byte).unwrap() == 1 {
            said.push(byte[0].into());
        }
        assert!(said.ends_with(prompt), "{said}");
        let modes = tcgetattr(&theirs).unwrap().local_modes;
        assert!(!modes.contains(LocalModes::ECHO) && modes.contains(LocalModes::ICANON));
        ours.write_all(line).unwrap();
    }
    let end = child.wait().unwrap();
    errors.read_to_string(&mut said).unwrap();
    // A mark behind all that the terminal showed.
    fs::File::from(theirs.try_clone().unwrap()).write_all(b"\x04").unwrap();
    let mut shown = String::new();
    let mut byte = [0];
    while ours.read(&mut byte).unwrap() == 1 && byte[0] != 4 {
        shown.push(byte[0].into());
    }
    let modes = tcgetattr(&theirs).unwrap().local_modes;
    let restored = modes.contains(LocalModes::ECHO | LocalModes::ISIG | LocalModes::ICANON);
    Typed { end, said, shown, restored }
}

#[test]
fn a_password_is_asked_for_twice_and_not_shown() {
    let server = Server::start("asked");
    let differ = typed(&server, &[b"s3cret\n", b"other\n"]);
    assert_eq!(differ.end.code(), Some(1));
    assert!(differ.said.ends_with("lampone: the two passwords differ; nothing was changed\n"), "{}", differ.said);
    // The terminal edits the line as it is used to: DEL takes a character back.
    let same = typed(&server, &[b"s3crex\x7ft\n", b"s3cret\n"]);
    assert_eq!(same.end.code(), Some(0), "{}", same.said);
    assert!(differ.restored && same.restored);
    assert!(!(differ.shown + &same.shown).contains("s3"), "nothing is shown");
    assert_eq!(server.run(&["user", "list"], "").1, "anna@home.example\n");
}

#[test]
fn the_key_that_interrupts_gives_the_terminal_back() {
    let server = Server::start("interrupted");
    for lines in [&[&b"s3c\x03"[..]][..], &[b"s3cret\n", b"\x03"], &[b"\x1c"]] {
        let Typed { end, shown, restored, .. } = typed(&server, lines);
        assert_eq!(end.signal(), Some(2), "the shell sees why it ended");
        assert!(restored && !shown.contains("s3"), "{shown:?}");
    }
    let Typed { end, said, restored, .. } = typed(&server, &[b"a\x1ab\n"]);
    assert!(end.code() == Some(1) && restored);
    assert!(said.contains("the password holds a character"), "{said}");
    assert_eq!(server.run(&["user", "list"], ""), (0, String::new(), String::new()));
}
