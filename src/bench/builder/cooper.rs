//! Cooper: the program that runs this.

use std::path::PathBuf;
use std::process::Command;

use super::{Builder, Job, command, first_line};
use crate::bench::BenchError;
use crate::bench::aside::renew;
use crate::bench::case::Mode;

/// Cooper with a store of its own.
#[derive(Debug)]
pub(in crate::bench) struct Cooper {
    pub(in crate::bench) program: PathBuf,
    pub(in crate::bench) store: PathBuf,
}

impl Builder for Cooper {
    fn name(&self) -> &'static str {
        "cooper"
    }

    fn version(&self) -> Result<String, BenchError> {
        first_line(&self.program, &["--version"])
    }

    fn refusal(&self, _mode: Mode) -> Option<String> {
        None
    }

    fn forget(&mut self, _host: &str) -> Result<(), BenchError> {
        renew(&self.store)
    }

    fn commands(&self, job: &Job<'_>) -> Result<Vec<Command>, BenchError> {
        let mut build =
            command(&self.program, ["build", "--push", "--progress", "plain", "--tag", job.image]);
        build.arg("--store").arg(&self.store).args(["--insecure-registry", job.host]);
        if job.anew {
            build.arg("--no-cache");
        }
        if let Some(cache) = job.cache {
            build.arg("--cache-from").arg(format!("type=registry,ref={cache}"));
            build.arg("--cache-to").arg(format!("type=registry,ref={cache}"));
        }
        build.arg(job.context);
        Ok(vec![build])
    }
}
