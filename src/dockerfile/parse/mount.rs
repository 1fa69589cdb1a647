//! `RUN --mount`.

use crate::dockerfile::ast::{Mount, RunMount};
use crate::dockerfile::code::Code;
use crate::dockerfile::diagnostic::Diagnostic;
use crate::dockerfile::directive::Escape;
use crate::dockerfile::expand::Variables;

impl RunMount {
    /// The mount with its values expanded, checked and completed.
    pub fn resolve(&self, variables: &impl Variables, escape: Escape) -> Result<Mount, Diagnostic> {
        let _ = (variables, escape);
        Err(Diagnostic::error(Code::Unsupported, "mounts are not here yet", self.span()))
    }
}
