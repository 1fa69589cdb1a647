//! The registry that all builders pull from and push to: Debian's `docker-registry` on loopback, behind a [`Proxy`].

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::BenchError;
use super::aside::renew;
use super::proxy::Proxy;

const PROGRAM: &str = "docker-registry";

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A registry with nothing in it but base images, and what is pushed later.
#[derive(Debug)]
pub(super) struct Registry {
    process: Option<Child>,
    directory: PathBuf,
    proxy: Proxy,
}

impl Registry {
    /// Starts one that keeps its data in `directory`. Builders reach it at `listen`, which they know by `name`.
    pub(super) fn start(directory: &Path, listen: IpAddr, name: &str) -> Result<Self, BenchError> {
        let (process, address) = serve(directory)?;
        let proxy =
            Proxy::start(address, listen, name).map_err(|source| BenchError::io(directory, source))?;
        Ok(Self { process: Some(process), directory: directory.to_owned(), proxy })
    }

    /// Replaces it by an empty one at the same address.
    pub(super) fn renew(&mut self) -> Result<(), BenchError> {
        self.stop();
        renew(&self.directory)?;
        let (process, address) = serve(&self.directory)?;
        self.process = Some(process);
        self.proxy.lead_to(address);
        Ok(())
    }

    /// What stands before it.
    pub(super) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Copies an image of a layout into it.
    pub(super) fn load(&self, layout: &Path, name: &str) -> Result<(), BenchError> {
        let tag = name.rsplit(':').next().unwrap_or("latest");
        let log = self.directory.join("skopeo.log");
        let output = File::create(&log).map_err(|source| BenchError::io(&log, source))?;
        let status = Command::new("skopeo")
            .args(["copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false"])
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!("docker://{}/library/{name}", self.proxy.host()))
            .stdin(Stdio::null())
            .stderr(output)
            .status();
        let program = || "skopeo".to_owned();
        let status = status.map_err(|source| BenchError::Start { program: program(), source })?;
        if status.success() { Ok(()) } else { Err(BenchError::Failed { program: program(), status, log }) }
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself; either way it is gone afterwards.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(directory: &Path) -> Result<(Child, SocketAddr), BenchError> {
    let failed = |source| BenchError::io(directory, source);
    std::fs::create_dir_all(directory.join("data")).map_err(failed)?;
    // The port is free again for a moment; nothing else here binds ports it was not given.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(failed)?;
    let config = directory.join("config.yml");
    let data = directory.join("data");
    let text = format!(
        "version: 0.1\nlog: {{level: warn, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: '{}'}}, delete: {{enabled: true}}}}\n\
         http: {{addr: '{address}', secret: only-for-benchmarks}}\n",
        data.display()
    );
    std::fs::write(&config, text).map_err(failed)?;
    let log = File::create(directory.join("registry.log")).map_err(failed)?;
    let started = Command::new(PROGRAM)
        .env("OTEL_TRACES_EXPORTER", "none")
        .arg("serve")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(failed)?)
        .stderr(log)
        .spawn();
    let mut process = started.map_err(|source| BenchError::Start { program: PROGRAM.to_owned(), source })?;
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if Instant::now() > deadline {
            let _ = process.kill();
            let _ = process.wait();
            return Err(BenchError::Silent {
                program: PROGRAM.to_owned(),
                log: directory.join("registry.log"),
            });
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok((process, address))
}
