//! Why a tar stream cannot be read or written.

use std::io;

/// Why a tar stream cannot be read or written. Offsets count bytes of the uncompressed stream.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The source of the stream failed.
    #[error("cannot read the tar stream at byte {offset}")]
    Read {
        /// How far reading had come.
        offset: u64,
        /// What the source said.
        #[source]
        source: io::Error,
    },
    /// The stream ends inside a header or inside contents.
    #[error("the tar stream breaks off at byte {offset}: the file is incomplete")]
    Truncated {
        /// Where it ends.
        offset: u64,
    },
    /// A header's checksum does not match.
    #[error("the tar header at byte {offset} has a bad checksum: this is no tar stream, or it is damaged")]
    Checksum {
        /// Where the header begins.
        offset: u64,
    },
    /// A number in a header cannot be read or is out of range.
    #[error("the tar header at byte {offset} has an invalid {field}")]
    Field {
        /// Where the header begins.
        offset: u64,
        /// Which field.
        field: &'static str,
    },
    /// PAX records are not of the form `length key=value`.
    #[error("the PAX records at byte {offset} are malformed")]
    Pax {
        /// Where their header begins.
        offset: u64,
    },
    /// PAX records or a GNU long name are longer than any honest ones.
    #[error("the extended header at byte {offset} has {size} bytes: more than {limit} are not accepted")]
    ExtensionTooLarge {
        /// Where the header begins.
        offset: u64,
        /// Its announced length in bytes.
        size: u64,
        /// The most that is accepted, in bytes.
        limit: u64,
    },
    /// A path, link target or attribute name that no layer may hold.
    #[error("`{path}`: {problem}")]
    Path {
        /// The path as in the stream, with unprintable characters escaped.
        path: String,
        /// What is wrong with it.
        problem: PathProblem,
    },
    /// A sparse file.
    #[error(
        "`{path}` is stored as a sparse file, which layers cannot hold: make the archive without --sparse"
    )]
    Sparse {
        /// The path, printable.
        path: String,
    },
    /// A member that is neither file, link, directory, device nor pipe.
    #[error("`{path}` has the unknown tar member type `{kind}`")]
    UnknownKind {
        /// The path, printable.
        path: String,
        /// The type flag, printable.
        kind: String,
    },
    /// More members than accepted.
    #[error("the tar stream has more than {limit} members")]
    TooManyEntries {
        /// The most that is accepted.
        limit: u64,
    },
    /// Names and attributes are longer in sum than accepted.
    #[error("names and attributes in the tar stream take more than {limit} bytes")]
    TooMuchMetadata {
        /// The most that is accepted, in bytes.
        limit: u64,
    },
    /// The receiver of the stream failed.
    #[error("cannot write `{path}` to the tar stream")]
    Write {
        /// The member being written; empty at the end of the stream.
        path: String,
        /// What the receiver said.
        #[source]
        source: io::Error,
    },
    /// The contents of a file to be written could not be read.
    #[error("cannot read the contents of `{path}`")]
    Contents {
        /// The member being written.
        path: String,
        /// What the source of the contents said.
        #[source]
        source: io::Error,
    },
    /// The contents have another length than the entry says, as when a file changes while it is copied.
    #[error("`{path}` changed while it was read: {expected} bytes were expected, {actual}")]
    SizeChanged {
        /// The member being written.
        path: String,
        /// What the entry says, in bytes.
        expected: u64,
        /// What there was.
        actual: ActualSize,
    },
}

/// How the length of contents differs from the length announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActualSize {
    /// The contents ended early.
    Only(u64),
    /// There was at least one byte more.
    More,
}

impl std::fmt::Display for ActualSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Only(size) => write!(f, "only {size} were found"),
            Self::More => write!(f, "more were found"),
        }
    }
}

/// What makes a path unfit for a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// A `..` component.
    #[error("a path with `..` could leave the image")]
    Parent,
    /// A zero byte.
    #[error("a path cannot hold a zero byte")]
    Zero,
    /// Longer than Linux takes.
    #[error("a path longer than 4096 bytes is not accepted")]
    TooLong,
    /// The root where only a directory can be, or a link to it.
    #[error("only a directory can be at the root of the image")]
    Root,
    /// A link without a target.
    #[error("a link needs a target")]
    NoTarget,
    /// A whiteout of nothing, of `.` or of `..`; or something inside a whiteout.
    #[error("`.wh.` must be followed by the name of what is removed")]
    Whiteout,
    /// A file whose name has a meaning in layers.
    #[error("names that begin with `.wh.` stand for removals in a layer: rename the file")]
    Reserved,
    /// A path that is absolute or has empty or `.` components, where a normal one is required.
    #[error("a path in a layer must be relative and in normal form")]
    NotNormal,
    /// The name of an extended attribute is empty, too long or not text.
    #[error("the name of an extended attribute is invalid")]
    Attribute,
    /// A number does not fit the format.
    #[error("a device number is too large for a tar header")]
    Device,
}

impl TarError {
    /// The error behind a failed read of [`Contents`](super::Contents).
    pub fn from_contents(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => error,
            Err(source) => Self::Read { offset: 0, source },
        }
    }
}
