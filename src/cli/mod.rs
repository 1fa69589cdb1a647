//! Command lines: what was typed becomes a request, events become what is seen.

use std::process::ExitCode;

/// Runs the program.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
