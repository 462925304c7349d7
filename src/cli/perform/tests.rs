//! What a person sees of the command line: the help as a snapshot, mistakes as one line.

use super::*;

/// Every command as it is typed, with its options.
const ALL: &[(&[&str], &[&str])] = &[
    (&[], &["--version"]),
    (&["serve"], &["--config", "--domain", "--data", "--set"]),
    (&["check"], &["--keys", "--config", "--domain", "--data", "--set"]),
    (&["user"], &[]),
    (&["user", "add"], &["--password-stdin", "--from", "--data", "--config"]),
    (&["user", "passwd"], &["--password-stdin", "--data", "--config"]),
    (&["user", "remove"], &["--data", "--config"]),
    (&["user", "list"], &["--domain", "--data", "--config"]),
    (&["user", "show"], &["--data", "--config"]),
    (&["invite"], &["--admin", "--domain", "--data", "--config"]),
    (&["status"], &["--data", "--config"]),
    (&["backup"], &["--data", "--config"]),
    (&["plan"], &[]),
    (&["version"], &[]),
];

fn help(words: &[&str]) -> String {
    let words = [words, &["--help"]].concat();
    let Err(EarlyExit { output, status: Ok(()) }) = read(&words) else { panic!("{words:?} is no help") };
    output
}

/// The line about a mistake.
fn mistake_of(words: &[&str]) -> String {
    match read(words) {
        Err(EarlyExit { output, status: Err(()) }) => output,
        _ => panic!("{words:?} is no mistake"),
    }
}

#[test]
fn every_command_explains_every_option() {
    let commands: Vec<&str> = Command::COMMANDS.iter().map(|command| command.name).collect();
    let listed: Vec<&str> = ALL.iter().filter(|(words, _)| words.len() == 1).map(|(words, _)| words[0]).collect();
    assert_eq!(
        {
            let mut all = commands;
            all.sort();
            all
        },
        {
            let mut all = listed;
            all.sort();
            all
        }
    );
    let below_user = ALL.iter().filter(|(words, _)| words.len() == 2).count();
    assert_eq!(below_user, UserCommand::COMMANDS.len());
    for (words, options) in ALL {
        let text = help(words);
        let explained: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  --")).collect();
        for option in *options {
            let own = explained.iter().find(|line| line.split([' ', ',']).next() == option.strip_prefix("--"));
            let said = own.and_then(|line| line.split_once("  ")).map(|(_, said)| said.trim());
            assert!(said.is_some_and(|said| !said.is_empty()), "{words:?} says nothing of {option}:\n{text}");
        }
        // `--help` itself is one more.
        assert_eq!(explained.len(), options.len() + 1, "{words:?}:\n{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 130), "{text}");
    }
}

/// `LAMPONE_SNAPSHOTS=write` writes it anew.
#[test]
fn the_help_is_as_it_was_read_and_found_good() {
    let rule = "-".repeat(80);
    let all: Vec<String> = ALL
        .iter()
        .map(|(words, _)| {
            format!("$ {}\n{}\n", [&["lampone"], *words, &["--help"]].concat().join(" "), help(words).trim_end())
        })
        .collect();
    let all = all.join(&format!("{rule}\n"));
    if std::env::var("LAMPONE_SNAPSHOTS").is_ok_and(|what| what == "write") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/perform/help.text"), &all).unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/perform/help.text");
    assert_eq!(std::fs::read_to_string(path).unwrap(), all);
}

#[test]
fn no_words_ask_for_help() {
    assert_eq!(read(&[]).err(), read(&["--help"]).err());
    assert!(matches!(read(&["--version"]), Ok(Command::Version(_))));
    assert!(matches!(read(&["version"]), Ok(Command::Version(_))));
}

#[test]
fn a_mistake_is_one_line_with_a_hint() {
    for (words, line) in [
        (&["frob"][..], "Unrecognized argument: frob; see `lampone --help`"),
        (&["serve", "--confg", "x"], "Unrecognized argument: --confg; see `lampone serve --help`"),
        (&["serve", "--set"], "No value provided for option '--set'; see `lampone serve --help`"),
        (
            &["user"],
            "One of the following subcommands must be present: help add passwd remove list show; see `lampone user \
             --help`",
        ),
        (&["user", "show"], "Required positional arguments not provided: account; see `lampone user show --help`"),
        (&["user", "add"], "Name an account, or a file with --from; see `lampone user add --help`"),
        (
            &["user", "add", "anna", "--from", "f"],
            "Name an account or a file with --from, not both; see `lampone user add --help`",
        ),
        (
            &["user", "add", "--from", "f", "--password-stdin"],
            "The file of --from holds the passwords; leave out --password-stdin; see `lampone user add --help`",
        ),
    ] {
        assert_eq!(mistake_of(words), line);
    }
}

#[test]
fn the_readme_tells_of_every_command() {
    let readme = include_str!("../../../README.md");
    let section = readme.split("\n## Commands\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    for (words, _) in ALL.iter().filter(|(words, _)| !words.is_empty() && *words != ["user"]) {
        let typed = format!("| `lampone {}", words.join(" "));
        assert!(section.contains(&typed), "{typed} in\n{section}");
    }
}
