//! The conversations of `tests/scripts` with the real binary, over real sockets and TLS.

#[path = "../stage/mod.rs"]
mod stage;

mod abuse;
mod bosh;
mod messages;
mod process;
mod proxy;
mod requests;
mod web;

use std::{fs, path::Path};

use process::Process;
use stage::chat::Script;

#[test]
fn conversations_go_as_written_with_the_real_binary() {
    play("tcp", |_| true, |process| process);
}

#[test]
fn conversations_go_as_written_over_websocket() {
    // Those about headers and STARTTLS are about TCP.
    let of_tcp = ["rfc6120-4-streams.chat", "rfc6120-4.9-errors.chat", "rfc6120-5-starttls.chat"];
    play(
        "websocket",
        |name| !of_tcp.contains(&name),
        |mut process| {
            process.by_websocket = true;
            process
        },
    );
}

#[test]
fn conversations_go_as_written_over_bosh() {
    // Those about headers and STARTTLS are about TCP, as those in which a connection that breaks is noticed at once.
    let of_tcp = [
        "rfc6120-4-streams.chat",
        "rfc6120-4.9-errors.chat",
        "rfc6120-5-starttls.chat",
        "rfc6121-4-presence.chat",
        "xep0357-push.chat",
    ];
    play(
        "bosh",
        |name| !of_tcp.contains(&name),
        |mut process| {
            process.by_bosh = true;
            process
        },
    );
}

fn play(way: &str, is_wanted: impl Fn(&str) -> bool, prepare: impl Fn(Process) -> Process) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "chat"));
    paths.sort();
    // One of them: `LAMPONE_SCRIPT=rfc6121-8 cargo test --test e2e`.
    if let Ok(wanted) = std::env::var("LAMPONE_SCRIPT") {
        paths.retain(|path| path.to_string_lossy().contains(&wanted));
    }
    let mut failures = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let script = Script::parse(&name, &fs::read_to_string(&path).unwrap());
        if script.is_for_both() && is_wanted(&name) {
            let mut process = prepare(Process::start(&format!("{way}-{name}"), &script.accounts));
            failures.extend(script.play(&mut process).err());
        }
    }
    assert!(failures.is_empty(), "{} conversations went wrong:\n{}", failures.len(), failures.join("\n"));
}
