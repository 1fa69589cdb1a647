//! File trees of images: as data ([`Tree`]), and as real directories a RUN can execute in.

pub mod glob;
mod tree;
mod users;

pub use tree::{
    Content, ContentSource, Directory, Last, Leaf, LeafKind, Node, Resolved, Tree, TreeError, walk_into,
};
pub use users::{Owner, OwnerError};
