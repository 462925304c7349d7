//! The house under random weather, from one number.
//!
//! A handful of clients do random things while the network cuts bytes anywhere and breaks, the disk is slow, refuses or
//! loses power, and the clock jumps. What was promised is checked on the way and at the end.
//!
//! `LAMPONE_SEED=n cargo test --test sim` plays one seed again; `LAMPONE_SEEDS=1000000` plays many.

#[path = "../stage/mod.rs"]
mod stage;

mod client;
mod cuts;
mod devices;
mod hostile;
mod ledger;
mod peers;
mod play;
mod rooms;

use std::panic::{self, AssertUnwindSafe};

/// Seeds that `cargo test` plays.
const SEEDS: u64 = 1000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn the_promises_hold_in_any_weather() {
    let seeds = match number("LAMPONE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LAMPONE_SEEDS").unwrap_or(SEEDS),
    };
    for seed in seeds {
        let mut play = None;
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            let play = play.insert(play::Play::new(seed));
            play.run();
        }));
        if let Err(cause) = outcome {
            if let Some(play) = &play {
                eprintln!("--- the last events of LAMPONE_SEED={seed}:\n{}", play.last_events());
            }
            panic::resume_unwind(cause);
        }
    }
}

#[test]
fn links_that_break_lose_nothing_and_double_nothing() {
    let seeds = match number("LAMPONE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LAMPONE_SEEDS").unwrap_or(SEEDS / 10),
    };
    for seed in seeds {
        if let Err(cause) = panic::catch_unwind(|| peers::play(seed)) {
            eprintln!("--- LAMPONE_SEED={seed}");
            panic::resume_unwind(cause);
        }
    }
}

#[test]
fn links_by_certificate_are_reset_at_every_byte() {
    cuts::play(true, true, 0);
}

#[test]
fn links_by_dialback_are_reset_at_every_byte() {
    cuts::play(false, false, 1);
}

#[test]
fn a_server_that_lies_is_believed_by_nobody_and_disturbs_nobody() {
    let seeds = match number("LAMPONE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LAMPONE_SEEDS").unwrap_or(SEEDS / 10),
    };
    for seed in seeds {
        if let Err(cause) = panic::catch_unwind(|| hostile::play(seed)) {
            eprintln!("--- LAMPONE_SEED={seed}");
            panic::resume_unwind(cause);
        }
    }
}

#[test]
fn every_device_holds_the_whole_conversation_in_one_order() {
    let seeds = match number("LAMPONE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LAMPONE_SEEDS").unwrap_or(SEEDS / 10),
    };
    for seed in seeds {
        if let Err(cause) = panic::catch_unwind(|| devices::play(seed)) {
            eprintln!("--- LAMPONE_SEED={seed}");
            panic::resume_unwind(cause);
        }
    }
}

#[test]
fn everybody_in_a_room_hears_the_same_in_the_order_of_its_archive() {
    let seeds = match number("LAMPONE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("LAMPONE_SEEDS").unwrap_or(SEEDS / 10),
    };
    for seed in seeds {
        if let Err(cause) = panic::catch_unwind(|| rooms::play(seed)) {
            eprintln!("--- LAMPONE_SEED={seed}");
            panic::resume_unwind(cause);
        }
    }
}
