//! Why an index cannot be kept or found again.

use std::io;

/// Why the serialised form of a [`LayerIndex`](super::LayerIndex) cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The receiver failed.
    #[error("cannot write the index of a layer")]
    Write(#[source] io::Error),
    /// The source failed.
    #[error("cannot read the index of a layer")]
    Read(#[source] io::Error),
    /// The first line is not that of an index, or of another version.
    #[error("this is no layer index of version {expected}: delete it, it will be made again")]
    Version {
        /// The version this program reads and writes.
        expected: u32,
    },
    /// A line is not what it should be.
    #[error("line {line} of the layer index is malformed")]
    Malformed {
        /// Line number, from 1.
        line: u64,
        /// What JSON parsing said.
        #[source]
        source: serde_json::Error,
    },
    /// A line holds a path or attribute that no layer may hold.
    #[error("line {line} of the layer index holds a path or attribute that is not acceptable")]
    Unacceptable {
        /// Line number, from 1.
        line: u64,
    },
    /// A line is longer than accepted, or there are more lines than announced or accepted.
    #[error("the layer index exceeds its limits at line {line}")]
    TooLarge {
        /// Line number, from 1.
        line: u64,
    },
    /// The index ends before its last line.
    #[error("the layer index ends after {lines} lines: it is incomplete")]
    Truncated {
        /// How many lines there were.
        lines: u64,
    },
}
