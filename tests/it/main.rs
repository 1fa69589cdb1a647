//! Tests of the library and the program as a whole; one module per subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod add;
mod build;
mod cache;
mod check;
mod compatibility;
mod differential;
mod fuzz;
mod mounts;
mod pods;
mod registry;
mod registry_client;
mod sandbox;
mod support;
