//! From text to the tree.

mod mount;

use std::sync::Arc;

use super::ast::{Dockerfile, Instruction, Located};
use super::code::Code;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::directive::Escape;
use super::source::{Source, Span};

/// Parses a Dockerfile. All errors that can be told apart are reported, not only the first.
pub fn parse(source: Source) -> Result<Dockerfile, Diagnostics> {
    let source = Arc::new(source);
    let diagnostic = Diagnostic::error(Code::Unsupported, "the parser is not here yet", Span::default());
    Err(Diagnostics::one(source, diagnostic))
}

/// Parses a trigger from a base image's config; `source` is named like `ONBUILD of node:20`, and its text is the
/// trigger.
pub fn parse_onbuild(source: Source, escape: Escape) -> Result<Located<Instruction>, Diagnostics> {
    let _ = escape;
    let source = Arc::new(source);
    let diagnostic = Diagnostic::error(Code::Unsupported, "the parser is not here yet", Span::default());
    Err(Diagnostics::one(source, diagnostic))
}
