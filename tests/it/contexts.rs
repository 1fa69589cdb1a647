//! Contexts that are not directories, as `cooper build` takes them.

mod archives;
mod git;
mod named;
