//! Integration tests: the crate and the program as their users see them.

mod sandbox;
