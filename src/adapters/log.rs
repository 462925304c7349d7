//! Where log lines go: standard error. Under systemd each line starts with its priority (`sd-daemon(3)`) and the
//! journal adds the time; elsewhere the line carries time and level itself.
//!
//! Invariant: one line is one write, so lines of two threads never mix. Line breaks, control characters and characters
//! that turn the direction of writing inside a message become spaces, so that nobody can forge a line or give orders
//! to a terminal.

use std::{
    fmt::Write as _,
    io::Write as _,
    panic::{self, PanicHookInfo},
};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::clock;

/// Bytes of one line; what is longer is cut.
const LINE_BYTES_MAX: usize = 2_000;

struct Stderr {
    journal: bool,
}

/// Starts logging at this level and sends panics through the same writer. Called once, by `serve`; a second call only
/// sets the level.
pub fn start(level: LevelFilter) {
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    if log::set_logger(Box::leak(Box::new(Stderr { journal }))).is_ok() {
        panic::set_hook(Box::new(report_panic));
    }
    set_level(level);
}

/// Another level, at reload.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

fn report_panic(info: &PanicHookInfo<'_>) {
    let text = info.payload().downcast_ref::<&str>().copied();
    let text =
        text.or_else(|| info.payload().downcast_ref::<String>().map(String::as_str)).unwrap_or("no reason given");
    match info.location() {
        Some(at) => log::error!(target: "lampone", "a fault of ours at {}:{}: {text}", at.file(), at.line()),
        None => log::error!(target: "lampone", "a fault of ours: {text}"),
    }
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries are heard when something is wrong only.
        metadata.target().starts_with("lampone") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = line(record, self.journal.then_some(()).map_or_else(|| Some(clock::wall_us()), |()| None));
            // Nobody is left to be told when standard error is closed.
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// One line; with a time for terminals and files, with a priority for the journal.
fn line(record: &Record<'_>, wall_us: Option<u64>) -> String {
    let mut line = String::with_capacity(120);
    let target = record.target().rsplit("::").next().unwrap_or_default();
    let _ = match wall_us {
        None => write!(line, "<{}>{target}: ", priority(record.level())),
        Some(us) => write!(line, "{} {:5} {target}: ", utc(us / 1_000_000), record.level()),
    };
    let start = line.len();
    let _ = write!(line, "{}", record.args());
    if line[start..].contains(is_unfit) {
        let flat = line[start..].replace(is_unfit, " ");
        line.truncate(start);
        line.push_str(&flat);
    }
    if line.len() > LINE_BYTES_MAX {
        let end = (0..=LINE_BYTES_MAX).rev().find(|&end| line.is_char_boundary(end)).unwrap_or(0);
        line.truncate(end);
        line.push('…');
    }
    line.push('\n');
    line
}

/// Characters that are not for people to read: C0, C1, line and paragraph separators, and what turns the direction.
fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Priorities of `syslog(3)`.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// `2026-11-23T00:05:22Z`.
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days are counted in eras of 400 years from 1 March of year 0, so that a leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3_600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str, wall_us: Option<u64>) -> String {
        let args = format_args!("{text}").to_string();
        line(
            &Record::builder().level(Level::Warn).target("lampone::a::b").args(format_args!("{args}")).build(),
            wall_us,
        )
    }

    #[test]
    fn lines_carry_a_priority_for_the_journal_and_a_time_elsewhere() {
        assert_eq!(written("hello", None), "<4>b: hello\n");
        assert_eq!(written("hello", Some(1_709_210_096_000_000)), "2024-02-29T12:34:56Z WARN  b: hello\n");
    }

    #[test]
    fn a_message_cannot_forge_a_line() {
        assert_eq!(written("x\n<0>all is lost\r", None), "<4>b: x <0>all is lost \n");
    }

    #[test]
    fn a_message_gives_no_orders_to_a_terminal() {
        assert_eq!(written("a\u{1b}[2J\u{9b}2J\u{202e}b\u{2028}c\u{85}ü", None), "<4>b: a [2J 2J b c ü\n");
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let line = written(&"ö".repeat(3_000), None);
        assert!(line.len() <= LINE_BYTES_MAX + 4 && line.ends_with("…\n"));
    }
}
