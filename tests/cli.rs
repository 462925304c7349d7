//! The program as an admin uses it: a real server in a folder of its own, and the commands that speak to it.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, process::ExitStatusExt},
    },
    path::PathBuf,
    process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio},
};

use rustix::{
    process::{Pid, Signal, kill_process},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lampone");

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lampone-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn data(&self) -> String {
        self.0.join("data").to_str().unwrap().to_owned()
    }

    /// Runs a command against the server of this folder; what it wrote to standard output and error, and its exit code.
    fn run(&self, words: &[&str], input: &str) -> (String, String, i32) {
        let mut command = program(&self.0);
        command.args(words).args(["--data", &self.data()]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // Who reads nothing closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        told(child.wait_with_output().unwrap())
    }

    /// The same where it must succeed.
    fn done(&self, words: &[&str], input: &str) -> String {
        let (out, err, code) = self.run(words, input);
        assert_eq!((err.as_str(), code), ("", 0), "{words:?}");
        out
    }

    /// The same where it must fail with one line.
    fn refused(&self, words: &[&str], input: &str) -> String {
        let (out, err, code) = self.run(words, input);
        assert_eq!((out.as_str(), code), ("", 1), "{words:?}: {err}");
        assert_eq!(err.lines().count(), 1, "{words:?}: {err}");
        err
    }

    /// Starts a server and returns when it serves.
    fn serve(&self) -> Served {
        let mut command = program(&self.0);
        command.args(["serve", "--domain", "home.example", "--data", &self.data()]);
        command.args(["--set", "listen.c2s=127.0.0.1:0", "--set", "listen.c2s_tls=127.0.0.1:0"]);
        command.args(["--set", "listen.https=127.0.0.1:0", "--set", "listen.s2s=127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut seen = String::new();
        while !seen.contains("serving home.example") {
            let line = log.next().unwrap_or_else(|| panic!("it ended: {seen}")).unwrap();
            seen.push_str(&line);
        }
        // The pipe is read to its end, or the server would stand still some day.
        let log = std::thread::spawn(move || log.map_while(Result::ok).collect());
        let on = seen.split(" on ").last().unwrap_or_default();
        let doors = on.split(" and ").map(|door| door.trim().to_owned()).collect();
        Served { child, doors, log: Some(log) }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running server.
struct Served {
    child: Child,
    /// Addresses that it listens at, as in its log: STARTTLS, direct TLS, the web.
    doors: Vec<String>,
    log: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Served {
    /// Ends it as systemd would; what it wrote to standard output.
    fn end(mut self) -> String {
        let pid = i32::try_from(self.child.id()).unwrap();
        let begun = std::time::Instant::now();
        // SAFETY: `kill` takes two integers; the process is our child and not yet waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        assert!(self.child.wait().unwrap().success());
        assert!(begun.elapsed().as_secs() < 5);
        self.log.take().unwrap().join().unwrap();
        std::io::read_to_string(self.child.stdout.take().unwrap()).unwrap()
    }

    /// Ends it as a power failure would.
    fn break_off(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(folder: &std::path::Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).env_remove("STATE_DIRECTORY").env_remove("JOURNAL_STREAM");
    command
}

fn told(output: Output) -> (String, String, i32) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

#[test]
fn accounts_are_made_listed_changed_removed_and_outlive_the_server() {
    let folder = Folder::new("accounts");
    let server = folder.serve();
    assert_eq!(
        folder.done(&["user", "add", "anna", "--admin", "--password-stdin"], "pw\n"),
        "anna@home.example is added.\n"
    );
    let again = folder.refused(&["user", "add", "anna", "--password-stdin"], "pw\n");
    assert_eq!(again, "lampone: anna@home.example: there is an account of this name\n");
    let elsewhere = folder.refused(&["user", "add", "anna@other.example", "--password-stdin"], "pw\n");
    assert!(elsewhere.contains("That domain is not served here."), "{elsewhere}");
    let unasked = folder.refused(&["user", "add", "bert"], "");
    assert!(unasked.contains("--password-stdin"), "{unasked}");
    folder.done(&["user", "add", "bob", "--password-stdin"], "a b\n");
    folder.done(&["user", "passwd", "bob", "--password-stdin"], "c\n");
    assert_eq!(folder.done(&["user", "list"], ""), "anna@home.example\nbob@home.example\n");
    let shown = folder.done(&["user", "show", "bob"], "");
    assert!(shown.contains("Address        bob@home.example\n") && shown.contains("\nContacts       0\n"), "{shown}");
    assert!(shown.contains("\nAdministrator  no\n") && shown.contains("\nDisabled       no\n"), "{shown}");
    assert_eq!(folder.done(&["user", "disable", "bob"], ""), "bob@home.example is disabled.\n");
    assert!(folder.done(&["user", "show", "bob"], "").contains("\nDisabled       yes\n"));
    assert_eq!(folder.done(&["user", "enable", "bob"], ""), "bob@home.example is enabled.\n");
    assert_eq!(folder.done(&["user", "devices", "bob"], ""), "");
    assert!(folder.refused(&["user", "revoke", "bob", "phone"], "").ends_with("phone: There is no such device.\n"));
    assert_eq!(
        folder.done(&["user", "empty-archive", "bob"], ""),
        "The archive of bob@home.example is empty; messages removed: 0.\n"
    );
    assert!(folder.refused(&["user", "disable", "carl"], "").ends_with("there is no such account\n"));
    for (words, input) in [(&["announce", "Tea is ready."][..], ""), (&["announce"], "Tea\nis ready.\n")] {
        assert_eq!(folder.done(words, input), "The announcement is sent.\n");
    }
    assert_eq!(folder.refused(&["announce"], "\n"), "lampone: The announcement is empty.\n");
    folder.done(&["user", "add", "carl", "--password-stdin"], "x\n");
    assert_eq!(folder.done(&["user", "remove", "carl@home.example"], ""), "carl@home.example is removed.\n");
    assert!(folder.refused(&["user", "remove", "carl"], "").ends_with("there is no such account\n"));
    assert!(folder.refused(&["user", "show", "carl"], "").ends_with("there is no such account\n"));
    server.end();
    let server = folder.serve();
    assert_eq!(folder.done(&["user", "list"], ""), "anna@home.example\nbob@home.example\n");
    folder.done(&["user", "add", "dora", "--password-stdin"], "x\n");
    server.break_off();
    let server = folder.serve();
    assert_eq!(folder.done(&["user", "list"], ""), "anna@home.example\nbob@home.example\ndora@home.example\n");
    assert_eq!(server.end(), "", "nobody is invited where accounts are");
}

#[test]
fn many_accounts_come_from_a_file_and_those_that_fail_are_named() {
    let folder = Folder::new("many");
    let server = folder.serve();
    let lines: String = (0..60).map(|n| format!("u{n:02} password{n}\n")).collect();
    let file = folder.0.join("users");
    fs::write(&file, format!("# family\n\nanna\tx y\n{lines}bad/address x\nanna z\nbob\n")).unwrap();
    let (out, err, code) = folder.run(&["user", "add", "--from", "users"], "");
    assert_eq!((out.as_str(), code), ("", 1));
    let places: Vec<&str> = err.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    assert_eq!(places, ["users:64:", "users:65:", "users:66:"], "{err}");
    assert_eq!(folder.done(&["user", "list"], ""), "", "none is added if the file has mistakes");
    let good = format!("anna\tx y\n{lines}");
    assert_eq!(folder.done(&["user", "add", "--from", "-"], &good), "61 added, 0 not.\n");
    assert_eq!(folder.done(&["user", "list"], "").lines().count(), 61);
    let (out, err, code) = folder.run(&["user", "add", "--from", "-"], "anna x\nbob y\n");
    assert_eq!((out.as_str(), code), ("1 added, 1 not.\n", 1));
    assert_eq!(err, "lampone: anna@home.example: there is an account of this name\n");
    server.end();
}

#[test]
fn the_server_tells_its_state_writes_backups_and_invites() {
    let folder = Folder::new("house");
    let server = folder.serve();
    folder.done(&["user", "add", "anna", "--password-stdin"], "pw\n");
    let status = folder.done(&["status"], "");
    let value = |label: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{label} ")));
        line.unwrap_or_else(|| panic!("{label}: {status}")).trim().to_owned()
    };
    assert_eq!((value("Domains"), value("Accounts")), ("home.example".into(), "1".into()));
    let figure = |label: &str| value(label).parse::<u64>().unwrap();
    assert!(figure("Batches written since the start") > 0, "{status}");
    for (since, a_day) in [
        ("Bytes written to the disk since the start", "Bytes written to the disk a day"),
        ("Syncs of the disk since the start", "Syncs of the disk a day"),
    ] {
        assert!(figure(since) > 0 && figure(a_day) == figure(since), "{status}");
    }
    let file = folder.0.join("copy.db");
    assert_eq!(folder.done(&["backup", "copy.db"], ""), format!("{} is written.\n", file.display()));
    assert!(fs::metadata(&file).unwrap().len() > 0);
    assert!(folder.refused(&["backup", "copy.db"], "").contains("such a file already"));
    let link = folder.done(&["invite"], "");
    assert!(link.starts_with("xmpp:home.example?register;preauth=") && link.lines().count() == 1, "{link}");
    let welcome = server.end();
    assert!(welcome.contains("xmpp:home.example?register;preauth="), "{welcome}");
    assert!(welcome.contains("lampone user add NAME --admin"), "{welcome}");
    assert!(!welcome.contains('█'), "a QR code is for terminals");
}

#[test]
fn a_bench_tells_before_measures_and_leaves_no_account() {
    let folder = Folder::new("bench");
    let served = folder.serve();
    folder.done(&["user", "add", "anna", "--password-stdin"], "x\n");
    let few = ["--accounts", "4", "--sign-ins", "4", "--idle", "4", "--seconds", "1", "--messages", "8"];
    for (door, how) in [(0, "--yes"), (1, "--direct")] {
        let words = [&["bench", &served.doors[door], "--yes"], &few[..], &[how][..usize::from(door == 1)]].concat();
        let (out, err, code) = folder.run(&words, "");
        assert_eq!(code, 0, "{err}");
        assert!(
            err.starts_with(&format!("At {}, for home.example, this will be done:\n", served.doors[door])),
            "{err}"
        );
        let json = out.lines().last().unwrap();
        for scenario in [
            "\"signin\",\"count\":4",
            "\"idle\",\"clients\":4",
            "\"pairs\",\"messages\":16",
            "\"rooms\",\"copies\":32",
            "\"pages\",\"pages\":100",
        ] {
            assert!(json.contains(&format!("{{\"scenario\":{scenario},")), "{scenario}: {json}");
        }
        assert!(json.contains("\"misordered\":0,\"errors\":0"), "{json}");
        assert_eq!(out.lines().count(), 7, "{out}");
    }
    assert_eq!(folder.done(&["user", "list"], ""), "anna@home.example\n");
    // Nothing without consent, nothing at servers of others, and what is not offered is told.
    let asked = folder.run(&["bench", &served.doors[0]], "y\n");
    assert!(
        asked.2 == 1 && asked.1.ends_with("there is no terminal to ask whether to begin; add --yes\n"),
        "{asked:?}"
    );
    assert!(folder.refused(&["bench", "192.0.2.1", "--yes"], "").contains("add --mine"));
    let uninvited = ["bench", &served.doors[0], "--yes", "--make", "register", "--domain", "home.example"];
    let (out, err, code) = folder.run(&uninvited, "");
    assert!(out.is_empty() && code == 1 && err.contains("An invitation is needed."), "{err}");
    served.end();
}

#[test]
fn without_a_server_commands_say_where_they_looked() {
    let folder = Folder::new("nobody");
    for words in [&["user", "list"][..], &["status"], &["backup", "x"], &["user", "add", "a", "--password-stdin"]] {
        let line = folder.refused(words, "x\n");
        assert!(line.contains(&format!("{}/admin.sock", folder.data())), "{line}");
        assert!(line.contains("lampone serve"), "{line}");
    }
}

#[test]
fn settings_are_checked_without_a_server() {
    let folder = Folder::new("check");
    let seen = folder.done(&["check", "--domain", "home.example"], "");
    assert!(seen.contains("home.example") && seen.contains("self-signed"), "{seen}");
    assert!(!PathBuf::from(folder.data()).exists(), "it only looks");
    let (_, err, code) = folder.run(&["check", "--set", "nonsense=1", "--set", "rubbish=2"], "");
    assert_eq!((err.lines().count(), code), (2, 1), "{err}");
    let pem = ["--set", "tls.certificate=/nowhere/a.crt", "--set", "tls.key=/nowhere/a.key"];
    let line = folder.refused(&[&["check"], &pem[..]].concat(), "");
    assert!(line.contains("/nowhere/a.crt: the certificate cannot be read"), "{line}");
    fs::create_dir(folder.data()).unwrap();
    fs::write(folder.0.join("data/lampone.toml"), "domain = \"file.example\"\n").unwrap();
    let seen = folder.done(&["check"], "");
    assert!(seen.contains("data/lampone.toml") && seen.contains("file.example"), "{seen}");
}

#[test]
fn a_line_that_is_not_understood_is_code_two_and_help_is_none() {
    let run = |words: &[&str]| told(program(&std::env::temp_dir()).args(words).output().unwrap());
    for words in [&["nonsense"][..], &["serve", "--nonsense"], &["user"], &["user", "show"], &["backup"]] {
        let (out, err, code) = run(words);
        assert_eq!((out.as_str(), code), ("", 2), "{words:?}");
        assert!(err.lines().count() == 1 && err.starts_with("lampone: ") && err.contains("; see `lampone "), "{err}");
    }
    let (help, err, code) = run(&["--help"]);
    assert_eq!((err.as_str(), code), ("", 0));
    for command in ["serve", "check", "user", "status", "backup", "invite", "announce", "plan", "version"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
    assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    assert_eq!(run(&[]), (help, String::new(), 0));
    assert_eq!(run(&["version"]).0, concat!("lampone ", env!("CARGO_PKG_VERSION"), "\n"));
    assert_eq!(run(&["--version"]).0, run(&["version"]).0);
    assert!(run(&["plan"]).0.contains("roster"));
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

/// A program that asks for Anna's password on a terminal.
struct Asking {
    child: Child,
    errors: ChildStderr,
    ours: fs::File,
    theirs: OwnedFd,
    /// What stood on standard error up to now.
    said: String,
}

impl Asking {
    fn begin(folder: &Folder) -> Asking {
        let (ours, theirs) = terminal();
        let mut command = program(&folder.0);
        command
            .args(["user", "add", "anna", "--data", &folder.data()])
            .stdin(theirs.try_clone().unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let errors = child.stderr.take().unwrap();
        Asking { child, errors, ours, theirs, said: String::new() }
    }

    /// Waits until it asks this, on a terminal that is silent.
    fn hear(&mut self, prompt: &str) {
        let mut byte = [0];
        while !self.said.ends_with(prompt) && self.errors.read(&mut byte).unwrap() == 1 {
            self.said.push(byte[0].into());
        }
        assert!(self.said.ends_with(prompt), "{}", self.said);
        assert!(!tcgetattr(&self.theirs).unwrap().local_modes.contains(LocalModes::ECHO));
    }
}

/// Whether a terminal behaves as people expect.
fn is_usual(terminal: &OwnedFd) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    modes.contains(LocalModes::ECHO | LocalModes::ISIG | LocalModes::ICANON)
}

const FIRST: &str = "Password for anna@home.example: ";

/// Asks for Anna's password on a terminal and types these when asked.
fn typed(folder: &Folder, lines: &[&[u8]]) -> Typed {
    let mut asking = Asking::begin(folder);
    for (line, prompt) in lines.iter().zip([FIRST, "The same again: "]) {
        asking.hear(prompt);
        asking.ours.write_all(line).unwrap();
    }
    let Asking { mut child, mut errors, mut ours, theirs, mut said } = asking;
    let end = child.wait().unwrap();
    errors.read_to_string(&mut said).unwrap();
    // A mark behind all that the terminal showed.
    fs::File::from(theirs.try_clone().unwrap()).write_all(b"\x04").unwrap();
    let mut shown = String::new();
    let mut byte = [0];
    while ours.read(&mut byte).unwrap() == 1 && byte[0] != 4 {
        shown.push(byte[0].into());
    }
    let restored = is_usual(&theirs);
    Typed { end, said, shown, restored }
}

#[test]
fn a_password_is_asked_for_twice_and_not_shown() {
    let folder = Folder::new("asked");
    let served = folder.serve();
    let differ = typed(&folder, &[b"s3cret\n", b"other\n"]);
    assert_eq!(differ.end.code(), Some(1));
    assert!(differ.said.ends_with("lampone: the two passwords differ\n"), "{}", differ.said);
    let same = typed(&folder, &[b"s3crex\x7ft\n", b"s3cret\n"]);
    assert_eq!(same.end.code(), Some(0), "{}", same.said);
    assert!(differ.restored && same.restored);
    assert!(!(differ.shown + &same.shown).contains("s3"), "nothing is shown");
    assert_eq!(folder.done(&["user", "list"], ""), "anna@home.example\n");
    served.end();
}

#[test]
fn the_key_that_interrupts_gives_the_terminal_back() {
    let folder = Folder::new("interrupted");
    let served = folder.serve();
    for lines in [&[&b"s3c\x03"[..]][..], &[b"s3cret\n", b"\x03"], &[b"\x1c"]] {
        let Typed { end, said, shown, restored } = typed(&folder, lines);
        assert_eq!(end.code(), Some(1));
        assert!(said.ends_with("lampone: nothing was changed\n"), "{said}");
        assert!(restored && !shown.contains("s3"), "{shown:?}");
    }
    assert_eq!(folder.done(&["user", "list"], ""), "");
    served.end();
}

#[test]
fn a_signal_from_elsewhere_gives_the_terminal_back_and_ends_the_program() {
    let folder = Folder::new("signalled");
    let served = folder.serve();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut asking = Asking::begin(&folder);
        asking.hear(FIRST);
        kill_process(Pid::from_child(&asking.child), signal).unwrap();
        assert_eq!(asking.child.wait().unwrap().signal(), Some(signal.as_raw()), "whoever waits sees why it ended");
        assert!(is_usual(&asking.theirs), "{signal:?}");
    }
    served.end();
}

#[test]
fn a_domain_that_is_not_served_gets_no_answer_for_another() {
    let folder = Folder::new("domains");
    let served = folder.serve();
    folder.done(&["user", "add", "anna", "--password-stdin"], "x\n");
    for words in [&["user", "list"][..], &["invite"], &["user", "remove", "anna"]] {
        let why = folder.refused(&[words, &["--domain", "club.example"]].concat(), "");
        assert_eq!(why, "lampone: club.example is not served there; the server's first domain is home.example\n");
    }
    assert_eq!(folder.done(&["user", "list", "--domain", "HOME.example"], ""), "anna@home.example\n");
    // A file whose administrators live on another of its domains is no obstacle.
    let settings = folder.0.join("two.toml");
    fs::write(&settings, "domain = ['club.example', 'home.example']\nadmins = 'x@club.example'\n").unwrap();
    let list = ["user", "list", "--domain", "home.example", "--config", settings.to_str().unwrap()];
    assert_eq!(folder.done(&list, ""), "anna@home.example\n");
    served.end();
}

#[test]
fn a_full_disk_is_told() {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = program(&std::env::temp_dir()).args(["check", "--keys"]).stdout(full).output().unwrap();
    let (_, err, code) = told(output);
    assert!(code == 1 && err.starts_with("lampone: standard output: "), "{err}");
}
