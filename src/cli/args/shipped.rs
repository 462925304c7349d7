//! Man page and shell completions, written from the help, so that they are as true as it is.
//!
//! `LAMPONE_SNAPSHOTS=write` writes them anew.

use std::fmt::Write;

use argh::SubCommands;

use super::{ALL, Command, UserCommand, help};

/// An option as the help tells it.
struct Told {
    name: String,
    /// What its value is called; none: it is a switch.
    value: Option<String>,
    what: String,
}

/// What the help says a command does.
fn purpose(text: &str) -> String {
    text.split("\n\n").nth(1).unwrap_or_default().replace('\n', " ").trim().to_owned()
}

/// What the help says about options, in its order; `--help` is left out.
fn options(text: &str) -> Vec<Told> {
    let usage = text.lines().next().unwrap_or_default();
    let section = text.split("\nOptions:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap_or_default();
    let mut told: Vec<Told> = Vec::new();
    for line in section.lines() {
        match line.strip_prefix("  --").map(|line| line.split_once(' ').unwrap_or((line, ""))) {
            Some((name, what)) => {
                let name = name.trim_end_matches(',');
                let value = usage.split(&format!("--{name} <")).nth(1).and_then(|rest| rest.split(['>', '.']).next());
                let (value, what) = (value.map(str::to_owned), what.trim().to_owned());
                told.push(Told { name: name.to_owned(), value, what });
            }
            None => {
                if let Some(last) = told.last_mut() {
                    let _ = write!(last.what, " {}", line.trim());
                }
            }
        }
    }
    told.retain(|option| option.name != "help");
    told
}

/// Commands with their own words, what they do, and their options.
fn commands() -> Vec<(&'static [&'static str], String, Vec<Told>)> {
    let told = ALL.iter().filter(|(words, ..)| !words.is_empty()).map(|(words, ..)| {
        let text = help(words);
        (*words, purpose(&text), options(&text))
    });
    told.collect()
}

fn compare(file: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("packages").join(file);
    if std::env::var("LAMPONE_SNAPSHOTS").is_ok_and(|what| what == "write") {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), text, "{file}");
}

fn names(of: &[&argh::CommandInfo]) -> String {
    of.iter().map(|command| command.name).collect::<Vec<_>>().join(" ")
}

#[test]
fn bash_completes_commands_and_options() {
    let mut out = String::from(
        "# Completions of lampone for bash, written from its help.\n_lampone() {\n\
         \x20   local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n\
         \x20   case $prev in\n\
         \x20       --config | --from | --ca) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n\
         \x20       --data) mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); return ;;\n\
         \x20   esac\n\
         \x20   case $COMP_CWORD:${COMP_WORDS[1]}:${COMP_WORDS[2]-} in\n",
    );
    let _ = writeln!(out, "        1:*) words='{} --help --version' ;;", names(Command::COMMANDS));
    let _ = writeln!(out, "        2:user:*) words='{} --help' ;;", names(UserCommand::COMMANDS));
    let mut commands = commands();
    // What is longer is matched first.
    commands.sort_by_key(|(words, ..)| std::cmp::Reverse(words.len()));
    for (words, _, options) in commands.iter().filter(|(words, ..)| *words != ["user"]) {
        let pattern = if words.len() == 2 { format!("*:user:{}", words[1]) } else { format!("*:{}:*", words[0]) };
        let options: String = options.iter().map(|option| format!("--{} ", option.name)).collect();
        let _ = writeln!(out, "        {pattern}) words='{options}--help' ;;");
    }
    out.push_str(
        "    esac\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\ncomplete -o default -F _lampone lampone\n",
    );
    compare("completions/lampone.bash", &out);
}

/// Text inside single quotes of a shell, without what `special` says means something there.
fn quoted(text: &str, special: &[char]) -> String {
    text.replace('\'', "’").replace(special, "")
}

#[test]
fn zsh_completes_commands_and_options() {
    let mut out = String::from("#compdef lampone\n# Completions of lampone for zsh, written from its help.\n");
    let list = |out: &mut String, name: &str, depth: usize| {
        let _ = writeln!(out, "local -a {name}\n{name}=(");
        for (words, what, _) in commands().iter().filter(|(words, ..)| words.len() == depth) {
            let _ = writeln!(out, "    '{}:{}'", words[depth - 1], quoted(what, &[]));
        }
        out.push_str(")\n");
    };
    list(&mut out, "commands", 1);
    list(&mut out, "accounts", 2);
    out.push_str("case $CURRENT:$words[2]:$words[3] in\n    2:*) _describe command commands ;;\n");
    out.push_str("    3:user:*) _describe command accounts ;;\n");
    let mut commands = commands();
    commands.sort_by_key(|(words, ..)| std::cmp::Reverse(words.len()));
    for (words, _, options) in commands.iter().filter(|(words, ..)| *words != ["user"]) {
        let pattern = if words.len() == 2 { format!("*:user:{}", words[1]) } else { format!("*:{}:*", words[0]) };
        let _ = write!(out, "    {pattern}) _arguments");
        for Told { name, value, what } in options {
            let value = value.as_deref().map_or(String::new(), |value| match value {
                "file" => ":file:_files".to_owned(),
                "dir" => ":dir:_files -/".to_owned(),
                other => format!(":{other}: "),
            });
            let _ = write!(out, " \\\n        '--{name}[{}]{value}'", quoted(what, &['[', ']', ':']));
        }
        out.push_str(" ;;\n");
    }
    out.push_str("esac\n");
    compare("completions/_lampone", &out);
}

#[test]
fn fish_completes_commands_and_options() {
    let mut out = String::from("# Completions of lampone for fish, written from its help.\ncomplete -c lampone -f\n");
    for (words, what, options) in commands() {
        let when = match words {
            [_] => "__fish_use_subcommand".to_owned(),
            _ => format!(
                "__fish_seen_subcommand_from user; and not __fish_seen_subcommand_from {}",
                names(UserCommand::COMMANDS)
            ),
        };
        let what = quoted(&what, &['\\']);
        let _ = writeln!(out, "complete -c lampone -n '{when}' -a {} -d '{what}'", words[words.len() - 1]);
        let seen: Vec<String> = words.iter().map(|word| format!("__fish_seen_subcommand_from {word}")).collect();
        for Told { name, value, what } in options {
            let kind = match value.as_deref() {
                None => "",
                Some("file" | "dir") => " -r -F",
                Some(_) => " -x",
            };
            let what = quoted(&what, &['\\']);
            let _ = writeln!(out, "complete -c lampone -n '{}' -l {name}{kind} -d '{what}'", seen.join("; and "));
        }
    }
    compare("completions/lampone.fish", &out);
}

/// Text as roff shows it.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[test]
fn the_man_page_tells_of_every_command_and_option() {
    let mut out = format!(
        ".\\\" Written from the program's help.\n.TH LAMPONE 8 \"\" \"lampone {}\" \"System administration\"\n\
         .SH NAME\nlampone \\- {}\n.SH SYNOPSIS\n.B lampone\n.I command\n.RI [ options ]\n.SH DESCRIPTION\n",
        env!("CARGO_PKG_VERSION"),
        roff(purpose(&help(&[])).trim_end_matches('.'))
    );
    out.push_str(
        "Lampone serves the accounts of one or more domains, and keeps everything in one folder. Installed from a\n\
         package it is the service\n.BR lampone.service ,\nruns as the user\n.BR lampone ,\n\
         and\n.B lampone invite \\-\\-admin\nshows the link by which its first administrator makes an account.\n.PP\n\
         Settings need not be given; those that are stand in\n.BR /etc/lampone.toml ,\n\
         and\n.B lampone check \\-\\-keys\nlists them all.\n.SH COMMANDS\n",
    );
    const COMMON: [&str; 4] = ["config", "domain", "data", "set"];
    for (words, what, options) in commands() {
        let usage = help(words).lines().next().unwrap_or_default().replace("Usage: ", "");
        let is_operand = |word: &&str| word.starts_with("[<") || word.starts_with('<') && !word.ends_with(']');
        let operands = usage.split(' ').filter(is_operand);
        let operands: Vec<&str> = operands.filter(|word| !word.contains("command") && !word.contains("args")).collect();
        let line = [words.join(" "), operands.join(" ")].join(" ");
        let _ = writeln!(out, ".SS lampone {}\n{}", roff(line.trim()), roff(&what));
        for option in options.iter().filter(|option| !COMMON.contains(&option.name.as_str())) {
            let value = option.value.as_ref().map_or(String::new(), |value| format!(" \\fI{}\\fR", roff(value)));
            let _ = writeln!(out, ".TP\n\\fB\\-\\-{}\\fR{value}\n{}", roff(&option.name), roff(&option.what));
        }
    }
    out.push_str(".SH OPTIONS OF MOST COMMANDS\n");
    for option in options(&help(&["status"])) {
        let value = option.value.as_ref().map_or(String::new(), |value| format!(" \\fI{}\\fR", roff(value)));
        let _ = writeln!(out, ".TP\n\\fB\\-\\-{}\\fR{value}\n{}", roff(&option.name), roff(&option.what));
    }
    out.push_str(
        ".SH FILES\n.TP\n.I /etc/lampone.toml\nsettings\n.TP\n.I /etc/lampone/\ncertificates and what else settings name\n\
         .TP\n.I /var/lib/lampone/\neverything that the server keeps; backups/ holds what upgrades of the package kept\n\
         .SH EXIT STATUS\n0 when it is done, 1 when it is not and standard error says why, 2 when the command line was not\n\
         understood.\n.SH SEE ALSO\n.BR systemctl (1)\n",
    );
    compare("lampone.8", &out);
}
