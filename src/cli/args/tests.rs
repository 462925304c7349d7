//! What a person sees of the command line: the help as a snapshot, mistakes as one line.

use super::*;

#[path = "shipped.rs"]
mod shipped;

/// Options of every command that settings belong to.
const SETTINGS: &[&str] = &["--config", "--domain", "--data", "--set"];

/// Every command as it is typed, with its own options and whether it takes those of settings.
const ALL: &[(&[&str], &[&str], bool)] = &[
    (&[], &["--version"], false),
    (&["serve"], &[], true),
    (&["check"], &["--keys"], true),
    (&["doctor"], &[], true),
    (&["user"], &[], false),
    (&["user", "add"], &["--admin", "--password-stdin", "--from"], true),
    (&["user", "passwd"], &["--password-stdin"], true),
    (&["user", "reset-link"], &[], true),
    (&["user", "remove"], &[], true),
    (&["user", "disable"], &[], true),
    (&["user", "enable"], &[], true),
    (&["user", "list"], &[], true),
    (&["user", "show"], &[], true),
    (&["user", "devices"], &[], true),
    (&["user", "revoke"], &[], true),
    (&["user", "empty-archive"], &[], true),
    (&["status"], &["--link"], true),
    (&["backup"], &[], true),
    (&["invite"], &["--admin"], true),
    (&["announce"], &[], true),
    (
        &["bench"],
        &[
            "--only",
            "--make",
            "--unmake",
            "--accounts",
            "--sign-ins",
            "--idle",
            "--seconds",
            "--messages",
            "--mechanism",
            "--ca",
            "--pid",
            "--direct",
            "--unacknowledged",
            "--mine",
            "--yes",
        ],
        true,
    ),
    (&["plan"], &[], false),
    (&["version"], &[], false),
];

fn typed(words: &[&str]) -> Result<Command, Early> {
    read(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
}

fn help(words: &[&str]) -> String {
    match typed(&[words, &["--help"]].concat()) {
        Err(Early { text, is_help: true }) => text,
        _ => panic!("{words:?} is no help"),
    }
}

#[test]
fn every_command_explains_every_option() {
    let mut listed: Vec<&str> = ALL.iter().filter(|(words, ..)| words.len() == 1).map(|(words, ..)| words[0]).collect();
    let mut commands: Vec<&str> = Command::COMMANDS.iter().map(|command| command.name).collect();
    listed.sort_unstable();
    commands.sort_unstable();
    assert_eq!(commands, listed);
    assert_eq!(ALL.iter().filter(|(words, ..)| words.len() == 2).count(), UserCommand::COMMANDS.len());
    for (words, own, takes_settings) in ALL {
        let text = help(words);
        let explained: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  --")).collect();
        let options = own.iter().chain(if *takes_settings { SETTINGS } else { &[] });
        for option in options.clone() {
            let line = explained.iter().find(|line| line.split([' ', ',']).next() == option.strip_prefix("--"));
            let said = line.and_then(|line| line.split_once("  ")).map(|(_, said)| said.trim());
            assert!(said.is_some_and(|said| !said.is_empty()), "{words:?} says nothing of {option}:\n{text}");
        }
        // `--help` itself is one more.
        assert_eq!(explained.len(), options.count() + 1, "{words:?}:\n{text}");
    }
}

/// `LAMPONE_SNAPSHOTS=write` writes it anew.
#[test]
fn the_help_is_as_it_was_read_and_found_good() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/args/help.text");
    let one = |words: &[&str]| {
        let line = [&["lampone"], words, &["--help"]].concat().join(" ");
        format!("$ {line}\n{}\n", help(words).trim_end())
    };
    let all: Vec<String> = ALL.iter().map(|(words, ..)| one(words)).collect();
    let all = all.join(&format!("{}\n", "-".repeat(80)));
    if std::env::var("LAMPONE_SNAPSHOTS").is_ok_and(|what| what == "write") {
        std::fs::write(path, &all).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), all);
}

#[test]
fn a_mistake_is_one_line_with_a_hint() {
    for (words, line) in [
        (&["frob"][..], "Unrecognized argument: frob; see `lampone --help`"),
        (&["serve", "--confg", "x"], "Unrecognized argument: --confg; see `lampone serve --help`"),
        (&["serve", "--set"], "No value provided for option '--set'; see `lampone serve --help`"),
        (
            &["user"],
            "One of the following subcommands must be present: help add passwd reset-link remove disable enable list show devices revoke \
             empty-archive; see `lampone user --help`",
        ),
        (&["user", "show"], "Required positional arguments not provided: address; see `lampone user show --help`"),
        (&["user", "add"], "Whom? Give an address, or a file with --from; see `lampone user add --help`"),
        (
            &["user", "add", "anna", "--from", "f"],
            "Give either an address or --from, not both; see `lampone user add --help`",
        ),
        (
            &["user", "add", "--from", "f", "--password-stdin"],
            "--from brings the passwords itself; leave out --password-stdin; see `lampone user add --help`",
        ),
    ] {
        assert_eq!(typed(words).err(), Some(Early { text: line.to_owned(), is_help: false }));
    }
}

#[test]
fn the_readme_tells_of_every_command() {
    let readme = include_str!("../../../README.md");
    let section = readme.split("\n## Commands\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    for (words, ..) in ALL.iter().filter(|(words, ..)| !words.is_empty() && *words != ["user"]) {
        let row = format!("| `lampone {}", words.join(" "));
        assert!(section.contains(&row), "{row} in\n{section}");
    }
}
