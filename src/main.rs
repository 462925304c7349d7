//! The program `lampone`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lampone::cli::run(std::env::args_os().skip(1))
}
