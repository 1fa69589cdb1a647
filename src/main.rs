//! The `cooper` program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    cooper::cli::main()
}
