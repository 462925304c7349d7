//! `lampone user …` and `lampone invite`: the commands of XEP-0133 v1.3.1 and our own, from the command line.
//!
//! Invariant: what was not done is told with its reason, and the exit code says so.

use std::{collections::BTreeMap, fs};

use zeroize::Zeroizing;

use super::{
    accounts,
    answer::{Answer, Refusal, plain},
    client::Client,
    invitation,
    output::say,
    password,
};
use crate::wire::ns;

/// Requests under way at once when a file is worked through: more than a small machine has cores, and few enough to
/// leave room below `limits::DERIVING_MAX` for an admin elsewhere.
const WINDOW: usize = 8;

fn node(name: &str) -> String {
    format!("{}#{name}", ns::ADMIN)
}

/// Why nothing was done with this account.
fn refused(account: &str, refusal: &Refusal) -> String {
    match refusal.condition.as_str() {
        "conflict" => format!("{account} exists already"),
        "item-not-found" => format!("there is no account {account}; `lampone user list` shows all"),
        _ => format!("{account}: {refusal}"),
    }
}

/// `lampone user add`
pub fn add(client: &mut Client, account: Option<String>, stdin: bool, from: Option<String>) -> Result<(), String> {
    match (account, from) {
        (Some(account), None) => {
            let account = client.address(&account)?;
            let password = password::read(&account, stdin)?;
            let fields = to_add(&account, &password);
            let text = about(client, "add-user", &account, &fields)?;
            say(format!("{text}{account} added"))
        }
        (None, Some(file)) => {
            let text = Zeroizing::new(fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?);
            add_all(client, &file, accounts::read(&file, &text, &client.domain)?)
        }
        // The command line was refused before.
        _ => Err("name an account, or a file with --from".into()),
    }
}

/// XEP-0133 §4.1.
fn to_add<'a>(account: &'a str, password: &'a str) -> [(&'static str, &'a str); 3] {
    [("accountjid", account), ("password", password), ("password-verify", password)]
}

/// How far a file of accounts has come.
#[derive(Default)]
struct Progress {
    /// Asked for and not answered, by question: what an error about it begins with.
    waiting: BTreeMap<u64, (String, String)>,
    added: usize,
    faults: Vec<String>,
}

impl Progress {
    fn hear(&mut self, client: &mut Client) -> Result<(), String> {
        let (asked, answer) = client.answer()?;
        let Some((place, account)) = self.waiting.remove(&asked) else { return Ok(()) };
        match answer {
            Ok(_) => self.added += 1,
            Err(refusal) => self.faults.push(format!("{place}: {}", refused(&account, &refusal))),
        }
        Ok(())
    }
}

fn add_all(client: &mut Client, file: &str, lines: Vec<accounts::Line>) -> Result<(), String> {
    let (summary, faults) = attempt_all(client, file, lines);
    say(summary)?;
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// How many were added, and one line for each that was not.
fn attempt_all(client: &mut Client, file: &str, lines: Vec<accounts::Line>) -> (String, Vec<String>) {
    let total = lines.len();
    let mut progress = Progress::default();
    let end = work_through(client, file, lines, &mut progress);
    let Progress { waiting, added, mut faults } = progress;
    let failed = faults.len();
    if let Err(why) = end {
        let unknown = waiting.len();
        let left = total - added - failed - unknown;
        faults.push(format!("{why}; of {unknown} it is not known whether they were added, {left} were not asked for"));
    }
    let failures = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    (format!("{added} of {total} added{failures}"), faults)
}

fn work_through(
    client: &mut Client,
    file: &str,
    lines: Vec<accounts::Line>,
    progress: &mut Progress,
) -> Result<(), String> {
    for accounts::Line { number, account, password } in lines {
        let asked = client.ask(&node("add-user"), &to_add(&account, &password))?;
        progress.waiting.insert(asked, (format!("{file}:{number}"), account));
        while progress.waiting.len() >= WINDOW {
            progress.hear(client)?;
        }
    }
    while !progress.waiting.is_empty() {
        progress.hear(client)?;
    }
    Ok(())
}

/// Runs a command about one account; what it answers, as text.
fn about(client: &mut Client, name: &str, account: &str, fields: &[(&str, &str)]) -> Result<String, String> {
    let answer = client.run(&node(name), fields);
    answer.map(|answer| answer.text()).map_err(|refusal| refused(account, &refusal))
}

/// `lampone user passwd`
pub fn passwd(client: &mut Client, account: &str, stdin: bool) -> Result<(), String> {
    let account = client.address(account)?;
    let password = password::read(&account, stdin)?;
    let fields = [("accountjid", &*account), ("password", &password)];
    let text = about(client, "change-user-password", &account, &fields)?;
    say(format!("{text}{account} has a new password"))
}

/// `lampone user remove`
pub fn remove(client: &mut Client, account: &str) -> Result<(), String> {
    let account = client.address(account)?;
    let text = about(client, "delete-user", &account, &[("accountjids", &account)])?;
    say(format!("{text}{account} removed"))
}

/// `lampone user list`: one address a line, fit for other programs; remarks go to standard error.
pub fn list(client: &mut Client) -> Result<(), String> {
    let answer = client.run(&node("get-registered-users-list"), &[("max_items", "none")])?;
    let users = answer.form.iter().flat_map(|form| form.values("registereduserjids"));
    say(users.map(|user| plain(user) + "\n").collect::<String>())?;
    Answer { form: None, ..answer }.text().lines().for_each(|note| eprintln!("lampone: {note}"));
    Ok(())
}

/// `lampone user show`
pub fn show(client: &mut Client, account: &str) -> Result<(), String> {
    let account = client.address(account)?;
    say(about(client, "user-stats", &account, &[("accountjid", &account)])?)
}

/// `lampone invite`
pub fn invite(client: &mut Client, admin: bool) -> Result<(), String> {
    let answer = client.run("urn:lampone:admin#invite", &[("admin", if admin { "1" } else { "0" })])?;
    match answer.form.as_ref().and_then(|form| form.value("uri")) {
        Some(uri) => say(invitation::text(&plain(uri))),
        None => say(answer.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::client::tests::{error, fake, result},
        *,
    };

    #[test]
    fn common_refusals_are_told_in_words() {
        let refusal = |condition: &str| Refusal { condition: condition.into(), text: Some("No.".into()) };
        assert_eq!(refused("a@b", &refusal("conflict")), "a@b exists already");
        assert_eq!(
            refused("a@b", &refusal("item-not-found")),
            "there is no account a@b; `lampone user list` shows all"
        );
        assert_eq!(refused("a@b", &refusal("forbidden")), "a@b: No.");
    }

    fn three() -> Vec<accounts::Line> {
        accounts::read("f", "# family\nanna x\nben y\ncleo z\n", "home.example").unwrap()
    }

    #[test]
    fn requests_go_out_before_answers_come_and_answers_come_in_any_order() {
        let script = vec![(
            // All three are asked for before the first is answered.
            "cleo@home.example",
            [result(3, ""), error(1, "conflict"), result(2, "")].concat(),
        )];
        let (mut client, server) = fake(script);
        let (summary, faults) = attempt_all(&mut client, "f", three());
        assert_eq!(summary, "2 of 3 added, 1 failed");
        assert_eq!(faults, ["f:2: anna@home.example exists already"]);
        drop(client);
        let heard = server.join().unwrap();
        assert_eq!(heard.matches("http://jabber.org/protocol/admin#add-user").count(), 3, "{heard}");
        for field in ["accountjid", "password", "password-verify"] {
            assert_eq!(heard.matches(&format!("var='{field}'")).count(), 3, "{heard}");
        }
    }

    #[test]
    fn no_more_are_asked_for_than_the_window_holds() {
        let text: String = (0..=WINDOW).map(|n| format!("u{n} x\n")).collect();
        let lines = accounts::read("f", &text, "home.example").unwrap();
        // When the last of the window is there, nobody is left to answer.
        let last = format!("u{}@", WINDOW - 1);
        let (mut client, server) = fake(vec![(last.leak(), "</stream:stream>".into())]);
        let (summary, faults) = attempt_all(&mut client, "f", lines);
        assert_eq!(summary, format!("0 of {} added", WINDOW + 1));
        assert_eq!(faults.len(), 1);
        let told = format!("of {WINDOW} it is not known whether they were added, 1 were not asked for");
        assert!(faults[0].ends_with(&told), "{faults:?}");
        drop(client);
        assert!(!server.join().unwrap().contains(&format!("u{WINDOW}@")));
    }
}
