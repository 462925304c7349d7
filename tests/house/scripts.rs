//! Every conversation of `tests/scripts` in the simulated house.

use std::{fs, path::Path};

use crate::stage::{
    chat::Script,
    world::{Dice, World},
};

fn scripts() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "chat"));
    paths.sort();
    // One of them: `LAMPONE_SCRIPT=rfc6121-8 cargo test --test house`.
    if let Ok(wanted) = std::env::var("LAMPONE_SCRIPT") {
        paths.retain(|path| path.to_string_lossy().contains(&wanted));
    }
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.iter().map(|path| Script::parse(&name(path), &fs::read_to_string(path).unwrap())).collect()
}

fn play(chopped: bool) {
    let mut failures = Vec::new();
    for script in scripts() {
        let accounts: Vec<&str> = script.accounts.iter().map(String::as_str).collect();
        let mut world = World::new(&accounts);
        world.chops = chopped.then_some(Dice(7));
        failures.extend(script.play(&mut world).err());
    }
    assert!(failures.is_empty(), "{} conversations went wrong:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn conversations_go_as_written() {
    play(false);
}

#[test]
fn conversations_do_not_depend_on_where_the_network_cuts_them() {
    play(true);
}
