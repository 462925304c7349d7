//! Conversations as text. One statement a line; what is indented below it belongs to it. See `tests/scripts/README.md`.

use std::{collections::BTreeMap, panic::AssertUnwindSafe};

use super::{
    Stage,
    pattern::{self, Variables},
    player::Player,
    xml::{self, Item, Tree},
};

/// A statement and the text indented below it.
#[derive(Debug)]
pub struct Statement {
    line: usize,
    text: String,
    below: String,
}

/// A conversation.
#[derive(Debug)]
pub struct Script {
    /// Path, for messages.
    pub path: String,
    /// The accounts it needs; `!` at the end: an administrator.
    pub accounts: Vec<String>,
    statements: Vec<Statement>,
}

/// From here on a script can be played only in the simulated house.
const HOUSE_ONLY: &str = "in the house only";

impl Script {
    /// Reads a script.
    pub fn parse(path: &str, text: &str) -> Script {
        let mut statements: Vec<Statement> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let is_below = line.starts_with([' ', '\t']);
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            match statements.last_mut() {
                Some(last) if is_below => last.below += &format!("{}\n", line.trim()),
                _ => statements.push(Statement { line: at + 1, text: line.trim().into(), below: String::new() }),
            }
        }
        let mut accounts: Vec<String> = Vec::new();
        for statement in &statements {
            let text = statement.text.as_str();
            let name = match text.strip_prefix("there is an account ") {
                Some(name) => name.to_owned(),
                None => match text.strip_prefix("there is an admin ") {
                    Some(name) => format!("{name}!"),
                    None => continue,
                },
            };
            accounts.extend(name.split(", ").map(str::to_owned));
        }
        let verbs = [" connects", " signs in", " comes online", " authenticates"];
        for statement in &statements {
            let who = verbs.iter().find_map(|verb| Some(statement.text.split_once(verb)?.0));
            if let Some(who) = who {
                let account = who.split('/').next().unwrap_or(who);
                if !accounts.iter().any(|known| known.trim_end_matches('!') == account) {
                    accounts.push(account.to_owned());
                }
            }
        }
        Script { path: path.into(), accounts, statements }
    }

    /// Whether a real process can play any of it.
    pub fn is_for_both(&self) -> bool {
        self.statements.first().is_none_or(|first| first.text != HOUSE_ONLY)
    }

    /// Plays it.
    ///
    /// # Errors
    /// Says which line failed and why.
    pub fn play(&self, stage: &mut dyn Stage) -> Result<(), String> {
        let mut play = Play { players: BTreeMap::new(), variables: Variables::new() };
        for statement in &self.statements {
            if statement.text == HOUSE_ONLY {
                if stage.house().is_none() {
                    return Ok(());
                }
                continue;
            }
            let step = std::panic::catch_unwind(AssertUnwindSafe(|| play.step(stage, statement)));
            let outcome = step.unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                Err(text.or(panic.downcast_ref::<&str>().map(|s| (*s).to_owned())).unwrap_or("panic".into()))
            });
            outcome.map_err(|why| format!("{}:{}: {}\n    {why}", self.path, statement.line, statement.text))?;
        }
        play.ends(stage).map_err(|why| format!("{}: at the end: {why}", self.path))
    }
}

struct Play {
    players: BTreeMap<String, Player>,
    variables: Variables,
}

type Outcome = Result<(), String>;

impl Play {
    fn step(&mut self, stage: &mut dyn Stage, statement: &Statement) -> Outcome {
        let text = statement.text.as_str();
        if text.starts_with("there is an ") {
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix("time passes ") {
            let seconds = rest.trim_end_matches(" s").parse::<u64>().map_err(|e| e.to_string())?;
            stage.house().ok_or("only in the house")?.advance(seconds * 1000);
            return Ok(());
        }
        if let Some(rest) = text.strip_prefix("the disk ") {
            return disk(stage, rest);
        }
        if text == "power is cut" {
            stage.power_cut();
            self.players.clear();
            return Ok(());
        }
        let (who, verb) = text.split_once(' ').ok_or("who does what?")?;
        self.act(stage, who, verb, &statement.below)?;
        self.remember(who);
        Ok(())
    }

    fn act(&mut self, stage: &mut dyn Stage, who: &str, verb: &str, below: &str) -> Outcome {
        match verb {
            "connects" => self.enter(Player::connect(stage, account(who), resource(who), false), who),
            "connects by direct TLS" => self.enter(Player::connect(stage, account(who), resource(who), true), who),
            "authenticates" => {
                let mut player = Player::connect(stage, account(who), resource(who), true);
                player.authenticate(stage);
                self.enter(player, who);
            }
            "signs in" => self.enter(Player::sign_in(stage, account(who), resource(who)), who),
            "signs in with stream management" => {
                let mut player = Player::sign_in(stage, account(who), resource(who));
                player.manage(stage);
                self.enter(player, who);
            }
            "comes online" | "comes online with stream management" => {
                let mut player = Player::sign_in(stage, account(who), resource(who));
                if verb != "comes online" {
                    player.manage(stage);
                }
                let presence = if below.is_empty() { "<presence/>" } else { below.trim() };
                player.come_online(stage, presence);
                self.enter(player, who);
            }
            _ => return self.act_on(stage, who, verb, below),
        }
        Ok(())
    }

    fn enter(&mut self, player: Player, who: &str) {
        self.players.insert(who.into(), player);
    }

    /// What somebody does who is there.
    fn act_on(&mut self, stage: &mut dyn Stage, who: &str, verb: &str, below: &str) -> Outcome {
        if verb == "receives nothing" {
            return self.nothing(stage, who);
        }
        let player = self.players.get_mut(who).ok_or_else(|| format!("who is {who}?"))?;
        match verb {
            "opens a stream" => {
                player.restart();
                stage.put(player.conn, super::player::header(super::world::DOMAIN).as_bytes());
            }
            "starts TLS" => stage.secure(player.conn),
            "opens a stream with" => {
                player.restart();
                stage.put(player.conn, pattern::expand(below.trim(), &self.variables).as_bytes());
            }
            "sends" => player.send(stage, &pattern::expand(below.trim(), &self.variables)),
            "binds" => player.bind(stage),
            "receives" => {
                for expected in xml::read(below) {
                    receive(stage, player, &expected, &mut self.variables)?;
                }
            }
            "receives in any order" => any_order(stage, player, &xml::read(below), &mut self.variables)?,
            "receives a stream header" => match player.next(stage) {
                Some(Item::Header(header)) => {
                    if let Some(expected) = header_pattern(below) {
                        pattern::matches(&expected, &header, &mut self.variables)?;
                    }
                }
                other => return Err(format!("instead: {other:?}")),
            },
            "receives features" => {
                let features = player.element(stage);
                for expected in xml::read(below) {
                    let found = features.children().find(|child| child.name == expected.name);
                    let found = found.ok_or_else(|| format!("{} lacks <{}>", features, expected.name))?;
                    pattern::matches(&expected, found, &mut self.variables)?;
                }
            }
            "sees the stream end" => match player.next(stage) {
                Some(Item::End) => {}
                other => return Err(format!("instead: {other:?}")),
            },
            "is disconnected" => {
                let left = player.next(stage);
                if left.as_ref().is_some_and(|item| *item != Item::End) || !stage.is_closed(player.conn) {
                    return Err(format!("still there; {left:?}"));
                }
            }
            "acknowledges by itself" => player.sm.automatic = true,
            "does not acknowledge" => player.sm.automatic = false,
            "breaks" => stage.cut(player.conn),
            "signs out" => {
                player.sign_out(stage);
                match player.next(stage) {
                    Some(Item::End) => {}
                    other => return Err(format!("instead of the end: {other:?}")),
                }
            }
            "resumes" => {
                let answer = player.resume(stage, player.sm.h);
                if answer.name != "resumed" {
                    return Err(answer.to_string());
                }
            }
            "stops reading" => stage.house().ok_or("only in the house")?.stall(player.conn, true),
            "reads again" => stage.house().ok_or("only in the house")?.stall(player.conn, false),
            _ => return Err(format!("what is `{verb}`?")),
        }
        Ok(())
    }

    /// In a real process nobody can know that nothing will come; but whoever sent something has been heard when a ping
    /// behind it is answered, and then so has whoever listens.
    fn nothing(&mut self, stage: &mut dyn Stage, who: &str) -> Outcome {
        if stage.house().is_none() {
            for player in self.players.values_mut().filter(|player| player.bound) {
                player.fence(stage);
            }
        }
        let player = self.players.get_mut(who).ok_or_else(|| format!("who is {who}?"))?;
        let real = stage.house().is_none();
        let found = if real { player.inbox().pop_front() } else { player.next(stage) };
        match found {
            None => Ok(()),
            Some(item) => Err(format!("{item:?}")),
        }
    }

    /// `{romeo}`, `{romeo.full}`, `{romeo.sm}` and `{romeo.h}` in texts.
    fn remember(&mut self, who: &str) {
        if let Some(player) = self.players.get(who) {
            self.variables.insert(who.into(), player.bare());
            self.variables.insert(format!("{who}.full"), player.jid());
            self.variables.insert(format!("{who}.sm"), player.sm.id.clone().unwrap_or_default());
            self.variables.insert(format!("{who}.h"), player.sm.h.to_string());
        }
    }

    /// Nothing must be left that nobody expected.
    fn ends(&mut self, stage: &mut dyn Stage) -> Outcome {
        if stage.house().is_none() {
            return Ok(());
        }
        for (who, player) in &mut self.players {
            match player.next(stage) {
                None | Some(Item::End) => {}
                Some(item) => return Err(format!("{who} received {item:?}")),
            }
        }
        Ok(())
    }
}

fn receive(stage: &mut dyn Stage, player: &mut Player, expected: &Tree, variables: &mut Variables) -> Outcome {
    match player.next(stage) {
        Some(Item::Element(found)) => {
            pattern::matches(expected, &found, variables).map_err(|why| format!("{why}\n    {found}"))
        }
        other => Err(format!("instead of {expected}: {other:?}")),
    }
}

fn any_order(stage: &mut dyn Stage, player: &mut Player, expected: &[Tree], variables: &mut Variables) -> Outcome {
    let mut left: Vec<&Tree> = expected.iter().collect();
    while !left.is_empty() {
        let found = match player.next(stage) {
            Some(Item::Element(found)) => found,
            other => return Err(format!("instead of {left:?}: {other:?}")),
        };
        let at = left.iter().position(|expected| pattern::matches(expected, &found, variables).is_ok());
        let at = at.ok_or_else(|| format!("none of {left:?} is\n    {found}"))?;
        left.remove(at);
    }
    Ok(())
}

fn header_pattern(below: &str) -> Option<Tree> {
    let mut reader = xml::Reader::new();
    reader.push(below.trim().as_bytes());
    match reader.next() {
        Some(Item::Header(header)) => Some(header),
        _ => None,
    }
}

fn disk(stage: &mut dyn Stage, verb: &str) -> Outcome {
    let house = stage.house().ok_or("only in the house")?;
    match verb {
        "is held" => house.disk.held = true,
        "goes on" => house.disk.held = false,
        "refuses the next write" => house.disk.refuse_in = Some(0),
        _ => return Err(format!("what is `the disk {verb}`?")),
    }
    Ok(())
}

/// `romeo/phone` is a client of romeo's; `romeo` alone has his name as its resource.
fn account(who: &str) -> &str {
    who.split('/').next().unwrap_or(who)
}

fn resource(who: &str) -> &str {
    who.split('/').next_back().unwrap_or(who)
}
