//! Carrying out the steps of a graph.

pub mod copy;
pub mod sandbox;
