//! Carrying out the steps of a graph.
//!
//! ```text
//! graph ─► key ─► known? ──yes──► layer
//!           │       no
//!           ▼       ▼
//!      source trees ─► copy ─────────────┐
//!      rootfs (sandbox) ─► run ─► diff ──┴─► tar ─► layer, and what it lists
//! ```

pub mod contents;
pub mod copy;
mod copy_step;
mod download;
mod error;
mod git_source;
mod index_slot;
mod layers;
mod left_out;
mod listing;
mod mounts;
mod result;
mod rootfs_pool;
mod run;
pub mod sandbox;
mod solve;
mod squash;
mod writing;

pub use download::DownloadError;
pub use error::{StepError, StepFailure};
pub use git_source::GitSourceError;
pub use layers::{ImageLayer, LayerError, Layers, Origin};
pub use mounts::{AgentSource, MountError, SecretSource, SecretValue, Supplies, SupplyError};
pub use result::{FileSystem, StepRecord};
pub use run::Runner;
pub use solve::{Clock, Solution, Solver, SolverSettings};
pub use squash::squash;
