//! `lampone user …` and `lampone invite`: the admin commands of XEP-0133, from the command line.

use std::{collections::BTreeMap, fs};

use zeroize::Zeroizing;

use super::{
    client::{Answer, Client},
    invitation, password,
};

const ADMIN: &str = "http://jabber.org/protocol/admin";
/// Requests under way at once when a file is worked through.
const WINDOW: usize = 16;

fn node(name: &str) -> String {
    format!("{ADMIN}#{name}")
}

/// `lampone user add`
pub fn add(client: &mut Client, account: Option<String>, stdin: bool, from: Option<String>) -> Result<(), String> {
    match (account, from) {
        (Some(account), None) => {
            let account = client.address(&account);
            let password = password::read(&account, stdin)?;
            let fields = [("accountjid", &*account), ("password", &password), ("password-verify", &password)];
            client.run(&node("add-user"), &fields)?.print();
            println!("{account} added");
            Ok(())
        }
        (None, Some(file)) => add_all(client, &file),
        _ => Err("`lampone user add` takes an address, or --from with a file".into()),
    }
}

/// One account of a file.
struct Line {
    account: String,
    password: Zeroizing<String>,
}

/// Reads a file of accounts: address, white space, password; empty lines and those that begin with `#` are skipped.
fn read_accounts(name: &str, text: &str) -> Result<Vec<Line>, String> {
    let mut accounts = Vec::new();
    let mut faults = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.split_once([' ', '\t']) {
            Some((account, password)) => accounts
                .push(Line { account: account.to_owned(), password: Zeroizing::new(password.trim().to_owned()) }),
            None => faults.push(format!("{name}:{}: no password; \"anna@home.example secret\" would do", at + 1)),
        }
    }
    if faults.is_empty() { Ok(accounts) } else { Err(faults.join("\n")) }
}

fn add_all(client: &mut Client, file: &str) -> Result<(), String> {
    let text = Zeroizing::new(fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?);
    let accounts = read_accounts(file, &text)?;
    let mut waiting: BTreeMap<u64, String> = BTreeMap::new();
    let mut faults = Vec::new();
    let mut added = 0;
    let mut hear = |client: &mut Client, waiting: &mut BTreeMap<u64, String>| -> Result<(), String> {
        let (id, answer) = client.answer()?;
        match (waiting.remove(&id), answer) {
            (Some(_), Ok(_)) => added += 1,
            (Some(account), Err(why)) => faults.push(format!("{account}: {why}")),
            (None, _) => {}
        }
        Ok(())
    };
    for Line { account, password } in accounts {
        let account = client.address(&account);
        let fields = [("accountjid", &*account), ("password", &password), ("password-verify", &password)];
        let id = client.ask(&node("add-user"), &fields)?;
        waiting.insert(id, account);
        while waiting.len() >= WINDOW {
            hear(client, &mut waiting)?;
        }
    }
    while !waiting.is_empty() {
        hear(client, &mut waiting)?;
    }
    println!("{added} added");
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
}

/// `lampone user passwd`
pub fn passwd(client: &mut Client, account: &str, stdin: bool) -> Result<(), String> {
    let account = client.address(account);
    let password = password::read(&account, stdin)?;
    client.run(&node("change-user-password"), &[("accountjid", &account), ("password", &password)])?.print();
    println!("{account} has a new password");
    Ok(())
}

/// `lampone user remove`
pub fn remove(client: &mut Client, account: &str) -> Result<(), String> {
    let account = client.address(account);
    client.run(&node("delete-user"), &[("accountjids", &account)])?.print();
    println!("{account} removed");
    Ok(())
}

/// `lampone user list`
pub fn list(client: &mut Client) -> Result<(), String> {
    let answer = client.run(&node("get-registered-users-list"), &[("max_items", "none")])?;
    let form = answer.form.as_ref();
    let users = form.map(|form| form.values("registereduserjids").map(str::to_owned).collect::<Vec<_>>());
    users.unwrap_or_default().iter().for_each(|user| println!("{user}"));
    Answer { form: None, ..answer }.print();
    Ok(())
}

/// `lampone user show`
pub fn show(client: &mut Client, account: &str) -> Result<(), String> {
    let account = client.address(account);
    client.run(&node("user-stats"), &[("accountjid", &account)])?.print();
    Ok(())
}

/// `lampone invite`
pub fn invite(client: &mut Client, admin: bool) -> Result<(), String> {
    let answer = client.run("urn:lampone:admin#invite", &[("admin", if admin { "1" } else { "0" })])?;
    match answer.form.as_ref().and_then(|form| form.value("uri")) {
        Some(uri) => invitation::print(uri),
        None => answer.print(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_accounts_is_checked_before_anything_is_sent() {
        let good = read_accounts("f", "# family\n\nanna@home.example  secret word\nben\tx\n").unwrap();
        let seen: Vec<_> = good.iter().map(|line| (line.account.as_str(), line.password.as_str())).collect();
        assert_eq!(seen, [("anna@home.example", "secret word"), ("ben", "x")]);
        let bad = read_accounts("f", "anna\nben x\ncleo\n").err().unwrap();
        assert_eq!(bad.lines().count(), 2);
        assert!(bad.starts_with("f:1: no password"), "{bad}");
    }
}
