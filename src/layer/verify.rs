//! Contents that must be what they are called.

use std::io::{self, Read};

use super::{Digest, Hasher};

/// Reads contents whose digest and length are known, and fails at their end, or when they grow too long, if they
/// are not those.
#[derive(Debug)]
pub struct Verifying<R> {
    inner: R,
    hasher: Option<Hasher>,
    digest: Digest,
    size: u64,
}

/// Contents differ from what they were announced to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{expected} is damaged: {problem}")]
pub struct Damaged {
    /// The digest that was announced.
    pub expected: Digest,
    /// How the contents differ.
    pub problem: Damage,
}

/// How contents differ from what they were announced to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// More bytes than announced.
    #[error("it is longer than the {expected} bytes announced")]
    TooLong {
        /// The announced length in bytes.
        expected: u64,
    },
    /// Fewer bytes than announced.
    #[error("it has {actual} bytes instead of {expected}")]
    TooShort {
        /// The announced length in bytes.
        expected: u64,
        /// The true length in bytes.
        actual: u64,
    },
    /// Other bytes than announced.
    #[error("its digest is {actual}")]
    Digest {
        /// The true digest.
        actual: Digest,
    },
}

impl<R: Read> Verifying<R> {
    /// Expects `inner` to give `size` bytes with the given digest.
    pub fn new(inner: R, digest: Digest, size: u64) -> Self {
        Self { inner, hasher: Some(Hasher::new()), digest, size }
    }

    fn damaged(&self, problem: Damage) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Damaged { expected: self.digest, problem })
    }

    fn check(&self, hasher: Hasher) -> io::Result<()> {
        let actual = hasher.length();
        if actual < self.size {
            return Err(self.damaged(Damage::TooShort { expected: self.size, actual }));
        }
        match hasher.finish() {
            actual if actual == self.digest => Ok(()),
            actual => Err(self.damaged(Damage::Digest { actual })),
        }
    }
}

impl<R: Read> Read for Verifying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(hasher) = &mut self.hasher else { return Ok(0) };
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.inner.read(buffer)?;
        hasher.update(&buffer[..count]);
        if hasher.length() > self.size {
            return Err(self.damaged(Damage::TooLong { expected: self.size }));
        }
        if count == 0
            && let Some(hasher) = self.hasher.take()
        {
            self.check(hasher)?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(contents: &[u8], expected: &[u8]) -> Result<Vec<u8>, String> {
        let mut output = Vec::new();
        Verifying::new(contents, Digest::of(expected), expected.len() as u64)
            .read_to_end(&mut output)
            .map(|_| output)
            .map_err(|error| error.to_string().split_once(": ").unwrap().1.to_owned())
    }

    #[test]
    fn compares_length_and_digest() {
        assert_eq!(read(b"abc", b"abc"), Ok(b"abc".to_vec()));
        assert_eq!(read(b"", b""), Ok(vec![]));
        assert_eq!(read(b"abcd", b"abc"), Err("it is longer than the 3 bytes announced".into()));
        assert_eq!(read(b"ab", b"abc"), Err("it has 2 bytes instead of 3".into()));
        assert_eq!(read(b"abd", b"abc"), Err(format!("its digest is {}", Digest::of("abd"))));
    }
}
