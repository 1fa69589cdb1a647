//! ConfigMaps and Secrets as the kubelet mounts them.
//!
//! ```text
//! mount/Dockerfile ─► ..data/Dockerfile
//! mount/..data     ─► ..2026_11_22_11_00_00.1
//! mount/..2026_11_22_11_00_00.1/Dockerfile
//! ```

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A mounted ConfigMap or Secret.
pub(crate) struct Mounted {
    root: PathBuf,
    files: Vec<(String, Vec<u8>)>,
    times: u32,
}

impl Mounted {
    /// Mounts `files` at `root`, which is made.
    pub(crate) fn new<B: AsRef<[u8]>>(root: &Path, files: &[(&str, B)]) -> Self {
        std::fs::create_dir_all(root).unwrap();
        let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.as_ref().to_vec())).collect();
        let mut mounted = Self { root: root.to_owned(), files, times: 0 };
        mounted.mount();
        mounted
    }

    /// A Secret of type `kubernetes.io/dockerconfigjson` for the user `user` of a registry, mounted as `config.json`.
    pub(crate) fn docker_config(root: &Path, host: &str, password: &str) -> Self {
        use base64::Engine as _;
        let login = base64::engine::general_purpose::STANDARD.encode(format!("user:{password}"));
        let config = serde_json::json!({"auths": {host: {"auth": login}}}).to_string();
        Self::new(root, &[("config.json", config)])
    }

    /// Where.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Mounts the same files again, as another pod sees them: everything has another name, time and inode.
    pub(crate) fn mount(&mut self) {
        let old = std::fs::read_link(self.root.join("..data")).ok();
        self.times += 1;
        let data = format!("..2026_11_22_11_00_{:02}.{}", self.times, 1_234_567 * self.times);
        for (path, bytes) in &self.files {
            let file = self.root.join(&data).join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, bytes).unwrap();
            // The kubelet links the first name of a path.
            let first = path.split('/').next().unwrap();
            let link = self.root.join(first);
            if link.symlink_metadata().is_err() {
                symlink(Path::new("..data").join(first), link).unwrap();
            }
        }
        let new = self.root.join("..data_tmp");
        symlink(&data, &new).unwrap();
        std::fs::rename(new, self.root.join("..data")).unwrap();
        if let Some(old) = old {
            std::fs::remove_dir_all(self.root.join(old)).unwrap();
        }
    }
}
