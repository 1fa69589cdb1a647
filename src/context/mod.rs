//! Build contexts: the user's files, after `.dockerignore`, as a tree with contents that are read when needed.

pub mod fetch;
pub mod ignore;
mod local;
pub mod source;

pub use local::{Context, ContextError};
