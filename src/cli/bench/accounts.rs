//! The accounts of a bench: new ones of random names, made by whom the user said, and removed in the end.

use std::{
    process::{Command, Stdio},
    sync::{Arc, atomic::AtomicBool},
};

use super::Mistakes;
use crate::{
    adapters::load::{Watch, client::Setting, register},
    cli::{client::Client, users},
};

/// Who makes accounts.
pub enum Maker {
    /// The Lampone on this machine, by its administration socket.
    Lampone(Box<Client>),
    /// The server, to whoever asks (XEP-0077).
    InBand,
    /// A command, once for each; and the one that removes them.
    Command { make: String, unmake: Option<String> },
}

impl Maker {
    /// What it will do, for the person.
    pub fn says(&self) -> String {
        match self {
            Maker::Lampone(client) => format!("by the Lampone of {} on this machine", client.domain()),
            Maker::InBand => "by in-band registration (XEP-0077)".into(),
            Maker::Command { make, .. } => format!("by `{make}`"),
        }
    }

    /// Makes them, all with the password of the setting.
    ///
    /// How many of them, in their order, may be there now; and why not all are.
    pub fn make(&mut self, names: &[String], setting: &Setting) -> (usize, Result<(), Mistakes>) {
        match self {
            Maker::Lampone(client) => {
                let outcome = users::make(client, names, &setting.password);
                // If one name or password will not do, none will.
                (if outcome.is_ok() { names.len() } else { 0 }, outcome)
            }
            Maker::InBand => {
                let (made, outcome) = register::run(names, setting, false);
                let hint = "is it allowed there (Prosody: allow_registration)?";
                (made, outcome.map_err(|e| vec![format!("in-band registration: {e}; {hint}")]))
            }
            Maker::Command { make, .. } => each(make, names, setting),
        }
    }

    /// Removes them.
    ///
    /// # Errors
    /// Which are still there, and why.
    pub fn unmake(&mut self, names: &[String], setting: &Setting) -> Result<(), Mistakes> {
        match self {
            Maker::Lampone(client) => users::unmake(client, names),
            Maker::InBand => {
                // Whoever stopped the bench still wants its accounts gone.
                let watch = Watch { stop: Arc::new(AtomicBool::new(false)), ..setting.watch.clone() };
                let (_, outcome) = register::run(names, &Setting { watch, ..setting.clone() }, true);
                outcome.map_err(|e| vec![e.to_string()])
            }
            Maker::Command { unmake: Some(unmake), .. } => each(unmake, names, setting).1,
            Maker::Command { unmake: None, .. } => Err(vec!["there is no --unmake to remove them".into()]),
        }
    }
}

/// Runs a command for each account; for how many it went well, and why not for all.
fn each(command: &str, names: &[String], setting: &Setting) -> (usize, Result<(), Mistakes>) {
    for (at, name) in names.iter().enumerate() {
        if let Err(why) = run(&words(command, name, &setting.domain, &setting.password)) {
            return (at, Err(vec![format!("{command:?} for {name}: {why}")]));
        }
    }
    (names.len(), Ok(()))
}

fn run(words: &[String]) -> Result<(), String> {
    let [program, rest @ ..] = words else { return Err("there is no command to run".into()) };
    let done = Command::new(program).args(rest).stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned() + &String::from_utf8_lossy(&done.stdout);
    Err(said.lines().next_back().unwrap_or("it failed").to_owned())
}

/// The words of a command with what stands in braces filled in. No shell reads them.
fn words(command: &str, user: &str, domain: &str, password: &str) -> Vec<String> {
    let fill = |word: &str| word.replace("{user}", user).replace("{domain}", domain).replace("{password}", password);
    command.split_whitespace().map(fill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_account_domain_and_password() {
        let words = words("prosodyctl register {user} {domain} {password}", "a0", "b.example", "$(c)");
        assert_eq!(words, ["prosodyctl", "register", "a0", "b.example", "$(c)"]);
    }

    #[test]
    fn a_command_that_fails_is_told_by_its_last_line() {
        let setting = super::super::tests::setting();
        let mut maker = Maker::Command { make: "ls /nowhere/{user}".into(), unmake: None };
        let (made, outcome) = maker.make(&["a0".into()], &setting);
        let told = outcome.unwrap_err();
        assert!(made == 0 && told[0].contains(" for a0: ") && told[0].contains("/nowhere/a0"), "{told:?}");
        assert!(maker.unmake(&["a0".into()], &setting).unwrap_err()[0].contains("--unmake"));
    }
}
