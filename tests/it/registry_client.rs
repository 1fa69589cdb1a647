//! The registry client against registries: the one in this process, which fails on command, and Debian's.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod debian;
mod login;
mod pull;
mod push;
mod transport;

use std::error::Error;

use bytes::{Bytes, BytesMut};
use cooper::image::{Descriptor, MediaType, RepoName};
use cooper::layer::Digest;
use cooper::registry::{Credentials, Registries, RegistryError, RegistrySettings, Repository, RetryPolicy};
use futures_util::StreamExt;

use crate::registry::Registry;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Settings that retry without waiting.
fn settings() -> RegistrySettings {
    let retry = RetryPolicy { attempts: 4, base_milliseconds: 0, ..RetryPolicy::default() };
    RegistrySettings { retry, stall_seconds: 10, ..RegistrySettings::default() }
}

fn open(settings: RegistrySettings, credentials: Credentials, host: &str, path: &str) -> Repository {
    Registries::new(settings, credentials).unwrap().repository(&RepoName::new(host, path)).unwrap()
}

/// The repository `app` of `registry`, anonymously.
fn app(registry: &Registry) -> Repository {
    open(settings(), Credentials::anonymous(), &registry.host(), "app")
}

fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(MediaType::ImageLayerGzip, Digest::of(bytes), bytes.len() as u64)
}

/// Bytes without a pattern that a mix-up of positions would keep.
fn noise(length: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// All of a blob.
async fn fetch(repository: &Repository, blob: &Descriptor) -> Result<Bytes, RegistryError> {
    let mut stream = repository.blob(blob).await?;
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes.freeze())
}

/// The message with all causes, as the program prints it.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
