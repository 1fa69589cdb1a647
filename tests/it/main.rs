//! Tests of the library and the program as a whole; one module per subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod add;
mod bench;
mod build;
mod cache;
mod check;
mod checklist;
mod compatibility;
mod contexts;
mod differential;
mod doctor;
mod executor;
mod fuzz;
mod image;
mod kubernetes;
mod language;
mod llb;
mod mounts;
mod pods;
mod registry;
mod registry_client;
mod registry_command;
mod run_settings;
mod sandbox;
#[cfg(feature = "serve")]
mod serve;
mod store;
#[cfg(feature = "kubernetes")]
mod submit;
mod support;
