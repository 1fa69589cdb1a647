//! The Dockerfile language: text with spans in, a tree and diagnostics out.
//!
//! ```text
//! Source ─► physical lines ─► instructions ─► tree (ast) ─► graph
//!           (directives)      (continuations,   words stay unexpanded;
//!                              heredocs, flags,  expand() is called by the graph,
//!                              JSON forms)       which knows the variables
//! ```
//!
//! Nothing here reads a file or knows an image. All functions are total: whatever the text, the answer is a
//! value or diagnostics at their places, never a panic. The language is BuildKit's (dockerfile 1.26).

mod ast;
mod code;
mod csv;
mod diagnostic;
mod directive;
mod expand;
mod flags;
mod heredoc;
mod json;
mod lines;
mod lint;
mod parse;
mod parts;
mod remote;
mod source;
mod statement;
pub(crate) mod suggest;
pub(crate) mod value;
mod word;

pub use ast::*;
pub use code::Code;
pub use diagnostic::{Diagnostic, Diagnostics, PlacedDiagnostic, Severity};
pub use directive::{Check, Directives, Escape, ParseCheckError, Rules};
pub use expand::{Expanded, ExpandedWords, Undefined, Variables, expand, expand_heredoc, expand_words};
pub use lint::{BaseImage, LintOptions, lint, lint_violation, undefined_variable};
pub use parse::{KEYWORDS, parse, parse_onbuild, parse_partly};
pub use remote::RemoteSource;
pub use source::{LineColumn, Source, Span};
pub(crate) use suggest::{did_you_mean, nearest};
pub use value::{
    Chmod, ParseChmodError, ParseDurationError, ParsePortError, ParseSignalError, PortSpec, Protocol,
    parse_chmod, parse_duration, parse_port_spec, parse_signal,
};
pub use word::Word;

#[cfg(test)]
mod tests;
