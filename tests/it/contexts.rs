//! Contexts that are not directories, as `cooper build` takes them.

mod archives;
mod artifact;
mod git;
mod named;
mod ssh;
mod stores;
