//! Object stores: server processes that are not ours.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::tool;

/// A server of `tests/tools/stores.sh`.
pub(crate) struct ObjectStore {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Drop for ObjectStore {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl ObjectStore {
    pub(crate) fn start(kind: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut process = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/stores.sh"))
            .args([kind, &address.port().to_string(), &directory.path().display().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Its first start installs it.
        let deadline = Instant::now() + Duration::from_mins(5);
        while TcpStream::connect(address).is_err() {
            assert_eq!(process.try_wait().unwrap(), None, "the {kind} store ended at its start");
            assert!(Instant::now() < deadline, "the {kind} store does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
        Self { process, address, _directory: directory }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a bucket with copies of a file, in a store of the kind `s3`; the user is `test`, the password `s3cret`.
    pub(crate) fn put_s3(&self, bucket: &str, keys: &[&str], file: &Path) {
        let (bucket, data) = (format!("{}/{bucket}", self.url()), format!("@{}", file.display()));
        let signed = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "test:s3cret"];
        curl(&[&signed[..], &["-X", "PUT", &bucket]].concat());
        for key in keys {
            let object = format!("{bucket}/{key}");
            // Of what curl takes for a form the server would see nothing.
            let kind = ["-H", "Content-Type: application/gzip"];
            curl(&[&signed[..], &kind, &["-X", "PUT", "--data-binary", &data, &object]].concat());
        }
    }
}

/// Sends a request that must succeed.
pub(crate) fn curl(arguments: &[&str]) {
    tool("curl", ["-sS", "--fail", "-o", "/dev/null"].iter().chain(arguments));
}
