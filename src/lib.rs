//! Cooper makes container images inside a cluster, from one ordinary pod.
//!
//! ```text
//! BuildRequest ─► Context ─► Dockerfile ─► Graph ─► Layers ─► Image ─► Outputs
//!  (CLI, Job,     (dir, tar,  (text with    (steps    (tar →    (config,   (registry, OCI layout,
//!   HTTP)         git, s3…)    spans)        + keys)   digest →  manifest,  docker archive, tar)
//!                                              │       gzip)     index)
//!                                              ▼
//!                                    Store + Cache (by digest)
//! ```
//!
//! [`pipeline`] is that picture as one function. Dependencies point one way: [`dockerfile`], [`image`],
//! [`layer`] and [`rootfs`] know nothing of registries or command lines; [`graph`] knows the Dockerfile and the
//! image; [`exec`] knows the graph and the file trees; the pipeline knows all; [`cli`] knows the request and the
//! events. The words used throughout are explained in `docs/design.md`.

pub mod bench;
pub mod cache;
pub mod cancel;
pub mod cli;
pub mod context;
pub mod dockerfile;
pub mod doctor;
pub mod event;
pub mod exec;
pub mod git;
pub mod graph;
pub mod image;
#[cfg(feature = "kubernetes")]
pub mod kube;
pub mod layer;
pub mod outcome;
pub mod pipeline;
pub mod registry;
pub mod request;
pub mod rootfs;
#[cfg(feature = "serve")]
pub mod serve;
pub mod store;
pub mod units;
pub mod web;
