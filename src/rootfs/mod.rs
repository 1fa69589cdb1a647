//! File trees: patterns of their paths.

pub mod glob;
