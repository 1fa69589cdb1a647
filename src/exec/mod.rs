//! Executing the steps of a graph.

pub mod sandbox;
