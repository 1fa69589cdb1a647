//! The harness: Cooper beside other builders, on the same machine, the same files and the same registry.
//!
//! ```text
//! case × mode ─► for each run: for each builder: forget, build, count ─► report
//!                              (A B C A B C …)
//! ```
//!
//! Builders take turns, so that what disturbs the machine disturbs all of them. All pull from and push to one registry
//! through a proxy that counts. A builder that is not there is named as not run; nothing is ever estimated.

mod aside;
mod builder;
mod case;
mod compare;
mod error;
mod generate;
mod measure;
mod procfs;
mod proxy;
mod registry;
mod report;
mod run;
mod selection;

pub use case::{Case, Mode};
pub use error::BenchError;
pub use report::{Formats, Report};
pub use run::{BenchRequest, Peers, bench};
pub use selection::{ParseSelectionError, Selection};
