//! Where credentials may lie.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::ambient::variables_of_process;
use super::{AmbientLogins, Secret, Variables};

/// The variables that say where credentials are, as data, so that tests need not change the environment.
#[derive(Debug, Clone, Default)]
pub struct CredentialPlaces {
    /// `$DOCKER_AUTH_CONFIG`: a docker config as text, as GitLab passes it to jobs.
    pub docker_auth_config: Option<Secret>,
    /// `$DOCKER_CONFIG`: a directory with `config.json` in it, or the file itself.
    pub docker_config: Option<PathBuf>,
    /// `$REGISTRY_AUTH_FILE`: podman's and Buildah's file.
    pub registry_auth_file: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_directory: Option<PathBuf>,
    /// `$PATH`, where helper programs are looked for.
    pub path: Option<OsString>,
    /// What is looked for besides files.
    pub ambient: AmbientLogins,
    /// The variables that may be about logins.
    pub variables: Variables,
}

impl CredentialPlaces {
    /// Where Kaniko's users mount their docker config.
    const KANIKO: &'static str = "/kaniko/.docker/config.json";

    /// What the environment of this process says.
    pub fn from_environment() -> Self {
        let path = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            docker_auth_config: env::var("DOCKER_AUTH_CONFIG").ok().map(Secret::new),
            docker_config: path("DOCKER_CONFIG"),
            registry_auth_file: path("REGISTRY_AUTH_FILE"),
            home: path("HOME"),
            runtime_directory: path("XDG_RUNTIME_DIR"),
            path: env::var_os("PATH"),
            ambient: AmbientLogins::ALL,
            variables: variables_of_process(),
        }
    }

    /// The files to read, most telling first.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let docker = match (&self.docker_config, &self.home) {
            (Some(path), _) if path.is_file() => Some(path.clone()),
            (Some(directory), _) => Some(directory.join("config.json")),
            (None, Some(home)) => Some(home.join(".docker/config.json")),
            (None, None) => None,
        };
        let podman = match (&self.registry_auth_file, &self.runtime_directory) {
            (Some(file), _) => Some(file.clone()),
            (None, Some(directory)) => Some(directory.join("containers/auth.json")),
            (None, None) => None,
        };
        let kaniko = Path::new(Self::KANIKO);
        let kaniko = (self.docker_config.is_none() && kaniko.exists()).then(|| kaniko.to_owned());
        docker.into_iter().chain(podman).chain(kaniko).collect()
    }
}
