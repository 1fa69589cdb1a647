//! Tests of the library and the program as a whole; one module per subject.

mod build;
mod differential;
mod registry;
mod registry_client;
mod sandbox;
mod support;
