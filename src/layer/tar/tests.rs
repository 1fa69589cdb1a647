//! Whole streams.
