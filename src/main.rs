//! The program `lampone`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lampone::cli::main()
}
