//! File trees of images: as data ([`Tree`]), and as real directories a RUN can execute in.

pub(crate) mod beneath;
pub(crate) mod diff;
pub mod glob;
pub(crate) mod owner;
pub(crate) mod remove;
mod tree;
pub(crate) mod unpack;
mod users;

pub use tree::{
    Content, ContentSource, Directory, Last, Leaf, LeafKind, Node, OpenDirectory, Resolved, Tree, TreeError,
    clean, walk_into,
};
pub use unpack::UnpackError;
pub use users::{Owner, OwnerError};
