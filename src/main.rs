//! The program `lampone`.

use std::process::ExitCode;

use lampone::{cli::serve, config::Config};

fn main() -> ExitCode {
    match serve::run(Config::default(), Box::new(|| Ok(Config::default()))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("lampone: {line}");
            ExitCode::FAILURE
        }
    }
}
