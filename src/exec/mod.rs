//! Carrying out the steps of a graph.
//!
//! ```text
//! graph ─► definitions ─► all asked for at once ─► known steps, and nothing below them is needed
//!                │ unknown
//!                ▼
//!   key by what the inputs came to ─► known? ──yes──► layer
//!           │                           no
//!           ▼                           ▼
//!      source trees ─► copy ─────────────┐
//!      rootfs (sandbox) ─► run ─► diff ──┴─► tar ─► layer, and what it lists
//! ```

mod cache_writer;
pub mod contents;
mod context_digests;
pub mod copy;
mod copy_step;
mod definition;
mod download;
mod error;
mod explain;
mod git_source;
mod index_slot;
mod layer_blob;
mod layers;
mod left_out;
mod listing;
mod mounts;
mod recall;
mod result;
mod rootfs_pool;
mod run;
pub mod sandbox;
mod solve;
mod squash;
mod writing;

pub use cache_writer::CacheWriter;
pub use context_digests::ContextFiles;
pub use download::DownloadError;
pub use error::{StepError, StepFailure};
pub use git_source::GitSourceError;
pub use layer_blob::LayerBlob;
pub use layers::{ImageLayer, LayerError, Layers, Origin};
pub use mounts::{AgentSource, MountError, SecretSource, SecretValue, Supplies, SupplyError};
pub use result::FileSystem;
pub use run::Runner;
pub use solve::{Ages, Clock, Solution, Solutions, Solver, SolverSettings};
pub use squash::squash;
