//! File trees of images: as data ([`Tree`]), and as real directories a RUN can execute in.

pub(crate) mod beneath;
pub(crate) mod diff;
pub(crate) mod remove;
mod tree;
pub(crate) mod unpack;

pub use tree::{
    Content, ContentSource, Directory, Last, Leaf, LeafKind, Node, Resolved, Tree, TreeError, walk_into,
};
