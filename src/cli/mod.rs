//! Command lines: what was typed becomes a request, events become what is seen.

use std::process::ExitCode;

use crate::exec::sandbox;

/// Runs the program.
pub fn main() -> ExitCode {
    if sandbox::is_helper() {
        return sandbox::helper_main();
    }
    ExitCode::SUCCESS
}
