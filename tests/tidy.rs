//! The plan of the house, enforced: imports point down, and each crate stays in its room (DESIGN, floors and rooms).

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders and files of `src/`, with their floor.
const FLOORS: &[(&str, u8)] = &[
    ("limits", 0),
    ("config", 0),
    ("wire", 1),
    ("proto", 2),
    ("domain", 3),
    ("router", 4),
    ("services", 5),
    ("server", 6),
    ("adapters", 7),
    ("cli", 8),
];

/// Upward arrows that are part of the plan, each with its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Settings name addresses and domains, which floor 1 prepares.
    ("config", "wire"),
];

/// Crates and the only places that may name them.
const ROOMS: &[(&str, &[&str])] = &[
    ("quick_xml", &["wire/"]),
    ("rustls", &["adapters/tls", "adapters/load/client"]),
    ("redb", &["adapters/store/"]),
    ("smol", &["adapters/"]),
    ("async_io", &["adapters/"]),
    ("argh", &["cli/", "main.rs"]),
    ("heapless", &["wire/", "proto/", "router/", "domain/ids.rs", "adapters/tls"]),
    ("hyper", &["adapters/http"]),
    ("rcgen", &["adapters/tls"]),
    ("toml", &["config"]),
    ("precis_profiles", &["wire/", "proto/"]),
    ("idna", &["wire/", "adapters/tls"]),
    ("rustix", &["adapters/", "cli/"]),
    ("libc", &["adapters/"]),
    ("sd_notify", &["adapters/"]),
    ("listenfd", &["adapters/"]),
    ("qrcodegen", &["services/welcome/", "cli/"]),
];

/// What nobody below floor 7 may touch: clocks, files, the environment, waiting, shared cells.
const WORLD: &[&str] = &[
    "std::fs",
    "std::env",
    "std::net::Tcp",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "async fn",
    ".await;",
    ".await?",
    ".await.",
    ".await)",
    "RefCell",
    "SystemRandom",
    "HashMap",
    "HashSet",
];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// Each source file: its path below `src/`, and its code without tests and comments.
fn house() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let inside = |path: &Path| path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
    files
        .into_iter()
        .map(|path| (inside(&path), fs::read_to_string(&path).unwrap()))
        .filter(|(name, _)| !name.ends_with("tests.rs") && !name.ends_with("testing.rs") && !name.contains("/tests/"))
        .map(|(name, text)| {
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            (name, lines.collect::<Vec<_>>().join("\n"))
        })
        .collect()
}

fn floor(name: &str) -> Option<(&'static str, u8)> {
    let room = name.split(['/', '.']).next()?;
    FLOORS.iter().find(|(known, _)| *known == room).copied()
}

/// The rooms that a file's `use crate::…` lines and paths lead to.
fn arrows(code: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let flat = code.replace(['\n', ' '], "");
    for (room, _) in FLOORS {
        let direct = flat.contains(&format!("crate::{room}::")) || flat.contains(&format!("usecrate::{room};"));
        // `use crate::{config::Config, wire::{…}}`: rooms at the first level of the braces.
        let grouped = flat.split("usecrate::{").skip(1).any(|group| {
            let mut depth = 1;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => word.clear(),
                    c if depth == 1 => word.push(c),
                    _ => {}
                }
                if depth == 0 {
                    return false;
                }
                if depth == 1 && word == format!("{room}::") {
                    return true;
                }
            }
            false
        });
        if direct || grouped {
            found.push(*room);
        }
    }
    found
}

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for (name, code) in house() {
        let Some((room, height)) = floor(&name) else { continue };
        for target in arrows(&code) {
            let (_, target_height) = floor(target).unwrap();
            if target_height > height && !EXCEPTIONS.contains(&(room, target)) {
                wrong.push(format!("{name} (floor {height}) imports {target} (floor {target_height})"));
            }
        }
    }
    assert!(wrong.is_empty(), "upward arrows:\n{}", wrong.join("\n"));
}

#[test]
fn each_crate_stays_in_its_room() {
    let mut wrong = Vec::new();
    for (name, code) in house() {
        for (crate_name, rooms) in ROOMS {
            let named = code.contains(&format!("{crate_name}::")) || code.contains(&format!("use {crate_name};"));
            let own_module = code.contains(&format!("::{crate_name}::"));
            if named && !own_module && !rooms.iter().any(|room| name.starts_with(room)) {
                wrong.push(format!("{name} names {crate_name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "crates outside their rooms:\n{}", wrong.join("\n"));
}

#[test]
fn nobody_below_the_adapters_touches_the_world() {
    let mut wrong = Vec::new();
    for (name, code) in house() {
        if floor(&name).is_none_or(|(_, height)| height >= 7) {
            continue;
        }
        for word in WORLD {
            if code.contains(word) {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "the world leaks in:\n{}", wrong.join("\n"));
}

#[test]
fn services_never_import_each_other() {
    let mut wrong = Vec::new();
    for (name, code) in house() {
        if name.starts_with("services/") && name != "services/mod.rs" && code.contains("crate::services::") {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_begin_by_saying_what_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//!") || first.starts_with("#!["), "{} has no header", path.display());
    }
}

#[test]
fn nothing_fetches_what_people_name() {
    // S43: the server asks other servers for streams and names, and nobody for pages.
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).unwrap();
    for client in ["reqwest", "ureq", "isahc", "surf", "curl", "attohttpc", "hyper-util"] {
        assert!(!lock.contains(&format!("name = \"{client}\"\n")), "{client} fetches pages");
    }
    let manifest = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    let hyper = manifest.lines().find(|line| line.starts_with("hyper ")).unwrap();
    assert!(!hyper.contains("\"client\"") && hyper.contains("default-features = false"), "{hyper}");
}
