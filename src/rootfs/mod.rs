//! File trees of images: as data ([`Tree`]), and as real directories a RUN can execute in.

mod tree;

pub use tree::{
    Content, ContentSource, Directory, Last, Leaf, LeafKind, Node, Resolved, Tree, TreeError, walk_into,
};
